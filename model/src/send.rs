//! The steps of a send, as in `src/service/send.rs` and `src/service/send_plan.rs`.

use crate::config::Guard;
use crate::ledger::{LOCKED, NEVER, Settled, Wait, next_send, wait_of};
use crate::state::{
    Answer, Fate, HTTP, Issuers, Key, KeyState, NONE, Number, Place, Record, RecordState, Refusal,
    Request, Running, SIGN_INS, State, Time, part,
};
use crate::{KEY_IN_USE, MAX_SENDS, Model, Next, PAUSE_KEPT, broken, by_fate, target_of};

impl Model {
    /// Reads the pause, the record and the number at once. If the function knows of a pause already, nothing is read.
    pub(crate) fn begin_send(&self, state: &State, running: &mut Running) -> Next {
        let facts = &mut running.facts;
        let kept = state.pause_read[running.provider as usize];
        if self.config.pauses > 0 {
            facts.reads_pause = must_read(kept, running.now);
            let is_paused = if facts.reads_pause {
                state.paused > 0
            } else {
                kept.1
            };
            facts.is_paused = is_paused && self.has(Guard::Pause);
        }
        if facts.is_paused && !facts.reads_pause {
            return Next::refuse(Refusal::SendingPaused);
        }
        Next::Go(Place::Plan, part::RECORD | part::NUMBER)
    }

    /// Whether the function of this request knows of a pause. A function reads the pause again after a while.
    pub(crate) fn is_paused(&self, state: &mut State, running: &Running) -> bool {
        let is_paused = state.paused > 0;
        let kept = &mut state.pause_read[running.provider as usize];
        if self.config.pauses == 0 {
            return false;
        }
        if must_read(*kept, running.now) {
            *kept = (running.now, is_paused);
        }
        kept.1 && self.has(Guard::Pause)
    }

    pub(crate) fn step_of_send(
        &self,
        state: &mut State,
        running: &mut Running,
        part: u8,
        fate: Fate,
    ) -> Next {
        match running.place {
            Place::ReserveKey => self.reserve_the_key(state, running, fate, |model, _, running| {
                model.plan(running)
            }),
            Place::ReleaseKey => {
                by_fate(fate, || self.release_key(state, running));
                Next::End(Answer::Refused(Refusal::LedgerUnavailable))
            }
            Place::Plan => self.read_first(state, running, part, fate),
            Place::Spend => self.spend_and_go_on(state, running, fate),
            Place::ReserveSend => self.reserve_the_send(state, running, fate),
            Place::WriteAhead => self.write_ahead(state, running, fate),
            Place::AskToSend => self.ask_to_send(state, running, fate),
            _ => self.settle_part(state, running, part, fate),
        }
    }

    /// Reserves the idempotency key of a send. `go_on` gives the next step once the request holds the key.
    pub(crate) fn reserve_the_key(
        &self,
        state: &mut State,
        running: &mut Running,
        fate: Fate,
        go_on: fn(&Self, &mut State, &mut Running) -> Next,
    ) -> Next {
        let target = u8::try_from(target_of(state, running)).unwrap_or(NONE);
        let (key, now) = (usize::from(key_of(running)), running.now);
        let reserved = by_fate(fate, || {
            self.reserve_key(state, key, target, running.holder, now)
        });
        let Some(reserved) = reserved else {
            return Next::Go(Place::ReleaseKey, part::ONLY);
        };
        match reserved {
            Ok(()) => {
                running.facts.holds_key = true;
                go_on(self, state, running)
            }
            Err(held) => Next::End(repeat(&held, target, now)),
        }
    }

    /// Does one of two reads that are made at once, of the record and of the number. Returns whether both are done.
    pub(crate) fn read_both(
        &self,
        state: &State,
        running: &mut Running,
        read: u8,
        fate: Fate,
    ) -> bool {
        let target = target_of(state, running);
        if fate != Fate::Done {
            running.facts.has_failed = true;
        } else if read == part::RECORD {
            running.seen = state.targets[target].record;
        } else {
            running.known = visible(&state.numbers[self.number_of(target)]);
            if self.config.sign_in && !self.has(Guard::DoorsApart) {
                running.known = together(&running.known, &visible(&state.numbers[SIGN_INS]));
            }
        }
        running.parts == 0
    }

    /// The reads come before the key, and what they mean for the send is judged after it: a repeat of a send gets the
    /// response of the send whatever was read.
    fn read_first(&self, state: &mut State, running: &mut Running, read: u8, fate: Fate) -> Next {
        if !self.read_both(state, running, read, fate) {
            return Next::Stay;
        }
        if running.facts.has_failed {
            return Next::refuse(Refusal::LedgerUnavailable);
        }
        if running.facts.reads_pause {
            let kept = (running.now, running.facts.is_paused);
            state.pause_read[running.provider as usize] = kept;
        }
        if running.facts.is_paused {
            return Next::refuse(Refusal::SendingPaused);
        }
        running.outcome = self.refusal_of_plan(running);
        // No later step needs the read items, and without them there are fewer states.
        running.known = Number::default();
        if running.outcome.is_some() {
            running.seen = Record::default();
        }
        if key_of(running) == NONE {
            self.plan(running)
        } else {
            Next::Go(Place::ReserveKey, part::ONLY)
        }
    }

    /// Refuses a send early, by the record and the number that it has read.
    fn refusal_of_plan(&self, running: &mut Running) -> Option<Answer> {
        let (seen, now) = (running.seen, running.now);
        if seen.is_open(now) {
            if seen.sends >= MAX_SENDS {
                return Some(Answer::Refused(Refusal::ResendLimit));
            }
            running.facts.is_resend = true;
        }
        let lock = self.part_of(HTTP, LOCKED);
        let wait = wait_of(self.config.windows, &running.known, lock, now);
        (wait.until > now).then(|| Answer::Refused(refusal(running, wait)))
    }

    fn plan(&self, running: &mut Running) -> Next {
        if let Some(refused) = running.outcome.take() {
            return self.end_by_settling(running, refused);
        }
        if self.has(Guard::SpendFirst) {
            Next::Go(Place::Spend, part::ONLY)
        } else {
            Next::Go(Place::ReserveSend, part::ONLY)
        }
    }

    fn spend_and_go_on(&self, state: &mut State, running: &mut Running, fate: Fate) -> Next {
        let mut really = false;
        let spent = by_fate(fate, || {
            really = self.spend(state, HTTP, self.part_of(HTTP, self.config.budget));
            really
        });
        running.facts.spent_really = really;
        match spent {
            None => self.end_by_settling(running, Answer::Refused(Refusal::LedgerUnavailable)),
            Some(false) => self.end_by_settling(running, Answer::Refused(Refusal::RateLimited)),
            Some(true) => {
                running.facts.has_spent = true;
                if self.has(Guard::SpendFirst) {
                    Next::Go(Place::ReserveSend, part::ONLY)
                } else {
                    let outcome = running.outcome.unwrap_or(Answer::Done);
                    self.end_by_settling(running, outcome)
                }
            }
        }
    }

    fn reserve_the_send(&self, state: &mut State, running: &mut Running, fate: Fate) -> Next {
        let number = self.number_of(target_of(state, running));
        let now = running.now;
        match by_fate(fate, || self.reserve_send(state, number, now)) {
            None => self.end_by_settling(running, Answer::Refused(Refusal::LedgerUnavailable)),
            Some(Ok(number)) => {
                running.known = visible(&number);
                if self.has(Guard::WriteAhead) {
                    Next::Go(Place::WriteAhead, part::ONLY)
                } else {
                    Next::Go(Place::AskToSend, part::ONLY)
                }
            }
            Some(Err(number)) => {
                let lock = self.part_of(HTTP, LOCKED);
                let mut wait = wait_of(self.config.windows, &number, lock, now);
                if wait.until == 0 {
                    // Another send took the last place a moment ago.
                    wait.until = now + 1;
                }
                let refusal = refusal(running, wait);
                self.end_by_settling(running, Answer::Refused(refusal))
            }
        }
    }

    fn write_ahead(&self, state: &mut State, running: &mut Running, fate: Fate) -> Next {
        let target = target_of(state, running);
        let plan = self.planned(running);
        // The record must be settled, even if it stays unclear whether the record was written.
        running.facts.is_prepared = true;
        let written = by_fate(fate, || self.write(state, target, running, &plan));
        match written {
            None => self.end_by_settling(running, Answer::Refused(Refusal::LedgerUnavailable)),
            Some(false) => {
                self.end_by_settling(running, Answer::Refused(Refusal::VerificationInProgress))
            }
            Some(true) if self.has(Guard::WriteAhead) => Next::Go(Place::AskToSend, part::ONLY),
            Some(true) => {
                let outcome = running.outcome.unwrap_or(Answer::Done);
                self.end_by_settling(running, outcome)
            }
        }
    }

    fn ask_to_send(&self, state: &mut State, running: &mut Running, fate: Fate) -> Next {
        let plan = self.planned(running);
        if matches!(fate, Fate::Done | Fate::UnclearSent) {
            self.text_leaves(state, running, &plan);
            running.facts.text_left = true;
        }
        let outcome = match fate {
            Fate::Done => {
                let next = next_send(self.config.windows, &running.known);
                let next = if plan.sends >= MAX_SENDS {
                    next.max(plan.expires)
                } else {
                    next
                };
                Answer::Sent {
                    left: plan.left,
                    expires: plan.expires,
                    resend: next.max(running.now),
                }
            }
            Fate::Refused => Answer::Refused(Refusal::ProviderRejected),
            _ => Answer::Refused(Refusal::ProviderTimeout),
        };
        running.outcome = Some(outcome);
        running.known = Number::default();
        if !self.has(Guard::WriteAhead) {
            return Next::Go(Place::WriteAhead, part::ONLY);
        }
        if !self.has(Guard::SpendFirst) {
            return Next::Go(Place::Spend, part::ONLY);
        }
        self.end_by_settling(running, outcome)
    }

    /// Ends a send: the remaining steps for its key, its record and its charges are done at once.
    fn end_by_settling(&self, running: &mut Running, outcome: Answer) -> Next {
        let is_refused = matches!(outcome, Answer::Refused(_)) && !is_unclear(outcome);
        let does_refund = is_refused && self.has(Guard::RefundRefused)
            || is_unclear(outcome) && !self.has(Guard::RefundOnlyUnsent);
        let facts = running.facts;
        let mut parts = 0;
        for (does, part) in [
            (facts.holds_key, part::KEY),
            (facts.is_prepared, part::SETTLE),
            (facts.has_spent && does_refund, part::REFUND),
        ] {
            if does {
                parts |= part;
            }
        }
        if parts == 0 {
            return Next::End(outcome);
        }
        running.outcome = Some(outcome);
        running.known = Number::default();
        Next::Go(Place::Settle, parts)
    }

    fn settle_part(&self, state: &mut State, running: &mut Running, part: u8, fate: Fate) -> Next {
        let outcome = running.outcome.unwrap_or(Answer::Done);
        // The answer does not wait for these steps.
        by_fate(fate, || match part {
            part::KEY => self.end_key(state, running, outcome),
            part::SETTLE => self.settle_send(state, running, outcome),
            _ => {
                Self::refund(state, HTTP);
                running.facts.refunded_really = true;
                if running.facts.text_left {
                    state.broken |= broken::I8;
                }
            }
        });
        if running.parts == 0 {
            Next::End(outcome)
        } else {
            Next::Stay
        }
    }

    /// Frees a key that this request holds.
    pub(crate) fn release_key(&self, state: &mut State, running: &Running) {
        let key = &mut state.keys[usize::from(key_of(running))];
        if key.holder == running.holder || !self.has(Guard::KeyHolder) {
            *key = Key::default();
        }
    }

    fn end_key(&self, state: &mut State, running: &Running, outcome: Answer) {
        let key = &mut state.keys[usize::from(key_of(running))];
        if key.holder != running.holder && self.has(Guard::KeyHolder) {
            return;
        }
        match outcome {
            Answer::Sent {
                left,
                expires,
                resend,
            } => {
                key.state = KeyState::Answered;
                (key.left, key.expires, key.resend) = (left, expires, resend);
            }
            outcome if is_unclear(outcome) && self.has(Guard::KeyKeptIfUnclear) => {
                key.state = KeyState::Unclear;
            }
            _ => *key = Key::default(),
        }
    }

    fn settle_send(&self, state: &mut State, running: &Running, outcome: Answer) {
        let plan = self.planned(running);
        let settled = match outcome {
            Answer::Sent { .. } => {
                let mut issuers = Issuers::default();
                issuers[0] = plan.issuer;
                Settled::Sent(issuers)
            }
            outcome if is_unclear(outcome) => Settled::Unclear,
            _ if running.facts.is_resend && self.has(Guard::SettleBack) => {
                let mut earlier = running.seen;
                // An earlier send may have reached the phone, and crashed before it was settled.
                if earlier.state == RecordState::Reserved {
                    earlier.state = RecordState::Unclear;
                }
                Settled::Back(earlier)
            }
            _ => Settled::Failed {
                plain_until: running.seen.plain_until,
            },
        };
        let target = target_of(state, running);
        self.settle(state, target, plan.generation, running.holder, &settled);
    }
}

/// Whether a pause that a function has read is too old.
fn must_read((read, _): (Time, bool), now: Time) -> bool {
    read == 0 || read + PAUSE_KEPT <= now || read > now
}

/// Two numbers that count as one.
pub(crate) fn together(one: &Number, other: &Number) -> Number {
    let mut sends = [one.sends, other.sends].concat();
    sends.sort_unstable_by(|a, b| b.cmp(a));
    Number {
        sends: [sends[0], sends[1], sends[2]],
        failures: one.failures + other.failures,
        last_failure: one.last_failure.max(other.last_failure),
        ..Number::default()
    }
}

/// The idempotency key of a send.
pub(crate) fn key_of(running: &Running) -> u8 {
    match running.request {
        Request::Send { key, .. } => key,
        Request::ResendForSignIn { nonce, .. } => nonce % 2,
        _ => NONE,
    }
}

/// Marks the messages of a verification: none of their codes may be right any more.
pub(crate) fn end_texts(state: &mut State, target: usize) {
    for text in state.texts.iter_mut().flatten() {
        text.has_ended |= usize::from(text.target) == target;
    }
}

pub(crate) fn is_unclear(outcome: Answer) -> bool {
    outcome == Answer::Refused(Refusal::ProviderTimeout)
}

/// The part of a number that a request reads.
pub(crate) fn visible(number: &Number) -> Number {
    Number {
        epoch: 0,
        charged: 0,
        forgiven: 0,
        ..*number
    }
}

pub(crate) fn repeat(held: &Key, target: u8, now: Time) -> Answer {
    if held.target != target {
        return Answer::Refused(Refusal::IdempotencyKeyReused);
    }
    match held.state {
        KeyState::Answered => Answer::Sent {
            left: held.left,
            expires: held.expires,
            resend: held.resend,
        },
        KeyState::Pending if now < held.at + KEY_IN_USE => {
            Answer::Refused(Refusal::IdempotencyKeyInUse)
        }
        _ => Answer::Refused(Refusal::ProviderTimeout),
    }
}

/// The refusal of a send to a number that has to wait.
fn refusal(running: &Running, wait: Wait) -> Refusal {
    let seen: &Record = &running.seen;
    if running.facts.is_resend && !wait.guesses && wait.until <= seen.expires {
        Refusal::ResendTooSoon
    } else if wait.until == NEVER {
        Refusal::DestinationLocked
    } else {
        Refusal::RateLimited
    }
}
