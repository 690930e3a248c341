//! The settings of every send and verify.

use super::reader::Reader;
use crate::http::SOURCE_LIMIT;
use crate::language::{self, Tag};
use crate::policy::{AllowedCountries, AllowedTypes, Brands, ExtraPrefixes};
use crate::provider::{Channel, Dlt, ProviderLimits};
use crate::service::{Defaults, Origination, OriginationFor, ReferenceIds, Rules};
use crate::typed;
use std::collections::BTreeSet;
use std::ops::RangeInclusive;

impl Reader<'_> {
    pub(super) fn rules(&mut self, limits: &ProviderLimits) -> Rules {
        let reference_ids = self.choice(
            "REFERENCE_ID",
            ("derived", ReferenceIds::Derived),
            [("random", ReferenceIds::Random)],
        );
        let foreign_codes = self.choice("FOREIGN_CODES", ("off", false), [("on", true)]);
        if foreign_codes && reference_ids == ReferenceIds::Random {
            self.report(
                "FOREIGN_CODES",
                "cannot be `on` while REFERENCE_ID is `random`: other software derives its references.",
            );
        }
        let defaults = self.defaults(limits);
        Rules {
            allowed_countries: self.allowed_countries(),
            allowed_types: self.parsed("ALLOWED_NUMBER_TYPES", AllowedTypes::default(), |text| {
                AllowedTypes::parse(text)
                    .map_err(|why| format!("must be types such as `mobile,fixed`: {why}."))
            }),
            extra_prefixes: self.extra_prefixes(),
            reference_ids,
            foreign_codes,
            brands: Brands {
                default: defaults.brand_name.clone(),
                listed: if limits.brand_is_display_name {
                    vec![defaults.brand_name.clone()]
                } else {
                    self.brand_names(limits)
                },
            },
            code_length: self.at_least("MIN_CODE_LENGTH", &limits.code.length, &defaults),
            validity_minutes: self.at_most(
                "MAX_VALIDITY_PERIOD",
                &limits.validity_minutes,
                &defaults,
            ),
            allowed_attempts: self.attempts(&limits.allowed_attempts, defaults.allowed_attempts),
            defaults,
            origination: self.origination(),
            dlt: self.dlt(),
        }
    }

    fn allowed_countries(&mut self) -> AllowedCountries {
        let none = AllowedCountries::Only(Vec::new());
        self.parsed("ALLOWED_COUNTRIES", none, |text| {
            AllowedCountries::parse(text)
                .map_err(|why| format!("must be country codes such as `US,CA`, or `*`: {why}."))
        })
    }

    fn extra_prefixes(&mut self) -> ExtraPrefixes {
        const NAME: &str = "EXTRA_PREFIXES";
        if !self.is_set(NAME) {
            return ExtraPrefixes::default();
        }
        self.parsed(NAME, ExtraPrefixes::default(), |text| {
            ExtraPrefixes::parse(text)
                .map_err(|why| format!("must be beginnings such as `+1357=US`: {why}."))
        })
    }

    fn defaults(&mut self, limits: &ProviderLimits) -> Defaults {
        let (least, most) = (limits.brand_name.start(), limits.brand_name.end());
        Defaults {
            brand_name: self.parsed("BRAND_NAME", String::new(), |text| {
                let expected = || {
                    if limits.brand_is_display_name {
                        format!(
                            "must be the display name of the Notify configuration: {least} to {most} letters, digits, blanks, \
                             dashes and underscores."
                        )
                    } else {
                        format!("must have {least} to {most} characters, at least one of them visible.")
                    }
                };
                is_brand(text, limits)
                    .then(|| text.to_owned())
                    .ok_or_else(expected)
            }),
            source: self.characters(
                "SOURCE",
                0..=SOURCE_LIMIT,
                |_| true,
                &format!("must have at most {SOURCE_LIMIT} characters."),
            ),
            language: self.language(limits),
            code_length: self.number("CODE_LENGTH", &limits.code.length),
            validity_minutes: self.number("VALIDITY_PERIOD", &limits.validity_minutes),
            allowed_attempts: self.number("ALLOWED_ATTEMPTS", &limits.allowed_attempts),
        }
    }

    /// The lengths of codes that callers may ask for, from the setting's minimum on.
    fn at_least(
        &mut self,
        name: &str,
        all: &RangeInclusive<u8>,
        defaults: &Defaults,
    ) -> RangeInclusive<u8> {
        if !self.is_set(name) {
            return all.clone();
        }
        let least = self.number(name, all);
        if least > defaults.code_length {
            self.report(name, "must not be more than CODE_LENGTH.");
        }
        least..=*all.end()
    }

    /// The validities that callers may ask for, up to the setting's maximum.
    fn at_most(
        &mut self,
        name: &str,
        all: &RangeInclusive<u8>,
        defaults: &Defaults,
    ) -> RangeInclusive<u8> {
        if !self.is_set(name) {
            return all.clone();
        }
        let most = self.number(name, all);
        // An invalid number is reported already, and its placeholder is the least. A second problem would be wrong.
        let is_read = self.raw(name).as_deref() == Some(most.to_string().as_str());
        if is_read && most < defaults.validity_minutes {
            self.report(name, "must not be less than VALIDITY_PERIOD.");
        }
        *all.start()..=most
    }

    fn brand_names(&mut self, limits: &ProviderLimits) -> Vec<String> {
        const NAME: &str = "BRAND_NAMES";
        // The brands are separated by semicolons, because a brand can contain a comma.
        let brands = self.entries(NAME, ';');
        let (least, most) = (limits.brand_name.start(), limits.brand_name.end());
        if let Some(place) = brands.iter().position(|brand| !is_brand(brand, limits)) {
            self.report(
                NAME,
                &format!(
                    "and `brandNames` in CONFIG_FILE must have brands of {least} to {most} characters, at least one of them \
                     visible, in the variable separated by `;`: see entry {}.",
                    place + 1
                ),
            );
        }
        brands
    }

    fn language(&mut self, limits: &ProviderLimits) -> Tag {
        let by_country = Tag::from(language::BY_COUNTRY);
        let file_is_unread = self.file_is_unread;
        self.parsed("LANGUAGE", by_country.clone(), |text| {
            let languages = limits.languages(limits.usual_channel());
            let known = if *text == *by_country {
                Some(&by_country)
            } else if limits.any_language {
                language::closest(text, languages.iter())
            } else {
                languages.iter().find(|language| ***language == *text)
            };
            match known {
                Some(known) => Ok(known.clone()),
                // Its text may be in the file, and then the file's problem is the only one.
                None if file_is_unread && limits.any_language => Ok(by_country.clone()),
                None => Err(format!(
                    "must be `country`, or one of {}.",
                    languages.join(", ")
                )),
            }
        })
    }

    pub(super) fn origination(&mut self) -> Origination {
        Origination {
            default: self.characters(
                "ORIGINATION_IDENTITY",
                1..=256,
                is_allowed_in_identity,
                "must be a phone number, a sender ID, a pool ID, the ID of a Notify configuration, or an ARN.",
            ),
            others: self.other_originations(),
        }
    }

    fn other_originations(&mut self) -> Vec<OriginationFor> {
        const NAME: &str = "ORIGINATION_IDENTITIES";
        let mut others = Vec::new();
        let mut places = BTreeSet::new();
        for entry in self.raw(NAME).iter().flat_map(|list| list.split(',')) {
            let Some((place, origination)) = read_origination(entry) else {
                self.report(
                    NAME,
                    "must be `COUNTRY=IDENTITY`, `CHANNEL=IDENTITY` or `COUNTRY/CHANNEL=IDENTITY`, separated by commas, \
                     such as `IN=BRANDX,voice=+12065550101`.",
                );
                break;
            };
            if !places.insert(place.to_owned()) {
                self.report(NAME, &format!("names {place} twice."));
                break;
            }
            others.push(origination);
        }
        others
    }

    /// The registration for India. Either both of its IDs are set or neither is.
    fn dlt(&mut self) -> Option<Dlt> {
        const ENTITY: &str = "DLT_ENTITY_ID";
        const TEMPLATE: &str = "DLT_TEMPLATE_ID";
        match (self.is_set(ENTITY), self.is_set(TEMPLATE)) {
            (false, false) => return None,
            (true, false) => self.report(TEMPLATE, "must be set, as DLT_ENTITY_ID is."),
            (false, true) => self.report(ENTITY, "must be set, as DLT_TEMPLATE_ID is."),
            (true, true) => {}
        }
        let mut id = |name| {
            self.optional(
                name,
                1..=50,
                |c| c.is_ascii_alphanumeric() || c == '-' || c == '_',
                "must be the ID from the DLT registration: 1 to 50 letters, digits, dashes and underscores.",
            )
        };
        let (entity_id, template_id) = (id(ENTITY), id(TEMPLATE));
        Some(Dlt {
            entity_id: entity_id?,
            template_id: template_id?,
        })
    }
}

/// Reads `IN=BRANDX`, `voice=+12065550101` or `IN/sms=BRANDX`. Returns the part before `=` and the whole.
fn read_origination(entry: &str) -> Option<(&str, OriginationFor)> {
    let (place, identity) = entry.split_once('=')?;
    let (place, identity) = (place.trim(), identity.trim());
    let fits = (1..=256).contains(&identity.len()) && identity.chars().all(is_allowed_in_identity);
    if !fits {
        return None;
    }
    let (country, channel) = match (place.split_once('/'), Channel::named(place)) {
        (Some((country, channel)), _) => {
            (Some(country.parse().ok()?), Some(Channel::named(channel)?))
        }
        (None, Some(channel)) => (None, Some(channel)),
        (None, None) => (Some(place.parse().ok()?), None),
    };
    let origination = OriginationFor {
        country,
        channel,
        identity: identity.to_owned(),
    };
    Some((place, origination))
}

fn is_allowed_in_identity(c: char) -> bool {
    c.is_ascii_alphanumeric() || "+-_:/".contains(c)
}

fn is_allowed_in_display_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || "_ -".contains(c)
}

/// Whether a message can name this brand.
fn is_brand(text: &str, limits: &ProviderLimits) -> bool {
    let count = u8::try_from(text.chars().count());
    count.is_ok_and(|count| limits.brand_name.contains(&count))
        && (!limits.brand_is_display_name || text.chars().all(is_allowed_in_display_name))
        && !text.chars().any(char::is_control)
        && text.chars().any(typed::is_visible)
}
