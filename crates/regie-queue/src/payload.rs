//! A Laravel job as it lies in its queue: one JSON object, of which a few fields at the top are of interest here.
//!
//! The payload is never decoded and encoded again: key order, escapes and empty arrays stay as PHP wrote them. The
//! number of attempts is changed in its place. Laravel's own pop script sends it through cjson, which gives another
//! order and turns `[]` into `{}`; both spellings mean the same job, and every script of the framework takes either.
//!
//! `attempts` counts the attempts that were begun: 0 when pushed, +1 with each lease.

use std::fmt::Write as _;
use std::ops::Range;

/// What is read of a payload. Strings stay escaped as they are, which is enough to compare and show them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Payload<'a> {
    /// `uuid`, else `id`.
    pub id: Option<&'a str>,
    /// `displayName`: the class, as a person names it.
    pub class: Option<&'a str>,
    /// `attempts`, with its place.
    pub attempts: Option<(u32, Range<usize>)>,
    /// `timeout` in seconds.
    pub timeout_s: Option<u64>,
    /// `pushedAt` (Horizon) in microseconds, or `createdAt` in whole seconds.
    pub pushed_us: Option<u64>,
    /// How exact that time is.
    pub pushed_exactly: bool,
}

/// Reads the fields at the top of `json`. None when it is no object; what stands behind a fault is not looked at.
#[must_use]
pub fn read(json: &str) -> Option<Payload<'_>> {
    let mut payload = Payload::default();
    let mut scan = Scan { text: json, at: 0 };
    scan.expect(b'{')?;
    if scan.expect(b'}').is_some() {
        return Some(payload);
    }
    loop {
        scan.space();
        let key = scan.string()?;
        scan.expect(b':')?;
        scan.space();
        let place = scan.value()?;
        let value = &json[place.clone()];
        match key {
            "uuid" => payload.id = quoted(value).or(payload.id),
            "id" => payload.id = payload.id.or(quoted(value)),
            "displayName" => payload.class = quoted(value),
            "attempts" => payload.attempts = value.parse().ok().map(|count| (count, place)),
            "timeout" => payload.timeout_s = value.parse().ok(),
            "pushedAt" => {
                payload.pushed_us = number(quoted(value).unwrap_or(value));
                payload.pushed_exactly = payload.pushed_us.is_some();
            }
            "createdAt" if payload.pushed_us.is_none() => payload.pushed_us = number(value),
            _ => {}
        }
        if scan.expect(b',').is_none() {
            scan.expect(b'}')?;
            return Some(payload);
        }
    }
}

/// `json` with `attempts` put in the place of the number that stands there; none when there is none.
#[must_use]
pub fn with_attempts(json: &str, attempts: u32) -> Option<String> {
    let (_, place) = read(json)?.attempts?;
    Some(counted(json, place, attempts))
}

/// The same, where [`read`] has told the place.
#[must_use]
pub fn counted(json: &str, place: Range<usize>, attempts: u32) -> String {
    let mut out = String::with_capacity(json.len() + 10);
    out.push_str(&json[..place.start]);
    // A String takes everything.
    let _ = write!(out, "{attempts}");
    out.push_str(&json[place.end..]);
    out
}

/// The class without its escapes, for people.
#[must_use]
pub fn class_name(escaped: &str) -> String {
    escaped.replace("\\\\", "\\")
}

fn quoted(value: &str) -> Option<&str> {
    value.strip_prefix('"')?.strip_suffix('"')
}

/// Seconds, with or without a fraction, as microseconds.
fn number(value: &str) -> Option<u64> {
    let seconds: f64 = value.parse().ok()?;
    (seconds.is_finite() && seconds > 0.0).then_some((seconds * 1e6) as u64)
}

struct Scan<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scan<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn space(&mut self) {
        while self.peek().is_some_and(|byte| byte.is_ascii_whitespace()) {
            self.at += 1;
        }
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        self.space();
        (self.peek()? == byte).then(|| self.at += 1)
    }

    /// The inside of a string, still escaped.
    fn string(&mut self) -> Option<&'a str> {
        self.expect(b'"')?;
        let start = self.at;
        let bytes = self.text.as_bytes();
        loop {
            match bytes.get(self.at)? {
                b'"' => break,
                b'\\' => self.at += 2,
                _ => self.at += 1,
            }
        }
        let inside = self.text.get(start..self.at)?;
        self.at += 1;
        Some(inside)
    }

    /// Passes over a value of any kind and says where it stands.
    fn value(&mut self) -> Option<Range<usize>> {
        let start = self.at;
        let mut depth = 0_usize;
        loop {
            match self.peek()? {
                b'"' => drop(self.string()?),
                b'{' | b'[' => {
                    depth += 1;
                    self.at += 1;
                }
                b'}' | b']' => {
                    depth = depth.checked_sub(1)?;
                    self.at += 1;
                }
                b',' | b':' if depth > 0 => self.at += 1,
                byte if byte.is_ascii_whitespace() && depth > 0 => self.at += 1,
                b',' | b':' => return None,
                _ => {
                    while self
                        .peek()
                        .is_some_and(|byte| !b",:]}".contains(&byte) && !byte.is_ascii_whitespace())
                    {
                        self.at += 1;
                    }
                }
            }
            if depth == 0 {
                return Some(start..self.at);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const JOB: &str = r#"{"uuid":"6f","displayName":"App\\Jobs\\Mail","job":"Illuminate\\Queue\\CallQueuedHandler@call","maxTries":null,"timeout":30,"data":{"commandName":"A","command":"O:1:\"A\":1:{s:8:\"attempts\";i:9;}","attempts":7},"tags":[],"id":"x","attempts":0}"#;

    #[test]
    fn fields_at_the_top_are_read_and_nested_ones_are_not() {
        let payload = read(JOB).unwrap();
        assert_eq!(payload.id, Some("6f"));
        assert_eq!(payload.class.map(class_name).as_deref(), Some(r"App\Jobs\Mail"));
        assert_eq!(payload.attempts.as_ref().map(|(count, _)| *count), Some(0));
        assert_eq!(payload.timeout_s, Some(30));
        assert_eq!(payload.pushed_us, None);
    }

    #[test]
    fn attempts_change_in_place() {
        let check = |json: &str, attempts, expected: Option<&str>| {
            assert_eq!(with_attempts(json, attempts).as_deref(), expected, "{json}");
        };
        check(JOB, 1, Some(&JOB.replace(r#""attempts":0}"#, r#""attempts":1}"#)));
        check(
            r#"{"attempts": 9 ,"a":[1,{"attempts":2}]}"#,
            10,
            Some(r#"{"attempts": 10 ,"a":[1,{"attempts":2}]}"#),
        );
        check(r#"{"attempts":"1"}"#, 2, None);
        check(r#"{"a":1}"#, 2, None);
        check("[]", 2, None);
        check("{", 2, None);
        check(r#"{"a":"\""#, 2, None);
        check(r#"{"a":}"#, 2, None);
        check(r#"{"a":"x\"#, 2, None);
    }

    #[test]
    fn times_are_microseconds() {
        for (json, expected, exactly) in [
            (r#"{"createdAt":1790000000}"#, Some(1_790_000_000_000_000), false),
            (r#"{"pushedAt":"1790000000.5"}"#, Some(1_790_000_000_500_000), true),
            (r#"{"pushedAt":"x","createdAt":2}"#, Some(2_000_000), false),
            (r#"{"createdAt":null}"#, None, false),
        ] {
            let payload = read(json).unwrap();
            assert_eq!((payload.pushed_us, payload.pushed_exactly), (expected, exactly), "{json}");
        }
    }

    /// Every prefix and every changed byte of a job is either read or refused; nothing panics, and what is changed
    /// in place stays the same text but for the number.
    #[test]
    fn any_damage_is_survived() {
        for end in 0..JOB.len() {
            drop(read(&JOB[..end]));
            for byte in [b'"', b'\\', b'{', b'}', b',', b'0'] {
                let mut bytes = JOB.as_bytes().to_vec();
                bytes[end] = byte;
                let text = String::from_utf8(bytes).unwrap();
                if let Some(changed) = with_attempts(&text, 77) {
                    assert_eq!(read(&changed).unwrap().attempts.unwrap().0, 77);
                }
            }
        }
    }
}
