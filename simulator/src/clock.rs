//! A clock that starts at wall time. Tests move it forward instead of waiting until a code expires.

use std::time::{Duration, SystemTime};

use serde::Serializer;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// The largest offset: a hundred years, so that every time can still be formatted.
const FARTHEST: Duration = Duration::from_hours(100 * 365 * 24);

#[derive(Debug, Default)]
pub(crate) struct Clock {
    offset: Duration,
}

impl Clock {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads wall time"
    )]
    pub(crate) fn now(&self) -> SystemTime {
        SystemTime::now() + self.offset
    }

    pub(crate) fn offset(&self) -> Duration {
        self.offset
    }

    /// Moves the clock forward, up to the offset [`FARTHEST`].
    pub(crate) fn advance(&mut self, by: Duration) {
        self.offset = self.offset.saturating_add(by).min(FARTHEST);
    }
}

/// `2026-11-23T10:15:00.123Z`.
pub(crate) fn rfc3339(at: SystemTime) -> String {
    OffsetDateTime::from(at)
        .truncate_to_millisecond()
        .format(&Rfc3339)
        .unwrap_or_default()
}

/// For `#[serde(serialize_with = "…")]`.
pub(crate) fn serialize_rfc3339<S: Serializer>(
    at: &SystemTime,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&rfc3339(*at))
}

/// Milliseconds since 1970.
pub(crate) fn epoch_millis(at: SystemTime) -> u64 {
    let since = at
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
