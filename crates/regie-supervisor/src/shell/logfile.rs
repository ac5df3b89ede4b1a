//! A log file that is rotated, and that a full disk does not stop.
//!
//! Lines are gathered during a turn of the loop and written at its end. What cannot be written is dropped and
//! counted; the file is tried again after [`RETRY`], and the first thing written then says how many lines were lost
//! and why. A write that failed half way is taken back, so that no line is torn.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::machine::Now;

/// After a failed write, the next is tried so much later.
const RETRY: Duration = Duration::from_secs(1);

/// One file and its older siblings `.1`, `.2` ….
#[derive(Debug)]
pub(crate) struct LogFile {
    path: PathBuf,
    max_bytes: u64,
    keep: u32,
    file: Option<File>,
    size: u64,
    gathered: Vec<u8>,
    lost: u64,
    /// Why lines are being lost, and when to try again.
    trouble: Option<(String, Now)>,
}

impl LogFile {
    pub(crate) fn new(path: PathBuf, max_bytes: u64, keep: u32) -> Self {
        Self { path, max_bytes, keep, file: None, size: 0, gathered: Vec::new(), lost: 0, trouble: None }
    }

    /// Takes a line for the end of the turn.
    pub(crate) fn push(&mut self, line: &[u8]) {
        self.gathered.extend_from_slice(line);
        self.gathered.push(b'\n');
    }

    /// Opens the file anew before the next write.
    pub(crate) fn reopen(&mut self) {
        self.file = None;
    }

    /// When [`Self::flush`] should be called although nothing new has come: lost lines are still to be told of.
    pub(crate) fn retry_at(&self) -> Option<Now> {
        self.trouble.as_ref().map(|(_, at)| *at)
    }

    /// Writes what was gathered. Says so when lines begin to be lost, and when that is over.
    pub(crate) fn flush(&mut self, now: Now) -> Option<String> {
        if self.gathered.is_empty() && self.trouble.is_none() {
            return None;
        }
        if self.trouble.as_ref().is_some_and(|(_, again)| now < *again) {
            self.drop_gathered();
            return None;
        }
        let before = self.trouble.take();
        match self.write(before.as_ref().map(|(why, _)| why.as_str())) {
            Ok(()) => {
                let lost = std::mem::take(&mut self.lost);
                before.map(|_| format!("{} is written again; {lost} lines were lost", self.path.display()))
            }
            Err(error) => {
                self.drop_gathered();
                let why = error.to_string();
                let text = format!("lines for {} are lost: {why}", self.path.display());
                self.trouble = Some((why, now + RETRY));
                before.is_none().then_some(text)
            }
        }
    }

    fn drop_gathered(&mut self) {
        self.lost += self.gathered.iter().filter(|b| **b == b'\n').count() as u64;
        self.gathered.clear();
    }

    /// Writes what was gathered, in as many files as it needs.
    fn write(&mut self, trouble: Option<&str>) -> io::Result<()> {
        if let Some(why) = trouble {
            let note = format!("[regie] {} lines were lost: {why}\n", self.lost);
            self.append(note.as_bytes())?;
        }
        while !self.gathered.is_empty() {
            self.open()?;
            let end = self.fitting();
            if end == 0 {
                self.rotate()?;
                continue;
            }
            let piece: Vec<u8> = self.gathered.drain(..end).collect();
            if let Err(error) = self.append(&piece) {
                self.gathered.splice(..0, piece);
                return Err(error);
            }
        }
        Ok(())
    }

    /// How many gathered bytes, whole lines of them, this file still takes. A file takes one line at least.
    fn fitting(&self) -> usize {
        let room = usize::try_from(self.max_bytes.saturating_sub(self.size)).unwrap_or(usize::MAX);
        if self.max_bytes == 0 || self.gathered.len() <= room {
            return self.gathered.len();
        }
        let after = |at: usize| at + 1;
        match self.gathered[..room].iter().rposition(|b| *b == b'\n') {
            Some(last) => after(last),
            None if self.size == 0 => self.gathered.iter().position(|b| *b == b'\n').map_or(0, after),
            None => 0,
        }
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.open()?;
        let Some(file) = &mut self.file else { return Ok(()) };
        if let Err(error) = file.write_all(bytes) {
            let _ = file.set_len(self.size);
            return Err(error);
        }
        self.size += bytes.len() as u64;
        Ok(())
    }

    fn open(&mut self) -> io::Result<()> {
        if self.file.is_none() {
            if let Some(folder) = self.path.parent() {
                fs::create_dir_all(folder)?;
            }
            let file = OpenOptions::new().append(true).create(true).mode(0o640).open(&self.path)?;
            self.size = file.metadata()?.len();
            self.file = Some(file);
        }
        Ok(())
    }

    /// `.8` becomes `.9`, …, the file itself `.1`.
    fn rotate(&mut self) -> io::Result<()> {
        self.file = None;
        self.size = 0;
        if self.keep <= 1 {
            return gone_is_fine(fs::remove_file(&self.path));
        }
        for number in (1..self.keep - 1).rev() {
            gone_is_fine(fs::rename(numbered(&self.path, number), numbered(&self.path, number + 1)))?;
        }
        gone_is_fine(fs::rename(&self.path, numbered(&self.path, 1)))
    }
}

fn gone_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn numbered(path: &Path, number: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_rotated_and_so_many_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/a.log");
        let mut log = LogFile::new(path.clone(), 10, 3);
        for turn in [0..2, 2..5] {
            turn.for_each(|n| log.push(format!("line {n}").as_bytes()));
            assert_eq!(log.flush(Now::ZERO), None);
        }
        let read = |p: PathBuf| fs::read_to_string(p).ok();
        assert_eq!(read(path.clone()).as_deref(), Some("line 4\n"));
        assert_eq!(read(numbered(&path, 1)).as_deref(), Some("line 3\n"));
        assert_eq!(read(numbered(&path, 2)).as_deref(), Some("line 2\n"));
        assert_eq!(read(numbered(&path, 3)), None);
    }

    #[test]
    fn a_file_moved_away_is_opened_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.log");
        let mut log = LogFile::new(path.clone(), 0, 3);
        log.push(b"old");
        log.flush(Now::ZERO);
        fs::rename(&path, folder.path().join("moved")).unwrap();
        log.reopen();
        log.push(b"new");
        log.flush(Now::ZERO);
        assert_eq!(fs::read_to_string(&path).unwrap(), "new\n");
    }

    #[test]
    fn what_cannot_be_written_is_counted_and_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sub/a.log");
        // A file where the folder should be: every try fails until it is gone.
        fs::write(folder.path().join("sub"), "").unwrap();
        let mut log = LogFile::new(path.clone(), 0, 3);
        log.push(b"one");
        assert!(log.flush(Now::ZERO).unwrap().contains("are lost"));
        log.push(b"two");
        assert_eq!(log.flush(Now::from_millis(10)), None, "not tried again so soon");
        fs::remove_file(folder.path().join("sub")).unwrap();
        log.push(b"three");
        assert!(log.flush(Now::from_secs(2)).unwrap().ends_with("2 lines were lost"));
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("[regie] 2 lines were lost: ") && text.ends_with("\nthree\n"), "{text}");
        assert_eq!(log.flush(Now::from_secs(3)), None);
    }
}
