"""Tests of `make notify`, with the simulator as AWS.

    target/e2e/sam/bin/python -m pytest tests/e2e/test_notify.py
"""

import json
import os
import pty
import re
import subprocess
import sys
import time
import urllib.request

import boto3
import pytest
from cloud import ROOT, free_port, get
from test_deploy import edited, judged, program, settings

import notify  # isort: skip


@pytest.fixture(scope="module")
def simulator():
    """The address of a simulated AWS."""
    program_of_it = program("OTP_E2E_SIMULATOR", "simulator")
    port = free_port()
    process = subprocess.Popen([program_of_it, "--phone-only", "--port", str(port)], stdout=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(100):
            try:
                get(f"{url}/inbox")
                break
            except OSError:
                time.sleep(0.1)
        yield url
    finally:
        process.terminate()
        process.wait()


@pytest.fixture
def phone(simulator):
    """The same, with only the Notify configurations of the desk."""
    request = urllib.request.Request(f"{simulator}/simulator/reset", b"", {"content-type": "application/json"})
    urllib.request.urlopen(request).close()
    return simulator


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
    code, output, errors = run(phone, "Acme Shop", CONFIRM="Acme Shop", CHANNELS="sms,voice", COUNTRIES="US,CA,DE")
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
    code, output, _ = run(phone, "Acme Shop")
    assert code == 0 and "already. Nothing was made." in output and told(output)[0] == given
    code, output, _ = run(phone)
    assert code == 0 and re.search(r"(?m)^nc-[0-9a-f]{17}  Acme Shop  ACTIVE  BASIC$", output), output


def test_the_settings_of_the_advanced_tier_start_the_function(phone, tmp_path, monkeypatch):
    code, output, _ = run(phone, "nc-desk-advanced")
    given, file = told(output)
    assert code == 0 and file["notify"]["tier"] == "advanced" and "JM" in given["AllowedCountries"].split(",")
    packaged = tmp_path / "packaged.json"
    monkeypatch.setattr(settings, "PACKAGED", packaged)
    packaged.write_text(json.dumps(file))
    assert judged(tmp_path, edited(**given)) == []


@pytest.mark.parametrize(
    "arguments, variables, code, says",
    [
        (["Rejected Inc"], {"CONFIRM": "Rejected Inc"}, 2, "AWS has rejected the display name: The display name is not allowed"),
        (["Unverified Inc"], {"CONFIRM": "Unverified Inc"}, 2, "REQUIRES_VERIFICATION. AWS wants proof"),
        (["nc-desk-pending"], {}, 2, "AWS still reviews the display name. Look again in some minutes: make notify ID=nc-desk-pending"),
        (["No reputation"], {"CONFIRM": "No reputation"}, 1, "AWS does not let this account use Notify yet"),
        (["nc-0123456789abcdef0"], {}, 1, "There is no such Notify configuration in this region and account."),
        (["Acme"], {}, 1, 'Nothing was made. Without a terminal, confirm with CONFIRM="Acme".'),
        (["Acme"], {"CONFIRM": "Other"}, 1, "Nothing was made."),
        (["Acme.com"], {"CONFIRM": "Acme.com"}, 1, "The display name must have 1 to 15 letters"),
        (["A brand of many!"], {}, 1, "The display name must have 1 to 15 letters"),
        ([" "], {}, 1, "The display name must have 1 to 15 letters"),
        (["Acme"], {"CHANNELS": "sms,whatsapp"}, 1, "CHANNELS must be sms, voice or sms,voice."),
        (["Acme"], {"COUNTRIES": "US,JM"}, 1, "The basic tier of Notify does not send to JM by these channels."),
        (["Acme"], {"COUNTRIES": "IN", "CHANNELS": "voice"}, 1, "does not send to IN by these channels."),
        (["a", "b"], {}, 1, "notify.py BRAND"),
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
    assert notify.main(["Pending Inc"]) == 2
    assert "PENDING. AWS still reviews the display name." in capsys.readouterr().out


def test_the_account_has_a_limit_of_configurations(phone):
    for number in range(25):
        client(phone).create_notify_configuration(DisplayName=f"Brand {number}", UseCase="CODE_VERIFICATION", EnabledChannels=["SMS"])
    code, _, errors = run(phone, "One more", CONFIRM="One more")
    assert code == 1 and "as many Notify configurations as AWS allows" in errors, errors


def test_a_person_at_a_terminal_is_asked(phone):
    for answer, words in (("n", "Nothing was made."), ("y", "It can send.")):
        output = typed(phone, answer, "Acme")
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


def test_make_passes_the_brand_without_a_shell():
    brand = 'A"; touch /tmp/otp-notify; "'
    done = subprocess.run(["make", "--silent", "--dry-run", "notify", f"BRAND={brand}"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and "touch" not in done.stdout and 'deploy/notify.py "${BRAND:-${ID:-}}"' in done.stdout, done.stdout
