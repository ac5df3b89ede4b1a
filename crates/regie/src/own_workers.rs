//! The frameworks' own workers, for what Régie does not fetch itself: programs like any other, with a name, a log and a
//! state of their own.
//!
//! Which there are, the application says; it is asked by the jobs role, which writes the answer to
//! `jobs/own-workers.json` of the state folder and has the supervisor read its configuration again when it is another
//! than before. The table of programs reads the file, so that at the next start they are there at once.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use regie_config::workers::Workers;
use regie_queue::application::{Framework, Source};
use regie_supervisor::{Client, Program, Reply, Request, RunAs, Signal, Stop};
use serde::{Deserialize, Serialize};

use crate::programs;
use crate::site::Site;
use crate::workers;

/// How often the supervisor is asked; it may still be starting the others.
const TRIES: u32 = 30;

/// How long to wait before it is asked again.
const AGAIN: Duration = Duration::from_secs(1);

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OwnWorker {
    /// Behind `workers:`.
    name: String,
    /// What PHP is given.
    words: Vec<String>,
    processes: u32,
    /// How long its last job may take after a stop.
    stop_s: u64,
}

impl OwnWorker {
    /// The framework's worker on one queue, with what the group says.
    pub(crate) fn on(framework: Framework, source: &Source, group: &Workers) -> Self {
        let words = match framework {
            Framework::Laravel => {
                let waits: Vec<String> =
                    group.backoff.iter().map(|wait| wait.0.as_secs().to_string()).collect();
                let mut words = vec![
                    "artisan".to_owned(),
                    "queue:work".to_owned(),
                    source.connection.clone(),
                    format!("--queue={}", source.queue),
                    format!("--tries={}", group.tries),
                    format!("--timeout={}", group.timeout.0.as_secs()),
                    format!("--backoff={}", waits.join(",")),
                ];
                words.extend(group.maintenance.then(|| "--force".to_owned()));
                words
            }
            Framework::Symfony => {
                ["bin/console", "messenger:consume", &source.connection].map(str::to_owned).into()
            }
        };
        let name = match framework {
            Framework::Laravel => format!("{}.{}", source.connection, source.queue),
            Framework::Symfony => source.connection.clone(),
        };
        // A queue's name may hold more than a program's: on a cluster it stands in braces.
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, ':' | '.' | '_' | '-' | '@');
        let name = name.chars().map(|c| if allowed(c) { c } else { '_' }).collect();
        Self { name, words, processes: group.min.max(1), stop_s: drain(group) }
    }

    /// Horizon, which starts workers of its own.
    pub(crate) fn horizon() -> Self {
        let words = ["artisan", "horizon"].map(str::to_owned).into();
        Self { name: "horizon".to_owned(), words, processes: 1, stop_s: 60 }
    }

    /// As `regie status` names it.
    pub(crate) fn program_name(&self) -> String {
        workers::program_name(&self.name)
    }

    fn program(&self, site: &Site, run_as: Option<&RunAs>) -> Program {
        let php = site.php().unwrap_or_else(|| "php".into());
        let command = std::iter::once(php.to_string_lossy().into_owned()).chain(self.words.iter().cloned());
        Program {
            group: Some("workers".to_owned()),
            env: programs::child_environment(site),
            cwd: Some(site.root()),
            run_as: run_as.cloned(),
            stop: Stop::new(Signal::SIGTERM, Duration::from_secs(self.stop_s)),
            processes: self.processes,
            holds_code: true,
            ..Program::new(self.program_name(), command)
        }
    }
}

/// A worker that is told to stop ends after its job.
fn drain(group: &Workers) -> u64 {
    programs::drain_limit(group.timeout.0).as_secs() + 5
}

/// Where they are written down.
pub(crate) fn path(site: &Site) -> PathBuf {
    site.state_dir().join("jobs").join("own-workers.json")
}

/// Those that were written down.
fn known(path: &Path) -> Vec<OwnWorker> {
    // What cannot be read is written anew by the jobs role.
    fs::read(path).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default()
}

/// Their rows of the table; none where no group of workers is left.
pub(crate) fn programs(site: &Site, run_as: Option<&RunAs>) -> Vec<Program> {
    if workers::groups(site).is_empty() {
        return Vec::new();
    }
    known(&path(site)).iter().map(|own| own.program(site, run_as)).collect()
}

/// Writes them down. Whether that changes anything.
///
/// # Errors
/// When they cannot be written down.
pub(crate) fn write_down(path: &Path, now: &[OwnWorker]) -> io::Result<bool> {
    if known(path) == now {
        return Ok(false);
    }
    put(path, now)?;
    Ok(true)
}

/// Writes a file of the jobs role in the place of the one before.
///
/// # Errors
/// When it cannot be written.
pub(crate) fn put<T: Serialize + ?Sized>(path: &Path, what: &T) -> io::Result<()> {
    fs::create_dir_all(path.parent().expect("it lies in a folder"))?;
    let beside = path.with_extension("anew");
    fs::write(&beside, serde_json::to_vec_pretty(what)?)?;
    fs::rename(beside, path)
}

/// Has the supervisor start and stop what has changed. It waits for a supervisor that is still starting others.
///
/// # Errors
/// When no supervisor answers.
pub(crate) fn apply(run_dir: &Path) -> io::Result<()> {
    let mut last = String::new();
    for _ in 0..TRIES {
        let request = Request::Reload { names: Vec::new(), wait: false };
        match Client::connect(run_dir).and_then(|mut client| client.ask(&request)) {
            Ok(Reply::Error { message, .. }) => last = message,
            Ok(_) => return Ok(()),
            Err(fault) => last = fault.to_string(),
        }
        std::thread::sleep(AGAIN);
    }
    Err(io::Error::other(last))
}
