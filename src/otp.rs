//! The guess that a person types in, and the shape of codes.

use crate::error::Error;
use std::ops::RangeInclusive;

/// A guess at a code.
///
/// The type has no `Display`, `Serialize`, `PartialEq` or `Clone`, and its `Debug` hides the code. So no code can be
/// printed, compared or copied by mistake.
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

/// The length and the characters of a provider's codes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CodeShape {
    pub length: RangeInclusive<u8>,
    pub characters: CodeCharacters,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CodeCharacters {
    Digits,
    /// Capital letters, A to Z.
    Letters,
    LettersAndDigits,
}

impl CodeShape {
    /// Whether a code of this shape can equal `otp`.
    #[must_use]
    pub fn fits(&self, otp: &Otp) -> bool {
        self.fits_text(&otp.0)
    }

    /// The narrowest shape that includes this one and `other`.
    #[must_use]
    pub fn or(&self, other: &Self) -> Self {
        let length = *self.length.start().min(other.length.start())
            ..=*self.length.end().max(other.length.end());
        let characters = if self.characters == other.characters {
            self.characters
        } else {
            CodeCharacters::LettersAndDigits
        };
        Self { length, characters }
    }

    fn fits_text(&self, text: &str) -> bool {
        let allowed = |byte: u8| match self.characters {
            CodeCharacters::Digits => byte.is_ascii_digit(),
            CodeCharacters::Letters => byte.is_ascii_uppercase(),
            CodeCharacters::LettersAndDigits => byte.is_ascii_digit() || byte.is_ascii_uppercase(),
        };
        u8::try_from(text.len()).is_ok_and(|length| self.length.contains(&length))
            && text.bytes().all(allowed)
    }
}

impl std::fmt::Display for CodeShape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let characters = match self.characters {
            CodeCharacters::Digits => "digits",
            CodeCharacters::Letters => "letters",
            CodeCharacters::LettersAndDigits => "letters and digits",
        };
        write!(
            f,
            "{} to {} {characters}",
            self.length.start(),
            self.length.end()
        )
    }
}

impl Otp {
    /// Parses a guess at a code of this shape. Codes have only capital letters, so small letters become capitals.
    ///
    /// # Errors
    ///
    /// `invalid_parameter` for the field `otp`. The error never repeats the value. A guess that is refused here costs
    /// no attempt.
    pub fn parse(text: &str, shape: &CodeShape) -> Result<Self, Error> {
        let text = text.to_ascii_uppercase();
        if shape.fits_text(&text) {
            Ok(Self(text))
        } else {
            Err(Error::invalid_parameter(
                "otp",
                format!("otp must be a string of {shape}."),
            ))
        }
    }

    /// In characters.
    #[must_use]
    pub fn length(&self) -> u8 {
        u8::try_from(self.0.len()).unwrap_or(u8::MAX)
    }

    /// The code itself, for the provider and the hasher only.
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

    const DIGITS: CodeShape = CodeShape {
        length: 5..=8,
        characters: CodeCharacters::Digits,
    };
    const LETTERS: CodeShape = CodeShape {
        length: 4..=6,
        characters: CodeCharacters::Letters,
    };

    #[test]
    fn a_guess_has_ascii_digits_and_the_providers_length() {
        for good in ["01234", "012345", "00000000"] {
            assert_eq!(
                Otp::parse(good, &DIGITS).map(|otp| otp.0).ok().as_deref(),
                Some(good)
            );
        }
        for bad in [
            "",
            "1234",
            "123456789",
            "12345 ",
            " 12345",
            "12a456",
            "1234\u{660}",
            "١٢٣٤٥٦",
            "-12345",
            "12345\0",
        ] {
            assert!(Otp::parse(bad, &DIGITS).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn small_letters_become_capitals() {
        assert_eq!(
            Otp::parse("abCD", &LETTERS)
                .map(|otp| otp.0)
                .ok()
                .as_deref(),
            Some("ABCD")
        );
        for bad in ["ABC", "ABCDEFG", "ABC1", "ÄBCD", "ABC\u{131}"] {
            assert!(Otp::parse(bad, &LETTERS).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_combined_shape_accepts_guesses_of_both() -> Result<(), Error> {
        let both = DIGITS.or(&LETTERS);
        assert_eq!(both.to_string(), "4 to 8 letters and digits");
        let guess = Otp::parse("12345", &both)?;
        assert!(DIGITS.fits(&guess) && !LETTERS.fits(&guess));
        assert_eq!(DIGITS.or(&DIGITS), DIGITS);
        Ok(())
    }

    #[test]
    fn debug_hides_the_code() -> Result<(), Error> {
        let shown = format!(
            "{:?} {:#?}",
            Otp::parse("123456", &DIGITS)?,
            Otp::parse("987654", &DIGITS)?
        );
        assert!(!shown.contains(|c: char| c.is_ascii_digit()), "{shown}");
        Ok(())
    }
}
