//! Tests of the references. A provider knows each code of a verification under a reference. Only the newest code of the
//! verification is right, and no earlier code becomes right again.

use crate::with;
use crate::world::{Answer, NUMBER, World};
use serde_json::{Value, json};
use simulator::{Failure, Operation};
use std::collections::BTreeSet;
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
    sent_with(&[]).await
}

async fn sent_with(settings: &[(&str, &str)]) -> (World, String) {
    let world = World::counted(settings).await;
    let answer = send(&world).await;
    assert_eq!(answer.status, 202);
    assert_eq!(answer.body["referenceId"], json!(known_as(&world)));
    let code = world.newest_code();
    world.advance(Duration::from_secs(31));
    (world, code)
}

#[tokio::test]
async fn other_software_can_read_our_code_today_and_tomorrow_but_not_a_resend() {
    for foreign in ["off", "on"] {
        let (world, _) = sent_with(&[("FOREIGN_CODES", foreign)]).await;
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
}

/// A verification ends an hour after its first code. A provider accepts no validity below a minimum, and may therefore
/// keep the last code for longer than the verification lasts. Here the last code has the plain reference, the one that
/// callers know. No other code gets the plain reference while the provider keeps this code.
#[tokio::test]
async fn a_code_that_outlives_its_verification_keeps_the_plain_reference() {
    let told = 2;
    // How long the provider keeps the last code after its verification.
    let longer = u64::from(with::LEAST.1.max(told) - told) * 60;
    let margin = 60;
    for (later, is_plain) in [(longer + margin - 1, false), (longer + margin, true)] {
        let world = World::counted(&[("SEND_LIMITS", "1/30s")]).await;
        let send = async || {
            let answer = post(&world, "/otp/send", &json!({ "validityPeriod": 40 })).await;
            assert_eq!(answer.status, 202, "{answer:?}");
            known_as(&world)
        };
        let plain = send().await;
        world.advance(Duration::from_mins(39));
        assert_ne!(send().await, plain, "the first code is still good");
        world.advance(Duration::from_mins(19));
        assert_eq!(send().await, plain, "the first code is over");
        let code = world.newest_code();
        world.advance(Duration::from_mins(told.into()));
        guess(&world, &code).await.is_problem(410, "code_expired");
        assert!(world.simulator.requests(Operation::Verify).is_empty());
        world.advance(Duration::from_secs(later));
        assert_eq!(send().await == plain, is_plain, "{later} s after the end");
    }
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
    let names = [json!({}), json!({ "referenceId": "order-17" })];
    let failures = [
        (Failure::PermanentFailure, 404, "verification_not_found"),
        (Failure::InternalServerError, 422, "invalid_code"),
        (Failure::InternalServerErrorAfterwards, 422, "invalid_code"),
    ];
    for (name, (failure, status, error)) in names
        .iter()
        .flat_map(|name| failures.clone().map(|failure| (name, failure)))
    {
        let world = World::counted(&[]).await;
        assert_eq!(post(&world, "/otp/send", name).await.status, 202);
        let canceled = world.newest_code();
        world.advance(Duration::from_secs(31));
        assert_eq!(post(&world, "/otp/cancel", name).await.status, 200);
        world.simulator.fail_next(Operation::Send, failure);
        assert!(post(&world, "/otp/send", name).await.status >= 400);
        let mut body = name.clone();
        body["otp"] = json!(canceled);
        post(&world, "/otp/verify", &body)
            .await
            .is_problem(status, error);
    }
}

/// AWS may accept a canceled code for as long as the code was to be valid, whatever other sends came to nothing.
#[tokio::test]
async fn a_send_that_failed_does_not_bring_the_plain_reference_back() {
    let (world, canceled) = sent().await;
    let plain = known_as(&world);
    assert_eq!(post(&world, "/otp/cancel", &json!({})).await.status, 200);
    world
        .simulator
        .fail_next(Operation::Send, Failure::PermanentFailure);
    send(&world).await.is_problem(422, "undeliverable");
    world.advance(Duration::from_mins(1));
    assert_eq!(send(&world).await.status, 202);
    assert_ne!(known_as(&world), plain);
    guess(&world, &canceled)
        .await
        .is_problem(422, "invalid_code");
}

#[tokio::test]
async fn each_further_code_has_a_reference_of_its_own() {
    let (world, _) = sent_with(&[("SEND_LIMITS", "1/30s")]).await;
    let mut references = BTreeSet::from([known_as(&world)]);
    for _ in 0..2 {
        assert_eq!(send(&world).await.status, 202);
        assert!(references.insert(known_as(&world)), "{references:?}");
        world.advance(Duration::from_secs(31));
    }
}

/// The code of an unclear resend stays right beside a newer one under the plain reference, and each is asked for once.
#[tokio::test]
async fn an_unclear_code_stays_right_beside_a_newer_one_under_the_plain_reference() {
    let world = World::counted(&[("SEND_LIMITS", "1/30s")]).await;
    assert_eq!(send(&world).await.status, 202);
    let plain = known_as(&world);
    let send_unclearly = async || {
        world
            .simulator
            .fail_next(Operation::Send, Failure::InternalServerErrorAfterwards);
        let answer = send(&world).await;
        assert_eq!(answer.body["delivery"], "unknown", "{answer:?}");
        (known_as(&world), world.newest_code())
    };
    world.advance(Duration::from_mins(9));
    let (second, code) = send_unclearly().await;
    assert_ne!(second, plain);
    // By now the first code is over at the provider.
    world.advance(Duration::from_secs(150));
    assert_eq!(send_unclearly().await.0, plain);
    let wrong = if code == "555555" { "666666" } else { "555555" };
    guess(&world, wrong).await.is_problem(422, "invalid_code");
    assert_eq!(world.simulator.requests(Operation::Verify).len(), 2);
    assert_eq!(guess(&world, &code).await.status, 200);
}

/// If the provider refuses a send, the send keeps its place in the windows (`SEND_LIMITS`), although nothing was sent.
/// The windows may then refuse the next send. The response to that next send must not say that something was sent.
#[tokio::test]
async fn a_refusal_after_a_refused_send_speaks_of_requests_and_not_of_messages() {
    for resend in [false, true] {
        let world = if resend {
            sent().await.0
        } else {
            World::counted(&[]).await
        };
        world
            .simulator
            .fail_next(Operation::Send, Failure::PermanentFailure);
        send(&world).await.is_problem(422, "undeliverable");
        let refused = send(&world).await;
        assert_eq!(refused.status, 429, "{refused:?}");
        let detail = refused.body["detail"].as_str().unwrap();
        assert!(detail.contains("requested"), "{detail}");
        for untrue in ["sent", "arrive"] {
            assert!(!detail.contains(untrue), "{detail}");
        }
    }
}
