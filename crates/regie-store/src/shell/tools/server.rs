//! A connection to a server that speaks the protocol: this store, a Redis or a Valkey.

use super::ToolError;
use crate::shell::clock;
use regie_core::Secret;
use regie_resp::{Frame, decode};
use std::fmt;
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// Host and port.
    Tcp(String, u16),
    /// A Unix socket.
    Unix(PathBuf),
}

/// A server and who one is there.
#[derive(Debug, Clone)]
pub struct ServerAddress {
    /// Where it listens.
    pub endpoint: Endpoint,
    /// A user of its ACL; `None`: the default one.
    pub user: Option<String>,
    /// The password, if it asks for one.
    pub password: Option<Secret>,
}

impl ServerAddress {
    /// Reads `redis://[user][:password]@host[:port]`, `unix:///path` (also with `user:password@`), `host:port`, `host`
    /// or a path. `%xx` stands for a byte in user and password. A database's number behind a slash is refused: tools
    /// work on all databases.
    pub fn parse(address: &str) -> Result<Self, ToolError> {
        let shown = match address.rsplit_once('@') {
            Some((_, rest)) => format!("***@{rest}"),
            None => address.to_owned(),
        };
        let wrong = |why: &str| ToolError::Address { address: shown.clone(), why: why.to_owned() };
        if address.starts_with('/') {
            return Ok(Self { endpoint: Endpoint::Unix(address.into()), user: None, password: None });
        }
        let (scheme, rest) = address.split_once("://").unwrap_or(("redis", address));
        let (who, place) = rest.rsplit_once('@').map_or((None, rest), |(who, place)| (Some(who), place));
        let (user, password) = match who {
            None => (None, None),
            Some(who) => {
                let (user, password) = who.split_once(':').unwrap_or(("", who));
                let user = unescape(user).ok_or_else(|| wrong("its user has a '%' without two digits"))?;
                let password =
                    unescape(password).ok_or_else(|| wrong("its password has a '%' without two digits"))?;
                ((!user.is_empty()).then_some(user), Some(Secret::new(password)))
            }
        };
        let endpoint = match scheme {
            "unix" if place.starts_with('/') => Endpoint::Unix(place.into()),
            "unix" => return Err(wrong("a socket's path begins with '/'")),
            "redis" | "valkey" | "tcp" => {
                let place = place.strip_suffix('/').unwrap_or(place);
                if place.contains('/') {
                    return Err(wrong("it names a database; all databases are worked on, so leave it out"));
                }
                let (host, port) = match place.rsplit_once(':') {
                    Some((host, port)) if !host.ends_with(':') && !port.ends_with(']') => {
                        (host, port.parse().map_err(|_| wrong("its port is no number up to 65535"))?)
                    }
                    _ => (place, 6379),
                };
                let host = host.trim_start_matches('[').trim_end_matches(']');
                if host.is_empty() {
                    return Err(wrong("it names no host"));
                }
                Endpoint::Tcp(host.to_owned(), port)
            }
            "rediss" => {
                return Err(wrong("TLS is not spoken here; use a tunnel or the server's own network"));
            }
            _ => return Err(wrong("known are redis://, unix:// and host:port")),
        };
        Ok(Self { endpoint, user, password })
    }
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.endpoint {
            Endpoint::Tcp(host, port) => write!(f, "{host}:{port}"),
            Endpoint::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

fn unescape(text: &str) -> Option<String> {
    let (mut out, mut rest) = (Vec::new(), text.as_bytes());
    while let [first, tail @ ..] = rest {
        if *first == b'%' {
            let digits = std::str::from_utf8(tail.get(..2)?).ok()?;
            out.push(u8::from_str_radix(digits, 16).ok()?);
            rest = &tail[2..];
        } else {
            out.push(*first);
            rest = tail;
        }
    }
    String::from_utf8(out).ok()
}

#[derive(Debug)]
enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Read for Stream {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(into),
            Self::Unix(stream) => stream.read(into),
        }
    }
}

/// A connection on which commands are sent in runs and answered in order.
#[derive(Debug)]
pub struct Connection {
    pub(super) name: String,
    stream: Stream,
    out: Vec<u8>,
    input: Vec<u8>,
    at: usize,
}

impl Connection {
    /// Connects, and says who one is.
    pub fn open(address: &ServerAddress) -> Result<Self, ToolError> {
        let name = address.to_string();
        let fault = |source| ToolError::Connection { server: name.clone(), source };
        let stream = match &address.endpoint {
            Endpoint::Tcp(host, port) => Stream::Tcp(connect(host, *port).map_err(fault)?),
            Endpoint::Unix(path) => {
                let stream = UnixStream::connect(path).map_err(fault)?;
                stream.set_read_timeout(Some(PATIENCE)).map_err(fault)?;
                Stream::Unix(stream)
            }
        };
        let mut connection = Self { name, stream, out: Vec::new(), input: Vec::new(), at: 0 };
        if let Some(password) = &address.password {
            let user = address.user.as_deref().map(str::as_bytes);
            let words: Vec<&[u8]> = [Some(&b"AUTH"[..]), user, Some(password.reveal().as_bytes())]
                .into_iter()
                .flatten()
                .collect();
            connection.ask(&words)?;
        }
        Ok(connection)
    }

    /// Puts a command behind those that wait to be sent.
    pub fn send(&mut self, words: &[&[u8]]) {
        crate::engine::append(&mut self.out, words);
    }

    pub(super) fn fault(&self, source: io::Error) -> ToolError {
        ToolError::Connection { server: self.name.clone(), source }
    }

    /// Sends what waits.
    pub fn flush(&mut self) -> Result<(), ToolError> {
        let result = match &mut self.stream {
            Stream::Tcp(stream) => stream.write_all(&self.out),
            Stream::Unix(stream) => stream.write_all(&self.out),
        };
        self.out.clear();
        result.map_err(|source| self.fault(source))
    }

    /// The next answer, an error of the server's included.
    pub fn receive(&mut self) -> Result<Frame, ToolError> {
        let mut chunk = vec![0; 64 << 10];
        loop {
            let decoded = decode(&self.input[self.at..])
                .map_err(|error| self.fault(io::Error::new(io::ErrorKind::InvalidData, error.to_string())))?;
            if let Some((frame, length)) = decoded {
                self.at += length;
                if self.at == self.input.len() {
                    self.input.clear();
                    self.at = 0;
                }
                return Ok(frame);
            }
            self.input.drain(..self.at);
            self.at = 0;
            match self.stream.read(&mut chunk) {
                Ok(0) => return Err(self.fault(io::ErrorKind::UnexpectedEof.into())),
                Ok(count) => self.input.extend_from_slice(&chunk[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.fault(error)),
            }
        }
    }

    /// Sends a command and waits for its answer; an error of the server's is one here.
    pub fn ask(&mut self, words: &[&[u8]]) -> Result<Frame, ToolError> {
        self.send(words);
        self.flush()?;
        match self.receive()? {
            Frame::Error(why) => Err(self.refused(&why)),
            frame => Ok(frame),
        }
    }

    pub(super) fn refused(&self, why: &[u8]) -> ToolError {
        ToolError::Refused { server: self.name.clone(), why: String::from_utf8_lossy(why).into_owned() }
    }

    /// A line of INFO.
    pub(super) fn info(&mut self, section: &str, name: &str) -> Result<Option<String>, ToolError> {
        let (Frame::Bulk(text) | Frame::Verbatim(_, text)) = self.ask(&[b"INFO", section.as_bytes()])? else {
            return Ok(None);
        };
        let text = String::from_utf8_lossy(&text).into_owned();
        let found = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        Ok(found.map(|value| value.trim_end().to_owned()))
    }
}

fn connect(host: &str, port: u16) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name leads nowhere");
    for address in (host, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, Duration::from_secs(5)) {
            Ok(stream) => {
                stream.set_read_timeout(Some(PATIENCE))?;
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Calls `look` every few milliseconds until it gives something; an error after `limit`.
pub(super) fn wait_for<T>(
    limit: Duration,
    mut look: impl FnMut() -> Result<Option<T>, ToolError>,
) -> Result<Option<T>, ToolError> {
    let start = clock::stopwatch();
    loop {
        if let Some(found) = look()? {
            return Ok(Some(found));
        }
        if u128::from(clock::stopwatch() - start) > limit.as_micros() {
            return Ok(None);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read() {
        let tcp = |host: &str, port| Ok(Endpoint::Tcp(host.to_owned(), port));
        for (text, expect) in [
            ("redis://10.0.0.5:6380", tcp("10.0.0.5", 6380)),
            ("redis://:pass%40word@db", tcp("db", 6379)),
            ("localhost:7000", tcp("localhost", 7000)),
            ("redis://[::1]:7000/", tcp("::1", 7000)),
            ("unix:///run/redis.sock", Ok(Endpoint::Unix("/run/redis.sock".into()))),
            ("/run/redis.sock", Ok(Endpoint::Unix("/run/redis.sock".into()))),
            ("rediss://x", Err("TLS")),
            ("redis://x:7000/3", Err("database")),
            ("redis://x:seven", Err("port")),
            ("redis://:secret@", Err("host")),
            ("ftp://x", Err("known are")),
        ] {
            match (ServerAddress::parse(text), expect) {
                (Ok(address), Ok(endpoint)) => assert_eq!(address.endpoint, endpoint, "{text}"),
                (Err(error), Err(why)) => {
                    let error = error.to_string();
                    assert!(error.contains(why) && !error.contains("secret"), "{text}: {error}");
                }
                (found, _) => panic!("{text}: {found:?}"),
            }
        }
        let address = ServerAddress::parse("redis://app:pass%40word@db").unwrap();
        assert_eq!(address.user.as_deref(), Some("app"));
        assert_eq!(address.password.unwrap().reveal(), "pass@word");
    }
}
