use crate::error::{Error, ErrorCode};
use crate::phone::{Country, METADATA_VERSION};

/// The countries whose numbers are served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AllowedCountries {
    /// The setting is `*`.
    Any,
    /// Sorted.
    Only(Vec<Country>),
}

impl AllowedCountries {
    /// Reads `*`, or ISO 3166-1 alpha-2 codes separated by commas.
    ///
    /// # Errors
    ///
    /// A sentence that quotes the invalid part.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.trim() == "*" {
            return Ok(Self::Any);
        }
        let mut countries = text
            .split(',')
            .map(str::trim)
            .map(|part| {
                part.parse()
                    .map_err(|_| format!("`{part}` is not an ISO 3166-1 country code"))
            })
            .collect::<Result<Vec<Country>, _>>()?;
        countries.sort_unstable();
        countries.dedup();
        Ok(Self::Only(countries))
    }

    /// The country, if only one is served.
    #[must_use]
    pub fn only_one(&self) -> Option<Country> {
        match self {
            Self::Only(countries) => countries.first().copied().filter(|_| countries.len() == 1),
            Self::Any => None,
        }
    }

    /// Returns the country of a number if that country is served.
    ///
    /// Numbers without a country are refused even with `*`: satellite phones, international shared-cost numbers, and
    /// unassigned area codes. People do not sign up with such numbers, and messages to such numbers are the most
    /// expensive.
    ///
    /// # Errors
    ///
    /// `country_unknown` or `country_not_allowed`.
    pub fn check(&self, country: Option<Country>) -> Result<Country, Error> {
        let refused = |code, detail| Error::new(code, detail).with_field("destinationNumber");
        let country = country.ok_or_else(|| {
            let detail = format!(
                "The destination number belongs to no country here (numbering plans of libphonenumber {METADATA_VERSION})."
            );
            refused(ErrorCode::CountryUnknown, detail).with_advice(
                "The operator can name the country of a newer area code in EXTRA_PREFIXES.",
            )
        })?;
        match self {
            Self::Any => Ok(country),
            Self::Only(countries) if countries.binary_search(&country).is_ok() => Ok(country),
            Self::Only(_) => Err(refused(
                ErrorCode::CountryNotAllowed,
                "The destination number belongs to no country that is served here.".to_owned(),
            )),
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use crate::phone::PhoneNumber;

    #[test]
    fn a_list_is_comma_separated_codes_in_any_order() {
        let list = AllowedCountries::parse("US, CA,GB ,US").unwrap();
        assert_eq!(list, AllowedCountries::parse("CA,GB,US").unwrap());
        assert_eq!(
            AllowedCountries::parse(" * ").unwrap(),
            AllowedCountries::Any
        );
        for bad in [
            "", ",", "US,", "us", "USA", "UK", "US CA", "*,US", "**", "U", "ÜS",
        ] {
            assert!(AllowedCountries::parse(bad).is_err(), "{bad:?}");
        }
        assert_eq!(
            AllowedCountries::parse("US,XX").unwrap_err(),
            "`XX` is not an ISO 3166-1 country code"
        );
    }

    #[test]
    fn only_numbers_of_listed_countries_are_served() {
        let some = AllowedCountries::parse("US,GB").unwrap();
        for (number, some_serves, any_serves) in [
            ("+14255550142", true, true),
            ("+447700900123", true, true),
            ("+18765550142", false, true),
            ("+447781234567", false, true),
            ("+819012345678", false, true),
            ("+881612345678", false, false),
            ("+19995550142", false, false),
        ] {
            let number = PhoneNumber::parse(number).unwrap();
            let country = number.country();
            assert_eq!(some.check(country).is_ok(), some_serves, "{number}");
            assert_eq!(
                AllowedCountries::Any.check(country).is_ok(),
                any_serves,
                "{number}"
            );
        }
        let refusal = some
            .check(PhoneNumber::parse("+18765550142").unwrap().country())
            .unwrap_err();
        assert_eq!(
            (refusal.code(), refusal.field()),
            (ErrorCode::CountryNotAllowed, Some("destinationNumber"))
        );
        for countries in [some, AllowedCountries::Any] {
            let refusal = countries.check(None).unwrap_err();
            assert_eq!(refusal.code(), ErrorCode::CountryUnknown);
        }
    }
}
