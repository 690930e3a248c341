//! The order of effects of a send and of a verify. The only place where that order is written.

use crate::error::{Code, Error};
use crate::ledger::Millis;
use crate::otp::Otp;
use crate::phone::{Country, PhoneNumber};
use crate::policy::{AllowedCountries, Budgets, Rate, SendLimits};
use crate::provider::{Dlt, Message, Provider, ProviderLimits, Verdict};
use crate::reference::ReferenceId;
use crate::telemetry::Record;
use std::time::{Duration, Instant, SystemTime};

/// Sends and verifies codes by the operator's rules.
pub struct Service {
    rules: Rules,
    provider: Box<dyn Provider>,
}

/// What the operator decides about every send and verify.
#[derive(Debug)]
pub struct Rules {
    /// Whose numbers are served.
    pub allowed_countries: AllowedCountries,
    /// How a verification is named.
    pub reference_ids: ReferenceIds,
    /// What a request that leaves a member out gets.
    pub defaults: Defaults,
    /// What messages are sent from.
    pub origination: Origination,
    /// The registration for Indian numbers.
    pub dlt: Option<Dlt>,
}

/// What the operator decides about limits, which a ledger keeps.
#[derive(Debug)]
pub struct LedgerPolicy {
    /// How often a code may be sent to one number.
    pub send_limits: SendLimits,
    /// How often to the ten thousand numbers around it.
    pub prefix_limits: Vec<Rate>,
    /// How often one address may send, and how often it may guess.
    pub source_limits: Vec<Rate>,
    /// What all texts together and those to one country may cost.
    pub budgets: Budgets,
    /// Numbers with a fixed code.
    pub test_numbers: Vec<TestNumber>,
}

/// A number with a fixed code, for store review and CI.
#[derive(Debug)]
pub struct TestNumber {
    /// The number.
    pub number: PhoneNumber,
    /// Its code.
    pub otp: Otp,
    /// Until when that is its code and no text goes to it: the end, by UTC, of the last day that was set for it.
    pub until: Millis,
}

/// How a verification is named when the caller does not name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReferenceIds {
    /// By brand name, source and number, as in AWS's example: who knows these can verify.
    Derived,
    /// By chance: only who got the answer to the send can verify.
    Random,
}

/// What a request that leaves a member out gets.
#[derive(Debug)]
pub struct Defaults {
    /// The brand in the text.
    pub brand_name: String,
    /// The purpose, as a part of derived reference IDs.
    pub source: String,
    /// The language of the text.
    pub language: &'static str,
    /// Digits of a code.
    pub code_length: u8,
    /// Minutes that a code is good for.
    pub validity_minutes: u8,
    /// Guesses that a code allows.
    pub allowed_attempts: u8,
}

/// What messages are sent from, by the country they go to.
#[derive(Debug)]
pub struct Origination {
    /// For every country without its own.
    pub default: String,
    /// For single countries.
    pub by_country: Vec<(Country, String)>,
}

impl Origination {
    /// The identity that messages to `country` are sent from.
    #[must_use]
    pub fn identity(&self, country: Country) -> &str {
        let own = self.by_country.iter().find(|(listed, _)| *listed == country);
        own.map_or(&self.default, |(_, identity)| identity)
    }
}

/// A parsed request to send a code.
#[derive(Debug)]
pub struct SendRequest {
    /// Who gets the code.
    pub to: PhoneNumber,
    /// The brand in the text.
    pub brand_name: String,
    /// The purpose, as a part of derived reference IDs.
    pub source: String,
    /// The language of the text.
    pub language: &'static str,
    /// Digits of the code.
    pub code_length: u8,
    /// Minutes that the code is good for.
    pub validity_minutes: u8,
    /// Guesses that the code allows.
    pub allowed_attempts: u8,
    /// The caller's own name for the verification.
    pub reference: Option<ReferenceId>,
}

/// A code is on its way.
#[derive(Debug)]
pub struct Sent {
    /// The name under which it is verified.
    pub reference: ReferenceId,
    /// The provider's ID of the message.
    pub message_id: Option<String>,
    /// When the code ends.
    pub expires_at: SystemTime,
}

/// A parsed request to verify a code.
#[derive(Debug)]
pub struct VerifyRequest {
    /// Who got the code.
    pub to: PhoneNumber,
    /// What the person typed in.
    pub otp: Otp,
    /// Which verification it is for.
    pub reference: Reference,
}

/// How a caller names the verification that a guess is for.
#[derive(Debug)]
pub enum Reference {
    /// By its reference ID.
    Given(ReferenceId),
    /// By what a derived reference ID is made of.
    Of {
        /// The brand in the text.
        brand_name: String,
        /// The purpose that was given to the send.
        source: String,
    },
}

/// When a call has to be done. The clock was read once, before.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// The time of the whole invocation.
    pub now: SystemTime,
    /// How long the provider may take.
    pub provider_time: Duration,
}

impl Service {
    /// A service by these rules, with codes made and checked by `provider`.
    #[must_use]
    pub fn new(rules: Rules, provider: Box<dyn Provider>) -> Self {
        Self { rules, provider }
    }

    /// The operator's rules.
    #[must_use]
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// What requests are held against.
    #[must_use]
    pub fn limits(&self) -> &'static ProviderLimits {
        self.provider.limits()
    }

    /// Sends a code.
    ///
    /// # Errors
    ///
    /// Why no code was sent, or that it is not known.
    pub async fn send(&self, request: &SendRequest, moment: Moment, record: &mut Record) -> Result<Sent, Error> {
        // The country comes before anything that costs: pumped numbers are refused for free.
        let country = self.admit(&request.to, record)?;
        let reference = match (&request.reference, self.rules.reference_ids) {
            (Some(reference), _) => reference.clone(),
            (None, ReferenceIds::Derived) => ReferenceId::derived(&request.brand_name, &request.source, &request.to),
            (None, ReferenceIds::Random) => ReferenceId::random()?,
        };
        let india = country.as_str() == "IN";
        let message = Message {
            to: &request.to,
            reference: &reference,
            brand_name: &request.brand_name,
            code_length: request.code_length,
            validity_minutes: request.validity_minutes,
            allowed_attempts: request.allowed_attempts,
            language: request.language,
            origination_identity: self.rules.origination.identity(country),
            dlt: self.rules.dlt.as_ref().filter(|_| india),
        };

        let asked = Instant::now();
        let outcome = self.provider.send(&message, moment.provider_time).await;
        record.provider_answered(self.provider.name(), asked.elapsed());
        let receipt = outcome?;
        record.provider_request(receipt.request_id);

        // Counted from before the call, so that no caller is told of a code that has already ended.
        let validity = Duration::from_secs(60 * u64::from(request.validity_minutes));
        Ok(Sent { reference, message_id: receipt.message_id, expires_at: moment.now + validity })
    }

    /// Verifies a code and returns the name of the verification if the code is right.
    ///
    /// # Errors
    ///
    /// `invalid_code` if it is not right; else why there is no verdict.
    pub async fn verify(
        &self,
        request: &VerifyRequest,
        moment: Moment,
        record: &mut Record,
    ) -> Result<ReferenceId, Error> {
        self.admit(&request.to, record)?;
        let reference = match &request.reference {
            Reference::Given(reference) => reference.clone(),
            Reference::Of { brand_name, source } => ReferenceId::derived(brand_name, source, &request.to),
        };

        let asked = Instant::now();
        let outcome = self.provider.verify(&request.to, &reference, &request.otp, moment.provider_time).await;
        record.provider_answered(self.provider.name(), asked.elapsed());
        let answer = outcome?;
        record.provider_request(answer.request_id);

        match answer.verdict {
            Verdict::Valid => Ok(reference),
            // Without a ledger nobody knows which of these it is: the provider only says no.
            Verdict::Invalid => Err(Error::new(
                Code::InvalidCode,
                "The code is wrong, expired, used up or unknown. Check it, or send a new one.",
            )),
        }
    }

    fn admit(&self, number: &PhoneNumber, record: &mut Record) -> Result<Country, Error> {
        record.country = number.country();
        self.rules.allowed_countries.admit(number)
    }
}
