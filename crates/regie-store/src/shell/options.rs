//! How a store is run: what it is given, what may be changed while it runs, and why it may not start.

use super::recover::RecoveryError;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::mpsc;

/// How to run a store.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Addresses to listen on.
    pub listen: Vec<SocketAddr>,
    /// A Unix socket to listen on; made with mode 0600.
    pub unix: Option<PathBuf>,
    /// Where the data lies; without it nothing is kept.
    pub dir: Option<PathBuf>,
    /// Settings as CONFIG SET takes them.
    pub config: Vec<(String, String)>,
    /// Called with a line for the operator.
    pub report: Option<fn(&str)>,
    /// Called with what the store is doing, in a few words, when that has changed: while it reads its data, and every
    /// few seconds from then on.
    pub status: Option<fn(&str)>,
}

/// Sockets that were opened by someone else.
#[derive(Debug, Default)]
pub struct Inherited {
    /// Listening TCP sockets.
    pub tcp: Vec<TcpListener>,
    /// Listening Unix sockets.
    pub unix: Vec<UnixListener>,
    /// Where settings come from that are to hold from now on.
    pub changes: Option<Changes>,
}

/// Settings that take the place of [`Options::config`] while the store runs.
#[derive(Debug)]
pub struct Changes {
    /// Has a byte to read for each list of settings that was sent.
    pub heard: OwnedFd,
    /// All settings, as in [`Options::config`]. What differs from the last list is applied; what only holds from a
    /// start on is reported.
    pub settings: mpsc::Receiver<Vec<(String, String)>>,
}

/// Why a store did not start, or had to end.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A setting is wrong.
    #[error("{0}")]
    Setting(String),
    /// A socket cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// Where.
        address: String,
        /// Why.
        source: io::Error,
    },
    /// The data cannot be read.
    #[error(transparent)]
    Recovery(#[from] RecoveryError),
    /// The operating system refused something that cannot be done without.
    #[error("event loop: {0}")]
    System(#[from] io::Error),
}

impl From<nix::errno::Errno> for RunError {
    fn from(errno: nix::errno::Errno) -> Self {
        Self::System(errno.into())
    }
}
