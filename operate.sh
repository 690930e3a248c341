#!/usr/bin/env bash
# The operator's commands for a running stack, for `make pause`, `make block PREFIX=+1876`, `make unlock NUMBER=+…` etc.
#
#   operate.sh pause | resume | switches
#   operate.sh block | unblock | allow | disallow      NUMBER=+14255550142 or PREFIX=+1876
#   operate.sh unlock                                  NUMBER=+14255550142
#   operate.sh why                                     NUMBER=+14255550142
#
# Set STACK to the name of the CloudFormation stack (default: otp-lambda), or set TABLE and FUNCTION to the stack's outputs
# LedgerTable and OperatorFunctionName, and LOGS to its outputs FunctionLogGroup and CognitoLogGroup. With STACK=desk, `why`
# and `unlock` ask the desk (`make run`), and need curl in place of the AWS CLI.
#
# The switches are one item in the ledger's table. The function may only read this item. The script needs the AWS CLI and the
# following permissions. The stack's output OperatorPolicy has all of them:
#
#   cloudformation:DescribeStacks   on the stack
#   dynamodb:UpdateItem             on the table
#   dynamodb:GetItem                on the table, for `switches`
#   lambda:InvokeFunction           on the alias operator, for `unlock`, and for the budgets in `switches`
#   lambda:InvokeFunction           on the alias operator-key, for the other commands with a NUMBER
#   logs:StartQuery                 on the log groups, for `why`
#   logs:GetQueryResults            for `why`
#   kms:Decrypt, kms:GenerateDataKey  on the table's key, if it is one of yours (KmsKeyArn)
#
# The script runs on bash 3.2, which macOS has. In bash 3.2, a failure inside $(…) does not end the subshell, so each
# command substitution whose failure matters has its own `||`.
set -euo pipefail

command="${1:-}"
stack="${STACK:-otp-lambda}"
# The AWS CLI's pager would wait for a key press.
export AWS_PAGER=""

main() {
    case "${1:-}" in
    pause) set_paused true "Sending is paused: no codes are sent." "make resume" ;;
    resume) set_paused false "Sending is no longer paused." "make pause" ;;
    block) change_list ADD block "is blocked: it gets no codes" unblock ;;
    unblock) change_list DELETE block "is no longer blocked" block ;;
    allow) change_list ADD allow "is allowed: blocks do not apply to it" disallow ;;
    disallow) change_list DELETE allow "is no longer allowed: blocks apply to it" allow ;;
    unlock) unlock ;;
    why) why ;;
    switches) show_switches ;;
    *) fail "usage: operate.sh pause|resume|switches|block|unblock|allow|disallow|unlock|why" ;;
    esac
}

# set_paused true|false MESSAGE UNDO
set_paused() {
    need_aws
    update "SET #name = :value" paused "{\"BOOL\":$1}" >/dev/null
    say "$2 This takes effect within 10 seconds." "$3"
}

# change_list ADD|DELETE LIST MESSAGE UNDO: adds NUMBER or PREFIX to a list of the switches, or deletes it.
change_list() {
    local entry shown argument before last=ADD
    if [ -n "${NUMBER:-}" ] && [ -n "${PREFIX:-}" ]; then
        fail "give NUMBER or PREFIX, not both"
    elif [ -n "${PREFIX:-}" ]; then
        [[ "$PREFIX" =~ ^\+[1-9][0-9]{0,7}$ ]] || fail "PREFIX must be + and 1 to 8 digits, such as +1876 (give a whole number as NUMBER)"
        need_aws
        entry="$PREFIX" shown="Every number that begins with $PREFIX" argument="PREFIX=$PREFIX"
    else
        # The table contains no phone numbers. The function knows the hash that stands for this one.
        invoke key -key
        entry="$(field key 'N#[A-Za-z0-9_-]*')"
        [ -n "$entry" ] || fail "the function's response has no key"
        shown="$(masked)" argument="NUMBER=…"
    fi
    before="$(update "$1 #name :value" "$2" "{\"SS\":[\"$entry\"]}")" || exit 1
    grep -qxF -- "$entry" <<<"$before" || last=DELETE
    if [ "$last" = "$1" ]; then
        say "No change. $shown $3."
    else
        say "$shown $3. This takes effect within 10 seconds." "make $4 $argument"
    fi
}

unlock() {
    [ -z "${PREFIX:-}" ] || fail "unlock takes a NUMBER, not a PREFIX"
    invoke unlock
    [ -n "$(field unlocked 'true')" ] || fail "the function did not unlock the number"
    say "$(masked) is unlocked: its failed guesses are deleted. This cannot be undone. 100 failed guesses lock it again."
}

# why: prints the sentences of the function about NUMBER, and the lines of the last day in the log, in words.
why() {
    [ -z "${PREFIX:-}" ] || fail "why takes a NUMBER, not a PREFIX"
    local in_log lines
    invoke why -key
    in_log="$(field inLog '[a-z]\{10\}')"
    [ -n "$in_log" ] || fail "the function's response has no name of the number in the log"
    printf '%s is %s in the log.\n' "$(masked)" "$in_log"
    sed -n 's/.*"lines"[[:space:]]*:[[:space:]]*\["\(.*\)"\].*/\1/p' <<<"$response" | sed 's/",[[:space:]]*"/\
/g'
    if lines="$(logged "$in_log")"; then
        in_words <<<"$lines"
    else
        printf 'The log is not shown, because it cannot be read (needs logs:StartQuery on the log groups, and logs:GetQueryResults).\n'
    fi
}

# logged NAME: prints the lines of the last day's log that have this name of a number.
logged() {
    if on_the_desk; then
        curl -fsS "http://127.0.0.1:${PORT:-6870}/simulator/log?about=$1"
        return
    fi
    local groups query status=Running now
    groups="${LOGS:-}"
    [ -n "$groups" ] || groups="$(aws cloudformation describe-stacks --stack-name "$stack" --output text \
        --query "Stacks[0].Outputs[?OutputKey=='FunctionLogGroup' || OutputKey=='CognitoLogGroup'].OutputValue")" || return 1
    now="$(date +%s)"
    # The names of several groups are several arguments.
    # shellcheck disable=SC2086
    query="$(aws logs start-query --log-group-names $groups --start-time "$((now - 86400))" --end-time "$now" --limit 200 \
        --query-string "fields @message | filter @message like '\"number\":\"$1\"' | sort @timestamp desc" \
        --query queryId --output text)" || return 1
    while [ "$status" = Scheduled ] || [ "$status" = Running ]; do
        status="$(aws logs get-query-results --query-id "$query" --query status --output text)" || return 1
        [ "$status" = Complete ] || sleep 1
    done
    [ "$status" = Complete ] || return 1
    aws logs get-query-results --query-id "$query" --query "results[*].[[?field=='@message'].value | [0]]" --output text
}

# in_words: reads lines of the log, and prints a sentence for each, the oldest first.
in_words() {
    awk '
        # The value of a member of the line, or nothing.
        function get(name) {
            if (match($0, "\"" name "\":\"[^\"]*\"")) return substr($0, RSTART + length(name) + 4, RLENGTH - length(name) - 5)
            if (match($0, "\"" name "\":[0-9.]+")) return substr($0, RSTART + length(name) + 3, RLENGTH - length(name) - 3)
            return ""
        }
        function words(   said) {
            if (get("message") == "number_near_lock")
                return get("failedGuesses") " failed guesses. This door (" get("door") ") locks at " get("lockedAt")
            if (get("message") == "delivery")
                return "the message was " get("outcome") (get("event") ? " (" get("event") ")" : "") (get("cause") ? ". " get("cause") : "")
            if (get("sent")) said = "a message was sent" (get("channel") ? " by " get("channel") : "")
            else if (get("unknownDeliveries")) said = "it is unknown if a message was sent"
            else if (get("verified")) said = "the code was right"
            else if (get("wrongGuesses")) said = "the code was wrong"
            else if (get("outcome") == "ok") return "ok"
            else said = "refused"
            if (get("outcome") !~ /^(ok|invalid_code)$/) said = said ", " get("outcome")
            if (get("limit")) said = said ", by the limit " get("limit")
            if (get("attemptsLeft") != "") said = said ", " get("attemptsLeft") " guesses left"
            if (get("cause")) said = said ". " get("cause")
            return said
        }
        # The lines of commands of operators tell nothing about the number.
        /"message":"(request|delivery|number_near_lock)"/ && get("operation") !~ /^(why|key)$/ {
            at = get("timestamp")
            print substr(at, 1, 10) " " substr(at, 12, 12) "Z " (get("operation") ? get("operation") ": " : "") words()
        }
    ' | sort | awk '
        BEGIN { line = "In the log of the last day:" }
        { print line; line = $0 }
        END { print NR ? line : "The log of the last day has nothing about it." }
    '
}

show_switches() {
    need_aws
    local name item paused block allow
    name="$(table_name)" || exit 1
    # A list that is not there is shown as `none`. An empty column could not be told from a missing one.
    item="$(aws dynamodb get-item --table-name "$name" --key '{"pk":{"S":"K#switches"}}' --consistent-read --output text \
        --query "[to_string(Item.paused.BOOL), join(' ', Item.block.SS || ['none']), join(' ', Item.allow.SS || ['none'])]")" ||
        fail "cannot read the switches"
    IFS=$'\t' read -r paused block allow <<<"$item"
    case "$paused" in
    true) printf 'sending: paused, so no codes are sent\n' ;;
    *) printf 'sending: on\n' ;;
    esac
    show_list blocked "$block"
    show_list allowed "$allow"
    show_budgets
}

# show_budgets: asks the function for its budgets, which it has from its settings.
show_budgets() {
    local name all each risk
    # The right to read the switches does not include the right to invoke the function.
    if ! name="$(function_name 2>/dev/null)" || ! ask "$name" '{"operation":"settings"}' 2>/dev/null || [ "$error" != None ]; then
        printf 'budgets: not shown, because the function did not answer (needs lambda:InvokeFunction on the alias operator)\n'
        return
    fi
    all="$(field budgets '[0-9A-Z,./a-z]*')"
    each="$(field countryLimits '[0-9A-Z,;=*./a-z]*')"
    if [ -z "$all" ] || [ -z "$each" ]; then
        printf 'budgets: not shown, because the function did not say them (it may be of an earlier version)\n'
        return
    fi
    printf 'budgets: %s\nbudgets of countries: %s\n' "$all" "$each"
    risk="$(field guessRisk '[0-9.e/smhd-]*')"
    [ -z "$risk" ] || printf 'chance of a right guess at one number: at most %s in %s\n' "${risk%/*}" "${risk#*/}"
}

# show_list WORD ENTRIES: prints a line for each entry of a list of the switches.
show_list() {
    local entry
    for entry in $2; do
        case "$entry" in
        none) printf '%s: none\n' "$1" ;;
        +*) printf '%s: every number that begins with %s\n' "$1" "$entry" ;;
        *) printf '%s: one number (its hash is %s)\n' "$1" "$entry" ;;
        esac
    done
}

# update EXPRESSION ATTRIBUTE VALUE: changes the switches. Prints the old entries of the attribute, one on each line.
update() {
    local name
    name="$(table_name)" || exit 1
    aws dynamodb update-item --table-name "$name" --key '{"pk":{"S":"K#switches"}}' \
        --update-expression "$1" --expression-attribute-names "{\"#name\":\"$2\"}" \
        --expression-attribute-values "{\":value\":$3}" \
        --return-values ALL_OLD --query "Attributes.$2.SS" --output text | tr '\t' '\n' ||
        fail "cannot change the table $name"
}

# invoke OPERATION [SUFFIX]: calls the function with NUMBER and keeps its response. SUFFIX makes another alias of `operator`.
invoke() {
    # The pattern keeps JSON syntax out of the event. The function checks the rest.
    [ -n "${NUMBER:-}" ] || fail "give a phone number, such as NUMBER=+14255550100"
    local number='^\+[0-9 ().-]{6,40}$'
    [[ "$NUMBER" =~ $number ]] || fail "NUMBER must be + and the digits of a phone number with its country code"
    need_aws
    local name=desk
    on_the_desk || name="$(function_name)" || exit 1
    # A function that is not from the template may have no alias.
    [[ "$name" != *:operator ]] || name+="${2:-}"
    ask "$name" "{\"operation\":\"$1\",\"destinationNumber\":\"$NUMBER\"}" || fail "cannot invoke the function $name"
    [ "$error" = None ] || fail "the function $name failed: $(field errorMessage '[^"]*' | tr -d '0-9')"
}

# ask NAME EVENT: invokes the function. Sets `response`, and `error` to None or to the kind of the function error.
ask() {
    [ -n "${folder:-}" ] || folder="$(mktemp -d)"
    trap 'rm -rf "$folder"' EXIT
    # The event is in a file, because every user of the machine can read the arguments of a command.
    printf '%s' "$2" >"$folder/event"
    if on_the_desk; then
        curl -fsS --data-binary "@$folder/event" -D "$folder/head" -o "$folder/response" \
            "http://127.0.0.1:${API_PORT:-6880}/2015-03-31/functions/desk/invocations" || return 1
        error=None
        ! grep -qi '^x-amz-function-error:' "$folder/head" || error=Unhandled
        response="$(tr -d '\n' <"$folder/response")"
        return
    fi
    error="$(aws lambda invoke --function-name "$1" --payload "fileb://$folder/event" \
        --query FunctionError --output text "$folder/response")" || return 1
    response="$(tr -d '\n' <"$folder/response")"
}

# field NAME PATTERN: prints a field of the function's response, if its value matches the pattern.
field() { sed -n "s/.*\"$1\"[[:space:]]*:[[:space:]]*\"\{0,1\}\($2\)[\",}].*/\1/p" <<<"$response"; }

# masked: prints the number with its digits masked, as in the function's response.
masked() {
    local shown
    shown="$(field destinationNumber '+[0-9]*\**[0-9]*')"
    # Never print a whole number, whatever the response has.
    [[ "$shown" == *"*******"* ]] || shown="The number"
    printf '%s' "$shown"
}

table_name() { output LedgerTable TABLE "${TABLE:-}"; }
function_name() { output OperatorFunctionName FUNCTION "${FUNCTION:-}"; }

# output NAME VARIABLE VALUE: prints VALUE, the value of VARIABLE. If it is empty, prints the output NAME of the stack.
output() {
    local value="$3"
    if [ -n "$value" ]; then
        printf '%s' "$value"
        return
    fi
    value="$(aws cloudformation describe-stacks --stack-name "$stack" \
        --query "Stacks[0].Outputs[?OutputKey=='$1'].OutputValue | [0]" --output text)" ||
        fail "cannot read the stack $stack: give another STACK, or give $2"
    [ "$value" != None ] || fail "the stack $stack has no output $1: give another STACK, or give $2"
    printf '%s' "$value"
}

on_the_desk() { [ "$stack" = desk ]; }

need_aws() {
    if on_the_desk; then
        case "$command" in
        why | unlock) command -v curl >/dev/null || fail "this command needs curl" ;;
        *) fail "STACK=desk is for why and unlock: the desk has no table" ;;
        esac
        return
    fi
    command -v aws >/dev/null || fail "this command needs the AWS CLI (aws): https://aws.amazon.com/cli/"
}

# say MESSAGE [UNDO]: prints the message, and the command that undoes the change.
say() {
    local target=""
    [ "$stack" = otp-lambda ] || target+=" STACK=$stack"
    [ -z "${TABLE:-}" ] || target+=" TABLE=$TABLE"
    [ -z "${FUNCTION:-}" ] || target+=" FUNCTION=$FUNCTION"
    printf '%s\n' "$1"
    [ -z "${2:-}" ] || printf 'Undo: %s%s\n' "$2" "$target"
}

fail() {
    printf 'operate: %s\n' "$1" >&2
    exit 1
}

main "$@"
