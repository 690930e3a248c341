//! The users of the pool. As in the template's pool, people sign in with their number, and Cognito makes the user name.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::Fault;
use crate::wire::{is_e164, random_id};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    Confirmed,
    /// Nothing has confirmed the sign-up.
    Unconfirmed,
    /// An administrator made the user, and the user has a temporary password.
    ForceChangePassword,
}

impl Status {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Confirmed => "CONFIRMED",
            Self::Unconfirmed => "UNCONFIRMED",
            Self::ForceChangePassword => "FORCE_CHANGE_PASSWORD",
        }
    }
}

#[derive(Clone)]
pub(super) struct User {
    /// The user name, too.
    pub(super) sub: String,
    pub(super) status: Status,
    /// Without `sub`.
    pub(super) attributes: BTreeMap<String, String>,
}

impl User {
    pub(super) fn new(attributes: BTreeMap<String, String>, status: Status) -> Self {
        Self {
            sub: random_id(),
            status,
            attributes,
        }
    }

    /// A user with a verified number.
    pub(super) fn verified(number: &str) -> Self {
        let attributes = [("phone_number", number), ("phone_number_verified", "true")];
        let attributes = attributes.map(|(name, value)| (name.to_owned(), value.to_owned()));
        Self::new(attributes.into(), Status::Confirmed)
    }

    pub(super) fn number(&self) -> Option<&str> {
        self.attributes.get("phone_number").map(String::as_str)
    }

    /// The attributes in the event of a sign-in.
    pub(super) fn in_events(&self) -> Map<String, Value> {
        let own = self.attributes.iter();
        own.map(|(name, value)| (name.as_str(), value.as_str()))
            .chain([
                ("sub", self.sub.as_str()),
                ("cognito:user_status", self.status.name()),
            ])
            .map(|(name, value)| (name.to_owned(), value.into()))
            .collect()
    }
}

#[derive(Default)]
pub(super) struct Users(Vec<User>);

impl Users {
    /// By number or by user name.
    pub(super) fn find(&self, name: &str) -> Option<&User> {
        self.0
            .iter()
            .find(|user| user.sub == name || user.number() == Some(name))
    }

    pub(super) fn find_mut(&mut self, name: &str) -> Option<&mut User> {
        self.0
            .iter_mut()
            .find(|user| user.sub == name || user.number() == Some(name))
    }

    /// Adds a user whose number no other user has.
    pub(super) fn add(&mut self, user: User) -> Result<(), Fault> {
        if user.number().is_some_and(|own| self.find(own).is_some()) {
            return Err(Fault::new(
                "UsernameExistsException",
                "An account with the given phone_number already exists.",
            ));
        }
        self.0.push(user);
        Ok(())
    }
}

/// The attributes of a new user with this name, which is a number.
pub(super) fn attributes_of(
    name: &str,
    given: Option<&Value>,
) -> Result<BTreeMap<String, String>, Fault> {
    let mut attributes = pairs(given)?;
    let number = attributes
        .entry("phone_number".to_owned())
        .or_insert_with(|| name.to_owned());
    if !is_e164(name) || number != name {
        return Err(Fault::invalid("Invalid phone number format."));
    }
    Ok(attributes)
}

/// A list of names and values, as `UserAttributes` and `ValidationData` are.
pub(super) fn pairs(given: Option<&Value>) -> Result<BTreeMap<String, String>, Fault> {
    let given = given.filter(|given| !given.is_null());
    let Some(given) = given else {
        return Ok(BTreeMap::new());
    };
    let text = |pair: &Value, name: &str| pair.get(name)?.as_str().map(str::to_owned);
    let pairs = given.as_array().and_then(|pairs| {
        pairs
            .iter()
            .map(|pair| Some((text(pair, "Name")?, text(pair, "Value").unwrap_or_default())))
            .collect()
    });
    pairs.ok_or_else(|| {
        Fault::new(
            "SerializationException",
            "A list of names and values was expected.",
        )
    })
}

/// Checks a password by the default policy of a pool.
pub(super) fn check_password(password: &str) -> Result<(), Fault> {
    let has = |test: fn(char) -> bool| password.chars().any(test);
    let missing = if password.chars().count() < 8 {
        "Password not long enough"
    } else if !has(|own| own.is_ascii_lowercase()) {
        "Password must have lowercase characters"
    } else if !has(|own| own.is_ascii_uppercase()) {
        "Password must have uppercase characters"
    } else if !has(|own| own.is_ascii_digit()) {
        "Password must have numeric characters"
    } else if !has(|own| own.is_ascii_punctuation()) {
        "Password must have symbol characters"
    } else {
        return Ok(());
    };
    Err(Fault::new(
        "InvalidPasswordException",
        format!("Password did not conform with policy: {missing}"),
    ))
}
