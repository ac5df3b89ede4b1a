//! What master and workers share. Made before the fork, never changed after it.

use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering::Relaxed;

use nix::unistd::write;
use regie_lane::Lane;
use regie_php_sys::Text;

use super::log::{self, Level};
use crate::options::Options;
use crate::scoreboard::{Board, Slot};

/// See the module.
#[derive(Debug)]
pub(crate) struct Pool {
    pub(crate) options: Options,
    pub(crate) board: &'static Board,
    pub(crate) slots: &'static [Slot],
    /// Workers; there are spare slots beyond.
    pub(crate) workers: usize,
    /// Waited on by the workers.
    pub(crate) listener: i32,
    pub(crate) is_tcp: bool,
    /// Where requests of our own gateway come from.
    pub(crate) lane: Option<&'static Lane>,
    pub(crate) worker_script: Text,
    pub(crate) master_pid: u32,
    /// Whether somebody may ask for the status.
    pub(crate) is_watched: bool,
    pub(crate) started_us: u64,
    /// Wall-clock limit of a request that brings none along; 0 for none.
    pub(crate) request_us: u64,
    /// Wakes the master.
    pub(crate) bell: OwnedFd,
}

// SAFETY: the texts that it points to live as long as the process, and nobody writes them.
unsafe impl Sync for Pool {}

impl Pool {
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
