//! The names that numbers and addresses have in the log.

use super::Hasher;
use super::hasher::{network, sign};
use crate::phone::PhoneNumber;
use std::net::IpAddr;

/// The letters of a pseudonym. About 26^10 pseudonyms are possible, so two numbers of one log hardly ever share one.
const LETTERS: usize = 10;

/// A number or an address in the log: a keyed hash under a key of its own, which neither the log nor the table has. A
/// pseudonym has small letters alone, so it can look like no code and like no number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pseudonym(String);

impl Pseudonym {
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Hasher {
    #[must_use]
    pub fn number_in_log(&self, number: &PhoneNumber) -> Pseudonym {
        self.pseudonym("number", number.expose())
    }

    /// The addresses that the limits count together have one pseudonym.
    #[must_use]
    pub fn source_in_log(&self, address: IpAddr) -> Pseudonym {
        self.pseudonym("source", &network(address))
    }

    fn pseudonym(&self, kind: &str, subject: &str) -> Pseudonym {
        let tag = sign(&self.of_log, kind, &[subject]);
        let mut left = tag
            .as_ref()
            .iter()
            .take(8)
            .fold(0_u64, |all, byte| all << 8 | u64::from(*byte));
        let letters = (0..LETTERS).map(|_| {
            let letter = u8::try_from(left % 26).unwrap_or_default();
            left /= 26;
            char::from(b'a' + letter)
        });
        Pseudonym(letters.collect())
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn a_pseudonym_depends_on_the_secret_and_on_what_it_stands_for() {
        let hasher = Hasher::from_secret(b"a secret of forty-three characters, or more");
        let number = |text: &str| hasher.number_in_log(&PhoneNumber::parse(text).unwrap());
        let source = |text: &str| hasher.source_in_log(text.parse().unwrap());
        let own = number("+14255550142");
        assert_eq!(own, number("+14255550142"));
        let other = Hasher::from_secret(b"another");
        let elsewhere = other.number_in_log(&PhoneNumber::parse("+14255550142").unwrap());
        for different in [&number("+14255550143"), &elsewhere, &source("192.0.2.7")] {
            assert_ne!(&own, different);
        }
        // The table has another hash of the number.
        let of_table = hasher.number(&PhoneNumber::parse("+14255550142").unwrap());
        assert!(!of_table.as_str().contains(own.as_str()));
        assert_eq!(own.as_str().len(), LETTERS);
        assert!(own.as_str().bytes().all(|byte| byte.is_ascii_lowercase()));
        assert_eq!(source("2001:db8:1:2::1"), source("2001:db8:1:2:ffff::9"));
        assert_ne!(source("2001:db8:1:2::1"), source("2001:db8:1:3::1"));
        assert_eq!(source("::ffff:192.0.2.7"), source("192.0.2.7"));
    }
}
