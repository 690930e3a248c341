//! The answers of the service in the words of the model.

use model::state::{Answer, Challenge, Phase, RecordState, Refusal, Time};
use otp_lambda::error::{Error, ErrorCode};
use otp_lambda::ledger;
use otp_lambda::service::{self, ChallengeState};
use otp_lambda::time::Millis;

/// The model's time for a moment.
pub(crate) fn time_of(zero: Millis, at: Millis) -> Result<Time, String> {
    if at == Millis(0) {
        return Ok(0);
    }
    let since = at.0.checked_sub(zero.0).filter(|since| since % 1000 == 0);
    let seconds = since.and_then(|since| Time::try_from(since / 1000).ok());
    seconds.ok_or_else(|| format!("a strange time: {at:?}"))
}

pub(crate) fn challenge(
    challenge: Result<service::Challenge, Error>,
    to_time: &impl Fn(Millis) -> Result<Time, String>,
) -> Result<Answer, String> {
    let challenge = match challenge {
        Ok(challenge) => challenge,
        Err(error) => return refused(&error),
    };
    Ok(Answer::Challenge {
        state: match challenge.state {
            ChallengeState::Sent => Challenge::Sent,
            ChallengeState::Adopted => Challenge::Adopted,
            ChallengeState::TryAgain => Challenge::TryAgain,
            ChallengeState::Ended => Challenge::Ended,
        },
        left: challenge.left,
        expires: to_time(challenge.expires)?,
        resend: to_time(challenge.resend)?,
    })
}

pub(crate) fn record_state(state: ledger::State) -> RecordState {
    match state {
        ledger::State::Reserved => RecordState::Reserved,
        ledger::State::Sent => RecordState::Sent,
        ledger::State::Unclear => RecordState::Unclear,
        ledger::State::Failed => RecordState::Failed,
        ledger::State::Verified => RecordState::Verified,
        ledger::State::Canceled => RecordState::Canceled,
    }
}

pub(crate) fn phase(phase: ledger::Phase) -> Phase {
    match phase {
        ledger::Phase::Pending => Phase::Pending,
        ledger::Phase::Verified => Phase::Verified,
        ledger::Phase::Expired => Phase::Expired,
        ledger::Phase::Exhausted => Phase::Exhausted,
        ledger::Phase::Canceled => Phase::Canceled,
        ledger::Phase::Failed => Phase::Failed,
    }
}

pub(crate) fn told(answer: Result<Answer, Error>) -> Result<Answer, String> {
    answer.or_else(|error| refused(&error))
}

pub(crate) fn refused(error: &Error) -> Result<Answer, String> {
    Ok(Answer::Refused(match error.code() {
        ErrorCode::AlreadyVerified => Refusal::AlreadyVerified,
        ErrorCode::AttemptsExhausted => Refusal::AttemptsExhausted,
        ErrorCode::CodeExpired => Refusal::CodeExpired,
        ErrorCode::DestinationLocked => Refusal::DestinationLocked,
        ErrorCode::IdempotencyKeyInUse => Refusal::IdempotencyKeyInUse,
        ErrorCode::IdempotencyKeyReused => Refusal::IdempotencyKeyReused,
        ErrorCode::InvalidCode if error.detail().starts_with("A newer code") => Refusal::NewerCode,
        ErrorCode::InvalidCode => Refusal::InvalidCode,
        ErrorCode::LedgerUnavailable => Refusal::LedgerUnavailable,
        ErrorCode::ProviderRejected => Refusal::ProviderRejected,
        ErrorCode::ProviderTimeout => Refusal::ProviderTimeout,
        ErrorCode::RateLimited => Refusal::RateLimited,
        ErrorCode::ResendLimit => Refusal::ResendLimit,
        ErrorCode::ResendTooSoon => Refusal::ResendTooSoon,
        ErrorCode::SendingPaused => Refusal::SendingPaused,
        ErrorCode::VerificationCanceled => Refusal::VerificationCanceled,
        ErrorCode::VerificationInProgress => Refusal::VerificationInProgress,
        ErrorCode::VerificationNotFound => Refusal::VerificationNotFound,
        _ => return Err(format!("the model knows no {error:?}")),
    }))
}
