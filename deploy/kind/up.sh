#!/usr/bin/env bash
# Everything, one after the other; each step may be run again by itself.
. "$(dirname "$0")/lib.sh"
# What any step needs, before the first one takes its time.
need kubectl helm openssl "$CAUSEWAY"
steps=(certificates istio gateway apps test)
if [ "$CLUSTERS" = kind ]; then
  need docker kind
  steps=(clusters image "${steps[@]}")
fi
for step in "${steps[@]}"; do
  say "$step.sh"
  "$here/$step.sh"
done
