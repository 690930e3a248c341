//! The unit of time in the ledger and in the rules, and how responses show it.

use ::time::OffsetDateTime;
use ::time::format_description::well_known::Rfc3339;
use std::time::{Duration, SystemTime};

/// Milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Millis(pub u64);

impl Millis {
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self(
            self.0
                .saturating_add(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)),
        )
    }

    #[must_use]
    pub fn minus(self, duration: Duration) -> Self {
        Self(
            self.0
                .saturating_sub(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)),
        )
    }

    /// The time since `earlier`; zero if that is in the future.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// Whole seconds since 1970, rounded up: the unit of DynamoDB's time to live.
    #[must_use]
    pub fn seconds(self) -> u64 {
        self.0.div_ceil(1000)
    }

    /// The time in RFC 3339, rounded down to the second: an end must not be shown too late.
    #[must_use]
    pub fn rfc3339(self) -> String {
        rfc3339(self.0 / 1000)
    }

    /// The time in RFC 3339, rounded up to the second: a beginning must not be shown too early.
    #[must_use]
    pub fn rfc3339_rounded_up(self) -> String {
        rfc3339(self.seconds())
    }
}

impl From<SystemTime> for Millis {
    /// A time before 1970 becomes 1970.
    fn from(time: SystemTime) -> Self {
        let since = time
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        Self(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }
}

fn rfc3339(seconds: u64) -> String {
    i64::try_from(seconds)
        .ok()
        .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok())
        .and_then(|time| time.format(&Rfc3339).ok())
        .unwrap_or_default()
}
