//! The document root: what lies in it, and sending it.
//!
//! Links are followed as long as they end in the document root, in the application's folder or in a folder that the
//! configuration names; a file that lies elsewhere does not exist. What was found is believed for [`BELIEVED`], so a
//! busy address costs no look at the disk, and a switched release is seen within a second.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::clock::now;
use crate::conditional::Validators;
use crate::guard;
use crate::route::Found;
use crate::settings::Settings;

/// How long a look at the disk is believed.
const BELIEVED: Duration = Duration::from_millis(500);

/// Paths that are remembered; past it all are forgotten.
const REMEMBERED_MAX: usize = 8_192;

/// Files up to this size are read at once on the thread that serves, and kept; larger ones are read piece by piece
/// beside it.
const SMALL: u64 = 64 * 1024;

/// Bytes of small files that are kept; past it all are forgotten.
const SMALL_KEPT: usize = 8 * 1024 * 1024;

/// `O_NONBLOCK` on Linux.
const NONBLOCK: i32 = 0o4000;

/// Bytes of a large file that are read at once.
const PIECE: u64 = 256 * 1024;

/// The document root as it was found last.
#[derive(Debug, Clone)]
pub(crate) struct Root {
    /// Links resolved.
    pub(crate) path: Arc<str>,
    /// Where links may lead, links resolved.
    allowed: Arc<[PathBuf]>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Files {
    given: PathBuf,
    app_root: Option<PathBuf>,
    link_targets: Vec<PathBuf>,
    memory: Mutex<Memory>,
}

#[derive(Debug, Default)]
struct Memory {
    root: Option<(Instant, Root)>,
    found: HashMap<Box<[u8]>, (Instant, Found)>,
    small: HashMap<Box<[u8]>, (Instant, Arc<SmallFile>)>,
    small_bytes: usize,
}

impl Files {
    pub(crate) fn new(settings: &Settings) -> Self {
        Self {
            given: settings.root.clone(),
            app_root: settings.app_root.clone(),
            link_targets: settings.link_targets.clone(),
            memory: Mutex::default(),
        }
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The document root.
    pub(crate) fn root(&self) -> io::Result<Root> {
        let at = now();
        let mut memory = self.memory();
        if let Some((seen, root)) = &memory.root
            && at - *seen < BELIEVED
        {
            return Ok(root.clone());
        }
        let root = self.find_root()?;
        let switched = memory.root.as_ref().is_some_and(|(_, before)| before.path != root.path);
        if switched {
            memory.found.clear();
            memory.forget_small();
        }
        memory.root = Some((at, root.clone()));
        Ok(root)
    }

    fn find_root(&self) -> io::Result<Root> {
        let path = self.given.canonicalize()?;
        let mut allowed = vec![path.clone()];
        if let Some(app_root) = &self.app_root {
            allowed.extend(app_root.canonicalize());
            // `current -> releases/7`: what the releases share lies beside them.
            if app_root.is_symlink() {
                allowed.extend(app_root.parent().and_then(|beside| beside.canonicalize().ok()));
            }
        }
        allowed.extend(self.link_targets.iter().filter_map(|target| target.canonicalize().ok()));
        let path = path
            .into_os_string()
            .into_string()
            .map_err(|_| io::Error::other("the document root is not UTF-8"))?;
        Ok(Root { path: path.into(), allowed: allowed.into() })
    }

    /// What lies at `path` below the root.
    pub(crate) fn probe(&self, root: &Root, path: &[u8]) -> Found {
        let at = now();
        if let Some((seen, found)) = self.memory().found.get(path)
            && at - *seen < BELIEVED
        {
            return *found;
        }
        let found = match root.resolve(path) {
            Some((_, metadata)) if metadata.is_file() => Found::File,
            Some((_, metadata)) if metadata.is_dir() => Found::Folder,
            _ => Found::Nothing,
        };
        let mut memory = self.memory();
        if memory.found.len() >= REMEMBERED_MAX {
            memory.found.clear();
        }
        memory.found.insert(path.into(), (at, found));
        found
    }
}

impl Root {
    /// The real file behind `path`, when it is one that may be seen.
    pub(crate) fn resolve(&self, path: &[u8]) -> Option<(PathBuf, Metadata)> {
        let asked = PathBuf::from(OsString::from_vec([self.path.as_bytes(), path].concat()));
        let real = asked.canonicalize().ok()?;
        if real != asked && !self.allows(&real) {
            return None;
        }
        let metadata = real.metadata().ok()?;
        Some((real, metadata))
    }

    /// Whether `real` lies in the document root or where links may lead.
    pub(crate) fn holds(&self, real: &Path) -> bool {
        self.allowed.iter().any(|folder| real.starts_with(folder))
    }

    /// Whether a link may lead to `real`: into an allowed folder, and not to what is never served.
    fn allows(&self, real: &Path) -> bool {
        self.allowed.iter().any(|folder| {
            real.strip_prefix(folder).is_ok_and(|rest| {
                let rest = [&b"/"[..], rest.as_os_str().as_bytes()].concat();
                rest == b"/" || rest.ends_with(b".php") || !guard::refuses_file(&rest, false)
            })
        })
    }
}

/// A file that is ready to be sent.
#[derive(Debug, Clone)]
pub(crate) enum Sendable {
    /// In memory.
    Small(Arc<SmallFile>),
    /// Open.
    Large(Arc<File>, Arc<Identity>),
}

/// A small file with its content.
#[derive(Debug)]
pub(crate) struct SmallFile {
    pub(crate) bytes: Bytes,
    identity: Identity,
}

/// What tells one state of a file from another.
#[derive(Debug)]
pub(crate) struct Identity {
    validators: Validators,
    modified: Duration,
    size: u64,
    inode: u64,
}

impl Identity {
    fn new(metadata: &Metadata, variant: &str) -> Self {
        let modified = modified(metadata);
        Self {
            validators: Validators::new(modified, metadata.len(), variant),
            modified,
            size: metadata.len(),
            inode: metadata.ino(),
        }
    }

    fn is_of(&self, metadata: &Metadata) -> bool {
        (self.modified, self.size, self.inode) == (modified(metadata), metadata.len(), metadata.ino())
    }
}

fn modified(metadata: &Metadata) -> Duration {
    let seconds = u64::try_from(metadata.mtime()).unwrap_or(0);
    Duration::new(seconds, u32::try_from(metadata.mtime_nsec()).unwrap_or(0))
}

impl Sendable {
    /// The file at `path`, whose place was checked.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let (file, metadata) = open_regular(path)?;
        Ok(Self::Large(Arc::new(file), Arc::new(Identity::new(&metadata, ""))))
    }

    pub(crate) fn validators(&self) -> &Validators {
        match self {
            Self::Small(file) => &file.identity.validators,
            Self::Large(_, identity) => &identity.validators,
        }
    }

    pub(crate) fn size(&self) -> u64 {
        match self {
            Self::Small(file) => file.identity.size,
            Self::Large(_, identity) => identity.size,
        }
    }
}

fn open_regular(path: &Path) -> io::Result<(File, Metadata)> {
    // Opening a pipe would wait for its writer; it is not opened to find out that it is one.
    let file = OpenOptions::new().read(true).custom_flags(NONBLOCK).open(path)?;
    let metadata = file.metadata()?;
    if metadata.is_file() { Ok((file, metadata)) } else { Err(io::ErrorKind::NotFound.into()) }
}

impl Files {
    /// The file below `root` at `path`, from memory when it is small and was seen a moment ago.
    pub(crate) fn open(&self, root: &Root, path: &[u8], variant: &str) -> io::Result<Sendable> {
        let at = now();
        if let Some((seen, file)) = self.memory().small.get(path)
            && at - *seen < BELIEVED
        {
            return Ok(Sendable::Small(file.clone()));
        }
        let (real, _) = root.resolve(path).ok_or(io::ErrorKind::NotFound)?;
        let (file, metadata) = open_regular(&real)?;
        if metadata.len() > SMALL {
            return Ok(Sendable::Large(Arc::new(file), Arc::new(Identity::new(&metadata, variant))));
        }
        let known = self.memory().small.get(path).map(|(_, file)| file.clone());
        let small = match known.filter(|file| file.identity.is_of(&metadata)) {
            Some(file) => file,
            None => Arc::new(SmallFile {
                bytes: read_at(&file, 0, metadata.len())?,
                identity: Identity::new(&metadata, variant),
            }),
        };
        self.memory().keep_small(path, at, &small);
        Ok(Sendable::Small(small))
    }
}

impl Memory {
    fn keep_small(&mut self, path: &[u8], at: Instant, file: &Arc<SmallFile>) {
        if self.small_bytes + file.bytes.len() > SMALL_KEPT {
            self.forget_small();
        }
        self.small_bytes += file.bytes.len();
        if let Some((_, before)) = self.small.insert(path.into(), (at, file.clone())) {
            self.small_bytes -= before.bytes.len();
        }
    }

    fn forget_small(&mut self) {
        self.small.clear();
        self.small_bytes = 0;
    }
}

/// A part of a file on its way out.
#[derive(Debug)]
pub(crate) struct FileBody {
    file: Arc<File>,
    at: u64,
    left: u64,
    reading: Option<JoinHandle<io::Result<Bytes>>>,
}

impl FileBody {
    pub(crate) fn new(file: &Arc<File>, from: u64, len: u64) -> Self {
        Self { file: file.clone(), at: from, left: len, reading: None }
    }
}

/// Reads `len` bytes, all of which must be there.
pub(crate) fn read_at(file: &File, at: u64, len: u64) -> io::Result<Bytes> {
    let len = usize::try_from(len).map_err(io::Error::other)?;
    let mut piece = vec![0; len];
    file.read_exact_at(&mut piece, at)?;
    Ok(piece.into())
}

impl Body for FileBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let this = self.get_mut();
        if this.left == 0 {
            return Poll::Ready(None);
        }
        let reading = this.reading.get_or_insert_with(|| {
            let (file, at, len) = (this.file.clone(), this.at, this.left.min(PIECE));
            tokio::task::spawn_blocking(move || read_at(&file, at, len))
        });
        let piece =
            ready!(Pin::new(reading).poll(cx)).unwrap_or_else(|panicked| Err(io::Error::other(panicked)));
        this.reading = None;
        match piece {
            Ok(bytes) => {
                this.at += bytes.len() as u64;
                this.left -= bytes.len() as u64;
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Err(error) => {
                this.left = 0;
                Poll::Ready(Some(Err(error)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
