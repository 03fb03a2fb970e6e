package engine

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/moby/buildkit/solver/pb"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"rebuild/internal/fault"
	"rebuild/pipeline"
	"rebuild/stages"
	"rebuild/store"
)

// Each recipe breaks one rule, at the line that has the word BAD behind it.
func TestContainerfileRefused(t *testing.T) {
	e := New(Options{Store: t.TempDir()})
	for name, c := range map[string]struct {
		text string
		line int
		rule string // words that the message must have
		code fault.Code
	}{
		"network default is none":  {"FROM image/base\nRUN [\"/x\"]\n", 0, "", ""},
		"network host":             {"FROM image/base\nRUN --network=host [\"/x\"]\n", 2, "network", fault.PolicyDenied},
		"insecure":                 {"FROM image/base\nRUN --security=insecure [\"/x\"]\n", 2, "insecure", fault.PolicyDenied},
		"cache mount":              {"FROM image/base\nRUN --mount=type=cache,target=/c [\"/x\"]\n", 2, "cache mounts", fault.PolicyDenied},
		"secret mount":             {"FROM image/base\nRUN --mount=type=secret,id=s [\"/x\"]\n", 2, "secret", fault.PolicyDenied},
		"secret env":               {"FROM image/base\nRUN --mount=type=secret,id=s,env=S [\"/x\"]\n", 2, "secret", fault.PolicyDenied},
		"ssh mount":                {"FROM image/base\nRUN --mount=type=ssh [\"/x\"]\n", 2, "ssh", fault.PolicyDenied},
		"add url":                  {"FROM image/base\nADD https://example.org/a.tar /a\n", 2, "URL", fault.PolicyDenied},
		"add pinned url":           {"FROM image/base\nADD --checksum=sha256:24454f830cdb571e2c4ad15481119c43b3cafd48dd869a9b2945d1036d1dc68d https://example.org/a /a\n", 2, "URL", fault.PolicyDenied},
		"add git":                  {"FROM image/base\nADD https://github.com/moby/buildkit.git#v0.10.1 /a\n", 2, "git", fault.PolicyDenied},
		"add git ssh":              {"FROM image/base\nADD git@github.com:moby/buildkit.git /a\n", 2, "git", fault.PolicyDenied},
		"tag":                      {"FROM alpine:3.20\nRUN [\"/x\"]\n", 1, "alpine:3.20 is not a declared input", fault.PolicyDenied},
		"no tag":                   {"FROM scratch\nCOPY --from=busybox /bin/sh /sh\n", 2, "busybox is not a declared input", fault.PolicyDenied},
		"digest not declared":      {"FROM alpine@sha256:24454f830cdb571e2c4ad15481119c43b3cafd48dd869a9b2945d1036d1dc68d\n", 1, "not a declared input", fault.PolicyDenied},
		"input not declared":       {"FROM stage/other\n", 1, "stage/other is not a declared input", fault.PolicyDenied},
		"mount from undeclared":    {"FROM image/base\nRUN --mount=from=golang,target=/g [\"/x\"]\n", 2, "golang is not a declared input", fault.PolicyDenied},
		"foreign platform":         {"FROM --platform=linux/arm64 image/base\nRUN [\"/x\"]\n", 1, "platform", fault.PolicyDenied},
		"syntax":                   {"# syntax=docker/dockerfile:1\nFROM image/base\n", 1, "syntax", fault.PolicyDenied},
		"user":                     {"FROM image/base\nUSER 1000\nRUN [\"/x\"]\n", 3, "0:0", fault.PolicyDenied},
		"chown by name":            {"FROM image/base\nCOPY --from=image/base --chown=nobody /a /b\n", 2, "number", fault.PolicyDenied},
		"device":                   {"FROM image/base\nRUN --device=vendor.example/class=name [\"/x\"]\n", 2, "device", fault.PolicyDenied},
		"mount over proc":          {"FROM image/base\nRUN --mount=from=image/base,target=/proc [\"/x\"]\n", 2, "mounted by the engine", fault.PolicyDenied},
		"mount in proc":            {"FROM image/base\nRUN --mount=type=tmpfs,target=/proc/sys [\"/x\"]\n", 2, "mounted by the engine", fault.PolicyDenied},
		"mount over sys":           {"FROM image/base\nRUN --mount=type=tmpfs,target=/sys/ [\"/x\"]\n", 2, "mounted by the engine", fault.PolicyDenied},
		"mount over hosts":         {"FROM image/base\nRUN --mount=from=image/base,source=/h,target=/etc/hosts [\"/x\"]\n", 2, "mounted by the engine", fault.PolicyDenied},
		"mount over the root":      {"FROM image/base\nRUN --mount=from=image/base,target=// [\"/x\"]\n", 2, "plain absolute path", fault.PolicyDenied},
		"mount around":             {"FROM image/base\nRUN --mount=type=tmpfs,target=/x/../proc [\"/x\"]\n", 2, "plain absolute path", fault.PolicyDenied},
		"mount in shm":             {"FROM image/base\nRUN --mount=type=tmpfs,target=/dev/shm,size=1g [\"/x\"]\n", 0, "", ""},
		"mount source up":          {"FROM image/base\nRUN --mount=from=image/base,source=../../etc,target=/t [\"/x\"]\n", 0, "", ""},
		"heredoc":                  {"FROM image/base\nRUN <<EOF\n#!/probe\nx\nEOF\n", 0, "", ""},
		"root by name":             {"FROM image/base\nUSER root\nWORKDIR /x\nCOPY --chown=root:root --from=image/base /a /b\nRUN [\"/x\"]\n", 0, "", ""},
		"root by half a name":      {"FROM image/base\nUSER root:1\nRUN [\"/x\"]\n", 3, "0:0", fault.PolicyDenied},
		"arg in from":              {"ARG BASE=alpine\nFROM $BASE\n", 2, "alpine is not a declared input", fault.PolicyDenied},
		"arg in from, declared":    {"ARG BASE=base\nFROM image/$BASE\n", 0, "", ""},
		"from in another case":     {"FROM image/base AS A\nFROM image/base\nCOPY --from=a / /\n", 0, "", ""},
		"unused stage":             {"FROM alpine AS never\nRUN --network=host [\"/x\"]\nFROM image/base\n", 0, "", ""},
		"input shadows the end":    {"FROM scratch AS first\nFROM scratch AS aliased\nENV A=b\n", 2, "replaces it", fault.Structure},
		"context as a name":        {"FROM context\n", 1, "context is not a declared input", fault.PolicyDenied},
		"platform variable":        {"FROM --platform=$BUILDPLATFORM image/base\nRUN [\"/x\"]\n", 0, "", ""},
		"check as error":           {"# check=error=true\nFROM image/base as x\n", 0, "", fault.Structure},
		"other escape":             {"# escape=`\nFROM image/base\nRUN --network=host `\n  /x\n", 3, "network", fault.PolicyDenied},
		"carriage returns":         {"FROM image/base\r\nRUN --network=host [\"/x\"]\r\n", 2, "network", fault.PolicyDenied},
		"byte order mark":          {"\ufeffFROM image/base\nRUN --network=host [\"/x\"]\n", 2, "network", fault.PolicyDenied},
		"syntax behind a mark":     {"\ufeff# syntax=docker/dockerfile:1\nFROM image/base\n", 1, "syntax", fault.PolicyDenied},
		"syntax as a comment":      {"#!/usr/bin/env docker\n// syntax=docker/dockerfile:1\nFROM image/base\n", 2, "syntax", fault.PolicyDenied},
		"zero byte":                {"FROM image/base\nRUN [\"/x\x00\"]\n", 2, "zero byte", fault.Structure},
		"a long line":              {"FROM image/base\nENV A=" + strings.Repeat("a", 1<<20) + "\n", 1, "65535", fault.Structure},
		"tmpfs of negative size":   {"FROM image/base\nRUN --mount=type=tmpfs,target=/t,size=-1 [\"/x\"]\n", 2, "size", fault.Structure},
		"proxy as an argument":     {"ARG HTTP_PROXY=http://x\nFROM image/base\nARG HTTP_PROXY\nRUN [\"/x\"]\n", 0, "", ""},
		"add from another stage":   {"FROM image/base AS a\nFROM image/base\nADD --from=a /x /y\n", 3, "", fault.Structure},
		"unknown instruction":      {"FROM image/base\nFETCH x\n", 2, "FETCH", fault.Structure},
		"no from":                  {"RUN [\"/x\"]\n", 1, "", fault.Structure},
		"empty":                    {"", 0, "", fault.Structure},
		"onbuild is only recorded": {"FROM image/base\nONBUILD RUN --network=host x\n", 0, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			err := e.Check(context.Background(), pipeline.Job{
				Stage: "bad", Platform: "linux/amd64", Epoch: 1, Exec: stages.RebuildExec, File: "bad/Containerfile",
				Containerfile: []byte(c.text), Inputs: []pipeline.Input{{Name: "image/base"}}, Alias: map[string]string{"aliased": "image/base"}, Export: "/out",
			})
			if c.code == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			var f *fault.Error
			if !errors.As(err, &f) || f.Code != c.code || !strings.Contains(f.Message, c.rule) {
				t.Fatalf("got %v", err)
			}
			if f.File != "bad/Containerfile" || f.Line != c.line || strings.Contains(f.Message, "\n") {
				t.Errorf("placed at %s:%d, want line %d: %q", f.File, f.Line, c.line, f.Message)
			}
			if c.code == fault.PolicyDenied && f.Hint == "" && name != "device" {
				t.Errorf("no hint with %q", f.Message)
			}
		})
	}
}

// The definition itself is judged, whatever made it: each of these could come
// from a bug above the policy, and none from a Containerfile.
func TestDefinitionRefused(t *testing.T) {
	known := store.DigestOf([]byte("an input"))
	limits := rules{platforms: []string{"linux/amd64"}, inputs: map[store.Digest]bool{known: true}, context: known, hostname: hostname}
	source := &pb.Op{Op: &pb.Op_Source{Source: &pb.SourceOp{
		Identifier: "oci-layout://rebuild.invalid/x@" + string(known), Attrs: map[string]string{pb.AttrOCILayoutStoreID: storeID}}}}
	exec := func(edit func(*pb.ExecOp)) *pb.Op {
		x := &pb.ExecOp{Network: pb.NetMode_NONE, Meta: &pb.Meta{Args: []string{"/x"}, Ulimit: []*pb.Ulimit{{Name: "nofile"}}}}
		edit(x)
		return &pb.Op{Op: &pb.Op_Exec{Exec: x}}
	}
	src := func(id string, attrs map[string]string) *pb.Op {
		return &pb.Op{Op: &pb.Op_Source{Source: &pb.SourceOp{Identifier: id, Attrs: attrs}}}
	}
	good := exec(func(*pb.ExecOp) {})
	if err := limits.check(defined(t, source, good)); err != nil {
		t.Fatalf("a sound definition is refused: %v", err)
	}
	for name, op := range map[string]*pb.Op{
		"network unset":           exec(func(x *pb.ExecOp) { x.Network = pb.NetMode_UNSET }),
		"network host":            exec(func(x *pb.ExecOp) { x.Network = pb.NetMode_HOST }),
		"network 7":               exec(func(x *pb.ExecOp) { x.Network = 7 }),
		"insecure":                exec(func(x *pb.ExecOp) { x.Security = pb.SecurityMode_INSECURE }),
		"no meta":                 exec(func(x *pb.ExecOp) { x.Meta = nil }),
		"no ulimit":               exec(func(x *pb.ExecOp) { x.Meta.Ulimit = nil }),
		"host name":               exec(func(x *pb.ExecOp) { x.Meta.Hostname = "other" }),
		"user":                    exec(func(x *pb.ExecOp) { x.Meta.User = "1000" }),
		"proxy":                   exec(func(x *pb.ExecOp) { x.Meta.ProxyEnv = &pb.ProxyEnv{HttpProxy: "http://x"} }),
		"extra host":              exec(func(x *pb.ExecOp) { x.Meta.ExtraHosts = []*pb.HostIP{{Host: "a", IP: "1.2.3.4"}} }),
		"cgroup":                  exec(func(x *pb.ExecOp) { x.Meta.CgroupParent = "/x" }),
		"exit codes":              exec(func(x *pb.ExecOp) { x.Meta.ValidExitCodes = []int32{0, 1} }),
		"secret env":              exec(func(x *pb.ExecOp) { x.Secretenv = []*pb.SecretEnv{{ID: "a"}} }),
		"device":                  exec(func(x *pb.ExecOp) { x.CdiDevices = []*pb.CDIDevice{{Name: "a"}} }),
		"mount type":              exec(func(x *pb.ExecOp) { x.Mounts = []*pb.Mount{{MountType: 9}} }),
		"cache mount type":        exec(func(x *pb.ExecOp) { x.Mounts = []*pb.Mount{{MountType: pb.MountType_CACHE}} }),
		"cache mount option":      exec(func(x *pb.ExecOp) { x.Mounts = []*pb.Mount{{CacheOpt: &pb.CacheOpt{ID: "a"}}} }),
		"mount result id":         exec(func(x *pb.ExecOp) { x.Mounts = []*pb.Mount{{ResultID: "a"}} }),
		"build":                   {Op: &pb.Op_Build{Build: &pb.BuildOp{}}},
		"no kind, not last":       {},
		"platform":                {Platform: &pb.Platform{OS: "linux", Architecture: "arm64"}, Op: good.Op},
		"platform variant":        {Platform: &pb.Platform{OS: "linux", Architecture: "amd64", Variant: "v3"}, Op: good.Op},
		"constraint":              {Constraints: &pb.WorkerConstraints{Filter: []string{"a"}}, Op: good.Op},
		"image":                   src("docker-image://docker.io/library/alpine@"+string(known), nil),
		"blob":                    src("oci-layout+blob://x@"+string(known), nil),
		"local":                   src("local://context", nil),
		"https":                   src("https://example.org/x", map[string]string{pb.AttrHTTPChecksum: string(known)}),
		"git":                     src("git://example.org/x.git#"+strings.Repeat("a", 40), nil),
		"other digest":            src("oci-layout://rebuild.invalid/x@"+string(store.DigestOf(nil)), map[string]string{pb.AttrOCILayoutStoreID: storeID}),
		"no digest":               src("oci-layout://rebuild.invalid/x:latest", map[string]string{pb.AttrOCILayoutStoreID: storeID}),
		"other store":             src("oci-layout://rebuild.invalid/x@"+string(known), map[string]string{pb.AttrOCILayoutStoreID: "other"}),
		"source attribute":        src("oci-layout://rebuild.invalid/x@"+string(known), map[string]string{"oci.session": "a"}),
		"owner by name":           {Op: &pb.Op_File{File: &pb.FileOp{Actions: []*pb.FileAction{{Action: &pb.FileAction_Mkdir{Mkdir: &pb.FileActionMkDir{Path: "/x", Owner: &pb.ChownOpt{User: &pb.UserOpt{User: &pb.UserOpt_ByName{ByName: &pb.NamedUserOpt{Name: "a"}}}}}}}}}}},
		"unpack elsewhere":        {Op: &pb.Op_File{File: &pb.FileOp{Actions: []*pb.FileAction{{SecondaryInput: 5, Action: &pb.FileAction_Copy{Copy: &pb.FileActionCopy{Src: "/a", Dest: "/", AttemptUnpackDockerCompatibility: true}}}}}}},
		"unknown field":           unknownField(good),
		"mount at the root twice": exec(func(x *pb.ExecOp) { x.Mounts = []*pb.Mount{{Dest: "/"}, {Dest: "/", MountType: pb.MountType_TMPFS}} }),
		"mount at no root":        exec(func(x *pb.ExecOp) { x.Mounts = []*pb.Mount{{Dest: "//"}} }),
		"mount target relative":   exec(func(x *pb.ExecOp) { x.Mounts = []*pb.Mount{{Dest: "proc"}} }),
		"mount target empty":      exec(func(x *pb.ExecOp) { x.Mounts = []*pb.Mount{{}} }),
		"mount selector up":       exec(func(x *pb.ExecOp) { x.Mounts = []*pb.Mount{{Dest: "/x", Selector: "../.."}} }),
		"tmpfs size": exec(func(x *pb.ExecOp) {
			x.Mounts = []*pb.Mount{{Dest: "/x", MountType: pb.MountType_TMPFS, TmpfsOpt: &pb.TmpfsOpt{Size: -1}}}
		}),
	} {
		t.Run(name, func(t *testing.T) {
			err := limits.check(defined(t, source, op, good))
			var d *denial
			if !errors.As(err, &d) || d.vertex == "" || d.reason == "" || d.field == "" {
				t.Fatalf("got %v", err)
			}
		})
	}
	for name, edit := range map[string]func(*pb.Definition){
		"source map": func(d *pb.Definition) { d.Source = &pb.Source{} },
		"unknown field": func(d *pb.Definition) {
			d.ProtoReflect().SetUnknown(protowire.AppendTag(nil, 99, protowire.VarintType))
		},
		"export cache": func(d *pb.Definition) { d.Metadata = map[string]*pb.OpMetadata{"x": {ExportCache: &pb.ExportCache{}}} },
		"resources": func(d *pb.Definition) {
			d.Metadata = map[string]*pb.OpMetadata{"x": {LinuxResources: &pb.LinuxResources{}}}
		},
		"not an op": func(d *pb.Definition) { d.Def = append(d.Def, []byte{0xff}) },
	} {
		d := defined(t, source, good)
		edit(d)
		if err := limits.check(d); err == nil {
			t.Errorf("%s is let through", name)
		}
	}
}

func defined(t *testing.T, ops ...*pb.Op) *pb.Definition {
	t.Helper()
	d := &pb.Definition{}
	for _, op := range ops {
		raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(op)
		if err != nil {
			t.Fatal(err)
		}
		d.Def = append(d.Def, raw)
	}
	return d
}

func unknownField(op *pb.Op) *pb.Op {
	changed := proto.Clone(op).(*pb.Op)
	exec := changed.GetExec()
	exec.ProtoReflect().SetUnknown(append(protowire.AppendTag(nil, 4242, protowire.VarintType), 1))
	return changed
}

// The table of what is allowed must speak of BuildKit's real messages and
// fields: a name that does not exist would allow nothing, silently.
func TestAllowedNamesExist(t *testing.T) {
	reachable := map[protoreflect.FullName]protoreflect.MessageDescriptor{}
	reach((&pb.Definition{}).ProtoReflect().Descriptor(), reachable)
	reach((&pb.Op{}).ProtoReflect().Descriptor(), reachable)
	for name, fields := range allowed {
		m, ok := reachable[name]
		if !ok {
			t.Errorf("%s is allowed but no part of a definition", name)
			continue
		}
		for _, n := range fields {
			if m.Fields().ByNumber(n) == nil {
				t.Errorf("%s has no field %d", name, n)
			}
		}
	}
}

func reach(m protoreflect.MessageDescriptor, seen map[protoreflect.FullName]protoreflect.MessageDescriptor) {
	if _, ok := seen[m.FullName()]; ok {
		return
	}
	seen[m.FullName()] = m
	for i := range m.Fields().Len() {
		if f := m.Fields().Get(i); f.IsMap() && f.MapValue().Message() != nil {
			reach(f.MapValue().Message(), seen)
		} else if f.Message() != nil && !f.IsMap() {
			reach(f.Message(), seen)
		}
	}
}
