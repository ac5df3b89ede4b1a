//! `[workers] horizon = "replace"`: each supervisor of config/horizon.php is a group of workers.
//!
//! config/horizon.php is PHP, so only the application can tell what it says: the jobs role asks it, writes the answer to
//! `jobs/horizon.json` of the state folder, and has the supervisor read its configuration again. At the next start the
//! groups are there at once. A group of the same name in regie.toml takes the place of the supervisor's.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use regie_config::values::{Framework, HorizonUse};
use regie_config::workers::Workers;
use regie_core::{ByteSize, Span};
use regie_queue::application::HorizonSupervisor;
use serde_json::Value;

use crate::own_workers;
use crate::site::Site;

type Supervisors = BTreeMap<String, HorizonSupervisor>;

/// Whether Régie takes Horizon's place here.
pub(crate) fn is_replaced(site: &Site) -> bool {
    site.loaded.config.all_workers.horizon == HorizonUse::Replace
        && site.loaded.application.framework == Framework::Laravel
}

fn path(site: &Site) -> PathBuf {
    site.state_dir().join("jobs").join("horizon.json")
}

/// The groups that were written down.
pub(crate) fn groups(site: &Site) -> BTreeMap<String, Workers> {
    known(site).iter().map(|(name, supervisor)| (group_name(name), group(supervisor))).collect()
}

fn known(site: &Site) -> Supervisors {
    // What cannot be read is written anew by the jobs role.
    fs::read(path(site)).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default()
}

/// Writes down what the application says. Whether that changes anything.
///
/// # Errors
/// When it cannot be written down.
pub(crate) fn write_down(site: &Site, now: &Supervisors) -> io::Result<bool> {
    if known(site) == *now {
        return Ok(false);
    }
    own_workers::put(&path(site), now)?;
    Ok(true)
}

/// What a group is called: it stands in file names.
fn group_name(name: &str) -> String {
    const NAME_MAX: usize = 48;
    let sound = |c: char| if c.is_ascii_alphanumeric() || c == '_' || c == '-' { c } else { '-' };
    name.chars().map(sound).take(NAME_MAX).collect()
}

/// A supervisor as a group, with Horizon's own defaults.
fn group(supervisor: &HorizonSupervisor) -> Workers {
    let connection = supervisor.connection();
    let queues = supervisor.queues();
    let balanced = matches!(supervisor.balance.as_str(), Some("auto" | "simple"));
    let most = number(&supervisor.max_processes).or(number(&supervisor.processes)).unwrap_or(1).max(1);
    let fewest = match supervisor.balance.as_str() {
        // It has always all of them.
        Some("simple") => most,
        _ => {
            let each = number(&supervisor.min_processes).unwrap_or(1).max(1);
            if balanced { each * queues.len() as u64 } else { each }
        }
    };
    let small = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
    let seconds = |value: &Value, default| Span(Duration::from_secs(number(value).unwrap_or(default)));
    let mut group = Workers::default();
    group.weights = if balanced && queues.len() > 1 { vec![1; queues.len()] } else { Vec::new() };
    group.queues = queues.into_iter().map(|queue| format!("{connection}:{queue}")).collect();
    group.min = small(fewest.min(most));
    group.max = small(most);
    group.tries = small(number(&supervisor.tries).unwrap_or(0));
    group.timeout = seconds(&supervisor.timeout, 60);
    group.memory = Some(ByteSize(number(&supervisor.memory).unwrap_or(128) << 20));
    group.backoff = backoff(&supervisor.backoff);
    group.max_time = seconds(&supervisor.max_time, 0);
    group.max_jobs = small(number(&supervisor.max_jobs).unwrap_or(0));
    group.maintenance = supervisor.force == Value::Bool(true);
    group
}

/// A number, as PHP or an environment variable has it.
fn number(value: &Value) -> Option<u64> {
    match value {
        Value::Number(number) => number.as_u64().or(number.as_f64().map(|number| number.max(0.0) as u64)),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

fn backoff(value: &Value) -> Vec<Span> {
    let span = |seconds| Span(Duration::from_secs(seconds));
    match value {
        Value::Array(waits) => waits.iter().filter_map(number).map(span).collect(),
        Value::String(waits) => {
            waits.split(',').filter_map(|wait| wait.trim().parse().ok()).map(span).collect()
        }
        other => vec![span(number(other).unwrap_or(0))],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(json: &str, expected: &str) {
        let group = group(&serde_json::from_str(json).unwrap());
        let waits: Vec<u64> = group.backoff.iter().map(|wait| wait.0.as_secs()).collect();
        let told = format!(
            "{} {:?} {}-{} tries {} timeout {} backoff {waits:?} memory {} time {} jobs {} {}",
            group.queues.join(","),
            group.weights,
            group.min,
            group.max,
            group.tries,
            group.timeout.0.as_secs(),
            group.memory.map_or(0, |memory| memory.0 >> 20),
            group.max_time.0.as_secs(),
            group.max_jobs,
            group.maintenance,
        );
        assert_eq!(told, expected, "{json}");
    }

    #[test]
    fn a_supervisor_is_a_group() {
        // As laravel/horizon's own configuration file has it.
        check(
            r#"{"connection":"redis","queue":["default"],"balance":"auto","maxProcesses":10,"maxTime":0,"maxJobs":0,
                "memory":128,"tries":1,"timeout":60,"nice":0}"#,
            "redis:default [] 1-10 tries 1 timeout 60 backoff [0] memory 128 time 0 jobs 0 false",
        );
        check(
            r#"{"connection":"redis-long","queue":["high","low"],"balance":"auto","minProcesses":2,"maxProcesses":3,
                "tries":"3","timeout":3600,"backoff":[1,5],"maxTime":3600,"maxJobs":500,"memory":64,"force":true}"#,
            "redis-long:high,redis-long:low [1, 1] 3-3 tries 3 timeout 3600 backoff [1, 5] memory 64 time 3600 jobs 500 true",
        );
        check(
            r#"{"queue":"high, low","balance":false,"minProcesses":1,"maxProcesses":4,"backoff":"3,9"}"#,
            "redis:high,redis:low [] 1-4 tries 0 timeout 60 backoff [3, 9] memory 128 time 0 jobs 0 false",
        );
        check(
            r#"{"queue":["a","b"],"balance":"simple","processes":6}"#,
            "redis:a,redis:b [1, 1] 6-6 tries 0 timeout 60 backoff [0] memory 128 time 0 jobs 0 false",
        );
        check("{}", "redis:default [] 1-1 tries 0 timeout 60 backoff [0] memory 128 time 0 jobs 0 false");
        assert_eq!(group_name("supervisor 1/é"), "supervisor-1--");
    }
}
