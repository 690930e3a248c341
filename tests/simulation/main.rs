//! The service, a ledger in memory, a provider made up here and a clock that is moved: many short lives of them, each the
//! same whenever its seed is the same.
//!
//! Actors ask at once, and a scheduler that throws dice decides before every step who goes on; steps fail, are lost, come
//! late, and whole operations die between any two of them. What must hold is checked at every step from the outside: from
//! what the provider was asked and said, and what callers were told ([`books`]). A failing seed prints its last steps.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test fails by panicking, and says what it did"
)]

mod actors;
mod books;
mod controls;
#[path = "../ledger/emulator.rs"]
#[expect(dead_code, reason = "the tests of the ledger by itself use the rest")]
mod emulator;
mod kills;
mod naive;
mod provider;
mod seeds;
mod sim;
mod store;
mod twin;
