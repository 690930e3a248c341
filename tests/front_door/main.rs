//! Tests through the front door: an event goes in, an answer comes out, the simulator stands for
//! AWS. Every test ends by searching its own log, written at the most talkative level, for the
//! codes and numbers it used.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod codes;
mod cognito;
mod cognito_define;
mod cognito_members;
mod cognito_outages;
mod cognito_strangers;
mod hostile;
mod ledger;
mod limits;
mod logs;
mod origins;
mod pool;
mod provider;
mod public;
mod send;
mod settings;
mod tls;
mod verify;
mod wire;
mod world;
