//! Triggers during an outage of the ledger or of the provider.

use crate::pool::{
    HALF_A_MINUTE, Next, SignIn, User, answer_correct, decision_of, is_challenge, user, world,
    wrong,
};
use crate::world::{KEY, NUMBER, World, app, changed, file};
use async_trait::async_trait;
use futures_util::future::join_all;
use otp_lambda::ledger::Unavailable;
use simulator::layer::{Layer, Layered, Reply, Step};
use simulator::{Failure, Operation, Simulator};
use std::time::{Duration, Instant};

/// A ledger that does nothing: each step hangs or fails.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Outage {
    Hangs,
    Fails,
}

#[async_trait]
impl Layer for Outage {
    async fn step(&self, _: Step) -> Result<Reply, Unavailable> {
        match self {
            Self::Hangs => std::future::pending().await,
            Self::Fails => Err(Unavailable("out of order".to_owned())),
        }
    }
}

pub(crate) async fn world_with(outage: Outage) -> World {
    let simulator = Simulator::start(([127, 0, 0, 1], 0).into()).await.unwrap();
    let ledger = [
        ("LEDGER_TABLE", "otp"),
        ("LEDGER_KEY", KEY),
        ("COGNITO_FLOOR_MS", "50"),
        ("COGNITO_PRE_SIGN_UP", "on"),
        ("REFERENCE_ID", "random"),
    ];
    let environment = changed(&simulator.url(), &ledger);
    let app = app(&environment, None, Box::new(Layered(outage))).await;
    let mut world = World::around(app, simulator);
    world.set_time_left(Duration::from_secs(5));
    world
}

#[tokio::test]
async fn during_a_ledger_outage_triggers_are_answered_in_time_and_sign_nobody_in() {
    for outage in [Outage::Fails, Outage::Hangs] {
        let world = world_with(outage).await;
        let answered = async |name: &str| {
            let began = Instant::now();
            let response = world.trigger(&file(name)).await;
            assert!(
                began.elapsed() < Duration::from_secs(4),
                "{outage:?}, {name}: {:?}",
                began.elapsed()
            );
            response
        };
        let names = [
            "cognito.create",
            "cognito.create.unknown-user",
            "cognito.create.later-round",
            "cognito.verify",
            "cognito.verify.unknown-user",
            "cognito.verify.resend",
        ];
        for (name, response) in names
            .iter()
            .zip(join_all(names.iter().map(|name| answered(name))).await)
        {
            match name.split('.').nth(1).unwrap() {
                "create" => {
                    is_challenge(&response);
                    assert_eq!(
                        response["publicChallengeParameters"]["state"], "ended",
                        "{outage:?}, {name}"
                    );
                }
                "verify" => assert!(!answer_correct(&response), "{outage:?}, {name}"),
                other => panic!("{other}"),
            }
        }
        decision_of(&answered("cognito.define").await);
        let began = Instant::now();
        let refused = world
            .raw(&file("cognito.pre-sign-up").to_string())
            .await
            .unwrap_err();
        assert_eq!(
            refused.kind, "SignUpRefused",
            "the sign-up is not confirmed"
        );
        assert!(
            refused.message.contains("Sign up again"),
            "the message says that it can be retried: {refused}"
        );
        assert!(
            began.elapsed() < Duration::from_secs(4),
            "{outage:?}: {:?}",
            began.elapsed()
        );
        assert!(
            world.simulator.inbox().is_empty(),
            "a send that cannot be counted is not made"
        );
    }
}

#[tokio::test]
async fn during_a_ledger_outage_users_and_decoys_look_alike() {
    let world = world_with(Outage::Fails).await;
    let usual = World::counted(&[("COGNITO_FLOOR_MS", "0")]).await;
    let mut shown = Vec::new();
    for user in [User::with_number(NUMBER), User::unknown("nobody")] {
        let mut sign_in = SignIn::begin(&world, &user).await;
        let number = sign_in.shown.remove("destinationNumber");
        let always = SignIn::begin(&usual, &user)
            .await
            .shown
            .remove("destinationNumber");
        assert_eq!(
            number, always,
            "the number is the same as without the outage"
        );
        shown.push((sign_in.shown, sign_in.metadata));
    }
    assert_eq!(shown[0], shown[1]);
}

#[tokio::test]
async fn a_provider_outage_is_answered_in_time_and_can_be_retried() {
    let mut world = world(&[]).await;
    world.set_time_left(Duration::from_secs(5));
    let mut sign_in = SignIn::begin(&world, &user()).await;
    let code = world.newest_code();
    for (failure, left) in [
        (Failure::Slow(Duration::from_secs(8)), "2"),
        (Failure::TooManyRequests, "1"),
    ] {
        world.simulator.fail_next(Operation::Verify, failure);
        let began = Instant::now();
        assert!(
            !sign_in
                .verify(&world, &wrong(&code, left.parse().unwrap()))
                .await
        );
        assert!(
            began.elapsed() < Duration::from_secs(4),
            "{:?}",
            began.elapsed()
        );
        sign_in.answered(false);
        assert_eq!(sign_in.go_on(&world).await, Next::Asked);
        sign_in.is("try_again", left);
    }
    assert_eq!(sign_in.answer(&world, &code).await, Next::Tokens);
    assert_eq!(world.messages_sent(), 1);
}

#[tokio::test]
async fn an_answer_that_the_provider_did_not_check_can_be_given_again() {
    let mut world = world(&[]).await;
    world.set_time_left(Duration::from_secs(5));
    let mut sign_in = SignIn::begin(&world, &user()).await;
    let code = world.newest_code();
    world
        .simulator
        .fail_next(Operation::Verify, Failure::CloseBeforeReading);
    assert_eq!(sign_in.answer(&world, &code).await, Next::Asked);
    sign_in.is("try_again", "2");
    world.advance(Duration::from_secs(6));
    assert_eq!(sign_in.answer(&world, &code).await, Next::Tokens);
}

#[tokio::test]
async fn an_answer_that_the_provider_did_not_check_costs_one_attempt_however_often_delivered() {
    let mut world = world(&[("ALLOWED_ATTEMPTS", "5")]).await;
    world.set_time_left(Duration::from_secs(5));
    let mut sign_in = SignIn::begin(&world, &user()).await;
    let code = world.newest_code();
    world
        .simulator
        .fail_next(Operation::Verify, Failure::CloseBeforeReading);
    let asked = world.provider_checks();
    for _ in 0..3 {
        assert!(!sign_in.verify(&world, &code).await);
        world.advance(Duration::from_secs(5));
    }
    assert_eq!(world.provider_checks(), asked + 1);
    sign_in.answered(false);
    assert_eq!(sign_in.go_on(&world).await, Next::Asked);
    sign_in.is("try_again", "4");
    // The user gives the same answer again. This is a new guess.
    assert_eq!(sign_in.answer(&world, &code).await, Next::Tokens);
}

#[tokio::test]
async fn a_hanging_send_is_answered_in_time_and_its_code_signs_in() {
    let mut world = world(&[]).await;
    world.set_time_left(Duration::from_secs(5));
    world.simulator.fail_next(Operation::Send, Failure::Hang);
    let began = Instant::now();
    let mut sign_in = SignIn::begin(&world, &user()).await;
    assert!(
        began.elapsed() < Duration::from_secs(4),
        "{:?}",
        began.elapsed()
    );
    // The response is in time for Cognito. The message may have been sent, and here it was.
    sign_in.is("sent", "3");
    sign_in.signs_in(&world).await;
    assert_eq!(world.messages_sent(), 1);
}

#[tokio::test]
async fn a_hanging_resend_is_answered_in_time() {
    let mut world = world(&[]).await;
    world.set_time_left(Duration::from_secs(5));
    let mut sign_in = SignIn::begin(&world, &user()).await;
    world.advance(HALF_A_MINUTE);
    world.simulator.fail_next(Operation::Send, Failure::Hang);
    let began = Instant::now();
    assert!(!sign_in.verify(&world, "resend").await);
    assert!(
        began.elapsed() < Duration::from_secs(4),
        "{:?}",
        began.elapsed()
    );
    sign_in.answered(false);
    assert_eq!(sign_in.go_on(&world).await, Next::Asked);
    sign_in.is("try_again", "3");
    sign_in.signs_in(&world).await;
}

#[tokio::test]
async fn a_failed_send_looks_like_a_successful_one_and_a_resend_works() {
    for failure in [
        Failure::PermanentFailure,
        Failure::OptOut,
        Failure::TooManyRequests,
        Failure::AccessDenied,
    ] {
        let world = world(&[]).await;
        world.simulator.fail_next(Operation::Send, failure.clone());
        let mut sign_in = SignIn::begin(&world, &user()).await;
        sign_in.is("sent", "3");
        assert_eq!(sign_in.answer(&world, "012345").await, Next::Asked);
        sign_in.is("try_again", "2");
        assert_eq!(
            (world.messages_sent(), world.provider_checks()),
            (0, 0),
            "{failure:?}"
        );
        // No answer is right until a message is sent.
        world.advance(HALF_A_MINUTE);
        assert_eq!(sign_in.answer(&world, "resend").await, Next::Asked);
        sign_in.is("try_again", "2");
        assert_eq!(
            sign_in.answer(&world, &world.newest_code()).await,
            Next::Tokens,
            "{failure:?}"
        );
    }
}
