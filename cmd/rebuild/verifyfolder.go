package main

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"rebuild/attest"
	"rebuild/internal/fault"
	"rebuild/store"
)

// Verifying all bundles of a folder: each is judged by itself, several at a
// time, and forgotten when its line is known.

const (
	bundleSuffix = ".rbundle"
	// maxBundles bounds a folder: more names than that are no collection that
	// anyone made, and all of them are in memory.
	maxBundles = 100_000
	// smallBundle is what is read at once; most bundles are smaller by far.
	smallBundle = 1 << 20
)

// isFolder says whether an argument names a folder. What can not be looked at
// is none, and fails when it is opened.
func isFolder(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// readBundle reads a bundle. Before the evidence of a large one is in memory,
// its release must be signed as the policy wants.
func readBundle(policy *attest.Policy, file string, in *largeInput) (*attest.Bundle, error) {
	if in.size > smallBundle {
		defer sparingly()()
		b, err := attest.ReadBundle(file, in, in.size, func(release []byte) error { return admit(policy, release) })
		return b, mistaken(err, aBundle, file, in.begin())
	}
	data := make([]byte, in.size)
	if _, err := io.ReadFull(io.NewSectionReader(in, 0, in.size), data); err != nil {
		return nil, unread(file, err)
	}
	b, err := attest.ReadBundle(file, bytes.NewReader(data), in.size, nil)
	return b, mistaken(err, aBundle, file, data)
}

// admit does not ask when: a logged release is judged as of its leaf, which is
// in the evidence.
func admit(policy *attest.Policy, release []byte) error {
	e, err := attest.ParseEnvelope("release", release)
	if err == nil {
		_, err = attest.ReadRelease(policy, e)
	}
	return err
}

// bundleLine is what became of one bundle of a folder.
type bundleLine struct {
	File    string       `json:"file"`
	OK      bool         `json:"ok"`
	Name    string       `json:"name,omitempty"`
	Version string       `json:"version,omitempty"`
	Word    string       `json:"word,omitempty"`
	Release store.Digest `json:"release,omitempty"`
	Code    fault.Code   `json:"code,omitempty"`
	Message string       `json:"message,omitempty"`

	err error
}

type folderResult []bundleLine

func (r folderResult) Print(out io.Writer) {
	for _, l := range r {
		if l.OK {
			fmt.Fprintf(out, "%s: %s %s %s\n", oneLine(l.File), l.Name, l.Version, l.Word)
		} else {
			fmt.Fprintf(out, "%s: %s\n", oneLine(l.File), l.Code)
		}
	}
}

// verifyFolder judges every bundle in a folder. It fails if one does, with the
// error of the first in the order of their names, and if there is none: nothing
// that was looked at is not the same as nothing that is wrong.
func (a *app) verifyFolder(o verifyOptions, dir string, reference []string, now time.Time) (result, error) {
	if len(reference) > 0 || len(o.artifacts) > 0 || o.index != "" || o.vsa.file != "" {
		return nil, fault.New(fault.Usage, "%s is a folder, and a name, --artifact, --index and --vsa are about one bundle", dir).
			WithHint("name the bundle, such as %s", filepath.Join(dir, "NAME-VERSION"+bundleSuffix))
	}
	policy, err := a.readPolicy(o.policy)
	if err != nil {
		return nil, err
	}
	root, err := openFolder(dir, fault.Usage)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	names, err := bundleNames(root, dir)
	if err != nil {
		return nil, err
	}
	lines := make(folderResult, len(names))
	eachIndex(len(names), func(i int) { lines[i] = verifyOne(policy, root, dir, names[i], now) })
	return lines, lines.err()
}

// bundleNames lists the bundles in a folder, sorted.
func bundleNames(root *os.Root, dir string) ([]string, error) {
	var names []string
	err := eachEntry(root, ".", dir, func(e fs.DirEntry) error {
		if strings.HasSuffix(e.Name(), bundleSuffix) {
			names = append(names, e.Name())
		}
		if len(names) > maxBundles {
			return fault.New(fault.Structure, "more than %d bundles, no more are read", maxBundles).At(dir, 0).
				WithHint("name a folder with fewer of them")
		}
		return nil
	})
	if err == nil && len(names) == 0 {
		err = fault.New(fault.IndexNoMatch, "%s holds no bundle, no file *%s", dir, bundleSuffix).WithHint("name a bundle or a folder of bundles")
	}
	slices.Sort(names)
	return names, err
}

// eachIndex calls work for 0 to n-1, as many at a time as there are processors,
// and returns when all are done.
func eachIndex(n int, work func(i int)) {
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(n, runtime.GOMAXPROCS(0)) {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				work(i)
			}
		})
	}
	wg.Wait()
}

func verifyOne(policy *attest.Policy, root *os.Root, dir, name string, now time.Time) bundleLine {
	l := bundleLine{File: name}
	account, err := verifyIn(policy, root, dir, name, now)
	if err != nil {
		l.Code, l.Message, l.err = codeOf(err), err.Error(), err
		return l
	}
	l.OK, l.Name, l.Version, l.Word, l.Release = true, account.Name, account.Version, account.Word, account.Release
	return l
}

func verifyIn(policy *attest.Policy, root *os.Root, dir, name string, now time.Time) (*attest.Account, error) {
	shown := filepath.Join(dir, name)
	f, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	in, err := largeRegular(f, err, shown, attest.MaxBundle)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	b, err := readBundle(policy, shown, in)
	if err != nil {
		return nil, err
	}
	return attest.Verify(policy, b, attest.Expect{}, now)
}

// err is nil only if every bundle passed.
func (r folderResult) err() error {
	failed := 0
	var first *bundleLine
	for i := range r {
		if r[i].OK {
			continue
		}
		if failed++; first == nil {
			first = &r[i]
		}
	}
	if first == nil {
		return nil
	}
	return fault.New(first.Code, "%d of %d bundles are refused, the first is %s: %w", failed, len(r), first.File, first.err)
}
