#!/bin/sh
# Builds `plait`, replays headers into a database and serves it until Ctrl-C, with `curl` lines to try.
#
#   run.sh         the sample: a generated network of twenty chains, 100,000 headers and some orphans
#   run.sh DUMP    this dump or chainweb-node database
#
# LISTEN        address to serve on, default 127.0.0.1:1848
# DB            database folder, default run/db, and run/dump-db for a DUMP: they never mix
# NETWORK       default mainnet01
# REPLAY_FLAGS  more flags for `plait replay`, as in "--format node --allow-partial"
set -eu

dump=${1:-}
listen=${LISTEN:-127.0.0.1:1848}
network=${NETWORK:-mainnet01}
flags=${REPLAY_FLAGS:-}
started_in=$PWD
cd "$(dirname "$0")/.."

if [ -n "$dump" ]; then
    case $dump in
    /* | -) input=$dump ;;
    '~'/*) input=$HOME/${dump#?/} ;;
    *) input=$started_in/$dump ;;
    esac
    database=${DB:-run/dump-db}
else
    input=run/sample.bin
    network=development
    database=${DB:-run/db}
fi

die() {
    echo "run: $1" >&2
    exit "${2:-1}"
}

# curl fails to connect (status 7) only where nobody listens.
is_free() {
    status=0
    curl -s -o /dev/null --noproxy '*' --max-time 2 "http://$listen/health-check" || status=$?
    [ "$status" -eq 7 ]
}

case $listen in
*:0 | :*) die "LISTEN needs an address and a port of its own, as in LISTEN=127.0.0.1:8080" 2 ;;
*:*) ;;
*) die "LISTEN=$listen has no port, as in LISTEN=127.0.0.1:8080" 2 ;;
esac
[ -z "$dump" ] || [ "$input" = - ] || [ -e "$input" ] || die "there is no file or folder $input" 2
is_free || die "something listens on $listen already, perhaps an earlier \`make run\`.
Stop it, or choose another port: make run LISTEN=127.0.0.1:1849"

cargo build --release --locked --package plait --bin plait </dev/null
target=$(cargo metadata --no-deps --format-version 1 --locked |
    sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')
plait=$target/release/plait

if [ -z "$dump" ] && [ ! -e "$input" ]; then
    echo "run: generating $input" >&2
    mkdir -p "$(dirname "$input")"
    # The file gets its name when it is whole.
    "$plait" generate --network "$network" --heights 5000 --forks 0.01 --fork-depth 50 --out "$input"
fi

echo "run: replaying $input into $database" >&2
mkdir -p "$(dirname "$database")"
status=0
# shellcheck disable=SC2086 # a list of words
"$plait" replay --db "$database" --network "$network" $flags "$input" || status=$?
case "$status $flags " in
'0 '*) ;;
'1 '*'--keep-going '*) echo "run: some headers were rejected, serving the others" >&2 ;;
*) die "replay ended with status $status. What it stored before is in $database." "$status" ;;
esac

# Waits for the server, asks it for the tip of the highest chain, and prints lines around that tip.
announce() {
    until curl -s -o /dev/null --noproxy '*' --max-time 2 "http://$listen/health-check"; do
        kill -0 $$ 2>/dev/null || return 0
        sleep 0.1
    done
    base=http://$listen/chainweb/0.0/$network
    # "hashes":{"4":{"height":12,"hash":"..."},...} as lines "12 4 ...", the highest first
    tip=$(curl -s --noproxy '*' --max-time 10 "$base/cut" | tr '}' '\n' |
        sed -n 's/.*"\([0-9]*\)":{"height":\([0-9]*\),"hash":"\([A-Za-z0-9_-]*\)".*/\2 \1 \3/p' |
        sort -k 1,1nr -k 2,2n | head -n 1)
    echo
    echo "Serving $database, $network. Ctrl-C ends it. To try from another terminal:"
    echo
    echo "# the newest block of every chain"
    echo "curl -sS '$base/cut'"
    if [ -n "$tip" ]; then
        height=${tip%% *}
        rest=${tip#* }
        lines_for "${rest%% *}" "$height" "${rest#* }"
    fi
    echo
}

lines_for() { # lines_for CHAIN HEIGHT HASH
    chain=$base/chain/$1
    from=$(($2 > 2 ? $2 - 2 : 0))
    cat <<EOF

# headers by ascending height, orphans included
curl -sS '$chain/header?minheight=$from&limit=3'

# one header as a JSON object
curl -sS -H 'Accept: application/json;blockheader-encoding=object' '$chain/header/$3'

# ancestors of a block, newest first, as base64url strings, then as JSON objects
curl -sS -H 'Content-Type: application/json' -d '{"upper":["$3"]}' '$chain/header/branch?limit=3'
curl -sS -H 'Content-Type: application/json' -H 'Accept: application/json;blockheader-encoding=object' -d '{"upper":["$3"]}' '$chain/header/branch?limit=3'

# the same as bytes, 318 a header
curl -fsS -H 'Content-Type: application/json' -H 'Accept: application/octet-stream' -d '{"upper":["$3"]}' -o /tmp/headers.bin '$chain/header/branch?limit=3' && wc -c /tmp/headers.bin
EOF
}

# In a subshell of its own, so that the server does not inherit a child.
(announce &)
# In place of this shell, so that Ctrl-C reaches the server alone and its status is ours.
exec "$plait" serve --db "$database" --listen "$listen"
