//! Bodies as they come in and go out, whichever protocol carries them.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use regie_pool::{AnswerBody, BoxError};

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

/// The body of a request.
#[derive(Debug)]
pub(crate) enum InBody {
    Empty,
    H1(H1Body),
    H2(hyper::body::Incoming),
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
            Self::H1(body) => Pin::new(body).poll_frame(cx),
            Self::H2(body) => match ready!(Pin::new(body).poll_frame(cx)) {
                Some(Ok(frame)) => Poll::Ready(Some(Ok(frame))),
                Some(Err(_)) => Poll::Ready(Some(Err(BodyError::Gone))),
                None => Poll::Ready(None),
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::H1(body) => body.is_end_stream(),
            Self::H2(body) => body.is_end_stream(),
        }
    }
}

/// The body of a response.
pub(crate) enum OutBody {
    Empty,
    Full(Bytes),
    Pool(AnswerBody),
    File(FileBody),
    Boxed(Pin<Box<dyn Body<Data = Bytes, Error = BoxError> + Send>>),
}

impl fmt::Debug for OutBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "Empty",
            Self::Full(_) => "Full",
            Self::Pool(_) => "Pool",
            Self::File(_) => "File",
            Self::Boxed(_) => "Boxed",
        })
    }
}

impl OutBody {
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
            Self::Empty => Poll::Ready(None),
            Self::Full(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Full(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Self::Pool(body) => Pin::new(body).poll_frame(cx).map_err(Into::into),
            Self::File(body) => Pin::new(body).poll_frame(cx).map_err(Into::into),
            Self::Boxed(body) => body.as_mut().poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Full(bytes) => bytes.is_empty(),
            Self::Pool(body) => body.is_end_stream(),
            Self::File(body) => body.is_end_stream(),
            Self::Boxed(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Pool(body) => body.size_hint(),
            Self::File(body) => body.size_hint(),
            Self::Boxed(body) => body.size_hint(),
        }
    }
}
