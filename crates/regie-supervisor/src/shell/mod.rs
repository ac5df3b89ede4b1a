//! The part that does I/O: processes, signals, files and sockets, on one thread.

pub mod client;
pub mod settings;

mod folder;
