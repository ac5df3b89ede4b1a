//! The lane in memory and processes: [`memory`] and `sys` hold all unsafe code.
//!
//! - [`files`]: the descriptors of a lane, made once and handed on.
//! - [`worker`]: takes requests, reads and answers them. Allocates nothing.
//! - [`gateway`]: submits requests and reads answers, on tokio.
//! - [`janitor`]: finds what dead workers have left.
//!
//! **Seats.** A process that takes part has a seat: an exclusive open-file-description lock on one byte of the lane's
//! file, through a descriptor of its own. Taking it is one atomic step of the kernel, and it ends with the process
//! whatever kills it; so a seat that can be locked is free, and whatever its last holder left is the taker's to clean
//! up. Nobody compares process ids that may have been used again.

pub mod files;
#[cfg(feature = "gateway")]
pub mod gateway;
pub mod janitor;
pub mod memory;
mod sys;
pub mod worker;

pub use files::Lane;
#[cfg(feature = "gateway")]
pub use gateway::{Broken, Exchange, Gateway, Read, Refusal};
pub use janitor::Janitor;
pub use worker::{Gone, Job, Wake, Worker};
