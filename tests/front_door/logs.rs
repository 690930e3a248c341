//! One log line per invocation, without codes or full numbers.

use crate::world::{NUMBER, World, post};
use serde_json::{Value, json};
use std::time::Duration;

#[tokio::test]
async fn each_request_writes_one_json_line_with_time_and_level() {
    let world = World::new().await;
    let otp = world.code_on_the_phone().await;
    world
        .post(
            "/otp/verify",
            &json!({ "destinationNumber": NUMBER, "otp": otp }),
        )
        .await;
    world
        .post(
            "/otp/send",
            &json!({ "destinationNumber": "+819012345678" }),
        )
        .await;

    let text = world.log.text();
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 3, "{text}");
    let line = |index: usize| lines.get(index).unwrap();
    for line in &lines {
        let time = line["timestamp"].as_str().unwrap();
        assert!(
            time.len() >= 20 && time.ends_with('Z') && time.as_bytes()[10] == b'T',
            "{time}"
        );
        assert_eq!(
            (&line["level"], &line["origin"]),
            (&json!("INFO"), &json!("http-v2"))
        );
        assert_eq!(line["requestId"], "8f507cfc-xmpl-4697-b07a-ac58fc914c95");
        assert!(line["durationMs"].as_f64().unwrap() > 0.0);
    }
    for (index, operation, outcome, status, country) in [
        (0, "send", "ok", 202, "US"),
        (1, "verify", "ok", 200, "US"),
        (2, "send", "country_not_allowed", 403, "JP"),
    ] {
        let line = line(index);
        assert_eq!(
            (
                &line["operation"],
                &line["outcome"],
                &line["status"],
                &line["country"]
            ),
            (
                &json!(operation),
                &json!(outcome),
                &json!(status),
                &json!(country)
            )
        );
        assert_eq!(line["coldStart"], json!(index == 0));
    }
    for index in [0, 1] {
        let line = line(index);
        assert_eq!(line["provider"], crate::with::NAME);
        assert!(line["providerMs"].as_f64().unwrap() > 0.0);
        assert!(
            line["providerRequestId"]
                .as_str()
                .is_some_and(|id| !id.is_empty())
        );
    }
    assert_eq!(
        line(2).get("provider"),
        None,
        "a refused request has no provider"
    );
}

#[tokio::test]
async fn parts_of_the_number_in_provider_errors_are_not_logged() {
    let world = World::new().await;
    let (failure, words) = crate::with::REPEATS_THE_NUMBER;
    world
        .simulator
        .fail_next(simulator::Operation::Send, failure);
    let answer = world
        .post("/otp/send", &json!({ "destinationNumber": NUMBER }))
        .await;
    answer.is_problem(422, "opted_out");
    let cause = world.last_line()["cause"].as_str().unwrap().to_owned();
    assert!(
        cause.contains(words) && cause.contains("opted out"),
        "{cause}"
    );
    assert!(!cause.contains("425"), "not even a part of it: {cause}");
}

#[tokio::test]
async fn numbers_and_codes_in_the_wrong_fields_are_not_repeated() {
    let world = World::new().await;
    for body in [
        json!({ NUMBER: NUMBER }),
        json!({ "destinationNumber": NUMBER, "language": NUMBER }),
        json!({ "destinationNumber": NUMBER, "channel": NUMBER }),
        json!({ "destinationNumber": NUMBER, "referenceId": NUMBER }),
        json!({ "destinationNumber": NUMBER, "clientIp": NUMBER }),
        json!({ "destinationNumber": format!("{NUMBER}{NUMBER}") }),
        json!({ "destinationNumber": [NUMBER] }),
    ] {
        let answer = world.post("/otp/send", &body).await;
        assert!((400..500).contains(&answer.status));
    }
    world
        .event(&post(&format!("/otp/{NUMBER}"), "{}"))
        .await
        .is_problem(404, "route_not_found");
    // `World` searches its responses and its log for the number.
    assert!(!world.log.text().is_empty());
}

/// The negative control of the leak check.
#[tokio::test]
async fn the_leak_check_finds_a_logged_sdk_request() {
    use aws_sdk_pinpoint::types::VerifyOtpMessageRequestParameters;
    let outcome = tokio::spawn(async {
        let world = World::new().await;
        let otp = world.code_on_the_phone().await;
        let request = VerifyOtpMessageRequestParameters::builder()
            .destination_identity("x")
            .reference_id("a")
            .otp(otp)
            .build();
        tracing::trace!(target: "otp_lambda", "{request:?}");
    })
    .await;
    let panic = outcome.unwrap_err().into_panic();
    assert!(
        panic
            .downcast_ref::<String>()
            .is_some_and(|text| text.contains("the log holds"))
    );
}

/// Without the filter, the SDK would print whole requests at this level.
#[tokio::test]
async fn lines_of_the_sdk_are_not_written_at_any_level() {
    let world = World::new().await;
    world.code_on_the_phone().await;
    for line in world.log.text().lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        assert!(
            line["target"].as_str().unwrap().starts_with("otp_lambda"),
            "{line}"
        );
    }

    let everything = crate::world::Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(everything.clone())
        .finish();
    let guard = tracing::subscriber::set_default(subscriber);
    tokio::time::sleep(Duration::ZERO).await;
    world.code_on_the_phone().await;
    drop(guard);
    let found = everything.text().contains(NUMBER);
    assert_eq!(
        found,
        crate::with::SDK_TELLS,
        "without the filter the number is in the log"
    );
}
