#!/usr/bin/env bash
# Everything, one after the other; each step may be run again by itself.
. "$(dirname "$0")/lib.sh"
steps=(certificates istio gateway apps test)
if [ "$CLUSTERS" = kind ]; then
  steps=(clusters image "${steps[@]}")
fi
for step in "${steps[@]}"; do
  say "$step.sh"
  "$here/$step.sh"
done
