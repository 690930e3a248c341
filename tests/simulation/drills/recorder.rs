//! The metrics of a drill, as CloudWatch would have them: by minute.

use serde_json::{Map, Value, json};
use simulator::emf::metrics_of;
use std::collections::BTreeMap;

/// A function of the stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Function {
    Http,
    Triggers,
}

/// A metric: its namespace, its name and its dimensions.
type Key = (&'static str, String, BTreeMap<String, String>);

#[derive(Debug, Default)]
pub(super) struct Recorder(BTreeMap<Key, BTreeMap<u32, Minute>>);

/// How many values there are, their sum and the largest. Of times all values, for percentiles.
#[derive(Debug, Default)]
struct Minute {
    count: u32,
    sum: f64,
    max: f64,
    times: Vec<f64>,
}

impl Recorder {
    /// A metric that Lambda counts.
    pub(super) fn lambda(&mut self, minute: u32, function: Function, name: &str, value: f64) {
        let function = match function {
            Function::Http => "otp-Function",
            Function::Triggers => "otp-Triggers",
        };
        let of = BTreeMap::from([("FunctionName".to_owned(), function.to_owned())]);
        self.add(minute, ("AWS/Lambda", name.to_owned(), of), value, false);
    }

    /// The values that CloudWatch takes from a line.
    pub(super) fn line(&mut self, minute: u32, line: &Value) {
        for (metric, unit, value) in metrics_of(line).unwrap() {
            let mut dimensions = metric.dimensions;
            dimensions.insert("ledger".to_owned(), "otp".to_owned());
            let key = ("otp-lambda", metric.name, dimensions);
            self.add(minute, key, value, unit == "Milliseconds");
        }
    }

    fn add(&mut self, minute: u32, key: Key, value: f64, is_time: bool) {
        let at = self.0.entry(key).or_default().entry(minute).or_default();
        at.max = if at.count == 0 {
            value
        } else {
            at.max.max(value)
        };
        at.count += 1;
        at.sum += value;
        if is_time {
            at.times.push(value.round());
        }
    }

    /// All metrics: `minutes` has for each minute with values their count, their sum, the largest, and of times all.
    pub(super) fn series(&self) -> Value {
        let all = self.0.iter().map(|((namespace, name, dimensions), minutes)| {
            let minutes: Map<String, Value> = minutes
                .iter()
                .map(|(minute, it)| {
                    let mut values = vec![json!(it.count), json!(it.sum), json!(it.max)];
                    if !it.times.is_empty() {
                        values.push(json!(it.times));
                    }
                    (minute.to_string(), Value::Array(values))
                })
                .collect();
            json!({ "namespace": namespace, "name": name, "dimensions": dimensions, "minutes": minutes })
        });
        all.collect()
    }
}
