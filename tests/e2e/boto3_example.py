"""Sends and verifies a one-time password with Boto3, with the three functions of AWS's example.

The names, the order of parameters and the reference ID are those of the example in AWS's documentation. A code that was sent
here can be verified through the function, and the other way round.

    boto3_example.py send   NUMBER BRAND SOURCE
    boto3_example.py verify NUMBER OTP BRAND SOURCE

The endpoint, region and credentials come from the usual AWS_* variables. Prints the response of Pinpoint as one line of JSON.
"""

import hashlib
import json
import os
import sys

import boto3

APPLICATION_ID = os.environ["PINPOINT_APPLICATION_ID"]
ORIGINATION_NUMBER = os.environ["ORIGINATION_IDENTITY"]
ALLOWED_ATTEMPTS = 3

pinpoint = boto3.client("pinpoint")


def generate_ref_id(destinationNumber, brandName, source):
    return hashlib.md5((brandName + source + destinationNumber).encode()).hexdigest()


def send_otp(destinationNumber, codeLength, validityPeriod, brandName, source, language):
    response = pinpoint.send_otp_message(
        ApplicationId=APPLICATION_ID,
        SendOTPMessageRequestParameters={
            "Channel": "SMS",
            "BrandName": brandName,
            "CodeLength": codeLength,
            "ValidityPeriod": validityPeriod,
            "AllowedAttempts": ALLOWED_ATTEMPTS,
            "Language": language,
            "OriginationIdentity": ORIGINATION_NUMBER,
            "DestinationIdentity": destinationNumber,
            "ReferenceId": generate_ref_id(destinationNumber, brandName, source),
        },
    )
    return response["MessageResponse"]


def verify_otp(destinationNumber, otp, brandName, source):
    response = pinpoint.verify_otp_message(
        ApplicationId=APPLICATION_ID,
        VerifyOTPMessageRequestParameters={
            "DestinationIdentity": destinationNumber,
            "ReferenceId": generate_ref_id(destinationNumber, brandName, source),
            "Otp": otp,
        },
    )
    return response["VerificationResponse"]


def main():
    match sys.argv[1:]:
        case ["send", number, brand, source]:
            print(json.dumps(send_otp(number, 6, 15, brand, source, "en-US")))
        case ["verify", number, otp, brand, source]:
            print(json.dumps(verify_otp(number, otp, brand, source)))
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
