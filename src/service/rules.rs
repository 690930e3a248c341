//! The operator's rules for sends and verifies, apart from the limits that the ledger counts.

use crate::language::Tag;
use crate::phone::Country;
use crate::policy::{AllowedCountries, AllowedTypes, Brands, ExtraPrefixes};
use crate::provider::{Channel, Dlt};
use std::ops::RangeInclusive;

/// The operator's rules for every send and verify.
#[derive(Debug)]
pub struct Rules {
    pub allowed_countries: AllowedCountries,
    pub allowed_types: AllowedTypes,
    /// The countries of numbers that the metadata does not know yet.
    pub extra_prefixes: ExtraPrefixes,
    /// The brands that trusted callers may use.
    pub brands: Brands,
    pub reference_ids: ReferenceIds,
    /// Whether a code that this program did not send may verify under a derived reference.
    pub foreign_codes: bool,
    pub defaults: Defaults,
    /// The lengths of codes that callers may ask for.
    pub code_length: RangeInclusive<u8>,
    /// The validities that callers may ask for.
    pub validity_minutes: RangeInclusive<u8>,
    /// The guesses at one code that callers may ask for.
    pub allowed_attempts: RangeInclusive<u8>,
    pub origination: Origination,
    /// The registration that messages to Indian numbers need.
    pub dlt: Option<Dlt>,
}

/// How a verification gets its reference ID if the caller does not choose one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReferenceIds {
    /// Derived from brand name, source and number, as in AWS's example. Anyone who knows these three can verify.
    Derived,
    /// Random. Only the recipient of the response to the send can verify.
    Random,
}

/// The values of fields that a request leaves out.
#[derive(Debug)]
pub struct Defaults {
    pub brand_name: String,
    /// The purpose of the verification; a part of derived reference IDs.
    pub source: String,
    /// A language tag, or [`BY_COUNTRY`](crate::language::BY_COUNTRY).
    pub language: Tag,
    pub code_length: u8,
    pub validity_minutes: u8,
    pub allowed_attempts: u8,
}

/// The identities that messages are sent from.
#[derive(Debug)]
pub struct Origination {
    pub default: String,
    pub others: Vec<OriginationFor>,
}

/// The identity for messages to one country, by one channel, or both.
#[derive(Debug)]
pub struct OriginationFor {
    /// `None` for every country.
    pub country: Option<Country>,
    /// `None` for every channel.
    pub channel: Option<Channel>,
    pub identity: String,
}

impl Origination {
    pub fn all(&self) -> impl Iterator<Item = &str> {
        let others = self.others.iter().map(|other| other.identity.as_str());
        others.chain([self.default.as_str()])
    }

    /// The identities that may send by `channel`.
    pub fn of_channel(&self, channel: Channel) -> impl Iterator<Item = &str> {
        // An entry for the whole channel takes the place of the entries for countries, and of the default.
        let is_whole =
            |other: &OriginationFor| other.country.is_none() && other.channel == Some(channel);
        let has_whole = self.others.iter().any(is_whole);
        let others = self.others.iter().filter(move |other| match other.channel {
            Some(own) => own == channel,
            None => !has_whole,
        });
        let default = (!has_whole).then_some(self.default.as_str());
        others.map(|other| other.identity.as_str()).chain(default)
    }

    /// The origination identity for messages to `country` by `channel`. An entry for the channel takes precedence over
    /// an entry for the country, because the country's entry may be a sender ID, which cannot make a call.
    #[must_use]
    pub fn identity(&self, country: Country, channel: Channel) -> &str {
        let candidates = [
            (Some(country), Some(channel)),
            (None, Some(channel)),
            (Some(country), None),
        ];
        candidates
            .iter()
            .find_map(|wanted| {
                self.others
                    .iter()
                    .find(|other| (other.country, other.channel) == *wanted)
            })
            .map_or(&self.default, |other| &other.identity)
    }
}
