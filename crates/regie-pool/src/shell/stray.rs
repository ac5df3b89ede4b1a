//! Requests whose caller has left while they waited for a worker.
//!
//! A caller who wants nothing but that something is begun hangs up at once: WordPress calls its own `wp-cron.php` and
//! gives it 10 ms. With every worker busy such a request has not been begun then, and would be lost. So it waits on for a
//! while ([`Call::outlives`](crate::Call::outlives)); when a worker has it, the worker is told that nobody listens, as
//! with any other caller who leaves. Strays keep their place in the queue and count there. They are bounded, so that
//! who calls and hangs up again and again does not fill the queue with what nobody waits for.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::clock::now;
use crate::queue::QueueLimits;

/// Strays at one time, whatever the queue's length.
const STRAYS_MAX: usize = 64;

/// The part of the queue that they may take.
const QUEUE_SHARE: usize = 4;

/// In the lane nobody is told that a worker has taken a request; it is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// The strays of a pool. Clones are the same ones.
#[derive(Debug, Clone)]
pub(super) struct Strays {
    count: Arc<AtomicUsize>,
    max: usize,
}

/// One of them, for as long as it waits.
#[derive(Debug)]
pub(super) struct Stray {
    count: Arc<AtomicUsize>,
}

impl Strays {
    pub(super) fn new(queue: QueueLimits) -> Self {
        Self { count: Arc::default(), max: (queue.len / QUEUE_SHARE).clamp(1, STRAYS_MAX) }
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Sees `waiting` to its end beside its caller, who has left; past the bound it is dropped.
    pub(super) fn adopt(&self, waiting: impl Future<Output = ()> + Send + 'static) {
        // Where the runtime itself ends, everything ends.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        if let Some(stray) = self.admit() {
            runtime.spawn(async move {
                waiting.await;
                drop(stray);
            });
        }
    }

    fn admit(&self) -> Option<Stray> {
        let room = |count| (count < self.max).then_some(count + 1);
        self.count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, room).ok()?;
        Some(Stray { count: self.count.clone() })
    }
}

impl Drop for Stray {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Looks until `is_taken`, for `span` at most.
pub(super) async fn until_taken(span: Duration, is_taken: impl Fn() -> bool) {
    let end = now() + span;
    while !is_taken() && now() < end {
        tokio::time::sleep_until(end.min(now() + LOOK_EVERY)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_bounded() {
        for (len, max) in [(0, 1), (3, 1), (8, 2), (1_024, 64), (1 << 20, 64)] {
            let strays = Strays::new(QueueLimits { len, ..QueueLimits::default() });
            let mut admitted: Vec<Stray> = std::iter::from_fn(|| strays.admit()).take(1_000).collect();
            assert_eq!((admitted.len(), strays.count()), (max, max), "a queue of {len}");
            admitted.pop();
            assert!(strays.admit().is_some(), "who has gone leaves a place");
        }
    }
}
