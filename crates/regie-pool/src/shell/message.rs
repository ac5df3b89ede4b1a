//! Messages over either carrier; in the lane as few steps as there can be, since a job may be shorter than they are.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use http::HeaderMap;
use http_body::Body as _;
use regie_fastcgi::params;
use regie_lane::{Broken, Exchange as Slot, Left, Read, Remains};

use super::clock::now;
use super::exchange::{AnswerBody, Times};
use super::lane::{Flight, Stage, Timer};
use super::pool::Pool;
use crate::call::{Answer, Body, Call, CallError};
use crate::message::{self, Delivered, Hold, ID, Message, MessageError, TIMEOUT_MS};

/// What stands for no limit where there must be one.
const FOR_EVER: Duration = Duration::from_secs(365 * 24 * 3600);

/// A message on its way. Dropped before a worker has it, it is taken back; after that it stays in the lane for an heir.
pub struct Sent(Way);

enum Way {
    Lane(Box<LaneMessage>),
    Call(Pin<Box<dyn Future<Output = Delivered> + Send>>),
}

impl fmt::Debug for Sent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sent").field("begun", &self.is_begun()).finish_non_exhaustive()
    }
}

impl Sent {
    /// Whether a worker has it, or may have it.
    #[must_use]
    pub fn is_begun(&self) -> bool {
        match &self.0 {
            Way::Lane(message) => message.slot.as_ref().is_none_or(Slot::is_taken),
            Way::Call(_) => true,
        }
    }

    /// Takes it back, so that no worker will see it.
    ///
    /// # Errors
    /// Gives it back when a worker has it, or may have it.
    pub fn take_back(mut self) -> Result<(), Self> {
        let taken_back = match &mut self.0 {
            Way::Lane(message) => message.slot.as_mut().is_some_and(Slot::take_back),
            Way::Call(_) => false,
        };
        if taken_back { Ok(()) } else { Err(self) }
    }

    /// Waits for what becomes of it.
    pub async fn answer(self) -> Delivered {
        match self.0 {
            Way::Lane(mut message) => std::future::poll_fn(|cx| message.poll(cx)).await,
            Way::Call(call) => call.await,
        }
    }

    pub(crate) fn in_lane(message: LaneMessage) -> Self {
        Self(Way::Lane(Box::new(message)))
    }

    pub(crate) fn over_fastcgi(pool: Pool, message: Message) -> Self {
        Self(Way::Call(Box::pin(async move { over_fastcgi(&pool, message).await })))
    }
}

/// A message whose sender died, as it was found by its heir.
#[derive(Debug)]
pub struct Heirloom {
    /// What the sender called it.
    pub id: String,
    /// On its way still, or over; none when no worker has seen it. Then it is not in the lane any more.
    pub sent: Option<Sent>,
}

impl Heirloom {
    pub(crate) fn new(left: Left, in_lane: impl FnOnce(Slot, Duration) -> LaneMessage) -> Self {
        let get = |name: &str| {
            let mut pairs = params::pairs(&left.head).map_while(Result::ok);
            pairs.find(|(found, _)| *found == name.as_bytes()).map(|(_, value)| value)
        };
        let id = String::from_utf8_lossy(get(ID).unwrap_or_default()).into_owned();
        let limit =
            get(TIMEOUT_MS).and_then(|text| std::str::from_utf8(text).ok()?.parse().ok()).unwrap_or(0);
        let sent = match left.remains {
            Remains::NotBegun => None,
            Remains::Begun(slot) => Some(Sent::in_lane(in_lane(slot, Duration::from_millis(limit)))),
        };
        Self { id, sent }
    }
}

/// The times of a message with a limit of its own; zero for none.
pub(crate) fn times(limit: Duration, grace: Duration) -> Times {
    let request_timeout = if limit.is_zero() { FOR_EVER } else { limit };
    Times { request_timeout, silence: request_timeout.saturating_add(grace) }
}

/// A message in the lane.
pub(crate) struct LaneMessage {
    /// None once it is delivered.
    pub(crate) slot: Option<Slot>,
    /// What is left of the body.
    pub(crate) body: Bytes,
    pub(crate) timer: Option<Timer>,
    pub(crate) stage: Stage,
    pub(crate) times: Times,
    pub(crate) pending: BytesMut,
    pub(crate) flight: Flight,
}

impl Drop for LaneMessage {
    fn drop(&mut self) {
        self.flight.keep_timer(self.timer.take());
    }
}

impl LaneMessage {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Delivered> {
        let ended = ready!(self.poll_end(cx));
        let Some(slot) = self.slot.take() else {
            let gone = CallError::Down("its answer was given already".into());
            let outcome = Err(MessageError::NotBegun(gone));
            return Poll::Ready(Delivered { outcome, hold: Hold::default(), waited: Duration::ZERO });
        };
        let waited = slot.waited();
        let outcome = match ended {
            End::Answered => message::read(std::mem::take(&mut self.pending).freeze()),
            End::Died if slot.in_work() >= self.times.request_timeout => {
                Err(MessageError::Timeout(String::new()))
            }
            End::Died => Err(MessageError::Died),
            End::Damaged => Err(MessageError::Malformed("the lane is damaged".into())),
            End::Silent => Err(MessageError::Timeout(String::new())),
            End::TakenBack(patience) => Err(MessageError::NotBegun(CallError::QueueTimeout(patience))),
        };
        let hold = match ended {
            // Nobody will ever say more: what a worker still has is given up.
            End::Silent | End::Damaged | End::TakenBack(_) => {
                slot.release();
                Hold::default()
            }
            End::Answered | End::Died => Hold::of(slot),
        };
        Poll::Ready(Delivered { outcome, hold, waited })
    }

    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        loop {
            let Some(slot) = &mut self.slot else { return Poll::Ready(End::Damaged) };
            send(slot, &mut self.body, cx);
            let moved = match slot.poll_read(cx, &mut self.pending) {
                Poll::Ready(Ok(Read::End)) => return Poll::Ready(End::Answered),
                Poll::Ready(Err(Broken::Died)) => return Poll::Ready(End::Died),
                Poll::Ready(Err(Broken::Corrupt)) => return Poll::Ready(End::Damaged),
                Poll::Ready(Ok(Read::Some)) => true,
                Poll::Pending => false,
            };
            if moved {
                self.rearm();
                continue;
            }
            let Some(timer) = &mut self.timer else { return Poll::Pending };
            ready!(timer.as_mut().poll(cx));
            match self.stage {
                Stage::Queued(patience) if slot.take_back() => return Poll::Ready(End::TakenBack(patience)),
                Stage::Queued(_) => self.rearm(),
                Stage::InWork => return Poll::Ready(End::Silent),
            }
        }
    }

    fn rearm(&mut self) {
        self.stage = Stage::InWork;
        if let Some(timer) = &mut self.timer {
            timer.as_mut().reset(now() + self.times.silence);
        }
    }
}

/// Why a message in the lane is over.
#[derive(Clone, Copy)]
enum End {
    Answered,
    Died,
    Damaged,
    /// The worker has said nothing for longer than its master lets it live.
    Silent,
    TakenBack(Duration),
}

/// Gives the worker as much of the body as it takes.
fn send(slot: &mut Slot, body: &mut Bytes, cx: &mut Context<'_>) {
    while !slot.is_body_sent() {
        if body.is_empty() {
            return slot.end_body(true);
        }
        match slot.poll_write(cx, body) {
            Poll::Ready(0) | Poll::Pending => return,
            Poll::Ready(written) => body.advance(written),
        }
    }
}

async fn over_fastcgi(pool: &Pool, message: Message) -> Delivered {
    let mut call = Call::new(message.head(), Body::Full(message.body.clone()));
    (call.priority, call.patience) = (message.priority, message.patience);
    call.time_limit = Some(message.time_limit);
    let (outcome, waited) = match pool.call_over_fastcgi(call).await {
        Err(error) => (Err(message::lost(error)), Duration::ZERO),
        Ok(Answer { status, headers, body, waited }) => {
            let outcome = match collect(body).await {
                Ok(body) => message::interpret(status.as_u16(), ended(&headers), body),
                Err(error) => Err(message::lost(error)),
            };
            (outcome, waited)
        }
    };
    Delivered { outcome, hold: Hold::default(), waited }
}

fn ended(headers: &HeaderMap) -> &[u8] {
    headers.get(message::ENDED).map(http::HeaderValue::as_bytes).unwrap_or_default()
}

async fn collect(mut body: AnswerBody) -> Result<Bytes, CallError> {
    let mut whole = BytesMut::new();
    while let Some(frame) = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        whole.extend_from_slice(&frame?.into_data().unwrap_or_default());
    }
    Ok(whole.freeze())
}
