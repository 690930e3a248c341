//! The numbering plans: the table, and the automaton that reads it.
//!
//! A verdict depends only on the digits of a number, read one by one, and on their count. [`Position::next`] takes a
//! digit, and [`Position::end`] the count. So the test `phone::proof` can walk through all positions together with
//! libphonenumber's patterns, and thereby compare the verdicts on every possible number.

use super::{Country, Hint, InvalidPhoneNumber, NumberType};

/// An ASCII digit by its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digit(u8);

impl Digit {
    /// The digit of an ASCII byte. `None` if the byte is no digit.
    #[must_use]
    pub fn of(byte: u8) -> Option<Self> {
        byte.is_ascii_digit().then(|| Self(byte - b'0'))
    }
}

/// The metadata about all numbers, in bytes that need no decoding at start.
#[derive(Debug, Clone)]
pub struct Table {
    /// Every calling code, in order, with the offset of its first node.
    pub codes: &'static [CallingCode],
    /// The nodes of the automaton. A node is a mask of two bytes, low byte first, and then its targets.
    ///
    /// Bits 0 to 9 of the mask stand for the digits. Digits next to each other often lead to the same target, so a bit
    /// is set only if its digit leads elsewhere than the digit before it. The node has one target for each bit that is
    /// set, in order. If bit 10 is set, a number can end at this node, and one more target follows: the leaf for the
    /// numbers that end here.
    ///
    /// A target is a number of 7 bits in one byte, or of 15 bits in two bytes. If a target has two bytes, the high bit
    /// of the first byte is set. If a target is below the count of leaves, the target is the index of a leaf. Otherwise
    /// the target is the count of leaves plus the offset of a node.
    pub nodes: &'static [u8],
    /// The leaves, the most frequent ones first.
    pub leaves: &'static [Leaf],
    /// The entries that leaves refer to (see [`Leaf`]). An entry is an outcome, and a mask of the lengths to which the
    /// outcome applies. Bit n of the mask stands for n digits after the calling code.
    pub lengths: &'static [(u8, u16)],
    /// Every country that has phone numbers, in order.
    pub countries: &'static [[u8; 2]],
}

/// A calling code and its main country.
#[derive(Debug, Clone, Copy)]
pub struct CallingCode {
    pub code: u16,
    /// An index into [`Table::countries`], or [`NOBODY`].
    pub country: u8,
    /// A mask with bit n for n digits, from its shortest numbers to its longest.
    pub lengths: u16,
    pub node: u16,
}

/// A statement about numbers that begin alike: their country, and a part of [`Table::lengths`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leaf {
    /// An index into [`Table::countries`], [`NOBODY`] or [`MAIN`].
    pub country: u8,
    pub count: u8,
    pub first: u16,
}

/// Stands in place of a country for the main country of the calling code.
pub const MAIN: u8 = 255;

/// Stands in place of a country if there is none.
pub const NOBODY: u8 = 254;

/// Set in a node's mask if a number can end there.
const ENDS: u16 = 1 << 10;

/// Outcomes from this one on are hints. The others are types, and [`UNKNOWN_BEGINNING`].
pub const FIRST_HINT: u8 = 16;

/// The outcome for a first digit that no number of the calling code has.
pub const UNKNOWN_BEGINNING: u8 = 15;

/// The state of the automaton after some digits of a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Position {
    /// Still inside the calling code.
    Code { value: u16, digits: u8 },
    /// Not a calling code.
    Unassigned,
    /// At a node. `code` is an index into [`Table::codes`].
    Node { code: u8, node: u16 },
    /// At a leaf: further digits are counted, but their values do not matter.
    Leaf { code: u8, leaf: u16 },
}

/// The country and the type of an accepted number, and the length of its calling code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Class {
    pub country: Option<Country>,
    pub number_type: NumberType,
    pub calling_code_digits: usize,
}

impl CallingCode {
    /// How many digits the calling code has.
    #[must_use]
    pub fn digits(&self) -> usize {
        match self.code {
            0..=9 => 1,
            10..=99 => 2,
            _ => 3,
        }
    }
}

impl Position {
    /// Before the first digit of the calling code.
    pub const START: Self = Self::Code {
        value: 0,
        digits: 0,
    };

    /// The position after one more digit.
    #[must_use]
    pub fn next(self, table: &Table, Digit(digit): Digit) -> Self {
        match self {
            Self::Code { value, digits } => {
                let value = value * 10 + u16::from(digit);
                let found = table.codes.binary_search_by_key(&value, |row| row.code);
                match found.ok().and_then(|index| {
                    let row = table.codes.get(index)?;
                    Some((u8::try_from(index).ok()?, row.node))
                }) {
                    Some((code, node)) => Self::Node { code, node },
                    None if digits == 2 || value == 0 => Self::Unassigned,
                    None => Self::Code {
                        value,
                        digits: digits + 1,
                    },
                }
            }
            Self::Node { code, node } => table
                .mask(node)
                .and_then(|mask| {
                    let runs = mask & ((2 << digit) - 1);
                    table.target(code, node, runs.count_ones().checked_sub(1)?)
                })
                .unwrap_or(Self::Unassigned),
            Self::Leaf { .. } | Self::Unassigned => self,
        }
    }

    /// The calling code, if the digits so far include a whole one.
    #[must_use]
    pub fn calling_code(self, table: &Table) -> Option<&CallingCode> {
        match self {
            Self::Node { code, .. } | Self::Leaf { code, .. } => table.codes.get(usize::from(code)),
            Self::Code { .. } | Self::Unassigned => None,
        }
    }

    /// The verdict on a number that ends at this position. `digits` is the count of the digits after the `+`.
    ///
    /// # Errors
    ///
    /// The reason to refuse the number.
    pub fn end(self, table: &Table, digits: usize) -> Result<Class, InvalidPhoneNumber> {
        let (code, leaf) = match self {
            Self::Code { .. } | Self::Unassigned => {
                return Err(InvalidPhoneNumber::UnknownCallingCode);
            }
            Self::Leaf { code, leaf } => (code, leaf),
            Self::Node { code, node } => match table.ending(code, node) {
                Some(Self::Leaf { code, leaf }) => (code, leaf),
                _ => return Err(InvalidPhoneNumber::TooFewDigits),
            },
        };
        let row = table
            .codes
            .get(usize::from(code))
            .ok_or(InvalidPhoneNumber::UnknownCallingCode)?;
        let calling_code_digits = row.digits();
        let outcome = table.outcome(leaf, digits - calling_code_digits)?;
        let number_type = NumberType::numbered(outcome).ok_or_else(|| match outcome {
            UNKNOWN_BEGINNING => InvalidPhoneNumber::UnknownBeginning,
            _ => InvalidPhoneNumber::OtherSpelling(Hint::numbered(outcome)),
        })?;
        let country = match table.leaf(leaf).map_or(NOBODY, |leaf| leaf.country) {
            MAIN => row.country,
            own => own,
        };
        let country = table.countries.get(usize::from(country));
        Ok(Class {
            country: country.map(|letters| Country(*letters)),
            number_type,
            calling_code_digits,
        })
    }
}

impl Table {
    fn leaf(&self, leaf: u16) -> Option<&Leaf> {
        self.leaves.get(usize::from(leaf))
    }

    fn mask(&self, node: u16) -> Option<u16> {
        let at = usize::from(node);
        let bytes = [*self.nodes.get(at)?, *self.nodes.get(at + 1)?];
        Some(u16::from_le_bytes(bytes))
    }

    fn ending(&self, code: u8, node: u16) -> Option<Position> {
        let mask = self.mask(node)?;
        let targets = (mask & (ENDS - 1)).count_ones();
        (mask & ENDS != 0)
            .then(|| self.target(code, node, targets))
            .flatten()
    }

    /// The target after `skipped` others.
    fn target(&self, code: u8, node: u16, skipped: u32) -> Option<Position> {
        let mut rest = self.nodes.get(usize::from(node) + 2..)?.iter();
        for _ in 0..skipped {
            if rest.next()? & 0x80 != 0 {
                rest.next();
            }
        }
        let first = u16::from(*rest.next()?);
        let target = if first < 0x80 {
            first
        } else {
            (first & 0x7f) << 8 | u16::from(*rest.next()?)
        };
        let leaves = u16::try_from(self.leaves.len()).ok()?;
        Some(if target < leaves {
            Position::Leaf { code, leaf: target }
        } else {
            Position::Node {
                code,
                node: target - leaves,
            }
        })
    }

    /// A leaf's statement about a number with so many digits after its calling code.
    fn outcome(&self, leaf: u16, national: usize) -> Result<u8, InvalidPhoneNumber> {
        let leaf = self.leaf(leaf).ok_or(InvalidPhoneNumber::TooLong)?;
        let first = usize::from(leaf.first);
        let lengths = self
            .lengths
            .get(first..first + usize::from(leaf.count))
            .unwrap_or_default();
        let bit = 1_u16.checked_shl(u32::try_from(national).unwrap_or(16));
        let bit = bit.ok_or(InvalidPhoneNumber::TooLong)?;
        let mut all = 0;
        for (outcome, mask) in lengths {
            if mask & bit != 0 {
                return Ok(*outcome);
            }
            all |= mask;
        }
        Err(if all & (bit - 1) == 0 && all != 0 {
            InvalidPhoneNumber::TooFewDigits
        } else {
            InvalidPhoneNumber::TooLong
        })
    }
}
