//! What outlives the process: the runs, and up to when the timetable is settled.
//!
//! `history.jsonl` has a run a line; past [`FILE_MAX`] it becomes `history.1.jsonl` and a new one is begun. A line
//! that a crash has cut is passed over. `settled.json` is replaced whole, so it is old or new and never half.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use crate::history::{FILE_MAX, Run};

/// The folder of one application's schedule.
#[derive(Debug, Clone)]
pub struct Files {
    folder: PathBuf,
}

impl Files {
    /// In `folder`, which is made when the first run is recorded.
    #[must_use]
    pub fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Where they are.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Makes the folder, for the application's user alone.
    ///
    /// # Errors
    ///
    /// When it cannot be made.
    pub fn make(&self) -> io::Result<()> {
        use std::os::unix::fs::DirBuilderExt as _;
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)
    }

    /// Adds `run` to the history.
    ///
    /// # Errors
    ///
    /// When the file cannot be written; what was in it stays.
    pub fn record(&self, run: &Run) -> io::Result<()> {
        self.make()?;
        let path = self.history();
        if fs::metadata(&path).is_ok_and(|file| file.len() > FILE_MAX) {
            fs::rename(&path, self.folder.join("history.1.jsonl"))?;
        }
        let mut line = serde_json::to_string(run).map_err(io::Error::other)?;
        line.push('\n');
        let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(&path)?;
        file.write_all(line.as_bytes())
    }

    /// The last `count` runs that `wanted` says yes to, the latest first.
    ///
    /// # Errors
    ///
    /// When a file is there and cannot be read.
    pub fn runs(&self, count: usize, wanted: impl Fn(&Run) -> bool) -> io::Result<Vec<Run>> {
        let mut found = Vec::new();
        for name in ["history.1.jsonl", "history.jsonl"] {
            let file = match fs::File::open(self.folder.join(name)) {
                Err(fault) if fault.kind() == io::ErrorKind::NotFound => continue,
                file => file?,
            };
            for line in BufReader::new(file).split(b'\n') {
                found.extend(serde_json::from_slice::<Run>(&line?).ok().filter(&wanted));
            }
        }
        found.reverse();
        found.truncate(count);
        Ok(found)
    }

    /// Up to when each task's times were settled. Empty when nothing is known.
    #[must_use]
    pub fn settled(&self) -> BTreeMap<String, Timestamp> {
        let text = fs::read(self.folder.join("settled.json")).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }

    /// Writes down up to when each task's times are settled.
    ///
    /// # Errors
    ///
    /// When it cannot be written; what was there stays.
    pub fn settle<'t>(&self, settled: impl Iterator<Item = (&'t str, Timestamp)>) -> io::Result<()> {
        self.make()?;
        let settled: BTreeMap<&str, Timestamp> = settled.collect();
        let fresh = self.folder.join("settled.json.new");
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
        file.write_all(&serde_json::to_vec(&settled).map_err(io::Error::other)?)?;
        // Not synced: after a power cut it may be empty, which is as if the scheduler were new.
        fs::rename(&fresh, self.folder.join("settled.json"))
    }

    fn history(&self) -> PathBuf {
        self.folder.join("history.jsonl")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::Outcome;

    fn run(task: &str, started_ms: u64, output: &str) -> Run {
        Run {
            task: task.to_owned(),
            started_ms,
            took_ms: 1,
            outcome: Outcome::Done,
            output: output.to_owned(),
        }
    }

    #[test]
    fn the_latest_runs_come_first() {
        let folder = tempfile::tempdir().unwrap();
        let files = Files::new(folder.path().join("schedule"));
        assert!(files.runs(10, |_| true).unwrap().is_empty());
        for at in 0..5 {
            files.record(&run(if at % 2 == 0 { "even" } else { "odd" }, at, "")).unwrap();
        }
        let started = |runs: Vec<Run>| runs.iter().map(|run| run.started_ms).collect::<Vec<_>>();
        assert_eq!(started(files.runs(3, |_| true).unwrap()), [4, 3, 2]);
        assert_eq!(started(files.runs(3, |run| run.task == "odd").unwrap()), [3, 1]);
    }

    #[test]
    fn a_line_that_was_cut_costs_itself() {
        let folder = tempfile::tempdir().unwrap();
        let files = Files::new(folder.path().to_owned());
        files.record(&run("a", 1, "")).unwrap();
        let path = folder.path().join("history.jsonl");
        let whole = fs::read(&path).unwrap();
        fs::write(&path, [&whole[..], &whole[..20], b"\n", &whole[..]].concat()).unwrap();
        assert_eq!(files.runs(10, |_| true).unwrap().len(), 2);
    }

    #[test]
    fn the_history_stays_small() {
        let folder = tempfile::tempdir().unwrap();
        let files = Files::new(folder.path().to_owned());
        let output = "x".repeat(1 << 20);
        for at in 0..30 {
            files.record(&run("a", at, &output)).unwrap();
        }
        let size: u64 =
            fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().metadata().unwrap().len()).sum();
        assert!(size < 2 * (FILE_MAX + (2 << 20)), "{size} bytes");
        assert_eq!(files.runs(1, |_| true).unwrap()[0].started_ms, 29);
    }

    #[test]
    fn settled_times_are_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let files = Files::new(folder.path().join("schedule"));
        assert!(files.settled().is_empty());
        let at: Timestamp = "2026-11-21T10:00:00Z".parse().unwrap();
        files.settle([("a", at)].into_iter()).unwrap();
        assert_eq!(files.settled()["a"], at);
    }
}
