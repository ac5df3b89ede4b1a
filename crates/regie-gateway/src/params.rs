//! The CGI parameters of a request (RFC 3875, section 4.1, and what PHP applications expect beyond it).
//!
//! Headers become `HTTP_*`. Left out: `Proxy`, which would become the variable `HTTP_PROXY` that HTTP clients obey
//! (httpoxy); names with an underscore, which would overwrite those with a dash; `X-Sendfile-Type` and
//! `X-Accel-Mapping`, which are the gateway's own words to the application; hop-by-hop headers. Of several headers with
//! one name the values are joined: cookies by `; `, others by `, `.

use std::fmt::{self, Write as _};
use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderName, Method, Version, header};
use regie_pool::Head;

use crate::http1::response::is_hop_by_hop;
use crate::proxies::Client;
use crate::target::Target;

/// What of a request goes into its parameters.
#[derive(Debug)]
pub struct Request<'a> {
    /// The method.
    pub method: &'a Method,
    /// What it asks for.
    pub target: &'a Target<'a>,
    /// The version.
    pub version: Version,
    /// All headers.
    pub headers: &'a HeaderMap,
    /// The length of the body, when there is one.
    pub content_length: Option<u64>,
    /// The client.
    pub client: &'a Client,
    /// The peer, which is the client or a proxy.
    pub peer: SocketAddr,
    /// Our own address.
    pub local: SocketAddr,
    /// The host asked for, with or without port.
    pub host: &'a str,
    /// The id of the request.
    pub request_id: &'a str,
}

/// Which script answers.
#[derive(Debug)]
pub struct Script<'a> {
    /// The document root, links resolved.
    pub root: &'a str,
    /// The script below the root.
    pub name: &'a [u8],
    /// The file that is run.
    pub file: &'a [u8],
    /// What follows the script in the path.
    pub path_info: &'a [u8],
    /// What the server calls itself.
    pub server_software: &'a str,
    /// Whether files may be left to the gateway (`X-Sendfile`).
    pub sendfile: bool,
}

/// Fills `head`.
pub fn fill(head: &mut Head, request: &Request<'_>, script: &Script<'_>) {
    let client = request.client;
    head.push("GATEWAY_INTERFACE", "CGI/1.1");
    head.push("SERVER_SOFTWARE", script.server_software);
    head.push("REQUEST_METHOD", request.method.as_str());
    head.push("REQUEST_URI", request.target.raw);
    head.push("QUERY_STRING", request.target.query());
    head.push("SCRIPT_NAME", script.name);
    head.push("SCRIPT_FILENAME", script.file);
    head.push("DOCUMENT_ROOT", script.root);
    head.push("DOCUMENT_URI", script.name);
    if script.path_info.is_empty() {
        head.push("PHP_SELF", script.name);
    } else {
        head.push("PATH_INFO", script.path_info);
        head.push("PATH_TRANSLATED", [script.root.as_bytes(), script.path_info].concat());
        head.push("PHP_SELF", [script.name, script.path_info].concat());
    }
    head.push("SERVER_PROTOCOL", protocol(request.version));
    head.push("REQUEST_SCHEME", if client.https { "https" } else { "http" });
    if client.https {
        head.push("HTTPS", "on");
    }
    push_host(head, request);
    let mut digits = itoa::Buffer::new();
    head.push("SERVER_ADDR", Address::of(request.local.ip()));
    head.push("REMOTE_ADDR", Address::of(client.address));
    head.push("REMOTE_PORT", digits.format(request.peer.port()));
    // php-cgi refuses to run without it, and applications use it to tell that a rewrite took place.
    head.push("REDIRECT_STATUS", "200");
    head.push("REQUEST_ID", request.request_id);
    if let Some(length) = request.content_length {
        head.push("CONTENT_LENGTH", digits.format(length));
    }
    push_headers(head, request.headers);
    if script.sendfile {
        head.push("HTTP_X_SENDFILE_TYPE", "X-Sendfile");
    }
}

/// How a protocol's version is written.
pub(crate) const fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2.0",
        _ => "HTTP/1.1",
    }
}

/// An address as text, on the stack.
struct Address {
    /// The longest is an IPv4 address written as IPv6 (RFC 4291, section 2.2), which canonical ones are not.
    bytes: [u8; 46],
    len: usize,
}

impl Address {
    fn of(ip: IpAddr) -> Self {
        let mut text = Self { bytes: [0; 46], len: 0 };
        let _ = write!(text, "{}", ip.to_canonical());
        text
    }
}

impl fmt::Write for Address {
    fn write_str(&mut self, part: &str) -> fmt::Result {
        let end = self.len + part.len();
        self.bytes.get_mut(self.len..end).ok_or(fmt::Error)?.copy_from_slice(part.as_bytes());
        self.len = end;
        Ok(())
    }
}

impl AsRef<[u8]> for Address {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

fn push_host(head: &mut Head, request: &Request<'_>) {
    let host = request.client.host.as_deref().unwrap_or(request.host);
    let (name, port) = split_port(host);
    let default = if request.client.https { 443 } else { 80 };
    let told = request.client.port.or(port);
    // Behind a proxy our own port says nothing of the one that the client asked for.
    let port = told.unwrap_or(if request.client.https { default } else { request.local.port() });
    // HTTP/1.0 clients need not say whom they ask.
    if name.is_empty() {
        head.push("SERVER_NAME", Address::of(request.local.ip()));
    } else {
        head.push("SERVER_NAME", name);
    }
    let mut digits = itoa::Buffer::new();
    head.push("SERVER_PORT", digits.format(port));
}

/// `host:8000` → `host`, 8000; `[::1]:80` → `[::1]`, 80.
#[must_use]
pub fn split_port(host: &str) -> (&str, Option<u16>) {
    let after_address = host.rfind(']').map_or(0, |at| at + 1);
    match host[after_address..].rfind(':') {
        Some(colon) => {
            let (name, port) = host.split_at(after_address + colon);
            (name, port[1..].parse().ok())
        }
        None => (host, None),
    }
}

fn push_headers(head: &mut Head, headers: &HeaderMap) {
    let mut name_buffer = [0_u8; 128];
    for name in headers.keys() {
        if is_dropped(name) {
            continue;
        }
        let Some(variable) = variable_name(name, &mut name_buffer) else { continue };
        let mut values = headers.get_all(name).iter();
        let (Some(first), more) = (values.next(), values) else { continue };
        let mut more = more.peekable();
        if more.peek().is_none() {
            head.push(variable, first.as_bytes());
            continue;
        }
        let separator: &[u8] = if *name == header::COOKIE { b"; " } else { b", " };
        let mut joined = first.as_bytes().to_vec();
        for value in more {
            joined.extend_from_slice(separator);
            joined.extend_from_slice(value.as_bytes());
        }
        head.push(variable, joined);
    }
}

fn is_dropped(name: &HeaderName) -> bool {
    let text = name.as_str();
    text.contains('_')
        || *name == header::CONTENT_LENGTH
        || is_hop_by_hop(name) && *name != header::CONNECTION && *name != header::UPGRADE
        || matches!(text, "proxy" | "x-sendfile-type" | "x-accel-mapping" | "expect")
}

/// `accept-language` → `HTTP_ACCEPT_LANGUAGE`; `content-type` stays without prefix. None for names that are too long to
/// be anybody's.
fn variable_name<'a>(name: &HeaderName, buffer: &'a mut [u8; 128]) -> Option<&'a [u8]> {
    let prefix: &[u8] = if *name == header::CONTENT_TYPE { b"" } else { b"HTTP_" };
    let text = name.as_str().as_bytes();
    let variable = buffer.get_mut(..prefix.len() + text.len())?;
    variable[..prefix.len()].copy_from_slice(prefix);
    for (to, from) in variable[prefix.len()..].iter_mut().zip(text) {
        *to = if *from == b'-' { b'_' } else { from.to_ascii_uppercase() };
    }
    Some(variable)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn filled(raw: &str, fields: &[(&'static str, &'static str)], client: &Client, path_info: &str) -> Head {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let target = Target::parse(raw).unwrap();
        let request = Request {
            method: &Method::POST,
            target: &target,
            version: Version::HTTP_11,
            headers: &headers,
            content_length: Some(7),
            client,
            peer: "10.0.0.1:5000".parse().unwrap(),
            local: "127.0.0.1:8000".parse().unwrap(),
            host: "shop.example:8080",
            request_id: "id-1",
        };
        let script = Script {
            root: "/srv/app/public",
            name: b"/index.php",
            file: b"/srv/app/public/index.php",
            path_info: path_info.as_bytes(),
            server_software: "Regie/1",
            sendfile: false,
        };
        let mut head = Head::new();
        fill(&mut head, &request, &script);
        head
    }

    fn plain_client() -> Client {
        Client {
            address: "192.0.2.7".parse().unwrap(),
            https: false,
            is_scheme_told: false,
            host: None,
            port: None,
        }
    }

    fn get(head: &Head, name: &str) -> Option<String> {
        head.get(name).map(|value| String::from_utf8(value.to_vec()).unwrap())
    }

    #[test]
    fn the_variables_of_cgi() {
        let head = filled("/a%20b?c=d", &[("content-type", "text/plain")], &plain_client(), "/rest");
        for (name, value) in [
            ("REQUEST_METHOD", "POST"),
            ("REQUEST_URI", "/a%20b?c=d"),
            ("QUERY_STRING", "c=d"),
            ("SCRIPT_NAME", "/index.php"),
            ("SCRIPT_FILENAME", "/srv/app/public/index.php"),
            ("PATH_INFO", "/rest"),
            ("PATH_TRANSLATED", "/srv/app/public/rest"),
            ("PHP_SELF", "/index.php/rest"),
            ("SERVER_PROTOCOL", "HTTP/1.1"),
            ("SERVER_NAME", "shop.example"),
            ("SERVER_PORT", "8080"),
            ("SERVER_ADDR", "127.0.0.1"),
            ("REMOTE_ADDR", "192.0.2.7"),
            ("CONTENT_LENGTH", "7"),
            ("CONTENT_TYPE", "text/plain"),
            ("REQUEST_SCHEME", "http"),
        ] {
            assert_eq!(get(&head, name).as_deref(), Some(value), "{name}");
        }
        assert_eq!(get(&head, "HTTPS"), None);
        assert_eq!(get(&filled("/", &[], &plain_client(), ""), "PATH_INFO"), None);
    }

    #[test]
    fn headers_that_would_harm_are_left_out() {
        let head = filled(
            "/",
            &[
                ("proxy", "http://evil"),
                ("x-forwarded-for", "1.1.1.1"),
                ("x_forwarded_for", "6.6.6.6"),
                ("x-sendfile-type", "X-Accel-Redirect"),
                ("x-accel-mapping", "/=/"),
                ("transfer-encoding", "chunked"),
                ("cookie", "a=1"),
                ("cookie", "b=2"),
                ("accept", "x"),
                ("accept", "y"),
                ("authorization", "Basic eA=="),
            ],
            &plain_client(),
            "",
        );
        for (name, value) in [
            ("HTTP_PROXY", None),
            ("HTTP_X_FORWARDED_FOR", Some("1.1.1.1")),
            ("HTTP_X_SENDFILE_TYPE", None),
            ("HTTP_X_ACCEL_MAPPING", None),
            ("HTTP_TRANSFER_ENCODING", None),
            ("HTTP_COOKIE", Some("a=1; b=2")),
            ("HTTP_ACCEPT", Some("x, y")),
            ("HTTP_AUTHORIZATION", Some("Basic eA==")),
        ] {
            assert_eq!(get(&head, name).as_deref(), value, "{name}");
        }
    }

    #[test]
    fn a_proxy_tells_scheme_host_and_port() {
        let client = Client { https: true, host: Some("outer.example".into()), ..plain_client() };
        let head = filled("/", &[], &client, "");
        assert_eq!(get(&head, "HTTPS").as_deref(), Some("on"));
        assert_eq!(get(&head, "SERVER_NAME").as_deref(), Some("outer.example"));
        assert_eq!(get(&head, "SERVER_PORT").as_deref(), Some("443"));
    }

    #[test]
    fn ports_are_split_off() {
        for (host, expected) in [
            ("a:80", ("a", Some(80))),
            ("a", ("a", None)),
            ("[::1]:80", ("[::1]", Some(80))),
            ("[::1]", ("[::1]", None)),
            ("a:", ("a", None)),
        ] {
            assert_eq!(split_port(host), expected, "{host}");
        }
    }
}
