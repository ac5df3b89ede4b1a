//! The header block with which a CGI response begins (RFC 3875, section 6).
//!
//! ```text
//! Status: 404 Not Found\r\n
//! Content-Type: text/html\r\n
//! \r\n
//! ```
//!
//! - Lines end in CR LF or in LF alone.
//! - Without `Status` the status is 200, or 302 when there is a `Location`.
//! - A block with a status from 100 to 199 is informational: another block follows it. regie-php sends one for
//!   `headers_send(103)`, and only to a peer that asked for [`crate::management::KNOWS_GOAWAY`].
//! - A line that is no header (no colon, a name that is no token, a control character in the value) makes the block
//!   bad: it is the application's fault, and answered with 502.

/// The longest header block that is read. nginx's default for one is 4 or 8 KB, Symfony's profiler alone needs 10.
pub const HEAD_MAX: usize = 64 * 1024;

/// Why a header block is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadHead {
    /// A line is no header.
    #[error("line {0} of the response's head is not a header")]
    Line(usize),
    /// The status is not a number from 100 to 999.
    #[error("the response's status is not a number from 100 to 999")]
    Status,
    /// The block does not end within [`HEAD_MAX`] bytes.
    #[error("the response's head is longer than {HEAD_MAX} bytes")]
    TooLong,
}

/// A header block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head<'a> {
    /// The status, from 100 to 999.
    pub status: u16,
    /// Name and value of each header in order, `Status` left out.
    pub headers: Vec<(&'a str, &'a [u8])>,
}

/// Where the header block at the start of `bytes` ends, the empty line included; none when it has not come whole.
///
/// # Errors
/// When it is longer than [`HEAD_MAX`].
pub fn find_end(bytes: &[u8]) -> Result<Option<usize>, BadHead> {
    let mut line_start = 0;
    while let Some(len) = bytes[line_start..].iter().position(|byte| *byte == b'\n') {
        let line = &bytes[line_start..line_start + len];
        line_start += len + 1;
        if line_start > HEAD_MAX {
            return Err(BadHead::TooLong);
        }
        if line.is_empty() || line == b"\r" {
            return Ok(Some(line_start));
        }
    }
    if bytes.len() > HEAD_MAX { Err(BadHead::TooLong) } else { Ok(None) }
}

/// Reads a header block, as [`find_end`] has measured it.
///
/// # Errors
/// When a line is no header or the status no status.
pub fn parse(block: &[u8]) -> Result<Head<'_>, BadHead> {
    let mut head = Head { status: 0, headers: Vec::with_capacity(8) };
    for (number, line) in block.split(|byte| *byte == b'\n').enumerate() {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            continue;
        }
        let (name, value) = split_line(line).ok_or(BadHead::Line(number + 1))?;
        if name.eq_ignore_ascii_case("status") {
            head.status = parse_status(value)?;
        } else {
            head.headers.push((name, value));
        }
    }
    if head.status == 0 {
        let redirects = head.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("location"));
        head.status = if redirects { 302 } else { 200 };
    }
    Ok(head)
}

fn split_line(line: &[u8]) -> Option<(&str, &[u8])> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let name = std::str::from_utf8(&line[..colon]).ok().filter(|name| is_token(name))?;
    let value = line[colon + 1..].trim_ascii();
    let clean = value.iter().all(|byte| *byte == b'\t' || (*byte >= b' ' && *byte != 0x7f));
    clean.then_some((name, value))
}

fn is_token(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

/// `404 Not Found`: the number counts, the words are the client's business.
fn parse_status(value: &[u8]) -> Result<u16, BadHead> {
    let digits = value.split(|byte| *byte == b' ').next().unwrap_or_default();
    std::str::from_utf8(digits)
        .ok()
        .filter(|text| text.len() == 3)
        .and_then(|text| text.parse().ok())
        .filter(|status| (100..=999).contains(status))
        .ok_or(BadHead::Status)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads `block` and compares it in one line of text: `status name=value name=value`, or the error.
    fn check(block: &str, expected: &str) {
        let found = match parse(block.as_bytes()) {
            Err(bad) => format!("{bad:?}"),
            Ok(head) => head.headers.iter().fold(head.status.to_string(), |line, (name, value)| {
                format!("{line} {name}={}", String::from_utf8_lossy(value))
            }),
        };
        assert_eq!(found, expected, "{block:?}");
    }

    #[test]
    fn blocks_are_read() {
        check("Content-Type: text/html\r\n\r\n", "200 Content-Type=text/html");
        check("Status: 404 Not Found\r\nX:y\r\n\r\n", "404 X=y");
        check("status:204\n\n", "204");
        check("Location: /a\r\n\r\n", "302 Location=/a");
        check("Status: 201 Created\nLocation: /a\n\n", "201 Location=/a");
        check("\r\n", "200");
    }

    #[test]
    fn bad_blocks_are_refused() {
        check("Status: 99\n\n", "Status");
        check("Status: OK\n\n", "Status");
        check("A: b\nno header\n\n", "Line(2)");
        check("Set Cookie: x\n\n", "Line(1)");
        check("X: a\rb\n\n", "Line(1)");
        check("X: a\0b\n\n", "Line(1)");
    }

    #[test]
    fn the_end_is_found_or_awaited() {
        assert_eq!(find_end(b"A: b\r\n\r\nbody\n\n"), Ok(Some(8)));
        assert_eq!(find_end(b"A: b\n\nbody"), Ok(Some(6)));
        assert_eq!(find_end(b"\nbody"), Ok(Some(1)));
        assert_eq!(find_end(b"A: b\r\n\r"), Ok(None));
        assert_eq!(find_end(b""), Ok(None));
        assert_eq!(find_end(&[b'a'; HEAD_MAX + 1]), Err(BadHead::TooLong));
    }
}
