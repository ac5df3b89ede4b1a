//! The one place of this crate that reads the clock.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Now, as timers count it.
#[expect(clippy::disallowed_methods, reason = "the crate's one place that reads the clock")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// The time of day since 1970.
#[expect(clippy::disallowed_methods, reason = "the crate's one place that reads the clock")]
pub(crate) fn unix() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
