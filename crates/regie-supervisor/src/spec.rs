//! What a program is, as plain data.
//!
//! The supervisor reads no configuration: whoever runs it fills a table of [`Program`]s. Two tables are compared
//! on a reload: a program whose process would be another ([`Program::same_process`] is false) is reloaded, one
//! that differs only in how it is watched (restart policy, number of processes, stop limits) is not.
//!
//! [`check`] finds every fault of a table at once: nothing is started from a table with a fault.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use nix::sys::signal::Signal;
use regie_core::nearest::nearest;

/// More processes of one program than this are a mistake in the configuration.
pub const MAX_PROCESSES: u32 = 1000;

/// One row of the table: everything the supervisor knows of a program.
///
/// Fields are public and filled with `Program { …, ..Program::new(name, command) }`.
#[derive(Clone, PartialEq)]
pub struct Program {
    /// What it is called everywhere: `gateway`, `php:web`, `program:queue`. Unique in the table. With more than
    /// one process the instances are `name_00`, `name_01` ….
    pub name: String,
    /// Selects with `group:*` besides the name's own prefix. `None`: no group.
    pub group: Option<String>,
    /// The program file and its arguments. No shell: a file without a slash is looked up in the child's `PATH`.
    pub command: Vec<String>,
    /// Variables set on top of what is inherited. `NOTIFY_SOCKET` and `LISTEN_*` are the supervisor's own.
    pub env: Vec<(String, String)>,
    /// Inherit nothing of the supervisor's environment but `PATH`.
    pub clear_env: bool,
    /// The folder it runs in; `None`: the supervisor's.
    pub cwd: Option<PathBuf>,
    /// User and group to run as; `None`: the supervisor's own. Needs root, when they differ.
    pub run_as: Option<RunAs>,
    /// Added to the supervisor's own niceness (−20 … 19).
    pub nice: i32,
    /// File mode creation mask; `None`: the supervisor's.
    pub umask: Option<u32>,
    /// Resource limits of the kernel.
    pub rlimits: RLimits,
    /// Bytes that the whole tree of one instance may hold (proportional set size); past it the instance is
    /// reloaded by its strategy. `None`: no limit.
    pub memory_limit: Option<u64>,
    /// Started with the supervisor. A program that others wait for is started with them anyway.
    pub autostart: bool,
    /// What happens when it ends by itself after it was ready.
    pub restart: Restart,
    /// How long to wait before the next start.
    pub backoff: Backoff,
    /// When it counts as ready.
    pub ready: Readiness,
    /// It is a failed start when it is not ready by then. Not used with [`Readiness::Time`].
    pub ready_timeout: Duration,
    /// Failed starts in a row that are tried again; one more and it is FATAL.
    pub start_retries: u32,
    /// How it is asked to stop. SIGKILL to the whole tree always comes last.
    pub stop: Stop,
    /// Names of programs that must be ready (or have ended well) before it starts, and that are stopped only
    /// after it.
    pub depends_on: Vec<String>,
    /// Number of processes.
    pub processes: u32,
    /// What `scale` changes.
    pub scale: Scale,
    /// How new code or configuration reaches it.
    pub reload: Reload,
    /// It runs the application's code: a reload of everything reloads it even when its own row is unchanged.
    pub holds_code: bool,
    /// Names of the descriptors handed on, in the order of `LISTEN_FDNAMES`. `lifeline` is always there, last.
    pub descriptors: Vec<String>,
    /// Where its output goes.
    pub output: Output,
}

impl Program {
    /// A program with the defaults of a long-running service: started with the supervisor, restarted always,
    /// ready after one second, three retries, SIGTERM and ten seconds to stop, reload by restart.
    #[must_use]
    pub fn new(name: impl Into<String>, command: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            name: name.into(),
            group: None,
            command: command.into_iter().map(Into::into).collect(),
            env: Vec::new(),
            clear_env: false,
            cwd: None,
            run_as: None,
            nice: 0,
            umask: None,
            rlimits: RLimits::default(),
            memory_limit: None,
            autostart: true,
            restart: Restart::Always,
            backoff: Backoff::default(),
            ready: Readiness::Time(Duration::from_secs(1)),
            ready_timeout: Duration::from_secs(60),
            start_retries: 3,
            stop: Stop::default(),
            depends_on: Vec::new(),
            processes: 1,
            scale: Scale::Processes,
            reload: Reload::Restart,
            holds_code: false,
            descriptors: Vec::new(),
            output: Output::default(),
        }
    }

    /// Whether a process started from `other` would be the same as one started from `self`.
    #[must_use]
    pub fn same_process(&self, other: &Self) -> bool {
        self.command == other.command
            && self.env == other.env
            && self.clear_env == other.clear_env
            && self.cwd == other.cwd
            && self.run_as == other.run_as
            && self.nice == other.nice
            && self.umask == other.umask
            && self.rlimits == other.rlimits
            && self.descriptors == other.descriptors
            && self.output == other.output
    }

    /// The name of instance `index` when there are `of` of them.
    #[must_use]
    pub fn instance_name(&self, index: u32, of: u32) -> String {
        if of <= 1 && index == 0 { self.name.clone() } else { format!("{}_{index:02}", self.name) }
    }
}

impl fmt::Debug for Program {
    /// Without the environment, which holds secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Program")
            .field("name", &self.name)
            .field("command", &self.command)
            .finish_non_exhaustive()
    }
}

/// Whom a program runs as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunAs {
    /// User name, or a number.
    pub user: String,
    /// Group name or number; `None`: the user's own, with the user's further groups.
    pub group: Option<String>,
}

/// Limits of `setrlimit(2)`; `None` leaves the supervisor's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RLimits {
    /// Open files (soft and hard).
    pub open_files: Option<u64>,
    /// Size of a core file; 0 for none.
    pub core: Option<u64>,
    /// Bytes of address space.
    pub address_space: Option<u64>,
    /// Bytes of the largest file it may write.
    pub file_size: Option<u64>,
}

/// Whether a program that ended after it was ready is started again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Restart {
    /// Whatever the status.
    Always,
    /// When killed by a signal, or when the exit code is none of these.
    Unexpected(Vec<i32>),
    /// Not at all: EXITED.
    Never,
}

impl Restart {
    /// Whether an end with `code` (`None`: by a signal) is one that was expected.
    #[must_use]
    pub fn expects(&self, code: Option<i32>) -> bool {
        match self {
            Self::Unexpected(codes) => code.is_some_and(|code| codes.contains(&code)),
            Self::Always | Self::Never => code == Some(0),
        }
    }
}

/// The delay before start `n` of a streak of failures: `first × factor^(n−1)`, at most `cap`, less a random part
/// of it so that many programs that fell over together do not come back together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Backoff {
    /// Before the first retry.
    pub first: Duration,
    /// Growth, 1.0 or more.
    pub factor: f64,
    /// The longest delay.
    pub cap: Duration,
    /// The random part, 0.0 … 1.0 of the delay.
    pub jitter: f64,
    /// An instance that was ready for this long starts with a clean record: its next end is answered at once.
    pub forget_after: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            first: Duration::from_millis(500),
            factor: 2.0,
            cap: Duration::from_secs(30),
            jitter: 0.2,
            forget_after: Duration::from_secs(60),
        }
    }
}

impl Backoff {
    /// The delay before retry `n` (from 1), where `random` is uniform in `0.0 … 1.0`.
    #[must_use]
    pub fn delay(&self, n: u32, random: f64) -> Duration {
        let exponent = i32::try_from(n.saturating_sub(1)).unwrap_or(i32::MAX);
        let grown = self.first.as_secs_f64() * self.factor.max(1.0).powi(exponent);
        let capped = grown.min(self.cap.as_secs_f64());
        Duration::from_secs_f64(capped * (1.0 - self.jitter.clamp(0.0, 1.0) * random.clamp(0.0, 1.0)))
    }
}

/// When a started program counts as RUNNING.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Readiness {
    /// Alive for this long; zero: at once.
    Time(Duration),
    /// It sends `READY=1` to `NOTIFY_SOCKET` (sd_notify(3)), itself or a process of its group.
    Notify,
    /// Something accepts here: `127.0.0.1:6379` or `unix:/path`.
    Socket(String),
    /// `GET` of this `http://host:port/path` or `unix:/path:/uri` answers with a status below 400.
    Http(String),
    /// This command ends with 0 (run as the program's user, in its folder and environment).
    Command(Vec<String>),
    /// A line of its output contains this text.
    LogLine(String),
}

/// How a program is asked to stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stop {
    /// Signals in order, each with the time it is given before the next; after the last comes SIGKILL.
    pub signals: Vec<(Signal, Duration)>,
    /// Send them to the whole process group rather than to the program itself. (SIGKILL always takes the whole
    /// tree, and what outlives the program itself is told to stop too.)
    pub group: bool,
}

impl Stop {
    /// One signal and the time it has.
    #[must_use]
    pub fn new(signal: Signal, timeout: Duration) -> Self {
        Self { signals: vec![(signal, timeout)], group: false }
    }

    /// The longest that a stop can take before SIGKILL.
    #[must_use]
    pub fn limit(&self) -> Duration {
        self.signals.iter().map(|(_, wait)| *wait).sum()
    }
}

impl Default for Stop {
    fn default() -> Self {
        Self::new(Signal::SIGTERM, Duration::from_secs(10))
    }
}

/// What `scale NAME=N` changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scale {
    /// The number of processes.
    Processes,
    /// This argument of the command (a pool's `--workers`): the program is then reloaded by its strategy.
    Argument(usize),
    /// Nothing: the program is one by nature.
    Fixed,
}

/// How new code or configuration reaches a running program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reload {
    /// A new generation starts beside the old one with the same handed-down descriptors; when it is ready, the
    /// old one is stopped. When it never gets ready, the old one stays.
    Overlap,
    /// Stop, then start; one instance after the other.
    Restart,
    /// This signal. (A changed row restarts the program all the same.)
    Signal(Signal),
}

/// Where a program's output goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Read line by line: to `regie logs`, to the terminal in the foreground, and to a file.
    Capture {
        /// The file; `None`: `<log folder>/<name>.log` when the supervisor has a log folder.
        file: Option<PathBuf>,
        /// The file is rotated (`.1` … `.N`) when it would pass this; 0: never.
        max_bytes: u64,
        /// How many files are kept in all, the current one included.
        keep: u32,
    },
    /// The supervisor's own standard output and error.
    Inherit,
    /// Nowhere.
    Discard,
}

impl Default for Output {
    fn default() -> Self {
        Self::Capture { file: None, max_bytes: 20 << 20, keep: 10 }
    }
}

/// A fault of a table.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TableError {
    /// A name is empty or holds a character that names, files or the control line cannot carry.
    #[error("\"{0}\" is not a name for a program: use letters, digits, and any of : . _ - @")]
    BadName(String),
    /// Two programs with one name.
    #[error("there are two programs named \"{0}\"")]
    Twice(String),
    /// There is no command.
    #[error("{0}: the command is empty")]
    NoCommand(String),
    /// Number of processes.
    #[error("{0}: processes must be at most {MAX_PROCESSES}")]
    TooMany(String),
    /// A dependency that is not in the table.
    #[error("{program}: depends_on names \"{missing}\", which is no program{}", hint.as_ref().map(|h| format!(", did you mean \"{h}\"?")).unwrap_or_default())]
    NoSuchDependency {
        /// Who depends.
        program: String,
        /// What was written.
        missing: String,
        /// The nearest name that exists.
        hint: Option<String>,
    },
    /// They wait for each other.
    #[error("these programs wait for each other: {}", .0.join(" → "))]
    Cycle(Vec<String>),
    /// Number of the argument that `scale` changes.
    #[error("{0}: the argument that scale changes is not in the command")]
    BadScale(String),
}

/// Every fault of the table.
#[must_use]
pub fn check(programs: &[Program]) -> Vec<TableError> {
    let mut faults = Vec::new();
    let mut names = BTreeSet::new();
    for program in programs {
        let name = program.name.clone();
        let good = |c: char| c.is_alphanumeric() || ":._-@".contains(c);
        if name.is_empty() || !name.chars().all(good) || name == "all" {
            faults.push(TableError::BadName(name.clone()));
        }
        if !names.insert(program.name.as_str()) {
            faults.push(TableError::Twice(name.clone()));
        }
        if program.command.first().is_none_or(String::is_empty) {
            faults.push(TableError::NoCommand(name.clone()));
        }
        if program.processes > MAX_PROCESSES {
            faults.push(TableError::TooMany(name.clone()));
        }
        if matches!(program.scale, Scale::Argument(at) if at == 0 || at >= program.command.len()) {
            faults.push(TableError::BadScale(name));
        }
    }
    for program in programs {
        for missing in program.depends_on.iter().filter(|d| !names.contains(d.as_str())) {
            faults.push(TableError::NoSuchDependency {
                program: program.name.clone(),
                missing: missing.clone(),
                hint: nearest(missing, names.iter().copied()).map(str::to_owned),
            });
        }
    }
    faults.extend(cycle(programs).map(TableError::Cycle));
    faults
}

/// One cycle of the dependencies, as the names along it with the first repeated at the end.
fn cycle(programs: &[Program]) -> Option<Vec<String>> {
    let edges: BTreeMap<&str, &[String]> =
        programs.iter().map(|p| (p.name.as_str(), p.depends_on.as_slice())).collect();
    let mut done = BTreeSet::new();
    for start in edges.keys() {
        // Depth first with the path kept: (name, next edge to follow).
        let mut path: Vec<(&str, usize)> = vec![(start, 0)];
        while let Some((name, next)) = path.last_mut() {
            let Some(target) = edges.get(*name).and_then(|e| e.get(*next)) else {
                done.insert(*name);
                path.pop();
                continue;
            };
            *next += 1;
            if let Some(at) = path.iter().position(|(n, _)| n == target) {
                let mut names: Vec<String> = path[at..].iter().map(|(n, _)| (*n).to_owned()).collect();
                names.push(target.clone());
                return Some(names);
            }
            if !done.contains(target.as_str()) && edges.contains_key(target.as_str()) {
                path.push((target, 0));
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(name: &str, depends_on: &[&str]) -> Program {
        Program {
            depends_on: depends_on.iter().map(|d| (*d).into()).collect(),
            ..Program::new(name, ["true"])
        }
    }

    #[test]
    fn every_fault_is_found_at_once() {
        let faults = check(&[
            program("store", &[]),
            program("store", &[]),
            program("php web", &[]),
            Program::new("empty", [""]),
            program("gateway", &["stor"]),
            Program { processes: 5000, ..program("many", &[]) },
            Program { scale: Scale::Argument(4), ..program("pool", &[]) },
        ]);
        let said: Vec<String> = faults.iter().map(ToString::to_string).collect();
        assert_eq!(
            said,
            [
                "there are two programs named \"store\"",
                "\"php web\" is not a name for a program: use letters, digits, and any of : . _ - @",
                "empty: the command is empty",
                "many: processes must be at most 1000",
                "pool: the argument that scale changes is not in the command",
                "gateway: depends_on names \"stor\", which is no program, did you mean \"store\"?",
            ]
        );
    }

    #[test]
    fn cycles_are_named() {
        for (table, expected) in [
            (vec![program("a", &["b"]), program("b", &["c"]), program("c", &[])], None),
            (vec![program("a", &["b"]), program("b", &["c"]), program("c", &["a"])], Some("a → b → c → a")),
            (vec![program("a", &["a"])], Some("a → a")),
            (vec![program("a", &["b", "c"]), program("b", &["c"]), program("c", &[])], None),
        ] {
            let found = check(&table).into_iter().find_map(|f| match f {
                TableError::Cycle(names) => Some(names.join(" → ")),
                _ => None,
            });
            assert_eq!(found.as_deref(), expected);
        }
    }

    #[test]
    fn delays_grow_to_the_cap_and_are_never_longer() {
        let backoff = Backoff { jitter: 0.5, ..Backoff::default() };
        let full: Vec<u128> = (1..=8).map(|n| backoff.delay(n, 0.0).as_millis()).collect();
        assert_eq!(full, [500, 1000, 2000, 4000, 8000, 16000, 30000, 30000]);
        assert_eq!(backoff.delay(1, 1.0).as_millis(), 250);
        assert_eq!(backoff.delay(u32::MAX, 0.0).as_millis(), 30000);
    }

    #[test]
    fn only_what_makes_another_process_is_a_change() {
        let base = program("a", &[]);
        assert!(base.same_process(&Program { processes: 4, start_retries: 9, ..base.clone() }));
        assert!(!base.same_process(&Program { env: vec![("A".into(), "1".into())], ..base.clone() }));
        assert!(!base.same_process(&Program { command: vec!["false".into()], ..base.clone() }));
    }

    #[test]
    fn secrets_in_the_environment_are_not_printed() {
        let shown =
            format!("{:?}", Program { env: vec![("APP_KEY".into(), "hunter2".into())], ..program("a", &[]) });
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}
