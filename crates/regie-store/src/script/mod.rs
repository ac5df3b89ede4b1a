//! Scripts: Lua 5.1 with what Redis puts into it.
//!
//! A script's body is compiled once and found again by its bytes, so that a client that always sends EVAL (Laravel's
//! queue does) costs one look-up. `redis.call` reaches the engine through a function that exists only while a script
//! runs. Globals cannot be changed: a script sees them through a table that refuses writes.

mod bits;
mod cjson;
mod convert;
mod host;
mod msgpack;
mod sha1;

pub(crate) use host::{Scripts, run};
pub(crate) use sha1::hex as sha1_hex;
