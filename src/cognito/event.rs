//! The raw JSON of a trigger's event. Each field is read by itself, and the event is returned with only `response`
//! changed.
//!
//! Typed structs would refuse the whole event if AWS changed one field or an emulator left one out. In raw JSON, a
//! field counts as absent if it is missing, null or of another type. The other fields are still read.

use super::define::Round;
use crate::json::{self, Entries};
use crate::phone::PhoneNumber;
use crate::policy::ExtraPrefixes;
use crate::service::User;
use serde::Deserialize;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value};

/// The top-level fields of an event, in their order and as they were written.
pub(super) struct Event<'a>(Entries<&'a RawValue>);

impl<'a> Event<'a> {
    /// `None` if the event is not an object.
    pub(super) fn read(event: &'a RawValue) -> Option<Self> {
        json::read(Some(event)).map(Self)
    }

    pub(super) fn text(&self, name: &str) -> Option<String> {
        json::read(self.0.get(name))
    }

    /// Returns the event with another `response`, and every other field byte for byte as it came.
    pub(super) fn with_response(&self, response: &Value) -> Option<Box<RawValue>> {
        let response = to_raw_value(response).ok()?;
        let Entries(fields) = &self.0;
        let others = fields
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

/// The fields of an event that the triggers need.
pub(super) struct Request {
    pub(super) user: User,
    pub(super) user_not_found: bool,
    pub(super) session: Vec<Round>,
    attributes: Map<String, Value>,
    /// The `privateChallengeParameters` that Create returned.
    pub(super) private: Option<PrivateParameters>,
    pub(super) answer: Option<String>,
    /// `clientMetadata.language`.
    pub(super) client_language: Option<String>,
    /// `validationData.referenceId`: the verification that a sign-up presents as its proof.
    pub(super) proof: Option<String>,
}

pub(super) struct PrivateParameters {
    /// The sign-in session: `reference` in the event.
    pub(super) session: String,
    pub(super) nonce: String,
}

/// The fields of `request`, each left as raw JSON. So one field of an unexpected type does not spoil the others.
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
    pub(super) fn read(event: &Event<'_>) -> Self {
        let raw: RawRequest<'_> = json::read_object(event.0.get("request")).unwrap_or_default();
        let caller_context = read_map(event.0.get("callerContext"));
        let private = read_map(raw.private_challenge_parameters);
        let rounds: Vec<Box<RawValue>> = json::read(raw.session).unwrap_or_default();
        Self {
            user: User {
                pool: event.text("userPoolId").unwrap_or_default(),
                client: text_of(&caller_context, "clientId").unwrap_or_default(),
                name: event.text("userName").unwrap_or_default(),
            },
            // Fails closed: any value but `false` and `null` means that the user does not exist.
            user_not_found: raw
                .user_not_found
                .is_some_and(|value| !["false", "null"].contains(&value.get())),
            session: rounds.iter().map(|round| read_round(round)).collect(),
            attributes: read_map(raw.user_attributes),
            private: text_of(&private, "reference")
                .zip(text_of(&private, "nonce"))
                .map(|(session, nonce)| PrivateParameters { session, nonce }),
            answer: json::read(raw.challenge_answer),
            client_language: text_of(&read_map(raw.client_metadata), "language"),
            proof: text_of(&read_map(raw.validation_data), "referenceId"),
        }
    }

    /// The user's number, which may be stored in an old spelling. `Err` names the outcome for the log.
    pub(super) fn stored_number(
        &self,
        prefixes: &ExtraPrefixes,
    ) -> Result<PhoneNumber, &'static str> {
        if self.user_not_found {
            return Err("user_not_found");
        }
        let stored = self.attribute("phone_number").map(str::trim);
        let stored = stored
            .filter(|stored| !stored.is_empty())
            .ok_or("no_number")?;
        prefixes.read_stored(stored).map_err(|_| "invalid_number")
    }

    /// Whether Cognito says that the number is verified: by a boolean, or by the word `true` in any case.
    pub(super) fn is_verified(&self) -> bool {
        match self.attributes.get("phone_number_verified") {
            Some(Value::Bool(is_verified)) => *is_verified,
            Some(Value::String(word)) => word.eq_ignore_ascii_case("true"),
            _ => false,
        }
    }

    /// The number of the user attributes, if it is valid.
    pub(super) fn number(&self, prefixes: &ExtraPrefixes) -> Option<PhoneNumber> {
        prefixes.read(self.attribute("phone_number")?).ok()
    }

    pub(super) fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.get(name)?.as_str()
    }
}

/// Reads a round of the history. An unreadable round has no name, and Define then fails the sign-in.
fn read_round(round: &RawValue) -> Round {
    let round = read_map(Some(round));
    Round {
        name: text_of(&round, "challengeName"),
        result: round.get("challengeResult").and_then(Value::as_bool),
        metadata: text_of(&round, "challengeMetadata"),
    }
}

fn read_map(raw: Option<&RawValue>) -> Map<String, Value> {
    json::read(raw).unwrap_or_default()
}

fn text_of(map: &Map<String, Value>, name: &str) -> Option<String> {
    map.get(name)?.as_str().map(str::to_owned)
}
