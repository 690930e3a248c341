//! One call to a provider: its time limit, and the error of a call that fails.

use super::connector::{IDLE_TIME_LIMIT, never_connected};
use super::{CONNECT_TIME_LIMIT, cause_by, chain};
use crate::error::{Error, ErrorCode};
use aws_config::SdkConfig;
use aws_config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_types::request_id::RequestId;
use aws_types::sdk_config::{SharedTimeSource, TimeSource};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// How long a provider may take until its response begins.
pub(super) const READ_TIME_LIMIT: Duration = Duration::from_secs(5);

/// No call begins with less time than this.
const MIN_TIME: Duration = Duration::from_millis(200);

/// The time limits that every client of a provider has.
pub(super) fn time_limits() -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIME_LIMIT)
        .read_timeout(READ_TIME_LIMIT)
        .build()
}

/// The detail for callers when only the operator can solve the problem.
pub(super) const NOT_SET_UP: &str =
    "The service is not set up to send codes, or to check them. Its operator has to change that.";

/// Ends `call` after `time_limit`.
///
/// The time limit is not in the client's configuration, because every invocation has a deadline of its own. If the
/// limit were in the configuration, every invocation would need a new client, and the open connection would be lost.
///
/// `redact` removes from the provider's texts everything that must not be in the log.
pub(super) async fn within<T, E>(
    time_limit: Duration,
    redact: &(dyn Fn(&str) -> String + Sync),
    last_use: &LastUse,
    call: impl Future<Output = Result<T, SdkError<E, HttpResponse>>>,
) -> Result<T, Failure>
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    if time_limit < MIN_TIME {
        return Err(Failure::new(
            Kind::TimedOut,
            false,
            "no time was left to ask",
        ));
    }
    let ended = tokio::time::timeout(time_limit, call).await;
    last_use.is_now();
    match ended {
        Ok(outcome) => outcome.map_err(|error| Failure::read(&error, redact)),
        Err(_) => Err(Failure::new(
            Kind::TimedOut,
            true,
            "the invocation's time for the provider was over",
        )),
    }
}

/// When a client last used its connection.
#[derive(Debug)]
pub(super) struct LastUse {
    wall_clock: Option<SharedTimeSource>,
    last: Mutex<Option<(Instant, Option<SystemTime>)>>,
}

impl LastUse {
    pub(super) fn none_yet(config: &SdkConfig) -> Self {
        Self {
            wall_clock: config.time_source(),
            last: Mutex::default(),
        }
    }

    fn wall(&self) -> Option<SystemTime> {
        self.wall_clock.as_ref().map(TimeSource::now)
    }

    pub(super) fn is_now(&self) {
        let now = (Instant::now(), self.wall());
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
    }

    /// Whether the connection has been idle for so long that it is not used again. It is not if there was none. Both
    /// clocks are asked, because the monotonic clock may stand still while the machine is suspended.
    pub(super) fn is_long_ago(&self) -> bool {
        let last = *self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.is_some_and(|(monotonic, wall)| {
            let passed = wall
                .zip(self.wall())
                .and_then(|(last, now)| now.duration_since(last).ok())
                .unwrap_or_default();
            passed.max(monotonic.elapsed()) >= IDLE_TIME_LIMIT
        })
    }
}

/// A call that gave no output, and the reason.
pub(super) struct Failure {
    kind: Kind,
    /// Whether the provider may have acted on the request in spite of the failure.
    may_have_acted: bool,
    cause: String,
    request_id: Option<String>,
}

enum Kind {
    TimedOut,
    Unavailable,
    Answered(Exception),
}

/// An error response. The status of the response is judged before the name of the exception, because AWS's gateways
/// send error responses with names that the service's model does not list.
pub(super) struct Exception {
    pub(super) status: u16,
    /// The exception's name, if there is one.
    pub(super) name: String,
    /// The message. It may repeat parts of the request, so it must not be logged.
    pub(super) text: String,
}

impl Failure {
    fn new(kind: Kind, may_have_acted: bool, cause: impl Into<String>) -> Self {
        Self {
            kind,
            may_have_acted,
            cause: cause.into(),
            request_id: None,
        }
    }

    fn read<E>(error: &SdkError<E, HttpResponse>, redact: &dyn Fn(&str) -> String) -> Self
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        match error {
            SdkError::ServiceError(answer) => {
                let status = answer.raw().status().as_u16();
                let meta = answer.err().meta();
                let exception = Exception {
                    status,
                    name: meta.code().unwrap_or_default().to_owned(),
                    text: meta.message().unwrap_or_default().to_owned(),
                };
                Self {
                    kind: Kind::Answered(exception),
                    // Only a status of 4xx is a refusal. After any other status, such as a 200 with an unreadable body,
                    // the provider may have acted.
                    may_have_acted: !(400..500).contains(&status),
                    cause: cause_by(error, redact),
                    request_id: meta.request_id().map(str::to_owned),
                }
            }
            // Without a connection, nothing was written.
            SdkError::DispatchFailure(failure)
                if failure.as_connector_error().is_some_and(never_connected) =>
            {
                Self::new(
                    Kind::Unavailable,
                    false,
                    format!("no connection: {}", chain(error, redact)),
                )
            }
            SdkError::DispatchFailure(failure) if failure.is_timeout() => {
                Self::new(Kind::TimedOut, true, chain(error, redact))
            }
            SdkError::ConstructionFailure(_) => Self::new(
                Kind::Unavailable,
                false,
                format!("the request could not be made: {}", chain(error, redact)),
            ),
            _ => Self::new(Kind::Unavailable, true, chain(error, redact)),
        }
    }

    /// Whether the failure is an error response for which `is` returns true.
    pub(super) fn is_exception(&self, is: impl Fn(&Exception) -> bool) -> bool {
        matches!(&self.kind, Kind::Answered(exception) if is(exception))
    }

    /// The provider's ID of the request, if the provider responded.
    pub(super) fn request_id(&self) -> Option<String> {
        self.request_id.clone()
    }

    /// The error of a failed send. The error tells the caller if the message may have been sent.
    ///
    /// Some exceptions mean something special at this provider. For such an exception, `of_exception` returns the error
    /// that the caller gets. For all other exceptions, `of_exception` returns `None`.
    pub(super) fn of_send(self, of_exception: impl Fn(&Exception) -> Option<Error>) -> Error {
        let may_have_left = self.may_have_acted;
        let known = if may_have_left {
            "The message may have been sent: ask the person before sending another."
        } else {
            "No message was sent."
        };
        let error = self.into_error(known, of_exception);
        if may_have_left {
            error.with_unknown_delivery()
        } else {
            error
        }
    }

    /// The error of a guess. `of_exception` is as in [`of_send`](Self::of_send).
    pub(super) fn of_verify(self, of_exception: impl Fn(&Exception) -> Option<Error>) -> Error {
        let known = if self.may_have_acted {
            "There is no verdict on the code, and the guess may have cost an attempt."
        } else {
            "The code was not checked, and the guess may have cost an attempt."
        };
        self.into_error(known, of_exception)
    }

    /// `known` says what is known if the provider has neither done nor refused the request.
    fn into_error(self, known: &str, of_exception: impl Fn(&Exception) -> Option<Error>) -> Error {
        let error = match &self.kind {
            Kind::TimedOut if !self.may_have_acted => Error::new(
                ErrorCode::ProviderTimeout,
                "No time was left to ask the provider.",
            ),
            Kind::TimedOut => Error::new(
                ErrorCode::ProviderTimeout,
                "The provider did not answer in time.",
            ),
            Kind::Answered(exception) => {
                of_exception(exception).unwrap_or_else(|| exception.usual())
            }
            Kind::Unavailable => unavailable(),
        };
        let error = match error.code().status() {
            503 | 504 => error.with_more_detail(known),
            _ => error,
        };
        error
            .with_cause(self.cause)
            .with_provider_request_id(self.request_id)
    }
}

impl Exception {
    /// The error of an exception whose meaning is not particular to one provider.
    fn usual(&self) -> Error {
        match self.status {
            429 => throttled(),
            400..500 => rejected(),
            _ => unavailable(),
        }
    }
}

pub(super) fn rejected() -> Error {
    Error::new(
        ErrorCode::ProviderRejected,
        "The provider refused the request as it is; sending it again will not help.",
    )
}

fn unavailable() -> Error {
    Error::new(
        ErrorCode::ProviderUnavailable,
        "The provider could not be reached, or failed.",
    )
}

pub(super) fn opted_out() -> Error {
    Error::new(
        ErrorCode::OptedOut,
        "The owner of this number has opted out of messages from this sender.",
    )
}

pub(super) fn speaks_of_opt_out(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    ["opted out", "opted-out", "opted_out", "opt out", "opt-out"]
        .iter()
        .any(|words| text.contains(words))
}

pub(super) fn undeliverable() -> Error {
    Error::new(
        ErrorCode::Undeliverable,
        "No text can reach this number: it may be a landline, not in service, or closed to such messages.",
    )
}

pub(super) fn throttled() -> Error {
    Error::new(
        ErrorCode::ProviderThrottled,
        "The provider is limiting requests: try again shortly.",
    )
    .with_retry_after(Duration::from_secs(2))
}
