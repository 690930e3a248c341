#!/usr/bin/env bash
# setup.sh [PART…]: installs programs for the tests and the packaging under target/e2e/, and writes their paths to
# target/e2e/env. Without arguments, the script installs all parts but `bench`, `scan` and `dynamodb-local`. If everything is
# installed already, the script takes a second.
#
#   boto3      boto3, an independent client of the wire format
#   sam        SAM CLI with the Lambda Runtime Interface Emulator, cargo-lambda, cargo-deny and pytest
#   awscli     the AWS CLI, for the operator's commands
#   ministack  MiniStack, an AWS emulator that deploys the template and whose Cognito calls triggers
#   bench      boto3 under Lambda's runtime client, for `make bench` alone
#   sbom       cargo-cyclonedx, which lists the crates in the package
#   scan       checkov, for `make scan` alone
#   generator  OpenAPI Generator with a Java of its own, and what its Python client needs
#   schemathesis  makes requests from docs/openapi.yaml
#   dynamodb-local  AWS's DynamoDB Local, for a part of `make soak` alone. Needs Java 17 or later. Never shipped: AWS's
#              licence is for development and tests
#   policy     an IAM policy simulator for Node. Never shipped: its licence is the AGPL
#   inbox      a browser driver and an accessibility checker for Node (the browser is the system's Chromium)
#
# The first five, `scan`, `generator` and `schemathesis` are virtual environments of Python. The programs need different versions of botocore. So
# each program has an environment of its own. requirements-NAME.in names the packages. requirements-NAME.txt pins these
# packages and all that they need, each with its hashes, for Linux and macOS and for Python 3.10 and later. To renew the
# pins, edit the .in files and run (uv is on PyPI):
#
#   cd tests/e2e && for name in awscli bench boto3 generator ministack sam scan schemathesis; do uv pip compile --quiet --upgrade --universal --python-version 3.10 --only-binary :all: --generate-hashes --no-annotate --no-emit-index-url --custom-compile-command 'see setup.sh' requirements-$name.in --output-file requirements-$name.txt; done
#
# target/e2e/env has lines NAME=value without quotes. A program that is not installed has no line:
#   OTP_E2E_PYTHON, OTP_E2E_BENCH_PYTHON, OTP_E2E_SAM_PYTHON, OTP_E2E_SAM, OTP_E2E_CARGO_LAMBDA, OTP_E2E_RIE, OTP_E2E_AWS,
#   OTP_E2E_MINISTACK, OTP_E2E_POLICY, OTP_E2E_INBOX, OTP_E2E_CYCLONEDX, OTP_E2E_CHECKOV, OTP_E2E_SCHEMATHESIS, OTP_E2E_GENERATOR, OTP_E2E_DYNAMODB_LOCAL, OTP_E2E_BIN (goes first on PATH: cargo and cargo-lambda look there for cargo-lambda and zig)
#
# If a part cannot be installed, the script says why and goes on. The script ends with an error if this part was named in the
# arguments, or if OTP_SKIP_NOTHING is 1.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../needs.sh"

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
here="$root/tests/e2e"
out="$root/target/e2e"
mkdir -p "$out"
log="$out/setup.log"
# with-tools.sh puts the installed programs first on PATH. Another Python than theirs must install them.
PATH="${PATH//"$out/sam/bin:"/}"
: >"$log"
skipped=0

say() { printf 'e2e: %s\n' "$*"; }

skip() {
    say "skipped: $*"
    skipped=1
}

# fingerprint WORD… -- FILE…: a checksum of the words and of what is in the files.
fingerprint() {
    local words=()
    while [ "$1" != -- ]; do
        words+=("$1")
        shift
    done
    shift
    { printf '%s\n' "${words[@]}" && cat -- "$@"; } | cksum
}

# is_ready NAME FINGERPRINT: whether NAME was installed completely, from the same things.
is_ready() { [ -f "$out/$1/.ready" ] && [ "$(cat "$out/$1/.ready")" = "$2" ]; }

# Runs a command with its output in the log. If it fails, the last lines go to the screen.
quietly() {
    if ! "$@" >"$log" 2>&1; then
        tail -n 15 "$log" | cut -c 1-300 >&2
        return 1
    fi
}

python=""
python_version=""

# virtual_environment NAME PURPOSE: installs requirements-NAME.txt, again when that file, Python or the path has changed.
virtual_environment() {
    local name="$1" purpose="$2" state
    local requirements="$here/requirements-$name.txt"
    if [ -z "$python" ]; then
        skip "$purpose: $(lack python)"
        return 0
    fi
    state="$(fingerprint "$python" "$python_version" "$out" -- "$requirements")"
    if is_ready "$name" "$state"; then
        [ "$named" -gt 0 ] || say "$name is ready"
        return 0
    fi
    say "$name: installing $(grep -v '^#' "$here/requirements-$name.in" | tr '\n' ' ')under target/e2e …"
    rm -rf "${out:?}/$name"
    if ! "$python" -c 'import ensurepip, venv' 2>>"$log" || ! quietly "$python" -m venv "$out/$name"; then
        rm -rf "${out:?}/$name"
        skip "$purpose: $python cannot make virtual environments (Debian: apt install python3-venv)"
        return 0
    fi
    # The requirements file lists the dependencies, too. With --no-deps, pip installs nothing that is not in this file. If a
    # dependency is missing in the file, `pip check` finds this.
    if ! quietly "$out/$name/bin/python" -m pip install --quiet --disable-pip-version-check --no-input --no-deps --require-hashes -r "$requirements" ||
        ! quietly "$out/$name/bin/python" -m pip check; then
        rm -rf "${out:?}/$name"
        skip "$purpose: pip could not install $requirements (see above)"
        return 0
    fi
    printf '%s\n' "$state" >"$out/$name/.ready"
}

# node_packages NAME PURPOSE: installs NAME/package-lock.json, again when that file or Node has changed.
node_packages() {
    local name="$1" purpose="$2" state
    if [ -n "$(lack node)" ]; then
        skip "$purpose: $(lack node)"
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
        skip "$purpose: npm could not install $name (see above)"
        return 0
    fi
    printf '%s\n' "$state" >"$out/$name/.ready"
}

# crate NAME PROGRAM VERSION PURPOSE: builds a program of a crate, again when its version has changed.
crate() {
    local name="$1" program="$2" version="$3" purpose="$4" state
    state="$(printf '%s\n' "$program" "$version" | cksum)"
    if is_ready "$name" "$state"; then
        [ "$named" -gt 0 ] || say "$name is ready"
        return 0
    fi
    if [ -n "$(lack rust)" ]; then
        skip "$purpose: $(lack rust)"
        return 0
    fi
    say "$name: building $program $version under target/e2e (minutes) …"
    rm -rf "${out:?}/$name"
    # The program runs for a second only, so it is built without optimization.
    if ! quietly cargo install "$program" --version "$version" --locked --debug --root "$out/$name"; then
        rm -rf "${out:?}/$name"
        skip "$purpose: cargo could not install $program (see above)"
        return 0
    fi
    printf '%s\n' "$state" >"$out/$name/.ready"
}

# dynamodb_local PURPOSE: unpacks the one package that has DynamoDB Local. Its dependencies are not needed.
dynamodb_local() {
    local purpose="$1" state name=dynamodb-local version=2.9.30
    local sum=c5379e44bbf311fab2779961ddb1f8734907bd21c79a6843e590ec1c5280439836665e89aa515dbad6908422c7cf1129e91cb5a3b4c1ea7888a17b9002749ec1
    if [ -n "$(lack node)$(lack java)" ]; then
        skip "$purpose: $(lack node) $(lack java)"
        return 0
    fi
    state="$(printf '%s\n' "$version" "$sum" | cksum)"
    if is_ready "$name" "$state"; then
        return 0
    fi
    say "$name: downloading amplify-dynamodb-simulator $version (57 MB) …"
    rm -rf "${out:?}/$name"
    mkdir -p "$out/$name"
    # Node checks the sum. A program for sums alone has another name on each system.
    if ! quietly npm pack --silent --pack-destination "$out/$name" "amplify-dynamodb-simulator@$version" ||
        [ "$(cat "$out/$name"/*.tgz | node -e 'const hash = require("crypto").createHash("sha512"); process.stdin.pipe(hash).setEncoding("hex").pipe(process.stdout)')" != "$sum" ] ||
        ! quietly tar -xzf "$out/$name/amplify-dynamodb-simulator-$version.tgz" -C "$out/$name" package/emulator; then
        rm -rf "${out:?}/$name"
        skip "$purpose: npm could not download the package with the expected sum"
        return 0
    fi
    rm "$out/$name"/*.tgz
    printf '%s\n' "$state" >"$out/$name/.ready"
}

# SAM CLI runs this emulator in its containers. The emulator itself is a Linux program that needs no container.
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
    entry OTP_E2E_BENCH_PYTHON "$out/bench/bin/python"
    entry OTP_E2E_SAM_PYTHON "$out/sam/bin/python"
    entry OTP_E2E_SAM "$out/sam/bin/sam"
    entry OTP_E2E_CARGO_LAMBDA "$out/sam/bin/cargo-lambda"
    entry OTP_E2E_BIN "$out/sam/bin"
    entry OTP_E2E_AWS "$out/awscli/bin/aws"
    entry OTP_E2E_MINISTACK "$out/ministack/bin/ministack"
    entry OTP_E2E_POLICY "$out/policy"
    entry OTP_E2E_INBOX "$out/inbox"
    entry OTP_E2E_CLIENTS "$out/clients"
    entry OTP_E2E_CHECKOV "$out/scan/bin/checkov"
    entry OTP_E2E_SCHEMATHESIS "$out/schemathesis/bin/schemathesis"
    entry OTP_E2E_GENERATOR "$out/generator/bin/openapi-generator-cli"
    entry OTP_E2E_DYNAMODB_LOCAL "$out/dynamodb-local/package/emulator"
    entry OTP_E2E_CYCLONEDX "$out/sbom/bin/cargo-cyclonedx"
    if rie="$(emulator)"; then
        entry OTP_E2E_RIE "$rie"
    elif [ -d "$out/sam" ]; then
        skip "the binary under the runtime emulator: there is no emulator for $(uname -s) $(uname -m)"
    fi
    mv "$out/env.new" "$out/env"
}

install() {
    case "$1" in
    bench) virtual_environment bench "the function in Python that the measurements compare with" ;;
    boto3) virtual_environment boto3 "the round trip with boto3" ;;
    sam) virtual_environment sam "the template, its packaging and the binary under the runtime emulator" ;;
    awscli) virtual_environment awscli "the operator's commands" ;;
    ministack) virtual_environment ministack "the deployment and the sign-in with a user pool" ;;
    sbom) crate sbom cargo-cyclonedx 0.5.9 "the list of crates in the package" ;;
    scan) virtual_environment scan "the scan of the template" ;;
    generator) virtual_environment generator "the clients that a program makes from docs/openapi.yaml" ;;
    schemathesis) virtual_environment schemathesis "the comparison of the API's document with the desk" ;;
    dynamodb-local) dynamodb_local "the comparison with DynamoDB Local" ;;
    policy) node_packages policy "the role's policy in a policy simulator" ;;
    clients) node_packages clients "the programs of docs/clients.md" ;;
    inbox) node_packages inbox "the inbox page in a browser" ;;
    *)
        say "there is no part $1" >&2
        exit 2
        ;;
    esac
}

named=$#
[ $# -gt 0 ] || set -- boto3 sam awscli ministack schemathesis generator sbom policy inbox clients
find_python || true
for part in "$@"; do
    install "$part"
done
write_env
[ "$named" -gt 0 ] || say "paths are in target/e2e/env"

if [ "$skipped" = 1 ] && [ "$named" -gt 0 ]; then
    say "this command cannot run without it. make run needs Rust alone" >&2
    exit 1
fi

if [ "$skipped" = 1 ] && [ "${OTP_SKIP_NOTHING:-}" = 1 ]; then
    say "OTP_SKIP_NOTHING=1: nothing may be skipped, see above" >&2
    exit 1
fi
