use std::collections::BTreeSet;

/// The brands that trusted callers may put into messages.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Brands {
    /// The brand of requests that name none.
    pub default: String,
    /// The other brands that the operator has listed. If the list is empty, every brand that could not be a link is
    /// allowed.
    pub listed: Vec<String>,
}

/// The most digits of a brand that the operator has not listed. If a text has more digits, phones take the digits for a
/// phone number and offer to call this number.
const MOST_DIGITS: usize = 6;

impl Brands {
    /// The brands that the operator has set.
    #[must_use]
    pub fn all(&self) -> BTreeSet<&str> {
        let listed = self.listed.iter().map(String::as_str);
        listed.chain([self.default.as_str()]).collect()
    }

    /// Checks a caller's brand.
    ///
    /// # Errors
    ///
    /// The brand is not allowed. The error is the rest of a sentence that begins with the name of the field.
    pub fn check(&self, brand: &str) -> Result<(), &'static str> {
        if brand == self.default || self.listed.iter().any(|own| own == brand) {
            Ok(())
        } else if !self.listed.is_empty() {
            Err("must be one of the brands that the operator has listed.")
        } else if could_be_a_link(brand) {
            Err("could be shown as a link: only the operator can allow it, in BRAND_NAMES.")
        } else {
            Ok(())
        }
    }
}

/// Whether a phone could show a part of a text as something to tap: a web address, a mail address, or a phone number.
///
/// Every host name has a dot with more text after it, and so has every web address without a scheme. All characters
/// that browsers take for a dot count as a dot.
fn could_be_a_link(text: &str) -> bool {
    let is_dot = |c| matches!(c, '.' | '。' | '．' | '｡' | '․' | '﹒');
    let is_colon = |c| matches!(c, ':' | '：' | '﹕');
    let is_at = |c| matches!(c, '@' | '＠' | '﹫');
    let mut digits = 0;
    let mut characters = text.chars().peekable();
    while let Some(c) = characters.next() {
        let goes_on = characters.peek().is_some_and(|next| !next.is_whitespace());
        digits += usize::from(c.is_numeric());
        if is_at(c) || (goes_on && (is_dot(c) || is_colon(c))) {
            return true;
        }
    }
    digits > MOST_DIGITS
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn brands(listed: &[&str]) -> Brands {
        Brands {
            default: "Booking.com".to_owned(),
            listed: listed.iter().map(|own| (*own).to_owned()).collect(),
        }
    }

    #[test]
    fn a_brand_that_could_be_a_link_is_refused() {
        for brand in [
            "bank.evil.com/login1",
            "evil.com",
            "x.y",
            ".com",
            "Log in: a.b/c",
            "evil。com",
            "evil．com",
            "evil｡com",
            "evil․com",
            "evil﹒com",
            "evil.\u{200b}com",
            "evil.\u{ad}com",
            "\u{202e}moc.live",
            "https://evil",
            "tel:900",
            "sms：900",
            "a@b",
            "a＠b",
            "Call +1 425 555 0142",
            "1234567",
            "١٢٣٤٥٦٧",
            "10.0.0.1",
        ] {
            assert!(brands(&[]).check(brand).is_err(), "{brand}");
        }
    }

    #[test]
    fn a_brand_that_is_just_a_name_is_allowed() {
        for brand in [
            "ExampleCorp",
            "Acme Inc.",
            "St. Mary’s",
            "24/7 Fitness",
            "A&B <break/>",
            "Studio 54",
            "Foo: Bar",
            "モーニング娘。",
            "Łódź Bank",
            "🎉 Party",
            "{{code}}",
        ] {
            assert_eq!(brands(&[]).check(brand), Ok(()), "{brand}");
        }
    }

    #[test]
    fn the_operators_own_brands_may_look_like_links() {
        assert_eq!(brands(&[]).check("Booking.com"), Ok(()));
        let two = brands(&["bet365.com", "Acme"]);
        for brand in ["Booking.com", "bet365.com", "Acme"] {
            assert_eq!(two.check(brand), Ok(()), "{brand}");
        }
        for brand in ["acme", "Other", "booking.com", "evil.com"] {
            let refused = two.check(brand).unwrap_err();
            assert!(refused.contains("listed"), "{brand}: {refused}");
        }
    }
}
