//! The behavior of AWS where its documentation leaves the question open. `make probe` asks a real account and writes
//! the answers into a file. The simulator reads this file, and does as AWS did.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use crate::{
    failure::{Failure, Operation, Service},
    notify::is_notify_configuration,
};

/// AWS's simulator number of the United States whose messages fail.
pub(crate) const FAILURE_NUMBER: &str = "+14254147167";

/// The effect of a second send to the same number under the same reference.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SecondSend {
    /// The second code replaces the first, and has its own attempts and validity.
    #[default]
    EndsTheFirst,
    /// Both codes are good.
    KeepsTheFirst,
    /// The second message has the code of the first, as long as that code is good. Attempts and validity stay.
    RepeatsTheCode,
    /// No message is sent while the first code is good. Pinpoint: 200, `DUPLICATE`. End User Messaging: 409
    /// `ConflictException`.
    Refused,
}

/// The response to a guess that is not accepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NotAccepted {
    /// The same as to a wrong guess.
    #[default]
    Wrong,
    /// The exception of a resource that does not exist.
    NotFound,
    /// The exception of a request that is not valid.
    BadRequest,
}

/// Whether a guess is accepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Right {
    Accepted,
    /// The response is the same as to a wrong guess.
    #[default]
    Wrong,
    NotFound,
    BadRequest,
}

impl Right {
    pub(crate) fn refused(self) -> Option<NotAccepted> {
        match self {
            Self::Accepted => None,
            Self::Wrong => Some(NotAccepted::Wrong),
            Self::NotFound => Some(NotAccepted::NotFound),
            Self::BadRequest => Some(NotAccepted::BadRequest),
        }
    }
}

/// The places of `{{code}}` in a template that the code is written into.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Placeholders {
    #[default]
    Every,
    First,
}

/// The forms of the identity of a Notify configuration that a send takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NotifyIdentity {
    #[default]
    IdAndArn,
    Id,
    Arn,
}

/// The facts about one service. The default is what the simulator does without a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Facts {
    pub second_send: SecondSend,
    /// A guess under a reference that was never used.
    pub unknown_reference: NotAccepted,
    /// A guess at a code without attempts.
    pub exhausted_code: NotAccepted,
    /// A wrong guess at a code that has expired.
    pub expired_code: NotAccepted,
    /// The right guess, ten seconds after the code has expired.
    pub late_code: Right,
    /// The right guess, a second time.
    pub right_code_twice: Right,
    /// The right guess for another number than the code was sent to.
    pub other_number: Right,
    pub placeholders: Placeholders,
    /// A send to AWS's simulator number for failures.
    pub failure_number: Failure,
    /// Feedback on a message of a code verification.
    pub feedback: Failure,
    /// The actions that a caller needs beside `SendNotifyCodeVerification`.
    pub permissions: Vec<String>,
    pub notify_identity: NotifyIdentity,
}

impl Default for Facts {
    fn default() -> Self {
        Self {
            second_send: SecondSend::default(),
            unknown_reference: NotAccepted::default(),
            exhausted_code: NotAccepted::default(),
            expired_code: NotAccepted::default(),
            late_code: Right::default(),
            right_code_twice: Right::default(),
            other_number: Right::default(),
            placeholders: Placeholders::default(),
            failure_number: Failure::Successful,
            feedback: Failure::Successful,
            permissions: vec!["sms-voice:SendTextMessage".to_owned()],
            notify_identity: NotifyIdentity::default(),
        }
    }
}

impl NotifyIdentity {
    /// Whether a send takes this identity, if it is one of a Notify configuration.
    pub(crate) fn takes(self, identity: &str) -> bool {
        let is_arn = identity.starts_with("arn:");
        match self {
            _ if !is_notify_configuration(identity) => true,
            Self::IdAndArn => true,
            Self::Id => !is_arn,
            Self::Arn => is_arn,
        }
    }
}

impl Facts {
    /// How a send to this number fails, if it fails.
    pub(crate) fn failure_of_a_send(&self, number: &str) -> Option<&Failure> {
        (number == FAILURE_NUMBER && self.failure_number != Failure::Successful)
            .then_some(&self.failure_number)
    }

    fn problem(&self, service: Service) -> Option<String> {
        let possible = [
            (
                "failureNumber",
                &self.failure_number,
                service,
                Operation::Send,
            ),
            (
                "feedback",
                &self.feedback,
                Service::PinpointSmsVoiceV2,
                Operation::Feedback,
            ),
        ];
        possible
            .into_iter()
            .find(|(_, failure, service, operation)| {
                **failure != Failure::Successful && !failure.applies_to(*service, *operation)
            })
            .map(|(name, ..)| format!("{name}: this service has no such answer"))
    }
}

/// The facts about all services. A service without facts has the default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllFacts {
    pub pinpoint: Facts,
    pub end_user_messaging: Facts,
}

/// The file that `make probe` writes.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    format: u32,
    providers: BTreeMap<Service, OfProvider>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct OfProvider {
    facts: Facts,
    /// For people: region, date, and the questions without an answer.
    #[serde(rename = "region")]
    _region: String,
    #[serde(rename = "asked")]
    _asked: String,
    #[serde(rename = "answeredBy")]
    _answered_by: String,
    #[serde(rename = "open")]
    _open: BTreeMap<String, String>,
}

/// The reason why a file with facts cannot be used.
#[derive(Debug)]
pub struct NoFacts(String);

impl fmt::Display for NoFacts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for NoFacts {}

impl AllFacts {
    /// Reads the file of `make probe`.
    ///
    /// # Errors
    ///
    /// If the text is not such a file, or has an answer that the simulator cannot imitate.
    pub fn parse(text: &str) -> Result<Self, NoFacts> {
        let file: File = serde_json::from_str(text).map_err(|error| NoFacts(error.to_string()))?;
        if file.format != 1 {
            return Err(NoFacts(format!(
                "format is {}, and this desk reads 1",
                file.format
            )));
        }
        let mut all = Self::default();
        for (service, of_provider) in file.providers {
            if let Some(problem) = of_provider.facts.problem(service) {
                return Err(NoFacts(problem));
            }
            match service {
                Service::Pinpoint => all.pinpoint = of_provider.facts,
                Service::EndUserMessaging => all.end_user_messaging = of_provider.facts,
                Service::PinpointSmsVoiceV2 => {
                    return Err(NoFacts("pinpoint-sms-voice-v2 is no provider".to_owned()));
                }
            }
        }
        Ok(all)
    }

    pub(crate) fn of(&self, service: Service) -> &Facts {
        match service {
            Service::Pinpoint => &self.pinpoint,
            _ => &self.end_user_messaging,
        }
    }
}
