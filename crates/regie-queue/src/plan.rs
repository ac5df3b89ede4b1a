//! Which queue next, and how much work ahead.
//!
//! **Order.** Queues stand in the order in which they were written, and the first that has work goes first, as with
//! the frameworks' own `--queue=high,default`. With weights, each queue gets its share of the turns (smooth weighted
//! round robin), so none starves.
//!
//! **Ahead.** A worker must never wait for the next job, and a job must not wait at a busy worker while another is
//! idle. So as much is leased as the workers do in [`AHEAD`]; jobs that take longer than that are leased one for each
//! worker that is free. What is leased and not yet handed over is ordered by queue as well, so a job of a higher queue
//! overtakes it.

use std::time::Duration;

/// How much work is fetched ahead of the workers.
pub const AHEAD: Duration = Duration::from_millis(2);

/// How long the answers to short jobs may lie, so that many are dealt with at once.
pub const NAP: Duration = Duration::from_micros(500);

/// Jobs ahead of each worker at most, however short they are.
pub const AHEAD_MAX: usize = 64;

/// Who goes first among queues that have work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// Strictly as written.
    Strict,
    /// By weight.
    Weighted(Vec<u32>),
}

/// See the module.
#[derive(Debug, Clone)]
pub struct Turns {
    order: Order,
    credit: Vec<i64>,
}

impl Turns {
    /// For `queues` queues.
    #[must_use]
    pub fn new(order: Order, queues: usize) -> Self {
        Self { order, credit: vec![0; queues] }
    }

    /// The queue whose turn it is, among those that have work.
    pub fn next(&mut self, mut has_work: impl FnMut(usize) -> bool) -> Option<usize> {
        let ready: Vec<usize> = (0..self.credit.len()).filter(|queue| has_work(*queue)).collect();
        let Order::Weighted(weights) = &self.order else { return ready.first().copied() };
        let weight = |queue: usize| i64::from(weights.get(queue).copied().unwrap_or(1).max(1));
        for &queue in &ready {
            self.credit[queue] += weight(queue);
        }
        let total: i64 = ready.iter().map(|queue| weight(*queue)).sum();
        let chosen = ready.into_iter().rev().max_by_key(|queue| self.credit[*queue])?;
        self.credit[chosen] -= total;
        Some(chosen)
    }
}

/// How long jobs take, and how long it takes to fetch some, so far as the last ones tell.
#[derive(Debug, Clone, Default)]
pub struct Pace {
    mean_us: Option<f64>,
    fetch_us: f64,
}

impl Pace {
    /// These jobs of `workers` were found done at the same time, each begun so long ago.
    ///
    /// Some of them were done a while before. But in the time since the first of them was begun, all were done.
    pub fn took_all(&mut self, workers: usize, runs: &[Duration]) {
        let Some(longest) = runs.iter().max() else { return };
        let share = longest.mul_f64((workers.max(1) as f64 / runs.len() as f64).min(1.0));
        runs.iter().for_each(|run| self.took(share.min(*run)));
    }

    /// A job took this long.
    pub fn took(&mut self, run: Duration) {
        let us = run.as_secs_f64() * 1e6;
        self.mean_us = Some(match self.mean_us {
            None => us,
            // A long job must be believed at once, a short one only when others follow.
            Some(mean) if us > mean * 8.0 => us / 2.0,
            Some(mean) => mean + (us - mean) / 16.0,
        });
    }

    /// How long a job takes; none before one has ended.
    #[must_use]
    pub fn mean(&self) -> Option<Duration> {
        self.mean_us.map(|us| Duration::from_secs_f64(us / 1e6))
    }

    /// A step that leased jobs took this long.
    pub fn fetched(&mut self, step: Duration) {
        self.fetch_us += (step.as_secs_f64() * 1e6 - self.fetch_us) / 4.0;
    }

    /// Jobs that `workers` do while more are fetched, with half as many to spare. A table's step waits for the disk,
    /// and workers must not wait for it each time.
    #[must_use]
    pub fn meanwhile(&self, workers: usize) -> usize {
        let Some(mean) = self.mean_us else { return 0 };
        let each = (self.fetch_us * 1.5 / mean.max(1.0)) as usize;
        workers * each.min(AHEAD_MAX)
    }

    /// How long answers of `workers` may lie when `handed` jobs are at them: they have twice as much to do until then.
    #[must_use]
    pub fn nap(&self, workers: usize, handed: usize) -> Duration {
        let each = handed.saturating_sub(workers) / workers.max(1);
        let busy =
            self.mean_us.map_or(Duration::ZERO, |mean| Duration::from_secs_f64(mean * each as f64 / 1e6));
        if busy >= 2 * NAP { NAP } else { Duration::ZERO }
    }

    /// Jobs that may be held beyond one for each of `workers`. None before anything is known.
    #[must_use]
    pub fn ahead(&self, workers: usize) -> usize {
        let Some(mean) = self.mean_us else { return 0 };
        let each = (AHEAD.as_secs_f64() * 1e6 / mean.max(1.0)) as usize;
        workers * each.min(AHEAD_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(order: Order, queues: usize, ready: &[usize], turns: usize) -> Vec<usize> {
        let mut plan = Turns::new(order, queues);
        (0..turns).filter_map(|_| plan.next(|queue| ready.contains(&queue))).collect()
    }

    #[test]
    fn strict_takes_the_first_that_has_work() {
        assert_eq!(order(Order::Strict, 3, &[1, 2], 3), [1, 1, 1]);
        assert_eq!(order(Order::Strict, 3, &[], 3), [0; 0]);
    }

    #[test]
    fn weights_share_the_turns_and_nobody_starves() {
        let weights = Order::Weighted(vec![3, 1]);
        assert_eq!(order(weights.clone(), 2, &[0, 1], 8), [0, 0, 1, 0, 0, 0, 1, 0]);
        assert_eq!(order(weights, 2, &[1], 2), [1, 1]);
    }

    #[test]
    fn work_ahead_follows_the_length_of_jobs() {
        let mut pace = Pace::default();
        assert_eq!(pace.ahead(4), 0, "nothing is known");
        for _ in 0..100 {
            pace.took(Duration::from_micros(100));
        }
        assert_eq!(pace.ahead(2), 40);
        pace.took(Duration::from_secs(1));
        assert_eq!(pace.ahead(2), 0, "one long job is believed at once");
        for _ in 0..400 {
            pace.took(Duration::from_micros(1));
        }
        assert_eq!(pace.ahead(2), 2 * AHEAD_MAX, "short jobs have a bound");
    }

    #[test]
    fn answers_that_were_found_together_were_not_done_together() {
        let mut pace = Pace::default();
        let ms = Duration::from_millis;
        // Twenty jobs of two workers in half a millisecond: 50 microseconds each.
        let runs: Vec<Duration> = (1..=20).map(|begun| Duration::from_micros(25 * begun)).collect();
        (0..50).for_each(|_| pace.took_all(2, &runs));
        assert!((38..=42).contains(&(pace.ahead(2) / 2)), "{}", pace.ahead(2));
        pace.took_all(2, &[]);
        assert_eq!(pace.nap(2, 2), Duration::ZERO, "nothing lies ahead");
        assert_eq!(pace.nap(2, 20), Duration::ZERO, "not enough lies ahead");
        assert_eq!(pace.nap(2, 60), NAP);
        // A long one among short ones is believed, too.
        pace.took_all(2, &[ms(2_000), Duration::from_micros(20), Duration::from_micros(20)]);
        assert_eq!((pace.ahead(2), pace.nap(2, 3)), (0, Duration::ZERO));
    }

    #[test]
    fn a_slow_server_is_asked_for_more() {
        let mut pace = Pace::default();
        pace.fetched(Duration::from_millis(20));
        assert_eq!(pace.meanwhile(2), 0, "nothing is known of the jobs");
        for _ in 0..100 {
            pace.took(Duration::from_millis(1));
            pace.fetched(Duration::from_millis(20));
        }
        assert!((56..=60).contains(&pace.meanwhile(2)), "{}", pace.meanwhile(2));
        for _ in 0..100 {
            pace.fetched(Duration::from_micros(200));
        }
        assert_eq!(pace.meanwhile(2), 0, "a fast one is asked often");
    }
}
