//! `regie move`: jobs, sessions and cached values from one of the application's own connections to another, and back.
//!
//! Every move takes the same steps, of which each may be asked again after a kill:
//!
//! 1. The application is asked what its connections are; both ends have to answer before anything is changed.
//! 2. The move is written down ([`record`]), so that one that was killed is gone on with and none is begun beside it.
//! 3. With `--write-env`, `.env` names the new connection ([`dotenv`]) and what runs is reloaded. Jobs and cached values
//!    are moved after that, so that nothing is left behind by those who wrote until then; sessions before it, so that no
//!    visitor comes to an empty one, and after it once more those that were used in between.
//! 4. `--rollback` does the same with the ends exchanged, and restores `.env`.
//!
//! One move at a time: a lock in the state folder is held.

pub(crate) mod script;

mod dotenv;
mod progress;
mod queue;
mod record;
mod symfony;

use std::fs::File;

use nix::fcntl::{Flock, FlockArg};
use regie_config::values::Framework;
use regie_core::Exit;
use regie_supervisor::{Client, ClientError, ErrorKind, Reply, Request};
use serde_json::{Value, json};

use self::dotenv::Change;
use self::record::Record;
use crate::cli::{Ends, Move};
use crate::commands::run;
use crate::output;
use crate::programs;
use crate::site::{Place, Site};
use crate::time;

/// Dispatching is measured with so many jobs.
const DISPATCHES: usize = 100;

/// What is moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Queue,
    Sessions,
    Cache,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::Sessions => "sessions",
            Self::Cache => "cache",
        }
    }

    /// Laravel's file and key that name the connection in use, and the variable that they usually read.
    const fn configured(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Queue => ("config/queue.php", "default", "QUEUE_CONNECTION"),
            Self::Sessions => ("config/session.php", "driver", "SESSION_DRIVER"),
            Self::Cache => ("config/cache.php", "default", "CACHE_STORE"),
        }
    }
}

/// A move that is being made.
struct Moving<'a> {
    place: &'a Place,
    site: Site,
    kind: Kind,
    record: Record,
    json: bool,
    /// What `--json` prints at the end.
    told: serde_json::Map<String, Value>,
}

/// `regie move …`.
pub(crate) fn moving(place: &Place, asked: &Move) -> Exit {
    let (kind, ends, queues) = match asked {
        Move::Queue { ends, queues } => (Kind::Queue, ends, queues.as_slice()),
        Move::Sessions(ends) => (Kind::Sessions, ends, &[][..]),
        Move::Cache(ends) => (Kind::Cache, ends, &[][..]),
    };
    match act(place, kind, ends, queues) {
        Ok(exit) => exit,
        Err(Fault { exit, what }) => {
            output::error(what);
            exit
        }
    }
}

/// What kept it from being done.
#[derive(Debug)]
pub(crate) struct Fault {
    exit: Exit,
    what: String,
}

impl Fault {
    fn usage(what: impl Into<String>) -> Self {
        Self { exit: Exit::Usage, what: what.into() }
    }

    fn failed(what: impl Into<String>) -> Self {
        Self { exit: Exit::Failed, what: what.into() }
    }

    fn unavailable(what: impl Into<String>) -> Self {
        Self { exit: Exit::Unavailable, what: what.into() }
    }
}

fn act(place: &Place, kind: Kind, ends: &Ends, queues: &[String]) -> Result<Exit, Fault> {
    let mut site = place.read(None).map_err(|faults| Fault::usage(faults.to_string()))?;
    match site.loaded.application.framework {
        Framework::Laravel => {}
        Framework::Symfony => symfony::refuse(kind)?,
        _ => {
            return Err(Fault::usage(
                "regie move knows Laravel's connections and Symfony's transports and sessions; this application is neither",
            ));
        }
    }
    site.make_folders().map_err(|fault| Fault::failed(fault.to_string()))?;
    run::become_user(&site).map_err(|fault| Fault::failed(fault.to_string()))?;
    let _lock = lock(&site)?;
    let record = if ends.rollback {
        Record::back(&site, kind.name())?
    } else {
        let (from, to) = (ends.from.clone().unwrap_or_default(), ends.to.clone().unwrap_or_default());
        Record::forth(&site, kind.name(), from, to, queues)?
    };
    if record.from == record.to {
        return Err(Fault::usage(format!("{} is where it is: name two connections", record.from)));
    }
    // An application that has not named its Redis yet is led to the store as it will be then.
    let (_, _, usual) = kind.configured();
    let as_if: Vec<(String, String)> = [&record.to, &record.from]
        .iter()
        .filter(|name| ***name == "redis")
        .map(|name| (usual.to_owned(), (*name).clone()))
        .collect();
    let is_symfony = symfony::is_symfony(&site);
    if !is_symfony && let Ok(future) = place.read_as_if(None, &as_if) {
        site = future;
    }
    let mut moving = Moving { place, site, kind, record, json: ends.json, told: serde_json::Map::new() };
    let (from, to) = (symfony::shown(&moving.record.from), symfony::shown(&moving.record.to));
    moving.say(format_args!("{}: {from} → {to}", kind.name()));
    match kind {
        Kind::Queue if is_symfony => moving.messages(ends)?,
        Kind::Sessions if is_symfony => moving.symfony_sessions(ends)?,
        Kind::Queue => moving.queue(ends)?,
        Kind::Sessions => moving.sessions(ends)?,
        Kind::Cache => moving.cache(ends)?,
    }
    moving.end(ends)?;
    Ok(Exit::Done)
}

/// Two moves would each take the other's for one that was killed.
fn lock(site: &Site) -> Result<Flock<File>, Fault> {
    let path = site.state_dir().join("move.lock");
    let file = File::options().write(true).create(true).truncate(false).open(&path);
    let file = file.map_err(|fault| Fault::failed(format!("cannot open {}: {fault}", path.display())))?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|_| Fault {
        exit: Exit::TryAgain,
        what: "another regie move is at work here; it can be asked again when that has ended".to_owned(),
    })
}

impl Moving<'_> {
    /// A line for people.
    fn say(&self, line: impl std::fmt::Display) {
        if !self.json {
            output::line(line);
        }
    }

    fn tell(&mut self, name: &str, value: Value) {
        self.told.insert(name.to_owned(), value);
    }

    /// Jobs: `.env` first, then everything that was dispatched until then.
    fn queue(&mut self, ends: &Ends) -> Result<(), Fault> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|fault| Fault::failed(fault.to_string()))?;
        let application = script::describe(&self.site, &[])?;
        let (source, target) = {
            let _entered = runtime.enter();
            queue::depots(&application, &self.record)?
        };
        let planned = runtime.block_on(queue::plan(&source, &target, &self.record))?;
        let before = script::dispatch(&self.site, &self.record.from, DISPATCHES)?;
        self.dispatch("before", before);
        self.record.begin(&self.site)?;
        self.switch(ends)?;
        let moved = runtime.block_on(queue::run(&source, &target, &planned, &application, &self.record))?;
        for queue in &moved.queues {
            self.say(queue);
        }
        if moved.queues.is_empty() {
            self.say("no jobs wait there");
        }
        self.say(&moved.failed);
        self.tell("queues", Value::Array(moved.queues.iter().map(queue::QueueMoved::json).collect()));
        self.tell("failed", json!(moved.failed.changed));
        let after = script::dispatch(&self.site, &self.record.to, DISPATCHES)?;
        self.dispatch("after", after);
        self.compare(before, after);
        let left: u64 = moved.queues.iter().map(|queue| queue.moved.reserved).sum();
        if left > 0 {
            self.say(format_args!(
                "{left} job{} in the hands of workers there and will end there; what those put back is moved by asking again",
                if left == 1 { " is" } else { "s are" }
            ));
        }
        Ok(())
    }

    fn dispatch(&mut self, when: &str, times: Option<script::Times>) {
        let Some(times) = times else { return };
        let of = if when == "before" { &self.record.from } else { &self.record.to };
        self.say(format_args!("dispatch on {of}: {times}"));
        self.tell(&format!("dispatch_{when}"), json!({ "p50_us": times.p50_us, "p99_us": times.p99_us }));
    }

    fn compare(&self, before: Option<script::Times>, after: Option<script::Times>) {
        if let (Some(before), Some(after)) = (before, after)
            && after.p50_us > 0
        {
            let ratio = before.p50_us as f64 / after.p50_us as f64;
            self.say(format_args!("dispatch takes 1/{ratio:.1} of the time it took"));
        }
    }

    /// Sessions: all of them first, then `.env`, then those that were used meanwhile.
    fn sessions(&mut self, ends: &Ends) -> Result<(), Fault> {
        let begun = time::now_ms() / 1000;
        let first = script::copy(&self.site, "sessions", &self.record, &["0"])?;
        self.record.begin(&self.site)?;
        self.say(format_args!(
            "{} copied, {} younger there already, {} had ended",
            first["copied"], first["younger"], first["ended"]
        ));
        self.tell("first", first);
        if self.switch(ends)? {
            let second = script::copy(&self.site, "sessions", &self.record, &[&begun.to_string()])?;
            self.say(format_args!("{} of them were used meanwhile and copied again", second["copied"]));
            self.tell("second", second);
        }
        Ok(())
    }

    /// Cached values: `.env` first, because what the application forgets must not come back from the other side.
    fn cache(&mut self, ends: &Ends) -> Result<(), Fault> {
        script::look(&self.site, &self.record)?;
        self.record.begin(&self.site)?;
        self.switch(ends)?;
        let done = script::copy(&self.site, "cache", &self.record, &[])?;
        self.say(format_args!(
            "{} values and {} locks copied, {} were there already, {} had ended",
            done["copied"], done["locks"], done["there"], done["ended"]
        ));
        let tagged = done["tagged"].as_u64().unwrap_or_default();
        if tagged > 0 {
            self.say(format_args!(
                "{tagged} with tags are left: a tag that is cleared would not find their copies"
            ));
        }
        let unreadable = done["unreadable"].as_u64().unwrap_or_default();
        if unreadable > 0 {
            self.say(format_args!("{unreadable} are no values of Laravel's and are left"));
        }
        self.tell("cache", done);
        Ok(())
    }

    /// Lets the application use the other side. Whether it was asked to.
    fn switch(&mut self, ends: &Ends) -> Result<bool, Fault> {
        let change = if ends.rollback {
            let Some(written) = self.record.env.clone() else { return Ok(false) };
            written.restore(&self.site)?
        } else if ends.write_env {
            let change = if symfony::is_symfony(&self.site) {
                self.symfony_change()?
            } else {
                Change::of(&self.site, self.kind.configured(), &self.record.to)?
            };
            if let Change::Made(written) = &change {
                // The copy is known before the file is another.
                self.record.env = Some(written.clone());
                self.record.write(&self.site)?;
                written.make(&self.site)?;
            }
            change
        } else {
            return Ok(false);
        };
        match &change {
            Change::None(line) => self.say(symfony::said(line)),
            Change::Made(written) => {
                let diff: Vec<String> = written.diff().iter().map(|line| symfony::said(line)).collect();
                for line in &diff {
                    self.say(line);
                }
                if !ends.rollback {
                    self.say(format_args!("the file as it was: {}", written.backup));
                }
                let told = json!({ "file": written.file, "diff": diff, "backup": written.backup });
                self.tell("env", told);
            }
        }
        // Also where nothing has changed: who was killed between the two has told nobody.
        self.renew_cached()?;
        self.reload()?;
        Ok(true)
    }

    /// A cached configuration does not read `.env`.
    fn renew_cached(&self) -> Result<(), Fault> {
        if !self.site.root().join("bootstrap/cache/config.php").exists() {
            return Ok(());
        }
        let words = ["php", "artisan", "config:cache"].map(str::to_owned);
        let done = run::command(&self.site, programs::jobs_pool(&self.site), &words)
            .and_then(|mut command| command.output());
        match done {
            Ok(done) if done.status.success() => {
                self.say("the cached configuration was made anew");
                Ok(())
            }
            Ok(done) => Err(Fault::failed(format!(
                ".env was changed, but the cached configuration could not be made anew: {}; \
                 run regie artisan config:cache, then regie reload, then this command again",
                String::from_utf8_lossy(&done.stderr).trim()
            ))),
            Err(fault) => Err(Fault::failed(format!("php artisan config:cache cannot be run: {fault}"))),
        }
    }

    /// What runs learns of the change.
    fn reload(&self) -> Result<(), Fault> {
        let failed = |why: String| {
            Fault::failed(format!(
                ".env was changed, but what runs could not be reloaded: {why}; \
                 run regie reload, then this command again"
            ))
        };
        let mut client = match Client::connect(&self.place.run_dir()) {
            Ok(client) => client,
            Err(ClientError::NotRunning(_)) => {
                self.say("Régie does not run here: restart what does (php artisan queue:restart, php-fpm)");
                return Ok(());
            }
            Err(fault) => return Err(failed(output::chain(&fault))),
        };
        let mut requests = vec![Request::Reload { names: Vec::new(), wait: true }];
        if self.kind == Kind::Queue {
            // It has asked the application for its queues before the new workers were there.
            requests.push(Request::Restart { names: vec!["jobs".to_owned()], wait: true });
        }
        for request in requests {
            match client.ask(&request) {
                Ok(Reply::Done { results }) => {
                    if let Some(result) = results.iter().find(|result| !result.ok) {
                        return Err(failed(format!("{}: {}", result.name, result.detail)));
                    }
                }
                // Without workers there is no such program.
                Ok(Reply::Error { kind: ErrorKind::NoSuchName, .. }) => {}
                Ok(Reply::Error { message, .. }) => return Err(failed(message)),
                Ok(_) => return Err(failed("the supervisor gave an answer of another kind".to_owned())),
                Err(fault) => return Err(failed(output::chain(&fault))),
            }
        }
        self.say("what runs was reloaded");
        Ok(())
    }

    fn end(mut self, ends: &Ends) -> Result<(), Fault> {
        if ends.rollback {
            self.record.forget(&self.site)?;
            self.say("everything is as it was before");
        } else {
            self.record.finish(&self.site)?;
            if self.record.env.is_some() {
                self.say(format_args!("back again: regie move {} --rollback", self.kind.name()));
            } else if !ends.write_env && symfony::is_symfony(&self.site) {
                self.say(self.symfony_hint());
            } else if !ends.write_env {
                let (_, _, variable) = self.kind.configured();
                self.say(format_args!(
                    ".env is as it was; {variable}={} there, or --write-env here, lets the application use it",
                    self.record.to
                ));
            }
        }
        if self.json {
            for (name, value) in symfony::ends(&self.record.from, &self.record.to) {
                self.tell(name, value);
            }
            output::line(serde_json::to_string_pretty(&self.told).expect("plain data"));
        }
        Ok(())
    }
}
