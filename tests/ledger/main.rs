//! Tests of the ledger: one contract for every store, and what only the one in DynamoDB can get wrong.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod clauses;
mod contract;
mod costs;
mod dynamodb;
mod emulator;
mod operations;
mod races;
