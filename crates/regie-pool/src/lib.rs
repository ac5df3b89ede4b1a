//! One interface to a pool of PHP workers, whichever way requests reach them.
//!
//! A worker serves one request at a time, so the caller's side keeps the queue: a request is given only to a worker
//! that is ready for it, and never stands behind a slow one while another is idle. The gateway, the job runner and
//! the benchmarks all speak to [`Pool::call`]; the carrier behind it is theirs to ignore.
//!
//! - [`head`]: the parameters of a request, in a buffer that is used again.
//! - [`call`]: what is asked, what comes back, and errors that say whose fault they are.
//! - [`message`]: what worker scripts are sent as a string, and how that ends.
//! - [`queue`]: who gets the next free worker, and who has waited too long. Pure.
//! - [`shell`]: the FastCGI carrier.
#![forbid(unsafe_code)]

pub mod call;
pub mod head;
pub mod message;
pub mod queue;
pub mod shell;

pub use call::{Answer, Blame, Body, BoxError, Call, CallError};
pub use head::Head;
pub use message::{Delivered, Hold, Message, MessageError};
pub use queue::{Priority, QueueLimits};
pub use shell::{Address, AnswerBody, Counts, Heirloom, Pool, PoolSettings, Sent, StderrSink};
