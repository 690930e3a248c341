//! The scenarios of the front door with End User Messaging in Pinpoint's place, and what only it can do.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

include!("scenarios.rs");

mod channels;
mod end_user_messaging_wire;
mod feedback;
mod migration;
mod other_settings;
mod own_texts;
#[path = "with_end_user_messaging.rs"]
mod with;
