//! What the drivers of tables share: the journal of leases, waiting for work, and lengths that are counted rarely.
//!
//! What a runner has leased is kept in a [`Journal`], because a row cannot say it. A database says nothing when a job
//! comes: SQLite's file is watched, a server is asked every 50 ms while its queues are empty.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use tokio::sync::{Mutex, MutexGuard};
use tokio::time::{sleep, timeout};

use super::clock::now;
use super::driver::{Fault, Sizes};
use super::file_watch::FileWatch;
use super::journal::Journal;
use super::sql::{Row, Server, Target, Value};

/// How often a server is asked for work while there is none.
const ASK: Duration = Duration::from_millis(50);

/// How long SQLite's file is watched before the queues are looked at anyway: a delayed job changes nothing when its
/// time comes.
const WATCH: Duration = Duration::from_secs(1);

/// Counting may take one part in so many of the time.
const COUNT_SHARE: u32 = 20;

/// The queue in which jobs lie that killed their workers. No worker is told to look there.
const PARKED: &str = "regie:parked:";

/// A table of jobs, and what its driver remembers.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) server: Server,
    /// Its name as it stands in statements.
    pub(super) name: String,
    journal_path: PathBuf,
    journal: Mutex<Option<Journal>>,
    watch: Option<FileWatch>,
    counted: Mutex<Vec<(String, Count)>>,
}

/// The lengths of a queue, and when they are counted again.
#[derive(Debug, Clone, Copy)]
struct Count {
    sizes: Sizes,
    again: Instant,
}

impl Table {
    /// The table `name` of `target`. Nothing is connected yet.
    pub(super) fn new(target: &Target, name: &str, journal_path: PathBuf) -> Self {
        let server = Server::new(target);
        let watch = match target {
            Target::Sqlite(path) => FileWatch::new(path).ok(),
            _ => None,
        };
        Self {
            name: server.table(name),
            server,
            journal_path,
            journal: Mutex::default(),
            watch,
            counted: Mutex::default(),
        }
    }

    /// The journal, opened when it is first needed.
    pub(super) async fn journal(&self) -> Result<Opened<'_>, Fault> {
        let mut journal = self.journal.lock().await;
        if journal.is_none() {
            *journal = Some(Journal::open(&self.journal_path).map_err(|fault| self.unwritten(&fault))?);
        }
        Ok(Opened(journal))
    }

    /// Why nothing can be leased while the journal cannot be written.
    pub(super) fn unwritten(&self, fault: &std::io::Error) -> Fault {
        let why = if fault.kind() == std::io::ErrorKind::WouldBlock {
            "another runner works with it".to_owned()
        } else {
            fault.to_string()
        };
        Fault::Unreachable { address: self.journal_path.display().to_string(), why }
    }

    /// Returns the place of the first of `queues` that has a row for which `condition` holds, with the values that it
    /// has for that queue.
    pub(super) async fn wait(
        &self,
        queues: &[String],
        condition: &str,
        values: impl Fn(&str) -> Vec<Value> + Send,
    ) -> Result<Option<usize>, Fault> {
        let select = format!("SELECT 1 FROM {} WHERE {condition} LIMIT 1", self.name);
        loop {
            // Before looking: what changes while one looks is not missed.
            self.watch.as_ref().inspect(|watch| watch.forget());
            for (at, queue) in queues.iter().enumerate() {
                if !self.server.rows(&select, &values(queue)).await?.is_empty() {
                    return Ok(Some(at));
                }
            }
            match &self.watch {
                Some(watch) => drop(timeout(WATCH, watch.changed()).await),
                None => sleep(ASK).await,
            }
        }
    }

    /// The lengths of `queue` with what a tick leaves out: what is parked, and the moment of the oldest job that
    /// waits, as `oldest` selects it.
    pub(super) async fn all_sizes(
        &self,
        queue: &str,
        column: &str,
        conditions: [&str; 3],
        values: &[Value],
        oldest: &str,
    ) -> Result<(Sizes, Option<Value>), Fault> {
        self.counted.lock().await.retain(|(name, _)| name != queue);
        let mut sizes = self.sizes(queue, column, conditions, values).await?;
        let parked =
            format!("SELECT {} FROM {} WHERE {column} = ?", self.server.number("COUNT(*)"), self.name);
        let found = self.server.rows(&parked, &[parked_queue(queue)]).await?;
        sizes.parked = found.first().map_or(0, |row| u64::try_from(row[0].number()).unwrap_or(0));
        let oldest = format!("SELECT {oldest} FROM {} WHERE {} AND {column} = ?", self.name, conditions[0]);
        let row = self.server.rows(&oldest, &[values[0].clone(), queue.into()]).await?.pop();
        let oldest = row.and_then(|row| row.into_iter().next()).filter(|value| *value != Value::Null);
        Ok((sizes, oldest))
    }

    /// The lengths of `queue`: what the three `conditions` count in its rows, waiting, delayed and reserved. Where
    /// counting is slow, lengths of a while ago.
    pub(super) async fn sizes(
        &self,
        queue: &str,
        column: &str,
        conditions: [&str; 3],
        values: &[Value],
    ) -> Result<Sizes, Fault> {
        let mut counted = self.counted.lock().await;
        let known = counted.iter().position(|(name, _)| name == queue);
        if let Some(known) = known
            && now() < counted[known].1.again
        {
            return Ok(counted[known].1.sizes);
        }
        let begun = now();
        let count = |condition: &str| {
            self.server.number(&format!("COALESCE(SUM(CASE WHEN {condition} THEN 1 ELSE 0 END), 0)"))
        };
        let select =
            format!("SELECT {} FROM {} WHERE {column} = ?", conditions.map(count).join(", "), self.name);
        let values: Vec<Value> = values.iter().cloned().chain([queue.into()]).collect();
        let row: Row = self.server.rows(&select, &values).await?.pop().unwrap_or_default();
        let number = |at: usize| u64::try_from(row.get(at).map_or(0, Value::number)).unwrap_or(0);
        let sizes = Sizes { waiting: number(0), delayed: number(1), reserved: number(2), ..Sizes::default() };
        let count = Count { sizes, again: now() + begun.elapsed() * COUNT_SHARE };
        match known {
            Some(known) => counted[known].1 = count,
            None => counted.push((queue.to_owned(), count)),
        }
        Ok(sizes)
    }
}

/// Where what is taken out of `queue` lies.
pub(super) fn parked_queue(queue: &str) -> Value {
    Value::Text(format!("{PARKED}{queue}"))
}

/// The journal while a step needs it.
pub(super) struct Opened<'t>(MutexGuard<'t, Option<Journal>>);

impl std::ops::Deref for Opened<'_> {
    type Target = Journal;

    fn deref(&self) -> &Journal {
        self.0.as_ref().expect("it was opened")
    }
}

impl std::ops::DerefMut for Opened<'_> {
    fn deref_mut(&mut self) -> &mut Journal {
        self.0.as_mut().expect("it was opened")
    }
}

/// A condition for rows that are not leased by this runner. When the database was away for longer than a lease lasts,
/// its own leases look ended, while its workers have the jobs, or have done them.
pub(super) fn but_for(journal: &Journal) -> String {
    if journal.live().is_empty() {
        return String::new();
    }
    let ids: Vec<i64> = journal.live().keys().copied().collect();
    format!(" AND id NOT IN ({})", list(&ids))
}

/// Numbers of rows for a statement. They are few and numbers, so they are written out.
pub(super) fn list(ids: &[i64]) -> String {
    ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

pub(super) fn seconds(span: Duration) -> i64 {
    i64::try_from(span.as_secs()).unwrap_or(i64::MAX)
}
