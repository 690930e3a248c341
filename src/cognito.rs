//! Amazon Cognito's custom authentication: its triggers Define, Create and Verify, and the one before a sign-up.
//!
//! Events are read as raw JSON, a few members each by itself, and come back with only `response` changed: what AWS adds
//! to them, and what an emulator leaves out or sets to null, does no harm.

use crate::error::{Error, ErrorCode, FunctionError};
use crate::json::{self, Entries};
use crate::language::Tag;
use crate::otp::Otp;
use crate::phone::PhoneNumber;
use crate::reference::ReferenceId;
use crate::service::{
    Caller, Challenge, ChallengeState, Moment, Reference, Service, Session, SignIn,
    VerificationRequest,
};
use crate::telemetry::Record;
use crate::time::Millis;
use serde::Deserialize;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value, json};
use std::borrow::Cow;
use std::time::Duration;

/// What an operator decides about signing in.
#[derive(Debug, Clone)]
pub struct Policy {
    /// No answer about a user comes sooner: what is quick to refuse is not to be told by the clock.
    pub floor: Duration,
    /// Whether a password comes before the code.
    pub step_up: StepUp,
    /// Whether a number that nobody has verified gets a code.
    pub unverified_numbers: bool,
    /// Whether sign-ups are confirmed by a verification of their number.
    pub pre_sign_up: bool,
    /// The user attribute that names the language of texts.
    pub language_attribute: String,
}

/// Whether a password comes before the code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepUp {
    /// None does.
    Off,
    /// It has to.
    Required,
}

/// One round of a sign-in that is over, as Cognito tells it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Round {
    /// The name of the challenge.
    pub name: Option<String>,
    /// Whether it was passed.
    pub result: Option<bool>,
    /// What Create said about it.
    pub metadata: Option<String>,
}

/// How a sign-in goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// The user is signed in.
    Tokens,
    /// The sign-in is over.
    Fail,
    /// By this challenge.
    Ask(&'static str),
}

const CUSTOM: &str = "CUSTOM_CHALLENGE";
const SRP: &str = "SRP_A";
const PASSWORD: &str = "PASSWORD_VERIFIER";

/// Rounds that a sign-in may take, resends included.
const MOST_ROUNDS: usize = 10;

/// Decides how a sign-in goes on from its rounds and from nothing else.
///
/// Tokens are given for a right answer to our own challenge, in the last round, and for nothing else; what is not
/// expected fails.
#[must_use]
pub fn define(session: &[Round], user_not_found: bool, step_up: StepUp) -> Decision {
    let is = |round: &Round, name: &str| round.name.as_deref() == Some(name);
    let rounds = match (step_up, session) {
        (StepUp::Off, rounds) => rounds,
        (StepUp::Required, [srp]) if is(srp, SRP) && srp.result == Some(true) => {
            return Decision::Ask(PASSWORD);
        }
        (StepUp::Required, [srp, password, rounds @ ..])
            if is(srp, SRP)
                && srp.result == Some(true)
                && is(password, PASSWORD)
                && password.result == Some(true) =>
        {
            rounds
        }
        (StepUp::Required, _) => return Decision::Fail,
    };
    if !rounds.iter().all(|round| is(round, CUSTOM)) {
        return Decision::Fail;
    }
    let Some((last, earlier)) = rounds.split_last() else {
        return Decision::Ask(CUSTOM);
    };
    // A right answer ends a sign-in: nothing comes after one.
    if earlier.iter().any(|round| round.result == Some(true)) {
        return Decision::Fail;
    }
    if rounds.len() > MOST_ROUNDS {
        return Decision::Fail;
    }
    if last.result == Some(true) {
        return if user_not_found {
            Decision::Fail
        } else {
            Decision::Tokens
        };
    }
    let left = last
        .metadata
        .as_deref()
        .and_then(Metadata::parse)
        .map_or(0, |metadata| metadata.left);
    if left == 0 || rounds.len() >= MOST_ROUNDS {
        Decision::Fail
    } else {
        Decision::Ask(CUSTOM)
    }
}

/// What a challenge remembers of its session: `v1:<reference>:<attempts left>`.
struct Metadata<'a> {
    reference: &'a str,
    left: u16,
}

impl<'a> Metadata<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let (reference, left) = text.strip_prefix("v1:")?.split_once(':')?;
        let named = (1..=64).contains(&reference.len())
            && reference
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
        let counted =
            (1..=3).contains(&left.len()) && left.bytes().all(|byte| byte.is_ascii_digit());
        (named && counted).then_some(Self {
            reference,
            left: left.parse().ok()?,
        })
    }
}

/// Which trigger an event is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trigger {
    Define,
    Create,
    Verify,
    PreSignUp,
    /// A user who signs up through nobody's app: made by an administrator, or by another identity provider.
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

/// Cognito waits for five seconds and asks up to three times. What is not done by then is answered as not done.
const LIMIT: Duration = Duration::from_millis(3800);

/// How long the provider may take of it, so that what it says can still be written down.
const PROVIDER_TIME: Duration = Duration::from_secs(2);

/// Why an event is not answered: a sentence for the operator.
pub(crate) const EXPECTED: &str = "This Amazon Cognito trigger is not one this function answers. Expected: \
                                   DefineAuthChallenge_Authentication, CreateAuthChallenge_Authentication or \
                                   VerifyAuthChallengeResponse_Authentication, and PreSignUp_SignUp with \
                                   COGNITO_PRE_SIGN_UP=on.";

/// The same, without what a sign-in needs.
pub(crate) const NO_LEDGER: &str = "This is an Amazon Cognito trigger, and Cognito sign-in needs the ledger: set \
                                    LEDGER_TABLE, or remove the trigger from the user pool.";

/// Why a sign-up is refused. Cognito shows it to the app.
const UNPROVEN: &str = "The phone number of this sign-up is not verified. Expected: validationData.referenceId of a \
                        verification of this very number, at most ten minutes old and not used before.";

/// The same, where that could not be found out. Nothing is used up by it.
const UNCHECKED: &str =
    "Whether the phone number of this sign-up is verified could not be looked up. Sign up again.";

/// Answers a trigger: the event, with its `response`.
///
/// # Errors
///
/// A sentence for the operator; or, of a sign-up, for the app.
pub(crate) async fn answer(
    service: &Service,
    policy: &Policy,
    event: &RawValue,
    moment: Moment,
    record: &mut Record,
) -> Result<Box<RawValue>, FunctionError> {
    record.origin = Some("cognito");
    if !service.has_ledger() {
        return Err(FunctionError::unrecognized(NO_LEDGER));
    }
    let unexpected = || FunctionError::unrecognized(EXPECTED);
    let Entries(event) = serde_json::from_str(event.get()).map_err(|_| unexpected())?;
    let event = Event(event);
    let trigger = event
        .text("triggerSource")
        .and_then(|source| Trigger::read(&source, policy))
        .ok_or_else(unexpected)?;
    record.operation = Some(trigger.name());
    record.outcome = "ok";
    record.severity = Some(200);
    let request = Request::read(&event);
    let moment = Moment {
        time_left: moment.time_left.min(PROVIDER_TIME),
        ..moment
    };
    let response = match trigger {
        Trigger::Define => decided(define(
            &request.session,
            request.user_not_found,
            policy.step_up,
        )),
        Trigger::Create => {
            let created = within(moment, create(service, policy, &request, moment, record)).await;
            // Nobody is told that there was nothing to send to, or that nothing could be looked up.
            created.unwrap_or_else(|| ended(service, &request))
        }
        Trigger::Verify => {
            let correct = within(moment, verify(service, policy, &request, moment, record)).await
                == Some(true);
            json!({ "answerCorrect": correct })
        }
        Trigger::PreSignUp => {
            // Left unconfirmed, it would hold a user name that is somebody else's number.
            let message = match within(moment, pre_sign_up(service, &request, moment, record)).await
            {
                Some(true) => None,
                Some(false) => Some(UNPROVEN),
                None => Some(UNCHECKED),
            };
            if let Some(message) = message {
                if record.outcome == "ok" {
                    record.outcome = "no_proof";
                }
                return Err(FunctionError {
                    kind: "SignUpRefused",
                    message: Cow::Borrowed(message),
                });
            }
            json!({ "autoConfirmUser": true, "autoVerifyPhone": true, "autoVerifyEmail": false })
        }
        // Whom these are about is not for a code to say.
        Trigger::OtherSignUp => {
            json!({ "autoConfirmUser": false, "autoVerifyPhone": false, "autoVerifyEmail": false })
        }
    };
    if trigger == Trigger::Create || trigger == Trigger::Verify {
        tokio::time::sleep(policy.floor.saturating_sub(moment.started.elapsed())).await;
    }
    event.with_response(&response).ok_or_else(unexpected)
}

/// What `work` comes to, if it does in time. What is left unfinished is safe to be done again.
async fn within<T>(moment: Moment, work: impl Future<Output = Option<T>>) -> Option<T> {
    let left = LIMIT.saturating_sub(moment.started.elapsed());
    tokio::time::timeout(left, work).await.ok().flatten()
}

fn decided(decision: Decision) -> Value {
    match decision {
        Decision::Tokens => json!({ "issueTokens": true, "failAuthentication": false }),
        Decision::Fail => json!({ "issueTokens": false, "failAuthentication": true }),
        Decision::Ask(name) => {
            json!({ "challengeName": name, "issueTokens": false, "failAuthentication": false })
        }
    }
}

async fn create(
    service: &Service,
    policy: &Policy,
    request: &Request,
    moment: Moment,
    record: &mut Record,
) -> Option<Value> {
    let last = request
        .session
        .iter()
        .rev()
        .find(|round| round.name.as_deref() == Some(CUSTOM));
    let is_first = last.is_none();
    let session = match last {
        // A later round is of its session or of none: nothing is sent in mid-sign-in.
        Some(round) => session_of(Metadata::parse(round.metadata.as_deref()?)?.reference)?,
        None => Session {
            name: ReferenceId::random().ok()?.expose().to_owned(),
            decoy: 0,
        },
    };
    let sign_in = sign_in(service, policy, request, session, record)?;
    let challenge = if is_first {
        service.begin_sign_in(&sign_in, moment, record).await
    } else {
        service.go_on_with_sign_in(&sign_in, moment).await
    };
    let challenge = noted(challenge, record)?;
    Some(asked(
        &sign_in,
        &challenge,
        ReferenceId::random().ok()?.expose(),
    ))
}

async fn verify(
    service: &Service,
    policy: &Policy,
    request: &Request,
    moment: Moment,
    record: &mut Record,
) -> Option<bool> {
    let private = request.private.as_ref()?;
    let session = session_of(private.get("reference")?.as_str()?)?;
    let nonce = private.get("nonce")?.as_str()?;
    let sign_in = sign_in(service, policy, request, session, record)?;
    let answer = request.answer.as_deref()?;
    if answer == "resend" {
        record.operation = Some("resend");
        noted(
            service
                .resend_for_sign_in(&sign_in, nonce, moment, record)
                .await,
            record,
        )?;
        return Some(false);
    }
    let otp = noted(Otp::parse(answer, &service.codes()), record)?;
    noted(
        service
            .answer_sign_in(&sign_in, otp, nonce, moment, record)
            .await,
        record,
    )?;
    Some(sign_in.session.decoy == 0)
}

/// Whether the number is proven to be the user's; nothing, if that cannot be said now.
async fn pre_sign_up(
    service: &Service,
    request: &Request,
    moment: Moment,
    record: &mut Record,
) -> Option<bool> {
    let to = request
        .attribute("phone_number")
        .and_then(|number| PhoneNumber::parse(number).ok());
    let reference = request
        .validation
        .as_ref()
        .and_then(|data| data.get("referenceId")?.as_str());
    let (Some(to), Some(reference)) = (to, reference) else {
        return Some(false);
    };
    let Some(reference) = noted(ReferenceId::parse(reference), record) else {
        return Some(false);
    };
    let [pool, client, name] = &request.user;
    // Cognito may ask again for want of an answer, and the app after another error of its sign-up: the same claim each
    // time. A pool whose user names are numbers makes up a name for each try, and takes a number once by itself.
    let redeemer = if is_made_up(name) { to.expose() } else { name };
    let caller = Caller {
        principal: Some(format!("cognito {pool} {client}")),
        idempotency_key: Some(redeemer.to_owned()),
        ..Caller::default()
    };
    let request = VerificationRequest {
        to,
        reference: Reference::Given(reference),
    };
    match service.redeem(&request, &caller, moment, record).await {
        Ok(_) => Some(true),
        Err(error) => {
            let is_outage = error.code() == ErrorCode::LedgerUnavailable;
            noted::<()>(Err(error), record);
            (!is_outage).then_some(false)
        }
    }
}

/// Whether a user name is one that Cognito made up: a UUID.
fn is_made_up(name: &str) -> bool {
    let parts: Vec<_> = name.split('-').collect();
    let is_hex = |part: &&str| part.bytes().all(|byte| byte.is_ascii_hexdigit());
    parts.iter().map(|part| part.len()).eq([8, 4, 4, 4, 12]) && parts.iter().all(is_hex)
}

/// The value; of an error, the log keeps the reason, and nobody else learns it.
fn noted<T>(outcome: Result<T, Error>, record: &mut Record) -> Option<T> {
    match outcome {
        Ok(value) => Some(value),
        Err(error) => {
            record.outcome = error.code().name();
            record.severity = Some(error.code().status());
            record.cause = error.cause().map(str::to_owned);
            record.limit = error.limit();
            None
        }
    }
}

/// The first letter of a reference in metadata: of a user's session, or of one in decoy, by how deep.
const KINDS: &str = "rstuvw";

/// The session of a reference in metadata or private parameters: its first letter says of which kind it is.
fn session_of(reference: &str) -> Option<Session> {
    let (kind, name) = reference.split_at_checked(1)?;
    let decoy = u8::try_from(KINDS.find(kind)?).ok()?;
    // As `ReferenceId::random` makes them.
    let drawn = name.len() == 32
        && name
            .bytes()
            .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    drawn.then(|| Session {
        name: name.to_owned(),
        decoy,
    })
}

/// Who signs in. A user who cannot be sent a code signs in as a decoy; the log says why.
fn sign_in(
    service: &Service,
    policy: &Policy,
    request: &Request,
    session: Session,
    record: &mut Record,
) -> Option<SignIn> {
    let own = request.own_number();
    let verified =
        policy.unverified_numbers || request.attribute("phone_number_verified") == Some("true");
    let reason = match &own {
        _ if request.user_not_found => Some("user_not_found"),
        None => Some("no_number"),
        Some(_) if !verified => Some("unverified_number"),
        Some(_) => None,
    };
    if let Some(reason) = reason {
        record.outcome = reason;
    }
    let number = own.or_else(|| service.stand_in(&request.user))?;
    record.country = number.country();
    Some(SignIn {
        user: request.user.clone(),
        language: language(policy, request, service, &number),
        number,
        session: Session {
            decoy: session.decoy.max(u8::from(reason.is_some())),
            ..session
        },
    })
}

/// The language that the user's attribute or the client names, as far as the provider has it.
fn language(policy: &Policy, request: &Request, service: &Service, number: &PhoneNumber) -> Tag {
    let client = request
        .client_metadata
        .as_ref()
        .and_then(|metadata| metadata.get("language")?.as_str());
    let wishes: Vec<_> = [request.attribute(&policy.language_attribute), client]
        .into_iter()
        .flatten()
        .collect();
    service.closest_language(&wishes, service.limits().usual_channel(), number)
}

fn asked(sign_in: &SignIn, challenge: &Challenge, nonce: &str) -> Value {
    let kind = KINDS.chars().nth(challenge.decoy.into()).unwrap_or('r');
    let reference = format!("{kind}{}", sign_in.session.name);
    let state = match challenge.state {
        ChallengeState::Sent => "sent",
        ChallengeState::Adopted => "adopted",
        ChallengeState::TryAgain => "try_again",
        ChallengeState::Ended => "ended",
    };
    json!({
        // Cognito passes on strings alone.
        "publicChallengeParameters": {
            "destinationNumber": sign_in.number.to_string(),
            "codeLength": challenge.code_length.to_string(),
            "attemptsLeft": challenge.left.to_string(),
            "expiresAt": rfc3339(challenge.expires),
            "resendAt": rfc3339(challenge.resend),
            "state": state,
        },
        "challengeMetadata": format!("v1:{reference}:{}", challenge.left),
        "privateChallengeParameters": { "reference": reference, "nonce": nonce },
    })
}

/// The answer where nothing could be looked up: a challenge that no answer passes, and the last of its sign-in.
fn ended(service: &Service, request: &Request) -> Value {
    // The number that is always shown: what could not be looked up is not that.
    let number = request
        .own_number()
        .or_else(|| service.stand_in(&request.user))
        .map(|number| number.to_string());
    json!({
        "publicChallengeParameters": {
            "destinationNumber": number.unwrap_or_default(),
            "codeLength": service.rules().defaults.code_length.to_string(),
            "attemptsLeft": "0",
            "expiresAt": rfc3339(Millis(0)),
            "resendAt": rfc3339(Millis(0)),
            "state": "ended",
        },
        "challengeMetadata": "v1:none:0",
        "privateChallengeParameters": { "reference": "none", "nonce": "none" },
    })
}

fn rfc3339(time: Millis) -> String {
    crate::http::rfc3339(time.0)
}

/// An event, its members in their order and as they were written.
struct Event<'a>(Vec<(String, &'a RawValue)>);

impl<'a> Event<'a> {
    fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.0
            .iter()
            .find(|(given, _)| given == name)
            .map(|(_, value)| *value)
    }

    fn text(&self, name: &str) -> Option<String> {
        serde_json::from_str(self.get(name)?.get()).ok()
    }

    /// The event with another `response` and nothing else changed.
    fn with_response(&self, response: &Value) -> Option<Box<RawValue>> {
        let response = to_raw_value(response).ok()?;
        let others = self
            .0
            .iter()
            .filter(|(name, _)| name != "response")
            .map(|(name, value)| (name.as_str(), *value));
        let mut text = String::from("{");
        for (name, value) in others.chain([("response", &*response)]) {
            if text.len() > 1 {
                text.push(',');
            }
            text.push_str(&serde_json::to_string(name).ok()?);
            text.push(':');
            text.push_str(value.get());
        }
        text.push('}');
        RawValue::from_string(text).ok()
    }
}

/// The few members of a request that are needed. What is missing, null or of another kind is not there.
#[derive(Default)]
struct Request {
    /// The pool, the client and the user.
    user: [String; 3],
    user_not_found: bool,
    session: Vec<Round>,
    attributes: Map<String, Value>,
    private: Option<Map<String, Value>>,
    answer: Option<String>,
    client_metadata: Option<Map<String, Value>>,
    validation: Option<Map<String, Value>>,
}

/// Each by itself, so that a strange one spoils no other.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct RawRequest<'a> {
    #[serde(borrow)]
    session: Option<&'a RawValue>,
    user_not_found: Option<&'a RawValue>,
    user_attributes: Option<&'a RawValue>,
    private_challenge_parameters: Option<&'a RawValue>,
    challenge_answer: Option<&'a RawValue>,
    client_metadata: Option<&'a RawValue>,
    validation_data: Option<&'a RawValue>,
}

impl Request {
    fn read(event: &Event<'_>) -> Self {
        let raw: RawRequest<'_> = json::read_object(event.get("request")).unwrap_or_default();
        let context: Map<String, Value> =
            json::read(event.get("callerContext")).unwrap_or_default();
        let client = context
            .get("clientId")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned();
        let pool = event.text("userPoolId").unwrap_or_default();
        let rounds: Vec<Box<RawValue>> = json::read(raw.session).unwrap_or_default();
        Self {
            user: [pool, client, event.text("userName").unwrap_or_default()],
            // Of what is neither yes nor no, nobody knows that there is a user.
            user_not_found: raw
                .user_not_found
                .is_some_and(|value| !["false", "null"].contains(&value.get())),
            session: rounds.iter().map(|round| read_round(round)).collect(),
            attributes: json::read(raw.user_attributes).unwrap_or_default(),
            private: json::read(raw.private_challenge_parameters),
            answer: json::read(raw.challenge_answer),
            client_metadata: json::read(raw.client_metadata),
            validation: json::read(raw.validation_data),
        }
    }

    /// The number of a user who is there and has one.
    fn own_number(&self) -> Option<PhoneNumber> {
        let number = self
            .attribute("phone_number")
            .filter(|_| !self.user_not_found)?;
        PhoneNumber::parse(number).ok()
    }

    fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.get(name)?.as_str()
    }
}

/// A round of the history. One that cannot be read is one of no name, with which no sign-in goes on.
fn read_round(round: &RawValue) -> Round {
    let round: Map<String, Value> = json::read(Some(round)).unwrap_or_default();
    let text = |name: &str| round.get(name).and_then(Value::as_str).map(str::to_owned);
    Round {
        name: text("challengeName"),
        result: round.get("challengeResult").and_then(Value::as_bool),
        metadata: text("challengeMetadata"),
    }
}
