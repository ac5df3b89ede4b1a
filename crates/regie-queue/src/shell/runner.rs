//! The runner of one group of workers: it fetches jobs, hands them to workers and settles them with the server.
//!
//! ```text
//!             wait (blocking pop)        each whole second
//!                   │                          │ tick: delayed jobs whose time has come
//!                   ▼                          ▼
//!   server ── lease ──▶ desk ── hand ──▶ worker
//!      ▲                 │ ▲                │
//!      └──── settle ─────┘ └──── ended ─────┘
//! ```
//!
//! One task owns the [`Desk`] and decides; everything that takes time is a task of its own that comes back as an
//! event. Of each kind of step one at most is under way for a queue, so what comes together while it is leaves
//! together: batches grow with the load by themselves.
//!
//! **Errors.** A server that is away is asked again, with growing pauses; what is in work goes on meanwhile. When
//! nobody knows what a lost lease step has taken, nothing more is leased until the marks have told
//! ([`reclaim`](super::driver::Driver::reclaim)).
//! A pool that takes nothing gets the same jobs again a little later.
//!
//! **Stopping.** Leasing ends, what no worker has seen goes back at once, what workers have may end within the limit.
//! Then the runner leaves; leases that are left carry its mark, for its successor. When the supervisor has died, the workers stop at
//! the same time: then it leaves as soon as what they have ended is settled, and what they have not begun is its successor's.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use regie_pool::Hold;
use tokio::sync::mpsc;

mod account;
mod crew;
mod events;
mod handle;
mod state;
mod steps;

use self::crew::Awake;
use self::handle::Command;
pub use self::handle::{
    AtWork, Cancelled, GroupStats, Handle, Left, LimitStats, Queue, QueueStats, Settings,
};
use self::state::{Connection, QueueState};
use super::clock::{now, unix};
use super::deaths::Deaths;
use super::driver::{Fault, Ticked};
use super::executor::{Executor, Inherited, Report};
use crate::backoff::Backoff;
use crate::desk::{Desk, Key, Leased};
use crate::limits::Limits;
use crate::message::Kind;
use crate::plan::{Pace, Turns};
use crate::record::History;
use crate::scale::Scaler;

/// Acknowledgements wait this long for others to go with.
const GATHER: Duration = Duration::from_millis(1);

/// This many go at once.
const GATHER_MAX: usize = 64;

/// Jobs that one step leases or settles at most.
const BATCH_MAX: usize = 256;

/// Messages that lie in the pool at most: fewer than the lane has slots.
const HANDED_MAX: usize = 200;

/// Ends the name of a message about a lease whose worker has died.
const DIED: &str = "/died";

/// So long after the last worker has gone, all that workers have answered is known.
const DESERTED: Duration = Duration::from_millis(200);

/// How often one looks for them.
const LOOK: Duration = Duration::from_millis(20);

/// How long before a whole second has passed the tick may come.
const TICK_LATE: Duration = Duration::from_millis(1);

enum Event {
    Ended(Key, Box<Report>),
    Leased(usize, usize, Result<Vec<Leased>, Fault>),
    Settled(usize, Vec<Key>, Result<(), Fault>),
    Ticked(usize, Result<Ticked, Fault>),
    Reclaimed(usize, Result<Vec<Leased>, Fault>),
    Extended(Result<(), Fault>),
    Woken(usize, Result<Option<usize>, Fault>),
    Command(Command),
}

impl std::fmt::Debug for Event {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Event")
    }
}

/// Starts a runner on the current runtime. The second value ends when it has left.
pub fn start(
    settings: Settings,
    executor: Arc<dyn Executor>,
    inherited: Vec<Inherited>,
) -> (Handle, impl Future<Output = Left> + Send) {
    let (events, inbox) = mpsc::unbounded_channel();
    let handle = Handle { events: events.clone() };
    let task = tokio::spawn(Group::new(settings, executor, inherited, events).run(inbox));
    (handle, async move { task.await.unwrap_or_default() })
}

struct Group {
    settings: Settings,
    executor: Arc<dyn Executor>,
    events: mpsc::UnboundedSender<Event>,
    /// What a runner before this one has left at the workers, by the lease's name.
    inherited: HashMap<String, Inherited>,
    /// Outcomes that the lane keeps until they are settled.
    holds: HashMap<Key, Hold>,
    desk: Desk,
    deaths: Deaths,
    limits: Limits,
    /// Leases at workers that count for their class's limit.
    limited: HashSet<Key>,
    /// Jobs on the desk that wait for their class.
    blocked: usize,
    turns: Turns,
    pace: Pace,
    /// How long the jobs took whose ends were noticed together.
    ran: Vec<Duration>,
    history: History,
    queues: Vec<QueueState>,
    connections: Vec<Connection>,
    workers: usize,
    awake: Awake,
    /// When they are counted again, while one is to come.
    next_count: Instant,
    scaler: Option<Scaler>,
    leasing: bool,
    /// When the last step that leases was sent.
    leased_since: Instant,
    extending: bool,
    /// Since when acknowledgements wait for company.
    gathering: Option<Instant>,
    next_tick: Instant,
    /// The pool takes nothing before.
    pool_rests: Option<Instant>,
    pool_backoff: Backoff,
    stop_at: Option<Instant>,
    /// The workers leave with it, so what they have not begun will not be begun.
    alone: bool,
    /// Since when there are none.
    deserted: Option<Instant>,
    given_back: usize,
    random: u64,
}

impl Group {
    fn new(
        settings: Settings,
        executor: Arc<dyn Executor>,
        inherited: Vec<Inherited>,
        events: mpsc::UnboundedSender<Event>,
    ) -> Self {
        let mut connections: Vec<Connection> = Vec::new();
        for (at, queue) in settings.queues.iter().enumerate() {
            match connections.iter_mut().find(|known| Arc::ptr_eq(&known.driver, &queue.driver)) {
                Some(known) => known.queues.push(at),
                None => connections.push(Connection {
                    driver: queue.driver.clone(),
                    queues: vec![at],
                    waiting: false,
                    rest_until: None,
                    backoff: Backoff::new(Duration::from_millis(20), Duration::from_secs(2)),
                    beat: queue.driver.heartbeat().map(|every| (every, now() + every)),
                }),
            }
        }
        let turns = Turns::new(settings.order.clone(), settings.queues.len());
        let queues = settings.queues.iter().map(|queue| QueueState::new(queue, &settings.options)).collect();
        let limits = Limits::new(settings.limits.iter().cloned());
        let deaths = Deaths::open(settings.deaths.as_deref());
        let mut desk = Desk::default();
        desk.remember(deaths.counts());
        let scaler = settings.wait_target.map(Scaler::new);
        let awake = if settings.workers_min == 0 { Awake::No } else { Awake::Yes };
        let seed = u64::try_from(unix().as_nanos()).unwrap_or(u64::MAX) | 1;
        Self {
            limits,
            turns,
            queues,
            connections,
            settings,
            executor,
            events,
            inherited: inherited.into_iter().map(|left| (left.id.clone(), left)).collect(),
            holds: HashMap::default(),
            desk,
            deaths,
            limited: HashSet::new(),
            blocked: 0,
            pace: Pace::default(),
            ran: Vec::new(),
            history: History::default(),
            workers: 0,
            awake,
            next_count: now(),
            scaler,
            leasing: false,
            leased_since: now(),
            extending: false,
            gathering: None,
            next_tick: now(),
            pool_rests: None,
            pool_backoff: Backoff::new(Duration::from_millis(10), Duration::from_secs(1)),
            stop_at: None,
            alone: false,
            deserted: None,
            given_back: 0,
            random: seed,
        }
    }

    async fn run(mut self, mut inbox: mpsc::UnboundedReceiver<Event>) -> Left {
        let mut events = Vec::with_capacity(256);
        loop {
            let deadline = self.act(now());
            if self.has_left(now()) {
                self.executor.wish(None);
                return Left { given_back: self.given_back, cut: self.desk.held() };
            }
            tokio::select! {
                biased;
                _ = inbox.recv_many(&mut events, 256) => {}
                () = tokio::time::sleep_until(deadline.into()) => {}
            }
            let at = now();
            for event in events.drain(..) {
                self.take(at, event);
            }
            if let Some(deaths) = self.desk.changed_deaths()
                && let Err(fault) = self.deaths.write(&deaths)
            {
                (self.settings.log)(&format!("deaths of workers cannot be written down: {fault}"));
            }
            self.pace.took_all(self.workers, &self.ran);
            self.ran.clear();
        }
    }

    fn has_left(&mut self, at: Instant) -> bool {
        let Some(stop_at) = self.stop_at else { return false };
        let is_settled = self.desk.held() == self.desk.handed() && !self.leasing;
        if !(self.alone && is_settled && self.executor.workers() == 0) {
            self.deserted = None;
            return (self.desk.held() == 0 && !self.leasing) || at >= stop_at;
        }
        at >= *self.deserted.get_or_insert(at) + DESERTED || at >= stop_at
    }

    fn chance(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }

    /// Does what can be done now, and says when to look again.
    fn act(&mut self, at: Instant) -> Instant {
        if at >= self.next_tick {
            self.count_workers(at);
            (0..self.queues.len()).for_each(|queue| self.tick(queue));
            let into = Duration::from_nanos(u64::from(unix().subsec_nanos()));
            self.next_tick = at + (Duration::from_secs(1) + TICK_LATE - into);
        }
        if self.wakes() && at >= self.next_count {
            self.count_workers(at);
        }
        self.beat(at);
        self.reclaim(at);
        self.hand(at);
        self.put_off(at);
        self.executor.nap(self.pace.nap(self.workers, self.desk.handed()));
        let fetches = self.lease(at);
        self.settle(at, fetches);
        self.wait(at);
        self.deadline(at)
    }

    fn deadline(&self, at: Instant) -> Instant {
        let rests = self.queues.iter().filter_map(|queue| queue.rest_until);
        let waits = self.connections.iter().filter_map(|connection| connection.rest_until);
        let beats = self.connections.iter().filter_map(|connection| connection.beat.map(|(_, next)| next));
        let gathered = self.gathering.map(|since| since + GATHER);
        rests
            .chain(waits)
            .chain(beats)
            .chain(gathered)
            .chain(self.pool_rests)
            .chain(self.stop_at)
            .chain(self.limits.next(at))
            .chain(self.alone.then(|| at + LOOK))
            .chain(self.wakes().then_some(self.next_count))
            .filter(|deadline| *deadline > at)
            .fold(self.next_tick, Instant::min)
    }

    fn name(&self, queue: usize) -> String {
        self.queues[queue].name.clone()
    }

    /// What a lease is called at the pool.
    fn lease_id(&self, queue: usize, job: &Leased, kind: Kind) -> String {
        let prefix = &self.queues[queue].lease_prefix;
        let mut id = String::with_capacity(prefix.len() + job.id.len() + 12 + DIED.len());
        id.push_str(prefix);
        id.push_str(&job.id);
        // A String takes everything.
        let _ = write!(id, "/{}", job.attempts);
        if kind != Kind::Run {
            id.push_str(DIED);
        }
        id
    }

    fn spawn(&self, step: impl Future<Output = Event> + Send + 'static) {
        let events = self.events.clone();
        // Nobody listens to what ends after the runner has left.
        tokio::spawn(async move { drop(events.send(step.await)) });
    }
}
