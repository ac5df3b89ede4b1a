//! What the supervisor has handed to a role: its sockets, the lifeline, and where to say that it is ready.

use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, FromRawFd as _, OwnedFd};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use regie_core::handoff::{Handoff, names};
use regie_lane::Lane;
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe;

/// The descriptors that came with the process, each owned once.
#[derive(Debug, Default)]
pub(crate) struct Handed {
    entries: Vec<(String, OwnedFd)>,
}

impl Handed {
    /// Takes what the environment names. To be called once, at the start of the process: a second call would own the
    /// same descriptors again.
    pub(crate) fn take() -> io::Result<Self> {
        let handoff = Handoff::parse(|name| std::env::var(name).ok(), std::process::id());
        let mut entries = Vec::new();
        for (name, number) in handoff.iter() {
            // SAFETY: the supervisor opened this descriptor for us before the start and says so in the environment;
            // nothing else of this process has touched it yet, so it is ours alone.
            let fd = unsafe { OwnedFd::from_raw_fd(number) };
            // A child of ours must not hold it: it would keep a port or the lifeline open. This also finds out a
            // number in the environment that is no open descriptor.
            fcntl(&fd, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
            entries.push((name.to_owned(), fd));
        }
        Ok(Self { entries })
    }

    /// The pipe whose end says that the supervisor is gone.
    pub(crate) fn lifeline(&mut self) -> Option<OwnedFd> {
        let at = self.entries.iter().position(|(name, _)| name == names::LIFELINE)?;
        Some(self.entries.remove(at).1)
    }

    /// The lane called `name`, when it was handed on.
    pub(crate) fn lane(&self, name: &str) -> io::Result<Option<Arc<Lane>>> {
        let find = |part: &str| self.entries.iter().find(|(n, _)| n == part).map(|(_, fd)| fd.as_raw_fd());
        if find(name).is_none() {
            return Ok(None);
        }
        Lane::open(name, find).map(|lane| Some(Arc::new(lane)))
    }

    /// The descriptors whose name begins with `prefix`, in order.
    pub(crate) fn with_prefix(&mut self, prefix: &str) -> Vec<OwnedFd> {
        let (taken, left) =
            std::mem::take(&mut self.entries).into_iter().partition(|(name, _)| name.starts_with(prefix));
        self.entries = left;
        taken.into_iter().map(|(_, fd)| fd).collect()
    }
}

/// Whether the supervisor is gone.
pub(crate) fn is_at_end(lifeline: &OwnedFd) -> bool {
    let mut looked = [PollFd::new(lifeline.as_fd(), PollFlags::POLLIN)];
    // Nobody writes to it: what is to be read is its end.
    poll(&mut looked, PollTimeout::ZERO).is_ok_and(|found| found > 0)
}

/// Ends when the supervisor does: nobody ever writes into its pipe. Never, without one.
pub(crate) fn gone(lifeline: Option<OwnedFd>) -> io::Result<impl Future<Output = ()>> {
    let mut lifeline = lifeline.map(pipe::Receiver::from_owned_fd).transpose()?;
    Ok(async move {
        match &mut lifeline {
            Some(pipe) => while pipe.read(&mut [0; 16]).await.is_ok_and(|read| read > 0) {},
            None => std::future::pending().await,
        }
    })
}

/// Tells the supervisor, or systemd, `message` (sd_notify(3)): `READY=1`, `STOPPING=1`, `STATUS=…`. Without a
/// `NOTIFY_SOCKET` nobody asks.
pub(crate) fn notify(message: &str) -> io::Result<()> {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else { return Ok(()) };
    let socket = UnixDatagram::unbound()?;
    match path.to_str().and_then(|path| path.strip_prefix('@')) {
        Some(name) => socket.send_to_addr(message.as_bytes(), &SocketAddr::from_abstract_name(name)?)?,
        None => socket.send_to(message.as_bytes(), &path)?,
    };
    Ok(())
}
