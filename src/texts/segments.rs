//! How many segments a text is sent in, which is what networks charge for.

use super::CODE;

/// The length of a text on the air.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segments {
    /// Segments, each charged like one message.
    pub count: usize,
    /// What the text is written in.
    pub encoding: Encoding,
    /// Units of the encoding in the whole text: septets, or UTF-16 code units.
    pub units: usize,
}

/// What a text is written in on the air: 3GPP TS 23.038.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// The default alphabet, if it has every character: 160 septets, or 153 of each of several segments.
    Gsm7,
    /// UCS-2, as soon as one character is outside: 70 UTF-16 code units, or 67 of each of several segments.
    Ucs2,
}

impl Encoding {
    /// Units that fit into one segment, and into each of several.
    #[must_use]
    pub fn capacity(self) -> (usize, usize) {
        match self {
            Self::Gsm7 => (160, 153),
            Self::Ucs2 => (70, 67),
        }
    }

    /// Units of one character.
    fn units(self, character: char) -> usize {
        match self {
            Self::Gsm7 if EXTENSION.contains(character) => 2,
            Self::Gsm7 => 1,
            Self::Ucs2 => character.len_utf16(),
        }
    }
}

/// Counts a text whose every `{{code}}` becomes `code_length` digits or Latin letters.
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
        // An escape sequence and a surrogate pair are not divided.
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

/// The basic table, without the escape to the next one.
const BASIC: &str = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?\
                     ¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà";

/// The extension table: each costs an escape, too.
const EXTENSION: &str = "\u{c}^{}\\[~]|€";
