//! How verifications end, and how a success is redeemed.

use crate::shared::{
    AGAIN, ENDED, MILLI, MINUTE, OPEN, OPENING, SENT, START, USED_UNTIL, at, bring, digest, done,
    guess, is_refused_in, open, paid, refused, see, success, the_verification,
};
use otp_lambda::ledger::{
    Ledger, Opening, REDEEMABLE, State, Success, Transition, UsedCode, Verification,
};
use otp_lambda::time::Millis;
use std::collections::BTreeSet;

async fn consume(ledger: &dyn Ledger, generation: u64, success: &Success) -> Transition {
    let item = the_verification();
    ledger
        .consume(&item, generation, success, USED_UNTIL)
        .await
        .unwrap()
}

/// The generation that stands in the ledger.
async fn generation(ledger: &dyn Ledger) -> u64 {
    let seen = ledger.verification(&the_verification()).await.unwrap();
    seen.map_or(1, |seen| seen.generation)
}

async fn cancel(ledger: &dyn Ledger, now: Millis) -> Transition {
    let (item, seen) = (the_verification(), generation(ledger).await);
    ledger.cancel(&item, seen, now).await.unwrap()
}

async fn redeem(ledger: &dyn Ledger, redeemer: &str, now: Millis) -> Transition {
    let (item, redeemer) = (the_verification(), digest(redeemer));
    let seen = generation(ledger).await;
    ledger.redeem(&item, seen, &redeemer, now).await.unwrap()
}

pub(super) async fn a_sign_in_cannot_be_redeemed(ledger: &dyn Ledger) {
    let owner = digest("owner");
    let new = Opening {
        owner: Some(&owner),
        state: State::Sent,
        ..OPENING
    };
    open(ledger, None, &new).await;
    paid(guess(ledger, "a", START).await);
    done(consume(ledger, 1, &success("w")).await);
    let verified = see(ledger).await;
    assert_eq!(
        refused(redeem(ledger, "c", START).await),
        Some(verified.clone())
    );
    assert_eq!(see(ledger).await, verified);
}

pub(super) async fn each_generation_succeeds_at_most_once(ledger: &dyn Ledger) {
    let key = the_verification();
    assert_eq!(refused(consume(ledger, 1, &success("a")).await), None);
    assert_eq!(ledger.verification(&key).await.unwrap(), None);
    let step =
        |generation| async move { refused(consume(ledger, generation, &success("b")).await) };
    is_refused_in(ledger, ENDED, step).await;
    for state in OPEN {
        bring(ledger, state).await;
        let before = see(ledger).await;
        for wrong in [before.generation - 1, before.generation + 1] {
            assert_eq!(
                refused(consume(ledger, wrong, &success("c")).await),
                Some(before.clone())
            );
        }
        done(consume(ledger, before.generation, &success("d")).await);
        let verification =
            refused(consume(ledger, before.generation, &success("e")).await).unwrap();
        assert_eq!(verification.success, Some(success("d")));
        assert_eq!(see(ledger).await, verification);
    }
}

pub(super) async fn a_success_is_recorded(ledger: &dyn Ledger) {
    bring(ledger, State::Sent).await;
    for wrong in ["a", "b", "c"] {
        paid(guess(ledger, wrong, START).await);
    }
    let before = see(ledger).await;
    // The last attempt was paid before the code expired. The answer came later.
    let success = Success {
        winner: digest("winner"),
        code: digest("c"),
        at: OPENING.expires.plus(MINUTE),
    };
    done(consume(ledger, 1, &success).await);
    let used = [UsedCode {
        code: digest("c"),
        until: USED_UNTIL.unwrap(),
    }]
    .into();
    let verified = Verification {
        state: State::Verified,
        success: Some(success),
        used,
        ..before
    };
    assert_eq!(see(ledger).await, verified);
}

pub(super) async fn a_code_that_may_verify_again_does_not_become_a_used_code(ledger: &dyn Ledger) {
    let item = the_verification();
    for generation in 1..=3 {
        bring(ledger, State::Sent).await;
        let success = success(&generation.to_string());
        let step = ledger.consume(&item, generation, &success, None);
        done(step.await.unwrap());
        let seen = see(ledger).await;
        assert_eq!((seen.success, seen.used), (Some(success), BTreeSet::new()));
    }
    // The used codes of earlier generations stay.
    bring(ledger, State::Verified).await;
    let before = see(ledger).await.used;
    assert_eq!(before.len(), 1);
    bring(ledger, State::Sent).await;
    let success = success("w");
    let step = ledger.consume(&item, 5, &success, None);
    done(step.await.unwrap());
    assert_eq!(see(ledger).await.used, before);
}

pub(super) async fn an_open_verification_can_be_canceled(ledger: &dyn Ledger) {
    for state in OPEN {
        bring(ledger, state).await;
        let before = see(ledger).await;
        done(cancel(ledger, OPENING.expires.minus(MILLI)).await);
        assert_eq!(
            see(ledger).await,
            Verification {
                state: State::Canceled,
                ..before
            }
        );
    }
}

pub(super) async fn an_ended_verification_cannot_be_canceled(ledger: &dyn Ledger) {
    let key = the_verification();
    assert_eq!(refused(cancel(ledger, START).await), None);
    assert_eq!(ledger.verification(&key).await.unwrap(), None);
    let step = |_| async move { refused(cancel(ledger, START).await) };
    is_refused_in(ledger, ENDED, step).await;
    bring(ledger, State::Sent).await;
    let before = see(ledger).await;
    assert_eq!(refused(cancel(ledger, OPENING.expires).await), Some(before));
    for wrong in ["a", "b", "c"] {
        paid(guess(ledger, wrong, START).await);
    }
    let before = see(ledger).await;
    assert_eq!(refused(cancel(ledger, START).await), Some(before.clone()));
    assert_eq!(see(ledger).await, before);
}

pub(super) async fn a_success_is_redeemed_once(ledger: &dyn Ledger) {
    bring(ledger, State::Verified).await;
    let before = see(ledger).await;
    done(redeem(ledger, "first", at(MINUTE)).await);
    let claimed = Verification {
        redeemed_by: Some(digest("first")),
        redeemed_at: Some(at(MINUTE)),
        ..before
    };
    assert_eq!(see(ledger).await, claimed);
    assert_eq!(
        refused(redeem(ledger, "second", at(MINUTE)).await),
        Some(claimed.clone())
    );
    assert_eq!(see(ledger).await, claimed);
}

pub(super) async fn a_success_is_redeemable_for_ten_minutes(ledger: &dyn Ledger) {
    let end = at(MINUTE).plus(REDEEMABLE);
    bring(ledger, State::Verified).await;
    assert_eq!(
        refused(redeem(ledger, "a", end).await).unwrap().redeemed_by,
        None
    );
    done(redeem(ledger, "a", end.minus(MILLI)).await);
}

pub(super) async fn only_a_success_can_be_redeemed(ledger: &dyn Ledger) {
    let key = the_verification();
    assert_eq!(refused(redeem(ledger, "a", START).await), None);
    assert_eq!(ledger.verification(&key).await.unwrap(), None);
    let step = |_| async move { refused(redeem(ledger, "a", START).await) };
    let states = OPEN.into_iter().chain([State::Failed, State::Canceled]);
    is_refused_in(ledger, states, step).await;
}

pub(super) async fn a_cancel_ends_no_other_generation(ledger: &dyn Ledger) {
    let key = the_verification();
    bring(ledger, State::Sent).await;
    assert!(ledger.reopen(&key, SENT, &AGAIN).await.unwrap());
    let before = see(ledger).await;
    for other in [1, 3] {
        let step = ledger.cancel(&key, other, START).await.unwrap();
        assert_eq!(refused(step), Some(before.clone()));
        assert_eq!(see(ledger).await, before);
    }
    done(ledger.cancel(&key, 2, START).await.unwrap());
}

pub(super) async fn the_success_of_another_generation_is_not_redeemed(ledger: &dyn Ledger) {
    let (key, redeemer) = (the_verification(), digest("redeemer"));
    bring(ledger, State::Verified).await;
    bring(ledger, State::Verified).await;
    let before = see(ledger).await;
    for other in [1, 3] {
        let step = ledger.redeem(&key, other, &redeemer, at(MINUTE));
        assert_eq!(refused(step.await.unwrap()), Some(before.clone()));
        assert_eq!(see(ledger).await, before);
    }
    done(ledger.redeem(&key, 2, &redeemer, at(MINUTE)).await.unwrap());
}
