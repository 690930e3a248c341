//! The issuers of codes: the current provider, and the one before it while its codes can still come back.

use crate::ledger::{CodeReference, Issuer};
use crate::otp::CodeShape;
use crate::provider::Provider;
use std::borrow::Cow;

/// The providers that this service asks.
pub struct Providers {
    /// Sends every new code.
    pub current: Box<dyn Provider>,
    /// Sent the codes before a change of provider, and verifies them until they expire.
    pub previous: Option<Box<dyn Provider>>,
}

impl Providers {
    #[must_use]
    pub fn only(provider: Box<dyn Provider>) -> Self {
        Self {
            current: provider,
            previous: None,
        }
    }

    /// The shape that fits the codes of both providers.
    pub(super) fn codes(&self) -> CodeShape {
        let current = &self.current.limits().code;
        self.previous.as_ref().map_or_else(
            || current.clone(),
            |previous| current.or(&previous.limits().code),
        )
    }

    /// The issuers of codes under the plain reference, the current provider first.
    pub(super) fn all(&self) -> Vec<Issuer> {
        self.known()
            .map(|provider| Issuer::Provider {
                name: Cow::Borrowed(provider.name()),
                reference: CodeReference::Plain,
            })
            .collect()
    }

    /// `None` if this service asks no provider of this name.
    pub(super) fn named(&self, name: &str) -> Option<&dyn Provider> {
        self.known().find(|provider| provider.name() == name)
    }

    /// The current provider comes first.
    pub(super) fn known(&self) -> impl Iterator<Item = &dyn Provider> {
        [Some(&self.current), self.previous.as_ref()]
            .into_iter()
            .flatten()
            .map(AsRef::as_ref)
    }
}
