//! The one place that reads the clock.

use jiff::Timestamp;

/// Now.
#[must_use]
pub fn now() -> Timestamp {
    Timestamp::now()
}

/// Unix milliseconds of `at`; 0 before 1970.
#[must_use]
pub fn milliseconds(at: Timestamp) -> u64 {
    u64::try_from(at.as_millisecond()).unwrap_or(0)
}
