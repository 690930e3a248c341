//! The properties that are checked after every step, whichever step it was.

use crate::ledger::LOCKED;
use crate::state::{self, Record, RecordState, State, Time};
use crate::{DECOY, Model, broken};

impl Model {
    /// Checks what must hold in every state.
    pub(crate) fn check(&self, state: &mut State) {
        for number in &state.numbers {
            if number.failures > LOCKED
                || number.failures < number.charged - number.forgiven.min(number.charged)
            {
                state.broken |= broken::I2;
            }
        }
        if state.spent > self.config.budget {
            state.broken |= broken::I8;
        }
        if state.running.iter().any(Option::is_some) {
            return;
        }
        for (index, target) in state.targets.iter().enumerate().take(DECOY) {
            let of_target = |(_, text): &(usize, &state::Text)| usize::from(text.target) == index;
            let newest = (0..)
                .zip(state.texts.iter().flatten())
                .filter(of_target)
                .max_by_key(|(code, text)| (text.generation, *code));
            let Some((code, text)) = newest else { continue };
            if !text.has_ended
                && !text.is_replaced
                && !text.is_used
                && text.good_until > state.clock
                && !can_be_verified(&target.record, code, text)
            {
                state.broken |= broken::LIVE;
            }
        }
    }
}

/// Whether a guess at the code of a text can be right by this record.
fn can_be_verified(record: &Record, code: usize, text: &state::Text) -> bool {
    let issuer = state::Issuer::Provider {
        provider: text.provider,
        reference: text.reference,
    };
    let is_refused =
        usize::from(record.guess) == code && record.guess_outcome == state::GuessOutcome::Invalid;
    record.state.is_open() && record.issuers.contains(&issuer) && !is_refused
}

/// An ended verification changes only by a send. Two changes are allowed: a success is redeemed, and a verdict is
/// noted.
pub(crate) fn changed_an_end(before: &Record, after: &Record, opens: bool, now: Time) -> u16 {
    let is_final = matches!(
        before.state,
        RecordState::Verified | RecordState::Canceled | RecordState::Failed
    );
    let was_kept = Record {
        redeemed_by: before.redeemed_by,
        guess_outcome: before.guess_outcome,
        ..*after
    } == *before;
    let comes_back = after.generation != before.generation && after.sends > 1;
    if is_final && !was_kept && !opens || comes_back && before.phase(now).is_end() {
        broken::END
    } else {
        0
    }
}
