//! What clients send.
//!
//! A command is an array of bulk strings (`*2\r\n$3\r\nGET\r\n$1\r\na\r\n`) or, typed by a person, a line of words
//! (`GET a\r\n`, with quotes as in a shell). The parser is given the buffer from the beginning of the command each
//! time more has come, and remembers how far it is, so that a long command is looked at once however many packets
//! it comes in. After a [`ProtocolError`] the connection must be closed: where the next command begins is unknown.

use crate::limits::Limits;
use crate::number::parse_integer;
use std::ops::Range;

/// Where the arguments of a command lie in the buffer that was parsed.
pub type Arguments = Vec<Range<usize>>;

/// What one look at the buffer found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parsed {
    /// The command is not all there. `wanted` is how many bytes more it needs at least (a hint for reading).
    Incomplete {
        /// Bytes still to come, at least.
        wanted: usize,
    },
    /// A command; it and what belongs to it take `consumed` bytes. No arguments means an empty line or `*0`, which
    /// get no answer.
    Command {
        /// Length in bytes.
        consumed: usize,
    },
}

/// What a client may not send. The text is what Redis answers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// A header line without end.
    #[error("Protocol error: too big mbulk count string")]
    LongCount,
    /// A header line without end.
    #[error("Protocol error: too big bulk count string")]
    LongLength,
    /// A line of words without end.
    #[error("Protocol error: too big inline request")]
    LongInline,
    /// Not a number, or more than the limit.
    #[error("Protocol error: invalid multibulk length")]
    Count,
    /// Not a number, or more than the limit.
    #[error("Protocol error: invalid bulk length")]
    Length,
    /// An argument must begin with a dollar.
    #[error("Protocol error: expected '$', got '{}'", *.0 as char)]
    Kind(u8),
    /// A quote that nothing closes, or something right behind a closing one.
    #[error("Protocol error: unbalanced quotes in request")]
    Quotes,
    /// A client that has not said its password may not send so many arguments.
    #[error("Protocol error: unauthenticated multibulk length")]
    UnauthenticatedCount,
    /// A client that has not said its password may not send so long an argument.
    #[error("Protocol error: unauthenticated bulk length")]
    UnauthenticatedLength,
}

/// Finds commands, one at a time.
#[derive(Debug, Default)]
pub struct RequestParser {
    /// How far the command has been read, from its beginning.
    at: usize,
    /// How many arguments are still to come; `None` before the header was read.
    missing: Option<usize>,
    /// The length of the argument whose header was read.
    length: Option<usize>,
    /// The arguments found so far.
    arguments: Arguments,
    /// The words of an inline command with their quotes resolved: those cannot be ranges of the buffer.
    inline: Option<Vec<u8>>,
}

impl RequestParser {
    /// Looks at `buffer`, which begins where the current command begins and has grown since the last call.
    /// After [`Parsed::Command`], read [`RequestParser::arguments`], then call [`RequestParser::next`].
    pub fn parse(&mut self, buffer: &[u8], limits: &Limits) -> Result<Parsed, ProtocolError> {
        if self.missing.is_none() {
            match buffer.first() {
                None => return Ok(Parsed::Incomplete { wanted: 1 }),
                Some(b'*') => {}
                Some(_) => return self.parse_inline(buffer, limits),
            }
            let (count, next) = match short_number(buffer, 1) {
                Some((count, next)) => (count as i64, next),
                None => {
                    let line = header(buffer, 0, limits.line).map_err(|()| ProtocolError::LongCount)?;
                    let Some((line, next)) = line else { return Ok(Parsed::Incomplete { wanted: 1 }) };
                    (parse_integer(&line[1..]).ok_or(ProtocolError::Count)?, next)
                }
            };
            if count > Limits::DEFAULT.arguments as i64 {
                return Err(ProtocolError::Count);
            }
            if count > limits.arguments as i64 {
                return Err(ProtocolError::UnauthenticatedCount);
            }
            self.at = next;
            if count <= 0 {
                return Ok(Parsed::Command { consumed: next });
            }
            self.missing = Some(count as usize);
        }
        self.parse_plain(buffer, limits);
        while self.missing != Some(0) {
            let length = match self.length {
                Some(length) => length,
                None => {
                    let Some((line, next)) =
                        header(buffer, self.at, limits.line).map_err(|()| ProtocolError::LongLength)?
                    else {
                        return Ok(Parsed::Incomplete { wanted: 1 });
                    };
                    match line.first() {
                        Some(b'$') => {}
                        Some(&other) => return Err(ProtocolError::Kind(other)),
                        None => return Err(ProtocolError::Kind(b'\r')),
                    }
                    let length = parse_integer(&line[1..])
                        .and_then(|length| usize::try_from(length).ok())
                        .ok_or(ProtocolError::Length)?;
                    if length > limits.bulk {
                        let unauthenticated = limits.bulk == Limits::UNAUTHENTICATED.bulk;
                        return Err(if unauthenticated {
                            ProtocolError::UnauthenticatedLength
                        } else {
                            ProtocolError::Length
                        });
                    }
                    self.at = next;
                    self.length = Some(length);
                    length
                }
            };
            let end = self.at + length;
            if buffer.len() < end + 2 {
                return Ok(Parsed::Incomplete { wanted: end + 2 - buffer.len() });
            }
            self.arguments.push(self.at..end);
            self.at = end + 2;
            self.length = None;
            self.missing = self.missing.map(|missing| missing - 1);
        }
        Ok(Parsed::Command { consumed: self.at })
    }

    /// Takes arguments as long as they are whole and their headers plain, which is all of nearly every command; the
    /// first that is not is left to the careful way.
    fn parse_plain(&mut self, buffer: &[u8], limits: &Limits) {
        let (Some(mut missing), None) = (self.missing, self.length) else { return };
        let mut at = self.at;
        while missing > 0 && buffer.get(at) == Some(&b'$') {
            let Some((length, start)) = short_number(buffer, at + 1) else { break };
            let end = start + length;
            if length > limits.bulk || buffer.len() < end + 2 {
                break;
            }
            self.arguments.push(start..end);
            at = end + 2;
            missing -= 1;
        }
        self.at = at;
        self.missing = Some(missing);
    }

    /// The arguments of the command that was found, in `buffer` as it was given to [`RequestParser::parse`].
    pub fn arguments<'a>(&'a self, buffer: &'a [u8]) -> impl ExactSizeIterator<Item = &'a [u8]> {
        let source = self.inline.as_deref().unwrap_or(buffer);
        self.arguments.iter().map(|range| &source[range.clone()])
    }

    /// How many arguments the found command has.
    #[must_use]
    pub fn count(&self) -> usize {
        self.arguments.len()
    }

    /// True inside a command: its header has been read and its end has not.
    #[must_use]
    pub fn is_inside(&self) -> bool {
        self.missing.is_some()
    }

    /// Forgets the command that was found; the next `buffer` begins behind it.
    pub fn next(&mut self) {
        self.at = 0;
        self.missing = None;
        self.length = None;
        self.inline = None;
        if self.arguments.capacity() > 1024 {
            self.arguments = Vec::new();
        } else {
            self.arguments.clear();
        }
    }

    fn parse_inline(&mut self, buffer: &[u8], limits: &Limits) -> Result<Parsed, ProtocolError> {
        let Some(end) = memchr::memchr(b'\n', buffer) else {
            if buffer.len() > limits.line {
                return Err(ProtocolError::LongInline);
            }
            return Ok(Parsed::Incomplete { wanted: 1 });
        };
        if end > limits.line {
            return Err(ProtocolError::LongInline);
        }
        let line = buffer[..end].strip_suffix(b"\r").unwrap_or(&buffer[..end]);
        let mut words = Vec::new();
        split_words(line, &mut words, &mut self.arguments).ok_or(ProtocolError::Quotes)?;
        self.inline = Some(words);
        Ok(Parsed::Command { consumed: end + 1 })
    }
}

/// The number of at most six digits between `at` and the end of the line, and where the next line begins. `None` for
/// everything else, also for what is not all there.
#[inline]
fn short_number(buffer: &[u8], mut at: usize) -> Option<(usize, usize)> {
    let mut value = usize::from(buffer.get(at)?.wrapping_sub(b'0'));
    if value > 9 {
        return None;
    }
    loop {
        at += 1;
        let byte = *buffer.get(at)?;
        if byte == b'\r' {
            return (at + 1 < buffer.len()).then_some((value, at + 2));
        }
        let digit = usize::from(byte.wrapping_sub(b'0'));
        // Nothing follows a leading zero.
        if digit > 9 || value == 0 || value > 99_999 {
            return None;
        }
        value = value * 10 + digit;
    }
}

/// The line that begins at `at`, without its end, and where the next begins. `None`: not all there.
fn header(buffer: &[u8], at: usize, limit: usize) -> Result<Option<(&[u8], usize)>, ()> {
    let rest = &buffer[at..];
    // Headers are short: looking byte by byte beats a call.
    let end = match rest.iter().take(24).position(|&byte| byte == b'\r') {
        Some(end) => Some(end),
        None if rest.len() > 24 => memchr::memchr(b'\r', rest),
        None => None,
    };
    match end {
        Some(end) if rest.len() > end + 1 => Ok(Some((&rest[..end], at + end + 2))),
        Some(_) => Ok(None),
        None if rest.len() > limit => Err(()),
        None => Ok(None),
    }
}

/// Splits `line` into words with a shell's quotes: `"…"` knows `\n \r \t \b \a \xHH \\ \"`, `'…'` knows `\'`.
/// `None`: the quotes do not fit.
fn split_words(line: &[u8], words: &mut Vec<u8>, ranges: &mut Arguments) -> Option<()> {
    let mut rest = line;
    loop {
        while let [first, tail @ ..] = rest {
            if !first.is_ascii_whitespace() && *first != 0x0b && *first != 0 {
                break;
            }
            rest = tail;
        }
        if rest.is_empty() {
            return Some(());
        }
        let start = words.len();
        loop {
            match rest {
                [] => break,
                [b'"', tail @ ..] => rest = double_quoted(tail, words)?,
                [b'\'', tail @ ..] => rest = single_quoted(tail, words)?,
                [byte, tail @ ..] => {
                    if byte.is_ascii_whitespace() || *byte == 0 {
                        break;
                    }
                    words.push(*byte);
                    rest = tail;
                    continue;
                }
            }
            if rest.first().is_some_and(|byte| !byte.is_ascii_whitespace()) {
                return None;
            }
            break;
        }
        ranges.push(start..words.len());
    }
}

fn double_quoted<'a>(mut rest: &'a [u8], words: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        match rest {
            [b'\\', b'x', high, low, tail @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                let digit = |byte: u8| (byte as char).to_digit(16).unwrap_or(0) as u8;
                words.push(digit(*high) << 4 | digit(*low));
                rest = tail;
            }
            [b'\\', escaped, tail @ ..] => {
                words.push(match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 8,
                    b'a' => 7,
                    other => *other,
                });
                rest = tail;
            }
            [b'"', tail @ ..] => return Some(tail),
            [byte, tail @ ..] => {
                words.push(*byte);
                rest = tail;
            }
            [] => return None,
        }
    }
}

fn single_quoted<'a>(mut rest: &'a [u8], words: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        match rest {
            [b'\\', b'\'', tail @ ..] => {
                words.push(b'\'');
                rest = tail;
            }
            [b'\'', tail @ ..] => return Some(tail),
            [byte, tail @ ..] => {
                words.push(*byte);
                rest = tail;
            }
            [] => return None,
        }
    }
}
