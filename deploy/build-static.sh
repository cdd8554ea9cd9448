#!/usr/bin/env bash
# Builds what is in the image: the static binary, and the few files beside it. The Dockerfile and `make image-check` both run
# this, so that what is checked is what is built. It must not need a container engine.
#
#   deploy/build-static.sh [PROFILE] [FOLDER]     cargo's profile (dist), and where the image's root is put (target/image)
#
# CAUSEWAY_COMMIT is what causeway_build_info says; by default what git says. Folders and dates are kept out of the binary, so
# that the same sources, tool chain, commit and SOURCE_DATE_EPOCH give the same one, in whatever folder they lie (but one with a
# space in its name, which jemalloc's configure refuses): deploy/reproduce.sh builds twice and compares the bytes. SBOM=yes adds the list of what is
# compiled in (deploy/sbom.sh), which wants cargo-cyclonedx.
set -euo pipefail
cd "$(dirname "$0")/.."
here=$PWD
case $here in
  *[[:space:]]*) echo "build-static.sh: '$here' has a space in it, which jemalloc's configure refuses; build in another folder" >&2; exit 1 ;;
esac
profile=${1:-dist}
root=${2:-target/image}
cargo=${CARGO:-cargo}
cargo_home=${CARGO_HOME:-$HOME/.cargo}
target_folder=$here/target/static

# The machine's own kind: for another one a C compiler and a C library of that kind would be needed.
triple=$(rustc -vV | sed -n 's/^host: //p')
case $triple in
  *-linux-gnu) ;;
  *) echo "build-static.sh: builds with glibc on Linux; this tool chain is for $triple" >&2; exit 1 ;;
esac

git_says() { git "$@" 2>/dev/null || true; }
CAUSEWAY_COMMIT=${CAUSEWAY_COMMIT:-$(git_says rev-parse --short=12 HEAD)}
# C sources say when they were compiled: https://reproducible-builds.org/specs/source-date-epoch/
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git_says log -1 --format=%ct)}
export CAUSEWAY_COMMIT=${CAUSEWAY_COMMIT:-unknown} SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-0}

# Where the sources lie is no part of the binary. Cargo takes flags apart at \x1f, so that its own folder may have a space.
s=$'\x1f'
export CARGO_ENCODED_RUSTFLAGS="-Ctarget-feature=+crt-static$s--remap-path-prefix=$cargo_home=/cargo$s--remap-path-prefix=$here=/causeway"
# The crate that calls C compilers takes them apart as a shell would, if it is told so.
export CC_SHELL_ESCAPED_FLAGS=1
CFLAGS=$(printf '%q %q' "-ffile-prefix-map=$cargo_home=/cargo" "-ffile-prefix-map=$here=/causeway")
export CFLAGS
# With --target, so that build scripts and macros, which compilers load, are not static.
"$cargo" build --locked --package gateway --bin causeway --profile "$profile" --target "$triple" --target-dir "$target_folder"

case $profile in dev) folder=debug ;; *) folder=$profile ;; esac
binary=$target_folder/$triple/$folder/causeway
if readelf --program-headers "$binary" | grep -q INTERP; then
  echo "build-static.sh: $binary wants a loader: it is not static" >&2
  exit 1
fi

rm -rf "$root"
install -D -m 0755 "$binary" "$root/usr/local/bin/causeway"
install -D -m 0644 deploy/nsswitch.conf "$root/etc/nsswitch.conf"
install -D -m 0644 LICENSE "$root/usr/share/causeway/LICENSE"
# For kubeconfigs without a certificate authority of their own; what this machine trusts.
authorities=/etc/ssl/certs/ca-certificates.crt
[ ! -f "$authorities" ] || install -D -m 0644 "$authorities" "$root$authorities"
if [ "${SBOM:-no}" = yes ]; then
  deploy/sbom.sh "$root/usr/share/causeway/sbom.cdx.json"
fi
echo "== $root/usr/local/bin/causeway: $(stat -c %s "$binary") bytes, sha256 $(sha256sum "$binary" | cut -d' ' -f1)"
