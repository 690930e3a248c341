//! Idempotency keys.

use otp_lambda::{
    ledger::{Fingerprint, HeldKey, ItemName, KEY_KEPT, KeyOutcome, KeyReservation},
    time::Millis,
};

use super::Items;

#[derive(Debug)]
pub(super) struct IdempotencyKey {
    pub(super) held: HeldKey,
    pub(super) released: bool,
}

impl Items {
    pub(super) fn reserve_key(
        &mut self,
        item: &ItemName,
        fingerprint: &Fingerprint,
        now: Millis,
    ) -> KeyReservation {
        match self.idempotency_keys.get(item) {
            Some(item) if !item.released && item.held.at > now.minus(KEY_KEPT) => {
                KeyReservation::Held(item.held.clone())
            }
            _ => {
                let held = HeldKey {
                    fingerprint: fingerprint.clone(),
                    at: now,
                    outcome: KeyOutcome::Pending,
                };
                self.idempotency_keys.insert(
                    item.clone(),
                    IdempotencyKey {
                        held,
                        released: false,
                    },
                );
                KeyReservation::Reserved
            }
        }
    }

    pub(super) fn release_key(&mut self, item: &ItemName) {
        if let Some(item) = self.idempotency_keys.get_mut(item) {
            item.released = true;
        }
    }

    pub(super) fn finish_key(&mut self, item: &ItemName, response: Option<&str>) {
        if let Some(item) = self.idempotency_keys.get_mut(item) {
            item.held.outcome = response.map_or(KeyOutcome::Unclear, |response| {
                KeyOutcome::Answered(response.to_owned())
            });
        }
    }
}
