//! Which jobs of a database this runner has leased, in a file that its successor reads after a kill.
//!
//! A database keeps no word of who has leased a row. So the runner writes the numbers of the rows here before the
//! step that leases them, and again when they are settled; a lease that was written down and never taken is told from
//! one that was by looking at the row. The file is not synced: it is to survive the process. When the machine goes
//! down, the framework's own `retry_after` brings the jobs back.
//!
//! ```text
//! + default 1795257093 1 17 18 19     leased from a queue at a second, with attempts then begun
//! - 17 18                             settled
//! = 1795257123                        all that are leased were kept alive at this second
//! ```
//!
//! The file is locked while a runner lives: a second one would take the first one's work for that of a dead one.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::str::Split;

use nix::fcntl::{Flock, FlockArg};

/// A lease as it was written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The queue.
    pub queue: String,
    /// The second of the lease.
    pub since: i64,
    /// The attempts begun, this one included.
    pub attempts: i64,
}

impl Entry {
    /// Whether a row that was taken at `second` can be this lease, which was kept alive for the last time at `beat`. That is
    /// before the lease was taken where the clock was set back since.
    #[must_use]
    pub fn was_alive_at(&self, second: i64, beat: i64) -> bool {
        (self.since.min(beat)..=self.since.max(beat)).contains(&second)
    }
}

/// See the module.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: Flock<File>,
    live: BTreeMap<i64, Entry>,
    /// The last second at which all of them were alive.
    beat: i64,
    lines: usize,
}

/// Lines after which the file is written anew with what is live.
const LINES_MAX: usize = 10_000;

impl Journal {
    /// Opens the file at `path` and reads what a predecessor left.
    ///
    /// # Errors
    ///
    /// When it cannot be opened, or another runner has it ([`io::ErrorKind::WouldBlock`]).
    pub fn open(path: &Path) -> io::Result<Self> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)?;
        let file = Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, fault)| fault)?;
        let mut journal = Self { path: path.to_owned(), file, live: BTreeMap::new(), beat: 0, lines: 0 };
        // Whole, it is what the file was about to become.
        let beside = fs::read_to_string(path.with_extension("anew")).ok().filter(|text| is_whole(text));
        for line in beside.map_or_else(|| fs::read_to_string(path), Ok)?.lines() {
            journal.read(line);
        }
        journal.write_anew()?;
        Ok(journal)
    }

    /// The leases that were not settled.
    #[must_use]
    pub const fn live(&self) -> &BTreeMap<i64, Entry> {
        &self.live
    }

    /// The last second at which they were known to be alive.
    #[must_use]
    pub const fn beat(&self) -> i64 {
        self.beat
    }

    /// To be called before the step that leases.
    ///
    /// # Errors
    ///
    /// When it cannot be written; then nothing may be leased.
    pub fn lease(&mut self, queue: &str, since: i64, jobs: &[(i64, i64)]) -> io::Result<()> {
        let mut by_attempts: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
        for (id, attempts) in jobs {
            by_attempts.entry(*attempts).or_default().push(*id);
        }
        let mut text = String::new();
        for (attempts, ids) in &by_attempts {
            text.push_str(&format!("+ {} {since} {attempts}{}\n", escape(queue), list(ids)));
        }
        self.append(&text)?;
        self.beat = self.beat.max(since);
        for (id, attempts) in jobs {
            let entry = Entry { queue: queue.to_owned(), since, attempts: *attempts };
            self.live.insert(*id, entry);
        }
        Ok(())
    }

    /// To be called after the step that settles, or that turned out to have leased nothing.
    ///
    /// # Errors
    ///
    /// When it cannot be written: a successor then looks at rows that are no longer leased.
    pub fn settled(&mut self, ids: &[i64]) -> io::Result<()> {
        let known: Vec<i64> = ids.iter().copied().filter(|id| self.live.remove(id).is_some()).collect();
        if known.is_empty() {
            return Ok(());
        }
        self.append(&format!("-{}\n", list(&known)))?;
        if self.lines > LINES_MAX && self.lines > 4 * self.live.len() { self.write_anew() } else { Ok(()) }
    }

    /// To be called before the step that keeps all leases alive.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn beat_at(&mut self, second: i64) -> io::Result<()> {
        self.beat = second;
        self.append(&format!("= {second}\n"))
    }

    fn append(&mut self, text: &str) -> io::Result<()> {
        self.lines += text.bytes().filter(|byte| *byte == b'\n').count();
        self.file.write_all(text.as_bytes())
    }

    /// A line that a kill has cut is the last one, and of a step that was not taken.
    fn read(&mut self, line: &str) {
        let mut words = line.split(' ');
        let numbers = |words: Split<'_, char>| -> Vec<i64> { words.filter_map(|w| w.parse().ok()).collect() };
        match words.next() {
            Some("+") => {
                let Some(queue) = words.next().map(unescape) else { return };
                let numbers = numbers(words);
                let [since, attempts, ids @ ..] = numbers.as_slice() else { return };
                self.beat = self.beat.max(*since);
                for id in ids {
                    let entry = Entry { queue: queue.clone(), since: *since, attempts: *attempts };
                    self.live.insert(*id, entry);
                }
            }
            Some("-") => {
                for id in numbers(words) {
                    self.live.remove(&id);
                }
            }
            Some("=") => self.beat = numbers(words).first().copied().unwrap_or(self.beat),
            _ => {}
        }
    }

    /// Writes only what is live. The file stays the same one, since it is what is locked.
    fn write_anew(&mut self) -> io::Result<()> {
        let mut text = String::new();
        for (id, entry) in &self.live {
            let Entry { queue, since, attempts } = entry;
            text.push_str(&format!("+ {} {since} {attempts} {id}\n", escape(queue)));
        }
        text.push_str(&format!("= {}\n", self.beat));
        // A kill between the two steps would lose what is live, so it is kept beside until the file is whole.
        let beside = self.path.with_extension("anew");
        fs::write(&beside, &text)?;
        self.file.set_len(0)?;
        self.lines = 0;
        self.append(&text)?;
        fs::remove_file(&beside)
    }
}

/// Whether a file that was written anew has its last line.
fn is_whole(text: &str) -> bool {
    text.ends_with('\n') && text.lines().last().is_some_and(|line| line.starts_with("= "))
}

fn list(ids: &[i64]) -> String {
    ids.iter().map(|id| format!(" {id}")).collect()
}

/// Names of queues may have spaces.
fn escape(queue: &str) -> String {
    queue.replace('%', "%25").replace(' ', "%20").replace('\n', "%0A")
}

fn unescape(text: &str) -> String {
    text.replace("%20", " ").replace("%0A", "\n").replace("%25", "%")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn live(journal: &Journal) -> Vec<(i64, &str, i64, i64)> {
        journal.live().iter().map(|(id, e)| (*id, e.queue.as_str(), e.since, e.attempts)).collect()
    }

    #[test]
    fn a_successor_finds_what_was_not_settled() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run/leases");
        let mut first = Journal::open(&path).unwrap();
        first.lease("two words", 100, &[(1, 1), (2, 1), (3, 4)]).unwrap();
        first.settled(&[1, 99]).unwrap();
        first.lease("other", 105, &[(7, 1)]).unwrap();
        first.beat_at(130).unwrap();
        assert_eq!(Journal::open(&path).unwrap_err().kind(), io::ErrorKind::WouldBlock, "it is another's");
        drop(first);
        let second = Journal::open(&path).unwrap();
        let expected = [(2, "two words", 100, 1), (3, "two words", 100, 4), (7, "other", 105, 1)];
        assert_eq!(live(&second), expected);
        assert_eq!(second.beat(), 130);
        drop(second);
        assert_eq!(live(&Journal::open(&path).unwrap()), expected, "written anew, it says the same");
    }

    #[test]
    fn it_stays_small() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("leases");
        let mut journal = Journal::open(&path).unwrap();
        journal.lease("default", 1, &[(0, 1)]).unwrap();
        for id in 1..40_000 {
            journal.lease("default", 1, &[(id, 1)]).unwrap();
            journal.settled(&[id]).unwrap();
        }
        assert!(fs::metadata(&path).unwrap().len() < 400_000);
        assert_eq!(live(&journal), [(0, "default", 1, 1)]);
    }

    #[test]
    fn a_kill_in_the_middle_of_a_line_or_of_writing_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("leases");
        fs::write(&path, "+ default 100 1 5\n= 100\n+ default 101").unwrap();
        assert_eq!(live(&Journal::open(&path).unwrap()), [(5, "default", 100, 1)]);
        fs::write(&path, "").unwrap();
        fs::write(path.with_extension("anew"), "+ default 100 1 5\n= 100\n").unwrap();
        assert_eq!(live(&Journal::open(&path).unwrap()), [(5, "default", 100, 1)]);
        fs::write(path.with_extension("anew"), "+ default 100 1 6\n").unwrap();
        assert_eq!(live(&Journal::open(&path).unwrap()), [(5, "default", 100, 1)], "half of it is none");
    }
}
