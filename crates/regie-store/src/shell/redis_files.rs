//! What a Redis has left in a folder: `dump.rdb`, and the append-only files of `appendonlydir` (from Redis 7.0) or
//! `appendonly.aof` (before).
//!
//! An append-only manifest names a base (an RDB file or commands) and increments (commands); an older single file may
//! begin with an RDB file. A command that is cut short at the very end is left out, as Redis does; anything else that
//! cannot be read is an error, and nothing is guessed.
//!
//! Where both kinds are there, the one that was written to last holds the newer data.

use crate::engine::Engine;
use crate::rdb::file::{self, Loaded};
use crate::session::{ClientId, Peer};
use crate::shell::recover::{RecoveryError, file_error};
use regie_resp::{Limits, Parsed, RequestParser};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// What can be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Found {
    Rdb(PathBuf),
    /// One file of commands, perhaps with an RDB file in front.
    Aof(PathBuf),
    /// A folder with a manifest: the manifest.
    AofFolder(PathBuf),
}

impl Found {
    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::Rdb(path) | Self::Aof(path) | Self::AofFolder(path) => path,
        }
    }
}

/// What was read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Summary {
    pub(crate) keys: u64,
    pub(crate) expired: u64,
    pub(crate) commands: u64,
    /// Bytes of a command that was cut short at the end.
    pub(crate) torn: u64,
    /// Libraries of functions that could not be loaded.
    pub(crate) functions_left_out: u64,
}

impl Summary {
    fn add(&mut self, loaded: &Loaded) {
        self.keys += loaded.keys;
        self.expired += loaded.expired;
    }

    /// What the operator should know beyond the numbers.
    pub(crate) fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if self.torn > 0 {
            notes.push(format!("the last {} bytes were a command cut short, and are left out", self.torn));
        }
        if self.functions_left_out > 0 {
            notes.push(format!("{} libraries of functions could not be loaded", self.functions_left_out));
        }
        notes
    }
}

/// Looks for a Redis's data in a folder.
pub(crate) fn find(dir: &Path) -> Option<Found> {
    let mut found: Vec<(SystemTime, Found)> = Vec::new();
    let mut add = |path: PathBuf, wrap: fn(PathBuf) -> Found| {
        let newest = |path: &Path| fs::metadata(path).and_then(|data| data.modified()).ok();
        let folder = path.parent().filter(|_| path.extension().is_some_and(|kind| kind == "manifest"));
        let files = folder.and_then(|folder| fs::read_dir(folder).ok()).into_iter().flatten().flatten();
        let written = files.filter_map(|file| newest(&file.path())).chain(newest(&path)).max();
        if let (true, Some(written)) = (path.is_file(), written) {
            found.push((written, wrap(path)));
        }
    };
    add(dir.join("dump.rdb"), Found::Rdb);
    add(dir.join("appendonly.aof"), Found::Aof);
    add(dir.join("appendonlydir").join("appendonly.aof.manifest"), Found::AofFolder);
    found.into_iter().max_by_key(|(written, _)| *written).map(|(_, found)| found)
}

/// What a path names: an RDB file, a file of commands, an append-only folder or its manifest, or a folder with one of
/// these.
pub(crate) fn at(path: &Path) -> Option<Found> {
    if path.is_dir() {
        let mut manifests = fs::read_dir(path).ok()?.flatten().map(|entry| entry.path());
        return manifests
            .find(|path| path.extension().is_some_and(|kind| kind == "manifest"))
            .map(Found::AofFolder)
            .or_else(|| find(path));
    }
    match path.extension().and_then(|kind| kind.to_str()) {
        Some("manifest") => Some(Found::AofFolder(path.to_owned())),
        Some("aof") => Some(Found::Aof(path.to_owned())),
        _ => Some(Found::Rdb(path.to_owned())),
    }
}

/// Reads it into an engine; `progress` hears a file's name, how far it is and how long the file is.
pub(crate) fn load(
    found: &Found,
    engine: &mut Engine,
    progress: &mut dyn FnMut(&str, u64, u64),
) -> Result<Summary, RecoveryError> {
    let mut summary = Summary::default();
    engine.set_loading(true);
    let client = engine.connect(Peer::default());
    engine.trust(client);
    let mut loader = Loader { engine, client, summary: &mut summary, progress };
    let result = match found {
        Found::Rdb(path) | Found::Aof(path) => loader.file(path, true),
        Found::AofFolder(path) => loader.folder(path),
    };
    engine.disconnect(client);
    engine.set_loading(false);
    let _ = engine.take_effects();
    result.map(|()| summary)
}

struct Loader<'a> {
    engine: &'a mut Engine,
    client: ClientId,
    summary: &'a mut Summary,
    progress: &'a mut dyn FnMut(&str, u64, u64),
}

fn damaged(path: &Path) -> impl Fn(String) -> RecoveryError + '_ {
    move |why| RecoveryError::Foreign { path: path.to_owned(), why }
}

impl Loader<'_> {
    fn folder(&mut self, manifest: &Path) -> Result<(), RecoveryError> {
        let text = fs::read_to_string(manifest).map_err(file_error(manifest))?;
        let parts = parse_manifest(&text).map_err(damaged(manifest))?;
        let dir = manifest.parent().unwrap_or(Path::new("."));
        for (index, name) in parts.iter().enumerate() {
            self.file(&dir.join(name), index + 1 == parts.len())?;
        }
        Ok(())
    }

    fn file(&mut self, path: &Path, may_be_torn: bool) -> Result<(), RecoveryError> {
        let bytes = fs::read(path).map_err(file_error(path))?;
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let total = bytes.len() as u64;
        let mut start = 0;
        if file::is_rdb(&bytes) {
            let progress = &mut *self.progress;
            let loaded = file::load(&bytes, self.engine, &mut |done| progress(&name, done, total))
                .map_err(damaged(path))?;
            self.summary.add(&loaded);
            self.functions(&loaded.functions);
            start = loaded.length;
        } else if path.extension().is_some_and(|kind| kind == "rdb") {
            return Err(damaged(path)("no RDB file: it does not begin with REDIS".into()));
        }
        self.engine.begin_log_part();
        let end = self.commands(&bytes[start..], &name, (start as u64, total)).map_err(damaged(path))?;
        let torn = bytes.len() - start - end;
        if torn > 0 && !may_be_torn {
            return Err(damaged(path)(format!("cut short at byte {}, and more files follow", start + end)));
        }
        self.summary.torn += torn as u64;
        (self.progress)(&name, total, total);
        Ok(())
    }

    fn functions(&mut self, functions: &[Vec<u8>]) {
        for code in functions {
            let mut line = Vec::new();
            crate::engine::append(&mut line, &[b"FUNCTION", b"LOAD", b"REPLACE", code]);
            self.summary.functions_left_out += u64::from(self.engine.replay(self.client, &line).is_err());
        }
    }

    /// Runs the whole commands; how many bytes those are. `place` is where they begin in the file, and its length.
    fn commands(&mut self, bytes: &[u8], name: &str, place: (u64, u64)) -> Result<usize, String> {
        let (mut at, mut parser) = (0, RequestParser::default());
        while at < bytes.len() {
            // A note about the time, which `aof-timestamp-enabled` writes.
            if bytes[at] == b'#' {
                let Some(length) = bytes[at..].iter().position(|byte| *byte == b'\n') else { break };
                at += length + 1;
                continue;
            }
            let wrong = |why: String| format!("at byte {}: {why}", place.0 + at as u64);
            match parser.parse(&bytes[at..], &Limits::DEFAULT) {
                Ok(Parsed::Command { consumed }) => {
                    parser.next();
                    self.engine.replay(self.client, &bytes[at..at + consumed]).map_err(wrong)?;
                    at += consumed;
                    self.summary.commands += 1;
                    if self.summary.commands.is_multiple_of(10_000) {
                        (self.progress)(name, place.0 + at as u64, place.1);
                    }
                }
                Ok(Parsed::Incomplete { .. }) => break,
                Err(error) => return Err(wrong(error.to_string())),
            }
        }
        Ok(at)
    }
}

/// The names of the files in the order in which they are read: the base, then the increments by number.
fn parse_manifest(text: &str) -> Result<Vec<String>, String> {
    let (mut base, mut increments) = (None, Vec::new());
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (name, rest) = match line.strip_prefix("file \"") {
            Some(rest) => rest.split_once('"').ok_or_else(|| format!("unknown line '{line}'"))?,
            None => line
                .strip_prefix("file ")
                .and_then(|rest| rest.split_once(' '))
                .ok_or_else(|| format!("unknown line '{line}'"))?,
        };
        if name.contains('/') || name.contains('\\') {
            return Err(format!("'{name}' is no plain name of a file"));
        }
        let words: Vec<&str> = rest.split_whitespace().collect();
        match words[..] {
            ["seq", number, "type", kind] => {
                let number: u64 = number.parse().map_err(|_| format!("unknown line '{line}'"))?;
                match kind {
                    "b" => base = Some(name.to_owned()),
                    "i" => increments.push((number, name.to_owned())),
                    _ => {}
                }
            }
            _ => return Err(format!("unknown line '{line}'")),
        }
    }
    increments.sort();
    Ok(base.into_iter().chain(increments.into_iter().map(|(_, name)| name)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_append_only_manifest_is_read() {
        let text = "file appendonly.aof.2.base.rdb seq 2 type b\nfile appendonly.aof.1.incr.aof seq 1 type h\n\
                    file \"appendonly 3\" seq 3 type i\nfile appendonly.aof.2.incr.aof seq 2 type i\n";
        let expect = ["appendonly.aof.2.base.rdb", "appendonly.aof.2.incr.aof", "appendonly 3"];
        assert_eq!(parse_manifest(text).unwrap(), expect);
        for wrong in ["dir x", "file x seq one type b", "file ../x seq 1 type b", "file x"] {
            assert!(parse_manifest(wrong).is_err(), "{wrong}");
        }
    }
}
