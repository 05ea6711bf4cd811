# Every task in one word; `make help` lists them.
#
# All of them build with the release profile into one target folder, so that RocksDB, minutes of C++,
# is compiled once. ccache is used when it is installed.

.DEFAULT_GOAL := help
.NOTPARALLEL:

# Compilers through ccache where Debian or Fedora put its links; cargo also where rustup puts it. PATH is
# no part of a cargo fingerprint, unlike CC and CXX, so ccache may come or go and nothing is rebuilt.
cargo_home := $(or $(CARGO_HOME),$(HOME)/.cargo)
export PATH := /usr/lib/ccache:/usr/lib64/ccache:$(PATH):$(cargo_home)/bin

# How long `make check` runs each fuzz target.
FUZZ_SECONDS ?= 5
export FUZZ_SECONDS FUZZ_SANITIZER DUMP LISTEN DB NETWORK REPLAY_FLAGS BENCH_DATA

# Which fuzz target, and for how many seconds.
T ?=
S ?= 60

# How many power cuts, how many processes that are killed, and what chooses their moments.
CUTS ?= 100
CYCLES ?= 1000
SEED ?=

# How many requests schemathesis makes up for an operation in each phase.
EXAMPLES ?= 300

builds = $(or $(CARGO_TARGET_DIR),target)

.PHONY: help setup run test test-browser test-analytics screenshots crash schemathesis power-cuts check fuzz fuzz-all \
	fuzz-mutations fmt bench bench-quick bench-instructions bench-instructions-accept clean-run

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-26s %s\n", $$1, $$2 }' Makefile
	@echo
	@echo 'make run    DUMP=path              a dump or a chainweb-node database instead of the sample'
	@echo '            NETWORK=mainnet01      the network of that dump'
	@echo '            REPLAY_FLAGS="..."     more flags for plait replay, such as --allow-partial'
	@echo '            DB=path                the database, else run/db, or run/dump-db with DUMP'
	@echo '            LISTEN=127.0.0.1:1848  where to serve'
	@echo 'make test-browser HEIGHTS=250000   five million headers, and what is measured'
	@echo 'make test-analytics HEIGHTS=500000 five million rows'
	@echo 'make power-cuts CUTS=100           how many'
	@echo '            SEED=number            the moments of an earlier run'
	@echo 'make crash  CYCLES=1000 SEED=1     how many, and which ones'
	@echo 'make schemathesis EXAMPLES=300     how many requests an operation'
	@echo '            SEED=number            the requests of another run'
	@echo 'make check  FUZZ_SECONDS=5         how long to run each fuzz target'
	@echo 'make fuzz   T=target S=60          which fuzz target, and for how many seconds'
	@echo 'make fuzz-all S=60                 seconds for each'
	@echo 'make bench  BENCH=name             only the criterion benches whose name contains this'
	@echo '            BENCH_SET=quick        with the small data'
	@echo '            BENCH_DATA=path        where the data is kept, else in the target folder'

setup: ## install what is missing: compilers, libclang, curl, ccache
	@scripts/setup.sh

run: ## build, replay the sample or DUMP=path, serve on LISTEN
	@scripts/setup.sh run
	@scripts/run.sh $${DUMP:+"$$DUMP"}

test: ## all tests
	@scripts/setup.sh build
	cargo test --release --workspace --locked

test-browser: ## drive the explorer in a headless chromium; skipped where there is none
	@scripts/setup.sh build
	cargo build --release --locked --package plait
	tests/browser/try_browser.py --plait $(builds)/release/plait $(if $(HEIGHTS),--heights $(HEIGHTS)) || [ $$? -eq 77 ]
	tests/browser/try_tabs.py --plait $(builds)/release/plait || [ $$? -eq 77 ]
	tests/browser/try_pages.py --plait $(builds)/release/plait || [ $$? -eq 77 ]

test-analytics: ## run the queries of docs/analytics.md with DuckDB over a dataset; needs Python
	@scripts/setup.sh build
	cargo build --release --locked --package plait --features parquet
	tests/compat/try_analytics.py --plait $(builds)/release/plait --venv $(builds)/analytics-venv $(if $(HEIGHTS),--heights $(HEIGHTS)) || [ $$? -eq 77 ]

screenshots: ## take the pictures of docs/images anew, with chromium
	@scripts/setup.sh build
	cargo build --release --locked --package plait
	scripts/screenshots.py --plait $(builds)/release/plait

crash: ## kill processes between any two durable steps, and check what they leave; some five minutes
	@scripts/setup.sh build
	cargo build --release --locked --workspace --bin crash
	$(builds)/release/crash run $(CYCLES) $(or $(SEED),1)

schemathesis: ## hold the server to its /openapi.json, EXAMPLES=300 requests an operation and more
	@scripts/setup.sh build
	cargo build --release --locked --package plait
	tests/compat/try_schemathesis.py --plait $(builds)/release/plait --venv $(builds)/schemathesis-venv --examples $(EXAMPLES) $(if $(SEED),--seed $(SEED)) || [ $$? -eq 77 ]

power-cuts: ## cut the power of a replay, a backup, a restore; as root, about twenty minutes
	@scripts/setup.sh power
	cargo build --release --locked --package plait
	tests/power/cuts.py --plait $(builds)/release/plait --cuts $(CUTS) $(if $(SEED),--seed $(SEED))

check: ## formatting, lints, docs, dependencies, fuzz targets; warnings are errors
	@scripts/setup.sh check
	cargo fmt --all --check
	cargo clippy --release --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc --release --workspace --no-deps --locked --document-private-items
	cargo clippy --release --package plait_engine --no-default-features --locked -- -D warnings
	scripts/deny.sh
	scripts/fuzz.sh

fuzz: ## one fuzz target, T=target for S=seconds; what is found is kept in the target folder
	@scripts/setup.sh build
	@test -n '$(T)' || { echo "make fuzz T=target S=seconds, of:" $(basename $(notdir $(wildcard fuzz/fuzz_targets/*.rs))) >&2; exit 2; }
	FUZZ_SECONDS=$(S) FUZZ_CORPUS=$(abspath $(builds))/fuzz/corpus scripts/fuzz.sh $(T)

fuzz-all: ## every fuzz target for S=seconds
	@scripts/setup.sh build
	FUZZ_SECONDS=$(S) FUZZ_CORPUS=$(abspath $(builds))/fuzz/corpus scripts/fuzz.sh

fuzz-mutations: ## breaks one thing on purpose for each fuzz target and expects it to be found; about twenty minutes
	@scripts/setup.sh build
	scripts/fuzz-mutations.sh $(T)

fmt: ## format the code
	@scripts/setup.sh check
	cargo fmt --all
	if [ -f fuzz/Cargo.toml ]; then cargo fmt --manifest-path fuzz/Cargo.toml; fi

bench: ## all benches, writes benches/results/DATE.md; about twenty minutes
	@scripts/setup.sh bench
	@scripts/bench.sh $(or $(BENCH_SET),full) $(BENCH)

bench-quick: ## all benches with little data, in minutes
	@scripts/setup.sh bench
	@scripts/bench.sh quick $(BENCH)

bench-instructions: ## counts instructions, fails where they are 5 % over the baseline
	@scripts/setup.sh count
	cargo run --release --locked --package benches --bin instructions

bench-instructions-accept: ## counts instructions, takes them as the baseline
	@scripts/setup.sh count
	cargo run --release --locked --package benches --bin instructions -- --accept

clean-run: ## forget the databases of `make run`
	rm -rf run
