//! Commands that an operator invokes the function with directly.

use super::cognito_outages::{Outage, world_with};
use crate::world::{NUMBER, World};
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
    for operation in ["unlock", "key"] {
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
    for operation in ["unlock", "key"] {
        let event = command(operation, "+1425");
        assert_fails(&world, &event, "invalid_phone_number", "INFO").await;
    }
}

/// Asserts that the function answers `settings`, and logs it.
async fn assert_answers_settings(world: World) {
    let event = json!({ "operation": "settings" }).to_string();
    let answer = world.raw(&event).await.unwrap();
    assert_eq!(answer, json!({ "settings": "ok" }));
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
    assert_answers_settings(World::new().await).await;
    assert_answers_settings(World::counted(&[]).await).await;
}
