//! The application's store: its files, its sockets, and its settings in Redis's words.
//!
//! The supervisor opens the sockets and hands them on, so a restart of the store loses no client that connects
//! meanwhile. The port is looked for once and kept in the state folder; the password is made once, with mode 0600, and
//! reaches children as environment and the store as a file, never as an argument.

use std::collections::BTreeSet;
use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{self, Read as _, Write as _};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use regie_config::settings::Store;
use regie_config::shell::servers;
use regie_config::store::{self, ADDRESS_FILE, External, MASTER_FILE, PASSWORD_FILE, Sentinels};
use regie_config::values::Listen;
use regie_queue::shell::redis::{Address, Asked};

use crate::programs::Socket;
use crate::site::Site;
use crate::sockets::{self, Fault, Rules};

/// The name under which the TCP listener is handed on.
pub(crate) const TCP: &str = "store.tcp";
/// The name under which the Unix listener is handed on.
pub(crate) const UNIX: &str = "store.sock";

/// Ports from here are looked at for a free one: below those that the system gives to outgoing connections.
const FIRST_PORT: u16 = 16_379;
/// So many of them.
const PORTS: u16 = 8000;

/// Whether Régie runs the application's store.
pub(crate) fn is_embedded(site: &Site) -> bool {
    site.loaded.config.store.enabled == Some(true) && site.loaded.config.store.url.is_none()
}

/// The store that `[store] url` names.
pub(crate) fn external(site: &Site) -> Option<External> {
    site.loaded.config.store.url.as_ref().and_then(|url| store::external(url.reveal()).ok())
}

/// The sentinels that `[store] url` names.
pub(crate) fn sentinels(site: &Site) -> Option<Sentinels> {
    match external(site)? {
        External::Sentinels(sentinels) => Some(sentinels),
        External::One(_) | External::Cluster(_) => None,
    }
}

/// The master of `sentinels`, who are asked for it before each connection.
pub(crate) fn master_of(sentinels: Sentinels) -> Address {
    let name = format!("{} of the sentinels {}", sentinels.master, sentinels.list());
    Address::Asked(Asked { name, is_master: true, find: Arc::new(move || servers::master(&sentinels)) })
}

/// Writes down which master the sentinels have told, for starts at which none of them answers.
pub(crate) fn keep_master(site: &Site, master: &str, host: &str, port: u16) -> io::Result<()> {
    write_private(site, &site.state_dir().join(MASTER_FILE), &format!("{master} {host}:{port}"))
}

/// Writes down the master that the configuration was read with, where there are sentinels.
pub(crate) fn keep_present_master(site: &Site) -> io::Result<()> {
    match (sentinels(site), &site.loaded.store) {
        (Some(sentinels), Some(store)) => keep_master(site, &sentinels.master, &store.host, store.port),
        _ => Ok(()),
    }
}

/// The store in a few words, when the application has one.
pub(crate) fn describe(site: &Site) -> Option<String> {
    let store = &site.loaded.config.store;
    if let Some(external) = external(site) {
        let now = site.loaded.store.as_ref().filter(|_| matches!(external, External::Sentinels(_)));
        let now = now.map(|store| format!(", now {}:{}", store.host, store.port)).unwrap_or_default();
        return Some(format!("external, {}{now}", external.name()));
    }
    is_embedded(site).then(|| format!("embedded, up to {}, synced: {}", store.maxmemory, store.appendfsync))
}

/// Where the data lies.
pub(crate) fn data_dir(site: &Site) -> PathBuf {
    site.state_dir().join("store")
}

/// The store's own socket.
pub(crate) fn socket_path(site: &Site) -> PathBuf {
    site.run_dir().join("store.sock")
}

/// Where the store listens, as the last start has left it.
pub(crate) fn address(site: &Site) -> Option<SocketAddr> {
    fs::read_to_string(site.state_dir().join(ADDRESS_FILE)).ok()?.trim().parse().ok()
}

/// The password that clients must say; none when `[store] password = ""`.
pub(crate) fn password(site: &Site) -> Option<String> {
    let written = site.loaded.config.store.password.as_ref().map(|password| password.reveal().to_owned());
    let made = || fs::read_to_string(site.state_dir().join(PASSWORD_FILE)).ok();
    written.or_else(made).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
}

/// `[store]` in Redis's words.
pub(crate) fn settings(site: &Site) -> Vec<(String, String)> {
    let store = &site.loaded.config.store;
    let mut settings = of_section(store);
    if let Some(password) = password(site) {
        settings.push(("requirepass".to_owned(), password));
    }
    settings.push(("unixsocket".to_owned(), socket_path(site).display().to_string()));
    settings
}

fn of_section(store: &Store) -> Vec<(String, String)> {
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let mut settings = vec![
        pair("appendonly", "yes"),
        // As many as the supervisor's listener has.
        pair("tcp-backlog", "4096"),
        pair("appendfsync", store.appendfsync.as_str()),
        pair("maxmemory", &store.maxmemory.0.to_string()),
        pair("maxmemory-policy", store.maxmemory_policy.as_str()),
        pair("protected-keys", &store.protected_keys.join(" ")),
    ];
    // After those, which hold for every database.
    for (number, own) in &store.db {
        let mut set = |name: &str, value: String| settings.push((format!("db.{number}.{name}"), value));
        if let Some(memory) = store.database_memory(own) {
            set("maxmemory", memory.0.to_string());
        }
        if let Some(policy) = own.maxmemory_policy {
            set("maxmemory-policy", policy.as_str().to_owned());
        }
        if let Some(sync) = own.appendfsync {
            set("appendfsync", sync.as_str().to_owned());
        }
    }
    settings
}

/// A number that changes with what the store must be started anew for, and tells nothing of it: its password. Its
/// addresses are told by its sockets, and everything else is taken over while it runs.
pub(crate) fn fingerprint(site: &Site) -> String {
    let mut hasher = DefaultHasher::new();
    password(site).hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

/// Makes the store's password where none is written and none was made before.
fn make_password(site: &Site) -> io::Result<bool> {
    let file = site.state_dir().join(PASSWORD_FILE);
    if site.loaded.config.store.password.is_some() || file.exists() {
        return Ok(false);
    }
    let mut random = [0; 24];
    fs::File::open("/dev/urandom")?.read_exact(&mut random)?;
    let text: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    write_private(site, &file, &text)?;
    Ok(true)
}

/// Writes a file for the application's user alone, whole or not at all.
fn write_private(site: &Site, file: &Path, text: &str) -> io::Result<()> {
    let fresh = file.with_extension(format!("new{}", std::process::id()));
    let mut out = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
    writeln!(out, "{text}")?;
    out.sync_all()?;
    site.give(&fresh)?;
    fs::rename(&fresh, file)
}

/// The sockets, and the names under which they are handed on.
pub(crate) fn sockets(site: &Site) -> Vec<Socket> {
    if !is_embedded(site) {
        return Vec::new();
    }
    let listen = site.loaded.config.store.listen.clone();
    let tcp = match &listen {
        Listen::Tcp(address) if address.port() == 0 => TCP.to_owned(),
        // Another address is another socket, which a reload opens.
        other => format!("{TCP}-{other}").replace([':', '/'], "-"),
    };
    vec![
        Socket { name: tcp, listen },
        Socket { name: UNIX.to_owned(), listen: Listen::Unix(socket_path(site)) },
    ]
}

/// The store's sockets, open.
#[derive(Debug, Default)]
pub(crate) struct Opened {
    /// Each with the name under which it is handed on.
    pub(crate) descriptors: Vec<(String, OwnedFd)>,
    /// Whether port or password is another than the configuration was read with.
    pub(crate) is_new: bool,
}

/// Opens those of the store's sockets that are not open yet, makes its password, and writes both down.
pub(crate) fn open(site: &Site, open: &BTreeSet<String>, rules: Rules<'_>) -> Result<Opened, Fault> {
    let mut opened = Opened::default();
    for socket in sockets(site).into_iter().filter(|socket| !open.contains(&socket.name)) {
        let (fd, listen) = match &socket.listen {
            Listen::Tcp(wanted) if wanted.port() == 0 => open_free(site, &socket, *wanted, rules)?,
            _ => sockets::open(&socket, rules)?,
        };
        let made = match &listen {
            Listen::Tcp(address) => keep_address(site, *address),
            Listen::Unix(_) => make_password(site),
        };
        opened.is_new |= made.map_err(|source| Fault::Io { listen, source })?;
        opened.descriptors.push((socket.name, fd));
    }
    Ok(opened)
}

fn keep_address(site: &Site, now: SocketAddr) -> io::Result<bool> {
    if address(site) == Some(now) {
        return Ok(false);
    }
    write_private(site, &site.state_dir().join(ADDRESS_FILE), &now.to_string())?;
    Ok(true)
}

/// A free port is the one of the last start if it still is free, else one that the folder's name leads to, so that two
/// applications rarely look at the same.
fn open_free(
    site: &Site,
    socket: &Socket,
    wanted: SocketAddr,
    rules: Rules<'_>,
) -> Result<(OwnedFd, Listen), Fault> {
    let mut hasher = DefaultHasher::new();
    site.folder.hash(&mut hasher);
    let start = u16::try_from(hasher.finish() % u64::from(PORTS)).expect("less than PORTS");
    let candidates = (0..PORTS).map(|step| FIRST_PORT + (start + step) % PORTS);
    let before = address(site).filter(|address| address.ip() == wanted.ip()).map(|address| address.port());
    let mut refused = None;
    for port in before.into_iter().chain(candidates) {
        let one = Socket { listen: Listen::Tcp(SocketAddr::new(wanted.ip(), port)), ..socket.clone() };
        match sockets::open(&one, Rules { next_free_port: false, ..rules }) {
            Err(fault @ Fault::Taken { .. }) => refused = Some(fault),
            other => return other,
        }
    }
    Err(refused.expect("ports were looked at"))
}
