//! AWS End User Messaging, for the scenarios of every provider.

use otp_lambda::texts::{Options, Texts};
use serde_json::{Value, json};
use simulator::{Failure, Service};

/// The provider's name in settings.
pub(crate) const NAME: &str = otp_lambda::aws::end_user_messaging::NAME;

/// The simulated service.
pub(crate) const SERVICE: Service = Service::EndUserMessaging;

/// The variable with the provider's endpoint.
pub(crate) const ENDPOINT: &str = "AWS_ENDPOINT_URL_ENDUSERMESSAGING";

/// The variables with the endpoints of all services in these tests: of the provider, of feedback, and of the previous
/// provider.
pub(crate) const ENDPOINTS: &[&str] = &[
    ENDPOINT,
    "AWS_ENDPOINT_URL_PINPOINT_SMS_VOICE_V2",
    "AWS_ENDPOINT_URL_PINPOINT",
];

/// The settings that only this provider needs.
pub(crate) const SETTINGS: &[(&str, &str)] = &[];

/// The settings with which delivery events are taken.
pub(crate) const DELIVERIES: &[(&str, &str)] = &[
    ("CONFIGURATION_SET", "codes"),
    (
        "DELIVERY_TOPIC",
        "arn:aws:sns:us-east-1:123456789012:otp-lambda-delivery",
    ),
];

/// The shortest length and validity of a code.
pub(crate) const LEAST: (u8, u8) = (4, 1);

/// The error about a malformed language tag.
pub(crate) const LANGUAGES: &str =
    "language must be a language tag such as en-US or pt-BR, or country.";

/// Failures that the operator must fix, and the hints in the response.
pub(crate) const HINTS: [(Failure, [&str; 2]); 2] = [
    (Failure::Forbidden, ["the function's role", "sms-voice"]),
    (
        Failure::NotFound,
        ["ORIGINATION_IDENTITY", "CONFIGURATION_SET"],
    ),
];

/// Whether the SDK logs numbers if nothing stops it. In this service they are marked as sensitive.
pub(crate) const SDK_TELLS: bool = false;

/// A refusal that repeats the number, and a word from it.
pub(crate) const REPEATS_THE_NUMBER: (Failure, &str) = (Failure::OptOut, "ConflictException");

/// The segments that are counted for the French text with the long brand of `money.rs`.
pub(crate) const LONG_SEGMENTS: u64 = 2;

/// The part of a request to send that decides the text.
pub(crate) fn says(language: &str, brand: &str) -> Value {
    let options = Options {
        do_not_share: true,
        web_otp_domain: None,
        android_app_hash: None,
    };
    json!(
        Texts::new(options, std::collections::BTreeMap::new())
            .unwrap()
            .sms(language, brand, 6)
            .unwrap()
            .body
    )
}

/// A request to send, in terms of every provider.
pub(crate) fn asked_to_send(body: &Value) -> Value {
    let code = &body["overrideCodeConfigurationParameters"];
    let text = &body["overrideChannelParameters"]["text"];
    let mut asked = json!({
        "to": body["destinationIdentity"], "from": body["originationIdentity"], "reference": body["referenceId"],
        "length": code["codeLength"], "minutes": code["validityPeriodMinutes"], "attempts": code["maxAttempts"],
        "channel": if body["channel"] == "TEXT" { "sms" } else { "another" },
        "says": text["inlineTemplateBody"],
    });
    assert_eq!(code["codeType"], "NUMERIC");
    if let Some(country) = text.get("destinationCountryParameters") {
        asked["dlt"] = json!([country["IN_ENTITY_ID"], country["IN_TEMPLATE_ID"]]);
    }
    // There are no other fields.
    assert_eq!(
        (
            body.as_object().unwrap().len(),
            code.as_object().unwrap().len()
        ),
        (6, 4),
        "{body}"
    );
    asked
}

/// A request to verify, in terms of every provider.
pub(crate) fn asked_to_verify(body: &Value) -> Value {
    assert_eq!(body.as_object().unwrap().len(), 3, "{body}");
    json!({ "to": body["destinationIdentity"], "reference": body["referenceId"], "otp": body["code"] })
}

/// Every failure of a send: status, code, and whether the response says that the message may have been sent.
pub(crate) fn of_send(failure: &Failure) -> (u64, &'static str, bool) {
    match failure {
        Failure::Successful | Failure::Slow(_) => (202, "no code", false),
        Failure::OptOut => (422, "opted_out", false),
        Failure::PermanentFailure => (422, "undeliverable", false),
        Failure::BadRequest | Failure::Conflict => (502, "provider_rejected", false),
        Failure::TooManyRequests | Failure::ServiceQuotaExceeded => {
            (503, "provider_throttled", false)
        }
        Failure::Forbidden
        | Failure::NotFound
        | Failure::AccessDenied
        | Failure::UnrecognizedClient => (500, "misconfigured", false),
        Failure::InternalServerError
        | Failure::InternalServerErrorAfterwards
        | Failure::ServiceUnavailable
        | Failure::CloseAfterReading
        | Failure::CloseBeforeReading
        | Failure::Truncated
        | Failure::NotJson
        | Failure::EmptyBody
        | Failure::JsonArray
        | Failure::EmptyObject => (503, "provider_unavailable", true),
        Failure::Hang => (504, "provider_timeout", true),
        other => unreachable!("End User Messaging has no {other:?}"),
    }
}

/// Every failure of a verify with the right code.
pub(crate) fn of_verify(failure: &Failure) -> (u64, &'static str) {
    match failure {
        Failure::Slow(_) => (200, "no code"),
        Failure::BadRequest => (502, "provider_rejected"),
        Failure::TooManyRequests => (503, "provider_throttled"),
        Failure::Forbidden | Failure::AccessDenied | Failure::UnrecognizedClient => {
            (500, "misconfigured")
        }
        // A response without `VALID` counts as a wrong code. So does an unknown verification.
        Failure::EmptyObject
        | Failure::EmptyBody
        | Failure::UnheardOfStatus
        | Failure::NotFound => (422, "invalid_code"),
        Failure::Hang => (504, "provider_timeout"),
        _ => (503, "provider_unavailable"),
    }
}
