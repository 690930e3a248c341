//! The sends and failures of numbers.

use otp_lambda::{
    ledger::{
        Charge, FAILURES_KEPT, GUESS_STOPS, ItemName, LOCKED, NUMBER_KEPT, Number, NumberCharge,
        REMEMBERED_SENDS, Reservation, SendWindow,
    },
    time::Millis,
};

use super::{Items, MemoryLedger};

#[derive(Debug, Default)]
pub(super) struct KnownNumber {
    pub(super) number: Number,
    /// How often the failures were cleared.
    epoch: u64,
    pub(super) expires: Millis,
}

impl MemoryLedger {
    /// Whether the windows and the failures allow one more send.
    #[must_use]
    pub fn has_room(number: &Number, windows: &[SendWindow], now: Millis) -> bool {
        let has_room = |window: &SendWindow| {
            let oldest = window
                .sends
                .checked_sub(1)
                .and_then(|newer| number.sends.get(newer));
            oldest.is_none_or(|at| *at <= now.minus(window.length))
        };
        number.failures < LOCKED
            && GUESS_STOPS.iter().all(|stop| {
                let due = number.failures >= stop.failures;
                !due || number.last_failure <= now.minus(stop.wait)
            })
            && windows.iter().all(has_room)
    }
}

impl Items {
    pub(super) fn number(&self, item: &ItemName) -> Number {
        self.numbers
            .get(item)
            .map(|known| known.number.clone())
            .unwrap_or_default()
    }

    pub(super) fn reserve_send(
        &mut self,
        item: &ItemName,
        windows: &[SendWindow],
        now: Millis,
    ) -> Reservation {
        let number = self
            .numbers
            .get(item)
            .map(|known| known.number.clone())
            .unwrap_or_default();
        if !MemoryLedger::has_room(&number, windows, now) {
            return Reservation::Refused(number);
        }
        let known = self.numbers.entry(item.clone()).or_default();
        known.number.sends.insert(0, now);
        known.number.sends.truncate(REMEMBERED_SENDS);
        known.keep(now);
        Reservation::Reserved(known.number.clone())
    }

    pub(super) fn charge_number(
        &mut self,
        item: &ItemName,
        lock: u32,
        now: Millis,
    ) -> NumberCharge {
        let known = self.numbers.entry(item.clone()).or_default();
        if known.number.failures >= lock {
            return NumberCharge::Locked;
        }
        known.number.failures += 1;
        known.number.last_failure = now;
        known.keep(now);
        NumberCharge::Charged(Charge {
            failures: known.number.failures,
            epoch: known.epoch,
        })
    }

    pub(super) fn clear_failures(&mut self, item: &ItemName, charge: Charge, now: Millis) {
        if let Some(known) = self
            .numbers
            .get_mut(item)
            .filter(|known| known.epoch == charge.epoch)
        {
            known.number.failures = known.number.failures.saturating_sub(charge.failures);
            known.epoch += 1;
            known.keep(now);
        }
    }

    pub(super) fn unlock(&mut self, item: &ItemName, now: Millis) {
        let known = self.numbers.entry(item.clone()).or_default();
        known.number.failures = 0;
        known.epoch += 1;
        known.keep(now);
    }
}

impl KnownNumber {
    /// Gives the number a time to live, a longer one while there are failures.
    fn keep(&mut self, now: Millis) {
        if self.number.failures == 0 {
            self.number.last_failure = Millis::default();
            self.expires = now.plus(NUMBER_KEPT);
        } else {
            self.expires = now.plus(FAILURES_KEPT);
        }
    }
}
