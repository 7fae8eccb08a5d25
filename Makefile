# Works from any folder: make -C /path/to/kedge test
ROOT := $(patsubst %/,%,$(dir $(abspath $(lastword $(MAKEFILE_LIST)))))
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := build
.PHONY: demo build test lint bench bench-rivals corpus pythons lab labextension fuzz fuzz-live soak setup browser screenshot lock

STATICCHECK_VERSION := v0.7.0
STATICCHECK := $(ROOT)/.cache/bin/staticcheck-$(STATICCHECK_VERSION)
PYTHON := $(ROOT)/.venv/bin/python
PYTHON_SOURCES := $(ROOT)/kernel/agent/python

export KEDGE_TEST_PYTHON := $(PYTHON)

# Runs examples/taxi.ipynb cold, warm, and with one step edited.
demo: setup build
	$(ROOT)/tools/demo.sh

setup:
	$(ROOT)/tools/setup.sh

browser: setup
	$(ROOT)/tools/setup.sh --browser

build:
	$(ROOT)/kernel/observe/build.sh
	cd $(ROOT) && go build -o bin/kedge ./cmd/kedge

test: browser build lint
	cd $(ROOT) && KEDGE_CLASSES=all go test -race -timeout 60m ./...
	cd $(ROOT) && $(PYTHON) -m pytest -q kernel/agent/python/tests

lint: setup build $(STATICCHECK)
	cd $(ROOT) && unformatted="$$(find . \( -name '.?*' -o -name node_modules -o -name bin \) -prune -o -name '*.go' -print | xargs -r gofmt -l)" && \
	  if [[ -n "$$unformatted" ]]; then echo "not formatted by gofmt:" >&2; echo "$$unformatted" >&2; exit 1; fi
	cd $(ROOT) && go vet ./...
	cd $(ROOT) && $(STATICCHECK) ./...
	cd $(ROOT) && .venv/bin/ruff check $(PYTHON_SOURCES)

$(STATICCHECK):
	mkdir -p $(@D)
	GOBIN=$(@D)/new go install honnef.co/go/tools/cmd/staticcheck@$(STATICCHECK_VERSION)
	mv $(@D)/new/staticcheck $@

# Builds the extension of JupyterLab, which is committed and embedded in the
# binary; needs Node 20 and the network. `make test` says if it is not of its
# sources.
labextension:
	cd $(ROOT)/web/labextension && npm ci --no-audit --no-fund && node build.mjs

# Some actions of the fuzzer with the oldest and the newest Python, and the agent's tests with the newest.
pythons: setup build
	cd $(ROOT) && go build -o bin/fuzz ./integration/oracle/fuzz
	$(ROOT)/tools/pythons.sh

# Opens JupyterLab on the examples, whose kernel python3 is Kedge's there.
lab: setup build
	$(ROOT)/bin/kedge install --prefix $(ROOT)/.cache/lab --python $(PYTHON) --as python3
	cd $(ROOT) && JUPYTER_PATH=$(ROOT)/.cache/lab/share/jupyter PATH=$(ROOT)/.venv/bin:$$PATH jupyter lab $(LAB_FLAGS) examples

# Makes the pictures of JupyterLab and of the page behind a link in docs again.
screenshot: browser build
	$(PYTHON) $(ROOT)/tools/screenshot.py
	cd $(ROOT) && KEDGE_TEST_SHOTS=$(ROOT)/.cache/shots go test ./integration -run 'TestTheExtensionInABrowser|TestPicturesOfThePage' -count=1
	for shot in light panel question; do cp $(ROOT)/.cache/shots/lab-$$shot.png $(ROOT)/docs/lab-$$shot.png; done
	for shot in share share-values share-diff; do cp $(ROOT)/.cache/shots/$$shot.png $(ROOT)/docs/$$shot.png; done

# Compares kedge run with jupyter execute on the examples, side by side, and
# what the store saves with a plain write of the same bytes: some twenty minutes
# on a machine that does nothing else, with bench-rivals. KEDGE_BENCH_EXAMPLES=iris and
# KEDGE_BENCH_ROUNDS=1 make it shorter.
bench: setup build
	cd $(ROOT) && go test ./integration -run '^$$' -bench 'Examples|Proxy|Lab|Page|Restores|Pause' -benchtime 1x -timeout 2h
	cd $(ROOT) && go test ./snapshotter -run '^$$' -bench . -benchtime 5x
	cd $(ROOT) && go test ./server -run '^$$' -bench . -benchtime 5x
	$(MAKE) -C $(ROOT) bench-rivals

# Compares Kedge with dill, cloudpickle, joblib, pickle and Kishu on states of
# published shapes and on the examples, and writes docs/benchmarks.md and .svg.
# The rivals live in .cache/rivals, from hash-locked requirements: the first run
# needs the network. Under ten minutes; KEDGE_RIVALS_SECONDS, KEDGE_RIVALS_SCALE,
# KEDGE_RIVALS_STATES=small,arrays and KEDGE_RIVALS_SYSTEMS=kedge,dill change that.
RIVALS := $(ROOT)/.cache/rivals
bench-rivals: setup build
	lock="$(RIVALS)/.lock-$$(sha256sum $(ROOT)/integration/rivals/requirements.txt | cut -c1-16)"; \
	if [[ ! -f "$$lock" ]]; then \
	  $(PYTHON) -m venv --clear $(RIVALS); \
	  $(RIVALS)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $(ROOT)/integration/rivals/requirements.txt; \
	  touch "$$lock"; \
	fi
	$(RIVALS)/bin/python $(ROOT)/integration/rivals/compare.py $(ROOT)/bin/kedge $(ROOT)/examples $(ROOT)/docs

# Thirty notebooks as people write them, 205 edits of them: no cell runs that
# need not, and all is as in a straight run. Some twenty minutes on two cores;
# KEDGE_CORPUS=sales,titanic runs two of them.
corpus: setup build
	cd $(ROOT) && KEDGE_CORPUS=$${KEDGE_CORPUS:-all} go test ./integration/corpus -count=1 -parallel 2 -timeout 3h -v

# Compares random notebooks under random actions with straight runs:
# make fuzz SEED=7 ACTIONS=20000 WORKERS=2, or MUTANT=3 to see a clause of the
# rule switched off be noticed.
SEED ?= 1
ACTIONS ?= 2000
WORKERS ?= 2
MUTANT ?= 0
fuzz: setup build
	cd $(ROOT) && go build -o bin/fuzz ./integration/oracle/fuzz
	$(ROOT)/bin/fuzz -seed $(SEED) -actions $(ACTIONS) -workers $(WORKERS) -mutant $(MUTANT)

# The same through Jupyter's client and sockets: random cells in a kernel
# behind Kedge and in a plain one. make fuzz-live SEED=7 ACTIONS=5000; an
# action takes a quarter of a second on two quiet cores.
fuzz-live: setup build
	cd $(ROOT) && KEDGE_FUZZ_LIVE=$(ACTIONS) KEDGE_FUZZ_SEED=$(SEED) \
	  go test ./integration -run TestNotebooksInALiveKernel/RandomActions -count=1 -timeout 4h -v

# Starts and ends a thousand kernels behind Kedge in every way, and sends one
# an hour's worth of traffic from clients that are killed: nothing is left
# behind. Some forty minutes; CYCLES=20 ACTIONS=100 takes one. Before that it
# kills what writes a store at POINTS changes of the disk, and lets gc run for
# five minutes beside four processes: nothing that was committed or is held is lost.
# 10 GiB go through the server, whose memory is bounded.
# And a thousand captures beside OpenMP, threads and an event loop.
CYCLES ?= 1000
POINTS ?= 1000
FORKS ?= 1000
soak: ACTIONS = 3600
soak: setup build
	cd $(ROOT) && KEDGE_STORE_POINTS=$(POINTS) KEDGE_STORE_SOAK=1 \
	  go test ./snapshotter -run 'TestKilled|TestNoSpace|TestGCBeside' -count=1 -timeout 2h -v
	cd $(ROOT) && KEDGE_SERVE_ROUNDS=40 go test ./integration -run TestTheMemoryOfTheServerIsBounded -count=1 -v
	cd $(ROOT) && KEDGE_FORKS=$(FORKS) $(PYTHON) -m pytest -q kernel/agent/python/tests/test_beside.py
	cd $(ROOT) && KEDGE_SOAK_CYCLES=$(CYCLES) KEDGE_SOAK_ACTIONS=$(ACTIONS) KEDGE_SOAK_SEED=$(SEED) \
	  go test ./integration -run TestNothingIsLeftBehind -count=1 -timeout 4h -v

# Makes requirements.txt again from requirements.in; needs uv and the network.
lock:
	cd $(ROOT) && uv pip compile --quiet --generate-hashes --universal --no-header --no-annotate \
	  --python-version 3.10 requirements.in --output-file requirements.txt
	cd $(ROOT)/integration/rivals && uv pip compile --quiet --generate-hashes --universal --no-header --no-annotate \
	  --python-version 3.11 requirements.in --output-file requirements.txt
