//! Writes that the caller has given up, and that arrive after the next code was sent.

use crate::store::{NewStore, Store, over_both_stores};
use crate::table::Flaw;
use crate::world::{MINUTE, Name, Setup, World, check, holds_and_fails_with, number, word};
use std::sync::Arc;

over_both_stores!(
    a_late_cancel_does_not_end_the_next_code,
    a_late_redeem_does_not_take_the_next_success,
    a_cancel_during_a_resend_ends_the_newest_code,
);

/// A world with one code that was sent.
async fn sent(store: Store, flaw: Option<Flaw>) -> Arc<World> {
    let setup = Setup {
        flaw,
        ..Setup::default()
    };
    let world = World::new(store, setup);
    world.send(&number(1), &Name::Default).await.unwrap();
    world
}

async fn verify(world: &World) -> &'static str {
    let code = world.provider.newest_code(&number(1));
    word(&world.verify(&number(1), &Name::Default, &code).await)
}

async fn a_late_cancel_does_not_end_the_next_code(new: NewStore) {
    let attack = async |store: Store, flaw| {
        let world = sent(store, flaw).await;
        world.table.delay("cancel");
        let told = word(&world.cancel(&number(1), &Name::Default).await);
        world.pass(MINUTE);
        let resent = word(&world.send(&number(1), &Name::Default).await);
        world.table.land().await;
        let found = (told, resent, verify(&world).await);
        check(found == ("ledger_unavailable", "ok", "ok"), || {
            format!("cancel, resend, verify: {found:?}")
        })
    };
    let flaw = Flaw::AnyGeneration;
    let flawed = attack(new(), Some(flaw)).await;
    holds_and_fails_with(
        "a late cancel",
        attack(new(), None).await,
        &[(flaw, flawed)],
    );
}

async fn a_late_redeem_does_not_take_the_next_success(new: NewStore) {
    let attack = async |store: Store, flaw| {
        let world = sent(store, flaw).await;
        assert_eq!(verify(&world).await, "ok");
        world.table.delay("redeem");
        let told = word(&world.redeem(&number(1), &Name::Default, "first").await);
        world.pass(MINUTE);
        world.send(&number(1), &Name::Default).await.unwrap();
        assert_eq!(verify(&world).await, "ok");
        world.table.land().await;
        let redeemed = word(&world.redeem(&number(1), &Name::Default, "second").await);
        check((told, redeemed) == ("ledger_unavailable", "ok"), || {
            format!("redeemed before {told}, and now {redeemed}")
        })
    };
    let flaw = Flaw::AnyGeneration;
    let flawed = attack(new(), Some(flaw)).await;
    holds_and_fails_with(
        "a late redeem",
        attack(new(), None).await,
        &[(flaw, flawed)],
    );
}

/// A cancel that has read the older generation is told of the newer one, and ends that.
async fn a_cancel_during_a_resend_ends_the_newest_code(new: NewStore) {
    let attack = async |flaw| {
        for round in 0..20 {
            let world = sent(new(), flaw).await;
            world.pass(MINUTE);
            let to = number(1);
            let resend = world.send(&to, &Name::Default);
            let cancel = async {
                for _ in 0..round {
                    tokio::task::yield_now().await;
                }
                world.cancel(&number(1), &Name::Default).await
            };
            let (sent_again, canceled) = futures_util::future::join(resend, cancel).await;
            let told = (word(&sent_again), word(&canceled), verify(&world).await);
            let (sent_again, canceled, verified) = told;
            let is_ended = matches!(sent_again, "ok" | "verification_in_progress")
                && (canceled, verified) == ("ok", "verification_canceled");
            check(is_ended, || {
                format!("resend, cancel, verify after {round} steps: {told:?}")
            })?;
        }
        Ok(())
    };
    let flaw = Flaw::SaysCanceled;
    let flawed = attack(Some(flaw)).await;
    holds_and_fails_with(
        "a cancel during a resend",
        attack(None).await,
        &[(flaw, flawed)],
    );
}
