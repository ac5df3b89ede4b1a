//! A MariaDB of one test's own, on a socket in a temporary folder.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::programs::need;
use crate::wait::eventually;

const PACKAGE: &str = "mariadb-server-core";

/// The database that [`MariaDb::start`] makes.
pub const DATABASE: &str = "app";

/// Runs until it is dropped. It keeps its data through [`MariaDb::kill`].
#[derive(Debug)]
pub struct MariaDb {
    folder: tempfile::TempDir,
    process: Option<Child>,
}

impl MariaDb {
    /// An empty server with the database [`DATABASE`]; `root` has no password.
    ///
    /// # Panics
    /// When it is not installed or does not start.
    #[must_use]
    pub fn start() -> Self {
        let folder = tempfile::Builder::new().prefix("regie-e2e-db-").tempdir().expect("a temporary folder");
        // It runs as a user of its own when we are root.
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o777)).expect("it is ours");
        let mut install = unprivileged(&need("mariadb-install-db", PACKAGE));
        install
            .args(["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db"])
            .arg(format!("--datadir={}", folder.path().join("data").display()))
            .arg(format!("--tmpdir={}", folder.path().display()));
        let done = install.output().expect("it can be run");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        let init = folder.path().join("init.sql");
        std::fs::write(&init, format!("CREATE DATABASE IF NOT EXISTS {DATABASE};\n"))
            .expect("a file can be written");
        std::fs::set_permissions(&init, PermissionsExt::from_mode(0o644)).expect("it is ours");
        let mut server = Self { folder, process: None };
        server.restart();
        server
    }

    /// Where it is reached.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("mariadb.sock")
    }

    /// Ends it as a power cut would.
    ///
    /// # Panics
    /// When it does not run.
    pub fn kill(&mut self) {
        let mut process = self.process.take().expect("it runs");
        process.kill().expect("it is ours");
        process.wait().expect("it is ours");
    }

    /// Starts it on the data that it has; returns when it answers.
    ///
    /// # Panics
    /// When it does not start.
    pub fn restart(&mut self) {
        let folder = self.folder.path();
        let mut server = unprivileged(&need("mariadbd", PACKAGE));
        server
            .args(["--no-defaults", "--skip-networking", "--innodb-buffer-pool-size=32M"])
            .args(["--innodb-flush-log-at-trx-commit=2", "--innodb-log-file-size=8M"])
            // Else the frameworks' own workers now and then end in a deadlock, which is theirs to handle.
            .arg("--transaction-isolation=READ-COMMITTED")
            .arg(format!("--datadir={}", folder.join("data").display()))
            .arg(format!("--socket={}", self.socket().display()))
            .arg(format!("--tmpdir={}", folder.display()))
            .arg(format!("--init-file={}", folder.join("init.sql").display()))
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        self.process = Some(server.spawn().expect("it can be started"));
        // The init file is run before anybody is let in.
        let socket = self.socket();
        eventually("MariaDB answers", || std::os::unix::net::UnixStream::connect(&socket).ok());
    }
}

impl Drop for MariaDb {
    fn drop(&mut self) {
        if self.process.is_some() {
            self.kill();
        }
    }
}

/// What starts `program`, as nobody when we are root, which database servers refuse to be.
fn unprivileged(program: &Path) -> Command {
    const NOBODY: u32 = 65_534;
    let mut command = Command::new(program);
    if nix::unistd::Uid::effective().is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    command
}
