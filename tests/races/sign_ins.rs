//! Many sign-ins of one user at the same time.

use crate::store::{NewStore, Store, over_both_stores};
use crate::table::Flaw;
use crate::world::{Setup, World, at_once, check, holds_and_fails_with, number};
use otp_lambda::service::ChallengeState;
use std::time::Instant;
use tokio::task::yield_now;

over_both_stores!(concurrent_sign_ins_send_once,);

/// Several sign-ins of one user begin at nearly the same time, and must send one message together. The windows allow
/// more than one message, so only the verification can stop the others. Each sign-in begins a little later than the one
/// before, and its steps come between the steps of the others.
async fn concurrent_sign_ins_send_once(new: NewStore) {
    let race = async |store: Store, flaw, users: usize| {
        let world = World::new(
            store,
            Setup {
                limits: "20/1h",
                share: "50",
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
                if !is_taken_up {
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
