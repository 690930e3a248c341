"""Calls the simulated End User Messaging with Boto3 and prints one line of JSON.

    boto3_end_user_messaging.py round   CHANNEL NUMBER
    boto3_end_user_messaging.py errors  N_SEND N_VERIFY N_FEEDBACK

`round` sends a code by TEXT, VOICE or WHATSAPP and reads it from the simulator's inbox. Then `round` validates a wrong code,
the right code and the right code again, gives feedback, and prints all results.

`errors` calls each operation as often as the arguments say, and prints the error of each call.

The endpoint, region and credentials come from the usual AWS_* variables.
"""

import json
import sys
import urllib.parse
import urllib.request

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

# One attempt per call, because each prepared error is for one call.
CONFIG = Config(retries={"total_max_attempts": 1})
codes = boto3.client("endusermessaging", config=CONFIG)
messages = boto3.client("pinpoint-sms-voice-v2", config=CONFIG)

SSML = '<speak>Your code is <say-as interpret-as="digits">{{code}}</say-as>.</speak>'
CHANNEL_PARAMETERS = {
    "TEXT": {
        "text": {
            "inlineTemplateBody": "{{code}} is your code from ExampleCorp.",
            "destinationCountryParameters": {"IN_ENTITY_ID": "1101", "IN_TEMPLATE_ID": "1107"},
        }
    },
    "VOICE": {
        "voice": {
            "inlineTemplateBody": SSML,
            "languageCode": "en-US",
            "voiceId": "Joanna",
            "voiceMessageBodyTextType": "SSML",
        }
    },
    "WHATSAPP": {"whatsApp": {"whatsAppTemplateName": "otp", "languageCode": "en"}},
}


def send(channel="TEXT", number="+14255550142"):
    return codes.send_notify_code_verification(
        channel=channel,
        destinationIdentity=number,
        originationIdentity="+12065550100",
        overrideChannelParameters=CHANNEL_PARAMETERS[channel],
        overrideCodeConfigurationParameters={
            "codeType": "NUMERIC",
            "codeLength": 8,
            "validityPeriodMinutes": 5,
            "maxAttempts": 3,
        },
        context={"source": "CreateAccount"},
        referenceId="a_reference-1",
    )


def validate(code="012345", number="+14255550142"):
    return codes.validate_notify_code_verification(destinationIdentity=number, referenceId="a_reference-1", code=code)


def feedback(message_id="unknown"):
    return messages.put_message_feedback(MessageId=message_id, MessageFeedbackStatus="RECEIVED")


def inbox(number):
    url = codes.meta.endpoint_url + "/inbox?to=" + urllib.parse.quote(number)
    with urllib.request.urlopen(url) as response:
        return json.load(response)["messages"]


def without_metadata(response):
    assert response.pop("ResponseMetadata")["HTTPStatusCode"] == 200
    return response


def round_trip(channel, number):
    sent = without_metadata(send(channel, number))
    message = inbox(number)[0]
    assert message["messageId"] == sent["messageId"], message
    code = message["code"]
    # Only the last digit differs.
    wrong = code[:-1] + ("1" if code[-1] == "0" else "0")
    statuses = [without_metadata(validate(guess, number))["status"] for guess in (wrong, code, code)]
    used = without_metadata(feedback(sent["messageId"]))
    assert used == {"MessageId": sent["messageId"], "MessageFeedbackStatus": "RECEIVED"}, used
    return {
        "sent": sorted(sent),
        "statuses": statuses,
        "code": code,
        "text": message["text"],
        "channel": message["channel"],
        "feedback": inbox(number)[0]["feedback"],
    }


def error_of(client, call):
    try:
        call()
    except ClientError as error:
        modelled = getattr(client.exceptions, error.response["Error"]["Code"], None)
        return {
            "name": error.response["Error"]["Code"],
            "modelled": modelled is not None and isinstance(error, modelled),
            "status": error.response["ResponseMetadata"]["HTTPStatusCode"],
            "message": bool(error.response["Error"].get("Message")),
            "requestId": bool(error.response["ResponseMetadata"].get("RequestId")),
            "fields": [field.get("path", field.get("Name")) for field in fields_of(error)],
        }
    return None


def fields_of(error):
    return error.response.get("fieldList") or error.response.get("Fields") or []


def main():
    match sys.argv[1:]:
        case ["round", channel, number]:
            print(json.dumps(round_trip(channel, number)))
        case ["errors", sends, verifies, feedbacks]:
            calls = ("send", codes, send, sends), ("verify", codes, validate, verifies)
            calls += (("feedback", messages, feedback, feedbacks),)
            found = {
                name: [error_of(client, call) for _ in range(int(times))] for name, client, call, times in calls
            }
            # botocore accepts a template without the code, and the service rejects it.
            found["template"] = error_of(
                codes,
                lambda: codes.send_notify_code_verification(
                    channel="TEXT",
                    destinationIdentity="+14255550142",
                    originationIdentity="+12065550100",
                    overrideChannelParameters={"text": {"inlineTemplateBody": "no code"}},
                ),
            )
            found["unknownMessage"] = error_of(messages, feedback)
            print(json.dumps(found))
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
