#!/bin/sh
# Shows that the fuzz targets can fail: breaks one thing on purpose for each, as its patch in
# fuzz/mutations says, in a copy of the source, and expects the target to find it within FUZZ_SECONDS.
#
#   fuzz-mutations.sh             every target
#   fuzz-mutations.sh TARGET...   these
set -eu

cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-target}
case $target in
/*) ;;
*) target=$PWD/$target ;;
esac
export CARGO_TARGET_DIR="$target" FUZZ_SECONDS="${FUZZ_SECONDS:-120}"
# Only from the seeds.
unset FUZZ_CORPUS

if [ $# -eq 0 ]; then
    for file in fuzz/fuzz_targets/*.rs; do
        set -- "$@" "$(basename "$file" .rs)"
    done
fi

copy=$target/mutated
log=$target/mutated.log
missed=
for name; do
    rm -rf "$copy"
    mkdir -p "$copy"
    for part in .cargo Cargo.toml Cargo.lock engine server tests benches fuzz docs scripts rustfmt.toml; do
        cp -R -p "$part" "$copy/"
    done
    # What was broken before is as old as the source, and is to be built anew.
    sed -n 's/^+++ b\///p' fuzz/mutations/*.patch | sort -u | (cd "$copy" && xargs touch)
    patch --directory "$copy" --strip 1 --quiet <"fuzz/mutations/$name.patch"
    rm -rf "$copy/fuzz/artifacts"
    if (cd "$copy" && scripts/fuzz.sh "$name") >"$log" 2>&1; then
        echo "mutations: $name MISSED what fuzz/mutations/$name.patch breaks" >&2
        missed="$missed $name"
    elif [ -n "$(find "$copy/fuzz/artifacts" -type f 2>/dev/null)" ]; then
        runs=$(sed -n 's/.*number_of_executed_units: *\([0-9]*\).*/\1/p' "$log" | tail -n 1)
        echo "mutations: $name found it, executions: $runs: $(sed -n '/panicked at/{n;p;q}' "$log")" >&2
    else
        cat "$log" >&2
        echo "mutations: $name did not run" >&2
        exit 1
    fi
done
rm -rf "$copy"
[ -z "$missed" ]
