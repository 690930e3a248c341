"""Tests of the package that `sam build` makes, without running it.

    target/e2e/sam/bin/python -m pytest tests/e2e/test_build.py
"""

import json
import os
import re
import struct
import tomllib
from pathlib import Path

import pytest
from samcli.yamlhelper import yaml_parse

ROOT = Path(__file__).resolve().parents[2]
BUILT = ROOT / ".aws-sam" / "build" / "Function"

# ELF machine numbers.
MACHINES = {62: "x86_64", 183: "arm64"}


@pytest.fixture
def bootstrap():
    file = BUILT / "bootstrap"
    if not file.exists():
        reason = "needs the package: run `sam build`"
        if os.environ.get("OTP_SKIP_NOTHING") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    return file.read_bytes()


def test_package_is_one_linux_executable(bootstrap):
    assert [file.name for file in BUILT.iterdir()] == ["bootstrap"]
    assert os.access(BUILT / "bootstrap", os.X_OK)
    assert bootstrap[:5] == b"\x7fELF\x02"
    machine = MACHINES.get(struct.unpack_from("<H", bootstrap, 18)[0])
    assert machine == os.environ.get("OTP_E2E_ARCHITECTURE", machine)
    assert machine is not None


def test_layer_has_only_the_price_file(bootstrap):
    # Lambda mounts the top of a layer at /opt.
    built = yaml_parse((BUILT.parent / "template.yaml").read_text())["Resources"]
    layer = (BUILT.parent / built["Config"]["Properties"]["ContentUri"]).resolve()
    assert [file.name for file in layer.iterdir()] == ["otp-lambda.json"]
    prices = json.loads((layer / "otp-lambda.json").read_text())
    # A price for SMS, calls and WhatsApp to every country.
    assert list(prices) == ["prices"] and all(prices["prices"][name] > 0 for name in ("*", "*/voice", "*/whatsapp"))
    functions = yaml_parse((BUILT.parent / "template.yaml").read_text())["Globals"]["Function"]
    assert functions["Layers"] == [{"Ref": "Config"}]
    assert functions["Environment"]["Variables"]["CONFIG_FILE"] == "/opt/otp-lambda.json"


def test_both_functions_have_the_package(bootstrap):
    built = yaml_parse((BUILT.parent / "template.yaml").read_text())["Resources"]
    for name in ("Function", "Triggers"):
        package = (BUILT.parent / built[name]["Properties"]["CodeUri"]).resolve()
        assert (package / "bootstrap").read_bytes() == bootstrap, name


def test_binary_needs_no_newer_c_library_than_amazon_linux_2023_has(bootstrap):
    # If a binary is linked with a newer C library than Lambda has, the binary passes every other test but does not start on
    # Lambda. cargo-lambda therefore uses zig to link the binary with an older library.
    needed = {tuple(map(int, version.split(b"."))) for version in re.findall(rb"GLIBC_(\d+\.\d+)", bootstrap)}
    assert all(version <= (2, 34) for version in needed), max(needed)
    # Only the C library: Lambda's system has no OpenSSL.
    libraries = set(re.findall(rb"\0(lib[\w+-]+)\.so[.\d]*(?=\0)", bootstrap))
    assert libraries <= {b"libc", b"libm", b"libpthread", b"libdl", b"librt", b"libgcc_s"}, libraries


def test_release_profile_leaves_no_defaults_to_cargo_lambda():
    # If the profile in Cargo.toml leaves a value out, cargo-lambda sets this value. If the profile left panic out,
    # cargo-lambda would set panic = "abort", and then one panic would end the execution environment.
    profile = tomllib.loads((ROOT / "Cargo.toml").read_text())["profile"]["release"]
    assert {"strip", "lto", "codegen-units", "panic"} <= set(profile)
    assert profile["panic"] == "unwind"
