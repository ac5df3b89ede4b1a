//! The numbers of all queues as OpenMetrics text, which Prometheus and the OpenTelemetry collector read.
//!
//! | family | kind | labels |
//! |---|---|---|
//! | `regie_queue_waiting`, `_delayed`, `_reserved`, `_parked` | gauge | queue |
//! | `regie_queue_oldest_seconds` | gauge | queue; where the head tells it |
//! | `regie_queue_paused` | gauge, 0 or 1 | queue |
//! | `regie_queue_jobs_per_second` | gauge, over the last ten seconds | queue |
//! | `regie_queue_runs_total` | counter | queue, end: done, failed, released, died, parked |
//! | `regie_queue_wait_seconds`, `regie_queue_run_seconds` | histogram | queue |
//! | `regie_workers`, `regie_workers_busy` | gauge | group |
//!
//! Counters and histograms begin at 0 with the `jobs` program.

use std::fmt::Write as _;

use super::runner::{GroupStats, QueueStats};
use crate::record::{BOUNDS_US, Spread};

/// What the page is.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

type OfQueue = fn(&QueueStats) -> Option<f64>;
type SpreadOf = fn(&QueueStats) -> &Spread;
type OfGroup = fn(&GroupStats) -> usize;

/// The page.
#[must_use]
pub fn page(groups: &[GroupStats]) -> String {
    let mut out = String::with_capacity(8 * 1024);
    let queues: Vec<&QueueStats> = groups.iter().flat_map(|group| &group.queues).collect();
    let gauges: [(&str, &str, OfQueue); 7] = [
        ("waiting", "Jobs that could run now.", |queue| Some(queue.waiting as f64)),
        ("delayed", "Jobs whose time has not come.", |queue| Some(queue.delayed as f64)),
        ("reserved", "Jobs that are leased, by whom ever.", |queue| Some(queue.reserved as f64)),
        ("parked", "Jobs that were taken out: they kill workers, or are none.", |queue| {
            queue.parked.map(|count| count as f64)
        }),
        ("oldest_seconds", "How long the first job that waits has waited.", |queue| {
            queue.oldest_s.map(|seconds| seconds as f64)
        }),
        ("paused", "Whether it is paused.", |queue| Some(f64::from(u8::from(queue.paused)))),
        ("jobs_per_second", "Runs per second, over the last ten.", |queue| Some(queue.jobs_per_second)),
    ];
    for (name, help, of) in gauges {
        head(&mut out, &format!("regie_queue_{name}"), "gauge", help);
        for queue in &queues {
            if let Some(value) = of(queue) {
                line(&mut out, &format!("regie_queue_{name}"), &labels(&[("queue", &queue.queue)]), value);
            }
        }
    }
    head(&mut out, "regie_queue_runs", "counter", "Runs that have ended, and how.");
    for queue in &queues {
        let totals = queue.totals;
        for (end, count) in [
            ("done", totals.done),
            ("failed", totals.failed),
            ("released", totals.released),
            ("died", totals.died),
            ("parked", totals.parked),
        ] {
            let labels = labels(&[("queue", &queue.queue), ("end", end)]);
            line(&mut out, "regie_queue_runs_total", &labels, count as f64);
        }
    }
    let spreads: [(&str, &str, SpreadOf); 2] = [
        ("regie_queue_wait_seconds", "How long jobs waited in the queue, where that is known.", |queue| {
            &queue.waits
        }),
        ("regie_queue_run_seconds", "How long they ran.", |queue| &queue.runs),
    ];
    for (name, help, of) in spreads {
        head(&mut out, name, "histogram", help);
        for queue in &queues {
            spread(&mut out, name, &queue.queue, of(queue));
        }
    }
    let groups_of: [(&str, &str, OfGroup); 2] = [
        ("regie_workers", "Workers that are there.", |group| group.workers),
        ("regie_workers_busy", "Workers that have a job.", |group| group.busy),
    ];
    for (name, help, of) in groups_of {
        head(&mut out, name, "gauge", help);
        for group in groups {
            line(&mut out, name, &labels(&[("group", &group.name)]), of(group) as f64);
        }
    }
    out.push_str("# EOF\n");
    out
}

fn head(out: &mut String, name: &str, kind: &str, help: &str) {
    // A String takes everything.
    let _ = writeln!(out, "# TYPE {name} {kind}\n# HELP {name} {help}");
}

fn line(out: &mut String, name: &str, labels: &str, value: f64) {
    let _ = writeln!(out, "{name}{labels} {value}");
}

fn labels(pairs: &[(&str, &str)]) -> String {
    let escaped = |value: &str| value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    let pairs: Vec<String> =
        pairs.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
    format!("{{{}}}", pairs.join(","))
}

fn spread(out: &mut String, name: &str, queue: &str, spread: &Spread) {
    let mut below = 0;
    for (bound, count) in BOUNDS_US.iter().zip(&spread.counts) {
        below += count;
        let bound = (*bound as f64 / 1e6).to_string();
        let labels = labels(&[("queue", queue), ("le", &bound)]);
        line(out, &format!("{name}_bucket"), &labels, below as f64);
    }
    let all = spread.counts.iter().sum::<u64>() as f64;
    line(out, &format!("{name}_bucket"), &labels(&[("queue", queue), ("le", "+Inf")]), all);
    line(out, &format!("{name}_count"), &labels(&[("queue", queue)]), all);
    line(out, &format!("{name}_sum"), &labels(&[("queue", queue)]), spread.sum_us as f64 / 1e6);
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::record::{End, Meter};

    #[test]
    fn every_number_has_its_line() {
        let mut meter = Meter::default();
        for (ms, end) in [(1, End::Done), (3, End::Done), (2_000, End::Failed), (9_999_999, End::Died)] {
            let span = Duration::from_millis(ms);
            meter.count(Duration::from_secs(100), end, Some(span), span);
        }
        let queue = QueueStats {
            queue: "redis:a\"b".to_owned(),
            workers: "default".to_owned(),
            waiting: 3,
            delayed: 0,
            reserved: 1,
            parked: Some(2),
            oldest_s: None,
            running: 1,
            paused: true,
            jobs_per_second: 0.5,
            wait: meter.waits(),
            run: meter.runs(),
            totals: meter.totals(),
            waits: meter.all_waits().clone(),
            runs: meter.all_runs().clone(),
            trouble: None,
        };
        let group = GroupStats {
            name: "default".to_owned(),
            workers: 2,
            busy: 1,
            queues: vec![queue],
            limits: Vec::new(),
        };
        let page = page(&[group]);
        for expected in [
            "# TYPE regie_queue_waiting gauge\n",
            "regie_queue_waiting{queue=\"redis:a\\\"b\"} 3\n",
            "regie_queue_parked{queue=\"redis:a\\\"b\"} 2\n",
            "regie_queue_paused{queue=\"redis:a\\\"b\"} 1\n",
            "regie_queue_jobs_per_second{queue=\"redis:a\\\"b\"} 0.5\n",
            "# TYPE regie_queue_runs counter\n",
            "regie_queue_runs_total{queue=\"redis:a\\\"b\",end=\"done\"} 2\n",
            "regie_queue_runs_total{queue=\"redis:a\\\"b\",end=\"died\"} 1\n",
            "regie_queue_run_seconds_bucket{queue=\"redis:a\\\"b\",le=\"0.001\"} 1\n",
            "regie_queue_run_seconds_bucket{queue=\"redis:a\\\"b\",le=\"0.005\"} 2\n",
            "regie_queue_run_seconds_bucket{queue=\"redis:a\\\"b\",le=\"3600\"} 3\n",
            "regie_queue_run_seconds_bucket{queue=\"redis:a\\\"b\",le=\"+Inf\"} 4\n",
            "regie_queue_wait_seconds_count{queue=\"redis:a\\\"b\"} 4\n",
            "regie_workers_busy{group=\"default\"} 1\n",
        ] {
            assert!(page.contains(expected), "{expected} in\n{page}");
        }
        assert!(!page.contains("regie_queue_oldest_seconds{"), "what is not known has no line");
        assert!(page.ends_with("# EOF\n"));
    }
}
