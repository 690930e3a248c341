//! What libphonenumber does not know, or knows and does not say by a pattern. Each line is a judgement.

use crate::phone::Hint;

/// The statement about numbers that begin so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    /// They are another spelling of a different number.
    OtherSpelling(Hint),
    /// They belong to no country, so they are refused unless the operator names one.
    NoCountry,
}

/// The calling code, the beginning of the national number, the numbers of digits to which it applies, and the effect.
pub(crate) struct Judgement {
    pub(crate) code: u16,
    /// A star is any digit.
    pub(crate) beginning: &'static str,
    /// A mask with bit n for n national digits.
    pub(crate) lengths: u16,
    pub(crate) effect: Effect,
}

const ALL: u16 = u16::MAX;

const fn only(lengths: &[u32]) -> u16 {
    let mut mask = 0;
    let mut rest = lengths;
    while let [length, tail @ ..] = rest {
        mask |= 1 << *length;
        rest = tail;
    }
    mask
}

const fn other(code: u16, beginning: &'static str, lengths: u16, hint: Hint) -> Judgement {
    Judgement {
        code,
        beginning,
        lengths,
        effect: Effect::OtherSpelling(hint),
    }
}

const fn nobody(code: u16, beginning: &'static str) -> Judgement {
    Judgement {
        code,
        beginning,
        lengths: ALL,
        effect: Effect::NoCountry,
    }
}

pub(crate) const JUDGEMENTS: &[Judgement] = &[
    // Russia and Kazakhstan: 8 is dialled first, and area codes and free numbers also begin with 8.
    other(7, "8", !only(&[10, 14]), Hint::Domestic),
    // San Marino's landlines can be dialled through Italy.
    other(39, "0549", ALL, Hint::SanMarinoThroughItaly),
    // Mexico: 1 was dialled before a mobile number until 2019.
    other(52, "1", ALL, Hint::MexicanOne),
    // Argentina: a mobile number is 9, area code, number; at home it is area code, 15, number. Networks also deliver a
    // message without the 9, so area code and number alone would be a second key of the phone. Landlines are written
    // like that too and are refused with it; they take no SMS.
    other(54, "1", ALL, Hint::ArgentineNine),
    other(54, "2", ALL, Hint::ArgentineNine),
    other(54, "3", ALL, Hint::ArgentineNine),
    // Brazil: 90 asks for a reversed charge, and no area code starts with it.
    other(55, "90", ALL, Hint::Domestic),
    // Brazil put 9 before its mobile numbers from 2012 to 2016. Without it the digit after the area code is 6, 8 or 9; with 7
    // began the numbers of a radio network, which got no 9.
    other(55, "**6", only(&[10]), Hint::BrazilianNine),
    other(55, "**8", only(&[10]), Hint::BrazilianNine),
    other(55, "**9", only(&[10]), Hint::BrazilianNine),
    // Australia: prefixes that hide or show the caller's number.
    other(61, "1831", ALL, Hint::Domestic),
    other(61, "1832", ALL, Hint::Domestic),
    // China: a carrier's code before a number.
    other(86, "1", !only(&[8, 10, 11]), Hint::Domestic),
    // Benin put 01 before all its numbers in 2024.
    other(229, "2", only(&[8]), Hint::BenineseZeroOne),
    other(229, "4", only(&[8]), Hint::BenineseZeroOne),
    other(229, "5", only(&[8]), Hint::BenineseZeroOne),
    other(229, "6", only(&[8]), Hint::BenineseZeroOne),
    other(229, "9", only(&[8]), Hint::BenineseZeroOne),
    // Rwanda: 0 is dialled first, but is part of a landline of eight digits.
    other(250, "0", !only(&[8]), Hint::Domestic),
    // Madagascar: a landline that lacks its 20.
    other(261, "2", !only(&[9]), Hint::MalagasyTwenty),
    // San Marino: a landline that lacks its 0549, or its 0.
    other(378, "8", only(&[6]), Hint::SammarineseArea),
    other(378, "9", only(&[6]), Hint::SammarineseArea),
    other(378, "549", ALL, Hint::SammarineseArea),
    // Curaçao put 9 before all its numbers.
    other(599, "5", only(&[7]), Hint::CuracaoNine),
    other(599, "8", only(&[7]), Hint::CuracaoNine),
    // Norfolk Island: a number that lacks its 3.
    other(672, "1", !only(&[6]), Hint::NorfolkThree),
    // Palestinian mobiles also answer to Israel's calling code (google/libphonenumber#1134).
    other(972, "56", ALL, Hint::Palestinian),
    other(972, "59", ALL, Hint::Palestinian),
    // Abkhazia, and a satellite network.
    nobody(7, "840"),
    nobody(7, "940"),
    nobody(7, "954"),
    // A satellite network.
    nobody(62, "868"),
    // Northern Cyprus, whose operators are not Turkey's. Turkey has mobile numbers beside theirs.
    nobody(90, "392"),
    nobody(90, "53382"),
    nobody(90, "53383"),
    nobody(90, "53384"),
    nobody(90, "53385"),
    nobody(90, "53386"),
    nobody(90, "53387"),
    nobody(90, "53388"),
    nobody(90, "54285"),
    nobody(90, "54286"),
    nobody(90, "54287"),
    nobody(90, "54288"),
    nobody(90, "5488"),
];
