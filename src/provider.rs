//! The contract of a provider, and the types that it uses.

use crate::error::Error;
use crate::language::Tag;
use crate::otp::{CodeShape, Otp};
use crate::phone::PhoneNumber;
use crate::reference::ReferenceId;
use async_trait::async_trait;
use std::ops::RangeInclusive;
use std::time::Duration;

/// A service that makes codes, delivers them and checks guesses.
///
/// Each call reaches the service at most once, and is not repeated. AWS has no idempotency token for sends, so a second
/// try could send a second message. A second try of a verify could use up another attempt.
#[async_trait]
pub trait Provider: Send + Sync {
    /// The name in settings and logs.
    fn name(&self) -> &'static str;

    /// The ranges that requests and settings must stay within.
    fn limits(&self) -> &ProviderLimits;

    /// The number of segments that the networks charge for this message. [`send`](Self::send) sends no more segments
    /// than this.
    ///
    /// If a provider makes the text itself, this method returns one, because this program does not know the length of
    /// the provider's text.
    fn segments(&self, message: &Message<'_>) -> u64 {
        let _ = message;
        1
    }

    /// The text of this message, with `{{code}}` in the place of the code. `None` if the provider makes the text itself.
    fn text(&self, message: &Message<'_>) -> Option<String> {
        let _ = message;
        None
    }

    /// Makes a code and sends it.
    ///
    /// Ends within `time_limit`.
    ///
    /// # Errors
    ///
    /// No message was sent, or it is unknown whether one was sent. The error says which of the two, and why.
    async fn send(&self, message: &Message<'_>, time_limit: Duration) -> Result<Receipt, Error>;

    /// Checks a guess against the code that was sent to `to` under `reference`.
    ///
    /// Ends within `time_limit`.
    ///
    /// # Errors
    ///
    /// There is no verdict, and the error says why. The provider may have counted the guess.
    async fn verify(
        &self,
        to: &PhoneNumber,
        reference: &ReferenceId,
        otp: &Otp,
        time_limit: Duration,
    ) -> Result<Answer, Error>;

    /// Opens a connection for the next call, if none is open. Makes no call. The default does nothing.
    async fn connect(&self) {}

    /// Opens a connection if the last one has been idle for so long that it is not used again. Makes no call. The
    /// default does nothing.
    async fn reconnect(&self) {}

    /// Whether [`code_came_back`](Self::code_came_back) uses the message ID. If the provider does not use the ID, the
    /// ledger does not keep it.
    fn wants_message_ids(&self) -> bool {
        false
    }

    /// Gives feedback: a person has entered the code of this message. The service's filters can learn from this. The
    /// default does nothing.
    ///
    /// Ends within `time_limit`.
    ///
    /// # Errors
    ///
    /// The cause of the failure, for the log.
    async fn code_came_back(&self, message_id: &str, time_limit: Duration) -> Result<(), String> {
        let _ = (message_id, time_limit);
        Ok(())
    }
}

/// The values that a provider accepts. Requests and settings are checked against them before any call.
#[derive(Debug)]
pub struct ProviderLimits {
    pub code: CodeShape,
    /// For how many minutes a code is valid.
    pub validity_minutes: RangeInclusive<u8>,
    /// How many guesses a code allows.
    pub allowed_attempts: RangeInclusive<u8>,
    /// How many characters a brand name may have.
    pub brand_name: RangeInclusive<u8>,
    /// The channels, the default first.
    pub channels: Vec<ChannelLimits>,
    /// Whether a language that a channel lacks is replaced by its closest one. Otherwise such a language is an error.
    pub any_language: bool,
    /// Whether the brand is a display name that the provider keeps. All messages then have this brand.
    pub brand_is_display_name: bool,
    /// The provider's own caps on messages, if all messages fall under them.
    pub quotas: Option<Quotas>,
}

/// Caps of the provider on messages. The operator's limits must be at most as high, so that a refusal has a reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quotas {
    /// The messages to one number in a day.
    pub a_number_a_day: usize,
    /// All messages in a day; `None` if there is no cap.
    pub a_day: Option<u64>,
}

impl ProviderLimits {
    /// The languages of a channel; empty if the provider lacks the channel.
    #[must_use]
    pub fn languages(&self, channel: Channel) -> &[Tag] {
        self.channels
            .iter()
            .find(|own| own.channel == channel)
            .map_or(&[], |own| &own.languages)
    }

    /// The channel of a message if the request names none.
    #[must_use]
    pub fn usual_channel(&self) -> Channel {
        self.channels
            .first()
            .map_or(Channel::Sms, |first| first.channel)
    }
}

/// A channel and its languages.
#[derive(Debug)]
pub struct ChannelLimits {
    pub channel: Channel,
    /// Languages of the message, as BCP 47 tags.
    pub languages: Vec<Tag>,
}

/// A way to deliver a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Channel {
    /// A text message.
    Sms,
    /// A call that speaks the code.
    Voice,
    /// A WhatsApp message.
    WhatsApp,
}

impl Channel {
    /// The name in requests, responses, settings and the ledger.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Sms => "sms",
            Self::Voice => "voice",
            Self::WhatsApp => "whatsapp",
        }
    }

    /// The channel of this name; `None` if there is none.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        [Self::Sms, Self::Voice, Self::WhatsApp]
            .into_iter()
            .find(|channel| channel.name() == name)
    }
}

/// An order to make a code and send it.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    pub to: &'a PhoneNumber,
    /// The code will be verified under this reference.
    pub reference: &'a ReferenceId,
    pub channel: Channel,
    pub brand_name: &'a str,
    /// The length of the code in characters.
    pub code_length: u8,
    /// For how many minutes the code is valid.
    pub validity_minutes: u8,
    /// How many guesses the code allows.
    pub allowed_attempts: u8,
    /// The language of the text, one of the channel's.
    pub language: &'a str,
    /// The sender: a phone number, a sender ID, or the ARN or ID of one of these or of a pool.
    pub origination_identity: &'a str,
    /// The registration that Indian networks require.
    pub dlt: Option<&'a Dlt>,
}

/// A registration with the DLT (distributed ledger technology) platform of India's networks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dlt {
    /// The ID of the registered sender.
    pub entity_id: String,
    /// The ID of the registered template.
    pub template_id: String,
}

/// The response to a message that was accepted for delivery.
#[derive(Debug, Default)]
pub struct Receipt {
    /// The provider's ID of the message.
    pub message_id: Option<String>,
    /// The provider's ID of the request.
    pub request_id: Option<String>,
}

/// The provider's answer to a guess.
#[derive(Debug)]
pub struct Answer {
    pub verdict: Verdict,
    /// The provider's ID of the request.
    pub request_id: Option<String>,
}

/// Whether a guess is right. A wrong code is a verdict, not an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The provider said that this is the code.
    Valid,
    /// The provider gave any other answer.
    Invalid,
}
