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
//! **Naps.** Who knows that the workers have enough to do for a while, as the runner of queued jobs does, can have the
//! driver look only from time to time ([`Gateway::nap`]): for answers that nobody waits for, the workers ring no bell.
//!
//! What comes from shared memory is believed only as far as it is checked: see [`Broken`].

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::os::fd::AsFd as _;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::Instant;

use super::estate::{abandon, take_over};
use super::exchange::Exchange;
use super::files::{GatewaySeat, Lane};
use super::janitor::Janitor;
use super::memory::Memory;
use super::sys;
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

/// A nap is never longer.
const NAP_MAX: Duration = Duration::from_millis(10);

/// A gateway's seat in a lane. Clones are the same seat, which is free again when the last of them and the last
/// exchange are gone.
#[derive(Clone)]
pub struct Gateway {
    pub(super) shared: Arc<Shared>,
}

pub(super) struct Shared {
    pub(super) lane: Arc<Lane>,
    janitor: Janitor,
    pub(super) seat: usize,
    /// Holds the lock of the seat.
    _held: GatewaySeat,
    local: Mutex<Local>,
    /// Held while a request is put into a queue.
    pushing: Mutex<()>,
    /// The queues make no sense: this gateway submits nothing more.
    broken: AtomicBool,
    bells: AtomicU64,
    /// Workers that may be awake before a request wakes no more of them by itself.
    awake_max: usize,
    /// How long the driver sleeps without listening to the bell, in microseconds.
    nap_us: AtomicU64,
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
    fn new(slots: Vec<Use>) -> Self {
        let free = (0..).zip(&slots).filter(|(_, entry)| entry.kind == Kind::Free).map(|(at, _)| at);
        let mut free: Vec<u16> = free.collect();
        free.reverse();
        Self {
            slots,
            free,
            lost: 0,
            on_free: None,
            driver: None,
            unarmed: false,
            watching: false,
            woken: 0,
            closed: false,
        }
    }

    const fn is_idle(&self) -> bool {
        self.free.len() + self.lost == self.slots.len()
    }
}

/// A slot's use.
#[derive(Default)]
pub(super) struct Use {
    pub(super) turn: u32,
    pub(super) kind: Kind,
    pub(super) waker: Option<Waker>,
}

#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Kind {
    #[default]
    Free,
    /// An exchange has it.
    Held,
    /// Its exchange is gone and it is kept: an heir of this process frees it.
    Left,
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
    /// Takes a seat and clears what the last holder of it has left. [`Self::drive`] must run from then on.
    ///
    /// # Errors
    /// When all seats are taken.
    pub fn sit_down(lane: Arc<Lane>) -> io::Result<Self> {
        let (held, seat) = lane.sit_as_gateway()?;
        let uses = take_over(&lane, seat, &[]);
        Self::on_seat(lane, held, seat, uses)
    }

    pub(super) fn on_seat(
        lane: Arc<Lane>,
        held: GatewaySeat,
        seat: usize,
        uses: Vec<Use>,
    ) -> io::Result<Self> {
        let janitor = Janitor::new(lane.clone())?;
        lane.header().open.fetch_or(1 << seat, Ordering::Relaxed);
        let shared = Shared {
            lane,
            janitor,
            seat,
            _held: held,
            local: Mutex::new(Local::new(uses)),
            pushing: Mutex::default(),
            broken: AtomicBool::new(false),
            bells: AtomicU64::new(0),
            awake_max: AWAKE_MAX * std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            nap_us: AtomicU64::new(0),
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
        self.submit_as(priority, head, body, complete, false)
    }

    /// The same for a request that must not be lost with this process: see [`Exchange`] and [`super::estate`].
    ///
    /// # Errors
    /// As [`Self::submit`].
    ///
    /// # Panics
    /// When there is no such priority.
    pub fn submit_kept(
        &self,
        priority: usize,
        head: &[u8],
        body: &[u8],
        complete: bool,
    ) -> Result<Exchange, Refusal> {
        self.submit_as(priority, head, body, complete, true)
    }

    fn submit_as(
        &self,
        priority: usize,
        head: &[u8],
        body: &[u8],
        complete: bool,
        kept: bool,
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
        let mut exchange = Exchange::new(shared.clone(), at, turn, kept);
        exchange.prepare(head_len, head, body, complete);
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

    /// From now on, answers may lie for `span` before they are noticed, as long as any request is under way; zero, as
    /// in the beginning, for at once. It holds from the driver's next turn on.
    pub fn nap(&self, span: Duration) {
        let us = u64::try_from(span.min(NAP_MAX).as_micros()).unwrap_or(0);
        self.shared.nap_us.store(us, Ordering::Relaxed);
    }

    /// Says how many workers there shall be, for a gateway that knows of more work than lies here; none for as many as those that
    /// wait ask for. It outlives the gateway.
    pub fn wish(&self, count: Option<usize>) {
        let number = count.map_or(0, |count| u32::try_from(count).unwrap_or(u32::MAX - 1).saturating_add(1));
        self.shared.lane.header().wished.store(number, Ordering::Relaxed);
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
        // SAFETY: as above.
        let alarm = unsafe { AsyncFd::register_with_interest(sys::alarm()?, Interest::READABLE) }?;
        // Who has slept for nothing listens to the bell.
        let mut napped = false;
        loop {
            if desk.drain(slots, |slot| shared.look_at(slot)) > 0 {
                napped = false;
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
            let nap = Duration::from_micros(shared.nap_us.load(Ordering::Relaxed));
            if !nap.is_zero() && !napped && !shared.lock().is_idle() {
                napped = true;
                sys::set_alarm(alarm.as_fd(), nap)?;
                // Setting it anew takes back that it has rung, so it is never read.
                alarm.readable().await?.clear_ready();
                if armed && timer.as_ref().deadline() <= now() {
                    armed = false;
                    shared.janitor.look_around(true);
                    shared.look_at_all();
                }
                continue;
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

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Local> {
        self.local.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn memory(&self) -> &Memory {
        &self.lane.memory
    }

    fn desk(&self) -> &Desk {
        &self.lane.header().gateways[self.seat].desk
    }

    pub(super) fn slot(&self, at: u16) -> &Slot {
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
            Kind::Free | Kind::Left | Kind::Lost => {}
        }
    }

    /// Looks at every slot as if there were news; for when who would have told may have died.
    fn look_at_all(&self) {
        for at in 0..self.lane.shape().slots {
            self.look_at(u16::try_from(at).unwrap_or(u16::MAX));
        }
    }

    /// Wakes `waker` when there is news of the slot.
    pub(super) fn listen(&self, at: u16, waker: &Waker) {
        let mut local = self.lock();
        let place = &mut local.slots[usize::from(at)].waker;
        match place {
            Some(known) if known.will_wake(waker) => {}
            _ => *place = Some(waker.clone()),
        }
    }

    /// Nobody of this gateway listens to the answer any more.
    pub(super) fn abandon(&self, at: u16, turn: u32) {
        self.lock().slots[usize::from(at)].kind = Kind::Orphan;
        abandon(self.slot(at), turn);
        // It may be done already, and its announcement past.
        self.settle(at, turn);
    }

    /// The slot is for an heir.
    pub(super) fn leave(&self, at: u16) {
        let mut local = self.lock();
        let entry = &mut local.slots[usize::from(at)];
        entry.kind = Kind::Left;
        entry.waker = None;
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
    pub(super) fn release(&self, at: u16, turn: u32) {
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
    pub(super) fn lose(&self, at: u16) {
        let mut local = self.lock();
        let entry = &mut local.slots[usize::from(at)];
        if entry.kind != Kind::Lost {
            entry.kind = Kind::Lost;
            entry.waker = None;
            local.lost += 1;
        }
    }
}

/// The one place of this crate that reads the clock.
fn now() -> Instant {
    Instant::now()
}
