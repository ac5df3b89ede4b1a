//! What the application says to all of its workers, where the frameworks' own workers look for it: `queue:restart` and
//! `messenger:stop-workers`, `queue:pause`, and Laravel's maintenance mode.
//!
//! The place is a cache of whatever kind, so a worker is asked, each second after its last answer, and at once when a group has
//! its first worker again. Of groups without workers nobody is asked: a question would bring one. The question waits
//! its turn behind the jobs that were handed out before it; when all workers are busy with long ones, the pool may
//! start another worker for it. While nobody answers, what was said last holds.
//!
//! A restart is a new generation of the workers, as with `regie reload`: they drain, and new code is read, which a
//! worker that merely began anew would not do under opcache.

use std::path::PathBuf;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use regie_queue::shell::executor::{Executor as _, PoolExecutor};
use regie_queue::shell::runner::Handle;
use regie_supervisor::{Client, Reply, Request};
use serde::Deserialize;

use crate::output;

/// How often a worker is asked.
const EACH: Duration = Duration::from_secs(1);

/// The program of the runners.
const JOBS: &str = "jobs";

/// A worker that does not answer for so long hangs in its cache.
const LIMIT: Duration = Duration::from_secs(30);

/// Who is told.
pub(super) struct Audience {
    /// The supervisor's folder.
    pub(super) run_dir: PathBuf,
    /// The programs of the workers.
    pub(super) programs: Vec<String>,
    /// The runners.
    pub(super) groups: Vec<Group>,
    /// What the application's queues were known by when the runners were started.
    pub(super) fingerprint: Option<String>,
}

/// A runner, with what it works on.
pub(super) struct Group {
    pub(super) runner: Handle,
    /// Its workers.
    pub(super) asked: PoolExecutor,
    /// As `redis:default`.
    pub(super) queues: Vec<String>,
    /// Whether its jobs run in maintenance mode.
    pub(super) maintenance: bool,
}

#[derive(Debug, Deserialize, PartialEq, Eq)]
struct Said {
    /// When a restart was asked for last.
    restart: Option<String>,
    /// Whether that was after the worker's boot.
    old: bool,
    /// Queues that are to be left alone.
    paused: Vec<String>,
    /// Whether the application is in maintenance mode.
    down: bool,
    /// Changes with the configuration of its queues.
    #[serde(default)]
    fingerprint: Option<String>,
}

/// Asks for as long as it is polled.
pub(super) async fn listen(audience: Audience) {
    let queues: Vec<&String> = audience.groups.iter().flat_map(|group| &group.queues).collect();
    let question = Bytes::from(serde_json::json!({ "kind": "signals", "queues": queues }).to_string() + "\n");
    let mut known: Option<Said> = None;
    loop {
        wait(&audience.groups).await;
        let Some(executor) =
            audience.groups.iter().map(|group| &group.asked).find(|asked| asked.workers() > 0)
        else {
            continue;
        };
        let answer = executor.ask(question.clone(), LIMIT).await;
        let Some(said) = answer.ok().and_then(|answer| serde_json::from_slice::<Said>(&answer).ok()) else {
            audience.groups.iter().for_each(|group| group.runner.hold(None));
            continue;
        };
        if asks_for_restart(known.as_ref(), &said) {
            output::note("jobs: the application asks its workers to restart");
            let (run_dir, names) = (audience.run_dir.clone(), audience.programs.clone());
            // It ends when the old ones have drained.
            tokio::task::spawn_blocking(move || reload(&run_dir, names));
        }
        for group in &audience.groups {
            let down = said.down && !group.maintenance;
            let held = group.queues.iter().filter(|queue| down || said.paused.contains(queue));
            group.runner.hold(Some(held.cloned().collect()));
        }
        if is_other(&audience.fingerprint, known.as_ref(), &said) {
            output::note(
                "jobs: the application's queues are configured in another way; the runner starts anew",
            );
            let run_dir = audience.run_dir.clone();
            // It ends with this process.
            tokio::task::spawn_blocking(move || restart(&run_dir));
            return;
        }
        known = Some(said);
    }
}

/// Until it is time to ask, or a runner wants to know.
async fn wait(groups: &[Group]) {
    let mut woken: Vec<_> = groups.iter().map(|group| Box::pin(group.asked.is_to_listen())).collect();
    let any = std::future::poll_fn(|context| {
        let is_woken = woken.iter_mut().any(|group| group.as_mut().poll(context).is_ready());
        if is_woken { Poll::Ready(()) } else { Poll::Pending }
    });
    tokio::select! {
        () = tokio::time::sleep(EACH) => {}
        () = any => {}
    }
}

/// A worker that was booted later does not know of what was said before, so what counts is that it changes.
fn asks_for_restart(known: Option<&Said>, said: &Said) -> bool {
    known.map_or(said.old, |known| known.restart != said.restart)
}

/// Whether the queues are not those that the runners were started for. Workers of two generations may answer for a while, so
/// it has to be said twice.
fn is_other(started: &Option<String>, known: Option<&Said>, said: &Said) -> bool {
    let is_other = |said: &Said| said.fingerprint.is_some() && said.fingerprint != *started;
    started.is_some() && is_other(said) && known.is_some_and(|known| known.fingerprint == said.fingerprint)
}

fn restart(run_dir: &std::path::Path) {
    let request = Request::Restart { names: vec![JOBS.to_owned()], wait: false };
    match Client::connect(run_dir).and_then(|mut client| client.ask(&request)) {
        Ok(Reply::Error { message, .. }) => output::error(format_args!("jobs: {message}")),
        Ok(_) => {}
        Err(fault) => output::error(format_args!("jobs: the runner cannot be started anew: {fault}")),
    }
}

fn reload(run_dir: &std::path::Path, names: Vec<String>) {
    let reply =
        Client::connect(run_dir).and_then(|mut client| client.ask(&Request::Reload { names, wait: true }));
    match reply {
        Ok(Reply::Done { results }) => {
            for result in results.iter().filter(|result| !result.ok) {
                output::error(format_args!("jobs: {}: {}", result.name, result.detail));
            }
        }
        Ok(Reply::Error { message, .. }) => output::error(format_args!("jobs: {message}")),
        Ok(_) => {}
        Err(fault) => output::error(format_args!("jobs: the workers cannot be restarted: {fault}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_queues_are_told_twice() {
        let said = |fingerprint: Option<&str>| Said {
            restart: None,
            old: false,
            paused: Vec::new(),
            down: false,
            fingerprint: fingerprint.map(str::to_owned),
        };
        for (started, known, now, expected) in [
            (Some("a"), Some("a"), Some("a"), false),
            (Some("a"), Some("a"), Some("b"), false),
            (Some("a"), Some("b"), Some("b"), true),
            (Some("a"), Some("b"), Some("c"), false),
            (Some("a"), Some("b"), Some("a"), false),
            (Some("a"), None, None, false),
            (None, Some("b"), Some("b"), false),
        ] {
            let started = started.map(str::to_owned);
            let found = is_other(&started, Some(&said(known)), &said(now));
            assert_eq!(found, expected, "{started:?} {known:?} {now:?}");
        }
    }

    #[test]
    fn a_restart_is_asked_for_once() {
        let said = |restart: &str, old| Said {
            restart: Some(restart.to_owned()).filter(|text| !text.is_empty()),
            old,
            paused: Vec::new(),
            down: false,
            fingerprint: None,
        };
        for (known, now, expected) in [
            (None, said("", false), false),
            (None, said("5", false), false),
            (None, said("5", true), true),
            (Some(said("5", true)), said("5", true), false),
            (Some(said("5", true)), said("6", false), true),
            (Some(said("", false)), said("6", true), true),
            (Some(said("6", true)), said("6", false), false),
        ] {
            assert_eq!(asks_for_restart(known.as_ref(), &now), expected, "{known:?} {now:?}");
        }
    }
}
