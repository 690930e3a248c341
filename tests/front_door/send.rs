//! `POST /otp/send`.

use crate::with::{self, says};
use crate::world::{NUMBER, World};
use serde_json::json;
use simulator::Operation;
use std::time::{Duration, SystemTime};

#[tokio::test]
async fn a_send_delivers_a_code_and_responds_with_everything_but_the_code() {
    let mut world = World::new().await;
    // 2026-11-23T10:00:00.900Z
    world.set_now(SystemTime::UNIX_EPOCH + Duration::from_millis(1_795_428_000_900));
    let answer = world
        .post(
            "/otp/send",
            &json!({
                "destinationNumber": NUMBER, "brandName": "Acme", "source": "Login", "codeLength": 8,
                "validityPeriod": 15, "allowedAttempts": 5, "language": "de-DE", "channel": "sms", "clientIp": "192.0.2.1",
            }),
        )
        .await;

    assert_eq!(answer.status, 202, "{answer:?}");
    assert_eq!(answer.headers["content-type"], "application/json");
    let message = world.simulator.newest_to(NUMBER).unwrap();
    assert_eq!(message.code.len(), 8);
    assert_eq!(world.asked_to_send()["says"], says("de-DE", "Acme"));
    assert_eq!(
        answer.body,
        json!({
            "referenceId": message.reference_id, "status": "pending", "destinationNumber": "+1*******0142",
            "channel": "sms", "messageId": message.message_id, "codeLength": 8, "expiresAt": "2026-11-23T10:15:00Z", "expiresIn": 900,
        })
    );
}

#[tokio::test]
async fn missing_fields_take_their_value_from_the_settings() {
    let world = World::with(&[
        ("SOURCE", "CreateAccount"),
        ("LANGUAGE", "fr-CA"),
        ("CODE_LENGTH", "7"),
        ("VALIDITY_PERIOD", "20"),
        ("ALLOWED_ATTEMPTS", "2"),
    ])
    .await;
    let answer = world
        .post("/otp/send", &json!({ "destinationNumber": NUMBER }))
        .await;
    assert_eq!(
        (answer.status, &answer.body["expiresIn"]),
        (202, &json!(1200))
    );
    assert_eq!(
        world.asked_to_send(),
        json!({
            "channel": "sms", "says": says("fr-CA", "ExampleCorp"), "length": 7, "minutes": 20, "attempts": 2,
            "from": "+12065550100", "to": NUMBER, "reference": "46bb87b047dd9f34b9cbe4011325b15b",
        })
    );
}

#[tokio::test]
async fn only_indian_numbers_are_sent_with_the_dlt_registration() {
    let world = World::with(&[
        ("DLT_ENTITY_ID", "1101000000000012345"),
        ("DLT_TEMPLATE_ID", "1107160000000012345"),
    ])
    .await;
    for (number, registered) in [("+919876543210", true), (NUMBER, false)] {
        let answer = world
            .post("/otp/send", &json!({ "destinationNumber": number }))
            .await;
        assert_eq!(answer.status, 202, "{answer:?}");
        let ids = registered.then(|| json!(["1101000000000012345", "1107160000000012345"]));
        assert_eq!(world.asked_to_send().get("dlt"), ids.as_ref(), "{number}");
    }
}

#[tokio::test]
async fn a_country_can_have_its_own_origination_identity() {
    let world = World::with(&[("ORIGINATION_IDENTITIES", "GB=EXAMPLE, JM=+18765550100")]).await;
    for (number, identity) in [
        ("+447700900123", "EXAMPLE"),
        ("+18765550142", "+18765550100"),
        (NUMBER, "+12065550100"),
    ] {
        world
            .post("/otp/send", &json!({ "destinationNumber": number }))
            .await;
        assert_eq!(world.asked_to_send()["from"], identity, "{number}");
    }
}

#[tokio::test]
async fn a_caller_may_choose_the_reference_id() {
    let world = World::new().await;
    let answer = world
        .post(
            "/otp/send",
            &json!({ "destinationNumber": NUMBER, "referenceId": "order-4711_a" }),
        )
        .await;
    assert_eq!(
        (answer.status, &answer.body["referenceId"]),
        (202, &json!("order-4711_a"))
    );
    assert_eq!(world.asked_to_send()["reference"], "order-4711_a");
}

#[tokio::test]
async fn random_reference_ids_differ_each_time() {
    let world = World::with(&[("REFERENCE_ID", "random")]).await;
    let mut seen = Vec::new();
    for _ in 0..3 {
        let answer = world
            .post("/otp/send", &json!({ "destinationNumber": NUMBER }))
            .await;
        let id = answer.body["referenceId"].as_str().unwrap().to_owned();
        assert!(id.len() == 32 && !seen.contains(&id), "{id}");
        seen.push(id);
    }
}

#[tokio::test]
async fn separators_in_a_number_are_removed() {
    let world = World::new().await;
    let answer = world
        .post(
            "/otp/send",
            &json!({ "destinationNumber": "+1 (425) 555-0142" }),
        )
        .await;
    assert_eq!(answer.status, 202);
    assert_eq!(world.asked_to_send()["to"], NUMBER);
}

#[tokio::test]
async fn numbers_outside_the_allowed_countries_are_not_sent_to() {
    let world = World::with(&[("ALLOWED_COUNTRIES", "US")]).await;
    // Jamaica, Canada, Kazakhstan, Guernsey, the Dominican Republic.
    for number in [
        "+18765550142",
        "+14165550142",
        "+77012345678",
        "+447781234567",
        "+18095550142",
    ] {
        let answer = world
            .post("/otp/send", &json!({ "destinationNumber": number }))
            .await;
        answer.is_problem(403, "country_not_allowed");
        assert_eq!(answer.body["field"], "destinationNumber");
    }
    assert_eq!(world.simulator.requests(Operation::Send).len(), 0);
}

#[tokio::test]
async fn allowing_every_country_does_not_allow_numbers_without_a_country() {
    let world = World::with(&[("ALLOWED_COUNTRIES", "*")]).await;
    for number in ["+18765550142", "+77012345678", "+819012345678"] {
        assert_eq!(
            world
                .post("/otp/send", &json!({ "destinationNumber": number }))
                .await
                .status,
            202,
            "{number}"
        );
    }
    let answer = world
        .post(
            "/otp/send",
            &json!({ "destinationNumber": "+881612345678" }),
        )
        .await;
    answer.is_problem(403, "country_unknown");
}

#[tokio::test]
async fn an_invalid_number_is_422_and_a_number_that_is_not_a_string_is_400() {
    let world = World::new().await;
    for text in [
        "",
        "4255550142",
        "0014255550142",
        "+142555",
        "+1425555014②",
        "tel:+14255550142",
        "+14255550142x7",
        "+99955501420",
    ] {
        let answer = world
            .post("/otp/send", &json!({ "destinationNumber": text }))
            .await;
        answer.is_problem(422, "invalid_phone_number");
        assert_eq!(answer.body["field"], "destinationNumber", "{text}");
    }
    for value in [json!(14_255_550_142_u64), json!([NUMBER]), json!({})] {
        let answer = world
            .post("/otp/send", &json!({ "destinationNumber": value }))
            .await;
        answer.is_problem(400, "invalid_parameter");
        assert_eq!(answer.body["detail"], "destinationNumber must be a string.");
    }
    let answer = world.post("/otp/send", &json!({})).await;
    answer.is_problem(400, "invalid_parameter");
    assert_eq!(answer.body["detail"], "destinationNumber is missing.");
    assert_eq!(world.simulator.requests(Operation::Send).len(), 0);
}

#[tokio::test]
async fn a_field_out_of_range_is_rejected_with_its_name_and_range() {
    let world = World::new().await;
    let (shortest, briefest) = with::LEAST;
    let length = format!("codeLength must be an integer from {shortest} to 8.");
    let validity = format!("validityPeriod must be an integer from {briefest} to 60.");
    for (field, value, says) in [
        ("codeLength", json!(shortest - 1), length.as_str()),
        ("codeLength", json!("6"), &length),
        ("validityPeriod", json!(61), &validity),
        ("validityPeriod", json!(briefest - 1), &validity),
        (
            "allowedAttempts",
            json!(0),
            "allowedAttempts must be an integer from 1 to 5.",
        ),
        (
            "brandName",
            json!(""),
            "brandName must have 1 to 20 characters, at least one of them visible, and no control characters.",
        ),
        (
            "brandName",
            json!("x".repeat(21)),
            "brandName must have 1 to 20 characters, at least one of them visible, and no control characters.",
        ),
        (
            "brandName",
            json!("a\nb"),
            "brandName must have 1 to 20 characters, at least one of them visible, and no control characters.",
        ),
        (
            "source",
            json!("x".repeat(129)),
            "source must have at most 128 characters.",
        ),
        ("language", json!("e"), with::LANGUAGES),
        ("channel", json!("voice"), "channel must be one of sms."),
        (
            "referenceId",
            json!("a b"),
            "referenceId must have 1 to 48 characters of A-Z, a-z, 0-9, _ and -.",
        ),
        (
            "clientIp",
            json!("192.0.2"),
            "clientIp must be an IPv4 or IPv6 address.",
        ),
    ] {
        let answer = world
            .post(
                "/otp/send",
                &json!({ "destinationNumber": NUMBER, field: value }),
            )
            .await;
        answer.is_problem(400, "invalid_parameter");
        assert_eq!(
            (&answer.body["field"], &answer.body["detail"]),
            (&json!(field), &json!(says))
        );
    }
    assert_eq!(world.simulator.requests(Operation::Send).len(), 0);
}

#[tokio::test]
async fn lengths_are_counted_in_characters_and_the_limit_is_inclusive() {
    let world = World::new().await;
    let body = json!({ "destinationNumber": NUMBER, "brandName": "例".repeat(20), "source": "例".repeat(128) });
    let answer = world.post("/otp/send", &body).await;
    assert_eq!(answer.status, 202, "{answer:?}");
}

#[tokio::test]
async fn callers_cannot_set_what_the_operator_decides() {
    let world = World::new().await;
    for field in [
        "originationIdentity",
        "applicationId",
        "entityId",
        "templateId",
        "message",
    ] {
        let answer = world
            .post(
                "/otp/send",
                &json!({ "destinationNumber": NUMBER, field: "x" }),
            )
            .await;
        answer.is_problem(400, "malformed_request");
        let detail = answer.body["detail"].as_str().unwrap();
        assert!(
            detail.starts_with(&format!("The field `{field}` is not accepted here.")),
            "{detail}"
        );
    }
}

#[tokio::test]
async fn an_idempotency_key_is_rejected_without_a_ledger() {
    let world = World::new().await;
    let mut event = crate::world::file("send.http-v2");
    event["headers"]["Idempotency-Key"] = json!("a1");
    let answer = world.event(&event).await;
    answer.is_problem(400, "invalid_parameter");
    assert_eq!(answer.body["field"], "Idempotency-Key");
    assert_eq!(world.simulator.requests(Operation::Send).len(), 0);
}
