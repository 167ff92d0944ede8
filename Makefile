# make test   everything that this machine can run; what it cannot says why
# make lint   gofmt, vet, staticcheck
# make bench  the measurements of docs/performance.md
# make soak   long random runs with kills (SOAK=1h by default)
# make nightly  two regions under faults, SEEDS=500 by default; fails if a rare situation was not met
GO ?= go
SOAK ?= 1h
SEEDS ?= 500
# Where concurrency is the point, the race detector runs.
RACE = ./internal/seal ./internal/journal/... ./internal/engine/... ./internal/nfs/... ./internal/nfsclient/... ./internal/replica/... ./internal/control/... ./internal/region/...

.PHONY: test unit race e2e lint bench soak nightly

test: unit race e2e

unit:
	$(GO) test -timeout 20m $$($(GO) list ./... | grep -v /test)

race:
	$(GO) test -race -short -timeout 30m $(RACE)

e2e:
	$(GO) test -v -count=1 -timeout 55m ./test/...

lint:
	@files=$$(gofmt -l cmd internal test); if [ -n "$$files" ]; then echo "gofmt: $$files"; exit 1; fi
	$(GO) vet ./...
	$(GO) tool staticcheck ./...

bench:
	$(GO) test -run '^$$' -bench . -benchtime 1x -timeout 60m ./test
	$(GO) test -run '^$$' -bench . -benchtime 2s -timeout 60m ./internal/seal ./internal/journal ./internal/nfs
	$(GO) test -run '^$$' -bench Overwrite -benchtime 1x -timeout 60m ./internal/engine

soak:
	HOLDFAST_SOAK=$(SOAK) $(GO) test -v -count=1 -timeout 0 -run Soak ./test/...

nightly:
	HOLDFAST_NIGHTLY=1 HOLDFAST_SEEDS=$(SEEDS) $(GO) test -v -count=1 -timeout 0 -parallel 8 -run TestTwoRegionsUnderFaults ./internal/region
