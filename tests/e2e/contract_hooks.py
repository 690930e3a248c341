"""Hooks of schemathesis, for test_contract.py. schemathesis imports this file."""

import itertools

import schemathesis

CODE = "012345"
# A number with a fixed code, see `TEST_NUMBERS`.
TEST_NUMBER = "+14255550100"

requests = itertools.count()
# Numbers that belong to nobody, without those that choose a failure of AWS. Each send takes the next one, so that it has
# no limit to wait for.
AREAS = (206, 212, 213, 215, 303, 305, 312, 404, 415, 425, 503, 512, 602, 617, 702, 713)
numbers = itertools.cycle(f"+1{area}55501{end}" for area in AREAS for end in range(20, 50))


def number(operation):
    """Three of four sends have a new number. The other requests have the test number."""
    if operation == "send" and next(requests) % 4 > 0:
        return next(numbers)
    return TEST_NUMBER


@schemathesis.hook
def before_load_schema(context, raw_schema):
    # The desk takes requests without a signature.
    for methods in raw_schema["paths"].values():
        methods["post"].pop("security")
    # The response to a dry run stands apart for the generators of clients.
    send = raw_schema["paths"]["/otp/send"]["post"]
    send["responses"]["200"] = send.pop("x-dry-run-response")


@schemathesis.hook
def before_call(context, case, kwargs):
    """Makes a request more likely to be refused for one reason alone, or to reach the ledger and the provider.

    Only members that are good by their schema get another good value. So a bad request stays a bad one.
    """
    body = case.body
    if case.headers and case.headers.get("Idempotency-Key"):
        case.headers["Idempotency-Key"] = f"key-{next(requests)}"
    if not isinstance(body, dict):
        return
    # No schema can say that a dry run must have no key.
    if body.get("dryRun") is True and case.headers and case.meta.generation.mode.is_positive:
        case.headers.pop("Idempotency-Key", None)
    # Other requests can share the object.
    case.body = body = dict(body)
    # No schema can say which numbers, languages and addresses exist.
    if isinstance(body.get("destinationNumber"), str):
        body["destinationNumber"] = number(case.operation.path.removeprefix("/otp/"))
    for name, value in {"clientIp": "203.0.113.9", "language": "pt-BR", "otp": CODE}.items():
        if isinstance(body.get(name), str):
            body[name] = value
    if isinstance(body.get("brandName"), str) and 1 <= len(body["brandName"]) <= 20:
        body["brandName"] = "Example"
    if not case.meta.generation.mode.is_positive or case.operation.path == "/otp/send":
        return
    # Most verifications have a derived reference.
    for name in ("referenceId", "brandName", "source"):
        body.pop(name, None)
