//! The one place of this crate that reads clocks.

use std::cell::RefCell;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

/// Now, as timers count it.
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// The time of day, since 1970.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the time of day")]
pub(crate) fn time_of_day() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

thread_local! {
    /// The second for which the text was made, and the text.
    static DATE: RefCell<(u64, String)> = const { RefCell::new((0, String::new())) };
}

/// Appends the value of the `Date` header, made anew once a second.
pub(crate) fn with_date<R>(then: impl FnOnce(&[u8]) -> R) -> R {
    let at = time_of_day();
    DATE.with_borrow_mut(|(second, text)| {
        if *second != at.as_secs() {
            *second = at.as_secs();
            *text = httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + at);
        }
        then(text.as_bytes())
    })
}
