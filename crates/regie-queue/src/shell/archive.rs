//! What became of each job, on disk: so that it can be looked up after a restart, and for longer than memory allows.
//!
//! ```text
//! 0001795257093000.runs      named by the millisecond at which it was begun
//!   {"regie_runs":1}         the format; what is of a later one is left alone
//!   {"id":"…","class":…}     a run a line, as `regie queue runs --json` shows it
//! ```
//!
//! A thread of its own writes, so that no job waits for the disk. Runs that come faster than the disk takes them are
//! left out and counted. Files are begun anew at `FILE_MAX`; the oldest go when all of them together pass
//! `ALL_MAX`, or their last run is older than `KEEP`. Nothing is synced: this is a record, and not what jobs are
//! lost or found by. A line that a kill has cut short is passed over.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use super::clock::unix;
use crate::record::{Run, Wanted};

/// Bytes of one file.
const FILE_MAX: u64 = 8 * 1024 * 1024;

/// Bytes of all files.
const ALL_MAX: u64 = 128 * 1024 * 1024;

/// How long runs are kept.
const KEEP: Duration = Duration::from_secs(7 * 24 * 3600);

/// Runs that wait for the disk, or for [`GATHER`].
const WAITING_MAX: usize = 10_000;

/// Runs that are written at once.
const TOGETHER_MAX: usize = 1_000;

/// How long the first run waits for others to be written with: a write for each is a quarter of what the runner does.
const GATHER: Duration = Duration::from_millis(10);

/// The first line of each file.
const FORMAT: &str = "{\"regie_runs\":1}";

const ENDING: &str = "runs";

enum Order {
    Write(Box<Run>),
    /// Answered when all before it is written.
    Settle(SyncSender<()>),
}

/// See the module.
#[derive(Debug)]
pub struct Archive {
    folder: PathBuf,
    orders: SyncSender<Order>,
    left_out: AtomicU64,
}

impl Archive {
    /// Keeps runs in `folder`, which belongs to this process alone.
    ///
    /// # Errors
    /// When the folder cannot be made, or no thread be started.
    pub fn open(folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let (orders, inbox) = sync_channel(WAITING_MAX);
        let writer = Writer { folder: folder.to_owned(), file: None, limits: (FILE_MAX, ALL_MAX) };
        std::thread::Builder::new().name("runs".to_owned()).spawn(move || writer.serve(&inbox))?;
        Ok(Self { folder: folder.to_owned(), orders, left_out: AtomicU64::new(0) })
    }

    /// Writes `run` down, soon.
    pub fn put(&self, run: Run) {
        if self.orders.try_send(Order::Write(Box::new(run))).is_err() {
            self.left_out.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Runs that were not written down since the start, because they came too fast.
    #[must_use]
    pub fn left_out(&self) -> u64 {
        self.left_out.load(Ordering::Relaxed)
    }

    /// The runs that are wanted, the latest first. Reads files: not for a thread that others wait for.
    #[must_use]
    pub fn find(&self, wanted: &Wanted, most: usize) -> Vec<Run> {
        let (told, written) = sync_channel(1);
        if self.orders.send(Order::Settle(told)).is_ok() {
            // A writer that is gone has written what it could.
            let _ = written.recv();
        }
        let files = files(&self.folder).unwrap_or_default();
        let mut found = Vec::new();
        let mut next_begun = u64::MAX;
        for (begun, path) in files.iter().rev() {
            // All that is in it ended before the next one was begun.
            if next_begun < wanted.since_ms {
                break;
            }
            next_begun = *begun;
            // One that cannot be read now, or has just gone, is no reason to keep the others back.
            let mut here = read(path, wanted).unwrap_or_default();
            here.reverse();
            found.append(&mut here);
            if found.len() >= most {
                break;
            }
        }
        found.truncate(most);
        found
    }
}

/// The runs of a file that are wanted, the earliest first.
fn read(path: &Path, wanted: &Wanted) -> io::Result<Vec<Run>> {
    let mut lines = BufReader::new(File::open(path)?).lines();
    if !matches!(lines.next(), Some(Ok(line)) if line == FORMAT) {
        return Ok(Vec::new());
    }
    let runs = lines.map_while(Result::ok).filter_map(|line| serde_json::from_str::<Run>(&line).ok());
    Ok(runs.filter(|run| wanted.has(run)).collect())
}

/// The files with their times, the oldest first.
fn files(folder: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let begun = path.file_stem().and_then(|stem| stem.to_str()?.parse().ok());
        if let Some(begun) = begun.filter(|_| path.extension().is_some_and(|ending| ending == ENDING)) {
            found.push((begun, path));
        }
    }
    found.sort();
    Ok(found)
}

struct Writer {
    folder: PathBuf,
    /// The file that is written, and its length.
    file: Option<(File, u64)>,
    limits: (u64, u64),
}

impl Writer {
    fn serve(mut self, inbox: &Receiver<Order>) {
        while let Ok(first) = inbox.recv() {
            if matches!(first, Order::Write(_)) {
                // Not by waiting for messages, each of which would wake this thread.
                std::thread::sleep(GATHER);
            }
            let mut lines = Vec::new();
            let mut settled = Vec::new();
            let orders = std::iter::once(first).chain(inbox.try_iter().take(TOGETHER_MAX));
            for order in orders {
                // No file becomes much longer than it may.
                if lines.len() as u64 >= self.limits.0 / 4 {
                    self.write_or_forget(&std::mem::take(&mut lines));
                }
                match order {
                    Order::Write(run) => {
                        // Plain data, into memory.
                        let _ = serde_json::to_writer(&mut lines, &*run);
                        lines.push(b'\n');
                    }
                    Order::Settle(told) => settled.push(told),
                }
            }
            self.write_or_forget(&lines);
            for told in settled {
                let _ = told.send(());
            }
        }
    }

    fn write_or_forget(&mut self, lines: &[u8]) {
        if self.write(lines).is_err() {
            // A full disk: what could not be written is lost to the record, and the next is tried anew.
            self.file = None;
        }
    }

    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        if lines.is_empty() {
            return Ok(());
        }
        if self.file.as_ref().is_none_or(|(_, length)| *length >= self.limits.0) {
            self.tidy()?;
            self.file = Some(self.begin()?);
        }
        if let Some((file, length)) = &mut self.file {
            file.write_all(lines)?;
            *length += lines.len() as u64;
        }
        Ok(())
    }

    fn begin(&self) -> io::Result<(File, u64)> {
        // Never the name of another one, whatever the clock says.
        let last = files(&self.folder)?.last().map_or(0, |(begun, _)| *begun);
        let begun = u64::try_from(unix().as_millis()).unwrap_or(u64::MAX).max(last + 1);
        let path = self.folder.join(format!("{begun:016}.{ENDING}"));
        let mut file = OpenOptions::new().append(true).create_new(true).mode(0o600).open(path)?;
        let first = format!("{FORMAT}\n");
        file.write_all(first.as_bytes())?;
        Ok((file, first.len() as u64))
    }

    /// Removes what is too old or too much.
    fn tidy(&self) -> io::Result<()> {
        let oldest = unix().saturating_sub(KEEP);
        let mut all = 0;
        for (_, path) in files(&self.folder)?.iter().rev() {
            let about = fs::metadata(path)?;
            all += about.len();
            let changed = about.modified().ok().and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok());
            if all + self.limits.0 > self.limits.1 || changed.is_some_and(|at| at < oldest) {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::End;

    fn run(id: usize, end: End) -> Run {
        Run {
            id: format!("id-{id}"),
            queue: "redis:default".to_owned(),
            class: format!(r"App\Jobs\{}", if id.is_multiple_of(2) { "Even" } else { "Odd" }),
            tags: vec![format!("user:{}", id % 5)],
            attempts: 1,
            end,
            ended_ms: 1_000 + id as u64,
            waited_us: None,
            ran_us: 5,
            exception: None,
            output: None,
            evidence: None,
            payload: None,
        }
    }

    fn ids(runs: &[Run]) -> String {
        runs.iter().map(|run| run.id.trim_start_matches("id-")).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn runs_are_found_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let archive = Archive::open(folder.path()).unwrap();
        for id in 0..10 {
            archive.put(run(id, if id == 3 { End::Failed } else { End::Done }));
        }
        let all = Wanted::default();
        assert_eq!(ids(&archive.find(&all, 100)), "9 8 7 6 5 4 3 2 1 0");
        drop(archive);
        // A line that was cut, and a file of a later version.
        let (_, path) = files(folder.path()).unwrap().remove(0);
        OpenOptions::new().append(true).open(path).unwrap().write_all(b"{\"id\":\"id-").unwrap();
        fs::write(folder.path().join("0000000000000001.runs"), "{\"regie_runs\":2}\n{}\n").unwrap();
        let archive = Archive::open(folder.path()).unwrap();
        archive.put(run(10, End::Done));
        for (wanted, expected) in [
            (all.clone(), "10 9 8"),
            (Wanted { class: Some("Odd".to_owned()), ..all.clone() }, "9 7 5"),
            (Wanted { class: Some(r"App\Jobs\Even".to_owned()), ..all.clone() }, "10 8 6"),
            (Wanted { class: Some("Eve".to_owned()), ..all.clone() }, ""),
            (Wanted { tag: Some("user:0".to_owned()), ..all.clone() }, "10 5 0"),
            (Wanted { queue: Some("default".to_owned()), since_ms: 1_009, ..all.clone() }, "10 9"),
            (Wanted { queue: Some("redis:high".to_owned()), ..all.clone() }, ""),
            (Wanted { failed: true, ..all.clone() }, "3"),
            (Wanted { text: Some("id-7".to_owned()), ..all }, "7"),
        ] {
            assert_eq!(ids(&archive.find(&wanted, 3)), expected, "{wanted:?}");
        }
        assert_eq!(archive.left_out(), 0);
    }

    #[test]
    fn files_are_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let (orders, inbox) = sync_channel(10);
        let writer = Writer { folder: folder.path().to_owned(), file: None, limits: (1_000, 5_000) };
        let thread = std::thread::spawn(move || writer.serve(&inbox));
        for id in 0..400 {
            orders.send(Order::Write(Box::new(run(id, End::Done)))).unwrap();
        }
        drop(orders);
        thread.join().unwrap();
        let files = files(folder.path()).unwrap();
        let bytes: u64 = files.iter().map(|(_, path)| fs::metadata(path).unwrap().len()).sum();
        assert!(files.len() > 1 && bytes < 12_000, "{} files, {bytes} bytes", files.len());
        let last = read(&files.last().unwrap().1, &Wanted::default()).unwrap();
        assert_eq!(last.last().unwrap().id, "id-399");
    }
}
