//! The sign-in session. This function does not store sessions: Cognito keeps each session and hands it back.
//!
//! A session is written as one letter and its name. The letter tells a real session from a decoy: the session of a
//! sign-in that can never succeed. Cognito returns letter and name to Define and Create in the metadata of a round, and
//! to Verify in the private parameters.

use crate::service::Session;

/// The content of `challengeMetadata`: `v1:<session>:<attempts left>`.
pub(super) struct Metadata<'a> {
    /// The session as [`write()`] writes it. Metadata of other software may have anything here.
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

/// The first letters of decoys. This version writes only `s`. Earlier versions wrote the others, too.
const DECOYS: [&str; 5] = ["s", "t", "u", "v", "w"];

pub(super) fn write(session: &Session) -> String {
    let letter = if session.is_decoy { DECOYS[0] } else { REAL };
    format!("{letter}{}", session.name)
}

/// `None` if this function has not written the text.
pub(super) fn read(text: &str) -> Option<Session> {
    let (letter, name) = text.split_at_checked(1)?;
    let is_decoy = DECOYS.contains(&letter);
    if letter != REAL && !is_decoy {
        return None;
    }
    // `ReferenceId::random` makes names of this form.
    let is_name = name.len() == 32
        && name
            .bytes()
            .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    is_name.then(|| Session {
        name: name.to_owned(),
        is_decoy,
    })
}
