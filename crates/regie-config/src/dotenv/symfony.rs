//! The dialect of Symfony's Dotenv: no blanks around `=`, quoted and unquoted parts may be joined, `$NAME`,
//! `${NAME}` and `${NAME:-default}` are expanded outside single quotes, and a fault refuses the whole file.
//!
//! `.env`, `.env.local` (not in the test environment), `.env.$APP_ENV` and `.env.$APP_ENV.local` follow each other,
//! a later one over an earlier one. A dumped `.env.local.php` replaces them all. `$(command)` is run by Symfony only:
//! such a variable is listed and has no value here.

use super::{DotEnv, Variables, php_pairs};
use crate::files::Files;

/// The origin of an `APP_ENV` that nobody set.
pub(crate) const DEFAULT: &str = "Symfony's default";

/// Reads what `bootEnv` reads.
pub(super) fn boot(files: &dyn Files, env: &mut DotEnv) {
    const DUMPED: &str = ".env.local.php";
    if let Some(text) = files.read(DUMPED) {
        let pairs = php_pairs(&text);
        let dumped = pairs.iter().find(|(name, _)| name == "APP_ENV").map(|(_, value)| value);
        if dumped.is_none() || env.environment.get("APP_ENV").is_none_or(|real| Some(real) == dumped) {
            env.files.push(DUMPED.to_owned());
            pairs.into_iter().for_each(|(name, value)| env.set(&name, value, DUMPED));
            return;
        }
    }
    let first = if files.is_file(".env") || !files.is_file(".env.dist") { ".env" } else { ".env.dist" };
    load(files, env, first);
    let name = |env: &DotEnv| env.get("APP_ENV").unwrap_or("dev").to_owned();
    if name(env) != "test" {
        load(files, env, ".env.local");
    }
    let chosen = name(env);
    if env.get("APP_ENV").is_none() {
        env.set("APP_ENV", chosen.clone(), DEFAULT);
    }
    if chosen == "local" || chosen.contains('/') {
        return;
    }
    load(files, env, &format!(".env.{chosen}"));
    load(files, env, &format!(".env.{chosen}.local"));
}

fn load(files: &dyn Files, env: &mut DotEnv, file: &str) {
    let Some(text) = env.open(files, file) else { return };
    let loaded = env.from_files().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    match parse(&text, &env.environment, &loaded) {
        Ok(parsed) => {
            parsed.commands.into_iter().for_each(|name| env.commands.push(name));
            for (name, value) in parsed.values {
                if !env.environment.contains_key(&name) {
                    env.set(&name, value, file);
                }
            }
        }
        Err((line, what)) => env.fault(file, line, &what, "Symfony"),
    }
}

/// What a file sets.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Parsed {
    /// Its variables, also those that the environment overrides.
    pub values: Variables,
    /// Variables whose value needs a command to be run.
    pub commands: Vec<String>,
}

/// Parses `text` in an environment and after the files that `loaded` came from.
///
/// # Errors
/// The line and what is wrong there.
pub fn parse(text: &str, environment: &Variables, loaded: &Variables) -> Result<Parsed, (usize, String)> {
    if text.starts_with('\u{feff}') {
        return Err((1, "the file starts with a byte-order mark".to_owned()));
    }
    let data: Vec<char> = text.replace("\r\n", "\n").replace('\r', "\n").chars().collect();
    let mut lexer = Lexer { data, cursor: 0, parsed: Parsed::default(), environment, loaded };
    lexer.run().map_err(|what| {
        let upto = lexer.cursor.min(lexer.data.len());
        (1 + lexer.data[..upto].iter().filter(|c| **c == '\n').count(), what)
    })?;
    Ok(lexer.parsed)
}

struct Lexer<'a> {
    data: Vec<char>,
    cursor: usize,
    parsed: Parsed,
    environment: &'a Variables,
    loaded: &'a Variables,
}

impl Lexer<'_> {
    fn peek(&self) -> Option<char> {
        self.data.get(self.cursor).copied()
    }

    fn run(&mut self) -> Result<(), String> {
        self.skip_empty_lines();
        while self.cursor < self.data.len() {
            let name = self.name()?;
            let value = if self.cursor < self.data.len() { self.value(&name)? } else { String::new() };
            self.parsed.values.insert(name, value);
        }
        Ok(())
    }

    fn skip_empty_lines(&mut self) {
        while let Some(c) = self.peek() {
            if c == '#' {
                self.skip_to_line_end();
            } else if is_space(c) {
                self.cursor += 1;
            } else {
                break;
            }
        }
    }

    fn skip_to_line_end(&mut self) {
        while self.peek().is_some_and(|c| c != '\n') {
            self.cursor += 1;
        }
    }

    fn name(&mut self) -> Result<String, String> {
        let rest = &self.data[self.cursor..];
        let export: String = rest.iter().take(6).collect();
        let mut start = 0;
        if export == "export" {
            let blanks = rest[6..].iter().take_while(|c| matches!(c, ' ' | '\t')).count();
            let after = 6 + blanks;
            // `export` itself is a name when nothing that is one follows it.
            if blanks > 0 && name_length(&rest[after..]) > 0 {
                start = after;
            }
        }
        let length = name_length(&rest[start..]);
        if length == 0 {
            return Err("an invalid character in the name of a variable".to_owned());
        }
        let name: String = rest[start..start + length].iter().collect();
        self.cursor += start + length;
        match self.peek() {
            Some('=') => {
                self.cursor += 1;
                Ok(name)
            }
            Some(' ' | '\t') => Err(format!("a blank after the name {name}")),
            _ => Err(format!("no = after the name {name}")),
        }
    }

    fn value(&mut self, name: &str) -> Result<String, String> {
        let blanks = self.data[self.cursor..].iter().take_while(|c| matches!(c, ' ' | '\t')).count();
        if matches!(self.data.get(self.cursor + blanks), None | Some('\n' | '#')) {
            self.skip_to_line_end();
            self.skip_empty_lines();
            return Ok(String::new());
        }
        if blanks > 0 {
            return Err(format!("a blank before the value of {name}"));
        }
        let mut value = String::new();
        loop {
            match self.peek() {
                Some('\'') => value.push_str(&self.single_quoted()?),
                Some('"') => {
                    let raw = self.double_quoted()?;
                    value.push_str(&self.resolve(&raw, name)?);
                }
                _ => {
                    let raw = self.unquoted()?;
                    let resolved = self.resolve(&raw, name)?;
                    if resolved == raw && raw.contains(is_space) {
                        return Err("a value with spaces needs quotes".to_owned());
                    }
                    value.push_str(&resolved);
                    if self.peek() == Some('#') {
                        break;
                    }
                }
            }
            if self.peek().is_none_or(|c| c == '\n') {
                break;
            }
        }
        self.skip_empty_lines();
        Ok(value)
    }

    fn single_quoted(&mut self) -> Result<String, String> {
        let start = self.cursor + 1;
        let Some(length) = self.data[start..].iter().position(|c| *c == '\'') else {
            return Err("a missing closing quote".to_owned());
        };
        self.cursor = start + length + 1;
        Ok(self.data[start..start + length].iter().collect())
    }

    fn double_quoted(&mut self) -> Result<String, String> {
        self.cursor += 1;
        let start = self.cursor;
        loop {
            let escaped =
                self.cursor >= 2 && self.data[self.cursor - 1] == '\\' && self.data[self.cursor - 2] != '\\';
            match self.peek() {
                None => return Err("a missing closing quote".to_owned()),
                Some('"') if !escaped => break,
                Some(_) => self.cursor += 1,
            }
        }
        let raw: String = self.data[start..self.cursor].iter().collect();
        self.cursor += 1;
        Ok(raw.replace("\\\"", "\"").replace("\\r", "\r").replace("\\n", "\n"))
    }

    fn unquoted(&mut self) -> Result<String, String> {
        let mut value = String::new();
        let mut previous = self.data[self.cursor - 1];
        while let Some(c) = self.peek() {
            if matches!(c, '\n' | '"' | '\'') || (matches!(previous, ' ' | '\t') && c == '#') {
                break;
            }
            let mut c = c;
            if c == '\\' && matches!(self.data.get(self.cursor + 1), Some('"' | '\'')) {
                self.cursor += 1;
                c = self.data[self.cursor];
            }
            value.push(c);
            previous = c;
            if c == '$' && self.data.get(self.cursor + 1) == Some(&'(') {
                self.cursor += 1;
                value.push('(');
                value.push_str(&self.nested()?);
                value.push(')');
            }
            self.cursor += 1;
        }
        // PHP's rtrim.
        Ok(value.trim_end_matches([' ', '\t', '\n', '\r', '\0', '\x0B']).to_owned())
    }

    /// What stands between parentheses; the cursor ends on the closing one. Deep nesting is counted, not recursed.
    fn nested(&mut self) -> Result<String, String> {
        let mut value = String::new();
        let mut depth = 1;
        loop {
            self.cursor += 1;
            match self.peek() {
                None | Some('\n') => return Err("a missing closing parenthesis".to_owned()),
                Some(')') if depth == 1 => return Ok(value),
                Some(c) => {
                    depth += i32::from(c == '(') - i32::from(c == ')');
                    value.push(c);
                }
            }
        }
    }

    /// Puts variables in and takes one backslash of two away.
    fn resolve(&mut self, raw: &str, name: &str) -> Result<String, String> {
        if !raw.contains('$') {
            return Ok(raw.replace("\\\\", "\\"));
        }
        let raw = self.note_commands(raw, name);
        let resolved = self.variables(&raw)?;
        Ok(resolved.replace("\\\\", "\\"))
    }

    /// Notes a `$(command)`; an escaped one loses its backslash and stays text.
    fn note_commands(&mut self, raw: &str, name: &str) -> String {
        let mut out = String::with_capacity(raw.len());
        let mut rest = raw;
        while let Some(at) = rest.find("$(") {
            let Some(length) = balanced(&rest[at + 1..]) else {
                out.push_str(&rest[..at + 2]);
                rest = &rest[at + 2..];
                continue;
            };
            match rest[..at].strip_suffix('\\') {
                Some(before) => {
                    out.push_str(before);
                    out.push_str(&rest[at..at + 1 + length]);
                }
                None => {
                    out.push_str(&rest[..at]);
                    if !self.parsed.commands.iter().any(|own| own == name) {
                        self.parsed.commands.push(name.to_owned());
                    }
                }
            }
            rest = &rest[at + 1 + length..];
        }
        out + rest
    }

    fn variables(&mut self, raw: &str) -> Result<String, String> {
        let chars: Vec<char> = raw.chars().collect();
        let mut out = String::with_capacity(raw.len());
        let mut at = 0;
        while at < chars.len() {
            let slashes = chars[at..].iter().take_while(|c| **c == '\\').count();
            let dollar = at + slashes;
            if chars.get(dollar) != Some(&'$') || chars.get(dollar + 1) == Some(&'(') {
                let upto = (dollar + 1).min(chars.len());
                out.extend(&chars[at..upto]);
                at = upto;
                continue;
            }
            at = self.variable(&chars, dollar, slashes, &mut out)?;
        }
        Ok(out)
    }

    /// Expands what begins at `dollar`, after `slashes` backslashes. Returns where to go on.
    fn variable(
        &mut self,
        chars: &[char],
        dollar: usize,
        slashes: usize,
        out: &mut String,
    ) -> Result<usize, String> {
        let brace = chars.get(dollar + 1) == Some(&'{');
        let start = dollar + 1 + usize::from(brace);
        let length = name_length(&chars[start..]);
        let mut end = start + length;
        let mut fallback = None;
        if chars.get(end) == Some(&':') && matches!(chars.get(end + 1), Some('-' | '=')) {
            let upto = chars[end..].iter().position(|c| *c == '}').map_or(chars.len(), |n| end + n);
            fallback = Some((chars[end + 1], chars[end + 2..upto].iter().collect::<String>()));
            end = upto;
        }
        let closed = chars.get(end) == Some(&'}');
        end += usize::from(closed);
        if slashes % 2 == 1 {
            out.extend(&chars[dollar - slashes + 1..end]);
            return Ok(end);
        }
        // A default or a closing brace makes even an empty name a variable, one that is never set.
        if length == 0 && fallback.is_none() && !closed {
            out.extend(&chars[dollar - slashes..end]);
            return Ok(end);
        }
        if brace && !closed {
            return Err("an opening brace without its closing one".to_owned());
        }
        let name: String = chars[start..start + length].iter().collect();
        let mut value = self.look_up(&name);
        if let Some((kind, fallback)) = fallback
            && value.is_empty()
        {
            if let Some(c) = fallback.chars().find(|c| matches!(c, '\'' | '"' | '{' | '$')) {
                return Err(format!("the character {c} in the default value of ${name}"));
            }
            if kind == '=' {
                self.parsed.values.insert(name, fallback.clone());
            }
            value = fallback;
        }
        out.extend(&chars[dollar - slashes..dollar]);
        out.push_str(&value);
        if !brace && closed {
            out.push('}');
        }
        Ok(end)
    }

    /// A name of an earlier file takes this file's value; else the environment is asked first.
    fn look_up(&self, name: &str) -> String {
        let own = self.parsed.values.get(name);
        let found = if self.loaded.contains_key(name) && !self.environment.contains_key(name) {
            own.or_else(|| self.loaded.get(name))
        } else {
            self.environment.get(name).or(own)
        };
        found.cloned().unwrap_or_default()
    }
}

/// How many characters of `_?[A-Z][A-Z0-9_]*` (in either case) stand at the start.
fn name_length(chars: &[char]) -> usize {
    let underscore = usize::from(chars.first() == Some(&'_'));
    if !chars.get(underscore).is_some_and(char::is_ascii_alphabetic) {
        return 0;
    }
    underscore + chars[underscore..].iter().take_while(|c| c.is_ascii_alphanumeric() || **c == '_').count()
}

/// The length in bytes of the balanced, non-empty parenthesis at the start of `text`.
fn balanced(text: &str) -> Option<usize> {
    let mut depth = 0i32;
    for (at, c) in text.char_indices() {
        depth += i32::from(c == '(') - i32::from(c == ')');
        if depth == 0 {
            return (at > 1).then_some(at + 1);
        }
    }
    None
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r' | '\x0B' | '\x0C')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_read_as_symfony_reads_them() {
        for (text, expected) in [
            ("A=b", Ok("b")),
            ("A= # c", Ok("")),
            ("A=b # c", Ok("b")),
            ("A=b#c", Ok("b#c")),
            ("export A=b", Ok("b")),
            ("A='b'\"c\"d", Ok("bcd")),
            ("A=\"b\\n\\\"c\\\"\"", Ok("b\n\"c\"")),
            ("A=\"one\ntwo\"", Ok("one\ntwo")),
            ("A='one\ntwo'", Ok("one\ntwo")),
            ("A=$X-y", Ok("real-y")),
            ("A=${X}y", Ok("realy")),
            ("A=\\$X", Ok("$X")),
            ("A='$X'", Ok("$X")),
            ("A=${NONE:-d e}", Ok("d e")),
            ("A=${NONE}", Ok("")),
            ("A =b", Err("a blank after the name A")),
            ("A= b", Err("a blank before the value of A")),
            ("A=b c", Err("a value with spaces needs quotes")),
            ("A", Err("no = after the name A")),
            ("A=\"b", Err("a missing closing quote")),
            ("A=${X", Err("an opening brace without its closing one")),
            ("1A=b", Err("an invalid character in the name of a variable")),
        ] {
            let environment = Variables::from([("X".to_owned(), "real".to_owned())]);
            let read = parse(text, &environment, &Variables::new());
            let read = read.map(|parsed| parsed.values["A"].clone()).map_err(|(_, why)| why);
            assert_eq!(read.as_deref().map_err(String::as_str), expected, "{text}");
        }
    }

    #[test]
    fn a_command_is_noted_and_not_run() {
        let parsed = parse("A=\"x$(date)\"\nB=\\$(date)\n", &Variables::new(), &Variables::new()).unwrap();
        assert_eq!(parsed.commands, ["A"]);
        assert_eq!(parsed.values["B"], "$(date)");
    }
}
