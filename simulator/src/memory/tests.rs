//! Tests of sweeps. The tests of the contract are in `tests/ledger/`.

use std::time::Duration;

use otp_lambda::{
    ledger::{
        Door, FAILURES_KEPT, Hasher, Holder, Issuer, LOCKED, NUMBER_KEPT, SpendingLine, State,
        Window,
    },
    phone::PhoneNumber,
    policy::SendLimits,
    reference::ReferenceId,
};

use super::*;

const NOW: Millis = Millis(1_800_000_000_000);
const MILLISECOND: Duration = Duration::from_millis(1);

fn hasher() -> Hasher {
    Hasher::from_secret(b"a secret")
}

fn number() -> PhoneNumber {
    PhoneNumber::parse("+14255550142").unwrap()
}

/// Checks that the item is there at the last moment of its time to live, and gone at the next.
fn lives_until(ledger: &MemoryLedger, end: Millis, count: impl Fn(&MemoryLedger) -> usize) {
    ledger.sweep(end);
    assert_eq!(count(ledger), 1, "at its end");
    ledger.sweep(end.plus(MILLISECOND));
    assert_eq!(count(ledger), 0, "after its end");
}

#[tokio::test]
async fn a_sweep_deletes_a_verification_a_day_after_its_code_ended() {
    let ledger = MemoryLedger::new();
    let key = hasher().verification(&ReferenceId::parse("signup").unwrap(), &number());
    let end = NOW.plus(Duration::from_mins(10));
    let opening = Opening {
        state: State::Reserved,
        holder: Holder(7),
        first: NOW,
        expires: end,
        left: 3,
        issuers: &[Issuer::TestNumber],
        plain_until: NOW,
        channel: "sms",
        code_length: 6,
        language: "en-US",
        brand_name: "Example",
        owner: None,
        forget: &[],
    };
    assert!(ledger.open(&key, None, &opening).await.unwrap());
    lives_until(&ledger, end.plus(VERIFICATION_KEPT), |ledger| {
        ledger.verifications().len()
    });
    assert!(
        ledger.open(&key, None, &opening).await.unwrap(),
        "as if there had been none"
    );
}

#[tokio::test]
async fn a_sweep_deletes_a_number_later_while_it_has_failures() {
    let ledger = MemoryLedger::new();
    let (key, limits) = (
        hasher().number(&number()),
        SendLimits::parse("1/30s").unwrap(),
    );
    let count = |ledger: &MemoryLedger| ledger.numbers().len();
    let charge = async |now| {
        let NumberCharge::Charged(charge) = ledger.charge_number(&key, LOCKED, now).await.unwrap()
        else {
            panic!("locked")
        };
        charge
    };
    ledger
        .reserve_send(&key, limits.windows(), NOW)
        .await
        .unwrap();
    lives_until(&ledger, NOW.plus(NUMBER_KEPT), count);

    charge(NOW).await;
    lives_until(&ledger, NOW.plus(FAILURES_KEPT), count);
    charge(NOW).await;
    let later = NOW.plus(Duration::from_mins(1));
    ledger
        .reserve_send(&key, limits.windows(), later)
        .await
        .unwrap();
    lives_until(&ledger, later.plus(FAILURES_KEPT), count);

    let first = charge(NOW).await;
    charge(NOW).await;
    ledger.clear_failures(&key, first, later).await.unwrap();
    let left = ledger.number(&key).await.unwrap().failures;
    assert_eq!(left, 1, "a failure was left");
    lives_until(&ledger, later.plus(FAILURES_KEPT), count);

    charge(NOW).await;
    ledger.unlock(&key, later).await.unwrap();
    lives_until(&ledger, later.plus(NUMBER_KEPT), count);
    let only = charge(NOW).await;
    ledger.clear_failures(&key, only, later).await.unwrap();
    lives_until(&ledger, later.plus(NUMBER_KEPT), count);
}

#[tokio::test]
async fn a_sweep_deletes_an_idempotency_key_a_day_after_its_reservation() {
    let ledger = MemoryLedger::new();
    let (key, body) = (
        hasher().idempotency("caller", "key"),
        Fingerprint::stored("body"),
    );
    ledger
        .reserve_key(&key, Holder(7), &body, NOW)
        .await
        .unwrap();
    ledger
        .finish_key(&key, Holder(7), Some("{}"))
        .await
        .unwrap();
    lives_until(&ledger, NOW.plus(KEY_KEPT), |ledger| {
        ledger.idempotency_keys().len()
    });
}

#[tokio::test]
async fn a_sweep_deletes_counters_and_budgets_in_the_second_after_they_end() {
    let ledger = MemoryLedger::new();
    let key = hasher().prefix(&number(), Window::around(NOW, Duration::from_hours(1)));
    // A time to live is whole seconds, rounded up.
    ledger.count(&key, 1, NOW.minus(MILLISECOND)).await.unwrap();
    lives_until(&ledger, NOW, |ledger| ledger.counters().len());

    let line = SpendingLine {
        counter: "m".to_owned(),
        amount: 1,
        cap: 1,
        of_country: false,
        ends: NOW.plus(MILLISECOND),
    };
    let spending = Spending {
        item: ItemName::of_budget(Door::Http, 0),
        expires: NOW,
        lines: vec![line],
    };
    assert_eq!(
        ledger.spend(&spending).await.unwrap(),
        SpendOutcome::Spent(vec![1])
    );
    lives_until(&ledger, NOW, |ledger| ledger.budgets().len());
}
