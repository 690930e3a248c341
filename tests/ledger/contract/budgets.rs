//! Switches, counters and budgets.

use crate::shared::{MINUTE, START, at, keys, spend, spending, the_counter};
use otp_lambda::ledger::{Ledger, SpendOutcome, Switches, Window};
use std::time::Duration;

pub(super) async fn switches_are_off_by_default(ledger: &dyn Ledger) {
    assert_eq!(ledger.switches().await.unwrap(), Switches::default());
}

pub(super) async fn a_counter_stops_at_its_cap(ledger: &dyn Ledger) {
    let (key, expires) = (the_counter(), at(Duration::from_hours(1)));
    assert_eq!(ledger.counted(&key).await.unwrap(), 0);
    for (expected, counted) in [(true, 1), (true, 2), (true, 3), (false, 3), (false, 3)] {
        assert_eq!(ledger.count(&key, 3, expires).await.unwrap(), expected);
        assert_eq!(ledger.counted(&key).await.unwrap(), counted);
    }
    assert!(ledger.count(&key, 4, expires).await.unwrap());
    let other = keys().source(
        "verify",
        "192.0.2.7".parse().unwrap(),
        Window::around(START, MINUTE),
    );
    assert!(!ledger.count(&other, 0, expires).await.unwrap());
    assert!(ledger.count(&other, 1, expires).await.unwrap());
    assert!(!ledger.count(&other, 1, expires).await.unwrap());
}

pub(super) async fn an_uncounted_request_frees_its_place(ledger: &dyn Ledger) {
    let (key, expires) = (the_counter(), at(Duration::from_hours(1)));
    for _ in 0..2 {
        assert!(ledger.count(&key, 2, expires).await.unwrap());
    }
    ledger.uncount(&key).await.unwrap();
    assert!(ledger.count(&key, 2, expires).await.unwrap());
    assert!(!ledger.count(&key, 2, expires).await.unwrap());
}

pub(super) async fn a_lowered_cap_applies_at_once(ledger: &dyn Ledger) {
    let (key, expires) = (the_counter(), at(Duration::from_hours(1)));
    for _ in 0..3 {
        assert!(ledger.count(&key, 3, expires).await.unwrap());
    }
    assert!(!ledger.count(&key, 1, expires).await.unwrap());
}

/// Spends these lines, of which `over` would exceed its cap.
async fn spends(ledger: &dyn Ledger, lines: &[(&str, u64, u64)], over: Option<usize>) {
    assert_eq!(spend(ledger, &spending(lines)).await, over, "{lines:?}");
}

pub(super) async fn a_budget_can_be_spent_to_the_last_unit(ledger: &dyn Ledger) {
    let by_money = spending(&[("m", 1, 10), ("u", 5810, 11_620)]);
    let by_messages = spending(&[("m", 1, 2), ("u", 1, 1_000_000)]);
    for expected in [None, None, Some(1)] {
        assert_eq!(spend(ledger, &by_money).await, expected);
    }
    assert_eq!(spend(ledger, &by_messages).await, Some(0));
    spends(ledger, &[("m", 1, 3), ("u", 1, 11_620)], Some(1)).await;
    spends(ledger, &[("m", 1, 3), ("u", 1, 11_621)], None).await;
}

pub(super) async fn a_refused_message_spends_nothing(ledger: &dyn Ledger) {
    spends(ledger, &[("m", 1, 2), ("u", 5, 9)], None).await;
    spends(ledger, &[("m", 1, 2), ("u", 5, 9)], Some(1)).await;
    spends(ledger, &[("m", 1, 2), ("u", 4, 9)], None).await;
    spends(ledger, &[("m", 1, 2), ("u", 1, 100)], Some(0)).await;
    spends(ledger, &[("m", 1, 3), ("u", 91, 100)], None).await;
}

pub(super) async fn a_message_over_any_cap_is_refused(ledger: &dyn Ledger) {
    spends(ledger, &[], None).await;
    spends(ledger, &[("m", 1, 1), ("u", u64::MAX, 1_000_000)], Some(1)).await;
    spends(ledger, &[("m", 1, 1), ("u", 6, 5)], Some(1)).await;
    spends(ledger, &[("m", 1, 1), ("u", 5, 5)], None).await;
}

pub(super) async fn a_refund_can_be_spent_again(ledger: &dyn Ledger) {
    let text = spending(&[("m", 1, 2), ("u", 5, 10)]);
    for expected in [None, None, Some(0)] {
        assert_eq!(spend(ledger, &text).await, expected);
    }
    ledger.refund(&text).await.unwrap();
    assert_eq!(spend(ledger, &text).await, None);
    assert_eq!(spend(ledger, &text).await, Some(0));
    ledger.refund(&spending(&[])).await.unwrap();
}

pub(super) async fn a_refund_of_what_was_not_spent_takes_nothing(ledger: &dyn Ledger) {
    let text = spending(&[("m", 1, 9), ("u", 5, 100)]);
    let dearer = spending(&[("m", 1, 9), ("u", 6, 100)]);
    let more = spending(&[("m", 2, 9), ("u", 5, 100)]);
    ledger.refund(&text).await.unwrap();
    for _ in 0..3 {
        assert_eq!(spend(ledger, &text).await, None);
        // A refund is of one message: if any counter has less than its part, nothing is refunded.
        for other in [&dearer, &more] {
            ledger.refund(other).await.unwrap();
            assert_eq!(ledger.spent(&text).await.unwrap(), [1, 5]);
        }
        for _ in 0..3 {
            ledger.refund(&text).await.unwrap();
            assert_eq!(ledger.spent(&text).await.unwrap(), [0, 0]);
        }
    }
    let spent = ledger.spend(&text).await.unwrap();
    assert_eq!(spent, SpendOutcome::Spent(vec![1, 5]));
    let hour = spending(&[("m", 1, 9), ("m13", 1, 9), ("mUS", 1, 9)]);
    ledger.refund(&hour).await.unwrap();
    assert_eq!(ledger.spent(&hour).await.unwrap(), [1, 0, 0]);
    assert_eq!(spend(ledger, &hour).await, None);
    for lines in [[1, 2, 1], [1, 1, 2]] {
        let [m, m13, us] = lines;
        let more = spending(&[("m", m, 9), ("m13", m13, 9), ("mUS", us, 9)]);
        ledger.refund(&more).await.unwrap();
        assert_eq!(ledger.spent(&hour).await.unwrap(), [2, 1, 1]);
    }
}

pub(super) async fn no_counter_goes_below_zero(ledger: &dyn Ledger) {
    let (key, expires) = (the_counter(), at(Duration::from_hours(1)));
    for _ in 0..2 {
        ledger.uncount(&key).await.unwrap();
        assert!(ledger.count(&key, 1, expires).await.unwrap());
        assert!(!ledger.count(&key, 1, expires).await.unwrap());
        for _ in 0..3 {
            ledger.uncount(&key).await.unwrap();
        }
    }
}

pub(super) async fn each_hour_starts_a_new_counter_in_the_item_of_its_day(ledger: &dyn Ledger) {
    for expected in [None, None, Some(1)] {
        spends(ledger, &[("m", 1, 9), ("m13", 1, 2)], expected).await;
    }
    for expected in [None, None, Some(1)] {
        spends(ledger, &[("m", 1, 9), ("m14", 1, 2)], expected).await;
    }
    for expected in [None, None, Some(2)] {
        spends(
            ledger,
            &[("m", 1, 9), ("m15", 1, 9), ("mUS", 1, 2)],
            expected,
        )
        .await;
    }
}

pub(super) async fn what_was_spent_can_be_read(ledger: &dyn Ledger) {
    let text = spending(&[("m", 1, 2), ("u", 5, 10)]);
    for spent in [[0, 0], [1, 5], [2, 10]] {
        for _ in 0..2 {
            assert_eq!(ledger.spent(&text).await.unwrap(), spent);
        }
        let over = spend(ledger, &text).await;
        assert_eq!(over.map(|line| &text.lines[line]), text.over(&spent));
    }
    let others = spending(&[("u", 1, 9), ("mUS", 1, 1), ("m", u64::MAX, u64::MAX)]);
    let spent = ledger.spent(&others).await.unwrap();
    assert_eq!(spent, [10, 0, 2]);
    assert_eq!(others.over(&spent), Some(&others.lines[0]));
    assert_eq!(others.over(&[8, 0, 2]), Some(&others.lines[2]));
    assert_eq!(ledger.spent(&spending(&[])).await.unwrap(), [0; 0]);
}

pub(super) async fn a_line_of_zero_is_only_compared(ledger: &dyn Ledger) {
    spends(ledger, &[("m", 1, 9), ("u", 1, 9), ("mUS", 3, 9)], None).await;
    for cap in [2, 0] {
        spends(
            ledger,
            &[("m", 1, 9), ("u", 1, 9), ("mUS", 0, cap)],
            Some(2),
        )
        .await;
    }
    let compared = spending(&[("m", 1, 9), ("u", 1, 9), ("mUS", 0, 3)]);
    assert_eq!(spend(ledger, &compared).await, None);
    assert_eq!(ledger.spent(&compared).await.unwrap(), [2, 2, 3]);
    ledger.refund(&compared).await.unwrap();
    assert_eq!(ledger.spent(&compared).await.unwrap(), [1, 1, 3]);
    let only_compared = spending(&[("mUS", 0, 3)]);
    assert_eq!(spend(ledger, &only_compared).await, None);
    ledger.refund(&only_compared).await.unwrap();
    assert_eq!(ledger.spent(&only_compared).await.unwrap(), [3]);
    spends(ledger, &[("mUS", 0, 2)], Some(0)).await;
}

pub(super) async fn spending_returns_the_counters(ledger: &dyn Ledger) {
    spends(ledger, &[("mUS", 3, 9)], None).await;
    for expected in [[1, 5, 0], [2, 10, 0]] {
        let text = spending(&[("m", 1, 9), ("u", 5, 99), ("mUS", 0, 9)]);
        let spent = ledger.spend(&text).await.unwrap();
        assert_eq!(spent, SpendOutcome::Spent(expected.to_vec()));
    }
}

pub(super) async fn a_counter_can_be_read(ledger: &dyn Ledger) {
    let (key, expires) = (the_counter(), at(Duration::from_hours(1)));
    for count in 0..3 {
        assert_eq!(ledger.counted(&key).await.unwrap(), count);
        assert!(ledger.count(&key, 3, expires).await.unwrap());
    }
    assert!(!ledger.count(&key, 3, expires).await.unwrap());
    assert_eq!(ledger.counted(&key).await.unwrap(), 3);
    ledger.uncount(&key).await.unwrap();
    assert_eq!(ledger.counted(&key).await.unwrap(), 2);
}
