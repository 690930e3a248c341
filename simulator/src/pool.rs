//! A small user pool of Amazon Cognito for the desk. It calls the triggers of the function that the desk runs.
//!
//! The pool has one client, as the template makes it: custom authentication and refresh tokens, no password,
//! `PreventUserExistenceErrors`, and sessions of fifteen minutes. Users and sessions are in memory. It knows these
//! operations:
//!
//! | operation | callers |
//! |---|---|
//! | `InitiateAuth` (`CUSTOM_AUTH`, `REFRESH_TOKEN_AUTH`), `RespondToAuthChallenge`, `SignUp` | everybody, also pages in a browser |
//! | `AdminCreateUser`, `AdminSetUserPassword` | callers with a signature, which is not checked |
//!
//! docs/cognito.md lists how the pool differs from AWS's and from `MiniStack`'s.

mod tokens;
mod triggers;
mod users;
mod web;

use std::{
    collections::BTreeMap,
    fmt, io,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::{Duration, SystemTime},
};

use axum::http::StatusCode;
use serde_json::{Map, Value, json, value::RawValue};

use self::{
    tokens::{Key, REFRESH_VALID_FOR, SignedIn, VALID_FOR},
    triggers::{Called, Function, Subject, Trigger},
    users::{Status, User, Users, attributes_of, check_password, pairs},
};
pub(crate) use self::{
    triggers::{Answer, TriggerCall},
    web::{is_for_the_pool, operation, routes},
};
use crate::{desk::Desk, wire::random_id};

/// AWS makes IDs of this form.
pub const POOL_ID: &str = "us-east-1_DeskPool1";
pub const CLIENT_ID: &str = "1desk23client45of67pool890";

/// `AuthSessionValidity` of the template's client.
const SESSION_VALID_FOR: Duration = Duration::from_mins(15);

const CUSTOM_CHALLENGE: &str = "CUSTOM_CHALLENGE";
const NEW_PASSWORD_REQUIRED: &str = "NEW_PASSWORD_REQUIRED";

/// An exception of Cognito.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    status: StatusCode,
    kind: &'static str,
    message: String,
}

impl Fault {
    fn new(kind: &'static str, message: impl Into<String>) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            kind,
            message: message.into(),
        }
    }

    fn invalid(message: impl Into<String>) -> Self {
        Self::new("InvalidParameterException", message)
    }

    fn missing(parameter: &str) -> Self {
        Self::invalid(format!("Missing required parameter {parameter}"))
    }

    fn not_authorized(message: &str) -> Self {
        Self::new("NotAuthorizedException", message)
    }

    fn invalid_session() -> Self {
        Self::not_authorized("Invalid session for the user.")
    }

    fn internal() -> Self {
        Self {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            ..Self::new("InternalErrorException", "The desk could not do this.")
        }
    }
}

/// The parts that the desk gives the pool.
struct Setup {
    function: Function,
    /// Whether people may sign up themselves: `AllowAdminCreateUserOnly` is off, and Pre sign-up has its trigger.
    has_sign_up: bool,
    /// The number of the user that is there from the start.
    number: String,
    issuer: String,
    key: Key,
}

#[derive(Default)]
pub(crate) struct Pool {
    setup: OnceLock<Setup>,
    state: Mutex<State>,
}

impl fmt::Debug for Pool {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Pool")
    }
}

#[derive(Default)]
struct State {
    users: Users,
    /// By the text that the app gives back. A session can be answered once.
    sessions: BTreeMap<String, SignIn>,
    /// By the refresh token.
    signed_in: BTreeMap<String, SignedIn>,
}

/// A sign-in that waits for an answer.
struct SignIn {
    /// The name that the app sent.
    given_name: String,
    /// `None`: there is no such user.
    user: Option<User>,
    /// The rounds so far, as the events have them.
    rounds: Vec<Value>,
    challenge: &'static str,
    metadata: Value,
    private: Value,
    until: SystemTime,
}

/// A request of an app.
struct Request<'a> {
    desk: &'a Desk,
    setup: &'a Setup,
    input: &'a Map<String, Value>,
    agent: &'a str,
    now: SystemTime,
}

impl<'a> Request<'a> {
    fn text(&self, name: &str) -> Option<&'a str> {
        self.input.get(name)?.as_str()
    }

    fn required(&self, name: &str) -> Result<&'a str, Fault> {
        self.text(name).ok_or_else(|| Fault::missing(name))
    }

    /// A member of `AuthParameters` or `ChallengeResponses`.
    fn inner(&self, map: &str, name: &str) -> Result<&'a str, Fault> {
        let value = self.input.get(map).and_then(|map| map.get(name)?.as_str());
        value
            .filter(|value| !value.is_empty())
            .ok_or_else(|| Fault::missing(name))
    }

    /// `ClientMetadata`. Only that of an answer reaches the triggers of a sign-in.
    fn metadata(&self) -> Option<&'a Value> {
        self.input.get("ClientMetadata").filter(|it| it.is_object())
    }

    async fn call(
        &self,
        trigger: Trigger,
        subject: &Subject<'_>,
        request: &Map<String, Value>,
    ) -> Result<Value, Fault> {
        let record = |called: Called| self.desk.record_trigger(called.record(self.now));
        self.setup
            .function
            .call(trigger, subject, request, record)
            .await
    }

    fn check_client(&self) -> Result<(), Fault> {
        let client = self.required("ClientId")?;
        if client == CLIENT_ID {
            return Ok(());
        }
        Err(Fault::new(
            "ResourceNotFoundException",
            format!("User pool client {client} does not exist."),
        ))
    }

    fn check_pool(&self) -> Result<(), Fault> {
        let pool = self.required("UserPoolId")?;
        if pool == POOL_ID {
            return Ok(());
        }
        Err(Fault::new(
            "ResourceNotFoundException",
            format!("User pool {pool} does not exist."),
        ))
    }
}

impl Pool {
    /// Opens the pool. Only the first call has an effect.
    pub(crate) fn open(
        &self,
        function: Arc<dyn Fn(Box<RawValue>) -> Answer + Send + Sync>,
        has_sign_up: bool,
        number: &str,
        url: &str,
    ) -> io::Result<()> {
        let setup = Setup {
            function: Function(function),
            has_sign_up,
            number: number.to_owned(),
            issuer: format!("{url}/{POOL_ID}"),
            key: Key::new()?,
        };
        let _ = self.setup.set(setup);
        self.reset();
        Ok(())
    }

    pub(crate) fn is_open(&self) -> bool {
        self.setup.get().is_some()
    }

    /// The number of the first user.
    pub(crate) fn number(&self) -> Option<&str> {
        self.setup.get().map(|setup| setup.number.as_str())
    }

    /// Removes all sessions, and all users but the first.
    pub(crate) fn reset(&self) {
        let mut state = self.state();
        *state = State::default();
        if let Some(setup) = self.setup.get() {
            // The list is empty, so no other user has the number.
            let _ = state.users.add(User::verified(&setup.number));
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn carry_out(&self, operation: &str, request: &Request<'_>) -> Result<Value, Fault> {
        match operation {
            "InitiateAuth" => self.initiate(request).await,
            "RespondToAuthChallenge" => self.respond(request).await,
            "SignUp" => self.sign_up(request).await,
            "AdminCreateUser" => self.create_user(request).await,
            "AdminSetUserPassword" => self.set_password(request),
            _ => Err(Fault::new(
                "UnknownOperationException",
                "The pool of the desk does not know this operation.",
            )),
        }
    }

    async fn initiate(&self, request: &Request<'_>) -> Result<Value, Fault> {
        request.check_client()?;
        match request.required("AuthFlow")? {
            "CUSTOM_AUTH" => {}
            "REFRESH_TOKEN_AUTH" | "REFRESH_TOKEN" => return self.refresh(request),
            flow => {
                return Err(Fault::invalid(format!(
                    "{flow} flow not enabled for this client"
                )));
            }
        }
        let name = request.inner("AuthParameters", "USERNAME")?;
        if request.inner("AuthParameters", "SRP_A").is_ok() {
            return Err(Fault::invalid("The pool of the desk has no passwords."));
        }
        let user = self.state().users.find(name).cloned();
        if user
            .as_ref()
            .is_some_and(|user| user.status == Status::Unconfirmed)
        {
            return Err(Fault::new(
                "UserNotConfirmedException",
                "User is not confirmed.",
            ));
        }
        let begun = SignIn {
            given_name: name.to_owned(),
            user,
            rounds: Vec::new(),
            challenge: CUSTOM_CHALLENGE,
            metadata: Value::Null,
            private: Value::Null,
            until: request.now,
        };
        // Cognito does not pass the `ClientMetadata` of this operation to Define and Create.
        self.go_on(request, begun, None).await
    }

    async fn respond(&self, request: &Request<'_>) -> Result<Value, Fault> {
        request.check_client()?;
        let challenge = request.required("ChallengeName")?;
        let session = request.required("Session")?;
        let name = request.inner("ChallengeResponses", "USERNAME")?;
        let answer = request.inner("ChallengeResponses", "ANSWER");
        if challenge != CUSTOM_CHALLENGE {
            return Err(Fault::invalid(
                "The pool of the desk knows CUSTOM_CHALLENGE alone.",
            ));
        }
        let answer = answer?;
        let mut sign_in = self.take(session, name)?;
        if sign_in.until <= request.now {
            return Err(Fault::not_authorized(
                "Invalid session for the user, session is expired.",
            ));
        }
        let metadata = request.metadata();
        let subject = sign_in.subject(request.agent);
        let mut event = subject.request(metadata);
        event.insert(
            "privateChallengeParameters".to_owned(),
            sign_in.private.clone(),
        );
        event.insert("challengeAnswer".to_owned(), answer.into());
        let response = request.call(Trigger::Verify, &subject, &event).await?;
        let is_right = response.get("answerCorrect") == Some(&Value::Bool(true));
        sign_in.rounds.push(json!({
            "challengeName": CUSTOM_CHALLENGE, "challengeResult": is_right, "challengeMetadata": sign_in.metadata,
        }));
        self.go_on(request, sign_in, metadata).await
    }

    /// Takes a session out, so that no other answer can use it.
    fn take(&self, session: &str, name: &str) -> Result<SignIn, Fault> {
        let mut state = self.state();
        let found = state.sessions.get(session);
        let is_own = found.is_some_and(|sign_in| {
            let sub = sign_in.user.as_ref().map(|user| user.sub.as_str());
            sign_in.challenge == CUSTOM_CHALLENGE
                && (sign_in.given_name == name || sub == Some(name))
        });
        let sign_in = is_own.then(|| state.sessions.remove(session)).flatten();
        sign_in.ok_or_else(Fault::invalid_session)
    }

    /// Asks Define for the next step, and Create for the next challenge.
    async fn go_on(
        &self,
        request: &Request<'_>,
        mut sign_in: SignIn,
        metadata: Option<&Value>,
    ) -> Result<Value, Fault> {
        let subject = sign_in.subject(request.agent);
        let mut event = subject.request(metadata);
        event.insert("session".to_owned(), sign_in.rounds.clone().into());
        let response = request.call(Trigger::Define, &subject, &event).await?;
        let is = |name: &str| response.get(name) == Some(&Value::Bool(true));
        if is("failAuthentication") {
            return Err(Fault::not_authorized("Incorrect username or password."));
        }
        if is("issueTokens") {
            return self.finish(request, sign_in);
        }
        if response.get("challengeName").and_then(Value::as_str) != Some(CUSTOM_CHALLENGE) {
            return Err(Fault::new(
                "InvalidLambdaResponseException",
                "DefineAuthChallenge named no challenge that the pool of the desk knows.",
            ));
        }
        event.insert("challengeName".to_owned(), CUSTOM_CHALLENGE.into());
        let mut response = request.call(Trigger::Create, &subject, &event).await?;
        let mut member = |name: &str| response.get_mut(name).map(Value::take).unwrap_or_default();
        let public = member("publicChallengeParameters");
        let has_texts = public
            .as_object()
            .is_some_and(|public| public.values().all(Value::is_string));
        if !has_texts {
            return Err(Fault::new(
                "InvalidLambdaResponseException",
                "CreateAuthChallenge returned parameters that are no texts.",
            ));
        }
        sign_in.private = member("privateChallengeParameters");
        sign_in.metadata = member("challengeMetadata");
        Ok(json!({
            "ChallengeName": CUSTOM_CHALLENGE, "ChallengeParameters": public, "Session": self.keep(request, sign_in),
        }))
    }

    /// Keeps a sign-in until its answer, and forgets those whose time is over.
    fn keep(&self, request: &Request<'_>, mut sign_in: SignIn) -> String {
        sign_in.until = request.desk.now() + SESSION_VALID_FOR;
        let session = random_id() + &random_id();
        let mut state = self.state();
        state
            .sessions
            .retain(|_, other| other.until + SESSION_VALID_FOR > request.now);
        state.sessions.insert(session.clone(), sign_in);
        session
    }

    fn finish(&self, request: &Request<'_>, mut sign_in: SignIn) -> Result<Value, Fault> {
        // Define has the last word about users that exist, and Cognito about those that do not.
        let user = sign_in
            .user
            .clone()
            .ok_or_else(|| Fault::not_authorized("Incorrect username or password."))?;
        if user.status == Status::ForceChangePassword {
            sign_in.challenge = NEW_PASSWORD_REQUIRED;
            return Ok(json!({
                "ChallengeName": NEW_PASSWORD_REQUIRED, "ChallengeParameters": {},
                "Session": self.keep(request, sign_in),
            }));
        }
        let signed_in = SignedIn {
            sub: user.sub.clone(),
            origin: random_id(),
            at: request.now,
        };
        let refresh = random_id() + &random_id();
        let mut result = result_of(request, &user, &signed_in)?;
        if let Some(result) = result.get_mut("AuthenticationResult") {
            result["RefreshToken"] = refresh.clone().into();
        }
        self.state().signed_in.insert(refresh, signed_in);
        Ok(result)
    }

    fn refresh(&self, request: &Request<'_>) -> Result<Value, Fault> {
        let token = request.inner("AuthParameters", "REFRESH_TOKEN")?;
        let state = self.state();
        let found = state
            .signed_in
            .get(token)
            .filter(|found| found.at + REFRESH_VALID_FOR > request.now)
            .and_then(|found| Some((found, state.users.find(&found.sub)?)));
        let (found, user) = found.ok_or_else(|| Fault::not_authorized("Invalid Refresh Token"))?;
        result_of(request, user, found)
    }

    async fn sign_up(&self, request: &Request<'_>) -> Result<Value, Fault> {
        request.check_client()?;
        let name = request.required("Username")?;
        check_password(request.required("Password")?)?;
        if !request.setup.has_sign_up {
            return Err(Fault::not_authorized(
                "SignUp is not permitted for this user pool",
            ));
        }
        let attributes = attributes_of(name, request.input.get("UserAttributes"))?;
        let proof = pairs(request.input.get("ValidationData"))?;
        let mut user = User::new(attributes, Status::Unconfirmed);
        let mut event = Map::new();
        event.insert("userAttributes".to_owned(), json!(user.attributes));
        event.insert("validationData".to_owned(), json!(proof));
        if let Some(metadata) = request.metadata() {
            event.insert("clientMetadata".to_owned(), metadata.clone());
        }
        let subject = Subject {
            name: &user.sub,
            user: None,
            agent: request.agent,
        };
        let response = request.call(Trigger::PreSignUp, &subject, &event).await?;
        let is = |name: &str| response.get(name) == Some(&Value::Bool(true));
        if is("autoConfirmUser") {
            user.status = Status::Confirmed;
        }
        let verified = is("autoVerifyPhone").to_string();
        user.attributes
            .insert("phone_number_verified".to_owned(), verified);
        let answer = json!({ "UserConfirmed": is("autoConfirmUser"), "UserSub": user.sub });
        self.state().users.add(user)?;
        Ok(answer)
    }

    async fn create_user(&self, request: &Request<'_>) -> Result<Value, Fault> {
        request.check_pool()?;
        let name = request.required("Username")?;
        let attributes = attributes_of(name, request.input.get("UserAttributes"))?;
        let user = User::new(attributes, Status::ForceChangePassword);
        if request.setup.has_sign_up {
            let mut event = Map::new();
            event.insert("userAttributes".to_owned(), json!(user.attributes));
            event.insert("validationData".to_owned(), json!({}));
            let subject = Subject {
                name: &user.sub,
                user: None,
                agent: request.agent,
            };
            let trigger = Trigger::PreSignUpByAdministrator;
            request.call(trigger, &subject, &event).await?;
        }
        let attributes: Vec<_> = user.in_events().into_iter().collect();
        let attributes: Vec<_> = attributes
            .iter()
            .filter(|(name, _)| !name.starts_with("cognito:"))
            .map(|(name, value)| json!({ "Name": name, "Value": value }))
            .collect();
        let answer = json!({ "User": {
            "Username": user.sub, "Attributes": attributes, "Enabled": true, "UserStatus": user.status.name(),
        } });
        self.state().users.add(user)?;
        Ok(answer)
    }

    fn set_password(&self, request: &Request<'_>) -> Result<Value, Fault> {
        request.check_pool()?;
        let name = request.required("Username")?;
        check_password(request.required("Password")?)?;
        let is_permanent = request.input.get("Permanent") == Some(&Value::Bool(true));
        let mut state = self.state();
        let user = state
            .users
            .find_mut(name)
            .ok_or_else(|| Fault::new("UserNotFoundException", "User does not exist."))?;
        user.status = if is_permanent {
            Status::Confirmed
        } else {
            Status::ForceChangePassword
        };
        Ok(json!({}))
    }
}

impl SignIn {
    fn subject<'a>(&'a self, agent: &'a str) -> Subject<'a> {
        Subject {
            name: self
                .user
                .as_ref()
                .map_or(self.given_name.as_str(), |user| user.sub.as_str()),
            user: self.user.as_ref(),
            agent,
        }
    }
}

/// The tokens, as `InitiateAuth` and `RespondToAuthChallenge` return them.
fn result_of(request: &Request<'_>, user: &User, signed_in: &SignedIn) -> Result<Value, Fault> {
    let names = [request.setup.issuer.as_str(), CLIENT_ID];
    let tokens = request
        .setup
        .key
        .tokens(user, signed_in, names, request.now);
    let [id, access] = tokens.ok_or_else(Fault::internal)?;
    Ok(json!({
        "AuthenticationResult": {
            "AccessToken": access, "ExpiresIn": VALID_FOR.as_secs(), "IdToken": id, "TokenType": "Bearer",
        },
        "ChallengeParameters": {},
    }))
}
