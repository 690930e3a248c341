use std::fmt;
use std::str::FromStr;

/// The type of a number, as libphonenumber classifies it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NumberType {
    Mobile,
    /// Fixed or mobile: the numbering plan does not tell them apart, as in North America.
    FixedOrMobile,
    Fixed,
    Voip,
    /// The metadata has no such number, or numbers that begin so have several types.
    Unassigned,
    TollFree,
    Premium,
    SharedCost,
    /// A number that follows a person, such as +44 70. The caller pays for the diversion.
    Personal,
    /// A company's number that is the same everywhere in a country.
    Uan,
    Pager,
    Voicemail,
}

impl NumberType {
    /// All types, in the order of their numbers in the table.
    pub const ALL: [Self; 12] = [
        Self::Mobile,
        Self::FixedOrMobile,
        Self::Fixed,
        Self::Voip,
        Self::Unassigned,
        Self::TollFree,
        Self::Premium,
        Self::SharedCost,
        Self::Personal,
        Self::Uan,
        Self::Pager,
        Self::Voicemail,
    ];

    /// The word of the setting `ALLOWED_NUMBER_TYPES`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Mobile => "mobile",
            Self::FixedOrMobile => "fixed-or-mobile",
            Self::Fixed => "fixed",
            Self::Voip => "voip",
            Self::Unassigned => "unassigned",
            Self::TollFree => "toll-free",
            Self::Premium => "premium",
            Self::SharedCost => "shared-cost",
            Self::Personal => "personal",
            Self::Uan => "uan",
            Self::Pager => "pager",
            Self::Voicemail => "voicemail",
        }
    }

    /// Whether a person can answer a call there and no third party earns by it.
    #[must_use]
    pub fn can_be_called(self) -> bool {
        matches!(self, Self::Mobile | Self::FixedOrMobile | Self::Fixed)
    }

    /// The type's number in the table.
    #[must_use]
    pub fn number(self) -> u8 {
        self as u8
    }

    pub(super) fn numbered(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }
}

impl fmt::Display for NumberType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The text names no [`NumberType`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownNumberType;

impl FromStr for NumberType {
    type Err = UnknownNumberType;

    fn from_str(text: &str) -> Result<Self, UnknownNumberType> {
        let known = Self::ALL.into_iter().find(|known| known.name() == text);
        known.ok_or(UnknownNumberType)
    }
}
