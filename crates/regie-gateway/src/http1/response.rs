//! The head of a response, and how its body is delimited.
//!
//! Hop-by-hop headers (RFC 9110, 7.6.1) that the application set are dropped: the connection is the gateway's
//! business. A body whose length is known is sent with `Content-Length`, another one in chunks to HTTP/1.1 and up to
//! the end of the connection to HTTP/1.0. 1xx, 204 and 304 and answers to `HEAD` have none.

use http::{HeaderMap, Method, StatusCode, Version, header};

/// How the body of a response is delimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delimiter {
    /// There is no body, whatever the head says.
    None,
    /// So many bytes.
    Length(u64),
    /// Chunks.
    Chunked,
    /// The end of the connection.
    Close,
}

/// What the writer of a head must know of the request.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The request's method.
    pub method: &'a Method,
    /// The request's version.
    pub version: Version,
    /// Whether the connection stays open.
    pub keep_alive: bool,
}

/// How the body of this response is to be delimited. `known` = the length of the body, when it is known. An
/// application's own `Content-Length` is believed for a body of unknown length.
#[must_use]
pub fn delimiter(asked: Asked<'_>, status: StatusCode, headers: &HeaderMap, known: Option<u64>) -> Delimiter {
    let bodiless =
        status.is_informational() || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    if bodiless || *asked.method == Method::HEAD {
        return Delimiter::None;
    }
    let told = || headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok();
    match known.or_else(told) {
        Some(length) => Delimiter::Length(length),
        None if asked.version == Version::HTTP_11 => Delimiter::Chunked,
        None => Delimiter::Close,
    }
}

/// Writes a head to `out`. `date` is the value of the `Date` header.
pub fn put_head(
    out: &mut Vec<u8>,
    asked: Asked<'_>,
    status: StatusCode,
    headers: &HeaderMap,
    delimiter: Delimiter,
    known: Option<u64>,
    date: &[u8],
) {
    put_status(out, status);
    for (name, value) in headers {
        if is_hop_by_hop(name) || *name == header::CONTENT_LENGTH || *name == header::DATE {
            continue;
        }
        put_line(out, name.as_str().as_bytes(), value.as_bytes());
    }
    match delimiter {
        Delimiter::Length(length) => put_length(out, length),
        Delimiter::Chunked => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
        Delimiter::Close => {}
        Delimiter::None if status.is_informational() || status == StatusCode::NO_CONTENT => {}
        // HEAD and 304 tell the length that the body would have.
        Delimiter::None => match (known, headers.get(header::CONTENT_LENGTH)) {
            (_, Some(told)) => put_line(out, b"content-length", told.as_bytes()),
            (Some(length), None) if status != StatusCode::NOT_MODIFIED => put_length(out, length),
            _ => {}
        },
    }
    match headers.get(header::DATE) {
        Some(date) => put_line(out, b"date", date.as_bytes()),
        None => put_line(out, b"date", date),
    }
    let closes = !asked.keep_alive || delimiter == Delimiter::Close;
    if closes {
        out.extend_from_slice(b"connection: close\r\n");
    } else if asked.version == Version::HTTP_10 {
        out.extend_from_slice(b"connection: keep-alive\r\n");
    }
    out.extend_from_slice(b"\r\n");
}

/// Writes an informational head (103).
pub fn put_informational(out: &mut Vec<u8>, status: StatusCode, headers: &HeaderMap) {
    put_status(out, status);
    for (name, value) in headers {
        if !is_hop_by_hop(name) && *name != header::CONTENT_LENGTH {
            put_line(out, name.as_str().as_bytes(), value.as_bytes());
        }
    }
    out.extend_from_slice(b"\r\n");
}

/// Writes a chunk; nothing for empty data, which would end the body.
pub fn put_chunk(out: &mut Vec<u8>, data: &[u8]) {
    if !data.is_empty() {
        put_hex(out, data.len());
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(data);
        out.extend_from_slice(b"\r\n");
    }
}

/// The end of a chunked body.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// Headers that belong to one connection and not to the message.
#[must_use]
pub fn is_hop_by_hop(name: &header::HeaderName) -> bool {
    *name == header::CONNECTION
        || *name == header::TRANSFER_ENCODING
        || *name == header::UPGRADE
        || *name == header::TE
        || *name == header::TRAILER
        || matches!(name.as_str(), "keep-alive" | "proxy-connection")
}

fn put_status(out: &mut Vec<u8>, status: StatusCode) {
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(status.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(status.canonical_reason().unwrap_or("").as_bytes());
    out.extend_from_slice(b"\r\n");
}

fn put_line(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

fn put_length(out: &mut Vec<u8>, length: u64) {
    let mut digits = itoa::Buffer::new();
    put_line(out, b"content-length", digits.format(length).as_bytes());
}

fn put_hex(out: &mut Vec<u8>, mut value: usize) {
    let mut digits = [0_u8; 16];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b"0123456789abcdef"[value & 15];
        value >>= 4;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn write(
        method: &Method,
        version: Version,
        status: u16,
        fields: &[(&'static str, &'static str)],
        known: Option<u64>,
    ) -> String {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        let status = StatusCode::from_u16(status).unwrap();
        let asked = Asked { method, version, keep_alive: true };
        let delimiter = delimiter(asked, status, &headers, known);
        let mut out = Vec::new();
        put_head(&mut out, asked, status, &headers, delimiter, known, b"now");
        let text = String::from_utf8(out).unwrap();
        text.trim_end().lines().collect::<Vec<_>>().join(" | ")
    }

    #[test]
    fn bodies_are_delimited() {
        let (get, head) = (Method::GET, Method::HEAD);
        for (found, expected) in [
            (
                write(&get, Version::HTTP_11, 200, &[("a", "b")], Some(5)),
                "HTTP/1.1 200 OK | a: b | content-length: 5 | date: now",
            ),
            (
                write(&get, Version::HTTP_11, 200, &[], None),
                "HTTP/1.1 200 OK | transfer-encoding: chunked | date: now",
            ),
            (
                write(&get, Version::HTTP_11, 200, &[("content-length", "7")], None),
                "HTTP/1.1 200 OK | content-length: 7 | date: now",
            ),
            (
                write(&get, Version::HTTP_11, 200, &[("content-length", "7")], Some(5)),
                "HTTP/1.1 200 OK | content-length: 5 | date: now",
            ),
            (
                write(&get, Version::HTTP_10, 200, &[], None),
                "HTTP/1.1 200 OK | date: now | connection: close",
            ),
            (
                write(&get, Version::HTTP_10, 200, &[], Some(0)),
                "HTTP/1.1 200 OK | content-length: 0 | date: now | connection: keep-alive",
            ),
            (
                write(&get, Version::HTTP_11, 204, &[("content-length", "7")], Some(0)),
                "HTTP/1.1 204 No Content | date: now",
            ),
            (
                write(&get, Version::HTTP_11, 304, &[("etag", "x")], Some(0)),
                "HTTP/1.1 304 Not Modified | etag: x | date: now",
            ),
            (
                write(&head, Version::HTTP_11, 200, &[], Some(9)),
                "HTTP/1.1 200 OK | content-length: 9 | date: now",
            ),
            (
                write(&head, Version::HTTP_11, 200, &[("content-length", "9")], Some(0)),
                "HTTP/1.1 200 OK | content-length: 9 | date: now",
            ),
            (
                write(
                    &get,
                    Version::HTTP_11,
                    299,
                    &[("connection", "close"), ("transfer-encoding", "chunked"), ("date", "then")],
                    Some(1),
                ),
                "HTTP/1.1 299  | content-length: 1 | date: then",
            ),
        ] {
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn chunks_are_written() {
        let mut out = Vec::new();
        put_chunk(&mut out, b"hello");
        put_chunk(&mut out, b"");
        put_chunk(&mut out, &[b'x'; 26]);
        assert_eq!(out, [&b"5\r\nhello\r\n1a\r\n"[..], &[b'x'; 26], b"\r\n"].concat());
    }
}
