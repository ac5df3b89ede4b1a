//! What the application says to all of its workers, where the frameworks' own workers look for it: `queue:restart` and
//! `messenger:stop-workers`, `queue:pause`, and Laravel's maintenance mode.
//!
//! The place is a cache of whatever kind, so a worker is asked, each second after its last answer. The question waits
//! its turn behind the jobs that were handed out before it; when all workers are busy with long ones, the pool may
//! start another worker for it. While nobody answers, what was said last holds.
//!
//! A restart is a new generation of the workers, as with `regie reload`: they drain, and new code is read, which a
//! worker that merely began anew would not do under opcache.

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use regie_queue::shell::executor::PoolExecutor;
use regie_queue::shell::runner::Handle;
use regie_supervisor::{Client, Reply, Request};
use serde::Deserialize;

use crate::output;

/// How often a worker is asked.
const EACH: Duration = Duration::from_secs(1);

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
}

/// A runner, with what it works on.
pub(super) struct Group {
    pub(super) runner: Handle,
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
}

/// Asks for as long as it is polled.
pub(super) async fn listen(executor: PoolExecutor, audience: Audience) {
    let queues: Vec<&String> = audience.groups.iter().flat_map(|group| &group.queues).collect();
    let question = Bytes::from(serde_json::json!({ "kind": "signals", "queues": queues }).to_string() + "\n");
    let mut known: Option<Said> = None;
    loop {
        tokio::time::sleep(EACH).await;
        let answer = executor.ask(question.clone(), LIMIT).await;
        let Some(said) = answer.ok().and_then(|answer| serde_json::from_slice::<Said>(&answer).ok()) else {
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
            group.runner.hold(held.cloned().collect());
        }
        known = Some(said);
    }
}

/// A worker that was booted later does not know of what was said before, so what counts is that it changes.
fn asks_for_restart(known: Option<&Said>, said: &Said) -> bool {
    known.map_or(said.old, |known| known.restart != said.restart)
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
    fn a_restart_is_asked_for_once() {
        let said = |restart: &str, old| Said {
            restart: Some(restart.to_owned()).filter(|text| !text.is_empty()),
            old,
            paused: Vec::new(),
            down: false,
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
