package engine

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/buildkit/solver/pb"
	digest "github.com/opencontainers/go-digest"
	"google.golang.org/protobuf/proto"

	"rebuild/stages"
)

// fillEnvironment returns env with the variables of rebuild.exec.v1 that it
// does not set: HOME, LC_ALL, SOURCE_DATE_EPOCH, TZ, in this order. What the
// Containerfile declares wins (formats.md 4).
func fillEnvironment(env []string, epoch int64) []string {
	for _, v := range []string{"HOME=/", "LC_ALL=C", "SOURCE_DATE_EPOCH=" + strconv.FormatInt(epoch, 10), "TZ=UTC"} {
		name, _, _ := strings.Cut(v, "=")
		if !hasVariable(env, name) {
			env = append(env, v)
		}
	}
	return env
}

func hasVariable(env []string, name string) bool {
	for _, v := range env {
		if strings.HasPrefix(v, name+"=") {
			return true
		}
	}
	return false
}

// sealer returns the edit that makes every operation of a definition the same on
// every host. Root is written by number: as a name, or as nothing, BuildKit
// would look its groups up in files of the stage. An exec's own user stays as
// it is under buildkit.exec.v1, since a stock engine does look it up.
func sealer(profile stages.Profile, epoch int64) func(*pb.Op) {
	return func(op *pb.Op) {
		for _, a := range op.GetFile().GetActions() {
			numberRoot(ownerOf(a))
		}
		if meta := op.GetExec().GetMeta(); meta != nil && profile == stages.RebuildExec {
			meta.Env = fillEnvironment(meta.Env, epoch)
			if slices.Contains(rootNames, meta.User) {
				meta.User = "0:0"
			}
		}
	}
}

// rootNames are the ways in which a Containerfile can name the only user that
// commands of a stage run as.
var rootNames = []string{"", "0", "root", "0:0", "root:root"}

// ownerOf returns the owner that a file action gives, nil if it gives none.
func ownerOf(a *pb.FileAction) *pb.ChownOpt {
	switch x := a.Action.(type) {
	case *pb.FileAction_Copy:
		return x.Copy.GetOwner()
	case *pb.FileAction_Mkfile:
		return x.Mkfile.GetOwner()
	case *pb.FileAction_Mkdir:
		return x.Mkdir.GetOwner()
	case *pb.FileAction_Symlink:
		return x.Symlink.GetOwner()
	}
	return nil
}

func numberRoot(owner *pb.ChownOpt) {
	for _, u := range []*pb.UserOpt{owner.GetUser(), owner.GetGroup()} {
		if u.GetByName().GetName() == "root" {
			u.User = &pb.UserOpt_ByID{ByID: 0}
		}
	}
}

// rewrite returns def with edit applied to every operation, and for each
// vertex its digest before. A definition is topologically sorted, so one pass
// can carry changed digests into the inputs of later vertices.
func rewrite(def *pb.Definition, edit func(*pb.Op)) (*pb.Definition, map[digest.Digest]digest.Digest, error) {
	out := &pb.Definition{Metadata: map[string]*pb.OpMetadata{}}
	renamed := map[string]string{}
	before := map[digest.Digest]digest.Digest{}
	for _, raw := range def.Def {
		op := &pb.Op{}
		if err := proto.Unmarshal(raw, op); err != nil {
			return nil, nil, fmt.Errorf("reading the definition: %w", err)
		}
		for _, in := range op.Inputs {
			to, ok := renamed[in.Digest]
			if !ok {
				return nil, nil, fmt.Errorf("reading the definition: input %s comes after its user", in.Digest)
			}
			in.Digest = to
		}
		edit(op)
		edited, err := proto.MarshalOptions{Deterministic: true}.Marshal(op)
		if err != nil {
			return nil, nil, fmt.Errorf("writing the definition: %w", err)
		}
		from, to := digest.FromBytes(raw), digest.FromBytes(edited)
		renamed[from.String()] = to.String()
		before[to] = from
		out.Def = append(out.Def, edited)
		if meta, ok := def.Metadata[from.String()]; ok {
			out.Metadata[to.String()] = meta
		}
	}
	return out, before, nil
}
