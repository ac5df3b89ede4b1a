//! The document root: what lies in it, and sending it.
//!
//! Links are followed as long as they end in the document root, in the application's folder or in a folder that the
//! configuration names; a file that lies elsewhere does not exist. What was found is believed for [`BELIEVED`], so a
//! busy address costs no look at the disk, and a switched release is seen within a second.

use std::collections::HashMap;
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
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
use crate::guard;
use crate::route::Found;
use crate::settings::Settings;

/// How long a look at the disk is believed.
const BELIEVED: Duration = Duration::from_millis(500);

/// Paths that are remembered; past it all are forgotten.
const REMEMBERED_MAX: usize = 8_192;

/// Files up to this size are read at once on the thread that serves; larger ones piece by piece beside it.
const SMALL: u64 = 128 * 1024;

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
    found: HashMap<Box<str>, (Instant, Found)>,
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
    pub(crate) fn probe(&self, root: &Root, path: &str) -> Found {
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
    fn resolve(&self, path: &str) -> Option<(PathBuf, Metadata)> {
        let asked = PathBuf::from(format!("{}{path}", self.path));
        let real = asked.canonicalize().ok()?;
        if real != asked && !self.allows(&real) {
            return None;
        }
        let metadata = real.metadata().ok()?;
        Some((real, metadata))
    }

    /// Whether a link may lead to `real`: into an allowed folder, and not to what is never served.
    pub(crate) fn allows(&self, real: &Path) -> bool {
        self.allowed.iter().any(|folder| {
            real.strip_prefix(folder).is_ok_and(|rest| {
                let rest = format!("/{}", rest.display());
                rest == "/" || rest.ends_with(".php") || !guard::refuses_file(&rest, false)
            })
        })
    }
}

/// An open file.
#[derive(Debug, Clone)]
pub(crate) struct OpenFile {
    pub(crate) file: Arc<File>,
    pub(crate) size: u64,
    pub(crate) modified: Duration,
    pub(crate) inode: u64,
}

impl OpenFile {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::ErrorKind::NotFound.into());
        }
        let seconds = u64::try_from(metadata.mtime()).unwrap_or(0);
        let nanos = u32::try_from(metadata.mtime_nsec()).unwrap_or(0);
        Ok(Self {
            file: Arc::new(file),
            size: metadata.len(),
            modified: Duration::new(seconds, nanos),
            inode: metadata.ino(),
        })
    }

    /// The file below `root` at `path`.
    pub(crate) fn open_below(root: &Root, path: &str) -> io::Result<Self> {
        let (real, _) = root.resolve(path).ok_or(io::ErrorKind::NotFound)?;
        Self::open(&real)
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
    pub(crate) fn new(open: &OpenFile, from: u64, len: u64) -> Self {
        Self { file: open.file.clone(), at: from, left: len, reading: None }
    }

    /// The whole part at once, when it is small.
    pub(crate) fn read_small(&self) -> Option<io::Result<Bytes>> {
        (self.left <= SMALL).then(|| read_at(&self.file, self.at, self.left))
    }
}

fn read_at(file: &File, at: u64, len: u64) -> io::Result<Bytes> {
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
        let piece = ready!(Pin::new(reading).poll(cx)).unwrap_or_else(|panicked| Err(io::Error::other(panicked)));
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
