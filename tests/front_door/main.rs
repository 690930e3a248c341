//! Tests through the front door: an event goes in, and a response comes out. The simulator plays AWS. Every test ends
//! with a search of its own log, written at the level `trace`, for the codes and numbers that it used.
//!
//! Here the provider is Pinpoint. The same scenarios run with End User Messaging in `end_user_messaging.rs`.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod codes;
mod contention;
mod document;
mod earlier_versions;
#[path = "../ledger/emulator.rs"]
#[expect(dead_code, reason = "shared with the tests of the ledger")]
mod emulator;
mod exchange;
mod guess_risk;
mod managed_instances;
mod money;
mod packaged;
mod pinpoint_wire;
mod pool;
mod settings;
mod start;
mod strangers;
#[path = "with_pinpoint.rs"]
mod with;
mod world;

// `path` lets the files of the scenarios lie beside `scenarios.rs`.
#[path = "scenarios.rs"]
mod scenarios;
