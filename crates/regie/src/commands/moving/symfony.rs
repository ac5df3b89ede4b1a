//! Moves of a Symfony application: Messenger's messages and sessions.
//!
//! Ends are transports by their names, or the two values of a variable: a team changes `MESSENGER_TRANSPORT_DSN`, and
//! its transports lead elsewhere. Then the application is asked twice, with either value, and each transport that leads
//! to another place is moved. So a move that was killed finds both ends again, whatever `.env` says meanwhile.

use regie_queue::application::{Application, How};
use regie_queue::mark::Mark;
use regie_queue::shell::moving::Depot;
use serde_json::{Value, json};

use super::dotenv::Change;
use super::{Fault, Kind, Moving, queue, script};
use crate::cli::Ends;
use crate::programs;
use crate::site::Site;
use crate::{output, time, transports};

/// One transport's move.
struct Pair {
    source: Depot,
    target: Depot,
    /// What it is called when it is told.
    name: String,
    count: u64,
}

impl Moving<'_> {
    /// Messages: `.env` first, then everything that was sent until then.
    pub(super) fn messages(&mut self, ends: &Ends) -> Result<(), Fault> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|fault| Fault::failed(fault.to_string()))?;
        let mut pairs = {
            let _entered = runtime.enter();
            self.pairs(ends)?
        };
        for pair in &mut pairs {
            let away = |fault| queue::away(&pair.name, &fault);
            runtime.block_on(pair.target.counts("")).map_err(away)?;
            pair.count = runtime.block_on(pair.source.counts("")).map_err(away)?.0;
        }
        self.record.begin(&self.site)?;
        self.switch(ends)?;
        let (mut told, mut left) = (Vec::new(), 0);
        for pair in &pairs {
            let moved = queue::move_one(&pair.source, &pair.target, &pair.name, pair.count);
            let moved = runtime.block_on(moved)?;
            self.say(&moved);
            left += moved.moved.reserved;
            told.push(moved.json());
        }
        self.tell("queues", Value::Array(told));
        self.say(
            "failed messages stay in the failure transport, which is moved as any other when it is named",
        );
        if left > 0 {
            self.say(format_args!(
                "{left} in the hands of workers there; those end there, and what is left is moved by asking again"
            ));
        }
        Ok(())
    }

    /// What is to be moved to where. Everything there has answered what it is.
    fn pairs(&self, ends: &Ends) -> Result<Vec<Pair>, Fault> {
        let (from, to) = (self.record.from.as_str(), self.record.to.as_str());
        if is_address(from) != is_address(to) {
            return Err(Fault::usage(
                "name two transports, or two addresses of which a variable in .env has one",
            ));
        }
        if is_address(from) {
            let variable = self.variable().ok_or_else(|| {
                Fault::usage(format!(
                    "no variable in .env has the value {} or {}: both ends are written as .env has them",
                    shown(from),
                    shown(to)
                ))
            })?;
            let source = self.described_with(&variable, from)?;
            let target = self.described_with(&variable, to)?;
            let names = source.transports.keys().filter(|name| target.transports.contains_key(*name));
            let pairs = names.filter_map(|name| {
                let (source, target) = (depot(&source, name).ok()?, depot(&target, name).ok()?);
                (!source.is_same(&target)).then(|| Pair { source, target, name: name.clone(), count: 0 })
            });
            let pairs: Vec<Pair> = pairs.collect();
            if pairs.is_empty() {
                return Err(Fault::usage(format!(
                    "{variable} with the one value or the other leads no transport of Redis or Doctrine to another place"
                )));
            }
            return Ok(pairs);
        }
        if ends.write_env {
            return Err(Fault::usage(
                "which transport messages are sent to stands in the application's routing, not in .env: change it \
                 there, then move without --write-env; or name two values of a variable in .env",
            ));
        }
        let application = script::describe(&self.site, &[])?;
        let (source, target) = (depot(&application, from)?, depot(&application, to)?);
        if source.is_same(&target) {
            return Err(Fault::usage(format!(
                "{from} and {to} lead to the same messages: there is nothing to move"
            )));
        }
        Ok(vec![Pair { source, target, name: from.to_owned(), count: 0 }])
    }

    fn described_with(&self, variable: &str, value: &str) -> Result<Application, Fault> {
        let value = self.resolved(variable, value);
        script::describe(&self.site, &[(variable.to_owned(), value)])
    }

    /// An address as the application is given it: a host's name that Régie knows leads where Régie says.
    fn resolved(&self, variable: &str, value: &str) -> String {
        let as_if = [(variable.to_owned(), value.to_owned())];
        let found = self.place.read_as_if(None, &as_if).ok().and_then(|site| {
            let given = programs::child_environment(&site);
            given.into_iter().find(|(name, _)| name == variable).map(|(_, value)| value)
        });
        found.unwrap_or_else(|| value.to_owned())
    }

    /// The variable in `.env` that has one of the two addresses.
    pub(super) fn variable(&self) -> Option<String> {
        let dotenv = &self.site.loaded.dotenv;
        let has = |wanted: &str| {
            let mut names = dotenv.names().filter(|name| dotenv.origin(name) != "the environment");
            names.find(|name| dotenv.get(name) == Some(wanted)).map(str::to_owned)
        };
        let ends = [&self.record.from, &self.record.to];
        ends.into_iter().filter(|end| is_address(end)).find_map(|end| has(end)).or_else(|| {
            // What was changed already is undone where it was changed.
            self.record.env.as_ref().map(|written| written.variable().to_owned())
        })
    }

    /// Sessions: all of them first, then `.env`, then those that were used meanwhile.
    pub(super) fn symfony_sessions(&mut self, ends: &Ends) -> Result<(), Fault> {
        if ends.write_env && self.variable().is_none() {
            return Err(Fault::usage(
                "no variable in .env has one of the two addresses: change framework.session.handler_id, and move \
                 without --write-env",
            ));
        }
        let variable = self.variable();
        let given = |end: &str| {
            // Of the addresses that an application names, those of a Redis and of a database have usual names.
            let usual = if end.starts_with("redis") { "REDIS_URL" } else { "DATABASE_URL" };
            self.resolved(variable.as_deref().unwrap_or(usual), end)
        };
        let from_to = [
            ("REGIE_MOVE_FROM".to_owned(), given(&self.record.from)),
            ("REGIE_MOVE_TO".to_owned(), given(&self.record.to)),
        ];
        let begun = time::now_ms() / 1000;
        let first = script::copy_sessions(&self.site, &from_to, 0)?;
        self.record.begin(&self.site)?;
        self.say(format_args!(
            "{} copied, {} younger there already, {} had ended",
            first["copied"], first["younger"], first["ended"]
        ));
        self.tell("first", first);
        if self.switch(ends)? {
            let second = script::copy_sessions(&self.site, &from_to, begun)?;
            self.say(format_args!("{} of them were used meanwhile and copied again", second["copied"]));
            self.tell("second", second);
        }
        Ok(())
    }

    /// The change of `.env` for a Symfony application.
    pub(super) fn symfony_change(&self) -> Result<Change, Fault> {
        let variable = self.variable().ok_or_else(|| Fault::usage("no variable in .env has this address"))?;
        Change::of_variable(&self.site, &variable, &self.record.to)
    }

    /// What is to be changed by hand where `.env` was left as it is.
    pub(super) fn symfony_hint(&self) -> String {
        match (self.kind, self.variable()) {
            (_, Some(variable)) => {
                format!(
                    ".env is as it was; --write-env here sets {variable} there, so that the application uses it"
                )
            }
            (Kind::Sessions, None) => {
                "the application uses it when framework.session.handler_id names it".to_owned()
            }
            (_, None) => "messages are sent there when framework.messenger.routing says so".to_owned(),
        }
    }
}

fn depot(application: &Application, name: &str) -> Result<Depot, Fault> {
    let sources = application.sources(&[name.to_owned()]).map_err(|fault| Fault::usage(fault.to_string()))?;
    let Some(source) = sources.first() else {
        return Err(Fault::usage(format!("{name} keeps no messages: they are handled where they are sent")));
    };
    if let How::Foreign(why) = &source.how {
        return Err(Fault::usage(format!("the messages of {name} cannot be moved: {why}")));
    }
    let found = application.transports.get(name).expect("it was just found");
    if found.driver == "doctrine" {
        // A mover writes no leases down.
        return Ok(Depot::messages(name, transports::table(application, found, "/dev/null".into())));
    }
    Ok(Depot::stream(name, transports::stream(found, Mark::from_seed(0))))
}

fn is_address(end: &str) -> bool {
    end.contains("://")
}

/// An address without what it keeps secret.
pub(super) fn shown(text: &str) -> String {
    let Some((head, rest)) = text.split_once("://") else { return text.to_owned() };
    let host = rest.find(['/', '?']).unwrap_or(rest.len());
    match rest[..host].rfind('@') {
        Some(at) => format!("{head}://…{}", &rest[at..]),
        None => text.to_owned(),
    }
}

/// A line for people without what it keeps secret.
pub(super) fn said(line: &str) -> String {
    line.split(' ').map(shown).collect::<Vec<_>>().join(" ")
}

/// Whether the application is one of Symfony's.
pub(super) fn is_symfony(site: &Site) -> bool {
    site.loaded.application.framework == regie_config::values::Framework::Symfony
}

/// Refuses what there is no way for, before anything is touched.
pub(super) fn refuse(kind: Kind) -> Result<(), Fault> {
    if kind == Kind::Cache {
        output::note("Symfony's cache pools fill themselves again when they are empty");
        return Err(Fault::usage(
            "regie move cache knows Laravel's cache stores; this application is Symfony's",
        ));
    }
    Ok(())
}

/// What `--json` says of the ends.
pub(super) fn ends(from: &str, to: &str) -> [(&'static str, Value); 2] {
    [("from", json!(shown(from))), ("to", json!(shown(to)))]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_not_shown() {
        for (text, expected) in [
            ("async", "async"),
            ("doctrine://default", "doctrine://default"),
            ("redis://u:p@ss@h:1/messages?x=a@b", "redis://…@h:1/messages?x=a@b"),
            ("-A=redis://:p@h", "-A=redis://…@h"),
        ] {
            assert_eq!(said(text), expected);
        }
    }
}
