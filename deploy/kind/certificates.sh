#!/usr/bin/env bash
# Makes one root and an intermediate of it for each cluster, so that workloads of all trust each other, and gives them to
# Istio as the Secret `cacerts`. What is there stays. It needs openssl and kubectl. Keys lie in $CERTIFICATES (by default
# .certificates beside this script): this is for trying out.
. "$(dirname "$0")/lib.sh"
need openssl kubectl

folder=${CERTIFICATES:-$here/.certificates}
days=365
umask 077
mkdir -p "$folder"
cd "$folder"

if [ ! -e root.pem ]; then
  say "a root"
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout root.key -out root.pem -days "$days" \
    -subj "/O=Causeway quickstart/CN=root" -addext "basicConstraints=critical,CA:TRUE" \
    -addext "keyUsage=critical,keyCertSign,cRLSign" 2>/dev/null
fi

for region in "${regions[@]}"; do
  if [ ! -e "$region.pem" ]; then
    say "an intermediate of $region"
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$region.key" -out "$region.csr" \
      -subj "/O=Causeway quickstart/CN=$region" 2>/dev/null
    openssl x509 -req -in "$region.csr" -CA root.pem -CAkey root.key -CAcreateserial -days "$days" -out "$region.pem" \
      -extfile <(printf 'basicConstraints=critical,CA:TRUE,pathlen:0\nkeyUsage=critical,digitalSignature,keyCertSign\n') 2>/dev/null
  fi
  openssl verify -CAfile root.pem "$region.pem" >/dev/null || fail "$folder/$region.pem is not of $folder/root.pem, or has ended: remove the folder"
  cat "$region.pem" root.pem >"$region.chain.pem"

  on "$region" apply -f - <<END
apiVersion: v1
kind: Namespace
metadata:
  name: istio-system
  labels: {topology.istio.io/network: $(network_of "$region")}
END
  if ! on "$region" --namespace istio-system get secret cacerts >/dev/null 2>&1; then
    on "$region" --namespace istio-system create secret generic cacerts \
      --from-file "ca-cert.pem=$region.pem" --from-file "ca-key.pem=$region.key" \
      --from-file "root-cert.pem=root.pem" --from-file "cert-chain.pem=$region.chain.pem"
  fi
done
