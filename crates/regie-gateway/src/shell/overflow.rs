//! A first-in, first-out store of bytes in a file without a name, for what a slow client has not taken yet. Reading and
//! writing are done beside the thread that serves; while they run, what is there waits in memory, a piece at most.
//!
//! ```text
//! put ──▶ held ── a piece ──▶ writing ──▶ file ── a piece ──▶ reading ──▶ poll_take
//!           └────────────────── when the file is empty ──────────────────────▶
//! ```
//!
//! The file takes what its own limit and the one of all files together allow; past either it is full, and whoever
//! makes the bytes waits for the client. It is full as well when it cannot be written: what was put is never lost.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use tokio::task::JoinHandle;

use super::files;

/// Bytes that are written or read at once.
const PIECE: usize = 256 * 1024;

/// Where such files lie, and what they may take.
#[derive(Debug, Clone)]
pub(crate) struct Room {
    pub(crate) dir: Arc<Path>,
    /// Bytes of one file.
    pub(crate) each: u64,
    /// Bytes of all files.
    pub(crate) all: u64,
    /// Bytes that all files have now.
    pub(crate) taken: Arc<AtomicU64>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Overflow {
    room: Room,
    file: Option<Arc<File>>,
    /// Where the file is read next, and how far it is written.
    from: u64,
    to: u64,
    held: BytesMut,
    writing: Option<(Bytes, JoinHandle<io::Result<Arc<File>>>)>,
    reading: Option<JoinHandle<io::Result<Bytes>>>,
    /// Why nothing is written any more.
    failed: Option<io::Error>,
    is_broken: bool,
}

impl Overflow {
    pub(crate) fn new(room: Room) -> Self {
        Self {
            room,
            file: None,
            from: 0,
            to: 0,
            held: BytesMut::new(),
            writing: None,
            reading: None,
            failed: None,
            is_broken: false,
        }
    }

    /// Takes `data` in. Call it only after [`Self::poll_room`] has said that there is room.
    pub(crate) fn put(&mut self, data: &[u8]) {
        self.held.extend_from_slice(data);
    }

    /// Ready when that is known: true = a piece may be put, false = the file is full.
    pub(crate) fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        let _ = self.poll_written(cx);
        if self.held.len() < PIECE {
            return Poll::Ready(!self.is_broken);
        }
        if self.writing.is_some() {
            return Poll::Pending;
        }
        if self.is_broken || !self.reserve(self.held.len() as u64) {
            return Poll::Ready(false);
        }
        self.write();
        Poll::Ready(true)
    }

    /// Why the file cannot be written, once.
    pub(crate) const fn failure(&mut self) -> Option<io::Error> {
        self.failed.take()
    }

    /// The bytes that were put first. None = it is empty.
    pub(crate) fn poll_take(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        loop {
            if let Some(reading) = &mut self.reading {
                let read = ready!(Pin::new(reading).poll(cx));
                self.reading = None;
                let read = read.unwrap_or_else(|panicked| Err(io::Error::other(panicked)));
                self.from += read.as_ref().map_or(0, |bytes| bytes.len() as u64);
                return Poll::Ready(Some(read));
            }
            if let Some(file) = self.file.as_ref().filter(|_| self.from < self.to) {
                let (file, from, len) = (file.clone(), self.from, (self.to - self.from).min(PIECE as u64));
                self.reading = Some(tokio::task::spawn_blocking(move || files::read_at(&file, from, len)));
                continue;
            }
            ready!(self.poll_written(cx));
            if self.from < self.to {
                continue;
            }
            return Poll::Ready(Some(self.held.split().freeze()).filter(|held| !held.is_empty()).map(Ok));
        }
    }

    fn write(&mut self) {
        let piece = self.held.split().freeze();
        let (file, dir, data, at) = (self.file.clone(), self.room.dir.clone(), piece.clone(), self.to);
        let write = move || {
            let file = match file {
                Some(file) => file,
                None => Arc::new(tempfile::tempfile_in(dir)?),
            };
            file.write_all_at(&data, at)?;
            Ok(file)
        };
        self.writing = Some((piece, tokio::task::spawn_blocking(write)));
    }

    /// Ready when nothing is being written.
    fn poll_written(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some((_, writing)) = &mut self.writing else { return Poll::Ready(()) };
        let written = ready!(Pin::new(writing).poll(cx));
        let Some((piece, _)) = self.writing.take() else { return Poll::Ready(()) };
        match written.unwrap_or_else(|panicked| Err(io::Error::other(panicked))) {
            Ok(file) => {
                self.file = Some(file);
                self.to += piece.len() as u64;
            }
            Err(error) => {
                self.give_back(piece.len() as u64);
                let mut all = BytesMut::from(&piece[..]);
                all.extend_from_slice(&self.held);
                self.held = all;
                (self.failed, self.is_broken) = (Some(error), true);
            }
        }
        Poll::Ready(())
    }

    fn reserve(&self, len: u64) -> bool {
        let room = &self.room;
        let fits = |taken: u64| Some(taken + len).filter(|taken| *taken <= room.all);
        self.to + len <= room.each
            && room.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_ok()
    }

    fn give_back(&self, len: u64) {
        self.room.taken.fetch_sub(len, Ordering::Relaxed);
    }
}

impl Drop for Overflow {
    fn drop(&mut self) {
        let writing = self.writing.as_ref().map_or(0, |(piece, _)| piece.len() as u64);
        self.give_back(self.to + writing);
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    fn room(dir: &Path, each: u64, all: u64) -> Room {
        Room { dir: dir.into(), each, all, taken: Arc::default() }
    }

    /// Puts numbered bytes as long as there is room, `len` at most, and says how many were put.
    async fn fill(overflow: &mut Overflow, begin: usize, len: usize) -> usize {
        let mut put = 0;
        while put < len && poll_fn(|cx| overflow.poll_room(cx)).await {
            let piece: Vec<u8> = (begin + put..begin + put + 10_000).map(number).collect();
            overflow.put(&piece);
            put += piece.len();
        }
        put
    }

    const fn number(at: usize) -> u8 {
        (at % 251) as u8
    }

    async fn check(overflow: &mut Overflow, begin: usize, len: usize) {
        let mut at = begin;
        while at < begin + len {
            let piece = poll_fn(|cx| overflow.poll_take(cx)).await.expect("not all has come").unwrap();
            assert!(piece.iter().enumerate().all(|(index, byte)| *byte == number(at + index)), "at {at}");
            at += piece.len();
        }
        assert_eq!(at, begin + len);
    }

    fn run(test: impl Future<Output = ()>) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test);
    }

    #[test]
    fn what_is_put_first_comes_first() {
        let dir = tempfile::tempdir().unwrap();
        let room = room(dir.path(), 100_000_000, 100_000_000);
        run(async {
            let mut overflow = Overflow::new(room.clone());
            assert!(poll_fn(|cx| overflow.poll_take(cx)).await.is_none());
            for round in 0..3 {
                for len in [10_000, 3_000_000] {
                    assert_eq!(fill(&mut overflow, round * 7, len).await, len);
                    check(&mut overflow, round * 7, len).await;
                    assert!(poll_fn(|cx| overflow.poll_take(cx)).await.is_none(), "it is empty");
                }
            }
            assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "the file has no name");
            assert!(room.taken.load(Ordering::Relaxed) > 0);
            drop(overflow);
            assert_eq!(room.taken.load(Ordering::Relaxed), 0, "its place is free again");
        });
    }

    #[test]
    fn past_its_limits_it_is_full_and_loses_nothing() {
        let dir = tempfile::tempdir().unwrap();
        for (each, all) in [(1_000_000, 100_000_000), (100_000_000, 1_000_000)] {
            run(async {
                let mut overflow = Overflow::new(room(dir.path(), each, all));
                let put = fill(&mut overflow, 0, 10_000_000).await;
                assert!((700_000..=1_300_000).contains(&put), "{put}");
                check(&mut overflow, 0, put).await;
            });
        }
    }

    #[test]
    fn a_folder_that_cannot_be_written_loses_nothing() {
        run(async {
            let mut overflow = Overflow::new(room(Path::new("/nowhere/at-all"), 10_000_000, 10_000_000));
            let put = fill(&mut overflow, 0, 10_000_000).await;
            assert!(put < 1_000_000, "{put}");
            assert_eq!(overflow.failure().unwrap().kind(), io::ErrorKind::NotFound);
            check(&mut overflow, 0, put).await;
        });
    }
}
