//! The response to a send with `dryRun`.

use super::response::{Response, json};
use crate::error::{Error, Limit};
use crate::ledger::Door;
use crate::reference::ReferenceId;
use crate::service::{Caller, DryRun, Rule, Unit};
use crate::time::Millis;
use lambda_http::http::StatusCode;
use serde::Serialize;

/// Refuses a dry run with a key. The key would promise that a repeat gets the same response.
pub(super) fn check(caller: &Caller) -> Result<(), Error> {
    match caller.idempotency_key {
        Some(_) => Err(Error::invalid_parameter(
            "Idempotency-Key",
            "A dry run reserves no Idempotency-Key. Leave it out.",
        )),
        None => Ok(()),
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DryRunBody<'a> {
    would_send: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    refusal: Option<RefusalBody<'a>>,
    rules: Vec<RuleBody>,
    is_test_number: bool,
    /// The masked number.
    destination_number: String,
    channel: &'static str,
    language: &'a str,
    provider: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reference_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    brand_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    segments: Option<u64>,
    /// In dollars.
    #[serde(skip_serializing_if = "Option::is_none")]
    price: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    guess_chance: Option<ChanceBody<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RefusalBody<'a> {
    code: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after: Option<u64>,
    detail: std::borrow::Cow<'a, str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RuleBody {
    name: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    door: Option<&'static str>,
    unit: &'static str,
    used: serde_json::Number,
    limit: serde_json::Number,
    left: serde_json::Number,
    #[serde(skip_serializing_if = "Option::is_none")]
    window_seconds: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    frees_at: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ChanceBody<'a> {
    /// That somebody who does not know the code guesses it with all its attempts.
    of_code: &'a str,
    /// That somebody who attacks the number guesses a right code in the period after the slash.
    #[serde(skip_serializing_if = "Option::is_none")]
    of_number: Option<String>,
}

/// An amount as JSON has it. Money is in dollars.
fn amount(unit: Unit, amount: u64) -> serde_json::Number {
    match unit {
        Unit::Dollars => serde_json::Number::from_f64(dollars(amount)),
        Unit::Messages | Unit::Requests | Unit::Guesses => None,
    }
    .unwrap_or_else(|| amount.into())
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a price is far below the numbers that a float cannot hold"
)]
fn dollars(millionths: u64) -> f64 {
    millionths as f64 / 1_000_000.0
}

fn rule(rule: &Rule) -> RuleBody {
    let left = rule.limit.saturating_sub(rule.used);
    RuleBody {
        name: rule.name,
        door: (rule.door == Door::Device).then(|| rule.door.name()),
        unit: match rule.unit {
            Unit::Messages => "messages",
            Unit::Requests => "requests",
            Unit::Guesses => "guesses",
            Unit::Dollars => "dollars",
        },
        used: amount(rule.unit, rule.used),
        limit: amount(rule.unit, rule.limit),
        left: amount(rule.unit, left),
        window_seconds: rule.window.map(|window| window.as_secs()),
        frees_at: rule.frees.map(Millis::rfc3339_rounded_up),
    }
}

pub(super) fn told(told: &DryRun) -> Response {
    let refusal = told.refusal.as_ref().map(|error| RefusalBody {
        code: error.code().name(),
        limit: error.limit().map(Limit::name),
        retry_after: error.retry_after_seconds(),
        // Only backends get this response.
        detail: error.detail_with_advice(),
    });
    let planned = told.planned.as_ref();
    json(
        StatusCode::OK,
        &DryRunBody {
            would_send: refusal.is_none(),
            refusal,
            rules: told.rules.iter().map(rule).collect(),
            is_test_number: told.is_test_number,
            destination_number: told.to.to_string(),
            channel: told.channel.name(),
            language: &told.language,
            provider: told.provider,
            reference_id: told.reference.as_ref().map(ReferenceId::expose),
            brand_name: planned.map(|planned| &*planned.brand_name),
            text: planned.and_then(|planned| planned.text.as_deref()),
            segments: planned.and_then(|planned| planned.segments),
            price: planned.and_then(|planned| planned.price).map(dollars),
            guess_chance: planned
                .filter(|_| !told.is_test_number)
                .map(|planned| ChanceBody {
                    of_code: &planned.chance_of_code,
                    of_number: planned.chance_of_number.clone(),
                }),
        },
    )
}
