use std::borrow::Cow;
use std::fmt::{self, Display};

/// The maker of a code, and the reference under which it knows the code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Issuer {
    Provider {
        name: Cow<'static, str>,
        reference: CodeReference,
    },
    /// A test number: the code is fixed.
    TestNumber,
    /// A decoy: no code is right.
    Decoy,
}

/// The reference under which a provider knows a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CodeReference {
    /// The reference of the verification. Other software that knows it can verify the code.
    Plain,
    /// A reference that is derived from the plain one and this generation, so that only this code is verified under it.
    OfGeneration(u64),
}

impl Issuer {
    /// Reads an issuer from the text in an item.
    #[must_use]
    pub fn stored(text: &str) -> Self {
        match text {
            "test" => Self::TestNumber,
            "shadow" => Self::Decoy,
            _ => {
                let (name, reference) = text
                    .split_once(':')
                    .and_then(|(name, generation)| {
                        Some((name, CodeReference::OfGeneration(generation.parse().ok()?)))
                    })
                    .unwrap_or((text, CodeReference::Plain));
                Self::Provider {
                    name: Cow::Owned(name.to_owned()),
                    reference,
                }
            }
        }
    }
}

/// The text in items. It must not change, because existing items would no longer be understood.
impl Display for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Provider {
                name,
                reference: CodeReference::Plain,
            } => f.write_str(name),
            Self::Provider {
                name,
                reference: CodeReference::OfGeneration(generation),
            } => write!(f, "{name}:{generation}"),
            Self::TestNumber => f.write_str("test"),
            Self::Decoy => f.write_str("shadow"),
        }
    }
}
