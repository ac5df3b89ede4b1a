//! How many workers a group shall have, where it says how long its jobs may wait (`wait_target`), or may have none (`min = 0`).
//!
//! - **By the wait that is predicted.** What waits, times how long a job takes, is work; as many workers as do it within the target
//!   are wished for. One that is busy with a job longer than the target does none of it, so it is not counted.
//! - **By the wait that was seen.** Where jobs have waited for the length of the target, one more is wished for, whatever was
//!   predicted; and again after each such time.
//! - Nobody is wished away: those that nobody needs leave by themselves, when their pool has seen them idle for a while.

use std::time::{Duration, Instant};

/// What there is to do, as the runner sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Backlog {
    /// Jobs that could run now and that no worker has.
    pub waiting: u64,
    /// Jobs at workers.
    pub running: usize,
    /// How long one takes, so far as the last ones and those that run tell.
    pub each: Option<Duration>,
    /// Workers that are there.
    pub workers: usize,
}

/// See the module.
#[derive(Debug)]
pub struct Scaler {
    target: Duration,
    /// Since when jobs wait that were not helped by another worker.
    behind: Option<Instant>,
    /// How many were found to be needed beyond what was predicted.
    more: usize,
}

impl Scaler {
    /// For a group whose jobs may wait so long.
    #[must_use]
    pub const fn new(target: Duration) -> Self {
        Self { target, behind: None, more: 0 }
    }

    /// How many workers are wished for now; the pool keeps it within its limits.
    pub fn look(&mut self, now: Instant, backlog: &Backlog) -> usize {
        if backlog.waiting == 0 {
            (self.behind, self.more) = (None, 0);
            return 0;
        }
        let behind = *self.behind.get_or_insert(now);
        if now.saturating_duration_since(behind) >= self.target {
            self.behind = Some(now);
            self.more = self.more.max(backlog.workers + 1);
        }
        self.predicted(backlog).max(self.more).max(1)
    }

    fn predicted(&self, backlog: &Backlog) -> usize {
        let Some(each) = backlog.each else { return 0 };
        let occupied = if each > self.target { backlog.running } else { 0 };
        let work = each.as_secs_f64() * backlog.waiting as f64;
        let needed = (work / self.target.as_secs_f64().max(1e-3)).ceil();
        // More workers than jobs help nobody.
        occupied + (needed as usize).min(usize::try_from(backlog.waiting).unwrap_or(usize::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::disallowed_methods, reason = "a starting point; nothing depends on its value")]
    fn start() -> Instant {
        Instant::now()
    }

    #[test]
    fn as_many_as_do_what_waits_within_the_target() {
        for (waiting, running, each_ms, workers, expected) in [
            (0, 2, Some(60_000), 2, 0),
            (1, 0, None, 0, 1),
            // 10 s of work, to be done in 10 s.
            (100, 2, Some(100), 2, 1),
            (1_000, 1, Some(100), 1, 10),
            (1_001, 1, Some(100), 1, 11),
            // A job of a minute: each that waits needs its own worker, beside those that are busy.
            (3, 2, Some(60_000), 2, 5),
            (1, 0, Some(60_000), 0, 1),
            (1_000_000, 4, Some(0), 4, 1),
        ] {
            let backlog = Backlog { waiting, running, each: each_ms.map(Duration::from_millis), workers };
            let mut scaler = Scaler::new(Duration::from_secs(10));
            assert_eq!(scaler.look(start(), &backlog), expected, "{backlog:?}");
        }
    }

    #[test]
    fn who_waits_longer_than_was_predicted_gets_another() {
        let (now, mut scaler) = (start(), Scaler::new(Duration::from_secs(10)));
        let backlog = |waiting, workers| Backlog { waiting, running: workers, each: None, workers };
        let mut look = |second: u64, waiting, workers| {
            scaler.look(now + Duration::from_secs(second), &backlog(waiting, workers))
        };
        assert_eq!((look(0, 5, 1), look(9, 5, 1)), (1, 1));
        assert_eq!((look(10, 5, 1), look(11, 5, 2), look(19, 4, 2)), (2, 2, 2));
        assert_eq!(look(20, 4, 2), 3);
        assert_eq!((look(21, 0, 3), look(22, 1, 3)), (0, 1), "what was found ends with what waits");
        assert_eq!(look(31, 1, 3), 1, "the time counts anew");
    }
}
