//! The two stores that every test uses, and their contents as seen from outside.

use crate::emulator::Emulator;
use otp_lambda::ledger::Ledger;
use otp_lambda::time::Millis;
use simulator::MemoryLedger;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// Makes an empty store.
pub(crate) type NewStore = fn() -> Store;

#[derive(Clone)]
pub(crate) enum Store {
    Memory(MemoryLedger),
    DynamoDb(Emulator),
}

/// Makes two tests of each function that takes a [`NewStore`]: one for each store.
macro_rules! over_both_stores {
    ($($test:ident),+ $(,)?) => {
        mod memory {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $test() {
                super::$test(crate::store::Store::memory).await;
            })+
        }
        mod dynamodb {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $test() {
                super::$test(crate::store::Store::dynamodb).await;
            })+
        }
    };
}
pub(crate) use over_both_stores;

/// As [`over_both_stores`], but a small run uses only the ledger in memory. This is enough for a small run, because the
/// tests of the ledger's contract run on both stores.
macro_rules! over_both_stores_if_full {
    ($($test:ident),+ $(,)?) => {
        mod memory {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $test() {
                super::$test(crate::store::Store::memory).await;
            })+
        }
        mod dynamodb {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $test() {
                if simulator::is_full() {
                    super::$test(crate::store::Store::dynamodb).await;
                }
            })+
        }
    };
}
pub(crate) use over_both_stores_if_full;

impl Store {
    pub(crate) fn memory() -> Self {
        Self::Memory(MemoryLedger::new())
    }

    pub(crate) fn dynamodb() -> Self {
        Self::DynamoDb(Emulator::new())
    }

    pub(crate) fn is_memory(&self) -> bool {
        matches!(self, Self::Memory(_))
    }

    pub(crate) fn ledger(&self) -> Arc<dyn Ledger> {
        match self {
            Self::Memory(ledger) => Arc::new(ledger.clone()),
            Self::DynamoDb(emulator) => Arc::new(emulator.ledger()),
        }
    }

    /// Deletes the expired items.
    pub(crate) fn sweep(&self, now: Millis) {
        match self {
            Self::Memory(ledger) => ledger.sweep(now),
            Self::DynamoDb(emulator) => {
                emulator.sweep(now);
                // Nobody reads the recorded requests, and those of a year take much memory.
                emulator.requests();
            }
        }
    }

    /// The budgets' counters that are not zero.
    pub(crate) fn spent(&self) -> BTreeMap<String, u64> {
        let all: Vec<(String, u64)> = match self {
            Self::Memory(ledger) => ledger.budgets().into_values().flatten().collect(),
            Self::DynamoDb(emulator) => {
                let mut lines = Vec::new();
                for item in emulator
                    .items()
                    .iter()
                    .filter(|item| item["pk"].as_str().unwrap().starts_with("B#"))
                {
                    let counters = item
                        .as_object()
                        .unwrap()
                        .iter()
                        .filter(|(name, _)| !["pk", "ttl", "w"].contains(&name.as_str()));
                    lines.extend(
                        counters
                            .map(|(name, n)| (name.clone(), n.as_str().unwrap().parse().unwrap())),
                    );
                }
                lines
            }
        };
        all.into_iter().filter(|(_, amount)| *amount > 0).collect()
    }

    /// The counts of the prefixes that are not zero, the largest first.
    pub(crate) fn prefixes(&self) -> Vec<u64> {
        let mut counts: Vec<u64> = match self {
            Self::Memory(ledger) => ledger
                .counters()
                .into_iter()
                .filter(|(key, _)| key.as_str().starts_with("R#"))
                .map(|(_, n)| n)
                .collect(),
            Self::DynamoDb(emulator) => {
                let items = emulator.items();
                let prefixes = items
                    .iter()
                    .filter(|item| item["pk"].as_str().unwrap().starts_with("R#"));
                prefixes
                    .map(|item| item["n"].as_str().unwrap().parse().unwrap())
                    .collect()
            }
        };
        counts.retain(|count| *count > 0);
        counts.sort_unstable_by(|a, b| b.cmp(a));
        counts
    }

    /// The whole content.
    pub(crate) fn snapshot(&self) -> String {
        match self {
            Self::Memory(ledger) => format!("{ledger:?}"),
            Self::DynamoDb(emulator) => {
                let mut items: Vec<String> =
                    emulator.items().iter().map(ToString::to_string).collect();
                items.sort();
                items.join("\n")
            }
        }
    }
}

impl fmt::Display for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Memory(_) => "memory",
            Self::DynamoDb(_) => "DynamoDB",
        })
    }
}
