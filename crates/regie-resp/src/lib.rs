//! The Redis serialisation protocol, versions 2 and 3, without I/O.
//!
//! [`RequestParser`] finds the commands in what a client has sent, however it was cut into packets, and says where
//! each argument lies in the caller's buffer: nothing is copied. [`Encoder`] writes replies in the version that the
//! client has asked for. [`Frame`] reads replies, for clients and for tests. [`Limits`] names every bound.

#![forbid(unsafe_code)]

mod encode;
mod frame;
mod limits;
mod number;
mod request;

pub use encode::{Encoder, Version};
pub use frame::{Frame, FrameError, decode};
pub use limits::Limits;
pub use number::{format_double, format_general, parse_integer, write_integer};
pub use request::{Arguments, Parsed, ProtocolError, RequestParser};
