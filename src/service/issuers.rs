//! The issuers of codes: the current provider, and the one before it while its codes can still come back.

use crate::ledger::Issuer;
use crate::otp::CodeShape;
use crate::provider::Provider;
use std::borrow::Cow;

/// The providers that this service asks.
pub struct Providers {
    /// Sends every new code.
    pub current: Box<dyn Provider>,
    /// Sent the codes before a change of provider, and verifies them until they have expired.
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

    /// The shape of a code of either provider.
    pub(super) fn codes(&self) -> CodeShape {
        let current = &self.current.limits().code;
        self.previous.as_ref().map_or_else(
            || current.clone(),
            |previous| current.or(&previous.limits().code),
        )
    }

    /// Both providers as issuers, the newest first.
    pub(super) fn all(&self) -> Vec<Issuer> {
        let providers = [Some(&self.current), self.previous.as_ref()];
        providers
            .into_iter()
            .flatten()
            .map(|one| Issuer::of(one.as_ref()))
            .collect()
    }

    /// The issuers of a verification after one more code by the current provider. An earlier code of another provider
    /// stays valid until it expires.
    pub(super) fn issuers(&self, earlier: &[Issuer]) -> Vec<Issuer> {
        let mut all = self.all();
        let current = all.remove(0);
        all.retain(|previous| *previous != current && earlier.contains(previous));
        all.insert(0, current);
        all
    }

    /// The providers among these issuers that this service asks.
    pub(super) fn of_issuers(&self, issuers: &[Issuer]) -> Vec<&dyn Provider> {
        let known = [Some(&self.current), self.previous.as_ref()];
        issuers
            .iter()
            .filter_map(|issuer| {
                let mut known = known.into_iter().flatten().map(AsRef::as_ref);
                known.find(|one| Issuer::of(*one) == *issuer)
            })
            .collect()
    }
}

impl Issuer {
    pub(super) fn of(provider: &dyn Provider) -> Self {
        Self::Provider(Cow::Borrowed(provider.name()))
    }
}
