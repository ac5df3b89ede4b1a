//! Memory of our own in a worker: mapped once, shared (so that it is none of the memory that PHP's state lives in), and
//! lazily filled by the kernel, so that buffers cost what was used of them. A worker keeps nothing of its own on the
//! heap between requests.

use std::num::NonZeroUsize;
use std::ptr::NonNull;

use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous};

/// A shared mapping of zeroes for the rest of the process's life, and of those that are forked from it.
fn map(size: usize) -> nix::Result<NonNull<u8>> {
    let size = NonZeroUsize::new(size).ok_or(nix::errno::Errno::EINVAL)?;
    let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    let flags = MapFlags::MAP_SHARED | MapFlags::MAP_ANONYMOUS | MapFlags::MAP_NORESERVE;
    // SAFETY: a new mapping at an address of the kernel's choice touches nothing that exists.
    unsafe { mmap_anonymous(None, size, protection, flags) }.map(NonNull::cast)
}

/// Cuts pieces off a mapping.
#[derive(Debug)]
pub(crate) struct Area {
    at: NonNull<u8>,
    left: usize,
}

impl Area {
    /// A mapping from which `size` bytes can be cut.
    pub(crate) fn new(size: usize) -> nix::Result<Self> {
        Ok(Self { at: map(size)?, left: size })
    }

    /// Zeroed bytes.
    pub(crate) fn bytes(&mut self, len: usize) -> &'static mut [u8] {
        let start = self.cut(len, 1);
        // SAFETY: the piece is mapped for the life of the process, zeroed, and cut for this caller alone.
        unsafe { std::slice::from_raw_parts_mut(start.as_ptr(), len) }
    }

    /// `len` copies of `value`.
    pub(crate) fn array<T: Copy>(&mut self, len: usize, value: T) -> &'static mut [T] {
        let start = self.cut(len * size_of::<T>(), align_of::<T>()).cast::<T>();
        for index in 0..len {
            // SAFETY: the piece has room for `len` values at their alignment, and nobody else has it.
            unsafe { start.add(index).write(value) };
        }
        // SAFETY: as above, and every value has been written.
        unsafe { std::slice::from_raw_parts_mut(start.as_ptr(), len) }
    }

    /// Moves `value` there.
    pub(crate) fn place<T>(&mut self, value: T) -> &'static mut T {
        let start = self.cut(size_of::<T>(), align_of::<T>()).cast::<T>();
        // SAFETY: the piece has room for the value at its alignment, nobody else has it, and it stays mapped.
        unsafe {
            start.write(value);
            &mut *start.as_ptr()
        }
    }

    /// Zeroed values of a type for which zeroes are a value.
    ///
    /// # Safety
    /// All-zero bytes are a valid `T`.
    pub(crate) unsafe fn zeroed<T>(&mut self, len: usize) -> &'static [T] {
        let start = self.cut(len * size_of::<T>(), align_of::<T>()).cast::<T>();
        // SAFETY: mapped for the life of the process, aligned, zeroed; the caller answers for the zeroes.
        unsafe { std::slice::from_raw_parts(start.as_ptr(), len) }
    }

    fn cut(&mut self, len: usize, align: usize) -> NonNull<u8> {
        let skip = self.at.align_offset(align);
        assert!(skip + len <= self.left, "the area was made too small for its pieces");
        self.left -= skip + len;
        // SAFETY: within the mapping, as just asserted.
        unsafe {
            let start = self.at.add(skip);
            self.at = start.add(len);
            start
        }
    }
}
