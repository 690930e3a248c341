//! Which numbers are served. Pure: no clock, no network.

use crate::error::{Code, Error};
use crate::phone::{Country, PhoneNumber};

/// The countries whose numbers are served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AllowedCountries {
    /// Every country, because the operator wrote `*`.
    Any,
    /// These, sorted.
    Only(Vec<Country>),
}

impl AllowedCountries {
    /// Reads `*`, or ISO 3166-1 alpha-2 codes separated by commas.
    ///
    /// # Errors
    ///
    /// A sentence that names the part that is no country.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.trim() == "*" {
            return Ok(Self::Any);
        }
        let mut countries = text
            .split(',')
            .map(str::trim)
            .map(|part| part.parse().map_err(|_| format!("`{part}` is no ISO 3166-1 country code")))
            .collect::<Result<Vec<Country>, _>>()?;
        countries.sort_unstable();
        countries.dedup();
        Ok(Self::Only(countries))
    }

    /// Lets a number of an allowed country pass, and says which country that is.
    ///
    /// A number of no country (satellite phones, international shared-cost numbers, area codes
    /// that nobody has) is refused even with `*`: nobody signs up with one, and they are the
    /// dearest to text.
    ///
    /// # Errors
    ///
    /// `country_not_allowed`.
    pub fn admit(&self, number: &PhoneNumber) -> Result<Country, Error> {
        let refused = || {
            Error::new(Code::CountryNotAllowed, "The destination number belongs to no country that is served here.")
                .with_field("destinationNumber")
        };
        let country = number.country().ok_or_else(refused)?;
        match self {
            Self::Any => Ok(country),
            Self::Only(countries) if countries.binary_search(&country).is_ok() => Ok(country),
            Self::Only(_) => Err(refused()),
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_codes_between_commas_in_any_order() {
        let list = AllowedCountries::parse("US, CA,GB ,US").unwrap();
        assert_eq!(list, AllowedCountries::parse("CA,GB,US").unwrap());
        assert_eq!(AllowedCountries::parse(" * ").unwrap(), AllowedCountries::Any);
        for bad in ["", ",", "US,", "us", "USA", "UK", "US CA", "*,US", "**", "U", "ÜS"] {
            assert!(AllowedCountries::parse(bad).is_err(), "{bad:?}");
        }
        assert_eq!(AllowedCountries::parse("US,XX").unwrap_err(), "`XX` is no ISO 3166-1 country code");
    }

    #[test]
    fn only_numbers_of_a_listed_country_pass() {
        let some = AllowedCountries::parse("US,GB").unwrap();
        for (number, some_admits, any_admits) in [
            ("+14255550142", true, true),
            ("+447700900123", true, true),
            ("+18765550142", false, true),
            ("+447781234567", false, true),
            ("+819012345678", false, true),
            ("+881612345678", false, false),
            ("+19995550142", false, false),
        ] {
            let number = PhoneNumber::parse(number).unwrap();
            assert_eq!(some.admit(&number).is_ok(), some_admits, "{number}");
            assert_eq!(AllowedCountries::Any.admit(&number).is_ok(), any_admits, "{number}");
        }
        let refusal = some.admit(&PhoneNumber::parse("+18765550142").unwrap()).unwrap_err();
        assert_eq!((refusal.code(), refusal.field()), (Code::CountryNotAllowed, Some("destinationNumber")));
    }
}
