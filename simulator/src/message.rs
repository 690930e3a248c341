//! The messages on the phone.

use std::time::SystemTime;

use serde::Serialize;

use crate::{clock::serialize_rfc3339, failure::Service, notify::Accepted, ssml, texts};

/// An SMS, a call or a WhatsApp message. `Debug` and JSON show the number and the code. Showing them does no harm here,
/// because no real message was sent.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Message {
    /// Counts up from 1.
    pub id: u64,
    pub service: Service,
    pub channel: Channel,
    pub to: String,
    /// The origination identity.
    pub from: String,
    /// The brand name of a Pinpoint request; empty for End User Messaging, whose templates contain it.
    pub brand: String,
    /// The language that the request names, such as `pt-BR`. The request for an SMS of End User Messaging names no
    /// language. For such an SMS, this field is the language of the built-in text. If the text is not a built-in one,
    /// the field is empty.
    pub language: String,
    /// The words that a person reads or hears, see [`Channel::Voice`].
    pub text: String,
    pub code: String,
    /// The caller's reference. Only End User Messaging allows it to be absent; then it is empty.
    pub reference_id: String,
    /// The voice of a call, if the caller chose one.
    pub voice_id: Option<String>,
    /// The template name of a WhatsApp message, or the template ID of a message by a Notify configuration.
    pub template: Option<String>,
    /// By the simulator's clock.
    #[serde(serialize_with = "serialize_rfc3339")]
    pub sent_at: SystemTime,
    /// The code is refused from this time on, by the simulator's clock.
    #[serde(serialize_with = "serialize_rfc3339")]
    pub expires_at: SystemTime,
    /// The message ID in the response to the caller.
    pub message_id: String,
    /// Whether the service has accepted the code. It is refused from then on.
    pub used: bool,
    /// The wrong guesses that the code allows.
    pub attempts: u32,
    /// Wrong guesses left before the service refuses the code forever.
    pub attempts_left: u32,
    /// The caller's feedback, if any.
    pub feedback: Option<Feedback>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Channel {
    /// In JSON: `sms`.
    Sms,
    /// A call. Its text has the words of the SSML without the tags. A spelled-out code is `1 2 3 4 5 6`, and a pause is
    /// `…`. A template that is not SSML stays as it is. In JSON: `voice`.
    Voice,
    /// A WhatsApp message. Its text is always the English one. In JSON: `whatsapp`.
    WhatsApp,
}

/// The caller's report about a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Feedback {
    /// The message arrived, because its code was used. In JSON: `RECEIVED`.
    Received,
    /// The message did not arrive. In JSON: `FAILED`.
    Failed,
}

/// A message without its code.
#[derive(Debug)]
pub(crate) enum Content {
    /// An SMS with Pinpoint's own text.
    Branded {
        brand: String,
        language: String,
    },
    /// An SMS. The code replaces every [`PLACEHOLDER`].
    Text {
        template: String,
    },
    /// A call. The code replaces every [`PLACEHOLDER`].
    Call {
        template: String,
        is_ssml: bool,
        language: String,
        voice_id: Option<String>,
    },
    WhatsApp {
        template: String,
        language: String,
    },
    /// A message by a Notify configuration. The code replaces every [`PLACEHOLDER`] in the text.
    Notify {
        message: Accepted,
        is_call: bool,
    },
}

pub(crate) const PLACEHOLDER: &str = "{{code}}";

impl Content {
    /// The words that a person reads or hears; `None` for invalid SSML.
    pub(crate) fn render(&self, code: &str) -> Option<String> {
        match self {
            Self::Branded { brand, language } => texts::text(language, brand, code),
            Self::Text { template }
            | Self::Call {
                template,
                is_ssml: false,
                ..
            } => Some(template.replace(PLACEHOLDER, code)),
            Self::Call { template, .. } => ssml::spoken_words(&template.replace(PLACEHOLDER, code)),
            // A call says the characters of a code one by one.
            Self::Notify {
                message,
                is_call: true,
            } => {
                let spelled: Vec<_> = code.chars().map(String::from).collect();
                Some(message.text.replace(PLACEHOLDER, &spelled.join(" ")))
            }
            Self::Notify { message, .. } => Some(message.text.replace(PLACEHOLDER, code)),
            Self::WhatsApp { .. } => Some(format!("{code} is your verification code.")),
        }
    }
}
