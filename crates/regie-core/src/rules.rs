//! What `.htaccess` files say of requests beyond denying them: redirects, and headers of answers.
//!
//! The configuration reads them, the gateway acts on them. The order is Apache's: the rewrites of the deepest folder
//! that has any, line by line, then the redirects, those of the deepest folder first. Paths are decoded and start
//! with a slash; `folder` is empty for the document root, else `a/b`.
//!
//! Whether the client spoke TLS is known only where somebody believed has said so. Where nobody has, a redirect to
//! https stays undone: behind a proxy that is not trusted it would never end.

use std::fmt::Write as _;

use regex_lite::{Captures, Regex, RegexBuilder};

use crate::Patterns;

/// What a pattern may grow to.
const PATTERN_MAX: usize = 256 * 1024;

/// All rules of a site.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rules {
    /// In the order of their lines.
    pub rewrites: Vec<Rewrite>,
    /// Folders that rewrite at all: in each, those of the folders above it are without force.
    pub rewriting: Vec<String>,
    /// Those of deeper folders first.
    pub redirects: Vec<Redirect>,
    /// In the order in which they are applied: those of deeper folders last.
    pub headers: Vec<HeaderRule>,
}

/// `RewriteRule`, with the conditions before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rewrite {
    /// Where the file lies.
    pub folder: String,
    /// What the path below the folder is compared with, without a slash before it.
    pub pattern: Pattern,
    /// `!` before the pattern.
    pub negated: bool,
    /// What must hold besides.
    pub conditions: Vec<Condition>,
    /// What follows when all that holds.
    pub then: Then,
}

/// What a rewrite does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Then {
    /// The rewrites behind it are passed over.
    Stop,
    /// The client is sent elsewhere.
    Redirect {
        /// Where to.
        to: Template,
        /// 301, 302, 303, 307 or 308.
        status: u16,
        /// What becomes of the query.
        query: Query,
    },
}

/// What becomes of the query in a redirect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Query {
    /// It goes along where the target names none.
    Keep,
    /// It goes along behind the one that the target names.
    Append,
    /// It does not go along.
    Drop,
}

/// `RewriteCond`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// What is asked.
    pub test: Test,
    /// `!` before it.
    pub negated: bool,
    /// `[OR]`: this one or the next.
    pub or_next: bool,
}

/// What a condition asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Test {
    /// Whether the client speaks TLS (or, `false`, surely does not).
    Https(bool),
    /// Whether a file lies there.
    File,
    /// Whether a folder lies there.
    Folder,
    /// Whether a part of the request matches.
    Matches(Part, Pattern),
}

/// A part of the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The host and port asked for.
    Host,
    /// The decoded path.
    Path,
    /// The query as it was sent.
    Query,
    /// GET and alike.
    Method,
}

/// `Redirect` and `RedirectMatch`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redirect {
    /// Which paths.
    pub from: From,
    /// Where to; none for a status that leads nowhere.
    pub to: Option<Template>,
    /// 301, 302, 303, 307, 308; or 403, 404, 410, without a target.
    pub status: u16,
}

/// Which paths a redirect is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum From {
    /// This one, and all below it; what follows it goes along.
    Prefix(String),
    /// Those that match.
    Pattern(Pattern),
}

/// `Header`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderRule {
    /// What is served: files and scripts.
    pub on: Patterns,
    /// The header's name.
    pub name: String,
    /// What becomes of it.
    pub action: HeaderAction,
}

/// What becomes of a header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeaderAction {
    /// It has this value.
    Set(String),
    /// It has this value where it had none.
    SetIfEmpty(String),
    /// It is there once more.
    Add(String),
    /// The value is added to the list that it holds.
    Append(String),
    /// It goes.
    Unset,
}

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The decoded path, with a slash before it.
    pub path: &'a str,
    /// The query, without its question mark.
    pub query: &'a str,
    /// The host and port asked for.
    pub host: &'a str,
    /// GET and alike.
    pub method: &'a str,
    /// Whether the client speaks TLS, as far as anybody believed has said.
    pub https: Option<bool>,
}

/// An answer that the rules give.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Where the client is sent; none for a status that leads nowhere.
    pub location: Option<String>,
}

impl Rules {
    /// Whether there is nothing to do, ever.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.rewrites.is_empty() && self.redirects.is_empty() && self.headers.is_empty()
    }

    /// The answer to a request that is sent elsewhere. `lies_there` says whether a file, or a folder (`true`), lies at
    /// the path.
    #[must_use]
    pub fn answer(&self, asked: &Asked<'_>, lies_there: impl Fn(bool) -> bool) -> Option<Answer> {
        self.rewritten(asked, &lies_there)
            .or_else(|| self.redirects.iter().find_map(|redirect| redirect.answer(asked)))
            // A rule that leads to where the client is already would never end.
            .filter(|answer| answer.location.as_deref() != Some(&*address(asked)))
    }

    fn rewritten(&self, asked: &Asked<'_>, lies_there: &impl Fn(bool) -> bool) -> Option<Answer> {
        let above = self.rewriting.iter().filter(|folder| below(asked.path, folder).is_some());
        let folder = above.max_by_key(|folder| folder.len())?;
        let path = below(asked.path, folder)?;
        for rewrite in self.rewrites.iter().filter(|rewrite| rewrite.folder == *folder) {
            let found = rewrite.pattern.0.captures(path);
            if found.is_some() == rewrite.negated {
                continue;
            }
            let Some(last) = hold(&rewrite.conditions, asked, lies_there) else { continue };
            let Then::Redirect { to, status, query } = &rewrite.then else { return None };
            let location = to.fill(asked, found.as_ref(), last.as_ref())?;
            return Some(Answer {
                status: *status,
                location: Some(with_query(location, asked.query, *query)),
            });
        }
        None
    }
}

impl Redirect {
    fn answer(&self, asked: &Asked<'_>) -> Option<Answer> {
        let (found, rest) = match &self.from {
            From::Prefix(prefix) => {
                let rest = asked.path.strip_prefix(prefix.as_str())?;
                if !(rest.is_empty() || rest.starts_with('/') || prefix.ends_with('/')) {
                    return None;
                }
                (None, rest)
            }
            From::Pattern(pattern) => (Some(pattern.0.captures(asked.path)?), ""),
        };
        let Some(to) = &self.to else { return Some(Answer { status: self.status, location: None }) };
        let mut location = to.fill(asked, found.as_ref(), None)?;
        escape_into(&mut location, rest, false);
        let location = with_query(one_site(location), asked.query, Query::Keep);
        Some(Answer { status: self.status, location: Some(location) })
    }
}

/// What remains of `path` below `folder`, without a slash before it.
fn below<'a>(path: &'a str, folder: &str) -> Option<&'a str> {
    let path = path.strip_prefix('/').unwrap_or(path);
    if folder.is_empty() {
        return Some(path);
    }
    path.strip_prefix(folder)?.strip_prefix('/')
}

/// Whether all conditions hold; with what the last one of them has captured.
fn hold<'a>(
    conditions: &[Condition],
    asked: &Asked<'a>,
    lies_there: &impl Fn(bool) -> bool,
) -> Option<Option<Captures<'a>>> {
    let mut captured = None;
    let mut conditions = conditions.iter();
    while let Some(condition) = conditions.next() {
        let holds = match &condition.test {
            Test::Https(wanted) => asked.https.is_some_and(|https| (https == *wanted) != condition.negated),
            Test::File => lies_there(false) != condition.negated,
            Test::Folder => lies_there(true) != condition.negated,
            Test::Matches(part, pattern) => {
                let found = pattern.0.captures(part.of(asked));
                let matches = found.is_some();
                captured = found.or(captured);
                matches != condition.negated
            }
        };
        if holds {
            // The others of its group need not be asked.
            let mut or_next = condition.or_next;
            while or_next {
                or_next = conditions.next().is_some_and(|next| next.or_next);
            }
        } else if !condition.or_next {
            return None;
        }
    }
    Some(captured)
}

impl Part {
    const fn of<'a>(self, asked: &Asked<'a>) -> &'a str {
        match self {
            Self::Host => asked.host,
            Self::Path => asked.path,
            Self::Query => asked.query,
            Self::Method => asked.method,
        }
    }
}

/// A regular expression. What only Perl's have is not understood, and each is matched in time that is linear in the
/// length of what it is compared with.
#[derive(Debug, Clone)]
pub struct Pattern(Regex);

impl Pattern {
    /// The expression, when it is understood.
    #[must_use]
    pub fn new(expression: &str, ignore_case: bool) -> Option<Self> {
        RegexBuilder::new(expression)
            .case_insensitive(ignore_case)
            .size_limit(PATTERN_MAX)
            .build()
            .ok()
            .map(Self)
    }

    /// What matches this text and nothing else.
    #[must_use]
    pub fn exactly(text: &str, ignore_case: bool) -> Option<Self> {
        Self::new(&format!("^{}$", regex_lite::escape(text)), ignore_case)
    }

    /// Whether `text` matches.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        self.0.is_match(text)
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl Eq for Pattern {}

/// A target with places to fill.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    /// `$1`
    Group(usize),
    /// `%1`
    ConditionGroup(usize),
    /// `%{HTTP_HOST}` and alike
    Variable(Part),
}

impl Template {
    /// A URL, or a path from the root on, as it is.
    #[must_use]
    pub fn literal(text: &str) -> Self {
        Self(vec![Piece::Text(text.to_owned())])
    }

    /// The target of a redirect by pattern (`$1`); with `variables`, that of a rewrite (`%1`, `%{HTTP_HOST}`). None
    /// when it is not understood.
    #[must_use]
    pub fn parse(text: &str, variables: bool) -> Option<Self> {
        let mut pieces = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            rest = &rest[first.len_utf8()..];
            let digit = rest.chars().next().and_then(|next| next.to_digit(10));
            let piece = match (first, digit) {
                ('$', Some(digit)) => Piece::Group(digit as usize),
                ('%', Some(digit)) if variables => Piece::ConditionGroup(digit as usize),
                ('%', None) if variables && rest.starts_with('{') => {
                    let end = rest.find('}')?;
                    let name = &rest[1..end];
                    rest = &rest[end..];
                    Piece::Variable(variable(name)?)
                }
                _ => {
                    plain.push(first);
                    continue;
                }
            };
            // The digit, or the brace.
            rest = &rest[1..];
            if !plain.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut plain)));
            }
            pieces.push(piece);
        }
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain));
        }
        Some(Self(pieces))
    }

    /// The same below `base`, unless it begins with a slash, a scheme or a variable.
    #[must_use]
    pub fn relative_to(mut self, base: &str) -> Self {
        let absolute = match self.0.first() {
            Some(Piece::Text(text)) => text.starts_with('/') || text.contains("://"),
            Some(Piece::Variable(_) | Piece::ConditionGroup(_)) => true,
            Some(Piece::Group(_)) | None => false,
        };
        if !absolute {
            self.0.insert(0, Piece::Text(format!("/{}/", base.trim_matches('/')).replace("//", "/")));
        }
        self
    }

    /// None when the host that goes into it is none.
    fn fill(
        &self,
        asked: &Asked<'_>,
        found: Option<&Captures<'_>>,
        last: Option<&Captures<'_>>,
    ) -> Option<String> {
        let mut out = String::new();
        for piece in &self.0 {
            let group = |groups: Option<&Captures<'_>>, n| {
                groups.and_then(|groups| Some(groups.get(n)?.as_str().to_owned())).unwrap_or_default()
            };
            match piece {
                Piece::Text(text) => escape_into(&mut out, text, true),
                Piece::Group(n) => escape_into(&mut out, &group(found, *n), false),
                Piece::ConditionGroup(n) => escape_into(&mut out, &group(last, *n), false),
                Piece::Variable(Part::Query) => escape_into(&mut out, asked.query, true),
                Piece::Variable(Part::Host) if !is_plain_host(asked.host) => return None,
                Piece::Variable(part) => escape_into(&mut out, part.of(asked), false),
            }
        }
        Some(one_site(out))
    }
}

fn variable(name: &str) -> Option<Part> {
    match name {
        "HTTP_HOST" | "SERVER_NAME" => Some(Part::Host),
        "REQUEST_URI" => Some(Part::Path),
        "QUERY_STRING" => Some(Part::Query),
        _ => None,
    }
}

fn is_plain_host(host: &str) -> bool {
    !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte))
}

/// `//host` would lead to another site, so a path has one slash before it.
fn one_site(location: String) -> String {
    if location.starts_with("//") { format!("/{}", location.trim_start_matches('/')) } else { location }
}

/// Adds `text` so that it may stand in a header. What a client has sent is a part of a path, whatever it holds; what
/// the file says may hold a query, a fragment and escapes.
fn escape_into(out: &mut String, text: &str, is_written: bool) {
    for byte in text.bytes() {
        let plain = byte.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&byte);
        if plain && (is_written || !b"?#%".contains(&byte)) {
            out.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
}

fn with_query(mut location: String, query: &str, rule: Query) -> String {
    let has_query = location.contains('?');
    match rule {
        Query::Drop => {}
        Query::Keep if has_query => {}
        Query::Keep | Query::Append if query.is_empty() => {}
        Query::Keep | Query::Append => {
            location.push(if has_query { '&' } else { '?' });
            escape_into(&mut location, query, true);
        }
    }
    // `?` alone at the end says that the query is to go.
    location.truncate(location.trim_end_matches('?').len());
    location
}

/// The address that the client asked for, as a redirect would write it.
fn address(asked: &Asked<'_>) -> String {
    let mut out = String::new();
    escape_into(&mut out, asked.path, false);
    with_query(out, asked.query, Query::Keep)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASKED: Asked<'_> =
        Asked { path: "/", query: "", host: "www.example.org", method: "GET", https: None };

    fn moved(status: u16, location: &str) -> Option<Answer> {
        Some(Answer { status, location: Some(location.to_owned()) })
    }

    fn rewrite(pattern: &str, to: &str, conditions: Vec<Condition>) -> Rewrite {
        let then = Then::Redirect {
            to: Template::parse(to, true).expect("a target").relative_to(""),
            status: 301,
            query: Query::Keep,
        };
        let pattern = Pattern::new(pattern, false).expect("a pattern");
        Rewrite { folder: String::new(), pattern, negated: false, conditions, then }
    }

    fn rewriting(rewrites: Vec<Rewrite>) -> Rules {
        Rules { rewrites, rewriting: vec![String::new()], ..Rules::default() }
    }

    fn when(test: Test) -> Condition {
        Condition { test, negated: false, or_next: false }
    }

    #[test]
    fn a_redirect_takes_along_what_is_below_it() {
        let redirect = |from: &str, to: &str| Redirect {
            from: From::Prefix(from.into()),
            to: Some(Template::literal(to)),
            status: 302,
        };
        let rules = Rules {
            redirects: vec![
                redirect("/old", "https://example.org/new"),
                redirect("/docs/", "/manual/"),
                Redirect { from: From::Prefix("/dead".into()), to: None, status: 410 },
                Redirect {
                    from: From::Pattern(Pattern::new("^/blog/(\\d+)", false).expect("a pattern")),
                    to: Template::parse("/news?id=$1", false),
                    status: 301,
                },
                redirect("/same", "/same"),
            ],
            ..Rules::default()
        };
        for (path, query, expected) in [
            ("/old", "", moved(302, "https://example.org/new")),
            ("/old/a b", "x=1", moved(302, "https://example.org/new/a%20b?x=1")),
            ("/older", "", None),
            ("/docs/a", "", moved(302, "/manual/a")),
            ("/docs", "", None),
            ("/dead/a", "", Some(Answer { status: 410, location: None })),
            ("/blog/12/x", "y=2", moved(301, "/news?id=12")),
            ("/blog/x", "", None),
            ("/same", "", None),
        ] {
            assert_eq!(rules.answer(&Asked { path, query, ..ASKED }, |_| false), expected, "{path}?{query}");
        }
    }

    #[test]
    fn a_rewrite_is_filled_with_what_was_asked_for() {
        for (pattern, to, path, query, expected) in [
            ("^old/?$", "/new", "/old/", "", moved(301, "/new")),
            ("^blog/(.*)$", "/news/$1", "/blog/a/b", "p=1", moved(301, "/news/a/b?p=1")),
            ("^blog/(.*)$", "/news/$1?", "/blog/a", "p=1", moved(301, "/news/a")),
            (
                "^(.*)$",
                "https://%{HTTP_HOST}%{REQUEST_URI}",
                "/a",
                "b",
                moved(301, "https://www.example.org/a?b"),
            ),
            ("^(.*)/$", "/$1", "/x/", "", moved(301, "/x")),
            // What a client sends does not lead to another site, end the line or begin a query.
            ("^go/(.*)$", "/$1", "/go//evil.example", "", moved(301, "/evil.example")),
            (
                "(?s)^go/(.*)$",
                "/$1",
                "/go/a\r\nSet-Cookie: x?y#z",
                "",
                moved(301, "/a%0D%0ASet-Cookie:%20x%3Fy%23z"),
            ),
            ("^a$", "b", "/a", "", moved(301, "/b")),
            ("^a$", "/a", "/a", "", None),
            ("^a$", "/b", "/c", "", None),
        ] {
            let rules = rewriting(vec![rewrite(pattern, to, Vec::new())]);
            let asked = Asked { path, query, ..ASKED };
            assert_eq!(rules.answer(&asked, |_| false), expected, "{pattern} {path}");
        }
        let odd = Asked { path: "/a", host: "a/b@c", ..ASKED };
        let rules = rewriting(vec![rewrite("", "https://%{HTTP_HOST}/", Vec::new())]);
        assert_eq!(rules.answer(&odd, |_| false), None);
    }

    #[test]
    fn conditions_are_weighed_as_apache_does() {
        let www = || Test::Matches(Part::Host, Pattern::new("^www\\.(.+)$", true).expect("a pattern"));
        let or = |test| Condition { test, negated: false, or_next: true };
        let not = |test| Condition { test, negated: true, or_next: false };
        let to = "https://%1/$0";
        for (conditions, https, lies_there, expected) in [
            (vec![when(www())], None, false, true),
            (vec![not(www())], None, false, false),
            (vec![when(Test::Https(false)), when(www())], None, false, false),
            (vec![when(Test::Https(false)), when(www())], Some(false), false, true),
            (vec![when(Test::Https(false)), when(www())], Some(true), false, false),
            (vec![or(Test::Https(false)), when(www())], None, false, true),
            (vec![or(www()), when(Test::Https(true)), when(www())], Some(false), false, true),
            (vec![or(www()), or(www()), when(Test::File)], None, false, true),
            (vec![not(Test::File), when(www())], None, true, false),
            (vec![not(Test::File), not(Test::Folder), when(www())], None, false, true),
        ] {
            let rules = rewriting(vec![rewrite("^.*$", to, conditions.clone())]);
            let answer = rules.answer(&Asked { path: "/a", https, ..ASKED }, |_| lies_there);
            let location = answer.and_then(|answer| answer.location);
            assert_eq!(location.is_some(), expected, "{conditions:?} {https:?}");
            let filled =
                location.as_deref().is_none_or(|to| to == "https://example.org/a" || to == "https:///a");
            assert!(filled, "{location:?}");
        }
    }

    #[test]
    fn the_deepest_folder_that_rewrites_decides() {
        let mut rules = rewriting(vec![rewrite("", "/root", Vec::new())]);
        let deep = Rewrite { folder: "shop".into(), ..rewrite("^a$", "/shop/b", Vec::new()) };
        let stop = Rewrite { folder: "shop".into(), then: Then::Stop, ..rewrite("^c$", "-", Vec::new()) };
        let last = Rewrite { folder: "shop".into(), ..rewrite("^(c|d)$", "/shop/e", Vec::new()) };
        rules.rewrites.extend([deep, stop, last]);
        rules.rewriting.push("shop".into());
        for (path, expected) in [
            ("/x", moved(301, "/root")),
            ("/shop/a", moved(301, "/shop/b")),
            ("/shop/c", None),
            ("/shop/d", moved(301, "/shop/e")),
            ("/shop/x", None),
            ("/shopping", moved(301, "/root")),
        ] {
            assert_eq!(rules.answer(&Asked { path, ..ASKED }, |_| false), expected, "{path}");
        }
    }

    #[test]
    fn what_only_perl_has_is_not_understood() {
        for expression in ["^(?!a)", "(a)\\1", "(", "a{1000}{1000}{1000}"] {
            assert!(Pattern::new(expression, false).is_none(), "{expression}");
        }
        assert!(Template::parse("https://%{ENV:X}/", true).is_none());
        assert_eq!(Template::parse("100%", true), Some(Template::literal("100%")));
    }
}
