//! Messages: what a worker script's callback gets as a string and answers with one, and the ways in which that ends. The
//! job runner's side of `message.c`.
//!
//! ```text
//! send ──▶ in the lane ──▶ a worker has it ──▶ answer: Delivered { outcome, hold }
//!              │                │                          └ release: the slot is free again
//!              │ take back      └ this process dies: the next one inherits the message as it is
//!              ▼
//!          not begun
//! ```
//!
//! A message in the lane is kept ([`regie_lane::shell::estate`]): what has become of it stays there until its
//! [`Hold`] is released, which is to be done when the outcome is safe elsewhere.

use std::fmt;
use std::time::Duration;

use bytes::{Buf as _, Bytes};

use crate::call::CallError;
use crate::head::Head;
use crate::queue::Priority;

/// A message to a worker script.
#[derive(Debug, Clone)]
pub struct Message {
    /// What the callback gets.
    pub body: Bytes,
    /// What the sender calls it: in the log, and to whoever inherits it.
    pub id: String,
    /// How long the callback may run; zero for as long as it likes.
    pub time_limit: Duration,
    /// Who goes first when workers are scarce.
    pub priority: Priority,
    /// How long it may wait for a worker, when that is less than the pool's own limit.
    pub patience: Option<Duration>,
}

impl Message {
    /// A message with the usual priority, no time limit, and the pool's limit on waiting.
    #[must_use]
    pub const fn new(id: String, body: Bytes) -> Self {
        Self { body, id, time_limit: Duration::ZERO, priority: Priority::Normal, patience: None }
    }

    pub(crate) fn head(&self) -> Head {
        let mut head = Head::new();
        head.push("REGIE_MESSAGE", "1");
        head.push(ID, &self.id);
        head.push(TIMEOUT_MS, self.time_limit.as_millis().to_string());
        head.push("CONTENT_LENGTH", self.body.len().to_string());
        head
    }
}

pub(crate) const ID: &str = "REGIE_ID";
pub(crate) const TIMEOUT_MS: &str = "REGIE_TIMEOUT_MS";

/// How a callback ended that did not answer.
#[derive(Debug, thiserror::Error)]
pub enum MessageError {
    /// An exception left it; class, message and place. The worker goes on.
    #[error("an exception left the callback: {0}")]
    Exception(String),
    /// It called `exit()`; the status. The script was booted again.
    #[error("the script called exit({0})")]
    Exit(String),
    /// A fatal error; its message. The worker was replaced.
    #[error("a fatal error: {0}")]
    Fatal(String),
    /// It ran longer than it may, and was ended or killed. Where PHP stood, if it came to say so.
    #[error("it ran longer than it may{}{}", if .0.is_empty() { "" } else { ": " }, .0)]
    Timeout(String),
    /// The worker died: a crash, a kill, the machine's memory.
    #[error("the worker died")]
    Died,
    /// It never ran: the message did not come to the worker whole, or no worker was there to take it.
    #[error("it was not begun: {0}")]
    NotBegun(CallError),
    /// What came back is no answer; whether it ran is not known.
    #[error("{0}")]
    Malformed(String),
}

/// What has become of a message.
#[derive(Debug)]
#[must_use]
pub struct Delivered {
    /// What the callback returned, or how it ended.
    pub outcome: Result<Bytes, MessageError>,
    /// Keeps the outcome in the lane.
    pub hold: Hold,
    /// How long it waited for a worker.
    pub waited: Duration,
}

/// Keeps what has become of a message in the lane, for whoever inherits it if this process ends. Dropped without
/// [`Self::release`] it costs a place in the lane for as long as the process lives.
#[derive(Default)]
#[must_use]
pub struct Hold {
    slot: Option<regie_lane::Exchange>,
}

impl fmt::Debug for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hold").field("held", &self.slot.is_some()).finish()
    }
}

impl Hold {
    pub(crate) const fn of(slot: regie_lane::Exchange) -> Self {
        Self { slot: Some(slot) }
    }

    /// The outcome is safe elsewhere: the place in the lane is free.
    pub fn release(self) {
        if let Some(slot) = self.slot {
            slot.release();
        }
    }
}

/// What an answer to a message means.
pub(crate) fn read(mut answer: Bytes) -> Result<Bytes, MessageError> {
    const GOOD: &[u8] = b"Status: 200\r\n\r\n";
    if answer.starts_with(GOOD) {
        answer.advance(GOOD.len());
        return Ok(answer);
    }
    let malformed = |why: &str| MessageError::Malformed(format!("the worker's answer is malformed: {why}"));
    let end = regie_fastcgi::cgi::find_end(&answer).map_err(|error| malformed(&error.to_string()))?;
    let end = end.ok_or_else(|| malformed("it ended within its head"))?;
    let body = answer.split_off(end);
    let head = regie_fastcgi::cgi::parse(&answer).map_err(|error| malformed(&error.to_string()))?;
    let how = head.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case(ENDED)).map(|(_, value)| *value);
    interpret(head.status, how.unwrap_or_default(), body)
}

/// The header that says how a callback ended.
pub(crate) const ENDED: &str = "Regie-Ended";

pub(crate) fn interpret(status: u16, how: &[u8], body: Bytes) -> Result<Bytes, MessageError> {
    let text = || String::from_utf8_lossy(&body).into_owned();
    Err(match (status, how) {
        (200, _) => return Ok(body),
        (500, b"exception") => MessageError::Exception(text()),
        (500, b"exit") => MessageError::Exit(text()),
        (500, b"fatal") => MessageError::Fatal(text()),
        (500, b"timeout") => MessageError::Timeout(text()),
        // Written in the place of a callback that does not come back, before it is killed.
        (504, _) => MessageError::Timeout(String::new()),
        // The body broke off, or the parameters do not fit; the callback was not called.
        (400 | 431, _) => MessageError::NotBegun(CallError::Refused("the message did not come whole")),
        // The pool's apology for a script that does not boot.
        (503, _) => MessageError::NotBegun(CallError::Refused("the application did not start")),
        _ => MessageError::Malformed(format!("the worker answered with status {status}")),
    })
}

/// What an error of the carrier means.
pub(crate) fn lost(error: CallError) -> MessageError {
    match error {
        CallError::Timeout(_) => MessageError::Timeout(String::new()),
        CallError::Died { begun: true } => MessageError::Died,
        CallError::Malformed(why) => MessageError::Malformed(why),
        not_begun => MessageError::NotBegun(not_begun),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_end_is_told_apart() {
        let check = |answer: &'static str, expected: &str| {
            let found = match read(Bytes::from_static(answer.as_bytes())) {
                Ok(body) => format!("ok {}", String::from_utf8_lossy(&body)),
                Err(error) => format!("{error:?}"),
            };
            assert_eq!(found, expected, "{answer:?}");
        };
        check("Status: 200\r\n\r\n{\"do\":\"ack\"}", "ok {\"do\":\"ack\"}");
        check("Status: 200\r\nX: y\r\n\r\nbody", "ok body");
        check("Status: 500\r\nRegie-Ended: exception\r\n\r\nE: m", "Exception(\"E: m\")");
        check("Status: 500\r\nregie-ended: exit\r\n\r\n3", "Exit(\"3\")");
        check("Status: 500\r\nRegie-Ended: fatal\r\n\r\nout of memory", "Fatal(\"out of memory\")");
        check("Status: 500\r\nRegie-Ended: timeout\r\n\r\nhere", "Timeout(\"here\")");
        check("Status: 504 Gateway Timeout\r\n\r\nslow", "Timeout(\"\")");
        check("Status: 400\r\n\r\nbroke off", "NotBegun(Refused(\"the message did not come whole\"))");
        check("Status: 500\r\n\r\n?", "Malformed(\"the worker answered with status 500\")");
        check("Status: 200", "Malformed(\"the worker's answer is malformed: it ended within its head\")");
    }
}
