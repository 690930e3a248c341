//! The kinds of steps and answers that paths have.

use model::Action;
use model::state::{Answer, Challenge, Fate, Phase, Place, Refusal, State, is_of_sign_in};
use otp_lambda::ledger::Door;
use std::collections::BTreeMap;

#[derive(Debug, Default)]
pub(crate) struct Kinds {
    steps: BTreeMap<(Door, Place, Fate), usize>,
    others: BTreeMap<&'static str, usize>,
    answers: BTreeMap<(Door, Answer), usize>,
}

/// All values of a type. If a value is missing, this does not compile.
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
    /// Returns the door of the request that does the step.
    pub(crate) fn step(&mut self, state: &State, action: Action) -> Door {
        let kind = match action {
            Action::Step { slot, fate, .. } => {
                let Some(running) = &state.running[usize::from(slot)] else {
                    return Door::Http;
                };
                let door = if is_of_sign_in(running.request) {
                    Door::SignIn
                } else {
                    Door::Http
                };
                *self.steps.entry((door, running.place, fate)).or_default() += 1;
                return door;
            }
            Action::Begin { .. } => "a request",
            Action::Crash { .. } => "a crash",
            Action::Pass(_) => "time",
            Action::ChangeProvider => "a change of the provider",
            Action::TogglePause => "a pause",
        };
        *self.others.entry(kind).or_default() += 1;
        Door::Http
    }

    pub(crate) fn answer(&mut self, door: Door, answer: Answer) {
        *self.answers.entry((door, shape(answer))).or_default() += 1;
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

    /// The kinds that are missing: of the steps and the answers of a door, and of other actions.
    pub(crate) fn missing(&self, door: Door) -> Vec<String> {
        let mut missing = Vec::new();
        for (place, fate) in every_step(door) {
            if !self.steps.contains_key(&(door, place, fate)) {
                missing.push(format!("{place:?} {fate:?}"));
            }
        }
        if self.others.len() < 5 {
            missing.push(format!("more than {:?}", self.others));
        }
        for answer in every_answer(door) {
            if !self.answers.contains_key(&(door, answer)) {
                missing.push(format!("{answer:?}"));
            }
        }
        missing
    }
}

/// Every place of a door's requests with every end that a step has there.
fn every_step(door: Door) -> Vec<(Place, Fate)> {
    let places = all!(Place but Place::Ask(_), [
        ReserveKey, ReleaseKey, Plan, Spend, ReserveSend, WriteAhead, AskToSend, Settle, Pay, Charge,
        Consume, ConsumeAgain, Clear, Note, Read, LookBeforeRedeem, Redeem, LookBeforeCancel, Cancel,
        Unlock, Look, Room, LookAgain, CheckHttp, DecoyRoom, DecoySpend, DecoyReserve, DecoyCheckHttp,
        DecoyCharge,
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
    let is_of_door = |place: &Place| match door {
        Door::Http => *place < Place::Look,
        Door::SignIn => *place != Place::Plan && !(Place::Read..=Place::Unlock).contains(place),
        Door::Device => unreachable!("no request of the model has a device"),
    };
    let can_be = |place, fate| match (place, fate) {
        (Place::AskToSend, fate) => matches!(
            fate,
            Fate::Done | Fate::Refused | Fate::UnclearSent | Fate::UnclearUnsent
        ),
        // A third provider has no failures of its own: they are the same as those of a second.
        (Place::Ask(2), fate) => matches!(fate, Fate::Yes | Fate::No),
        (Place::Ask(_), fate) => {
            matches!(fate, Fate::Yes | Fate::No | Fate::NoAnswer | Fate::YesLost)
        }
        (_, fate) => matches!(fate, Fate::Done | Fate::Lost | Fate::Failed),
    };
    let places = places.into_iter().chain(asks).filter(is_of_door);
    let all = places.flat_map(|place| fates.map(|fate| (place, fate)));
    all.filter(|(place, fate)| can_be(*place, *fate)).collect()
}

fn every_answer(door: Door) -> Vec<Answer> {
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
    if door == Door::SignIn {
        return every_answer_of_sign_ins(&refusals);
    }
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

fn every_answer_of_sign_ins(refusals: &[Refusal]) -> Vec<Answer> {
    let can_be = |refusal: &&Refusal| {
        !matches!(
            refusal,
            // Nobody cancels a sign-in, and each session has keys of its own.
            Refusal::VerificationCanceled
                | Refusal::IdempotencyKeyReused
                // The challenge does not show why nothing was sent.
                | Refusal::ProviderRejected
                | Refusal::SendingPaused
        )
    };
    let challenges = all!(Challenge, [Sent, Adopted, TryAgain, Ended]);
    let challenges = challenges.map(|state| Answer::Challenge {
        state,
        left: 0,
        expires: 0,
        resend: 0,
    });
    let refusals = refusals.iter().filter(can_be).copied();
    [Answer::Right, Answer::Done]
        .into_iter()
        .chain(challenges)
        .chain(refusals.map(Answer::Refused))
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
        Answer::Challenge { state, .. } => Answer::Challenge {
            state,
            left: 0,
            expires: 0,
            resend: 0,
        },
        Answer::Right
        | Answer::Redeemed
        | Answer::Canceled(_)
        | Answer::Done
        | Answer::Refused(_) => answer,
    }
}
