//! The clock, and waiting for something to be true.

use std::thread::sleep;
use std::time::{Duration, Instant};

#[expect(clippy::disallowed_methods, reason = "the one place of this program that reads the clock")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

pub(crate) fn ms_since(start: Instant) -> f64 {
    now().duration_since(start).as_secs_f64() * 1000.0
}

/// Asks until the answer is there; `None` when the time is over.
pub(crate) fn until<T>(limit: Duration, pause: Duration, mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let start = now();
    loop {
        if let Some(answer) = ask() {
            return Some(answer);
        }
        if now().duration_since(start) >= limit {
            return None;
        }
        sleep(pause);
    }
}
