//! Every refusal and failure that a caller can meet: its stable code, its HTTP status, its title.
//!
//! [`Code`] and its one table are the contract with callers; the README prints the table and a
//! test holds both against a snapshot. [`Error`] is one occurrence of a code, with what this
//! caller should know about it.

use std::borrow::Cow;
use std::time::Duration;

/// The stable name of a refusal or failure. Callers branch on it; it never changes its meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Code {
    /// The request is not what the route reads: not JSON, not an object, a duplicate member.
    MalformedRequest,
    /// One member is missing, of the wrong type or out of range; `field` names it.
    InvalidParameter,
    /// Nobody vouches for the caller.
    Unauthenticated,
    /// The destination number belongs to no allowed country.
    CountryNotAllowed,
    /// No such path.
    RouteNotFound,
    /// The path exists, with another method.
    MethodNotAllowed,
    /// The body is larger than any valid request.
    BodyTooLarge,
    /// The body is not declared as JSON.
    UnsupportedMediaType,
    /// The code is wrong, expired, used up or was never sent.
    InvalidCode,
    /// The destination number is no phone number.
    InvalidPhoneNumber,
    /// The owner of the number has opted out of messages.
    OptedOut,
    /// No message can reach the number.
    Undeliverable,
    /// A defect of this program.
    InternalError,
    /// The operator has to change a setting or a permission.
    Misconfigured,
    /// The provider refused the request as such.
    ProviderRejected,
    /// The provider could not be reached, or failed.
    ProviderUnavailable,
    /// The provider asks for fewer requests.
    ProviderThrottled,
    /// The provider did not answer in time.
    ProviderTimeout,
}

impl Code {
    /// All codes, with name, HTTP status and title, in the order of the README's table.
    pub const TABLE: &'static [(Self, &'static str, u16, &'static str)] = &[
        (Self::MalformedRequest, "malformed_request", 400, "The request cannot be read"),
        (Self::InvalidParameter, "invalid_parameter", 400, "A member of the request is missing or invalid"),
        (Self::Unauthenticated, "unauthenticated", 403, "The caller is not authenticated"),
        (Self::CountryNotAllowed, "country_not_allowed", 403, "Numbers of this country are not served"),
        (Self::RouteNotFound, "route_not_found", 404, "There is no such route"),
        (Self::MethodNotAllowed, "method_not_allowed", 405, "The route has another method"),
        (Self::BodyTooLarge, "body_too_large", 413, "The request body is too large"),
        (Self::UnsupportedMediaType, "unsupported_media_type", 415, "The request body is not JSON"),
        (Self::InvalidCode, "invalid_code", 422, "The code is not valid"),
        (Self::InvalidPhoneNumber, "invalid_phone_number", 422, "The destination number is not a phone number"),
        (Self::OptedOut, "opted_out", 422, "The number has opted out of messages"),
        (Self::Undeliverable, "undeliverable", 422, "The number cannot be reached"),
        (Self::InternalError, "internal_error", 500, "Something went wrong here"),
        (Self::Misconfigured, "misconfigured", 500, "The service is not set up correctly"),
        (Self::ProviderRejected, "provider_rejected", 502, "The provider refused the request"),
        (Self::ProviderUnavailable, "provider_unavailable", 503, "The provider is not available"),
        (Self::ProviderThrottled, "provider_throttled", 503, "The provider is limiting requests"),
        (Self::ProviderTimeout, "provider_timeout", 504, "The provider did not answer in time"),
    ];

    /// The stable name, as callers see it in `code`.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.row().1
    }

    /// The HTTP status that goes with it.
    #[must_use]
    pub fn status(self) -> u16 {
        self.row().2
    }

    /// A short sentence that is the same for every occurrence.
    #[must_use]
    pub fn title(self) -> &'static str {
        self.row().3
    }

    fn row(self) -> (Self, &'static str, u16, &'static str) {
        const UNLISTED: (Code, &str, u16, &str) =
            (Code::InternalError, "internal_error", 500, "Something went wrong here");
        // The unit test below proves that every code has its row.
        Self::TABLE.iter().copied().find(|row| row.0 == self).unwrap_or(UNLISTED)
    }
}

/// One occurrence of a refusal or failure.
///
/// `detail` is for the caller and holds no code, no phone number and nothing of the request but
/// names; `cause` is for the operator's log, under the same rule.
#[derive(Debug)]
pub struct Error(Box<Occurrence>);

// Behind a pointer, or every `Result` on the way of a success would be as large as a failure.
#[derive(Debug)]
struct Occurrence {
    code: Code,
    detail: Cow<'static, str>,
    field: Option<&'static str>,
    allow: Option<&'static str>,
    retry_after: Option<Duration>,
    delivery_unknown: bool,
    cause: Option<String>,
    provider_request_id: Option<String>,
}

impl Error {
    /// An occurrence of `code`; `detail` tells the caller what happened and what would help.
    pub fn new(code: Code, detail: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Occurrence {
            code,
            detail: detail.into(),
            field: None,
            allow: None,
            retry_after: None,
            delivery_unknown: false,
            cause: None,
            provider_request_id: None,
        }))
    }

    /// A member of the request that is missing, of the wrong type or out of range.
    pub fn invalid_parameter(field: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::InvalidParameter, detail).with_field(field)
    }

    /// Names the member of the request that the refusal is about.
    #[must_use]
    pub fn with_field(mut self, field: &'static str) -> Self {
        self.0.field = Some(field);
        self
    }

    /// Names the methods that the route has, for the `Allow` header.
    #[must_use]
    pub fn with_allow(mut self, methods: &'static str) -> Self {
        self.0.allow = Some(methods);
        self
    }

    /// Says how long to wait before the same request can succeed.
    #[must_use]
    pub fn with_retry_after(mut self, wait: Duration) -> Self {
        self.0.retry_after = Some(wait);
        self
    }

    /// Says that the message may have left although no success was seen, so that a caller does
    /// not send a second one without asking its user.
    #[must_use]
    pub fn with_unknown_delivery(mut self) -> Self {
        self.0.delivery_unknown = true;
        self
    }

    /// What the operator's log says beyond `detail`. Must hold no code and no phone number.
    #[must_use]
    pub fn with_cause(mut self, cause: impl Into<String>) -> Self {
        self.0.cause = Some(cause.into());
        self
    }

    /// The provider's own id of the failed request, for a support case.
    #[must_use]
    pub fn with_provider_request_id(mut self, id: Option<String>) -> Self {
        self.0.provider_request_id = id;
        self
    }

    /// Which refusal or failure this is.
    #[must_use]
    pub fn code(&self) -> Code {
        self.0.code
    }

    /// What happened and what would help, for the caller.
    #[must_use]
    pub fn detail(&self) -> &str {
        &self.0.detail
    }

    /// The member of the request that the refusal is about.
    #[must_use]
    pub fn field(&self) -> Option<&'static str> {
        self.0.field
    }

    /// The methods of the route, if the method was wrong.
    #[must_use]
    pub fn allow(&self) -> Option<&'static str> {
        self.0.allow
    }

    /// Whole seconds to wait, rounded up.
    #[must_use]
    pub fn retry_after_seconds(&self) -> Option<u64> {
        self.0.retry_after.map(|wait| wait.as_secs() + u64::from(wait.subsec_nanos() > 0))
    }

    /// Whether the message may have left.
    #[must_use]
    pub fn is_delivery_unknown(&self) -> bool {
        self.0.delivery_unknown
    }

    /// What only the operator's log says.
    #[must_use]
    pub fn cause(&self) -> Option<&str> {
        self.0.cause.as_deref()
    }

    /// The provider's own id of the failed request.
    #[must_use]
    pub fn provider_request_id(&self) -> Option<&str> {
        self.0.provider_request_id.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_one_row_and_one_name() {
        // `match` makes the compiler point here when a code is added.
        fn position(code: Code) -> usize {
            match code {
                Code::MalformedRequest => 0,
                Code::InvalidParameter => 1,
                Code::Unauthenticated => 2,
                Code::CountryNotAllowed => 3,
                Code::RouteNotFound => 4,
                Code::MethodNotAllowed => 5,
                Code::BodyTooLarge => 6,
                Code::UnsupportedMediaType => 7,
                Code::InvalidCode => 8,
                Code::InvalidPhoneNumber => 9,
                Code::OptedOut => 10,
                Code::Undeliverable => 11,
                Code::InternalError => 12,
                Code::Misconfigured => 13,
                Code::ProviderRejected => 14,
                Code::ProviderUnavailable => 15,
                Code::ProviderThrottled => 16,
                Code::ProviderTimeout => 17,
            }
        }
        for (index, row) in Code::TABLE.iter().enumerate() {
            assert_eq!(position(row.0), index, "{}", row.1);
            assert!((400..600).contains(&row.2), "{}", row.1);
        }
        assert_eq!(Code::TABLE.len(), 18);
    }

    #[test]
    fn a_part_of_a_second_is_waited_for_too() {
        let error = Error::new(Code::ProviderThrottled, "").with_retry_after(Duration::from_millis(1500));
        assert_eq!(error.retry_after_seconds(), Some(2));
    }
}
