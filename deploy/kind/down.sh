#!/usr/bin/env bash
# Removes the three kind clusters and the quickstart's keys.
. "$(dirname "$0")/lib.sh"
need kind
for region in "${regions[@]}"; do
  kind delete cluster --name "$region"
done
rm -rf "${CERTIFICATES:-$here/.certificates}"
