GO       ?= go
FUZZTIME ?= 60s
SOAK     ?= 20s
COUNT    ?= 10
STATIC    = $(GO) tool -modfile=tools/go.mod staticcheck

.PHONY: test bench microbench lint fuzz soak generate

# Installs redis-server if it is missing, then runs every test.
test:
	./scripts/deps.sh
	$(GO) vet ./...
	$(GO) test -race -timeout 11m ./...
	$(GO) -C bench vet ./...
	$(GO) -C bench test -timeout 8m ./...

# Compares with other clients, in some eight minutes; writes docs/bench.json and docs/bench.svg.
bench:
	./scripts/deps.sh
	$(GO) run -C bench . --out ../docs

# Measures the parts by themselves.
microbench:
	./scripts/deps.sh
	$(GO) test -run '^$$' -bench . -benchmem ./...

lint:
	@test -z "$$(gofmt -l .)" || { echo "not gofmt-ed:"; gofmt -l .; exit 1; }
	$(GO) vet ./...
	$(GO) -C bench vet ./...
	$(STATIC) ./...
	cd bench && $(GO) tool -modfile=../tools/go.mod staticcheck ./...
	GOOS=linux $(GO) build ./...
	GOOS=darwin $(GO) build ./...
	GOOS=windows $(GO) build ./...

# Runs each fuzz target for FUZZTIME.
fuzz:
	./scripts/fuzz.sh $(FUZZTIME)

# Runs the stress tests COUNT times with new seeds, each under load for SOAK.
soak:
	$(GO) test -race -run 'NeverCounts|Crosses|InOrder|AreEven|ContextEnds|TimeoutsOpen|KilledServer|CloseUnder|CloseCuts|KilledConnections' -stress $(SOAK) -count $(COUNT) -timeout 12h .

generate:
	$(GO) generate ./...
