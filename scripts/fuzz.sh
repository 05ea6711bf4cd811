#!/bin/sh
# Builds every fuzz target and runs each on its seeds, then for FUZZ_SECONDS on inputs made from them.
#
#   fuzz.sh             every target
#   fuzz.sh TARGET...   these
#
# FUZZ_SECONDS    seconds a target, default 5; 0 runs the seeds and nothing else
# FUZZ_SANITIZER  address, memory, thread or leak; default none. A sanitizer is a nightly flag, which
#                 the stable compiler takes under RUSTC_BOOTSTRAP=1
#
# Coverage instrumentation needs stable flags only, the ones that cargo-fuzz passes. With a target
# triple they reach what is fuzzed, and no build script or macro.
set -eu

cd "$(dirname "$0")/.."
if [ ! -f fuzz/Cargo.toml ]; then
    echo "fuzz: no fuzz targets yet" >&2
    exit 0
fi

seconds=${FUZZ_SECONDS:-5}
triple=$(rustc -vV | sed -n 's/^host: //p')
target=${CARGO_TARGET_DIR:-target}
case $target in
/*) ;;
*) target=$PWD/$target ;;
esac
export CARGO_TARGET_DIR="$target/fuzz"

RUSTFLAGS="${RUSTFLAGS:-} --cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares -Cdebug-assertions -Coverflow-checks"
if [ -n "${FUZZ_SANITIZER:-}" ]; then
    export RUSTC_BOOTSTRAP=1
    RUSTFLAGS="$RUSTFLAGS -Zsanitizer=$FUZZ_SANITIZER"
fi
export RUSTFLAGS

cargo fmt --manifest-path fuzz/Cargo.toml --check
cargo build --release --bins --locked --manifest-path fuzz/Cargo.toml --target "$triple"

if [ $# -eq 0 ]; then
    for file in fuzz/fuzz_targets/*.rs; do
        set -- "$@" "$(basename "$file" .rs)"
    done
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p fuzz/artifacts
for name; do
    binary=$CARGO_TARGET_DIR/$triple/release/$name
    corpus=$work/$name
    mkdir -p "$corpus" "fuzz/artifacts/$name"
    if [ -d "fuzz/seeds/$name" ]; then cp -R "fuzz/seeds/$name/." "$corpus"; fi
    seeds=$(find "$corpus" -type f | wc -l | tr -d ' ')
    # Without a run count libFuzzer would go on for ever; 0 ends it after the seeds.
    limit=-max_total_time=$seconds
    if [ "$seconds" -eq 0 ]; then limit=-runs=0; fi
    if "$binary" "$limit" -seed=1 -timeout=10 -rss_limit_mb=2048 -artifact_prefix="fuzz/artifacts/$name/" \
        "$corpus" </dev/null >"$work/$name.log" 2>&1; then
        runs=$(sed -n 's/^Done \([0-9]*\) runs.*/\1/p' "$work/$name.log")
        echo "fuzz: $name ok, seeds: $seeds, runs: ${runs:-$seeds}" >&2
    else
        cat "$work/$name.log" >&2
        echo "fuzz: $name FAILED, its input is in fuzz/artifacts/$name/" >&2
        exit 1
    fi
done
