//! The queue: requests of one gateway and one priority in the order in which they came.
//!
//! A ring with one writer (the gateway whose seat it is) and many takers. **An entry is a hint, the slot's state word
//! is the truth**: a request is taken by its word alone, and the head of the ring moves past entries whose slot is no
//! longer QUEUED with that turn, whoever notices first. Nothing is in two places that must agree, so a worker may be
//! killed between any two instructions:
//!
//! ```text
//!  worker A                                    │ worker B
//!  1 h = head; entry = ring[h]                 │
//!  2 is head still h?                          │      (else the entry may be a later one: again)
//!  3 word QUEUED(turn) → TAKEN(A)   ✝          │
//!                                              │ 1 h = head; entry = ring[h]     the same entry
//!                                              │ 3 word is TAKEN(A): not mine
//!  4 head h → h+1                              │ 4 head h → h+1                  B helps; A's own try fails later
//!                                              │ 1 the next entry …
//! ```
//!
//! A killed before 3 leaves the request QUEUED at the head, and B takes it. A killed after 3 leaves it TAKEN by A, and
//! whoever buries A answers it; the entry is passed by B. No step waits for another process.
//!
//! First come, first served: only the entry at the head is taken (2 rules out one that was read late), and the head
//! passes an entry only when its request is not queued any more.

use crate::atomics::{AtomicU64, Line, Ordering};
use crate::slot::Slot;
use crate::word::Holder;

/// Where a ring begins and ends.
#[repr(C)]
#[derive(Debug, Default)]
pub struct Ends {
    head: Line<AtomicU64>,
    tail: Line<AtomicU64>,
}

/// A place in a ring.
#[repr(C)]
#[derive(Debug, Default)]
pub struct Entry {
    /// Turn above, slot below.
    what: AtomicU64,
    /// When it came, beside those of other gateways.
    ticket: AtomicU64,
}

/// A view of one ring and of the slots that its entries mean.
#[derive(Debug, Clone, Copy)]
pub struct Ring<'a> {
    pub(crate) ends: &'a Ends,
    /// A power of two of them.
    pub(crate) entries: &'a [Entry],
    /// The slots of the ring's gateway.
    pub(crate) slots: &'a [Slot],
}

/// Why a request is not queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotQueued {
    /// No place is free.
    Full,
    /// The ring's counters are none that our processes can have written.
    Corrupt,
}

impl Ring<'_> {
    /// The gateway puts `slot` at the end. Its word must be QUEUED with `turn` already, so that who meets an entry
    /// whose word is something else knows that it is past.
    ///
    /// # Errors
    /// When there is no place, or the counters make no sense.
    pub fn push(&self, slot: u16, turn: u32, ticket: u64) -> Result<(), NotQueued> {
        let tail = self.ends.tail.0.load(Ordering::Relaxed);
        loop {
            // Acquire: whoever moved the head has read the entry that is about to be overwritten.
            let head = self.ends.head.0.load(Ordering::Acquire);
            let used = tail.wrapping_sub(head);
            if used < self.entries.len() as u64 {
                break;
            }
            if used > self.entries.len() as u64 {
                return Err(NotQueued::Corrupt);
            }
            // Requests that were taken back may fill the ring while no worker looks.
            if self.is_queued(self.entry(head)) {
                return Err(NotQueued::Full);
            }
            self.pass(head);
        }
        let entry = self.entry(tail);
        entry.ticket.store(ticket, Ordering::Relaxed);
        // Release: who reads this entry too late sees that the head has moved (step 2).
        entry.what.store(u64::from(turn) << 32 | u64::from(slot), Ordering::Release);
        // Release: who sees the tail sees the entry, the word and all that the slot holds.
        self.ends.tail.0.store(tail.wrapping_add(1), Ordering::Release);
        Ok(())
    }

    /// The ticket of the first entry, past ones included; none when the ring is empty.
    pub fn peek(&self) -> Option<u64> {
        let head = self.first()?;
        Some(self.entry(head).ticket.load(Ordering::Relaxed))
    }

    /// How many entries were passed since the beginning, and how many there are.
    pub fn position(&self) -> (u64, usize) {
        self.look()
    }

    /// Whether there is no entry, not even a past one.
    pub fn is_empty(&self) -> bool {
        self.peek().is_none()
    }

    /// The first request becomes `by`'s: its slot and turn.
    pub fn take(&self, by: Holder) -> Option<(u16, u32)> {
        loop {
            let head = self.first()?;
            // Acquire: pairs with the entry's store, see there.
            let what = self.entry(head).what.load(Ordering::Acquire);
            if self.ends.head.0.load(Ordering::Relaxed) != head {
                continue;
            }
            let (slot, turn) = split(what);
            let taken = self.slots.get(usize::from(slot)).is_some_and(|s| s.take(turn, by));
            self.pass(head);
            if taken {
                return Some((slot, turn));
            }
        }
    }

    /// The position of the first entry.
    fn first(&self) -> Option<u64> {
        let (head, used) = self.look();
        (used > 0).then_some(head)
    }

    /// Where the head is, and how many entries there are. More than there is room for means that the head has moved
    /// between the two loads; if it has not, the queue is damaged and counts as empty.
    fn look(&self) -> (u64, usize) {
        let mut head = self.ends.head.0.load(Ordering::Acquire);
        loop {
            let used = self.ends.tail.0.load(Ordering::Acquire).wrapping_sub(head);
            match usize::try_from(used) {
                Ok(used) if used <= self.entries.len() => return (head, used),
                _ => {}
            }
            // The tail that was seen was stored after the head had moved, and Acquire shows that, too.
            let again = self.ends.head.0.load(Ordering::Acquire);
            if again == head {
                return (head, 0);
            }
            head = again;
        }
    }

    fn is_queued(&self, entry: &Entry) -> bool {
        let (slot, turn) = split(entry.what.load(Ordering::Acquire));
        let queued = crate::word::Word::new(turn, crate::word::State::Queued);
        self.slots.get(usize::from(slot)).is_some_and(|s| s.word() == Some(queued))
    }

    /// Release: what this process has read of the entry, it has read.
    fn pass(&self, head: u64) {
        let next = head.wrapping_add(1);
        // Failing means that somebody else has passed it.
        let _ = self.ends.head.0.compare_exchange(head, next, Ordering::AcqRel, Ordering::Relaxed);
    }

    #[expect(clippy::cast_possible_truncation, reason = "cut to the ring's size, a power of two")]
    fn entry(&self, position: u64) -> &Entry {
        &self.entries[position as usize & (self.entries.len() - 1)]
    }
}

#[expect(clippy::cast_possible_truncation, reason = "fields are cut out of the word")]
const fn split(what: u64) -> (u16, u32) {
    (what as u16, (what >> 32) as u32)
}
