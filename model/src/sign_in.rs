//! The steps of a sign-in and of its decoy, with one set of counters for both doors. In `src/service/sign_in_send.rs`
//! each door counts for itself, so the steps there are other ones.

use crate::ledger::{Opening, Reopening, Settled, wait_of};
use crate::send::{key_of, visible};
use crate::state::{
    Answer, Challenge, Fate, Issuer, Issuers, KeyState, Number, Place, Record, RecordState,
    Refusal, Request, Running, State, Time, part,
};
use crate::{
    DECOY, MAX_LIFETIME, MAX_SENDS, Model, Next, VALIDITY, by_fate, session_of, target_of,
};

const DECOY_READS: u8 = part::RECORD | part::NUMBER | part::REAL_NUMBER;
const DECOY_NUMBER: usize = 1;

impl Model {
    pub(crate) fn step_of_sign_in(
        &self,
        state: &mut State,
        running: &mut Running,
        part: u8,
        fate: Fate,
    ) -> Next {
        match running.place {
            Place::Look | Place::LookAgain => self.look(state, running, part, fate),
            Place::DecoyLook | Place::DecoyLookAgain => {
                self.look_at_decoy(state, running, part, fate)
            }
            Place::DecoySpend | Place::DecoyResendSpend => {
                self.look_at_budget(state, running, fate)
            }
            Place::DecoyWait | Place::DecoyResendWait => self.wait(state, running, part, fate),
            Place::DecoyReserve | Place::DecoyResendReserve => {
                self.reserve_for_decoy(state, running, fate)
            }
            Place::DecoyRead => {
                if fate != Fate::Done {
                    return Next::refuse(Refusal::LedgerUnavailable);
                }
                running.seen = state.targets[DECOY].record;
                Next::Go(Place::DecoyOpen, part::ONLY)
            }
            Place::DecoyOpen => self.open_decoy(state, running, fate),
            _ => self.step_of_decoy_resend(state, running, fate),
        }
    }

    /// Reads the record and the counters of its number. Returns `None` as long as one of them is not read.
    fn read(
        &self,
        state: &State,
        running: &mut Running,
        read: u8,
        fate: Fate,
        target: usize,
    ) -> Option<Result<(), ()>> {
        if fate != Fate::Done {
            running.facts.has_failed = true;
        } else if read == part::RECORD {
            running.seen = state.targets[target].record;
        } else {
            let number = if read == part::NUMBER {
                self.number_of(target)
            } else {
                0
            };
            running.known = both(&running.known, &visible(&state.numbers[number]));
        }
        if running.parts != 0 {
            return None;
        }
        let has_failed = std::mem::take(&mut running.facts.has_failed);
        Some(if has_failed { Err(()) } else { Ok(()) })
    }

    /// The challenge for the open code, if there is one.
    fn challenge(&self, running: &mut Running, state: Challenge, decoy: u8) -> Option<Answer> {
        let (seen, now) = (running.seen, running.now);
        let open = seen.is_open(now).then(|| {
            let is_owner = seen.owner == session_of(running);
            let left = if is_owner {
                seen.left
            } else {
                seen.left.saturating_sub(1)
            };
            let resend = self.next_for(running).max(now);
            let (state, resend) = if left == 0 {
                (Challenge::Ended, resend.max(seen.expires))
            } else {
                (state, resend)
            };
            Answer::Challenge {
                state,
                decoy,
                left,
                expires: seen.expires,
                resend,
            }
        });
        running.known = Number::default();
        open
    }

    fn look(&self, state: &mut State, running: &mut Running, read: u8, fate: Fate) -> Next {
        let target = target_of(state, running);
        match self.read(state, running, read, fate, target) {
            None => return Next::Stay,
            Some(Err(())) => return Next::refuse(Refusal::LedgerUnavailable),
            Some(Ok(())) => {}
        }
        let is_again = running.place == Place::LookAgain;
        if let Request::ResendForSignIn { .. } = running.request {
            let decoy = u8::from(target == DECOY);
            return match self.challenge(running, Challenge::Adopted, decoy) {
                None
                | Some(Answer::Challenge {
                    state: Challenge::Ended,
                    ..
                }) => Next::End(Answer::Done),
                Some(_) if decoy > 0 => {
                    running.seen = Record::default();
                    Next::Go(Place::DecoyResendRead, part::ONLY)
                }
                Some(_) => {
                    running.seen = Record::default();
                    self.begin_send(state, running)
                }
            };
        }
        // After a refused send, the code is open only if another sign-in has sent one meanwhile.
        let challenge = match running.outcome {
            Some(Answer::Sent { .. } | Answer::Refused(Refusal::ProviderTimeout)) => {
                Challenge::Sent
            }
            _ => Challenge::Adopted,
        };
        match self.challenge(running, challenge, 0) {
            Some(challenge) => Next::End(challenge),
            None if is_again => {
                running.outcome = None;
                running.seen = Record::default();
                Next::Go(Place::DecoyLook, DECOY_READS)
            }
            None => {
                running.seen = Record::default();
                self.begin_send(state, running)
            }
        }
    }

    fn look_at_decoy(
        &self,
        state: &mut State,
        running: &mut Running,
        read: u8,
        fate: Fate,
    ) -> Next {
        match self.read(state, running, read, fate, DECOY) {
            None => return Next::Stay,
            Some(Err(())) => return Next::refuse(Refusal::LedgerUnavailable),
            Some(Ok(())) => {}
        }
        let is_again = running.place == Place::DecoyLookAgain;
        let shown = if is_again {
            Challenge::Sent
        } else {
            Challenge::Adopted
        };
        if let Some(challenge) = self.challenge(running, shown, 1) {
            return Next::End(challenge);
        }
        running.seen = Record::default();
        if is_again {
            // The model has no decoy of a decoy, so the sign-in ends here.
            return Next::End(Answer::Deeper);
        }
        if self.is_paused(state, running) {
            return Next::End(Answer::Deeper);
        }
        Next::Go(Place::DecoySpend, part::ONLY)
    }

    /// A spent budget stops a decoy as it would stop a message.
    fn look_at_budget(&self, state: &State, running: &Running, fate: Fate) -> Next {
        if fate == Fate::Done {
            Self::after_budget(running, state.spent < self.config.budget)
        } else {
            Next::refuse(Refusal::LedgerUnavailable)
        }
    }

    fn after_budget(running: &Running, is_allowed: bool) -> Next {
        let is_resend = matches!(running.request, Request::ResendForSignIn { .. });
        match (is_resend, is_allowed) {
            (false, false) => Next::End(Answer::Deeper),
            (true, false) => Next::Go(Place::DecoyReleaseKey, part::ONLY),
            (false, true) => Next::Go(Place::DecoyWait, part::NUMBER | part::REAL_NUMBER),
            (true, true) => Next::Go(Place::DecoyResendWait, part::NUMBER | part::REAL_NUMBER),
        }
    }

    fn wait(&self, state: &mut State, running: &mut Running, read: u8, fate: Fate) -> Next {
        match self.read(state, running, read, fate, DECOY) {
            None => return Next::Stay,
            Some(Err(())) => return Next::refuse(Refusal::LedgerUnavailable),
            Some(Ok(())) => {}
        }
        let wait = wait_of(self.config.windows, &running.known, running.now);
        running.known = Number::default();
        let is_resend = running.place == Place::DecoyResendWait;
        match (is_resend, wait.until > running.now) {
            (false, true) => Next::End(Answer::Deeper),
            (true, true) => Next::Go(Place::DecoyReleaseKey, part::ONLY),
            (false, false) => Next::Go(Place::DecoyReserve, part::ONLY),
            (true, false) => Next::Go(Place::DecoyResendReserve, part::ONLY),
        }
    }

    fn reserve_for_decoy(&self, state: &mut State, running: &mut Running, fate: Fate) -> Next {
        let is_resend = running.place == Place::DecoyResendReserve;
        let now = running.now;
        match by_fate(fate, || self.reserve_send(state, DECOY_NUMBER, now)) {
            None => Next::refuse(Refusal::LedgerUnavailable),
            Some(Err(_)) if is_resend => Next::Go(Place::DecoyReleaseKey, part::ONLY),
            Some(Err(_)) => Next::End(Answer::Deeper),
            Some(Ok(_)) if is_resend => Next::Go(Place::DecoyReopen, part::ONLY),
            Some(Ok(_)) => Next::Go(Place::DecoyRead, part::ONLY),
        }
    }

    fn open_decoy(&self, state: &mut State, running: &mut Running, fate: Fate) -> Next {
        let now = running.now;
        let opening = Opening {
            state: RecordState::Sent,
            now,
            expires: now + VALIDITY,
            left: self.config.attempts,
            issuers: decoys(),
            plain_until: 0,
            owner: session_of(running),
            holder: running.holder,
        };
        let seen = running.seen.generation;
        if by_fate(fate, || self.open(state, DECOY, seen, &opening)).is_none() {
            return Next::refuse(Refusal::LedgerUnavailable);
        }
        running.seen = Record::default();
        Next::Go(Place::DecoyLookAgain, DECOY_READS)
    }

    fn step_of_decoy_resend(&self, state: &mut State, running: &mut Running, fate: Fate) -> Next {
        let now = running.now;
        let key = usize::from(key_of(running));
        match running.place {
            Place::DecoyResendRead => {
                if fate != Fate::Done {
                    return Next::refuse(Refusal::LedgerUnavailable);
                }
                running.seen = state.targets[DECOY].record;
                if running.seen.is_open(now) {
                    Next::Go(Place::DecoyResendKey, part::ONLY)
                } else {
                    Next::End(Answer::Done)
                }
            }
            Place::DecoyResendKey => {
                let target = u8::try_from(DECOY).unwrap_or(0);
                match by_fate(fate, || {
                    self.reserve_key(state, key, target, running.holder, now)
                }) {
                    None => Next::Go(Place::ReleaseKey, part::ONLY),
                    Some(Err(held)) => decoy_key_is_held(&held, now),
                    Some(Ok(())) if running.seen.sends >= MAX_SENDS => {
                        Next::Go(Place::DecoyReleaseKey, part::ONLY)
                    }
                    Some(Ok(())) if self.is_paused(state, running) => {
                        Next::Go(Place::DecoyReleaseKey, part::ONLY)
                    }
                    Some(Ok(())) => Next::Go(Place::DecoyResendSpend, part::ONLY),
                }
            }
            Place::DecoyReopen => {
                let resend = Reopening {
                    expires: (now + VALIDITY).min(running.seen.first + MAX_LIFETIME),
                    issuers: decoys(),
                    plain_until: 0,
                    holder: running.holder,
                };
                let seen = &running.seen;
                match by_fate(fate, || self.reopen(state, DECOY, seen, &resend)) {
                    None => Next::refuse(Refusal::LedgerUnavailable),
                    Some(true) => Next::Go(Place::DecoySettle, part::ONLY),
                    Some(false) => Next::Go(Place::DecoyFinishKey, part::ONLY),
                }
            }
            Place::DecoySettle => {
                let generation = running.seen.generation + 1;
                let sent = Settled::Sent(decoys());
                match by_fate(fate, || {
                    self.settle(state, DECOY, generation, running.holder, &sent);
                }) {
                    None => Next::refuse(Refusal::LedgerUnavailable),
                    Some(()) => Next::Go(Place::DecoyFinishKey, part::ONLY),
                }
            }
            _ => {
                let is_finish = running.place == Place::DecoyFinishKey;
                let ended = by_fate(fate, || {
                    if state.keys[key].holder != running.holder {
                        return;
                    }
                    state.keys[key].state = if is_finish {
                        KeyState::Unclear
                    } else {
                        KeyState::Free
                    };
                });
                match ended {
                    None => Next::refuse(Refusal::LedgerUnavailable),
                    Some(()) => Next::End(Answer::Done),
                }
            }
        }
    }
}

/// The answer to a resend of a decoy whose key is held.
fn decoy_key_is_held(held: &crate::state::Key, now: Time) -> Next {
    match held.state {
        _ if usize::from(held.target) != DECOY => Next::refuse(Refusal::IdempotencyKeyReused),
        KeyState::Pending if now < held.at + crate::KEY_IN_USE => {
            Next::refuse(Refusal::IdempotencyKeyInUse)
        }
        KeyState::Answered => Next::End(Answer::Done),
        _ => Next::refuse(Refusal::ProviderTimeout),
    }
}

fn decoys() -> Issuers {
    let mut issuers = Issuers::default();
    issuers[0] = Issuer::Decoy;
    issuers
}

/// Two numbers that count as one.
fn both(one: &Number, other: &Number) -> Number {
    let mut sends = [
        one.sends[0],
        one.sends[1],
        one.sends[2],
        other.sends[0],
        other.sends[1],
        other.sends[2],
    ];
    sends.sort_unstable_by(|a, b| b.cmp(a));
    Number {
        sends: [sends[0], sends[1], sends[2]],
        failures: one.failures + other.failures,
        last_failure: one.last_failure.max(other.last_failure),
        ..Number::default()
    }
}
