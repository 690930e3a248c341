#!/usr/bin/env bash
# Runs a command with the outside programs that setup.sh has put under target/e2e/.
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
while IFS='=' read -r name value; do
    export "$name=$value"
done <"$root/target/e2e/env"
export PATH="${OTP_E2E_BIN:+$OTP_E2E_BIN:}$PATH"
exec "$@"
