//! The sends and failures of numbers.

use crate::shared::{
    MILLI, MINUTE, START, WINDOWS, at, charge, failures, finds_no_place, keys, seconds, takes,
    the_number,
};
use otp_lambda::ledger::{
    Charge, GUESS_STOPS, LOCKED, Ledger, Number, NumberCharge, REMEMBERED_SENDS,
};
use otp_lambda::phone::PhoneNumber;
use std::time::Duration;

pub(super) async fn a_new_number_has_no_history(ledger: &dyn Ledger) {
    assert_eq!(
        ledger.number(&the_number()).await.unwrap(),
        Number::default()
    );
}

pub(super) async fn a_window_allows_its_sends_and_no_more(ledger: &dyn Ledger) {
    assert_eq!(takes(ledger, WINDOWS, START).await.sends, [START]);
    assert_eq!(
        takes(ledger, WINDOWS, seconds(1)).await.sends,
        [seconds(1), START]
    );
    let number = finds_no_place(ledger, WINDOWS, seconds(30).minus(MILLI)).await;
    assert_eq!(number.sends, [seconds(1), START]);
    assert_eq!(ledger.number(&the_number()).await.unwrap(), number);
    assert_eq!(
        takes(ledger, WINDOWS, seconds(30)).await.sends,
        [seconds(30), seconds(1), START]
    );
}

pub(super) async fn all_windows_apply(ledger: &dyn Ledger) {
    for second in [0, 30, 60] {
        takes(ledger, WINDOWS, seconds(second)).await;
    }
    finds_no_place(ledger, WINDOWS, seconds(600).minus(MILLI)).await;
    takes(ledger, WINDOWS, seconds(600)).await;
    finds_no_place(ledger, WINDOWS, seconds(630).minus(MILLI)).await;
    takes(ledger, WINDOWS, seconds(630)).await;
    finds_no_place(ledger, WINDOWS, seconds(660).minus(MILLI)).await;
    assert_eq!(ledger.number(&the_number()).await.unwrap().sends.len(), 5);
}

pub(super) async fn new_windows_count_earlier_sends(ledger: &dyn Ledger) {
    for second in 0..5 {
        takes(ledger, "20/1h", seconds(second)).await;
    }
    finds_no_place(ledger, "5/1h", seconds(3600).minus(MILLI)).await;
    finds_no_place(ledger, "20/1h,1/30d", seconds(3600)).await;
    takes(ledger, "5/1h", seconds(3600)).await;
    takes(ledger, "20/1h", seconds(3600)).await;
}

pub(super) async fn only_the_last_sends_are_remembered(ledger: &dyn Ledger) {
    for second in 0..20 {
        takes(ledger, "20/1h", seconds(second)).await;
    }
    finds_no_place(ledger, "20/1h", seconds(3600).minus(MILLI)).await;
    let number = takes(ledger, "20/1h", seconds(3600)).await;
    assert_eq!(number.sends.len(), REMEMBERED_SENDS);
    assert_eq!(number.sends.first(), Some(&seconds(3600)));
    assert_eq!(number.sends.last(), Some(&seconds(1)));
    finds_no_place(ledger, "20/1h", seconds(3601).minus(MILLI)).await;
}

pub(super) async fn failed_guesses_delay_sends(ledger: &dyn Ledger) {
    let any = "20/1s";
    let [first, second] = GUESS_STOPS.map(|stop| stop.wait);
    let mut now = START;
    let mut failures = 0;
    for (until, wait) in [
        (1, Duration::ZERO),
        (9, Duration::ZERO),
        (10, first),
        (11, first),
        (29, first),
        (30, second),
        (31, second),
        (99, second),
    ] {
        while failures < until {
            failures = charge(ledger, now).await.failures;
        }
        if !wait.is_zero() {
            let number = finds_no_place(ledger, any, now.plus(wait).minus(MILLI)).await;
            assert_eq!((number.failures, number.last_failure), (until, now));
        }
        let number = takes(ledger, any, now.plus(wait)).await;
        assert_eq!((number.failures, number.last_failure), (until, now));
        now = now.plus(wait).plus(MINUTE);
    }
    assert_eq!(charge(ledger, now).await.failures, LOCKED);
    finds_no_place(ledger, any, now.plus(Duration::from_hours(24 * 365))).await;
}

pub(super) async fn failures_do_not_change_the_windows(ledger: &dyn Ledger) {
    charge(ledger, START).await;
    for second in [0, 1] {
        takes(ledger, WINDOWS, seconds(second)).await;
    }
    finds_no_place(ledger, WINDOWS, seconds(30).minus(MILLI)).await;
    takes(ledger, WINDOWS, seconds(30)).await;
    finds_no_place(ledger, WINDOWS, seconds(600).minus(MILLI)).await;
    let number = takes(ledger, WINDOWS, seconds(600)).await;
    assert_eq!(
        (number.sends.len(), number.failures, number.last_failure),
        (4, 1, START)
    );
}

pub(super) async fn sends_are_allowed_again_after_failures_are_cleared(ledger: &dyn Ledger) {
    for _ in 0..30 {
        charge(ledger, START).await;
    }
    finds_no_place(ledger, WINDOWS, seconds(1)).await;
    ledger
        .clear_failures(
            &the_number(),
            Charge {
                failures: 30,
                epoch: 0,
            },
            seconds(1),
        )
        .await
        .unwrap();
    assert_eq!(takes(ledger, WINDOWS, seconds(1)).await.failures, 0);
    assert_eq!(takes(ledger, WINDOWS, seconds(2)).await.failures, 0);
}

pub(super) async fn a_number_is_locked_at_a_hundred_failures(ledger: &dyn Ledger) {
    for failures in 1..=LOCKED {
        assert_eq!(
            charge(ledger, seconds(failures.into())).await,
            Charge { failures, epoch: 0 }
        );
    }
    for _ in 0..2 {
        let charge = ledger
            .charge_number(&the_number(), LOCKED, at(Duration::from_hours(99)))
            .await
            .unwrap();
        assert!(matches!(charge, NumberCharge::Locked));
    }
    let number = ledger.number(&the_number()).await.unwrap();
    assert_eq!(
        (number.failures, number.last_failure),
        (LOCKED, seconds(LOCKED.into()))
    );
}

pub(super) async fn a_lock_of_zero_allows_no_guess(ledger: &dyn Ledger) {
    let number = the_number();
    for failures in 0..2 {
        for _ in 0..2 {
            let locked = ledger.charge_number(&number, 0, START).await.unwrap();
            assert!(matches!(locked, NumberCharge::Locked), "{locked:?}");
            assert_eq!(ledger.number(&number).await.unwrap().failures, failures);
        }
        charge(ledger, START).await;
    }
}

pub(super) async fn a_success_clears_the_failures_up_to_it(ledger: &dyn Ledger) {
    for epoch in 0..3 {
        charge(ledger, START).await;
        let last = charge(ledger, START).await;
        assert_eq!(last, Charge { failures: 2, epoch });
        ledger
            .clear_failures(&the_number(), last, START)
            .await
            .unwrap();
        assert_eq!(failures(ledger).await, 0);
    }
}

pub(super) async fn later_failures_stay(ledger: &dyn Ledger) {
    let clear = async |charge| {
        ledger
            .clear_failures(&the_number(), charge, START)
            .await
            .unwrap();
    };
    for epoch in [0, 2] {
        charge(ledger, START).await;
        let second = charge(ledger, START).await;
        assert_eq!(second, Charge { failures: 2, epoch });
        let third = charge(ledger, START).await;
        charge(ledger, START).await;
        clear(second).await;
        assert_eq!(failures(ledger).await, 2);
        // This charge is of an earlier epoch.
        clear(third).await;
        assert_eq!(failures(ledger).await, 2);
        let last = charge(ledger, START).await;
        assert_eq!(
            last,
            Charge {
                failures: 3,
                epoch: epoch + 1
            }
        );
        clear(last).await;
        assert_eq!(failures(ledger).await, 0);
    }
}

pub(super) async fn failures_are_cleared_once(ledger: &dyn Ledger) {
    let key = the_number();
    let mut old = Vec::new();
    for epoch in 0..3 {
        let new = charge(ledger, START).await;
        assert_eq!(new, Charge { failures: 1, epoch });
        for charge in &old {
            ledger.clear_failures(&key, *charge, START).await.unwrap();
            assert_eq!(failures(ledger).await, 1);
        }
        let more = charge(ledger, START).await;
        for charge in &old {
            ledger.clear_failures(&key, *charge, START).await.unwrap();
            assert_eq!(failures(ledger).await, 2);
        }
        ledger.clear_failures(&key, more, START).await.unwrap();
        assert_eq!(failures(ledger).await, 0);
        ledger.clear_failures(&key, new, START).await.unwrap();
        ledger.clear_failures(&key, more, START).await.unwrap();
        assert_eq!(failures(ledger).await, 0);
        old.push(new);
    }
}

pub(super) async fn an_operator_unlocks(ledger: &dyn Ledger) {
    let before = charge(ledger, START).await;
    for _ in 1..LOCKED {
        charge(ledger, START).await;
    }
    ledger.unlock(&the_number(), START).await.unwrap();
    assert_eq!(failures(ledger).await, 0);
    assert_eq!(
        charge(ledger, START).await,
        Charge {
            failures: 1,
            epoch: 1
        }
    );
    ledger
        .clear_failures(&the_number(), before, START)
        .await
        .unwrap();
    assert_eq!(failures(ledger).await, 1);

    let other = keys().number(&PhoneNumber::parse("+14255550199").unwrap());
    ledger.unlock(&other, START).await.unwrap();
    assert_eq!(ledger.number(&other).await.unwrap(), Number::default());
    let NumberCharge::Charged(charge) = ledger.charge_number(&other, LOCKED, START).await.unwrap()
    else {
        panic!("locked")
    };
    assert_eq!(
        charge,
        Charge {
            failures: 1,
            epoch: 1
        }
    );
    // The lock is the caller's.
    let locked = ledger.charge_number(&other, 1, START).await.unwrap();
    assert!(matches!(locked, NumberCharge::Locked), "{locked:?}");
    let charged = ledger.charge_number(&other, 2, START).await.unwrap();
    assert!(matches!(charged, NumberCharge::Charged(_)), "{charged:?}");
}
