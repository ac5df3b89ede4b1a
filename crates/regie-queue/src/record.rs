//! What became of each job, and the numbers over all.
//!
//! The last runs are kept in memory with class, tags, times, exception and output, bounded in number and bytes;
//! failures have a shelf of their own, so that a flood of successes does not push them out. Rates cover the last ten
//! seconds, times the last one or two minutes.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::message::Exception;

/// Runs that are kept.
const RUNS_MAX: usize = 10_000;

/// Failures that are kept.
const FAILURES_MAX: usize = 1_000;

/// Bytes of payloads, outputs and traces that each shelf keeps.
const BYTES_MAX: usize = 16 * 1024 * 1024;

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum End {
    /// Well.
    Done,
    /// For good, without success.
    Failed,
    /// It comes back.
    Released,
    /// With its worker; the framework decides what becomes of it.
    Died,
    /// It kills its workers, or cannot be given to one.
    Parked,
}

/// One run of a job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// The job's id.
    pub id: String,
    /// Connection and queue, as `redis:default`.
    pub queue: String,
    /// The class.
    pub class: String,
    /// The tags.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// The attempts begun with this one.
    pub attempts: u32,
    /// How it ended.
    pub end: End,
    /// When it ended, in milliseconds since 1970.
    pub ended_ms: u64,
    /// How long it was in the queue, in microseconds, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waited_us: Option<u64>,
    /// How long it ran, in microseconds.
    pub ran_us: u64,
    /// What it ended with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exception: Option<Exception>,
    /// What it printed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
    /// Why its worker died.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evidence: Option<String>,
    /// Its payload, of failures.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload: Option<String>,
}

/// Which runs; what is left out wants all.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Wanted {
    /// Only those that failed, died or were parked.
    pub failed: bool,
    /// Only those with this text in id, class, queue, tag or exception.
    pub text: Option<String>,
    /// Only those of this class, with or without its namespace.
    pub class: Option<String>,
    /// Only those with this tag.
    pub tag: Option<String>,
    /// Only those of this queue (`redis:default`, or `default` on any connection).
    pub queue: Option<String>,
    /// Only those that ended at this millisecond since 1970, or later.
    pub since_ms: u64,
}

impl Wanted {
    /// Whether `run` is one of them.
    #[must_use]
    pub fn has(&self, run: &Run) -> bool {
        let is = |wanted: &Option<String>, name: &str, separator: char| {
            wanted.as_deref().is_none_or(|wanted| {
                name.strip_suffix(wanted).is_some_and(|rest| rest.is_empty() || rest.ends_with(separator))
            })
        };
        run.ended_ms >= self.since_ms
            && (!self.failed || matches!(run.end, End::Failed | End::Parked | End::Died))
            && is(&self.class, &run.class, '\\')
            && is(&self.queue, &run.queue, ':')
            && self.tag.as_ref().is_none_or(|tag| run.tags.contains(tag))
            && self.text.as_deref().is_none_or(|text| run.matches(text))
    }
}

impl Run {
    fn bytes(&self) -> usize {
        let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let trace = self.exception.as_ref().map_or(0, |thrown| thrown.trace.len() + thrown.message.len());
        size_of::<Self>()
            + self.class.len()
            + text(&self.output)
            + text(&self.evidence)
            + text(&self.payload)
            + trace
    }

    /// Whether `text` is in its id, class, queue, tags or exception.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        let thrown = self.exception.as_ref();
        [
            Some(&self.id),
            Some(&self.class),
            Some(&self.queue),
            thrown.map(|e| &e.class),
            thrown.map(|e| &e.message),
        ]
        .into_iter()
        .flatten()
        .chain(&self.tags)
        .any(|field| field.contains(text))
    }
}

#[derive(Debug, Default)]
struct Shelf {
    runs: VecDeque<Run>,
    bytes: usize,
}

impl Shelf {
    fn put(&mut self, run: Run, most: usize) {
        self.bytes += run.bytes();
        self.runs.push_back(run);
        while self.runs.len() > most || self.bytes > BYTES_MAX {
            let Some(oldest) = self.runs.pop_front() else { break };
            self.bytes -= oldest.bytes();
        }
    }
}

/// The last runs.
#[derive(Debug, Default)]
pub struct History {
    recent: Shelf,
    failures: Shelf,
}

impl History {
    /// Keeps `run`.
    pub fn put(&mut self, run: Run) {
        match run.end {
            End::Done | End::Released => self.recent.put(run, RUNS_MAX),
            End::Failed | End::Died | End::Parked => self.failures.put(run, FAILURES_MAX),
        }
    }

    /// The runs that `wanted` names, the latest first.
    pub fn find(&self, wanted: impl Fn(&Run) -> bool, most: usize) -> Vec<&Run> {
        let mut found: Vec<&Run> =
            self.recent.runs.iter().chain(&self.failures.runs).filter(|run| wanted(run)).collect();
        found.sort_by_key(|run| std::cmp::Reverse(run.ended_ms));
        found.truncate(most);
        found
    }
}

/// Times in buckets whose bounds grow by an eighth: exact to 12.5 %, whatever their size.
#[derive(Debug, Clone)]
pub struct Histogram {
    buckets: Box<[u32; 512]>,
    count: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { buckets: Box::new([0; 512]), count: 0 }
    }
}

impl Histogram {
    /// Counts a time.
    pub fn put(&mut self, us: u64) {
        let bucket = Self::bucket(us);
        self.buckets[bucket] = self.buckets[bucket].saturating_add(1);
        self.count += 1;
    }

    const fn bucket(us: u64) -> usize {
        if us < 8 {
            return us as usize;
        }
        let power = 63 - us.leading_zeros() as usize;
        (power - 2) * 8 + ((us >> (power - 3)) & 7) as usize
    }

    const fn upper(bucket: usize) -> u64 {
        if bucket < 8 {
            return bucket as u64;
        }
        let power = bucket / 8 + 2;
        let step = 1_u64 << (power - 3);
        (1_u64 << power) + step * (bucket % 8) as u64 + (step - 1)
    }

    fn quantile(pair: [&Self; 2], part: f64) -> Option<u64> {
        let count = pair[0].count + pair[1].count;
        if count == 0 {
            return None;
        }
        let rank = ((count as f64 * part).ceil() as u64).max(1);
        let mut seen = 0;
        for bucket in 0..512 {
            seen += u64::from(pair[0].buckets[bucket]) + u64::from(pair[1].buckets[bucket]);
            if seen >= rank {
                return Some(Self::upper(bucket));
            }
        }
        None
    }
}

/// The upper bounds of a [`Spread`], in microseconds.
pub const BOUNDS_US: [u64; 12] = [
    1_000,
    5_000,
    25_000,
    100_000,
    250_000,
    1_000_000,
    5_000_000,
    30_000_000,
    120_000_000,
    600_000_000,
    1_800_000_000,
    3_600_000_000,
];

/// Times since the start, for who collects them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Spread {
    /// How many were in each bucket; the last has no bound.
    pub counts: [u64; BOUNDS_US.len() + 1],
    /// All of them together, in microseconds.
    pub sum_us: u64,
}

impl Spread {
    fn put(&mut self, us: u64) {
        self.counts[BOUNDS_US.partition_point(|bound| *bound < us)] += 1;
        self.sum_us = self.sum_us.saturating_add(us);
    }
}

/// Quantiles in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Default)]
pub struct Quantiles {
    /// Half are shorter.
    pub p50_us: Option<u64>,
    /// 95 of 100 are shorter.
    pub p95_us: Option<u64>,
    /// 99 of 100 are shorter.
    pub p99_us: Option<u64>,
}

#[derive(Debug, Default)]
struct Window {
    now: Histogram,
    before: Histogram,
}

impl Window {
    fn turn(&mut self) {
        self.before = std::mem::take(&mut self.now);
    }

    fn quantiles(&self) -> Quantiles {
        let of = |part| Histogram::quantile([&self.now, &self.before], part);
        Quantiles { p50_us: of(0.5), p95_us: of(0.95), p99_us: of(0.99) }
    }
}

/// The seconds that a rate covers.
const RATE_S: usize = 10;

/// How long a window of times lasts.
const WINDOW_S: u64 = 60;

/// The numbers of one queue.
#[derive(Debug, Default)]
pub struct Meter {
    waits: Window,
    runs: Window,
    all_waits: Spread,
    all_runs: Spread,
    turned_s: u64,
    seconds: [(u64, u32); RATE_S + 1],
    totals: Totals,
}

/// Counts since the runner's start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Default)]
pub struct Totals {
    /// Runs that ended well.
    pub done: u64,
    /// Jobs that have failed for good.
    pub failed: u64,
    /// Runs after which the job came back.
    pub released: u64,
    /// Runs whose worker died.
    pub died: u64,
    /// Jobs that were parked.
    pub parked: u64,
}

impl Meter {
    /// Counts a run that ended at `now` (since 1970).
    pub fn count(&mut self, now: Duration, end: End, waited: Option<Duration>, ran: Duration) {
        let second = now.as_secs();
        // Set back, the clock would reach the end of this window after as long.
        self.turned_s = self.turned_s.min(second);
        if second >= self.turned_s + WINDOW_S {
            if second >= self.turned_s + 2 * WINDOW_S {
                self.waits.turn();
                self.runs.turn();
            }
            self.waits.turn();
            self.runs.turn();
            self.turned_s = second;
        }
        let micros = |span: Duration| u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
        if let Some(waited) = waited {
            self.waits.now.put(micros(waited));
            self.all_waits.put(micros(waited));
        }
        self.runs.now.put(micros(ran));
        self.all_runs.put(micros(ran));
        let slot = &mut self.seconds[second as usize % (RATE_S + 1)];
        if slot.0 != second {
            *slot = (second, 0);
        }
        slot.1 += 1;
        let total = match end {
            End::Done => &mut self.totals.done,
            End::Failed => &mut self.totals.failed,
            End::Released => &mut self.totals.released,
            End::Died => &mut self.totals.died,
            End::Parked => &mut self.totals.parked,
        };
        *total += 1;
    }

    /// Runs per second over the last whole seconds before `now`.
    #[must_use]
    pub fn rate(&self, now: Duration) -> f64 {
        let second = now.as_secs();
        let covered = |at: u64| at < second && at + RATE_S as u64 >= second;
        let runs: u64 =
            self.seconds.iter().filter(|(at, _)| covered(*at)).map(|(_, count)| u64::from(*count)).sum();
        runs as f64 / RATE_S as f64
    }

    /// How long jobs waited.
    #[must_use]
    pub fn waits(&self) -> Quantiles {
        self.waits.quantiles()
    }

    /// How long they ran.
    #[must_use]
    pub fn runs(&self) -> Quantiles {
        self.runs.quantiles()
    }

    /// How long all jobs since the start waited.
    #[must_use]
    pub const fn all_waits(&self) -> &Spread {
        &self.all_waits
    }

    /// How long all of them ran.
    #[must_use]
    pub const fn all_runs(&self) -> &Spread {
        &self.all_runs
    }

    /// Counts since the start.
    #[must_use]
    pub const fn totals(&self) -> Totals {
        self.totals
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(id: usize, end: End) -> Run {
        Run {
            id: id.to_string(),
            queue: "redis:default".into(),
            class: r"App\Jobs\Mail".into(),
            tags: vec!["user:7".into()],
            attempts: 1,
            end,
            ended_ms: id as u64,
            waited_us: None,
            ran_us: 5,
            exception: None,
            output: None,
            evidence: None,
            payload: None,
        }
    }

    #[test]
    fn history_is_bounded_and_keeps_failures() {
        let mut history = History::default();
        history.put(run(0, End::Failed));
        for id in 1..=RUNS_MAX + 5 {
            history.put(run(id, End::Done));
        }
        assert_eq!(history.find(|_| true, usize::MAX).len(), RUNS_MAX + 1);
        assert_eq!(history.find(|run| run.end == End::Failed, 9)[0].id, "0");
        assert_eq!(history.find(|run| run.matches("user:7"), 1)[0].id, (RUNS_MAX + 5).to_string());
        assert!(history.find(|run| run.matches("nobody"), 1).is_empty());
        for id in 0..100 {
            history.put(Run { output: Some("x".repeat(1024 * 1024)), ..run(id, End::Failed) });
        }
        assert!(history.failures.bytes <= BYTES_MAX);
    }

    #[test]
    fn quantiles_are_exact_to_an_eighth() {
        let mut meter = Meter::default();
        for us in 1..=10_000_u64 {
            meter.count(Duration::from_secs(100), End::Done, None, Duration::from_micros(us));
        }
        let told = meter.runs();
        for (told, exact) in [(told.p50_us, 5_000.0), (told.p95_us, 9_500.0), (told.p99_us, 9_900.0)] {
            let ratio = told.unwrap() as f64 / exact;
            assert!((1.0..1.125).contains(&ratio), "{told:?} for {exact}");
        }
        assert_eq!(meter.waits(), Quantiles::default());
        for us in [0, 1, 7, 8, 9, 1_000_000, u64::MAX] {
            let bucket = Histogram::bucket(us);
            assert!(Histogram::upper(bucket) >= us, "{us}");
            assert!(bucket == 0 || Histogram::upper(bucket - 1) < us, "{us}");
        }
    }

    #[test]
    fn a_clock_that_is_set_loses_no_count_and_holds_no_window() {
        const HOUR: u64 = 3600;
        let mut meter = Meter::default();
        let mut count = |second: u64, us: u64| {
            meter.count(Duration::from_secs(second), End::Done, None, Duration::from_micros(us));
            (meter.totals().done, meter.runs().p50_us, meter.rate(Duration::from_secs(second + 1)))
        };
        assert_eq!(count(10 * HOUR, 7), (1, Some(7), 0.1));
        // An hour back: it is counted, and two minutes later the times of before are forgotten.
        assert_eq!(count(9 * HOUR, 7), (2, Some(7), 0.1));
        count(9 * HOUR + 61, 1);
        assert_eq!(count(9 * HOUR + 130, 1).1, Some(1));
        // An hour on.
        assert_eq!(count(10 * HOUR + 140, 3), (5, Some(3), 0.1));
    }

    #[test]
    fn rates_forget_what_is_long_ago() {
        let mut meter = Meter::default();
        for second in 100..110 {
            for _ in 0..50 {
                meter.count(Duration::from_secs(second), End::Done, None, Duration::ZERO);
            }
        }
        assert!((meter.rate(Duration::from_secs(110)) - 50.0).abs() < 0.01);
        assert!((meter.rate(Duration::from_secs(115)) - 25.0).abs() < 0.01);
        assert!(meter.rate(Duration::from_secs(200)) < 0.01);
        assert_eq!(meter.totals().done, 500);
    }
}
