//! How many workers a pool wants at the moment, between its minimum and its maximum. Pure.
//!
//! - **More** when requests wait while no worker is idle, at two looks [`PRESSED_US`] apart: one at first, twice as many
//!   each time it goes on, at most [`STEP_MAX`] at once, and never while some are still starting, so that a slow boot is
//!   not answered with more boots.
//! - **Fewer** when a whole idle time has passed in which some were idle at every look: those that nobody needed.
//!
//! Where somebody says how many there shall be (the runner of jobs, which knows what waits in the queues), so many come at once, those
//! beyond them leave as above, and what waits at the pool brings none but the first.
//!
//! A pool whose minimum is its maximum looks at nothing. One whose minimum is 0 has no worker when nobody needs one.

/// How often a pool that may grow or shrink is looked at.
pub(crate) const TICK_US: u64 = 250_000;
/// For how long requests must have waited.
const PRESSED_US: u64 = 50_000;
/// So many workers are added at once at most, as php-fpm does.
const STEP_MAX: usize = 32;

/// The pool at one look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Load {
    /// Workers that have booted and stay.
    pub(crate) ready: usize,
    /// Those of them that have no request.
    pub(crate) idle: usize,
    /// What is asked of it.
    pub(crate) demand: Demand,
}

/// What is asked of a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Demand {
    /// Requests that no worker has taken.
    pub(crate) waiting: usize,
    /// How many workers there shall be, where somebody says so.
    pub(crate) wished: Option<usize>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Crew {
    min: usize,
    max: usize,
    wanted: usize,
    idle_us: u64,
    pressed_since_us: Option<u64>,
    step: usize,
    /// Since when how many were idle at every look.
    spare: Option<(u64, usize)>,
}

impl Crew {
    pub(crate) fn new(min: usize, max: usize, idle_us: u64) -> Self {
        Self { min, max, wanted: min, idle_us, pressed_since_us: None, step: 1, spare: None }
    }

    /// How many there shall be.
    pub(crate) fn wanted(&self) -> usize {
        self.wanted
    }

    pub(crate) fn max(&self) -> usize {
        self.max
    }

    /// Takes note of what was seen. Returns when to look again.
    pub(crate) fn look(&mut self, now_us: u64, load: Load) -> Option<u64> {
        if self.min == self.max {
            return None;
        }
        let wished = load.demand.wished.map(|count| count.clamp(self.min, self.max));
        if wished.is_some_and(|count| count > self.wanted) {
            self.wanted = wished.unwrap_or(self.wanted);
            self.spare = None;
        }
        let most = wished.map_or(self.max, |count| count.max(1));
        let pressed = load.demand.waiting > 0 && load.idle == 0 && self.wanted < most;
        self.shrink(now_us, load.idle, wished.unwrap_or(self.min));
        if pressed {
            self.grow(now_us, load);
        } else {
            (self.pressed_since_us, self.step) = (None, 1);
        }
        Some(now_us + if pressed && self.wanted < most { PRESSED_US } else { TICK_US })
    }

    fn grow(&mut self, now_us: u64, load: Load) {
        let since_us = *self.pressed_since_us.get_or_insert(now_us);
        if now_us < since_us + PRESSED_US || load.ready < self.wanted || self.wanted == self.max {
            return;
        }
        self.wanted = (self.wanted + self.step).min(self.max);
        self.step = (self.step * 2).min(STEP_MAX);
        self.pressed_since_us = Some(now_us);
        self.spare = None;
    }

    fn shrink(&mut self, now_us: u64, idle: usize, fewest: usize) {
        if self.wanted <= fewest {
            self.spare = None;
            return;
        }
        let (since_us, before) = self.spare.unwrap_or((now_us, idle));
        let spare = before.min(idle);
        if now_us < since_us + self.idle_us {
            self.spare = Some((since_us, spare));
            return;
        }
        self.wanted = self.wanted.saturating_sub(spare).max(fewest);
        self.spare = Some((now_us, idle));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE_US: u64 = 1_000_000;

    /// Looks at `(after ms, ready, idle, waiting)` and says how many are wanted after each.
    fn wanted(crew: &mut Crew, looks: &[(u64, usize, usize, usize)]) -> Vec<usize> {
        let look = |&(at_ms, ready, idle, waiting): &(u64, usize, usize, usize)| {
            let demand = Demand { waiting, wished: None };
            let next = crew.look(at_ms * 1000, Load { ready, idle, demand });
            assert!(next.is_none_or(|next| next > at_ms * 1000));
            crew.wanted()
        };
        looks.iter().map(look).collect()
    }

    #[test]
    fn those_who_wait_bring_more_up_to_the_maximum() {
        let mut crew = Crew::new(2, 9, IDLE_US);
        let looks = [
            (0, 2, 0, 5),
            (20, 2, 0, 5),
            (50, 2, 0, 5),
            // The third is not there yet.
            (120, 2, 0, 5),
            (130, 3, 0, 4),
            (180, 5, 0, 4),
            (230, 9, 0, 4),
            (300, 9, 0, 4),
        ];
        assert_eq!(wanted(&mut crew, &looks), [2, 2, 3, 3, 5, 9, 9, 9]);
    }

    #[test]
    fn a_moment_or_an_idle_worker_brings_none() {
        let mut crew = Crew::new(1, 4, IDLE_US);
        let looks =
            [(0, 1, 0, 3), (40, 1, 0, 0), (60, 1, 0, 3), (100, 1, 1, 3), (120, 1, 0, 3), (160, 1, 0, 3)];
        assert_eq!(wanted(&mut crew, &looks), [1; 6]);
    }

    #[test]
    fn those_whom_nobody_needed_for_the_idle_time_go() {
        let mut crew = Crew::new(2, 8, IDLE_US);
        crew.wanted = 8;
        let looks = [
            (0, 8, 6, 0),
            (500, 8, 3, 0),
            (999, 8, 7, 0),
            (1000, 8, 7, 0),
            (1500, 5, 4, 0),
            (2000, 5, 5, 0),
            (3000, 2, 2, 0),
        ];
        assert_eq!(wanted(&mut crew, &looks), [8, 8, 8, 5, 5, 2, 2], "three were idle throughout, then four");
    }

    #[test]
    fn a_pool_without_workers_gets_the_first_for_whoever_waits() {
        let mut crew = Crew::new(0, 4, IDLE_US);
        let looks =
            [(0, 0, 0, 0), (100, 0, 0, 1), (150, 0, 0, 1), (300, 1, 1, 0), (400, 1, 1, 0), (1500, 1, 1, 0)];
        assert_eq!(wanted(&mut crew, &looks), [0, 0, 1, 1, 1, 0]);
    }

    #[test]
    fn as_many_come_as_somebody_says_and_the_idle_go_later() {
        let mut crew = Crew::new(0, 4, IDLE_US);
        let mut look = |at_ms: u64, wished: usize, waiting: usize, idle: usize| {
            let load = Load { ready: 1, idle, demand: Demand { waiting, wished: Some(wished) } };
            crew.look(at_ms * 1000, load);
            crew.wanted()
        };
        assert_eq!(look(0, 3, 0, 0), 3, "at once");
        assert_eq!(look(100, 9, 0, 0), 4, "within the limits");
        assert_eq!(
            (look(200, 2, 9, 0), look(900, 2, 9, 0)),
            (4, 4),
            "none goes that is busy, none comes for what waits"
        );
        assert_eq!((look(1000, 2, 0, 3), look(2100, 2, 0, 3), look(3200, 2, 0, 3)), (4, 4, 2), "the idle go");
        assert_eq!(look(4300, 0, 0, 2), 0, "all of them");
        assert_eq!((look(5500, 0, 1, 0), look(5600, 0, 1, 0)), (0, 1), "the first comes for what waits");
        assert_eq!((look(5700, 0, 5, 0), look(5800, 0, 5, 0)), (1, 1));
    }

    #[test]
    fn a_fixed_number_stays() {
        let mut crew = Crew::new(3, 3, IDLE_US);
        let demand = Demand { waiting: 99, wished: Some(9) };
        assert_eq!(crew.look(0, Load { ready: 3, idle: 0, demand }), None);
        assert_eq!(crew.wanted(), 3);
    }
}
