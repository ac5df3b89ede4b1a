//! What [`run`](crate::run) is told.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::control::{LogLine, Stream};
use crate::machine::Moment;
use crate::spec::{Program, RunAs, TableError};

/// The programs, and what is handed on to them.
#[derive(Debug, Default)]
pub struct Table {
    /// In the order in which `status` shows them.
    pub programs: Vec<Program>,
    /// Open descriptors by name. On a reload only new names need to be given: a name that is held already keeps
    /// its descriptor, and one that no program names any more is closed.
    pub descriptors: Vec<(String, OwnedFd)>,
}

/// Reads the configuration again, or gives the report that the caller of `reload` gets to see. Called on a thread of its
/// own: it may wait for disks and name servers, and must not start processes, whose end the loop would hear of.
pub type Reread = Arc<dyn Fn() -> Result<Finish, String> + Send + Sync>;
/// Makes the new table of what was read. Called from the loop: it must not block.
pub type Finish = Box<dyn FnOnce() -> Result<Table, String> + Send>;
/// Hears of [`Moment`]s. Called from the loop: it must not block.
pub type OnMoment = Box<dyn FnMut(&Moment)>;

/// What [`run`](crate::run) is told. Filled with `Settings { …, ..Settings::default() }`.
pub struct Settings {
    /// What runs first.
    pub table: Table,
    /// Where `<name>.log` files go; `None`: only files that programs name themselves. Made when missing.
    pub log_dir: Option<PathBuf>,
    /// The terminal: every line of every program, merged and prefixed.
    pub foreground: Option<Foreground>,
    /// Who may use the control line, besides root; `None`: only the supervisor's own user. The user of the
    /// application, when the supervisor runs as root.
    pub owner: Option<RunAs>,
    /// Called by SIGHUP and by `reload` without names. `None`: such a reload only reloads what holds code.
    pub reread: Option<Reread>,
    /// Told when all is up, when draining begins, when it is cut short.
    pub on_moment: Option<OnMoment>,
    /// The longest that stopping everything may take; then what is left is killed.
    pub stop_limit: Duration,
    /// End with [`Outcome::fatal`](crate::Outcome::fatal) set as soon as one instance is FATAL.
    pub exit_on_fatal: bool,
    /// Lines kept in memory for `logs`, per instance.
    pub recent_lines: usize,
    /// How often memory and processor time are read.
    pub sample_every: Duration,
    /// The version that `ping` and `status` show.
    pub version: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            table: Table::default(),
            log_dir: None,
            foreground: None,
            owner: None,
            reread: None,
            on_moment: None,
            stop_limit: Duration::from_secs(60),
            exit_on_fatal: false,
            recent_lines: 1000,
            sample_every: Duration::from_secs(5),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("table", &self.table)
            .field("log_dir", &self.log_dir)
            .finish_non_exhaustive()
    }
}

/// Turns a line into what the terminal shows (without the line feed).
pub type Paint = Box<dyn FnMut(&LogLine) -> String>;

/// Where the merged output goes. Never waited for: what does not fit into its buffer (1 MB) while nobody reads is
/// dropped and counted.
pub struct Foreground {
    pub(crate) fd: OwnedFd,
    pub(crate) paint: Paint,
}

impl Foreground {
    /// Lines painted by `paint`, written to `fd`.
    #[must_use]
    pub fn new(fd: OwnedFd, paint: Paint) -> Self {
        Self { fd, paint }
    }

    /// Plain lines on standard output.
    ///
    /// # Panics
    /// When standard output is closed.
    #[must_use]
    pub fn stdout() -> Self {
        let fd = io::stdout().as_fd().try_clone_to_owned().expect("standard output is open");
        Self::new(fd, Box::new(plain))
    }
}

impl fmt::Debug for Foreground {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Foreground").field("fd", &self.fd).finish_non_exhaustive()
    }
}

/// `name | text`; what the supervisor says itself has a star in place of the bar.
#[must_use]
pub fn plain(line: &LogLine) -> String {
    let bar = if line.stream == Stream::Event { '*' } else { '|' };
    format!("{:<12} {bar} {}", line.name, line.text)
}

/// Why nothing ran.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The table has faults; nothing was started.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Table(Vec<TableError>),
    /// A program wants a descriptor that nobody gave.
    #[error("{program} is to be handed \"{descriptor}\", which is not open")]
    NoDescriptor {
        /// Who wants it.
        program: String,
        /// Its name.
        descriptor: String,
    },
    /// The operating system refused something that the supervisor cannot do without.
    #[error("failed to {what}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// Why not.
        source: io::Error,
    },
}
