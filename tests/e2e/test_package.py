"""Tests of what `make package` packs, from a binary that is there already: the folder is checked, and its template is deployed
to an emulated AWS without Rust and without `sam build`.

    target/e2e/sam/bin/python -m pytest tests/e2e/test_package.py

OTP_E2E_BOOTSTRAP is the packaged program.
"""

import base64
import hashlib
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from cloud import E2E, ROOT, Cloud
from samtranslator.yaml_helper import yaml_parse
from test_deploy import client, edited, outputs, program, sends, skip, write

sys.path.insert(0, str(ROOT / "deploy"))
import package  # noqa: E402

TEMPLATE = (ROOT / "template.yaml").read_text()


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    """The folder, with the same binary for both processors."""
    folder = tmp_path_factory.mktemp("package") / "package"
    binary = program("OTP_E2E_BOOTSTRAP", "otp-lambda")
    package.pack(folder, dict.fromkeys(package.ARCHITECTURES, binary), {"bomFormat": "CycloneDX"})
    return folder


def test_the_folder_has_all_that_a_deployment_needs_and_its_sums(packed):
    names = {f"otp-lambda-{it}.zip" for it in package.ARCHITECTURES} | {f"template-{it}.yaml" for it in package.ARCHITECTURES}
    names |= {"otp-lambda-config.zip", "otp-lambda.cdx.json", "settings.example.yaml", "SHA256SUMS"}
    assert {file.name for file in packed.iterdir()} == names
    checked = subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=packed, capture_output=True, text=True)
    assert checked.returncode == 0 and checked.stdout.count(": OK\n") == len(names) - 1, checked.stderr


def test_a_zip_has_one_executable_and_equal_contents_make_equal_zips(packed, tmp_path):
    with zipfile.ZipFile(packed / "otp-lambda-arm64.zip") as it:
        (entry,) = it.infolist()
        data = it.read(entry)
    assert entry.filename == "bootstrap" and entry.external_attr >> 16 == 0o100755
    assert data == program("OTP_E2E_BOOTSTRAP", "otp-lambda").read_bytes()
    with zipfile.ZipFile(packed / "otp-lambda-config.zip") as it:
        assert it.namelist() == ["otp-lambda.json"]
    config = {"otp-lambda.json": ((ROOT / "config" / "otp-lambda.json").read_bytes(), 0o644)}
    package.zipped(tmp_path / "again.zip", config)
    sums = {hashlib.sha256(file.read_bytes()).digest() for file in (packed / "otp-lambda-config.zip", tmp_path / "again.zip")}
    assert len(sums) == 1


@pytest.mark.parametrize("architecture", package.ARCHITECTURES)
def test_the_released_template_is_the_template_without_comments(architecture):
    found, source = yaml_parse(package.released(TEMPLATE, architecture)), yaml_parse(TEMPLATE)
    function, layer = (source["Resources"][name] for name in ("Function", "Config"))
    function.pop("Metadata")
    function["Properties"]["CodeUri"] = f"otp-lambda-{architecture}.zip"
    layer["Properties"]["ContentUri"] = "otp-lambda-config.zip"
    source["Parameters"]["Architecture"].update(Default=architecture, AllowedValues=[architecture])
    assert found == source


def test_the_list_of_crates_has_what_is_shipped_and_nothing_else():
    if not os.environ.get("OTP_E2E_CYCLONEDX"):
        skip("needs cargo-cyclonedx, which tests/e2e/setup.sh installs")
    crates = package.sbom()
    assert crates["bomFormat"] == "CycloneDX"
    version = tomllib.loads((ROOT / "Cargo.toml").read_text())["package"]["version"]
    assert (crates["metadata"]["component"]["name"], crates["metadata"]["component"]["version"]) == ("otp-lambda", version)
    found = {(it["name"], it["version"]) for it in crates["components"]}
    tree = ["cargo", "tree", "--package", "otp-lambda", "--edges", "normal", "--prefix", "none", "--format", "{p}"]
    tree += ["--target", "aarch64-unknown-linux-gnu"]
    lines = subprocess.run(tree, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    shipped = {re.match(r"(\S+) v(\S+)", line).groups() for line in lines if line} - {("otp-lambda", version)}
    assert shipped <= found, shipped - found
    assert not {name for name, _ in found} & {"simulator", "model", "stateright", "proptest"}
    assert all(it.get("licenses") and it.get("purl") for it in crates["components"])
    # The files beside the manifests are gone.
    assert not list(ROOT.glob("*/otp-lambda-package.json")) + list(ROOT.glob("otp-lambda-package.json"))


def without_rust(folder):
    """A PATH with SAM alone: no cargo, no zig, no compiler."""
    folder.mkdir()
    (folder / "sam").symlink_to(E2E / "sam" / "bin" / "sam")
    return str(folder)


@pytest.mark.parametrize("architecture", package.ARCHITECTURES)
def test_sam_accepts_the_released_template(packed, tmp_path, architecture):
    command = ["sam", "validate", "--lint", "--region", "us-east-1", "--template-file", packed / f"template-{architecture}.yaml"]
    variables = {"PATH": without_rust(tmp_path / "bin"), "HOME": str(tmp_path), "SAM_CLI_TELEMETRY": "0"}
    done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_package_is_deployed_without_a_toolchain(packed, tmp_path):
    program("OTP_E2E_SIMULATOR", "simulator")
    if not (E2E / "ministack" / ".ready").exists():
        skip("needs MiniStack, which tests/e2e/setup.sh installs")
    # The one change of the package: MiniStack mounts no layers.
    template = packed / "template-x86_64.yaml"
    mounted, there = "/opt/otp-lambda.json", ROOT / "config" / "otp-lambda.json"
    text = template.read_text()
    assert text.count(f"CONFIG_FILE: {mounted}") == 1
    changed = packed / "template-emulated.yaml"
    changed.write_text(text.replace(f"CONFIG_FILE: {mounted}", f"CONFIG_FILE: {there}"))
    settings = write(tmp_path, edited(Architecture="x86_64"))
    with Cloud() as cloud:
        # As docs/deploy.md has it.
        command = ["sam", "deploy", "--template-file", changed, "--stack-name", "otp-lambda", "--resolve-s3"]
        command += ["--capabilities", "CAPABILITY_IAM", "--parameter-overrides", f"file://{settings}"]
        variables = cloud.environment() | {"PATH": without_rust(tmp_path / "bin"), "HOME": str(tmp_path)}
        done = subprocess.run(command, env=variables, cwd=packed, capture_output=True, text=True, timeout=240)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr + cloud.output()
        assert sends(cloud, "+14255560170")
        function = client(cloud, "lambda").get_function_configuration(FunctionName=outputs(cloud)["FunctionName"])
        assert function["Architectures"] == ["x86_64"]
        zip_sum = hashlib.sha256((packed / "otp-lambda-x86_64.zip").read_bytes()).digest()
        assert function["CodeSha256"] == base64.b64encode(zip_sum).decode()
        # The control: the other zip's template refuses these settings.
        other = [it if it != changed else packed / "template-arm64.yaml" for it in command]
        other[other.index("otp-lambda")] = "other"
        done = subprocess.run(other, env=variables, cwd=packed, capture_output=True, text=True, timeout=240)
        assert done.returncode != 0 and "Architecture" in done.stdout + done.stderr, done.stdout[-2000:] + done.stderr
