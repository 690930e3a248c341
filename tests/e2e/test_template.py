"""The template, checked as what CloudFormation would be given: transformed offline, its parameters and conditions resolved.

    target/e2e/sam/bin/python -m pytest tests/e2e/test_template.py
"""

import copy
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
LOGS = f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:FunctionLogs:*"

REQUIRED = {
    "PinpointApplicationId": APPLICATION,
    "OriginationIdentity": "+14255550100",
    "BrandName": "ExampleCorp",
    "AllowedCountries": "US,CA",
}
VARIANTS = {
    "defaults": {},
    "x86_64": {"Architecture": "x86_64"},
    "reserved": {"ReservedConcurrency": "7"},
    "stopped": {"ReservedConcurrency": "0"},
    "everything": {
        "OriginationIdentities": "IN=BRANDX,GB=+447700900000",
        "AllowedCountries": "*",
        "DltEntityId": "1101234567890123456",
        "DltTemplateId": "1107123456789012345",
        "ReferenceId": "random",
        "LogLevel": "DEBUG",
        "ReservedConcurrency": "3",
        "Architecture": "x86_64",
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
    """What the serverless transform makes of it, intrinsic functions and all."""
    source = copy.deepcopy(source)
    # `sam package` puts the place of the uploaded zip here.
    source["Resources"]["Function"]["Properties"]["CodeUri"] = "s3://some-bucket/some-key"
    translator = Translator({}, Parser(), boto_session=boto3.Session(region_name=REGION))
    return translator.translate(source, {**REQUIRED, **parameters})


ABSENT = object()


class Resolver:
    """CloudFormation's intrinsic functions, as far as the template uses them; an unknown one is an error."""

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
            # A required parameter nobody gave is a KeyError, as it would be an error of CloudFormation.
            self.references[name] = str(parameters[name] if name in parameters else parameter["Default"])
        for name in transformed["Resources"]:
            self.references[name] = name

    def attribute(self, resource, name):
        kind = self.transformed["Resources"][resource]["Type"]
        assert name == "Arn", f"{resource}.{name}"
        return {
            "AWS::Logs::LogGroup": f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{resource}:*",
            "AWS::IAM::Role": f"arn:aws:iam::{ACCOUNT}:role/{resource}",
            "AWS::Lambda::Function": f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{resource}",
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
        if function == "Fn::Not":
            return not self.condition(arguments[0])
        if function == "Fn::And":
            return all(map(self.condition, arguments))
        if function == "Fn::Or":
            return any(map(self.condition, arguments))
        if function == "Fn::Equals":
            left, right = (self(argument) for argument in arguments)
            return left == right
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
    """Resources and outputs of a stack with these parameters."""
    given = {**REQUIRED, **parameters}
    transformed = transform(source or template(), **parameters)
    return Resolver(transformed, given)({key: transformed[key] for key in ("Resources", "Outputs")})


def of_type(stack, kind):
    return {name: it.get("Properties", {}) for name, it in stack["Resources"].items() if it["Type"] == kind}


def environment(stack):
    (function,) = of_type(stack, "AWS::Lambda::Function").values()
    return function["Environment"]["Variables"]


# --- what is asked of every stack -----------------------------------------------------------------------------------

TYPES = [
    "AWS::ApiGatewayV2::Api",
    "AWS::ApiGatewayV2::Stage",
    "AWS::IAM::Role",
    "AWS::Lambda::Function",
    "AWS::Lambda::Permission",
    "AWS::Lambda::Permission",
    "AWS::Logs::LogGroup",
    "AWS::Logs::LogGroup",
]

ROLE = {
    "Description": "What the function of the stack otp may do",
    "AssumeRolePolicyDocument": {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}],
    },
    "Policies": [
        {
            "PolicyName": "otp",
            "PolicyDocument": {
                "Version": "2012-10-17",
                "Statement": [
                    {"Sid": "SendOtp", "Effect": "Allow", "Action": "mobiletargeting:SendOTPMessage", "Resource": SEND},
                    {"Sid": "VerifyOtp", "Effect": "Allow", "Action": "mobiletargeting:VerifyOTPMessage", "Resource": VERIFY},
                    {
                        "Sid": "WriteOwnLogs",
                        "Effect": "Allow",
                        "Action": ["logs:CreateLogStream", "logs:PutLogEvents"],
                        # A log group's ARN ends so: its streams, and no other group.
                        "Resource": LOGS,
                    },
                ],
            },
        }
    ],
}

# The access log may hold these, and nothing that names a caller, an address, a path as sent or a free text.
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


def problems(stack):
    """Everything that must not be deployed, one line each."""
    found = []

    def demand(holds, text):
        if not holds:
            found.append(text)

    # No further resource: a function URL, a second API or a permission for all would be a way around the rest.
    demand(sorted(it["Type"] for it in stack["Resources"].values()) == TYPES, "resources: others than expected")

    roles = of_type(stack, "AWS::IAM::Role")
    demand(roles == {"FunctionRole": ROLE}, "role: not exactly the expected one")
    for role in roles.values():
        demand(not role.get("ManagedPolicyArns"), "role: a managed policy")
        for policy in role.get("Policies", []):
            for statement in policy["PolicyDocument"]["Statement"]:
                for key in ("Action", "Resource", "NotAction", "NotResource"):
                    values = statement.get(key, [])
                    for value in [values] if isinstance(values, str) else values:
                        demand("*" not in value and "?" not in value or value == LOGS, f"role: a wildcard in {value}")

    routes = {}
    for api in of_type(stack, "AWS::ApiGatewayV2::Api").values():
        body = api["Body"]
        schemes = body.get("components", {}).get("securitySchemes", {})
        for path, methods in body["paths"].items():
            for method, operation in methods.items():
                routes[f"{method.upper()} {path}"] = operation
                signed = len(operation.get("security", [])) == 1 and all(
                    schemes.get(name, {}).get("x-amazon-apigateway-authtype") == "awsSigv4"
                    for name in operation["security"][0]
                )
                demand(signed and operation["security"][0], f"api: {method} {path} is open")
                integration = operation["x-amazon-apigateway-integration"]
                demand(integration["payloadFormatVersion"] == "2.0", f"api: {method} {path} is not of format 2.0")
        demand("CorsConfiguration" not in api and "x-amazon-apigateway-cors" not in body, "api: CORS")
        demand(api.get("FailOnWarnings") is True, "api: warnings of the import pass")
    demand(set(routes) == {"POST /otp/send", "POST /otp/verify"}, f"api: the routes are {sorted(routes)}")

    for stage in of_type(stack, "AWS::ApiGatewayV2::Stage").values():
        demand(stage["StageName"] == "$default", "stage: has a name")
        limits = stage.get("DefaultRouteSettings", {})
        for name in ("ThrottlingRateLimit", "ThrottlingBurstLimit"):
            demand(float(limits.get(name, 0)) >= 1, f"stage: no {name}")
        demand("RouteSettings" not in stage, "stage: a route with limits of its own")
        access = stage.get("AccessLogSettings", {"DestinationArn": None, "Format": "{}"})
        demand(access["DestinationArn"] == f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:ApiLogs:*", "stage: no access log")
        demand(set(json.loads(access["Format"]).values()) == ACCESS_LOG, "stage: the access log holds other members")

    permissions = of_type(stack, "AWS::Lambda::Permission").values()
    for permission in permissions:
        demand(permission["Principal"] == "apigateway.amazonaws.com", "permission: for others than API Gateway")
    api_arn = f"arn:aws:execute-api:{REGION}:{ACCOUNT}:Api/*/POST"
    demand(
        sorted(it.get("SourceArn", "any") for it in permissions) == [f"{api_arn}/otp/send", f"{api_arn}/otp/verify"],
        "permission: for other routes",
    )

    for name, group in of_type(stack, "AWS::Logs::LogGroup").items():
        demand(int(group.get("RetentionInDays", 0)) > 0, f"{name}: kept for ever")

    for function in of_type(stack, "AWS::Lambda::Function").values():
        logging = function.get("LoggingConfig", {})
        demand(logging.get("LogFormat") == "JSON", "function: its logs are not JSON")
        demand(logging.get("LogGroup") == "FunctionLogs", "function: logs to another group")
        demand("TracingConfig" not in function, "function: tracing")
        demand((function["Runtime"], function["Handler"]) == ("provided.al2023", "bootstrap"), "function: runtime")
        demand(0 < function["Timeout"] < 29, "function: outlives the API's patience")
        variables = function["Environment"]["Variables"]
        demand(variables.get("API_AUTH") == "iam", "function: lets unauthenticated callers in")
        demand(variables.get("OTP_PROVIDER") == "pinpoint", "function: another provider")
        demand("" not in variables.values(), "function: an empty setting")
    return found


# --- tests ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_stack_is_closed_limited_and_least_privileged(variant):
    assert problems(deployed(**VARIANTS[variant])) == []


def api(source):
    return source["Resources"]["Api"]["Properties"]


def function(source):
    return source["Resources"]["Function"]["Properties"]


def statements(source):
    return source["Resources"]["FunctionRole"]["Properties"]["Policies"][0]["PolicyDocument"]["Statement"]


def route(path, method="POST", **more):
    return {"Type": "HttpApi", "Properties": {"ApiId": {"Ref": "Api"}, "Path": path, "Method": method, **more}}


# What a careless edit could do, and what must be said of it.
MUTATIONS = {
    "no authoriser": (lambda t: api(t).pop("Auth"), "is open"),
    "no default authoriser": (lambda t: api(t)["Auth"].pop("DefaultAuthorizer"), "is open"),
    "one open route": (lambda t: function(t)["Events"]["Send"]["Properties"].update(Auth={"Authorizer": "NONE"}), "is open"),
    "another route": (lambda t: function(t)["Events"].update(Status=route("/otp/status")), "api: the routes are"),
    "another method": (lambda t: function(t)["Events"].update(Get=route("/otp/send", "GET")), "api: the routes are"),
    "a catch-all route": (
        lambda t: function(t)["Events"].update(All={"Type": "HttpApi", "Properties": {"ApiId": {"Ref": "Api"}}}),
        "api: the routes are",
    ),
    "a function URL": (lambda t: function(t).update(FunctionUrlConfig={"AuthType": "NONE"}), "resources: others"),
    "CORS": (lambda t: api(t).update(CorsConfiguration=True), "api: CORS"),
    "warnings pass": (lambda t: api(t).pop("FailOnWarnings"), "warnings of the import"),
    "payload format 1.0": (
        lambda t: function(t)["Events"]["Send"]["Properties"].update(PayloadFormatVersion="1.0"),
        "not of format 2.0",
    ),
    "no throttling": (lambda t: api(t).pop("DefaultRouteSettings"), "no ThrottlingRateLimit"),
    "no access log": (lambda t: api(t).pop("AccessLogSettings"), "no access log"),
    "addresses in the access log": (
        lambda t: api(t)["AccessLogSettings"].update(Format='{"ip":"$context.identity.sourceIp"}'),
        "the access log holds other",
    ),
    "wider resource": (lambda t: statements(t)[0].update(Resource="*"), "role: a wildcard in *"),
    "all of the application": (
        lambda t: statements(t)[0].update(Resource={"Fn::Sub": "arn:aws:mobiletargeting:::apps/${PinpointApplicationId}/*"}),
        "role: a wildcard in arn",
    ),
    "wider action": (lambda t: statements(t)[1].update(Action="mobiletargeting:*"), "role: a wildcard in mobile"),
    "another action": (lambda t: statements(t)[1].update(Action="mobiletargeting:SendMessages"), "role: not exactly"),
    "another statement": (
        lambda t: statements(t).append({"Effect": "Allow", "Action": "s3:GetObject", "Resource": SEND}),
        "role: not exactly",
    ),
    "a managed policy": (
        lambda t: t["Resources"]["FunctionRole"]["Properties"].update(
            ManagedPolicyArns=["arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"]
        ),
        "role: a managed policy",
    ),
    "SAM's own role": (lambda t: (function(t).pop("Role"), t["Resources"].pop("FunctionRole")), "role: a managed policy"),
    "tracing": (lambda t: function(t).update(Tracing="Active"), "function: tracing"),
    "text logs": (lambda t: function(t)["LoggingConfig"].update(LogFormat="Text"), "logs are not JSON"),
    "logs for ever": (lambda t: t["Resources"]["FunctionLogs"]["Properties"].pop("RetentionInDays"), "kept for ever"),
    "public": (lambda t: function(t)["Environment"]["Variables"].update(API_AUTH="none"), "unauthenticated callers"),
    "an empty setting": (
        lambda t: function(t)["Environment"]["Variables"].update(DLT_ENTITY_ID={"Ref": "DltEntityId"}),
        "an empty setting",
    ),
}


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_a_careless_edit_is_noticed(mutation):
    edit, expected = MUTATIONS[mutation]
    source = template()
    edit(source)
    found = problems(deployed(source))
    assert any(expected in problem for problem in found), found


def test_parameters_reach_the_stack():
    plain, full = deployed(), deployed(**VARIANTS["everything"])
    (lean,), (rich,) = (of_type(it, "AWS::Lambda::Function").values() for it in (plain, full))

    assert (lean["Architectures"], rich["Architectures"]) == (["arm64"], ["x86_64"])
    assert "ReservedConcurrentExecutions" not in lean
    assert rich["ReservedConcurrentExecutions"] == "3"
    (stopped,) = of_type(deployed(ReservedConcurrency="0"), "AWS::Lambda::Function").values()
    assert stopped["ReservedConcurrentExecutions"] == "0"
    assert (lean["LoggingConfig"]["ApplicationLogLevel"], rich["LoggingConfig"]["ApplicationLogLevel"]) == ("INFO", "DEBUG")
    assert lean["Timeout"] == 10 and lean["MemorySize"] == "256"

    assert environment(plain) == {
        "OTP_PROVIDER": "pinpoint",
        "API_AUTH": "iam",
        "PINPOINT_APPLICATION_ID": APPLICATION,
        "ORIGINATION_IDENTITY": "+14255550100",
        "BRAND_NAME": "ExampleCorp",
        "ALLOWED_COUNTRIES": "US,CA",
        "SOURCE": "otp",
        "LANGUAGE": "en-US",
        "CODE_LENGTH": "6",
        "VALIDITY_PERIOD": "10",
        "ALLOWED_ATTEMPTS": "3",
        "REFERENCE_ID": "derived",
        "LOG_LEVEL": "INFO",
    }
    assert environment(full) == environment(plain) | {
        "ORIGINATION_IDENTITIES": "IN=BRANDX,GB=+447700900000",
        "ALLOWED_COUNTRIES": "*",
        "DLT_ENTITY_ID": "1101234567890123456",
        "DLT_TEMPLATE_ID": "1107123456789012345",
        "REFERENCE_ID": "random",
        "LOG_LEVEL": "DEBUG",
    }


def test_only_a_local_invocation_can_point_the_function_elsewhere():
    variables = function(template())["Environment"]["Variables"]
    assert variables["AWS_ENDPOINT_URL_PINPOINT"] == {"Ref": "AWS::NoValue"}
    assert not any("ENDPOINT" in name for name in environment(deployed(**VARIANTS["everything"])))


def test_every_parameter_is_used_described_and_grouped():
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
    """Would CloudFormation take this value?"""
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


@pytest.mark.parametrize(
    "name, good, bad",
    [
        (
            "PinpointApplicationId",
            [APPLICATION, "810c7aab86d42fb2b56c8c966example", "my-application"],
            ["", "*", "a*", "a?", "a/otp", "../a", "a_b", "a:b", "${AWS::AccountId}", "a b", "a\n", "ä", "a" * 65],
        ),
        ("OriginationIdentity", ["+14255550100", "ExampleCo", "12345"], ["", "a b", "a,b", "a=b"]),
        ("OriginationIdentities", ["", "IN=BRANDX", "IN=BRANDX,GB=+447700900000"], [",", "IN", "in=A", "IN=A, GB=B", "IN=A,"]),
        ("BrandName", ["A", "Größe & Söhne", "x" * 20], ["", " ", " A", "A ", "x" * 21]),
        ("AllowedCountries", ["US", "US,CA,GB", "*"], ["", "us", "USA", "US, CA", "US,", "US,*", "**"]),
        ("Source", ["otp", "CreateAccount", "x" * 128], ["", " ", "x" * 129]),
        (
            "Language",
            "de-DE en-GB en-US es-419 es-ES fr-CA fr-FR it-IT ja-JP ko-KR pt-BR zh-CN zh-TW".split(),
            ["", "en", "en-us", "nl-NL"],
        ),
        ("CodeLength", ["5", "6", "8"], ["4", "9", "", "6.5"]),
        ("ValidityPeriod", ["5", "60"], ["4", "61", ""]),
        ("AllowedAttempts", ["1", "5"], ["0", "6", ""]),
        ("ReferenceId", ["derived", "random"], ["", "Random", "none"]),
        ("DltEntityId", ["", "1101234567890123456"], ["a b", "1" * 51]),
        ("DltTemplateId", ["", "1107123456789012345"], ["a b", "1" * 51]),
        ("ReservedConcurrency", ["", "0", "10"], ["-1", "1.5", "x"]),
        ("ThrottlingRate", ["1", "300"], ["0", "-1", "301"]),
        ("ThrottlingBurst", ["1", "1000"], ["0", "-1", "1001"]),
        ("Architecture", ["arm64", "x86_64"], ["", "aarch64"]),
        ("MemorySize", ["128", "10240"], ["127", "10241"]),
        ("LogLevel", ["TRACE", "DEBUG", "INFO", "WARN", "ERROR"], ["", "info", "OFF"]),
        ("LogRetentionDays", ["1", "30", "365"], ["0", "-1", "2"]),
    ],
)
def test_parameters_take_what_the_program_takes(name, good, bad):
    parameter = template()["Parameters"][name]
    assert [value for value in good if not accepts(parameter, value)] == []
    assert [value for value in bad if accepts(parameter, value)] == []
    if "Default" in parameter:
        assert accepts(parameter, str(parameter["Default"]))


def test_logs_outlive_the_stack_and_are_not_in_the_way_of_the_next():
    transformed = transform(template())
    for name in ("FunctionLogs", "ApiLogs"):
        group = transformed["Resources"][name]
        assert (group["DeletionPolicy"], group["UpdateReplacePolicy"]) == ("RetainExceptOnCreate", "Retain")
    groups = of_type(deployed(), "AWS::Logs::LogGroup")
    assert "LogGroupName" not in groups["FunctionLogs"]
    assert groups["ApiLogs"]["LogGroupName"] == "/aws/vendedlogs/apis/otp-11111111-2222"


def test_outputs_say_where_to_call_and_who_may():
    outputs = {name: output["Value"] for name, output in deployed()["Outputs"].items()}
    url = f"https://Api.execute-api.{REGION}.amazonaws.com"
    assert (outputs["ApiUrl"], outputs["SendUrl"], outputs["VerifyUrl"]) == (url, f"{url}/otp/send", f"{url}/otp/verify")
    arn = f"arn:aws:execute-api:{REGION}:{ACCOUNT}:Api/$default/POST"
    assert (outputs["SendInvokeArn"], outputs["VerifyInvokeArn"]) == (f"{arn}/otp/send", f"{arn}/otp/verify")
    assert {"FunctionName", "FunctionArn", "FunctionRoleArn", "FunctionLogGroup", "ApiLogGroup"} <= set(outputs)


def test_dlt_ids_come_together():
    def refused(**parameters):
        transformed = transform(template(), **parameters)
        resolver = Resolver(transformed, {**REQUIRED, **parameters})
        (rule,) = transformed["Rules"].values()
        (assertion,) = rule["Assertions"]
        return not resolver.condition(assertion["Assert"])

    assert not refused()
    assert not refused(DltEntityId="1", DltTemplateId="2")
    assert refused(DltEntityId="1")
    assert refused(DltTemplateId="2")


def program_settings():
    """Name and default of each setting the program reads: None is required, empty is without."""
    table = re.search(r"const SETTINGS:.*?\n\];", (ROOT / "src" / "config.rs").read_text(), re.DOTALL).group()
    rows = re.findall(r'name: "([A-Z_]+)",\s*otherwise: (?:(Required)|(Nothing)|Or\("([^"]*)"\))', table)
    assert len(rows) == table.count("name:"), "a row of the table is not understood"
    return {name: None if required else default for name, required, _, default in rows}


def template_settings():
    """The same as the template has it: the default of the parameter, or the fixed value."""
    source = template()
    settings = {}
    for name, value in function(source)["Environment"]["Variables"].items():
        if value == {"Ref": "AWS::NoValue"}:
            continue
        if isinstance(value, dict):
            parameter = value["Ref"] if "Ref" in value else value["Fn::If"][1]["Ref"]
            assert parameter.upper() == name.replace("_", ""), f"{name} is set by {parameter}"
            default = source["Parameters"][parameter].get("Default")
            value = None if default is None else str(default)
        settings[name] = value
    return settings


def test_the_program_and_the_template_have_the_same_settings_and_defaults():
    expected = program_settings()
    # Lambda has the levels in upper case; the program takes either.
    expected["LOG_LEVEL"] = expected["LOG_LEVEL"].upper()
    assert template_settings() == expected


def run(*command, **options):
    """Without credentials, region or profile, and without telling anybody."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("AWS_")}
    kept |= {"SAM_CLI_TELEMETRY": "0", "AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, env=kept, **options)


def test_sam_validates_it_without_region_or_credentials():
    done = run(BIN / "sam", "validate", "--lint", "--template-file", TEMPLATE, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


def lint(source, folder):
    file = folder / "transformed.json"
    file.write_text(json.dumps(transform(source)))
    return run(BIN / "cfn-lint", "--regions", REGION, "--template", file)


def test_the_transformed_template_has_no_lint(tmp_path):
    # cfn-lint looks into IAM policies only here (W3037: no such action).
    done = lint(template(), tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_lint_sees_an_action_that_does_not_exist(tmp_path):
    source = template()
    statements(source)[0]["Action"] = "mobiletargeting:SendOtpMessages"
    assert "W3037" in lint(source, tmp_path).stdout


# --- the role's policy in a policy simulator --------------------------------------------------------------------------


def evaluate(policy, requests):
    simulator = ROOT / "target" / "e2e" / "policy"
    node = shutil.which("node")
    if not node:
        skip("needs Node")
    if not (simulator / ".ready").exists():
        skip("needs tests/e2e/setup.sh to have installed the policy simulator (with Node and npm)")
    asked = json.dumps({"policy": policy, "requests": [{"action": it[0], "resource": it[1]} for it in requests]})
    done = run(node, ROOT / "tests" / "e2e" / "policy" / "evaluate.cjs", simulator, input=asked)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


OTHER = SEND.replace(APPLICATION, "f" * 32)
APP = SEND.removesuffix("/otp")
STREAM = LOGS.removesuffix("*") + "log-stream:2026/11/23/otp[$LATEST]1"

ALLOWED = [
    ("mobiletargeting:SendOTPMessage", SEND),
    ("mobiletargeting:VerifyOTPMessage", VERIFY),
    ("logs:CreateLogStream", STREAM),
    ("logs:PutLogEvents", STREAM),
]
DENIED = [
    ("mobiletargeting:SendOTPMessage", OTHER),
    ("mobiletargeting:VerifyOTPMessage", OTHER.replace("/otp", "/verify-otp")),
    ("mobiletargeting:SendOTPMessage", SEND.replace(ACCOUNT, "210987654321")),
    ("mobiletargeting:SendOTPMessage", SEND.replace(REGION, "us-east-1")),
    ("mobiletargeting:SendMessages", f"{APP}/messages"),
    ("mobiletargeting:GetApp", APP),
    ("mobiletargeting:DeleteApp", APP),
    ("mobiletargeting:CreateApp", "*"),
    ("mobiletargeting:PhoneNumberValidate", "*"),
    ("sms-voice:SendTextMessage", f"arn:aws:sms-voice:{REGION}:{ACCOUNT}:phone-number/phone-1"),
    ("logs:PutLogEvents", STREAM.replace("FunctionLogs", "ApiLogs")),
    ("logs:CreateLogStream", STREAM.replace("FunctionLogs", "FunctionLogs2")),
    ("logs:CreateLogGroup", LOGS.removesuffix(":*")),
    ("logs:DeleteLogGroup", LOGS.removesuffix(":*")),
    ("logs:GetLogEvents", STREAM),
    ("lambda:InvokeFunction", f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:Function"),
    ("iam:PassRole", f"arn:aws:iam::{ACCOUNT}:role/FunctionRole"),
    ("s3:GetObject", "arn:aws:s3:::some-bucket/some-key"),
]


def role_policy(source=None):
    (role,) = of_type(deployed(source), "AWS::IAM::Role").values()
    (policy,) = role["Policies"]
    return policy["PolicyDocument"]


def test_the_role_may_send_verify_and_log_and_nothing_else():
    answers = evaluate(role_policy(), ALLOWED + DENIED)
    expected = ["Allowed"] * len(ALLOWED) + ["ImplicitlyDenied"] * len(DENIED)
    wrong = [it for it in zip(ALLOWED + DENIED, answers, expected) if it[1] != it[2]]
    assert wrong == []


def test_the_policy_simulator_sees_a_wider_policy():
    source = template()
    statements(source)[0]["Resource"] = {"Fn::Sub": "arn:aws:mobiletargeting:${AWS::Region}:${AWS::AccountId}:apps/*/otp"}
    assert evaluate(role_policy(source), [("mobiletargeting:SendOTPMessage", OTHER)]) == ["Allowed"]
