//! The service under attack, with both ledgers. The limits must hold for any number of requests at once, and for any
//! length of time.
//!
//! Each test prints its figures and has controls: with a ledger that has a flaw, the same check must fail. The controls
//! show that the check notices the flaw.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test fails by panicking, and prints its figures"
)]

mod cross;
mod days;
mod devices;
#[path = "../ledger/emulator.rs"]
#[expect(dead_code, reason = "shared with the tests of the ledger")]
mod emulator;
mod fake;
mod guesses;
mod late;
mod late_sign_ins;
mod sends;
mod sign_ins;
mod store;
mod table;
mod waits;
mod windows;
mod world;
