//! Replies as values, for clients and tests.

use crate::number::parse_integer;

/// One reply.
#[derive(Debug, Clone, PartialEq)]
pub enum Frame {
    /// A simple string.
    Simple(Vec<u8>),
    /// An error line.
    Error(Vec<u8>),
    /// A number.
    Integer(i64),
    /// A string.
    Bulk(Vec<u8>),
    /// No value, in any of its forms.
    Null,
    /// An array.
    Array(Vec<Frame>),
    /// A map in the order it came.
    Map(Vec<(Frame, Frame)>),
    /// A set in the order it came.
    Set(Vec<Frame>),
    /// A pushed message.
    Push(Vec<Frame>),
    /// A floating-point number.
    Double(f64),
    /// True or false.
    Boolean(bool),
    /// A number as long as it likes, in decimal.
    BigNumber(Vec<u8>),
    /// Text with its three-letter format.
    Verbatim(Vec<u8>, Vec<u8>),
}

/// What is no reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The first byte is no kind of reply.
    #[error("unknown kind of reply {0:#04x}")]
    Kind(u8),
    /// A length or number that is none.
    #[error("bad number in a reply")]
    Number,
    /// Arrays within arrays beyond the limit.
    #[error("reply nested deeper than {DEPTH} levels")]
    Depth,
}

/// How deep replies may be nested.
const DEPTH: usize = 64;

/// Reads the reply at the beginning of `buffer` and says how long it is; `None` means that it is not all there.
pub fn decode(buffer: &[u8]) -> Result<Option<(Frame, usize)>, FrameError> {
    let mut at = 0;
    Ok(frame(buffer, &mut at, 0)?.map(|frame| (frame, at)))
}

fn line<'a>(buffer: &'a [u8], at: &mut usize) -> Option<&'a [u8]> {
    let rest = &buffer[*at..];
    let end = memchr::memmem::find(rest, b"\r\n")?;
    *at += end + 2;
    Some(&rest[..end])
}

fn frame(buffer: &[u8], at: &mut usize, depth: usize) -> Result<Option<Frame>, FrameError> {
    if depth > DEPTH {
        return Err(FrameError::Depth);
    }
    let Some(&kind) = buffer.get(*at) else { return Ok(None) };
    if !b"+-:$*_%~>,#(=|".contains(&kind) {
        return Err(FrameError::Kind(kind));
    }
    let Some(text) = line(buffer, at) else { return Ok(None) };
    let text = &text[1..];
    let number = || parse_integer(text).ok_or(FrameError::Number);
    Ok(Some(match kind {
        b'+' => Frame::Simple(text.to_vec()),
        b'-' => Frame::Error(text.to_vec()),
        b':' => Frame::Integer(number()?),
        b'_' => Frame::Null,
        b'#' => Frame::Boolean(text == b"t"),
        b'(' => Frame::BigNumber(text.to_vec()),
        b',' => Frame::Double(
            std::str::from_utf8(text).ok().and_then(|t| t.parse().ok()).ok_or(FrameError::Number)?,
        ),
        b'$' | b'=' => {
            let Ok(length) = usize::try_from(number()?) else { return Ok(Some(Frame::Null)) };
            let Some(body) = at.checked_add(length).and_then(|end| buffer.get(*at..end)) else {
                return Ok(None);
            };
            if buffer.len() < *at + length + 2 {
                return Ok(None);
            }
            *at += length + 2;
            match (kind, body) {
                (b'=', [a, b, c, b':', text @ ..]) => Frame::Verbatim(vec![*a, *b, *c], text.to_vec()),
                _ => Frame::Bulk(body.to_vec()),
            }
        }
        b'*' | b'~' | b'>' => {
            let Ok(length) = usize::try_from(number()?) else { return Ok(Some(Frame::Null)) };
            let Some(items) = frames(buffer, at, length, depth)? else { return Ok(None) };
            match kind {
                b'*' => Frame::Array(items),
                b'~' => Frame::Set(items),
                _ => Frame::Push(items),
            }
        }
        b'%' | b'|' => {
            let length = usize::try_from(number()?).map_err(|_| FrameError::Number)?;
            let Some(items) = frames(buffer, at, length.saturating_mul(2), depth)? else { return Ok(None) };
            if kind == b'|' {
                // An attribute describes the reply that follows; nobody here asks for it.
                return frame(buffer, at, depth);
            }
            let mut items = items.into_iter();
            let mut pairs = Vec::with_capacity(length.min(1024));
            while let (Some(key), Some(value)) = (items.next(), items.next()) {
                pairs.push((key, value));
            }
            Frame::Map(pairs)
        }
        other => return Err(FrameError::Kind(other)),
    }))
}

fn frames(
    buffer: &[u8],
    at: &mut usize,
    length: usize,
    depth: usize,
) -> Result<Option<Vec<Frame>>, FrameError> {
    // The length is the sender's claim: memory is taken for what has come, not for what is promised.
    let mut items = Vec::with_capacity(length.min(1024));
    for _ in 0..length {
        let Some(item) = frame(buffer, at, depth + 1)? else { return Ok(None) };
        items.push(item);
    }
    Ok(Some(items))
}
