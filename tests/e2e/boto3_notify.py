"""Manages Notify configurations of the simulated AWS with Boto3, sends by them, and prints one line of JSON.

botocore's model says which members a response must have, and of which type each is. This script checks every response against
the model. It prints the names of the exceptions, with the reasons of those that have one.

The endpoint, region and credentials come from the usual AWS_* variables.
"""

import json
import urllib.request

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError
from botocore.validate import ParamValidator

CONFIG = Config(retries={"total_max_attempts": 1})
codes = boto3.client("endusermessaging", config=CONFIG)
notify = boto3.client("pinpoint-sms-voice-v2", config=CONFIG)
checked = set()


def call(client, operation, **arguments):
    """The response to an operation. It must fit the model of the operation."""
    name = client.meta.method_to_api_mapping[operation]
    response = getattr(client, operation)(**arguments)
    assert response.pop("ResponseMetadata")["HTTPStatusCode"] == 200
    shape = client.meta.service_model.operation_model(name).output_shape
    report = ParamValidator().validate(response, shape)
    assert not report.has_errors(), report.generate_report()
    checked.add(name)
    return response


def refusal(client, operation, **arguments):
    try:
        call(client, operation, **arguments)
    except ClientError as error:
        name = error.response["Error"]["Code"]
        operation_model = client.meta.service_model.operation_model(client.meta.method_to_api_mapping[operation])
        assert name in {shape.name for shape in operation_model.error_shapes}, name
        assert error.response["Error"].get("Message"), error.response
        if reason := error.response.get("Reason"):
            shape = client.meta.service_model.shape_for(name).members["Reason"]
            assert reason in shape.enum, (name, reason)
            return f"{name} {reason}"
        return name
    return None


def advance(seconds):
    url = notify.meta.endpoint_url + "/simulator/clock"
    body = json.dumps({"advanceSeconds": seconds}).encode()
    request = urllib.request.Request(url, body, {"content-type": "application/json"})
    urllib.request.urlopen(request).close()


def create(name, **more):
    return call(
        notify,
        "create_notify_configuration",
        DisplayName=name,
        UseCase="CODE_VERIFICATION",
        **{"EnabledChannels": ["SMS", "VOICE"], **more},
    )


def status(identifier):
    found = call(notify, "describe_notify_configurations", NotifyConfigurationIds=[identifier])["NotifyConfigurations"]
    return found[0]["Status"]


def pages(operation, member, **arguments):
    found, token = [], {}
    while True:
        page = call(notify, operation, MaxResults=3, **arguments, **token)
        found += page[member]
        if "NextToken" not in page:
            return found
        token = {"NextToken": page["NextToken"]}


def sends(origin, number="+14255550142", channel="TEXT", template="notify-code-verification-english-001", refused=True):
    parameters = {"notify": {"notifyTemplateId": template}} if template else {}
    arguments = {
        "channel": channel,
        "destinationIdentity": number,
        "originationIdentity": origin,
        "overrideChannelParameters": parameters,
        "referenceId": "a_reference-1",
    }
    act = refusal if refused else call
    return act(codes, "send_notify_code_verification", **arguments)


def main():
    found = {}
    created = create("ExampleCorp", EnabledCountries=["US", "CA"], Tags=[{"Key": "team", "Value": "login"}])
    own = created["NotifyConfigurationId"]
    again = create("Twice", ClientToken="a-token")
    assert again["NotifyConfigurationId"] == create("Twice", ClientToken="a-token")["NotifyConfigurationId"]
    named = {name: create(name)["NotifyConfigurationArn"] for name in ("Rejected", "Unverified", "Pending")}
    found["created"] = {member: created[member] for member in ("Status", "Tier", "EnabledCountries", "Tags")}
    found["pending"] = sends(own)
    advance(1)
    found["statuses"] = [status(it) for it in (own, created["NotifyConfigurationArn"], *named.values())]

    # A code arrives and is right.
    sent = sends(created["NotifyConfigurationArn"], refused=False)
    with urllib.request.urlopen(codes.meta.endpoint_url + "/inbox") as response:
        message = json.load(response)["messages"][0]
    assert message["messageId"] == sent["messageId"]
    verdict = call(
        codes,
        "validate_notify_code_verification",
        destinationIdentity="+14255550142",
        referenceId="a_reference-1",
        code=message["code"],
    )
    found["text"] = message["text"].replace(message["code"], "CODE")
    found["verdict"] = verdict["status"]

    found["tooFast"] = sends(own)
    advance(1)
    found["refusals"] = {
        "unknown": sends("nc-0123456789abcdef0"),
        "rejected": sends(named["Rejected"]),
        "country": sends(own, number="+447700900123"),
        "noTemplate": sends(own, template=None),
        "unknownTemplate": sends(own, template="nothing"),
        "inactiveTemplate": sends(own, template="notify-code-verification-english-004"),
        "templateOfCalls": sends(own, template="notify-code-verification-english-voice-001"),
        "templateOfAdvanced": sends(own, template="notify-code-verification-english-002"),
        "callsByTexts": sends("nc-desk-texts-only", channel="VOICE"),
        "whatsapp": sends(own, channel="WHATSAPP"),
    }
    call(notify, "set_notify_message_spend_limit_override", MonthlyLimit=0)
    limits = call(notify, "describe_spend_limits")["SpendLimits"]
    found["limits"] = [(it["Name"], it["EnforcedLimit"], it["Overridden"]) for it in limits]
    found["refusals"]["spent"] = sends(own)
    call(notify, "delete_notify_message_spend_limit_override")

    # A default template takes the place of the request's template.
    updated = call(
        notify,
        "update_notify_configuration",
        NotifyConfigurationId=own,
        DefaultTemplateId="notify-code-verification-german-001",
        EnabledCountries=["DE"],
        EnabledChannels=["SMS"],
        DeletionProtectionEnabled=True,
    )
    found["updated"] = {member: updated[member] for member in ("EnabledCountries", "EnabledChannels", "DefaultTemplateId")}
    found["byDefault"] = sorted(sends(own, number="+4915112345678", template=None, refused=False))

    manage = "create_notify_configuration"
    good = {"DisplayName": "Brand", "UseCase": "CODE_VERIFICATION", "EnabledChannels": ["SMS"]}
    found["management"] = {
        "protected": refusal(notify, "delete_notify_configuration", NotifyConfigurationId=own),
        "unknown": refusal(notify, "delete_notify_configuration", NotifyConfigurationId="nc-0123456789abcdef0"),
        "describe": refusal(notify, "describe_notify_configurations", NotifyConfigurationIds=["nc-0123456789abcdef0"]),
        "reputation": refusal(notify, manage, **{**good, "DisplayName": "No reputation"}),
        "name": refusal(notify, manage, **{**good, "DisplayName": "Brand.com"}),
        "long": refusal(notify, manage, **{**good, "DisplayName": "A brand of many!"}),
        "channel": refusal(notify, manage, **{**good, "EnabledChannels": ["MMS"]}),
        "country": refusal(notify, manage, **good, EnabledCountries=["JM"]),
        "template": refusal(notify, manage, **good, DefaultTemplateId="nothing"),
        "limit": refusal(notify, "set_notify_message_spend_limit_override", MonthlyLimit=100000),
        "token": refusal(notify, "list_notify_countries", NextToken="x"),
    }
    call(notify, "update_notify_configuration", NotifyConfigurationId=own, DeletionProtectionEnabled=False)
    call(notify, "delete_notify_configuration", NotifyConfigurationId=own)
    made = 0
    while (full := refusal(notify, manage, **good)) is None:
        made += 1
    found["full"] = full
    found["made"] = made

    countries = pages("list_notify_countries", "NotifyCountries")
    basic = pages("list_notify_countries", "NotifyCountries", Tier="BASIC", Channels=["SMS"])
    found["countries"] = [len(countries), len(basic), len(pages("list_notify_countries", "NotifyCountries", Channels=["VOICE"]))]
    found["basic"] = ",".join(it["IsoCountryCode"] for it in basic)
    german = [{"Name": "language-code", "Values": ["de"]}, {"Name": "channels", "Values": ["SMS"]}]
    found["german"] = [it["TemplateId"] for it in pages("describe_notify_templates", "NotifyTemplates", Filters=german)]
    active = [{"Name": "status", "Values": ["REJECTED"]}, {"Name": "display-name", "Values": ["Rejected"]}]
    rejected = pages("describe_notify_configurations", "NotifyConfigurations", Filters=active)
    found["reason"] = sorted({bool(it.get("RejectionReason")) for it in rejected})
    found["checked"] = sorted(checked)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
