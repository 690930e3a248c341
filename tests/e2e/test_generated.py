"""Clients that OpenAPI Generator makes from docs/openapi.yaml. TypeScript and Python call the desk, Rust compiles.

    tests/e2e/with-tools.sh bash -c '"$OTP_E2E_SAM_PYTHON" -m pytest -q tests/e2e/test_generated.py'
"""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from cloud import Desk
from test_deploy import skip

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = Path(__file__).parent / "generated"
NUMBER = "+14255550142"

# The words of each program after a send, a wrong code, the right code and a redeem.
SAID = {"expires": True, "refused": [422, "invalid_code", 2], "valid": True, "redeemed": True}


def tool(variable):
    return os.environ.get(variable) or skip(f"needs {variable}, which tests/e2e/setup.sh installs")


def run(*command, **options):
    done = subprocess.run([str(it) for it in command], capture_output=True, text=True, timeout=600, **options)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def generate(language, folder, *options):
    document = ROOT / "docs" / "openapi.yaml"
    run(tool("OTP_E2E_GENERATOR"), "generate", "--generator-name", language, "--input-spec", document, "--output", folder, *options)
    return folder


def says(folder, *command, **variables):
    """The last words of a program that calls the desk."""
    with Desk(folder, "ALLOWED_COUNTRIES=US") as desk:
        said = run(*command, desk.api_url, desk.url, NUMBER, env=os.environ | variables)
    return json.loads(said)


def test_the_typescript_client_verifies_a_number(tmp_path):
    generate("typescript-fetch", tmp_path / "client", "--additional-properties", "importFileExtension=.js")
    shutil.copy(PROGRAMS / "client.ts", tmp_path)
    (tmp_path / "package.json").write_text('{"type": "module"}')
    tsc = Path(tool("OTP_E2E_CLIENTS")) / "node_modules" / "typescript" / "bin" / "tsc"
    checks = ["--strict", "--target", "es2022", "--module", "nodenext", "--lib", "es2022,dom"]
    run("node", tsc, *checks, "--outDir", "out", "client.ts", cwd=tmp_path)
    assert says(tmp_path, "node", tmp_path / "out" / "client.js") == SAID
    # The call on the page.
    (call,) = re.findall(r"```ts\n(.*?)```", (ROOT / "docs" / "clients.md").read_text(), re.S)
    call = call.replace('"./client"', '"./client/index.js"')
    (tmp_path / "page.ts").write_text(f"declare const accessToken: () => Promise<string>;\n{call}")
    run("node", tsc, *checks, "--noEmit", "page.ts", cwd=tmp_path)
    # The control: the types are those of the document.
    wrong = (PROGRAMS / "client.ts").read_text().replace("channel: 'sms'", "channel: 'fax'")
    (tmp_path / "client.ts").write_text(wrong)
    with pytest.raises(AssertionError, match="'\"fax\"' is not assignable"):
        run("node", tsc, *checks, "--noEmit", "client.ts", cwd=tmp_path)


def test_the_python_client_verifies_a_number(tmp_path):
    client = generate("python", tmp_path / "client")
    python = Path(tool("OTP_E2E_GENERATOR")).parent / "python"
    assert says(tmp_path, python, PROGRAMS / "client.py", PYTHONPATH=str(client)) == SAID


def test_the_rust_client_compiles(tmp_path):
    # The folder is outside the project. Inside it, Cargo would take the client for a member of the project's workspace.
    client = generate("rust", tmp_path / "client")
    shutil.copy(PROGRAMS / "Cargo.lock", client)
    built = {"CARGO_TARGET_DIR": str(ROOT / "target" / "e2e-generated")}
    # Started in the project, so that its compiler is used.
    options = ["--quiet", "--locked", "--no-default-features", "--manifest-path", client / "Cargo.toml"]
    run("cargo", "check", *options, cwd=ROOT, env=os.environ | built)


@pytest.mark.parametrize(("language", "file"), [("kotlin", "SendRequest.kt"), ("swift6", "SendRequest.swift")])
def test_clients_for_phones_are_generated(tmp_path, language, file):
    (found,) = generate(language, tmp_path).rglob(file)
    assert "destinationNumber" in found.read_text()
