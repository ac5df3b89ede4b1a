//! The file of a snapshot while it is written: the loop writes, other threads sync.
//!
//! A sync waits for the disk, and that of a big file waits long. So what has been written is synced now and then while
//! the walk goes on ([`STRIDE`]), which leaves little for the end, and the end is synced on a thread too; the loop asks
//! each turn whether it is done. A fault at any of these ends the snapshot, not the store.

use crate::journal;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::mpsc;

/// Bytes after which what was written is synced.
const STRIDE: u64 = 32 << 20;

/// See the module's description.
#[derive(Debug)]
pub(crate) struct SnapshotFile {
    /// Until the last byte is written.
    file: Option<io::BufWriter<File>>,
    size: u64,
    /// Bytes that a sync has been asked for.
    asked: u64,
    /// The sync under way.
    syncing: Option<mpsc::Receiver<io::Result<()>>>,
    fault: Option<io::Error>,
}

impl SnapshotFile {
    /// A new file with its first bytes.
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        let mut file = io::BufWriter::with_capacity(1 << 18, File::create(path)?);
        file.write_all(journal::SNAPSHOT)?;
        let size = journal::SNAPSHOT.len() as u64;
        Ok(Self { file: Some(file), size, asked: 0, syncing: None, fault: None })
    }

    /// Writes on; a fault is told by [`SnapshotFile::complete`].
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        let Some(file) = self.file.as_mut().filter(|_| self.fault.is_none()) else { return };
        self.fault = file.write_all(bytes).err();
        self.size += bytes.len() as u64;
        if self.size - self.asked < STRIDE || !self.is_idle() {
            return;
        }
        self.asked = self.size;
        let copy = self.file.as_ref().map(|file| file.get_ref().try_clone());
        match copy.transpose() {
            Ok(Some(file)) => self.begin(file),
            Ok(None) => {}
            Err(error) => self.fault = Some(error),
        }
    }

    /// Whether no sync is under way. A fault of one that has ended is kept.
    fn is_idle(&mut self) -> bool {
        let Some(syncing) = &self.syncing else { return true };
        match syncing.try_recv() {
            Err(mpsc::TryRecvError::Empty) => return false,
            Ok(result) => self.fault = self.fault.take().or(result.err()),
            Err(mpsc::TryRecvError::Disconnected) => self.fault = Some(io::Error::other("the sync has died")),
        }
        self.syncing = None;
        true
    }

    fn begin(&mut self, file: File) {
        let (sender, receiver) = mpsc::channel();
        let sync = move || drop(sender.send(file.sync_all()));
        match std::thread::Builder::new().name("store-snapshot".into()).spawn(sync) {
            Ok(_) => self.syncing = Some(receiver),
            Err(error) => self.fault = Some(error),
        }
    }

    /// Nothing more is written: whether all of it is on the disk, or has failed. To be asked again until it is.
    pub(crate) fn is_complete(&mut self) -> bool {
        if !self.is_idle() {
            return false;
        }
        let Some(file) = self.file.take() else { return true };
        if self.fault.is_some() {
            return true;
        }
        match file.into_inner() {
            Ok(file) => self.begin(file),
            Err(error) => self.fault = Some(error.into_error()),
        }
        self.is_idle()
    }

    /// Waits until all of it is on the disk; how long it is.
    pub(crate) fn complete(mut self) -> io::Result<u64> {
        while !self.is_complete() {
            if let Some(syncing) = self.syncing.take() {
                let result = syncing.recv().unwrap_or_else(|_| Err(io::Error::other("the sync has died")));
                self.fault = self.fault.take().or(result.err());
            }
        }
        self.fault.map_or(Ok(self.size), Err)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_there_when_it_is_complete() {
        let dir = tempfile::tempdir().unwrap();
        for chunks in [0, 1, 90] {
            let path = dir.path().join(chunks.to_string());
            let mut file = SnapshotFile::create(&path).unwrap();
            let chunk = vec![7; 1 << 20];
            (0..chunks).for_each(|_| file.write(&chunk));
            let size = file.complete().unwrap();
            assert_eq!(size, std::fs::metadata(&path).unwrap().len());
            assert_eq!(size, 8 + (chunks << 20));
        }
    }

    #[test]
    fn a_fault_is_told_at_the_end() {
        let mut file = SnapshotFile::create(Path::new("/dev/full")).unwrap();
        file.write(&[7; 1 << 20]);
        assert!(file.complete().is_err());
    }
}
