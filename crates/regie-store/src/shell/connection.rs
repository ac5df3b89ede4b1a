//! One client's socket with what has been read from it and what is to be written to it.

use crate::session::ClientId;
use regie_resp::{Encoder, RequestParser};
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::net::UnixStream;

/// A socket of either kind.
#[derive(Debug)]
pub(crate) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Socket {
    pub(crate) fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(socket) => socket.read(into),
            Self::Unix(socket) => socket.read(into),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(socket) => socket.write(bytes),
            Self::Unix(socket) => socket.write(bytes),
        }
    }

    pub(crate) fn descriptor(&self) -> i32 {
        self.as_fd().as_raw_fd()
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(socket) => socket.as_fd(),
            Self::Unix(socket) => socket.as_fd(),
        }
    }
}

/// Why input is not being handled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hold {
    /// It is.
    No,
    /// The client waits for a key.
    Blocked,
    /// Clients are paused.
    Paused,
    /// Nothing more is taken from it; it is closed when all is sent.
    Closing,
}

/// See the module's description.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) socket: Socket,
    pub(crate) client: ClientId,
    pub(crate) parser: RequestParser,
    /// What was read and not handled: the beginning of a command, or what came while the client was held.
    pub(crate) input: Vec<u8>,
    pub(crate) out: Encoder,
    /// How much of `out` has been sent.
    sent: usize,
    pub(crate) hold: Hold,
    /// The socket was full: writing is waited for.
    pub(crate) waits_to_write: bool,
    /// It is on the list of those with something to send.
    pub(crate) is_listed: bool,
    /// Since when the output has been above its soft limit, in milliseconds.
    pub(crate) over_soft_since: Option<i64>,
}

/// Buffers above this are given back when they are empty.
const KEPT: usize = 64 << 10;

impl Connection {
    pub(crate) fn new(socket: Socket, client: ClientId) -> Self {
        Self {
            socket,
            client,
            parser: RequestParser::default(),
            input: Vec::new(),
            out: Encoder::default(),
            sent: 0,
            hold: Hold::No,
            waits_to_write: false,
            is_listed: false,
            over_soft_since: None,
        }
    }

    /// Bytes still to be sent.
    pub(crate) fn pending(&self) -> usize {
        self.out.bytes.len() - self.sent
    }

    /// Bytes that the buffers hold.
    pub(crate) fn memory(&self) -> usize {
        self.input.capacity() + self.out.bytes.capacity() + size_of::<Self>()
    }

    /// Sends what it can; true when all is sent.
    pub(crate) fn flush(&mut self) -> io::Result<bool> {
        while self.sent < self.out.bytes.len() {
            match self.socket.write(&self.out.bytes[self.sent..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => self.sent += written,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.compact();
                    return Ok(false);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.sent = 0;
        if self.out.bytes.capacity() > KEPT {
            self.out.bytes = Vec::new();
        } else {
            self.out.bytes.clear();
        }
        Ok(true)
    }

    /// Gives back the memory of what was sent when it is most of a big buffer.
    fn compact(&mut self) {
        if self.sent > KEPT && self.sent > self.out.bytes.len() / 2 {
            self.out.bytes.drain(..self.sent);
            self.sent = 0;
        }
    }
}
