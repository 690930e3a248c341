//! The properties that are checked after every step, whichever step it was.

use crate::ledger::LOCKED;
use crate::state::{
    self, Answer, HTTP, NONE, Number, Record, RecordState, Request, SIGN_INS, State, Time,
    is_of_sign_in,
};
use crate::{Action, DECOY, Model, broken};

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
        let failures = state.numbers.map(|number| number.failures);
        if self.config.sign_in && failures[HTTP] + failures[SIGN_INS] > LOCKED {
            state.broken |= broken::I2;
        }
        if state.spent[HTTP] + state.spent[SIGN_INS] > self.config.budget {
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

impl Model {
    /// Checks that a step over HTTP does not depend on the counters of sign-ins: with other counters it does the same.
    pub(crate) fn check_doors(
        &self,
        before: &State,
        action: Action,
        after: &mut State,
        answer: Option<Answer>,
    ) {
        let Action::Step { slot, part, fate } = action else {
            return;
        };
        let request = before.running[usize::from(slot)].map(|running| running.request);
        // An operator's unlock clears both doors.
        let is_of_http = request.is_some_and(|request| {
            !is_of_sign_in(request) && !matches!(request, Request::Unlock { .. })
        });
        if !self.config.sign_in || !is_of_http {
            return;
        }
        let mut other = before.clone();
        other.numbers[SIGN_INS] = Number {
            sends: [before.clock; 3],
            failures: LOCKED / 2,
            last_failure: before.clock,
            ..Number::default()
        };
        other.spent[SIGN_INS] = NONE;
        let of_other = self.step(&mut other, slot, part, fate);
        other.numbers[SIGN_INS] = after.numbers[SIGN_INS];
        other.spent[SIGN_INS] = after.spent[SIGN_INS];
        other.broken = after.broken;
        if answer != of_other || other != *after {
            after.broken |= broken::DOORS;
        }
    }
}

/// Whether a guess at the code of a message can be right by this record.
fn can_be_verified(record: &Record, code: usize, text: &state::Text) -> bool {
    let issuer = state::Issuer::Provider {
        provider: text.provider,
        reference: text.reference,
    };
    let is_refused =
        usize::from(record.guess) == code && record.guess_outcome == state::GuessOutcome::Invalid;
    record.state.is_open() && record.issuers.contains(&issuer) && !is_refused
}

/// The broken property, if a step wrongly changed a verification that had ended. A send may change such a verification.
/// All other steps may make only two changes: redeeming a success, and noting the provider's verdict on a guess.
pub(crate) fn changed_an_end(before: &Record, after: &Record, opens: bool, now: Time) -> u32 {
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
