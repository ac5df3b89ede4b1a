//! The gateway's side, on tokio: submits requests and reads their answers.
//!
//! [`Gateway::drive`] runs beside the requests: it sleeps until the bell, sees which slots have news, and wakes the
//! tasks they belong to. While there is news it does not sleep but lets the runtime do its other work and looks
//! again, so that under load workers find it awake and ring no bell.
//!
//! **Whom to wake.** As long as fewer workers are awake than twice the processors, a request wakes a sleeper. Beyond
//! that it does not: whoever is awake takes the next request when it is done, and a fifth worker on two processors only
//! adds switches (measured: 64 workers on 2 processors served a trivial page at half the rate of 2 when every request
//! woke one). Those that are awake may all be waiting for a database, though: so while requests wait and sleepers
//! sleep, the driver looks every millisecond whether the queue moves, and wakes a sleeper for each request when it does
//! not. (A limit of once the processors was tried: where other programs take the processors, a request then waits for
//! a worker that is awake and does not get to run.)
//!
//! What comes from shared memory is believed only as far as it is checked: see [`Broken`].

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::os::fd::OwnedFd;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::Instant;

use super::files::Lane;
use super::janitor::Janitor;
use super::memory::{Memory, split};
use super::sys;
use crate::flow::{Corrupt, End};
use crate::queue::NotQueued;
use crate::shape::PRIORITIES;
use crate::slot::Slot;
use crate::wake::Desk;
use crate::word::{State, Word, next_turn};

/// While requests are in the lane, how often the driver looks for workers whose death nobody has told of.
const LOOK_AROUND: Duration = Duration::from_secs(1);

/// Workers awake per processor, beyond which a request wakes no more of them by itself.
const AWAKE_MAX: usize = 2;

/// A queue that does not move for so long gets more workers, when there are any that sleep.
const STANDSTILL: Duration = Duration::from_millis(1);

/// A gateway's seat in a lane. Clones are the same seat, which is free again when the last of them and the last
/// exchange are gone.
#[derive(Clone)]
pub struct Gateway {
    shared: Arc<Shared>,
}

struct Shared {
    lane: Arc<Lane>,
    janitor: Janitor,
    seat: usize,
    /// Holds the lock of the seat.
    _file: OwnedFd,
    local: Mutex<Local>,
    /// Held while a request is put into a queue.
    pushing: Mutex<()>,
    /// The queues make no sense: this gateway submits nothing more.
    broken: AtomicBool,
    bells: AtomicU64,
    /// Workers that may be awake before a request wakes no more of them by itself.
    awake_max: usize,
}

/// What this process knows of its slots, in memory that no worker can write.
struct Local {
    slots: Vec<Use>,
    /// Free slots; the one that was freed last is taken first, since its memory is the warmest.
    free: Vec<u16>,
    /// Slots with impossible words, which are not used again.
    lost: usize,
    /// The driver looks whether the queue moves.
    watching: bool,
    /// Sleepers that were woken since the driver's last turn, and have perhaps not noticed yet.
    woken: usize,
    /// Called for each slot that becomes free.
    on_free: Option<Arc<dyn Fn() + Send + Sync>>,
    driver: Option<Waker>,
    /// The driver sleeps without its timer: the next request wakes it.
    unarmed: bool,
    closed: bool,
}

impl Local {
    const fn is_idle(&self) -> bool {
        self.free.len() + self.lost == self.slots.len()
    }
}

/// A slot's use.
#[derive(Default)]
struct Use {
    turn: u32,
    kind: Kind,
    waker: Option<Waker>,
}

#[derive(Clone, Copy, PartialEq, Eq, Default)]
enum Kind {
    #[default]
    Free,
    /// An exchange has it.
    Held,
    /// Its exchange is gone (or was another gateway's, before us); it is free when its worker is done with it.
    Orphan,
    Lost,
}

/// Why a request was not submitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// All slots are in use.
    Full,
    /// The parameters are longer than a slot has room for.
    TooLong,
    /// Somebody has damaged the lane.
    Broken,
}

/// Why an exchange has no (complete) answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    /// The worker died.
    Died,
    /// The memory holds what no worker of ours can have written.
    Corrupt,
}

/// What [`Exchange::poll_read`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Read {
    /// Bytes were added; more may follow.
    Some,
    /// The answer is complete; the worker serves somebody else.
    End,
}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gateway").field("seat", &self.shared.seat).finish_non_exhaustive()
    }
}

impl Gateway {
    /// Takes a seat and what the last holder of it has left. [`Self::drive`] must run from then on.
    ///
    /// # Errors
    /// When all seats are taken.
    pub fn sit_down(lane: Arc<Lane>) -> io::Result<Self> {
        let (file, seat) = lane.sit_as_gateway()?;
        let janitor = Janitor::new(lane.clone())?;
        let local = take_over(&lane, seat);
        lane.header().open.fetch_or(1 << seat, Ordering::Relaxed);
        let shared = Shared {
            lane,
            janitor,
            seat,
            _file: file,
            local: Mutex::new(local),
            pushing: Mutex::default(),
            broken: AtomicBool::new(false),
            bells: AtomicU64::new(0),
            awake_max: AWAKE_MAX * std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Puts a request at the end of the queue: parameters, and as much of the body as there is already. `priority`
    /// counts from 0, the first to be served.
    ///
    /// `body` may be longer than there is room for; the exchange says how much it took.
    ///
    /// # Errors
    /// When there is no room; nothing has happened then.
    ///
    /// # Panics
    /// When there is no such priority.
    pub fn submit(
        &self,
        priority: usize,
        head: &[u8],
        body: &[u8],
        complete: bool,
    ) -> Result<Exchange, Refusal> {
        assert!(priority < PRIORITIES, "priority {priority}");
        let shared = &self.shared;
        let shape = shared.lane.shape();
        let head_len =
            u32::try_from(head.len()).ok().filter(|len| *len <= shape.head).ok_or(Refusal::TooLong)?;
        if shared.broken.load(Ordering::Relaxed) {
            return Err(Refusal::Broken);
        }
        let (at, turn, driver) = {
            let mut local = shared.lock();
            let at = local.free.pop().ok_or(Refusal::Full)?;
            let entry = &mut local.slots[usize::from(at)];
            entry.turn = next_turn(entry.turn);
            entry.kind = Kind::Held;
            let turn = entry.turn;
            let unarmed = std::mem::take(&mut local.unarmed);
            (at, turn, if unarmed { local.driver.take() } else { None })
        };
        let mut exchange = Exchange {
            shared: shared.clone(),
            at,
            turn,
            submitted_us: sys::monotonic_us(),
            taken_us: 0,
            read: 0,
            sent: 0,
            sent_all: false,
            open: true,
        };
        let slot = exchange.slot();
        slot.prepare(head_len);
        shared.memory().copy_in(&shared.memory().layout().head(exchange.place()), 0, head);
        exchange.put_body(body);
        if complete && exchange.sent == body.len() as u64 {
            exchange.slot().request.end(End::Complete);
            exchange.sent_all = true;
        }
        exchange.slot().queue(turn);
        let pushed = {
            // A ring has one writer, and the threads of this process share the seat.
            let _alone = shared.pushing.lock().unwrap_or_else(PoisonError::into_inner);
            let ticket = shared.lane.header().tickets.0.fetch_add(1, Ordering::Relaxed);
            shared.memory().ring(shared.seat, priority).push(at, turn, ticket)
        };
        if let Err(why) = pushed {
            if why == NotQueued::Corrupt {
                shared.broken.store(true, Ordering::Relaxed);
            }
            // The exchange takes itself back when it is dropped here.
            return Err(if why == NotQueued::Full { Refusal::Full } else { Refusal::Broken });
        }
        shared.wake_worker();
        if let Some(driver) = driver {
            driver.wake();
        }
        Ok(exchange)
    }

    /// `call` is called whenever a slot becomes free, so that who found the lane full can try again.
    pub fn on_free(&self, call: Arc<dyn Fn() + Send + Sync>) {
        self.shared.lock().on_free = Some(call);
    }

    /// The driver; see the module. It ends after [`Self::close`], when no exchange is left.
    ///
    /// # Errors
    /// When the bell cannot be registered with the runtime.
    pub async fn drive(&self) -> io::Result<()> {
        let shared = &self.shared;
        let bell = shared.lane.gateway_bell(shared.seat).try_clone_to_owned()?;
        // SAFETY: an owned descriptor gives the same number for as long as it lives, and the registration owns it.
        let bell = unsafe { AsyncFd::register_with_interest(bell, Interest::READABLE) }?;
        let desk = shared.desk();
        let slots = shared.lane.shape().slots as usize;
        let mut timer = pin!(tokio::time::sleep(LOOK_AROUND));
        let mut armed = false;
        let mut short = pin!(tokio::time::sleep(STANDSTILL));
        let mut watch = Watch::default();
        loop {
            if desk.drain(slots, |slot| shared.look_at(slot)) > 0 {
                // Answers show that whoever was woken is awake.
                shared.lock().woken = 0;
                tokio::task::yield_now().await;
                continue;
            }
            {
                let local = shared.lock();
                if local.is_idle() && local.closed {
                    return Ok(());
                }
                if !armed && !local.is_idle() {
                    armed = true;
                    timer.as_mut().reset(now() + LOOK_AROUND);
                }
            }
            let watching = shared.watch(&mut watch);
            if watching {
                short.as_mut().reset(now() + STANDSTILL);
            } else {
                watch = Watch::default();
            }
            if !desk.doze(slots) {
                continue;
            }
            let woken = poll_fn(|cx| {
                if let Poll::Ready(ready) = bell.poll_read_ready(cx) {
                    // The counter is never read: its edge is what wakes, and what is new is in the ready bits.
                    ready?.clear_ready();
                    return Poll::Ready(io::Result::Ok(Woken::Bell));
                }
                if armed && timer.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(Ok(Woken::Time));
                }
                if watching && short.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(Ok(Woken::Asked));
                }
                let mut local = shared.lock();
                if local.watching && !watching {
                    return Poll::Ready(Ok(Woken::Asked));
                }
                if local.is_idle() && local.closed || !local.is_idle() && !armed {
                    return Poll::Ready(Ok(Woken::Asked));
                }
                local.unarmed = !armed;
                local.driver = Some(cx.waker().clone());
                Poll::Pending
            });
            let woken = woken.await?;
            desk.awake();
            if let Woken::Time = woken {
                armed = false;
                shared.janitor.look_around(true);
                shared.look_at_all();
            }
        }
    }

    /// Submits nothing more; [`Self::drive`] ends when the last exchange has.
    pub fn close(&self) {
        let mut local = self.shared.lock();
        local.closed = true;
        if let Some(driver) = local.driver.take() {
            driver.wake();
        }
    }

    /// Bytes of parameters that a request may have.
    #[must_use]
    pub fn head_max(&self) -> usize {
        self.shared.lane.shape().head as usize
    }

    /// Whether the lane was found damaged; then nothing can be submitted any more.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.shared.broken.load(Ordering::Relaxed)
    }

    /// Workers that have a seat in the lane.
    #[must_use]
    pub fn workers(&self) -> usize {
        self.shared.lane.seated()
    }

    /// What the lane is doing for this gateway.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let shared = &self.shared;
        let (waiting, taken) =
            shared.memory().slots(shared.seat).iter().fold((0, 0), |(waiting, taken), slot| {
                match slot.word().map(|word| word.state) {
                    Some(State::Queued) => (waiting + 1, taken),
                    Some(State::Taken(_)) => (waiting, taken + 1),
                    _ => (waiting, taken),
                }
            });
        let local = shared.lock();
        Counts {
            waiting,
            taken,
            free: local.free.len(),
            lost: local.lost,
            bells: shared.bells.load(Ordering::Relaxed),
        }
    }
}

/// What the driver saw of the queue when it last looked.
#[derive(Default)]
struct Watch {
    passed: u64,
    since: Option<Instant>,
}

enum Woken {
    Bell,
    Time,
    Asked,
}

/// What the lane is doing for one gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Requests that no worker has taken yet.
    pub waiting: usize,
    /// Requests in the hands of workers.
    pub taken: usize,
    /// Slots that are free.
    pub free: usize,
    /// Slots that were found damaged and are not used again.
    pub lost: usize,
    /// How often the workers' bell was rung.
    pub bells: u64,
}

/// What the last gateway on this seat has left: what nobody has taken is taken back, what a worker has is aborted and
/// becomes free when the worker is done.
fn take_over(lane: &Lane, seat: usize) -> Local {
    let mut local = Local {
        slots: Vec::new(),
        free: Vec::new(),
        lost: 0,
        on_free: None,
        driver: None,
        unarmed: false,
        watching: false,
        woken: 0,
        closed: false,
    };
    for (at, slot) in (0..).zip(lane.memory.slots(seat)) {
        let word = slot.word().unwrap_or(Word::new(0, State::Free));
        let kind = match word.state {
            State::Queued if !slot.take_back(word.turn) => Kind::Orphan,
            State::Taken(_) => Kind::Orphan,
            _ => Kind::Free,
        };
        if kind == Kind::Orphan {
            abandon(slot, word.turn);
        } else {
            slot.free(word.turn);
            local.free.push(at);
        }
        local.slots.push(Use { turn: word.turn, kind, waker: None });
    }
    local.free.reverse();
    local
}

fn abandon(slot: &Slot, turn: u32) {
    slot.abort(turn);
    if slot.must_wake() {
        sys::futex_wake(slot.waiting());
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Local> {
        self.local.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn memory(&self) -> &Memory {
        &self.lane.memory
    }

    fn desk(&self) -> &Desk {
        &self.lane.header().gateways[self.seat].desk
    }

    fn slot(&self, at: u16) -> &Slot {
        &self.memory().slots(self.seat)[usize::from(at)]
    }

    /// After a request was queued; see the module.
    fn wake_worker(&self) {
        let asleep = self.lane.header().sleepers.after_work() as usize;
        if asleep == 0 {
            return;
        }
        let awake = self.lane.seated().saturating_sub(asleep);
        let driver = {
            let mut local = self.lock();
            if awake + local.woken < self.awake_max {
                local.woken += 1;
                None
            } else if std::mem::replace(&mut local.watching, true) {
                return;
            } else {
                Some(local.driver.take())
            }
        };
        match driver {
            None => self.ring_workers(1),
            Some(driver) => driver.into_iter().for_each(Waker::wake),
        }
    }

    fn ring_workers(&self, count: usize) {
        self.bells.fetch_add(count as u64, Ordering::Relaxed);
        (0..count).for_each(|_| sys::ring(self.lane.bell()));
    }

    /// How many requests were ever taken or passed in this gateway's queues, and how many wait.
    fn queue(&self) -> (u64, usize) {
        (0..PRIORITIES)
            .map(|priority| self.memory().ring(self.seat, priority).position())
            .fold((0, 0), |(passed, waiting), (head, len)| (passed.wrapping_add(head), waiting + len))
    }

    /// The driver's turn: whether it must go on looking.
    fn watch(&self, watch: &mut Watch) -> bool {
        {
            let mut local = self.lock();
            local.woken = 0;
            if !local.watching {
                return false;
            }
        }
        let (passed, waiting) = self.queue();
        let asleep = self.lane.header().sleepers.after_work() as usize;
        if waiting == 0 || asleep == 0 {
            self.lock().watching = false;
            // A request may have come in between; who submits it next sees that nobody watches.
            let (_, waiting) = self.queue();
            if waiting > 0 && asleep > 0 {
                self.ring_workers(1);
            }
            return false;
        }
        let at = now();
        if passed != watch.passed || watch.since.is_none() {
            *watch = Watch { passed, since: Some(at) };
        } else if watch.since.is_some_and(|since| at - since >= STANDSTILL) {
            watch.since = Some(at);
            self.ring_workers(waiting.min(asleep));
        }
        true
    }

    /// A worker says that there is news of a slot.
    fn look_at(&self, at: u16) {
        let mut local = self.lock();
        let entry = &mut local.slots[usize::from(at)];
        match entry.kind {
            Kind::Held => {
                let waker = entry.waker.take();
                drop(local);
                if let Some(waker) = waker {
                    waker.wake();
                }
            }
            Kind::Orphan => {
                let turn = entry.turn;
                drop(local);
                self.settle(at, turn);
            }
            Kind::Free | Kind::Lost => {}
        }
    }

    /// Looks at every slot as if there were news; for when who would have told may have died.
    fn look_at_all(&self) {
        for at in 0..self.lane.shape().slots {
            self.look_at(u16::try_from(at).unwrap_or(u16::MAX));
        }
    }

    /// An orphan is free once no worker has it.
    fn settle(&self, at: u16, turn: u32) {
        match self.slot(at).word() {
            Some(Word { turn: found, state: State::Done(_) | State::Died(_) | State::Free })
                if found == turn =>
            {
                self.release(at, turn);
            }
            Some(Word { turn: found, state: State::Taken(_) }) if found == turn => {}
            _ => self.lose(at),
        }
    }

    /// The slot is free again.
    fn release(&self, at: u16, turn: u32) {
        self.slot(at).free(turn);
        let call = {
            let mut local = self.lock();
            let entry = &mut local.slots[usize::from(at)];
            entry.kind = Kind::Free;
            entry.waker = None;
            local.free.push(at);
            if local.closed
                && let Some(driver) = local.driver.take()
            {
                driver.wake();
            }
            local.on_free.clone()
        };
        if let Some(call) = call {
            call();
        }
    }

    /// The slot holds what it cannot hold: who has it is unknown, and so it is not used again.
    fn lose(&self, at: u16) {
        let mut local = self.lock();
        let entry = &mut local.slots[usize::from(at)];
        if entry.kind != Kind::Lost {
            entry.kind = Kind::Lost;
            entry.waker = None;
            local.lost += 1;
        }
    }
}

/// A request in the lane and its answer. Dropped before its end, it takes the request back or, when a worker has it,
/// tells the worker that nobody listens.
pub struct Exchange {
    shared: Arc<Shared>,
    at: u16,
    turn: u32,
    submitted_us: u64,
    /// When a worker took it, as far as it was seen.
    taken_us: u64,
    /// Answer bytes read.
    read: u64,
    /// Body bytes written.
    sent: u64,
    sent_all: bool,
    /// Whether the slot is still this exchange's.
    open: bool,
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange").field("slot", &self.at).field("turn", &self.turn).finish_non_exhaustive()
    }
}

impl Exchange {
    fn slot(&self) -> &Slot {
        self.shared.slot(self.at)
    }

    fn place(&self) -> usize {
        self.shared.seat * self.shared.lane.shape().slots as usize + usize::from(self.at)
    }

    /// How much of the body is in the lane or through it.
    #[must_use]
    pub const fn sent(&self) -> u64 {
        self.sent
    }

    /// Whether a worker has (or had) the request.
    #[must_use]
    pub fn is_taken(&self) -> bool {
        !self.open || self.slot().word() != Some(Word::new(self.turn, State::Queued))
    }

    /// How long the request waited for a worker, up to now if it still does.
    #[must_use]
    pub fn waited(&self) -> Duration {
        let until = if self.taken_us() > 0 { self.taken_us() } else { sys::monotonic_us() };
        Duration::from_micros(until.saturating_sub(self.submitted_us))
    }

    /// How long a worker has had the request.
    #[must_use]
    pub fn in_work(&self) -> Duration {
        match self.taken_us() {
            0 => Duration::ZERO,
            taken => Duration::from_micros(sys::monotonic_us().saturating_sub(taken)),
        }
    }

    fn taken_us(&self) -> u64 {
        if self.open { self.slot().taken_us() } else { self.taken_us }
    }

    /// Takes the request back; false when a worker has it already, and the answer is still to come.
    #[must_use]
    pub fn take_back(&mut self) -> bool {
        let back = self.open && self.slot().take_back(self.turn);
        if back {
            self.open = false;
            self.shared.release(self.at, self.turn);
        }
        back
    }

    /// Writes as much of `bytes` as there is room for; how much it was.
    fn put_body(&mut self, bytes: &[u8]) -> usize {
        let memory = self.shared.memory();
        let area = memory.layout().request(self.place());
        let len = self.slot().request.room(self.sent, area.len()).min(bytes.len());
        if len > 0 {
            let (at, first, _) = split(area.len(), self.sent, len);
            memory.copy_in(&area, at, &bytes[..first]);
            memory.copy_in(&area, 0, &bytes[first..len]);
            self.sent += len as u64;
            self.slot().request.publish(self.sent);
        }
        len
    }

    /// Writes the next bytes of the body, as many as there is room for. Zero when the worker wants no more of it.
    pub fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<usize> {
        if !self.open || bytes.is_empty() {
            return Poll::Ready(0);
        }
        self.listen(cx);
        let mut len = self.put_body(bytes);
        if len == 0 {
            self.slot().want_room();
            len = self.put_body(bytes);
        }
        if len > 0 {
            self.wake_worker();
            return Poll::Ready(len);
        }
        match self.slot().word().map(|word| word.state) {
            Some(State::Queued | State::Taken(_)) => Poll::Pending,
            _ => Poll::Ready(0),
        }
    }

    /// The body ends here: complete, or because its source failed.
    pub fn end_body(&mut self, complete: bool) {
        if self.open && !self.sent_all {
            self.sent_all = true;
            self.slot().request.end(if complete { End::Complete } else { End::Broken });
            self.wake_worker();
        }
    }

    /// Whether all of the body is in the lane or through it.
    #[must_use]
    pub const fn is_body_sent(&self) -> bool {
        self.sent_all
    }

    /// Adds what there is of the answer to `out`.
    ///
    /// # Errors
    /// When the worker has died, or the memory is damaged.
    pub fn poll_read(&mut self, cx: &mut Context<'_>, out: &mut BytesMut) -> Poll<Result<Read, Broken>> {
        if !self.open {
            return Poll::Ready(Ok(Read::End));
        }
        self.listen(cx);
        // The word is looked at before the count: whoever sees DONE sees the last count.
        let word = self.slot().word().filter(|word| word.turn == self.turn);
        let ring = self.shared.lane.shape().response as usize;
        let available = match (word, self.slot().response.available(self.read, ring)) {
            (Some(_), Ok(available)) => available,
            (None, _) | (_, Err(Corrupt)) => return Poll::Ready(Err(self.corrupt(word))),
        };
        if available.len > 0 {
            self.copy_answer(available.len, out);
        }
        match word.map(|word| word.state) {
            Some(State::Done(_)) => {
                self.let_go();
                Poll::Ready(Ok(Read::End))
            }
            Some(State::Died(_)) => {
                self.let_go();
                Poll::Ready(Err(Broken::Died))
            }
            Some(State::Queued | State::Taken(_)) if available.len > 0 => {
                self.slot().response.consume(self.read);
                self.wake_worker();
                Poll::Ready(Ok(Read::Some))
            }
            Some(State::Queued | State::Taken(_)) => Poll::Pending,
            Some(State::Free) | None => Poll::Ready(Err(self.corrupt(word))),
        }
    }

    fn copy_answer(&mut self, len: usize, out: &mut BytesMut) {
        let memory = self.shared.memory();
        let area = memory.layout().response(self.place());
        let (at, first, rest) = split(area.len(), self.read, len);
        out.reserve(len);
        memory.append(&area, at, first, out);
        memory.append(&area, 0, rest, out);
        self.read += len as u64;
    }

    /// The waker is in place before the slot is looked at, so that no news falls between.
    fn listen(&self, cx: &Context<'_>) {
        let mut local = self.shared.lock();
        let waker = &mut local.slots[usize::from(self.at)].waker;
        match waker {
            Some(known) if known.will_wake(cx.waker()) => {}
            _ => *waker = Some(cx.waker().clone()),
        }
    }

    fn wake_worker(&self) {
        if self.slot().must_wake() {
            sys::futex_wake(self.slot().waiting());
        }
    }

    fn let_go(&mut self) {
        self.taken_us = self.slot().taken_us();
        self.open = false;
        self.shared.release(self.at, self.turn);
    }

    /// A worker that can be told of it stops; the slot is its own until it is done.
    fn corrupt(&mut self, word: Option<Word>) -> Broken {
        self.open = false;
        match word.map(|word| word.state) {
            Some(State::Taken(_)) => self.abandon(),
            Some(State::Done(_) | State::Died(_)) => self.shared.release(self.at, self.turn),
            _ => self.shared.lose(self.at),
        }
        Broken::Corrupt
    }

    fn abandon(&self) {
        self.shared.lock().slots[usize::from(self.at)].kind = Kind::Orphan;
        abandon(self.slot(), self.turn);
        // It may be done already, and its announcement past.
        self.shared.settle(self.at, self.turn);
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if self.open && !self.take_back() {
            self.open = false;
            self.abandon();
        }
    }
}

/// The one place of this crate that reads the clock.
fn now() -> Instant {
    Instant::now()
}
