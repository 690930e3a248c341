//! Who makes the codes now, and who made those that may still come back.

use crate::otp::CodeShape;
use crate::provider::Provider;

/// The providers of a service.
pub struct Providers {
    /// Makes every new code.
    pub current: Box<dyn Provider>,
    /// Made the codes of before a change of provider, and is asked about them until they have expired.
    pub previous: Option<Box<dyn Provider>>,
}

impl Providers {
    /// One provider, and none before it.
    #[must_use]
    pub fn only(provider: Box<dyn Provider>) -> Self {
        Self {
            current: provider,
            previous: None,
        }
    }

    /// What a guess may look like: a code of either.
    pub(super) fn codes(&self) -> CodeShape {
        let current = &self.current.limits().code;
        self.previous.as_ref().map_or_else(
            || current.clone(),
            |previous| current.or(&previous.limits().code),
        )
    }

    /// The names of all, as the ledger keeps those who made codes of one verification: the last one first.
    pub(super) fn all(&self) -> String {
        self.issuers(self.previous.as_ref().map(|previous| previous.name()))
    }

    /// Who has made codes of a verification when the current provider makes one more, `before` being who did until then.
    /// A code that was sent through another provider is good until it expires, whatever is sent after it.
    pub(super) fn issuers(&self, before: Option<&str>) -> String {
        let current = self.current.name();
        let others = before
            .into_iter()
            .flat_map(|before| before.split(','))
            .filter(|name| {
                *name != current
                    && self
                        .previous
                        .as_ref()
                        .is_some_and(|previous| previous.name() == *name)
            });
        others.fold(current.to_owned(), |all, name| format!("{all},{name}"))
    }

    /// Those of these issuers that this service knows.
    pub(super) fn who(&self, issuers: &str) -> Vec<&dyn Provider> {
        let known = [Some(&self.current), self.previous.as_ref()];
        issuers
            .split(',')
            .filter_map(|name| known.into_iter().flatten().find(|one| one.name() == name))
            .map(AsRef::as_ref)
            .collect()
    }
}
