//! The scenarios of the front door with End User Messaging instead of Pinpoint, and the tests of its own features.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod channels;
mod document;
mod end_user_messaging_wire;
mod exchange;
mod feedback;
mod migration;
mod money;
mod notify;
mod other_settings;
mod own_texts;
mod packaged;
mod pool;
mod provider_words;
#[path = "with_end_user_messaging.rs"]
mod with;
mod world;

// `path` lets the files of the scenarios lie beside `scenarios.rs`.
#[path = "scenarios.rs"]
mod scenarios;
