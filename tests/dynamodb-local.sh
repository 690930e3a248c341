#!/usr/bin/env bash
# dynamodb-local.sh COMMAND…: runs a command with AWS's DynamoDB Local beside it. The command finds the port in
# `OTP_DYNAMODB_LOCAL`. DynamoDB Local listens on all addresses. To keep other machines away, DynamoDB Local and the command
# run in a network of their own. Linux only.
set -euo pipefail

if [ "${1:-}" != --inside ]; then
    exec unshare --map-root-user --net "${BASH_SOURCE[0]}" --inside "$@"
fi
shift
ip link set lo up
export OTP_DYNAMODB_LOCAL=8000
# The program leaves files in the directory where it starts.
repository="$PWD"
cd "$OTP_E2E_DYNAMODB_LOCAL"
java -Djava.library.path="$OTP_E2E_DYNAMODB_LOCAL/DynamoDBLocal_lib" -jar "$OTP_E2E_DYNAMODB_LOCAL/DynamoDBLocal.jar" \
    -inMemory -sharedDb -disableTelemetry -port "$OTP_DYNAMODB_LOCAL" >/dev/null &
server=$!
trap 'kill "$server"' EXIT
cd "$repository"
until (: <"/dev/tcp/127.0.0.1/$OTP_DYNAMODB_LOCAL") 2>/dev/null; do
    kill -0 "$server"
    sleep 0.2
done
"$@"
