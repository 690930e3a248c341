//! The kinds of steps and answers that paths have.

use model::Action;
use model::state::{Answer, Fate, Phase, Place, Refusal, State};
use std::collections::BTreeMap;

#[derive(Debug, Default)]
pub(crate) struct Kinds {
    steps: BTreeMap<(Place, Fate), usize>,
    others: BTreeMap<&'static str, usize>,
    answers: BTreeMap<Answer, usize>,
}

/// All values of a type. It does not compile if one is missing.
macro_rules! all {
    ($type:ident $(but $other:pat)?, [$($value:ident),* $(,)?]) => {{
        let _is_listed = |value: $type| match value {
            $($type::$value => true,)*
            $($other => false,)?
        };
        [$($type::$value),*]
    }};
}

impl Kinds {
    pub(crate) fn step(&mut self, state: &State, action: Action) {
        let kind = match action {
            Action::Step { slot, fate, .. } => {
                if let Some(running) = &state.running[usize::from(slot)] {
                    *self.steps.entry((running.place, fate)).or_default() += 1;
                }
                return;
            }
            Action::Begin { .. } => "a request",
            Action::Crash { .. } => "a crash",
            Action::Pass(_) => "time",
            Action::ChangeProvider => "a change of the provider",
            Action::TogglePause => "a pause",
        };
        *self.others.entry(kind).or_default() += 1;
    }

    pub(crate) fn answer(&mut self, answer: Answer) {
        *self.answers.entry(shape(answer)).or_default() += 1;
    }

    pub(crate) fn add(&mut self, other: Self) {
        for (kind, count) in other.steps {
            *self.steps.entry(kind).or_default() += count;
        }
        for (kind, count) in other.others {
            *self.others.entry(kind).or_default() += count;
        }
        for (kind, count) in other.answers {
            *self.answers.entry(kind).or_default() += count;
        }
    }

    pub(crate) fn steps(&self) -> usize {
        self.steps.values().sum()
    }

    pub(crate) fn answers(&self) -> usize {
        self.answers.values().sum()
    }

    /// The kinds of steps, other actions and answers that are not there.
    pub(crate) fn missing(&self) -> Vec<String> {
        let mut missing = Vec::new();
        for kind in every_step() {
            if !self.steps.contains_key(&kind) {
                missing.push(format!("{kind:?}"));
            }
        }
        if self.others.len() < 5 {
            missing.push(format!("more than {:?}", self.others));
        }
        for answer in every_answer() {
            if !self.answers.contains_key(&answer) {
                missing.push(format!("{answer:?}"));
            }
        }
        missing
    }
}

/// Every place with every end that a step has there.
fn every_step() -> Vec<(Place, Fate)> {
    let places = all!(Place but Place::Ask(_), [
        ReserveKey, ReleaseKey, Plan, Spend, ReserveSend, WriteAhead, AskToSend, Settle, Pay, Charge,
        Consume, ConsumeAgain, Clear, Note, Read, LookBeforeRedeem, Redeem, LookBeforeCancel, Cancel,
        Unlock, Look, LookAgain, DecoyLook, DecoySpend, DecoyWait, DecoyReserve, DecoyRead, DecoyOpen,
        DecoyLookAgain, DecoyResendRead, DecoyResendKey, DecoyResendSpend, DecoyResendWait,
        DecoyResendReserve, DecoyReopen, DecoySettle, DecoyFinishKey, DecoyReleaseKey,
    ]);
    let asks = [0, 1, 2].map(Place::Ask);
    let fates = all!(
        Fate,
        [
            Done,
            Lost,
            Failed,
            UnclearSent,
            UnclearUnsent,
            Refused,
            Yes,
            No,
            YesLost,
            NoAnswer,
        ]
    );
    // The sign-ins of the model are not the service's.
    let is_of_http = |place: &Place| *place < Place::Look;
    let can_be = |place, fate| match (place, fate) {
        (Place::AskToSend, fate) => matches!(
            fate,
            Fate::Done | Fate::Refused | Fate::UnclearSent | Fate::UnclearUnsent
        ),
        // The failures of a third provider are those of a second.
        (Place::Ask(2), fate) => matches!(fate, Fate::Yes | Fate::No),
        (Place::Ask(_), fate) => {
            matches!(fate, Fate::Yes | Fate::No | Fate::NoAnswer | Fate::YesLost)
        }
        (_, fate) => matches!(fate, Fate::Done | Fate::Lost | Fate::Failed),
    };
    let places = places.into_iter().chain(asks).filter(is_of_http);
    let all = places.flat_map(|place| fates.map(|fate| (place, fate)));
    all.filter(|(place, fate)| can_be(*place, *fate)).collect()
}

fn every_answer() -> Vec<Answer> {
    let refusals = all!(
        Refusal,
        [
            AlreadyVerified,
            AttemptsExhausted,
            CodeExpired,
            DestinationLocked,
            IdempotencyKeyInUse,
            IdempotencyKeyReused,
            InvalidCode,
            NewerCode,
            LedgerUnavailable,
            ProviderRejected,
            ProviderTimeout,
            RateLimited,
            ResendLimit,
            ResendTooSoon,
            SendingPaused,
            VerificationCanceled,
            VerificationInProgress,
            VerificationNotFound,
        ]
    );
    let phases = all!(
        Phase,
        [
            None, Pending, Verified, Expired, Exhausted, Canceled, Failed
        ]
    );
    let phases = phases.into_iter().filter(|phase| *phase != Phase::None);
    let ends = phases.clone().filter(|phase| phase.is_end());
    let one_each = [
        Answer::Sent {
            left: 0,
            expires: 0,
            resend: 0,
        },
        Answer::Right,
        Answer::Redeemed,
        Answer::Done,
    ];
    one_each
        .into_iter()
        .chain(refusals.map(Answer::Refused))
        .chain(ends.map(Answer::Canceled))
        .chain(phases.map(|phase| Answer::Status {
            phase,
            left: 0,
            expires: 0,
            resend: 0,
        }))
        .collect()
}

/// An answer without its numbers.
fn shape(answer: Answer) -> Answer {
    match answer {
        Answer::Sent { .. } => Answer::Sent {
            left: 0,
            expires: 0,
            resend: 0,
        },
        Answer::Status { phase, .. } => Answer::Status {
            phase,
            left: 0,
            expires: 0,
            resend: 0,
        },
        Answer::Challenge { state, decoy, .. } => Answer::Challenge {
            state,
            decoy,
            left: 0,
            expires: 0,
            resend: 0,
        },
        Answer::Right
        | Answer::Redeemed
        | Answer::Canceled(_)
        | Answer::Done
        | Answer::Deeper
        | Answer::Refused(_) => answer,
    }
}
