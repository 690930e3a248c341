"""Signs in with a user pool whose triggers are the packaged function, as an app does.

    cognito.py MINISTACK SIMULATOR BOOTSTRAP SETTINGS

MINISTACK and SIMULATOR are URLs, BOOTSTRAP is the program, SETTINGS are the function's as JSON. Makes the ledger's table,
the function, a user pool and a client like those of the template, and users. Prints what happened as one line of JSON: per
scenario what the app saw, how many texts arrived, and the slowest call in milliseconds.
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

MINISTACK, SIMULATOR, BOOTSTRAP, SETTINGS = sys.argv[1:]
SETTINGS = json.loads(SETTINGS)

SLOWEST = {"ms": 0}


def client(service):
    # One attempt: what is sent again here would look like a fault of the function.
    once = Config(retries={"total_max_attempts": 1}, read_timeout=30)
    return boto3.client(
        service,
        endpoint_url=MINISTACK,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=once,
    )


idp, functions, tables = client("cognito-idp"), client("lambda"), client("dynamodb")


# --- what the template makes ----------------------------------------------------------------------------------------


def make_table():
    tables.create_table(
        TableName=SETTINGS["LEDGER_TABLE"],
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
    )
    tables.get_waiter("table_exists").wait(TableName=SETTINGS["LEDGER_TABLE"], WaiterConfig={"Delay": 1})


def make_function():
    package = io.BytesIO()
    with zipfile.ZipFile(package, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file:
        entry = zipfile.ZipInfo("bootstrap")
        entry.external_attr = 0o755 << 16
        entry.compress_type = zipfile.ZIP_DEFLATED
        with open(BOOTSTRAP, "rb") as program:
            file.writestr(entry, program.read())
    made = functions.create_function(
        FunctionName="otp",
        Runtime="provided.al2023",
        Handler="bootstrap",
        Role="arn:aws:iam::000000000000:role/otp",
        Code={"ZipFile": package.getvalue()},
        Timeout=10,
        MemorySize=256,
        Environment={"Variables": SETTINGS},
    )
    return made["FunctionArn"]


def make_pool(function):
    triggers = ["DefineAuthChallenge", "CreateAuthChallenge", "VerifyAuthChallengeResponse"]
    made = idp.create_user_pool(
        PoolName="otp",
        UsernameAttributes=["phone_number"],
        AdminCreateUserConfig={"AllowAdminCreateUserOnly": True},
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


def make_user(number, verified="true"):
    """As an administrator does it: nobody is told, and the number counts as verified."""
    idp.admin_create_user(
        UserPoolId=POOL,
        Username=number,
        MessageAction="SUPPRESS",
        UserAttributes=[
            {"Name": "phone_number", "Value": number},
            {"Name": "phone_number_verified", "Value": verified},
        ],
    )
    # A password that nobody knows, so that no first one has to be changed.
    idp.admin_set_user_password(UserPoolId=POOL, Username=number, Password="A-1-never-used", Permanent=True)


# --- the phone and the app ------------------------------------------------------------------------------------------


def texts(number):
    with urllib.request.urlopen(f"{SIMULATOR}/inbox?to={urllib.parse.quote(number)}") as answer:
        return json.load(answer)["messages"]


def code(number):
    return max(texts(number), key=lambda text: text["id"])["code"]


def wrong(right, nth=1):
    return right[:-1] + str((int(right[-1]) + nth) % 10)


def timed(call, **arguments):
    begun = time.monotonic()
    try:
        return call(**arguments)
    finally:
        SLOWEST["ms"] = max(SLOWEST["ms"], round((time.monotonic() - begun) * 1000))


def begin(number):
    return timed(idp.initiate_auth, ClientId=CLIENT, AuthFlow="CUSTOM_AUTH", AuthParameters={"USERNAME": number})


def answer(number, challenge, text):
    """The next challenge, or the tokens, or the name of an error."""
    try:
        return timed(
            idp.respond_to_auth_challenge,
            ClientId=CLIENT,
            ChallengeName="CUSTOM_CHALLENGE",
            Session=challenge["Session"],
            ChallengeResponses={"USERNAME": number, "ANSWER": text},
        )
    except idp.exceptions.NotAuthorizedException:
        return "NotAuthorizedException"


def seen(step):
    """What the app sees of a step, without what differs from run to run."""
    if isinstance(step, str):
        return step
    if "AuthenticationResult" in step:
        return "tokens"
    parameters = step["ChallengeParameters"]
    return f"{parameters['state']}, {parameters['attemptsLeft']} left"


def told(number, *steps):
    return {"steps": [seen(step) for step in steps], "texts": len(texts(number))}


# --- the scenarios --------------------------------------------------------------------------------------------------


def straight(number):
    first = begin(number)
    return told(number, first, answer(number, first, code(number))) | {"parameters": first["ChallengeParameters"]}


def one_wrong_answer(number):
    first = begin(number)
    second = answer(number, first, wrong(code(number)))
    return told(number, first, second, answer(number, second, code(number)))


def wrong_answers_only(number):
    steps = [begin(number)]
    for nth in (1, 2, 3):
        steps.append(answer(number, steps[-1], wrong(code(number), nth)))
    return told(number, *steps)


def resend(number):
    first = begin(number)
    second = answer(number, first, "resend")
    return told(number, first, second, answer(number, second, code(number)))


def lost_session(number):
    begin(number)
    again = begin(number)
    return told(number, again, answer(number, again, code(number)))


def used_code(number):
    first = begin(number)
    right = code(number)
    tokens = answer(number, first, right)
    again = begin(number)
    return told(number, first, tokens, again, answer(number, again, right))


def two_at_once(*numbers):
    def sign_in(number):
        first = begin(number)
        return told(number, first, answer(number, first, code(number)))

    with ThreadPoolExecutor(len(numbers)) as both:
        return list(both.map(sign_in, numbers))


def each_others_codes(one, other):
    """A code is good for its owner alone."""
    first, second = begin(one), begin(other)
    crossed = [answer(one, first, code(other)), answer(other, second, code(one))]
    return {"steps": [seen(step) for step in crossed], "texts": len(texts(one)) + len(texts(other))}


def unverified(number):
    first = begin(number)
    return told(number, first, answer(number, first, "123456")) | {"parameters": first["ChallengeParameters"]}


make_table()
POOL = make_pool(make_function())
CLIENT = make_client(POOL)
NUMBERS = [f"+142555501{last}" for last in range(20, 32)]
for it in NUMBERS[:-1]:
    make_user(it)
make_user(NUMBERS[-1], verified="false")

report = {
    "straight": straight(NUMBERS[0]),
    "one wrong answer": one_wrong_answer(NUMBERS[1]),
    "wrong answers only": wrong_answers_only(NUMBERS[2]),
    "resend": resend(NUMBERS[3]),
    "lost session": lost_session(NUMBERS[4]),
    "used code": used_code(NUMBERS[5]),
    "two at once": two_at_once(NUMBERS[6], NUMBERS[7]),
    "each other's codes": each_others_codes(NUMBERS[8], NUMBERS[9]),
    "unverified": unverified(NUMBERS[-1]),
}
print(json.dumps(report | {"slowest": SLOWEST["ms"]}))
