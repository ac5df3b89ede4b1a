//! Waiting for a condition, with a deadline that a slow and shared machine can keep.

use std::time::{Duration, Instant};

/// How long a condition may take on a machine that is busy with other tests.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Returns what `probe` gives as soon as it gives something.
///
/// # Panics
/// When it gives nothing within [`PATIENCE`]; `what` says what was awaited.
pub fn eventually<T>(what: &str, probe: impl FnMut() -> Option<T>) -> T {
    within(PATIENCE, what, probe)
}

/// As [`eventually`], within a limit of the caller's.
///
/// # Panics
/// When it gives nothing in time.
#[expect(clippy::disallowed_methods, reason = "the tests' one place that reads the clock")]
pub fn within<T>(limit: Duration, what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(start.elapsed() < limit, "not within {limit:?}: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// How long `work` takes, and what it returns.
#[expect(clippy::disallowed_methods, reason = "the tests' one place that reads the clock")]
pub fn timed<T>(work: impl FnOnce() -> T) -> (Duration, T) {
    let start = Instant::now();
    let result = work();
    (start.elapsed(), result)
}
