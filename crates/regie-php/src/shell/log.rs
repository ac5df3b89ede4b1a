//! Log lines, on standard error: one write each, without allocation, so that a worker may call it at any time.
//!
//! ```text
//! [21-Nov-2026 07:26:11] WARNING: [pool web] worker 4711 (web_00) was killed by signal 11 (SIGSEGV) …
//! [21-Nov-2026 07:26:12] ERROR: [pool web_01 pid 4712] PHP Fatal error:  Uncaught …
//! ```

use std::fmt::{self, Write as _};
use std::fs::OpenOptions;
use std::io::{IoSlice, Write as _};
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use super::clock;

/// How much a line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    Debug,
    Notice,
    Warning,
    Error,
}

impl Level {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Debug => "DEBUG",
            Self::Notice => "NOTICE",
            Self::Warning => "WARNING",
            Self::Error => "ERROR",
        }
    }
}

static POOL: OnceLock<String> = OnceLock::new();

/// The seat of this process; [`NO_SEAT`] in those that are no worker.
static SEAT: AtomicUsize = AtomicUsize::new(NO_SEAT);
const NO_SEAT: usize = usize::MAX;

/// Names the pool in all lines to come.
pub(crate) fn name_pool(pool: &str) {
    let _ = POOL.set(pool.to_owned());
}

/// Names the worker that this process is.
pub(crate) fn name_seat(seat: usize) {
    SEAT.store(seat, Relaxed);
}

/// The pool, or the worker in one of its seats: `web`, `web_00`.
pub(crate) struct Name(pub(crate) Option<usize>);

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pool = POOL.get().map_or("?", String::as_str);
        match self.0 {
            Some(seat) => write!(f, "{pool}_{seat:02}"),
            None => f.write_str(pool),
        }
    }
}

/// Makes standard error (and output) go to the file at `path`, opened anew.
pub(crate) fn reopen(path: Option<&Path>) {
    let Some(path) = path else { return };
    let opened = OpenOptions::new().create(true).append(true).open(path);
    match opened {
        Ok(file) => {
            let _ = nix::unistd::dup2_stderr(&file);
            let _ = nix::unistd::dup2_stdout(&file);
        }
        Err(error) => master(Level::Error, format_args!("cannot open the log {}: {error}", path.display())),
    }
}

/// A line from the master.
pub(crate) fn master(level: Level, message: fmt::Arguments<'_>) {
    let mut line = Line::<1024>::default();
    let _ = line.write_fmt(message);
    write(level, None, line.bytes());
}

/// A line from a worker: `message` may be what PHP said.
pub(crate) fn worker(level: Level, message: &[u8]) {
    write(level, Some(std::process::id()), message);
}

fn write(level: Level, pid: Option<u32>, message: &[u8]) {
    let mut prefix = Line::<192>::default();
    let now = clock::since_epoch().as_secs();
    let seat = SEAT.load(Relaxed);
    let name = Name((seat != NO_SEAT).then_some(seat));
    let _ = match pid {
        Some(pid) => write!(prefix, "[{}] {}: [pool {name} pid {pid}] ", Stamp(now), level.as_str()),
        None => write!(prefix, "[{}] {}: [pool {name}] ", Stamp(now), level.as_str()),
    };
    let message = message.strip_suffix(b"\n").unwrap_or(message);
    // A log that cannot be written (disk full, reader gone) must not stop the service.
    let _ = std::io::stderr().write_vectored(&[
        IoSlice::new(prefix.bytes()),
        IoSlice::new(message),
        IoSlice::new(b"\n"),
    ]);
}

/// Text on the stack; what does not fit is left out.
pub(crate) struct Line<const SIZE: usize> {
    bytes: [u8; SIZE],
    len: usize,
}

impl<const SIZE: usize> Default for Line<SIZE> {
    fn default() -> Self {
        Self { bytes: [0; SIZE], len: 0 }
    }
}

impl<const SIZE: usize> Line<SIZE> {
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// Appends what fits.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        let taken = bytes.len().min(SIZE - self.len);
        self.bytes[self.len..self.len + taken].copy_from_slice(&bytes[..taken]);
        self.len += taken;
    }
}

impl<const SIZE: usize> fmt::Write for Line<SIZE> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.push(text.as_bytes());
        Ok(())
    }
}

/// `21-Nov-2026 07:26:11`, in UTC.
pub(crate) struct Stamp(pub(crate) u64);

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, second) = (self.0 / 86_400, self.0 % 86_400);
        // Days to civil date, counted in eras of 400 years that begin in March (H. Hinnant's algorithm).
        let shifted = days + 719_468;
        let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
        let month = (month_from_march + 2) % 12;
        let year = year_of_era + era * 400 + u64::from(month < 2);
        let name = usize::try_from(month).map_or("?", |month| MONTHS[month]);
        write!(f, "{day:02}-{name}-{year} {:02}:{:02}:{:02}", second / 3600, second / 60 % 60, second % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_right() {
        for (seconds, expected) in [
            (0, "01-Jan-1970 00:00:00"),
            (951_782_400, "29-Feb-2000 00:00:00"),
            (1_795_245_971, "21-Nov-2026 07:26:11"),
            (4_107_542_399, "28-Feb-2100 23:59:59"),
        ] {
            assert_eq!(Stamp(seconds).to_string(), expected);
        }
    }

    #[test]
    fn long_lines_are_cut() {
        let mut line = Line::<4>::default();
        let _ = write!(line, "abc{}", 123);
        assert_eq!(line.bytes(), b"abc1");
    }
}
