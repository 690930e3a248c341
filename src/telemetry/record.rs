//! The log line of one invocation.

use super::budget_use::BudgetUse;
use super::delivery::Delivery;
use super::line::{Line, Members};
use super::metrics::{Metric, Metrics};
use super::requests::Requests;
use crate::error::{Error, ErrorCode, Limit};
use crate::ledger::{Door, Pseudonym, Unavailable};
use crate::phone::Country;
use crate::provider::Channel;
use std::sync::Arc;
use std::time::Duration;
use tracing::{error, info, warn};

/// The target of these lines, which stays the same wherever they are written.
const TARGET: &str = "otp_lambda::telemetry";

/// The operation of a delivery event. Its lines have this message, too, so that no query about requests finds them.
const DELIVERY: &str = "delivery";

/// The log line of one invocation.
#[derive(Debug, Default)]
pub struct Record {
    /// `send`, `verify`, …; `None` if no route was reached.
    pub operation: Option<&'static str>,
    /// The origin of the event: `rest-v1`, `http-v2`, `function-url`, `alb`, `cognito` or `sns`. An operator's command has
    /// no origin.
    pub origin: Option<&'static str>,
    /// `ok`, an error code, `unrecognized_event`, `wrong_alias`, or the outcome of a delivery event.
    pub outcome: &'static str,
    /// The HTTP status of the response; `None` if the invocation ended in a function error.
    pub status: Option<u16>,
    /// The destination number, and the address that the limits count. Without a ledger there is no key for pseudonyms.
    pub number: Option<Pseudonym>,
    pub source: Option<Pseudonym>,
    /// The country of the destination number, allowed or not.
    pub country: Option<Country>,
    /// The channel of the message that the request asks for.
    pub channel: Option<Channel>,
    /// The reason for the outcome, for the operator.
    pub cause: Option<String>,
    /// Lambda's ID of the invocation.
    pub request_id: String,
    /// The caller's own ID of the request.
    pub correlation_id: Option<String>,
    /// X-Ray's ID of the invocation's trace, if there is a trace.
    pub trace_id: Option<String>,
    /// The caller that AWS has authenticated, without the name of its session.
    pub caller: Option<String>,
    /// Whether this is the first invocation of its execution environment.
    pub cold_start: bool,
    /// For an event without an HTTP response, such as a sign-in: the HTTP status that belongs to the outcome of the
    /// event. This status decides the level of the line. If the event gets an HTTP response, the status of the response
    /// decides.
    pub severity: Option<u16>,
    /// The limit that refused the request.
    pub limit: Option<&'static str>,
    /// The door that the request went through, if it is not the usual one.
    pub door: Option<Door>,
    /// Whether Cognito waits for the response until a floor.
    pub has_floor: bool,
    /// The segments of a message, and its price in millionths of a dollar, as far as they are known.
    pub charge: (Option<u64>, Option<u64>),
    pub budget_use: BudgetUse,
    /// The facts of a delivery event. Boxed, because few lines have them.
    pub delivery: Option<Box<Delivery>>,
    /// The requests to the ledger's table.
    pub requests: Requests,
    /// The metrics that the operator wants; `None` for no metrics.
    pub metrics: Option<Arc<Metrics>>,
    counts: Vec<Metric>,
    attempts_left: Option<u8>,
    provider: Option<&'static str>,
    provider_time: Option<Duration>,
    provider_request_id: Option<String>,
    lost: Vec<String>,
}

impl Record {
    #[must_use]
    pub fn new(request_id: String, cold_start: bool, metrics: Option<Arc<Metrics>>) -> Self {
        Self {
            request_id,
            cold_start,
            metrics,
            ..Self::default()
        }
    }

    /// A further line of the same invocation.
    #[must_use]
    pub fn another(&self) -> Self {
        Self::new(
            self.request_id.clone(),
            self.cold_start,
            self.metrics.clone(),
        )
    }

    /// Says that the line is about a delivery event.
    pub fn is_about_delivery(&mut self) {
        self.operation = Some(DELIVERY);
        self.origin = Some("sns");
    }

    pub fn failed(&mut self, error: &Error) {
        self.outcome = error.code().name();
        let said: Vec<_> = [error.cause(), error.advice()]
            .into_iter()
            .flatten()
            .collect();
        self.cause = (!said.is_empty()).then(|| said.join(". "));
        self.limit = error.limit().map(Limit::name);
        self.attempts_left = error.attempts_left();
        if let Some(id) = error.provider_request_id() {
            self.provider_request_id = Some(id.to_owned());
        }
    }

    /// Forgets the IDs that others have chosen if `secret` is in them, in any case and with any separators. Texts of
    /// fewer than four characters are in many IDs by chance, and say nothing.
    pub fn keep_out(&mut self, secret: &str) {
        let plain = |text: &str| -> String {
            let kept = text.chars().filter(char::is_ascii_alphanumeric);
            kept.map(|c| c.to_ascii_lowercase()).collect()
        };
        for id in [&mut self.correlation_id, &mut self.trace_id] {
            let is_in = |id: &String| {
                let secret = plain(secret);
                secret.len() >= 4 && plain(id).contains(&secret)
            };
            if id.as_ref().is_some_and(is_in) {
                *id = None;
            }
        }
    }

    /// Counts one of a metric.
    pub fn count(&mut self, metric: Metric) {
        if !self.has_counted(metric) {
            self.counts.push(metric);
        }
    }

    /// Whether this invocation has counted one of a metric.
    #[must_use]
    pub fn has_counted(&self, metric: Metric) -> bool {
        self.counts.contains(&metric)
    }

    /// Records a request to the provider, which ended after `time` with a response or a failure.
    pub fn provider_answered(&mut self, name: &'static str, time: Duration) {
        self.provider = Some(name);
        self.provider_time = Some(time);
    }

    /// Names the provider that the line is about. It was not asked.
    pub fn told_by(&mut self, name: &'static str) {
        self.provider = Some(name);
    }

    /// Whether a provider was asked, even if the request failed.
    #[must_use]
    pub fn has_asked_provider(&self) -> bool {
        self.provider_time.is_some()
    }

    /// The provider's ID of the request, for a support case with AWS.
    pub fn provider_request(&mut self, id: Option<String>) {
        self.provider_request_id = id;
    }

    /// Records the outcome of a ledger step whose failure changes nothing for the caller.
    pub fn best_effort(&mut self, step: &str, outcome: Result<(), Unavailable>) {
        if let Err(Unavailable(cause)) = outcome {
            self.lost.push(format!("{step}: {cause}"));
        }
    }

    /// Writes a separate line if feedback failed. With the message ID in it, the operator can give the feedback later.
    pub fn feedback_lost(&self, message_id: &str, cause: &str) {
        warn!(
            target: TARGET,
            requestId = self.request_id,
            messageId = message_id,
            cause,
            "feedback_lost"
        );
    }

    /// Writes a separate line when a number has reached this many failed guesses at a door. At the lock itself there is
    /// no such line, because then it is too late for the operator to act.
    pub fn number_near_lock(&self, door: Door, failures: u32, lock: u32) {
        let mut line = Line::new(self.metrics.as_deref());
        line.members.text("requestId", &self.request_id);
        line.members.text("door", door.name());
        line.optional("number", self.number.as_ref().map(Pseudonym::as_str));
        line.optional("country", self.country());
        line.members.number("failedGuesses", failures);
        line.members.number("lockedAt", lock);
        line.count(Metric::NumbersNearLock);
        let members = line.finish(None);
        let members = members.as_str();
        warn!(target: TARGET, members, "number_near_lock");
    }

    /// Writes the line. The level is INFO for successes and refusals, WARN for failures of AWS, and ERROR for problems
    /// that the operator must fix.
    pub fn write(&self, duration: Duration) {
        let members = self.members(duration);
        let members = members.as_str();
        if self.operation == Some(DELIVERY) {
            if matches!(self.severity, Some(501..)) {
                warn!(target: TARGET, members, "delivery");
            } else {
                info!(target: TARGET, members, "delivery");
            }
            return;
        }
        match self.status.or(self.severity) {
            None | Some(500) => error!(target: TARGET, members, "request"),
            Some(501..) => warn!(target: TARGET, members, "request"),
            Some(_) if !self.lost.is_empty() => warn!(target: TARGET, members, "request"),
            Some(_) => info!(target: TARGET, members, "request"),
        }
    }

    fn country(&self) -> Option<&str> {
        self.country.as_ref().map(Country::as_str)
    }

    fn members(&self, duration: Duration) -> Members {
        let mut line = Line::new(self.metrics.as_deref());
        line.members.text("requestId", &self.request_id);
        line.optional("correlationId", self.correlation_id.as_deref());
        line.optional("traceId", self.trace_id.as_deref());
        line.optional("operation", self.operation);
        line.optional("origin", self.origin);
        line.optional("caller", self.caller.as_deref());
        line.members.text("outcome", self.outcome);
        if let Some(status) = self.status {
            line.members.number("status", status);
        }
        line.optional("number", self.number.as_ref().map(Pseudonym::as_str));
        line.optional("source", self.source.as_ref().map(Pseudonym::as_str));
        line.optional("country", self.country());
        line.optional("channel", self.channel.map(Channel::name));
        line.optional("provider", self.provider);
        line.optional("providerRequestId", self.provider_request_id.as_deref());
        line.members.milliseconds("durationMs", duration);
        line.members.flag("coldStart", self.cold_start);
        line.optional("limit", self.limit);
        line.optional("door", self.door.map(Door::name));
        if let Some(attempts) = self.attempts_left {
            line.members.number("attemptsLeft", attempts);
        }
        line.optional("cause", self.cause.as_deref());
        if !self.lost.is_empty() {
            line.members.text("ledgerLost", &self.lost.join("; "));
        }
        if self.requests.count > 0 {
            line.members.number("ledgerRequests", self.requests.count);
            line.members.milliseconds("ledgerMs", self.requests.time);
        }
        line.members.text("version", env!("CARGO_PKG_VERSION"));
        self.measure(&mut line);
        if let Some(delivery) = &self.delivery {
            delivery.write(&mut line);
        }
        if line.has_metrics() {
            self.judge(&mut line, duration);
        }
        line.finish(self.country())
    }

    /// Writes the counts and measures that every line has, with metrics and without.
    fn measure(&self, line: &mut Line<'_>) {
        for metric in &self.counts {
            line.count(*metric);
        }
        if let Some(time) = self.provider_time {
            let name = Metric::ProviderMs.name();
            line.measure(Metric::ProviderMs, |it| it.milliseconds(name, time));
        }
        let of_message = [Metric::Sent, Metric::UnknownDeliveries];
        if of_message.iter().any(|it| self.has_counted(*it)) {
            let (segments, price) = self.charge;
            if let Some(segments) = segments {
                line.members.number("segments", segments);
            }
            if let Some(price) = price {
                let name = Metric::Spend.name();
                line.measure(Metric::Spend, |it| it.dollars(name, price));
            }
        }
        for (metric, used) in [
            (Metric::BudgetUsed, self.budget_use.all),
            (Metric::CountryBudgetUsed, self.budget_use.country),
        ] {
            if let Some(used) = used {
                line.measure(metric, |it| it.number(metric.name(), used));
            }
        }
    }

    /// Counts the line in the metrics that follow from its other members.
    fn judge(&self, line: &mut Line<'_>, duration: Duration) {
        let is = |code: ErrorCode| self.outcome == code.name();
        // With a zero for each message, the average of `verified` tells the conversion of each country in one query.
        if self.has_counted(Metric::Sent) {
            let name = Metric::Verified.name();
            line.measure(Metric::Verified, |it| it.number(name, 0));
        }
        if is(ErrorCode::ProviderThrottled) {
            line.count(Metric::ProviderThrottles);
        }
        if is(ErrorCode::Misconfigured) {
            line.count(Metric::Misconfigured);
        }
        if is(ErrorCode::LedgerUnavailable) || !self.lost.is_empty() {
            line.count(Metric::LedgerErrors);
        }
        if self.limit.is_some() && !self.has_counted(Metric::SignInsRefused) {
            line.count(Metric::Refused);
        }
        if self.has_floor {
            let name = Metric::TriggerMs.name();
            line.measure(Metric::TriggerMs, |it| it.milliseconds(name, duration));
        }
        if let Some(delivery) = &self.delivery {
            delivery.count(line);
        }
    }
}
