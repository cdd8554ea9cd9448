#!/usr/bin/env bash
# Makes three kind clusters, each a network and a region of its own, whose LoadBalancers get addresses that all three reach.
# It needs Docker, kind, kubectl, helm, and the network.
. "$(dirname "$0")/lib.sh"
need docker kind kubectl helm

region_label() {
  case $1 in
    ap) echo ap-south ;;
    us) echo us-west ;;
    eu) echo eu-west ;;
  esac
}

number=0
for region in "${regions[@]}"; do
  number=$((number + 1))
  if kind get clusters 2>/dev/null | grep -qx "$region"; then
    # What is done to it below should not happen to somebody's own.
    grep -qsx "$region" "$made" || fail "there is a kind cluster $region that this did not make. Remove it, or, if it may be used, add the line $region to $made: down.sh then removes it"
  else
    say "cluster $region"
    echo "$region" >>"$made"
    kind create cluster --name "$region" --config - <<END
kind: Cluster
apiVersion: kind.x-k8s.io/v1alpha4
nodes:
  - role: control-plane
    labels:
      topology.kubernetes.io/region: $(region_label "$region")
      topology.kubernetes.io/zone: $(region_label "$region")-a
END
  fi

  say "addresses for LoadBalancers of $region"
  helm_on "$region" upgrade --install metallb metallb --repo https://metallb.github.io/metallb \
    --namespace metallb-system --create-namespace --wait >/dev/null
  # The containers' network is a /16; addresses from its end are nobody's.
  subnet=$(docker network inspect -f '{{range .IPAM.Config}}{{println .Subnet}}{{end}}' kind | grep -v : | head -n 1)
  prefix=$(cut -d. -f1-2 <<<"$subnet")
  on "$region" apply -f - <<END
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: kind, namespace: metallb-system}
spec: {addresses: ["$prefix.255.$((number * 20))-$prefix.255.$((number * 20 + 19))"]}
---
apiVersion: metallb.io/v1beta1
kind: L2Advertisement
metadata: {name: kind, namespace: metallb-system}
END
done
