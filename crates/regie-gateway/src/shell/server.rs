//! Listeners, connections, and the end of both.
//!
//! A stop has phases: `draining` (nothing new is accepted; requests in flight are finished, each answered with
//! `Connection: close`, HTTP/2 with GOAWAY; idle connections are given a moment for a request that is on its way, then
//! closed), then at the deadline `cutting` (what is left is dropped). The report says how many were finished and how many were cut.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::net::{TcpListener, UnixListener};
use tokio::sync::futures::Notified;
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;

use super::clock::now;
use super::gateway::{Ends, Gateway};
use super::h1::{self, Outcome};
use super::h2;
use super::stream::Stream;

/// A listener that was bound here or handed on by the supervisor.
#[derive(Debug)]
pub struct Listener {
    kind: Kind,
    /// For questions about the gateway itself.
    is_status: bool,
}

#[derive(Debug)]
enum Kind {
    Tcp(std::net::TcpListener),
    Unix(std::os::unix::net::UnixListener),
}

impl Listener {
    /// Takes over a listening socket.
    #[must_use]
    pub const fn from_std(socket: std::net::TcpListener) -> Self {
        Self::of(Kind::Tcp(socket))
    }

    /// Takes over a listening Unix socket. Its clients count as local: `127.0.0.1` is what they are called.
    #[must_use]
    pub const fn from_unix(socket: std::os::unix::net::UnixListener) -> Self {
        Self::of(Kind::Unix(socket))
    }

    const fn of(kind: Kind) -> Self {
        Self { kind, is_status: false }
    }

    /// The same for questions about the gateway itself: `/healthz`, `/readyz` and `/metrics`, and nothing of the site. It has
    /// connections of its own, so it answers also when all others are in use.
    #[must_use]
    pub fn for_status(self) -> Self {
        Self { is_status: true, ..self }
    }

    /// Takes over a listening socket of either kind.
    ///
    /// # Errors
    /// When it is no stream socket of TCP or Unix.
    pub fn from_fd(socket: OwnedFd) -> io::Result<Self> {
        let socket = socket2::Socket::from(socket);
        match socket.domain()? {
            socket2::Domain::UNIX => Ok(Self::of(Kind::Unix(OwnedFd::from(socket).into()))),
            socket2::Domain::IPV4 | socket2::Domain::IPV6 => Ok(Self::of(Kind::Tcp(socket.into()))),
            other => Err(io::Error::other(format!("a listener of the family {other:?} is of no use"))),
        }
    }

    /// Binds an address. For programs that are not started by a supervisor.
    ///
    /// # Errors
    /// When the address is taken or not ours.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = socket2::Socket::new(
            socket2::Domain::for_address(address),
            socket2::Type::STREAM,
            Some(socket2::Protocol::TCP),
        )?;
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        Ok(Self::of(Kind::Tcp(socket.into())))
    }

    /// Where it listens; port 0 for a Unix socket.
    ///
    /// # Errors
    /// When the socket is none that listens.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        match &self.kind {
            Kind::Tcp(socket) => socket.local_addr(),
            Kind::Unix(_) => Ok(LOCAL),
        }
    }

    fn into_accept(self) -> io::Result<Accept> {
        Ok(match self.kind {
            Kind::Tcp(socket) => {
                socket.set_nonblocking(true)?;
                Accept::Tcp(TcpListener::from_std(socket)?)
            }
            Kind::Unix(socket) => {
                socket.set_nonblocking(true)?;
                Accept::Unix(UnixListener::from_std(socket)?)
            }
        })
    }
}

/// What the ends of a Unix socket are called.
const LOCAL: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// A listener on the runtime.
enum Accept {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Accept {
    async fn next(&self) -> io::Result<(Stream, Ends)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                stream.set_nodelay(true)?;
                let local = stream.local_addr()?;
                Ok((Stream::Tcp(stream), Ends { peer, local, tls: false, is_status: false }))
            }
            Self::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                Ok((Stream::Unix(stream), Ends { peer: LOCAL, local: LOCAL, tls: false, is_status: false }))
            }
        }
    }
}

/// Connections at once on all listeners for questions about the gateway itself.
const STATUS_CONNECTIONS: usize = 64;

/// Connections that the kernel keeps for us while all are in use.
const BACKLOG: i32 = 4_096;

/// After an error of `accept` that will not pass by itself (no descriptors left), so long is waited.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Between two looks whether a request still waits whose client has left.
const STRAYS_PAUSE: Duration = Duration::from_millis(10);

/// How a gateway ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Report {
    /// Connections that were open when the stop began and ended by themselves.
    pub drained: usize,
    /// Connections that were cut at the deadline.
    pub cut: usize,
}

/// Says to all connections that the gateway stops.
#[derive(Debug, Default)]
pub(crate) struct Drain {
    on: AtomicBool,
    notify: Notify,
    open: AtomicUsize,
}

impl Drain {
    pub(crate) fn is_on(&self) -> bool {
        self.on.load(Ordering::Relaxed)
    }

    pub(crate) fn notified(&self) -> Notified<'_> {
        self.notify.notified()
    }

    fn begin(&self) {
        self.on.store(true, Ordering::Relaxed);
        self.notify.notify_waiters();
    }
}

/// Serves until `stop` ends, then drains. Runs on the current runtime, which may have one thread or several.
///
/// One thread (`new_current_thread`) is the default of choice: with PHP workers on the same two cores, a second thread
/// gave 0.87 × the rate of hello world, 1.08 × that of a 10 KB file, and a longer tail, since the cores are the workers'.
///
/// # Errors
/// When a listener cannot be used.
pub async fn serve(
    gateway: Arc<Gateway>,
    listeners: Vec<Listener>,
    stop: impl Future<Output = ()>,
) -> io::Result<Report> {
    let drain = Arc::new(Drain::default());
    let places = Arc::new(Semaphore::new(gateway.settings.limits.connections));
    let mut accepting = JoinSet::new();
    let status_places = Arc::new(Semaphore::new(STATUS_CONNECTIONS));
    for listener in listeners {
        let is_status = listener.is_status;
        let places = if is_status { &status_places } else { &places }.clone();
        let drain = drain.clone();
        accepting.spawn(accept(gateway.clone(), listener.into_accept()?, is_status, drain, places));
    }
    let flusher = tokio::spawn(flush_each_second(gateway.clone()));
    stop.await;
    accepting.shutdown().await;
    let open = drain.open.load(Ordering::Relaxed);
    drain.begin();
    for pool in gateway.pools() {
        // A successor may need the same workers.
        pool.retire();
    }
    let deadline = now() + gateway.settings.limits.drain;
    let all = u32::try_from(gateway.settings.limits.connections).unwrap_or(u32::MAX);
    let drained = tokio::time::timeout_at(deadline, places.acquire_many(all)).await.is_ok();
    let cut = if drained { 0 } else { drain.open.load(Ordering::Relaxed) };
    // Their clients have left; what they asked for is to be begun all the same.
    while gateway.pools().any(|pool| pool.strays() > 0) && now() < deadline {
        tokio::time::sleep(STRAYS_PAUSE).await;
    }
    flusher.abort();
    gateway.logs.flush();
    for pool in gateway.pools() {
        pool.close();
    }
    Ok(Report { drained: open.saturating_sub(cut), cut })
}

async fn flush_each_second(gateway: Arc<Gateway>) {
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    loop {
        ticks.tick().await;
        gateway.logs.flush();
    }
}

async fn accept(
    gateway: Arc<Gateway>,
    listener: Accept,
    is_status: bool,
    drain: Arc<Drain>,
    places: Arc<Semaphore>,
) {
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        let (stream, ends) = match listener.next().await {
            Ok(accepted) => accepted,
            Err(error) => {
                if is_lasting(&error) {
                    gateway.logs.error(&format!("cannot accept connections: {error}"));
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
                continue;
            }
        };
        let (gateway, drain) = (gateway.clone(), drain.clone());
        if is_status {
            tokio::spawn(async move {
                connection(gateway, stream, Ends { is_status, ..ends }, &drain).await;
                drop(place);
            });
            continue;
        }
        drain.open.fetch_add(1, Ordering::Relaxed);
        gateway.counters.open.fetch_add(1, Ordering::Relaxed);
        gateway.counters.connections.fetch_add(1, Ordering::Relaxed);
        tokio::spawn(async move {
            connection(gateway.clone(), stream, ends, &drain).await;
            drain.open.fetch_sub(1, Ordering::Relaxed);
            gateway.counters.open.fetch_sub(1, Ordering::Relaxed);
            drop(place);
        });
    }
}

async fn connection(gateway: Arc<Gateway>, stream: Stream, ends: Ends, drain: &Drain) {
    if let Outcome::Http2(stream, read) = h1::serve(gateway.clone(), stream, ends, drain).await {
        Box::pin(h2::serve(gateway, stream, read, ends, drain)).await;
    }
}

/// Whether `accept` fails for want of something, and not because one client has left.
fn is_lasting(error: &io::Error) -> bool {
    !matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
            | io::ErrorKind::NotConnected
            | io::ErrorKind::InvalidInput
    )
}
