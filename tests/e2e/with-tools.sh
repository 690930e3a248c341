#!/usr/bin/env bash
# Runs a command with the outside programs that setup.sh has put under target/e2e/, and with OTP_E2E_ARCHITECTURE: what to
# build the function for, so that it runs on this machine.
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
while IFS='=' read -r name value; do
    export "$name=$value"
done <"$root/target/e2e/env"
export PATH="${OTP_E2E_BIN:+$OTP_E2E_BIN:}$PATH"
case "$(uname -m)" in
x86_64) export OTP_E2E_ARCHITECTURE=x86_64 ;;
*) export OTP_E2E_ARCHITECTURE=arm64 ;;
esac
exec "$@"
