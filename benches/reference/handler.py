"""Sends and verifies with boto3 as AWS's example does, as a function under AWS's own runtime client.

The handler has no ledger. Compare it with the function without a ledger. The handler makes one client for all requests, as
many functions do. This costs less than a client for each request.
"""

import hashlib
import json
import os

import boto3

APPLICATION_ID = os.environ["PINPOINT_APPLICATION_ID"]
ORIGINATION_NUMBER = os.environ["ORIGINATION_IDENTITY"]
BRAND = os.environ["BRAND_NAME"]

pinpoint = boto3.client("pinpoint")


def generate_ref_id(destination_number):
    return hashlib.md5((BRAND + "otp" + destination_number).encode()).hexdigest()


def send_otp(destination_number):
    response = pinpoint.send_otp_message(
        ApplicationId=APPLICATION_ID,
        SendOTPMessageRequestParameters={
            "Channel": "SMS",
            "BrandName": BRAND,
            "CodeLength": 6,
            "ValidityPeriod": 10,
            "AllowedAttempts": 3,
            "Language": "en-US",
            "OriginationIdentity": ORIGINATION_NUMBER,
            "DestinationIdentity": destination_number,
            "ReferenceId": generate_ref_id(destination_number),
        },
    )
    return 202, {"sent": bool(response["MessageResponse"]["Result"])}


def verify_otp(destination_number, otp):
    response = pinpoint.verify_otp_message(
        ApplicationId=APPLICATION_ID,
        VerifyOTPMessageRequestParameters={
            "DestinationIdentity": destination_number,
            "ReferenceId": generate_ref_id(destination_number),
            "Otp": otp,
        },
    )
    valid = response["VerificationResponse"]["Valid"]
    return (200 if valid else 422), {"valid": valid}


def handle(event, context):
    body = json.loads(event["body"])
    number = body["destinationNumber"]
    status, answer = verify_otp(number, body["otp"]) if "otp" in body else send_otp(number)
    return {"statusCode": status, "headers": {"content-type": "application/json"}, "body": json.dumps(answer)}
