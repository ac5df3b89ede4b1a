//! What a runner knows of a queue, and of a connection to queues.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Queue;
use crate::backoff::Backoff;
use crate::message::{Options, Template};
use crate::record::Meter;
use crate::shell::driver::{Driver, Sizes};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Marks {
    /// Leases of ours may lie there that we do not know.
    Unread,
    Asked,
    Read,
}

pub(super) struct QueueState {
    /// Connection and queue.
    pub(super) name: String,
    /// Begins what its leases are called at the pool.
    pub(super) lease_prefix: String,
    pub(super) template: Template,
    /// It may have work: nobody has found it empty since.
    pub(super) maybe: bool,
    /// Work was announced while a lease step was under way, which may have been too early for it.
    pub(super) again: bool,
    pub(super) settling: bool,
    pub(super) ticking: bool,
    pub(super) marks: Marks,
    /// By the operator.
    pub(super) paused: bool,
    /// By the application: it is paused there, or in maintenance mode.
    pub(super) held: bool,
    pub(super) sizes: Sizes,
    pub(super) meter: Meter,
    pub(super) running: usize,
    pub(super) backoff: Backoff,
    /// Its server is left alone until then.
    pub(super) rest_until: Option<Instant>,
    pub(super) trouble: Option<String>,
}

impl QueueState {
    pub(super) fn new(queue: &Queue, options: &Options) -> Self {
        let Queue { connection, name, .. } = queue;
        Self {
            name: format!("{connection}:{name}"),
            lease_prefix: format!("{connection}/{name}/"),
            template: Template::new(connection, name, options),
            maybe: true,
            again: false,
            settling: false,
            ticking: false,
            marks: Marks::Unread,
            paused: queue.paused,
            held: false,
            sizes: Sizes::default(),
            meter: Meter::default(),
            running: 0,
            backoff: Backoff::new(Duration::from_millis(20), Duration::from_secs(2)),
            rest_until: None,
            trouble: None,
        }
    }

    pub(super) fn rests(&self, at: Instant) -> bool {
        self.rest_until.is_some_and(|until| until > at)
    }

    pub(super) const fn is_paused(&self) -> bool {
        self.paused || self.held
    }

    pub(super) const fn may_lease(&self) -> bool {
        !self.is_paused() && matches!(self.marks, Marks::Read)
    }
}

/// Queues that share a driver are waited on together.
pub(super) struct Connection {
    pub(super) driver: Arc<dyn Driver>,
    pub(super) queues: Vec<usize>,
    pub(super) waiting: bool,
    pub(super) rest_until: Option<Instant>,
    pub(super) backoff: Backoff,
    pub(super) beat: Option<(Duration, Instant)>,
}
