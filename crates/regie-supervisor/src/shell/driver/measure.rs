//! Memory and processor time of the trees, from `/proc`.
//!
//! A reading sums the resident memory of a tree, which counts shared pages once for each process; only where that
//! passes a limit, or somebody asks, the proportional size is read, which costs more.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Driver;
use crate::machine::{Event, Now, RunId};
use crate::shell::proc::{self, Stat};

/// Clock ticks per second, which Linux shows to programs as this whatever the kernel's own.
const TICKS: f64 = 100.0;
/// Asked more often than this, the last reading is given: proportional sizes of many large processes take the
/// kernel some milliseconds each.
const FRESH: Duration = Duration::from_secs(2);
/// Readings are never made more often than this.
const FASTEST: Duration = Duration::from_millis(500);
/// Processor time is told over at least so long.
const CPU_SPAN: Duration = Duration::from_secs(1);

/// The last readings.
#[derive(Debug)]
pub(super) struct Readings {
    every: Duration,
    last: Option<Now>,
    /// When the last one with proportional sizes was made.
    last_exact: Option<Now>,
    by_run: BTreeMap<RunId, Reading>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Reading {
    memory: u64,
    cpu_percent: Option<f64>,
    /// From where processor time is counted.
    base: Option<(Now, u64)>,
}

impl Readings {
    pub(super) fn new(every: Duration) -> Self {
        Self { every: every.max(FASTEST), last: None, last_exact: None, by_run: BTreeMap::new() }
    }

    pub(super) fn next(&self) -> Now {
        self.last.unwrap_or_default() + self.every
    }

    /// Bytes and percent of one processor.
    pub(super) fn of(&self, run: RunId) -> Option<(u64, Option<f64>)> {
        self.by_run.get(&run).map(|r| (r.memory, r.cpu_percent))
    }
}

impl Driver {
    pub(super) fn measure_if_due(&mut self) {
        if self.clock.now() >= self.readings.next() {
            self.measure(false);
        }
    }

    /// A reading with proportional sizes, if the last is not of this very moment.
    pub(super) fn measure_for_status(&mut self) {
        let now = self.clock.now();
        if self.readings.last_exact.is_none_or(|at| now.saturating_sub(at) >= FRESH) {
            self.measure(true);
        }
    }

    fn measure(&mut self, exact: bool) {
        let now = self.clock.now();
        let all = proc::all();
        let trees = self.trees(&all);
        let page = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).ok().flatten().unwrap_or(4096);
        let page = u64::try_from(page).unwrap_or(4096);
        let mut readings = BTreeMap::new();
        let mut over = Vec::new();
        for (run, pids) in trees {
            let stats = pids.iter().filter_map(|pid| all.get(pid));
            let (pages, ticks) = stats.fold((0, 0), |(p, t), s| (p + s.pages, t + s.ticks));
            let limit = self.memory_limit(run);
            let resident = pages * page;
            let memory = if exact || limit.is_some_and(|limit| resident > limit) {
                pids.iter()
                    .map(|pid| proc::pss(*pid).unwrap_or_else(|| all.get(pid).map_or(0, |s| s.pages * page)))
                    .sum()
            } else {
                resident
            };
            if limit.is_some_and(|limit| memory > limit) {
                over.push((run, memory));
            }
            let before = self.readings.by_run.get(&run).copied().unwrap_or_default();
            readings.insert(run, next_reading(before, now, memory, ticks));
        }
        self.readings.by_run = readings;
        self.readings.last = Some(now);
        if exact {
            self.readings.last_exact = Some(now);
        }
        for (run, bytes) in over {
            self.feed(Event::Memory { run, bytes });
        }
    }

    /// The processes of each run: those of its group, and what descends from them.
    fn trees(&self, all: &BTreeMap<i32, Stat>) -> BTreeMap<RunId, Vec<i32>> {
        let by_group: BTreeMap<i32, RunId> =
            self.children.iter().map(|(run, child)| (child.pid, *run)).collect();
        let mut trees: BTreeMap<RunId, Vec<i32>> = BTreeMap::new();
        for (pid, stat) in all {
            let mut at = *stat;
            let mut run = by_group.get(&at.group);
            // Up the parents, for one that has left the group.
            for _ in 0..64 {
                if run.is_some() {
                    break;
                }
                let Some(parent) = all.get(&at.parent) else { break };
                at = *parent;
                run = by_group.get(&at.group);
            }
            if let Some(run) = run {
                trees.entry(*run).or_default().push(*pid);
            }
        }
        trees
    }

    fn memory_limit(&self, run: RunId) -> Option<u64> {
        self.children.get(&run).and_then(super::children::Child::memory_limit)
    }
}

fn next_reading(before: Reading, now: Now, memory: u64, ticks: u64) -> Reading {
    let Some((since, ticks_before)) = before.base else {
        return Reading { memory, cpu_percent: None, base: Some((now, ticks)) };
    };
    let span = now.saturating_sub(since);
    if span < CPU_SPAN {
        return Reading { memory, ..before };
    }
    #[expect(clippy::cast_precision_loss, reason = "ticks of a few seconds")]
    let used = ticks.saturating_sub(ticks_before) as f64 / TICKS;
    let percent = (used / span.as_secs_f64() * 1000.0).round() / 10.0;
    Reading { memory, cpu_percent: Some(percent), base: Some((now, ticks)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_told_over_a_span() {
        let first = next_reading(Reading::default(), Now::from_secs(1), 10, 100);
        assert_eq!(first.cpu_percent, None);
        let soon = next_reading(first, Now::from_millis(1500), 20, 110);
        assert_eq!((soon.memory, soon.cpu_percent), (20, None));
        let later = next_reading(soon, Now::from_secs(3), 30, 150);
        assert_eq!((later.memory, later.cpu_percent), (30, Some(25.0)));
        // A member that died took its time with it.
        assert_eq!(next_reading(later, Now::from_secs(5), 30, 20).cpu_percent, Some(0.0));
    }
}
