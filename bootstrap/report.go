package bootstrap

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"rebuild/internal/document"
	"rebuild/internal/fault"
	"rebuild/store"
)

// MaxUntraced is how many executables without a trace a report names. All are
// counted.
const MaxUntraced = 100

// Report is a lineage in figures: the document whose digest results carry. It
// is derived and decides nothing; who has the trees can compute it again.
type Report struct {
	SchemaVersion string         `json:"schema_version"`
	Plan          store.Digest   `json:"plan,omitempty"`
	Pipeline      string         `json:"pipeline,omitempty"`
	Platform      string         `json:"platform,omitempty"`
	SeedBytes     int64          `json:"seed_bytes"`   // of distinct seeds
	OpaqueBytes   int64          `json:"opaque_bytes"` // brought in from outside, neither text nor seed
	Executables   Executables    `json:"executables"`
	Depth         int            `json:"depth"` // stages on the longest way from a seed
	Untraced      []Executable   `json:"untraced,omitempty"`
	Seeds         []ReportSeed   `json:"seeds,omitempty"`
	Sources       []ReportSource `json:"sources,omitempty"`
	Images        []ReportInput  `json:"images,omitempty"`
	Contexts      []ReportInput  `json:"contexts,omitempty"` // that hold more than text
	Stages        []ReportStage  `json:"stages"`             // in plan order
	Fixpoints     []ReportPair   `json:"fixpoints,omitempty"`
	Environment   Environment    `json:"environment"`
	Base          Base           `json:"base"`
}

// Executables counts distinct machine code, wherever it lies.
type Executables struct {
	Total  int `json:"total"`
	Traced int `json:"traced"`
}

// Untraced returns how many executables do not lead back to a seed.
func (e Executables) Untraced() int { return e.Total - e.Traced }

// Executable is one executable and where it comes from.
type Executable struct {
	Origin string       `json:"origin"` // KIND/NAME
	Path   string       `json:"path"`   // in the origin
	Digest store.Digest `json:"digest"`
	Size   int64        `json:"size"`
	Format string       `json:"format"`
}

// ReportSeed is a seed that equals its text.
type ReportSeed struct {
	Name   string       `json:"name"`
	Digest store.Digest `json:"digest"`
	Bytes  int64        `json:"bytes"`
}

// ReportInput is what came in from outside, apart from seeds.
type ReportInput struct {
	Name              string `json:"name"`
	Files             int    `json:"files"`
	Bytes             int64  `json:"bytes"`
	Code              int    `json:"code,omitzero"` // files of machine code, members of archives too
	CodeBytes         int64  `json:"code_bytes,omitzero"`
	Data              int    `json:"data,omitzero"`
	DataBytes         int64  `json:"data_bytes,omitzero"`
	Pregenerated      int    `json:"pregenerated,omitzero"` // text that a program wrote
	PregeneratedBytes int64  `json:"pregenerated_bytes,omitzero"`
}

// ReportSource is a source. Machine code in it is an error unless it was
// listed; what was listed is not in the tree.
type ReportSource struct {
	ReportInput
	Digest  store.Digest `json:"digest"` // of the archive
	Omitted int          `json:"omitted,omitzero"`
}

// ReportStage is a stage.
type ReportStage struct {
	Name        string       `json:"name"`
	Tree        store.Digest `json:"tree"`
	Origin      string       `json:"origin"` // one of the Origin constants
	Traced      bool         `json:"traced"`
	Depth       int          `json:"depth"`
	Visible     int          `json:"visible"`     // executables that it could have run
	Executables int          `json:"executables"` // in its output
	Made        int          `json:"made"`        // of these, not in its inputs
}

// ReportPair says whether two files are equal. A digest is "" if there is no
// executable at that place.
type ReportPair struct {
	A       string       `json:"a"`
	B       string       `json:"b"`
	DigestA store.Digest `json:"digest_a,omitempty"`
	DigestB store.Digest `json:"digest_b,omitempty"`
	Equal   bool         `json:"equal"`
}

// Report returns the lineage in figures.
func (l *Lineage) Report() *Report {
	g := l.graph
	r := &Report{
		SchemaVersion: document.Lineage.ID(), Plan: g.Plan, Pipeline: g.Pipeline, Platform: g.Platform,
		OpaqueBytes: l.opaque(), Depth: slices.Max(append(slices.Clone(l.depths), 0)),
		Stages: []ReportStage{}, Environment: g.Environment, Base: g.Base,
	}
	l.countExecutables(r)
	l.describeSeeds(r)
	for _, s := range g.Sources {
		in := l.describe(KindSource, s.Name)
		r.Sources = append(r.Sources, ReportSource{ReportInput: in, Digest: s.Digest, Omitted: len(s.Omit)})
	}
	for _, s := range g.Images {
		r.Images = append(r.Images, l.describe(KindImage, s.Name))
	}
	for i := range g.Stages {
		if s := &g.Stages[i]; s.Context != "" {
			if in := l.describe(KindContext, s.Name); in.Code+in.Data+in.Pregenerated > 0 {
				r.Contexts = append(r.Contexts, in)
			}
		}
		r.Stages = append(r.Stages, l.describeStage(i))
	}
	for _, p := range g.Fixpoints {
		a, b := l.digestAt(p.A), l.digestAt(p.B)
		r.Fixpoints = append(r.Fixpoints, ReportPair{p.A.String(), p.B.String(), a, b, a == b && a != ""})
	}
	return r
}

func (l *Lineage) countExecutables(r *Report) {
	for _, o := range l.executables() {
		r.Executables.Total++
		if o.traced {
			r.Executables.Traced++
		} else if len(r.Untraced) < MaxUntraced {
			r.Untraced = append(r.Untraced, o.executable())
		}
	}
}

func (o *origin) executable() Executable {
	return Executable{Origin: o.String(), Path: o.file.Path, Digest: o.file.Digest, Size: o.file.Size, Format: o.file.Format}
}

func (l *Lineage) describeSeeds(r *Report) {
	seen := map[store.Digest]bool{}
	for _, s := range l.graph.Seeds {
		n := int64(len(s.Bytes))
		r.Seeds = append(r.Seeds, ReportSeed{s.Name, s.Digest, n})
		if !seen[s.Digest] {
			seen[s.Digest] = true
			r.SeedBytes += n
		}
	}
}

func (l *Lineage) describe(kind, name string) ReportInput {
	c := l.trees[kind+"/"+name]
	r := ReportInput{
		Name: name, Files: c.files, Bytes: c.bytes, Code: len(c.code), Data: len(c.data),
		Pregenerated: c.pregenerated, PregeneratedBytes: c.pregeneratedBytes,
	}
	for _, f := range c.code {
		if !f.Enclosed {
			r.CodeBytes += f.Size
		}
	}
	for _, f := range c.data {
		r.DataBytes += f.Size
	}
	return r
}

func (l *Lineage) describeStage(i int) ReportStage {
	s := &l.graph.Stages[i]
	r := ReportStage{
		Name: s.Name, Tree: s.Tree, Origin: s.Origin, Traced: l.traced[i], Depth: l.depths[i],
		Visible: len(l.visible[i]), Executables: len(l.outputs[i]),
	}
	for d := range l.outputs[i] {
		if !l.visible[i][d] {
			r.Made++
		}
	}
	return r
}

// digestAt returns the executable at a place, "" if there is none.
func (l *Lineage) digestAt(p Place) store.Digest {
	if c := l.trees[KindStage+"/"+p.Stage]; c != nil {
		if f, ok := c.find(p.Path); ok {
			return f.Digest
		}
	}
	return ""
}

// Encode returns the report as canonical JSON.
func (r *Report) Encode() ([]byte, error) { return document.Encode(r) }

// Complete says whether everything leads back to the seeds and nothing else
// that nobody can read came in.
func (r *Report) Complete() bool { return r.Executables.Untraced() == 0 && r.OpaqueBytes == 0 }

// Enforce returns nil for a complete report with equal pairs, else LINEAGE_UNTRACED, which
// names the first executable without a trace, or what is opaque, or the first
// pair that should be equal and is not.
func (r *Report) Enforce() error {
	if len(r.Untraced) > 0 {
		u := r.Untraced[0]
		err := fault.New(fault.LineageUntraced, "%s %s of %s (%s) does not lead back to a seed", u.Path, u.Digest, u.Origin, u.Format).
			With("origin", u.Origin).With("path", u.Path).With("digest", string(u.Digest)).With("untraced", r.Executables.Untraced())
		return err.WithHint("build it in a stage from source, or leave it out of the inputs")
	}
	if r.OpaqueBytes > 0 {
		return fault.New(fault.LineageUntraced, "%d bytes that are neither text nor a seed came in from outside", r.OpaqueBytes).
			With("opaque_bytes", r.OpaqueBytes).
			WithHint("the report names the sources, images and contexts that hold them")
	}
	for _, p := range r.Fixpoints {
		if !p.Equal {
			return fault.New(fault.LineageUntraced, "fixpoint: %s", p)
		}
	}
	return nil
}

// Print writes the report for people. Names of files come from outside; clean
// makes them safe for a terminal.
func (r *Report) Print(w io.Writer, clean func(string) string) {
	fmt.Fprintf(w, "seed         %d bytes, opaque %d\n", r.SeedBytes, r.OpaqueBytes)
	fmt.Fprintf(w, "executables  traced %d/%d\n", r.Executables.Traced, r.Executables.Total)
	fmt.Fprintf(w, "depth        %d\n", r.Depth)
	fmt.Fprintf(w, "sources      %s\n", total(r.Sources))
	fmt.Fprintf(w, "environment  %s\n", r.Environment)
	for _, part := range r.Base.parts() {
		fmt.Fprintf(w, "trusted      %s\n", clean(part))
	}
	for _, in := range r.Images {
		fmt.Fprintf(w, "image        %s: %s\n", in.Name, in)
	}
	for _, in := range r.Contexts {
		fmt.Fprintf(w, "context      %s: %s\n", in.Name, in)
	}
	for _, s := range r.Stages {
		fmt.Fprintf(w, "stage        %s\n", s)
	}
	for _, p := range r.Fixpoints {
		fmt.Fprintf(w, "fixpoint     %s\n", clean(p.String()))
	}
	for _, u := range r.Untraced {
		fmt.Fprintf(w, "untraced     %s %s %s (%s)\n", u.Digest, u.Origin, clean(u.Path), u.Format)
	}
	if more := r.Executables.Untraced() - len(r.Untraced); more > 0 {
		fmt.Fprintf(w, "untraced     and %d others\n", more)
	}
}

func total(sources []ReportSource) string {
	var sum ReportInput
	for _, s := range sources {
		sum.Files += s.Files
		sum.Bytes += s.Bytes
		sum.Code += s.Code
		sum.CodeBytes += s.CodeBytes
		sum.Data += s.Data
		sum.DataBytes += s.DataBytes
		sum.Pregenerated += s.Pregenerated
		sum.PregeneratedBytes += s.PregeneratedBytes
	}
	return fmt.Sprintf("%d: %s", len(sources), sum)
}

// String returns the environment in one line.
func (e Environment) String() string {
	root := "empty roots"
	if !e.Scratch {
		root = "roots of images"
	}
	return fmt.Sprintf("%s, network %s, mounts %s, platform %s", root, cmp.Or(e.Network, "unknown"), cmp.Or(e.Mounts, "unknown"), cmp.Or(e.Platform, "unknown"))
}

// parts are what is trusted without proof, one a line.
func (b Base) parts() []string {
	var out []string
	part := func(what string, words ...string) {
		words = slices.DeleteFunc(words, func(w string) bool { return w == "" })
		if len(words) > 0 {
			out = append(out, what+" "+strings.Join(words, " "))
		}
	}
	part("processor", b.CPUVendor)
	part("kernel", b.Kernel)
	part("binfmt_misc", b.Binfmt...)
	part("engine", b.Engine, b.EngineVersion)
	part("runtime", b.Runtime, string(b.RuntimeDigest))
	part("rebuild", b.Rebuild, string(b.RebuildDigest))
	return out
}

// String returns the figures in one line.
func (r ReportInput) String() string {
	return fmt.Sprintf("%d files, %d bytes; code %d (%d bytes), data %d (%d bytes), pregenerated %d (%d bytes)",
		r.Files, r.Bytes, r.Code, r.CodeBytes, r.Data, r.DataBytes, r.Pregenerated, r.PregeneratedBytes)
}

// String returns the stage in one line.
func (s ReportStage) String() string {
	mark := "traced"
	if !s.Traced {
		mark = "NOT traced"
	}
	return fmt.Sprintf("%s %s, %s, depth %d, could run %d, made %d of %d executables", s.Name, mark, s.Origin, s.Depth, s.Visible, s.Made, s.Executables)
}

// String returns the pair in one line.
func (p ReportPair) String() string {
	if p.Equal {
		return fmt.Sprintf("%s = %s %s", p.A, p.B, p.DigestA)
	}
	return fmt.Sprintf("%s %s and %s %s DIFFER", p.A, p.DigestA, p.B, p.DigestB)
}
