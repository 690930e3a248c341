//! Phone numbers: one spelling each, and masked whenever they are printed.
//!
//! A [`PhoneNumber`] is the key of every limit, lock and verification, so two spellings of one phone
//! must never become two keys. [`PhoneNumber::parse`] removes separators. It refuses a number that could
//! be another spelling of a different one, because a wrong repair could send a code to a stranger.
//!
//! The knowledge about calling codes and countries comes from libphonenumber's metadata. It is in three
//! constant tables in `phone/countries.rs`, so nothing is decoded or allocated at start.

use std::fmt;
use std::str::FromStr;

mod countries;

use countries::{CALLING_CODES, COUNTRIES, MOST_PREFIX_DIGITS, PREFIXES};

/// The longest text that [`PhoneNumber::parse`] accepts, in bytes: `+`, fifteen digits, and separators
/// around each.
pub const LONGEST_TEXT: usize = 32;

const FEWEST_DIGITS: usize = 7;
const MOST_DIGITS: usize = 15;

/// A phone number in E.164. Equal phones have equal numbers.
///
/// `Debug` and `Display` mask it, and there is no `Serialize`. Only [`expose`](Self::expose) gives the
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
    /// The length of the calling code: 1 to 3.
    calling_code_digits: usize,
}

impl PhoneNumber {
    /// Parses a number in E.164: `+`, then 7 to 15 ASCII digits of which the first is not zero.
    ///
    /// Space, `-`, `.`, `(` and `)` are removed after the `+`. All other characters are refused, and so are
    /// separators before the `+`, as in `(+44) …`.
    ///
    /// # Errors
    ///
    /// The sentence of [`InvalidPhoneNumber`] may be shown to the caller; it never repeats the text. Besides
    /// malformed texts these are refused, by libphonenumber's knowledge of the country:
    ///
    /// - a calling code that is not assigned (`+999…`, `+210…`);
    /// - a first digit that no national number there has. It is a domestic prefix, as in
    ///   `+44 (0)7700 900123` or `+52 1 …`. Italy's zero is part of the number and stays;
    /// - more digits than any number there has. A network that drops the surplus would reach one phone under
    ///   many keys;
    /// - the few other spellings that libphonenumber reads as a different number, see `OTHER_SPELLINGS`.
    ///
    /// A number that is unassigned or too short for its country is accepted: metadata lags behind numbering
    /// plans, and such a number is not a second spelling of another one.
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

    /// Makes up a number of `country` from these bytes, always the same one. It may belong to anybody, so
    /// it is only for showing, masked, in place of a number that does not exist. Never send to it.
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
        // Take the longest length, which is the most common in most countries. Skip digits until numbers
        // of the country can begin so.
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

    /// The number itself, such as `+14255550142`. Only for the provider, the reference ID and the hasher:
    /// never for a log line or a response.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.e164
    }

    /// The country or territory of the number.
    ///
    /// `None` for a global service (+800, +870, +881 …) and for an unassigned area code of +1. No fallback
    /// would do for +1, because its countries differ in price and permission. Under other shared calling
    /// codes an unassigned number belongs to the main country.
    #[must_use]
    pub fn country(&self) -> Option<Country> {
        let digits = self.digits();
        let longest = (self.calling_code_digits + MOST_PREFIX_DIGITS).min(digits.len());
        (self.calling_code_digits + 1..=longest)
            .rev()
            .find_map(|length| prefix_country(number(digits.get(..length)?)))
            .or_else(|| CallingCode::of(digits)?.0.country())
    }

    /// The number as it may be shown and logged, such as `+1*******0142`: see [`mask`].
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

/// Masks a number: `+`, the calling code, always seven stars, and the last four digits.
///
/// A national number of fewer than eight digits shows only the last two, because four would be most of
/// it. One of fewer than three digits, which [`PhoneNumber::parse`] never returns, shows none.
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

/// The ISO 3166-1 alpha-2 code of a country or territory that has phone numbers.
///
/// Three codes are not ISO countries but reserved or user-assigned ones, as in libphonenumber: `AC`
/// (Ascension), `TA` (Tristan da Cunha) and `XK` (Kosovo). No number belongs to `EH` (Western Sahara),
/// because the metadata counts its numbers as Morocco's (`MA`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Country([u8; 2]);

impl Country {
    #[must_use]
    pub fn as_str(&self) -> &str {
        str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl FromStr for Country {
    type Err = UnknownCountry;

    /// Parses exactly two ASCII upper-case letters that name a country of the metadata.
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

/// The text is not the code of a [`Country`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownCountry;

impl fmt::Display for UnknownCountry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a country is the two upper-case letters of its ISO 3166-1 code, such as GB")
    }
}

impl std::error::Error for UnknownCountry {}

/// The metadata of one calling code: a row of the table, made at compile time.
struct CallingCode {
    code: u16,
    /// The main country; [`NOBODY`] if only prefixes name countries.
    country: [u8; 2],
    /// Bit n is set if national numbers can start with the digit n.
    starts: u16,
    /// The number of digits of the longest national number.
    longest: u8,
}

/// Stands in place of a main country.
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

    /// The row for a number without its `+`, and the length of the calling code. No calling code is the
    /// beginning of another.
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

    /// Refuses a national number that may be another spelling of a different one.
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

/// Other spellings that first digit and length do not reveal: the calling code, the beginning of the
/// national number, and the lengths at which it is a real number in spite of that.
///
/// They are not in the generated table, because each line is a judgement. A test checks that
/// libphonenumber reads every accepted number back unchanged.
const OTHER_SPELLINGS: &[(u16, &str, &[usize])] = &[
    // Russia and Kazakhstan: 8 is dialled first, and area codes and free numbers also begin with 8.
    (7, "8", &[10, 14]),
    // Argentina: a mobile number is 9, area code, number; at home it is area code, 15, number. Networks
    // also deliver a message without the 9, so area code and number alone would be a second key of the
    // phone. Landlines are written like that too and are refused with it; they take no SMS.
    (54, "1", &[]),
    (54, "2", &[]),
    (54, "3", &[]),
    // Brazil: 90 asks for a reversed charge, and no area code starts with it.
    (55, "90", &[]),
    // Australia: prefixes that hide or show the caller's number.
    (61, "1831", &[]),
    (61, "1832", &[]),
    // China: a carrier's code before a number.
    (86, "1", &[8, 10, 11]),
    // Rwanda: 0 is dialled first, but is part of a landline of eight digits.
    (250, "0", &[8]),
    // Madagascar: a landline that lacks its 20.
    (261, "2", &[9]),
    // Norfolk Island: a number that lacks its 3.
    (672, "1", &[6]),
];

fn prefix_country(prefix: u32) -> Option<Country> {
    let index = PREFIXES.binary_search_by_key(&prefix, |row| row.0).ok()?;
    PREFIXES.get(index).map(|row| Country(row.1))
}

/// The value of a few ASCII digits. No calling code starts with zero, so none is lost.
fn number(digits: &str) -> u32 {
    digits
        .bytes()
        .fold(0, |value, digit| value * 10 + u32::from(digit - b'0'))
}
