//! What became of each job, on disk: so that it can be looked up after a restart, and for longer than memory allows.
//!
//! ```text
//! 0001795257093000.runs      named by the millisecond at which it was begun
//!   {"regie_runs":1}         the format; what is of a later one is left alone
//!   {"id":"…","class":…}     a run a line, as `regie queue runs --json` shows it
//! ```
//!
//! Runs are put into lines where they end, and a thread of its own writes them, so that no job waits for the disk: many
//! at once, since a write and a wake-up for each would be a quarter of what the runner does. Runs that come faster than
//! the disk takes them are left out and counted. Files are begun anew at `FILE_MAX`; the oldest go when all of them
//! together pass `ALL_MAX`, or their last run is older than `KEEP`. Nothing is synced: this is a record, and not what
//! jobs are lost or found by. A line that a kill has cut short is passed over.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::clock::unix;
use crate::record::{Run, Wanted};

/// Bytes of one file.
const FILE_MAX: u64 = 8 * 1024 * 1024;

/// Bytes of all files.
const ALL_MAX: u64 = 128 * 1024 * 1024;

/// How long runs are kept.
const KEEP: Duration = Duration::from_secs(7 * 24 * 3600);

/// Bytes of runs that wait for the disk.
const WAITING_MAX: usize = 2 * 1024 * 1024;

/// How long the first run waits for others to be written with.
const GATHER: Duration = Duration::from_millis(10);

/// The first line of each file.
const FORMAT: &str = "{\"regie_runs\":1}";

const ENDING: &str = "runs";

/// See the module.
#[derive(Debug)]
pub struct Archive {
    folder: PathBuf,
    tray: Arc<Tray>,
}

/// Where runs wait for the thread that writes them.
#[derive(Debug, Default)]
struct Tray {
    waiting: Mutex<Waiting>,
    /// Told when the first run lies there, and when somebody cannot wait.
    news: Condvar,
    /// Told when what lay there is written.
    written: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    lines: Vec<u8>,
    left_out: u64,
    /// How many of `lines` were taken, and how many of those are written.
    taken: u64,
    done: u64,
    /// Somebody waits until all is written.
    hurry: bool,
    closed: bool,
}

impl Tray {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Whoever panics here has left lines whole or cut, and cut ones are passed over.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is to be written; `None` when nothing will come any more.
    fn take(&self) -> Option<Vec<u8>> {
        let idle = |waiting: &mut Waiting| waiting.lines.is_empty() && !waiting.closed;
        let waiting = self.news.wait_while(self.lock(), idle).unwrap_or_else(PoisonError::into_inner);
        let calm = |waiting: &mut Waiting| !waiting.hurry && !waiting.closed;
        let gathered = self.news.wait_timeout_while(waiting, GATHER, calm);
        let (mut waiting, _) = gathered.unwrap_or_else(PoisonError::into_inner);
        waiting.taken += 1;
        waiting.hurry = false;
        let lines = std::mem::take(&mut waiting.lines);
        (!lines.is_empty() || !waiting.closed).then_some(lines)
    }

    /// What was taken is written.
    fn done(&self) {
        self.lock().done += 1;
        self.written.notify_all();
    }

    /// Returns when all that was put here is written.
    fn settle(&self) {
        let mut waiting = self.lock();
        let last = waiting.taken + u64::from(!waiting.lines.is_empty());
        if last > waiting.taken {
            waiting.hurry = true;
            self.news.notify_one();
        }
        drop(self.written.wait_while(waiting, |waiting| waiting.done < last));
    }
}

impl Drop for Archive {
    fn drop(&mut self) {
        self.tray.lock().closed = true;
        self.tray.news.notify_one();
    }
}

impl Archive {
    /// Keeps runs in `folder`, which belongs to this process alone.
    ///
    /// # Errors
    /// When the folder cannot be made, or no thread be started.
    pub fn open(folder: &Path) -> io::Result<Self> {
        Self::open_with(folder, (FILE_MAX, ALL_MAX))
    }

    fn open_with(folder: &Path, limits: (u64, u64)) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let tray = Arc::new(Tray::default());
        let writer = Writer { folder: folder.to_owned(), file: None, limits };
        let shared = tray.clone();
        std::thread::Builder::new().name("runs".to_owned()).spawn(move || writer.serve(&shared))?;
        Ok(Self { folder: folder.to_owned(), tray })
    }

    /// Writes `run` down, soon.
    pub fn put(&self, run: &Run) {
        let mut waiting = self.tray.lock();
        let before = waiting.lines.len();
        if before >= WAITING_MAX {
            waiting.left_out += 1;
            return;
        }
        // Plain data, into memory.
        let _ = serde_json::to_writer(&mut waiting.lines, run);
        waiting.lines.push(b'\n');
        if before == 0 {
            self.tray.news.notify_one();
        }
    }

    /// Runs that were not written down since the start, because they came too fast.
    #[must_use]
    pub fn left_out(&self) -> u64 {
        self.tray.lock().left_out
    }

    /// The runs that are wanted, the latest first. Reads files: not for a thread that others wait for.
    #[must_use]
    pub fn find(&self, wanted: &Wanted, most: usize) -> Vec<Run> {
        self.tray.settle();
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
    fn serve(mut self, tray: &Tray) {
        while let Some(lines) = tray.take() {
            self.write_or_forget(&lines);
            tray.done();
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
            archive.put(&run(id, if id == 3 { End::Failed } else { End::Done }));
        }
        let all = Wanted::default();
        assert_eq!(ids(&archive.find(&all, 100)), "9 8 7 6 5 4 3 2 1 0");
        drop(archive);
        // A line that was cut, and a file of a later version.
        let (_, path) = files(folder.path()).unwrap().remove(0);
        OpenOptions::new().append(true).open(path).unwrap().write_all(b"{\"id\":\"id-").unwrap();
        fs::write(folder.path().join("0000000000000001.runs"), "{\"regie_runs\":2}\n{}\n").unwrap();
        let archive = Archive::open(folder.path()).unwrap();
        archive.put(&run(10, End::Done));
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
    fn what_waits_is_bounded() {
        // Nobody writes.
        let archive = Archive { folder: PathBuf::new(), tray: Arc::default() };
        let (last, long) = (run(7, End::Failed), "x".repeat(WAITING_MAX / 8));
        for _ in 0..20 {
            archive.put(&Run { output: Some(long.clone()), ..last.clone() });
        }
        let held = archive.tray.lock().lines.len();
        assert!((WAITING_MAX..WAITING_MAX + 2 * long.len()).contains(&held), "{held} bytes");
        assert_eq!(archive.left_out(), 12);
    }

    #[test]
    fn files_are_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let archive = Archive::open_with(folder.path(), (1_000, 5_000)).unwrap();
        for id in 0..400 {
            archive.put(&run(id, End::Done));
            if id % 3 == 0 {
                archive.tray.settle();
            }
        }
        archive.tray.settle();
        let files = files(folder.path()).unwrap();
        let bytes: u64 = files.iter().map(|(_, path)| fs::metadata(path).unwrap().len()).sum();
        assert!(files.len() > 1 && bytes < 12_000, "{} files, {bytes} bytes", files.len());
        let last = read(&files.last().unwrap().1, &Wanted::default()).unwrap();
        assert_eq!(last.last().unwrap().id, "id-399");
    }
}
