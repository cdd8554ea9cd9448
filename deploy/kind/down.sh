#!/usr/bin/env bash
# Removes the kind clusters that clusters.sh made, and the keys that certificates.sh made. With clusters of your own
# (CLUSTERS=own) it removes the keys alone; what is installed there stays. It must not touch anything else.
. "$(dirname "$0")/lib.sh"

if [ "$CLUSTERS" = kind ] && [ -e "$made" ]; then
  need kind
  for region in "${regions[@]}"; do
    if grep -qx "$region" "$made"; then
      kind delete cluster --name "$region"
    fi
  done
  rm -f "$made"
fi

# File by file, as $CERTIFICATES may be a folder of somebody's.
folder=${CERTIFICATES:-$here/.certificates}
rm -f "$folder"/root.{key,pem,srl}
for region in "${regions[@]}"; do
  rm -f "$folder/$region".{key,csr,pem,chain.pem}
done
rmdir "$folder" 2>/dev/null || true
