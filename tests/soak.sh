#!/usr/bin/env bash
# The tests that run for hours, for `make soak`. To run one part: tests/e2e/with-tools.sh tests/soak.sh PART
#
#   PART         what runs                                      its length
#   simulation   the seeded simulation of the ledger            OTP_SIMULATION_SEEDS=1000000
#   kills        the packaged function, killed and restarted    OTP_KILLS=1000
#   load         the packaged function under load and attack    OTP_LOAD_SECONDS=3600
#   rate         one packaged function, ten guesses a send      OTP_RATE_SENDS=100000
#   linear       the packaged function with a table that fails  OTP_LINEAR_OPERATIONS=1000000
#   dynamodb     the ledger's tests. DynamoDB Local gets each request, too, and must answer the same
#   contract     requests that schemathesis makes from docs/openapi.yaml, to the desk: a minute
#
# Each part ends with a line that sums it up. The script prints these lines together at its end.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

. tests/steps.sh

export OTP_TEST_SIZE=full
export OTP_SIMULATION_SEEDS="${OTP_SIMULATION_SEEDS:-1000000}"
export OTP_KILLS="${OTP_KILLS:-1000}"
export OTP_LOAD_SECONDS="${OTP_LOAD_SECONDS:-3600}"
export OTP_RATE_SENDS="${OTP_RATE_SENDS:-100000}"
export OTP_LINEAR_OPERATIONS="${OTP_LINEAR_OPERATIONS:-1000000}"

parts=("$@")
[ $# -gt 0 ] || parts=(simulation kills load rate linear dynamodb contract)
summary="$PWD/target/soak.txt"
mkdir -p target
: >"$summary"

# part NAME PATTERN COMMAND…: runs a part and keeps the last line that matches PATTERN for the summary.
part() {
    local name="$1" pattern="$2" log="$PWD/target/soak-$1.log" started=$SECONDS result=passed
    shift 2
    "$@" 2>&1 | tee "$log" || result=FAILED
    printf '%-10s %s after %d s: %s\n' "$name" "$result" $((SECONDS - started)) \
        "$(grep -oE "$pattern.*" "$log" | tail -n 1)" >>"$summary"
    [ $result = passed ]
}

failed=0

# missing NAME REASON: notes that a part cannot run here, and returns 1. The other parts run.
missing() {
    printf '%s\n' "$2" >&2
    printf '%-10s FAILED: %s\n' "$1" "$2" >>"$summary"
    return 1
}

# The packaged function runs under the runtime emulator.
build_package_for_emulator() {
    if [ -z "${OTP_E2E_RIE:-}" ]; then
        missing "$1" "To run the packaged function, this needs Python, on Linux." || return
    fi
    build_package || missing "$1" "The package could not be built."
}

for name in "${parts[@]}"; do
    case "$name" in
    simulation)
        step "the ledger, simulated with $OTP_SIMULATION_SEEDS seeds"
        part simulation "[0-9]+ seeds, [0-9]+ operations" cargo test --workspace --profile soak --test simulation -- --ignored --nocapture soak || failed=1
        ;;
    kills)
        step "the packaged function, killed $OTP_KILLS times"
        build_package_for_emulator kills || { failed=1; continue; }
        part kills "kills: " cargo test --workspace --test e2e -- --ignored --nocapture kills:: || failed=1
        ;;
    load)
        step "the packaged function under load for $OTP_LOAD_SECONDS s"
        build_package_for_emulator load || { failed=1; continue; }
        part load "load: " cargo test --workspace --test e2e -- --ignored --nocapture load:: || failed=1
        ;;
    rate)
        step "the packaged function with $OTP_RATE_SENDS sends and ten guesses for each"
        build_package_for_emulator rate || { failed=1; continue; }
        part rate "rate: " cargo test --workspace --test e2e -- --ignored --nocapture bench::rate || failed=1
        ;;
    linear)
        step "the packaged function with a table that fails, for $OTP_LINEAR_OPERATIONS operations"
        build_package_for_emulator linear || { failed=1; continue; }
        part linear "linear: " cargo test --workspace --test e2e -- --ignored --nocapture linear:: || failed=1
        ;;
    contract)
        step "docs/openapi.yaml beside the desk"
        if [ -z "${OTP_E2E_SCHEMATHESIS:-}" ]; then
            missing contract "schemathesis is not installed. Install it with: tests/e2e/setup.sh schemathesis" || { failed=1; continue; }
        fi
        # This also builds the desk.
        cargo test --workspace --no-run --quiet
        OTP_CONTRACT_EXAMPLES=500 part contract "[0-9]+ (passed|failed)" "$OTP_E2E_SAM_PYTHON" -m pytest -q -p no:cacheprovider tests/e2e/test_contract.py || failed=1
        ;;
    dynamodb)
        step "the ledger's tests beside DynamoDB Local"
        if [ -z "${OTP_E2E_DYNAMODB_LOCAL:-}" ] || [ "$(uname -s)" != Linux ]; then
            missing dynamodb "DynamoDB Local needs Node, Java 17 and Linux. tests/e2e/setup.sh dynamodb-local installs it." ||
                failed=1
            continue
        fi
        # Built first: inside there is no network. The size is small, because each request of a test is asked twice.
        cargo test --workspace --test ledger --no-run
        OTP_TEST_SIZE=small part dynamodb "mirror: " tests/dynamodb-local.sh cargo test --workspace --offline --test ledger -- --nocapture || failed=1
        ;;
    *)
        echo "There is no part $name. The parts are simulation, kills, load, rate, linear, dynamodb and contract." >&2
        exit 2
        ;;
    esac
done

step "summary"
cat "$summary"
exit $failed
