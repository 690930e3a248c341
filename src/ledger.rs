//! What is remembered about verifications, guesses and limits: the contract of the store.
//!
//! Every method is one step that happens wholly or not at all, whoever else is at the same item. The order of the steps
//! is [`service`](crate::service)'s. A step that a store could not confirm is [`Unavailable`], and may have happened all
//! the same: the order is such that this costs budget or an attempt, never a limit.

mod hasher;

pub use hasher::{Hasher, ItemName, Mac, Window};

use crate::policy::{SendLimits, Spending};
use async_trait::async_trait;
use std::collections::BTreeSet;
use std::time::Duration;

/// How long a guess that nobody has answered yet keeps its own repetition waiting. After that it may be taken over, at the
/// price of another attempt.
pub const GUESS_PENDING: Duration = Duration::from_secs(5);

/// How long after a success the same caller gets the same yes again.
pub const SUCCESS_REPLAY: Duration = Duration::from_secs(20);

/// How long after a success it can be claimed.
pub const REDEEMABLE: Duration = Duration::from_mins(10);

/// How long a code that was right once is refused: an hour is the longest that a provider may be asked to keep one, and one
/// that is slow to forget is met with another.
pub const USED: Duration = Duration::from_hours(2);

/// Failed guesses since the last success at which a number is asked about no more.
pub const LOCKED: u32 = 100;

/// Sends that are remembered of a number. The largest count that `SEND_LIMITS` may name.
pub const REMEMBERED_SENDS: usize = 20;

/// How long an idempotency key is kept.
pub const KEY_KEPT: Duration = Duration::from_hours(24);

/// How long what is left of a number without failures is kept. Longer than any window of `SEND_LIMITS`.
pub const NUMBER_KEPT: Duration = Duration::from_hours(90 * 24);

/// How long failures are kept that are nobody's: anybody can make them, under as many names as they like.
pub const DECOY_KEPT: Duration = Duration::from_hours(365 * 24);

/// How long a verification is kept after its end.
pub const VERIFICATION_KEPT: Duration = Duration::from_hours(24);

/// Milliseconds since 1970, as the ledger keeps times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Millis(pub u64);

impl Millis {
    /// This time `later`.
    #[must_use]
    pub fn plus(self, later: Duration) -> Self {
        Self(
            self.0
                .saturating_add(u64::try_from(later.as_millis()).unwrap_or(u64::MAX)),
        )
    }

    /// This time `earlier`.
    #[must_use]
    pub fn minus(self, earlier: Duration) -> Self {
        Self(
            self.0
                .saturating_sub(u64::try_from(earlier.as_millis()).unwrap_or(u64::MAX)),
        )
    }

    /// How long it is from `earlier` until this time; nothing if that is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// Whole seconds since 1970, rounded up: the unit of an item's time to live.
    #[must_use]
    pub fn seconds(self) -> u64 {
        self.0.div_ceil(1000)
    }
}

/// The store could not do a step, or could not say whether it did. Holds what the log says about it.
#[derive(Debug, Clone)]
pub struct Unavailable(pub String);

/// Remembers verifications, guesses and limits.
///
/// Expired items may be gone or still there: every expiry is also a condition of the steps.
#[async_trait]
pub trait Ledger: Send + Sync {
    /// What the operator has switched.
    async fn switches(&self) -> Result<Switches, Unavailable>;

    /// Counts one more under `key` if that makes at most `cap`. False: it would be more, and nothing is counted.
    async fn count(&self, key: &ItemName, cap: u64, expires: Millis) -> Result<bool, Unavailable>;

    /// Takes back one that was counted.
    async fn uncount(&self, key: &ItemName) -> Result<(), Unavailable>;

    /// Spends on every line of the day's budget, if every line stays within its cap; else on none, and the answer is
    /// the index of a line that would not.
    async fn spend(&self, spending: &Spending) -> Result<Option<usize>, Unavailable>;

    /// Takes back what was spent.
    async fn refund(&self, spending: &Spending) -> Result<(), Unavailable>;

    /// Takes an idempotency key that is new, released or older than [`KEY_KEPT`].
    async fn reserve_key(
        &self,
        key: &ItemName,
        fingerprint: &Mac,
        now: Millis,
    ) -> Result<KeyReservation, Unavailable>;

    /// Gives a claimed key free: nothing happened under it. Only who claimed it may.
    async fn release_key(&self, key: &ItemName) -> Result<(), Unavailable>;

    /// Writes down what happened under a claimed key: the answer, or that nobody knows. Only who claimed it may.
    async fn finish_key(&self, key: &ItemName, answer: Option<&str>) -> Result<(), Unavailable>;

    /// What is known of a number.
    async fn number(&self, key: &ItemName) -> Result<Number, Unavailable>;

    /// Takes a place for one send in the windows of `limits`, if there is one in every window and no lock holds.
    async fn reserve_send(
        &self,
        key: &ItemName,
        limits: &SendLimits,
        now: Millis,
    ) -> Result<Reservation, Unavailable>;

    /// Counts a guess about a number as failed, before anybody is asked. Not above [`LOCKED`]. The failures of a number
    /// that is nobody's may be forgotten at `forget`; of others never.
    async fn charge_number(
        &self,
        key: &ItemName,
        forget: Option<Millis>,
        now: Millis,
    ) -> Result<NumberCharge, Unavailable>;

    /// Forgets the failures up to and with the charge of a guess that turned out right, unless something has cleared
    /// them since. Failures that came after the charge stay.
    async fn clear_failures(
        &self,
        key: &ItemName,
        charge: Charge,
        now: Millis,
    ) -> Result<(), Unavailable>;

    /// Forgets all failures of a number.
    async fn unlock(&self, key: &ItemName, now: Millis) -> Result<(), Unavailable>;

    /// A verification as it stands.
    async fn verification(&self, key: &ItemName) -> Result<Option<Verification>, Unavailable>;

    /// Writes a new verification over one that was seen to be over, or where none was, as generation `seen + 1`. Only
    /// what is known of used codes survives, without those to be forgotten. False: the generation is not the one seen.
    async fn open(
        &self,
        key: &ItemName,
        seen: Option<u64>,
        new: &Opening<'_>,
    ) -> Result<bool, Unavailable>;

    /// Makes the next generation of an open verification for a further code; the attempts stay. False: the generation
    /// is not the one seen, or the verification has ended.
    async fn reopen(
        &self,
        key: &ItemName,
        seen: u64,
        again: &Again<'_>,
    ) -> Result<bool, Unavailable>;

    /// Writes down what became of a reserved send. Does nothing if the verification has moved on.
    async fn settle(
        &self,
        key: &ItemName,
        generation: u64,
        outcome: &Settled<'_>,
    ) -> Result<(), Unavailable>;

    /// Pays an attempt for a guess.
    ///
    /// Refused unless the verification is open, and where the guess is the last one over again; but one that nobody
    /// could answer, or that was asked more than [`GUESS_PENDING`] ago and never answered, is taken over, once. The answer to a
    /// sign-in's `question` pays the last attempt only where the session is the verification's owner, and takes over
    /// none to the same question: that was delivered twice, and costs once.
    async fn spend_attempt(
        &self,
        key: &ItemName,
        guess: &Mac,
        question: Option<&Question>,
        now: Millis,
    ) -> Result<Attempt, Unavailable>;

    /// Writes down what the provider said to a guess that was paid for. Does nothing if another guess was paid since.
    async fn note_answer(
        &self,
        key: &ItemName,
        generation: u64,
        guess: &Mac,
        said: GuessOutcome,
    ) -> Result<(), Unavailable>;

    /// Makes a verification verified, if it is of this generation and not ended by its state.
    async fn consume(
        &self,
        key: &ItemName,
        generation: u64,
        success: &Success,
    ) -> Result<Transition, Unavailable>;

    /// Ends a verification that is open.
    async fn cancel(&self, key: &ItemName, now: Millis) -> Result<Transition, Unavailable>;

    /// Claims a verified one that nobody has claimed, within [`REDEEMABLE`]. Not one that a sign-in began.
    async fn redeem(
        &self,
        key: &ItemName,
        redeemer: &Mac,
        now: Millis,
    ) -> Result<Transition, Unavailable>;
}

/// What a conditional step on a verification came to.
#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "it is looked at and dropped")]
pub enum Transition {
    /// It happened.
    Applied,
    /// It did not; this is what stood there instead.
    Refused(Option<Verification>),
}

/// What the operator has switched.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Switches {
    /// No code is sent to anybody.
    pub paused: bool,
    /// Numbers, as the [`Key`] of the number, and beginnings of numbers (`+1876555`) that get no code.
    pub blocked: BTreeSet<String>,
    /// Numbers, likewise, that get one although a block holds for them.
    pub allowed: BTreeSet<String>,
}

/// What is known of a number.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Number {
    /// When the last sends were, newest first; at most [`REMEMBERED_SENDS`].
    pub sends: Vec<Millis>,
    /// Failed guesses since the last success.
    pub failures: u32,
    /// When the last of them was.
    pub last_failure: Millis,
}

/// Whether there was a place for a send.
#[derive(Debug, Clone)]
pub enum Reservation {
    /// There was; the number as it is now.
    Reserved(Number),
    /// There was none; the number as it is.
    Refused(Number),
}

/// Whether a guess about a number may be asked.
#[derive(Debug, Clone, Copy)]
pub enum NumberCharge {
    /// It is counted and may be.
    Charged(Charge),
    /// The number is locked.
    Locked,
}

/// A failure that was counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Charge {
    /// Failures since the last success, with this one.
    pub failures: u32,
    /// How often the failures had been cleared before.
    pub epoch: u64,
}

/// Who holds an idempotency key.
#[derive(Debug, Clone)]
pub enum KeyReservation {
    /// The caller, from now on.
    Reserved,
    /// Somebody else, or the same caller before.
    Held(HeldKey),
}

/// An idempotency key that somebody holds.
#[derive(Debug, Clone)]
pub struct HeldKey {
    /// Of the request that it was claimed for.
    pub fingerprint: Mac,
    /// When it was claimed.
    pub at: Millis,
    /// What happened under it.
    pub outcome: KeyOutcome,
}

/// What happened under an idempotency key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyOutcome {
    /// It is not known yet, or never will be.
    Pending,
    /// Nobody knows whether a text left.
    Unclear,
    /// This was the answer.
    Answered(String),
}

/// One verification: a code that was sent, guesses at it, and how it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verification {
    /// Grows with each code.
    pub generation: u64,
    /// How far it got.
    pub state: State,
    /// When the code ends.
    pub expires: Millis,
    /// When the first code was sent.
    pub first: Millis,
    /// Guesses that are left.
    pub left: u8,
    /// Codes that were sent.
    pub sends: u8,
    /// Who made the code.
    pub provider: String,
    /// The provider's ID of the message.
    pub message_id: Option<String>,
    /// How it was delivered.
    pub channel: String,
    /// Digits of the code.
    pub code_length: u8,
    /// The language of the text.
    pub language: String,
    /// The brand in the text.
    pub brand_name: String,
    /// The guess paid for last.
    pub last_guess: Option<Guess>,
    /// How it was won.
    pub success: Option<Success>,
    /// Who claimed the success.
    pub redeemed_by: Option<Mac>,
    /// The codes that were right once, of this generation and earlier ones.
    pub used: BTreeSet<UsedCode>,
    /// The sign-in session that began it, to which its last attempt belongs.
    pub owner: Option<Mac>,
}

/// How far a verification got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// A text is about to be sent.
    Reserved,
    /// It was sent.
    Sent,
    /// It may have been sent.
    Unclear,
    /// It was not sent.
    Failed,
    /// The right code came back.
    Verified,
    /// The caller ended it.
    Canceled,
}

/// What a verification is at a moment, for callers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// A guess would be asked.
    Pending,
    /// The right code came back.
    Verified,
    /// The code's time is over.
    Expired,
    /// No guess is left.
    Exhausted,
    /// The caller ended it.
    Canceled,
    /// No text was sent.
    Failed,
}

/// A guess that was paid for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guess {
    /// Which.
    pub mac: Mac,
    /// What the provider said to it.
    pub said: GuessOutcome,
    /// When it was paid for.
    pub at: Millis,
    /// The sign-in's question that it was an answer to.
    pub question: Option<Mac>,
}

/// A question to a sign-in session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// Which session it is.
    pub session: Mac,
    /// Which of its questions.
    pub nonce: Mac,
}

/// What the provider said to a guess.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GuessOutcome {
    /// Nothing yet.
    Asking,
    /// That it is wrong.
    Invalid,
    /// Nothing that could be understood, or not in time.
    Unclear,
}

/// How a verification was won.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Success {
    /// By whom: a value that only the winner can give again.
    pub winner: Mac,
    /// With which code.
    pub code: Mac,
    /// When.
    pub at: Millis,
}

/// A code that was right once and must not be right again.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct UsedCode {
    /// Which.
    pub code: Mac,
    /// Until when the provider could take it again.
    pub until: Millis,
}

/// A verification about to begin.
#[derive(Debug, Clone, Copy)]
pub struct Opening<'a> {
    /// [`State::Reserved`] before a send; [`State::Sent`] for a code that other software sent.
    pub state: State,
    /// When it begins.
    pub first: Millis,
    /// When the code ends.
    pub expires: Millis,
    /// Guesses that it allows.
    pub left: u8,
    /// Who makes the code.
    pub provider: &'a str,
    /// How it is delivered.
    pub channel: &'a str,
    /// Digits of the code.
    pub code_length: u8,
    /// The language of the text.
    pub language: &'a str,
    /// The brand in the text.
    pub brand_name: &'a str,
    /// The sign-in session that begins it.
    pub owner: Option<&'a Mac>,
    /// Used codes that no provider can take again: nothing need be known of them any more.
    pub forget: &'a [UsedCode],
}

/// A further code for an open verification.
#[derive(Debug, Clone, Copy)]
pub struct Again<'a> {
    /// When the code ends.
    pub expires: Millis,
    /// Who makes the code.
    pub provider: &'a str,
    /// How it is delivered.
    pub channel: &'a str,
    /// The language of the text.
    pub language: &'a str,
}

/// What became of a reserved send.
#[derive(Debug, Clone, Copy)]
pub enum Settled<'a> {
    /// It was sent.
    Sent {
        /// The provider's ID of the message.
        message_id: Option<&'a str>,
    },
    /// It may have been sent.
    Unclear,
    /// It was not sent, and no earlier one of this verification can have arrived.
    Failed,
    /// It was not sent, but an earlier one may have arrived: back to how that stood.
    Back {
        /// [`State::Sent`] or [`State::Unclear`].
        state: State,
        /// When the earlier code ends.
        expires: Millis,
    },
}

/// Whether a guess may be asked.
#[derive(Debug, Clone)]
pub enum Attempt {
    /// It is paid for; the verification as it is now.
    Paid(Verification),
    /// It is not; the verification as it is, if there is one.
    Refused(Option<Verification>),
}

impl State {
    /// Whether it allows guesses, as far as the state goes.
    #[must_use]
    pub fn is_open(self) -> bool {
        matches!(self, Self::Reserved | Self::Sent | Self::Unclear)
    }
}

impl Verification {
    /// What it is at `now`.
    #[must_use]
    pub fn phase(&self, now: Millis) -> Phase {
        match self.state {
            State::Verified => Phase::Verified,
            State::Canceled => Phase::Canceled,
            State::Failed => Phase::Failed,
            State::Reserved | State::Sent | State::Unclear if self.expires <= now => Phase::Expired,
            State::Reserved | State::Sent | State::Unclear if self.left == 0 => Phase::Exhausted,
            State::Reserved | State::Sent | State::Unclear => Phase::Pending,
        }
    }

    /// Whether a code was right once and could be right again at the provider.
    #[must_use]
    pub fn has_used(&self, code: &Mac, now: Millis) -> bool {
        self.used
            .iter()
            .any(|used| used.code == *code && used.until > now)
    }

    /// The used codes that no provider can take again.
    #[must_use]
    pub fn outlived(&self, now: Millis) -> Vec<UsedCode> {
        self.used
            .iter()
            .filter(|used| used.until <= now)
            .cloned()
            .collect()
    }

    /// Whether a guess would be asked at `now`.
    #[must_use]
    pub fn is_open(&self, now: Millis) -> bool {
        self.phase(now) == Phase::Pending
    }
}

impl Phase {
    /// The word in answers.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Verified => "verified",
            Self::Expired => "expired",
            Self::Exhausted => "exhausted",
            Self::Canceled => "canceled",
            Self::Failed => "failed",
        }
    }
}
