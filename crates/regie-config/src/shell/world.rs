//! [`World`] on a real machine.

use std::io::ErrorKind;
use std::net::{TcpStream, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use regie_core::Secret;

use super::files::{Folder, read_text};
use super::servers;
use crate::addresses::Network;
use crate::files::Files;
use crate::load::World;
use crate::store::{ADDRESS_FILE, MASTER_FILE, PASSWORD_FILE, Sentinels, StoreFiles};

/// A name server that does not answer must not hold up the start.
const RESOLVE_LIMIT: Duration = Duration::from_secs(2);

/// Loopback answers at once or not at all.
const CONNECT_LIMIT: Duration = Duration::from_millis(200);

/// The machine, seen from the folder of a configuration.
#[derive(Debug, Clone)]
pub struct Machine {
    folder: PathBuf,
}

impl Machine {
    /// The machine with `folder` as the one that regie.toml lies in.
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }
}

/// An I/O error as a fragment without the number of the error.
fn fragment(error: &std::io::Error) -> String {
    match error.kind() {
        ErrorKind::NotFound => "it does not exist".to_owned(),
        ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string(),
    }
}

impl World for Machine {
    fn folder(&self) -> PathBuf {
        std::path::absolute(&self.folder).unwrap_or_else(|_| self.folder.clone())
    }

    fn config(&self, name: &str) -> Result<Option<String>, String> {
        match read_text(&self.folder.join(name)) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(fragment(&error)),
        }
    }

    fn application(&self, root: &Path) -> Box<dyn Files + '_> {
        Box::new(Folder::new(self.folder.join(root)))
    }

    fn secret(&self, path: &Path) -> Result<String, String> {
        let text = read_text(path).map_err(|error| fragment(&error))?;
        Ok(text
            .strip_suffix('\n')
            .map(|line| line.strip_suffix('\r').unwrap_or(line))
            .unwrap_or(&text)
            .to_owned())
    }

    fn store_files(&self, state: &Path) -> StoreFiles {
        let line = |name: &str| {
            let text = read_text(&self.folder.join(state).join(name)).ok()?;
            Some(text.trim().to_owned()).filter(|line| !line.is_empty())
        };
        StoreFiles {
            address: line(ADDRESS_FILE).and_then(|address| address.parse().ok()),
            password: line(PASSWORD_FILE).map(Secret::new),
        }
    }

    fn master(&self, sentinels: &Sentinels, state: &Path) -> Result<(String, u16), String> {
        servers::master(sentinels).or_else(|why| {
            let text = read_text(&self.folder.join(state).join(MASTER_FILE)).unwrap_or_default();
            told_before(&text, &sentinels.master).ok_or(why)
        })
    }

    fn reachable(&self, nodes: &[(String, u16)]) -> Option<usize> {
        nodes.iter().position(|(host, port)| servers::connect(host, *port).is_ok())
    }
}

/// What [`MASTER_FILE`] says of `master`.
fn told_before(text: &str, master: &str) -> Option<(String, u16)> {
    let (name, address) = text.trim().rsplit_once(' ')?;
    let (host, port) = address.rsplit_once(':')?;
    (name == master).then_some((host.to_owned(), port.parse().ok()?))
}

impl Network for Machine {
    fn resolves(&self, host: &str) -> bool {
        let (answer, wait) = mpsc::channel();
        let host = host.to_owned();
        // The resolver offers no deadline; a thread that it holds up ends with the process at the latest.
        let asked = std::thread::Builder::new().name("resolve".to_owned()).spawn(move || {
            let found = (host.as_str(), 0u16).to_socket_addrs().is_ok_and(|mut all| all.next().is_some());
            // Nobody waits any more when the limit has passed.
            answer.send(found).ok();
        });
        asked.is_ok() && wait.recv_timeout(RESOLVE_LIMIT).unwrap_or(false)
    }

    fn listens(&self, host: &str, port: u16) -> bool {
        let addresses = (host, port).to_socket_addrs().into_iter().flatten();
        addresses
            .filter(|address| address.ip().is_loopback())
            .any(|address| TcpStream::connect_timeout(&address, CONNECT_LIMIT).is_ok())
    }
}
