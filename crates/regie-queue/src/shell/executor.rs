//! Who runs jobs: a pool of PHP workers, or in tests anything that answers messages.
//!
//! An outcome stays in the lane until the runner has settled it with the queue's server ([`Report::hold`]), so a runner
//! that is killed leaves nothing undecided: its successor finds each of its messages as not begun, running, answered
//! or died.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use regie_pool::{Delivered, Heirloom, Hold, MessageError, Pool, PoolSettings};
use tokio::sync::Notify;

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
#[derive(Debug)]
pub struct Report {
    /// How it ended.
    pub ending: Ending,
    /// What the worker told.
    pub told: Told,
    /// Why it ended badly, in the pool's or the script's words.
    pub evidence: Option<String>,
    /// How long it lay at the pool before a worker took it.
    pub waited: Duration,
    /// Keeps the outcome for a successor, until it is released.
    pub hold: Hold,
}

/// A report that is still to come.
pub type Coming<'a> = Pin<Box<dyn Future<Output = Report> + Send + 'a>>;

/// A message of a runner that is gone.
pub struct Inherited {
    /// As it was named.
    pub id: String,
    /// What becomes of it; none when no worker has begun it.
    pub report: Option<Coming<'static>>,
}

impl std::fmt::Debug for Inherited {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inherited").field("id", &self.id).field("begun", &self.report.is_some()).finish()
    }
}

/// See the module.
pub trait Executor: Send + Sync {
    /// Has a worker handle `message`.
    fn run(&self, message: Message) -> Coming<'_>;

    /// Workers that are there.
    fn workers(&self) -> usize;

    /// So many workers are wished for; none for as many as lie there ask for.
    fn wish(&self, _count: Option<usize>) {}

    /// There is work for a group that had no worker: what the application says to its workers has not been heard for a while.
    fn listen(&self) {}

    /// The workers have enough to do for longer than this: what they answer may be noticed so much later.
    fn nap(&self, _span: Duration) {}
}

/// A pool of ours.
#[derive(Debug, Clone)]
pub struct PoolExecutor {
    pool: Pool,
    listens: Arc<Notify>,
}

impl PoolExecutor {
    /// Runs messages in the pool of these settings, and tells what a runner before this one has left there.
    #[must_use]
    pub fn start(settings: PoolSettings) -> (Self, Vec<Inherited>) {
        let (pool, heirlooms) = Pool::start_as_heir(settings);
        let inherited = |heirloom: Heirloom| Inherited {
            id: heirloom.id,
            report: heirloom
                .sent
                .map(|sent| -> Coming<'static> { Box::pin(async move { report(sent.answer().await) }) }),
        };
        (Self { pool, listens: Arc::default() }, heirlooms.into_iter().map(inherited).collect())
    }

    /// Ends when the runner wants to know what the application says to its workers.
    pub async fn is_to_listen(&self) {
        self.listens.notified().await;
    }

    /// Asks a worker something that is no job and needs no record.
    ///
    /// # Errors
    /// When no worker answers, or with what the script ended with.
    pub async fn ask(&self, body: Bytes, timeout: Duration) -> Result<Bytes, String> {
        let mut asked = regie_pool::Message::new("-".to_owned(), body);
        asked.time_limit = timeout;
        let delivered = self.pool.message(asked).await;
        delivered.hold.release();
        delivered.outcome.map_err(|fault| fault.to_string())
    }
}

impl Executor for PoolExecutor {
    fn run(&self, message: Message) -> Coming<'_> {
        Box::pin(async move {
            let mut sent = regie_pool::Message::new(message.id, message.body);
            sent.time_limit = message.timeout;
            report(self.pool.message(sent).await)
        })
    }

    fn workers(&self) -> usize {
        self.pool.counts().workers
    }

    fn wish(&self, count: Option<usize>) {
        self.pool.wish(count);
    }

    fn listen(&self) {
        self.listens.notify_one();
    }

    fn nap(&self, span: Duration) {
        self.pool.nap(span);
    }
}

fn report(delivered: Delivered) -> Report {
    let (ending, told, evidence) = read(delivered.outcome);
    Report { ending, told, evidence, waited: delivered.waited, hold: delivered.hold }
}

/// What the pool's word means for the job.
fn read(outcome: Result<Bytes, MessageError>) -> (Ending, Told, Option<String>) {
    const EVIDENCE_MAX: usize = 16 * 1024;
    let fault = match outcome {
        Ok(body) => match message::decode(&body) {
            Some(outcome) => return (Ending::Said(outcome.verdict), outcome.told, None),
            None => {
                let text = String::from_utf8_lossy(&body[..body.len().min(EVIDENCE_MAX)]);
                let evidence = format!("the answer cannot be read: {text}");
                return (Ending::Died(Reason::Killed), Told::default(), Some(evidence));
            }
        },
        Err(fault) => fault,
    };
    let ending = match &fault {
        MessageError::NotBegun(_) => Ending::NotBegun,
        MessageError::Timeout(_) => Ending::Died(Reason::Timeout),
        _ => Ending::Died(Reason::Killed),
    };
    (ending, Told::default(), Some(fault.to_string()))
}

#[cfg(test)]
mod tests {
    use regie_pool::CallError;

    use super::*;
    use crate::message::Verdict;

    #[test]
    fn each_end_is_told_apart() {
        let check = |outcome, expected| assert_eq!(read(outcome).0, expected);
        let (killed, timeout) = (Ending::Died(Reason::Killed), Ending::Died(Reason::Timeout));
        check(Ok(Bytes::from_static(br#"{"do":"ack"}"#)), Ending::Said(Verdict::Ack));
        check(Ok(Bytes::new()), killed);
        check(Err(MessageError::Exit("3".into())), killed);
        check(Err(MessageError::Fatal("out of memory".into())), killed);
        check(Err(MessageError::Died), killed);
        check(Err(MessageError::Timeout(String::new())), timeout);
        check(Err(MessageError::NotBegun(CallError::QueueFull(9))), Ending::NotBegun);
    }
}
