//! Counts the segments of an SMS. Networks charge for each.

use super::CODE;

/// The length of a text as networks send it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segments {
    /// The number of segments. Each costs as much as one message.
    pub count: usize,
    pub encoding: Encoding,
    /// The length of the whole text in units of the encoding: septets or UTF-16 code units.
    pub units: usize,
}

/// The encoding of a text, by 3GPP TS 23.038.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// The default alphabet of SMS. This alphabet is used if it has every character of the text. A single segment holds
    /// 160 septets, and each of several segments holds 153.
    Gsm7,
    /// UCS-2, if the default alphabet lacks a character. One segment holds 70 UTF-16 code units, each of several 67.
    Ucs2,
}

impl Encoding {
    /// How many units fit into a single segment, and into each of several.
    #[must_use]
    pub fn capacity(self) -> (usize, usize) {
        match self {
            Self::Gsm7 => (160, 153),
            Self::Ucs2 => (70, 67),
        }
    }

    /// The length of one character in units.
    fn units(self, character: char) -> usize {
        match self {
            Self::Gsm7 => septets(character).unwrap_or_default(),
            Self::Ucs2 => character.len_utf16(),
        }
    }
}

/// Counts the segments of a text in which each `{{code}}` becomes `code_length` digits or Latin letters.
#[must_use]
pub fn segments(text: &str, code_length: usize) -> Segments {
    let text = text.replace(CODE, &"0".repeat(code_length));
    let (encoding, units) = match text.chars().map(septets).sum() {
        Some(septets) => (Encoding::Gsm7, septets),
        None => (Encoding::Ucs2, text.encode_utf16().count()),
    };
    let (alone, each) = encoding.capacity();
    if units <= alone {
        return Segments {
            count: 1,
            encoding,
            units,
        };
    }
    let (mut count, mut used) = (1, 0);
    for character in text.chars() {
        let wanted = encoding.units(character);
        // A segment never ends inside an escape sequence or a surrogate pair.
        if used + wanted > each {
            (count, used) = (count + 1, 0);
        }
        used += wanted;
    }
    Segments {
        count,
        encoding,
        units,
    }
}

/// The length of a character in septets, or `None` if the default alphabet does not have it.
///
/// This is a `match` because a `match` is fast: every start counts the texts of all languages.
#[rustfmt::skip] // One line for each block of letters.
fn septets(character: char) -> Option<usize> {
    match character {
        '\n' | '\r' | ' '..='Z' | '_' | 'a'..='z'
        | '¡' | '£' | '¤' | '¥' | '§' | '¿'
        | 'Ä' | 'Å' | 'Æ' | 'Ç' | 'É' | 'Ñ' | 'Ö' | 'Ø' | 'Ü'
        | 'ß' | 'à' | 'ä' | 'å' | 'æ' | 'è' | 'é' | 'ì' | 'ñ' | 'ò' | 'ö' | 'ø' | 'ù' | 'ü'
        | 'Γ' | 'Δ' | 'Θ' | 'Λ' | 'Ξ' | 'Π' | 'Σ' | 'Φ' | 'Ψ' | 'Ω' => Some(1),
        // The extension table. Each of its characters also takes an escape character.
        '\u{c}' | '[' | '\\' | ']' | '^' | '{' | '|' | '}' | '~' | '€' => Some(2),
        _ => None,
    }
}
