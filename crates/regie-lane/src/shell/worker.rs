//! The worker's side: takes requests, reads their bodies, writes their answers. Nothing here allocates once a worker
//! has its seat, nothing keeps state beyond [`Worker`] and [`Job`], which are plain values, and every function
//! returns normally, so all of it can be called from C.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::files::Lane;
use super::memory::split;
use super::sys::{self, EVENTS, Epoll, Watch};
use crate::flow::{Corrupt, End};
use crate::shape::{GATEWAYS, PRIORITIES};
use crate::slot::Slot;
use crate::word::{Holder, State, Word};

/// A worker without a request. It keeps its seat until it is dropped or dies.
#[derive(Debug)]
pub struct Worker<L: AsRef<Lane>> {
    lane: L,
    holder: Holder,
    epoll: Epoll,
    /// Holds the lock of the seat.
    file: OwnedFd,
    /// Requests since the other descriptors were last looked at.
    in_a_row: u32,
}

/// A request in a worker's hands. It must be given back through [`Worker::finish`]; a worker that ends without doing
/// so is buried with it.
#[derive(Debug)]
pub struct Job {
    gateway: usize,
    slot: usize,
    turn: u32,
    head_len: usize,
    /// Body bytes read.
    read: u64,
    /// Answer bytes written, and how many of them the gateway has been told of.
    written: u64,
    published: u64,
}

/// Nobody wants the rest of the answer, or waiting for its reader was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gone;

/// Why [`Worker::wait`] returned.
#[derive(Debug)]
pub enum Wake {
    /// A request.
    Job(Job),
    /// The descriptor that was watched with this token is ready.
    Ready(u64),
    /// The time is over.
    Time,
    /// A signal came.
    Signal,
}

const BELL: u64 = u64::MAX;

/// After so many requests without a pause the other descriptors are looked at once, so that a steady stream in the
/// lane leaves nobody else at the door.
const IN_A_ROW: u32 = 32;

/// How long a worker sleeps within a request before it looks whether its gateway lives.
const LOOK: Duration = Duration::from_secs(1);

impl<L: AsRef<Lane>> Worker<L> {
    /// Takes a seat, in the process that will serve: a seat does not pass to children.
    ///
    /// # Errors
    /// When all seats are taken or the system is short of something.
    pub fn sit_down(lane: L) -> io::Result<Self> {
        let (file, holder) = lane.as_ref().sit_as_worker()?;
        let epoll = Epoll::new()?;
        epoll.watch(lane.as_ref().bell(), Watch::SharedEdge, BELL)?;
        Ok(Self { lane, holder, epoll, file, in_a_row: 0 })
    }

    /// The seat, counted from 0; for a scoreboard.
    pub const fn seat(&self) -> u16 {
        self.holder.seat
    }

    /// Watches a descriptor while idle. `shared`: other workers watch it too, and one of them is enough (a listening
    /// socket).
    ///
    /// # Errors
    /// Those of `epoll_ctl(2)`.
    pub fn watch(&self, fd: BorrowedFd<'_>, shared: bool, token: u64) -> io::Result<()> {
        let how = if shared { Watch::Shared } else { Watch::Own };
        self.epoll.watch(fd, how, token)
    }

    /// Ends [`Self::watch`].
    ///
    /// # Errors
    /// Those of `epoll_ctl(2)`.
    pub fn unwatch(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        self.epoll.unwatch(fd)
    }

    /// The next request, if there is one.
    pub fn take(&mut self) -> Option<Job> {
        let lane = self.lane.as_ref();
        let open = lane.header().open.load(Ordering::Relaxed);
        for priority in 0..PRIORITIES {
            loop {
                let first = (0..GATEWAYS)
                    .filter(|gateway| open & (1 << gateway) != 0)
                    .filter_map(|gateway| Some((lane.memory.ring(gateway, priority).peek()?, gateway)))
                    .min();
                let Some((_, gateway)) = first else { break };
                if let Some((slot, turn)) = lane.memory.ring(gateway, priority).take(self.holder) {
                    return Some(self.job(gateway, usize::from(slot), turn));
                }
            }
        }
        None
    }

    fn job(&self, gateway: usize, slot: usize, turn: u32) -> Job {
        let memory = &self.lane.as_ref().memory;
        let taken = &memory.slots(gateway)[slot];
        taken.note_taken(sys::monotonic_us());
        let head_len = taken.head_len().min(memory.shape().head) as usize;
        Job { gateway, slot, turn, head_len, read: 0, written: 0, published: 0 }
    }

    /// Sleeps until there is a request or a watched descriptor is ready. No limit = for as long as it takes.
    ///
    /// # Errors
    /// Those of `epoll_wait(2)` other than a signal.
    pub fn wait(&mut self, limit: Option<Duration>) -> io::Result<Wake> {
        if self.in_a_row >= IN_A_ROW {
            self.in_a_row = 0;
            if let Some(token) = self.look(Some(Duration::ZERO))?.token {
                return Ok(Wake::Ready(token));
            }
        }
        loop {
            if let Some(job) = self.take() {
                self.in_a_row += 1;
                return Ok(Wake::Job(job));
            }
            self.in_a_row = 0;
            let looked = self.sleep(limit);
            match looked {
                Ok(Looked { token: Some(token), .. }) => return Ok(Wake::Ready(token)),
                Ok(Looked { belled: false, .. }) => return Ok(Wake::Time),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(Wake::Signal),
                Err(error) => return Err(error),
            }
        }
    }

    /// See [`crate::wake`].
    fn sleep(&self, limit: Option<Duration>) -> io::Result<Looked> {
        let sleepers = &self.lane.as_ref().header().sleepers;
        sleepers.lie_down(self.holder.seat);
        let looked = if self.is_work_there() { Ok(Looked::BELL) } else { self.look(limit) };
        sleepers.get_up(self.holder.seat);
        looked
    }

    fn is_work_there(&self) -> bool {
        let lane = self.lane.as_ref();
        let open = lane.header().open.load(Ordering::Relaxed);
        (0..GATEWAYS)
            .filter(|gateway| open & (1 << gateway) != 0)
            .any(|gateway| (0..PRIORITIES).any(|priority| !lane.memory.ring(gateway, priority).is_empty()))
    }

    fn look(&self, limit: Option<Duration>) -> io::Result<Looked> {
        let mut tokens = [0; EVENTS];
        let count = self.epoll.wait(&mut tokens, limit)?;
        let mut looked = Looked { belled: false, token: None };
        for token in &tokens[..count] {
            match *token {
                BELL => looked.belled = true,
                other => looked.token = looked.token.or(Some(other)),
            }
        }
        Ok(looked)
    }

    fn slot(&self, job: &Job) -> &Slot {
        &self.lane.as_ref().memory.slots(job.gateway)[job.slot]
    }

    fn place(&self, job: &Job) -> usize {
        job.gateway * self.lane.as_ref().shape().slots as usize + job.slot
    }

    /// Copies the parameters into `out`; how many bytes they have. When that is more than `out` holds, nothing is
    /// copied.
    pub fn copy_head(&self, job: &Job, out: &mut [u8]) -> usize {
        let memory = &self.lane.as_ref().memory;
        if let Some(out) = out.get_mut(..job.head_len) {
            memory.copy_out(&memory.layout().head(self.place(job)), 0, out);
        }
        job.head_len
    }

    /// Whether nobody listens to the answer any more.
    pub fn is_aborted(&self, job: &Job) -> bool {
        self.slot(job).is_aborted(job.turn)
    }

    /// Reads from the request's body, and waits when nothing of it is there; 0 at its end. `go_on` is asked whenever
    /// a signal interrupts the wait.
    ///
    /// # Errors
    /// When the body broke off, nobody listens any more, or `go_on` said no.
    pub fn read_body(&self, job: &mut Job, out: &mut [u8], go_on: impl Fn() -> bool) -> Result<usize, Gone> {
        let ring = self.lane.as_ref().shape().request as usize;
        let slot = self.slot(job);
        loop {
            let available = slot.request.available(job.read, ring).map_err(|Corrupt| Gone)?;
            let len = available.len.min(out.len());
            if len > 0 {
                self.copy_body(job, &mut out[..len]);
                job.read += len as u64;
                slot.request.consume(job.read);
                if available.len - len <= ring / 2 && slot.must_tell_room() {
                    self.announce(job);
                }
                return Ok(len);
            }
            match available.end {
                _ if out.is_empty() => return Ok(0),
                End::Complete => return Ok(0),
                End::Broken => return Err(Gone),
                End::Open => {}
            }
            let still = || matches!(slot.request.available(job.read, ring), Ok(a) if a.len == 0 && a.end == End::Open);
            self.sleep_in(job, still, &go_on)?;
        }
    }

    fn copy_body(&self, job: &Job, out: &mut [u8]) {
        let memory = &self.lane.as_ref().memory;
        let area = memory.layout().request(self.place(job));
        let (at, first, _) = split(area.len(), job.read, out.len());
        let (head, tail) = out.split_at_mut(first);
        memory.copy_out(&area, at, head);
        memory.copy_out(&area, 0, tail);
    }

    /// Writes to the answer, and waits when the gateway has not read what was written before. The gateway is told
    /// when enough has come together; [`Self::flush`] tells it at once.
    ///
    /// # Errors
    /// When nobody listens any more, or `go_on` said no when a signal interrupted the wait.
    pub fn write(&self, job: &mut Job, mut bytes: &[u8], go_on: impl Fn() -> bool) -> Result<(), Gone> {
        let ring = self.lane.as_ref().shape().response as usize;
        let slot = self.slot(job);
        while !bytes.is_empty() {
            if slot.is_aborted(job.turn) {
                return Err(Gone);
            }
            let room = slot.response.room(job.written, ring);
            if room == 0 {
                self.flush(job);
                let still = || slot.response.room(job.written, ring) == 0;
                self.sleep_in(job, still, &go_on)?;
                continue;
            }
            let (now, rest) = bytes.split_at(room.min(bytes.len()));
            self.copy_answer(job, now);
            job.written += now.len() as u64;
            bytes = rest;
            if job.written - job.published >= (ring / TELL) as u64 {
                self.flush(job);
            }
        }
        Ok(())
    }

    fn copy_answer(&self, job: &Job, bytes: &[u8]) {
        let memory = &self.lane.as_ref().memory;
        let area = memory.layout().response(self.place(job));
        let (at, first, _) = split(area.len(), job.written, bytes.len());
        let (head, tail) = bytes.split_at(first);
        memory.copy_in(&area, at, head);
        memory.copy_in(&area, 0, tail);
    }

    /// Tells the gateway of all that was written. False when nobody listens any more.
    pub fn flush(&self, job: &mut Job) -> bool {
        if job.written > job.published {
            self.slot(job).response.publish(job.written);
            job.published = job.written;
            self.announce(job);
        }
        !self.is_aborted(job)
    }

    /// Whether any of the answer has left.
    pub const fn is_answer_begun(job: &Job) -> bool {
        job.published > 0
    }

    /// The answer is complete. False when the master took this worker for dead: then it must end, since its seat may
    /// be another's.
    #[expect(clippy::needless_pass_by_value, reason = "a job that is finished is no more")]
    pub fn finish(&self, job: Job) -> bool {
        let slot = self.slot(&job);
        slot.response.publish(job.written);
        slot.response.end(End::Complete);
        let finished = slot.finish(job.turn, self.holder);
        self.announce(&job);
        finished
    }

    /// The request is given up without an answer, for when the process is not fit to go on. The gateway sees a death.
    #[expect(clippy::needless_pass_by_value, reason = "a job that is given up is no more")]
    pub fn give_up(&self, job: Job) {
        let _ = self.slot(&job).bury(self.holder.seat);
        self.announce(&job);
    }

    fn announce(&self, job: &Job) {
        let lane = self.lane.as_ref();
        // The slot's number is below the shape's limit.
        let slot = u16::try_from(job.slot).unwrap_or(u16::MAX);
        if lane.header().gateways[job.gateway].desk.announce(slot) {
            sys::ring(lane.gateway_bell(job.gateway));
        }
    }

    /// Sleeps within a request for as long as `still` holds.
    fn sleep_in(&self, job: &Job, still: impl Fn() -> bool, go_on: &impl Fn() -> bool) -> Result<(), Gone> {
        let slot = self.slot(job);
        let mut rounds = 0;
        loop {
            if slot.is_aborted(job.turn) {
                return Err(Gone);
            }
            if !still() {
                return Ok(());
            }
            if rounds > 0 && !self.may_go_on(job, go_on) {
                return Err(Gone);
            }
            slot.lie_down();
            if still() && !slot.is_aborted(job.turn) {
                sys::futex_wait(slot.waiting(), 1, LOOK);
            }
            slot.get_up();
            rounds += 1;
        }
    }

    /// After a sleep that did not bring what was waited for: a signal, or the time to look around.
    fn may_go_on(&self, job: &Job, go_on: &impl Fn() -> bool) -> bool {
        let mine = Word::new(job.turn, State::Taken(self.holder));
        go_on() && self.slot(job).word() == Some(mine) && Lane::gateway_lives(self.file.as_fd(), job.gateway)
    }
}

/// The gateway is told of every such part of a ring, so that both sides work at the same time.
const TELL: usize = 4;

struct Looked {
    belled: bool,
    token: Option<u64>,
}

impl Looked {
    const BELL: Self = Self { belled: true, token: None };
}

impl<L: AsRef<Lane>> Drop for Worker<L> {
    /// Whoever leaves cleans up as after a death: a wake-up that came last goes to somebody else. The lock ends with
    /// the descriptor, after this.
    fn drop(&mut self) {
        self.lane.as_ref().bury(self.holder.seat);
    }
}
