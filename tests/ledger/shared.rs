//! The items and steps that the tests of the ledger share.

use otp_lambda::ledger::{
    Attempt, Charge, CodeReference, Digest, Door, GuessOutcome, Hasher, Holder, Issuer, ItemName,
    LOCKED, Ledger, Number, NumberCharge, Opening, Resend, Reservation, Seen, SendWindow, Settled,
    SpendOutcome, Spending, SpendingLine, State, Success, Transition, Verification, Window,
};
use otp_lambda::phone::PhoneNumber;
use otp_lambda::policy::SendLimits;
use otp_lambda::reference::ReferenceId;
use otp_lambda::time::Millis;
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::time::Duration;

/// It is not a whole second, so that rounding is noticed.
pub(crate) const START: Millis = Millis(1_750_000_000_123);

pub(crate) const MINUTE: Duration = Duration::from_mins(1);

pub(crate) const MILLI: Duration = Duration::from_millis(1);

pub(crate) fn at(later: Duration) -> Millis {
    START.plus(later)
}

pub(crate) fn seconds(seconds: u64) -> Millis {
    at(Duration::from_secs(seconds))
}

pub(crate) fn keys() -> Hasher {
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
        SpendOutcome::Spent(_) => None,
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
        item: ItemName::of_budget(Door::Http, 20_254),
        expires: at(Duration::from_hours(48)),
        lines: lines.iter().map(line).collect(),
    }
}

pub(crate) const PINPOINT: Issuer = Issuer::Provider {
    name: Cow::Borrowed("pinpoint"),
    reference: CodeReference::Plain,
};

/// The request that reserves keys and codes.
pub(crate) const HOLDER: Holder = Holder(7);

/// The first code of a verification, after its message was sent.
pub(crate) const SENT: Seen = Seen {
    generation: 1,
    state: State::Sent,
};

pub(crate) const OPENING: Opening<'_> = Opening {
    state: State::Reserved,
    holder: HOLDER,
    first: START,
    expires: Millis(START.0 + 600_000),
    left: 3,
    issuers: &[PINPOINT],
    plain_until: Millis(START.0 + 660_000),
    channel: "sms",
    code_length: 6,
    language: "en-US",
    brand_name: "ExampleCorp",
    owner: None,
    forget: &[],
};

pub(crate) const AGAIN: Resend<'_> = Resend {
    holder: HOLDER,
    expires: Millis(START.0 + 660_000),
    issuers: &[
        Issuer::Provider {
            name: Cow::Borrowed("eum"),
            reference: CodeReference::OfGeneration(2),
        },
        PINPOINT,
    ],
    plain_until: Millis(START.0 + 720_000),
    channel: "voice",
    language: "de-DE",
};

/// The verification that [`OPENING`] opens.
pub(crate) fn as_opened() -> Verification {
    Verification {
        generation: 1,
        state: State::Reserved,
        holder: HOLDER,
        expires: OPENING.expires,
        first: START,
        left: 3,
        sends: 1,
        issuers: vec![PINPOINT],
        message_id: None,
        plain_until: OPENING.plain_until,
        channel: "sms".to_owned(),
        code_length: 6,
        language: "en-US".to_owned(),
        brand_name: "ExampleCorp".to_owned(),
        last_guess: None,
        success: None,
        redeemed_by: None,
        redeemed_at: None,
        owner: None,
        used: BTreeSet::new(),
    }
}

pub(crate) fn sent(message_id: Option<&str>) -> Settled<'_> {
    Settled::Sent {
        issuer: &OPENING.issuers[0],
        message_id,
    }
}

pub(crate) const FAILED: Settled<'_> = Settled::Failed { plain_until: START };

pub(crate) fn success(winner: &str) -> Success {
    Success {
        winner: digest(winner),
        code: digest("code"),
        at: at(MINUTE),
    }
}

/// Until when the code of [`success`] must not verify again.
pub(crate) const USED_UNTIL: Option<Millis> = Some(Millis(START.0 + 60_000 + 7_200_000));

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
            .settle(&key, generation, HOLDER, &sent(Some("m1")))
            .await
            .unwrap(),
        State::Unclear => ledger
            .settle(&key, generation, HOLDER, &Settled::Unclear)
            .await
            .unwrap(),
        State::Failed => ledger
            .settle(&key, generation, HOLDER, &FAILED)
            .await
            .unwrap(),
        State::Verified => done(
            ledger
                .consume(&key, generation, &success("winner"), USED_UNTIL)
                .await
                .unwrap(),
        ),
        State::Canceled => done(ledger.cancel(&key, generation, START).await.unwrap()),
    }
    assert_eq!(see(ledger).await.state, state);
}

pub(crate) const OPEN: [State; 3] = [State::Reserved, State::Sent, State::Unclear];

pub(crate) const ENDED: [State; 3] = [State::Failed, State::Verified, State::Canceled];

#[expect(
    clippy::needless_pass_by_value,
    reason = "a caller has no further use for it"
)]
pub(crate) fn done(step: Transition) {
    assert!(matches!(step, Transition::Applied), "{step:?}");
}

pub(crate) fn refused(step: Transition) -> Option<Verification> {
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

pub(crate) fn unpaid(attempt: Attempt) -> Option<Verification> {
    match attempt {
        Attempt::Refused(verification) => verification,
        Attempt::Paid(verification) => panic!("paid: {verification:?}"),
    }
}

/// Opens the verification over the generation `seen`.
pub(crate) async fn open(ledger: &dyn Ledger, seen: Option<u64>, new: &Opening<'_>) {
    let opened = ledger.open(&the_verification(), seen, new).await;
    assert!(opened.unwrap());
}

/// Notes the provider's answer to a guess.
pub(crate) async fn note(ledger: &dyn Ledger, generation: u64, guess: &str, outcome: GuessOutcome) {
    let (item, guess) = (the_verification(), digest(guess));
    let noted = ledger.note_answer(&item, generation, &guess, outcome);
    noted.await.unwrap();
}

/// Brings the verification into each of `states`, runs `step` there, and asserts that the step is refused and changes
/// nothing. `step` gets the generation of the verification, and returns the verification that the refusal contains.
pub(crate) async fn is_refused_in<I, F, R>(ledger: &dyn Ledger, states: I, step: F)
where
    I: IntoIterator<Item = State>,
    F: Fn(u64) -> R,
    R: Future<Output = Option<Verification>>,
{
    for state in states {
        bring(ledger, state).await;
        let before = see(ledger).await;
        let refused = step(before.generation).await;
        assert_eq!(refused.as_ref(), Some(&before), "{state:?}");
        assert_eq!(see(ledger).await, before, "{state:?}");
    }
}

pub(crate) async fn reserve(ledger: &dyn Ledger, limits: &str, now: Millis) -> Reservation {
    ledger
        .reserve_send(&the_number(), &windows(limits), now)
        .await
        .unwrap()
}

pub(crate) async fn takes(ledger: &dyn Ledger, windows: &str, now: Millis) -> Number {
    match reserve(ledger, windows, now).await {
        Reservation::Reserved(number) => number,
        Reservation::Refused(number) => panic!("refused: {number:?}"),
    }
}

pub(crate) async fn finds_no_place(ledger: &dyn Ledger, windows: &str, now: Millis) -> Number {
    match reserve(ledger, windows, now).await {
        Reservation::Refused(number) => number,
        Reservation::Reserved(number) => panic!("reserved: {number:?}"),
    }
}

pub(crate) async fn charge(ledger: &dyn Ledger, now: Millis) -> Charge {
    match ledger
        .charge_number(&the_number(), LOCKED, now)
        .await
        .unwrap()
    {
        NumberCharge::Charged(charge) => charge,
        NumberCharge::Locked => panic!("locked"),
    }
}

pub(crate) async fn failures(ledger: &dyn Ledger) -> u32 {
    ledger.number(&the_number()).await.unwrap().failures
}
