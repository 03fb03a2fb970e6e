# make demo   build from the seed as three rebuilders, agree, sign, verify
# make demo-full  the same, from the seed to a C compiler
# make test   everything that CI runs but the race detector, foreign programs, the
#             long tests of the chain and the mutation run
#
# One build configuration serves build, vet and tests, so that BuildKit is
# compiled once.

GO        ?= go
TAGS      := embedrunc
GOFLAGS   := -trimpath -buildvcs=false
export GOFLAGS
export CGO_ENABLED = 0

VERSION   := $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
COMMIT    := $(shell git rev-parse HEAD 2>/dev/null || echo unknown)
LDFLAGS   := -s -w -buildid= -X main.version=$(VERSION) -X main.commit=$(COMMIT)
PACKAGES  := ./...
# Packages that never start the engine: these run under the race detector in
# make test-race, which needs cgo and so a second compilation.
PLAIN     := ./attest/... ./bootstrap/... ./folder/... ./hub/... ./index/... ./internal/... ./migrate/... ./oci/... ./pipeline/... ./pull/... ./resolve/... ./stages/... ./store/... ./surface/...

EMBEDDED  := engine/embedded
# Tests fail, instead of being skipped, where what they need should be here.
TESTENV   := REBUILD_REQUIRE_ENGINE=1 REBUILD_STOCK=$(CURDIR)/bin/stock
STEP       = @sh scripts/step.sh

.PHONY: build demo demo-full test test-race test-interop test-chain test-self publishers faults sweep mutate cover bench lint vet staticcheck fuzz clean deps

build: bin/rebuild

# bin/rebuild is always handed to the go command, which knows best what changed.
.PHONY: bin/rebuild
bin/rebuild: $(EMBEDDED)/runc.gz
	$(GO) build -tags $(TAGS) -ldflags '$(LDFLAGS)' -o $@ ./cmd/rebuild

# runc is C and Go, in a module of its own: static, with seccomp, then packed
# into the binary. Its three files are build output, never committed.
$(EMBEDDED)/runc.gz: engine/runc/go.mod engine/runc/go.sum scripts/deps.sh
	@sh scripts/deps.sh
	@mkdir -p $(EMBEDDED)
	cd engine/runc && CGO_ENABLED=1 $(GO) build -tags 'seccomp netgo osusergo' \
	  -ldflags '-s -w -buildid= -linkmode external -extldflags "-static -Wl,--build-id=none"' \
	  -o ../embedded/runc github.com/opencontainers/runc
	cd $(EMBEDDED) && sha256sum runc | cut -d' ' -f1 > runc.sha256
	cd engine/runc && $(GO) list -m -f '{{.Version}}' github.com/opencontainers/runc | sed 's/^v//' > ../embedded/runc.version
	gzip -9 -n -c $(EMBEDDED)/runc > $@.tmp && mv $@.tmp $@ && rm $(EMBEDDED)/runc

deps:
	@sh scripts/deps.sh

demo: build
	bin/rebuild demo $(DEMOFLAGS)

# The same from the seed to a C compiler, tcc, whose source it fetches from the
# mirror that apt is configured with.
demo-full: build
	bin/rebuild demo --full $(DEMOFLAGS)

# The stock buildkitd and buildctl that exporter digests are compared with.
bin/stock/buildkitd: engine/stock/go.mod engine/stock/go.sum
	cd engine/stock && $(GO) build -o ../../bin/stock/ github.com/moby/buildkit/cmd/buildctl github.com/moby/buildkit/cmd/buildkitd

bin/staticcheck: tools/go.mod tools/go.sum
	cd tools && $(GO) build -o ../bin/staticcheck honnef.co/go/tools/cmd/staticcheck

# The programs of others that evidence and images are held against, each in a
# module of its own: bin/interop/cosign2 is cosign v2.
bin/interop/cosign%: oci/cosign%/go.mod oci/cosign%/go.sum
	cd oci/cosign$* && $(GO) build -ldflags '-s -w' -o ../../$@ github.com/sigstore/cosign/v$*/cmd/cosign

bin/interop/registry: oci/registry/go.mod oci/registry/go.sum
	cd oci/registry && $(GO) build -ldflags '-s -w' -o ../../bin/interop/ \
	  github.com/distribution/distribution/v3/cmd/registry github.com/google/go-containerregistry/cmd/crane

bin/interop/oras: oci/oras/go.mod oci/oras/go.sum
	cd oci/oras && $(GO) build -ldflags '-s -w' -o ../../$@ oras.land/oras/cmd/oras

lint: vet staticcheck

# interop is the tag of tests that make test only compiles.
vet: $(EMBEDDED)/runc.gz
	$(GO) vet -tags $(TAGS),interop $(PACKAGES)

staticcheck: bin/staticcheck $(EMBEDDED)/runc.gz
	bin/staticcheck -tags $(TAGS),interop $(PACKAGES)

test:
	@sh scripts/deps.sh test
	$(STEP) build       $(MAKE) --no-print-directory build
	$(STEP) stock       $(MAKE) --no-print-directory bin/stock/buildkitd
	$(STEP) linter      $(MAKE) --no-print-directory bin/staticcheck
	$(STEP) vet         $(MAKE) --no-print-directory vet
	$(STEP) staticcheck $(MAKE) --no-print-directory staticcheck
	$(STEP) tests       env $(TESTENV) $(GO) test -tags $(TAGS) -timeout 30m $(PACKAGES)
	$(STEP) demo        bin/rebuild demo

test-race:
	CGO_ENABLED=1 $(GO) test -race -short -timeout 20m $(PLAIN)

# Every policy shape and a million schedules against the verdict, where make
# test takes a part: a quarter of an hour on two cores.
sweep:
	GOGC=800 $(GO) test -run 'Sweep|Simulator|Laws|NamesAndOrder|InItsTime' -count 1 -v -timeout 2h ./attest -sweep

# 16 publishers of 100 releases each at one index: in one process, and with a
# process for each publication. make test has 6 and 2 each.
publishers: $(EMBEDDED)/runc.gz
	env REBUILD_PUBLISH=100 $(GO) test -run Linearizable -count 1 -v -timeout 30m ./index
	env $(TESTENV) REBUILD_PUBLISH=100 $(GO) test -tags $(TAGS) -run Linearizable -count 1 -v -timeout 1h ./cmd/rebuild

# A kill, a failing disk and a full one at every call that writes, of every
# operation; make test takes a share of two. make faults FAULTS=/yank$$ takes one
# operation, TMPDIR=/dev/shm spares the disk.
faults: $(EMBEDDED)/runc.gz
	env $(TESTENV) REBUILD_FAULTS=1 $(GO) test -tags $(TAGS) -run 'FaultsAtEveryCall$(FAULTS)' -count 1 -v -timeout 4h ./cmd/rebuild

# The way from the seed to tcc from several starts, tcc's own test programs, and ten
# thousand generated programs for each of the two compilers before it.
PROGRAMS  ?= 10000
test-chain: build
	bin/rebuild fetch --pipeline builtin --state bin/chain --quiet
	env REBUILD_TCC_SOURCE=$(CURDIR)/bin/chain/store/blobs/sha256/$$(sed -n 's/^digest = "sha256:\(.*\)"/\1/p' stages/tcc/stage.toml) \
	  $(GO) test -count 1 -v -timeout 60m -run 'Tcc|Random|Generated' ./bootstrap -cca.programs $(PROGRAMS) -ccb.programs $(PROGRAMS)

# Other programs read what we export, and refuse what is not what was signed.
test-interop: $(EMBEDDED)/runc.gz
	@sh scripts/deps.sh interop
	$(STEP) registry    $(MAKE) --no-print-directory bin/interop/registry
	$(STEP) cosign2     $(MAKE) --no-print-directory bin/interop/cosign2
	$(STEP) cosign3     $(MAKE) --no-print-directory bin/interop/cosign3
	$(STEP) interop     env $(TESTENV) REBUILD_INTEROP=$(CURDIR)/bin/interop $(GO) test -tags $(TAGS),interop -run TestInterop -timeout 10m ./cmd/rebuild

# cosign is what verification is measured against, crane and oras what pull is.
# make bench BENCH='BenchmarkIndex$$' runs one alone (Index, Pull, LockIndex and
# the others in the files bench_*_test.go), BENCHFLAGS=-short tries those that
# have it on something small.
BENCH     ?= .
BENCHENV  := REBUILD_BIN=$(CURDIR)/bin/rebuild REBUILD_COSIGN=$(CURDIR)/bin/interop/cosign3 REBUILD_INTEROP=$(CURDIR)/bin/interop
bench: build bin/interop/cosign3 bin/interop/registry bin/interop/oras
	env $(BENCHENV) $(GO) test -tags $(TAGS) -run '^$$' -bench '$(BENCH)' $(BENCHFLAGS) -benchtime 1x -timeout 90m ./engine ./store ./cmd/rebuild

# Every fuzz target for a while: make fuzz FUZZTIME=1h before a release.
FUZZTIME  ?= 60s
fuzz:
	@for p in $(PLAIN) ./engine; do for d in $$($(GO) list $$p); do \
	  for f in $$($(GO) test -list '^Fuzz' $$d | grep '^Fuzz'); do \
	    echo "== $$d $$f"; $(GO) test -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x $$d || exit 1; \
	  done; done; done

# Every check of the verifying code switched off, one after the other: a vector
# must notice, or a test where the check is of a disk or a peer. make mutate
# MUTATE=attest/policy.go tries those of one file.
mutate:
	$(GO) run ./internal/mutate $(MUTATE)

# How much of the verifying code its own tests reach: 95 of 100 statements is
# the least, of oci 90.
cover:
	$(GO) test -cover ./attest ./index ./store ./oci

# Two builds of the same commit, nothing shared: minutes, so not part of test.
test-self:
	sh scripts/same-binary.sh

clean:
	rm -rf bin $(EMBEDDED)
