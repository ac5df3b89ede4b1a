//! What became of each run.

use serde::{Deserialize, Serialize};

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// It ended with exit code 0.
    Done,
    /// It goes on in the background, and its end is not seen.
    Detached,
    /// It ended otherwise.
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

/// How large the file with the runs may become before it is put aside; the one put aside before goes.
pub const FILE_MAX: u64 = 8 << 20;

/// Keeps the end of what a run writes.
#[derive(Debug, Default)]
pub struct Tail {
    bytes: Vec<u8>,
    is_cut: bool,
}

impl Tail {
    /// Adds `more`.
    pub fn push(&mut self, more: &[u8]) {
        self.bytes.extend_from_slice(more);
        // Not at every byte past the limit: each time, half of what is kept is moved.
        if self.bytes.len() > 2 * OUTPUT_MAX {
            self.cut();
        }
    }

    fn cut(&mut self) {
        if self.bytes.len() > OUTPUT_MAX {
            self.bytes.drain(..self.bytes.len() - OUTPUT_MAX);
            self.is_cut = true;
        }
    }

    /// What was kept. Past the limit it begins with a whole line, where there is one.
    #[must_use]
    pub fn into_text(mut self) -> String {
        self.cut();
        let from = match self.bytes.iter().position(|byte| *byte == b'\n') {
            Some(end) if self.is_cut => end + 1,
            _ => 0,
        };
        String::from_utf8_lossy(&self.bytes[from..]).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_a_line_of_json() {
        let run = Run {
            task: "report".to_owned(),
            started_ms: 7,
            took_ms: 5,
            outcome: Outcome::Failed { why: "exit code 3".to_owned() },
            output: String::new(),
        };
        let line = serde_json::to_string(&run).unwrap();
        let expected =
            r#"{"task":"report","started_ms":7,"took_ms":5,"outcome":"failed","why":"exit code 3"}"#;
        assert_eq!(line, expected);
        assert_eq!(serde_json::from_str::<Run>(expected).unwrap(), run);
    }

    #[test]
    fn only_the_end_of_much_output_is_kept() {
        let mut tail = Tail::default();
        for number in 0..100_000 {
            tail.push(format!("line {number}\n").as_bytes());
        }
        let text = tail.into_text();
        assert!(text.len() <= OUTPUT_MAX && text.len() > OUTPUT_MAX - 16);
        assert!(text.starts_with("line ") && text.ends_with("line 99999\n"));
        let mut short = Tail::default();
        short.push(b"a\nb");
        assert_eq!(short.into_text(), "a\nb");
    }
}
