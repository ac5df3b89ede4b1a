//! What a queue's server can do for the runner. One driver for each layout; each speaks to its server by the steps of
//! the framework itself, so that the framework's own workers can run beside it.
//!
//! Every step that changes something acts only if the lease is still there, so it may be asked again when the answer
//! to it was lost. Queues are named as the application names them; prefixes are the driver's business.

use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;

pub use super::redis::Fault;
use crate::desk::{Action, Leased};

/// What a driver promises.
pub type Promise<'a, T> = Pin<Box<dyn Future<Output = Result<T, Fault>> + Send + 'a>>;

/// One step that ends a lease.
#[derive(Debug, Clone)]
pub struct Settlement {
    /// What the server knows the lease by.
    pub receipt: Bytes,
    /// The payload as it lay in the queue.
    pub payload: Bytes,
    /// What is to become of it.
    pub action: Action,
}

/// How long a queue is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sizes {
    /// Jobs that could run now.
    pub waiting: u64,
    /// Jobs whose time has not come.
    pub delayed: u64,
    /// Jobs that are leased, by whom ever.
    pub reserved: u64,
    /// Jobs that were taken out because they kill their workers or are none. Not counted by a tick.
    pub parked: u64,
    /// How long the job at the head has waited, where its payload tells. Not looked at by a tick.
    pub oldest_s: Option<u64>,
}

/// What [`Driver::tick`] has found and done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ticked {
    /// How long the queue is now.
    pub sizes: Sizes,
    /// Whether there are more jobs whose time has come than one look moves.
    pub more: bool,
}

/// Which jobs of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shelf {
    /// Those that could run now.
    Waiting,
    /// Those whose time has not come.
    Delayed,
    /// Those that are leased.
    Reserved,
    /// Those that were taken out.
    Parked,
}

/// A job as `regie queue list` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The payload.
    pub payload: Bytes,
    /// The unix second at which it becomes ready, or at which its lease ends.
    pub at: Option<u64>,
    /// Why it was taken out.
    pub reason: Option<String>,
}

/// A part of a shelf.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Walked {
    /// The jobs, each with what [`Driver::change`] knows it by.
    pub jobs: Vec<(Bytes, Listed)>,
    /// Where to go on; none at the end.
    pub next: Option<String>,
}

/// What is to become of jobs that wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    /// They are dropped.
    Drop,
    /// They could run now.
    Ready,
}

/// See the module.
pub trait Driver: Send + Sync {
    /// Leases up to `count` jobs of `queue`, those at its head first.
    fn lease<'a>(&'a self, queue: &'a str, count: usize) -> Promise<'a, Vec<Leased>>;

    /// Ends leases, in one write. All or, as far as anybody knows, none.
    fn settle<'a>(&'a self, queue: &'a str, leases: Vec<Settlement>) -> Promise<'a, ()>;

    /// Keeps leases alive, those that are still there.
    fn extend<'a>(&'a self, queue: &'a str, receipts: Vec<Bytes>) -> Promise<'a, ()>;

    /// Leases with this runner's mark that it does not know: of a predecessor that was killed, or taken by a step
    /// whose answer was lost.
    fn reclaim<'a>(&'a self, queue: &'a str) -> Promise<'a, Vec<Leased>>;

    /// Puts jobs whose time has come into the queue, and looks how long it is. Called at each whole second.
    fn tick<'a>(&'a self, queue: &'a str) -> Promise<'a, Ticked>;

    /// Returns when one of `queues` may have work: its place in the list. None when it is better to ask again.
    fn wait<'a>(&'a self, queues: &'a [String]) -> Promise<'a, Option<usize>>;

    /// How often a lease must be kept alive.
    fn heartbeat(&self) -> Option<Duration>;

    /// The jobs of a shelf, from `skip` on, `count` at most.
    fn list<'a>(
        &'a self,
        queue: &'a str,
        shelf: Shelf,
        skip: usize,
        count: usize,
    ) -> Promise<'a, Vec<Listed>>;

    /// A part of a shelf, `count` jobs at most: the first one, or what follows `from`. While others work on the queue, a
    /// job may be met twice or passed over.
    fn walk<'a>(
        &'a self,
        queue: &'a str,
        shelf: Shelf,
        from: Option<String>,
        count: usize,
    ) -> Promise<'a, Walked>;

    /// Changes jobs that [`Driver::walk`] has met on a shelf where it went on at `from`, those that are there still; leased ones
    /// never. How many.
    fn change<'a>(
        &'a self,
        queue: &'a str,
        shelf: Shelf,
        from: Option<String>,
        jobs: Vec<Bytes>,
        change: Change,
    ) -> Promise<'a, u64>;

    /// Removes everything that waits or is delayed or leased. Returns how much that was.
    fn clear<'a>(&'a self, queue: &'a str) -> Promise<'a, u64>;

    /// How long the queue is now.
    fn sizes<'a>(&'a self, queue: &'a str) -> Promise<'a, Sizes>;

    /// Puts parked jobs back into the queue, or drops them: the one with this id, or all. Returns how many.
    fn unpark<'a>(&'a self, queue: &'a str, id: Option<String>, retry: bool) -> Promise<'a, u64>;

    /// Puts payloads at the end of the queue.
    fn push<'a>(&'a self, queue: &'a str, payloads: Vec<Bytes>) -> Promise<'a, ()>;
}

/// What stands at one place of a shelf: its handle, and the job; none where it cannot be read.
pub(super) type Place = (Bytes, Option<Listed>);

/// Walks a shelf that can only be entered by number. `read` gives each place from there on, readable or not.
pub(super) async fn walk_by_number<'a, F>(
    from: Option<String>,
    count: usize,
    read: F,
) -> Result<Walked, Fault>
where
    F: FnOnce(usize) -> Promise<'a, Vec<Place>>,
{
    let skip: usize = from.and_then(|from| from.parse().ok()).unwrap_or(0);
    let places = read(skip).await?;
    let next = (places.len() == count).then(|| (skip + count).to_string());
    let jobs = places.into_iter().filter_map(|(handle, listed)| Some((handle, listed?))).collect();
    Ok(Walked { jobs, next })
}

/// Why a change of leased jobs is refused.
pub(super) fn leased_stay() -> Fault {
    Fault::Refused("what a worker has in hand is not changed: regie queue cancel ID stops it".to_owned())
}
