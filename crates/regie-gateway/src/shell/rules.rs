//! The site's own rules (`.htaccess`): where they lead a request, and what they answer it.
//!
//! Rules compare text. In a path that is no UTF-8 they see U+FFFD, and where they would carry that along, what was asked
//! for is not there.

use std::borrow::Cow;

use http::{HeaderValue, StatusCode, header};
use regie_core::rules::{self, Lies, Look};

use super::body::OutBody;
use super::files::Root;
use super::gateway::{Gateway, Visit};
use super::reply::Reply;
use crate::params::{protocol, split_port};
use crate::route::Found;

/// What the rules look at.
struct Eyes<'a> {
    gateway: &'a Gateway,
    root: &'a Root,
    visit: &'a Visit<'a>,
    /// The path, as text.
    path: &'a str,
}

impl Look for Eyes<'_> {
    fn lies_at(&self, path: &str) -> Lies {
        // The bytes that were asked for, where they are no text.
        let path = if path == self.path { &*self.visit.target.path } else { path.as_bytes() };
        match self.gateway.probe(self.root, path) {
            Found::File => Lies::File,
            Found::Folder => Lies::Folder,
            Found::Nothing => Lies::Nothing,
        }
    }

    fn index_of(&self, folder: &str) -> Option<String> {
        let names = self.gateway.settings.index.iter().map(|name| format!("{folder}{name}"));
        names.into_iter().find(|path| self.lies_at(path) == Lies::File)
    }

    fn header(&self, name: &str) -> &str {
        self.visit.asked.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

impl Gateway {
    /// Takes the request through the rules: they answer it, or lead it to the place of the site that answers.
    pub(super) fn apply_rules(&self, visit: &mut Visit<'_>, root: &Root) -> Option<Reply> {
        let rules = &self.settings.rules;
        // No file has such a name, and a rule would take its slash for one between folders.
        if rules.leave_requests_alone() || visit.target.has_escaped_separator {
            return None;
        }
        let path = visit.target.path_text();
        let eyes = Eyes { gateway: self, root, visit, path: &path };
        let mut outcome = match rules.apply(&asked(visit, &path, &root.path), &eyes) {
            Ok(outcome) => outcome,
            Err(hard) => return Some(self.error(StatusCode::FORBIDDEN, visit, &hard.to_string())),
        };
        let leads_to = |answer: &rules::Answer| answer.location.as_deref().is_some_and(names_unknown);
        let carries_on = outcome.rewritten.as_ref().is_some_and(|to| names_unknown(&to.path));
        if matches!(path, Cow::Owned(_)) && (outcome.answer.as_ref().is_some_and(leads_to) || carries_on) {
            outcome.answer = Some(rules::Answer { status: 404, location: None });
        }
        if let Some(answer) = outcome.answer {
            return Some(self.elsewhere(visit, answer));
        }
        let path = path.into_owned();
        visit.variables = outcome.variables;
        if let Some(to) = outcome.rewritten {
            visit.variables.push(("REDIRECT_URL".to_owned(), path));
            visit.target.rewrite(to.path, to.query);
        }
        None
    }

    /// What the rules answer.
    fn elsewhere(&self, visit: &Visit<'_>, answer: rules::Answer) -> Reply {
        let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::FOUND);
        match answer.location.map(HeaderValue::try_from) {
            Some(Ok(location)) => Reply::new(status, OutBody::Empty).with(header::LOCATION, location),
            // It was escaped; a location that is none all the same leads nowhere.
            Some(Err(_)) => self.error(StatusCode::NOT_FOUND, visit, "the redirect leads nowhere"),
            None => self.error(status, visit, "a rule of .htaccess closes this address"),
        }
    }
}

/// Whether it holds a byte of the path that the rules have not seen, as it is no UTF-8.
fn names_unknown(location: &str) -> bool {
    location.contains("%EF%BF%BD") || location.contains('\u{fffd}')
}

fn asked<'a>(visit: &'a Visit<'_>, path: &'a str, root: &'a str) -> rules::Asked<'a> {
    let host = visit.client.host.as_deref().unwrap_or_else(|| visit.asked.host());
    rules::Asked {
        path,
        query: visit.target.query(),
        target: visit.target.raw,
        host,
        method: visit.asked.method.as_str(),
        protocol: protocol(visit.asked.version),
        https: visit.client.is_scheme_told.then_some(visit.client.https),
        address: visit.client.address,
        port: visit.client.port.or(split_port(host).1).unwrap_or_else(|| visit.ends.local.port()),
        root,
    }
}
