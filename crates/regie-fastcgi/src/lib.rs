//! The FastCGI 1.0 wire format, without I/O: bytes in, records and pieces of streams out.
//!
//! Both ends use it: the gateway's pool client and the PHP worker's responder. Nothing here allocates while it
//! decodes, so that a worker can parse a request without touching the heap.
//!
//! - [`record`]: the eight bytes before every record, and the two fixed bodies.
//! - [`framer`]: cuts a byte stream into records, streams in pieces, small records whole.
//! - [`params`]: name-value pairs.
//! - [`management`]: `GET_VALUES`, and [`management::GOAWAY`], the one thing that Régie adds to the protocol.
//! - [`cgi`]: the header block with which a CGI response begins.
//!
//! Source: the FastCGI specification 1.0 (Open Market, 1996), and RFC 3875 for the response's head.
#![forbid(unsafe_code)]

pub mod cgi;
pub mod framer;
pub mod management;
pub mod params;
pub mod record;

pub use framer::{Framer, Step};
pub use record::{BeginRequest, EndRequest, HEADER_LEN, Header, Kind, ProtocolStatus, Role};

/// The peer does not speak FastCGI 1.0, or breaks one of our limits. The connection is of no further use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The first byte of a record is not 1.
    #[error("unknown protocol version {0}")]
    Version(u8),
    /// A record that must fit [`framer::WHOLE_LIMIT`] does not.
    #[error("record of type {kind} has {len} bytes, more than is allowed")]
    TooLong {
        /// The type byte.
        kind: u8,
        /// The length that its header tells.
        len: usize,
    },
    /// A fixed body has another length than the protocol gives it.
    #[error("record of type {kind} has {len} bytes instead of 8")]
    BodyLength {
        /// The type byte.
        kind: u8,
        /// The length that it has.
        len: usize,
    },
    /// A name-value pair runs past the end of its stream.
    #[error("a parameter runs past the end of the parameters")]
    Pair,
    /// A role, status or flag that the protocol does not know.
    #[error("unknown value {0}")]
    Value(u16),
}
