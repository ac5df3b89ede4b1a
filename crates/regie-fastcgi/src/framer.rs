//! Cuts a byte stream into records.
//!
//! The caller owns the buffer. It shows the unread bytes to [`Framer::step`], which says how many of them it has
//! taken and what they were:
//!
//! - a stream record is given out in pieces, as far as the bytes have come, without a copy;
//! - any other record is given out whole, once it is there; until then [`Step::NeedMore`] is said and nothing taken.
//!   Such a record has a limit, so a buffer of [`BUFFER_MIN`] bytes is always enough to go on;
//! - padding is swallowed.

use crate::{HEADER_LEN, Header, Kind, Malformed};

/// The longest content of a record that is no stream. `GET_VALUES` with every name that anybody asks for has 60.
pub const WHOLE_LIMIT: usize = 4_096;

/// A buffer of this size holds the largest piece that [`Framer::step`] insists on seeing whole.
pub const BUFFER_MIN: usize = HEADER_LEN + WHOLE_LIMIT + 255;

/// What the next bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step<'a> {
    /// More bytes must come first.
    NeedMore,
    /// Bytes that mean nothing were taken; call again.
    Skipped,
    /// A record that is no stream.
    Record {
        /// What it is.
        kind: Kind,
        /// The request that it belongs to; 0 for the connection itself.
        request_id: u16,
        /// Its content.
        body: &'a [u8],
    },
    /// A piece of a stream; never empty.
    Piece {
        /// Which stream.
        kind: Kind,
        /// The request that it belongs to.
        request_id: u16,
        /// The bytes.
        data: &'a [u8],
    },
    /// The empty record that ends a stream.
    StreamEnd {
        /// Which stream.
        kind: Kind,
        /// The request that it belongs to.
        request_id: u16,
    },
}

/// The state between two calls: how much of a stream record is still to come.
#[derive(Debug, Clone, Default)]
pub struct Framer {
    /// The stream record in whose content or padding the next byte lies.
    open: Option<Open>,
}

#[derive(Debug, Clone, Copy)]
struct Open {
    kind: Kind,
    request_id: u16,
    content_left: usize,
    padding_left: usize,
}

impl Framer {
    /// Looks at `input`, the bytes that have come and were not taken yet. Returns how many of them to take, and what
    /// they are.
    ///
    /// # Errors
    /// When the bytes are not FastCGI or break a limit; the connection is then of no further use.
    pub fn step<'a>(&mut self, input: &'a [u8]) -> Result<(usize, Step<'a>), Malformed> {
        if let Some(open) = self.open {
            return Ok(self.inside(open, input));
        }
        let Some(header) = input.first_chunk::<HEADER_LEN>() else { return Ok((0, Step::NeedMore)) };
        let header = Header::parse(*header)?;
        if header.kind.is_stream() { Ok(self.enter(header, input)) } else { whole(header, input) }
    }

    /// Whether the next byte begins a record, so that the connection may be left here.
    #[must_use]
    pub const fn is_between_records(&self) -> bool {
        self.open.is_none()
    }

    fn enter<'a>(&mut self, header: Header, input: &'a [u8]) -> (usize, Step<'a>) {
        let open = Open {
            kind: header.kind,
            request_id: header.request_id,
            content_left: usize::from(header.content_len),
            padding_left: usize::from(header.padding_len),
        };
        if open.content_left == 0 {
            self.open = (open.padding_left > 0).then_some(open);
            return (HEADER_LEN, Step::StreamEnd { kind: open.kind, request_id: open.request_id });
        }
        self.open = Some(open);
        let (taken, step) = self.inside(open, &input[HEADER_LEN..]);
        match step {
            Step::NeedMore => (HEADER_LEN, Step::Skipped),
            step => (HEADER_LEN + taken, step),
        }
    }

    fn inside<'a>(&mut self, mut open: Open, input: &'a [u8]) -> (usize, Step<'a>) {
        if input.is_empty() {
            return (0, Step::NeedMore);
        }
        if open.content_left == 0 {
            let taken = open.padding_left.min(input.len());
            open.padding_left -= taken;
            self.open = (open.padding_left > 0).then_some(open);
            return (taken, Step::Skipped);
        }
        let data = &input[..open.content_left.min(input.len())];
        open.content_left -= data.len();
        // Padding that has come with the last piece is taken along, which spares the caller a turn.
        let padding =
            if open.content_left == 0 { open.padding_left.min(input.len() - data.len()) } else { 0 };
        open.padding_left -= padding;
        self.open = (open.content_left + open.padding_left > 0).then_some(open);
        (data.len() + padding, Step::Piece { kind: open.kind, request_id: open.request_id, data })
    }
}

fn whole(header: Header, input: &[u8]) -> Result<(usize, Step<'_>), Malformed> {
    let len = usize::from(header.content_len);
    if len > WHOLE_LIMIT {
        return Err(Malformed::TooLong { kind: header.kind.byte(), len });
    }
    let end = HEADER_LEN + len + usize::from(header.padding_len);
    if input.len() < end {
        return Ok((0, Step::NeedMore));
    }
    let body = &input[HEADER_LEN..HEADER_LEN + len];
    Ok((end, Step::Record { kind: header.kind, request_id: header.request_id, body }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{self, EndRequest};

    fn sample() -> Vec<u8> {
        let mut out = Vec::new();
        record::put_stream(&mut out, Kind::Stdout, 1, b"hello ");
        let padded = Header { kind: Kind::Stdout, request_id: 1, content_len: 5, padding_len: 3 };
        out.extend_from_slice(&padded.to_bytes());
        out.extend_from_slice(b"world\0\0\0");
        record::put_stream(&mut out, Kind::Stderr, 1, b"a warning");
        let end_padded = Header { kind: Kind::Stdout, request_id: 1, content_len: 0, padding_len: 8 };
        out.extend_from_slice(&end_padded.to_bytes());
        out.extend_from_slice(&[0; 8]);
        out.extend_from_slice(&EndRequest::COMPLETE.to_record(1));
        out
    }

    /// Feeds `bytes`, shown in windows of `window` bytes, and returns what the streams held.
    fn decode(bytes: &[u8], window: usize) -> (Vec<u8>, Vec<u8>, bool, bool) {
        let (mut framer, mut at, mut shown) = (Framer::default(), 0, window.min(bytes.len()));
        let (mut stdout, mut stderr, mut ended, mut closed) = (Vec::new(), Vec::new(), false, false);
        loop {
            let (taken, step) = framer.step(&bytes[at..shown]).unwrap();
            match step {
                Step::NeedMore if shown == bytes.len() => break,
                Step::NeedMore => shown = (shown + window).min(bytes.len()),
                Step::Skipped => {}
                Step::Piece { kind: Kind::Stdout, data, .. } => stdout.extend_from_slice(data),
                Step::Piece { data, .. } => stderr.extend_from_slice(data),
                Step::StreamEnd { kind, .. } => closed = kind == Kind::Stdout,
                Step::Record { kind, body, .. } => {
                    assert_eq!(kind, Kind::EndRequest);
                    ended = EndRequest::parse(body).unwrap() == EndRequest::COMPLETE;
                }
            }
            at += taken;
        }
        assert_eq!(at, bytes.len());
        assert!(framer.is_between_records());
        (stdout, stderr, closed, ended)
    }

    #[test]
    fn any_cut_of_the_bytes_gives_the_same_records() {
        let bytes = sample();
        for window in 1..=bytes.len() {
            let expected = (b"hello world".to_vec(), b"a warning".to_vec(), true, true);
            assert_eq!(decode(&bytes, window), expected, "window of {window}");
        }
    }

    #[test]
    fn a_whole_record_has_a_limit() {
        let header = Header::new(Kind::GetValues, 0, 5_000).to_bytes();
        assert_eq!(Framer::default().step(&header), Err(Malformed::TooLong { kind: 9, len: 5_000 }));
    }

    /// Garbage must end in an error or in a wait for more, and never in a panic or an endless loop.
    #[test]
    fn garbage_is_survived() {
        let seed = 0x5eed_u64;
        let mut state = seed;
        let mut random = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        for round in 0..20_000 {
            let mut bytes: Vec<u8> = sample();
            for _ in 0..=random() % 4 {
                let at = usize::try_from(random()).unwrap() % bytes.len();
                bytes[at] = random().to_le_bytes()[0];
            }
            let (mut framer, mut at) = (Framer::default(), 0);
            for turn in 0.. {
                assert!(turn < 1_000, "seed {seed}, round {round}: no end");
                match framer.step(&bytes[at..]) {
                    Err(_) | Ok((_, Step::NeedMore)) => break,
                    Ok((taken, _)) => at += taken,
                }
            }
        }
    }
}
