//! The service under attack, over every store: what reaches the provider, however many ask at once and for however long.
//!
//! Each test prints its figures and has a control: the same check over a ledger with one flaw, where it must fail. So the
//! suite shows that it would see the flaw.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test fails by panicking, and prints its figures"
)]

mod cross;
mod days;
#[path = "../ledger/emulator.rs"]
#[expect(dead_code, reason = "shared with the tests of the ledger")]
mod emulator;
mod fake;
mod guesses;
mod sends;
mod sign_ins;
mod store;
mod table;
mod waits;
mod windows;
mod world;
