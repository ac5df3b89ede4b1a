//! Addresses of many kinds: listeners, servers, networks, readiness checks.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
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

/// A range of addresses, `10.0.0.0/8` or a single address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    /// Its first address.
    pub address: IpAddr,
    /// How many leading bits are the network's.
    pub prefix: u8,
}

impl Network {
    /// Whether `address` lies in it. An IPv4 address mapped into IPv6 counts as IPv4.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let drop = |width: u32| width - u32::from(self.prefix);
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                (u32::from(own) ^ u32::from(other)).checked_shr(drop(32)).unwrap_or(0) == 0
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                (u128::from(own) ^ u128::from(other)).checked_shr(drop(128)).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (address, prefix) = text.split_once('/').map_or((text, None), |(a, p)| (a, Some(p)));
        let address = match address {
            "localhost" => IpAddr::V4(Ipv4Addr::LOCALHOST),
            _ => address.parse::<IpAddr>().map_err(|_| format!("\"{text}\" is none"))?,
        };
        let width = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => width,
            Some(digits) => {
                let prefix = digits.parse::<u8>().ok().filter(|prefix| *prefix <= width);
                prefix.ok_or_else(|| format!("the prefix is a number from 0 to {width}"))?
            }
        };
        let first = match address {
            IpAddr::V4(v4) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
                IpAddr::V4(Ipv4Addr::from(u32::from(v4) & mask))
            }
            IpAddr::V6(v6) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
                IpAddr::V6(Ipv6Addr::from(u128::from(v6) & mask))
            }
        };
        Ok(Self { address: first, prefix })
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
    fn networks_contain_their_addresses() {
        for (network, address, expected) in [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("0.0.0.0/0", "203.0.113.9", true),
            ("127.0.0.1", "127.0.0.1", true),
            ("127.0.0.1", "127.0.0.2", false),
            ("10.0.0.0/8", "::ffff:10.1.2.3", true),
            ("fd00::/8", "fd12::1", true),
            ("::/0", "2001:db8::1", true),
            ("::/0", "10.0.0.1", false),
        ] {
            let network: Network = network.parse().unwrap();
            assert_eq!(network.contains(address.parse().unwrap()), expected, "{network} {address}");
        }
        assert_eq!("10.1.2.3/8".parse::<Network>().unwrap().to_string(), "10.0.0.0/8");
        for wrong in ["10.0.0.0/33", "10.0.0", "::/129", "10.0.0.0/", "x"] {
            assert!(wrong.parse::<Network>().is_err(), "{wrong}");
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
