#!/usr/bin/env bash
# All tests, for `make test`. Says which tests cannot run here and why. With OTP_SKIP_NOTHING=1 that is an error.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

. tests/steps.sh
. tests/needs.sh

# A plain `cargo test` runs the same tests with fewer races, seeds and kills.
export OTP_TEST_SIZE=full

step "cargo test"
cargo test --workspace

step "the package"
if [ -n "${OTP_E2E_SAM:-}" ]; then
    sam build --parameter-overrides "Architecture=$OTP_E2E_ARCHITECTURE"
    "$OTP_E2E_SAM_PYTHON" -m pytest -q -rs -p no:cacheprovider tests/e2e/test_build.py
    export OTP_E2E_BOOTSTRAP="$PWD/.aws-sam/build/Function/bootstrap"
else
    skip "the package: needs Python"
fi

step "the counts of the packaged function"
if [ -z "${OTP_E2E_BOOTSTRAP:-}" ] || [ "$(uname -s)" != Linux ]; then
    skip "the counts: need Python, on Linux"
elif [ "$OTP_E2E_ARCHITECTURE" != x86_64 ]; then
    # No check of the function is lost: the committed counts are those of one architecture.
    echo "benches/expected.json has the counts of x86_64 alone"
elif [ -n "$(lack valgrind)$(lack openssl)" ]; then
    skip "the counts: $(lack valgrind) $(lack openssl)"
else
    cargo test --workspace --test e2e -- --ignored --nocapture bench::no_request_costs_more
fi

step "the packaged function under the runtime emulator"
if [ -n "${OTP_E2E_BOOTSTRAP:-}" ] && [ -n "${OTP_E2E_RIE:-}" ]; then
    cargo test --workspace --test e2e -- --ignored --nocapture shipped:: ledger:: triggers::
else
    skip "the packaged function: needs Python, on Linux"
fi

step "the packaged function, killed at random times"
if [ -n "${OTP_E2E_BOOTSTRAP:-}" ] && [ -n "${OTP_E2E_RIE:-}" ]; then
    cargo test --workspace --test e2e -- --ignored --nocapture kills::
else
    skip "the kills: needs Python, on Linux"
fi

step "the packaged function under load and attack"
# No other test may run under this load, because the emulator ends an invocation after five seconds.
if [ -n "${OTP_E2E_BOOTSTRAP:-}" ] && [ -n "${OTP_E2E_RIE:-}" ]; then
    cargo test --workspace --test e2e -- --ignored --nocapture load::
else
    skip "the load: needs Python, on Linux"
fi

step "the packaged function with a table that fails"
if [ -n "${OTP_E2E_BOOTSTRAP:-}" ]; then
    cargo test --workspace --test e2e -- --ignored --nocapture linear::
else
    skip "linearizability: needs Python"
fi

step "the packaged function beside boto3"
if [ -n "${OTP_E2E_BOOTSTRAP:-}" ] && [ -n "${OTP_E2E_RIE:-}" ] && [ -n "${OTP_E2E_PYTHON:-}" ]; then
    cargo test --workspace --test e2e -- --ignored boto3:: notify::
else
    skip "boto3: needs Python, on Linux"
fi

step "the packaged function as the triggers of a user pool"
if [ -n "${OTP_E2E_BOOTSTRAP:-}" ] && [ -n "${OTP_E2E_MINISTACK:-}" ]; then
    cargo test --workspace --test e2e -- --ignored --nocapture cognito::
else
    skip "the user pool: needs Python"
fi

python_tests() {
    "$OTP_E2E_SAM_PYTHON" -m pytest -q -rs -p no:cacheprovider "$@"
}

step "the runbook drills"
if [ -n "${OTP_E2E_SAM:-}" ]; then
    # A test that writes nothing must not leave the metrics of an earlier run.
    rm -rf target/tmp/drills
    cargo test --workspace --test simulation -- --ignored drills::
    python_tests tests/e2e/test_drills.py
else
    skip "the runbook drills: need Python"
fi

step "the template and deployments"
if [ -n "${OTP_E2E_SAM:-}" ]; then
    # Beside the deployments, because these mostly wait. Not by `python_tests`: `$!` would be a shell around Python.
    "$OTP_E2E_SAM_PYTHON" -m pytest -q -rs -p no:cacheprovider tests/e2e/test_template.py tests/e2e/test_monitoring.py >target/test_template.txt 2>&1 &
    template=$!
    # A skipped step and Ctrl-C end this script before it waits. The background job would go on without it.
    trap 'kill "$template" 2>/dev/null || true' EXIT
    failed=0
    python_tests tests/e2e/test_notify.py || failed=1
    if [ -n "${OTP_E2E_MINISTACK:-}" ] && [ -n "${OTP_E2E_BOOTSTRAP:-}" ] && [ "$(uname -s)" = Linux ]; then
        python_tests tests/e2e/test_deploy.py tests/e2e/test_deployed.py tests/e2e/test_package.py || failed=1
    else
        skip "deployments: need Linux"
    fi
    wait "$template" || failed=1
    trap - EXIT
    cat target/test_template.txt
    [ $failed = 0 ]
else
    skip "the template and deployments: need Python"
fi

step "the probe"
if [ -n "${OTP_E2E_SAM:-}" ] && [ -n "${OTP_E2E_PYTHON:-}" ]; then
    python_tests tests/e2e/test_probe.py
else
    skip "the probe: needs Python"
fi

step "tools and containers"
if [ -n "${OTP_E2E_SAM:-}" ]; then
    "$OTP_E2E_SAM_PYTHON" -m pytest -q -rs -p no:cacheprovider tests/e2e/test_tools.py
else
    skip "tools and containers: need Python"
fi

step "the programs of docs/clients.md"
if [ -n "${OTP_E2E_SAM:-}" ] && [ -n "${OTP_E2E_CLIENTS:-}" ]; then
    # This also builds the desk.
    cargo test --workspace --no-run --quiet
    python_tests tests/e2e/test_clients.py
else
    skip "the programs of docs/clients.md: need Python and Node"
fi

step "docs/openapi.yaml beside the desk"
if [ -n "${OTP_E2E_SAM:-}" ] && [ -n "${OTP_E2E_SCHEMATHESIS:-}" ]; then
    # This also builds the desk.
    cargo test --workspace --no-run --quiet
    python_tests tests/e2e/test_contract.py
else
    skip "docs/openapi.yaml beside the desk: needs Python"
fi

step "clients that are generated from docs/openapi.yaml"
if [ -n "${OTP_E2E_SAM:-}" ] && [ -n "${OTP_E2E_CLIENTS:-}" ] && [ -n "${OTP_E2E_GENERATOR:-}" ]; then
    python_tests tests/e2e/test_generated.py
else
    skip "generated clients: need Python and Node"
fi

step "the operator's commands"
if [ -n "${OTP_E2E_SAM:-}" ] && [ -n "${OTP_E2E_AWS:-}" ]; then
    python_tests tests/e2e/test_operate.py
    cargo test --workspace --test e2e -- --ignored operate
else
    skip "the operator's commands: need Python, for the AWS CLI"
fi

step "the inbox page"
if [ -n "$(lack node)$(lack chromium)" ]; then
    skip "the inbox page: $(lack node) $(lack chromium)"
elif [ -z "${OTP_E2E_INBOX:-}" ]; then
    skip "the inbox page: the browser driver could not be installed"
else
    # This also builds the desk.
    cargo test --workspace --no-run --quiet
    # macOS has no `timeout`. Each test ends by itself after a minute.
    limit="$(command -v timeout >/dev/null && echo 'timeout 300' || true)"
    $limit node --test tests/e2e/inbox/inbox.test.mjs tests/e2e/inbox/try-it.test.mjs tests/e2e/inbox/cognito.test.mjs
fi

print_times
