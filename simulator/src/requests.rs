//! Requests for tests that call the service itself.

use otp_lambda::phone::PhoneNumber;
use otp_lambda::provider::Channel;
use otp_lambda::service::{SendRequest, Service};

/// A send to this number by SMS, with the defaults of the service's settings.
#[must_use]
pub fn send_request(service: &Service, to: PhoneNumber) -> SendRequest {
    let defaults = &service.rules().defaults;
    SendRequest {
        to,
        brand_name: defaults.brand_name.clone(),
        source: defaults.source.clone(),
        language: defaults.language.clone(),
        channel: Channel::Sms,
        code_length: defaults.code_length,
        validity_minutes: defaults.validity_minutes,
        allowed_attempts: defaults.allowed_attempts,
        reference: None,
        owner: None,
    }
}
