//! The clocks of the process, read here only.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::time::{ClockId, clock_gettime};

fn micros(clock: ClockId) -> u64 {
    let time = clock_gettime(clock).expect("the clock exists");
    u64::try_from(Duration::from(time).as_micros()).expect("the time since boot fits in 64 bits")
}

/// Microseconds since some fixed moment; the same for all processes.
pub(crate) fn monotonic_us() -> u64 {
    micros(ClockId::CLOCK_MONOTONIC)
}

/// Microseconds of CPU that this process has used.
pub(crate) fn cpu_us() -> u64 {
    micros(ClockId::CLOCK_PROCESS_CPUTIME_ID)
}

/// The time of day.
#[expect(clippy::disallowed_methods, reason = "the one place where this program reads the time of day")]
pub(crate) fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
