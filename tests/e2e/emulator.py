"""MiniStack with five additions:

- one more condition key in its IAM, dynamodb:LeadingKeys. Our role uses this key;
- the instances that a function has reserved are also the most that its versions and aliases get. MiniStack counts them for
  the function without an alias alone;
- alarms of a template may watch an expression or a query. MiniStack keeps such an alarm, and computes nothing for it;
- a template may have saved queries of CloudWatch Logs. Their log groups must exist;
- the CORS of an HTTP API in a template counts. MiniStack stores its keys as the template spells them (AllowOrigins), and
  reads them as the API of the service does (allowOrigins).

The tests start this program with MiniStack's own Python, in place of the command `ministack`.
"""

import json

from ministack import app
from ministack.core import iam_actions
from ministack.services import cloudwatch_logs, lambda_svc
from ministack.services.cloudformation import provisioners

found_by_ministack = iam_actions.dynamodb_service_context


def with_leading_keys(body):
    keys = dict(found_by_ministack(body) or {})
    try:
        request = json.loads(body)
        # A read of several items names its keys by table.
        tables = request["RequestItems"].values() if "RequestItems" in request else [{"Keys": [request["Key"]]}]
        items = [key for table in tables for key in table["Keys"]]
        partition_keys = [next(iter(key["pk"].values())) for key in items if "pk" in key]
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

alarm_by_ministack = provisioners._cw_metric_alarm_record


def with_metrics(name, properties):
    if not properties.get("Metrics"):
        return alarm_by_ministack(name, properties)
    one = {"Metrics": None, "MetricName": "expression", "Namespace": "otp-lambda"}
    return alarm_by_ministack(name, properties | one) | {"Metrics": properties["Metrics"]}


provisioners._cw_metric_alarm_record = with_metrics


def saved_query(logical_id, properties, stack_name):
    unknown = [it for it in properties["LogGroupNames"] if it not in cloudwatch_logs._log_groups]
    if unknown:
        raise ValueError(f"AWS::Logs::QueryDefinition: no log group {unknown[0]}")
    return f"{stack_name}-{logical_id}", {}


provisioners._RESOURCE_HANDLERS["AWS::Logs::QueryDefinition"] = {
    "create": saved_query,
    "update": lambda physical_id, before, properties, stack_name: saved_query(physical_id, properties, stack_name),
    "delete": lambda physical_id, properties: None,
}

api_by_ministack = dict(provisioners._RESOURCE_HANDLERS["AWS::ApiGatewayV2::Api"])


def with_cors(properties):
    cors = properties.get("CorsConfiguration")
    if not cors:
        return properties
    return properties | {"CorsConfiguration": {key[0].lower() + key[1:]: value for key, value in cors.items()}}


def created_api(logical_id, properties, stack_name):
    return api_by_ministack["create"](logical_id, with_cors(properties), stack_name)


def updated_api(physical_id, before, properties, stack_name, logical_id=None):
    return api_by_ministack["update"](physical_id, before, with_cors(properties), stack_name, logical_id)


provisioners._RESOURCE_HANDLERS["AWS::ApiGatewayV2::Api"] |= {"create": created_api, "update": updated_api}

if __name__ == "__main__":
    app.main()
