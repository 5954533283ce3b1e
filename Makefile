SHELL := /bin/bash
BIN := bin/sockeye
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
# Packages of the module that have tests of their own in Go.
PACKAGES := ./...
# How long `make fuzz` runs each target.
FUZZTIME ?= 60s
# What `make bench-peers` does: QUICK=1 is a look that takes some minutes, SCENARIOS and SERVERS choose some by name.
QUICK ?=
CLIENTS ?= $(if $(QUICK),500,5000)
REPEAT ?= $(if $(QUICK),1,3)
SCENARIOS ?=
SERVERS ?=
# Flags for the node that `make run` starts, for example: make run SERVE="--addr :4000 --app bench".
SERVE ?=

.PHONY: run cluster build image release web test unit race lint vet-all steady fuzz soak bench bench-peers bench-profiles compat-short compat tools compiler api clean

# Build everything and start a node with the chat app on port 3000.
run: build
	$(BIN) serve $(SERVE)

# Build everything and run a cluster: Redis, three nodes, and nginx on port 3000; with BROKER=nats or kafka another broker, with
# BROKER=embedded the nodes and nginx alone.
# deploy/cluster.sh lists the variables.
cluster: build
	@deploy/cluster.sh

# Build the binary with the demo page and the client bundles inside.
build: tools web
	go build -o $(BIN) ./cmd/sockeye

# Build the demo page and fetch the client bundles from npm into web-demo/dist.
web: tools web-demo/dist/.built

web-demo/dist/.built: web-demo/package-lock.json web-demo/build.mjs $(wildcard web-demo/src/*)
	cd web-demo && npm ci --silent && npm run --silent build
	touch $@

# Run every test: lint, the Go tests under the race detector, then the compatibility suite against the Node reference.
test: lint race compat-short

# Run the Go tests without the race detector, for a quick answer.
unit:
	go test $(PACKAGES)
	cd bench && go test . ./computing ./floors
	cd frameworks && go test .
	cd deploy && go test ./...

# Run the Go tests under the race detector.
race: tools compiler
	go test -race -timeout 15m $(PACKAGES)
	cd bench && go test . ./computing ./floors
	cd frameworks && go test .
	cd deploy && go test ./...

# Other systems for which everything must compile, tests too.
OTHER_SYSTEMS := darwin/arm64 windows/amd64 linux/386

# Check formatting, vet, staticcheck, and that everything compiles for other systems.
lint: tools
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); if [ -n "$$unformatted" ]; then echo "not formatted: $$unformatted"; exit 1; fi
	go vet ./...
	go run $(STATICCHECK) ./...
	go run ./internal/layout/othersystems $(OTHER_SYSTEMS)

# Run go vet for the other systems, which finds more than `make lint` does, and compiles all dependencies for each of them first (some minutes).
vet-all:
	@set -e; for system in $(OTHER_SYSTEMS); do echo "== $$system"; \
	  GOOS=$${system%/*} GOARCH=$${system#*/} go vet -gcflags='all=-N -l' ./...; \
	done

# How often `make steady` tests each package beside busy loops, and the package with which it begins, as server/engine.
RUNS ?= 10
FROM ?=

# Test package by package RUNS times beside busy loops, and once each with GOMAXPROCS=1, -cpu 4 and -shuffle on (many hours). Stopped,
# it goes on where it was as long as the sources are the same. What it has done, and the output of what failed, is in bin/steady.
steady: tools compiler
	go build -o bin/steady-tests ./internal/steady
	bin/steady-tests -runs $(RUNS) -from "$(FROM)"

# Run every fuzz target for FUZZTIME each.
fuzz:
	@set -e; for pkg in $$(go list ./...); do \
	  for target in $$(go test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
	    echo "== $$pkg $$target"; go test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) $$pkg; \
	  done; \
	done

# How the servers of `make soak` and `make chaos` read idle connections: auto, poller or goroutine.
READ_MODE ?= auto

# Run the long forms of the soak tests: churn over every exit path, frozen clients, hostile clients, and every method at once
# under the race detector (about half an hour).
soak: compiler
	go test ./internal/soak -count=1 -v -timeout 60m -run TestChurnOverTCP -sessions 200000 -waves 7 -read-mode $(READ_MODE)
	go test ./internal/soak -count=1 -v -timeout 30m -run TestFrozenClients -clients 10000 -processes 4 -read-mode $(READ_MODE)
	go test ./internal/soak -count=1 -v -timeout 30m -run 'TestHostileClients|TestInputBudget' -attackers 40 -read-mode $(READ_MODE)
	go test ./server -race -count=1 -v -timeout 30m -run TestEverythingAtOnce -mixed 10m

# How long the operator of `make chaos` breaks things in each flavour, and what he does: a seed that a former run has printed.
MINUTES ?= 10
SEED ?= 0

# Make every trouble for every broker, and print the tables of docs/brokers.md. Then run clusters of three processes on one broker in
# which nodes are killed, frozen and cut off and the broker is restarted, paused and emptied, and account for every message: first with
# nodes of this version alone, then with nodes of the former version, which are built from the history of the repository, then with a
# Node.js node among them (about two hours and a half).
chaos: tools compiler
	go test ./internal/outage -count=1 -v -timeout 1h -run TestOutage -long
	go test ./adapter/kafkaadapter -race -count=1 -timeout 1h -long
	go test ./internal/chaos -race -count=1 -v -timeout 24h -minutes $(MINUTES) -seed $(SEED) -read-mode $(READ_MODE)
	go test ./cmd/sockeye -race -count=1 -v -timeout 24h -run RestartsLoseNothing -rounds $(MINUTES)
	cd compat-tests && npm ci --silent --no-audit --no-fund
	go test ./internal/outage -count=1 -v -timeout 1h -run TestBursts -long -reference
	go test ./internal/chaos -count=1 -v -timeout 24h -run 'TestOperator|TestAcksOnCluster' -minutes $(MINUTES) -seed $(SEED) -read-mode $(READ_MODE) -reference

# Make archives of the binary for Linux, macOS and Windows in bin/release, with the licences of all that is inside. Two runs on
# the same commit, with the same Go and Node.js, give the same bytes, some 16 MB each. Not in a linked worktree of git, where go finds no commit.
release: tools web
	go run ./internal/release

# Build the container image `sockeye`, which needs Docker with BuildKit.
image:
	docker build -t sockeye .

# Print memory and goroutines per idle connection, CPU and allocations per broadcast recipient, and the other benchmarks.
bench:
	go test -run '^$$' -bench . -benchmem ./server/... ./internal/...

# Measure Sockeye beside the Node reference, its engine for Bun, socketioxide and zishang520/socket.io, and write bench/results.md (with QUICK=1 bench/quick).
bench-peers: build
	cd bench && npm ci --silent --no-audit --no-fund && go run . -clients $(CLIENTS) -repeat $(REPEAT) \
	  -only "$(SCENARIOS)" -servers "$(SERVERS)" -out $(if $(QUICK),quick,.)

# Profile a node in each scenario of `sockeye bench` and write the top ten of each profile into bench/profiles (two minutes).
bench-profiles: build
	cd bench && go run . -profiles profiles -clients 2000

# Run the compatibility suite: the same scripts against the Node reference and against Sockeye, and each row of the matrix
# of mixed clusters once for every adapter.
compat-short: build
	cd compat-tests && ./run.sh

# Run the compatibility suite with every cell of the matrix, and write docs/compatibility.md (some minutes longer).
compat: build
	cd compat-tests && ./run.sh --full

# Write docs/api.txt anew after an intended change of the public API.
api:
	go run ./internal/layout/apidoc > docs/api.txt

# Say what is missing on this machine.
tools:
	@command -v go >/dev/null || { echo "Go 1.26 is needed: https://go.dev/dl/"; exit 1; }
	@command -v node >/dev/null && command -v npm >/dev/null || { echo "Node.js 20 with npm is needed: https://nodejs.org/"; exit 1; }

# Install the C compiler that the race detector needs, or say so.
compiler:
	@command -v cc >/dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get update -qq && apt-get install -y -qq gcc libc6-dev; } || { echo "A C compiler is needed for the race detector: apt-get install gcc libc6-dev"; exit 1; }

# Remove what the other targets built.
clean:
	rm -rf bin web-demo/node_modules compat-tests/node_modules bench/node_modules bench/peers/socketioxide/target bench/quick
	rm -rf examples/ported/editor/front/node_modules examples/ported/editor/front/dist
	find web-demo/dist -mindepth 1 ! -name .gitkeep -delete
