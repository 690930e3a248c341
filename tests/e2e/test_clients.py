"""The programs of docs/clients.md, and the code for Amplify of docs/cognito.md, against the desk.

    tests/e2e/with-tools.sh bash -c '"$OTP_E2E_SAM_PYTHON" -m pytest -q tests/e2e/test_clients.py'

A proxy between the programs and the desk checks every signature with botocore, as API Gateway does.
"""

import json
import os
import re
import shutil
import subprocess
import threading
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import amplify
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from cloud import Desk

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "clients.md").read_text()
NUMBER = "+14255550142"
REGION = "us-east-1"
CREDENTIALS = Credentials("AKIDEXAMPLE", "a/secret+key", "a-session-token")

# For each language: the file, the command, and how the page makes the program for the open mode.
CLIENTS = {
    "js": (
        "client.mjs",
        ["node"],
        [("aws.fetch(", "fetch("), (r'import \{ AwsClient \}.*\n', ""), (r"const aws = new AwsClient\((.|\n)*?\}\);\n", "")],
    ),
    "python": ("client.py", [os.environ.get("OTP_E2E_SAM_PYTHON", "python3")], [(r".*SigV4Auth\(.*\n", "")]),
    "php": ("client.php", ["php"], [(r".*CURLOPT_AWS_SIGV4.*\n", ""), (r".*CURLOPT_USERPWD.*\n", "")]),
    "go": ("client.go", ["go", "run"], []),
}
SIGNED = ["js", "python", "php"]


def program(language):
    (text,) = re.findall(rf"```{language}\n(.*?)```", PAGE, re.S)
    return text


def is_signed(headers, body, method, path):
    """Whether the request has the signature that these credentials give it."""
    given = re.fullmatch(
        r"AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/(?P<scope>\S+), ?SignedHeaders=(?P<names>\S+), ?Signature=(?P<own>[0-9a-f]+)",
        headers.get("authorization", ""),
    )
    if not given or headers.get("x-amz-security-token") != CREDENTIALS.token:
        return False
    names = given["names"].split(";")
    request = AWSRequest(method, f"http://{headers['host']}{path}", {name: headers[name] for name in names}, body)
    request.context["timestamp"] = headers["x-amz-date"]
    signer = SigV4Auth(CREDENTIALS, "execute-api", REGION)
    own = signer.signature(signer.string_to_sign(request, signer.canonical_request(request)), request)
    return {"host", "x-amz-date"} <= set(names) and own == given["own"]


class Gateway(ThreadingHTTPServer):
    """Passes requests on to the desk. A request without the right signature is refused, unless the API is open."""

    def __init__(self, api, is_open):
        super().__init__(("127.0.0.1", 0), Handler)
        self.api, self.is_open = api, is_open
        self.passed, self.keys = [], []

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"

    def __enter__(self):
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_POST(self):
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = self.rfile.read(int(headers["content-length"]))
        gateway = self.server
        if gateway.is_open == ("authorization" in headers) or not (
            gateway.is_open or is_signed(headers, body, "POST", self.path)
        ):
            return self.answer(403, b'{"message":"Forbidden"}')
        gateway.passed.append(self.path)
        gateway.keys.append(headers.get("idempotency-key"))
        names = ("content-type", "idempotency-key")
        kept = {name: headers[name] for name in names if name in headers}
        request = urllib.request.Request(gateway.api + self.path, body, kept, method="POST")
        try:
            with urllib.request.urlopen(request, timeout=20) as response:
                self.answer(response.status, response.read())
        except urllib.error.HTTPError as refusal:
            self.answer(refusal.code, refusal.read())

    def answer(self, status, body):
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def run(text, language, gateway, desk, folder, secret=CREDENTIALS.secret_key):
    """Runs a program as a person does, who mistypes the code once. Returns its exit code and output."""
    name, command, _ = CLIENTS[language]
    file = folder / name
    file.write_text(text)
    modules = os.environ.get("OTP_E2E_CLIENTS")
    if modules and not (folder / "node_modules").exists():
        (folder / "node_modules").symlink_to(Path(modules) / "node_modules")
    process = subprocess.Popen(
        [*command, str(file)],
        cwd=folder,
        env={
            **os.environ,
            "OTP_API": gateway.url,
            "AWS_ACCESS_KEY_ID": CREDENTIALS.access_key,
            "AWS_SECRET_ACCESS_KEY": secret,
            "AWS_SESSION_TOKEN": CREDENTIALS.token,
            "AWS_REGION": REGION,
        },
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        bufsize=0,
    )
    watch = threading.Timer(60, process.kill)
    watch.start()
    try:
        said = until(process, b"Number: ")
        process.stdin.write(f"{NUMBER}\n".encode())
        said += until(process, b"Code: ")
        if said.endswith(b"Code: "):
            code = desk.inbox()[0]["code"]
            wrong = "000000" if code != "000000" else "111111"
            process.stdin.write(f"{wrong}\n".encode())
            said += until(process, b"Code: ")
            process.stdin.write(f"{code}\n".encode())
        said += process.stdout.read()
        return process.wait(), said.decode()
    finally:
        watch.cancel()
        process.kill()
        process.wait()


def until(process, prompt):
    """The output up to a prompt, or to its end."""
    said = b""
    while not said.endswith(prompt):
        piece = process.stdout.read(1)
        if not piece:
            break
        said += piece
    return said


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    # Each program sends to the same number.
    with Desk(tmp_path_factory.mktemp("desk"), "SEND_LIMITS=20/1s", "REFERENCE_ID=random") as desk:
        yield desk


def needs(language):
    command = CLIENTS[language][1][0]
    if not shutil.which(command):
        pytest.skip(f"{command} is not installed")
    if language == "js" and not os.environ.get("OTP_E2E_CLIENTS"):
        pytest.skip("the packages of the Node program are not installed")


def verifies(text, language, is_open, desk, folder):
    with Gateway(desk.api_url, is_open) as gateway:
        code, said = run(text, language, gateway, desk, folder)
    assert code == 0 and "invalid_code 2" in said and said.endswith("Verified.\n"), said
    assert gateway.passed == ["/otp/send", "/otp/verify", "/otp/verify"]
    assert gateway.keys[0] and gateway.keys[1:] == [None, None]


@pytest.mark.parametrize("language", SIGNED)
def test_a_signed_program_verifies_a_number(language, desk, tmp_path):
    needs(language)
    verifies(program(language), language, False, desk, tmp_path)


@pytest.mark.parametrize("language", CLIENTS)
def test_a_program_for_the_open_mode_verifies_a_number(language, desk, tmp_path):
    needs(language)
    text = program(language)
    for old, new in CLIENTS[language][2]:
        text, found = re.subn(old if "\\" in old else re.escape(old), new, text)
        assert found == 1, old
    verifies(text, language, True, desk, tmp_path)


@pytest.mark.parametrize("language", SIGNED)
def test_a_program_with_another_key_is_refused(language, desk, tmp_path):
    """The control of the signatures."""
    needs(language)
    with Gateway(desk.api_url, False) as gateway:
        _, said = run(program(language), language, gateway, desk, tmp_path, secret="another")
    assert gateway.passed == [] and "Forbidden" in said and "Verified" not in said


def test_the_code_for_amplify_signs_in_at_the_pool_of_the_desk(tmp_path):
    needs("js")
    with Desk(tmp_path) as desk:
        client = "1desk23client45of67pool890"
        done = amplify.sign_in(tmp_path, os.environ["OTP_E2E_CLIENTS"], desk.url, desk.url, "us-east-1_DeskPool1", client, NUMBER)
        assert done["shown"] == ["We sent a code to +*******42"] and done["left"] == "2" and done["step"] == "DONE", done
        assert done["token"]["client_id"] == client and done["token"]["iss"] == f"{desk.url}/us-east-1_DeskPool1"
        assert len(desk.inbox()) == 1


def test_the_page_names_every_program():
    rows = re.findall(r"^\| \[(\w+)\]\(#\w+\) \|.*\| (.+) \|$", PAGE, re.M)
    # test_generated.py compiles the call of a generated client (ts).
    fences = [name for name in re.findall(r"^```(\w+)$", PAGE, re.M) if name not in ("sh", "ts")]
    assert [name for name, _ in rows] == ["Node", "Python", "PHP", "Go", "Kotlin"]
    assert fences == ["js", "python", "php", "go", "kotlin"]
    not_run = [name for name, run in rows if run.startswith("no")]
    assert not_run == ["Kotlin"] and set(CLIENTS) == set(fences) - {"kotlin"}
