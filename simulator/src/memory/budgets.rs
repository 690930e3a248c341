//! Counters of sources and prefixes, and the budgets of days.

use std::collections::BTreeMap;

use otp_lambda::{
    ledger::{ItemName, SpendOutcome, Spending},
    time::Millis,
};

use super::Items;

#[derive(Debug)]
pub(super) struct Counter {
    pub(super) count: u64,
    pub(super) expires: Millis,
}

#[derive(Debug)]
pub(super) struct Budget {
    pub(super) spent: BTreeMap<String, u64>,
    pub(super) expires: Millis,
}

impl Items {
    pub(super) fn count(&mut self, item: &ItemName, cap: u64, expires: Millis) -> bool {
        let count = self.counted(item);
        if count >= cap {
            return false;
        }
        self.counters.insert(
            item.clone(),
            Counter {
                count: count + 1,
                expires,
            },
        );
        true
    }

    pub(super) fn counted(&self, item: &ItemName) -> u64 {
        self.counters.get(item).map_or(0, |counter| counter.count)
    }

    pub(super) fn uncount(&mut self, item: &ItemName) {
        if let Some(counter) = self.counters.get_mut(item) {
            counter.count = counter.count.saturating_sub(1);
        }
    }

    pub(super) fn spent(&self, spending: &Spending) -> Vec<u64> {
        let budget = self.budgets.get(&spending.item);
        let spent = |counter| Some(*budget?.spent.get(counter)?);
        let lines = spending.lines.iter();
        lines
            .map(|line| spent(&line.counter).unwrap_or_default())
            .collect()
    }

    pub(super) fn spend(&mut self, spending: &Spending) -> SpendOutcome {
        if let Some(line) = spending.over(&self.spent(spending)) {
            return SpendOutcome::OverCap(line.clone());
        }
        if spending.lines.is_empty() {
            return SpendOutcome::Spent(Vec::new());
        }
        let expires = spending.expires;
        let new = || Budget {
            spent: BTreeMap::new(),
            expires,
        };
        let budget = self
            .budgets
            .entry(spending.item.clone())
            .or_insert_with(new);
        budget.expires = expires;
        for line in spending.lines.iter().filter(|line| line.amount > 0) {
            *budget.spent.entry(line.counter.clone()).or_default() += line.amount;
        }
        let counters = spending.lines.iter().zip(self.spent(spending));
        let added = counters.map(|(line, counter)| if line.amount > 0 { counter } else { 0 });
        SpendOutcome::Spent(added.collect())
    }

    pub(super) fn refund(&mut self, spending: &Spending) {
        let Some(budget) = self.budgets.get_mut(&spending.item) else {
            return;
        };
        let mut left = budget.spent.clone();
        for line in spending.adding() {
            let spent = left.get(&line.counter).copied().unwrap_or_default();
            let Some(rest) = spent.checked_sub(line.amount) else {
                return;
            };
            left.insert(line.counter.clone(), rest);
        }
        budget.spent = left;
    }
}
