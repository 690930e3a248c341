//! The steps of the ledger: each is one conditional write or one read, as in `otp_lambda::ledger::Ledger`.

use crate::Model;
use crate::broken;
use crate::config::Guard;
use crate::state::{
    GuessOutcome, Issuers, Key, KeyState, NONE, Number, Record, RecordState, Running, State, Time,
};

/// How long a guess without a verdict blocks a retry.
pub(crate) const GUESS_PENDING: Time = 5;
/// How long a winner gets the same success again.
pub(crate) const SUCCESS_REPLAY: Time = 20;
/// How long a success can be redeemed.
pub(crate) const REDEEMABLE: Time = 600;
/// The number of failures at which a number is locked.
pub const LOCKED: u8 = 100;
/// Failures, with the time for which they stop sends. The second wait is longer than any run of the model.
const STOPS: [(u8, Time); 2] = [(10, 900), (30, NEVER)];
/// A time later than every time of a run.
pub(crate) const NEVER: Time = Time::MAX;

/// The record that a send writes over an ended verification.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Opening {
    pub(crate) state: RecordState,
    pub(crate) now: Time,
    pub(crate) expires: Time,
    pub(crate) left: u8,
    pub(crate) issuers: Issuers,
    pub(crate) plain_until: Time,
    pub(crate) owner: u8,
    pub(crate) holder: u8,
}

/// The changes that a resend makes to an open verification.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reopening {
    pub(crate) expires: Time,
    pub(crate) issuers: Issuers,
    pub(crate) plain_until: Time,
    pub(crate) holder: u8,
}

/// The outcome of a reserved send.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Settled {
    Sent(Issuers),
    Unclear,
    Failed {
        plain_until: Time,
    },
    /// A sign-in has sent nothing, and its record must not show that.
    Unsent(Issuers),
    Back(Record),
}

/// A wait before the next code to a number, and its reason.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Wait {
    /// Zero if the number need not wait; [`NEVER`] if it is locked.
    pub(crate) until: Time,
    pub(crate) guesses: bool,
}

/// The wait of a number at `now`; `lock` failures lock it.
pub(crate) fn wait_of(windows: &[(usize, Time)], number: &Number, lock: u8, now: Time) -> Wait {
    if number.failures >= lock {
        return Wait {
            until: NEVER,
            guesses: true,
        };
    }
    let after_guesses = STOPS
        .iter()
        .rev()
        .find(|(failures, _)| number.failures >= *failures)
        .filter(|_| number.last_failure > 0)
        .map_or(0, |(_, wait)| {
            number.last_failure.saturating_add(*wait).min(NEVER - 1)
        });
    let next = next_send(windows, number);
    let until = next.max(after_guesses);
    if until > now {
        Wait {
            until,
            guesses: after_guesses > next,
        }
    } else {
        Wait::default()
    }
}

/// The earliest time at which every window has room.
pub(crate) fn next_send(windows: &[(usize, Time)], number: &Number) -> Time {
    windows
        .iter()
        .map(|(sends, length)| match number.sends[sends - 1] {
            0 => 0,
            oldest => oldest + length,
        })
        .max()
        .unwrap_or(0)
}

impl Model {
    /// Spends an attempt. Returns the record after it, or the error of a refusal with the record as it stands.
    pub(crate) fn pay(
        &self,
        state: &mut State,
        target: usize,
        code: u8,
        asked: Option<(u8, u8)>,
        now: Time,
    ) -> Result<Record, Record> {
        let record = &mut state.targets[target].record;
        let can_be_retried = match record.guess_outcome {
            GuessOutcome::None | GuessOutcome::Unclear => true,
            GuessOutcome::Invalid => !self.has(Guard::PayNotWrong),
            GuessOutcome::Pending => {
                !self.has(Guard::PayNotPending) || record.guess_at + GUESS_PENDING <= now
            }
        };
        let is_delivered_twice = self.has(Guard::PayQuestion)
            && asked.is_some_and(|(_, nonce)| record.guess_question == nonce);
        let may_follow = record.guess != code || can_be_retried && !is_delivered_twice;
        let may_take_the_last =
            asked.is_none_or(|(session, _)| record.left > 1 || record.owner == session);
        let may_be_guessed = record.generation > 0
            && (record.state.is_open() || !self.has(Guard::PayOpen))
            && (record.expires > now || !self.has(Guard::PayUnexpired))
            && (record.left > 0 || !self.has(Guard::PayLeft))
            && (may_take_the_last || !self.has(Guard::PayOwner))
            && may_follow;
        if !may_be_guessed {
            return Err(*record);
        }
        // This only protects the model's own arithmetic: with a guard left out, the number could become negative.
        record.left = record.left.saturating_sub(1);
        record.guess = code;
        record.guess_outcome = GuessOutcome::Pending;
        record.guess_at = now;
        record.guess_question = asked.map_or(NONE, |(_, nonce)| nonce);
        Ok(*record)
    }

    /// Counts a guess as failed. Returns the failures and the epoch, or `None` if the number is locked.
    pub(crate) fn charge(
        &self,
        state: &mut State,
        number: usize,
        lock: u8,
        now: Time,
    ) -> Option<(u8, u8)> {
        let number = &mut state.numbers[number];
        if number.failures >= lock && self.has(Guard::ChargeLocked) {
            return None;
        }
        number.failures += 1;
        number.last_failure = now;
        number.charged += 1;
        Some((number.failures, number.epoch))
    }

    pub(crate) fn clear(&self, state: &mut State, number: usize, (failures, epoch): (u8, u8)) {
        let number = &mut state.numbers[number];
        if number.epoch != epoch && self.has(Guard::ClearEpoch) {
            return;
        }
        number.failures = if self.has(Guard::ClearUpToCharge) {
            number.failures.saturating_sub(failures)
        } else {
            0
        };
        number.epoch += 1;
        if number.failures == 0 {
            number.last_failure = 0;
        }
    }

    pub(crate) fn unlock(state: &mut State, number: usize) {
        let number = &mut state.numbers[number];
        number.failures = 0;
        number.last_failure = 0;
        number.epoch += 1;
        number.forgiven = number.charged;
    }

    /// Takes a place in the windows of a number. If the step is done, returns the number's record with the new place.
    /// If the step is refused, the error is the unchanged record.
    pub(crate) fn reserve_send(
        &self,
        state: &mut State,
        number: usize,
        now: Time,
    ) -> Result<Number, Number> {
        let number = &mut state.numbers[number];
        let holds = |(sends, length): &(usize, Time)| {
            let oldest = number.sends[sends - 1];
            oldest == 0 || oldest + length <= now
        };
        let windows = !self.has(Guard::WindowsHold) || self.config.windows.iter().all(holds);
        let stops = number.failures < LOCKED
            && STOPS.iter().all(|(failures, wait)| {
                number.failures < *failures
                    || number.last_failure == 0
                    || number.last_failure.saturating_add(*wait) <= now
            });
        if !windows || !stops && self.has(Guard::StopsHold) {
            return Err(*number);
        }
        if !stops {
            state.broken |= broken::I7;
        }
        number.sends = [now, number.sends[0], number.sends[1]];
        Ok(*number)
    }

    pub(crate) fn open(&self, state: &mut State, target: usize, seen: u8, new: &Opening) -> bool {
        let target = &mut state.targets[target];
        let record = &mut target.record;
        if record.generation != seen && self.has(Guard::OpenGeneration) {
            return false;
        }
        *record = Record {
            generation: seen + 1,
            state: new.state,
            expires: new.expires,
            first: new.now,
            left: new.left,
            sends: 1,
            issuers: new.issuers,
            plain_until: new.plain_until,
            used: record.used,
            owner: new.owner,
            holder: new.holder,
            ..Record::default()
        };
        target.opened += 1;
        target.asked = 0;
        true
    }

    pub(crate) fn reopen(
        &self,
        state: &mut State,
        target: usize,
        seen: &Record,
        resend: &Reopening,
    ) -> bool {
        let allowed = self.config.attempts;
        let record = &mut state.targets[target].record;
        let is_as_seen = (record.generation, record.state) == (seen.generation, seen.state);
        let may_be_reopened = (is_as_seen || !self.has(Guard::ReopenGeneration))
            && (record.state.is_open() && record.left > 0 || !self.has(Guard::ReopenOpen));
        if !may_be_reopened {
            return false;
        }
        record.generation = seen.generation + 1;
        record.state = RecordState::Reserved;
        record.expires = resend.expires;
        record.sends += 1;
        record.issuers = resend.issuers;
        record.plain_until = resend.plain_until;
        record.holder = resend.holder;
        record.guess = NONE;
        record.guess_outcome = GuessOutcome::None;
        record.guess_at = 0;
        record.guess_question = NONE;
        if !self.has(Guard::ReopenKeepsLeft) {
            record.left = allowed;
        }
        true
    }

    pub(crate) fn settle(
        &self,
        state: &mut State,
        target: usize,
        generation: u8,
        holder: u8,
        outcome: &Settled,
    ) {
        let record = &mut state.targets[target].record;
        let is_its_own = record.generation == generation;
        let is_reserved = record.state == RecordState::Reserved || !self.has(Guard::SettleReserved);
        let is_the_holder = record.holder == holder || !self.has(Guard::SettleHolder);
        if !is_its_own || !is_reserved || !is_the_holder {
            return;
        }
        match *outcome {
            Settled::Sent(issuers) => {
                record.state = RecordState::Sent;
                if self.has(Guard::SettleOnlyNewest) {
                    record.issuers = issuers;
                }
                for text in state.texts.iter_mut().flatten() {
                    if usize::from(text.target) == target && text.generation < generation {
                        text.is_replaced = true;
                    }
                }
            }
            Settled::Unclear => record.state = RecordState::Unclear,
            Settled::Failed { plain_until } => {
                record.state = RecordState::Failed;
                record.plain_until = plain_until;
            }
            Settled::Unsent(issuers) => {
                record.state = RecordState::Sent;
                record.issuers = issuers;
            }
            Settled::Back(earlier) => {
                record.state = earlier.state;
                record.expires = earlier.expires;
                record.sends = earlier.sends;
                record.issuers = earlier.issuers;
                record.plain_until = earlier.plain_until;
            }
        }
    }

    pub(crate) fn note(
        state: &mut State,
        target: usize,
        generation: u8,
        code: u8,
        outcome: GuessOutcome,
    ) {
        let record = &mut state.targets[target].record;
        if record.generation == generation && record.guess == code {
            record.guess_outcome = outcome;
        }
    }

    /// Writes a success. A refusal returns the record as it stands.
    pub(crate) fn consume(
        &self,
        state: &mut State,
        target: usize,
        running: &Running,
        code: u8,
        winner: u8,
    ) -> Result<(), Record> {
        let record = &mut state.targets[target].record;
        let may_be_won = (record.generation == running.generation
            || !self.has(Guard::ConsumeGeneration))
            && (record.state.is_open() || !self.has(Guard::ConsumeOpen));
        if !may_be_won {
            return Err(*record);
        }
        record.state = RecordState::Verified;
        record.winner = winner;
        record.won_code = code;
        record.won_at = running.now;
        record.used |= 1 << code.min(7);
        Ok(())
    }

    /// Ends an open verification. A refusal returns the record as it stands.
    pub(crate) fn cancel(
        &self,
        state: &mut State,
        target: usize,
        seen: u8,
        now: Time,
    ) -> Result<(), Record> {
        let record = &mut state.targets[target].record;
        let may_be_canceled = (record.generation == seen || !self.has(Guard::CancelGeneration))
            && (record.is_open(now) || !self.has(Guard::CancelOpen));
        if record.generation == 0 || !may_be_canceled {
            return Err(*record);
        }
        record.state = RecordState::Canceled;
        if record.generation != seen {
            state.broken |= broken::CANCEL;
        }
        Ok(())
    }

    pub(crate) fn redeem(
        &self,
        state: &mut State,
        target: usize,
        seen: u8,
        redeemer: u8,
        now: Time,
    ) -> Result<(), Record> {
        let record = &mut state.targets[target].record;
        let is_in_time = record.won_at + REDEEMABLE > now;
        let may_be_redeemed = (record.state == RecordState::Verified
            || record.generation > 0 && !self.has(Guard::RedeemVerified))
            && (record.generation == seen || !self.has(Guard::RedeemGeneration))
            && (record.owner == NONE || !self.has(Guard::RedeemNotSignIn))
            && (record.redeemed_by == NONE || !self.has(Guard::RedeemOnce))
            && (is_in_time || !self.has(Guard::RedeemInTime));
        if !may_be_redeemed {
            return Err(*record);
        }
        if record.state != RecordState::Verified
            || record.owner != NONE
            || record.redeemed_by != NONE
            || record.generation != seen
            || !is_in_time
        {
            state.broken |= broken::REDEEM;
        }
        record.redeemed_by = redeemer;
        Ok(())
    }

    /// Reserves a key, or returns its state if another request has reserved it.
    pub(crate) fn reserve_key(
        &self,
        state: &mut State,
        key: usize,
        target: u8,
        holder: u8,
        now: Time,
    ) -> Result<(), Key> {
        let held = &mut state.keys[key];
        if held.state != KeyState::Free && self.has(Guard::KeyReserved) {
            return Err(*held);
        }
        *held = Key {
            state: KeyState::Pending,
            target,
            at: now,
            holder,
            ..Key::default()
        };
        Ok(())
    }

    pub(crate) fn spend(&self, state: &mut State, door: usize, cap: u8) -> bool {
        if state.spent[door] >= cap && self.has(Guard::SpendCap) {
            return false;
        }
        state.spent[door] += 1;
        true
    }

    pub(crate) fn refund(state: &mut State, door: usize) {
        state.spent[door] = state.spent[door].saturating_sub(1);
    }
}
