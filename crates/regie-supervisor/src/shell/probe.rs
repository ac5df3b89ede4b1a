//! Looking whether a program is ready, without waiting for it.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use nix::poll::PollFlags;
use socket2::{Domain, SockAddr, Socket, Type};

use crate::machine::{Now, RunId};

/// A probe that has no answer by then has failed.
pub(crate) const LIMIT: Duration = Duration::from_secs(5);
/// Bytes of an answer that are looked at: a status line is shorter.
const MAX_ANSWER: usize = 4096;

/// A probe on its way.
#[derive(Debug)]
pub(crate) struct Probe {
    pub(crate) run: RunId,
    pub(crate) until: Now,
    pub(crate) kind: Kind,
}

#[derive(Debug)]
pub(crate) enum Kind {
    /// Does it accept, and, when there is a request, answer below 400?
    Socket { socket: Socket, connected: bool, request: Option<Vec<u8>>, answer: Vec<u8> },
    /// Does this process end with 0?
    Command { pid: i32 },
}

/// How far a probe is.
pub(crate) enum Step {
    Open,
    Done(Result<(), String>),
}

impl Probe {
    /// Connects to `127.0.0.1:6379` or `unix:/path`.
    pub(crate) fn socket(run: RunId, until: Now, address: &str) -> Result<Self, String> {
        Ok(Self { run, until, kind: connect(address, None)? })
    }

    /// Asks `http://host:port/path` or `unix:/path:/uri`.
    pub(crate) fn http(run: RunId, until: Now, url: &str) -> Result<Self, String> {
        let (address, host, uri) = split_url(url)?;
        let request = format!("GET {uri} HTTP/1.0\r\nHost: {host}\r\nUser-Agent: regie-supervisor\r\n\r\n");
        Ok(Self { run, until, kind: connect(&address, Some(request.into_bytes()))? })
    }

    /// What to wait for.
    pub(crate) fn interest(&self) -> Option<(BorrowedFd<'_>, PollFlags)> {
        match &self.kind {
            Kind::Command { .. } => None,
            Kind::Socket { socket, connected, request, .. } => {
                let writes = !connected || request.as_ref().is_none_or(|r| !r.is_empty());
                Some((socket.as_fd(), if writes { PollFlags::POLLOUT } else { PollFlags::POLLIN }))
            }
        }
    }

    /// Goes on, when what was waited for has come.
    pub(crate) fn step(&mut self) -> Step {
        let Kind::Socket { socket, connected, request, answer } = &mut self.kind else { return Step::Open };
        if !*connected {
            match socket.take_error() {
                Ok(None) => *connected = true,
                Ok(Some(error)) | Err(error) => return Step::Done(Err(error.to_string())),
            }
        }
        let Some(request) = request else { return Step::Done(Ok(())) };
        if !request.is_empty() {
            return match socket.write(request) {
                Ok(count) => {
                    request.drain(..count);
                    Step::Open
                }
                Err(error) => open_or_failed(&error),
            };
        }
        let mut chunk = [0u8; 1024];
        match socket.read(&mut chunk) {
            Ok(count) => {
                answer.extend_from_slice(&chunk[..count]);
                judge(answer, count == 0)
            }
            Err(error) => open_or_failed(&error),
        }
    }
}

fn open_or_failed(error: &io::Error) -> Step {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Step::Open,
        _ => Step::Done(Err(error.to_string())),
    }
}

/// Reads the status line: `HTTP/1.1 200 OK`.
fn judge(answer: &[u8], ended: bool) -> Step {
    let Some(end) = answer.iter().position(|b| *b == b'\n') else {
        return if ended || answer.len() > MAX_ANSWER {
            Step::Done(Err("no HTTP answer".into()))
        } else {
            Step::Open
        };
    };
    let line = String::from_utf8_lossy(&answer[..end]);
    let status = line.split(' ').nth(1).and_then(|s| s.parse::<u16>().ok());
    Step::Done(match status.filter(|_| line.starts_with("HTTP/")) {
        Some(100..=399) => Ok(()),
        Some(status) => Err(format!("answers {status}")),
        None => Err("no HTTP answer".into()),
    })
}

/// Address, host and path of a URL.
fn split_url(url: &str) -> Result<(String, String, String), String> {
    let bad = || format!("\"{url}\" is not http://host:port/path or unix:/path:/uri");
    if let Some(rest) = url.strip_prefix("unix:") {
        let (path, uri) = rest.split_once(":/").ok_or_else(bad)?;
        return Ok((format!("unix:{path}"), "localhost".into(), format!("/{uri}")));
    }
    let rest = url.strip_prefix("http://").ok_or_else(bad)?;
    let (host, uri) = rest.split_once('/').unwrap_or((rest, ""));
    let address = if host.contains(':') { host.to_owned() } else { format!("{host}:80") };
    Ok((address, host.to_owned(), format!("/{uri}")))
}

fn connect(address: &str, request: Option<Vec<u8>>) -> Result<Kind, String> {
    let text = |error: io::Error| error.to_string();
    let (domain, target) = match address.strip_prefix("unix:") {
        Some(path) => (Domain::UNIX, SockAddr::unix(path).map_err(text)?),
        None => {
            let found = address.to_socket_addrs().map_err(text)?.next();
            let found: SocketAddr = found.ok_or_else(|| format!("{address} has no address"))?;
            (Domain::for_address(found), found.into())
        }
    };
    let socket = Socket::new(domain, Type::STREAM, None).map_err(text)?;
    socket.set_nonblocking(true).map_err(text)?;
    let connected = match socket.connect(&target) {
        Ok(()) => true,
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => false,
        Err(error) => return Err(text(error)),
    };
    Ok(Kind::Socket { socket, connected, request, answer: Vec::new() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        for (url, expected) in [
            ("http://127.0.0.1:80/ping", Some(("127.0.0.1:80", "127.0.0.1:80", "/ping"))),
            ("http://localhost", Some(("localhost:80", "localhost", "/"))),
            ("unix:/run/a.sock:/ping?full", Some(("unix:/run/a.sock", "localhost", "/ping?full"))),
            ("https://x", None),
            ("unix:/run/a.sock", None),
        ] {
            let found = split_url(url).ok();
            let found = found.as_ref().map(|(a, h, u)| (a.as_str(), h.as_str(), u.as_str()));
            assert_eq!(found, expected, "{url}");
        }
    }

    #[test]
    fn answers_are_judged_by_their_status() {
        for (answer, expected) in [
            ("HTTP/1.1 204 No Content\r\n", Some(true)),
            ("HTTP/1.0 302 Found\n", Some(true)),
            ("HTTP/1.1 503 Busy\r\n", Some(false)),
            ("SSH-2.0\r\n", Some(false)),
            ("HTTP/1.1 20", None),
        ] {
            let judged = match judge(answer.as_bytes(), false) {
                Step::Open => None,
                Step::Done(result) => Some(result.is_ok()),
            };
            assert_eq!(judged, expected, "{answer}");
        }
        assert!(matches!(judge(b"", true), Step::Done(Err(_))));
    }
}
