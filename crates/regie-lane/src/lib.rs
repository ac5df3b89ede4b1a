//! The lane: requests and answers between gateway and PHP workers through shared memory.
//!
//! FastCGI over a socket costs each request two context switches, four system calls and two copies through the
//! kernel. In the lane requests lie in a queue in memory that both sides map; idle workers take the next one, answers
//! come back the same way, and **a side is woken only when it sleeps**: under load nobody sleeps, so nobody is woken.
//!
//! ```text
//!            submit          take             answer
//!  gateway ─────────▶ queue ──────▶ worker ───────────▶ slot, ready bit ──▶ gateway
//!             bell if a worker sleeps         bell if the gateway sleeps
//! ```
//!
//! What holds:
//! - A request waits in the shared queue and never at a worker. First come, first served within a priority. The
//!   gateway can take it back until a worker has it.
//! - A process may be killed between any two instructions. A worker costs its request, a gateway its own requests;
//!   the lane stays usable and no slot is lost ([`queue`], [`slot`], [`wake`] say why).
//! - Who holds a seat, and whether they live, the kernel says: a seat is a lock on a byte of the lane's file, which
//!   ends with its process ([`shell`]).
//! - Bodies of any size pass through a ring in each direction, each side held back by the other.
//!
//! **What is not promised.** PHP can write its whole address space, and all workers map the same memory: an extension
//! that writes wildly can damage requests that are in the lane, its own and others' (guard pages stand on both sides of
//! the mapping, and a script without a memory error cannot reach it). One mapping per worker would need a system call
//! per request. The gateway is safe from it: it copies every count once, checks it against what it keeps in its own
//! memory and the limits, reads only inside the mapping, and parses what comes as it parses anything from outside. The
//! file's size is sealed, so nobody can cut the memory from under another. A slot with impossible values costs its
//! request and is not used again; a queue with impossible counters closes the lane for this gateway ([`Refusal::Broken`]),
//! which goes on over FastCGI.
//!
//! **Bodies: rings in the lane, not a socket.** A ring has a copy less in each direction than a socket and needs no
//! system call while the other side keeps up; its end, its abort and the death of a peer are those of the slot, where
//! a socket would be a second life to keep in step. Measured with `examples/pingpong.rs`.
//!
//! **Idle workers sleep in `epoll_wait`**, not on a futex: a worker serves FastCGI connections too and must hear its
//! master, and epoll waits for listener, bell and signals at once. The bell is one eventfd for all workers, registered
//! exclusively and edge-triggered in each worker's own epoll: a ring is one write and wakes one sleeper, which has
//! nothing to read; the kernel knows who sleeps, so a wake-up cannot go to somebody who is awake or dead. Sleepers are
//! woken in a fixed order, so under little load the same, warm workers serve. A futex would save a little in the
//! wake-up, and need a process that watches the listener for all. Within a request a worker waits for one thing only,
//! and there it does sleep on a futex, in its slot.
#![deny(unsafe_op_in_unsafe_fn)]

mod atomics;
pub mod flow;
pub mod header;
pub mod queue;
pub mod shape;
pub mod shell;
pub mod slot;
pub mod wake;
pub mod word;

#[cfg(all(test, not(miri)))]
mod models;

pub use shape::{BadShape, Shape};
#[cfg(feature = "gateway")]
pub use shell::{Broken, Exchange, Gateway, Left, Read, Refusal, Remains};
pub use shell::{Gone, Janitor, Job, Lane, Wake, Worker};
