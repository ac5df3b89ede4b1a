//! The eight bytes before every record, and the bodies of a fixed form.

use crate::Malformed;

/// The length of a record's header.
pub const HEADER_LEN: usize = 8;

/// The longest content that one record can carry.
pub const CONTENT_MAX: usize = 65_535;

const VERSION: u8 = 1;

/// What a record is. The numbers are those on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Client: a request begins.
    BeginRequest,
    /// Client: the request is of no further interest.
    AbortRequest,
    /// Worker: the request is over.
    EndRequest,
    /// Client: a piece of the parameters; empty = their end.
    Params,
    /// Client: a piece of the request body; empty = its end.
    Stdin,
    /// Worker: a piece of the response.
    Stdout,
    /// Worker: a piece of what goes to the error log.
    Stderr,
    /// Client: a piece of the second body that only filters have.
    Data,
    /// Client: asks for named values of the worker.
    GetValues,
    /// Worker: the answer.
    GetValuesResult,
    /// Worker: a management record was not understood; see also [`crate::management::GOAWAY`].
    UnknownType,
    /// None of the above. A management record (request 0) of an unknown type is answered with
    /// [`Kind::UnknownType`], any other is passed over.
    Other(u8),
}

impl Kind {
    /// The byte on the wire.
    #[must_use]
    pub const fn byte(self) -> u8 {
        match self {
            Self::BeginRequest => 1,
            Self::AbortRequest => 2,
            Self::EndRequest => 3,
            Self::Params => 4,
            Self::Stdin => 5,
            Self::Stdout => 6,
            Self::Stderr => 7,
            Self::Data => 8,
            Self::GetValues => 9,
            Self::GetValuesResult => 10,
            Self::UnknownType => 11,
            Self::Other(byte) => byte,
        }
    }

    const fn from_byte(byte: u8) -> Self {
        match byte {
            1 => Self::BeginRequest,
            2 => Self::AbortRequest,
            3 => Self::EndRequest,
            4 => Self::Params,
            5 => Self::Stdin,
            6 => Self::Stdout,
            7 => Self::Stderr,
            8 => Self::Data,
            9 => Self::GetValues,
            10 => Self::GetValuesResult,
            11 => Self::UnknownType,
            other => Self::Other(other),
        }
    }

    /// Whether the record is a piece of a stream: of any length, and of meaning before it is complete.
    #[must_use]
    pub const fn is_stream(self) -> bool {
        matches!(self, Self::Params | Self::Stdin | Self::Stdout | Self::Stderr | Self::Data)
    }
}

/// The header of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// What the record is.
    pub kind: Kind,
    /// The request that it belongs to; 0 for the connection itself.
    pub request_id: u16,
    /// Bytes of content that follow.
    pub content_len: u16,
    /// Bytes after the content that mean nothing.
    pub padding_len: u8,
}

impl Header {
    /// A header without padding.
    #[must_use]
    pub const fn new(kind: Kind, request_id: u16, content_len: u16) -> Self {
        Self { kind, request_id, content_len, padding_len: 0 }
    }

    /// Reads a header.
    ///
    /// # Errors
    /// When the version is not 1.
    pub const fn parse(bytes: [u8; HEADER_LEN]) -> Result<Self, Malformed> {
        if bytes[0] != VERSION {
            return Err(Malformed::Version(bytes[0]));
        }
        Ok(Self {
            kind: Kind::from_byte(bytes[1]),
            request_id: u16::from_be_bytes([bytes[2], bytes[3]]),
            content_len: u16::from_be_bytes([bytes[4], bytes[5]]),
            padding_len: bytes[6],
        })
    }

    /// The header as it goes over the wire.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; HEADER_LEN] {
        let id = self.request_id.to_be_bytes();
        let len = self.content_len.to_be_bytes();
        [VERSION, self.kind.byte(), id[0], id[1], len[0], len[1], self.padding_len, 0]
    }
}

/// What the worker shall be to the request. Régie is a responder, as php-fpm is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Answers a request.
    Responder,
    /// Decides on access; answered with [`ProtocolStatus::UnknownRole`].
    Authorizer,
    /// Answers a request that carries a file; answered with [`ProtocolStatus::UnknownRole`].
    Filter,
}

/// The body of [`Kind::BeginRequest`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BeginRequest {
    /// What the worker shall be.
    pub role: Role,
    /// Whether the connection stays open after the answer (`FCGI_KEEP_CONN`).
    pub keep_connection: bool,
}

impl BeginRequest {
    /// Reads the body.
    ///
    /// # Errors
    /// When the role is unknown or the length is not 8.
    pub fn parse(body: &[u8]) -> Result<Self, Malformed> {
        let body = eight(Kind::BeginRequest, body)?;
        let role = match u16::from_be_bytes([body[0], body[1]]) {
            1 => Role::Responder,
            2 => Role::Authorizer,
            3 => Role::Filter,
            other => return Err(Malformed::Value(other)),
        };
        Ok(Self { role, keep_connection: body[2] & 1 == 1 })
    }

    /// The record, header included, that begins request `request_id`.
    #[must_use]
    pub const fn to_record(self, request_id: u16) -> [u8; 16] {
        let role = match self.role {
            Role::Responder => 1,
            Role::Authorizer => 2,
            Role::Filter => 3,
        };
        with_header(Kind::BeginRequest, request_id, [0, role, self.keep_connection as u8, 0, 0, 0, 0, 0])
    }
}

/// How a request ended, seen from the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProtocolStatus {
    /// Answered.
    Complete,
    /// Refused: this connection takes one request at a time.
    CannotMultiplex,
    /// Refused: try again elsewhere.
    Overloaded,
    /// Refused: only responders here.
    UnknownRole,
}

/// The body of [`Kind::EndRequest`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndRequest {
    /// The exit status of the script.
    pub app_status: u32,
    /// How the request ended.
    pub protocol_status: ProtocolStatus,
}

impl EndRequest {
    /// The end of a request that was answered.
    pub const COMPLETE: Self = Self { app_status: 0, protocol_status: ProtocolStatus::Complete };

    /// Reads the body.
    ///
    /// # Errors
    /// When the status is unknown or the length is not 8.
    pub fn parse(body: &[u8]) -> Result<Self, Malformed> {
        let body = eight(Kind::EndRequest, body)?;
        let protocol_status = match body[4] {
            0 => ProtocolStatus::Complete,
            1 => ProtocolStatus::CannotMultiplex,
            2 => ProtocolStatus::Overloaded,
            3 => ProtocolStatus::UnknownRole,
            other => return Err(Malformed::Value(u16::from(other))),
        };
        Ok(Self { app_status: u32::from_be_bytes([body[0], body[1], body[2], body[3]]), protocol_status })
    }

    /// The record, header included, that ends request `request_id`.
    #[must_use]
    pub const fn to_record(self, request_id: u16) -> [u8; 16] {
        let app = self.app_status.to_be_bytes();
        let status = match self.protocol_status {
            ProtocolStatus::Complete => 0,
            ProtocolStatus::CannotMultiplex => 1,
            ProtocolStatus::Overloaded => 2,
            ProtocolStatus::UnknownRole => 3,
        };
        with_header(Kind::EndRequest, request_id, [app[0], app[1], app[2], app[3], status, 0, 0, 0])
    }
}

const fn eight(kind: Kind, body: &[u8]) -> Result<[u8; 8], Malformed> {
    match body.first_chunk::<8>() {
        Some(bytes) if body.len() == 8 => Ok(*bytes),
        _ => Err(Malformed::BodyLength { kind: kind.byte(), len: body.len() }),
    }
}

pub(crate) const fn with_header(kind: Kind, request_id: u16, body: [u8; 8]) -> [u8; 16] {
    let header = Header::new(kind, request_id, 8).to_bytes();
    let mut record = [0; 16];
    let mut at = 0;
    while at < 8 {
        record[at] = header[at];
        record[at + 8] = body[at];
        at += 1;
    }
    record
}

/// Appends `data` to `out` as records of a stream, as many as its length needs. Empty data appends nothing: the
/// empty record that ends a stream is [`put_stream_end`].
pub fn put_stream(out: &mut Vec<u8>, kind: Kind, request_id: u16, data: &[u8]) {
    for piece in data.chunks(CONTENT_MAX) {
        #[expect(clippy::cast_possible_truncation, reason = "a chunk is at most 65,535 bytes long")]
        out.extend_from_slice(&Header::new(kind, request_id, piece.len() as u16).to_bytes());
        out.extend_from_slice(piece);
    }
}

/// Appends the empty record that ends a stream.
pub fn put_stream_end(out: &mut Vec<u8>, kind: Kind, request_id: u16) {
    out.extend_from_slice(&Header::new(kind, request_id, 0).to_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_byte_survives() {
        for byte in 0..=255 {
            assert_eq!(Kind::from_byte(byte).byte(), byte);
        }
    }

    #[test]
    fn headers_and_bodies_survive() {
        let header = Header { kind: Kind::Stdout, request_id: 515, content_len: 65_535, padding_len: 7 };
        assert_eq!(Header::parse(header.to_bytes()), Ok(header));
        let begin = BeginRequest { role: Role::Responder, keep_connection: true };
        let record = begin.to_record(1);
        assert_eq!(record[..8], [1, 1, 0, 1, 0, 8, 0, 0]);
        assert_eq!(BeginRequest::parse(&record[8..]), Ok(begin));
        let end = EndRequest { app_status: 255, protocol_status: ProtocolStatus::Overloaded };
        assert_eq!(EndRequest::parse(&end.to_record(9)[8..]), Ok(end));
    }

    #[test]
    fn bad_bodies_are_refused() {
        assert_eq!(Header::parse([2, 1, 0, 1, 0, 0, 0, 0]), Err(Malformed::Version(2)));
        assert_eq!(BeginRequest::parse(&[0, 9, 0, 0, 0, 0, 0, 0]), Err(Malformed::Value(9)));
        assert_eq!(BeginRequest::parse(&[0, 1]), Err(Malformed::BodyLength { kind: 1, len: 2 }));
        assert_eq!(EndRequest::parse(&[0; 9]), Err(Malformed::BodyLength { kind: 3, len: 9 }));
    }

    #[test]
    fn long_streams_are_cut_into_records() {
        let mut out = Vec::new();
        put_stream(&mut out, Kind::Stdin, 1, &vec![b'x'; CONTENT_MAX + 1]);
        assert_eq!(out.len(), CONTENT_MAX + 1 + 2 * HEADER_LEN);
        put_stream(&mut out, Kind::Stdin, 1, b"");
        assert_eq!(out.len(), CONTENT_MAX + 1 + 2 * HEADER_LEN, "empty data is not the end of a stream");
    }
}
