//! The function is right with each answer to a question that AWS's documentation leaves open (docs/probe.md).

use crate::world::{Answer, NUMBER, World};
use serde_json::json;
use simulator::facts::{AllFacts, Facts, NotAccepted, Right, SecondSend};
use std::time::Duration;

fn usual() -> Facts {
    Facts::default()
}

/// Each answer alone, and those together with which an unguarded caller is worst off.
fn answers() -> Vec<Facts> {
    let mut all = vec![usual()];
    for second_send in [
        SecondSend::KeepsTheFirst,
        SecondSend::RepeatsTheCode,
        SecondSend::Refused,
    ] {
        all.push(Facts {
            second_send,
            ..usual()
        });
    }
    for right in [Right::Accepted, Right::NotFound, Right::BadRequest] {
        all.push(Facts {
            late_code: right,
            ..usual()
        });
        all.push(Facts {
            right_code_twice: right,
            ..usual()
        });
        all.push(Facts {
            other_number: right,
            ..usual()
        });
    }
    for answer in [NotAccepted::NotFound, NotAccepted::BadRequest] {
        all.push(Facts {
            unknown_reference: answer,
            exhausted_code: answer,
            expired_code: answer,
            ..usual()
        });
    }
    all.push(Facts {
        second_send: SecondSend::KeepsTheFirst,
        late_code: Right::Accepted,
        right_code_twice: Right::Accepted,
        other_number: Right::Accepted,
        ..usual()
    });
    all
}

fn imitate(world: &World, facts: &Facts) {
    world.simulator.imitate(AllFacts {
        pinpoint: facts.clone(),
        end_user_messaging: facts.clone(),
    });
}

async fn with_ledger(facts: &Facts) -> World {
    let world = World::counted(&[]).await;
    imitate(&world, facts);
    world
}

async fn send(world: &World) -> String {
    let answer = world
        .post("/otp/send", &json!({ "destinationNumber": NUMBER }))
        .await;
    assert_eq!(answer.status, 202, "{answer:?}");
    let code = world.newest_code();
    world.advance(Duration::from_secs(31));
    code
}

async fn guess(world: &World, otp: &str) -> Answer {
    let body = json!({ "destinationNumber": NUMBER, "otp": otp });
    world.post("/otp/verify", &body).await
}

#[tokio::test]
async fn after_a_resend_only_the_newest_code_is_right_and_only_once() {
    for facts in answers() {
        let world = with_ledger(&facts).await;
        let (first, second) = (send(&world).await, send(&world).await);
        guess(&world, &first).await.is_problem(422, "invalid_code");
        assert_eq!(guess(&world, &second).await.status, 200, "{facts:?}");
        // A success can be repeated for 20 seconds.
        world.advance(Duration::from_secs(21));
        for code in [&first, &second] {
            guess(&world, code)
                .await
                .is_problem(409, "already_verified");
        }
        // The next verification gives neither code another chance.
        world.advance(Duration::from_mins(5));
        let third = send(&world).await;
        for code in [&first, &second] {
            guess(&world, code).await.is_problem(422, "invalid_code");
        }
        assert_eq!(guess(&world, &third).await.status, 200, "{facts:?}");
    }
}

#[tokio::test]
async fn a_canceled_code_stays_refused() {
    for facts in answers() {
        let world = with_ledger(&facts).await;
        let canceled = send(&world).await;
        let body = json!({ "destinationNumber": NUMBER });
        assert_eq!(world.post("/otp/cancel", &body).await.status, 200);
        guess(&world, &canceled)
            .await
            .is_problem(410, "verification_canceled");
        let next = send(&world).await;
        guess(&world, &canceled)
            .await
            .is_problem(422, "invalid_code");
        assert_eq!(guess(&world, &next).await.status, 200, "{facts:?}");
    }
}

#[tokio::test]
async fn an_expired_code_and_one_without_guesses_stay_refused() {
    for facts in answers() {
        let world = with_ledger(&facts).await;
        let code = send(&world).await;
        let validity = world.simulator.codes()[0]
            .expires_at
            .duration_since(world.simulator.now())
            .unwrap();
        world.advance(validity + Duration::from_secs(10));
        guess(&world, &code).await.is_problem(410, "code_expired");

        let world = with_ledger(&facts).await;
        let code = send(&world).await;
        // An equal guess would count as a repeat of the same request.
        let wrong = ["000000", "000001", "000002", "000003"];
        for wrong in wrong.into_iter().filter(|wrong| *wrong != code).take(3) {
            assert_ne!(guess(&world, wrong).await.status, 200);
        }
        guess(&world, &code)
            .await
            .is_problem(410, "attempts_exhausted");
    }
}

/// The control: without a ledger nothing is remembered, and the same answers of AWS reach the caller.
#[tokio::test]
async fn without_a_ledger_the_answers_of_aws_reach_the_caller() {
    for (facts, first, again) in [
        (usual(), 422, 422),
        (
            Facts {
                second_send: SecondSend::KeepsTheFirst,
                ..usual()
            },
            200,
            422,
        ),
        (
            Facts {
                right_code_twice: Right::Accepted,
                ..usual()
            },
            422,
            200,
        ),
    ] {
        let world = World::new().await;
        imitate(&world, &facts);
        let (old, new) = (send(&world).await, send(&world).await);
        assert_eq!(guess(&world, &old).await.status, first, "{facts:?}");
        assert_eq!(guess(&world, &new).await.status, 200, "{facts:?}");
        assert_eq!(guess(&world, &new).await.status, again, "{facts:?}");
    }
}
