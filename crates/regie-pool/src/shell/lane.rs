//! The lane as a carrier: requests to workers of ours go through shared memory (see `regie_lane`).
//!
//! The queue is the lane's own: workers take the next request themselves, so there is nobody to grant. What is left to
//! do here is to keep its bounds: how many wait, how long one waits (then it is taken back), how long a worker may say
//! nothing. Requests that find every slot in use wait here for one, first come, first served.
//!
//! What does not fit goes over FastCGI, a connection for each request, which the same workers accept: parameters longer
//! than a slot has room for, and everything once the lane was found damaged.

use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use http::{HeaderMap, StatusCode};
use regie_lane::{Broken, Exchange as Slot, Gateway, Lane, Read, Refusal};
use tokio::sync::Semaphore;
use tokio::time::Sleep;

use super::clock::now;
use super::exchange::{AnswerBody, Heads, Times};
use super::message::{Heirloom, LaneMessage, times};
use super::pool::{Counts, PoolSettings};
use super::stray::{Strays, until_taken};
use crate::call::{Answer, Body, BoxError, Call, CallError};
use crate::message::Message;
use crate::queue::Priority;

/// Timers that are kept for the next requests. One that is set anew costs much less than a new one.
const TIMERS_KEPT: usize = 64;

pub(crate) type Timer = Pin<Box<Sleep>>;

/// See the module. Clones are the same carrier.
#[derive(Clone)]
pub(crate) struct LaneCarrier {
    shared: Arc<Shared>,
}

struct Shared {
    gateway: Gateway,
    settings: PoolSettings,
    /// A permit for each slot that is free.
    slots: Arc<Semaphore>,
    in_flight: AtomicUsize,
    served: AtomicU64,
    refused: AtomicU64,
    timers: Mutex<Vec<Timer>>,
    strays: Strays,
}

/// A call that this carrier cannot carry is given back.
pub(crate) enum Carried {
    Done(Result<Answer<AnswerBody>, CallError>),
    NotHere(Call),
}

impl LaneCarrier {
    /// Takes a seat in the lane, on the current runtime.
    pub(crate) fn start(lane: &Arc<Lane>, settings: PoolSettings) -> std::io::Result<Self> {
        Ok(Self::on(Gateway::sit_down(lane.clone())?, settings))
    }

    /// The same, and takes what senders of messages have left that are no more.
    pub(crate) fn inherit(
        lane: &Arc<Lane>,
        settings: PoolSettings,
    ) -> std::io::Result<(Self, Vec<Heirloom>)> {
        let grace = settings.grace;
        let mut seats = Gateway::inherit(lane)?.into_iter();
        let (first, mut left) = seats.next().ok_or(std::io::ErrorKind::WouldBlock)?;
        let carrier = Self::on(first, settings);
        for (other, more) in seats {
            left.extend(more);
            // It serves what was left on it, and ends.
            other.close();
            tokio::spawn(async move { other.drive().await });
        }
        let in_lane = |slot: Slot, limit: Duration| {
            let times = times(limit, grace);
            LaneMessage {
                slot: Some(slot),
                body: Bytes::new(),
                timer: carrier.shared.timer(now() + times.silence),
                stage: Stage::InWork,
                times,
                pending: BytesMut::new(),
                flight: Flight::new(&carrier.shared),
            }
        };
        let heirlooms = left.into_iter().map(|left| Heirloom::new(left, in_lane)).collect();
        Ok((carrier, heirlooms))
    }

    fn on(gateway: Gateway, settings: PoolSettings) -> Self {
        let slots = Arc::new(Semaphore::new(gateway.counts().free));
        let freed = slots.clone();
        gateway.on_free(Arc::new(move || freed.add_permits(1)));
        let driver = gateway.clone();
        tokio::spawn(async move { driver.drive().await });
        let strays = Strays::new(settings.queue);
        let shared = Shared {
            gateway,
            settings,
            slots,
            in_flight: AtomicUsize::new(0),
            served: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            timers: Mutex::default(),
            strays,
        };
        Self { shared: Arc::new(shared) }
    }

    /// As [`super::Pool::call`].
    pub(crate) async fn call(&self, call: Call) -> Carried {
        let shared = &self.shared;
        if shared.gateway.is_broken() || call.head.pairs().len() > shared.gateway.head_max() {
            return Carried::NotHere(call);
        }
        let asked = now();
        let limit = shared.settings.queue.timeout;
        let patience = call.patience.map_or(limit, |patience| patience.min(limit));
        let waiting = shared.waiting();
        if waiting >= shared.settings.queue.len {
            return shared.refuse(CallError::QueueFull(waiting));
        }
        let flight = Flight::new(shared);
        match shared.slots.try_acquire() {
            Ok(permit) => permit.forget(),
            Err(_) => match tokio::time::timeout(patience, shared.slots.acquire()).await {
                Ok(Ok(permit)) => permit.forget(),
                _ => return shared.refuse(CallError::QueueTimeout(patience)),
            },
        }
        let priority = level(call.priority);
        let Call { head, body, priority: given, patience: spare, time_limit, informational, outlives } = call;
        let mut upload = Upload::from(body);
        let complete = upload.stream.is_none();
        let slot = match shared.gateway.submit(priority, head.pairs(), &upload.piece, complete) {
            Ok(slot) => slot,
            Err(Refusal::Full) => return shared.refuse(CallError::QueueFull(shared.waiting())),
            Err(Refusal::TooLong | Refusal::Broken) => {
                let body = upload.into_body();
                return Carried::NotHere(Call {
                    head,
                    body,
                    priority: given,
                    patience: spare,
                    time_limit,
                    informational,
                    outlives,
                });
            }
        };
        drop(head);
        upload.advance(usize::try_from(slot.sent()).unwrap_or(usize::MAX));
        shared.served.fetch_add(1, Ordering::Relaxed);
        let exchange = LaneExchange {
            upload,
            slot,
            timer: shared.timer(asked + patience),
            stage: Stage::Queued(patience),
            times: shared.settings.times_of(time_limit),
            pending: BytesMut::new(),
            heads: Heads::new(informational),
            ended: false,
            body_error: None,
            flight,
        };
        let mut held = Held { exchange: Some(exchange), outlives };
        let head = std::future::poll_fn(|cx| held.exchange().poll_head(cx)).await;
        if matches!(head, Err(CallError::QueueTimeout(_))) {
            shared.refused.fetch_add(1, Ordering::Relaxed);
        }
        let exchange = held.exchange.take().expect(HELD);
        Carried::Done(head.map(|(status, headers)| exchange.into_answer(status, headers)))
    }

    /// Puts a message into the lane; it is given back when this carrier cannot carry it.
    ///
    /// Waits for a place, not for a worker.
    pub(crate) async fn send(&self, message: Message) -> Result<Result<LaneMessage, CallError>, Message> {
        let shared = &self.shared;
        let head = message.head();
        if shared.gateway.is_broken() || head.pairs().len() > shared.gateway.head_max() {
            return Err(message);
        }
        let asked = now();
        let limit = shared.settings.queue.timeout;
        let patience = message.patience.map_or(limit, |patience| patience.min(limit));
        let waiting = shared.waiting();
        if waiting >= shared.settings.queue.len {
            return Ok(Err(shared.count_refusal(CallError::QueueFull(waiting))));
        }
        let flight = Flight::new(shared);
        match shared.slots.try_acquire() {
            Ok(permit) => permit.forget(),
            Err(_) => match tokio::time::timeout(patience, shared.slots.acquire()).await {
                Ok(Ok(permit)) => permit.forget(),
                _ => return Ok(Err(shared.count_refusal(CallError::QueueTimeout(patience)))),
            },
        }
        let priority = level(message.priority);
        let slot = match shared.gateway.submit_kept(priority, head.pairs(), &message.body, true) {
            Ok(slot) => slot,
            Err(Refusal::Full) => {
                return Ok(Err(shared.count_refusal(CallError::QueueFull(shared.waiting()))));
            }
            Err(Refusal::TooLong | Refusal::Broken) => return Err(message),
        };
        shared.served.fetch_add(1, Ordering::Relaxed);
        let sent = usize::try_from(slot.sent()).unwrap_or(usize::MAX).min(message.body.len());
        Ok(Ok(LaneMessage {
            body: message.body.slice(sent..),
            timer: shared.timer(asked + patience),
            stage: Stage::Queued(patience),
            times: times(message.time_limit, shared.settings.grace),
            pending: BytesMut::new(),
            slot: Some(slot),
            flight,
        }))
    }

    /// See [`Gateway::nap`].
    pub(crate) fn nap(&self, span: Duration) {
        self.shared.gateway.nap(span);
    }

    /// See [`Gateway::wish`].
    pub(crate) fn wish(&self, count: Option<usize>) {
        self.shared.gateway.wish(count);
    }

    /// What the carrier is doing.
    pub(crate) fn counts(&self) -> Counts {
        let shared = &self.shared;
        let (lane, workers) = (shared.gateway.counts(), shared.gateway.workers());
        Counts {
            workers,
            idle: workers.saturating_sub(lane.taken),
            waiting: shared.in_flight.load(Ordering::Relaxed).saturating_sub(lane.taken),
            served: shared.served.load(Ordering::Relaxed),
            refused: shared.refused.load(Ordering::Relaxed),
        }
    }

    /// Requests that wait although their callers have left.
    pub(crate) fn strays(&self) -> usize {
        self.shared.strays.count()
    }

    /// Ends the driver when the last request has ended.
    pub(crate) fn close(&self) {
        self.shared.gateway.close();
    }
}

impl Shared {
    /// How many wait for a worker: nobody does as long as there are more workers than requests.
    fn waiting(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed).saturating_sub(self.gateway.workers())
    }

    fn refuse(&self, error: CallError) -> Carried {
        Carried::Done(Err(self.count_refusal(error)))
    }

    fn count_refusal(&self, error: CallError) -> CallError {
        self.refused.fetch_add(1, Ordering::Relaxed);
        error
    }

    fn timer(&self, until: tokio::time::Instant) -> Option<Timer> {
        let kept = self.timers.lock().unwrap_or_else(PoisonError::into_inner).pop();
        Some(match kept {
            Some(mut timer) => {
                timer.as_mut().reset(until);
                timer
            }
            None => Box::pin(tokio::time::sleep_until(until)),
        })
    }
}

/// Counts a request for as long as it is under way.
pub(crate) struct Flight {
    shared: Arc<Shared>,
}

impl Flight {
    fn new(shared: &Arc<Shared>) -> Self {
        shared.in_flight.fetch_add(1, Ordering::Relaxed);
        Self { shared: shared.clone() }
    }
}

impl Flight {
    /// For the next request.
    pub(crate) fn keep_timer(&self, timer: Option<Timer>) {
        let Some(timer) = timer else { return };
        let mut kept = self.shared.timers.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < TIMERS_KEPT {
            kept.push(timer);
        }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.shared.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// An exchange whose caller waits for the head of its answer.
struct Held {
    exchange: Option<LaneExchange>,
    outlives: Option<Duration>,
}

const HELD: &str = "an exchange is held until its head is there";

impl Held {
    const fn exchange(&mut self) -> &mut LaneExchange {
        self.exchange.as_mut().expect(HELD)
    }
}

impl Drop for Held {
    /// The caller has left. A request that no worker has yet may outlive that.
    fn drop(&mut self) {
        if let (Some(exchange), Some(span)) = (self.exchange.take(), self.outlives)
            && exchange.slot.is_body_sent()
            && !exchange.slot.is_taken()
        {
            let strays = exchange.flight.shared.strays.clone();
            strays.adopt(until_taken(span, move || exchange.slot.is_taken()));
        }
    }
}

/// As the lane counts.
const fn level(priority: Priority) -> usize {
    match priority {
        Priority::High => 0,
        Priority::Normal => 1,
        Priority::Low => 2,
    }
}

/// Who is waited for, which decides what it means when the time is over.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Stage {
    /// A worker, for so long.
    Queued(Duration),
    /// The next word of the worker.
    InWork,
}

/// What is left of a request's body.
struct Upload {
    piece: Bytes,
    stream: Option<Pin<Box<dyn http_body::Body<Data = Bytes, Error = BoxError> + Send>>>,
}

impl From<Body> for Upload {
    fn from(body: Body) -> Self {
        match body {
            Body::Empty => Self { piece: Bytes::new(), stream: None },
            Body::Full(piece) => Self { piece, stream: None },
            Body::Stream(stream) => Self { piece: Bytes::new(), stream: Some(stream) },
        }
    }
}

impl Upload {
    /// What it was made of, when nothing was taken from it.
    fn into_body(self) -> Body {
        match self.stream {
            Some(stream) => Body::Stream(stream),
            None => Body::Full(self.piece),
        }
    }

    /// The next bytes, the same again until they are passed; none at the end.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<&[u8]>, BoxError>> {
        while self.piece.is_empty() {
            let Some(stream) = &mut self.stream else { return Poll::Ready(Ok(None)) };
            match ready!(stream.as_mut().poll_frame(cx)) {
                Some(Ok(frame)) => self.piece = frame.into_data().unwrap_or_default(),
                Some(Err(error)) => return Poll::Ready(Err(error)),
                None => self.stream = None,
            }
        }
        Poll::Ready(Ok(Some(&self.piece)))
    }

    fn advance(&mut self, len: usize) {
        self.piece.advance(len.min(self.piece.len()));
    }
}

/// A request in the lane and its answer.
pub(crate) struct LaneExchange {
    slot: Slot,
    upload: Upload,
    /// Set while the exchange is under way.
    timer: Option<Timer>,
    stage: Stage,
    times: Times,
    /// Bytes of the answer that the caller has not taken: first its head, then its body.
    pending: BytesMut,
    heads: Heads,
    ended: bool,
    /// Errors of the request's body are told once the worker's answer is clear.
    body_error: Option<BoxError>,
    flight: Flight,
}

impl fmt::Debug for LaneExchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LaneExchange")
            .field("slot", &self.slot)
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}

impl Drop for LaneExchange {
    fn drop(&mut self) {
        self.flight.keep_timer(self.timer.take());
    }
}

impl LaneExchange {
    /// The answer whose head was read.
    fn into_answer(mut self, status: StatusCode, headers: HeaderMap) -> Answer<AnswerBody> {
        let waited = self.slot.waited();
        let body = if self.ended {
            AnswerBody::whole(std::mem::take(&mut self.pending).freeze())
        } else {
            AnswerBody::lane(Box::new(self))
        };
        Answer { status, headers, body, waited }
    }

    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<(StatusCode, HeaderMap), CallError>> {
        loop {
            let moved = self.poll_move(cx)?;
            if let Some(head) = self.heads.take(&mut self.pending)? {
                return Poll::Ready(Ok(head));
            }
            if self.ended {
                return Poll::Ready(Err(CallError::Malformed("it ended within its head".into())));
            }
            ready!(self.poll_wait(cx, moved))?;
        }
    }

    /// The next bytes of the body; none = the answer is complete.
    pub(crate) fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, CallError>> {
        loop {
            if !self.pending.is_empty() {
                return Poll::Ready(Ok(Some(self.pending.split().freeze())));
            }
            if self.ended {
                return Poll::Ready(Ok(None));
            }
            let moved = self.poll_move(cx)?;
            if self.pending.is_empty() && !self.ended {
                ready!(self.poll_wait(cx, moved))?;
            }
        }
    }

    /// Moves what can be moved in both directions. Whether the worker said something.
    fn poll_move(&mut self, cx: &mut Context<'_>) -> Result<bool, CallError> {
        self.send(cx);
        match self.slot.poll_read(cx, &mut self.pending) {
            Poll::Ready(Ok(Read::Some)) => Ok(true),
            Poll::Ready(Ok(Read::End)) => {
                self.ended = true;
                Ok(true)
            }
            Poll::Ready(Err(Broken::Died)) => Err(self.lost()),
            Poll::Ready(Err(Broken::Corrupt)) => Err(CallError::Malformed("the lane is damaged".into())),
            Poll::Pending => Ok(false),
        }
    }

    /// After a move that brought the caller nothing: pending, unless the body has failed or the time is over.
    fn poll_wait(&mut self, cx: &mut Context<'_>, moved: bool) -> Poll<Result<(), CallError>> {
        if let Some(error) = self.body_error.take() {
            return Poll::Ready(Err(CallError::Body(error)));
        }
        if moved {
            self.rearm();
            return Poll::Ready(Ok(()));
        }
        let Some(timer) = &mut self.timer else { return Poll::Pending };
        ready!(timer.as_mut().poll(cx));
        match self.stage {
            Stage::Queued(patience) if self.slot.take_back() => {
                Poll::Ready(Err(CallError::QueueTimeout(patience)))
            }
            Stage::Queued(_) => {
                self.rearm();
                Poll::Ready(Ok(()))
            }
            Stage::InWork => Poll::Ready(Err(CallError::Timeout(self.slot.in_work()))),
        }
    }

    fn rearm(&mut self) {
        self.stage = Stage::InWork;
        if let Some(timer) = &mut self.timer {
            timer.as_mut().reset(now() + self.times.silence);
        }
    }

    /// Gives the worker as much of the body as it takes. That a worker which answers does not read the rest is its
    /// right.
    fn send(&mut self, cx: &mut Context<'_>) {
        while self.body_error.is_none() && !self.slot.is_body_sent() {
            match self.upload.poll_piece(cx) {
                Poll::Ready(Ok(Some(piece))) => match self.slot.poll_write(cx, piece) {
                    Poll::Ready(0) | Poll::Pending => return,
                    Poll::Ready(written) => {
                        self.upload.advance(written);
                        if matches!(self.stage, Stage::InWork) {
                            self.rearm();
                        }
                    }
                },
                Poll::Ready(Ok(None)) => self.slot.end_body(true),
                Poll::Ready(Err(error)) => {
                    self.slot.end_body(false);
                    self.body_error = Some(error);
                }
                Poll::Pending => return,
            }
        }
    }

    /// The worker died.
    fn lost(&self) -> CallError {
        let elapsed = self.slot.in_work();
        if elapsed >= self.times.request_timeout {
            CallError::Timeout(elapsed)
        } else {
            CallError::Died { begun: true }
        }
    }
}
