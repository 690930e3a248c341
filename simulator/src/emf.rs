//! Reads the metrics in log lines, as AWS does.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// A metric as AWS bills it: a name and the values of its dimensions. The dimension `ledger` is left out,
/// because it is the same for all metrics of a stack.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Counted {
    /// The name of the metric.
    pub name: String,
    /// The dimensions and their values.
    pub dimensions: BTreeMap<String, String>,
}

/// The metrics of one line, with their units and values.
///
/// # Errors
///
/// A sentence that says what AWS would not accept.
pub fn metrics_of(line: &Value) -> Result<Vec<(Counted, String, f64)>, String> {
    let Some(metadata) = line.get("_aws") else {
        return Ok(Vec::new());
    };
    let wrong = |what: &str| format!("{what}: {line}");
    let list = |value: &Value, name: &str| -> Result<Vec<Value>, String> {
        let list = value.get(name).and_then(Value::as_array);
        list.filter(|list| !list.is_empty() && list.len() <= 100)
            .cloned()
            .ok_or_else(|| wrong(&format!("no list {name}, or one that is too long")))
    };
    metadata
        .get("Timestamp")
        .and_then(Value::as_u64)
        .filter(|at| *at > 1_700_000_000_000)
        .ok_or_else(|| wrong("no time"))?;
    let mut all = Vec::new();
    for directive in list(metadata, "CloudWatchMetrics")? {
        if directive.get("Namespace") != Some(&Value::from("otp-lambda")) {
            return Err(wrong("another namespace"));
        }
        for set in list(&directive, "Dimensions")? {
            let mut dimensions = BTreeMap::new();
            for key in set.as_array().into_iter().flatten() {
                let key = key.as_str().unwrap_or_default();
                let value = line.get(key).and_then(Value::as_str);
                let value = value.filter(|value| !value.is_empty() && value.len() <= 1024);
                let value = value.ok_or_else(|| wrong(&format!("no value of {key}")))?;
                dimensions.insert(key.to_owned(), value.to_owned());
            }
            dimensions
                .remove("ledger")
                .ok_or_else(|| wrong("no ledger"))?;
            for metric in list(&directive, "Metrics")? {
                let text = |name: &str| metric.get(name).and_then(Value::as_str);
                let (Some(name), Some(unit)) = (text("Name"), text("Unit")) else {
                    return Err(wrong("no name or no unit"));
                };
                let value = line.get(name).and_then(Value::as_f64);
                let value = value.ok_or_else(|| wrong(&format!("no value of {name}")))?;
                let (name, dimensions) = (name.to_owned(), dimensions.clone());
                all.push((Counted { name, dimensions }, unit.to_owned(), value));
            }
        }
    }
    Ok(all)
}

/// The metrics of a log, each once, as AWS bills them.
///
/// # Errors
///
/// As [`metrics_of`], and if a line is not JSON.
pub fn metrics_of_log(log: &str) -> Result<BTreeSet<Counted>, String> {
    let mut all = BTreeSet::new();
    for line in log.lines() {
        let line = serde_json::from_str(line).map_err(|error| format!("{error}: {line}"))?;
        all.extend(metrics_of(&line)?.into_iter().map(|(counted, ..)| counted));
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_line_that_cloudwatch_would_not_read_is_noticed() {
        let good = json!({
            "sent": 1, "country": "US", "ledger": "l",
            "_aws": { "Timestamp": 1_800_000_000_000_u64, "CloudWatchMetrics": [{
                "Namespace": "otp-lambda", "Dimensions": [["ledger"], ["ledger", "country"]],
                "Metrics": [{ "Name": "sent", "Unit": "Count" }]
            }] }
        });
        let read = |line: &Value| metrics_of(line).map(|all| all.len());
        assert_eq!(read(&good), Ok(2));
        assert_eq!(read(&json!({ "sent": 1 })), Ok(0));
        for missing in ["sent", "country", "ledger"] {
            let mut bad = good.clone();
            bad.as_object_mut().map(|line| line.remove(missing));
            assert!(read(&bad).is_err(), "{missing}");
        }
        let bad = [
            ("/_aws/Timestamp", json!("now")),
            ("/_aws/CloudWatchMetrics", json!([])),
            ("/_aws/CloudWatchMetrics/0/Namespace", json!("other")),
            ("/_aws/CloudWatchMetrics/0/Dimensions", json!([])),
            ("/_aws/CloudWatchMetrics/0/Metrics/0/Unit", Value::Null),
            ("/sent", json!("1")),
        ];
        for (place, value) in bad {
            let mut bad = good.clone();
            if let Some(part) = bad.pointer_mut(place) {
                *part = value;
            }
            assert!(read(&bad).is_err(), "{place}");
        }
    }
}
