//! What a configuration file of Laravel's says, read without running PHP: values that are written down, and the
//! variables of the environment that others are read from.
//!
//! A file returns an array; what is an array in it is gone into, comments are passed over, and of every other value the
//! text is looked at: a literal, or `env('NAME', default)`, perhaps with a cast. Anything else is code, and not told.
//! What is read serves advice: an application is never started by it.

/// A value that is no array.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Written down.
    Literal(String),
    /// Read from a variable, with what is taken when it is not set.
    Env(String, Option<String>),
    /// Code.
    Code,
}

/// Every value with its keys joined by dots, as `connections.redis.retry_after`.
#[must_use]
pub fn values(text: &str) -> Vec<(String, Value)> {
    let mut scan = Scan { rest: text, out: Vec::new() };
    if scan.reaches("return") && scan.opens() {
        scan.array("");
    }
    scan.out
}

/// The value at `path`.
#[must_use]
pub fn value<'a>(values: &'a [(String, Value)], path: &str) -> Option<&'a Value> {
    values.iter().find(|(own, _)| own == path).map(|(_, value)| value)
}

struct Scan<'a> {
    rest: &'a str,
    out: Vec<(String, Value)>,
}

impl<'a> Scan<'a> {
    /// Passes over space and comments.
    fn space(&mut self) {
        loop {
            self.rest = self.rest.trim_start();
            let end = match self.rest {
                rest if rest.starts_with("//") || (rest.starts_with('#') && !rest.starts_with("#[")) => {
                    rest.find('\n').unwrap_or(rest.len())
                }
                rest if rest.starts_with("/*") => rest.find("*/").map_or(rest.len(), |at| at + 2),
                _ => return,
            };
            self.rest = &self.rest[end..];
        }
    }

    fn takes(&mut self, word: &str) -> bool {
        self.space();
        let Some(rest) = self.rest.strip_prefix(word) else { return false };
        self.rest = rest;
        true
    }

    /// Goes past the first `word` that is neither in a comment nor in a string.
    fn reaches(&mut self, word: &str) -> bool {
        let mut inside_another = false;
        loop {
            self.space();
            let Some(c) = self.rest.chars().next() else { return false };
            let after = self.rest.strip_prefix(word).filter(|rest| !rest.starts_with(is_of_a_word));
            match (c, after) {
                (_, Some(rest)) if !inside_another => {
                    self.rest = rest;
                    return true;
                }
                ('\'' | '"', _) => self.string(c),
                _ => self.rest = &self.rest[c.len_utf8()..],
            }
            inside_another = is_of_a_word(c) && self.rest.starts_with(is_of_a_word);
        }
    }

    /// Whether an array begins here.
    fn opens(&mut self) -> bool {
        if self.takes("[") {
            return true;
        }
        let before = self.rest;
        if self.takes("array") && self.takes("(") {
            return true;
        }
        self.rest = before;
        false
    }

    fn array(&mut self, path: &str) {
        loop {
            self.space();
            if self.rest.is_empty() || self.takes("]") || self.takes(")") {
                return;
            }
            let first = self.expression(true);
            if self.takes("=>") {
                let key = literal(first).unwrap_or_default();
                let path = if path.is_empty() { key } else { format!("{path}.{key}") };
                if self.opens() {
                    self.array(&path);
                } else {
                    let value = read(self.expression(false));
                    self.out.push((path, value));
                }
            }
            if !self.takes(",") && !self.rest.starts_with([']', ')']) {
                // Code that goes on after an array: nothing that follows is certain.
                self.rest = "";
            }
        }
    }

    /// The text up to the comma or bracket that ends it; a key ends at its arrow, too.
    fn expression(&mut self, is_key: bool) -> &'a str {
        let start = self.rest;
        let mut depth = 0_usize;
        loop {
            self.space();
            let Some(c) = self.rest.chars().next() else { break };
            match c {
                '\'' | '"' => {
                    self.string(c);
                    continue;
                }
                '[' | '(' | '{' => depth += 1,
                ']' | ')' | '}' if depth == 0 => break,
                ']' | ')' | '}' => depth -= 1,
                ',' if depth == 0 => break,
                '=' if is_key && depth == 0 && self.rest.starts_with("=>") => break,
                _ => {}
            }
            self.rest = &self.rest[c.len_utf8()..];
        }
        start[..start.len() - self.rest.len()].trim()
    }

    fn string(&mut self, quote: char) {
        let mut escaped = false;
        for (at, c) in self.rest.char_indices().skip(1) {
            match c {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                c if c == quote => {
                    self.rest = &self.rest[at + 1..];
                    return;
                }
                _ => {}
            }
        }
        self.rest = "";
    }
}

fn is_of_a_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '$'
}

fn read(expression: &str) -> Value {
    let mut expression = expression;
    for cast in ["(int)", "(integer)", "(float)", "(bool)", "(string)"] {
        expression = expression.strip_prefix(cast).unwrap_or(expression).trim_start();
    }
    if let Some(value) = literal(expression) {
        return Value::Literal(value);
    }
    let inside = expression.strip_prefix("env").map(str::trim_start);
    let inside = inside.and_then(|call| call.strip_prefix('(')?.trim_end().strip_suffix(')'));
    let Some(inside) = inside else { return Value::Code };
    let mut scan = Scan { rest: inside, out: Vec::new() };
    let name = literal(scan.expression(false));
    let default = if scan.takes(",") { literal(scan.expression(false)) } else { None };
    scan.space();
    match name {
        Some(name) if scan.rest.trim_start_matches([',', ' ']).is_empty() => Value::Env(name, default),
        _ => Value::Code,
    }
}

/// A string, number or word of PHP's.
fn literal(text: &str) -> Option<String> {
    let text = text.trim();
    for quote in ['\'', '"'] {
        if let Some(inside) = text.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote)) {
            let is_code = inside.contains(quote) || (quote == '"' && inside.contains('$'));
            return (!is_code).then(|| inside.replace("\\\\", "\\"));
        }
    }
    let word = matches!(text.to_ascii_lowercase().as_str(), "null" | "true" | "false");
    let number =
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'_' || byte == b'-');
    (word || number).then(|| text.replace('_', ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUEUE: &str = r#"<?php
use Illuminate\Support\Str;
$returned = 'return [5]'; // "return" and so on
/* return [ 'no' => 1 ] */
return [
    // 'default' => 'commented, out',
    'default' => env('QUEUE_CONNECTION', 'database'),
    'connections' => [
        'sync' => ['driver' => 'sync'],
        'database' => array(
            'driver' => "database", # a remark
            'retry_after' => (int) env('DB_QUEUE_RETRY_AFTER', 90),
            'after_commit' => false,
        ),
        'redis' => ['driver' => 'redis', 'queue' => env('REDIS_QUEUE'), 'retry_after' => 1_200, 'block_for' => null,
            'options' => ['tls' => ['verify' => fn () => [1, 2]]], 'prefix' => Str::slug(env('APP_NAME', 'a, b'), '_').'_'],
        PHP_VERSION => 'x', 'list' => ['a', 'b'],
    ],
];
"#;

    #[test]
    fn values_are_found_by_their_keys() {
        let found = values(QUEUE);
        let env = |name: &str, default: Option<&str>| Value::Env(name.to_owned(), default.map(str::to_owned));
        let literal = |text: &str| Value::Literal(text.to_owned());
        for (path, expected) in [
            ("default", env("QUEUE_CONNECTION", Some("database"))),
            ("connections.sync.driver", literal("sync")),
            ("connections.database.driver", literal("database")),
            ("connections.database.retry_after", env("DB_QUEUE_RETRY_AFTER", Some("90"))),
            ("connections.redis.queue", env("REDIS_QUEUE", None)),
            ("connections.redis.retry_after", literal("1200")),
            ("connections.redis.block_for", literal("null")),
            ("connections.redis.options.tls.verify", Value::Code),
            ("connections.redis.prefix", Value::Code),
        ] {
            assert_eq!(value(&found, path), Some(&expected), "{path}");
        }
        assert_eq!(value(&found, "no"), None);
    }

    /// Whatever is cut off or changed, reading ends.
    #[test]
    fn any_damage_is_survived() {
        for end in 0..QUEUE.len() {
            drop(values(&QUEUE[..end]));
            for byte in ["'", "[", ")", ",", "/*", "=>"] {
                drop(values(&format!("{}{byte}{}", &QUEUE[..end], &QUEUE[end..])));
            }
        }
        for text in ["", "<?php return", "<?php return 5;", "<?php return [", "<?php return ['a' => 'é"] {
            drop(values(text));
        }
    }
}
