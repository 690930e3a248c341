//! Keyed hashes: the ledger holds numbers, references, addresses and guesses in no other form.

use crate::otp::Otp;
use crate::phone::PhoneNumber;
use crate::reference::ReferenceId;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::{hkdf, hmac};
use std::net::IpAddr;
use std::time::Duration;

use super::Millis;

/// The name of an item: its kind, and the keyed hash of what it is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ItemName(String);

impl ItemName {
    /// The item of a day's budget, which is about nobody.
    #[must_use]
    pub fn of_budget(day: u64) -> Self {
        Self(format!("B#{day}"))
    }

    /// The item that holds the operator's switches.
    #[must_use]
    pub fn of_switches() -> Self {
        Self("K#switches".to_owned())
    }

    /// The characters, for the store.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A keyed hash inside an item. Who knows the key and nothing else cannot make one, and who reads one learns nothing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac(String);

impl Mac {
    /// A value that nobody else has, for what is to be told apart from everything.
    ///
    /// # Errors
    ///
    /// `internal_error` if the operating system has no randomness to give.
    pub fn unique() -> Result<Self, crate::error::Error> {
        Ok(Self(ReferenceId::random()?.expose().to_owned()))
    }

    /// Takes back one that was stored.
    #[must_use]
    pub fn stored(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The characters, for the store.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A stretch of time that a fixed counter is about: all time is cut into such stretches, from 1970 on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    length: Duration,
    index: u64,
}

impl Window {
    /// The window of this length that `now` is in.
    #[must_use]
    pub fn around(now: Millis, length: Duration) -> Self {
        let millis = u64::try_from(length.as_millis()).unwrap_or(u64::MAX).max(1);
        Self {
            length,
            index: now.0 / millis,
        }
    }

    /// When it ends.
    #[must_use]
    pub fn end(self) -> Millis {
        let millis = u64::try_from(self.length.as_millis()).unwrap_or(u64::MAX);
        Millis(millis.saturating_mul(self.index + 1))
    }
}

/// Makes the names of items and the hashes in them, under a key that is not in the table.
pub struct Hasher(hmac::Key);

impl std::fmt::Debug for Hasher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keys(…)")
    }
}

impl Hasher {
    /// Derives the key from a secret with HKDF-SHA-256, so that the secret may have any form.
    #[must_use]
    pub fn from_secret(secret: &[u8]) -> Self {
        let salt = hkdf::Salt::new(hkdf::HKDF_SHA256, b"otp-lambda ledger");
        let derived = salt.extract(secret);
        // The length is the hash's own, which HKDF always gives.
        let key = derived
            .expand(&[b"hmac v1"], hmac::HMAC_SHA256)
            .map(hmac::Key::from);
        Self(key.unwrap_or_else(|_| hmac::Key::new(hmac::HMAC_SHA256, secret)))
    }

    /// The verification of a number under a reference.
    #[must_use]
    pub fn verification(&self, reference: &ReferenceId, number: &PhoneNumber) -> ItemName {
        self.key("V", &[reference.expose(), number.expose()])
    }

    /// The number, whatever it is verified for: else each purpose would give fresh guesses.
    #[must_use]
    pub fn number(&self, number: &PhoneNumber) -> ItemName {
        self.key("N", &[number.expose()])
    }

    /// An idempotency key of a caller.
    #[must_use]
    pub fn idempotency(&self, caller: &str, key: &str) -> ItemName {
        self.key("I", &[caller, key])
    }

    /// The counter of an address for an operation. IPv6 counts by /64, as that is what one customer has.
    #[must_use]
    pub fn source(&self, operation: &str, address: IpAddr, window: Window) -> ItemName {
        let network = match address.to_canonical() {
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                format!("{a:x}:{b:x}:{c:x}:{d:x}::/64")
            }
        };
        self.counter("S", &[operation, &network], window)
    }

    /// The counter of the ten thousand numbers around a number.
    #[must_use]
    pub fn prefix(&self, number: &PhoneNumber, window: Window) -> ItemName {
        let digits = number.expose();
        let prefix = digits
            .get(..digits.len().saturating_sub(4))
            .unwrap_or_default();
        self.counter("R", &[prefix], window)
    }

    /// A guess at the code of a verification.
    #[must_use]
    pub fn guess(&self, reference: &ReferenceId, number: &PhoneNumber, otp: &Otp) -> Mac {
        Mac(self.hash(
            "guess",
            &[reference.expose(), number.expose(), otp.expose()],
        ))
    }

    /// What only this caller with this idempotency key can show again.
    #[must_use]
    pub fn winner(&self, caller: &str, key: &str) -> Mac {
        Mac(self.hash("winner", &[caller, key]))
    }

    /// The request that an idempotency key stands for.
    #[must_use]
    pub fn fingerprint(&self, members: &[&str]) -> Mac {
        Mac(self.hash("body", members))
    }

    /// A reference that cannot be guessed and comes out the same when the same claim of an idempotency key is answered
    /// again, so that it need not be stored.
    #[must_use]
    pub fn reference(&self, caller: &str, key: &str, at: Millis) -> ReferenceId {
        ReferenceId::from_hash(
            self.tag("reference", &[caller, key, &at.0.to_string()])
                .as_ref(),
        )
    }

    /// The reference of a user's sign-in code: of this kind, pool, client, user and number, and of no other. Nobody can guess it
    /// who lacks the key, and no session has to remember it.
    #[must_use]
    pub fn sign_in(&self, user: &[&str; 4], number: &PhoneNumber) -> ReferenceId {
        let [kind, pool, client, name] = user;
        ReferenceId::from_hash(
            self.tag("sign-in", &[kind, pool, client, name, number.expose()])
                .as_ref(),
        )
    }

    /// The name of a number that stands for nobody's, so that it shares no window with whoever has the number: at each
    /// depth of decoy another.
    #[must_use]
    pub fn decoy_number(&self, number: &PhoneNumber, depth: u8) -> ItemName {
        self.key("N", &["shadow", &depth.to_string(), number.expose()])
    }

    /// What only the sign-in session with this name can show.
    #[must_use]
    pub fn session(&self, name: &str) -> Mac {
        Mac(self.hash("session", &[name]))
    }

    /// Sixteen bytes that are the same for the same words and tell nothing.
    #[must_use]
    pub fn bytes(&self, words: &[&str]) -> [u8; 16] {
        let tag = self.tag("bytes", words);
        let mut bytes = [0; 16];
        bytes
            .iter_mut()
            .zip(tag.as_ref())
            .for_each(|(byte, of_tag)| *byte = *of_tag);
        bytes
    }

    fn key(&self, kind: &str, fields: &[&str]) -> ItemName {
        ItemName(format!("{kind}#{}", self.hash(kind, fields)))
    }

    fn counter(&self, kind: &str, fields: &[&str], window: Window) -> ItemName {
        ItemName(format!(
            "{kind}#{}#{}#{}",
            self.hash(kind, fields),
            window.length.as_secs(),
            window.index
        ))
    }

    fn hash(&self, kind: &str, fields: &[&str]) -> String {
        URL_SAFE_NO_PAD.encode(self.tag(kind, fields))
    }

    /// Every field goes in with its length, or two lists of fields could be one text.
    fn tag(&self, kind: &str, fields: &[&str]) -> hmac::Tag {
        let mut context = hmac::Context::with_key(&self.0);
        for field in std::iter::once(&kind).chain(fields) {
            context.update(&(field.len() as u64).to_be_bytes());
            context.update(field.as_bytes());
        }
        context.sign()
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn keys() -> Hasher {
        Hasher::from_secret(b"a secret of forty-three characters, or more")
    }

    #[test]
    fn fields_cannot_run_into_each_other() {
        let keys = keys();
        assert_ne!(keys.hash("a", &["bc", "d"]), keys.hash("a", &["b", "cd"]));
        assert_ne!(keys.hash("a", &["b"]), keys.hash("ab", &[""]));
        assert_ne!(keys.hash("a", &["b", ""]), keys.hash("a", &["b"]));
        assert_eq!(keys.hash("a", &["b"]), self::keys().hash("a", &["b"]));
        assert_ne!(
            keys.hash("a", &["b"]),
            Hasher::from_secret(b"another").hash("a", &["b"])
        );
    }

    #[test]
    fn nothing_of_the_number_or_the_secret_is_shown() {
        let number = PhoneNumber::parse("+14255550142").unwrap();
        let shown = format!(
            "{:?} {:?} {:?}",
            keys(),
            keys().number(&number),
            Window::around(Millis(5), Duration::from_secs(1))
        );
        assert!(
            !shown.contains("425555") && !shown.contains("secret"),
            "{shown}"
        );
    }

    #[test]
    fn an_ipv6_customer_is_one_source() {
        let keys = keys();
        let window = Window::around(Millis(0), Duration::from_hours(1));
        let source = |address: &str| keys.source("send", address.parse().unwrap(), window);
        assert_eq!(source("2001:db8:1:2::1"), source("2001:db8:1:2:ffff::9"));
        assert_ne!(source("2001:db8:1:2::1"), source("2001:db8:1:3::1"));
        assert_eq!(source("::ffff:192.0.2.7"), source("192.0.2.7"));
        assert_ne!(source("192.0.2.7"), source("192.0.2.8"));
        assert_ne!(
            source("192.0.2.7"),
            keys.source("verify", "192.0.2.7".parse().unwrap(), window)
        );
    }

    #[test]
    fn a_prefix_is_the_number_without_its_last_four_digits() {
        let keys = keys();
        let window = Window::around(Millis(0), Duration::from_hours(1));
        let prefix = |number: &str| keys.prefix(&PhoneNumber::parse(number).unwrap(), window);
        assert_eq!(prefix("+14255550142"), prefix("+14255559999"));
        assert_ne!(prefix("+14255550142"), prefix("+14255560142"));
    }

    #[test]
    fn windows_follow_each_other() {
        let hour = Duration::from_hours(1);
        assert_eq!(
            Window::around(Millis(3_599_999), hour).end(),
            Millis(3_600_000)
        );
        assert_eq!(
            Window::around(Millis(3_600_000), hour).end(),
            Millis(7_200_000)
        );
    }
}
