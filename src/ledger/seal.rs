//! Texts that the table holds and that only this program can read.

use super::Hasher;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::aead::{self, Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

/// The beginning of a sealed text. Versions that did not seal wrote the text itself.
const SEALED: &str = "sealed:";

impl Hasher {
    /// Encrypts a text under a key that is derived from the ledger's secret. `None` if the system provides no random
    /// numbers.
    ///
    /// Each text is encrypted with a random nonce of the cipher. Random nonces are safe for billions of texts under one
    /// key.
    #[must_use]
    pub fn seal(&self, text: &str) -> Option<String> {
        let mut nonce = [0; NONCE_LEN];
        getrandom::fill(&mut nonce).ok()?;
        let mut sealed = text.as_bytes().to_vec();
        let tag = self
            .sealing_key()?
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::empty(),
                &mut sealed,
            )
            .ok()?;
        let all = [&nonce[..], &sealed, tag.as_ref()].concat();
        Some(format!("{SEALED}{}", URL_SAFE_NO_PAD.encode(all)))
    }

    /// The text that was sealed. `None` if it was sealed under another secret, or was changed since.
    #[must_use]
    pub fn unseal(&self, sealed: &str) -> Option<String> {
        let Some(encoded) = sealed.strip_prefix(SEALED) else {
            return Some(sealed.to_owned());
        };
        let mut all = URL_SAFE_NO_PAD.decode(encoded).ok()?;
        let (nonce, sealed) = all.split_at_mut_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let opened = self
            .sealing_key()?
            .open_in_place(nonce, Aad::empty(), sealed)
            .ok()?;
        String::from_utf8(opened.to_vec()).ok()
    }

    fn sealing_key(&self) -> Option<LessSafeKey> {
        let key = self.tag("seal", &[]);
        let key: Result<UnboundKey, _> = aead::UnboundKey::new(&CHACHA20_POLY1305, key.as_ref());
        key.ok().map(LessSafeKey::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_text_can_be_read_under_the_same_secret_alone() {
        let (own, other) = (Hasher::from_secret(b"own"), Hasher::from_secret(b"other"));
        let sealed = own.seal("m-1").unwrap_or_default();
        assert!(
            sealed.starts_with(SEALED) && !sealed.contains("m-1"),
            "{sealed}"
        );
        assert_ne!(
            own.seal("m-1"),
            own.seal("m-1"),
            "two equal texts look different"
        );
        assert_eq!(own.unseal(&sealed).as_deref(), Some("m-1"));
        assert_eq!(other.unseal(&sealed), None);
        let mut changed = sealed.clone();
        changed.replace_range(20..21, if &sealed[20..21] == "A" { "B" } else { "A" });
        assert_eq!(own.unseal(&changed), None);
        for broken in ["sealed:", "sealed:AAAA", "sealed:!"] {
            assert_eq!(own.unseal(broken), None, "{broken}");
        }
        assert_eq!(
            own.unseal("of an earlier version").as_deref(),
            Some("of an earlier version")
        );
    }
}
