//! The log: one JSON line per invocation.
//!
//! No line can contain a code or a full phone number, because [`Record`] has no field for either. Only this program's
//! own lines are written. The AWS SDK and the HTTP stack log whole requests at their verbose levels, so their lines are
//! off at every level.

mod metrics;

use crate::error::{Error, Limit};
use crate::ledger::{Door, Unavailable};
use crate::otp::Otp;
use crate::phone::Country;
use std::io;
use std::time::Duration;
use tracing::level_filters::LevelFilter;
use tracing::subscriber::DefaultGuard;
use tracing::{Subscriber, error, info, warn};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;

/// The log line of one invocation.
#[derive(Debug, Default)]
pub struct Record {
    /// `send`, `verify`, …; `None` if no route was reached.
    pub operation: Option<&'static str>,
    /// The origin of the event: `rest-v1`, `http-v2`, `function-url`, `alb` or `cognito`. An operator's command has no
    /// origin.
    pub origin: Option<&'static str>,
    /// `ok`, an error code, `unrecognized_event` or `wrong_alias`.
    pub outcome: &'static str,
    /// The HTTP status of the response; `None` if the invocation ended in a function error.
    pub status: Option<u16>,
    /// The country of the destination number, allowed or not.
    pub country: Option<Country>,
    /// The reason for the outcome, for the operator.
    pub cause: Option<String>,
    /// Lambda's ID of the invocation.
    pub request_id: String,
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
    /// Whether this sign-in shows that a code was sent, and nothing was sent.
    pub sign_in_refused: bool,
    provider: Option<&'static str>,
    provider_time: Option<Duration>,
    provider_request_id: Option<String>,
    lost: Vec<String>,
}

impl Record {
    #[must_use]
    pub fn new(request_id: String, cold_start: bool) -> Self {
        Self {
            request_id,
            cold_start,
            ..Self::default()
        }
    }

    pub fn failed(&mut self, error: &Error) {
        self.outcome = error.code().name();
        let said: Vec<_> = [error.cause(), error.advice()]
            .into_iter()
            .flatten()
            .collect();
        self.cause = (!said.is_empty()).then(|| said.join(". "));
        self.limit = error.limit().map(Limit::name);
        if let Some(id) = error.provider_request_id() {
            self.provider_request_id = Some(id.to_owned());
        }
    }

    /// Records a request to the provider, which ended after `time` with a response or a failure.
    pub fn provider_answered(&mut self, name: &'static str, time: Duration) {
        self.provider = Some(name);
        self.provider_time = Some(time);
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
            requestId = self.request_id,
            messageId = message_id,
            cause,
            "feedback_lost"
        );
    }

    /// Writes a separate line when a number has reached this many failed guesses at a door. At the lock itself there is
    /// no such line, because then it is too late for the operator to act.
    pub fn number_near_lock(&self, door: Door, failures: u32, lock: u32) {
        warn!(
            requestId = self.request_id,
            door = door.name(),
            country = self.country.as_ref().map(Country::as_str),
            // A dimension of a metric is a text.
            failedGuesses = failures.to_string(),
            lockedAt = lock,
            numbersNearLock = 1,
            "number_near_lock"
        );
    }

    /// Writes the line. The level is INFO for successes and refusals, WARN for failures of AWS, and ERROR for problems
    /// that the operator must fix.
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
                    door = self.door.map(Door::name),
                    signInsRefused = self.sign_in_refused.then_some(1),
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

/// Milliseconds, to the microsecond.
fn milliseconds(time: Duration) -> f64 {
    f64::from(u32::try_from(time.as_micros()).unwrap_or(u32::MAX)) / 1000.0
}

/// Words of capitals that are as long as codes, but are common in AWS's messages and those of the SDK.
const NO_CODES: [&str; 4] = ["HTTP", "JSON", "HTTPS", "POST"];

/// Makes a text of AWS safe for the log. Such a text tells the operator what is wrong, but may repeat the number or the
/// code of the request.
///
/// Every digit is replaced, and so is every word that could be a code of letters. At most 200 characters are kept.
#[must_use]
pub fn redact(text: &str) -> String {
    redact_all(text, None)
}

/// As [`redact`], for a text about a guess. The text may repeat the guess in any case and within a word.
#[must_use]
pub fn redact_guess(text: &str, guess: &Otp) -> String {
    redact_all(text, Some(guess.expose()))
}

fn redact_all(text: &str, guess: Option<&str>) -> String {
    // This is more than [`redact`] keeps, so that a guess at the end of the kept part is found as a whole.
    let mut text: String = text.chars().take(300).collect();
    if let Some(guess) = guess.filter(|guess| !guess.is_empty()) {
        let hidden = "#".repeat(guess.len());
        // Changing ASCII letters to capitals leaves each character at its place.
        while let Some(at) = text.to_ascii_uppercase().find(guess) {
            text.replace_range(at..at + guess.len(), &hidden);
        }
    }
    let is_in_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut hidden = String::new();
    for part in text.split_inclusive(|c| !is_in_word(c)) {
        let word = part.trim_end_matches(|c| !is_in_word(c));
        let could_be_a_code = (4..=8).contains(&word.len())
            && word
                .bytes()
                .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
            && !NO_CODES.contains(&word);
        if could_be_a_code {
            hidden.push_str(&"#".repeat(word.len()));
            hidden.push_str(part.strip_prefix(word).unwrap_or_default());
        } else {
            hidden.push_str(part);
        }
    }
    hidden
        .chars()
        .take(200)
        .map(|c| match c {
            c if c.is_numeric() => '#',
            c if c.is_control() => ' ',
            c => c,
        })
        .collect()
}

/// Makes a subscriber that writes JSON lines.
///
/// `level` applies to this program's own lines. The Lambda runtime may write its errors. Everything else is off at
/// every level.
pub fn subscriber<W>(level: LevelFilter, writer: W) -> impl Subscriber + Send + Sync
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let own = Targets::new()
        .with_target(env!("CARGO_CRATE_NAME"), level)
        .with_target("lambda_runtime", level.min(LevelFilter::ERROR))
        // Lambda's runtime repeats every function error there, and each already has its own line.
        .with_target("lambda_runtime::layers::panic", LevelFilter::OFF);
    let lines = tracing_subscriber::fmt::layer()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_span_list(false)
        .map_event_format(metrics::WithMetrics)
        .with_writer(writer);
    tracing_subscriber::registry().with(lines).with(own)
}

/// Writes this process's lines, including panics, to standard output.
///
/// A panic's message is not written, because it can contain any data of the request.
pub fn install(level: LevelFilter) {
    install_to(level, io::stdout);
}

/// As [`install`], but the lines go to `writer`.
pub fn install_to<W>(level: LevelFilter, writer: W)
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    // This fails only on a second call, when the same subscriber is already set.
    let _ = tracing::subscriber::set_global_default(subscriber(level, writer));
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
    fn redaction_keeps_words_and_replaces_digits() {
        let text = "Number +1 425-555-0142 or ١٢٣ is not\nregistered²";
        assert_eq!(
            redact(text),
            "Number +# ###-###-#### or ### is not registered#"
        );
        assert_eq!(redact(&"x".repeat(500)).len(), 200);
    }

    #[test]
    fn redaction_finds_codes_of_letters() {
        for (text, redacted) in [
            ("Value 'QZXWVK' at 'code'", "Value '######' at 'code'"),
            ("code:A1B2,C3D4E5F6.", "code:####,########."),
            ("HTTP error: not JSON", "HTTP error: not JSON"),
            (
                "OPT_OUT, SMS, ValidationException",
                "OPT_OUT, SMS, ValidationException",
            ),
        ] {
            assert_eq!(redact(text), redacted);
        }
    }

    #[test]
    fn redaction_finds_a_guess_in_any_case_and_within_a_word() {
        let shape = crate::otp::CodeShape {
            length: 4..=8,
            characters: crate::otp::CodeCharacters::LettersAndDigits,
        };
        let guess = Otp::parse("qzx1", &shape).ok();
        for text in [
            "qzx1",
            "the Qzx1s",
            "xxqZX1",
            "QZX1QZX1 and qzx1",
            &format!("{}qzx1", "x ".repeat(99)),
        ] {
            let redacted = guess
                .as_ref()
                .map(|guess| redact_guess(text, guess))
                .unwrap_or_default();
            let lower = redacted.to_ascii_lowercase();
            assert!(
                !lower.is_empty() && !lower.contains("qzx"),
                "{text}: {redacted}"
            );
        }
    }

    #[test]
    fn durations_are_in_milliseconds() {
        assert!((milliseconds(Duration::from_micros(1234)) - 1.234).abs() < 1e-9);
    }
}
