//! What a runner is told when it starts, and how one speaks to it afterwards.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::sync::{mpsc, oneshot};

use super::Event;
use crate::limits::Limit;
use crate::message::Options;
use crate::plan::Order;
use crate::record::{Quantiles, Run, Spread, Totals};
use crate::shell::archive::Archive;
use crate::shell::driver::Driver;

/// A queue of a group.
pub struct Queue {
    /// The connection or transport, by the application's name for it.
    pub connection: String,
    /// The queue on it.
    pub name: String,
    /// Its server.
    pub driver: Arc<dyn Driver>,
    /// Whether the operator has paused it before.
    pub paused: bool,
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Queue({}:{})", self.connection, self.name)
    }
}

/// How a group works.
#[derive(Debug)]
pub struct Settings {
    /// The group's name.
    pub name: String,
    /// Its queues.
    pub queues: Vec<Queue>,
    /// Which goes first.
    pub order: Order,
    /// What the group says for jobs that do not say it themselves.
    pub options: Options,
    /// Classes of jobs with limits of their own.
    pub limits: Vec<(String, Limit)>,
    /// Up to so many percent are added to the wait after a failure, by chance.
    pub jitter: u32,
    /// As many workers as the pool may grow to: it grows when a message waits for one.
    pub workers_max: usize,
    /// As many as are always there. Where it is 0, none is when there is nothing to do.
    pub workers_min: usize,
    /// How long jobs may wait before there are more workers; without it, one that waits at all brings another.
    pub wait_target: Option<Duration>,
    /// How long a job may take that does not say so itself; zero for no limit.
    pub timeout: Duration,
    /// How long workers may go on after a stop.
    pub drain: Duration,
    /// The file in which it is kept which jobs workers have died of; without it, it is known until the end only.
    pub deaths: Option<PathBuf>,
    /// Where runs are written down; without it the last ones are kept in memory.
    pub archive: Option<Arc<Archive>>,
    /// Where a line about trouble goes.
    pub log: fn(&str),
}

/// How a runner has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Left {
    /// Jobs that were given back as they were.
    pub given_back: usize,
    /// Leases that could not be ended: the server was away, or the worker took longer than the limit.
    pub cut: usize,
}

/// One queue as `regie queue stats` shows it.
#[derive(Debug, Clone, Serialize)]
pub struct QueueStats {
    /// Connection and queue.
    pub queue: String,
    /// The group that works on it.
    pub workers: String,
    /// Jobs that could run now.
    pub waiting: u64,
    /// Jobs whose time has not come.
    pub delayed: u64,
    /// Jobs that are leased.
    pub reserved: u64,
    /// Jobs that were taken out; not known to the runner itself.
    pub parked: Option<u64>,
    /// How long the first one has waited; not known to the runner itself.
    pub oldest_s: Option<u64>,
    /// Jobs at workers of ours.
    pub running: usize,
    /// Whether it is paused.
    pub paused: bool,
    /// Runs per second.
    pub jobs_per_second: f64,
    /// How long jobs waited.
    pub wait: Quantiles,
    /// How long they ran.
    pub run: Quantiles,
    /// Counts since the start.
    pub totals: Totals,
    /// How long all jobs since the start waited.
    #[serde(skip)]
    pub waits: Spread,
    /// How long they ran.
    #[serde(skip)]
    pub runs: Spread,
    /// What is wrong with its server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
}

/// What a group is doing.
#[derive(Debug, Clone, Serialize)]
pub struct GroupStats {
    /// Its name.
    pub name: String,
    /// Workers that are there.
    pub workers: usize,
    /// Jobs at them.
    pub busy: usize,
    /// Its queues.
    pub queues: Vec<QueueStats>,
    /// Classes with limits of their own.
    pub limits: Vec<LimitStats>,
}

/// A class with limits as `regie queue stats` shows it.
#[derive(Debug, Clone, Serialize)]
pub struct LimitStats {
    /// The class.
    pub class: String,
    /// Jobs of it at workers.
    pub running: u32,
    /// How many may be there at a time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<u32>,
    /// How many may begin in so many seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<(u32, f64)>,
}

/// A job that was stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cancelled {
    /// What its lease is called at the pool, when a worker has it: the worker is to be ended.
    pub lease: Option<String>,
    /// The group whose worker that is.
    pub group: String,
    /// Connection and queue.
    pub queue: String,
}

/// A job that lies at the workers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AtWork {
    /// What its lease is called at the pool.
    pub lease: String,
    /// Connection and queue.
    pub queue: String,
    /// Its id.
    pub id: String,
    /// Its class, when the payload tells it.
    pub class: Option<String>,
}

pub(super) type Found = Box<dyn Fn(&Run) -> bool + Send>;

pub(super) enum Command {
    Stats(oneshot::Sender<GroupStats>),
    AtWork(oneshot::Sender<Vec<AtWork>>),
    Pause(String, bool, oneshot::Sender<Vec<String>>),
    Hold(Option<Vec<String>>),
    Cancel(String, oneshot::Sender<Option<Cancelled>>),
    Find(Found, usize, oneshot::Sender<Vec<Run>>),
    /// At once, with so long for what workers have in hand where that is less than the settings say.
    Stop(Option<Duration>),
}

/// Speaks to a runner.
#[derive(Debug, Clone)]
pub struct Handle {
    pub(super) events: mpsc::UnboundedSender<Event>,
}

impl Handle {
    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.events.send(Event::Command(command(reply))).ok()?;
        answer.await.ok()
    }

    /// What it is doing; none when it has left.
    pub async fn stats(&self) -> Option<GroupStats> {
        self.ask(Command::Stats).await
    }

    /// The jobs that lie at its workers.
    pub async fn at_work(&self) -> Vec<AtWork> {
        self.ask(Command::AtWork).await.unwrap_or_default()
    }

    /// Stops or lets go on leasing from the queues that `queue` names (`redis:default`, or `default` on any
    /// connection). Returns which those are.
    pub async fn pause(&self, queue: &str, paused: bool) -> Vec<String> {
        self.ask(|reply| Command::Pause(queue.to_owned(), paused, reply)).await.unwrap_or_default()
    }

    /// Stops the job with this id, where it is leased: it has failed when its worker dies, or before one has begun it.
    pub async fn cancel(&self, id: &str) -> Option<Cancelled> {
        self.ask(|reply| Command::Cancel(id.to_owned(), reply)).await.flatten()
    }

    /// Leaves these queues alone (`redis:default`), because the application says so, and no others.
    /// Without any: it was asked and has said nothing, so what it said last holds.
    pub fn hold(&self, queues: Option<Vec<String>>) {
        // Who has left already does not mind.
        let _ = self.events.send(Event::Command(Command::Hold(queues)));
    }

    /// Runs from memory, the latest first; none where they are written down.
    pub async fn find(&self, wanted: impl Fn(&Run) -> bool + Send + 'static, most: usize) -> Vec<Run> {
        self.ask(|reply| Command::Find(Box::new(wanted), most, reply)).await.unwrap_or_default()
    }

    /// Asks it to leave.
    pub fn stop(&self) {
        // Who has left already does not mind.
        let _ = self.events.send(Event::Command(Command::Stop(None)));
    }

    /// The same when the workers leave too: what they have begun may end within this time.
    pub fn stop_within(&self, limit: Duration) {
        // Who has left already does not mind.
        let _ = self.events.send(Event::Command(Command::Stop(Some(limit))));
    }
}
