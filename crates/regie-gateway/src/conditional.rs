//! Conditional requests and ranges of files (RFC 9110, sections 13 and 14).

use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderValue, Method, header};

/// What identifies one state of a file.
#[derive(Debug, Clone)]
pub struct Validators {
    /// `ETag`: strong, made of time and size, so that two machines with the same release agree.
    pub etag: HeaderValue,
    /// `Last-Modified`.
    pub last_modified: HeaderValue,
    /// The same, in whole seconds since 1970.
    pub modified: u64,
}

impl Validators {
    /// Of a file that was changed at `modified` (since 1970) and has `size` bytes. `variant` tells apart forms of one
    /// file (`gz`).
    #[must_use]
    pub fn new(modified: Duration, size: u64, variant: &str) -> Self {
        let (secs, nanos) = (modified.as_secs(), modified.subsec_nanos());
        let dash = if variant.is_empty() { "" } else { "-" };
        let etag = format!("\"{secs:x}.{nanos:x}-{size:x}{dash}{variant}\"");
        let date = httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + Duration::from_secs(secs));
        Self {
            etag: HeaderValue::from_str(&etag).unwrap_or_else(|_| HeaderValue::from_static("\"\"")),
            last_modified: HeaderValue::from_str(&date).unwrap_or_else(|_| HeaderValue::from_static("")),
            modified: secs,
        }
    }
}

/// What the conditions of a request come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// Answer as usual.
    Proceed,
    /// 304: the client has it.
    NotModified,
    /// 412: the client expected another state.
    Failed,
}

/// Weighs the conditions in the order of RFC 9110, section 13.2.2.
#[must_use]
pub fn weigh(method: &Method, headers: &HeaderMap, now: &Validators) -> Condition {
    if headers.contains_key(header::IF_MATCH) {
        if !lists(headers, &header::IF_MATCH, &now.etag, true) {
            return Condition::Failed;
        }
    } else if date(headers, &header::IF_UNMODIFIED_SINCE).is_some_and(|since| now.modified > since) {
        return Condition::Failed;
    }
    let reads = matches!(*method, Method::GET | Method::HEAD);
    if headers.contains_key(header::IF_NONE_MATCH) {
        return match (lists(headers, &header::IF_NONE_MATCH, &now.etag, false), reads) {
            (true, true) => Condition::NotModified,
            (true, false) => Condition::Failed,
            (false, _) => Condition::Proceed,
        };
    }
    if reads && date(headers, &header::IF_MODIFIED_SINCE).is_some_and(|since| now.modified <= since) {
        return Condition::NotModified;
    }
    Condition::Proceed
}

/// Which part of a file is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// All of it.
    Whole,
    /// 206: `len` bytes from `from` on.
    Range {
        /// The first byte.
        from: u64,
        /// How many.
        len: u64,
    },
    /// 416: none that the file has.
    Unsatisfiable,
}

/// Reads `Range` for a file of `size` bytes. Several ranges, other units and what is malformed are answered with the
/// whole file, as the RFC allows; so is a range whose `If-Range` names another state.
#[must_use]
pub fn part(headers: &HeaderMap, now: &Validators, size: u64) -> Part {
    let Some(range) = headers.get(header::RANGE).and_then(|range| range.to_str().ok()) else {
        return Part::Whole;
    };
    if let Some(condition) = headers.get(header::IF_RANGE) {
        let same_date = condition.to_str().ok().and_then(seconds) == Some(now.modified);
        if *condition != now.etag && !same_date {
            return Part::Whole;
        }
    }
    let Some((unit, set)) = range.split_once('=') else { return Part::Whole };
    let Some((first, last)) =
        set.trim().split_once('-').filter(|_| unit.trim().eq_ignore_ascii_case("bytes"))
    else {
        return Part::Whole;
    };
    match (number(first), number(last)) {
        (Given::Number(from), Given::Number(to)) if from <= to => clip(from, to, size),
        (Given::Number(from), Given::Nothing) => clip(from, u64::MAX, size),
        (Given::Nothing, Given::Number(0)) => Part::Unsatisfiable,
        (Given::Nothing, Given::Number(suffix)) => clip(size.saturating_sub(suffix), u64::MAX, size),
        _ => Part::Whole,
    }
}

fn clip(from: u64, to: u64, size: u64) -> Part {
    if from >= size {
        return Part::Unsatisfiable;
    }
    Part::Range { from, len: to.min(size - 1) - from + 1 }
}

enum Given {
    Nothing,
    Number(u64),
    Malformed,
}

fn number(text: &str) -> Given {
    match text.trim() {
        "" => Given::Nothing,
        digits if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            // A number too large to count is past the end of any file.
            Given::Number(digits.parse().unwrap_or(u64::MAX))
        }
        _ => Given::Malformed,
    }
}

/// Whether a list of entity tags contains `etag` or is `*`. Strong comparison refuses weak tags.
fn lists(headers: &HeaderMap, name: &header::HeaderName, etag: &HeaderValue, strong: bool) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|listed| {
            let listed = listed.trim();
            let bare = if strong { listed } else { listed.strip_prefix("W/").unwrap_or(listed) };
            listed == "*" || bare.as_bytes() == etag.as_bytes()
        })
}

fn date(headers: &HeaderMap, name: &header::HeaderName) -> Option<u64> {
    headers.get(name)?.to_str().ok().and_then(seconds)
}

fn seconds(text: &str) -> Option<u64> {
    let time = httpdate::parse_http_date(text).ok()?;
    time.duration_since(SystemTime::UNIX_EPOCH).ok().map(|since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATE: &str = "Tue, 29 Feb 2000 12:34:56 GMT";
    const LATER: &str = "Tue, 29 Feb 2000 12:34:57 GMT";
    const EARLIER: &str = "Tue, 29 Feb 2000 12:34:55 GMT";

    fn validators() -> Validators {
        Validators::new(Duration::from_secs(951_827_696), 1_000, "")
    }

    fn headers(fields: &[(header::HeaderName, &str)]) -> HeaderMap {
        fields.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect()
    }

    #[test]
    fn conditions_are_weighed_in_order() {
        use header::{IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_UNMODIFIED_SINCE};
        let now = validators();
        assert_eq!(
            (now.etag.to_str().unwrap(), now.last_modified.to_str().unwrap()),
            ("\"38bbbcf0.0-3e8\"", DATE)
        );
        let tag = "\"38bbbcf0.0-3e8\"";
        let weak = "W/\"38bbbcf0.0-3e8\"";
        for (fields, expected) in [
            (vec![], Condition::Proceed),
            (vec![(IF_NONE_MATCH, tag)], Condition::NotModified),
            (vec![(IF_NONE_MATCH, weak)], Condition::NotModified),
            (vec![(IF_NONE_MATCH, "\"a\", W/\"38bbbcf0.0-3e8\"")], Condition::NotModified),
            (vec![(IF_NONE_MATCH, "*")], Condition::NotModified),
            (vec![(IF_NONE_MATCH, "\"a\"")], Condition::Proceed),
            (vec![(IF_NONE_MATCH, "\"a\""), (IF_MODIFIED_SINCE, LATER)], Condition::Proceed),
            (vec![(IF_MODIFIED_SINCE, DATE)], Condition::NotModified),
            (vec![(IF_MODIFIED_SINCE, EARLIER)], Condition::Proceed),
            (vec![(IF_MODIFIED_SINCE, "yesterday")], Condition::Proceed),
            (vec![(IF_MATCH, tag)], Condition::Proceed),
            (vec![(IF_MATCH, weak)], Condition::Failed),
            (vec![(IF_MATCH, "\"a\"")], Condition::Failed),
            (vec![(IF_MATCH, "*")], Condition::Proceed),
            (vec![(IF_UNMODIFIED_SINCE, EARLIER)], Condition::Failed),
            (vec![(IF_UNMODIFIED_SINCE, DATE)], Condition::Proceed),
        ] {
            assert_eq!(weigh(&Method::GET, &headers(&fields), &now), expected, "{fields:?}");
        }
        assert_eq!(weigh(&Method::PUT, &headers(&[(IF_NONE_MATCH, "*")]), &now), Condition::Failed);
    }

    #[test]
    fn ranges_are_read() {
        let range = |from, len| Part::Range { from, len };
        for (text, expected) in [
            ("bytes=0-0", range(0, 1)),
            ("bytes=0-499", range(0, 500)),
            ("bytes=500-", range(500, 500)),
            ("bytes=-500", range(500, 500)),
            ("bytes=-5000", range(0, 1_000)),
            ("bytes=999-5000", range(999, 1)),
            ("bytes=0-99999999999999999999999", range(0, 1_000)),
            ("BYTES= 1 - 2 ", range(1, 2)),
            ("bytes=1000-", Part::Unsatisfiable),
            ("bytes=99999999999999999999999-", Part::Unsatisfiable),
            ("bytes=-0", Part::Unsatisfiable),
            ("bytes=5-4", Part::Whole),
            ("bytes=0-1,3-4", Part::Whole),
            ("bytes=a-b", Part::Whole),
            ("bytes=-", Part::Whole),
            ("bytes", Part::Whole),
            ("lines=0-1", Part::Whole),
        ] {
            assert_eq!(part(&headers(&[(header::RANGE, text)]), &validators(), 1_000), expected, "{text}");
        }
        assert_eq!(part(&HeaderMap::new(), &validators(), 1_000), Part::Whole);
        assert_eq!(part(&headers(&[(header::RANGE, "bytes=0-")]), &validators(), 0), Part::Unsatisfiable);
    }

    #[test]
    fn a_range_of_another_state_is_the_whole() {
        for (condition, expected) in [
            ("\"38bbbcf0.0-3e8\"", Part::Range { from: 0, len: 2 }),
            (DATE, Part::Range { from: 0, len: 2 }),
            (LATER, Part::Whole),
            ("\"other\"", Part::Whole),
            ("W/\"38bbbcf0.0-3e8\"", Part::Whole),
        ] {
            let fields = headers(&[(header::RANGE, "bytes=0-1"), (header::IF_RANGE, condition)]);
            assert_eq!(part(&fields, &validators(), 1_000), expected, "{condition}");
        }
    }
}
