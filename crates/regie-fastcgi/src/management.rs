//! Records of the connection itself (request 0).
//!
//! The client may ask for values (`GET_VALUES`). Régie adds one name and one record, and uses the record only after
//! the name was answered, so a peer that knows neither never sees it:
//!
//! ```text
//! gateway                               worker of regie-php
//!   GET_VALUES REGIE_GOAWAY ─────────▶   accepts the connection when it is idle
//!            ◀──────────── GET_VALUES_RESULT REGIE_GOAWAY=1, FCGI_MAX_CONNS=N
//!   (the connection is ready)
//!   request ─────────────────────────▶
//!            ◀───────────────── answer
//!                                        wants to leave (drain, max_requests, reload)
//!            ◀───────────────── GOAWAY   and goes on reading: a request that crossed is served
//!   sends nothing more, closes ──────▶   end of file: leaves
//! ```
//!
//! So a worker can leave at any time without a request being lost between the two.

use crate::record::with_header;
use crate::{Header, Kind, params};

/// How many connections the pool takes at once: its number of workers.
pub const MAX_CONNS: &str = "FCGI_MAX_CONNS";
/// How many requests the pool takes at once: the same.
pub const MAX_REQS: &str = "FCGI_MAX_REQS";
/// Whether a connection carries several requests at once: never (`0`).
pub const MPXS_CONNS: &str = "FCGI_MPXS_CONNS";
/// Whether the peer knows [`GOAWAY`]: `1`.
pub const KNOWS_GOAWAY: &str = "REGIE_GOAWAY";

/// The byte in the body of the record [`Kind::UnknownType`] that makes it a goodbye; no type of the protocol has it.
const GOAWAY_TYPE: u8 = 0x47;

/// The record that says "this worker leaves; send no further request here, and close".
pub const GOAWAY: [u8; 16] =
    with_header(Kind::UnknownType, 0, [GOAWAY_TYPE, b'o', b'a', b'w', b'a', b'y', 0, 0]);

/// Whether a record of kind [`Kind::UnknownType`] with this body is [`GOAWAY`].
#[must_use]
pub fn is_goaway(body: &[u8]) -> bool {
    body == &GOAWAY[8..]
}

/// The record that answers a management record of a type that is not known.
#[must_use]
pub const fn unknown_type(kind: Kind) -> [u8; 16] {
    with_header(Kind::UnknownType, 0, [kind.byte(), 0, 0, 0, 0, 0, 0, 0])
}

/// The record with which a client opens a connection: asks for the pool's size and for [`KNOWS_GOAWAY`].
#[must_use]
pub fn get_values() -> Vec<u8> {
    let mut body = Vec::with_capacity(64);
    for name in [MAX_CONNS, MPXS_CONNS, KNOWS_GOAWAY] {
        params::put_pair(&mut body, name.as_bytes(), b"");
    }
    record_of_pairs(Kind::GetValues, &body)
}

/// What a peer says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Values {
    /// Connections that it takes at once.
    pub max_connections: Option<usize>,
    /// Whether it sends [`GOAWAY`] before it leaves; if so, connections may be kept.
    pub knows_goaway: bool,
}

impl Values {
    /// Reads the body of a [`Kind::GetValuesResult`]. Names that are unknown and values that are no numbers are
    /// passed over, as the specification asks.
    #[must_use]
    pub fn parse(body: &[u8]) -> Self {
        let mut values = Self::default();
        for (name, value) in params::pairs(body).map_while(Result::ok) {
            let number = std::str::from_utf8(value).ok().and_then(|text| text.parse::<usize>().ok());
            if name == MAX_CONNS.as_bytes() {
                values.max_connections = number;
            } else if name == KNOWS_GOAWAY.as_bytes() {
                values.knows_goaway = number == Some(1);
            }
        }
        values
    }
}

/// The answer to a `GET_VALUES` record with this body, from a pool of `workers` workers. Names that are unknown are
/// left out.
#[must_use]
pub fn answer_values(body: &[u8], workers: usize) -> Vec<u8> {
    let workers = workers.to_string();
    let mut pairs = Vec::with_capacity(64);
    for (name, _) in params::pairs(body).map_while(Result::ok) {
        let value = match std::str::from_utf8(name) {
            Ok(MAX_CONNS | MAX_REQS) => workers.as_str(),
            Ok(MPXS_CONNS) => "0",
            Ok(KNOWS_GOAWAY) => "1",
            _ => continue,
        };
        params::put_pair(&mut pairs, name, value.as_bytes());
    }
    record_of_pairs(Kind::GetValuesResult, &pairs)
}

fn record_of_pairs(kind: Kind, pairs: &[u8]) -> Vec<u8> {
    let len = u16::try_from(pairs.len()).expect("a handful of short pairs");
    let mut record = Header::new(kind, 0, len).to_bytes().to_vec();
    record.extend_from_slice(pairs);
    record
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Framer, Step};

    fn body(record: &[u8]) -> &[u8] {
        match Framer::default().step(record).unwrap() {
            (taken, Step::Record { request_id: 0, body, .. }) if taken == record.len() => body,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_pool_of_ours_is_recognised() {
        let answer = answer_values(body(&get_values()), 12);
        assert_eq!(Values::parse(body(&answer)), Values { max_connections: Some(12), knows_goaway: true });
    }

    #[test]
    fn a_foreign_pool_is_not() {
        let mut pairs = Vec::new();
        params::put_pair(&mut pairs, b"FCGI_MAX_CONNS", b"5");
        params::put_pair(&mut pairs, b"FCGI_MPXS_CONNS", b"0");
        assert_eq!(Values::parse(&pairs), Values { max_connections: Some(5), knows_goaway: false });
    }

    #[test]
    fn goodbye_is_not_an_ordinary_unknown_type() {
        assert!(is_goaway(body(&GOAWAY)));
        assert!(!is_goaway(body(&unknown_type(Kind::Other(0x47)))));
    }
}
