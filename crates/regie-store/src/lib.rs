//! An embedded Redis-compatible server that PHP teams can trust: a pure engine and its shell.
//!
//! Read in this order: [`Engine`] is the server without sockets, files and clocks; `database` holds keys and shows how
//! a snapshot is taken without a fork; `structures` are the values; `command` and `commands` are what clients may
//! say; `shell` carries bytes between the engine, the network and the disk.

#![forbid(unsafe_code)]

mod acl;
mod blob;
mod blocking;
mod command;
mod command_keys;
mod commands;
mod config;
mod context;
mod database;
mod dispatch;
mod effects;
mod engine;
mod evict;
mod failure;
mod following;
mod geohash;
mod glob;
mod journal;
mod keyspace;
mod manifest;
mod notify;
mod number;
mod protect;
mod pubsub;
mod random;
mod rdb;
mod reference;
mod replay;
mod replication;
mod script;
mod session;
mod sessions;
mod settings;
mod shell;
mod snapshot;
mod stats;
mod structures;
mod table;
#[cfg(test)]
mod testing;
mod tracking;
mod value;
mod verify;

pub use effects::{DiskRequest, Effects, Garbage};
pub use engine::{DiskState, Engine, Flow, ProcessState, Settings};
pub use reference::reference;
pub use script::{Meanwhile, Nobody};
pub use session::{ClientId, Peer};
pub use shell::tools;
pub use shell::{Changes, Inherited, Options, RecoveryError, RunError, run};
