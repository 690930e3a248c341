//! A model of verifications, numbers, providers and the operator.
//!
//! The model is so small that a program can visit every order of its steps. Each step of the ledger is one step of the
//! model, and so is each request to a provider. Between any two steps of a request, other requests may run, and the
//! first request may fail, lose an answer or die. The model shares no code with the service.
#![expect(
    clippy::indexing_slicing,
    reason = "all indexes are small numbers of the model's own"
)]

mod actions;
pub mod bounds;
pub mod broken;
mod check;
pub mod config;
mod ledger;
mod manage;
mod plan;
mod request;
mod send;
mod sign_in;
mod sign_in_send;
pub mod state;
mod text;
mod verify;

pub use actions::refunds_decoy;
pub use config::{Config, Guard};
pub use ledger::LOCKED;
pub(crate) use request::session_of;

use state::{
    Answer, DECOY, Facts, Fate, HTTP, NONE, Number, Place, Record, Refusal, Request, Running,
    SIGN_IN, SIGN_INS, Session, State, TEXTS, Time, is_of_sign_in, part,
};

/// How long a code is valid, in seconds.
pub const VALIDITY: Time = 300;
/// How much longer than its validity a code blocks the plain reference.
pub const PLAIN_MARGIN: Time = 60;
/// How long after its first code a verification ends at the latest.
const MAX_LIFETIME: Time = 3600;
const MAX_SENDS: u8 = 3;
/// How long the first request with an idempotency key can take.
const KEY_IN_USE: Time = 30;
/// How long a function uses the pause that it has read.
const PAUSE_KEPT: Time = 10;
/// The short move of the clock. A request can live longer than that.
pub const SHORT: Time = 6;
/// The time at the start.
pub const START: Time = 100;

/// The model, with all its conditions or without one.
#[derive(Debug, Clone, Copy)]
pub struct Model {
    pub config: Config,
    pub without: Option<Guard>,
}

/// An action that can happen next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    Begin { slot: u8, request: Request },
    Step { slot: u8, part: u8, fate: Fate },
    Crash { slot: u8 },
    Pass(Time),
    ChangeProvider,
    TogglePause,
}

/// The next move of a request after a step.
#[derive(Clone, Copy)]
pub(crate) enum Next {
    /// The request stays at its place, and does the other steps there.
    Stay,
    /// The request goes on to a place, where it does these steps at once.
    Go(Place, u8),
    End(Answer),
}

impl Next {
    fn refuse(refusal: Refusal) -> Self {
        Self::End(Answer::Refused(refusal))
    }
}

impl Model {
    pub(crate) fn has(&self, guard: Guard) -> bool {
        self.without != Some(guard)
    }

    #[must_use]
    pub fn starts(&self) -> Vec<State> {
        self.config
            .failures
            .iter()
            .map(|failures| State {
                clock: START,
                targets: Default::default(),
                numbers: [
                    Number {
                        failures: *failures,
                        charged: *failures,
                        ..Number::default()
                    },
                    Number {
                        failures: self.config.sign_in_failures,
                        charged: self.config.sign_in_failures,
                        ..Number::default()
                    },
                ],
                keys: Default::default(),
                spent: [self.config.spent, 0],
                texts: [None; TEXTS],
                sessions: Default::default(),
                running: [None; 3],
                provider: self.config.provider,
                paused: 0,
                pause_read: Default::default(),
                begins: self.config.begins,
                faults: self.config.faults,
                passes: self.config.passes,
                short_passes: self.config.short_passes,
                changes: self.config.changes,
                pauses: self.config.pauses,
                broken: 0,
            })
            .collect()
    }

    /// The state after an action, and the answer if the action has ended a request.
    #[must_use]
    pub fn next(&self, state: &State, action: Action) -> (State, Option<Answer>) {
        let mut next = state.clone();
        let answer = match action {
            Action::Begin { slot, request } => self.begin(&mut next, slot, request),
            Action::Step { slot, part, fate } => {
                let answer = self.step(&mut next, slot, part, fate);
                self.check_doors(state, action, &mut next, answer);
                answer
            }
            Action::Crash { slot } => {
                next.running[usize::from(slot)] = None;
                next.faults -= 1;
                None
            }
            Action::Pass(by) => {
                if next.running.iter().any(Option::is_some) {
                    next.short_passes -= 1;
                } else {
                    next.passes -= 1;
                }
                next.clock += by;
                None
            }
            Action::ChangeProvider => {
                next.provider = next.provider.other();
                next.changes -= 1;
                None
            }
            Action::TogglePause => {
                next.paused = if next.paused == 0 { next.clock } else { 0 };
                next.pauses -= 1;
                None
            }
        };
        self.check(&mut next);
        (next, answer)
    }

    /// The same state with its running requests in a fixed order, because their order does not matter.
    #[must_use]
    pub fn canonical(mut state: State) -> State {
        state.running.sort_unstable();
        state.running.reverse();
        state
    }

    fn begin(&self, state: &mut State, slot: u8, request: Request) -> Option<Answer> {
        state.begins -= 1;
        let mut running = Running {
            request,
            place: Place::default(),
            parts: part::ONLY,
            now: state.clock,
            provider: state.provider,
            facts: Facts::default(),
            seen: Record::default(),
            known: Number::default(),
            charge: (0, 0),
            charged: 0,
            opened: 0,
            is_replaced: false,
            generation: 0,
            accepted: state::Issuer::Nobody,
            holder: if request::sends(request) {
                request::free_holder(state)
            } else {
                NONE
            },
            tries: 0,
            room: 0,
            outcome: None,
        };
        let first = match request {
            Request::Send { .. } => self.begin_send(state, &mut running),
            Request::Verify { .. } | Request::Answer { .. } => Next::Go(Place::Pay, part::ONLY),
            Request::Status { .. } => Next::Go(Place::Read, part::RECORD | part::NUMBER),
            Request::Redeem { .. } => Next::Go(Place::LookBeforeRedeem, part::ONLY),
            Request::Cancel { .. } => Next::Go(Place::LookBeforeCancel, part::ONLY),
            Request::Unlock { .. } => Next::Go(Place::Unlock, part::ONLY),
            Request::SignIn { session } | Request::UnknownSignIn { session } => {
                state.sessions[usize::from(session)] = Session::Begun;
                Next::Go(Place::Look, part::ONLY)
            }
            Request::Continue { .. } | Request::ResendForSignIn { .. } => {
                Next::Go(Place::Look, part::ONLY)
            }
        };
        Self::go_on(state, slot, running, first)
    }

    fn step(&self, state: &mut State, slot: u8, part: u8, fate: Fate) -> Option<Answer> {
        let mut running = state.running[usize::from(slot)].take()?;
        running.parts &= !part;
        if !matches!(fate, Fate::Done | Fate::Yes | Fate::No) {
            state.faults -= 1;
            // A refusal by the provider is no fault: nothing is lost by it.
            running.facts.had_a_fault |= fate != Fate::Refused;
        }
        let target = target_of(state, &running);
        let before = state.targets[target].record;
        let counted = (state.numbers, state.spent);
        let place = running.place;
        let is_send = |place| place < Place::Pay || place > Place::Unlock;
        let next = match place {
            Place::CheckHttp | Place::DecoyCheckHttp | Place::DecoyCharge => {
                self.step_of_verify(state, &mut running, fate)
            }
            place if is_of_sign_in(running.request) && is_send(place) => {
                self.step_of_sign_in(state, &mut running, part, fate)
            }
            Place::ReserveKey
            | Place::ReleaseKey
            | Place::Plan
            | Place::Spend
            | Place::ReserveSend
            | Place::WriteAhead
            | Place::AskToSend
            | Place::Settle => self.step_of_send(state, &mut running, part, fate),
            Place::Pay
            | Place::Charge
            | Place::Ask(_)
            | Place::Consume
            | Place::ConsumeAgain
            | Place::Clear
            | Place::Note => self.step_of_verify(state, &mut running, fate),
            Place::Read
            | Place::LookBeforeRedeem
            | Place::Redeem
            | Place::LookBeforeCancel
            | Place::Cancel
            | Place::Unlock => self.step_of_manage(state, &mut running, part, fate),
            _ => Next::refuse(Refusal::LedgerUnavailable),
        };
        if target == DECOY && (state.numbers, state.spent) != counted {
            state.broken |= broken::DECOY;
        }
        let opens = place == Place::WriteAhead;
        let after = state.targets[target].record;
        state.broken |= check::changed_an_end(&before, &after, opens, running.now);
        Self::go_on(state, slot, running, next)
    }

    fn go_on(state: &mut State, slot: u8, mut running: Running, next: Next) -> Option<Answer> {
        match next {
            Next::Stay => {}
            Next::Go(place, parts) => {
                running.place = place;
                running.parts = parts;
            }
            Next::End(answer) => {
                Self::ended(state, &running, answer);
                return Some(answer);
            }
        }
        state.running[usize::from(slot)] = Some(running);
        None
    }

    /// Checks the traces that an ended request leaves in the state.
    fn ended(state: &mut State, running: &Running, answer: Answer) {
        let facts = running.facts;
        if facts.spent_really && !facts.text_left && !facts.refunded_really && !facts.had_a_fault {
            state.broken |= broken::I8;
        }
        if is_of_sign_in(running.request)
            && facts.took_place
            && !facts.asked_to_send
            && !facts.had_a_fault
        {
            state.broken |= broken::FREE;
        }
        if let Answer::Challenge { .. } = answer {
            match running.request {
                Request::SignIn { session } => {
                    state.sessions[usize::from(session)] = Session::Real;
                }
                Request::UnknownSignIn { session } => {
                    state.sessions[usize::from(session)] = Session::Decoy;
                }
                _ => {}
            }
        }
    }
}

/// The verification that a request is about.
#[must_use]
pub fn target_of(state: &State, running: &Running) -> usize {
    match running.request {
        Request::Send { to, .. }
        | Request::Verify { to, .. }
        | Request::Status { to }
        | Request::Redeem { to, .. }
        | Request::Cancel { to } => usize::from(to),
        Request::Unlock { .. } => 0,
        Request::UnknownSignIn { .. } => DECOY,
        Request::SignIn { .. } => SIGN_IN,
        Request::Continue { session }
        | Request::Answer { session, .. }
        | Request::ResendForSignIn { session, .. } => match state.sessions[usize::from(session)] {
            Session::Decoy => DECOY,
            _ => SIGN_IN,
        },
    }
}

impl Model {
    /// The counters of sends and failures that belong to a verification: each number has its own, and each door.
    #[must_use]
    pub fn number_of(&self, target: usize) -> usize {
        usize::from(target != 0)
    }

    /// The door through which a verification is reached.
    #[must_use]
    pub fn door_of(&self, target: usize) -> usize {
        if self.config.sign_in && target != 0 {
            SIGN_INS
        } else {
            HTTP
        }
    }

    /// A door's part of a joint limit.
    #[must_use]
    pub fn part_of(&self, door: usize, joint: u8) -> u8 {
        match door {
            _ if !self.config.sign_in || !self.has(Guard::SplitLimits) => joint,
            SIGN_INS => joint / 2,
            _ => joint - joint / 2,
        }
    }
}

/// Does a step of the ledger, unless its fate is not to be done. Returns `None` if the request gets no answer.
pub(crate) fn by_fate<T>(fate: Fate, act: impl FnOnce() -> T) -> Option<T> {
    match fate {
        Fate::Done => Some(act()),
        Fate::Lost => {
            act();
            None
        }
        _ => None,
    }
}
