use super::{CodeDigest, Holder, Issuer, Nonce, Redeemer, SessionDigest, Winner};
use crate::time::Millis;
use std::collections::BTreeSet;

/// A verification as the ledger holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verification {
    /// 1 for the first code under this name; each further code adds one.
    pub generation: u64,
    pub state: State,
    /// The request that has reserved or opened this generation.
    pub holder: Holder,
    /// When the code expires.
    pub expires: Millis,
    /// When the first code of this verification was sent.
    pub first: Millis,
    /// Guesses left.
    pub left: u8,
    /// Codes sent, including the first.
    pub sends: u8,
    /// The issuers whose codes may be valid, the newest first.
    pub issuers: Vec<Issuer>,
    /// The provider's ID of the last message.
    pub message_id: Option<String>,
    /// Until when a provider may accept a code that was sent under the plain reference.
    pub plain_until: Millis,
    pub channel: String,
    pub code_length: u8,
    pub language: String,
    pub brand_name: String,
    /// The last guess that an attempt was spent on.
    pub last_guess: Option<Guess>,
    pub success: Option<Success>,
    pub redeemed_by: Option<Redeemer>,
    pub redeemed_at: Option<Millis>,
    /// Codes that have succeeded under this name before, in this generation or earlier ones.
    pub used: BTreeSet<UsedCode>,
    /// The sign-in session that the code was sent for. Only this session may spend the last attempt.
    pub owner: Option<SessionDigest>,
}

/// The recorded state of a verification. Time and guesses also end a verification: see [`Phase`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// A message is about to be sent.
    Reserved,
    Sent,
    /// The message may have been sent: the provider did not respond, or its response was not clear.
    Unclear,
    /// Nothing was sent.
    Failed,
    Verified,
    Canceled,
}

/// A verification as a resend has read it.
///
/// The resend changes the verification only if both fields are unchanged. The generation alone is not enough. Until an
/// earlier send is settled, the record names all issuers whose codes may be valid, and the resend copies these issuers.
/// The settlement removes issuers, but keeps the generation. If the earlier send were settled after the resend has read
/// the record, the copy would bring the removed issuers back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    pub generation: u64,
    pub state: State,
}

impl Seen {
    #[must_use]
    pub fn of(verification: &Verification) -> Self {
        Self {
            generation: verification.generation,
            state: verification.state,
        }
    }
}

/// The status of a verification at a moment, for callers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// A code is valid and guesses are left.
    Pending,
    Verified,
    Expired,
    /// No guess is left.
    Exhausted,
    Canceled,
    /// Nothing was sent.
    Failed,
}

/// A guess that has cost an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guess {
    pub code: CodeDigest,
    pub outcome: GuessOutcome,
    /// When the attempt was spent.
    pub at: Millis,
    /// The sign-in question that the guess responded to.
    pub question: Option<Nonce>,
}

/// A question to a sign-in session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    pub session: SessionDigest,
    pub nonce: Nonce,
}

/// The provider's verdict on a guess. A right guess is recorded as a [`Success`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GuessOutcome {
    /// The provider has not responded yet.
    Pending,
    Invalid,
    /// The provider's response could not be understood, or did not arrive in time.
    Unclear,
}

/// The proof of a right guess, as the item holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Success {
    pub winner: Winner,
    pub code: CodeDigest,
    pub at: Millis,
}

/// A code that has verified once and must not verify again.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct UsedCode {
    pub code: CodeDigest,
    /// Until when the provider may accept the code again.
    pub until: Millis,
}

/// A new verification. It replaces one that has ended, or is the first of its name.
#[derive(Debug, Clone, Copy)]
pub struct Opening<'a> {
    /// [`State::Reserved`] before a send; [`State::Sent`] for a foreign code.
    pub state: State,
    pub holder: Holder,
    pub first: Millis,
    pub expires: Millis,
    pub left: u8,
    /// The issuers whose codes may be valid, the newest first.
    pub issuers: &'a [Issuer],
    /// Until when a provider may accept a code that was sent under the plain reference, this one included.
    pub plain_until: Millis,
    pub channel: &'a str,
    pub code_length: u8,
    pub language: &'a str,
    pub brand_name: &'a str,
    pub owner: Option<&'a SessionDigest>,
    /// Used codes that no provider accepts any more. They are deleted from the item.
    pub forget: &'a [UsedCode],
}

/// A further code for an open verification.
#[derive(Debug, Clone, Copy)]
pub struct Resend<'a> {
    pub holder: Holder,
    pub expires: Millis,
    /// The issuers whose codes may be valid, the newest first.
    pub issuers: &'a [Issuer],
    /// Until when a provider may accept a code that was sent under the plain reference, this one included.
    pub plain_until: Millis,
    pub channel: &'a str,
    pub language: &'a str,
}

/// The outcome of a reserved send.
#[derive(Debug, Clone, Copy)]
pub enum Settled<'a> {
    /// The message was sent. From now on, only this code is valid.
    Sent {
        issuer: &'a Issuer,
        message_id: Option<&'a str>,
    },
    /// The message may have been sent.
    Unclear,
    /// Nothing was sent, and no earlier code of this verification can have arrived.
    Failed {
        /// As it was before this send.
        plain_until: Millis,
    },
    /// Nothing was sent in a sign-in, and the verification must not show that nothing was sent. The verification
    /// becomes as it would be after a message, with one exception: the verification keeps `issuers`, the makers of
    /// codes that may be valid.
    Unsent { issuers: &'a [Issuer] },
    /// Nothing was sent, but an earlier code may have arrived. The verification becomes as it was before this send,
    /// with two exceptions. The verification keeps its new generation. And the verification has no last guess, because
    /// the reservation of this send has removed the last guess.
    Back(&'a Verification),
}

impl State {
    /// Whether this state allows guesses.
    #[must_use]
    pub fn is_open(self) -> bool {
        matches!(self, Self::Reserved | Self::Sent | Self::Unclear)
    }
}

impl Verification {
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

    /// Whether `code` has succeeded before, and a provider may still accept it.
    #[must_use]
    pub fn has_used(&self, code: &CodeDigest, now: Millis) -> bool {
        self.used
            .iter()
            .any(|used| used.code == *code && used.until > now)
    }

    /// The used codes that no provider accepts any more.
    #[must_use]
    pub fn outlived(&self, now: Millis) -> Vec<UsedCode> {
        self.used
            .iter()
            .filter(|used| used.until <= now)
            .cloned()
            .collect()
    }

    /// Whether a code of this issuer may still be right. `earlier` is the verification as it was when the guess was
    /// paid for. Two things must hold: the same verification is still open, and no newer code has ended the codes of
    /// this issuer.
    #[must_use]
    pub fn still_accepts(&self, issuer: &Issuer, earlier: &Self) -> bool {
        self.state.is_open() && self.first == earlier.first && self.issuers.contains(issuer)
    }

    /// Whether guesses are accepted at `now`.
    #[must_use]
    pub fn is_open(&self, now: Millis) -> bool {
        self.phase(now) == Phase::Pending
    }
}

impl Phase {
    /// The name in responses.
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
