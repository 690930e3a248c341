//! Amazon Pinpoint, for the scenarios of every provider.

use serde_json::{Value, json};
use simulator::{Failure, Service};

/// The provider's name in settings.
pub(crate) const NAME: &str = otp_lambda::aws::pinpoint::NAME;

/// The simulated service.
pub(crate) const SERVICE: Service = Service::Pinpoint;

/// The variable with the provider's endpoint.
pub(crate) const ENDPOINT: &str = "AWS_ENDPOINT_URL_PINPOINT";

/// The variables with the endpoints of all services in these tests.
pub(crate) const ENDPOINTS: &[&str] = &[ENDPOINT];

/// The settings that only this provider needs.
pub(crate) const SETTINGS: &[(&str, &str)] = &[(
    "PINPOINT_APPLICATION_ID",
    "9aad3a0a1e6d4cfda6d6ad7c7d6e2a8d",
)];

/// The settings with which delivery events are taken. Only End User Messaging has such events, here as the previous
/// provider.
pub(crate) const DELIVERIES: &[(&str, &str)] = &[
    ("OTP_PREVIOUS_PROVIDER", "end-user-messaging"),
    ("CONFIGURATION_SET", "codes"),
    (
        "DELIVERY_TOPIC",
        "arn:aws:sns:us-east-1:123456789012:otp-lambda-delivery",
    ),
];

/// The shortest length and validity of a code.
pub(crate) const LEAST: (u8, u8) = (5, 5);

/// The error about a language that the provider lacks.
pub(crate) const LANGUAGES: &str = "language must be one of de-DE, en-GB, en-US, es-419, es-ES, fr-CA, fr-FR, it-IT, ja-JP, ko-KR, pt-BR, zh-CN, zh-TW, or country.";

/// Failures that the operator must fix, and the hints in the response.
pub(crate) const HINTS: [(Failure, [&str; 2]); 2] = [
    (
        Failure::Forbidden,
        ["the function's role", "End User Messaging"],
    ),
    (
        Failure::NotFound,
        ["PINPOINT_APPLICATION_ID", "End User Messaging"],
    ),
];

/// Whether the SDK logs numbers if nothing stops it.
pub(crate) const SDK_TELLS: bool = true;

/// A refusal that repeats the number, and a word from it.
pub(crate) const REPEATS_THE_NUMBER: (Failure, &str) =
    (Failure::PermanentFailureOptedOut, "PERMANENT_FAILURE");

/// The segments that are counted for the French text with the long brand of `money.rs`. Pinpoint itself writes the
/// text, and the text counts as one segment.
pub(crate) const LONG_SEGMENTS: u64 = 1;

/// The part of a request to send that decides the text.
pub(crate) fn says(language: &str, brand: &str) -> Value {
    json!({ "language": language, "brand": brand })
}

/// A request to send, in terms of every provider.
pub(crate) fn asked_to_send(body: &Value) -> Value {
    let mut asked = json!({
        "to": body["DestinationIdentity"], "from": body["OriginationIdentity"], "reference": body["ReferenceId"],
        "length": body["CodeLength"], "minutes": body["ValidityPeriod"], "attempts": body["AllowedAttempts"],
        "channel": body["Channel"].as_str().unwrap().to_lowercase(),
        "says": says(body["Language"].as_str().unwrap(), body["BrandName"].as_str().unwrap()),
        "dlt": [body["EntityId"], body["TemplateId"]],
    });
    if body.get("EntityId").is_none() && body.get("TemplateId").is_none() {
        asked.as_object_mut().unwrap().remove("dlt");
    }
    // There are no other fields.
    let known = ["EntityId", "TemplateId"]
        .iter()
        .filter(|name| body.get(**name).is_some())
        .count();
    assert_eq!(body.as_object().unwrap().len(), 9 + known, "{body}");
    asked
}

/// A request to verify, in terms of every provider.
pub(crate) fn asked_to_verify(body: &Value) -> Value {
    assert_eq!(body.as_object().unwrap().len(), 3, "{body}");
    json!({ "to": body["DestinationIdentity"], "reference": body["ReferenceId"], "otp": body["Otp"] })
}

/// Every failure of a send: status, code, and whether the response says that the message may have been sent.
pub(crate) fn of_send(failure: &Failure) -> (u64, &'static str, bool) {
    match failure {
        Failure::Successful | Failure::Slow(_) => (202, "no code", false),
        Failure::OptOut | Failure::PermanentFailureOptedOut => (422, "opted_out", false),
        Failure::PermanentFailure => (422, "undeliverable", false),
        Failure::Duplicate | Failure::BadRequest | Failure::PayloadTooLarge => {
            (502, "provider_rejected", false)
        }
        Failure::Throttled | Failure::TooManyRequests => (503, "provider_throttled", false),
        Failure::TemporaryFailure => (503, "provider_unavailable", false),
        Failure::Forbidden
        | Failure::NotFound
        | Failure::MethodNotAllowed
        | Failure::AccessDenied
        | Failure::UnrecognizedClient => (500, "misconfigured", false),
        Failure::UnknownFailure
        | Failure::UnheardOfStatus
        | Failure::MissingResult
        | Failure::ResultOfAnotherNumber
        | Failure::MissingDeliveryStatus
        | Failure::InternalServerError
        | Failure::InternalServerErrorAfterwards
        | Failure::ServiceUnavailable
        | Failure::CloseAfterReading
        | Failure::CloseBeforeReading
        | Failure::Truncated
        | Failure::NotJson
        | Failure::EmptyBody
        | Failure::JsonArray
        | Failure::EmptyObject
        | Failure::Wrapped => (503, "provider_unavailable", true),
        Failure::Hang => (504, "provider_timeout", true),
        Failure::Conflict | Failure::ServiceQuotaExceeded => {
            unreachable!("Pinpoint has no such failure")
        }
    }
}

/// Every failure of a verify with the right code.
pub(crate) fn of_verify(failure: &Failure) -> (u64, &'static str) {
    match failure {
        Failure::Slow(_) => (200, "no code"),
        Failure::BadRequest | Failure::PayloadTooLarge => (502, "provider_rejected"),
        Failure::TooManyRequests => (503, "provider_throttled"),
        Failure::Forbidden
        | Failure::NotFound
        | Failure::MethodNotAllowed
        | Failure::AccessDenied
        | Failure::UnrecognizedClient => (500, "misconfigured"),
        // A response without `Valid` is a no.
        Failure::EmptyObject | Failure::Wrapped | Failure::EmptyBody => (422, "invalid_code"),
        Failure::Hang => (504, "provider_timeout"),
        _ => (503, "provider_unavailable"),
    }
}
