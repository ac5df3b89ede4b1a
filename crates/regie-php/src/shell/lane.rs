//! The lane's side of a worker: its seat, and the request in hand. It does for the lane what [`super::connection`] does
//! for FastCGI; the worker asks whichever brought the request.
//!
//! An idle worker waits for both at once: a request in the lane, and a connection at the listener. While it serves a
//! connection it takes nothing from the lane, where others do.

use std::cell::Cell;
use std::os::fd::{BorrowedFd, RawFd};
use std::time::Duration;

use nix::errno::Errno;
use regie_lane::{Gone, Job, Lane, Wake, Worker as Seat};

use super::clock;
use super::connection::Surroundings;
use super::listen::TICK;

const LISTENER: u64 = 1;

/// See the module. No heap is used once the seat is taken.
#[derive(Debug)]
pub(crate) struct LaneDesk {
    seat: Seat<&'static Lane>,
    /// The request in hand, until its response is over.
    job: Option<Job>,
    /// A request of the lane is in hand; its response may be over.
    busy: bool,
    /// The master took this process for dead: the seat is not ours any more.
    lost: bool,
    io_timeout: Duration,
}

/// What an idle worker was woken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arrived {
    /// A request in the lane; so many bytes of parameters, which are more than is taken when they do not fit.
    Request(usize),
    /// Somebody knocks at the listener.
    Knock,
    /// Nothing yet: look around.
    Nothing,
}

impl LaneDesk {
    /// Takes a seat for this process.
    pub(crate) fn sit_down(lane: &'static Lane, listener: RawFd, io_timeout: Duration) -> nix::Result<Self> {
        let errno = |error: std::io::Error| Errno::from_raw(error.raw_os_error().unwrap_or(0));
        let seat = Seat::sit_down(lane).map_err(errno)?;
        // SAFETY: the listener stays open for the life of the process.
        let listener = unsafe { BorrowedFd::borrow_raw(listener) };
        seat.watch(listener, true, LISTENER).map_err(errno)?;
        Ok(Self { seat, job: None, busy: false, lost: false, io_timeout })
    }

    /// Waits for a request, whose parameters are copied to `params`, or for a knock.
    pub(crate) fn wait(&mut self, params: &mut [u8]) -> Arrived {
        match self.seat.wait(Some(TICK)) {
            Ok(Wake::Job(job)) => {
                let len = self.seat.copy_head(&job, params);
                self.job = Some(job);
                self.busy = true;
                Arrived::Request(len)
            }
            Ok(Wake::Ready(_)) => Arrived::Knock,
            Ok(Wake::Time | Wake::Signal) | Err(_) => Arrived::Nothing,
        }
    }

    /// Whether the request in hand came by the lane.
    pub(crate) fn is_busy(&self) -> bool {
        self.busy
    }

    /// Copies body bytes to `buffer`. 0 at the body's end, or when nothing more will come.
    pub(crate) fn read_body(&mut self, buffer: &mut [u8], around: &impl Surroundings) -> usize {
        let Some(job) = &mut self.job else { return 0 };
        let mut done = 0;
        while done < buffer.len() {
            let patience = Patience::new(self.io_timeout);
            match self.seat.read_body(job, &mut buffer[done..], || patience.lasts(around)) {
                Ok(len @ 1..) => done += len,
                Ok(0) | Err(Gone) => break,
            }
        }
        done
    }

    /// Takes response bytes. False when nobody listens any more, or the time limit has passed.
    pub(crate) fn write(&mut self, bytes: &[u8], around: &impl Surroundings) -> bool {
        let Some(job) = &mut self.job else { return true };
        let patience = Patience::new(self.io_timeout);
        self.seat.write(job, bytes, || patience.lasts(around)).is_ok()
    }

    /// Lets the gateway have what was written. False as for [`Self::write`].
    pub(crate) fn flush(&mut self) -> bool {
        self.job.as_mut().is_none_or(|job| self.seat.flush(job))
    }

    /// Ends the response while the script goes on. False when it was over already.
    pub(crate) fn finish(&mut self) -> bool {
        let Some(job) = self.job.take() else { return false };
        self.lost |= !self.seat.finish(job);
        true
    }

    /// The request is over. False when the process must end, since its seat is not its own any more.
    pub(crate) fn end_request(&mut self) -> bool {
        self.finish();
        self.busy = false;
        !self.lost
    }

    /// Whether the response may begin with an informational head.
    pub(crate) fn takes_informational(&self) -> bool {
        self.job.is_some()
    }
}

/// How long a peer that does not move is waited for. The clock is read only where there is a wait.
struct Patience {
    limit: Duration,
    until_us: Cell<u64>,
}

impl Patience {
    const fn new(limit: Duration) -> Self {
        Self { limit, until_us: Cell::new(0) }
    }

    /// Asked after each sleep that brought nothing: a signal, or a second.
    fn lasts(&self, around: &impl Surroundings) -> bool {
        let now_us = clock::monotonic_us();
        if self.until_us.get() == 0 {
            let limit_us = u64::try_from(self.limit.as_micros()).unwrap_or(u64::MAX);
            self.until_us.set(now_us.saturating_add(limit_us));
        }
        !around.timed_out() && now_us < self.until_us.get()
    }
}
