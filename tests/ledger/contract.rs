//! The contract of the ledger. Both ledgers pass it: the one in DynamoDB and the one in memory.

use crate::emulator::Emulator;
use futures_util::future::BoxFuture;
use otp_lambda::ledger::{
    Attempt, Charge, Digest, GUESS_PENDING, GUESS_STOPS, Guess, GuessOutcome, Hasher, Issuer,
    ItemName, KEY_KEPT, KeyOutcome, KeyReservation, LOCKED, Ledger, Number, NumberCharge, Opening,
    Question, REDEEMABLE, REMEMBERED_SENDS, Resend, Reservation, SendWindow, SessionDigest,
    Settled, SpendOutcome, Spending, SpendingLine, State, Success, Switches, Transition, USED,
    UsedCode, Verification, Window,
};
use otp_lambda::phone::PhoneNumber;
use otp_lambda::policy::SendLimits;
use otp_lambda::reference::ReferenceId;
use otp_lambda::time::Millis;
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::time::Duration;

/// A test of the contract, on an empty ledger.
pub(crate) type Case = for<'a> fn(&'a dyn Ledger) -> BoxFuture<'a, ()>;

macro_rules! contract {
    ($($case:ident)*) => {
        pub(crate) const CASES: &[(&str, Case)] = &[$((stringify!($case), |ledger| Box::pin($case(ledger)))),*];
        contract! { dynamodb: Emulator::new().ledger(); $($case)* }
        contract! { memory: simulator::MemoryLedger::new(); $($case)* }
    };
    ($store:ident: $new:expr; $($case:ident)*) => {
        mod $store {
            #[allow(unused_imports, clippy::allow_attributes, reason = "not every store needs it")]
            use super::*;
            $(#[tokio::test]
            async fn $case() {
                super::$case(&$new).await;
            })*
        }
    };
}

contract! {
    switches_are_off_by_default
    a_counter_stops_at_its_cap
    an_uncounted_request_frees_its_place
    a_lowered_cap_applies_at_once
    a_budget_can_be_spent_to_the_last_unit
    a_refused_message_spends_nothing
    a_message_over_any_cap_is_refused
    a_refund_can_be_spent_again
    each_hour_starts_a_new_counter_in_the_item_of_its_day
    a_key_is_held_until_it_is_released
    a_key_holds_the_outcome_of_its_request
    a_key_is_free_after_a_day
    a_new_number_has_no_history
    a_window_allows_its_sends_and_no_more
    all_windows_apply
    new_windows_count_earlier_sends
    only_the_last_sends_are_remembered
    failed_guesses_delay_sends
    failures_do_not_change_the_windows
    sends_are_allowed_again_after_failures_are_cleared
    a_number_is_locked_at_a_hundred_failures
    a_success_clears_the_failures_up_to_it
    later_failures_stay
    failures_are_cleared_once
    an_operator_unlocks
    an_opened_verification_reads_back
    a_verification_opens_only_over_the_generation_seen
    a_new_verification_keeps_only_the_used_codes
    used_codes_are_kept_until_they_are_forgotten
    a_further_code_keeps_the_attempts
    an_ended_verification_gets_no_further_code
    a_reserved_send_is_settled_once
    a_settlement_of_an_older_generation_is_ignored
    a_guess_costs_an_attempt
    only_the_owner_spends_the_last_attempt
    a_question_delivered_twice_costs_once
    a_sign_in_cannot_be_redeemed
    an_ended_verification_takes_no_guesses
    a_repeated_wrong_guess_is_refused
    a_pending_guess_can_be_retried_once_after_five_seconds
    an_unclear_guess_can_be_retried_once
    only_the_last_guess_is_remembered
    a_verdict_is_recorded_for_its_guess_only
    each_generation_succeeds_at_most_once
    a_success_is_recorded
    an_open_verification_can_be_canceled
    an_ended_verification_cannot_be_canceled
    a_success_is_redeemed_once
    a_success_is_redeemable_for_ten_minutes
    only_a_success_can_be_redeemed
}

/// It is not a whole second, so that rounding is noticed.
pub(crate) const START: Millis = Millis(1_750_000_000_123);
pub(crate) const MINUTE: Duration = Duration::from_mins(1);
const MILLI: Duration = Duration::from_millis(1);

pub(crate) fn at(later: Duration) -> Millis {
    START.plus(later)
}

pub(crate) fn seconds(seconds: u64) -> Millis {
    at(Duration::from_secs(seconds))
}

fn keys() -> Hasher {
    Hasher::from_secret(b"a secret of forty-three characters, or more")
}

pub(crate) fn the_number() -> ItemName {
    keys().number(&PhoneNumber::parse("+14255550142").unwrap())
}

pub(crate) fn the_verification() -> ItemName {
    keys().verification(
        &ReferenceId::parse("reference").unwrap(),
        &PhoneNumber::parse("+14255550142").unwrap(),
    )
}

pub(crate) fn the_key() -> ItemName {
    keys().idempotency("caller", "key")
}

pub(crate) fn the_counter() -> ItemName {
    keys().source(
        "send",
        "192.0.2.7".parse().unwrap(),
        Window::around(START, Duration::from_hours(1)),
    )
}

pub(crate) fn digest<Purpose>(text: &str) -> Digest<Purpose> {
    Digest::stored(text)
}

pub(crate) fn windows(text: &str) -> Vec<SendWindow> {
    SendLimits::parse(text).unwrap().windows().to_vec()
}

/// The windows of most tests.
pub(crate) const WINDOWS: &str = "2/30s,3/10m";

/// Spends. Returns the index of the line that would exceed its cap, if there is one.
pub(crate) async fn spend(ledger: &dyn Ledger, spending: &Spending) -> Option<usize> {
    match ledger.spend(spending).await.unwrap() {
        SpendOutcome::Spent => None,
        SpendOutcome::OverCap(over) => Some(
            spending
                .lines
                .iter()
                .position(|line| *line == over)
                .unwrap(),
        ),
    }
}

pub(crate) fn spending(lines: &[(&str, u64, u64)]) -> Spending {
    let line = |&(counter, amount, cap): &(&str, u64, u64)| SpendingLine {
        counter: counter.to_owned(),
        amount,
        cap,
        of_country: false,
        ends: at(Duration::from_hours(1)),
    };
    Spending {
        item: ItemName::of_budget(20_254),
        expires: at(Duration::from_hours(48)),
        lines: lines.iter().map(line).collect(),
    }
}

const PINPOINT: Issuer = Issuer::Provider(Cow::Borrowed("pinpoint"));

pub(crate) const OPENING: Opening<'_> = Opening {
    state: State::Reserved,
    first: START,
    expires: Millis(START.0 + 600_000),
    left: 3,
    issuers: &[PINPOINT],
    channel: "sms",
    code_length: 6,
    language: "en-US",
    brand_name: "ExampleCorp",
    owner: None,
    forget: &[],
};

pub(crate) const AGAIN: Resend<'_> = Resend {
    expires: Millis(START.0 + 660_000),
    issuers: &[Issuer::Provider(Cow::Borrowed("eum"))],
    channel: "voice",
    language: "de-DE",
};

pub(crate) fn success(winner: &str) -> Success {
    Success {
        winner: digest(winner),
        code: digest("code"),
        at: at(MINUTE),
    }
}

pub(crate) async fn see(ledger: &dyn Ledger) -> Verification {
    ledger
        .verification(&the_verification())
        .await
        .unwrap()
        .unwrap()
}

/// Brings the verification into a state.
pub(crate) async fn bring(ledger: &dyn Ledger, state: State) {
    let key = the_verification();
    let seen = ledger
        .verification(&key)
        .await
        .unwrap()
        .map(|verification| verification.generation);
    assert!(ledger.open(&key, seen, &OPENING).await.unwrap());
    let generation = seen.unwrap_or(0) + 1;
    match state {
        State::Reserved => {}
        State::Sent => ledger
            .settle(
                &key,
                generation,
                &Settled::Sent {
                    message_id: Some("m1"),
                },
            )
            .await
            .unwrap(),
        State::Unclear => ledger
            .settle(&key, generation, &Settled::Unclear)
            .await
            .unwrap(),
        State::Failed => ledger
            .settle(&key, generation, &Settled::Failed)
            .await
            .unwrap(),
        State::Verified => done(
            ledger
                .consume(&key, generation, &success("winner"))
                .await
                .unwrap(),
        ),
        State::Canceled => done(ledger.cancel(&key, START).await.unwrap()),
    }
    assert_eq!(see(ledger).await.state, state);
}

const OPEN: [State; 3] = [State::Reserved, State::Sent, State::Unclear];
const ENDED: [State; 3] = [State::Failed, State::Verified, State::Canceled];

#[expect(
    clippy::needless_pass_by_value,
    reason = "a caller has no further use for it"
)]
pub(crate) fn done(step: Transition) {
    assert!(matches!(step, Transition::Applied), "{step:?}");
}

fn refused(step: Transition) -> Option<Verification> {
    match step {
        Transition::Refused(verification) => verification,
        Transition::Applied => panic!("not refused"),
    }
}

pub(crate) async fn guess(ledger: &dyn Ledger, guess: &str, now: Millis) -> Attempt {
    ledger
        .spend_attempt(&the_verification(), &digest(guess), None, now)
        .await
        .unwrap()
}

pub(crate) fn paid(attempt: Attempt) -> Verification {
    match attempt {
        Attempt::Paid(verification) => verification,
        Attempt::Refused(verification) => panic!("refused: {verification:?}"),
    }
}

fn unpaid(attempt: Attempt) -> Option<Verification> {
    match attempt {
        Attempt::Refused(verification) => verification,
        Attempt::Paid(verification) => panic!("paid: {verification:?}"),
    }
}

pub(crate) async fn reserve(ledger: &dyn Ledger, limits: &str, now: Millis) -> Reservation {
    ledger
        .reserve_send(&the_number(), &windows(limits), now)
        .await
        .unwrap()
}

async fn takes(ledger: &dyn Ledger, windows: &str, now: Millis) -> Number {
    match reserve(ledger, windows, now).await {
        Reservation::Reserved(number) => number,
        Reservation::Refused(number) => panic!("refused: {number:?}"),
    }
}

async fn finds_no_place(ledger: &dyn Ledger, windows: &str, now: Millis) -> Number {
    match reserve(ledger, windows, now).await {
        Reservation::Refused(number) => number,
        Reservation::Reserved(number) => panic!("reserved: {number:?}"),
    }
}

pub(crate) async fn charge(ledger: &dyn Ledger, now: Millis) -> Charge {
    match ledger
        .charge_number(&the_number(), None, now)
        .await
        .unwrap()
    {
        NumberCharge::Charged(charge) => charge,
        NumberCharge::Locked => panic!("locked"),
    }
}

async fn failures(ledger: &dyn Ledger) -> u32 {
    ledger.number(&the_number()).await.unwrap().failures
}

async fn switches_are_off_by_default(ledger: &dyn Ledger) {
    assert_eq!(ledger.switches().await.unwrap(), Switches::default());
}

async fn a_counter_stops_at_its_cap(ledger: &dyn Ledger) {
    let (key, expires) = (the_counter(), at(Duration::from_hours(1)));
    for expected in [true, true, true, false, false] {
        assert_eq!(ledger.count(&key, 3, expires).await.unwrap(), expected);
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

async fn an_uncounted_request_frees_its_place(ledger: &dyn Ledger) {
    let (key, expires) = (the_counter(), at(Duration::from_hours(1)));
    for _ in 0..2 {
        assert!(ledger.count(&key, 2, expires).await.unwrap());
    }
    ledger.uncount(&key).await.unwrap();
    assert!(ledger.count(&key, 2, expires).await.unwrap());
    assert!(!ledger.count(&key, 2, expires).await.unwrap());
}

async fn a_lowered_cap_applies_at_once(ledger: &dyn Ledger) {
    let (key, expires) = (the_counter(), at(Duration::from_hours(1)));
    for _ in 0..3 {
        assert!(ledger.count(&key, 3, expires).await.unwrap());
    }
    assert!(!ledger.count(&key, 1, expires).await.unwrap());
}

async fn a_budget_can_be_spent_to_the_last_unit(ledger: &dyn Ledger) {
    let by_money = spending(&[("m", 1, 10), ("u", 5810, 11_620)]);
    let by_messages = spending(&[("m", 1, 2), ("u", 1, 1_000_000)]);
    for expected in [None, None, Some(1)] {
        assert_eq!(spend(ledger, &by_money).await, expected);
    }
    assert_eq!(spend(ledger, &by_messages).await, Some(0));
    assert_eq!(
        spend(ledger, &spending(&[("m", 1, 3), ("u", 1, 11_620)])).await,
        Some(1)
    );
    assert_eq!(
        spend(ledger, &spending(&[("m", 1, 3), ("u", 1, 11_621)])).await,
        None
    );
}

async fn a_refused_message_spends_nothing(ledger: &dyn Ledger) {
    assert_eq!(
        spend(ledger, &spending(&[("m", 1, 2), ("u", 5, 9)])).await,
        None
    );
    assert_eq!(
        spend(ledger, &spending(&[("m", 1, 2), ("u", 5, 9)])).await,
        Some(1)
    );
    assert_eq!(
        spend(ledger, &spending(&[("m", 1, 2), ("u", 4, 9)])).await,
        None
    );
    assert_eq!(
        spend(ledger, &spending(&[("m", 1, 2), ("u", 1, 100)])).await,
        Some(0)
    );
    assert_eq!(
        spend(ledger, &spending(&[("m", 1, 3), ("u", 91, 100)])).await,
        None
    );
}

async fn a_message_over_any_cap_is_refused(ledger: &dyn Ledger) {
    assert_eq!(spend(ledger, &spending(&[])).await, None);
    assert_eq!(
        spend(
            ledger,
            &spending(&[("m", 1, 1), ("u", u64::MAX, 1_000_000)])
        )
        .await,
        Some(1)
    );
    assert_eq!(
        spend(ledger, &spending(&[("m", 1, 1), ("u", 6, 5)])).await,
        Some(1)
    );
    assert_eq!(
        spend(ledger, &spending(&[("m", 1, 1), ("u", 5, 5)])).await,
        None
    );
}

async fn a_refund_can_be_spent_again(ledger: &dyn Ledger) {
    let text = spending(&[("m", 1, 2), ("u", 5, 10)]);
    for expected in [None, None, Some(0)] {
        assert_eq!(spend(ledger, &text).await, expected);
    }
    ledger.refund(&text).await.unwrap();
    assert_eq!(spend(ledger, &text).await, None);
    assert_eq!(spend(ledger, &text).await, Some(0));
    ledger.refund(&spending(&[])).await.unwrap();
}

async fn each_hour_starts_a_new_counter_in_the_item_of_its_day(ledger: &dyn Ledger) {
    for expected in [None, None, Some(1)] {
        assert_eq!(
            spend(ledger, &spending(&[("m", 1, 9), ("m13", 1, 2)])).await,
            expected
        );
    }
    for expected in [None, None, Some(1)] {
        assert_eq!(
            spend(ledger, &spending(&[("m", 1, 9), ("m14", 1, 2)])).await,
            expected
        );
    }
    for expected in [None, None, Some(2)] {
        assert_eq!(
            spend(
                ledger,
                &spending(&[("m", 1, 9), ("m15", 1, 9), ("mUS", 1, 2)])
            )
            .await,
            expected
        );
    }
}

async fn held(ledger: &dyn Ledger, now: Millis) -> (String, Millis, KeyOutcome) {
    match ledger
        .reserve_key(&the_key(), &digest("another"), now)
        .await
        .unwrap()
    {
        KeyReservation::Held(held) => (held.fingerprint.as_str().to_owned(), held.at, held.outcome),
        KeyReservation::Reserved => panic!("claimed"),
    }
}

async fn claims(ledger: &dyn Ledger, fingerprint: &str, now: Millis) {
    let claim = ledger
        .reserve_key(&the_key(), &digest(fingerprint), now)
        .await
        .unwrap();
    assert!(matches!(claim, KeyReservation::Reserved), "{claim:?}");
}

async fn a_key_is_held_until_it_is_released(ledger: &dyn Ledger) {
    claims(ledger, "first", START).await;
    assert_eq!(
        held(ledger, at(MINUTE)).await,
        ("first".to_owned(), START, KeyOutcome::Pending)
    );
    ledger.release_key(&the_key()).await.unwrap();
    claims(ledger, "second", at(MINUTE)).await;
    assert_eq!(
        held(ledger, at(MINUTE)).await,
        ("second".to_owned(), at(MINUTE), KeyOutcome::Pending)
    );
}

async fn a_key_holds_the_outcome_of_its_request(ledger: &dyn Ledger) {
    claims(ledger, "body", START).await;
    ledger.finish_key(&the_key(), None).await.unwrap();
    assert_eq!(
        held(ledger, START).await,
        ("body".to_owned(), START, KeyOutcome::Unclear)
    );
    let answer = r#"{"status":202,"text":"Grüße"}"#;
    ledger.finish_key(&the_key(), Some(answer)).await.unwrap();
    assert_eq!(
        held(ledger, START).await,
        (
            "body".to_owned(),
            START,
            KeyOutcome::Answered(answer.to_owned())
        )
    );
}

async fn a_key_is_free_after_a_day(ledger: &dyn Ledger) {
    claims(ledger, "first", START).await;
    ledger.finish_key(&the_key(), Some("answer")).await.unwrap();
    let end = at(KEY_KEPT);
    assert_eq!(
        held(ledger, end.minus(MILLI)).await.2,
        KeyOutcome::Answered("answer".to_owned())
    );
    claims(ledger, "second", end).await;
    assert_eq!(
        held(ledger, end.plus(MILLI)).await,
        ("second".to_owned(), end, KeyOutcome::Pending)
    );
}

async fn a_new_number_has_no_history(ledger: &dyn Ledger) {
    assert_eq!(
        ledger.number(&the_number()).await.unwrap(),
        Number::default()
    );
}

async fn a_window_allows_its_sends_and_no_more(ledger: &dyn Ledger) {
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

async fn all_windows_apply(ledger: &dyn Ledger) {
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

async fn new_windows_count_earlier_sends(ledger: &dyn Ledger) {
    for second in 0..5 {
        takes(ledger, "20/1h", seconds(second)).await;
    }
    finds_no_place(ledger, "5/1h", seconds(3600).minus(MILLI)).await;
    finds_no_place(ledger, "20/1h,1/30d", seconds(3600)).await;
    takes(ledger, "5/1h", seconds(3600)).await;
    takes(ledger, "20/1h", seconds(3600)).await;
}

async fn only_the_last_sends_are_remembered(ledger: &dyn Ledger) {
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

async fn failed_guesses_delay_sends(ledger: &dyn Ledger) {
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

async fn failures_do_not_change_the_windows(ledger: &dyn Ledger) {
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

async fn sends_are_allowed_again_after_failures_are_cleared(ledger: &dyn Ledger) {
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

async fn a_number_is_locked_at_a_hundred_failures(ledger: &dyn Ledger) {
    for failures in 1..=LOCKED {
        assert_eq!(
            charge(ledger, seconds(failures.into())).await,
            Charge { failures, epoch: 0 }
        );
    }
    for _ in 0..2 {
        let charge = ledger
            .charge_number(&the_number(), None, at(Duration::from_hours(99)))
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

async fn a_success_clears_the_failures_up_to_it(ledger: &dyn Ledger) {
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

async fn later_failures_stay(ledger: &dyn Ledger) {
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

async fn failures_are_cleared_once(ledger: &dyn Ledger) {
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

async fn an_operator_unlocks(ledger: &dyn Ledger) {
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
    let NumberCharge::Charged(charge) = ledger.charge_number(&other, None, START).await.unwrap()
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
}

fn as_opened() -> Verification {
    Verification {
        generation: 1,
        state: State::Reserved,
        expires: OPENING.expires,
        first: START,
        left: 3,
        sends: 1,
        issuers: vec![PINPOINT],
        message_id: None,
        channel: "sms".to_owned(),
        code_length: 6,
        language: "en-US".to_owned(),
        brand_name: "ExampleCorp".to_owned(),
        last_guess: None,
        success: None,
        redeemed_by: None,
        owner: None,
        used: BTreeSet::new(),
    }
}

async fn an_opened_verification_reads_back(ledger: &dyn Ledger) {
    let key = the_verification();
    assert_eq!(ledger.verification(&key).await.unwrap(), None);
    assert!(ledger.open(&key, None, &OPENING).await.unwrap());
    assert_eq!(see(ledger).await, as_opened());
    assert!(
        ledger
            .open(
                &key,
                Some(1),
                &Opening {
                    state: State::Sent,
                    ..OPENING
                }
            )
            .await
            .unwrap()
    );
    assert_eq!(
        see(ledger).await,
        Verification {
            generation: 2,
            state: State::Sent,
            ..as_opened()
        }
    );
}

async fn a_verification_opens_only_over_the_generation_seen(ledger: &dyn Ledger) {
    let key = the_verification();
    assert!(!ledger.open(&key, Some(1), &OPENING).await.unwrap());
    assert_eq!(ledger.verification(&key).await.unwrap(), None);
    assert!(ledger.open(&key, None, &OPENING).await.unwrap());
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

async fn a_new_verification_keeps_only_the_used_codes(ledger: &dyn Ledger) {
    let key = the_verification();
    bring(ledger, State::Sent).await;
    assert!(ledger.reopen(&key, 1, &AGAIN).await.unwrap());
    paid(guess(ledger, "guess", START).await);
    done(ledger.consume(&key, 2, &success("winner")).await.unwrap());
    done(
        ledger
            .redeem(&key, &digest("claimant"), at(MINUTE))
            .await
            .unwrap(),
    );
    let used = UsedCode {
        code: digest("code"),
        until: at(MINUTE).plus(USED),
    };
    for generation in [3, 4] {
        assert!(
            ledger
                .open(&key, Some(generation - 1), &OPENING)
                .await
                .unwrap()
        );
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

async fn used_codes_are_kept_until_they_are_forgotten(ledger: &dyn Ledger) {
    let key = the_verification();
    let used = |code| UsedCode {
        code: digest(code),
        until: at(MINUTE).plus(USED),
    };
    for (generation, code) in [(1, "a"), (2, "b"), (3, "c")] {
        let seen = (generation > 1).then_some(generation - 1);
        assert!(ledger.open(&key, seen, &OPENING).await.unwrap());
        done(
            ledger
                .consume(
                    &key,
                    generation,
                    &Success {
                        code: digest(code),
                        ..success("winner")
                    },
                )
                .await
                .unwrap(),
        );
    }
    assert_eq!(
        see(ledger).await.used,
        [used("a"), used("b"), used("c")].into()
    );
    let forget = [used("a"), used("c"), used("unknown")];
    assert!(
        ledger
            .open(
                &key,
                Some(3),
                &Opening {
                    forget: &forget,
                    ..OPENING
                }
            )
            .await
            .unwrap()
    );
    assert_eq!(see(ledger).await.used, [used("b")].into());
    assert!(
        ledger
            .open(
                &key,
                Some(4),
                &Opening {
                    forget: &[used("b")],
                    ..OPENING
                }
            )
            .await
            .unwrap()
    );
    assert_eq!(see(ledger).await.used, BTreeSet::new());
    assert!(
        ledger
            .open(
                &key,
                Some(5),
                &Opening {
                    forget: &[used("b")],
                    ..OPENING
                }
            )
            .await
            .unwrap()
    );
}

async fn a_further_code_keeps_the_attempts(ledger: &dyn Ledger) {
    let key = the_verification();
    bring(ledger, State::Sent).await;
    paid(guess(ledger, "guess", START).await);
    let again = Verification {
        generation: 2,
        expires: AGAIN.expires,
        left: 2,
        sends: 2,
        issuers: AGAIN.issuers.to_vec(),
        message_id: Some("m1".to_owned()),
        channel: "voice".to_owned(),
        language: "de-DE".to_owned(),
        ..as_opened()
    };
    assert!(ledger.reopen(&key, 1, &AGAIN).await.unwrap());
    assert_eq!(see(ledger).await, again);
    assert!(!ledger.reopen(&key, 1, &AGAIN).await.unwrap());
    assert_eq!(see(ledger).await, again);
    assert!(ledger.reopen(&key, 2, &AGAIN).await.unwrap());
    ledger.settle(&key, 3, &Settled::Unclear).await.unwrap();
    assert!(ledger.reopen(&key, 3, &AGAIN).await.unwrap());
    assert_eq!(
        see(ledger).await,
        Verification {
            generation: 4,
            sends: 4,
            ..again
        }
    );
}

async fn an_ended_verification_gets_no_further_code(ledger: &dyn Ledger) {
    let key = the_verification();
    assert!(!ledger.reopen(&key, 1, &AGAIN).await.unwrap());
    assert_eq!(ledger.verification(&key).await.unwrap(), None);
    for state in ENDED {
        bring(ledger, state).await;
        let before = see(ledger).await;
        assert!(
            !ledger
                .reopen(&key, before.generation, &AGAIN)
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
    let generation = see(ledger).await.generation;
    assert!(ledger.reopen(&key, generation, &AGAIN).await.unwrap());
    paid(guess(ledger, "c", START).await);
    assert!(!ledger.reopen(&key, generation + 1, &AGAIN).await.unwrap());
}

async fn a_reserved_send_is_settled_once(ledger: &dyn Ledger) {
    let key = the_verification();
    let back = |state| Settled::Back {
        state,
        expires: seconds(300),
    };
    let opened = as_opened();
    let sent = Verification {
        state: State::Sent,
        message_id: Some("m".to_owned()),
        ..opened.clone()
    };
    let restored = |state| Verification {
        state,
        expires: seconds(300),
        ..as_opened()
    };
    let outcomes = [
        (
            Settled::Sent {
                message_id: Some("m"),
            },
            sent.clone(),
        ),
        (
            Settled::Sent { message_id: None },
            Verification {
                message_id: None,
                ..sent
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
            Settled::Failed,
            Verification {
                state: State::Failed,
                ..opened
            },
        ),
        (back(State::Sent), restored(State::Sent)),
        (back(State::Unclear), restored(State::Unclear)),
    ];
    let all = outcomes.clone();
    for (generation, (outcome, expected)) in (1..).zip(outcomes) {
        bring(ledger, State::Reserved).await;
        let expected = Verification {
            generation,
            ..expected
        };
        ledger.settle(&key, generation, &outcome).await.unwrap();
        assert_eq!(see(ledger).await, expected);
        for (again, _) in &all {
            ledger.settle(&key, generation, again).await.unwrap();
            assert_eq!(see(ledger).await, expected);
        }
    }
    // A message without an ID removes the ID of the message before.
    bring(ledger, State::Sent).await;
    let generation = see(ledger).await.generation;
    assert!(ledger.reopen(&key, generation, &AGAIN).await.unwrap());
    ledger
        .settle(&key, generation + 1, &Settled::Sent { message_id: None })
        .await
        .unwrap();
    assert_eq!(see(ledger).await.message_id, None);
}

async fn a_settlement_of_an_older_generation_is_ignored(ledger: &dyn Ledger) {
    let key = the_verification();
    let outcomes = [
        Settled::Sent {
            message_id: Some("late"),
        },
        Settled::Sent { message_id: None },
        Settled::Unclear,
        Settled::Failed,
        Settled::Back {
            state: State::Sent,
            expires: START,
        },
    ];
    for outcome in &outcomes {
        ledger.settle(&key, 1, outcome).await.unwrap();
    }
    assert_eq!(ledger.verification(&key).await.unwrap(), None);
    bring(ledger, State::Reserved).await;
    bring(ledger, State::Reserved).await;
    for outcome in &outcomes {
        for generation in [0, 1, 3] {
            ledger.settle(&key, generation, outcome).await.unwrap();
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
                .settle(&key, before.generation, outcome)
                .await
                .unwrap();
            assert_eq!(see(ledger).await, before);
        }
    }
}

async fn only_the_owner_spends_the_last_attempt(ledger: &dyn Ledger) {
    let key = the_verification();
    let (owner, other) = (digest("owner"), digest("other"));
    let guess_of = async |session: &SessionDigest, guess: &str| {
        let question = Question {
            session: session.clone(),
            nonce: digest("nonce"),
        };
        ledger
            .spend_attempt(&key, &digest(guess), Some(&question), START)
            .await
            .unwrap()
    };
    let begun = Opening {
        owner: Some(&owner),
        state: State::Sent,
        ..OPENING
    };
    assert!(ledger.open(&key, None, &begun).await.unwrap());
    assert_eq!(see(ledger).await.owner.as_ref(), Some(&owner));
    assert_eq!(paid(guess_of(&other, "a").await).left, 2);
    assert_eq!(paid(guess_of(&other, "b").await).left, 1);
    assert_eq!(unpaid(guess_of(&other, "c").await).unwrap().left, 1);
    assert_eq!(paid(guess_of(&owner, "c").await).left, 0);
    assert_eq!(unpaid(guess_of(&owner, "d").await).unwrap().left, 0);

    // A new verification that no session began has no owner, although the one before had one.
    assert!(
        ledger
            .open(
                &key,
                Some(1),
                &Opening {
                    left: 2,
                    state: State::Sent,
                    ..OPENING
                }
            )
            .await
            .unwrap()
    );
    assert_eq!(see(ledger).await.owner, None);
    assert_eq!(paid(guess_of(&owner, "a").await).left, 1);
    assert_eq!(unpaid(guess_of(&owner, "b").await).unwrap().left, 1);
    assert_eq!(
        paid(guess(ledger, "b", START).await).left,
        0,
        "a guess without a session may use the last attempt"
    );
}

async fn a_question_delivered_twice_costs_once(ledger: &dyn Ledger) {
    let key = the_verification();
    let session = digest("session");
    let answer_to = async |question: &str, guess: &str, now| {
        let question = Question {
            session: session.clone(),
            nonce: digest(question),
        };
        ledger
            .spend_attempt(&key, &digest(guess), Some(&question), now)
            .await
            .unwrap()
    };
    assert!(
        ledger
            .open(
                &key,
                None,
                &Opening {
                    left: 9,
                    state: State::Sent,
                    ..OPENING
                }
            )
            .await
            .unwrap()
    );
    let first = paid(answer_to("1", "a", START).await);
    assert_eq!(first.last_guess.unwrap().question, Some(digest("1")));
    // The provider has not answered yet, and later its answer is unclear.
    assert_eq!(
        unpaid(answer_to("1", "a", at(GUESS_PENDING)).await)
            .unwrap()
            .left,
        8
    );
    ledger
        .note_answer(&key, 1, &digest("a"), GuessOutcome::Unclear)
        .await
        .unwrap();
    assert_eq!(unpaid(answer_to("1", "a", START).await).unwrap().left, 8);
    // The person gives the same answer to the next question.
    assert_eq!(paid(answer_to("2", "a", START).await).left, 7);
    assert_eq!(
        unpaid(answer_to("2", "a", at(GUESS_PENDING)).await)
            .unwrap()
            .left,
        7
    );
    assert_eq!(
        unpaid(answer_to("3", "a", START).await).unwrap().left,
        7,
        "the guess is pending"
    );
    assert_eq!(paid(answer_to("3", "a", at(GUESS_PENDING)).await).left, 6);
    ledger
        .note_answer(&key, 1, &digest("a"), GuessOutcome::Invalid)
        .await
        .unwrap();
    assert_eq!(
        unpaid(answer_to("4", "a", at(GUESS_PENDING)).await)
            .unwrap()
            .left,
        6,
        "the guess is known to be wrong"
    );
    // Another answer is another guess, even to a question that was asked before.
    assert_eq!(paid(answer_to("3", "b", START).await).left, 5);
    // A new code does not remember the questions about the last one.
    assert!(ledger.reopen(&key, 1, &AGAIN).await.unwrap());
    assert_eq!(see(ledger).await.last_guess, None);
    assert_eq!(paid(answer_to("3", "b", START).await).left, 4);
}

async fn a_sign_in_cannot_be_redeemed(ledger: &dyn Ledger) {
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

async fn a_guess_costs_an_attempt(ledger: &dyn Ledger) {
    for state in OPEN {
        bring(ledger, state).await;
        for (left, wrong) in [(2, "a"), (1, "b"), (0, "c")] {
            let now = OPENING.expires.minus(MILLI);
            let verification = paid(guess(ledger, wrong, now).await);
            assert_eq!(verification.left, left);
            assert_eq!(
                verification.last_guess,
                Some(Guess {
                    code: digest(wrong),
                    outcome: GuessOutcome::Pending,
                    at: now,
                    question: None
                })
            );
            assert_eq!(verification.state, state);
            assert_eq!(see(ledger).await, verification);
        }
        let verification = unpaid(guess(ledger, "d", START).await).unwrap();
        assert_eq!(
            (verification.left, verification.last_guess.unwrap().code),
            (0, digest("c"))
        );
    }
}

async fn an_ended_verification_takes_no_guesses(ledger: &dyn Ledger) {
    assert_eq!(unpaid(guess(ledger, "a", START).await), None);
    assert_eq!(
        ledger.verification(&the_verification()).await.unwrap(),
        None
    );
    for state in ENDED {
        bring(ledger, state).await;
        let before = see(ledger).await;
        assert_eq!(
            unpaid(guess(ledger, "a", START).await),
            Some(before.clone())
        );
        assert_eq!(see(ledger).await, before);
    }
    bring(ledger, State::Sent).await;
    let before = see(ledger).await;
    assert_eq!(
        unpaid(guess(ledger, "a", OPENING.expires).await),
        Some(before.clone())
    );
    paid(guess(ledger, "a", OPENING.expires.minus(MILLI)).await);
    // After the end not even a pending guess can be retried.
    let before = see(ledger).await;
    assert_eq!(
        unpaid(guess(ledger, "a", OPENING.expires.plus(MINUTE)).await),
        Some(before)
    );
}

async fn a_repeated_wrong_guess_is_refused(ledger: &dyn Ledger) {
    bring(ledger, State::Sent).await;
    paid(guess(ledger, "a", START).await);
    ledger
        .note_answer(&the_verification(), 1, &digest("a"), GuessOutcome::Invalid)
        .await
        .unwrap();
    for now in [START, at(GUESS_PENDING), at(MINUTE)] {
        let verification = unpaid(guess(ledger, "a", now).await).unwrap();
        assert_eq!(verification.left, 2);
        assert_eq!(
            verification.last_guess,
            Some(Guess {
                code: digest("a"),
                outcome: GuessOutcome::Invalid,
                at: START,
                question: None
            })
        );
    }
}

async fn a_pending_guess_can_be_retried_once_after_five_seconds(ledger: &dyn Ledger) {
    bring(ledger, State::Sent).await;
    paid(guess(ledger, "a", START).await);
    for now in [START, at(GUESS_PENDING).minus(MILLI)] {
        assert_eq!(unpaid(guess(ledger, "a", now).await).unwrap().left, 2);
    }
    let now = at(GUESS_PENDING);
    let verification = paid(guess(ledger, "a", now).await);
    assert_eq!(verification.left, 1);
    assert_eq!(
        verification.last_guess,
        Some(Guess {
            code: digest("a"),
            outcome: GuessOutcome::Pending,
            at: now,
            question: None
        })
    );
    assert_eq!(unpaid(guess(ledger, "a", now).await), Some(verification));
    unpaid(guess(ledger, "a", now.plus(GUESS_PENDING).minus(MILLI)).await);
    assert_eq!(
        paid(guess(ledger, "a", now.plus(GUESS_PENDING)).await).left,
        0
    );
    assert_eq!(
        unpaid(guess(ledger, "a", now.plus(MINUTE)).await)
            .unwrap()
            .left,
        0
    );
}

async fn an_unclear_guess_can_be_retried_once(ledger: &dyn Ledger) {
    bring(ledger, State::Sent).await;
    paid(guess(ledger, "a", START).await);
    ledger
        .note_answer(&the_verification(), 1, &digest("a"), GuessOutcome::Unclear)
        .await
        .unwrap();
    assert_eq!(
        see(ledger).await.last_guess.unwrap().outcome,
        GuessOutcome::Unclear
    );
    let verification = paid(guess(ledger, "a", seconds(1)).await);
    assert_eq!(verification.left, 1);
    assert_eq!(
        verification.last_guess,
        Some(Guess {
            code: digest("a"),
            outcome: GuessOutcome::Pending,
            at: seconds(1),
            question: None
        })
    );
    assert_eq!(
        unpaid(guess(ledger, "a", seconds(2)).await),
        Some(verification)
    );
}

async fn only_the_last_guess_is_remembered(ledger: &dyn Ledger) {
    bring(ledger, State::Sent).await;
    for wrong in ["a", "b", "a"] {
        paid(guess(ledger, wrong, START).await);
        ledger
            .note_answer(
                &the_verification(),
                1,
                &digest(wrong),
                GuessOutcome::Invalid,
            )
            .await
            .unwrap();
    }
    assert_eq!(see(ledger).await.left, 0);
}

async fn a_verdict_is_recorded_for_its_guess_only(ledger: &dyn Ledger) {
    let key = the_verification();
    let said = async || see(ledger).await.last_guess.unwrap().outcome;
    ledger
        .note_answer(&key, 1, &digest("a"), GuessOutcome::Invalid)
        .await
        .unwrap();
    assert_eq!(ledger.verification(&key).await.unwrap(), None);
    bring(ledger, State::Sent).await;
    ledger
        .note_answer(&key, 1, &digest("a"), GuessOutcome::Invalid)
        .await
        .unwrap();
    assert_eq!(see(ledger).await.last_guess, None);
    paid(guess(ledger, "a", START).await);
    paid(guess(ledger, "b", START).await);
    ledger
        .note_answer(&key, 1, &digest("a"), GuessOutcome::Invalid)
        .await
        .unwrap();
    assert_eq!(said().await, GuessOutcome::Pending);
    // The same guess at a new code is another guess.
    assert!(ledger.reopen(&key, 1, &AGAIN).await.unwrap());
    paid(guess(ledger, "b", START).await);
    ledger
        .note_answer(&key, 1, &digest("b"), GuessOutcome::Invalid)
        .await
        .unwrap();
    assert_eq!(said().await, GuessOutcome::Pending);
    for answer in [GuessOutcome::Unclear, GuessOutcome::Invalid] {
        ledger
            .note_answer(&key, 2, &digest("b"), answer)
            .await
            .unwrap();
        assert_eq!(said().await, answer);
    }
}

async fn each_generation_succeeds_at_most_once(ledger: &dyn Ledger) {
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

async fn a_success_is_recorded(ledger: &dyn Ledger) {
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

async fn an_open_verification_can_be_canceled(ledger: &dyn Ledger) {
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

async fn an_ended_verification_cannot_be_canceled(ledger: &dyn Ledger) {
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

async fn a_success_is_redeemed_once(ledger: &dyn Ledger) {
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

async fn a_success_is_redeemable_for_ten_minutes(ledger: &dyn Ledger) {
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

async fn only_a_success_can_be_redeemed(ledger: &dyn Ledger) {
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
