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

/// `wait` and up to `percent` of it more, as `random` says: jobs that have failed together are not tried together
/// again, and none is tried earlier than was asked.
#[must_use]
pub fn spread(wait: Duration, percent: u32, random: u64) -> Duration {
    let part = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX) / 100;
    let most = part.saturating_mul(u64::from(percent));
    wait + Duration::from_millis(if most == 0 { 0 } else { random % (most + 1) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_spread_is_never_earlier() {
        for (seconds, percent, random, expected_ms) in [
            (10, 0, 7, 10_000),
            (10, 50, 0, 10_000),
            (10, 50, 5_000, 15_000),
            (10, 50, 5_001, 10_000),
            (10, 100, 123, 10_123),
            (0, 50, 9, 0),
        ] {
            let spread = spread(Duration::from_secs(seconds), percent, random);
            assert_eq!(spread.as_millis(), expected_ms, "{seconds} {percent} {random}");
        }
        assert!(
            spread(Duration::from_secs(u64::MAX / 4), 100, u64::MAX) >= Duration::from_secs(u64::MAX / 4)
        );
    }

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

    #[test]
    fn a_minute_without_a_server_costs_few_attempts() {
        // As the runner has it; with the least and the most that chance adds.
        for chance in [0, u64::MAX / 2, u64::MAX] {
            let mut backoff = Backoff::new(Duration::from_millis(20), Duration::from_secs(2));
            let (mut at, mut attempts) = (Duration::ZERO, 0);
            while at < Duration::from_secs(60) {
                at += backoff.next(chance);
                attempts += 1;
                assert!(attempts < 1_000, "it goes on");
            }
            assert!((30..=80).contains(&attempts), "{attempts} attempts in a minute");
        }
    }
}
