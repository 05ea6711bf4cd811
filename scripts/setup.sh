#!/bin/sh
# Looks for what a build needs and installs what is missing.
#
#   setup.sh build    compilers, libclang, Rust
#   setup.sh check    build, rustfmt, clippy
#   setup.sh run      build, curl
#   setup.sh bench    build, and where they can be had wrk and nginx
#   setup.sh count    build, and where it can be had valgrind
#   setup.sh power    build, and where they can be had xfsprogs and e2fsprogs
#   setup.sh          everything but what benches want, with ccache
#
# Debian packages come from apt-get, as root or through a sudo that asks for no password. Otherwise
# the script ends with the command to run. It looks for the thing, not for the package: a compiler
# from elsewhere will do. Nothing missing costs a fraction of a second and prints nothing.
set -eu

goal=${1:-all}
here=$(dirname "$0")
packages=
reasons=
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

want() { # want PACKAGES REASON
    packages="$packages $1"
    reasons="$reasons
  - $2"
}

have() {
    command -v "$1" >/dev/null 2>&1
}

die() {
    echo "setup: $1" >&2
    exit 1
}

exists() { # exists FILE...: a pattern that matched something
    [ -e "$1" ]
}

# Rust links with `cc`, and the compression libraries are C.
links_c() {
    echo 'int main(void) { return 0; }' | "${CC:-cc}" -x c - -o "$scratch/probe" >/dev/null 2>&1
}

# RocksDB is C++20. Linking shows that the standard library is there as well.
links_cxx() {
    echo '#include <version>
#if __cplusplus < 202002L || !defined(__cpp_lib_three_way_comparison)
#error not C++20
#endif
int main() { return *new int(); }' |
        "${CXX:-c++}" -std=c++20 -x c++ - -o "$scratch/probe" >/dev/null 2>&1
}

# bindgen reads RocksDB's C header through libclang, which needs clang's own headers beside it.
has_libclang() {
    if [ -n "${LIBCLANG_PATH:-}" ]; then
        [ -f "$LIBCLANG_PATH" ] || exists "$LIBCLANG_PATH"/libclang*.so* ||
            exists "$LIBCLANG_PATH"/libclang.dylib
        return
    fi
    for folder in /usr/lib/llvm-*/lib /usr/lib /usr/lib64 /usr/local/lib "/usr/lib/$(uname -m)-linux-gnu" \
        /Library/Developer/CommandLineTools/usr/lib; do
        for library in "$folder"/libclang.so* "$folder"/libclang-[0-9]*.so* "$folder"/libclang.dylib; do
            if exists "$library"; then return; fi
        done
    done
    return 1
}

has_clang_headers() {
    have "${CLANG_PATH:-clang}" || exists /usr/lib/llvm-*/lib/clang/*/include/stddef.h
}

# The oldest Rust that the workspace allows, as in its Cargo.toml.
rust_minimum() {
    sed -n 's/^rust-version *= *"\([0-9.]*\)".*/\1/p' "$here/../Cargo.toml"
}

check_rust() {
    if ! have cargo || ! have rustc; then
        die "no Rust toolchain found on PATH or in ~/.cargo/bin.
Install one from https://rustup.rs and try again."
    fi
    minimum=$(rust_minimum)
    found=$(rustc --version | sed 's/^rustc \([0-9.]*\).*/\1/')
    oldest=$(printf '%s\n%s\n' "$minimum" "$found" | sort -t . -k 1,1n -k 2,2n -k 3,3n | head -n 1)
    if [ -n "$minimum" ] && [ "$oldest" != "$minimum" ]; then
        die "Rust $found is too old, $minimum is needed. With rustup: rustup update stable"
    fi
}

check_lints() {
    if cargo fmt --version >/dev/null 2>&1 && cargo clippy --version >/dev/null 2>&1; then return; fi
    have rustup || die "rustfmt or clippy is missing, and there is no rustup to add them.
Install both from where this Rust toolchain came."
    echo "setup: adding rustfmt and clippy with rustup" >&2
    rustup component add rustfmt clippy </dev/null
}

as_root() { # as_root COMMAND...: the command as root, or status 126 if that takes a password
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif have sudo && sudo -n true >/dev/null 2>&1; then
        sudo -n "$@"
    else
        return 126
    fi
}

install() { # install PACKAGES
    # shellcheck disable=SC2086 # a list of words
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300 \
        install -y --no-install-recommends $1 </dev/null >&2
}

# ccache stands in for the compilers through links; the package does not see to `c++` and `cc` when it is
# installed along with them.
link_ccache() {
    [ ! -x /usr/sbin/update-ccache-symlinks ] || as_root /usr/sbin/update-ccache-symlinks >&2 || true
}

update() {
    as_root apt-get -q -o DPkg::Lock::Timeout=300 update </dev/null >&2
}

check_packages() {
    links_c || want "gcc libc6-dev" "a C compiler that links (cc)"
    links_cxx || want g++ "a C++20 compiler (c++)"
    has_libclang || want libclang-dev "libclang, to read RocksDB's header"
    has_clang_headers || want clang "clang, for the headers that libclang needs"
    case $goal in
    run | all) have curl || want curl "curl, to talk to the server" ;;
    esac
}

check_ccache() {
    if have ccache || [ "$goal" != all ]; then return; fi
    if ! have apt-get || ! as_root true; then
        echo "setup: no ccache. It is optional: with it RocksDB is compiled only once." >&2
        return
    fi
    if update && install ccache; then
        link_ccache
    else
        echo "setup: ccache could not be installed. It is optional." >&2
    fi
}

has_nginx() {
    have nginx || [ -x /usr/sbin/nginx ]
}

# Debian starts nginx as soon as it is installed. The benches start one of their own.
stop_nginx() {
    if [ -d /run/systemd/system ] && have systemctl; then
        as_root systemctl disable --now nginx >/dev/null 2>&1 || true
    elif [ -x /etc/init.d/nginx ]; then
        as_root /etc/init.d/nginx stop >/dev/null 2>&1 || true
    fi
}

# Who asks does without: what cannot be measured or tested is said.
check_peers() { # check_peers PROGRAM PACKAGE...
    missing=
    while [ $# -gt 0 ]; do
        have "$1" || [ -x "/usr/sbin/$1" ] || missing="$missing $2"
        shift 2
    done
    [ -n "$missing" ] || return 0
    if ! have apt-get || ! as_root true; then
        echo "setup: not installed:$missing. What needs it is left out." >&2
        return 0
    fi
    had_nginx=$(has_nginx && echo yes || echo no)
    echo "setup: installing$missing" >&2
    if ! { update && install "$missing"; }; then
        echo "setup: that failed. What needs it is left out." >&2
    fi
    if [ "$had_nginx" = no ] && has_nginx; then stop_nginx; fi
}

check_rust
check_packages
if [ -n "$packages" ]; then
    echo "setup: missing on this machine:$reasons" >&2
    # Whoever installs a compiler gets ccache with it: building RocksDB takes minutes.
    have ccache || packages="$packages ccache"
    command="apt-get update && apt-get install -y$packages"
    have apt-get || die "this is no Debian. Install the above with its own package manager, then try again."
    if ! as_root true; then
        if have sudo; then root='sudo sh -c'; else root='su -c'; fi
        die "installing needs root. Run this, then try again:

  $root '$command'
"
    fi
    echo "setup: installing$packages" >&2
    update || echo "setup: apt-get update failed, trying with the lists that are here" >&2
    install "$packages" || die "apt-get failed. Repair what it reports above, run this, then try again:

  $command
"
    link_ccache
    packages=
    reasons=
    check_packages
    [ -z "$packages" ] || die "installed, and still missing:$reasons"
fi
check_ccache
case $goal in
check | all) check_lints ;;
bench) check_peers wrk wrk nginx nginx-light ;;
count) check_peers valgrind valgrind ;;
power) check_peers mkfs.xfs xfsprogs mkfs.ext4 e2fsprogs losetup mount python3 python3 ;;
esac
if [ "$goal" = all ]; then
    echo "setup: everything is here" >&2
fi
