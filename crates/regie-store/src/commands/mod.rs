//! What clients may say. `table` lists all; the other files hold the functions, one file per type or subject.

mod acl;
pub(crate) mod bits;
pub(crate) mod clients;
pub(crate) mod connection;
mod debug;
pub(crate) mod functions;
mod geo;
pub(crate) mod hashes;
pub(crate) mod hyperloglog;
mod info;
pub(crate) mod introspection;
pub(crate) mod keys;
mod latency;
pub(crate) mod lists;
mod memory;
pub(crate) mod pubsub;
mod replication;
pub(crate) mod scripting;
pub(crate) mod server;
pub(crate) mod sets;
mod sorted_set_algebra;
pub(crate) mod sorted_sets;
pub(crate) mod stream_groups;
pub(crate) mod streams;
pub(crate) mod strings;
pub(crate) mod table;
pub(crate) mod transactions;
