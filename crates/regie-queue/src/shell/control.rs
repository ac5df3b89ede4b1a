//! What `regie queue` asks a running jobs role: one line of JSON over a Unix socket, one line back. Who speaks HTTP instead
//! (`GET /metrics`) gets all numbers as OpenMetrics text.
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
use super::driver::{Change, Driver, Listed, Shelf};
use super::metrics;
use super::pauses::Pauses;
use super::runner::{GroupStats, Handle};
use crate::payload;
use crate::record::{Run, Wanted};
use crate::search::Sought;

/// A question is one short line.
const QUESTION_MAX: u64 = 64 * 1024;

/// Jobs that one answer lists.
const LIST_MAX: usize = 1_000;

/// Jobs that one step looks at: a few milliseconds of the server's time.
const SLICE: usize = 2_000;

/// Steps for one answer. Who wants more asks again, so that nobody waits for it.
const STEPS_MAX: usize = 20;

/// A question.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "lowercase")]
pub enum Question {
    /// Every queue with its numbers.
    Stats,
    /// The same as OpenMetrics text.
    Metrics,
    /// The jobs that lie at workers.
    Work,
    /// The jobs of a queue.
    List {
        /// Which queue.
        queue: String,
        /// `waiting`, `delayed`, `reserved` or `parked`.
        state: String,
        /// How many at most.
        limit: usize,
        /// Which.
        #[serde(flatten)]
        sought: Sought,
        /// Where the answer before has stopped.
        #[serde(default)]
        from: Option<String>,
    },
    /// Drops jobs that wait, or lets them run now; a part of the queue with each question.
    Change {
        /// The queue.
        queue: String,
        /// `waiting`, `delayed` or `parked`.
        state: String,
        /// Which.
        #[serde(flatten)]
        sought: Sought,
        /// Where the answer before has stopped.
        #[serde(default)]
        from: Option<String>,
        /// What is to become of them.
        change: Change,
    },
    /// Stops a job that a worker has in hand.
    Cancel {
        /// Its id.
        id: String,
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
    let mut read = BufReader::new(read.take(QUESTION_MAX));
    read.read_line(&mut line).await?;
    if line.starts_with("GET ") {
        // Read to the end of its head, as closing on what is unread would take the answer along.
        while line.trim_end() != "" {
            line.clear();
            if read.read_line(&mut line).await? == 0 {
                break;
            }
        }
        return write.write_all(&desk.scraped().await).await;
    }
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
            Question::Stats => Ok(self.stats().await),
            Question::Work => {
                let mut jobs = Vec::new();
                for runner in &self.runners {
                    jobs.extend(runner.at_work().await);
                }
                Ok(json!({ "jobs": jobs }))
            }
            Question::Metrics => Ok(json!({ "page": metrics::page(&self.groups().await) })),
            Question::List { queue, state, limit, sought, from } => {
                self.list(&queue, &state, limit.min(LIST_MAX), &sought, from).await
            }
            Question::Change { queue, state, sought, from, change } => {
                self.change(&queue, &state, &sought, from, change).await
            }
            Question::Cancel { id } => {
                for runner in &self.runners {
                    if let Some(found) = runner.cancel(&id).await {
                        return Ok(
                            json!({ "lease": found.lease, "group": found.group, "queue": found.queue }),
                        );
                    }
                }
                Ok(json!({ "lease": null }))
            }
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

    async fn stats(&self) -> Value {
        json!({ "groups": self.groups().await, "foreign": self.foreign })
    }

    async fn groups(&self) -> Vec<GroupStats> {
        let mut groups = Vec::new();
        for runner in &self.runners {
            groups.extend(runner.stats().await);
        }
        // The runner's own look is up to a second old.
        for queue in groups.iter_mut().flat_map(|group| &mut group.queues) {
            let Some(served) = self.queues.get(&queue.queue) else { continue };
            if let Ok(sizes) = served.driver.sizes(&served.name).await {
                queue.waiting = sizes.waiting;
                queue.delayed = sizes.delayed;
                queue.reserved = sizes.reserved;
                queue.parked = Some(sizes.parked);
                queue.oldest_s = sizes.oldest_s;
            }
        }
        groups
    }

    /// An answer to a scraper: whatever it asks for, it gets the numbers.
    async fn scraped(&self) -> Vec<u8> {
        let page = metrics::page(&self.groups().await);
        let length = page.len();
        let kind = metrics::CONTENT_TYPE;
        format!(
            "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{page}"
        )
        .into_bytes()
    }

    async fn list(
        &self,
        queue: &str,
        state: &str,
        limit: usize,
        sought: &Sought,
        mut from: Option<String>,
    ) -> Result<Value, String> {
        let shelf = shelf(state)?;
        let (name, served) = self.find(queue)?;
        // Few are asked for, as a rule: then few are read.
        let slice = if sought.is_all() { limit.clamp(1, SLICE) } else { SLICE };
        let mut jobs: Vec<Value> = Vec::new();
        for _ in 0..STEPS_MAX {
            let walked = served.driver.walk(&served.name, shelf, from.clone(), slice).await;
            let walked = walked.map_err(|fault| fault.to_string())?;
            let found = walked.jobs.iter().filter(|(handle, job)| is_sought(sought, handle, job));
            jobs.extend(found.take(limit - jobs.len()).map(|(handle, job)| listed(handle, job)));
            from = walked.next;
            if from.is_none() || jobs.len() >= limit {
                break;
            }
        }
        Ok(json!({ "queue": name, "state": state, "jobs": jobs, "next": from }))
    }

    async fn change(
        &self,
        queue: &str,
        state: &str,
        sought: &Sought,
        mut from: Option<String>,
        change: Change,
    ) -> Result<Value, String> {
        let shelf = shelf(state)?;
        let (name, served) = self.find(queue)?;
        let mut count = 0;
        for _ in 0..STEPS_MAX {
            let walked = served.driver.walk(&served.name, shelf, from.clone(), SLICE).await;
            let walked = walked.map_err(|fault| fault.to_string())?;
            let found = walked.jobs.iter().filter(|(handle, job)| is_sought(sought, handle, job));
            let handles: Vec<_> = found.map(|(handle, _)| handle.clone()).collect();
            let changed = if handles.is_empty() {
                0
            } else {
                let changed = served.driver.change(&served.name, shelf, from.clone(), handles, change).await;
                changed.map_err(|fault| fault.to_string())?
            };
            count += changed;
            // Where jobs have gone, others have moved up: the same part is looked at once more.
            if changed == 0 || change == Change::Ready && shelf == Shelf::Waiting {
                from = walked.next;
                if from.is_none() {
                    return Ok(json!({ "queue": name, "count": count, "done": true }));
                }
            }
        }
        Ok(json!({ "queue": name, "count": count, "done": false, "next": from }))
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

fn shelf(state: &str) -> Result<Shelf, String> {
    match state {
        "waiting" => Ok(Shelf::Waiting),
        "delayed" => Ok(Shelf::Delayed),
        "reserved" => Ok(Shelf::Reserved),
        "parked" => Ok(Shelf::Parked),
        other => Err(format!("\"{other}\" is none of waiting, delayed, reserved, parked")),
    }
}

/// What a server knows a job by, where that is an id for people: a row's number, an entry of a stream.
fn known_by(handle: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(handle).ok()?;
    (text.len() <= 40 && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-')).then_some(text)
}

fn is_sought(sought: &Sought, handle: &[u8], job: &Listed) -> bool {
    sought.has(&String::from_utf8_lossy(&job.payload), known_by(handle))
}

fn listed(handle: &[u8], job: &Listed) -> Value {
    let text = String::from_utf8_lossy(&job.payload);
    let read = payload::read(&text);
    let read = read.as_ref();
    json!({
        "id": read.and_then(|read| read.id).or_else(|| known_by(handle)),
        "class": read.and_then(|read| read.class).map(payload::class_name),
        "attempts": read.and_then(|read| read.attempts.as_ref()).map(|(count, _)| *count),
        "at": job.at,
        "reason": job.reason,
        "payload": text,
    })
}
