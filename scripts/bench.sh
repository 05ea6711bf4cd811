#!/bin/sh
# Runs the benches and writes the report.
#
#   bench.sh full         six million headers; the report is benches/results/DATE.md
#   bench.sh quick        a third of a million; the report lies in the target folder
#   bench.sh SET NAME...  only the criterion benches whose name contains NAME, and no report
#
# BENCH_DATA  where the data is kept between runs, default bench-data in the target folder
set -eu

cd "$(dirname "$0")/.."
BENCH_SET=${1:-full}
shift || true
export BENCH_SET
# cargo runs benches in the folder of their package.
case ${BENCH_DATA:-/} in
/*) ;;
*) BENCH_DATA=$PWD/$BENCH_DATA ;;
esac
case $BENCH_SET in
full | quick) ;;
*)
    echo "bench: BENCH_SET is full or quick, not $BENCH_SET" >&2
    exit 2
    ;;
esac

# The stages serve pages from it.
cargo build --release --locked --package plait --bin plait </dev/null
cargo build --release --locked --package benches --bins </dev/null

if [ $# -gt 0 ]; then
    exec cargo bench --profile release --locked --package benches --bench stages -- "$@"
fi

target=$(cargo metadata --no-deps --format-version 1 --locked |
    sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')
# What an earlier run found must not be taken for this one's.
BENCH_RUN=$target/bench-run/$BENCH_SET
CRITERION_HOME=$BENCH_RUN/criterion
export BENCH_RUN CRITERION_HOME
rm -rf "$BENCH_RUN"
mkdir -p "$BENCH_RUN"
if [ "$BENCH_SET" = quick ]; then
    BENCH_TREE_BLOCKS=${BENCH_TREE_BLOCKS:-200000}
    export BENCH_TREE_BLOCKS
    report=$BENCH_RUN name=quick command='make bench-quick'
else
    report=benches/results name=$(date -u +%F) command='make bench'
fi

cargo bench --profile release --locked --package benches --bench stages -- --noplot
"$target/release/pairs"
"$target/release/load"
"$target/release/open"
"$target/release/bulk"
"$target/release/follow"
"$target/release/report" "$report" "$name" "$command"
