//! An application's own schedule, asked and run through the script that Régie ships for its framework.
//!
//! `describe` prints a [`Scheduled`] a line. `run EVENTS` does what the framework's own cron entry does, and adds a
//! [`Run`] to the file for each task that ended; `one EVENTS NAME` runs one task.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::tz::TimeZone;
use regie_core::cron::Expression;
use serde::{Deserialize, Serialize};

use crate::history::Run;
use crate::when::{Reading, When};

/// A task as the framework describes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scheduled {
    /// Its description, command, or what stands for it; unique in the schedule.
    pub name: String,
    /// Its cron expression, in the framework's syntax.
    pub expression: String,
    /// The time zone in which it is meant.
    pub timezone: String,
    /// Repeated within the minute, each so many seconds.
    #[serde(default)]
    pub repeat_seconds: Option<u32>,
    /// Not started while it runs.
    pub without_overlapping: bool,
    /// Run by one of several machines.
    pub on_one_server: bool,
    /// Not waited for.
    pub in_background: bool,
}

impl Scheduled {
    /// Its times, where expression and zone are ones that we read too.
    #[must_use]
    pub fn when(&self) -> Option<When> {
        let expression: Expression = self.expression.parse().ok()?;
        let zone = TimeZone::get(&self.timezone).ok()?;
        Some(When { expression, zone, reading: Reading::AsShown })
    }
}

/// Reads what `describe` printed; a line that is none of ours, such as a deprecation notice, is passed over.
#[must_use]
pub fn read_description(output: &str) -> Vec<Scheduled> {
    output.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// The file in which one run of the script tells what became of the tasks.
#[derive(Debug)]
pub struct Events {
    path: PathBuf,
}

impl Events {
    /// A new one in `folder`.
    #[must_use]
    pub fn new(folder: &Path) -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        Self { path: folder.join(format!("events.{}.{number}.jsonl", std::process::id())) }
    }

    /// `command` with what asks the script to run what is due.
    #[must_use]
    pub fn run(&self, mut command: Command) -> Command {
        command.arg("run").arg(&self.path);
        command
    }

    /// `command` with what asks the script to run the task called `name`.
    #[must_use]
    pub fn one(&self, mut command: Command, name: &str) -> Command {
        command.arg("one").arg(&self.path).arg(name);
        command
    }

    /// The runs that were told, in the order in which they ended.
    ///
    /// # Errors
    ///
    /// When the file is there and cannot be read.
    pub fn read(&self) -> io::Result<Vec<Run>> {
        match fs::read_to_string(&self.path) {
            Err(fault) if fault.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            text => Ok(text?.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()),
        }
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        // When nothing was due, it was never made.
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_framework_s_words_are_understood() {
        let output = concat!(
            "Deprecated: something old\n",
            r#"{"name":"report","expression":"0 3 L * *","timezone":"Europe/Paris","repeat_seconds":null,"#,
            r#""without_overlapping":true,"on_one_server":false,"in_background":false}"#,
            "\n"
        );
        let tasks = read_description(output);
        assert_eq!(tasks.len(), 1);
        assert!(tasks[0].without_overlapping && tasks[0].when().is_some());
        let odd = Scheduled { timezone: "Mars/Olympus".to_owned(), ..tasks[0].clone() };
        assert!(odd.when().is_none());
    }
}
