#!/usr/bin/env bash
# Checks the crates in Cargo.lock for known vulnerabilities (RustSec) and for yanked releases, for `make check`.
#
# The RustSec database is a repository on GitHub, and we found no package that carries it. The yanked releases are in the
# index of the crate registry. The index knows no other vulnerable releases. If GitHub cannot be reached, the script prints a
# warning and finds only the yanked releases.
#
# This repository has no copy of the database. A copy would lack every new advisory, and the check would pass without a
# warning. To use a mirror, tell git: git config --global url.MIRROR.insteadOf https://github.com/RustSec/advisory-db
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

. tests/steps.sh

database=https://github.com/RustSec/advisory-db
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT

# cargo-deny reads yanked releases from cargo's copy of the index. This command renews the copy.
if ! cargo update --dry-run --quiet; then
    skip "advisories: the package registry cannot be reached"
    exit 0
fi

# The control: a project with a yanked release, and a database with an advisory about that release.
mkdir -p "$work/project/src" "$work/database/crates/bytes"
touch "$work/project/src/lib.rs"
cat >"$work/project/Cargo.toml" <<'END'
[package]
name = "control"
version = "0.0.0"
edition = "2024"

[dependencies]
bytes = "1"

[workspace]
END
cat >"$work/project/Cargo.lock" <<'END'
version = 4

[[package]]
name = "bytes"
version = "1.6.0"
source = "registry+https://github.com/rust-lang/crates.io-index"

[[package]]
name = "control"
version = "0.0.0"
dependencies = ["bytes"]
END
cat >"$work/database/crates/bytes/RUSTSEC-2000-0001.md" <<'END'
```toml
[advisory]
id = "RUSTSEC-2000-0001"
package = "bytes"
date = "2000-01-01"

[versions]
patched = [">= 1.6.1"]
```

# The control
END
git init --quiet --initial-branch main "$work/database"
git -C "$work/database" add .
git -C "$work/database" -c user.name=control -c user.email=control -c commit.gpgsign=false commit --quiet --message control
sed '/^\[advisories\]/a db-path = "'"$work/databases"'"' deny.toml >"$work/deny.toml"

# deny_with_control ARGUMENT…: runs cargo-deny with the control's database instead of RustSec's.
deny_with_control() {
    GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0="url.file://$work/database.insteadOf" GIT_CONFIG_VALUE_0="$database" \
        cargo deny --config "$work/deny.toml" "$@"
}

found="$(deny_with_control --manifest-path "$work/project/Cargo.toml" check advisories 2>&1 || true)"
if ! grep -q 'error\[vulnerability\]' <<<"$found" || ! grep -q 'error\[yanked\]' <<<"$found"; then
    printf 'The control was not found:\n%s\n' "$found" >&2
    exit 1
fi

if GIT_TERMINAL_PROMPT=0 git ls-remote --quiet "$database" main >/dev/null 2>&1; then
    cargo deny --log-level error check advisories
else
    printf 'warning: %s cannot be reached. Only yanked releases are found.\n' "$database" >&2
    deny_with_control --log-level error check advisories
fi
