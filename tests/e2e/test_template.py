"""Tests of the template as CloudFormation would see it: transformed offline, with parameters and conditions resolved.

    target/e2e/sam/bin/python -m pytest tests/e2e/test_template.py
"""

import copy
import hashlib
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import boto3
import pytest
from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator
from samtranslator.yaml_helper import yaml_parse

ROOT = Path(__file__).resolve().parents[2]
TEMPLATE = ROOT / "template.yaml"
BIN = Path(sys.executable).parent

REGION = "eu-central-1"
ACCOUNT = "123456789012"
APPLICATION = "0123456789abcdef0123456789abcdef"
SEND = f"arn:aws:mobiletargeting:{REGION}:{ACCOUNT}:apps/{APPLICATION}/otp"
VERIFY = f"arn:aws:mobiletargeting:{REGION}:{ACCOUNT}:apps/{APPLICATION}/verify-otp"
PHONE = f"arn:aws:sms-voice:{REGION}:{ACCOUNT}:phone-number/phone-0123456789abcdef"
SENDER = f"arn:aws:sms-voice:{REGION}:{ACCOUNT}:sender-id/BRANDX/GB"
CALLER = f"arn:aws:sms-voice:{REGION}:{ACCOUNT}:pool/pool-0123456789abcdef"
NOTIFY = f"arn:aws:sms-voice:{REGION}:{ACCOUNT}:notify-configuration/nc-1234567890abcdef0"
WHATSAPP = f"arn:aws:social-messaging:{REGION}:{ACCOUNT}:phone-number-id/fedcba9876543210fedcba9876543210"
CONFIGURATION_SET = f"arn:aws:sms-voice:{REGION}:{ACCOUNT}:configuration-set/codes"
MESSAGES = f"arn:aws:sms-voice:{REGION}:{ACCOUNT}:message/*"
LOGS = f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:FunctionLogs:*"
TABLE = f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/Ledger"
SECRET = f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:LedgerKey-AbCdEf"
POOL = f"arn:aws:cognito-idp:{REGION}:{ACCOUNT}:userpool/{REGION}_UserPool1"
GIVEN_POOL = f"arn:aws:cognito-idp:{REGION}:{ACCOUNT}:userpool/{REGION}_AbCdEf123"
FUNCTION = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:Function"
LIVE = f"{FUNCTION}:live"
TRIGGERS = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:Triggers"
TRIGGERS_LIVE = f"{TRIGGERS}:live"
ROLE_ARN = f"arn:aws:iam::{ACCOUNT}:role/web/app"
BOUNDARY = f"arn:aws:iam::{ACCOUNT}:policy/teams/boundary"
KEY = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/01234567-89ab-cdef-0123-456789abcdef"
CERTIFICATE = f"arn:aws:acm:{REGION}:{ACCOUNT}:certificate/01234567-89ab-cdef-0123-456789abcdef"
SUBNETS, GROUP = "subnet-0123456789abcdef0,subnet-0123456789abcdef1", "sg-0123456789abcdef0"
LAYER = f"arn:aws:lambda:{REGION}:{ACCOUNT}:layer:Config:1"

REQUIRED = {
    "Provider": "pinpoint",
    "OriginationIdentity": "+14255550100",
    "BrandName": "ExampleCorp",
    "AllowedCountries": "US,CA",
}
# The parameters of a test that gives no others.
USUAL = {**REQUIRED, "PinpointApplicationId": APPLICATION}

PINPOINT = {"Provider": "pinpoint"}
MESSAGING = {"Provider": "end-user-messaging"}
PROVIDERS = {
    "Pinpoint": PINPOINT,
    "End User Messaging": MESSAGING,
    "Pinpoint after End User Messaging": {**PINPOINT, "PreviousProvider": "end-user-messaging"},
    "End User Messaging after Pinpoint": {
        "Provider": "end-user-messaging",
        "PreviousProvider": "pinpoint",
    },
}
# The parameters that each channel needs.
ORIGINS = {
    "sms": {"SmsOriginationArns": f"{PHONE},{SENDER},{NOTIFY}"},
    "voice": {"VoiceOriginationArns": f"{CALLER},{NOTIFY}"},
    "whatsapp": {"WhatsAppOriginationArns": WHATSAPP, "WhatsAppTemplate": "verification_code"},
}
CHANNELS = [
    ",".join(some) for count in (1, 2, 3) for some in itertools.permutations(["sms", "voice", "whatsapp"], count)
]


def through(channels):
    """The parameters for a list of channels."""
    return {"Channels": channels} | {name: it for one in channels.split(",") for name, it in ORIGINS[one].items()}


def every_provider():
    """Every combination that affects the role: provider and, with End User Messaging, channels, feedback, configuration set."""
    for name, provider in PROVIDERS.items():
        if "end-user-messaging" not in provider.values():
            yield name, provider
            continue
        for channels, feedback, configuration_set in itertools.product(CHANNELS, ["off", "on"], ["", "codes"]):
            words = [name, channels] + ["feedback"] * (feedback == "on") + ["configuration set"] * bool(configuration_set)
            more = {"MessageFeedback": feedback, "ConfigurationSet": configuration_set}
            yield "; ".join(words), {**provider, **through(channels), **more}


TOKENS = {"ApiAuth": "jwt", "JwtIssuer": "https://cognito-idp.us-east-1.amazonaws.com/us-east-1_Ex4mple", "JwtAudiences": "app,shop"}

VARIANTS = {
    "defaults": {},
    "x86_64": {"Architecture": "x86_64"},
    "reserved": {"ReservedConcurrency": "7"},
    "stopped": {"ReservedConcurrency": "0"},
    "public": {"ApiAuth": "none"},
    "public from browsers": {"ApiAuth": "none", "AllowedOrigins": "https://example.com,http://localhost:8080"},
    "users with tokens": TOKENS,
    "users with tokens from browsers": {**TOKENS, "AllowedOrigins": "https://example.com"},
    "a new pool": {"Cognito": "new"},
    "a new pool with instances of its own": {"Cognito": "new", "ReservedConcurrency": "5", "CognitoReservedConcurrency": "7"},
    "a stopped pool": {"Cognito": "new", "CognitoReservedConcurrency": "0"},
    "a new pool with sign-up and step-up": {"Cognito": "new", "CognitoPreSignUp": "on", "CognitoStepUp": "required", "ReferenceId": "random"},
    "a given pool": {"CognitoUserPoolArn": GIVEN_POOL},
    "End User Messaging": {**MESSAGING, **through("sms")},
    "End User Messaging with everything": {
        **MESSAGING,
        **through("voice,sms,whatsapp"),
        "OriginationIdentity": PHONE,
        "OriginationIdentities": f"voice={CALLER},GB/sms={SENDER},whatsapp={WHATSAPP}",
        "CodeType": "alphanumeric",
        "CodeLength": "4",
        "ValidityPeriod": "1",
        "WhatsAppLanguages": "en-US,pt-BR",
        "DoNotShareLine": "off",
        "WebOtpDomain": "example.com",
        "AndroidAppHash": "FA+9qCX9VSu",
        "ConfigurationSet": "codes",
        "DeliveryEvents": "on",
        "MessageFeedback": "on",
        "Language": "country",
        "TestNumbers": "+14255550100=A1B2@2027-01-31",
    },
    "from Pinpoint to End User Messaging": {**PROVIDERS["End User Messaging after Pinpoint"], **through("sms,voice")},
    "from End User Messaging to Pinpoint": {**PROVIDERS["Pinpoint after End User Messaging"], **through("sms")},
    "everything": {
        "BrandNames": "Acme, Inc.;Booking.com",
        "TrustedPrincipals": ROLE_ARN,
        "SendLimits": "1/1m",
        "PrefixLimits": "none",
        "SourceLimits": "none",
        "SourceNetworkLimits": "none",
        "MinCodeLength": "6",
        "MaxValidityPeriod": "10",
        "CountryLimits": "JM=20/1h,5USD/24h;*=500/24h",
        "Budgets": "20.5USD/1h",
        "TestNumbers": "+14255550100=123456@2027-01-31",
        "OriginationIdentities": "IN=BRANDX,GB=+447700900000",
        "AllowedCountries": "*",
        "DltEntityId": "1101234567890123456",
        "DltTemplateId": "1107123456789012345",
        "ReferenceId": "random",
        "LogLevel": "DEBUG",
        "Monitoring": "full",
        "Tracing": "on",
        "ReservedConcurrency": "3",
        "Architecture": "x86_64",
        "Cognito": "new",
        "CognitoStepUp": "required",
        "CognitoUnverifiedPhone": "allow",
        "CognitoPreSignUp": "on",
        "CognitoLanguageAttribute": "custom:language",
        "CognitoFloorMs": "1500",
        "CognitoShownNumber": "+4",
        "SignInShare": "30",
        "CognitoReservedConcurrency": "4",
    },
}


def skip(reason):
    if os.environ.get("OTP_SKIP_NOTHING") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


# --- from the template to resources ---------------------------------------------------------------------------------


def template():
    return yaml_parse(TEMPLATE.read_text())


def transform(source, **parameters):
    """The result of the serverless transform. Intrinsic functions are not resolved yet."""
    source = copy.deepcopy(source)
    # `sam package` writes the locations of the uploaded zips here.
    for name in ("Function", "Triggers"):
        source["Resources"][name]["Properties"]["CodeUri"] = "s3://some-bucket/some-key"
    source["Resources"]["Config"]["Properties"]["ContentUri"] = "s3://some-bucket/another-key"
    translator = Translator({}, Parser(), boto_session=boto3.Session(region_name=REGION))
    return translator.translate(source, {**USUAL, **parameters})


ABSENT = object()


class Resolver:
    """Resolves the intrinsic functions that the template uses. An unknown function is an error."""

    def __init__(self, transformed, parameters):
        self.transformed = transformed
        self.references = {
            "AWS::Partition": "aws",
            "AWS::Region": REGION,
            "AWS::AccountId": ACCOUNT,
            "AWS::URLSuffix": "amazonaws.com",
            "AWS::StackName": "otp",
            "AWS::StackId": f"arn:aws:cloudformation:{REGION}:{ACCOUNT}:stack/otp/11111111-2222",
            "AWS::NoValue": ABSENT,
        }
        for name, parameter in transformed["Parameters"].items():
            # A missing required parameter is a KeyError here and an error in CloudFormation.
            self.references[name] = str(parameters[name] if name in parameters else parameter["Default"])
        for name, resource in transformed["Resources"].items():
            properties = resource.get("Properties", {})
            of = properties.get("FunctionName")
            alias = f"{TRIGGERS if of == {'Ref': 'Triggers'} else FUNCTION}:{properties.get('Name')}"
            arns = {"AWS::Lambda::LayerVersion": LAYER, "AWS::Lambda::Alias": alias, "AWS::Lambda::Version": f"{FUNCTION}:1"}
            self.references[name] = arns.get(resource["Type"], name)

    def attribute(self, resource, name):
        kind = self.transformed["Resources"][resource]["Type"]
        others = {
            ("AWS::ApiGatewayV2::Api", "ApiEndpoint"): f"https://{resource}.execute-api.{REGION}.amazonaws.com",
            ("AWS::CloudFormation::CustomResource", "Version"): "7",
            ("AWS::CloudFormation::CustomResource", "TriggersVersion"): "8",
            ("AWS::CloudFormation::Stack", "Outputs.Target"): "target.example.com",
            ("AWS::CloudFormation::Stack", "Outputs.Topic"): f"arn:aws:sns:{REGION}:{ACCOUNT}:Topic",
            ("AWS::Lambda::Version", "Version"): "1",
            ("AWS::SecretsManager::Secret", "Id"): SECRET,
        }
        if (kind, name) in others:
            return others[kind, name]
        assert name == "Arn", f"{resource}.{name}"
        return {
            "AWS::Logs::LogGroup": f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{resource}:*",
            "AWS::IAM::Role": f"arn:aws:iam::{ACCOUNT}:role/{resource}",
            "AWS::Lambda::Function": f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{resource}",
            "AWS::DynamoDB::Table": f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{resource}",
            "AWS::Cognito::UserPool": POOL,
        }[kind]

    def substitute(self, text, variables):
        def one(match):
            name = match.group(1)
            if name in variables:
                return variables[name]
            return self.attribute(*name.split(".", 1)) if "." in name else self.references[name]

        return re.sub(r"\$\{([^!}][^}]*)\}", one, text)

    def condition(self, value):
        if isinstance(value, str):
            return self.condition(self.transformed["Conditions"][value])
        ((function, arguments),) = value.items()
        if function == "Condition":
            return self.condition(arguments)
        if function == "Fn::Not":
            return not self.condition(arguments[0])
        if function == "Fn::And":
            return all(map(self.condition, arguments))
        if function == "Fn::Or":
            return any(map(self.condition, arguments))
        if function == "Fn::Equals":
            left, right = (self(argument) for argument in arguments)
            return left == right
        if function == "Fn::Contains":
            # Allowed only in rules.
            return self(arguments[1]) in self(arguments[0])
        raise AssertionError(f"unknown condition {function}")

    def __call__(self, value):
        if isinstance(value, list):
            return [item for item in map(self, value) if item is not ABSENT]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            ((function, arguments),) = value.items()
            if function == "Ref":
                return self.references[arguments]
            if function == "Fn::If":
                return self(arguments[1] if self.condition(arguments[0]) else arguments[2])
            if function == "Fn::GetAtt":
                return self.attribute(*(arguments.split(".", 1) if isinstance(arguments, str) else arguments))
            if function == "Fn::Sub":
                text, variables = (arguments, {}) if isinstance(arguments, str) else arguments
                return self.substitute(text, self(variables))
            if function == "Fn::Select":
                index, items = arguments
                return self(items)[index]
            if function == "Fn::Split":
                separator, text = arguments
                return self(text).split(separator)
            assert not function.startswith("Fn::"), f"unknown function {function}"
        resolved = ((key, self(item)) for key, item in value.items())
        return {key: item for key, item in resolved if item is not ABSENT}


def deployed(source=None, **parameters):
    """The resources and outputs of a stack with these parameters."""
    given = {**USUAL, **parameters}
    transformed = transform(source or template(), **parameters)
    resolver = Resolver(transformed, given)

    def existing(items):
        return {name: it for name, it in items.items() if resolver.condition(it.get("Condition", {"Fn::And": []}))}

    return resolver({key: existing(transformed[key]) for key in ("Resources", "Outputs")})


def of_type(stack, kind):
    return {name: it.get("Properties", {}) for name, it in stack["Resources"].items() if it["Type"] == kind}


def function_of(stack):
    return of_type(stack, "AWS::Lambda::Function")["Function"]


def environment(stack):
    """The variables that are set. For the program, an empty variable is not set."""
    return {name: value for name, value in function_of(stack)["Environment"]["Variables"].items() if value != ""}


def triggers_of(stack):
    return of_type(stack, "AWS::Lambda::Function").get("Triggers")


# --- rules for every stack ------------------------------------------------------------------------------------------

TYPES = [
    "AWS::ApiGatewayV2::Api",
    "AWS::ApiGatewayV2::Integration",
    "AWS::ApiGatewayV2::Route",
    "AWS::ApiGatewayV2::Route",
    "AWS::ApiGatewayV2::Route",
    "AWS::ApiGatewayV2::Route",
    "AWS::ApiGatewayV2::Stage",
    "AWS::CloudFormation::CustomResource",
    "AWS::DynamoDB::Table",
    "AWS::IAM::Role",
    "AWS::IAM::Role",
    "AWS::Lambda::Alias",
    "AWS::Lambda::Alias",
    "AWS::Lambda::Alias",
    "AWS::Lambda::Alias",
    "AWS::Lambda::Function",
    "AWS::Lambda::Function",
    "AWS::Lambda::LayerVersion",
    "AWS::Lambda::Permission",
    "AWS::Lambda::Version",
    "AWS::Logs::LogGroup",
    "AWS::Logs::LogGroup",
    "AWS::Logs::LogGroup",
    "AWS::SecretsManager::Secret",
]

WITH_A_GIVEN_POOL = ["AWS::Lambda::Alias", "AWS::Lambda::Function", "AWS::Lambda::Permission", "AWS::Logs::LogGroup"]
WITH_A_NEW_POOL = ["AWS::Cognito::UserPool", "AWS::Cognito::UserPoolClient", *WITH_A_GIVEN_POOL]

# The routes and their authorization, by ApiAuth.
ROUTES = {
    "iam": dict.fromkeys(["POST /otp/send", "POST /otp/verify", "POST /otp/status", "POST /otp/cancel"], "AWS_IAM"),
    "jwt": {
        "POST /otp/send": "JWT",
        "POST /otp/verify": "JWT",
        "POST /otp/status": "AWS_IAM",
        "POST /otp/cancel": "AWS_IAM",
    },
    "none": {
        "POST /otp/send": "NONE",
        "POST /otp/verify": "NONE",
        "POST /otp/status": "AWS_IAM",
        "POST /otp/cancel": "AWS_IAM",
    },
}

LEDGER = {
    "BillingMode": "PAY_PER_REQUEST",
    "AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "S"}],
    "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}],
    "TimeToLiveSpecification": {"AttributeName": "ttl", "Enabled": True},
}

# The prefixes of the items that the function writes. K# is left out: an item with K# holds the operator's switches, and the
# function only reads this item.
WRITTEN = ["V#*", "N#*", "D#*", "I#*", "S#*", "R#*", "B#*"]


def only_keys(*beginnings):
    keys = "dynamodb:LeadingKeys"
    return {"ForAllValues:StringLike": {keys: list(beginnings)}, "Null": {keys: "false"}}


def allow(sid, action, resource, condition=None):
    statement = {"Sid": sid, "Effect": "Allow", "Action": action, "Resource": resource}
    return statement | ({"Condition": condition} if condition else {})


# Permissions of the function with every provider.
ALWAYS = [
    allow("ReadLedger", ["dynamodb:GetItem", "dynamodb:BatchGetItem"], TABLE, only_keys(*WRITTEN, "K#*")),
    allow("WriteLedger", "dynamodb:UpdateItem", TABLE, only_keys(*WRITTEN)),
    allow("ReadLedgerKey", "secretsmanager:GetSecretValue", SECRET),
    # Each ARN covers the streams of this log group and no other group.
    allow("WriteOwnLogs", ["logs:CreateLogStream", "logs:PutLogEvents"], [LOGS]),
]


def has_pool(parameters):
    return parameters.get("Cognito") == "new" or bool(parameters.get("CognitoUserPoolArn"))


WRITE_TRACES = allow("WriteTraces", ["xray:PutTelemetryRecords", "xray:PutTraceSegments"], "*")


def always_of(parameters):
    """The triggers have the role of the function, and a log group of their own."""
    *rest, logs = ALWAYS
    traces = [WRITE_TRACES] if parameters.get("Tracing") == "on" else []
    return [*rest, *traces, logs | {"Resource": [LOGS] + [TRIGGERS_LOGS] * has_pool(parameters)}]


def of_providers(
    Provider="pinpoint",
    PreviousProvider="",
    Channels="sms",
    MessageFeedback="off",
    ConfigurationSet="",
    **_,
):
    """Permissions of the function for its providers: the calls that its adapters make."""
    used = {Provider, PreviousProvider}
    found = []
    if Provider == "pinpoint":
        found.append(allow("SendOtp", "mobiletargeting:SendOTPMessage", SEND))
    if "pinpoint" in used:
        found.append(allow("VerifyOtp", "mobiletargeting:VerifyOTPMessage", VERIFY))
    if Provider == "end-user-messaging":
        found.append(allow("SendCodeVerification", "end-user-messaging:SendNotifyCodeVerification", "*"))
    if "end-user-messaging" not in used:
        return found
    found.append(allow("ValidateCodeVerification", "end-user-messaging:ValidateNotifyCodeVerification", "*"))
    if Provider == "end-user-messaging":
        channels = Channels.split(",")
        by_configuration_set = []
        if "sms" in channels:
            actions = ["sms-voice:SendTextMessage", "sms-voice:SendNotifyTextMessage"]
            found.append(allow("SendTexts", actions, [PHONE, SENDER, NOTIFY]))
            by_configuration_set += actions
        if "voice" in channels:
            actions = ["sms-voice:SendVoiceMessage", "sms-voice:SendNotifyVoiceMessage"]
            found.append(allow("MakeCalls", actions, [CALLER, NOTIFY]))
            by_configuration_set += actions
        if "whatsapp" in channels:
            found.append(allow("SendByWhatsApp", "social-messaging:SendWhatsAppMessage", [WHATSAPP]))
        if ConfigurationSet and by_configuration_set:
            found.append(allow("SendWithConfigurationSet", by_configuration_set, CONFIGURATION_SET))
    if MessageFeedback == "on":
        found.append(allow("TellWhichCodesCameBack", "sms-voice:PutMessageFeedback", MESSAGES))
    return found


def expected_role(**parameters):
    return {
        "Description": "Permissions of the function of the stack otp",
        "AssumeRolePolicyDocument": {
            "Version": "2012-10-17",
            "Statement": [
                {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
            ],
        },
        "Policies": [
            {
                "PolicyName": "otp",
                "PolicyDocument": {"Version": "2012-10-17", "Statement": of_providers(**parameters) + always_of(parameters)},
            }
        ],
    }


RELEASE_LOGS = LOGS.replace("FunctionLogs", "ReleaseLogs")
TRIGGERS_LOGS = LOGS.replace("FunctionLogs", "TriggersLogs")


def expected_release_role(functions):
    """The role may invoke versions and aliases of the functions, and may change nothing of the functions."""
    return {
        "Description": "Publishes and starts new versions of the functions.",
        "AssumeRolePolicyDocument": expected_role()["AssumeRolePolicyDocument"],
        "Policies": [
            {
                "PolicyName": "release",
                "PolicyDocument": {
                    "Version": "2012-10-17",
                    "Statement": [
                        allow("PublishVersions", ["lambda:ListVersionsByFunction", "lambda:PublishVersion"], functions),
                        allow("StartVersions", "lambda:InvokeFunction", [f"{it}:*" for it in functions]),
                        allow("WriteOwnLogs", ["logs:CreateLogStream", "logs:PutLogEvents"], RELEASE_LOGS),
                    ],
                },
            }
        ],
    }


# The only statements whose resource may have a wildcard. AWS has no narrower resource for them.
WILDCARDS = {
    "SendCodeVerification": ["*"],
    "ValidateCodeVerification": ["*"],
    "TellWhichCodesCameBack": [MESSAGES],
    "WriteOwnLogs": [LOGS, TRIGGERS_LOGS, RELEASE_LOGS],
    "StartVersions": [f"{FUNCTION}:*", f"{TRIGGERS}:*"],
    "WriteTraces": ["*"],
}

# These variables are set only if End User Messaging is used. If it is not used, the program rejects them.
OF_MESSAGING = {
    "CODE_TYPE",
    "CHANNELS",
    "WHATSAPP_TEMPLATE",
    "WHATSAPP_LANGUAGES",
    "DO_NOT_SHARE_LINE",
    "WEBOTP_DOMAIN",
    "ANDROID_APP_HASH",
    "CONFIGURATION_SET",
    "MESSAGE_FEEDBACK",
}


def user_pool(pre_sign_up):
    triggers = ["DefineAuthChallenge", "CreateAuthChallenge", "VerifyAuthChallengeResponse"]
    return {
        "UserPoolName": "otp",
        "UsernameAttributes": ["phone_number"],
        "AccountRecoverySetting": {"RecoveryMechanisms": [{"Name": "admin_only", "Priority": 1}]},
        "AdminCreateUserConfig": {"AllowAdminCreateUserOnly": not pre_sign_up},
        "LambdaConfig": dict.fromkeys(triggers + ["PreSignUp"] * pre_sign_up, TRIGGERS_LIVE),
    }


# No flow with a password. Such a flow calls no trigger, and asks for no code.
CLIENT = {
    "UserPoolId": "UserPool",
    "ClientName": "otp",
    "GenerateSecret": False,
    "ExplicitAuthFlows": ["ALLOW_CUSTOM_AUTH", "ALLOW_REFRESH_TOKEN_AUTH"],
    "PreventUserExistenceErrors": "ENABLED",
    "AuthSessionValidity": 15,
}

# The access log may contain these, but no caller, address, path or error text.
ACCESS_LOG = {
    "$context.requestTime",
    "$context.requestId",
    "$context.routeKey",
    "$context.status",
    "$context.error.responseType",
    "$context.responseLatency",
    "$context.responseLength",
    "$context.integration.status",
    "$context.integration.latency",
    "$context.integration.requestId",
}


def authorizer(ApiAuth="iam", JwtIssuer="", JwtAudiences="", **_):
    """The authorizers of a stack."""
    if ApiAuth != "jwt":
        return {}
    return {
        "Tokens": {
            "ApiId": "Api",
            "Name": "tokens",
            "AuthorizerType": "JWT",
            "IdentitySource": ["$request.header.Authorization"],
            "JwtConfiguration": {"Issuer": JwtIssuer, "Audience": JwtAudiences.split(",")},
        }
    }


def problems(stack, **parameters):
    """Everything in the stack that must not be deployed with these parameters, one line each."""
    found = []
    api_auth = parameters.get("ApiAuth", "iam")
    origins = parameters.get("AllowedOrigins", "")
    new_pool = parameters.get("Cognito") == "new"
    given_pool = parameters.get("CognitoUserPoolArn", "")
    pre_sign_up = parameters.get("CognitoPreSignUp") == "on"
    provider = parameters.get("Provider", "pinpoint")
    used = {provider, parameters.get("PreviousProvider", "")}

    def demand(holds, text):
        if not holds:
            found.append(text)

    # No other resource: a function URL, a second API or a permission for everyone would bypass the rest.
    types = sorted(TYPES + (WITH_A_NEW_POOL if new_pool else WITH_A_GIVEN_POOL if given_pool else []))
    parts = (parameters.get("Monitoring", "off") != "off") + 2 * (parameters.get("DeliveryEvents") == "on")
    types = sorted(types + ["AWS::CloudFormation::Stack"] * parts)
    types = sorted(types + ["AWS::ApiGatewayV2::Authorizer"] * (api_auth == "jwt"))
    demand(sorted(it["Type"] for it in stack["Resources"].values()) == types, "resources: not exactly the expected ones")

    roles = of_type(stack, "AWS::IAM::Role")
    with_pool = bool(new_pool or given_pool)
    release_role = expected_release_role([FUNCTION] + [TRIGGERS] * with_pool)
    expected_roles = {"FunctionRole": expected_role(**parameters), "ReleaseRole": release_role}
    demand(roles == expected_roles, "role: not exactly the expected one")
    for role in roles.values():
        demand(not role.get("ManagedPolicyArns"), "role: a managed policy")
        for policy in role.get("Policies", []):
            for statement in policy["PolicyDocument"]["Statement"]:
                for key in ("Action", "Resource", "NotAction", "NotResource"):
                    values = statement.get(key, [])
                    wildcards = WILDCARDS.get(statement.get("Sid"), []) if key == "Resource" else []
                    for value in [values] if isinstance(values, str) else values:
                        allowed = "*" not in value and "?" not in value or value in wildcards
                        demand(allowed, f"role: a wildcard in {value}")
    if "pinpoint" not in used:
        # Release lists each value of the settings, but does nothing with these values.
        acting = {name: it for name, it in stack["Resources"].items() if name != "Release"}
        whole = json.dumps([acting, stack["Outputs"]]).lower()
        demand("mobiletargeting" not in whole, "role: allows Pinpoint, which is not used")
        demand("pinpoint" not in whole and APPLICATION not in whole, "stack: mentions Pinpoint, which is not used")

    routes = of_type(stack, "AWS::ApiGatewayV2::Route").values()
    found_routes = {it["RouteKey"]: it.get("AuthorizationType", "NONE") for it in routes}
    demand(found_routes == ROUTES[api_auth], f"api: the routes are {found_routes}")
    demand(all(it["Target"] == "integrations/Integration" for it in routes), "api: a route to another integration")
    authorizers = {it.get("AuthorizationType"): it.get("AuthorizerId") for it in routes}
    demand({kind for kind, it in authorizers.items() if it} <= {"JWT"}, "api: an authorizer of a route without tokens")
    demand(authorizers.get("JWT") in (None, "Tokens"), "api: another authorizer")
    demand(of_type(stack, "AWS::ApiGatewayV2::Authorizer") == authorizer(**parameters), "api: not exactly the expected authorizer")
    for integration in of_type(stack, "AWS::ApiGatewayV2::Integration").values():
        demand(integration["PayloadFormatVersion"] == "2.0", "api: payload format is not 2.0")
        demand(integration["IntegrationUri"] == LIVE, "api: calls another version than the live one")
    cors = {
        "AllowOrigins": origins.split(","),
        "AllowMethods": ["POST"],
        "AllowHeaders": ["content-type", "idempotency-key", "traceparent", "x-request-id"] + ["authorization"] * (api_auth == "jwt"),
        "ExposeHeaders": ["idempotency-key-used", "x-request-id"],
        "MaxAge": 600,
    }
    for api in of_type(stack, "AWS::ApiGatewayV2::Api").values():
        demand(api["ProtocolType"] == "HTTP" and "Body" not in api and "Target" not in api, "api: routes from another definition")
        demand(api.get("CorsConfiguration") == (cors if origins else None), f"api: CORS is {api.get('CorsConfiguration')}")

    for stage in of_type(stack, "AWS::ApiGatewayV2::Stage").values():
        demand(stage["StageName"] == "$default" and stage["AutoDeploy"] is True, "stage: not $default, or not deployed automatically")
        limits = stage.get("DefaultRouteSettings", {})
        for name in ("ThrottlingRateLimit", "ThrottlingBurstLimit"):
            demand(float(limits.get(name, 0)) >= 1, f"stage: no {name}")
        demand("RouteSettings" not in stage, "stage: a route with its own limits")
        access = stage.get("AccessLogSettings", {"DestinationArn": None, "Format": "{}"})
        demand(access["DestinationArn"] == f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:ApiLogs:*", "stage: no access log")
        demand(set(json.loads(access["Format"]).values()) == ACCESS_LOG, "stage: the access log has other fields")

    expected = {
        "ApiMayInvoke": ("apigateway.amazonaws.com", f"arn:aws:execute-api:{REGION}:{ACCOUNT}:Api/*/POST/otp/*", LIVE),
    }
    if with_pool:
        expected["CognitoMayInvoke"] = ("cognito-idp.amazonaws.com", POOL if new_pool else given_pool, TRIGGERS_LIVE)
    permissions = of_type(stack, "AWS::Lambda::Permission")
    for name, permission in permissions.items():
        principal, source, alias = expected.get(name, (None, None, None))
        demand(permission["Principal"] == principal, f"permission: {name} allows another principal")
        demand(permission.get("SourceArn") == source, f"permission: {name} allows another source")
        demand(permission["Action"] == "lambda:InvokeFunction", f"permission: {name} allows another action")
        demand(permission["FunctionName"] == alias, f"permission: {name} allows another function")
    demand(set(permissions) == set(expected), "permission: not exactly the expected ones")

    pools = of_type(stack, "AWS::Cognito::UserPool")
    demand(pools == ({"UserPool": user_pool(pre_sign_up)} if new_pool else {}), "pool: not exactly the expected one")
    clients = of_type(stack, "AWS::Cognito::UserPoolClient")
    demand(clients == ({"UserPoolClient": CLIENT} if new_pool else {}), "client: not exactly the expected one")

    demand(of_type(stack, "AWS::DynamoDB::Table") == {"Ledger": LEDGER}, "ledger: not exactly the expected table")
    for secret in of_type(stack, "AWS::SecretsManager::Secret").values():
        generated = secret.get("GenerateSecretString", {})
        # 64 characters out of 62 are 381 bits. The template itself contains no value.
        demand(generated == {"PasswordLength": 64, "ExcludePunctuation": True}, "secret: not generated as expected")
        demand("SecretString" not in secret, "secret: in the template")
    for name in ("Ledger", "LedgerKey", "FunctionLogs", "ApiLogs", *["TriggersLogs"] * with_pool, *["UserPool"] * new_pool):
        it = stack["Resources"].get(name, {})
        policies = (it.get("DeletionPolicy"), it.get("UpdateReplacePolicy"))
        demand(policies == ("RetainExceptOnCreate", "Retain"), f"{name}: deleted with the stack")

    for name, group in of_type(stack, "AWS::Logs::LogGroup").items():
        demand(int(group.get("RetentionInDays", 0)) > 0, f"{name}: kept forever")

    # The alias moves only to a version that has started.
    aliases = of_type(stack, "AWS::Lambda::Alias")
    released = {"Live": "live", "Operator": "operator", "OperatorKey": "operator-key"}
    released = {name: (alias, "Function", "7") for name, alias in released.items()}
    # The triggers have no command of an operator, and so no other alias.
    released |= {"TriggersLive": ("live", "Triggers", "8")} if with_pool else {}
    for name, (alias, of, version) in released.items():
        given = {key: value for key, value in aliases[name].items() if key != "Description"}
        expected = {"Name": alias, "FunctionName": of, "FunctionVersion": version}
        demand(given == expected, f"{name}: another version than the released one")
    expected = [["Function", parameters.get("ReservedConcurrency", "")]]
    expected += [["Triggers", parameters.get("CognitoReservedConcurrency", "")]] * with_pool
    demand(stack["Resources"]["Release"]["Properties"]["Functions"] == expected, "release: of other functions")

    functions = of_type(stack, "AWS::Lambda::Function")
    releases = functions.pop("ReleaseFunction", {})
    demand("Environment" not in releases, "release: the function has settings")
    demand(set(functions) == {"Function", *["Triggers"] * with_pool}, "function: not exactly the expected ones")
    # Attack traffic through one door uses up the instances of this door alone.
    own = {"Function": ("ReservedConcurrency", "FunctionLogs"), "Triggers": ("CognitoReservedConcurrency", "TriggersLogs")}
    common = {}
    for name, function in functions.items():
        reserved, logs = own.get(name, ("", ""))
        demand(function.get("ReservedConcurrentExecutions", "") == parameters.get(reserved, ""), f"{name}: other reserved instances")
        demand(function["LoggingConfig"].get("LogGroup") == logs, f"{name}: logs to another group")
        common[name] = copy.deepcopy(function)
        common[name]["LoggingConfig"].pop("LogGroup", None)
        for key in ("ReservedConcurrentExecutions", "Description", "Tags"):
            common[name].pop(key, None)
        demand(common[name] == common["Function"], f"{name}: another package, role or setting than Function")
    for function in functions.values():
        logging = function.get("LoggingConfig", {})
        demand(logging.get("LogFormat") == "JSON", "function: logs are not JSON")
        demand(logging.get("SystemLogLevel") == "WARN", "function: logs what nobody reads")
        mode = "Active" if parameters.get("Tracing") == "on" else "PassThrough"
        demand(function.get("TracingConfig") == {"Mode": mode}, "function: tracing")
        demand((function["Runtime"], function["Handler"]) == ("provided.al2023", "bootstrap"), "function: runtime")
        demand(0 < function["Timeout"] < 29, "function: timeout is longer than the API waits")
        given = function["Environment"]["Variables"]
        # For the program, an empty variable is not set. For the SDK, an empty endpoint is an address without a host.
        demand(not any(name.startswith("AWS_") for name in given), "function: an endpoint")
        variables = {name: value for name, value in given.items() if value != ""}
        demand(variables.get("API_AUTH") == api_auth, "function: another ApiAuth than the routes")
        ledger = (variables.get("LEDGER_TABLE"), variables.get("LEDGER_KEY"))
        demand(ledger == ("Ledger", SECRET), "function: without the ledger")
        demand(variables.get("OPERATOR_ALIASES") == "on", "function: commands without their own alias")
        demand(variables.get("CONFIG_FILE") == "/opt/otp-lambda.json", "function: without the price file")
        demand(function.get("Layers") == [LAYER], "function: without its layer")
        providers = {variables.get("OTP_PROVIDER"), variables.get("OTP_PREVIOUS_PROVIDER", "")}
        demand(providers == used and variables["OTP_PROVIDER"] == provider, "function: other providers")
        demand(("PINPOINT_APPLICATION_ID" in variables) == ("pinpoint" in used), "function: the Pinpoint application is set, or not set, wrongly")
        if "end-user-messaging" not in used:
            demand(not OF_MESSAGING & set(variables), "function: settings of a provider that is not used")
    return found


# --- tests ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("variant", VARIANTS)
def test_stack_has_only_expected_resources_and_permissions(variant):
    parameters = VARIANTS[variant]
    assert problems(deployed(**parameters), **parameters) == []


def test_role_allows_only_the_calls_of_the_chosen_providers_and_channels():
    source = template()
    seen = set()
    for name, parameters in every_provider():
        found = problems(deployed(source, **parameters), **parameters)
        assert found == [], name
        assert not rejected(source, **parameters), name
        seen.add(json.dumps(of_providers(**parameters)))
    # The loop has tested 1 + 3 * 15 * 2 * 2 stacks. There are fewer different roles, for two reasons. The order of the
    # channels does not change the role. If the stack sends neither SMS nor calls, a configuration set does not change the
    # role, either.
    assert len(seen) == 1 + 2 + 2 * (7 * 2 + 6 * 2)


def properties(source, name):
    return source["Resources"][name]["Properties"]


def function(source):
    """What both functions have in common."""
    return source["Globals"]["Function"]


def variables(source):
    return function(source)["Environment"]["Variables"]


def statements(source):
    return properties(source, "FunctionRole")["Policies"][0]["PolicyDocument"]["Statement"]


def statement(source, sid):
    # Some statements are conditional.
    (found,) = (it for it in (it["Fn::If"][1] if "Fn::If" in it else it for it in statements(source)) if it["Sid"] == sid)
    return found


def always(source, sid):
    """Removes the condition of a statement."""
    every = statements(source)
    (index,) = (index for index, it in enumerate(every) if "Fn::If" in it and it["Fn::If"][1]["Sid"] == sid)
    every[index] = every[index]["Fn::If"][1]


def another_route(source, key):
    source["Resources"]["Another"] = copy.deepcopy(source["Resources"]["Send"])
    properties(source, "Another").update(RouteKey=key)


# Careless edits, and the problem that must be reported for each.
MUTATIONS = {
    "an open send": (lambda t: properties(t, "Send").update(AuthorizationType="NONE"), "api: the routes are"),
    "no authorisation": (lambda t: properties(t, "Verify").pop("AuthorizationType"), "api: the routes are"),
    "an open status": (lambda t: properties(t, "Status").update(AuthorizationType="NONE"), "api: the routes are"),
    "another route": (lambda t: another_route(t, "POST /otp"), "resources: not exactly"),
    "another method": (lambda t: properties(t, "Send").update(RouteKey="GET /otp/send"), "api: the routes are"),
    "a catch-all route": (lambda t: properties(t, "Cancel").update(RouteKey="$default"), "api: the routes are"),
    "triggers although there is no pool": (lambda t: t["Resources"]["Triggers"].pop("Condition"), "resources: not exactly"),
    "a function URL": (lambda t: properties(t, "Function").update(FunctionUrlConfig={"AuthType": "NONE"}), "resources: not exactly"),
    "a quick create": (lambda t: properties(t, "Api").update(Target="arn:aws:lambda"), "routes from another definition"),
    "CORS": (lambda t: properties(t, "Api").update(CorsConfiguration={"AllowOrigins": ["*"]}), "api: CORS is"),
    "CORS for signed callers": (
        lambda t: t["Conditions"].update(HasOrigins={"Fn::Equals": [{"Ref": "ApiAuth"}, "iam"]}),
        "api: CORS is",
    ),
    "payload format 1.0": (lambda t: properties(t, "Integration").update(PayloadFormatVersion="1.0"), "payload format is not 2.0"),
    "an API that calls the newest version": (
        lambda t: properties(t, "Integration").update(IntegrationUri={"Fn::GetAtt": ["Function", "Arn"]}),
        "api: calls another version",
    ),
    "a permission for every version": (
        lambda t: properties(t, "ApiMayInvoke").update(FunctionName={"Ref": "Function"}),
        "ApiMayInvoke allows another function",
    ),
    "an alias of a version that was not started": (
        lambda t: properties(t, "Live").update(FunctionVersion={"Fn::GetAtt": ["Function.Version", "Version"]}),
        "Live: another version",
    ),
    "an operator's alias of a version that was not started": (
        lambda t: properties(t, "OperatorKey").update(FunctionVersion={"Fn::GetAtt": ["Function.Version", "Version"]}),
        "OperatorKey: another version",
    ),
    "a permission for the operator's alias": (
        lambda t: properties(t, "ApiMayInvoke").update(FunctionName={"Ref": "Operator"}),
        "ApiMayInvoke allows another function",
    ),
    "commands for every caller of the alias live": (
        lambda t: variables(t).pop("OPERATOR_ALIASES"),
        "function: commands without their own alias",
    ),
    "a release that changes the function": (
        lambda t: properties(t, "ReleaseRole")["Policies"][0]["PolicyDocument"]["Statement"][0].update(Action="lambda:*"),
        "role: a wildcard in lambda",
    ),
    "no throttling": (lambda t: properties(t, "Stage").pop("DefaultRouteSettings"), "no ThrottlingRateLimit"),
    "no access log": (lambda t: properties(t, "Stage").pop("AccessLogSettings"), "no access log"),
    "addresses in the access log": (
        lambda t: properties(t, "Stage")["AccessLogSettings"].update(Format='{"ip":"$context.identity.sourceIp"}'),
        "the access log has other",
    ),
    "any API may invoke": (lambda t: properties(t, "ApiMayInvoke").pop("SourceArn"), "permission: ApiMayInvoke allows another source"),
    "a pool may invoke although there is none": (
        lambda t: t["Conditions"].update(HasPool={"Fn::Equals": [{"Ref": "Cognito"}, "none"]}),
        "resources: not exactly",
    ),
    "wider resource": (lambda t: statement(t, "SendOtp").update(Resource="*"), "role: a wildcard in *"),
    "all of the application": (
        lambda t: statement(t, "SendOtp").update(Resource={"Fn::Sub": "arn:aws:mobiletargeting:::apps/${PinpointApplicationId}/*"}),
        "role: a wildcard in arn",
    ),
    "wider action": (lambda t: statement(t, "VerifyOtp").update(Action="mobiletargeting:*"), "role: a wildcard in mobile"),
    "another action": (lambda t: statement(t, "VerifyOtp").update(Action="mobiletargeting:SendMessages"), "role: not exactly"),
    "another statement": (
        lambda t: statements(t).append({"Effect": "Allow", "Action": "s3:GetObject", "Resource": SEND}),
        "role: not exactly",
    ),
    "every table": (
        lambda t: statement(t, "WriteLedger").update(Resource="arn:aws:dynamodb:eu-central-1:123456789012:table/*"),
        "role: a wildcard in arn:aws:dynamodb",
    ),
    "another action on the table": (
        lambda t: statement(t, "WriteLedger").update(Action=["dynamodb:UpdateItem", "dynamodb:DeleteItem"]),
        "role: not exactly",
    ),
    "the function writes switches": (
        lambda t: statement(t, "WriteLedger").update(Condition=statement(t, "ReadLedger")["Condition"]),
        "role: not exactly",
    ),
    "a write without a key": (lambda t: statement(t, "WriteLedger")["Condition"].pop("Null"), "role: not exactly"),
    "every secret": (lambda t: statement(t, "ReadLedgerKey").update(Resource="*"), "role: a wildcard in *"),
    "a managed policy": (
        lambda t: properties(t, "FunctionRole").update(
            ManagedPolicyArns=["arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"]
        ),
        "role: a managed policy",
    ),
    "SAM's own role": (lambda t: (properties(t, "Function").pop("Role"), t["Resources"].pop("FunctionRole")), "role: a managed policy"),
    "a table without expiry": (lambda t: properties(t, "Ledger").pop("TimeToLiveSpecification"), "expected table"),
    "a stream": (
        lambda t: properties(t, "Ledger").update(StreamSpecification={"StreamViewType": "NEW_IMAGE"}),
        "expected table",
    ),
    "a table deleted with the stack": (lambda t: t["Resources"]["Ledger"].pop("DeletionPolicy"), "Ledger: deleted with the stack"),
    "a table deleted when replaced": (
        lambda t: t["Resources"]["Ledger"].pop("UpdateReplacePolicy"),
        "Ledger: deleted with the stack",
    ),
    "a secret deleted with the stack": (
        lambda t: t["Resources"]["LedgerKey"].update(DeletionPolicy="Delete"),
        "LedgerKey: deleted with the stack",
    ),
    "a short secret": (
        lambda t: properties(t, "LedgerKey")["GenerateSecretString"].update(PasswordLength=32),
        "secret: not generated",
    ),
    "a secret in the template": (lambda t: properties(t, "LedgerKey").update(SecretString="x"), "secret: in the template"),
    "no ledger": (lambda t: variables(t).pop("LEDGER_TABLE"), "function: without the ledger"),
    "another key": (lambda t: variables(t).update(LEDGER_KEY="c2VjcmV0"), "function: without the ledger"),
    "no prices": (lambda t: function(t).pop("Layers"), "function: without its layer"),
    "tracing": (lambda t: function(t).update(Tracing="Active"), "function: tracing"),
    "text logs": (lambda t: function(t)["LoggingConfig"].update(LogFormat="Text"), "logs are not JSON"),
    "logs kept forever": (lambda t: properties(t, "FunctionLogs").pop("RetentionInDays"), "kept forever"),
    "logs deleted with the stack": (lambda t: t["Resources"]["ApiLogs"].pop("DeletionPolicy"), "ApiLogs: deleted with the stack"),
    "public": (lambda t: variables(t).update(API_AUTH="none"), "another ApiAuth"),
    "an empty endpoint": (lambda t: variables(t).update(AWS_ENDPOINT_URL_DYNAMODB=""), "function: an endpoint"),
}

# The same with End User Messaging. At least one stack of `WITH_MESSAGING` must have the problem.
WITH_MESSAGING = [
    {**MESSAGING, **through("sms,voice,whatsapp"), "ConfigurationSet": "codes", "MessageFeedback": "on"},
    {**MESSAGING, **through("whatsapp"), "ConfigurationSet": "codes"},
    {**MESSAGING, **through("voice")},
    {**PROVIDERS["Pinpoint after End User Messaging"], **through("sms")},
    {**PROVIDERS["End User Messaging after Pinpoint"], **through("sms")},
    PINPOINT,
]


def every(kind):
    return {"Fn::Sub": "arn:${AWS::Partition}:sms-voice:${AWS::Region}:${AWS::AccountId}:" + f"{kind}/*"}


MUTATIONS_WITH_MESSAGING = {
    "also sends through Pinpoint": (lambda t: always(t, "SendOtp"), "role: allows Pinpoint"),
    "also verifies through Pinpoint": (lambda t: always(t, "VerifyOtp"), "role: allows Pinpoint"),
    "sends through the previous provider": (lambda t: always(t, "SendCodeVerification"), "role: not exactly"),
    "sends through Pinpoint as the previous provider": (
        lambda t: t["Conditions"].update(SendsThroughPinpoint=t["Conditions"]["UsesPinpoint"]["Fn::Or"][1]),
        "role: not exactly",
    ),
    "does not verify with the previous provider": (
        lambda t: t["Conditions"].update(UsesEndUserMessaging={"Condition": "SendsThroughEndUserMessaging"}),
        "role: not exactly",
    ),
    "validates without End User Messaging": (lambda t: always(t, "ValidateCodeVerification"), "role: not exactly"),
    "every action": (
        lambda t: statement(t, "ValidateCodeVerification").update(Action="end-user-messaging:*"),
        "role: a wildcard in end-user-messaging",
    ),
    "the policy of AWS's guide": (
        lambda t: statement(t, "SendTexts").update(Action="sms-voice:*", Resource="*"),
        "role: a wildcard in sms-voice",
    ),
    "SMS from everywhere": (lambda t: statement(t, "SendTexts").update(Resource="*"), "role: a wildcard in *"),
    "SMS from every number": (
        lambda t: statement(t, "SendTexts").update(Resource=every("phone-number")),
        "role: a wildcard in arn",
    ),
    "SMS from the number for calls": (
        lambda t: statement(t, "SendTexts").update(Resource={"Ref": "VoiceOriginationArns"}),
        "role: not exactly",
    ),
    "calls as well as SMS": (
        lambda t: statement(t, "SendTexts").update(Action=["sms-voice:SendTextMessage", "sms-voice:SendVoiceMessage"]),
        "role: not exactly",
    ),
    "SMS with voice only": (
        lambda t: t["Conditions"].update(SendsTexts={"Condition": "SendsThroughEndUserMessaging"}),
        "role: not exactly",
    ),
    "SMS for the previous provider": (
        lambda t: t["Conditions"].update(SendsTexts={"Condition": "UsesEndUserMessaging"}),
        "role: not exactly",
    ),
    "WhatsApp from everywhere": (lambda t: statement(t, "SendByWhatsApp").update(Resource="*"), "role: a wildcard in *"),
    "every configuration set": (
        lambda t: statement(t, "SendWithConfigurationSet").update(Resource=every("configuration-set")),
        "role: a wildcard in arn",
    ),
    "a configuration set without SMS or calls": (lambda t: always(t, "SendWithConfigurationSet"), "role: not exactly"),
    "feedback although it is off": (lambda t: always(t, "TellWhichCodesCameBack"), "role: not exactly"),
    "feedback of every account": (
        lambda t: statement(t, "TellWhichCodesCameBack").update(Resource="*"),
        "role: a wildcard in *",
    ),
    "an application that is not used": (
        lambda t: variables(t).update(PINPOINT_APPLICATION_ID={"Ref": "PinpointApplicationId"}),
        "stack: mentions Pinpoint",
    ),
    "channels with Pinpoint": (
        lambda t: variables(t).update(CHANNELS={"Ref": "Channels"}),
        "settings of a provider that is not used",
    ),
    "always Pinpoint": (lambda t: variables(t).update(OTP_PROVIDER="pinpoint"), "function: other providers"),
    "no previous provider": (lambda t: variables(t).pop("OTP_PREVIOUS_PROVIDER"), "function: other providers"),
}

# The same with ApiAuth none.
MUTATIONS_IN_PUBLIC = {
    "an open status": (lambda t: properties(t, "Status").update(AuthorizationType="NONE"), "api: the routes are"),
    "an open cancel": (
        lambda t: properties(t, "Cancel").update(AuthorizationType=properties(t, "Send")["AuthorizationType"]),
        "api: the routes are",
    ),
    "a signed send": (lambda t: properties(t, "Send").update(AuthorizationType="AWS_IAM"), "api: the routes are"),
    "a function that expects signatures": (lambda t: variables(t).update(API_AUTH="iam"), "another ApiAuth"),
    "credentials": (lambda t: cors(t).update(AllowCredentials=True), "api: CORS is"),
    "every origin": (lambda t: cors(t).update(AllowOrigins=["*"]), "api: CORS is"),
    "every method": (lambda t: cors(t).update(AllowMethods=["*"]), "api: CORS is"),
    "every header": (lambda t: cors(t).update(AllowHeaders=["*"]), "api: CORS is"),
    "no throttling": (lambda t: properties(t, "Stage").pop("DefaultRouteSettings"), "no ThrottlingRateLimit"),
}

# The same with ApiAuth jwt.
MUTATIONS_WITH_TOKENS = {
    "an open send": (lambda t: properties(t, "Send").update(AuthorizationType="NONE"), "api: the routes are"),
    "a status for users": (lambda t: properties(t, "Status").update(AuthorizationType="JWT"), "api: the routes are"),
    "tokens for every audience": (
        lambda t: properties(t, "Tokens")["JwtConfiguration"].pop("Audience"),
        "not exactly the expected authorizer",
    ),
    "tokens of another issuer": (
        lambda t: properties(t, "Tokens")["JwtConfiguration"].update(Issuer="https://example.com"),
        "not exactly the expected authorizer",
    ),
    "a token in the address": (
        lambda t: properties(t, "Tokens").update(IdentitySource=["$request.querystring.token"]),
        "not exactly the expected authorizer",
    ),
    "another authorizer": (lambda t: properties(t, "Verify").update(AuthorizerId="other"), "api: another authorizer"),
    "an open function": (lambda t: variables(t).update(API_AUTH="none"), "another ApiAuth"),
    "every header": (lambda t: cors(t).update(AllowHeaders=["*"]), "api: CORS is"),
}

# The same with a user pool.
MUTATIONS_WITH_A_POOL = {
    "every pool may invoke": (lambda t: properties(t, "CognitoMayInvoke").pop("SourceArn"), "CognitoMayInvoke allows another source"),
    "all pools of the account may invoke": (
        lambda t: properties(t, "CognitoMayInvoke").update(
            SourceArn={"Fn::Sub": "arn:aws:cognito-idp:${AWS::Region}:${AWS::AccountId}:userpool/*"}
        ),
        "CognitoMayInvoke allows another source",
    ),
    "another service may invoke": (
        lambda t: properties(t, "CognitoMayInvoke").update(Principal="*"),
        "CognitoMayInvoke allows another principal",
    ),
    "another action": (
        lambda t: properties(t, "CognitoMayInvoke").update(Action="lambda:*"),
        "CognitoMayInvoke allows another action",
    ),
    "a password without a code": (
        lambda t: properties(t, "UserPoolClient")["ExplicitAuthFlows"].append("ALLOW_USER_SRP_AUTH"),
        "client: not exactly",
    ),
    "Cognito's default flows": (lambda t: properties(t, "UserPoolClient").pop("ExplicitAuthFlows"), "client: not exactly"),
    "errors that reveal users": (
        lambda t: properties(t, "UserPoolClient").update(PreventUserExistenceErrors="LEGACY"),
        "client: not exactly",
    ),
    "a client secret": (lambda t: properties(t, "UserPoolClient").update(GenerateSecret=True), "client: not exactly"),
    "a short session": (lambda t: properties(t, "UserPoolClient").pop("AuthSessionValidity"), "client: not exactly"),
    "a missing trigger": (
        lambda t: properties(t, "UserPool")["LambdaConfig"].pop("VerifyAuthChallengeResponse"),
        "pool: not exactly",
    ),
    "a sign-up trigger although sign-up is off": (
        lambda t: properties(t, "UserPool")["LambdaConfig"].update(PreSignUp={"Fn::GetAtt": ["Function", "Arn"]}),
        "pool: not exactly",
    ),
    "sign-up for everyone": (lambda t: properties(t, "UserPool").pop("AdminCreateUserConfig"), "pool: not exactly"),
    "SMS from Cognito itself": (
        lambda t: properties(t, "UserPool").update(AutoVerifiedAttributes=["phone_number"]),
        "pool: not exactly",
    ),
    "triggers that HTTP can starve": (
        lambda t: properties(t, "UserPool")["LambdaConfig"].update(CreateAuthChallenge={"Ref": "Live"}),
        "pool: not exactly",
    ),
    "a pool that may invoke the function of HTTP": (
        lambda t: properties(t, "CognitoMayInvoke").update(FunctionName={"Ref": "Live"}),
        "CognitoMayInvoke allows another function",
    ),
    "a pool that may invoke every version": (
        lambda t: properties(t, "CognitoMayInvoke").update(FunctionName={"Ref": "Triggers"}),
        "CognitoMayInvoke allows another function",
    ),
    "triggers of a version that was not started": (
        lambda t: properties(t, "TriggersLive").update(FunctionVersion={"Fn::GetAtt": ["Release", "Version"]}),
        "TriggersLive: another version",
    ),
    "triggers that nobody releases": (lambda t: properties(t, "Release")["Functions"].pop(), "release: of other functions"),
    "triggers without instances of their own": (
        lambda t: properties(t, "Triggers").pop("ReservedConcurrentExecutions"),
        "Triggers: other reserved instances",
    ),
    "triggers with the number of the function of HTTP": (
        lambda t: properties(t, "Triggers").update(
            ReservedConcurrentExecutions=properties(t, "Function")["ReservedConcurrentExecutions"]
        ),
        "Triggers: other reserved instances",
    ),
    "triggers with a setting of their own": (
        lambda t: properties(t, "Triggers").update(Environment={"Variables": {"LOG_LEVEL": "DEBUG"}}),
        "Triggers: another package, role or setting",
    ),
    "triggers with a layer of their own": (
        lambda t: properties(t, "Triggers").update(Layers=[{"Ref": "Config"}, {"Ref": "Config"}]),
        "Triggers: another package, role or setting",
    ),
    "triggers with the log of the function of HTTP": (
        lambda t: properties(t, "Triggers").update(LoggingConfig={"LogGroup": {"Ref": "FunctionLogs"}}),
        "Triggers: logs to another group",
    ),
    "triggers that cannot write their log": (
        lambda t: statement(t, "WriteOwnLogs").update(Resource=statement(t, "WriteOwnLogs")["Resource"][:1]),
        "role: not exactly",
    ),
    "a log of the triggers that is deleted with the stack": (
        lambda t: t["Resources"]["TriggersLogs"].pop("DeletionPolicy"),
        "TriggersLogs: deleted with the stack",
    ),
    "a pool deleted with the stack": (lambda t: t["Resources"]["UserPool"].pop("DeletionPolicy"), "UserPool: deleted with the stack"),
}


def cors(source):
    return properties(source, "Api")["CorsConfiguration"]["Fn::If"][1]


def must_be_reported(mutation, *stacks):
    """Makes a careless edit. At least one of the stacks must have the problem that is expected."""
    edit, expected = mutation
    source = template()
    edit(source)
    found = [problem for stack in stacks for problem in problems(deployed(source, **stack), **stack)]
    assert any(expected in problem for problem in found), found


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_careless_edits_are_reported(mutation):
    must_be_reported(MUTATIONS[mutation], {})


@pytest.mark.parametrize("mutation", MUTATIONS_IN_PUBLIC)
def test_careless_edits_are_reported_with_an_open_api(mutation):
    must_be_reported(MUTATIONS_IN_PUBLIC[mutation], VARIANTS["public from browsers"])


@pytest.mark.parametrize("mutation", MUTATIONS_WITH_TOKENS)
def test_careless_edits_are_reported_with_tokens(mutation):
    must_be_reported(MUTATIONS_WITH_TOKENS[mutation], VARIANTS["users with tokens from browsers"])


@pytest.mark.parametrize("mutation", MUTATIONS_WITH_MESSAGING)
def test_careless_edits_are_reported_with_end_user_messaging(mutation):
    must_be_reported(MUTATIONS_WITH_MESSAGING[mutation], *WITH_MESSAGING)


@pytest.mark.parametrize("mutation", MUTATIONS_WITH_A_POOL)
def test_careless_edits_are_reported_with_a_user_pool(mutation):
    with_pools = (
        {"Cognito": "new"},
        {"Cognito": "new", "CognitoPreSignUp": "on", "ReferenceId": "random"},
        {"Cognito": "new", "ReservedConcurrency": "5", "CognitoReservedConcurrency": "7"},
        {"CognitoUserPoolArn": GIVEN_POOL},
    )
    must_be_reported(MUTATIONS_WITH_A_POOL[mutation], *with_pools)


def test_parameters_set_the_properties_of_the_function():
    plain, full = deployed(), deployed(**VARIANTS["everything"])
    lean, rich = function_of(plain), function_of(full)

    assert (lean["Architectures"], rich["Architectures"]) == (["arm64"], ["x86_64"])
    assert "ReservedConcurrentExecutions" not in lean
    assert rich["ReservedConcurrentExecutions"] == "3"
    stopped = function_of(deployed(ReservedConcurrency="0"))
    assert stopped["ReservedConcurrentExecutions"] == "0"
    assert (lean["LoggingConfig"]["ApplicationLogLevel"], rich["LoggingConfig"]["ApplicationLogLevel"]) == ("INFO", "DEBUG")
    assert lean["Timeout"] == 10 and lean["MemorySize"] == "256"
    # The triggers have the same settings, and their own number of instances.
    assert triggers_of(plain) is None
    assert triggers_of(full)["Environment"] == rich["Environment"]
    assert triggers_of(full)["ReservedConcurrentExecutions"] == "4"
    assert "ReservedConcurrentExecutions" not in triggers_of(deployed(Cognito="new", ReservedConcurrency="3"))

    assert environment(plain) == {
        "OTP_PROVIDER": "pinpoint",
        "API_AUTH": "iam",
        "OPERATOR_ALIASES": "on",
        "PINPOINT_APPLICATION_ID": APPLICATION,
        "ORIGINATION_IDENTITY": "+14255550100",
        "BRAND_NAME": "ExampleCorp",
        "ALLOWED_COUNTRIES": "US,CA",
        "ALLOWED_NUMBER_TYPES": "mobile,fixed-or-mobile,fixed,voip,unassigned",
        "SOURCE": "otp",
        "LANGUAGE": "en-US",
        "CODE_LENGTH": "6",
        "VALIDITY_PERIOD": "10",
        "ALLOWED_ATTEMPTS": "3",
        "REFERENCE_ID": "derived",
        "FOREIGN_CODES": "off",
        "LEDGER_TABLE": "Ledger",
        "LEDGER_KEY": SECRET,
        "SEND_LIMITS": "1/30s,2/90s,3/10m,6/24h",
        "PREFIX_LIMITS": "50/1h",
        "SOURCE_LIMITS": "10/10m,50/24h",
        "SOURCE_NETWORK_LIMITS": "200/10m,2000/24h",
        "BUDGETS": "500/1h,2000/24h",
        "CONFIG_FILE": "/opt/otp-lambda.json",
        "OPERATOR_ALIASES": "on",
        "SIGN_IN_SHARE": "0",
        "DEVICE_TOKEN_DAYS": "0",
        "COGNITO_FLOOR_MS": "800",
        "COGNITO_SHOWN_NUMBER": "2",
        "COGNITO_STEP_UP": "off",
        "COGNITO_UNVERIFIED_PHONE": "refuse",
        "COGNITO_PRE_SIGN_UP": "off",
        "COGNITO_LANGUAGE_ATTRIBUTE": "locale",
        "LOG_LEVEL": "INFO",
        "METRICS": "off",
    }
    assert environment(full) == environment(plain) | {
        "BRAND_NAMES": "Acme, Inc.;Booking.com",
        "TRUSTED_PRINCIPALS": ROLE_ARN,
        "ORIGINATION_IDENTITIES": "IN=BRANDX,GB=+447700900000",
        "ALLOWED_COUNTRIES": "*",
        "DLT_ENTITY_ID": "1101234567890123456",
        "DLT_TEMPLATE_ID": "1107123456789012345",
        "REFERENCE_ID": "random",
        "SEND_LIMITS": "1/1m",
        "PREFIX_LIMITS": "none",
        "SOURCE_LIMITS": "none",
        "SOURCE_NETWORK_LIMITS": "none",
        "MIN_CODE_LENGTH": "6",
        "MAX_VALIDITY_PERIOD": "10",
        "COUNTRY_LIMITS": "JM=20/1h,5USD/24h;*=500/24h",
        "BUDGETS": "20.5USD/1h",
        "TEST_NUMBERS": "+14255550100=123456@2027-01-31",
        "SIGN_IN_SHARE": "30",
        "COGNITO_FLOOR_MS": "1500",
        "COGNITO_SHOWN_NUMBER": "+4",
        "COGNITO_STEP_UP": "required",
        "COGNITO_UNVERIFIED_PHONE": "allow",
        "COGNITO_PRE_SIGN_UP": "on",
        "COGNITO_LANGUAGE_ATTRIBUTE": "custom:language",
        "LOG_LEVEL": "DEBUG",
        "METRICS": "full",
    }
    assert environment(deployed(ApiAuth="none")) == environment(plain) | {"API_AUTH": "none"}
    assert environment(deployed(**TOKENS)) == environment(plain) | {"API_AUTH": "jwt"}

    other = environment(plain) | {"OTP_PROVIDER": "end-user-messaging"}
    other.pop("PINPOINT_APPLICATION_ID")
    usual = {"CODE_TYPE": "numeric", "CHANNELS": "sms", "DO_NOT_SHARE_LINE": "on", "MESSAGE_FEEDBACK": "off"}
    assert environment(deployed(**VARIANTS["End User Messaging"])) == other | usual
    assert environment(deployed(**VARIANTS["End User Messaging with everything"])) == other | {
        "ORIGINATION_IDENTITY": PHONE,
        "ORIGINATION_IDENTITIES": f"voice={CALLER},GB/sms={SENDER},whatsapp={WHATSAPP}",
        "LANGUAGE": "country",
        "CODE_LENGTH": "4",
        "VALIDITY_PERIOD": "1",
        "CODE_TYPE": "alphanumeric",
        "CHANNELS": "voice,sms,whatsapp",
        "WHATSAPP_TEMPLATE": "verification_code",
        "WHATSAPP_LANGUAGES": "en-US,pt-BR",
        "DO_NOT_SHARE_LINE": "off",
        "WEBOTP_DOMAIN": "example.com",
        "ANDROID_APP_HASH": "FA+9qCX9VSu",
        "CONFIGURATION_SET": "codes",
        "DELIVERY_TOPIC": f"arn:aws:sns:{REGION}:{ACCOUNT}:Topic",
        "MESSAGE_FEEDBACK": "on",
        "TEST_NUMBERS": "+14255550100=A1B2@2027-01-31",
    }
    # During a change of provider, both providers have their settings, and only the new provider sends.
    moving = environment(deployed(**VARIANTS["from Pinpoint to End User Messaging"]))
    assert moving == other | usual | {
        "OTP_PREVIOUS_PROVIDER": "pinpoint",
        "PINPOINT_APPLICATION_ID": APPLICATION,
        "CHANNELS": "sms,voice",
    }
    back = environment(deployed(**VARIANTS["from End User Messaging to Pinpoint"]))
    assert back == environment(plain) | usual | {"OTP_PREVIOUS_PROVIDER": "end-user-messaging"}


def one_more_statement(before, after):
    """Takes the one statement that the role has in `after` alone."""
    fewer, more = (it["Resources"]["FunctionRole"]["Properties"]["Policies"][0]["PolicyDocument"]["Statement"] for it in (before, after))
    (found,) = (it for it in more if it not in fewer)
    more.remove(found)
    return found


def test_parts_of_the_stack_are_off_unless_they_are_asked_for():
    def parts(**parameters):
        return of_type(deployed(**parameters), "AWS::CloudFormation::Stack")

    assert parts() == parts(Cognito="new") == {}
    for pool, arn in (({"Cognito": "new"}, POOL), ({"CognitoUserPoolArn": GIVEN_POOL}, GIVEN_POOL)):
        firewall = parts(**pool, CognitoRateLimit="1000")
        given = {"ResourceArn": arn, "RateLimit": "1000"}
        assert firewall == {"Firewall": {"TemplateURL": "deploy/parts/firewall.yaml", "Parameters": given}}
    domain = parts(DomainName="otp.example.com", DomainCertificateArn=CERTIFICATE)
    given = {"DomainName": "otp.example.com", "CertificateArn": CERTIFICATE, "Api": "Api", "Stage": "Stage"}
    assert domain == {"Domain": {"TemplateURL": "deploy/parts/domain.yaml", "Parameters": given}}
    given = {"Stack": "otp", "Ledger": "Ledger", "Function": "Function", "FunctionLogs": "FunctionLogs"}
    for detail in ("basic", "full"):
        alone, with_pool = parts(Monitoring=detail), parts(Monitoring=detail, Cognito="new")
        expected = {"Detail": detail, **given, "Triggers": "", "TriggersLogs": ""}
        assert alone == {"Monitor": {"TemplateURL": "deploy/parts/monitoring.yaml", "Parameters": expected}}
        assert with_pool["Monitor"]["Parameters"] == expected | {"Triggers": "Triggers", "TriggersLogs": "TriggersLogs"}
    given = {"ConfigurationSet": "codes", "Feedback": "on", "KmsKeyArn": ""}
    assert parts(**VARIANTS["End User Messaging with everything"]) == {
        "Delivery": {"TemplateURL": "deploy/parts/delivery.yaml", "Parameters": given},
        "DeliveryDoor": {"TemplateURL": "deploy/parts/delivery-door.yaml", "Parameters": {"Topic": f"arn:aws:sns:{REGION}:{ACCOUNT}:Topic", "Function": LIVE}},
    }
    # Each part has the parameters that the template gives to the part.
    source = template()["Resources"]
    for name in ("Firewall", "Domain", "Monitor", "Delivery", "DeliveryDoor"):
        part = yaml_parse((ROOT / source[name]["Properties"]["TemplateURL"]).read_text())
        assert set(part["Parameters"]) == set(source[name]["Properties"]["Parameters"])


def test_delivery_events_reach_the_function_from_one_topic_and_one_configuration_set():
    part = yaml_parse((ROOT / "deploy" / "parts" / "delivery.yaml").read_text())["Resources"]
    (statement,) = part["TopicPolicy"]["Properties"]["PolicyDocument"]["Statement"]
    assert statement["Principal"] == {"Service": "sms-voice.amazonaws.com"}
    assert (statement["Effect"], statement["Action"], statement["Resource"]) == ("Allow", "sns:Publish", {"Ref": "Topic"})
    name = "arn:${AWS::Partition}:sms-voice:${AWS::Region}:${AWS::AccountId}:configuration-set/${ConfigurationSet}"
    assert statement["Condition"] == {
        "StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}},
        "ArnLike": {"aws:SourceArn": {"Fn::Sub": name}},
    }
    chosen = part["Set"]["Properties"]
    assert chosen["ConfigurationSetName"] == {"Ref": "ConfigurationSet"}
    (destination,) = chosen["EventDestinations"]
    assert destination["SnsDestination"] == {"TopicArn": {"Ref": "Topic"}} and destination["Enabled"] is True
    # AWS's model has these types, and the function knows them all.
    known = boto3.session.Session().client("pinpoint-sms-voice-v2", region_name=REGION).meta.service_model.shape_for("EventType").enum
    types = destination["MatchingEventTypes"]
    assert set(types) <= set(known) and len(types) == len(set(types)) == 17
    program = (ROOT / "src" / "delivery.rs").read_text()
    assert all(f'"{it.split("_", 1)[1]}"' in program for it in types)
    door = yaml_parse((ROOT / "deploy" / "parts" / "delivery-door.yaml").read_text())["Resources"]
    permission = {"FunctionName": {"Ref": "Function"}, "Action": "lambda:InvokeFunction", "Principal": "sns.amazonaws.com"}
    assert door["MayInvoke"]["Properties"] == permission | {"SourceArn": {"Ref": "Topic"}}
    assert door["Subscription"]["Properties"] == {"TopicArn": {"Ref": "Topic"}, "Protocol": "lambda", "Endpoint": {"Ref": "Function"}}


def test_a_new_pool_has_the_plan_and_the_protection_that_were_chosen():
    plain = of_type(deployed(Cognito="new"), "AWS::Cognito::UserPool")["UserPool"]
    chosen = deployed(Cognito="new", CognitoTier="LITE", CognitoDeletionProtection="on")
    chosen = of_type(chosen, "AWS::Cognito::UserPool")["UserPool"]
    assert (chosen.pop("UserPoolTier"), chosen.pop("DeletionProtection")) == ("LITE", "ACTIVE")
    assert chosen == plain


@pytest.mark.parametrize("part", ["firewall", "domain", "monitoring", "delivery", "delivery-door"])
def test_cfn_lint_accepts_the_parts(part):
    done = run("cfn-lint", "--regions", REGION, "--", str(ROOT / "deploy" / "parts" / f"{part}.yaml"))
    assert done.returncode == 0, done.stdout + done.stderr


def test_parameters_of_an_organization_change_what_they_name_and_nothing_else():
    plain, given = deployed(), deployed(PermissionsBoundaryArn=BOUNDARY, PointInTimeRecovery="on")
    for name in ("FunctionRole", "ReleaseRole"):
        assert "PermissionsBoundary" not in plain["Resources"][name]["Properties"]
        assert given["Resources"][name]["Properties"].pop("PermissionsBoundary") == BOUNDARY
    # A key of the organization encrypts what is stored, and the role may use it for nothing else.
    with_key = deployed(KmsKeyArn=KEY)
    encryption = with_key["Resources"]["Ledger"]["Properties"].pop("SSESpecification")
    assert encryption == {"SSEEnabled": True, "SSEType": "KMS", "KMSMasterKeyId": KEY}
    for name in ("LedgerKey", "FunctionLogs", "ApiLogs", "ReleaseLogs"):
        assert with_key["Resources"][name]["Properties"].pop("KmsKeyId") == KEY
    statement = one_more_statement(plain, with_key)
    assert (statement["Resource"], {it.split(":")[0] for it in statement["Action"]}) == (KEY, {"kms"})
    via = {"kms:ViaService": [f"{it}.{REGION}.amazonaws.com" for it in ("dynamodb", "secretsmanager")]}
    assert statement["Condition"] == {"StringEquals": via}
    assert with_key["Resources"]["Release"] == plain["Resources"]["Release"]
    operators = [json.loads(it["Outputs"]["OperatorPolicy"].pop("Value")) for it in (with_key, copy.deepcopy(plain))]
    assert operators[0]["Statement"].pop()["Sid"] == "UseKey" and operators[0] == operators[1]
    with_key["Outputs"]["OperatorPolicy"]["Value"] = plain["Outputs"]["OperatorPolicy"]["Value"]
    with_key["Resources"].pop("Release"), (rest := copy.deepcopy(plain))["Resources"].pop("Release")
    assert with_key == rest
    # In subnets.
    inside = deployed(SubnetIds=SUBNETS, SecurityGroupIds=GROUP)
    network = inside["Resources"]["Function"]["Properties"].pop("VpcConfig")
    assert network == {"SubnetIds": SUBNETS.split(","), "SecurityGroupIds": [GROUP]}
    statement = one_more_statement(plain, inside)
    assert statement["Resource"] == "*" and all(it.startswith("ec2:") for it in statement["Action"])
    assert inside["Resources"].pop("Release") != plain["Resources"]["Release"]
    assert inside == rest
    recovery = given["Resources"]["Ledger"]["Properties"].pop("PointInTimeRecoverySpecification")
    assert recovery == {"PointInTimeRecoveryEnabled": True}
    assert given == plain


def test_tracing_gives_both_functions_a_trace_and_the_role_two_actions():
    plain, traced = deployed(Cognito="new"), deployed(Cognito="new", Tracing="on")
    assert one_more_statement(plain, traced) == WRITE_TRACES
    functions = [[it["Resources"][name]["Properties"] for name in ("Function", "Triggers")] for it in (plain, traced)]
    modes = [[it.pop("TracingConfig") for it in both] for both in functions]
    assert modes == [[{"Mode": "PassThrough"}] * 2, [{"Mode": "Active"}] * 2]
    # A changed mode is a new version.
    assert plain["Resources"].pop("Release") != traced["Resources"].pop("Release")
    assert traced == plain


def test_template_has_at_most_80_parameters():
    assert len(template()["Parameters"]) <= 80


def test_operators_policy_allows_the_operators_commands_only():
    policy = json.loads(deployed()["Outputs"]["OperatorPolicy"]["Value"])
    switches = item("K#switches")
    allowed = [("dynamodb:GetItem", TABLE, switches), ("dynamodb:UpdateItem", TABLE, switches)]
    allowed += [("lambda:InvokeFunction", f"{FUNCTION}:{alias}") for alias in ("operator", "operator-key")]
    allowed += [("logs:StartQuery", LOGS), ("logs:GetQueryResults", "*")]
    denied = [("dynamodb:UpdateItem", TABLE, item("N#x")), ("dynamodb:UpdateItem", TABLE, item("N#x", "K#switches"))]
    denied += [("dynamodb:UpdateItem", TABLE), ("dynamodb:Scan", TABLE), ("dynamodb:DeleteItem", TABLE, switches)]
    denied += [("lambda:InvokeFunction", LIVE), ("lambda:InvokeFunction", FUNCTION), ("lambda:UpdateFunctionCode", FUNCTION), ("lambda:InvokeFunction", f"{FUNCTION}:1")]
    triggers = LOGS.replace("FunctionLogs", "TriggersLogs")
    denied += [("logs:StartQuery", it) for it in (triggers, LOGS.replace("FunctionLogs", "ApiLogs"))]
    denied += [("logs:GetLogEvents", LOGS), ("logs:DeleteLogGroup", LOGS)]
    answers = evaluate(policy, allowed + denied)
    assert answers == ["Allowed"] * len(allowed) + ["ImplicitlyDenied"] * len(denied)
    # With a pool, `make why` asks the log of the triggers, too.
    with_pool = json.loads(deployed(Cognito="new")["Outputs"]["OperatorPolicy"]["Value"])
    assert evaluate(with_pool, [("logs:StartQuery", LOGS), ("logs:StartQuery", triggers)]) == ["Allowed", "Allowed"]


def test_operators_policy_has_the_key_of_the_table_if_there_is_one():
    *rest, key = json.loads(deployed(KmsKeyArn=KEY)["Outputs"]["OperatorPolicy"]["Value"])["Statement"]
    # The statement is compared as text: a policy simulator would need the policy of the key, too.
    assert key == {
        "Sid": "UseKey",
        "Effect": "Allow",
        "Action": ["kms:Decrypt", "kms:GenerateDataKey"],
        "Resource": KEY,
        "Condition": {"StringEquals": {"kms:ViaService": f"dynamodb.{REGION}.amazonaws.com"}},
    }
    # The control: without a key, the policy has no such statement.
    assert rest == json.loads(deployed()["Outputs"]["OperatorPolicy"]["Value"])["Statement"]


SKIPPED = r"(?m)^    # checkov:skip=(CKV\w+): (.+)$"


def test_every_check_that_is_left_out_has_its_reason_beside_the_resource_and_on_the_page():
    """`make scan` runs the checks. Here each exception must name its reason, and the page must name each exception."""
    left_out = [found for it in ("template.yaml", *(f"deploy/parts/{it}.yaml" for it in ("firewall", "monitoring", "delivery"))) for found in re.findall(SKIPPED, (ROOT / it).read_text())]
    assert len(left_out) >= 7 and all(len(reason.split()) >= 8 for _, reason in left_out)
    page = (ROOT / "docs" / "deploy.md").read_text().split("\n### Scanners\n")[1].split("\n## ")[0]
    assert set(re.findall(r"CKV_AWS_\d+", page)) == {check for check, _ in left_out}


def test_endpoints_can_be_overridden_only_locally():
    for service in ("PINPOINT", "ENDUSERMESSAGING", "PINPOINT_SMS_VOICE_V2", "DYNAMODB", "SECRETS_MANAGER"):
        assert variables(template())[f"AWS_ENDPOINT_URL_{service}"] == {"Ref": "AWS::NoValue"}
    assert not any("ENDPOINT" in name for name in environment(deployed(**VARIANTS["everything"])))


def test_every_parameter_is_used_described_and_in_a_group():
    source = template()
    parameters = source["Parameters"]
    rest = json.dumps({key: source[key] for key in ("Conditions", "Resources")})
    for name, parameter in parameters.items():
        assert parameter.get("Description"), name
        assert f'"Ref": "{name}"' in rest or "${" + name + "}" in rest, f"{name} is not used"
    groups = source["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
    grouped = [name for group in groups for name in group["Parameters"]]
    assert sorted(grouped) == sorted(parameters)
    assert {name for name, parameter in parameters.items() if "Default" not in parameter} == set(REQUIRED)


def accepts(parameter, value):
    """Whether CloudFormation would accept the value."""
    if "AllowedValues" in parameter and value not in map(str, parameter["AllowedValues"]):
        return False
    if "AllowedPattern" in parameter and not re.fullmatch(parameter["AllowedPattern"], value):
        return False
    if not parameter.get("MinLength", 0) <= len(value) <= parameter.get("MaxLength", 4096):
        return False
    if parameter["Type"] == "Number":
        try:
            number = float(value)
        except ValueError:
            return False
        return parameter.get("MinValue", number) <= number <= parameter.get("MaxValue", number)
    return True


# The languages of Pinpoint's messages.
PINPOINT_LANGUAGES = "de-DE en-GB en-US es-419 es-ES fr-CA fr-FR it-IT ja-JP ko-KR pt-BR zh-CN zh-TW".split()


@pytest.mark.parametrize(
    "name, good, bad",
    [
        ("Provider", ["pinpoint", "end-user-messaging"], ["", "Pinpoint", "endusermessaging"]),
        ("PreviousProvider", ["", "pinpoint", "end-user-messaging"], ["none", "sns"]),
        (
            "PinpointApplicationId",
            ["", APPLICATION, "810c7aab86d42fb2b56c8c966example", "my-application"],
            ["*", "a*", "a?", "a/otp", "../a", "a_b", "a:b", "${AWS::AccountId}", "a b", "a\n", "ä", "a" * 65],
        ),
        ("OriginationIdentity", ["+14255550100", "ExampleCo", "12345"], ["", "a b", "a,b", "a=b"]),
        (
            "OriginationIdentities",
            ["", "IN=BRANDX", "IN=BRANDX,GB=+447700900000", "voice=+12065550101,GB/voice=+447700900000", f"whatsapp={WHATSAPP}"],
            [",", "IN", "in=A", "IN=A, GB=B", "IN=A,", "fax=A", "GB/=A", "/voice=A", "voice/GB=A", "GB/fax=A", "VOICE=A"],
        ),
        (
            "SmsOriginationArns",
            ["", PHONE, CALLER, NOTIFY, f"{SENDER},{PHONE}", PHONE.replace("aws", "aws-us-gov"), f"{NOTIFY},{NOTIFY}"],
            ["*", PHONE[:-1] + "*", PHONE[:-1] + "?", f"{PHONE}, {SENDER}", f"{PHONE},", WHATSAPP, "+12065550100", "BRANDX"]
            + [SENDER.removesuffix("/GB"), SENDER.replace("GB", "*"), MESSAGES, CONFIGURATION_SET, PHONE.replace(ACCOUNT, "*")]
            + [PHONE.replace(REGION, "*"), PHONE.replace(ACCOUNT, ""), PHONE + "${AWS::NoValue}"]
            + [NOTIFY[:-1] + "*", NOTIFY.replace("notify-configuration", "notify-template"), "nc-1234567890abcdef0"],
        ),
        (
            "VoiceOriginationArns",
            ["", PHONE, CALLER, NOTIFY, f"{CALLER},{PHONE}"],
            ["*", SENDER, WHATSAPP, NOTIFY + "*", CALLER[:-1] + "*", f"{CALLER},*"],
        ),
        (
            "WhatsAppOriginationArns",
            ["", WHATSAPP, f"{WHATSAPP},{WHATSAPP}"],
            ["*", PHONE, WHATSAPP[:-1] + "*", WHATSAPP.replace("phone-number-id", "waba"), f"{WHATSAPP},*"],
        ),
        ("Channels", CHANNELS, ["", "SMS", "sms,", "sms,sms", "sms, voice", "text", "sms,voice,whatsapp,sms", "email"]),
        ("CodeType", ["numeric", "alphabetic", "alphanumeric"], ["", "alpha", "NUMERIC"]),
        ("WhatsAppTemplate", ["", "verification_code", "x" * 512], ["a b", "a-b", "x" * 513]),
        ("WhatsAppLanguages", ["", "en-US", "en,pt-BR,zh-Hant-TW"], ["en-US,", "en-US, pt-BR", "e", "en_US", "country,"]),
        ("DoNotShareLine", ["off", "on"], ["", "true"]),
        ("WebOtpDomain", ["", "example.com", "login.example.co.uk"], ["example", "https://example.com", "example.com/", "a b.c", "-a.b"]),
        ("AndroidAppHash", ["", "FA+9qCX9VSu"], ["FA+9qCX9VS", "FA+9qCX9VSux", "FA-9qCX9VSu"]),
        ("DeliveryEvents", ["off", "on"], ["", "new"]),
        ("ConfigurationSet", ["", "codes", "my_set-1"], ["*", "a*", "a b", CONFIGURATION_SET, "x" * 65]),
        ("MessageFeedback", ["off", "on"], ["", "true"]),
        ("BrandName", ["A", "Größe & Söhne", "x" * 20], ["", " ", " A", "A ", "x" * 21]),
        (
            "BrandNames",
            ["", "A", "Acme, Inc.;Booking.com", "x" * 20 + ";" + "y" * 20],
            [";", "A;", ";A", "A; B", " A", "A ", "x" * 21, "A;;B"],
        ),
        (
            "TrustedPrincipals",
            ["", ROLE_ARN, f"{ROLE_ARN},client=7ab3@https://login.example.com", "sub=abc@clients@https://x.auth0.com/", "sub=partner"],
            ["*", "role/app", "app", f"{ROLE_ARN},", f"{ROLE_ARN}, sub=a", "sub=", "user=a", ROLE_ARN.replace("iam", "sts"), "sub=a b"],
        ),
        ("AllowedCountries", ["US", "US,CA,GB", "*"], ["", "us", "USA", "US, CA", "US,", "US,*", "**"]),
        (
            "AllowedNumberTypes",
            ["mobile", "mobile,fixed-or-mobile,fixed,voip,unassigned", "premium,shared-cost,personal,uan,pager,voicemail,toll-free"],
            ["", "Mobile", "mobile,", "mobile, fixed", "landline", "*"],
        ),
        ("ExtraPrefixes", ["", "+1357=US", "+1357=US,+1471=CA"], ["1357=US", "+1357", "+1357=us", "+1357=US,", "+0357=US", "+1=US"]),
        ("Source", ["otp", "CreateAccount", "x" * 128], ["", " ", "x" * 129]),
        (
            "Language",
            ["country", "en", "nl-NL", "zh-Hant-TW", *PINPOINT_LANGUAGES],
            ["", "e", "en_US", "en-", "en-US,de-DE", "englishes"],
        ),
        ("CodeLength", ["4", "6", "8"], ["3", "9", "", "6.5"]),
        ("ValidityPeriod", ["1", "60"], ["0", "61", ""]),
        ("AllowedAttempts", ["1", "5"], ["0", "6", ""]),
        ("ReferenceId", ["derived", "random"], ["", "Random", "none"]),
        ("ForeignCodes", ["off", "on"], ["", "On", "true"]),
        ("ApiAuth", ["iam", "jwt", "none"], ["", "trusted", "NONE"]),
        (
            "JwtIssuer",
            ["", "https://example.com", TOKENS["JwtIssuer"]],
            ["http://example.com", "example.com", "https://", "https://a b", "https://a?b", "https://a#b"],
        ),
        ("JwtAudiences", ["", "app", "app,https://example.com/api"], ["app,", ",app", "app, shop", "a b"]),
        (
            "AllowedOrigins",
            ["", "https://example.com", "https://www.example.com,http://localhost:8080"],
            ["*", "https://*.example.com", "example.com", "https://example.com/", "https://a.b, https://c.d", "https://a.b,"],
        ),
        (
            "SendLimits",
            ["1/30s,2/90s,3/10m,6/24h", "20/30d"],
            ["", "none", "0/1h", "21/1h", "6", "6/24", "6/0h", "1/30s, 2/90s", "1/30s,"],
        ),
        ("PrefixLimits", ["none", "50/1h", "50/1h,200/24h"], ["", "0/1h", "50", "50/1h,", "none,50/1h"]),
        ("SourceNetworkLimits", ["none", "200/10m,2000/24h"], ["", "0/1h", "10/10"]),
        ("MinCodeLength", ["", "4", "8"], ["3", "9"]),
        ("MaxValidityPeriod", ["", "1", "10", "60"], ["0", "61"]),
        ("SourceLimits", ["none", "10/10m,50/24h"], ["", "0/1h", "10/10", "10/10m;50/24h"]),
        (
            "CountryLimits",
            ["", "JM=20/1h", "JM=20/1h,5USD/24h;*=500/24h", "JM=none;*=0.5USD/1h"],
            ["none", "JM", "jm=20/1h", "JM=20/1h;", "JM=20/2h", "JM=20/1h,GB=20/1h", "JM=", "JM=0/1h", "**=20/1h", "JM=1.USD/1h"],
        ),
        (
            "Budgets",
            ["none", "500/1h,2000/24h", "20USD/1h,100.50USD/24h"],
            ["", "500", "0/1h", "500/2h", "$5/1h", "5.5/1h", ".5USD/1h", "5 USD/1h", "5USD/1h,", "none,5USD/1h"],
        ),
        (
            "TestNumbers",
            ["", "+14255550100=123456@2027-01-31", "+14255550100=1234@2027-01-31,+447700900123=A1B2C3D4@2027-02-01"],
            ["+14255550100", "+14255550100=123456", "14255550100=123456@2027-01-31", "+14255550100=123@2027-01-31", "x"]
            + ["+14255550100=12345a@2027-01-31", "+14255550100=123456789@2027-01-31"],
        ),
        ("Cognito", ["none", "new"], ["", "existing", "New"]),
        (
            "CognitoUserPoolArn",
            ["", GIVEN_POOL, "arn:aws-us-gov:cognito-idp:us-gov-west-1:123456789012:userpool/us-gov-west-1_AbCdEf123"],
            ["*", f"{GIVEN_POOL}*", f"{GIVEN_POOL}?", GIVEN_POOL.replace("AbCdEf123", "*"), f"{GIVEN_POOL},{POOL}", TABLE],
        ),
        ("CognitoStepUp", ["off", "required"], ["", "on", "false"]),
        ("CognitoUnverifiedPhone", ["refuse", "allow"], ["", "on"]),
        ("CognitoPreSignUp", ["off", "on"], ["", "true"]),
        ("CognitoLanguageAttribute", ["locale", "custom:language"], ["", "two words", "x" * 65]),
        ("CognitoFloorMs", ["0", "800", "3000"], ["-1", "3001", ""]),
        ("CognitoShownNumber", ["0", "2", "+4"], ["", "5", "++2", "all"]),
        ("SignInShare", ["10", "50", "90"], ["0", "9", "91", ""]),
        ("DeviceTokenDays", ["0", "1", "365"], ["-1", "366", ""]),
        ("GuessRisk", ["", "1e-4/1d", "0.00001/24h"], ["1e-4", "1e-4/", "-1/1d", "1e4/1d", "1e-4/1w", " "]),
        ("DltEntityId", ["", "1101234567890123456"], ["a b", "1" * 51]),
        ("DltTemplateId", ["", "1107123456789012345"], ["a b", "1" * 51]),
        ("ReservedConcurrency", ["", "0", "10"], ["-1", "1.5", "x"]),
        ("CognitoReservedConcurrency", ["", "0", "10"], ["-1", "1.5", "x"]),
        ("ThrottlingRate", ["1", "300"], ["0", "-1", "301"]),
        ("ThrottlingBurst", ["1", "1000"], ["0", "-1", "1001"]),
        ("Architecture", ["arm64", "x86_64"], ["", "aarch64"]),
        ("MemorySize", ["128", "10240"], ["127", "10241"]),
        ("LogLevel", ["TRACE", "DEBUG", "INFO", "WARN", "ERROR"], ["", "info", "OFF"]),
        ("Monitoring", ["off", "basic", "full"], ["", "on"]),
        ("Tracing", ["off", "on"], ["", "Active"]),
        ("LogRetentionDays", ["1", "30", "365"], ["0", "-1", "2"]),
        ("PermissionsBoundaryArn", ["", BOUNDARY, "arn:aws:iam::aws:policy/PowerUserAccess"], ["*", BOUNDARY + "*", TABLE, "x"]),
        ("PointInTimeRecovery", ["off", "on"], ["", "true"]),
        ("KmsKeyArn", ["", KEY], ["*", KEY + "*", "alias/mine", KEY.replace("key/", "alias/")]),
        ("SubnetIds", ["", SUBNETS], ["subnet-1", SUBNETS + ",", "sg-0123456789abcdef0"]),
        ("SecurityGroupIds", ["", GROUP], ["default", "subnet-0123456789abcdef0"]),
        ("DomainName", ["", "otp.example.com"], ["localhost", "*.example.com", "Otp.example.com", "https://example.com"]),
        ("DomainCertificateArn", ["", CERTIFICATE], ["*", KEY]),
        ("CognitoTier", ["", "LITE", "ESSENTIALS", "PLUS"], ["lite"]),
        ("CognitoDeletionProtection", ["off", "on"], ["", "ACTIVE"]),
        ("CognitoRateLimit", ["", "10", "1000"], ["9", "0", "-1", "x", "1.5"]),
    ],
)
def test_parameters_accept_valid_values_only(name, good, bad):
    parameter = template()["Parameters"][name]
    assert [value for value in good if not accepts(parameter, value)] == []
    assert [value for value in bad if accepts(parameter, value)] == []
    if "Default" in parameter:
        assert accepts(parameter, str(parameter["Default"]))


def test_kept_resources_have_names_unique_to_the_stack():
    stack = deployed()
    assert "LogGroupName" not in of_type(stack, "AWS::Logs::LogGroup")["FunctionLogs"]
    assert of_type(stack, "AWS::Logs::LogGroup")["ApiLogs"]["LogGroupName"] == "/aws/vendedlogs/apis/otp-11111111-2222"
    assert "TableName" not in of_type(stack, "AWS::DynamoDB::Table")["Ledger"]
    assert "Name" not in of_type(stack, "AWS::SecretsManager::Secret")["LedgerKey"]


def test_outputs_give_the_urls_and_the_arns_to_allow():
    def outputs(**parameters):
        return {name: output["Value"] for name, output in deployed(**parameters)["Outputs"].items()}

    signed, public = outputs(), outputs(ApiAuth="none")
    url = f"https://Api.execute-api.{REGION}.amazonaws.com"
    arn = f"arn:aws:execute-api:{REGION}:{ACCOUNT}:Api/$default/POST/otp"
    assert signed["ApiUrl"] == url
    for route in ("Send", "Verify", "Status", "Cancel"):
        assert signed[f"{route}Url"] == f"{url}/otp/{route.lower()}"
        assert signed[f"{route}InvokeArn"] == f"{arn}/{route.lower()}"
    # operate.sh looks for these.
    assert (signed["LedgerTable"], signed["OperatorFunctionName"]) == ("Ledger", "Function:operator")
    assert (signed["FunctionName"], signed["LedgerKeyArn"]) == ("Function:live", SECRET)
    assert signed["FunctionArn"] == LIVE
    assert {"FunctionRoleArn", "FunctionLogGroup", "ApiLogGroup"} <= set(signed)
    # Open routes need no permission.
    assert set(signed) - set(public) == {"SendInvokeArn", "VerifyInvokeArn"} and set(public) < set(signed)


def test_outputs_give_the_trigger_of_a_user_pool():
    def outputs(**parameters):
        return {name: it["Value"] for name, it in deployed(**parameters)["Outputs"].items() if name.startswith("Cognito")}

    assert outputs() == {}
    triggers = {"CognitoTriggerArn": TRIGGERS_LIVE, "CognitoLogGroup": "TriggersLogs"}
    assert outputs(CognitoUserPoolArn=GIVEN_POOL) == triggers
    assert outputs(Cognito="new") == triggers | {
        "CognitoUserPoolId": "UserPool",
        "CognitoClientId": "UserPoolClient",
    }


def values_of(properties):
    """Every parameter and resource that the properties refer to."""
    if isinstance(properties, list):
        return {name for item in properties for name in values_of(item)}
    if not isinstance(properties, dict):
        return set()
    if set(properties) == {"Ref"}:
        return {properties["Ref"]} - {"AWS::NoValue"}
    if set(properties) == {"Fn::GetAtt"}:
        (name,) = properties.values()
        return {name if isinstance(name, str) else ".".join(name)}
    if set(properties) == {"Fn::If"}:
        return values_of(properties["Fn::If"][1:])
    if set(properties) == {"Fn::Split"}:
        return values_of(properties["Fn::Split"][1])
    assert not any(name.startswith("Fn::") for name in properties), properties
    return {name for item in properties.values() for name in values_of(item)}


def test_a_release_is_asked_for_whenever_the_function_changes():
    """CloudFormation calls the custom resource Release only if a property of it changes. If a value of the function were not
    among these properties, the value could change without a new version. The new value would then never take effect."""
    source = template()
    release = properties(source, "Release")
    functions = [function(source), properties(source, "Function"), properties(source, "Triggers")]
    # The value of Tracing decides between two words of the template.
    assert function(source)["Tracing"]["Fn::If"][0] == "HasTracing" and source["Conditions"]["HasTracing"] == {"Fn::Equals": [{"Ref": "Tracing"}, "on"]}
    used = values_of(functions) | {"Tracing"}
    assert used == values_of(release["Values"]) | {"ReservedConcurrency", "CognitoReservedConcurrency"}
    reserved = values_of(release["Functions"])
    assert reserved == {"Function", "ReservedConcurrency", "Triggers", "CognitoReservedConcurrency"}
    # The triggers have the package of the function.
    assert release["Package"] == {"Ref": "Function.Version"}
    checksum = hashlib.sha256(json.dumps(functions, sort_keys=True).encode()).hexdigest()[:12]
    assert release["Template"] == checksum, f"the functions have changed: write {checksum} as Release's Template"


def test_the_package_is_built_once_for_both_functions():
    """SAM builds a package again for a function whose code, metadata, runtime or handler differ from those of another."""
    http, triggers = (template()["Resources"][name] for name in ("Function", "Triggers"))
    assert http["Metadata"] == triggers["Metadata"] and http["Metadata"]["BuildMethod"] == "rust-cargolambda"
    assert http["Properties"]["CodeUri"] == triggers["Properties"]["CodeUri"] == "."
    assert not {"Runtime", "Handler", "Architectures"} & (set(http["Properties"]) | set(triggers["Properties"]))


def test_resources_do_not_depend_on_each_other_in_a_circle():
    """CloudFormation creates a resource after those that it refers to, and rejects circles."""
    resources = transform(template())["Resources"]

    def named(value):
        if isinstance(value, list):
            return {name for item in value for name in named(item)}
        if not isinstance(value, dict):
            return set()
        if set(value) == {"Fn::Sub"}:
            text = value["Fn::Sub"] if isinstance(value["Fn::Sub"], str) else value["Fn::Sub"][0]
            return {name.split(".")[0] for name in re.findall(r"\$\{([^!}]+)\}", text)}
        if set(value) in ({"Ref"}, {"Fn::GetAtt"}):
            (name,) = value.values()
            return {name.split(".")[0] if isinstance(name, str) else name[0]}
        return {name for item in value.values() for name in named(item)}

    waiting = {name: (named(it) | {it.get("DependsOn")}) & set(resources) for name, it in resources.items()}
    assert waiting["CognitoMayInvoke"] == {"TriggersLive", "UserPool"}
    while waiting:
        ready = {name for name, others in waiting.items() if not others & set(waiting)}
        assert ready, waiting
        waiting = {name: others for name, others in waiting.items() if name not in ready}


def rejected(source=None, **parameters):
    """Whether a rule rejects these parameters."""
    transformed = transform(source or template(), **parameters)
    resolver = Resolver(transformed, {**USUAL, **parameters})
    return any(
        not resolver.condition(assertion["Assert"])
        for rule in transformed["Rules"].values()
        if resolver.condition(rule.get("RuleCondition", {"Fn::And": []}))
        for assertion in rule["Assertions"]
    )


def test_dlt_ids_are_accepted_only_together():
    assert not rejected()
    assert not rejected(DltEntityId="1", DltTemplateId="2")
    assert rejected(DltEntityId="1")
    assert rejected(DltTemplateId="2")


def test_an_api_for_strangers_requires_countries_limits_and_budgets():
    unlimited = [{"AllowedCountries": "*"}, {"PrefixLimits": "none"}, {"SourceLimits": "none"}, {"SourceNetworkLimits": "none"}, {"Budgets": "none"}]
    for access in ({"ApiAuth": "none"}, TOKENS):
        assert not rejected(**access)
        for parameter in unlimited:
            assert rejected(**access, **parameter), parameter
            assert not rejected(**parameter), parameter


def test_tokens_have_an_issuer_and_audiences_and_nothing_else_has():
    for name in ("JwtIssuer", "JwtAudiences"):
        assert rejected(**{**TOKENS, name: ""}), name
        for access in ("iam", "none"):
            assert rejected(ApiAuth=access, **{name: TOKENS[name]}), name


def test_a_sign_up_needs_references_that_nobody_can_compute():
    assert rejected(CognitoPreSignUp="on")
    assert not rejected(CognitoPreSignUp="on", ReferenceId="random")
    assert not rejected(CognitoPreSignUp="on", ApiAuth="none")
    assert rejected(CognitoPreSignUp="on", **TOKENS)
    assert not rejected(ReferenceId="derived")


def test_a_new_and_an_existing_pool_are_rejected_together():
    assert not rejected(Cognito="new")
    assert not rejected(CognitoUserPoolArn=GIVEN_POOL)
    assert rejected(Cognito="new", CognitoUserPoolArn=GIVEN_POOL)


def test_origins_require_an_api_that_browsers_can_call():
    assert not rejected(ApiAuth="none", AllowedOrigins="https://example.com")
    assert not rejected(**TOKENS, AllowedOrigins="https://example.com")
    assert rejected(AllowedOrigins="https://example.com")


def test_pinpoint_requires_an_application():
    for name, provider in PROVIDERS.items():
        channels = through("sms") if provider["Provider"] == "end-user-messaging" else {}
        needed = "pinpoint" in provider.values()
        assert rejected(**provider, **channels, PinpointApplicationId="") == needed, name
        assert not rejected(**provider, **channels), name


def test_the_previous_provider_must_differ_from_the_provider():
    assert rejected(PreviousProvider="pinpoint")
    assert not rejected(PreviousProvider="end-user-messaging")
    assert rejected(**MESSAGING, **through("sms"), PreviousProvider="end-user-messaging")
    assert not rejected(**MESSAGING, **through("sms"), PreviousProvider="pinpoint")


def test_values_that_pinpoint_does_not_support_are_rejected():
    other = MESSAGING | through("sms")
    good = [{"Language": language} for language in [*PINPOINT_LANGUAGES, "country"]]
    good += [{"CodeLength": length} for length in "5678"] + [{"ValidityPeriod": str(n)} for n in range(5, 61)]
    bad = [{"Language": language} for language in ("en", "en-us", "nl-NL", "zh-Hant-TW")]
    bad += [{"CodeLength": "4"}] + [{"ValidityPeriod": minutes} for minutes in "1234"]
    source = template()
    for parameter in good:
        assert not rejected(source, **parameter), parameter
    for parameter in bad:
        assert rejected(source, **parameter), parameter
        # The provider of new codes decides.
        assert rejected(source, **parameter, PreviousProvider="end-user-messaging"), parameter
        assert not rejected(source, **other, **parameter), parameter
        assert not rejected(source, **other, **parameter, PreviousProvider="pinpoint"), parameter


def test_parameters_of_end_user_messaging_are_rejected_without_it():
    given = {
        "Channels": "voice",
        "CodeType": "alphabetic",
        "WhatsAppTemplate": "verification_code",
        "WhatsAppLanguages": "en-US",
        "DoNotShareLine": "off",
        "WebOtpDomain": "example.com",
        "AndroidAppHash": "FA+9qCX9VSu",
        "ConfigurationSet": "codes",
        "DeliveryEvents": "on",
        "MessageFeedback": "on",
        "SmsOriginationArns": f"{PHONE},{NOTIFY}",
        "VoiceOriginationArns": f"{CALLER},{NOTIFY}",
        "WhatsAppOriginationArns": WHATSAPP,
    }
    source = template()
    (group,) = (
        group["Parameters"]
        for group in source["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
        if group["Label"]["default"].startswith("End User Messaging")
    )
    assert sorted(group) == sorted(given)
    for name, value in given.items():
        assert rejected(source, **{name: value}), name
        # As the previous provider, End User Messaging keeps its settings while its codes are valid.
        also = {"ConfigurationSet": "codes"} if name == "DeliveryEvents" else {}
        assert not rejected(source, **also, **{name: value}, PreviousProvider="end-user-messaging"), name


def test_origination_arns_are_required_for_used_channels_only():
    source = template()
    every = {name: it for channel in ORIGINS.values() for name, it in channel.items()}
    for channels in CHANNELS:
        right = MESSAGING | through(channels)
        assert not rejected(source, **right), channels
        for name in every:
            if name in right:
                assert rejected(source, **right | {name: ""}), (channels, name)
            elif name.endswith("Arns"):
                assert rejected(source, **right | {name: every[name]}), (channels, name)


def test_whatsapp_requires_a_template_with_the_previous_provider_too():
    moved = PROVIDERS["Pinpoint after End User Messaging"]
    assert rejected(**moved, Channels="sms,whatsapp")
    assert not rejected(**moved, Channels="sms,whatsapp", WhatsAppTemplate="verification_code")


@pytest.mark.parametrize("variant", VARIANTS)
def test_rules_accept_every_variant(variant):
    assert not rejected(**VARIANTS[variant])


def program_settings():
    """Name and default of each setting of the program: None if it is required, empty if it has no default."""
    table = re.search(r"const SETTINGS:.*?\n\];", (ROOT / "src" / "settings.rs").read_text(), re.DOTALL).group()
    rows = re.findall(r'\b(required|optional|default)\(\s*"([A-Z_]+)"(?:,\s*"([^"]*)")?,?\s*\)', table)
    assert len(rows) == len(re.findall(r'"[A-Z_]{3,}"', table)) > 30, "cannot parse a row of SETTINGS"
    return {name: None if kind == "required" else value for kind, name, value in rows}


def template_settings():
    """The same for the template: the default of the parameter, or the fixed value, or None for a resource."""
    source = template()
    settings = {}
    for name, value in variables(source).items():
        if value == {"Ref": "AWS::NoValue"}:
            continue
        if isinstance(value, dict) and ("Fn::GetAtt" in value or value.get("Ref") in source["Resources"]):
            value = None
        elif isinstance(value, dict):
            inner = value["Fn::If"][1] if "Fn::If" in value else value
            # The stack makes the topic.
            parameter = {"DELIVERY_TOPIC": "DeliveryTopic"}.get(name) or inner["Ref"]
            # This parameter also makes the alarms, which need the metrics.
            parameter_name = "Metrics" if parameter == "Monitoring" else parameter
            assert parameter_name.upper() == name.removeprefix("OTP_").replace("_", ""), f"{name} is set by {parameter}"
            default = source["Parameters"].get(parameter, {"Default": ""}).get("Default")
            value = None if default is None else str(default)
        settings[name] = value
    return settings


def test_program_and_template_have_the_same_settings_and_defaults():
    expected = program_settings()
    # Lambda's levels are in upper case. The program accepts both cases.
    expected["LOG_LEVEL"] = expected["LOG_LEVEL"].upper()
    # The person who deploys must choose. The desk need not.
    expected["OTP_PROVIDER"] = None
    # The template's default is 50 for a stack with a user pool, and 0 for every other stack.
    expected["SIGN_IN_SHARE"] = "50"
    # These are optional for the program and fixed in the template.
    expected |= {"OPERATOR_ALIASES": "on", "LEDGER_TABLE": None, "LEDGER_KEY": None, "CONFIG_FILE": "/opt/otp-lambda.json"}
    assert template_settings() == expected


def run(*command, **options):
    """Runs a command without credentials, region, profile or telemetry."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("AWS_")}
    kept |= {"SAM_CLI_TELEMETRY": "0", "AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, env=kept, **options)


def test_sam_accepts_the_template_without_region_or_credentials():
    done = run(BIN / "sam", "validate", "--lint", "--template-file", TEMPLATE, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


def lint(source, folder):
    file = folder / "transformed.json"
    shutil.copytree(ROOT / "deploy" / "parts", folder / "deploy" / "parts", dirs_exist_ok=True)
    file.write_text(json.dumps(transform(source)))
    return run(BIN / "cfn-lint", "--regions", REGION, "--template", file)


def test_cfn_lint_accepts_the_transformed_template(tmp_path):
    # cfn-lint checks IAM policies only in the transformed template (W3037: no such action).
    done = lint(template(), tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    "sid, action",
    [
        ("SendOtp", "mobiletargeting:SendOtpMessages"),
        ("SendCodeVerification", "end-user-messaging:SendCodeVerification"),
        ("ValidateCodeVerification", "end-user-messaging:VerifyNotifyCodeVerification"),
        ("SendTexts", "sms-voice:SendTextMessages"),
        ("SendTexts", "sms-voice:SendNotifyText"),
        ("MakeCalls", "sms-voice:SendVoice"),
        ("SendByWhatsApp", "social-messaging:SendMessage"),
        ("TellWhichCodesCameBack", "sms-voice:SendMessageFeedback"),
    ],
)
def test_cfn_lint_reports_actions_that_do_not_exist(tmp_path, sid, action):
    source = template()
    statement(source, sid)["Action"] = action
    assert "W3037" in lint(source, tmp_path).stdout


# --- the role's policy in a policy simulator --------------------------------------------------------------------------


def evaluate(policy, requests):
    simulator = ROOT / "target" / "e2e" / "policy"
    node = shutil.which("node")
    if not node:
        skip("needs Node")
    if not (simulator / ".ready").exists():
        skip("needs the policy simulator, which tests/e2e/setup.sh installs with npm")
    requests = [dict(zip(("action", "resource", "context"), it)) for it in requests]
    asked = json.dumps({"policy": policy, "requests": requests})
    done = run(node, ROOT / "tests" / "e2e" / "policy" / "evaluate.cjs", simulator, input=asked)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


OTHER = SEND.replace(APPLICATION, "f" * 32)
APP = SEND.removesuffix("/otp")
STREAM = LOGS.removesuffix("*") + "log-stream:2026/11/23/otp[$LATEST]1"


def item(*keys):
    """The condition key that AWS sets for a request about items with these keys."""
    return {"dynamodb:LeadingKeys": list(keys)}


ALLOWED = [
    *[("dynamodb:GetItem", TABLE, item(f"{kind}#x")) for kind in "VNISRBDK"],
    ("dynamodb:BatchGetItem", TABLE, item("K#switches", "N#x", "R#x", "S#x", "V#x")),
    *[("dynamodb:UpdateItem", TABLE, item(f"{kind}#x")) for kind in "VNISRBD"],
    ("secretsmanager:GetSecretValue", SECRET),
    ("logs:CreateLogStream", STREAM),
    ("logs:PutLogEvents", STREAM),
]
DENIED = [
    # The function may not write the operator's switches, and may not use items of other kinds.
    ("dynamodb:PutItem", TABLE, item("K#switches")),
    ("dynamodb:UpdateItem", TABLE, item("K#switches")),
    ("dynamodb:UpdateItem", TABLE, item("N#x", "K#switches")),
    ("dynamodb:UpdateItem", TABLE, item("X#x")),
    ("dynamodb:GetItem", TABLE, item("X#x")),
    ("dynamodb:BatchGetItem", TABLE, item("V#x", "X#x")),
    # Requests without a key.
    ("dynamodb:GetItem", TABLE),
    ("dynamodb:BatchGetItem", TABLE),
    ("dynamodb:UpdateItem", TABLE),
    *[
        (f"dynamodb:{action}", TABLE, item("V#x"))
        for action in ("PutItem", "DeleteItem", "BatchWriteItem", "Query", "ConditionCheckItem")
    ],
    ("dynamodb:Scan", TABLE),
    ("dynamodb:DeleteTable", TABLE),
    ("dynamodb:UpdateTimeToLive", TABLE),
    ("dynamodb:GetItem", TABLE.replace("Ledger", "Ledger2"), item("V#x")),
    ("dynamodb:GetItem", f"{TABLE}/index/by-number", item("V#x")),
    ("secretsmanager:GetSecretValue", SECRET.replace("LedgerKey", "Other")),
    ("secretsmanager:PutSecretValue", SECRET),
    ("secretsmanager:DeleteSecret", SECRET),
    ("secretsmanager:DescribeSecret", SECRET),
    ("mobiletargeting:SendOTPMessage", OTHER),
    ("mobiletargeting:VerifyOTPMessage", OTHER.replace("/otp", "/verify-otp")),
    ("mobiletargeting:SendOTPMessage", SEND.replace(ACCOUNT, "210987654321")),
    ("mobiletargeting:SendOTPMessage", SEND.replace(REGION, "us-east-1")),
    ("mobiletargeting:SendMessages", f"{APP}/messages"),
    ("mobiletargeting:GetApp", APP),
    ("mobiletargeting:DeleteApp", APP),
    ("mobiletargeting:CreateApp", "*"),
    ("mobiletargeting:PhoneNumberValidate", "*"),
    ("logs:PutLogEvents", STREAM.replace("FunctionLogs", "ApiLogs")),
    ("logs:CreateLogStream", STREAM.replace("FunctionLogs", "FunctionLogs2")),
    ("logs:CreateLogGroup", LOGS.removesuffix(":*")),
    ("logs:DeleteLogGroup", LOGS.removesuffix(":*")),
    ("logs:GetLogEvents", STREAM),
    ("lambda:InvokeFunction", f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:Function"),
    ("iam:PassRole", f"arn:aws:iam::{ACCOUNT}:role/FunctionRole"),
    ("s3:GetObject", "arn:aws:s3:::some-bucket/some-key"),
]


# The calls of the adapters, by the statement that allows them.
CALLS = {
    "SendOtp": [("mobiletargeting:SendOTPMessage", SEND)],
    "VerifyOtp": [("mobiletargeting:VerifyOTPMessage", VERIFY)],
    "SendCodeVerification": [("end-user-messaging:SendNotifyCodeVerification", "*")],
    "ValidateCodeVerification": [("end-user-messaging:ValidateNotifyCodeVerification", "*")],
    "SendTexts": [
        ("sms-voice:SendTextMessage", PHONE),
        ("sms-voice:SendTextMessage", SENDER),
        ("sms-voice:SendNotifyTextMessage", NOTIFY),
    ],
    "MakeCalls": [("sms-voice:SendVoiceMessage", CALLER), ("sms-voice:SendNotifyVoiceMessage", NOTIFY)],
    "SendByWhatsApp": [("social-messaging:SendWhatsAppMessage", WHATSAPP)],
    "TellWhichCodesCameBack": [("sms-voice:PutMessageFeedback", MESSAGES.replace("*", "0123-4567"))],
}
NEVER = [
    ("sms-voice:SendTextMessage", CALLER),
    ("sms-voice:SendTextMessage", PHONE + "0"),
    ("sms-voice:SendTextMessage", SENDER.replace("GB", "US")),
    ("sms-voice:SendTextMessage", PHONE.replace(ACCOUNT, "210987654321")),
    ("sms-voice:SendTextMessage", PHONE.replace(REGION, "us-east-1")),
    ("sms-voice:SendNotifyTextMessage", NOTIFY + "0"),
    ("sms-voice:SendNotifyTextMessage", NOTIFY.replace(ACCOUNT, "210987654321")),
    ("sms-voice:SendNotifyVoiceMessage", NOTIFY + "0"),
    ("sms-voice:CreateNotifyConfiguration", "*"),
    ("sms-voice:UpdateNotifyConfiguration", NOTIFY),
    ("sms-voice:DeleteNotifyConfiguration", NOTIFY),
    ("sms-voice:SendMediaMessage", PHONE),
    ("sms-voice:DescribePhoneNumbers", PHONE),
    ("sms-voice:ReleasePhoneNumber", PHONE),
    ("sms-voice:UpdatePhoneNumber", PHONE),
    ("sms-voice:SetDefaultMessageFeedbackEnabled", CONFIGURATION_SET),
    ("sms-voice:SendTextMessage", CONFIGURATION_SET + "2"),
    ("sms-voice:PutMessageFeedback", MESSAGES.replace(ACCOUNT, "210987654321")),
    ("social-messaging:SendWhatsAppMessage", WHATSAPP + "0"),
    ("social-messaging:GetWhatsAppMessageMedia", WHATSAPP),
    ("social-messaging:DeleteWhatsAppMessageTemplate", WHATSAPP.split(":phone")[0] + ":waba/0123456789abcdef"),
]


def of_configuration_set(allowed):
    kinds = {"SendTexts": ["Text", "NotifyText"], "MakeCalls": ["Voice", "NotifyVoice"]}
    return [(f"sms-voice:Send{kind}Message", CONFIGURATION_SET) for sid in kinds if sid in allowed for kind in kinds[sid]]


def requests_of(**parameters):
    """The requests that the role must allow with these parameters, and those that it must deny."""
    sids = {it["Sid"] for it in of_providers(**parameters)}
    allowed = [request for sid, requests in CALLS.items() if sid in sids for request in requests]
    denied = [request for sid, requests in CALLS.items() if sid not in sids for request in requests]
    named = of_configuration_set(sids) if "SendWithConfigurationSet" in sids else []
    denied += [request for request in of_configuration_set(CALLS) if request not in named]
    return ALLOWED + allowed + named, DENIED + denied + NEVER


def role_policy(source=None, **parameters):
    role = of_type(deployed(source, **parameters), "AWS::IAM::Role")["FunctionRole"]
    (policy,) = role["Policies"]
    return policy["PolicyDocument"]


# One stack of each kind.
SIMULATED = {
    "Pinpoint": PINPOINT,
    **{f"by {channels}": {**MESSAGING, **through(channels)} for channels in ("sms", "voice", "whatsapp", "sms,voice")},
    "by all channels, with a configuration set and feedback": WITH_MESSAGING[0],
    "by voice, with a configuration set": {**MESSAGING, **through("voice"), "ConfigurationSet": "codes"},
    "from Pinpoint": {**PROVIDERS["End User Messaging after Pinpoint"], **through("sms")},
    "to Pinpoint": {**PROVIDERS["Pinpoint after End User Messaging"], **through("sms"), "ConfigurationSet": "codes"},
    "to Pinpoint, with feedback": {**PROVIDERS["Pinpoint after End User Messaging"], "MessageFeedback": "on"},
}


@pytest.mark.parametrize("stack", SIMULATED)
def test_role_allows_the_requests_of_the_function_and_denies_others(stack):
    allowed, denied = requests_of(**SIMULATED[stack])
    answers = evaluate(role_policy(**SIMULATED[stack]), allowed + denied)
    expected = ["Allowed"] * len(allowed) + ["ImplicitlyDenied"] * len(denied)
    wrong = [it for it in zip(allowed + denied, answers, expected) if it[1] != it[2]]
    assert wrong == []


def test_policy_simulator_detects_a_wider_policy():
    source = template()
    statement(source, "SendOtp")["Resource"] = {"Fn::Sub": "arn:aws:mobiletargeting:${AWS::Region}:${AWS::AccountId}:apps/*/otp"}
    assert evaluate(role_policy(source), [("mobiletargeting:SendOTPMessage", OTHER)]) == ["Allowed"]


def test_policy_simulator_detects_a_wider_policy_for_end_user_messaging():
    source = template()
    statement(source, "SendTexts")["Resource"] = every("phone-number")
    statement(source, "TellWhichCodesCameBack")["Resource"] = "*"
    requests = [("sms-voice:SendTextMessage", PHONE + "0"), ("sms-voice:PutMessageFeedback", MESSAGES.replace(ACCOUNT, "1" * 12))]
    assert evaluate(role_policy(source, **WITH_MESSAGING[0]), requests) == ["Allowed", "Allowed"]
    assert evaluate(role_policy(**WITH_MESSAGING[0]), requests) == ["ImplicitlyDenied", "ImplicitlyDenied"]


def test_policy_simulator_detects_writes_to_the_switches_and_without_a_key():
    source = template()
    statement(source, "WriteLedger")["Condition"].pop("Null")
    keyless = ("dynamodb:UpdateItem", TABLE)
    assert evaluate(role_policy(source), [keyless]) == ["Allowed"]
    statement(source, "WriteLedger").pop("Condition")
    assert evaluate(role_policy(source), [("dynamodb:UpdateItem", TABLE, item("K#switches"))]) == ["Allowed"]


# --- the built program with the settings of the template-----------------------------------------------------------------


def start(settings):
    """The output of the program when it starts with these settings and finds no Lambda runtime."""
    program = os.environ.get("OTP_E2E_BOOTSTRAP")
    if not program:
        skip("needs the program: run `sam build` and set OTP_E2E_BOOTSTRAP to its path")
    nowhere = "127.0.0.1:1"
    given = {"AWS_LAMBDA_RUNTIME_API": nowhere, "AWS_ENDPOINT_URL": f"http://{nowhere}", "AWS_REGION": REGION}
    given |= {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    # There is no layer at /opt here.
    given |= settings | {"CONFIG_FILE": str(ROOT / "config" / "otp-lambda.json")}
    done = subprocess.run([program], capture_output=True, text=True, env=given, timeout=20)
    return done.stdout + done.stderr


REFUSAL = "The function does not start with these settings."


@pytest.mark.parametrize("variant", VARIANTS)
def test_program_starts_with_the_settings_of_the_template(variant):
    output = start(environment(deployed(**VARIANTS[variant])))
    assert REFUSAL not in output, output


@pytest.mark.parametrize(
    "parameters",
    [
        {"ApiAuth": "none", "AllowedCountries": "*"},
        {**TOKENS, "Budgets": "none"},
        {"PinpointApplicationId": ""},
        {**PROVIDERS["End User Messaging after Pinpoint"], **through("sms"), "PinpointApplicationId": ""},
        {"PreviousProvider": "pinpoint"},
        {"Language": "nl-NL"},
        {"CodeLength": "4"},
        {"ValidityPeriod": "4"},
        {**PROVIDERS["Pinpoint after End User Messaging"], "CodeLength": "4"},
        {**MESSAGING, **through("sms,whatsapp"), "WhatsAppTemplate": ""},
        {**PROVIDERS["Pinpoint after End User Messaging"], "Channels": "whatsapp"},
    ],
    ids=repr,
)
def test_program_rejects_what_a_rule_rejects(parameters):
    assert rejected(**parameters)
    assert REFUSAL in start(environment(deployed(**parameters)))


def test_program_rejects_settings_of_end_user_messaging_with_pinpoint():
    for name in sorted(OF_MESSAGING):
        assert REFUSAL in start(environment(deployed()) | {name: "on"}), name
