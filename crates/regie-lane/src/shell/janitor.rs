//! Finds what dead workers have left. The pool's master reaps its workers and knows at once; a gateway looks now and
//! then at the seats that its requests are taken by, for when the master died too.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::{fmt, io};

use super::files::Lane;
use super::sys;
use crate::shape::GATEWAYS;
use crate::word::{State, Word};

/// See the module.
pub struct Janitor<L = Arc<Lane>> {
    lane: L,
    /// A descriptor that holds no lock but while it buries, so that every lock is somebody else's.
    file: OwnedFd,
}

impl<L> fmt::Debug for Janitor<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Janitor").finish_non_exhaustive()
    }
}

impl<L: AsRef<Lane>> Janitor<L> {
    /// One who looks after `lane`.
    ///
    /// # Errors
    /// When the lane's file cannot be opened again.
    pub fn new(lane: L) -> io::Result<Self> {
        let file = sys::reopen(lane.as_ref().memory_file())?;
        Ok(Self { lane, file })
    }

    /// The process `pid` is known to be dead (its parent has waited for it). How many requests it had.
    pub fn bury(&self, pid: u32) -> usize {
        let lane = self.lane.as_ref();
        let seats = (0..).zip(&lane.header().workers);
        seats
            .filter(|(_, seat)| seat.pid.load(std::sync::atomic::Ordering::Relaxed) == pid)
            // Nobody may sit down meanwhile. A child of the dead one may still hold its lock: then nobody can.
            .map(|(seat, _)| {
                Lane::with_empty_seat(self.file.as_fd(), seat, || lane.bury(seat))
                    .unwrap_or_else(|| lane.bury(seat))
            })
            .sum()
    }

    /// Buries whoever is seated by its own word and not by the kernel's; `taken_only` looks only at those that have a
    /// request. How many were dead.
    pub fn look_around(&self, taken_only: bool) -> usize {
        let lane = self.lane.as_ref();
        let mut dead = 0;
        for (at, word) in (0u16..).zip(&lane.header().seated.0[..lane.header().sleepers.used()]) {
            let mut bits = word.load(std::sync::atomic::Ordering::Relaxed);
            while bits != 0 {
                let seat = at * 64 + u16::try_from(bits.trailing_zeros()).unwrap_or(0);
                bits &= bits - 1;
                if !taken_only || self.has_request(seat) {
                    let buried = Lane::with_empty_seat(self.file.as_fd(), seat, || lane.bury(seat));
                    dead += usize::from(buried.is_some());
                }
            }
        }
        dead
    }

    fn has_request(&self, seat: u16) -> bool {
        let memory = &self.lane.as_ref().memory;
        (0..GATEWAYS)
            .flat_map(|gateway| memory.slots(gateway))
            .any(|slot| matches!(slot.word(), Some(Word { state: State::Taken(by), .. }) if by.seat == seat))
    }
}
