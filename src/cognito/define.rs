//! Define: decides the next step of a sign-in. It is a pure function of Cognito's report.

use super::session::Metadata;

/// Whether Cognito asks for the password before the code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepUp {
    Off,
    Required,
}

/// A completed round of a sign-in. A field that is missing or unreadable is `None`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Round {
    /// The challenge: `CUSTOM_CHALLENGE` is this function's, the others are Cognito's.
    pub name: Option<String>,
    /// Whether the user passed it.
    pub result: Option<bool>,
    /// The `challengeMetadata` that Create returned.
    pub metadata: Option<String>,
}

impl Round {
    pub(super) fn is_ours(&self) -> bool {
        self.is(CUSTOM)
    }

    fn is(&self, name: &str) -> bool {
        self.name.as_deref() == Some(name)
    }

    fn passed(&self, name: &str) -> bool {
        self.is(name) && self.result == Some(true)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// The user is signed in.
    Tokens,
    /// The sign-in is over.
    Fail,
    /// The user gets this challenge next.
    Ask(&'static str),
}

const CUSTOM: &str = "CUSTOM_CHALLENGE";
const SRP: &str = "SRP_A";
const PASSWORD: &str = "PASSWORD_VERIFIER";

/// The most rounds with this function's challenge that a sign-in may take, resends included.
const MAX_ROUNDS: usize = 10;

/// Decides the next step of a sign-in from its completed rounds.
///
/// Tokens are issued only if the last round is a correct answer to this function's own challenge.
/// Any unexpected round fails the sign-in.
#[must_use]
pub fn define(session: &[Round], user_not_found: bool, step_up: StepUp) -> Decision {
    let rounds = match (step_up, session) {
        (StepUp::Off, rounds) => rounds,
        (StepUp::Required, [srp]) if srp.passed(SRP) => return Decision::Ask(PASSWORD),
        (StepUp::Required, [srp, password, rounds @ ..])
            if srp.passed(SRP) && password.passed(PASSWORD) =>
        {
            rounds
        }
        (StepUp::Required, _) => return Decision::Fail,
    };
    if !rounds.iter().all(Round::is_ours) {
        return Decision::Fail;
    }
    let Some((last, earlier)) = rounds.split_last() else {
        return Decision::Ask(CUSTOM);
    };
    // A correct answer ends a sign-in. So this function has not asked for a round that follows one.
    if earlier.iter().any(|round| round.passed(CUSTOM)) || rounds.len() > MAX_ROUNDS {
        return Decision::Fail;
    }
    if last.passed(CUSTOM) {
        return if user_not_found {
            Decision::Fail
        } else {
            Decision::Tokens
        };
    }
    let attempts_left = last
        .metadata
        .as_deref()
        .and_then(Metadata::parse)
        .map_or(0, |metadata| metadata.attempts_left);
    if attempts_left == 0 || rounds.len() == MAX_ROUNDS {
        Decision::Fail
    } else {
        Decision::Ask(CUSTOM)
    }
}
