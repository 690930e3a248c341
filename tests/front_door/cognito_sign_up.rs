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
    for reference_ids in [("REFERENCE_ID", "random"), ("API_AUTH", "none")] {
        let world = world(&[("COGNITO_PRE_SIGN_UP", "on"), reference_ids]).await;
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
            // The sign-up is refused. If it were only left unconfirmed, the unconfirmed user would keep the user name.
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

/// The event of a sign-up with `NUMBER`.
fn sign_up(name: &str, reference: &Value) -> Value {
    let mut event = file("cognito.pre-sign-up");
    event["userName"] = json!(name);
    event["request"]["userAttributes"]["phone_number"] = json!(NUMBER);
    event["request"]["validationData"]["referenceId"] = reference.clone();
    event
}

async fn is_confirmed(world: &World, event: &Value) -> bool {
    world.raw(&event.to_string()).await.is_ok()
}

const RANDOM: [(&str, &str); 2] = [("COGNITO_PRE_SIGN_UP", "on"), ("REFERENCE_ID", "random")];

#[tokio::test]
async fn a_proof_is_worth_one_sign_up_whatever_the_user_name_looks_like() {
    // A pool whose users sign up by number makes up a UUID at each try. In other pools an attacker chooses one.
    for first in [
        "7c9e6679-7425-40de-944b-e07fc1f90ae7",
        "mallory",
        NUMBER,
        "",
    ] {
        let world = world(&RANDOM).await;
        let reference = verified(&world).await;
        assert!(is_confirmed(&world, &sign_up(first, &reference)).await);
        for other in [
            "aaaaaaaa-0000-0000-0000-000000000001",
            "aaaaaaaa-0000-0000-0000-000000000002",
            "7C9E6679-7425-40DE-944B-E07FC1F90AE7",
            "7c9e6679-7425-40de-944b-e07fc1f90ae7 ",
            "mallory2",
        ] {
            let event = sign_up(other, &reference);
            assert!(!is_confirmed(&world, &event).await, "{first}, {other}");
        }
        // The same name in another pool, or of another app, is another user.
        for (place, name) in [
            ("/userPoolId", "us-east-1_0ther"),
            ("/callerContext/clientId", "other"),
        ] {
            let mut event = sign_up(first, &reference);
            *event.pointer_mut(place).unwrap() = json!(name);
            assert!(!is_confirmed(&world, &event).await, "{first}, {place}");
        }
        // The control: it is Cognito that asks again.
        assert!(
            is_confirmed(&world, &sign_up(first, &reference)).await,
            "{first}"
        );
        // A new name needs a new proof, and with one it is confirmed.
        world.advance(Duration::from_secs(30));
        let another = verified(&world).await;
        assert!(
            is_confirmed(&world, &sign_up("mallory2", &another)).await,
            "{first}"
        );
    }
}

#[tokio::test]
async fn a_sign_up_can_be_repeated_for_a_minute() {
    for (later, is_good) in [
        (Duration::from_millis(59_999), true),
        (Duration::from_mins(1), false),
        (Duration::from_mins(9), false),
    ] {
        let world = world(&RANDOM).await;
        let reference = verified(&world).await;
        // The minute begins with the sign-up.
        world.advance(Duration::from_secs(50));
        let event = sign_up("jane", &reference);
        assert!(is_confirmed(&world, &event).await);
        world.advance(later);
        assert_eq!(is_confirmed(&world, &event).await, is_good, "{later:?}");
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
    let world = world(&[("COGNITO_PRE_SIGN_UP", "on"), ("REFERENCE_ID", "random")]).await;
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
    let world = world(&[("COGNITO_PRE_SIGN_UP", "on"), ("REFERENCE_ID", "random")]).await;
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

/// A wrong guess after the right one takes nothing from the proof.
#[tokio::test]
async fn a_wrong_guess_after_the_right_one_leaves_the_proof() {
    let world = world(&RANDOM).await;
    let reference = verified(&world).await;
    let body = json!({ "destinationNumber": NUMBER, "otp": "555555", "referenceId": reference });
    for _ in 0..3 {
        world
            .post("/otp/verify", &body)
            .await
            .is_problem(409, "already_verified");
        world.advance(Duration::from_mins(2));
    }
    assert!(is_confirmed(&world, &sign_up("alice", &reference)).await);
}
