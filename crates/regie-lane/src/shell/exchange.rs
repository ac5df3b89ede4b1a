//! A request in the lane, from the gateway's side.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;

use super::gateway::{Broken, Read, Shared};
use super::memory::split;
use super::sys;
use crate::flow::{Corrupt, End};
use crate::slot::Slot;
use crate::word::{State, Word};

/// A request in the lane and its answer. Dropped before its end, it takes the request back or, when a worker has it,
/// tells the worker that nobody listens.
///
/// A **kept** one is different once a worker has it: its slot is freed by [`Self::release`] alone. The answer (or the
/// death) stays in the lane, and if this process ends without a release, whoever inherits the seat finds it there
/// ([`super::estate`]). Dropped unreleased, it costs the slot for as long as this process lives.
pub struct Exchange {
    shared: Arc<Shared>,
    at: u16,
    turn: u32,
    kept: bool,
    /// Kept: the worker has done with it, well or not.
    over: bool,
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
    /// For a request that is about to be put into the slot.
    pub(super) fn new(shared: Arc<Shared>, at: u16, turn: u32, kept: bool) -> Self {
        Self {
            shared,
            at,
            turn,
            kept,
            over: false,
            submitted_us: sys::monotonic_us(),
            taken_us: 0,
            read: 0,
            sent: 0,
            sent_all: false,
            open: true,
        }
    }

    /// Fills the slot, which is not queued yet.
    pub(super) fn prepare(&mut self, head_len: u32, head: &[u8], body: &[u8], complete: bool) {
        self.slot().prepare(head_len, self.kept);
        let memory = self.shared.memory();
        memory.copy_in(&memory.layout().head(self.place()), 0, head);
        self.put_body(body);
        if complete && self.sent == body.len() as u64 {
            self.slot().request.end(End::Complete);
            self.sent_all = true;
        }
    }

    /// For a request that the last holder of the seat has left in the hands of a worker, which may be done with it. A
    /// body that was still under way breaks off.
    pub(super) fn inherited(shared: Arc<Shared>, at: u16, turn: u32) -> Self {
        let mut inherited = Self::new(shared, at, turn, true);
        inherited.sent_all = true;
        inherited.slot().request.break_off();
        inherited.wake_worker();
        inherited.over = inherited.is_taken_back();
        inherited
    }

    /// Of an inherited one: whether no worker has it and it is not queued any more.
    pub(super) fn is_taken_back(&self) -> bool {
        self.slot().word() == Some(Word::new(self.turn, State::Free))
    }

    /// The parameters, as the slot has them.
    pub(super) fn head(&self) -> Vec<u8> {
        let memory = self.shared.memory();
        let len = self.slot().head_len().min(memory.shape().head) as usize;
        let mut head = vec![0; len];
        memory.copy_out(&memory.layout().head(self.place()), 0, &mut head);
        head
    }

    /// A kept request is settled, and its slot may be used again. Before its end this gives it up, as dropping does
    /// with any other request.
    pub fn release(mut self) {
        self.kept = false;
        if self.over {
            self.open = false;
            self.shared.release(self.at, self.turn);
        }
    }

    pub(super) fn slot(&self) -> &Slot {
        self.shared.slot(self.at)
    }

    pub(super) fn place(&self) -> usize {
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
    pub(super) fn put_body(&mut self, bytes: &[u8]) -> usize {
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
        if !self.open || self.over {
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
        self.shared.listen(self.at, cx.waker());
    }

    fn wake_worker(&self) {
        if self.slot().must_wake() {
            sys::futex_wake(self.slot().waiting());
        }
    }

    fn let_go(&mut self) {
        if self.kept {
            self.over = true;
            return;
        }
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
        self.shared.abandon(self.at, self.turn);
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if !self.open || self.take_back() {
            return;
        }
        self.open = false;
        if self.kept {
            self.shared.leave(self.at);
        } else {
            self.abandon();
        }
    }
}
