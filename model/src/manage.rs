//! The requests about a verification as a whole, as in `src/service/manage.rs`.

use crate::config::Guard;
use crate::ledger::{REDEEMABLE, next_send};
use crate::send::end_texts;
use crate::state::NONE;
use crate::state::{Answer, Fate, Phase, Place, Refusal, Request, Running, SIGN_INS, State, part};
use crate::{MAX_SENDS, Model, Next, by_fate, target_of};

/// How often a cancel or a redeem reads again after it has met another generation.
const TRIES: u8 = 3;

impl Model {
    pub(crate) fn step_of_manage(
        &self,
        state: &mut State,
        running: &mut Running,
        read: u8,
        fate: Fate,
    ) -> Next {
        match running.place {
            Place::Read => self.read_status(state, running, read, fate),
            Place::Redeem => self.redeem_and_go_on(state, running, fate),
            Place::LookBeforeRedeem | Place::LookBeforeCancel => {
                self.look_first(state, running, fate)
            }
            Place::Cancel => self.cancel_and_go_on(state, running, fate),
            _ => {
                let Request::Unlock { number } = running.request else {
                    return Next::End(Answer::Done);
                };
                let (door, is_last) = match running.tries {
                    0 => (usize::from(number), !self.config.sign_in),
                    _ => (SIGN_INS, true),
                };
                match by_fate(fate, || Self::unlock(state, door)) {
                    None => Next::refuse(Refusal::LedgerUnavailable),
                    Some(()) if !is_last => {
                        running.tries += 1;
                        Next::Go(Place::Unlock, part::ONLY)
                    }
                    Some(()) => Next::End(Answer::Done),
                }
            }
        }
    }

    fn read_status(&self, state: &mut State, running: &mut Running, read: u8, fate: Fate) -> Next {
        if !self.read_both(state, running, read, fate) {
            return Next::Stay;
        }
        if running.facts.has_failed {
            return Next::refuse(Refusal::LedgerUnavailable);
        }
        let seen = &running.seen;
        if seen.generation == 0 {
            return Next::refuse(Refusal::VerificationNotFound);
        }
        Next::End(Answer::Status {
            phase: seen.phase(running.now),
            left: seen.left,
            expires: seen.expires,
            resend: self.next_for(running),
        })
    }

    /// When the next code can be sent, by the number and the record that a request has read.
    pub(crate) fn next_for(&self, running: &Running) -> u16 {
        let next = next_send(self.config.windows, &running.known);
        if running.seen.sends >= MAX_SENDS {
            next.max(running.seen.expires)
        } else {
            next
        }
    }

    /// Reads the record that a redeem or a cancel is about.
    fn look_first(&self, state: &mut State, running: &mut Running, fate: Fate) -> Next {
        if fate != Fate::Done {
            return Next::refuse(Refusal::LedgerUnavailable);
        }
        running.seen = state.targets[target_of(state, running)].record;
        if running.place == Place::LookBeforeRedeem {
            self.judge_redeem(running)
        } else {
            self.judge_cancel(running)
        }
    }

    /// Redeems the success that the request has seen, if that is allowed.
    fn judge_redeem(&self, running: &Running) -> Next {
        let (seen, now) = (&running.seen, running.now);
        // The last refusal is judged, too.
        let redeem = if running.tries == TRIES {
            Next::refuse(Refusal::VerificationInProgress)
        } else {
            Next::Go(Place::Redeem, part::ONLY)
        };
        if seen.owner != NONE && self.has(Guard::RedeemNotSignIn) {
            return Next::refuse(Refusal::VerificationNotFound);
        }
        let is_in_time =
            seen.won_at + REDEEMABLE > now || !self.has(Guard::RedeemInTime) && seen.won_at > 0;
        let is_free = seen.redeemed_by == NONE || !self.has(Guard::RedeemOnce);
        Next::refuse(match seen.phase(now) {
            Phase::Verified if seen.redeemed_by == redeemer_of(running) && is_in_time => {
                return Next::End(Answer::Redeemed);
            }
            Phase::Verified if !is_free => Refusal::AlreadyVerified,
            Phase::Verified if is_in_time => return redeem,
            Phase::Pending if !self.has(Guard::RedeemVerified) => return redeem,
            Phase::None | Phase::Failed => Refusal::VerificationNotFound,
            Phase::Verified | Phase::Expired => Refusal::CodeExpired,
            Phase::Pending => Refusal::VerificationInProgress,
            Phase::Exhausted => Refusal::AttemptsExhausted,
            Phase::Canceled => Refusal::VerificationCanceled,
        })
    }

    fn redeem_and_go_on(&self, state: &mut State, running: &mut Running, fate: Fate) -> Next {
        let target = target_of(state, running);
        let (seen, now, redeemer) = (running.seen.generation, running.now, redeemer_of(running));
        running.tries += 1;
        match by_fate(fate, || self.redeem(state, target, seen, redeemer, now)) {
            None => Next::refuse(Refusal::LedgerUnavailable),
            Some(Ok(())) => Next::End(Answer::Redeemed),
            Some(Err(seen)) => {
                running.seen = seen;
                self.judge_redeem(running)
            }
        }
    }

    /// Cancels the generation that the request has seen, if it is open.
    fn judge_cancel(&self, running: &Running) -> Next {
        let seen = &running.seen;
        if seen.generation == 0 {
            Next::refuse(Refusal::VerificationNotFound)
        } else if !seen.is_open(running.now) && self.has(Guard::CancelOpen) {
            Next::End(Answer::Canceled(seen.phase(running.now)))
        } else if running.tries == TRIES {
            Next::refuse(Refusal::VerificationInProgress)
        } else {
            Next::Go(Place::Cancel, part::ONLY)
        }
    }

    fn cancel_and_go_on(&self, state: &mut State, running: &mut Running, fate: Fate) -> Next {
        let target = target_of(state, running);
        let (seen, now) = (running.seen.generation, running.now);
        let before = state.targets[target].record;
        running.tries += 1;
        let canceled = by_fate(fate, || self.cancel(state, target, seen, now));
        if state.targets[target].record != before {
            end_texts(state, target);
        }
        match canceled {
            None => Next::refuse(Refusal::LedgerUnavailable),
            Some(Ok(())) => Next::End(Answer::Canceled(Phase::Canceled)),
            Some(Err(seen)) => {
                running.seen = seen;
                self.judge_cancel(running)
            }
        }
    }
}

fn redeemer_of(running: &Running) -> u8 {
    match running.request {
        Request::Redeem { key, .. } => key,
        _ => NONE,
    }
}
