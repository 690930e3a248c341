//! Devices that have verified a number.

use otp_lambda::{ledger::ItemName, time::Millis};

use super::Items;

impl Items {
    pub(super) fn remember_device(&mut self, item: &ItemName, expires: Millis) {
        self.devices.insert(item.clone(), expires);
    }

    pub(super) fn knows_device(&self, item: &ItemName, now: Millis) -> bool {
        self.devices.get(item).is_some_and(|expires| *expires > now)
    }
}
