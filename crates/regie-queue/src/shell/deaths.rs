//! How many workers have died of which job, in a file: a job that kills its workers is parked after the same number of
//! them, however often the runner begins anew meanwhile.
//!
//! `{"format":1,"jobs":{"ID":[deaths, second of the last]}}`, written whole beside the old one and put in its place, at each
//! death: those are rare, and a booting worker costs more. A job that is not met again is forgotten after a week. A file
//! that cannot be read, or is of a newer version, counts nothing: at worst a job has three workers more.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::clock::unix;

/// The form of the file.
const FORMAT: u32 = 1;

/// Seconds for which a death is remembered.
const KEPT_S: u64 = 7 * 24 * 3600;

#[derive(Debug, Default, Serialize, Deserialize)]
struct Written {
    format: u32,
    jobs: HashMap<String, (u32, u64)>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Deaths {
    path: Option<PathBuf>,
    jobs: HashMap<String, (u32, u64)>,
}

impl Deaths {
    /// Reads the file, where there is one; without a path nothing is kept.
    pub(super) fn open(path: Option<&Path>) -> Self {
        let read = path.and_then(|path| fs::read(path).ok());
        let written: Option<Written> = read.and_then(|text| serde_json::from_slice(&text).ok());
        let jobs = written.filter(|written| written.format == FORMAT).unwrap_or_default().jobs;
        let mut deaths = Self { path: path.map(Path::to_owned), jobs };
        deaths.forget(unix().as_secs());
        deaths
    }

    fn forget(&mut self, now_s: u64) {
        // One of the future was written before the clock was set back: it is as young as can be.
        self.jobs.retain(|_, (_, last)| now_s.saturating_sub(*last) <= KEPT_S);
    }

    /// Each job's deaths.
    pub(super) fn counts(&self) -> impl Iterator<Item = (String, u32)> {
        self.jobs.iter().map(|(id, (count, _))| (id.clone(), *count))
    }

    /// Writes down what is known now.
    pub(super) fn write(&mut self, counts: &[(String, u32)]) -> io::Result<()> {
        let Some(path) = &self.path else { return Ok(()) };
        let now = unix().as_secs();
        let jobs = counts.iter().map(|(id, count)| {
            let last = self.jobs.get(id).filter(|(before, _)| before == count).map_or(now, |(_, last)| *last);
            (id.clone(), (*count, last))
        });
        let written = Written { format: FORMAT, jobs: jobs.collect() };
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let beside = path.with_extension("anew");
        fs::write(&beside, serde_json::to_vec(&written)?)?;
        fs::rename(beside, path)?;
        self.jobs = written.jobs;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deaths_are_remembered_for_a_week() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("jobs/deaths.json");
        let mut deaths = Deaths::open(Some(&path));
        assert_eq!(deaths.counts().count(), 0);
        deaths.write(&[("a".to_owned(), 2), ("b".to_owned(), 1)]).unwrap();
        deaths.write(&[("a".to_owned(), 2)]).unwrap();
        let mut deaths = Deaths::open(Some(&path));
        assert_eq!(deaths.counts().collect::<Vec<_>>(), [("a".to_owned(), 2)]);
        let last = deaths.jobs["a"].1;
        // The clock has been set back an hour, or a week has passed.
        deaths.forget(last - 3600);
        assert_eq!(deaths.counts().count(), 1);
        deaths.forget(last + KEPT_S + 1);
        assert_eq!(deaths.counts().count(), 0);
        for text in ["", "{", r#"{"format":2,"jobs":{"a":[2,9999999999]}}"#] {
            fs::write(&path, text).unwrap();
            assert_eq!(Deaths::open(Some(&path)).counts().count(), 0, "{text}");
        }
    }
}
