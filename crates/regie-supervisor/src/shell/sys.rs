//! The few calls that Rust cannot check: `fork`, what a child does until `exec`, and `pidfd`.
#![expect(unsafe_code, reason = "the process border")]

use std::ffi::{CStr, CString, c_char, c_int};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use nix::fcntl::{FcntlArg, OFlag};

/// What a child does between `fork` and `exec`, prepared beforehand: after `fork` nothing may be allocated.
#[derive(Debug)]
pub(crate) struct Launch {
    /// Files to try in order, as `execvp(3)` does along `PATH`.
    pub(crate) files: Vec<CString>,
    pub(crate) argv: Vec<CString>,
    /// `NAME=value`.
    pub(crate) envp: Vec<CString>,
    /// Standard input, output, error, then the descriptors that are handed on from 3.
    pub(crate) fds: Vec<RawFd>,
    pub(crate) cwd: Option<CString>,
    pub(crate) identity: Option<Identity>,
    pub(crate) nice: c_int,
    pub(crate) umask: Option<libc::mode_t>,
    /// Resource and value, soft and hard alike.
    pub(crate) rlimits: Vec<(c_int, libc::rlim_t)>,
    /// What the kernel sends when the supervisor dies.
    pub(crate) death_signal: c_int,
}

/// Whom to become.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub(crate) uid: libc::uid_t,
    pub(crate) gid: libc::gid_t,
    pub(crate) groups: Vec<libc::gid_t>,
}

/// What the child was at when it failed. The number goes through a pipe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Step {
    Session,
    Descriptors,
    Limits,
    Identity,
    Folder,
    Parent,
    Exec,
}

const STEPS: [Step; 7] =
    [Step::Session, Step::Descriptors, Step::Limits, Step::Identity, Step::Folder, Step::Parent, Step::Exec];

/// Why there is no new process.
#[derive(Debug)]
pub(crate) enum LaunchError {
    /// Before there was a child.
    Fork(io::Error),
    /// In the child.
    Child(Step, io::Error),
}

/// Digits that the child fills in for its own pid.
const PID_DIGITS: usize = 10;

/// Starts a process in a session and process group of its own, and returns when it has become the program.
pub(crate) fn launch(launch: &Launch) -> Result<i32, LaunchError> {
    let (report_in, report_out) = report_pipe(launch.fds.len()).map_err(LaunchError::Fork)?;
    let pointers = |strings: &[CString]| -> Vec<*const c_char> {
        strings.iter().map(|s| s.as_ptr()).chain([std::ptr::null()]).collect()
    };
    let argv = pointers(&launch.argv);
    let mut listen_pid: Vec<u8> = b"LISTEN_PID=".iter().copied().chain([0; PID_DIGITS + 1]).collect();
    let mut envp = pointers(&launch.envp);
    envp.insert(0, listen_pid.as_ptr().cast());
    let mut lifted: Vec<RawFd> = vec![0; launch.fds.len()];
    let parent = nix::unistd::getpid().as_raw();
    // SAFETY: the child calls only async-signal-safe functions on memory that was prepared above, and ends in
    // `execve` or `_exit`; no lock that another thread may hold is touched.
    let pid = unsafe { libc::fork() };
    match pid {
        -1 => Err(LaunchError::Fork(io::Error::last_os_error())),
        0 => {
            // SAFETY: we are the child; the pointers live until `execve` replaces this memory.
            let step = unsafe { become_program(launch, &argv, &envp, &mut listen_pid, &mut lifted, parent) };
            let errno = io::Error::last_os_error().raw_os_error().unwrap_or(0).to_ne_bytes();
            let report = [step as u8, errno[0], errno[1], errno[2], errno[3]];
            // SAFETY: writes five bytes of the stack to a descriptor of ours, and ends without running anything
            // of the parent's.
            unsafe {
                libc::write(report_out.as_raw_fd(), report.as_ptr().cast(), report.len());
                libc::_exit(127)
            }
        }
        _ => {
            drop(report_out);
            let mut report = Vec::new();
            let read = File::from(report_in).read_to_end(&mut report);
            match (read, report.as_slice()) {
                (Ok(_), [step, a, b, c, d]) => {
                    let _ = nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(pid), None);
                    let step = STEPS.get(usize::from(*step)).copied().unwrap_or(Step::Exec);
                    Err(LaunchError::Child(
                        step,
                        io::Error::from_raw_os_error(i32::from_ne_bytes([*a, *b, *c, *d])),
                    ))
                }
                _ => Ok(pid),
            }
        }
    }
}

/// A pipe that closes by itself when the child has become the program; its writing end lies above the `count`
/// descriptors that are handed on.
fn report_pipe(count: usize) -> io::Result<(OwnedFd, OwnedFd)> {
    let (reading, writing) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
    let above = FcntlArg::F_DUPFD_CLOEXEC(c_int::try_from(count).unwrap_or(c_int::MAX));
    let lifted = nix::fcntl::fcntl(&writing, above)?;
    // SAFETY: the kernel has just given it to us.
    Ok((reading, unsafe { OwnedFd::from_raw_fd(lifted) }))
}

/// Returns only on failure, with what failed; `errno` says why.
///
/// # Safety
/// To be called in a forked child; `argv` and `envp` end with a null pointer.
unsafe fn become_program(
    launch: &Launch,
    argv: &[*const c_char],
    envp: &[*const c_char],
    listen_pid: &mut [u8],
    lifted: &mut [RawFd],
    parent: i32,
) -> Step {
    let count = launch.fds.len();
    let first_free = c_int::try_from(count).unwrap_or(c_int::MAX);
    // SAFETY: plain system calls on numbers, and on memory that the caller keeps.
    unsafe {
        if libc::setsid() == -1 {
            return Step::Session;
        }
        // First out of the way of the targets, then to them.
        for (from, lifted) in launch.fds.iter().zip(lifted.iter_mut()) {
            *lifted = libc::fcntl(*from, libc::F_DUPFD_CLOEXEC, first_free);
            if *lifted == -1 {
                return Step::Descriptors;
            }
        }
        for (target, from) in (0..first_free).zip(lifted.iter()) {
            if libc::dup2(*from, target) == -1 {
                return Step::Descriptors;
            }
        }
        // What we were started with ourselves goes no further. (Older kernels: ENOSYS, and it does.)
        libc::syscall(libc::SYS_close_range, first_free, c_int::MAX, libc::CLOSE_RANGE_CLOEXEC);
        default_signals();
        if let Some(mask) = launch.umask {
            libc::umask(mask);
        }
        for (resource, value) in &launch.rlimits {
            let limit = libc::rlimit { rlim_cur: *value, rlim_max: *value };
            // The type of the resource differs between C libraries.
            if libc::setrlimit(*resource as _, &raw const limit) == -1 {
                return Step::Limits;
            }
        }
        if launch.nice != 0 {
            let own = libc::getpriority(libc::PRIO_PROCESS, 0);
            if libc::setpriority(libc::PRIO_PROCESS, 0, own + launch.nice) == -1 {
                return Step::Limits;
            }
        }
        if let Some(identity) = &launch.identity
            && (libc::setgroups(identity.groups.len(), identity.groups.as_ptr()) == -1
                || libc::setgid(identity.gid) == -1
                || libc::setuid(identity.uid) == -1)
        {
            return Step::Identity;
        }
        if let Some(cwd) = &launch.cwd
            && libc::chdir(cwd.as_ptr()) == -1
        {
            return Step::Folder;
        }
        // After the change of user, which clears it; then see whether it came too late.
        libc::prctl(libc::PR_SET_PDEATHSIG, launch.death_signal);
        if libc::getppid() != parent {
            return Step::Parent;
        }
        write_pid(&mut listen_pid[b"LISTEN_PID=".len()..], libc::getpid());
        let mut errno = libc::ENOENT;
        for file in &launch.files {
            libc::execve(file.as_ptr(), argv.as_ptr(), envp.as_ptr());
            let failed = *libc::__errno_location();
            if !matches!(failed, libc::ENOENT | libc::ENOTDIR) {
                errno = failed;
                if failed != libc::EACCES {
                    break;
                }
            }
        }
        *libc::__errno_location() = errno;
    }
    Step::Exec
}

/// The supervisor blocks signals that it reads from a descriptor, and ignores SIGPIPE: a program starts with none
/// of that.
///
/// # Safety
/// To be called in a forked child.
unsafe fn default_signals() {
    // SAFETY: system calls on memory of this frame; a number that is no signal is refused, which is fine.
    unsafe {
        for number in 1..=64 {
            if number != libc::SIGKILL && number != libc::SIGSTOP {
                libc::signal(number, libc::SIG_DFL);
            }
        }
        let mut none = std::mem::zeroed::<libc::sigset_t>();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
    }
}

/// Writes `pid` in digits, closed by a NUL that is there already.
fn write_pid(digits: &mut [u8], pid: i32) {
    let mut reversed = [0u8; PID_DIGITS];
    let mut rest = pid.unsigned_abs();
    let mut count = 0;
    while count < PID_DIGITS {
        reversed[count] = b'0' + u8::try_from(rest % 10).unwrap_or(0);
        count += 1;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    for (place, digit) in digits.iter_mut().zip(reversed[..count].iter().rev()) {
        *place = *digit;
    }
}

/// Orphans of our children become ours, so that they are reaped and can be found.
pub(crate) fn adopt_orphans() -> io::Result<()> {
    // SAFETY: takes numbers only.
    match unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// A descriptor that stands for this very process; readable when it has ended.
pub(crate) fn pidfd_open(pid: i32) -> io::Result<OwnedFd> {
    // SAFETY: takes numbers only.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    match RawFd::try_from(fd) {
        // SAFETY: the kernel has just given it to us.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Sends a signal to the process that `pidfd` stands for.
pub(crate) fn pidfd_signal(pidfd: &OwnedFd, signal: nix::sys::signal::Signal) -> io::Result<()> {
    let none = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: a null siginfo is allowed (as kill(2)).
    match unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal as c_int, none, 0) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// All groups of a user, the given one included.
pub(crate) fn groups_of(user: &CStr, gid: libc::gid_t) -> Vec<libc::gid_t> {
    nix::unistd::getgrouplist(user, nix::unistd::Gid::from_raw(gid))
        .map_or_else(|_| vec![gid], |groups| groups.into_iter().map(nix::unistd::Gid::as_raw).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pids_are_written_in_digits() {
        for (pid, expected) in [(0, "0"), (7, "7"), (4_194_304, "4194304"), (i32::MAX, "2147483647")] {
            let mut digits = [0u8; PID_DIGITS + 1];
            write_pid(&mut digits, pid);
            assert_eq!(CStr::from_bytes_until_nul(&digits).unwrap().to_str().unwrap(), expected);
        }
    }
}
