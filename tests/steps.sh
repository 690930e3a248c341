# shellcheck shell=bash
# Sourced by the scripts that run one step after another.

step_name=""
step_times=""

# step NAME: ends the step before and starts this one.
step() {
    end_step
    printf '\n== %s\n' "$1"
    step_name="$1"
    step_start=$SECONDS
}

end_step() {
    [ -z "$step_name" ] || step_times+="$(printf '%5d s  %s' $((SECONDS - step_start)) "$step_name")"$'\n'
    step_name=""
}

# print_times: ends the last step and prints how many seconds each step took.
print_times() {
    end_step
    printf '\n== time\n%s%5d s  total\n' "$step_times" "$SECONDS"
}

# skip REASON: says what cannot run here. With OTP_SKIP_NOTHING=1 that is an error.
skip() {
    printf 'skipped: %s\n' "$*"
    if [ "${OTP_SKIP_NOTHING:-}" = 1 ]; then
        printf 'OTP_SKIP_NOTHING=1: nothing may be skipped\n' >&2
        exit 1
    fi
}

# build_package: builds the package if the sources are newer, and sets OTP_E2E_BOOTSTRAP.
build_package() {
    if [ -z "${OTP_E2E_SAM:-}" ]; then
        echo "To build the package, this needs Python." >&2
        exit 1
    fi
    OTP_E2E_BOOTSTRAP="$PWD/.aws-sam/build/Function/bootstrap"
    export OTP_E2E_BOOTSTRAP
    if [ ! -x "$OTP_E2E_BOOTSTRAP" ] || [ -n "$(find src Cargo.lock template.yaml -newer "$OTP_E2E_BOOTSTRAP" -print -quit)" ]; then
        echo "Building the package (minutes, the first time) …"
        sam build --parameter-overrides "Architecture=$OTP_E2E_ARCHITECTURE"
    fi
}
