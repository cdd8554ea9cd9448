#!/usr/bin/env bash
# Lists the crates that the binary is made of, as CycloneDX: those that are in it, and, as `excluded`, what only builds them. It
# wants cargo-cyclonedx, and must not write into the project.
#
#   deploy/sbom.sh FILE
#
# It fails where the list lacks a crate that cargo compiles. The list has some more: optional crates that another one's feature
# would give a feature of their own if they were there (`x509-parser?/...`), which `cargo metadata` takes for wanted. What is of
# no crate is not in it: Rust's standard library and glibc, which are the tool chain's.
set -euo pipefail
file=$(realpath -m "${1:?the file to write}")
cd "$(dirname "$0")/.."
cargo=${CARGO:-cargo}
triple=$(rustc -vV | sed -n 's/^host: //p')
# With it the list bears that date, and no number of its own that would be another one each time.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}
export SOURCE_DATE_EPOCH

# In a copy, as it writes a file beside every package of the workspace.
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
tar -c --exclude=./target --exclude=./.git . | tar -x -C "$copy"
"$cargo" cyclonedx --quiet --manifest-path "$copy/proxy/gateway/Cargo.toml" --target "$triple" --format json --override-filename sbom.cdx

mkdir -p "$(dirname "$file")"
sed "s|$copy|/causeway|g" "$copy/proxy/gateway/sbom.cdx.json" > "$file"
listed=$(grep -o '"purl": "pkg:cargo/[^?"]*' "$file" | sed 's|.*/||' | sort -u)
compiled=$("$cargo" tree --locked --package gateway --edges normal,build --target "$triple" --prefix none |
  sed -E 's/^([^ ]+) v([^ ]+).*/\1@\2/' | sort -u)
missing=$(comm -13 <(echo "$listed") <(echo "$compiled"))
if [ -n "$missing" ]; then
  echo "sbom.sh: $file lacks what cargo compiles:" "$missing" >&2
  exit 1
fi
echo "== $file: $(wc -l <<<"$listed") crates, of which cargo compiles $(wc -l <<<"$compiled")"
