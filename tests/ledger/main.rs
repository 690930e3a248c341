//! Tests of the ledger: the contract, with both ledgers, and the behaviour that only the one in DynamoDB has.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod clauses;
mod contract;
mod costs;
mod country_budgets;
mod deadlines;
mod doors;
mod dynamodb;
mod earlier_versions;
mod emulator;
mod faults;
mod looks;
mod operations;
mod races;
mod refused_sign_ins;
mod repeats;
mod service;
mod shared;
mod side_by_side;
mod sizes;
mod slow_windows;
mod sources;
mod trips;
mod verification;
