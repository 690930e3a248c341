//! Many tasks race to do one step of the ledger. Each step must let exactly the right number of tasks through. As a
//! control, the same races run on a table that checks a condition first and writes later. On that table the races must
//! fail.

use crate::emulator::Emulator;
use crate::shared::{
    AGAIN, HOLDER, MINUTE, OPENING, SENT, START, USED_UNTIL, at, bring, charge, digest, paid, see,
    spending, success, the_counter, the_key, the_number, the_verification, windows,
};
use futures_util::future::BoxFuture;
use otp_lambda::ledger::{
    Attempt, KeyReservation, LOCKED, Ledger, NumberCharge, Opening, Reservation, SpendOutcome,
    State, Transition, Unavailable,
};
use std::sync::Arc;

/// The number of tasks in a race.
const MANY: usize = 100;

type Outcome = Result<bool, Unavailable>;

/// The number of tasks that got through, and of those that got an error.
async fn race<L, F>(ledger: &Arc<L>, contender: F) -> (usize, usize)
where
    L: Ledger + 'static,
    F: Fn(Arc<L>, usize) -> BoxFuture<'static, Outcome>,
{
    let tasks: Vec<_> = (0..MANY)
        .map(|index| tokio::spawn(contender(ledger.clone(), index)))
        .collect();
    let (mut through, mut lost) = (0, 0);
    for task in tasks {
        match task.await.unwrap() {
            Ok(true) => through += 1,
            Ok(false) => {}
            Err(_) => lost += 1,
        }
    }
    (through, lost)
}

macro_rules! races {
    ($($name:ident($ledger:ident, $index:ident) lets $expected:literal through: {$($before:tt)*} $contender:expr;)*) => {
        $(mod $name {
            use super::*;

            async fn race_on(naive: bool) -> (usize, usize) {
                let emulator = Emulator::new();
                let $ledger = Arc::new(emulator.ledger());
                $($before)*
                if naive {
                    emulator.naive();
                }
                race(&$ledger, |$ledger, $index| Box::pin(async move { $contender })).await
            }

            #[tokio::test(start_paused = true)]
            async fn a_conditional_write_holds() {
                assert_eq!(race_on(false).await, ($expected, 0));
            }

            #[tokio::test(start_paused = true)]
            async fn a_check_before_the_write_does_not_hold() {
                let (through, lost) = race_on(true).await;
                assert!(through + lost > $expected, "the race shows nothing");
            }
        })*
    };
}

races! {
    count(ledger, _index) lets 5 through: {}
        ledger.count(&the_counter(), 5, at(MINUTE)).await;
    spend(ledger, index) lets 5 through: {}
        // Some exceed the cap on messages, others the cap on money.
        ledger.spend(&spending(&[("m", 1, 5 + index as u64 % 2), ("u", 7, 35)])).await.map(|outcome| matches!(outcome, SpendOutcome::Spent(_)));
    reserve_key(ledger, _index) lets 1 through: {}
        ledger.reserve_key(&the_key(), HOLDER, &digest("f"), START).await.map(|claim| matches!(claim, KeyReservation::Reserved));
    reserve_send(ledger, _index) lets 5 through: {}
        ledger.reserve_send(&the_number(), &windows("5/1h,9/24h"), START).await
            .map(|reservation| matches!(reservation, Reservation::Reserved(_)));
    reserve_send_with_failures(ledger, _index) lets 5 through: { charge(&*ledger, START).await; }
        ledger.reserve_send(&the_number(), &windows("5/1h,9/24h"), START).await
            .map(|reservation| matches!(reservation, Reservation::Reserved(_)));
    charge_number(ledger, _index) lets 10 through: {
        for _ in 10..LOCKED {
            charge(&*ledger, START).await;
        }
    }
        ledger.charge_number(&the_number(), LOCKED, START).await.map(|charge| matches!(charge, NumberCharge::Charged(_)));
    open(ledger, _index) lets 1 through: {}
        ledger.open(&the_verification(), None, &OPENING).await;
    open_over(ledger, _index) lets 1 through: { bring(&*ledger, State::Canceled).await; }
        ledger.open(&the_verification(), Some(1), &OPENING).await;
    reopen(ledger, _index) lets 1 through: { bring(&*ledger, State::Sent).await; }
        ledger.reopen(&the_verification(), SENT, &AGAIN).await;
    spend_attempt(ledger, index) lets 5 through: {
        assert!(ledger.open(&the_verification(), None, &Opening { left: 5, ..OPENING }).await.unwrap());
    }
        ledger.spend_attempt(&the_verification(), &digest(&index.to_string()), None, START).await
            .map(|attempt| matches!(attempt, Attempt::Paid(_)));
    spend_attempt_for_one_guess(ledger, _index) lets 1 through: { bring(&*ledger, State::Sent).await; }
        ledger.spend_attempt(&the_verification(), &digest("g"), None, START).await
            .map(|attempt| matches!(attempt, Attempt::Paid(_)));
    taking_a_guess_over(ledger, _index) lets 1 through: {
        bring(&*ledger, State::Sent).await;
        paid(ledger.spend_attempt(&the_verification(), &digest("g"), None, START).await.unwrap());
    }
        ledger.spend_attempt(&the_verification(), &digest("g"), None, START.plus(MINUTE)).await
            .map(|attempt| matches!(attempt, Attempt::Paid(_)));
    consume(ledger, index) lets 1 through: { bring(&*ledger, State::Sent).await; }
        ledger.consume(&the_verification(), 1, &success(&index.to_string()), USED_UNTIL).await
            .map(|step| matches!(step, Transition::Applied));
    cancel(ledger, _index) lets 1 through: { bring(&*ledger, State::Sent).await; }
        ledger.cancel(&the_verification(), 1, START).await.map(|step| matches!(step, Transition::Applied));
    claim(ledger, index) lets 1 through: { bring(&*ledger, State::Verified).await; }
        ledger.redeem(&the_verification(), 1, &digest(&index.to_string()), at(MINUTE)).await
            .map(|step| matches!(step, Transition::Applied));
}

#[tokio::test(start_paused = true)]
async fn a_verification_is_never_both_canceled_and_won() {
    let emulator = Emulator::new();
    let ledger = Arc::new(emulator.ledger());
    bring(&*ledger, State::Sent).await;
    let through = race(&ledger, |ledger, index| {
        Box::pin(async move {
            let step = match index % 2 {
                0 => ledger.cancel(&the_verification(), 1, START).await?,
                _ => {
                    ledger
                        .consume(&the_verification(), 1, &success("w"), USED_UNTIL)
                        .await?
                }
            };
            Ok(matches!(step, Transition::Applied))
        })
    });
    assert_eq!(through.await, (1, 0));
    let verification = see(&*ledger).await;
    assert_eq!(
        verification.state == State::Verified,
        verification.success.is_some()
    );
}

#[tokio::test(start_paused = true)]
async fn failures_are_neither_lost_nor_counted_twice() {
    let emulator = Emulator::new();
    let ledger = Arc::new(emulator.ledger());
    let before = charge(&*ledger, START).await;
    let failed = race(&ledger, move |ledger, index| {
        Box::pin(async move {
            if index % 20 == 0 {
                ledger.clear_failures(&the_number(), before, START).await?;
                return Ok(false);
            }
            let charge = ledger.charge_number(&the_number(), LOCKED, START).await?;
            Ok(matches!(charge, NumberCharge::Charged(_)))
        })
    });
    let (failed, lost) = failed.await;
    assert_eq!((failed, lost), (95, 0));
    // The charge before the race is cleared or not, depending on whether a clearing was in time.
    let failures = ledger.number(&the_number()).await.unwrap().failures as usize;
    assert!((95..=96).contains(&failures), "{failures}");
}
