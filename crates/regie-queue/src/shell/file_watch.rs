//! Tells when an SQLite database is written, by inotify(7).
//!
//! A commit writes the database, its journal or its write-ahead log, all in one folder under names that begin with
//! the database's. The folder is watched, so that a log that is made and removed again is seen.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use tokio::net::unix::pipe::Receiver;

/// See the module.
#[derive(Debug)]
pub(super) struct FileWatch {
    /// Read like a pipe, which is all that it needs.
    events: Receiver,
    name: Vec<u8>,
}

/// What stands before the name in an event: the watch, what happened, a cookie, and the length of the name.
const HEAD: usize = 16;

impl FileWatch {
    /// Watches the database at `path`. To be called on a runtime.
    pub(super) fn new(path: &Path) -> io::Result<Self> {
        // What is watched is where the file is, not where a link to it is.
        let path = path.canonicalize()?;
        let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no file"));
        };
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        inotify.add_watch(folder, AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_DELETE)?;
        let events = Receiver::from_owned_fd_unchecked(OwnedFd::from(inotify))?;
        Ok(Self { events, name: name.as_bytes().to_vec() })
    }

    /// Forgets what was seen so far.
    pub(super) fn forget(&self) {
        while self.read().is_some() {}
    }

    /// Ends when the database has been written since the last [`FileWatch::forget`].
    pub(super) async fn changed(&self) {
        loop {
            if self.events.readable().await.is_err() {
                return std::future::pending().await;
            }
            if self.read() == Some(true) {
                return;
            }
        }
    }

    /// Whether one of the changes that were read is the database's; none when there is nothing to read.
    fn read(&self) -> Option<bool> {
        let mut buffer = [0; 4096];
        let count = self.events.try_read(&mut buffer).ok().filter(|count| *count > 0)?;
        Some(names(&buffer[..count]).any(|name| name.starts_with(&self.name)))
    }
}

/// The names in a run of events, padded with zeros as the kernel writes them.
fn names(mut events: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let length = events.get(HEAD - 4..HEAD)?;
        let length = u32::from_ne_bytes(length.try_into().ok()?) as usize;
        let name = events.get(HEAD..HEAD + length)?;
        events = &events[HEAD + length..];
        Some(name)
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn a_write_is_seen_and_others_are_not() {
        const SOON: Duration = Duration::from_secs(60);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("database.sqlite");
        fs::write(&path, "").unwrap();
        let watch = FileWatch::new(&path).unwrap();
        fs::write(folder.path().join("database.sqlite-wal"), "x").unwrap();
        timeout(SOON, watch.changed()).await.unwrap();
        watch.forget();
        fs::write(folder.path().join("other"), "x").unwrap();
        assert!(timeout(Duration::from_millis(20), watch.changed()).await.is_err());
        fs::write(&path, "x").unwrap();
        timeout(SOON, watch.changed()).await.unwrap();
        assert!(FileWatch::new(Path::new("/nowhere/at/all")).is_err());
    }
}
