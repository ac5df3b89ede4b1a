//! The lane's memory as this process sees it: checked views of its control words, and copies in and out.
//!
//! Control words are atomics and read as such. The bytes of heads and bodies are copied with raw pointers and never
//! lent out as references: another process may write them at the same time when it is out of its mind. By the
//! protocol nobody does, since positions are published with Release and read with Acquire; a damaged lane gives
//! damaged bytes, which are checked like any that come from outside, and nothing worse.

use std::fmt;
use std::io;
use std::ops::Range;
use std::os::fd::BorrowedFd;
use std::ptr::NonNull;

use super::sys;
use crate::header::Header;
use crate::queue::{Entry, Ring};
use crate::shape::{GATEWAYS, Layout, PRIORITIES, Shape};
use crate::slot::Slot;

/// See the module.
pub struct Memory {
    base: NonNull<u8>,
    layout: Layout,
    owned: Owned,
}

enum Owned {
    Mapping,
    Heap,
}

// SAFETY: the memory is reached through atomics and through copies whose places the protocol gives to one side at a
// time; the address is valid in every thread.
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").field("shape", &self.layout.shape).finish_non_exhaustive()
    }
}

const ALIGN: usize = 4096;

impl Memory {
    /// Bytes that a lane of this shape takes.
    pub(super) fn size(shape: Shape) -> usize {
        Layout::new(shape, size_of::<Header>()).size
    }

    /// Maps a new file, which is still all zeroes, and writes its header.
    pub(super) fn create(fd: BorrowedFd<'_>, shape: Shape) -> io::Result<Self> {
        let layout = Layout::new(shape, size_of::<Header>());
        let memory = Self { base: sys::map(fd, layout.size)?, layout, owned: Owned::Mapping };
        memory.header().write(shape);
        Ok(memory)
    }

    /// Maps a lane that somebody else has made, after a look at its header.
    pub(super) fn open(fd: BorrowedFd<'_>) -> io::Result<Self> {
        let invalid = |why: String| io::Error::new(io::ErrorKind::InvalidData, why);
        let size = sys::sealed_size(fd)?;
        if size < size_of::<Header>() {
            return Err(invalid("the lane's file is too short".into()));
        }
        let base = sys::map(fd, size)?;
        // SAFETY: the mapping is at least as long as a header, aligned to a page, and lives until the end of this
        // function at least; the header is made of atomics, for which any bits are a value.
        let shape = unsafe { base.cast::<Header>().as_ref() }.check();
        let layout = shape.as_ref().ok().map(|shape| Layout::new(*shape, size_of::<Header>()));
        match (shape, layout) {
            (Ok(_), Some(layout)) if layout.size == size => Ok(Self { base, layout, owned: Owned::Mapping }),
            (shape, _) => {
                // SAFETY: just mapped, and the header's view is gone.
                unsafe { sys::unmap(base, size) };
                Err(invalid(shape.err().unwrap_or_else(|| format!("the lane's file has {size} bytes"))))
            }
        }
    }

    /// A lane on the heap of this process, for threads of one process (and for Miri, which maps no files).
    ///
    /// # Errors
    /// When the shape is none.
    ///
    /// # Panics
    /// When memory is short.
    pub fn private(shape: Shape) -> Result<Self, crate::BadShape> {
        let layout = Layout::new(shape.check()?, size_of::<Header>());
        let wanted = std::alloc::Layout::from_size_align(layout.size, ALIGN).expect("the shape has limits");
        // SAFETY: the size is not zero.
        let base = NonNull::new(unsafe { std::alloc::alloc_zeroed(wanted) }).expect("there is memory");
        let memory = Self { base, layout, owned: Owned::Heap };
        memory.header().write(layout.shape);
        Ok(memory)
    }

    /// The lane's shape.
    #[must_use]
    pub const fn shape(&self) -> Shape {
        self.layout.shape
    }

    /// Where things lie.
    pub(crate) const fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The header.
    #[must_use]
    pub fn header(&self) -> &Header {
        // SAFETY: mapped for as long as `self` lives, aligned to a page, all atomics.
        unsafe { self.base.cast::<Header>().as_ref() }
    }

    /// The slots of `gateway`.
    ///
    /// # Panics
    /// When there is no such gateway.
    #[must_use]
    pub fn slots(&self, gateway: usize) -> &[Slot] {
        assert!(gateway < GATEWAYS, "gateway {gateway}");
        let count = self.layout.shape.slots as usize;
        let at = self.layout.slots + gateway * count * size_of::<Slot>();
        // SAFETY: inside the mapping by the layout, aligned as the layout starts at a multiple of 64 and a slot's
        // size is one; slots are all atomics.
        unsafe { std::slice::from_raw_parts(self.base.add(at).cast::<Slot>().as_ptr(), count) }
    }

    /// The queue of `gateway` and `priority`.
    ///
    /// # Panics
    /// When there is no such queue.
    #[must_use]
    pub fn ring(&self, gateway: usize, priority: usize) -> Ring<'_> {
        assert!(gateway < GATEWAYS && priority < PRIORITIES, "queue {gateway}, {priority}");
        let count = self.layout.shape.ring();
        let at = self.layout.entries + (gateway * PRIORITIES + priority) * count * size_of::<Entry>();
        // SAFETY: inside the mapping by the layout, aligned as a slot's size is a multiple of an entry's alignment;
        // entries are all atomics.
        let entries =
            unsafe { std::slice::from_raw_parts(self.base.add(at).cast::<Entry>().as_ptr(), count) };
        Ring { ends: &self.header().gateways[gateway].rings[priority], entries, slots: self.slots(gateway) }
    }

    /// Copies `bytes` to the beginning of `area`.
    ///
    /// # Panics
    /// When they do not fit, or the area is none of this lane.
    pub(crate) fn copy_in(&self, area: &Range<usize>, at: usize, bytes: &[u8]) {
        self.must_hold(area, at, bytes.len());
        // SAFETY: inside the mapping, as was just checked; by the protocol the place is ours to write, and no
        // reference to it exists anywhere.
        unsafe {
            self.base.add(area.start + at).as_ptr().copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
        };
    }

    /// Copies from `area` into `bytes`.
    ///
    /// # Panics
    /// When there is less, or the area is none of this lane.
    pub(crate) fn copy_out(&self, area: &Range<usize>, at: usize, bytes: &mut [u8]) {
        self.must_hold(area, at, bytes.len());
        // SAFETY: inside the mapping, as was just checked; `bytes` is private to this process and cannot overlap.
        unsafe {
            bytes.as_mut_ptr().copy_from_nonoverlapping(self.base.add(area.start + at).as_ptr(), bytes.len());
        };
    }

    /// Copies `len` bytes of `area` to the end of `out`, whose spare room need not be zeroed first.
    #[cfg(feature = "gateway")]
    pub(crate) fn append(&self, area: &Range<usize>, at: usize, len: usize, out: &mut bytes::BytesMut) {
        self.must_hold(area, at, len);
        out.reserve(len);
        let spare = &mut out.spare_capacity_mut()[..len];
        // SAFETY: inside the mapping, as was just checked; the spare room is private to this process, and is all
        // written before the length grows over it.
        unsafe {
            spare
                .as_mut_ptr()
                .cast::<u8>()
                .copy_from_nonoverlapping(self.base.add(area.start + at).as_ptr(), len);
            out.set_len(out.len() + len);
        }
    }

    fn must_hold(&self, area: &Range<usize>, at: usize, len: usize) {
        let fits = at.checked_add(len).is_some_and(|end| end <= area.len());
        assert!(fits && area.end <= self.layout.size, "{len} bytes at {at} of {area:?}");
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        match self.owned {
            // SAFETY: our own mapping, and nobody can have a view of it any more.
            Owned::Mapping => unsafe { sys::unmap(self.base, self.layout.size) },
            Owned::Heap => {
                let made =
                    std::alloc::Layout::from_size_align(self.layout.size, ALIGN).expect("as it was made");
                // SAFETY: allocated with this layout.
                unsafe { std::alloc::dealloc(self.base.as_ptr(), made) };
            }
        }
    }
}

/// Splits `len` bytes at position `at` of a ring into the part before its end and the part from its beginning.
#[expect(clippy::cast_possible_truncation, reason = "cut to the ring's size")]
pub(crate) const fn split(ring: usize, at: u64, len: usize) -> (usize, usize, usize) {
    let start = (at % ring as u64) as usize;
    let first = if len < ring - start { len } else { ring - start };
    (start, first, len - first)
}
