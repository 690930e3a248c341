use std::collections::HashSet;
use std::ops::RangeInclusive;

use super::plan::{Class, Digit, Position};
use super::{FEWEST_DIGITS, InvalidPhoneNumber, MOST_DIGITS, TABLE};

/// All numbers that begin alike.
#[derive(Debug, Clone, Copy)]
pub struct Beginning {
    position: Position,
    digits: usize,
}

impl Beginning {
    /// The numbers that begin with these digits. `None` if no calling code is among them.
    #[must_use]
    pub fn of(digits: &str) -> Option<Self> {
        let position = digits.bytes().try_fold(Position::START, |position, byte| {
            Some(position.next(&TABLE, Digit::of(byte)?))
        })?;
        let digits = digits.len();
        match position {
            Position::Code { .. } | Position::Unassigned => None,
            Position::Node { .. } | Position::Leaf { .. } => Some(Self { position, digits }),
        }
    }

    /// The numbers of digits that the calling code's numbers can have, the calling code included.
    #[must_use]
    pub fn lengths(&self) -> RangeInclusive<usize> {
        let (code, mask) = self
            .position
            .calling_code(&TABLE)
            .map_or((0, 0), |row| (row.digits(), row.lengths));
        let mut own = (0..16).filter(|digits| mask & 1 << digits != 0);
        let shortest = own.next().unwrap_or(0);
        let longest = own.next_back().unwrap_or(shortest) + code;
        let shortest = shortest + code;
        shortest.max(FEWEST_DIGITS)..=longest.min(MOST_DIGITS)
    }

    /// Every verdict about numbers that begin with these digits and have one of these lengths.
    #[must_use]
    pub fn verdicts(
        &self,
        lengths: &RangeInclusive<usize>,
    ) -> HashSet<Result<Class, InvalidPhoneNumber>> {
        let mut found = HashSet::new();
        let mut seen = HashSet::new();
        let mut left = vec![(self.position, self.digits)];
        while let Some((position, digits)) = left.pop() {
            if digits > *lengths.end() || !seen.insert((position, digits)) {
                continue;
            }
            if let Position::Node { .. } = position {
                if lengths.contains(&digits) {
                    found.insert(position.end(&TABLE, digits));
                }
                let next = (b'0'..=b'9').filter_map(Digit::of);
                left.extend(next.map(|digit| (position.next(&TABLE, digit), digits + 1)));
            } else {
                let lengths = digits.max(*lengths.start())..=*lengths.end();
                found.extend(lengths.map(|digits| position.end(&TABLE, digits)));
            }
        }
        found
    }
}
