"""Calls both operations of Pinpoint's OTP API, each N times. Prints one line of JSON with the error of each call, as botocore
reports it.

    boto3_errors.py N
"""

import json
import os
import sys

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

# One attempt per call, because each prepared error is for one call.
pinpoint = boto3.client("pinpoint", config=Config(retries={"total_max_attempts": 1}))
APPLICATION_ID = os.environ["PINPOINT_APPLICATION_ID"]


def send():
    pinpoint.send_otp_message(
        ApplicationId=APPLICATION_ID,
        SendOTPMessageRequestParameters={
            "Channel": "SMS",
            "BrandName": "ExampleCorp",
            "OriginationIdentity": "+12065550100",
            "DestinationIdentity": "+14255550142",
            "ReferenceId": "a",
        },
    )


def verify():
    pinpoint.verify_otp_message(
        ApplicationId=APPLICATION_ID,
        VerifyOTPMessageRequestParameters={
            "DestinationIdentity": "+14255550142",
            "ReferenceId": "a",
            "Otp": "012345",
        },
    )


def error_of(call):
    try:
        call()
    except ClientError as error:
        modelled = getattr(pinpoint.exceptions, error.response["Error"]["Code"], None)
        return {
            "name": error.response["Error"]["Code"],
            "modelled": modelled is not None and isinstance(error, modelled),
            "status": error.response["ResponseMetadata"]["HTTPStatusCode"],
            # The model has these fields of the body in upper case.
            "message": bool(error.response.get("Message") or error.response["Error"].get("Message")),
            "requestId": bool(error.response.get("RequestID")),
        }
    return None


calls = int(sys.argv[1])
print(json.dumps({name: [error_of(call) for _ in range(calls)] for name, call in (("send", send), ("verify", verify))}))
