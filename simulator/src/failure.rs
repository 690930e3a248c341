//! The ways in which the next requests can be made to fail.

use std::{
    collections::{HashMap, VecDeque},
    num::NonZeroU32,
    time::Duration,
};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// One of the two calls of the OTP API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Operation {
    /// `SendOTPMessage`: `POST /v1/apps/{application-id}/otp`.
    Send,
    /// `VerifyOTPMessage`: `POST /v1/apps/{application-id}/verify-otp`.
    Verify,
}

/// What happens to a request instead of, or on top of, the normal answer.
///
/// Whether a text leaves (send) or an attempt is spent (verify) follows one rule: where the request was refused or the
/// delivery failed, nothing happens; where only the *answer* is late, lost or wrong, it does.
///
/// In JSON the names are in kebab case (`"close-after-reading"`), and `Slow` is `{"slow": milliseconds}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Failure {
    /// Send: no failure at all, `SUCCESSFUL`; to let requests pass before the next failure in the queue.
    Successful,
    /// Send: 200, `DUPLICATE`.
    Duplicate,
    /// Send: 200, `OPT_OUT`.
    OptOut,
    /// Send: 200, `PERMANENT_FAILURE`.
    PermanentFailure,
    /// Send: 200, `PERMANENT_FAILURE` whose `StatusMessage` says that the number opted out, and names the number.
    PermanentFailureOptedOut,
    /// Send: 200, `THROTTLED`.
    Throttled,
    /// Send: 200, `TEMPORARY_FAILURE`.
    TemporaryFailure,
    /// Send: 200, `UNKNOWN_FAILURE`.
    UnknownFailure,
    /// Send: 200, a `DeliveryStatus` that no documentation knows.
    UnheardOfStatus,
    /// Send: 200, an empty `Result`. The text leaves.
    MissingResult,
    /// Send: 200, a `SUCCESSFUL` result for a number that was not asked for, and none other. The text leaves.
    ResultOfAnotherNumber,
    /// Send: 200, a result without `DeliveryStatus`. The text leaves.
    MissingDeliveryStatus,
    /// 400 `BadRequestException`.
    BadRequest,
    /// 403 `ForbiddenException`.
    Forbidden,
    /// 404 `NotFoundException`.
    NotFound,
    /// 405 `MethodNotAllowedException`.
    MethodNotAllowed,
    /// 413 `PayloadTooLargeException`.
    PayloadTooLarge,
    /// 429 `TooManyRequestsException`.
    TooManyRequests,
    /// 500 `InternalServerErrorException`.
    InternalServerError,
    /// 500 `InternalServerErrorException`, but the request was carried out.
    InternalServerErrorAfterwards,
    /// 503 `ServiceUnavailableException`, which the service model does not know.
    ServiceUnavailable,
    /// 403 `AccessDeniedException`, which the service model does not know: a missing IAM permission.
    AccessDenied,
    /// 403 `UnrecognizedClientException`, which the service model does not know: credentials of no account.
    UnrecognizedClient,
    /// The normal answer, this much later (wall time, not the simulator's clock).
    Slow(#[serde(with = "milliseconds")] Duration),
    /// The request is carried out, no answer ever comes, the connection stays open.
    Hang,
    /// The request is carried out, then the connection is closed without an answer.
    CloseAfterReading,
    /// The connection is closed when the headers have arrived. The body is not read, nothing is carried out.
    CloseBeforeReading,
    /// The normal status and headers, half of the body, then the connection is closed.
    Truncated,
    /// 200 with an HTML page for a body. The request is carried out.
    NotJson,
    /// 200 with no body. The request is carried out.
    EmptyBody,
    /// 200 with `[]`. The request is carried out.
    JsonArray,
    /// 200 with `{}`: no `Result`, or no `Valid`. The request is carried out.
    EmptyObject,
    /// 200 with the answer inside the wrapper that boto3 shows and the wire does not have: `{"VerificationResponse":
    /// {"Valid": true}}`, `{"MessageResponse": {…}}`. The request is carried out.
    Wrapped,
}

impl Failure {
    /// Every failure; `Slow` by three seconds.
    #[must_use]
    pub fn all() -> [Self; 33] {
        [
            Self::Successful,
            Self::Duplicate,
            Self::OptOut,
            Self::PermanentFailure,
            Self::PermanentFailureOptedOut,
            Self::Throttled,
            Self::TemporaryFailure,
            Self::UnknownFailure,
            Self::UnheardOfStatus,
            Self::MissingResult,
            Self::ResultOfAnotherNumber,
            Self::MissingDeliveryStatus,
            Self::BadRequest,
            Self::Forbidden,
            Self::NotFound,
            Self::MethodNotAllowed,
            Self::PayloadTooLarge,
            Self::TooManyRequests,
            Self::InternalServerError,
            Self::InternalServerErrorAfterwards,
            Self::ServiceUnavailable,
            Self::AccessDenied,
            Self::UnrecognizedClient,
            Self::Slow(Duration::from_secs(3)),
            Self::Hang,
            Self::CloseAfterReading,
            Self::CloseBeforeReading,
            Self::Truncated,
            Self::NotJson,
            Self::EmptyBody,
            Self::JsonArray,
            Self::EmptyObject,
            Self::Wrapped,
        ]
    }

    /// Whether the failure makes sense for `operation`: the delivery of a text cannot fail when a code is verified.
    #[must_use]
    pub fn applies_to(&self, operation: Operation) -> bool {
        operation == Operation::Send
            || !matches!(
                self,
                Self::Successful
                    | Self::Duplicate
                    | Self::OptOut
                    | Self::PermanentFailure
                    | Self::PermanentFailureOptedOut
                    | Self::Throttled
                    | Self::TemporaryFailure
                    | Self::UnknownFailure
                    | Self::UnheardOfStatus
                    | Self::MissingResult
                    | Self::ResultOfAnotherNumber
                    | Self::MissingDeliveryStatus
            )
    }

    /// What the client sees, in a few words for a person.
    #[must_use]
    pub fn sees(&self) -> &'static str {
        match self {
            Self::Successful => "200, SUCCESSFUL",
            Self::Duplicate => "200, DUPLICATE",
            Self::OptOut => "200, OPT_OUT",
            Self::PermanentFailure => "200, PERMANENT_FAILURE",
            Self::PermanentFailureOptedOut => "200, PERMANENT_FAILURE, message says opted out",
            Self::Throttled => "200, THROTTLED",
            Self::TemporaryFailure => "200, TEMPORARY_FAILURE",
            Self::UnknownFailure => "200, UNKNOWN_FAILURE",
            Self::UnheardOfStatus => "200, a DeliveryStatus nobody knows",
            Self::MissingResult => "200, Result is empty",
            Self::ResultOfAnotherNumber => "200, Result names another number",
            Self::MissingDeliveryStatus => "200, no DeliveryStatus",
            Self::BadRequest => "400 BadRequestException",
            Self::Forbidden => "403 ForbiddenException",
            Self::NotFound => "404 NotFoundException",
            Self::MethodNotAllowed => "405 MethodNotAllowedException",
            Self::PayloadTooLarge => "413 PayloadTooLargeException",
            Self::TooManyRequests => "429 TooManyRequestsException",
            Self::InternalServerError => "500 InternalServerErrorException",
            Self::InternalServerErrorAfterwards => "500, but it was carried out",
            Self::ServiceUnavailable => "503 ServiceUnavailableException",
            Self::AccessDenied => "403 AccessDeniedException",
            Self::UnrecognizedClient => "403 UnrecognizedClientException",
            Self::Slow(_) => "the normal answer, late",
            Self::Hang => "no answer, ever",
            Self::CloseAfterReading => "connection closed, but it was carried out",
            Self::CloseBeforeReading => "connection closed, nothing carried out",
            Self::Truncated => "half of the answer",
            Self::NotJson => "200, an HTML page",
            Self::EmptyBody => "200, empty body",
            Self::JsonArray => "200, []",
            Self::EmptyObject => "200, {}",
            Self::Wrapped => "200, answer in boto3's wrapper",
        }
    }
}

/// For how many requests a failure holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Times {
    /// This many requests. In JSON: the number.
    Exactly(NonZeroU32),
    /// Every request until the failures are cleared. In JSON: `"until-cleared"`.
    UntilCleared,
}

impl Times {
    /// One request.
    pub const ONCE: Self = Self::Exactly(NonZeroU32::MIN);
}

/// A failure in the queue, and for how many more requests it holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Queued {
    /// What happens.
    pub failure: Failure,
    /// For how many more requests.
    pub times: Times,
}

/// The failures to come, first in first out, one queue per operation.
#[derive(Debug, Default)]
pub(crate) struct Failures(HashMap<Operation, VecDeque<Queued>>);

impl Failures {
    pub(crate) fn queue(&mut self, operation: Operation, failure: Failure, times: Times) {
        self.0.entry(operation).or_default().push_back(Queued { failure, times });
    }

    /// The failure of the request that has just arrived.
    pub(crate) fn take(&mut self, operation: Operation) -> Option<Failure> {
        let queue = self.0.get_mut(&operation)?;
        let first = queue.front_mut()?;
        let failure = first.failure.clone();
        if let Times::Exactly(times) = first.times {
            match NonZeroU32::new(times.get() - 1) {
                Some(left) => first.times = Times::Exactly(left),
                None => drop(queue.pop_front()),
            }
        }
        Some(failure)
    }

    pub(crate) fn queued(&self, operation: Operation) -> Vec<Queued> {
        self.0.get(&operation).map(|queue| queue.iter().cloned().collect()).unwrap_or_default()
    }
}

impl Serialize for Times {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Exactly(times) => times.serialize(serializer),
            Self::UntilCleared => serializer.serialize_str("until-cleared"),
        }
    }
}

impl<'de> Deserialize<'de> for Times {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "kebab-case")]
        enum Word {
            UntilCleared,
        }
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "a number from 1, or \"until-cleared\"")]
        enum Either {
            Number(NonZeroU32),
            Word(Word),
        }
        Ok(match Either::deserialize(deserializer)? {
            Either::Number(times) => Self::Exactly(times),
            Either::Word(Word::UntilCleared) => Self::UntilCleared,
        })
    }
}

mod milliseconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(by: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        u64::try_from(by.as_millis()).unwrap_or(u64::MAX).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_millis)
    }
}
