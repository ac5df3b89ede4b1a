//! Opens the sockets and makes the lanes that outlive the programs.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use nix::unistd::{Uid, User, chown};
use regie_config::shell::ports::holder_of;
use regie_config::values::Listen;
use regie_lane::wake::SLOTS_MAX;
use regie_lane::{Lane, Shape};
use regie_supervisor::RunAs;
use socket2::{Domain, Protocol, Socket as RawSocket, Type};

use crate::programs::{LaneRow, Socket};

/// Connections that wait to be accepted. The kernel caps it at `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// In development a port that is taken is passed over; so many are tried.
const PORTS_TRIED: u16 = 20;

/// A Unix socket's path in full, its closing NUL included.
const UNIX_PATH_MAX: usize = 108;

/// A socket that could not be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// Somebody else listens there.
    #[error("{listen} is taken{}", by.as_ref().map(|by| format!(" by {by}")).unwrap_or_default())]
    Taken {
        /// Where.
        listen: Listen,
        /// Program and pid, where they can be seen.
        by: Option<String>,
    },
    /// A port below 1024 without the right to it.
    #[error(
        "{0}: ports below 1024 need a right; start as root, or allow them once with: \
         sudo sysctl net.ipv4.ip_unprivileged_port_start=80"
    )]
    Privileged(Listen),
    /// The path is longer than an address can hold.
    #[error("the path {0} is longer than the {max} bytes that a socket's address holds; set a shorter [app] state", max = UNIX_PATH_MAX - 1)]
    LongPath(String),
    /// Anything else.
    #[error("failed to listen on {listen}")]
    Io {
        /// Where.
        listen: Listen,
        /// Why not.
        source: io::Error,
    },
}

/// What opening depends on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules<'a> {
    /// Whether a TCP port that is taken is passed over for the next free one.
    pub(crate) next_free_port: bool,
    /// Who owns Unix sockets.
    pub(crate) owner: Option<&'a RunAs>,
    /// The mode of Unix sockets: internal ones are for the application's user alone.
    pub(crate) mode: u32,
}

/// Opens `socket`; returns it with the address that it really has.
pub(crate) fn open(socket: &Socket, rules: Rules<'_>) -> Result<(OwnedFd, Listen), Fault> {
    match &socket.listen {
        Listen::Tcp(address) if rules.next_free_port && address.port() != 0 => open_next_free(*address),
        Listen::Tcp(address) => open_tcp(*address),
        Listen::Unix(path) => open_unix(path, rules).map(|fd| (fd, socket.listen.clone())),
    }
}

/// Slots of a lane at least: a group can be scaled, and another `queue_length` be reloaded, while the lane stays.
const SLOTS_MIN: u32 = 64;

/// Makes a lane; returns its parts with their names.
pub(crate) fn open_lane(name: &str, row: LaneRow) -> io::Result<Vec<(String, OwnedFd)>> {
    let lane = Lane::create(shape(row))?;
    Lane::names(name)
        .into_iter()
        .zip(lane.descriptors())
        .map(|(name, fd)| Ok((name, fd.try_clone_to_owned()?)))
        .collect()
}

/// A slot for each request that is in work or waits. What comes beyond waits in the gateway for a slot.
fn shape(row: LaneRow) -> Shape {
    // `auto` as `regie-php` understands it.
    let workers = row.workers.unwrap_or_else(|| {
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        u32::try_from((2 * processors).max(4)).unwrap_or(u32::MAX)
    });
    let slots =
        workers.saturating_add(row.waiting).clamp(SLOTS_MIN, u32::try_from(SLOTS_MAX).unwrap_or(u32::MAX));
    Shape { slots, ..Shape::default() }
}

fn open_next_free(wanted: SocketAddr) -> Result<(OwnedFd, Listen), Fault> {
    let mut refused = None;
    for port in wanted.port()..=wanted.port().saturating_add(PORTS_TRIED) {
        match open_tcp(SocketAddr::new(wanted.ip(), port)) {
            Err(fault @ Fault::Taken { .. }) => refused = refused.or(Some(fault)),
            other => return other,
        }
    }
    Err(refused.expect("at least one port was tried"))
}

fn open_tcp(address: SocketAddr) -> Result<(OwnedFd, Listen), Fault> {
    let listener = bind_tcp(address).map_err(|source| {
        let listen = Listen::Tcp(address);
        match source.kind() {
            io::ErrorKind::AddrInUse => {
                let by = holder_of(address).map(|holder| format!("{} (pid {})", holder.program, holder.pid));
                Fault::Taken { listen, by }
            }
            io::ErrorKind::PermissionDenied if address.port() < 1024 => Fault::Privileged(listen),
            _ => Fault::Io { listen, source },
        }
    })?;
    let bound = listener.local_addr().unwrap_or(address);
    Ok((listener.into(), Listen::Tcp(bound)))
}

fn bind_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = RawSocket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A restart must not wait until the kernel has forgotten the connections of the run before.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn open_unix(path: &Path, rules: Rules<'_>) -> Result<OwnedFd, Fault> {
    let listen = || Listen::Unix(path.to_owned());
    if path.as_os_str().len() >= UNIX_PATH_MAX {
        return Err(Fault::LongPath(path.display().to_string()));
    }
    if UnixStream::connect(path).is_ok() {
        return Err(Fault::Taken { listen: listen(), by: None });
    }
    bind_unix(path, rules).map_err(|source| Fault::Io { listen: listen(), source })
}

fn bind_unix(path: &Path, rules: Rules<'_>) -> io::Result<OwnedFd> {
    match fs::remove_file(path) {
        Err(fault) if fault.kind() != io::ErrorKind::NotFound => return Err(fault),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(rules.mode))?;
    if let Some(owner) = rules.owner.filter(|_| Uid::effective().is_root()) {
        let user =
            User::from_name(&owner.user)?.ok_or_else(|| io::Error::other("the user does not exist"))?;
        chown(path, Some(user.uid), Some(user.gid))?;
    }
    // std listens with a backlog of its own; a pool's socket takes as many as a busy gateway may open.
    socket2::SockRef::from(&listener).listen(BACKLOG)?;
    Ok(listener.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERNAL: Rules<'_> = Rules { next_free_port: false, owner: None, mode: 0o600 };

    fn tcp(address: SocketAddr) -> Socket {
        Socket { name: "http".into(), listen: Listen::Tcp(address) }
    }

    #[test]
    fn a_lane_has_a_slot_for_each_request_within_limits() {
        let slots = |workers, waiting| shape(LaneRow { workers: Some(workers), waiting }).slots;
        for ((workers, waiting), expected) in
            [((4, 200), 204), ((1, 0), 64), ((512, 1024), 1024), ((4, u32::MAX), 1024)]
        {
            assert_eq!(slots(workers, waiting), expected, "{workers} workers, {waiting} waiting");
        }
        let auto = shape(LaneRow { workers: None, waiting: 100 });
        assert!(auto.slots >= 104 && auto.check().is_ok(), "{auto:?}");
    }

    #[test]
    fn a_taken_port_is_named_or_passed_over() {
        let held = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = held.local_addr().unwrap();
        assert!(matches!(open(&tcp(address), INTERNAL), Err(Fault::Taken { .. })));
        let (_, Listen::Tcp(found)) =
            open(&tcp(address), Rules { next_free_port: true, ..INTERNAL }).unwrap()
        else {
            panic!("a TCP address stays one")
        };
        assert!(found.port() > address.port());
    }

    #[test]
    fn unix_sockets_are_private_and_stale_ones_are_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pool.sock");
        let socket = Socket { name: "php.web".into(), listen: Listen::Unix(path.clone()) };
        let (first, _) = open(&socket, INTERNAL).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(matches!(open(&socket, INTERNAL), Err(Fault::Taken { .. })), "in use");
        drop(first);
        // What a server that has ended leaves behind: a file that nobody listens to. The socket just dropped may
        // be listened to for a moment yet, by a process that another test is about to start (until its exec).
        let path = folder.path().join("stale.sock");
        let left = RawSocket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        left.bind(&socket2::SockAddr::unix(&path).unwrap()).unwrap();
        let stale = Socket { listen: Listen::Unix(path.clone()), ..socket };
        let _second = open(&stale, INTERNAL).unwrap();
        assert!(UnixStream::connect(&path).is_ok(), "the new one is listened to");
        let long = Socket { listen: Listen::Unix(folder.path().join("x".repeat(200))), ..stale };
        assert!(matches!(open(&long, INTERNAL), Err(Fault::LongPath(_))));
    }
}
