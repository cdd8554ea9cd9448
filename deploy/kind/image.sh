#!/usr/bin/env bash
# Builds the image and puts it into the three clusters. It needs Docker and kind.
. "$(dirname "$0")/lib.sh"
need docker kind helm

version=$(sed -n 's/^appVersion: *"\(.*\)"$/\1/p' "$project/deploy/helm/causeway/Chart.yaml")
say "image causeway:$version"
# What git knows and the image's build does not see.
commit=$(git -C "$project" rev-parse --short=12 HEAD 2>/dev/null || echo unknown)
date=$(git -C "$project" log -1 --format=%ct 2>/dev/null || echo 0)
docker build --file "$project/deploy/Dockerfile" --tag "causeway:$version" \
  --build-arg "CAUSEWAY_COMMIT=$commit" --build-arg "SOURCE_DATE_EPOCH=$date" "$project"
for region in "${regions[@]}"; do
  kind load docker-image --name "$region" "causeway:$version"
done
