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
//! nobody knows what a lost lease step has taken, nothing more is leased until the marks have told ([`Driver::reclaim`]).
//! A pool that takes nothing gets the same jobs again a little later.
//!
//! **Stopping.** Leasing ends, what no worker has seen goes back at once, what workers have may end within the limit.
//! Then the runner leaves; leases that are left carry its mark, for its successor.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use regie_pool::Hold;
use serde::Serialize;
use tokio::sync::{mpsc, oneshot};

use super::clock::{now, unix};
use super::driver::{Driver, Fault, Settlement, Sizes, Ticked};
use super::executor::{Executor, Inherited, Message, Report};
use crate::backoff::Backoff;
use crate::desk::{Action, Desk, Ending, Key, Leased};
use crate::message::{self, About, Kind, Options, Reason, Told, Verdict};
use crate::plan::{Order, Pace, Turns};
use crate::record::{End, History, Meter, Quantiles, Run, Totals};

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

/// How long before a whole second has passed the tick may come.
const TICK_LATE: Duration = Duration::from_millis(1);

/// A queue of a group.
pub struct Queue {
    /// The connection or transport, by the application's name for it.
    pub connection: String,
    /// The queue on it.
    pub name: String,
    /// Its server.
    pub driver: Arc<dyn Driver>,
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
    /// As many workers as the pool may grow to: it grows when a message waits for one.
    pub workers_max: usize,
    /// How long a job may take that does not say so itself; zero for no limit.
    pub timeout: Duration,
    /// How long workers may go on after a stop.
    pub drain: Duration,
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
}

type Found = Box<dyn Fn(&Run) -> bool + Send>;

enum Command {
    Stats(oneshot::Sender<GroupStats>),
    Pause(String, bool, oneshot::Sender<usize>),
    Find(Found, usize, oneshot::Sender<Vec<Run>>),
    Stop,
}

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

/// Speaks to a runner.
#[derive(Debug, Clone)]
pub struct Handle {
    events: mpsc::UnboundedSender<Event>,
}

impl std::fmt::Debug for Event {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Event")
    }
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

    /// Stops or lets go on leasing from the queues that `queue` names (`redis:default`, or `default` on any
    /// connection). Returns how many those are.
    pub async fn pause(&self, queue: &str, paused: bool) -> usize {
        self.ask(|reply| Command::Pause(queue.to_owned(), paused, reply)).await.unwrap_or_default()
    }

    /// Runs from the history, the latest first.
    pub async fn find(&self, wanted: impl Fn(&Run) -> bool + Send + 'static, most: usize) -> Vec<Run> {
        self.ask(|reply| Command::Find(Box::new(wanted), most, reply)).await.unwrap_or_default()
    }

    /// Asks it to leave.
    pub fn stop(&self) {
        // Who has left already does not mind.
        let _ = self.events.send(Event::Command(Command::Stop));
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

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Marks {
    /// Leases of ours may lie there that we do not know.
    Unread,
    Asked,
    Read,
}

struct QueueState {
    /// It may have work: nobody has found it empty since.
    maybe: bool,
    /// Work was announced while a lease step was under way, which may have been too early for it.
    again: bool,
    settling: bool,
    ticking: bool,
    marks: Marks,
    paused: bool,
    paused_by_application: bool,
    sizes: Sizes,
    meter: Meter,
    running: usize,
    backoff: Backoff,
    /// Its server is left alone until then.
    rest_until: Option<Instant>,
    trouble: Option<String>,
}

impl QueueState {
    fn new() -> Self {
        Self {
            maybe: true,
            again: false,
            settling: false,
            ticking: false,
            marks: Marks::Unread,
            paused: false,
            paused_by_application: false,
            sizes: Sizes::default(),
            meter: Meter::default(),
            running: 0,
            backoff: Backoff::new(Duration::from_millis(20), Duration::from_secs(2)),
            rest_until: None,
            trouble: None,
        }
    }

    fn rests(&self, at: Instant) -> bool {
        self.rest_until.is_some_and(|until| until > at)
    }

    const fn may_lease(&self) -> bool {
        !self.paused && !self.paused_by_application && matches!(self.marks, Marks::Read)
    }
}

/// Queues that share a driver are waited on together.
struct Connection {
    driver: Arc<dyn Driver>,
    queues: Vec<usize>,
    waiting: bool,
    rest_until: Option<Instant>,
    backoff: Backoff,
    beat: Option<(Duration, Instant)>,
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
    turns: Turns,
    pace: Pace,
    history: History,
    queues: Vec<QueueState>,
    connections: Vec<Connection>,
    workers: usize,
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
        let queues = settings.queues.iter().map(|_| QueueState::new()).collect();
        let seed = u64::try_from(unix().as_nanos()).unwrap_or(u64::MAX) | 1;
        Self {
            turns,
            queues,
            connections,
            settings,
            executor,
            events,
            inherited: inherited.into_iter().map(|left| (left.id.clone(), left)).collect(),
            holds: HashMap::default(),
            desk: Desk::default(),
            pace: Pace::default(),
            history: History::default(),
            workers: 0,
            leasing: false,
            leased_since: now(),
            extending: false,
            gathering: None,
            next_tick: now(),
            pool_rests: None,
            pool_backoff: Backoff::new(Duration::from_millis(10), Duration::from_secs(1)),
            stop_at: None,
            given_back: 0,
            random: seed,
        }
    }

    async fn run(mut self, mut inbox: mpsc::UnboundedReceiver<Event>) -> Left {
        let mut events = Vec::with_capacity(256);
        loop {
            let deadline = self.act(now());
            if self.has_left(now()) {
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
        }
    }

    fn has_left(&self, at: Instant) -> bool {
        self.stop_at.is_some_and(|stop_at| (self.desk.held() == 0 && !self.leasing) || at >= stop_at)
    }

    fn chance(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }

    // What has happened.

    fn take(&mut self, at: Instant, event: Event) {
        match event {
            Event::Ended(key, report) => self.ended(at, key, *report),
            Event::Leased(queue, asked, result) => self.leased(at, queue, asked, result),
            Event::Settled(queue, keys, result) => {
                self.queues[queue].settling = false;
                let well = self.server(at, queue, result.err());
                for key in keys {
                    if well {
                        self.desk.settled(key);
                        if let Some(hold) = self.holds.remove(&key) {
                            hold.release();
                        }
                    } else {
                        self.desk.unsettled(key);
                        self.gathering.get_or_insert(at);
                    }
                }
            }
            Event::Ticked(queue, result) => {
                self.queues[queue].ticking = false;
                match result {
                    Ok(ticked) => {
                        self.server(at, queue, None);
                        let state = &mut self.queues[queue];
                        state.sizes = ticked.sizes;
                        state.paused_by_application = ticked.paused;
                        state.maybe |= ticked.sizes.waiting > 0;
                        if ticked.more {
                            self.tick(queue);
                        }
                    }
                    Err(fault) => drop(self.server(at, queue, Some(fault))),
                }
            }
            Event::Reclaimed(queue, result) => self.reclaimed(at, queue, result),
            Event::Extended(result) => {
                self.extending = false;
                if let Err(fault) = result {
                    (self.settings.log)(&format!("leases could not be kept alive: {fault}"));
                }
            }
            Event::Woken(connection, result) => self.woken(at, connection, result.ok()),
            Event::Command(command) => self.command(at, command),
        }
    }

    /// Notes how a step with a queue's server went. Whether it went well.
    fn server(&mut self, at: Instant, queue: usize, fault: Option<Fault>) -> bool {
        let chance = self.chance();
        let state = &mut self.queues[queue];
        let Some(fault) = fault else {
            state.backoff.reset();
            state.rest_until = None;
            if state.trouble.take().is_some() {
                let name = self.name(queue);
                (self.settings.log)(&format!("{name}: its server answers again"));
            }
            return true;
        };
        state.rest_until = Some(at + state.backoff.next(chance));
        let text = fault.to_string();
        if state.trouble.as_ref() != Some(&text) {
            state.trouble = Some(text.clone());
            let name = self.name(queue);
            (self.settings.log)(&format!("{name}: {text}; it is asked again until it answers"));
        }
        false
    }

    fn name(&self, queue: usize) -> String {
        let queue = &self.settings.queues[queue];
        format!("{}:{}", queue.connection, queue.name)
    }

    fn leased(&mut self, at: Instant, queue: usize, asked: usize, result: Result<Vec<Leased>, Fault>) {
        self.leasing = false;
        match result {
            Ok(jobs) => {
                self.server(at, queue, None);
                if !jobs.is_empty() {
                    self.pace.fetched(at.saturating_duration_since(self.leased_since));
                }
                let again = std::mem::take(&mut self.queues[queue].again);
                self.queues[queue].maybe = jobs.len() >= asked || again;
                self.desk.leased(at, queue, jobs);
                if self.stop_at.is_some() {
                    self.given_back += self.desk.give_back(|_| true);
                }
                self.gather(at);
            }
            Err(fault) => {
                // Whatever it took carries our mark.
                if fault.may_have_happened() {
                    self.queues[queue].marks = Marks::Unread;
                }
                self.server(at, queue, Some(fault));
            }
        }
    }

    fn reclaimed(&mut self, at: Instant, queue: usize, result: Result<Vec<Leased>, Fault>) {
        match result {
            Ok(jobs) => {
                self.server(at, queue, None);
                self.queues[queue].marks = Marks::Read;
                let known: HashSet<Bytes> = self
                    .desk
                    .iter()
                    .filter(|(_, lease)| lease.queue == queue)
                    .map(|(_, lease)| lease.job.receipt.clone())
                    .collect();
                let lost: Vec<Leased> =
                    jobs.into_iter().filter(|job| !known.contains(&job.receipt)).collect();
                if !lost.is_empty() {
                    let (name, count) = (self.name(queue), lost.len());
                    (self.settings.log)(&format!(
                        "{name}: {count} leased before are taken over, attempts unchanged"
                    ));
                }
                for job in lost {
                    self.take_over(at, queue, job);
                }
                self.forget_inherited();
                self.gather(at);
            }
            Err(fault) => {
                self.queues[queue].marks = Marks::Unread;
                self.server(at, queue, Some(fault));
            }
        }
    }

    /// A lease of a runner that is gone: a worker may have its job, or have ended it.
    fn take_over(&mut self, at: Instant, queue: usize, job: Leased) {
        let id = self.lease_id(queue, &job, Kind::Run);
        let died = self.inherited.remove(&format!("{id}{DIED}")).and_then(|left| left.report);
        let run = self.inherited.remove(&id).and_then(|left| left.report);
        let (report, other) = if died.is_some() { (died, run) } else { (run, None) };
        if let Some(other) = other {
            // The worker's death that the later message was about.
            tokio::spawn(async move { other.await.hold.release() });
        }
        match report {
            None => self.desk.leased(at, queue, [job]),
            Some(report) => {
                let key = self.desk.inherited(at, queue, job);
                self.queues[queue].running += 1;
                self.spawn(async move { Event::Ended(key, Box::new(report.await)) });
            }
        }
    }

    /// What no lease belongs to was settled before the other runner went.
    fn forget_inherited(&mut self) {
        if self.queues.iter().all(|queue| queue.marks == Marks::Read) {
            for report in self.inherited.drain().filter_map(|(_, left)| left.report) {
                tokio::spawn(async move { report.await.hold.release() });
            }
        }
    }

    /// What a lease is called at the pool.
    fn lease_id(&self, queue: usize, job: &Leased, kind: Kind) -> String {
        let queue = &self.settings.queues[queue];
        let died = if kind == Kind::Run { "" } else { DIED };
        format!("{}/{}/{}/{}{died}", queue.connection, queue.name, job.id, job.attempts)
    }

    fn woken(&mut self, at: Instant, connection: usize, found: Option<Option<usize>>) {
        let chance = self.chance();
        let known = &mut self.connections[connection];
        known.waiting = false;
        match found {
            Some(found) => {
                known.backoff.reset();
                if let Some(queue) = found {
                    self.queues[queue].maybe = true;
                    self.queues[queue].again = self.leasing;
                }
            }
            // The server's other connection tells what is wrong.
            None => known.rest_until = Some(at + known.backoff.next(chance)),
        }
    }

    fn ended(&mut self, at: Instant, key: Key, report: Report) {
        let Some(lease) = self.desk.get(key) else {
            report.hold.release();
            return;
        };
        let ran = lease.handed.map_or(Duration::ZERO, |handed| at.saturating_duration_since(handed));
        let queue = lease.queue;
        let limit = lease.job.timeout.unwrap_or(self.settings.timeout);
        self.queues[queue].running = self.queues[queue].running.saturating_sub(1);
        let ending = match report.ending {
            // A worker that is killed at the limit looks like one that has died.
            Ending::Died(Reason::Killed) if !limit.is_zero() && ran >= limit => Ending::Died(Reason::Timeout),
            other => other,
        };
        // The outcome of a message that another one of this lease came after is of no use any more.
        if let Some(earlier) = self.holds.insert(key, report.hold) {
            earlier.release();
        }
        if ending == Ending::NotBegun {
            let chance = self.chance();
            self.pool_rests = Some(at + self.pool_backoff.next(chance));
            if self.pool_backoff.tries() == 10
                && let Some(why) = &report.evidence
            {
                (self.settings.log)(&format!("no worker takes jobs: {why}"));
            }
            self.desk.ended(key, ending);
            if self.stop_at.is_some() {
                self.given_back += self.desk.give_back(|_| true);
                self.gather(at);
            }
            return;
        }
        self.pool_backoff.reset();
        if matches!(ending, Ending::Said(_)) {
            self.pace.took(ran);
        }
        self.record(key, ending, ran, report.told, report.evidence);
        let deaths = self.desk.ended(key, ending);
        if let Some(deaths) = deaths
            && let Some(lease) = self.desk.get(key)
        {
            let class = lease.job.class.as_deref().unwrap_or("a job");
            let (name, id) = (self.name(queue), &lease.job.id);
            (self.settings.log)(&format!("{name}: a worker died of {class} {id} ({deaths} until now)"));
        }
        self.gather(at);
    }

    fn record(&mut self, key: Key, ending: Ending, ran: Duration, told: Told, evidence: Option<String>) {
        let Some(lease) = self.desk.get(key) else { return };
        let end = match ending {
            Ending::Said(Verdict::Ack) => End::Done,
            Ending::Said(Verdict::Failed) => End::Failed,
            Ending::Said(Verdict::Release(_)) => End::Released,
            Ending::Died(_) | Ending::NotBegun => End::Died,
        };
        let wall = unix();
        let waited = lease.job.waited;
        self.queues[lease.queue].meter.count(wall, end, waited, ran);
        let micros = |span: Duration| u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
        let keep = matches!(end, End::Failed | End::Died);
        let class = told.class.or_else(|| lease.job.class.clone());
        self.history.put(Run {
            id: lease.job.id.clone(),
            queue: self.name(lease.queue),
            class: class.unwrap_or_default(),
            tags: told.tags,
            attempts: lease.job.attempts,
            end,
            ended_ms: u64::try_from(wall.as_millis()).unwrap_or(u64::MAX),
            waited_us: waited.map(micros),
            ran_us: micros(ran),
            exception: told.exception,
            output: told.output,
            evidence,
            payload: keep.then(|| String::from_utf8_lossy(&lease.job.payload).into_owned()),
        });
    }

    fn gather(&mut self, at: Instant) {
        if self.desk.due() > 0 {
            self.gathering.get_or_insert(at);
        }
    }

    fn command(&mut self, at: Instant, command: Command) {
        match command {
            Command::Stats(reply) => drop(reply.send(self.stats())),
            Command::Pause(wanted, paused, reply) => {
                let mut count = 0;
                for queue in 0..self.queues.len() {
                    if self.settings.queues[queue].name == wanted || self.name(queue) == wanted {
                        self.queues[queue].paused = paused;
                        self.queues[queue].maybe = true;
                        count += 1;
                    }
                }
                let queues = &self.queues;
                self.desk.give_back(|queue| queues[queue].paused);
                self.gather(at);
                let _ = reply.send(count);
            }
            Command::Find(wanted, most, reply) => {
                let found = self.history.find(wanted, most).into_iter().cloned().collect();
                let _ = reply.send(found);
            }
            Command::Stop => {
                self.stop_at.get_or_insert(at + self.settings.drain);
                self.given_back += self.desk.give_back(|_| true);
                self.gather(at);
            }
        }
    }

    fn stats(&self) -> GroupStats {
        let wall = unix();
        let queues = self.queues.iter().enumerate().map(|(at, state)| QueueStats {
            queue: self.name(at),
            workers: self.settings.name.clone(),
            waiting: state.sizes.waiting,
            delayed: state.sizes.delayed,
            reserved: state.sizes.reserved,
            running: state.running,
            paused: state.paused || state.paused_by_application,
            jobs_per_second: state.meter.rate(wall),
            wait: state.meter.waits(),
            run: state.meter.runs(),
            totals: state.meter.totals(),
            trouble: state.trouble.clone(),
        });
        GroupStats {
            name: self.settings.name.clone(),
            workers: self.executor.workers(),
            busy: self.desk.handed().min(self.executor.workers()),
            queues: queues.collect(),
        }
    }

    // What is to be done.

    /// Does what can be done now, and says when to look again.
    fn act(&mut self, at: Instant) -> Instant {
        if at >= self.next_tick {
            self.workers = self.executor.workers();
            (0..self.queues.len()).for_each(|queue| self.tick(queue));
            let into = Duration::from_nanos(u64::from(unix().subsec_nanos()));
            self.next_tick = at + (Duration::from_secs(1) + TICK_LATE - into);
        }
        self.beat(at);
        self.reclaim(at);
        self.hand(at);
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
            .filter(|deadline| *deadline > at)
            .fold(self.next_tick, Instant::min)
    }

    fn tick(&mut self, queue: usize) {
        let state = &mut self.queues[queue];
        if state.ticking || self.stop_at.is_some() {
            return;
        }
        state.ticking = true;
        let (driver, name) = self.server_of(queue);
        self.spawn(async move { Event::Ticked(queue, driver.tick(&name).await) });
    }

    fn beat(&mut self, at: Instant) {
        for connection in 0..self.connections.len() {
            let Some((every, next)) = self.connections[connection].beat else { continue };
            if at < next || self.extending {
                continue;
            }
            self.connections[connection].beat = Some((every, at + every));
            for queue in self.connections[connection].queues.clone() {
                let receipts: Vec<Bytes> = self
                    .desk
                    .iter()
                    .filter(|(_, lease)| lease.queue == queue && lease.since + every / 2 < at)
                    .map(|(_, lease)| lease.job.receipt.clone())
                    .collect();
                if !receipts.is_empty() {
                    self.extending = true;
                    let (driver, name) = self.server_of(queue);
                    self.spawn(async move { Event::Extended(driver.extend(&name, receipts).await) });
                }
            }
        }
    }

    fn reclaim(&mut self, at: Instant) {
        for queue in 0..self.queues.len() {
            let state = &mut self.queues[queue];
            if state.marks == Marks::Unread && !state.rests(at) && !self.leasing && self.stop_at.is_none() {
                state.marks = Marks::Asked;
                let (driver, name) = self.server_of(queue);
                self.spawn(async move { Event::Reclaimed(queue, driver.reclaim(&name).await) });
            }
        }
    }

    /// Messages that may be at the pool: one for each worker, and what they do in a moment.
    fn window(&self) -> usize {
        let workers = self.workers.max(1);
        let growing = usize::from(workers < self.settings.workers_max);
        (workers + self.pace.ahead(workers).max(growing)).min(HANDED_MAX)
    }

    fn hand(&mut self, at: Instant) {
        if self.pool_rests.is_some_and(|until| until > at) {
            return;
        }
        self.pool_rests = None;
        let window = self.window();
        while self.desk.handed() < window {
            let queues = &self.queues;
            let Some(handing) = self.desk.hand(at, |queue| !queues[queue].paused) else { return };
            let Some(lease) = self.desk.get(handing.key) else { return };
            let queue = &self.settings.queues[lease.queue];
            let job = &lease.job;
            let about = About {
                connection: &queue.connection,
                queue: &queue.name,
                id: &job.id,
                attempts: job.attempts,
            };
            let timeout = job.timeout.unwrap_or(self.settings.timeout);
            let body =
                Bytes::from(message::encode(handing.kind, about, &self.settings.options, &job.payload));
            let id = self.lease_id(lease.queue, job, handing.kind);
            self.queues[lease.queue].running += 1;
            let (executor, key) = (self.executor.clone(), handing.key);
            let message = Message { id, body, timeout };
            self.spawn(async move { Event::Ended(key, Box::new(executor.run(message).await)) });
        }
    }

    /// Whether a lease step was sent, which other steps may then go with.
    fn lease(&mut self, at: Instant) -> bool {
        if self.leasing || self.stop_at.is_some() || !self.desk.may_lease() || self.workers == 0 {
            return false;
        }
        let ahead = self.pace.ahead(self.workers) + self.pace.meanwhile(self.workers);
        // Twice what may lie at the pool, fetched when half of that is gone: so steps move many jobs each.
        let target = self.window() + ahead;
        let held = self.desk.handed() + self.desk.ready();
        if held + ahead / 2 + 1 > target {
            return false;
        }
        let count = (target - held).min(BATCH_MAX);
        let queues = &self.queues;
        let next = self.turns.next(|queue| {
            let state = &queues[queue];
            state.maybe && state.may_lease() && !state.rests(at)
        });
        let Some(queue) = next else { return false };
        self.leasing = true;
        self.leased_since = at;
        let (driver, name) = self.server_of(queue);
        self.spawn(async move { Event::Leased(queue, count, driver.lease(&name, count).await) });
        true
    }

    fn settle(&mut self, at: Instant, now_anyway: bool) {
        let waited = self.gathering.is_some_and(|since| at >= since + GATHER);
        let due = self.desk.due();
        if due == 0 || !(waited || now_anyway || due >= GATHER_MAX || self.stop_at.is_some()) {
            return;
        }
        if self.queues.iter().any(|queue| queue.settling || queue.rests(at) && self.queues.len() == 1) {
            return;
        }
        let mut by_queue: Vec<(Vec<Key>, Vec<Settlement>)> = vec![Default::default(); self.queues.len()];
        for (key, action) in self.desk.settle(BATCH_MAX) {
            let Some(lease) = self.desk.get(key) else { continue };
            if self.queues[lease.queue].rests(at) {
                self.desk.unsettled(key);
                continue;
            }
            let settlement =
                Settlement { receipt: lease.job.receipt.clone(), payload: lease.job.payload.clone(), action };
            if let Action::Park(why) = action {
                self.queues[lease.queue].meter.count(unix(), End::Parked, None, Duration::ZERO);
                let (name, id) = (self.name(lease.queue), &lease.job.id);
                (self.settings.log)(&format!("{name}: job {id} is parked: {why}"));
            }
            by_queue[lease.queue].0.push(key);
            by_queue[lease.queue].1.push(settlement);
        }
        self.gathering = (self.desk.due() > 0).then_some(at);
        for (queue, (keys, settlements)) in by_queue.into_iter().enumerate() {
            if !keys.is_empty() {
                self.queues[queue].settling = true;
                let (driver, name) = self.server_of(queue);
                self.spawn(
                    async move { Event::Settled(queue, keys, driver.settle(&name, settlements).await) },
                );
            }
        }
    }

    fn wait(&mut self, at: Instant) {
        if self.stop_at.is_some() || self.workers == 0 {
            return;
        }
        for connection in 0..self.connections.len() {
            let known = &mut self.connections[connection];
            // A queue that is not leased from must not be waited on: each word of its work would be used up in vain.
            let open: Vec<usize> =
                known.queues.iter().copied().filter(|queue| self.queues[*queue].may_lease()).collect();
            let empty = open.iter().all(|queue| !self.queues[*queue].maybe);
            let rests = known.rest_until.is_some_and(|until| until > at);
            if known.waiting || open.is_empty() || !empty || rests {
                continue;
            }
            known.rest_until = None;
            known.waiting = true;
            let driver = known.driver.clone();
            let names: Vec<String> =
                open.iter().map(|queue| self.settings.queues[*queue].name.clone()).collect();
            self.spawn(async move {
                let found = driver.wait(&names).await;
                Event::Woken(connection, found.map(|place| place.map(|place| open[place])))
            });
        }
    }

    fn server_of(&self, queue: usize) -> (Arc<dyn Driver>, String) {
        let queue = &self.settings.queues[queue];
        (queue.driver.clone(), queue.name.clone())
    }

    fn spawn(&self, step: impl Future<Output = Event> + Send + 'static) {
        let events = self.events.clone();
        // Nobody listens to what ends after the runner has left.
        tokio::spawn(async move { drop(events.send(step.await)) });
    }
}
