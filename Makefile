# Everything a developer or the gate runs. `make help` lists it.
# See https://tech.davis-hansson.com/p/make/ for the header.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.NOTPARALLEL:
.DEFAULT_GOAL := all
MAKEFLAGS += --warn-undefined-variables
MAKEFLAGS += --no-builtin-rules
MAKEFLAGS += --no-print-directory

# Arguments: make fuzz TIME=5m, make integration SUITE=resume, make demo ARGS=--once.
ARGS ?=
SUITE ?=
TIME ?= 30s
# What benchmarks are run, and how often.
BENCH ?= .
COUNT ?= 10
# Empty runs the tests without the race detector: make unit RACE=
RACE ?= -race
# The protocol promises compatibility with what was released; before the first
# release, with the main branch.
BASE ?= $(shell git describe --tags --abbrev=0 --match 'v*' 2>/dev/null || git rev-parse --verify --quiet main || git rev-parse --verify --quiet origin/main || echo HEAD)

MODULES := proto shared automator synchronizer integration
PACKAGES := $(MODULES:%=./%/...)
TMP := .tmp
BIN := $(TMP)/bin

# Suites and benchmarks of the whole system start a control plane, and images
# are built for minutes: they are no unit tests, whatever their flags.
list-unit = packages=$$(go list $(1) | grep -Ev '/integration/(bench|images|nodetest|suites)(/|$$)')
# pkgname keeps the output short; the closing line counts what ran.
gotestsum = $(BIN)/gotestsum --format pkgname --format-hide-empty-pkg --hide-summary skipped --

.PHONY: all
all: checkgenerate build unit lint ## Check generated code, build, test with race, lint: before every commit

.PHONY: help
help: ## Describe the targets
	@grep -hE '^[a-z%-]+:.*?## ' $(MAKEFILE_LIST) | sort | awk 'BEGIN { FS = ":.*?## " } { printf "  %-14s %s\n", $$1, $$2 }'

# --- tools -------------------------------------------------------------------

# $(1) name, $(2) module under integration/tools, $(3) package. A tool is built
# again when the versions or checksums of its module change.
define tool
TOOLS += $(BIN)/$(1)
$(BIN)/$(1): integration/tools/$(2)go.mod integration/tools/$(2)go.sum
	@echo "building $(1)" >&2
	@mkdir -p $(BIN)
	@cd integration/tools/$(2) && GOWORK=off go build -buildvcs=false -o $(CURDIR)/$(BIN)/ $(3)
	@touch $$@
endef
TOOLS :=
$(eval $(call tool,buf,,github.com/bufbuild/buf/cmd/buf))
$(eval $(call tool,gotestsum,,gotest.tools/gotestsum))
$(eval $(call tool,gofumpt,,mvdan.cc/gofumpt))
$(eval $(call tool,govulncheck,,golang.org/x/vuln/cmd/govulncheck))
$(eval $(call tool,benchstat,,golang.org/x/perf/cmd/benchstat))
$(eval $(call tool,protoc-gen-go,protoc/,google.golang.org/protobuf/cmd/protoc-gen-go))
$(eval $(call tool,protoc-gen-go-grpc,protoc/,google.golang.org/grpc/cmd/protoc-gen-go-grpc))
$(eval $(call tool,golangci-lint,lint/,github.com/golangci/golangci-lint/v2/cmd/golangci-lint))
$(eval $(call tool,helm,helm/,helm.sh/helm/v4/cmd/helm))

.PHONY: tools
tools: $(TOOLS) ## Build the pinned tools into .tmp/bin; other targets do it when they need one

.PHONY: cgo
cgo:
	@[ -z "$(RACE)" ] || { [ "$$(go env CGO_ENABLED)" = 1 ] && command -v $$(go env CC) >/dev/null; } || \
		{ echo "The race detector needs cgo: install a C compiler (gcc) and leave CGO_ENABLED unset, or run: make $(MAKECMDGOALS) RACE=" >&2; exit 1; }

# --- generated code ----------------------------------------------------------

.PHONY: generate
generate: $(BIN)/buf $(BIN)/protoc-gen-go $(BIN)/protoc-gen-go-grpc ## Generate code from the protos and go:generate lines
	$(BIN)/buf generate
	go generate $(PACKAGES)

# What generators wrote, with a checksum per file.
generated = git grep --untracked -lE '^// Code generated .* DO NOT EDIT' -- '*.go' | sort | xargs -r sha256sum

.PHONY: checkgenerate
checkgenerate: ## Fail when generating would change a file
	@mkdir -p $(TMP)
	@$(generated) >$(TMP)/generated.before
	@$(MAKE) generate
	@$(generated) >$(TMP)/generated.after
	@diff -u $(TMP)/generated.before $(TMP)/generated.after || \
		{ echo "Generated code was not up to date. It is now: look at it, and commit it." >&2; exit 1; }

# --- build -------------------------------------------------------------------

.PHONY: build
build: ## Build every package, and the binaries into bin
	go build -o /dev/null $(PACKAGES)
	@mkdir -p bin
	@go list -f '{{if eq .Name "main"}}{{.ImportPath}}{{end}}' ./automator/... ./synchronizer/... | while read -r main; do \
		name=$${main##*/}; [ $$name = tandem ] || name=tandem-$$name; \
		go build -o bin/$$name $$main; \
	done

.PHONY: standalone
standalone: ## Build and vet each module without the workspace, which can hide a broken go.mod
	@for module in $(MODULES); do \
		echo "== $$module"; \
		(cd $$module && GOWORK=off go build -o /dev/null ./... && GOWORK=off go vet ./...); \
	done

.PHONY: tidy
tidy: ## Sync the workspace, then tidy each module without it
	go work sync
	@for module in $(MODULES); do \
		echo "== $$module"; \
		(cd $$module && GOWORK=off go mod tidy); \
	done

# --- test --------------------------------------------------------------------

# Debian keeps its programs out of PATH.
have-postgres = { ls /usr/lib/postgresql/*/bin/postgres || command -v postgres; } >/dev/null 2>&1

.PHONY: postgres
postgres: ## Install Debian's PostgreSQL, unless there is one: the automator's store is tested on a real server (root)
	@$(have-postgres) || { $(apt-install) postgresql || { apt-get update -qq && $(apt-install) postgresql; }; }

apt-install = DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends

.PHONY: unit
unit: cgo $(BIN)/gotestsum $(BIN)/helm ## Run the unit tests with race: the inner loop
	@$(call list-unit,$(PACKAGES)); $(gotestsum) -short $(RACE) $$packages

.PHONY: unit-%
unit-%: cgo $(BIN)/gotestsum ## Run the unit tests of one module: make unit-shared
	@$(call list-unit,./$*/...); $(gotestsum) -short $(RACE) $$packages

.PHONY: test
test: unit suites ## Run the unit tests and the short suites on a real control plane

.PHONY: cluster
cluster: ## Build the control plane into the user's cache, and start it once
	go test -v -count=1 -timeout 60m -run '^TestVersion$$' ./integration/env/kubecluster

# Suites run one after the other: each has the machine, and its clocks, to itself.
.PHONY: suites
suites: cgo $(BIN)/gotestsum $(BIN)/helm ## Run the short suites on a real control plane
	@$(gotestsum) -short $(RACE) -p 1 -timeout 30m ./integration/suites/...

.PHONY: integration
integration: cgo $(BIN)/gotestsum $(BIN)/helm ## Run all suites, chaos and long ones too; SUITE=name runs one
	@packages=$$(go list $(if $(SUITE),./integration/suites/$(SUITE)/...,./integration/...) | grep -E '/integration/(chaos|env|suites)(/|$$)'); \
	$(gotestsum) $(RACE) -p 1 -timeout 120m $$packages

# Whoever asks for it wants it run; the gate runs it where it can (auto).
TANDEM_NODE_TEST ?= required

.PHONY: node-test
node-test: $(BIN)/gotestsum $(BIN)/helm ## Follow docs/install.md with real Pods on a node of containerd and kubelet (root, Linux; Debian's containerd, runc, containernetworking-plugins, iptables)
	@TANDEM_NODE_TEST=$(TANDEM_NODE_TEST) $(BIN)/gotestsum --format standard-verbose -- -count=1 -timeout 40m ./integration/nodetest

.PHONY: update
update: $(BIN)/helm ## Rewrite the golden files, and show what changed
	@packages=$$(go list -f '{{.Dir}} {{.ImportPath}}' $(PACKAGES) | while read -r dir path; do \
		if grep -qsE 'flag\.Bool\("update"' "$$dir"/*_test.go; then echo "$$path"; fi; done); \
	if [ -n "$$packages" ]; then go test -short $$packages -update; fi
	git diff --stat

fuzz-targets = grep -rEo --include='*_test.go' '^func Fuzz[A-Za-z0-9_]+' $(MODULES) | sed -E 's|^(.*)/[^/]+:func (.*)$$|\1 \2|' | sort -u

.PHONY: fuzz
fuzz: ## Run every fuzz target in turn, for TIME each
	@$(fuzz-targets) | while read -r dir name; do \
		echo "== $$dir $$name"; \
		go test -run '^$$' -fuzz "^$$name\$$" -fuzztime $(TIME) ./$$dir </dev/null; \
	done

.PHONY: seeds
seeds: cgo ## Run the committed corpus of every fuzz target
	@packages=$$($(fuzz-targets) | sed -E 's|^(.*) .*|./\1|' | sort -u); \
	go test $(RACE) -count=1 -run '^Fuzz' $$packages

.PHONY: demo
demo: ## Run the main job, narrated, on a control plane, registry and Git server of its own; ARGS=--once
	go run ./integration/cmd/demo $(ARGS)

# --- images ------------------------------------------------------------------

.PHONY: images
images: ## Build the container images into .tmp/images, without a container engine; ARGS="--push ghcr.io/acme"
	go run ./integration/cmd/images $(ARGS)

.PHONY: images-test
images-test: cgo $(BIN)/gotestsum ## Test the images, for both architectures, and by running what is in them (as root)
	@$(gotestsum) $(RACE) ./integration/images/...

.PHONY: images-lock
images-lock: ## Pin the newest Debian packages for the automator's image; needs gpgv, as Debian machines have it
	go run ./integration/cmd/images lock

# --- judge -------------------------------------------------------------------

.PHONY: lint
lint: $(BIN)/golangci-lint $(BIN)/buf ## Lint Go and protos, check formatting
	$(BIN)/golangci-lint run $(PACKAGES)
	$(BIN)/buf lint
	$(BIN)/buf format --diff --exit-code

.PHONY: fix
fix: $(BIN)/golangci-lint $(BIN)/buf ## Repair what linters and formatters can repair
	$(BIN)/buf format --write
	$(BIN)/golangci-lint fmt $(PACKAGES)
	$(BIN)/golangci-lint run --fix $(PACKAGES)

.PHONY: charts
charts: $(BIN)/helm ## Lint the Helm charts, and compare what they render with the golden files
	go test -count=1 ./integration/charts

.PHONY: breaking
breaking: $(BIN)/buf ## Fail when a proto breaks what was released; BASE=commit compares with another
	@rm -rf $(TMP)/breaking && mkdir -p $(TMP)/breaking
	@git archive $(BASE) buf.yaml proto | tar -x -C $(TMP)/breaking
	$(BIN)/buf breaking --against $(TMP)/breaking

.PHONY: cover
cover: ## Write the coverage of the unit tests to .tmp/cover.html
	@mkdir -p $(TMP)
	@$(call list-unit,$(PACKAGES)); go test -short -coverprofile $(TMP)/cover.all $$packages
	@grep -v '/proto/gen/' $(TMP)/cover.all >$(TMP)/cover.out
	@go tool cover -html $(TMP)/cover.out -o $(TMP)/cover.html
	@go tool cover -func $(TMP)/cover.out | tail -n 1

.PHONY: vuln
vuln: $(BIN)/govulncheck ## Look for known vulnerabilities in what the agents call; needs the network
	$(BIN)/govulncheck ./shared/... ./automator/... ./synchronizer/...

# $(1) the checkout, $(2) the file.
run-bench = cd $(1) && go test -run '^$$' -bench '$(BENCH)' -benchmem -count $(COUNT) -timeout 120m \
	$$(grep -rl --include='*_test.go' '^func Benchmark' shared automator synchronizer | xargs -r -n 1 dirname | sort -u | sed 's|^|./|') | tee $(2)

.PHONY: bench
bench: ## Measure a release beside what the parts below it need; ARGS="-o json"
	go run ./integration/cmd/bench $(ARGS)

.PHONY: bench-sync
bench-sync: ## Measure the synchronizer beside a bare client of the same API server; ARGS="--objects 5000 -o json"
	go run ./integration/cmd/benchsync $(ARGS)

.PHONY: bench-relay
bench-relay: ## Measure the relay with a crowd of synchronizers beside a bare health watch; ARGS="--clients 2000 -o json"
	@mkdir -p bin
	@go build -o bin/bench-relay ./integration/cmd/benchrelay
	@bin/bench-relay $(ARGS)

.PHONY: bench-automator
bench-automator: ## Measure the automator between a registry and a Git server, each push beside a bare one; ARGS="-o json", ARGS="--only scan,race"
	go run ./integration/cmd/benchauto $(ARGS)

.PHONY: chaos
chaos: ## Make trouble of every kind and print how long each takes to get over; ARGS="-o json", ARGS="kill clock-jumps"
	go run ./integration/cmd/chaos $(ARGS)

.PHONY: microbench
microbench: ## Run the Go benchmarks COUNT times into .tmp/bench/new.txt; BENCH=pattern chooses
	@mkdir -p $(TMP)/bench
	@$(call run-bench,.,$(CURDIR)/$(TMP)/bench/new.txt)

.PHONY: benchdiff
benchdiff: $(BIN)/benchstat microbench ## Compare the benchmarks with those of the merge base
	@base=$$(git merge-base HEAD $(BASE)); tree=$(TMP)/bench/$$base; \
		git worktree add --quiet --force --detach $$tree $$base; \
		trap "git worktree remove --force $$tree" EXIT; \
		($(call run-bench,$$tree,$(CURDIR)/$(TMP)/bench/old.txt)); \
		$(BIN)/benchstat $(TMP)/bench/old.txt $(TMP)/bench/new.txt | tee $(TMP)/bench/diff.txt

.PHONY: ci
ci: ## Run what the gate runs
	.ci/run

.PHONY: clean
clean: ## Remove what make wrote; caches of Go and of the control plane stay
	rm -rf $(TMP) bin
