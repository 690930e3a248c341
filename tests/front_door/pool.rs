//! A simulated user pool: it invokes our triggers in the order and with the fields that AWS documents.

use crate::world::{NUMBER, World, file};
use otp_lambda::ledger::Issuer;
use serde_json::{Map, Value, json};
use std::time::Duration;

pub(crate) const OTHER: &str = "+14255550143";

pub(crate) const HALF_A_MINUTE: Duration = Duration::from_secs(30);

/// The response time floor is 0 except in the tests about it.
pub(crate) async fn world(settings: &[(&str, &str)]) -> World {
    World::counted(&[&[("COGNITO_FLOOR_MS", "0")], settings].concat()).await
}

pub(crate) fn user() -> User {
    User::with_number(NUMBER)
}

/// The `nth` of nine guesses that differ from `code` and from each other.
pub(crate) fn wrong(code: &str, nth: u8) -> String {
    let last = code.bytes().last().unwrap() - b'0';
    format!("{}{}", &code[..code.len() - 1], (last + nth) % 10)
}

/// Seconds since 1970 of `2026-11-23T10:15:00Z`.
pub(crate) fn seconds(time: &Value) -> u64 {
    let time = time.as_str().unwrap();
    let part = |range: std::ops::Range<usize>| time[range].parse::<u64>().unwrap();
    // Days since 1 March of year 0. Years that begin in March have their leap day at the end.
    let (year, month) = (part(0..4), part(5..7));
    let (year, month) = if month < 3 {
        (year - 1, month + 9)
    } else {
        (year, month - 3)
    };
    let days =
        365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + part(8..10) - 1;
    (days - 719_468) * 86_400 + part(11..13) * 3600 + part(14..16) * 60 + part(17..19)
}

/// A user who signs in, or a user name that does not exist.
#[derive(Clone, Debug)]
pub(crate) struct User {
    pub(crate) pool: &'static str,
    pub(crate) client: &'static str,
    pub(crate) name: String,
    pub(crate) attributes: Value,
    pub(crate) not_found: bool,
}

impl User {
    /// A user with this verified number.
    pub(crate) fn with_number(number: &str) -> Self {
        let attributes = json!({
            "sub": format!("sub-of-{}", &number[number.len() - 4..]),
            "cognito:user_status": "CONFIRMED",
            "phone_number_verified": "true",
            "phone_number": number,
        });
        Self {
            pool: "us-east-1_aB3xmpl9Z",
            client: "3n4b5urk1ft4fl3mg5e62d9ado",
            name: format!("sub-of-{}", &number[number.len() - 4..]),
            attributes,
            not_found: false,
        }
    }

    /// A user name that does not exist, in a pool that hides this from its clients.
    pub(crate) fn unknown(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            attributes: json!({}),
            not_found: true,
            ..Self::with_number("+14255550142")
        }
    }

    /// The same user with another attribute, or without it if `value` is null.
    pub(crate) fn but(mut self, attribute: &str, value: Value) -> Self {
        let attributes = self.attributes.as_object_mut().unwrap();
        match value {
            Value::Null => attributes.remove(attribute),
            value => attributes.insert(attribute.to_owned(), value),
        };
        self
    }

    /// The example event of this name, for this user and with these fields of `request`.
    pub(crate) fn event(&self, name: &str, fields: Value) -> Value {
        let mut event = file(name);
        event["userPoolId"] = json!(self.pool);
        event["callerContext"]["clientId"] = json!(self.client);
        event["userName"] = json!(self.name);
        let request = event["request"].as_object_mut().unwrap();
        request.insert("userAttributes".to_owned(), self.attributes.clone());
        request.insert("userNotFound".to_owned(), json!(self.not_found));
        let Value::Object(fields) = fields else {
            unreachable!("the fields are an object")
        };
        request.extend(fields);
        event
    }
}

/// One sign-in, from its first trigger on.
#[derive(Clone, Debug)]
pub(crate) struct SignIn {
    pub(crate) user: User,
    /// The completed rounds.
    pub(crate) session: Vec<Value>,
    /// The public parameters of the open challenge.
    pub(crate) shown: Map<String, Value>,
    pub(crate) private: Value,
    pub(crate) metadata: Value,
    /// The `clientMetadata` that the client sends.
    pub(crate) client_metadata: Value,
}

/// The consequence of a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    Tokens,
    Failed,
    Asked,
}

impl SignIn {
    /// A sign-in before its first trigger.
    pub(crate) fn new(user: &User) -> Self {
        Self {
            user: user.clone(),
            session: Vec::new(),
            shown: Map::new(),
            private: Value::Null,
            metadata: Value::Null,
            client_metadata: Value::Null,
        }
    }

    /// Runs a sign-in up to its first challenge.
    pub(crate) async fn begin(world: &World, user: &User) -> Self {
        let mut sign_in = Self::new(user);
        assert_eq!(sign_in.go_on(world).await, Next::Asked);
        sign_in
    }

    pub(crate) fn define_event(&self) -> Value {
        self.user.event(
            "cognito.define",
            self.with_client_metadata(json!({ "session": self.session })),
        )
    }

    pub(crate) fn create_event(&self) -> Value {
        let request = json!({ "challengeName": "CUSTOM_CHALLENGE", "session": self.session });
        self.user
            .event("cognito.create", self.with_client_metadata(request))
    }

    pub(crate) fn verify_event(&self, answer: &str) -> Value {
        let request =
            json!({ "privateChallengeParameters": self.private, "challengeAnswer": answer });
        let mut event = self.user.event("cognito.verify", request);
        event["request"]
            .as_object_mut()
            .unwrap()
            .remove("clientMetadata");
        event["request"] = self.with_client_metadata(event["request"].take());
        event
    }

    fn with_client_metadata(&self, mut request: Value) -> Value {
        if !self.client_metadata.is_null() {
            request["clientMetadata"] = self.client_metadata.clone();
        }
        request
    }

    /// Keeps a response to Create, as the pool does.
    pub(crate) fn keep(&mut self, response: &Value) {
        is_challenge(response);
        self.shown
            .clone_from(response["publicChallengeParameters"].as_object().unwrap());
        self.private = response["privateChallengeParameters"].clone();
        self.metadata = response["challengeMetadata"].clone();
    }

    /// Runs Define, and Create if Define asks for a challenge.
    pub(crate) async fn go_on(&mut self, world: &World) -> Next {
        let decision = world.trigger(&self.define_event()).await;
        match decision_of(&decision) {
            Next::Asked => {
                assert_eq!(decision["challengeName"], "CUSTOM_CHALLENGE");
                let response = world.trigger(&self.create_event()).await;
                self.keep(&response);
                Next::Asked
            }
            other => other,
        }
    }

    /// Runs Verify alone.
    pub(crate) async fn verify(&self, world: &World, answer: &str) -> bool {
        answer_correct(&world.trigger(&self.verify_event(answer)).await)
    }

    /// Adds a completed round to the session.
    pub(crate) fn answered(&mut self, right: bool) {
        self.session.push(json!({
            "challengeName": "CUSTOM_CHALLENGE",
            "challengeResult": right,
            "challengeMetadata": self.metadata,
        }));
    }

    /// Runs Verify and the triggers that follow.
    pub(crate) async fn answer(&mut self, world: &World, answer: &str) -> Next {
        let right = self.verify(world, answer).await;
        self.answered(right);
        self.go_on(world).await
    }

    /// Answers with the newest code, which is right.
    pub(crate) async fn signs_in(&mut self, world: &World) {
        let next = self.answer(world, &world.newest_code()).await;
        assert_eq!(next, Next::Tokens, "{self:?}");
    }

    #[track_caller]
    pub(crate) fn is(&self, state: &str, left: &str) {
        assert_eq!(
            (&self.shown["state"], &self.shown["attemptsLeft"]),
            (&json!(state), &json!(left)),
            "{self:?}"
        );
    }
}

impl World {
    /// Invokes the function with a trigger's event and returns its `response`. No other field may change.
    pub(crate) async fn trigger(&self, event: &Value) -> Value {
        let mut answer = self
            .raw(&event.to_string())
            .await
            .expect("a trigger has a response");
        let response = answer["response"].take();
        let mut asked = event.clone();
        asked["response"] = Value::Null;
        assert_eq!(answer, asked, "only the response changes");
        response
    }

    pub(crate) fn code_of(&self, number: &str) -> String {
        self.simulator
            .newest_to(number)
            .expect("a message arrived")
            .code
    }

    /// The attempts left in the ledger's only verification that is not a decoy.
    pub(crate) fn attempts_left(&self) -> u8 {
        let mut real = self.ledger.verifications();
        real.retain(|_, verification| verification.issuers != [Issuer::Decoy]);
        assert_eq!(real.len(), 1);
        real.values().next().unwrap().left
    }
}

/// Asserts that a response to Define is complete, and returns its decision.
#[track_caller]
pub(crate) fn decision_of(response: &Value) -> Next {
    let response = response.as_object().expect("a response is an object");
    let next = match (&response["issueTokens"], &response["failAuthentication"]) {
        (Value::Bool(true), Value::Bool(false)) => Next::Tokens,
        (Value::Bool(false), Value::Bool(true)) => Next::Failed,
        (Value::Bool(false), Value::Bool(false)) => Next::Asked,
        other => panic!("not a decision: {other:?}"),
    };
    let fields = if next == Next::Asked { 3 } else { 2 };
    assert_eq!(response.len(), fields, "{response:?}");
    next
}

/// Asserts that a response to Create is complete and that Cognito accepts it.
#[track_caller]
pub(crate) fn is_challenge(response: &Value) {
    let fields = |value: &Value| {
        let mut fields: Vec<_> = value.as_object().unwrap().keys().cloned().collect();
        fields.sort();
        fields
    };
    assert_eq!(
        fields(response),
        [
            "challengeMetadata",
            "privateChallengeParameters",
            "publicChallengeParameters"
        ]
    );
    let (shown, private) = (
        &response["publicChallengeParameters"],
        &response["privateChallengeParameters"],
    );
    assert_eq!(
        fields(shown),
        [
            "attemptsLeft",
            "codeLength",
            "destinationNumber",
            "expiresAt",
            "resendAt",
            "state"
        ],
        "{shown}"
    );
    assert_eq!(fields(private), ["nonce", "reference"], "{private}");
    for value in shown
        .as_object()
        .unwrap()
        .values()
        .chain(private.as_object().unwrap().values())
    {
        assert!(
            value.as_str().is_some_and(|text| !text.is_empty()),
            "a parameter is a string: {value}"
        );
    }
    for field in ["expiresAt", "resendAt"] {
        assert!(
            shown[field]
                .as_str()
                .is_some_and(|time| time.len() == 20 && time.ends_with('Z')),
            "{shown}"
        );
    }
    let left = shown["attemptsLeft"].as_str().unwrap();
    assert!(left.parse::<u8>().unwrap() <= 5, "{shown}");
    let state = shown["state"].as_str().unwrap();
    assert!(
        ["sent", "adopted", "try_again", "ended"].contains(&state),
        "{shown}"
    );
    assert_eq!(state == "ended", left == "0", "{shown}");
    let number = shown["destinationNumber"].as_str().unwrap();
    assert!(
        number.starts_with('+') && number.contains("*******"),
        "{shown}"
    );
    let reference = private["reference"].as_str().unwrap();
    assert!(
        reference.len() <= 64
            && reference
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b))
    );
    assert_eq!(
        response["challengeMetadata"],
        json!(format!("v1:{reference}:{left}"))
    );
}

/// Asserts that a response to Verify is complete, and returns whether the answer is right.
#[track_caller]
pub(crate) fn answer_correct(response: &Value) -> bool {
    assert_eq!(response.as_object().map(Map::len), Some(1), "{response}");
    response["answerCorrect"]
        .as_bool()
        .expect("answerCorrect is a boolean")
}
