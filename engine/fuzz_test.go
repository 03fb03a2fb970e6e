package engine

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/moby/buildkit/solver/pb"
	"google.golang.org/protobuf/proto"

	"rebuild/internal/fault"
	"rebuild/pipeline"
	"rebuild/stages"
)

// FuzzContainerfile holds for any text: a refusal with a code and no panic, or
// a definition in which a second, shorter reading of the rules finds nothing.
func FuzzContainerfile(f *testing.F) {
	for _, text := range []string{
		hello, sleeper,
		"ARG V=1.0\nFROM stagex/probe:latest AS tools\nFROM scratch AS build\nARG V\nARG SOURCE_DATE_EPOCH\nCOPY --from=tools . /\nADD packed.tar.gz /src/\nWORKDIR /src\nRUN --network=none --mount=type=tmpfs,target=/tmp --mount=from=tools,source=/,target=/t [\"/t/x\"]\nFROM stagex/probe\nLABEL v=$V\nCOPY --from=build /src/ /usr/\nUSER 1000:1000\nEXPOSE 80/tcp\n",
		"FROM image/base\nRUN --network=host --security=insecure [\"/x\"]\n",
		"FROM image/base\nRUN --mount=type=cache,target=/c --mount=type=secret,id=s --mount=type=ssh --device=a/b=c [\"/x\"]\n",
		"ARG B=image/base\nFROM --platform=$BUILDPLATFORM $B AS a\nADD --unpack --link --chown=1:1 x* http://h/y git@h:z.git /\nFROM a\nCOPY --from=a --parents --exclude=*.o /./x /\n",
		"# escape=`\n# check=skip=all;error=true\nFROM image/base\nRUN <<A <<B\na\nA\nb\nB\nCOPY <<-\"E\" <<F /x/\n\te\n\tE\nf\nF\nONBUILD ADD . /\nHEALTHCHECK NONE\nSHELL [\"/s\"]\nVOLUME /v\n",
		"FROM image/base\nFROM 0\nCOPY --from=1 / /\nCOPY --from=9 / /\nCOPY --from= / /\n",
	} {
		f.Add(text, true)
		f.Add(text, false)
	}
	e := New(Options{Store: f.TempDir()})
	f.Fuzz(func(t *testing.T, text string, rebuild bool) {
		j := pipeline.Job{
			Stage: "fuzz", Platform: "linux/386", Epoch: 1, Exec: stages.BuildKitExec, File: "Containerfile", Containerfile: []byte(text),
			Inputs: []pipeline.Input{{Name: "image/base"}, {Name: "image/probe"}}, Alias: map[string]string{"stagex/probe": "image/probe"}, Export: "/",
		}
		if rebuild {
			j.Exec = stages.RebuildExec
		}
		r, err := e.convert(context.Background(), j)
		if err != nil {
			var coded *fault.Error
			if !errors.As(err, &coded) || coded.Code == fault.Internal {
				t.Errorf("an error without a code that blames the text: %v", err)
			}
			return
		}
		for _, raw := range r.def.Def {
			op := &pb.Op{}
			if err := proto.Unmarshal(raw, op); err != nil {
				t.Fatal(err)
			}
			if id := op.GetSource().GetIdentifier(); id != "" && !(strings.HasPrefix(id, "oci-layout://") && strings.HasSuffix(id, "@"+string(notBuilt))) {
				t.Errorf("source %s", id)
			}
			x := op.GetExec()
			if x == nil {
				continue
			}
			if x.Network != pb.NetMode_NONE || x.Security != pb.SecurityMode_SANDBOX || len(x.Secretenv)+len(x.CdiDevices) > 0 {
				t.Errorf("exec %v", x)
			}
			if rebuild && (x.Meta.User != "0:0" || x.Meta.Hostname != hostname || !strings.Contains(strings.Join(x.Meta.Env, "\n"), "TZ=")) {
				t.Errorf("surroundings %v", x.Meta)
			}
			for _, m := range x.Mounts {
				if m.CacheOpt != nil || m.SecretOpt != nil || m.SSHOpt != nil || strings.Contains(m.Dest+"/", "/../") {
					t.Errorf("mount %v", m)
				}
			}
		}
	})
}
