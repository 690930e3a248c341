"""docs/openapi.yaml beside the desk, as schemathesis sees both.

    tests/e2e/with-tools.sh bash -c '"$OTP_E2E_SAM_PYTHON" -m pytest -q tests/e2e/test_contract.py'

schemathesis makes requests from the document, good ones and bad ones, and compares the responses with the document.
OTP_CONTRACT_EXAMPLES says how many it makes for each operation in its last phase.
"""

import json
import os
import subprocess
from pathlib import Path

import pytest
import yaml
from cloud import Desk

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = ROOT / "docs" / "openapi.yaml"
# The widest ranges, all channels and all members. All requests have the same address.
SETTINGS = (
    "PROVIDER=end-user-messaging",
    "CHANNELS=sms,voice,whatsapp",
    "WHATSAPP_TEMPLATE=verification_code",
    "DEVICE_TOKEN_DAYS=30",
    "SOURCE_LIMITS=none",
    "SOURCE_NETWORK_LIMITS=none",
    # As in contract_hooks.py, which needs schemathesis and cannot be imported here.
    "TEST_NUMBERS=+14255550100=012345@2099-12-31",
)


@pytest.fixture
def desk(tmp_path):
    with Desk(tmp_path, *SETTINGS) as desk:
        yield desk


def findings(document, desk, folder):
    """The checks that fail, each with the operation."""
    report = folder / "report.json"
    done = subprocess.run(
        [
            os.environ["OTP_E2E_SCHEMATHESIS"],
            "run",
            str(document),
            f"--url={desk.api_url}",
            "--phases=examples,coverage,fuzzing",
            f"--max-examples={os.environ.get('OTP_CONTRACT_EXAMPLES', 20)}",
            "--seed=18",
            "--continue-on-failure",
            "--generation-database=none",
            # This check measures seconds, which a busy machine needs more of.
            "--suppress-health-check=too_slow",
            # A good request can be refused: no schema can say which numbers exist, and a number has limits.
            "--exclude-checks=positive_data_acceptance",
            "--report=json",
            f"--report-json-path={report}",
            "--no-color",
        ],
        # schemathesis keeps files in the folder in which it runs.
        cwd=folder,
        env={**os.environ, "SCHEMATHESIS_HOOKS": "contract_hooks", "PYTHONPATH": str(Path(__file__).parent)},
        capture_output=True,
        text=True,
        timeout=1800,
    )
    assert report.exists(), done.stdout + done.stderr
    report = json.loads(report.read_text())
    assert report["errors"] == [] and report["operations"]["tested"] == 4, done.stdout
    return done, report


def test_schemathesis_finds_no_difference(desk, tmp_path):
    done, report = findings(DOCUMENT, desk, tmp_path)
    assert done.returncode == 0 and report["failures"] == [], done.stdout
    assert report["test_cases"]["generated"] > 300
    # The requests reached the ledger and the provider, and did not only fail early.
    lines = (json.loads(line) for line in desk.output().splitlines() if line.startswith("{"))
    seen = {(line.get("operation"), line.get("status")) for line in lines}
    reached = {("send", 202), ("status", 200), ("status", 404), ("cancel", 200), ("verify", 200), ("verify", 404)}
    assert reached <= seen, (reached - seen, seen)


def test_schemathesis_finds_a_false_promise(desk, tmp_path):
    """The control: each damage is found, by the check that is there for it."""
    document = yaml.safe_load(DOCUMENT.read_text())
    operations = {path.removeprefix("/otp/"): methods["post"] for path, methods in document["paths"].items()}
    schemas, responses = document["components"]["schemas"], document["components"]["responses"]
    # A member of the wrong type, in the response to a send.
    schemas["Sent"]["properties"]["expiresIn"] = {"type": "string"}
    # A range that is narrower than the program's.
    schemas["SendRequest"]["properties"]["allowedAttempts"]["maximum"] = 4
    # A status is lost.
    del operations["verify"]["responses"]["404"]
    # Problem documents have another content type.
    content = responses["NotFound"]["content"]
    content["application/json"] = content.pop("application/problem+json")
    # A header is promised that does not come.
    document["components"]["headers"]["IdempotencyKeyUsed"]["required"] = True
    damaged = tmp_path / "openapi.yaml"
    damaged.write_text(yaml.safe_dump(document))
    done, report = findings(damaged, desk, tmp_path)
    found = {(failure["type"], operation) for failure in report["failures"] for operation in failure["operations"]}
    expected = {
        ("JsonSchemaError", "POST /otp/send"),
        ("AcceptedNegativeData", "POST /otp/send"),
        ("UndefinedStatusCode", "POST /otp/verify"),
        ("UndefinedContentType", "POST /otp/status"),
        ("UndefinedContentType", "POST /otp/cancel"),
        ("MissingHeaders", "POST /otp/send"),
    }
    assert expected <= found, done.stdout
    assert {kind for kind, _ in expected} == {kind for kind, _ in found}, done.stdout
    assert done.returncode == 1
