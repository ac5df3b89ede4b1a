//! The door: the sockets that are listened to, and who comes in.

use super::connection::{Connection, Socket};
use super::options::{Inherited, Options, RunError};
use super::server::{FIRST_LISTENER, Server};
use crate::engine::Engine;
use crate::session::{ClientId, Peer};
use nix::sys::epoll::{EpollEvent, EpollFlags};
use std::io;
use std::net::TcpListener;
use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;

/// Connections accepted in a turn.
const ACCEPTS: usize = 1000;

/// A socket that is listened to.
pub(super) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// Opens what is to be listened to.
pub(super) fn open(options: &Options, inherited: Inherited) -> Result<Vec<Listener>, RunError> {
    let mut listeners = Vec::new();
    for address in &options.listen {
        let fault = |source| RunError::Listen { address: address.to_string(), source };
        listeners.push(Listener::Tcp(TcpListener::bind(address).map_err(fault)?));
    }
    if let Some(path) = &options.unix {
        let fault = |source| RunError::Listen { address: path.display().to_string(), source };
        if std::os::unix::net::UnixStream::connect(path).is_err() {
            // Nobody listens: what lies there was left by a process that is gone.
            let _ = std::fs::remove_file(path);
        }
        let socket = UnixListener::bind(path).map_err(fault)?;
        std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).map_err(fault)?;
        listeners.push(Listener::Unix(socket));
    }
    listeners.extend(inherited.tcp.into_iter().map(Listener::Tcp));
    listeners.extend(inherited.unix.into_iter().map(Listener::Unix));
    for listener in &listeners {
        match listener {
            Listener::Tcp(socket) => socket.set_nonblocking(true)?,
            Listener::Unix(socket) => socket.set_nonblocking(true)?,
        }
    }
    Ok(listeners)
}

impl Server {
    pub(super) fn accept(&mut self, engine: &mut Engine, listener: usize) {
        for _ in 0..ACCEPTS {
            let accepted = match &self.listeners[listener] {
                Listener::Tcp(socket) => socket.accept().map(|(socket, peer)| {
                    let _ = socket.set_nodelay(true);
                    let local = socket.local_addr().map(|address| address.to_string()).unwrap_or_default();
                    (Socket::Tcp(socket), peer.to_string(), local)
                }),
                Listener::Unix(socket) => socket.accept().map(|(client, _)| {
                    let path = socket
                        .local_addr()
                        .ok()
                        .and_then(|a| a.as_pathname().map(|p| p.display().to_string()));
                    let path = path.unwrap_or_default();
                    (Socket::Unix(client), format!("{path}:0"), format!("{path}:0"))
                }),
            };
            match accepted {
                Ok((socket, address, local_address)) => self.welcome(engine, socket, address, local_address),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    // Out of descriptors: what waits is looked at again a little later.
                    (self.report)(&format!("cannot accept a connection: {error}"));
                    self.listen(listener, false);
                    self.deaf.push(listener);
                    return;
                }
            }
        }
    }

    /// Whether new connections of a listener are heard of.
    pub(super) fn listen(&mut self, listener: usize, on: bool) {
        let flags = if on { EpollFlags::EPOLLIN } else { EpollFlags::empty() };
        let mut event = EpollEvent::new(flags, FIRST_LISTENER + listener as u64);
        let _ = match &self.listeners[listener] {
            Listener::Tcp(socket) => self.epoll.modify(socket, &mut event),
            Listener::Unix(socket) => self.epoll.modify(socket, &mut event),
        };
    }

    pub(super) fn welcome(
        &mut self,
        engine: &mut Engine,
        mut socket: Socket,
        address: String,
        local_address: String,
    ) {
        let nonblocking = match &socket {
            Socket::Tcp(socket) => socket.set_nonblocking(true),
            Socket::Unix(socket) => socket.set_nonblocking(true),
        };
        if nonblocking.is_err() {
            return;
        }
        let most: usize = engine.setting("maxclients").parse().unwrap_or(usize::MAX);
        if engine.clients() >= most {
            engine.count_rejected();
            let text = b"-ERR max number of clients reached\r\n";
            let _ = match &mut socket {
                Socket::Tcp(socket) => io::Write::write(socket, text),
                Socket::Unix(socket) => io::Write::write(socket, text),
            };
            return;
        }
        let peer = Peer {
            address,
            local_address,
            descriptor: socket.descriptor(),
            is_unix: matches!(socket, Socket::Unix(_)),
        };
        let client = engine.connect(peer);
        self.place(engine, socket, client);
    }

    /// A place for a client's connection; `None` if its socket cannot be listened to.
    pub(super) fn place(&mut self, engine: &mut Engine, socket: Socket, client: ClientId) -> Option<usize> {
        let index = self.free.pop().unwrap_or_else(|| {
            self.connections.push(None);
            self.connections.len() - 1
        });
        if self.epoll.add(socket.as_fd(), EpollEvent::new(EpollFlags::EPOLLIN, index as u64)).is_err() {
            engine.disconnect(client);
            self.free.push(index);
            return None;
        }
        self.by_client.insert(client, index);
        self.connections[index] = Some(Box::new(Connection::new(socket, client)));
        Some(index)
    }
}
