//! The log: one JSON line per invocation.
//!
//! No line can contain a code or a full phone number, because [`Record`] has no field for either. Only this program's
//! own lines are written. The AWS SDK and the HTTP stack log whole requests at their verbose levels, so their lines are
//! off at every level.

mod budget_use;
mod delivery;
mod line;
mod metrics;
mod record;
mod requests;
mod trace;

pub use budget_use::BudgetUse;
pub use delivery::{Delivery, Fate};
pub use metrics::{
    COUNTRY, Detail, LEDGER, MOST_COUNTRIES, MOST_COUNTRIES_WITH_DELIVERIES, Metric, Metrics,
    NAMESPACE, OTHER,
};
pub use record::Record;
pub use requests::Requests;
pub(crate) use requests::{asked, counted};
pub(crate) use trace::sampled_trace;

use crate::otp::Otp;
use line::{JsonLines, Line};
use std::io;
use tracing::level_filters::LevelFilter;
use tracing::subscriber::DefaultGuard;
use tracing::{Subscriber, error};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;

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
        .event_format(JsonLines)
        .with_writer(writer);
    tracing_subscriber::registry().with(lines).with(own)
}

/// Writes this process's lines, including panics, to standard output. `metrics` are those that panics count in.
///
/// A panic's message is not written, because it can contain any data of the request.
pub fn install(level: LevelFilter, metrics: Option<Metrics>) {
    install_to(level, metrics, io::stdout);
}

/// As [`install`], but the lines go to `writer`.
pub fn install_to<W>(level: LevelFilter, metrics: Option<Metrics>, writer: W)
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    // This fails only on a second call, when the same subscriber is already set.
    let _ = tracing::subscriber::set_global_default(subscriber(level, writer));
    std::panic::set_hook(Box::new(move |panic| {
        let location = panic.location().map(ToString::to_string);
        write_panic(location.as_deref(), metrics.as_ref());
    }));
}

/// Writes the line of a panic at a place in the source. In the code of an invocation, the line names the invocation.
pub fn write_panic(location: Option<&str>, metrics: Option<&Metrics>) {
    let mut line = Line::new(metrics);
    line.optional("requestId", requests::invocation().as_deref());
    line.optional("location", location);
    line.count(Metric::Panics);
    let members = line.finish(None);
    error!(members = members.as_str(), "panic");
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
}
