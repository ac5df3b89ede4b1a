//! `Redirect` and `RedirectMatch`: addresses that lead elsewhere, whatever lies there.

use super::template::{Source, escape_into, one_site};
use super::{Answer, Asked, Look, Pattern, Query, Template, TooHard};

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

impl Redirect {
    pub(super) fn answer(&self, asked: &Asked<'_>, look: &dyn Look) -> Result<Option<Answer>, TooHard> {
        let (found, rest) = match &self.from {
            From::Prefix(prefix) => {
                let Some(rest) = asked.path.strip_prefix(prefix.as_str()) else { return Ok(None) };
                if !(rest.is_empty() || rest.starts_with('/') || prefix.ends_with('/')) {
                    return Ok(None);
                }
                (None, rest)
            }
            From::Pattern(pattern) => match pattern.captures(asked.path)? {
                Some(found) => (Some(found), ""),
                None => return Ok(None),
            },
        };
        let Some(to) = &self.to else { return Ok(Some(Answer { status: self.status, location: None })) };
        let source = Source {
            asked,
            look,
            path: asked.path,
            now: asked.path,
            query: asked.query,
            variables: &[],
            found: found.as_ref(),
            last: None,
        };
        Ok(to.location(&source).map(|mut location| {
            escape_into(&mut location, rest, false);
            let location = with_query(one_site(location), asked.query, Query::Keep);
            Answer { status: self.status, location: Some(location) }
        }))
    }
}

/// The location with the query that was asked for, as the rule wants it.
pub(super) fn with_query(mut location: String, query: &str, rule: Query) -> String {
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
