//! The one entry point: tells what an event is and hands it to its part of the program.

use crate::http;
use crate::service::{Moment, Service};
use crate::telemetry::Record;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

/// What the provider may take at most. AWS answers in well under a second.
const PROVIDER_TIME: Duration = Duration::from_secs(6);

/// What is kept back of the time until the deadline, to write the answer and the log line.
const RESERVE: Duration = Duration::from_millis(500);

/// The function: everything it needs, ready for invocations.
pub struct App {
    service: Service,
    gate: http::Gate,
    warm: AtomicBool,
}

/// What Lambda says about an invocation besides the event.
#[derive(Debug, Clone)]
pub struct Invocation {
    /// Lambda's ID of it.
    pub request_id: String,
    /// When Lambda ends it. A time in the past is a local emulator's invention and not believed.
    pub deadline: SystemTime,
}

/// An event that is none of those this function answers. It says what was expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnrecognizedEvent(pub &'static str);

impl std::fmt::Display for UnrecognizedEvent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for UnrecognizedEvent {}

/// The members that tell events apart.
#[derive(Deserialize)]
struct Trigger<'a> {
    #[serde(borrow, rename = "triggerSource")]
    trigger_source: Option<&'a RawValue>,
}

impl App {
    /// A function that answers whom `gate` lets in, by `service`.
    #[must_use]
    pub fn new(service: Service, gate: http::Gate) -> Self {
        Self { service, gate, warm: AtomicBool::new(false) }
    }

    /// Answers an event.
    ///
    /// # Errors
    ///
    /// [`UnrecognizedEvent`] for what is no HTTP event; the runtime reports it as a function error.
    #[expect(clippy::disallowed_methods, reason = "the one place where the clock is read")]
    pub async fn handle(&self, event: &RawValue, invocation: Invocation) -> Result<Value, UnrecognizedEvent> {
        self.handle_at(SystemTime::now(), event, invocation).await
    }

    /// Answers an event as of `now`.
    ///
    /// # Errors
    ///
    /// As [`App::handle`].
    pub async fn handle_at(
        &self,
        now: SystemTime,
        event: &RawValue,
        invocation: Invocation,
    ) -> Result<Value, UnrecognizedEvent> {
        let started = Instant::now();
        let cold_start = !self.warm.swap(true, Ordering::Relaxed);
        let mut record = Record::new(invocation.request_id, cold_start);
        let answer = match recognize(event) {
            Ok(event) => {
                let moment = Moment { now, provider_time: provider_time(now, invocation.deadline) };
                Ok(http::answer(&self.service, self.gate, event, moment, &mut record).await)
            }
            Err(unrecognized) => {
                record.outcome = "unrecognized_event";
                record.cause = Some(unrecognized.to_string());
                Err(unrecognized)
            }
        };
        record.write(started.elapsed());
        answer
    }
}

fn recognize(event: &RawValue) -> Result<http::Event<'_>, UnrecognizedEvent> {
    let trigger: Trigger<'_> = serde_json::from_str(event.get()).map_err(|_| EXPECTED)?;
    // Only AWS writes the top level of an event: a client's HTTP body is a string inside it.
    if trigger.trigger_source.is_some_and(|source| source.get().starts_with('"')) {
        return Err(NO_COGNITO);
    }
    http::Event::recognize(event).ok_or(EXPECTED)
}

const EXPECTED: UnrecognizedEvent = UnrecognizedEvent(
    "This event is not one this function answers. Expected: an API Gateway REST (payload 1.0) or HTTP (payload 2.0) \
     event, a Lambda function URL event, or an Application Load Balancer event.",
);

const NO_COGNITO: UnrecognizedEvent = UnrecognizedEvent(
    "This is an Amazon Cognito trigger. Cognito sign-in needs the ledger, and this version of the function has none: \
     remove the trigger from the user pool.",
);

/// How long the provider may take: less than the invocation has left.
fn provider_time(now: SystemTime, deadline: SystemTime) -> Duration {
    match deadline.duration_since(now) {
        Ok(left) => PROVIDER_TIME.min(left.saturating_sub(RESERVE)),
        Err(_) => PROVIDER_TIME,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_provider_ends_before_the_invocation_does() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_hours(500_000);
        let left = |ms| provider_time(now, now + Duration::from_millis(ms));
        assert_eq!(left(3000), Duration::from_millis(2500));
        assert_eq!(left(60_000), PROVIDER_TIME);
        assert_eq!(left(300), Duration::ZERO);
    }

    #[test]
    fn a_deadline_in_the_past_is_not_believed() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_hours(500_000);
        assert_eq!(provider_time(now, SystemTime::UNIX_EPOCH), PROVIDER_TIME);
    }
}
