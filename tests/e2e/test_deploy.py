"""Tests of `make settings`, `make deploy` and `make destroy`: of settings files without AWS, and of deployments to an emulator.

    target/e2e/sam/bin/python -m pytest tests/e2e/test_deploy.py

OTP_E2E_BOOTSTRAP is the packaged program, and OTP_E2E_SETTINGS the program that judges settings.
"""

import json
import os
import pty
import re
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import boto3
import pytest
import test_template
import yaml
from cloud import E2E, REGION, ROOT, Cloud, package

sys.path.insert(0, str(ROOT / "deploy"))
import deploy  # noqa: E402
import settings  # noqa: E402

EXAMPLE = (ROOT / "docs" / "settings.example.yaml").read_text()
FIVE = ["Provider", "BrandName", "AllowedCountries", "OriginationIdentity", "SmsOriginationArns"]
PHONE = "arn:aws:sms-voice:us-east-1:123456789012:phone-number/phone-0123456789abcdef"


def skip(reason):
    if os.environ.get("OTP_SKIP_NOTHING") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


def program(variable, name):
    found = Path(os.environ.get(variable) or ROOT / "target" / "debug" / name)
    if not found.exists():
        skip(f"needs {found}: run `cargo test --workspace --no-run`")
    return found


def edited(text=EXAMPLE, **values):
    """A settings file with other values."""
    for name, value in values.items():
        text, count = re.subn(rf"(?m)^{name}: .*$", lambda _: f"{name}: {json.dumps(value)}", text)
        assert count == 1, name
    return text


# --- settings files -------------------------------------------------------------------------------------------------


def write(folder, text):
    file = folder / "settings.yaml"
    file.write_text(text)
    return file


def judged(folder, text):
    """The problems of a settings file."""
    judge = program("OTP_E2E_SETTINGS", "settings")
    return settings.problems(settings.read(write(folder, text)), settings.Template(), lambda it: settings.judge_with(judge, it))


def test_the_example_has_every_parameter_once_with_its_default():
    given = yaml.safe_load(EXAMPLE)
    parameters = test_template.template()["Parameters"]
    assert list(given)[:5] == FIVE
    assert sorted(given) == sorted(parameters)
    others = {name: str(it["Default"]) for name, it in parameters.items() if name not in FIVE}
    assert {name: given[name] for name in others} == others
    assert len(re.findall(r"(?m)^\w+:", EXAMPLE)) == len(parameters)


def test_the_example_can_be_deployed(tmp_path):
    assert judged(tmp_path, EXAMPLE) == []


@pytest.mark.parametrize("variant", test_template.VARIANTS)
def test_variables_are_those_of_the_deployed_function(variant):
    given = {**test_template.USUAL, **test_template.VARIANTS[variant]}
    # With the empty ones: their names count against the limit.
    expected = test_template.function_of(test_template.deployed(**given))["Environment"]["Variables"]
    found = settings.Template().variables(given)
    for name in ("LEDGER_TABLE", "LEDGER_KEY"):
        assert expected.pop(name) and found.pop(name)
    assert bool(expected.pop("DELIVERY_TOPIC", "")) == bool(found.pop("DELIVERY_TOPIC", ""))
    assert found == expected


@pytest.mark.parametrize(
    "values, says",
    [
        ({"OriginationIdentities": "US=+1,US=+2"}, ["OriginationIdentities names US twice."]),
        ({"AllowedCountries": "US,XX"}, ["AllowedCountries must be country codes such as `US,CA`, or `*`: `XX`"]),
        ({"SendLimits": "1/30d,2/31d"}, ["SendLimits must be counts and windows"]),
        ({"TestNumbers": "+14255550100=123456@2026-02-31"}, ["TestNumbers must be `NUMBER=CODE@DATE`"]),
        # By the template alone.
        ({"AllowedOrigins": "https://example.com"}, ["With ApiAuth iam, AllowedOrigins must be empty"]),
        ({"LogRetentionDays": "2"}, ["LogRetentionDays must be 1 or 3 or 5"]),
        ({"SmsOriginationArns": "*"}, ["SmsOriginationArns must be empty or sms-voice ARNs"]),
        ({"Provider": ""}, ["Provider must be end-user-messaging or pinpoint"]),
        ({"Provider": "pinpoint"}, ["The provider pinpoint needs a PinpointApplicationId", "SmsOriginationArns must be empty"]),
        # All problems at once, one for each setting.
        (
            {"BrandName": "a" * 21, "SendLimits": "2/31d", "Budgets": "5", "CodeLength": "9"},
            ["BrandName must be 1 to 20", "Budgets must be none", "CodeLength must be a whole", "SendLimits must be counts"],
        ),
    ],
    ids=repr,
)
def test_every_problem_is_reported_before_anything_is_deployed(tmp_path, values, says):
    found = judged(tmp_path, edited(**values))
    assert len(found) == len(says), found
    for sentence in says:
        assert any(sentence in it for it in found), (sentence, found)
    # No sentence has the test number or its code.
    assert not re.search(r"4255550100|123456@", " ".join(found))


@pytest.mark.parametrize(
    "before, after, says",
    [
        ('"+12065550100"', "+12065550100", "put the value of OriginationIdentity in quotes"),
        ('AllowedCountries: "US,CA"', "AllowedCountries: NO", "put the value of AllowedCountries in quotes"),
        ('CountryLimits: ""', "CountryLimits:", 'put the value of CountryLimits in quotes ("" for empty)'),
        ('AllowedCountries: "US,CA"', "AllowedCountries: [US, CA]", "AllowedCountries must be one value in quotes"),
        ('Source: "otp"', 'Source: "otp"\nSource: "sign-in"', "Source is there twice"),
        ('Source: "otp"', 'Source: "otp', "this is not YAML"),
    ],
)
def test_a_file_that_yaml_reads_in_another_way_is_refused(tmp_path, before, after, says):
    assert EXAMPLE.count(before) == 1
    with pytest.raises(settings.Unusable, match=re.escape(says)):
        settings.read(write(tmp_path, EXAMPLE.replace(before, after)))


def test_a_number_may_stand_without_quotes(tmp_path):
    assert judged(tmp_path, EXAMPLE.replace('CodeLength: "6"', "CodeLength: 8")) == []


def test_missing_and_unknown_settings_are_named(tmp_path):
    found = judged(tmp_path, 'Budget: "5/1h"\nProvider: "end-user-messaging"\n')
    assert found[0] == "Budget is not a setting. Did you mean Budgets?"
    missing = {it.split()[0] for it in found if " is missing. " in it}
    assert missing == {"BrandName", "AllowedCountries", "OriginationIdentity"}


def test_a_variable_without_a_value_is_not_set():
    assert "ORIGINATION_IDENTITY" not in settings.Template().variables({"Provider": "pinpoint"})


# --- make -----------------------------------------------------------------------------------------------------------


def make(path, *arguments):
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS", "OTP_E2E_"))}
    kept |= {"PATH": path, "OTP_SETTINGS": str(program("OTP_E2E_SETTINGS", "settings"))}
    done = subprocess.run(["make", *arguments], cwd=ROOT, env=kept, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def test_make_settings_judges_a_file(tmp_path):
    path = os.environ["PATH"]
    code, output = make(path, "settings", "SETTINGS=docs/settings.example.yaml")
    says = r"docs/settings.example.yaml is good: the function starts with it. Its variables take [0-9]{3,4} of 4096 bytes.\n"
    assert code == 0 and re.fullmatch(says, output), output
    code, output = make(path, "settings", f"SETTINGS={write(tmp_path, edited(AllowedCountries='US,XX'))}")
    assert code == 2 and "AllowedCountries must be country codes" in output and "Traceback" not in output
    code, output = make(path, "settings")
    assert code == 2 and "make settings SETTINGS=prod.yaml" in output


@pytest.mark.parametrize("target", ["settings", "build", "deploy", "destroy", "invoke-packaged"])
def test_without_python_the_commands_say_what_is_missing(tmp_path, target):
    for name in "make bash env dirname mkdir cat tr grep uname chmod mv rm cut tail cksum".split():
        (tmp_path / name).symlink_to(shutil.which(name))
    # Nothing runs them before Python is looked for.
    for name in ("cargo", "rustup", "cc", "curl"):
        (tmp_path / name).symlink_to("/bin/false")
    code, output = make(str(tmp_path), target)
    assert code == 2 and "Python 3.10 or later is missing" in output and "make run needs Rust alone" in output, output
    assert "Traceback" not in output and "not found" not in output


def test_the_commands_that_deploy_install_sam_alone():
    recipes = (ROOT / "Makefile").read_text()
    for target in ("settings", "build", "deploy", "destroy", "invoke-packaged"):
        recipe = re.search(rf"(?m)^{target}: (.*)\n((?:\t.*\n)+)", recipes)
        assert "tools" not in recipe[1].split("##")[0], target
        assert re.findall(r"setup\.sh.*", recipe[2]) == ["setup.sh sam"], target


# --- Lambda's 4,096 bytes -------------------------------------------------------------------------------------------


# The longest values that the pages and the template allow, except for lists of any length.
LONGEST = {
    "Provider": "end-user-messaging",
    "PreviousProvider": "pinpoint",
    "PinpointApplicationId": "f" * 32,
    "OriginationIdentity": PHONE,
    "BrandName": "x" * 20,
    "AllowedNumberTypes": "mobile,fixed-or-mobile,fixed,voip,unassigned,toll-free,premium,shared-cost,personal,uan,pager,voicemail",
    "ApiAuth": "none",
    "Channels": "sms,whatsapp,voice",
    "CodeType": "alphanumeric",
    "WhatsAppTemplate": "x" * 64,
    "WebOtpDomain": f"{'a' * 63}.example.com",
    "AndroidAppHash": "FA+9qCX9VSu",
    "ConfigurationSet": "x" * 64,
    "DeliveryEvents": "on",
    "SendLimits": "1/30s,2/90s,3/10m,6/24h,20/30d",
    "PrefixLimits": "100000000/1h,100000000/24h",
    "SourceLimits": "100000000/10m,100000000/24h",
    "SourceNetworkLimits": "100000000/10m,100000000/24h",
    "MinCodeLength": "6",
    "MaxValidityPeriod": "60",
    "Budgets": "100000000USD/1h,100000000.50USD/24h",
    "Source": "x" * 128,
    "Language": "zh-Hant-TW",
    "ValidityPeriod": "60",
    "CognitoUnverifiedPhone": "refuse",
    "CognitoStepUp": "required",
    "CognitoLanguageAttribute": "x" * 64,
    "CognitoFloorMs": "3000",
    "CognitoShownNumber": "+4",
    "SignInShare": "90",
    "DeviceTokenDays": "365",
    "GuessRisk": "0.999999999999999999/30d",
    "Monitoring": "basic",
    "DltEntityId": "1" * 50,
    "DltTemplateId": "1" * 50,
}
# Lists that can grow, at lengths that a large service may have. All but TestNumbers can be in the packaged file.
LISTS = {
    "BrandNames": ";".join(["Acme, Inc. & Söhne"] * 5),
    "TrustedPrincipals": ",".join(["arn:aws:iam::123456789012:role/backend"] * 2),
    "AllowedCountries": ",".join(["US"] * 240),
    "ExtraPrefixes": ",".join(["+1357=US"] * 10),
    "WhatsAppLanguages": ",".join(["pt-BR"] * 20),
    "CountryLimits": ";".join(["JM=20/1h,5USD/24h"] * 10),
    "OriginationIdentities": ",".join(["GB/voice=+447700900000"] * 10),
    "TestNumbers": ",".join(["+14255550100=123456@2027-01-31"] * 2),
}


def size(**values):
    return settings.environment_size(settings.Template().variables(values, stack="s" * 64, region="ap-southeast-1"))


def test_the_longest_settings_fit_into_lambdas_environment():
    assert size(**LONGEST, **LISTS) <= settings.ENVIRONMENT_LIMIT
    # The page must have these two figures. Its words may change.
    page = (ROOT / "docs" / "deploy.md").read_text()
    assert f"{settings.ENVIRONMENT_LIMIT:,}" in page and f"{size(**LONGEST):,} bytes" in page
    # The control: a bit more does not.
    more = {**LISTS, "TestNumbers": ",".join(["+14255550100=123456@2027-01-31"] * 40)}
    assert size(**LONGEST, **more) > settings.ENVIRONMENT_LIMIT


def test_every_setting_is_as_long_as_it_can_be_or_a_list():
    """A new setting that can get long must be able to be in the packaged file."""
    variables = settings.Template().parameters_of_variables()
    counted = {*LONGEST, *LISTS}
    parameters = settings.Template().parameters
    for variable, name in variables.items():
        # The others are words or numbers of the template, of which the longest is in LONGEST or short.
        if name not in counted:
            longest = max(map(len, map(str, parameters[name].get("AllowedValues", [""]))))
            assert 0 < longest <= 24, f"{name} is neither in LONGEST nor in LISTS"
    page = (ROOT / "docs" / "settings.md").read_text().split("## Lists in the packaged file")[1].split("\n## ")[0]
    rows = dict(re.findall(r"(?m)^\| `(\w+)` \| `(\w+)` \|", page))
    assert {variables[name] for name in rows} == set(LISTS) - {"TestNumbers"}


def long_lists():
    """A packaged file with a country budget and an identity for every country, and many other entries."""
    table = (ROOT / "src" / "phone" / "countries.rs").read_text()
    countries = sorted(set(re.findall(r'\*b"([A-Z]{2})"', table)))
    assert len(countries) > 200, len(countries)
    return {
        "prices": {"*": 0.1},
        "allowedCountries": countries,
        "countryLimits": [f"{it}=200/1h,500.50USD/24h" for it in countries],
        "originationIdentities": [f"{it}/sms=+120655501{place:02}" for place, it in enumerate(countries)],
        "brandNames": [f"Brand, Inc. {place}" for place in range(200)],
        "trustedPrincipals": [f"arn:aws:iam::123456789012:role/backend-{place}" for place in range(100)],
        "whatsappLanguages": ["pt-BR"] * 60,
        "extraPrefixes": [f"+1{area}=US" for area in (357, 358)],
    }


def test_long_lists_are_in_the_packaged_file_and_take_no_bytes(tmp_path, monkeypatch):
    file = tmp_path / "otp-lambda.json"
    monkeypatch.setattr(settings, "PACKAGED", file)
    lists = long_lists()
    file.write_text(json.dumps(lists))
    assert judged(tmp_path, EXAMPLE) == []
    # The same in the settings file: too long for Lambda, and for a parameter of CloudFormation.
    (tmp_path / "otp-lambda.json").write_text('{"prices": {"*": 0.1}}')
    found = judged(tmp_path, edited(CountryLimits=";".join(lists["countryLimits"])))
    assert any("of the 4096" in it and "Long lists fit into" in it for it in found), found
    # An entry that the function does not take is reported by its parameter, and says where it is.
    file.write_text(json.dumps({"countryLimits": ["JM=20/2h"]}))
    (sentence,) = judged(tmp_path, EXAMPLE)
    assert sentence.startswith("CountryLimits ") and sentence.endswith("`countryLimits` in " + f"{tmp_path.name}/otp-lambda.json count too."), sentence


def test_an_overrun_is_refused_with_the_bytes(tmp_path):
    # 4,096 bytes are good, and one more is refused.
    def with_bytes(count):
        identities = ",".join(f"{a}{b}/sms=+44770090000" for a in "ABCDEFGHIJ" for b in "ABCDEFGHIJ")
        return edited(OriginationIdentities=identities[: count - len("US=")] if count > 3 else "")

    def of(count):
        variables = settings.Template().variables(settings.read(write(tmp_path, with_bytes(count))))
        return settings.environment_size(variables)

    room = settings.ENVIRONMENT_LIMIT - of(0)
    assert room > 1000

    def problems(length):
        given = settings.read(write(tmp_path, edited(OriginationIdentities="X" * length)))
        return [it for it in settings.problems(given, settings.Template(), lambda _: []) if "bytes" in it]

    assert problems(room) == []
    (sentence,) = problems(room + 1)
    assert "take 4097 bytes of the 4096" in sentence and "shorten them by 1 bytes" in sentence
    assert f"OriginationIdentities ({room + 1})" in sentence


# --- deployments ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cloud():
    program("OTP_E2E_SIMULATOR", "simulator")
    if not (E2E / "ministack" / ".ready").exists():
        skip("needs MiniStack, which tests/e2e/setup.sh installs")
    with Cloud() as it:
        yield it


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    return package(tmp_path_factory.mktemp("built") / "build", program("OTP_E2E_BOOTSTRAP", "otp-lambda"))


def run(cloud, built, *arguments, stack="otp-lambda", **variables):
    variables = {**variables, "STACK": stack, "OTP_BUILT": str(built)}
    variables.setdefault("OTP_SETTINGS", str(program("OTP_E2E_SETTINGS", "settings")))
    command = [E2E / "sam" / "bin" / "python", ROOT / "deploy" / "deploy.py", *arguments]
    done = subprocess.run(
        [str(part) for part in command],
        env=cloud.environment() | variables,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=240,
    )
    return done.returncode, done.stdout, done.stderr


def client(cloud, service):
    keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
    return boto3.client(service, endpoint_url=cloud.url, region_name=REGION, **keys)


def outputs(cloud, stack="otp-lambda"):
    (found,) = client(cloud, "cloudformation").describe_stacks(StackName=stack)["Stacks"]
    return {it["OutputKey"]: it["OutputValue"] for it in found["Outputs"]}


def live(cloud, stack="otp-lambda"):
    """The version that serves, and its variables."""
    aws, name = client(cloud, "lambda"), outputs(cloud, stack)["FunctionName"].removesuffix(":live")
    version = aws.get_alias(FunctionName=name, Name="live")["FunctionVersion"]
    configuration = aws.get_function_configuration(FunctionName=name, Qualifier=version)
    return version, configuration["Environment"]["Variables"]


def sends(cloud, number, stack="otp-lambda"):
    """Sends a code through the live version, and returns the text on the phone."""
    event = json.loads((ROOT / "events" / "send.http-v2.json").read_text())
    event["body"] = json.dumps({"destinationNumber": number})
    event["isBase64Encoded"] = False
    name = outputs(cloud, stack)["FunctionName"]
    answer = client(cloud, "lambda").invoke(FunctionName=name, Payload=json.dumps(event))
    response = json.loads(answer["Payload"].read())
    assert response.get("statusCode") == 202, response
    (text,) = [it["text"] for it in cloud.inbox() if it["to"] == number]
    return text


def test_a_second_deployment_changes_only_what_was_changed(cloud, built, tmp_path):
    first = edited(Budgets="400/1h,1000/24h", CountryLimits="JM=20/1h", LogRetentionDays="365")
    code, output, errors = run(cloud, built, "deploy", write(tmp_path, first), TAGS="team=login env=prod")
    assert code == 0, output[-3000:] + errors
    (stack,) = client(cloud, "cloudformation").describe_stacks(StackName="otp-lambda")["Stacks"]
    assert {it["Key"]: it["Value"] for it in stack["Tags"]} == {"team": "login", "env": "prod"}
    assert "creates the stack otp-lambda" in output
    before = live(cloud)
    assert "ExampleCorp" in sends(cloud, "+14255560141")

    # One value changed, and one emptied.
    second = edited(first, BrandName="Other", CountryLimits="")
    code, output, errors = run(cloud, built, "deploy", write(tmp_path, second))
    assert code == 0, output[-3000:] + errors
    words = output.split("This deployment to us-east-1:\n")[1].split("\n\n")[0].split("\n")
    assert [it.strip() for it in words if it.startswith("  ")] == [
        "changes BrandName from ExampleCorp to Other",
        "changes CountryLimits from JM=20/1h to nothing",
        "leaves TestNumbers empty",
    ]
    after = live(cloud)
    assert after[0] != before[0]
    expected = before[1] | {"BRAND_NAME": "Other", "COUNTRY_LIMITS": ""}
    assert after[1] == expected
    assert "Other" in sends(cloud, "+14255560142")


def update(cloud, **values):
    """An update as the console makes it: with the template that is there, and other values. Returns the end and its reasons."""
    cloudformation = client(cloud, "cloudformation")
    (stack,) = cloudformation.describe_stacks(StackName="otp-lambda")["Stacks"]
    names = {it["ParameterKey"] for it in stack["Parameters"]}
    parameters = [{"ParameterKey": name, "UsePreviousValue": True} for name in names - set(values)]
    parameters += [{"ParameterKey": name, "ParameterValue": value} for name, value in values.items()]
    acknowledged = ["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"]
    cloudformation.update_stack(
        StackName="otp-lambda", UsePreviousTemplate=True, Parameters=parameters, Capabilities=acknowledged
    )
    for _ in range(300):
        time.sleep(0.2)
        (stack,) = cloudformation.describe_stacks(StackName="otp-lambda")["Stacks"]
        if not stack["StackStatus"].endswith("IN_PROGRESS"):
            break
    events = cloudformation.describe_stack_events(StackName="otp-lambda")["StackEvents"]
    return stack["StackStatus"], " ".join(it.get("ResourceStatusReason", "") for it in events)


def test_a_change_in_the_console_is_served(cloud):
    before = live(cloud)
    status, reasons = update(cloud, Budgets="300/1h")
    assert status == "UPDATE_COMPLETE", reasons
    after = live(cloud)
    assert (before[1]["BUDGETS"], after[1]["BUDGETS"]) == ("400/1h,1000/24h", "300/1h")
    assert after[0] != before[0]


# Each value passes the template's patterns, but the program does not start with this value.
BAD = {
    "OriginationIdentities": ("US=+1,US=+2", "ORIGINATION_IDENTITIES names US twice."),
    "AllowedCountries": ("US,XX", "`XX` is not an ISO 3166-1 country code"),
    "SendLimits": ("1/30d,2/31d", "`2/31d` is not a count and window"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_update_never_takes_a_running_service_down(cloud, built, tmp_path, name):
    value, reason = BAD[name]
    before = live(cloud)
    # `make deploy` refuses the value, and deploys nothing.
    code, output, errors = run(cloud, built, "deploy", write(tmp_path, edited(**{name: value})))
    assert code == 1 and name in errors and output == "", output + errors
    # Somebody goes around `make deploy`.
    status, reasons = update(cloud, **{name: value})
    assert status == "UPDATE_ROLLBACK_COMPLETE"
    assert "The new version does not start, and the old one still serves." in reasons and reason in reasons
    assert live(cloud) == before
    assert sends(cloud, f"+1425556016{list(BAD).index(name)}")
    # A good update follows.
    status, reasons = update(cloud, Source=f"after-{name}")
    assert status == "UPDATE_COMPLETE", reasons
    assert live(cloud)[1] == before[1] | {"SOURCE": f"after-{name}"}


def test_without_the_release_a_bad_update_does_take_it_down(cloud, built, tmp_path):
    """The control: the alias moves to a version that nobody has started, and the stack says that all is well."""
    source = (built / "template.yaml").read_text()
    unchecked = package(tmp_path / "unchecked", built / "Function" / "bootstrap")
    edit = source.replace('if reserved != "0":', "if False:")
    assert edit != source
    (unchecked / "template.yaml").write_text(edit)
    judge = tmp_path / "judge"
    judge.write_text("#!/bin/sh\nexit 0\n")
    judge.chmod(0o755)
    file = write(tmp_path, edited(OriginationIdentities="US=+1,US=+2"))
    code, output, errors = run(cloud, unchecked, "deploy", file, OTP_SETTINGS=str(judge))
    # Only the invocation at the end of `make deploy` notices.
    assert code == 1 and "Successfully created/updated stack" in output, output[-3000:] + errors
    assert "its function does not start" in errors and "ORIGINATION_IDENTITIES names US twice" in errors


def test_without_a_terminal_nothing_is_asked(cloud, built, tmp_path):
    code, output, errors = run(cloud, built, "deploy", tmp_path / "absent.yaml")
    assert code == 1 and "cp docs/settings.example.yaml" in errors, output + errors


def converse(cloud, built, folder, *arguments, answers, stack):
    """Runs a command on a terminal, and answers each prompt. Returns the exit code and everything that was on the screen."""
    variables = {"STACK": stack, "OTP_BUILT": str(built), "OTP_SETTINGS": str(program("OTP_E2E_SETTINGS", "settings"))}
    command = [str(E2E / "sam" / "bin" / "python"), str(ROOT / "deploy" / "deploy.py"), *arguments]
    parent, child = pty.openpty()
    process = subprocess.Popen(
        command, env=cloud.environment() | variables, cwd=folder, stdin=child, stdout=child, stderr=child, close_fds=True
    )
    os.close(child)
    screen, answers, end = "", list(answers), time.time() + 240
    while time.time() < end:
        ready, _, _ = select.select([parent], [], [], 0.2)
        if ready:
            try:
                data = os.read(parent, 65536).decode(errors="replace")
            except OSError:
                break
            if not data:
                break
            screen += data
            if re.search(r"(> |\[y/N\] |to delete it: )$", screen) and answers:
                os.write(parent, (answers.pop(0) + "\n").encode())
        elif process.poll() is not None:
            break
    os.close(parent)
    assert answers == [], screen[-3000:]
    return process.wait(30), screen


def test_five_answers_make_the_file_and_a_sixth_deploys(cloud, built, tmp_path):
    # The second answer is too long, and the question is asked again.
    answers = ["pinpoint", "a brand that is much too long", "Example & Co", "US", "+12065550100", "0123456789abcdef" * 2, "y"]
    code, screen = converse(cloud, built, tmp_path, "deploy", answers=answers, stack="asked")
    assert code == 0, screen[-3000:]
    for name in ("TestNumbers:", "Budgets:"):
        assert name not in screen
    for words in ("BrandName must be 1 to 20", "creates Function, Lambda Function", "creates the stack asked", "Deployed"):
        assert words in screen, words
    given = yaml.safe_load((tmp_path / "settings.yaml").read_text())
    assert given == yaml.safe_load(EXAMPLE) | {
        "Provider": "pinpoint",
        "BrandName": "Example & Co",
        "AllowedCountries": "US",
        "PinpointApplicationId": "0123456789abcdef" * 2,
        "SmsOriginationArns": "",
    }
    assert live(cloud, "asked")[1]["OTP_PROVIDER"] == "pinpoint"


def test_no_is_an_answer(cloud, built, tmp_path):
    answers = ["end-user-messaging", "ExampleCorp", "US", "+12065550100", PHONE, "n"]
    code, screen = converse(cloud, built, tmp_path, "deploy", answers=answers, stack="declined")
    assert code == 1 and "Nothing was deployed" in screen, screen[-3000:]
    stacks = client(cloud, "cloudformation").describe_stacks()["Stacks"]
    assert [it["StackStatus"] for it in stacks if it["StackName"] == "declined"] in ([], ["REVIEW_IN_PROGRESS"])


def test_destroy_says_what_stays_and_why(cloud, built):
    code, output, errors = run(cloud, built, "destroy", stack="otp-lambda")
    assert code == 1 and "Nothing was deleted" in errors
    table = outputs(cloud)["LedgerTable"]
    code, output, errors = run(cloud, built, "destroy", stack="otp-lambda", CONFIRM="otp-lambda")
    assert code == 0, output + errors
    assert table in output
    for name in ("Ledger", "LedgerKey", "FunctionLogs", "ApiLogs"):
        assert deploy.KEPT[name] in output, name
    assert deploy.KEPT["UserPool"] not in output
    assert table in client(cloud, "dynamodb").list_tables()["TableNames"]
    code, output, errors = run(cloud, built, "destroy", stack="otp-lambda", CONFIRM="otp-lambda")
    assert code == 1 and "There is no stack otp-lambda" in errors


def test_every_kept_resource_has_its_reason():
    resources = test_template.template()["Resources"]
    assert set(deploy.KEPT) == {name for name, it in resources.items() if "DeletionPolicy" in it}
