//! A copy of everything while the store runs.
//!
//! The store writes it itself (`BACKUP NAME`), as its data are at one moment and without stopping service, into
//! `backups/NAME` of its own folder. That folder is complete: a store can be started from it, `check` can look at it.
//! Then it is moved to where it is wanted; this must be on the same machine. Without a running store, the folder itself
//! is copied.

use super::server::{Connection, ServerAddress, wait_for};
use super::{OnProgress, Progress, ToolError, check, file_error};
use crate::shell::clock;
use crate::shell::disk::BACKUPS;
use crate::shell::recover::{self, RecoveryError};
use regie_resp::Frame;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long another snapshot that is being written is waited for.
const BUSY: Duration = Duration::from_secs(3600);
/// How long a backup may take.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// What [`backup()`] has made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackedUp {
    /// The folder.
    pub path: PathBuf,
    /// Its bytes.
    pub bytes: u64,
    /// Keys in it.
    pub keys: u64,
}

/// Backs a store up into the new folder `to`, and checks the copy. `dir` is the store's folder on this machine,
/// `server` the address at which it runs, `None` when it does not run.
pub fn backup(
    dir: &Path,
    server: Option<&ServerAddress>,
    to: &Path,
    progress: OnProgress<'_>,
) -> Result<BackedUp, ToolError> {
    if to.exists() {
        return Err(ToolError::Exists { path: to.to_owned() });
    }
    let from = match server {
        Some(server) => ask(dir, server, progress)?,
        None => {
            let lock = recover::lock(dir)?;
            copy(dir, to)?;
            drop(lock);
            return measured(to, progress);
        }
    };
    let moved = fs::rename(&from, to).or_else(|error| match error.kind() {
        // Another file system.
        io::ErrorKind::CrossesDevices => copy(&from, to)
            .and_then(|()| fs::remove_dir_all(&from).map_err(file_error(&from)))
            .map_err(|error| io::Error::other(error.to_string())),
        _ => Err(error),
    });
    moved.map_err(file_error(to))?;
    measured(to, progress)
}

/// Has the running store write its copy; the folder in which it lies then.
fn ask(dir: &Path, server: &ServerAddress, progress: OnProgress<'_>) -> Result<PathBuf, ToolError> {
    let mut connection = Connection::open(server)?;
    let name = format!("{}-{}", clock::now_us() / 1_000_000, std::process::id());
    let begun = wait_for(BUSY, || {
        connection.send(&[b"BACKUP", name.as_bytes()]);
        connection.flush()?;
        match connection.receive()? {
            Frame::Error(why) if why.ends_with(b"try again later") => Ok(None),
            Frame::Error(why) => Err(connection.refused(&why)),
            _ => Ok(Some(())),
        }
    })?;
    if begun.is_none() {
        return Err(connection.refused(b"another snapshot is being written and does not end"));
    }
    let path = dir.join(BACKUPS).join(&name);
    let number = |text: Option<String>| text.and_then(|text| text.parse().ok()).unwrap_or(0);
    let ended = wait_for(LONGEST, || {
        let done = number(connection.info("persistence", "current_save_keys_processed")?);
        let total = number(connection.info("persistence", "current_save_keys_total")?);
        if total > 0 {
            progress(Progress { what: "backup", done, total });
        }
        let current = connection.info("persistence", "backup_in_progress")?;
        Ok((current.as_deref() != Some(&name)).then_some(()))
    })?;
    let error = connection.info("persistence", "backup_last_error")?.unwrap_or_default();
    if ended.is_none() || !error.is_empty() {
        return Err(connection.refused(error.as_bytes()));
    }
    if !path.exists() {
        let why = format!("has written the backup to its own folder, which is not {}", dir.display());
        return Err(connection.refused(why.as_bytes()));
    }
    Ok(path)
}

fn measured(path: &Path, progress: OnProgress<'_>) -> Result<BackedUp, ToolError> {
    let found = check(path, progress)?;
    if !found.can_start() {
        let damaged = found.files.iter().find(|file| file.state != crate::verify::FileState::Whole);
        let (name, why) =
            damaged.map_or(Default::default(), |file| (file.name.clone(), file.state.to_string()));
        return Err(RecoveryError::Damaged { path: path.join(name), why }.into());
    }
    Ok(BackedUp {
        path: path.to_owned(),
        bytes: found.files.iter().map(|file| file.bytes).sum(),
        keys: found.keys(),
    })
}

/// Copies what the manifest names, the manifest last.
fn copy(from: &Path, to: &Path) -> Result<(), ToolError> {
    let manifest =
        recover::read_manifest(from)?.ok_or_else(|| ToolError::Nothing { path: from.to_owned() })?;
    fs::create_dir_all(to).map_err(file_error(to))?;
    for name in manifest.names() {
        let target = to.join(&name);
        fs::copy(from.join(&name), &target).map_err(file_error(&target))?;
        fs::File::open(&target).and_then(|file| file.sync_all()).map_err(file_error(&target))?;
    }
    recover::write_manifest(to, &manifest).map_err(file_error(to))
}
