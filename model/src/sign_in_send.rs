//! The send of a sign-in, as in `src/service/sign_in_send.rs` and `src/service/sign_in_counters.rs`. The steps are the
//! same whether or not a message is sent. If a step must not count, it changes a decoy counter in place of the real
//! counter. No step reads a decoy counter.

use crate::config::Guard;
use crate::ledger::{LOCKED, Settled, wait_of};
use crate::send::{is_unclear, key_of, together, visible};
use crate::sign_in::is_decoy;
use crate::state::{
    Answer, Fate, HTTP, Issuer, Issuers, KeyState, Number, Place, Record, RecordState, Refusal,
    Request, Running, SIGN_INS, State, part,
};
use crate::{Model, Next, broken, by_fate, target_of};

const FAILED: Answer = Answer::Refused(Refusal::LedgerUnavailable);
const OVERTAKEN: Answer = Answer::Refused(Refusal::VerificationInProgress);
const UNSENT: Answer = Answer::Refused(Refusal::ProviderRejected);
const UNCLEAR: Answer = Answer::Refused(Refusal::ProviderTimeout);
const SENT: Answer = Answer::Done;

/// Whether a message of this send may have left, as far as the request knows.
pub(crate) fn may_be_sent(running: &Running) -> bool {
    running
        .outcome
        .is_some_and(|outcome| outcome == SENT || is_unclear(outcome))
}

impl Model {
    /// Reads the pause, and goes on with the counters of both doors.
    pub(crate) fn begin_sign_in_send(&self, state: &mut State, running: &mut Running) -> Next {
        let is_paused = self.is_paused(state, running);
        let is_decoy = is_decoy(state, running);
        running.facts.is_refused = is_paused || is_decoy;
        let place = if is_decoy && self.has(Guard::CountOnlyMessages) {
            Place::DecoyRoom
        } else {
            Place::Room
        };
        Next::Go(place, part::OF_HTTP | part::OF_SIGN_INS | part::SPENT)
    }

    pub(crate) fn step_of_sign_in_send(
        &self,
        state: &mut State,
        running: &mut Running,
        part: u8,
        fate: Fate,
    ) -> Next {
        match running.place {
            Place::ReserveKey => {
                self.reserve_the_key(state, running, fate, Self::begin_sign_in_send)
            }
            Place::ReleaseKey => {
                by_fate(fate, || self.release_key(state, running));
                Next::End(FAILED)
            }
            Place::Room | Place::DecoyRoom => self.read_room(state, running, part, fate),
            Place::WriteAhead => self.write_ahead_for_sign_in(state, running, fate),
            Place::Spend | Place::DecoySpend => self.spend_for_sign_in(state, running, fate),
            Place::ReserveSend | Place::DecoyReserve => {
                self.reserve_for_sign_in(state, running, fate)
            }
            Place::AskToSend => self.ask_for_sign_in(state, running, fate),
            _ => self.settle_sign_in(state, running, part, fate),
        }
    }

    /// Reads what both doors have counted, and decides whether a message can be sent.
    fn read_room(&self, state: &State, running: &mut Running, read: u8, fate: Fate) -> Next {
        if fate != Fate::Done {
            running.facts.has_failed = true;
        } else if running.place == Place::Room {
            self.read_part_of_room(state, running, read);
        }
        if running.parts != 0 {
            return Next::Stay;
        }
        let known = std::mem::take(&mut running.known);
        if running.facts.has_failed {
            return Self::end_sign_in_send(running, FAILED);
        }
        if running.place == Place::Room
            && wait_of(self.config.windows, &known, LOCKED, running.now).until > running.now
        {
            running.facts.is_refused = true;
        }
        if self.has(Guard::WriteBeforeCounting) {
            Next::Go(Place::WriteAhead, part::ONLY)
        } else {
            self.go_on_counting(running, Place::Spend, Place::DecoySpend)
        }
    }

    fn read_part_of_room(&self, state: &State, running: &mut Running, read: u8) {
        let add = |known: &mut Number, door: usize| {
            *known = together(known, &visible(&state.numbers[door]));
        };
        match read {
            part::OF_HTTP if self.has(Guard::WaitForHttp) => add(&mut running.known, HTTP),
            part::OF_HTTP => {}
            part::OF_SIGN_INS => {
                let lock = self.part_of(SIGN_INS, LOCKED);
                running.facts.is_refused |= state.numbers[SIGN_INS].failures >= lock;
                add(&mut running.known, SIGN_INS);
            }
            _ => {
                let own = self.part_of(SIGN_INS, self.config.budget);
                let left = self.config.budget.saturating_sub(state.spent[HTTP]);
                running.room = if self.has(Guard::BudgetBesideHttp) {
                    own.min(left)
                } else {
                    own
                };
            }
        }
    }

    /// Goes on with a counter, or with its decoy if no message will be sent.
    fn go_on_counting(&self, running: &Running, real: Place, decoy: Place) -> Next {
        let counts = !running.facts.is_refused || !self.has(Guard::CountOnlyMessages);
        Next::Go(if counts { real } else { decoy }, part::ONLY)
    }

    fn write_ahead_for_sign_in(
        &self,
        state: &mut State,
        running: &mut Running,
        fate: Fate,
    ) -> Next {
        let target = target_of(state, running);
        let plan = self.planned(running);
        running.facts.is_prepared = true;
        match by_fate(fate, || self.write(state, target, running, &plan)) {
            None => Self::end_sign_in_send(running, FAILED),
            Some(false) => {
                running.facts.is_prepared = false;
                Self::end_sign_in_send(running, OVERTAKEN)
            }
            Some(true) if self.has(Guard::WriteBeforeCounting) => {
                self.go_on_counting(running, Place::Spend, Place::DecoySpend)
            }
            Some(true) => Self::ask_or_end(running),
        }
    }

    fn spend_for_sign_in(&self, state: &mut State, running: &mut Running, fate: Fate) -> Next {
        let is_real = running.place == Place::Spend;
        let mut really = false;
        let spent = by_fate(fate, || {
            really = is_real && self.spend(state, SIGN_INS, running.room);
            really
        });
        running.facts.spent_really = really;
        let Some(is_spent) = spent else {
            return Self::end_sign_in_send(running, FAILED);
        };
        running.facts.has_counted = true;
        running.facts.has_spent = is_spent;
        running.facts.is_refused |= !is_spent;
        self.go_on_counting(running, Place::ReserveSend, Place::DecoyReserve)
    }

    fn reserve_for_sign_in(&self, state: &mut State, running: &mut Running, fate: Fate) -> Next {
        let is_real = running.place == Place::ReserveSend;
        let now = running.now;
        let reserved = by_fate(fate, || {
            if is_real {
                self.reserve_send(state, SIGN_INS, now).is_ok()
            } else {
                true
            }
        });
        let Some(is_reserved) = reserved else {
            return Self::end_sign_in_send(running, FAILED);
        };
        running.facts.took_place = is_real && is_reserved;
        running.facts.is_refused |= !is_reserved;
        if self.has(Guard::WriteBeforeCounting) {
            Self::ask_or_end(running)
        } else {
            Next::Go(Place::WriteAhead, part::ONLY)
        }
    }

    fn ask_or_end(running: &mut Running) -> Next {
        if running.facts.is_refused {
            Self::end_sign_in_send(running, UNSENT)
        } else {
            Next::Go(Place::AskToSend, part::ONLY)
        }
    }

    fn ask_for_sign_in(&self, state: &mut State, running: &mut Running, fate: Fate) -> Next {
        let plan = self.planned(running);
        running.facts.asked_to_send = true;
        if matches!(fate, Fate::Done | Fate::UnclearSent) {
            self.text_leaves(state, running, &plan);
            running.facts.text_left = true;
        }
        let outcome = match fate {
            Fate::Done => SENT,
            Fate::Refused => UNSENT,
            _ => UNCLEAR,
        };
        Self::end_sign_in_send(running, outcome)
    }

    /// Ends a send: the remaining steps for its key, its record and its budget are done at once, whatever the outcome.
    fn end_sign_in_send(running: &mut Running, outcome: Answer) -> Next {
        running.outcome = Some(outcome);
        let facts = running.facts;
        let mut parts = 0;
        for (does, part) in [
            (facts.holds_key, part::KEY),
            (facts.is_prepared, part::SETTLE),
            (facts.has_counted, part::REFUND),
        ] {
            if does {
                parts |= part;
            }
        }
        if parts == 0 {
            Self::after_sign_in_send(running, outcome)
        } else {
            Next::Go(Place::Settle, parts)
        }
    }

    fn settle_sign_in(
        &self,
        state: &mut State,
        running: &mut Running,
        part: u8,
        fate: Fate,
    ) -> Next {
        let outcome = running.outcome.unwrap_or(FAILED);
        by_fate(fate, || match part {
            part::KEY => self.end_key_of_resend(state, running, outcome),
            part::SETTLE => self.settle_record_of_sign_in(state, running, outcome),
            // After a message, or if nothing was spent, the refund goes to a decoy.
            _ if may_be_sent(running) || !running.facts.has_spent => {}
            _ => {
                Self::refund(state, SIGN_INS);
                running.facts.refunded_really = true;
                if running.facts.text_left {
                    state.broken |= broken::I8;
                }
            }
        });
        if running.parts == 0 {
            Self::after_sign_in_send(running, outcome)
        } else {
            Next::Stay
        }
    }

    fn end_key_of_resend(&self, state: &mut State, running: &Running, outcome: Answer) {
        if running.facts.is_prepared && outcome != FAILED {
            let key = &mut state.keys[usize::from(key_of(running))];
            if key.holder == running.holder || !self.has(Guard::KeyHolder) {
                key.state = KeyState::Unclear;
            }
        } else {
            self.release_key(state, running);
        }
    }

    fn settle_record_of_sign_in(&self, state: &mut State, running: &Running, outcome: Answer) {
        let plan = self.planned(running);
        let seen = running.seen;
        let is_resend = running.facts.is_resend;
        let only = |issuer| {
            let mut issuers = Issuers::default();
            issuers[0] = issuer;
            issuers
        };
        let settled = match outcome {
            SENT => Settled::Sent(only(plan.issuer)),
            UNCLEAR => Settled::Unclear,
            UNSENT if is_resend && self.has(Guard::UnsentKeepsIssuers) => {
                Settled::Unsent(seen.issuers)
            }
            UNSENT => Settled::Unsent(only(Issuer::Decoy)),
            _ if is_resend => {
                let mut earlier = seen;
                if earlier.state == RecordState::Reserved {
                    earlier.state = RecordState::Unclear;
                }
                Settled::Back(earlier)
            }
            _ => Settled::Failed {
                plain_until: seen.plain_until,
            },
        };
        let target = target_of(state, running);
        self.settle(state, target, plan.generation, running.holder, &settled);
    }

    fn after_sign_in_send(running: &mut Running, outcome: Answer) -> Next {
        if outcome == FAILED {
            return Next::End(FAILED);
        }
        if let Request::ResendForSignIn { .. } = running.request {
            return Next::End(Answer::Done);
        }
        running.seen = Record::default();
        Next::Go(Place::LookAgain, part::ONLY)
    }
}
