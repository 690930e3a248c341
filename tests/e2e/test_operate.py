"""Tests of the operator's commands (`make pause`, `make block`, …) with the AWS CLI and a fake of three AWS services.

    target/e2e/sam/bin/python -m pytest tests/e2e/test_operate.py

The script runs with the first bash on the PATH. macOS has bash 3.2. To try another bash, put the directory of that bash
first on the PATH.
"""

import json
import os
import re
import shutil
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs

import pytest

ROOT = Path(__file__).resolve().parents[2]
CLI = ROOT / "target" / "e2e" / "awscli" / "bin"

NUMBER = "+14255550142"
MASKED = "+1*******0142"
KEY = "N#q3Zr-W_x0123456789abcdefghijklmnopqrstuvwxyz"

IN_LOG = "oyxcldnkmw"
WHY = ["Over HTTP: no message is on record; no failed guess.", "There is a block of this number, until `make unblock NUMBER=…`."]

STACK = """<DescribeStacksResponse xmlns="http://cloudformation.amazonaws.com/doc/2010-05-15/"><DescribeStacksResult>
<Stacks><member><StackName>{name}</StackName><StackStatus>CREATE_COMPLETE</StackStatus>
<CreationTime>2026-11-23T14:08:47Z</CreationTime><Outputs>{outputs}</Outputs></member></Stacks>
</DescribeStacksResult></DescribeStacksResponse>"""
OUTPUT = "<member><OutputKey>{0}</OutputKey><OutputValue>{1}</OutputValue></member>"
NO_STACK = """<ErrorResponse><Error><Type>Sender</Type><Code>ValidationError</Code>
<Message>Stack with id {name} does not exist</Message></Error></ErrorResponse>"""


class Aws(ThreadingHTTPServer):
    """CloudFormation with the stack otp-lambda, Lambda with its function, and DynamoDB with its table."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.outputs = {"LedgerTable": "otp-Ledger-1X", "OperatorFunctionName": "otp-Function-1X:operator"}
        self.outputs |= {"FunctionLogGroup": "otp-FunctionLogs-1X", "ApiLogGroup": "otp-ApiLogs-1X"}
        self.switches = {}
        self.invocations = []
        self.tables = []
        self.function_error = None
        self.tables_fail = False
        self.lambda_denies = False
        self.log_denies = False
        self.log_fails = False
        self.log = []
        self.queries = []
        self.asked = 0
        self.responses = {
            "key": {"key": KEY, "destinationNumber": MASKED},
            "unlock": {"unlocked": True, "destinationNumber": MASKED},
            "why": {"destinationNumber": MASKED, "inLog": IN_LOG, "lines": WHY},
            "settings": {
                "settings": "ok",
                "budgets": "500/1h,20.5USD/24h",
                "countryLimits": "JM=20/1h;US=none;*=250/1h",
                "guessRisk": "3.6e-5/1d",
            },
        }

    def update(self, request):
        """Carries out an update as the script writes it. operate.rs runs the same updates on a DynamoDB engine."""
        assert request["Key"] == {"pk": {"S": "K#switches"}}
        name, value = request["ExpressionAttributeNames"]["#name"], request["ExpressionAttributeValues"][":value"]
        before = json.loads(json.dumps(self.switches))
        action = request["UpdateExpression"]
        if action == "SET #name = :value":
            self.switches[name] = value
        else:
            known = set(self.switches.pop(name, {"SS": []})["SS"])
            entries = {"ADD #name :value": known.union, "DELETE #name :value": known.difference}[action](value["SS"])
            if entries:
                self.switches[name] = {"SS": sorted(entries)}
        return {"Attributes": before} if before else {}


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        aws, body = self.server, self.rfile.read(int(self.headers["Content-Length"] or 0))
        operation = self.headers.get("X-Amz-Target", "").removeprefix("DynamoDB_20120810.")
        if operation.startswith("Logs_20140328."):
            self.logs(operation.removeprefix("Logs_20140328."), json.loads(body))
        elif operation:
            request = json.loads(body)
            aws.tables.append(request["TableName"])
            if aws.tables_fail:
                return self.respond(400, json.dumps({"__type": "ResourceNotFoundException", "message": "no such table"}))
            item = {"pk": {"S": "K#switches"}, **aws.switches}
            self.respond(200, json.dumps(aws.update(request) if operation == "UpdateItem" else {"Item": item}))
        elif "/functions/" in self.path:
            if aws.lambda_denies:
                return self.respond(403, json.dumps({"Message": "not authorized"}), **{"X-Amzn-ErrorType": "AccessDeniedException"})
            event = json.loads(body)
            aws.invocations.append((self.path, event))
            error = {"X-Amz-Function-Error": aws.function_error} if aws.function_error else {}
            self.respond(200, json.dumps(aws.responses[event["operation"]], ensure_ascii=False), **error)
        else:
            name = parse_qs(body.decode())["StackName"][0]
            outputs = "".join(OUTPUT.format(*it) for it in aws.outputs.items())
            known = name == "otp-lambda"
            self.respond(200 if known else 400, (STACK if known else NO_STACK).format(name=name, outputs=outputs))

    def logs(self, operation, request):
        """CloudWatch Logs Insights. A query runs until somebody has asked for its results once."""
        aws = self.server
        if aws.log_denies:
            return self.respond(400, json.dumps({"__type": "AccessDeniedException", "message": "not authorized"}))
        if operation == "StartQuery":
            aws.queries.append(request)
            return self.respond(200, json.dumps({"queryId": "12ab"}))
        assert (operation, request) == ("GetQueryResults", {"queryId": "12ab"})
        aws.asked += 1
        done = "Failed" if aws.log_fails else "Complete"
        results = [[{"field": "@message", "value": json.dumps(it, separators=(",", ":"))}, {"field": "@ptr", "value": "x"}] for it in aws.log]
        self.respond(200, json.dumps({"status": done if aws.asked > 1 else "Running", "results": results if aws.asked > 1 else []}))

    def respond(self, status, body, **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body.encode())))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_):
        pass


@pytest.fixture
def aws():
    if not (CLI / "aws").exists():
        reason = "needs the AWS CLI, which tests/e2e/setup.sh installs"
        if os.environ.get("OTP_SKIP_NOTHING") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    server = Aws()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def make(aws, *arguments, path=f"{CLI}:{os.environ['PATH']}"):
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("AWS_", "MAKE", "MFLAGS"))}
    for name in ("NUMBER", "PREFIX", "STACK", "TABLE", "FUNCTION"):
        kept.pop(name, None)
    endpoint = f"http://127.0.0.1:{aws.server_address[1]}"
    kept |= {"PATH": path, "AWS_ENDPOINT_URL": endpoint, "AWS_DEFAULT_REGION": "eu-central-1", "AWS_MAX_ATTEMPTS": "1"}
    kept |= {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    kept |= {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}
    done = subprocess.run(["make", "--silent", *arguments], cwd=ROOT, capture_output=True, text=True, env=kept)
    # Neither make nor the script may print the number.
    assert "4255550142" not in re.sub(r"\D", "", done.stdout + done.stderr), done
    return done


def run(aws, *arguments):
    done = make(aws, *arguments)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout


def run_and_fail(aws, *arguments, **options):
    before = json.dumps(aws.switches)
    done = make(aws, *arguments, **options)
    assert done.returncode != 0 and done.stdout == "" and json.dumps(aws.switches) == before, done
    return done.stderr


def test_pause_and_resume_set_the_switch(aws):
    output = run(aws, "pause")
    assert output == "Sending is paused: no codes are sent. This takes effect within 10 seconds.\nUndo: make resume\n"
    assert aws.switches == {"paused": {"BOOL": True}}
    assert "no longer paused" in run(aws, "resume")
    assert aws.switches == {"paused": {"BOOL": False}}
    assert set(aws.tables) == {"otp-Ledger-1X"} and aws.invocations == []


def test_a_prefix_is_stored_as_it_is(aws):
    output = run(aws, "block", "PREFIX=+1876")
    assert output.startswith("Every number that begins with +1876 is blocked: it gets no codes.")
    assert "Undo: make unblock PREFIX=+1876\n" in output
    assert aws.switches == {"block": {"SS": ["+1876"]}}
    run(aws, "block", "PREFIX=+1876555")
    assert aws.switches == {"block": {"SS": ["+1876", "+1876555"]}}
    run(aws, "unblock", "PREFIX=+1876")
    assert aws.switches == {"block": {"SS": ["+1876555"]}}
    run(aws, "unblock", "PREFIX=+1876555")
    assert aws.switches == {}
    assert aws.invocations == []


def test_a_number_is_stored_as_the_hash_from_the_function(aws):
    output = run(aws, "block", f"NUMBER={NUMBER}")
    assert output == f"{MASKED} is blocked: it gets no codes. This takes effect within 10 seconds.\nUndo: make unblock NUMBER=…\n"
    # Each right has its own alias.
    path = "/2015-03-31/functions/otp-Function-1X%3Aoperator-key/invocations"
    assert aws.invocations == [(path, {"operation": "key", "destinationNumber": NUMBER})]
    assert aws.switches == {"block": {"SS": [KEY]}}
    run(aws, "unblock", f"NUMBER={NUMBER}")
    assert aws.switches == {}


def test_exceptions_do_not_change_blocks(aws):
    run(aws, "block", "PREFIX=+1876")
    output = run(aws, "allow", "NUMBER=+1 (425) 555-0142")
    assert "Undo: make disallow NUMBER=…" in output
    assert aws.switches == {"block": {"SS": ["+1876"]}, "allow": {"SS": [KEY]}}
    run(aws, "pause")
    run(aws, "disallow", f"NUMBER={NUMBER}")
    assert aws.switches == {"block": {"SS": ["+1876"]}, "paused": {"BOOL": True}}


def test_a_command_without_effect_says_so(aws):
    assert run(aws, "unblock", "PREFIX=+1876").startswith("No change. Every number that begins with +1876 is no longer blocked.")
    run(aws, "block", "PREFIX=+1876")
    assert run(aws, "block", "PREFIX=+1876").startswith("No change. ")
    # +187 and +1876 are different entries.
    assert "it gets no codes. This takes effect" in run(aws, "block", "PREFIX=+187")
    assert aws.switches == {"block": {"SS": ["+187", "+1876"]}}


def test_unlock_invokes_the_function(aws):
    output = run(aws, "unlock", f"NUMBER={NUMBER}")
    assert output.startswith(f"{MASKED} is unlocked")
    path = "/2015-03-31/functions/otp-Function-1X%3Aoperator/invocations"
    assert aws.invocations == [(path, {"operation": "unlock", "destinationNumber": NUMBER})]
    assert aws.tables == [] and aws.switches == {}
    aws.responses["unlock"] = {"unlocked": False, "destinationNumber": MASKED}
    assert "did not unlock" in run_and_fail(aws, "unlock", f"NUMBER={NUMBER}")


def line(at, **members):
    return {"timestamp": f"2026-11-29T{at}Z", "level": "INFO", "message": "request", "number": IN_LOG} | members


def test_why_says_what_the_function_and_the_log_know(aws):
    # CloudWatch returns the newest line first.
    aws.log = [
        line("11:00:09.000000", operation="why", outcome="ok"),
        line("11:00:08.500000", message="delivery", operation="delivery", outcome="delivered", event="TEXT_DELIVERED"),
        line("11:00:08.250000", message="delivery", operation="delivery", outcome="blocked", event="TEXT_SPAM", cause="spam"),
        line("11:00:08.000000", operation="status", outcome="ok"),
        line("11:00:07.000000", message="number_near_lock", door="http", failedGuesses=30, lockedAt=100),
        line("11:00:06.000000", operation="create", outcome="misconfigured", cause="no permission"),
        line("11:00:05.000000", operation="send", outcome="delivery_unknown", unknownDeliveries=1, channel="sms"),
        line("11:00:04.000000", operation="verify", outcome="ok", verified=1),
        line("11:00:03.000000", operation="verify", outcome="invalid_code", wrongGuesses=1, attemptsLeft=0),
        line("11:00:02.345678", operation="send", outcome="rate_limited", limit="number"),
        line("10:59:59.123456", operation="send", outcome="ok", sent=1, channel="sms"),
    ]
    assert run(aws, "why", f"NUMBER={NUMBER}").splitlines() == [
        f"{MASKED} is {IN_LOG} in the log.",
        *WHY,
        "In the log of the last day:",
        "2026-11-29 10:59:59.123Z send: a message was sent by sms",
        "2026-11-29 11:00:02.345Z send: refused, rate_limited, by the limit number",
        "2026-11-29 11:00:03.000Z verify: the code was wrong, 0 guesses left",
        "2026-11-29 11:00:04.000Z verify: the code was right",
        "2026-11-29 11:00:05.000Z send: it is unknown if a message was sent, delivery_unknown",
        "2026-11-29 11:00:06.000Z create: refused, misconfigured. no permission",
        "2026-11-29 11:00:07.000Z 30 failed guesses. This door (http) locks at 100",
        "2026-11-29 11:00:08.000Z status: ok",
        "2026-11-29 11:00:08.250Z delivery: the message was blocked (TEXT_SPAM). spam",
        "2026-11-29 11:00:08.500Z delivery: the message was delivered (TEXT_DELIVERED)",
    ]
    path = "/2015-03-31/functions/otp-Function-1X%3Aoperator-key/invocations"
    assert aws.invocations == [(path, {"operation": "why", "destinationNumber": NUMBER})]
    (query,) = aws.queries
    # The access log of the API is not asked.
    assert query["logGroupNames"] == ["otp-FunctionLogs-1X"] and query["endTime"] - query["startTime"] == 86400
    assert f"""'"number":"{IN_LOG}"'""" in query["queryString"]
    assert aws.switches == {} and aws.tables == []


def test_why_asks_the_logs_of_both_functions_and_says_if_there_is_nothing(aws):
    aws.outputs["CognitoLogGroup"] = "otp-TriggersLogs-1X"
    said = run(aws, "why", f"NUMBER={NUMBER}").splitlines()
    assert said[-1] == "The log of the last day has nothing about it."
    assert sorted(aws.queries[0]["logGroupNames"]) == ["otp-FunctionLogs-1X", "otp-TriggersLogs-1X"]


@pytest.mark.parametrize("how", ["log_denies", "log_fails"])
def test_why_says_the_rest_if_the_log_cannot_be_read(aws, how):
    setattr(aws, how, True)
    done = make(aws, "why", f"NUMBER={NUMBER}")
    assert done.returncode == 0
    *rest, last = done.stdout.splitlines()
    assert rest == [f"{MASKED} is {IN_LOG} in the log.", *WHY] and last.startswith("The log is not shown, because")


def test_a_desk_takes_no_switches(aws):
    assert "the desk has no table" in run_and_fail(aws, "pause", "STACK=desk")
    assert "the desk has no table" in run_and_fail(aws, "switches", "STACK=desk")


BUDGETS = [
    "budgets: 500/1h,20.5USD/24h",
    "budgets of countries: JM=20/1h;US=none;*=250/1h",
    "chance of a right guess at one number: at most 3.6e-5 in 1d",
]


def test_switches_are_shown_in_words(aws):
    assert run(aws, "switches") == "sending: on\nblocked: none\nallowed: none\n" + "\n".join([*BUDGETS, ""])
    run(aws, "pause")
    run(aws, "block", "PREFIX=+1876")
    run(aws, "block", f"NUMBER={NUMBER}")
    run(aws, "allow", "PREFIX=+1876555")
    assert run(aws, "switches").splitlines() == [
        "sending: paused, so no codes are sent",
        "blocked: every number that begins with +1876",
        f"blocked: one number (its hash is {KEY})",
        "allowed: every number that begins with +1876555",
        *BUDGETS,
    ]
    run(aws, "resume")
    assert run(aws, "switches").startswith("sending: on\nblocked: every number")


def test_switches_are_shown_without_the_right_to_invoke_the_function(aws):
    shown = run(aws, "switches").splitlines()
    aws.function_error = "Unhandled"
    without = run(aws, "switches").splitlines()
    assert without[:3] == shown[:3] and len(without) == 4 and without[3].startswith("budgets: not shown, because"), without
    aws.function_error, aws.lambda_denies = None, True
    assert run(aws, "switches").splitlines() == without
    # A stack without the function has the switches all the same.
    del aws.outputs["OperatorFunctionName"]
    assert run(aws, "switches").splitlines() == without
    # A function of an earlier version says nothing of its budgets.
    aws.lambda_denies, aws.responses["settings"] = False, {"settings": "ok"}
    aws.outputs["OperatorFunctionName"] = "otp-Function-1X:operator"
    (line,) = run(aws, "switches").splitlines()[3:]
    assert line.startswith("budgets: not shown, because the function did not say them"), line
    aws.responses["settings"] = {"settings": "ok", "budgets": "none", "countryLimits": "none"}
    # A function of an earlier version says nothing of the chance.
    assert run(aws, "switches").splitlines()[3:] == ["budgets: none", "budgets of countries: none"]
    aws.responses["settings"]["guessRisk"] = "1/30d"
    assert run(aws, "switches").splitlines()[5:] == ["chance of a right guess at one number: at most 1 in 30d"]


def test_switches_that_cannot_be_read_are_not_shown(aws):
    aws.tables_fail = True
    assert "cannot read the switches" in run_and_fail(aws, "switches")


# Only newer versions of bash know these. macOS has 3.2.
NEWER_THAN_BASH_3_2 = {
    "an option of shopt": (r"shopt\b.*\b(inherit_errexit|globstar|lastpipe|autocd|assoc_expand_once)", "shopt -s inherit_errexit"),
    "a kind of variable": (r"\b(declare|local|typeset)\s+-[a-zA-Z]*[Angul]", "declare -A names"),
    "a builtin": (r"(^|[;&|(]\s*|\s)(mapfile|readarray|coproc)\s", "mapfile -t lines"),
    "letters in another case": (r"\$\{[^}]*(\^\^?|,,?)(\}|\[)", "${name,,}"),
    "a transformation": (r"\$\{[^}]*@[QEPAaUuLKk]\}", "${name@Q}"),
    "both streams appended or piped": (r"&>>|\|&", "command &>>log"),
    "a case that goes on": (r";;?&\s*$", "a) first ;;&"),
    "the test for a set variable": (r"\[\[? -v ", "[ -v name ]"),
    "a time in printf": (r"printf .*%(\(|-?\d*\()", "printf '%(%s)T'"),
    "a negative index": (r"\$\{\w+\[-\d|\$\{\w+: -\d+:-|\$\{\w+:\d+:-", "${names[-1]}"),
    "a variable of the shell": (r"\$\{?(EPOCHSECONDS|EPOCHREALTIME|BASHPID|SRANDOM)\b", "$EPOCHSECONDS"),
    "waiting for any job": (r"\bwait -[nfp]", "wait -n"),
    "a chosen file descriptor": (r"\bexec \{\w+\}[<>]", "exec {log}>file"),
    "a short read": (r"\bread\b.* -[a-zA-Z]*[iN]\b|\bread\b.* -t 0?\.", "read -N 1 key"),
    # In bash 3.2, `set -u` takes an empty array for an unset one. These arrays are never empty.
    "an array that may be empty": (r"\$\{(?!words|settings|BASH_SOURCE)\w+\[[@*]\]\}", '"${names[@]}"'),
}


@pytest.mark.parametrize("script", ["operate.sh", "tests/e2e/setup.sh", "tests/e2e/with-tools.sh", "tests/e2e/invoke.sh", "tests/needs.sh"])
def test_the_scripts_of_users_run_on_bash_3_2(script):
    lines = [line for line in (ROOT / script).read_text().splitlines() if not line.lstrip().startswith("#")]
    for what, (pattern, example) in NEWER_THAN_BASH_3_2.items():
        assert re.search(pattern, example), f"the control of {what}"
        found = [line for line in lines if re.search(pattern, line)]
        assert not found, f"{what}: {found}"


def test_a_step_that_fails_ends_the_command(aws):
    """In bash 3.2, `set -e` does not hold inside $(…)."""
    aws.outputs = {}
    for arguments in (["pause"], ["block", "PREFIX=+1876"], ["block", f"NUMBER={NUMBER}"], ["switches"]):
        assert "has no output" in run_and_fail(aws, *arguments)
        assert aws.tables == [] and aws.invocations == []


def test_table_and_function_override_the_stack(aws):
    run(aws, "block", f"NUMBER={NUMBER}", "TABLE=mine", "FUNCTION=mine-too", "STACK=nowhere")
    assert aws.tables == ["mine"]
    assert aws.invocations[0][0] == "/2015-03-31/functions/mine-too/invocations"


def test_undo_names_the_stack_and_table(aws):
    assert run(aws, "pause", "STACK=other", "TABLE=mine").endswith("Undo: make resume STACK=other TABLE=mine\n")
    assert "cannot read the stack other: give another STACK, or give TABLE" in run_and_fail(aws, "pause", "STACK=other")
    aws.outputs = {}
    assert "the stack otp-lambda has no output LedgerTable" in run_and_fail(aws, "pause")
    assert "the stack otp-lambda has no output OperatorFunctionName" in run_and_fail(aws, "block", f"NUMBER={NUMBER}")


@pytest.mark.parametrize(
    "arguments, error",
    [
        (["block"], "give a phone number, such as NUMBER=+14255550100"),
        (["unlock"], "give a phone number"),
        (["unlock", "PREFIX=+1876"], "unlock takes a NUMBER"),
        (["block", "PREFIX=+1876", f"NUMBER={NUMBER}"], "NUMBER or PREFIX, not both"),
        (["block", "PREFIX=1876"], "PREFIX must be + and 1 to 8 digits"),
        (["block", "PREFIX=+187655501"], "PREFIX must be + and 1 to 8 digits"),
        (["block", "PREFIX=+0"], "PREFIX must be + and 1 to 8 digits"),
        (["block", "PREFIX=+"], "PREFIX must be + and 1 to 8 digits"),
        (["block", 'PREFIX=+1"]}'], "PREFIX must be + and 1 to 8 digits"),
        (["block", "NUMBER=14255550142"], "NUMBER must be + and the digits"),
        (["block", 'NUMBER=+14255550142","operation":"unlock'], "NUMBER must be + and the digits"),
        (["block", "NUMBER=$(touch /tmp/x)"], "give a phone number"),
    ],
)
def test_bad_arguments_are_rejected_before_any_call(aws, arguments, error):
    assert error in run_and_fail(aws, *arguments)
    assert aws.invocations == [] and aws.tables == []


def test_a_function_error_changes_nothing(aws):
    aws.function_error = "Unhandled"
    aws.responses["key"] = {"errorType": "UnrecognizedEvent", "errorMessage": f"no such operation for {NUMBER}"}
    output = run_and_fail(aws, "block", f"NUMBER={NUMBER}")
    assert "the function otp-Function-1X:operator-key failed: no such operation" in output
    # A command that fails is named after its own error code.
    aws.responses["unlock"] = {"errorType": "ledger_unavailable", "errorMessage": "The limits could not be looked up."}
    output = run_and_fail(aws, "unlock", f"NUMBER={NUMBER}")
    assert "the function otp-Function-1X:operator failed: The limits could not be looked up." in output
    # An unexpected response is an error, and nothing of it is printed.
    aws.function_error = None
    for response in ({}, {"key": NUMBER, "destinationNumber": NUMBER}, {"key": 'N#a"b', "destinationNumber": NUMBER}):
        aws.responses["key"] = response
        run_and_fail(aws, "block", f"NUMBER={NUMBER}")
    aws.responses["key"] = {"key": KEY, "destinationNumber": NUMBER}
    assert run(aws, "block", f"NUMBER={NUMBER}").startswith("The number is blocked: it gets no codes.")


def test_a_missing_aws_cli_is_reported(aws, tmp_path):
    for tool in ("bash", "env", "make"):
        (tmp_path / tool).symlink_to(shutil.which(tool))
    assert "needs the AWS CLI" in run_and_fail(aws, "pause", path=str(tmp_path))


def test_make_help_lists_the_commands(aws):
    listed = run(aws, "help")
    for command in "pause resume block unblock allow disallow unlock why switches".split():
        assert re.search(rf"^make {command} ", listed, re.MULTILINE), command
