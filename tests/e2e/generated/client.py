"""A caller with the generated Python client. Arguments: the address of the API, the address of the phone, a number."""

import datetime
import json
import sys
import urllib.request

from openapi_client import ApiClient, ApiException, Configuration, OtpApi, Problem, SendRequest, StatusRequest, VerifyRequest

api, phone, number = sys.argv[1:]
otp = OtpApi(ApiClient(Configuration(host=api)))

sent = otp.send(SendRequest(destinationNumber=number, channel="sms"), idempotency_key="order-4711")
with urllib.request.urlopen(f"{phone}/inbox") as answer:
    code = next(it["code"] for it in json.load(answer)["messages"] if it["to"] == number)
known = {"destinationNumber": number, "referenceId": sent.reference_id}

wrong = "".join("0" if digit == "9" else "9" for digit in code)
try:
    otp.verify(VerifyRequest(**known, otp=wrong))
    sys.exit("a wrong code was not refused")
except ApiException as error:
    problem = Problem.from_json(error.body)
    refused = [error.status, problem.code, problem.attempts_left]

verified = otp.verify(VerifyRequest(**known, otp=code))
redeemed = otp.status(StatusRequest(**known, claim=True)).actual_instance

print(
    json.dumps(
        {
            "expires": isinstance(sent.expires_at, datetime.datetime),
            "refused": refused,
            "valid": verified.valid,
            "redeemed": redeemed.claimed,
        }
    )
)
