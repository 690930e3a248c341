use super::plan::{Digit, Position};
use super::{Country, NumberType, PhoneNumber, TABLE};

/// The largest number of digits after the `+`.
const MOST_DIGITS: usize = super::MOST_DIGITS;

impl PhoneNumber {
    /// Makes up a number of `country` from these bytes. The same bytes always give the same number.
    ///
    /// A challenge shows the made-up number, masked, in place of a number that does not exist. The made-up number may
    /// belong to any person, so never send to it.
    #[must_use]
    pub fn stand_in(country: Country, bytes: [u8; 16]) -> Option<Self> {
        // The calling codes with this main country come first.
        let is_main = |code: &&super::plan::CallingCode| {
            TABLE.countries.get(usize::from(code.country)) == Some(&country.0)
        };
        let main = TABLE.codes.iter().filter(is_main);
        let others = TABLE.codes.iter().filter(|code| !is_main(code));
        main.chain(others).find_map(|code| {
            let mut number = code.code.to_string();
            let position = position(&number)?;
            let search = Search {
                country,
                seed: u128::from_be_bytes(bytes),
            };
            search.complete(&mut number, position)
        })
    }
}

fn position(digits: &str) -> Option<Position> {
    digits.bytes().try_fold(Position::START, |position, byte| {
        Some(position.next(&TABLE, Digit::of(byte)?))
    })
}

struct Search {
    country: Country,
    seed: u128,
}

impl Search {
    /// The digit to try first at a place.
    fn digit(&self, place: usize) -> u8 {
        let exponent = u32::try_from(place).unwrap_or(0);
        let digit = self.seed / 10_u128.pow(exponent) % 10;
        u8::try_from(digit).unwrap_or(0)
    }

    /// Appends digits until the number belongs to the country. `None` if no digits do that from this position on.
    fn complete(&self, number: &mut String, position: Position) -> Option<PhoneNumber> {
        let length = number.len();
        if let Position::Leaf { .. } = position {
            // The longest length is the most common in most countries.
            let longest = (length..=MOST_DIGITS).rev().find(|digits| {
                position.end(&TABLE, *digits).is_ok_and(|class| {
                    class.country == Some(self.country)
                        && matches!(
                            class.number_type,
                            NumberType::Mobile | NumberType::FixedOrMobile
                        )
                })
            })?;
            number.extend((length..longest).map(|place| char::from(b'0' + self.digit(place))));
            return PhoneNumber::parse(&format!("+{number}")).ok();
        }
        if length >= MOST_DIGITS {
            return None;
        }
        (0..10).find_map(|step| {
            let digit = b'0' + (self.digit(length) + step) % 10;
            let next = position.next(&TABLE, Digit::of(digit)?);
            number.push(char::from(digit));
            let found = self.complete(number, next);
            if found.is_none() {
                number.truncate(length);
            }
            found
        })
    }
}
