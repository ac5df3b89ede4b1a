//! Texts with places to fill: where a rule sends, and what a condition looks at.

use std::borrow::Cow;
use std::fmt::Write as _;

use super::pattern::Groups;
use super::{Asked, Lies, Look};

/// A text with places to fill.
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
    Variable(Variable),
}

/// What a request is known by.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Variable {
    /// The host and port asked for.
    Host,
    /// The host without the port.
    Name,
    /// The decoded path, as this round of rewriting found it.
    Path,
    Query,
    Method,
    /// The file that the path leads to, by its whole path.
    File,
    /// The document root.
    Root,
    /// `on` or `off`
    Https,
    /// `https` or `http`
    Scheme,
    Address,
    Port,
    Protocol,
    /// `GET /path HTTP/1.1`
    RequestLine,
    Header(String),
    /// What `SetEnv` or an earlier rule has set.
    Own(String),
}

/// What templates are filled with.
pub(super) struct Source<'a> {
    pub(super) asked: &'a Asked<'a>,
    pub(super) look: &'a dyn Look,
    /// The path, where this round of rewriting began.
    pub(super) path: &'a str,
    /// The path that the rules so far have led to.
    pub(super) now: &'a str,
    pub(super) query: &'a str,
    /// What rules have set.
    pub(super) variables: &'a [(String, String)],
    /// The groups of the rule.
    pub(super) found: Option<&'a Groups>,
    /// The groups of the last condition.
    pub(super) last: Option<&'a Groups>,
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
            let next = rest.chars().next();
            let digit = next.and_then(|next| next.to_digit(10));
            let piece = match (first, digit) {
                ('\\', _) if variables && next.is_some_and(|next| !next.is_ascii_alphanumeric()) => {
                    plain.extend(next);
                    rest = &rest[next.map_or(0, char::len_utf8)..];
                    continue;
                }
                ('$', Some(digit)) => Piece::Group(digit as usize),
                ('%', Some(digit)) if variables => Piece::ConditionGroup(digit as usize),
                ('%', None) if variables && rest.starts_with('{') => {
                    let end = rest.find('}')?;
                    let name = &rest[1..end];
                    rest = &rest[end..];
                    Piece::Variable(Variable::named(name)?)
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

    /// Whether it leads to another site, or to this one by its whole address.
    #[must_use]
    pub fn is_address(&self) -> bool {
        matches!(self.0.first(), Some(Piece::Text(text))
            if text.starts_with("http://") || text.starts_with("https://"))
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

    /// The part before the first question mark that the file has written, and the part behind it.
    #[must_use]
    pub fn split_query(self) -> (Self, Option<Self>) {
        let mut before = Vec::new();
        let mut pieces = self.0.into_iter();
        while let Some(piece) = pieces.next() {
            if let Piece::Text(text) = &piece
                && let Some((path, query)) = text.split_once('?')
            {
                before.push(Piece::Text(path.to_owned()));
                let query = std::iter::once(Piece::Text(query.to_owned())).chain(pieces).collect();
                return (Self(before), Some(Self(query)));
            }
            before.push(piece);
        }
        (Self(before), None)
    }

    /// Filled, as it is.
    pub(super) fn fill(&self, source: &Source<'_>) -> String {
        let mut out = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Group(n) => out.push_str(group(source.found, *n)),
                Piece::ConditionGroup(n) => out.push_str(group(source.last, *n)),
                Piece::Variable(variable) => out.push_str(&variable.of(source)),
            }
        }
        out
    }

    /// Filled, so that it may stand in a `Location`. None when the host that goes into it is none.
    pub(super) fn location(&self, source: &Source<'_>) -> Option<String> {
        let mut out = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => escape_into(&mut out, text, true),
                Piece::Group(n) => escape_into(&mut out, group(source.found, *n), false),
                Piece::ConditionGroup(n) => escape_into(&mut out, group(source.last, *n), false),
                Piece::Variable(Variable::Host | Variable::Name) if !is_plain_host(source.asked.host) => {
                    return None;
                }
                Piece::Variable(variable) => {
                    escape_into(&mut out, &variable.of(source), *variable == Variable::Query);
                }
            }
        }
        Some(one_site(out))
    }
}

fn group(groups: Option<&Groups>, n: usize) -> &str {
    groups.map_or("", |groups| groups.get(n))
}

impl Variable {
    fn named(name: &str) -> Option<Self> {
        if let Some(header) = name.strip_prefix("HTTP:") {
            return Some(Self::Header(header.to_ascii_lowercase()));
        }
        if let Some(own) = name.strip_prefix("ENV:") {
            return Some(Self::Own(own.to_owned()));
        }
        Some(match name {
            "HTTP_HOST" => Self::Host,
            "SERVER_NAME" => Self::Name,
            "REQUEST_URI" => Self::Path,
            "QUERY_STRING" => Self::Query,
            "REQUEST_METHOD" => Self::Method,
            "REQUEST_FILENAME" | "SCRIPT_FILENAME" => Self::File,
            "DOCUMENT_ROOT" | "CONTEXT_DOCUMENT_ROOT" => Self::Root,
            "HTTPS" => Self::Https,
            "REQUEST_SCHEME" => Self::Scheme,
            "REMOTE_ADDR" | "REMOTE_HOST" | "CONN_REMOTE_ADDR" => Self::Address,
            "SERVER_PORT" => Self::Port,
            "SERVER_PROTOCOL" => Self::Protocol,
            "THE_REQUEST" => Self::RequestLine,
            "HTTP_USER_AGENT" => Self::Header("user-agent".into()),
            "HTTP_REFERER" => Self::Header("referer".into()),
            "HTTP_COOKIE" => Self::Header("cookie".into()),
            "HTTP_ACCEPT" => Self::Header("accept".into()),
            "HTTP_FORWARDED" => Self::Header("forwarded".into()),
            _ => return None,
        })
    }

    fn of<'a>(&self, source: &'a Source<'_>) -> Cow<'a, str> {
        let asked = source.asked;
        match self {
            Self::Host => asked.host.into(),
            Self::Name => without_port(asked.host).into(),
            Self::Path => source.path.into(),
            Self::Query => source.query.into(),
            Self::Method => asked.method.into(),
            Self::File => {
                let file = file_of(source.now, source.look);
                format!("{}{}", asked.root, file.trim_end_matches('/')).into()
            }
            Self::Root => asked.root.into(),
            Self::Https => if asked.https == Some(true) { "on" } else { "off" }.into(),
            Self::Scheme => if asked.https == Some(true) { "https" } else { "http" }.into(),
            Self::Address => asked.address.to_string().into(),
            Self::Port => asked.port.to_string().into(),
            Self::Protocol => asked.protocol.into(),
            Self::RequestLine => format!("{} {} {}", asked.method, asked.target, asked.protocol).into(),
            Self::Header(name) => source.look.header(name).into(),
            Self::Own(name) => {
                let own = source.variables.iter().rev().find(|(own, _)| own == name);
                own.map_or("", |(_, value)| value).into()
            }
        }
    }
}

/// The path without what follows a script in it.
fn file_of<'a>(path: &'a str, look: &dyn Look) -> &'a str {
    let mut ends = path.match_indices(".php/").map(|(at, _)| at + 4);
    ends.find(|end| look.lies_at(&path[..*end]) == Lies::File).map_or(path, |end| &path[..end])
}

/// `example.org:8080` → `example.org`
fn without_port(host: &str) -> &str {
    let after_address = host.rfind(']').map_or(0, |at| at + 1);
    host[after_address..].find(':').map_or(host, |at| &host[..after_address + at])
}

fn is_plain_host(host: &str) -> bool {
    !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte))
}

/// `//host` would lead to another site, so a path has one slash before it.
pub(super) fn one_site(location: String) -> String {
    if location.starts_with("//") { format!("/{}", location.trim_start_matches('/')) } else { location }
}

/// Adds `text` so that it may stand in a header. What a client has sent is a part of a path, whatever it holds; what
/// the file says may hold a query, a fragment and escapes.
pub(super) fn escape_into(out: &mut String, text: &str, is_written: bool) {
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
