#!/bin/sh
# Runs cargo-deny: licences, sources and bans always, advisories when their database can be reached.
#
# cargo-deny is taken from PATH, or built once into the cache folder, outside any clone.
set -eu

cd "$(dirname "$0")/.."
version=0.20.2
tools=${XDG_CACHE_HOME:-$HOME/.cache}/plait/tools
PATH=$tools/bin:$PATH
manifests=Cargo.toml
if [ -f fuzz/Cargo.toml ]; then manifests="$manifests fuzz/Cargo.toml"; fi

if ! command -v cargo-deny >/dev/null 2>&1; then
    echo "deny: building cargo-deny $version into $tools, once" >&2
    # Its own target folder, and no more optimisation than a linter needs.
    env -u CARGO_TARGET_DIR CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_DEBUG=0 \
        CARGO_PROFILE_RELEASE_OPT_LEVEL=1 \
        cargo install cargo-deny --version "$version" --locked --root "$tools" </dev/null
fi

checks='bans licenses sources'
if timeout 120 cargo deny --log-level error fetch db </dev/null >/dev/null 2>&1; then
    checks="advisories $checks"
else
    echo "deny: SKIPPED advisories: their database could not be fetched" >&2
fi

for manifest in $manifests; do
    # shellcheck disable=SC2086 # a list of words
    cargo deny --log-level warn --locked --manifest-path "$manifest" --config deny.toml \
        check --hide-inclusion-graph $checks </dev/null
done
