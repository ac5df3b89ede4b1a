//! A slot: the way of one request and its answer.
//!
//! ```text
//!            queue            take              finish
//!   FREE ───────────▶ QUEUED ───────▶ TAKEN(w) ────────▶ DONE(w) ──┐
//!    ▲ ▲                │               │    bury                  │
//!    │ └────────────────┘               └────────────▶ DIED(w) ──┐ │
//!    │      take back                                            │ │
//!    └───────────────────────── free ────────────────────────────┴─┘
//!
//!   by the gateway: queue, take back, free · by worker w: take, finish · by whoever knows that w is dead: bury
//! ```
//!
//! Every step out of QUEUED and TAKEN is a compare-and-swap on the state word, so of two that try exactly one
//! succeeds: two workers that take, a worker that takes and a gateway that takes back, a worker that finishes and a
//! master that believes it dead. QUEUED with a given turn, once left, never comes again.
//!
//! Beside the state word lie the two flows ([`crate::flow`]) and three flags for the time in which the worker has the
//! slot: `aborted` (nobody listens any more), `waiting` (the worker sleeps until the gateway has moved a flow; it is
//! the futex too) and `wants` (the gateway has body bytes and no room for them).

use crate::atomics::{AtomicU32, AtomicU64, Ordering, fence};
use crate::flow::Flow;
use crate::word::{Holder, State, Word};

/// See the module.
#[repr(C, align(64))]
#[derive(Debug, Default)]
pub struct Slot {
    state: AtomicU64,
    /// The turn that is aborted; another turn's is none.
    aborted: AtomicU32,
    /// 1 while the worker sleeps on it.
    waiting: AtomicU32,
    /// 1 while the gateway waits for room in the request's flow.
    wants: AtomicU32,
    /// Bytes of the request's parameters.
    head_len: AtomicU32,
    /// 1 when the request is kept: an heir of the gateway is told of it.
    kept: AtomicU32,
    /// When it was taken, on the machine's monotonic clock; 0 before.
    taken_us: AtomicU64,
    /// The request's body: the gateway writes, the worker reads.
    pub request: Flow,
    /// The answer, head and body as one stream: the worker writes, the gateway reads.
    pub response: Flow,
}

impl Slot {
    /// The state word; none when it is not one of ours.
    ///
    /// Acquire: who sees DONE or DIED sees what the worker wrote before.
    pub fn word(&self) -> Option<Word> {
        Word::decode(self.state.load(Ordering::Acquire))
    }

    // --- the gateway's steps ---

    /// Makes the slot ready for a request: flows empty, flags down. Only while the slot is the gateway's own, which
    /// is why nothing here needs an order of its own; `queue` publishes it.
    pub fn prepare(&self, head_len: u32, kept: bool) {
        self.head_len.store(head_len, Ordering::Relaxed);
        self.kept.store(u32::from(kept), Ordering::Relaxed);
        self.wants.store(0, Ordering::Relaxed);
        self.waiting.store(0, Ordering::Relaxed);
        self.taken_us.store(0, Ordering::Relaxed);
        self.request.reset();
        self.response.reset();
    }

    /// FREE → QUEUED. Release: who takes it sees head, flows and flags.
    pub fn queue(&self, turn: u32) {
        self.state.store(Word::new(turn, State::Queued).encode(), Ordering::Release);
    }

    /// Whether the request in the slot is kept. For an heir: it was written before the request was queued.
    pub fn is_kept(&self) -> bool {
        self.kept.load(Ordering::Relaxed) == 1
    }

    /// QUEUED → FREE; false when a worker was faster.
    pub fn take_back(&self, turn: u32) -> bool {
        self.step(Word::new(turn, State::Queued), State::Free)
    }

    /// DONE or DIED → FREE. The worker reads and writes nothing of a slot that it has left, so no order is needed.
    pub fn free(&self, turn: u32) {
        self.state.store(Word::new(turn, State::Free).encode(), Ordering::Relaxed);
    }

    /// Nobody listens to the answer of `turn`. To be followed by [`Self::must_wake`].
    pub fn abort(&self, turn: u32) {
        self.aborted.store(turn, Ordering::Release);
    }

    /// After anything that the worker may wait for: whether it sleeps and is to be woken.
    ///
    /// The fence and that of [`Self::lie_down`] make sure that one of the two sees the other's store: the gateway
    /// the flag, or the worker what has happened.
    pub fn must_wake(&self) -> bool {
        fence(Ordering::SeqCst);
        self.waiting.load(Ordering::Relaxed) == 1 && self.waiting.swap(0, Ordering::AcqRel) == 1
    }

    /// The gateway will sleep until there is room in the request's flow; it looks at the flow once more after this.
    pub fn want_room(&self) {
        self.wants.store(1, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    // --- the worker's steps ---

    /// QUEUED → TAKEN; false when it is not queued (any more).
    pub fn take(&self, turn: u32, by: Holder) -> bool {
        self.step(Word::new(turn, State::Queued), State::Taken(by))
    }

    /// TAKEN → DONE; false when somebody has buried the worker, which then must stop.
    pub fn finish(&self, turn: u32, by: Holder) -> bool {
        self.step(Word::new(turn, State::Taken(by)), State::Done(by))
    }

    /// Bytes of the parameters, as the gateway says.
    pub fn head_len(&self) -> u32 {
        self.head_len.load(Ordering::Relaxed)
    }

    /// Notes when the request was taken.
    pub fn note_taken(&self, now_us: u64) {
        self.taken_us.store(now_us, Ordering::Relaxed);
    }

    /// When the request was taken, as the worker says; 0 for not yet.
    pub fn taken_us(&self) -> u64 {
        self.taken_us.load(Ordering::Relaxed)
    }

    /// Whether nobody listens any more.
    pub fn is_aborted(&self, turn: u32) -> bool {
        self.aborted.load(Ordering::Acquire) == turn
    }

    /// The worker will sleep on [`Self::waiting`] as long as it is 1; it looks once more at what it waits for after
    /// this.
    pub fn lie_down(&self) {
        self.waiting.store(1, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// The worker is awake.
    pub fn get_up(&self) {
        self.waiting.store(0, Ordering::Relaxed);
    }

    /// The word to sleep on.
    pub const fn waiting(&self) -> &AtomicU32 {
        &self.waiting
    }

    /// After body bytes were read: whether the gateway waits for the room.
    pub fn must_tell_room(&self) -> bool {
        fence(Ordering::SeqCst);
        self.wants.load(Ordering::Relaxed) == 1 && self.wants.swap(0, Ordering::AcqRel) == 1
    }

    // --- the janitor's step ---

    /// TAKEN by `seat` → DIED. True when the gateway is to look at the slot: also for an answer that the dead worker
    /// had completed, as it may have died before it could say so.
    pub fn bury(&self, seat: u16) -> bool {
        match self.word() {
            Some(Word { turn, state: State::Taken(by) }) if by.seat == seat => {
                self.step(Word::new(turn, State::Taken(by)), State::Died(by));
                true
            }
            Some(Word { state: State::Done(by) | State::Died(by), .. }) => by.seat == seat,
            _ => false,
        }
    }

    /// AcqRel: the taker sees what the one before has written, and the next sees what this one wrote.
    fn step(&self, from: Word, to: State) -> bool {
        let next = Word::new(from.turn, to).encode();
        self.state.compare_exchange(from.encode(), next, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }
}
