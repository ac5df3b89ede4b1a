//! Who runs jobs: a pool of PHP workers, or in tests anything that answers messages.

use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use regie_pool::{Blame, Body, Call, CallError, Head, Pool};

use crate::desk::Ending;
use crate::message::{self, Reason, Told};

/// A message on its way to a worker.
#[derive(Debug, Clone)]
pub struct Message {
    /// Names the lease: what a worker leaves behind when the runner dies is found by it.
    pub id: String,
    /// Header line and payload.
    pub body: Bytes,
    /// How long the worker may take; zero for no limit.
    pub timeout: Duration,
}

/// What came back.
#[derive(Debug, Clone)]
pub struct Report {
    /// How it ended.
    pub ending: Ending,
    /// What the worker told.
    pub told: Told,
    /// How long the worker had it, when that is known.
    pub evidence: Option<String>,
}

/// See the module.
pub trait Executor: Send + Sync {
    /// Has a worker handle `message`.
    fn run(&self, message: Message) -> Pin<Box<dyn Future<Output = Report> + Send + '_>>;

    /// Workers that are there.
    fn workers(&self) -> usize;
}

/// A pool of ours.
#[derive(Debug, Clone)]
pub struct PoolExecutor {
    pool: Pool,
}

impl PoolExecutor {
    /// Runs messages in `pool`.
    #[must_use]
    pub const fn new(pool: Pool) -> Self {
        Self { pool }
    }

    /// Asks a worker something that is no job and needs no record. The answer's body, or what went wrong.
    ///
    /// # Errors
    /// When no worker answers, or with what the script ended with.
    pub async fn ask(&self, body: Bytes, timeout: Duration) -> Result<Bytes, String> {
        let message = Message { id: "-".to_owned(), body, timeout };
        let answer = self.pool.call(call(message)).await.map_err(|fault| fault.to_string())?;
        let status = answer.status;
        let body = answer.body.collect().await.map_err(|fault| fault.to_string())?.to_bytes();
        if status.is_success() { Ok(body) } else { Err(String::from_utf8_lossy(&body).into_owned()) }
    }
}

fn call(message: Message) -> Call {
    let mut head = Head::new();
    head.push("REGIE_MESSAGE", "1");
    head.push("REGIE_ID", &message.id);
    head.push("REGIE_TIMEOUT_MS", message.timeout.as_millis().to_string());
    head.push("CONTENT_LENGTH", message.body.len().to_string());
    Call::new(head, Body::Full(message.body))
}

impl Executor for PoolExecutor {
    fn run(&self, message: Message) -> Pin<Box<dyn Future<Output = Report> + Send + '_>> {
        Box::pin(async move {
            match self.pool.call(call(message)).await {
                Err(fault) => lost(&fault),
                Ok(answer) => {
                    let (status, headers) = (answer.status.as_u16(), answer.headers);
                    match answer.body.collect().await {
                        Err(fault) => lost(&fault),
                        Ok(body) => {
                            let how = headers.get("regie-ended").and_then(|value| value.to_str().ok());
                            read(status, how.unwrap_or_default(), &body.to_bytes())
                        }
                    }
                }
            }
        })
    }

    fn workers(&self) -> usize {
        self.pool.counts().workers
    }
}

/// What the pool's error means for the job.
fn lost(fault: &CallError) -> Report {
    let ending = match (fault, fault.blame()) {
        (CallError::Died { begun: false }, _) | (_, Blame::Pool | Blame::Client) => Ending::NotBegun,
        (_, Blame::Time) => Ending::Died(Reason::Timeout),
        (_, Blame::Worker) => Ending::Died(Reason::Killed),
    };
    Report { ending, told: Told::default(), evidence: Some(fault.to_string()) }
}

/// What a worker's answer means. Status and `Regie-Ended` are the pool's words for how the script's callback ended.
fn read(status: u16, how: &str, body: &[u8]) -> Report {
    const EVIDENCE_MAX: usize = 16 * 1024;
    if status == 200
        && let Some(outcome) = message::decode(body)
    {
        return Report { ending: Ending::Said(outcome.verdict), told: outcome.told, evidence: None };
    }
    let text = String::from_utf8_lossy(&body[..body.len().min(EVIDENCE_MAX)]);
    let (ending, evidence) = match (status, how) {
        (200, _) => (Ending::Died(Reason::Killed), format!("the answer cannot be read: {text}")),
        (400, _) => (Ending::NotBegun, text.into_owned()),
        (504, _) | (_, "timeout") => (Ending::Died(Reason::Timeout), text.into_owned()),
        (_, "exit") => (Ending::Died(Reason::Killed), format!("it called exit({text})")),
        (_, "") => (Ending::Died(Reason::Killed), format!("status {status}: {text}")),
        (_, how) => (Ending::Died(Reason::Killed), format!("{how}: {text}")),
    };
    Report { ending, told: Told::default(), evidence: Some(evidence) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Verdict;

    #[test]
    fn each_end_is_told_apart() {
        let check = |status, how, body: &str, expected| {
            assert_eq!(read(status, how, body.as_bytes()).ending, expected, "{status} {how} {body}");
        };
        let (killed, timeout) = (Ending::Died(Reason::Killed), Ending::Died(Reason::Timeout));
        check(200, "", r#"{"do":"ack"}"#, Ending::Said(Verdict::Ack));
        check(200, "", "", killed);
        check(500, "exit", "3", killed);
        check(500, "fatal", "out of memory", killed);
        check(500, "timeout", "Maximum request time exceeded", timeout);
        check(504, "", "", timeout);
        check(400, "", "the message broke off", Ending::NotBegun);
        assert_eq!(lost(&CallError::Died { begun: false }).ending, Ending::NotBegun);
        assert_eq!(lost(&CallError::Died { begun: true }).ending, killed);
        assert_eq!(lost(&CallError::Timeout(Duration::from_secs(1))).ending, timeout);
        assert_eq!(lost(&CallError::QueueFull(9)).ending, Ending::NotBegun);
    }
}
