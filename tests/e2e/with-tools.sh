#!/usr/bin/env bash
# with-tools.sh COMMAND…: runs a command with the programs that setup.sh has installed. It sets PATH, the
# variables of target/e2e/env, and OTP_E2E_ARCHITECTURE, which is the architecture of this machine.
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
[ -f "$root/target/e2e/env" ] || {
    echo "The tools are not installed. Install them with: make tools" >&2
    exit 1
}
while IFS='=' read -r name value; do
    export "$name=$value"
done <"$root/target/e2e/env"
export PATH="${OTP_E2E_BIN:+$OTP_E2E_BIN:}$PATH"
case "$(uname -m)" in
x86_64) export OTP_E2E_ARCHITECTURE=x86_64 ;;
*) export OTP_E2E_ARCHITECTURE=arm64 ;;
esac
command -v "$1" >/dev/null || {
    echo "$1 is not installed. To install the tools, or to see why one cannot be installed: make tools" >&2
    exit 127
}
exec "$@"
