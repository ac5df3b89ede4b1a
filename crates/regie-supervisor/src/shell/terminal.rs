//! The merged output in the foreground, never waited for.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};

use super::settings::{Foreground, Paint};
use crate::control::LogLine;

/// What may wait for a terminal that is stopped or slow.
const MAX_WAITING: usize = 1 << 20;
/// A pipe or terminal that polls writable takes so much without blocking (`PIPE_BUF`).
const PIECE: usize = 4096;

/// A terminal, pipe or file that shows every line.
pub(crate) struct Terminal {
    file: File,
    paint: Paint,
    waiting: Vec<u8>,
    skipped: u64,
}

impl std::fmt::Debug for Terminal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Terminal").field("waiting", &self.waiting.len()).finish_non_exhaustive()
    }
}

impl Terminal {
    pub(crate) fn new(foreground: Foreground) -> Self {
        Self { file: File::from(foreground.fd), paint: foreground.paint, waiting: Vec::new(), skipped: 0 }
    }

    pub(crate) fn push(&mut self, line: &LogLine) {
        if self.waiting.len() > MAX_WAITING {
            self.skipped += 1;
            return;
        }
        if self.skipped > 0 {
            self.waiting.extend_from_slice(format!("… {} lines not shown\n", self.skipped).as_bytes());
            self.skipped = 0;
        }
        self.waiting.extend_from_slice((self.paint)(line).as_bytes());
        self.waiting.push(b'\n');
    }

    pub(crate) fn wants_write(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// To be called when it polls writable. False when nobody is there any more.
    pub(crate) fn write(&mut self) -> bool {
        let piece = self.waiting.len().min(PIECE);
        match self.file.write(&self.waiting[..piece]) {
            Ok(count) => {
                self.waiting.drain(..count);
                true
            }
            Err(error) if error.kind() == io::ErrorKind::StorageFull => {
                self.skipped += self.waiting.iter().filter(|b| **b == b'\n').count() as u64;
                self.waiting.clear();
                true
            }
            Err(error) => matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock),
        }
    }
}

impl AsFd for Terminal {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}
