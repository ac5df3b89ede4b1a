//! Addresses of many kinds: listeners, servers, networks, readiness checks.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

/// Where a listener is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listen {
    /// A TCP address.
    Tcp(SocketAddr),
    /// A Unix socket.
    Unix(PathBuf),
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl FromStr for Listen {
    type Err = String;

    /// A bare port is one on loopback: nothing listens further without being told so by an address.
    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:").or_else(|| text.starts_with('/').then_some(text)) {
            return unix_path(path).map(Self::Unix);
        }
        let loopback = Ipv4Addr::LOCALHOST;
        if let Ok(port) = text.strip_prefix(':').unwrap_or(text).parse::<u16>() {
            return Ok(Self::Tcp(SocketAddr::from((loopback, port))));
        }
        if let Some(port) = text.strip_prefix("localhost:").and_then(|port| port.parse::<u16>().ok()) {
            return Ok(Self::Tcp(SocketAddr::from((loopback, port))));
        }
        if let Some(port) = text.strip_prefix("*:") {
            return Err(format!("write 0.0.0.0:{port} to listen on every address"));
        }
        if text.parse::<IpAddr>().is_ok() {
            return Err(format!("\"{text}\" has no port"));
        }
        text.parse().map(Self::Tcp).map_err(|_| format!("\"{text}\" is none"))
    }
}

/// A path that fits into `sun_path`.
fn unix_path(path: &str) -> Result<PathBuf, String> {
    const SUN_PATH_MAX: usize = 107;
    match path {
        "" => Err("the path is missing".to_owned()),
        path if path.len() > SUN_PATH_MAX => Err(format!("the path is longer than {SUN_PATH_MAX} bytes")),
        path if path.contains('\0') => Err("the path contains a NUL character".to_owned()),
        path => Ok(PathBuf::from(path)),
    }
}

/// A FastCGI server that is not ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Upstream {
    /// Host (name or address) and port.
    Tcp(String, u16),
    /// A Unix socket.
    Unix(PathBuf),
}

impl fmt::Display for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(host, port) if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp(host, port) => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl FromStr for Upstream {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.strip_prefix("fastcgi://").or_else(|| text.strip_prefix("tcp://")).unwrap_or(text);
        if let Some(path) = text.strip_prefix("unix:").or_else(|| text.starts_with('/').then_some(text)) {
            return unix_path(path).map(Self::Unix);
        }
        let Some((host, port)) = text.rsplit_once(':') else { return Err(format!("\"{text}\" has no port")) };
        let port = port.parse().map_err(|_| format!("\"{port}\" is no port"))?;
        let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
        if host.is_empty() || host.contains(['/', ' ', '@', '\0']) {
            return Err(format!("\"{host}\" is no host"));
        }
        Ok(Self::Tcp(host.to_owned(), port))
    }
}

/// When a program counts as ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ready {
    /// When it has run for its `start_time`.
    Running,
    /// When it says `READY=1` on the socket in `NOTIFY_SOCKET`.
    Notify,
    /// When a TCP connection is accepted.
    Tcp(String),
    /// When a connection to a Unix socket is accepted.
    Unix(PathBuf),
    /// When an HTTP request is answered with 2xx or 3xx.
    Http(String),
    /// When a command ends with status 0.
    Command(String),
}

impl fmt::Display for Ready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Running => f.write_str("running"),
            Self::Notify => f.write_str("notify"),
            Self::Tcp(address) => write!(f, "tcp:{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Http(url) => f.write_str(url),
            Self::Command(line) => write!(f, "command:{line}"),
        }
    }
}

impl FromStr for Ready {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "running" => Ok(Self::Running),
            None if text == "notify" => Ok(Self::Notify),
            Some(("tcp", address)) => match address.rsplit_once(':') {
                Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => {
                    Ok(Self::Tcp(address.to_owned()))
                }
                _ => Err(format!("\"{address}\" is no host:port")),
            },
            Some(("unix", path)) => unix_path(path).map(Self::Unix),
            Some(("http", rest)) if rest.len() > 2 && rest.starts_with("//") => {
                Ok(Self::Http(text.to_owned()))
            }
            Some(("command", line)) if !line.trim().is_empty() => Ok(Self::Command(line.to_owned())),
            _ => Err(format!("\"{text}\" is none")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_stay_on_loopback_unless_an_address_is_named() {
        for (text, expected) in [
            ("127.0.0.1:8000", Ok("127.0.0.1:8000")),
            ("8000", Ok("127.0.0.1:8000")),
            (":8000", Ok("127.0.0.1:8000")),
            ("localhost:80", Ok("127.0.0.1:80")),
            ("0.0.0.0:80", Ok("0.0.0.0:80")),
            ("[::1]:80", Ok("[::1]:80")),
            ("unix:/run/site.sock", Ok("unix:/run/site.sock")),
            ("/run/site.sock", Ok("unix:/run/site.sock")),
            ("*:80", Err("write 0.0.0.0:80 to listen on every address")),
            ("10.0.0.1", Err("\"10.0.0.1\" has no port")),
            ("example.org:80", Err("\"example.org:80\" is none")),
            ("unix:", Err("the path is missing")),
            ("127.0.0.1:99999", Err("\"127.0.0.1:99999\" is none")),
        ] {
            let read = text.parse::<Listen>().map(|listen| listen.to_string());
            assert_eq!(read.as_deref().map_err(String::as_str), expected, "{text}");
        }
    }

    #[test]
    fn upstreams_and_ready_checks_read_back_as_written() {
        for text in ["unix:/run/php/php8.2-fpm.sock", "10.0.0.3:9000", "fpm:9000", "[::1]:9000"] {
            assert_eq!(text.parse::<Upstream>().unwrap().to_string(), text);
        }
        for wrong in ["fpm", ":9000", "fpm:x", "unix:", "http://a/b:1"] {
            assert!(wrong.parse::<Upstream>().is_err(), "{wrong}");
        }
        for text in [
            "running",
            "notify",
            "tcp:127.0.0.1:3306",
            "unix:/run/db",
            "http://127.0.0.1:5173/",
            "command:true",
        ] {
            assert_eq!(text.parse::<Ready>().unwrap().to_string(), text);
        }
        for wrong in ["", "tcp:3306", "unix:", "http:", "command: ", "soon"] {
            assert!(wrong.parse::<Ready>().is_err(), "{wrong}");
        }
    }
}
