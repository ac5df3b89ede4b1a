//! The part that does I/O: processes, signals, files and sockets, on one thread.
//!
//! [`driver`] is the loop. It waits in `poll(2)` for signals, output, control clients, notify messages and probes,
//! turns each into an event for the [machine](crate::machine), and carries out the effects. Nothing in it waits for
//! anybody: a slow reader, a full disk or a silent probe costs the one it concerns, and no one else.

pub mod claim;
pub mod client;
pub mod driver;
pub mod settings;

mod clients;
mod clock;
mod folder;
mod logfile;
mod logs;
mod probe;
mod proc;
mod reader;
mod spawn;
mod sys;
mod terminal;
