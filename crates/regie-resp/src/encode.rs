use crate::number::{format_double, write_integer};

/// The version of the protocol that a client has chosen with HELLO.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Version {
    /// What every client speaks at first.
    #[default]
    Two,
    /// Has maps, sets, doubles, booleans, one null and pushed messages.
    Three,
}

/// Writes replies. What version 2 does not know is written in the form that Redis gives it there: a map as a flat
/// array, a double as a string, a boolean as 0 or 1.
#[derive(Debug, Default)]
pub struct Encoder {
    /// What has been written and not yet sent.
    pub bytes: Vec<u8>,
    /// In which version the next reply is written.
    pub version: Version,
}

impl Encoder {
    /// An empty one for `version`.
    #[must_use]
    pub fn new(version: Version) -> Self {
        Self { bytes: Vec::new(), version }
    }

    fn header(&mut self, kind: u8, number: i64) {
        if (0..10).contains(&number) {
            self.bytes.extend_from_slice(&[kind, b'0' + number as u8, b'\r', b'\n']);
            return;
        }
        self.bytes.push(kind);
        write_integer(&mut self.bytes, number);
        self.bytes.extend_from_slice(b"\r\n");
    }

    fn line(&mut self, kind: u8, text: &[u8]) {
        self.bytes.push(kind);
        self.bytes.extend_from_slice(text);
        self.bytes.extend_from_slice(b"\r\n");
    }

    /// `+OK`
    pub fn ok(&mut self) {
        self.bytes.extend_from_slice(b"+OK\r\n");
    }

    /// A simple string. Must hold no line break.
    pub fn simple(&mut self, text: &str) {
        self.line(b'+', text.as_bytes());
    }

    /// An error line: code, space, message. Line breaks, which a script's error may hold, become spaces.
    pub fn error(&mut self, text: &[u8]) {
        self.bytes.push(b'-');
        self.bytes.extend(text.iter().map(|&byte| if byte == b'\r' || byte == b'\n' { b' ' } else { byte }));
        self.bytes.extend_from_slice(b"\r\n");
    }

    /// A number.
    pub fn integer(&mut self, value: i64) {
        match value {
            0 => self.bytes.extend_from_slice(b":0\r\n"),
            1 => self.bytes.extend_from_slice(b":1\r\n"),
            _ => self.header(b':', value),
        }
    }

    /// A string of any bytes.
    pub fn bulk(&mut self, value: &[u8]) {
        self.bytes.reserve(value.len() + 16);
        self.header(b'$', value.len() as i64);
        self.bytes.extend_from_slice(value);
        self.bytes.extend_from_slice(b"\r\n");
    }

    /// A number as a string.
    pub fn bulk_integer(&mut self, value: i64) {
        let mut digits = Vec::with_capacity(20);
        write_integer(&mut digits, value);
        self.bulk(&digits);
    }

    /// No value: `$-1` in version 2.
    pub fn null(&mut self) {
        match self.version {
            Version::Two => self.bytes.extend_from_slice(b"$-1\r\n"),
            Version::Three => self.bytes.extend_from_slice(b"_\r\n"),
        }
    }

    /// No array: `*-1` in version 2.
    pub fn null_array(&mut self) {
        match self.version {
            Version::Two => self.bytes.extend_from_slice(b"*-1\r\n"),
            Version::Three => self.bytes.extend_from_slice(b"_\r\n"),
        }
    }

    /// The beginning of an array of `length` values.
    pub fn array(&mut self, length: usize) {
        self.header(b'*', length as i64);
    }

    /// The beginning of a map of `pairs` keys and values.
    pub fn map(&mut self, pairs: usize) {
        match self.version {
            Version::Two => self.header(b'*', pairs as i64 * 2),
            Version::Three => self.header(b'%', pairs as i64),
        }
    }

    /// The beginning of a set of `length` values.
    pub fn set(&mut self, length: usize) {
        let kind = if self.version == Version::Two { b'*' } else { b'~' };
        self.header(kind, length as i64);
    }

    /// The beginning of a message that answers no command.
    pub fn push(&mut self, length: usize) {
        let kind = if self.version == Version::Two { b'*' } else { b'>' };
        self.header(kind, length as i64);
    }

    /// A floating-point number.
    pub fn double(&mut self, value: f64) {
        let text = format_double(value);
        match self.version {
            Version::Two => self.bulk(text.as_bytes()),
            Version::Three => self.line(b',', text.as_bytes()),
        }
    }

    /// True or false.
    pub fn boolean(&mut self, value: bool) {
        match self.version {
            Version::Two => self.integer(i64::from(value)),
            Version::Three => self.line(b'#', if value { b"t" } else { b"f" }),
        }
    }

    /// A number that may not fit in 64 bits.
    pub fn big_number(&mut self, digits: &[u8]) {
        match self.version {
            Version::Two => self.bulk(digits),
            Version::Three => self.line(b'(', digits),
        }
    }

    /// Text with a three-letter format (`txt`, `mkd`).
    pub fn verbatim(&mut self, format: &str, text: &[u8]) {
        match self.version {
            Version::Two => self.bulk(text),
            Version::Three => {
                self.header(b'=', text.len() as i64 + 4);
                self.bytes.extend_from_slice(format.as_bytes());
                self.bytes.push(b':');
                self.bytes.extend_from_slice(text);
                self.bytes.extend_from_slice(b"\r\n");
            }
        }
    }

    /// A place for the length of an array that is counted while it is written; give it to [`Encoder::array_at`].
    #[must_use]
    pub fn mark(&self) -> usize {
        self.bytes.len()
    }

    /// Puts the header of an array of `length` values in front of what was written since `mark`.
    pub fn array_at(&mut self, mark: usize, length: usize) {
        self.insert_header(mark, b'*', length);
    }

    /// Puts the header of a map of `pairs` in front of what was written since `mark`.
    pub fn map_at(&mut self, mark: usize, pairs: usize) {
        match self.version {
            Version::Two => self.insert_header(mark, b'*', pairs * 2),
            Version::Three => self.insert_header(mark, b'%', pairs),
        }
    }

    /// Puts the header of a set of `length` values in front of what was written since `mark`.
    pub fn set_at(&mut self, mark: usize, length: usize) {
        let kind = if self.version == Version::Two { b'*' } else { b'~' };
        self.insert_header(mark, kind, length);
    }

    fn insert_header(&mut self, mark: usize, kind: u8, number: usize) {
        let end = self.bytes.len();
        self.header(kind, number as i64);
        let header = self.bytes.len() - end;
        self.bytes[mark..].rotate_right(header);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(version: Version, write: impl Fn(&mut Encoder), expect: &str) {
        let mut encoder = Encoder::new(version);
        write(&mut encoder);
        assert_eq!(String::from_utf8_lossy(&encoder.bytes), expect);
    }

    #[test]
    fn each_kind_has_its_form_in_each_version() {
        type Write = fn(&mut Encoder);
        let table: [(Write, &str, &str); 12] = [
            (|e| e.ok(), "+OK\r\n", "+OK\r\n"),
            (|e| e.error(b"ERR a\r\nb"), "-ERR a  b\r\n", "-ERR a  b\r\n"),
            (|e| e.integer(-12), ":-12\r\n", ":-12\r\n"),
            (|e| e.bulk(b"a\r\n"), "$3\r\na\r\n\r\n", "$3\r\na\r\n\r\n"),
            (|e| e.null(), "$-1\r\n", "_\r\n"),
            (|e| e.null_array(), "*-1\r\n", "_\r\n"),
            (|e| e.map(2), "*4\r\n", "%2\r\n"),
            (|e| e.set(2), "*2\r\n", "~2\r\n"),
            (|e| e.push(2), "*2\r\n", ">2\r\n"),
            (|e| e.double(1.5), "$3\r\n1.5\r\n", ",1.5\r\n"),
            (|e| e.boolean(true), ":1\r\n", "#t\r\n"),
            (|e| e.verbatim("txt", b"hi"), "$2\r\nhi\r\n", "=6\r\ntxt:hi\r\n"),
        ];
        for (write, two, three) in table {
            check(Version::Two, write, two);
            check(Version::Three, write, three);
        }
    }

    #[test]
    fn a_length_may_be_told_afterwards() {
        check(
            Version::Two,
            |e| {
                e.integer(9);
                let mark = e.mark();
                e.bulk(b"a");
                e.bulk(b"b");
                e.array_at(mark, 2);
            },
            ":9\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n",
        );
    }
}
