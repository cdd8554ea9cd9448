# What a person runs, and so what CI runs. `make lint test` needs a Rust toolchain (1.95) and a C compiler, nothing else.

CARGO ?= cargo
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c

# Says how long a step took, so that a slow one is seen.
define step
	@start=$$SECONDS; $(2) || exit $$?; echo "== $(1): $$((SECONDS - start)) s"
endef

.PHONY: all lint test fuzz demo dist bench clean

all: lint test

lint:
	$(call step,rustfmt,$(CARGO) fmt --all --check)
	$(call step,clippy,$(CARGO) clippy --workspace --all-targets --locked -- -D warnings)
	$(call step,docs,RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --locked --document-private-items)

test:
	$(call step,build of the tests,$(CARGO) test --workspace --locked --no-run)
	$(call step,tests,$(CARGO) test --workspace --locked)

# Throws mutated bytes at the parsers for a few seconds each; needs the nightly toolchain.
fuzz:
	$(call step,fuzz,proxy/fuzz/smoke.sh $${FUZZ_SECONDS:-20})

demo:
	$(CARGO) run --release --locked -- demo

# The binary that is measured and shipped: fat LTO.
dist:
	$(CARGO) build --profile dist --locked

bench:
	$(CARGO) bench -p proxy --locked

clean:
	$(CARGO) clean
