//! Tests of the shipped binary together with other programs: Lambda's runtime interface emulator, a
//! DynamoDB emulator, boto3, and a user pool emulator. The simulator is the provider.
//!
//! `make test` installs the programs and runs these tests. A plain `cargo test` ignores these tests.
//! `make soak` runs `kills`, `load` and `linear` for longer, and `bench::rate`.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

#[path = "../../benches/mod.rs"]
mod bench;
mod boto3;
mod cognito;
mod function;
mod kills;
mod ledger;
mod linear;
mod load;
mod notify;
mod operate;
mod outside;
mod random;
mod shipped;
mod size;
mod table;
mod triggers;
