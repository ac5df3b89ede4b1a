//! Speaks to whoever started us, by datagrams to the socket in `NOTIFY_SOCKET` (`sd_notify(3)`), so the pool stands
//! under Régie's supervisor and under systemd alike.
//!
//! Beside systemd's `READY=1`, `STATUS=…` and `STOPPING=1` there is one of our own: `X_REGIE_GENERATION=1` asks the
//! supervisor for a new generation of the pool, since opcache's memory can be made anew only by a new master.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// Where to speak; nowhere, when nobody listens.
#[derive(Debug)]
pub(crate) struct Notify {
    address: Option<SocketAddr>,
}

impl Notify {
    /// `value` is that of `NOTIFY_SOCKET`.
    pub(crate) fn new(value: Option<&str>) -> Self {
        let address = value.and_then(|name| match name.strip_prefix('@') {
            Some(name) => SocketAddr::from_abstract_name(name.as_bytes()).ok(),
            None => SocketAddr::from_pathname(name).ok(),
        });
        Self { address }
    }

    /// Whether somebody listens.
    pub(crate) fn is_heard(&self) -> bool {
        self.address.is_some()
    }

    /// Says `lines`. Nobody waits for an answer, and none is waited for.
    pub(crate) fn say(&self, lines: &str) {
        if let Some(address) = &self.address
            && let Ok(socket) = UnixDatagram::unbound()
        {
            let _ = socket.set_nonblocking(true);
            let _ = socket.send_to_addr(lines.as_bytes(), address);
        }
    }
}
