//! The one place of this crate that reads the clock.

use tokio::time::Instant;

/// Now, as timers count it.
pub(crate) fn now() -> Instant {
    Instant::now()
}
