//! SQLite, and a MariaDB and a PostgreSQL of one test's own.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;
use regie_core::Secret;
use regie_queue::shell::laravel_database::{LaravelDatabase, Settings};
use regie_queue::shell::sql::{Account, Server, Target, Value};
use regie_queue::shell::symfony_doctrine::{self, SymfonyDoctrine};

use crate::server::until;

/// Which kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Sqlite,
    Mariadb,
    Postgres,
}

/// A database with a `jobs` table as Laravel's migration makes it. A server is ended when this is dropped.
pub(crate) struct Database {
    folder: tempfile::TempDir,
    process: Option<Child>,
    pub(crate) target: Target,
}

impl Database {
    pub(crate) async fn start(kind: Kind) -> Self {
        let folder = tempfile::Builder::new().prefix("regie-queue-").tempdir().unwrap();
        // The servers run as a user of their own when we are root.
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o777)).unwrap();
        let (target, process) = match kind {
            Kind::Sqlite => (sqlite(folder.path()), None),
            Kind::Mariadb => mariadb(folder.path()),
            Kind::Postgres => postgres(folder.path()),
        };
        let database = Self { folder, process, target };
        let server = database.server();
        until("the database answers", async || server.rows("SELECT 1", &[]).await.ok()).await;
        let create = match kind {
            Kind::Sqlite => {
                "CREATE TABLE jobs (id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, queue VARCHAR NOT NULL, \
                 payload TEXT NOT NULL, attempts INTEGER NOT NULL, reserved_at INTEGER, \
                 available_at INTEGER NOT NULL, created_at INTEGER NOT NULL)"
            }
            Kind::Mariadb => {
                "CREATE TABLE jobs (id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, \
                 queue VARCHAR(255) NOT NULL, payload LONGTEXT NOT NULL, attempts TINYINT UNSIGNED NOT NULL, \
                 reserved_at INT UNSIGNED NULL, available_at INT UNSIGNED NOT NULL, \
                 created_at INT UNSIGNED NOT NULL, INDEX (queue)) DEFAULT CHARSET utf8mb4 COLLATE utf8mb4_unicode_ci"
            }
            Kind::Postgres => {
                "CREATE TABLE jobs (id BIGSERIAL PRIMARY KEY, queue VARCHAR(255) NOT NULL, payload TEXT NOT NULL, \
                 attempts SMALLINT NOT NULL, reserved_at INTEGER, available_at INTEGER NOT NULL, \
                 created_at INTEGER NOT NULL)"
            }
        };
        server.run(create, &[]).await.unwrap();
        let messages = match kind {
            Kind::Sqlite => {
                "CREATE TABLE messenger_messages (id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, body CLOB NOT NULL, \
                 headers CLOB NOT NULL, queue_name VARCHAR(190) NOT NULL, created_at DATETIME NOT NULL, \
                 available_at DATETIME NOT NULL, delivered_at DATETIME DEFAULT NULL)"
            }
            Kind::Mariadb => {
                "CREATE TABLE messenger_messages (id BIGINT AUTO_INCREMENT NOT NULL PRIMARY KEY, body LONGTEXT NOT NULL, \
                 headers LONGTEXT NOT NULL, queue_name VARCHAR(190) NOT NULL, created_at DATETIME NOT NULL, \
                 available_at DATETIME NOT NULL, delivered_at DATETIME DEFAULT NULL, INDEX (queue_name)) \
                 DEFAULT CHARSET utf8mb4"
            }
            Kind::Postgres => {
                "CREATE TABLE messenger_messages (id BIGSERIAL PRIMARY KEY, body TEXT NOT NULL, headers TEXT NOT NULL, \
                 queue_name VARCHAR(190) NOT NULL, created_at TIMESTAMP(0) NOT NULL, \
                 available_at TIMESTAMP(0) NOT NULL, delivered_at TIMESTAMP(0) DEFAULT NULL)"
            }
        };
        server.run(messages, &[]).await.unwrap();
        database
    }

    /// A driver of a Messenger transport, of a runner called `runner`.
    pub(crate) fn transport(&self, runner: &str) -> Arc<SymfonyDoctrine> {
        SymfonyDoctrine::new(symfony_doctrine::Settings {
            target: self.target.clone(),
            table: "messenger_messages".to_owned(),
            queue_name: "async".to_owned(),
            redeliver_timeout: Duration::from_secs(3600),
            zone: TimeZone::get("Europe/Paris").unwrap(),
            journal: self.folder.path().join(format!("{runner}.leases")),
        })
    }

    pub(crate) fn server(&self) -> Server {
        Server::new(&self.target)
    }

    /// A driver of a runner called `runner`.
    pub(crate) fn driver(&self, runner: &str) -> Arc<LaravelDatabase> {
        self.driver_for(runner, Duration::from_secs(90))
    }

    /// One whose leases last for `retry_after`.
    pub(crate) fn driver_for(&self, runner: &str, retry_after: Duration) -> Arc<LaravelDatabase> {
        LaravelDatabase::new(Settings {
            target: self.target.clone(),
            table: "jobs".to_owned(),
            retry_after: Some(retry_after),
            journal: self.folder.path().join(format!("{runner}.leases")),
        })
    }

    /// Adds jobs as the framework does.
    pub(crate) async fn push(&self, payloads: impl IntoIterator<Item = String>) {
        let server = self.server();
        let mut begun = server.begin().await.unwrap();
        for payload in payloads {
            let insert = "INSERT INTO jobs (queue, payload, attempts, reserved_at, available_at, created_at) \
                          VALUES ('default', ?, 0, NULL, 1, 1)";
            server.run_in(&mut begun, insert, &[payload.as_str().into()]).await.unwrap();
        }
        server.commit(begun).await.unwrap();
    }

    /// Every row: queue, attempts, whether it is reserved.
    pub(crate) async fn rows(&self) -> Vec<(String, i64, bool)> {
        let server = self.server();
        let select = format!(
            "SELECT queue, {}, {} FROM jobs ORDER BY id",
            server.number("attempts"),
            server.number("reserved_at")
        );
        let rows = server.rows(&select, &[]).await.unwrap();
        let row = |row: Vec<Value>| (row[0].clone().into_text(), row[1].number(), row[2] != Value::Null);
        rows.into_iter().map(row).collect()
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }
}

fn sqlite(folder: &Path) -> Target {
    let path = folder.join("database.sqlite");
    std::fs::write(&path, "").unwrap();
    Target::Sqlite(path)
}

/// What starts `program`, as nobody when we are root, which database servers refuse to be.
fn unprivileged(program: &Path) -> Command {
    const NOBODY: u32 = 65_534;
    let mut command = Command::new(program);
    if std::fs::metadata("/proc/self").unwrap().uid() == 0 {
        command.uid(NOBODY).gid(NOBODY);
    }
    command
}

/// Runs to its end.
fn done(command: &mut Command, package: &str) {
    let output = command.output().unwrap_or_else(|_| panic!("it is missing: apt-get install {package}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn account(socket: &Path, user: &str, database: &str) -> Account {
    Account {
        host: socket.display().to_string(),
        port: 5432,
        user: user.to_owned(),
        password: Secret::new(String::new()),
        database: database.to_owned(),
    }
}

fn mariadb(folder: &Path) -> (Target, Option<Child>) {
    const PACKAGE: &str = "mariadb-server-core";
    let (data, socket) = (folder.join("data"), folder.join("mariadb.sock"));
    let mut install = unprivileged(Path::new("mariadb-install-db"));
    install.args(["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db"]);
    // Both would write temporary tables to one folder for all, under names of their own making.
    let own = format!("--tmpdir={}", folder.display());
    done(install.arg(format!("--datadir={}", data.display())).arg(&own), PACKAGE);
    let mut server = unprivileged(Path::new("mariadbd"));
    server
        .args(["--no-defaults", "--skip-networking", "--innodb-buffer-pool-size=32M"])
        .args(["--innodb-flush-log-at-trx-commit=0", "--innodb-log-file-size=8M"])
        .arg(format!("--datadir={}", data.display()))
        .arg(format!("--socket={}", socket.display()))
        .arg(own)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let process = server.spawn().unwrap_or_else(|_| panic!("it is missing: apt-get install {PACKAGE}"));
    (Target::Mysql(account(&socket, "root", "mysql")), Some(process))
}

fn postgres(folder: &Path) -> (Target, Option<Child>) {
    const PACKAGE: &str = "postgresql";
    // Debian keeps the servers of its versions out of the PATH.
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let folders = versions.map(|version| version.path().join("bin"));
    let bin = folders.max().unwrap_or_else(|| panic!("it is missing: apt-get install {PACKAGE}"));
    let data = folder.join("data");
    let mut install = unprivileged(&bin.join("initdb"));
    install.args(["-U", "regie", "-A", "trust", "-N", "-D"]).arg(&data).env("LC_ALL", "C");
    done(&mut install, PACKAGE);
    let mut server = unprivileged(&bin.join("postgres"));
    server
        .args(["-c", "listen_addresses=", "-c", "fsync=off", "-c", "shared_buffers=16MB", "-k"])
        .arg(folder)
        .arg("-D")
        .arg(&data)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let process = server.spawn().unwrap();
    (Target::Postgres(account(folder, "regie", "postgres")), Some(process))
}
