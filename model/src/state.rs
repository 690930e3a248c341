//! The state of the model: the ledger, the provider's messages, and the requests that run.

pub use crate::request::{
    Answer, Challenge, Facts, Fate, Place, Refusal, Request, Running, is_of_sign_in, part,
};
use std::hash::{Hash, Hasher};

/// Seconds since a fixed moment; zero stands for never.
pub type Time = u16;

/// The number of verifications. The first is the one that HTTP requests name. The second belongs to another number or
/// to a sign-in (`Config::sign_in`). The third belongs to a decoy, the sign-in of an unknown user. The decoy's made-up
/// number is the number of the second verification.
pub const TARGETS: usize = 3;
pub const SIGN_IN: usize = 1;
pub const DECOY: usize = 2;

/// The doors.
pub const HTTP: usize = 0;
pub const SIGN_INS: usize = 1;

/// The most messages that can be sent.
pub const TEXTS: usize = 4;

/// The code that no message contains.
pub const WRONG: u8 = 15;

/// The name that no request, session or key has.
pub const NONE: u8 = 255;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum Provider {
    #[default]
    Pinpoint,
    EndUserMessaging,
}

impl Provider {
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Pinpoint => Self::EndUserMessaging,
            Self::EndUserMessaging => Self::Pinpoint,
        }
    }
}

/// The maker of a code, and the reference under which it knows the code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum Issuer {
    #[default]
    Nobody,
    Provider {
        provider: Provider,
        /// The generation of the code's own reference; zero for the plain one.
        reference: u8,
    },
    Decoy,
}

impl Issuer {
    fn as_byte(self) -> u8 {
        match self {
            Self::Nobody => 0,
            Self::Decoy => 1,
            Self::Provider {
                provider,
                reference,
            } => 128 | (provider as u8) << 6 | reference,
        }
    }
}

/// Issuers, the newest first.
pub type Issuers = [Issuer; 3];

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum RecordState {
    #[default]
    None,
    Reserved,
    Sent,
    Unclear,
    Failed,
    Verified,
    Canceled,
}

impl RecordState {
    #[must_use]
    pub fn is_open(self) -> bool {
        matches!(self, Self::Reserved | Self::Sent | Self::Unclear)
    }
}

/// The status of a verification at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Phase {
    None,
    Pending,
    Verified,
    Expired,
    Exhausted,
    Canceled,
    Failed,
}

impl Phase {
    /// Whether a verification in this phase stays in it until the next send.
    #[must_use]
    pub fn is_end(self) -> bool {
        !matches!(self, Self::None | Self::Pending)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum GuessOutcome {
    #[default]
    None,
    Pending,
    Invalid,
    Unclear,
}

/// A verification as the ledger holds it. Its fields are those of `otp_lambda::ledger::Verification`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Record {
    /// Zero if there is no record.
    pub generation: u8,
    pub state: RecordState,
    pub expires: Time,
    pub first: Time,
    pub left: u8,
    pub sends: u8,
    pub issuers: Issuers,
    pub plain_until: Time,
    pub guess: u8,
    pub guess_outcome: GuessOutcome,
    pub guess_at: Time,
    pub guess_question: u8,
    pub winner: u8,
    pub won_code: u8,
    pub won_at: Time,
    pub redeemed_by: u8,
    /// A bit for each code that has verified.
    pub used: u8,
    pub owner: u8,
    /// The request that has reserved the generation.
    pub holder: u8,
}

impl Default for Record {
    fn default() -> Self {
        Self {
            generation: 0,
            state: RecordState::None,
            expires: 0,
            first: 0,
            left: 0,
            sends: 0,
            issuers: Issuers::default(),
            plain_until: 0,
            guess: NONE,
            guess_outcome: GuessOutcome::None,
            guess_at: 0,
            guess_question: NONE,
            winner: NONE,
            won_code: NONE,
            won_at: 0,
            redeemed_by: NONE,
            used: 0,
            owner: NONE,
            holder: NONE,
        }
    }
}

impl Record {
    #[must_use]
    pub fn phase(&self, now: Time) -> Phase {
        match self.state {
            RecordState::None => Phase::None,
            RecordState::Verified => Phase::Verified,
            RecordState::Canceled => Phase::Canceled,
            RecordState::Failed => Phase::Failed,
            _ if self.expires <= now => Phase::Expired,
            _ if self.left == 0 => Phase::Exhausted,
            _ => Phase::Pending,
        }
    }

    #[must_use]
    pub fn is_open(&self, now: Time) -> bool {
        self.phase(now) == Phase::Pending
    }
}

/// Hashes in few writes, because a check spends most of its time on hashing states.
impl Hash for Record {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        hasher.write_u16(u16::from_le_bytes([self.generation, self.holder]));
        if self.generation == 0 {
            return;
        }
        let [newest, second, third] = self.issuers.map(Issuer::as_byte);
        let outcome = self.guess_outcome as u8;
        hasher.write_u64(u64::from_le_bytes([
            self.state as u8,
            self.left,
            self.sends,
            self.guess,
            outcome,
            self.guess_question,
            self.winner,
            self.won_code,
        ]));
        hasher.write_u64(of_times([
            self.expires,
            self.first,
            self.plain_until,
            self.guess_at,
        ]));
        let [low, high] = self.won_at.to_le_bytes();
        hasher.write_u64(u64::from_le_bytes([
            low,
            high,
            self.redeemed_by,
            self.used,
            self.owner,
            newest,
            second,
            third,
        ]));
    }
}

impl Hash for Number {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        let [newest, second, third] = self.sends;
        hasher.write_u64(of_times([newest, second, third, self.last_failure]));
        hasher.write_u32(u32::from_le_bytes([
            self.failures,
            self.epoch,
            self.charged,
            self.forgiven,
        ]));
    }
}

fn of_times([a, b, c, d]: [Time; 4]) -> u64 {
    u64::from(a) | u64::from(b) << 16 | u64::from(c) << 32 | u64::from(d) << 48
}

/// A verification with its history. Only the properties know the history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Target {
    pub record: Record,
    /// How often the record has been opened.
    pub opened: u8,
    /// Guesses that have reached the provider since the record was opened.
    pub asked: u8,
}

/// The record of a number, with its history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Number {
    /// The times of sends, the newest first.
    pub sends: [Time; 3],
    pub failures: u8,
    /// Zero if the last failure was long ago.
    pub last_failure: Time,
    /// How often the failures were cleared.
    pub epoch: u8,
    /// Guesses charged so far. Only the properties know this number.
    pub charged: u8,
    /// How many of the charges a success or an operator has forgiven. Only the properties know this number.
    pub forgiven: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum KeyState {
    /// Never used, or released.
    #[default]
    Free,
    Pending,
    Unclear,
    Answered,
}

/// An idempotency key of sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Key {
    pub state: KeyState,
    /// The verification that its send is about.
    pub target: u8,
    pub at: Time,
    /// The request that has reserved the key.
    pub holder: u8,
    /// The guesses left in the answer.
    pub left: u8,
    pub expires: Time,
    pub resend: Time,
}

/// A message that has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Text {
    pub target: u8,
    pub generation: u8,
    pub provider: Provider,
    /// As in [`Issuer::Provider`].
    pub reference: u8,
    /// When the request that sent the message began.
    pub sent: Time,
    /// Until when the provider surely accepts the code.
    pub good_until: Time,
    /// The idempotency key of the message's send.
    pub key: u8,
    /// Whether the provider has accepted the code.
    pub is_used: bool,
    /// Whether no guess at the code may be right any more.
    pub has_ended: bool,
    /// Whether a newer code was sent. Then only a guess that was paid for before may still be right.
    pub is_replaced: bool,
    /// The request whose success was written.
    pub winner: u8,
}

/// A sign-in session, as the user pool keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum Session {
    #[default]
    New,
    /// Its first question is under way, or was lost. No other session gets its name.
    Begun,
    Real,
    Decoy,
}

impl Session {
    /// Whether the user pool has a question of this session.
    #[must_use]
    pub fn is_asked(self) -> bool {
        matches!(self, Self::Real | Self::Decoy)
    }
}

/// The whole state.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct State {
    pub clock: Time,
    pub targets: [Target; TARGETS],
    /// The counters of two numbers over HTTP; for a number of sign-ins, the counters at each of the two doors.
    pub numbers: [Number; 2],
    pub keys: [Key; 2],
    /// The messages of each door.
    pub spent: [u8; 2],
    pub texts: [Option<Text>; TEXTS],
    pub sessions: [Session; 2],
    pub running: [Option<Running>; 3],
    pub provider: Provider,
    /// When the operator paused all sends; zero if they are not paused.
    pub paused: Time,
    /// The operator can change the provider, and each provider has a function of its own. So there are two functions.
    /// Each element belongs to one function. The element has the time at which this function last read the operator's
    /// pause, and says whether sending was paused then. The time is zero if the function has not read the pause.
    pub pause_read: [(Time, bool); 2],
    pub begins: u8,
    pub faults: u8,
    pub passes: u8,
    pub short_passes: u8,
    pub changes: u8,
    pub pauses: u8,
    /// The broken properties, as bits.
    pub broken: u32,
}
