use crate::error::{Error, ErrorCode};
use crate::phone::NumberType;
use crate::provider::Channel;

/// The types of numbers that are served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedTypes(Vec<NumberType>);

impl Default for AllowedTypes {
    /// The types that a person's phone can have. The other types are left out for two reasons: the holder of a premium,
    /// shared-cost or personal number earns money by each message or call, and nobody signs up with a toll-free number,
    /// a pager or a mailbox.
    fn default() -> Self {
        Self(vec![
            NumberType::Mobile,
            NumberType::FixedOrMobile,
            NumberType::Fixed,
            NumberType::Voip,
            NumberType::Unassigned,
        ])
    }
}

impl AllowedTypes {
    /// Reads types separated by commas.
    ///
    /// # Errors
    ///
    /// A sentence that quotes the invalid part.
    pub fn parse(text: &str) -> Result<Self, String> {
        text.split(',')
            .map(str::trim)
            .map(|part| {
                part.parse()
                    .map_err(|_| format!("`{part}` is not a type of number"))
            })
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Refuses a number whose type is not served. Also refuses a call to a number that is neither fixed nor mobile.
    ///
    /// # Errors
    ///
    /// `number_type_not_allowed`.
    pub fn check(&self, number_type: NumberType, channel: Option<Channel>) -> Result<(), Error> {
        let refused = |detail: String| {
            Err(Error::new(ErrorCode::NumberTypeNotAllowed, detail).with_field("destinationNumber"))
        };
        if !self.0.contains(&number_type) {
            return refused(format!(
                "The destination number is of the type {number_type}, and such numbers get no codes here."
            ));
        }
        if channel == Some(Channel::Voice) && !number_type.can_be_called() {
            return refused(format!(
                "The destination number is of the type {number_type}. Only fixed and mobile numbers are called."
            ));
        }
        Ok(())
    }
}
