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
    /// The default alphabet, if it has every character of the text. One segment holds 160 septets, each of several 153.
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
            Self::Gsm7 if EXTENSION.contains(character) => 2,
            Self::Gsm7 => 1,
            Self::Ucs2 => character.len_utf16(),
        }
    }
}

/// Counts the segments of a text in which each `{{code}}` becomes `code_length` digits or Latin letters.
#[must_use]
pub fn segments(text: &str, code_length: usize) -> Segments {
    let text = text.replace(CODE, &"0".repeat(code_length));
    let is_gsm7 = text
        .chars()
        .all(|character| BASIC.contains(character) || EXTENSION.contains(character));
    let encoding = if is_gsm7 {
        Encoding::Gsm7
    } else {
        Encoding::Ucs2
    };
    let units = text
        .chars()
        .map(|character| encoding.units(character))
        .sum();
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

/// The basic table, without the escape character.
const BASIC: &str = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?\
                     ¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà";

/// The extension table. Each of its characters also takes an escape character.
const EXTENSION: &str = "\u{c}^{}\\[~]|€";
