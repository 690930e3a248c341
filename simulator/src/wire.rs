//! The parts that the protocols share: signatures, records of requests, fields of bodies, and damaged responses.

use std::ops::RangeInclusive;

use axum::{
    body::{Body, Bytes, to_bytes},
    extract::Request,
    http::{HeaderMap, Method, Response, StatusCode, header},
    response::IntoResponse,
};
use serde_json::{Map, Value};

use crate::{
    desk::Desk,
    failure::{Failure, Operation, Service},
    scenarios::{self, Outcome as Scenario},
    server::{hang_up, truncate},
    sessions::check_permissions,
};

/// Pinpoint's documented limit of a payload; the other services document none.
const LARGEST_BODY: usize = 7 * 1024 * 1024;

/// One operation of a service in its own protocol.
pub(crate) trait Call {
    const SERVICE: Service;
    /// The service name in the scope of a signature.
    const SIGNING_NAME: &'static str;
    /// The content type of responses.
    const CONTENT_TYPE: &'static str;

    fn operation(&self) -> Operation;

    /// Empty if the service has no applications.
    fn application_id(&self) -> &str;

    /// Checks all conditions that depend neither on the body nor on the signature.
    fn admit(&self, desk: &Desk, method: &Method) -> Result<(), Refusal>;

    fn destination<'a>(&self, body: &'a Value) -> Option<&'a str>;

    /// Executes the request and returns the response. Also applies the failures that are a part of a normal response,
    /// such as a `DeliveryStatus`.
    fn carry_out(&self, desk: &Desk, input: &CallInput<'_>) -> Result<Value, Refusal>;

    /// The exception that a failure stands for, if there is one.
    fn refusal(failure: &Failure) -> Option<Refusal>;

    /// The refusal of a body over [`LARGEST_BODY`].
    fn too_large() -> Refusal;

    fn refused(refusal: Refusal, request_id: &str) -> WireResponse;
}

/// The input of [`Call::carry_out`].
pub(crate) struct CallInput<'a> {
    pub(crate) request_id: &'a str,
    pub(crate) body: &'a Value,
    /// The queued failure, or the failure of a scenario number.
    pub(crate) failure: Option<&'a Failure>,
    /// Verify: treat every guess as wrong.
    pub(crate) every_guess_is_wrong: bool,
}

/// Status, `x-amzn-errortype` and body.
pub(crate) type WireResponse = (StatusCode, Option<&'static str>, String);

/// An exception of AWS instead of a response.
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) error_type: &'static str,
    pub(crate) message: String,
    /// Fields besides the message.
    pub(crate) more: Map<String, Value>,
    /// The gateway in front of a service has its own bodies, without the fields of the service model.
    pub(crate) by_gateway: bool,
}

impl Refusal {
    pub(crate) fn modelled(
        status: StatusCode,
        error_type: &'static str,
        message: impl Into<String>,
    ) -> Self {
        Self {
            status,
            error_type,
            message: message.into(),
            more: Map::new(),
            by_gateway: false,
        }
    }

    pub(crate) fn with(mut self, member: &str, value: impl Into<Value>) -> Self {
        self.more.insert(member.to_owned(), value.into());
        self
    }

    pub(crate) fn gateway(status: StatusCode, error_type: &'static str, message: &str) -> Self {
        Self {
            by_gateway: true,
            ..Self::modelled(status, error_type, message)
        }
    }

    /// Exceptions that are in no service model, because the gateway in front raises them.
    pub(crate) fn of_the_gateway(failure: &Failure) -> Option<Self> {
        Some(match failure {
            Failure::ServiceUnavailable => Self::gateway(
                StatusCode::SERVICE_UNAVAILABLE,
                "ServiceUnavailableException",
                "Service Unavailable",
            ),
            Failure::UnrecognizedClient => Self::gateway(
                StatusCode::FORBIDDEN,
                "UnrecognizedClientException",
                "The security token included in the request is invalid.",
            ),
            _ => return None,
        })
    }

    /// Exceptions that have the same names in End User Messaging and SMS Voice V2. Pinpoint has its own.
    pub(crate) fn with_common_name(failure: &Failure) -> Option<Self> {
        Some(match failure {
            Failure::Forbidden | Failure::AccessDenied => Self::modelled(
                StatusCode::FORBIDDEN,
                "AccessDeniedException",
                Self::NOT_AUTHORIZED,
            ),
            Failure::TooManyRequests => Self::modelled(
                StatusCode::TOO_MANY_REQUESTS,
                "ThrottlingException",
                "Rate exceeded",
            ),
            Failure::InternalServerError => Self::modelled(
                StatusCode::INTERNAL_SERVER_ERROR,
                "InternalServerException",
                "An unexpected error occurred during the processing of the request.",
            ),
            _ => return Self::of_the_gateway(failure),
        })
    }

    pub(crate) fn entity_too_large() -> Self {
        Self::gateway(
            StatusCode::PAYLOAD_TOO_LARGE,
            "RequestEntityTooLargeException",
            "Request entity too large",
        )
    }

    /// IAM's message about a missing permission.
    pub(crate) const NOT_AUTHORIZED: &str =
        "User: arn:aws:iam::000000000000:user/desk is not authorized to perform this action";
}

/// Responds to a request with any method. A wrong method is refused by `call`, as the real service itself does.
pub(crate) async fn answer<C: Call + Sync>(
    desk: &Desk,
    call: C,
    request: Request,
) -> Response<Body> {
    let request_id = random_id();
    let (head, body) = request.into_parts();
    let arrival = desk.record_arrival(
        C::SERVICE,
        call.operation(),
        &head.method,
        call.application_id(),
        &head.headers,
    );
    if arrival.failure == Some(Failure::CloseBeforeReading) {
        return hang_up();
    }
    let body = to_bytes(body, LARGEST_BODY)
        .await
        .map_err(|_| C::too_large())
        .map(|bytes| serde_json::from_slice::<Value>(&bytes).unwrap_or_default());
    if let Ok(body) = &body {
        desk.record_body(&arrival, body.clone());
    }

    // A queued failure applies before all checks. The failure of a scenario number applies after the checks, because
    // the number is in the body, and a request that fails the checks may have no readable body.
    let admitted = check_signature_scope(&head.headers, C::SIGNING_NAME)
        .and_then(|()| check_permissions(desk, &head.headers, C::SERVICE, call.operation()))
        .and_then(|()| call.admit(desk, &head.method))
        .and(body.as_ref().map_err(|_| C::too_large()));
    let scenario = match (&arrival.failure, &admitted) {
        (None, Ok(body)) => call
            .destination(body)
            .and_then(|number| scenarios::outcome(C::SERVICE, call.operation(), number)),
        _ => None,
    };
    let facts = desk.facts();
    let failure = match scenario {
        Some(Scenario::Failure(failure)) => Some(failure),
        _ => arrival.failure.as_ref(),
    };
    let failure = failure.or_else(|| {
        let facts = facts.of(C::SERVICE);
        let number = || call.destination(admitted.as_ref().ok()?);
        match call.operation() {
            Operation::Send => facts.failure_of_a_send(number()?),
            Operation::Verify => None,
            Operation::Feedback => {
                Some(&facts.feedback).filter(|failure| **failure != Failure::Successful)
            }
        }
    });

    let carried_out = match failure.and_then(C::refusal) {
        Some(refusal) => Err(refusal),
        None => admitted.and_then(|body| {
            let every_guess_is_wrong = scenario == Some(&Scenario::EveryGuessIsWrong);
            call.carry_out(
                desk,
                &CallInput {
                    request_id: &request_id,
                    body,
                    failure,
                    every_guess_is_wrong,
                },
            )
        }),
    };
    let carried_out = carried_out.and_then(|answer| damage::<C>(&answer, failure));
    let (status, error_type, body) = match carried_out {
        Ok(body) => (StatusCode::OK, None, body),
        Err(refusal) => C::refused(refusal, &request_id),
    };
    let body = Bytes::from(body);
    let response = (
        status,
        [(header::CONTENT_TYPE, C::CONTENT_TYPE)],
        [("x-amzn-requestid", request_id)],
        error_type.map(|error_type| [("x-amzn-errortype", error_type)]),
        body.clone(),
    )
        .into_response();

    match failure {
        Some(Failure::Slow(by)) => tokio::time::sleep(*by).await,
        Some(Failure::Hang) => std::future::pending().await,
        Some(Failure::CloseAfterReading) => return hang_up(),
        Some(Failure::Truncated) => return truncate(response, &body),
        _ => {}
    }
    response
}

/// The body of a successful response. A failure may damage it.
fn damage<C: Call>(answer: &Value, failure: Option<&Failure>) -> Result<String, Refusal> {
    Ok(match failure {
        Some(Failure::InternalServerErrorAfterwards) => {
            return C::refusal(&Failure::InternalServerError)
                .map_or_else(|| Ok(String::new()), Err);
        }
        Some(Failure::NotJson) => "<html><body><h1>It works!</h1></body></html>".to_owned(),
        Some(Failure::EmptyBody) => String::new(),
        Some(Failure::JsonArray) => "[]".to_owned(),
        Some(Failure::EmptyObject) => "{}".to_owned(),
        _ => answer.to_string(),
    })
}

/// Checks that there is a Signature Version 4 for this service. The signature itself is not verified: the simulator
/// does not know the secret key.
pub(crate) fn check_signature_scope(
    headers: &HeaderMap,
    signing_name: &str,
) -> Result<(), Refusal> {
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
    let scope = authorization
        .split_once("Credential=")
        .and_then(|(_, rest)| rest.split(',').next());
    let mut scope = scope.unwrap_or_default().rsplit('/');
    if scope.next() == Some("aws4_request") && scope.next() == Some(signing_name) {
        return Ok(());
    }
    Err(Refusal::gateway(
        StatusCode::FORBIDDEN,
        "InvalidSignatureException",
        &format!("Credential should be scoped to correct service: '{signing_name}'. "),
    ))
}

/// A field of the request body is missing or invalid.
pub(crate) struct InvalidField {
    /// A JSON pointer to the field.
    pub(crate) path: String,
    pub(crate) message: String,
}

/// The fields of a request body, or of an object inside it. If the object is absent, it has no fields. A field that is
/// null counts as absent, as in AWS's JSON protocols. Unknown fields are ignored.
pub(crate) struct Fields<'a> {
    fields: Option<&'a Map<String, Value>>,
    /// A JSON pointer to the object.
    path: String,
}

impl<'a> Fields<'a> {
    pub(crate) fn of(body: &'a Value) -> Result<Self, InvalidField> {
        let fields = body.as_object().ok_or_else(|| InvalidField {
            path: String::new(),
            message: "The request body must be a JSON object.".to_owned(),
        })?;
        Ok(Self {
            fields: Some(fields),
            path: String::new(),
        })
    }

    fn get(&self, name: &str) -> Option<&'a Value> {
        self.fields?.get(name).filter(|value| !value.is_null())
    }

    pub(crate) fn invalid(&self, name: &str, what: &str) -> InvalidField {
        InvalidField {
            path: format!("{}/{name}", self.path),
            message: format!("{name} {what}"),
        }
    }

    pub(crate) fn required(&self, name: &str) -> Result<&'a str, InvalidField> {
        self.present(name, self.optional(name)?)
    }

    pub(crate) fn optional(&self, name: &str) -> Result<Option<&'a str>, InvalidField> {
        let Some(value) = self.get(name) else {
            return Ok(None);
        };
        value
            .as_str()
            .map(Some)
            .ok_or_else(|| self.invalid(name, "must be a string."))
    }

    /// Requires a field that was read as optional.
    pub(crate) fn present<T>(&self, name: &str, found: Option<T>) -> Result<T, InvalidField> {
        found.ok_or_else(|| self.invalid(name, "is required."))
    }

    /// An optional string of allowed characters.
    pub(crate) fn matching(
        &self,
        name: &str,
        lengths: RangeInclusive<usize>,
        allowed: fn(char) -> bool,
    ) -> Result<Option<&'a str>, InvalidField> {
        let Some(text) = self.optional(name)? else {
            return Ok(None);
        };
        if !lengths.contains(&text.chars().count()) {
            return Err(self.invalid(
                name,
                &format!(
                    "must have {} to {} characters.",
                    lengths.start(),
                    lengths.end()
                ),
            ));
        }
        if !text.chars().all(allowed) {
            return Err(self.invalid(name, "has characters that are not allowed."));
        }
        Ok(Some(text))
    }

    pub(crate) fn within(
        &self,
        name: &str,
        range: RangeInclusive<u8>,
        default: u8,
    ) -> Result<u8, InvalidField> {
        let Some(value) = self.get(name) else {
            return Ok(default);
        };
        value
            .as_u64()
            .and_then(|value| u8::try_from(value).ok())
            .filter(|value| range.contains(value))
            .ok_or_else(|| {
                self.invalid(
                    name,
                    &format!(
                        "must be an integer from {} to {}.",
                        range.start(),
                        range.end()
                    ),
                )
            })
    }

    /// The fields of an object inside this one.
    pub(crate) fn inside(&self, name: &str) -> Result<Self, InvalidField> {
        let value = self.get(name);
        let fields = value.and_then(Value::as_object);
        if value.is_some() && fields.is_none() {
            return Err(self.invalid(name, "must be an object."));
        }
        Ok(Self {
            fields,
            path: format!("{}/{name}", self.path),
        })
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &'a str> {
        self.fields
            .into_iter()
            .flat_map(Map::keys)
            .map(String::as_str)
    }
}

pub(crate) fn is_e164(number: &str) -> bool {
    number.strip_prefix('+').is_some_and(|digits| {
        (2..=15).contains(&digits.len())
            && !digits.starts_with('0')
            && digits.bytes().all(|digit| digit.is_ascii_digit())
    })
}

/// A UUID, version 4.
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
