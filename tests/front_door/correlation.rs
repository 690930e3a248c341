//! One request found again: by its caller's ID, and by its trace.

use super::origins::DOORS;
use crate::world::{Answer, NUMBER, World, file, post};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use otp_lambda::phone::PhoneNumber;
use otp_lambda::reference::ReferenceId;
use serde_json::{Value, json};
use simulator::{Failure, Operation};

const UUID: &str = "3f2504e0-4f89-41d3-9a0c-0305e82c3301";
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const HEADER: &str = "x-request-id";

fn with_header(mut event: Value, name: &str, value: &str) -> Value {
    event["headers"][name] = json!(value);
    // A REST API repeats the headers here.
    if let Some(all) = event.get_mut("multiValueHeaders") {
        all[name] = json!([value]);
    }
    event
}

fn traceparent() -> String {
    format!("00-{TRACE}-00f067aa0ba902b7-01")
}

fn found(world: &World, answer: &Answer) -> Option<String> {
    let line = world.last_line();
    let logged = line["correlationId"].as_str().map(str::to_owned);
    let returned = answer.headers.get(HEADER).cloned();
    assert_eq!(logged, returned, "{line} {answer:?}");
    logged
}

#[tokio::test]
async fn the_id_of_a_caller_is_logged_and_returned_at_every_origin() {
    for door in DOORS {
        let world = World::counted(&[("API_AUTH", "trusted")]).await;
        for operation in ["send", "verify", "status", "cancel"] {
            for name in ["X-Request-Id", HEADER] {
                let event = with_header(file(&format!("{operation}.{door}")), name, UUID);
                let answer = world.event(&event).await;
                let id = found(&world, &answer);
                assert_eq!(id.as_deref(), Some(UUID), "{operation} at {door}");
            }
        }
        // An emulator writes a field in another way than AWS.
        let mut odd = with_header(file(&format!("send.{door}")), "X-Request-Id", UUID);
        odd["requestContext"]["identity"] = json!("none");
        odd["requestContext"]["timeEpoch"] = json!("none");
        odd["queryStringParameters"] = json!("none");
        let answer = world.event(&odd).await;
        assert_eq!(found(&world, &answer).as_deref(), Some(UUID), "{door}");
        // The control.
        let answer = world.event(&file(&format!("send.{door}"))).await;
        assert_eq!(found(&world, &answer), None, "{door}");
    }
}

#[tokio::test]
async fn every_error_has_the_id() {
    let world = World::counted(&[("SEND_LIMITS", "3/24h")]).await;
    let number = json!({ "destinationNumber": NUMBER }).to_string();
    let send = || post("/otp/send", &number);
    let no_json = {
        let mut event = send();
        event["headers"]["content-type"] = json!("text/plain");
        event
    };
    let no_caller = {
        let mut event = send();
        event["requestContext"]["authorizer"] = json!(null);
        event
    };
    let get = {
        let mut event = send();
        event["requestContext"]["http"]["method"] = json!("GET");
        event
    };
    for (event, failure, status) in [
        (post("/otp/nothing", "{}"), None, 404),
        (get, None, 405),
        (no_json, None, 415),
        (no_caller, None, 403),
        (post("/otp/send", "{"), None, 400),
        (post("/otp/send", "{}"), None, 400),
        (post("/otp/send", &" ".repeat(5000)), None, 413),
        (send(), Some(crate::with::HINTS[0].0.clone()), 500),
        (send(), Some(Failure::CloseAfterReading), 503),
        (send(), None, 202),
        (send(), None, 429),
    ] {
        if let Some(failure) = failure {
            world.simulator.fail_next(Operation::Send, failure);
        }
        let answer = world.event(&with_header(event, HEADER, UUID)).await;
        assert_eq!(answer.status, status, "{answer:?}");
        assert_eq!(found(&world, &answer).as_deref(), Some(UUID), "{status}");
    }
}

#[tokio::test]
async fn without_an_id_the_trace_of_the_caller_is_taken() {
    let world = World::new().await;
    let event = || with_header(file("send.http-v2"), "traceparent", &traceparent());
    for (event, expected) in [
        (event(), TRACE),
        (with_header(event(), HEADER, "req-42"), "req-42"),
        (with_header(event(), HEADER, "not usable"), TRACE),
    ] {
        let answer = world.event(&event).await;
        assert_eq!(found(&world, &answer).as_deref(), Some(expected));
    }
    let bad = with_header(
        file("send.http-v2"),
        "traceparent",
        &traceparent().to_uppercase(),
    );
    let answer = world.event(&bad).await;
    assert_eq!(found(&world, &answer), None);
}

#[tokio::test]
async fn an_id_that_the_log_must_not_have_is_ignored() {
    let world = World::new().await;
    for id in [
        "",
        " ",
        "a b",
        "a\"b",
        "a\\n\",\"outcome\":\"ok",
        "{\"_aws\":{}}",
        "ü",
        &"x".repeat(65),
        NUMBER,
        NUMBER.trim_start_matches('+'),
        "4255550142",
        "signup-881027",
        "192.0.2.10",
        "jane@example.com",
    ] {
        let answer = world
            .event(&with_header(file("send.http-v2"), HEADER, id))
            .await;
        assert_eq!((answer.status, found(&world, &answer)), (202, None), "{id}");
    }
    // Two IDs are none.
    let mut event = file("send.rest-v1");
    event["multiValueHeaders"][HEADER] = json!([UUID, "req-42"]);
    let answer = world.event(&event).await;
    assert_eq!((answer.status, found(&world, &answer)), (202, None));
    event["multiValueHeaders"][HEADER] = json!([UUID]);
    let answer = world.event(&event).await;
    assert_eq!(found(&world, &answer).as_deref(), Some(UUID));
}

/// Forms of random IDs that hide something of the request. Each has a control beside it: a similar ID of the same request.
#[tokio::test]
async fn an_id_with_a_part_of_its_own_request_is_ignored() {
    let world = World::counted(&[("REFERENCE_ID", "derived"), ("DEVICE_TOKEN_DAYS", "30")]).await;
    let to = PhoneNumber::parse(NUMBER).unwrap();
    let derived = ReferenceId::derived("ExampleCorp", "otp", &to);
    let derived = derived.expose();
    let others = ReferenceId::derived("OtherCorp", "otp", &to);
    let others = others.expose();
    let capitals = derived.to_uppercase();
    let capitals = capitals.as_str();
    let number = || json!({ "destinationNumber": NUMBER });
    let with = |name: &str, value: &str| {
        let mut body = number();
        body[name] = json!(value);
        body
    };
    for (path, body, ignored, kept) in [
        (
            "send",
            number(),
            "aaaaaaaa-aaaa-aaaa-aaaa-a14255550142",
            "aaaaaaaa-aaaa-aaaa-aaaa-a1425555a142",
        ),
        (
            "send",
            number(),
            "aaaaaaaaaaaaaaaaaaaaaa4255550142",
            "aaaaaaaaaaaaaaaaaaaaaa42555a0142",
        ),
        (
            "verify",
            number(),
            "aaaaaaaa-aaaa-aa55-0142-aaaaaaaaaaaa",
            "aaaaaaaa-aaaa-aa55-0143-aaaaaaaaaaaa",
        ),
        ("send", number(), derived, others),
        ("verify", with("otp", "112233"), derived, others),
        ("status", number(), capitals, others),
        ("cancel", number(), derived, others),
        (
            "status",
            with("referenceId", "order-abcdef"),
            "order-abcdef-1",
            "order-abcdeg-1",
        ),
        (
            "verify",
            with("otp", "881 027"),
            "aaaaaaaa-aaaa-aaaa-aaaa-aaaaaa881027",
            "aaaaaaaa-aaaa-aaaa-aaaa-aaaaa8810a27",
        ),
        (
            "verify",
            with("otp", "qzxwvk"),
            "login-QZXWVK",
            "login-QZXWV",
        ),
        (
            "verify",
            with("deviceToken", "vV9cRz3cO0nYj1xCz0iB3w"),
            "vV9cRz3cO0nYj1xCz0iB3w",
            "vV9cRz3cO0nYj1xCz0iB3x",
        ),
        // A text of three characters is in many IDs.
        (
            "verify",
            with("otp", "aaa"),
            "14255550142",
            "aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaaa",
        ),
    ] {
        let event = || post(&format!("/otp/{path}"), &body.to_string());
        for (id, expected) in [(ignored, None), (kept, Some(kept.to_owned()))] {
            let answer = world.event(&with_header(event(), HEADER, id)).await;
            assert_eq!(found(&world, &answer), expected, "{path} {id}");
        }
    }
    // The same for a request that is refused before its body counts, and for a body in base64.
    let mut refused = post("/otp/nothing", &number().to_string());
    for is_encoded in [false, true] {
        if is_encoded {
            refused["body"] = json!(STANDARD.encode(number().to_string()));
            refused["isBase64Encoded"] = json!(true);
        }
        for (id, expected) in [(derived, None), (others, Some(others))] {
            let answer = world.event(&with_header(refused.clone(), HEADER, id)).await;
            assert_eq!(answer.status, 404);
            assert_eq!(found(&world, &answer).as_deref(), expected, "{id}");
        }
    }
    let keyed = |key: &str| {
        let event = with_header(file("send.http-v2"), HEADER, UUID);
        with_header(event, "idempotency-key", key)
    };
    for (key, expected) in [(UUID, None), ("another key of the request", Some(UUID))] {
        let answer = world.event(&keyed(key)).await;
        assert_eq!(found(&world, &answer).as_deref(), expected);
    }
}

#[tokio::test]
async fn a_line_names_the_trace_that_xray_keeps() {
    const ROOT: &str = "1-5759e988-bd862e3fe1be46a99427a793";
    let settings = [("REFERENCE_ID", "random"), ("COGNITO_FLOOR_MS", "0")];
    let mut world = World::counted(&settings).await;
    let events = [
        file("send.http-v2"),
        file("cognito.define"),
        json!({ "operation": "settings" }),
    ];
    for (sampled, is_kept) in [("1", true), ("0", false)] {
        world.trace = Some(format!(
            "Root={ROOT};Parent=53995c3f42cd8ad8;Sampled={sampled}"
        ));
        for event in &events {
            world.raw(&event.to_string()).await.unwrap();
            let line = world.last_line();
            assert_eq!(
                line.get("traceId"),
                is_kept.then(|| json!(ROOT)).as_ref(),
                "{line}"
            );
        }
    }
    // A caller may have chosen the ID of its trace.
    let mut hidden = ROOT.to_owned();
    hidden.replace_range(24.., NUMBER.trim_start_matches('+'));
    world.trace = Some(format!("Root={hidden};Sampled=1"));
    world.event(&file("send.http-v2")).await;
    assert_eq!(world.last_line().get("traceId"), None);
    world.trace = None;
    world.event(&file("send.http-v2")).await;
    assert_eq!(world.last_line().get("traceId"), None);
}
