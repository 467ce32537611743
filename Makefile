# Everything that building and testing takes. `make` lists the targets.

SHELL       := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# Time for each package's tests, and for each fuzz target in `make fuzz`.
TESTTIME ?= 10m
FUZZTIME ?= 2m

# The browser of the tests in web/e2e.
CHROMIUM ?= $(shell command -v chromium || command -v chromium-browser || command -v google-chrome)
export CHROMIUM

# What the race detector makes many times slower and has nothing to find in:
# simulations in one goroutine and bulk, and tests of processes, each of which hashes
# passwords. `make race` has it look at them all the same. More packages, and more of
# the processes' tests, run at once than there are cores: they wait a lot.
UNRACED   = TestDeliveryIsTriedForADay|TestStrangersCannotFillTheLog|TestForeignVectors|TestKeysAgainstVerifiers|TestBoundOfATheft|TestDecisionTableIsExhaustive|TestLogoutEverywhereOfManySessions|TestRefreshesDoNotGrowTheStore|TestLogoutEverywhereIsOneWrite|TestPagesAreWhatTheyWouldBeIfEncodedAlone|TestFloodOfLargeTokens
PROCESSES = /(cmd/innkeeper|deploy|internal/(readme|siege|soak))$$

# SQLite is C that was translated: the race detector makes it three times as slow and
# knows nothing of it. `make race` looks there too.
RACE = -race -gcflags=modernc.org/sqlite/lib=-race=false -gcflags=modernc.org/libc=-race=false

# `make lint` vets; and nobody debugs these binaries, which link faster without tables.
GOTEST = go test -vet=off -ldflags='-s -w' -timeout $(TESTTIME)

VERSION = $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LINTER  = go tool -modfile=$(CURDIR)/tools/go.mod golangci-lint

# Modules of their own, which ./... does not see. The one of interop has the binary as its
# other end: the race detector would look at the clients of others alone.
MODULES = $(patsubst %/go.mod,%,$(wildcard examples/go.mod interop/go.mod client/*/go.mod))

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# No cgo, no paths of the machine and no time of the build: the same commit
# and the same Go give the same bytes.
.PHONY: build
build: ## build the static binary bin/innkeeper
	CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags '-s -w -X main.version=$(VERSION)' -o bin/innkeeper ./cmd/innkeeper

.PHONY: reproducible
reproducible: ## build it twice, from scratch and in two places, and compare the bytes
	scripts/reproducible

# Those beside each other mostly wait. The race detector, the processes and the browsers
# leave no core to anybody else.
.PHONY: test
test: ## run every test: Go with -race, clients, browser, examples
	$(MAKE) test-deps
	$(MAKE) test-race
	$(MAKE) test-processes
	$(MAKE) --jobs 4 --output-sync=target test-bulk test-modules test-clients test-examples
	$(MAKE) test-web

.PHONY: test-deps
test-deps:
	scripts/install-test-deps

.PHONY: test-go
test-go: test-race test-bulk test-processes ## run the Go tests only

.PHONY: test-race
test-race:
	CGO_ENABLED=1 $(GOTEST) $(RACE) -p 3 -skip '$(UNRACED)' $$(go list ./... | grep -vE '$(PROCESSES)')

.PHONY: test-bulk
test-bulk:
	$(GOTEST) -run '$(UNRACED)' . ./httpapi ./keyring ./password ./store/... ./verify

.PHONY: test-processes
test-processes:
	$(GOTEST) -parallel 4 $$(go list ./... | grep -E '$(PROCESSES)')

.PHONY: race
race: ## run all of them with the race detector
	CGO_ENABLED=1 go test -race -timeout 20m ./...

.PHONY: test-modules
test-modules: ## run the Go tests of the modules of their own only
	for module in $(filter-out interop,$(MODULES)); do (cd $$module; CGO_ENABLED=1 $(GOTEST) $(RACE) ./...); done
	cd interop && $(GOTEST) ./...

.PHONY: test-clients
test-clients: ## check the packages for npm: judgment, React, types, packaging, size
	cd web/client && npm run check
	cd web/react && npm run check

.PHONY: test-web
test-web: ## run the browser tests only
	cd web/e2e && npm test

.PHONY: test-examples
test-examples: ## run the tests of the examples for Node and React only
	cd examples/node && npm test
	cd examples/react && npm test

.PHONY: fuzz
fuzz: ## send the API 200,000 requests, and fuzz each target for FUZZTIME, by default 2m
	go run ./internal/fuzzapi
	scripts/fuzz $(FUZZTIME)

.PHONY: lint
lint: ## check format, vet, linters and go.mod
	@unformatted=$$(gofmt -l .); if [ -n "$$unformatted" ]; then echo "not gofmt'ed:"; echo "$$unformatted"; exit 1; fi
	for module in . $(MODULES); do (cd $$module; go mod tidy -diff; $(LINTER) run ./...); done

.PHONY: bench
bench: test-deps ## measure a refresh on each store, beside the least that it could cost
	go run ./internal/bench

.PHONY: scale
scale: test-deps ## the same with 10 million sessions in PostgreSQL, 2 million in SQLite
	go run ./internal/bench scale

.PHONY: soak
soak: test-deps ## clients behind a bad network for 30 minutes; 3 servers under faults: 200 histories on PostgreSQL, 200 on Redis; revocations: timed, and 100 histories under faults
	go run ./internal/soak clients --duration 30m
	go run ./internal/soak linearizability --store postgres --histories 200
	go run ./internal/soak linearizability --store redis --histories 200
	go run ./internal/soak rolling --store postgres
	go run ./internal/soak rolling --store redis
	go run ./internal/soak revocation --store postgres
	go run ./internal/soak revocation --store postgres --faults 3 --histories 100

.PHONY: siege
siege: ## attack sign-ins: by time, by a storm, with stolen passwords
	go run ./internal/siege timing
	go run ./internal/siege storm
	go run ./internal/siege stuffing

.PHONY: demo
demo: ## run a server with a demo page and a demo user
	go run ./cmd/innkeeper demo
