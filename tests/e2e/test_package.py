"""Tests of the files that `make package` packs. The function is not built: a binary that already exists is packed. Then
the folder is checked, and its template is deployed to an emulated AWS, without Rust and without `sam build`.

    target/e2e/sam/bin/python -m pytest tests/e2e/test_package.py

OTP_E2E_BOOTSTRAP is the packaged program.
"""

import base64
import hashlib
import json
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import test_template
from cloud import E2E, ROOT, Cloud
from samtranslator.yaml_helper import yaml_parse
from test_deploy import client, edited, outputs, program, sends, settings, skip, write

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
    names |= {"otp-lambda-config.zip", "otp-lambda-release.zip", "delivery-door.yaml", "delivery.yaml", "domain.yaml", "firewall.yaml", "monitoring.yaml", "otp-lambda.cdx.json", "settings.example.yaml", "SHA256SUMS"}
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
def test_the_released_template_is_the_template_without_comments(packed, architecture):
    found, source = yaml_parse((packed / f"template-{architecture}.yaml").read_text()), yaml_parse(TEMPLATE)
    resources = source["Resources"]
    for name in ("Function", "Triggers"):
        resources[name].pop("Metadata")
        resources[name]["Properties"]["CodeUri"] = f"otp-lambda-{architecture}.zip"
    resources["Config"]["Properties"]["ContentUri"] = "otp-lambda-config.zip"
    source["Parameters"]["Architecture"].update(Default=architecture, AllowedValues=[architecture])
    # The program in it is a zip, too.
    program_text = resources["ReleaseFunction"]["Properties"]["Code"]["ZipFile"]
    resources["ReleaseFunction"]["Properties"]["Code"] = "otp-lambda-release.zip"
    with zipfile.ZipFile(packed / "otp-lambda-release.zip") as it:
        assert it.read("index.py").decode() == program_text
    for name in ("Firewall", "Domain", "Monitor", "Delivery", "DeliveryDoor"):
        part = resources[name]["Properties"]["TemplateURL"]
        assert yaml_parse((ROOT / part).read_text()) == yaml_parse((packed / Path(part).name).read_text())
        resources[name]["Properties"]["TemplateURL"] = Path(part).name
    # Variables that are set only on this machine are left out.
    variables = source["Globals"]["Function"]["Environment"]["Variables"]
    local = [name for name, value in variables.items() if value == {"Ref": "AWS::NoValue"}]
    assert local and all(name.startswith("AWS_ENDPOINT_URL_") and variables.pop(name) for name in local)
    # The function checks some rules at its start.
    assert all(source["Rules"].pop(name) for name in package.CHECKED_AT_THE_START)
    # The values of a release are one text.
    here, there = (it["Release"]["Properties"].pop("Values") for it in (resources, found["Resources"]))
    text, *others = there
    named = [it for it in here if it not in others]
    assert text == {"Fn::Sub": ";".join("${%s}" % (it.get("Ref") or ".".join(it["Fn::GetAtt"])) for it in named)}
    assert others == [it for it in here if "Fn::If" in it] and len(named) + len(others) == len(here) > 50
    # The groups of parameters have shorter names.
    here, there = (it["Metadata"].pop("AWS::CloudFormation::Interface")["ParameterGroups"] for it in (source, found))
    assert [it["Parameters"] for it in here] == [it["Parameters"] for it in there]
    assert all(one["Label"]["default"].split(":")[0] == other["Label"]["default"] for one, other in zip(here, there))
    # Outputs have no descriptions, those of parameters and their values are shorter, and patterns are written in another way.
    for it in source["Outputs"].values():
        it.pop("Description")
    for it in source["Parameters"].values():
        if "ConstraintDescription" in it:
            it["ConstraintDescription"] = it["ConstraintDescription"].removeprefix("must be ")
    for name in ("Description", "AllowedPattern"):
        for key, it in source["Parameters"].items():
            here, there = it.pop(name, ""), found["Parameters"][key].pop(name, "")
            assert there and len(there) <= len(here) if here else not there, key
            assert name == "AllowedPattern" or here.startswith(there), key
    assert found == source


# The values that test_template.py has the parameters accept and refuse.
(VALUES,) = (it.args[1] for it in test_template.test_parameters_accept_valid_values_only.pytestmark if it.name == "parametrize")


def test_the_released_patterns_accept_the_same_values():
    released = package.released(yaml_parse(TEMPLATE), "arm64")["Parameters"]
    patterns = {name: it["AllowedPattern"] for name, it in yaml_parse(TEMPLATE)["Parameters"].items() if "AllowedPattern" in it}
    changed = {name for name, it in patterns.items() if released[name]["AllowedPattern"] != it}
    assert len(changed) >= 12
    good = {name: values for name, values, _ in VALUES}
    for name in changed:
        # Also lists of what is accepted, with separators where none belong.
        items = [it for it in good[name] if it]
        values = {value for _, *both in VALUES for some in both for value in some}
        values |= {f"{a}{sep}{b}" for a in items for b in [*items, "", "x", "*"] for sep in (",", ";", ",,", " ,", ", ", ";;")}
        values |= {f"{sep}{it}" for it in items for sep in (",", ";")} | {f"{it}{it}" for it in items}
        for value in values:
            before, after = (bool(re.search(it, value)) for it in (patterns[name], released[name]["AllowedPattern"]))
            assert before == after, (name, value)


LIMITS = [{"AllowedCountries": "*"}, *({name: "none"} for name in ("PrefixLimits", "SourceLimits", "SourceNetworkLimits", "Budgets"))]
TOKENS = {"ApiAuth": "jwt", "JwtIssuer": "https://example.com", "JwtAudiences": "app"}

# For each rule that the released template lacks, values that break each of its assertions.
BREAKING = {
    "BothDltIdsOrNone": [{"DltEntityId": "1101"}, {"DltTemplateId": "1107"}],
    "DeliveryEventsHaveAConfigurationSet": [{"DeliveryEvents": "on", "PreviousProvider": "end-user-messaging"}],
    "ForeignCodesHaveDerivedReferences": [
        {"ForeignCodes": "on", "ReferenceId": "random"},
        {"ForeignCodes": "on", "ApiAuth": "none"},
        {"ForeignCodes": "on", **TOKENS},
    ],
    "SignUpHasReferencesThatNobodyCanCompute": [{"CognitoPreSignUp": "on"}, {"CognitoPreSignUp": "on", **TOKENS}],
    "StrangersOnlyWithinLimits": [{**access, **it} for access in ({"ApiAuth": "none"}, TOKENS) for it in LIMITS],
    "WhatPinpointTakes": [{"Language": "nl-NL"}, {"CodeLength": "4"}, {"ValidityPeriod": "4"}],
}


def test_the_function_refuses_what_the_left_out_rules_refuse():
    template = settings.Template()

    def broken(given):
        resolver = settings.Resolver(template.source["Conditions"], template.complete(given))
        return [
            (name, place)
            for name, rule in template.source["Rules"].items()
            if resolver.holds(rule.get("RuleCondition", {"Fn::And": []}))
            for place, it in enumerate(rule["Assertions"])
            if not resolver.holds(it["Assert"])
        ]

    def refused(given):
        return settings.judge_with(program("OTP_E2E_SETTINGS", "settings"), template.variables(given))

    usual = {name: str(it) for name, it in test_template.USUAL.items()}
    assert sorted(BREAKING) == sorted(package.CHECKED_AT_THE_START)
    assert (broken(usual), refused(usual)) == ([], [])
    for rule, cases in BREAKING.items():
        found = set()
        for given in ({**usual, **case} for case in cases):
            ((name, place),) = broken(given)
            assert name == rule and refused(given), given
            found.add(place)
        assert len(found) == len(template.source["Rules"][rule]["Assertions"]), rule


# CloudFormation takes a template of this size in a request, without a bucket.
LIMIT = 51_200


@pytest.mark.parametrize("architecture", package.ARCHITECTURES)
def test_the_released_template_fits_into_a_request(packed, architecture):
    size = (packed / f"template-{architecture}.yaml").stat().st_size
    assert size < LIMIT, f"{size} bytes: move a part into deploy/parts/"
    # The control: the template with its comments does not fit.
    assert len(TEMPLATE.encode()) > LIMIT


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
        # The command of docs/deploy.md.
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
        # This stack has every option that an organization may ask for, except the firewall. The domain is a stack of its own.
        # MiniStack lacks a resource that the firewall needs, WebACLAssociation. The firewall is therefore only linted, and
        # not deployed here.
        key = client(cloud, "kms").create_key()["KeyMetadata"]["Arn"]
        everything = {"Cognito": "new", "CognitoTier": "LITE", "CognitoDeletionProtection": "on"}
        everything |= {"DomainName": "otp.example.com", "DomainCertificateArn": test_template.CERTIFICATE, "KmsKeyArn": key}
        everything |= {"PointInTimeRecovery": "on", "Monitoring": "full"}
        write(tmp_path, edited(Architecture="x86_64", **everything))
        done = subprocess.run(command, env=variables, cwd=packed, capture_output=True, text=True, timeout=240)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr + cloud.output()
        found = outputs(cloud)
        assert found["DomainTarget"]
        table = client(cloud, "dynamodb").describe_table(TableName=found["LedgerTable"])["Table"]
        assert table["SSEDescription"]["KMSMasterKeyArn"] == key
        pool = client(cloud, "cognito-idp").describe_user_pool(UserPoolId=found["CognitoUserPoolId"])["UserPool"]
        assert (pool["UserPoolTier"], pool["DeletionProtection"]) == ("LITE", "ACTIVE")
        watch = client(cloud, "cloudwatch")
        alarms = watch.describe_alarms()["MetricAlarms"]
        without_data = sorted(it["TreatMissingData"] for it in alarms)
        # Those of budgets stay as they are in a pause.
        assert without_data == 4 * ["ignore"] + 10 * ["notBreaching"]
        assert {tuple(it["AlarmActions"]) for it in alarms} == {(found["AlarmTopic"],)}
        (dashboard,) = watch.list_dashboards()["DashboardEntries"]
        shown = json.loads(watch.get_dashboard(DashboardName=dashboard["DashboardName"])["DashboardBody"])["widgets"]
        (rung,) = (it["properties"]["alarms"] for it in shown if it["type"] == "alarm")
        assert set(rung) == {it["AlarmArn"] for it in alarms}
        # The dimension that the function writes is the one that the dashboard asks for.
        variables_of = client(cloud, "lambda").get_function_configuration(FunctionName=found["FunctionName"])["Environment"]["Variables"]
        assert variables_of["METRICS"] == "full" and f'"ledger", "{variables_of["LEDGER_TABLE"]}"' in json.dumps(shown)
        assert sends(cloud, "+14255560171")
        # The control: the other zip's template refuses these settings.
        other = [it if it != changed else packed / "template-arm64.yaml" for it in command]
        other[other.index("otp-lambda")] = "other"
        done = subprocess.run(other, env=variables, cwd=packed, capture_output=True, text=True, timeout=240)
        assert done.returncode != 0 and "Architecture" in done.stdout + done.stderr, done.stdout[-2000:] + done.stderr
