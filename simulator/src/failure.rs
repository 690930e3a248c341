//! The failures that tests and the page can queue.

use std::{
    collections::{HashMap, VecDeque},
    num::NonZeroU32,
    time::Duration,
};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A simulated AWS service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Service {
    /// Amazon Pinpoint's OTP API. In JSON: `pinpoint`.
    Pinpoint,
    /// Code verification in AWS End User Messaging. In JSON: `end-user-messaging`.
    EndUserMessaging,
    /// Amazon Pinpoint SMS Voice V2. This service takes the feedback on messages of End User Messaging. In JSON:
    /// `pinpoint-sms-voice-v2`.
    PinpointSmsVoiceV2,
}

impl Service {
    pub const ALL: [Self; 3] = [
        Self::Pinpoint,
        Self::EndUserMessaging,
        Self::PinpointSmsVoiceV2,
    ];
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Operation {
    /// Pinpoint's `SendOTPMessage`, End User Messaging's `SendNotifyCodeVerification`.
    Send,
    /// Pinpoint's `VerifyOTPMessage`, End User Messaging's `ValidateNotifyCodeVerification`.
    Verify,
    /// `PutMessageFeedback` of Pinpoint SMS Voice V2.
    Feedback,
}

impl Operation {
    pub const ALL: [Self; 3] = [Self::Send, Self::Verify, Self::Feedback];

    #[must_use]
    pub fn is_of(self, service: Service) -> bool {
        (self == Self::Feedback) == (service == Service::PinpointSmsVoiceV2)
    }
}

/// A failure of one request.
///
/// If the service refuses the request or cannot deliver the message, the request has no effect. If only the *response*
/// is late, lost or damaged, the request has its effect: the message is sent, the attempt is used up, or the feedback
/// is kept.
///
/// Not every service has every failure: see [`applies_to`](Self::applies_to). One failure can also look different at
/// two services. A failed delivery, for example, is a 200 with a status at Pinpoint, and an exception at End User
/// Messaging. The descriptions of the variants have Pinpoint's exception names, and [`sees`](Self::sees) has the
/// exception names of the other services. At End User Messaging, the texts of `OptOut` and `PermanentFailure` are made
/// up, because AWS does not document these texts.
///
/// In JSON, the names are in kebab case (`"close-after-reading"`), and `Slow` is `{"slow": milliseconds}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Failure {
    /// Send: no failure. Lets a request pass before the next failure in the queue.
    Successful,
    /// Pinpoint, send: 200, `DUPLICATE`.
    Duplicate,
    /// Send: the number has opted out. Pinpoint: 200, `OPT_OUT`. End User Messaging: 409 `ConflictException`. Only the
    /// text of the exception gives the reason, and the text contains the number.
    OptOut,
    /// Send: the number cannot be reached. Pinpoint: 200, `PERMANENT_FAILURE`. End User Messaging: 400
    /// `ValidationException`. For this failure, the simulator always gives the reason that the number is a landline.
    /// Only the text of the exception gives the reason, and the text contains the number.
    PermanentFailure,
    /// Pinpoint, send: 200, `PERMANENT_FAILURE`. The `StatusMessage` says that the number opted out, and contains the
    /// number.
    PermanentFailureOptedOut,
    /// Pinpoint, send: 200, `THROTTLED`.
    Throttled,
    /// Pinpoint, send: 200, `TEMPORARY_FAILURE`.
    TemporaryFailure,
    /// Pinpoint, send: 200, `UNKNOWN_FAILURE`.
    UnknownFailure,
    /// 200, with a status that AWS does not document. Pinpoint: the `DeliveryStatus` of a send. End User Messaging: the
    /// `status` of a verify. A verify that gets this status uses up an attempt.
    UnheardOfStatus,
    /// Pinpoint, send: 200, an empty `Result`. The message is sent.
    MissingResult,
    /// Pinpoint, send: 200, a `SUCCESSFUL` result for another number only. The message is sent.
    ResultOfAnotherNumber,
    /// Pinpoint, send: 200, a result without `DeliveryStatus`. The message is sent.
    MissingDeliveryStatus,
    /// 400 `BadRequestException`; elsewhere `ValidationException`.
    BadRequest,
    /// 403 `ForbiddenException`; elsewhere the same as `AccessDenied`.
    Forbidden,
    /// Pinpoint: 404 `NotFoundException`. The other services: `ResourceNotFoundException`. In AWS's description of End
    /// User Messaging, only a send has this exception.
    NotFound,
    /// Pinpoint: 405 `MethodNotAllowedException`.
    MethodNotAllowed,
    /// Pinpoint: 413 `PayloadTooLargeException`.
    PayloadTooLarge,
    /// End User Messaging, send: 409 `ConflictException`.
    Conflict,
    /// End User Messaging, send: 400 `ServiceQuotaExceededException`.
    ServiceQuotaExceeded,
    /// 429 `TooManyRequestsException`; elsewhere `ThrottlingException`.
    TooManyRequests,
    /// 500 `InternalServerErrorException`; elsewhere `InternalServerException`.
    InternalServerError,
    /// As `InternalServerError`, but the request has its effect.
    InternalServerErrorAfterwards,
    /// 503 `ServiceUnavailableException`, which is in no service model.
    ServiceUnavailable,
    /// 403 `AccessDeniedException`, a missing IAM permission. It is not in Pinpoint's service model.
    AccessDenied,
    /// 403 `UnrecognizedClientException` for unknown credentials, which is in no service model.
    UnrecognizedClient,
    /// The normal response, this much later (wall time, not the simulator's clock).
    Slow(#[serde(with = "milliseconds")] Duration),
    /// The request has its effect, no response ever comes, and the connection stays open.
    Hang,
    /// The request has its effect, then the connection is closed without a response.
    CloseAfterReading,
    /// The connection is closed when the headers have arrived. Nothing else happens.
    CloseBeforeReading,
    /// The normal status and headers and half of the body, then the connection is closed.
    Truncated,
    /// 200 with an HTML page. The request has its effect.
    NotJson,
    /// 200 without a body. The request has its effect.
    EmptyBody,
    /// 200 with `[]`. The request has its effect.
    JsonArray,
    /// 200 with `{}`: no `Result` or `Valid`, no `messageId` or `status`. The request has its effect.
    EmptyObject,
    /// Pinpoint: 200, with the response inside a wrapper: `{"VerificationResponse": {"Valid": true}}`,
    /// `{"MessageResponse": {…}}`. boto3 shows this wrapper to its caller, but the real service sends the response
    /// without the wrapper. The request has its effect.
    Wrapped,
}

impl Failure {
    /// Every failure; `Slow` with three seconds.
    #[must_use]
    pub fn all() -> [Self; 35] {
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
            Self::Conflict,
            Self::ServiceQuotaExceeded,
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

    /// Whether `operation` of `service` can have this failure. For example, a verify cannot have a failed delivery,
    /// because a verify delivers nothing.
    #[must_use]
    pub fn applies_to(&self, service: Service, operation: Operation) -> bool {
        let exists = match self {
            Self::Duplicate
            | Self::PermanentFailureOptedOut
            | Self::Throttled
            | Self::TemporaryFailure
            | Self::UnknownFailure
            | Self::MissingResult
            | Self::ResultOfAnotherNumber
            | Self::MissingDeliveryStatus => {
                service == Service::Pinpoint && operation == Operation::Send
            }
            Self::Successful | Self::OptOut | Self::PermanentFailure => {
                operation == Operation::Send
            }
            Self::UnheardOfStatus => matches!(
                (service, operation),
                (Service::Pinpoint, Operation::Send)
                    | (Service::EndUserMessaging, Operation::Verify)
            ),
            Self::MethodNotAllowed | Self::PayloadTooLarge | Self::Wrapped => {
                service == Service::Pinpoint
            }
            Self::Conflict | Self::ServiceQuotaExceeded => {
                service == Service::EndUserMessaging && operation == Operation::Send
            }
            _ => true,
        };
        exists && operation.is_of(service)
    }

    /// Whether `operation` of any service can fail like this.
    #[must_use]
    pub fn exists_for(&self, operation: Operation) -> bool {
        Service::ALL
            .into_iter()
            .any(|service| self.applies_to(service, operation))
    }

    /// Describes in a few words, for the page, how the failure looks to a client of `service`. If `service` does not
    /// have the failure, the words are those for Pinpoint.
    #[must_use]
    pub fn sees(&self, service: Service) -> &'static str {
        let at = |pinpoint, end_user_messaging, sms_voice| match service {
            Service::Pinpoint => pinpoint,
            Service::EndUserMessaging => end_user_messaging,
            Service::PinpointSmsVoiceV2 => sms_voice,
        };
        let of_eum = |pinpoint, end_user_messaging| at(pinpoint, end_user_messaging, pinpoint);
        match self {
            Self::Successful => of_eum("200, SUCCESSFUL", "200, sent"),
            Self::Duplicate => "200, DUPLICATE",
            Self::OptOut => of_eum(
                "200, OPT_OUT",
                "409 ConflictException, message says opted out",
            ),
            Self::PermanentFailure => of_eum(
                "200, PERMANENT_FAILURE",
                "400 ValidationException, message says landline",
            ),
            Self::PermanentFailureOptedOut => "200, PERMANENT_FAILURE, message says opted out",
            Self::Throttled => "200, THROTTLED",
            Self::TemporaryFailure => "200, TEMPORARY_FAILURE",
            Self::UnknownFailure => "200, UNKNOWN_FAILURE",
            Self::UnheardOfStatus => {
                of_eum("200, an unknown DeliveryStatus", "200, an unknown status")
            }
            Self::MissingResult => "200, Result is empty",
            Self::ResultOfAnotherNumber => "200, Result names another number",
            Self::MissingDeliveryStatus => "200, no DeliveryStatus",
            Self::BadRequest => at(
                "400 BadRequestException",
                "400 ValidationException",
                "400 ValidationException",
            ),
            Self::Forbidden => at(
                "403 ForbiddenException",
                "403 AccessDeniedException",
                "400 AccessDeniedException",
            ),
            Self::NotFound => at(
                "404 NotFoundException",
                "404 ResourceNotFoundException",
                "400 ResourceNotFoundException",
            ),
            Self::MethodNotAllowed => "405 MethodNotAllowedException",
            Self::PayloadTooLarge => "413 PayloadTooLargeException",
            Self::Conflict => "409 ConflictException",
            Self::ServiceQuotaExceeded => "400 ServiceQuotaExceededException",
            Self::TooManyRequests => at(
                "429 TooManyRequestsException",
                "429 ThrottlingException",
                "400 ThrottlingException",
            ),
            Self::InternalServerError => at(
                "500 InternalServerErrorException",
                "500 InternalServerException",
                "500 InternalServerException",
            ),
            Self::InternalServerErrorAfterwards => "500, but it was carried out",
            Self::ServiceUnavailable => "503 ServiceUnavailableException",
            Self::AccessDenied => at(
                "403 AccessDeniedException",
                "403 AccessDeniedException",
                "400 AccessDeniedException",
            ),
            Self::UnrecognizedClient => at(
                "403 UnrecognizedClientException",
                "403 UnrecognizedClientException",
                "400 UnrecognizedClientException",
            ),
            Self::Slow(_) => "the normal response, late",
            Self::Hang => "no response, ever",
            Self::CloseAfterReading => "connection closed, but it was carried out",
            Self::CloseBeforeReading => "connection closed, nothing carried out",
            Self::Truncated => "half of the response",
            Self::NotJson => "200, an HTML page",
            Self::EmptyBody => "200, empty body",
            Self::JsonArray => "200, []",
            Self::EmptyObject => "200, {}",
            Self::Wrapped => "200, response in boto3's wrapper",
        }
    }
}

/// For how many requests a failure stays queued.
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

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Queued {
    pub failure: Failure,
    pub times: Times,
}

/// The queued failures. Each operation has a queue: first in, first out.
#[derive(Debug, Default)]
pub(crate) struct Failures(HashMap<Operation, VecDeque<Queued>>);

impl Failures {
    pub(crate) fn queue(&mut self, operation: Operation, failure: Failure, times: Times) {
        self.0
            .entry(operation)
            .or_default()
            .push_back(Queued { failure, times });
    }

    /// Takes the first failure in the queue that a request of this kind can have. The failures before this one stay in
    /// the queue for later requests.
    pub(crate) fn take(&mut self, service: Service, operation: Operation) -> Option<Failure> {
        let queue = self.0.get_mut(&operation)?;
        let place = queue
            .iter()
            .position(|queued| queued.failure.applies_to(service, operation))?;
        let first = queue.get_mut(place)?;
        let failure = first.failure.clone();
        if let Times::Exactly(times) = first.times {
            match NonZeroU32::new(times.get() - 1) {
                Some(left) => first.times = Times::Exactly(left),
                None => drop(queue.remove(place)),
            }
        }
        Some(failure)
    }

    pub(crate) fn queued(&self, operation: Operation) -> Vec<Queued> {
        self.0
            .get(&operation)
            .map(|queue| queue.iter().cloned().collect())
            .unwrap_or_default()
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

    pub(super) fn serialize<S: Serializer>(
        by: &Duration,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        u64::try_from(by.as_millis())
            .unwrap_or(u64::MAX)
            .serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_millis)
    }
}
