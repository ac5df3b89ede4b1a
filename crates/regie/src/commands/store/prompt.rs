//! What stands in for redis-cli where it is not installed: one command from the arguments, or lines from a prompt.
//!
//! Answers look like redis-cli's: bare on a pipe, typed on a terminal. What never ends (MONITOR, SUBSCRIBE) and
//! redis-cli's own modes (`--stat`, `--bigkeys` …) are left to redis-cli.

use std::io::{BufRead as _, IsTerminal as _, Write as _};

use regie_core::Exit;
use regie_resp::Frame;
use regie_store::tools::{Connection, ToolError};

use super::failed;
use crate::output;

/// Runs `words` as one command, or each line of standard input.
pub(super) fn run(connection: &mut Connection, words: &[String]) -> Result<Exit, Exit> {
    let mut words = words;
    if let [flag, database, rest @ ..] = words
        && flag == "-n"
    {
        connection.ask(&[b"SELECT", database.as_bytes()]).map_err(|fault| failed(&fault))?;
        words = rest;
    }
    if let Some(option) = words.first().filter(|word| word.starts_with('-')) {
        output::error(format_args!(
            "{option} is an option of redis-cli; install it with: apt install redis-tools"
        ));
        return Err(Exit::Unavailable);
    }
    if !words.is_empty() {
        return ask(connection, words);
    }
    let terminal = std::io::stdin().is_terminal();
    let mut last = Exit::Done;
    loop {
        if terminal {
            let _ = write!(std::io::stdout(), "store> ").and_then(|()| std::io::stdout().flush());
        }
        let mut line = String::new();
        if !std::io::stdin().lock().read_line(&mut line).is_ok_and(|read| read > 0) {
            return Ok(last);
        }
        match split(&line) {
            Ok(words) if words.is_empty() => {}
            Ok(words) if matches!(words[0].to_ascii_lowercase().as_str(), "quit" | "exit") => {
                return Ok(last);
            }
            Ok(words) => last = ask(connection, &words)?,
            Err(why) => output::error(why),
        }
    }
}

fn ask(connection: &mut Connection, words: &[String]) -> Result<Exit, Exit> {
    const ENDLESS: [&str; 5] = ["monitor", "subscribe", "psubscribe", "ssubscribe", "sync"];
    if ENDLESS.contains(&words[0].to_ascii_lowercase().as_str()) {
        output::error(format_args!(
            "{} goes on without end: it needs redis-cli, apt install redis-tools",
            words[0]
        ));
        return Ok(Exit::Unavailable);
    }
    let bytes: Vec<&[u8]> = words.iter().map(String::as_bytes).collect();
    let answer = match connection.ask(&bytes) {
        Ok(answer) => answer,
        Err(ToolError::Refused { why, .. }) => {
            output::line(if typed() { format!("(error) {why}") } else { why });
            return Ok(Exit::Failed);
        }
        Err(fault) => return Err(failed(&fault)),
    };
    let text = if typed() { show(&answer, 0) } else { bare(&answer) };
    output::line(text);
    Ok(Exit::Done)
}

fn typed() -> bool {
    std::io::stdout().is_terminal()
}

/// As redis-cli writes it into a pipe.
fn bare(frame: &Frame) -> String {
    match frame {
        Frame::Simple(text) | Frame::Error(text) | Frame::Bulk(text) | Frame::Verbatim(_, text) => {
            String::from_utf8_lossy(text).into_owned()
        }
        Frame::BigNumber(text) => String::from_utf8_lossy(text).into_owned(),
        Frame::Integer(number) => number.to_string(),
        Frame::Double(number) => number.to_string(),
        Frame::Boolean(yes) => yes.to_string(),
        Frame::Null => String::new(),
        Frame::Array(items) | Frame::Set(items) | Frame::Push(items) => {
            items.iter().map(bare).collect::<Vec<_>>().join("\n")
        }
        Frame::Map(pairs) => {
            let lines = pairs.iter().flat_map(|(name, value)| [bare(name), bare(value)]);
            lines.collect::<Vec<_>>().join("\n")
        }
    }
}

/// As redis-cli writes it on a terminal.
fn show(frame: &Frame, depth: usize) -> String {
    match frame {
        Frame::Bulk(text) => format!("\"{}\"", text.escape_ascii()),
        Frame::Error(text) => format!("(error) {}", String::from_utf8_lossy(text)),
        Frame::Integer(number) => format!("(integer) {number}"),
        Frame::Double(number) => format!("(double) {number}"),
        Frame::Null => "(nil)".to_owned(),
        Frame::Boolean(yes) => format!("({yes})"),
        Frame::Simple(_) | Frame::Verbatim(..) | Frame::BigNumber(_) => bare(frame),
        Frame::Array(items) | Frame::Set(items) | Frame::Push(items) if items.is_empty() => {
            "(empty array)".to_owned()
        }
        Frame::Array(items) | Frame::Set(items) | Frame::Push(items) => {
            let rows = items.iter().map(|item| show(item, depth + 3));
            numbered(rows, depth)
        }
        Frame::Map(pairs) => {
            let rows =
                pairs.iter().map(|(name, value)| format!("{} => {}", show(name, 0), show(value, depth + 3)));
            numbered(rows, depth)
        }
    }
}

fn numbered(rows: impl Iterator<Item = String>, depth: usize) -> String {
    let indent = " ".repeat(depth);
    let rows = rows.enumerate().map(|(index, row)| {
        let before = if index == 0 { "" } else { &indent };
        format!("{before}{}) {row}", index + 1)
    });
    rows.collect::<Vec<_>>().join("\n")
}

/// The words of a line: parted by spaces, `"…"` with `\n`, `\r`, `\t` and `\` before any other sign, `'…'` as
/// it stands.
fn split(line: &str) -> Result<Vec<String>, &'static str> {
    let (mut words, mut word, mut chars) = (Vec::new(), None::<String>, line.trim().chars());
    while let Some(c) = chars.next() {
        match c {
            c if c.is_whitespace() => words.extend(word.take()),
            '"' => {
                let text = word.get_or_insert_default();
                loop {
                    match chars.next().ok_or("a quote has no end")? {
                        '"' => break,
                        '\\' => match chars.next().ok_or("a quote has no end")? {
                            'n' => text.push('\n'),
                            'r' => text.push('\r'),
                            't' => text.push('\t'),
                            other => text.push(other),
                        },
                        other => text.push(other),
                    }
                }
            }
            '\'' => {
                let text = word.get_or_insert_default();
                loop {
                    match chars.next().ok_or("a quote has no end")? {
                        '\'' => break,
                        other => text.push(other),
                    }
                }
            }
            other => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_split_as_one_would_think() {
        for (line, expected) in [
            ("get a", &["get", "a"][..]),
            ("  set 'a b'  \"c\\\"d\\n\" \n", &["set", "a b", "c\"d\n"]),
            ("set e \"\"", &["set", "e", ""]),
            ("", &[]),
        ] {
            assert_eq!(split(line).unwrap(), expected, "{line}");
        }
        assert!(split("get \"a").is_err());
    }

    #[test]
    fn answers_look_as_redis_cli_shows_them() {
        let answer = Frame::Array(vec![
            Frame::Bulk(b"a\n".to_vec()),
            Frame::Array(vec![Frame::Integer(1), Frame::Null]),
        ]);
        assert_eq!(show(&answer, 0), "1) \"a\\n\"\n2) 1) (integer) 1\n   2) (nil)");
        assert_eq!(bare(&answer), "a\n\n1\n");
    }
}
