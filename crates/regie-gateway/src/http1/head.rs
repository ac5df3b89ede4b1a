//! The head of a request.
//!
//! Refused, with the connection closed: `Content-Length` together with `Transfer-Encoding`, several or unclean
//! `Content-Length`s, any transfer coding but a single `chunked`, transfer codings in HTTP/1.0, folded header lines,
//! white space before a colon, lines that end in a bare LF, control characters, no or several `Host`s in HTTP/1.1.

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version, header};
use memchr::memmem;

/// Headers that a request may have.
pub const HEADERS_MAX: usize = 100;

/// How the body of a request is delimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// By `Content-Length`; 0 = no body.
    Length(u64),
    /// By chunks.
    Chunked,
}

/// The head of a request.
#[derive(Debug)]
pub struct RequestHead {
    /// The method.
    pub method: Method,
    /// The target in origin form, as it came.
    pub target: String,
    /// The host that an absolute target names, which wins over `Host`.
    pub authority: Option<String>,
    /// 1.0 or 1.1.
    pub version: Version,
    /// All headers.
    pub headers: HeaderMap,
    /// How the body is delimited.
    pub framing: Framing,
    /// Whether the client wants the connection kept.
    pub keep_alive: bool,
    /// Whether the client waits for `100 Continue`.
    pub expects_continue: bool,
}

/// Why a head is refused, with the status to answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Refused {
    /// 400, 405, 414, 431, 501 or 505.
    pub status: StatusCode,
    /// What is wrong.
    pub reason: &'static str,
}

const fn bad(reason: &'static str) -> Refused {
    Refused { status: StatusCode::BAD_REQUEST, reason }
}

/// Takes a head from the start of `input`; none when it has not come whole.
///
/// # Errors
/// When it is refused; the connection is then of no further use.
pub fn take(input: &mut BytesMut, head_max: usize) -> Result<Option<RequestHead>, Refused> {
    let leading = input.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
    if leading > 0 {
        // RFC 9112, 2.2: empty lines before a request are passed over.
        let _ = input.split_to(leading);
    }
    let Some(end) = memmem::find(input, b"\r\n\r\n").map(|at| at + 4) else {
        return unfinished(input, head_max);
    };
    if end > head_max {
        return Err(too_large(input));
    }
    let bytes = input.split_to(end).freeze();
    read(&bytes).map(Some)
}

fn unfinished(input: &[u8], head_max: usize) -> Result<Option<RequestHead>, Refused> {
    if memmem::find(input, b"\n\n").is_some() {
        return Err(bad("a line ends in a bare LF"));
    }
    if input.len() > head_max { Err(too_large(input)) } else { Ok(None) }
}

fn too_large(input: &[u8]) -> Refused {
    if memchr::memchr(b'\n', input).is_none() {
        Refused { status: StatusCode::URI_TOO_LONG, reason: "the request line is too long" }
    } else {
        Refused { status: StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, reason: "the head is too long" }
    }
}

fn read(bytes: &Bytes) -> Result<RequestHead, Refused> {
    if memchr::memchr_iter(b'\n', bytes).any(|at| at == 0 || bytes[at - 1] != b'\r') {
        return Err(bad("a line ends in a bare LF"));
    }
    let mut slots = [const { std::mem::MaybeUninit::uninit() }; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut []);
    match request.parse_with_uninit_headers(bytes, &mut slots) {
        Ok(httparse::Status::Complete(_)) => {}
        Ok(httparse::Status::Partial) => return Err(bad("the head is malformed")),
        Err(httparse::Error::TooManyHeaders) => {
            return Err(Refused {
                status: StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                reason: "too many headers",
            });
        }
        Err(httparse::Error::Version) => {
            return Err(Refused {
                status: StatusCode::HTTP_VERSION_NOT_SUPPORTED,
                reason: "only HTTP/1.0, HTTP/1.1 and HTTP/2 are spoken here",
            });
        }
        Err(_) => return Err(bad("the head is malformed")),
    }
    let version = if request.version == Some(1) { Version::HTTP_11 } else { Version::HTTP_10 };
    let method = Method::from_bytes(request.method.unwrap_or_default().as_bytes())
        .map_err(|_| bad("the method is malformed"))?;
    if method == Method::CONNECT || method == Method::TRACE {
        return Err(Refused { status: StatusCode::METHOD_NOT_ALLOWED, reason: "the method is not allowed" });
    }
    let (target, authority) = split_target(request.path.unwrap_or_default(), &method)?;
    let mut fields = Fields::default();
    let mut headers = HeaderMap::with_capacity(request.headers.len());
    for found in request.headers.iter() {
        let name =
            HeaderName::from_bytes(found.name.as_bytes()).map_err(|_| bad("a header's name is malformed"))?;
        let value = HeaderValue::from_maybe_shared(bytes.slice_ref(found.value))
            .map_err(|_| bad("a header's value is malformed"))?;
        fields.look_at(&name, &value)?;
        headers.append(name, value);
    }
    let framing = fields.framing(version)?;
    if fields.hosts > 1 || fields.hosts == 0 && version == Version::HTTP_11 {
        return Err(bad("there must be one Host header"));
    }
    Ok(RequestHead {
        method,
        target,
        authority,
        version,
        framing,
        keep_alive: !fields.close && (version == Version::HTTP_11 || fields.keep_alive),
        expects_continue: fields.expects_continue && version == Version::HTTP_11,
        headers,
    })
}

fn split_target(raw: &str, method: &Method) -> Result<(String, Option<String>), Refused> {
    if raw.starts_with('/') || raw == "*" && *method == Method::OPTIONS {
        return Ok((raw.to_owned(), None));
    }
    let scheme_end = raw.find("://").filter(|at| {
        let scheme = &raw[..*at];
        scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https")
    });
    let Some(scheme_end) = scheme_end else { return Err(bad("the request's target is no path")) };
    let rest = &raw[scheme_end + 3..];
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    if authority.is_empty() || authority.contains('@') {
        return Err(bad("the request's target is no path"));
    }
    let target = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    Ok((target, Some(authority.to_owned())))
}

/// What the headers say about the message itself.
#[derive(Debug, Default)]
struct Fields {
    length: Option<u64>,
    chunked: bool,
    hosts: u32,
    close: bool,
    keep_alive: bool,
    expects_continue: bool,
}

impl Fields {
    fn look_at(&mut self, name: &HeaderName, value: &HeaderValue) -> Result<(), Refused> {
        let text = value.as_bytes();
        if *name == header::CONTENT_LENGTH {
            let digits = !text.is_empty() && text.len() <= 18 && text.iter().all(u8::is_ascii_digit);
            if !digits || self.length.is_some() {
                return Err(bad("Content-Length is no single number"));
            }
            self.length = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
        } else if *name == header::TRANSFER_ENCODING {
            if self.chunked || !text.eq_ignore_ascii_case(b"chunked") {
                return Err(Refused {
                    status: StatusCode::NOT_IMPLEMENTED,
                    reason: "the only transfer coding understood is a single \"chunked\"",
                });
            }
            self.chunked = true;
        } else if *name == header::HOST {
            self.hosts += 1;
            if text.iter().any(|byte| !is_host_byte(*byte)) {
                return Err(bad("Host is malformed"));
            }
        } else if *name == header::CONNECTION {
            for option in text.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
                self.close |= option.eq_ignore_ascii_case(b"close");
                self.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
            }
        } else if *name == header::EXPECT {
            if !text.eq_ignore_ascii_case(b"100-continue") {
                return Err(Refused {
                    status: StatusCode::EXPECTATION_FAILED,
                    reason: "the only expectation understood is 100-continue",
                });
            }
            self.expects_continue = true;
        }
        Ok(())
    }

    fn framing(&self, version: Version) -> Result<Framing, Refused> {
        match (self.chunked, self.length) {
            (true, Some(_)) => Err(bad("Content-Length and Transfer-Encoding contradict each other")),
            (true, None) if version == Version::HTTP_10 => Err(bad("HTTP/1.0 knows no transfer codings")),
            (true, None) => Ok(Framing::Chunked),
            (false, length) => Ok(Framing::Length(length.unwrap_or(0))),
        }
    }
}

/// What may stand in a host: names, addresses, ports. White space, slashes and the like have no place there.
fn is_host_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~:[]%!$&'()*+,;=".contains(&byte) || byte >= 0x80
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Option<RequestHead>, Refused> {
        take(&mut BytesMut::from(text.as_bytes()), 1_000)
    }

    fn check(text: &str, expected: Result<&str, u16>) {
        let found = match parse(text) {
            Ok(None) => Ok("partial".to_owned()),
            Ok(Some(head)) => {
                let body = match head.framing {
                    Framing::Length(n) => n.to_string(),
                    Framing::Chunked => "chunked".into(),
                };
                let kept = if head.keep_alive { "keep" } else { "close" };
                Ok(format!("{} {} {body} {kept}", head.method, head.target))
            }
            Err(refused) => Err(refused.status.as_u16()),
        };
        assert_eq!(found.as_deref().map_err(|status| *status), expected, "{text:?}");
    }

    #[test]
    fn heads_are_read() {
        check("GET / HTTP/1.1\r\nHost: a\r\n\r\n", Ok("GET / 0 keep"));
        check("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", Ok("GET / 0 keep"));
        check("GET / HTTP/1.0\r\n\r\n", Ok("GET / 0 close"));
        check("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", Ok("GET / 0 keep"));
        check("GET / HTTP/1.1\r\nHost: a\r\nConnection: x, close\r\n\r\n", Ok("GET / 0 close"));
        check("POST /a?b HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", Ok("POST /a?b 5 keep"));
        check("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n", Ok("POST / chunked keep"));
        check("GET http://h:80/a?b HTTP/1.1\r\nHost: a\r\n\r\n", Ok("GET /a?b 0 keep"));
        check("GET http://h?b HTTP/1.1\r\nHost: a\r\n\r\n", Ok("GET /?b 0 keep"));
        check("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", Ok("OPTIONS * 0 keep"));
        check("GET / HTTP/1.1\r\nHost: a\r\n", Ok("partial"));
        check("", Ok("partial"));
    }

    #[test]
    fn smuggling_shapes_are_refused() {
        let post = |fields: &str| format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n");
        for (fields, status) in [
            ("Content-Length: 5\r\nTransfer-Encoding: chunked", 400),
            ("Transfer-Encoding: chunked\r\nContent-Length: 5", 400),
            ("Content-Length: 5\r\nContent-Length: 6", 400),
            ("Content-Length: 5\r\nContent-Length: 5", 400),
            ("Content-Length: 5, 5", 400),
            ("Content-Length: +5", 400),
            ("Content-Length: -5", 400),
            ("Content-Length: 0x5", 400),
            ("Content-Length: ", 400),
            ("Content-Length: 99999999999999999999", 400),
            ("Transfer-Encoding: gzip, chunked", 501),
            ("Transfer-Encoding: chunked, chunked", 501),
            ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", 501),
            ("Transfer-Encoding: xchunked", 501),
            ("Transfer-Encoding: identity", 501),
            ("Transfer-Encoding:\u{b}chunked", 400),
            ("Transfer-Encoding : chunked", 400),
            ("Content-Length : 5", 400),
            (" Content-Length: 5", 400),
            ("A: b\r\n folded: c", 400),
            ("A: b\n\tfolded", 400),
            ("A: b\nContent-Length: 5", 400),
            ("A: b\rContent-Length: 5", 400),
            ("A: b\0c", 400),
            ("Host: b", 400),
            ("Expect: miracles", 417),
        ] {
            check(&post(fields), Err(status));
        }
        check("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", Err(400));
        check("GET / HTTP/1.1\r\n\r\n", Err(400));
        check("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", Err(400));
        check("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", Err(400));
        check("GET / HTTP/1.1\nHost: a\n\n", Err(400));
        check("GET / HTTP/2.0\r\nHost: a\r\n\r\n", Err(505));
        check("GET a HTTP/1.1\r\nHost: a\r\n\r\n", Err(400));
        check("GET * HTTP/1.1\r\nHost: a\r\n\r\n", Err(400));
        check("GET ftp://h/ HTTP/1.1\r\nHost: a\r\n\r\n", Err(400));
        check("GET http://u@h/ HTTP/1.1\r\nHost: a\r\n\r\n", Err(400));
        check("CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n", Err(405));
        check("TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", Err(405));
        check("G\u{0} / HTTP/1.1\r\nHost: a\r\n\r\n", Err(400));
    }

    #[test]
    fn sizes_are_bounded() {
        check(&format!("GET /{} HTTP/1.1\r\n", "a".repeat(1_100)), Err(431));
        check(&format!("GET /{}", "a".repeat(1_100)), Err(414));
        check(&format!("GET / HTTP/1.1\r\nHost: a\r\nA: {}\r\n\r\n", "a".repeat(1_100)), Err(431));
        let many = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "a:b\r\n".repeat(HEADERS_MAX));
        check(&many, Err(431));
    }
}
