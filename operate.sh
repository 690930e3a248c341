#!/usr/bin/env bash
# What an operator does to a running stack: `make pause`, `make block PREFIX=+1876`, `make unlock NUMBER=+…` and their like.
#
#   operate.sh pause | resume | switches
#   operate.sh block | unblock | allow | disallow      NUMBER=+14255550142 or PREFIX=+1876
#   operate.sh unlock                                  NUMBER=+14255550142
#
# Variables: STACK, the CloudFormation stack (otp-lambda); or TABLE and FUNCTION, the names that are outputs of a stack.
#
# The switches are one item of the ledger's table, which the function reads and may not write. Needs the AWS CLI, and
# permission for cloudformation:DescribeStacks on the stack, dynamodb:UpdateItem (and GetItem, for `switches`) on the table,
# and lambda:InvokeFunction on the function, for NUMBER.
set -euo pipefail
shopt -s inherit_errexit

stack="${STACK:-otp-lambda}"
# The AWS CLI's own pager would wait for a key.
export AWS_PAGER=""

main() {
    case "${1:-}" in
    pause) pause true "paused: nobody is sent a code" "make resume" ;;
    resume) pause false "no longer paused" "make pause" ;;
    block) change ADD block "gets no code" unblock ;;
    unblock) change DELETE block "is no longer blocked" block ;;
    allow) change ADD allow "gets codes although a block holds for it" disallow ;;
    disallow) change DELETE allow "is no longer excepted from blocks" allow ;;
    unlock) unlock ;;
    switches) switches ;;
    *) fail "usage: operate.sh pause|resume|switches|block|unblock|allow|disallow|unlock" ;;
    esac
}

# pause WHETHER NOW UNDO
pause() {
    need_aws
    update "SET #name = :value" paused "{\"BOOL\":$1}" >/dev/null
    say "Sending is $2. That holds within 10 seconds." "$3"
}

# change ADD-OR-DELETE LIST NOW UNDO: takes NUMBER or PREFIX into a list of the switches, or out of it.
change() {
    local entry shown argument before
    if [ -n "${NUMBER:-}" ] && [ -n "${PREFIX:-}" ]; then
        fail "give NUMBER or PREFIX, not both"
    elif [ -n "${PREFIX:-}" ]; then
        [[ "$PREFIX" =~ ^\+[1-9][0-9]{0,7}$ ]] || fail "PREFIX is + and 1 to 8 digits, such as +1876 (a whole number is NUMBER)"
        need_aws
        entry="$PREFIX" shown="Every number that begins with $PREFIX" argument="PREFIX=$PREFIX"
    else
        # The table holds no numbers: the function says under which hash it would look for this one.
        ask key
        entry="$(member key 'N#[A-Za-z0-9_-]*')"
        [ -n "$entry" ] || fail "the function's answer holds no key"
        shown="$(masked)" argument="NUMBER=…"
    fi
    before="$(update "$1 #name :value" "$2" "{\"SS\":[\"$entry\"]}")"
    # The change that led to how it was.
    local was=ADD
    grep -qxF -- "$entry" <<<"$before" || was=DELETE
    if [ "$was" = "$1" ]; then
        say "It was so already: $shown $3."
    else
        say "$shown $3. That holds within 10 seconds." "make $4 $argument"
    fi
}

unlock() {
    [ -z "${PREFIX:-}" ] || fail "unlock takes a NUMBER, not a PREFIX"
    ask unlock
    [ -n "$(member unlocked 'true')" ] || fail "the function did not unlock the number"
    say "$(masked) is unlocked: its failed guesses are forgotten. There is no undo; another 100 lock it again."
}

switches() {
    need_aws
    local name item
    name="$(table_name)"
    item="$(aws dynamodb get-item --table-name "$name" --key '{"pk":{"S":"K#switches"}}' --consistent-read \
        --query '[Item.paused.BOOL, Item.block.SS, Item.allow.SS]' --output json)" || fail "the switches could not be read"
    printf 'paused, blocked, allowed (numbers are shown as hashes):\n%s\n' "$item"
}

# update EXPRESSION ATTRIBUTE VALUE: of the switches. Prints what was in the attribute before, one entry a line.
update() {
    local name
    name="$(table_name)"
    aws dynamodb update-item --table-name "$name" --key '{"pk":{"S":"K#switches"}}' \
        --update-expression "$1" --expression-attribute-names "{\"#name\":\"$2\"}" \
        --expression-attribute-values "{\":value\":$3}" \
        --return-values ALL_OLD --query "Attributes.$2.SS" --output text | tr '\t' '\n' ||
        fail "the table $name could not be changed"
}

# ask OPERATION: has the function do something with NUMBER, and keeps its answer.
ask() {
    # What JSON could take for more than a number is refused here, the rest by the function.
    [ -n "${NUMBER:-}" ] || fail "which number? Give NUMBER=+14255550100"
    local number='^\+[0-9 ().-]{6,40}$'
    [[ "$NUMBER" =~ $number ]] || fail "NUMBER is + and the digits of a phone number with its calling code"
    need_aws
    local name error
    name="$(function_name)"
    folder="$(mktemp -d)"
    trap 'rm -rf "$folder"' EXIT
    # In a file and not among the arguments, which every user of the machine can read.
    printf '{"operation":"%s","destinationNumber":"%s"}' "$1" "$NUMBER" >"$folder/event"
    error="$(aws lambda invoke --function-name "$name" --payload "fileb://$folder/event" \
        --query FunctionError --output text "$folder/answer")" || fail "the function $name could not be asked"
    answer="$(tr -d '\n' <"$folder/answer")"
    [ "$error" = None ] || fail "the function $name answered with an error: $(member errorMessage '[^"]*' | tr -d '0-9')"
}

# member NAME PATTERN: the value of a member of the function's answer, if it is of this shape.
member() { sed -n "s/.*\"$1\"[[:space:]]*:[[:space:]]*\"\{0,1\}\($2\)[\",}].*/\1/p" <<<"$answer"; }

masked() {
    local shown
    shown="$(member destinationNumber '+[0-9]*\**[0-9]*')"
    # Whatever the function says, no number is printed.
    [[ "$shown" == *"*******"* ]] || shown="The number"
    printf '%s' "$shown"
}

table_name() { output LedgerTable TABLE "${TABLE:-}"; }
function_name() { output FunctionName FUNCTION "${FUNCTION:-}"; }

# output NAME VARIABLE GIVEN: what was given, or else this output of the stack.
output() {
    local value="$3"
    if [ -n "$value" ]; then
        printf '%s' "$value"
        return
    fi
    value="$(aws cloudformation describe-stacks --stack-name "$stack" \
        --query "Stacks[0].Outputs[?OutputKey=='$1'].OutputValue | [0]" --output text)" ||
        fail "the stack $stack could not be read: give STACK=, or $2="
    [ "$value" != None ] || fail "the stack $stack has no output $1: give STACK= of another, or $2="
    printf '%s' "$value"
}

need_aws() { command -v aws >/dev/null || fail "needs the AWS CLI: https://aws.amazon.com/cli/"; }

# say WHAT [UNDO]
say() {
    local where=""
    [ "$stack" = otp-lambda ] || where+=" STACK=$stack"
    [ -z "${TABLE:-}" ] || where+=" TABLE=$TABLE"
    [ -z "${FUNCTION:-}" ] || where+=" FUNCTION=$FUNCTION"
    printf '%s\n' "$1"
    [ -z "${2:-}" ] || printf 'Undo: %s%s\n' "$2" "$where"
}

fail() {
    printf 'operate: %s\n' "$1" >&2
    exit 1
}

main "$@"
