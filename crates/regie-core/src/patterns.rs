//! Patterns of paths that are never served: what `[gateway] deny` and the denies of `.htaccess` mean.
//!
//! `*` stands for a part of a name, `**` between slashes for any number of folders, also for none. A pattern without
//! a slash is a name at any depth; one with a slash starts at the document root. What lies below a path that matches
//! is denied with it. Names are compared byte by byte, as Linux does.

/// A list of patterns.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Patterns {
    list: Vec<Vec<Part>>,
}

/// What stands between two slashes.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    /// `**`
    Folders,
    /// A name, in pieces around its stars.
    Name(Vec<String>),
}

impl Patterns {
    /// The patterns of `list`; empty ones are left out.
    #[must_use]
    pub fn new<S: AsRef<str>>(list: impl IntoIterator<Item = S>) -> Self {
        let compile = |pattern: S| {
            let pattern = pattern.as_ref();
            let parts = pattern.split('/').filter(|part| !part.is_empty() && *part != ".");
            let mut parts: Vec<Part> = parts
                .map(|part| match part {
                    "**" => Part::Folders,
                    name => Part::Name(name.split('*').map(str::to_owned).collect()),
                })
                .collect();
            parts.dedup_by(|a, b| *a == Part::Folders && *b == Part::Folders);
            if parts.len() == 1 && !pattern.starts_with('/') {
                parts.insert(0, Part::Folders);
            }
            parts
        };
        Self { list: list.into_iter().map(compile).filter(|parts| !parts.is_empty()).collect() }
    }

    /// Whether `path` (decoded, below the document root, with or without a slash before it) or a folder above it
    /// matches.
    #[must_use]
    pub fn matches(&self, path: &str) -> bool {
        let names: Vec<&str> = path.split('/').filter(|name| !name.is_empty()).collect();
        self.list.iter().any(|parts| matches_parts(parts, &names))
    }
}

/// Whether `parts` match the first of `names`. `reached[n]` says that the parts so far can end before name `n`.
fn matches_parts(parts: &[Part], names: &[&str]) -> bool {
    let mut reached = vec![false; names.len() + 1];
    reached[0] = true;
    for part in parts {
        match part {
            Part::Folders => {
                let first = reached.iter().position(|here| *here).unwrap_or(reached.len());
                reached[first..].fill(true);
            }
            Part::Name(pieces) => {
                for at in (0..names.len()).rev() {
                    reached[at + 1] = reached[at] && matches_name(pieces, names[at]);
                }
                reached[0] = false;
            }
        }
    }
    reached.contains(&true)
}

/// Whether `name` is the pieces in their order, with anything between them.
fn matches_name(pieces: &[String], name: &str) -> bool {
    let [first, middle @ .., last] = pieces else { return pieces.first().is_some_and(|only| only == name) };
    let Some(mut rest) = name.strip_prefix(first.as_str()) else { return false };
    for piece in middle {
        let Some(at) = rest.find(piece.as_str()) else { return false };
        rest = &rest[at + piece.len()..];
    }
    rest.ends_with(last.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_what_they_say() {
        for (pattern, inside, outside) in [
            (
                "internal/**",
                &["/internal", "internal/a", "/internal/a/b.php"][..],
                &["/internals", "/x/internal"][..],
            ),
            ("*.log", &["/a.log", "/x/y/b.log", "/x.log/y"], &["/a.log.txt", "/log"]),
            ("secret", &["/secret", "/a/secret/b"], &["/secrets", "/a/xsecret"]),
            ("/secret", &["/secret", "/secret/b"], &["/a/secret"]),
            ("a/**/b.*", &["/a/b.c", "/a/x/y/b.", "/a/x/b.c/d"], &["/b.c", "/a/b", "/a/x/cb.c"]),
            ("private/**/*.sql", &["/private/a.sql", "/private/x/a.sql"], &["/a.sql", "/private/a.sqlx"]),
            ("**", &["/", "/a", ""], &[]),
            ("a*b*c", &["/abc", "/aXbYc", "/x/abbc"], &["/ab", "/acb", "/abcd"]),
            ("a*a", &["/aa", "/aba"], &["/a"]),
            ("", &[], &["/", "/a"]),
        ] {
            let patterns = Patterns::new([pattern]);
            for path in inside {
                assert!(patterns.matches(path), "{pattern} matches {path}");
            }
            for path in outside {
                assert!(!patterns.matches(path), "{pattern} does not match {path}");
            }
        }
    }
}
