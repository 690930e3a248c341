#!/usr/bin/env bash
# Fetches the outside programs the tests and the packaging use, into target/e2e/, and writes where they are to
# target/e2e/env. Quick when there is nothing to do.
#
#   boto3    a virtual environment with boto3, the independent client of the wire format
#   sam      a virtual environment with SAM CLI, cargo-lambda, pytest and the Lambda Runtime Interface Emulator;
#            apart from boto3, as SAM CLI pins another version of it
#   awscli   a virtual environment with the AWS CLI, for the operator's commands; apart, as it pins another boto
#   ministack  a virtual environment with MiniStack, an emulator of AWS whose Cognito calls triggers, and boto3
#   policy   an IAM policy simulator for Node (for tests only, AGPL: never part of what is shipped)
#   inbox    a browser driver and an accessibility checker for Node (the browser itself is the system's Chromium)
#
# target/e2e/env has lines KEY=value without quotes, and leaves out what is not there:
#   OTP_E2E_PYTHON, OTP_E2E_SAM_PYTHON, OTP_E2E_SAM, OTP_E2E_CARGO_LAMBDA, OTP_E2E_RIE, OTP_E2E_AWS,
#   OTP_E2E_MINISTACK, OTP_E2E_POLICY, OTP_E2E_INBOX, OTP_E2E_BIN (to be put first on PATH: cargo and cargo-lambda look
#   there for cargo-lambda and zig)
#
# What cannot be set up is named with the reason and skipped; with OTP_SKIP_NOTHING=1 that is an error instead.
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
here="$root/tests/e2e"
out="$root/target/e2e"
mkdir -p "$out"
log="$out/setup.log"
: >"$log"
skipped=0

say() { printf 'e2e: %s\n' "$*"; }

skip() {
    say "skipped: $*"
    skipped=1
}

# The name of a state: of these words, and of the files after `--`.
fingerprint() {
    local words=()
    while [ "$1" != -- ]; do
        words+=("$1")
        shift
    done
    shift
    { printf '%s\n' "${words[@]}" && cat -- "$@"; } | cksum
}

# is_ready FOLDER FINGERPRINT: was FOLDER finished in that state?
is_ready() { [ -f "$out/$1/.ready" ] && [ "$(cat "$out/$1/.ready")" = "$2" ]; }

# Runs a command quietly; what it says goes to the log, and its end to the screen if it fails.
quietly() {
    if ! "$@" >"$log" 2>&1; then
        tail -n 15 "$log" | cut -c 1-300 >&2
        return 1
    fi
}

python=""
python_version=""

find_python() {
    local candidate
    for candidate in "${OTP_PYTHON:-python3}" python3.13 python3.12 python3.11 python3.10; do
        python_version="$("$candidate" -c 'import sys; sys.exit("old" if sys.version_info < (3, 10) else print(sys.version))' 2>/dev/null)" || continue
        python="$(command -v "$candidate")"
        return 0
    done
    return 1
}

# virtual_environment NAME PURPOSE: from requirements-NAME.txt, made anew whenever that, Python or the path changes.
virtual_environment() {
    local name="$1" purpose="$2" state
    local requirements="$here/requirements-$name.txt"
    if [ -z "$python" ]; then
        skip "$purpose: needs python3, 3.10 or later"
        return 0
    fi
    state="$(fingerprint "$python" "$python_version" "$out" -- "$requirements")"
    if is_ready "$name" "$state"; then
        say "$name is ready"
        return 0
    fi
    say "$name: installing $(grep -v '^#' "$requirements" | tr '\n' ' ')…"
    rm -rf "${out:?}/$name"
    if ! "$python" -c 'import ensurepip, venv' 2>>"$log" || ! quietly "$python" -m venv "$out/$name"; then
        rm -rf "${out:?}/$name"
        skip "$purpose: python3 cannot make virtual environments (Debian: apt install python3-venv)"
        return 0
    fi
    if ! quietly "$out/$name/bin/python" -m pip install --quiet --disable-pip-version-check --no-input -r "$requirements"; then
        rm -rf "${out:?}/$name"
        skip "$purpose: pip could not install $requirements (see above)"
        return 0
    fi
    printf '%s\n' "$state" >"$out/$name/.ready"
}

# node_packages NAME PURPOSE: from NAME/package-lock.json, made anew whenever that or Node changes.
node_packages() {
    local name="$1" purpose="$2" state
    if ! command -v node >/dev/null || ! command -v npm >/dev/null; then
        skip "$purpose: needs Node with npm"
        return 0
    fi
    state="$(fingerprint "$(node --version)" -- "$here/$name/package.json" "$here/$name/package-lock.json")"
    if is_ready "$name" "$state"; then
        say "$name is ready"
        return 0
    fi
    say "$name: installing $(node -p 'Object.keys(require(process.argv[1]).dependencies).join(" ")' "$here/$name/package.json") …"
    rm -rf "${out:?}/$name"
    mkdir -p "$out/$name"
    cp "$here/$name/package.json" "$here/$name/package-lock.json" "$out/$name/"
    if ! quietly npm ci --prefix "$out/$name" --ignore-scripts --engine-strict --no-audit --no-fund; then
        rm -rf "${out:?}/$name"
        skip "$purpose: npm could not install it (see above)"
        return 0
    fi
    printf '%s\n' "$state" >"$out/$name/.ready"
}

# The emulator SAM CLI runs inside its containers; it is a Linux program and runs without them just as well.
emulator() {
    local architecture found
    case "$(uname -s) $(uname -m)" in
    "Linux x86_64") architecture=x86_64 ;;
    "Linux aarch64" | "Linux arm64") architecture=arm64 ;;
    *) return 1 ;;
    esac
    for found in "$out"/sam/lib/python3*/site-packages/samcli/local/rapid/aws-lambda-rie-"$architecture"; do
        [ -f "$found" ] || return 1
        chmod +x "$found"
        printf '%s' "$found"
        return 0
    done
    return 1
}

write_env() {
    local rie
    : >"$out/env.new"
    entry() { if [ -e "$2" ]; then printf '%s=%s\n' "$1" "$2" >>"$out/env.new"; fi; }
    entry OTP_E2E_PYTHON "$out/boto3/bin/python"
    entry OTP_E2E_SAM_PYTHON "$out/sam/bin/python"
    entry OTP_E2E_SAM "$out/sam/bin/sam"
    entry OTP_E2E_CARGO_LAMBDA "$out/sam/bin/cargo-lambda"
    entry OTP_E2E_BIN "$out/sam/bin"
    entry OTP_E2E_AWS "$out/awscli/bin/aws"
    entry OTP_E2E_MINISTACK "$out/ministack/bin/ministack"
    entry OTP_E2E_POLICY "$out/policy"
    entry OTP_E2E_INBOX "$out/inbox"
    if rie="$(emulator)"; then
        entry OTP_E2E_RIE "$rie"
    elif [ -d "$out/sam" ]; then
        skip "the binary under the runtime emulator: there is none for $(uname -s) $(uname -m)"
    fi
    mv "$out/env.new" "$out/env"
}

find_python || true
virtual_environment boto3 "the round trip with boto3"
virtual_environment sam "the template, its packaging and the binary under the runtime emulator"
virtual_environment awscli "the operator's commands"
virtual_environment ministack "the sign-in with a user pool"
node_packages policy "the role's policy in a policy simulator"
node_packages inbox "the inbox page in a browser"
write_env
say "paths are in target/e2e/env"

if [ "$skipped" = 1 ] && [ "${OTP_SKIP_NOTHING:-}" = 1 ]; then
    say "OTP_SKIP_NOTHING=1: what is skipped above is an error" >&2
    exit 1
fi
