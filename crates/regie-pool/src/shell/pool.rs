//! The pool: ready workers on one side, requests on the other, and a driver that keeps the first side filled.
//!
//! ```text
//!              knock (connect, GET_VALUES)          request
//!   backlog ──────────────▶ ready ◀───────────────▶ in use
//!                             │        answered        │
//!                             ▼                        ▼
//!                   GOAWAY, end of file       error, abort, GOAWAY
//!                             └────────▶ closed ◀──────┘
//! ```
//!
//! A knock is answered when a worker has accepted it, so one knock is always left at the door: when the pool grows,
//! is replaced by a new generation or gets a worker back, the newcomer answers it and is known at once. A peer that
//! does not know Régie's goodbye (php-fpm) gets a connection per request instead, as many at a time as it has
//! workers.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use regie_lane::Lane;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use super::clock::now;
use super::exchange::{AnswerBody, Exchange, NoHead, Outgoing, Times};
use super::lane::{Carried, LaneCarrier};
use super::link::{Idle, Link};
use super::message::{Heirloom, Sent, times};
use super::stray::Strays;
use super::stream::Address;
use crate::call::{Answer, Body, Call, CallError, InformationalSink};
use crate::head::Head;
use crate::message::{Delivered, Hold, Message, MessageError};
use crate::queue::{Asked, Grant, Priority, Queue, QueueLimits, Ticket};

/// Where the workers' error output goes: the bytes as they come.
pub type StderrSink = Arc<dyn Fn(&[u8]) + Send + Sync>;

/// How a pool is reached and what it is allowed.
#[derive(Clone)]
pub struct PoolSettings {
    /// Where it listens.
    pub address: Address,
    /// How many workers it has, when that is known. A pool of ours says it itself.
    pub workers: Option<usize>,
    /// Bounds of the queue.
    pub queue: QueueLimits,
    /// The pool's own limit on a request. A worker that is lost after this time was cut by its master: 504.
    pub request_timeout: Duration,
    /// How much longer the gateway waits for a word than the pool allows a request to run.
    pub grace: Duration,
    /// How long the pool may be out of reach before requests are refused instead of kept waiting.
    pub reach_timeout: Duration,
    /// Connections at most, whatever the pool says.
    pub max_connections: usize,
    /// Where the workers' error output goes.
    pub stderr: Option<StderrSink>,
    /// The lane to workers of ours. The address is then for what does not fit.
    pub lane: Option<Arc<Lane>>,
}

impl fmt::Debug for PoolSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolSettings")
            .field("address", &self.address)
            .field("workers", &self.workers)
            .field("queue", &self.queue)
            .field("request_timeout", &self.request_timeout)
            .finish_non_exhaustive()
    }
}

impl PoolSettings {
    /// The defaults for a pool at `address`.
    #[must_use]
    pub fn new(address: Address) -> Self {
        Self {
            address,
            workers: None,
            queue: QueueLimits::default(),
            request_timeout: Duration::from_secs(60),
            grace: Duration::from_secs(5),
            reach_timeout: Duration::from_secs(2),
            max_connections: 512,
            stderr: None,
            lane: None,
        }
    }

    /// The times of a request that may bring a limit of its own.
    pub(super) fn times_of(&self, own_limit: Option<Duration>) -> Times {
        if let Some(limit) = own_limit {
            return times(limit, self.grace);
        }
        Times {
            request_timeout: self.request_timeout,
            silence: self.request_timeout.saturating_add(self.grace),
        }
    }
}

/// Workers that a foreign pool is believed to have when neither it nor the configuration says.
const FOREIGN_WORKERS: usize = 64;

/// Workers that a request is tried on when each is gone before the first byte.
const TRIES: usize = 3;

/// Workers that a pool which is given up keeps until its end.
const RETIRED_KEEP: usize = 1;

/// Pauses between two tries to reach a pool: doubled up to the second.
const RETRY_FIRST: Duration = Duration::from_millis(10);
const RETRY_MAX: Duration = Duration::from_millis(500);

/// What a pool is doing, for status pages and metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Workers known to be there.
    pub workers: usize,
    /// Of those, the ones without a request.
    pub idle: usize,
    /// Requests that wait for a worker.
    pub waiting: usize,
    /// Requests that were given to a worker since the start.
    pub served: u64,
    /// Requests that were refused: queue full, waited too long, pool out of reach.
    pub refused: u64,
}

/// A pool of workers. Clones are the same pool.
#[derive(Clone)]
pub struct Pool {
    shared: Arc<Shared>,
    lane: Option<LaneCarrier>,
    strays: Strays,
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("settings", &self.shared.settings).finish_non_exhaustive()
    }
}

struct Shared {
    settings: PoolSettings,
    state: Mutex<State>,
    driver: Arc<DriverWake>,
    idle_waker: Waker,
    served: AtomicU64,
    refused: AtomicU64,
}

/// Wakes the driver; as a waker it also says that an idle connection has something to say.
#[derive(Default)]
struct DriverWake {
    notify: Notify,
    look_at_idle: AtomicBool,
}

impl Wake for DriverWake {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.look_at_idle.store(true, Ordering::Relaxed);
        self.notify.notify_one();
    }
}

/// How the peer takes requests, known from the first handshake on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    Unknown,
    /// Connections are kept; the peer says goodbye.
    Kept,
    /// A connection per request.
    Single,
}

enum Worker {
    Link(Box<Link>),
    /// The right to open a connection.
    Permit,
}

type Reply = oneshot::Sender<Result<Grip, CallError>>;

struct State {
    queue: Queue<Worker, Reply>,
    manner: Manner,
    /// Connections that are ready or in use, or permits given out.
    live: usize,
    /// Knocks that are not answered yet.
    knocking: usize,
    /// Workers that the peer says it has.
    told: usize,
    /// Since when the pool cannot be reached, and what the last try said.
    unreachable: Option<(Instant, String)>,
    retry: Duration,
    /// When the driver will look at the queue's deadlines by itself.
    armed: Option<Instant>,
    /// Workers are given up as soon as nobody waits for them.
    retiring: bool,
    closed: bool,
}

impl Pool {
    /// Starts a pool on the current runtime. Nothing is waited for: requests queue until the first worker is ready.
    #[must_use]
    pub fn start(settings: PoolSettings) -> Self {
        // Without a seat in the lane there is still FastCGI.
        let lane = settings.lane.as_ref().and_then(|lane| LaneCarrier::start(lane, settings.clone()).ok());
        Self::start_with(settings, lane)
    }

    /// The same for a sender of messages: it inherits what senders before it have left in the lane.
    #[must_use]
    pub fn start_as_heir(settings: PoolSettings) -> (Self, Vec<Heirloom>) {
        let inherited =
            settings.lane.as_ref().and_then(|lane| LaneCarrier::inherit(lane, settings.clone()).ok());
        let (lane, heirlooms) = inherited.map_or((None, Vec::new()), |(lane, left)| (Some(lane), left));
        (Self::start_with(settings, lane), heirlooms)
    }

    fn start_with(settings: PoolSettings, lane: Option<LaneCarrier>) -> Self {
        let driver = Arc::new(DriverWake::default());
        let state = State {
            queue: Queue::new(settings.queue),
            manner: if lane.is_some() { Manner::Single } else { Manner::Unknown },
            live: 0,
            knocking: 0,
            told: settings.workers.unwrap_or(1),
            unreachable: None,
            retry: RETRY_FIRST,
            armed: None,
            retiring: false,
            closed: false,
        };
        let shared = Arc::new(Shared {
            settings,
            state: Mutex::new(state),
            idle_waker: Waker::from(driver.clone()),
            driver,
            served: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        });
        tokio::spawn(drive(shared.clone()));
        if lane.is_some() {
            // A kept connection would keep its worker from the lane: what does not fit gets one each.
            shared.lock().live = FOREIGN_WORKERS;
            (0..FOREIGN_WORKERS).for_each(|_| shared.hand_on(Worker::Permit));
        }
        let strays = Strays::new(shared.settings.queue);
        Self { shared, lane, strays }
    }

    /// Sends a request when a worker is free, and returns when the head of the answer is there. Dropping the future
    /// takes the request back: from the queue without a trace, unless [`Call::outlives`] has it wait on, from a worker
    /// by closing its connection.
    ///
    /// # Errors
    /// See [`CallError`]; each says whose fault it is and what to answer.
    pub async fn call(&self, call: Call) -> Result<Answer<AnswerBody>, CallError> {
        let call = match &self.lane {
            None => call,
            Some(lane) => match lane.call(call).await {
                Carried::Done(answer) => return answer,
                Carried::NotHere(call) => call,
            },
        };
        // Boxed, so that a request through the lane, the usual one, has a small future.
        Box::pin(self.call_over_fastcgi(call)).await
    }

    /// Sends a message. Waits for a place in the lane, not for a worker.
    pub async fn send(&self, message: Message) -> Result<Sent, CallError> {
        match &self.lane {
            None => Ok(Sent::over_fastcgi(self.clone(), message)),
            Some(lane) => match lane.send(message).await {
                Ok(sent) => sent.map(Sent::in_lane),
                Err(message) => Ok(Sent::over_fastcgi(self.clone(), message)),
            },
        }
    }

    /// Sends a message and waits for what becomes of it.
    pub async fn message(&self, message: Message) -> Delivered {
        match self.send(message).await {
            Ok(sent) => sent.answer().await,
            Err(error) => Delivered {
                outcome: Err(MessageError::NotBegun(error)),
                hold: Hold::default(),
                waited: Duration::ZERO,
            },
        }
    }

    pub(super) async fn call_over_fastcgi(&self, call: Call) -> Result<Answer<AnswerBody>, CallError> {
        let mut errand = Errand::new(self, call);
        while errand.tries < TRIES {
            let exchange = errand.begin().await?;
            match exchange.answer(errand.waited).await {
                Ok(answer) => return Ok(answer),
                Err(NoHead::Failed(error)) => return Err(error),
                Err(NoHead::NotBegun(again)) => errand.unsent = Some(again.0),
            }
        }
        Err(CallError::Died { begun: false })
    }

    /// Answers may be noticed up to `span` later from now on, since the workers have enough to do until then; zero for
    /// at once. Saves waking this process for each of many short messages. Means nothing over FastCGI.
    pub fn nap(&self, span: Duration) {
        if let Some(lane) = &self.lane {
            lane.nap(span);
        }
    }

    /// Says how many workers there shall be, within the pool's own limits; none for as many as what waits asks for. Means
    /// nothing over FastCGI.
    pub fn wish(&self, count: Option<usize>) {
        if let Some(lane) = &self.lane {
            lane.wish(count);
        }
    }

    /// Why a request that came now would not be answered; none when it would. A foreign pool is knocked at for that.
    pub async fn why_out_of_service(&self) -> Option<String> {
        let counts = self.counts();
        let queue = self.shared.settings.queue.len;
        if queue > 0 && counts.waiting >= queue {
            return Some(format!("as many requests wait as may wait ({queue})"));
        }
        if self.lane.is_some() {
            return (counts.workers == 0).then(|| "it has no worker".to_owned());
        }
        let is_foreign = {
            let state = self.shared.lock();
            if state.live == 0 {
                let why = state.unreachable.as_ref().map(|(_, why)| why.clone());
                return Some(why.unwrap_or_else(|| "no worker has answered yet".to_owned()));
            }
            state.manner == Manner::Single
        };
        if !is_foreign {
            return None;
        }
        // There is no kept connection by whose end one would hear that it is gone.
        Link::connect(&self.shared.settings.address).await.err().map(|fault| fault.to_string())
    }

    /// What the pool is doing.
    #[must_use]
    pub fn counts(&self) -> Counts {
        if let Some(lane) = &self.lane {
            return lane.counts();
        }
        let state = self.shared.lock();
        Counts {
            workers: state.live,
            idle: state.queue.idle(),
            waiting: state.queue.waiting(),
            served: self.shared.served.load(Ordering::Relaxed),
            refused: self.shared.refused.load(Ordering::Relaxed),
        }
    }

    /// Lets go of the workers but one: idle ones at once, busy ones after their request when nobody waits for them. For
    /// a gateway that drains while its successor needs the same workers; the one is for requests that are on their way.
    pub fn retire(&self) {
        let idle = {
            let mut state = self.shared.lock();
            state.retiring = true;
            let mut spare = state.live.saturating_sub(RETIRED_KEEP);
            let idle = state.queue.retire(|worker| {
                let leaves = spare > 0 && matches!(worker, Worker::Link(_));
                spare -= usize::from(leaves);
                leaves
            });
            state.live -= idle.len();
            idle
        };
        drop(idle);
        self.shared.driver.notify.notify_one();
    }

    /// Requests that wait for a worker although their callers have left ([`Call::outlives`]).
    #[must_use]
    pub fn strays(&self) -> usize {
        self.strays.count() + self.lane.as_ref().map_or(0, LaneCarrier::strays)
    }

    /// Ends the driver and closes idle connections. Requests in flight are finished, new ones are refused.
    pub fn close(&self) {
        if let Some(lane) = &self.lane {
            lane.close();
        }
        self.shared.lock().closed = true;
        self.shared.driver.notify.notify_one();
    }

    /// Asks for a worker.
    fn acquire(&self, priority: Priority, patience: Option<Duration>) -> Result<Acquired, CallError> {
        let asked = now();
        let mut receiver = None;
        let (ticket, wake) = {
            let mut state = self.shared.lock();
            if state.closed {
                return Err(CallError::Down("it is being closed".into()));
            }
            if let Some(why) = state.out_of_reach(asked, self.shared.settings.reach_timeout) {
                return Err(CallError::Down(why));
            }
            let asked = state.queue.ask(asked.into_std(), priority, patience, || {
                let (sender, waiting) = oneshot::channel();
                receiver = Some(waiting);
                sender
            });
            match asked {
                Asked::Granted(worker) => return Ok(Acquired::Grip(self.shared.grip(worker))),
                Asked::Full => return Err(CallError::QueueFull(state.queue.waiting())),
                Asked::Wait(ticket) => {
                    let next = state.queue.next_deadline().map(Instant::from_std);
                    (
                        ticket,
                        state.retiring
                            || state.armed.is_none_or(|armed| next.is_some_and(|next| next < armed)),
                    )
                }
            }
        };
        if wake {
            self.shared.driver.notify.notify_one();
        }
        let granted = receiver.expect("who waits has a receiver");
        Ok(Acquired::Place(Place { shared: self.shared.clone(), ticket: Some(ticket), granted }))
    }

    /// Opens a connection for one request. A full backlog is waited out like a queue.
    async fn open(&self, asked: Instant) -> Result<Link, CallError> {
        let settings = &self.shared.settings;
        let mut pause = RETRY_FIRST;
        loop {
            match Link::connect(&settings.address).await {
                Ok(link) => return Ok(link),
                Err(error) => {
                    let waited = now() - asked;
                    let busy = error.kind() == io::ErrorKind::WouldBlock;
                    if busy && waited >= settings.queue.timeout {
                        return Err(CallError::QueueTimeout(waited));
                    }
                    if !busy && waited >= settings.reach_timeout {
                        return Err(CallError::Down(error.to_string()));
                    }
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(RETRY_MAX);
                }
            }
        }
    }
}

/// A worker, or a place in the queue for one.
enum Acquired {
    Grip(Grip),
    Place(Place),
}

/// A place in the queue, left when the one who waits goes away.
struct Place {
    shared: Arc<Shared>,
    ticket: Option<Ticket>,
    granted: oneshot::Receiver<Result<Grip, CallError>>,
}

impl Place {
    /// Waits for the worker; cancelled, it has lost nothing.
    async fn granted(&mut self) -> Result<Grip, CallError> {
        let granted = (&mut self.granted).await;
        self.ticket = None;
        granted.unwrap_or_else(|_| Err(CallError::Down("it was closed".into())))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            let reply = self.shared.lock().queue.leave(ticket);
            drop(reply);
        }
    }
}

/// A request on its way to a worker over FastCGI.
struct Errand {
    pool: Pool,
    asked: Instant,
    /// Until they are encoded.
    parts: Option<(Head, Body)>,
    /// Records that were made for a worker who was gone before it had read a byte.
    unsent: Option<Outgoing>,
    terms: Terms,
    /// Where it waits for a worker.
    place: Option<Place>,
    /// How long it has waited for one.
    waited: Duration,
    tries: usize,
}

/// What a caller asks beside the request itself.
#[derive(Default)]
struct Terms {
    priority: Priority,
    patience: Option<Duration>,
    time_limit: Option<Duration>,
    informational: Option<InformationalSink>,
    outlives: Option<Duration>,
}

impl Errand {
    fn new(pool: &Pool, call: Call) -> Self {
        let Call { head, body, priority, patience, time_limit, informational, outlives } = call;
        // A body that is still to be read comes from the caller.
        let outlives = outlives.filter(|_| !matches!(body, Body::Stream(_)));
        Self {
            pool: pool.clone(),
            asked: now(),
            parts: Some((head, body)),
            unsent: None,
            terms: Terms { priority, patience, time_limit, informational, outlives },
            place: None,
            waited: Duration::ZERO,
            tries: 0,
        }
    }

    /// Waits for a worker, and turns to it.
    async fn begin(&mut self) -> Result<Exchange, CallError> {
        loop {
            let mut grip = self.grip().await.inspect_err(|_| {
                self.pool.shared.refused.fetch_add(1, Ordering::Relaxed);
            })?;
            self.waited = now() - self.asked;
            let (link, keep) = match grip.take_worker() {
                Worker::Link(mut link) => {
                    // What has come since it became idle may not have reached the driver yet.
                    if link.poll_idle(&mut Context::from_waker(Waker::noop())) == Idle::Leaves {
                        drop(grip.into_lease());
                        continue;
                    }
                    (link, true)
                }
                Worker::Permit => (Box::new(self.pool.open(self.asked).await?), false),
            };
            let outgoing = match (self.unsent.take(), self.parts.take()) {
                (Some(outgoing), _) => outgoing,
                (None, Some((head, body))) => Outgoing::new(head, body, keep),
                (None, None) => unreachable!("a request is either unsent or not yet encoded"),
            };
            self.pool.shared.served.fetch_add(1, Ordering::Relaxed);
            self.tries += 1;
            let times = self.pool.shared.settings.times_of(self.terms.time_limit);
            let informational = self.terms.informational.clone();
            return Ok(Exchange::new(link, grip.into_lease(), outgoing, keep, times, informational));
        }
    }

    async fn grip(&mut self) -> Result<Grip, CallError> {
        if self.place.is_none() {
            match self.pool.acquire(self.terms.priority, self.terms.patience)? {
                Acquired::Grip(grip) => return Ok(grip),
                Acquired::Place(place) => self.place = Some(place),
            }
        }
        let granted = self.place.as_mut().expect("it was just taken").granted().await;
        self.place = None;
        granted
    }
}

impl Drop for Errand {
    /// The caller has left while the request waits: it may outlive that.
    fn drop(&mut self) {
        let (Some(place), Some(span)) = (self.place.take(), self.terms.outlives.take()) else { return };
        let mut alone = Self {
            pool: self.pool.clone(),
            asked: self.asked,
            parts: self.parts.take(),
            unsent: self.unsent.take(),
            terms: Terms { priority: self.terms.priority, ..Terms::default() },
            place: Some(place),
            waited: Duration::ZERO,
            tries: self.tries,
        };
        self.pool.strays.adopt(async move {
            if let Ok(Ok(mut exchange)) = tokio::time::timeout(span, alone.begin()).await {
                exchange.send_out().await;
            }
        });
    }
}

/// A worker in somebody's hand and not yet used: dropped, it goes to the next who waits.
struct Grip {
    shared: Arc<Shared>,
    worker: Option<Worker>,
}

impl Grip {
    fn take_worker(&mut self) -> Worker {
        // From here on the worker counts as used: its place is given up when the lease ends.
        match &self.worker {
            Some(Worker::Permit) => Worker::Permit,
            _ => self.worker.take().expect("a grip holds a worker until it is taken"),
        }
    }

    fn into_lease(mut self) -> Lease {
        let permit = matches!(self.worker.take(), Some(Worker::Permit));
        Lease { shared: self.shared.clone(), permit, given_back: false }
    }
}

impl Drop for Grip {
    fn drop(&mut self) {
        if let Some(worker) = self.worker.take() {
            self.shared.hand_on(worker);
        }
    }
}

/// The right to the place of a worker that is in use. When it ends without the connection having been given back, the
/// connection is gone, and the driver looks for another.
pub(crate) struct Lease {
    shared: Arc<Shared>,
    permit: bool,
    given_back: bool,
}

impl Lease {
    /// The worker has answered and is ready for another request.
    pub(crate) fn give_back(mut self, link: Box<Link>) {
        debug_assert!(!self.permit);
        self.given_back = true;
        self.shared.hand_on(Worker::Link(link));
    }

    pub(crate) fn log(&self, bytes: &[u8]) {
        if let Some(sink) = &self.shared.settings.stderr {
            sink(bytes);
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if self.given_back {
            return;
        }
        if self.permit {
            self.shared.hand_on(Worker::Permit);
        } else {
            self.shared.lock().live -= 1;
            self.shared.driver.notify.notify_one();
        }
    }
}

impl State {
    /// Why nothing can be asked of the pool, when it has been out of reach for too long.
    fn out_of_reach(&self, at: Instant, limit: Duration) -> Option<String> {
        let (since, why) = self.unreachable.as_ref()?;
        (self.live == 0 && at - *since >= limit).then(|| why.clone())
    }

    /// How many knocks to send: one per worker that is told of and not known, and always one at the door.
    fn wanted(&self, max: usize) -> usize {
        if self.retiring && self.manner == Manner::Kept {
            let missing = RETIRED_KEEP.saturating_sub(self.live);
            return self.queue.waiting().min(missing).saturating_sub(self.knocking);
        }
        let missing = match self.manner {
            Manner::Unknown => 1,
            Manner::Kept => (self.told.saturating_sub(self.live)).max(1),
            Manner::Single => 0,
        };
        missing.min(max.saturating_sub(self.live)).saturating_sub(self.knocking)
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn grip(self: &Arc<Self>, worker: Worker) -> Grip {
        Grip { shared: self.clone(), worker: Some(worker) }
    }

    /// A worker is free: to whoever waits, or among the idle ones.
    fn hand_on(self: &Arc<Self>, worker: Worker) {
        let grant = {
            let mut state = self.lock();
            if state.closed {
                return;
            }
            if state.queue.waiting() == 0
                && let Worker::Link(link) = &worker
            {
                if state.retiring && state.live > RETIRED_KEEP {
                    state.live -= 1;
                    return;
                }
                link.watch(&self.idle_waker);
            }
            state.queue.free(worker)
        };
        if let Some(Grant { worker, to }) = grant {
            // When the other end has left meanwhile, the grip comes back and hands the worker on once more.
            drop(to.send(Ok(self.grip(worker))));
        }
    }
}

/// What the driver does next.
struct Turn {
    knocks: usize,
    /// When to look again, if nothing happens before.
    until: Option<Instant>,
    expired: Vec<(Reply, CallError)>,
    closed: bool,
}

async fn drive(shared: Arc<Shared>) {
    let mut retry_at: Option<Instant> = None;
    loop {
        if shared.driver.look_at_idle.swap(false, Ordering::Relaxed) {
            let mut state = shared.lock();
            let mut cx = Context::from_waker(&shared.idle_waker);
            let gone = state.queue.retire(|worker| match worker {
                Worker::Link(link) => link.poll_idle(&mut cx) == Idle::Leaves,
                Worker::Permit => false,
            });
            state.live -= gone.len();
        }
        let turn = next_turn(&shared, retry_at);
        for (reply, error) in turn.expired {
            drop(reply.send(Err(error)));
        }
        if turn.closed {
            return;
        }
        if retry_at.is_some_and(|at| at <= now()) {
            retry_at = None;
        }
        for _ in 0..turn.knocks {
            tokio::spawn(knock(shared.clone()));
        }
        tokio::select! {
            () = shared.driver.notify.notified() => {}
            () = sleep_until(turn.until) => {}
        }
        let state = shared.lock();
        if state.unreachable.is_some() && retry_at.is_none() && state.knocking == 0 {
            retry_at = Some(now() + state.retry);
        }
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

fn next_turn(shared: &Shared, retry_at: Option<Instant>) -> Turn {
    let at = now();
    let settings = &shared.settings;
    let mut state = shared.lock();
    let mut expired = Vec::new();
    while let Some(reply) = state.queue.expire(at.into_std()) {
        expired.push((reply, CallError::QueueTimeout(settings.queue.timeout)));
    }
    let mut until = state.queue.next_deadline().map(Instant::from_std);
    if let Some((since, why)) = state.unreachable.clone()
        && state.live == 0
    {
        if at - since >= settings.reach_timeout {
            expired.extend(state.queue.dismiss().map(|reply| (reply, CallError::Down(why.clone()))));
        } else {
            let dismissal = since + settings.reach_timeout;
            until = Some(until.map_or(dismissal, |other| other.min(dismissal)));
        }
    }
    state.armed = until;
    let resting = retry_at.filter(|retry| *retry > at);
    let knocks = if state.closed || resting.is_some() { 0 } else { state.wanted(settings.max_connections) };
    state.knocking += knocks;
    if let Some(resting) = resting {
        until = Some(until.map_or(resting, |other| other.min(resting)));
    }
    if state.closed {
        expired.extend(state.queue.dismiss().map(|r| (r, CallError::Down("it is being closed".into()))));
        drop(state.queue.retire(|_| true));
    }
    Turn { knocks, until, expired, closed: state.closed }
}

/// Connects and waits at the door until a worker opens.
async fn knock(shared: Arc<Shared>) {
    let opened = async {
        let mut link = Link::connect(&shared.settings.address).await?;
        {
            let mut state = shared.lock();
            state.unreachable = None;
            state.retry = RETRY_FIRST;
        }
        let values = link.shake_hands().await?;
        io::Result::Ok((link, values))
    };
    let opened = opened.await;
    let mut free = Vec::new();
    {
        let mut state = shared.lock();
        state.knocking -= 1;
        match opened {
            Ok((link, values)) if values.knows_goaway => {
                state.manner = Manner::Kept;
                state.told = values.max_connections.or(shared.settings.workers).unwrap_or(1);
                state.live += 1;
                free.push(Worker::Link(Box::new(link)));
            }
            Ok((_, values)) => {
                if state.manner != Manner::Single {
                    state.manner = Manner::Single;
                    let told = values.max_connections.filter(|told| *told > 1);
                    let count = shared.settings.workers.or(told).unwrap_or(FOREIGN_WORKERS);
                    state.live += count;
                    free.extend((0..count).map(|_| Worker::Permit));
                }
            }
            // A peer that closes instead of answering knows no management records.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof && state.manner == Manner::Unknown => {
                state.unreachable.get_or_insert((now(), "it closes connections unanswered".to_owned()));
                state.retry = (state.retry * 2).min(RETRY_MAX);
            }
            Err(error) => {
                state.unreachable.get_or_insert((now(), error.to_string()));
                state.retry = (state.retry * 2).min(RETRY_MAX);
            }
        }
    }
    for worker in free {
        shared.hand_on(worker);
    }
    shared.driver.notify.notify_one();
}
