//! Requests to the service, as the page and a terminal show them: without full numbers and codes.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use otp_lambda::{phone::PhoneNumber, typed};
use serde::Serialize;
use serde_json::{Value, value::RawValue};
use time::OffsetDateTime;

use crate::{clock::serialize_rfc3339, front::HandlerError};

/// A request to the service and its response.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Call {
    /// Counts up from 1.
    pub id: u64,
    /// By the clock of the phone.
    #[serde(serialize_with = "serialize_rfc3339")]
    pub at: SystemTime,
    /// `send`, `verify`, the name of a trigger, or the method and path of another request.
    pub operation: String,
    /// Masked. Empty if the request has no number.
    pub number: String,
    /// The HTTP status.
    pub status: Option<u64>,
    /// An error code, the status of the verification, or the outcome of a trigger.
    pub outcome: String,
    /// The limit that refused the request.
    pub limit: Option<String>,
    pub milliseconds: u64,
    /// The fields of the request. Its code is hidden.
    pub request: Value,
    pub response: Value,
}

impl Call {
    #[must_use]
    pub fn of(
        event: &RawValue,
        result: &Result<Value, HandlerError>,
        at: SystemTime,
        took: Duration,
    ) -> Self {
        let event: Value = serde_json::from_str(event.get()).unwrap_or_default();
        let request = hidden(body(&event));
        let response = match result {
            Ok(result) if result.get("statusCode").is_some() => body(result),
            Ok(result) => shown_of_trigger(result),
            Err(HandlerError { kind, message }) => {
                serde_json::json!({ "errorType": kind, "errorMessage": message })
            }
        };
        let text = |value: &Value, name: &str| value.get(name)?.as_str().map(str::to_owned);
        let outcome = match result {
            Ok(_) => text(&response, "code")
                .or_else(|| text(&response, "status"))
                .unwrap_or_else(|| "ok".to_owned()),
            Err(error) => error.kind.clone(),
        };
        Self {
            id: 0,
            at,
            operation: operation(&event),
            number: number(&event, &request),
            status: result
                .as_ref()
                .ok()
                .and_then(|result| result.get("statusCode")?.as_u64()),
            outcome,
            limit: text(&response, "limit"),
            milliseconds: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            request,
            response,
        }
    }
}

/// `14:03:12 send +1*******0142 202 pending 6 ms`, in UTC.
impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = OffsetDateTime::from(self.at);
        let (hour, minute, second) = (at.hour(), at.minute(), at.second());
        write!(f, "{hour:02}:{minute:02}:{second:02} {}", self.operation)?;
        if !self.number.is_empty() {
            write!(f, " {}", self.number)?;
        }
        if let Some(status) = self.status {
            write!(f, " {status}")?;
        }
        write!(f, " {}", self.outcome)?;
        if let Some(limit) = &self.limit {
            write!(f, " (limit: {limit})")?;
        }
        write!(f, " {} ms", self.milliseconds)
    }
}

fn text<'a>(value: &'a Value, pointer: &str) -> Option<&'a str> {
    value.pointer(pointer)?.as_str()
}

/// The body of a request or a response, as JSON.
fn body(event: &Value) -> Value {
    let body = text(event, "/body").unwrap_or_default();
    let is_encoded = event.get("isBase64Encoded") == Some(&Value::Bool(true));
    let decoded = if is_encoded {
        STANDARD.decode(body).unwrap_or_default()
    } else {
        body.as_bytes().to_vec()
    };
    serde_json::from_slice(&decoded).unwrap_or_default()
}

/// The request without its code, and with its number masked.
fn hidden(mut request: Value) -> Value {
    if !request.is_object() {
        return Value::Null;
    }
    for name in ["destinationNumber", "otp"] {
        if let Some(value) = request.get_mut(name) {
            let number = value.as_str().filter(|_| name != "otp").and_then(masked);
            *value = number.unwrap_or_else(|| "••••••".to_owned()).into();
        }
    }
    request
}

fn masked(number: &str) -> Option<String> {
    let number = PhoneNumber::parse(&typed::number(number)).ok()?;
    Some(number.masked())
}

/// Keeps the fields of a trigger's response that reach the client. The other fields are for Cognito alone.
fn shown_of_trigger(result: &Value) -> Value {
    let mut response = result.get("response").unwrap_or(result).clone();
    if let Some(fields) = response.as_object_mut() {
        fields.remove("privateChallengeParameters");
        fields.remove("challengeMetadata");
    }
    response
}

fn operation(event: &Value) -> String {
    if let Some(trigger) = text(event, "/triggerSource") {
        return trigger.split('_').next().unwrap_or(trigger).to_owned();
    }
    if let Some(operation) = text(event, "/operation") {
        return operation.to_owned();
    }
    let path = text(event, "/rawPath").or_else(|| text(event, "/path"));
    let path = path.unwrap_or("?");
    let method = text(event, "/requestContext/http/method").or_else(|| text(event, "/httpMethod"));
    match (path.strip_prefix("/otp/"), method) {
        (Some(name), Some("POST")) => name.to_owned(),
        (_, method) => format!("{} {path}", method.unwrap_or("?")),
    }
}

fn number(event: &Value, request: &Value) -> String {
    if let Some(number) = text(request, "/destinationNumber") {
        return number.to_owned();
    }
    text(event, "/request/userAttributes/phone_number")
        .or_else(|| text(event, "/destinationNumber"))
        .and_then(masked)
        .unwrap_or_default()
}
