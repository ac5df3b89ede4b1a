//! What touches sockets, files and the clock.

mod ahead;
mod body;
mod clock;
mod coder;
mod compress;
mod files;
mod gateway;
mod h1;
mod h2;
mod log;
mod overflow;
mod php;
mod record;
mod reply;
mod rules;
mod send;
mod server;
mod spool;
mod status;
mod stream;

pub use gateway::{Gateway, Stats};
pub use log::{Logs, Sink};
pub use server::{Listener, Report, serve};
