//! Where lines go: the recent ones in memory, files, the terminal, and clients that follow.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::clock;
use super::logfile::LogFile;
use super::terminal::Terminal;
use crate::control::{LogLine, Stream};
use crate::machine::Now;
use crate::ring::Recent;
use crate::spec::{Output, Program};

/// The name under which the supervisor speaks of itself.
pub(crate) const SELF: &str = "regie";
/// The supervisor's own file.
const OWN_FILE: &str = "supervisor.log";
const OWN_MAX_BYTES: u64 = 20 << 20;
const OWN_KEEP: u32 = 10;

#[derive(Debug)]
pub(crate) struct Logs {
    pub(crate) recent: Recent,
    pub(crate) terminal: Option<Terminal>,
    log_dir: Option<PathBuf>,
    files: BTreeMap<PathBuf, LogFile>,
    /// Lines since the last turn, kept only while somebody follows.
    pub(crate) fresh: Vec<LogLine>,
    pub(crate) followed: bool,
}

impl Logs {
    pub(crate) fn new(lines: usize, log_dir: Option<PathBuf>, terminal: Option<Terminal>) -> Self {
        let mut logs = Self {
            recent: Recent::new(lines),
            terminal,
            log_dir,
            files: BTreeMap::new(),
            fresh: Vec::new(),
            followed: false,
        };
        if let Some(path) = logs.own_file() {
            logs.files.insert(path.clone(), LogFile::new(path, OWN_MAX_BYTES, OWN_KEEP));
        }
        logs
    }

    fn own_file(&self) -> Option<PathBuf> {
        self.log_dir.as_ref().map(|folder| folder.join(OWN_FILE))
    }

    /// The file for the output of an instance.
    pub(crate) fn file_for(&mut self, program: &Program, name: &str) -> Option<PathBuf> {
        let Output::Capture { file, max_bytes, keep } = &program.output else { return None };
        let own_name = || format!("{}.log", name.replace([':', '/'], "-"));
        let path = file.clone().or_else(|| self.log_dir.as_ref().map(|folder| folder.join(own_name())))?;
        self.files.entry(path.clone()).or_insert_with(|| LogFile::new(path.clone(), *max_bytes, *keep));
        Some(path)
    }

    /// A line of a child.
    pub(crate) fn output(&mut self, name: &str, stream: Stream, text: &[u8], file: Option<&PathBuf>) {
        if let Some(file) = file.and_then(|path| self.files.get_mut(path)) {
            file.push(text);
        }
        self.line(LogLine {
            time_ms: clock::wall_ms(),
            name: name.to_owned(),
            stream,
            text: String::from_utf8_lossy(text).into_owned(),
        });
    }

    /// A line of the supervisor's own, about `name`.
    pub(crate) fn event(&mut self, name: &str, text: String) {
        let time_ms = clock::wall_ms();
        if let Some(file) = self.own_file().and_then(|path| self.files.get_mut(&path)) {
            file.push(format!("{} {name}: {text}", utc(time_ms)).as_bytes());
        }
        self.line(LogLine { time_ms, name: name.to_owned(), stream: Stream::Event, text });
    }

    fn line(&mut self, line: LogLine) {
        if let Some(terminal) = &mut self.terminal {
            terminal.push(&line);
        }
        if self.followed {
            self.fresh.push(line.clone());
        }
        self.recent.push(line);
    }

    pub(crate) fn reopen(&mut self) {
        self.files.values_mut().for_each(LogFile::reopen);
    }

    /// Writes the files.
    pub(crate) fn flush(&mut self, now: Now) {
        let notices: Vec<String> = self.files.values_mut().filter_map(|file| file.flush(now)).collect();
        for text in notices {
            self.event(SELF, text);
        }
    }

    pub(crate) fn next_deadline(&self) -> Option<Now> {
        self.files.values().filter_map(LogFile::retry_at).min()
    }
}

/// RFC 3339 with milliseconds, in UTC.
fn utc(unix_ms: u64) -> String {
    let (days, ms) = (unix_ms / 86_400_000, unix_ms % 86_400_000);
    // Days since 1970-03-01 of the year 0's calendar; Howard Hinnant, "chrono-compatible low-level date algorithms".
    let z = days + 719_468;
    let (era, of_era) = (z / 146_097, z % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (s, ms) = (ms / 1000, ms % 1000);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{ms:03}Z", s / 3600, s / 60 % 60, s % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_in_utc() {
        for (ms, expected) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_795_246_042_123, "2026-11-21T07:27:22.123Z"),
            (4_107_542_399_999, "2100-02-28T23:59:59.999Z"),
        ] {
            assert_eq!(utc(ms), expected);
        }
    }
}
