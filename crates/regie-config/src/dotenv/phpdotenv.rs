//! The dialect of vlucas/phpdotenv 5: values may follow blanks, a `#` begins a comment anywhere outside quotes,
//! `${NAME}` is expanded outside single quotes, names may hold dots, and a fault anywhere refuses the whole file.
//!
//! The steps are those of the library: lines, joined where a double-quoted value goes on; name and value; a state
//! machine over tokens; expansion from the last `$` to the first.

use super::{DotEnv, Variables, php_trim};
use crate::files::Files;

/// Reads `.env`, or `.env.$APP_ENV` when the real environment names an environment that has a file of its own.
pub(super) fn load(files: &dyn Files, env: &mut DotEnv) {
    let own = env.environment.get("APP_ENV").filter(|name| !name.is_empty() && !name.contains('/'));
    let file = own.map(|name| format!(".env.{name}")).filter(|name| files.is_file(name));
    let file = file.unwrap_or_else(|| ".env".to_owned());
    let Some(text) = env.open(files, &file) else { return };
    match parse(&text, &env.environment) {
        Ok(values) => values.into_iter().for_each(|(name, value)| env.set(&name, value, &file)),
        Err((line, what)) => env.fault(&file, line, &what, "phpdotenv"),
    }
}

/// The variables that `text` sets in `environment`, without those that the environment has already.
///
/// # Errors
/// The line and what is wrong there.
pub fn parse(text: &str, environment: &Variables) -> Result<Variables, (usize, String)> {
    let mut values = Variables::new();
    for (line, entry) in entries(text) {
        let fault = |what: String| (line, what);
        let (name, value) = split(&entry).map_err(fault)?;
        let value = match value {
            Some(value) => {
                Some(read_value(value).map_err(|why| fault(format!("{why} in the value of {name}")))?)
            }
            None => None,
        };
        if environment.contains_key(&name) {
            continue;
        }
        match value {
            Some(value) => {
                let value =
                    value.resolve(|other| environment.get(other).or_else(|| values.get(other)).cloned());
                values.insert(name, value);
            }
            None => {
                values.remove(&name);
            }
        }
    }
    Ok(values)
}

/// Entries with the line on which each begins; a double-quoted value may take several lines.
fn entries(text: &str) -> Vec<(usize, String)> {
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let mut entries = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for (index, line) in text.split('\n').enumerate() {
        let started = line.contains("=\"") && !closes(line, true);
        match open.take() {
            None if !started => {
                let shown = php_trim(line);
                if !shown.is_empty() && !shown.starts_with('#') {
                    entries.push((index + 1, line.to_owned()));
                }
            }
            before => {
                let (begun, mut joined) = before.unwrap_or((index + 1, String::new()));
                if begun != index + 1 {
                    joined.push('\n');
                }
                joined.push_str(line);
                if !closes(line, started) {
                    open = Some((begun, joined));
                } else if !php_trim(&joined).starts_with('#') {
                    entries.push((begun, joined));
                }
            }
        }
    }
    entries
}

/// Whether `line` ends a quoted value; a line that also starts one needs two quotes.
fn closes(line: &str, started: bool) -> bool {
    if line == "\"" {
        return true;
    }
    let bare = line.replace("\\\\", "");
    let bytes = bare.as_bytes();
    let quotes = bytes.windows(2).filter(|pair| pair[0] != b'\\' && pair[1] == b'"').count();
    if started { quotes > 1 } else { quotes >= 1 }
}

fn split(entry: &str) -> Result<(String, Option<&str>), String> {
    let (name, value) = match entry.split_once('=') {
        Some((name, value)) => (php_trim(name), Some(php_trim(value))),
        None => (entry, None),
    };
    if name.is_empty() {
        return Err("an equals sign without a name before it".to_owned());
    }
    let mut name = name;
    if name.chars().count() > 8
        && let Some(rest) = name.strip_prefix("export")
        && rest.starts_with([' ', '\t', '\n', '\r', '\x0B', '\x0C'])
    {
        name = rest.trim_start_matches([' ', '\t', '\n', '\r', '\0', '\x0B']);
    }
    if name.len() >= 3 {
        for quote in ['"', '\''] {
            name = name.strip_prefix(quote).and_then(|name| name.strip_suffix(quote)).unwrap_or(name);
        }
    }
    if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.')) {
        let shown: String = name.chars().take_while(|c| *c != '\n').take(40).collect();
        return Err(format!("\"{shown}\" is no name of a variable"));
    }
    Ok((name.to_owned(), value))
}

/// A value before expansion: its characters, and where a `$` may be expanded.
#[derive(Default)]
struct Raw {
    chars: Vec<char>,
    dollars: Vec<usize>,
}

impl Raw {
    fn resolve(self, get: impl Fn(&str) -> Option<String>) -> String {
        let mut chars = self.chars;
        for at in self.dollars.into_iter().rev() {
            if chars.get(at + 1) != Some(&'{') {
                continue;
            }
            let named = |c: &&char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.');
            let name: String = chars[at + 2..].iter().take_while(named).collect();
            let end = at + 2 + name.len();
            if !name.is_empty()
                && chars.get(end) == Some(&'}')
                && let Some(value) = get(&name)
            {
                chars.splice(at..=end, value.chars());
            }
        }
        chars.into_iter().collect()
    }
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    Initial,
    Unquoted,
    SingleQuoted,
    DoubleQuoted,
    Escape,
    Whitespace,
    Comment,
}

/// What PHP's `ctype_space` and PCRE's `\s` agree on.
fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r' | '\x0B' | '\x0C')
}

fn read_value(value: &str) -> Result<Raw, &'static str> {
    let mut raw = Raw::default();
    let mut state = State::Initial;
    for c in value.chars() {
        let mut keep = |c: char| raw.chars.push(c);
        state = match (state, c) {
            (State::Initial, '\'') => State::SingleQuoted,
            (State::Initial, '"') => State::DoubleQuoted,
            (State::Initial | State::Unquoted | State::Whitespace, '#') => State::Comment,
            (State::Unquoted, c) if is_space(c) => State::Whitespace,
            (State::Initial | State::Unquoted | State::DoubleQuoted, '$') => {
                raw.dollars.push(raw.chars.len());
                raw.chars.push('$');
                if state == State::DoubleQuoted { State::DoubleQuoted } else { State::Unquoted }
            }
            (State::Initial | State::Unquoted, c) => {
                keep(c);
                State::Unquoted
            }
            (State::SingleQuoted, '\'') | (State::DoubleQuoted, '"') => State::Whitespace,
            (State::SingleQuoted, c) => {
                keep(c);
                State::SingleQuoted
            }
            (State::DoubleQuoted, '\\') => State::Escape,
            (State::DoubleQuoted, c) => {
                keep(c);
                State::DoubleQuoted
            }
            (State::Escape, c) => {
                keep(escaped(c).ok_or("an unexpected escape sequence")?);
                State::DoubleQuoted
            }
            (State::Whitespace, c) if is_space(c) => State::Whitespace,
            (State::Whitespace, _) => return Err("unexpected whitespace"),
            (State::Comment, _) => State::Comment,
        };
    }
    match state {
        State::SingleQuoted | State::DoubleQuoted | State::Escape => Err("a missing closing quote"),
        _ => Ok(raw),
    }
}

fn escaped(c: char) -> Option<char> {
    Some(match c {
        '"' | '\\' | '$' => c,
        'f' => '\x0C',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\x0B',
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_read_as_phpdotenv_reads_them() {
        for (text, expected) in [
            ("A=b", Ok("b")),
            ("A = b ", Ok("b")),
            ("A=", Ok("")),
            ("export A=b", Ok("export A")),
            ("export LONGNAME=b", Ok("")),
            ("A=b#c", Ok("b")),
            ("A=\"b #c\" # d", Ok("b #c")),
            ("A='b ${X} \\n'", Ok("b ${X} \\n")),
            ("A=\"b\\n\\\"c\\\"\"", Ok("b\n\"c\"")),
            ("A=\"one\ntwo\"", Ok("one\ntwo")),
            ("A=${X}y", Ok("real-y")),
            ("A=\"${X}\\${X}\"", Ok("real-${X}")),
            ("A=$X", Ok("$X")),
            ("A=${NONE}", Ok("${NONE}")),
            ("A=b c", Err("unexpected whitespace in the value of A")),
            ("A=\"b\\q\"", Err("an unexpected escape sequence in the value of A")),
            ("A='b", Err("a missing closing quote in the value of A")),
            ("=b", Err("an equals sign without a name before it")),
            ("A-B=c", Err("\"A-B\" is no name of a variable")),
        ] {
            let environment = Variables::from([("X".to_owned(), "real-".to_owned())]);
            let read = parse(text, &environment);
            match (expected, read) {
                (Err(why), read) => assert_eq!(read, Err((1, why.to_owned())), "{text}"),
                (Ok("export A"), read) => assert!(read.is_err(), "{text}: a short name is no export"),
                (Ok(value), read) => {
                    let read = read.unwrap();
                    assert_eq!(read.get("A").map_or("", String::as_str), value, "{text}");
                }
            }
        }
    }
}
