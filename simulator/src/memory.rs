//! The ledger in memory: the steps and conditions of the ledger in `DynamoDB`, on maps.
//!
//! This ledger shares no code with the adapter of `DynamoDB`. One test suite runs on both. If only one of the two
//! ledgers breaks the contract of the ledger, the suite fails for that ledger and passes for the other.

mod budgets;
mod devices;
mod keys;
mod numbers;
#[cfg(test)]
mod tests;
mod verifications;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use otp_lambda::{
    ledger::{
        Attempt, Charge, CodeDigest, Fingerprint, GuessOutcome, HeldKey, Holder, ItemName,
        KEY_KEPT, KeyReservation, Ledger, Number, NumberCharge, Opening, Question, Redeemer,
        Resend, Reservation, Seen, SendWindow, Settled, SpendOutcome, Spending, Success, Switches,
        Transition, Unavailable, VERIFICATION_KEPT, Verification,
    },
    time::Millis,
};

use self::{
    budgets::{Budget, Counter},
    keys::IdempotencyKey,
    numbers::KnownNumber,
};
use crate::steps::with_steps;

/// A [`Ledger`] in memory. Clones share their items.
///
/// Each step is atomic: a step holds one lock from its first read to its last write, and never waits in between. The
/// ledger has no clock. Expired items stay until a test calls [`MemoryLedger::sweep`].
#[derive(Clone, Debug, Default)]
pub struct MemoryLedger {
    items: Arc<Mutex<Items>>,
}

#[derive(Debug, Default)]
struct Items {
    switches: Switches,
    counters: BTreeMap<ItemName, Counter>,
    budgets: BTreeMap<ItemName, Budget>,
    idempotency_keys: BTreeMap<ItemName, IdempotencyKey>,
    numbers: BTreeMap<ItemName, KnownNumber>,
    /// Until when each device is remembered.
    devices: BTreeMap<ItemName, Millis>,
    verifications: BTreeMap<ItemName, Verification>,
}

impl MemoryLedger {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Deletes all items.
    pub fn reset(&self) {
        *self.items() = Items::default();
    }

    /// Sets the operator's switches.
    pub fn switch(&self, switches: Switches) {
        self.items().switches = switches;
    }

    /// Deletes the items whose time to live has passed, as `DynamoDB` does sooner or later. Tests call this whenever
    /// they move their clock. This way no test relies on an expired item.
    pub fn sweep(&self, now: Millis) {
        // Times to live are in whole seconds.
        let kept = |expires: Millis| expires.seconds().saturating_mul(1000) >= now.0;
        let items = &mut *self.items();
        items.counters.retain(|_, counter| kept(counter.expires));
        items.budgets.retain(|_, budget| kept(budget.expires));
        items
            .idempotency_keys
            .retain(|_, key| kept(key.held.at.plus(KEY_KEPT)));
        items.numbers.retain(|_, known| kept(known.expires));
        items.devices.retain(|_, expires| kept(*expires));
        items
            .verifications
            .retain(|_, verification| kept(verification.expires.plus(VERIFICATION_KEPT)));
    }

    #[must_use]
    pub fn verifications(&self) -> BTreeMap<ItemName, Verification> {
        self.items().verifications.clone()
    }

    #[must_use]
    pub fn numbers(&self) -> BTreeMap<ItemName, Number> {
        self.items()
            .numbers
            .iter()
            .map(|(key, known)| (key.clone(), known.number.clone()))
            .collect()
    }

    /// The counters of sources and prefixes.
    #[must_use]
    pub fn counters(&self) -> BTreeMap<ItemName, u64> {
        self.items()
            .counters
            .iter()
            .map(|(key, counter)| (key.clone(), counter.count))
            .collect()
    }

    /// The amounts spent, by day and counter.
    #[must_use]
    pub fn budgets(&self) -> BTreeMap<ItemName, BTreeMap<String, u64>> {
        self.items()
            .budgets
            .iter()
            .map(|(key, budget)| (key.clone(), budget.spent.clone()))
            .collect()
    }

    /// The idempotency keys that are held.
    #[must_use]
    pub fn idempotency_keys(&self) -> BTreeMap<ItemName, HeldKey> {
        let items = self.items();
        let held = items
            .idempotency_keys
            .iter()
            .filter(|(_, item)| !item.released);
        held.map(|(key, item)| (key.clone(), item.held.clone()))
            .collect()
    }

    fn items(&self) -> MutexGuard<'_, Items> {
        self.items.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Implements [`Ledger`] by the methods of [`Items`], each under the lock.
macro_rules! locked {
    ($($step:ident = $method:ident $(($arg:ident: $($type:tt)+))* -> $reply:ty;)*) => {
        #[async_trait]
        impl Ledger for MemoryLedger {
            $(async fn $method(&self, $($arg: $($type)+),*) -> Result<$reply, Unavailable> {
                Ok(self.items().$method($($arg),*))
            })*
        }
    };
}

with_steps!(locked);

impl Items {
    fn switches(&self) -> Switches {
        self.switches.clone()
    }
}
