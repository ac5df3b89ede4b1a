//! What `.htaccess` files say: who may see which files, where requests lead, and headers of answers.
//!
//! The configuration reads them, the gateway acts on them:
//!
//! ```text
//! request ─▶ rewrites ─▶ an answer (a redirect, 403, 404, 410 …)
//!                    └─▶ the same or another path ─▶ redirects ─▶ an answer
//!                                                            └─▶ files and scripts that nobody is denied
//! ```
//!
//! Rewrites come before redirects, which look at the address as it was asked for; those of deeper folders are asked
//! first. Paths are decoded and start with a slash; `folder` is empty for the document root, else `a/b`.
//!
//! Whether the client spoke TLS is known only where somebody believed has said so. Where nobody has, a redirect to
//! https stays undone: behind a proxy that is not trusted it would never end.

mod listed;
mod pattern;
mod redirect;
mod rewrite;
mod scope;
mod template;

use std::net::IpAddr;

pub use self::listed::Listed;
pub use self::pattern::Pattern;
pub use self::redirect::{From, Redirect};
pub use self::rewrite::{Condition, Query, ROUNDS_MAX, Rewrite, Rewriting, Test, Then};
pub use self::scope::{Access, AccessRule, Scope};
pub use self::template::Template;

/// All rules of a site.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rules {
    /// Who may see what.
    pub access: Access,
    /// Of each folder that rewrites.
    pub rewriting: Vec<Rewriting>,
    /// Those of deeper folders first.
    pub redirects: Vec<Redirect>,
    /// In the order in which they are applied: those of deeper folders last.
    pub headers: Vec<HeaderRule>,
    /// `SetEnv`: below which folder, the name and the value.
    pub variables: Vec<(String, String, String)>,
}

/// `Header`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderRule {
    /// What is served: files and scripts.
    pub on: Scope,
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
    /// Path and query as they came.
    pub target: &'a str,
    /// The host and port asked for.
    pub host: &'a str,
    /// GET and alike.
    pub method: &'a str,
    /// `HTTP/1.1` and alike.
    pub protocol: &'a str,
    /// Whether the client speaks TLS, as far as anybody believed has said.
    pub https: Option<bool>,
    /// The client's address.
    pub address: IpAddr,
    /// The port that it asked for.
    pub port: u16,
    /// The document root, by its whole path, without a slash at its end.
    pub root: &'a str,
}

/// What rules look at besides.
pub trait Look {
    /// What lies at a path below the document root.
    fn lies_at(&self, path: &str) -> Lies;
    /// The file or script that answers for a folder, whose path ends with a slash.
    fn index_of(&self, folder: &str) -> Option<String>;
    /// The request's header of this name, which is in lower case; empty when there is none.
    fn header(&self, name: &str) -> &str;
}

/// What lies somewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lies {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// Nothing, or nothing that may be seen.
    Nothing,
}

/// What becomes of a request.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outcome {
    /// The rules answer it.
    pub answer: Option<Answer>,
    /// It leads to another place of the site.
    pub rewritten: Option<Rewritten>,
    /// What its script is told besides.
    pub variables: Vec<(String, String)>,
}

/// Another place of the site.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rewritten {
    /// Its path.
    pub path: String,
    /// The query that goes along.
    pub query: String,
}

/// An answer that the rules give.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Where the client is sent; none for a status that leads nowhere.
    pub location: Option<String>,
}

/// A pattern takes too many steps to be compared with what a client has sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a pattern of .htaccess takes too many steps for this address")]
pub struct TooHard;

impl Rules {
    /// Whether requests go through as they came.
    #[must_use]
    pub const fn leave_requests_alone(&self) -> bool {
        self.rewriting.is_empty() && self.redirects.is_empty() && self.variables.is_empty()
    }

    /// What becomes of a request.
    ///
    /// # Errors
    /// When a pattern takes too many steps: then it is not known whether the request is forbidden.
    pub fn apply(&self, asked: &Asked<'_>, look: &dyn Look) -> Result<Outcome, TooHard> {
        let set = self.variables.iter().filter(|(folder, ..)| below(asked.path, folder).is_some());
        let set = set.map(|(_, name, value)| (name.clone(), value.clone())).collect();
        let mut outcome = rewrite::rewrite(&self.rewriting, asked, look, set)?;
        if outcome.answer.is_none() {
            for redirect in &self.redirects {
                outcome.answer = redirect.answer(asked, look)?;
                if outcome.answer.is_some() {
                    break;
                }
            }
        }
        // A rule that leads to where the client is already would never end.
        let here = |answer: &Answer| answer.location.as_deref() == Some(&*address(asked));
        outcome.answer = outcome.answer.filter(|answer| !here(answer));
        Ok(outcome)
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

/// The address that the client asked for, as a redirect would write it.
fn address(asked: &Asked<'_>) -> String {
    let mut out = String::new();
    template::escape_into(&mut out, asked.path, false);
    redirect::with_query(out, asked.query, Query::Keep)
}

#[cfg(test)]
mod tests;
