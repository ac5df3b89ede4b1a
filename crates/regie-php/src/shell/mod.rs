//! Everything that touches the system: the master and its signals, the workers and their sockets.

pub(crate) mod area;
pub(crate) mod callbacks;
pub(crate) mod clock;
pub(crate) mod connection;
pub(crate) mod engine;
pub(crate) mod generation;
pub(crate) mod lane;
pub(crate) mod listen;
pub(crate) mod log;
pub(crate) mod master;
pub(crate) mod notify;
pub(crate) mod nudge;
pub(crate) mod pool;
pub(crate) mod report;
pub(crate) mod request;
pub(crate) mod setup;
pub(crate) mod template;
pub(crate) mod worker;
