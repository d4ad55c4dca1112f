# What ./run and ./check share: saying what happens, installing missing Debian packages, building. Sourced by bash.
# shellcheck shell=bash disable=SC2034 # what is set here is used by those who source it
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
root=$PWD

packages_build=(gcc meson ninja-build pkg-config python3 libuv1-dev libexpat1-dev libssl-dev libgsasl-dev libidn-dev libidn2-dev libunistring-dev
    libsqlite3-dev libmicrohttpd-dev libjansson-dev libinih-dev libsystemd-dev libcurl4-openssl-dev libcmocka-dev)
packages_run=(python3-slixmpp)
packages_test=(shellcheck clang libclang-rt-14-dev python3-pytest libstrophe-dev go-sendxmpp profanity tmux sqlite3 openssl curl man-db)
# node.js of another origin than Debian often brings npm with it and conflicts with the package.
command -v npm >/dev/null || packages_test+=(nodejs npm)

say() { printf '\033[1m==>\033[0m %s\n' "$*"; }
fail() { printf 'error: %s\n' "$*" >&2; exit 1; }

# Installs what is missing of the packages named; asks sudo when not root.
ensure_packages() {
    local missing=() p
    for p in "$@"; do
        dpkg-query -W -f '${db:Status-Status}\n' "$p" 2>/dev/null | grep -qx installed || missing+=("$p")
    done
    [ ${#missing[@]} -eq 0 ] && return 0
    command -v apt-get >/dev/null || fail "these Debian packages are needed: ${missing[*]}"
    local as_root=()
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null || fail "these Debian packages are needed; install them as root: apt-get install ${missing[*]}"
        as_root=(sudo)
    fi
    say "installing Debian packages: ${missing[*]}"
    "${as_root[@]}" apt-get update -qq
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

# build DIR [meson options]: configures once, builds what changed, puts the programs into DIR/bin.
build() {
    local dir=$1
    shift
    [ -f "$dir/build.ninja" ] || meson setup "$dir" "$@" >"$dir.log" 2>&1 || { cat "$dir.log" >&2; fail "meson setup failed; its output is above"; }
    rm -f "$dir.log"
    ninja -C "$dir" -k 0 >"$dir/build.log" 2>&1 || { grep -a -E 'error|FAILED|warning' -A 3 "$dir/build.log" >&2 || cat "$dir/build.log" >&2; fail "the build in $dir failed"; }
    mkdir -p "$dir/bin"
    ln -sf ../src/signetd/signetd ../src/signetctl/signetctl ../servers/recorder/signet-recorder ../bench/signet-bench "$dir/bin/"
}
