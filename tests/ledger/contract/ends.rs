//! How verifications end, and how a success is redeemed.

use crate::shared::{
    ENDED, MILLI, MINUTE, OPEN, OPENING, START, at, bring, digest, done, guess, paid, refused, see,
    success, the_verification,
};
use otp_lambda::ledger::{
    Ledger, Opening, REDEEMABLE, State, Success, USED, UsedCode, Verification,
};

pub(super) async fn a_sign_in_cannot_be_redeemed(ledger: &dyn Ledger) {
    let key = the_verification();
    let owner = digest("owner");
    assert!(
        ledger
            .open(
                &key,
                None,
                &Opening {
                    owner: Some(&owner),
                    state: State::Sent,
                    ..OPENING
                }
            )
            .await
            .unwrap()
    );
    paid(guess(ledger, "a", START).await);
    done(ledger.consume(&key, 1, &success("w")).await.unwrap());
    let verified = see(ledger).await;
    assert_eq!(
        refused(ledger.redeem(&key, &digest("c"), START).await.unwrap()),
        Some(verified.clone())
    );
    assert_eq!(see(ledger).await, verified);
}

pub(super) async fn each_generation_succeeds_at_most_once(ledger: &dyn Ledger) {
    let key = the_verification();
    assert_eq!(
        refused(ledger.consume(&key, 1, &success("a")).await.unwrap()),
        None
    );
    assert_eq!(ledger.verification(&key).await.unwrap(), None);
    for state in ENDED {
        bring(ledger, state).await;
        let before = see(ledger).await;
        assert_eq!(
            refused(
                ledger
                    .consume(&key, before.generation, &success("b"))
                    .await
                    .unwrap()
            ),
            Some(before.clone())
        );
        assert_eq!(see(ledger).await, before);
    }
    for state in OPEN {
        bring(ledger, state).await;
        let before = see(ledger).await;
        for wrong in [before.generation - 1, before.generation + 1] {
            assert_eq!(
                refused(ledger.consume(&key, wrong, &success("c")).await.unwrap()),
                Some(before.clone())
            );
        }
        done(
            ledger
                .consume(&key, before.generation, &success("d"))
                .await
                .unwrap(),
        );
        let verification = refused(
            ledger
                .consume(&key, before.generation, &success("e"))
                .await
                .unwrap(),
        )
        .unwrap();
        assert_eq!(verification.success, Some(success("d")));
        assert_eq!(see(ledger).await, verification);
    }
}

pub(super) async fn a_success_is_recorded(ledger: &dyn Ledger) {
    let key = the_verification();
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
    done(ledger.consume(&key, 1, &success).await.unwrap());
    let used = [UsedCode {
        code: digest("c"),
        until: success.at.plus(USED),
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

pub(super) async fn an_open_verification_can_be_canceled(ledger: &dyn Ledger) {
    for state in OPEN {
        bring(ledger, state).await;
        let before = see(ledger).await;
        done(
            ledger
                .cancel(&the_verification(), OPENING.expires.minus(MILLI))
                .await
                .unwrap(),
        );
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
    assert_eq!(refused(ledger.cancel(&key, START).await.unwrap()), None);
    assert_eq!(ledger.verification(&key).await.unwrap(), None);
    for state in ENDED {
        bring(ledger, state).await;
        let before = see(ledger).await;
        assert_eq!(
            refused(ledger.cancel(&key, START).await.unwrap()),
            Some(before.clone())
        );
        assert_eq!(see(ledger).await, before);
    }
    bring(ledger, State::Sent).await;
    let before = see(ledger).await;
    assert_eq!(
        refused(ledger.cancel(&key, OPENING.expires).await.unwrap()),
        Some(before)
    );
    for wrong in ["a", "b", "c"] {
        paid(guess(ledger, wrong, START).await);
    }
    let before = see(ledger).await;
    assert_eq!(
        refused(ledger.cancel(&key, START).await.unwrap()),
        Some(before.clone())
    );
    assert_eq!(see(ledger).await, before);
}

pub(super) async fn a_success_is_redeemed_once(ledger: &dyn Ledger) {
    let key = the_verification();
    bring(ledger, State::Verified).await;
    let before = see(ledger).await;
    done(
        ledger
            .redeem(&key, &digest("first"), at(MINUTE))
            .await
            .unwrap(),
    );
    let claimed = Verification {
        redeemed_by: Some(digest("first")),
        ..before
    };
    assert_eq!(see(ledger).await, claimed);
    assert_eq!(
        refused(
            ledger
                .redeem(&key, &digest("second"), at(MINUTE))
                .await
                .unwrap()
        ),
        Some(claimed.clone())
    );
    assert_eq!(see(ledger).await, claimed);
}

pub(super) async fn a_success_is_redeemable_for_ten_minutes(ledger: &dyn Ledger) {
    let key = the_verification();
    let end = at(MINUTE).plus(REDEEMABLE);
    bring(ledger, State::Verified).await;
    assert_eq!(
        refused(ledger.redeem(&key, &digest("a"), end).await.unwrap())
            .unwrap()
            .redeemed_by,
        None
    );
    done(
        ledger
            .redeem(&key, &digest("a"), end.minus(MILLI))
            .await
            .unwrap(),
    );
}

pub(super) async fn only_a_success_can_be_redeemed(ledger: &dyn Ledger) {
    let key = the_verification();
    assert_eq!(
        refused(ledger.redeem(&key, &digest("a"), START).await.unwrap()),
        None
    );
    assert_eq!(ledger.verification(&key).await.unwrap(), None);
    for state in OPEN.into_iter().chain([State::Failed, State::Canceled]) {
        bring(ledger, state).await;
        let before = see(ledger).await;
        assert_eq!(
            refused(ledger.redeem(&key, &digest("a"), START).await.unwrap()),
            Some(before.clone())
        );
        assert_eq!(see(ledger).await, before);
    }
}
