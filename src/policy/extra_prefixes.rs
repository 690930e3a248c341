use std::collections::HashSet;
use std::ops::RangeInclusive;

use crate::phone::plan::Class;
use crate::phone::{Beginning, Country, Hint, InvalidPhoneNumber, NumberType, PhoneNumber};

/// The lengths of numbers in E.164.
const ANY_LENGTH: RangeInclusive<usize> = 7..=15;

/// Beginnings of numbers that the metadata does not know yet, with their countries.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExtraPrefixes(Vec<Entry>);

/// The beginning of all numbers, or of those with one length.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    /// `+` and digits.
    prefix: String,
    /// The number of digits, if the entry writes them out: `+1357xxxxxxx`.
    length: Option<usize>,
    country: Country,
    /// The lengths of numbers that the metadata refuses and this entry makes acceptable.
    opens: Vec<usize>,
}

type Verdicts = HashSet<Result<Class, InvalidPhoneNumber>>;

impl ExtraPrefixes {
    /// Reads entries such as `+1357=US` or `+1357xxxxxxx=US`, separated by commas.
    ///
    /// # Errors
    ///
    /// A sentence about the first entry that is invalid, belongs to another country or has no effect.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut entries: Vec<Entry> = Vec::new();
        for part in text.split(',').map(str::trim) {
            let entry = Entry::parse(part)?;
            let is_there =
                |known: &Entry| (&known.prefix, known.length) == (&entry.prefix, entry.length);
            if entries.iter().any(is_there) {
                let (written, _) = part.split_once('=').unwrap_or_default();
                return Err(format!("`{written}` is there twice"));
            }
            entries.push(entry);
        }
        Ok(Self(entries))
    }

    /// Parses a number as [`PhoneNumber::parse`] does, and also accepts numbers that begin as an entry says.
    ///
    /// # Errors
    ///
    /// As [`PhoneNumber::parse`].
    pub fn read(&self, text: &str) -> Result<PhoneNumber, InvalidPhoneNumber> {
        PhoneNumber::parse_or(text, &|e164, reason| self.opens(e164, reason))
    }

    /// Parses a number as [`PhoneNumber::parse_stored`] does, and also accepts numbers that begin as an entry says.
    ///
    /// # Errors
    ///
    /// As [`PhoneNumber::parse_stored`].
    pub fn read_stored(&self, text: &str) -> Result<PhoneNumber, InvalidPhoneNumber> {
        PhoneNumber::parse_stored_or(text, &|e164, reason| self.opens(e164, reason))
    }

    fn opens(&self, e164: &str, reason: InvalidPhoneNumber) -> bool {
        self.0.iter().any(|entry| {
            let has_length = entry.opens.contains(&(e164.len() - 1));
            has_length && is_opened(reason, entry.length) && e164.starts_with(&entry.prefix)
        })
    }

    /// The country and the type of a number. If the metadata does not know the number, the longest entry that fits
    /// decides.
    #[must_use]
    pub fn classify(&self, number: &PhoneNumber) -> (Option<Country>, NumberType) {
        let (country, number_type) = (number.country(), number.number_type());
        let is_known = country.is_some() && number_type != NumberType::Unassigned;
        let e164 = number.expose();
        let fits = |entry: &&Entry| {
            let has_length = entry.length.is_none_or(|length| length == e164.len() - 1);
            !is_known && has_length && e164.starts_with(&entry.prefix)
        };
        let extra = self
            .0
            .iter()
            .filter(fits)
            .max_by_key(|entry| (entry.prefix.len(), entry.length));
        match (extra, number_type) {
            (None, _) => (country, number_type),
            (Some(entry), NumberType::Unassigned) => {
                (Some(entry.country), NumberType::FixedOrMobile)
            }
            (Some(entry), known) => (Some(entry.country), known),
        }
    }
}

impl Entry {
    fn parse(part: &str) -> Result<Self, String> {
        let expected = || {
            format!(
                "`{part}` is not a beginning and a country such as `+1357=US` or `+1357xxxxxxx=US`"
            )
        };
        let (written, country) = part.split_once('=').ok_or_else(expected)?;
        let country: Country = country.parse().map_err(|_| expected())?;
        let prefix = written.trim_end_matches('x');
        let digits = prefix.strip_prefix('+').ok_or_else(expected)?;
        let are_digits = digits.bytes().all(|byte| byte.is_ascii_digit());
        if !(2..=14).contains(&digits.len()) || !are_digits {
            return Err(expected());
        }
        let length = (written != prefix).then_some(written.len() - 1);
        if length.is_some_and(|length| !ANY_LENGTH.contains(&length)) {
            return Err(format!("`{written}` has not 7 to 15 digits"));
        }
        let beginning = Beginning::of(digits)
            .ok_or_else(|| format!("`{prefix}` has no assigned calling code"))?;
        let is_known = check_owner(prefix, beginning, country)?;
        let lengths = length.map_or_else(|| beginning.lengths(), |length| length..=length);
        let verdicts = beginning.verdicts(&lengths);
        // If the metadata knows numbers with this beginning, an entry opens another length only if the entry writes out
        // that length. If such an entry opened every length, surplus digits would give one phone several keys.
        let can_open = length.is_some() || !is_known;
        let has_effect = verdicts.iter().any(|verdict| match verdict {
            Ok(class) => !is_assigned(class) || class.country.is_none(),
            Err(reason) => can_open && is_opened(*reason, length),
        });
        // An entry without effect is no error if it names the right country: an earlier release may have needed it.
        let refusal = verdicts.iter().find_map(|verdict| verdict.err());
        if let Some(reason) = refusal.filter(|_| !is_known && !has_effect) {
            return Err(format!("`{written}` opens no numbers: {reason}"));
        }
        if length.is_some() && have_domestic_prefix(digits, &verdicts, &lengths) {
            return Err(format!(
                "`{written}` has known numbers behind a prefix for domestic calls"
            ));
        }
        Ok(Self {
            prefix: prefix.to_owned(),
            length,
            country,
            opens: lengths.filter(|_| can_open).collect(),
        })
    }
}

/// Whether the beginning has known numbers. It is an error if they belong to another country.
fn check_owner(prefix: &str, beginning: Beginning, country: Country) -> Result<bool, String> {
    let verdicts = beginning.verdicts(&ANY_LENGTH);
    let assigned = verdicts.iter().flatten().filter(|class| is_assigned(class));
    let mut owners: Vec<Country> = assigned.filter_map(|class| class.country).collect();
    owners.sort_unstable();
    match owners.iter().find(|owner| **owner != country) {
        Some(owner) => Err(format!("`{prefix}` has numbers of {owner} already")),
        None => Ok(!owners.is_empty()),
    }
}

fn is_assigned(class: &Class) -> bool {
    class.number_type != NumberType::Unassigned
}

/// Whether an entry can open numbers that are refused for this reason. If the beginning looks like a domestic prefix,
/// the entry must write out a length.
fn is_opened(reason: InvalidPhoneNumber, length: Option<usize>) -> bool {
    match reason {
        InvalidPhoneNumber::TooFewDigits
        | InvalidPhoneNumber::TooLong
        | InvalidPhoneNumber::UnknownBeginning => true,
        InvalidPhoneNumber::OtherSpelling(Hint::Domestic) => length.is_some(),
        _ => false,
    }
}

/// Whether the numbers of an entry are known numbers with one more digit in front. People may dial such a digit only
/// inside the country. Two more digits in front are accepted, because a change of the numbering plan can add two, as it
/// did with Benin's 01.
fn have_domestic_prefix(
    digits: &str,
    verdicts: &Verdicts,
    lengths: &RangeInclusive<usize>,
) -> bool {
    let domestic = Err(InvalidPhoneNumber::OtherSpelling(Hint::Domestic));
    let is_code = |end: &usize| digits.get(..*end).and_then(Beginning::of).is_some();
    let code = (1..=3).find(is_code).and_then(|end| digits.get(..end));
    let known = code.and_then(|code| {
        let national = digits.get(code.len() + 1..).unwrap_or_default();
        let beginning = Beginning::of(&format!("{code}{national}"))?;
        Some(beginning.verdicts(&(lengths.start() - 1..=lengths.end() - 1)))
    });
    verdicts.contains(&domestic)
        && known.is_some_and(|known| known.iter().flatten().any(is_assigned))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn classify(prefixes: &str, number: &str) -> (String, NumberType) {
        let prefixes = ExtraPrefixes::parse(prefixes).unwrap();
        let (country, number_type) = prefixes.classify(&prefixes.read(number).unwrap());
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
    fn a_beginning_opens_what_the_metadata_refuses() {
        for (entry, number, longer) in [
            // A first digit.
            ("+446=GB", "+446123456789", "+4461234567890"),
            ("+446xxxxxxxxx=GB", "+446123456789", "+44612345678"),
            // One more digit than known numbers have, and as many as there can be.
            ("+4915123xxxxxxx=DE", "+49151231234567", "+491512312345678"),
            ("+4915123xxxxxxxx=DE", "+491512312345678", "+49151231234567"),
            // Fewer digits.
            ("+33612xxxx=FR", "+336121234", "+3361212345"),
            // A zero that is part of the number, as Benin's and Côte d'Ivoire's became.
            ("+2250xxxxxxxxxx=CI", "+22501234567890", "+225012345678901"),
            ("+22107xxxxxxxxx=SN", "+22107771234567", "+2210777123456"),
            ("+5070xxxxxxx=PA", "+50701234567", "+5070123456"),
        ] {
            assert!(PhoneNumber::parse(number).is_err(), "{number}");
            let (country, number_type) = classify(entry, number);
            assert_eq!(entry.split_once('=').unwrap().1, country);
            assert_eq!(number_type, NumberType::FixedOrMobile);
            let prefixes = ExtraPrefixes::parse(entry).unwrap();
            assert!(prefixes.read(longer).is_err(), "{longer}");
        }
    }

    #[test]
    fn a_beginning_opens_no_second_key_of_a_known_number() {
        let prefixes = ExtraPrefixes::parse("+1357=US,+491512=DE,+1425=US").unwrap();
        for number in ["+13574550142", "+4915123456789", "+14255550142"] {
            assert!(prefixes.read(number).is_ok(), "{number}");
        }
        for surplus in ["+135745501420", "+49151234567890", "+142555501420"] {
            let refused = prefixes.read(surplus).err();
            assert_eq!(refused, Some(InvalidPhoneNumber::TooLong), "{surplus}");
        }
    }

    #[test]
    fn a_known_beginning_of_the_same_country_is_accepted() {
        for entry in [
            "+1425=US",
            "+1876=JM",
            "+4915123=DE",
            "+1425xxxxxxx=US",
            "+81=JP",
        ] {
            ExtraPrefixes::parse(entry).unwrap();
        }
        let known = ("US".to_owned(), NumberType::FixedOrMobile);
        assert_eq!(classify("+1425=US", "+14255550142"), known);
        // The entry makes no premium number an ordinary one.
        let premium = ("US".to_owned(), NumberType::Premium);
        assert_eq!(classify("+1900=US", "+19005550142"), premium);
    }

    #[test]
    fn an_entry_that_is_wrong_or_without_effect_is_refused() {
        for (bad, said) in [
            ("", "is not a beginning"),
            ("1357=US", "is not a beginning"),
            ("+1357", "is not a beginning"),
            ("+1357=us", "is not a beginning"),
            ("+1=US", "is not a beginning"),
            ("+1x357=US", "is not a beginning"),
            ("+1357=US,", "is not a beginning"),
            ("+1357=US,+1357=CA", "`+1357` is there twice"),
            ("+1357xx=US", "has not 7 to 15 digits"),
            ("+1357xxxxxxxxxxxx=US", "has not 7 to 15 digits"),
            // Another country has these.
            ("+1425=CA", "has numbers of US already"),
            ("+1876=US", "has numbers of JM already"),
            ("+14=US", "already"),
            ("+447=GB", "already"),
            // No number can begin so.
            ("+999=US", "has no assigned calling code"),
            ("+35=US", "has no assigned calling code"),
            ("+0357=US", "has no assigned calling code"),
            // These are other spellings, and would be second keys.
            ("+521=MX", "opens no numbers: leave out the 1"),
            ("+440=GB", "prefix for domestic calls"),
            ("+440xxxxxxxxxx=GB", "behind a prefix for domestic calls"),
            ("+4407xxxxxxxxx=GB", "behind a prefix for domestic calls"),
            ("+972599=IL", "write Palestinian numbers with +970"),
        ] {
            let problem = ExtraPrefixes::parse(bad).unwrap_err();
            assert!(problem.contains(said), "{bad}: {problem}");
        }
    }
}
