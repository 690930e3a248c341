//! Parsed requests, and what the service returns for them.

use crate::device::DeviceToken;
use crate::language::Tag;
use crate::ledger::{Phase, SessionDigest};
use crate::otp::Otp;
use crate::phone::PhoneNumber;
use crate::provider::Channel;
use crate::reference::ReferenceId;
use crate::time::Millis;
use serde::{Deserialize, Serialize};

/// A parsed request to send a code, with defaults in place of the fields that the caller left out.
#[derive(Debug)]
pub struct SendRequest {
    pub to: PhoneNumber,
    pub brand_name: String,
    /// The purpose of the verification; a part of derived reference IDs.
    pub source: String,
    pub language: Tag,
    pub channel: Channel,
    pub code_length: u8,
    pub validity_minutes: u8,
    pub allowed_attempts: u8,
    /// The reference ID that the caller has chosen; `None` to leave the choice to the service.
    pub reference: Option<ReferenceId>,
    /// The sign-in session that the code is for; `None` over HTTP.
    pub owner: Option<SessionDigest>,
}

/// The result of a send that has sent a code, now or in an earlier request with the same idempotency key.
#[derive(Debug)]
pub struct Sent {
    pub reference: ReferenceId,
    pub receipt: SentReceipt,
}

/// The response to a send. The ledger keeps it for repeats of the request, so it must not identify a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SentReceipt {
    /// The provider's ID of the message.
    pub message_id: Option<String>,
    pub channel: String,
    pub code_length: u8,
    /// In milliseconds since 1970, as all times here.
    pub sent: u64,
    pub expires: u64,
    /// Guesses left; `None` without a ledger.
    pub attempts_left: Option<u8>,
    /// When the next code can be sent; `None` without a ledger.
    pub resend: Option<u64>,
    /// The channels to try next, after a resend.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub next: Vec<String>,
}

/// A parsed request to verify a code.
#[derive(Debug)]
pub struct VerifyRequest {
    pub to: PhoneNumber,
    /// The code as the person typed it.
    pub otp: Otp,
    pub reference: Reference,
}

/// The success of a verify.
#[derive(Debug)]
pub struct Verified {
    pub reference: ReferenceId,
    /// The token for the device that has verified the number; `None` if no token is given.
    pub device: Option<DeviceToken>,
}

/// A parsed request about a verification as a whole.
#[derive(Debug)]
pub struct VerificationRequest {
    pub to: PhoneNumber,
    pub reference: Reference,
}

/// How a caller names a verification.
#[derive(Debug)]
pub enum Reference {
    Given(ReferenceId),
    /// By the parts that a derived reference ID is made from.
    Derived {
        brand_name: String,
        source: String,
    },
}

impl Reference {
    pub(super) fn resolve(&self, to: &PhoneNumber) -> ReferenceId {
        match self {
            Self::Given(reference) => reference.clone(),
            Self::Derived { brand_name, source } => ReferenceId::derived(brand_name, source, to),
        }
    }
}

/// The state of a verification, for its caller.
#[derive(Debug)]
pub struct Status {
    pub reference: ReferenceId,
    pub phase: Phase,
    pub channel: String,
    pub attempts_left: u8,
    pub expires: Millis,
    /// When the next code can be sent.
    pub resend: Millis,
}
