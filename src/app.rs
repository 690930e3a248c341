//! The entry point: recognizes each event, and hands it to the part of the program that serves it.

use crate::aws::SdkConfig;
use crate::cognito;
use crate::delivery;
use crate::error::FunctionError;
use crate::http;
use crate::json::Entries;
use crate::ledger::Ledger;
use crate::operator::Command;
use crate::service::{Call, Caller, RECORDING_TIME, Service};
use crate::settings::Settings;
use crate::telemetry::{Metrics, Record, counted, sampled_trace};
use crate::time::Millis;
use serde_json::Map;
use serde_json::value::{RawValue, to_raw_value};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};
use tokio::time::{Instant, timeout};

pub use crate::operator::InvokedAs;

/// Time kept back before the deadline, to write the response and the log line.
const RESERVE: Duration = Duration::from_millis(500);

/// The time for opening connections at the start. Lambda allows ten seconds for the whole start.
const CONNECT_TIME: Duration = Duration::from_secs(1);

/// As `RESERVE`, with the time to record the outcome in the ledger.
const RESERVE_WITH_LEDGER: Duration = RESERVE.saturating_add(RECORDING_TIME);

/// The function, ready for invocations.
pub struct App {
    service: Service,
    http: http::Policy,
    sign_in: cognito::Policy,
    operator_aliases: bool,
    /// `None` if no delivery events are taken.
    deliveries: Option<delivery::Source>,
    metrics: Option<Arc<Metrics>>,
    warm: AtomicBool,
}

/// Lambda's data about an invocation, apart from the event.
#[derive(Debug, Clone)]
pub struct Invocation {
    pub request_id: String,
    /// X-Ray's tracing header.
    pub trace: Option<String>,
    /// When Lambda ends the invocation. A time in the past is ignored: local emulators make one up.
    pub deadline: SystemTime,
    /// The name of the function in the request, on which the caller's rights depend.
    pub invoked_as: InvokedAs,
}

enum Recognized<'a> {
    Http(http::Event),
    Cognito,
    Command(Command),
    Delivery(&'a RawValue),
}

impl App {
    /// Builds the function that these settings describe.
    ///
    /// With `ledger`, the function keeps its state there. With `None`, the function keeps its state in the table that
    /// the settings name.
    ///
    /// # Errors
    ///
    /// The ledger's secret cannot be read. The error is a sentence for the operator.
    pub async fn build(
        settings: Settings,
        config: &SdkConfig,
        ledger: Option<Box<dyn Ledger>>,
    ) -> Result<Self, String> {
        let rules = &settings.rules;
        settings
            .provider
            .warn_of_long_texts(&rules.brands, rules.defaults.code_length);
        let limits = match settings.ledger {
            Some(own) => {
                own.policy.warn_of_test_numbers();
                Some(own.connect(config, ledger).await?)
            }
            None => None,
        };
        let providers = settings.provider.connect(config);
        let service = Service::new(settings.rules, providers, limits);
        Ok(Self {
            operator_aliases: settings.operator_aliases,
            deliveries: settings.deliveries,
            metrics: settings.metrics.map(Arc::new),
            ..Self::new(service, settings.http, settings.sign_in)
        })
    }

    /// `http` decides which HTTP callers are let in, `sign_in` how Cognito sign-ins proceed.
    #[must_use]
    pub fn new(service: Service, http: http::Policy, sign_in: cognito::Policy) -> Self {
        Self {
            service,
            http,
            sign_in,
            operator_aliases: false,
            deliveries: None,
            metrics: None,
            warm: AtomicBool::new(false),
        }
    }

    /// The chance of a right guess at one number, for the log. `None` without a ledger.
    #[must_use]
    pub fn guess_chance(&self) -> Option<String> {
        self.service.guess_chance()
    }

    /// Opens the connections that the first invocation needs, so that it need not wait for them. Calls no provider. A
    /// failure changes nothing: the first invocation then opens its connections itself.
    #[expect(
        clippy::disallowed_methods,
        reason = "the switches get the time of their read"
    )]
    pub async fn connect(&self) {
        self.connect_at(SystemTime::now()).await;
    }

    /// As [`App::connect`], but reads no clock.
    pub async fn connect_at(&self, now: SystemTime) {
        let connecting = self.service.connect(Millis::from(now));
        // If the time is over, the connections that are not open yet are given up.
        let _ = timeout(CONNECT_TIME, Box::pin(connecting)).await;
    }

    /// Handles an event and writes its log line.
    ///
    /// # Errors
    ///
    /// - The function does not handle this kind of event.
    /// - A sign-up is refused.
    /// - An operator's command has failed.
    ///
    /// Lambda's runtime reports each of these as a function error.
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place where the clock is read"
    )]
    pub async fn handle(
        &self,
        event: &RawValue,
        invocation: Invocation,
    ) -> Result<Box<RawValue>, FunctionError> {
        self.handle_from(SystemTime::now(), true, event, invocation)
            .await
    }

    /// Handles an event as [`App::handle`] does, but reads no clock: `now` is the time from beginning to end.
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
        self.handle_from(now, false, event, invocation).await
    }

    async fn handle_from(
        &self,
        now: SystemTime,
        clock_runs: bool,
        event: &RawValue,
        invocation: Invocation,
    ) -> Result<Box<RawValue>, FunctionError> {
        let started = Instant::now();
        let cold_start = !self.warm.swap(true, Ordering::Relaxed);
        let id = invocation.request_id.clone();
        let mut record = Record::new(invocation.request_id, cold_start, self.metrics.clone());
        record.trace_id = invocation.trace.as_deref().and_then(sampled_trace);
        let reserve = if self.service.has_ledger() {
            RESERVE_WITH_LEDGER
        } else {
            RESERVE
        };
        let mut call = Call {
            caller: Caller::default(),
            now: Millis::from(now),
            clock_runs,
            started,
            time_left: time_left(now, invocation.deadline, reserve),
            record: &mut record,
        };
        // Boxed, because the future would otherwise be too large to move around.
        let work = Box::pin(self.dispatch(event, invocation.invoked_as, &mut call));
        let (result, requests) = counted(id, work).await;
        record.requests = requests;
        if let Err(error) = &result
            && let Some(outcome) = error.outcome()
        {
            record.outcome = outcome;
            record.cause = Some(error.to_string());
        }
        record.write(started.elapsed());
        result
    }

    async fn dispatch(
        &self,
        event: &RawValue,
        invoked_as: InvokedAs,
        call: &mut Call<'_>,
    ) -> Result<Box<RawValue>, FunctionError> {
        let (service, unrecognized) = (&self.service, |_| FunctionError::unrecognized(EXPECTED));
        let recognized = recognize(event)?;
        if !matches!(recognized, Recognized::Command(_)) {
            invoked_as.check_serves()?;
        }
        match recognized {
            Recognized::Http(event) => {
                let response = http::respond(service, &self.http, event, call).await;
                response.map_err(unrecognized)
            }
            Recognized::Cognito => cognito::respond(service, &self.sign_in, event, call).await,
            Recognized::Command(command) => {
                command.check_allowed(invoked_as, self.operator_aliases, call)?;
                let result = command.run(service, call).await?;
                to_raw_value(&result).map_err(unrecognized)
            }
            Recognized::Delivery(records) => {
                let source = self.deliveries.as_ref();
                let counted = delivery::respond(service, source, records, call);
                counted.map_err(|error| match source {
                    Some(_) => error,
                    None => FunctionError::unrecognized(EXPECTED),
                })?;
                // SNS reads no answer.
                to_raw_value(&Map::new()).map_err(unrecognized)
            }
        }
    }
}

fn recognize(event: &RawValue) -> Result<Recognized<'_>, FunctionError> {
    let unrecognized = || FunctionError::unrecognized(EXPECTED);
    // Only AWS writes the top level of an event: the body of an HTTP request is a string inside it.
    let fields: Entries<&RawValue> =
        serde_json::from_str(event.get()).map_err(|_| unrecognized())?;
    let is_string = |name| {
        fields
            .get(name)
            .is_some_and(|raw| raw.get().starts_with('"'))
    };
    if is_string("triggerSource") {
        Ok(Recognized::Cognito)
    } else if let Some(event) = http::Event::recognize(event, &fields) {
        Ok(Recognized::Http(event))
    } else if is_string("operation") {
        Command::read(event).map(Recognized::Command)
    } else if let Some(records) = fields.get("Records") {
        Ok(Recognized::Delivery(records))
    } else {
        Err(unrecognized())
    }
}

const EXPECTED: &str = "This function does not handle this event. Expected: an API Gateway REST (payload 1.0) or HTTP \
                        (payload 2.0) event, a Lambda function URL event, an Application Load Balancer event, a trigger of an \
                        Amazon Cognito user pool (custom authentication or Pre sign-up), an operator's command, or a \
                        notification of the topic DELIVERY_TOPIC.";

/// How long the work may take. The reserve is left for the response and the log line.
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
    fn a_deadline_in_the_past_is_ignored() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_hours(500_000);
        assert_eq!(
            time_left(now, SystemTime::UNIX_EPOCH, RESERVE),
            Duration::MAX
        );
    }
}
