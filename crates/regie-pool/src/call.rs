//! What is asked of a pool, what comes back, and what went wrong.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use crate::head::Head;
use crate::queue::Priority;

/// Whatever the sender of a body failed with.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The body of a request. `CONTENT_LENGTH` is the caller's to put into the head: PHP believes it.
pub enum Body {
    /// None.
    Empty,
    /// One that is there already; it leaves in the same write as the head when it is small.
    Full(Bytes),
    /// One that comes in pieces, which are asked for as fast as the worker takes them.
    Stream(Pin<Box<dyn http_body::Body<Data = Bytes, Error = BoxError> + Send>>),
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("Empty"),
            Self::Full(bytes) => write!(f, "Full({} bytes)", bytes.len()),
            Self::Stream(_) => f.write_str("Stream"),
        }
    }
}

/// Told of each informational head (103) that comes before the answer.
pub type InformationalSink = Arc<dyn Fn(StatusCode, HeaderMap) + Send + Sync>;

/// A request to a pool.
pub struct Call {
    /// The CGI parameters.
    pub head: Head,
    /// The body.
    pub body: Body,
    /// Who goes first when workers are scarce.
    pub priority: Priority,
    /// How long it may wait for a worker, when that is less than the pool's own limit.
    pub patience: Option<Duration>,
    /// The request's own time limit in place of the pool's, where it brings one; zero for none.
    pub time_limit: Option<Duration>,
    /// Where informational heads go; none = they are dropped.
    pub informational: Option<InformationalSink>,
    /// How long it goes on waiting for a worker, to be begun all the same, when its caller has left meanwhile; none = it
    /// is withdrawn. Without meaning for a body that is still to be read.
    pub outlives: Option<Duration>,
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("body", &self.body)
            .field("priority", &self.priority)
            .finish_non_exhaustive()
    }
}

impl Call {
    /// A request with the usual priority and the pool's own limits.
    #[must_use]
    pub const fn new(head: Head, body: Body) -> Self {
        Self {
            head,
            body,
            priority: Priority::Normal,
            patience: None,
            time_limit: None,
            informational: None,
            outlives: None,
        }
    }
}

/// The head of an answer, and the body still to be read.
#[derive(Debug)]
pub struct Answer<B> {
    /// The status that PHP gave.
    pub status: StatusCode,
    /// The headers that PHP gave; hop-by-hop ones are the caller's to drop.
    pub headers: HeaderMap,
    /// The body. Dropped before its end, it tells the worker that nobody listens any more.
    pub body: B,
    /// How long the request waited for a worker.
    pub waited: Duration,
}

/// Whose fault an error is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blame {
    /// The sender of the request.
    Client,
    /// The pool as a whole: it has too few workers or none.
    Pool,
    /// The worker or the application in it.
    Worker,
    /// The application, which took too long.
    Time,
}

/// Why there is no answer, or no complete one.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// As many requests wait as may wait.
    #[error("the queue of the pool is full ({0} requests wait)")]
    QueueFull(usize),
    /// No worker became free in time.
    #[error("no worker became free within {} ms", .0.as_millis())]
    QueueTimeout(Duration),
    /// Nothing listens at the pool's address.
    #[error("the pool cannot be reached: {0}")]
    Down(String),
    /// The worker went away. `begun` = it may have begun the request, which therefore is not tried again.
    #[error("the worker went away {}", if *.begun { "before the answer was complete" } else { "before the request was read" })]
    Died {
        /// Whether the request may have had effects.
        begun: bool,
    },
    /// The worker refused the request for want of room.
    #[error("the worker refused the request: {0}")]
    Refused(&'static str),
    /// What came back is no answer.
    #[error("the worker's answer is malformed: {0}")]
    Malformed(String),
    /// The request ran longer than it may.
    #[error("no answer within {} ms", .0.as_millis())]
    Timeout(Duration),
    /// The body of the request could not be read to its end.
    #[error("the body of the request broke off: {0}")]
    Body(BoxError),
}

impl CallError {
    /// Whose fault it is.
    #[must_use]
    pub const fn blame(&self) -> Blame {
        match self {
            Self::QueueFull(_) | Self::QueueTimeout(_) | Self::Down(_) | Self::Refused(_) => Blame::Pool,
            Self::Died { .. } | Self::Malformed(_) => Blame::Worker,
            Self::Timeout(_) => Blame::Time,
            Self::Body(_) => Blame::Client,
        }
    }

    /// The status to answer with, as long as no other has been sent.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        match self {
            Self::QueueFull(_) | Self::QueueTimeout(_) | Self::Down(_) | Self::Refused(_) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::Died { .. } | Self::Malformed(_) => StatusCode::BAD_GATEWAY,
            Self::Timeout(_) => StatusCode::GATEWAY_TIMEOUT,
            Self::Body(_) => StatusCode::BAD_REQUEST,
        }
    }

    /// For `Retry-After`, where trying again makes sense.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        match self.blame() {
            Blame::Pool => Some(Duration::from_secs(1)),
            Blame::Client | Blame::Worker | Blame::Time => None,
        }
    }
}
