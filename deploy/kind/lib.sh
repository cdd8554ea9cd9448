# shellcheck shell=bash disable=SC2034
# What the scripts beside it share. It must do nothing by itself.
#
# Contexts are kind's (`kind-ap`, `kind-us`, `kind-eu`). To use three clusters of your own, give their contexts such names, or
# another prefix, and leave out clusters.sh:   CONTEXT_PREFIX=my- CLUSTERS=own deploy/kind/up.sh
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
project=$(cd "$here/../.." && pwd)
regions=(ap us eu)
CONTEXT_PREFIX=${CONTEXT_PREFIX:-kind-}
# kind: this makes them, in containers. own: they are there.
CLUSTERS=${CLUSTERS:-kind}
# The program `causeway`, for remote Secrets.
CAUSEWAY=${CAUSEWAY:-causeway}

# Lists, one a line, the clusters that clusters.sh made.
made=$here/.clusters
# Expansions of lists that may be empty are written ${list[@]+"${list[@]}"}: the bash of macOS takes an empty one for unset.

say() { printf '== %s\n' "$*" >&2; }
fail() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 1; }

# The tools that a script cannot do without.
need() {
  local tool
  for tool in "$@"; do
    command -v "$tool" >/dev/null || fail "$tool is not installed"
  done
}

context() { printf '%s%s' "$CONTEXT_PREFIX" "$1"; }
# on REGION ARGUMENT...: kubectl in that region's cluster.
on() { local region=$1; shift; kubectl --context "$(context "$region")" "$@"; }
# helm_on REGION ARGUMENT...: the same with helm.
helm_on() { local region=$1; shift; helm --kube-context "$(context "$region")" "$@"; }

network_of() {
  case $1 in
    ap) echo network1 ;;
    us) echo network2 ;;
    eu) echo network3 ;;
    *) fail "there is no region $1" ;;
  esac
}

# The address of a cluster's API under which the Pods of others reach it. What a kubeconfig of kind has is the host's.
server_of() {
  if [ "$CLUSTERS" = kind ]; then
    local address
    address=$(docker inspect -f '{{.NetworkSettings.Networks.kind.IPAddress}}' "$1-control-plane")
    echo "https://$address:6443"
  else
    on "$1" config view --minify -o 'jsonpath={.clusters[0].cluster.server}'
  fi
}
