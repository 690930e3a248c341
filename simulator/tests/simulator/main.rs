//! The simulator over real HTTP, as its clients meet it.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that panics has failed"
)]

mod client;
mod control;
mod end_user_messaging;
mod failures;
mod front;
mod inbox;
mod scenarios;
mod wire;
