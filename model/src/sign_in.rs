//! The part of a sign-in that the app sees, as in `src/service/sign_in.rs`.

use crate::ledger::next_send;
use crate::state::{
    Answer, Challenge, DECOY, Fate, Number, Place, Record, Refusal, Request, Running, State, Time,
    part,
};
use crate::{MAX_SENDS, Model, Next, VALIDITY, session_of, target_of};

impl Model {
    pub(crate) fn step_of_sign_in(
        &self,
        state: &mut State,
        running: &mut Running,
        part: u8,
        fate: Fate,
    ) -> Next {
        match running.place {
            Place::Look => self.look(state, running, fate),
            Place::LookAgain => self.look_again(state, running, fate),
            _ => self.step_of_sign_in_send(state, running, part, fate),
        }
    }

    fn look(&self, state: &mut State, running: &mut Running, fate: Fate) -> Next {
        if fate != Fate::Done {
            return Next::refuse(Refusal::LedgerUnavailable);
        }
        let (now, seen) = (running.now, state.targets[target_of(state, running)].record);
        let is_open = seen.is_open(now);
        match running.request {
            Request::ResendForSignIn { .. } => {
                if !is_open {
                    return Next::End(Answer::Done);
                }
                self.look_before_resend(running, &seen)
            }
            Request::Continue { .. } => {
                Next::End(self.challenge(running, &seen, Challenge::TryAgain))
            }
            _ if is_open => Next::End(self.challenge(running, &seen, Challenge::Adopted)),
            _ => {
                running.seen = seen;
                self.begin_sign_in_send(state, running)
            }
        }
    }

    /// A session without a guess left gets no further code, and no session gets a code too soon.
    fn look_before_resend(&self, running: &mut Running, seen: &Record) -> Next {
        let now = running.now;
        let Answer::Challenge {
            state: Challenge::TryAgain,
            resend,
            ..
        } = self.challenge(running, seen, Challenge::TryAgain)
        else {
            return Next::End(Answer::Done);
        };
        if seen.sends >= MAX_SENDS {
            return Next::refuse(Refusal::ResendLimit);
        }
        if resend > now {
            return Next::refuse(if resend <= seen.expires {
                Refusal::ResendTooSoon
            } else {
                Refusal::RateLimited
            });
        }
        running.seen = *seen;
        running.facts.is_resend = true;
        Next::Go(Place::ReserveKey, part::ONLY)
    }

    fn look_again(&self, state: &State, running: &Running, fate: Fate) -> Next {
        if fate != Fate::Done {
            return Next::refuse(Refusal::LedgerUnavailable);
        }
        let seen = state.targets[target_of(state, running)].record;
        let is_overtaken =
            running.outcome == Some(Answer::Refused(Refusal::VerificationInProgress));
        let shown = if is_overtaken {
            Challenge::Adopted
        } else {
            Challenge::Sent
        };
        Next::End(self.challenge(running, &seen, shown))
    }

    /// The challenge for a record. It follows from the record alone.
    fn challenge(&self, running: &Running, seen: &Record, state: Challenge) -> Answer {
        let now = running.now;
        if !seen.is_open(now) {
            return Answer::Challenge {
                state: Challenge::Ended,
                left: 0,
                expires: now,
                resend: now,
            };
        }
        let left = if seen.owner == session_of(running) {
            seen.left
        } else {
            seen.left.saturating_sub(1)
        };
        let resend = self.next_by_record(seen).max(now);
        let (state, resend) = if left == 0 {
            (Challenge::Ended, resend.max(seen.expires))
        } else {
            (state, resend)
        };
        Answer::Challenge {
            state,
            left,
            expires: seen.expires,
            resend,
        }
    }

    /// When the next code can be asked for, as if the number had got the codes of this record alone.
    fn next_by_record(&self, seen: &Record) -> Time {
        let sends = if seen.sends > 1 {
            let last = seen.expires.saturating_sub(VALIDITY).max(seen.first);
            [last, seen.first, 0]
        } else {
            [seen.first, 0, 0]
        };
        let alone = Number {
            sends,
            ..Number::default()
        };
        let next = next_send(self.config.windows, &alone);
        if seen.sends >= MAX_SENDS {
            next.max(seen.expires)
        } else {
            next
        }
    }
}

/// Whether a running request belongs to a decoy session.
pub(crate) fn is_decoy(state: &State, running: &Running) -> bool {
    target_of(state, running) == DECOY
}
