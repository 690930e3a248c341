//! The actions that can happen next.

use crate::state::{
    Fate, Place, Request, Running, Session, State, TEXTS, WRONG, is_of_sign_in, part,
};
use crate::{Action, Model, SHORT, sign_in_send};

impl Model {
    /// Lists every action that can happen in a state.
    pub fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        self.actions_of_people(state, actions);
        for (slot, running) in (0..).zip(&state.running) {
            let Some(running) = running else { continue };
            if state.faults > 0 {
                actions.push(Action::Crash { slot });
            }
            for bit in [1, 2, 4] {
                if running.parts & bit != 0 && is_worth_an_order(running, bit) {
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
                    // Sessions differ only in their names. It is enough that they begin in the order of their names.
                    let is_next = state.sessions[usize::from(session)] == Session::New
                        && (session == 0 || state.sessions[0] != Session::New);
                    if is_next {
                        begin(*request);
                    }
                }
                Request::Continue { session } => {
                    if state.sessions[usize::from(session)].is_asked() {
                        begin(*request);
                    }
                }
                Request::Answer { session, nonce, .. } => {
                    if state.sessions[usize::from(session)].is_asked() {
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
                    if state.sessions[usize::from(session)].is_asked() {
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
}

/// Whether a sign-in that settles has no budget to refund. The refund then goes to a decoy.
#[must_use]
pub fn refunds_decoy(running: &Running) -> bool {
    is_of_sign_in(running.request)
        && (!running.facts.has_spent || sign_in_send::may_be_sent(running))
}

/// Whether the model must try this step now. A step on a decoy changes nothing, and its order does not matter. If
/// several steps on decoys can be done at once, trying one order of these steps is enough.
fn is_worth_an_order(running: &Running, bit: u8) -> bool {
    let is_first = running.parts & (bit - 1) == 0;
    let is_on_decoy = match running.place {
        Place::DecoyRoom => true,
        Place::Settle => bit == part::REFUND && refunds_decoy(running),
        _ => false,
    };
    is_first || !is_on_decoy
}
