//! One supervisor per run folder, and what a dead one left behind.
//!
//! The lock is a `flock` that dies with its holder. Beside it, `state.json` lists the processes with their start
//! times, so that a pid that now belongs to somebody else is never touched; each child also carries the supervisor's
//! token in its environment, which finds processes that the list does not know.
//!
//! What is left has usually been told already (its lifeline has closed, the kernel sent it its stop signal); it gets
//! [`GRACE`] to finish, then SIGKILL.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::fcntl::{Flock, FlockArg};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};

use super::clock::Clock;
use super::{proc, sys};

/// What is left of a dead supervisor may take so long to finish.
pub const GRACE: Duration = Duration::from_secs(10);
/// After SIGKILL. Only what the kernel holds takes so long, or a machine that is busy.
const KILL_GRACE: Duration = Duration::from_secs(10);
const LOCK: &str = "lock";
const STATE: &str = "state.json";
/// Version of `state.json`.
const FORMAT: u32 = 1;

/// The right to run a supervisor in a folder; given up when dropped.
#[derive(Debug)]
pub struct Claim {
    pub(crate) run_dir: PathBuf,
    pub(crate) token: String,
    leftovers: Vec<Leftover>,
    /// Held for its lock.
    _lock: Flock<File>,
}

impl Claim {
    /// What a supervisor that died had left, and what became of it.
    #[must_use]
    pub fn leftovers(&self) -> &[Leftover] {
        &self.leftovers
    }
}

/// A process that a dead supervisor had left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leftover {
    /// The instance.
    pub name: String,
    /// Its process.
    pub pid: i32,
    /// What became of it.
    pub end: LeftoverEnd,
    /// The supervisor that had started it.
    pub supervisor: u32,
}

/// What became of a leftover.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeftoverEnd {
    /// It ended when asked.
    Stopped,
    /// It had to be killed.
    Killed,
    /// It is still there: the kernel holds it, or it belongs to another user.
    Stays,
}

impl fmt::Display for Leftover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = match self.end {
            LeftoverEnd::Stopped => "stopped",
            LeftoverEnd::Killed => "killed",
            LeftoverEnd::Stays => "cannot be ended:",
        };
        write!(
            f,
            "{end} {} (pid {}), left by a supervisor (pid {}) that died",
            self.name, self.pid, self.supervisor
        )
    }
}

/// Why the folder cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    /// A supervisor runs there.
    #[error("a supervisor runs in {} already{}", folder.display(), pid.map(|p| format!(" (pid {p})")).unwrap_or_default())]
    AlreadyRunning {
        /// The run folder.
        folder: PathBuf,
        /// Its process, if it has said so.
        pid: Option<u32>,
    },
    /// A newer version left its state there.
    #[error("{} was written by a newer version (format {found}, this one knows {FORMAT})", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
    /// The folder cannot be used.
    #[error("failed to use the run folder {}", path.display())]
    Io {
        /// What was touched.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// What is written for the next supervisor.
#[derive(Debug, Serialize, Deserialize)]
struct StateFile {
    format: u32,
    pid: u32,
    token: String,
    processes: Vec<StateProcess>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct StateProcess {
    pub(crate) name: String,
    pub(crate) pid: i32,
    pub(crate) start: u64,
}

/// Takes the folder (made with mode 0700 when missing), and ends what a dead supervisor left in it.
///
/// # Errors
/// [`ClaimError::AlreadyRunning`] names the supervisor that holds it.
pub fn claim(run_dir: &Path) -> Result<Claim, ClaimError> {
    let fault = |path: &Path| {
        let path = path.to_owned();
        move |source| ClaimError::Io { path, source }
    };
    fs::DirBuilder::new().recursive(true).mode(0o700).create(run_dir).map_err(fault(run_dir))?;
    let run_dir = run_dir.canonicalize().map_err(fault(run_dir))?;
    let path = run_dir.join(LOCK);
    let mut open = OpenOptions::new();
    let mut file = open
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(fault(&path))?;
    let mut holder = String::new();
    let _ = file.read_to_string(&mut holder);
    let mut lock = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => lock,
        Err((_, nix::errno::Errno::EWOULDBLOCK)) => {
            return Err(ClaimError::AlreadyRunning { folder: run_dir, pid: holder.trim().parse().ok() });
        }
        Err((_, error)) => return Err(ClaimError::Io { path, source: error.into() }),
    };
    lock.set_len(0)
        .and_then(|()| lock.rewind())
        .and_then(|()| writeln!(lock, "{}", std::process::id()))
        .map_err(fault(&path))?;
    let leftovers = clean_up(&run_dir.join(STATE))?;
    let token = random_token().map_err(fault(Path::new("/dev/urandom")))?;
    Ok(Claim { run_dir, token, leftovers, _lock: lock })
}

fn random_token() -> io::Result<String> {
    let mut bytes = [0u8; 16];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|b| format!("{b:02x}")).collect())
}

/// Writes the list for the next supervisor; whole or not at all.
pub(crate) fn write_state(claim: &Claim, processes: Vec<StateProcess>) -> io::Result<()> {
    let state = StateFile { format: FORMAT, pid: std::process::id(), token: claim.token.clone(), processes };
    let path = claim.run_dir.join(STATE);
    let new = claim.run_dir.join("state.json.new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(&serde_json::to_vec(&state)?)?;
    fs::rename(new, path)
}

/// After a good end nothing is left.
pub(crate) fn remove_state(claim: &Claim) {
    let _ = fs::remove_file(claim.run_dir.join(STATE));
}

fn clean_up(path: &Path) -> Result<Vec<Leftover>, ClaimError> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(ClaimError::Io { path: path.into(), source }),
    };
    #[derive(Deserialize)]
    struct OnlyFormat {
        format: u32,
    }
    if let Ok(OnlyFormat { format }) = serde_json::from_str(&text)
        && format > FORMAT
    {
        return Err(ClaimError::Newer { path: path.into(), found: format });
    }
    // A file cut short by a power cut: then the machine has restarted, and nothing is left.
    let Ok(state) = serde_json::from_str::<StateFile>(&text) else { return Ok(Vec::new()) };
    let ended = end_all(&state);
    let _ = fs::remove_file(path);
    Ok(ended)
}

/// The processes that belong to a dead supervisor: those in its list with the start time noted there, those in their
/// groups, and those that carry its token.
fn find_left(state: &StateFile) -> BTreeMap<i32, String> {
    let all = proc::all();
    let own = i32::try_from(std::process::id()).unwrap_or(0);
    let listed: BTreeMap<i32, &StateProcess> = state
        .processes
        .iter()
        .filter(|p| all.get(&p.pid).is_some_and(|stat| stat.start == p.start))
        .map(|p| (p.pid, p))
        .collect();
    let mut left = BTreeMap::new();
    for (pid, stat) in all.iter().filter(|(pid, stat)| **pid != own && !stat.zombie) {
        let by_list = listed.get(pid).or_else(|| listed.get(&stat.group)).map(|p| p.name.clone());
        let by_token = || {
            let token = proc::variable(*pid, "REGIE_TOKEN")?;
            let name = proc::variable(*pid, "REGIE_PROGRAM").unwrap_or_else(|| "a process".to_owned());
            (token == state.token).then_some(name)
        };
        if let Some(name) = by_list.or_else(by_token) {
            left.insert(*pid, name);
        }
    }
    left
}

fn end_all(state: &StateFile) -> Vec<Leftover> {
    let mut reported: Vec<Leftover> = Vec::new();
    for (signal, grace, end) in
        [(Signal::SIGTERM, GRACE, LeftoverEnd::Stopped), (Signal::SIGKILL, KILL_GRACE, LeftoverEnd::Killed)]
    {
        let mut held: Vec<(i32, String, OwnedFd)> = Vec::new();
        for (pid, name) in find_left(state) {
            // From here on the descriptor names the process: look again, then signal by it.
            let Ok(pidfd) = sys::pidfd_open(pid) else { continue };
            held.push((pid, name, pidfd));
        }
        let still = find_left(state);
        held.retain(|(pid, _, _)| still.contains_key(pid));
        for (_, _, pidfd) in &held {
            let _ = sys::pidfd_signal(pidfd, signal);
        }
        wait_for(&held, grace);
        let now = find_left(state);
        for (pid, name, _) in held {
            let end = if now.contains_key(&pid) { LeftoverEnd::Stays } else { end };
            reported.retain(|l| l.pid != pid);
            reported.push(Leftover { name, pid, end, supervisor: state.pid });
        }
    }
    reported
}

fn wait_for(held: &[(i32, String, OwnedFd)], grace: Duration) {
    let clock = Clock::start();
    let mut open: Vec<&OwnedFd> = held.iter().map(|(_, _, fd)| fd).collect();
    while !open.is_empty() {
        let Some(rest) = grace.checked_sub(clock.now()) else { return };
        let mut fds: Vec<PollFd<'_>> =
            open.iter().map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLIN)).collect();
        let timeout = PollTimeout::try_from(rest).unwrap_or(PollTimeout::ZERO);
        if poll(&mut fds, timeout).is_err() {
            return;
        }
        let ended: Vec<bool> = fds.iter().map(|fd| fd.any().unwrap_or(false)).collect();
        let mut ended = ended.into_iter();
        open.retain(|_| !ended.next().unwrap_or(false));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_claim_names_the_first() {
        let folder = tempfile::tempdir().unwrap();
        let first = claim(folder.path()).unwrap();
        match claim(folder.path()) {
            Err(ClaimError::AlreadyRunning { pid, .. }) => assert_eq!(pid, Some(std::process::id())),
            other => panic!("{other:?}"),
        }
        drop(first);
        claim(folder.path()).unwrap();
    }

    #[test]
    fn state_of_a_newer_version_is_refused_and_a_torn_one_is_none() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(STATE), r#"{"format":2,"what":"ever"}"#).unwrap();
        assert!(matches!(claim(folder.path()), Err(ClaimError::Newer { found: 2, .. })));
        fs::write(folder.path().join(STATE), r#"{"format":1,"pid":"#).unwrap();
        assert_eq!(claim(folder.path()).unwrap().leftovers(), []);
    }

    #[test]
    fn a_pid_with_another_start_time_is_left_alone() {
        let mut stranger = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let pid = i32::try_from(stranger.id()).unwrap();
        let start = proc::stat(pid).unwrap().start;
        let state = |start| StateFile {
            format: FORMAT,
            pid: 1,
            token: "no token".into(),
            processes: vec![StateProcess { name: "a".into(), pid, start }],
        };
        assert!(find_left(&state(start + 1)).is_empty());
        assert_eq!(find_left(&state(start)).len(), 1);
        stranger.kill().unwrap();
        stranger.wait().unwrap();
    }
}
