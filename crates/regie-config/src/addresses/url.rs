//! The little of URLs and DSNs that pointing one elsewhere takes: everything else stays as it was written.

use super::StoreAddress;

/// The parts of `scheme://user:password@host:port/rest` by their byte ranges.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Url<'a> {
    text: &'a str,
    /// Where the part after `://` begins.
    start: usize,
    /// Where the host begins, after `@`.
    host_start: usize,
    /// Where host and port end.
    end: usize,
}

impl<'a> Url<'a> {
    /// Reads `text`; `None` when it has no scheme, no host, or several hosts.
    pub(crate) fn parse(text: &'a str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let named = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
        if scheme.is_empty() || !scheme.chars().all(named) {
            return None;
        }
        let start = scheme.len() + 3;
        let end = start + rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let authority = &text[start..end];
        let host_start = start + authority.rfind('@').map_or(0, |at| at + 1);
        let host = &text[host_start..end];
        let sound = !host.is_empty() && !host.starts_with(':') && !host.contains([',', ' ', '%', '$', '{']);
        sound.then_some(Self { text, start, host_start, end })
    }

    pub(super) fn scheme(&self) -> &'a str {
        &self.text[..self.start - 3]
    }

    pub(crate) fn host(&self) -> (String, Option<u16>) {
        host_and_port(&self.text[self.host_start..self.end])
    }

    /// The user's name, decoded.
    pub(crate) fn username(&self) -> Option<String> {
        let login = self.text[self.start..self.host_start].strip_suffix('@')?;
        let (name, _) = login.split_once(':')?;
        Some(percent_decode(name)).filter(|name| !name.is_empty())
    }

    /// The password, decoded. Without a colon the whole login is one, as Laravel and Symfony have it.
    pub(crate) fn password(&self) -> Option<String> {
        let login = self.text[self.start..self.host_start].strip_suffix('@')?;
        let (_, password) = login.split_once(':').unwrap_or(("", login));
        Some(percent_decode(password)).filter(|password| !password.is_empty())
    }

    /// Everything behind the host.
    pub(super) fn rest(&self) -> &'a str {
        &self.text[self.end..]
    }

    /// What stands between host and query.
    pub(crate) fn path(&self) -> &'a str {
        self.text[self.end..].split(['?', '#']).next().unwrap_or_default()
    }

    /// The URL with another host, and another port when one is given.
    pub(super) fn with_host(&self, host: &str, port: Option<u16>) -> String {
        let port = port.or(self.host().1);
        let before = &self.text[..self.host_start];
        format!("{before}{}{}", join(host, port), &self.text[self.end..])
    }

    /// The URL with another scheme, host, port and login.
    pub(super) fn led_to(&self, scheme: &str, store: &StoreAddress) -> String {
        let address = join(&store.host, Some(store.port));
        format!("{scheme}://{}{address}{}", login(store), self.rest())
    }

    /// The URL with all nodes of a cluster, as Messenger's transport reads them: a whole URL each, of which the last
    /// says path and options.
    pub(super) fn led_to_nodes(&self, scheme: &str, store: &StoreAddress) -> String {
        let login = login(store);
        let node = |(host, port): &(String, u16)| format!("{scheme}://{login}{}", join(host, Some(*port)));
        let mut nodes: Vec<String> = store.nodes.iter().map(node).collect();
        // One alone would be read as a server.
        if let [only] = &nodes[..] {
            nodes.push(only.clone());
        }
        format!("{}{}", nodes.join(","), self.rest())
    }

    /// The URL with all nodes of a cluster, as Symfony's cache, lock and session handlers read them. There is one
    /// database, so the path goes. Symfony 5 takes the password of a cluster from among the options only.
    pub(super) fn led_to_cluster(&self, scheme: &str, store: &StoreAddress) -> String {
        let hosts: Vec<String> =
            store.nodes.iter().map(|(host, port)| format!("host[{}]", join(host, Some(*port)))).collect();
        let options = self.rest().split_once('?').map(|(_, query)| format!("&{query}")).unwrap_or_default();
        let auth =
            store.password.as_ref().map(|password| format!("&auth={}", percent_encode(password.reveal())));
        let auth = auth.unwrap_or_default();
        format!("{scheme}:{}?{}&redis_cluster=1{auth}{options}", login(store), hosts.join("&"))
    }
}

/// User and password as they stand before a host.
fn login(store: &StoreAddress) -> String {
    let user = store.username.as_deref().map(percent_encode).unwrap_or_default();
    let password = store.password.as_ref().map(|password| percent_encode(password.reveal()));
    password.map(|password| format!("{user}:{password}@")).unwrap_or_default()
}

fn join(host: &str, port: Option<u16>) -> String {
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    port.map_or_else(|| host.clone(), |port| format!("{host}:{port}"))
}

/// `host:port`, `host`, `[::1]:port` or a bare IPv6 address.
pub(crate) fn host_and_port(text: &str) -> (String, Option<u16>) {
    if let Some((host, rest)) = text.strip_prefix('[').and_then(|text| text.split_once(']')) {
        return (host.to_owned(), rest.strip_prefix(':').and_then(|port| port.parse().ok()));
    }
    match text.split_once(':') {
        Some((host, port)) if !port.contains(':') => match port.parse() {
            Ok(port) => (host.to_owned(), Some(port)),
            Err(_) => (host.to_owned(), None),
        },
        _ => (text.to_owned(), None),
    }
}

fn percent_encode(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
        out
    })
}

/// What `%40` stands for; a `%` that begins no such thing stays.
pub(crate) fn percent_decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let hex = after.get(..2).and_then(|pair| std::str::from_utf8(pair).ok());
        match hex.filter(|_| *first == b'%').and_then(|pair| u8::from_str_radix(pair, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A name as a key of TOML.
pub(super) fn toml_key(name: &str) -> String {
    let bare = name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    if bare && !name.is_empty() { name.to_owned() } else { format!("\"{name}\"") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_host_is_replaced() {
        for (text, expected) in [
            ("mysql://u:p@db:3306/shop?serverVersion=8", "mysql://u:p@10.0.0.7:3306/shop?serverVersion=8"),
            ("mysql://u:p%40x@db/shop", "mysql://u:p%40x@10.0.0.7/shop"),
            ("postgresql://app:a@b@database/app", "postgresql://app:a@b@10.0.0.7/app"),
            ("redis://[::1]:6379", "redis://10.0.0.7:6379"),
            ("smtp://mailpit:1025", "smtp://10.0.0.7:1025"),
        ] {
            assert_eq!(Url::parse(text).unwrap().with_host("10.0.0.7", None), expected);
        }
        let url = Url::parse("redis://:old@redis:6379/2?timeout=1").unwrap();
        let mut store = StoreAddress {
            name: "store".to_owned(),
            host: "127.0.0.1".to_owned(),
            port: 7001,
            username: None,
            password: Some(regie_core::Secret::new("p/w")),
            tls: false,
            nodes: Vec::new(),
        };
        assert_eq!(url.led_to("redis", &store), "redis://:p%2Fw@127.0.0.1:7001/2?timeout=1");
        (store.host, store.username) = ("::1".to_owned(), Some("app".to_owned()));
        assert_eq!(url.led_to("rediss", &store), "rediss://app:p%2Fw@[::1]:7001/2?timeout=1");
        (store.password, store.username) = (None, None);
        assert_eq!(url.led_to("redis", &store), "redis://[::1]:7001/2?timeout=1");
        assert_eq!(url.password().as_deref(), Some("old"));
        assert_eq!(Url::parse("redis://only@h").unwrap().password().as_deref(), Some("only"));
        assert_eq!(Url::parse("redis://u:p%40w%@h").unwrap().password().as_deref(), Some("p@w%"));
    }

    #[test]
    fn what_has_no_single_host_is_left_alone() {
        for text in [
            "doctrine://",
            "sqlite:///%kernel.project_dir%/var/data.db",
            "redis://a:1,b:2",
            "redis:?host[a]",
            "null://",
            "sync",
            "",
        ] {
            assert_eq!(Url::parse(text), None, "{text}");
        }
    }
}
