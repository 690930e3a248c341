//! What this program asks of a service that makes, delivers and checks codes.

use crate::error::Error;
use crate::language::Tag;
use crate::otp::{CodeShape, Otp};
use crate::phone::PhoneNumber;
use crate::reference::ReferenceId;
use async_trait::async_trait;
use std::ops::RangeInclusive;
use std::time::Duration;

/// A service that makes one-time passwords, delivers them and checks guesses.
///
/// Both calls reach the service at most once. No AWS send takes an idempotency token, so a second
/// try could be a second text; a second verify could burn an attempt.
#[async_trait]
pub trait Provider: Send + Sync {
    /// The name in settings and logs.
    fn name(&self) -> &'static str;

    /// The ranges that requests and settings must stay within.
    fn limits(&self) -> &ProviderLimits;

    /// Makes a code and sends it.
    ///
    /// Ends within `time_limit`.
    ///
    /// # Errors
    ///
    /// Why nothing was sent; where the message may have left all the same, the error says that
    /// the delivery is unknown.
    async fn send(&self, message: &Message<'_>, time_limit: Duration) -> Result<Receipt, Error>;

    /// Checks a guess against the code that was sent to `to` under `reference`.
    ///
    /// Ends within `time_limit`.
    ///
    /// # Errors
    ///
    /// Why there is no verdict; the guess may have been counted all the same.
    async fn verify(
        &self,
        to: &PhoneNumber,
        reference: &ReferenceId,
        otp: &Otp,
        time_limit: Duration,
    ) -> Result<Answer, Error>;

    /// Tells the service that the code in a message came back, if it wants to know: its filters learn from that.
    ///
    /// Ends within `time_limit`.
    ///
    /// # Errors
    ///
    /// What the log says about it: it was not told.
    async fn code_came_back(&self, message_id: &str, time_limit: Duration) -> Result<(), String> {
        let _ = (message_id, time_limit);
        Ok(())
    }
}

/// What a provider takes; requests and settings are held against it before any call.
#[derive(Debug)]
pub struct ProviderLimits {
    /// What its codes look like.
    pub code: CodeShape,
    /// Minutes that a code is good for.
    pub validity_minutes: RangeInclusive<u8>,
    /// Guesses that a code allows.
    pub allowed_attempts: RangeInclusive<u8>,
    /// Characters of a brand name.
    pub brand_name: RangeInclusive<u8>,
    /// Ways to deliver a code, the usual one first.
    pub channels: Vec<ChannelLimits>,
    /// Whether a language that is not among a channel's is a wish for the closest one, and not an error.
    pub any_language: bool,
}

impl ProviderLimits {
    /// The languages of a channel; none if the channel is not among these.
    #[must_use]
    pub fn languages(&self, channel: Channel) -> &[Tag] {
        self.channels
            .iter()
            .find(|own| own.channel == channel)
            .map_or(&[], |own| &own.languages)
    }

    /// The usual way to deliver a code.
    #[must_use]
    pub fn usual_channel(&self) -> Channel {
        self.channels
            .first()
            .map_or(Channel::Sms, |first| first.channel)
    }
}

/// A way to deliver a code, and what it can say.
#[derive(Debug)]
pub struct ChannelLimits {
    /// The way.
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
    /// A message by WhatsApp.
    WhatsApp,
}

impl Channel {
    /// The name in requests, answers, settings and the ledger.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Sms => "sms",
            Self::Voice => "voice",
            Self::WhatsApp => "whatsapp",
        }
    }

    /// The channel of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        [Self::Sms, Self::Voice, Self::WhatsApp]
            .into_iter()
            .find(|channel| channel.name() == name)
    }
}

/// A code to be made and sent.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    /// Who gets it.
    pub to: &'a PhoneNumber,
    /// The name under which it will be verified.
    pub reference: &'a ReferenceId,
    /// How it is delivered.
    pub channel: Channel,
    /// The brand in the text.
    pub brand_name: &'a str,
    /// Characters of the code.
    pub code_length: u8,
    /// Minutes that the code is good for.
    pub validity_minutes: u8,
    /// Guesses that the code allows.
    pub allowed_attempts: u8,
    /// The language of the text, one of the channel's.
    pub language: &'a str,
    /// What it is sent from: a phone number, a sender ID, or the ARN or ID of either or a pool.
    pub origination_identity: &'a str,
    /// The registration that Indian networks ask for.
    pub dlt: Option<&'a Dlt>,
}

/// A registration on the distributed ledger (DLT) of India's networks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dlt {
    /// The ID of the registered sender.
    pub entity_id: String,
    /// The ID of the registered template.
    pub template_id: String,
}

/// A message was accepted for delivery.
#[derive(Debug)]
pub struct Receipt {
    /// The provider's ID of the message.
    pub message_id: Option<String>,
    /// The provider's ID of the request.
    pub request_id: Option<String>,
}

/// The provider's answer to a guess.
#[derive(Debug)]
pub struct Answer {
    /// Right or wrong.
    pub verdict: Verdict,
    /// The provider's ID of the request.
    pub request_id: Option<String>,
}

/// Whether a guess is right. A wrong code is an answer, not an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The provider said that this is the code.
    Valid,
    /// The provider did not say so.
    Invalid,
}
