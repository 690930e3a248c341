//! The issuers of codes: the current provider, and the one before it while its codes can still come back.

use crate::otp::CodeShape;
use crate::provider::Provider;

/// The issuer of a test number's fixed code.
pub(super) const TEST_NUMBER: &str = "test";

/// The issuer that decoys pretend to have.
pub(super) const DECOY: &str = "shadow";

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

    /// Both providers as issuers, as the ledger stores them: the newest first.
    pub(super) fn all(&self) -> String {
        self.issuers(self.previous.as_ref().map(|previous| previous.name()))
    }

    /// The issuers of a verification after one more code by the current provider. An earlier code of another provider
    /// stays valid until it expires.
    pub(super) fn issuers(&self, earlier: Option<&str>) -> String {
        let current = self.current.name();
        let is_previous = |name: &str| {
            self.previous
                .as_ref()
                .is_some_and(|previous| previous.name() == name)
        };
        earlier
            .into_iter()
            .flat_map(|earlier| earlier.split(','))
            .filter(|name| *name != current && is_previous(name))
            .fold(current.to_owned(), |all, name| format!("{all},{name}"))
    }

    /// The providers among these issuers that this service asks.
    pub(super) fn of_issuers(&self, issuers: &str) -> Vec<&dyn Provider> {
        let known = [Some(&self.current), self.previous.as_ref()];
        issuers
            .split(',')
            .filter_map(|name| known.into_iter().flatten().find(|one| one.name() == name))
            .map(AsRef::as_ref)
            .collect()
    }
}
