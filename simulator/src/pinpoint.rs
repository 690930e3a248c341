//! Amazon Pinpoint's OTP API on the wire.

use std::{ops::RangeInclusive, sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, Bytes, to_bytes},
    extract::{Path, Request, State},
    http::{HeaderMap, Method, Response, StatusCode, header},
    response::IntoResponse,
    routing::any,
};
use serde_json::{Map, Value, json};

use crate::{
    codes::CodeKey,
    desk::{Desk, SendRequest},
    failure::{Failure, Operation},
    scenarios::{self, Outcome as Scenario},
    server::{broken_off, hang_up},
    texts,
};

/// Pinpoint's documented limit of an invocation payload.
const LARGEST_BODY: usize = 7 * 1024 * 1024;

pub(crate) fn routes() -> Router<Arc<Desk>> {
    let send = |State(desk): State<Arc<Desk>>, Path(id): Path<String>, request: Request| async move {
        answer(&desk, Operation::Send, id, request).await
    };
    let verify = |State(desk): State<Arc<Desk>>, Path(id): Path<String>, request: Request| async move {
        answer(&desk, Operation::Verify, id, request).await
    };
    // Any method: the service answers a wrong one itself, with an exception of its model.
    Router::new()
        .route("/v1/apps/{application_id}/otp", any(send))
        .route("/v1/apps/{application_id}/verify-otp", any(verify))
}

async fn answer(desk: &Desk, operation: Operation, application_id: String, request: Request) -> Response<Body> {
    let request_id = random_id();
    let (head, body) = request.into_parts();
    let arrival = desk.arrived(operation, &head.method, &application_id, &head.headers);
    if arrival.failure == Some(Failure::CloseBeforeReading) {
        return hang_up();
    }
    let body = to_bytes(body, LARGEST_BODY)
        .await
        .map_err(|_| Refusal::payload_too_large())
        .map(|bytes| serde_json::from_slice::<Value>(&bytes).unwrap_or_default());
    if let Ok(body) = &body {
        desk.read(&arrival, body.clone());
    }

    // What was queued stands before all else. A scenario is the number's: it begins where a request is let in.
    let admitted = admitted(desk, &head.method, &head.headers, &application_id).and(body);
    let scenario = match (&arrival.failure, &admitted) {
        (None, Ok(body)) => destination(body).and_then(|number| scenarios::outcome(operation, number)),
        _ => None,
    };
    let failure = match scenario {
        Some(Scenario::Failure(failure)) => Some(failure),
        _ => arrival.failure.as_ref(),
    };

    let carried_out = match failure.and_then(Refusal::on_demand) {
        Some(refusal) => Err(refusal),
        None => admitted.and_then(|body| match operation {
            Operation::Send => send(desk, &application_id, &request_id, &body, failure),
            Operation::Verify => verify(desk, application_id, &body, scenario),
        }),
    };
    let (status, error_type, body) = match carried_out {
        Ok(answer) => on_the_wire(&answer, operation, failure, &request_id),
        Err(refusal) => refusal.on_the_wire(&request_id),
    };
    let body = Bytes::from(body);
    let response = (
        status,
        [(header::CONTENT_TYPE, "application/json")],
        [("x-amzn-requestid", request_id)],
        error_type.map(|error_type| [("x-amzn-errortype", error_type)]),
        body.clone(),
    )
        .into_response();

    match failure {
        Some(Failure::Slow(by)) => tokio::time::sleep(*by).await,
        Some(Failure::Hang) => std::future::pending().await,
        Some(Failure::CloseAfterReading) => return hang_up(),
        Some(Failure::Truncated) => return broken_off(response, &body),
        _ => {}
    }
    response
}

/// The number that a request is about.
fn destination(body: &Value) -> Option<&str> {
    body.get("DestinationIdentity")?.as_str()
}

/// What stands before the operation: the gateway, then the service's look at method and application.
fn admitted(desk: &Desk, method: &Method, headers: &HeaderMap, application_id: &str) -> Result<(), Refusal> {
    signed(headers)?;
    if method != Method::POST {
        return Err(Refusal::method_not_allowed());
    }
    if !desk.knows(application_id) {
        return Err(Refusal::not_found());
    }
    Ok(())
}

/// Looks for a Signature Version 4 made for this service. The signature itself is not verified: the simulator knows
/// nobody's secret key.
fn signed(headers: &HeaderMap) -> Result<(), Refusal> {
    let authorization = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .filter(|value| value.starts_with("AWS4-"))
        .ok_or_else(|| {
            Refusal::gateway(
                StatusCode::FORBIDDEN,
                "MissingAuthenticationTokenException",
                "Missing Authentication Token",
            )
        })?;
    // Credential=AKIA…/20261123/us-east-1/mobiletargeting/aws4_request, SignedHeaders=…, Signature=…
    let scope = authorization.split_once("Credential=").and_then(|(_, rest)| rest.split(',').next());
    let mut scope = scope.unwrap_or_default().rsplit('/');
    if scope.next() == Some("aws4_request") && scope.next() == Some("mobiletargeting") {
        return Ok(());
    }
    Err(Refusal::gateway(
        StatusCode::FORBIDDEN,
        "InvalidSignatureException",
        "Credential should be scoped to correct service: 'mobiletargeting'. ",
    ))
}

fn send(
    desk: &Desk,
    application_id: &str,
    request_id: &str,
    body: &Value,
    failure: Option<&Failure>,
) -> Result<Value, Refusal> {
    let request = SendRequest::parse(application_id, body)?;
    let to = request.key.to.clone();
    let message_id = random_id();
    let outcome = Outcome::of(failure, &to, &message_id);
    if outcome.text_leaves {
        desk.send(request, message_id.clone());
    }
    let mut result = json!({
        "DeliveryStatus": outcome.delivery_status,
        "MessageId": message_id,
        "StatusCode": outcome.status_code,
        "StatusMessage": outcome.status_message,
    });
    let mut addressed_to = to;
    match failure {
        Some(Failure::ResultOfAnotherNumber) => addressed_to = another_number(&addressed_to),
        Some(Failure::MissingDeliveryStatus) => {
            if let Some(result) = result.as_object_mut() {
                result.remove("DeliveryStatus");
            }
        }
        _ => {}
    }
    let results = match failure {
        Some(Failure::MissingResult) => json!({}),
        _ => json!({ addressed_to: result }),
    };
    Ok(json!({"ApplicationId": application_id, "RequestId": request_id, "Result": results}))
}

fn verify(desk: &Desk, application_id: String, body: &Value, scenario: Option<&Scenario>) -> Result<Value, Refusal> {
    let members = Members::of(body)?;
    let key = CodeKey {
        application_id,
        to: members.required("DestinationIdentity")?.to_owned(),
        reference_id: members.required("ReferenceId")?.to_owned(),
    };
    let mut guess = members.required("Otp")?;
    if scenario == Some(&Scenario::EveryGuessIsWrong) {
        // No code is empty.
        guess = "";
    }
    Ok(json!({"Valid": desk.verify(&key, guess)}))
}

impl SendRequest {
    /// AWS documents no defaults for the optional members. Those here are ours: `en-US`, and for the numbers the values
    /// of AWS's own example.
    fn parse(application_id: &str, body: &Value) -> Result<Self, Refusal> {
        let members = Members::of(body)?;
        let brand = members.required("BrandName")?;
        if !(1..=20).contains(&brand.chars().count()) {
            return Err(Refusal::bad_request("BrandName must have 1 to 20 characters."));
        }
        let reference_id = members.required("ReferenceId")?;
        if !(1..=48).contains(&reference_id.chars().count()) {
            return Err(Refusal::bad_request("ReferenceId must have 1 to 48 characters."));
        }
        if members.required("Channel")? != "SMS" {
            return Err(Refusal::bad_request("Channel must be SMS."));
        }
        let to = members.required("DestinationIdentity")?;
        if !is_e164(to) {
            return Err(Refusal::bad_request("DestinationIdentity must be a phone number in E.164 format."));
        }
        let from = members.required("OriginationIdentity")?;
        if from.is_empty() {
            return Err(Refusal::bad_request("OriginationIdentity must not be empty."));
        }
        let language = members.optional("Language")?.unwrap_or("en-US");
        if !texts::languages().any(|known| known == language) {
            return Err(Refusal::bad_request("Language is not supported."));
        }
        // Needed for India and passed on to the operators there: only their type can be wrong here.
        members.optional("EntityId")?;
        members.optional("TemplateId")?;
        let digits = members.within("CodeLength", 5..=8, 6)?;
        let minutes = members.within("ValidityPeriod", 5..=60, 15)?;
        let attempts = members.within("AllowedAttempts", 1..=5, 3)?;
        Ok(Self {
            key: CodeKey {
                application_id: application_id.to_owned(),
                to: to.to_owned(),
                reference_id: reference_id.to_owned(),
            },
            from: from.to_owned(),
            brand: brand.to_owned(),
            language: language.to_owned(),
            digits: digits.into(),
            validity: Duration::from_mins(minutes.into()),
            attempts: attempts.into(),
        })
    }
}

/// The members of a request body. A null counts as absent, as in AWS's JSON protocols; unknown members are ignored.
struct Members<'a>(&'a Map<String, Value>);

impl<'a> Members<'a> {
    fn of(body: &'a Value) -> Result<Self, Refusal> {
        body.as_object().map(Self).ok_or_else(|| Refusal::bad_request("The request body must be a JSON object."))
    }

    fn required(&self, name: &str) -> Result<&'a str, Refusal> {
        self.optional(name)?.ok_or_else(|| Refusal::bad_request(format!("{name} is required.")))
    }

    fn optional(&self, name: &str) -> Result<Option<&'a str>, Refusal> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(Refusal::bad_request(format!("{name} must be a string."))),
        }
    }

    fn within(&self, name: &str, range: RangeInclusive<u8>, default: u8) -> Result<u8, Refusal> {
        let Some(value) = self.0.get(name).filter(|value| !value.is_null()) else {
            return Ok(default);
        };
        value.as_u64().and_then(|value| u8::try_from(value).ok()).filter(|value| range.contains(value)).ok_or_else(
            || Refusal::bad_request(format!("{name} must be an integer from {} to {}.", range.start(), range.end())),
        )
    }
}

fn is_e164(number: &str) -> bool {
    number.strip_prefix('+').is_some_and(|digits| {
        (2..=15).contains(&digits.len())
            && !digits.starts_with('0')
            && digits.bytes().all(|digit| digit.is_ascii_digit())
    })
}

fn another_number(number: &str) -> String {
    let other = if number.ends_with('0') { "1" } else { "0" };
    format!("{}{other}", number.get(..number.len() - 1).unwrap_or_default())
}

/// What becomes of a text.
struct Outcome {
    text_leaves: bool,
    delivery_status: &'static str,
    status_code: u16,
    status_message: String,
}

impl Outcome {
    fn of(failure: Option<&Failure>, to: &str, message_id: &str) -> Self {
        let failed = |delivery_status, status_code, status_message: &str| Self {
            text_leaves: false,
            delivery_status,
            status_code,
            status_message: status_message.to_owned(),
        };
        match failure {
            Some(Failure::Duplicate) => failed("DUPLICATE", 400, "Duplicate endpoint address"),
            Some(Failure::OptOut) => failed("OPT_OUT", 400, "The recipient has opted out"),
            Some(Failure::PermanentFailure) => {
                failed("PERMANENT_FAILURE", 400, "Invalid phone number or unreachable carrier")
            }
            // With the number in it, as a status message may be: callers must not log it.
            Some(Failure::PermanentFailureOptedOut) => {
                failed("PERMANENT_FAILURE", 400, &format!("Phone number {to} is opted out"))
            }
            Some(Failure::Throttled) => failed("THROTTLED", 429, "Rate exceeded"),
            Some(Failure::TemporaryFailure) => failed("TEMPORARY_FAILURE", 500, "Carrier is busy"),
            Some(Failure::UnknownFailure) => failed("UNKNOWN_FAILURE", 500, "Unknown error"),
            Some(Failure::UnheardOfStatus) => failed("LOST_IN_SPACE", 299, "No such status"),
            _ => Self {
                text_leaves: true,
                delivery_status: "SUCCESSFUL",
                status_code: 200,
                status_message: format!("MessageId: {message_id}"),
            },
        }
    }
}

type OnTheWire = (StatusCode, Option<&'static str>, String);

/// A successful answer, or what a failure makes of it.
fn on_the_wire(answer: &Value, operation: Operation, failure: Option<&Failure>, request_id: &str) -> OnTheWire {
    let body = match failure {
        Some(Failure::InternalServerErrorAfterwards) => {
            return Refusal::internal_server_error().on_the_wire(request_id);
        }
        Some(Failure::NotJson) => "<html><body><h1>It works!</h1></body></html>".to_owned(),
        Some(Failure::EmptyBody) => String::new(),
        Some(Failure::JsonArray) => "[]".to_owned(),
        Some(Failure::EmptyObject) => "{}".to_owned(),
        Some(Failure::Wrapped) => match operation {
            Operation::Send => json!({ "MessageResponse": answer }).to_string(),
            Operation::Verify => json!({ "VerificationResponse": answer }).to_string(),
        },
        _ => answer.to_string(),
    };
    (StatusCode::OK, None, body)
}

/// Why a request was not carried out.
struct Refusal {
    status: StatusCode,
    error_type: &'static str,
    message: String,
    /// The gateway in front of the service has bodies of its own, without the members of the service model.
    by_gateway: bool,
}

impl Refusal {
    /// The refusal that a failure stands for, if it is one.
    fn on_demand(failure: &Failure) -> Option<Self> {
        Some(match failure {
            Failure::BadRequest => Self::bad_request("The request is not valid."),
            Failure::Forbidden => {
                Self::modelled(StatusCode::FORBIDDEN, "ForbiddenException", "Access to the resource is forbidden.")
            }
            Failure::NotFound => Self::not_found(),
            Failure::MethodNotAllowed => Self::method_not_allowed(),
            Failure::PayloadTooLarge => Self::payload_too_large(),
            Failure::TooManyRequests => {
                Self::modelled(StatusCode::TOO_MANY_REQUESTS, "TooManyRequestsException", "Too many requests.")
            }
            Failure::InternalServerError => Self::internal_server_error(),
            Failure::ServiceUnavailable => {
                Self::gateway(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailableException", "Service Unavailable")
            }
            Failure::AccessDenied => Self::gateway(
                StatusCode::FORBIDDEN,
                "AccessDeniedException",
                "User: arn:aws:iam::000000000000:user/desk is not authorized to perform this action",
            ),
            Failure::UnrecognizedClient => Self::gateway(
                StatusCode::FORBIDDEN,
                "UnrecognizedClientException",
                "The security token included in the request is invalid.",
            ),
            _ => return None,
        })
    }

    fn bad_request(message: impl Into<String>) -> Self {
        Self::modelled(StatusCode::BAD_REQUEST, "BadRequestException", message)
    }

    fn not_found() -> Self {
        Self::modelled(StatusCode::NOT_FOUND, "NotFoundException", "Resource not found")
    }

    fn method_not_allowed() -> Self {
        Self::modelled(
            StatusCode::METHOD_NOT_ALLOWED,
            "MethodNotAllowedException",
            "The method is not allowed for the resource.",
        )
    }

    fn payload_too_large() -> Self {
        Self::modelled(StatusCode::PAYLOAD_TOO_LARGE, "PayloadTooLargeException", "The payload is too large.")
    }

    fn internal_server_error() -> Self {
        Self::modelled(StatusCode::INTERNAL_SERVER_ERROR, "InternalServerErrorException", "Internal server error.")
    }

    fn modelled(status: StatusCode, error_type: &'static str, message: impl Into<String>) -> Self {
        Self { status, error_type, message: message.into(), by_gateway: false }
    }

    fn gateway(status: StatusCode, error_type: &'static str, message: &str) -> Self {
        Self { status, error_type, message: message.to_owned(), by_gateway: true }
    }

    fn on_the_wire(&self, request_id: &str) -> OnTheWire {
        let body = if self.by_gateway {
            json!({ "message": self.message })
        } else {
            json!({"Message": self.message, "RequestID": request_id})
        };
        (self.status, Some(self.error_type), body.to_string())
    }
}

/// In the shape of a UUID, version 4.
pub(crate) fn random_id() -> String {
    let bits = fastrand::u128(..);
    let bits = bits & !(0xf << 76) & !(0x3 << 62) | 0x4 << 76 | 0x2 << 62;
    let hex = format!("{bits:032x}");
    let mut id = String::with_capacity(36);
    for (place, digit) in hex.chars().enumerate() {
        if matches!(place, 8 | 12 | 16 | 20) {
            id.push('-');
        }
        id.push(digit);
    }
    id
}
