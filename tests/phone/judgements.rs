//! Judgements: facts that libphonenumber does not know, or does not express by a pattern. Each line is one.

use crate::phone::Hint;

/// The statement about numbers that begin so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    /// They are another spelling of a different number.
    OtherSpelling(Hint),
    /// The numbers belong to no country. They are refused unless the operator names a country for them.
    NoCountry,
}

/// The calling code, the beginning of the national number, the numbers of digits to which it applies, and the effect.
pub(crate) struct Judgement {
    pub(crate) code: u16,
    /// For each digit, those that it can be.
    pub(crate) beginning: &'static [&'static str],
    /// A mask with bit n for n national digits.
    pub(crate) lengths: u16,
    pub(crate) effect: Effect,
}

const ALL: u16 = u16::MAX;

const ANY: &str = "0123456789";

const fn only(lengths: &[u32]) -> u16 {
    let mut mask = 0;
    let mut rest = lengths;
    while let [length, tail @ ..] = rest {
        mask |= 1 << *length;
        rest = tail;
    }
    mask
}

const fn other(
    code: u16,
    beginning: &'static [&'static str],
    lengths: u16,
    hint: Hint,
) -> Judgement {
    Judgement {
        code,
        beginning,
        lengths,
        effect: Effect::OtherSpelling(hint),
    }
}

const fn nobody(code: u16, beginning: &'static [&'static str]) -> Judgement {
    Judgement {
        code,
        beginning,
        lengths: ALL,
        effect: Effect::NoCountry,
    }
}

pub(crate) const JUDGEMENTS: &[Judgement] = &[
    // Russia and Kazakhstan: 8 is dialled first, and area codes and free numbers also begin with 8.
    other(7, &["8"], !only(&[10, 14]), Hint::Domestic),
    // San Marino's landlines can be dialled through Italy.
    other(39, &["0", "5", "4", "9"], ALL, Hint::SanMarinoThroughItaly),
    // Mexico: 1 was dialled before a mobile number until 2019.
    other(52, &["1"], ALL, Hint::MexicanOne),
    // Argentina: from abroad, a mobile number is 9, area code, number. At home it is area code, 15, number. Networks
    // also deliver a message to the area code and the number alone. If this form were accepted, one phone would have
    // two spellings. Landlines have this form, too, so landlines are also refused. To refuse landlines does no harm,
    // because landlines take no SMS.
    other(54, &["123"], ALL, Hint::ArgentineNine),
    // Brazil: 90 asks for a reversed charge, and no area code starts with it.
    other(55, &["9", "0"], ALL, Hint::Domestic),
    // Brazil put 9 before its mobile numbers from 2012 to 2016. A mobile number that lacks the 9 has a 6, 8 or 9 after
    // the area code. Numbers with a 7 after the area code belonged to a radio network, and got no 9.
    other(55, &[ANY, ANY, "689"], only(&[10]), Hint::BrazilianNine),
    // Australia: prefixes that hide or show the caller's number.
    other(61, &["1", "8", "3", "12"], ALL, Hint::Domestic),
    // China: a carrier's code before a number.
    other(86, &["1"], !only(&[8, 10, 11]), Hint::Domestic),
    // In 2026, the Gambia put two digits for the operator before its mobile numbers. Until November 2026, both the
    // shorter and the longer form work, and after that only the longer form. Gamcel's numbers and landlines have not
    // changed.
    other(220, &["2367"], only(&[7]), Hint::GambianNine),
    other(220, &["4", "015"], only(&[7]), Hint::GambianNine),
    other(220, &["5", "0123489"], only(&[7]), Hint::GambianNine),
    other(220, &["5", "5", "6"], only(&[7]), Hint::GambianNine),
    other(220, &["8", "4567"], only(&[7]), Hint::GambianNine),
    other(220, &["4", "4"], only(&[9]), Hint::GambianSeven),
    other(220, &["8", "9"], only(&[9]), Hint::GambianSeven),
    // Benin put 01 before all its numbers in 2024.
    other(229, &["24569"], only(&[8]), Hint::BenineseZeroOne),
    // Liberia gave its mobile numbers nine digits in 2013.
    other(231, &["456"], only(&[7]), Hint::LiberianNine),
    // In 2019, Gabon gave its numbers eight digits, with another first digit for each operator. Within Gabon, a call
    // begins with 0. Before 2019, some people also wrote this 0 after the calling code, and some people did not.
    other(241, &["0"], ALL, Hint::GaboneseEight),
    other(241, &["1234567"], only(&[7]), Hint::GaboneseEight),
    // Rwanda: 0 is dialled first, but is part of a landline of eight digits.
    other(250, &["0"], !only(&[8]), Hint::Domestic),
    // Somalia: Hormuud put 6 before its numbers, and Telesom put 63 in place of 2.
    other(252, &["1", "5"], only(&[8]), Hint::SomaliNine),
    other(252, &["2", "4"], only(&[8]), Hint::SomaliNine),
    // Madagascar: a landline that lacks its 20.
    other(261, &["2"], !only(&[9]), Hint::MalagasyTwenty),
    // Ireland dials landlines of Northern Ireland with 048, and libphonenumber counts them as Irish, too.
    other(353, &["4", "8"], only(&[10]), Hint::NorthernIrish),
    // Until 2019, Kosovo's phones had the calling codes of Monaco, Serbia and Slovenia. Some of these phones can still
    // be reached under these codes (google/libphonenumber#4009).
    other(377, &["4", "45"], ALL, Hint::Kosovan),
    other(381, &["23", "89"], ALL, Hint::Kosovan),
    other(386, &["4", "39"], ALL, Hint::Kosovan),
    // San Marino: a landline that lacks its 0549, or its 0.
    other(378, &["8"], only(&[6]), Hint::SammarineseArea),
    other(378, &["9"], only(&[6]), Hint::SammarineseArea),
    other(378, &["5", "4", "9"], ALL, Hint::SammarineseArea),
    // Curaçao put 9 before all its numbers.
    other(599, &["5"], only(&[7]), Hint::CuracaoNine),
    other(599, &["8"], only(&[7]), Hint::CuracaoNine),
    // Norfolk Island: a number that lacks its 3.
    other(672, &["1"], !only(&[6]), Hint::NorfolkThree),
    // Palestinian phones can also be reached under Israel's calling code (google/libphonenumber#1134), and many
    // carriers treat both codes alike. Palestinian mobile numbers begin with 56 and 59. Landlines have a 2 after their
    // area code.
    other(972, &["5", "69"], ALL, Hint::Palestinian),
    other(972, &["2489", "2"], ALL, Hint::Palestinian),
    other(970, &["5", "01234578"], ALL, Hint::Israeli),
    other(970, &["2489", "013456789"], ALL, Hint::Israeli),
    other(970, &["37"], ALL, Hint::Israeli),
    // Abkhazia, and a satellite network.
    nobody(7, &["89", "4", "0"]),
    nobody(7, &["9", "5", "4"]),
    // A satellite network.
    nobody(62, &["8", "6", "8"]),
    // Northern Cyprus, whose operators are not Turkey's. Turkey has mobile numbers beside theirs.
    nobody(90, &["3", "9", "2"]),
    nobody(90, &["5", "3", "3", "8", "2345678"]),
    nobody(90, &["5", "4", "2", "8", "5678"]),
    nobody(90, &["5", "4", "8", "8"]),
];
