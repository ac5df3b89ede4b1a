//! Which queues the operator has paused, in a file: a restart of the runner is no reason to go on with them.
//!
//! The file is a JSON list of names (`redis:default`), written whole beside the old one and put in its place. One that
//! cannot be read pauses nothing and says so: it is better to run jobs than to keep them for a reason nobody knows.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// See the module.
#[derive(Debug, Default)]
pub struct Pauses {
    path: PathBuf,
    names: Mutex<BTreeSet<String>>,
}

impl Pauses {
    /// Reads the file at `path`, where there is one.
    ///
    /// # Errors
    /// When it cannot be read, with what is used instead: nothing is paused, and the next change writes it anew.
    pub fn open(path: &Path) -> (Self, Option<io::Error>) {
        let read = match fs::read(path) {
            Err(fault) if fault.kind() == io::ErrorKind::NotFound => Ok(BTreeSet::new()),
            Err(fault) => Err(fault),
            Ok(text) => serde_json::from_slice(&text).map_err(io::Error::other),
        };
        let (names, fault) = match read {
            Ok(names) => (names, None),
            Err(fault) => (BTreeSet::new(), Some(fault)),
        };
        (Self { path: path.to_owned(), names: Mutex::new(names) }, fault)
    }

    /// Whether this queue is paused.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.names.lock().unwrap_or_else(PoisonError::into_inner).contains(name)
    }

    /// Writes down that these queues are paused, or go on.
    ///
    /// # Errors
    /// When the file cannot be written: what was said holds until the runner is restarted.
    pub fn set(&self, queues: &[String], paused: bool) -> io::Result<()> {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        for queue in queues {
            let _changed = if paused { names.insert(queue.clone()) } else { names.remove(queue) };
        }
        if let Some(folder) = self.path.parent() {
            fs::create_dir_all(folder)?;
        }
        let beside = self.path.with_extension("anew");
        fs::write(&beside, serde_json::to_vec(&*names)?)?;
        fs::rename(beside, &self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_paused_stays_paused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("jobs/paused.json");
        let open = || {
            let (pauses, fault) = Pauses::open(&path);
            assert!(fault.is_none(), "{fault:?}");
            pauses
        };
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        open().set(&names(&["redis:default", "redis:high"]), true).unwrap();
        open().set(&names(&["redis:high", "redis:other"]), false).unwrap();
        let pauses = open();
        assert!(pauses.has("redis:default") && !pauses.has("redis:high") && !pauses.has("default"));
        fs::write(&path, "[\"redis:default").unwrap();
        let (pauses, fault) = Pauses::open(&path);
        assert!(fault.is_some() && !pauses.has("redis:default"));
        pauses.set(&names(&["a:b"]), true).unwrap();
        assert!(open().has("a:b"), "it is written anew");
    }
}
