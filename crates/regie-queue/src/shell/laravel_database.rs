//! Laravel's `database` driver: the table and meanings of `Illuminate\Queue\DatabaseQueue`.
//!
//! | column | holds |
//! |---|---|
//! | `id` | the order |
//! | `queue`, `payload` | the queue; the job as the framework wrote it, with its attempts at 0 for ever |
//! | `attempts` | the attempts begun |
//! | `reserved_at` | the second of the lease; NULL while it waits. A lease ends `retry_after` later |
//! | `available_at` | the second at which it becomes ready |
//!
//! One transaction leases or settles many jobs; rows that another worker has locked are passed over, as the framework
//! does. Each step names the attempts that it knows, so a row that was leased again since is left alone.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::clock::unix;
use super::driver::{
    Change, Driver, Fault, Listed, Promise, Settlement, Shelf, Sizes, Ticked, Walked, leased_stay,
};
use super::journal::Entry;
use super::sql::{Row, Target, Transaction, Value};
use super::table::{Table, but_for, list, parked_queue, seconds};
use crate::desk::{Action, Leased};
use crate::payload;

/// Jobs that could run: those that wait, and those whose lease has ended.
const AVAILABLE: &str = "queue = ? AND ((reserved_at IS NULL AND available_at <= ?) OR reserved_at <= ?)";

/// Jobs that wait, that are delayed, that are leased.
const SHELVES: [&str; 3] = [
    "reserved_at IS NULL AND available_at <= ?",
    "reserved_at IS NULL AND available_at > ?",
    "reserved_at IS NOT NULL",
];

/// How a connection is set up.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The database.
    pub target: Target,
    /// The table, with the connection's prefix.
    pub table: String,
    /// When a lease ends that nobody keeps alive; none: never.
    pub retry_after: Option<Duration>,
    /// Where this runner keeps which jobs it has leased.
    pub journal: PathBuf,
}

/// See the module.
#[derive(Debug)]
pub struct LaravelDatabase {
    table: Table,
    retry_after: Option<Duration>,
}

impl LaravelDatabase {
    /// A driver for one connection. Nothing is connected yet.
    #[must_use]
    pub fn new(settings: Settings) -> Arc<Self> {
        let table = Table::new(&settings.target, &settings.table, settings.journal);
        Arc::new(Self { table, retry_after: settings.retry_after })
    }

    fn available_values(&self, queue: &str, at: i64) -> [Value; 3] {
        // A lease of a connection without `retry_after` never ends.
        let ended = self.retry_after.map_or(-1, |span| at - seconds(span));
        [queue.into(), at.into(), ended.into()]
    }

    async fn take(&self, queue: &str, count: usize) -> Result<Vec<Leased>, Fault> {
        let mut journal = self.table.journal().await?;
        let at = seconds(unix());
        let lock = self.table.server.lock().await?;
        let mut begun = self.table.server.begin().await?;
        let select = format!(
            "SELECT {}, {}, payload, {} FROM {} WHERE {AVAILABLE}{} ORDER BY id LIMIT {count}{lock}",
            self.table.server.number("id"),
            self.table.server.number("attempts"),
            self.table.server.number("available_at"),
            self.table.name,
            but_for(&journal),
        );
        let rows = self.table.server.rows_in(&mut begun, &select, &self.available_values(queue, at)).await?;
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let jobs: Vec<Job> = rows.into_iter().map(Job::read).collect();
        let written: Vec<(i64, i64)> = jobs.iter().map(|job| (job.id, job.attempts + 1)).collect();
        journal.lease(queue, at, &written).map_err(|fault| self.table.unwritten(&fault))?;
        let ids: Vec<i64> = jobs.iter().map(|job| job.id).collect();
        let update = format!(
            "UPDATE {} SET reserved_at = ?, attempts = attempts + 1 WHERE id IN ({})",
            self.table.name,
            list(&ids)
        );
        if let Err(fault) = self.table.server.run_in(&mut begun, &update, &[at.into()]).await {
            // Rolled back: what was written down is not so.
            let _ = journal.settled(&ids);
            return Err(fault);
        }
        // When nobody knows whether this was done, the journal still has them, and the rows will tell.
        self.table.server.commit(begun).await?;
        Ok(jobs.into_iter().map(|job| job.leased(1)).collect())
    }

    async fn end(&self, queue: &str, leases: &[Settlement]) -> Result<(), Fault> {
        let at = seconds(unix());
        let mut begun = self.table.server.begin().await?;
        for (attempts, ids) in by_attempts(leases, |action| matches!(action, Action::Ack)) {
            let delete = format!("DELETE FROM {} WHERE {}", self.table.name, ours(&ids));
            self.table.server.run_in(&mut begun, &delete, &[attempts.into()]).await?;
        }
        for (attempts, ids) in by_attempts(leases, |action| matches!(action, Action::Return)) {
            let update = format!(
                "UPDATE {} SET reserved_at = NULL, attempts = attempts - 1 WHERE {}",
                self.table.name,
                ours(&ids)
            );
            self.table.server.run_in(&mut begun, &update, &[attempts.into()]).await?;
        }
        for lease in leases {
            if let Action::PutOff(delay) = lease.action {
                let (id, attempts) = receipt(&lease.receipt);
                let update = format!(
                    "UPDATE {} SET reserved_at = NULL, attempts = attempts - 1, available_at = ? WHERE {}",
                    self.table.name,
                    ours(&[id])
                );
                let values = [(at + seconds(delay)).into(), attempts.into()];
                self.table.server.run_in(&mut begun, &update, &values).await?;
            }
        }
        for (attempts, ids) in by_attempts(leases, |action| matches!(action, Action::Park(_))) {
            let update =
                format!("UPDATE {} SET reserved_at = NULL, queue = ? WHERE {}", self.table.name, ours(&ids));
            self.table.server.run_in(&mut begun, &update, &[parked_queue(queue), attempts.into()]).await?;
        }
        for lease in leases {
            if let Action::Release(delay) = lease.action {
                let (id, attempts) = receipt(&lease.receipt);
                self.release(&mut begun, queue, (id, attempts), &lease.payload, at + seconds(delay), at)
                    .await?;
            }
        }
        self.table.server.commit(begun).await?;
        let ids: Vec<i64> = leases.iter().map(|lease| receipt(&lease.receipt).0).collect();
        // Not written, a successor looks at rows that are gone: nothing is lost.
        let _ = self.table.journal().await?.settled(&ids);
        Ok(())
    }

    /// As the framework does: the row goes and comes again at the end, so that a job that is released without delay
    /// does not stand in the way of the others for ever.
    async fn release(
        &self,
        begun: &mut Transaction,
        queue: &str,
        (id, attempts): (i64, i64),
        payload: &[u8],
        ready_at: i64,
        at: i64,
    ) -> Result<(), Fault> {
        let delete = format!("DELETE FROM {} WHERE {}", self.table.name, ours(&[id]));
        if self.table.server.run_in(begun, &delete, &[attempts.into()]).await? == 0 {
            return Ok(());
        }
        let insert = format!(
            "INSERT INTO {} (queue, payload, attempts, reserved_at, available_at, created_at) \
             VALUES (?, ?, ?, NULL, ?, ?)",
            self.table.name
        );
        let payload = String::from_utf8_lossy(payload);
        let values = [queue.into(), (&*payload).into(), attempts.into(), ready_at.into(), at.into()];
        self.table.server.run_in(begun, &insert, &values).await?;
        Ok(())
    }

    async fn keep(&self, receipts: &[Bytes]) -> Result<(), Fault> {
        let at = seconds(unix());
        self.table.journal().await?.beat_at(at).map_err(|fault| self.table.unwritten(&fault))?;
        let leases: Vec<(i64, i64)> = receipts.iter().map(|bytes| receipt(bytes)).collect();
        for (attempts, ids) in grouped(leases) {
            let update = format!("UPDATE {} SET reserved_at = ? WHERE {}", self.table.name, ours(&ids));
            self.table.server.run(&update, &[at.into(), attempts.into()]).await?;
        }
        Ok(())
    }

    /// The leases of the journal that the table still has as they were written down.
    async fn find_leased(&self, queue: &str) -> Result<Vec<Leased>, Fault> {
        let mut journal = self.table.journal().await?;
        let beat = journal.beat();
        let written: Vec<(i64, Entry)> = journal
            .live()
            .iter()
            .filter(|(_, entry)| entry.queue == queue)
            .map(|(id, entry)| (*id, entry.clone()))
            .collect();
        let (mut found, mut gone) = (Vec::new(), Vec::new());
        for chunk in written.chunks(500) {
            let ids: Vec<i64> = chunk.iter().map(|(id, _)| *id).collect();
            let select = format!(
                "SELECT {}, {}, payload, {}, {} FROM {} WHERE id IN ({})",
                self.table.server.number("id"),
                self.table.server.number("attempts"),
                self.table.server.number("available_at"),
                self.table.server.number("reserved_at"),
                self.table.name,
                list(&ids)
            );
            let rows = self.table.server.rows(&select, &[]).await?;
            for (id, entry) in chunk {
                let row = rows.iter().find(|row| row[0].number() == *id);
                match row.filter(|row| is_ours(row, entry, beat)) {
                    Some(row) => found.push(Job::read(row.clone()).leased(0)),
                    None => gone.push(*id),
                }
            }
        }
        journal.settled(&gone).map_err(|fault| self.table.unwritten(&fault))?;
        Ok(found)
    }
}

/// A row of the table.
struct Job {
    id: i64,
    attempts: i64,
    payload: String,
    available_at: i64,
}

impl Job {
    /// Of `id, attempts, payload, available_at`.
    fn read(row: Row) -> Self {
        let mut row = row.into_iter();
        let mut next = || row.next().unwrap_or(Value::Null);
        Self {
            id: next().number(),
            attempts: next().number(),
            payload: next().into_text(),
            available_at: next().number(),
        }
    }

    /// The job with the attempts that are begun: `more` than the row said.
    fn leased(self, more: i64) -> Leased {
        let attempts = self.attempts + more;
        let read = payload::read(&self.payload);
        let broken = read.is_none().then_some("its payload is no JSON");
        let id = read.as_ref().and_then(|read| read.id).map_or_else(|| self.id.to_string(), str::to_owned);
        let class = read.as_ref().and_then(|read| read.class).map(payload::class_name);
        let timeout = read.and_then(|read| read.timeout_s).filter(|s| *s > 0).map(Duration::from_secs);
        let available = u64::try_from(self.available_at).unwrap_or(0);
        Leased {
            receipt: Bytes::from(format!("{} {attempts}", self.id)),
            id,
            attempts: u32::try_from(attempts).unwrap_or(u32::MAX),
            class,
            timeout,
            waited: Some(unix().saturating_sub(Duration::from_secs(available))),
            broken,
            payload: Bytes::from(self.payload.into_bytes()),
        }
    }
}

/// Whether a row is the lease that was written down. Leased again by somebody else it has more attempts; given back
/// and leased again, a later second than any at which the leases were kept alive.
fn is_ours(row: &Row, entry: &Entry, beat: i64) -> bool {
    let [_, attempts, _, _, reserved_at] = row.as_slice() else { return false };
    let Value::Number(reserved_at) = reserved_at else { return false };
    attempts.number() == entry.attempts && entry.was_alive_at(*reserved_at, beat)
}

/// The row and the attempts that a receipt names.
fn receipt(bytes: &[u8]) -> (i64, i64) {
    let text = std::str::from_utf8(bytes).unwrap_or_default();
    let (id, attempts) = text.split_once(' ').unwrap_or_default();
    (id.parse().unwrap_or(-1), attempts.parse().unwrap_or(-1))
}

fn by_attempts(leases: &[Settlement], which: fn(&Action) -> bool) -> Vec<(i64, Vec<i64>)> {
    grouped(leases.iter().filter(|lease| which(&lease.action)).map(|lease| receipt(&lease.receipt)).collect())
}

/// Rows by their attempts, so that one statement names both.
fn grouped(mut leases: Vec<(i64, i64)>) -> Vec<(i64, Vec<i64>)> {
    leases.sort_by_key(|(_, attempts)| *attempts);
    let groups = leases.chunk_by(|(_, a), (_, b)| a == b);
    groups.map(|group| (group[0].1, group.iter().map(|(id, _)| *id).collect())).collect()
}

/// The rows with `ids` that are still leased with the attempts of the last placeholder.
fn ours(ids: &[i64]) -> String {
    format!("attempts = ? AND reserved_at IS NOT NULL AND id IN ({})", list(ids))
}

/// The rows that handles name.
fn rows_of(jobs: &[Bytes]) -> Vec<i64> {
    jobs.iter().filter_map(|job| std::str::from_utf8(job).ok()?.parse().ok()).collect()
}

impl LaravelDatabase {
    /// Which rows lie on a shelf: a condition, the column with a time, and values for the queue's placeholder and its own.
    fn shelf(queue: &str, shelf: Shelf) -> (&'static str, &'static str, Vec<Value>) {
        let at = seconds(unix());
        match shelf {
            Shelf::Waiting => (SHELVES[0], "NULL", vec![queue.into(), at.into()]),
            Shelf::Delayed => (SHELVES[1], "available_at", vec![queue.into(), at.into()]),
            Shelf::Reserved => (SHELVES[2], "reserved_at", vec![queue.into()]),
            Shelf::Parked => ("1 = 1", "NULL", vec![parked_queue(queue)]),
        }
    }

    /// Of payload and time.
    fn listed(&self, shelf: Shelf, row: Row) -> Listed {
        let ends = self.retry_after.map_or(0, |span| span.as_secs());
        let mut row = row.into_iter();
        let payload = Bytes::from(row.next().unwrap_or(Value::Null).into_text().into_bytes());
        let at = match row.next() {
            Some(Value::Number(at)) => u64::try_from(at).ok(),
            _ => None,
        };
        let at = at.map(|at| if shelf == Shelf::Reserved { at + ends } else { at });
        Listed { payload, at, reason: None }
    }
}

impl Driver for LaravelDatabase {
    fn lease<'a>(&'a self, queue: &'a str, count: usize) -> Promise<'a, Vec<Leased>> {
        Box::pin(self.take(queue, count))
    }

    fn settle<'a>(&'a self, queue: &'a str, leases: Vec<Settlement>) -> Promise<'a, ()> {
        Box::pin(async move { self.end(queue, &leases).await })
    }

    fn extend<'a>(&'a self, _queue: &'a str, receipts: Vec<Bytes>) -> Promise<'a, ()> {
        Box::pin(async move { self.keep(&receipts).await })
    }

    fn reclaim<'a>(&'a self, queue: &'a str) -> Promise<'a, Vec<Leased>> {
        Box::pin(self.find_leased(queue))
    }

    fn tick<'a>(&'a self, queue: &'a str) -> Promise<'a, Ticked> {
        Box::pin(async move {
            let at = Value::Number(seconds(unix()));
            let sizes = self.table.sizes(queue, "queue", SHELVES, &[at.clone(), at]).await?;
            Ok(Ticked { sizes, more: false })
        })
    }

    fn wait<'a>(&'a self, queues: &'a [String]) -> Promise<'a, Option<usize>> {
        let values = |queue: &str| self.available_values(queue, seconds(unix())).to_vec();
        Box::pin(async move { self.table.wait(queues, AVAILABLE, values).await })
    }

    fn heartbeat(&self) -> Option<Duration> {
        // Three chances before the lease ends.
        self.retry_after.map(|span| (span / 3).max(Duration::from_millis(300)))
    }

    fn list<'a>(
        &'a self,
        queue: &'a str,
        shelf: Shelf,
        skip: usize,
        count: usize,
    ) -> Promise<'a, Vec<Listed>> {
        Box::pin(async move {
            let (condition, column, values) = Self::shelf(queue, shelf);
            let select = format!(
                "SELECT payload, {} FROM {} WHERE queue = ? AND {condition} ORDER BY id LIMIT {count} OFFSET {skip}",
                self.table.server.number(column),
                self.table.name
            );
            let rows = self.table.server.rows(&select, &values).await?;
            Ok(rows.into_iter().map(|row| self.listed(shelf, row)).collect())
        })
    }

    fn walk<'a>(
        &'a self,
        queue: &'a str,
        shelf: Shelf,
        from: Option<String>,
        count: usize,
    ) -> Promise<'a, Walked> {
        Box::pin(async move {
            let (condition, column, mut values) = Self::shelf(queue, shelf);
            values.push(from.and_then(|from| from.parse::<i64>().ok()).unwrap_or(-1).into());
            let server = &self.table.server;
            let select = format!(
                "SELECT {}, payload, {} FROM {} WHERE queue = ? AND {condition} AND id > ? ORDER BY id LIMIT {count}",
                server.number("id"),
                server.number(column),
                self.table.name
            );
            let rows = server.rows(&select, &values).await?;
            let next = (rows.len() == count).then(|| rows.last().map(|row| row[0].number().to_string()));
            let jobs = rows.into_iter().map(|mut row| {
                let handle = Bytes::from(row.remove(0).into_text());
                (handle, self.listed(shelf, row))
            });
            Ok(Walked { jobs: jobs.collect(), next: next.flatten() })
        })
    }

    fn change<'a>(
        &'a self,
        queue: &'a str,
        shelf: Shelf,
        _from: Option<String>,
        jobs: Vec<Bytes>,
        change: Change,
    ) -> Promise<'a, u64> {
        Box::pin(async move {
            let from = match shelf {
                Shelf::Reserved => return Err(leased_stay()),
                Shelf::Waiting | Shelf::Delayed => queue.into(),
                Shelf::Parked => parked_queue(queue),
            };
            let which = format!("queue = ? AND reserved_at IS NULL AND id IN ({})", list(&rows_of(&jobs)));
            let (table, server) = (&self.table.name, &self.table.server);
            if change == Change::Drop {
                return server.run(&format!("DELETE FROM {table} WHERE {which}"), &[from]).await;
            }
            let update = format!("UPDATE {table} SET queue = ?, available_at = ? WHERE {which}");
            server.run(&update, &[queue.into(), seconds(unix()).into(), from]).await
        })
    }

    fn clear<'a>(&'a self, queue: &'a str) -> Promise<'a, u64> {
        Box::pin(async move {
            self.table
                .server
                .run(&format!("DELETE FROM {} WHERE queue = ?", self.table.name), &[queue.into()])
                .await
        })
    }

    fn sizes<'a>(&'a self, queue: &'a str) -> Promise<'a, Sizes> {
        Box::pin(async move {
            let at = seconds(unix());
            let values = [Value::Number(at), Value::Number(at)];
            let oldest = self.table.server.number("MIN(available_at)");
            let (sizes, oldest) = self.table.all_sizes(queue, "queue", SHELVES, &values, &oldest).await?;
            let waited = oldest.map(|oldest| u64::try_from(at - oldest.number()).unwrap_or(0));
            Ok(Sizes { oldest_s: waited, ..sizes })
        })
    }

    fn unpark<'a>(&'a self, queue: &'a str, id: Option<String>, retry: bool) -> Promise<'a, u64> {
        Box::pin(async move {
            let server = &self.table.server;
            let select =
                format!("SELECT {}, payload FROM {} WHERE queue = ?", server.number("id"), self.table.name);
            let rows = server.rows(&select, &[parked_queue(queue)]).await?;
            let meant = |row: &Row| {
                let [number, Value::Text(payload)] = row.as_slice() else { return false };
                let own = payload::read(payload).and_then(|read| read.id);
                id.as_deref().is_none_or(|id| own == Some(id) || id.parse() == Ok(number.number()))
            };
            let ids: Vec<i64> = rows.iter().filter(|row| meant(row)).map(|row| row[0].number()).collect();
            if ids.is_empty() {
                return Ok(0);
            }
            let (table, ids) = (&self.table.name, list(&ids));
            if retry {
                let update = format!("UPDATE {table} SET queue = ?, attempts = 0 WHERE id IN ({ids})");
                server.run(&update, &[queue.into()]).await
            } else {
                server.run(&format!("DELETE FROM {table} WHERE id IN ({ids})"), &[]).await
            }
        })
    }

    fn push<'a>(&'a self, queue: &'a str, payloads: Vec<Bytes>) -> Promise<'a, ()> {
        Box::pin(async move {
            let at = seconds(unix());
            let mut begun = self.table.server.begin().await?;
            let insert = format!(
                "INSERT INTO {} (queue, payload, attempts, reserved_at, available_at, created_at) \
                 VALUES (?, ?, 0, NULL, ?, ?)",
                self.table.name
            );
            for payload in payloads {
                let payload = String::from_utf8_lossy(&payload);
                let values = [queue.into(), (&*payload).into(), at.into(), at.into()];
                self.table.server.run_in(&mut begun, &insert, &values).await?;
            }
            self.table.server.commit(begun).await
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn receipts_name_row_and_attempts() {
        assert_eq!(receipt(b"17 2"), (17, 2));
        assert_eq!(receipt(b"nonsense"), (-1, -1));
        let found = grouped(vec![(1, 1), (2, 3), (3, 1)]);
        assert_eq!(found, [(1, vec![1, 3]), (3, vec![2])]);
        assert_eq!(ours(&[1, 3]), "attempts = ? AND reserved_at IS NOT NULL AND id IN (1,3)");
    }

    #[test]
    fn a_lease_is_told_from_one_of_somebody_else() {
        let entry = Entry { queue: "default".to_owned(), since: 100, attempts: 2 };
        let row = |attempts: i64, reserved_at: Value| {
            vec![Value::Number(1), Value::Number(attempts), Value::Null, Value::Number(0), reserved_at]
        };
        // The clock was set back an hour after the lease was taken, or before the last look.
        for (beat, reserved_at, expected) in [(-3500, -3500, true), (-3500, 100, true), (-3500, -3501, false)]
        {
            assert_eq!(is_ours(&row(2, Value::Number(reserved_at)), &entry, beat), expected, "{reserved_at}");
        }
        for (attempts, reserved_at, expected) in [
            (2, Value::Number(100), true),
            (2, Value::Number(130), true),
            (2, Value::Number(131), false),
            (2, Value::Number(99), false),
            (3, Value::Number(110), false),
            (1, Value::Null, false),
        ] {
            assert_eq!(
                is_ours(&row(attempts, reserved_at.clone()), &entry, 130),
                expected,
                "{reserved_at:?}"
            );
        }
    }
}
