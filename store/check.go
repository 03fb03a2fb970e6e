package store

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"rebuild/internal/fault"
)

// refuse reports an entry that no tree can have. cause is the word that
// testdata/tree-vectors.json uses, so that a test can tell a refusal from a
// refusal for another reason; detail, a format and its arguments, is for the
// reader.
func refuse(path, cause string, detail ...any) error {
	msg := cause
	if len(detail) > 0 {
		msg += ": " + fmt.Sprintf(detail[0].(string), detail[1:]...)
	}
	return fault.New(fault.Structure, "tree entry %q is refused: %s", path, msg).
		With("path", strings.ToValidUTF8(path, "\uFFFD")).With("cause", cause)
}

// checkEntry judges one entry by itself.
func checkEntry(e *Entry) error {
	if err := checkPath(e.Path); err != nil {
		return err
	}
	if err := checkOwner(e); err != nil {
		return err
	}
	switch e.Type {
	case Dir, Fifo:
	case Regular:
		if e.Size < 0 {
			return refuse(e.Path, "size")
		}
	case Symlink, Link:
		if err := checkTarget(e); err != nil {
			return err
		}
	case Char, Block:
		if err := checkDevice(e); err != nil {
			return err
		}
	default:
		return refuse(e.Path, "type", "%q is not a type that a tree has", rune(e.Type))
	}
	return checkXattrs(e)
}

func checkOwner(e *Entry) error {
	if e.Mode&^0o7777 != 0 || e.Type == Symlink && e.Mode != 0o777 {
		return refuse(e.Path, "mode", "%o", e.Mode)
	}
	if e.UID < 0 || e.UID > MaxOwner || e.GID < 0 || e.GID > MaxOwner {
		return refuse(e.Path, "owner", "%d:%d, at most %d is possible", e.UID, e.GID, MaxOwner)
	}
	return nil
}

// checkPath refuses what can not be a path below the root. It is the only
// judge of names that come from archives.
func checkPath(p string) error {
	switch {
	case strings.HasPrefix(p, "/"):
		return refuse(p, "path: absolute")
	case len(p) > MaxPath:
		return refuse(p[:64]+"...", "path: too long", "%d bytes, at most %d are possible", len(p), MaxPath)
	case strings.IndexByte(p, 0) >= 0:
		return refuse(p, "path: NUL")
	case !utf8.ValidString(p):
		return refuse(p, "path: not UTF-8")
	}
	for c := range strings.SplitSeq(p, "/") {
		switch {
		case c == "" || c == "." || c == "..":
			return refuse(p, "path: component", "%q", c)
		case len(c) > MaxComponent:
			return refuse(p, "path: too long", "a component of %d bytes, at most %d are possible", len(c), MaxComponent)
		case strings.HasPrefix(c, ".wh."):
			return refuse(p, "whiteout", "union file systems take %q for a deletion", c)
		}
	}
	return nil
}

func checkTarget(e *Entry) error {
	switch {
	case e.Target == "" || len(e.Target) > MaxPath:
		return refuse(e.Path, "target: length", "%d bytes, 1 to %d are possible", len(e.Target), MaxPath)
	case strings.IndexByte(e.Target, 0) >= 0:
		return refuse(e.Path, "target: NUL")
	case !utf8.ValidString(e.Target):
		return refuse(e.Path, "target: not UTF-8")
	}
	return nil
}

func checkDevice(e *Entry) error {
	switch {
	case e.Major == 0 && e.Minor == 0 && e.Type == Char:
		return refuse(e.Path, "whiteout", "union file systems take the device 0,0 for a deletion")
	case e.Major == 0 && e.Minor == 0:
		return refuse(e.Path, "whiteout", "device 0,0")
	case e.Major < 0 || e.Major > MaxDevice || e.Minor < 0 || e.Minor > MaxDevice:
		return refuse(e.Path, "device", "%d,%d, at most %d is possible", e.Major, e.Minor, MaxDevice)
	}
	return nil
}

// sortXattrs returns the counted attributes of xs, sorted: the host's label
// is dropped, what is refused stays for checkXattrs to find.
func sortXattrs(xs []Xattr) []Xattr {
	xs = slices.DeleteFunc(slices.Clone(xs), func(x Xattr) bool { return x.Name == "security.selinux" })
	slices.SortStableFunc(xs, func(a, b Xattr) int { return strings.Compare(a.Name, b.Name) })
	if len(xs) == 0 {
		return nil
	}
	return xs
}

func checkXattrs(e *Entry) error {
	if len(e.Xattrs) > 0 && e.Type == Link {
		return refuse(e.Path, "xattr: on a link")
	}
	total := 0
	for i, x := range e.Xattrs {
		if cause := judgeXattr(x); cause != "" {
			return refuse(e.Path, cause, "%q", x.Name)
		}
		if i > 0 && e.Xattrs[i-1].Name >= x.Name {
			return refuse(e.Path, "xattr: twice", "%q, or not sorted", x.Name)
		}
		total += len(paxRecord(xattrKey+x.Name, x.Value))
	}
	// Beyond this no reader of tar archives that we know takes the records.
	if total+3*(MaxPath+32) > maxPAX {
		return refuse(e.Path, "xattr: too many", "%d bytes in all", total)
	}
	return nil
}

func judgeXattr(x Xattr) (cause string) {
	switch n := x.Name; {
	case strings.IndexByte(n, 0) >= 0:
		return "xattr: NUL"
	case !utf8.ValidString(n):
		return "xattr: not UTF-8"
	case strings.Contains(n, "="):
		return "xattr: = in name"
	case strings.Contains(n, ".overlay."):
		return "xattr: overlay"
	case n != "security.capability" && !strings.HasPrefix(n, "system.posix_acl_") && !strings.HasPrefix(n, "user."):
		return "xattr: name not allowed"
	case len(x.Value) > MaxXattr:
		return "xattr: value too long"
	}
	return ""
}

func checkEpoch(epoch int64) error {
	if epoch < 0 || epoch > MaxEpoch {
		return fault.New(fault.Structure, "epoch %d is not within 0 to %d", epoch, int64(MaxEpoch)).With("cause", "epoch")
	}
	return nil
}
