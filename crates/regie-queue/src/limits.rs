//! Limits of one class of jobs: how many of it run at a time, and how many begin in a span of time.
//!
//! They hold for one group of workers. A job whose class is at its limit lets others overtake it. A few of them are
//! kept on the desk, so that a slot that becomes free is filled at once ([`Limits::spares`]); further ones are put off: they go
//! back to the queue's delayed jobs with their attempts unchanged, for about as long as those before them take, at
//! least [`OFF_MIN`] and at most [`OFF_MAX`].
//!
//! A rate counts what has begun: in no span of its length do more begin than it says, wherever that span lies. After a
//! restart of the runner it counts anew.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

/// Delayed jobs become ready at whole seconds.
pub const OFF_MIN: Duration = Duration::from_secs(1);

/// After this long a job that was put off is looked at again: what was estimated may have been wrong.
pub const OFF_MAX: Duration = Duration::from_secs(60);

/// Jobs of a class that are kept on the desk at least.
const SPARES_MIN: usize = 16;

/// What one class may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limit {
    /// Jobs that run at a time.
    pub concurrency: Option<u32>,
    /// So many may begin in so long.
    pub rate: Option<(u32, Duration)>,
}

#[derive(Debug)]
struct Class {
    limit: Limit,
    running: u32,
    /// When the last ones began, as many as the rate allows.
    begun: VecDeque<Instant>,
    /// How long one runs, so far as the last ones tell.
    mean: Option<Duration>,
    /// When the one that was put off last may expect its turn.
    booked: Option<Instant>,
}

impl Class {
    fn admits(&self, now: Instant) -> bool {
        let has_slot = self.limit.concurrency.is_none_or(|most| self.running < most);
        has_slot && self.rate_opens().is_none_or(|at| at <= now)
    }

    /// When the rate lets the next one begin; none when it does at once.
    fn rate_opens(&self) -> Option<Instant> {
        let (most, span) = self.limit.rate?;
        (self.begun.len() >= most as usize).then(|| *self.begun.front().expect("a rate is at least 1") + span)
    }

    /// How long one takes of what there is for the class.
    fn each(&self) -> Duration {
        let slot = self.limit.concurrency.map(|most| self.mean.unwrap_or(OFF_MIN) / most.max(1));
        let turn = self.limit.rate.map(|(most, span)| span / most.max(1));
        slot.max(turn).unwrap_or_default()
    }
}

/// See the module.
#[derive(Debug, Default)]
pub struct Limits {
    classes: HashMap<String, Class>,
}

impl Limits {
    /// For the classes that have any.
    pub fn new(limits: impl IntoIterator<Item = (String, Limit)>) -> Self {
        let class = |limit| Class { limit, running: 0, begun: VecDeque::new(), mean: None, booked: None };
        Self { classes: limits.into_iter().map(|(name, limit)| (name, class(limit))).collect() }
    }

    /// Whether no class has any.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.classes.is_empty()
    }

    /// Whether a job of `class` may begin now.
    #[must_use]
    pub fn admits(&self, now: Instant, class: Option<&str>) -> bool {
        class.and_then(|class| self.classes.get(class)).is_none_or(|class| class.admits(now))
    }

    /// A job of `class` begins. Whether it counts, so that [`Limits::ended`] has to be told.
    pub fn begins(&mut self, now: Instant, class: Option<&str>) -> bool {
        let Some(class) = class.and_then(|class| self.classes.get_mut(class)) else { return false };
        class.running += 1;
        if let Some((most, _)) = class.limit.rate {
            class.begun.push_back(now);
            while class.begun.len() > most as usize {
                class.begun.pop_front();
            }
        }
        true
    }

    /// A job that counted has ended; `ran` is how long it ran, none when no worker had begun it.
    pub fn ended(&mut self, class: Option<&str>, ran: Option<Duration>) {
        let Some(class) = class.and_then(|class| self.classes.get_mut(class)) else { return };
        class.running = class.running.saturating_sub(1);
        match ran {
            Some(ran) => class.mean = Some(class.mean.map_or(ran, |mean| (mean * 7 + ran) / 8)),
            None => drop(class.begun.pop_back()),
        }
    }

    /// When a class that only its rate holds back may go on: the first one after `now`.
    #[must_use]
    pub fn next(&self, now: Instant) -> Option<Instant> {
        self.classes.values().filter_map(Class::rate_opens).filter(|at| *at > now).min()
    }

    /// How many jobs of `class` that may not begin stay on the desk.
    #[must_use]
    pub fn spares(&self, class: Option<&str>) -> usize {
        let limit = class.and_then(|class| self.classes.get(class)).map(|class| class.limit);
        let slots = limit.and_then(|limit| limit.concurrency).unwrap_or_default() as usize;
        SPARES_MIN.max(2 * slots)
    }

    /// For how long a further one is put off. Half of what is estimated: too early costs a look, too late a worker's
    /// time.
    pub fn put_off(&mut self, now: Instant, class: Option<&str>) -> Duration {
        let Some(class) = class.and_then(|class| self.classes.get_mut(class)) else { return OFF_MIN };
        let after = class.booked.map_or(now, |booked| booked.max(now));
        let booked = (after + class.each() / 2).min(now + OFF_MAX);
        class.booked = Some(booked);
        booked.saturating_duration_since(now).max(OFF_MIN)
    }

    /// What each class has running.
    pub fn running(&self) -> impl Iterator<Item = (&str, Limit, u32)> {
        self.classes.iter().map(|(name, class)| (name.as_str(), class.limit, class.running))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAIL: Option<&str> = Some(r"App\Mail");

    fn limits(concurrency: Option<u32>, rate: Option<(u32, u64)>) -> Limits {
        let rate = rate.map(|(most, seconds)| (most, Duration::from_secs(seconds)));
        Limits::new([(r"App\Mail".to_owned(), Limit { concurrency, rate })])
    }

    #[expect(clippy::disallowed_methods, reason = "a starting point; nothing depends on its value")]
    fn start() -> Instant {
        Instant::now()
    }

    #[test]
    fn as_many_at_a_time_as_it_says() {
        let (now, mut limits) = (start(), limits(Some(2), None));
        assert!(limits.begins(now, MAIL) && limits.admits(now, MAIL) && limits.begins(now, MAIL));
        assert!(!limits.admits(now, MAIL));
        for other in [None, Some(r"App\Other")] {
            assert!(limits.admits(now, other) && !limits.begins(now, other));
        }
        limits.ended(MAIL, Some(OFF_MIN));
        assert!(limits.admits(now, MAIL));
        limits.ended(MAIL, None);
        limits.ended(MAIL, None);
        assert!(limits.admits(now, MAIL), "an end too many is no slot too many");
        limits.begins(now, MAIL);
        limits.begins(now, MAIL);
        assert!(!limits.admits(now, MAIL));
    }

    #[test]
    fn never_more_in_a_span_wherever_it_lies() {
        let (begin, span) = (start(), 10);
        let mut limits = limits(None, Some((3, span)));
        let mut begun: Vec<u64> = Vec::new();
        // Somebody asks in each second, and takes what there is.
        for second in 0..100 {
            let now = begin + Duration::from_secs(second);
            while limits.admits(now, MAIL) && begun.len() < 1_000 {
                limits.begins(now, MAIL);
                limits.ended(MAIL, Some(Duration::ZERO));
                begun.push(second);
            }
            if let Some(next) = limits.next(now) {
                assert!(limits.admits(next, MAIL) && !limits.admits(next - Duration::from_millis(1), MAIL));
            }
        }
        assert_eq!(begun.len(), 30);
        for from in 0..100 {
            let within = begun.iter().filter(|at| (from..from + span).contains(at)).count();
            assert!(within <= 3, "{within} from {from}");
        }
        // What no worker has begun does not count.
        let now = begin + Duration::from_secs(200);
        (0..3).for_each(|_| assert!(limits.begins(now, MAIL)));
        limits.ended(MAIL, None);
        assert!(limits.admits(now, MAIL));
    }

    #[test]
    fn those_that_wait_are_put_off_one_behind_the_other() {
        let now = start();
        let off = |mut limits: Limits, times: usize| {
            (0..times).map(|_| limits.put_off(now, MAIL).as_secs()).last().unwrap()
        };
        // Two a second: half of the way of the tenth.
        assert_eq!(off(limits(None, Some((2, 1))), 1), 1);
        assert_eq!(off(limits(None, Some((2, 1))), 40), 10);
        assert_eq!(off(limits(None, Some((1, 3600))), 3), 60);
        let mut slow = limits(Some(2), None);
        slow.begins(now, MAIL);
        slow.ended(MAIL, Some(Duration::from_secs(8)));
        assert_eq!(off(slow, 5), 10);
        let mut limits = limits(Some(1), None);
        (0..1_000).for_each(|_| assert!(limits.put_off(now, MAIL) <= OFF_MAX));
        // Later there is nobody before it.
        assert_eq!(limits.put_off(now + Duration::from_secs(600), MAIL), OFF_MIN);
    }
}
