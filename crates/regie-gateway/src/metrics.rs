//! How long requests took, counted for OpenMetrics.
//!
//! A histogram has fixed buckets: an observation is three additions without a lock, and what two gateways counted can be
//! added up. The bounds are finer where answers usually lie. The sum is kept in microseconds.
//!
//! [`page`] writes what a look at the gateway gave: a pool's name is the label `pool`; what the gateway answers by
//! itself (files, redirects, refusals) has `pool="none"`.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use regie_pool::Counts;

/// Upper bounds of the buckets in microseconds, and as they are written, in seconds.
const BOUNDS: [(u64, &str); 16] = [
    (500, "0.0005"),
    (1_000, "0.001"),
    (2_500, "0.0025"),
    (5_000, "0.005"),
    (10_000, "0.01"),
    (25_000, "0.025"),
    (50_000, "0.05"),
    (100_000, "0.1"),
    (250_000, "0.25"),
    (500_000, "0.5"),
    (1_000_000, "1.0"),
    (2_500_000, "2.5"),
    (5_000_000, "5.0"),
    (10_000_000, "10.0"),
    (30_000_000, "30.0"),
    (60_000_000, "60.0"),
];

/// A bucket for each bound, and one for all beyond.
const BUCKETS: usize = BOUNDS.len() + 1;

/// The media type of [`page`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Durations, counted. Any thread may observe.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [AtomicU64; BUCKETS],
    sum_us: AtomicU64,
}

impl Histogram {
    /// Counts one.
    pub fn observe(&self, took: Duration) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS.iter().position(|(bound, _)| us <= *bound).unwrap_or(BOUNDS.len());
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        self.sum_us.fetch_add(us, Ordering::Relaxed);
    }

    /// What was counted until now.
    pub fn read(&self) -> Reading {
        let mut counts = [0; BUCKETS];
        for (count, bucket) in counts.iter_mut().zip(&self.buckets) {
            *count = bucket.load(Ordering::Relaxed);
        }
        Reading { counts, sum_us: self.sum_us.load(Ordering::Relaxed) }
    }
}

/// A histogram at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reading {
    /// How many fell into each bucket, and no other.
    counts: [u64; BUCKETS],
    sum_us: u64,
}

impl Reading {
    /// How many were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
}

/// A pool at one moment.
#[derive(Debug, Clone, Copy)]
pub struct PoolLook<'a> {
    /// Its name.
    pub name: &'a str,
    /// What it is doing.
    pub counts: Counts,
    /// From a request's head to the end of its answer.
    pub took: Reading,
    /// Until a worker took the request.
    pub queued: Reading,
}

/// A gateway at one moment.
#[derive(Debug, Clone, Default)]
pub struct Look<'a> {
    /// Connections that are open.
    pub open: u64,
    /// Connections that were ever accepted.
    pub accepted: u64,
    /// Answers by the first digit of their status, from 1xx.
    pub answers: [u64; 5],
    /// What the gateway answered by itself: how long that took.
    pub own: Reading,
    /// The pools behind it.
    pub pools: Vec<PoolLook<'a>>,
}

/// The page in OpenMetrics' text form.
#[must_use]
pub fn page(look: &Look<'_>) -> String {
    let mut out = String::with_capacity(8 * 1024);
    family(&mut out, "regie_gateway_connections", "gauge", "Connections that are open.");
    let _ = writeln!(out, "regie_gateway_connections {}", look.open);
    family(&mut out, "regie_gateway_accepted_connections", "counter", "Connections that were accepted.");
    let _ = writeln!(out, "regie_gateway_accepted_connections_total {}", look.accepted);
    family(&mut out, "regie_gateway_responses", "counter", "Answers by the class of their status.");
    for (class, count) in (1..).zip(look.answers) {
        let _ = writeln!(out, "regie_gateway_responses_total{{class=\"{class}xx\"}} {count}");
    }
    let took = "From a request's head to the end of its answer.";
    family(&mut out, "regie_request_duration_seconds", "histogram", took);
    histogram(&mut out, "regie_request_duration_seconds", "none", &look.own);
    for pool in &look.pools {
        histogram(&mut out, "regie_request_duration_seconds", pool.name, &pool.took);
    }
    let queued = "Until a worker took the request.";
    family(&mut out, "regie_queue_duration_seconds", "histogram", queued);
    for pool in &look.pools {
        histogram(&mut out, "regie_queue_duration_seconds", pool.name, &pool.queued);
    }
    for row in POOL_ROWS {
        family(&mut out, row.name, row.kind, row.help);
        let suffix = if row.kind == "counter" { "_total" } else { "" };
        for pool in &look.pools {
            let (name, value) = (pool.name, (row.value)(&pool.counts));
            let _ = writeln!(out, "{}{suffix}{{pool=\"{name}\"}} {value}", row.name);
        }
    }
    out.push_str("# EOF\n");
    out
}

/// A metric that each pool has.
struct PoolRow {
    name: &'static str,
    kind: &'static str,
    help: &'static str,
    value: fn(&Counts) -> u64,
}

const POOL_ROWS: [PoolRow; 5] = [
    PoolRow {
        name: "regie_pool_workers",
        kind: "gauge",
        help: "Workers that are there.",
        value: |counts| counts.workers as u64,
    },
    PoolRow {
        name: "regie_pool_busy_workers",
        kind: "gauge",
        help: "Workers with a request.",
        value: |counts| counts.workers.saturating_sub(counts.idle) as u64,
    },
    PoolRow {
        name: "regie_pool_waiting_requests",
        kind: "gauge",
        help: "Requests that wait for a worker.",
        value: |counts| counts.waiting as u64,
    },
    PoolRow {
        name: "regie_pool_requests",
        kind: "counter",
        help: "Requests that were given to the pool.",
        value: |counts| counts.served,
    },
    PoolRow {
        name: "regie_pool_refused_requests",
        kind: "counter",
        help: "Requests that were refused: queue full, waited too long, pool out of reach.",
        value: |counts| counts.refused,
    },
];

fn family(out: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(out, "# TYPE {name} {kind}");
    if name.ends_with("_seconds") {
        let _ = writeln!(out, "# UNIT {name} seconds");
    }
    let _ = writeln!(out, "# HELP {name} {help}");
}

/// Buckets are cumulative in the text, and the last one holds all.
fn histogram(out: &mut String, name: &str, pool: &str, reading: &Reading) {
    let mut below = 0;
    for (count, bound) in reading.counts.iter().zip(BOUNDS.iter().map(|(_, text)| *text).chain(["+Inf"])) {
        below += count;
        let _ = writeln!(out, "{name}_bucket{{pool=\"{pool}\",le=\"{bound}\"}} {below}");
    }
    let sum = Duration::from_micros(reading.sum_us).as_secs_f64();
    let _ = writeln!(out, "{name}_sum{{pool=\"{pool}\"}} {sum:?}\n{name}_count{{pool=\"{pool}\"}} {below}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_grow_and_are_written_as_they_are() {
        for pair in BOUNDS.windows(2) {
            assert!(pair[0].0 < pair[1].0, "{pair:?}");
        }
        for (us, text) in BOUNDS {
            let seconds: f64 = text.parse().unwrap();
            assert!((seconds * 1e6 - us as f64).abs() < 0.5, "{text} is {us} us");
        }
    }

    #[test]
    fn each_duration_falls_into_the_first_bucket_that_holds_it() {
        for (us, bucket) in
            [(0, 0), (500, 0), (501, 1), (1_000, 1), (60_000_000, 15), (60_000_001, 16), (u64::MAX / 2, 16)]
        {
            let histogram = Histogram::default();
            histogram.observe(Duration::from_micros(us));
            let reading = histogram.read();
            assert_eq!(reading.counts.iter().position(|count| *count == 1), Some(bucket), "{us} us");
            assert_eq!((reading.count(), reading.sum_us), (1, us));
        }
    }

    #[test]
    fn the_page_adds_up() {
        let (took, queued) = (Histogram::default(), Histogram::default());
        for ms in [0, 2, 2, 700, 90_000] {
            took.observe(Duration::from_millis(ms));
        }
        queued.observe(Duration::from_micros(3));
        let counts = Counts { workers: 4, idle: 1, waiting: 2, served: 5, refused: 6 };
        let pool = PoolLook { name: "web", counts, took: took.read(), queued: queued.read() };
        let text = page(&Look {
            open: 3,
            accepted: 9,
            answers: [0, 5, 0, 0, 1],
            pools: vec![pool],
            ..Look::default()
        });
        for line in [
            "# TYPE regie_request_duration_seconds histogram",
            "# UNIT regie_request_duration_seconds seconds",
            "regie_gateway_connections 3",
            "regie_gateway_accepted_connections_total 9",
            "regie_gateway_responses_total{class=\"5xx\"} 1",
            "regie_request_duration_seconds_bucket{pool=\"web\",le=\"0.0005\"} 1",
            "regie_request_duration_seconds_bucket{pool=\"web\",le=\"0.001\"} 1",
            "regie_request_duration_seconds_bucket{pool=\"web\",le=\"0.0025\"} 3",
            "regie_request_duration_seconds_bucket{pool=\"web\",le=\"1.0\"} 4",
            "regie_request_duration_seconds_bucket{pool=\"web\",le=\"60.0\"} 4",
            "regie_request_duration_seconds_bucket{pool=\"web\",le=\"+Inf\"} 5",
            "regie_request_duration_seconds_count{pool=\"web\"} 5",
            "regie_request_duration_seconds_sum{pool=\"web\"} 90.704",
            "regie_request_duration_seconds_count{pool=\"none\"} 0",
            "regie_queue_duration_seconds_sum{pool=\"web\"} 3e-6",
            "regie_pool_busy_workers{pool=\"web\"} 3",
            "regie_pool_waiting_requests{pool=\"web\"} 2",
            "regie_pool_requests_total{pool=\"web\"} 5",
            "regie_pool_refused_requests_total{pool=\"web\"} 6",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in:\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
        let families: Vec<&str> = text.lines().filter(|line| line.starts_with("# TYPE ")).collect();
        let mut once = families.clone();
        once.dedup();
        assert_eq!(families, once, "each family once, its lines together");
    }
}
