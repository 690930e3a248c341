"""`make probe` against the simulator, set to each possible answer of each question.

The transcripts in docs/probe.md are written by this test: OTP_WRITE=1 in its environment writes them anew.
"""

import contextlib
import io
import json
import os
import re
import signal
import subprocess
import sys
import urllib.parse
from decimal import Decimal
from pathlib import Path

import pytest
from cloud import Phone, get

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "deploy"))
import probe  # noqa: E402

PHONE = "+14255550142"
NOTIFY = "arn:aws:sms-voice:us-east-1:000000000000:notify-configuration/nc-desk-basic"
PAGE = ROOT / "docs" / "probe.md"
BEGIN, END = "<!-- From here on, written by tests/e2e/test_probe.py -->\n", "<!-- To here -->\n"
PROVIDERS = ("end-user-messaging", "pinpoint")
# The simulator without a file. The answers of one provider alone are those of its own questions.
DEFAULT = {
    "unknownReference": "wrong",
    "exhaustedCode": "wrong",
    "expiredCode": "wrong",
    "failureNumber": "successful",
    "feedback": "successful",
    "permissions": ["sms-voice:SendTextMessage"],
    "notifyIdentity": "id-and-arn",
    "secondSend": "ends-the-first",
    "rightCodeTwice": "wrong",
    "otherNumber": "wrong",
    "lateCode": "wrong",
    "placeholders": "every",
}
PERMISSIONS = ([], ["sms-voice:SendTextMessage"], ["sms-voice:SendTextMessage", "sms-voice:DescribePhoneNumbers"])


def questions(provider):
    return [it for it in probe.QUESTIONS if it.only in ("", provider)]


def answers(question, provider):
    if question.name == "permissions":
        return PERMISSIONS
    return question.answers[provider] if isinstance(question.answers, dict) else question.answers


def defaults(provider):
    return {it.name: DEFAULT[it.name] for it in questions(provider)}


CASES = [(provider, it.name, answer) for provider in PROVIDERS for it in questions(provider) for answer in answers(it, provider)]


class Desk(Phone):
    """The simulated AWS, with a person who reads the phone."""

    def imitate(self, provider, facts):
        self.post("reset", {})
        self.post("facts", file_of(provider, facts))

    def newest(self):
        return get(f"{self.url}/inbox?to={urllib.parse.quote(PHONE)}")["messages"][0]

    def sends(self):
        return get(f"{self.url}/simulator/requests")["counts"]["send"]

    def messages(self):
        return get(f"{self.url}/inbox")["messages"]

    def wait(self, seconds):
        self.post("clock", {"advanceSeconds": seconds})


def file_of(provider, facts):
    more = {"region": "us-east-1", "asked": "2026-11-29", "answeredBy": "AWS", "open": {}}
    return {"format": 1, "providers": {provider: {"facts": facts, **more}}}


class Person:
    """Confirms the plan, and reads the phone."""

    def __init__(self, desk, confirms=True):
        self.desk, self.confirms, self.lines, self.secrets = desk, confirms, [], []

    def say(self, line):
        self.lines.append(line)

    def ask(self, question):
        if question.startswith("Begin"):
            answer = "yes" if self.confirms else "no"
        elif "four digits" in question:
            answer = PHONE[-4:]
        else:
            message = self.desk.newest()
            answer = str(message["text"].count(message["code"]))
        self.lines.append(question + answer)
        return answer

    def read_code(self, question):
        code = self.desk.newest()["code"]
        self.secrets.append(code)
        self.lines.append(question + "(typed)")
        return code

    def output(self):
        return "\n".join(self.lines) + "\n"


def settings(provider, **more):
    found = {"PROVIDER": provider, "ORIGINATION_IDENTITY": "+12065550100", "PHONE": PHONE, "NOTIFY_CONFIGURATION": NOTIFY, **more}
    found.setdefault("NOTIFY_TEMPLATE", "notify-code-verification-english-001")
    if provider == "pinpoint":
        found["PINPOINT_APPLICATION_ID"] = "desk"
    return {name: value for name, value in found.items() if value}


def run(desk, file, provider, person=None, **more):
    person = person or Person(desk)
    errors = io.StringIO()
    ways = {"say": person.say, "ask": person.ask, "read_code": person.read_code, "wait": desk.wait}
    with contextlib.redirect_stderr(errors):
        code = probe.main([str(file)], settings(provider, **more), **ways)
    return code, person, errors.getvalue()


def facts_in(file, provider):
    return json.loads(file.read_text())["providers"][provider]["facts"]


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    with Desk(tmp_path_factory.mktemp("probe")) as desk, pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith("AWS_"):
                patch.delenv(name)
        patch.setenv("AWS_ENDPOINT_URL", desk.url)
        patch.setenv("AWS_REGION", "us-east-1")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.setenv("AWS_ACCESS_KEY_ID", "desk")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "desk")
        yield desk


def problems(expected, found):
    """The check of every case: what the probe wrote, beside what the simulator was set to."""
    return [name for name in {*expected, *found} if expected.get(name) != found.get(name)]


TRANSCRIPTS = {}


@pytest.mark.parametrize(("provider", "name", "answer"), CASES, ids=lambda it: it if isinstance(it, str) else "+".join(it))
def test_the_probe_writes_what_the_simulator_does(desk, tmp_path, provider, name, answer):
    expected = {**defaults(provider), name: answer}
    desk.imitate(provider, expected)
    code, person, errors = run(desk, tmp_path / "facts.json", provider)
    assert code == 0, errors
    text = (tmp_path / "facts.json").read_text()
    assert problems(expected, facts_in(tmp_path / "facts.json", provider)) == []
    # No number and no code, in the file and in the output.
    numbers = (PHONE, probe.SUCCESS_NUMBER, probe.FAILURE_NUMBER, "+12065550100")
    codes = [it["code"] for it in desk.messages()]
    assert len(codes) >= 5 and len(person.secrets) >= 4
    for secret in (*numbers, *(it[1:] for it in numbers), *codes):
        assert secret not in text and secret not in person.output()
    assert json.loads(text)["providers"][provider]["answeredBy"] == "an endpoint that is not AWS"
    # The plan counts every message, and only numbers of the plan got one.
    most = sum(int(it) for it in re.findall(r", at most: (\d+)\.", person.output()))
    assert len(codes) <= most <= 20
    assert {it["to"] for it in desk.messages()} <= {PHONE, probe.SUCCESS_NUMBER, probe.FAILURE_NUMBER}
    TRANSCRIPTS[provider, name, str(answer)] = person.output()


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_desk_with_the_file_gives_the_same_answers(desk, tmp_path, provider):
    """The file is all that the next desk needs."""
    other = {it.name: answers(it, provider)[-1] for it in questions(provider)}
    # A code for another number and a used code are told apart only if a second send is taken.
    other |= {"secondSend": "keeps-the-first"}
    desk.imitate(provider, other)
    file = tmp_path / "facts.json"
    assert run(desk, file, provider)[0] == 0
    assert facts_in(file, provider) == other
    desk.imitate(provider, {})
    desk.post("facts", json.loads(file.read_text()))
    again = tmp_path / "again.json"
    assert run(desk, again, provider)[0] == 0
    assert facts_in(again, provider) == other


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_flipped_answer_and_a_left_out_question_are_noticed(desk, tmp_path, provider):
    """The controls of the cases above."""
    for it in questions(provider):
        expected = defaults(provider)
        flipped = next(other for other in answers(it, provider) if other != expected[it.name])
        desk.imitate(provider, {**expected, it.name: flipped})
        file = tmp_path / f"{it.name}.json"
        assert run(desk, file, provider)[0] == 0
        assert problems(expected, facts_in(file, provider)) == [it.name]
        desk.imitate(provider, expected)
        assert run(desk, file, provider, WITHOUT=it.name)[0] == 0
        assert problems(expected, facts_in(file, provider)) == [it.name]
        assert json.loads(file.read_text())["providers"][provider]["open"] == {it.name: "It was left out"}


@pytest.mark.parametrize("provider", PROVIDERS)
def test_without_a_phone_no_person_gets_a_message(desk, tmp_path, provider):
    desk.imitate(provider, defaults(provider))
    file = tmp_path / "facts.json"
    code, person, errors = run(desk, file, provider, PHONE="")
    assert code == 0, errors
    assert {it["to"] for it in desk.messages()} == {probe.SUCCESS_NUMBER, probe.FAILURE_NUMBER}
    found = json.loads(file.read_text())["providers"][provider]
    unread = {it.name for it in questions(provider) if it.texts}
    assert set(found["facts"]) == {it.name for it in questions(provider)} - unread
    assert set(found["open"]) == unread
    assert "your phone" not in person.output() and "newest text" not in person.output()
    # A refusal of the second send is seen without a phone.
    desk.imitate(provider, {**defaults(provider), "secondSend": "refused"})
    assert run(desk, file, provider, PHONE="")[0] == 0
    assert facts_in(file, provider)["secondSend"] == "refused"


def test_nothing_is_sent_before_the_plan_is_confirmed(desk, tmp_path):
    desk.imitate("pinpoint", {})
    file = tmp_path / "facts.json"
    code, person, errors = run(desk, file, "pinpoint", Person(desk, confirms=False))
    assert (code, desk.sends(), file.exists()) == (1, 0, False)
    assert "Nothing was sent." in errors and "Begin? [yes/no] no" in person.output()

    class OfAnotherPhone(Person):
        def ask(self, question):
            return "0000" if "four digits" in question else super().ask(question)

    code, _, errors = run(desk, file, "pinpoint", OfAnotherPhone(desk))
    assert (code, desk.sends(), file.exists()) == (1, 0, False)
    assert "These are not the last four digits" in errors


def test_a_notify_configuration_needs_its_name_and_an_answer(desk, tmp_path):
    file = tmp_path / "facts.json"
    for given, reason in (
        ("", "It needs NOTIFY_CONFIGURATION=…"),
        (NOTIFY.replace("basic", "absent"), "AWS took neither the ID nor the ARN of the configuration"),
    ):
        desk.imitate("end-user-messaging", {})
        assert run(desk, file, "end-user-messaging", NOTIFY_CONFIGURATION=given)[0] == 0
        assert json.loads(file.read_text())["providers"]["end-user-messaging"]["open"] == {"notifyIdentity": reason}


def test_the_plan_ends_at_the_dollar(desk, tmp_path):
    for price, sends in (("0.05", 13), ("0.2", 5), ("0.21", 4), ("1", 1), ("1.01", 0)):
        desk.imitate("end-user-messaging", {})
        file = tmp_path / "facts.json"
        code, person, errors = run(desk, file, "end-user-messaging", PRICE=price)
        assert code == 0, errors
        assert desk.sends() - denied(desk) == len(desk.messages()) == sends, price
        assert sends * Decimal(price) <= 1
        found = json.loads(file.read_text())["providers"]["end-user-messaging"]
        assert ("Its messages could cost more than 1 dollar in all" in found["open"].values()) == (sends < 13)
        assert "unknownReference" in found["facts"]


def denied(desk):
    """The sends that the simulator refused for a missing permission."""
    return desk.sends() - len(desk.messages())


def test_a_send_over_the_cap_is_not_made(desk, tmp_path, monkeypatch):
    """Even if the plan counts wrong."""
    desk.imitate("pinpoint", {})
    free = [probe.dataclasses.replace(it, messages=0, texts=0) for it in probe.QUESTIONS]
    monkeypatch.setattr(probe, "QUESTIONS", free)
    file = tmp_path / "facts.json"
    code, _, errors = run(desk, file, "pinpoint", PRICE="0.3")
    assert (code, desk.sends(), file.exists()) == (1, 3, False)
    assert "A further message could cost more than 1 dollar." in errors and "Messages sent: 3 at most" in errors
    # The control: with a lower price the same probe goes on to its end.
    desk.imitate("pinpoint", {})
    assert run(desk, file, "pinpoint", PRICE="0.1")[0] == 0 and desk.sends() == 8


def test_an_answer_that_the_simulator_does_not_know_stays_open(desk, tmp_path):
    desk.imitate("end-user-messaging", {})
    desk.post("failures", {"operation": "verify", "failure": "unheard-of-status"})
    file = tmp_path / "facts.json"
    assert run(desk, file, "end-user-messaging")[0] == 0
    found = json.loads(file.read_text())["providers"]["end-user-messaging"]
    assert "unknownReference" not in found["facts"]
    assert found["open"]["unknownReference"] == "AWS answered LOST_IN_SPACE, which the simulator cannot imitate"


def test_a_usual_send_that_is_refused_leaves_its_question_open(desk, tmp_path):
    desk.imitate("end-user-messaging", {})
    # The text of this refusal has the number.
    desk.post("failures", {"operation": "send", "failure": "opt-out"})
    file = tmp_path / "facts.json"
    code, person, errors = run(desk, file, "end-user-messaging")
    assert code == 0, errors
    found = json.loads(file.read_text())["providers"]["end-user-messaging"]
    expected = defaults("end-user-messaging")
    del expected["exhaustedCode"]
    assert found["facts"] == expected
    reason = "AWS refused a usual send with conflict: Destination phone number … has opted out of receiving messages"
    assert found["open"] == {"exhaustedCode": reason} and f"stays open. {reason}." in person.output()
    assert probe.SUCCESS_NUMBER[1:] not in person.output() + file.read_text()


class Failing(Person):
    """Lets AWS fail once, at the request after this many sends of this question."""

    def __init__(self, desk, name, sends, failure, operation="send"):
        super().__init__(desk)
        self.name, self.left = name, sends
        self.failure = {"operation": operation, "failure": failure, "times": 1}
        self.is_here = False

    def say(self, line):
        super().say(line)
        if heading := re.match(r"\n\d+\. (\w+):", line):
            self.is_here = heading[1] == self.name
        elif line.startswith("   send to"):
            self.left -= self.is_here
        else:
            return
        if self.is_here and self.left == 0:
            self.desk.post("failures", self.failure)


def found_in(file, provider):
    return json.loads(file.read_text())["providers"][provider]


@pytest.mark.parametrize(
    ("provider", "failure", "reason"),
    [
        ("end-user-messaging", "service-quota-exceeded", "AWS refused the second send with service-quota-exceeded: "),
        ("end-user-messaging", "bad-request", "AWS refused the second send with bad-request: "),
        ("pinpoint", "throttled", "AWS refused the second send with throttled: "),
        ("pinpoint", "permanent-failure", "AWS refused the second send with permanent-failure: "),
    ],
)
def test_a_second_send_that_is_refused_for_another_reason_is_no_answer(desk, tmp_path, provider, failure, reason):
    desk.imitate(provider, {})
    file = tmp_path / "facts.json"
    code, _, errors = run(desk, file, provider, Failing(desk, "secondSend", 1, failure))
    assert code == 0, errors
    found = found_in(file, provider)
    assert list(found["open"]) == ["secondSend"] and found["open"]["secondSend"].startswith(reason)
    assert problems(defaults(provider), found["facts"]) == ["secondSend"]


@pytest.mark.parametrize("failure", ["service-quota-exceeded", "conflict", "access-denied", "too-many-requests"])
@pytest.mark.parametrize("form", ["id", "arn"])
def test_a_notify_configuration_that_is_refused_for_another_reason_is_no_answer(desk, tmp_path, failure, form):
    desk.imitate("end-user-messaging", {})
    file = tmp_path / "facts.json"
    person = Failing(desk, "notifyIdentity", ("id", "arn").index(form), failure)
    code, _, errors = run(desk, file, "end-user-messaging", person)
    assert code == 0, errors
    found = found_in(file, "end-user-messaging")
    assert list(found["open"]) == ["notifyIdentity"] and "notifyIdentity" not in found["facts"]
    if failure != "too-many-requests":
        assert found["open"]["notifyIdentity"].startswith(f"AWS refused the {form} with {failure}: ")


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("failure", ["too-many-requests", "internal-server-error", "service-unavailable"])
@pytest.mark.parametrize(("operation", "name"), [("send", "exhaustedCode"), ("verify", "unknownReference")])
def test_a_question_that_aws_is_too_busy_for_stays_open(desk, tmp_path, provider, failure, operation, name):
    desk.imitate(provider, {})
    file = tmp_path / "facts.json"
    code, person, errors = run(desk, file, provider, Failing(desk, name, 0, failure, operation))
    assert code == 0, errors
    found = found_in(file, provider)
    assert list(found["open"]) == [name] and found["open"][name].startswith("AWS answered ")
    assert problems(defaults(provider), found["facts"]) == [name]
    # AWS may have sent the message all the same, so it counts.
    assert f"Messages sent: {13 if provider == 'end-user-messaging' else 8}." in person.output()


@pytest.mark.parametrize(
    ("answer", "sent"),
    [("successful", 8), ("opt-out", 7), ("permanent-failure", 8), ("temporary-failure", 8), ("unknown-failure", 8), ("throttled", 8)],
)
def test_a_message_is_free_only_if_certainly_nothing_was_sent(desk, tmp_path, answer, sent):
    desk.imitate("pinpoint", {"failureNumber": answer})
    code, person, errors = run(desk, tmp_path / "facts.json", "pinpoint")
    assert code == 0, errors
    assert f"Messages sent: {sent}. They cost {sent * Decimal('0.05')} dollars at most." in person.output()


def test_each_spelling_of_a_number_is_masked():
    for number in ("+14255550142", "14255550142", "+1 425 555 0142", "+1 (425) 555-0142", "425-555-0142", "425.555.0142", "88102734"):
        assert probe.masked(f"The number {number} is wrong, {number}.") == "The number … is wrong, …."
    for text in ("LOST_IN_SPACE", "3 of 8 codes, 2 at once", "HTTP 429: slow down"):
        assert probe.masked(text) == text


@pytest.mark.parametrize("failure", ["access-denied", "unrecognized-client", "close-after-reading"])
@pytest.mark.parametrize("operation", ["send", "verify"])
def test_a_failure_that_is_no_answer_ends_the_probe(desk, tmp_path, failure, operation):
    desk.imitate("end-user-messaging", {})
    desk.post("failures", {"operation": operation, "failure": failure})
    file = tmp_path / "facts.json"
    code, _, errors = run(desk, file, "end-user-messaging")
    assert (code, file.exists()) == (1, False), errors
    assert "No file was written" in errors
    # Nothing is repeated, and the message of a send without an answer counts.
    assert desk.sends() == (operation == "send")
    assert f"Messages sent: {int(operation == 'send')} at most." in errors


@pytest.mark.parametrize("at", [0, 3, 6])
def test_an_interrupted_probe_leaves_the_file_of_before(desk, tmp_path, at):
    desk.imitate("pinpoint", {})
    file = tmp_path / "facts.json"
    before = json.dumps(file_of("end-user-messaging", {"unknownReference": "not-found"}))
    file.write_text(before)

    class Impatient(Person):
        def say(self, line):
            super().say(line)
            if sum("send to" in it for it in self.lines) > at:
                raise KeyboardInterrupt

    code, _, errors = run(desk, file, "pinpoint", Impatient(desk))
    assert code == 130 and "No file was written" in errors
    assert file.read_text() == before and [it.name for it in tmp_path.iterdir()] == ["facts.json"]
    # The control: uninterrupted, it adds its own answers and keeps the others.
    assert run(desk, file, "pinpoint")[0] == 0
    assert facts_in(file, "end-user-messaging") == {"unknownReference": "not-found"}
    assert facts_in(file, "pinpoint") == defaults("pinpoint")
    assert [it.name for it in tmp_path.iterdir()] == ["facts.json"]


def test_a_write_that_fails_leaves_no_half_file(tmp_path, monkeypatch):
    file = tmp_path / "facts.json"
    file.write_text("before")

    def fails(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(probe.os, "replace", fails)
    with pytest.raises(OSError, match="No space"):
        probe.write_facts(file, {"format": 1})
    assert file.read_text() == "before" and [it.name for it in tmp_path.iterdir()] == ["facts.json"]


def test_a_file_that_is_something_else_is_kept(desk, tmp_path):
    desk.imitate("pinpoint", {})
    file = tmp_path / "facts.json"
    for content in ('{"prices": {}}', "[]", "no json", '{"format": 2, "providers": {}}'):
        file.write_text(content)
        code, _, errors = run(desk, file, "pinpoint")
        assert (code, file.read_text(), desk.sends()) == (1, content, 0)
        assert "is no file that make probe has written" in errors


def test_bad_settings_are_refused(desk, tmp_path):
    desk.imitate("pinpoint", {})
    for more, sentence in (
        ({"PROVIDER": ""}, "PROVIDER is needed"),
        ({"PROVIDER": "twilio"}, "PROVIDER is end-user-messaging or pinpoint."),
        ({"ORIGINATION_IDENTITY": ""}, "ORIGINATION_IDENTITY is needed"),
        ({"PINPOINT_APPLICATION_ID": ""}, "PINPOINT_APPLICATION_ID is needed"),
        ({"PHONE": "0151 2345"}, "PHONE is a number with its country"),
        ({"PRICE": "cheap"}, "PRICE is an amount in dollars"),
        ({"PRICE": "0"}, "PRICE is an amount in dollars"),
        ({"PRICE": "NaN"}, "PRICE is an amount in dollars"),
        ({"WITHOUT": "secondSends"}, "there is no question secondSends"),
    ):
        errors = io.StringIO()
        person = Person(desk)
        with contextlib.redirect_stderr(errors):
            given = {**settings("pinpoint"), **more}
            assert probe.main([str(tmp_path / "facts.json")], given, say=person.say, ask=person.ask) == 1
        assert sentence in errors.getvalue() and desk.sends() == 0


def test_a_code_that_was_typed_wrong_is_no_answer(desk, tmp_path):
    class Mistyping(Person):
        def read_code(self, question):
            code = super().read_code(question)
            return str((int(code) + 1) % 10**8).zfill(8)

    desk.imitate("pinpoint", {})
    file = tmp_path / "facts.json"
    assert run(desk, file, "pinpoint", Mistyping(desk))[0] == 0
    found = json.loads(file.read_text())["providers"]["pinpoint"]
    assert {"rightCodeTwice", "otherNumber"} <= set(found["open"])


def test_the_command_itself(desk, tmp_path):
    """`make probe` runs this, with a Python that has boto3 alone."""
    given = {**settings("pinpoint", WITHOUT="expiredCode,failureNumber", PHONE=""), "FACTS": str(tmp_path / "facts.json")}
    dry_run = ["make", "--no-print-directory", "--dry-run", "probe", *(f"{name}={value}" for name, value in given.items())]
    # The tools are there already. Without them make would install them first.
    setup, recipe = subprocess.run(dry_run, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    assert setup == "tests/e2e/setup.sh boto3"
    command = ["bash", "-c", f"exec {recipe}"]
    environment = {**os.environ, **given}
    desk.imitate("pinpoint", {})
    done = subprocess.run(command, env=environment, input="yes\n", cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert facts_in(tmp_path / "facts.json", "pinpoint") == {"unknownReference": "wrong", "exhaustedCode": "wrong"}
    # Without an answer, and when it is interrupted at the question, it ends without a file.
    (tmp_path / "facts.json").unlink()
    ended = subprocess.run(command, env=environment, input="", cwd=ROOT, capture_output=True, text=True)
    assert (ended.returncode, "No answer." in ended.stderr) == (1, True)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    waiting = subprocess.Popen(command, env={**environment, "PYTHONUNBUFFERED": "1"}, cwd=ROOT, **pipes)
    while b"Until codes have expired" not in waiting.stdout.readline():
        assert waiting.poll() is None
    waiting.send_signal(signal.SIGINT)
    _, errors = waiting.communicate(timeout=20)
    assert waiting.returncode == 130 and b"No file was written" in errors
    assert list(tmp_path.iterdir()) == []


# --- docs/probe.md --------------------------------------------------------------------------------------------------


def part(transcript, name):
    """The lines about one question, without its number."""
    found = re.search(rf"^\d+\. ({name}: .*\n(?:   .*\n)+)", transcript, re.MULTILINE)
    return found[1]


def transcripts():
    lines = []
    for provider in PROVIDERS:
        title = probe.PROVIDERS[provider].title
        lines.append(f"### {title}\n")
        lines.append("All of it, with the simulator's own answers:\n")
        first = questions(provider)[0].name
        lines.append(f"```text\n{TRANSCRIPTS[provider, first, DEFAULT[first]]}```\n".replace(str(ROOT), ""))
        lines.append("Each other answer:\n")
        for it in questions(provider):
            others = [answer for answer in answers(it, provider) if answer != DEFAULT[it.name]]
            texts = [part(TRANSCRIPTS[provider, it.name, str(answer)], it.name) for answer in others]
            lines.append("```text\n" + "\n".join(texts) + "```\n")
    return re.sub(r"[^\s=]*/facts\.json", "facts.json", "\n".join(lines))


def test_the_page_has_the_transcripts():
    if len(TRANSCRIPTS) < len(CASES):
        pytest.skip("needs the whole file: the cases above make the transcripts")
    page = PAGE.read_text()
    before, rest = page.split(BEGIN)
    _, after = rest.split(END)
    expected = f"{before}{BEGIN}\n{transcripts()}\n{END}{after}"
    if os.environ.get("OTP_WRITE"):
        PAGE.write_text(expected)
    assert page == expected, "docs/probe.md is old. Write it anew with OTP_WRITE=1"


def test_the_page_names_every_question():
    section = PAGE.read_text().partition("\n## Questions\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)
    assert sorted(rows) == sorted(it.name for it in probe.QUESTIONS)
