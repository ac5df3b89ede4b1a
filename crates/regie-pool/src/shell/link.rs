//! One connection to a worker: bytes in and out, cut into records.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use regie_fastcgi::management::{self, Values};
use regie_fastcgi::{Framer, Kind, Malformed, Step};
use tokio::io::ReadBuf;
use tokio::time::Sleep;

use super::clock::now;
use super::stream::{Address, Stream};

/// What is read at once; also the most that lies in memory between worker and caller, but for one record's rest.
pub(crate) const READ_SIZE: usize = 64 * 1024;

/// The id of every request: a connection carries one at a time.
pub(crate) const REQUEST_ID: u16 = 1;

/// Bytes that were read and not yet taken, in a buffer of fixed size. The framer takes whatever fills it, so there is
/// always room to go on.
#[derive(Debug)]
pub(crate) struct Input {
    bytes: Box<[u8]>,
    start: usize,
    end: usize,
}

impl Input {
    fn new() -> Self {
        Self { bytes: vec![0; READ_SIZE].into_boxed_slice(), start: 0, end: 0 }
    }

    pub(crate) fn unread(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    pub(crate) fn take(&mut self, count: usize) {
        self.start += count;
        debug_assert!(self.start <= self.end);
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
    }

    fn room(&mut self) -> &mut [u8] {
        if self.end == self.bytes.len() {
            self.bytes.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        &mut self.bytes[self.end..]
    }
}

/// A connection and what has come over it without being looked at.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) stream: Stream,
    pub(crate) input: Input,
    pub(crate) framer: Framer,
    /// The exchange's timer, kept since moving a deadline forward is cheaper than a new timer.
    pub(crate) timer: Pin<Box<Sleep>>,
}

/// What an idle connection has to say.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Idle {
    /// Nothing: it waits for a request.
    Quiet,
    /// The worker leaves, or has left.
    Leaves,
}

impl Link {
    pub(crate) async fn connect(address: &Address) -> io::Result<Self> {
        Ok(Self {
            stream: address.connect().await?,
            input: Input::new(),
            framer: Framer::default(),
            timer: Box::pin(tokio::time::sleep_until(now())),
        })
    }

    /// Reads once. `Ok(0)` = the worker has closed.
    pub(crate) fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(self.input.room());
        ready!(self.stream.poll_read(cx, &mut buffer))?;
        let read = buffer.filled().len();
        self.input.end += read;
        Poll::Ready(Ok(read))
    }

    /// Looks at an idle connection, and has `cx` woken when there is something to see.
    pub(crate) fn poll_idle(&mut self, cx: &mut Context<'_>) -> Idle {
        loop {
            match self.poll_fill(cx) {
                Poll::Pending => return Idle::Quiet,
                Poll::Ready(Ok(n)) if n > 0 => match self.hears_goaway() {
                    Ok(false) => {}
                    Ok(true) | Err(_) => return Idle::Leaves,
                },
                Poll::Ready(_) => return Idle::Leaves,
            }
        }
    }

    /// Whether the bytes that came outside of a request say goodbye. Nothing else may come there.
    pub(crate) fn hears_goaway(&mut self) -> Result<bool, Malformed> {
        loop {
            let (taken, step) = self.framer.step(self.input.unread())?;
            let leaves = match step {
                Step::NeedMore => return Ok(false),
                Step::Record { kind: Kind::UnknownType, body, .. } => management::is_goaway(body),
                _ => false,
            };
            self.input.take(taken);
            if leaves {
                return Ok(true);
            }
        }
    }

    /// Asks who is there, and waits for the answer: as long as no worker has accepted the connection there is none.
    pub(crate) async fn shake_hands(&mut self) -> io::Result<Values> {
        let question = management::get_values();
        let mut at = 0;
        while at < question.len() {
            at += std::future::poll_fn(|cx| self.stream.poll_write(cx, &question[at..])).await?;
        }
        loop {
            let (taken, step) = self.framer.step(self.input.unread()).map_err(io::Error::other)?;
            let values = match step {
                Step::NeedMore => {
                    if std::future::poll_fn(|cx| self.poll_fill(cx)).await? == 0 {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                    None
                }
                Step::Record { kind: Kind::GetValuesResult, body, .. } => Some(Values::parse(body)),
                // A server that knows no management records is one whose connections cannot be kept.
                Step::Record { kind: Kind::UnknownType, .. } => Some(Values::default()),
                _ => None,
            };
            self.input.take(taken);
            if let Some(values) = values {
                return Ok(values);
            }
        }
    }

    /// Has `waker` woken as soon as something comes.
    pub(crate) fn watch(&self, waker: &Waker) {
        if self.stream.poll_read_ready(&mut Context::from_waker(waker)).is_ready() {
            waker.wake_by_ref();
        }
    }
}
