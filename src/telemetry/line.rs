//! The text of log lines: one JSON object each.
//!
//! The lines are written here and not by `tracing-subscriber`, whose JSON costs twice as many instructions.

use super::metrics::{Measured, Metric, Metrics};
use std::fmt::{self, Write};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use time::OffsetDateTime;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// The field of an event whose text is members that [`Members`] has made.
const MEMBERS: &str = "members";

/// Most lines are shorter.
const USUAL_LENGTH: usize = 1024;

/// Members of a JSON object.
#[derive(Debug)]
pub(super) struct Members(String);

impl Members {
    pub(super) fn new() -> Self {
        Self(String::with_capacity(USUAL_LENGTH))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    fn name(&mut self, name: &str) {
        self.0
            .push_str(if self.0.is_empty() { "\"" } else { ",\"" });
        self.0.push_str(name);
        self.0.push_str("\":");
    }

    pub(super) fn text(&mut self, name: &str, value: &str) {
        self.name(name);
        push_string(&mut self.0, value);
    }

    pub(super) fn number(&mut self, name: &str, value: impl fmt::Display) {
        self.name(name);
        // Writing to a string never fails.
        let _ = write!(self.0, "{value}");
    }

    pub(super) fn flag(&mut self, name: &str, value: bool) {
        self.name(name);
        self.0.push_str(if value { "true" } else { "false" });
    }

    /// Milliseconds, to the microsecond.
    pub(super) fn milliseconds(&mut self, name: &str, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.decimal(name, micros, 1000);
    }

    /// Dollars, to the millionth.
    pub(super) fn dollars(&mut self, name: &str, millionths: u64) {
        self.decimal(name, millionths, 1_000_000);
    }

    /// `value / unit`, where `unit` is a power of ten.
    fn decimal(&mut self, name: &str, value: u64, unit: u64) {
        self.number(name, value / unit);
        let mut rest = value % unit;
        if rest == 0 {
            return;
        }
        self.0.push('.');
        let mut place = unit / 10;
        while rest > 0 {
            let _ = write!(self.0, "{}", rest / place);
            rest %= place;
            place /= 10;
        }
    }

    /// Text that is JSON already.
    pub(super) fn json(&mut self, name: &str, value: &str) {
        self.name(name);
        self.0.push_str(value);
    }

    /// Members that were made before.
    fn all_of(&mut self, members: &str) {
        if !self.0.is_empty() && !members.is_empty() {
            self.0.push(',');
        }
        self.0.push_str(members);
    }
}

/// Writes a text as JSON.
fn push_string(line: &mut String, value: &str) {
    let is_plain = |byte: u8| byte >= b' ' && byte != b'"' && byte != b'\\';
    if value.bytes().all(is_plain) {
        line.push('"');
        line.push_str(value);
        line.push('"');
    } else {
        // A string can always be written as JSON.
        line.push_str(&serde_json::to_string(value).unwrap_or_else(|_| "\"\"".to_owned()));
    }
}

impl Visit for Members {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.text(field.name(), &format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == MEMBERS {
            self.all_of(value);
        } else {
            self.text(field.name(), value);
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.number(field.name(), value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.number(field.name(), value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.flag(field.name(), value);
    }
}

/// Members, and the metrics among them.
pub(super) struct Line<'a> {
    pub(super) members: Members,
    metrics: Option<&'a Metrics>,
    measured: Measured,
}

impl<'a> Line<'a> {
    pub(super) fn new(metrics: Option<&'a Metrics>) -> Self {
        Self {
            members: Members::new(),
            metrics,
            measured: Measured::default(),
        }
    }

    /// Whether the line may have metrics.
    pub(super) fn has_metrics(&self) -> bool {
        self.metrics.is_some()
    }

    pub(super) fn optional(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.members.text(name, value);
        }
    }

    pub(super) fn count(&mut self, metric: Metric) {
        self.measure(metric, |members| members.number(metric.name(), 1));
    }

    /// Writes the value of a metric with `write`. The value is in every line that has it, and is a metric only if the
    /// operator wants it.
    pub(super) fn measure(&mut self, metric: Metric, write: impl FnOnce(&mut Members)) {
        write(&mut self.members);
        if let Some(metrics) = self.metrics {
            self.measured.add(metrics, metric);
        }
    }

    /// The members of the line. `country` is the country of the destination number.
    pub(super) fn finish(mut self, country: Option<&str>) -> Members {
        if let Some(metrics) = self.metrics {
            self.measured.finish(metrics, country, &mut self.members);
        }
        self.members
    }
}

/// Writes each event as one line of JSON.
pub(super) struct JsonLines;

impl<S, N> FormatEvent<S, N> for JsonLines
where
    S: Subscriber + for<'lookup> LookupSpan<'lookup>,
    N: for<'writer> FormatFields<'writer> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let metadata = event.metadata();
        let mut line = Members::new();
        line.text("timestamp", &timestamp());
        line.text("level", metadata.level().as_str());
        event.record(&mut line);
        line.text("target", metadata.target());
        writer.write_char('{')?;
        writer.write_str(line.as_str())?;
        writer.write_str("}\n")
    }
}

#[expect(clippy::disallowed_methods, reason = "the time of the line")]
pub(super) fn now() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

/// The time in RFC 3339, to the microsecond.
fn timestamp() -> String {
    let now = now();
    let at = i64::try_from(now.as_secs())
        .ok()
        .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok())
        .unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let (year, month, day) = at.to_calendar_date();
    let (hour, minute, second) = at.to_hms();
    let month = u8::from(month);
    let micros = now.subsec_micros();
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn members_are_json_whatever_is_in_them() -> Result<(), serde_json::Error> {
        let mut members = Members::new();
        let text = "\"quoted\", \\ and \n, \u{1} and ü\u{2028}";
        members.text("text", text);
        members.flag("flag", true);
        members.number("number", u64::MAX);
        members.milliseconds("ms", Duration::from_micros(1234));
        members.milliseconds("whole", Duration::from_secs(3));
        members.milliseconds("small", Duration::from_micros(50));
        members.dollars("spend", 5810);
        let mut all = Members::new();
        all.text("first", "1");
        all.all_of(members.as_str());
        let value: Value = serde_json::from_str(&format!("{{{}}}", all.as_str()))?;
        assert_eq!(
            value,
            json!({ "first": "1", "text": text, "flag": true, "number": u64::MAX, "ms": 1.234, "whole": 3000, "small": 0.05, "spend": 0.00581 })
        );
        Ok(())
    }

    #[test]
    fn the_time_of_a_line_is_that_of_the_clock() {
        let before = now().as_secs();
        let text = timestamp();
        let after = now().as_secs();
        assert_eq!(text.len(), "2026-11-23T14:08:47.869495Z".len(), "{text}");
        let whole = text.split('.').next().unwrap_or_default();
        let mut possible = (before..=after).map(|at| crate::time::Millis(at * 1000).rfc3339());
        assert!(possible.any(|at| at == format!("{whole}Z")), "{text}");
    }
}
