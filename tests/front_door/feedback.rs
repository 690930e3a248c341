//! Feedback to AWS about codes that came back.

use crate::pool::{SignIn, User};
use crate::world::{NUMBER, World};
use serde_json::{Value, json};
use simulator::{Failure, Operation, Service};
use std::time::{Duration, Instant};

const ON: (&str, &str) = ("MESSAGE_FEEDBACK", "on");

async fn verify(world: &World, otp: &str) -> u64 {
    world
        .post(
            "/otp/verify",
            &json!({ "destinationNumber": NUMBER, "otp": otp }),
        )
        .await
        .status
}

fn told(world: &World) -> Vec<Value> {
    let requests = world.simulator.requests(Operation::Feedback);
    assert!(
        requests
            .iter()
            .all(|request| request.service == Service::PinpointSmsVoiceV2)
    );
    requests.into_iter().map(|request| request.body).collect()
}

/// The log lines `feedback_lost`.
fn lost(world: &World) -> Vec<Value> {
    let lines = world.log.text();
    let lines = lines
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines
        .filter(|line| line["message"] == "feedback_lost")
        .collect()
}

#[tokio::test]
async fn only_a_right_code_sends_feedback_and_only_once() {
    let world = World::counted(&[ON]).await;
    let code = world.code_on_the_phone().await;
    let message = world.simulator.newest_to(NUMBER).unwrap().message_id;
    let wrong = if code == "000000" { "000001" } else { "000000" };
    assert_eq!(verify(&world, wrong).await, 422);
    assert_eq!(
        told(&world),
        Vec::<Value>::new(),
        "a wrong guess sends none"
    );
    assert_eq!(verify(&world, &code).await, 200);
    assert_eq!(
        told(&world),
        [json!({ "MessageId": message, "MessageFeedbackStatus": "RECEIVED" })]
    );
    assert_eq!(verify(&world, &code).await, 409, "used");
    assert_eq!(told(&world).len(), 1);
    assert!(lost(&world).is_empty());
}

/// After an unclear send, the code may have come in another message than the one whose ID is known.
#[tokio::test]
async fn a_code_of_an_unclear_send_sends_no_feedback() {
    let world = World::counted(&[ON]).await;
    world.code_on_the_phone().await;
    world.advance(Duration::from_secs(31));
    world
        .simulator
        .fail_next(Operation::Send, Failure::InternalServerErrorAfterwards);
    let body = json!({ "destinationNumber": NUMBER });
    assert_eq!(world.post("/otp/send", &body).await.status, 503);
    assert_eq!(verify(&world, &world.newest_code()).await, 200);
    assert_eq!(told(&world), Vec::<Value>::new());
}

#[tokio::test]
async fn feedback_is_off_by_default() {
    let world = World::counted(&[]).await;
    let code = world.code_on_the_phone().await;
    assert_eq!(verify(&world, &code).await, 200);
    assert!(told(&world).is_empty());
}

#[tokio::test]
async fn the_right_code_of_a_sign_in_sends_feedback() {
    let world = World::counted(&[ON, ("COGNITO_FLOOR_MS", "0")]).await;
    let mut sign_in = SignIn::begin(&world, &User::with_number(NUMBER)).await;
    let message = world.simulator.newest_to(NUMBER).unwrap().message_id;
    sign_in.signs_in(&world).await;
    assert_eq!(
        told(&world),
        [json!({ "MessageId": message, "MessageFeedbackStatus": "RECEIVED" })]
    );
}

#[tokio::test]
async fn a_failed_feedback_neither_changes_nor_delays_the_response() {
    for failure in Failure::all()
        .into_iter()
        .filter(|f| f.applies_to(Service::PinpointSmsVoiceV2, Operation::Feedback))
    {
        let world = World::counted(&[ON]).await;
        let code = world.code_on_the_phone().await;
        let message = world.simulator.newest_to(NUMBER).unwrap().message_id;
        world
            .simulator
            .fail_next(Operation::Feedback, failure.clone());
        let asked = Instant::now();
        assert_eq!(verify(&world, &code).await, 200, "{failure:?}");
        assert!(
            asked.elapsed() < Duration::from_millis(2500),
            "{failure:?}: {:?}",
            asked.elapsed()
        );
        assert_eq!(
            world.simulator.requests(Operation::Feedback).len(),
            1,
            "{failure:?}: feedback is sent once"
        );
        let lost = lost(&world);
        // An empty response still means that the feedback arrived.
        let heard = matches!(failure, Failure::EmptyBody | Failure::EmptyObject);
        assert_eq!(lost.len(), usize::from(!heard), "{failure:?}: {lost:?}");
        for line in lost {
            assert_eq!(
                (&line["level"], &line["messageId"]),
                (&json!("WARN"), &json!(message)),
                "{failure:?}"
            );
            assert!(
                line["requestId"].is_string() && line["cause"].is_string(),
                "{line}"
            );
        }
        let request = world.last_line();
        assert_eq!(
            (&request["message"], &request["level"], &request["status"]),
            (&json!("request"), &json!("INFO"), &json!(200))
        );
    }
}

#[tokio::test]
async fn feedback_is_sent_after_the_success_is_recorded() {
    // While the feedback hangs, the success is already recorded.
    let world = World::counted(&[ON]).await;
    let code = world.code_on_the_phone().await;
    world
        .simulator
        .fail_next(Operation::Feedback, Failure::Hang);
    let body = json!({ "destinationNumber": NUMBER });
    let slow = verify(&world, &code);
    let quick = async {
        loop {
            tokio::time::sleep(Duration::from_millis(5)).await;
            if !world.simulator.requests(Operation::Feedback).is_empty() {
                return world.post("/otp/status", &body).await.body["status"].clone();
            }
        }
    };
    let (status, seen) = futures_util::future::join(slow, quick).await;
    assert_eq!((status, seen), (200, json!("verified")));
}
