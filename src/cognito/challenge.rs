//! The challenge that Create returns.
//!
//! The challenge has three parts. Cognito shows the public parameters to the app, gives the private
//! parameters to Verify, and gives the metadata to later Define and Create triggers. The metadata
//! and the private parameters name the sign-in session.

use super::event::Request;
use super::session;
use super::{Policy, ShownNumber};
use crate::service::{Challenge, ChallengeState, Service, SignIn};
use crate::time::Millis;
use serde_json::{Value, json};

/// The response to Create. `nonce` identifies this challenge. Cognito may deliver one answer twice,
/// and both deliveries have the same nonce. The answer to another challenge has another nonce.
pub(super) fn response(
    shown: ShownNumber,
    sign_in: &SignIn,
    challenge: &Challenge,
    nonce: &str,
) -> Value {
    let session = session::write(&sign_in.session);
    let state = match challenge.state {
        ChallengeState::Sent => "sent",
        ChallengeState::Adopted => "adopted",
        ChallengeState::TryAgain => "try_again",
        ChallengeState::Ended => "ended",
    };
    json!({
        // Cognito accepts only strings as parameters.
        "publicChallengeParameters": {
            "destinationNumber": shown.of(&sign_in.number),
            "codeLength": challenge.code_length.to_string(),
            "attemptsLeft": challenge.left.to_string(),
            "expiresAt": challenge.expires.rfc3339(),
            "resendAt": challenge.resend.rfc3339_rounded_up(),
            "state": state,
        },
        "challengeMetadata": format!("v1:{session}:{}", challenge.left),
        "privateChallengeParameters": { "reference": session, "nonce": nonce },
    })
}

/// The response to Create when there is no challenge. The response leaves no attempt, and no answer
/// to it is right. So Define ends the sign-in.
pub(super) fn ended_response(service: &Service, policy: &Policy, request: &Request) -> Value {
    // The app sees the same masked number as always, even though the lookup has failed.
    let number = request
        .stored_number(&service.rules().extra_prefixes)
        .ok()
        .or_else(|| service.made_up_number(&request.user))
        .map(|number| policy.shown_number.of(&number));
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
