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
