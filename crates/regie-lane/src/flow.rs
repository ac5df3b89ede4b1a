//! A flow: bytes from one writer to one reader through a ring, counted and not moved.
//!
//! ```text
//!        read            written
//!  ────────┼────────────────┼─────────▶   positions only grow; position mod ring = place in the ring
//!          └─ to be read ───┘
//! ```
//!
//! The reader cannot trust the writer's count when it is the gateway: [`Flow::available`] checks it against its own
//! position, which it keeps in its own memory, and never reads `read` back from the shared one.

use crate::atomics::{AtomicU32, AtomicU64, Line, Ordering};

/// See the module. Each side's counter has a cache line to itself.
#[repr(C)]
#[derive(Debug, Default)]
pub struct Flow {
    writer: Line<Written>,
    reader: Line<AtomicU64>,
}

#[repr(C)]
#[derive(Debug, Default)]
struct Written {
    count: AtomicU64,
    end: AtomicU32,
}

/// How a flow ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// More is to come.
    Open,
    /// It is complete.
    Complete,
    /// Its source failed.
    Broken,
}

/// What the reader finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Available {
    /// Bytes to read.
    pub len: usize,
    /// What follows them.
    pub end: End,
}

/// A count that no writer of ours can have written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Corrupt;

impl Flow {
    /// Empty again; only while one side has both ends.
    pub(crate) fn reset(&self) {
        self.writer.0.count.store(0, Ordering::Relaxed);
        self.writer.0.end.store(0, Ordering::Relaxed);
        self.reader.0.store(0, Ordering::Relaxed);
    }

    /// Room for a writer at `written` in a ring of `ring` bytes. A reader's count beyond the writer's counts as none.
    ///
    /// Acquire: the bytes that stood there have been read.
    pub fn room(&self, written: u64, ring: usize) -> usize {
        let unread = written.wrapping_sub(self.reader.0.load(Ordering::Acquire));
        usize::try_from(unread).map_or(0, |unread| ring.saturating_sub(unread))
    }

    /// The writer is at `written` now. Release: the bytes before are in the ring.
    pub fn publish(&self, written: u64) {
        self.writer.0.count.store(written, Ordering::Release);
    }

    /// Nothing follows. Release: the count is final.
    pub fn end(&self, end: End) {
        let code = match end {
            End::Open => 0,
            End::Complete => 1,
            End::Broken => 2,
        };
        self.writer.0.end.store(code, Ordering::Release);
    }

    /// Nothing follows, if that was not said already; for who comes after the writer.
    pub fn break_off(&self) {
        if self.writer.0.end.load(Ordering::Relaxed) == 0 {
            self.end(End::Broken);
        }
    }

    /// What a reader at `read` finds in a ring of `ring` bytes.
    ///
    /// The end is loaded first: whoever sees it sees the final count. Acquire: the bytes are there.
    ///
    /// # Errors
    /// When the count is none that a writer of ours can have written.
    pub fn available(&self, read: u64, ring: usize) -> Result<Available, Corrupt> {
        let end = match self.writer.0.end.load(Ordering::Acquire) {
            0 => End::Open,
            1 => End::Complete,
            _ => End::Broken,
        };
        let unread = self.writer.0.count.load(Ordering::Acquire).wrapping_sub(read);
        match usize::try_from(unread) {
            Ok(len) if len <= ring => Ok(Available { len, end }),
            _ => Err(Corrupt),
        }
    }

    /// The reader is at `read` now. Release: it has copied the bytes before.
    pub fn consume(&self, read: u64) {
        self.reader.0.store(read, Ordering::Release);
    }
}
