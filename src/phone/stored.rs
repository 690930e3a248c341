//! Numbers that were stored before a numbering plan changed.

use super::{Hint, InvalidPhoneNumber, Opens, PhoneNumber, plain};

impl PhoneNumber {
    /// Parses a number that an application has stored and sent messages to. If the number is in an old spelling that
    /// can mean only one number, the result is that number.
    ///
    /// Two kinds of spellings can mean only one number. For the first kind, the [`Hint`] says how to make the one
    /// number: for example, Mexico's old numbers have a 1 that has to be removed. The second kind has a zero for
    /// domestic calls after the calling code, and is a valid number without this zero.
    ///
    /// Unlike this function, [`parse`](Self::parse) corrects no number. `parse` is for numbers that people type, and
    /// tells the person what is wrong.
    ///
    /// # Errors
    ///
    /// As [`parse`](Self::parse), about the number as it is stored.
    pub fn parse_stored(text: &str) -> Result<Self, InvalidPhoneNumber> {
        Self::parse_stored_or(text, &|_, _| false)
    }

    /// Parses as [`parse_stored`](Self::parse_stored) does, and also accepts the numbers that `opens` accepts.
    ///
    /// # Errors
    ///
    /// As [`parse`](Self::parse), about the number as it is stored.
    pub fn parse_stored_or(text: &str, opens: &Opens<'_>) -> Result<Self, InvalidPhoneNumber> {
        let refused = match Self::parse_or(text, opens) {
            Err(InvalidPhoneNumber::OtherSpelling(hint)) => hint,
            result => return result,
        };
        let e164 = plain(text)?;
        let current = match refused {
            Hint::Domestic => without_trunk_zero(&e164),
            hint => current(hint, &e164),
        };
        current
            .and_then(|current| Self::parse_or(&current, opens).ok())
            .ok_or(InvalidPhoneNumber::OtherSpelling(refused))
    }
}

/// The number that an old spelling means, not yet parsed. `None` if the hint does not say which.
fn current(hint: Hint, e164: &str) -> Option<String> {
    let replace = |old: &str, new: &str| {
        let rest = e164.strip_prefix(old)?;
        Some(format!("{new}{rest}"))
    };
    match hint {
        Hint::MexicanOne => replace("+521", "+52"),
        Hint::BenineseZeroOne => replace("+229", "+22901"),
        Hint::BrazilianNine => {
            let (area, number) = e164.split_at_checked("+55".len() + 2)?;
            Some(format!("{area}9{number}"))
        }
        Hint::GaboneseEight => gabonese(e164),
        Hint::GambianNine => {
            let operator = match e164.as_bytes().get("+220".len())? {
                b'3' | b'5' => "83",
                b'6' | b'8' => "86",
                _ => "87",
            };
            replace("+220", &format!("+220{operator}"))
        }
        Hint::GambianSeven => replace("+22089", "+220").or_else(|| replace("+22044", "+220")),
        Hint::Israeli => replace("+970", "+972"),
        Hint::Kosovan => {
            let (_, number) = e164.split_at_checked("+381".len())?;
            Some(format!("+383{number}"))
        }
        Hint::NorthernIrish => replace("+35348", "+4428"),
        Hint::Palestinian => replace("+972", "+970"),
        Hint::SomaliNine => replace("+2521", "+25261").or_else(|| replace("+2522", "+25263")),
        _ => None,
    }
}

/// Takes a number of Gabon as it was written before 2019, with or without the zero of domestic calls. Returns the
/// number in its present form, which begins with a digit for the network.
fn gabonese(e164: &str) -> Option<String> {
    let number = e164.strip_prefix("+241")?;
    let number = number.strip_prefix('0').unwrap_or(number);
    let operator = match number.as_bytes() {
        [b'1', ..] => "1",
        [b'2' | b'5' | b'6', ..] => "6",
        [b'4' | b'7', ..] => "7",
        _ => return None,
    };
    // A number of the new plan after the zero is complete.
    let operator = if number.len() == 7 { operator } else { "" };
    Some(format!("+241{operator}{number}"))
}

/// The number without the zero after its calling code.
fn without_trunk_zero(e164: &str) -> Option<String> {
    (2..=4).find_map(|end| {
        let (code, rest) = e164.split_at_checked(end)?;
        let candidate = format!("{code}{}", rest.strip_prefix('0')?);
        let parsed = PhoneNumber::parse(&candidate).ok()?;
        let own = 1 + parsed.class.calling_code_digits;
        (own == end).then_some(candidate)
    })
}
