//! What master and workers share. Made before the fork, never changed after it.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::atomic::Ordering::Relaxed;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::write;
use regie_lane::Lane;
use regie_php_sys::Text;

use super::log::{self, Level};
use crate::crew::Demand;
use crate::options::Options;
use crate::scoreboard::{Board, Slot};

/// See the module.
#[derive(Debug)]
pub(crate) struct Pool {
    pub(crate) options: Options,
    pub(crate) board: &'static Board,
    pub(crate) slots: &'static [Slot],
    /// Workers at most; there are spare slots beyond.
    pub(crate) workers: usize,
    /// Waited on by the workers.
    pub(crate) listener: i32,
    pub(crate) is_tcp: bool,
    /// Whether the number of workers follows the load.
    pub(crate) is_dynamic: bool,
    /// Where requests of our own gateway come from.
    pub(crate) lane: Option<&'static Lane>,
    pub(crate) worker_script: Text,
    /// Whether somebody may ask for the status.
    pub(crate) is_watched: bool,
    pub(crate) started_us: u64,
    /// Wall-clock limit of a request that brings none along; 0 for none.
    pub(crate) request_us: u64,
    /// After how long a request is slow; 0 for never.
    pub(crate) slow_us: u64,
    /// Wakes the master.
    pub(crate) bell: OwnedFd,
    /// Why it is in classic mode, where rewind mode was wanted.
    pub(crate) classic_because: Option<String>,
}

// SAFETY: the texts that it points to live as long as the process, and nobody writes them.
unsafe impl Sync for Pool {}

impl Pool {
    /// Requests that no worker has taken: those in the lane, and one for whoever stands at the door.
    pub(crate) fn waiting(&self) -> usize {
        let in_lane = self.lane.map_or(0, Lane::waiting);
        // SAFETY: the listener stays open for the life of the process.
        let listener = unsafe { BorrowedFd::borrow_raw(self.listener) };
        let knocks = poll(&mut [PollFd::new(listener, PollFlags::POLLIN)], PollTimeout::ZERO);
        let waiting = in_lane + usize::from(knocks == Ok(1));
        self.board.max_waiting.fetch_max(waiting as u64, Relaxed);
        waiting
    }

    /// What is asked of the pool.
    pub(crate) fn demand(&self) -> Demand {
        Demand { waiting: self.waiting(), wished: self.lane.and_then(Lane::wished) }
    }

    /// Makes the master look at the scoreboard. A full pipe means that it will anyway.
    pub(crate) fn tell_master(&self) {
        let _ = write(&self.bell, b"!");
    }

    /// Asks for a new generation of the pool.
    pub(crate) fn want_generation(&self, why: &[u8]) {
        log::worker(Level::Notice, why);
        self.board.generation_wanted.fetch_add(1, Relaxed);
        self.tell_master();
    }
}
