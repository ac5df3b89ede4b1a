//! The atomics that the algorithms are made of: the processor's, or loom's in this crate's own tests, where every
//! order of two processes' steps (up to a bound) and every value that a weak memory may show are tried.

#[cfg(not(all(test, not(miri))))]
pub(crate) use core::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
#[cfg(all(test, not(miri)))]
pub(crate) use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

/// A value alone on its cache line, so that who writes it does not slow down who reads its neighbour.
#[repr(C, align(64))]
#[derive(Debug, Default)]
pub(crate) struct Line<T>(pub(crate) T);
