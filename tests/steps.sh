# Sourced by the scripts that run one step after another.

step() { printf '\n== %s\n' "$*"; }

# Names what cannot run here, with the reason; with OTP_SKIP_NOTHING=1 that is an error.
skip() {
    printf 'skipped: %s\n' "$*"
    if [ "${OTP_SKIP_NOTHING:-}" = 1 ]; then
        printf 'OTP_SKIP_NOTHING=1: that is an error\n' >&2
        exit 1
    fi
}
