//! What the checks need to know of the machine. `shell` gathers it, tests write it down.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// The machine as far as the application touches it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Facts {
    /// The PHP that serves, when one was found.
    pub php: Option<PhpFacts>,
    /// Minor versions of PHP that are installed, ascending.
    pub php_versions: Vec<(u32, u32)>,
    /// Whom everything runs as.
    pub user: UserFacts,
    /// The gateway's addresses that somebody else holds.
    pub taken: Vec<TakenPort>,
    /// TCP ports from here on need no privilege.
    pub first_free_port: u16,
    /// What the application must write.
    pub paths: Vec<PathFact>,
    /// The SQLite database that the application names.
    pub sqlite: Option<SqliteFacts>,
    /// Laravel's queue connections.
    pub queue_connections: Vec<QueueConnection>,
    /// Sockets of external FastCGI servers that are not there.
    pub missing_sockets: Vec<(String, PathBuf)>,
    /// Pools in worker mode without a worker script: the one that is named and not there, or none at all.
    pub missing_scripts: Vec<(String, Option<PathBuf>)>,
}

/// A queue connection of Laravel's configuration.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct QueueConnection {
    /// Its name.
    pub name: String,
    /// Whether jobs go there that name none.
    pub is_default: bool,
    /// How many seconds a lease lasts, where that could be read.
    pub retry_after: Option<u64>,
}

/// A PHP.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PhpFacts {
    /// Major and minor version.
    pub version: (u32, u32),
    /// The command-line program.
    pub bin: PathBuf,
    /// The folder of ini files that web pools read.
    pub ini_dir: Option<PathBuf>,
    /// Whether the library that Régie's pools embed is installed.
    pub embed: bool,
    /// Loaded extensions, in lower case.
    pub extensions: Vec<String>,
    /// Values that the ini files set, without those of regie.toml.
    pub ini: BTreeMap<String, String>,
}

/// Users.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UserFacts {
    /// Whether Régie itself was started as root.
    pub started_as_root: bool,
    /// The name of the user that PHP runs as.
    pub name: String,
    /// Whether that is root.
    pub is_root: bool,
    /// Whether `[app] user` names a user that does not exist.
    pub unknown: bool,
    /// Whether this is a container, where root is the usual user.
    pub container: bool,
}

/// An address of the gateway that somebody else listens on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TakenPort {
    /// The address as configured.
    pub address: String,
    /// Who holds it, where that can be seen.
    pub holder: Option<Holder>,
}

/// A process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Its id.
    pub pid: i32,
    /// Its name.
    pub program: String,
}

/// A folder or file that the application must write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathFact {
    /// Relative to the application's folder.
    pub path: String,
    /// Whether it is there.
    pub exists: bool,
    /// Whether the user may write it, or create it when it is not there.
    pub writable: bool,
    /// Whether a missing one is made by the application itself.
    pub made_by_itself: bool,
}

/// A SQLite database.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SqliteFacts {
    /// Relative to the application's folder, or absolute.
    pub path: String,
    /// Whether it is there.
    pub exists: bool,
    /// Whether the user may write the file.
    pub writable: bool,
    /// Whether the user may write its folder, where SQLite keeps its journal.
    pub folder_writable: bool,
    /// Whether the framework's table of migrations is in it; `None` when it could not be told.
    pub migrated: Option<bool>,
}
