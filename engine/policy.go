package engine

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/distribution/reference"
	"github.com/moby/buildkit/solver/pb"
	digest "github.com/opencontainers/go-digest"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"rebuild/store"
)

// PolicyVersion names the rules of this file and what a stage finds around it:
// what sealer writes into a definition and what the runtime shim fixes. A stage
// record made under another version is void, so tightening a rule rebuilds what
// was built under the looser one. Raise it with every change to any of them.
const PolicyVersion = "1"

// hostname is what a stage sees under rebuild.exec.v1.
const hostname = "rebuild"

// storeID is the one OCI store a solve can read: ours.
const storeID = "stages"

// allowed is the closed world: for every message that may occur in a
// definition, the numbers of the fields that may be set. A message type or
// field that is not here is refused, also one that a later BuildKit adds and
// this code has never heard of.
var allowed = map[protoreflect.FullName][]protoreflect.FieldNumber{
	"pb.Definition":        {1, 2},                                                  // def, metadata; Source stays on our side
	"pb.OpMetadata":        {1, 2, 5, 6},                                            // ignore_cache, description, caps, progress_group
	"pb.ProgressGroup":     {1, 2, 3},                                               //
	"pb.Op":                {1, 2, 3, 4, 6, 7, 10, 11},                              // not build=5, passthrough=8
	"pb.Platform":          {1, 2, 3, 4, 5},                                         //
	"pb.WorkerConstraints": {},                                                      // present but empty
	"pb.Input":             {1, 2},                                                  //
	"pb.ExecOp":            {1, 2, 3, 4},                                            // not secretenv=5, cdiDevices=6
	"pb.Meta":              {1, 2, 3, 4, 7, 9, 11},                                  // not proxy_env, extraHosts, cgroupParent, validExitCodes
	"pb.Ulimit":            {1, 2, 3},                                               //
	"pb.Mount":             {1, 2, 3, 4, 5, 6, 19},                                  // not cache=20, secret=21, ssh=22, resultID=23, contentCache=24
	"pb.TmpfsOpt":          {1},                                                     //
	"pb.SourceOp":          {1, 2},                                                  //
	"pb.FileOp":            {2},                                                     //
	"pb.FileAction":        {1, 2, 3, 4, 5, 6, 7, 8},                                //
	"pb.FileActionCopy":    {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}, //
	"pb.FileActionMkFile":  {1, 2, 3, 4, 5},                                         //
	"pb.FileActionMkDir":   {1, 2, 3, 4, 5},                                         //
	"pb.FileActionRm":      {1, 2, 3},                                               //
	"pb.FileActionSymlink": {1, 2, 3, 4},                                            //
	"pb.ChownOpt":          {1, 2},                                                  //
	"pb.UserOpt":           {2},                                                     // byID; a name would be looked up in a file of the stage
	"pb.MergeOp":           {1},                                                     //
	"pb.MergeInput":        {1},                                                     //
	"pb.DiffOp":            {1, 2},                                                  //
	"pb.LowerDiffInput":    {1},                                                     //
	"pb.UpperDiffInput":    {1},                                                     //
}

// rules are the values that a definition of one stage may name.
type rules struct {
	platforms []string              // the plan's and the machine's own, "os/architecture"
	inputs    map[store.Digest]bool // manifests that the stage declared, its context included
	context   store.Digest
	hostname  string // "" or the profile's
	// unpacks judges an ADD of these paths of the context: nil, or why it is
	// refused. BuildKit unpacks archives there, outside of any sandbox.
	unpacks func(action *pb.FileActionCopy) error
}

// denial is one broken rule in one vertex.
type denial struct {
	vertex digest.Digest
	field  string // what was set, in the words of the Containerfile where it has any
	reason string
	hint   string
	text   string // where the Containerfile says it, if the vertex has no line that does
}

func (d *denial) Error() string {
	if d.vertex == "" {
		return d.reason
	}
	return fmt.Sprintf("%s (%s, vertex %s)", d.reason, d.field, d.vertex.Encoded()[:12])
}

// check judges the definition that is about to be sent, exactly as it will be
// sent, and returns the first rule it breaks. It is the first of two walls; the
// executor guard under the solver is the second.
func (r rules) check(def *pb.Definition) error {
	if err := closed(def.ProtoReflect()); err != nil {
		return err
	}
	ops := make(map[string]*pb.Op, len(def.Def))
	for i, raw := range def.Def {
		at := digest.FromBytes(raw)
		op := &pb.Op{}
		if err := proto.Unmarshal(raw, op); err != nil {
			return &denial{vertex: at, field: "op", reason: "the vertex is not a readable operation"}
		}
		if err := closed(op.ProtoReflect()); err != nil {
			err.vertex = at
			return err
		}
		if err := r.checkOp(op, i == len(def.Def)-1, ops); err != nil {
			err.vertex = at
			return err
		}
		ops[at.String()] = op
	}
	return nil
}

// closed refuses every message, field or unknown byte that is not in allowed.
func closed(m protoreflect.Message) *denial {
	name := m.Descriptor().FullName()
	fields, known := allowed[name]
	if !known {
		return &denial{field: string(name), reason: "this kind of operation is not allowed"}
	}
	if len(m.GetUnknown()) > 0 {
		return &denial{field: string(name), reason: "the operation carries fields that this program does not know"}
	}
	var bad *denial
	m.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		if !slices.Contains(fields, fd.Number()) {
			bad = forbiddenField(string(name), string(fd.Name()))
			return false
		}
		bad = closedValue(fd, v)
		return bad == nil
	})
	return bad
}

func closedValue(fd protoreflect.FieldDescriptor, v protoreflect.Value) (bad *denial) {
	switch {
	case fd.IsMap():
		if fd.MapValue().Message() == nil {
			return nil
		}
		v.Map().Range(func(_ protoreflect.MapKey, mv protoreflect.Value) bool {
			bad = closed(mv.Message())
			return bad == nil
		})
	case fd.Message() == nil:
	case fd.IsList():
		for i := 0; i < v.List().Len() && bad == nil; i++ {
			bad = closed(v.List().Get(i).Message())
		}
	default:
		bad = closed(v.Message())
	}
	return bad
}

// forbiddenField words the fields that a Containerfile can reach the way its
// author knows them.
func forbiddenField(message, field string) *denial {
	reason, hint := "this setting is not allowed in a stage", ""
	switch message + "." + field {
	case "pb.Mount.cacheOpt", "pb.Mount.contentCache":
		reason, hint = "cache mounts are not allowed: what an earlier build left behind is no declared input", "remove --mount=type=cache"
	case "pb.Mount.secretOpt", "pb.ExecOp.secretenv":
		reason, hint = "secret mounts are not allowed: others can not rebuild with your secret", "remove --mount=type=secret"
	case "pb.Mount.SSHOpt":
		reason, hint = "ssh mounts are not allowed: a stage has no network and no agent", "remove --mount=type=ssh"
	case "pb.ExecOp.cdiDevices":
		reason, hint = "devices are not allowed", "remove --device"
	case "pb.Meta.extraHosts", "pb.Meta.proxy_env":
		reason, hint = "network settings are not allowed: a stage has no network", "remove proxy and host settings"
	case "pb.UserOpt.byName":
		reason, hint = "an owner must be given by number", "write --chown=UID:GID"
	}
	return &denial{field: message + "." + field, reason: reason, hint: hint}
}

func (r rules) checkOp(op *pb.Op, last bool, earlier map[string]*pb.Op) *denial {
	if p := op.Platform; p != nil {
		if name := p.OS + "/" + p.Architecture; !slices.Contains(r.platforms, name) || p.Variant != "" || p.OSVersion != "" || len(p.OSFeatures) > 0 {
			return &denial{field: "platform " + name, reason: "the platform is neither the plan's nor this machine's own",
				hint: "remove --platform or name the platform of the plan", text: "--platform"}
		}
	}
	switch x := op.Op.(type) {
	case nil:
		if !last {
			return &denial{field: "op", reason: "an operation of no kind is only allowed as the last vertex"}
		}
	case *pb.Op_Exec:
		return r.checkExec(x.Exec)
	case *pb.Op_Source:
		return r.checkSource(x.Source)
	case *pb.Op_File:
		return r.checkFile(op, x.File, earlier)
	case *pb.Op_Merge, *pb.Op_Diff:
	default:
		return &denial{field: fmt.Sprintf("%T", x), reason: "this kind of operation is not allowed"}
	}
	return nil
}

func (r rules) checkExec(e *pb.ExecOp) *denial {
	switch {
	case e.Network != pb.NetMode_NONE:
		return &denial{field: "network " + e.Network.String(), reason: "a stage has no network",
			hint: "remove --network, declare what is needed as a source and run rebuild fetch"}
	case e.Security != pb.SecurityMode_SANDBOX:
		return &denial{field: "security " + e.Security.String(), reason: "a stage runs sandboxed, never insecure",
			hint: "remove --security=insecure"}
	case e.Meta == nil:
		return &denial{field: "meta", reason: "the command is missing"}
	case !slices.Contains(rootNames, e.Meta.User):
		return &denial{field: "user " + e.Meta.User, reason: "commands of a stage run as 0:0",
			hint: "put USER after the last RUN, where it only sets the image's user"}
	case e.Meta.Hostname != "" && e.Meta.Hostname != r.hostname:
		return &denial{field: "hostname " + e.Meta.Hostname, reason: "the host name is fixed"}
	case len(e.Meta.Ulimit) == 0:
		return &denial{field: "ulimit", reason: "resource limits are missing, the host's would leak in"}
	}
	roots := 0
	for _, m := range e.Mounts {
		if d := checkMount(m); d != nil {
			return d
		}
		if m.Dest == pb.RootMount {
			roots++
		}
	}
	if roots > 1 {
		return &denial{field: "mount /", reason: "two mounts have the root as target"}
	}
	return nil
}

func checkMount(m *pb.Mount) *denial {
	switch m.MountType {
	case pb.MountType_BIND, pb.MountType_TMPFS:
	case pb.MountType_CACHE:
		return forbiddenField("pb.Mount", "cacheOpt")
	case pb.MountType_SECRET:
		return forbiddenField("pb.Mount", "secretOpt")
	case pb.MountType_SSH:
		return forbiddenField("pb.Mount", "SSHOpt")
	default:
		return &denial{field: "mount " + m.MountType.String(), reason: "this kind of mount is not allowed"}
	}
	at := path.Clean(m.Dest)
	switch {
	case m.Dest != at && m.Dest != at+"/" || !path.IsAbs(at) || m.Dest == "//":
		// "//" would reach runc as a second mount over the root.
		return &denial{field: "mount " + m.Dest, reason: "a mount's target must be a plain absolute path", hint: "write target=/DIR without . or .. or //"}
	case slices.Contains(ownMounts, at), strings.HasPrefix(at, "/proc/"), strings.HasPrefix(at, "/sys/"):
		return &denial{field: "mount " + m.Dest, reason: at + " of a stage is mounted by the engine and is the same everywhere", hint: "mount to another folder"}
	case m.Selector != "" && (!path.IsAbs(m.Selector) || path.Clean(m.Selector) != m.Selector):
		return &denial{field: "mount source " + m.Selector, reason: "a mount's source must be a plain absolute path", hint: "write source=/DIR without . or .."}
	case m.GetTmpfsOpt().GetSize() < 0:
		return &denial{field: "mount " + m.Dest, reason: "a tmpfs can not have a negative size", hint: "write size=BYTES"}
	}
	return nil
}

// ownMounts are what the engine mounts into every stage. A mount of the stage
// there would replace what must be the same on every host.
var ownMounts = []string{"/dev", "/proc", "/sys", "/etc/hosts", "/etc/resolv.conf"}

func (r rules) checkSource(s *pb.SourceOp) *denial {
	scheme, rest, ok := strings.Cut(s.Identifier, "://")
	if !ok || scheme != "oci-layout" {
		return deniedSource(scheme, s.Identifier)
	}
	ref, err := reference.ParseNormalizedNamed(rest)
	if err != nil {
		return &denial{field: s.Identifier, reason: "the reference is not readable"}
	}
	pinned, ok := ref.(reference.Canonical)
	if !ok {
		return &denial{field: s.Identifier, reason: "an input must be pinned by digest"}
	}
	d, err := store.ParseDigest(pinned.Digest().String())
	if err != nil || !r.inputs[d] {
		return &denial{field: s.Identifier, reason: "the digest is not one of the stage's declared inputs"}
	}
	for key, value := range s.Attrs {
		if key != pb.AttrOCILayoutStoreID || value != storeID {
			return &denial{field: s.Identifier + " " + key, reason: "this attribute of a source is not allowed"}
		}
	}
	return nil
}

func deniedSource(scheme, identifier string) *denial {
	d := &denial{field: identifier, reason: "an input is only ever an image of the store, by digest"}
	switch scheme {
	case "http", "https":
		d.reason = "ADD of a URL is not allowed: a stage has no network"
		d.hint = "declare the file as a [[source]] with its sha256 and COPY --from=source/NAME"
	case "git":
		d.reason = "ADD of a git repository is not allowed: a stage has no network"
		d.hint = "declare an archive of the commit as a [[source]] with its sha256"
	case "docker-image":
		d.reason = "images are not pulled"
		d.hint = "declare the image as an input and name it image/NAME"
	case "local":
		d.reason = "folders of the host are not mounted"
		d.hint = "put the files into the stage's context folder"
	}
	return d
}

func (r rules) checkFile(op *pb.Op, f *pb.FileOp, earlier map[string]*pb.Op) *denial {
	for _, a := range f.Actions {
		c := a.GetCopy()
		if c == nil || !c.AttemptUnpackDockerCompatibility {
			continue
		}
		if !r.fromContext(op, a.SecondaryInput, earlier) {
			return &denial{field: "ADD " + c.Src, reason: "ADD may only take the stage's own files: it unpacks archives outside of the sandbox",
				hint: "use COPY --from"}
		}
		if r.unpacks == nil {
			continue
		}
		if err := r.unpacks(c); err != nil {
			return &denial{field: "ADD " + path.Clean(c.Src), reason: err.Error(),
				hint: `declare the archive as a [[source]] with unpack = "tar", or set strict = false in pipeline.toml`}
		}
	}
	return nil
}

// users returns the vertices of def that take v as an input, in order.
func users(def *pb.Definition, v digest.Digest) []digest.Digest {
	var found []digest.Digest
	for _, raw := range def.Def {
		op := &pb.Op{}
		if proto.Unmarshal(raw, op) != nil {
			continue
		}
		if slices.ContainsFunc(op.Inputs, func(in *pb.Input) bool { return in.Digest == v.String() }) {
			found = append(found, digest.FromBytes(raw))
		}
	}
	return found
}

// fromContext says whether input n of op is the stage's own context, whose
// every file is pinned by the plan.
func (r rules) fromContext(op *pb.Op, n int64, earlier map[string]*pb.Op) bool {
	if n < 0 || n >= int64(len(op.Inputs)) {
		return false
	}
	from, ok := earlier[op.Inputs[n].Digest]
	if !ok || from.GetSource() == nil {
		return false
	}
	return strings.HasSuffix(from.GetSource().Identifier, "@"+string(r.context))
}
