#!/bin/sh
# Builds every fuzz target and runs each on its seeds, then for FUZZ_SECONDS on inputs made from them.
#
#   fuzz.sh             every target
#   fuzz.sh TARGET...   these
#
# FUZZ_SECONDS    seconds a target, default 5; 0 runs the seeds and nothing else
# FUZZ_CORPUS     a folder where what is found is kept, and what a run begins with beside the seeds;
#                 default none
# FUZZ_SANITIZER  address, memory, thread or leak; default none. A sanitizer is a nightly flag, which
#                 the stable compiler takes under RUSTC_BOOTSTRAP=1
#
# Coverage instrumentation needs stable flags only, the ones that cargo-fuzz passes. With a target
# triple they reach what is fuzzed, and no build script or macro.
set -eu

cd "$(dirname "$0")/.."
seconds=${FUZZ_SECONDS:-5}
triple=$(rustc -vV | sed -n 's/^host: //p')
target=${CARGO_TARGET_DIR:-target}
case $target in
/*) ;;
*) target=$PWD/$target ;;
esac

# RocksDB is minutes of C++, and has no instrumentation here: what the workspace has built is linked.
rocksdb=$(CARGO_TARGET_DIR=$target cargo check --release --locked --package plait_engine --message-format=json |
    sed -n 's/.*"package_id":"[^"]*librocksdb-sys[^"]*".*"out_dir":"\([^"]*\)".*/\1/p')
if [ -n "$rocksdb" ]; then export ROCKSDB_LIB_DIR="$rocksdb" ROCKSDB_STATIC=1; fi
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
if [ $# -eq 0 ]; then
    cargo build --release --bins --locked --manifest-path fuzz/Cargo.toml --target "$triple"
    for file in fuzz/fuzz_targets/*.rs; do
        set -- "$@" "$(basename "$file" .rs)"
    done
else
    for name; do
        cargo build --release --bin "$name" --locked --manifest-path fuzz/Cargo.toml --target "$triple"
    done
fi

# In memory, where that can be: some targets write files in every run.
if [ -w /dev/shm ]; then work=$(mktemp -d -p /dev/shm); else work=$(mktemp -d); fi
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# field LOG PATTERN: the last number of such a place in the log
field() {
    sed -n "s/.*$2.*/\1/p" "$1" | tail -n 1
}

mkdir -p fuzz/artifacts
for name; do
    binary=$CARGO_TARGET_DIR/$triple/release/$name
    seeds=fuzz/seeds/$name corpus=$work/corpus log=$work/log
    if [ -n "${FUZZ_CORPUS:-}" ]; then corpus=$FUZZ_CORPUS/$name; fi
    mkdir -p "$corpus" "$work/tmp" "fuzz/artifacts/$name"
    # Without a run count libFuzzer would go on for ever; 0 ends it after the seeds.
    limit=-max_total_time=$seconds
    if [ "$seconds" -eq 0 ]; then limit=-runs=0; fi
    dictionary=fuzz/dictionaries/$name.dict
    if [ -f "$dictionary" ]; then dictionary=-dict=$dictionary; else dictionary=; fi
    # What is taken apart with `arbitrary` says little where it is short.
    case $name in
    ancestors | archive | batch_hash | difficulty | history | replay | request) lengths=-len_control=0 ;;
    *) lengths= ;;
    esac
    if TMPDIR=$work/tmp "$binary" "$limit" $dictionary $lengths -seed=1 -timeout=10 -rss_limit_mb=2048 \
        -print_final_stats=1 -artifact_prefix="fuzz/artifacts/$name/" "$corpus" "$seeds" \
        </dev/null >"$log" 2>&1; then
        edges=$(field "$log" 'Loaded 1 modules *(\([0-9]*\) inline')
        echo "fuzz: $name ok, seeds: $(find "$seeds" -type f | wc -l | tr -d ' ')," \
            "executions: $(field "$log" 'number_of_executed_units: *\([0-9]*\)')," \
            "edges: $(field "$log" 'cov: \([0-9]*\)') of $edges," \
            "features: $(field "$log" 'ft: \([0-9]*\)')," \
            "memory: $(field "$log" 'peak_rss_mb: *\([0-9]*\)') MB" >&2
    else
        cat "$log" >&2
        echo "fuzz: $name FAILED, its input is in fuzz/artifacts/$name/" >&2
        exit 1
    fi
    rm -rf "${work:?}/corpus" "$work/tmp"
done
