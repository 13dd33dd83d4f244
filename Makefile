GO       ?= go
FUZZTIME ?= 60s
SOAK     ?= 20s
COUNT    ?= 10
WAITS    ?= 1000000

# The modules that go.work joins. RACED are those whose tests run under -race.
RACED   = . cmd/respool credentials/aws credentials/entra goredis metrics/otel metrics/prometheus
MODULES = $(RACED) bench test/clients test/page examples/workers/asynq
# All packages of RACED, for one go command.
RACED_PACKAGES = $(patsubst %,./%/...,$(RACED))
# The packages with the longest tests. These start first, so that none of them runs alone at the end.
LONGEST = ./internal/gateway ./cmd/respool ./test/e2e ./test/cluster ./internal/lane
# The packages that build on each system.
PORTABLE = ./... ./cmd/respool/... ./goredis/... ./metrics/otel/... ./metrics/prometheus/...

# How many packages are tested at a time. Most tests wait for servers.
TESTED_AT_A_TIME ?= $(shell expr 2 \* $$(getconf _NPROCESSORS_ONLN))

# A process of a race build sleeps for 1 s before it exits, unless this says otherwise.
GORACE ?= atexit_sleep_ms=100
export GORACE

CLIENTS_CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/respool/clients

# The server of the tests, where it is not the redis-server of the PATH:
# REDIS_SERVER=path of a redis-server or valkey-server. Each test runs in a
# directory of its own, so the path has to be absolute.
ifneq ($(findstring /,$(REDIS_SERVER)),)
override export REDIS_SERVER := $(abspath $(REDIS_SERVER))
endif

.PHONY: test test-clients test-package bench bench-gateway microbench lint package release fuzz soak generate

# Installs redis-server and what else is missing, then runs every test.
test:
	./scripts/deps.sh nutcracker python3-redis chromium
	$(GO) vet work
	$(GO) test -race -p $(TESTED_AT_A_TIME) -timeout 20m $(LONGEST) $(RACED_PACKAGES)
	./scripts/modules.sh & modules=$$!; \
		$(GO) test -p $(TESTED_AT_A_TIME) -timeout 8m ./bench/... ./test/page/...; tests=$$?; \
		wait $$modules && exit $$tests

# Runs other clients directly and through the gateway and compares what they print; takes
# flags like CLIENTS='-only ioredis -out /tmp'.
test-clients:
	./scripts/deps.sh
	./scripts/clients.sh $(CLIENTS_CACHE)
	$(GO) -C test/clients vet ./...
	$(GO) -C test/clients test -parallel 2 -timeout 10m -args -modules=$(CLIENTS_CACHE) $(CLIENTS)

# Compares with other clients, in some ten minutes; writes docs/bench.json and docs/bench.svg.
bench:
	./scripts/deps.sh
	$(GO) run -C bench . --out ../docs

# Compares the gateway with direct Redis and twemproxy, in some five minutes; takes flags like
# GATEWAY='--case c50 --json /tmp/gateway.json'.
bench-gateway:
	./scripts/deps.sh nutcracker python3-redis
	$(GO) run -C bench ./gateway $(GATEWAY)

# Runs the benchmarks beside the code.
microbench:
	./scripts/deps.sh
	$(GO) test -run '^$$' -bench . -benchmem $(RACED_PACKAGES)

lint:
	@test -z "$$(gofmt -l .)" || { echo "not gofmt-ed:"; gofmt -l .; exit 1; }
	$(GO) vet work
	for module in $(MODULES); do (cd $$module && GOWORK=off $(GO) mod tidy -diff && \
		GOWORK=off $(GO) tool -modfile=$(CURDIR)/tools/go.mod staticcheck ./...) || exit 1; done
	GOOS=linux $(GO) build $(PORTABLE)
	GOOS=darwin $(GO) build $(PORTABLE)
	GOOS=windows $(GO) build $(PORTABLE)

# Builds the tool for each system into dist/.
release:
	for system in linux darwin windows; do for arch in amd64 arm64; do \
		ext=; [ $$system = windows ] && ext=.exe; \
		CGO_ENABLED=0 GOOS=$$system GOARCH=$$arch $(GO) build -trimpath -o dist/respool-$$system-$$arch$$ext ./cmd/respool || exit 1; \
	done; done

# Builds deb and rpm packages, the file tree of the image and the manifests of Kubernetes into dist/,
# for amd64 and arm64, and checks them. docs/install.md describes them.
package:
	./scripts/package.sh

# Installs the deb in a bare Debian in a temporary directory, runs the command of its unit and
# removes it. Needs root and debootstrap.
test-package: package
	./scripts/trydeb.sh

# Runs each fuzz target for FUZZTIME.
fuzz:
	./scripts/fuzz.sh $(FUZZTIME)

# Runs the stress tests COUNT times with new seeds, each under load for SOAK. Then compares WAITS
# blocking commands with the server, and pushes WAITS elements to blocking commands under faults,
# failovers and clients of a gateway that end. Then has 8,000 clients of many kinds share a gateway,
# and compares WAITS other commands with the server.
# The defaults take more than an hour on 2 busy cores; make soak WAITS=200000 takes less.
soak:
	$(GO) test -race ./test/e2e -run 'NeverCounts|Crosses|InOrder|AreEven|ContextEnds|TimeoutsOpen|KilledServer|CloseUnder|CloseCuts|KilledConnections|ShareTheLimit' -count $(COUNT) -timeout 12h -stress $(SOAK)
	$(GO) test -race ./test/e2e -run 'BlockingCommandsReplyAs|LosesNothing|LoseNothing' -timeout 12h -waits $(WAITS) -elements $(WAITS)
	$(GO) test -race ./internal/gateway -run 'ClientsAreIsolated|TheGatewayRepliesLike' -timeout 12h -lives 100 -differ $(WAITS)

generate:
	$(GO) generate ./... ./cmd/respool/...
