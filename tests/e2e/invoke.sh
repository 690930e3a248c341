#!/usr/bin/env bash
# Runs the packaged function on one event, with the simulator as the provider, and prints the answer: by SAM where Docker is,
# by the Lambda Runtime Interface Emulator where it is not. To be run by with-tools.sh, as `make invoke` does.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

event="$1"
[ -f "$event" ] || {
    echo "There is no event $event; there are:" >&2
    ls events/*.json >&2
    exit 2
}

phone=http://127.0.0.1:6870
[ -n "${OTP_E2E_SAM:-}" ] || {
    echo "make invoke needs Python 3.10 or later, for SAM. Without it, try: make run" >&2
    exit 1
}

if [ ! -x .aws-sam/build/Function/bootstrap ] || [ -n "$(find src Cargo.lock template.yaml -newer .aws-sam/build/Function/bootstrap -print -quit)" ]; then
    echo "Building the package (minutes, the first time) …" >&2
    sam build --parameter-overrides "Architecture=$OTP_E2E_ARCHITECTURE" >&2
fi

# The simulator of `make run`, if that is running: its inbox then shows the text, and its codes verify.
if ! curl -fsS "$phone/inbox" >/dev/null 2>&1; then
    cargo build --quiet --package simulator
    target/debug/simulator --phone-only --port 6870 >/dev/null &
    simulator=$!
    trap 'kill $simulator 2>/dev/null || true' EXIT
    for _ in $(seq 100); do
        curl -fsS "$phone/inbox" >/dev/null 2>&1 && break
        sleep 0.1
    done
    echo "The simulator runs for this one event. To keep its inbox, have \`make run\` running beside." >&2
fi

# Local values, and names that a desk's own environment may give another meaning to. The template's ledger is not here, so
# that nothing that needs it may be set.
settings=(
    OTP_PROVIDER="${PROVIDER:-pinpoint}" OTP_PREVIOUS_PROVIDER=
    PINPOINT_APPLICATION_ID=desk ORIGINATION_IDENTITY=+12065550100 BRAND_NAME=ExampleCorp ALLOWED_COUNTRIES='*'
    API_AUTH=trusted LANGUAGE=en-US SOURCE=otp LOG_LEVEL=info AWS_ENDPOINT_URL_PINPOINT=$phone
    AWS_ENDPOINT_URL_ENDUSERMESSAGING=$phone
    LEDGER_TABLE= LEDGER_KEY= SEND_LIMITS= PREFIX_LIMITS= SOURCE_LIMITS= COUNTRY_LIMITS= BUDGETS= CONFIG_FILE= TEST_NUMBERS=
    CODE_TYPE= CHANNELS= WHATSAPP_TEMPLATE= WHATSAPP_LANGUAGES= DO_NOT_SHARE_LINE= WEBOTP_DOMAIN= ANDROID_APP_HASH=
    CONFIGURATION_SET= MESSAGE_FEEDBACK=
    COGNITO_FLOOR_MS= COGNITO_STEP_UP= COGNITO_UNVERIFIED_PHONE= COGNITO_PRE_SIGN_UP= COGNITO_LANGUAGE_ATTRIBUTE=
)

if docker info >/dev/null 2>&1; then
    variables=$(printf '"%s",' "${settings[@]}" | sed 's/=/":"/g; s/,$//')
    printf '{"Function":{%s}}' "$variables" >target/e2e/invoke.json
    env "${settings[@]}" sam local invoke Function --event "$event" --docker-network host \
        --env-vars target/e2e/invoke.json --parameter-overrides "Architecture=$OTP_E2E_ARCHITECTURE"
    exit
fi

[ -n "${OTP_E2E_RIE:-}" ] || {
    echo "make invoke needs Docker here: the runtime emulator is a Linux program." >&2
    exit 1
}
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
runtime_port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
env -i "${settings[@]}" AWS_LAMBDA_FUNCTION_NAME=otp-lambda AWS_LAMBDA_FUNCTION_TIMEOUT=10 \
    AWS_LAMBDA_FUNCTION_MEMORY_SIZE=256 AWS_REGION=us-east-1 AWS_ACCESS_KEY_ID=desk AWS_SECRET_ACCESS_KEY=desk \
    "$OTP_E2E_RIE" --log-level error --runtime-interface-emulator-address "127.0.0.1:$port" \
    --runtime-api-address "127.0.0.1:$runtime_port" "$PWD/.aws-sam/build/Function/bootstrap" >&2 &
emulator=$!
trap 'kill $emulator ${simulator:-} 2>/dev/null || true' EXIT
for _ in $(seq 100); do
    (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && break
    sleep 0.1
done
curl -fsS --data-binary "@$event" "http://127.0.0.1:$port/2015-03-31/functions/function/invocations"
echo
