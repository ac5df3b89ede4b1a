//! Lua 5.1 as Redis 7.0 runs it, for the store's EVAL, SCRIPT, FUNCTION and FCALL.
//!
//! [`Engine`] compiles scripts once and keeps them by body and by SHA-1; [`Engine::run`] runs one against a [`Host`],
//! which is whoever owns the data: it runs the commands of `redis.call`, says when a script has run for too long, takes
//! its log lines. Replies cross as RESP bytes in an [`Encoder`](regie_resp::Encoder), in both directions: a host writes
//! what it would write for a client, a result is written for the client as it will be sent.
//!
//! Nothing here reads a clock, a socket or a file. What a script sees (names, conversions, numbers, error texts, the
//! order of a table's keys, the sequence of `math.random`) is what it sees in Redis 7.0.15. What differs on purpose: memory
//! and the depth of patterns are bounded, and a long search for a pattern can be ended ([`Limits`], [`Host::tick`]).
//!
//! All Lua runs in C below protected calls; `ffi` is the only module with unsafe code.

#![deny(unsafe_code)]

mod admit;
mod dump;
mod engine;
mod error;
mod ffi;
mod flags;
mod host;
mod library;
mod native;
mod sha1;
mod text;

pub use admit::Situation;
pub use engine::{Engine, Limits, Script, ScriptId};
pub use error::ScriptError;
pub use flags::ScriptFlags;
pub use host::{Host, LogLevel, Replicate, Tick};
pub use library::{Function, Library, Restore};
pub use sha1::{Sha, sha1};
