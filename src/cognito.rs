//! The triggers of an Amazon Cognito user pool: Define, Create and Verify of custom authentication, and Pre sign-up.
//!
//! Only the log says why a sign-in trigger has failed. The app does not learn the reason, because the reason could show
//! which users exist.

mod challenge;
mod define;
mod event;
mod session;
mod shown;

pub use define::{Decision, Round, StepUp, define};
pub use shown::ShownNumber;

use crate::error::{Error, ErrorCode, FunctionError};
use crate::language::Tag;
use crate::otp::Otp;
use crate::phone::PhoneNumber;
use crate::reference::ReferenceId;
use crate::service::{
    Call, Caller, RECORDING_TIME, Reference, Service, Session, SignIn, User, VerificationRequest,
};
use crate::telemetry::Metric;
use crate::typed;
use event::{Event, Request};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use session::Metadata;
use std::borrow::Cow;
use std::time::Duration;
use tokio::time::Instant;

/// The operator's settings for sign-ins and sign-ups.
#[derive(Debug, Clone)]
pub struct Policy {
    /// The triggers Create and Verify respond only at multiples of this time. A refusal is faster than a send. If the
    /// triggers responded at once, their response times would show which users exist.
    pub floor: Duration,
    pub shown_number: ShownNumber,
    pub step_up: StepUp,
    /// Whether users whose `phone_number_verified` is not `true` get codes.
    pub unverified_numbers: bool,
    /// Whether this function handles Pre sign-up triggers.
    pub pre_sign_up: bool,
    /// The user attribute that names the language of messages.
    pub language_attribute: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trigger {
    Define,
    Create,
    Verify,
    PreSignUp,
    /// Pre sign-up for a user whom an administrator or another identity provider creates.
    OtherSignUp,
}

impl Trigger {
    fn read(source: &str, policy: &Policy) -> Option<Self> {
        match source {
            "DefineAuthChallenge_Authentication" => Some(Self::Define),
            "CreateAuthChallenge_Authentication" => Some(Self::Create),
            "VerifyAuthChallengeResponse_Authentication" => Some(Self::Verify),
            "PreSignUp_SignUp" if policy.pre_sign_up => Some(Self::PreSignUp),
            "PreSignUp_AdminCreateUser" | "PreSignUp_ExternalProvider" if policy.pre_sign_up => {
                Some(Self::OtherSignUp)
            }
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Define => "define",
            Self::Create => "create",
            Self::Verify => "verify",
            Self::PreSignUp | Self::OtherSignUp => "pre-sign-up",
        }
    }
}

/// How long the work of a trigger may take. Cognito waits five seconds for a response, and tries up to three times.
const TIME_LIMIT: Duration = Duration::from_millis(3800);

/// The part of [`TIME_LIMIT`] until the provider has answered. The rest is for recording the outcome in the ledger.
const PROVIDER_TIME: Duration = TIME_LIMIT.saturating_sub(RECORDING_TIME);

/// The latest time of a response. It holds whatever the floor is, because Cognito does not wait for the next multiple.
const LATEST: Duration = Duration::from_millis(3900);

const EXPECTED: &str = "This function does not handle this Amazon Cognito trigger. Expected: \
                        DefineAuthChallenge_Authentication, CreateAuthChallenge_Authentication or \
                        VerifyAuthChallengeResponse_Authentication, and PreSignUp_SignUp with \
                        COGNITO_PRE_SIGN_UP=on.";

const NO_LEDGER: &str = "This is an Amazon Cognito trigger, and Cognito sign-in needs the ledger: set \
                         LEDGER_TABLE, or remove the trigger from the user pool.";

const NO_SHARE: &str = "This is an Amazon Cognito trigger, and sign-ins have no part of the limits: set SIGN_IN_SHARE, or \
                        remove the trigger from the user pool.";

/// Cognito shows this text to the app.
const UNPROVEN: &str = "The phone number of this sign-up is not verified. Expected: \
                        validationData.referenceId of a verification of this very number, at most ten \
                        minutes old and not used before, not even by a sign-up that failed.";

/// Cognito shows this text to the app. The verification has not been redeemed.
const UNKNOWN: &str =
    "The verification of this sign-up's phone number could not be looked up. Sign up again.";

/// The reason why a trigger has no result.
enum Failure {
    /// The event lacks a field, or names a session that this function has not made.
    UnusableEvent,
    OutOfTime,
    Refused(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

impl Failure {
    fn log(&self, call: &mut Call<'_>) {
        if let Self::Refused(error) = self {
            call.failed(error);
            call.record.severity = Some(error.code().status());
        }
    }
}

/// Handles a trigger. The result is the same event with a new `response`.
///
/// # Errors
///
/// - `UnrecognizedEvent`: the function does not handle this trigger, or has no ledger or no limits for it.
/// - `SignUpRefused`: the number of a sign-up is not verified.
pub(crate) async fn respond(
    service: &Service,
    policy: &Policy,
    event: &RawValue,
    call: &mut Call<'_>,
) -> Result<Box<RawValue>, FunctionError> {
    call.record.origin = Some("cognito");
    if !service.has_ledger() {
        return Err(FunctionError::unrecognized(NO_LEDGER));
    }
    let unexpected = || FunctionError::unrecognized(EXPECTED);
    let event = Event::read(event).ok_or_else(unexpected)?;
    let trigger = event
        .text("triggerSource")
        .and_then(|source| Trigger::read(&source, policy))
        .ok_or_else(unexpected)?;
    let is_sign_in = matches!(trigger, Trigger::Define | Trigger::Create | Trigger::Verify);
    if is_sign_in && !service.has_sign_ins() {
        return Err(FunctionError::unrecognized(NO_SHARE));
    }
    call.record.operation = Some(trigger.name());
    call.record.outcome = "ok";
    call.record.severity = Some(200);
    let request = Request::read(&event);
    call.time_left = call.time_left.min(PROVIDER_TIME);
    let response = match trigger {
        Trigger::Define => define_response(define(
            &request.session,
            request.user_not_found,
            policy.step_up,
        )),
        Trigger::Create => create_response(service, policy, &request, call).await,
        Trigger::Verify => verify_response(service, policy, &request, call).await,
        Trigger::PreSignUp => sign_up_response(service, &request, call).await?,
        // A code proves nothing about these users, so Cognito handles them as usual.
        Trigger::OtherSignUp => {
            json!({ "autoConfirmUser": false, "autoVerifyPhone": false, "autoVerifyEmail": false })
        }
    };
    if matches!(trigger, Trigger::Create | Trigger::Verify) {
        let at = response_time(policy.floor, call.started.elapsed());
        call.record.has_floor = !policy.floor.is_zero();
        if !policy.floor.is_zero() && at > policy.floor {
            call.record.count(Metric::FloorExceeded);
        }
        tokio::time::sleep_until(call.started + at).await;
    }
    event.with_response(&response).ok_or_else(unexpected)
}

/// The time at which to send a response that is ready after `elapsed`: the next multiple of the floor. A wait until the
/// floor alone is not enough: if the provider took longer than the floor, the sign-ins that ask the provider would
/// respond later than the sign-ins that do not ask the provider.
fn response_time(floor: Duration, elapsed: Duration) -> Duration {
    let Some(steps) = elapsed.as_nanos().checked_div(floor.as_nanos()) else {
        return elapsed;
    };
    let steps = u32::try_from(steps).unwrap_or(u32::MAX).saturating_add(1);
    floor.saturating_mul(steps).min(LATEST).max(elapsed)
}

fn define_response(decision: Decision) -> Value {
    match decision {
        Decision::Tokens => json!({ "issueTokens": true, "failAuthentication": false }),
        Decision::Fail => json!({ "issueTokens": false, "failAuthentication": true }),
        Decision::Ask(name) => {
            json!({ "challengeName": name, "issueTokens": false, "failAuthentication": false })
        }
    }
}

async fn create_response(
    service: &Service,
    policy: &Policy,
    request: &Request,
    call: &mut Call<'_>,
) -> Value {
    let started = call.started;
    let work = create(service, policy, request, call);
    in_time(started, work).await.unwrap_or_else(|failure| {
        failure.log(call);
        challenge::ended_response(service, policy, request)
    })
}

async fn verify_response(
    service: &Service,
    policy: &Policy,
    request: &Request,
    call: &mut Call<'_>,
) -> Value {
    let started = call.started;
    let work = verify(service, policy, request, call);
    let is_correct = in_time(started, work).await.unwrap_or_else(|failure| {
        failure.log(call);
        false
    });
    json!({ "answerCorrect": is_correct })
}

/// Refuses a sign-up without proof that the number belongs to the user. If such a sign-up passed and only left the user
/// unconfirmed, the user would keep a user name that is another person's number.
async fn sign_up_response(
    service: &Service,
    request: &Request,
    call: &mut Call<'_>,
) -> Result<Value, FunctionError> {
    let message = match check_proof(service, request, call).await {
        Proof::Proven => {
            return Ok(json!({
                "autoConfirmUser": true, "autoVerifyPhone": true, "autoVerifyEmail": false
            }));
        }
        Proof::Unproven => UNPROVEN,
        Proof::Unknown => UNKNOWN,
    };
    if call.record.outcome == "ok" {
        call.record.outcome = "no_proof";
    }
    Err(FunctionError {
        kind: "SignUpRefused",
        message: Cow::Borrowed(message),
    })
}

/// Runs `work` until the time limit. It may be abandoned at any step, because every step can safely be repeated.
async fn in_time<T>(
    started: Instant,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let left = TIME_LIMIT.saturating_sub(started.elapsed());
    tokio::time::timeout(left, work)
        .await
        .unwrap_or(Err(Failure::OutOfTime))
}

/// Begins a sign-in in its first round, and continues the sign-in in later rounds.
async fn create(
    service: &Service,
    policy: &Policy,
    request: &Request,
    call: &mut Call<'_>,
) -> Result<Value, Failure> {
    let last_round = request.session.iter().rev().find(|round| round.is_ours());
    let session = match last_round {
        None => Session {
            name: ReferenceId::random()?.expose().to_owned(),
            is_decoy: false,
        },
        // A later round whose session cannot be read must not begin a new session, because a new session sends a
        // message again.
        Some(round) => round
            .metadata
            .as_deref()
            .and_then(Metadata::parse)
            .and_then(|metadata| session::read(metadata.session))
            .ok_or(Failure::UnusableEvent)?,
    };
    let sign_in = sign_in(service, policy, request, session, call)?;
    let challenge = if last_round.is_none() {
        service.begin_sign_in(&sign_in, call).await?
    } else {
        service.continue_sign_in(&sign_in, call).await?
    };
    let nonce = ReferenceId::random()?;
    Ok(challenge::response(
        policy.shown_number,
        &sign_in,
        &challenge,
        nonce.expose(),
    ))
}

/// Returns whether the answer is the code. The answer `resend` sends a further code, and is not correct.
async fn verify(
    service: &Service,
    policy: &Policy,
    request: &Request,
    call: &mut Call<'_>,
) -> Result<bool, Failure> {
    let private = request.private.as_ref().ok_or(Failure::UnusableEvent)?;
    let session = session::read(&private.session).ok_or(Failure::UnusableEvent)?;
    let sign_in = sign_in(service, policy, request, session, call)?;
    let answer = request.answer.as_deref().ok_or(Failure::UnusableEvent)?;
    if answer == "resend" {
        call.record.operation = Some("resend");
        service
            .resend_for_sign_in(&sign_in, &private.nonce, call)
            .await?;
        return Ok(false);
    }
    let otp = Otp::parse(&typed::code(answer), &service.codes())?;
    service
        .answer_sign_in(&sign_in, otp, &private.nonce, call)
        .await?;
    // The service refuses every guess at a decoy. This is a second check.
    Ok(!sign_in.session.is_decoy)
}

/// Whether the number of a sign-up is proven to be the user's.
enum Proof {
    Proven,
    Unproven,
    /// The ledger could not be reached in time.
    Unknown,
}

async fn check_proof(service: &Service, request: &Request, call: &mut Call<'_>) -> Proof {
    let started = call.started;
    let work = redeem_proof(service, request, call);
    let Err(failure) = in_time(started, work).await else {
        return Proof::Proven;
    };
    failure.log(call);
    match failure {
        Failure::OutOfTime => Proof::Unknown,
        Failure::Refused(error) if error.code() == ErrorCode::LedgerUnavailable => Proof::Unknown,
        Failure::Refused(_) | Failure::UnusableEvent => Proof::Unproven,
    }
}

/// Redeems the verification that a sign-up presents, so that it confirms one user only.
async fn redeem_proof(
    service: &Service,
    request: &Request,
    call: &mut Call<'_>,
) -> Result<(), Failure> {
    let to = request
        .number(&service.rules().extra_prefixes)
        .ok_or(Failure::UnusableEvent)?;
    let reference = request.proof.as_deref().ok_or(Failure::UnusableEvent)?;
    let reference = ReferenceId::parse(reference)?;
    let User {
        pool,
        client,
        name: user_name,
    } = &request.user;
    // The user name is the idempotency key. If a response is late, Cognito repeats the trigger with the same user name,
    // and the same key can redeem the proof again. Another user name is another user, even if the two names look alike,
    // and needs a proof of its own.
    call.caller = Caller {
        principal: Some(format!("cognito {pool} {client}")),
        idempotency_key: Some(user_name.clone()),
        ..Caller::default()
    };
    let request = VerificationRequest {
        to,
        reference: Reference::Given(reference),
    };
    service.redeem_for_sign_up(&request, call).await?;
    Ok(())
}

/// Puts a sign-in together. If no code can be sent to the user, the sign-in is a decoy, and the log says why.
fn sign_in(
    service: &Service,
    policy: &Policy,
    request: &Request,
    session: Session,
    call: &mut Call<'_>,
) -> Result<SignIn, Failure> {
    let stored_number = request.stored_number(&service.rules().extra_prefixes);
    let is_verified = policy.unverified_numbers || request.is_verified();
    let decoy_reason = match &stored_number {
        Err(reason) => Some(*reason),
        Ok(_) if !is_verified => Some("unverified_number"),
        Ok(_) => None,
    };
    if let Some(reason) = decoy_reason {
        call.record.outcome = reason;
    }
    let number = stored_number
        .ok()
        .or_else(|| service.made_up_number(&request.user))
        .ok_or(Failure::UnusableEvent)?;
    call.record.country = service.country(&number);
    let is_decoy = session.is_decoy || decoy_reason.is_some();
    // Somebody may have the number that was made up for nobody.
    if !is_decoy {
        service.log_number(&number, call);
    }
    Ok(SignIn {
        user: request.user.clone(),
        language: language(service, policy, request, &number),
        number,
        session: Session {
            is_decoy,
            ..session
        },
    })
}

/// The language of the message: the first of the user's attribute and the client's wish that the provider has.
fn language(service: &Service, policy: &Policy, request: &Request, number: &PhoneNumber) -> Tag {
    let wishes: Vec<_> = [
        request.attribute(&policy.language_attribute),
        request.client_language.as_deref(),
    ]
    .into_iter()
    .flatten()
    .map(typed::language)
    .collect();
    let wishes: Vec<_> = wishes.iter().map(AsRef::as_ref).collect();
    service.closest_language(&wishes, service.provider_limits().usual_channel(), number)
}
