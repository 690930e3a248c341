//! Reads the necessary fields of an HTTP event from an emulator or a test.
//!
//! Such events omit fields, have `null` where AWS never writes `null`, or add fields of other types. The typed events
//! of `aws_lambda_events` refuse such an event, even if this program does not use the odd field.

use super::Shape;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

/// The request headers that this program reads.
const HEADERS: [&str; 5] = [
    "content-type",
    "idempotency-key",
    "traceparent",
    "x-forwarded-for",
    "x-request-id",
];

/// Keeps only the fields that this program reads, under the names of the typed event. A field of the wrong type becomes
/// null.
///
/// The typed event refuses the result of this function if the result has no method, has unreadable headers, or has an
/// `isBase64Encoded` that is not a boolean.
pub(super) fn of(event: &RawValue, shape: Shape) -> Option<Value> {
    let event: Value = serde_json::from_str(event.get()).ok()?;
    let field = |pointer: &str| event.pointer(pointer).filter(|value| !value.is_null());
    let string = |pointer: &str| field(pointer).filter(|value| value.is_string());
    let object = |pointer: &str| field(pointer).filter(|value| value.is_object());
    let is_http = matches!(shape, Shape::Http | Shape::FunctionUrl);
    let (path, method, authorizer) = if is_http {
        (
            "rawPath",
            string("/requestContext/http/method"),
            http_authorizer(event.pointer("/requestContext/authorizer")),
        )
    } else {
        (
            "path",
            string("/httpMethod").or_else(|| string("/requestContext/httpMethod")),
            object("/requestContext/authorizer").cloned(),
        )
    };
    Some(json!({
        "resource": string("/resource"),
        "routeKey": string("/routeKey"),
        path: string(&format!("/{path}")),
        "pathParameters": object("/pathParameters").map(as_strings),
        "httpMethod": method,
        "headers": field("/headers").map(needed_headers),
        "multiValueHeaders": field("/multiValueHeaders").map(needed_headers),
        "requestContext": {
            "elb": {},
            "stage": string("/requestContext/stage"),
            "domainName": string("/requestContext/domainName"),
            "httpMethod": method,
            "http": { "method": method, "sourceIp": string("/requestContext/http/sourceIp") },
            "identity": {
                "userArn": string("/requestContext/identity/userArn"),
                "apiKeyId": string("/requestContext/identity/apiKeyId"),
                "sourceIp": string("/requestContext/identity/sourceIp"),
                "cognitoAuthenticationType": string("/requestContext/identity/cognitoAuthenticationType"),
                "cognitoIdentityId": string("/requestContext/identity/cognitoIdentityId"),
                "cognitoIdentityPoolId": string("/requestContext/identity/cognitoIdentityPoolId"),
            },
            "authorizer": authorizer,
        },
        "body": string("/body"),
        "isBase64Encoded": field("/isBase64Encoded").unwrap_or(&Value::Bool(false)),
    }))
}

fn http_authorizer(authorizer: Option<&Value>) -> Option<Value> {
    let authorizer = authorizer.filter(|authorizer| authorizer.is_object())?;
    let object = |pointer: &str| {
        authorizer
            .pointer(pointer)
            .filter(|value| value.is_object())
    };
    let string = |pointer: &str| authorizer.pointer(pointer).filter(|text| text.is_string());
    let methods = authorizer.pointer("/iam/cognitoIdentity/amr");
    let methods = methods.and_then(Value::as_array).into_iter().flatten();
    Some(json!({
        "iam": {
            "userArn": string("/iam/userArn"),
            "cognitoIdentity": {
                "amr": methods.filter(|method| method.is_string()).collect::<Vec<_>>(),
                "identityId": string("/iam/cognitoIdentity/identityId"),
                "identityPoolId": string("/iam/cognitoIdentity/identityPoolId"),
            },
        },
        "jwt": { "claims": object("/jwt/claims").map(as_strings) },
        "lambda": object("/lambda"),
    }))
}

/// An object with every value as a string, because API Gateway writes claims and path parameters as strings.
fn as_strings(object: &Value) -> Value {
    let fields = object.as_object().into_iter().flatten();
    let strings = fields.filter(|(_, value)| !value.is_null());
    strings
        .map(|(name, value)| {
            let text = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
            (name.clone(), Value::String(text))
        })
        .collect::<Map<_, _>>()
        .into()
}

/// The headers that this program reads. If they are not an object, the typed read refuses them.
fn needed_headers(headers: &Value) -> Value {
    let Value::Object(headers) = headers else {
        return headers.clone();
    };
    let is_needed = |name: &str| HEADERS.iter().any(|known| known.eq_ignore_ascii_case(name));
    headers
        .iter()
        .filter(|(name, value)| is_needed(name) && (value.is_string() || value.is_array()))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect::<Map<_, _>>()
        .into()
}
