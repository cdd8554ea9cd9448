#!/usr/bin/env bash
# Installs istiod into each cluster: one mesh, a network each. It needs helm and the network. ISTIO_VERSION chooses a
# version; the newest by default.
. "$(dirname "$0")/lib.sh"
need helm kubectl

charts=https://istio-release.storage.googleapis.com/charts
version=(${ISTIO_VERSION:+--version "$ISTIO_VERSION"})
for region in "${regions[@]}"; do
  say "Istio in $region"
  helm_on "$region" upgrade --install istio-base base --repo "$charts" ${version[@]+"${version[@]}"} --namespace istio-system --wait >/dev/null
  helm_on "$region" upgrade --install istiod istiod --repo "$charts" ${version[@]+"${version[@]}"} --namespace istio-system --wait \
    --set global.meshID=mesh1 --set "global.multiCluster.clusterName=$region" --set "global.network=$(network_of "$region")" >/dev/null
done
