//! How much of the budgets is used.

use crate::ledger::SpendingLine;

/// How much of the fullest budget is used, in percent: of all budgets for all messages, and of those for one country.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BudgetUse {
    pub all: Option<u64>,
    pub country: Option<u64>,
}

impl BudgetUse {
    /// A message was spent. `counters` has the counter of each line after that.
    pub(crate) fn spent(&mut self, lines: &[SpendingLine], counters: &[u64]) {
        for (line, counter) in lines.iter().zip(counters) {
            // A line of zero only looks at another item.
            if line.amount > 0 && line.cap > 0 {
                let used = u128::from(*counter) * 100 / u128::from(line.cap);
                self.raise(line, u64::try_from(used).unwrap_or(u64::MAX));
            }
        }
    }

    /// A message was refused, because this line would exceed its cap.
    pub(crate) fn refused(&mut self, line: &SpendingLine) {
        self.raise(line, 100);
    }

    fn raise(&mut self, line: &SpendingLine, used: u64) {
        let fullest = if line.of_country {
            &mut self.country
        } else {
            &mut self.all
        };
        *fullest = (*fullest).max(Some(used));
    }
}
