//! The one entry point: tells what an event is and hands it to its part of the program.

use crate::cognito;
use crate::http;
use crate::phone::PhoneNumber;
use crate::service::{Moment, Service};
use crate::telemetry::Record;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::{RawValue, to_raw_value};
use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

/// What is kept back of the time until the deadline, to write the answer and the log line.
const RESERVE: Duration = Duration::from_millis(500);

/// The same, where what happened is written down as well: two steps that may take a second each.
const RESERVE_WITH_LEDGER: Duration = Duration::from_millis(2500);

/// The function: everything it needs, ready for invocations.
pub struct App {
    service: Service,
    gate: http::Gate,
    sign_in: cognito::Policy,
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

/// Why an event has no answer: what Lambda calls a function error. It says what was expected, and nothing of the event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionError {
    /// Its name, for whoever reads the invocation's result.
    pub kind: &'static str,
    /// The sentence.
    pub message: Cow<'static, str>,
}

impl std::fmt::Display for FunctionError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for FunctionError {}

/// The members that tell events apart.
#[derive(Deserialize)]
struct Trigger<'a> {
    #[serde(borrow, rename = "triggerSource")]
    trigger_source: Option<&'a RawValue>,
    #[serde(borrow)]
    operation: Option<&'a RawValue>,
}

/// What an operator invokes the function with, directly: only who may call `lambda:InvokeFunction` can.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Command {
    operation: Operation,
    destination_number: String,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "camelCase")]
enum Operation {
    /// Forget the failed guesses about a number.
    Unlock,
    /// Say what a number is called in the ledger's table.
    Key,
}

/// What an event is for.
enum Recognized<'a> {
    Http(Box<http::Event<'a>>),
    Cognito,
    Command(Command),
}

impl App {
    /// A function that answers whom `gate` lets in, and signs in by `sign_in`, both by `service`.
    #[must_use]
    pub fn new(service: Service, gate: http::Gate, sign_in: cognito::Policy) -> Self {
        Self {
            service,
            gate,
            sign_in,
            warm: AtomicBool::new(false),
        }
    }

    /// Answers an event.
    ///
    /// # Errors
    ///
    /// The event is none that this function answers, or a sign-up that is refused; the runtime reports it.
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place where the clock is read"
    )]
    pub async fn handle(
        &self,
        event: &RawValue,
        invocation: Invocation,
    ) -> Result<Box<RawValue>, FunctionError> {
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
    ) -> Result<Box<RawValue>, FunctionError> {
        let started = Instant::now();
        let cold_start = !self.warm.swap(true, Ordering::Relaxed);
        let mut record = Record::new(invocation.request_id, cold_start);
        let reserve = if self.service.has_ledger() {
            RESERVE_WITH_LEDGER
        } else {
            RESERVE
        };
        let moment = Moment {
            now,
            started,
            time_left: time_left(now, invocation.deadline, reserve),
        };
        let answer = match recognize(event) {
            Ok(Recognized::Http(event)) => {
                let answer =
                    http::answer(&self.service, self.gate, *event, moment, &mut record).await;
                to_raw_value(&answer).map_err(|_| unrecognized(EXPECTED))
            }
            Ok(Recognized::Cognito) => {
                cognito::answer(&self.service, &self.sign_in, event, moment, &mut record).await
            }
            Ok(Recognized::Command(command)) => self.obey(&command, moment, &mut record).await,
            Err(unrecognized) => Err(unrecognized),
        };
        if let Err(error) = &answer
            && error.kind == UNRECOGNIZED
        {
            record.outcome = "unrecognized_event";
            record.cause = Some(error.to_string());
        }
        record.write(started.elapsed());
        answer
    }

    /// Does what an operator asks for. What fails is a function error: there is no HTTP in front.
    async fn obey(
        &self,
        command: &Command,
        moment: Moment,
        record: &mut Record,
    ) -> Result<Box<RawValue>, FunctionError> {
        let failed = |why: String| FunctionError {
            kind: UNRECOGNIZED,
            message: Cow::Owned(why),
        };
        let number = PhoneNumber::parse(&command.destination_number)
            .map_err(|error| failed(error.to_string()))?;
        record.country = number.country();
        let shown = number.to_string();
        let answer = match command.operation {
            Operation::Unlock => {
                record.operation = Some("unlock");
                let unlocked = self.service.unlock(&number, moment).await;
                unlocked.map(|()| json!({ "unlocked": true, "destinationNumber": shown }))
            }
            Operation::Key => {
                record.operation = Some("key");
                self.service
                    .key_of(&number)
                    .map(|key| json!({ "key": key, "destinationNumber": shown }))
            }
        };
        let answer = answer
            .map_err(|error| failed(format!("{}: {}", error.code().name(), error.detail())))?;
        record.outcome = "ok";
        record.severity = Some(200);
        to_raw_value(&answer).map_err(|_| unrecognized(EXPECTED_COMMAND))
    }
}

fn recognize(event: &RawValue) -> Result<Recognized<'_>, FunctionError> {
    let trigger: Trigger<'_> =
        serde_json::from_str(event.get()).map_err(|_| unrecognized(EXPECTED))?;
    let is_text =
        |member: Option<&RawValue>| member.is_some_and(|member| member.get().starts_with('"'));
    // Only AWS writes the top level of an event: a client's HTTP body is a string inside it.
    if is_text(trigger.trigger_source) {
        return Ok(Recognized::Cognito);
    }
    if let Some(event) = http::Event::recognize(event) {
        return Ok(Recognized::Http(Box::new(event)));
    }
    if is_text(trigger.operation) {
        let command =
            serde_json::from_str(event.get()).map_err(|_| unrecognized(EXPECTED_COMMAND))?;
        return Ok(Recognized::Command(command));
    }
    Err(unrecognized(EXPECTED))
}

pub(crate) fn unrecognized(why: &'static str) -> FunctionError {
    FunctionError {
        kind: UNRECOGNIZED,
        message: Cow::Borrowed(why),
    }
}

/// The event is none that this function answers.
const UNRECOGNIZED: &str = "UnrecognizedEvent";

const EXPECTED: &str = "This event is not one this function answers. Expected: an API Gateway REST (payload 1.0) or HTTP \
                        (payload 2.0) event, a Lambda function URL event, an Application Load Balancer event, or a trigger of Amazon \
                        Cognito's custom authentication.";

const EXPECTED_COMMAND: &str =
    "Expected: {\"operation\": \"unlock\" or \"key\", \"destinationNumber\": \"+…\"}.";

/// How long the work may take: less than the invocation has left.
fn time_left(now: SystemTime, deadline: SystemTime, reserve: Duration) -> Duration {
    match deadline.duration_since(now) {
        Ok(left) => left.saturating_sub(reserve),
        Err(_) => Duration::MAX,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_work_ends_before_the_invocation_does() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_hours(500_000);
        let left = |ms| time_left(now, now + Duration::from_millis(ms), RESERVE);
        assert_eq!(left(3000), Duration::from_millis(2500));
        assert_eq!(left(300), Duration::ZERO);
    }

    #[test]
    fn a_deadline_in_the_past_is_not_believed() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_hours(500_000);
        assert_eq!(
            time_left(now, SystemTime::UNIX_EPOCH, RESERVE),
            Duration::MAX
        );
    }
}
