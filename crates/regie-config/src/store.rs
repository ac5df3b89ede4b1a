//! The application's store: whether Régie runs one, and how `[store] url` names another.
//!
//! **Whether it runs.** `[store] enabled` decides where it stands; else a `[store]` section means yes; else the store
//! runs where the application names a Redis that would lead to it (`REDIS_HOST=redis`, `127.0.0.1`, a `redis://` DSN,
//! a Redis driver in `.env`). An application that names none costs no memory. With `[store] url` none runs.
//!
//! **Its files** lie in the state folder, so that the next start, and every command beside it, finds the same store:
//! [`ADDRESS_FILE`] holds where it listens, [`PASSWORD_FILE`] (mode 0600) the password that was made for it.
//!
//! **`[store] url`** names one server: `redis://[user][:password]@host[:port][/0]`, `rediss://` for TLS. The forms of
//! Sentinel and Cluster are known, and refused by name, because the application's one `REDIS_HOST` cannot say them.

use std::net::SocketAddr;

use regie_core::Secret;

use crate::addresses::StoreAddress;
use crate::addresses::url::Url;

/// Where the embedded store listens, in the state folder.
pub const ADDRESS_FILE: &str = "store.address";
/// The password that was made for the embedded store, in the state folder.
pub const PASSWORD_FILE: &str = "store.password";
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

const ONE_SERVER: &str = "name one server: \"redis://:${REDIS_PASSWORD}@10.0.0.5:6379\"";

/// The store that `[store] url` names.
///
/// # Errors
/// What is not a URL of one server.
pub fn external(text: &str) -> Result<StoreAddress, NotServed> {
    let refuse = |what: &str| Err(NotServed { what: what.to_owned(), fix: ONE_SERVER });
    let (scheme, rest) = text.split_once(':').unwrap_or(("", text));
    let scheme = scheme.to_ascii_lowercase();
    let query = rest.split_once('?').map_or("", |(_, query)| query);
    let names = |words: &[&str]| {
        query.split('&').any(|pair| words.contains(&pair.split('=').next().unwrap_or_default()))
    };
    let authority = rest.trim_start_matches('/').split(['/', '?']).next().unwrap_or_default();
    let several = authority.contains(',') || query.matches("host[").count() > 1;
    if scheme.contains("sentinel") || names(&["sentinel_master", "redis_sentinel", "sentinel", "master_name"])
    {
        return refuse("a Sentinel is not served by this version");
    }
    if scheme.contains("cluster") || names(&["redis_cluster", "cluster"]) || several {
        return refuse("a Redis Cluster is not served by this version");
    }
    let tls = match scheme.as_str() {
        "redis" | "valkey" | "tcp" => false,
        "rediss" | "valkeys" | "tls" => true,
        "unix" | "redis+unix" | "redis+socket" => {
            return refuse("a Unix socket is not served as an external store by this version");
        }
        _ => return refuse("the URL of a store begins with redis:// or rediss://"),
    };
    if rest.starts_with("///") || rest.starts_with("?host[/") {
        return refuse("a Unix socket is not served as an external store by this version");
    }
    let Some(url) = Url::parse(text) else { return refuse("the URL names no host") };
    if !matches!(url.path(), "" | "/" | "/0") {
        return Err(NotServed {
            what: "the number of a database has no effect here".to_owned(),
            fix: "leave it out: the application names its own (REDIS_DB, or the path of its DSN)",
        });
    }
    let (host, port) = url.host();
    let port = port.unwrap_or(DEFAULT_PORT);
    let name = format!("{host}:{port}");
    let (username, password) = (url.username(), url.password().map(Secret::new));
    Ok(StoreAddress { name, host, port, username, password, tls })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_server_is_served_and_the_rest_is_refused_by_name() {
        for (text, expected) in [
            ("redis://10.0.0.5", "10.0.0.5:6379"),
            ("redis://:p%40w@cache.example.org:6380/0", "cache.example.org:6380 password p@w"),
            ("valkey://app:pw@10.0.0.5/", "10.0.0.5:6379 user app password pw"),
            ("rediss://10.0.0.5:6380", "10.0.0.5:6380 tls"),
            ("redis://[::1]:7000", "::1:7000"),
            ("redis://10.0.0.5/2", "the number of a database has no effect here"),
            ("redis://a:26379,b:26379/?sentinel_master=mymaster", "a Sentinel is not served by this version"),
            ("redis:?host[a:26379]&redis_sentinel=main", "a Sentinel is not served by this version"),
            ("redis+sentinel://a:26379/main", "a Sentinel is not served by this version"),
            ("redis://a:7000,b:7000", "a Redis Cluster is not served by this version"),
            ("redis:?host[a]&host[b]", "a Redis Cluster is not served by this version"),
            ("redis://a?redis_cluster=1", "a Redis Cluster is not served by this version"),
            ("redis-cluster://a", "a Redis Cluster is not served by this version"),
            ("unix:/run/redis.sock", "a Unix socket is not served as an external store by this version"),
            ("redis:///run/redis.sock", "a Unix socket is not served as an external store by this version"),
            ("mysql://db", "the URL of a store begins with redis:// or rediss://"),
            ("10.0.0.5:6379", "the URL of a store begins with redis:// or rediss://"),
            ("redis://", "the URL names no host"),
        ] {
            let shown = match external(text) {
                Ok(store) => {
                    let user = store.username.map(|name| format!(" user {name}")).unwrap_or_default();
                    let password =
                        store.password.map(|p| format!(" password {}", p.reveal())).unwrap_or_default();
                    format!("{}{user}{password}{}", store.name, if store.tls { " tls" } else { "" })
                }
                Err(fault) => fault.what,
            };
            assert_eq!(shown, expected, "{text}");
        }
    }
}
