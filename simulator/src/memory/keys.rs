//! Idempotency keys.

use otp_lambda::{
    ledger::{Fingerprint, HeldKey, Holder, ItemName, KEY_KEPT, KeyOutcome, KeyReservation},
    time::Millis,
};

use super::Items;

#[derive(Debug)]
pub(super) struct IdempotencyKey {
    pub(super) held: HeldKey,
    holder: Holder,
    pub(super) released: bool,
}

impl Items {
    pub(super) fn reserve_key(
        &mut self,
        item: &ItemName,
        holder: Holder,
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
                        holder,
                        released: false,
                    },
                );
                KeyReservation::Reserved
            }
        }
    }

    pub(super) fn release_key(&mut self, item: &ItemName, holder: Holder) {
        if let Some(item) = self.held_by(item, holder) {
            item.released = true;
        }
    }

    pub(super) fn finish_key(&mut self, item: &ItemName, holder: Holder, response: Option<&str>) {
        if let Some(item) = self.held_by(item, holder) {
            item.held.outcome = response.map_or(KeyOutcome::Unclear, |response| {
                KeyOutcome::Answered(response.to_owned())
            });
        }
    }
    fn held_by(&mut self, item: &ItemName, holder: Holder) -> Option<&mut IdempotencyKey> {
        let key = self.idempotency_keys.get_mut(item)?;
        (key.holder == holder).then_some(key)
    }
}
