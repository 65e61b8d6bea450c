# Thin targets that print what they do. `make help` lists them.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# s3s declares Rust 1.96 and builds with 1.95; older toolchains need the flag.
RUSTC_MINOR := $(shell rustc --version 2>/dev/null | sed -E 's/^rustc 1\.([0-9]+).*/\1/')
CARGO_FLAGS := --release --workspace --locked $(shell [ "$(RUSTC_MINOR)" -lt 96 ] 2>/dev/null && echo --ignore-rust-version)
TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)
VENV := $(abspath $(or $(SEXTANT_TEST_VENV),.venv))

DATA ?= ./data

.PHONY: help
help: ## List the targets
	@grep -E '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 20

.PHONY: deps
deps:
	@scripts/install-build-deps.sh

.PHONY: build
build: deps ## Build gateway and chunkd (release)
	@echo "Building; the first time takes about 15 minutes on two cores, most of it RocksDB"
	cargo build $(CARGO_FLAGS) --bins

.PHONY: serve
serve: build ## Build, then run everything in one process on 127.0.0.1:9000 with its data in ./data
	$(TARGET_DIR)/release/gateway standalone --data $(DATA)

.PHONY: test-clients
test-clients:
	@scripts/install-test-clients.sh "$(VENV)"

.PHONY: test
test: build test-clients soak-tools ## Run the whole test suite, with real clients and servers
	SEXTANT_TEST_VENV="$(VENV)" cargo test $(CARGO_FLAGS)

.PHONY: lint
lint: deps ## Check format, lints and docs
	cargo fmt --all --check
	rustfmt --check --edition 2024 fuzz/src/main.rs
	cargo clippy $(CARGO_FLAGS) --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc $(CARGO_FLAGS) --no-deps

.PHONY: simulate
simulate: deps ## Run the protocol in simulated time with SEEDS seeds (20,000: 7 min on two cores); FIRST seed (0)
	SEXTANT_SIMULATIONS=$(or $(SEEDS),20000) SEXTANT_SIMULATION_SEED=$(or $(FIRST),0) \
		cargo test $(CARGO_FLAGS) --test simulation -- what_was_acknowledged --nocapture

.PHONY: soak-tools
soak-tools:
	@scripts/install-soak-tools.sh

.PHONY: soak
soak: build soak-tools ## Run a cluster of real processes under seeded faults for MINUTES (10); SEED repeats a plan
	SEXTANT_SOAK_MINUTES="$(or $(MINUTES),10)" SEXTANT_SOAK_SEED="$(SEED)" cargo test $(CARGO_FLAGS) --test soak -- storm --nocapture
.PHONY: fuzz
fuzz: build ## Fuzz each parser for SECONDS (60), or TARGET alone
	scripts/fuzz.sh "$(TARGET_DIR)" $(or $(SECONDS),60) $(TARGET)

.PHONY: starts
starts: deps ## Fill a chunk store with COUNT small chunks in DIR, kill it, and measure its starts
	cargo build $(CARGO_FLAGS) --example starts
	$(TARGET_DIR)/release/examples/starts "$(or $(DIR),./starts)" $(or $(COUNT),10000000)

.PHONY: memory-test
memory-test: build ## Measure the gateway's peak memory under 32 uploads and 32 downloads of 1 GiB (15 min)
	scripts/measure-memory.sh "$(TARGET_DIR)/release"

POWER_CUT = "$(VENV)/bin/python" compat-tests/python/power_cut.py --bin "$(TARGET_DIR)/release"
CUTS ?= 20

.PHONY: power-cut
power-cut: build test-clients ## Cut the power under both set-ups 20 times each and read everything back (root, 10 min)
	@echo "First without syncs, where the rig must find a loss; then as operators run it"
	$(POWER_CUT) --layout standalone --durability page-cache --expect-loss --cuts 3
	$(POWER_CUT) --layout cluster --durability page-cache --expect-loss --cuts 3
	$(POWER_CUT) --layout standalone --cuts $(CUTS)
	$(POWER_CUT) --layout cluster --cuts $(CUTS)

.PHONY: power-cut-garage
power-cut-garage: test-clients garage ## The same with Garage: its default settings must lose, both fsync settings must not (root)
	$(POWER_CUT) --layout garage --garage "$(GARAGE)/bin/garage" --expect-loss --cuts 3
	$(POWER_CUT) --layout garage-fsync --garage "$(GARAGE)/bin/garage" --settle --cuts $(CUTS)

GARAGE ?= $(HOME)/.cache/sextant-garage
BENCH_DIR ?= $(TARGET_DIR)

.PHONY: garage
garage:
	@scripts/install-garage.sh "$(GARAGE)"

.PHONY: bench
bench: build ## Measure a standalone gateway: rates, latencies, CPU time per operation (3 min)
	@mkdir -p "$(BENCH_DIR)"
	TMPDIR="$(abspath $(BENCH_DIR))" $(TARGET_DIR)/release/s3-bench

.PHONY: bench-rebalance
bench-rebalance: build ## Measure how much a rebalance slows GETs and PUTs down (2 min, 10 GB of disk)
	@mkdir -p "$(BENCH_DIR)"
	TMPDIR="$(abspath $(BENCH_DIR))" $(TARGET_DIR)/release/rebalance-bench

.PHONY: bench-chunks
bench-chunks: build ## Measure the chunk store alone, one file per chunk against segments, new and in use for long (7 min)
	$(TARGET_DIR)/release/chunk-bench "$(BENCH_DIR)" --layout both --gets
	$(TARGET_DIR)/release/chunk-bench "$(BENCH_DIR)" --layout both --size-kib 1024 --clients 16,64 --turnover-mib 1024

.PHONY: bench-garage
bench-garage: build garage ## Compare small durable PUTs with Garage, which is compiled first (20 min, then 2)
	@mkdir -p "$(BENCH_DIR)"
	TMPDIR="$(abspath $(BENCH_DIR))" $(TARGET_DIR)/release/s3-bench --ops put --sizes 4KiB --rounds 3 \
		--garage "$(GARAGE)/bin/garage"

S3TESTS_RUN = python3 compat-tests/s3-tests/run.py $(if $(HTTPS),--https) --checkout "$(S3TESTS)" \
	--gateway "$(abspath $(TARGET_DIR))/release/gateway" --python "$(VENV)-s3tests/bin/python"

.PHONY: s3-tests
s3-tests: build s3-tests-ready ## Run the core of ceph/s3-tests (S3TESTS=checkout) over http or, with HTTPS=1, https, and compare with the lists in compat-tests/s3-tests
	$(S3TESTS_RUN)

.PHONY: s3-tests-stretch
s3-tests-stretch: build s3-tests-ready ## The same for what AWS fails and RGW passes
	$(S3TESTS_RUN) --stretch

.PHONY: s3-tests-ready
s3-tests-ready:
	@test -n "$(S3TESTS)" || { echo "name a checkout: make s3-tests S3TESTS=path" >&2; exit 1; }
	test -x "$(VENV)-s3tests/bin/pytest" || { python3 -m venv "$(VENV)-s3tests" && "$(VENV)-s3tests/bin/pip" install -q -r "$(S3TESTS)/requirements.txt" pytest-xdist pytest-timeout; }
