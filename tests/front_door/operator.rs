//! Commands that an operator invokes the function with directly.

use super::cognito_outages::{Outage, world_with};
use crate::with::LEAST;
use crate::world::{NUMBER, World, post};
use otp_lambda::app::InvokedAs;
use serde_json::{Value, json};

fn command(operation: &str, number: &str) -> String {
    json!({ "operation": operation, "destinationNumber": number }).to_string()
}

/// Asserts that a command fails with this error, and that the log names the same error.
async fn assert_fails(world: &World, event: &str, kind: &str, level: &str) {
    let error = world.raw(event).await.unwrap_err();
    assert_eq!(error.kind, kind, "{error}");
    assert!(error.message.len() > 20, "{error}");
    let line = world.last_line();
    assert_eq!(
        (&line["outcome"], &line["level"], line.get("status")),
        (&json!(kind), &json!(level), None::<&Value>),
        "{line}"
    );
}

#[tokio::test]
async fn a_command_fails_with_its_own_error_code_when_the_ledger_is_down() {
    let world = world_with(Outage::Fails).await;
    let unlock = command("unlock", NUMBER);
    assert_fails(&world, &unlock, "ledger_unavailable", "WARN").await;
    let line = world.last_line();
    assert_eq!(
        (&line["operation"], &line["cause"], &line["country"]),
        (&json!("unlock"), &json!("out of order"), &json!("US"))
    );
}

#[tokio::test]
async fn a_command_without_a_ledger_is_a_missing_setting() {
    let world = World::new().await;
    for operation in ["unlock", "key", "why"] {
        let event = command(operation, NUMBER);
        assert_fails(&world, &event, "misconfigured", "ERROR").await;
        assert_eq!(world.last_line()["operation"], operation);
        let error = world.raw(&event).await.unwrap_err();
        assert!(error.message.contains("LEDGER_TABLE"), "{error}");
    }
}

#[tokio::test]
async fn a_command_for_an_invalid_number_says_so() {
    let world = World::counted(&[]).await;
    for operation in ["unlock", "key", "why"] {
        let event = command(operation, "+1425");
        assert_fails(&world, &event, "invalid_phone_number", "INFO").await;
    }
}

#[tokio::test]
async fn a_command_takes_a_stored_spelling_and_says_which_number_it_took() {
    let world = World::counted(&[("ALLOWED_COUNTRIES", "*"), ("EXTRA_PREFIXES", "+446=GB")]).await;
    let key = async |number: &str| world.raw(&command("key", number)).await.unwrap();
    for (old, current, masked) in [
        ("+5215512345678", "+525512345678", "+52*******5678"),
        ("+972599123456", "+970599123456", "+970*******3456"),
        ("+4407700900123", "+447700900123", "+44*******0123"),
        ("+24106031234", "+24166031234", "+241*******1234"),
    ] {
        let (old, current) = (key(old).await, key(current).await);
        assert_eq!(old["key"], current["key"]);
        assert_eq!(
            (old.get("oldSpelling"), current.get("oldSpelling")),
            (Some(&json!(true)), None)
        );
        assert_eq!(old["destinationNumber"], masked);
    }
    // A number that the operator opened.
    assert_eq!(key("+446123456789").await.get("oldSpelling"), None);
    let old = command("unlock", "+5215512345678");
    assert_eq!(world.raw(&old).await.unwrap()["oldSpelling"], json!(true));
    // An old spelling that could mean several numbers.
    let unclear = command("key", "+541123456789");
    assert_fails(&world, &unclear, "invalid_phone_number", "INFO").await;
}

/// Asserts that the function answers `settings`, and logs it.
async fn assert_answers_settings(world: World, expected: Value) {
    let event = json!({ "operation": "settings" }).to_string();
    let answer = world.raw(&event).await.unwrap();
    assert_eq!(answer, expected);
    let line = world.last_line();
    assert_eq!(
        (&line["operation"], &line["outcome"], &line["level"]),
        (&json!("settings"), &json!("ok"), &json!("INFO"))
    );
    let error = world.raw(&command("settings", NUMBER)).await.unwrap_err();
    assert_eq!(error.kind, "UnrecognizedEvent");
}

#[tokio::test]
async fn a_function_answers_the_settings_command_with_and_without_a_ledger() {
    assert_answers_settings(World::new().await, json!({ "settings": "ok" })).await;
    let budgets = [("BUDGETS", "90/1h"), ("COUNTRY_LIMITS", "JM=5/24h")];
    let expected = json!({
        "settings": "ok",
        "budgets": "90/1h",
        "countryLimits": "JM=5/24h;*=45/1h",
        "guessRisk": if LEAST.0 == 4 { "6e-3/1d" } else { "6e-4/1d" },
    });
    assert_answers_settings(World::counted(&budgets).await, expected).await;
}

/// An event of each kind, with its name.
fn events() -> [(&'static str, String); 6] {
    let sign_in = include_str!("../../events/cognito.define.json").to_owned();
    let send = post(
        "/otp/send",
        &json!({ "destinationNumber": NUMBER }).to_string(),
    );
    [
        ("unlock", command("unlock", NUMBER)),
        ("key", command("key", NUMBER)),
        ("why", command("why", NUMBER)),
        ("settings", json!({ "operation": "settings" }).to_string()),
        ("send", send.to_string()),
        ("sign-in", sign_in),
    ]
}

/// The kinds of events that a function answers under a name.
async fn answered(aliases: &str, arn: &str) -> Vec<&'static str> {
    let mut world = World::counted(&[("OPERATOR_ALIASES", aliases), ("SIGN_IN_SHARE", "50")]).await;
    world.invoked_as = InvokedAs::read(arn);
    let mut answered = Vec::new();
    for (kind, event) in events() {
        match world.raw(&event).await {
            Ok(_) => answered.push(kind),
            Err(error) => {
                assert_eq!(error.kind, "WrongAlias", "{kind} as {arn}: {error}");
                assert_eq!(world.last_line()["outcome"], "wrong_alias");
                let is_command = ["unlock", "key", "why"].contains(&kind);
                let level = if is_command { "INFO" } else { "ERROR" };
                assert_eq!(world.last_line()["level"], level, "{kind} as {arn}");
                assert_eq!(world.last_line().get("status"), None);
            }
        }
    }
    // A request that is refused has no effect.
    let sent = usize::from(answered.contains(&"send"));
    assert_eq!(world.simulator.inbox().len(), sent, "as {arn}");
    answered
}

const FUNCTION: &str = "arn:aws:lambda:us-east-1:123456789012:function:otp-Function-1X";

#[tokio::test]
async fn each_right_of_an_operator_has_its_own_alias() {
    let others = ["settings", "send", "sign-in"];
    for aliases in ["on", "off"] {
        let as_alias = |alias: &str| format!("{FUNCTION}:{alias}");
        for (alias, expected) in [
            ("operator", &["unlock", "settings"][..]),
            ("operator-key", &["key", "why", "settings"]),
            ("live", &others),
            ("built", &others),
            ("7", &others),
            ("$LATEST", &others),
            ("Operator", &others),
            ("operator-", &others),
            ("operator-key-", &others),
        ] {
            let answered = answered(aliases, &as_alias(alias)).await;
            assert_eq!(answered, expected, "{alias}, OPERATOR_ALIASES={aliases}");
        }
    }
}

#[tokio::test]
async fn a_function_without_an_alias_answers_commands_unless_the_aliases_are_on() {
    let all = ["unlock", "key", "why", "settings", "send", "sign-in"];
    for arn in [FUNCTION, "", "otp-lambda"] {
        assert_eq!(answered("off", arn).await, all, "{arn}");
        assert_eq!(answered("on", arn).await, all[3..], "{arn}");
    }
}
