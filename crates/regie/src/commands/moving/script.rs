//! What is asked of the application itself, through the scripts that Régie ships (`php/laravel/move.php`,
//! `php/symfony/move.php`).

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Stdio};
use std::thread;

use regie_queue::application::Application;
use serde_json::Value;

use super::Fault;
use super::progress::Meter;
use super::record::Record;
use super::symfony::is_symfony;
use crate::commands::run;
use crate::programs;
use crate::shipped;
use crate::site::Site;

/// What begins a line that is meant for us.
const MARK: u8 = 0x1e;

/// So much of what an application says when it fails is read.
const SAID_MAX: u64 = 256 << 10;

/// How long dispatching takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Times {
    /// The median, in microseconds.
    pub(super) p50_us: u64,
    /// All but one in a hundred take no longer.
    pub(super) p99_us: u64,
}

impl std::fmt::Display for Times {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.2} ms, p99 {:.2} ms", self.p50_us as f64 / 1e3, self.p99_us as f64 / 1e3)
    }
}

impl Times {
    fn of(mut us: Vec<u64>) -> Option<Self> {
        us.sort_unstable();
        let at = |share: usize| us.get((us.len() * share / 100).min(us.len().saturating_sub(1))).copied();
        Some(Self { p50_us: at(50)?, p99_us: at(99)? })
    }
}

/// What the application says of its queues, with these variables in its environment.
pub(super) fn describe(site: &Site, variables: &[(String, String)]) -> Result<Application, Fault> {
    let answer = ask_with(site, &["describe"], variables, |_, _| {})?;
    serde_json::from_value(answer)
        .map_err(|fault| Fault::failed(format!("the application's answer cannot be read: {fault}")))
}

/// How long dispatching on `connection` takes; none where it cannot be tried.
pub(super) fn dispatch(site: &Site, connection: &str, count: usize) -> Result<Option<Times>, Fault> {
    let answer = ask(site, &["dispatch", connection, &count.to_string()], |_, _| {})?;
    let times = answer["us"].as_array().map(|us| us.iter().filter_map(Value::as_u64).collect());
    Ok(Times::of(times.unwrap_or_default()))
}

/// Copies sessions or cached values.
pub(super) fn copy(site: &Site, action: &str, record: &Record, more: &[&str]) -> Result<Value, Fault> {
    let mut meter = Meter::new(action);
    let words = [&[action, &record.from, &record.to], more].concat();
    let done = ask(site, &words, |done, total| meter.show(done, total));
    meter.end();
    done
}

/// Copies the sessions of a Symfony application; both ends are addresses.
pub(super) fn copy_sessions(site: &Site, ends: &[(String, String)], since_s: u64) -> Result<Value, Fault> {
    let mut meter = Meter::new("sessions");
    let words = ["sessions", &since_s.to_string()];
    let done = ask_with(site, &words, ends, |done, total| meter.show(done, total));
    meter.end();
    done
}

/// Whether both stores are there, and can be moved between.
pub(super) fn look(site: &Site, record: &Record) -> Result<(), Fault> {
    ask(site, &["look", &record.from, &record.to], |_, _| {}).map(drop)
}

/// Laravel's batches, as it keeps them.
pub(crate) fn batches(site: &Site, most: usize) -> Result<Value, String> {
    ask(site, &["batches", &most.to_string()], |_, _| {}).map_err(|fault| fault.what)
}

/// The lines of `regie check --probe`.
pub(crate) fn probe(site: &Site, patience_s: u64) -> Result<Value, String> {
    ask(site, &["probe", &patience_s.to_string()], |_, _| {}).map_err(|fault| fault.what)
}

fn ask(site: &Site, words: &[&str], progress: impl FnMut(u64, u64)) -> Result<Value, Fault> {
    ask_with(site, words, &[], progress)
}

fn ask_with(
    site: &Site,
    words: &[&str],
    variables: &[(String, String)],
    progress: impl FnMut(u64, u64),
) -> Result<Value, Fault> {
    let name = if is_symfony(site) { "symfony/move.php" } else { "laravel/move.php" };
    let script = shipped::folder(&site.run_dir()).join(name);
    let root = site.root().display().to_string();
    let mut all = vec!["php".to_owned(), script.display().to_string(), root];
    all.extend(words.iter().map(|word| (*word).to_owned()));
    let refused =
        |fault: std::io::Error| Fault::unavailable(format!("the application cannot be asked: {fault}"));
    let mut command = run::command(site, programs::jobs_pool(site), &all).map_err(refused)?;
    command.envs(variables.iter().map(|(name, value)| (name, value)));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    hear(command.spawn().map_err(refused)?, progress)
}

fn hear(mut child: Child, mut progress: impl FnMut(u64, u64)) -> Result<Value, Fault> {
    let stderr = child.stderr.take().expect("it is piped");
    let complaints = thread::spawn(move || {
        let mut said = Vec::new();
        let mut stderr = stderr;
        // Past the limit it is read on, or the script would wait for us.
        let _ = stderr.by_ref().take(SAID_MAX).read_to_end(&mut said);
        let _ = std::io::copy(&mut stderr, &mut std::io::sink());
        String::from_utf8_lossy(&said).into_owned()
    });
    let mut outcome = None;
    let mut other = String::new();
    for line in BufReader::new(child.stdout.take().expect("it is piped")).split(b'\n').map_while(Result::ok) {
        let Some(at) = line.iter().position(|byte| *byte == MARK) else {
            let text = String::from_utf8_lossy(&line);
            if !text.trim().is_empty() {
                other = text.trim().to_owned();
            }
            continue;
        };
        let Ok(said) = serde_json::from_slice::<Value>(&line[at + 1..]) else { continue };
        if let Some(result) = said.get("result") {
            outcome = Some(Ok(result.clone()));
        } else if let Some(fault) = said["error"].as_str() {
            outcome = Some(Err(fault.to_owned()));
        } else {
            progress(said["done"].as_u64().unwrap_or_default(), said["total"].as_u64().unwrap_or_default());
        }
    }
    let status = child.wait().map_err(|fault| Fault::failed(fault.to_string()))?;
    let complaints = complaints.join().unwrap_or_default();
    match outcome {
        Some(Ok(result)) => Ok(result),
        Some(Err(fault)) => Err(Fault::failed(fault)),
        None => {
            let last = complaints.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or(&other);
            Err(Fault::failed(format!("the application has not answered ({status}): {}", last.trim())))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn quantiles_of_few_and_many() {
        assert_eq!(Times::of(Vec::new()), None);
        assert_eq!(Times::of(vec![7]), Some(Times { p50_us: 7, p99_us: 7 }));
        let many = Times::of((1..=200).rev().collect()).unwrap();
        assert_eq!(many, Times { p50_us: 101, p99_us: 199 });
        assert_eq!(many.to_string(), "0.10 ms, p99 0.20 ms");
    }

    #[test]
    fn only_marked_lines_are_heard() {
        for (script, expected, steps) in [
            (
                r#"echo noise; printf '\036{"done":3,"total":9}\n\036{"result":{"a":1}}\n'"#,
                Ok(r#"{"a":1}"#),
                3,
            ),
            (r#"printf 'notice \036{"error":"no such store"}\n'; exit 1"#, Err("no such store"), 0),
            ("echo; echo 'Class missing' >&2; exit 255", Err("Class missing"), 0),
            ("echo 'Fatal error'; exit 255", Err("Fatal error"), 0),
        ] {
            let mut command = Command::new("sh");
            command.args(["-c", script]).stdout(Stdio::piped()).stderr(Stdio::piped());
            let mut last = 0;
            let heard = hear(command.spawn().unwrap(), |done, _| last = done);
            match (heard, expected) {
                (Ok(value), Ok(text)) => assert_eq!(value.to_string(), text),
                (Err(fault), Err(text)) => assert!(fault.what.contains(text), "{}", fault.what),
                (heard, _) => panic!("{script}: {heard:?}"),
            }
            assert_eq!(last, steps);
        }
    }
}
