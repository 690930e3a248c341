//! Verifications that are remembered: attempts, reasons, resends, one-time use, status, cancel, claim.

use crate::world::{Answer, NUMBER, World, post};
use serde_json::{Value, json};
use simulator::{Failure, Operation};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
const HALF_A_MINUTE: Duration = Duration::from_secs(30);

/// Of a code that is not `code`.
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

    /// Under an idempotency key.
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

    fn asked(&self) -> usize {
        self.simulator.requests(Operation::Verify).len()
    }

    fn texts(&self) -> usize {
        self.simulator.inbox().len()
    }
}

#[tokio::test]
async fn a_send_says_how_many_guesses_are_left_and_when_the_next_may_be_sent() {
    let world = World::counted(&[]).await;
    let answer = world.send().await;
    assert_eq!(answer.status, 202);
    let body = &answer.body;
    assert_eq!(
        (&body["attemptsLeft"], &body["expiresIn"], &body["resendIn"]),
        (&json!(3), &json!(600), &json!(30))
    );
    for member in ["expiresAt", "resendAt"] {
        assert!(
            body[member]
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
async fn wrong_guesses_count_down_and_the_right_one_is_refused_after_the_last() {
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
    assert_eq!(world.asked(), 3);
    assert_eq!(world.status().await.body["status"], "exhausted");
}

#[tokio::test]
async fn the_last_guess_is_a_guess_and_may_be_right() {
    let world = World::counted(&[("ALLOWED_ATTEMPTS", "1")]).await;
    let code = world.code_on_the_phone().await;
    assert_eq!(world.guess(&code).await.status, 200);
}

#[tokio::test]
async fn the_same_wrong_guess_again_costs_nothing_and_asks_nobody() {
    let world = World::counted(&[("ALLOWED_ATTEMPTS", "2")]).await;
    let code = world.code_on_the_phone().await;
    for _ in 0..5 {
        let answer = world.guess(&wrong(&code)).await;
        answer.is_problem(422, "invalid_code");
        assert_eq!(answer.body["attemptsLeft"], json!(1));
    }
    assert_eq!(world.asked(), 1);
    world.guess("000000").await;
    // The last one, too, whatever is left.
    let answer = world.guess("000000").await;
    answer.is_problem(422, "invalid_code");
    assert_eq!(
        (&answer.body["attemptsLeft"], world.asked()),
        (&json!(0), 2)
    );
}

#[tokio::test]
async fn every_end_is_told_by_its_name() {
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
    assert_eq!(world.asked(), 1, "none of the refused ones asked anybody");
}

#[tokio::test]
async fn a_right_guess_is_right_again_for_who_asked_it_and_for_twenty_seconds() {
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
        "the answer may have been lost"
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
    assert_eq!(world.asked(), 1);
}

#[tokio::test]
async fn a_code_is_sent_again_without_new_guesses() {
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
async fn a_code_is_sent_three_times_and_then_it_has_to_end() {
    let world = World::counted(&[]).await;
    world.send().await;
    world.advance(HALF_A_MINUTE);
    assert_eq!(world.send().await.status, 202);
    world.advance(Duration::from_mins(1));
    let answer = world.send().await;
    assert_eq!(answer.status, 202, "{answer:?}");
    assert_eq!(answer.body["resendIn"], json!(600), "when it has ended");
    world.advance(Duration::from_mins(8));
    let answer = world.send().await;
    answer.is_problem(429, "resend_limit");
    assert_eq!(answer.body["retryAfter"], json!(120));
    world.cancel().await;
    // The windows hold for a new one, too.
    world.send().await.is_problem(429, "rate_limited");
    world.advance(Duration::from_mins(2));
    let answer = world.send().await;
    assert_eq!(
        (answer.status, &answer.body["attemptsLeft"]),
        (202, &json!(3)),
        "{answer:?}"
    );
}

#[tokio::test]
async fn resends_end_an_hour_after_the_first() {
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
        "the least that the provider takes"
    );
    world.advance(Duration::from_mins(1));
    assert_eq!(
        world.status().await.body["status"],
        "expired",
        "whatever the provider would say"
    );
}

#[tokio::test]
async fn a_used_code_is_not_good_for_the_next_verification_of_the_same_name() {
    let world = World::counted(&[]).await;
    let code = world.code_on_the_phone().await;
    assert_eq!(world.guess(&code).await.status, 200);
    world.advance(HALF_A_MINUTE);
    world.send().await;
    let asked = world.asked();
    let answer = world.guess(&code).await;
    answer.is_problem(422, "invalid_code");
    assert_eq!(
        (&answer.body["attemptsLeft"], world.asked()),
        (&json!(2), asked),
        "it is charged, and not even asked"
    );
    let newest = world.newest_code();
    assert_eq!(world.guess(&newest).await.status, 200);
}

#[tokio::test]
async fn a_code_of_the_function_without_a_ledger_is_one_of_other_software() {
    let mut world = World::new().await;
    let code = world.code_on_the_phone().await;
    world.reconfigure(&[("LEDGER_TABLE", "otp"), ("LEDGER_KEY", crate::world::KEY)]);
    let answer = world.guess(&wrong(&code)).await;
    answer.is_problem(422, "invalid_code");
    assert_eq!(answer.body["attemptsLeft"], json!(2));
    assert_eq!(world.guess(&code).await.status, 200);
    // It took the place of a send.
    world.send().await.is_problem(429, "rate_limited");
}

#[tokio::test]
async fn codes_of_other_software_are_asked_for_under_its_names_alone() {
    let world = World::counted(&[]).await;
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
    assert_eq!((world.asked(), world.ledger.verifications().len()), (0, 0));

    // The derived one of the defaults, spelled out, is such a name.
    let sent = World::new().await.send().await;
    let body = json!({ "destinationNumber": NUMBER, "otp": "012345", "referenceId": sent.body["referenceId"] });
    world
        .post("/otp/verify", &body)
        .await
        .is_problem(422, "invalid_code");
    // Another one does not get past the windows.
    let body = json!({ "destinationNumber": NUMBER, "otp": "012345", "source": "Invented" });
    let answer = world.post("/otp/verify", &body).await;
    answer.is_problem(429, "rate_limited");
    assert_eq!(
        (&answer.body["limit"], &answer.body["valid"], world.asked()),
        (&json!("number"), &json!(false), 1)
    );

    let random = World::counted(&[("REFERENCE_ID", "random")]).await;
    random
        .post("/otp/verify", &body_with(&sent.body["referenceId"]))
        .await
        .is_problem(404, "verification_not_found");
    assert_eq!(random.asked(), 0);
}

fn body_with(reference: &Value) -> Value {
    json!({ "destinationNumber": NUMBER, "otp": "012345", "referenceId": reference })
}

#[tokio::test]
async fn an_unanswered_guess_is_paid_for_and_may_be_asked_again_at_the_price_of_another() {
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
    assert_eq!(world.asked(), 3);
}

#[tokio::test]
async fn a_send_that_was_refused_leaves_nothing_but_its_place_in_the_windows() {
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
async fn a_refused_resend_leaves_the_first_code_as_it_was() {
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
async fn a_text_that_may_have_left_can_be_verified() {
    let world = World::counted(&[]).await;
    world
        .simulator
        .fail_next(Operation::Send, Failure::CloseAfterReading);
    let answer = world.send().await;
    answer.is_problem(503, "provider_unavailable");
    assert_eq!(answer.body["delivery"], "unknown");
    assert!(
        world.ledger.counters().values().any(|count| *count == 1),
        "what may have left is not given back"
    );
    let code = world.newest_code();
    assert_eq!(world.guess(&code).await.status, 200);
}

#[tokio::test]
async fn one_idempotency_key_sends_one_text_and_gives_one_answer() {
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
        (again.status, &again.body, world.texts()),
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
    assert_eq!((new.status, world.texts()), (202, 2), "a day is over");
    assert_ne!(new.body["referenceId"], first.body["referenceId"]);
}

#[tokio::test]
async fn a_key_is_its_callers_own() {
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
    // Another machine of the same backend.
    let two = "arn:aws:sts::123456789012:assumed-role/backend/i-2";
    assert_eq!(world.event(&event(two, NUMBER)).await.status, 202);
    assert_eq!(world.texts(), 1);
    let other = "arn:aws:iam::123456789012:user/other";
    assert_eq!(world.event(&event(other, "+14255550143")).await.status, 202);
    assert_eq!(world.texts(), 2);
}

#[tokio::test]
async fn a_refusal_frees_the_key_and_a_text_that_may_have_left_holds_it() {
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
    let texts = world.texts();
    for wait in [0, 29, 31, 3600] {
        world.advance(Duration::from_secs(wait));
        let answer = world.post_with_key("b", "/otp/send", &body).await;
        answer.is_problem(504, "provider_timeout");
        assert_eq!(answer.body["delivery"], "unknown");
    }
    assert_eq!(world.texts(), texts);
}

#[tokio::test]
async fn a_key_that_is_none_is_refused() {
    let world = World::counted(&[]).await;
    for key in ["", "a b", "ü", "a.b", &"x".repeat(65)] {
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
async fn a_success_can_be_claimed_once_and_for_ten_minutes() {
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
async fn a_claim_whose_answer_was_lost_can_be_asked_again_under_its_key() {
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
async fn the_state_of_a_verification_is_told_without_its_code() {
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
async fn without_a_ledger_there_is_nothing_to_ask_about() {
    let world = World::new().await;
    world.status().await.is_problem(404, "route_not_found");
    world.cancel().await.is_problem(404, "route_not_found");
    let answer = world.send().await;
    for member in ["attemptsLeft", "resendAt", "resendIn"] {
        assert_eq!(answer.body.get(member), None);
    }
}

#[tokio::test]
async fn an_operator_can_unlock_a_number_and_learn_what_it_is_called() {
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
    let number = world
        .ledger
        .numbers()
        .keys()
        .next()
        .unwrap()
        .as_str()
        .to_owned();
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
async fn a_command_cannot_come_in_over_http() {
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
