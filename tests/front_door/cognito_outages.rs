//! Triggers during an outage of the ledger.

use crate::pool::{SignIn, User, answer_correct, decision_of, is_challenge};
use crate::world::{KEY, NUMBER, World, app, changed, file};
use async_trait::async_trait;
use futures_util::future::join_all;
use otp_lambda::ledger::Unavailable;
use simulator::Simulator;
use simulator::layer::{Layer, Layered, Reply, Step};
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
