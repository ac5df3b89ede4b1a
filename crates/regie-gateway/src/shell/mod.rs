//! What touches sockets, files and the clock.

mod body;
mod clock;
mod files;
mod gateway;
mod h1;
mod h2;
mod log;
mod reply;
mod server;

pub use gateway::Gateway;
pub use log::{Logs, Sink};
pub use server::{Listener, Report, serve};
