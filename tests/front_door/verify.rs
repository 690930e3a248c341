//! `POST /otp/verify`.

use crate::world::{NUMBER, World};
use serde_json::json;
use simulator::Operation;
use std::time::Duration;

#[tokio::test]
async fn only_the_right_code_gets_200() {
    let world = World::new().await;
    let code = world.code_on_the_phone().await;
    let wrong = if code == "000000" { "000001" } else { "000000" };

    let answer = world
        .post(
            "/otp/verify",
            &json!({ "destinationNumber": NUMBER, "otp": wrong }),
        )
        .await;
    answer.is_problem(422, "invalid_code");
    assert_eq!(answer.body["valid"], json!(false));

    let answer = world
        .post(
            "/otp/verify",
            &json!({ "destinationNumber": NUMBER, "otp": code }),
        )
        .await;
    assert_eq!(answer.status, 200);
    let reference = world.simulator.newest_to(NUMBER).unwrap().reference_id;
    assert_eq!(
        answer.body,
        json!({ "valid": true, "referenceId": reference, "status": "verified" })
    );
}

#[tokio::test]
async fn the_provider_is_asked_with_exactly_these_three_fields() {
    let world = World::new().await;
    let body = json!({ "destinationNumber": "+1 425-555-0142", "otp": "012345", "brandName": "ExampleCorp", "source": "CreateAccount" });
    world.post("/otp/verify", &body).await;
    let requests = world.simulator.requests(Operation::Verify);
    assert_eq!(
        crate::with::asked_to_verify(&requests.last().unwrap().body),
        json!({ "to": NUMBER, "reference": "46bb87b047dd9f34b9cbe4011325b15b", "otp": "012345" })
    );
}

#[tokio::test]
async fn a_code_verifies_only_the_number_it_was_sent_to() {
    let world = World::new().await;
    let code = world.code_on_the_phone().await;
    let answer = world
        .post(
            "/otp/verify",
            &json!({ "destinationNumber": "+14255550143", "otp": code }),
        )
        .await;
    answer.is_problem(422, "invalid_code");
}

#[tokio::test]
async fn a_code_verifies_only_the_purpose_it_was_sent_for() {
    let world = World::new().await;
    let code = world.code_on_the_phone().await;
    for other in [
        json!({ "source": "Login" }),
        json!({ "brandName": "Other" }),
        json!({ "referenceId": "other" }),
    ] {
        let mut body = json!({ "destinationNumber": NUMBER, "otp": code });
        body.as_object_mut()
            .unwrap()
            .extend(other.as_object().unwrap().clone());
        world
            .post("/otp/verify", &body)
            .await
            .is_problem(422, "invalid_code");
    }
    let answer = world
        .post(
            "/otp/verify",
            &json!({ "destinationNumber": NUMBER, "otp": code, "source": "otp" }),
        )
        .await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn a_code_is_rejected_once_expired_exhausted_or_used() {
    let world = World::new().await;
    let guess = async |otp: &str| {
        let answer = world
            .post(
                "/otp/verify",
                &json!({ "destinationNumber": NUMBER, "otp": otp }),
            )
            .await;
        (answer.status, answer.code().to_owned())
    };
    let refused = (422, "invalid_code".to_owned());

    let code = world.code_on_the_phone().await;
    world.simulator.advance(Duration::from_mins(10));
    assert_eq!(guess(&code).await, refused, "expired");

    let code = world.code_on_the_phone().await;
    let wrong = if code == "000000" { "000001" } else { "000000" };
    for _ in 0..3 {
        assert_eq!(guess(wrong).await, refused);
    }
    assert_eq!(guess(&code).await, refused, "used up");

    let code = world.code_on_the_phone().await;
    assert_eq!(guess(&code).await.0, 200);
    assert_eq!(guess(&code).await, refused, "used");
}

#[tokio::test]
async fn verifying_needs_the_reference_id_when_it_is_random() {
    let world = World::with(&[("REFERENCE_ID", "random")]).await;
    let sent = world
        .post("/otp/send", &json!({ "destinationNumber": NUMBER }))
        .await;
    let reference = sent.body["referenceId"].clone();
    let otp = world.newest_code();

    let answer = world
        .post(
            "/otp/verify",
            &json!({ "destinationNumber": NUMBER, "otp": otp }),
        )
        .await;
    answer.is_problem(400, "invalid_parameter");
    assert_eq!(
        (&answer.body["field"], &answer.body["valid"]),
        (&json!("referenceId"), &json!(false))
    );
    let answer = world
        .post(
            "/otp/verify",
            &json!({ "destinationNumber": NUMBER, "otp": otp, "referenceId": reference }),
        )
        .await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn a_reference_id_together_with_a_source_is_rejected() {
    let world = World::new().await;
    let body = json!({ "destinationNumber": NUMBER, "otp": "012345", "referenceId": "a", "source": "Login" });
    let answer = world.post("/otp/verify", &body).await;
    answer.is_problem(400, "invalid_parameter");
    assert_eq!(answer.body["field"], "referenceId");
}

#[tokio::test]
async fn an_otp_of_the_wrong_form_is_400_and_costs_no_attempt() {
    let world = World::new().await;
    for otp in [
        json!("1".repeat(usize::from(crate::with::LEAST.0) - 1)),
        json!("123456789"),
        json!("12345a"),
        json!("1234567 89"),
        json!("①②③④⑤⑥"),
        json!(123_456),
        json!(null),
    ] {
        let answer = world
            .post(
                "/otp/verify",
                &json!({ "destinationNumber": NUMBER, "otp": otp }),
            )
            .await;
        answer.is_problem(400, "invalid_parameter");
        assert_eq!(
            (&answer.body["field"], &answer.body["valid"]),
            (&json!("otp"), &json!(false))
        );
    }
    let answer = world
        .post("/otp/verify", &json!({ "destinationNumber": NUMBER }))
        .await;
    assert_eq!(answer.body["detail"], "otp is missing.");
    assert_eq!(world.simulator.requests(Operation::Verify).len(), 0);
}

#[tokio::test]
async fn every_problem_of_a_verify_says_valid_false() {
    let world = World::new().await;
    for body in [
        json!({}),
        json!([]),
        json!({ "destinationNumber": "x" }),
        json!({ "destinationNumber": "+33612345678", "otp": "012345" }),
    ] {
        let answer = world.post("/otp/verify", &body).await;
        assert!(answer.status >= 400);
        assert_eq!(answer.body["valid"], json!(false), "{body}");
    }
    let mut event = crate::world::file("verify.http-v2");
    event["requestContext"]["authorizer"] = json!(null);
    let answer = world.event(&event).await;
    answer.is_problem(403, "unauthenticated");
    assert_eq!(answer.body["valid"], json!(false));
}
