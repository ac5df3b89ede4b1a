//! A temporary folder with an application in it.

use std::path::Path;

use regie_config::dotenv::Variables;
use regie_config::{Faults, Loaded, Options, shell};
use tempfile::TempDir;

/// A folder that goes away with the test.
pub(crate) struct Folder(TempDir);

impl Folder {
    /// A folder with these files; a path that ends in `/` is an empty folder.
    pub(crate) fn new(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let full = folder.path().join(path);
            std::fs::create_dir_all(if path.ends_with('/') { &full } else { full.parent().unwrap() })
                .unwrap();
            if !path.ends_with('/') {
                std::fs::write(full, text).unwrap();
            }
        }
        Self(folder)
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn load(&self, environment: &[(&str, &str)]) -> Result<Loaded, Faults> {
        shell::load(self.path(), &Options::default(), &variables(environment))
    }
}

pub(crate) fn variables(pairs: &[(&str, &str)]) -> Variables {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}
