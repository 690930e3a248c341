use std::fmt;

/// The reason why a text is refused as a phone number. Its `Display` is a sentence for the caller. No variant holds any
/// part of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum InvalidPhoneNumber {
    /// More than [`LONGEST_TEXT`](super::LONGEST_TEXT) characters, separators included.
    TextTooLong,
    /// The first character is not `+`.
    PlusMissing,
    /// A character that is neither an ASCII digit nor one of the separators.
    UnexpectedCharacter,
    /// Fewer than 7 digits.
    TooShort,
    /// Fewer digits than the known numbers that begin so.
    TooFewDigits,
    /// More than 15 digits, or a number of digits that no known number with this beginning has.
    TooLong,
    /// No known number of the country begins with this digit, and it is not a digit that people dial first.
    UnknownBeginning,
    /// No assigned calling code at the front.
    UnknownCallingCode,
    /// Another spelling of a different number.
    OtherSpelling(Hint),
}

/// The way from another spelling to the international one. The table has the numbers of these hints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Hint {
    /// Most often a domestic prefix that was kept after the calling code.
    Domestic,
    ArgentineNine,
    BenineseZeroOne,
    BrazilianNine,
    CuracaoNine,
    GaboneseEight,
    GambianNine,
    GambianSeven,
    Israeli,
    Kosovan,
    LiberianNine,
    MalagasyTwenty,
    MexicanOne,
    NorfolkThree,
    NorthernIrish,
    Palestinian,
    SammarineseArea,
    SanMarinoThroughItaly,
    SomaliNine,
}

impl Hint {
    const ALL: [Self; 19] = [
        Self::Domestic,
        Self::ArgentineNine,
        Self::BenineseZeroOne,
        Self::BrazilianNine,
        Self::CuracaoNine,
        Self::GaboneseEight,
        Self::GambianNine,
        Self::GambianSeven,
        Self::Israeli,
        Self::Kosovan,
        Self::LiberianNine,
        Self::MalagasyTwenty,
        Self::MexicanOne,
        Self::NorfolkThree,
        Self::NorthernIrish,
        Self::Palestinian,
        Self::SammarineseArea,
        Self::SanMarinoThroughItaly,
        Self::SomaliNine,
    ];

    /// The hint's number in the table, where it follows the types.
    #[must_use]
    pub fn number(self) -> u8 {
        self as u8
    }

    pub(super) fn numbered(outcome: u8) -> Self {
        let index = usize::from(outcome.saturating_sub(super::plan::FIRST_HINT));
        Self::ALL.get(index).copied().unwrap_or(Self::Domestic)
    }

    fn sentence(self) -> &'static str {
        match self {
            Self::Domestic => {
                "the phone number has a prefix for domestic calls after its calling code: leave the prefix out"
            }
            Self::ArgentineNine => {
                "a mobile number of Argentina is +54, 9, the area code and the number, without 15; Argentine landlines are not served"
            }
            Self::BenineseZeroOne => {
                "the phone number lacks its 01: since 2024 all numbers of Benin start with +229 01"
            }
            Self::BrazilianNine => {
                "the phone number lacks its 9: a mobile number of Brazil is +55, the area code, 9 and eight more digits"
            }
            Self::CuracaoNine => {
                "the phone number lacks its 9: all numbers of Curaçao start with +599 9 (those of Sint Maarten with +1 721)"
            }
            Self::GaboneseEight => {
                "this is an old number: since 2019 numbers of Gabon have eight digits after +241 and start with 11, 6 or 7"
            }
            Self::GambianNine => {
                "this is an old number: since 2026 it has 83, 86 or 87 between +220 and its seven digits"
            }
            Self::GambianSeven => {
                "leave out the two digits after +220: numbers of Gamcel and landlines of the Gambia have seven digits"
            }
            Self::Israeli => "write Israeli numbers with +972, not with +970",
            Self::Kosovan => "write numbers of Kosovo with +383",
            Self::LiberianNine => {
                "this is an old number: since 2013 mobile numbers of Liberia have nine digits after +231"
            }
            Self::MalagasyTwenty => {
                "the phone number lacks its 20: a landline of Madagascar starts with +261 20"
            }
            Self::MexicanOne => "leave out the 1 after +52: since 2019 numbers of Mexico have none",
            Self::NorfolkThree => {
                "the phone number lacks its 3: numbers of Norfolk Island start with +672 3"
            }
            Self::NorthernIrish => {
                "write landlines of Northern Ireland with +44 28, not with +353 48"
            }
            Self::Palestinian => "write Palestinian numbers with +970, not with +972",
            Self::SammarineseArea => {
                "the phone number lacks its area code: a landline of San Marino starts with +378 0549"
            }
            Self::SanMarinoThroughItaly => {
                "write the numbers of San Marino with +378 0549, not with +39 0549"
            }
            Self::SomaliNine => {
                "this is an old number: mobile numbers of Somalia have nine digits after +252, such as 61 or 63 and seven more"
            }
        }
    }
}

impl fmt::Display for InvalidPhoneNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TextTooLong => "the phone number is longer than 32 characters",
            Self::PlusMissing => "a phone number starts with + and the calling code of its country",
            Self::UnexpectedCharacter => {
                "a phone number has only digits after its +, with spaces, hyphens, dots, slashes and parentheses between"
            }
            Self::TooShort => "a phone number has at least 7 digits",
            Self::TooFewDigits => {
                "the phone number has fewer digits than the known numbers of its country that start so"
            }
            Self::TooLong => {
                "the phone number has more digits than the known numbers of its country that start so, or more than 15"
            }
            Self::UnknownBeginning => {
                "no known phone number starts with this digit after its calling code"
            }
            Self::UnknownCallingCode => "the phone number has no assigned calling code after its +",
            Self::OtherSpelling(hint) => hint.sentence(),
        })
    }
}

impl std::error::Error for InvalidPhoneNumber {}
