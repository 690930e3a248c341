"""Signs in to a user pool, as an app does. The pool's triggers are the function.

    cognito.py MINISTACK SIMULATOR BOOTSTRAP SETTINGS
    cognito.py desk PHONE API POOL CLIENT

MINISTACK and SIMULATOR are URLs, BOOTSTRAP is the path of the program, and SETTINGS are the function's settings as JSON.
Creates the ledger's table, the function, a user pool with a client as in the template, and users. With `desk`, the pool is
that of a running desk, which has its function already. Then the script runs the scenarios and prints one line of JSON. For
each scenario, the line says what the app saw and how many messages arrived. The line also has the duration of the slowest
call in milliseconds.
"""

import io
import json
import sys
import time
import urllib.parse
import urllib.request
import zipfile
from concurrent.futures import ThreadPoolExecutor

import boto3
from botocore.config import Config
from pycognito.aws_srp import AWSSRP

IS_DESK = sys.argv[1] == "desk"
if IS_DESK:
    SIMULATOR, API, POOL, CLIENT = sys.argv[2:]
    AWS = SIMULATOR
else:
    AWS, SIMULATOR, BOOTSTRAP, SETTINGS = sys.argv[1:]
    SETTINGS = json.loads(SETTINGS)

SLOWEST = {"ms": 0}
PASSWORD = "A-1-never-used"


def client(service):
    # One attempt, because a retry would look like an error of the function.
    once = Config(retries={"total_max_attempts": 1}, read_timeout=30)
    return boto3.client(
        service,
        endpoint_url=AWS,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=once,
    )


idp, functions, tables = client("cognito-idp"), client("lambda"), client("dynamodb")


# --- the resources of the template ------------------------------------------------------------------------------------


def make_table():
    tables.create_table(
        TableName=SETTINGS["LEDGER_TABLE"],
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
    )
    tables.get_waiter("table_exists").wait(TableName=SETTINGS["LEDGER_TABLE"], WaiterConfig={"Delay": 1})


def make_function(name, **settings):
    package = io.BytesIO()
    with zipfile.ZipFile(package, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file:
        entry = zipfile.ZipInfo("bootstrap")
        entry.external_attr = 0o755 << 16
        entry.compress_type = zipfile.ZIP_DEFLATED
        with open(BOOTSTRAP, "rb") as program:
            file.writestr(entry, program.read())
    made = functions.create_function(
        FunctionName=name,
        Runtime="provided.al2023",
        Handler="bootstrap",
        Role="arn:aws:iam::000000000000:role/otp",
        Code={"ZipFile": package.getvalue()},
        Timeout=10,
        MemorySize=256,
        Environment={"Variables": SETTINGS | settings},
    )
    return made["FunctionArn"]


def make_pool(function, *more_triggers):
    triggers = ["DefineAuthChallenge", "CreateAuthChallenge", "VerifyAuthChallengeResponse", *more_triggers]
    made = idp.create_user_pool(
        PoolName="otp",
        UsernameAttributes=["phone_number"],
        AdminCreateUserConfig={"AllowAdminCreateUserOnly": not more_triggers},
        LambdaConfig=dict.fromkeys(triggers, function),
    )
    return made["UserPool"]["Id"]


def make_client(pool):
    made = idp.create_user_pool_client(
        UserPoolId=pool,
        ClientName="otp",
        GenerateSecret=False,
        ExplicitAuthFlows=["ALLOW_CUSTOM_AUTH", "ALLOW_REFRESH_TOKEN_AUTH"],
        PreventUserExistenceErrors="ENABLED",
        AuthSessionValidity=15,
    )
    return made["UserPoolClient"]["ClientId"]


def make_user(number, verified="true", pool=None):
    """Creates a user as an administrator, without a message to the user."""
    pool = pool or POOL
    idp.admin_create_user(
        UserPoolId=pool,
        Username=number,
        MessageAction="SUPPRESS",
        UserAttributes=[
            {"Name": "phone_number", "Value": number},
            {"Name": "phone_number_verified", "Value": verified},
        ],
    )
    # With a permanent password the user does not have to change a temporary one first.
    idp.admin_set_user_password(UserPoolId=pool, Username=number, Password=PASSWORD, Permanent=True)


# --- the phone and the app ------------------------------------------------------------------------------------------


def messages(number):
    with urllib.request.urlopen(f"{SIMULATOR}/inbox?to={urllib.parse.quote(number)}") as response:
        return json.load(response)["messages"]


def code(number):
    return max(messages(number), key=lambda message: message["id"])["code"]


def wrong(right, nth=1):
    return right[:-1] + str((int(right[-1]) + nth) % 10)


def timed(call, **arguments):
    started = time.monotonic()
    try:
        return call(**arguments)
    finally:
        SLOWEST["ms"] = max(SLOWEST["ms"], round((time.monotonic() - started) * 1000))


def begin(number):
    return timed(idp.initiate_auth, ClientId=CLIENT, AuthFlow="CUSTOM_AUTH", AuthParameters={"USERNAME": number})


def answer(number, challenge, text, app=None):
    """Returns the next challenge, or the tokens, or the name of an error."""
    try:
        return timed(
            idp.respond_to_auth_challenge,
            ClientId=app or CLIENT,
            ChallengeName="CUSTOM_CHALLENGE",
            Session=challenge["Session"],
            ChallengeResponses={"USERNAME": number, "ANSWER": text},
        )
    except idp.exceptions.NotAuthorizedException:
        return "NotAuthorizedException"


def seen(step):
    """What the app sees of a step, without values that change from run to run."""
    if isinstance(step, str):
        return step
    if "AuthenticationResult" in step:
        return "tokens"
    parameters = step["ChallengeParameters"]
    return f"{parameters['state']}, {parameters['attemptsLeft']} left"


def outcome(number, *steps):
    return {"steps": [seen(step) for step in steps], "messages": len(messages(number))}


# --- the scenarios --------------------------------------------------------------------------------------------------


def right_code(number):
    first = begin(number)
    return outcome(number, first, answer(number, first, code(number))) | {"parameters": first["ChallengeParameters"]}


def one_wrong_answer(number):
    first = begin(number)
    second = answer(number, first, wrong(code(number)))
    return outcome(number, first, second, answer(number, second, code(number)))


def wrong_answers_only(number):
    steps = [begin(number)]
    for nth in (1, 2, 3, 4):
        if not isinstance(steps[-1], str):
            steps.append(answer(number, steps[-1], wrong(code(number), nth)))
    return outcome(number, *steps)


def answered_session_again(number):
    """Answers the first challenge twice: with a wrong code, and then with the right one."""
    first = begin(number)
    return outcome(number, first, answer(number, first, wrong(code(number))), answer(number, first, code(number)))


def unknown_user(number):
    try:
        first = begin(number)
    except idp.exceptions.UserNotFoundException:
        return outcome(number, "UserNotFoundException")
    return outcome(number, first, answer(number, first, "123456"))


def resend(number):
    first = begin(number)
    second = answer(number, first, "resend")
    return outcome(number, first, second, answer(number, second, code(number)))


def lost_session(number):
    begin(number)
    again = begin(number)
    return outcome(number, again, answer(number, again, code(number)))


def used_code(number):
    first = begin(number)
    right = code(number)
    tokens = answer(number, first, right)
    again = begin(number)
    return outcome(number, first, tokens, again, answer(number, again, right))


def two_at_once(*numbers):
    def sign_in(number):
        first = begin(number)
        return outcome(number, first, answer(number, first, code(number)))

    with ThreadPoolExecutor(len(numbers)) as pool:
        return list(pool.map(sign_in, numbers))


def each_others_codes(one, other):
    """A code verifies only its own number."""
    first, second = begin(one), begin(other)
    crossed = [answer(one, first, code(other)), answer(other, second, code(one))]
    return {"steps": [seen(step) for step in crossed], "messages": len(messages(one)) + len(messages(other))}


def unverified(number):
    first = begin(number)
    return outcome(number, first, answer(number, first, "123456")) | {"parameters": first["ChallengeParameters"]}


def after_a_password(pool, app, number, password):
    """Signs in with a password and a code, as Amplify does with CUSTOM_WITH_SRP."""
    srp = AWSSRP(number, password, pool, app, client=idp)
    first = timed(
        idp.initiate_auth,
        ClientId=app,
        AuthFlow="CUSTOM_AUTH",
        AuthParameters=srp.get_auth_params() | {"CHALLENGE_NAME": "SRP_A"},
    )
    assert first["ChallengeName"] == "PASSWORD_VERIFIER", first
    try:
        second = timed(
            idp.respond_to_auth_challenge,
            ClientId=app,
            ChallengeName="PASSWORD_VERIFIER",
            Session=first["Session"],
            ChallengeResponses=srp.process_challenge(first["ChallengeParameters"], {"USERNAME": number}),
        )
    except idp.exceptions.NotAuthorizedException:
        return outcome(number, "NotAuthorizedException")
    return outcome(number, second, answer(number, second, code(number), app))


def without_a_password(app, number):
    try:
        idp.initiate_auth(ClientId=app, AuthFlow="CUSTOM_AUTH", AuthParameters={"USERNAME": number})
    except idp.exceptions.NotAuthorizedException:
        return outcome(number, "NotAuthorizedException")
    raise AssertionError("the pool asked for a code without a password")


def sign_up_without_proof(pool, app, number):
    """The sign-up is rejected, and the number stays free for its owner."""
    try:
        idp.sign_up(
            ClientId=app,
            Username=number,
            Password=PASSWORD,
            UserAttributes=[{"Name": "phone_number", "Value": number}],
        )
    except idp.exceptions.UserLambdaValidationException as error:
        assert "validationData.referenceId" in str(error), error
        assert number not in str(error), error
        make_user(number, pool=pool)
        return outcome(number, "UserLambdaValidationException")
    raise AssertionError("the pool accepted a sign-up without proof")


def sign_up_with_proof(number):
    """Verifies the number over HTTP, signs up with the proof, and signs in."""

    def post(path, **fields):
        body = json.dumps(fields | {"destinationNumber": number}).encode()
        request = urllib.request.Request(f"{API}/otp/{path}", body, {"content-type": "application/json"})
        with urllib.request.urlopen(request) as response:
            return json.load(response)

    reference = post("send")["referenceId"]
    post("verify", otp=code(number), referenceId=reference)
    made = idp.sign_up(
        ClientId=CLIENT,
        Username=number,
        Password=PASSWORD,
        UserAttributes=[{"Name": "phone_number", "Value": number}],
        ValidationData=[{"Name": "referenceId", "Value": reference}],
    )
    assert made["UserConfirmed"], made
    first = begin(number)
    return outcome(number, first, answer(number, first, code(number)))


if not IS_DESK:
    make_table()
    POOL = make_pool(make_function("otp"))
    CLIENT = make_client(POOL)
    STRICT = make_function("otp-strict", COGNITO_STEP_UP="required", COGNITO_PRE_SIGN_UP="on", REFERENCE_ID="random")
    STRICT_POOL = make_pool(STRICT, "PreSignUp")
    STRICT_CLIENT = make_client(STRICT_POOL)
NUMBERS = [f"+142555501{last}" for last in range(20, 32)]
for number in NUMBERS[:-1]:
    make_user(number)
make_user(NUMBERS[-1], verified="false")

report = {
    "right code": right_code(NUMBERS[0]),
    "one wrong answer": one_wrong_answer(NUMBERS[1]),
    "wrong answers only": wrong_answers_only(NUMBERS[2]),
    "resend": resend(NUMBERS[3]),
    "lost session": lost_session(NUMBERS[4]),
    "used code": used_code(NUMBERS[5]),
    "two at once": two_at_once(NUMBERS[6], NUMBERS[7]),
    "each other's codes": each_others_codes(NUMBERS[8], NUMBERS[9]),
    "answered session again": answered_session_again(NUMBERS[10]),
    "unknown user": unknown_user("+14255550139"),
    "unverified": unverified(NUMBERS[-1]),
}
OTHERS = [f"+142555501{last}" for last in range(32, 35)]
if IS_DESK:
    report |= {
        "sign-up without proof": sign_up_without_proof(POOL, CLIENT, OTHERS[1]),
        "sign-up with proof": sign_up_with_proof(OTHERS[2]),
    }
    print(json.dumps(report | {"slowest": SLOWEST["ms"]}))
    sys.exit()
for number in OTHERS[:2]:
    make_user(number, pool=STRICT_POOL)
report |= {
    "after a password": after_a_password(STRICT_POOL, STRICT_CLIENT, OTHERS[0], PASSWORD),
    "after a wrong password": after_a_password(STRICT_POOL, STRICT_CLIENT, OTHERS[1], "A-1-wrong-one"),
    "without a password": without_a_password(STRICT_CLIENT, OTHERS[1]),
    "sign-up without proof": sign_up_without_proof(STRICT_POOL, STRICT_CLIENT, OTHERS[2]),
}
print(json.dumps(report | {"slowest": SLOWEST["ms"]}))
