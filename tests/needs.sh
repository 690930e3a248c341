#!/usr/bin/env bash
# needs.sh PROGRAM…: fails if one of these programs is missing or too old, and says how to get it. Runs on bash 3.2.
#
# Scripts also source this file, for the function `lack`.

# lack PROGRAM: prints a sentence if the program is missing or too old, and nothing otherwise.
lack() {
    local found=""
    case "$1" in
    rust)
        if ! is_there cargo; then
            printf 'Rust (cargo) is missing. Install it with rustup: https://rustup.rs'
        elif ! is_there rustup; then
            # rustup itself takes the version that rust-toolchain.toml names.
            found="$(version cargo --version)"
            is_at_least "$found" 1 95 || printf 'Rust (cargo) %s is too old: this needs 1.95 or later. Install it with rustup: https://rustup.rs' "$found"
        fi
        ;;
    cc) is_there cc || printf 'A C compiler (cc) is missing. Debian: apt install build-essential. macOS: xcode-select --install' ;;
    curl) is_there curl || printf 'curl is missing. Debian: apt install curl. macOS: brew install curl' ;;
    python)
        find_python && return
        found="$(version python3 --version)"
        printf 'Python 3.10 or later is missing%s. Debian: apt install python3 python3-venv. macOS: brew install python. If it has another name: OTP_PYTHON=/path/to/python' "${found:+ (python3 is $found)}"
        ;;
    node)
        found="$(version node --version)"
        if ! is_there node || ! is_there npm; then
            printf 'Node 18 or later, with npm, is missing. Debian: apt install nodejs npm. macOS: brew install node'
        elif ! is_at_least "$found" 18 0; then
            printf 'Node %s is too old: this needs 18 or later. Get it from https://nodejs.org' "$found"
        fi
        ;;
    java)
        found="$(version java -version)"
        if [ -z "$found" ]; then
            printf 'Java 17 or later is missing. Debian: apt install default-jre-headless. macOS: brew install openjdk'
        elif ! is_at_least "$found" 17 0; then
            printf 'Java %s is too old: this needs 17 or later. Debian: apt install default-jre-headless. macOS: brew install openjdk' "$found"
        fi
        ;;
    chromium) is_there chromium || printf 'Chromium is missing. Debian: apt install chromium. macOS: brew install chromium' ;;
    valgrind | openssl) is_there "$1" || printf '%s is missing. Debian: apt install %s' "$1" "$1" ;;
    docker) is_there docker || printf 'Docker is missing: https://docs.docker.com/get-docker/' ;;
    *) printf 'needs.sh does not know the program %s' "$1" ;;
    esac
}

is_there() { command -v "$1" >/dev/null 2>&1; }

# version COMMAND…: the first number with a dot in the output of a command. Java writes its version to stderr.
version() { is_there "$1" && { "$@" 2>&1 || true; } | sed -n 's/^[^0-9]*\([0-9][0-9]*\.[0-9][0-9.]*\).*/\1/p' | head -n 1; }

# is_at_least VERSION MAJOR MINOR
is_at_least() {
    local major="${1%%.*}" minor="${1#*.}"
    minor="${minor%%.*}"
    [ "${major:-0}" -gt "$2" ] || { [ "${major:-0}" -eq "$2" ] && [ "${minor:-0}" -ge "$3" ]; }
}

# find_python: sets `python` and `python_version` to a Python that is new enough.
# shellcheck disable=SC2034  # for the scripts that source this file
find_python() {
    local candidate
    for candidate in "${OTP_PYTHON:-python3}" python3.14 python3.13 python3.12 python3.11 python3.10; do
        python_version="$("$candidate" -c 'import sys; sys.exit("old" if sys.version_info < (3, 10) else print(sys.version))' 2>/dev/null)" || continue
        python="$(command -v "$candidate")"
        return 0
    done
    return 1
}

if [ "${BASH_SOURCE[0]}" = "$0" ]; then
    set -euo pipefail
    complete=1
    for program in "$@"; do
        sentence="$(lack "$program")"
        if [ -n "$sentence" ]; then
            printf '%s\n' "$sentence" >&2
            complete=0
        fi
    done
    [ "$complete" = 1 ] || exit 1
fi
