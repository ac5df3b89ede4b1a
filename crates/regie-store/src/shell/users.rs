//! The file of users that `aclfile` names.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Where it lies: a relative name is looked for in the store's folder.
pub(crate) fn path(name: &str, dir: Option<&Path>) -> PathBuf {
    dir.unwrap_or(Path::new(".")).join(name)
}

pub(crate) fn read(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path)
        .map_err(|error| format!("Error loading ACLs, opening file '{}': {error}", path.display()))
}

/// Puts new text in place of the file: whole or not at all.
pub(crate) fn write(path: &Path, text: &[u8]) -> io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let new = PathBuf::from(name);
    let mut options = File::options();
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.write(true).create(true).truncate(true).open(&new)?;
    file.write_all(text)?;
    file.sync_all()?;
    std::fs::rename(&new, path)
}
