# What every script here shares: where things are, how to speak, how to fail. Sourced, never run.
# shellcheck shell=bash
set -euo pipefail
shopt -s inherit_errexit

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}
tools=$target/tools
export CARGO_TARGET_DIR=$target

# A toolchain from rustup is on the PATH of login shells only; nft is in sbin.
PATH=$tools/bin:$PATH:${HOME:-/root}/.cargo/bin:/usr/sbin:/sbin

say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }
die() { say "$*"; exit 1; }

# fetch_deb DIR PACKAGE...: the newest .deb of each into DIR, not installed
# (installing nginx or docker-registry would start a service).
fetch_deb() {
    local dir=$1 get=(apt-get -qq -o APT::Sandbox::User=root)
    shift
    mkdir -p "$dir"
    (cd "$dir" && { "${get[@]}" download "$@" 2>/dev/null ||
        { "${get[@]}" update && "${get[@]}" download "$@"; }; }) >&2 ||
        die "cannot download the Debian packages $*: see apt's message above"
}
