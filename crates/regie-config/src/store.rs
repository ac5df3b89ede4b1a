//! The application's store: whether Régie runs one, and how `[store] url` names another.
//!
//! **Whether it runs.** `[store] enabled` decides where it stands; else a `[store]` section means yes; else the store
//! runs where the application names a Redis that would lead to it (`REDIS_HOST=redis`, `127.0.0.1`, a `redis://` DSN,
//! a Redis driver in `.env`). An application that names none costs no memory. With `[store] url` none runs.
//!
//! **Its files** lie in the state folder, so that the next start, and every command beside it, finds the same store:
//! [`ADDRESS_FILE`] holds where it listens, [`PASSWORD_FILE`] (mode 0600) the password that was made for it.
//!
//! **`[store] url`** names another, in one of three forms:
//!
//! - one server: `redis://[user][:password]@host[:port][/0]`, `rediss://` for TLS;
//! - the master that sentinels name: `redis+sentinel://[user][:password]@host[:26379],host…/MASTER`, or the form of
//!   Symfony, `redis:?host[a:26379]&host[b:26379]&redis_sentinel=MASTER`. The login is the master's; sentinels that ask
//!   for one of their own get `?sentinel_username=…&sentinel_password=…`;
//! - a Redis Cluster: `redis+cluster://[user][:password]@host[:port],host…`, or `redis://a:7000,b:7000`. The
//!   application must speak to it as to a cluster.

use std::net::SocketAddr;

use regie_core::Secret;

use crate::addresses::StoreAddress;
use crate::addresses::url::{Url, host_and_port, percent_decode};

/// Where the embedded store listens, in the state folder.
pub const ADDRESS_FILE: &str = "store.address";
/// The password that was made for the embedded store, in the state folder.
pub const PASSWORD_FILE: &str = "store.password";
/// Which master the sentinels have told last, in the state folder: `MASTER host:port`. It stands in for them while none
/// answers.
pub const MASTER_FILE: &str = "store.master";
/// Redis's port.
pub const DEFAULT_PORT: u16 = 6379;

/// What a store of an earlier start has left in the state folder.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StoreFiles {
    /// Where it listened.
    pub address: Option<SocketAddr>,
    /// The password that was made for it.
    pub password: Option<Secret>,
}

/// What is wrong with a `[store] url`, and the way out. Neither repeats the URL, which holds a password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotServed {
    /// What is wrong.
    pub what: String,
    /// What to write instead.
    pub fix: &'static str,
}

/// What `[store] url` names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum External {
    /// One server.
    One(StoreAddress),
    /// Whichever server the sentinels say.
    Sentinels(Sentinels),
    /// A cluster, by the nodes that are named.
    Cluster(Cluster),
}

impl External {
    /// In a few words, without secrets.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::One(store) => store.name.clone(),
            Self::Sentinels(sentinels) => {
                format!("{} of the sentinels {}", sentinels.master, sentinels.list())
            }
            Self::Cluster(cluster) => format!("cluster {}", list(&cluster.nodes)),
        }
    }
}

/// The sentinels that are named, and what they are asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sentinels {
    /// Where they listen.
    pub hosts: Vec<(String, u16)>,
    /// The name under which they watch the master.
    pub master: String,
    /// User and password that the sentinels themselves ask for.
    pub login: (Option<String>, Option<Secret>),
    /// User of the master, when it is not the default one.
    pub username: Option<String>,
    /// Password of the master.
    pub password: Option<Secret>,
}

impl Sentinels {
    /// Where they are.
    #[must_use]
    pub fn list(&self) -> String {
        list(&self.hosts)
    }

    /// The master, at the address that the sentinels have told.
    #[must_use]
    pub fn master_at(&self, host: String, port: u16) -> StoreAddress {
        StoreAddress {
            name: format!("{}, {host}:{port}", self.master),
            host,
            port,
            username: self.username.clone(),
            password: self.password.clone(),
            tls: false,
            nodes: Vec::new(),
        }
    }
}

/// The nodes of a cluster that are named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster {
    /// Where they listen.
    pub nodes: Vec<(String, u16)>,
    /// User, when it is not the default one.
    pub username: Option<String>,
    /// Password.
    pub password: Option<Secret>,
}

impl Cluster {
    /// The cluster, entered by its node `index`.
    ///
    /// # Panics
    /// When there is no such node.
    #[must_use]
    pub fn entered_by(&self, index: usize) -> StoreAddress {
        let (host, port) = self.nodes[index].clone();
        StoreAddress {
            name: format!("cluster {}", list(&self.nodes)),
            host,
            port,
            username: self.username.clone(),
            password: self.password.clone(),
            tls: false,
            nodes: self.nodes.clone(),
        }
    }
}

fn list(hosts: &[(String, u16)]) -> String {
    hosts.iter().map(|(host, port)| format!("{host}:{port}")).collect::<Vec<_>>().join(", ")
}

const ONE_SERVER: &str = "name one server: \"redis://:${REDIS_PASSWORD}@10.0.0.5:6379\"";
const SENTINELS: &str =
    "name it as \"redis+sentinel://:${REDIS_PASSWORD}@10.0.0.5:26379,10.0.0.6:26379/mymaster\"";
/// Where sentinels listen.
const SENTINEL_PORT: u16 = 26_379;

fn refuse<T>(what: &str, fix: &'static str) -> Result<T, NotServed> {
    Err(NotServed { what: what.to_owned(), fix })
}

/// The store that `[store] url` names.
///
/// # Errors
/// What is not such a URL.
pub fn external(text: &str) -> Result<External, NotServed> {
    let scheme = text.split_once(':').map_or("", |(scheme, _)| scheme).to_ascii_lowercase();
    let many = Many::parse(text);
    let sentinel =
        many.query(&["sentinel_master", "redis_sentinel", "sentinel", "master_name", "sentinelmasterid"]);
    if scheme.contains("sentinel") || sentinel.is_some() {
        return sentinels(&scheme, &many, sentinel).map(External::Sentinels);
    }
    let cluster = many.query(&["redis_cluster", "cluster"]).is_some_and(|word| word != "0");
    if scheme.contains("cluster") || cluster || many.hosts.len() > 1 {
        return cluster_of(&scheme, &many).map(External::Cluster);
    }
    let tls = match scheme.as_str() {
        "redis" | "valkey" | "tcp" => false,
        "rediss" | "valkeys" | "tls" => true,
        "unix" | "redis+unix" | "redis+socket" => return socket(),
        _ => return refuse("the URL of a store begins with redis:// or rediss://", ONE_SERVER),
    };
    if text.contains(":///") || text.contains(":?host[/") {
        return socket();
    }
    let Some(url) = Url::parse(text) else { return refuse("the URL names no host", ONE_SERVER) };
    no_database(url.path())?;
    let (host, port) = url.host();
    let port = port.unwrap_or(DEFAULT_PORT);
    let name = format!("{host}:{port}");
    let (username, password) = (url.username(), url.password().map(Secret::new));
    Ok(External::One(StoreAddress { name, host, port, username, password, tls, nodes: Vec::new() }))
}

fn socket<T>() -> Result<T, NotServed> {
    refuse("a Unix socket is not served as an external store by this version", ONE_SERVER)
}

fn no_database(path: &str) -> Result<(), NotServed> {
    if matches!(path, "" | "/" | "/0") {
        return Ok(());
    }
    let fix = "leave it out: the application names its own (REDIS_DB, or the path of its DSN)";
    refuse("the number of a database has no effect here", fix)
}

fn no_tls(scheme: &str, what: &str) -> Result<(), NotServed> {
    if scheme.starts_with("rediss") || scheme.starts_with("valkeys") {
        return refuse(
            &format!("{what} that is spoken to through TLS is not served by this version"),
            "leave TLS out, or name one server with rediss://",
        );
    }
    Ok(())
}

fn sentinels(scheme: &str, many: &Many, named: Option<String>) -> Result<Sentinels, NotServed> {
    no_tls(scheme, "a Sentinel")?;
    let mut path = many.path.trim_matches('/');
    let master = named.unwrap_or_else(|| {
        let (name, rest) = path.split_once('/').unwrap_or((path, ""));
        path = rest;
        percent_decode(name)
    });
    if master.is_empty() {
        return refuse("the URL of sentinels does not say which master", SENTINELS);
    }
    if many.hosts.is_empty() {
        return refuse("the URL names no sentinel", SENTINELS);
    }
    no_database(&format!("/{path}"))?;
    let password = many.query(&["sentinel_password", "sentinelpassword"]).map(Secret::new);
    let login = (many.query(&["sentinel_username", "sentinelusername"]), password);
    let hosts = many.hosts(SENTINEL_PORT);
    Ok(Sentinels { hosts, master, login, username: many.username.clone(), password: many.password.clone() })
}

fn cluster_of(scheme: &str, many: &Many) -> Result<Cluster, NotServed> {
    no_tls(scheme, "a Redis Cluster")?;
    if many.hosts.is_empty() {
        let fix = "name it as \"redis+cluster://:${REDIS_PASSWORD}@10.0.0.5:6379,10.0.0.6:6379\"";
        return refuse("the URL names no node", fix);
    }
    if !matches!(many.path.as_str(), "" | "/" | "/0") {
        return refuse("a Redis Cluster has one database, 0", "leave the number out");
    }
    let nodes = many.hosts(DEFAULT_PORT);
    Ok(Cluster { nodes, username: many.username.clone(), password: many.password.clone() })
}

/// `scheme://login@host,host/path?name=value`, also with `scheme://` before each host, and with `host[…]` among the
/// names.
struct Many {
    username: Option<String>,
    password: Option<Secret>,
    hosts: Vec<(String, Option<u16>)>,
    path: String,
    query: Vec<(String, String)>,
}

impl Many {
    fn parse(text: &str) -> Self {
        let (_, rest) = text.split_once(':').unwrap_or(("", text));
        let (before, query) = rest.split_once('?').unwrap_or((rest, ""));
        let before = before.strip_prefix("//").unwrap_or(before);
        let mut out = Self {
            username: None,
            password: None,
            hosts: Vec::new(),
            path: String::new(),
            query: Vec::new(),
        };
        for part in before.split(',') {
            let part = part.split_once("://").map_or(part, |(_, part)| part);
            let (login, part) =
                part.rsplit_once('@').map_or((None, part), |(login, part)| (Some(login), part));
            if let Some(login) = login {
                let (user, password) = login.split_once(':').unwrap_or(("", login));
                let some = |text: &str| Some(percent_decode(text)).filter(|text| !text.is_empty());
                out.username = some(user).or(out.username);
                out.password = some(password).map(Secret::new).or(out.password);
            }
            let (host, path) = part.find('/').map_or((part, ""), |at| part.split_at(at));
            if !host.is_empty() {
                out.hosts.push(host_and_port(host));
            }
            if !path.is_empty() {
                path.clone_into(&mut out.path);
            }
        }
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            match name.strip_prefix("host[").and_then(|name| name.strip_suffix(']')) {
                Some(host) => out.hosts.push(host_and_port(&percent_decode(host))),
                None => out.query.push((name.to_ascii_lowercase(), percent_decode(value))),
            }
        }
        out
    }

    fn query(&self, names: &[&str]) -> Option<String> {
        self.query.iter().find(|(name, _)| names.contains(&name.as_str())).map(|(_, value)| value.clone())
    }

    fn hosts(&self, port: u16) -> Vec<(String, u16)> {
        self.hosts.iter().map(|(host, own)| (host.clone(), own.unwrap_or(port))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_served_or_refused_by_name() {
        for (text, expected) in [
            ("redis://10.0.0.5", "10.0.0.5:6379"),
            ("redis://:p%40w@cache.example.org:6380/0", "cache.example.org:6380 password p@w"),
            ("valkey://app:pw@10.0.0.5/", "10.0.0.5:6379 user app password pw"),
            ("rediss://10.0.0.5:6380", "10.0.0.5:6380 tls"),
            ("redis://[::1]:7000", "::1:7000"),
            ("redis://10.0.0.5/2", "the number of a database has no effect here"),
            ("redis://a:26379,b/?sentinel_master=mymaster", "mymaster of the sentinels a:26379, b:26379"),
            (
                "redis:?host[a:26380]&host[b]&redis_sentinel=main&sentinel_password=s%20p",
                "main of the sentinels a:26380, b:26379 asked with s p",
            ),
            (
                "redis+sentinel://app:p%40w@a,[::1]:5000/main/0",
                "main of the sentinels a:26379, ::1:5000 user app password p@w",
            ),
            ("redis-sentinel://:pw@a/0?sentinelMasterId=main", "main of the sentinels a:26379 password pw"),
            ("redis+sentinel://a:26379/main/3", "the number of a database has no effect here"),
            ("redis+sentinel://a:26379", "the URL of sentinels does not say which master"),
            ("redis+sentinel:///main", "the URL names no sentinel"),
            (
                "rediss+sentinel://a/main",
                "a Sentinel that is spoken to through TLS is not served by this version",
            ),
            ("redis://a:7000,b:7000", "cluster a:7000, b:7000"),
            ("redis://:pw@a:7000,redis://:pw@b:7000", "cluster a:7000, b:7000 password pw"),
            ("redis:?host[a]&host[b]", "cluster a:6379, b:6379"),
            ("redis://a?redis_cluster=1", "cluster a:6379"),
            ("redis+cluster://app:pw@a", "cluster a:6379 user app password pw"),
            ("redis-cluster://a/2", "a Redis Cluster has one database, 0"),
            (
                "rediss-cluster://a",
                "a Redis Cluster that is spoken to through TLS is not served by this version",
            ),
            ("unix:/run/redis.sock", "a Unix socket is not served as an external store by this version"),
            ("redis:///run/redis.sock", "a Unix socket is not served as an external store by this version"),
            ("mysql://db", "the URL of a store begins with redis:// or rediss://"),
            ("10.0.0.5:6379", "the URL of a store begins with redis:// or rediss://"),
            ("redis://", "the URL names no host"),
        ] {
            let shown = external(text).map_or_else(|fault| fault.what, |store| shown(&store));
            assert_eq!(shown, expected, "{text}");
        }
    }

    fn shown(store: &External) -> String {
        let (username, password, tls, login) = match store {
            External::One(one) => (&one.username, &one.password, one.tls, None),
            External::Sentinels(all) => (&all.username, &all.password, false, all.login.1.as_ref()),
            External::Cluster(all) => (&all.username, &all.password, false, None),
        };
        let user = username.as_ref().map(|name| format!(" user {name}")).unwrap_or_default();
        let password = password.as_ref().map(|p| format!(" password {}", p.reveal())).unwrap_or_default();
        let asked = login.map(|login| format!(" asked with {}", login.reveal())).unwrap_or_default();
        format!("{}{user}{password}{asked}{}", store.name(), if tls { " tls" } else { "" })
    }
}
