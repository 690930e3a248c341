//! The part of the user's number that a challenge shows. The part should tell the user which phone to look at. But
//! anyone who types the user name sees this part, so it should tell a stranger little.

use crate::phone::PhoneNumber;

/// How much of a number is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShownNumber {
    /// Whether the calling code is shown. A shown calling code tells strangers something about which users exist: the
    /// made-up number of an unknown user can be of any allowed country, but most real users are of one country.
    calling_code: bool,
    /// How many of the last digits are shown.
    digits: usize,
}

impl Default for ShownNumber {
    fn default() -> Self {
        Self {
            calling_code: false,
            digits: 2,
        }
    }
}

impl ShownNumber {
    /// Reads `0` to `4` for the digits, with a `+` before it if the calling code is shown.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (calling_code, digits) = match text.strip_prefix('+') {
            Some(digits) => (true, digits),
            None => (false, text),
        };
        let digits = match digits {
            "0" => 0,
            "1" => 1,
            "2" => 2,
            "3" => 3,
            "4" => 4,
            _ => return None,
        };
        Some(Self {
            calling_code,
            digits,
        })
    }

    /// The number with seven stars, always as many, in place of the hidden digits: `+*******42`, `+1*******42`.
    pub(super) fn of(self, number: &PhoneNumber) -> String {
        const STARS: &str = "*******";
        let masked = number.masked();
        let (calling_code, _) = masked.split_once(STARS).unwrap_or(("+", ""));
        let calling_code = if self.calling_code { calling_code } else { "+" };
        let digits = number.expose();
        let last = digits
            .get(digits.len().saturating_sub(self.digits)..)
            .unwrap_or_default();
        format!("{calling_code}{STARS}{last}")
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_shown_as_the_operator_says() {
        let number = PhoneNumber::parse("+447700900123").unwrap();
        for (setting, shown) in [
            ("0", "+*******"),
            ("2", "+*******23"),
            ("4", "+*******0123"),
            ("+0", "+44*******"),
            ("+4", "+44*******0123"),
        ] {
            assert_eq!(ShownNumber::parse(setting).unwrap().of(&number), shown);
        }
        assert_eq!(ShownNumber::parse("2"), Some(ShownNumber::default()));
        for bad in ["", "5", "-1", "++2", "+", "02", "all"] {
            assert_eq!(ShownNumber::parse(bad), None, "{bad:?}");
        }
    }
}
