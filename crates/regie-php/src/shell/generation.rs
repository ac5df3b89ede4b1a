//! A new generation of the pool: a new master with new opcache memory, beside the workers of the old one.
//!
//! Under Régie's supervisor (it has given us a lifeline and listens to our notices) that is its task: it is told, and
//! starts a second master on the same socket. Alone, the master becomes its own successor: it first lets a child try
//! whether the engine still starts, then executes itself in place. Its pid and sockets stay; the workers of before are
//! still its children, serve until the new ones are ready, and are then asked to leave.

use std::ffi::OsString;
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::unistd::Pid;

/// Carries what the successor must know, as `listener=5 status=7 old=123,124`; on the next line, where the pool shall leave
/// rewind mode, why.
const VARIABLE: &str = "REGIE_PHP_INHERIT";
/// Asks for nothing but a trial of the engine.
const TRIAL: &str = "REGIE_PHP_TRIAL";

/// How this process was started; taken before the title is written over the arguments.
#[derive(Debug)]
pub(crate) struct Origin {
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
}

/// What a predecessor left.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Inherited {
    pub(crate) listener: Option<i32>,
    pub(crate) status: Option<i32>,
    pub(crate) old: Vec<i32>,
    /// Why rewind mode did not work out for the predecessor.
    pub(crate) classic_because: Option<String>,
}

impl Origin {
    pub(crate) fn remember() -> Self {
        let ours = |name: &OsString| name == VARIABLE || name == TRIAL;
        Self {
            args: std::env::args_os().collect(),
            env: std::env::vars_os().filter(|(name, _)| !ours(name)).collect(),
        }
    }

    fn command(&self) -> Command {
        let mut command = Command::new("/proc/self/exe");
        if let Some((name, rest)) = self.args.split_first() {
            command.arg0(name).args(rest);
        }
        command.env_clear().envs(self.env.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Starts a child that tries the engine and ends with 0 when it starts.
    pub(crate) fn try_out(&self) -> io::Result<Child> {
        self.command().env(TRIAL, "1").spawn()
    }

    /// Becomes the successor. Returns only when that failed.
    pub(crate) fn succeed(
        &self,
        listener: i32,
        status: Option<i32>,
        handed: &[i32],
        old: &[Pid],
        classic_because: Option<&str>,
    ) -> io::Error {
        let kept = handed.iter().copied().chain([listener]).chain(status);
        for fd in kept {
            // SAFETY: these stay open for the life of the process.
            let fd = unsafe { BorrowedFd::borrow_raw(fd) };
            let _ = fcntl(fd, FcntlArg::F_SETFD(FdFlag::empty()));
        }
        let old: Vec<String> = old.iter().map(|pid| pid.as_raw().to_string()).collect();
        let status = status.map(|fd| format!(" status={fd}")).unwrap_or_default();
        let because = classic_because.map(|why| format!("\n{}", why.replace('\0', ""))).unwrap_or_default();
        let value = format!("listener={listener}{status} old={}{because}", old.join(","));
        self.command().env(VARIABLE, value).exec()
    }
}

/// Whether this process is a trial.
pub(crate) fn is_trial() -> bool {
    std::env::var_os(TRIAL).is_some()
}

impl Inherited {
    pub(crate) fn from_env() -> Self {
        std::env::var(VARIABLE).map(|value| Self::parse(&value)).unwrap_or_default()
    }

    fn parse(value: &str) -> Self {
        let (value, because) = value.split_once('\n').unwrap_or((value, ""));
        let classic_because = (!because.is_empty()).then(|| because.to_owned());
        let mut inherited = Self { classic_because, ..Self::default() };
        for (name, value) in value.split(' ').filter_map(|part| part.split_once('=')) {
            match name {
                "listener" => inherited.listener = value.parse().ok(),
                "status" => inherited.status = value.parse().ok(),
                "old" => inherited.old = value.split(',').filter_map(|pid| pid.parse().ok()).collect(),
                _ => {}
            }
        }
        inherited
    }
}

#[cfg(test)]
mod tests {
    use super::Inherited;

    #[test]
    fn what_is_left_is_understood() {
        let expected = Inherited { listener: Some(5), old: vec![12, 13], ..Inherited::default() };
        assert_eq!(Inherited::parse("listener=5 old=12,13"), expected);
        let told = Inherited { classic_because: Some("a pipe x=1 is open".into()), ..expected };
        assert_eq!(Inherited::parse("listener=5 old=12,13\na pipe x=1 is open"), told);
        assert_eq!(Inherited::parse("old="), Inherited::default());
    }
}
