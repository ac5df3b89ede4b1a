//! The one place that reads clocks.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::machine::Now;

/// Time since the supervisor's start, unmoved by changes of the time of day.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    start: Instant,
}

impl Clock {
    #[expect(clippy::disallowed_methods, reason = "this is where the supervisor's time comes from")]
    pub(crate) fn start() -> Self {
        Self { start: Instant::now() }
    }

    pub(crate) fn now(self) -> Now {
        self.start.elapsed()
    }
}

/// Unix time in milliseconds.
#[expect(clippy::disallowed_methods, reason = "log lines bear the time of day")]
pub(crate) fn wall_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
