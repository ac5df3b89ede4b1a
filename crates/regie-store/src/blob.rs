//! A short immutable string.
//!
//! Keys, members and fields are mostly shorter than 22 bytes: those lie inside the 24 bytes of the value itself, so a
//! look-up touches one cache line less and the allocator is not asked. Longer ones are shared, so that a sorted set's
//! two indexes hold one copy of a member.

use std::fmt;
use std::sync::Arc;

/// Longest string kept inline.
const INLINE: usize = 22;

/// An immutable string of bytes in 24 bytes.
#[derive(Clone)]
pub(crate) struct Blob(Repr);

#[derive(Clone)]
enum Repr {
    Inline { length: u8, bytes: [u8; INLINE] },
    Shared(Arc<[u8]>),
}

impl Blob {
    pub(crate) fn as_slice(&self) -> &[u8] {
        match &self.0 {
            Repr::Inline { length, bytes } => &bytes[..usize::from(*length)],
            Repr::Shared(bytes) => bytes,
        }
    }

    /// Bytes that this string holds outside of itself.
    pub(crate) fn memory(&self) -> usize {
        match &self.0 {
            Repr::Inline { .. } => 0,
            Repr::Shared(bytes) => allocation(bytes.len() + 16),
        }
    }
}

impl From<&[u8]> for Blob {
    fn from(text: &[u8]) -> Self {
        if text.len() <= INLINE {
            let mut bytes = [0; INLINE];
            bytes[..text.len()].copy_from_slice(text);
            Self(Repr::Inline { length: text.len() as u8, bytes })
        } else {
            Self(Repr::Shared(Arc::from(text)))
        }
    }
}

impl std::ops::Deref for Blob {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        self.as_slice()
    }
}

impl PartialEq for Blob {
    fn eq(&self, other: &Self) -> bool {
        self.as_slice() == other.as_slice()
    }
}

impl Eq for Blob {}

impl PartialOrd for Blob {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Blob {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.as_slice().cmp(other.as_slice())
    }
}

impl std::hash::Hash for Blob {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.as_slice().hash(state);
    }
}

impl std::borrow::Borrow<[u8]> for Blob {
    fn borrow(&self) -> &[u8] {
        self.as_slice()
    }
}

impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(self))
    }
}

/// What an allocation of `size` bytes costs: the allocator rounds up to 16 bytes and keeps a word of its own. Memory
/// accounting uses this one rule everywhere.
pub(crate) fn allocation(size: usize) -> usize {
    if size == 0 { 0 } else { ((size + 8 + 15) & !15).max(32) }
}
