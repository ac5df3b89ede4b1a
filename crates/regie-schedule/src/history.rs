//! What became of each run.

use serde::{Deserialize, Serialize};

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// It ended with exit code 0.
    Done,
    /// It did not.
    Failed {
        /// `exit code 2`, `killed by SIGKILL`, an exception.
        why: String,
    },
    /// It was not started: a run before it had not ended, another machine runs it, its own conditions said no.
    Skipped {
        /// Which of these.
        why: String,
    },
}

/// One run of a task. Times are Unix milliseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// The task.
    pub task: String,
    /// When it was started.
    pub started_ms: u64,
    /// How long it took.
    pub took_ms: u64,
    /// How it ended.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// What it wrote, the last [`OUTPUT_MAX`] bytes.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub output: String,
}

/// How much of a run's output is kept.
pub const OUTPUT_MAX: usize = 64 << 10;
