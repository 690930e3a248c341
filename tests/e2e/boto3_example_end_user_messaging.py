"""Sends and verifies a one-time password with Boto3, as in boto3_example.py but through End User Messaging.

The reference ID is the same as in boto3_example.py. A code that was sent here can be verified through the function, and the
other way round.

    boto3_example_end_user_messaging.py send   NUMBER BRAND SOURCE
    boto3_example_end_user_messaging.py verify NUMBER OTP BRAND SOURCE

The endpoint, region and credentials come from the usual AWS_* variables. Prints one line of JSON.
"""

import hashlib
import json
import os
import sys

import boto3

ORIGINATION_NUMBER = os.environ["ORIGINATION_IDENTITY"]
ALLOWED_ATTEMPTS = 3

codes = boto3.client("endusermessaging")


def generate_ref_id(destinationNumber, brandName, source):
    return hashlib.md5((brandName + source + destinationNumber).encode()).hexdigest()


def send_otp(destinationNumber, codeLength, validityPeriod, brandName, source):
    return codes.send_notify_code_verification(
        channel="TEXT",
        destinationIdentity=destinationNumber,
        originationIdentity=ORIGINATION_NUMBER,
        overrideChannelParameters={"text": {"inlineTemplateBody": f"{{{{code}}}} is your code from {brandName}."}},
        overrideCodeConfigurationParameters={
            "codeLength": codeLength,
            "validityPeriodMinutes": validityPeriod,
            "maxAttempts": ALLOWED_ATTEMPTS,
        },
        referenceId=generate_ref_id(destinationNumber, brandName, source),
    )


def verify_otp(destinationNumber, otp, brandName, source):
    response = codes.validate_notify_code_verification(
        destinationIdentity=destinationNumber,
        code=otp,
        referenceId=generate_ref_id(destinationNumber, brandName, source),
    )
    return response["status"]


def main():
    match sys.argv[1:]:
        case ["send", number, brand, source]:
            print(json.dumps({"MessageId": send_otp(number, 6, 15, brand, source)["messageId"]}))
        case ["verify", number, otp, brand, source]:
            print(json.dumps({"Valid": verify_otp(number, otp, brand, source) == "VALID"}))
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
