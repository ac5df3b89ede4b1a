//! Regular expressions as `.htaccess` files have them: PCRE's.

use std::fmt::Write as _;

use fancy_regex::{Regex, RegexBuilder};

use super::TooHard;

/// What an expression may grow to, in bytes.
const SIZE_MAX: usize = 256 * 1024;

/// Steps that one comparison may take. Look-around and back-references are tried out one by one, and a client chooses
/// what they are compared with.
const STEPS_MAX: usize = 100_000;

/// A regular expression. Equal ones were written alike.
#[derive(Debug, Clone)]
pub struct Pattern(Regex);

impl Pattern {
    /// The expression, when it is understood.
    #[must_use]
    pub fn new(expression: &str, ignore_case: bool) -> Option<Self> {
        let mut builder = RegexBuilder::new(&translated(expression));
        // Apache's default since 2.4.30.
        builder.dot_matches_new_line(true);
        builder.case_insensitive(ignore_case).backtrack_limit(STEPS_MAX).delegate_size_limit(SIZE_MAX);
        builder.build().ok().map(Self)
    }

    /// What the shell's pattern matches (`*`, `?`, `[a-z]`), as `<Files>` has it.
    #[must_use]
    pub fn glob(glob: &str) -> Option<Self> {
        let mut expression = String::from("^");
        let mut in_class = false;
        for c in glob.chars() {
            match c {
                '*' if !in_class => expression.push_str(".*"),
                '?' if !in_class => expression.push('.'),
                '[' if !in_class => {
                    in_class = true;
                    expression.push('[');
                }
                ']' if in_class => {
                    in_class = false;
                    expression.push(']');
                }
                '!' if in_class && expression.ends_with('[') => expression.push('^'),
                '-' if in_class => expression.push('-'),
                c => expression.push_str(&fancy_regex::escape(c.encode_utf8(&mut [0; 4]))),
            }
        }
        expression.push('$');
        Self::new(&expression, false)
    }

    /// What matches in `text`, and in its groups.
    pub(super) fn captures(&self, text: &str) -> Result<Option<Groups>, TooHard> {
        let found = self.0.captures(text).map_err(|_| TooHard)?;
        let text =
            |group: Option<fancy_regex::Match<'_>>| group.map_or("", |group| group.as_str()).to_owned();
        Ok(found.map(|found| Groups(found.iter().map(text).collect())))
    }

    /// Whether `text` matches.
    ///
    /// # Errors
    /// When that takes too many steps to find out.
    pub fn matches(&self, text: &str) -> Result<bool, TooHard> {
        self.0.is_match(text).map_err(|_| TooHard)
    }
}

/// What a pattern has matched, as a whole and in its groups.
#[derive(Debug)]
pub(super) struct Groups(Vec<String>);

impl Groups {
    /// Group `n`, 0 being the whole; empty when it took no part.
    pub(super) fn get(&self, n: usize) -> &str {
        self.0.get(n).map_or("", String::as_str)
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl Eq for Pattern {}

/// PCRE takes some characters for themselves that the library gives a meaning or refuses: braces that count nothing,
/// brackets and doubled signs inside a class, escapes of characters that need none.
fn translated(expression: &str) -> String {
    let mut out = String::with_capacity(expression.len() + 8);
    let mut rest = expression;
    let mut class_from: Option<usize> = None;
    while let Some(c) = rest.chars().next() {
        let after = &rest[c.len_utf8()..];
        match (c, after.chars().next()) {
            ('\\', Some(next)) => {
                if next.is_ascii_alphanumeric() || next.is_ascii_punctuation() && !"_<>".contains(next) {
                    out.push('\\');
                }
                out.push(next);
                rest = &after[next.len_utf8()..];
                continue;
            }
            ('{', _) if class_from.is_none() && !is_count(after) => out.push_str("\\{"),
            ('[', _) if class_from.is_none() => {
                out.push('[');
                let negated = after.strip_prefix('^');
                out.push_str(if negated.is_some() { "^" } else { "" });
                rest = negated.unwrap_or(after);
                // The first bracket in a class stands for itself.
                if let Some(behind) = rest.strip_prefix(']') {
                    out.push_str("\\]");
                    rest = behind;
                }
                class_from = Some(out.len());
                continue;
            }
            ('[', Some(':')) => match after.find(":]") {
                Some(end) => {
                    out.push_str(&rest[..end + 3]);
                    rest = &after[end + 2..];
                    continue;
                }
                None => out.push_str("\\["),
            },
            ('[', _) => out.push_str("\\["),
            (']', _) if class_from.is_some() => {
                class_from = None;
                out.push(']');
            }
            ('&' | '~', Some(next)) if class_from.is_some() && next == c => {
                let _ = write!(out, "\\{c}");
            }
            ('-', Some('-')) if class_from.is_some() => out.push_str("\\-"),
            _ => out.push(c),
        }
        rest = after;
    }
    out
}

/// Whether `3}`, `3,}` or `3,5}` stands there.
fn is_count(text: &str) -> bool {
    let Some((count, _)) = text.split_once('}') else { return false };
    let (from, to) = count.split_once(',').unwrap_or((count, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    !from.is_empty() && digits(from) && digits(to)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_mean_what_pcre_says() {
        for (expression, inside, outside) in [
            ("\\.(?!well-known).*", &[".git", ".htaccess"][..], &[".well-known", "a"][..]),
            ("^(?!oidc)[^.]+$", &["README", "o"], &["oidc", "a.b"]),
            ("({{|}}|{%|%})", &["a{{b", "%}"], &["{", "a{b}"]),
            ("a{2}b{1,}", &["aab"], &["ab", "a{2}b"]),
            ("[[]", &["["], &["a"]),
            ("[]x]", &["]", "x"], &["a"]),
            ("[^]x]", &["a"], &["]", "x"]),
            ("[[:digit:]_]", &["1", "_"], &["a"]),
            ("[a&&b]", &["&", "a"], &["c"]),
            ("\\_\\-\\/\\%\\ \\<", &["_-/% <"], &["-/%"]),
            ("(\\w)\\1", &["aa"], &["ab"]),
            ("^a.b$", &["a\nb"], &["ab"]),
            ("(=|\\[|\\%[0-9A-Z]{0,2})", &["=", "[", "%"], &["a"]),
        ] {
            let pattern = Pattern::new(expression, false).expect(expression);
            for text in inside {
                assert_eq!(pattern.matches(text), Ok(true), "{expression} {text}");
            }
            for text in outside {
                assert_eq!(pattern.matches(text), Ok(false), "{expression} {text}");
            }
        }
        assert_eq!(Pattern::new("^A", true).expect("a pattern").matches("ab"), Ok(true));
        assert!(Pattern::new("(", false).is_none());
    }

    #[test]
    fn what_would_take_long_is_given_up() {
        let hard = Pattern::new("(?:(a|b|ab)*)\\1c", false).expect("a pattern");
        assert_eq!(hard.matches(&"ab".repeat(4000)), Err(TooHard));
    }

    #[test]
    fn globs_are_the_shells() {
        for (glob, inside, outside) in [
            ("*.sql", &["a.sql", ".sql"][..], &["a.sqlx", "sql"][..]),
            ("xmlrpc.php", &["xmlrpc.php"], &["xmlrpcXphp"]),
            ("wp-?.[a-c]", &["wp-1.b"], &["wp-12.b", "wp-1.d"]),
            ("[!a]*", &["b1"], &["a1"]),
        ] {
            let pattern = Pattern::glob(glob).expect(glob);
            assert!(inside.iter().all(|name| pattern.matches(name) == Ok(true)), "{glob}");
            assert!(outside.iter().all(|name| pattern.matches(name) == Ok(false)), "{glob}");
        }
    }
}
