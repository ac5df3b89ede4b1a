//! One HTTP/1.x connection.
//!
//! ```text
//! idle ─ bytes ─▶ head ─ whole ─▶ answering ─ reply ─▶ writing ─┬─ kept ──▶ idle
//!   │               │                 │                  │      └─ closed ▶ lingering ─▶ end
//!   └─ 75 s, drain  └─ 30 s: 408      └─ client left     └─ 60 s without a byte
//! ```
//!
//! A connection that waits for a request holds no buffer. While a request is answered the socket is read on, so that
//! a client that goes away is noticed and PHP with it; what a client sends ahead waits in the buffer, up to a bound.
//! A body is read by whoever answers: the reading side of the socket moves into it and comes back with its end.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, StatusCode, Version};
use http_body::{Body, Frame};
use regie_pool::call::InformationalSink;
use tokio::io::ReadBuf;
use tokio::sync::futures::Notified;
use tokio::time::Sleep;

use super::body::{BodyError, InBody, OutBody};
use super::clock::{now, with_date};
use super::gateway::{Asked, Ends, Shared};
use super::reply::Reply;
use super::server::Drain;
use super::stream::{ReadHalf, Stream, WriteHalf};
use crate::http1::chunked;
use crate::http1::head::{self, Framing, RequestHead};
use crate::http1::response::{self, Delimiter};

/// Bytes read at once.
const READ_SIZE: usize = 64 * 1024;

/// Bytes that a client may send ahead of its answer.
const AHEAD_MAX: usize = 64 * 1024;

/// Bytes of a response that are gathered before they are written.
const WRITE_SIZE: usize = 64 * 1024;

/// How an HTTP/2 connection begins (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// In a drain a kept connection waits so long for a request that is on its way: closing at once would lose it. That
/// request is answered with `Connection: close`.
const LAST_CALL: Duration = Duration::from_secs(1);

/// After a connection is closed with unread bytes coming in, so long is read on: a reset would take the answer along.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_MAX: usize = 1024 * 1024;

thread_local! {
    /// What is read lands here first: a connection then holds no more than what has come.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_SIZE].into_boxed_slice());
}

/// Buffers for responses that a thread keeps, since a connection that waits holds none.
const STOCK_MAX: usize = 16;

thread_local! {
    static STOCK: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// The reading side of a socket, with what was read and not yet taken.
#[derive(Debug)]
struct ReadSide {
    half: ReadHalf,
    input: BytesMut,
}

impl ReadSide {
    /// Reads once into the buffer; 0 = the client has closed.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        SCRATCH.with_borrow_mut(|scratch| {
            let mut buffer = ReadBuf::new(&mut scratch[..]);
            ready!(self.half.poll_read(cx, &mut buffer))?;
            self.input.extend_from_slice(buffer.filled());
            Poll::Ready(Ok(buffer.filled().len()))
        })
    }
}

/// What ended a wait.
enum Woken {
    Readable,
    Timeout,
    Drain,
}

/// How a connection goes on.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    Keep,
    Close,
    /// Close, but let the client read the answer although we did not read all that it sent.
    Linger,
}

/// What a connection turned out to be.
pub(crate) enum Outcome {
    Done,
    /// HTTP/2: the socket, and the bytes that were read from it.
    Http2(Stream, BytesMut),
}

struct Connection {
    gateway: Shared,
    ends: Ends,
    read: Option<ReadSide>,
    write: WriteHalf,
    timer: Pin<Box<Sleep>>,
    /// Bytes that wait to be written; empty but for informational heads that did not fit into the socket.
    out: Vec<u8>,
    hints: Hints,
}

/// Informational heads (103) that PHP has sent before its answer.
struct Hints {
    waiting: Arc<Mutex<Vec<u8>>>,
    /// Adds to them; the same for all requests of the connection.
    sink: InformationalSink,
}

impl Hints {
    fn new() -> Self {
        let waiting: Arc<Mutex<Vec<u8>>> = Arc::default();
        let theirs = waiting.clone();
        let sink = Arc::new(move |status, headers| {
            let mut waiting = theirs.lock().unwrap_or_else(PoisonError::into_inner);
            response::put_informational(&mut waiting, status, &headers);
        });
        Self { waiting, sink }
    }

    /// Moves the heads that wait to `out`.
    fn put(&self, out: &mut Vec<u8>) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        out.append(&mut waiting);
    }

    /// Writes the heads that wait, as far as the socket takes them.
    fn send(&self, write: &WriteHalf, out: &mut Vec<u8>) {
        self.put(out);
        if !out.is_empty()
            && let Ok(written) = write.try_write(out)
        {
            out.drain(..written);
        }
    }
}

/// Serves `stream` until it ends or turns out to speak HTTP/2.
pub(crate) async fn serve(gateway: Shared, stream: Stream, ends: Ends, drain: &Drain) -> Outcome {
    let (half, write) = stream.split();
    let timer = Box::pin(tokio::time::sleep_until(now() + gateway.settings.limits.keep_alive));
    let mut connection = Connection {
        gateway,
        ends,
        read: Some(ReadSide { half, input: BytesMut::new() }),
        write,
        timer,
        out: Vec::new(),
        hints: Hints::new(),
    };
    let mut draining = std::pin::pin!(drain.notified());
    draining.as_mut().enable();
    let next = connection.run(draining, drain).await;
    match next {
        Err(Http2) => connection.into_http2(),
        Ok(next) => {
            if next == Next::Linger {
                connection.linger().await;
            }
            Outcome::Done
        }
    }
}

/// The client began with HTTP/2's preface.
struct Http2;

impl Connection {
    async fn run(&mut self, mut draining: Pin<&mut Notified<'_>>, drain: &Drain) -> Result<Next, Http2> {
        let limits = self.gateway.settings.limits;
        let mut served = 0;
        loop {
            if self.input().is_empty() {
                self.timer.as_mut().reset(now() + limits.keep_alive);
                self.read_side().input = BytesMut::new();
                let mut drained = drain.is_on();
                if !drained {
                    match self.wait_readable(Some(draining.as_mut())).await {
                        Woken::Readable => {}
                        Woken::Timeout => return Ok(Next::Close),
                        Woken::Drain => drained = true,
                    }
                }
                if drained {
                    self.timer.as_mut().reset(now() + LAST_CALL.min(limits.drain / 2));
                    if !matches!(self.wait_readable(None).await, Woken::Readable) {
                        return Ok(Next::Linger);
                    }
                }
            }
            let head = match self.take_head().await? {
                Ok(head) => head,
                Err(next) => return Ok(next),
            };
            served += 1;
            let last = served >= limits.requests_per_connection;
            // Boxed, so that a connection that waits is small.
            let next = Box::pin(self.answer(head, last, drain)).await;
            if next != Next::Keep {
                return Ok(next);
            }
        }
    }

    fn read_side(&mut self) -> &mut ReadSide {
        self.read.as_mut().expect("between requests the reading side is here")
    }

    fn input(&mut self) -> &mut BytesMut {
        &mut self.read_side().input
    }

    /// Waits until there is something to read, without a buffer.
    async fn wait_readable(&mut self, mut draining: Option<Pin<&mut Notified<'_>>>) -> Woken {
        let side = self.read.as_mut().expect("between requests the reading side is here");
        let timer = &mut self.timer;
        std::future::poll_fn(|cx| {
            if side.half.poll_read_ready(cx).is_ready() {
                return Poll::Ready(Woken::Readable);
            }
            if let Some(draining) = &mut draining
                && draining.as_mut().poll(cx).is_ready()
            {
                return Poll::Ready(Woken::Drain);
            }
            ready!(timer.as_mut().poll(cx));
            Poll::Ready(Woken::Timeout)
        })
        .await
    }

    /// Reads a head; inside, how the connection goes on when there is none.
    async fn take_head(&mut self) -> Result<Result<RequestHead, Next>, Http2> {
        let limits = self.gateway.settings.limits;
        let mut begun = false;
        loop {
            if !self.input().is_empty() {
                let seen = self.input().len().min(PREFACE.len());
                if self.input()[..seen] == PREFACE[..seen] {
                    if seen == PREFACE.len() {
                        return Err(Http2);
                    }
                } else {
                    match head::take(self.input(), limits.head) {
                        Ok(Some(head)) => return Ok(Ok(head)),
                        Ok(None) => {}
                        Err(refused) => {
                            return Ok(Err(self.refuse(refused.status, refused.reason).await));
                        }
                    }
                }
                if !begun {
                    begun = true;
                    self.timer.as_mut().reset(now() + limits.head_timeout);
                }
            }
            let side = self.read.as_mut().expect("between requests the reading side is here");
            let timer = &mut self.timer;
            let read = std::future::poll_fn(|cx| {
                if let Poll::Ready(read) = side.poll_fill(cx) {
                    return Poll::Ready(Some(read));
                }
                ready!(timer.as_mut().poll(cx));
                Poll::Ready(None)
            })
            .await;
            match read {
                Some(Ok(read)) if read > 0 => {}
                Some(_) => return Ok(Err(Next::Close)),
                None if begun => {
                    return Ok(Err(self
                        .refuse(StatusCode::REQUEST_TIMEOUT, "the head came too slowly")
                        .await));
                }
                None => return Ok(Err(Next::Close)),
            }
        }
    }

    /// Answers what is not even a request.
    async fn refuse(&mut self, status: StatusCode, reason: &str) -> Next {
        let explain = self.gateway.settings.explain_errors.then_some(reason);
        let reply = Reply::error(status, &HeaderMap::new(), "-", explain);
        let asked = response::Asked { method: &Method::GET, version: Version::HTTP_11, keep_alive: false };
        let _ = self.write_reply(asked, reply).await;
        Next::Linger
    }

    async fn answer(&mut self, head: RequestHead, last: bool, drain: &Drain) -> Next {
        let (body, home) = self.body_of(&head);
        let keep_alive = head.keep_alive && !last;
        let asked = Arc::new(Asked {
            method: head.method,
            target: head.target,
            authority: head.authority,
            version: head.version,
            headers: head.headers,
            content_length: match head.framing {
                Framing::Length(length) => Some(length),
                Framing::Chunked => None,
            },
        });
        let gateway = self.gateway.clone();
        let hints = (asked.version == Version::HTTP_11).then(|| self.hints.sink.clone());
        // Pinned where it is made: handed on by value it would take its room in this future twice more.
        let answering = std::pin::pin!(gateway.answer(&asked, body, self.ends, hints));
        let Some(reply) = self.answer_or_abort(answering, home.as_deref()).await else { return Next::Close };
        // A body that was not read makes the connection useless: nobody knows where the next request begins.
        let read = self.read.is_some() || home.as_ref().is_none_or(|home| home.is_complete());
        let keep_alive = keep_alive && !reply.close && read && !drain.is_on();
        let written = self
            .write_reply(response::Asked { method: &asked.method, version: asked.version, keep_alive }, reply)
            .await;
        if self.read.is_none() {
            match home.and_then(|home| home.take()) {
                Some(side) => self.read = Some(side),
                None => return Next::Close,
            }
        }
        match written {
            Ok(true) if keep_alive => Next::Keep,
            Ok(_) if !read => Next::Linger,
            _ => Next::Close,
        }
    }

    /// Runs `answering` while watching whether the client is still there.
    async fn answer_or_abort(
        &mut self,
        mut answering: Pin<&mut impl Future<Output = Reply>>,
        home: Option<&Home>,
    ) -> Option<Reply> {
        let Self { read: side, write, out, hints, .. } = self;
        std::future::poll_fn(|cx| {
            if let Poll::Ready(reply) = answering.as_mut().poll(cx) {
                return Poll::Ready(Some(reply));
            }
            hints.send(write, out);
            if side.is_none() {
                // Once the body was read, the socket is watched again.
                *side = home.and_then(Home::take_complete);
            }
            if let Some(side) = side
                && is_gone(side, cx)
            {
                return Poll::Ready(None);
            }
            Poll::Pending
        })
        .await
    }

    /// The body of the request with the reading side in it, and the place to which that returns.
    fn body_of(&mut self, head: &RequestHead) -> (InBody, Option<Arc<Home>>) {
        if head.framing == Framing::Length(0) {
            return (InBody::Empty, None);
        }
        let Some(side) = self.read.take() else { return (InBody::Empty, None) };
        let limits = self.gateway.settings.limits;
        let home = Arc::new(Home::default());
        let body = H1Body {
            side: Some(side),
            decoder: match head.framing {
                Framing::Length(left) => Decoder::Length { left },
                Framing::Chunked => Decoder::Chunked(chunked::Decoder::default()),
            },
            owes_continue: head.expects_continue,
            timeout: limits.body_timeout,
            timer: Box::pin(tokio::time::sleep_until(now() + limits.body_timeout)),
            home: home.clone(),
        };
        (InBody::H1(Box::new(body)), Some(home))
    }

    /// Writes a response; false = the connection cannot be kept, because the body did not match its head.
    async fn write_reply(&mut self, asked: response::Asked<'_>, reply: Reply) -> io::Result<bool> {
        let known = reply.body.known_length();
        let delimiter = response::delimiter(asked, reply.status, &reply.headers, known);
        let mut out = STOCK.with_borrow_mut(Vec::pop).unwrap_or_default();
        out.append(&mut self.out);
        self.hints.put(&mut out);
        with_date(|date| {
            response::put_head(&mut out, asked, reply.status, &reply.headers, delimiter, known, date);
        });
        let (mut body, unsent) = match delimiter {
            Delimiter::None => (OutBody::Empty, reply.body),
            _ => (reply.body, OutBody::Empty),
        };
        let mut record = reply.record;
        let mut sent = 0;
        let written = self.write_body(&mut out, &mut body, delimiter, &mut sent).await;
        if let Some(record) = &mut record {
            record.bytes = sent;
        }
        if written.is_ok() {
            body.hear_out();
            unsent.hear_out();
        }
        if out.capacity() <= 2 * WRITE_SIZE {
            out.clear();
            STOCK.with_borrow_mut(|stock| {
                if stock.len() < STOCK_MAX {
                    stock.push(out);
                }
            });
        }
        written
    }

    async fn write_body(
        &mut self,
        out: &mut Vec<u8>,
        body: &mut OutBody,
        delimiter: Delimiter,
        sent: &mut u64,
    ) -> io::Result<bool> {
        let mut left = match delimiter {
            Delimiter::Length(length) => length,
            _ => u64::MAX,
        };
        loop {
            let frame = std::future::poll_fn(|cx| {
                if out.len() >= WRITE_SIZE {
                    return Poll::Ready(Gathered::Full);
                }
                match Pin::new(&mut *body).poll_frame(cx) {
                    Poll::Ready(frame) => Poll::Ready(Gathered::Frame(frame)),
                    // What is there goes out before more is awaited: a flush in PHP reaches the client.
                    Poll::Pending if !out.is_empty() => Poll::Ready(Gathered::Full),
                    Poll::Pending => match &mut self.read {
                        Some(side) => {
                            if is_gone(side, cx) {
                                Poll::Ready(Gathered::Gone)
                            } else {
                                Poll::Pending
                            }
                        }
                        None => Poll::Pending,
                    },
                }
            })
            .await;
            let data = match frame {
                Gathered::Full => {
                    self.write_all(out, body).await?;
                    continue;
                }
                Gathered::Gone => return Err(io::ErrorKind::ConnectionAborted.into()),
                Gathered::Frame(None) => break,
                Gathered::Frame(Some(Ok(frame))) => frame.into_data().unwrap_or_default(),
                Gathered::Frame(Some(Err(error))) => {
                    // The head is out or may be: only a connection that breaks off tells the client.
                    self.gateway.logs.error(&format!("an answer broke off: {error}"));
                    self.write_all(out, body).await?;
                    return Ok(false);
                }
            };
            *sent += data.len() as u64;
            match delimiter {
                Delimiter::Chunked => response::put_chunk(out, &data),
                _ => {
                    let count = usize::try_from(left).unwrap_or(usize::MAX).min(data.len());
                    out.extend_from_slice(&data[..count]);
                    left -= count as u64;
                    if left == 0 && matches!(delimiter, Delimiter::Length(_)) {
                        break;
                    }
                }
            }
        }
        if delimiter == Delimiter::Chunked {
            out.extend_from_slice(response::LAST_CHUNK);
        }
        self.write_all(out, body).await?;
        Ok(match delimiter {
            Delimiter::Length(_) => left == 0,
            Delimiter::Close => false,
            Delimiter::None | Delimiter::Chunked => true,
        })
    }

    /// Writes `out` and empties it. While the client takes its time, `body` is read ahead.
    async fn write_all(&mut self, out: &mut Vec<u8>, body: &mut OutBody) -> io::Result<()> {
        let timeout = self.gateway.settings.limits.write_timeout;
        let mut at = 0;
        let mut armed = false;
        std::future::poll_fn(|cx| {
            while at < out.len() {
                match self.write.poll_write(cx, &out[at..]) {
                    Poll::Ready(written) => {
                        at += written?;
                        armed = false;
                    }
                    Poll::Pending => {
                        body.prefetch(cx);
                        if !armed {
                            armed = true;
                            self.timer.as_mut().reset(now() + timeout);
                        }
                        ready!(self.timer.as_mut().poll(cx));
                        return Poll::Ready(Err(io::Error::from(io::ErrorKind::TimedOut)));
                    }
                }
            }
            Poll::Ready(Ok(()))
        })
        .await?;
        out.clear();
        Ok(())
    }

    /// Says that nothing more will be sent, and reads on for a while.
    async fn linger(&mut self) {
        if self.write.shutdown().await.is_err() {
            return;
        }
        let Some(side) = &mut self.read else { return };
        self.timer.as_mut().reset(now() + LINGER);
        let timer = &mut self.timer;
        let mut seen = 0;
        std::future::poll_fn(|cx| {
            loop {
                side.input.clear();
                match side.poll_fill(cx) {
                    Poll::Ready(Ok(read)) if read > 0 && seen < LINGER_MAX => seen += read,
                    Poll::Ready(_) => return Poll::Ready(()),
                    Poll::Pending => return timer.as_mut().poll(cx),
                }
            }
        })
        .await;
    }

    fn into_http2(self) -> Outcome {
        let Some(side) = self.read else { return Outcome::Done };
        match Stream::join(side.half, self.write) {
            Some(stream) => Outcome::Http2(stream, side.input),
            None => Outcome::Done,
        }
    }
}

/// What the writer of a body got.
enum Gathered {
    Full,
    Gone,
    Frame(Option<Result<Frame<Bytes>, regie_pool::BoxError>>),
}

/// Whether the client has closed. What it sends ahead is kept, up to a bound.
fn is_gone(side: &mut ReadSide, cx: &mut Context<'_>) -> bool {
    while side.input.len() < AHEAD_MAX {
        match side.poll_fill(cx) {
            Poll::Ready(Ok(read)) if read > 0 => {}
            Poll::Ready(_) => return true,
            Poll::Pending => return false,
        }
    }
    false
}

/// Where the reading side of a connection returns to when a body ends.
#[derive(Debug, Default)]
struct Home {
    place: Mutex<Option<(ReadSide, bool)>>,
}

impl Home {
    fn put(&self, side: ReadSide, complete: bool) {
        *self.place.lock().unwrap_or_else(PoisonError::into_inner) = Some((side, complete));
    }

    /// Whether the body was read to its end.
    fn is_complete(&self) -> bool {
        self.place
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .as_ref()
            .is_some_and(|(_, complete)| *complete)
    }

    /// The reading side, if the body was read to its end.
    fn take_complete(&self) -> Option<ReadSide> {
        self.is_complete().then(|| self.take()).flatten()
    }

    fn take(&self) -> Option<ReadSide> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner).take().map(|(side, _)| side)
    }
}

#[derive(Debug)]
enum Decoder {
    Length { left: u64 },
    Chunked(chunked::Decoder),
}

/// The body of a request. It has no bound of its own: a length that is told is weighed before anything is read, and a
/// body whose length is not told is taken in first ([`super::spool`]), up to the limit.
#[derive(Debug)]
pub(crate) struct H1Body {
    side: Option<ReadSide>,
    decoder: Decoder,
    /// The client waits for a word before it sends.
    owes_continue: bool,
    timeout: Duration,
    timer: Pin<Box<Sleep>>,
    home: Arc<Home>,
}

impl H1Body {
    /// Takes a piece from what was read. None = more must be read.
    fn take_piece(&mut self) -> Result<Option<Bytes>, BodyError> {
        let Some(side) = &mut self.side else { return Ok(Some(Bytes::new())) };
        match &mut self.decoder {
            Decoder::Length { left } => {
                if side.input.is_empty() {
                    return Ok(None);
                }
                let count = usize::try_from(*left).unwrap_or(usize::MAX).min(side.input.len());
                *left -= count as u64;
                Ok(Some(side.input.split_to(count).freeze()))
            }
            Decoder::Chunked(decoder) => match decoder.take(&mut side.input) {
                Ok(chunked::Piece::Data(data)) => Ok(Some(data)),
                Ok(chunked::Piece::NeedMore) => Ok(None),
                Ok(chunked::Piece::End) => Ok(Some(Bytes::new())),
                Err(_) => Err(BodyError::Malformed),
            },
        }
    }

    const fn is_done(&self) -> bool {
        match &self.decoder {
            Decoder::Length { left } => *left == 0,
            Decoder::Chunked(decoder) => decoder.is_done(),
        }
    }

    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BodyError>> {
        let Some(side) = &mut self.side else { return Poll::Ready(Err(BodyError::Gone)) };
        if std::mem::take(&mut self.owes_continue) {
            // 25 bytes always fit into the buffer of a socket to which nothing else was written.
            let _ = side.half.try_write(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
        match side.poll_fill(cx) {
            Poll::Ready(Ok(read)) if read > 0 => {
                self.timer.as_mut().reset(now() + self.timeout);
                Poll::Ready(Ok(()))
            }
            Poll::Ready(_) => Poll::Ready(Err(BodyError::Gone)),
            Poll::Pending => {
                ready!(self.timer.as_mut().poll(cx));
                Poll::Ready(Err(BodyError::Timeout))
            }
        }
    }
}

impl Body for H1Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        if this.is_done() {
            return Poll::Ready(None);
        }
        loop {
            match this.take_piece() {
                Ok(Some(piece)) if piece.is_empty() => return Poll::Ready(None),
                Ok(Some(piece)) => return Poll::Ready(Some(Ok(Frame::data(piece)))),
                Ok(None) => {}
                Err(error) => return Poll::Ready(Some(Err(error))),
            }
            if let Err(error) = ready!(this.poll_more(cx)) {
                return Poll::Ready(Some(Err(error)));
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.is_done()
    }
}

impl Drop for H1Body {
    fn drop(&mut self) {
        if let Some(side) = self.side.take() {
            self.home.put(side, self.is_done());
        }
    }
}
