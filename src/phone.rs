//! Phone numbers: one spelling for each, and masked whenever they are printed.
//!
//! A [`PhoneNumber`] is the key of every limit, lock and verification. So two spellings of one phone must never become
//! two keys. [`PhoneNumber::parse`] removes separators and changes no digit. The parser refuses a number that could be
//! a wrong spelling of another number. If the parser corrected such a number wrongly, a stranger could get the code.
//!
//! The knowledge about calling codes, countries and types comes from libphonenumber's metadata. This knowledge is in
//! constant tables in `phone/countries.rs`, so the function decodes and allocates nothing when it starts.

use std::fmt;
use std::str::FromStr;

mod beginning;
mod countries;
mod invalid;
pub mod plan;
mod stand_in;
mod stored;
mod types;

pub use beginning::Beginning;
pub use countries::{METADATA_VERSION, TABLE};
pub use invalid::{Hint, InvalidPhoneNumber};
pub use types::NumberType;

use plan::{Class, Digit, Position, Table};

/// The longest text that [`PhoneNumber::parse`] accepts, in characters. Such a text has room for `+`, fifteen digits
/// and a separator around each of them.
pub const LONGEST_TEXT: usize = 32;

const FEWEST_DIGITS: usize = 7;
const MOST_DIGITS: usize = 15;

/// Returns whether a number in E.164 is accepted although the metadata refuses it for this reason.
pub type Opens<'a> = dyn Fn(&str, InvalidPhoneNumber) -> bool + 'a;

/// A phone number in E.164. Equal phones have equal numbers.
///
/// `Debug` and `Display` mask the number, and there is no `Serialize`. Only [`expose`](Self::expose) gives the digits.
///
/// ```compile_fail,E0277
/// fn serialised(_: impl serde::Serialize) {}
/// let _ = |number: otp_lambda::phone::PhoneNumber| serialised(number);
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct PhoneNumber {
    /// `+` and 7 to 15 ASCII digits.
    e164: Box<str>,
    class: Class,
}

impl PhoneNumber {
    /// Parses a number in E.164: `+`, then 7 to 15 ASCII digits of which the first is not zero.
    ///
    /// After the `+`, space, `-`, `.`, `(` and `)` are removed. All other characters are refused. Separators before the
    /// `+`, as in `(+44) …`, are refused, too.
    ///
    /// # Errors
    ///
    /// The sentence of [`InvalidPhoneNumber`] may be shown to the caller, because this sentence never repeats the text.
    /// A text is refused for one of these reasons:
    ///
    /// - A malformed text.
    /// - A calling code that is not assigned (`+999…`, `+210…`).
    /// - A first digit that no known number of the country has. Most often such a digit is a domestic prefix, as in
    ///   `+44 (0)7700 900123`. Italy's zero is part of the number and stays.
    /// - More or fewer digits than known numbers with this beginning have. If surplus digits were accepted and a
    ///   network dropped them, one phone would have many keys. If a number with a missing digit were accepted, the
    ///   person would wait for a code in vain.
    /// - Another spelling of a different number: see [`Hint`].
    ///
    /// Libphonenumber's metadata decides about the last four reasons. The metadata lags behind numbering plans, so all
    /// other unassigned numbers are accepted. The type of such a number is [`NumberType::Unassigned`], unless all
    /// numbers with its beginning have one type.
    pub fn parse(text: &str) -> Result<Self, InvalidPhoneNumber> {
        Self::parse_or(text, &|_, _| false)
    }

    /// Parses a number as [`parse`](Self::parse) does. If the metadata refuses the number, `opens` decides whether the
    /// number is nevertheless accepted. A number that `opens` has accepted has no country, and its type is
    /// [`NumberType::Unassigned`].
    ///
    /// # Errors
    ///
    /// As [`parse`](Self::parse).
    pub fn parse_or(text: &str, opens: &Opens<'_>) -> Result<Self, InvalidPhoneNumber> {
        let e164 = plain(text)?;
        let (position, class) = classify(&TABLE, e164.get(1..).unwrap_or_default());
        let class = class.or_else(|reason| {
            let row = position
                .calling_code(&TABLE)
                .filter(|_| opens(&e164, reason));
            row.map(|row| Class {
                country: None,
                number_type: NumberType::Unassigned,
                calling_code_digits: row.digits(),
            })
            .ok_or(reason)
        })?;
        Ok(Self {
            e164: e164.into_boxed_str(),
            class,
        })
    }

    /// The whole number, such as `+14255550142`. The whole number is for the provider, the reference ID and the hasher
    /// only, and never for a log line or a response.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.e164
    }

    /// The country or territory of the number.
    ///
    /// A number has no country if it belongs to a global service (+800, +870, +881 …), to a satellite network, or to a
    /// disputed territory under another country's calling code. A number with an unassigned area code of +1 has no
    /// country either. The countries of +1 differ in price and permission, so it is not safe to assume one of them.
    /// Under other shared calling codes, an unassigned number belongs to the main country.
    #[must_use]
    pub fn country(&self) -> Option<Country> {
        self.class.country
    }

    /// The type of the number, as libphonenumber classifies it.
    #[must_use]
    pub fn number_type(&self) -> NumberType {
        self.class.number_type
    }

    /// The number as responses and logs may show it, such as `+1*******0142`: see [`mask`].
    #[must_use]
    pub fn masked(&self) -> String {
        let (calling_code, national) = self.digits().split_at(self.class.calling_code_digits);
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
/// In a short number, four digits are most of the number. So a national number of fewer than eight digits shows only
/// the last two. A national number of fewer than three digits shows none, but [`PhoneNumber::parse`] never returns such
/// a number.
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

/// Removes the separators of a number: `+` and its digits are left.
fn plain(text: &str) -> Result<String, InvalidPhoneNumber> {
    if text.len() > LONGEST_TEXT && text.chars().count() > LONGEST_TEXT {
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
    if e164.len() <= FEWEST_DIGITS {
        return Err(InvalidPhoneNumber::TooShort);
    }
    Ok(e164)
}

/// The verdict about a number without its `+`. It is a fold over digits, so it depends on nothing else.
fn classify(table: &Table, digits: &str) -> (Position, Result<Class, InvalidPhoneNumber>) {
    let position = digits
        .bytes()
        .filter_map(Digit::of)
        .fold(Position::START, |position, digit| {
            position.next(table, digit)
        });
    (position, position.end(table, digits.len()))
}

/// The ISO 3166-1 alpha-2 code of a country or territory that has phone numbers.
///
/// Three codes are not countries of ISO 3166-1, but reserved or user-assigned codes, as in libphonenumber: `AC`
/// (Ascension), `TA` (Tristan da Cunha) and `XK` (Kosovo). No number belongs to `EH` (Western Sahara), because the
/// metadata counts its numbers as Morocco's (`MA`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Country([u8; 2]);

impl Country {
    /// Every country that has phone numbers.
    pub fn all() -> impl Iterator<Item = Self> {
        TABLE.countries.iter().copied().map(Self)
    }

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
        match TABLE.countries.binary_search(&letters) {
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
