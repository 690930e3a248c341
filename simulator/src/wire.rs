//! What the services have in common on the wire: who is let in, what is recorded, what a request says, and how an answer
//! can be spoilt.

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
    server::{broken_off, hang_up},
};

/// Pinpoint's documented limit of an invocation payload; the others document none.
const LARGEST_BODY: usize = 7 * 1024 * 1024;

/// One operation of a service, as its own protocol has it.
pub(crate) trait Call {
    /// The service it is one of.
    const SERVICE: Service;
    /// What the scope of a signature must name.
    const SIGNING_NAME: &'static str;
    /// Of the answers.
    const CONTENT_TYPE: &'static str;

    fn operation(&self) -> Operation;

    /// Empty where the service has no applications.
    fn application_id(&self) -> &str;

    /// What stands before the operation, the signature apart.
    fn admit(&self, desk: &Desk, method: &Method) -> Result<(), Refusal>;

    /// The number that a request is about.
    fn destination<'a>(&self, body: &'a Value) -> Option<&'a str>;

    /// Does what the request asks for, and gives the answer: with what a failure makes of it, where that is the protocol's
    /// own.
    fn carry_out(&self, desk: &Desk, asked: &Asked<'_>) -> Result<Value, Refusal>;

    /// The refusal that a failure stands for, if it is one.
    fn refusal(failure: &Failure) -> Option<Refusal>;

    /// The refusal of a body over [`LARGEST_BODY`].
    fn too_large() -> Refusal;

    fn refused(refusal: Refusal, request_id: &str) -> OnTheWire;
}

/// What [`Call::carry_out`] goes by.
pub(crate) struct Asked<'a> {
    pub(crate) request_id: &'a str,
    pub(crate) body: &'a Value,
    /// What was queued, or what the number stands for.
    pub(crate) failure: Option<&'a Failure>,
    /// Verify: the answer to a wrong guess, whatever it is.
    pub(crate) every_guess_is_wrong: bool,
}

/// Status, `x-amzn-errortype` and body.
pub(crate) type OnTheWire = (StatusCode, Option<&'static str>, String);

/// Why a request was not carried out.
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) error_type: &'static str,
    pub(crate) message: String,
    /// What the service model has besides the message.
    pub(crate) more: Map<String, Value>,
    /// The gateway in front of a service has bodies of its own, without the members of the service model.
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

    /// The failures that no service model knows; one in front of every service stands for them.
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

    /// What IAM says to a principal without the permission.
    pub(crate) const NOT_AUTHORIZED: &str =
        "User: arn:aws:iam::000000000000:user/desk is not authorized to perform this action";
}

/// Answers a request, whatever its method: a service answers a wrong one itself.
pub(crate) async fn answer<C: Call + Sync>(
    desk: &Desk,
    call: C,
    request: Request,
) -> Response<Body> {
    let request_id = random_id();
    let (head, body) = request.into_parts();
    let arrival = desk.arrived(
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
        desk.read(&arrival, body.clone());
    }

    // What was queued stands before all else. A scenario is the number's: it begins where a request is let in.
    let admitted = signed(&head.headers, C::SIGNING_NAME)
        .and_then(|()| call.admit(desk, &head.method))
        .and(body.as_ref().map_err(|_| C::too_large()));
    let scenario = match (&arrival.failure, &admitted) {
        (None, Ok(body)) => call
            .destination(body)
            .and_then(|number| scenarios::outcome(C::SERVICE, call.operation(), number)),
        _ => None,
    };
    let failure = match scenario {
        Some(Scenario::Failure(failure)) => Some(failure),
        _ => arrival.failure.as_ref(),
    };

    let carried_out = match failure.and_then(C::refusal) {
        Some(refusal) => Err(refusal),
        None => admitted.and_then(|body| {
            let every_guess_is_wrong = scenario == Some(&Scenario::EveryGuessIsWrong);
            call.carry_out(
                desk,
                &Asked {
                    request_id: &request_id,
                    body,
                    failure,
                    every_guess_is_wrong,
                },
            )
        }),
    };
    let carried_out = carried_out.and_then(|answer| spoilt::<C>(&answer, failure));
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
        Some(Failure::Truncated) => return broken_off(response, &body),
        _ => {}
    }
    response
}

/// The body of a successful answer, or what a failure makes of it afterwards.
fn spoilt<C: Call>(answer: &Value, failure: Option<&Failure>) -> Result<String, Refusal> {
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

/// Looks for a Signature Version 4 made for this service. The signature itself is not verified: the simulator knows
/// nobody's secret key.
fn signed(headers: &HeaderMap, signing_name: &str) -> Result<(), Refusal> {
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

/// Why a body cannot be what the operation takes.
pub(crate) struct Unfit {
    /// A JSON pointer to the member.
    pub(crate) path: String,
    pub(crate) message: String,
}

/// The members of a request body, or of an object inside; of an absent one none. A null counts as absent, as in AWS's JSON
/// protocols; unknown members are ignored.
pub(crate) struct Members<'a> {
    members: Option<&'a Map<String, Value>>,
    /// Where they are.
    path: String,
}

impl<'a> Members<'a> {
    pub(crate) fn of(body: &'a Value) -> Result<Self, Unfit> {
        let members = body.as_object().ok_or_else(|| Unfit {
            path: String::new(),
            message: "The request body must be a JSON object.".to_owned(),
        })?;
        Ok(Self {
            members: Some(members),
            path: String::new(),
        })
    }

    fn get(&self, name: &str) -> Option<&'a Value> {
        self.members?.get(name).filter(|value| !value.is_null())
    }

    pub(crate) fn unfit(&self, name: &str, what: &str) -> Unfit {
        Unfit {
            path: format!("{}/{name}", self.path),
            message: format!("{name} {what}"),
        }
    }

    pub(crate) fn required(&self, name: &str) -> Result<&'a str, Unfit> {
        self.present(name, self.optional(name)?)
    }

    pub(crate) fn optional(&self, name: &str) -> Result<Option<&'a str>, Unfit> {
        let Some(value) = self.get(name) else {
            return Ok(None);
        };
        value
            .as_str()
            .map(Some)
            .ok_or_else(|| self.unfit(name, "must be a string."))
    }

    /// A member that was looked for and must be there.
    pub(crate) fn present<T>(&self, name: &str, found: Option<T>) -> Result<T, Unfit> {
        found.ok_or_else(|| self.unfit(name, "is required."))
    }

    /// A string of so many characters, all of them allowed.
    pub(crate) fn matching(
        &self,
        name: &str,
        lengths: RangeInclusive<usize>,
        allowed: fn(char) -> bool,
    ) -> Result<Option<&'a str>, Unfit> {
        let Some(text) = self.optional(name)? else {
            return Ok(None);
        };
        if !lengths.contains(&text.chars().count()) {
            return Err(self.unfit(
                name,
                &format!(
                    "must have {} to {} characters.",
                    lengths.start(),
                    lengths.end()
                ),
            ));
        }
        if !text.chars().all(allowed) {
            return Err(self.unfit(name, "has characters that are not allowed."));
        }
        Ok(Some(text))
    }

    pub(crate) fn within(
        &self,
        name: &str,
        range: RangeInclusive<u8>,
        default: u8,
    ) -> Result<u8, Unfit> {
        let Some(value) = self.get(name) else {
            return Ok(default);
        };
        value
            .as_u64()
            .and_then(|value| u8::try_from(value).ok())
            .filter(|value| range.contains(value))
            .ok_or_else(|| {
                self.unfit(
                    name,
                    &format!(
                        "must be an integer from {} to {}.",
                        range.start(),
                        range.end()
                    ),
                )
            })
    }

    /// The members of an object inside.
    pub(crate) fn inside(&self, name: &str) -> Result<Self, Unfit> {
        let value = self.get(name);
        let members = value.and_then(Value::as_object);
        if value.is_some() && members.is_none() {
            return Err(self.unfit(name, "must be an object."));
        }
        Ok(Self {
            members,
            path: format!("{}/{name}", self.path),
        })
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &'a str> {
        self.members
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
