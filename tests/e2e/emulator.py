"""MiniStack with two additions:

- one more condition key in its IAM, dynamodb:LeadingKeys. Our role uses this key;
- the instances that a function has reserved are also the most that its versions and aliases get. MiniStack counts them for
  the function without an alias alone.

The tests start this program with MiniStack's own Python, in place of the command `ministack`.
"""

import json

from ministack import app
from ministack.core import iam_actions
from ministack.services import lambda_svc

found_by_ministack = iam_actions.dynamodb_service_context


def with_leading_keys(body):
    keys = dict(found_by_ministack(body) or {})
    try:
        partition_keys = [next(iter(value.values())) for name, value in json.loads(body)["Key"].items() if name == "pk"]
    except (ValueError, KeyError, AttributeError, TypeError):
        # Such as a scan.
        return keys
    return keys | {"dynamodb:LeadingKeys": partition_keys}


iam_actions.dynamodb_service_context = with_leading_keys
if hasattr(app, "dynamodb_service_context"):
    app.dynamodb_service_context = with_leading_keys

reserved_by_ministack = lambda_svc._reserved_concurrency


def of_the_function(record, config):
    return reserved_by_ministack(lambda_svc._functions.get(config["FunctionName"]) or record, config)


lambda_svc._reserved_concurrency = of_the_function

if __name__ == "__main__":
    app.main()
