//! Delivery events, which AWS sends through a topic of SNS.

use crate::with;
use crate::world::{NUMBER, World};
use otp_lambda::app::InvokedAs;
use serde_json::{Value, json};

/// The topic of the events in `tests/fixtures/delivery/`.
const TOPIC: &str = "arn:aws:sns:us-east-1:123456789012:otp-lambda-delivery";

/// An event of SNS with this text, as AWS documents it.
pub(crate) fn notification(message: &str) -> Value {
    let text = include_str!("../fixtures/delivery/sns.json");
    let mut event: Value = serde_json::from_str(text).unwrap();
    event["Records"][0]["Sns"]["Message"] = json!(message);
    event
}

/// The delivery event that AWS documents, with these members in place of its own. A member that is null is left out.
pub(crate) fn delivery(changes: &Value) -> Value {
    let text = include_str!("../fixtures/delivery/text-successful.json");
    let mut event: Value = serde_json::from_str(text).unwrap();
    event["destinationPhoneNumber"] = json!(NUMBER);
    for (name, value) in changes.as_object().unwrap() {
        event[name] = value.clone();
    }
    let members = event.as_object_mut().unwrap();
    members.retain(|_, value| !value.is_null());
    event
}

impl World {
    /// A function with a ledger that takes delivery events.
    async fn told_of_deliveries() -> Self {
        Self::counted(with::DELIVERIES).await
    }

    /// Gives a delivery event to the function, and returns its log line.
    pub(crate) async fn delivers(&self, event: &Value) -> Value {
        let answer = self
            .raw(&notification(&event.to_string()).to_string())
            .await;
        assert_eq!(answer.unwrap(), json!({}));
        self.last_line()
    }
}

#[tokio::test]
async fn the_line_of_a_delivery_event_has_its_facts_and_no_number() {
    let world = World::told_of_deliveries().await;
    let line = world.delivers(&delivery(&json!({}))).await;
    let expected = json!({
        "level": "INFO", "message": "delivery", "operation": "delivery", "origin": "sns", "outcome": "delivered",
        "country": "US", "channel": "sms", "provider": "end-user-messaging", "event": "TEXT_SUCCESSFUL",
        "carrier": "310-800", "deliveryMs": 300, "price": 0.09582, "messageId": "862a8790-60c0-4430-9b2b-658bdexample",
    });
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(&line[name], value, "{line}");
    }
    assert_eq!(line.get("cause"), None, "{line}");
    // The number has the name that its other lines have.
    world.code_on_the_phone().await;
    assert_eq!(line["number"], world.last_line()["number"], "{line}");
    assert!(line["number"].is_string(), "{line}");
}

#[tokio::test]
async fn the_type_of_an_event_decides_its_outcome() {
    let world = World::told_of_deliveries().await;
    for (outcome, types) in [
        (
            "delivered",
            "TEXT_DELIVERED TEXT_SUCCESSFUL VOICE_COMPLETED RCS_DELIVERED",
        ),
        (
            "blocked",
            "TEXT_BLOCKED TEXT_CARRIER_BLOCKED TEXT_PROTECT_BLOCKED TEXT_SPAM RCS_PROTECT_BLOCKED",
        ),
        (
            "undelivered",
            "TEXT_INVALID TEXT_INVALID_MESSAGE TEXT_UNREACHABLE TEXT_CARRIER_UNREACHABLE TEXT_TTL_EXPIRED VOICE_BUSY \
             VOICE_NO_ANSWER VOICE_FAILED VOICE_TTL_EXPIRED RCS_FAILED RCS_TTL_EXPIRED",
        ),
        ("unknown", "TEXT_UNKNOWN"),
        (
            "pending",
            "TEXT_QUEUED TEXT_PENDING TEXT_SENT VOICE_INITIATED VOICE_RINGING VOICE_ANSWERED RCS_QUEUED RCS_SENT RCS_READ",
        ),
    ] {
        for name in types.split_whitespace() {
            let line = world
                .delivers(&delivery(&json!({ "eventType": name })))
                .await;
            assert_eq!(
                (&line["outcome"], &line["level"]),
                (&json!(outcome), &json!("INFO")),
                "{line}"
            );
            let channel = match name.split_once('_').unwrap().0 {
                "TEXT" => json!("sms"),
                "VOICE" => json!("voice"),
                _ => Value::Null,
            };
            assert_eq!(line["channel"], channel, "{line}");
            // An event that is not the last one counts nothing.
            let changes = json!({ "eventType": name, "isFinal": false });
            assert_eq!(
                world.delivers(&delivery(&changes)).await["outcome"],
                "pending",
                "{name}"
            );
        }
    }
}

#[tokio::test]
async fn a_message_that_did_not_arrive_has_the_reason_of_aws_without_the_number() {
    let world = World::told_of_deliveries().await;
    let said = format!("Blocked as spam by the carrier of {NUMBER}\u{7}\n");
    let changes = json!({ "eventType": "TEXT_CARRIER_BLOCKED", "messageStatusDescription": said });
    let line = world.delivers(&delivery(&changes)).await;
    assert_eq!(
        line["cause"], "Blocked as spam by the carrier of +###########  ",
        "{line}"
    );
    // A long one is cut.
    let changes =
        json!({ "eventType": "TEXT_SPAM", "messageStatusDescription": "x".repeat(100_000) });
    let line = world.delivers(&delivery(&changes)).await;
    assert_eq!(line["cause"].as_str().unwrap().len(), 200);
}

#[tokio::test]
async fn the_carrier_is_named_by_its_codes_or_else_by_its_name() {
    let world = World::told_of_deliveries().await;
    for (changes, carrier) in [
        (json!({ "mcc": "234", "mnc": "15" }), Some("234-15")),
        (
            json!({ "mcc": "234", "mnc": "15", "carrierName": "A" }),
            Some("234-15"),
        ),
        (json!({ "mnc": null }), None),
        (json!({ "mcc": "31O" }), None),
        (json!({ "mcc": 310 }), None),
        (json!({ "mcc": "14255550142" }), None),
        (
            json!({ "mcc": null, "carrierName": "Example Mobile" }),
            Some("Example Mobile"),
        ),
        (
            json!({ "mcc": null, "carrierName": "\u{1b}[31m\nred" }),
            Some(" [##m red"),
        ),
        (json!({ "mcc": null, "carrierName": " \n " }), None),
        (json!({ "mcc": null, "carrierName": ["A"] }), None),
    ] {
        let line = world.delivers(&delivery(&changes)).await;
        assert_eq!(line["carrier"], json!(carrier), "{changes}");
        assert_eq!(line["outcome"], "delivered", "{changes}");
    }
    let changes = json!({ "mcc": null, "carrierName": "ü".repeat(50_000) });
    let line = world.delivers(&delivery(&changes)).await;
    assert_eq!(line["carrier"], "ü".repeat(40));
}

/// Facts of the wrong kind are left out, and the rest counts.
#[tokio::test]
async fn facts_that_cannot_be_are_left_out() {
    let world = World::told_of_deliveries().await;
    for (changes, missing) in [
        (json!({ "eventTimestamp": "1686975103470" }), "deliveryMs"),
        (json!({ "eventTimestamp": -1 }), "deliveryMs"),
        (json!({ "eventTimestamp": 1 }), "deliveryMs"),
        (json!({ "messageRequestTimestamp": null }), "deliveryMs"),
        (json!({ "totalMessagePrice": null }), "price"),
        (json!({ "totalMessagePrice": -0.1 }), "price"),
        (json!({ "totalMessagePrice": 1e300 }), "price"),
        (json!({ "totalMessagePrice": "0.1" }), "price"),
        (json!({ "messageId": "x".repeat(65) }), "messageId"),
        (json!({ "messageId": "+1 425" }), "messageId"),
        (json!({ "destinationPhoneNumber": "+1425" }), "number"),
        (
            json!({ "destinationPhoneNumber": 14_255_550_142_u64 }),
            "number",
        ),
    ] {
        let line = world.delivers(&delivery(&changes)).await;
        assert_eq!(line.get(missing), None, "{changes}: {line}");
        assert_eq!(line["outcome"], "delivered", "{changes}");
    }
    // The country is the one of the number, and without a number the one that AWS says.
    for (changes, country) in [
        (json!({ "isoCountryCode": "GB" }), json!("US")),
        (
            json!({ "isoCountryCode": "GB", "destinationPhoneNumber": null }),
            json!("GB"),
        ),
        (
            json!({ "isoCountryCode": "gb", "destinationPhoneNumber": null }),
            Value::Null,
        ),
        (json!({ "destinationPhoneNumber": null }), Value::Null),
    ] {
        assert_eq!(
            world.delivers(&delivery(&changes)).await["country"],
            country,
            "{changes}"
        );
    }
    // The fee of the carrier is part of the price.
    let changes = json!({ "totalMessagePrice": 0.1, "totalCarrierFee": 0.2 });
    assert_eq!(world.delivers(&delivery(&changes)).await["price"], 0.3);
}

/// SNS and Lambda would repeat an event whose invocation fails.
#[tokio::test]
async fn an_event_that_cannot_be_read_is_a_warning_and_no_failure() {
    let world = World::told_of_deliveries().await;
    for text in [
        "",
        "{",
        "[]",
        "7",
        "\"x\"",
        "null",
        "{}",
        "\u{1}",
        &"[".repeat(200_000),
    ] {
        assert_eq!(
            world.raw(&notification(text).to_string()).await.unwrap(),
            json!({})
        );
        let line = world.last_line();
        assert_eq!(
            (&line["outcome"], &line["level"]),
            (&json!("unreadable_event"), &json!("WARN")),
            "{line}"
        );
    }
    for (name, outcome) in [
        (json!("TEXT_EATEN_BY_DOG"), "unknown_event"),
        (json!("ALL"), "unknown_event"),
        (json!("text_delivered"), "unreadable_event"),
        (json!("TEXT_1234"), "unreadable_event"),
        (json!("X".repeat(41)), "unreadable_event"),
        (json!(7), "unreadable_event"),
        (Value::Null, "unreadable_event"),
    ] {
        let line = world
            .delivers(&delivery(&json!({ "eventType": name })))
            .await;
        assert_eq!(
            (&line["outcome"], &line["level"]),
            (&json!(outcome), &json!("WARN")),
            "{line}"
        );
    }
}

#[tokio::test]
async fn only_the_topic_of_the_settings_is_counted() {
    let world = World::told_of_deliveries().await;
    let mut event = notification(&delivery(&json!({})).to_string());
    for topic in [
        json!("arn:aws:sns:us-east-1:123456789012:another"),
        json!(format!("{TOPIC}-2")),
        json!(TOPIC.to_uppercase()),
        json!([TOPIC]),
        Value::Null,
    ] {
        event["Records"][0]["Sns"]["TopicArn"] = topic;
        assert_eq!(world.raw(&event.to_string()).await.unwrap(), json!({}));
        let line = world.last_line();
        assert_eq!(
            (&line["outcome"], &line["level"]),
            (&json!("wrong_topic"), &json!("WARN")),
            "{line}"
        );
        assert_eq!(line.get("number"), None, "{line}");
    }
    // The control.
    event["Records"][0]["Sns"]["TopicArn"] = json!(TOPIC);
    world.raw(&event.to_string()).await.unwrap();
    assert_eq!(world.last_line()["outcome"], "delivered");
}

#[tokio::test]
async fn each_notification_of_an_event_has_its_line() {
    let world = World::told_of_deliveries().await;
    let one = |name: &str| {
        notification(&delivery(&json!({ "eventType": name })).to_string())["Records"][0].clone()
    };
    let event =
        json!({ "Records": [one("TEXT_DELIVERED"), one("TEXT_SPAM"), one("TEXT_UNREACHABLE")] });
    let before = world.lines().len();
    world.raw(&event.to_string()).await.unwrap();
    let lines = world.lines();
    let outcomes: Vec<_> = lines[before..]
        .iter()
        .map(|line| line["outcome"].clone())
        .collect();
    assert_eq!(outcomes, ["delivered", "blocked", "undelivered"]);
}

#[tokio::test]
async fn records_that_are_no_notifications_are_not_recognized() {
    let world = World::told_of_deliveries().await;
    for event in [
        r#"{"Records":[]}"#,
        r#"{"Records":{}}"#,
        r#"{"Records":"x"}"#,
        r#"{"Records":[7]}"#,
        r#"{"Records":[{"Sns":[]}]}"#,
        r#"{"Records":[{"Sns":{}},{}]}"#,
        r#"{"Records":[{"eventSource":"aws:sqs","body":"x"}]}"#,
    ] {
        let error = world.raw(event).await.unwrap_err();
        assert_eq!(error.kind, "UnrecognizedEvent", "{event}");
    }
}

/// If the function failed, Lambda would repeat the event, and the operator would be woken.
#[tokio::test]
async fn without_a_topic_a_notification_counts_nothing_and_is_no_failure() {
    let world = World::new().await;
    let event = notification(&delivery(&json!({})).to_string());
    world.raw(&event.to_string()).await.unwrap();
    let line = world.last_line();
    assert_eq!(line["outcome"], "wrong_topic", "{line}");
    assert_eq!(line["number"], Value::Null, "{line}");
}

#[tokio::test]
async fn an_alias_of_operators_takes_no_notification() {
    let mut world = World::told_of_deliveries().await;
    let event = notification(&delivery(&json!({})).to_string());
    for alias in [InvokedAs::Operator, InvokedAs::OperatorKey] {
        world.invoked_as = alias;
        let error = world.raw(&event.to_string()).await.unwrap_err();
        assert_eq!(error.kind, "WrongAlias");
    }
    world.invoked_as = InvokedAs::Another;
    world.raw(&event.to_string()).await.unwrap();
}

/// A delivery event changes no limit, no code and no count.
#[tokio::test]
async fn a_delivery_event_changes_nothing_in_the_ledger() {
    let world = World::told_of_deliveries().await;
    let code = world.code_on_the_phone().await;
    let state = || {
        let ledger = &world.ledger;
        let (verifications, numbers) = (ledger.verifications(), ledger.numbers());
        format!(
            "{verifications:?} {numbers:?} {:?} {:?}",
            ledger.counters(),
            ledger.budgets()
        )
    };
    let before = state();
    for name in ["TEXT_SPAM", "TEXT_UNREACHABLE", "TEXT_DELIVERED"] {
        world
            .delivers(&delivery(&json!({ "eventType": name })))
            .await;
    }
    assert_eq!(state(), before);
    // The control.
    let body = json!({ "destinationNumber": NUMBER, "otp": code });
    assert_eq!(world.post("/otp/verify", &body).await.status, 200);
    assert_ne!(state(), before);
}
