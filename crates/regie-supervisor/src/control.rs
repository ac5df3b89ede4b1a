//! The control line: what is said over the supervisor's Unix socket.
//!
//! One JSON object per line, each way. A client sends a [`Request`] and reads [`Reply`] lines until one for which
//! [`Reply::is_last`] holds; then it may send the next. Unknown fields and commands are errors, so that a slip
//! is seen. `start`, `stop`, `restart`, `reload` and `scale` answer when it is done, unless `wait` is false.
//!
//! ```text
//! → {"do":"restart","names":["php:*"]}
//! ← {"reply":"done","results":[{"name":"php:web","ok":true,"detail":"running"}]}
//! → {"do":"logs","names":[],"tail":2,"follow":true}
//! ← {"reply":"line","time_ms":1795246042123,"name":"gateway","stream":"out","text":"…"}
//! ```
//!
//! Limits, so that a client hurts only itself: [`MAX_REQUEST`], [`MAX_CLIENTS`], [`MAX_UNSENT`], [`IDLE_LIMIT`].

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The version of this protocol; a client that speaks another is told so.
pub const PROTOCOL: u32 = 1;
/// Bytes of one request line. Past it: an error, and the connection is closed.
pub const MAX_REQUEST: usize = 64 << 10;
/// Connections at a time. Past it a new one gets an error and is closed.
pub const MAX_CLIENTS: usize = 64;
/// Bytes that wait for a client to read them. Past it a follower's lines are dropped and counted; any other
/// client is cut off.
pub const MAX_UNSENT: usize = 4 << 20;
/// A client that has asked nothing for so long is cut off (a follower or one that waits for an answer is not).
pub const IDLE_LIMIT: Duration = Duration::from_secs(60);

/// What a client asks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// Are you there? Answered with [`Reply::Pong`].
    Ping {},
    /// Rows of what matches; no names: all. Answered with [`Reply::Status`].
    Status {
        /// Names, `group:*`, globs, or `all`.
        #[serde(default)]
        names: Vec<String>,
    },
    /// Change nothing; answer when what is to run does, has ended, or cannot (`regie up -d` waits so).
    Wait {
        /// Names, `group:*`, globs; empty: all.
        #[serde(default)]
        names: Vec<String>,
    },
    /// Start what matches, and what it depends on. Also takes a program out of FATAL.
    Start {
        /// Names, `group:*`, globs, or `all`.
        names: Vec<String>,
        /// Answer when done rather than at once.
        #[serde(default = "yes")]
        wait: bool,
    },
    /// Stop what matches, dependants first.
    Stop {
        /// Names, `group:*`, globs, or `all`.
        names: Vec<String>,
        /// Answer when done rather than at once.
        #[serde(default = "yes")]
        wait: bool,
    },
    /// Stop all that matches, then start it.
    Restart {
        /// Names, `group:*`, globs, or `all`.
        names: Vec<String>,
        /// Answer when done rather than at once.
        #[serde(default = "yes")]
        wait: bool,
    },
    /// Without names: read the configuration again, apply what changed, and reload what holds code. With names:
    /// reload these by their strategy.
    Reload {
        /// Names, `group:*`, globs; empty: the whole configuration.
        #[serde(default)]
        names: Vec<String>,
        /// Answer when done rather than at once.
        #[serde(default = "yes")]
        wait: bool,
    },
    /// Change the number of processes (or the workers of a pool). Holds until the row itself changes.
    Scale {
        /// One program.
        name: String,
        /// How many.
        to: u32,
        /// Answer when done rather than at once.
        #[serde(default = "yes")]
        wait: bool,
    },
    /// Send a signal to the main process of what matches.
    Signal {
        /// Names, `group:*`, globs, or `all`.
        names: Vec<String>,
        /// `HUP`, `SIGUSR1` ….
        signal: String,
    },
    /// Recent lines, oldest first, as [`Reply::Line`]s; then [`Reply::End`], or with `follow` every new line.
    Logs {
        /// Names, `group:*`, globs, workers of a pool (`workers:default_00`); empty: all.
        #[serde(default)]
        names: Vec<String>,
        /// At most so many of the recent lines; `None`: all that are kept.
        #[serde(default)]
        tail: Option<usize>,
        /// Go on with new lines until the client leaves.
        #[serde(default)]
        follow: bool,
        /// Only lines at or after this time (Unix, milliseconds).
        #[serde(default)]
        since_ms: Option<u64>,
        /// Only lines that contain this text.
        #[serde(default)]
        grep: Option<String>,
    },
    /// Open the log files again (after they were moved away).
    ReopenLogs {},
    /// Stop everything and end. Answered when draining begins; the connection closes at the end.
    Shutdown {
        /// Do not wait for what was begun.
        #[serde(default)]
        fast: bool,
    },
}

const fn yes() -> bool {
    true
}

/// What the supervisor answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "snake_case")]
pub enum Reply {
    /// To `ping`.
    Pong {
        /// The supervisor's process.
        pid: u32,
        /// [`PROTOCOL`].
        protocol: u32,
        /// The program's version, as given in the settings.
        version: String,
    },
    /// To `status`.
    Status(Overview),
    /// What came of a command, name by name.
    Done {
        /// In table order.
        results: Vec<NameResult>,
    },
    /// Nothing was done.
    Error {
        /// What kind, for scripts.
        kind: ErrorKind,
        /// What happened and what to do.
        message: String,
    },
    /// A line of output.
    Line(LogLine),
    /// No more lines.
    End {},
}

impl Reply {
    /// Whether the answer to a request ends with this line.
    #[must_use]
    pub const fn is_last(&self) -> bool {
        !matches!(self, Self::Line(_))
    }
}

/// Kinds of refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// Not a request.
    BadRequest,
    /// No program matches.
    NoSuchName,
    /// The configuration has faults; nothing was changed.
    InvalidConfiguration,
    /// It cannot be scaled, or not so far.
    CannotScale,
    /// All is being stopped.
    ShuttingDown,
    /// A limit of the control line was passed.
    TooMuch,
}

/// What came of a command for one instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NameResult {
    /// The instance.
    pub name: String,
    /// Whether it is as was asked.
    pub ok: bool,
    /// How it stands now, or why not.
    pub detail: String,
}

/// The answer to `status`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Overview {
    /// The supervisor's process.
    pub pid: u32,
    /// The program's version, as given in the settings.
    pub version: String,
    /// Since the supervisor's start.
    pub uptime_ms: u64,
    /// `running`, `draining`, `cutting` or `stopped`.
    pub phase: String,
    /// The supervisor's own resident memory in bytes.
    pub memory: u64,
    /// One row per instance, in table order.
    pub rows: Vec<StatusRow>,
}

/// One instance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StatusRow {
    /// `php:web`, or `queue_00` when the program has several processes.
    pub name: String,
    /// The program's name.
    pub program: String,
    /// The program's group.
    pub group: Option<String>,
    /// Where it stands.
    pub state: State,
    /// The main process.
    pub pid: Option<u32>,
    /// Since the main process was started.
    pub uptime_ms: Option<u64>,
    /// How often it was started again after it ended by itself, failed to start or was too large.
    pub restarts: u64,
    /// How the last process ended: `exit 1`, `SIGKILL`.
    pub exit: Option<String>,
    /// Bytes held by its tree (proportional set size), as of the last reading.
    pub memory: Option<u64>,
    /// Processor time of its tree since the last reading, in percent of one processor.
    pub cpu_percent: Option<f64>,
    /// Counts reloads, from 1; 0: never started.
    pub generation: u32,
    /// Older generations that still drain.
    pub draining: Vec<u32>,
    /// `waits for store`, `exited too quickly`, what the program says of itself (`STATUS=`), …
    pub description: String,
}

/// The state of an instance. Meanings are those of Supervisor, with readiness in place of `startsecs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum State {
    /// Stopped by command, or never started.
    Stopped,
    /// Started (or waiting for what it depends on), not ready yet.
    Starting,
    /// Ready.
    Running,
    /// Ended or failed to start; waits for the next start.
    Backoff,
    /// Told to stop.
    Stopping,
    /// Ended by itself, and is to stay so.
    Exited,
    /// Failed to start too often. Only a command starts it again.
    Fatal,
}

impl State {
    /// The state in the word that `status` shows.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stopped => "STOPPED",
            Self::Starting => "STARTING",
            Self::Running => "RUNNING",
            Self::Backoff => "BACKOFF",
            Self::Stopping => "STOPPING",
            Self::Exited => "EXITED",
            Self::Fatal => "FATAL",
        }
    }
}

/// A line that a program wrote, or that the supervisor says about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// When it was read: Unix time in milliseconds.
    pub time_ms: u64,
    /// The instance.
    pub name: String,
    /// Where it came from.
    pub stream: Stream,
    /// Without the line feed; bytes that are not UTF-8 are replaced.
    pub text: String,
}

/// Where a line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stream {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
    /// The supervisor itself.
    Event,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_short_to_write_and_slips_are_seen() {
        for (line, expected) in [
            (r#"{"do":"ping"}"#, Some(Request::Ping {})),
            (r#"{"do":"status"}"#, Some(Request::Status { names: vec![] })),
            (
                r#"{"do":"stop","names":["all"]}"#,
                Some(Request::Stop { names: vec!["all".into()], wait: true }),
            ),
            (r#"{"do":"reload","wait":false}"#, Some(Request::Reload { names: vec![], wait: false })),
            (r#"{"do":"shutdown"}"#, Some(Request::Shutdown { fast: false })),
            (r#"{"do":"stop"}"#, None),
            (r#"{"do":"status","nmaes":[]}"#, None),
            (r#"{"do":"dance"}"#, None),
            ("[]", None),
        ] {
            assert_eq!(serde_json::from_str(line).ok(), expected, "{line}");
        }
    }

    #[test]
    fn replies_come_back_as_they_were() {
        let line = LogLine { time_ms: 1, name: "a".into(), stream: Stream::Err, text: "é\n\"".into() };
        for reply in [
            Reply::End {},
            Reply::Line(line),
            Reply::Error { kind: ErrorKind::NoSuchName, message: "no".into() },
            Reply::Done {
                results: vec![NameResult { name: "a".into(), ok: true, detail: "running".into() }],
            },
        ] {
            let text = serde_json::to_string(&reply).unwrap();
            assert!(!text.contains('\n'));
            assert_eq!(serde_json::from_str::<Reply>(&text).unwrap(), reply, "{text}");
        }
    }
}
