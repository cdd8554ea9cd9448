#!/usr/bin/env bash
# Installs Causeway into each cluster as its east-west gateway, exposes every service to the other networks, and tells each
# cluster of the others by remote Secrets. It needs helm, kubectl and causeway. TOKEN_DURATION (24h, say) makes the Secrets'
# tokens end; by default they hold for ever. IMAGE names the repository of the image; by default it is what image.sh put into
# the clusters.
. "$(dirname "$0")/lib.sh"
need helm kubectl "$CAUSEWAY"

duration=(${TOKEN_DURATION:+--duration "$TOKEN_DURATION"})
image=(${IMAGE:+--set "image.repository=$IMAGE"})
for region in "${regions[@]}"; do
  say "the gateway of $region"
  # What istio/gateway is given; only the chart is another one.
  helm_on "$region" upgrade --install eastwest-gateway "$project/deploy/helm/causeway" --namespace istio-system \
    --set "networkGateway=$(network_of "$region")" --set labels.istio=eastwestgateway --set labels.app=istio-eastwestgateway \
    --set "cluster.name=$region" ${image[@]+"${image[@]}"} >/dev/null
  on "$region" apply -f - <<END
apiVersion: networking.istio.io/v1beta1
kind: Gateway
metadata: {name: cross-network-gateway, namespace: istio-system}
spec:
  selector: {istio: eastwestgateway}
  servers:
    - port: {number: 15443, name: tls, protocol: TLS}
      tls: {mode: AUTO_PASSTHROUGH}
      hosts: ["*.local"]
END
done

for region in "${regions[@]}"; do
  say "$region, told to the others"
  secret=$("$CAUSEWAY" create-remote-secret --context "$(context "$region")" --name "$region" --server "$(server_of "$region")" \
    ${duration[@]+"${duration[@]}"})
  for other in "${regions[@]}"; do
    if [ "$other" != "$region" ]; then
      on "$other" --namespace istio-system apply -f - <<<"$secret"
    fi
  done
done
