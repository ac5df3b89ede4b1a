//! What a request asks for: the target of the request line, decoded once and for all.
//!
//! Rules:
//! - percent signs are decoded exactly once; a broken escape or a NUL is refused with 400;
//! - `.` and empty segments vanish, `..` goes up; going up past the root is refused, and so is any `..` that was
//!   written with an escape, since nobody writes that in good faith;
//! - a slash or backslash that was written with an escape is part of a name. No file can have such a name, so the
//!   target then never reaches the file system, while the application still gets its `REQUEST_URI` as it was sent;
//! - what comes out is bytes, as names of files are: `/caf%E9` is a name in Latin-1. All that rules compare is ASCII, or
//!   text that configuration holds; for them a byte that is no UTF-8 is a letter like any other;
//! - the query is passed on untouched.

use std::borrow::Cow;

use memchr::memchr;

/// A decoded target.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Target<'a> {
    /// As it came, in origin form: the application's `REQUEST_URI`.
    pub raw: &'a str,
    /// The decoded and normalised path: starts with a slash, has no `.`, `..` or empty segment; ends with a slash if
    /// the raw one did.
    pub path: Cow<'a, [u8]>,
    /// Where the query begins in `raw`, after the question mark.
    query_at: Option<usize>,
    /// Whether a name contains an escaped slash or backslash.
    pub has_escaped_separator: bool,
    /// The query that the site's rules have given it.
    rewritten_query: Option<Box<str>>,
}

/// Why a target is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadTarget {
    /// Neither a path nor an absolute `http` address.
    #[error("the request's target is no path")]
    Form,
    /// A percent sign without two hexadecimal digits.
    #[error("the path has a broken percent escape")]
    Escape,
    /// A NUL byte, escaped or not.
    #[error("the path contains a NUL byte")]
    Nul,
    /// `..` in disguise or past the root.
    #[error("the path leads out of the document root")]
    Traversal,
}

impl<'a> Target<'a> {
    /// Reads a target in origin form (`/a/b?c`) or asterisk form (`*`, for `OPTIONS`).
    ///
    /// # Errors
    /// See [`BadTarget`]; each is answered with 400.
    pub fn parse(raw: &'a str) -> Result<Self, BadTarget> {
        if raw == "*" {
            return Ok(Self { raw, path: (&b"/"[..]).into(), query_at: None, ..Self::default() });
        }
        let without_fragment = memchr(b'#', raw.as_bytes()).map_or(raw, |at| &raw[..at]);
        let question = memchr(b'?', without_fragment.as_bytes());
        let raw_path = &without_fragment[..question.unwrap_or(without_fragment.len())];
        if !raw_path.starts_with('/') {
            return Err(BadTarget::Form);
        }
        let (path, has_escaped_separator) = normalise(raw_path)?;
        Ok(Self {
            raw,
            path,
            query_at: question.map(|at| at + 1),
            has_escaped_separator,
            rewritten_query: None,
        })
    }

    /// The path for what compares or shows text: what is no UTF-8 stands as U+FFFD.
    #[must_use]
    pub fn path_text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.path)
    }

    /// The query without its question mark; empty when there is none.
    #[must_use]
    pub fn query(&self) -> &str {
        match &self.rewritten_query {
            Some(query) => query,
            None => self.query_at.map_or("", |at| &self.raw[at..]),
        }
    }

    /// Leads it to another place of the site: what the client has asked for stays known as [`Target::raw`].
    pub fn rewrite(&mut self, path: String, query: String) {
        self.path = path.into_bytes().into();
        self.rewritten_query = Some(query.into());
    }

    /// Whether the site's rules have led it elsewhere.
    #[must_use]
    pub const fn is_rewritten(&self) -> bool {
        self.rewritten_query.is_some()
    }
}

fn normalise(raw_path: &str) -> Result<(Cow<'_, [u8]>, bool), BadTarget> {
    let plain = !raw_path.bytes().any(|byte| matches!(byte, b'%' | 0));
    if plain && !raw_path.contains("//") && !raw_path.contains("/.") {
        return Ok((raw_path.as_bytes().into(), false));
    }
    let mut path: Vec<u8> = Vec::with_capacity(raw_path.len());
    let mut starts = Vec::new();
    let mut escaped_separator = false;
    let mut ends_in_directory = true;
    for segment in raw_path[1..].split('/') {
        let decoded = decode(segment)?;
        let separators = decoded.iter().any(|byte| matches!(byte, b'/' | b'\\'));
        if segment.contains('%')
            && decoded.split(|byte| matches!(byte, b'/' | b'\\')).any(|part| part == b"..")
        {
            return Err(BadTarget::Traversal);
        }
        escaped_separator |= separators && segment.contains('%');
        ends_in_directory = matches!(decoded.as_slice(), b"" | b"." | b"..");
        match decoded.as_slice() {
            b"" | b"." => {}
            b".." => path.truncate(starts.pop().ok_or(BadTarget::Traversal)?),
            name => {
                starts.push(path.len());
                path.push(b'/');
                path.extend_from_slice(name);
            }
        }
    }
    if ends_in_directory {
        path.push(b'/');
    }
    Ok((path.into(), escaped_separator))
}

fn decode(segment: &str) -> Result<Vec<u8>, BadTarget> {
    let bytes = segment.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let byte = match bytes[at] {
            b'%' => {
                let (Some(high), Some(low)) = (hex(bytes.get(at + 1)), hex(bytes.get(at + 2))) else {
                    return Err(BadTarget::Escape);
                };
                at += 2;
                high << 4 | low
            }
            byte => byte,
        };
        if byte == 0 {
            return Err(BadTarget::Nul);
        }
        out.push(byte);
        at += 1;
    }
    Ok(out)
}

fn hex(byte: Option<&u8>) -> Option<u8> {
    byte.and_then(|byte| char::from(*byte).to_digit(16)).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(raw: &str, expected: Result<&str, BadTarget>) {
        let found = Target::parse(raw);
        let expected = expected.map(str::as_bytes);
        assert_eq!(found.as_ref().map(|t| &*t.path).map_err(|e| *e), expected, "{raw:?}");
    }

    #[test]
    fn paths_are_decoded_and_normalised() {
        check("/", Ok("/"));
        check("/a/b.css", Ok("/a/b.css"));
        check("/a//b/./c", Ok("/a/b/c"));
        check("/a/../b", Ok("/b"));
        check("/a/b/..", Ok("/a/"));
        check("/a/.", Ok("/a/"));
        check("/a%20b/%C3%A9", Ok("/a b/é"));
        check("/a%2520b", Ok("/a%20b"));
        check("/a/?x=/../y", Ok("/a/"));
        check("/a#b", Ok("/a"));
        check("/.../..a", Ok("/.../..a"));
        check("*", Ok("/"));
    }

    #[test]
    fn disguises_are_refused() {
        use BadTarget::{Escape, Form, Nul, Traversal};
        check("/..", Err(Traversal));
        check("/a/../../b", Err(Traversal));
        check("/%2e%2e/etc/passwd", Err(Traversal));
        check("/a/%2e./b", Err(Traversal));
        check("/a/..%2fb", Err(Traversal));
        check("/a%2f..%2f..%2fetc", Err(Traversal));
        check("/..%5c..%5cwindows", Err(Traversal));
        check("/a%00.php", Err(Nul));
        check("/a\0", Err(Nul));
        check("/a%", Err(Escape));
        check("/a%2", Err(Escape));
        check("/%zz", Err(Escape));
        check("/%+1", Err(Escape));
        check("/%ff/%2e%2e/x", Err(Traversal));
        check("/%ff%2f..", Err(Traversal));
        check("/%e9%00", Err(Nul));
        check("a/b", Err(Form));
        check("", Err(Form));
        check("http://h/", Err(Form));
    }

    #[test]
    fn bytes_that_are_no_utf8_are_part_of_a_name() {
        for (raw, expected, text) in [
            ("/caf%E9", &b"/caf\xe9"[..], "/caf\u{fffd}"),
            ("/a%FF%FE/../b%80/./c", b"/b\x80/c", "/b\u{fffd}/c"),
            // Neither is a slash or a dot, whatever a sloppy reader of UTF-8 makes of it.
            ("/a%C0%AFb", b"/a\xc0\xafb", "/a\u{fffd}\u{fffd}b"),
            ("/%C0%AE%C0%AE/x", b"/\xc0\xae\xc0\xae/x", "/\u{fffd}\u{fffd}\u{fffd}\u{fffd}/x"),
            // A letter that breaks off does not take the slash with it.
            ("/%E2%82/x", b"/\xe2\x82/x", "/\u{fffd}/x"),
        ] {
            let target = Target::parse(raw).unwrap();
            assert_eq!((&*target.path, &*target.path_text()), (expected, text), "{raw}");
            assert!(!target.has_escaped_separator, "{raw}");
        }
    }

    /// Any bytes under a seed: what is let through has neither NUL nor `..`, and keeps its bytes.
    #[test]
    fn whatever_comes_is_clean_or_refused() {
        let pieces =
            ["%2e", ".", "%2F", "/", "%5c", "%00", "%E9", "%ff", "%c0%af", "a", ".php", "%", "%2", "é", "//"];
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut random = |below: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            usize::try_from(state % below as u64).unwrap()
        };
        let mut passed = 0;
        for _ in 0..20_000 {
            let raw: String =
                std::iter::once("/").chain((0..random(12)).map(|_| pieces[random(pieces.len())])).collect();
            let Ok(target) = Target::parse(&raw) else { continue };
            passed += 1;
            assert!(target.path.starts_with(b"/") && !target.path.contains(&0), "{raw}");
            let mut segments = target.path[1..].split(|byte| *byte == b'/');
            assert!(
                target.has_escaped_separator || segments.all(|name| name != b".." && name != b"."),
                "{raw}"
            );
            let bytes = raw.matches("%E9").count();
            let kept = target.path.iter().filter(|byte| **byte == 0xe9).count();
            assert!(kept == bytes || raw.contains(".."), "{raw}");
        }
        assert!(passed > 1_000, "{passed} passed");
    }

    #[test]
    fn escaped_separators_stay_in_their_name() {
        let target = Target::parse("/files/a%2Fb?x=1#y").unwrap();
        assert_eq!((&*target.path, target.has_escaped_separator), (&b"/files/a/b"[..], true));
        assert!(Target::parse("/a%5Cb").unwrap().has_escaped_separator);
        assert!(!Target::parse("/a/b%20c").unwrap().has_escaped_separator);
    }

    #[test]
    fn the_query_is_untouched() {
        assert_eq!(Target::parse("/a?b=%2e%2e&c").unwrap().query(), "b=%2e%2e&c");
        assert_eq!(Target::parse("/a?").unwrap().query(), "");
        assert_eq!(Target::parse("/a").unwrap().query(), "");
    }
}
