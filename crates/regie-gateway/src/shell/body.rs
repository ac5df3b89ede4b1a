//! Bodies as they come in and go out, whichever protocol carries them.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use regie_pool::{AnswerBody, BoxError};
use tokio::sync::mpsc;
use tokio::time::Sleep;

use super::ahead::PoolBody;
use super::clock::now;
use super::compress::CodedBody;
use super::files::FileBody;
use super::h1::H1Body;

/// Why a request's body was not read to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BodyError {
    #[error("the body is larger than allowed")]
    TooLarge,
    #[error("the body came too slowly")]
    Timeout,
    #[error("the body is malformed")]
    Malformed,
    #[error("the client went away")]
    Gone,
}

/// The body of a request. Boxed, since it is handed on through many hands, and most requests have none.
#[derive(Debug)]
pub(crate) enum InBody {
    Empty,
    H1(Box<H1Body>),
    H2(Box<H2Body>),
}

impl Body for InBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::H1(body) => Pin::new(&mut **body).poll_frame(cx),
            Self::H2(body) => body.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::H1(body) => body.is_end_stream(),
            Self::H2(body) => body.body.is_end_stream(),
        }
    }
}

/// The body of a stream of HTTP/2, with the time that may pass between two of its pieces.
#[derive(Debug)]
pub(crate) struct H2Body {
    body: hyper::body::Incoming,
    timeout: Duration,
    timer: Pin<Box<Sleep>>,
}

impl H2Body {
    pub(crate) fn new(body: hyper::body::Incoming, timeout: Duration) -> Self {
        Self { body, timeout, timer: Box::pin(tokio::time::sleep(timeout)) }
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Ready(frame) => {
                self.timer.as_mut().reset(now() + self.timeout);
                Poll::Ready(frame.map(|frame| frame.map_err(|_| BodyError::Gone)))
            }
            Poll::Pending => {
                ready!(self.timer.as_mut().poll(cx));
                Poll::Ready(Some(Err(BodyError::Timeout)))
            }
        }
    }
}

/// The body of a response.
pub(crate) enum OutBody {
    Empty,
    /// Not sent, and of a length that is not known: the answer to `HEAD`.
    Untold,
    Full(Bytes),
    Pool(Box<PoolBody>),
    Coded(Box<CodedBody>),
    File(FileBody),
    Boxed(Pin<Box<dyn Body<Data = Bytes, Error = BoxError> + Send>>),
}

impl fmt::Debug for OutBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "Empty",
            Self::Untold => "Untold",
            Self::Full(_) => "Full",
            Self::Pool(_) => "Pool",
            Self::Coded(_) => "Coded",
            Self::File(_) => "File",
            Self::Boxed(_) => "Boxed",
        })
    }
}

/// Reads an answer to its end and drops it.
pub(crate) fn hear_out(mut rest: AnswerBody) {
    if rest.is_end_stream() {
        return;
    }
    tokio::spawn(async move { while let Some(Ok(_)) = rest.frame().await {} });
}

/// Pieces between the task that reads what a worker streams and the stream of HTTP/2.
const PUMPED: usize = 4;

/// The receiving end of [`OutBody::pumped`].
struct Pumped {
    pieces: mpsc::Receiver<Result<Bytes, BoxError>>,
    /// The pieces end because the client took none for too long.
    is_cut: Arc<AtomicBool>,
}

impl Body for Pumped {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        let piece = match ready!(this.pieces.poll_recv(cx)) {
            // An answer that is cut must not look complete.
            None if this.is_cut.swap(false, Ordering::Relaxed) => {
                Some(Err("the client took nothing of the answer for too long".into()))
            }
            piece => piece,
        };
        Poll::Ready(piece.map(|piece| piece.map(Frame::data)))
    }
}

impl OutBody {
    /// For HTTP/2, where nobody asks the body while the client does not take more: a task of its own reads what a worker
    /// streams ahead. It ends with the body, when nobody wants that any more, or when the client takes nothing for
    /// `patience`: a client may answer pings for ever and take nothing, and the worker is not there for it alone.
    pub(crate) fn pumped(self, patience: Duration) -> Self {
        let mut body = match self {
            Self::Pool(body) => body,
            Self::Coded(mut body) => {
                let plain = std::mem::replace(body.plain(), Self::Empty);
                *body.plain() = plain.pumped(patience);
                return Self::Coded(body);
            }
            other => return other,
        };
        let (sender, pieces) = mpsc::channel(PUMPED);
        let is_cut = Arc::new(AtomicBool::new(false));
        let cut = is_cut.clone();
        tokio::spawn(async move {
            loop {
                let piece = tokio::select! {
                    () = sender.closed() => return,
                    piece = std::future::poll_fn(|cx| body.poll_data(cx)) => piece,
                };
                let Some(piece) = piece else { return };
                let mut place = std::pin::pin!(sender.reserve());
                let place = std::future::poll_fn(|cx| {
                    let polled = place.as_mut().poll(cx);
                    if polled.is_pending() {
                        body.prefetch(cx);
                    }
                    polled
                });
                match tokio::time::timeout(patience, place).await {
                    Ok(Ok(place)) => place.send(piece),
                    Ok(Err(_)) => return,
                    Err(_) => {
                        cut.store(true, Ordering::Relaxed);
                        return;
                    }
                }
            }
        });
        Self::Boxed(Box::pin(Pumped { pieces, is_cut }))
    }

    /// The client has all that it gets, but the worker may not be done: shutdown functions run, or a body was given that
    /// is not sent. It is heard out, since closing would tell PHP that the client had left.
    pub(crate) fn hear_out(self) {
        if let Self::Pool(body) = self
            && let Some(rest) = body.into_rest()
        {
            hear_out(rest);
        }
    }

    /// Called while the client does not take more: whoever makes the body may go on, within bounds.
    pub(crate) fn prefetch(&mut self, cx: &mut Context<'_>) {
        match self {
            Self::Pool(body) => body.prefetch(cx),
            Self::Coded(body) => body.plain().prefetch(cx),
            _ => {}
        }
    }

    /// The length, when it is known.
    pub(crate) fn known_length(&self) -> Option<u64> {
        self.size_hint().exact()
    }
}

impl Body for OutBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.get_mut() {
            Self::Empty | Self::Untold => Poll::Ready(None),
            Self::Full(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Full(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Self::Pool(body) => body.poll_data(cx).map(|data| data.map(|data| data.map(Frame::data))),
            Self::Coded(body) => body.poll_piece(cx).map(|data| data.map(|data| data.map(Frame::data))),
            Self::File(body) => Pin::new(body).poll_frame(cx).map_err(Into::into),
            Self::Boxed(body) => body.as_mut().poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty | Self::Untold => true,
            Self::Full(bytes) => bytes.is_empty(),
            Self::Pool(body) => body.is_done(),
            Self::Coded(body) => body.is_done(),
            Self::File(body) => body.is_end_stream(),
            Self::Boxed(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Untold | Self::Pool(_) | Self::Coded(_) => SizeHint::default(),
            Self::File(body) => body.size_hint(),
            Self::Boxed(body) => body.size_hint(),
        }
    }
}
