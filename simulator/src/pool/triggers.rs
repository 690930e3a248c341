//! Calls of triggers: their events, as AWS documents them, and the record that the page shows.

use std::{
    collections::BTreeMap,
    fmt,
    pin::Pin,
    sync::Arc,
    time::{Duration, SystemTime},
};

use serde::Serialize;
use serde_json::{
    Map, Value, json,
    value::{RawValue, to_raw_value},
};

use super::{CLIENT_ID, Fault, POOL_ID, users::User};
use crate::{clock::serialize_rfc3339, front::HandlerError};

/// How long Cognito waits for a response, and how often it asks.
const LONGEST_WAIT: Duration = Duration::from_secs(5);
const TRIES: usize = 3;

pub(crate) type Answer = Pin<Box<dyn Future<Output = Result<Value, HandlerError>> + Send>>;

/// The function behind the triggers.
#[derive(Clone)]
pub(super) struct Function(pub(super) Arc<dyn Fn(Box<RawValue>) -> Answer + Send + Sync>);

/// A trigger's event and what the function answered.
#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TriggerCall {
    /// Counts up from 1.
    pub(crate) id: u64,
    #[serde(serialize_with = "serialize_rfc3339")]
    pub(crate) at: SystemTime,
    /// As in the names of `events/`: `define`, `create`, `verify` or `pre-sign-up`.
    pub(crate) trigger: &'static str,
    /// The part of the answer that decides, in a few words.
    pub(crate) outcome: String,
    pub(crate) is_error: bool,
    pub(crate) milliseconds: u64,
    #[serde(skip)]
    pub(crate) event: Value,
    #[serde(skip)]
    pub(crate) response: Value,
}

/// Without the event, which has a number and may have a code.
impl fmt::Debug for TriggerCall {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, trigger, .. } = self;
        write!(formatter, "TriggerCall({id}, {trigger})")
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trigger {
    Define,
    Create,
    Verify,
    PreSignUp,
    PreSignUpByAdministrator,
}

impl Trigger {
    /// The name in `events/`.
    pub(super) fn file(self) -> &'static str {
        match self {
            Self::Define => "define",
            Self::Create => "create",
            Self::Verify => "verify",
            Self::PreSignUp | Self::PreSignUpByAdministrator => "pre-sign-up",
        }
    }

    fn source(self) -> &'static str {
        match self {
            Self::Define => "DefineAuthChallenge_Authentication",
            Self::Create => "CreateAuthChallenge_Authentication",
            Self::Verify => "VerifyAuthChallengeResponse_Authentication",
            Self::PreSignUp => "PreSignUp_SignUp",
            Self::PreSignUpByAdministrator => "PreSignUp_AdminCreateUser",
        }
    }

    /// The name in AWS's messages.
    fn name(self) -> &'static str {
        self.source().split('_').next().unwrap_or_default()
    }

    /// The response that the function fills in.
    fn empty_response(self) -> Value {
        match self {
            Self::Define => {
                json!({ "challengeName": null, "issueTokens": null, "failAuthentication": null })
            }
            Self::Create => json!({
                "publicChallengeParameters": null, "privateChallengeParameters": null, "challengeMetadata": null,
            }),
            Self::Verify => json!({ "answerCorrect": null }),
            Self::PreSignUp | Self::PreSignUpByAdministrator => {
                json!({ "autoConfirmUser": false, "autoVerifyEmail": false, "autoVerifyPhone": false })
            }
        }
    }

    fn outcome(self, response: &Value) -> String {
        let is = |name: &str| response.get(name) == Some(&Value::Bool(true));
        let word = |pointer: &str| response.pointer(pointer)?.as_str().map(str::to_owned);
        match self {
            Self::Define if is("failAuthentication") => "the sign-in fails".to_owned(),
            Self::Define if is("issueTokens") => "tokens".to_owned(),
            Self::Define => word("/challengeName").unwrap_or_default(),
            Self::Create => word("/publicChallengeParameters/state").unwrap_or_default(),
            Self::Verify if is("answerCorrect") => "right".to_owned(),
            Self::Verify => "not right".to_owned(),
            Self::PreSignUp | Self::PreSignUpByAdministrator if is("autoConfirmUser") => {
                "confirmed".to_owned()
            }
            Self::PreSignUp | Self::PreSignUpByAdministrator => "not confirmed".to_owned(),
        }
    }
}

/// The person of an event.
pub(super) struct Subject<'a> {
    /// The user's name in the pool. If there is no such user, the name that the app sent.
    pub(super) name: &'a str,
    pub(super) user: Option<&'a User>,
    /// The software that called, as it names itself.
    pub(super) agent: &'a str,
}

impl Subject<'_> {
    /// The fields that all requests of a sign-in have.
    pub(super) fn request(&self, metadata: Option<&Value>) -> Map<String, Value> {
        let attributes = self.user.map(User::in_events).unwrap_or_default();
        let mut request = Map::new();
        request.insert("userAttributes".to_owned(), attributes.into());
        request.insert("userNotFound".to_owned(), self.user.is_none().into());
        if let Some(metadata) = metadata {
            request.insert("clientMetadata".to_owned(), metadata.clone());
        }
        request
    }
}

/// The event, in AWS's order of fields.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Event<'a> {
    version: &'static str,
    region: &'static str,
    user_pool_id: &'static str,
    user_name: &'a str,
    caller_context: BTreeMap<&'static str, &'a str>,
    trigger_source: &'static str,
    request: &'a Map<String, Value>,
    response: Value,
}

/// One call of the function, to be recorded.
pub(super) struct Called {
    pub(super) trigger: Trigger,
    pub(super) event: Box<RawValue>,
    pub(super) result: Result<Value, HandlerError>,
    pub(super) took: Duration,
}

impl Called {
    pub(super) fn record(self, at: SystemTime) -> TriggerCall {
        let is_error = self.result.is_err();
        let (outcome, response) = match self.result {
            Ok(answer) => {
                let response = answer.get("response").unwrap_or(&answer);
                (self.trigger.outcome(response), answer)
            }
            Err(HandlerError { kind, message }) => {
                let error = json!({ "errorType": kind, "errorMessage": message });
                (kind, error)
            }
        };
        TriggerCall {
            id: 0,
            at,
            trigger: self.trigger.file(),
            outcome,
            is_error,
            milliseconds: u64::try_from(self.took.as_millis()).unwrap_or(u64::MAX),
            event: serde_json::from_str(self.event.get()).unwrap_or_default(),
            response,
        }
    }
}

impl Function {
    /// Calls a trigger and returns its `response`. If no answer comes in time, Cognito asks again, as AWS documents it.
    pub(super) async fn call(
        &self,
        trigger: Trigger,
        subject: &Subject<'_>,
        request: &Map<String, Value>,
        record: impl Fn(Called),
    ) -> Result<Value, Fault> {
        let event = to_raw_value(&Event {
            version: "1",
            region: "us-east-1",
            user_pool_id: POOL_ID,
            user_name: subject.name,
            caller_context: [("awsSdkVersion", subject.agent), ("clientId", CLIENT_ID)].into(),
            trigger_source: trigger.source(),
            request,
            response: trigger.empty_response(),
        })
        .map_err(|_| Fault::internal())?;
        for _ in 0..TRIES {
            let started = tokio::time::Instant::now();
            let answer = tokio::time::timeout(LONGEST_WAIT, (self.0)(event.clone())).await;
            let is_late = answer.is_err();
            let result = answer
                .unwrap_or_else(|_| Err("The function did not answer within five seconds.".into()));
            record(Called {
                trigger,
                event: event.clone(),
                result: result.clone(),
                took: started.elapsed(),
            });
            if is_late {
                continue;
            }
            return match result {
                Ok(answer) => match answer.get("response") {
                    Some(response @ Value::Object(_)) => Ok(response.clone()),
                    _ => Err(Fault::new(
                        "InvalidLambdaResponseException",
                        "Unrecognizable lambda output",
                    )),
                },
                Err(error) => Err(Fault::new(
                    "UserLambdaValidationException",
                    format!("{} failed with error {}", trigger.name(), error.message),
                )),
            };
        }
        Err(Fault::new(
            "UnexpectedLambdaException",
            format!(
                "{} invocation failed due to error Socket timeout while invoking Lambda function.",
                trigger.name()
            ),
        ))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// Calls a function that answers from its `first_answer`th call on. Returns the outcome and the number of calls.
    async fn call(first_answer: usize) -> (Result<Value, &'static str>, usize) {
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&calls);
        let function = Function(Arc::new(move |_| {
            let nth = counted.fetch_add(1, Ordering::Relaxed) + 1;
            Box::pin(async move {
                if nth < first_answer {
                    tokio::time::sleep(Duration::from_secs(6)).await;
                }
                Ok(json!({ "response": { "nth": nth } }))
            })
        }));
        let subject = Subject {
            name: "anna",
            user: None,
            agent: "test",
        };
        let recorded = AtomicUsize::new(0);
        let record = |_| {
            recorded.fetch_add(1, Ordering::Relaxed);
        };
        let result = function
            .call(Trigger::Define, &subject, &Map::new(), record)
            .await;
        let calls = calls.load(Ordering::Relaxed);
        assert_eq!(recorded.into_inner(), calls);
        (result.map_err(|fault| fault.kind), calls)
    }

    #[tokio::test(start_paused = true)]
    async fn a_late_function_is_asked_three_times() {
        assert_eq!(call(1).await, (Ok(json!({ "nth": 1 })), 1));
        assert_eq!(call(3).await, (Ok(json!({ "nth": 3 })), 3));
        assert_eq!(call(4).await, (Err("UnexpectedLambdaException"), 3));
    }
}
