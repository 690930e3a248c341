//! Requests: their callers, and how far each request is.

use crate::state::{Issuer, NONE, Number, Phase, Provider, Record, State, Time};

/// How far a request is. Each value stands for one step, or for several at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum Place {
    #[default]
    ReserveKey,
    /// Undoes a reservation that the request has not been told of.
    ReleaseKey,
    /// Reads of the record and the number.
    Plan,
    Spend,
    ReserveSend,
    WriteAhead,
    AskToSend,
    /// The end of the key, the settlement and the refund.
    Settle,
    Pay,
    Charge,
    /// The request asks the issuer at this place in the list of issuers.
    Ask(u8),
    Consume,
    ConsumeAgain,
    Clear,
    Note,
    /// Reads of the record and the number, for a status.
    Read,
    LookBeforeRedeem,
    Redeem,
    /// The record that a cancel reads first.
    LookBeforeCancel,
    Cancel,
    Unlock,
    /// The record that a sign-in reads first.
    Look,
    /// The counters of both doors that a sign-in reads before it counts its own send.
    Room,
    /// The record that a sign-in reads after its send.
    LookAgain,
    /// The failures over HTTP that a sign-in reads before it charges a guess.
    CheckHttp,
    /// As [`Place::Room`], on decoys. The next four places are also on decoys.
    DecoyRoom,
    DecoySpend,
    DecoyReserve,
    DecoyCheckHttp,
    DecoyCharge,
}

/// The steps that several places do at once, as bits.
pub mod part {
    pub const ONLY: u8 = 1;
    pub const RECORD: u8 = 1;
    pub const NUMBER: u8 = 2;
    /// In [`Place::Room`](super::Place::Room): the sends and failures over HTTP.
    pub const OF_HTTP: u8 = 1;
    /// In the same place: those of sign-ins.
    pub const OF_SIGN_INS: u8 = 2;
    /// In the same place: the budget that HTTP has spent.
    pub const SPENT: u8 = 4;
    pub const KEY: u8 = 1;
    pub const SETTLE: u8 = 2;
    pub const REFUND: u8 = 4;
}

/// A request by a person or by other software.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Request {
    Send {
        to: u8,
        key: u8,
    },
    Verify {
        to: u8,
        code: u8,
        /// The idempotency key. It also identifies the winner.
        key: u8,
    },
    Status {
        to: u8,
    },
    Redeem {
        to: u8,
        key: u8,
    },
    Cancel {
        to: u8,
    },
    Unlock {
        number: u8,
    },
    SignIn {
        session: u8,
    },
    /// A sign-in of a user who cannot be sent a code.
    UnknownSignIn {
        session: u8,
    },
    /// The next question of a session.
    Continue {
        session: u8,
    },
    Answer {
        session: u8,
        code: u8,
        nonce: u8,
    },
    ResendForSignIn {
        session: u8,
        nonce: u8,
    },
}

/// The end of one step of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Fate {
    Done,
    /// The step was done, and the answer is lost.
    Lost,
    /// The step was not done, and there is no answer.
    Failed,
    /// The provider takes the message, and its answer is lost.
    UnclearSent,
    /// The provider does not get the message, and the request does not learn that.
    UnclearUnsent,
    /// The provider refuses the message.
    Refused,
    /// The code is right.
    Yes,
    /// The code is not right.
    No,
    /// The provider has checked the guess, and the answer is lost.
    YesLost,
    /// The provider was not reached.
    NoAnswer,
}

/// Facts about a request. Some are only for the properties.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct Facts {
    /// Whether a send over HTTP reads the pause with its first reads, and whether it has found one.
    pub reads_pause: bool,
    pub is_paused: bool,
    pub holds_key: bool,
    pub has_spent: bool,
    pub is_prepared: bool,
    pub is_resend: bool,
    /// Whether a sign-in must send nothing. The counting steps that follow then move decoys.
    pub is_refused: bool,
    /// Whether a sign-in has counted in a budget or in its decoy.
    pub has_counted: bool,
    /// Whether a guess has met a locked number.
    pub is_locked: bool,
    /// Whether one of several steps at once failed, or one of several providers did not answer.
    pub has_failed: bool,
    /// For the properties: whether something was spent, even if the request does not know.
    pub spent_really: bool,
    pub refunded_really: bool,
    pub text_left: bool,
    /// For the properties: whether a place in the windows was taken.
    pub took_place: bool,
    /// For the properties: whether the provider was asked to send.
    pub asked_to_send: bool,
    /// Whether a step of this request failed or had no clear end.
    pub had_a_fault: bool,
}

/// A running request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Running {
    pub request: Request,
    pub place: Place,
    /// The steps of the place that are still to do.
    pub parts: u8,
    /// When it began.
    pub now: Time,
    pub provider: Provider,
    pub facts: Facts,
    /// The record that the request has read or paid for.
    pub seen: Record,
    /// The number that it has read.
    pub known: Number,
    /// The failures after the request's own charge, and the epoch.
    pub charge: (u8, u8),
    /// For the properties: all charges up to and including the request's own.
    pub charged: u8,
    /// For the properties: how often the record had been opened at the payment.
    pub opened: u8,
    /// For the properties: whether the code had been replaced at the payment.
    pub is_replaced: bool,
    /// The generation over which the request writes a success.
    pub generation: u8,
    /// The issuer that has accepted the code.
    pub accepted: Issuer,
    /// Tells this request's sends from others.
    pub holder: u8,
    pub tries: u8,
    /// The limit up to which a sign-in may count a budget or failures, beside the count of HTTP.
    pub room: u8,
    pub outcome: Option<Answer>,
}

/// The reason of a refusal: the error code of the same name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Refusal {
    AlreadyVerified,
    AttemptsExhausted,
    CodeExpired,
    DestinationLocked,
    IdempotencyKeyInUse,
    IdempotencyKeyReused,
    InvalidCode,
    /// As `InvalidCode`, because a newer code was sent.
    NewerCode,
    LedgerUnavailable,
    /// The provider refused the message.
    ProviderRejected,
    /// The provider did not answer.
    ProviderTimeout,
    RateLimited,
    ResendLimit,
    ResendTooSoon,
    SendingPaused,
    VerificationCanceled,
    VerificationInProgress,
    VerificationNotFound,
}

/// The end of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Answer {
    Sent {
        left: u8,
        expires: Time,
        resend: Time,
    },
    Right,
    Status {
        phase: Phase,
        left: u8,
        expires: Time,
        resend: Time,
    },
    Redeemed,
    Canceled(Phase),
    Done,
    Challenge {
        state: Challenge,
        left: u8,
        expires: Time,
        resend: Time,
    },
    Refused(Refusal),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Challenge {
    Sent,
    Adopted,
    TryAgain,
    Ended,
}

/// A free name for a holder: no running request has it, and no record or key.
pub(crate) fn free_holder(state: &State) -> u8 {
    let is_taken = |holder: u8| {
        let of_records = state.targets.iter().map(|target| target.record.holder);
        let of_keys = state.keys.iter().map(|key| key.holder);
        let of_running = state.running.iter().flatten();
        let of_running = of_running.flat_map(|running| [running.holder, running.seen.holder]);
        let mut all = of_records.chain(of_keys).chain(of_running);
        all.any(|other| other == holder)
    };
    (1..NONE).find(|holder| !is_taken(*holder)).unwrap_or(NONE)
}

pub(crate) fn sends(request: Request) -> bool {
    matches!(
        request,
        Request::Send { .. }
            | Request::SignIn { .. }
            | Request::UnknownSignIn { .. }
            | Request::ResendForSignIn { .. }
    )
}

/// The session that the request belongs to; [`NONE`] over HTTP.
pub(crate) fn session_of(running: &Running) -> u8 {
    match running.request {
        Request::SignIn { session }
        | Request::UnknownSignIn { session }
        | Request::Continue { session }
        | Request::Answer { session, .. }
        | Request::ResendForSignIn { session, .. } => session,
        _ => NONE,
    }
}

/// Whether the request is a trigger of a user pool, and none over HTTP.
#[must_use]
pub fn is_of_sign_in(request: Request) -> bool {
    matches!(
        request,
        Request::SignIn { .. }
            | Request::UnknownSignIn { .. }
            | Request::Continue { .. }
            | Request::Answer { .. }
            | Request::ResendForSignIn { .. }
    )
}
