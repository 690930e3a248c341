//! Many sign-ins of one user at the same time.

use crate::store::{NewStore, Store, over_both_stores};
use crate::table::Flaw;
use crate::world::{Name, Setup, World, at_once, check, holds_and_fails_with, number, word};
use otp_lambda::policy::{Budget, Budgets};
use otp_lambda::service::ChallengeState;
use std::time::Instant;
use tokio::task::yield_now;

over_both_stores!(
    concurrent_sign_ins_send_once,
    sign_ins_of_unknown_users_take_no_place_from_others,
);

/// The windows allow all sends, so only the verification can limit them. Each sign-in begins a little later than the
/// one before, between its steps.
async fn concurrent_sign_ins_send_once(new: NewStore) {
    let race = async |store: Store, flaw, users: usize| {
        let world = World::new(
            store,
            Setup {
                limits: "20/1h",
                flaw,
                ..Setup::default()
            },
        );
        let began = Instant::now();
        let mut twice = 0;
        let mut strange = Vec::new();
        for user in 0..users {
            let before = world.provider.texts().len();
            let answers = at_once((0..4).map(|nth| {
                let world = world.clone();
                async move {
                    for _ in 0..nth * (user % 12) {
                        yield_now().await;
                    }
                    world.begin_sign_in(&number(user)).await
                }
            }))
            .await;
            twice += usize::from(world.provider.texts().len() != before + 1);
            for answer in answers {
                let challenge = answer.unwrap();
                let is_taken_up = matches!(
                    challenge.state,
                    ChallengeState::Sent | ChallengeState::Adopted
                );
                if !is_taken_up || challenge.decoy > 0 {
                    strange.push(challenge);
                }
            }
        }
        println!(
            "{}: 4 sign-ins of {users} users, flaw {flaw:?}, in {:?}: {twice} did not get one text",
            world.store,
            began.elapsed()
        );
        check(twice == 0 && strange.is_empty(), || {
            format!("{twice} of {users} did not get one text; {strange:?}")
        })
    };
    let store = new();
    let users = if store.is_memory() { 300 } else { 60 };
    let good = race(store, None, users).await;
    let flawed = race(new(), Some(Flaw::NotAtomic), 12).await;
    holds_and_fails_with("one text", good, &[(Flaw::NotAtomic, flawed)]);
}

/// The budget and the prefix have room for one message. A hundred sign-ins of unknown users look whether they do, at the
/// same time as somebody asks for a code. No count that they might have taken is ever given back.
async fn sign_ins_of_unknown_users_take_no_place_from_others(new: NewStore) {
    let attack = async |store: Store, flaw| {
        let setup = Setup {
            prefix_limits: "1/1h",
            budgets: Budgets {
                all: Budget::parse_list("1/24h").unwrap(),
                ..Budgets::default()
            },
            flaw,
            ..Setup::default()
        };
        let world = World::new(store, setup);
        let tasks = (0..101).map(|nth| {
            let world = world.clone();
            async move {
                if nth == 50 {
                    return word(&world.send(&number(nth), &Name::Default).await);
                }
                word(&world.begin_decoy(&number(nth)).await)
            }
        });
        let told = at_once(tasks).await;
        let refused = told.iter().filter(|told| **told != "ok").count();
        let (spent, prefixes) = (world.store.spent(), world.store.prefixes());
        let counted: Vec<u64> = spent.into_values().chain(prefixes).collect();
        let found = format!("{}; counted {counted:?}, {refused} refused", told[50]);
        println!(
            "{}: a send among 100 sign-ins, flaw {flaw:?}: {found}",
            world.store
        );
        check(counted == [1, 1] && refused == 0, || found)
    };
    let flaw = Flaw::SpendsToAsk;
    let flawed = attack(new(), Some(flaw)).await;
    holds_and_fails_with("one message", attack(new(), None).await, &[(flaw, flawed)]);
}
