#!/usr/bin/env bash
# What is too long for `make test`, for `make soak`. Each part by itself: tests/e2e/with-tools.sh tests/soak.sh PART
#
#   simulation   the seeded simulation of the ledger            OTP_SIMULATION_SEEDS=1000000
#   kills        the packaged function, killed and restarted    OTP_KILLS=1000
#   load         the packaged function under load and attack    OTP_LOAD_SECONDS=3600
#
# Every part prints a line at its end that sums it up; here they come once more, together.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

. tests/steps.sh

export OTP_SIMULATION_SEEDS="${OTP_SIMULATION_SEEDS:-1000000}"
export OTP_KILLS="${OTP_KILLS:-1000}"
export OTP_LOAD_SECONDS="${OTP_LOAD_SECONDS:-3600}"

parts=("$@")
[ $# -gt 0 ] || parts=(simulation kills load)
summary="$PWD/target/soak.txt"
mkdir -p target
: >"$summary"

# part NAME LINE COMMAND…: runs a part, and keeps the last line that looks like LINE, which sums it up.
part() {
    local name="$1" line="$2" log="$PWD/target/soak-$1.log" started=$SECONDS result=passed
    shift 2
    "$@" 2>&1 | tee "$log" || result=FAILED
    printf '%-10s %s after %d s: %s\n' "$name" "$result" $((SECONDS - started)) \
        "$(grep -oE "$line.*" "$log" | tail -n 1)" >>"$summary"
    [ $result = passed ]
}

# The package, if it is not that of these sources.
package() {
    if [ -z "${OTP_E2E_SAM:-}" ] || [ -z "${OTP_E2E_RIE:-}" ]; then
        echo "The packaged function needs Python, on Linux." >&2
        exit 1
    fi
    local bootstrap="$PWD/.aws-sam/build/Function/bootstrap"
    if [ ! -x "$bootstrap" ] || [ -n "$(find src Cargo.lock template.yaml -newer "$bootstrap" -print -quit)" ]; then
        sam build --parameter-overrides "Architecture=$OTP_E2E_ARCHITECTURE"
    fi
    export OTP_E2E_BOOTSTRAP="$bootstrap"
}

failed=0
for name in "${parts[@]}"; do
    case "$name" in
    simulation)
        step "the ledger, simulated with $OTP_SIMULATION_SEEDS seeds"
        part simulation "[0-9]+ seeds, [0-9]+ operations" cargo test --profile soak --test simulation -- --ignored --nocapture soak || failed=1
        ;;
    kills)
        step "the packaged function, killed $OTP_KILLS times"
        package
        part kills "kills: " cargo test --test e2e -- --ignored --nocapture kills:: || failed=1
        ;;
    load)
        step "the packaged function under load for $OTP_LOAD_SECONDS s"
        package
        part load "load: " cargo test --test e2e -- --ignored --nocapture load:: || failed=1
        ;;
    *)
        echo "There is no part $name; there are: simulation, kills, load." >&2
        exit 2
        ;;
    esac
done

step "the soak"
cat "$summary"
exit $failed
