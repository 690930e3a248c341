use std::borrow::Cow;
use std::fmt::{self, Display};

/// The maker of a code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Issuer {
    /// The provider of this name.
    Provider(Cow<'static, str>),
    /// A test number: the code is fixed.
    TestNumber,
    /// A decoy: no code is right.
    Decoy,
}

impl Issuer {
    /// The issuer that an item holds as `text`.
    #[must_use]
    pub fn stored(text: &str) -> Self {
        match text {
            "test" => Self::TestNumber,
            "shadow" => Self::Decoy,
            name => Self::Provider(Cow::Owned(name.to_owned())),
        }
    }
}

/// The text for items. Not to be changed: existing items would no longer be understood.
impl Display for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Provider(name) => name,
            Self::TestNumber => "test",
            Self::Decoy => "shadow",
        })
    }
}
