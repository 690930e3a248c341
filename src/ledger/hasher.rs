//! Makes the names of items, and the digests that items hold. The ledger holds numbers, references, addresses and
//! guesses only as keyed hashes.

use super::{CodeDigest, Digest, Fingerprint, Nonce, Redeemer, SessionDigest, Winner};
use crate::device::DeviceToken;
use crate::otp::Otp;
use crate::phone::{Country, PhoneNumber};
use crate::reference::ReferenceId;
use crate::time::Millis;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac::{self, HMAC_SHA256};
use std::net::IpAddr;
use std::time::Duration;

/// The first field that is hashed into the names of decoys. A decoy is a counter that no limit reads. If this word
/// changed, the function would no longer find the decoys in the table.
pub const DECOY_ITEM: &str = "shadow";

/// A way in to the service, with counters of its own. A caller at one door must not see the counts of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Door {
    #[default]
    Http,
    /// Sign-ins with Cognito.
    SignIn,
    /// Devices over HTTP that have verified the number before. This door opens only for requests that HTTP refuses.
    Device,
}

impl Door {
    /// The door's name in the log.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::SignIn => "sign-in",
            Self::Device => "device",
        }
    }

    /// The first field that is hashed into the names of this door's counters. The door HTTP has no such field. In
    /// earlier versions, the two doors had the same counters, and the counters of HTTP keep their names from these
    /// versions.
    fn field(self) -> Option<&'static str> {
        match self {
            Self::Http => None,
            Self::SignIn => Some("sign-in"),
            Self::Device => Some("device"),
        }
    }
}

/// The primary key of an item: the kind of item, and a keyed hash of its subject.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ItemName(String);

impl ItemName {
    /// A door's budgets of a day, counted from 1970.
    #[must_use]
    pub fn of_budget(door: Door, day: u64) -> Self {
        Self(format!("B#{day}{}", Self::of_door(door)))
    }

    /// The budgets of a country on a day. Each country has an item of its own. If all countries shared one item, the
    /// item would grow with each country, and every send would cost more write units.
    #[must_use]
    pub fn of_country_budget(door: Door, day: u64, country: Country) -> Self {
        let door = Self::of_door(door);
        Self(format!("B#{day}#{}{door}", country.as_str()))
    }

    fn of_door(door: Door) -> String {
        door.field()
            .map_or_else(String::new, |field| format!("#{field}"))
    }

    /// The operator's switches.
    #[must_use]
    pub fn of_switches() -> Self {
        Self("K#switches".to_owned())
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The period of a fixed counter. Time since 1970 is divided into periods of one length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    length: Duration,
    index: u64,
}

impl Window {
    /// The window of this length that contains `now`.
    #[must_use]
    pub fn around(now: Millis, length: Duration) -> Self {
        let millis = u64::try_from(length.as_millis()).unwrap_or(u64::MAX).max(1);
        Self {
            length,
            index: now.0 / millis,
        }
    }

    #[must_use]
    pub fn end(self) -> Millis {
        let millis = u64::try_from(self.length.as_millis()).unwrap_or(u64::MAX);
        Millis(millis.saturating_mul(self.index + 1))
    }
}

/// Makes item names and digests under the ledger's secret. The table does not have the secret.
pub struct Hasher {
    of_table: hmac::Key,
    /// The key of [`Pseudonym`](super::Pseudonym)s.
    pub(super) of_log: hmac::Key,
}

impl std::fmt::Debug for Hasher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hasher(…)")
    }
}

impl Hasher {
    /// Derives the keys with HKDF-SHA-256 (RFC 5869), from a secret of any length. Each key is one block of HKDF's
    /// output, so the derivation takes only three HMACs. The derivation cannot fail.
    #[must_use]
    pub fn from_secret(secret: &[u8]) -> Self {
        let hmac = |key: &[u8], data: &[u8]| hmac::sign(&hmac::Key::new(HMAC_SHA256, key), data);
        let extracted = hmac(b"otp-lambda ledger", secret);
        let key =
            |name: &[u8]| hmac::Key::new(HMAC_SHA256, hmac(extracted.as_ref(), name).as_ref());
        Self {
            of_table: key(b"hmac v1\x01"),
            of_log: key(b"log v1\x01"),
        }
    }

    /// The item of a number's verification under a reference.
    #[must_use]
    pub fn verification(&self, reference: &ReferenceId, number: &PhoneNumber) -> ItemName {
        self.item("V", &[reference.expose(), number.expose()])
    }

    /// The item that counts a number's sends and failures over HTTP, under all references together. If each reference
    /// had a count of its own, a caller could get new guesses with a new reference.
    #[must_use]
    pub fn number(&self, number: &PhoneNumber) -> ItemName {
        self.number_at(Door::Http, number)
    }

    /// The item that counts a number's sends and failures at one door.
    #[must_use]
    pub fn number_at(&self, door: Door, number: &PhoneNumber) -> ItemName {
        let fields: Vec<_> = door.field().into_iter().chain([number.expose()]).collect();
        self.item("N", &fields)
    }

    /// The item of a foreign code to a number under a reference.
    #[must_use]
    pub fn foreign_verification(&self, reference: &ReferenceId, number: &PhoneNumber) -> ItemName {
        self.item("V", &["foreign", reference.expose(), number.expose()])
    }

    /// The item of the windows for a number's foreign codes, apart from its sends.
    #[must_use]
    pub fn foreign_number(&self, number: &PhoneNumber) -> ItemName {
        self.item("N", &["foreign", number.expose()])
    }

    /// The item that remembers a device of a number. The number is hashed as well, so a token is worth nothing for
    /// another number.
    #[must_use]
    pub fn device(&self, token: &DeviceToken, number: &PhoneNumber) -> ItemName {
        self.item("D", &[token.expose(), number.expose()])
    }

    /// The token of the device whose guess was right. It is derived from the winner, so a repeat of the request that
    /// has succeeded gets the same token, and the ledger need not store the token.
    #[must_use]
    pub fn device_token(
        &self,
        winner: &Winner,
        reference: &ReferenceId,
        number: &PhoneNumber,
    ) -> DeviceToken {
        let fields = [winner.as_str(), reference.expose(), number.expose()];
        DeviceToken::from_hash(self.tag("device token", &fields).as_ref())
    }

    /// An idempotency key of a caller.
    #[must_use]
    pub fn idempotency(&self, caller: &str, key: &str) -> ItemName {
        self.item("I", &[caller, key])
    }

    /// The requests from a network address. IPv6 counts by /64, because one customer gets a whole /64.
    #[must_use]
    pub fn source(&self, operation: &str, address: IpAddr, window: Window) -> ItemName {
        self.counter("S", &[operation, &network(address)], window)
    }

    /// The requests from the /48 around an IPv6 address. A /48 holds 65,536 networks of size /64, and one customer can
    /// have many of these networks. `None` for IPv4.
    #[must_use]
    pub fn source_network(
        &self,
        operation: &str,
        address: IpAddr,
        window: Window,
    ) -> Option<ItemName> {
        let IpAddr::V6(address) = address.to_canonical() else {
            return None;
        };
        let [a, b, c, ..] = address.segments();
        let network = format!("{a:x}:{b:x}:{c:x}::/48");
        Some(self.counter("S", &[operation, &network], window))
    }

    /// The sends over HTTP to the ten thousand numbers that differ from `number` in the last four digits only.
    #[must_use]
    pub fn prefix(&self, number: &PhoneNumber, window: Window) -> ItemName {
        self.prefix_at(Door::Http, number, window)
    }

    /// The sends at a door to the ten thousand numbers around `number`.
    #[must_use]
    pub fn prefix_at(&self, door: Door, number: &PhoneNumber, window: Window) -> ItemName {
        let digits = number.expose();
        let prefix = digits
            .get(..digits.len().saturating_sub(4))
            .unwrap_or_default();
        let fields: Vec<_> = door.field().into_iter().chain([prefix]).collect();
        self.counter("R", &fields, window)
    }

    #[must_use]
    pub fn guess(&self, reference: &ReferenceId, number: &PhoneNumber, otp: &Otp) -> CodeDigest {
        self.digest(
            "guess",
            &[reference.expose(), number.expose(), otp.expose()],
        )
    }

    /// The digest of a verify's caller. Only the same caller with the same idempotency key gets the same digest.
    #[must_use]
    pub fn winner(&self, caller: &str, key: &str) -> Winner {
        self.digest("winner", &[caller, key])
    }

    /// The digest of the caller who redeems a success, made as [`winner`](Self::winner) is.
    #[must_use]
    pub fn redeemer(&self, caller: &str, key: &str) -> Redeemer {
        self.digest("winner", &[caller, key])
    }

    /// The digest of a question to a sign-in session, made as [`winner`](Self::winner) is.
    #[must_use]
    pub fn nonce(&self, caller: &str, key: &str) -> Nonce {
        self.digest("winner", &[caller, key])
    }

    /// The digest of the request that an idempotency key is reserved for.
    #[must_use]
    pub fn fingerprint(&self, fields: &[&str]) -> Fingerprint {
        self.digest("body", fields)
    }

    #[must_use]
    pub fn session(&self, name: &str) -> SessionDigest {
        self.digest("session", &[name])
    }

    /// A reference ID that cannot be guessed. The ID is derived from an idempotency key and the time of the key's
    /// reservation, so the ledger need not store the ID.
    #[must_use]
    pub fn reference(&self, caller: &str, key: &str, at: Millis) -> ReferenceId {
        ReferenceId::from_hash(
            self.tag("reference", &[caller, key, &at.0.to_string()])
                .as_ref(),
        )
    }

    /// The reference under which a provider knows the code of one generation. Only that code is verified under it.
    #[must_use]
    pub fn code_reference(
        &self,
        reference: &ReferenceId,
        number: &PhoneNumber,
        generation: u64,
    ) -> ReferenceId {
        let fields = [reference.expose(), number.expose(), &generation.to_string()];
        ReferenceId::from_hash(self.tag("code reference", &fields).as_ref())
    }

    /// The reference ID of a user's sign-in code. The ID cannot be guessed without the secret. The ledger need not
    /// store the ID, because the ID can always be derived again. `user` has four parts: the kind of code, the user
    /// pool, the client and the user name.
    #[must_use]
    pub fn sign_in(&self, user: &[&str; 4], number: &PhoneNumber) -> ReferenceId {
        let [kind, pool, client, name] = user;
        ReferenceId::from_hash(
            self.tag("sign-in", &[kind, pool, client, name, number.expose()])
                .as_ref(),
        )
    }

    /// A decoy: a counter that no limit reads. A sign-in that sends a message moves a real counter, and a sign-in that
    /// sends nothing moves a decoy instead. `sign_in` is the reference ID of the sign-in's code, so no two users share
    /// a decoy.
    #[must_use]
    pub fn decoy(&self, kind: &str, sign_in: &ReferenceId, counter: &str) -> ItemName {
        self.item(kind, &[DECOY_ITEM, counter, sign_in.expose()])
    }

    /// Sixteen bytes that look random and are always the same for the same words.
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

    fn item(&self, kind: &str, fields: &[&str]) -> ItemName {
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

    fn digest<Purpose>(&self, label: &str, fields: &[&str]) -> Digest<Purpose> {
        Digest::stored(self.hash(label, fields))
    }

    fn hash(&self, label: &str, fields: &[&str]) -> String {
        URL_SAFE_NO_PAD.encode(self.tag(label, fields))
    }

    pub(super) fn tag(&self, label: &str, fields: &[&str]) -> hmac::Tag {
        sign(&self.of_table, label, fields)
    }
}

/// The length of each field is hashed before the field. So no two lists of fields give the same input.
pub(super) fn sign(key: &hmac::Key, label: &str, fields: &[&str]) -> hmac::Tag {
    let mut context = hmac::Context::with_key(key);
    for field in std::iter::once(&label).chain(fields) {
        context.update(&(field.len() as u64).to_be_bytes());
        context.update(field.as_bytes());
    }
    context.sign()
}

/// The network whose requests count together: an IPv4 address, or the /64 of an IPv6 address.
pub(super) fn network(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            format!("{a:x}:{b:x}:{c:x}:{d:x}::/64")
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use ring::hkdf;

    fn hasher() -> Hasher {
        Hasher::from_secret(b"a secret of forty-three characters, or more")
    }

    #[test]
    fn different_lists_of_fields_have_different_hashes() {
        let hasher = hasher();
        assert_ne!(
            hasher.hash("a", &["bc", "d"]),
            hasher.hash("a", &["b", "cd"])
        );
        assert_ne!(hasher.hash("a", &["b"]), hasher.hash("ab", &[""]));
        assert_ne!(hasher.hash("a", &["b", ""]), hasher.hash("a", &["b"]));
        assert_eq!(hasher.hash("a", &["b"]), self::hasher().hash("a", &["b"]));
        assert_ne!(
            hasher.hash("a", &["b"]),
            Hasher::from_secret(b"another").hash("a", &["b"])
        );
    }

    #[test]
    fn the_key_is_derived_with_hkdf() {
        let secret = b"a secret of forty-three characters, or more";
        let salt = hkdf::Salt::new(hkdf::HKDF_SHA256, b"otp-lambda ledger");
        let extracted = salt.extract(secret);
        let by_hkdf = |name: &'static [u8]| {
            let name = [name];
            let expanded = extracted.expand(&name, HMAC_SHA256).unwrap();
            sign(&hmac::Key::from(expanded), "a", &["b"])
        };
        let Hasher { of_table, of_log } = hasher();
        for (key, name) in [(of_table, &b"hmac v1"[..]), (of_log, b"log v1")] {
            assert_eq!(sign(&key, "a", &["b"]).as_ref(), by_hkdf(name).as_ref());
        }
    }

    #[test]
    fn debug_output_hides_the_number_and_the_secret() {
        let number = PhoneNumber::parse("+14255550142").unwrap();
        let shown = format!(
            "{:?} {:?} {:?}",
            hasher(),
            hasher().number(&number),
            Window::around(Millis(5), Duration::from_secs(1))
        );
        assert!(
            !shown.contains("425555") && !shown.contains("secret"),
            "{shown}"
        );
    }

    #[test]
    fn ipv6_addresses_of_one_customer_are_one_source() {
        let hasher = hasher();
        let window = Window::around(Millis(0), Duration::from_hours(1));
        let source = |address: &str| hasher.source("send", address.parse().unwrap(), window);
        assert_eq!(source("2001:db8:1:2::1"), source("2001:db8:1:2:ffff::9"));
        assert_ne!(source("2001:db8:1:2::1"), source("2001:db8:1:3::1"));
        assert_eq!(source("::ffff:192.0.2.7"), source("192.0.2.7"));
        assert_ne!(source("192.0.2.7"), source("192.0.2.8"));
        assert_ne!(
            source("192.0.2.7"),
            hasher.source("verify", "192.0.2.7".parse().unwrap(), window)
        );
    }

    #[test]
    fn a_prefix_is_the_number_without_its_last_four_digits() {
        let hasher = hasher();
        let window = Window::around(Millis(0), Duration::from_hours(1));
        let prefix = |number: &str| hasher.prefix(&PhoneNumber::parse(number).unwrap(), window);
        assert_eq!(prefix("+14255550142"), prefix("+14255559999"));
        assert_ne!(prefix("+14255550142"), prefix("+14255560142"));
    }

    #[test]
    fn each_window_ends_where_the_next_begins() {
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
