//! Who the client is, when proxies stand between.
//!
//! `X-Forwarded-For`, `X-Forwarded-Proto`, `X-Forwarded-Host`, `X-Forwarded-Port` and `Forwarded` (RFC 7239) are believed
//! only from peers that the configuration trusts. In a list of addresses the client is the last one that is not
//! itself a trusted proxy: whatever stands before it the client may have invented. The headers are passed on to the
//! application either way, as nginx does; an application has its own list.

use std::net::{IpAddr, Ipv6Addr};

use http::HeaderMap;
use regie_core::Network;

/// The proxies that are believed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TrustedProxies(pub Vec<Network>);

impl TrustedProxies {
    /// Whether `address` is one of them.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(address))
    }
}

/// The client as the application shall see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// Its address.
    pub address: IpAddr,
    /// Whether it spoke TLS to the outermost trusted proxy, or to us.
    pub https: bool,
    /// Whether that was told by one who knows: the end of the TLS connection, or a trusted proxy.
    pub is_scheme_told: bool,
    /// The host that it asked for, when a trusted proxy tells another than `Host`.
    pub host: Option<String>,
    /// The port that it asked for, when a trusted proxy tells it.
    pub port: Option<u16>,
}

/// Finds the client behind `peer`. `tls` = whether the peer spoke TLS to us.
#[must_use]
pub fn client(peer: IpAddr, tls: bool, headers: &HeaderMap, trusted: &TrustedProxies) -> Client {
    let direct =
        Client { address: peer.to_canonical(), https: tls, is_scheme_told: tls, host: None, port: None };
    if trusted.0.is_empty() || !trusted.contains(peer) {
        return direct;
    }
    let forwarded = all(headers, "forwarded");
    if !forwarded.is_empty() {
        return from_forwarded(&forwarded, &direct, trusted);
    }
    let hops = all(headers, "x-forwarded-for");
    let address = nearest_untrusted(hops.iter().map(String::as_str), trusted).unwrap_or(direct.address);
    let last = |name| all(headers, name).pop();
    let proto = last("x-forwarded-proto");
    Client {
        address,
        https: proto.as_ref().map_or(tls, |proto| proto.eq_ignore_ascii_case("https")),
        is_scheme_told: tls || proto.is_some(),
        host: last("x-forwarded-host").filter(|host| is_plain_host(host)),
        port: last("x-forwarded-port").and_then(|port| port.parse().ok()),
    }
}

/// All elements of the lists under `name`, in order.
fn all(headers: &HeaderMap, name: &str) -> Vec<String> {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|element| element.trim().to_owned())
        .filter(|element| !element.is_empty())
        .collect()
}

/// From the end of the list, the first address that is not a proxy's; an element that is no address ends the search,
/// since nothing before it can be vouched for.
fn nearest_untrusted<'a>(
    hops: impl DoubleEndedIterator<Item = &'a str>,
    trusted: &TrustedProxies,
) -> Option<IpAddr> {
    let mut nearest = None;
    for hop in hops.rev() {
        let Some(address) = node_address(hop) else { break };
        nearest = Some(address);
        if !trusted.contains(address) {
            break;
        }
    }
    nearest
}

/// `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]:80`, with or without quotes.
fn node_address(text: &str) -> Option<IpAddr> {
    let text = text.trim_matches('"');
    if let Some(rest) = text.strip_prefix('[') {
        return rest.split(']').next()?.parse::<Ipv6Addr>().ok().map(|v6| IpAddr::V6(v6).to_canonical());
    }
    let parsed = text.parse::<IpAddr>().ok();
    parsed.or_else(|| text.rsplit_once(':')?.0.parse().ok()).map(|ip| ip.to_canonical())
}

fn from_forwarded(elements: &[String], direct: &Client, trusted: &TrustedProxies) -> Client {
    let parameter = |element: &str, wanted: &str| {
        element.split(';').find_map(|pair| {
            let (name, value) = pair.split_once('=')?;
            name.trim().eq_ignore_ascii_case(wanted).then(|| value.trim().trim_matches('"').to_owned())
        })
    };
    let hops: Vec<String> = elements.iter().map(|e| parameter(e, "for").unwrap_or_default()).collect();
    let address = nearest_untrusted(hops.iter().map(String::as_str), trusted).unwrap_or(direct.address);
    let last = |name| elements.iter().rev().find_map(|element| parameter(element, name));
    let proto = last("proto");
    Client {
        address,
        https: proto.as_ref().map_or(direct.https, |proto| proto.eq_ignore_ascii_case("https")),
        is_scheme_told: direct.is_scheme_told || proto.is_some(),
        host: last("host").filter(|host| is_plain_host(host)),
        port: None,
    }
}

fn is_plain_host(host: &str) -> bool {
    !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderName, HeaderValue};

    fn check(peer: &str, fields: &[(&'static str, &'static str)], expected: &str) {
        let trusted = TrustedProxies(vec!["10.0.0.0/8".parse().unwrap(), "::1".parse().unwrap()]);
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let found = client(peer.parse().unwrap(), false, &headers, &trusted);
        let host = found.host.unwrap_or_default();
        let port = found.port.map(|port| port.to_string()).unwrap_or_default();
        let scheme = if found.https { "https" } else { "http" };
        assert_eq!(format!("{} {scheme} {host} {port}", found.address).trim_end(), expected, "{fields:?}");
    }

    #[test]
    fn strangers_are_not_believed() {
        let lies =
            [("x-forwarded-for", "1.2.3.4"), ("x-forwarded-proto", "https"), ("forwarded", "for=1.2.3.4")];
        check("192.0.2.1", &lies, "192.0.2.1 http");
    }

    #[test]
    fn the_last_untrusted_hop_is_the_client() {
        check("10.1.1.1", &[("x-forwarded-for", "1.2.3.4")], "1.2.3.4 http");
        check("10.1.1.1", &[("x-forwarded-for", "6.6.6.6, 1.2.3.4, 10.9.9.9")], "1.2.3.4 http");
        check("10.1.1.1", &[("x-forwarded-for", "6.6.6.6"), ("x-forwarded-for", "1.2.3.4")], "1.2.3.4 http");
        check("10.1.1.1", &[("x-forwarded-for", "1.2.3.4, unknown")], "10.1.1.1 http");
        check("10.1.1.1", &[("x-forwarded-for", "10.2.2.2")], "10.2.2.2 http");
        check("::1", &[("x-forwarded-for", "[2001:db8::1]:55")], "2001:db8::1 http");
        check("::ffff:10.0.0.1", &[("x-forwarded-for", "1.2.3.4:99")], "1.2.3.4 http");
        check("10.1.1.1", &[], "10.1.1.1 http");
    }

    #[test]
    fn scheme_host_and_port_come_along() {
        check(
            "10.1.1.1",
            &[
                ("x-forwarded-proto", "https"),
                ("x-forwarded-host", "shop.example"),
                ("x-forwarded-port", "443"),
            ],
            "10.1.1.1 https shop.example 443",
        );
        check("10.1.1.1", &[("x-forwarded-host", "a/b")], "10.1.1.1 http");
        check(
            "10.1.1.1",
            &[("forwarded", "for=6.6.6.6, For=\"[2001:db8::1]:1\";Proto=https;host=a.example, for=10.0.0.2")],
            "2001:db8::1 https a.example",
        );
        check("10.1.1.1", &[("forwarded", "for=_hidden;proto=https")], "10.1.1.1 https");
    }

    #[test]
    fn networks_are_read() {
        for (text, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.1"),
            ("192.0.2.1", "192.0.2.1", "192.0.2.2"),
            ("fd00::/8", "fd12::1", "fe80::1"),
            ("0.0.0.0/0", "8.8.8.8", "2001:db8::1"),
            ("::/0", "2001:db8::1", "8.8.8.8"),
        ] {
            let trusted = TrustedProxies(vec![text.parse().unwrap()]);
            assert!(trusted.contains(inside.parse().unwrap()), "{text} {inside}");
            assert!(!trusted.contains(outside.parse().unwrap()), "{text} {outside}");
        }
        for text in ["10.0.0.0/33", "10.0.0/8", "", "host", "::/129", "10.0.0.0/-1"] {
            assert!(text.parse::<Network>().is_err(), "{text}");
        }
    }
}
