//! Changes from one provider to the other and back, with codes that are still open.

use crate::world::{Answer, KEY, NUMBER, World};
use serde_json::json;
use simulator::{Failure, Operation, Service};
use std::time::Duration;

const LEDGER: [(&str, &str); 2] = [("LEDGER_TABLE", "otp"), ("LEDGER_KEY", KEY)];
const APPLICATION: (&str, &str) = (
    "PINPOINT_APPLICATION_ID",
    "9aad3a0a1e6d4cfda6d6ad7c7d6e2a8d",
);
const PINPOINT: &[(&str, &str)] = &[("OTP_PROVIDER", "pinpoint"), APPLICATION];
const SWITCHED: &[(&str, &str)] = &[("OTP_PREVIOUS_PROVIDER", "pinpoint"), APPLICATION];
const BACK: &[(&str, &str)] = &[
    ("OTP_PROVIDER", "pinpoint"),
    ("OTP_PREVIOUS_PROVIDER", "end-user-messaging"),
    APPLICATION,
];

/// A function with a ledger and these settings of its providers.
async fn world(settings: &[(&str, &str)]) -> World {
    World::counted(settings).await
}

/// Deploys other settings, with the same ledger and phone.
async fn deploy(world: &mut World, settings: &[(&str, &str)]) {
    world.reconfigure(&[&LEDGER, settings].concat()).await;
}

async fn send(world: &World) -> Answer {
    world
        .post("/otp/send", &json!({ "destinationNumber": NUMBER }))
        .await
}

async fn verify(world: &World, otp: &str) -> Answer {
    world
        .post(
            "/otp/verify",
            &json!({ "destinationNumber": NUMBER, "otp": otp }),
        )
        .await
}

/// The providers that were asked about guesses, in order.
fn asked(world: &World) -> Vec<Service> {
    world
        .simulator
        .requests(Operation::Verify)
        .into_iter()
        .map(|request| request.service)
        .collect()
}

fn other_than(codes: &[&str]) -> String {
    (0..1_000_000)
        .map(|number| format!("{number:06}"))
        .find(|code| !codes.contains(&code.as_str()))
        .unwrap()
}

#[tokio::test]
async fn each_code_is_checked_by_the_provider_that_sent_it() {
    for (before, after, issuer) in [
        (PINPOINT, SWITCHED, Service::Pinpoint),
        (SWITCHED, BACK, Service::EndUserMessaging),
        (BACK, SWITCHED, Service::Pinpoint),
        (&[][..], BACK, Service::EndUserMessaging),
    ] {
        let mut world = world(before).await;
        assert_eq!(send(&world).await.status, 202);
        let message = world.simulator.newest_to(NUMBER).unwrap();
        assert_eq!(message.service, issuer);
        deploy(&mut world, after).await;
        let wrong = verify(&world, &other_than(&[&message.code])).await;
        assert_eq!(
            (wrong.status, &wrong.body["attemptsLeft"]),
            (422, &json!(2)),
            "{wrong:?}"
        );
        let answer = verify(&world, &message.code).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(asked(&world), [issuer, issuer], "only the issuer is asked");
        verify(&world, &message.code)
            .await
            .is_problem(409, "already_verified");

        // New codes come from the new provider.
        world.advance(Duration::from_mins(1));
        assert_eq!(send(&world).await.status, 202);
        let message = world.simulator.newest_to(NUMBER).unwrap();
        assert_ne!(message.service, issuer);
        assert_eq!(verify(&world, &message.code).await.status, 200);
    }
}

/// A code of Pinpoint, then another by End User Messaging; and both codes.
async fn resent_by_the_other(unclear: bool) -> (World, String, String) {
    let mut world = world(PINPOINT).await;
    send(&world).await;
    let old = world.newest_code();
    deploy(&mut world, SWITCHED).await;
    world.advance(Duration::from_secs(30));
    if unclear {
        world
            .simulator
            .fail_next(Operation::Send, Failure::InternalServerErrorAfterwards);
    }
    let answer = send(&world).await;
    assert_eq!(answer.status, if unclear { 503 } else { 202 }, "{answer:?}");
    let new = world.newest_code();
    assert_ne!(old, new);
    (world, old, new)
}

#[tokio::test]
async fn after_a_resend_by_the_other_provider_only_the_new_code_is_valid() {
    let (mut world, old, new) = resent_by_the_other(false).await;
    let wrong = verify(&world, &old).await;
    assert_eq!(
        (wrong.status, &wrong.body["attemptsLeft"]),
        (422, &json!(2)),
        "{wrong:?}"
    );
    // Also after the provider has been changed back.
    deploy(&mut world, BACK).await;
    let wrong = verify(&world, &old).await;
    assert_eq!(wrong.status, 422, "{wrong:?}");
    assert_eq!(verify(&world, &new).await.status, 200);
    assert_eq!(
        asked(&world),
        [Service::EndUserMessaging, Service::EndUserMessaging]
    );
}

#[tokio::test]
async fn after_an_unclear_resend_by_the_other_provider_both_codes_are_valid_for_one_attempt() {
    let order = [Service::EndUserMessaging, Service::Pinpoint];
    for old_one_comes_back in [true, false] {
        let (world, old, new) = resent_by_the_other(true).await;
        let wrong = verify(&world, &other_than(&[&old, &new])).await;
        assert_eq!(
            (wrong.status, &wrong.body["attemptsLeft"]),
            (422, &json!(2)),
            "both were asked for one attempt"
        );
        assert_eq!(asked(&world), order);
        let code = if old_one_comes_back { &old } else { &new };
        assert_eq!(verify(&world, code).await.status, 200);
        let expected = if old_one_comes_back {
            &order[..]
        } else {
            &order[..1]
        };
        assert_eq!(&asked(&world)[2..], expected);
        // One success is all there is: the other code ends with it.
        verify(&world, if old_one_comes_back { &new } else { &old })
            .await
            .is_problem(409, "already_verified");
    }
}

#[tokio::test]
async fn if_one_provider_fails_a_guess_is_unclear_unless_the_other_says_yes() {
    let (world, old, new) = resent_by_the_other(true).await;
    // Both providers share the simulator's queue of failures. The first request goes to the new one.
    world
        .simulator
        .fail_next(Operation::Verify, Failure::InternalServerError);
    let answer = verify(&world, &other_than(&[&old, &new])).await;
    answer.is_problem(503, "provider_unavailable");
    assert_eq!(answer.body["attemptsLeft"], json!(2));
    world
        .simulator
        .fail_next(Operation::Verify, Failure::InternalServerError);
    assert_eq!(
        verify(&world, &old).await.status,
        200,
        "the old provider said yes"
    );
}

#[tokio::test]
async fn two_hanging_providers_are_abandoned_in_time() {
    let (mut world, ..) = resent_by_the_other(true).await;
    world.set_time_left(Duration::from_millis(4500));
    world.simulator.fail(Operation::Verify, Failure::Hang, 2);
    let started = std::time::Instant::now();
    verify(&world, "000000")
        .await
        .is_problem(504, "provider_timeout");
    assert!(
        started.elapsed() < Duration::from_secs(4),
        "{:?}",
        started.elapsed()
    );
    assert_eq!(
        asked(&world).len(),
        2,
        "the first provider leaves time for the second"
    );
}

#[tokio::test]
async fn without_the_previous_provider_its_codes_end_and_new_ones_work() {
    let mut world = world(PINPOINT).await;
    send(&world).await;
    let old = world.newest_code();
    deploy(&mut world, &[]).await;
    let answer = verify(&world, &old).await;
    answer.is_problem(410, "code_expired");
    assert!(
        world.last_line()["cause"]
            .as_str()
            .unwrap()
            .contains("OTP_PREVIOUS_PROVIDER"),
        "{}",
        world.last_line()
    );
    assert!(
        asked(&world).is_empty(),
        "a provider is asked only about its own codes"
    );
    world.advance(Duration::from_secs(30));
    assert_eq!(send(&world).await.status, 202);
    assert_eq!(verify(&world, &world.newest_code()).await.status, 200);
}

#[tokio::test]
async fn the_previous_provider_is_asked_about_a_foreign_code_only_if_the_current_one_says_no() {
    // A function without the ledger stands for software that derives references as AWS's example does.
    let mut world = World::with(PINPOINT).await;
    send(&world).await;
    let code = world.newest_code();
    world.set_now(world.simulator.now());
    let settings = [SWITCHED, &[("FOREIGN_CODES", "on")]].concat();
    deploy(&mut world, &settings).await;
    let answer = verify(&world, &code).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(
        asked(&world),
        [Service::EndUserMessaging, Service::Pinpoint]
    );

    // Both are asked for one attempt.
    let mut world = World::counted(&[SWITCHED, &[("FOREIGN_CODES", "on")]].concat()).await;
    world.set_now(world.simulator.now());
    let answer = verify(&world, &other_than(&[&code])).await;
    assert_eq!(
        (answer.status, &answer.body["attemptsLeft"]),
        (422, &json!(2)),
        "{answer:?}"
    );
    assert_eq!(
        asked(&world),
        [Service::EndUserMessaging, Service::Pinpoint]
    );
}

#[tokio::test]
async fn without_a_ledger_both_providers_are_asked() {
    let mut world = World::with(PINPOINT).await;
    send(&world).await;
    let old = world.newest_code();
    world.reconfigure(SWITCHED).await;
    send(&world).await;
    let new = world.newest_code();
    assert_eq!(verify(&world, &new).await.status, 200);
    assert_eq!(verify(&world, &old).await.status, 200);
    verify(&world, &other_than(&[&old, &new]))
        .await
        .is_problem(422, "invalid_code");
    let (first, second) = (Service::EndUserMessaging, Service::Pinpoint);
    assert_eq!(asked(&world), [first, first, second, first, second]);
}

#[tokio::test]
async fn a_provider_is_not_asked_about_a_code_that_it_cannot_make() {
    let mut world = world(&[("CODE_LENGTH", "4")]).await;
    send(&world).await;
    let short = world.newest_code();
    assert_eq!(short.len(), 4);
    deploy(&mut world, BACK).await;
    world.advance(Duration::from_secs(30));
    world
        .simulator
        .fail_next(Operation::Send, Failure::InternalServerErrorAfterwards);
    // Pinpoint's shortest code has five digits, so the resent code has five.
    assert_eq!(send(&world).await.body["delivery"], "unknown");
    assert_eq!(world.newest_code().len(), 5);
    assert_eq!(verify(&world, &short).await.status, 200);
    assert_eq!(asked(&world), [Service::EndUserMessaging]);
}

#[tokio::test]
async fn feedback_is_about_the_message_that_had_the_code() {
    let mut world = world(PINPOINT).await;
    send(&world).await;
    let old = world.newest_code();
    deploy(
        &mut world,
        &[SWITCHED, &[("MESSAGE_FEEDBACK", "on")]].concat(),
    )
    .await;
    world.advance(Duration::from_secs(30));
    world
        .simulator
        .fail_next(Operation::Send, Failure::InternalServerErrorAfterwards);
    send(&world).await;
    assert_eq!(verify(&world, &old).await.status, 200);
    assert!(
        world.simulator.requests(Operation::Feedback).is_empty(),
        "Pinpoint sent the message with this code"
    );
}

/// Pinpoint makes no codes of four digits. So a resend by it has five, and the record still says four.
#[tokio::test]
async fn a_resend_of_another_length_can_be_verified() {
    let mut world = world(&[("CODE_LENGTH", "4")]).await;
    assert_eq!(send(&world).await.status, 202);
    let short = world.newest_code();
    // The control: while the length is known, a guess of another length is free.
    verify(&world, "00000")
        .await
        .is_problem(400, "invalid_parameter");
    deploy(&mut world, BACK).await;
    world.advance(Duration::from_secs(30));
    assert_eq!(send(&world).await.status, 202);
    let code = world.newest_code();
    assert_eq!((short.len(), code.len()), (4, 5));
    assert_eq!(verify(&world, &code).await.status, 200);
}
