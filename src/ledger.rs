//! The contract of the ledger: the facts that a ledger keeps about verifications, guesses and limits.
//!
//! Each method is one atomic step on one item. There is one exception: `look` reads several items, each by itself. The
//! service decides the order of the steps.
//!
//! A step that fails with [`Unavailable`] may nevertheless have been carried out. The service orders its steps so that
//! such a step can waste budget or an attempt, but can never let a limit be exceeded.

mod digest;
mod hasher;
mod holder;
mod issuer;
mod pseudonym;
mod seal;
mod verification;

pub use digest::{CodeDigest, Digest, Fingerprint, Nonce, Redeemer, SessionDigest, Winner};
pub use hasher::{DECOY_ITEM, Door, Hasher, ItemName, Window};
pub use holder::Holder;
pub use issuer::{CodeReference, Issuer};
pub use pseudonym::Pseudonym;
pub use verification::{
    Guess, GuessOutcome, Opening, Phase, Question, Resend, Seen, Settled, State, Success, UsedCode,
    Verification,
};

use crate::error::{Error, ErrorCode};
use crate::time::Millis;
use async_trait::async_trait;
use futures_util::future::{join_all, join4};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How long a guess without a verdict blocks its own retry. A later retry costs another attempt.
pub const GUESS_PENDING: Duration = Duration::from_secs(5);

/// How long the winner can repeat its request and get the same success.
pub const SUCCESS_REPLAY: Duration = Duration::from_secs(20);

/// How long a success can be redeemed.
pub const REDEEMABLE: Duration = Duration::from_mins(10);

/// How long a code that has verified is refused. Providers keep a code for an hour at most; the second hour is a margin.
pub const USED: Duration = Duration::from_hours(2);

/// The longest validity that a provider gives a code.
pub const LONGEST_VALIDITY: Duration = Duration::from_hours(1);

/// The count of failures since the last success at which a number is locked.
pub const LOCKED: u32 = 100;

/// The failures at which the operator is told that a number is on its way to the lock.
pub const NEAR_LOCK: [u32; 2] = [30, 60];

/// The waits that failures cause before they lock the number. During a wait, the number gets no code.
pub const GUESS_STOPS: [GuessStop; 2] = [
    GuessStop {
        failures: 10,
        wait: Duration::from_mins(15),
    },
    GuessStop {
        failures: 30,
        wait: Duration::from_hours(24),
    },
];

/// How many sends are remembered for each number. No send window can count more.
pub const REMEMBERED_SENDS: usize = 20;

/// How long an idempotency key is kept.
pub const KEY_KEPT: Duration = Duration::from_hours(24);

/// How long a number without failures is kept. It is longer than any send window.
pub const NUMBER_KEPT: Duration = Duration::from_hours(90 * 24);

/// How long a number with failures is kept after its last failure or send. After this time, its failures and its lock
/// are forgotten.
///
/// Without such an end, the table would grow for ever, because strangers can cause failures for as many numbers as they
/// like. To forget failures after a year is safe. Every further guess or send lets the year begin again. So an attacker
/// has to leave the number alone for a whole year, and then gets no more than [`LOCKED`] guesses.
pub const FAILURES_KEPT: Duration = Duration::from_hours(365 * 24);

/// How long a verification is kept after its code has expired.
pub const VERIFICATION_KEPT: Duration = Duration::from_hours(24);

/// A number with this many failures or more gets no code until `wait` after its last failure.
#[derive(Debug, Clone, Copy)]
pub struct GuessStop {
    pub failures: u32,
    pub wait: Duration,
}

/// At most `sends` in any period of this `length`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SendWindow {
    /// 1 to [`REMEMBERED_SENDS`].
    pub sends: usize,
    pub length: Duration,
}

/// The amounts that one message takes from the budgets in one item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spending {
    /// The item of a day, or of a country and a day.
    pub item: ItemName,
    /// When the item can be deleted.
    pub expires: Millis,
    pub lines: Vec<SpendingLine>,
}

impl Spending {
    /// Lowers the cap of each line that adds nothing, by the count of the same name in another item.
    pub fn leave_room_for(&mut self, counted: &BTreeMap<String, u64>) {
        for line in self.lines.iter_mut().filter(|line| line.amount == 0) {
            let elsewhere = counted.get(&line.counter).copied();
            line.cap = line.cap.saturating_sub(elsewhere.unwrap_or_default());
        }
    }

    /// The lines that add something to their counters.
    pub fn adding(&self) -> impl Iterator<Item = &SpendingLine> {
        self.lines.iter().filter(|line| line.amount > 0)
    }

    /// Finds a line whose cap this message alone exceeds.
    pub(crate) fn over_alone(&self) -> Option<&SpendingLine> {
        self.lines.iter().find(|line| line.amount > line.cap)
    }

    /// Finds a line whose cap would be exceeded. `spent` has the present counter of each line.
    #[must_use]
    pub fn over(&self, spent: &[u64]) -> Option<&SpendingLine> {
        let is_over = |(line, spent): &(&SpendingLine, &u64)| **spent > line.cap - line.amount;
        let mut lines = self.lines.iter().zip(spent);
        self.over_alone()
            .or_else(|| lines.find(is_over).map(|(line, _)| line))
    }
}

/// The amount that one message takes from one budget.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpendingLine {
    /// The attribute that counts.
    pub counter: String,
    /// Messages, or millionths of a US dollar. A line of zero adds nothing, and only compares its counter with the cap.
    pub amount: u64,
    /// The most that the counter may reach.
    pub cap: u64,
    /// Whether this is the budget of one country.
    pub of_country: bool,
    /// When the budget's period ends.
    pub ends: Millis,
}

impl SpendingLine {
    /// Whether the line counts money. The first letter of a counter says what it counts.
    #[must_use]
    pub fn is_money(&self) -> bool {
        self.counter.starts_with('u')
    }

    /// The length of the budget's period. The counter of an hour names the hour.
    #[must_use]
    pub fn period(&self) -> Duration {
        let hour = self.counter.as_bytes().get(1);
        let is_of_hour = hour.is_some_and(u8::is_ascii_digit);
        Duration::from_hours(if is_of_hour { 1 } else { 24 })
    }
}

/// The ledger failed to do a step, or to confirm it. Holds the cause for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unavailable(pub String);

impl From<Unavailable> for Error {
    fn from(unavailable: Unavailable) -> Self {
        Self::new(
            ErrorCode::LedgerUnavailable,
            "The ledger could not be reached. Try again shortly.",
        )
        .with_retry_after(Duration::from_secs(2))
        .with_cause(unavailable.0)
    }
}

/// Remembers verifications, guesses and limits.
///
/// DynamoDB deletes expired items late, so every step checks by itself whether the item has expired.
#[async_trait]
pub trait Ledger: Send + Sync {
    /// Opens the connections that the steps of a request need. Changes nothing in the table. The default does nothing.
    async fn connect(&self) {}

    async fn switches(&self) -> Result<Switches, Unavailable>;

    /// Adds one to a counter unless that exceeds `cap`. Returns false if nothing was counted.
    async fn count(&self, item: &ItemName, cap: u64, expires: Millis) -> Result<bool, Unavailable>;

    /// Subtracts one from a counter. Does nothing if it is zero.
    async fn uncount(&self, item: &ItemName) -> Result<(), Unavailable>;

    /// Adds every line to its counter if all stay within their caps; otherwise changes nothing.
    async fn spend(&self, spending: &Spending) -> Result<SpendOutcome, Unavailable>;

    /// Reads the counter of each line of `spending`, in order.
    async fn spent(&self, spending: &Spending) -> Result<Vec<u64>, Unavailable>;

    /// Subtracts what was spent. Does nothing if a counter has less than its line.
    async fn refund(&self, spending: &Spending) -> Result<(), Unavailable>;

    /// Reserves an idempotency key that is new, released, or older than [`KEY_KEPT`].
    async fn reserve_key(
        &self,
        item: &ItemName,
        holder: Holder,
        fingerprint: &Fingerprint,
        now: Millis,
    ) -> Result<KeyReservation, Unavailable>;

    /// Frees a key because no message was sent under it. Does nothing if another request holds the key.
    async fn release_key(&self, item: &ItemName, holder: Holder) -> Result<(), Unavailable>;

    /// Records the response that repeats of the request get. If it is unknown whether a message was sent, this response
    /// is `None`. Does nothing if another request holds the key.
    async fn finish_key(
        &self,
        item: &ItemName,
        holder: Holder,
        response: Option<&str>,
    ) -> Result<(), Unavailable>;

    /// Reads a counter of [`count`](Self::count).
    async fn counted(&self, item: &ItemName) -> Result<u64, Unavailable>;

    async fn number(&self, item: &ItemName) -> Result<Number, Unavailable>;

    /// Records a send to a number, unless one of `windows` is full or failures block sends.
    async fn reserve_send(
        &self,
        item: &ItemName,
        windows: &[SendWindow],
        now: Millis,
    ) -> Result<Reservation, Unavailable>;

    /// Counts a guess as failed before the provider checks the guess, up to `lock` failures.
    async fn charge_number(
        &self,
        item: &ItemName,
        lock: u32,
        now: Millis,
    ) -> Result<NumberCharge, Unavailable>;

    /// Clears failures after a right guess: those up to and including the guess's own charge. Later failures stay. Does
    /// nothing if the failures have been cleared since the charge.
    async fn clear_failures(
        &self,
        item: &ItemName,
        charge: Charge,
        now: Millis,
    ) -> Result<(), Unavailable>;

    /// Clears all failures of a number.
    async fn unlock(&self, item: &ItemName, now: Millis) -> Result<(), Unavailable>;

    /// Remembers until `expires` that a device has verified a number.
    async fn remember_device(&self, item: &ItemName, expires: Millis) -> Result<(), Unavailable>;

    /// Whether a device has verified the number, and is still remembered.
    async fn knows_device(&self, item: &ItemName, now: Millis) -> Result<bool, Unavailable>;

    async fn verification(&self, item: &ItemName) -> Result<Option<Verification>, Unavailable>;

    /// Reads several items at once. Each item is read by itself, so another request may write between two of the reads.
    /// The default takes the step of each item. `DynamoDB` reads all of them with one request.
    async fn look(&self, wanted: &Wanted<'_>) -> Result<Looked, Unavailable> {
        let switches = async {
            if wanted.switches {
                self.switches().await.map(Some)
            } else {
                Ok(None)
            }
        };
        let counters = wanted.counters.iter().map(|item| self.counted(item));
        let (switches, verification, number, counters) = join4(
            switches,
            self.verification(wanted.verification),
            self.number(wanted.number),
            join_all(counters),
        )
        .await;
        Ok(Looked {
            switches: switches?,
            verification: verification?,
            number: number?,
            counters: counters.into_iter().collect::<Result<_, _>>()?,
        })
    }

    /// Writes a new verification of generation `seen + 1`. The used codes in the item stay, except those in `forget` of
    /// `new`. Returns false, and writes nothing, if the stored generation is not `seen`.
    async fn open(
        &self,
        item: &ItemName,
        seen: Option<u64>,
        new: &Opening<'_>,
    ) -> Result<bool, Unavailable>;

    /// Starts the next generation of an open verification. The count of guesses left does not change. Returns false if
    /// the stored verification has ended, or differs from `seen`.
    async fn reopen(
        &self,
        item: &ItemName,
        seen: Seen,
        resend: &Resend<'_>,
    ) -> Result<bool, Unavailable>;

    /// Records the outcome of a reserved send. Does nothing if an outcome has been recorded already, if a newer
    /// generation has begun, or if another request has reserved this generation.
    async fn settle(
        &self,
        item: &ItemName,
        generation: u64,
        holder: Holder,
        outcome: &Settled<'_>,
    ) -> Result<(), Unavailable>;

    /// Spends an attempt on a guess.
    ///
    /// The step is refused if the verification is not open. The step is also refused if the guess repeats the last
    /// guess, unless the outcome of the last guess is unclear or has been pending for [`GUESS_PENDING`].
    ///
    /// Two more rules hold if the guess responds to a sign-in `question`. Only the session that owns the verification
    /// may spend the last attempt. And the same guess at the same question is always refused: Cognito has delivered one
    /// answer twice, and one answer must cost only one attempt.
    async fn spend_attempt(
        &self,
        item: &ItemName,
        guess: &CodeDigest,
        question: Option<&Question>,
        now: Millis,
    ) -> Result<Attempt, Unavailable>;

    /// Records the provider's verdict on the last guess. Does nothing if another guess has been made since.
    async fn note_answer(
        &self,
        item: &ItemName,
        generation: u64,
        guess: &CodeDigest,
        outcome: GuessOutcome,
    ) -> Result<(), Unavailable>;

    /// Marks a verification as verified if the verification has this generation and is open. From then until
    /// `used_until`, the code is refused as used. If `used_until` is `None`, the code may verify again.
    async fn consume(
        &self,
        item: &ItemName,
        generation: u64,
        success: &Success,
        used_until: Option<Millis>,
    ) -> Result<Transition, Unavailable>;

    /// Ends an open verification if the verification has this generation. If there were no condition on the generation,
    /// a cancel that arrives late would end a newer code.
    async fn cancel(
        &self,
        item: &ItemName,
        generation: u64,
        now: Millis,
    ) -> Result<Transition, Unavailable>;

    /// Redeems the success of this generation. The success must be at most [`REDEEMABLE`] old and not redeemed yet.
    /// Successes of sign-ins cannot be redeemed.
    async fn redeem(
        &self,
        item: &ItemName,
        generation: u64,
        redeemer: &Redeemer,
        now: Millis,
    ) -> Result<Transition, Unavailable>;
}

/// The outcome of a conditional step on a verification.
#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "short-lived")]
pub enum Transition {
    Applied,
    /// Nothing was changed. Holds the verification as it stands, if there is one.
    Refused(Option<Verification>),
}

/// Whether a message was within all budgets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SpendOutcome {
    /// The counters of the lines after the step, in order. A line that adds nothing has zero here.
    Spent(Vec<u64>),
    /// Nothing was spent. Holds a line whose cap would be exceeded.
    OverCap(SpendingLine),
}

/// The operator's pause, blocks and exceptions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Switches {
    /// No messages are sent.
    pub paused: bool,
    /// Item names of numbers and prefixes of numbers (`+1876555`) that get no code.
    pub blocked: BTreeSet<String>,
    /// Exceptions from `blocked`, in the same form.
    pub allowed: BTreeSet<String>,
}

/// The items that [`Ledger::look`] reads.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// Whether the switches are read, too.
    pub switches: bool,
    pub verification: &'a ItemName,
    pub number: &'a ItemName,
    pub counters: &'a [ItemName],
}

/// The contents of the items that [`Ledger::look`] has read.
#[derive(Debug, Clone)]
pub struct Looked {
    /// `None` if the switches were not wanted.
    pub switches: Option<Switches>,
    pub verification: Option<Verification>,
    pub number: Number,
    /// The counters, in the order in which they were wanted.
    pub counters: Vec<u64>,
}

/// The sends and failures of a number.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Number {
    /// The times of the last [`REMEMBERED_SENDS`] sends, newest first.
    pub sends: Vec<Millis>,
    /// Failed guesses since the last success.
    pub failures: u32,
    /// The time of the last failure; zero without failures.
    pub last_failure: Millis,
}

/// Whether a send was recorded. Each case holds the number as it now is.
#[derive(Debug, Clone)]
pub enum Reservation {
    Reserved(Number),
    Refused(Number),
}

/// Whether a guess was counted.
#[derive(Debug, Clone, Copy)]
pub enum NumberCharge {
    Charged(Charge),
    Locked,
}

/// A guess that was counted as failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Charge {
    /// Failures since the last success, including this one.
    pub failures: u32,
    /// How often the failures of the number had been cleared before.
    pub epoch: u64,
}

/// Whether an idempotency key was reserved.
#[derive(Debug, Clone)]
pub enum KeyReservation {
    Reserved,
    /// An earlier request holds the key.
    Held(HeldKey),
}

/// An idempotency key that a request has reserved.
#[derive(Debug, Clone)]
pub struct HeldKey {
    pub fingerprint: Fingerprint,
    pub at: Millis,
    pub outcome: KeyOutcome,
}

/// The outcome of the request that reserved an idempotency key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyOutcome {
    /// The request is still running, or has crashed.
    Pending,
    /// The message may have been sent.
    Unclear,
    Answered(String),
}

/// Whether an attempt was spent on a guess.
#[derive(Debug, Clone)]
pub enum Attempt {
    /// The verification after the attempt was spent.
    Paid(Verification),
    /// No attempt was spent. Holds the verification as it stands, if there is one.
    Refused(Option<Verification>),
}
