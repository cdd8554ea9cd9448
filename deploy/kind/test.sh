#!/usr/bin/env bash
# Asks `hello` 30 times from each region, and counts who answers. Fails when a request does, or when a region is not answered
# by all three: sidecars share out between them, as no DestinationRule says otherwise. It needs kubectl.
. "$(dirname "$0")/lib.sh"
need kubectl

requests=${REQUESTS:-30}
for region in "${regions[@]}"; do
  for workload in istio-system/eastwest-gateway default/hello default/sleep; do
    on "$region" --namespace "${workload%/*}" rollout status "deployment/${workload#*/}" --timeout 5m >/dev/null
  done
done

failed=0
printf '%-6s %8s %8s %8s %8s\n' from "${regions[@]}" failed
for region in "${regions[@]}"; do
  # One shell for all requests; each prints the line of /env that names the region, or nothing.
  answers=$(on "$region" --namespace default exec deployment/sleep --container sleep -- sh -c \
    "for i in \$(seq $requests); do curl -sf --max-time 5 hello:5000/env | grep -o 'REGION=[a-z]*' || echo FAILED; done")
  row=()
  for answer in "${regions[@]/#/REGION=}" FAILED; do
    count=$(grep -cx -- "$answer" <<<"$answers" || true)
    row+=("$count")
    case $answer in
      FAILED) [ "$count" = 0 ] || failed=1 ;;
      *) [ "$count" != 0 ] || failed=1 ;;
    esac
  done
  printf '%-6s %8s %8s %8s %8s\n' "$region" "${row[@]}"
done
[ "$failed" = 0 ] || fail "a request failed, or a region never answered; 'causeway clusters' in the gateways says what they know"
