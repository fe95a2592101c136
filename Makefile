# What a person or a machine does with this checkout. Everything installs what it needs, or says what is missing.
#
#   make run     build the release and start it on the embedded database in ./campanile-data
#   make check   the quick loop: format, lints, unit tests; needs nothing but Rust
#   make test    all rings: unit tests, generated code, lints, and real clients against the release binary
#   make bench   the load generator against its ceilings, start-up times and idle memory; rewrites bench/RESULTS.md

SHELL := /bin/bash
TARGET := $(or $(CARGO_TARGET_DIR),target)
BINARY := $(TARGET)/release/campanile

.PHONY: help run build check test bench clean

help:
	@sed -n 's/^#   //p' Makefile

build:
	cargo build --release --locked --package server

run: build
	@scripts/run $(BINARY)

check:
	cargo fmt --all --check
	cargo clippy --release --locked --workspace --all-targets -- --deny warnings
	cargo test --release --locked --workspace --quiet

test:
	@scripts/test

bench:
	cargo build --release --locked --package server --package bench
	@scripts/setup python
	@bench/run $(TARGET)/release

clean:
	cargo clean
	rm -rf tests/.venv tests/js/node_modules
