#!/usr/bin/env bash
# Lets checkov judge the template and its parts, for `make scan`. Each check must pass. If a check is skipped, the reason is
# beside the resource (`checkov:skip`).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

files=(template.yaml deploy/parts/*.yaml)

# Without the network: checkov would fetch guidelines.
scan() { "$OTP_E2E_CHECKOV" --framework cloudformation --skip-download --compact --quiet --file "$@" 2>&1; }

scan "${files[@]}"

# The control: if a file has reasons, and they are taken out, checkov finds something in the file.
copies="$(mktemp -d)"
trap 'rm -rf "$copies"' EXIT
for file in "${files[@]}"; do
    reasons="$(grep -c 'checkov:skip=' "$file" || true)"
    [ "$reasons" -gt 0 ] || continue
    copy="$copies/$(basename "$file")"
    sed 's/checkov:skip=/checkov=/' "$file" >"$copy"
    scan "$copy" >"$copies/output" || true
    failed="$(grep -c 'FAILED for resource' "$copies/output" || true)"
    echo "$file: $reasons reasons, and without them $failed checks fail"
    if [ "$reasons" != "$failed" ]; then
        cat "$copies/output"
        echo "Each reason must be for a check that fails without it." >&2
        exit 1
    fi
done
