"""The three functions of AWS's example, for End User Messaging: what a script becomes that moves there by itself.

The reference ID is the same as in boto3_example.py, so that a code sent here verifies through the function and the other
way round.

    boto3_example_end_user_messaging.py send   NUMBER BRAND SOURCE
    boto3_example_end_user_messaging.py verify NUMBER OTP BRAND SOURCE

The endpoint, the region and the keys come from the usual AWS_* variables. Prints one line of JSON.
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
    answer = codes.validate_notify_code_verification(
        destinationIdentity=destinationNumber,
        code=otp,
        referenceId=generate_ref_id(destinationNumber, brandName, source),
    )
    return answer["status"]


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
