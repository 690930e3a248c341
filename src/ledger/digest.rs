use crate::error::Error;
use crate::reference::ReferenceId;
use std::marker::PhantomData;

/// A keyed hash that an item holds. Without the ledger's secret, it is not possible to forge a digest or to find out
/// its input. Digests of different purposes have different types, so that the compiler keeps them apart.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest<Purpose>(String, PhantomData<Purpose>);

impl<Purpose> Digest<Purpose> {
    /// A digest that equals no other. Such a digest stands for a caller whose next request cannot be recognized as a
    /// repeat.
    ///
    /// # Errors
    ///
    /// `internal_error` if the operating system provides no random numbers.
    pub fn random() -> Result<Self, Error> {
        Ok(Self::stored(ReferenceId::random()?.expose()))
    }

    /// Reads a digest from the text in an item.
    #[must_use]
    pub fn stored(text: impl Into<String>) -> Self {
        Self(text.into(), PhantomData)
    }

    /// The text of the digest in an item.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The purposes of digests.
pub(super) mod purpose {
    #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
    pub enum Fingerprint {}
    #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
    pub enum Code {}
    #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
    pub enum Winner {}
    #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
    pub enum Redeemer {}
    #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
    pub enum Session {}
    #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
    pub enum Nonce {}
}

/// The request that an idempotency key was reserved for.
pub type Fingerprint = Digest<purpose::Fingerprint>;

/// A code, or a guess at it, for one number and reference. A right guess has the digest of the code.
pub type CodeDigest = Digest<purpose::Code>;

/// The caller whose guess was right.
pub type Winner = Digest<purpose::Winner>;

/// The caller who redeemed a success.
pub type Redeemer = Digest<purpose::Redeemer>;

/// A sign-in session.
pub type SessionDigest = Digest<purpose::Session>;

/// One question to a sign-in session.
pub type Nonce = Digest<purpose::Nonce>;
