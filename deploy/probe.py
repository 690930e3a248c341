"""Asks a real AWS account what AWS's documentation leaves open, and writes the answers for the simulator: `make probe`.

    probe.py [FILE]        FILE is facts.json, if it is not named

Settings are variables, which `make probe NAME=value` also sets:

    PROVIDER                  pinpoint or end-user-messaging
    ORIGINATION_IDENTITY      the identity to send from. AWS's simulator number for senders is enough without PHONE
    PINPOINT_APPLICATION_ID   for Pinpoint
    PHONE                     your own phone, for the questions that need the text of a message
    ROLE                      the ARN of a role that may send, for the question about permissions
    NOTIFY_CONFIGURATION      the ARN of a Notify configuration, for the question about its identity
    NOTIFY_TEMPLATE           the ID of a template, if the configuration has no default
    WITHOUT                   questions to leave out, with commas between them
    PRICE                     the most that one message costs you, in dollars (0.05)

Region and credentials are those of the AWS CLI. Without PHONE, every message goes to a number of AWS's SMS simulator, and no
person gets it.
"""

import dataclasses
import datetime
import getpass
import json
import os
import re
import secrets
import sys
import tempfile
import time
from decimal import Decimal, InvalidOperation
from pathlib import Path
from urllib.parse import urlsplit

import boto3
import botocore.exceptions
from botocore.config import Config

# The destinations of AWS's SMS simulator in the United States. Messages to them cost as usual and stay inside AWS.
SUCCESS_NUMBER = "+14254147755"
FAILURE_NUMBER = "+14254147167"

CAP = Decimal(1)
CODE_LENGTH = 8
# One code in a hundred million is this one, so a guess with it counts as wrong.
WRONG = "0" * CODE_LENGTH
# So long after its end, a code is asked about.
AFTER_THE_END = 10
# A repeated send could be a second message.
ONCE = Config(retries={"total_max_attempts": 1}, connect_timeout=5, read_timeout=20)


class Stop(Exception):
    """A sentence for the operator. Nothing is written."""


class Open(Exception):
    """The reason why a question has no answer."""


class Refused(Exception):
    """An answer of AWS that is a refusal. A send that may have sent a message is not `free`."""

    def __init__(self, kind, text="", free=True):
        super().__init__(kind)
        self.kind = kind
        self.text = text
        self.free = free

    def leaves_open(self, request):
        return Open(f"AWS refused {request} with {self.kind}: {masked(self.text).rstrip('.')}")


# The simulator's names for AWS's exceptions.
KINDS = {
    "ValidationException": "bad-request",
    "BadRequestException": "bad-request",
    "ResourceNotFoundException": "not-found",
    "NotFoundException": "not-found",
    "ConflictException": "conflict",
    "ServiceQuotaExceededException": "service-quota-exceeded",
    "AccessDeniedException": "access-denied",
    "ForbiddenException": "forbidden",
}


def masked(text):
    """The text without numbers and codes, also those with blanks, dashes, dots and brackets between the digits."""
    return re.sub(r"\+?\(?\d(?:[\s().-]{0,2}\d){3,}", "…", text)


def masked_number(number):
    return number[:2] + "*" * (len(number) - 6) + number[-4:]


def called(operation, **members):
    """Calls AWS once. Raises Refused if AWS says no, Open if AWS is too busy or fails, and Stop for every other exception."""
    try:
        return operation(**members)
    except botocore.exceptions.ClientError as error:
        name = error.response["Error"]["Code"]
        text = error.response["Error"].get("Message", "")
        if name in KINDS:
            raise Refused(KINDS[name], text) from error
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        # Some services of AWS throttle with 400.
        if status == 429 or status >= 500 or name.startswith("Throttl"):
            raise Open(f"AWS answered {name}: {masked(text).rstrip('.')}") from error
        raise Stop(f"AWS answered {name}: {masked(text)}") from error


def permitted(operation, **members):
    """As `called`. A missing permission is no answer to a question."""
    try:
        return called(operation, **members)
    except Refused as refused:
        if refused.kind in ("access-denied", "forbidden"):
            raise Stop(f"AWS denied access: {masked(refused.text)}") from refused
        raise


# --- the providers --------------------------------------------------------------------------------------------------


class EndUserMessaging:
    name = "end-user-messaging"
    title = "AWS End User Messaging"
    least_minutes = 1
    text = "{{code}} is a code of the otp-lambda probe."

    def __init__(self, settings):
        self.origination = settings.needed("ORIGINATION_IDENTITY")
        self.notify_template = settings.get("NOTIFY_TEMPLATE")
        self.client = boto3.client("endusermessaging", config=ONCE)

    def send(self, to, reference, *, minutes=10, attempts=3, client=None, origination=None, text=text):
        operation = (client or self.client).send_notify_code_verification
        members = {
            "channel": "TEXT",
            "destinationIdentity": to,
            "originationIdentity": origination or self.origination,
            "overrideCodeConfigurationParameters": {
                "codeType": "NUMERIC",
                "codeLength": CODE_LENGTH,
                "validityPeriodMinutes": minutes,
                "maxAttempts": attempts,
            },
            "referenceId": reference,
        }
        if origination and self.notify_template:
            members["overrideChannelParameters"] = {"notify": {"notifyTemplateId": self.notify_template}}
        elif not origination:
            members["overrideChannelParameters"] = {"text": {"inlineTemplateBody": text}}
        # For a client with fewer permissions, a denial is an answer. For another identity, it leaves the question open.
        ask = called if client or origination else permitted
        return ask(operation, **members)["messageId"]

    def guess(self, to, reference, code):
        members = {"destinationIdentity": to, "referenceId": reference, "code": code}
        try:
            status = permitted(self.client.validate_notify_code_verification, **members)["status"]
        except Refused as refused:
            return refused.kind
        return {"VALID": "accepted", "INVALID": "wrong"}.get(status, status)


class Pinpoint:
    name = "pinpoint"
    title = "Amazon Pinpoint"
    least_minutes = 5

    def __init__(self, settings):
        self.origination = settings.needed("ORIGINATION_IDENTITY")
        self.application = settings.needed("PINPOINT_APPLICATION_ID")
        self.client = boto3.client("pinpoint", config=ONCE)

    def send(self, to, reference, *, minutes=15, attempts=3):
        members = {
            "AllowedAttempts": attempts,
            "BrandName": "otp-lambda probe",
            "Channel": "SMS",
            "CodeLength": CODE_LENGTH,
            "DestinationIdentity": to,
            "OriginationIdentity": self.origination,
            "ReferenceId": reference,
            "ValidityPeriod": minutes,
        }
        operation = self.client.send_otp_message
        answer = permitted(operation, ApplicationId=self.application, SendOTPMessageRequestParameters=members)
        result = answer["MessageResponse"].get("Result", {}).get(to, {})
        status = result.get("DeliveryStatus", "UNKNOWN_FAILURE")
        if status != "SUCCESSFUL":
            kind = status.lower().replace("_", "-")
            # With the other statuses, AWS may have sent the message and may charge for it.
            raise Refused(kind, result.get("StatusMessage", ""), free=kind in ("duplicate", "opt-out"))
        return result["MessageId"]

    def guess(self, to, reference, code):
        members = {"DestinationIdentity": to, "ReferenceId": reference, "Otp": code}
        operation = self.client.verify_otp_message
        try:
            answer = permitted(operation, ApplicationId=self.application, VerifyOTPMessageRequestParameters=members)
        except Refused as refused:
            return refused.kind
        return "accepted" if answer["VerificationResponse"].get("Valid") else "wrong"


PROVIDERS = {it.name: it for it in (EndUserMessaging, Pinpoint)}


# --- the questions --------------------------------------------------------------------------------------------------


@dataclasses.dataclass
class Question:
    name: str
    about: str
    answers: tuple
    # The most messages that it sends to the simulator, and to the operator's phone.
    messages: int
    texts: int
    ask: object
    needs: str = ""
    only: str = ""
    waits: bool = False


QUESTIONS = []
REFUSALS = ("wrong", "not-found", "bad-request")
GUESSES = ("accepted", *REFUSALS)


def question(about, answers, **more):
    def add(ask):
        first, *others = ask.__name__.split("_")
        name = first + "".join(it.capitalize() for it in others)
        QUESTIONS.append(Question(name, about, answers, ask=ask, **{"messages": 0, "texts": 0, **more}))
        return ask

    return add


@question("a guess under a reference that was never used", REFUSALS)
def unknown_reference(probe):
    return probe.guess(SUCCESS_NUMBER, probe.reference(), WRONG)


@question("a guess at a code that has no guesses left", REFUSALS, messages=1)
def exhausted_code(probe):
    reference = probe.reference()
    probe.send(SUCCESS_NUMBER, reference, attempts=1)
    probe.must_be("wrong", probe.guess(SUCCESS_NUMBER, reference, WRONG))
    return probe.guess(SUCCESS_NUMBER, reference, WRONG)


@question("a wrong guess at a code that has expired", REFUSALS, messages=1, waits=True)
def expired_code(probe):
    reference = probe.reference()
    probe.send(SUCCESS_NUMBER, reference, minutes=probe.provider.least_minutes)
    probe.wait_for_the_end()
    return probe.guess(SUCCESS_NUMBER, reference, WRONG)


FAILURES = {
    "end-user-messaging": ("successful", "conflict", "bad-request", "not-found", "service-quota-exceeded"),
    "pinpoint": ("successful", "permanent-failure", "temporary-failure", "opt-out", "unknown-failure", "throttled"),
}


@question("a send to AWS's simulator number whose messages fail", FAILURES, messages=1)
def failure_number(probe):
    try:
        probe.send(FAILURE_NUMBER, probe.reference())
    except Refused as refused:
        return refused.kind
    return "successful"


@question(
    "feedback on a message that had a code", ("successful", "not-found", "bad-request"), messages=1, only="end-user-messaging"
)
def feedback(probe):
    message = probe.send(SUCCESS_NUMBER, probe.reference())
    client = boto3.client("pinpoint-sms-voice-v2", config=ONCE)
    try:
        permitted(client.put_message_feedback, MessageId=message, MessageFeedbackStatus="RECEIVED")
    except Refused as refused:
        probe.say(f"   feedback: {refused.kind}")
        return refused.kind
    probe.say("   feedback: accepted")
    return "successful"


SEND_ACTION = "end-user-messaging:SendNotifyCodeVerification"


@question("the permissions that a send needs beside its own", (), messages=1, only="end-user-messaging")
def permissions(probe):
    allowed = [SEND_ACTION]
    # Each round adds the action that AWS has asked for.
    while len(allowed) <= 8:
        client = probe.limited_client(allowed)
        try:
            probe.send(SUCCESS_NUMBER, probe.reference(), client=client)
            return allowed[1:]
        except Refused as refused:
            named = re.search(r"perform: ([a-z0-9-]+:[A-Za-z0-9]+)", refused.text)
            if refused.kind != "access-denied" or not named or named[1] in allowed:
                raise Open(f"AWS refused a session with {', '.join(allowed)}, and named no further action") from refused
            probe.say(f"   AWS asks for {named[1]}")
            allowed.append(named[1])
    raise Open("AWS asks for more than 8 actions")


@question(
    "the form of a Notify configuration as the sender",
    ("id-and-arn", "id", "arn"),
    messages=2,
    needs="NOTIFY_CONFIGURATION",
    only="end-user-messaging",
)
def notify_identity(probe):
    arn = probe.settings["NOTIFY_CONFIGURATION"]
    taken = []
    for form, identity in (("id", arn.rpartition("/")[2]), ("arn", arn)):
        try:
            probe.send(SUCCESS_NUMBER, probe.reference(), origination=identity, said=f" from its {form}")
            taken.append(form)
        except Refused as refused:
            if refused.kind not in ("not-found", "bad-request"):
                raise refused.leaves_open(f"the {form}") from refused
        # A configuration of the basic tier sends one message a second.
        probe.wait(2)
    if not taken:
        raise Open("AWS took neither the ID nor the ARN of the configuration")
    return "-and-".join(taken)


@question(
    "a second send under the same reference",
    ("ends-the-first", "keeps-the-first", "repeats-the-code", "refused"),
    messages=2,
    texts=2,
)
def second_send(probe):
    to = probe.phone or SUCCESS_NUMBER
    reference = probe.reference()
    probe.send(to, reference)
    first = probe.code() if probe.phone else None
    try:
        probe.send(to, reference)
    except Refused as refused:
        # The simulator refuses so, and no other refusal is about the first code.
        if refused.kind not in ("conflict", "duplicate"):
            raise refused.leaves_open("the second send") from refused
        return "refused"
    if not probe.phone:
        raise Open("AWS takes a second send. Only the texts tell what becomes of the first code: PHONE=…")
    if probe.code() == first:
        return "repeats-the-code"
    return "keeps-the-first" if probe.guess(to, reference, first) == "accepted" else "ends-the-first"


@question("the right code, a second time", GUESSES, texts=1, needs="PHONE")
def right_code_twice(probe):
    reference = probe.reference()
    probe.send(probe.phone, reference)
    code = probe.code()
    probe.must_be("accepted", probe.guess(probe.phone, reference, code))
    return probe.guess(probe.phone, reference, code)


@question("the right code, for another number", GUESSES, texts=1, needs="PHONE")
def other_number(probe):
    reference = probe.reference()
    probe.send(probe.phone, reference)
    code = probe.code()
    answer = probe.guess(SUCCESS_NUMBER, reference, code)
    if answer != "accepted":
        # Otherwise the code may have been typed wrong.
        probe.must_be("accepted", probe.guess(probe.phone, reference, code))
    return answer


@question(f"the right code, {AFTER_THE_END} seconds after it has expired", GUESSES, texts=1, needs="PHONE", waits=True)
def late_code(probe):
    reference = probe.reference()
    probe.send(probe.phone, reference, minutes=probe.provider.least_minutes)
    code = probe.code()
    if probe.code(" once more") != code:
        raise Open("The code was typed in two ways")
    probe.wait_for_the_end()
    return probe.guess(probe.phone, reference, code)


@question("a template that has {{code}} twice", ("every", "first"), texts=1, needs="PHONE", only="end-user-messaging")
def placeholders(probe):
    probe.send(probe.phone, probe.reference(), text="{{code}} is a code of the otp-lambda probe. Again: {{code}}")
    seen = probe.ask("   How often does the text on your phone have the code, 1 or 2? ")
    answer = {"1": "first", "2": "every"}.get(seen)
    if not answer:
        raise Open("Neither 1 nor 2 was typed")
    return answer


# --- the probe ------------------------------------------------------------------------------------------------------


class Settings(dict):
    def needed(self, name):
        if not self.get(name):
            raise Stop(f"{name} is needed: make probe {name}=… (docs/probe.md explains it)")
        return self[name]

    def price(self):
        try:
            price = Decimal(self.get("PRICE") or "0.05")
        except InvalidOperation as error:
            raise Stop("PRICE is an amount in dollars, such as 0.05.") from error
        if not price.is_finite() or price <= 0:
            raise Stop("PRICE is an amount in dollars above 0, such as 0.05.")
        return price


class Probe:
    def __init__(self, settings, *, say=print, ask=input, read_code=getpass.getpass, wait=time.sleep):
        self.settings = settings
        self.say, self.ask, self.read_code, self.wait = say, ask, read_code, wait
        kind = PROVIDERS.get(settings.needed("PROVIDER"))
        if kind is None:
            raise Stop(f"PROVIDER is {' or '.join(PROVIDERS)}.")
        self.provider = kind(settings)
        self.phone = settings.get("PHONE") or None
        if self.phone and not re.fullmatch(r"\+[1-9]\d{6,14}", self.phone):
            raise Stop("PHONE is a number with its country, such as +1 and ten digits without spaces.")
        self.price = settings.price()
        self.spent = Decimal(0)
        self.sent = 0
        self.codes_of_phone = 0

    # Each send is paid for before it is made.
    def send(self, to, reference, *, said="", **more):
        if self.spent + self.price > CAP:
            raise Stop(f"A further message could cost more than {CAP} dollar.")
        if to not in (SUCCESS_NUMBER, FAILURE_NUMBER, self.phone):
            raise Stop("This number is neither a simulator number nor your phone.")
        self.spent += self.price
        self.sent += 1
        line = f"   send to {masked_number(to)}{said}"
        try:
            message = self.provider.send(to, reference, **more)
        except Refused as refused:
            if refused.free:
                self.spent -= self.price
                self.sent -= 1
            self.say(f"{line}: {refused.kind}")
            raise
        except Open:
            self.say(f"{line}: failed")
            raise
        self.say(f"{line}: sent")
        return message

    def guess(self, to, reference, code):
        answer = self.provider.guess(to, reference, code)
        self.say(f"   guess for {masked_number(to)}: {answer}")
        return answer

    def code(self, more=""):
        """The code that the operator has read on the phone."""
        for _ in range(3):
            typed = self.read_code(f"   The code in the newest text{more}: ").strip()
            if re.fullmatch(rf"\d{{{CODE_LENGTH}}}", typed):
                return typed
            self.say(f"   A code has {CODE_LENGTH} digits.")
        raise Open("No code was typed")

    def must_be(self, expected, answer):
        if answer != expected:
            raise Open(f"AWS answered {masked(answer)} to a guess that should have been {expected}")

    def wait_for_the_end(self):
        seconds = self.provider.least_minutes * 60 + AFTER_THE_END
        self.say(f"   waiting for {seconds} seconds")
        self.wait(seconds)

    def reference(self):
        return f"otp-probe-{secrets.token_hex(8)}"

    def limited_client(self, actions):
        """A client whose session has these permissions alone."""
        policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": actions, "Resource": "*"}]}
        sts = boto3.client("sts", config=ONCE)
        members = {"Policy": json.dumps(policy), "DurationSeconds": 900}
        try:
            if role := self.settings.get("ROLE"):
                answer = sts.assume_role(RoleArn=role, RoleSessionName="otp-lambda-probe", **members)
            else:
                answer = sts.get_federation_token(Name="otp-lambda-probe", **members)
        except botocore.exceptions.ClientError as error:
            name = error.response["Error"]["Code"]
            raise Open(f"STS answered {name}. The question needs the keys of an IAM user, or ROLE=…") from error
        found = answer["Credentials"]
        return boto3.client(
            "endusermessaging",
            config=ONCE,
            aws_access_key_id=found["AccessKeyId"],
            aws_secret_access_key=found["SecretAccessKey"],
            aws_session_token=found["SessionToken"],
        )

    def plan(self):
        """The questions to ask, and the reasons why the others are not asked."""
        asked, left_out = [], {}
        without = [it.strip() for it in (self.settings.get("WITHOUT") or "").split(",") if it.strip()]
        for name in without:
            if name not in [it.name for it in QUESTIONS]:
                raise Stop(f"WITHOUT: there is no question {name}. There are {', '.join(it.name for it in QUESTIONS)}.")
        messages = 0
        for it in QUESTIONS:
            if it.only not in ("", self.provider.name):
                continue
            if it.name in without:
                left_out[it.name] = "It was left out"
            elif it.needs and not self.settings.get(it.needs):
                left_out[it.name] = f"It needs {it.needs}=…"
            elif (messages + self.messages_of(it)) * self.price > CAP:
                left_out[it.name] = f"Its messages could cost more than {CAP} dollar in all"
            else:
                messages += self.messages_of(it)
                asked.append(it)
        return asked, left_out, messages

    def messages_of(self, question):
        """A question that can take either sends to the phone if there is one."""
        return sum(self.split(question))

    def split(self, question):
        if question.messages and question.texts:
            return (0, question.texts) if self.phone else (question.messages, 0)
        return question.messages, question.texts

    def confirm(self, asked, left_out, messages):
        region = self.provider.client.meta.region_name
        account = boto3.client("sts", config=ONCE).get_caller_identity()["Account"]
        self.say(f"The probe asks {self.provider.title} in {region}, with the account {account}, about:\n")
        for number, it in enumerate(asked, 1):
            count = self.messages_of(it)
            words = {0: "no message", 1: "1 message"}.get(count, f"{count} messages at most")
            self.say(f"  {number:2}. {it.name}: {it.about} ({words})")
        for name, reason in left_out.items():
            self.say(f"   -  {name} is not asked. {reason}.")
        texts = sum(self.split(it)[1] for it in asked)
        self.say("")
        self.say(f"Messages to AWS's simulator numbers, at most: {messages - texts}. No phone gets them.")
        if self.phone:
            self.say(f"Messages to your phone {masked_number(self.phone)}, at most: {texts}.")
        self.say(f"At {self.price} dollars each they cost {messages * self.price} dollars at most. The cap is {CAP} dollar.")
        waits = sum(it.waits for it in asked) * (self.provider.least_minutes * 60 + AFTER_THE_END)
        self.say(f"Until codes have expired, the probe waits for {waits} seconds in all.\n")
        if self.ask("Begin? [yes/no] ").strip().lower() != "yes":
            raise Stop("Nothing was sent.")
        if texts and self.ask("The last four digits of your phone, to send texts to it: ").strip() != self.phone[-4:]:
            raise Stop("These are not the last four digits of PHONE. Nothing was sent.")

    def run(self):
        asked, left_out, messages = self.plan()
        self.confirm(asked, left_out, messages)
        facts, still_open = {}, dict(left_out)
        for number, it in enumerate(asked, 1):
            self.say(f"\n{number}. {it.name}: {it.about}")
            try:
                facts[it.name] = self.answer(it)
                self.say(f"   {it.name} = {in_words(facts[it.name])}")
            except Open as reason:
                still_open[it.name] = str(reason)
                self.say(f"   {it.name} stays open. {reason}.")
        host = urlsplit(self.provider.client.meta.endpoint_url).hostname or ""
        is_aws = host.endswith((".amazonaws.com", ".amazonaws.com.cn", ".api.aws"))
        return {
            "region": self.provider.client.meta.region_name,
            "asked": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
            "answeredBy": "AWS" if is_aws else "an endpoint that is not AWS",
            "facts": facts,
            "open": still_open,
        }

    def answer(self, question):
        try:
            answer = question.ask(self)
        except Refused as refused:
            raise refused.leaves_open("a usual send") from refused
        answers = question.answers
        if isinstance(answers, dict):
            answers = answers[self.provider.name]
        # The question about permissions has a list as its answer.
        if answers and answer not in answers:
            raise Open(f"AWS answered {masked(answer)}, which the simulator cannot imitate")
        return answer


def in_words(answer):
    return answer if isinstance(answer, str) else ", ".join(answer) or "nothing"


def read_facts(file):
    """The answers of earlier runs, which are kept for other providers."""
    if not file.exists():
        return {"format": 1, "providers": {}}
    try:
        found = json.loads(file.read_text())
        if found["format"] != 1 or not isinstance(found["providers"], dict):
            raise ValueError
    except (ValueError, KeyError, TypeError) as error:
        raise Stop(f"{file} is there, and is no file that make probe has written. Name another: make probe FACTS=…") from error
    return found


def write_facts(file, facts):
    """A file is there as a whole or not at all."""
    with tempfile.NamedTemporaryFile("w", dir=file.parent, prefix=f".{file.name}.", delete=False) as new:
        try:
            new.write(json.dumps(facts, indent=2) + "\n")
            new.flush()
            os.fsync(new.fileno())
            os.replace(new.name, file)
        except BaseException:
            os.unlink(new.name)
            raise


def probe_into(file, probe):
    facts = read_facts(file)
    facts["providers"][probe.provider.name] = probe.run()
    write_facts(file, facts)
    probe.say(f"\nWrote {file}. Messages sent: {probe.sent}. They cost {probe.spent} dollars at most.")
    probe.say(f"The desk does as AWS did with: make run PROVIDER={probe.provider.name} FACTS={file}")


def main(arguments, environment=os.environ, **ways):
    probe = None

    try:
        if len(arguments) > 1:
            raise Stop(__doc__)
        file = Path(arguments[0] if arguments and arguments[0] else "facts.json")
        if not sys.stdin.isatty():
            ways.setdefault("read_code", input)
        probe = Probe(Settings(environment), **ways)
        probe_into(file, probe)
        return 0
    except Stop as stop:
        code, reason = 1, stop
    except EOFError:
        code, reason = 1, "No answer."
    except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError) as error:
        code, reason = 1, f"AWS: {masked(str(error))}"
    except OSError as error:
        code, reason = 1, f"{error.filename}: {error.strerror}"
    except KeyboardInterrupt:
        code, reason = 130, "Stopped."
    sent = probe.sent if probe else 0
    print(f"\n{reason}\nNo file was written. Messages sent: {sent} at most.", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
