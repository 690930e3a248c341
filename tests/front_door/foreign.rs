//! Codes of other software: off by default, and beside this program's records when on.

use crate::world::{Answer, KEY, NUMBER, World, post};
use futures_util::future::join_all;
use otp_lambda::phone::PhoneNumber;
use otp_lambda::reference::ReferenceId;
use otp_lambda::telemetry::Metric;
use serde_json::{Value, json};
use simulator::{Failure, Operation};
use std::time::Duration;

const LEDGER: [(&str, &str); 2] = [("LEDGER_TABLE", "otp"), ("LEDGER_KEY", KEY)];
const ON: (&str, &str) = ("FOREIGN_CODES", "on");

/// A function with a ledger, after other software has sent a code. Here the other software is a function without a
/// ledger, which names verifications as AWS's example does.
async fn after_a_script(settings: &[(&str, &str)]) -> (World, String) {
    let mut world = World::new().await;
    let code = script_sends(&world).await;
    world.set_now(world.simulator.now());
    world.reconfigure(&[&LEDGER, settings].concat()).await;
    (world, code)
}

async fn script_sends(world: &World) -> String {
    assert_eq!(send(world).await.status, 202);
    world.newest_code()
}

async fn send(world: &World) -> Answer {
    world
        .post("/otp/send", &json!({ "destinationNumber": NUMBER }))
        .await
}

async fn guess(world: &World, otp: &str) -> Answer {
    let body = json!({ "destinationNumber": NUMBER, "otp": otp });
    world.post("/otp/verify", &body).await
}

async fn guess_under(world: &World, source: &str) -> Answer {
    let body = json!({ "destinationNumber": NUMBER, "otp": "012345", "source": source });
    world.post("/otp/verify", &body).await
}

async fn status(world: &World, more: Value) -> Answer {
    let mut body = more;
    body["destinationNumber"] = json!(NUMBER);
    world.post("/otp/status", &body).await
}

fn asked(world: &World) -> usize {
    world.simulator.requests(Operation::Verify).len()
}

#[tokio::test]
async fn by_default_an_unknown_reference_is_not_found_and_leaves_nothing() {
    let (world, code) = after_a_script(&[]).await;
    let sends = asked(&world);
    let answer = guess(&world, &code).await;
    answer.is_problem(404, "verification_not_found");
    let detail = answer.body["detail"].as_str().unwrap();
    assert!(detail.contains("FOREIGN_CODES"), "{detail}");
    assert_eq!(asked(&world), sends, "AWS is not asked");
    assert!(
        world.ledger.verifications().is_empty(),
        "nothing is written"
    );
    assert_eq!(send(&world).await.status, 202);
}

/// The hint is for callers whose reference other software can use.
#[tokio::test]
async fn the_setting_is_named_only_where_it_would_help() {
    let derived = json!({});
    let given = json!({ "referenceId": "order-17" });
    let sent = send(&World::counted(&[]).await).await;
    let derived_and_given = json!({ "referenceId": sent.body["referenceId"] });
    for (settings, name, helps) in [
        (&[][..], &derived, true),
        (&[], &given, false),
        (&[], &derived_and_given, true),
        (&[("REFERENCE_ID", "random")], &derived_and_given, false),
        (&[("REFERENCE_ID", "random")], &given, false),
        (&[("API_AUTH", "none")], &given, false),
    ] {
        let world = World::counted(settings).await;
        let mut body = name.clone();
        body["destinationNumber"] = json!(NUMBER);
        body["otp"] = json!("012345");
        let answer = world.post("/otp/verify", &body).await;
        answer.is_problem(404, "verification_not_found");
        let detail = answer.body["detail"].as_str().unwrap();
        assert_eq!(
            detail.contains("FOREIGN_CODES"),
            helps,
            "{settings:?}, {name}: {detail}"
        );
    }
}

#[tokio::test]
async fn a_code_of_a_script_verifies_and_takes_no_place_of_a_send() {
    let (world, code) = after_a_script(&[ON]).await;
    let wrong = if code == "555555" { "666666" } else { "555555" };
    let answer = guess(&world, wrong).await;
    answer.is_problem(422, "invalid_code");
    assert_eq!(answer.body["attemptsLeft"], json!(2));
    assert_eq!(guess(&world, &code).await.status, 200);
    guess(&world, &code)
        .await
        .is_problem(409, "already_verified");
    assert_eq!(status(&world, json!({})).await.body["status"], "verified");
    assert_eq!(send(&world).await.status, 202, "no window is full");
}

/// The metrics compare the codes that this program has sent with those that came back.
#[tokio::test]
async fn guesses_at_foreign_codes_are_in_no_metric_of_codes() {
    let (world, code) = after_a_script(&[ON]).await;
    let wrong = crate::pool::wrong(&code, 1);
    for (otp, status) in [(wrong.as_str(), 422), (&code, 200)] {
        assert_eq!(guess(&world, otp).await.status, status);
        let line = world.last_line();
        for metric in [Metric::WrongGuesses, Metric::Verified] {
            assert_eq!(line.get(metric.name()), None, "{line}");
        }
    }
    // The control: a code of this program.
    world.advance(Duration::from_hours(2));
    assert_eq!(send(&world).await.status, 202);
    let code = world.newest_code();
    let wrong = crate::pool::wrong(&code, 1);
    for (otp, metric) in [
        (wrong.as_str(), Metric::WrongGuesses),
        (&code, Metric::Verified),
    ] {
        guess(&world, otp).await;
        assert_eq!(world.last_line()[metric.name()], 1);
    }
}

#[tokio::test]
async fn guesses_at_foreign_codes_keep_nobody_from_getting_a_code() {
    let world = World::counted(&[ON]).await;
    for source in 0..6 {
        guess_under(&world, &format!("x{source}")).await;
        world.advance(Duration::from_mins(11));
    }
    let asked_before = asked(&world);
    assert_eq!(asked_before, 6);
    guess_under(&world, "x6")
        .await
        .is_problem(429, "rate_limited");
    assert_eq!(asked(&world), asked_before, "six a day, as of sends");
    let sent = send(&world).await;
    assert_eq!(
        (sent.status, &sent.body["attemptsLeft"]),
        (202, &json!(3)),
        "{sent:?}"
    );
}

#[tokio::test]
async fn a_hundred_invented_references_ask_as_often_as_the_windows_allow() {
    let world = World::counted(&[ON]).await;
    let sources: Vec<String> = (0..100).map(|index| format!("x{index}")).collect();
    let answers = join_all(sources.iter().map(|source| guess_under(&world, source))).await;
    assert_eq!(asked(&world), 1, "one in thirty seconds");
    let refused = answers.iter().filter(|answer| answer.status == 429).count();
    assert_eq!(refused, 99);
}

#[tokio::test]
async fn a_foreign_success_can_be_redeemed_and_its_code_does_not_come_back() {
    let (world, code) = after_a_script(&[ON]).await;
    assert_eq!(guess(&world, &code).await.status, 200);
    world.advance(Duration::from_mins(5));
    guess(&world, "555555")
        .await
        .is_problem(409, "already_verified");
    let claim = json!({ "claim": true });
    assert_eq!(status(&world, claim).await.body["claimed"], json!(true));
    // Ten minutes after the success, a newer code of the script can be asked for, and the used one never.
    world.advance(Duration::from_millis(5 * 60_000 - 1));
    guess(&world, "666666")
        .await
        .is_problem(409, "already_verified");
    assert_eq!(asked(&world), 1);
    world.advance(Duration::from_millis(1));
    guess(&world, &code).await.is_problem(422, "invalid_code");
    assert_eq!(asked(&world), 1, "the used one");
    guess(&world, "666666")
        .await
        .is_problem(422, "invalid_code");
    assert_eq!(asked(&world), 2);
}

#[tokio::test]
async fn a_canceled_foreign_code_stays_canceled() {
    let (world, code) = after_a_script(&[ON]).await;
    guess(&world, "555555").await;
    let body = json!({ "destinationNumber": NUMBER });
    assert_eq!(
        world.post("/otp/cancel", &body).await.body["status"],
        "canceled"
    );
    // AWS keeps a code for an hour at most, and the guess was at a code that may have been sent ten minutes later.
    for later in [0, 60_000, 9 * 60_000, 60 * 60_000 - 1] {
        world.advance(Duration::from_millis(later));
        guess(&world, &code)
            .await
            .is_problem(410, "verification_canceled");
    }
    assert_eq!(asked(&world), 1);
    // By now no code of that time can be good, so this guess is about another one.
    world.advance(Duration::from_millis(1));
    guess(&world, "555555")
        .await
        .is_problem(422, "invalid_code");
    assert_eq!(asked(&world), 2);
}

/// Only a backend is believed to know of a code that other software has sent.
#[tokio::test]
async fn only_a_backend_can_guess_at_a_foreign_code() {
    let world = World::counted(&[ON]).await;
    let to = PhoneNumber::parse(NUMBER).unwrap();
    let derived = ReferenceId::derived("ExampleCorp", "otp", &to);
    let body =
        json!({ "destinationNumber": NUMBER, "otp": "012345", "referenceId": derived.expose() });
    let mut event = post("/otp/verify", &body.to_string());
    let claims = json!({ "iss": "https://example.com", "sub": "jane" });
    event["requestContext"]["authorizer"] = json!({ "jwt": { "claims": claims, "scopes": null } });
    let answer = world.event(&event).await;
    answer.is_problem(404, "verification_not_found");
    let detail = answer.body["detail"].as_str().unwrap();
    assert!(!detail.contains("FOREIGN_CODES"), "{detail}");
    assert_eq!(asked(&world), 0);
    // The control: a backend.
    world
        .post("/otp/verify", &body)
        .await
        .is_problem(422, "invalid_code");
    assert_eq!(asked(&world), 1);
}

#[tokio::test]
async fn an_exhausted_foreign_code_takes_no_further_guesses() {
    let (world, code) = after_a_script(&[ON, ("SEND_LIMITS", "20/1h")]).await;
    for wrong in ["555555", "666666", "777777"] {
        guess(&world, wrong).await.is_problem(422, "invalid_code");
    }
    for minutes in [0, 1, 8] {
        world.advance(Duration::from_mins(minutes));
        guess(&world, &code)
            .await
            .is_problem(410, "attempts_exhausted");
    }
    assert_eq!(asked(&world), 3);
}

/// The guess is told what has become of its code, and not that a further code would have to wait.
#[tokio::test]
async fn a_late_guess_without_a_place_is_told_that_the_foreign_code_has_expired() {
    let (world, code) = after_a_script(&[ON, ("SEND_LIMITS", "1/1h")]).await;
    guess(&world, "555555")
        .await
        .is_problem(422, "invalid_code");
    world.advance(Duration::from_mins(10));
    guess(&world, &code).await.is_problem(410, "code_expired");
    assert_eq!(asked(&world), 1);
    // The control: under a reference without a record, the guess is told to wait.
    guess_under(&world, "other")
        .await
        .is_problem(429, "rate_limited");
}

#[tokio::test]
async fn the_setting_is_not_named_where_a_code_of_ours_is_known() {
    let world = World::counted(&[]).await;
    assert_eq!(send(&world).await.status, 202);
    world.advance(Duration::from_hours(3));
    let answer = guess(&world, "555555").await;
    answer.is_problem(410, "code_expired");
    let detail = answer.body["detail"].as_str().unwrap();
    assert!(!detail.contains("FOREIGN_CODES"), "{detail}");
}

/// AWS may accept our own code under the plain reference for an hour after we last expected it to.
#[tokio::test]
async fn a_foreign_code_is_possible_an_hour_after_our_own_code_at_the_earliest() {
    let validity = Duration::from_mins(10);
    let margin = Duration::from_mins(1);
    let moment = Duration::from_millis(1);
    let almost = validity + margin + Duration::from_millis(59 * 60_000 + 59_999);
    let world = World::counted(&[ON]).await;
    assert_eq!(send(&world).await.status, 202);
    world.advance(almost);
    guess(&world, "555555")
        .await
        .is_problem(410, "code_expired");
    assert_eq!(asked(&world), 0);
    world.advance(moment);
    guess(&world, "555555")
        .await
        .is_problem(422, "invalid_code");
    assert_eq!(asked(&world), 1, "other software may have sent a code");
}

/// If it is certain that a send sent nothing, AWS can know only the codes of other software (foreign codes). Guesses at
/// foreign codes do not change the record of the failed send.
#[tokio::test]
async fn a_guess_at_a_foreign_code_leaves_the_record_of_a_failed_send_alone() {
    let world = World::counted(&[ON]).await;
    world
        .simulator
        .fail_next(Operation::Send, Failure::PermanentFailure);
    send(&world).await.is_problem(422, "undeliverable");
    let before = world.ledger.verifications();
    assert_eq!(before.len(), 1);
    world.advance(Duration::from_secs(31));
    guess(&world, "555555")
        .await
        .is_problem(422, "invalid_code");
    assert_eq!(asked(&world), 1);
    let after = world.ledger.verifications();
    assert_eq!(after.len(), 2, "the foreign code has its own record");
    for (item, record) in &before {
        assert_eq!(after.get(item), Some(record));
    }
    let sent = send(&world).await;
    assert_eq!(
        (sent.status, &sent.body["attemptsLeft"]),
        (202, &json!(3)),
        "{sent:?}"
    );
    assert_eq!(guess(&world, &world.newest_code()).await.status, 200);
}

/// A wrong guess at a foreign code counts as a failure of the number, like a wrong guess at our own code. If such a
/// guess did not count, the codes of a number could be guessed at twice as often.
#[tokio::test]
async fn failed_guesses_at_foreign_codes_count_for_the_number() {
    let world = World::counted(&[ON, ("SEND_LIMITS", "20/1h")]).await;
    for source in 0..10 {
        guess_under(&world, &format!("x{source}"))
            .await
            .is_problem(422, "invalid_code");
    }
    let answer = send(&world).await;
    answer.is_problem(429, "rate_limited");
    assert_eq!(answer.body["limit"], "guesses");
    world.advance(Duration::from_mins(15));
    assert_eq!(send(&world).await.status, 202);
}

#[tokio::test]
async fn too_many_failed_guesses_stop_guesses_at_further_foreign_codes() {
    let world = World::counted(&[ON, ("SEND_LIMITS", "20/1h")]).await;
    for source in 0..10 {
        guess_under(&world, &format!("x{source}")).await;
    }
    let answer = guess_under(&world, "x10").await;
    answer.is_problem(429, "rate_limited");
    assert_eq!(
        (&answer.body["limit"], asked(&world)),
        (&json!("guesses"), 10)
    );
    world.advance(Duration::from_mins(15));
    guess_under(&world, "x10")
        .await
        .is_problem(422, "invalid_code");
}

/// The windows of our own sends do not count for foreign codes.
#[tokio::test]
async fn a_place_of_a_send_keeps_nobody_from_a_guess_at_a_foreign_code() {
    let world = World::counted(&[ON]).await;
    world
        .simulator
        .fail_next(Operation::Send, Failure::PermanentFailure);
    send(&world).await.is_problem(422, "undeliverable");
    guess(&world, "555555")
        .await
        .is_problem(422, "invalid_code");
}

#[tokio::test]
async fn a_test_number_has_no_foreign_codes() {
    let test_number = ("TEST_NUMBERS", "+14255550142=246802@2999-12-31");
    let world = World::counted(&[ON, test_number]).await;
    for otp in ["246802", "555555"] {
        guess(&world, otp)
            .await
            .is_problem(404, "verification_not_found");
    }
    assert_eq!(asked(&world), 0);
}

#[tokio::test]
async fn an_expired_code_of_ours_keeps_its_status_where_no_foreign_code_was_guessed() {
    let world = World::counted(&[ON]).await;
    assert_eq!(send(&world).await.status, 202);
    world.advance(Duration::from_hours(3));
    let answer = status(&world, json!({})).await;
    assert_eq!(
        (answer.status, &answer.body["status"]),
        (200, &json!("expired"))
    );
}

#[tokio::test]
async fn a_foreign_success_uses_up_its_own_code_alone() {
    let (world, code) = after_a_script(&[ON]).await;
    assert_eq!(guess(&world, &code).await.status, 200);
    assert_eq!(send(&world).await.status, 202);
    assert_eq!(guess(&world, &world.newest_code()).await.status, 200);
}

/// A code that follows another one has a reference of its own, and its success can be the last to end.
#[tokio::test]
async fn a_success_of_ours_is_redeemed_beside_an_older_foreign_one() {
    let (world, code) = after_a_script(&[ON]).await;
    assert_eq!(guess(&world, &code).await.status, 200);
    assert_eq!(send(&world).await.status, 202);
    assert_eq!(guess(&world, &world.newest_code()).await.status, 200);
    world.advance(Duration::from_mins(10));
    let body = json!({ "destinationNumber": NUMBER, "validityPeriod": 60 });
    assert_eq!(world.post("/otp/send", &body).await.status, 202);
    world.advance(Duration::from_secs(59 * 60 + 30));
    assert_eq!(guess(&world, &world.newest_code()).await.status, 200);
    // By now no code under the plain reference can be one of ours.
    world.advance(Duration::from_secs(150));
    let answer = status(&world, json!({ "claim": true })).await;
    assert_eq!(
        (answer.status, &answer.body["claimed"]),
        (200, &json!(true))
    );
}
