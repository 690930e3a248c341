//! Tests of the simulator over real HTTP.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod client;
mod control;
mod end_user_messaging;
mod failures;
mod front;
mod inbox;
mod pool;
mod scenarios;
mod wire;
