//! Every error that a caller can get: its stable code, its HTTP status and its title.
//!
//! [`ErrorCode`] is the contract with callers. docs/errors.md lists the same codes. A test compares the codes in both
//! places with a snapshot. [`Error`] is one occurrence of a code.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

/// Declares each error code once: meaning, variant, name, HTTP status and title.
macro_rules! codes {
    ($($(#[$meaning:meta])* $variant:ident $name:literal $status:literal $title:literal)*) => {
        /// The error codes. Callers branch on their names, so a code never changes its meaning.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum ErrorCode {
            $($(#[$meaning])* $variant,)*
        }

        impl ErrorCode {
            /// All codes, in the order of docs/errors.md.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The field `code` of the problem document.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// The HTTP status.
            #[must_use]
            pub fn status(self) -> u16 {
                match self {
                    $(Self::$variant => $status,)*
                }
            }

            /// A short sentence that is the same for every occurrence.
            #[must_use]
            pub fn title(self) -> &'static str {
                match self {
                    $(Self::$variant => $title,)*
                }
            }
        }
    };
}

codes! {
    /// The body or event cannot be read: not JSON, not an object, a field given twice.
    MalformedRequest "malformed_request" 400 "The request cannot be read"

    /// One field is missing, of the wrong type or out of range; `field` names it.
    InvalidParameter "invalid_parameter" 400 "A field of the request is missing or invalid"

    /// AWS does not vouch for the caller: the request was neither signed nor authorized.
    Unauthenticated "unauthenticated" 403 "The caller is not authenticated"

    /// The caller is a user, and the route is for backends.
    CallerNotTrusted "caller_not_trusted" 403 "The caller is not trusted with this"

    /// The destination number belongs to a country that is not in `ALLOWED_COUNTRIES`.
    CountryNotAllowed "country_not_allowed" 403 "Numbers of this country are not served"

    /// The destination number belongs to no country that this version knows.
    CountryUnknown "country_unknown" 403 "The country of the number is not known"

    /// The destination number is of a type that is not in `ALLOWED_NUMBER_TYPES`, or of one that is never called.
    NumberTypeNotAllowed "number_type_not_allowed" 403 "Numbers of this type are not served"

    /// The operator has blocked the destination number.
    DestinationBlocked "destination_blocked" 403 "The number is blocked"

    /// Too many guesses for this number have failed; an operator can unlock it.
    DestinationLocked "destination_locked" 403 "The number is locked after too many wrong codes"

    /// The service has no such path.
    RouteNotFound "route_not_found" 404 "There is no such route"

    /// No code was sent to this number under this reference.
    VerificationNotFound "verification_not_found" 404 "There is no such verification"

    /// The path exists, but not with this method; `Allow` lists the right ones.
    MethodNotAllowed "method_not_allowed" 405 "The route has another method"

    /// The code has been verified before, or its success redeemed.
    AlreadyVerified "already_verified" 409 "The verification has succeeded before"

    /// The same guess or send is being processed right now.
    VerificationInProgress "verification_in_progress" 409 "Not finished yet"

    /// The first request with this idempotency key has not finished.
    IdempotencyKeyInUse "idempotency_key_in_use" 409 "The first request with this key is not finished"

    /// The code has expired.
    CodeExpired "code_expired" 410 "The code has expired"

    /// All attempts at this code are used up.
    AttemptsExhausted "attempts_exhausted" 410 "No guess is left"

    /// The caller canceled the verification.
    VerificationCanceled "verification_canceled" 410 "The verification was canceled"

    /// The body is larger than any valid request.
    BodyTooLarge "body_too_large" 413 "The request body is too large"

    /// The `Content-Type` is not JSON.
    UnsupportedMediaType "unsupported_media_type" 415 "The request body is not JSON"

    /// The code is wrong. Without a ledger it may also be expired, used or never sent.
    InvalidCode "invalid_code" 422 "The code is not valid"

    /// The destination is not a phone number.
    InvalidPhoneNumber "invalid_phone_number" 422 "The destination number is not a phone number"

    /// The owner of the number has opted out of messages.
    OptedOut "opted_out" 422 "The number has opted out of messages"

    /// The number cannot receive such messages, for example a landline.
    Undeliverable "undeliverable" 422 "The number cannot be reached"

    /// The idempotency key was used before, with a different request.
    IdempotencyKeyReused "idempotency_key_reused" 422 "The key stands for another request"

    /// A limit is reached; `limit` names it.
    RateLimited "rate_limited" 429 "A limit is reached"

    /// A message is on its way, and the next one must wait.
    ResendTooSoon "resend_too_soon" 429 "The next code cannot be sent yet"

    /// All messages allowed for this verification have been sent.
    ResendLimit "resend_limit" 429 "No further code is sent for this verification"

    /// A defect in this program.
    InternalError "internal_error" 500 "Something went wrong here"

    /// The operator has to change a setting or a permission.
    Misconfigured "misconfigured" 500 "The service is not set up correctly"

    /// The provider refused the request, for a reason that the caller cannot change.
    ProviderRejected "provider_rejected" 502 "The provider refused the request"

    /// The provider could not be reached, or failed.
    ProviderUnavailable "provider_unavailable" 503 "The provider is not available"

    /// The provider is throttling our account.
    ProviderThrottled "provider_throttled" 503 "The provider is limiting requests"

    /// The ledger could not be reached, or failed.
    LedgerUnavailable "ledger_unavailable" 503 "The ledger is not available"

    /// The operator has paused all sends.
    SendingPaused "sending_paused" 503 "Sending is paused"

    /// The provider did not respond in time.
    ProviderTimeout "provider_timeout" 504 "The provider gave no clear answer in time"
}

/// One occurrence of an error code.
///
/// An occurrence has three texts: `detail` for the caller, `advice` for the operator and trusted callers, and `cause`
/// for the operator's log. No text may contain a code, a phone number or other content of the request, except names of
/// fields.
#[derive(Debug)]
pub struct Error(Box<Occurrence>);

// Boxed, because every `Result` would otherwise be as large as its error.
#[derive(Debug)]
struct Occurrence {
    code: ErrorCode,
    detail: Cow<'static, str>,
    advice: Option<&'static str>,
    field: Option<&'static str>,
    allow: Option<&'static str>,
    retry_after: Option<Duration>,
    attempts_left: Option<u8>,
    limit: Option<Limit>,
    delivery_unknown: bool,
    opens_reserve: bool,
    cause: Option<String>,
    provider_request_id: Option<String>,
}

impl Error {
    /// `detail` tells the caller what happened and what to do about it.
    pub fn new(code: ErrorCode, detail: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Occurrence {
            code,
            detail: detail.into(),
            advice: None,
            field: None,
            allow: None,
            retry_after: None,
            attempts_left: None,
            limit: None,
            delivery_unknown: false,
            opens_reserve: false,
            cause: None,
            provider_request_id: None,
        }))
    }

    /// A field of the request is missing, of the wrong type or out of range.
    pub fn invalid_parameter(field: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorCode::InvalidParameter, detail).with_field(field)
    }

    /// Replaces the detail if the ledger was unavailable, and leaves other errors as they are. Only the code that runs
    /// a step of the ledger can say what a failure of this step means for the caller.
    #[must_use]
    pub fn if_ledger_unavailable(mut self, detail: &'static str) -> Self {
        if self.code() == ErrorCode::LedgerUnavailable {
            self.0.detail = Cow::Borrowed(detail);
        }
        self
    }

    /// Adds a sentence to the detail.
    #[must_use]
    pub fn with_more_detail(mut self, sentence: &str) -> Self {
        self.0.detail = format!("{} {sentence}", self.0.detail).into();
        self
    }

    /// Adds a sentence for the operator. The sentence is in the log. Trusted callers see the sentence too, because they
    /// are often the operator's own people. Other callers do not see it.
    #[must_use]
    pub fn with_advice(mut self, advice: &'static str) -> Self {
        self.0.advice = Some(advice);
        self
    }

    /// The field of the request that was refused.
    #[must_use]
    pub fn with_field(mut self, field: &'static str) -> Self {
        self.0.field = Some(field);
        self
    }

    /// The methods of the route, for the `Allow` header.
    #[must_use]
    pub fn with_allow(mut self, methods: &'static str) -> Self {
        self.0.allow = Some(methods);
        self
    }

    /// How long the caller must wait before the same request can succeed.
    #[must_use]
    pub fn with_retry_after(mut self, wait: Duration) -> Self {
        self.0.retry_after = Some(wait);
        self
    }

    /// Raises the wait of an error that has one to `wait`, and leaves other errors as they are.
    #[must_use]
    pub(crate) fn not_before(mut self, wait: Duration) -> Self {
        self.0.retry_after = self.0.retry_after.map(|own| own.max(wait));
        self
    }

    #[must_use]
    pub fn with_attempts_left(mut self, attempts: u8) -> Self {
        self.0.attempts_left = Some(attempts);
        self
    }

    #[must_use]
    pub fn with_limit(mut self, limit: Limit) -> Self {
        self.0.limit = Some(limit);
        self
    }

    /// Says that the message may have been sent although the call failed. The caller should ask its user before the
    /// caller sends another message.
    #[must_use]
    pub fn with_unknown_delivery(mut self) -> Self {
        self.0.delivery_unknown = true;
        self
    }

    /// Says that a device that has verified the number before may use its reserve.
    #[must_use]
    pub(crate) fn opening_reserve(mut self) -> Self {
        self.0.opens_reserve = true;
        self
    }

    /// The reason for the operator's log; callers never see it.
    #[must_use]
    pub fn with_cause(mut self, cause: impl Into<String>) -> Self {
        self.0.cause = Some(cause.into());
        self
    }

    /// The provider's ID of the failed request, for a support case with AWS.
    #[must_use]
    pub fn with_provider_request_id(mut self, id: Option<String>) -> Self {
        self.0.provider_request_id = id;
        self
    }

    #[must_use]
    pub fn code(&self) -> ErrorCode {
        self.0.code
    }

    #[must_use]
    pub fn detail(&self) -> &str {
        &self.0.detail
    }

    /// The detail and the advice, for a reader who may see both.
    #[must_use]
    pub fn detail_with_advice(&self) -> Cow<'_, str> {
        match self.0.advice {
            Some(advice) => Cow::Owned(format!("{} {advice}", self.0.detail)),
            None => Cow::Borrowed(&self.0.detail),
        }
    }

    #[must_use]
    pub fn advice(&self) -> Option<&'static str> {
        self.0.advice
    }

    #[must_use]
    pub fn field(&self) -> Option<&'static str> {
        self.0.field
    }

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

    #[must_use]
    pub fn attempts_left(&self) -> Option<u8> {
        self.0.attempts_left
    }

    #[must_use]
    pub fn limit(&self) -> Option<Limit> {
        self.0.limit
    }

    #[must_use]
    pub(crate) fn opens_reserve(&self) -> bool {
        self.0.opens_reserve
    }

    #[must_use]
    pub fn is_delivery_unknown(&self) -> bool {
        self.0.delivery_unknown
    }

    #[must_use]
    pub fn cause(&self) -> Option<&str> {
        self.0.cause.as_deref()
    }

    #[must_use]
    pub fn provider_request_id(&self) -> Option<&str> {
        self.0.provider_request_id.as_deref()
    }
}

/// The limit that refused a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// The sends to one number.
    Number,
    /// The failed guesses at one number.
    Guesses,
    /// The sends to similar numbers.
    Prefix,
    /// The requests from one address.
    Source,
    /// The budget of one country.
    Country,
    /// The budget of all messages.
    Budget,
}

impl Limit {
    /// The name in responses and log lines.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Number => "number",
            Self::Guesses => "guesses",
            Self::Prefix => "prefix",
            Self::Source => "source",
            Self::Country => "country",
            Self::Budget => "budget",
        }
    }
}

/// A failed invocation: what Lambda calls a function error. It repeats nothing from the event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionError {
    /// Lambda's `errorType`: `UnrecognizedEvent`, `WrongAlias`, `SignUpRefused`, or the error code of a failed command.
    pub kind: &'static str,
    /// Lambda's `errorMessage`, a sentence.
    pub message: Cow<'static, str>,
}

impl FunctionError {
    const UNRECOGNIZED: &'static str = "UnrecognizedEvent";
    const WRONG_ALIAS: &'static str = "WrongAlias";

    /// The function does not handle this kind of event; `message` lists those that it handles.
    pub(crate) fn unrecognized(message: &'static str) -> Self {
        Self {
            kind: Self::UNRECOGNIZED,
            message: Cow::Borrowed(message),
        }
    }

    /// The function handles this kind of event under another of its names. `message` says under which.
    pub(crate) fn wrong_alias(message: &'static str) -> Self {
        Self {
            kind: Self::WRONG_ALIAS,
            message: Cow::Borrowed(message),
        }
    }

    /// The outcome in the log, for an event that no part of the program has handled.
    pub(crate) fn outcome(&self) -> Option<&'static str> {
        match self.kind {
            Self::UNRECOGNIZED => Some("unrecognized_event"),
            Self::WRONG_ALIAS => Some("wrong_alias"),
            _ => None,
        }
    }
}

impl From<&Error> for FunctionError {
    fn from(error: &Error) -> Self {
        Self {
            kind: error.code().name(),
            message: Cow::Owned(error.detail_with_advice().into_owned()),
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
    fn retry_after_rounds_up_to_whole_seconds() {
        let error = Error::new(ErrorCode::ProviderThrottled, "")
            .with_retry_after(Duration::from_millis(1500));
        assert_eq!(error.retry_after_seconds(), Some(2));
    }
}
