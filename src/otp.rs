//! The one-time password a person types in.

use crate::error::Error;
use std::ops::RangeInclusive;

/// A guess at a one-time password, in the shape the provider gives to its codes.
///
/// It has no `Display`, `Serialize`, `PartialEq` or `Clone`, and its `Debug` is blind: it can be
/// handed to the provider and to nothing else.
///
/// ```compile_fail,E0277
/// fn printed(_: impl std::fmt::Display) {}
/// let _ = |otp: otp_lambda::otp::Otp| printed(otp);
/// ```
/// ```compile_fail,E0277
/// fn serialised(_: impl serde::Serialize) {}
/// let _ = |otp: otp_lambda::otp::Otp| serialised(otp);
/// ```
/// ```compile_fail,E0277
/// fn compared(_: impl PartialEq) {}
/// let _ = |otp: otp_lambda::otp::Otp| compared(otp);
/// ```
/// ```compile_fail,E0277
/// fn copied(_: impl Clone) {}
/// let _ = |otp: otp_lambda::otp::Otp| copied(otp);
/// ```
/// The control, which compiles:
/// ```
/// fn inspected(_: impl std::fmt::Debug) {}
/// let _ = |otp: otp_lambda::otp::Otp| inspected(otp);
/// ```
pub struct Otp(String);

impl Otp {
    /// Takes `text` as a guess if it has a number of ASCII digits within `length`.
    ///
    /// # Errors
    ///
    /// `invalid_parameter` for the field `otp`, which costs no attempt; it never shows the value.
    pub fn parse(text: &str, length: &RangeInclusive<u8>) -> Result<Self, Error> {
        let fits = u8::try_from(text.len()).is_ok_and(|digits| length.contains(&digits));
        if fits && text.bytes().all(|byte| byte.is_ascii_digit()) {
            Ok(Self(text.to_owned()))
        } else {
            Err(Error::invalid_parameter(
                "otp",
                format!("otp must be a string of {} to {} digits.", length.start(), length.end()),
            ))
        }
    }

    /// How many digits it has.
    #[must_use]
    pub fn length(&self) -> u8 {
        u8::try_from(self.0.len()).unwrap_or(u8::MAX)
    }

    /// The digits, for the provider and for the ledger's keyed hash.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Otp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Otp(******)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ascii_digits_of_the_providers_length_are_a_guess() {
        for good in ["01234", "012345", "00000000"] {
            assert_eq!(Otp::parse(good, &(5..=8)).map(|otp| otp.expose().to_owned()).ok().as_deref(), Some(good));
        }
        for bad in ["", "1234", "123456789", "12345 ", " 12345", "12a456", "1234\u{660}", "١٢٣٤٥٦", "-12345", "12345\0"]
        {
            assert!(Otp::parse(bad, &(5..=8)).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn debug_shows_no_digit() -> Result<(), Error> {
        let shown = format!("{:?} {:#?}", Otp::parse("123456", &(5..=8))?, Otp::parse("987654", &(5..=8))?);
        assert!(!shown.contains(|c: char| c.is_ascii_digit()), "{shown}");
        Ok(())
    }
}
