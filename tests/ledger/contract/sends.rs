//! Verifications: how they open, and how their sends are settled.

use crate::shared::{
    AGAIN, ENDED, FAILED, HOLDER, MINUTE, OPENING, PINPOINT, SENT, START, USED_UNTIL, as_opened,
    at, bring, digest, done, guess, open, paid, seconds, see, sent, success, the_verification,
};
use otp_lambda::ledger::{
    Holder, Issuer, Ledger, Opening, Resend, Seen, Settled, State, Success, USED, UsedCode,
    Verification,
};
use std::collections::BTreeSet;

pub(super) async fn an_opened_verification_reads_back(ledger: &dyn Ledger) {
    let key = the_verification();
    assert_eq!(ledger.verification(&key).await.unwrap(), None);
    open(ledger, None, &OPENING).await;
    assert_eq!(see(ledger).await, as_opened());
    let new = Opening {
        state: State::Sent,
        ..OPENING
    };
    open(ledger, Some(1), &new).await;
    assert_eq!(
        see(ledger).await,
        Verification {
            generation: 2,
            state: State::Sent,
            ..as_opened()
        }
    );
}

pub(super) async fn a_verification_opens_only_over_the_generation_seen(ledger: &dyn Ledger) {
    let key = the_verification();
    assert!(!ledger.open(&key, Some(1), &OPENING).await.unwrap());
    assert_eq!(ledger.verification(&key).await.unwrap(), None);
    open(ledger, None, &OPENING).await;
    let another = Opening {
        brand_name: "Another",
        ..OPENING
    };
    for seen in [None, Some(0), Some(2)] {
        assert!(
            !ledger.open(&key, seen, &another).await.unwrap(),
            "{seen:?}"
        );
    }
    assert_eq!(see(ledger).await, as_opened());
    assert!(ledger.open(&key, Some(1), &another).await.unwrap());
    assert!(!ledger.open(&key, Some(1), &OPENING).await.unwrap());
    assert_eq!(see(ledger).await.brand_name, "Another");
}

pub(super) async fn a_new_verification_keeps_only_the_used_codes(ledger: &dyn Ledger) {
    let key = the_verification();
    bring(ledger, State::Sent).await;
    assert!(ledger.reopen(&key, SENT, &AGAIN).await.unwrap());
    paid(guess(ledger, "guess", START).await);
    done(
        ledger
            .consume(&key, 2, &success("winner"), USED_UNTIL)
            .await
            .unwrap(),
    );
    done(
        ledger
            .redeem(&key, 2, &digest("claimant"), at(MINUTE))
            .await
            .unwrap(),
    );
    let used = UsedCode {
        code: digest("code"),
        until: at(MINUTE).plus(USED),
    };
    for generation in [3, 4] {
        open(ledger, Some(generation - 1), &OPENING).await;
        assert_eq!(
            see(ledger).await,
            Verification {
                generation,
                used: [used.clone()].into(),
                ..as_opened()
            }
        );
    }
}

/// Opens the verification again without these used codes.
async fn forget(ledger: &dyn Ledger, seen: Option<u64>, codes: &[UsedCode]) {
    let new = Opening {
        forget: codes,
        ..OPENING
    };
    open(ledger, seen, &new).await;
}

pub(super) async fn used_codes_are_kept_until_they_are_forgotten(ledger: &dyn Ledger) {
    let key = the_verification();
    let used = |code| UsedCode {
        code: digest(code),
        until: at(MINUTE).plus(USED),
    };
    for (generation, code) in [(1, "a"), (2, "b"), (3, "c")] {
        let seen = (generation > 1).then_some(generation - 1);
        open(ledger, seen, &OPENING).await;
        let success = Success {
            code: digest(code),
            ..success("winner")
        };
        done(
            ledger
                .consume(&key, generation, &success, USED_UNTIL)
                .await
                .unwrap(),
        );
    }
    assert_eq!(
        see(ledger).await.used,
        [used("a"), used("b"), used("c")].into()
    );
    let codes = [used("a"), used("c"), used("unknown")];
    forget(ledger, Some(3), &codes).await;
    assert_eq!(see(ledger).await.used, [used("b")].into());
    forget(ledger, Some(4), &[used("b")]).await;
    assert_eq!(see(ledger).await.used, BTreeSet::new());
    forget(ledger, Some(5), &[used("b")]).await;
}

pub(super) async fn a_further_code_keeps_the_attempts(ledger: &dyn Ledger) {
    let key = the_verification();
    bring(ledger, State::Sent).await;
    paid(guess(ledger, "guess", START).await);
    let again = Verification {
        generation: 2,
        expires: AGAIN.expires,
        left: 2,
        sends: 2,
        issuers: AGAIN.issuers.to_vec(),
        plain_until: AGAIN.plain_until,
        message_id: Some("m1".to_owned()),
        channel: "voice".to_owned(),
        language: "de-DE".to_owned(),
        ..as_opened()
    };
    assert!(ledger.reopen(&key, SENT, &AGAIN).await.unwrap());
    assert_eq!(see(ledger).await, again);
    assert!(!ledger.reopen(&key, SENT, &AGAIN).await.unwrap());
    assert_eq!(see(ledger).await, again);
    let reserved = Seen::of(&again);
    let stale = Seen {
        generation: 1,
        ..reserved
    };
    assert!(!ledger.reopen(&key, stale, &AGAIN).await.unwrap());
    assert!(ledger.reopen(&key, reserved, &AGAIN).await.unwrap());
    ledger
        .settle(&key, 3, HOLDER, &Settled::Unclear)
        .await
        .unwrap();
    let unclear = Seen {
        generation: 3,
        state: State::Unclear,
    };
    assert!(ledger.reopen(&key, unclear, &AGAIN).await.unwrap());
    assert_eq!(
        see(ledger).await,
        Verification {
            generation: 4,
            sends: 4,
            ..again
        }
    );
}

pub(super) async fn an_ended_verification_gets_no_further_code(ledger: &dyn Ledger) {
    let key = the_verification();
    assert!(!ledger.reopen(&key, SENT, &AGAIN).await.unwrap());
    assert_eq!(ledger.verification(&key).await.unwrap(), None);
    for state in ENDED {
        bring(ledger, state).await;
        let before = see(ledger).await;
        assert!(
            !ledger
                .reopen(&key, Seen::of(&before), &AGAIN)
                .await
                .unwrap(),
            "{state:?}"
        );
        assert_eq!(see(ledger).await, before);
    }
    bring(ledger, State::Sent).await;
    for wrong in ["a", "b"] {
        paid(guess(ledger, wrong, START).await);
    }
    let seen = Seen::of(&see(ledger).await);
    assert!(ledger.reopen(&key, seen, &AGAIN).await.unwrap());
    paid(guess(ledger, "c", START).await);
    let exhausted = Seen::of(&see(ledger).await);
    assert!(!ledger.reopen(&key, exhausted, &AGAIN).await.unwrap());
}

/// A send first reserves the verification, and settles it when the outcome is known. While the verification is
/// reserved, its record names every issuer that may have a valid code. After the verification is settled, the record
/// no longer names some of these issuers.
pub(super) async fn a_resend_that_saw_a_send_under_way_comes_too_late_once_it_is_settled(
    ledger: &dyn Ledger,
) {
    let key = the_verification();
    for settled in [sent(None), Settled::Unclear] {
        bring(ledger, State::Sent).await;
        let seen = Seen::of(&see(ledger).await);
        assert!(ledger.reopen(&key, seen, &AGAIN).await.unwrap());
        let under_way = Seen::of(&see(ledger).await);
        ledger
            .settle(&key, under_way.generation, HOLDER, &settled)
            .await
            .unwrap();
        let before = see(ledger).await;
        assert!(!ledger.reopen(&key, under_way, &AGAIN).await.unwrap());
        assert_eq!(see(ledger).await, before);
    }
}

pub(super) async fn a_reserved_send_is_settled_once(ledger: &dyn Ledger) {
    let key = the_verification();
    let earlier = |state| Verification {
        generation: 7,
        state,
        expires: seconds(300),
        sends: 2,
        issuers: AGAIN.issuers.to_vec(),
        plain_until: seconds(360),
        channel: "voice".to_owned(),
        language: "de-DE".to_owned(),
        ..as_opened()
    };
    let (sent_before, unclear_before) = (earlier(State::Sent), earlier(State::Unclear));
    let opened = as_opened();
    let as_sent = Verification {
        state: State::Sent,
        message_id: Some("m".to_owned()),
        ..opened.clone()
    };
    let outcomes = [
        (sent(Some("m")), as_sent.clone()),
        (
            sent(None),
            Verification {
                message_id: None,
                ..as_sent
            },
        ),
        (
            Settled::Unclear,
            Verification {
                state: State::Unclear,
                ..opened.clone()
            },
        ),
        (
            Settled::Unsent {
                issuers: &[Issuer::Decoy],
            },
            Verification {
                state: State::Sent,
                issuers: vec![Issuer::Decoy],
                message_id: None,
                ..opened.clone()
            },
        ),
        (
            FAILED,
            Verification {
                state: State::Failed,
                plain_until: START,
                ..opened
            },
        ),
        (Settled::Back(&sent_before), sent_before.clone()),
        (Settled::Back(&unclear_before), unclear_before.clone()),
    ];
    let all = outcomes.clone();
    for (generation, (outcome, expected)) in (1..).zip(outcomes) {
        bring(ledger, State::Reserved).await;
        let expected = Verification {
            generation,
            ..expected
        };
        ledger
            .settle(&key, generation, HOLDER, &outcome)
            .await
            .unwrap();
        assert_eq!(see(ledger).await, expected);
        for (again, _) in &all {
            ledger
                .settle(&key, generation, HOLDER, again)
                .await
                .unwrap();
            assert_eq!(see(ledger).await, expected);
        }
    }
    // A message without an ID removes the ID of the message before.
    bring(ledger, State::Sent).await;
    let seen = Seen::of(&see(ledger).await);
    let generation = seen.generation;
    assert!(ledger.reopen(&key, seen, &AGAIN).await.unwrap());
    assert_eq!(see(ledger).await.issuers, AGAIN.issuers);
    ledger
        .settle(&key, generation + 1, HOLDER, &sent(None))
        .await
        .unwrap();
    let seen = see(ledger).await;
    assert_eq!((seen.message_id, seen.issuers), (None, vec![PINPOINT]));
}

pub(super) async fn a_settlement_of_an_older_generation_is_ignored(ledger: &dyn Ledger) {
    let key = the_verification();
    let earlier = Verification {
        state: State::Sent,
        expires: START,
        ..as_opened()
    };
    let outcomes = [
        sent(Some("late")),
        sent(None),
        Settled::Unclear,
        Settled::Unsent {
            issuers: &[Issuer::Decoy],
        },
        FAILED,
        Settled::Back(&earlier),
    ];
    for outcome in &outcomes {
        ledger.settle(&key, 1, HOLDER, outcome).await.unwrap();
    }
    assert_eq!(ledger.verification(&key).await.unwrap(), None);
    bring(ledger, State::Reserved).await;
    bring(ledger, State::Reserved).await;
    for outcome in &outcomes {
        for generation in [0, 1, 3] {
            ledger
                .settle(&key, generation, HOLDER, outcome)
                .await
                .unwrap();
        }
        assert_eq!(
            see(ledger).await,
            Verification {
                generation: 2,
                ..as_opened()
            }
        );
    }
    for state in [State::Verified, State::Canceled] {
        bring(ledger, state).await;
        let before = see(ledger).await;
        for outcome in &outcomes {
            ledger
                .settle(&key, before.generation, HOLDER, outcome)
                .await
                .unwrap();
            assert_eq!(see(ledger).await, before);
        }
    }
}

pub(super) async fn only_the_request_that_reserved_a_send_settles_it(ledger: &dyn Ledger) {
    let (key, other) = (the_verification(), Holder(HOLDER.0 + 1));
    let earlier = Verification {
        state: State::Sent,
        ..as_opened()
    };
    let outcomes = [
        sent(Some("of another")),
        sent(None),
        Settled::Unclear,
        Settled::Unsent {
            issuers: &[Issuer::Decoy],
        },
        FAILED,
        Settled::Back(&earlier),
    ];
    bring(ledger, State::Reserved).await;
    for outcome in &outcomes {
        ledger.settle(&key, 1, other, outcome).await.unwrap();
        assert_eq!(see(ledger).await, as_opened());
    }
    let resend = Resend {
        holder: other,
        ..AGAIN
    };
    let reserved = Seen::of(&see(ledger).await);
    assert!(ledger.reopen(&key, reserved, &resend).await.unwrap());
    let before = see(ledger).await;
    assert_eq!(before.holder, other);
    for outcome in &outcomes {
        ledger.settle(&key, 2, HOLDER, outcome).await.unwrap();
        assert_eq!(see(ledger).await, before);
    }
    ledger
        .settle(&key, 2, other, &Settled::Unclear)
        .await
        .unwrap();
    assert_eq!(see(ledger).await.state, State::Unclear);
}
