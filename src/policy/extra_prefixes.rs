use crate::phone::{Country, NumberType, PhoneNumber, assigned_country};

/// Beginnings of numbers that the metadata does not know yet, with their countries.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExtraPrefixes(Vec<(String, Country)>);

impl ExtraPrefixes {
    /// Reads `+1357=US`, separated by commas.
    ///
    /// # Errors
    ///
    /// A sentence about the invalid part.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut prefixes: Vec<(String, Country)> = Vec::new();
        for part in text.split(',').map(str::trim) {
            let expected =
                || format!("`{part}` is not a beginning and a country such as `+1357=US`");
            let (prefix, country) = part.split_once('=').ok_or_else(expected)?;
            let digits = prefix.strip_prefix('+').ok_or_else(expected)?;
            let are_digits = digits.bytes().all(|byte| byte.is_ascii_digit());
            if !(2..=14).contains(&digits.len()) || !are_digits {
                return Err(expected());
            }
            let country = country.parse().map_err(|_| expected())?;
            if let Some(owner) = assigned_country(digits) {
                return Err(format!("`{prefix}` has numbers of {owner} already"));
            }
            if prefixes.iter().any(|(known, _)| known == prefix) {
                return Err(format!("`{prefix}` is there twice"));
            }
            prefixes.push((prefix.to_owned(), country));
        }
        Ok(Self(prefixes))
    }

    /// The country and the type of a number. The longest of these beginnings decides about a number that the metadata
    /// does not know.
    #[must_use]
    pub fn classify(&self, number: &PhoneNumber) -> (Option<Country>, NumberType) {
        let (country, number_type) = (number.country(), number.number_type());
        let is_known = country.is_some() && number_type != NumberType::Unassigned;
        let extra = self
            .0
            .iter()
            .filter(|(prefix, _)| !is_known && number.expose().starts_with(prefix.as_str()))
            .max_by_key(|(prefix, _)| prefix.len());
        match (extra, number_type) {
            (None, _) => (country, number_type),
            (Some((_, extra)), NumberType::Unassigned) => (Some(*extra), NumberType::FixedOrMobile),
            (Some((_, extra)), known) => (Some(*extra), known),
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn classify(prefixes: &str, number: &str) -> (String, NumberType) {
        let prefixes = ExtraPrefixes::parse(prefixes).unwrap();
        let (country, number_type) = prefixes.classify(&PhoneNumber::parse(number).unwrap());
        let country = country.map_or_else(|| "none".to_owned(), |country| country.to_string());
        (country, number_type)
    }

    #[test]
    fn the_longest_beginning_decides_about_an_unknown_number() {
        let prefixes = "+1357=US,+13575=CA";
        let assigned = NumberType::FixedOrMobile;
        let us = ("US".to_owned(), assigned);
        let canada = ("CA".to_owned(), assigned);
        assert_eq!(classify(prefixes, "+13574550142"), us);
        assert_eq!(classify(prefixes, "+13575550142"), canada);
        let unknown = ("none".to_owned(), NumberType::Unassigned);
        assert_eq!(classify(prefixes, "+14715550142"), unknown);
        // A satellite network stays mobile.
        let satellite = ("RU".to_owned(), NumberType::Mobile);
        assert_eq!(classify("+7954=RU", "+79541234567"), satellite);
    }

    #[test]
    fn a_beginning_with_known_numbers_is_refused() {
        for (bad, said) in [
            ("", "is not a beginning"),
            ("1357=US", "is not a beginning"),
            ("+1357", "is not a beginning"),
            ("+1357=us", "is not a beginning"),
            ("+1=US", "is not a beginning"),
            ("+1357=US,", "is not a beginning"),
            ("+1357=US,+1357=CA", "is there twice"),
            ("+1425=CA", "has numbers of US already"),
            ("+1876=US", "has numbers of JM already"),
            ("+14=US", "already"),
            ("+4477=GB", "already"),
        ] {
            let problem = ExtraPrefixes::parse(bad).unwrap_err();
            assert!(problem.contains(said), "{bad}: {problem}");
        }
    }
}
