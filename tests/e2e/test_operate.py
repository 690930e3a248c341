"""The operator's commands (`make pause`, `make block`, …), with the AWS CLI and a stand-in for the three services.

    target/e2e/sam/bin/python -m pytest tests/e2e/test_operate.py
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

STACK = """<DescribeStacksResponse xmlns="http://cloudformation.amazonaws.com/doc/2010-05-15/"><DescribeStacksResult>
<Stacks><member><StackName>{name}</StackName><StackStatus>CREATE_COMPLETE</StackStatus>
<CreationTime>2026-11-23T14:08:47Z</CreationTime><Outputs>{outputs}</Outputs></member></Stacks>
</DescribeStacksResult></DescribeStacksResponse>"""
OUTPUT = "<member><OutputKey>{0}</OutputKey><OutputValue>{1}</OutputValue></member>"
NO_STACK = """<ErrorResponse><Error><Type>Sender</Type><Code>ValidationError</Code>
<Message>Stack with id {name} does not exist</Message></Error></ErrorResponse>"""


class Aws(ThreadingHTTPServer):
    """CloudFormation with the stack otp-lambda, its function, and its table with the one item."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.outputs = {"LedgerTable": "otp-Ledger-1X", "FunctionName": "otp-Function-1X"}
        self.switches = {}
        self.invocations = []
        self.tables = []
        self.function_error = None
        self.answers = {
            "key": {"key": KEY, "destinationNumber": MASKED},
            "unlock": {"unlocked": True, "destinationNumber": MASKED},
        }

    def update(self, request):
        """An update of the shape the script uses; a test in Rust gives the same to an engine of DynamoDB."""
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
        if operation:
            request = json.loads(body)
            aws.tables.append(request["TableName"])
            item = {"pk": {"S": "K#switches"}, **aws.switches}
            self.answer(200, json.dumps(aws.update(request) if operation == "UpdateItem" else {"Item": item}))
        elif "/functions/" in self.path:
            event = json.loads(body)
            aws.invocations.append((self.path, event))
            error = {"X-Amz-Function-Error": aws.function_error} if aws.function_error else {}
            self.answer(200, json.dumps(aws.answers[event["operation"]]), **error)
        else:
            name = parse_qs(body.decode())["StackName"][0]
            outputs = "".join(OUTPUT.format(*it) for it in aws.outputs.items())
            known = name == "otp-lambda"
            self.answer(200 if known else 400, (STACK if known else NO_STACK).format(name=name, outputs=outputs))

    def answer(self, status, body, **headers):
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
        reason = "needs tests/e2e/setup.sh to have installed the AWS CLI"
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
    # make itself repeats nothing of what it was given, and neither does the script.
    assert "4255550142" not in re.sub(r"\D", "", done.stdout + done.stderr), done
    return done


def works(aws, *arguments):
    done = make(aws, *arguments)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout


def fails(aws, *arguments, **options):
    before = json.dumps(aws.switches)
    done = make(aws, *arguments, **options)
    assert done.returncode != 0 and done.stdout == "" and json.dumps(aws.switches) == before, done
    return done.stderr


def test_sending_is_paused_and_resumed(aws):
    said = works(aws, "pause")
    assert said == "Sending is paused: nobody is sent a code. That holds within 10 seconds.\nUndo: make resume\n"
    assert aws.switches == {"paused": {"BOOL": True}}
    assert "no longer paused" in works(aws, "resume")
    assert aws.switches == {"paused": {"BOOL": False}}
    assert set(aws.tables) == {"otp-Ledger-1X"} and aws.invocations == []


def test_a_prefix_is_blocked_as_it_is(aws):
    said = works(aws, "block", "PREFIX=+1876")
    assert said.startswith("Every number that begins with +1876 gets no code.")
    assert "Undo: make unblock PREFIX=+1876\n" in said
    assert aws.switches == {"block": {"SS": ["+1876"]}}
    works(aws, "block", "PREFIX=+1876555")
    assert aws.switches == {"block": {"SS": ["+1876", "+1876555"]}}
    works(aws, "unblock", "PREFIX=+1876")
    assert aws.switches == {"block": {"SS": ["+1876555"]}}
    works(aws, "unblock", "PREFIX=+1876555")
    assert aws.switches == {}
    assert aws.invocations == []


def test_a_number_is_blocked_by_the_hash_that_the_function_gives(aws):
    said = works(aws, "block", f"NUMBER={NUMBER}")
    assert said == f"{MASKED} gets no code. That holds within 10 seconds.\nUndo: make unblock NUMBER=…\n"
    path = "/2015-03-31/functions/otp-Function-1X/invocations"
    assert aws.invocations == [(path, {"operation": "key", "destinationNumber": NUMBER})]
    assert aws.switches == {"block": {"SS": [KEY]}}
    works(aws, "unblock", f"NUMBER={NUMBER}")
    assert aws.switches == {}


def test_exceptions_are_a_list_of_their_own(aws):
    works(aws, "block", "PREFIX=+1876")
    said = works(aws, "allow", "NUMBER=+1 (425) 555-0142")
    assert "Undo: make disallow NUMBER=…" in said
    assert aws.switches == {"block": {"SS": ["+1876"]}, "allow": {"SS": [KEY]}}
    works(aws, "pause")
    works(aws, "disallow", f"NUMBER={NUMBER}")
    assert aws.switches == {"block": {"SS": ["+1876"]}, "paused": {"BOOL": True}}


def test_what_is_so_already_is_said(aws):
    assert works(aws, "unblock", "PREFIX=+1876").startswith("It was so already: Every number that begins with +1876")
    works(aws, "block", "PREFIX=+1876")
    assert works(aws, "block", "PREFIX=+1876").startswith("It was so already")
    # +187 is another entry than +1876.
    assert "gets no code. That holds" in works(aws, "block", "PREFIX=+187")
    assert aws.switches == {"block": {"SS": ["+187", "+1876"]}}


def test_unlocking_is_the_functions_work(aws):
    said = works(aws, "unlock", f"NUMBER={NUMBER}")
    assert said.startswith(f"{MASKED} is unlocked")
    assert [event for _, event in aws.invocations] == [{"operation": "unlock", "destinationNumber": NUMBER}]
    assert aws.tables == [] and aws.switches == {}
    aws.answers["unlock"] = {"unlocked": False, "destinationNumber": MASKED}
    assert "did not unlock" in fails(aws, "unlock", f"NUMBER={NUMBER}")


def test_the_switches_can_be_seen(aws):
    works(aws, "block", "PREFIX=+1876")
    assert "+1876" in works(aws, "switches")


def test_table_and_function_can_be_given_instead_of_the_stack(aws):
    works(aws, "block", f"NUMBER={NUMBER}", "TABLE=mine", "FUNCTION=mine-too", "STACK=nowhere")
    assert aws.tables == ["mine"]
    assert aws.invocations[0][0] == "/2015-03-31/functions/mine-too/invocations"


def test_another_stack_is_a_part_of_the_undo(aws):
    assert works(aws, "pause", "STACK=other", "TABLE=mine").endswith("Undo: make resume STACK=other TABLE=mine\n")
    assert "the stack other could not be read: give STACK=, or TABLE=" in fails(aws, "pause", "STACK=other")
    aws.outputs = {}
    assert "the stack otp-lambda has no output LedgerTable" in fails(aws, "pause")
    assert "the stack otp-lambda has no output FunctionName" in fails(aws, "block", f"NUMBER={NUMBER}")


@pytest.mark.parametrize(
    "arguments, says",
    [
        (["block"], "which number? Give NUMBER=+14255550100"),
        (["unlock"], "which number?"),
        (["unlock", "PREFIX=+1876"], "unlock takes a NUMBER"),
        (["block", "PREFIX=+1876", f"NUMBER={NUMBER}"], "NUMBER or PREFIX, not both"),
        (["block", "PREFIX=1876"], "PREFIX is + and 1 to 8 digits"),
        (["block", "PREFIX=+187655501"], "PREFIX is + and 1 to 8 digits"),
        (["block", "PREFIX=+0"], "PREFIX is + and 1 to 8 digits"),
        (["block", "PREFIX=+"], "PREFIX is + and 1 to 8 digits"),
        (["block", 'PREFIX=+1"]}'], "PREFIX is + and 1 to 8 digits"),
        (["block", "NUMBER=14255550142"], "NUMBER is + and the digits"),
        (["block", 'NUMBER=+14255550142","operation":"unlock'], "NUMBER is + and the digits"),
        (["block", "NUMBER=$(touch /tmp/x)"], "which number?"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anybody_is_asked(aws, arguments, says):
    assert says in fails(aws, *arguments)
    assert aws.invocations == [] and aws.tables == []


def test_an_error_of_the_function_changes_nothing(aws):
    aws.function_error = "Unhandled"
    aws.answers["key"] = {"errorType": "UnrecognizedEvent", "errorMessage": f"no such operation for {NUMBER}"}
    said = fails(aws, "block", f"NUMBER={NUMBER}")
    assert "the function otp-Function-1X answered with an error: no such operation" in said
    # An answer that is not understood is as good as none, and nothing in it is shown.
    aws.function_error = None
    for answer in ({}, {"key": NUMBER, "destinationNumber": NUMBER}, {"key": 'N#a"b', "destinationNumber": NUMBER}):
        aws.answers["key"] = answer
        fails(aws, "block", f"NUMBER={NUMBER}")
    aws.answers["key"] = {"key": KEY, "destinationNumber": NUMBER}
    assert works(aws, "block", f"NUMBER={NUMBER}").startswith("The number gets no code.")


def test_without_the_aws_cli_it_says_so(aws, tmp_path):
    for tool in ("bash", "env", "make"):
        (tmp_path / tool).symlink_to(shutil.which(tool))
    assert "needs the AWS CLI" in fails(aws, "pause", path=str(tmp_path))


def test_the_commands_are_listed(aws):
    listed = works(aws, "help")
    for command in "pause resume block unblock allow disallow unlock switches".split():
        assert re.search(rf"^make {command} ", listed, re.MULTILINE), command
