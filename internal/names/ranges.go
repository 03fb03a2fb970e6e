package names

import (
	"strings"
	"sync"
	"sync/atomic"

	"github.com/Masterminds/semver/v3"

	"rebuild/internal/fault"
)

// Range is a range of versions, such as ">=1.2.0, <2.0.0" or "^1.2". Its
// grammar is that of github.com/Masterminds/semver: a pre-release is in a range
// only if the range names one.
type Range struct {
	text string
	in   *semver.Constraints
}

// maxRange bounds what is parsed, in bytes: each "||" and "," costs.
const maxRange = 512

// ParseRange reads a range. STRUCTURE is one that is empty, longer than 512
// bytes or not of the grammar.
func ParseRange(s string) (Range, error) {
	if strings.TrimSpace(s) == "" || len(s) > maxRange {
		return Range{}, fault.New(fault.Structure, "%.80q is no range of versions: it is empty or longer than %d bytes", s, maxRange).
			WithHint("write one such as \">=1.2.0, <2.0.0\" or \"^1.2\"")
	}
	if known, ok := ranges.Load(s); ok {
		return Range{s, known.(*semver.Constraints)}, nil
	}
	c, err := semver.NewConstraint(s)
	if err != nil {
		return Range{}, fault.New(fault.Structure, "%.80q is no range of versions", s).WithHint(`write one such as ">=1.2.0, <2.0.0" or "^1.2"`)
	}
	if rangesKept.Add(1) <= maxRangesKept {
		ranges.Store(s, c)
	}
	return Range{s, c}, nil
}

// ranges are the first that were parsed: the packages of an index have few
// different ones, and each is parsed wherever a document with it is read.
var (
	ranges     sync.Map // *semver.Constraints by text
	rangesKept atomic.Int64
)

const maxRangesKept = 1024

// String returns the range as it was written.
func (r Range) String() string { return r.text }

// Has says whether a version, which [Version] takes, is in the range. +build
// does not count.
func (r Range) Has(version string) bool {
	v, err := semver.StrictNewVersion(version)
	return err == nil && r.in != nil && r.in.Check(v)
}
