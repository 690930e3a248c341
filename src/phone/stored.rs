//! Numbers that were stored before a numbering plan changed.

use super::{Hint, InvalidPhoneNumber, PhoneNumber, plain};

impl PhoneNumber {
    /// Parses a number that an application has stored and texted: an old spelling that can mean one
    /// number only is taken as that number.
    ///
    /// These are Mexico's 1, Benin's numbers without 01, Brazil's mobile numbers without their 9,
    /// Palestinian mobiles with Israel's calling code, and a trunk zero where no number has one. A number that
    /// a person types is not read so: [`parse`](Self::parse) tells the person what is wrong.
    ///
    /// # Errors
    ///
    /// As [`parse`](Self::parse), about the number as it is stored.
    pub fn parse_stored(text: &str) -> Result<Self, InvalidPhoneNumber> {
        let refused = match Self::parse(text) {
            Err(InvalidPhoneNumber::OtherSpelling(hint)) => hint,
            result => return result,
        };
        let as_stored = InvalidPhoneNumber::OtherSpelling(refused);
        let e164 = plain(text)?;
        let current = match refused {
            Hint::MexicanOne => e164
                .strip_prefix("+521")
                .map(|number| format!("+52{number}")),
            Hint::BenineseZeroOne => e164
                .strip_prefix("+229")
                .map(|number| format!("+22901{number}")),
            Hint::BrazilianNine => e164
                .split_at_checked("+55".len() + 2)
                .map(|(area, number)| format!("{area}9{number}")),
            Hint::Palestinian => e164
                .strip_prefix("+972")
                .map(|number| format!("+970{number}")),
            Hint::Domestic => without_trunk_zero(&e164),
            _ => None,
        };
        current
            .and_then(|current| Self::parse(&current).ok())
            .ok_or(as_stored)
    }
}

/// The number without the zero after its calling code.
fn without_trunk_zero(e164: &str) -> Option<String> {
    (2..=4).find_map(|end| {
        let (code, rest) = e164.split_at_checked(end)?;
        let candidate = format!("{code}{}", rest.strip_prefix('0')?);
        let parsed = PhoneNumber::parse(&candidate).ok()?;
        let own = 1 + usize::from(parsed.class.calling_code_digits);
        (own == end).then_some(candidate)
    })
}
