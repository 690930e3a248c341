//! A verification that has ended stays ended, whatever guesses follow.

use crate::world::{Answer, NUMBER, World};
use serde_json::{Value, json};
use simulator::{Failure, Operation};
use std::time::Duration;

const ENDS: [End; 5] = [
    End::Verified,
    End::Canceled,
    End::Expired,
    End::Exhausted,
    End::Failed,
];

#[derive(Debug, Clone, Copy, PartialEq)]
enum End {
    Verified,
    Canceled,
    Expired,
    Exhausted,
    Failed,
}

impl End {
    /// The status, and the HTTP status and error code of a guess, `later` than the end.
    fn expected(self, later: Duration) -> (&'static str, u64, &'static str) {
        match self {
            Self::Verified => ("verified", 409, "already_verified"),
            Self::Canceled => ("canceled", 410, "verification_canceled"),
            Self::Exhausted if later < Duration::from_mins(10) => {
                ("exhausted", 410, "attempts_exhausted")
            }
            Self::Exhausted | Self::Expired => ("expired", 410, "code_expired"),
            Self::Failed => ("failed", 404, "verification_not_found"),
        }
    }
}

/// Makes a world with a verification that has just ended as `end`. Also returns the code of the message, if a message
/// was sent, and the reference ID of the verification.
async fn ended(end: End, settings: &[(&str, &str)]) -> (World, Option<String>, Value) {
    let world = World::counted(settings).await;
    if end == End::Failed {
        world
            .simulator
            .fail_next(Operation::Send, Failure::PermanentFailure);
        world
            .post("/otp/send", &json!({ "destinationNumber": NUMBER }))
            .await
            .is_problem(422, "undeliverable");
        let seen = world
            .post("/otp/status", &json!({ "destinationNumber": NUMBER }))
            .await;
        return (world, None, seen.body["referenceId"].clone());
    }
    let sent = world
        .post("/otp/send", &json!({ "destinationNumber": NUMBER }))
        .await;
    let code = world.newest_code();
    match end {
        End::Verified => assert_eq!(guess(&world, &json!({}), &code).await.status, 200),
        End::Canceled => {
            assert_eq!(
                world
                    .post("/otp/cancel", &json!({ "destinationNumber": NUMBER }))
                    .await
                    .status,
                200
            );
        }
        End::Exhausted => {
            for wrong in three_wrong(&code) {
                guess(&world, &json!({}), &wrong)
                    .await
                    .is_problem(422, "invalid_code");
            }
        }
        End::Expired => world.advance(Duration::from_mins(10)),
        End::Failed => {}
    }
    (world, Some(code), sent.body["referenceId"].clone())
}

fn three_wrong(code: &str) -> Vec<String> {
    ["111111", "222222", "333333", "444444"]
        .iter()
        .filter(|wrong| **wrong != code)
        .take(3)
        .map(|it| (*it).to_owned())
        .collect()
}

async fn guess(world: &World, name: &Value, otp: &str) -> Answer {
    let mut body = name.clone();
    body["destinationNumber"] = json!(NUMBER);
    body["otp"] = json!(otp);
    world.post("/otp/verify", &body).await
}

#[tokio::test]
async fn no_guess_reopens_an_ended_verification() {
    let delays = [0, 31, 5 * 60, 11 * 60, 59 * 60, 61 * 60].map(Duration::from_secs);
    for (end, foreign) in ENDS.into_iter().flat_map(|end| [(end, "off"), (end, "on")]) {
        for later in delays {
            // With FOREIGN_CODES on, AWS may be asked about a guess as soon as none of our own codes can be right any
            // more. There are two such cases: after a failed send, and when an hour has passed since the end. The test
            // leaves both cases out.
            let nothing_is_good = end == End::Failed || later > Duration::from_hours(1);
            if foreign == "on" && nothing_is_good {
                continue;
            }
            let (world, code, reference) = ended(end, &[("FOREIGN_CODES", foreign)]).await;
            world.advance(later);
            let asked = world.simulator.requests(Operation::Verify).len();
            let (status, http_status, error) = end.expected(later);
            for name in [
                json!({}),
                json!({ "referenceId": reference }),
                json!({ "source": "otp" }),
                json!({ "brandName": "ExampleCorp", "source": "otp" }),
            ] {
                for otp in code.iter().map(String::as_str).chain(["555555", "666666"]) {
                    // The right code may have been guessed before. Its repetition is refused in the same way.
                    let answer = guess(&world, &name, otp).await;
                    assert_ne!(
                        answer.body["valid"],
                        json!(true),
                        "{end:?}, {later:?} later"
                    );
                    answer.is_problem(http_status, error);
                }
            }
            assert_eq!(
                world.simulator.requests(Operation::Verify).len(),
                asked,
                "{end:?}, {later:?} later"
            );
            let seen = world
                .post("/otp/status", &json!({ "destinationNumber": NUMBER }))
                .await;
            assert_eq!(seen.body["status"], status, "{later:?} later");
        }
    }
}

#[tokio::test]
async fn guesses_after_the_end_do_not_delay_the_next_send() {
    let moments = [31, 11 * 60].map(Duration::from_secs);
    for ((end, foreign), later) in ENDS
        .into_iter()
        .flat_map(|end| [(end, "off"), (end, "on")])
        .flat_map(|case| moments.map(|later| (case, later)))
    {
        let mut sends = Vec::new();
        for guesses in [&[][..], &["555555", "666666", "777777"]] {
            let (world, code, _) = ended(end, &[("FOREIGN_CODES", foreign)]).await;
            world.advance(later);
            let code = code.filter(|_| !guesses.is_empty());
            for otp in code
                .iter()
                .map(String::as_str)
                .chain(guesses.iter().copied())
            {
                assert_ne!(guess(&world, &json!({}), otp).await.status, 200, "{end:?}");
            }
            let sent = world
                .post("/otp/send", &json!({ "destinationNumber": NUMBER }))
                .await;
            assert_eq!(
                (sent.status, &sent.body["attemptsLeft"]),
                (202, &json!(3)),
                "{end:?}"
            );
            assert_eq!(
                guess(&world, &json!({}), &world.newest_code()).await.status,
                200,
                "{end:?}"
            );
            sends.push(sent.body["resendIn"].clone());
        }
        // The windows are the same as without the guesses.
        assert_eq!(sends[0], sends[1], "{end:?}");
    }
}

#[tokio::test]
async fn a_success_can_be_redeemed_after_wrong_guesses() {
    let (world, _, _) = ended(End::Verified, &[]).await;
    for minutes in [1, 5, 9] {
        world.advance(Duration::from_mins(if minutes == 1 { 1 } else { 4 }));
        guess(&world, &json!({}), "555555")
            .await
            .is_problem(409, "already_verified");
        let seen = world
            .post("/otp/status", &json!({ "destinationNumber": NUMBER }))
            .await;
        assert_eq!(seen.body["status"], "verified", "after {minutes} minutes");
    }
    let body = json!({ "destinationNumber": NUMBER, "claim": true });
    assert_eq!(
        world.post("/otp/status", &body).await.body["claimed"],
        json!(true)
    );
}
