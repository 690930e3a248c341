//! The sign-in session, as Cognito keeps it for us. This function keeps no session of its own.
//!
//! A session is written as one letter, which tells a real one from a decoy, and its name. Cognito returns that text to Define
//! and Create in the metadata of a round, and to Verify in the private parameters.

use crate::service::Session;

/// The content of `challengeMetadata`: `v1:<session>:<attempts left>`.
pub(super) struct Metadata<'a> {
    /// A session as [`write()`] writes it, unless the metadata is not ours.
    pub(super) session: &'a str,
    pub(super) attempts_left: u16,
}

impl<'a> Metadata<'a> {
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        let (session, attempts_left) = text.strip_prefix("v1:")?.split_once(':')?;
        let is_session = (1..=64).contains(&session.len())
            && session
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
        // `parse` alone would accept a sign.
        let is_number = (1..=3).contains(&attempts_left.len())
            && attempts_left.bytes().all(|byte| byte.is_ascii_digit());
        if !is_session || !is_number {
            return None;
        }
        Some(Self {
            session,
            attempts_left: attempts_left.parse().ok()?,
        })
    }
}

/// The first letter of a real session.
const REAL: &str = "r";

/// The first letters of decoys. The version before wrote the ones after the first.
const DECOYS: [&str; 5] = ["s", "t", "u", "v", "w"];

pub(super) fn write(session: &Session) -> String {
    let letter = if session.is_decoy { DECOYS[0] } else { REAL };
    format!("{letter}{}", session.name)
}

/// Reads a session. Returns nothing if it is not one of ours.
pub(super) fn read(text: &str) -> Option<Session> {
    let (letter, name) = text.split_at_checked(1)?;
    let is_decoy = DECOYS.contains(&letter);
    if letter != REAL && !is_decoy {
        return None;
    }
    // The form that `ReferenceId::random` gives it.
    let is_name = name.len() == 32
        && name
            .bytes()
            .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    is_name.then(|| Session {
        name: name.to_owned(),
        is_decoy,
    })
}
