#!/usr/bin/env bash
# Whether the binary is reproducible: builds this commit twice, in folders of different names, with nothing shared but what
# cargo has downloaded, and compares the bytes. It must not look at what is not committed.
#
#   deploy/reproduce.sh [PROFILE]     cargo's profile (dist); dev is quicker, and shows as much of folders and dates
#
# It says where the two differ, and keeps them then.
set -euo pipefail
cd "$(dirname "$0")/.."
profile=${1:-dist}
CAUSEWAY_COMMIT=$(git rev-parse --short=12 HEAD)
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export CAUSEWAY_COMMIT SOURCE_DATE_EPOCH

place=$(mktemp -d)
# A short folder, and another as long as it likes to be.
roots=("$place/one" "$place/a-much-longer/way-to/the-same-sources")
binary=image/usr/local/bin/causeway
for root in "${roots[@]}"; do
  mkdir -p "$root"
  git archive HEAD | tar -x -C "$root"
  "$root/deploy/build-static.sh" "$profile" "$root/image"
  # What was compiled takes gigabytes.
  rm -rf "$root/target"
done

if cmp -s "${roots[0]}/$binary" "${roots[1]}/$binary"; then
  echo "== reproducible: commit $CAUSEWAY_COMMIT, profile $profile, sha256 $(sha256sum "${roots[0]}/$binary" | cut -d' ' -f1)"
  rm -rf "$place"
  exit 0
fi
echo "reproduce.sh: the two binaries differ; they are kept in $place" >&2
for root in "${roots[@]}"; do
  readelf --wide --section-headers "$root/$binary" | awk '/ PROGBITS| NOBITS| NOTE/ { print }' > "$root/sections"
done
diff "${roots[0]}/sections" "${roots[1]}/sections" | head -n 20 >&2 || true
# `cmp` ends with 1 where they differ, and `head` ends it early.
{ cmp -l "${roots[0]}/$binary" "${roots[1]}/$binary" || true; } 2>/dev/null | head -n 20 >&2 || true
diff <(strings -n 8 "${roots[0]}/$binary") <(strings -n 8 "${roots[1]}/$binary") | head -n 20 >&2 || true
exit 1
