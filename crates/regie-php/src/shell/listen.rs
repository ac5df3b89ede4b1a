//! The listening socket: opened here, or handed on by the supervisor.

use std::ffi::CString;
use std::fs;
use std::io;
use std::net::TcpListener;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::Duration;

use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{listen, setsockopt, sockopt};
use nix::sys::time::TimeVal;
use nix::unistd::{Gid, Uid, chown};

use crate::options::Listen;

/// Connections that may wait for a worker. The kernel's own limit (net.core.somaxconn) may be lower.
const BACKLOG: i32 = 4096;

/// How long a wait lasts before the waiter looks around. A nudge ends it at once; this is for the nudge that came a
/// moment before the wait began.
pub(crate) const TICK: Duration = Duration::from_secs(2);

/// Opens `address`.
pub(crate) fn open(
    address: &Listen,
    mode: u32,
    owner: Option<Uid>,
    group: Option<Gid>,
) -> io::Result<OwnedFd> {
    match address {
        Listen::Tcp(address) => Ok(TcpListener::bind(address)?.into()),
        Listen::Unix(path) => open_unix(path, mode, owner, group),
    }
}

fn open_unix(path: &Path, mode: u32, owner: Option<Uid>, group: Option<Gid>) -> io::Result<OwnedFd> {
    remove_stale(path)?;
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    if owner.is_some() || group.is_some() {
        chown(path, owner, group)?;
    }
    Ok(listener.into())
}

/// Removes a socket that nobody listens on; anything else is left, and named.
fn remove_stale(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(_) => Ok(()),
        Ok(found) if !found.file_type().is_socket() => {
            Err(io::Error::new(io::ErrorKind::AlreadyExists, "a file that is no socket is there"))
        }
        Ok(_) if UnixStream::connect(path).is_ok() => {
            Err(io::Error::new(io::ErrorKind::AddrInUse, "another process listens there"))
        }
        Ok(_) => fs::remove_file(path),
    }
}

/// Makes a socket ready for workers: they wait in accept(), which wakes one of them for each connection.
pub(crate) fn prepare(socket: BorrowedFd<'_>) -> io::Result<()> {
    listen(&socket, nix::sys::socket::Backlog::new(BACKLOG)?)?;
    let flags = OFlag::from_bits_retain(fcntl(socket, FcntlArg::F_GETFL)?);
    fcntl(socket, FcntlArg::F_SETFL(flags - OFlag::O_NONBLOCK))?;
    let tick = TimeVal::new(TICK.as_secs().cast_signed(), 0);
    setsockopt(&socket, sockopt::ReceiveTimeout, &tick)?;
    Ok(())
}

/// For workers that wait for the lane too: they learn in epoll that somebody knocks, and another may have been faster.
pub(crate) fn never_block(socket: BorrowedFd<'_>) -> io::Result<()> {
    let flags = OFlag::from_bits_retain(fcntl(socket, FcntlArg::F_GETFL)?);
    fcntl(socket, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    Ok(())
}

/// Sleeps until somebody knocks, for a tick at most. A successor that waits for a lane has made the socket, which is its
/// too, one that never blocks; to ask again at once would be to spin.
pub(crate) fn wait(listener: i32) {
    // SAFETY: the listener stays open for the life of the process.
    let listener = unsafe { BorrowedFd::borrow_raw(listener) };
    let tick = PollTimeout::try_from(TICK).unwrap_or(PollTimeout::MAX);
    let _ = poll(&mut [PollFd::new(listener, PollFlags::POLLIN)], tick);
}

/// Takes over a descriptor that was handed on.
///
/// # Safety
/// `fd` is open and belongs to nobody else in this process.
pub(crate) unsafe fn take_over(fd: i32) -> OwnedFd {
    // SAFETY: as the caller says.
    let taken = unsafe { OwnedFd::from_raw_fd(fd) };
    // What PHP executes must not hold our sockets open.
    let _ = fcntl(&taken, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC));
    taken
}

/// A descriptor for the rest of the process's life.
pub(crate) fn keep(fd: OwnedFd) -> i32 {
    debug_assert!(fd.as_raw_fd() >= 0);
    fd.into_raw_fd()
}

/// A text for C, for the rest of the process's life.
pub(crate) fn keep_text(text: &str) -> &'static std::ffi::CStr {
    Box::leak(CString::new(text.replace('\0', "")).unwrap_or_default().into_boxed_c_str())
}
