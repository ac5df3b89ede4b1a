//! What `regie queue` asks a running jobs role: one line of JSON over a Unix socket, one line back.
//!
//! The server is the truth about what waits, the framework about what has failed; the role knows both and the workers,
//! so it is the one that is asked. Who may connect may clear queues: the socket is the application's user's alone.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};

use super::archive::Archive;
use super::driver::{Driver, Listed, Shelf};
use super::pauses::Pauses;
use super::runner::Handle;
use crate::payload;
use crate::record::{Run, Wanted};

/// A question is one short line.
const QUESTION_MAX: u64 = 64 * 1024;

/// Jobs that one answer lists.
const LIST_MAX: usize = 1_000;

/// A question.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "lowercase")]
pub enum Question {
    /// Every queue with its numbers.
    Stats,
    /// The jobs of a queue.
    List {
        /// Which queue.
        queue: String,
        /// `waiting`, `delayed`, `reserved` or `parked`.
        state: String,
        /// How many at most.
        limit: usize,
    },
    /// Runs from the history.
    Runs {
        /// Which.
        #[serde(flatten)]
        wanted: Wanted,
        /// How many at most.
        limit: usize,
    },
    /// Empties a queue.
    Clear {
        /// Which.
        queue: String,
    },
    /// Stops leasing from a queue, or goes on.
    Pause {
        /// Which.
        queue: String,
        /// Stop, or go on.
        paused: bool,
    },
    /// Puts parked jobs back into their queue, or drops them.
    Parked {
        /// Which queue.
        queue: String,
        /// The job's id; none for all.
        #[serde(default)]
        id: Option<String>,
        /// Put back, or drop.
        retry: bool,
    },
}

/// A queue that can be asked for.
#[derive(Clone)]
pub struct Served {
    /// The queue on its server.
    pub name: String,
    /// Its server.
    pub driver: Arc<dyn Driver>,
}

impl std::fmt::Debug for Served {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Served({})", self.name)
    }
}

/// What questions are answered from.
#[derive(Debug, Default)]
pub struct Desk {
    /// The runners.
    pub runners: Vec<Handle>,
    /// Queues by connection and name, as `redis:default`.
    pub queues: BTreeMap<String, Served>,
    /// Queues that the frameworks' own workers serve, and why.
    pub foreign: Vec<(String, String)>,
    /// What the operator has paused.
    pub pauses: Pauses,
    /// Where runs are written down; without it the runners are asked for what they remember.
    pub archive: Option<Arc<Archive>>,
}

/// Binds the socket, for its owner alone.
///
/// # Errors
/// When it cannot be bound.
pub fn bind(path: &Path) -> std::io::Result<UnixListener> {
    use std::os::unix::fs::PermissionsExt as _;
    match std::fs::remove_file(path) {
        Err(fault) if fault.kind() != std::io::ErrorKind::NotFound => return Err(fault),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Answers for as long as it is polled.
pub async fn serve(listener: UnixListener, desk: Arc<Desk>) {
    loop {
        // Out of descriptors: who asks will ask again.
        let Ok((stream, _)) = listener.accept().await else { continue };
        let desk = desk.clone();
        tokio::spawn(async move {
            // Whoever has gone away needs no answer.
            let _ = converse(stream, &desk).await;
        });
    }
}

async fn converse(stream: UnixStream, desk: &Desk) -> std::io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut line = String::new();
    BufReader::new(read.take(QUESTION_MAX)).read_line(&mut line).await?;
    let answer = match serde_json::from_str(&line) {
        Ok(question) => desk.answer(question).await.unwrap_or_else(|fault| json!({ "error": fault })),
        Err(fault) => json!({ "error": format!("this is no question: {fault}") }),
    };
    let mut bytes = serde_json::to_vec(&answer).unwrap_or_default();
    bytes.push(b'\n');
    write.write_all(&bytes).await
}

impl Desk {
    async fn answer(&self, question: Question) -> Result<Value, String> {
        match question {
            Question::Stats => self.stats().await,
            Question::List { queue, state, limit } => self.list(&queue, &state, limit.min(LIST_MAX)).await,
            Question::Runs { wanted, limit } => self.runs(wanted, limit.min(LIST_MAX)).await,
            Question::Clear { queue } => {
                let (_, served) = self.find(&queue)?;
                let count = served.driver.clear(&served.name).await.map_err(|fault| fault.to_string())?;
                Ok(json!({ "count": count }))
            }
            Question::Pause { queue, paused } => {
                let mut found = Vec::new();
                for runner in &self.runners {
                    found.extend(runner.pause(&queue, paused).await);
                }
                if found.is_empty() {
                    return Err(self.unknown(&queue));
                }
                let kept = self.pauses.set(&found, paused);
                kept.map_err(|fault| {
                    format!("until the next restart only; it cannot be written down: {fault}")
                })?;
                Ok(json!({ "count": found.len() }))
            }
            Question::Parked { queue, id, retry } => {
                let (_, served) = self.find(&queue)?;
                let count = served.driver.unpark(&served.name, id, retry).await;
                Ok(json!({ "count": count.map_err(|fault| fault.to_string())? }))
            }
        }
    }

    async fn stats(&self) -> Result<Value, String> {
        let mut groups = Vec::new();
        for runner in &self.runners {
            groups.extend(runner.stats().await);
        }
        let mut value = json!({ "groups": groups, "foreign": self.foreign });
        // The runner's own look is up to a second old.
        for group in value["groups"].as_array_mut().into_iter().flatten() {
            for queue in group["queues"].as_array_mut().into_iter().flatten() {
                let Some(served) = queue["queue"].as_str().and_then(|name| self.queues.get(name)) else {
                    continue;
                };
                if let Ok(sizes) = served.driver.sizes(&served.name).await {
                    queue["waiting"] = json!(sizes.waiting);
                    queue["delayed"] = json!(sizes.delayed);
                    queue["reserved"] = json!(sizes.reserved);
                    queue["parked"] = json!(sizes.parked);
                    queue["oldest_s"] = json!(sizes.oldest_s);
                }
            }
        }
        Ok(value)
    }

    async fn list(&self, queue: &str, state: &str, limit: usize) -> Result<Value, String> {
        let shelf = match state {
            "waiting" => Shelf::Waiting,
            "delayed" => Shelf::Delayed,
            "reserved" => Shelf::Reserved,
            "parked" => Shelf::Parked,
            other => return Err(format!("\"{other}\" is none of waiting, delayed, reserved, parked")),
        };
        let (name, served) = self.find(queue)?;
        let jobs =
            served.driver.list(&served.name, shelf, 0, limit).await.map_err(|fault| fault.to_string())?;
        Ok(json!({ "queue": name, "state": state, "jobs": jobs.iter().map(listed).collect::<Vec<_>>() }))
    }

    async fn runs(&self, wanted: Wanted, limit: usize) -> Result<Value, String> {
        if let Some(archive) = self.archive.clone() {
            let search = move || (archive.find(&wanted, limit), archive.left_out());
            let (found, left_out) =
                tokio::task::spawn_blocking(search).await.map_err(|fault| fault.to_string())?;
            return Ok(json!({ "runs": found, "left_out": left_out }));
        }
        let mut found: Vec<Run> = Vec::new();
        for runner in &self.runners {
            let wanted = wanted.clone();
            found.extend(runner.find(move |run| wanted.has(run), limit).await);
        }
        found.sort_by_key(|run| std::cmp::Reverse(run.ended_ms));
        found.truncate(limit);
        Ok(json!({ "runs": found }))
    }

    /// The queue of this name; `default` alone will do where no other connection has one.
    fn find(&self, name: &str) -> Result<(&String, &Served), String> {
        if let Some(found) = self.queues.get_key_value(name) {
            return Ok(found);
        }
        let mut same = self.queues.iter().filter(|(_, served)| served.name == name);
        match (same.next(), same.next()) {
            (Some(found), None) => Ok(found),
            _ => Err(self.unknown(name)),
        }
    }

    fn unknown(&self, name: &str) -> String {
        let known: Vec<&str> = self.queues.keys().map(String::as_str).collect();
        format!("there is no queue \"{name}\"; there is {}", known.join(", "))
    }
}

fn listed(job: &Listed) -> Value {
    let text = String::from_utf8_lossy(&job.payload);
    let read = payload::read(&text);
    let read = read.as_ref();
    json!({
        "id": read.and_then(|read| read.id),
        "class": read.and_then(|read| read.class).map(payload::class_name),
        "attempts": read.and_then(|read| read.attempts.as_ref()).map(|(count, _)| *count),
        "at": job.at,
        "reason": job.reason,
        "payload": text,
    })
}
