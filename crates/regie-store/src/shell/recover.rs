//! Reading what a folder holds, at the start.
//!
//! What is there decides: the store's own manifest; else what a Redis has left (see `redis_files`), which is read once
//! and from then on kept in the store's own form, the Redis's files staying as they are; else nothing. Files of the
//! store without a manifest are no empty folder: the start is refused.
//!
//! A folder belongs to one process: it holds a lock on the file `lock` as long as it runs.

use crate::engine::Engine;
use crate::journal::{self, Broken, Frames};
use crate::manifest::{self, Manifest, ManifestError, log_name, snapshot_name};
use crate::replay::Replay;
use crate::session::{ClientId, Peer};
use crate::shell::{clock, redis_files};
use nix::fcntl::{Flock, FlockArg};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Why the data could not be read at the start.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    /// The file system refused.
    #[error("{}: {source}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The bytes are not what was written.
    #[error("{}: {why}; nothing was changed; `regie store repair` shows what can be saved", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// Where and how.
        why: String,
    },
    /// A newer Régie has written here.
    #[error("{}: {why}", path.display())]
    Newer {
        /// Which file.
        path: PathBuf,
        /// By which version, and what to do.
        why: String,
    },
    /// A Redis's file cannot be read.
    #[error("{}: {why}; nothing was changed", path.display())]
    Foreign {
        /// Which file.
        path: PathBuf,
        /// Where and how.
        why: String,
    },
    /// Another process works on this folder.
    #[error("{}: another store is running on this folder; stop it, or give this one a folder of its own", dir.display())]
    InUse {
        /// Which folder.
        dir: PathBuf,
    },
}

pub(crate) fn file_error(path: &Path) -> impl FnOnce(io::Error) -> RecoveryError + '_ {
    move |source| RecoveryError::File { path: path.to_owned(), source }
}

/// Claims the folder for this process.
pub(crate) fn lock(dir: &Path) -> Result<Flock<File>, RecoveryError> {
    let path = dir.join("lock");
    let file =
        OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(file_error(&path))?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| match errno {
        nix::errno::Errno::EAGAIN => RecoveryError::InUse { dir: dir.to_owned() },
        errno => RecoveryError::File { path, source: errno.into() },
    })
}

/// The folder's manifest; `None` if the folder holds nothing of the store's.
pub(crate) fn read_manifest(dir: &Path) -> Result<Option<Manifest>, RecoveryError> {
    let path = dir.join(manifest::NAME);
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let orphans = our_files(dir)?;
            if orphans.iter().all(|name| name.ends_with(".new")) {
                return Ok(None);
            }
            let why = format!("is missing, but {} is there", orphans.join(", "));
            return Err(RecoveryError::Damaged { path, why });
        }
        Err(source) => return Err(RecoveryError::File { path, source }),
    };
    Manifest::parse(&String::from_utf8_lossy(&bytes)).map(Some).map_err(|error| match error {
        ManifestError::Newer { .. } => RecoveryError::Newer { path, why: error.to_string() },
        ManifestError::Damaged(_) => RecoveryError::Damaged { path, why: error.to_string() },
    })
}

/// The names of the store's files in a folder, in use or not.
pub(crate) fn our_files(dir: &Path) -> Result<Vec<String>, RecoveryError> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir).map_err(file_error(dir))? {
        let name = entry.map_err(file_error(dir))?.file_name().to_string_lossy().into_owned();
        if manifest::is_ours(&name) {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// Replaces the manifest: after a crash it is the old one or the new one.
pub(crate) fn write_manifest(dir: &Path, manifest: &Manifest) -> io::Result<()> {
    let temporary = dir.join(format!("{}.new", manifest::NAME));
    let mut file = File::create(&temporary)?;
    file.write_all(manifest.text().as_bytes())?;
    file.sync_all()?;
    fs::rename(&temporary, dir.join(manifest::NAME))?;
    File::open(dir)?.sync_all()
}

/// Deletes what a crash or a rewrite has left. The files are given back open: their room is free when they are closed.
pub(crate) fn delete_leftovers(dir: &Path, manifest: &Manifest) -> Vec<File> {
    let used = manifest.names();
    let mut gone = Vec::new();
    for name in our_files(dir).unwrap_or_default() {
        if !used.contains(&name) {
            let path = dir.join(name);
            gone.extend(File::open(&path));
            let _ = fs::remove_file(path);
        }
    }
    gone
}

/// How far the reading is, for who waits for it.
pub(crate) struct Loading {
    status: fn(&str),
    done: u64,
    total: u64,
    said: u64,
}

impl Loading {
    pub(crate) fn new(status: fn(&str)) -> Self {
        Self { status, done: 0, total: 0, said: 0 }
    }

    /// So many more bytes are read. Something is said at most once for each percent.
    fn add(&mut self, bytes: usize) {
        self.done += bytes as u64;
        let share = self.done.saturating_mul(100).checked_div(self.total).unwrap_or(100).min(100);
        if share > self.said {
            self.said = share;
            (self.status)(&format!("reading its data, {share} % of {} MB", self.total >> 20));
        }
    }
}

/// What was there at the start.
pub(crate) enum Recovered {
    /// The store's own data, or nothing.
    Own(Manifest),
    /// A Redis's: they are in the engine, and in none of the store's files yet.
    Redis,
}

/// Reads everything into the engine.
pub(crate) fn recover(
    dir: &Path,
    engine: &mut Engine,
    report: fn(&str),
    mut loading: Loading,
) -> Result<Recovered, RecoveryError> {
    let start = clock::stopwatch();
    let took = || clock::stopwatch().saturating_sub(start) / 1000;
    if let Some(manifest) = read_manifest(dir)? {
        let manifest = read(dir, manifest, engine, Some(report), &mut loading)?;
        delete_leftovers(dir, &manifest);
        report(&format!("data read in {} ms", took()));
        return Ok(Recovered::Own(manifest));
    }
    let Some(found) = redis_files::find(dir) else { return Ok(Recovered::Own(Manifest::default())) };
    let summary = redis_files::load(&found, engine, &mut |_, _, _| {})?;
    let (path, keys, ms) = (found.path().display(), engine.keys(), took());
    report(&format!(
        "{path}: data of a Redis read in {ms} ms ({keys} keys); from now on they are kept in this store's own files"
    ));
    summary.notes().iter().for_each(|note| report(note));
    Ok(Recovered::Redis)
}

/// Reads everything into the engine and changes nothing; `None` if there is nothing. A torn tail is passed over.
pub(crate) fn read_only(dir: &Path, engine: &mut Engine) -> Result<Option<Manifest>, RecoveryError> {
    let Some(manifest) = read_manifest(dir)? else { return Ok(None) };
    read(dir, manifest, engine, None, &mut Loading::new(|_| {})).map(Some)
}

/// Reads what the manifest names. With `report` a torn tail is cut off.
fn read(
    dir: &Path,
    mut manifest: Manifest,
    engine: &mut Engine,
    report: Option<fn(&str)>,
    loading: &mut Loading,
) -> Result<Manifest, RecoveryError> {
    engine.set_loading(true);
    let sizes = manifest.names().into_iter().filter_map(|name| fs::metadata(dir.join(name)).ok());
    loading.total = sizes.map(|file| file.len()).sum();
    if let Some(part) = &mut manifest.snapshot {
        let path = dir.join(snapshot_name(part.number));
        let bytes = read_part(&path, part.size)?;
        read_snapshot(&path, &bytes, engine, loading)?;
        part.size = Some(bytes.len() as u64);
    }
    let client = engine.connect(Peer::default());
    engine.trust(client);
    let count = manifest.logs.len();
    for (index, part) in manifest.logs.iter_mut().enumerate() {
        let path = dir.join(log_name(part.number));
        let bytes = read_part(&path, part.size)?;
        let whole = read_log(&path, &bytes, index + 1 == count, engine, client, report, loading)?;
        part.size = Some(whole);
    }
    engine.disconnect(client);
    engine.expect_no_more();
    engine.set_loading(false);
    let _ = engine.take_effects();
    Ok(manifest)
}

/// A file's bytes, if they are as many as the manifest says.
fn read_part(path: &Path, size: Option<u64>) -> Result<Vec<u8>, RecoveryError> {
    let bytes = fs::read(path).map_err(file_error(path))?;
    match size {
        Some(size) if size != bytes.len() as u64 => Err(RecoveryError::Damaged {
            path: path.to_owned(),
            why: format!("{} bytes long instead of {size}", bytes.len()),
        }),
        _ => Ok(bytes),
    }
}

fn broken(path: &Path, broken: &Broken) -> RecoveryError {
    let (path, why) = (path.to_owned(), broken.to_string());
    match broken {
        Broken::Newer { .. } => RecoveryError::Newer { path, why },
        _ => RecoveryError::Damaged { path, why },
    }
}

/// Bytes of a small record, about: room is made for no more keys than there can be of these.
const SMALL_RECORD: usize = 32;
/// The part of a log after which it is known how many keys the whole will bring, about.
const SAMPLE: usize = 16;

fn read_snapshot(
    path: &Path,
    bytes: &[u8],
    engine: &mut Engine,
    loading: &mut Loading,
) -> Result<(), RecoveryError> {
    let mut frames = Frames::open(bytes, journal::SNAPSHOT).map_err(|error| broken(path, &error))?;
    let mut is_first = true;
    let before = engine.key_counts();
    while let Some(body) = frames.next().map_err(|error| broken(path, &error))? {
        engine.restore(body).map_err(|why| RecoveryError::Damaged { path: path.to_owned(), why })?;
        loading.add(body.len());
        // The first part shows how many keys the whole will have, about.
        if std::mem::take(&mut is_first) {
            engine.expect_keys(&before, bytes.len() / body.len(), bytes.len() / SMALL_RECORD);
        }
    }
    Ok(())
}

/// Runs a log's commands; how many bytes of it are whole. The tail of the last one may be torn.
fn read_log(
    path: &Path,
    bytes: &[u8],
    is_last: bool,
    engine: &mut Engine,
    client: ClientId,
    report: Option<fn(&str)>,
    loading: &mut Loading,
) -> Result<u64, RecoveryError> {
    let cut = |at: usize| -> Result<u64, RecoveryError> {
        let Some(report) = report else { return Ok(at as u64) };
        let torn = bytes.len() - at;
        report(&format!("{}: the last {torn} bytes were torn and are cut off", path.display()));
        let file = OpenOptions::new().write(true).open(path).map_err(file_error(path))?;
        file.set_len(at as u64).and_then(|()| file.sync_all()).map_err(file_error(path))?;
        Ok(at as u64)
    };
    let mut frames = match Frames::open(bytes, journal::LOG) {
        Ok(frames) => frames,
        Err(Broken::Torn { at }) if is_last => return cut(at),
        Err(error) => return Err(broken(path, &error)),
    };
    engine.begin_log_part();
    let mut replay = Replay::default();
    // A table that grows step by step is moved again and again: what the beginning brings says how big it gets.
    let before = engine.key_counts();
    let mut sampled = false;
    loop {
        match frames.next() {
            Ok(None) => return Ok(bytes.len() as u64),
            Ok(Some(body)) => {
                replay
                    .run(engine, client, body)
                    .map_err(|why| RecoveryError::Damaged { path: path.to_owned(), why })?;
                loading.add(body.len());
                if !sampled && frames.position() >= bytes.len() / SAMPLE {
                    sampled = true;
                    let most = (bytes.len() - frames.position()) / SMALL_RECORD;
                    engine.expect_keys(&before, bytes.len() / frames.position(), most);
                }
            }
            Err(Broken::Torn { at }) if is_last => return cut(at),
            Err(error) => return Err(broken(path, &error)),
        }
    }
}
