//! The references under which a provider knows the codes of one verification. Only the newest code is right, and no
//! earlier code becomes right again.

use crate::world::{Answer, NUMBER, World};
use serde_json::{Value, json};
use simulator::{Failure, Operation};
use std::time::Duration;

async fn post(world: &World, path: &str, more: &Value) -> Answer {
    let mut body = more.clone();
    body["destinationNumber"] = json!(NUMBER);
    world.post(path, &body).await
}

async fn send(world: &World) -> Answer {
    post(world, "/otp/send", &json!({})).await
}

async fn guess(world: &World, otp: &str) -> Answer {
    post(world, "/otp/verify", &json!({ "otp": otp })).await
}

/// The reference under which the provider got the newest message.
fn known_as(world: &World) -> String {
    world.simulator.newest_to(NUMBER).unwrap().reference_id
}

/// A world in which a code was sent, and half a minute has passed; with the code.
async fn sent() -> (World, String) {
    let world = World::counted(&[]).await;
    let answer = send(&world).await;
    assert_eq!(answer.status, 202);
    assert_eq!(answer.body["referenceId"], json!(known_as(&world)));
    let code = world.newest_code();
    world.advance(Duration::from_secs(31));
    (world, code)
}

#[tokio::test]
async fn other_software_can_read_our_code_today_and_tomorrow_but_not_a_resend() {
    let (world, _) = sent().await;
    let plain = known_as(&world);
    let again = send(&world).await;
    assert_eq!(again.body["referenceId"], json!(plain), "callers see one");
    let other = known_as(&world);
    assert_ne!(other, plain);
    assert!(
        other.len() == 32 && other.bytes().all(|byte| byte.is_ascii_hexdigit()),
        "{other}"
    );
    world.advance(Duration::from_hours(24));
    assert_eq!(send(&world).await.status, 202);
    assert_eq!(known_as(&world), plain);
}

#[tokio::test]
async fn after_a_resend_only_the_newest_code_is_right() {
    let (world, first) = sent().await;
    assert_eq!(send(&world).await.status, 202);
    let second = world.newest_code();
    let answer = guess(&world, &first).await;
    answer.is_problem(422, "invalid_code");
    assert_eq!(answer.body["attemptsLeft"], json!(2));
    assert_eq!(guess(&world, &second).await.status, 200);
}

#[tokio::test]
async fn a_resend_that_certainly_did_not_leave_changes_nothing() {
    let (world, first) = sent().await;
    let before = post(&world, "/otp/status", &json!({})).await.body;
    world
        .simulator
        .fail_next(Operation::Send, Failure::PermanentFailure);
    send(&world).await.is_problem(422, "undeliverable");
    let mut after = post(&world, "/otp/status", &json!({})).await.body;
    // The send has taken its place in the windows.
    for field in ["resendAt", "resendIn"] {
        after[field] = before[field].clone();
    }
    assert_eq!(after, before);
    assert_eq!(guess(&world, &first).await.status, 200);
    assert_eq!(
        world.simulator.requests(Operation::Verify).len(),
        1,
        "one code is asked for"
    );
}

#[tokio::test]
async fn after_an_unclear_resend_both_codes_are_right_for_one_attempt() {
    for new_one_comes_back in [false, true] {
        let (world, first) = sent().await;
        world
            .simulator
            .fail_next(Operation::Send, Failure::InternalServerErrorAfterwards);
        let answer = send(&world).await;
        assert_eq!(answer.body["delivery"], "unknown", "{answer:?}");
        let second = world.newest_code();
        assert_ne!(first, second);
        let wrong = ["111111", "222222", "333333"]
            .into_iter()
            .find(|wrong| *wrong != first && *wrong != second)
            .unwrap();
        let answer = guess(&world, wrong).await;
        answer.is_problem(422, "invalid_code");
        assert_eq!(
            answer.body["attemptsLeft"],
            json!(2),
            "one attempt for both"
        );
        assert_eq!(world.simulator.requests(Operation::Verify).len(), 2);
        let code = if new_one_comes_back { &second } else { &first };
        assert_eq!(guess(&world, code).await.status, 200);
        let other = if new_one_comes_back { &first } else { &second };
        guess(&world, other)
            .await
            .is_problem(409, "already_verified");
    }
}

#[tokio::test]
async fn a_canceled_code_does_not_come_back_with_a_failed_or_unclear_send() {
    for (failure, status, error) in [
        (Failure::PermanentFailure, 404, "verification_not_found"),
        (Failure::InternalServerError, 422, "invalid_code"),
        (Failure::InternalServerErrorAfterwards, 422, "invalid_code"),
    ] {
        let (world, canceled) = sent().await;
        assert_eq!(post(&world, "/otp/cancel", &json!({})).await.status, 200);
        world.simulator.fail_next(Operation::Send, failure);
        assert!(send(&world).await.status >= 400);
        guess(&world, &canceled).await.is_problem(status, error);
    }
}
