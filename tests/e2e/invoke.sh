#!/usr/bin/env bash
# Runs the packaged function on one event, with the simulator as the provider, and prints the response. If Docker runs,
# the function runs under SAM, and otherwise under the Lambda Runtime Interface Emulator. Call it through with-tools.sh,
# as `make invoke-packaged` does.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

# An event has a path, or a name in events/, such as send.http-v2.
event="$1"
for place in "$1.json" "events/$1.json" "events/$1"; do
    [ -f "$event" ] || event="$place"
done
[ -f "$event" ] || {
    echo "There is no event $1. EVENT is a file, or one of these:" >&2
    (cd events && ls -- *.json) | grep -v '^env[.]json$' | sed 's/[.]json$//' >&2
    exit 2
}

phone=http://127.0.0.1:6870
[ -n "${OTP_E2E_SAM:-}" ] || {
    echo "make invoke-packaged needs SAM, for which it needs Python 3.10 or later. Without Python, try: make invoke" >&2
    exit 1
}

if [ ! -x .aws-sam/build/Function/bootstrap ] || [ -n "$(find src Cargo.lock template.yaml -newer .aws-sam/build/Function/bootstrap -print -quit)" ]; then
    echo "Building the package (minutes, the first time) …" >&2
    sam build --parameter-overrides "Architecture=$OTP_E2E_ARCHITECTURE" >&2
fi

# If `make run` is running, its simulator is used. The message is then in its inbox, and the code can be verified.
if ! curl -fsS "$phone/inbox" >/dev/null 2>&1; then
    cargo build --quiet --package simulator
    target/debug/simulator --phone-only --port 6870 --set HOST=host.docker.internal >/dev/null &
    simulator=$!
    trap 'kill $simulator 2>/dev/null || true' EXIT
    for _ in $(seq 100); do
        curl -fsS "$phone/inbox" >/dev/null 2>&1 && break
        sleep 0.1
    done
    echo "The simulator runs for this one event. To keep its inbox, first start \`make run\` in another terminal." >&2
fi

# If a setting had no value here, a variable of the same name in the caller's environment would take effect. So each setting
# gets a value, even if the value is empty. This function has no ledger, and all settings that need a ledger must be empty.
settings=(
    OTP_PROVIDER="${PROVIDER:-pinpoint}" OTP_PREVIOUS_PROVIDER=
    PINPOINT_APPLICATION_ID=desk ORIGINATION_IDENTITY=+12065550100 BRAND_NAME=ExampleCorp BRAND_NAMES= TRUSTED_PRINCIPALS= MIN_CODE_LENGTH= MAX_VALIDITY_PERIOD= ALLOWED_COUNTRIES='*' ALLOWED_NUMBER_TYPES= EXTRA_PREFIXES=
    API_AUTH=trusted LANGUAGE=en-US SOURCE=otp LOG_LEVEL=info AWS_ENDPOINT_URL_PINPOINT="$phone"
    AWS_ENDPOINT_URL_ENDUSERMESSAGING="$phone"
    LEDGER_TABLE= LEDGER_KEY= SEND_LIMITS= PREFIX_LIMITS= SOURCE_LIMITS= SOURCE_NETWORK_LIMITS= COUNTRY_LIMITS= BUDGETS= CONFIG_FILE= TEST_NUMBERS= FOREIGN_CODES=
    CODE_TYPE= CHANNELS= WHATSAPP_TEMPLATE= WHATSAPP_LANGUAGES= DO_NOT_SHARE_LINE= WEBOTP_DOMAIN= ANDROID_APP_HASH=
    CONFIGURATION_SET= DELIVERY_TOPIC= MESSAGE_FEEDBACK= ORIGINATION_IDENTITIES= DLT_ENTITY_ID= DLT_TEMPLATE_ID=
    CODE_LENGTH= VALIDITY_PERIOD= ALLOWED_ATTEMPTS= REFERENCE_ID= OPERATOR_ALIASES= METRICS=
    SIGN_IN_SHARE= DEVICE_TOKEN_DAYS= GUESS_RISK= COGNITO_FLOOR_MS= COGNITO_SHOWN_NUMBER= COGNITO_STEP_UP=
    COGNITO_UNVERIFIED_PHONE= COGNITO_PRE_SIGN_UP= COGNITO_LANGUAGE_ATTRIBUTE=
)

if docker info >/dev/null 2>&1; then
    # Under this name a container reaches this machine. Docker Desktop knows the name. On Linux, the container gets the
    # network of this machine, and a hosts entry for the name.
    host=host.docker.internal
    if ! curl -fsS -H "host: $host:6870" "$phone/inbox" >/dev/null 2>&1; then
        echo "The desk that is running does not answer containers. Start it with: make run HOST=$host" >&2
        exit 1
    fi
    set --
    if [ "$(uname -s)" = Linux ] && [ "$(docker info --format '{{.OperatingSystem}}')" != "Docker Desktop" ]; then
        set -- --docker-network host --add-host "$host:127.0.0.1"
    fi
    sed "s/\"OTP_PROVIDER\": \"pinpoint\"/\"OTP_PROVIDER\": \"${PROVIDER:-pinpoint}\"/" events/env.json >target/e2e/invoke.json
    env "${settings[@]}" sam local invoke Function --event "$event" ${1+"$@"} \
        --env-vars target/e2e/invoke.json --parameter-overrides "Architecture=$OTP_E2E_ARCHITECTURE"
    exit
fi

[ -n "${OTP_E2E_RIE:-}" ] || {
    echo "make invoke-packaged needs Docker on this system, because the runtime emulator runs on Linux only: https://docs.docker.com/get-docker/" >&2
    exit 1
}
# Two free ports. An outgoing connection could take a higher one before the emulator listens.
read -r port runtime_port < <(python3 -c '
import random, socket
def is_free(port):
    with socket.socket() as attempt:
        return attempt.connect_ex(("127.0.0.1", port)) != 0
print(*[port for port in random.sample(range(20000, 32000), 20) if is_free(port)][:2])')
env -i "${settings[@]}" AWS_LAMBDA_FUNCTION_NAME=otp-lambda AWS_LAMBDA_FUNCTION_TIMEOUT=10 \
    AWS_LAMBDA_FUNCTION_MEMORY_SIZE=256 AWS_REGION=us-east-1 AWS_ACCESS_KEY_ID=desk AWS_SECRET_ACCESS_KEY=desk \
    "$OTP_E2E_RIE" --log-level error --runtime-interface-emulator-address "127.0.0.1:$port" \
    --runtime-api-address "127.0.0.1:$runtime_port" "$PWD/.aws-sam/build/Function/bootstrap" >&2 &
emulator=$!
trap 'kill $emulator ${simulator:-} 2>/dev/null || true' EXIT
for _ in $(seq 100); do
    (exec 3<>"/dev/tcp/127.0.0.1/$port" 4<>"/dev/tcp/127.0.0.1/$runtime_port") 2>/dev/null && break
    sleep 0.1
done
curl -fsS --data-binary "@$event" "http://127.0.0.1:$port/2015-03-31/functions/function/invocations"
echo
