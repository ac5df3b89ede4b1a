//! What a folder holds, and whether it can be read.

use super::{OnProgress, Progress, ToolError, file_error};
use crate::manifest::{Part, log_name, snapshot_name};
use crate::shell::recover::{our_files, read_manifest};
use crate::verify::{Examined, FileKind, FileState, examine};
use std::fs;
use std::io;
use std::path::Path;

/// One file that the manifest names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckedFile {
    /// Its name within the folder.
    pub name: String,
    /// What it holds.
    pub kind: FileKind,
    /// Its length.
    pub bytes: u64,
    /// Keys or commands that can be read before the first fault.
    pub entries: u64,
    /// Whether it is whole.
    pub state: FileState,
}

/// What [`check()`] has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// The files in the order in which they are read.
    pub files: Vec<CheckedFile>,
    /// Files of the store that the manifest does not name: left by a crash, deleted at the next start.
    pub leftovers: Vec<String>,
}

impl Checked {
    /// Every file is whole.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.files.iter().all(|file| file.state == FileState::Whole)
    }

    /// Keys of the snapshot. What the logs change about their number is not reckoned.
    #[must_use]
    pub fn keys(&self) -> u64 {
        self.files.iter().filter(|file| file.kind == FileKind::Snapshot).map(|file| file.entries).sum()
    }

    /// A store starts on this folder: all is whole, but for the tail of the last log, which is cut off then.
    #[must_use]
    pub fn can_start(&self) -> bool {
        let last = self.files.len().saturating_sub(1);
        self.files.iter().enumerate().all(|(index, file)| match file.state {
            FileState::Whole => true,
            FileState::Torn { .. } => index == last && file.kind == FileKind::Log,
            _ => false,
        })
    }
}

/// Looks at every file of the folder; nothing is changed.
pub fn check(dir: &Path, progress: OnProgress<'_>) -> Result<Checked, ToolError> {
    let manifest = read_manifest(dir)?.ok_or_else(|| ToolError::Nothing { path: dir.to_owned() })?;
    let mut files = Vec::new();
    if let Some(part) = &manifest.snapshot {
        files.push(check_file(dir, snapshot_name(part.number), FileKind::Snapshot, *part, progress)?);
    }
    for part in &manifest.logs {
        files.push(check_file(dir, log_name(part.number), FileKind::Log, *part, progress)?);
    }
    let used = manifest.names();
    let leftovers = our_files(dir)?.into_iter().filter(|name| !used.contains(name)).collect();
    Ok(Checked { files, leftovers })
}

fn check_file(
    dir: &Path,
    name: String,
    kind: FileKind,
    part: Part,
    progress: OnProgress<'_>,
) -> Result<CheckedFile, ToolError> {
    let path = dir.join(&name);
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(CheckedFile { name, kind, bytes: 0, entries: 0, state: FileState::Missing });
        }
        Err(error) => return Err(file_error(&path)(error)),
    };
    let total = bytes.len() as u64;
    let Examined { entries, state } =
        examine(kind, &bytes, part.size, &mut |done| progress(Progress { what: &name, done, total }));
    progress(Progress { what: &name, done: total, total });
    Ok(CheckedFile { name, kind, bytes: total, entries, state })
}
