//! What a worker streams, read ahead of a slow client so that the worker is free again early.
//!
//! As long as the client takes what comes, nothing is kept. When it does not, what the worker goes on to say waits in
//! memory, and past that in a file ([`super::overflow`]); past both the worker waits. Live streams (`text/event-stream`,
//! `X-Accel-Buffering: no`) get no file: they do not end, so no worker would be freed, and old news would be kept.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::Body;
use regie_pool::{AnswerBody, BoxError, CallError};

use super::log::Logs;
use super::overflow::{Overflow, Room};

/// See the module.
#[derive(Debug)]
pub(crate) struct PoolBody {
    /// None once it has ended.
    body: Option<AnswerBody>,
    memory: VecDeque<Bytes>,
    memory_len: usize,
    memory_max: usize,
    /// Where a file may be made; none = it may not, or it is there already.
    room: Option<Room>,
    /// What comes after `memory`.
    overflow: Option<Overflow>,
    /// Told after what was read before it.
    failed: Option<CallError>,
    logs: Logs,
}

impl PoolBody {
    pub(crate) const fn new(body: AnswerBody, memory_max: usize, room: Option<Room>, logs: Logs) -> Self {
        Self {
            body: Some(body),
            memory: VecDeque::new(),
            memory_len: 0,
            memory_max,
            room,
            overflow: None,
            failed: None,
            logs,
        }
    }

    /// Reads ahead as far as the worker has written and the bounds allow.
    pub(crate) fn prefetch(&mut self, cx: &mut Context<'_>) {
        while self.body.is_some() {
            if let Some(overflow) = &mut self.overflow {
                let room = overflow.poll_room(cx);
                if let Some(fault) = overflow.failure() {
                    let text = "an answer cannot be kept for a slow client, so its worker waits";
                    self.logs.error(&format!("{text}: {fault}"));
                }
                if room != Poll::Ready(true) {
                    return;
                }
            } else if self.memory_len >= self.memory_max {
                let Some(room) = self.room.take() else { return };
                self.overflow = Some(Overflow::new(room));
                continue;
            }
            let Some(body) = &mut self.body else { return };
            match Pin::new(body).poll_frame(cx) {
                Poll::Pending => return,
                Poll::Ready(Some(Ok(frame))) => self.keep(frame.into_data().unwrap_or_default()),
                Poll::Ready(Some(Err(error))) => {
                    self.failed = Some(error);
                    self.body = None;
                }
                Poll::Ready(None) => self.body = None,
            }
        }
    }

    fn keep(&mut self, data: Bytes) {
        if let Some(overflow) = &mut self.overflow {
            overflow.put(&data);
        } else {
            self.memory_len += data.len();
            self.memory.push_back(data);
        }
    }

    pub(crate) fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BoxError>>> {
        if let Some(data) = self.memory.pop_front() {
            self.memory_len -= data.len();
            return Poll::Ready(Some(Ok(data)));
        }
        if let Some(overflow) = &mut self.overflow {
            if let Some(data) = ready!(overflow.poll_take(cx)) {
                return Poll::Ready(Some(data.map_err(Into::into)));
            }
            // The client has caught up. The file stays until the end: it counts what this answer has cost.
            if self.body.is_none() {
                self.overflow = None;
            }
        }
        if let Some(error) = self.failed.take() {
            return Poll::Ready(Some(Err(error.into())));
        }
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let polled = ready!(Pin::new(body).poll_frame(cx));
        if !matches!(polled, Some(Ok(_))) {
            self.body = None;
        }
        Poll::Ready(
            polled.map(|frame| frame.map(|frame| frame.into_data().unwrap_or_default()).map_err(Into::into)),
        )
    }

    pub(crate) fn is_done(&self) -> bool {
        self.body.is_none() && self.memory.is_empty() && self.overflow.is_none() && self.failed.is_none()
    }

    /// What the worker has not said yet.
    pub(crate) fn into_rest(self) -> Option<AnswerBody> {
        self.body
    }
}
