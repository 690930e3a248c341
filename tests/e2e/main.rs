//! The shipped binary and programs that are not ours: Lambda's own runtime interface emulator in
//! front of it, the simulator as the provider and a DynamoDB emulator behind it, boto3 beside it.
//!
//! `make test` sets up what is needed and runs these; a plain `cargo test` lists them as ignored.
//! `make soak` runs `kills` and `load` for longer.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod boto3;
mod cognito;
mod function;
mod kills;
mod ledger;
mod load;
mod operate;
mod outside;
mod random;
mod shipped;
mod table;
mod triggers;
