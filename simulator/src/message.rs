//! What arrives on the phone.

use std::time::SystemTime;

use serde::Serialize;

use crate::{clock::serialize_rfc3339, failure::Service, ssml, texts};

/// A text, a call or a chat message on the phone. `Debug` and the JSON show number and code: this is a simulator, nobody's
/// secret is in it.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Message {
    /// Counts up from 1; a later message has a higher one.
    pub id: u64,
    /// The service that sent it.
    pub service: Service,
    /// How it came.
    pub channel: Channel,
    /// The phone number it was sent to.
    pub to: String,
    /// The origination identity it came from.
    pub from: String,
    /// The brand name that Pinpoint was given; empty for End User Messaging, where it is a part of the template.
    pub brand: String,
    /// The language, as in the API (`pt-BR`); empty for a text of End User Messaging, which has none but its template's.
    pub language: String,
    /// What the person reads, or hears: see [`Channel::Voice`].
    pub text: String,
    /// The code in the text.
    pub code: String,
    /// The caller's reference; empty if there was none, which End User Messaging alone allows.
    pub reference_id: String,
    /// Who speaks, if the caller chose a voice.
    pub voice_id: Option<String>,
    /// The name of the template of a chat message.
    pub template: Option<String>,
    /// When it was sent, by the simulator's clock.
    #[serde(serialize_with = "serialize_rfc3339")]
    pub sent_at: SystemTime,
    /// From this moment on the code is refused, by the simulator's clock.
    #[serde(serialize_with = "serialize_rfc3339")]
    pub expires_at: SystemTime,
    /// The id that the answer to the caller carried.
    pub message_id: String,
    /// What the caller said became of it; none if it said nothing.
    pub feedback: Option<Feedback>,
}

/// How a message comes to a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Channel {
    /// A text. In JSON: `sms`.
    Sms,
    /// A call. The text is what is heard: of SSML no tags, what is spelled out as `1 2 3 4 5 6`, a pause as `…`; what is
    /// no SSML as it is, for a number read out is one number. In JSON: `voice`.
    Voice,
    /// A WhatsApp message. The text is Meta's fixed one, here in English whatever the language. In JSON: `whatsapp`.
    WhatsApp,
}

/// What became of a message, as its caller says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Feedback {
    /// Somebody has it: the code was used. In JSON: `RECEIVED`.
    Received,
    /// Nobody has it. In JSON: `FAILED`.
    Failed,
}

/// What a message says, the code apart.
#[derive(Debug)]
pub(crate) enum Content {
    /// A text of Pinpoint's own.
    Branded { brand: String, language: String },
    /// A text with the code in every [`PLACEHOLDER`].
    Text { template: String },
    /// A call, likewise.
    Call {
        template: String,
        is_ssml: bool,
        language: String,
        voice_id: Option<String>,
    },
    /// A chat message.
    WhatsApp { template: String, language: String },
}

/// Where the code goes.
pub(crate) const PLACEHOLDER: &str = "{{code}}";

impl Content {
    /// What the person reads or hears, or nothing if the content cannot be said.
    pub(crate) fn with(&self, code: &str) -> Option<String> {
        match self {
            Self::Branded { brand, language } => texts::text(language, brand, code),
            Self::Text { template }
            | Self::Call {
                template,
                is_ssml: false,
                ..
            } => Some(template.replace(PLACEHOLDER, code)),
            Self::Call { template, .. } => ssml::heard(&template.replace(PLACEHOLDER, code)),
            Self::WhatsApp { .. } => Some(format!("{code} is your verification code.")),
        }
    }
}
