//! CloudWatch metrics as members of log lines, in CloudWatch's embedded metric format. CloudWatch reads them from the
//! log, so the function needs no permission and no request for the metrics.

use serde_json::{Value, json};
use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::{Format, Json, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

const NAMESPACE: &str = "otp-lambda";

/// A field of log lines that is counted, and the fields by whose values the count is split. Each list in `dimensions`
/// makes one metric for each combination of values. CloudWatch charges for every metric, so a dimension must not have
/// many values.
struct Metric {
    name: &'static str,
    dimensions: &'static [&'static [&'static str]],
}

const METRICS: [Metric; 2] = [
    Metric {
        name: "numbersNearLock",
        dimensions: &[&["door", "failedGuesses"]],
    },
    Metric {
        name: "signInsRefused",
        dimensions: &[&[], &["limit"]],
    },
];

/// Writes lines as JSON, and adds the member `_aws` to a line that has a metric.
pub(super) struct WithMetrics<T>(pub(super) Format<Json, T>);

impl<S, N, T> FormatEvent<S, N> for WithMetrics<T>
where
    S: Subscriber + for<'lookup> LookupSpan<'lookup>,
    N: for<'writer> FormatFields<'writer> + 'static,
    Format<Json, T>: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let Some(metrics) = metrics_of(event) else {
            return self.0.format_event(context, writer, event);
        };
        let mut line = String::new();
        self.0
            .format_event(context, Writer::new(&mut line), event)?;
        match line.trim_end().strip_suffix('}') {
            Some(members) => writeln!(writer, "{members},\"_aws\":{metrics}}}"),
            None => writer.write_str(&line),
        }
    }
}

/// The member `_aws` of a line. `None` if the line has no metric.
fn metrics_of(event: &Event<'_>) -> Option<Value> {
    let mut names = Names::default();
    event.record(&mut names);
    let has = |name: &str| names.0.contains(&name);
    let all: Vec<Value> = METRICS
        .iter()
        .filter(|metric| has(metric.name))
        .map(|metric| {
            let in_line = |fields: &&&[&str]| fields.iter().all(|field| has(field));
            let dimensions: Vec<_> = metric.dimensions.iter().filter(in_line).collect();
            let metrics = [json!({ "Name": metric.name, "Unit": "Count" })];
            json!({ "Namespace": NAMESPACE, "Dimensions": dimensions, "Metrics": metrics })
        })
        .collect();
    (!all.is_empty()).then(|| json!({ "Timestamp": milliseconds(), "CloudWatchMetrics": all }))
}

#[expect(
    clippy::disallowed_methods,
    reason = "the time of the line, as in its timestamp"
)]
fn milliseconds() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    u64::try_from(since.unwrap_or_default().as_millis()).unwrap_or(u64::MAX)
}

/// The fields that an event has a value for.
#[derive(Default)]
struct Names(Vec<&'static str>);

impl Visit for Names {
    fn record_debug(&mut self, field: &Field, _: &dyn fmt::Debug) {
        self.0.push(field.name());
    }
}
