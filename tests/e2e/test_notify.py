"""Tests of `make notify`, with the simulator as AWS.

    target/e2e/sam/bin/python -m pytest tests/e2e/test_notify.py
"""

import json
import os
import pty
import re
import subprocess
import sys

import boto3
import pytest
from cloud import ROOT, Phone
from test_deploy import edited, judged, program, settings

import notify  # isort: skip


@pytest.fixture(scope="module")
def simulator(tmp_path_factory):
    """The simulated AWS."""
    program("OTP_E2E_SIMULATOR", "simulator")
    with Phone(tmp_path_factory.mktemp("notify")) as phone:
        yield phone


@pytest.fixture
def phone(simulator):
    """The address of the same, with only the Notify configurations of the desk."""
    simulator.post("reset", {})
    return simulator.url


def client(url):
    return boto3.client("pinpoint-sms-voice-v2", "us-east-1", endpoint_url=url, aws_access_key_id="x", aws_secret_access_key="x")


def names(url):
    return [it["NotifyConfigurationId"] for it in client(url).describe_notify_configurations()["NotifyConfigurations"]]


def environment(url, **variables):
    dropped = ("AWS_", "MAKE", "MFLAGS", "BRAND", "CHANNELS", "COUNTRIES", "CONFIRM", "ID")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    return kept | {
        "AWS_ENDPOINT_URL": url,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "OTP_NOTIFY_PAUSE": "0.3",
        **variables,
    }


def run(url, *arguments, **variables):
    """The exit code, the output and the errors of the command."""
    command = [sys.executable, str(ROOT / "deploy" / "notify.py"), *arguments]
    done = subprocess.run(command, env=environment(url, **variables), capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60)
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout, done.stderr


def told(output):
    """The settings and the part of the packaged file that the output tells to write."""
    given = dict(re.findall(r'(?m)^  ([A-Z]\w+): "(.*)"$', output))
    _, _, part = output.partition("beside what is there:\n")
    return given, json.loads("{" + part + "}")


def test_a_configuration_is_made_and_its_settings_start_the_function(phone, tmp_path, monkeypatch):
    code, output, errors = run(phone, "--brand=Acme Shop", CONFIRM="Acme Shop", CHANNELS="sms,voice", COUNTRIES="US,CA,DE")
    assert (code, errors) == (0, ""), errors
    given, file = told(output)
    assert re.search(r"status +ACTIVE\. It can send\.", output) and "BASIC: 200 messages a day, 1 a second" in output, output
    assert re.search(r"countries +CA, DE, US\n", output) and "1000 dollars a month for Notify" in output, output
    assert given["BrandName"] == "Acme Shop" and given["AllowedCountries"] == "CA,DE,US" and given["Channels"] == "sms,voice"
    assert given["OriginationIdentity"] == given["SmsOriginationArns"] == given["VoiceOriginationArns"]
    assert file["notify"]["countries"] == ["CA", "DE", "US"]
    # The template for CA and US alone is listed, and not chosen: the function would send it to Germany, too.
    assert "en-US; only to CA, US" in output and "en-US" not in file["notify"]["templates"]
    assert sorted(file["notify"]["templates"]) == ["de", "en", "es", "fr"]
    # The template of another tier and the inactive one are not listed.
    assert "english-002" not in output and "english-004" not in output

    packaged = tmp_path / "packaged.json"
    monkeypatch.setattr(settings, "PACKAGED", packaged)
    packaged.write_text(json.dumps(file))
    assert judged(tmp_path, edited(**given)) == []
    # The control: without this part of the packaged file the function does not start.
    packaged.write_text("{}")
    assert any("must name a template of the Notify configuration" in it for it in judged(tmp_path, edited(**given)))

    # A second run makes nothing.
    code, output, _ = run(phone, "--brand=Acme Shop")
    assert code == 0 and "already. Nothing was made." in output and told(output)[0] == given
    code, output, _ = run(phone)
    assert code == 0 and re.search(r"(?m)^nc-[0-9a-f]{17}  Acme Shop  ACTIVE  BASIC$", output), output


def test_the_settings_of_the_advanced_tier_start_the_function(phone, tmp_path, monkeypatch):
    code, output, _ = run(phone, "--id=nc-desk-advanced")
    given, file = told(output)
    assert code == 0 and file["notify"]["tier"] == "advanced" and "JM" in given["AllowedCountries"].split(",")
    packaged = tmp_path / "packaged.json"
    monkeypatch.setattr(settings, "PACKAGED", packaged)
    packaged.write_text(json.dumps(file))
    assert judged(tmp_path, edited(**given)) == []


@pytest.mark.parametrize(
    "arguments, variables, code, says",
    [
        (["--brand=Rejected Inc"], {"CONFIRM": "Rejected Inc"}, 2, "AWS has rejected the display name: The display name is not allowed"),
        (["--brand=Unverified Inc"], {"CONFIRM": "Unverified Inc"}, 2, "REQUIRES_VERIFICATION. AWS wants proof"),
        (["--id=nc-desk-pending"], {}, 2, "AWS still reviews the display name. Look again in some minutes: make notify ID=nc-desk-pending"),
        (["--brand=No reputation"], {"CONFIRM": "No reputation"}, 1, "AWS does not let this account use Notify yet"),
        (["--id=nc-0123456789abcdef0"], {}, 1, "There is no such Notify configuration in this region and account."),
        (["--brand=Acme"], {}, 1, 'Nothing was made. Without a terminal, confirm with CONFIRM="Acme".'),
        (["--brand=Acme"], {"CONFIRM": "Other"}, 1, "Nothing was made."),
        (["--brand=Acme.com"], {"CONFIRM": "Acme.com"}, 1, "The display name must have 1 to 15 letters"),
        (["--brand=A brand of many!"], {}, 1, "The display name must have 1 to 15 letters"),
        (["--brand= "], {}, 1, "The display name must have 1 to 15 letters"),
        (["--brand=Acme"], {"CHANNELS": "sms,whatsapp"}, 1, "CHANNELS must be sms, voice or sms,voice."),
        (["--brand=Acme"], {"COUNTRIES": "US,JM"}, 1, "The basic tier of Notify does not send to JM by these channels."),
        (["--brand=Acme"], {"COUNTRIES": "IN", "CHANNELS": "voice"}, 1, "does not send to IN by these channels."),
        (["--id=nc-short"], {}, 1, "nc-short is neither the ID nor the ARN of a Notify configuration. An ID begins with nc- or notify-"),
        (["--brand=Acme", "--id=nc-desk-basic"], {"CONFIRM": "Acme"}, 1, "BRAND makes a Notify configuration, and ID shows one. Give"),
        (["Acme"], {"CONFIRM": "Acme"}, 1, "notify.py --brand=BRAND"),
        (["--brand=Acme", "--brand=Acme"], {"CONFIRM": "Acme"}, 1, "notify.py --brand=BRAND"),
    ],
)
def test_each_refusal_has_a_sentence(phone, arguments, variables, code, says):
    found, output, errors = run(phone, *arguments, **variables)
    assert found == code and says in " ".join((output + errors).split()), output + errors
    if code == 1:
        # Only the configurations of the desk are there.
        assert len(found := names(phone)) == 8 and all(it.startswith("nc-desk-") for it in found)


def test_a_review_that_takes_long_ends_the_command(phone, monkeypatch, capsys):
    for name, value in environment(phone, CONFIRM="Pending Inc").items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(notify, "PATIENCE", 1)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    assert notify.main(["--brand=Pending Inc"]) == 2
    assert "PENDING. AWS still reviews the display name." in capsys.readouterr().out


def test_the_account_has_a_limit_of_configurations(phone):
    for number in range(25):
        client(phone).create_notify_configuration(DisplayName=f"Brand {number}", UseCase="CODE_VERIFICATION", EnabledChannels=["SMS"])
    code, _, errors = run(phone, "--brand=One more", CONFIRM="One more")
    assert code == 1 and "as many Notify configurations as AWS allows" in errors, errors


def test_a_person_at_a_terminal_is_asked(phone):
    for answer, words in (("n", "Nothing was made."), ("y", "It can send.")):
        output = typed(phone, answer, "--brand=Acme")
        assert "Make it? [y/N]" in output and words in output, output


def typed(url, answer, *arguments):
    """The output of the command on a terminal, for a person who types this."""
    pid, terminal = pty.fork()
    if pid == 0:
        command = [sys.executable, str(ROOT / "deploy" / "notify.py"), *arguments]
        os.execve(sys.executable, command, environment(url))
    output, sent = "", False
    while True:
        try:
            part = os.read(terminal, 4096).decode(errors="replace")
        except OSError:
            break
        if not part:
            break
        output += part
        if not sent and "[y/N]" in output:
            os.write(terminal, f"{answer}\n".encode())
            sent = True
    os.close(terminal)
    os.waitpid(pid, 0)
    return output


def test_without_credentials_or_rights_the_command_says_so(phone):
    nobody = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_EC2_METADATA_DISABLED": "true"}
    code, output, errors = run(phone, **nobody)
    assert code == 1 and output == "" and "Unable to locate credentials" in errors, errors
    code, _, errors = run("http://127.0.0.1:9")
    assert code == 1 and "AWS: Could not connect" in errors, errors


def made(url, tmp_path, given, **variables):
    """The exit code, the output and the errors of `make notify NAME=value`, without the installation of its tools."""
    dry_run = ["make", "--no-print-directory", "--dry-run", "notify", *(f"{name}={value}" for name, value in given.items())]
    setup, recipe = subprocess.run(dry_run, cwd=ROOT, env=environment(url), capture_output=True, text=True, check=True).stdout.splitlines()
    assert setup == "tests/e2e/setup.sh boto3"
    whole = environment(url, **given, **variables)
    done = subprocess.run(recipe, shell=True, cwd=ROOT, env=whole, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60)
    return done.returncode, done.stdout, done.stderr


def test_make_says_which_variable_was_given(phone, tmp_path):
    """With the Python that has boto3 alone."""
    code, output, errors = made(phone, tmp_path, {"ID": "nc-desk-basic"})
    assert (code, errors) == (0, "") and "notify-configuration/nc-desk-basic" in output, errors
    # This name could be an ID, too.
    brand = "nc-0123456789ab"
    code, output, errors = made(phone, tmp_path, {"BRAND": brand, "CONFIRM": brand})
    assert code == 0 and f"display name  {brand}" in output, errors
    code, output, errors = made(phone, tmp_path, {})
    assert code == 0 and brand in output and "To see one in full" in output, errors
    # A variable of the shell that is exported counts as given.
    code, output, errors = made(phone, tmp_path, {"ID": "nc-desk-basic"}, BRAND="Acme", CONFIRM="Acme")
    assert (code, output) == (1, "") and "BRAND makes a Notify configuration, and ID shows one. Give one of them." in errors
    assert len(names(phone)) == 9


def test_make_passes_the_brand_without_a_shell(phone, tmp_path):
    brand = f'A"; touch {tmp_path}/made; $(touch {tmp_path}/made) "'
    code, _, errors = made(phone, tmp_path, {"BRAND": brand, "CONFIRM": brand})
    assert code == 1 and "The display name must have 1 to 15 letters" in errors and not (tmp_path / "made").exists()


def test_the_command_and_the_function_agree_on_ids():
    source = (ROOT / "src" / "aws" / "notify.rs").read_text()
    _, _, test = source.partition("fn a_notify_configuration_is_told_from_every_other_sender()")
    yes, no = (re.findall('"(.*)"', part.partition("]")[0]) for part in test.split("for identity in [")[1:3])
    assert len(yes) >= 4 and len(no) >= 13
    assert [text for text in yes if not notify.ID.fullmatch(text)] == [] == [text for text in no if notify.ID.fullmatch(text)]


def test_no_template_of_some_countries_covers_a_configuration_without_countries():
    assert not notify.covers({"SupportedCountries": ["CA", "US"]}, [])
    assert notify.covers({"SupportedCountries": []}, []) and notify.covers({"SupportedCountries": ["CA", "US"]}, ["US"])


@pytest.mark.parametrize("without", [lambda it: it.pop("EnabledCountries"), lambda it: it.update(EnabledCountries=[])])
def test_a_configuration_without_a_list_of_countries_has_those_of_its_tier(phone, monkeypatch, capsys, without):
    for name, value in environment(phone).items():
        monkeypatch.setenv(name, value)
    it = notify.one_of(client(phone), "nc-desk-basic")
    without(it)
    assert notify.show(client(phone), it) == 0
    output = capsys.readouterr().out
    given, file = told(output)
    assert re.search(r"countries +all of its tier\n", output)
    # It has calls, too, and there are none to India.
    assert given["AllowedCountries"].split(",") == file["notify"]["countries"] and len(file["notify"]["countries"]) == 29
    # The template for Canada and the United States alone is listed, and not chosen.
    assert "en-US; only to CA, US" in output
    assert "en-US" not in file["notify"]["templates"] and "en" in file["notify"]["templates"]
