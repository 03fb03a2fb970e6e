package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"time"

	"rebuild/internal/fault"
	"rebuild/pipeline"
	"rebuild/stages"
)

// askMirrors is how long a program of this machine may take to say where it
// fetches from.
const askMirrors = 20 * time.Second

// mirrors are the places of --mirror, each a folder, a URL or SCHEME=URL, and for
// a scheme that none of them names those that apt and go are configured with.
func mirrors(given []string) (pipeline.Mirrors, error) {
	var out pipeline.Mirrors
	named := map[string][]string{}
	for _, g := range given {
		scheme, url, pair := strings.Cut(g, "=")
		if !pair || strings.Contains(scheme, "/") {
			out.Places = append(out.Places, g)
			continue
		}
		if scheme != stages.MirrorDebian && scheme != stages.MirrorGo {
			return out, fault.New(fault.Usage, "--mirror %s: no archive is called %q", oneLine(g), oneLine(scheme)).
				WithHint("write FOLDER, URL, %s=URL or %s=URL", stages.MirrorDebian, stages.MirrorGo)
		}
		if !fetchable(url) {
			return out, fault.New(fault.Usage, "--mirror %s: %q is not a URL", oneLine(g), oneLine(url)).
				WithHint("write https://..., http://... or file:///...")
		}
		named[scheme] = append(named[scheme], url)
	}
	out.Of = func(ctx context.Context, scheme string) ([]string, error) {
		if bases := named[scheme]; bases != nil {
			return bases, nil
		}
		return configured(ctx, scheme)
	}
	return out, nil
}

// configured asks the program of this machine that fetches from an archive where
// it does so.
func configured(ctx context.Context, scheme string) ([]string, error) {
	switch scheme {
	case stages.MirrorDebian:
		return answered(ctx, scheme, "\n", "apt-get", "indextargets", "--format", "$(REPO_URI)")
	case stages.MirrorGo:
		return answered(ctx, scheme, ",|\n", "go", "env", "GOPROXY")
	}
	return nil, fmt.Errorf("no program of this machine knows %s", scheme)
}

// answered runs a program and returns the URLs that it prints between separators,
// each once.
func answered(ctx context.Context, scheme, separators, program string, args ...string) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, askMirrors)
	defer cancel()
	text, err := exec.CommandContext(ctx, program, args...).Output()
	if err != nil {
		if errors.Is(err, exec.ErrNotFound) {
			err = errors.New("it is not on this machine")
		}
		return nil, fmt.Errorf("%s does not say where its mirror is (%w); name one with --mirror %s=URL", program, err, scheme)
	}
	var out []string
	for _, url := range strings.FieldsFunc(string(text), func(r rune) bool { return strings.ContainsRune(separators, r) }) {
		if url = strings.TrimSpace(url); fetchable(url) && !slices.Contains(out, url) {
			out = append(out, url)
		}
	}
	return out, nil
}

// fetchable says whether what a program names can be fetched from: apt and go
// know other ways too, such as a CD or a repository of git.
func fetchable(url string) bool {
	for _, scheme := range []string{"https://", "http://", "file:///"} {
		if strings.HasPrefix(url, scheme) {
			return true
		}
	}
	return false
}
