//! Sign-ups that a verification of their number confirms.

use crate::pool::{Next, OTHER, SignIn, user, world};
use crate::world::{NUMBER, World, file};
use serde_json::{Value, json};
use std::time::Duration;

/// Verifies the number over HTTP, and returns the reference ID.
async fn verified(world: &World) -> Value {
    let sent = world
        .post("/otp/send", &json!({ "destinationNumber": NUMBER }))
        .await;
    let reference = sent.body["referenceId"].clone();
    let body = json!({ "destinationNumber": NUMBER, "otp": world.newest_code(), "referenceId": reference });
    assert_eq!(world.post("/otp/verify", &body).await.status, 200);
    reference
}

#[tokio::test]
async fn a_sign_up_is_confirmed_by_a_verification_of_its_number() {
    for reference_ids in ["derived", "random"] {
        let world = world(&[
            ("COGNITO_PRE_SIGN_UP", "on"),
            ("REFERENCE_ID", reference_ids),
        ])
        .await;
        let sent = world
            .post("/otp/send", &json!({ "destinationNumber": NUMBER }))
            .await;
        let reference = sent.body["referenceId"].clone();
        let sign_up = |number: &str, reference: &Value| {
            let request = json!({ "userAttributes": { "phone_number": number }, "validationData": { "referenceId": reference } });
            let mut event = file("cognito.pre-sign-up");
            event["request"] = request;
            event["userName"] = json!(number);
            event
        };
        let confirmed = async |event: &Value| match world.raw(&event.to_string()).await {
            Ok(answer) => {
                let yes = json!({ "autoConfirmUser": true, "autoVerifyPhone": true, "autoVerifyEmail": false });
                assert_eq!(answer["response"], yes);
                true
            }
            // An unconfirmed user would keep the user name, so the sign-up is refused.
            Err(refused) => {
                assert_eq!(refused.kind, "SignUpRefused");
                assert!(
                    refused.message.contains("validationData.referenceId"),
                    "{refused}"
                );
                assert!(!refused.message.contains("4255550142"), "{refused}");
                false
            }
        };
        let event = sign_up(NUMBER, &reference);
        assert!(!confirmed(&event).await, "not verified yet");
        let body = json!({ "destinationNumber": NUMBER, "otp": world.newest_code(), "referenceId": reference });
        assert_eq!(world.post("/otp/verify", &body).await.status, 200);
        assert!(
            !confirmed(&sign_up(OTHER, &reference)).await,
            "another number"
        );
        for wrong in [
            json!("another"),
            json!(""),
            json!(null),
            json!(7),
            json!("ü"),
            json!("x".repeat(100)),
        ] {
            assert!(!confirmed(&sign_up(NUMBER, &wrong)).await, "{wrong}");
        }
        for _ in 0..3 {
            assert!(confirmed(&event).await, "and again when Cognito asks again");
        }
        let mut somebody_else = event.clone();
        somebody_else["userName"] = json!("somebody-else");
        assert!(
            !confirmed(&somebody_else).await,
            "a verification confirms one user only"
        );
    }
}

#[tokio::test]
async fn a_sign_up_that_failed_elsewhere_can_present_its_verification_again() {
    let world = world(&[("COGNITO_PRE_SIGN_UP", "on"), ("REFERENCE_ID", "random")]).await;
    let reference = verified(&world).await;
    // A pool whose users sign up by number makes up another user name for each try.
    for (name, is_confirmed) in [
        ("7c9e6679-7425-40de-944b-e07fc1f90ae7", true),
        ("11111111-2222-3333-4444-555555555555", true),
        ("a-name-of-the-users-own", false),
    ] {
        let mut event = file("cognito.pre-sign-up");
        event["userName"] = json!(name);
        event["request"]["userAttributes"]["phone_number"] = json!(NUMBER);
        event["request"]["validationData"]["referenceId"] = reference.clone();
        assert_eq!(
            world.raw(&event.to_string()).await.is_ok(),
            is_confirmed,
            "{name}"
        );
    }
}

#[tokio::test]
async fn a_verification_confirms_a_sign_up_within_ten_minutes() {
    let world = world(&[("COGNITO_PRE_SIGN_UP", "on"), ("REFERENCE_ID", "random")]).await;
    let reference = verified(&world).await;
    world.advance(Duration::from_mins(10));
    let mut event = file("cognito.pre-sign-up");
    event["request"]["userAttributes"]["phone_number"] = json!(NUMBER);
    event["request"]["validationData"]["referenceId"] = reference;
    assert_eq!(
        world.raw(&event.to_string()).await.unwrap_err().kind,
        "SignUpRefused"
    );
    let line = world.last_line();
    assert_eq!(
        (&line["operation"], &line["level"]),
        (&json!("pre-sign-up"), &json!("INFO")),
        "{line}"
    );
}

#[tokio::test]
async fn sign_ups_by_administrators_and_identity_providers_are_not_confirmed() {
    let world = world(&[("COGNITO_PRE_SIGN_UP", "on")]).await;
    for trigger in ["PreSignUp_AdminCreateUser", "PreSignUp_ExternalProvider"] {
        let mut event = file("cognito.pre-sign-up");
        event["triggerSource"] = json!(trigger);
        let no =
            json!({ "autoConfirmUser": false, "autoVerifyPhone": false, "autoVerifyEmail": false });
        assert_eq!(world.trigger(&event).await, no, "{trigger}");
    }
}

#[tokio::test]
async fn the_code_of_a_sign_in_does_not_confirm_a_sign_up() {
    let world = world(&[("COGNITO_PRE_SIGN_UP", "on")]).await;
    let mut sign_in = SignIn::begin(&world, &user()).await;
    let sent = world.simulator.newest_to(NUMBER).unwrap();
    assert_eq!(sign_in.answer(&world, &sent.code).await, Next::Tokens);
    // Only the provider knows this reference ID. It is useless even to a caller who knows it.
    assert!(!world.log.text().contains(&sent.reference_id));
    let mut event = file("cognito.pre-sign-up");
    event["request"]["userAttributes"]["phone_number"] = json!(NUMBER);
    event["request"]["validationData"]["referenceId"] = json!(sent.reference_id);
    let refused = world.raw(&event.to_string()).await.unwrap_err();
    assert_eq!(refused.kind, "SignUpRefused");
    assert_eq!(world.last_line()["outcome"], "verification_not_found");
    let claim =
        json!({ "destinationNumber": NUMBER, "referenceId": sent.reference_id, "claim": true });
    assert_eq!(
        world.post("/otp/status", &claim).await.code(),
        "verification_not_found"
    );
}
