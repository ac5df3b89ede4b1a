//! An application in a temporary folder of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::programs::repository;

/// A folder that goes when the test ends.
#[derive(Debug)]
pub struct App {
    folder: tempfile::TempDir,
}

impl App {
    /// An empty folder.
    ///
    /// # Panics
    /// When the temporary folder cannot be made.
    #[must_use]
    pub fn empty() -> Self {
        Self { folder: tempfile::Builder::new().prefix("regie-e2e-").tempdir().expect("a temporary folder") }
    }

    /// A copy of one of the applications that `e2e/apps/README.md` lists.
    ///
    /// # Panics
    /// When there is none of this name.
    #[must_use]
    pub fn named(name: &str) -> Self {
        let app = Self::empty();
        let script = repository().join("e2e/apps/base.sh");
        let done = Command::new(script).arg(name).arg(app.path()).output().expect("base.sh can be run");
        assert!(done.status.success(), "base.sh {name}: {}", String::from_utf8_lossy(&done.stderr));
        app
    }

    /// Where it lies.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Writes a file; folders on the way are made.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().expect("a file lies in a folder")).expect("folders can be made");
        fs::write(&path, content).expect("a file can be written");
        path
    }

    /// Writes a program, which may be run at once.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn program(&self, name: &str, content: &str) -> PathBuf {
        use std::io::Write as _;
        let path = self.path().join(name);
        // By a process of its own: a child that another test starts meanwhile holds what we have open until it is its own
        // program, and what somebody has open for writing cannot be run.
        let mut copy = Command::new("install")
            .args(["-D", "-m", "755", "/dev/stdin"])
            .arg(&path)
            .stdin(std::process::Stdio::piped())
            .spawn()
            .expect("the package coreutils is installed");
        let written = copy.stdin.take().expect("piped").write_all(content.as_bytes());
        written.expect("it reads");
        assert!(copy.wait().is_ok_and(|status| status.success()), "{} can be written", path.display());
        path
    }

    /// Gives the folder to a user that is not root, when the tests run as root: PHP as root is refused in
    /// production, and everything then runs as the folder's owner.
    ///
    /// # Panics
    /// When it cannot be given.
    pub fn give_away(&self) {
        if !nix::unistd::Uid::effective().is_root() {
            return;
        }
        let done = Command::new("chown").args(["-R", "nobody:nogroup"]).arg(self.path()).status();
        assert!(done.is_ok_and(|status| status.success()), "the folder can be given to nobody");
    }

    /// Reads a file; empty when it is not there.
    #[must_use]
    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path().join(name)).unwrap_or_default()
    }
}
