//! Phone numbers: read once, one spelling each, masked whenever printed.
//!
//! A [`PhoneNumber`] is the key of every limit, lock and verification, so two spellings of one phone must never become
//! two keys. [`PhoneNumber::parse`] therefore removes separators, and refuses, rather than repairs, a number that could
//! be another spelling of a different one: a repaired guess could send a code to somebody else's phone.
//!
//! What is known about calling codes and countries comes from libphonenumber's metadata, held as three constant tables in
//! `phone/countries.rs`. They are plain bytes in the binary: nothing is decoded, compiled or allocated at start.

use std::fmt;
use std::str::FromStr;

mod countries;

use countries::{CALLING_CODES, COUNTRIES, MOST_PREFIX_DIGITS, PREFIXES};

/// The longest text [`PhoneNumber::parse`] looks at, in bytes: `+`, fifteen digits and a separator around each.
pub const LONGEST_TEXT: usize = 32;

const FEWEST_DIGITS: usize = 7;
const MOST_DIGITS: usize = 15;

/// A phone number in E.164, in its one spelling: equal numbers are equal keys.
///
/// `Debug` and `Display` print it masked, and there is no `Serialize`: [`expose`](Self::expose) is the one door to the
/// digits.
///
/// ```compile_fail,E0277
/// fn serialised(_: impl serde::Serialize) {}
/// let _ = |number: otp_lambda::phone::PhoneNumber| serialised(number);
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct PhoneNumber {
    /// `+` and 7 to 15 ASCII digits.
    e164: Box<str>,
    /// How many of the digits are the calling code: 1 to 3.
    calling_code_digits: usize,
}

impl PhoneNumber {
    /// Reads a number in E.164: `+`, then 7 to 15 ASCII digits, the first not zero.
    ///
    /// Space, `-`, `.`, `(` and `)` are removed wherever they stand after the `+`. In front of the `+` they are refused,
    /// like any other character anywhere: `(+44) …` and ` +44 …` come from text fields nobody has cleaned, and the
    /// contract names a number as starting with its `+`.
    ///
    /// # Errors
    ///
    /// [`InvalidPhoneNumber`] says what is wrong in a sentence that may be shown to the caller; it never holds the text.
    /// Besides the shape, these are refused, from libphonenumber's knowledge of the country:
    ///
    /// - a calling code that is not assigned (`+999…`, `+210…`);
    /// - a national number with a digit in front that no number there starts with, which is how a domestic prefix looks
    ///   (`+44 (0)7700 900123`, `+52 1 …`). Italy's zero is part of the number and stays;
    /// - more digits than any number there has: a network that drops the surplus would reach one phone by many keys;
    /// - the few other spellings that libphonenumber reads as a different number, see `OTHER_SPELLINGS`.
    ///
    /// A number that is merely unassigned, or too short for its country, is accepted: metadata lags behind numbering
    /// plans, and such a number is nobody's second spelling.
    pub fn parse(text: &str) -> Result<Self, InvalidPhoneNumber> {
        if text.len() > LONGEST_TEXT {
            return Err(InvalidPhoneNumber::TextTooLong);
        }
        let rest = text
            .strip_prefix('+')
            .ok_or(InvalidPhoneNumber::PlusMissing)?;
        let mut e164 = String::with_capacity(1 + MOST_DIGITS);
        e164.push('+');
        for byte in rest.bytes() {
            match byte {
                b' ' | b'-' | b'.' | b'(' | b')' => {}
                b'0' if e164.len() == 1 => return Err(InvalidPhoneNumber::UnknownCallingCode),
                b'0'..=b'9' if e164.len() > MOST_DIGITS => return Err(InvalidPhoneNumber::TooLong),
                b'0'..=b'9' => e164.push(char::from(byte)),
                _ => return Err(InvalidPhoneNumber::UnexpectedCharacter),
            }
        }
        let digits = e164.get(1..).unwrap_or_default();
        if digits.len() < FEWEST_DIGITS {
            return Err(InvalidPhoneNumber::TooShort);
        }
        let (plan, calling_code_digits) =
            CallingCode::of(digits).ok_or(InvalidPhoneNumber::UnknownCallingCode)?;
        plan.check(digits.get(calling_code_digits..).unwrap_or_default())?;
        Ok(Self {
            e164: e164.into_boxed_str(),
            calling_code_digits,
        })
    }

    /// A number of `country` that is the same for the same bytes and otherwise anybody's or nobody's: to be shown masked in
    /// the place of one that does not exist, and never to be texted.
    #[must_use]
    pub fn stand_in(country: Country, bytes: [u8; 16]) -> Option<Self> {
        let of_prefix = PREFIXES
            .iter()
            .filter(|row| Country(row.1) == country)
            .map(|row| row.0.to_string());
        let of_code = CALLING_CODES
            .iter()
            .filter(|row| row.country() == Some(country))
            .map(|row| row.code.to_string());
        let beginnings: Vec<String> = of_code.chain(of_prefix).collect();
        let digits: String = bytes
            .iter()
            .flat_map(|byte| [byte / 16 % 10, byte % 10])
            .map(|d| char::from(b'0' + d))
            .collect();
        // The longest that its country has, as most numbers of most countries are; the first digits must be some that
        // numbers there begin with.
        beginnings.iter().find_map(|beginning| {
            (0..digits.len()).find_map(|skipped| {
                let rest = digits.get(skipped..)?;
                (6..=12).rev().find_map(|length| {
                    let number =
                        Self::parse(&format!("+{beginning}{}", rest.get(..length)?)).ok()?;
                    (number.country() == Some(country)).then_some(number)
                })
            })
        })
    }

    /// The number itself, `+14255550142`: for the provider, the reference id and the ledger's keyed hash, never for a log
    /// line or an answer.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.e164
    }

    /// The country or territory the number belongs to.
    ///
    /// `None` for a number of no one country: a global service (+800, +870, +881 …), or an area code of +1 that is not
    /// assigned. +1 has no country to fall back to: one price and one permission would be wrong for most of its members.
    /// Under every other shared calling code a number the metadata gives to nobody is the main country's.
    #[must_use]
    pub fn country(&self) -> Option<Country> {
        let digits = self.digits();
        let longest = (self.calling_code_digits + MOST_PREFIX_DIGITS).min(digits.len());
        (self.calling_code_digits + 1..=longest)
            .rev()
            .find_map(|length| prefix_country(number(digits.get(..length)?)))
            .or_else(|| CallingCode::of(digits)?.0.country())
    }

    /// The number as it may be shown and logged, `+1*******0142`: see [`mask`].
    #[must_use]
    pub fn masked(&self) -> String {
        let (calling_code, national) = self.digits().split_at(self.calling_code_digits);
        mask(calling_code, national)
    }

    fn digits(&self) -> &str {
        self.e164.get(1..).unwrap_or_default()
    }
}

/// The masked form, see [`PhoneNumber::masked`].
impl fmt::Display for PhoneNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.masked())
    }
}

/// The masked form, see [`PhoneNumber::masked`].
impl fmt::Debug for PhoneNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PhoneNumber({})", self.masked())
    }
}

/// Masks a number given as its calling code and its national number, both digits only: `+`, the calling code, exactly
/// seven stars, the last four digits. The stars do not tell how many digits they stand for.
///
/// Of a national number of fewer than eight digits only the last two are shown: four would be most of it. Of one with
/// fewer than three digits, which [`PhoneNumber::parse`] never yields, nothing is shown.
#[must_use]
pub fn mask(calling_code: &str, national: &str) -> String {
    let shown = match national.len() {
        0..=2 => 0,
        3..=7 => 2,
        _ => 4,
    };
    let tail = national.get(national.len() - shown..).unwrap_or_default();
    format!("+{calling_code}*******{tail}")
}

/// Why a text is no phone number. Its `Display` is a sentence for the caller; no variant holds any of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum InvalidPhoneNumber {
    /// More than [`LONGEST_TEXT`] bytes, separators included.
    TextTooLong,
    /// The first character is not `+`.
    PlusMissing,
    /// A character that is neither an ASCII digit nor one of the separators.
    UnexpectedCharacter,
    /// Fewer than 7 digits.
    TooShort,
    /// More than 15 digits, or more than any number of its country has.
    TooLong,
    /// No assigned calling code at the front.
    UnknownCallingCode,
    /// Not the international spelling: most often a domestic prefix kept after the calling code.
    NotInternational,
}

impl fmt::Display for InvalidPhoneNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TextTooLong => "the phone number is longer than 32 characters",
            Self::PlusMissing => "a phone number starts with + and the calling code of its country",
            Self::UnexpectedCharacter => {
                "a phone number has only the digits 0 to 9 after its +, with spaces, hyphens, dots and parentheses between"
            }
            Self::TooShort => "a phone number has at least 7 digits",
            Self::TooLong => {
                "the phone number has more digits than any number of its country, or more than 15"
            }
            Self::UnknownCallingCode => "the phone number has no assigned calling code after its +",
            Self::NotInternational => {
                "no phone number of that country starts so when written internationally: leave out the prefix for domestic calls (in Argentina, write the 9 of a mobile number)"
            }
        })
    }
}

impl std::error::Error for InvalidPhoneNumber {}

/// A country or territory: its ISO 3166-1 alpha-2 code, as far as the metadata has phone numbers for it.
///
/// Three of the codes are not ISO countries but reserved or user-assigned, as libphonenumber uses them: `AC` (Ascension),
/// `TA` (Tristan da Cunha) and `XK` (Kosovo). `EH` (Western Sahara) is a known code that no number is ever given:
/// the metadata counts its numbers as Morocco's (`MA`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Country([u8; 2]);

impl Country {
    /// The two upper-case letters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl FromStr for Country {
    type Err = UnknownCountry;

    /// Reads exactly two ASCII upper-case letters that name a country the metadata knows.
    fn from_str(text: &str) -> Result<Self, UnknownCountry> {
        let letters = text.as_bytes().try_into().map_err(|_| UnknownCountry)?;
        match COUNTRIES.binary_search(&letters) {
            Ok(_) => Ok(Self(letters)),
            Err(_) => Err(UnknownCountry),
        }
    }
}

impl fmt::Display for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Country({})", self.as_str())
    }
}

/// The text is no country code that [`Country`] knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownCountry;

impl fmt::Display for UnknownCountry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a country is the two upper-case letters of its ISO 3166-1 code, such as GB")
    }
}

impl std::error::Error for UnknownCountry {}

/// What the metadata says of one calling code: a row of the table, made at compile time.
struct CallingCode {
    code: u16,
    /// The main country; [`NOBODY`] if a number has none unless its prefix names one.
    country: [u8; 2],
    /// Bit n: some national number starts with the digit n.
    starts: u16,
    /// Digits in the longest national number.
    longest: u8,
}

/// In the place of a main country.
const NOBODY: [u8; 2] = *b"--";

impl CallingCode {
    const fn new(code: u16, country: [u8; 2], starting_digits: &str, longest: u8) -> Self {
        let mut starts = 0;
        let mut rest = starting_digits.as_bytes();
        while let [digit, tail @ ..] = rest {
            starts |= 1 << (*digit - b'0');
            rest = tail;
        }
        Self {
            code,
            country,
            starts,
            longest,
        }
    }

    /// The row for a whole number and how many digits the calling code has. No calling code is the beginning of another.
    fn of(digits: &str) -> Option<(&'static Self, usize)> {
        (1..=3).find_map(|length| {
            let code = number(digits.get(..length)?);
            let index = CALLING_CODES
                .binary_search_by_key(&code, |row| u32::from(row.code))
                .ok()?;
            Some((CALLING_CODES.get(index)?, length))
        })
    }

    fn country(&self) -> Option<Country> {
        (self.country != NOBODY).then_some(Country(self.country))
    }

    /// Refuses a national number that may be a second spelling of another.
    fn check(&self, national: &str) -> Result<(), InvalidPhoneNumber> {
        let starts_well = national
            .bytes()
            .next()
            .is_some_and(|first| self.starts & (1 << (first - b'0')) != 0);
        if !starts_well {
            return Err(InvalidPhoneNumber::NotInternational);
        }
        if national.len() > usize::from(self.longest) {
            return Err(InvalidPhoneNumber::TooLong);
        }
        let other_spelling = OTHER_SPELLINGS.iter().any(|(code, prefix, unless)| {
            *code == self.code && national.starts_with(prefix) && !unless.contains(&national.len())
        });
        if other_spelling {
            return Err(InvalidPhoneNumber::NotInternational);
        }
        Ok(())
    }
}

/// The forms that starting digit and length do not tell from a real number: calling code, how the national number starts,
/// and the lengths at which it is a number of its own all the same.
///
/// A constant and no part of the generated table, because each line is a judgement. The tests compare them with
/// libphonenumber: what is accepted here, it must read back as it stands.
const OTHER_SPELLINGS: &[(u16, &str, &[usize])] = &[
    // Russia and Kazakhstan dial 8 first, and have area codes and free numbers with an 8 too.
    (7, "8", &[10, 14]),
    // Argentina: a mobile number is 9, area code, number; at home it is area code, 15, number. Networks deliver a text
    // without the 9 as well, so that area code and number alone would be a second key of the phone. They are also how a
    // landline is written, to which no code can then be sent: a landline takes no texts.
    (54, "1", &[]),
    (54, "2", &[]),
    (54, "3", &[]),
    // Brazil: 90 asks for a reversed charge; no area code starts so.
    (55, "90", &[]),
    // Australia: codes that hide or show the caller's number.
    (61, "1831", &[]),
    (61, "1832", &[]),
    // China: a carrier's code and a number.
    (86, "1", &[8, 10, 11]),
    // Rwanda: 0 is dialled first, and is real in the eight digits of a landline.
    (250, "0", &[8]),
    // Madagascar: a landline without its 20.
    (261, "2", &[9]),
    // Norfolk Island: a number without its 3.
    (672, "1", &[6]),
];

fn prefix_country(prefix: u32) -> Option<Country> {
    let index = PREFIXES.binary_search_by_key(&prefix, |row| row.0).ok()?;
    PREFIXES.get(index).map(|row| Country(row.1))
}

/// The value of a few ASCII digits. Their number need not be kept: no calling code starts with zero.
fn number(digits: &str) -> u32 {
    digits
        .bytes()
        .fold(0, |value, digit| value * 10 + u32::from(digit - b'0'))
}
