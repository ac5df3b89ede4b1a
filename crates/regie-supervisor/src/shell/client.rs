//! The client's side of the control line, blocking, for command lines.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::control::{MAX_UNSENT, Reply, Request};
use crate::shell::folder;

/// Why the supervisor could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens in that run folder.
    #[error("no supervisor runs in {0}")]
    NotRunning(PathBuf),
    /// The folder belongs to another user.
    #[error("{0} belongs to another user")]
    NotAllowed(PathBuf),
    /// The supervisor ended, or cut the connection.
    #[error("the supervisor closed the connection")]
    Closed,
    /// It did not answer within the time given.
    #[error("the supervisor did not answer in time")]
    TimedOut,
    /// It said something that is no reply.
    #[error("the supervisor's answer cannot be read: {0}")]
    Garbled(String),
    /// Another fault of the connection.
    #[error("failed to talk to the supervisor")]
    Io(#[source] io::Error),
}

impl From<io::Error> for ClientError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof => {
                Self::Closed
            }
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Self::TimedOut,
            _ => Self::Io(error),
        }
    }
}

/// A connection to the supervisor of a run folder.
#[derive(Debug)]
pub struct Client {
    stream: BufReader<UnixStream>,
}

impl Client {
    /// Connects to the supervisor that holds `run_dir`.
    ///
    /// # Errors
    /// [`ClientError::NotRunning`] when there is none.
    pub fn connect(run_dir: &Path) -> Result<Self, ClientError> {
        match folder::connect(run_dir, folder::CONTROL) {
            Ok(stream) => Ok(Self { stream: BufReader::new(stream) }),
            Err(error) => Err(match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                    ClientError::NotRunning(run_dir.into())
                }
                io::ErrorKind::PermissionDenied => ClientError::NotAllowed(run_dir.into()),
                _ => ClientError::Io(error),
            }),
        }
    }

    /// How long to wait for each reply; `None` (as at first): for ever.
    ///
    /// # Errors
    /// When the operating system refuses the value (zero).
    pub fn set_timeout(&mut self, timeout: Option<Duration>) -> Result<(), ClientError> {
        Ok(self.stream.get_ref().set_read_timeout(timeout)?)
    }

    /// Sends `request` and returns the first reply.
    ///
    /// # Errors
    /// When the connection fails. A refusal is a [`Reply::Error`].
    pub fn ask(&mut self, request: &Request) -> Result<Reply, ClientError> {
        self.send(request)?;
        self.next_reply()
    }

    /// Sends `request`; read the answers with [`Self::next_reply`].
    ///
    /// # Errors
    /// When the connection fails.
    pub fn send(&mut self, request: &Request) -> Result<(), ClientError> {
        let mut line = serde_json::to_vec(request).map_err(|e| ClientError::Garbled(e.to_string()))?;
        line.push(b'\n');
        Ok(self.stream.get_mut().write_all(&line)?)
    }

    /// The next reply, waited for.
    ///
    /// # Errors
    /// [`ClientError::Closed`] when the supervisor has ended.
    pub fn next_reply(&mut self) -> Result<Reply, ClientError> {
        let mut line = Vec::new();
        loop {
            let chunk = self.stream.fill_buf()?;
            if chunk.is_empty() {
                return Err(ClientError::Closed);
            }
            let end = memchr(chunk);
            let taken = end.map_or(chunk.len(), |at| at + 1);
            line.extend_from_slice(&chunk[..taken]);
            self.stream.consume(taken);
            if end.is_some() {
                break;
            }
            if line.len() > 2 * MAX_UNSENT {
                return Err(ClientError::Garbled("the line does not end".into()));
            }
        }
        serde_json::from_slice(&line).map_err(|e| ClientError::Garbled(e.to_string()))
    }

    /// Waits until the supervisor has ended, which closes the connection.
    ///
    /// # Errors
    /// When the time set by [`Self::set_timeout`] passes first.
    pub fn wait_closed(&mut self) -> Result<(), ClientError> {
        loop {
            match self.next_reply() {
                Err(ClientError::Closed) => return Ok(()),
                Err(error) => return Err(error),
                Ok(_) => {}
            }
        }
    }
}

fn memchr(bytes: &[u8]) -> Option<usize> {
    bytes.iter().position(|b| *b == b'\n')
}
