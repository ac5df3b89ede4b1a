//! How long to wait before the next try: doubled each time up to a limit, spread by chance so that many who failed
//! together do not come back together.

use std::time::Duration;

/// See the module.
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    limit: Duration,
    tries: u32,
}

impl Backoff {
    /// Waits `first` at first and never more than `limit`.
    #[must_use]
    pub const fn new(first: Duration, limit: Duration) -> Self {
        Self { first, limit, tries: 0 }
    }

    /// The next wait: between half of it and all of it, as `random` says.
    pub fn next(&mut self, random: u64) -> Duration {
        let whole = self.first.saturating_mul(1 << self.tries.min(20)).min(self.limit);
        self.tries = self.tries.saturating_add(1);
        let half = whole / 2;
        let spread = u64::try_from(half.as_nanos()).unwrap_or(u64::MAX);
        half + Duration::from_nanos(if spread == 0 { 0 } else { random % (spread + 1) })
    }

    /// It worked: the next failure begins anew.
    pub const fn reset(&mut self) {
        self.tries = 0;
    }

    /// How often it has failed in a row.
    #[must_use]
    pub const fn tries(&self) -> u32 {
        self.tries
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_limit_and_are_spread() {
        let mut backoff = Backoff::new(Duration::from_millis(10), Duration::from_secs(1));
        let mut expected = 10;
        for random in [0, u64::MAX, 3, 12_345, 99, 7, 5, 1, 0, 2, 4] {
            let wait = backoff.next(random).as_millis();
            assert!(wait >= expected / 2 && wait <= expected, "{wait} of {expected}");
            expected = (expected * 2).min(1000);
        }
        backoff.reset();
        assert!(backoff.next(0) <= Duration::from_millis(10));
    }
}
