//! Gathers [`Facts`] from the machine.

use std::io::Read;
use std::path::{Path, PathBuf};

use super::php::{self, Installed};
use super::ports;
use super::users::{self, Account};
use crate::check::queues::connections;
use crate::facts::{Facts, PathFact, QueueConnection, SqliteFacts, UserFacts};
use crate::load::Loaded;
use crate::values::{Framework, Mode, Upstream};

/// A database larger than this is no fresh one, so its tables are there.
const SQLITE_SEARCHED: u64 = 8 << 20;

/// Looks at the machine for the application of `folder`, in which regie.toml lies. `path` is the `PATH` in which PHP
/// is searched.
#[must_use]
pub fn gather(folder: &Path, loaded: &Loaded, path: &str) -> Facts {
    let root = folder.join(&loaded.root);
    let installed = php::installed(path);
    let chosen = php::choose(loaded, &installed);
    let (user, account) = users::app_user(loaded.config.app.user.as_deref(), &root);
    Facts {
        php: chosen.map(|php| {
            php::facts(&php, loaded.web().ini_dir.as_deref().or(loaded.config.php.ini_dir.as_deref()))
        }),
        php_versions: installed.iter().map(|Installed { version, .. }| *version).collect(),
        user,
        taken: ports::taken(&loaded.config.gateway.listen),
        first_free_port: first_free_port(),
        paths: paths(&root, loaded, &account),
        sqlite: loaded.first_steps.sqlite.as_deref().map(|path| sqlite(&root, path, &account)),
        queue_connections: queue_connections(&root, loaded),
        missing_sockets: missing_sockets(loaded),
        missing_scripts: missing_scripts(&root, loaded),
    }
}

/// Whom PHP runs as, without looking at anything else.
#[must_use]
pub fn user(folder: &Path, loaded: &Loaded) -> UserFacts {
    users::app_user(loaded.config.app.user.as_deref(), &folder.join(&loaded.root)).0
}

fn first_free_port() -> u16 {
    const USUAL: u16 = 1024;
    let text = std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap_or_default();
    text.trim().parse().unwrap_or(USUAL)
}

fn paths(root: &Path, loaded: &Loaded, account: &Account) -> Vec<PathFact> {
    let fact = |path: &String| {
        let full = root.join(path);
        let exists = full.exists();
        let made_by_itself = loaded.application.framework == Framework::Symfony;
        // What is not there yet is made in the nearest folder above that is.
        let nearest = full.ancestors().find(|above| above.exists()).unwrap_or(root);
        PathFact { path: path.clone(), exists, writable: account.may_write(nearest), made_by_itself }
    };
    loaded.application.writable.iter().map(fact).collect()
}

fn sqlite(root: &Path, path: &str, account: &Account) -> SqliteFacts {
    let file = root.join(path);
    let folder = file.parent().unwrap_or(root);
    SqliteFacts {
        path: path.to_owned(),
        exists: file.is_file(),
        writable: account.may_write(&file),
        folder_writable: account.may_write(folder),
        migrated: migrated(&file),
    }
}

/// Whether a table of migrations is declared in the database or in the log beside it. SQLite keeps each table's
/// `CREATE TABLE` as text.
fn migrated(file: &Path) -> Option<bool> {
    if std::fs::metadata(file).ok()?.len() > SQLITE_SEARCHED {
        return Some(true);
    }
    let log = PathBuf::from(format!("{}-wal", file.display()));
    let mut bytes = Vec::new();
    for part in [file, &log] {
        let Ok(open) = std::fs::File::open(part) else { continue };
        open.take(SQLITE_SEARCHED).read_to_end(&mut bytes).ok()?;
    }
    let text = String::from_utf8_lossy(&bytes).to_ascii_lowercase();
    let declared = |name: &str| {
        ["\"", "'", "`", ""].iter().any(|quote| text.contains(&format!("create table {quote}{name}{quote}")))
    };
    Some(declared("migrations") || declared("doctrine_migration_versions"))
}

fn queue_connections(root: &Path, loaded: &Loaded) -> Vec<QueueConnection> {
    if loaded.application.framework != Framework::Laravel {
        return Vec::new();
    }
    let text = std::fs::read_to_string(root.join("config/queue.php")).unwrap_or_default();
    connections(&text, &loaded.dotenv)
}

/// For Laravel there is a script that Régie brings, and pools that do jobs have one too.
fn missing_scripts(root: &Path, loaded: &Loaded) -> Vec<(String, Option<PathBuf>)> {
    let pools = loaded.config.pools.iter().filter(|(_, pool)| pool.url.is_none());
    let workers = pools.filter(|(_, pool)| pool.mode() == Mode::Worker);
    let missing = workers.filter_map(|(name, pool)| match &pool.script {
        Some(script) => (!root.join(script).is_file()).then(|| (name.clone(), Some(script.clone()))),
        None if name != "web" || loaded.application.framework == Framework::Laravel => None,
        None => Some((name.clone(), None)),
    });
    missing.collect()
}

fn missing_sockets(loaded: &Loaded) -> Vec<(String, PathBuf)> {
    let missing = loaded.config.pools.iter().filter_map(|(name, pool)| match &pool.url {
        Some(Upstream::Unix(path)) if !path.exists() => Some((name.clone(), path.clone())),
        _ => None,
    });
    missing.collect()
}
