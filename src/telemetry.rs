//! What the operator sees: one JSON line an invocation, and how lines are written.
//!
//! Nothing here can hold a code or a full phone number: [`Record`] has no field for either, and
//! only this program's own lines are written. The AWS SDK and the HTTP stack below it print whole
//! requests when asked to talk, so no level turns them on.

use crate::error::{Error, Limit};
use crate::ledger::Unavailable;
use crate::phone::Country;
use std::io;
use std::time::Duration;
use tracing::level_filters::LevelFilter;
use tracing::subscriber::DefaultGuard;
use tracing::{Subscriber, error, info, warn};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;

/// What one invocation was and how it ended.
#[derive(Debug, Default)]
pub struct Record {
    /// `send`, `verify`, or nothing if no route was reached.
    pub operation: Option<&'static str>,
    /// What brought the event: `rest-v1`, `http-v2`, `function-url` or `alb`.
    pub origin: Option<&'static str>,
    /// `ok`, the stable code of the refusal or failure, or `unrecognized_event`.
    pub outcome: &'static str,
    /// The HTTP status of the answer; nothing if the invocation ended in a function error.
    pub status: Option<u16>,
    /// The country of the destination number, allowed or not.
    pub country: Option<Country>,
    /// What the operator should know beyond the outcome.
    pub cause: Option<String>,
    /// The ID that Lambda gave to the invocation.
    pub request_id: String,
    /// Whether this is the first invocation of its execution environment.
    pub cold_start: bool,
    /// The status that the outcome would have over HTTP, where there is none: the level goes by it.
    pub severity: Option<u16>,
    /// The limit that refused the request.
    pub limit: Option<&'static str>,
    provider: Option<&'static str>,
    provider_time: Option<Duration>,
    provider_request_id: Option<String>,
    lost: Vec<String>,
}

impl Record {
    /// The record of an invocation that has just begun.
    #[must_use]
    pub fn new(request_id: String, cold_start: bool) -> Self {
        Self {
            request_id,
            cold_start,
            ..Self::default()
        }
    }

    /// The invocation failed with `error`.
    pub fn failed(&mut self, error: &Error) {
        self.outcome = error.code().name();
        self.cause = error.cause().map(str::to_owned);
        self.limit = error.limit().map(Limit::name);
        if let Some(id) = error.provider_request_id() {
            self.provider_request_id = Some(id.to_owned());
        }
    }

    /// The provider was asked, and answered or failed after `time`.
    pub fn provider_answered(&mut self, name: &'static str, time: Duration) {
        self.provider = Some(name);
        self.provider_time = Some(time);
    }

    /// The provider's own ID of the request, for a support case.
    pub fn provider_request(&mut self, id: Option<String>) {
        self.provider_request_id = id;
    }

    /// A step of the ledger that changes nothing for the caller: where it failed, the line says so.
    pub fn best_effort(&mut self, step: &str, outcome: Result<(), Unavailable>) {
        if let Err(Unavailable(cause)) = outcome {
            self.lost.push(format!("{step}: {cause}"));
        }
    }

    /// The provider was not told that a code came back. A line of its own: the message's ID is needed to tell it later.
    pub fn feedback_lost(&self, message_id: &str, cause: &str) {
        warn!(
            requestId = self.request_id,
            messageId = message_id,
            cause,
            "feedback_lost"
        );
    }

    /// Writes the line: INFO for answers and refusals, WARN for failures of the provider, ERROR
    /// for what the operator has to mend.
    pub fn write(&self, duration: Duration) {
        let lost = (!self.lost.is_empty()).then(|| self.lost.join("; "));
        macro_rules! line {
            ($level:ident) => {
                $level!(
                    requestId = self.request_id,
                    operation = self.operation,
                    origin = self.origin,
                    outcome = self.outcome,
                    status = self.status,
                    country = self.country.as_ref().map(Country::as_str),
                    provider = self.provider,
                    providerRequestId = self.provider_request_id,
                    providerMs = self.provider_time.map(milliseconds),
                    durationMs = milliseconds(duration),
                    coldStart = self.cold_start,
                    limit = self.limit,
                    cause = self.cause,
                    ledgerLost = lost,
                    "request"
                )
            };
        }
        match self.status.or(self.severity) {
            None | Some(500) => line!(error),
            Some(501..) => line!(warn),
            Some(_) if lost.is_some() => line!(warn),
            Some(_) => line!(info),
        }
    }
}

/// Milliseconds with a resolution of one microsecond.
fn milliseconds(time: Duration) -> f64 {
    f64::from(u32::try_from(time.as_micros()).unwrap_or(u32::MAX)) / 1000.0
}

/// Takes out of a foreign text what could be a code or a phone number: every digit.
///
/// For the provider's own messages, which tell the operator what is wrong but may repeat what was
/// asked. Cut to 200 characters.
#[must_use]
pub fn redact(text: &str) -> String {
    text.chars()
        .take(200)
        .map(|c| match c {
            c if c.is_numeric() => '#',
            c if c.is_control() => ' ',
            c => c,
        })
        .collect()
}

/// A subscriber that writes JSON lines with an RFC 3339 time and a level of their own.
///
/// `level` holds for this program's own lines. The Lambda runtime may report its errors; nothing
/// else is written at any level.
pub fn subscriber<W>(level: LevelFilter, writer: W) -> impl Subscriber + Send + Sync
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let own = Targets::new()
        .with_target(env!("CARGO_CRATE_NAME"), level)
        .with_target("lambda_runtime", level.min(LevelFilter::ERROR))
        // Repeats every function error, which has its own line already.
        .with_target("lambda_runtime::layers::panic", LevelFilter::OFF);
    let lines = tracing_subscriber::fmt::layer()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_span_list(false)
        .with_writer(writer);
    tracing_subscriber::registry().with(lines).with(own)
}

/// Writes this process's lines to standard output from now on, and panics as lines too.
///
/// A panic's own message is not written: it can hold whatever was being worked on.
pub fn install(level: LevelFilter) {
    // A second call would find the first one's subscriber in place, which writes the same lines.
    let _ = tracing::subscriber::set_global_default(subscriber(level, io::stdout));
    std::panic::set_hook(Box::new(|panic| {
        let location = panic.location().map(ToString::to_string);
        error!(location, "panic");
    }));
}

/// Writes the lines of this thread to `writer` until the guard is dropped.
#[must_use]
pub fn install_for_thread<W>(level: LevelFilter, writer: W) -> DefaultGuard
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    tracing::subscriber::set_default(subscriber(level, writer))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redacted_text_keeps_its_words_and_no_digit() {
        let text = "Number +1 425-555-0142 or ١٢٣ is not\nregistered²";
        assert_eq!(
            redact(text),
            "Number +# ###-###-#### or ### is not registered#"
        );
        assert_eq!(redact(&"x".repeat(500)).len(), 200);
    }

    #[test]
    fn durations_are_milliseconds() {
        assert!((milliseconds(Duration::from_micros(1234)) - 1.234).abs() < 1e-9);
    }
}
