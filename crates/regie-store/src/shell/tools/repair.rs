//! Making a damaged folder one that a store starts on.
//!
//! The whole folder is copied first, to `damaged-N` inside it. Then:
//! - a log is cut at its first fault, and the logs behind it are left out: what they do depends on what is lost;
//! - a snapshot keeps every key that can be read, also behind the damage, because its keys do not depend on each other.
//!   The log runs on what is left: a command that changes a lost key makes it anew;
//! - a file that is missing is left out, with the logs behind it if it is a log;
//! - a manifest that is missing or damaged is written anew from the files that are there: the newest snapshot and the
//!   logs from its number on.

use super::{CheckedFile, OnProgress, ToolError, check, file_error};
use crate::manifest::{Manifest, Part};
use crate::shell::recover::{self, RecoveryError, lock, our_files, write_manifest};
use crate::verify::{FileKind, FileState, salvage_snapshot};
use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};

/// What [`repair()`] has done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Repaired {
    /// Where the damaged state has been copied to; `None`: nothing had to be done.
    pub copy: Option<PathBuf>,
    /// What was done, a sentence per file.
    pub steps: Vec<String>,
    /// Commands that could have been read and had to be left out, because they lie behind damage.
    pub lost_commands: u64,
    /// Bytes that are used no longer.
    pub lost_bytes: u64,
}

/// Repairs a folder that no store is running on. Files of a newer format are refused, not repaired.
pub fn repair(dir: &Path, progress: OnProgress<'_>) -> Result<Repaired, ToolError> {
    let _lock = lock(dir)?;
    let mut done = Repaired::default();
    match recover::read_manifest(dir) {
        Ok(Some(_)) => {}
        Ok(None) => return Err(ToolError::Nothing { path: dir.to_owned() }),
        Err(RecoveryError::Damaged { .. }) => {
            done.copy = Some(keep_copy(dir)?);
            let manifest = rebuilt(dir)?;
            write_manifest(dir, &manifest).map_err(file_error(dir))?;
            done.steps.push(format!("manifest: written anew, naming {}", manifest.names().join(", ")));
        }
        Err(other) => return Err(other.into()),
    }
    let found = check(dir, progress)?;
    if let Some(file) = found.files.iter().find(|file| matches!(file.state, FileState::Newer { .. })) {
        let (path, why) = (dir.join(&file.name), file.state.to_string());
        return Err(RecoveryError::Newer { path, why }.into());
    }
    if found.is_whole() {
        return Ok(done);
    }
    if done.copy.is_none() {
        done.copy = Some(keep_copy(dir)?);
    }
    let mut manifest = recover::read_manifest(dir)?.unwrap_or_default();
    for file in found.files.iter().filter(|file| file.kind == FileKind::Snapshot) {
        repair_snapshot(dir, file, &mut manifest, &mut done)?;
    }
    repair_logs(dir, &found.files, &mut manifest, &mut done)?;
    write_manifest(dir, &manifest).map_err(file_error(dir))?;
    Ok(done)
}

fn repair_snapshot(
    dir: &Path,
    file: &CheckedFile,
    manifest: &mut Manifest,
    done: &mut Repaired,
) -> Result<(), ToolError> {
    match file.state {
        FileState::Whole => return Ok(()),
        FileState::Missing => {
            manifest.snapshot = None;
            done.steps.push(format!("{}: is missing; what it held is lost", file.name));
            return Ok(());
        }
        _ => {}
    }
    let path = dir.join(&file.name);
    let (bytes, keys) = salvage_snapshot(&fs::read(&path).map_err(file_error(&path))?);
    fs::write(&path, &bytes).map_err(file_error(&path))?;
    if let Some(part) = &mut manifest.snapshot {
        part.size = Some(bytes.len() as u64);
    }
    let lost = file.bytes.saturating_sub(bytes.len() as u64);
    done.lost_bytes += lost;
    done.steps.push(format!("{}: {}; {keys} keys kept, {lost} bytes of others lost", file.name, file.state));
    Ok(())
}

fn repair_logs(
    dir: &Path,
    files: &[CheckedFile],
    manifest: &mut Manifest,
    done: &mut Repaired,
) -> Result<(), ToolError> {
    let logs: Vec<&CheckedFile> = files.iter().filter(|file| file.kind == FileKind::Log).collect();
    let Some(first) = logs.iter().position(|file| file.state != FileState::Whole) else { return Ok(()) };
    let file = logs[first];
    let kept = match &file.state {
        FileState::Torn { at } => Some(*at),
        FileState::Damaged { at, behind, .. } => {
            done.lost_commands += behind;
            Some(*at)
        }
        _ => None,
    };
    match kept {
        Some(at) => {
            let path = dir.join(&file.name);
            OpenOptions::new()
                .write(true)
                .open(&path)
                .and_then(|log| log.set_len(at).and_then(|()| log.sync_all()))
                .map_err(file_error(&path))?;
            let lost = file.bytes - at;
            done.lost_bytes += lost;
            done.steps.push(format!(
                "{}: {}; {} commands kept, the {lost} bytes from there on cut off",
                file.name, file.state, file.entries
            ));
            manifest.logs.truncate(first + 1);
            if let Some(part) = manifest.logs.last_mut() {
                part.size = Some(at);
            }
        }
        None => {
            done.steps.push(format!("{}: is missing", file.name));
            manifest.logs.truncate(first);
        }
    }
    for behind in &logs[first + 1..] {
        done.lost_bytes += behind.bytes;
        done.lost_commands += behind.entries;
        done.steps.push(format!(
            "{}: left out with its {} commands, because what comes before it is lost",
            behind.name, behind.entries
        ));
    }
    Ok(())
}

/// The manifest that the files there speak for.
fn rebuilt(dir: &Path) -> Result<Manifest, ToolError> {
    let names = our_files(dir)?;
    let numbers = |suffix: &str| -> Vec<u64> {
        let mut numbers: Vec<u64> =
            names.iter().filter_map(|name| name.strip_suffix(suffix)?.parse().ok()).collect();
        numbers.sort_unstable();
        numbers
    };
    let snapshot = numbers(".snapshot").pop();
    let logs = numbers(".log").into_iter().filter(|number| *number >= snapshot.unwrap_or(0));
    let part = |number| Part { number, size: None };
    Ok(Manifest { snapshot: snapshot.map(part), logs: logs.map(part).collect() })
}

/// Copies the store's files to a new folder within the folder.
fn keep_copy(dir: &Path) -> Result<PathBuf, ToolError> {
    let free = (1..).map(|number| dir.join(format!("damaged-{number}"))).find(|path| !path.exists());
    let copy = free.unwrap_or_else(|| dir.join("damaged"));
    fs::create_dir(&copy).map_err(file_error(&copy))?;
    let names = our_files(dir)?.into_iter().chain([crate::manifest::NAME.to_owned()]);
    for name in names.filter(|name| dir.join(name).exists()) {
        let target = copy.join(&name);
        fs::copy(dir.join(&name), &target).map_err(file_error(&target))?;
    }
    Ok(copy)
}
