//! The steps of a verify, as in `src/service/verify.rs`.

use crate::config::Guard;
use crate::ledger::{GUESS_PENDING, LOCKED, SUCCESS_REPLAY};
use crate::send::end_texts;
use crate::state::{
    Answer, Fate, GuessOutcome, HTTP, Issuer, NONE, Phase, Place, Record, RecordState, Refusal,
    Request, Running, SIGN_INS, State, part,
};
use crate::{DECOY, Model, Next, PLAIN_MARGIN, broken, by_fate, session_of, target_of};

impl Model {
    pub(crate) fn step_of_verify(
        &self,
        state: &mut State,
        running: &mut Running,
        fate: Fate,
    ) -> Next {
        match running.place {
            Place::Pay => self.pay_and_go_on(state, running, fate),
            Place::CheckHttp => self.check_http(state, running, fate),
            Place::DecoyCheckHttp if fate == Fate::Done => Next::Go(Place::DecoyCharge, part::ONLY),
            Place::DecoyCharge if fate == Fate::Done => self.next_candidate(running, 0),
            Place::DecoyCheckHttp | Place::DecoyCharge => Next::refuse(Refusal::LedgerUnavailable),
            Place::Charge => self.charge_and_go_on(state, running, fate),
            Place::Ask(index) => self.ask(state, running, index, fate),
            Place::Consume | Place::ConsumeAgain => self.consume_and_go_on(state, running, fate),
            Place::Clear => {
                let number = self.number_of(target_of(state, running));
                by_fate(fate, || self.clear(state, number, running.charge));
                Self::right(state, running)
            }
            _ => self.note_and_end(state, running, fate),
        }
    }

    fn pay_and_go_on(&self, state: &mut State, running: &mut Running, fate: Fate) -> Next {
        let target = target_of(state, running);
        let (code, now) = (code_of(running), running.now);
        let asked = question_of(running);
        let before = state.targets[target].record;
        let paid = by_fate(fate, || self.pay(state, target, code, asked, now));
        if !self.has(Guard::PayFirst) {
            // The attempt is spent in a later step.
            state.targets[target].record = before;
        }
        let after = state.targets[target].record;
        if after != before {
            state.broken |= broken_by_payment(&before, asked, code);
        }
        match paid {
            None => Next::refuse(Refusal::LedgerUnavailable),
            Some(Ok(paid)) => {
                running.seen = paid;
                running.generation = paid.generation;
                running.opened = state.targets[target].opened;
                let text = state.texts.get(usize::from(code)).copied().flatten();
                running.is_replaced = text.is_some_and(|text| text.is_replaced);
                if session_of(running) == NONE {
                    running.room = self.part_of(HTTP, LOCKED);
                    return Next::Go(Place::Charge, part::ONLY);
                }
                let counts =
                    target != DECOY && can_be_sent(&paid) || !self.has(Guard::ChargeOnlyCodes);
                let place = if counts {
                    Place::CheckHttp
                } else {
                    Place::DecoyCheckHttp
                };
                Next::Go(place, part::ONLY)
            }
            Some(Err(seen)) => self.judge(state, running, &seen),
        }
    }

    /// The answer to a guess that no attempt was spent on.
    fn judge(&self, state: &mut State, running: &Running, seen: &Record) -> Next {
        let (code, now) = (code_of(running), running.now);
        let is_repeated = seen.guess == code;
        let is_pending =
            seen.guess_outcome == GuessOutcome::Pending && now < seen.guess_at + GUESS_PENDING;
        let refusal = match seen.phase(now) {
            Phase::None | Phase::Failed => Refusal::VerificationNotFound,
            Phase::Verified => {
                let is_the_winner =
                    seen.winner == winner_of(running) || !self.has(Guard::ReplayWinner);
                if seen.won_code == code && is_the_winner && now < seen.won_at + SUCCESS_REPLAY {
                    return Self::right(state, running);
                }
                Refusal::AlreadyVerified
            }
            Phase::Pending | Phase::Exhausted
                if is_repeated && seen.guess_outcome == GuessOutcome::Invalid =>
            {
                Refusal::InvalidCode
            }
            Phase::Exhausted if is_repeated && is_pending => Refusal::VerificationInProgress,
            Phase::Pending => Refusal::VerificationInProgress,
            Phase::Exhausted => Refusal::AttemptsExhausted,
            Phase::Expired => Refusal::CodeExpired,
            Phase::Canceled => Refusal::VerificationCanceled,
        };
        Next::refuse(refusal)
    }

    fn charge_and_go_on(&self, state: &mut State, running: &mut Running, fate: Fate) -> Next {
        let number = self.number_of(target_of(state, running));
        let charged = by_fate(fate, || {
            if !can_be_sent(&running.seen) {
                state.broken |= broken::FREE;
            }
            self.charge(state, number, running.room, running.now)
        });
        match charged {
            None => Next::refuse(Refusal::LedgerUnavailable),
            Some(None) if session_of(running) != NONE => {
                running.facts.is_locked = true;
                Next::Go(Place::Note, part::ONLY)
            }
            Some(None) => Next::refuse(Refusal::DestinationLocked),
            Some(Some(charge)) => {
                running.charge = charge;
                running.charged = state.numbers[number].charged;
                self.next_candidate(running, 0)
            }
        }
    }

    /// Reads the failures over HTTP. With them, the joint lock holds for both doors together.
    fn check_http(&self, state: &State, running: &mut Running, fate: Fate) -> Next {
        if fate != Fate::Done {
            return Next::refuse(Refusal::LedgerUnavailable);
        }
        let left = LOCKED.saturating_sub(state.numbers[HTTP].failures);
        let own = self.part_of(SIGN_INS, LOCKED);
        running.room = if self.has(Guard::LockBesideHttp) {
            own.min(left)
        } else {
            own
        };
        Next::Go(Place::Charge, part::ONLY)
    }

    /// Goes on with the first issuer, from `index` on, that can be asked.
    fn next_candidate(&self, running: &mut Running, index: usize) -> Next {
        let can_be_asked = |issuer: &Issuer| match issuer {
            Issuer::Nobody => false,
            Issuer::Provider { .. } => true,
            Issuer::Decoy => !self.has(Guard::DecoyAsksNobody),
        };
        let issuers = running.seen.issuers.iter().enumerate().skip(index);
        let next = issuers
            .filter(|(_, issuer)| can_be_asked(issuer))
            .map(|(index, _)| index)
            .next();
        let code = code_of(running);
        let is_used = code < 8 && running.seen.used & (1 << code) != 0;
        match next {
            Some(index) if !is_used => {
                Next::Go(Place::Ask(u8::try_from(index).unwrap_or(0)), part::ONLY)
            }
            _ => Next::Go(Place::Note, part::ONLY),
        }
    }

    /// Whether the provider may accept the guess, and whether it must.
    pub(crate) fn verdicts(state: &State, running: &Running, index: u8) -> (bool, bool) {
        let target = target_of(state, running);
        let issuer = running.seen.issuers[usize::from(index)];
        let Issuer::Provider {
            provider,
            reference,
        } = issuer
        else {
            return (false, false);
        };
        let is_its_own = |text: &crate::state::Text| {
            usize::from(text.target) == target
                && (text.provider, text.reference) == (provider, reference)
        };
        let code = usize::from(code_of(running));
        let text = state.texts.get(code).and_then(Option::as_ref);
        let Some(text) = text.filter(|text| is_its_own(text)) else {
            return (false, false);
        };
        // AWS does not say whether a second code under one reference ends the first, and whether a code works twice.
        let may = state.clock < text.good_until + PLAIN_MARGIN;
        let newer = state.texts.iter().flatten().skip(code + 1);
        let is_newest = !newer.into_iter().any(is_its_own);
        let must = is_newest && !text.is_used && state.clock < text.good_until;
        (may, must)
    }

    fn ask(&self, state: &mut State, running: &mut Running, index: u8, fate: Fate) -> Next {
        let target = target_of(state, running);
        let code = code_of(running);
        if target == DECOY {
            state.broken |= broken::DECOY;
        }
        let is_first = running.seen.issuers[..usize::from(index)]
            .iter()
            .all(|issuer| *issuer == Issuer::Nobody);
        if is_first {
            self.count_asked(state, running, target);
        }
        if matches!(fate, Fate::Yes | Fate::YesLost)
            && let Some(Some(text)) = state.texts.get_mut(usize::from(code))
        {
            text.is_used = true;
        }
        match fate {
            Fate::Yes => {
                running.accepted = running.seen.issuers[usize::from(index)];
                return Next::Go(Place::Consume, part::ONLY);
            }
            Fate::No => {}
            _ => running.facts.has_failed = true,
        }
        self.next_candidate(running, usize::from(index) + 1)
    }

    /// Counts a guess that the provider is asked about, and checks that no equal guess is asked at the same time.
    fn count_asked(&self, state: &mut State, running: &Running, target: usize) {
        let opened = running.opened;
        if state.targets[target].opened == opened {
            state.targets[target].asked += 1;
            if state.targets[target].asked > self.config.attempts {
                state.broken |= broken::I1;
            }
        }
        let is_the_same = |other: &&Running| {
            matches!(other.place, Place::Ask(_))
                && target_of(state, other) == target
                && code_of(other) == code_of(running)
                && (other.opened, other.seen.generation) == (opened, running.seen.generation)
                && other.now.abs_diff(running.now) < GUESS_PENDING
                // Only the last guess is remembered.
                && other.seen.left.abs_diff(running.seen.left) <= 1
        };
        if state
            .running
            .iter()
            .flatten()
            .any(|other| is_the_same(&other))
        {
            state.broken |= broken::I1;
        }
    }

    fn consume_and_go_on(&self, state: &mut State, running: &mut Running, fate: Fate) -> Next {
        let target = target_of(state, running);
        let (code, winner) = (code_of(running), winner_of(running));
        let mut is_written = false;
        let consumed = by_fate(fate, || {
            let consumed = self.consume(state, target, running, code, winner);
            is_written = consumed.is_ok();
            consumed
        });
        if is_written {
            self.success_written(state, running, target);
        }
        match consumed {
            None if running.place == Place::Consume => Next::Go(Place::ConsumeAgain, part::ONLY),
            None => Next::refuse(Refusal::LedgerUnavailable),
            Some(Ok(())) => Next::Go(Place::Clear, part::ONLY),
            Some(Err(seen)) => {
                let is_its_own = seen.winner == winner || !self.has(Guard::ConsumeWinner);
                if seen.state == RecordState::Verified && seen.won_code == code && is_its_own {
                    let number = &mut state.numbers[self.number_of(target)];
                    number.forgiven = number.forgiven.max(running.charged);
                    return Next::Go(Place::Clear, part::ONLY);
                }
                // A resend has begun a new generation meanwhile. It ends this code only when its message has been sent.
                if seen.generation > running.generation
                    && seen.state.is_open()
                    && seen.first == running.seen.first
                    && seen.issuers.contains(&running.accepted)
                {
                    running.generation = seen.generation;
                    return Next::Go(Place::Consume, part::ONLY);
                }
                Next::refuse(match seen.state {
                    RecordState::Failed | RecordState::None => Refusal::VerificationNotFound,
                    RecordState::Verified => Refusal::AlreadyVerified,
                    RecordState::Canceled => Refusal::VerificationCanceled,
                    _ => Refusal::NewerCode,
                })
            }
        }
    }

    /// Checks a success that has just been written.
    fn success_written(&self, state: &mut State, running: &Running, target: usize) {
        let mut broken = Self::wrong_success(state, running, target);
        let code = usize::from(code_of(running));
        if let Some(Some(text)) = state.texts.get_mut(code) {
            if text.winner != NONE {
                broken |= broken::I3;
            }
            if text.has_ended || running.is_replaced {
                broken |= broken::END;
            }
            text.winner = winner_of(running);
        }
        end_texts(state, target);
        let number = &mut state.numbers[self.number_of(target)];
        number.forgiven = number.forgiven.max(running.charged);
        state.broken |= broken;
    }

    /// The broken properties of a success with a wrong number, reference, code or time.
    fn wrong_success(state: &State, running: &Running, target: usize) -> u32 {
        let text = state.texts.get(usize::from(code_of(running)));
        let is_right = text
            .and_then(Option::as_ref)
            .is_some_and(|text| usize::from(text.target) == target);
        if target == DECOY {
            broken::DECOY
        } else if !is_right || running.seen.expires <= running.now {
            broken::I6
        } else {
            0
        }
    }

    /// Records that the caller is told that the code is right.
    fn right(state: &mut State, running: &Running) -> Next {
        let text = state.texts.get(usize::from(code_of(running)));
        match text.and_then(Option::as_ref) {
            None => state.broken |= broken::I6,
            Some(text) if text.winner != winner_of(running) => state.broken |= broken::I3,
            Some(_) => {}
        }
        Next::End(Answer::Right)
    }

    fn note_and_end(&self, state: &mut State, running: &mut Running, fate: Fate) -> Next {
        let target = target_of(state, running);
        let has_failed = running.facts.has_failed;
        // A sign-in records no verdict. If it did, an outage of the provider would show in the record.
        let is_of_sign_in = session_of(running) != NONE;
        let outcome = if is_of_sign_in || has_failed && self.has(Guard::NoteUnclear) {
            GuessOutcome::Unclear
        } else {
            GuessOutcome::Invalid
        };
        let (code, generation) = (code_of(running), running.seen.generation);
        by_fate(fate, || {
            Self::note(state, target, generation, code, outcome);
            if !self.has(Guard::PayFirst) {
                let record = &mut state.targets[target].record;
                record.left = record.left.saturating_sub(1);
            }
        });
        Next::refuse(if running.facts.is_locked {
            Refusal::DestinationLocked
        } else if has_failed {
            Refusal::ProviderTimeout
        } else {
            Refusal::InvalidCode
        })
    }
}

/// The properties that a payment for a guess breaks. A payment costs an attempt. Three kinds of payment are wrong: a
/// payment for a guess that is already known to be wrong, a payment with the last attempt at the code of another
/// session, and a second payment for the same question of a sign-in.
fn broken_by_payment(before: &Record, asked: Option<(u8, u8)>, code: u8) -> u32 {
    if before.guess == code && before.guess_outcome == GuessOutcome::Invalid {
        return broken::I1;
    }
    let Some((session, nonce)) = asked else {
        return 0;
    };
    let is_anothers = before.left == 1 && before.owner != session;
    let is_delivered_twice = before.guess == code && before.guess_question == nonce;
    if is_anothers || is_delivered_twice {
        broken::OWNER
    } else {
        0
    }
}

/// Whether a code of a provider can be right by this record.
fn can_be_sent(record: &Record) -> bool {
    record
        .issuers
        .iter()
        .any(|issuer| matches!(issuer, Issuer::Provider { .. }))
}

pub(crate) fn code_of(running: &Running) -> u8 {
    match running.request {
        Request::Verify { code, .. } | Request::Answer { code, .. } => code,
        _ => NONE,
    }
}

/// The session and the question that a guess answers.
fn question_of(running: &Running) -> Option<(u8, u8)> {
    match running.request {
        Request::Answer { nonce, .. } => Some((session_of(running), nonce)),
        _ => None,
    }
}

/// The winner of a guess, who gets the same success again after repeating the key or answering the same question.
pub(crate) fn winner_of(running: &Running) -> u8 {
    match running.request {
        Request::Verify { key, .. } => key,
        Request::Answer { nonce, .. } => 100 + nonce,
        _ => NONE,
    }
}
