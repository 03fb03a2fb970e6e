package pull

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"

	"rebuild/attest"
	"rebuild/index"
	"rebuild/internal/durable"
	"rebuild/internal/fault"
	"rebuild/store"
)

// layOut makes the output of what was verified.
func (p *puller) layOut(ctx context.Context, primary *got) (*Result, error) {
	all := p.sorted(primary)
	s, err := newStage(p.o.Output)
	if err != nil {
		return nil, err
	}
	defer s.close()
	r := &Result{Output: p.o.Output, Files: []string{}, Verified: []Verifies{}, Unpinned: slices.Sorted(slices.Values(p.unpinned))}
	var done []store.Digest
	for _, g := range all {
		done = append(done, g.digest())
		name, err := p.place(ctx, s, g)
		if err != nil {
			return nil, err
		}
		r.Files = append(r.Files, name)
		r.Verified = append(r.Verified, Verifies{g.entry.Name, g.entry.Version, g.entry.Release, g.release.Snapshot, g.entry.Cksum, g.entry.Yanked})
	}
	if err := s.show(); err != nil {
		return nil, err
	}
	p.o.Cache.drop(done)
	return r, nil
}

// place puts one package into the stage and returns what it is called there.
func (p *puller) place(ctx context.Context, s *stage, g *got) (string, error) {
	if err := ctx.Err(); err != nil {
		return "", err
	}
	name := g.fileName()
	if p.o.Bundles {
		b, err := p.o.Index.Bundle(ctx, g.entry)
		if err != nil {
			return "", err
		}
		data, err := b.Encode()
		if err != nil {
			return "", err
		}
		if err := s.write(name+".rbundle", data); err != nil {
			return "", err
		}
	}
	if p.o.Trees == nil {
		return name + ".tar", p.placeArchive(ctx, s, name+".tar", g.digest())
	}
	archive, err := p.archive(ctx, g.digest())
	if err != nil {
		return "", err
	}
	s.trees = true
	layer, err := p.o.Trees.PutTar(bytes.NewReader(archive), 1)
	if err != nil {
		return "", err
	}
	// The tree is taken apart from a layer of ours, so every name in it was
	// judged before the first file is made.
	return name, p.o.Trees.Extract(layer.Digest, filepath.Join(s.dir, name), store.ExtractOptions{})
}

// placeArchive puts an archive into the stage. Its file in the cache was verified
// a while ago, and another pull may have put the beginning of a download in its
// place since: what was placed is hashed.
func (p *puller) placeArchive(ctx context.Context, s *stage, name string, want store.Digest) error {
	if data := p.o.Cache.packed(want); data != nil {
		return s.write(name, data)
	}
	if err := s.take(name, p.o.Cache.file(want)); err == nil {
		if data, err := readFile(filepath.Join(s.dir, name), attest.MaxArchive); err == nil && store.DigestOf(data) == want {
			return nil
		}
	}
	if err := durable.RemoveAll(filepath.Join(s.dir, name)); err != nil {
		return failed(s.output, err)
	}
	s.files = slices.DeleteFunc(s.files, func(f string) bool { return f == filepath.Join(s.dir, name) })
	data, err := p.archive(ctx, want)
	if err != nil {
		return err
	}
	return s.write(name, data)
}

// archive returns a verified archive's bytes, again from the index if need be.
func (p *puller) archive(ctx context.Context, want store.Digest) ([]byte, error) {
	data, err := p.o.Cache.archive(ctx, index.ObjectPath(want), attest.MaxArchive)
	if err != nil {
		return nil, about(string(want), err)
	}
	return data, nil
}

// stage is a hidden folder beside the output, which becomes it. Its name
// follows from the output's, so that what a killed pull left is swept by the
// next one; the lock on it tells which of them is alive.
type stage struct {
	output, dir string
	lock        *os.File
	files       []string
	trees       bool // it holds more than files
	shown       bool
}

func newStage(output string) (*stage, error) {
	output, err := filepath.Abs(output)
	if err != nil {
		return nil, failed(output, err)
	}
	parent := filepath.Dir(output)
	if err := durable.MkdirAll(durable.OS{}, parent); err != nil {
		return nil, failed(output, err)
	}
	dir := filepath.Join(parent, "."+filepath.Base(output)+".pull")
	lock, err := durable.Claim(dir)
	switch {
	case errors.Is(err, durable.ErrClaimed):
		return nil, fault.New(fault.Usage, "another pull is writing %s", output).WithHint("wait for it to end, or name another folder")
	case errors.Is(err, durable.ErrInTheWay):
		return nil, fault.New(fault.Usage, "%s: %w", dir, err).WithHint("remove it, or name another folder")
	case err != nil:
		return nil, failed(output, err)
	}
	return &stage{output: output, dir: dir, lock: lock}, nil
}

// close removes the stage, unless it became the output.
func (s *stage) close() {
	if !s.shown {
		durable.RemoveAll(s.dir)
	}
	s.lock.Close()
}

// take gives a file of the cache a second name in the stage.
func (s *stage) take(name, from string) error {
	to := filepath.Join(s.dir, name)
	if err := os.Link(from, to); err != nil {
		return err
	}
	s.files = append(s.files, to)
	return nil
}

func (s *stage) write(name string, data []byte) error {
	to := filepath.Join(s.dir, name)
	s.files = append(s.files, to)
	return failed(s.output, os.WriteFile(to, data, 0o644))
}

// show makes everything durable and then visible. A crash before the rename
// leaves a hidden folder, after it the whole output.
func (s *stage) show() error {
	if err := s.sync(); err != nil {
		return failed(s.output, err)
	}
	if _, err := os.Lstat(s.output); err == nil {
		return s.compare()
	}
	if err := os.Rename(s.dir, s.output); err != nil {
		return failed(s.output, err)
	}
	s.shown = true
	return failed(s.output, durable.OS{}.SyncDir(filepath.Dir(s.output)))
}

// sync makes the files durable side by side: a journal then writes them in few
// transactions. Of trees, with files without number, it is the file system as a
// whole.
func (s *stage) sync() error {
	if s.trees {
		return unix.Syncfs(int(s.lock.Fd()))
	}
	if err := each(s.files, 64, syncFile); err != nil {
		return err
	}
	return durable.OS{}.SyncDir(s.dir)
}

// compare wants an output that is there to be the same, file by file.
func (s *stage) compare() error {
	want, err := listing(s.dir)
	if err != nil {
		return failed(s.output, err)
	}
	have, err := listing(s.output)
	if err == nil && slices.Equal(want, have) {
		return nil
	}
	return fault.New(fault.Usage, "%s is there already, with other content", s.output).WithHint("remove it, or name another folder with --output")
}

// listing describes every file below a folder, with its content.
func listing(dir string) ([]string, error) {
	var out []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		line := rel + "\x00" + d.Type().String()
		switch {
		case d.Type().IsRegular():
			info, err := d.Info()
			if err != nil {
				return err
			}
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			line += info.Mode().String() + string(store.DigestOf(data))
		case d.Type() == fs.ModeSymlink:
			target, err := os.Readlink(path)
			if err != nil {
				return err
			}
			line += target
		}
		out = append(out, line)
		return nil
	})
	return out, err
}

// failed says of a failure to write which output it was for.
func failed(output string, err error) error {
	var coded *fault.Error
	switch {
	case err == nil || errors.As(err, &coded) || errors.Is(err, context.Canceled):
		return err
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT), errors.Is(err, syscall.EIO):
		return fault.New(fault.Internal, "writing %s: %w", output, err)
	}
	return fault.New(fault.Usage, "writing %s: %w", output, err).WithHint("name a place that can be written to")
}
