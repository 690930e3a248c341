//! The bounds of the model, and the conditions that can be left out of it.

use crate::state::{Provider, Request, Time};

/// The bounds of a run.
#[derive(Debug, Clone, Copy)]
pub struct Config {
    /// The requests that may begin. A request with a code stands for several requests: one with each possible code.
    pub requests: &'static [Request],
    /// If true, the second verification belongs to a sign-in to the first number, and each door (HTTP or sign-ins) has
    /// half of the limits. If false, the second verification belongs to another number, and the limits are not divided
    /// between the doors.
    pub sign_in: bool,
    /// How many requests can begin.
    pub begins: u8,
    /// How many requests run at once.
    pub at_once: usize,
    /// How many crashes, lost answers and failures can happen.
    pub faults: u8,
    /// How often the clock can move while no request runs.
    pub passes: u8,
    /// By how many seconds the clock can move.
    pub pass: &'static [Time],
    /// How often the clock can move by [`SHORT`](crate::SHORT) while requests run.
    pub short_passes: u8,
    /// How often the operator can change the provider.
    pub changes: u8,
    /// How often the operator can pause or resume.
    pub pauses: u8,
    /// The provider at the start.
    pub provider: Provider,
    /// The failed guesses of the first number at the start, all more than a day old.
    pub failures: &'static [u8],
    /// The failed guesses of sign-ins at the start.
    pub sign_in_failures: u8,
    /// How many messages HTTP has spent at the start.
    pub spent: u8,
    /// Guesses allowed for a code.
    pub attempts: u8,
    /// Messages allowed in a day.
    pub budget: u8,
    /// The windows of a number: sends and seconds.
    pub windows: &'static [(usize, Time)],
}

/// A condition of the service or of the ledger. The model without one of them must break a property.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Guard {
    /// An attempt is paid for before the provider is asked.
    PayFirst,
    /// Only an open verification takes attempts.
    PayOpen,
    /// Only a verification that has not expired takes attempts.
    PayUnexpired,
    /// An attempt is taken only from a verification that has attempts left.
    PayLeft,
    /// Of two equal guesses at once, only one is paid for.
    PayNotPending,
    /// A repeat of a wrong guess is answered from the record.
    PayNotWrong,
    /// Only the session that owns the code can spend the last attempt.
    PayOwner,
    /// Two deliveries of the answer to one question cost one attempt.
    PayQuestion,
    /// A number with a hundred failures takes no guess.
    ChargeLocked,
    /// A success clears the failures up to and including its own charge, and no later ones.
    ClearUpToCharge,
    /// A success clears nothing if the failures have been cleared since its charge.
    ClearEpoch,
    /// A guess that the provider has not answered is not noted as wrong.
    NoteUnclear,
    /// A success is written only over the generation that was paid for, or over one that has the same code.
    ConsumeGeneration,
    /// A success is written only over an open verification.
    ConsumeOpen,
    /// Of two successes with one code, only the one that was written counts.
    ConsumeWinner,
    /// The same success is repeated only for its winner.
    ReplayWinner,
    /// A window holds.
    WindowsHold,
    /// Failed guesses stop sends.
    StopsHold,
    /// A record is opened only over the generation that was seen.
    OpenGeneration,
    /// A record is reopened only in the generation that was seen.
    ReopenGeneration,
    /// Only an open verification is reopened.
    ReopenOpen,
    /// A resend brings no attempts.
    ReopenKeepsLeft,
    /// The record is written before the provider is asked.
    WriteAhead,
    /// A send settles only what is still reserved.
    SettleReserved,
    /// A send settles only what it has reserved itself.
    SettleHolder,
    /// A code that was sent becomes the only valid one.
    SettleOnlyNewest,
    /// A resend that sent nothing restores the record as it was before.
    SettleBack,
    /// An unclear resend leaves the earlier code valid, too.
    IssuersOfBoth,
    /// A code that follows another has a reference of its own.
    OwnReference,
    /// An idempotency key is reserved once.
    KeyReserved,
    /// Only the holder of a key ends it.
    KeyHolder,
    /// A key is released only if certainly no message was sent.
    KeyKeptIfUnclear,
    /// A budget has a cap.
    SpendCap,
    /// The budget is spent before the message is sent.
    SpendFirst,
    /// A message that may have been sent is not refunded.
    RefundOnlyUnsent,
    /// A refused send gets its budget back.
    RefundRefused,
    /// Only an open verification is canceled.
    CancelOpen,
    /// Only the generation that the caller could see is canceled.
    CancelGeneration,
    /// Only a success is redeemed.
    RedeemVerified,
    /// Only the generation that was judged is redeemed.
    RedeemGeneration,
    /// A success is redeemed once.
    RedeemOnce,
    /// A success is redeemed within ten minutes.
    RedeemInTime,
    /// The success of a sign-in is not redeemed.
    RedeemNotSignIn,
    /// A decoy asks no provider.
    DecoyAsksNobody,
    /// A pause stops sends.
    Pause,
    /// Each door has a part of a joint limit.
    SplitLimits,
    /// HTTP counts sends and failures for itself.
    DoorsApart,
    /// A sign-in waits as long as the sends over HTTP say.
    WaitForHttp,
    /// A sign-in leaves room for what HTTP has spent beyond its part.
    BudgetBesideHttp,
    /// A guess in a sign-in leaves room for the failures over HTTP beyond their part.
    LockBesideHttp,
    /// A sign-in writes the record before it counts. Of two sign-ins at once, only one then counts.
    WriteBeforeCounting,
    /// A sign-in that will send nothing moves decoys.
    CountOnlyMessages,
    /// A guess at a code that was not sent moves a decoy.
    ChargeOnlyCodes,
    /// A sign-in that sent nothing leaves the earlier codes valid.
    UnsentKeepsIssuers,
}

impl Guard {
    pub const ALL: [Self; 54] = [
        Self::PayFirst,
        Self::PayOpen,
        Self::PayUnexpired,
        Self::PayLeft,
        Self::PayNotPending,
        Self::PayNotWrong,
        Self::PayOwner,
        Self::PayQuestion,
        Self::ChargeLocked,
        Self::ClearUpToCharge,
        Self::ClearEpoch,
        Self::NoteUnclear,
        Self::ConsumeGeneration,
        Self::ConsumeOpen,
        Self::ConsumeWinner,
        Self::ReplayWinner,
        Self::WindowsHold,
        Self::StopsHold,
        Self::OpenGeneration,
        Self::ReopenGeneration,
        Self::ReopenOpen,
        Self::ReopenKeepsLeft,
        Self::WriteAhead,
        Self::SettleReserved,
        Self::SettleHolder,
        Self::SettleOnlyNewest,
        Self::SettleBack,
        Self::IssuersOfBoth,
        Self::OwnReference,
        Self::KeyReserved,
        Self::KeyHolder,
        Self::KeyKeptIfUnclear,
        Self::SpendCap,
        Self::SpendFirst,
        Self::RefundOnlyUnsent,
        Self::RefundRefused,
        Self::CancelOpen,
        Self::CancelGeneration,
        Self::RedeemVerified,
        Self::RedeemGeneration,
        Self::RedeemOnce,
        Self::RedeemInTime,
        Self::RedeemNotSignIn,
        Self::DecoyAsksNobody,
        Self::Pause,
        Self::SplitLimits,
        Self::DoorsApart,
        Self::WaitForHttp,
        Self::BudgetBesideHttp,
        Self::LockBesideHttp,
        Self::WriteBeforeCounting,
        Self::CountOnlyMessages,
        Self::ChargeOnlyCodes,
        Self::UnsentKeepsIssuers,
    ];
}
