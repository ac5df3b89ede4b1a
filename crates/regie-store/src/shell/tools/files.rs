//! Data as a Redis's files: taken into a folder, and written out as one RDB file.

use super::{BackedUp, OnProgress, Progress, ServerAddress, ToolError, backup, file_error};
use crate::engine::{Engine, Settings};
use crate::manifest::Manifest;
use crate::rdb;
use crate::shell::disk::Disk;
use crate::shell::recover::{self, lock};
use crate::shell::{clock, redis_files};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

/// What [`load_redis_files`] has read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadedFiles {
    /// Which file it was.
    pub from: PathBuf,
    /// Keys that the folder holds now.
    pub keys: u64,
    /// Keys that were left out because their time has passed.
    pub expired: u64,
    /// What else is to be known, a sentence each.
    pub notes: Vec<String>,
}

/// What [`export_rdb`] has written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportedRdb {
    /// Keys in the file.
    pub keys: u64,
    /// Its length.
    pub bytes: u64,
}

/// An engine to read into: as many databases as there can be, and nothing is logged.
fn scratch() -> Result<Engine, ToolError> {
    let databases = ("databases".to_owned(), crate::config::MOST_DATABASES.to_string());
    let settings = Settings {
        seed: clock::now_us() as u64,
        // Nobody asks this engine for a password.
        secret: [0; 32],
        now_us: clock::now_us(),
        config: vec![databases],
        stopwatch: clock::stopwatch,
    };
    Engine::new(settings).map_err(|why| file_error(Path::new("settings"))(std::io::Error::other(why)))
}

/// Reads a Redis's data (an RDB file, an append-only file or folder, or a folder that holds one of these) into the
/// folder `dir`, which must hold no data of a store yet. The Redis's files stay as they are.
pub fn load_redis_files(from: &Path, dir: &Path, progress: OnProgress<'_>) -> Result<LoadedFiles, ToolError> {
    fs::create_dir_all(dir).map_err(file_error(dir))?;
    let held = lock(dir)?;
    if recover::read_manifest(dir)?.is_some() {
        return Err(ToolError::Exists { path: dir.join(crate::manifest::NAME) });
    }
    let found = redis_files::at(from).ok_or_else(|| ToolError::Nothing { path: from.to_owned() })?;
    let mut engine = scratch()?;
    let summary = redis_files::load(&found, &mut engine, &mut |what, done, total| {
        progress(Progress { what, done, total });
    })?;
    Disk::write_first(dir, held, &mut engine).map_err(file_error(dir))?;
    Ok(LoadedFiles {
        from: found.path().to_owned(),
        keys: engine.keys(),
        expired: summary.expired,
        notes: summary.notes(),
    })
}

/// Writes everything into the new file `to` as RDB version 10, which Redis 7.0 and later and Valkey load. `dir` is the
/// store's folder; `server` the address at which it runs, `None` when it does not run.
pub fn export_rdb(
    dir: &Path,
    server: Option<&ServerAddress>,
    to: &Path,
    progress: OnProgress<'_>,
) -> Result<ExportedRdb, ToolError> {
    if to.exists() {
        return Err(ToolError::Exists { path: to.to_owned() });
    }
    if server.is_none() {
        let _lock = lock(dir)?;
        return write_rdb(dir, to, progress);
    }
    let mut folder = to.as_os_str().to_owned();
    folder.push(".backup");
    let BackedUp { path, .. } = backup(dir, server, Path::new(&folder), progress)?;
    let result = write_rdb(&path, to, progress);
    fs::remove_dir_all(&path).map_err(file_error(&path))?;
    result
}

fn write_rdb(dir: &Path, to: &Path, progress: OnProgress<'_>) -> Result<ExportedRdb, ToolError> {
    let mut engine = scratch()?;
    let manifest: Option<Manifest> = recover::read_only(dir, &mut engine)?;
    if manifest.is_none() {
        return Err(ToolError::Nothing { path: dir.to_owned() });
    }
    let mut temporary = to.as_os_str().to_owned();
    temporary.push(".new");
    let temporary = PathBuf::from(temporary);
    let total = engine.keys();
    let file = File::create(&temporary).map_err(file_error(&temporary))?;
    let mut out = std::io::BufWriter::new(file);
    let keys = rdb::file::save(&engine, &mut out, &mut |done| {
        progress(Progress { what: "keys written", done, total });
    })
    .map_err(file_error(&temporary))?;
    let end = out.flush().and_then(|()| out.get_ref().sync_all());
    let bytes = end.and_then(|()| out.get_ref().metadata()).map_err(file_error(&temporary))?.len();
    fs::rename(&temporary, to).map_err(file_error(to))?;
    Ok(ExportedRdb { keys, bytes })
}
