//! A model of verifications, numbers, providers and the operator.
//!
//! The model is so small that a program can visit every order of its steps. Each step of the ledger and each request to
//! a provider is one step. Between any two steps another request may run, fail, lose its answer or die. The model
//! shares no code with the service.
#![expect(
    clippy::indexing_slicing,
    reason = "all indexes are small numbers of the model's own"
)]

pub mod bounds;
pub mod broken;
mod check;
pub mod config;
mod ledger;
mod manage;
mod request;
mod send;
mod sign_in;
pub mod state;
mod text;
mod verify;

pub use config::{Config, Guard};
pub use ledger::LOCKED;
pub(crate) use request::session_of;

use state::{
    Answer, DECOY, Facts, Fate, NONE, Number, Place, Record, Refusal, Request, Running, SIGN_IN,
    Session, State, TEXTS, Time, WRONG, part,
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
                    Number::default(),
                ],
                keys: Default::default(),
                spent: 0,
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

    /// Lists every action that can happen in a state.
    pub fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        self.actions_of_people(state, actions);
        for (slot, running) in (0..).zip(&state.running) {
            let Some(running) = running else { continue };
            if state.faults > 0 {
                actions.push(Action::Crash { slot });
            }
            for bit in [1, 2, 4] {
                if running.parts & bit != 0 {
                    let step = |fate| Action::Step {
                        slot,
                        part: bit,
                        fate,
                    };
                    Self::fates(state, running, |fate| actions.push(step(fate)));
                }
            }
        }
    }

    fn actions_of_people(&self, state: &State, actions: &mut Vec<Action>) {
        let many = state.running.iter().flatten().count();
        let free = (0..).zip(&state.running).find(|(_, slot)| slot.is_none());
        if let Some((slot, _)) = free
            && state.begins > 0
            && many < self.config.at_once
        {
            self.requests(state, |request| {
                actions.push(Action::Begin { slot, request });
            });
        }
        if many == 0 && state.passes > 0 {
            actions.extend(self.config.pass.iter().map(|time| Action::Pass(*time)));
        }
        let is_fresh = |running: &Running| running.now == state.clock;
        if many > 0 && state.short_passes > 0 && state.running.iter().flatten().all(is_fresh) {
            actions.push(Action::Pass(SHORT));
        }
        if state.changes > 0 {
            actions.push(Action::ChangeProvider);
        }
        if state.pauses > 0 {
            actions.push(Action::TogglePause);
        }
    }

    /// Calls `begin` with each request that can begin.
    fn requests(&self, state: &State, mut begin: impl FnMut(Request)) {
        let texts = state.texts.iter().flatten().count();
        let may_leave = |running: &&Running| {
            !running.facts.text_left
                && matches!(
                    running.request,
                    Request::Send { .. } | Request::SignIn { .. } | Request::ResendForSignIn { .. }
                )
        };
        let sending = state.running.iter().flatten().filter(may_leave).count();
        let has_room = texts + sending < TEXTS;
        let known = u8::try_from(texts).unwrap_or(0);
        let codes = || (0..known).chain([WRONG]);
        for request in self.config.requests {
            match *request {
                Request::Send { .. } if has_room => begin(*request),
                Request::Verify { to, key, .. } => {
                    for code in codes() {
                        begin(Request::Verify { to, code, key });
                    }
                }
                Request::SignIn { session } | Request::UnknownSignIn { session } if has_room => {
                    // Sessions differ only in their names. So they begin in the order of their names.
                    let is_next = state.sessions[usize::from(session)] == Session::New
                        && (session == 0 || state.sessions[0] != Session::New);
                    let begins = |running: &Running| session_of(running) == session;
                    if is_next && !state.running.iter().flatten().any(begins) {
                        begin(*request);
                    }
                }
                Request::Answer { session, nonce, .. } => {
                    if state.sessions[usize::from(session)] != Session::New {
                        for code in codes() {
                            begin(Request::Answer {
                                session,
                                code,
                                nonce,
                            });
                        }
                    }
                }
                Request::ResendForSignIn { session, .. } if has_room => {
                    if state.sessions[usize::from(session)] != Session::New {
                        begin(*request);
                    }
                }
                Request::Send { .. }
                | Request::SignIn { .. }
                | Request::UnknownSignIn { .. }
                | Request::ResendForSignIn { .. } => {}
                Request::Status { .. }
                | Request::Redeem { .. }
                | Request::Cancel { .. }
                | Request::Unlock { .. } => begin(*request),
            }
        }
    }

    /// Calls `fate` with each end that a step can have.
    fn fates(state: &State, running: &Running, mut fate: impl FnMut(Fate)) {
        let may_fail = state.faults > 0;
        match running.place {
            Place::AskToSend => {
                fate(Fate::Done);
                if may_fail {
                    fate(Fate::Refused);
                    fate(Fate::UnclearSent);
                    fate(Fate::UnclearUnsent);
                }
            }
            Place::Ask(index) => {
                let (may, must) = Self::verdicts(state, running, index);
                if may {
                    fate(Fate::Yes);
                }
                if !must {
                    fate(Fate::No);
                }
                if may_fail {
                    fate(Fate::NoAnswer);
                    if may {
                        fate(Fate::YesLost);
                    }
                }
            }
            _ => {
                fate(Fate::Done);
                if may_fail {
                    fate(Fate::Lost);
                    fate(Fate::Failed);
                }
            }
        }
    }

    /// The state after an action, and the answer if the action has ended a request.
    #[must_use]
    pub fn next(&self, state: &State, action: Action) -> (State, Option<Answer>) {
        let mut next = state.clone();
        let answer = match action {
            Action::Begin { slot, request } => self.begin(&mut next, slot, request),
            Action::Step { slot, part, fate } => self.step(&mut next, slot, part, fate),
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
            outcome: None,
        };
        let first = match request {
            Request::Send { .. } => self.begin_send(state, &mut running),
            Request::Verify { .. } | Request::Answer { .. } => Next::Go(Place::Pay, part::ONLY),
            Request::Status { .. } => Next::Go(Place::Read, part::RECORD | part::NUMBER),
            Request::Redeem { .. } => Next::Go(Place::LookBeforeRedeem, part::ONLY),
            Request::Cancel { .. } => Next::Go(Place::LookBeforeCancel, part::ONLY),
            Request::Unlock { .. } => Next::Go(Place::Unlock, part::ONLY),
            Request::SignIn { .. } => Next::Go(Place::Look, part::RECORD | part::NUMBER),
            Request::UnknownSignIn { .. } => Next::Go(
                Place::DecoyLook,
                part::RECORD | part::NUMBER | part::REAL_NUMBER,
            ),
            Request::ResendForSignIn { session, .. } => {
                let parts = match state.sessions[usize::from(session)] {
                    Session::Decoy => part::RECORD | part::NUMBER | part::REAL_NUMBER,
                    _ => part::RECORD | part::NUMBER,
                };
                Next::Go(Place::Look, parts)
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
        let place = running.place;
        let next = match place {
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
            _ => self.step_of_sign_in(state, &mut running, part, fate),
        };
        let opens = matches!(
            place,
            Place::WriteAhead | Place::DecoyOpen | Place::DecoyReopen
        );
        let after = state.targets[target].record;
        state.broken |= check::changed_an_end(&before, &after, opens, running.now);
        Self::go_on(state, slot, running, next)
    }

    fn go_on(state: &mut State, slot: u8, mut running: Running, next: Next) -> Option<Answer> {
        let next = match next {
            // A sign-in goes on after its send.
            Next::End(answer)
                if matches!(running.request, Request::SignIn { .. })
                    && running.facts.is_sending =>
            {
                running.outcome = Some(answer);
                running.facts.is_sending = false;
                running.facts.has_failed = false;
                running.known = Number::default();
                running.seen = Record::default();
                Next::Go(Place::LookAgain, part::RECORD | part::NUMBER)
            }
            next => next,
        };
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
        if let Request::SignIn { session } | Request::UnknownSignIn { session } = running.request {
            state.sessions[usize::from(session)] = match answer {
                Answer::Challenge { decoy: 0, .. } => Session::Real,
                Answer::Challenge { .. } => Session::Decoy,
                _ => Session::New,
            };
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
        Request::SignIn { .. } if running.place >= Place::DecoyLook => DECOY,
        Request::UnknownSignIn { .. } => DECOY,
        Request::SignIn { .. } => SIGN_IN,
        Request::Answer { session, .. } | Request::ResendForSignIn { session, .. } => {
            match state.sessions[usize::from(session)] {
                Session::Decoy => DECOY,
                _ => SIGN_IN,
            }
        }
    }
}

impl Model {
    /// The number whose sends and failures count for a verification.
    #[must_use]
    pub fn number_of(&self, target: usize) -> usize {
        match target {
            0 => 0,
            SIGN_IN if self.config.sign_in => 0,
            _ => 1,
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
