#!/usr/bin/env bash
# Builds the image and puts it into the three clusters. It needs Docker and kind.
. "$(dirname "$0")/lib.sh"
need docker kind helm

version=$(sed -n 's/^appVersion: *"\(.*\)"$/\1/p' "$project/deploy/helm/causeway/Chart.yaml")
say "image causeway:$version"
docker build --file "$project/deploy/Dockerfile" --tag "causeway:$version" "$project"
for region in "${regions[@]}"; do
  kind load docker-image --name "$region" "causeway:$version"
done
