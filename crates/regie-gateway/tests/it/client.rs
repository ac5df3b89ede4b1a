//! HTTP/1.1 as bytes over a blocking socket.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Nothing in these tests takes longer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Response {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

pub(crate) struct Connection {
    pub(crate) stream: TcpStream,
    pub(crate) read: Vec<u8>,
}

impl Connection {
    pub(crate) fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, read: Vec::new() }
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.stream.write_all(bytes.as_ref()).unwrap();
        self
    }

    /// Reads more; false at the end.
    pub(crate) fn fill(&mut self) -> bool {
        let mut piece = [0; 65_536];
        match self.stream.read(&mut piece) {
            Ok(0) => false,
            Ok(read) => {
                self.read.extend_from_slice(&piece[..read]);
                true
            }
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => false,
            Err(error) => panic!("{error}; so far: {}", String::from_utf8_lossy(&self.read)),
        }
    }

    /// Waits until `wanted` has come, and takes all up to its end.
    pub(crate) fn until(&mut self, wanted: &str) -> String {
        loop {
            if let Some(at) = find(&self.read, wanted.as_bytes()) {
                let taken: Vec<u8> = self.read.drain(..at + wanted.len()).collect();
                return String::from_utf8(taken).unwrap();
            }
            assert!(self.fill(), "{wanted:?} did not come: {}", String::from_utf8_lossy(&self.read));
        }
    }

    /// All that comes until the server closes.
    pub(crate) fn rest(&mut self) -> String {
        while self.fill() {}
        String::from_utf8_lossy(&std::mem::take(&mut self.read)).into_owned()
    }

    /// A response; none when the server closes before one.
    pub(crate) fn response(&mut self, is_head: bool) -> Option<Response> {
        while find(&self.read, b"\r\n\r\n").is_none() {
            if !self.fill() {
                assert!(self.read.is_empty(), "cut: {}", String::from_utf8_lossy(&self.read));
                return None;
            }
        }
        let head = self.until("\r\n\r\n");
        let mut lines = head.trim_end().split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers: Vec<(String, String)> = lines
            .map(|line| line.split_once(": ").unwrap())
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        let mut response = Response { status, headers, body: Vec::new() };
        if !is_head && !matches!(status, 100..=199 | 204 | 304) {
            response.body = self.body(&response);
        }
        Some(response)
    }

    fn body(&mut self, head: &Response) -> Vec<u8> {
        if head.header("transfer-encoding") == Some("chunked") {
            return self.chunks();
        }
        match head.header("content-length").map(|length| length.parse::<usize>().unwrap()) {
            Some(length) => {
                while self.read.len() < length {
                    assert!(self.fill(), "the body broke off at {} of {length}", self.read.len());
                }
                self.read.drain(..length).collect()
            }
            None => {
                while self.fill() {}
                std::mem::take(&mut self.read)
            }
        }
    }

    fn chunks(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        loop {
            let line = self.until("\r\n");
            let length = usize::from_str_radix(line.trim_end(), 16).unwrap();
            while self.read.len() < length + 2 {
                assert!(self.fill(), "a chunk broke off");
            }
            body.extend(self.read.drain(..length));
            assert_eq!(self.until("\r\n"), "\r\n");
            if length == 0 {
                return body;
            }
        }
    }

    pub(crate) fn ask(&mut self, request: &str) -> Response {
        self.send(request);
        self.response(request.starts_with("HEAD")).expect("an answer")
    }
}

/// One request on a connection of its own. `fields` are further header lines, each with its CR LF.
pub(crate) fn get(address: SocketAddr, path: &str, fields: &str) -> Response {
    Connection::open(address).ask(&format!("GET {path} HTTP/1.1\r\nHost: test\r\n{fields}\r\n"))
}

pub(crate) fn post(address: SocketAddr, path: &str, body: &[u8]) -> Response {
    let mut connection = Connection::open(address);
    connection.send(format!("POST {path} HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\n\r\n", body.len()));
    connection.send(body);
    connection.response(false).expect("an answer")
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}
