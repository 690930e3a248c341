//! Tests through the front door: an event goes in, an answer comes out, the simulator stands for
//! AWS. Every test ends by searching its own log, written at the most talkative level, for the
//! codes and numbers it used.
//!
//! Here the provider is Pinpoint; the same scenarios run with End User Messaging in `end_user_messaging.rs`.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

include!("scenarios.rs");

mod codes;
mod pinpoint_wire;
mod settings;
mod start;
#[path = "with_pinpoint.rs"]
mod with;
