#!/bin/sh
# Runs every fuzz target over its corpus and then for a short while: smoke.sh [seconds for each target, 20 by default].
# cargo-fuzz is not needed: these are the flags that matter of those it passes. New inputs go to the target folder, so
# that the committed corpus stays small; a failing input is written there too, and its path printed.
set -eu
cd "$(dirname "$0")"
seconds=${1:-20}
# Without an explicit target the flags would reach build scripts as well.
host=$(rustc +nightly -vV | sed -n 's/^host: //p')
export RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares"
cargo +nightly build --release --locked --target "$host"
for target in hello sni proxy_protocol; do
    found=target/found/$target
    mkdir -p "$found"
    "target/$host/release/$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=1024 -max_len=4096 \
        -print_final_stats=0 -verbosity=0 -artifact_prefix="$found/failed-" "$found" "corpus/$target"
    echo "fuzz $target: $seconds s, nothing found"
done
