//! The lane in memory and processes: [`memory`] and `sys` hold all unsafe code.
//!
//! - [`files`]: the descriptors of a lane, made once and handed on.
//! - [`worker`]: takes requests, reads and answers them. Allocates nothing.
//! - [`gateway`]: submits requests, on tokio; [`exchange`]: a request and its answer.
//! - [`estate`]: what a gateway leaves when it dies, and who takes it.
//! - [`janitor`]: finds what dead workers have left.
//!
//! **Seats.** A process that takes part has a seat: an exclusive open-file-description lock on one byte of the lane's
//! file, through a descriptor of its own. Taking it is one atomic step of the kernel, and it ends with the process
//! whatever kills it; so a seat that can be locked is free, and whatever its last holder left is the taker's to clean
//! up. Nobody compares process ids that may have been used again.

#[cfg(feature = "gateway")]
pub mod estate;
#[cfg(feature = "gateway")]
pub mod exchange;
pub mod files;
#[cfg(feature = "gateway")]
pub mod gateway;
pub mod janitor;
pub mod memory;
mod sys;
pub mod worker;

#[cfg(feature = "gateway")]
pub use estate::{Left, Remains};
#[cfg(feature = "gateway")]
pub use exchange::Exchange;
pub use files::Lane;
#[cfg(feature = "gateway")]
pub use gateway::{Broken, Gateway, Read, Refusal};
pub use janitor::Janitor;
pub use worker::{Gone, Job, Wake, Worker};
