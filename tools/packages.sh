# Debian packages that mintd needs, and a function that installs the missing ones. Sourced by tools/demo and tools/test.
# shellcheck shell=bash

# shellcheck disable=SC2034  # both lists are used by the scripts that source this file
packages_build=(
    gcc libc6-dev cmake ninja-build pkgconf
    libuv1-dev libconfig-dev libmicrohttpd-dev libjson-c-dev libsodium-dev libssl-dev libsqlite3-dev
    libcurl4-openssl-dev zlib1g-dev
    libcmocka-dev python3 scdoc
)
# shellcheck disable=SC2034
packages_test=(g++ clang-14 binutils util-linux strace prometheus curl sqlite3 mandoc man-db tmux zsh fish)
# For the linter of core/api/openapi.json. Not where there is an npm from elsewhere: Debian's stands against its packages.
command -v npm >/dev/null || packages_test+=(nodejs npm)

# die MESSAGE: one clear line, exit 1
die() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

# packages_missing NAME...: prints those that are not installed
packages_missing() {
    local name status
    for name in "$@"; do
        status=$(dpkg-query -W -f='${db:Status-Status}' "$name" 2>/dev/null || true)
        [[ $status == installed ]] || printf '%s\n' "$name"
    done
}

# packages_ensure NAME...: installs what is missing, saying so first; does nothing, without root, when nothing is
packages_ensure() {
    local missing=() as_root=() log
    { command -v dpkg-query && command -v apt-get; } >/dev/null ||
        die "this is not Debian (no apt-get): install these yourself and try again: $*"
    mapfile -t missing < <(packages_missing "$@")
    if ((${#missing[@]} == 0)); then
        echo "   all ${#} packages are installed"
        return
    fi
    echo "   will install ${#missing[@]} Debian packages with apt-get: ${missing[*]}"
    if ((EUID != 0)); then
        command -v sudo >/dev/null || die "root is needed to install packages: run it as root, or install sudo"
        if ! sudo -n true 2>/dev/null; then
            [[ -t 0 ]] || die "root is needed to install packages: sudo asks for a password and there is no terminal"
            sudo -v || die "root is needed to install packages: sudo refused"
        fi
        as_root=(sudo)
    fi
    log=$(mktemp)
    # A third party's list that cannot be fetched is no reason to stop: the install below tells whether it mattered.
    "${as_root[@]}" apt-get -q -o DPkg::Lock::Timeout=120 -o Acquire::Retries=2 update >"$log" 2>&1 || true
    if ! "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-install-recommends \
        -o DPkg::Lock::Timeout=120 -o Acquire::Retries=2 install "${missing[@]}" >>"$log" 2>&1; then
        local why
        why=$(grep -m1 -E '^(E|W|Err):' "$log" || tail -n1 "$log")
        if grep -qE 'Could not (resolve|connect)|Temporary failure|Connection timed out|Network is unreachable' "$log"; then
            die "the network is needed to install packages and apt-get cannot reach it: $why (log: $log)"
        fi
        die "apt-get could not install the packages: $why (log: $log)"
    fi
    rm -f "$log"
}
