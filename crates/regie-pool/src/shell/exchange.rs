//! One request and its answer over a connection to a worker.
//!
//! Both directions move whenever the exchange is polled: the body of the request is asked for as fast as the worker
//! takes it, and the answer is read as fast as the caller takes it, so each side holds back the other through the
//! sockets and memory stays constant. A small request leaves in one write; a small answer comes in one read and is
//! complete before its head is given out.
//!
//! Ends: a complete answer gives the connection back to the pool, as soon as the worker is done with what PHP does
//! behind it. Anything else (an error, a caller who drops the
//! body, a worker that answered without reading the request) closes it, which tells PHP that nobody listens.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use http_body::{Frame, SizeHint};
use regie_fastcgi::record::{self, BeginRequest, CONTENT_MAX, EndRequest, Header, ProtocolStatus, Role};
use regie_fastcgi::{Kind, Step, cgi};
use tokio::time::Instant;

use super::clock::now;
use super::lane::LaneExchange;
use super::link::{Link, REQUEST_ID};
use super::pool::Lease;
use crate::call::{Answer, Body, BoxError, CallError, InformationalSink};
use crate::head::{HEADROOM, Head};

/// A body up to this size leaves with the head.
const INLINE_BODY: usize = 16 * 1024;

/// Informational heads that an answer may have.
const INFORMATIONAL_MAX: usize = 16;

/// Answer bytes that are held for the caller before reading stops.
const PENDING_MAX: usize = 64 * 1024;

/// How long an answer may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    /// After this long a lost answer is a timeout (504), not a crash (502).
    pub(crate) request_timeout: Duration,
    /// Silence of this length ends the exchange.
    pub(crate) silence: Duration,
}

/// A request on its way out.
pub(crate) struct Outgoing {
    /// Records that wait to be written, from `at`.
    out: Vec<u8>,
    at: usize,
    /// Bytes written so far; as long as there are none, another worker may get the request.
    written: u64,
    body: Source,
}

enum Source {
    /// All of the body is in `out`.
    Done,
    Full(Bytes),
    Stream(Pin<Box<dyn http_body::Body<Data = Bytes, Error = BoxError> + Send>>),
}

impl Outgoing {
    pub(crate) fn new(mut head: Head, body: Body, keep: bool) -> Self {
        let mut out = head.take_buffer();
        let begin = BeginRequest { role: Role::Responder, keep_connection: keep }.to_record(REQUEST_ID);
        let pairs = out.len() - HEADROOM;
        if let Ok(len) = u16::try_from(pairs) {
            out[..16].copy_from_slice(&begin);
            out[16..HEADROOM].copy_from_slice(&Header::new(Kind::Params, REQUEST_ID, len).to_bytes());
        } else {
            let long = out;
            out = Vec::with_capacity(long.len() + 256);
            out.extend_from_slice(&begin);
            record::put_stream(&mut out, Kind::Params, REQUEST_ID, &long[HEADROOM..]);
        }
        if pairs > 0 {
            record::put_stream_end(&mut out, Kind::Params, REQUEST_ID);
        }
        let body = match body {
            Body::Empty => Source::Full(Bytes::new()),
            Body::Full(bytes) => Source::Full(bytes),
            Body::Stream(stream) => Source::Stream(stream),
        };
        let body = match body {
            Source::Full(bytes) if bytes.len() <= INLINE_BODY => {
                record::put_stream(&mut out, Kind::Stdin, REQUEST_ID, &bytes);
                record::put_stream_end(&mut out, Kind::Stdin, REQUEST_ID);
                Source::Done
            }
            other => other,
        };
        Self { out, at: 0, written: 0, body }
    }

    const fn is_sent(&self) -> bool {
        self.at == self.out.len() && matches!(self.body, Source::Done)
    }

    /// Puts the next piece of the body into the empty buffer.
    fn poll_refill(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.out.clear();
        self.at = 0;
        match &mut self.body {
            Source::Done => {}
            Source::Full(bytes) => {
                let piece = bytes.split_to(bytes.len().min(CONTENT_MAX));
                record::put_stream(&mut self.out, Kind::Stdin, REQUEST_ID, &piece);
                if bytes.is_empty() {
                    record::put_stream_end(&mut self.out, Kind::Stdin, REQUEST_ID);
                    self.body = Source::Done;
                }
            }
            Source::Stream(stream) => match ready!(stream.as_mut().poll_frame(cx)) {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        record::put_stream(&mut self.out, Kind::Stdin, REQUEST_ID, &data);
                    }
                }
                Some(Err(error)) => return Poll::Ready(Err(error)),
                None => {
                    record::put_stream_end(&mut self.out, Kind::Stdin, REQUEST_ID);
                    self.body = Source::Done;
                }
            },
        }
        Poll::Ready(Ok(()))
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        Head::give_back(std::mem::take(&mut self.out));
    }
}

/// A request that may be given to another worker, since this one has not read a byte of it.
pub(crate) struct Unsent(pub(crate) Outgoing);

/// Why an exchange has no head.
pub(crate) enum NoHead {
    Failed(CallError),
    /// The worker was gone before the first byte.
    NotBegun(Unsent),
}

/// See the module.
pub(crate) struct Exchange {
    link: Box<Link>,
    lease: Lease,
    outgoing: Outgoing,
    keep: bool,
    times: Times,
    begun: Instant,
    /// Bytes of the answer that the caller has not taken: first its head, then its body.
    pending: BytesMut,
    heads: Heads,
    /// The worker has said its last word to the caller (the empty record of its output). It may go on working, as PHP
    /// does behind `fastcgi_finish_request()`, and is free only when the request has ended.
    answered: bool,
    ended: bool,
    /// Errors of the request's body are told once the worker's answer is clear.
    body_error: Option<BoxError>,
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange").field("ended", &self.ended).finish_non_exhaustive()
    }
}

impl Exchange {
    pub(crate) fn new(
        mut link: Box<Link>,
        lease: Lease,
        outgoing: Outgoing,
        keep: bool,
        times: Times,
        informational: Option<InformationalSink>,
    ) -> Self {
        let begun = now();
        link.timer.as_mut().reset(begun + times.silence);
        Self {
            link,
            lease,
            outgoing,
            keep,
            times,
            begun,
            pending: BytesMut::new(),
            heads: Heads::new(informational),
            answered: false,
            ended: false,
            body_error: None,
        }
    }

    /// Runs until the head of the answer is there.
    pub(crate) async fn answer(mut self, waited: Duration) -> Result<Answer<AnswerBody>, NoHead> {
        let (status, headers) = match std::future::poll_fn(|cx| self.poll_head(cx)).await {
            Ok(head) => head,
            Err(CallError::Died { begun: false }) => {
                let outgoing = std::mem::replace(
                    &mut self.outgoing,
                    Outgoing { out: Vec::new(), at: 0, written: 0, body: Source::Done },
                );
                return Err(NoHead::NotBegun(Unsent(outgoing)));
            }
            Err(error) => return Err(NoHead::Failed(error)),
        };
        let body = if self.answered {
            let bytes = std::mem::take(&mut self.pending).freeze();
            self.let_go();
            AnswerBody(Kept::Whole(bytes))
        } else {
            AnswerBody(Kept::Streamed(Some(Box::new(self))))
        };
        Ok(Answer { status, headers, body, waited })
    }

    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<(StatusCode, HeaderMap), CallError>> {
        loop {
            self.poll_send(cx)?;
            self.take_records()?;
            if let Some(head) = self.heads.take(&mut self.pending)? {
                return Poll::Ready(Ok(head));
            }
            if self.answered {
                return Poll::Ready(Err(CallError::Malformed("it ended within its head".into())));
            }
            if let Some(error) = self.body_error.take() {
                return Poll::Ready(Err(CallError::Body(error)));
            }
            ready!(self.poll_receive(cx))?;
        }
    }

    /// The next bytes of the body; none = the answer is complete.
    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, CallError>> {
        loop {
            self.poll_send(cx)?;
            self.take_records()?;
            if !self.pending.is_empty() {
                self.rearm();
                return Poll::Ready(Ok(Some(self.pending.split().freeze())));
            }
            if self.answered {
                return Poll::Ready(Ok(None));
            }
            if let Some(error) = self.body_error.take() {
                return Poll::Ready(Err(CallError::Body(error)));
            }
            ready!(self.poll_receive(cx))?;
        }
    }

    /// Writes as much of the request as the worker takes. That a worker which answers does not read the rest is its
    /// right; whether it answers is seen by reading.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Result<(), CallError> {
        while !self.outgoing.is_sent() && self.body_error.is_none() {
            if self.outgoing.at == self.outgoing.out.len() {
                match self.outgoing.poll_refill(cx) {
                    Poll::Ready(Ok(())) => self.rearm(),
                    Poll::Ready(Err(error)) => self.body_error = Some(error),
                    Poll::Pending => break,
                }
                continue;
            }
            match self.link.stream.poll_write(cx, &self.outgoing.out[self.outgoing.at..]) {
                Poll::Ready(Ok(written)) => {
                    self.outgoing.at += written;
                    self.outgoing.written += written as u64;
                }
                Poll::Ready(Err(_)) if self.outgoing.written == 0 => {
                    return Err(CallError::Died { begun: false });
                }
                Poll::Ready(Err(_)) => {
                    // The worker has closed its side; what it has said before is still to be read.
                    self.keep = false;
                    self.outgoing.at = self.outgoing.out.len();
                    self.outgoing.body = Source::Done;
                }
                Poll::Pending => break,
            }
        }
        Ok(())
    }

    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), CallError>> {
        match self.link.poll_fill(cx) {
            Poll::Ready(Ok(read)) if read > 0 => Poll::Ready(Ok(())),
            Poll::Ready(_) => Poll::Ready(Err(self.lost())),
            Poll::Pending => {
                ready!(self.link.timer.as_mut().poll(cx));
                Poll::Ready(Err(CallError::Timeout(now() - self.begun)))
            }
        }
    }

    /// The connection ended before the answer.
    fn lost(&self) -> CallError {
        let elapsed = now() - self.begun;
        if elapsed >= self.times.request_timeout {
            CallError::Timeout(elapsed)
        } else {
            CallError::Died { begun: true }
        }
    }

    fn rearm(&mut self) {
        self.link.timer.as_mut().reset(now() + self.times.silence);
    }

    /// Looks at what has come, as long as there is room for it.
    fn take_records(&mut self) -> Result<(), CallError> {
        while !self.ended && self.pending.len() < PENDING_MAX {
            let (taken, step) = self
                .link
                .framer
                .step(self.link.input.unread())
                .map_err(|error| CallError::Malformed(error.to_string()))?;
            match step {
                Step::NeedMore => return Ok(()),
                Step::Piece { kind: Kind::Stdout, request_id: REQUEST_ID, data } => {
                    self.pending.extend_from_slice(data);
                }
                Step::StreamEnd { kind: Kind::Stdout, request_id: REQUEST_ID } => self.answered = true,
                Step::Piece { kind: Kind::Stderr, data, .. } => self.lease.log(data),
                Step::Record { kind: Kind::EndRequest, request_id: REQUEST_ID, body } => {
                    let end = EndRequest::parse(body).map_err(|e| CallError::Malformed(e.to_string()))?;
                    match end.protocol_status {
                        ProtocolStatus::Complete => (self.answered, self.ended) = (true, true),
                        ProtocolStatus::Overloaded => return Err(CallError::Refused("it is overloaded")),
                        ProtocolStatus::CannotMultiplex => return Err(CallError::Refused("it is busy")),
                        ProtocolStatus::UnknownRole => {
                            return Err(CallError::Refused("it is no responder"));
                        }
                    }
                }
                _ => {}
            }
            self.link.input.take(taken);
        }
        Ok(())
    }

    /// Gives the worker the whole request, for a caller who does not wait for the answer.
    pub(crate) async fn send_out(&mut self) {
        std::future::poll_fn(|cx| {
            let failed = self.poll_send(cx).is_err() || self.body_error.is_some();
            if failed || self.outgoing.is_sent() {
                return Poll::Ready(());
            }
            self.link.timer.as_mut().poll(cx)
        })
        .await;
    }

    /// The caller has the whole answer: the connection goes back, at once or when the worker is done.
    fn let_go(mut self) {
        if self.ended {
            return self.finish();
        }
        tokio::spawn(async move {
            let ended = std::future::poll_fn(|cx| self.poll_end(cx)).await;
            if ended.is_ok() {
                self.finish();
            }
        });
    }

    /// Runs until the request has ended. What the worker still writes is for nobody.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), CallError>> {
        loop {
            self.poll_send(cx)?;
            self.take_records()?;
            self.pending.clear();
            if self.ended {
                return Poll::Ready(Ok(()));
            }
            if let Some(error) = self.body_error.take() {
                return Poll::Ready(Err(CallError::Body(error)));
            }
            ready!(self.poll_receive(cx))?;
        }
    }

    /// The request has ended: the connection goes back, when it is good for another one.
    fn finish(self) {
        let Self { mut link, lease, outgoing, keep, .. } = self;
        let clean = keep && outgoing.is_sent() && matches!(link.hears_goaway(), Ok(false));
        if clean {
            lease.give_back(link);
        }
    }
}

/// The heads of an answer: those that only inform come first, and go to whoever wants them.
pub(super) struct Heads {
    sink: Option<InformationalSink>,
    seen: usize,
}

impl Heads {
    pub(super) const fn new(sink: Option<InformationalSink>) -> Self {
        Self { sink, seen: 0 }
    }

    /// The head of the answer itself, cut off the beginning of what has come, once it is there whole.
    pub(super) fn take(
        &mut self,
        pending: &mut BytesMut,
    ) -> Result<Option<(StatusCode, HeaderMap)>, CallError> {
        while let Some((status, headers)) = take_head(pending)? {
            if !status.is_informational() {
                return Ok(Some((status, headers)));
            }
            self.seen += 1;
            if self.seen > INFORMATIONAL_MAX {
                return Err(CallError::Malformed("too many informational heads".into()));
            }
            if let Some(sink) = &self.sink {
                sink(status, headers);
            }
        }
        Ok(None)
    }
}

/// Headers that a gateway adds to an answer's own without a new map.
const HEADERS_MORE: usize = 2;

/// Cuts the head off the beginning of an answer, once it is there whole.
fn take_head(pending: &mut BytesMut) -> Result<Option<(StatusCode, HeaderMap)>, CallError> {
    let malformed = |error: cgi::BadHead| CallError::Malformed(error.to_string());
    let Some(end) = cgi::find_end(pending).map_err(malformed)? else { return Ok(None) };
    let block = pending.split_to(end).freeze();
    let head = cgi::parse(&block).map_err(malformed)?;
    let status = StatusCode::from_u16(head.status).expect("the parser gives 100 to 999");
    // Whoever passes it on adds some of its own.
    let mut headers = HeaderMap::with_capacity(head.headers.len() + HEADERS_MORE);
    for (name, value) in head.headers {
        let bad = || CallError::Malformed(format!("header \"{name}\" is not allowed"));
        let key = HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad())?;
        let value = HeaderValue::from_maybe_shared(block.slice_ref(value)).map_err(|_| bad())?;
        headers.append(key, value);
    }
    Ok(Some((status, headers)))
}

/// The body of an answer.
#[derive(Debug)]
pub struct AnswerBody(Kept);

#[derive(Debug)]
enum Kept {
    /// All of it; the worker serves somebody else already.
    Whole(Bytes),
    /// What comes as the worker writes it.
    Streamed(Option<Box<Exchange>>),
    /// The same through the lane.
    Lane(Option<Box<LaneExchange>>),
}

impl AnswerBody {
    pub(super) const fn whole(bytes: Bytes) -> Self {
        Self(Kept::Whole(bytes))
    }

    pub(super) const fn lane(exchange: Box<LaneExchange>) -> Self {
        Self(Kept::Lane(Some(exchange)))
    }

    /// The whole body, when it came with the head.
    ///
    /// # Errors
    /// Gives the body back when more of it is to come.
    pub fn into_whole(self) -> Result<Bytes, Self> {
        match self.0 {
            Kept::Whole(bytes) => Ok(bytes),
            streamed @ (Kept::Streamed(_) | Kept::Lane(_)) => Err(Self(streamed)),
        }
    }
}

impl http_body::Body for AnswerBody {
    type Data = Bytes;
    type Error = CallError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, CallError>>> {
        let exchange = match &mut self.get_mut().0 {
            Kept::Whole(bytes) if bytes.is_empty() => return Poll::Ready(None),
            Kept::Whole(bytes) => return Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Kept::Streamed(exchange) => exchange,
            Kept::Lane(exchange) => return poll_lane(exchange, cx),
        };
        let Some(open) = exchange else { return Poll::Ready(None) };
        match ready!(open.poll_data(cx)) {
            Ok(Some(data)) => Poll::Ready(Some(Ok(Frame::data(data)))),
            Ok(None) => {
                if let Some(open) = exchange.take() {
                    open.let_go();
                }
                Poll::Ready(None)
            }
            Err(error) => {
                *exchange = None;
                Poll::Ready(Some(Err(error)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kept::Whole(bytes) => bytes.is_empty(),
            Kept::Streamed(exchange) => exchange.is_none(),
            Kept::Lane(exchange) => exchange.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kept::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Kept::Streamed(_) | Kept::Lane(_) => SizeHint::default(),
        }
    }
}

fn poll_lane(
    exchange: &mut Option<Box<LaneExchange>>,
    cx: &mut Context<'_>,
) -> Poll<Option<Result<Frame<Bytes>, CallError>>> {
    let Some(open) = exchange else { return Poll::Ready(None) };
    match ready!(open.poll_data(cx)) {
        Ok(Some(data)) => Poll::Ready(Some(Ok(Frame::data(data)))),
        Ok(None) => {
            *exchange = None;
            Poll::Ready(None)
        }
        Err(error) => {
            *exchange = None;
            Poll::Ready(Some(Err(error)))
        }
    }
}
