//! How many workers the group has, and is to have.
//!
//! A group that may have no workers leases nothing while it has none, so nobody keeps jobs that nobody will run. A job that
//! waits brings the first one (a wish to the pool); then what the application says to its workers is asked for, as it may have
//! said that they shall wait, and only then leases begin.

use std::time::Instant;

use super::{Group, LOOK};
use crate::scale::Backlog;

/// How far a group is that may have no workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Awake {
    /// It works, or waits for work.
    Yes,
    /// It has no workers, or has not heard the application since.
    No,
    /// A worker has come, and the application is being asked.
    Listening,
}

impl Group {
    /// Looks at the workers that there are, once a second and while one is to come.
    pub(super) fn count_workers(&mut self, at: Instant) {
        self.workers = self.executor.workers();
        if self.settings.workers_min == 0 && self.workers == 0 && self.desk.handed() == 0 {
            self.awake = Awake::No;
        }
        self.next_count = at + LOOK;
        self.wish(at);
        if self.awake == Awake::No && self.workers > 0 {
            self.awake = Awake::Listening;
            self.executor.listen();
        }
    }

    /// What the application says to its workers is known.
    pub(super) fn heard(&mut self) {
        if self.executor.workers() > 0 {
            self.awake = Awake::Yes;
        }
    }

    pub(super) fn is_asleep(&self) -> bool {
        self.awake != Awake::Yes
    }

    /// Whether there is something to do for a worker, or would be if the application did not hold it back.
    fn has_work(&self) -> bool {
        let mut queues = self.queues.iter().filter(|queue| !queue.paused);
        self.desk.ready() > 0 || queues.any(|queue| queue.maybe || queue.sizes.waiting > 0)
    }

    /// Whether a worker is to come.
    pub(super) fn wakes(&self) -> bool {
        self.is_asleep() && self.stop_at.is_none() && self.has_work()
    }

    fn wish(&mut self, at: Instant) {
        let is_held = self.queues.iter().any(|queue| queue.held) && self.settings.workers_min == 0;
        let backlog = self.backlog(at);
        // Who has no worker does not hear that it may go on.
        let needs_one = self.stop_at.is_none() && (self.wakes() || is_held && self.has_work());
        let predicted = self.scaler.as_mut().map(|scaler| scaler.look(at, &backlog));
        self.executor.wish(if needs_one { predicted.max(Some(1)) } else { predicted });
    }

    fn backlog(&self, at: Instant) -> Backlog {
        let open = self.queues.iter().filter(|queue| queue.may_lease());
        let waiting = open.map(|queue| queue.sizes.waiting).sum::<u64>() + self.desk.ready() as u64;
        let ages =
            || self.desk.iter().filter_map(|(_, lease)| Some(at.saturating_duration_since(lease.handed?)));
        let running = self.desk.handed();
        let age = (running > 0).then(|| ages().sum::<std::time::Duration>() / running as u32);
        Backlog { waiting, running, each: self.pace.mean().max(age), workers: self.workers }
    }
}
