package main

import (
	"io"
	"log"
	"net/http/httptest"
	"strings"

	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/rogpeppe/go-internal/testscript"
)

// startRegistry starts an empty registry and sets $REGISTRY to its host:
//
//	registry            one that lists referrers under a tag alone
//	registry referrers  one with the referrers API
func startRegistry(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) > 1 {
		ts.Fatalf("usage: registry [referrers]")
	}
	s := httptest.NewServer(registry.New(registry.WithReferrersSupport(len(args) == 1), registry.Logger(log.New(io.Discard, "", 0))))
	ts.Defer(s.Close)
	ts.Setenv("REGISTRY", strings.TrimPrefix(s.URL, "http://"))
}
