//! One keep-alive connection, for what wrk does not do: looking at an answer, and slow requests beside the measured
//! ones. It asks as wrk asks, so that its answers are as long as those that wrk gets.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// No answer takes longer.
const READ_LIMIT: Duration = Duration::from_secs(30);
/// The largest answer that is kept.
const RESPONSE_LIMIT: usize = 4 << 20;

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) head: String,
    /// As it came, chunk lines included.
    pub(crate) body: Vec<u8>,
    /// Bytes on the wire, head and all.
    pub(crate) size: usize,
}

impl Reply {
    /// The first header of this name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        header(&self.head, name)
    }

    pub(crate) fn holds(&self, needle: &str) -> bool {
        String::from_utf8_lossy(&self.body).contains(needle)
    }
}

#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    address: SocketAddr,
    buffer: Vec<u8>,
}

impl Connection {
    pub(crate) fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(READ_LIMIT))?;
        Ok(Self { stream, address, buffer: Vec::new() })
    }

    pub(crate) fn get(&mut self, path: &str, cookie: Option<&str>) -> io::Result<Reply> {
        let cookie = cookie.map_or_else(String::new, |cookie| format!("Cookie: {cookie}\r\n"));
        let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n{cookie}\r\n", self.address);
        self.stream.write_all(request.as_bytes())?;
        loop {
            if let Some((reply, used)) = parse(&self.buffer)? {
                self.buffer.drain(..used);
                return Ok(reply);
            }
            let mut chunk = [0; 16 * 1024];
            match self.stream.read(&mut chunk)? {
                0 => {
                    return Err(io::Error::new(
                        io::ErrorKind::UnexpectedEof,
                        "closed in the middle of an answer",
                    ));
                }
                count => self.buffer.extend_from_slice(&chunk[..count]),
            }
            if self.buffer.len() > RESPONSE_LIMIT {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "an answer without end"));
            }
        }
    }
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// A whole answer and its length, once it is there.
fn parse(bytes: &[u8]) -> io::Result<Option<(Reply, usize)>> {
    let bad = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
    let head = std::str::from_utf8(&bytes[..end]).map_err(|_| bad("a head that is no text"))?;
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|code| code.parse().ok())
        .ok_or_else(|| bad("a head without status"))?;
    let start = end + 4;
    let length =
        if header(head, "transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
            // Good enough for what is measured here: no body of ours holds this sequence itself.
            bytes[start..].windows(5).position(|five| five == b"0\r\n\r\n").map(|at| at + 5)
        } else {
            let length: usize = header(head, "content-length")
                .and_then(|length| length.parse().ok())
                .ok_or_else(|| bad("an answer without length"))?;
            (bytes.len() - start >= length).then_some(length)
        };
    Ok(length.map(|length| {
        let size = start + length;
        (Reply { status, head: head.to_owned(), body: bytes[start..size].to_vec(), size }, size)
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_end_where_they_say() {
        type Parsed<'a> = Option<(u16, &'a [u8], usize)>;
        let cases: [(&[u8], Parsed<'_>); 4] = [
            (b"HTTP/1.1 200 OK\r\nContent-Le", None),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell", None),
            (b"HTTP/1.1 404 No\r\nContent-Length: 2\r\n\r\nnoHTTP", Some((404, b"no", 40))),
            (
                b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
                Some((200, b"2\r\nhi\r\n0\r\n\r\n", 59)),
            ),
        ];
        for (bytes, want) in cases {
            let got = parse(bytes).unwrap();
            let got = got.as_ref().map(|(reply, used)| (reply.status, reply.body.as_slice(), *used));
            assert_eq!(got, want, "{}", String::from_utf8_lossy(bytes));
        }
        assert!(parse(b"HTTP/1.1 200 OK\r\n\r\nbody").is_err());
    }
}
