//! The facts that the books can give about a run, and the checks at its end.

use super::{Books, Chain, Fate, Invariant, ProviderCode};
use otp_lambda::ledger::{ItemName, LOCKED, Window};
use otp_lambda::provider::Channel;
use std::collections::BTreeMap;

impl Books {
    /// Whether the newest code has an attempt left.
    pub(crate) fn can_guess(&self) -> bool {
        let Some(code) = self.codes.last() else {
            return false;
        };
        let opened = code
            .operation
            .and_then(|operation| self.operations[operation].opened.as_ref());
        let chain = opened
            .and_then(|(key, _)| self.chains.get(key))
            .and_then(|chains| chains.last());
        chain.is_some_and(|chain| !chain.ended && chain.paid < chain.allowed)
    }

    pub(crate) fn is_locked(&self, number: usize) -> bool {
        let book = &self.by_number[number];
        book.charges
            .iter()
            .filter(|charge| **charge > book.cleared)
            .count()
            >= LOCKED as usize
    }

    /// Two numbers that put codes in order. The generations of an item begin at 1. After the item has expired, they
    /// begin at 1 again. The first number says how often the generations of the item had begun at 1 when the code was
    /// sent. The second number is the code's generation.
    fn generation_of(&self, code: &ProviderCode) -> Option<(u64, u64)> {
        let operation = &self.operations[code.operation?];
        let (key, generation) = operation.opened.as_ref()?;
        let eras = &self.chains[key];
        let era = eras.iter().filter(|chain| chain.first <= operation.now);
        let begun = era.filter(|chain| chain.first_generation == 1).count();
        Some((begun as u64, *generation))
    }

    /// The codes that their recipients must be able to verify now. Such a code has arrived and has not expired, the
    /// provider accepts the code, and the code's verification is open.
    pub(crate) fn verifiable(&self) -> Vec<usize> {
        let is = |&(index, code): &(usize, &ProviderCode)| {
            let chain = self.chains.get(&code.key).and_then(|chains| chains.last());
            let of_chain = |chain: &Chain| {
                let opened = code
                    .operation
                    .and_then(|of| self.operations[of].opened.as_ref());
                opened.is_some_and(|(_, generation)| *generation >= chain.first_generation)
            };
            let open = chain.is_some_and(|chain| {
                code.operation.is_some()
                    && !chain.ended
                    && chain.paid < chain.allowed
                    && of_chain(chain)
            });
            let book = &self.by_number[code.number];
            let failures = book
                .charges
                .iter()
                .filter(|charge| **charge > book.unlocked)
                .count();
            // A newer message makes an older code worthless, at the latest when the send of the newer message is
            // settled. Newer means a later generation, and not a later arrival: if two sends run at once, the message
            // of the later generation may arrive first.
            let is_newest = !self.codes.iter().any(|other| {
                other.key == code.key && self.generation_of(other) > self.generation_of(code)
            });
            open && is_newest
                && code.told > self.now
                && !code.won
                && failures < LOCKED as usize
                && self.look_up(code.number, &code.known_as, Some(&code.key), &code.code)
                    == Some(index)
        };
        self.codes
            .iter()
            .enumerate()
            .filter(is)
            .map(|(index, _)| index)
            .collect()
    }

    pub(crate) fn not_verifiable(&mut self, code: usize, said: &str) {
        self.violated(
            Invariant::Liveness,
            format!("code {code} arrived but is refused: {said}"),
        );
    }

    /// Compares the ledger's counters with the messages that were sent or may have been sent. If the ledger never
    /// failed in the run, the counters must have counted exactly these messages.
    pub(crate) fn compare_counters(&mut self) {
        let mut budgets: BTreeMap<(ItemName, String), u64> = BTreeMap::new();
        let mut prefixes: BTreeMap<ItemName, u64> = BTreeMap::new();
        let unclear = self.operations.iter().filter(|it| it.fate == Fate::Unclear);
        let unclear: Vec<_> = unclear.map(|it| (it.intent.number, it.now)).collect();
        let left: Vec<_> = self.texts.iter().copied().chain(unclear).collect();
        for (number, at) in left {
            let country = self.numbers[number].country().unwrap();
            let spendings = self.setup.budgets.spendings(country, Channel::Sms, 1, at);
            for spending in &spendings {
                for line in spending.adding() {
                    let counter = (spending.item.clone(), line.counter.clone());
                    *budgets.entry(counter).or_default() += line.amount;
                }
            }
            for rate in &self.setup.prefix_limits {
                *prefixes
                    .entry(
                        self.keys
                            .prefix(&self.numbers[number], Window::around(at, rate.window)),
                    )
                    .or_default() += 1;
            }
        }
        for (key, counters) in self.memory.budgets() {
            for (counter, count) in counters {
                let expected = budgets
                    .get(&(key.clone(), counter.clone()))
                    .copied()
                    .unwrap_or_default();
                if count != expected {
                    self.violated(
                        Invariant::I8,
                        format!("{counter} is {count}, but {expected} were sent"),
                    );
                }
            }
        }
        for (key, count) in self
            .memory
            .counters()
            .into_iter()
            .filter(|(key, _)| key.as_str().starts_with("R#"))
        {
            let expected = prefixes.get(&key).copied().unwrap_or_default();
            if count != expected {
                self.violated(
                    Invariant::I8,
                    format!("a prefix counts {count}, but {expected} were sent"),
                );
            }
        }
    }
}
