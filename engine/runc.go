package engine

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strings"
	"time"

	"golang.org/x/mod/semver"

	"rebuild/internal/fault"
	"rebuild/store"
)

// runcBinary is the runtime that stages run under.
type runcBinary struct {
	path    string
	version string // "1.4.3"
	digest  store.Digest
}

// findRunc returns the runc to use: the one named, else the embedded one, else
// the first in path. With an embedded runc the search path is never looked at.
func findRunc(named, path, cache string) (runcBinary, error) {
	file := named
	if file == "" && embeddedRunc != nil {
		unpacked, err := unpackRunc(cache)
		if err != nil {
			return runcBinary{}, err
		}
		file = unpacked
	}
	if file == "" {
		file = lookRunc(path)
	}
	if file == "" {
		return runcBinary{}, fault.New(fault.EngineUnavailable, "no runc: this binary carries none and PATH has none").
			WithHint("build with make build, which embeds one, or give --runc FILE")
	}
	return inspectRunc(file)
}

const runcName = "runc"

// install copies runc into an engine root, checking its hash on the way: the
// bytes that were judged are the bytes that run, whatever happens to the file
// they came from. It must be a file of its own there, not a bind mount: runc
// seals itself through an overlay of its folder, which shows what lies below.
func (r runcBinary) install(dir string) error {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return fault.New(fault.EngineUnavailable, "installing runc: %w", err)
	}
	got, err := copyExecutable(filepath.Join(dir, runcName), r.path)
	if err != nil {
		return fault.New(fault.EngineUnavailable, "installing runc: %w", err)
	}
	if got != r.digest {
		return fault.New(fault.EngineUnavailable, "runc changed while it was installed: %s is %s, want %s", r.path, got, r.digest)
	}
	return nil
}

func copyExecutable(to, from string) (store.Digest, error) {
	in, err := os.Open(from)
	if err != nil {
		return "", err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o700)
	if err != nil {
		return "", err
	}
	h := sha256.New()
	_, err = io.Copy(io.MultiWriter(out, h), in)
	return store.DigestOfSum(h.Sum(nil)), errors.Join(err, out.Close())
}

func lookRunc(path string) string {
	for _, dir := range filepath.SplitList(path) {
		if !filepath.IsAbs(dir) {
			continue
		}
		file := filepath.Join(dir, "runc")
		if info, err := os.Stat(file); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return file
		}
	}
	return ""
}

func inspectRunc(file string) (runcBinary, error) {
	file, err := filepath.Abs(file)
	if err != nil {
		return runcBinary{}, err
	}
	digest, err := digestFile(file)
	if err != nil {
		return runcBinary{}, fault.New(fault.EngineUnavailable, "reading runc: %w", err).WithHint("give --runc the path of a runc program, or leave it out")
	}
	version := embeddedVersion
	if embeddedRunc == nil || digest != embeddedDigest {
		if version, err = askVersion(file); err != nil {
			return runcBinary{}, err
		}
	}
	if err := checkVersion(file, version); err != nil {
		return runcBinary{}, err
	}
	return runcBinary{file, version, digest}, nil
}

func digestFile(file string) (store.Digest, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return store.DigestOfSum(h.Sum(nil)), nil
}

// versionTimeout is how long a runc that was not built in may take to tell its
// version.
const versionTimeout = 5 * time.Second

func askVersion(file string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), versionTimeout)
	defer cancel()
	out := &tail{max: 4 << 10}
	cmd := exec.CommandContext(ctx, file, "--version")
	cmd.Env = []string{}
	cmd.Stdout = out
	cmd.WaitDelay = time.Second // for what a program that is not runc leaves running
	if err := cmd.Run(); err != nil {
		return "", fault.New(fault.EngineUnavailable, "asking %s for its version: %w", file, err).
			WithHint("give --runc the path of a runc program")
	}
	first, _, _ := strings.Cut(string(out.bytes()), "\n")
	version, ok := strings.CutPrefix(first, "runc version ")
	if !ok {
		return "", fault.New(fault.EngineUnavailable, "%s is not runc: it says %q", file, first).
			WithHint("give --runc the path of a runc program")
	}
	return strings.TrimSpace(version), nil
}

// advisory is the newest advisory that a rootfs of a stage could use; the
// releases that fix it fix the earlier ones too (CVE-2025-31133,
// CVE-2025-52565, CVE-2025-52881, CVE-2024-21626).
const advisory = "CVE-2026-41579"

// fixedSince are the first releases with the fix, by minor line; later lines
// all have it.
var fixedSince = map[string]string{"v1.3": "v1.3.6", "v1.4": "v1.4.3", "v1.5": "v1.5.0"}

func checkVersion(file, version string) error {
	v := "v" + strings.SplitN(version, "+", 2)[0]
	fixed, known := fixedSince[semver.MajorMinor(v)]
	switch {
	case !semver.IsValid(v):
		return fault.New(fault.EngineUnavailable, "%s has the unreadable version %q", file, version)
	case known && semver.Compare(v, fixed) >= 0, !known && semver.Compare(v, "v1.5.0") > 0:
		return nil
	}
	return fault.New(fault.EngineUnavailable, "%s is version %s, which has %s", file, version, advisory).
		With("advisory", advisory).
		WithHint("use runc 1.4.3 or newer (1.3.6 in the 1.3 line), or a rebuild built with make build")
}

// unpackRunc writes the embedded runc to the cache once. Its hash is checked
// at every start, so a changed file in the cache is replaced, never run.
func unpackRunc(cache string) (string, error) {
	file := filepath.Join(cache, "runc-"+embeddedDigest.Hex()[:16])
	if have, err := digestFile(file); err == nil && have == embeddedDigest {
		return file, nil
	}
	if err := writeRunc(file); err != nil {
		return "", fault.New(fault.EngineUnavailable, "unpacking runc: %w", err).
			WithHint("make the cache folder writable, or give --runc FILE")
	}
	return file, nil
}

func writeRunc(file string) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	unpacked, err := gzip.NewReader(bytes.NewReader(embeddedRunc))
	if err != nil {
		return err
	}
	temp, err := os.CreateTemp(filepath.Dir(file), "runc-*")
	if err != nil {
		return err
	}
	defer os.Remove(temp.Name())
	h := sha256.New()
	_, err = io.Copy(io.MultiWriter(temp, h), unpacked)
	if err == nil {
		err = temp.Chmod(0o755)
	}
	if err = errors.Join(err, temp.Close()); err != nil {
		return err
	}
	if got := store.DigestOfSum(h.Sum(nil)); got != embeddedDigest {
		return fmt.Errorf("the embedded runc unpacks to %s, want %s", got, embeddedDigest)
	}
	return os.Rename(temp.Name(), file)
}

// buildkitVersion is the version of the BuildKit module in this binary.
func buildkitVersion() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	for _, m := range info.Deps {
		if m.Path == "github.com/moby/buildkit" {
			return m.Version
		}
	}
	return "unknown"
}
