//! Bodies that come in chunks (RFC 9112, section 7.1), read strictly: lines end in CR LF, sizes are hexadecimal digits
//! alone, extensions are short and passed over, trailers are bounded and passed over.

use bytes::{Buf, Bytes, BytesMut};

/// Digits of a size: 2⁶⁰ bytes are enough.
const SIZE_DIGITS: u32 = 15;
/// Bytes of a chunk's extension.
const EXTENSION_MAX: usize = 256;
/// Bytes of all trailers.
const TRAILERS_MAX: usize = 8 * 1024;

/// The body is not chunked as the RFC says. The connection must be closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the chunked body is malformed")]
pub struct BadChunk;

/// What the next bytes are.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece {
    /// Bytes of the body; never empty.
    Data(Bytes),
    /// More bytes must come first.
    NeedMore,
    /// The body is complete.
    End,
}

#[derive(Debug, Clone, Copy)]
enum State {
    Size { value: u64, digits: u32 },
    Extension { seen: usize },
    SizeLf { value: u64 },
    Data { left: u64 },
    DataCr,
    DataLf,
    TrailerStart { seen: usize },
    Trailer { seen: usize },
    TrailerLf { seen: usize },
    LastLf,
    End,
}

/// Reads a chunked body piece by piece.
#[derive(Debug)]
pub struct Decoder {
    state: State,
    /// The size of the chunk whose extension is being passed over.
    size: u64,
}

impl Default for Decoder {
    fn default() -> Self {
        Self { state: State::Size { value: 0, digits: 0 }, size: 0 }
    }
}

impl Decoder {
    /// Whether the body was read to its end.
    #[must_use]
    pub const fn is_done(&self) -> bool {
        matches!(self.state, State::End)
    }

    /// Takes the next piece from `input`.
    ///
    /// # Errors
    /// When the body is malformed.
    pub fn take(&mut self, input: &mut BytesMut) -> Result<Piece, BadChunk> {
        loop {
            if let State::Data { left } = self.state {
                if input.is_empty() {
                    return Ok(Piece::NeedMore);
                }
                let count = usize::try_from(left).unwrap_or(usize::MAX).min(input.len());
                let left = left - count as u64;
                self.state = if left == 0 { State::DataCr } else { State::Data { left } };
                return Ok(Piece::Data(input.split_to(count).freeze()));
            }
            if let State::End = self.state {
                return Ok(Piece::End);
            }
            let Some(byte) = input.first().copied() else { return Ok(Piece::NeedMore) };
            self.state = self.step(byte)?;
            input.advance(1);
        }
    }

    fn step(&mut self, byte: u8) -> Result<State, BadChunk> {
        let next = match (self.state, byte) {
            (State::Size { value, digits }, byte) if byte.is_ascii_hexdigit() && digits < SIZE_DIGITS => {
                let digit = char::from(byte).to_digit(16).map_or(0, u64::from);
                State::Size { value: value << 4 | digit, digits: digits + 1 }
            }
            (State::Size { value, digits: 1.. }, b'\r') => State::SizeLf { value },
            (State::Size { value, digits: 1.. }, b';') => {
                self.size = value;
                State::Extension { seen: 0 }
            }
            (State::Extension { .. }, b'\r') => State::SizeLf { value: self.size },
            (State::Extension { seen }, b'\t' | b' '..=b'~' | 0x80..) if seen < EXTENSION_MAX => {
                State::Extension { seen: seen + 1 }
            }
            (State::SizeLf { value: 0 }, b'\n') => State::TrailerStart { seen: 0 },
            (State::SizeLf { value }, b'\n') => State::Data { left: value },
            (State::DataCr, b'\r') => State::DataLf,
            (State::DataLf, b'\n') => State::Size { value: 0, digits: 0 },
            (State::TrailerStart { .. }, b'\r') => State::LastLf,
            (State::TrailerStart { seen } | State::Trailer { seen }, b'\t' | b' '..=b'~' | 0x80..)
                if seen < TRAILERS_MAX =>
            {
                State::Trailer { seen: seen + 1 }
            }
            (State::Trailer { seen }, b'\r') => State::TrailerLf { seen },
            (State::TrailerLf { seen }, b'\n') => State::TrailerStart { seen },
            (State::LastLf, b'\n') => State::End,
            _ => return Err(BadChunk),
        };
        Ok(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Decodes `text`, shown in windows of `window` bytes; returns the body and what was left after it.
    fn decode(text: &[u8], window: usize) -> Result<(Vec<u8>, Vec<u8>, bool), BadChunk> {
        let (mut decoder, mut input, mut body) = (Decoder::default(), BytesMut::new(), Vec::new());
        let mut windows = text.chunks(window);
        loop {
            match decoder.take(&mut input)? {
                Piece::Data(data) => body.extend_from_slice(&data),
                Piece::End => {
                    let rest: Vec<u8> = input.iter().copied().chain(windows.flatten().copied()).collect();
                    return Ok((body, rest, true));
                }
                Piece::NeedMore => match windows.next() {
                    Some(more) => input.extend_from_slice(more),
                    None => return Ok((body, input.to_vec(), false)),
                },
            }
        }
    }

    #[test]
    fn any_cut_gives_the_same_body() {
        let text = b"5\r\nhello\r\n6;ext=\"x\"\r\n world\r\n00\r\nTrailer: x\r\n\r\nGET";
        for window in 1..=text.len() {
            let expected = (b"hello world".to_vec(), b"GET".to_vec(), true);
            assert_eq!(decode(text, window), Ok(expected), "window of {window}");
        }
    }

    #[test]
    fn bad_chunks_are_refused() {
        for text in [
            "\r\n",
            "x\r\n",
            "-1\r\n",
            "+1\r\na\r\n",
            "0x1\r\na\r\n",
            " 1\r\na\r\n",
            "1 \r\na\r\n",
            "1\na\n0\n\n",
            "1\r\nab\r\n",
            "1\r\na\n0\r\n\r\n",
            "1\r\na0\r\n\r\n",
            ";x\r\n",
            "1;a\nb\r\n",
            "0\r\n\n",
            "0\r\nA\nB\r\n\r\n",
            "1111111111111111\r\n",
            "1;\0\r\n",
        ] {
            assert_eq!(decode(text.as_bytes(), 3), Err(BadChunk), "{text:?}");
        }
        let long = format!("1;{}\r\na\r\n", "x".repeat(EXTENSION_MAX + 1));
        assert_eq!(decode(long.as_bytes(), 100), Err(BadChunk));
        let long = format!("0\r\n{}\r\n", "A: b\r\n".repeat(TRAILERS_MAX));
        assert_eq!(decode(long.as_bytes(), 100), Err(BadChunk));
    }

    #[test]
    fn an_unfinished_body_is_no_end() {
        for text in ["", "5", "5\r\nhel", "5\r\nhello\r\n", "0\r\n", "0\r\n\r"] {
            assert!(!decode(text.as_bytes(), 2).unwrap().2, "{text:?}");
        }
    }
}
