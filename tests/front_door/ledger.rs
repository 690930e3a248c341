//! Verifications with the ledger: attempts, error codes, resends, one-time use, status, cancel, redeem.

use crate::pool::{SignIn, User};
use crate::world::{Answer, NUMBER, World, post};
use serde_json::{Value, json};
use simulator::{Failure, Operation};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
const HALF_A_MINUTE: Duration = Duration::from_secs(30);

/// A guess of the same length that differs from `code` in each digit.
fn wrong(code: &str) -> String {
    code.chars()
        .map(|digit| if digit == '9' { '0' } else { '9' })
        .collect()
}

impl World {
    async fn guess(&self, otp: &str) -> Answer {
        self.post(
            "/otp/verify",
            &json!({ "destinationNumber": NUMBER, "otp": otp }),
        )
        .await
    }

    async fn post_with_key(&self, key: &str, path: &str, body: &Value) -> Answer {
        let mut event = post(path, &body.to_string());
        event["headers"]["idempotency-key"] = json!(key);
        self.event(&event).await
    }

    async fn send(&self) -> Answer {
        self.post("/otp/send", &json!({ "destinationNumber": NUMBER }))
            .await
    }

    async fn status(&self) -> Answer {
        self.post("/otp/status", &json!({ "destinationNumber": NUMBER }))
            .await
    }

    async fn redeem(&self) -> Answer {
        self.post(
            "/otp/status",
            &json!({ "destinationNumber": NUMBER, "claim": true }),
        )
        .await
    }

    async fn cancel(&self) -> Answer {
        self.post("/otp/cancel", &json!({ "destinationNumber": NUMBER }))
            .await
    }

    pub(super) fn provider_checks(&self) -> usize {
        self.simulator.requests(Operation::Verify).len()
    }

    pub(super) fn messages_sent(&self) -> usize {
        self.simulator.inbox().len()
    }
}

#[tokio::test]
async fn a_send_returns_the_attempts_left_and_the_time_of_the_next_send() {
    let world = World::counted(&[]).await;
    let answer = world.send().await;
    assert_eq!(answer.status, 202);
    let body = &answer.body;
    assert_eq!(
        (&body["attemptsLeft"], &body["expiresIn"], &body["resendIn"]),
        (&json!(3), &json!(600), &json!(30))
    );
    for field in ["expiresAt", "resendAt"] {
        assert!(
            body[field]
                .as_str()
                .is_some_and(|time| time.len() == 20 && time.ends_with('Z')),
            "{body}"
        );
    }
    assert_eq!(
        (&body["status"], &body["channel"], &body["codeLength"]),
        (&json!("pending"), &json!("sms"), &json!(6))
    );
}

#[tokio::test]
async fn wrong_guesses_count_down_and_exhaust_the_code() {
    let world = World::counted(&[]).await;
    let code = world.code_on_the_phone().await;
    for left in [2, 1, 0] {
        let answer = world.guess(&format!("{}{left}", &wrong(&code)[..5])).await;
        answer.is_problem(422, "invalid_code");
        assert_eq!(
            (&answer.body["attemptsLeft"], &answer.body["valid"]),
            (&json!(left), &json!(false))
        );
    }
    let answer = world.guess(&code).await;
    answer.is_problem(410, "attempts_exhausted");
    assert_eq!(
        (&answer.body["attemptsLeft"], &answer.body["valid"]),
        (&json!(0), &json!(false))
    );
    assert_eq!(world.provider_checks(), 3);
    assert_eq!(world.status().await.body["status"], "exhausted");
}

#[tokio::test]
async fn the_last_guess_can_be_right() {
    let world = World::counted(&[("ALLOWED_ATTEMPTS", "1")]).await;
    let code = world.code_on_the_phone().await;
    assert_eq!(world.guess(&code).await.status, 200);
}

#[tokio::test]
async fn a_repeated_wrong_guess_is_free_and_does_not_reach_the_provider() {
    let world = World::counted(&[("ALLOWED_ATTEMPTS", "2")]).await;
    let code = world.code_on_the_phone().await;
    for _ in 0..5 {
        let answer = world.guess(&wrong(&code)).await;
        answer.is_problem(422, "invalid_code");
        assert_eq!(answer.body["attemptsLeft"], json!(1));
    }
    assert_eq!(world.provider_checks(), 1);
    world.guess("000000").await;
    // The last guess can be repeated, too, although no attempts are left.
    let answer = world.guess("000000").await;
    answer.is_problem(422, "invalid_code");
    assert_eq!(
        (&answer.body["attemptsLeft"], world.provider_checks()),
        (&json!(0), 2)
    );
}

#[tokio::test]
async fn each_terminal_state_has_its_own_error_code() {
    let world = World::counted(&[("REFERENCE_ID", "random")]).await;
    let send = async || {
        let answer = world.send().await;
        assert_eq!(answer.status, 202, "{answer:?}");
        (answer.body["referenceId"].clone(), world.newest_code())
    };
    let verify = async |reference: &Value, otp: &str| {
        world
            .post(
                "/otp/verify",
                &json!({ "destinationNumber": NUMBER, "otp": otp, "referenceId": reference }),
            )
            .await
    };
    let about = async |path: &str, reference: &Value| {
        world
            .post(
                path,
                &json!({ "destinationNumber": NUMBER, "referenceId": reference }),
            )
            .await
    };

    verify(&json!("unknown"), "000000")
        .await
        .is_problem(404, "verification_not_found");
    about("/otp/status", &json!("unknown"))
        .await
        .is_problem(404, "verification_not_found");
    about("/otp/cancel", &json!("unknown"))
        .await
        .is_problem(404, "verification_not_found");

    let (reference, otp) = send().await;
    world.advance(Duration::from_millis(599_999));
    assert_eq!(
        about("/otp/status", &reference).await.body["status"],
        "pending"
    );
    world.advance(Duration::from_millis(1));
    verify(&reference, &otp)
        .await
        .is_problem(410, "code_expired");
    assert_eq!(
        about("/otp/status", &reference).await.body["status"],
        "expired"
    );
    assert_eq!(
        about("/otp/cancel", &reference).await.body["status"],
        "expired"
    );

    let (reference, otp) = send().await;
    let answer = about("/otp/cancel", &reference).await;
    assert_eq!(
        (answer.status, &answer.body),
        (
            200,
            &json!({ "referenceId": reference, "status": "canceled" })
        )
    );
    assert_eq!(
        about("/otp/cancel", &reference).await.body["status"],
        "canceled"
    );
    verify(&reference, &otp)
        .await
        .is_problem(410, "verification_canceled");

    world.advance(Duration::from_mins(10));
    let (reference, otp) = send().await;
    assert_eq!(verify(&reference, &otp).await.status, 200);
    verify(&reference, &otp)
        .await
        .is_problem(409, "already_verified");
    verify(&reference, &wrong(&otp))
        .await
        .is_problem(409, "already_verified");
    assert_eq!(
        about("/otp/cancel", &reference).await.body["status"],
        "verified"
    );
    assert_eq!(
        world.provider_checks(),
        1,
        "the refused guesses did not reach the provider"
    );
}

#[tokio::test]
async fn a_right_guess_can_be_repeated_under_its_key_for_twenty_seconds() {
    let world = World::counted(&[("ALLOWED_ATTEMPTS", "1")]).await;
    let body = json!({ "destinationNumber": NUMBER, "otp": world.code_on_the_phone().await });
    assert_eq!(
        world.post_with_key("a", "/otp/verify", &body).await.status,
        200
    );
    world.advance(Duration::from_millis(19_999));
    assert_eq!(
        world.post_with_key("a", "/otp/verify", &body).await.status,
        200,
        "the first response may have been lost"
    );
    world
        .post_with_key("b", "/otp/verify", &body)
        .await
        .is_problem(409, "already_verified");
    world
        .post("/otp/verify", &body)
        .await
        .is_problem(409, "already_verified");
    world.advance(Duration::from_millis(1));
    world
        .post_with_key("a", "/otp/verify", &body)
        .await
        .is_problem(409, "already_verified");
    assert_eq!(world.provider_checks(), 1);
}

#[tokio::test]
async fn a_resend_does_not_give_new_attempts() {
    let world = World::counted(&[]).await;
    let code = world.code_on_the_phone().await;
    world.guess(&wrong(&code)).await;
    world.advance(Duration::from_secs(29));
    let answer = world.send().await;
    answer.is_problem(429, "resend_too_soon");
    assert_eq!(
        (&answer.body["retryAfter"], &answer.body["attemptsLeft"]),
        (&json!(1), &json!(2))
    );
    world.advance(SECOND);

    let body = json!({ "destinationNumber": NUMBER, "codeLength": 8, "allowedAttempts": 5 });
    let answer = world.post("/otp/send", &body).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    assert_eq!(
        (&answer.body["attemptsLeft"], &answer.body["codeLength"]),
        (&json!(2), &json!(6))
    );
    let asked = world.asked_to_send();
    assert_eq!(
        (&asked["length"], &asked["attempts"]),
        (&json!(6), &json!(2))
    );
    let newest = world.newest_code();
    assert_eq!(world.guess(&newest).await.status, 200);
}

#[tokio::test]
async fn a_verification_sends_at_most_three_codes() {
    let world = World::counted(&[]).await;
    world.send().await;
    world.advance(HALF_A_MINUTE);
    assert_eq!(world.send().await.status, 202);
    world.advance(Duration::from_mins(1));
    let answer = world.send().await;
    assert_eq!(answer.status, 202, "{answer:?}");
    assert_eq!(
        answer.body["resendIn"],
        json!(600),
        "a new code can be sent when this verification has ended"
    );
    world.advance(Duration::from_mins(8));
    let answer = world.send().await;
    answer.is_problem(429, "resend_limit");
    assert_eq!(answer.body["retryAfter"], json!(120));
    world.cancel().await;
    // The windows also count for a new verification.
    world.send().await.is_problem(429, "rate_limited");
    world.advance(Duration::from_mins(2));
    let answer = world.send().await;
    assert_eq!(
        (answer.status, &answer.body["attemptsLeft"]),
        (202, &json!(3)),
        "{answer:?}"
    );
}

/// A code must not end at the provider before it ends here.
#[tokio::test]
async fn the_provider_keeps_a_code_for_whole_minutes_to_its_end_at_least() {
    let world = World::counted(&[("SEND_LIMITS", "1/30s")]).await;
    let body = json!({ "destinationNumber": NUMBER, "validityPeriod": 40 });
    assert_eq!(world.post("/otp/send", &body).await.status, 202);
    world.advance(Duration::from_mins(39) + Duration::from_secs(50));
    let answer = world.post("/otp/send", &body).await;
    assert_eq!(answer.body["expiresIn"], json!(20 * 60 + 10), "{answer:?}");
    assert_eq!(world.asked_to_send()["minutes"], json!(21));
}

#[tokio::test]
async fn resends_extend_a_verification_to_one_hour_at_most() {
    let world = World::counted(&[("SEND_LIMITS", "1/30s")]).await;
    let body = json!({ "destinationNumber": NUMBER, "validityPeriod": 40 });
    assert_eq!(
        world.post("/otp/send", &body).await.body["expiresIn"],
        json!(2400)
    );
    world.advance(Duration::from_mins(39));
    let answer = world.post("/otp/send", &body).await;
    assert_eq!(answer.body["expiresIn"], json!(21 * 60), "{answer:?}");
    assert_eq!(world.asked_to_send()["minutes"], json!(21));
    world.advance(Duration::from_mins(20));
    let answer = world.post("/otp/send", &body).await;
    assert_eq!(answer.body["expiresIn"], json!(60), "{answer:?}");
    let least = crate::with::LEAST.1;
    assert_eq!(
        world.asked_to_send()["minutes"],
        json!(least),
        "the shortest validity that the provider accepts"
    );
    world.advance(Duration::from_mins(1));
    assert_eq!(
        world.status().await.body["status"],
        "expired",
        "although the code is still valid at the provider"
    );
}

#[tokio::test]
async fn a_used_code_does_not_pass_the_next_verification_under_its_reference() {
    let world = World::counted(&[]).await;
    let code = world.code_on_the_phone().await;
    assert_eq!(world.guess(&code).await.status, 200);
    world.advance(HALF_A_MINUTE);
    world.send().await;
    let asked = world.provider_checks();
    let answer = world.guess(&code).await;
    answer.is_problem(422, "invalid_code");
    assert_eq!(
        (&answer.body["attemptsLeft"], world.provider_checks()),
        (&json!(2), asked),
        "the guess costs an attempt and does not reach the provider"
    );
    let newest = world.newest_code();
    assert_eq!(world.guess(&newest).await.status, 200);
}

#[tokio::test]
async fn foreign_codes_are_accepted_only_under_derived_references() {
    let world = World::counted(&[("FOREIGN_CODES", "on")]).await;
    for body in [
        json!({ "referenceId": "invented" }),
        json!({ "referenceId": "46bb87b047dd9f34b9cbe4011325b15b" }),
    ] {
        let mut body = body;
        body["destinationNumber"] = json!(NUMBER);
        body["otp"] = json!("012345");
        world
            .post("/otp/verify", &body)
            .await
            .is_problem(404, "verification_not_found");
    }
    assert_eq!(
        (world.provider_checks(), world.ledger.verifications().len()),
        (0, 0)
    );

    // The reference derived from the defaults is accepted, even if it is given as a reference ID.
    let sent = World::new().await.send().await;
    let body = json!({ "destinationNumber": NUMBER, "otp": "012345", "referenceId": sent.body["referenceId"] });
    world
        .post("/otp/verify", &body)
        .await
        .is_problem(422, "invalid_code");
    // A second derived reference would exceed the windows.
    let body = json!({ "destinationNumber": NUMBER, "otp": "012345", "source": "Invented" });
    let answer = world.post("/otp/verify", &body).await;
    answer.is_problem(429, "rate_limited");
    assert_eq!(
        (
            &answer.body["limit"],
            &answer.body["valid"],
            world.provider_checks()
        ),
        (&json!("number"), &json!(false), 1)
    );

    let random = World::counted(&[("REFERENCE_ID", "random")]).await;
    random
        .post("/otp/verify", &body_with(&sent.body["referenceId"]))
        .await
        .is_problem(404, "verification_not_found");
    assert_eq!(random.provider_checks(), 0);
}

fn body_with(reference: &Value) -> Value {
    json!({ "destinationNumber": NUMBER, "otp": "012345", "referenceId": reference })
}

#[tokio::test]
async fn a_guess_that_the_provider_did_not_check_costs_an_attempt_each_time() {
    let world = World::counted(&[]).await;
    let code = world.code_on_the_phone().await;
    world
        .simulator
        .fail_next(Operation::Verify, Failure::TooManyRequests);
    let answer = world.guess(&code).await;
    answer.is_problem(503, "provider_throttled");
    assert_eq!(answer.body["attemptsLeft"], json!(2));
    world
        .simulator
        .fail_next(Operation::Verify, Failure::CloseBeforeReading);
    let answer = world.guess(&code).await;
    answer.is_problem(503, "provider_unavailable");
    assert_eq!(answer.body["attemptsLeft"], json!(1));
    assert_eq!(world.guess(&code).await.status, 200);
    assert_eq!(world.provider_checks(), 3);
}

#[tokio::test]
async fn a_failed_send_refunds_its_charges_but_keeps_its_place_in_the_windows() {
    let world = World::counted(&[]).await;
    world
        .simulator
        .fail_next(Operation::Send, Failure::PermanentFailure);
    world.send().await.is_problem(422, "undeliverable");
    assert_eq!(world.status().await.body["status"], "failed");
    assert!(
        world.ledger.counters().values().all(|count| *count == 0),
        "{:?}",
        world.ledger.counters()
    );
    assert!(
        world
            .ledger
            .budgets()
            .values()
            .flat_map(|day| day.values())
            .all(|spent| *spent == 0)
    );
    world.send().await.is_problem(429, "rate_limited");
}

#[tokio::test]
async fn a_failed_send_says_when_the_number_can_get_the_next_one() {
    let world = World::counted(&[("SEND_LIMITS", "1/40s")]).await;
    world
        .simulator
        .fail_next(Operation::Send, Failure::TooManyRequests);
    let answer = world.send().await;
    answer.is_problem(503, "provider_throttled");
    assert_eq!(answer.body["retryAfter"], json!(40));
    world.advance(Duration::from_secs(39));
    world.send().await.is_problem(429, "rate_limited");
    world.advance(Duration::from_secs(1));
    assert_eq!(world.send().await.status, 202);
}

#[tokio::test]
async fn a_failed_resend_leaves_the_first_code_valid() {
    let world = World::counted(&[]).await;
    let code = world.code_on_the_phone().await;
    world.advance(Duration::from_mins(5));
    world
        .simulator
        .fail_next(Operation::Send, Failure::TooManyRequests);
    world.send().await.is_problem(503, "provider_throttled");
    let status = world.status().await;
    assert_eq!(
        (&status.body["status"], &status.body["expiresIn"]),
        (&json!("pending"), &json!(300))
    );
    assert_eq!(world.guess(&code).await.status, 200);
}

#[tokio::test]
async fn a_code_whose_delivery_is_unknown_can_be_verified() {
    let world = World::counted(&[]).await;
    world
        .simulator
        .fail_next(Operation::Send, Failure::CloseAfterReading);
    let answer = world.send().await;
    answer.is_problem(503, "provider_unavailable");
    assert_eq!(answer.body["delivery"], "unknown");
    assert!(
        world.ledger.counters().values().any(|count| *count == 1),
        "charges for a message that may have been sent are not refunded"
    );
    let code = world.newest_code();
    assert_eq!(world.guess(&code).await.status, 200);
}

#[tokio::test]
async fn an_idempotency_key_sends_once_and_replays_its_response_for_a_day() {
    let world = World::counted(&[("REFERENCE_ID", "random")]).await;
    let body = json!({ "destinationNumber": NUMBER });
    let first = world.post_with_key("k-1_A", "/otp/send", &body).await;
    assert_eq!(first.status, 202);
    world.advance(Duration::from_hours(23));
    let again = world
        .post_with_key(
            "k-1_A",
            "/otp/send",
            &json!({ "destinationNumber": "+1 425 555 0142" }),
        )
        .await;
    assert_eq!(
        (again.status, &again.body, world.messages_sent()),
        (202, &first.body, 1)
    );

    let other = world
        .post_with_key(
            "k-1_A",
            "/otp/send",
            &json!({ "destinationNumber": NUMBER, "codeLength": 7 }),
        )
        .await;
    other.is_problem(422, "idempotency_key_reused");
    world.advance(Duration::from_hours(1));
    let new = world.post_with_key("k-1_A", "/otp/send", &body).await;
    assert_eq!(
        (new.status, world.messages_sent()),
        (202, 2),
        "the key is valid for one day"
    );
    assert_ne!(new.body["referenceId"], first.body["referenceId"]);
}

#[tokio::test]
async fn an_idempotency_key_belongs_to_its_caller() {
    let world = World::counted(&[]).await;
    let event = |arn: &str, number: &str| {
        let mut event = post(
            "/otp/send",
            &json!({ "destinationNumber": number }).to_string(),
        );
        event["headers"]["idempotency-key"] = json!("k");
        event["requestContext"]["authorizer"]["iam"]["userArn"] = json!(arn);
        event
    };
    let one = "arn:aws:sts::123456789012:assumed-role/backend/i-1";
    assert_eq!(world.event(&event(one, NUMBER)).await.status, 202);
    // Another instance of the same backend.
    let two = "arn:aws:sts::123456789012:assumed-role/backend/i-2";
    assert_eq!(world.event(&event(two, NUMBER)).await.status, 202);
    assert_eq!(world.messages_sent(), 1);
    let other = "arn:aws:iam::123456789012:user/other";
    assert_eq!(world.event(&event(other, "+14255550143")).await.status, 202);
    assert_eq!(world.messages_sent(), 2);
}

#[tokio::test]
async fn a_refusal_releases_the_key_and_an_unknown_delivery_keeps_it() {
    let world = World::counted(&[]).await;
    let body = json!({ "destinationNumber": NUMBER });
    world
        .simulator
        .fail_next(Operation::Send, Failure::TooManyRequests);
    world
        .post_with_key("a", "/otp/send", &body)
        .await
        .is_problem(503, "provider_throttled");
    world
        .post_with_key("a", "/otp/send", &body)
        .await
        .is_problem(429, "rate_limited");
    world.advance(HALF_A_MINUTE);
    assert_eq!(
        world.post_with_key("a", "/otp/send", &body).await.status,
        202
    );

    world.advance(Duration::from_mins(2));
    world
        .simulator
        .fail_next(Operation::Send, Failure::CloseAfterReading);
    world
        .post_with_key("b", "/otp/send", &body)
        .await
        .is_problem(503, "provider_unavailable");
    let sent = world.messages_sent();
    for wait in [0, 29, 31, 3600] {
        world.advance(Duration::from_secs(wait));
        let answer = world.post_with_key("b", "/otp/send", &body).await;
        answer.is_problem(504, "provider_timeout");
        assert_eq!(answer.body["delivery"], "unknown");
        let detail = answer.body["detail"].as_str().unwrap();
        assert!(
            detail.contains("not known whether the first request"),
            "{detail}"
        );
    }
    assert_eq!(world.messages_sent(), sent);
}

#[tokio::test]
async fn malformed_idempotency_keys_are_rejected() {
    let world = World::counted(&[]).await;
    for key in ["", "\"\"", "ü", "a\tb", &"x".repeat(65)] {
        let answer = world
            .post_with_key(key, "/otp/send", &json!({ "destinationNumber": NUMBER }))
            .await;
        answer.is_problem(400, "invalid_parameter");
        assert_eq!(answer.body["field"], "Idempotency-Key", "{key:?}");
    }
    let longest = "x".repeat(64);
    assert_eq!(
        world
            .post_with_key(
                &longest,
                "/otp/send",
                &json!({ "destinationNumber": NUMBER })
            )
            .await
            .status,
        202
    );
}

#[tokio::test]
async fn a_success_can_be_redeemed_once_within_ten_minutes() {
    let world = World::counted(&[]).await;
    let code = world.code_on_the_phone().await;
    world
        .redeem()
        .await
        .is_problem(409, "verification_in_progress");
    assert_eq!(world.guess(&code).await.status, 200);
    world.advance(Duration::from_millis(599_999));
    let answer = world.redeem().await;
    let reference = world.simulator.newest_to(NUMBER).unwrap().reference_id;
    assert_eq!(
        answer.body,
        json!({ "claimed": true, "referenceId": reference, "status": "verified" })
    );
    world.redeem().await.is_problem(409, "already_verified");

    let code = world.code_on_the_phone().await;
    assert_eq!(world.guess(&code).await.status, 200);
    world.advance(Duration::from_mins(10));
    world.redeem().await.is_problem(410, "code_expired");
    world.advance(Duration::from_mins(10));
    world.code_on_the_phone().await;
    world.cancel().await;
    world
        .redeem()
        .await
        .is_problem(410, "verification_canceled");
}

#[tokio::test]
async fn a_redemption_can_be_repeated_under_its_key() {
    let world = World::counted(&[]).await;
    let code = world.code_on_the_phone().await;
    world.guess(&code).await;
    let body = json!({ "destinationNumber": NUMBER, "claim": true });
    for _ in 0..2 {
        assert_eq!(
            world.post_with_key("c", "/otp/status", &body).await.status,
            200
        );
    }
    world
        .post_with_key("d", "/otp/status", &body)
        .await
        .is_problem(409, "already_verified");
    world.advance(Duration::from_mins(10));
    world
        .post_with_key("c", "/otp/status", &body)
        .await
        .is_problem(409, "already_verified");
}

#[tokio::test]
async fn status_shows_a_verification_without_its_code() {
    let world = World::counted(&[]).await;
    let sent = world.send().await;
    world.advance(Duration::from_secs(10));
    let answer = world.status().await;
    assert_eq!(
        answer.body,
        json!({
            "referenceId": sent.body["referenceId"], "status": "pending", "destinationNumber": "+1*******0142",
            "channel": "sms", "attemptsLeft": 3, "expiresAt": sent.body["expiresAt"], "expiresIn": 590,
            "resendAt": sent.body["resendAt"], "resendIn": 20,
        })
    );
    let code = world.newest_code();
    world.guess(&code).await;
    let answer = world.status().await;
    assert_eq!(answer.body["status"], "verified");
    assert_eq!(
        (
            answer.body.get("attemptsLeft"),
            answer.body.get("expiresAt")
        ),
        (None, None)
    );
}

#[tokio::test]
async fn without_a_ledger_there_is_no_status_and_no_cancel() {
    let world = World::new().await;
    world.status().await.is_problem(404, "route_not_found");
    world.cancel().await.is_problem(404, "route_not_found");
    let answer = world.send().await;
    for field in ["attemptsLeft", "resendAt", "resendIn"] {
        assert_eq!(answer.body.get(field), None);
    }
}

#[tokio::test]
async fn an_operator_can_unlock_a_number_and_look_up_its_item_name() {
    let world = World::counted(&[]).await;
    let unlock =
        json!({ "operation": "unlock", "destinationNumber": "+1 425-555-0142" }).to_string();
    assert_eq!(
        world.raw(&unlock).await.unwrap(),
        json!({ "unlocked": true, "destinationNumber": "+1*******0142" })
    );
    let key = json!({ "operation": "key", "destinationNumber": NUMBER }).to_string();
    let answer = world.raw(&key).await.unwrap();
    world.send().await;
    // The number has an item at each door. Only the door of the send has counted one.
    let numbers = world.ledger.numbers();
    let mut sent = numbers.iter().filter(|(_, it)| !it.sends.is_empty());
    let number = sent.next().unwrap().0.as_str();
    assert_eq!(
        answer,
        json!({ "key": number, "destinationNumber": "+1*******0142" })
    );

    for (bad, says) in [
        (json!({ "operation": "unlock" }), "Expected: {\"operation\""),
        (
            json!({ "operation": "erase", "destinationNumber": NUMBER }),
            "Expected: {\"operation\"",
        ),
        (
            json!({ "operation": "unlock", "destinationNumber": "4255550142" }),
            "a phone number starts with +",
        ),
    ] {
        let error = world.raw(&bad.to_string()).await.unwrap_err();
        assert!(error.to_string().contains(says), "{error}");
    }
    let error = World::new().await.raw(&unlock).await.unwrap_err();
    assert!(error.to_string().contains("needs the ledger"), "{error}");
}

#[tokio::test]
async fn commands_are_rejected_over_http() {
    let world = World::counted(&[]).await;
    let body = json!({ "operation": "unlock", "destinationNumber": NUMBER });
    world
        .post("/otp/send", &body)
        .await
        .is_problem(400, "malformed_request");
    let mut event = post("/otp/send", &body.to_string());
    event["operation"] = json!("unlock");
    event["destinationNumber"] = json!(NUMBER);
    world
        .event(&event)
        .await
        .is_problem(400, "malformed_request");
}

#[tokio::test]
async fn no_id_of_a_message_that_aws_knows_is_in_the_table() {
    let world = World::counted(&[]).await;
    let mut event = post(
        "/otp/send",
        &json!({ "destinationNumber": NUMBER }).to_string(),
    );
    event["headers"]["idempotency-key"] = json!("k");
    let sent = world.event(&event).await;
    let id = world.simulator.newest_to(NUMBER).unwrap().message_id;
    assert_eq!(sent.body["messageId"], json!(id));
    let mut verifications = world.ledger.verifications().into_values();
    assert!(verifications.all(|stored| stored.message_id.is_none()));
    let keys = format!("{:?}", world.ledger.idempotency_keys());
    assert!(keys.contains("sealed:") && !keys.contains(&id), "{keys}");
    // The same key still gets the same response.
    let again = world.event(&event).await;
    assert_eq!(again.body, sent.body);
}

#[tokio::test]
async fn no_id_of_a_message_for_a_sign_in_is_in_the_table() {
    let world = World::counted(&[("COGNITO_FLOOR_MS", "0")]).await;
    let mut sign_in = SignIn::begin(&world, &User::with_number(NUMBER)).await;
    world.advance(Duration::from_secs(31));
    for sent in 1..3 {
        assert_eq!(world.messages_sent(), sent);
        let stored: Vec<_> = world.ledger.verifications().into_values().collect();
        assert_eq!(stored.len(), 1);
        assert_eq!(stored[0].message_id, None);
        sign_in.answer(&world, "resend").await;
    }
}
