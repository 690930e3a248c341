//! Reference IDs: the names of verifications.

use crate::error::Error;
use crate::phone::PhoneNumber;
use md5::{Digest, Md5};
use std::fmt::Write;

/// A reference ID: 1 to 48 characters of `A-Z a-z 0-9 _ -`.
///
/// `Debug` hides the ID, and there is no `Display`. A derived ID is a hash of little more than a phone number. If a log
/// contained such an ID, a reader of the log could find the number by trying all numbers.
///
/// ```compile_fail,E0277
/// fn printed(_: impl std::fmt::Display) {}
/// let _ = |reference: otp_lambda::reference::ReferenceId| printed(reference);
/// ```
/// ```compile_fail,E0277
/// fn serialised(_: impl serde::Serialize) {}
/// let _ = |reference: otp_lambda::reference::ReferenceId| serialised(reference);
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct ReferenceId(String);

impl ReferenceId {
    /// Parses a caller's reference ID.
    ///
    /// # Errors
    ///
    /// `invalid_parameter` for the field `referenceId`.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        if (1..=48).contains(&text.len()) && text.bytes().all(allowed) {
            Ok(Self(text.to_owned()))
        } else {
            Err(Error::invalid_parameter(
                "referenceId",
                "referenceId must have 1 to 48 characters of A-Z, a-z, 0-9, _ and -.",
            ))
        }
    }

    /// Derives the reference ID as AWS's Python example does. The ID is an MD5 hash, in lower-case hex, of the brand
    /// name, the source and the destination number, in UTF-8 without separators.
    ///
    /// MD5 protects nothing here. The derivation has to be the same as in the example, so that each program can verify
    /// the codes of the other.
    #[must_use]
    pub fn derived(brand_name: &str, source: &str, destination_number: &PhoneNumber) -> Self {
        let mut hash = Md5::new();
        hash.update(brand_name);
        hash.update(source);
        hash.update(destination_number.expose());
        Self(hex(&hash.finalize()))
    }

    /// Makes a reference ID of 128 random bits.
    ///
    /// # Errors
    ///
    /// `internal_error` if the operating system gives no random bytes.
    pub fn random() -> Result<Self, Error> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).map_err(|error| {
            Error::new(
                crate::error::ErrorCode::InternalError,
                "No random reference ID could be made.",
            )
            .with_cause(format!("random source: {error}"))
        })?;
        Ok(Self(hex(&bytes)))
    }

    /// Makes a reference ID of the first 128 bits of a keyed hash. Without the key it looks random.
    #[must_use]
    pub(crate) fn from_hash(hash: &[u8]) -> Self {
        Self(hex(hash.get(..16).unwrap_or(hash)))
    }

    /// The ID itself, for the provider and the caller only.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for ReferenceId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ReferenceId(…)")
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            // Writing to a String cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_id_has_one_to_forty_eight_url_safe_characters() {
        for good in ["a", "Az09_-", &"x".repeat(48)] {
            assert_eq!(
                ReferenceId::parse(good).map(|id| id.0).ok().as_deref(),
                Some(good)
            );
        }
        for bad in ["", &"x".repeat(49), "a b", "a+b", "é", "a\n", "a.b"] {
            assert!(ReferenceId::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn random_ids_are_32_hex_digits_and_differ() -> Result<(), Error> {
        let (one, two) = (ReferenceId::random()?, ReferenceId::random()?);
        assert_ne!(one.0, two.0);
        assert!(one.0.len() == 32 && one.0.bytes().all(|b| b.is_ascii_hexdigit()));
        Ok(())
    }

    #[test]
    fn debug_hides_the_id() -> Result<(), Error> {
        assert!(!format!("{:?}", ReferenceId::parse("411f1d86")?).contains("411f"));
        Ok(())
    }
}
