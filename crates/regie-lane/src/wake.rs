//! Who sleeps and who is to be woken. Nobody is woken who is awake, and nobody sleeps through what came before.
//!
//! Both directions are one pattern: the sleeper says that it will sleep, then looks once more; the waker first leaves
//! the work, then looks for sleepers. A sequentially consistent fence stands between the two steps on either side, so
//! of the two looks at least one sees the other's step:
//!
//! ```text
//!  worker, idle                         │ gateway, submits
//!  1 my bit in `asleep` is set          │ 1 the request is in the ring
//!  2 fence                              │ 2 fence
//!  3 is there a request? then get up    │ 3 does anybody sleep? then ring the workers' bell
//!  4 sleep until the bell               │
//!
//!  gateway, nothing to do               │ worker, answers
//!  1 `dozing` = 1                       │ 1 the answer is in the slot, its bit in `ready`
//!  2 fence                              │ 2 fence
//!  3 is a bit set? then get up          │ 3 `dozing`? 1 → 0, and ring the gateway's bell
//!  4 sleep until the bell               │
//! ```
//!
//! Who dies between 1 and 3 leaves the other asleep: whoever buries a worker therefore rings both bells once.

use crate::atomics::{AtomicU32, AtomicU64, Line, Ordering, fence};

/// Workers that a lane has seats for: those of two generations of the largest pool (1024), which are there side by side
/// in a reload.
pub const WORKERS_MAX: usize = 2048;
/// Slots that a gateway may have.
pub const SLOTS_MAX: usize = 1024;

/// The workers that sleep, a bit each. Only the worker itself and who buries it change a bit: the kernel knows which
/// of them the bell wakes.
#[repr(C, align(64))]
#[derive(Debug, Default)]
pub struct Sleepers {
    /// One more than the highest seat that was ever taken; beyond it nobody looks.
    seats: AtomicU32,
    words: [AtomicU64; WORKERS_MAX / 64],
}

impl Sleepers {
    /// Somebody sits on `seat`. Before the first [`Self::lie_down`] there, whose fence makes it seen with the bit.
    pub fn open(&self, seat: u16) {
        self.seats.fetch_max(u32::from(seat) + 1, Ordering::Relaxed);
    }

    /// Words of seats that were ever taken.
    pub(crate) fn used(&self) -> usize {
        (self.seats.load(Ordering::Relaxed) as usize).div_ceil(64).min(self.words.len())
    }

    /// The worker on `seat` will sleep; it looks for work once more after this.
    pub fn lie_down(&self, seat: u16) {
        self.word(seat).fetch_or(1 << (seat % 64), Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// It is awake, or dead.
    pub fn get_up(&self, seat: u16) {
        self.word(seat).fetch_and(!(1 << (seat % 64)), Ordering::Relaxed);
    }

    /// After leaving work: how many sleep.
    pub fn after_work(&self) -> u32 {
        fence(Ordering::SeqCst);
        self.words[..self.used()].iter().map(|word| word.load(Ordering::Relaxed).count_ones()).sum()
    }

    fn word(&self, seat: u16) -> &AtomicU64 {
        &self.words[usize::from(seat) / 64 % self.words.len()]
    }
}

/// What a gateway is to look at, and whether it sleeps.
#[repr(C)]
#[derive(Debug, Default)]
pub struct Desk {
    dozing: Line<AtomicU32>,
    ready: Line<[AtomicU64; SLOTS_MAX / 64]>,
}

impl Desk {
    /// The gateway is to look at `slot`. True when it sleeps and its bell must be rung.
    pub fn announce(&self, slot: u16) -> bool {
        let word = &self.ready.0[usize::from(slot) / 64 % (SLOTS_MAX / 64)];
        // Release: who sees the bit sees the answer.
        word.fetch_or(1 << (slot % 64), Ordering::Release);
        fence(Ordering::SeqCst);
        self.dozing.0.load(Ordering::Relaxed) == 1 && self.dozing.0.swap(0, Ordering::AcqRel) == 1
    }

    /// Calls `look` for each announced slot below `slots`; how many there were.
    pub fn drain(&self, slots: usize, mut look: impl FnMut(u16)) -> usize {
        let mut seen = 0;
        for (at, word) in self.ready.0.iter().enumerate().take(slots.div_ceil(64)) {
            if word.load(Ordering::Relaxed) == 0 {
                continue;
            }
            let mut bits = word.swap(0, Ordering::Acquire);
            while bits != 0 {
                let slot = at * 64 + bits.trailing_zeros() as usize;
                bits &= bits - 1;
                if slot < slots {
                    seen += 1;
                    look(u16::try_from(slot).unwrap_or(u16::MAX));
                }
            }
        }
        seen
    }

    /// The gateway will sleep. False: something was announced meanwhile, and it must not.
    pub fn doze(&self, slots: usize) -> bool {
        self.dozing.0.store(1, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        let quiet =
            self.ready.0.iter().take(slots.div_ceil(64)).all(|word| word.load(Ordering::Relaxed) == 0);
        if !quiet {
            self.awake();
        }
        quiet
    }

    /// The gateway is awake.
    pub fn awake(&self) {
        self.dozing.0.store(0, Ordering::Relaxed);
    }
}
