use crate::error::{Error, ErrorCode};

/// Identifies the request that has reserved an idempotency key or the next code of a verification. The holder is a
/// random number.
///
/// If a response is lost, a request does not know whether its reservation succeeded. With the holder, the request can
/// undo its own reservation and no other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holder(pub u64);

impl Holder {
    /// A holder that equals no other.
    ///
    /// # Errors
    ///
    /// `internal_error` if the operating system provides no random numbers.
    pub fn random() -> Result<Self, Error> {
        getrandom::u64().map(Self).map_err(|error| {
            Error::new(
                ErrorCode::InternalError,
                "The operating system provides no random numbers.",
            )
            .with_cause(format!("no randomness: {error}"))
        })
    }
}
