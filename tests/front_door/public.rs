//! `API_AUTH=none`: anyone may call.

use super::origins::DOORS;
use crate::world::{Answer, KEY, NUMBER, World, file, post};
use serde_json::{Value, json};
use simulator::Operation;

async fn public(settings: &[(&str, &str)]) -> World {
    World::counted(&[&[("API_AUTH", "none")], settings].concat()).await
}

/// An event of a caller that AWS has not authenticated.
fn anonymous(path: &str, body: &Value, address: &str) -> Value {
    let mut event = post(path, &body.to_string());
    event["requestContext"]
        .as_object_mut()
        .unwrap()
        .remove("authorizer");
    event["requestContext"]["http"]["sourceIp"] = json!(address);
    event
}

async fn ask(world: &World, path: &str, body: &Value) -> Answer {
    world.event(&anonymous(path, body, "192.0.2.1")).await
}

#[tokio::test]
async fn anyone_can_send_and_verify_under_a_reference_id_that_cannot_be_guessed() {
    let world = public(&[]).await;
    let sent = ask(
        &world,
        "/otp/send",
        &json!({ "destinationNumber": NUMBER, "language": "fr-FR", "channel": "sms" }),
    )
    .await;
    assert_eq!(sent.status, 202, "{sent:?}");
    let reference = sent.body["referenceId"].as_str().unwrap();
    assert!(
        reference.len() == 32
            && world.simulator.newest_to(NUMBER).unwrap().reference_id == reference
    );
    let otp = world.newest_code();
    ask(
        &world,
        "/otp/verify",
        &json!({ "destinationNumber": NUMBER, "otp": otp }),
    )
    .await
    .is_problem(400, "invalid_parameter");
    let body = json!({ "destinationNumber": NUMBER, "otp": otp, "referenceId": reference });
    assert_eq!(ask(&world, "/otp/verify", &body).await.status, 200);
}

#[tokio::test]
async fn unauthenticated_callers_cannot_set_trusted_fields() {
    let world = public(&[]).await;
    for (path, field, value) in [
        ("/otp/send", "brandName", json!("Mine")),
        ("/otp/send", "source", json!("x")),
        ("/otp/send", "codeLength", json!(5)),
        ("/otp/send", "validityPeriod", json!(60)),
        ("/otp/send", "allowedAttempts", json!(5)),
        ("/otp/send", "referenceId", json!("mine")),
        ("/otp/send", "clientIp", json!("192.0.2.9")),
        ("/otp/verify", "brandName", json!("Mine")),
        ("/otp/verify", "source", json!("x")),
        ("/otp/verify", "clientIp", json!("192.0.2.9")),
    ] {
        let answer = ask(
            &world,
            path,
            &json!({ "destinationNumber": NUMBER, field: value }),
        )
        .await;
        answer.is_problem(400, "malformed_request");
        assert!(
            answer.body["detail"].as_str().unwrap().contains(field),
            "{answer:?}"
        );
    }
    assert_eq!(world.simulator.requests(Operation::Send).len(), 0);
}

#[tokio::test]
async fn only_an_authenticated_backend_can_redeem_what_a_browser_verified() {
    let world = public(&[]).await;
    let sent = ask(&world, "/otp/send", &json!({ "destinationNumber": NUMBER })).await;
    let reference = sent.body["referenceId"].clone();
    let body = json!({ "destinationNumber": NUMBER, "otp": world.newest_code(), "referenceId": reference });
    assert_eq!(ask(&world, "/otp/verify", &body).await.status, 200);
    let claim = json!({ "destinationNumber": NUMBER, "referenceId": reference, "claim": true });
    ask(&world, "/otp/status", &claim)
        .await
        .is_problem(403, "unauthenticated");
    assert_eq!(world.post("/otp/status", &claim).await.status, 200);
    world
        .post("/otp/status", &claim)
        .await
        .is_problem(409, "already_verified");
}

#[tokio::test]
async fn status_and_cancel_need_a_principal_behind_a_function_url() {
    status_and_cancel_need_a_principal("function-url").await;
}

#[tokio::test]
async fn status_and_cancel_need_a_principal_behind_a_load_balancer() {
    status_and_cancel_need_a_principal("alb").await;
}

#[tokio::test]
async fn status_and_cancel_need_a_principal_behind_a_rest_api() {
    status_and_cancel_need_a_principal("rest-v1").await;
}

#[tokio::test]
async fn status_and_cancel_need_a_principal_behind_an_http_api() {
    status_and_cancel_need_a_principal("http-v2").await;
}

async fn status_and_cancel_need_a_principal(door: &str) {
    let mut world = public(&[]).await;
    let number = json!({ "destinationNumber": NUMBER });
    let sent = world
        .event(&unsigned(door, "send", &number, "192.0.2.1"))
        .await;
    let named = json!({ "destinationNumber": NUMBER, "referenceId": sent.body["referenceId"] });
    let claim = json!({ "destinationNumber": NUMBER, "referenceId": sent.body["referenceId"], "claim": true });
    let requests = [
        ("status", &named),
        ("cancel", &named),
        ("status", &claim),
        ("cancel", &json!({ "brandName": "Mine" })),
    ];
    for (operation, body) in requests {
        let answer = world
            .event(&unsigned(door, operation, body, "192.0.2.1"))
            .await;
        answer.is_problem(403, "unauthenticated");
    }
    let status = world.post("/otp/status", &named).await;
    assert_eq!(
        (status.status, &status.body["status"]),
        (200, &json!("pending")),
        "nothing was canceled"
    );

    // The controls: a signed request, and the same event when something in front authenticates.
    if door != "alb" {
        let mut signed = file(&format!("status.{door}"));
        signed["body"] = json!(named.to_string());
        assert_eq!(world.event(&signed).await.status, 200);
    }
    world
        .reconfigure(&[
            ("API_AUTH", "trusted"),
            ("LEDGER_TABLE", "otp"),
            ("LEDGER_KEY", KEY),
        ])
        .await;
    for operation in ["status", "cancel"] {
        let answer = world
            .event(&unsigned(door, operation, &named, "192.0.2.1"))
            .await;
        assert_eq!(answer.status, 200, "{operation}: {answer:?}");
    }
}

/// The event of a caller at `address` that AWS has not authenticated, as `door` writes it.
fn unsigned(door: &str, operation: &str, body: &Value, address: &str) -> Value {
    let mut event = file(&format!("{operation}.{door}"));
    event["body"] = json!(body.to_string());
    event["isBase64Encoded"] = json!(false);
    let context = &mut event["requestContext"];
    context.as_object_mut().unwrap().remove("authorizer");
    match door {
        "rest-v1" => context["identity"] = json!({ "sourceIp": address }),
        "alb" => {}
        _ => context["http"]["sourceIp"] = json!(address),
    }
    // A client may write anything in front; the load balancer appends.
    let forwarded = if door == "alb" {
        format!("203.0.113.9, {address}")
    } else {
        "203.0.113.9".to_owned()
    };
    let name = if event.get("multiValueHeaders").is_some() {
        "multiValueHeaders"
    } else {
        "headers"
    };
    let values = if name == "headers" {
        json!(forwarded)
    } else {
        json!([forwarded])
    };
    event[name]["x-forwarded-for"] = values;
    event
}

#[tokio::test]
async fn every_origin_gives_the_address_where_clients_cannot_write_it() {
    for door in DOORS {
        let world = public(&[("SOURCE_LIMITS", "1/24h")]).await;
        let send = async |address: &str, number: &str| {
            let body = json!({ "destinationNumber": number });
            world.event(&unsigned(door, "send", &body, address)).await
        };
        assert_eq!(
            send("192.0.2.1", "+14255550142").await.status,
            202,
            "{door}"
        );
        let answer = send("192.0.2.1", "+14255550143").await;
        answer.is_problem(429, "rate_limited");
        assert_eq!(answer.body["limit"], "source", "{door}");
        assert_eq!(
            send("192.0.2.2", "+14255550143").await.status,
            202,
            "{door}"
        );
        // Without an address the request is rejected.
        send("unknown", "+14255550144")
            .await
            .is_problem(400, "malformed_request");
    }
}

#[tokio::test]
async fn guesses_are_limited_by_address_too() {
    let world = public(&[("SOURCE_LIMITS", "2/24h")]).await;
    let body = json!({ "destinationNumber": NUMBER, "otp": "012345", "referenceId": "0123456789abcdef0123456789abcdef" });
    for _ in 0..2 {
        ask(&world, "/otp/verify", &body)
            .await
            .is_problem(404, "verification_not_found");
    }
    let answer = ask(&world, "/otp/verify", &body).await;
    answer.is_problem(429, "rate_limited");
    assert_eq!(answer.body["valid"], json!(false));
}

/// An event of a caller that AWS has not authenticated, with an `Idempotency-Key`.
fn with_key(path: &str, body: &Value, address: &str, key: &str) -> Value {
    let mut event = anonymous(path, body, address);
    event["headers"]["idempotency-key"] = json!(key);
    event
}

#[tokio::test]
async fn an_unauthenticated_idempotency_key_counts_for_one_address_and_number() {
    let world = public(&[]).await;
    let send = async |address: &str, number: &str| {
        let body = json!({ "destinationNumber": number });
        let event = with_key("/otp/send", &body, address, "a-key-of-16-char");
        world.event(&event).await
    };
    let first = send("192.0.2.1", NUMBER).await;
    assert_eq!(send("192.0.2.1", NUMBER).await.body, first.body);
    assert_eq!(send("192.0.2.1", "+14255550143").await.status, 202);
    // Another caller with the same key and number does not get the first caller's response.
    send("192.0.2.2", NUMBER)
        .await
        .is_problem(429, "rate_limited");
    assert_eq!(world.simulator.inbox().len(), 2);
}

/// Keys that many callers choose, and keys that cannot be read.
const IGNORED_KEYS: [&str; 5] = ["1", "fifteen-letters", "", "two words", "ключ-с-буквами-и"];

#[tokio::test]
async fn a_stranger_behind_the_same_address_gets_nothing_for_a_short_key() {
    for key in IGNORED_KEYS {
        let world = public(&[]).await;
        let body = json!({ "destinationNumber": NUMBER });
        let send = async || {
            let event = with_key("/otp/send", &body, "192.0.2.1", key);
            world.event(&event).await
        };
        let owner = send().await;
        assert_eq!(owner.status, 202, "{key}: {owner:?}");
        assert_eq!(owner.headers["idempotency-key-used"], "false", "{key}");
        let stranger = send().await;
        stranger.is_problem(429, "rate_limited");
        assert_eq!(stranger.headers["idempotency-key-used"], "false", "{key}");
        assert_eq!(world.ledger.idempotency_keys().len(), 0, "{key}");

        // The same right guess is one success: without a key it cannot be repeated.
        let guess = json!({
            "destinationNumber": NUMBER, "otp": world.newest_code(), "referenceId": owner.body["referenceId"],
        });
        for status in [200, 409] {
            let event = with_key("/otp/verify", &guess, "192.0.2.1", key);
            let answer = world.event(&event).await;
            assert_eq!(answer.status, status, "{key}: {answer:?}");
            assert_eq!(answer.headers["idempotency-key-used"], "false", "{key}");
        }
    }
}

#[tokio::test]
async fn a_key_that_is_used_or_absent_is_not_mentioned() {
    let world = public(&[]).await;
    let body = json!({ "destinationNumber": NUMBER });
    let long = with_key("/otp/send", &body, "192.0.2.1", "0123456789abcdef");
    let first = world.event(&long).await;
    assert_eq!(world.event(&long).await.body, first.body);
    let without = ask(
        &world,
        "/otp/send",
        &json!({ "destinationNumber": "+14255550143" }),
    )
    .await;
    // AWS vouches for this caller, whose keys belong to it alone.
    let mut signed = post(
        "/otp/send",
        &json!({ "destinationNumber": "+14255550144" }).to_string(),
    );
    signed["headers"]["idempotency-key"] = json!("1");
    let signed_first = world.event(&signed).await;
    assert_eq!(world.event(&signed).await.body, signed_first.body);
    for answer in [first, without, signed_first] {
        assert_eq!(answer.status, 202, "{answer:?}");
        assert!(!answer.headers.contains_key("idempotency-key-used"));
    }
    signed["headers"]["idempotency-key"] = json!("ключ");
    world
        .event(&signed)
        .await
        .is_problem(400, "invalid_parameter");
}
