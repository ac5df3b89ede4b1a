//! The sizes of a lane and where everything lies in its memory.
//!
//! ```text
//!   Header          magic, version, shape, sleepers, seats of workers and gateways, ends of the rings
//!   Slot × n        state words and flows' counters
//!   Entry × n       the rings, one for each gateway and priority
//!   (page)
//!   area × n        parameters │ request's body │ answer, for each slot, pages of their own
//! ```
//!
//! Memory that no request has touched costs nothing: the file has holes until then, and the gateway uses the slot that
//! was freed last.

use std::ops::Range;

use crate::queue::Entry;
use crate::slot::Slot;
use crate::wake::{SLOTS_MAX, WORKERS_MAX};

/// Gateways that may use a lane at one time: the one that serves, and those that drain after reloads.
pub const GATEWAYS: usize = 4;

/// Priorities, the first to be served first.
pub const PRIORITIES: usize = 3;

const PAGE: usize = 4096;

/// What the maker of a lane decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Requests that a gateway may have in the lane at one time: waiting or in work. At most [`SLOTS_MAX`].
    pub slots: u32,
    /// Bytes of parameters that a request may have.
    pub head: u32,
    /// Bytes of a request's body that lie in the lane at one time; a power of two.
    pub request: u32,
    /// Bytes of an answer that lie in the lane at one time; a power of two.
    pub response: u32,
}

impl Default for Shape {
    fn default() -> Self {
        Self { slots: 256, head: 32 * 1024, request: 128 * 1024, response: 128 * 1024 }
    }
}

/// Why a lane has no such shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadShape(pub &'static str);

impl std::fmt::Display for BadShape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "a lane cannot have this shape: {}", self.0)
    }
}

impl std::error::Error for BadShape {}

impl Shape {
    /// Looks at the limits.
    ///
    /// # Errors
    /// Names the first that is not kept.
    pub fn check(self) -> Result<Self, BadShape> {
        let area = PAGE as u32..=(4 << 20);
        match self {
            _ if self.slots == 0 || self.slots as usize > SLOTS_MAX => Err(BadShape("1 to 1024 slots")),
            _ if !area.contains(&self.head) || !(self.head as usize).is_multiple_of(PAGE) => {
                Err(BadShape("parameters take whole pages, 4 KiB to 4 MiB"))
            }
            _ if !area.contains(&self.request) || !self.request.is_power_of_two() => {
                Err(BadShape("a request's ring is a power of two, 4 KiB to 4 MiB"))
            }
            _ if !area.contains(&self.response) || !self.response.is_power_of_two() => {
                Err(BadShape("an answer's ring is a power of two, 4 KiB to 4 MiB"))
            }
            _ => Ok(self),
        }
    }

    /// Slots of all gateways.
    #[must_use]
    pub const fn all_slots(self) -> usize {
        self.slots as usize * GATEWAYS
    }

    /// Entries of a ring: room for each slot, and as much again for requests that were taken back.
    #[must_use]
    pub const fn ring(self) -> usize {
        (self.slots as usize * 2).next_power_of_two()
    }
}

/// Offsets of a lane's parts. A slot is counted through all gateways here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    pub(crate) shape: Shape,
    pub(crate) slots: usize,
    pub(crate) entries: usize,
    areas: usize,
    /// Bytes of the whole.
    pub(crate) size: usize,
}

impl Layout {
    /// The layout of a shape that was checked, behind a header of `header` bytes.
    pub(crate) const fn new(shape: Shape, header: usize) -> Self {
        let slots = header.next_multiple_of(64);
        let entries = slots + shape.all_slots() * size_of::<Slot>();
        let rings = entries + GATEWAYS * PRIORITIES * shape.ring() * size_of::<Entry>();
        let areas = rings.next_multiple_of(PAGE);
        let size = areas + shape.all_slots() * Self::area(shape);
        Self { shape, slots, entries, areas, size }
    }

    const fn area(shape: Shape) -> usize {
        shape.head as usize + shape.request as usize + shape.response as usize
    }

    /// Where the parameters of a slot lie.
    pub(crate) const fn head(&self, slot: usize) -> Range<usize> {
        let at = self.areas + slot * Self::area(self.shape);
        at..at + self.shape.head as usize
    }

    /// Where the ring of its request's body lies.
    pub(crate) const fn request(&self, slot: usize) -> Range<usize> {
        let at = self.head(slot).end;
        at..at + self.shape.request as usize
    }

    /// Where the ring of its answer lies.
    pub(crate) const fn response(&self, slot: usize) -> Range<usize> {
        let at = self.request(slot).end;
        at..at + self.shape.response as usize
    }
}

const _: () = assert!(WORKERS_MAX <= crate::word::SEAT_LIMIT as usize);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_follow_each_other_within_the_whole() {
        for slots in [1, 3, 256, 1024] {
            let shape = Shape { slots, ..Shape::default() }.check().unwrap();
            let layout = Layout::new(shape, 1000);
            assert!(layout.slots >= 1000 && layout.entries > layout.slots && layout.areas > layout.entries);
            let last = shape.all_slots() - 1;
            for slot in [0, last] {
                assert!(layout.head(slot).end == layout.request(slot).start);
                assert!(layout.request(slot).end == layout.response(slot).start);
            }
            assert_eq!(layout.response(last).end, layout.size);
            assert!(layout.head(0).start.is_multiple_of(PAGE));
        }
    }

    #[test]
    fn odd_shapes_are_refused() {
        let good = Shape::default();
        for bad in [
            Shape { slots: 0, ..good },
            Shape { slots: 1025, ..good },
            Shape { head: 5000, ..good },
            Shape { request: 12 * 1024, ..good },
            Shape { response: 8 << 20, ..good },
        ] {
            assert!(bad.check().is_err(), "{bad:?}");
        }
    }
}
