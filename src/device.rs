//! Device tokens: secrets that let a device show later that it has verified a number before.

use crate::error::Error;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// The secret of a device that has verified a number.
///
/// `Debug` hides the token, and there is no `Display`. Whoever has the token can use the messages and guesses that are
/// kept for devices of its number.
///
/// ```compile_fail,E0277
/// fn printed(_: impl std::fmt::Display) {}
/// let _ = |token: otp_lambda::device::DeviceToken| printed(token);
/// ```
/// ```compile_fail,E0277
/// fn serialised(_: impl serde::Serialize) {}
/// let _ = |token: otp_lambda::device::DeviceToken| serialised(token);
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct DeviceToken(String);

impl DeviceToken {
    /// Parses the token of a request. The limit on its length is higher than this version needs, so that a later
    /// version can make longer tokens.
    ///
    /// # Errors
    ///
    /// `invalid_parameter` for the field `deviceToken`.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        if (1..=128).contains(&text.len()) && text.bytes().all(allowed) {
            Ok(Self(text.to_owned()))
        } else {
            Err(Error::invalid_parameter(
                "deviceToken",
                "deviceToken must have 1 to 128 characters of A-Z, a-z, 0-9, _ and -.",
            ))
        }
    }

    /// Makes a token of a keyed hash. Without the key it looks random.
    #[must_use]
    pub(crate) fn from_hash(hash: &[u8]) -> Self {
        Self(URL_SAFE_NO_PAD.encode(hash))
    }

    /// The token itself, for the caller only.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for DeviceToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DeviceToken(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_has_url_safe_characters() {
        for good in ["a", "Az09_-", &"x".repeat(128)] {
            let read = DeviceToken::parse(good).map(|token| token.0);
            assert_eq!(read.ok().as_deref(), Some(good));
        }
        for bad in ["", &"x".repeat(129), "a b", "a+b", "é", "a\n", "a.b"] {
            assert!(DeviceToken::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn debug_hides_the_token() -> Result<(), Error> {
        assert!(!format!("{:?}", DeviceToken::parse("411f1d86")?).contains("411f"));
        Ok(())
    }
}
