//! The refusals of steps: verdicts on the state of the ledger, and the errors that callers get.

use crate::error::{Error, ErrorCode, Limit};
use crate::ledger::{
    CodeDigest, GUESS_PENDING, GuessOutcome, Issuer, Phase, REDEEMABLE, Redeemer, SUCCESS_REPLAY,
    State, Success, Verification, Winner,
};
use crate::otp::Otp;
use crate::policy::Wait;
use crate::time::Millis;
use std::time::Duration;

/// The result of a guess that no attempt was spent on.
pub(super) enum GuessVerdict {
    /// The winner has repeated its own request, and gets the same success again.
    SameSuccess,
    Refused(Error),
}

/// The result of a request to redeem.
pub(super) enum RedeemVerdict {
    /// The success of this generation has not been redeemed yet.
    Redeemable(u64),
    /// This caller has redeemed the success already, and gets the same yes again.
    SameRedeemer,
    Refused(Error),
}

/// Judges a guess that no attempt was spent on, by the verification as it stands.
pub(super) fn judge_guess(
    seen: Option<&Verification>,
    guess: &CodeDigest,
    winner: &Winner,
    now: Millis,
) -> GuessVerdict {
    let Some(seen) = seen else {
        return GuessVerdict::Refused(not_found());
    };
    let repeated = seen.last_guess.as_ref().filter(|last| last.code == *guess);
    let is_pending =
        |outcome, at| outcome == GuessOutcome::Pending && now.since(at) < GUESS_PENDING;
    // An end is final. The provider does not know of the end, and would still accept the code.
    GuessVerdict::Refused(match (seen.phase(now), repeated) {
        (Phase::Verified, _) => {
            let is_same = |won: &Success| {
                won.code == *guess && won.winner == *winner && now.since(won.at) < SUCCESS_REPLAY
            };
            if seen.success.as_ref().is_some_and(is_same) {
                return GuessVerdict::SameSuccess;
            }
            already_verified()
        }
        // The verdict on this guess is on record, so its repeat costs nothing.
        (Phase::Pending | Phase::Exhausted, Some(last))
            if last.outcome == GuessOutcome::Invalid =>
        {
            wrong_code(seen.left)
        }
        (Phase::Pending, Some(_)) => in_progress("This very code is being checked."),
        (Phase::Exhausted, Some(last)) if is_pending(last.outcome, last.at) => {
            in_progress("This very code is being checked.")
        }
        (Phase::Exhausted, _) => exhausted(),
        // The verification was not open a moment ago. A send or another guess has changed it since.
        (Phase::Pending, None) => in_progress("Another request is changing this verification."),
        (Phase::Expired, _) => expired(),
        (Phase::Canceled, _) => canceled(),
        (Phase::Failed, _) => not_found(),
    })
}

/// Whether the ledger already holds this very success. This happens in two cases: an earlier try has recorded the
/// success and only the response to the earlier try was lost, or an earlier request with the same idempotency key has
/// succeeded.
pub(super) fn has_won(seen: Option<&Verification>, success: &Success) -> bool {
    seen.is_some_and(|seen| {
        seen.state == State::Verified
            && seen
                .success
                .as_ref()
                .is_some_and(|won| won.winner == success.winner && won.code == success.code)
    })
}

/// The refusal of a right guess that came too late, by what has changed the verification meanwhile.
pub(super) fn too_late(seen: Option<&Verification>) -> Error {
    let Some(seen) = seen else { return not_found() };
    match seen.state {
        State::Verified => already_verified(),
        State::Canceled => canceled(),
        State::Failed => not_found(),
        State::Sent => newer_code("A newer code was sent meanwhile: use that one.", seen.left),
        State::Reserved | State::Unclear => newer_code(
            "A newer code may have been sent meanwhile: if it arrives, use that one.",
            seen.left,
        ),
    }
}

fn newer_code(detail: &'static str, left: u8) -> Error {
    Error::new(ErrorCode::InvalidCode, detail).with_attempts_left(left)
}

/// Judges a request to redeem by the verification as it stands. The redeemer may repeat its request for `repeatable`.
pub(super) fn judge_redeem(
    seen: Option<&Verification>,
    redeemer: &Redeemer,
    repeatable: Duration,
    now: Millis,
) -> RedeemVerdict {
    // The success of a sign-in counts for that sign-in alone.
    let Some(seen) = seen.filter(|seen| seen.owner.is_none()) else {
        return RedeemVerdict::Refused(not_found());
    };
    // Items of earlier versions do not say when they were redeemed.
    let redeemed_at = seen.redeemed_at.or_else(|| Some(seen.success.as_ref()?.at));
    let in_time = seen
        .success
        .as_ref()
        .is_some_and(|success| now.since(success.at) < REDEEMABLE);
    RedeemVerdict::Refused(match seen.phase(now) {
        Phase::Verified
            if seen.redeemed_by.as_ref() == Some(redeemer)
                && in_time
                && now.since(redeemed_at.unwrap_or_default()) < repeatable =>
        {
            return RedeemVerdict::SameRedeemer;
        }
        Phase::Verified if seen.redeemed_by.is_some() => Error::new(
            ErrorCode::AlreadyVerified,
            "This success has been redeemed before. It can be redeemed once.",
        ),
        Phase::Verified if in_time => return RedeemVerdict::Redeemable(seen.generation),
        Phase::Verified => Error::new(
            ErrorCode::CodeExpired,
            format!(
                "The success is more than {} minutes old: verify again.",
                REDEEMABLE.as_secs() / 60
            ),
        ),
        Phase::Pending => in_progress("The code has not been verified yet."),
        Phase::Expired => expired(),
        Phase::Exhausted => exhausted(),
        Phase::Canceled => canceled(),
        Phase::Failed => not_found(),
    })
}

pub(super) fn wrong_code(left: u8) -> Error {
    Error::new(ErrorCode::InvalidCode, "The code is wrong.").with_attempts_left(left)
}

pub(super) fn not_found() -> Error {
    Error::new(
        ErrorCode::VerificationNotFound,
        "No code was sent to this number under this reference, or it was sent more than a day ago.",
    )
}

/// The refusal when `FOREIGN_CODES` is off and the caller could know of a foreign code.
pub(super) fn not_found_but_maybe_foreign() -> Error {
    Error::new(
        ErrorCode::VerificationNotFound,
        "No code was sent to this number under this reference, or it was sent more than a day ago. If other software sends \
         codes under this reference, set FOREIGN_CODES to on.",
    )
}

/// The refusal of a right guess at a foreign code, while this program sends a code under the same reference.
pub(super) fn maybe_foreign() -> Error {
    in_progress(
        "The code was accepted, but another request is sending a code under the same reference, and it may be that one. Ask \
         for the status in a moment: if it is `verified`, the code was right.",
    )
}

/// The refusal of a guess at a foreign code, which can be repeated at `until`.
pub(super) fn foreign_limited(until: Millis, now: Millis) -> Error {
    rate_limited(
        Limit::Number,
        "Too many codes of other software were tried for this number.",
        until.since(now),
    )
}

pub(super) fn locked() -> Error {
    Error::new(
        ErrorCode::DestinationLocked,
        "Too many wrong codes were given for this number. An operator can unlock it.",
    )
    .with_field("destinationNumber")
}

fn already_verified() -> Error {
    Error::new(
        ErrorCode::AlreadyVerified,
        "This verification has succeeded already: a code works once.",
    )
}

fn expired() -> Error {
    Error::new(
        ErrorCode::CodeExpired,
        "The code has expired: send a new one.",
    )
    .with_attempts_left(0)
}

fn exhausted() -> Error {
    Error::new(
        ErrorCode::AttemptsExhausted,
        "No guess is left for this code: send a new one.",
    )
    .with_attempts_left(0)
}

fn canceled() -> Error {
    Error::new(
        ErrorCode::VerificationCanceled,
        "This verification was canceled: send a new code.",
    )
    .with_attempts_left(0)
}

pub(super) fn in_progress(detail: &'static str) -> Error {
    Error::new(ErrorCode::VerificationInProgress, detail).with_retry_after(Duration::from_secs(1))
}

pub(super) fn rate_limited(limit: Limit, detail: &'static str, wait: Duration) -> Error {
    Error::new(ErrorCode::RateLimited, detail)
        .with_limit(limit)
        .with_retry_after(wait)
}

/// The refusal of a number that has to wait, or is locked.
pub(super) fn number_limited(wait: Wait, now: Millis) -> Error {
    match wait.until {
        None => locked(),
        Some(until) if wait.guesses => rate_limited(
            Limit::Guesses,
            "Too many wrong codes were given for this number.",
            until.since(now),
        ),
        Some(until) => rate_limited(
            Limit::Number,
            "Too many codes were requested for this number.",
            until.since(now),
        ),
    }
}

/// Refuses a guess whose length differs from that of the open code, if the length of the code is known. `has_length`
/// says whether an issuer makes codes of a length. The length is unknown in three cases:
///
/// - The number is a test number, whose code has a length of its own.
/// - A resend was unclear, so either of two codes may be right.
/// - The provider of a resend cannot make codes of the first code's length.
pub(super) fn check_length(
    seen: Option<&Verification>,
    otp: &Otp,
    has_length: impl Fn(&Issuer, u8) -> bool,
    now: Millis,
) -> Result<(), Error> {
    let is_known = |seen: &&Verification| {
        seen.phase(now) == Phase::Pending
            && matches!(&*seen.issuers, [issuer] if has_length(issuer, seen.code_length))
    };
    match seen.filter(is_known) {
        Some(seen) if seen.code_length != otp.length() => {
            let detail = format!("The code has {} characters.", seen.code_length);
            Err(Error::invalid_parameter("otp", detail))
        }
        _ => Ok(()),
    }
}
