//go:build interop

package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"

	"rebuild/attest"
	"rebuild/oci"
	"rebuild/store"
)

// What we hand on is worth something only where the programs of others take it,
// and refuse it when it is not what was signed. These tests run the real ones:
// make test-interop builds them into the folder $REBUILD_INTEROP.

func program(t *testing.T, name string) string {
	t.Helper()
	dir := os.Getenv("REBUILD_INTEROP")
	if dir == "" {
		t.Fatal("REBUILD_INTEROP is not set; run make test-interop")
	}
	path := filepath.Join(dir, name)
	if _, err := os.Stat(path); err != nil {
		t.Fatal(err)
	}
	return path
}

// strictRegistry starts the registry of CNCF distribution, which checks what
// it is given and has no referrers API.
func strictRegistry(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	host := l.Addr().String()
	l.Close()
	dir := t.TempDir()
	config := filepath.Join(dir, "config.yml")
	write(t, config, fmt.Appendf(nil, "version: 0.1\nlog: { level: error }\nstorage: { filesystem: { rootdirectory: %s } }\nhttp: { addr: %s }\n", dir, host))
	ctx, cancel := context.WithCancel(context.Background())
	c := exec.CommandContext(ctx, program(t, "registry"), "serve", config)
	c.Env = []string{"OTEL_TRACES_EXPORTER=none"}
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cancel(); c.Wait() })
	for until := time.Now().Add(deadline); ; time.Sleep(20 * time.Millisecond) {
		resp, err := http.Get("http://" + host + "/v2/")
		if err == nil {
			resp.Body.Close()
			return host
		}
		if time.Now().After(until) {
			t.Fatalf("the registry does not answer: %v\n%s", err, out.String())
		}
	}
}

// fastRegistry starts a registry in this process that has the referrers API.
func fastRegistry(t *testing.T) string {
	t.Helper()
	s := httptest.NewServer(registry.New(registry.WithReferrersSupport(true), registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}

// bench is a folder to run the documented lines in.
type bench struct {
	t     *testing.T
	dir   string
	env   []string
	image string // REPOSITORY@DIGEST
}

func newBench(t *testing.T, host string) *bench {
	t.Helper()
	b := &bench{t: t, dir: t.TempDir()}
	if err := copyMissing(b.dir, releaseDir(t)); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"north", "stranger"} {
		b.pem(name)
	}
	// Whoever asks the network for something gets no answer.
	b.env = append(environment(filepath.Join(b.dir, "home")), "HTTP_PROXY=http://127.0.0.1:1", "HTTPS_PROXY=http://127.0.0.1:1", "REPO="+host+"/demo/hello")
	b.env = append(b.env, "STATEMENT="+b.result("north"))
	return b
}

// result finds an operator's result among its statements.
func (b *bench) result(operator string) string {
	b.t.Helper()
	statements, err := filepath.Glob(filepath.Join(b.dir, "results/*/*", operator, "*"+attest.EnvelopeSuffix))
	if err != nil {
		b.t.Fatal(err)
	}
	for _, file := range statements {
		if payload, _ := signedText(read(b.t, file)); bytes.Contains(payload, []byte(`"predicateType":"`+attest.PredicateResult+`"`)) {
			return file
		}
	}
	b.t.Fatalf("%s has no result", operator)
	return ""
}

// signedText returns what an envelope says, and the text in which it stands there.
func signedText(envelope []byte) (payload, text []byte) {
	_, rest, _ := bytes.Cut(envelope, []byte(`"payload":"`))
	text, _, _ = bytes.Cut(rest, []byte(`"`))
	payload, err := base64.StdEncoding.DecodeString(string(text))
	if err != nil {
		panic(err)
	}
	return payload, text
}

// pem writes a public key as cosign reads it.
func (b *bench) pem(name string) {
	b.t.Helper()
	text := strings.TrimSpace(string(read(b.t, filepath.Join(b.dir, "keys", name+".pub"))))
	k, err := attest.ParsePublicKey(text)
	if err != nil {
		b.t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(ed25519.PublicKey(k[:]))
	if err != nil {
		b.t.Fatal(err)
	}
	write(b.t, filepath.Join(b.dir, name+".pem"), pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

// run runs one line in a shell in which cosign is the one of that name.
func (b *bench) run(cosign, line string) (string, error) {
	b.t.Helper()
	bin := b.t.TempDir()
	for name, target := range map[string]string{"cosign": cosign, "crane": "crane"} {
		if err := os.Symlink(program(b.t, target), filepath.Join(bin, name)); err != nil {
			b.t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	c := exec.CommandContext(ctx, "sh", "-c", line)
	c.Dir, c.Env = b.dir, append(b.env, "IMAGE="+b.image, "PATH="+bin+":"+os.Getenv("PATH"))
	out, err := c.CombinedOutput()
	return string(out), err
}

// documented is a line of docs/interop.md and the section that it is in.
type documented struct{ section, line string }

// documentedLines returns the code of a document, continued lines joined.
func documentedLines(t *testing.T, file string) []documented {
	t.Helper()
	var all []documented
	section, line := "", ""
	for text := range strings.Lines(string(read(t, file))) {
		if heading, ok := strings.CutPrefix(text, "## "); ok {
			section = strings.TrimSpace(heading)
		}
		code, ok := strings.CutPrefix(strings.TrimRight(text, "\n"), "    ")
		if !ok {
			continue
		}
		before, continued := strings.CutSuffix(code, "\\")
		if line += before; !continued {
			all = append(all, documented{section, line})
			line = ""
		}
	}
	return all
}

// What the document says must be what happens, on both kinds of registry.
func TestInteropAsDocumented(t *testing.T) {
	lines := documentedLines(t, "../../docs/interop.md")
	if len(lines) < 18 {
		t.Fatalf("the document has %d lines of code", len(lines))
	}
	for name, start := range map[string]func(*testing.T) string{"referrers API": fastRegistry, "fallback tag": strictRegistry} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, start(t))
			for _, d := range lines {
				cosign := "cosign3"
				if strings.Contains(d.section, "v2.6") {
					cosign = "cosign2"
				}
				out, err := b.run(cosign, d.line)
				if err != nil {
					t.Errorf("%s: %s: %v\n%s", d.section, d.line, err, out)
				}
				for text := range strings.Lines(out) {
					if strings.Contains(text, "/demo/hello@sha256:") && strings.Contains(d.line, "evidence export") {
						b.image = strings.TrimSpace(text)
					}
				}
			}
		})
	}
}

// verifications are the lines by which both cosigns verify results.
func verifications(t *testing.T) map[string][]string {
	t.Helper()
	out := map[string][]string{}
	for _, d := range documentedLines(t, "../../docs/interop.md") {
		if strings.HasPrefix(d.line, "cosign verify") && strings.Contains(d.line, " "+attest.PredicateResult+" ") {
			cosign := "cosign3"
			if strings.Contains(d.section, "v2.6") {
				cosign = "cosign2"
			}
			out[cosign] = append(out[cosign], d.line)
		}
	}
	if len(out["cosign2"]) != 2 || len(out["cosign3"]) != 2 {
		t.Fatalf("the document verifies %v", out)
	}
	return out
}

// The same lines must refuse another key, another type, and statements of which
// a byte was changed; else that they pass says nothing.
func TestInteropRefuses(t *testing.T) {
	for name, start := range map[string]func(*testing.T) string{"referrers API": fastRegistry, "fallback tag": strictRegistry} {
		t.Run(name, func(t *testing.T) {
			host := start(t)
			b := newBench(t, host)
			write(t, filepath.Join(b.dir, "no-root.json"), []byte(`{"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1"}`))
			good, bad := b.export(host+"/demo/hello", nil), b.export(host+"/demo/altered", alterPayload)
			b.image = good
			for cosign, lines := range verifications(t) {
				for _, line := range lines {
					if out, err := b.run(cosign, line); err != nil {
						t.Errorf("%s: %s: %v\n%s", cosign, line, err, out)
					}
					b.refuses(cosign, strings.Replace(line, "north.pem", "stranger.pem", 1))
					b.refuses(cosign, strings.Replace(line, "result:1", "release:1", 1))
				}
			}
			statement := read(t, b.statement())
			write(t, b.statement(), alterPayload(statement))
			b.image = bad
			for cosign, lines := range verifications(t) {
				for _, line := range lines {
					b.refuses(cosign, line)
				}
			}
			write(t, b.statement(), statement)
		})
	}
}

func (b *bench) refuses(cosign, line string) {
	b.t.Helper()
	out, err := b.run(cosign, line)
	if err == nil {
		b.t.Errorf("%s accepts: %s\n%s", cosign, line, out)
	}
	if strings.Contains(out, "unknown flag") || strings.Contains(out, "no such file") {
		b.t.Errorf("%s refuses for another reason: %s\n%s", cosign, line, out)
	}
}

func (b *bench) statement() string {
	for _, kv := range b.env {
		if file, ok := strings.CutPrefix(kv, "STATEMENT="); ok {
			return file
		}
	}
	return ""
}

// alterPayload changes one letter of what an envelope says.
func alterPayload(envelope []byte) []byte {
	payload, text := signedText(envelope)
	changed := bytes.Replace(payload, []byte(`"operator":"north"`), []byte(`"operator":"nortg"`), 1)
	if bytes.Equal(changed, payload) {
		panic("nothing was changed")
	}
	return bytes.Replace(envelope, text, []byte(base64.StdEncoding.EncodeToString(changed)), 1)
}

// export puts image and evidence into a repository, each result of north
// changed by alter, and returns the image.
func (b *bench) export(repository string, alter func([]byte) []byte) string {
	b.t.Helper()
	policy, err := attest.LoadPolicy("policy.toml", read(b.t, filepath.Join(b.dir, "policy.toml")))
	if err != nil {
		b.t.Fatal(err)
	}
	rbundle := read(b.t, filepath.Join(b.dir, "out/hello-0.1.0.rbundle"))
	bundle, err := attest.OpenBundle("bundle", rbundle)
	if err != nil {
		b.t.Fatal(err)
	}
	signed, testimonies, err := attest.Testimonies(policy, bundle, time.Now())
	if err != nil {
		b.t.Fatal(err)
	}
	for i := range testimonies {
		if alter != nil && testimonies[i].Operator == "north" && testimonies[i].PredicateType == attest.PredicateResult {
			testimonies[i].Envelope = alter(testimonies[i].Envelope)
		}
	}
	to, err := oci.OpenRegistry(repository, oci.Access{Client: &http.Client{}})
	if err != nil {
		b.t.Fatal(err)
	}
	from, err := store.Open(filepath.Join(b.dir, "out/image"))
	if err != nil {
		b.t.Fatal(err)
	}
	release := signed.Release()
	image := release.Builds[0].Targets[0].Manifest
	if err := oci.PushImages(context.Background(), to, from, image); err != nil {
		b.t.Fatal(err)
	}
	if _, err := oci.Export(context.Background(), to, release, testimonies, rbundle); err != nil {
		b.t.Fatal(err)
	}
	return repository + "@" + string(image)
}
