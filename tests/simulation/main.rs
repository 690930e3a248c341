//! Simulates the service with a ledger in memory, a fake provider and a clock that the test moves. A test makes many
//! short runs. A seed always gives the same run.
//!
//! Several actors send requests at once. Before every step, a random scheduler chooses the operation that continues.
//! Steps fail, come late or lose their response, and whole operations crash between any two steps.
//!
//! The invariants are checked from outside at every step, by the calls to the provider and the responses to callers
//! ([`books`]). If a seed fails, its last steps are printed.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test fails by panicking, and prints its steps"
)]

mod actors;
mod books;
mod controls;
mod drills;
#[path = "../ledger/emulator.rs"]
#[expect(dead_code, reason = "only the tests of the ledger use the rest")]
mod emulator;
mod kills;
mod naive;
mod provider;
mod seeds;
mod sim;
mod store;
mod strangers;
mod twin;
