//! An application in a temporary folder of its own.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

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

    /// A copy of a folder of the repository, such as `examples/tour`.
    #[must_use]
    pub fn copy_of(place: &str) -> Self {
        let app = Self::empty();
        app.overlay(place);
        app
    }

    /// Copies a folder of the repository over what is there.
    ///
    /// # Panics
    /// When it cannot be copied.
    pub fn overlay(&self, place: &str) {
        let from = repository().join(place);
        assert!(from.is_dir(), "{place} is a folder of the repository");
        copy_tree(&from, self.path());
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

    /// Reads a file; empty when it is not there.
    #[must_use]
    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path().join(name)).unwrap_or_default()
    }
}

fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("folders can be made");
    for entry in fs::read_dir(from).expect("a folder can be read") {
        let entry = entry.expect("a folder can be read");
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type().expect("an entry has a type");
        if entry.file_name() == ".regie" {
            continue;
        }
        if kind.is_symlink() {
            symlink(fs::read_link(&source).expect("a link can be read"), &target)
                .expect("a link can be made");
        } else if kind.is_dir() {
            copy_tree(&source, &target);
        } else {
            fs::copy(&source, &target).expect("a file can be copied");
        }
    }
}
