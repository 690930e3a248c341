//! The challenge that Create returns.
//!
//! Cognito shows its public parameters to the app. It keeps its metadata for our later Define and
//! Create triggers, and its private parameters for Verify. Both name the sign-in session, so that
//! this function keeps no session of its own.

use super::event::Request;
use crate::service::{Challenge, ChallengeState, Service, Session, SignIn};
use crate::time::Millis;
use serde_json::{Value, json};

/// The content of `challengeMetadata`: `v1:<session reference>:<attempts left>`.
pub(super) struct Metadata<'a> {
    pub(super) reference: &'a str,
    pub(super) attempts_left: u16,
}

impl<'a> Metadata<'a> {
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        let (reference, attempts_left) = text.strip_prefix("v1:")?.split_once(':')?;
        let is_reference = (1..=64).contains(&reference.len())
            && reference
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
        // `parse` alone would accept a sign.
        let is_number = (1..=3).contains(&attempts_left.len())
            && attempts_left.bytes().all(|byte| byte.is_ascii_digit());
        if !is_reference || !is_number {
            return None;
        }
        Some(Self {
            reference,
            attempts_left: attempts_left.parse().ok()?,
        })
    }
}

/// The first letter of a session reference: `r` for a real session, the next letters for decoys by
/// their depth.
const KINDS: &str = "rstuvw";

fn reference_of(session_name: &str, decoy: u8) -> String {
    let kind = KINDS.chars().nth(decoy.into()).unwrap_or('r');
    format!("{kind}{session_name}")
}

/// Reads a session reference. Returns nothing if it is not one of ours.
pub(super) fn session_of(reference: &str) -> Option<Session> {
    let (kind, name) = reference.split_at_checked(1)?;
    let decoy = u8::try_from(KINDS.find(kind)?).ok()?;
    // The form that `ReferenceId::random` gives it.
    let is_name = name.len() == 32
        && name
            .bytes()
            .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    is_name.then(|| Session {
        name: name.to_owned(),
        decoy,
    })
}

/// The response to Create. `nonce` names this challenge: repeated deliveries of one answer carry the
/// same nonce, answers to other challenges another one.
pub(super) fn response(sign_in: &SignIn, challenge: &Challenge, nonce: &str) -> Value {
    let reference = reference_of(&sign_in.session.name, challenge.decoy);
    let state = match challenge.state {
        ChallengeState::Sent => "sent",
        ChallengeState::Adopted => "adopted",
        ChallengeState::TryAgain => "try_again",
        ChallengeState::Ended => "ended",
    };
    json!({
        // Cognito accepts only strings as parameters.
        "publicChallengeParameters": {
            "destinationNumber": sign_in.number.to_string(),
            "codeLength": challenge.code_length.to_string(),
            "attemptsLeft": challenge.left.to_string(),
            "expiresAt": challenge.expires.rfc3339(),
            "resendAt": challenge.resend.rfc3339_rounded_up(),
            "state": state,
        },
        "challengeMetadata": format!("v1:{reference}:{}", challenge.left),
        "privateChallengeParameters": { "reference": reference, "nonce": nonce },
    })
}

/// The response to Create if there is no challenge: one that no answer passes, with no attempts
/// left, so that Define ends the sign-in.
pub(super) fn ended_response(service: &Service, request: &Request) -> Value {
    // The app sees the same masked number as always, even though the lookup failed.
    let number = request
        .usable_number()
        .or_else(|| service.made_up_number(&request.user))
        .map(|number| number.to_string());
    json!({
        "publicChallengeParameters": {
            "destinationNumber": number.unwrap_or_default(),
            "codeLength": service.rules().defaults.code_length.to_string(),
            "attemptsLeft": "0",
            "expiresAt": Millis(0).rfc3339(),
            "resendAt": Millis(0).rfc3339(),
            "state": "ended",
        },
        "challengeMetadata": "v1:none:0",
        "privateChallengeParameters": { "reference": "none", "nonce": "none" },
    })
}
