# SPDX-License-Identifier: MIT OR Apache-2.0
# The few commands that do everything; `make help` lists them.

CARGO ?= cargo
PREFIX ?= /usr/local
DESTDIR ?=
DEBUGINFO ?= none

ifndef CARGO_TARGET_DIR
export CARGO_TARGET_DIR := $(shell scripts/target-dir.sh)
endif
target := $(CARGO_TARGET_DIR)

# The tests make sandboxes as root and as ordinary users: for anybody else
# cargo still builds as them, and starts the test programs through sudo.
ifneq ($(shell id -u),0)
root := sudo -E env PATH=$(PATH) CARGO_TARGET_DIR=$(target)
triple := $(shell rustc -vV | sed -n 's/^host: //p' | tr a-z- A-Z_)
export CARGO_TARGET_$(triple)_RUNNER := $(root)
endif

# No test may be skipped, except for another cgroup layout: the tests in a guest
# run those.
export TARE_TESTS_REQUIRE ?= all,-pids_v2

.PHONY: help demo test lint fuzz bench bench-peers bench-docs schema install install-debug wheel setup images guest

help: ## List these commands
	@sed -n 's/^\([a-z-]*\):.*## /make \1\t/p' Makefile | expand -t 20

demo: setup ## The main job: a command in a view of the host, then one in Debian
	$(root) tests/images.sh debian
	scripts/demo.sh

test: setup images guest ## Every test, on real images, as root and as ordinary users; PARTS="rust c" only those
	CARGO="$(CARGO)" tests/run.sh $(PARTS)

lint: setup ## Formatting, clippy, shellcheck, prose, documentation: exactly what CI asks
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets --features libtare/bench -- -D warnings
	shellcheck .ci/run scripts/*.sh tests/*.sh tests/*/*.sh fuzz/*.sh bindings/*/*.sh examples/*/*.sh
	bindings/python/test.sh -l
	python3 -B scripts/prose/test_prose.py
	python3 -B scripts/prose
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --workspace --exclude tare-c --lib --bin tare-helper --no-deps

fuzz: setup ## Every parser of foreign bytes for a minute, guided by coverage
	fuzz/run.sh

bench: setup images ## Each stage beside its floor, and the promised figures
	$(CARGO) bench --locked --package libtare --features bench --bench '*'
	scripts/bench-report.py $(target)/bench

bench-peers: setup images ## The same beside installed peers: bwrap, crun, runc, podman, docker, umoci, skopeo
	$(root) scripts/bench-peers.sh
	scripts/bench-report.py $(target)/bench

bench-docs: ## Put the last measurement into docs/performance.md
	scripts/bench-report.py $(target)/bench -m docs/performance.md
	scripts/bench-plot.py $(target)/bench docs/performance.svg

schema: ## Write anew what comes from the types of Rust: docs/schema, docs/*.md, tare.h, options of Go, types of Python
	$(CARGO) build --locked --package tare-cli
	for s in spec rpc; do $(target)/debug/tare schema $$s >docs/schema/$$s.json || exit; done
	TARE_BLESS=1 $(CARGO) test --quiet --locked --package tare-cli page_tells_of_each
	TARE_BLESS=1 $(CARGO) test --quiet --locked --package tare-cli --test go_options
	TARE_BLESS=1 $(CARGO) test --quiet --locked --package tare-c --test header header_is_what_the_sources_say
	python="$$(bindings/python/test.sh -v)/bin/python" && $$python bindings/python/spec_types.py

install: ## The command, its manual and completions, the C library, below DESTDIR/PREFIX
	$(CARGO) build --locked --release --package tare-c
	CARGO="$(CARGO)" scripts/build-command.sh
	bindings/c/link.sh $(target)/release/libtare.a $(target)/release/linked
	DEBUGINFO=$(DEBUGINFO) bindings/c/install.sh $(target)/release/linked "$(DESTDIR)" $(PREFIX)
	DEBUGINFO=$(DEBUGINFO) scripts/install-stripped.sh $(target)/release/tare $(DESTDIR)$(PREFIX)/bin/tare 0755
	scripts/install-generated.sh $(target)/release/tare $(DESTDIR)$(PREFIX)/share

install-debug: DEBUGINFO = apart
install-debug: install ## Install with debug information in .debug beside; DEBUGINFO=inside leaves it in, for packagers

wheel: setup ## The Python wheel for other machines; the last line gives its path
	$(root) tests/images.sh oldest
	bindings/python/test.sh -w

setup:
	scripts/setup.sh

images: setup
	$(root) tests/images.sh

guest: setup
	$(root) tests/guest.sh -p
	$(root) tests/guest.sh -r bookworm-backports -p
