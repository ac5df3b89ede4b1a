//! The binary's one place that reads the time of day, and how it is shown.

use std::time::{SystemTime, UNIX_EPOCH};

/// Unix time in milliseconds.
#[expect(clippy::disallowed_methods, reason = "the one place of the binary that reads the time of day")]
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// The local time of day, to the millisecond: `14:03:22.017`.
pub(crate) fn local(unix_ms: u64) -> String {
    let instant = i64::try_from(unix_ms).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    let zoned = instant.unwrap_or_default().to_zoned(jiff::tz::TimeZone::system());
    zoned.strftime("%H:%M:%S%.3f").to_string()
}

/// The local day and time, to the second: `11-21 14:03:22`.
pub(crate) fn local_day(unix_ms: u64) -> String {
    let instant = i64::try_from(unix_ms).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    let zoned = instant.unwrap_or_default().to_zoned(jiff::tz::TimeZone::system());
    zoned.strftime("%m-%d %H:%M:%S").to_string()
}
