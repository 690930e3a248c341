//! Messages that leave the provider, and the properties that must hold then.

use crate::plan::Plan;
use crate::send::key_of;
use crate::state::{NONE, Running, SIGN_INS, State, Text, Time};
use crate::{Model, PAUSE_KEPT, SHORT, VALIDITY, broken, session_of, target_of};

impl Model {
    /// Records that a message leaves the provider.
    pub(crate) fn text_leaves(&self, state: &mut State, running: &Running, plan: &Plan) {
        let target = target_of(state, running);
        let number = self.number_of(target);
        let record = &state.targets[target].record;
        let now = running.now;
        let mut broken = 0;
        let mut in_windows = vec![0; self.config.windows.len()];
        let mut texts = 0;
        for text in state.texts.iter().flatten() {
            texts += u8::from(self.door_of(usize::from(text.target)) == self.door_of(target));
            let same_target = usize::from(text.target) == target;
            if same_target && text.generation == plan.generation {
                broken |= broken::I5;
            }
            if text.key == key_of(running) && text.key != NONE {
                broken |= broken::I4;
            }
            if self.number_of(usize::from(text.target)) == number {
                for ((_, length), count) in self.config.windows.iter().zip(&mut in_windows) {
                    *count += usize::from(text.sent + length > now);
                }
            }
        }
        for ((sends, _), count) in self.config.windows.iter().zip(in_windows) {
            if count >= *sends {
                broken |= broken::I7;
            }
        }
        if self.is_beside_http(state, target, now) {
            broken |= broken::I7;
        }
        if texts >= state.spent[self.door_of(target)] {
            broken |= broken::I8;
        }
        let is_recorded = record.generation > plan.generation
            || record.generation == plan.generation
                && (!record.state.is_open() || record.issuers.contains(&plan.issuer));
        if !is_recorded {
            broken |= broken::I5;
        }
        if state.paused > 0 && state.paused + PAUSE_KEPT <= now {
            broken |= broken::PAUSE;
        }
        if session_of(running) != NONE && target == crate::DECOY {
            broken |= broken::DECOY;
        }
        state.broken |= broken;
        let has_ended = record.generation < plan.generation || !record.state.is_open();
        // A newer code was sent while this one was on its way.
        let is_replaced = !record.issuers.contains(&plan.issuer);
        let text = Text {
            target: u8::try_from(target).unwrap_or(NONE),
            generation: plan.generation,
            provider: running.provider,
            reference: plan.reference,
            sent: now,
            good_until: state.clock + VALIDITY,
            key: key_of(running),
            is_used: false,
            has_ended,
            is_replaced,
            winner: NONE,
        };
        if let Some(free) = state.texts.iter_mut().find(|text| text.is_none()) {
            *free = Some(text);
        }
    }

    /// Whether a sign-in sends a message although the messages of both doors (HTTP and sign-ins) already fill a window.
    /// If a message was still on its way when the sign-in began, the sign-in may not know of the message. Such a
    /// message is not counted here.
    fn is_beside_http(&self, state: &State, target: usize, now: Time) -> bool {
        let is_known =
            |text: &Text, length: Time| text.sent + SHORT < now && text.sent + length > now;
        let counts = |(sends, length): &(usize, Time)| {
            let texts = state.texts.iter().flatten();
            texts.filter(|text| is_known(text, *length)).count() >= *sends
        };
        self.door_of(target) == SIGN_INS && self.config.windows.iter().any(counts)
    }
}
