//! Every refusal and failure that a caller can meet: its stable code, its HTTP status, its title.
//!
//! [`ErrorCode`] and its one table are the contract with callers; docs/errors.md lists them and a
//! test holds both against a snapshot. [`Error`] is one occurrence of a code, with what this
//! caller should know about it.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

/// The stable name of a refusal or failure. Callers branch on it; it never changes its meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    /// The request is not what the route reads: not JSON, not an object, a duplicate member.
    MalformedRequest,
    /// One member is missing, of the wrong type or out of range; `field` names it.
    InvalidParameter,
    /// Nobody vouches for the caller.
    Unauthenticated,
    /// The destination number belongs to no allowed country.
    CountryNotAllowed,
    /// The operator has blocked the destination number.
    DestinationBlocked,
    /// Too many guesses about the destination number have failed; an operator can unlock it.
    DestinationLocked,
    /// No such path.
    RouteNotFound,
    /// No code was sent to this number under this reference.
    VerificationNotFound,
    /// The path exists, with another method.
    MethodNotAllowed,
    /// The right code came back before.
    AlreadyVerified,
    /// The same is being done at this moment.
    VerificationInProgress,
    /// The first request with this idempotency key is not finished.
    IdempotencyKeyInUse,
    /// The code's time is over.
    CodeExpired,
    /// Every guess is spent.
    AttemptsExhausted,
    /// The caller ended the verification.
    VerificationCanceled,
    /// The body is larger than any valid request.
    BodyTooLarge,
    /// The body is not declared as JSON.
    UnsupportedMediaType,
    /// The code is wrong; without a ledger also expired, used up or never sent.
    InvalidCode,
    /// The destination number is no phone number.
    InvalidPhoneNumber,
    /// The owner of the number has opted out of messages.
    OptedOut,
    /// No message can reach the number.
    Undeliverable,
    /// The idempotency key stands for another request.
    IdempotencyKeyReused,
    /// A limit is reached; `limit` names it.
    RateLimited,
    /// A code is on its way, and the next may not be sent yet.
    ResendTooSoon,
    /// No further code is sent for this verification.
    ResendLimit,
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
    /// The ledger could not be reached, or failed.
    LedgerUnavailable,
    /// The operator has stopped all sends.
    SendingPaused,
    /// The provider did not answer in time.
    ProviderTimeout,
}

impl ErrorCode {
    /// All codes, with name, HTTP status and title, in the order of docs/errors.md.
    pub const TABLE: &'static [(Self, &'static str, u16, &'static str)] = &[
        (
            Self::MalformedRequest,
            "malformed_request",
            400,
            "The request cannot be read",
        ),
        (
            Self::InvalidParameter,
            "invalid_parameter",
            400,
            "A member of the request is missing or invalid",
        ),
        (
            Self::Unauthenticated,
            "unauthenticated",
            403,
            "The caller is not authenticated",
        ),
        (
            Self::CountryNotAllowed,
            "country_not_allowed",
            403,
            "Numbers of this country are not served",
        ),
        (
            Self::DestinationBlocked,
            "destination_blocked",
            403,
            "The number is blocked",
        ),
        (
            Self::DestinationLocked,
            "destination_locked",
            403,
            "The number is locked after too many wrong codes",
        ),
        (
            Self::RouteNotFound,
            "route_not_found",
            404,
            "There is no such route",
        ),
        (
            Self::VerificationNotFound,
            "verification_not_found",
            404,
            "There is no such verification",
        ),
        (
            Self::MethodNotAllowed,
            "method_not_allowed",
            405,
            "The route has another method",
        ),
        (
            Self::AlreadyVerified,
            "already_verified",
            409,
            "The verification has succeeded before",
        ),
        (
            Self::VerificationInProgress,
            "verification_in_progress",
            409,
            "The same is being done at this moment",
        ),
        (
            Self::IdempotencyKeyInUse,
            "idempotency_key_in_use",
            409,
            "The first request with this key is not finished",
        ),
        (
            Self::CodeExpired,
            "code_expired",
            410,
            "The code has expired",
        ),
        (
            Self::AttemptsExhausted,
            "attempts_exhausted",
            410,
            "No guess is left",
        ),
        (
            Self::VerificationCanceled,
            "verification_canceled",
            410,
            "The verification was canceled",
        ),
        (
            Self::BodyTooLarge,
            "body_too_large",
            413,
            "The request body is too large",
        ),
        (
            Self::UnsupportedMediaType,
            "unsupported_media_type",
            415,
            "The request body is not JSON",
        ),
        (
            Self::InvalidCode,
            "invalid_code",
            422,
            "The code is not valid",
        ),
        (
            Self::InvalidPhoneNumber,
            "invalid_phone_number",
            422,
            "The destination number is not a phone number",
        ),
        (
            Self::OptedOut,
            "opted_out",
            422,
            "The number has opted out of messages",
        ),
        (
            Self::Undeliverable,
            "undeliverable",
            422,
            "The number cannot be reached",
        ),
        (
            Self::IdempotencyKeyReused,
            "idempotency_key_reused",
            422,
            "The key stands for another request",
        ),
        (Self::RateLimited, "rate_limited", 429, "A limit is reached"),
        (
            Self::ResendTooSoon,
            "resend_too_soon",
            429,
            "The next code cannot be sent yet",
        ),
        (
            Self::ResendLimit,
            "resend_limit",
            429,
            "No further code is sent for this verification",
        ),
        (
            Self::InternalError,
            "internal_error",
            500,
            "Something went wrong here",
        ),
        (
            Self::Misconfigured,
            "misconfigured",
            500,
            "The service is not set up correctly",
        ),
        (
            Self::ProviderRejected,
            "provider_rejected",
            502,
            "The provider refused the request",
        ),
        (
            Self::ProviderUnavailable,
            "provider_unavailable",
            503,
            "The provider is not available",
        ),
        (
            Self::ProviderThrottled,
            "provider_throttled",
            503,
            "The provider is limiting requests",
        ),
        (
            Self::LedgerUnavailable,
            "ledger_unavailable",
            503,
            "The ledger is not available",
        ),
        (
            Self::SendingPaused,
            "sending_paused",
            503,
            "Sending is paused",
        ),
        (
            Self::ProviderTimeout,
            "provider_timeout",
            504,
            "The provider did not answer in time",
        ),
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
        const UNLISTED: (ErrorCode, &str, u16, &str) = (
            ErrorCode::InternalError,
            "internal_error",
            500,
            "Something went wrong here",
        );
        // The unit test below proves that every code has its row.
        Self::TABLE
            .iter()
            .copied()
            .find(|row| row.0 == self)
            .unwrap_or(UNLISTED)
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
    code: ErrorCode,
    detail: Cow<'static, str>,
    field: Option<&'static str>,
    allow: Option<&'static str>,
    retry_after: Option<Duration>,
    attempts_left: Option<u8>,
    limit: Option<&'static str>,
    delivery_unknown: bool,
    cause: Option<String>,
    provider_request_id: Option<String>,
}

impl Error {
    /// An occurrence of `code`; `detail` tells the caller what happened and what would help.
    pub fn new(code: ErrorCode, detail: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Occurrence {
            code,
            detail: detail.into(),
            field: None,
            allow: None,
            retry_after: None,
            attempts_left: None,
            limit: None,
            delivery_unknown: false,
            cause: None,
            provider_request_id: None,
        }))
    }

    /// A member of the request that is missing, of the wrong type or out of range.
    pub fn invalid_parameter(field: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorCode::InvalidParameter, detail).with_field(field)
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

    /// Says how many guesses are left.
    #[must_use]
    pub fn with_attempts_left(mut self, attempts: u8) -> Self {
        self.0.attempts_left = Some(attempts);
        self
    }

    /// Names the limit that is reached: number, prefix, source, country, budget or guesses.
    #[must_use]
    pub fn with_limit(mut self, limit: &'static str) -> Self {
        self.0.limit = Some(limit);
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
    pub fn code(&self) -> ErrorCode {
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
        self.0
            .retry_after
            .map(|wait| wait.as_secs() + u64::from(wait.subsec_nanos() > 0))
    }

    /// How many guesses are left.
    #[must_use]
    pub fn attempts_left(&self) -> Option<u8> {
        self.0.attempts_left
    }

    /// The limit that is reached.
    #[must_use]
    pub fn limit(&self) -> Option<&'static str> {
        self.0.limit
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

/// A failed invocation: what Lambda calls a function error. Nothing in it comes from the event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionError {
    /// Lambda's `errorType`: `UnrecognizedEvent`, `SignUpRefused`, or the error code of an operator's command.
    pub kind: &'static str,
    /// Lambda's `errorMessage`, a sentence.
    pub message: Cow<'static, str>,
}

impl FunctionError {
    /// The kind of events that this function does not handle.
    pub(crate) const UNRECOGNIZED: &'static str = "UnrecognizedEvent";

    /// The function does not handle this event; `message` says which ones it does.
    pub(crate) fn unrecognized(message: &'static str) -> Self {
        Self {
            kind: Self::UNRECOGNIZED,
            message: Cow::Borrowed(message),
        }
    }
}

impl From<&Error> for FunctionError {
    fn from(error: &Error) -> Self {
        Self {
            kind: error.code().name(),
            message: Cow::Owned(error.detail().to_owned()),
        }
    }
}

impl fmt::Display for FunctionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for FunctionError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_one_row_and_one_name() {
        // `match` makes the compiler point here when a code is added.
        fn position(code: ErrorCode) -> usize {
            match code {
                ErrorCode::MalformedRequest => 0,
                ErrorCode::InvalidParameter => 1,
                ErrorCode::Unauthenticated => 2,
                ErrorCode::CountryNotAllowed => 3,
                ErrorCode::DestinationBlocked => 4,
                ErrorCode::DestinationLocked => 5,
                ErrorCode::RouteNotFound => 6,
                ErrorCode::VerificationNotFound => 7,
                ErrorCode::MethodNotAllowed => 8,
                ErrorCode::AlreadyVerified => 9,
                ErrorCode::VerificationInProgress => 10,
                ErrorCode::IdempotencyKeyInUse => 11,
                ErrorCode::CodeExpired => 12,
                ErrorCode::AttemptsExhausted => 13,
                ErrorCode::VerificationCanceled => 14,
                ErrorCode::BodyTooLarge => 15,
                ErrorCode::UnsupportedMediaType => 16,
                ErrorCode::InvalidCode => 17,
                ErrorCode::InvalidPhoneNumber => 18,
                ErrorCode::OptedOut => 19,
                ErrorCode::Undeliverable => 20,
                ErrorCode::IdempotencyKeyReused => 21,
                ErrorCode::RateLimited => 22,
                ErrorCode::ResendTooSoon => 23,
                ErrorCode::ResendLimit => 24,
                ErrorCode::InternalError => 25,
                ErrorCode::Misconfigured => 26,
                ErrorCode::ProviderRejected => 27,
                ErrorCode::ProviderUnavailable => 28,
                ErrorCode::ProviderThrottled => 29,
                ErrorCode::LedgerUnavailable => 30,
                ErrorCode::SendingPaused => 31,
                ErrorCode::ProviderTimeout => 32,
            }
        }
        for (index, row) in ErrorCode::TABLE.iter().enumerate() {
            assert_eq!(position(row.0), index, "{}", row.1);
            assert!((400..600).contains(&row.2), "{}", row.1);
        }
        assert_eq!(ErrorCode::TABLE.len(), 33);
    }

    #[test]
    fn a_part_of_a_second_is_waited_for_too() {
        let error = Error::new(ErrorCode::ProviderThrottled, "")
            .with_retry_after(Duration::from_millis(1500));
        assert_eq!(error.retry_after_seconds(), Some(2));
    }
}
