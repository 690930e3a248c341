#!/usr/bin/env bash
# run.sh NAME: runs a part of benches/ on the packaged function, for `make bench` and `make bench-counts`. If necessary,
# the script builds the package and installs valgrind first. Call the script through with-tools.sh.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

. tests/steps.sh

if [ "$(uname -s)" != Linux ]; then
    echo "benches/ needs Linux, for /proc and valgrind." >&2
    exit 1
fi

missing=()
for program in valgrind openssl; do
    command -v "$program" >/dev/null || missing+=("$program")
done
if [ ${#missing[@]} -gt 0 ]; then
    as_root=(env DEBIAN_FRONTEND=noninteractive)
    [ "$(id -u)" = 0 ] || as_root=(sudo "${as_root[@]}")
    if ! command -v apt-get >/dev/null; then
        echo "Install these programs first: ${missing[*]}" >&2
        exit 1
    fi
    echo "Installing with apt: ${missing[*]} …"
    "${as_root[@]}" apt-get update -qq
    "${as_root[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

build_package

if [ "$1" = report ] && [ "${OTP_BENCH_ALONE:-0}" = 0 ]; then
    echo "Building the programs to compare with (minutes, the first time) …"
    # The processors that cargo-lambda builds the function for.
    case "$OTP_E2E_ARCHITECTURE" in
    x86_64) processor=haswell ;;
    *) processor=neoverse-n1 ;;
    esac
    RUSTFLAGS="-C target-cpu=$processor" cargo build --quiet --release --locked \
        --manifest-path benches/reference/Cargo.toml --target-dir target/bench/reference
    export OTP_BENCH_REFERENCE="$PWD/target/bench/reference/release"
fi

cargo test --workspace --test e2e -- --ignored --nocapture "bench::$1"
