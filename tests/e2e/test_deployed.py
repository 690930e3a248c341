"""The packaged function, deployed by `make deploy` to an emulated AWS that checks signatures and enforces IAM policies. Each
kind of caller does its own work: backends, an operator, the function itself, an app that signs a user in.

    target/e2e/sam/bin/python -m pytest tests/e2e/test_deployed.py

The tests of this file build on each other, in their order.
"""

import json
import os
import subprocess
import time
import urllib.error
import urllib.request

import amplify
import boto3
import pytest
import test_template
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError
from cloud import E2E, REGION, ROOT, Cloud, package
from test_deploy import EXAMPLE, client, edited, outputs, program, run, skip, update, write

APPLICATION = "0123456789abcdef" * 2
NUMBERS = iter(f"+1425557{number:04}" for number in range(1000))
PINPOINT = {"Provider": "pinpoint", "PinpointApplicationId": APPLICATION, "SmsOriginationArns": ""}


class Stack:
    """The deployed stack and its callers."""

    def __init__(self, cloud, folder):
        self.cloud, self.folder = cloud, folder
        self.built = package(folder / "build", program("OTP_E2E_BOOTSTRAP", "otp-lambda"))
        self.users = {}

    def deploy(self, text, built=None, stack="otp-lambda"):
        code, output, errors = run(self.cloud, built or self.built, "deploy", write(self.folder, text), stack=stack)
        assert code == 0, output[-3000:] + errors[-2000:] + self.cloud.output()
        return outputs(self.cloud, stack)

    def user(self, name, statements):
        """A user of the account that may do just this. Returns its keys."""
        iam = client(self.cloud, "iam")
        iam.create_user(UserName=name)
        document = json.dumps({"Version": "2012-10-17", "Statement": statements})
        iam.put_user_policy(UserName=name, PolicyName="all", PolicyDocument=document)
        key = iam.create_access_key(UserName=name)["AccessKey"]
        self.users[name] = Credentials(key["AccessKeyId"], key["SecretAccessKey"])

    def host(self, stack="otp-lambda"):
        api = outputs(self.cloud, stack)["ApiUrl"].split("//")[1].split(".")[0]
        return f"{api}.execute-api.127.0.0.1:{self.cloud.port}"

    def answer(self, method, route, headers, data=None):
        """Returns the status, the headers and the body of a response."""
        request = urllib.request.Request(f"{self.cloud.url}/otp/{route}", data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status, answer.headers, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.headers, error.read()

    def call(self, route, user=None, stack="otp-lambda", secret=None, headers=None, **body):
        """Calls the API as it is called on AWS: by its own host, signed by a user. Returns status and body."""
        host = self.host(stack)
        data = json.dumps(body).encode()
        given = {"content-type": "application/json", "Host": host, **(headers or {})}
        request = AWSRequest("POST", f"http://{host}/otp/{route}", data=data, headers=given)
        if user:
            credentials = self.users[user]
            if secret:
                credentials = Credentials(credentials.access_key, secret)
            SigV4Auth(credentials, "execute-api", REGION).add_auth(request)
        status, _, answer = self.answer("POST", route, dict(request.headers.items()), data)
        return status, json.loads(answer or b"{}")

    def texts(self, number):
        return [it for it in self.cloud.inbox() if it["to"] == number]

    def code(self, number):
        (*_, newest) = self.texts(number)
        return newest["code"]


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    program("OTP_E2E_SIMULATOR", "simulator")
    if not (E2E / "ministack" / ".ready").exists():
        skip("needs MiniStack, which tests/e2e/setup.sh installs")
    with Cloud(auth=True) as cloud:
        it = Stack(cloud, tmp_path_factory.mktemp("deployed"))
        # Without limits that a test would wait for.
        found = it.deploy(edited(SendLimits="1/1s,3/10m", ForeignCodes="off"))
        may = lambda *names: [{"Effect": "Allow", "Action": "execute-api:Invoke", "Resource": [found[it] for it in names]}]  # noqa: E731
        it.user("front", may("SendInvokeArn", "VerifyInvokeArn"))
        it.user("back", may("StatusInvokeArn", "CancelInvokeArn"))
        it.user("nobody", [{"Effect": "Allow", "Action": "s3:ListBucket", "Resource": "*"}])
        yield it


def sentences():
    for rule in test_template.template()["Rules"].values():
        yield from (it["AssertDescription"].strip() for it in rule["Assertions"])


ARN = "arn:aws:sms-voice:us-east-1:123456789012:phone-number/phone-0123456789abcdef"
WHATSAPP = "arn:aws:social-messaging:us-east-1:123456789012:phone-number-id/0123456789abcdef"
GIVEN = "arn:aws:cognito-idp:us-east-1:123456789012:userpool/us-east-1_AbCdEf123"
# For each sentence of a rule, parameters that break it. The stack has End User Messaging with the channel sms.
BROKEN = [
    {"Provider": "pinpoint", "SmsOriginationArns": ""},
    {"ForeignCodes": "on", "ReferenceId": "random"},
    {"ForeignCodes": "on", "ApiAuth": "none"},
    {"PreviousProvider": "end-user-messaging"},
    {**PINPOINT, "Language": "nl-NL"},
    {**PINPOINT, "CodeLength": "4"},
    {**PINPOINT, "ValidityPeriod": "4"},
    *[
        {**PINPOINT, name: value}
        for name, value in {
            "Channels": "voice",
            "CodeType": "alphabetic",
            "DoNotShareLine": "off",
            "MessageFeedback": "on",
            "WhatsAppTemplate": "x",
            "WhatsAppLanguages": "en",
            "WebOtpDomain": "example.com",
            "AndroidAppHash": "FA+9qCX9VSu",
            "ConfigurationSet": "x",
            "DeliveryEvents": "on",
            "SmsOriginationArns": ARN,
            "VoiceOriginationArns": ARN,
            "WhatsAppOriginationArns": WHATSAPP,
        }.items()
    ],
    {"DeliveryEvents": "on"},
    {"SmsOriginationArns": ""},
    {"Channels": "voice", "VoiceOriginationArns": ARN},
    {"Channels": "sms,voice"},
    {"VoiceOriginationArns": ARN},
    {"Channels": "sms,whatsapp", "WhatsAppTemplate": "x"},
    {"WhatsAppOriginationArns": WHATSAPP},
    {"Channels": "sms,whatsapp", "WhatsAppOriginationArns": WHATSAPP},
    {"DltEntityId": "1"},
    {"ApiAuth": "none", "AllowedCountries": "*"},
    *[{"ApiAuth": "none", name: "none"} for name in ("PrefixLimits", "SourceLimits", "SourceNetworkLimits", "Budgets")],
    {"AllowedOrigins": "https://example.com"},
    {"ApiAuth": "jwt"},
    {"Cognito": "new", "CognitoUserPoolArn": GIVEN},
    {"CognitoPreSignUp": "on"},
    {"SubnetIds": "subnet-0123456789abcdef0"},
    {"DomainName": "otp.example.com"},
    {"CognitoRateLimit": "1000"},
    {"CognitoReservedConcurrency": "5"},
    {"CognitoTier": "LITE"},
    {"CognitoDeletionProtection": "on"},
]


def test_every_rule_refuses_with_its_sentence(stack):
    told = set()
    for parameters in BROKEN:
        with pytest.raises(ClientError) as refused:
            update(stack.cloud, **parameters)
        text = str(refused.value)
        found = {it for it in sentences() if it in text}
        assert found, (parameters, text)
        told |= found
    assert told == set(sentences())


def test_only_callers_who_are_allowed_reach_the_function(stack):
    number = next(NUMBERS)
    assert stack.call("send", destinationNumber=number)[0] == 403
    assert stack.call("send", "nobody", destinationNumber=number)[0] == 403
    assert stack.call("send", "back", destinationNumber=number)[0] == 403
    assert stack.call("send", "front", secret="x" * 40, destinationNumber=number)[0] == 403
    assert stack.call("status", "front", destinationNumber=number)[0] == 403
    assert stack.call("admin", "front", destinationNumber=number)[0] in (403, 404)
    assert stack.texts(number) == []


def test_a_number_is_verified_and_the_success_redeemed_once(stack):
    number = next(NUMBERS)
    assert stack.call("send", "front", destinationNumber=number)[0] == 202
    status, body = stack.call("send", "front", destinationNumber=number)
    assert (status, body["code"]) == (429, "resend_too_soon")
    status, body = stack.call("verify", "front", destinationNumber=number, otp="000000")
    assert (status, body["code"], body["attemptsLeft"]) == (422, "invalid_code", 2)
    status, body = stack.call("verify", "front", destinationNumber=number, otp=stack.code(number))
    assert (status, body["valid"]) == (200, True)
    assert stack.call("status", "back", destinationNumber=number)[1]["status"] == "verified"
    assert stack.call("status", "back", destinationNumber=number, claim=True)[0] == 200
    assert stack.call("status", "back", destinationNumber=number, claim=True)[0] == 409
    assert len(stack.texts(number)) == 1


def test_one_idempotency_key_is_one_message(stack):
    number = next(NUMBERS)
    headers = {"Idempotency-Key": "order-4711"}
    first, second = (stack.call("send", "front", headers=headers, destinationNumber=number) for _ in range(2))
    assert first[0] == second[0] == 202
    assert first[1]["referenceId"] == second[1]["referenceId"]
    assert len(stack.texts(number)) == 1


def test_a_canceled_code_is_refused(stack):
    number = next(NUMBERS)
    assert stack.call("send", "front", destinationNumber=number)[0] == 202
    assert stack.call("cancel", "back", destinationNumber=number)[0] == 200
    status, body = stack.call("verify", "front", destinationNumber=number, otp=stack.code(number))
    assert (status, body["code"]) == (410, "verification_canceled")


def role_client(stack, service):
    """A client with the role of the function."""
    role = outputs(stack.cloud)["FunctionRoleArn"]
    keys = client(stack.cloud, "sts").assume_role(RoleArn=role, RoleSessionName="test")["Credentials"]
    return boto3.client(
        service,
        endpoint_url=stack.cloud.url,
        region_name=REGION,
        aws_access_key_id=keys["AccessKeyId"],
        aws_secret_access_key=keys["SecretAccessKey"],
        aws_session_token=keys["SessionToken"],
        config=Config(retries={"total_max_attempts": 1}),
    )


def test_the_role_reads_the_operators_switches_and_writes_none(stack):
    table = outputs(stack.cloud)["LedgerTable"]
    dynamodb = role_client(stack, "dynamodb")
    switches, other = {"pk": {"S": "K#switches"}}, {"pk": {"S": "V#x"}}
    change = {"UpdateExpression": "SET a = :a", "ExpressionAttributeValues": {":a": {"S": "x"}}}
    dynamodb.get_item(TableName=table, Key=switches)
    dynamodb.update_item(TableName=table, Key=other, **change)
    for refused in (
        lambda: dynamodb.update_item(TableName=table, Key=switches, **change),
        lambda: dynamodb.get_item(TableName=table, Key={"pk": {"S": "X#x"}}),
        lambda: dynamodb.delete_item(TableName=table, Key=other),
        lambda: dynamodb.scan(TableName=table),
        lambda: role_client(stack, "lambda").invoke(FunctionName=outputs(stack.cloud)["FunctionName"]),
    ):
        with pytest.raises(ClientError, match="AccessDenied"):
            refused()


def operate(stack, *arguments, **variables):
    keys = stack.users["operator"]
    kept = stack.cloud.environment() | {"AWS_ACCESS_KEY_ID": keys.access_key, "AWS_SECRET_ACCESS_KEY": keys.secret_key}
    kept["PATH"] = f"{E2E / 'awscli' / 'bin'}:{kept['PATH']}"
    done = subprocess.run([ROOT / "operate.sh", *arguments], env=kept | variables, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout + done.stderr


def test_an_operator_pauses_blocks_and_unlocks_with_the_policy_of_the_outputs(stack):
    if not (E2E / "awscli").exists():
        skip("needs the AWS CLI, which tests/e2e/setup.sh installs")
    found = outputs(stack.cloud)
    stack.user("operator", json.loads(found["OperatorPolicy"])["Statement"])
    blocked = next(NUMBERS)
    code, output = operate(stack, "unlock", NUMBER=blocked)
    assert code == 0 and "is unlocked" in output and blocked not in output, output
    code, output = operate(stack, "block", NUMBER=blocked)
    assert code == 0 and "is blocked" in output and blocked not in output, output
    time.sleep(10.5)
    status, body = stack.call("send", "front", destinationNumber=blocked)
    assert (status, body["code"]) == (403, "destination_blocked"), body
    assert operate(stack, "unblock", NUMBER=blocked)[0] == 0
    code, output = operate(stack, "pause")
    assert code == 0 and "Sending is paused" in output, output
    time.sleep(10.5)
    status, body = stack.call("send", "front", destinationNumber=blocked)
    assert (status, body["code"]) == (503, "sending_paused"), body
    assert operate(stack, "resume")[0] == 0
    # Instances of a new version read the switches anew. After this update, the test need not wait ten seconds.
    assert update(stack.cloud, CognitoFloorMs="900")[0] == "UPDATE_COMPLETE"
    assert stack.call("send", "front", destinationNumber=blocked)[0] == 202


def invoke(stack, user, alias, event):
    """Invokes an alias of the function with the rights of a user. Returns the response, or the name of the error."""
    keys = stack.users[user]
    aws = boto3.client(
        "lambda",
        endpoint_url=stack.cloud.url,
        region_name=REGION,
        aws_access_key_id=keys.access_key,
        aws_secret_access_key=keys.secret_key,
        config=Config(retries={"total_max_attempts": 1}),
    )
    name = outputs(stack.cloud)["FunctionName"].removesuffix(":live")
    try:
        answer = aws.invoke(FunctionName=f"{name}:{alias}" if alias else name, Payload=json.dumps(event))
    except ClientError as error:
        return error.response["Error"]["Code"].removesuffix("Exception")
    body = json.loads(answer["Payload"].read())
    return body["errorType"] if answer.get("FunctionError") else body


def test_each_right_of_an_operator_is_a_right_of_its_own(stack):
    found, number = outputs(stack.cloud), next(NUMBERS)
    event = {name: {"operation": name, "destinationNumber": number} for name in ("unlock", "key")}
    event["send"] = json.loads((ROOT / "events" / "send.http-v2.json").read_text())
    # A backend that invokes the function itself, and two operators with one statement of the policy each.
    stack.user("live", [{"Effect": "Allow", "Action": "lambda:InvokeFunction", "Resource": found["FunctionArn"]}])
    policy = {it["Sid"]: it for it in json.loads(found["OperatorPolicy"])["Statement"]}
    stack.user("unlocks", [policy["Unlock"]])
    stack.user("names", [policy["Key"]])
    # A user whose right is on the function without any alias, as on a stack without aliases.
    bare = found["FunctionArn"].removesuffix(":live")
    stack.user("bare", [{"Effect": "Allow", "Action": "lambda:InvokeFunction", "Resource": bare}])

    done = {"unlocked": True, "destinationNumber": f"+1*******{number[-4:]}"}
    assert invoke(stack, "unlocks", "operator", event["unlock"]) == done
    assert invoke(stack, "names", "operator-key", event["key"])["key"].startswith("N#")
    for name in ("unlock", "key"):
        assert invoke(stack, "live", "live", event[name]) == "WrongAlias"
        assert invoke(stack, "bare", "", event[name]) == "WrongAlias"
    assert invoke(stack, "unlocks", "operator", event["key"]) == "WrongAlias"
    assert invoke(stack, "names", "operator-key", event["unlock"]) == "WrongAlias"
    # An operator names no principal.
    assert invoke(stack, "unlocks", "operator", event["send"]) == "WrongAlias"
    assert invoke(stack, "live", "live", event["send"])["statusCode"] == 202
    # The other names of the function are no way around.
    others = ["", "live", "operator", "operator-key", "built", "1"]
    allowed = {"live": "live", "unlocks": "operator", "names": "operator-key", "bare": ""}
    refused = {(user, it): invoke(stack, user, it, event["unlock"]) for user in allowed for it in others if it != allowed[user]}
    assert set(refused.values()) == {"AccessDenied"}, refused


def test_without_the_aliases_every_caller_of_the_function_is_an_operator(stack):
    """The control of the test above: the variable makes the difference."""
    aws, found = client(stack.cloud, "lambda"), outputs(stack.cloud)
    name = found["FunctionName"].removesuffix(":live")
    variables = aws.get_function_configuration(FunctionName=name)["Environment"]["Variables"]
    event = {"operation": "unlock", "destinationNumber": next(NUMBERS)}
    assert invoke(stack, "bare", "", event) == "WrongAlias"
    without = {key: value for key, value in variables.items() if key != "OPERATOR_ALIASES"}
    aws.update_function_configuration(FunctionName=name, Environment={"Variables": without})
    assert invoke(stack, "bare", "", event)["unlocked"] is True
    # The released version keeps its own variables, and answers no command of another alias.
    assert invoke(stack, "live", "live", event) == "WrongAlias"
    aws.update_function_configuration(FunctionName=name, Environment={"Variables": variables})


def test_codes_in_flight_survive_a_change_of_provider_and_back(stack):
    there, back = next(NUMBERS), next(NUMBERS)
    assert stack.call("send", "front", destinationNumber=there)[0] == 202
    moved = {**PINPOINT, "PreviousProvider": "end-user-messaging", "SmsOriginationArns": ARN}
    status, reasons = update(stack.cloud, **moved)
    assert status == "UPDATE_COMPLETE", reasons
    assert stack.call("send", "front", destinationNumber=back)[0] == 202
    assert stack.call("verify", "front", destinationNumber=there, otp=stack.code(there))[0] == 200
    status, reasons = update(stack.cloud, Provider="end-user-messaging", PreviousProvider="pinpoint")
    assert status == "UPDATE_COMPLETE", reasons
    assert stack.call("verify", "front", destinationNumber=back, otp=stack.code(back))[0] == 200
    # The texts differ, so the two codes were sent by two providers.
    assert stack.texts(there)[0]["text"].split()[0] != stack.texts(back)[0]["text"].split()[0]


def test_a_notify_configuration_sends_in_place_of_a_number(stack):
    arn = "arn:aws:sms-voice:us-east-1:000000000000:notify-configuration/nc-desk-basic"
    sender = {"OriginationIdentity": arn, "SmsOriginationArns": arn, "SendLimits": "1/1s,3/10m,10/24h"}
    file = stack.built / "Config" / "otp-lambda.json"
    before = file.read_text()
    # Without a template the new version does not start, and the number goes on sending.
    status, reasons = update(stack.cloud, **sender)
    assert status == "UPDATE_ROLLBACK_COMPLETE" and "must name a template of the Notify configuration" in reasons, reasons
    number = next(NUMBERS)
    assert stack.call("send", "front", destinationNumber=number)[0] == 202
    assert stack.texts(number)[0]["template"] is None

    notify = {"templates": {"en": {"sms": "notify-code-verification-english-001"}}}
    file.write_text(json.dumps({**json.loads(before), "notify": notify}))
    status, reasons = update(stack.cloud, **sender)
    assert status == "UPDATE_COMPLETE", reasons
    number = next(NUMBERS)
    assert stack.call("send", "front", destinationNumber=number)[0] == 202
    (message,) = stack.texts(number)
    assert message["text"] == f"Your ExampleCorp verification code is {message['code']}.", message
    assert (message["from"], message["template"]) == (arn, "notify-code-verification-english-001")
    assert stack.call("verify", "front", destinationNumber=number, otp=message["code"])[0] == 200

    file.write_text(before)
    status, reasons = update(stack.cloud, OriginationIdentity="+12065550100", SmsOriginationArns=ARN, SendLimits="1/1s,3/10m")
    assert status == "UPDATE_COMPLETE", reasons


def test_users_send_and_verify_with_tokens_of_the_issuer_alone(stack):
    idp = client(stack.cloud, "cognito-idp")
    pool = idp.create_user_pool(PoolName="users")["UserPool"]["Id"]
    secret = {"USERNAME": "jane", "PASSWORD": "A-1-never-used"}
    idp.admin_create_user(UserPoolId=pool, Username="jane", MessageAction="SUPPRESS")
    idp.admin_set_user_password(UserPoolId=pool, Username="jane", Password=secret["PASSWORD"], Permanent=True)
    apps, tokens = {}, {}
    for name in ("app", "other"):
        flows = ["ALLOW_USER_PASSWORD_AUTH", "ALLOW_REFRESH_TOKEN_AUTH"]
        made = idp.create_user_pool_client(UserPoolId=pool, ClientName=name, ExplicitAuthFlows=flows)
        apps[name] = made["UserPoolClient"]["ClientId"]
        done = idp.initiate_auth(ClientId=apps[name], AuthFlow="USER_PASSWORD_AUTH", AuthParameters=secret)
        tokens[name] = done["AuthenticationResult"]["AccessToken"]
        tokens[f"{name} id"] = done["AuthenticationResult"]["IdToken"]
    given = {"JwtIssuer": f"https://cognito-idp.{REGION}.amazonaws.com/{pool}", "JwtAudiences": apps["app"]}
    site = "https://www.example.com"
    status, reasons = update(stack.cloud, ApiAuth="jwt", AllowedOrigins=site, **given)
    assert status == "UPDATE_COMPLETE", reasons

    def call(route, token, **body):
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return stack.call(route, headers=headers, destinationNumber=number, **body)

    number = next(NUMBERS)
    head, claims, signature = tokens["app"].split(".")
    forged = ".".join([head, claims, signature[::-1]])
    for token in (None, "x", forged, tokens["other"], tokens["other id"]):
        assert call("send", token)[0] == 401, token
    assert stack.texts(number) == []
    status, sent = call("send", tokens["app"])
    assert status == 202, sent
    # A user is no backend.
    status, body = call("send", tokens["app"], brandName="Mine")
    assert (status, body["code"]) == (400, "malformed_request")
    assert call("status", tokens["app"], referenceId=sent["referenceId"])[0] == 403
    known = {"referenceId": sent["referenceId"]}
    assert stack.call("status", "back", destinationNumber=number, **known)[1]["status"] == "pending"
    assert call("verify", tokens["app"], otp=stack.code(number), **known)[0] == 200
    assert stack.call("status", "back", destinationNumber=number, claim=True, **known)[0] == 200

    number = next(NUMBERS)
    assert call("send", tokens["app id"])[0] == 202

    # Pages of the allowed site may send with a token and read the response. Pages of other sites may not.
    asked = {"access-control-request-method": "POST", "access-control-request-headers": "authorization,content-type"}

    def preflight(origin):
        return stack.answer("OPTIONS", "send", {"Host": stack.host(), "Origin": origin, **asked})

    def send_from(origin):
        sent = {"authorization": f"Bearer {tokens['app']}", "content-type": "application/json", "idempotency-key": "page-1"}
        data = json.dumps({"destinationNumber": number}).encode()
        return stack.answer("POST", "send", {"Host": stack.host(), "Origin": origin, **sent}, data)

    number = next(NUMBERS)
    status, headers, body = preflight(site)
    assert (status, headers["access-control-allow-origin"]) == (204, site), body
    assert headers["access-control-allow-methods"] == "POST"
    allowed = {it.strip() for it in headers["access-control-allow-headers"].split(",")}
    assert allowed == {"authorization", "content-type", "idempotency-key", "traceparent", "x-request-id"}
    status, headers, body = send_from(site)
    assert (status, headers["access-control-allow-origin"]) == (202, site), body
    exposed = {it.strip() for it in headers["access-control-expose-headers"].split(",")}
    assert exposed == {"idempotency-key-used", "x-request-id"}
    for other in ("https://example.com", f"{site}:8443", "http://www.example.com"):
        for status, headers, body in (preflight(other), send_from(other)):
            assert headers["access-control-allow-origin"] is None, (other, status, body)

    status, reasons = update(stack.cloud, ApiAuth="iam", AllowedOrigins="", JwtIssuer="", JwtAudiences="")
    assert status == "UPDATE_COMPLETE", reasons
    assert preflight(site)[1]["access-control-allow-origin"] is None
    number = next(NUMBERS)
    assert call("send", tokens["app"])[0] == 403
    assert stack.call("send", "front", destinationNumber=number)[0] == 202


TRIGGERS = ("DefineAuthChallenge", "CreateAuthChallenge", "VerifyAuthChallengeResponse")


def make_user(stack, number):
    """Makes a user of the new pool. Returns the IDs of the pool and of its client."""
    found, idp = outputs(stack.cloud), client(stack.cloud, "cognito-idp")
    pool, app = found["CognitoUserPoolId"], found["CognitoClientId"]
    attributes = [{"Name": "phone_number", "Value": number}, {"Name": "phone_number_verified", "Value": "true"}]
    idp.admin_create_user(UserPoolId=pool, Username=number, UserAttributes=attributes, MessageAction="SUPPRESS")
    idp.admin_set_user_password(UserPoolId=pool, Username=number, Password="A-1-never-used", Permanent=True)
    return pool, app


def sign_in(stack, number):
    """Signs a user in with the code that arrives. Returns the access token, or None if a trigger does not answer."""
    _, app = make_user(stack, number)
    idp = client(stack.cloud, "cognito-idp")
    try:
        begun = idp.initiate_auth(ClientId=app, AuthFlow="CUSTOM_AUTH", AuthParameters={"USERNAME": number})
    except ClientError as error:
        assert error.response["Error"]["Code"].startswith(("UnexpectedLambda", "UserLambda", "InvalidLambda")), error
        return None
    assert begun["ChallengeName"] == "CUSTOM_CHALLENGE"
    answer = {"USERNAME": number, "ANSWER": stack.code(number)}
    done = idp.respond_to_auth_challenge(
        ClientId=app, ChallengeName="CUSTOM_CHALLENGE", Session=begun["Session"], ChallengeResponses=answer
    )
    return done["AuthenticationResult"]["AccessToken"]


def triggers_of(stack):
    """The triggers of the new pool."""
    pool = outputs(stack.cloud)["CognitoUserPoolId"]
    found = client(stack.cloud, "cognito-idp").describe_user_pool(UserPoolId=pool)["UserPool"]["LambdaConfig"]
    return {name: found[name] for name in TRIGGERS}


def test_a_user_of_a_new_pool_signs_in_with_one_message(stack):
    assert not {"CognitoTriggerArn", "CognitoLogGroup"} & set(outputs(stack.cloud))
    status, reasons = update(stack.cloud, Cognito="new", SendLimits="3/10m")
    assert status == "UPDATE_COMPLETE", reasons
    found, number = outputs(stack.cloud), next(NUMBERS)
    assert triggers_of(stack) == dict.fromkeys(TRIGGERS, found["CognitoTriggerArn"])
    assert sign_in(stack, number)
    assert len(stack.texts(number)) == 1


def test_a_user_of_a_new_pool_signs_in_with_amplify(stack, tmp_path):
    packages = os.environ.get("OTP_E2E_CLIENTS") or skip("needs Amplify, which tests/e2e/setup.sh installs")
    number = next(NUMBERS)
    pool, app = make_user(stack, number)
    done = amplify.sign_in(tmp_path, packages, stack.cloud.url, stack.cloud.phone, pool, app, number)
    assert done["shown"] == [f"We sent a code to +*******{number[-2:]}"] and done["left"] == "2", done
    assert done["step"] == "DONE" and done["token"]["client_id"] == app, done
    assert len(stack.texts(number)) == 1


def versions(stack):
    """The configuration of the version that serves, for HTTP and for sign-ins."""
    aws, found = client(stack.cloud, "lambda"), outputs(stack.cloud)
    both = [aws.get_function_configuration(FunctionName=found[it]) for it in ("FunctionArn", "CognitoTriggerArn")]
    return [{name: value for name, value in it.items() if name != "ResponseMetadata"} for it in both]


def test_the_triggers_are_a_second_function_with_the_same_package_and_settings(stack):
    http, triggers = versions(stack)
    assert http["FunctionName"] != triggers["FunctionName"]
    for name in ("CodeSha256", "Environment", "Role", "MemorySize", "Timeout", "Runtime", "Description"):
        assert http[name] == triggers[name], name
    logs = [it["LoggingConfig"].pop("LogGroup") for it in (http, triggers)]
    assert http["LoggingConfig"] == triggers["LoggingConfig"]
    assert logs == [outputs(stack.cloud)[it] for it in ("FunctionLogGroup", "CognitoLogGroup")]
    # The pool may invoke the version that serves, and the function of HTTP knows no pool.
    aws = client(stack.cloud, "lambda")

    def allowed(name, alias):
        try:
            return json.loads(aws.get_policy(FunctionName=name, Qualifier=alias)["Policy"])["Statement"]
        except aws.exceptions.ResourceNotFoundException:
            return []

    (only,) = allowed(triggers["FunctionName"], "live")
    assert only["Principal"] == {"Service": "cognito-idp.amazonaws.com"}
    assert outputs(stack.cloud)["CognitoUserPoolId"] in json.dumps(only["Condition"])
    assert "cognito" not in json.dumps(allowed(http["FunctionName"], "live"))
    # It has no alias for operators. Without one, it answers only the command that the release needs.
    assert [it["Name"] for it in aws.list_aliases(FunctionName=triggers["FunctionName"])["Aliases"]] == ["live"]


def reserve(stack, http, triggers):
    """Reserves the instances as CloudFormation does on AWS, because MiniStack's leaves them out, and updates the stack."""
    aws = client(stack.cloud, "lambda")
    for configuration, count in zip(versions(stack), (http, triggers)):
        name = {"FunctionName": configuration["FunctionName"]}
        if count:
            aws.put_function_concurrency(**name, ReservedConcurrentExecutions=int(count))
        else:
            aws.delete_function_concurrency(**name)
    status, reasons = update(stack.cloud, ReservedConcurrency=http, CognitoReservedConcurrency=triggers)
    assert status == "UPDATE_COMPLETE", reasons


def test_neither_door_can_take_the_instances_of_the_other(stack):
    """A door without instances stands for a door whose instances are all busy."""
    reserve(stack, http="0", triggers="2")
    number = next(NUMBERS)
    assert stack.call("send", "front", destinationNumber=number)[0] >= 429 and stack.texts(number) == []
    assert sign_in(stack, next(NUMBERS))
    # The control: with the function of HTTP as the triggers, nobody signs in.
    idp, found = client(stack.cloud, "cognito-idp"), outputs(stack.cloud)
    shared = dict.fromkeys(TRIGGERS, found["FunctionArn"])
    idp.update_user_pool(UserPoolId=found["CognitoUserPoolId"], LambdaConfig=shared)
    assert sign_in(stack, next(NUMBERS)) is None
    idp.update_user_pool(UserPoolId=found["CognitoUserPoolId"], LambdaConfig=dict.fromkeys(TRIGGERS, found["CognitoTriggerArn"]))

    # An update that the triggers do not start with fails, also if the function of HTTP is stopped and nothing starts it.
    before = versions(stack)
    status, reasons = update(stack.cloud, OriginationIdentities="US=+1,US=+2")
    assert status == "UPDATE_ROLLBACK_COMPLETE" and "ORIGINATION_IDENTITIES names US twice" in reasons
    assert versions(stack) == before and sign_in(stack, next(NUMBERS))

    reserve(stack, http="", triggers="0")
    assert sign_in(stack, next(NUMBERS)) is None
    assert stack.call("send", "front", destinationNumber=next(NUMBERS))[0] == 202


def test_a_stack_is_deleted_and_deployed_again(stack):
    table = outputs(stack.cloud)["LedgerTable"]
    code, output, errors = run(stack.cloud, stack.built, "destroy", CONFIRM="otp-lambda")
    assert code == 0 and table in output, output + errors
    stack.deploy(EXAMPLE)


def test_without_a_statement_of_the_role_a_send_fails(stack):
    """The control: the policies of the template are enforced here, and what they allow is needed."""

    def edit(template):
        before = "                Action: dynamodb:UpdateItem\n"
        assert template.count(before) == 1
        return template.replace(before, "                Action: dynamodb:GetItem\n")

    built = package(stack.folder / "without", program("OTP_E2E_BOOTSTRAP", "otp-lambda"), edit)
    found = stack.deploy(edited(BrandName="Other"), built, stack="without")
    arns = [found["SendInvokeArn"]]
    stack.user("other", [{"Effect": "Allow", "Action": "execute-api:Invoke", "Resource": arns}])
    number = next(NUMBERS)
    status, body = stack.call("send", "other", stack="without", destinationNumber=number)
    assert (status, body["code"]) == (503, "ledger_unavailable"), body
    assert stack.texts(number) == []


def test_nothing_listens_on_other_addresses_than_loopback(stack):
    """MiniStack, the simulator and every function that they have started."""
    if not os.path.exists("/proc/net/tcp"):
        skip("needs /proc")
    ours = set()
    waiting = [process.pid for process in stack.cloud.processes]
    while waiting:
        pid = waiting.pop()
        try:
            with open(f"/proc/{pid}/task/{pid}/children") as children:
                waiting += map(int, children.read().split())
            links = [os.readlink(f"/proc/{pid}/fd/{it}") for it in os.listdir(f"/proc/{pid}/fd")]
        except OSError:
            continue
        ours |= {it[8:-1] for it in links if it.startswith("socket:[")}
    listening = []
    for table in ("tcp", "tcp6"):
        with open(f"/proc/net/{table}") as rows:
            for row in rows.read().splitlines()[1:]:
                fields = row.split()
                if fields[3] == "0A" and fields[9] in ours:
                    listening.append(fields[1].split(":")[0])
    assert listening and set(listening) <= {"0100007F", "0" * 24 + "01000000"}, listening
