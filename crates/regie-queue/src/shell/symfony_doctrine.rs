//! Messenger's Doctrine transport: the table and meanings of `Bridge\Doctrine\Transport\Connection`.
//!
//! | column | holds |
//! |---|---|
//! | `id` | the message |
//! | `body`, `headers` | the encoded envelope; headers as JSON |
//! | `queue_name` | the transport's queue |
//! | `available_at` | when it becomes ready, and the order |
//! | `delivered_at` | when it was taken; NULL while it waits. Taken longer ago than `redeliver_timeout`, it is taken again |
//!
//! Times are written as PHP's clock shows them, in the zone that the transport uses: UTC, or the application's in
//! older bridges. A payload for the worker is `{"body":…,"headers":…}`.
//!
//! A message that is tried again was sent anew by Messenger itself, so there are no attempts to count here; a lease
//! is told by the moment at which it was taken, and a runner's own are in its [`Journal`](super::journal::Journal).

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::clock::unix;
use super::driver::{
    Change, Driver, Fault, Listed, Promise, Settlement, Shelf, Sizes, Ticked, Walked, leased_stay,
};
use super::journal::Entry;
use super::sql::{Row, Server, Target, Value};
use super::table::{Table, but_for, list, parked_queue, seconds};
use crate::desk::{Action, Leased};

/// How a transport is set up.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The database.
    pub target: Target,
    /// `table_name`.
    pub table: String,
    /// `queue_name`.
    pub queue_name: String,
    /// `redeliver_timeout`.
    pub redeliver_timeout: Duration,
    /// The zone in which the transport writes times.
    pub zone: TimeZone,
    /// Where this runner keeps which messages it has leased.
    pub journal: PathBuf,
}

/// See the module.
#[derive(Debug)]
pub struct SymfonyDoctrine {
    table: Table,
    queue_name: String,
    redeliver_timeout: Duration,
    zone: TimeZone,
}

impl SymfonyDoctrine {
    /// A driver for one transport. Nothing is connected yet.
    #[must_use]
    pub fn new(settings: Settings) -> Arc<Self> {
        Arc::new(Self {
            table: Table::new(&settings.target, &settings.table, settings.journal),
            queue_name: settings.queue_name,
            redeliver_timeout: settings.redeliver_timeout,
            zone: settings.zone,
        })
    }

    /// Its server, and its table as it stands in statements.
    pub(super) fn table(&self) -> (&Server, &str) {
        (&self.table.server, &self.table.name)
    }

    pub(super) fn queue_name(&self) -> &str {
        &self.queue_name
    }

    /// What was taken before this moment may be taken again.
    pub(super) fn ended(&self) -> Value {
        self.shown(seconds(unix()) - seconds(self.redeliver_timeout))
    }

    /// What the transport's clock shows at `second`.
    pub(super) fn shown(&self, second: i64) -> Value {
        let at = Timestamp::from_second(second).unwrap_or_default();
        Value::Text(self.zone.to_datetime(at).strftime("%Y-%m-%d %H:%M:%S").to_string())
    }

    /// The second at which the transport's clock shows `text`.
    pub(super) fn second(&self, text: &Value) -> Option<i64> {
        let Value::Text(text) = text else { return None };
        let shown: DateTime = text.parse().ok()?;
        self.zone.to_timestamp(shown).ok().map(Timestamp::as_second)
    }

    /// Messages that could run: those that wait, and those that were taken too long ago.
    fn available(&self) -> String {
        let time = self.table.server.time_argument();
        format!(
            "queue_name = ? AND (delivered_at IS NULL OR delivered_at < {time}) AND available_at <= {time}"
        )
    }

    /// Messages that wait, that are delayed, that were taken.
    fn shelves(&self) -> [String; 3] {
        let time = self.table.server.time_argument();
        [
            format!("delivered_at IS NULL AND available_at <= {time}"),
            format!("delivered_at IS NULL AND available_at > {time}"),
            "delivered_at IS NOT NULL".to_owned(),
        ]
    }

    fn available_values(&self, at: i64) -> [Value; 3] {
        [self.queue_name.as_str().into(), self.shown(at - seconds(self.redeliver_timeout)), self.shown(at)]
    }

    async fn take(&self, count: usize) -> Result<Vec<Leased>, Fault> {
        let server = &self.table.server;
        let mut journal = self.table.journal().await?;
        let at = seconds(unix());
        let lock = server.lock().await?;
        let mut begun = server.begin().await?;
        let select = format!(
            "SELECT {}, body, headers, {} FROM {} WHERE {}{} ORDER BY available_at, id LIMIT {count}{lock}",
            server.number("id"),
            server.time("available_at"),
            self.table.name,
            self.available(),
            but_for(&journal),
        );
        let rows = server.rows_in(&mut begun, &select, &self.available_values(at)).await?;
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let ids: Vec<i64> = rows.iter().map(|row| row[0].number()).collect();
        let written: Vec<(i64, i64)> = ids.iter().map(|id| (*id, 1)).collect();
        journal.lease(&self.queue_name, at, &written).map_err(|fault| self.table.unwritten(&fault))?;
        let update = format!(
            "UPDATE {} SET delivered_at = {} WHERE id IN ({})",
            self.table.name,
            server.time_argument(),
            list(&ids)
        );
        if let Err(fault) = server.run_in(&mut begun, &update, &[self.shown(at)]).await {
            // Rolled back: what was written down is not so.
            let _ = journal.settled(&ids);
            return Err(fault);
        }
        // When nobody knows whether this was done, the journal still has them, and the rows will tell.
        server.commit(begun).await?;
        Ok(rows.into_iter().map(|row| self.leased(row)).collect())
    }

    /// Of `id, body, headers, available_at`.
    pub(super) fn leased(&self, row: Row) -> Leased {
        let available = row.get(3).and_then(|text| self.second(text));
        let mut row = row.into_iter();
        let mut next = || row.next().unwrap_or(Value::Null);
        let (id, body, headers) = (next().number(), next().into_text(), next().into_text());
        // Made of whatever PHP has put there; what is no JSON is handed on as the text that it is.
        let headers = serde_json::from_str::<serde_json::Value>(&headers).unwrap_or_else(|_| headers.into());
        let class = headers.get("type").and_then(|class| class.as_str()).map(str::to_owned);
        let payload = serde_json::json!({ "body": body, "headers": headers }).to_string();
        let waited = available.and_then(|at| u64::try_from(at).ok()).map(Duration::from_secs);
        Leased {
            payload: Bytes::from(payload),
            receipt: Bytes::from(id.to_string()),
            id: id.to_string(),
            attempts: 1,
            class,
            timeout: None,
            waited: waited.map(|at| unix().saturating_sub(at)),
            broken: None,
        }
    }

    /// The rows on a shelf, as [`SymfonyDoctrine::listed`] takes them.
    async fn rows_on(&self, shelf: Shelf, tail: &str) -> Result<Vec<Row>, Fault> {
        let server = &self.table.server;
        let (name, at) = (Value::from(self.queue_name.as_str()), self.shown(seconds(unix())));
        let [waiting, delayed, reserved] = self.shelves();
        let (condition, column, values) = match shelf {
            Shelf::Waiting => (waiting, None, vec![name, at]),
            Shelf::Delayed => (delayed, Some("available_at"), vec![name, at]),
            Shelf::Reserved => (reserved, Some("delivered_at"), vec![name]),
            Shelf::Parked => ("1 = 1".to_owned(), None, vec![parked_queue(&self.queue_name)]),
        };
        let select = format!(
            "SELECT {}, body, headers, {}, {} FROM {} WHERE queue_name = ? AND {condition} {tail}",
            server.number("id"),
            server.time("available_at"),
            column.map_or("NULL".to_owned(), |column| server.time(column)),
            self.table.name
        );
        server.rows(&select, &values).await
    }

    fn listed(&self, shelf: Shelf, row: Row) -> Listed {
        let more = if shelf == Shelf::Reserved { seconds(self.redeliver_timeout) } else { 0 };
        let at = row.get(4).and_then(|text| self.second(text)).map(|at| at + more);
        let at = at.and_then(|at| u64::try_from(at).ok());
        Listed { at, payload: self.leased(row).payload, reason: None }
    }

    async fn end(&self, leases: &[Settlement]) -> Result<(), Fault> {
        let server = &self.table.server;
        let (table, time) = (&self.table.name, server.time_argument());
        let ours = |ids: &[i64]| format!("delivered_at IS NOT NULL AND id IN ({})", list(ids));
        let of = |which: fn(&Action) -> bool| -> Vec<i64> {
            leases.iter().filter(|lease| which(&lease.action)).map(|lease| row(&lease.receipt)).collect()
        };
        let mut begun = server.begin().await?;
        let acks = of(|action| matches!(action, Action::Ack));
        if !acks.is_empty() {
            server.run_in(&mut begun, &format!("DELETE FROM {table} WHERE {}", ours(&acks)), &[]).await?;
        }
        let returns = of(|action| matches!(action, Action::Return));
        if !returns.is_empty() {
            let update = format!("UPDATE {table} SET delivered_at = NULL WHERE {}", ours(&returns));
            server.run_in(&mut begun, &update, &[]).await?;
        }
        let parks = of(|action| matches!(action, Action::Park(_)));
        if !parks.is_empty() {
            let update =
                format!("UPDATE {table} SET delivered_at = NULL, queue_name = ? WHERE {}", ours(&parks));
            server.run_in(&mut begun, &update, &[parked_queue(&self.queue_name)]).await?;
        }
        for lease in leases {
            if let Action::Release(delay) | Action::PutOff(delay) = lease.action {
                let update = format!(
                    "UPDATE {table} SET delivered_at = NULL, available_at = {time} WHERE {}",
                    ours(&[row(&lease.receipt)])
                );
                server.run_in(&mut begun, &update, &[self.shown(seconds(unix() + delay))]).await?;
            }
        }
        server.commit(begun).await?;
        let ids: Vec<i64> = leases.iter().map(|lease| row(&lease.receipt)).collect();
        // Not written, a successor looks at rows that are gone: nothing is lost.
        let _ = self.table.journal().await?.settled(&ids);
        Ok(())
    }

    async fn keep(&self, receipts: &[Bytes]) -> Result<(), Fault> {
        let at = seconds(unix());
        self.table.journal().await?.beat_at(at).map_err(|fault| self.table.unwritten(&fault))?;
        let ids: Vec<i64> = receipts.iter().map(|receipt| row(receipt)).collect();
        let update = format!(
            "UPDATE {} SET delivered_at = {} WHERE delivered_at IS NOT NULL AND id IN ({})",
            self.table.name,
            self.table.server.time_argument(),
            list(&ids)
        );
        self.table.server.run(&update, &[self.shown(at)]).await?;
        Ok(())
    }

    /// The leases of the journal that the table still has as they were written down.
    async fn find_leased(&self) -> Result<Vec<Leased>, Fault> {
        let server = &self.table.server;
        let mut journal = self.table.journal().await?;
        let beat = journal.beat();
        let written: Vec<(i64, Entry)> = journal
            .live()
            .iter()
            .filter(|(_, entry)| entry.queue == self.queue_name)
            .map(|(id, entry)| (*id, entry.clone()))
            .collect();
        let (mut found, mut gone) = (Vec::new(), Vec::new());
        for chunk in written.chunks(500) {
            let ids: Vec<i64> = chunk.iter().map(|(id, _)| *id).collect();
            let select = format!(
                "SELECT {}, body, headers, {}, {} FROM {} WHERE id IN ({})",
                server.number("id"),
                server.time("available_at"),
                server.time("delivered_at"),
                self.table.name,
                list(&ids)
            );
            let rows = server.rows(&select, &[]).await?;
            for (id, entry) in chunk {
                let row = rows.iter().find(|row| row[0].number() == *id);
                // Given back and taken by somebody else, it has a moment later than any of ours.
                let taken = row.and_then(|row| self.second(&row[4]));
                match row.filter(|_| taken.is_some_and(|taken| entry.was_alive_at(taken, beat))) {
                    Some(row) => found.push(self.leased(row.clone())),
                    None => gone.push(*id),
                }
            }
        }
        journal.settled(&gone).map_err(|fault| self.table.unwritten(&fault))?;
        Ok(found)
    }
}

/// The row that a receipt names.
fn row(receipt: &[u8]) -> i64 {
    std::str::from_utf8(receipt).ok().and_then(|text| text.parse().ok()).unwrap_or(-1)
}

impl Driver for SymfonyDoctrine {
    fn lease<'a>(&'a self, _queue: &'a str, count: usize) -> Promise<'a, Vec<Leased>> {
        Box::pin(self.take(count))
    }

    fn settle<'a>(&'a self, _queue: &'a str, leases: Vec<Settlement>) -> Promise<'a, ()> {
        Box::pin(async move { self.end(&leases).await })
    }

    fn extend<'a>(&'a self, _queue: &'a str, receipts: Vec<Bytes>) -> Promise<'a, ()> {
        Box::pin(async move { self.keep(&receipts).await })
    }

    fn reclaim<'a>(&'a self, _queue: &'a str) -> Promise<'a, Vec<Leased>> {
        Box::pin(self.find_leased())
    }

    fn tick<'a>(&'a self, _queue: &'a str) -> Promise<'a, Ticked> {
        Box::pin(async move {
            let at = self.shown(seconds(unix()));
            let shelves = self.shelves();
            let shelves = shelves.each_ref().map(String::as_str);
            let sizes = self.table.sizes(&self.queue_name, "queue_name", shelves, &[at.clone(), at]).await?;
            Ok(Ticked { sizes, more: false })
        })
    }

    fn wait<'a>(&'a self, queues: &'a [String]) -> Promise<'a, Option<usize>> {
        Box::pin(async move {
            let values = |_: &str| self.available_values(seconds(unix())).to_vec();
            self.table.wait(queues, &self.available(), values).await
        })
    }

    fn heartbeat(&self) -> Option<Duration> {
        // Three chances before the message is taken for lost.
        Some((self.redeliver_timeout / 3).max(Duration::from_millis(300)))
    }

    fn list<'a>(
        &'a self,
        _queue: &'a str,
        shelf: Shelf,
        skip: usize,
        count: usize,
    ) -> Promise<'a, Vec<Listed>> {
        Box::pin(async move {
            let tail = format!("ORDER BY available_at, id LIMIT {count} OFFSET {skip}");
            let rows = self.rows_on(shelf, &tail).await?;
            Ok(rows.into_iter().map(|row| self.listed(shelf, row)).collect())
        })
    }

    fn walk<'a>(
        &'a self,
        _queue: &'a str,
        shelf: Shelf,
        from: Option<String>,
        count: usize,
    ) -> Promise<'a, Walked> {
        Box::pin(async move {
            let after = from.and_then(|from| from.parse::<i64>().ok()).unwrap_or(-1);
            let rows = self.rows_on(shelf, &format!("AND id > {after} ORDER BY id LIMIT {count}")).await?;
            let next = (rows.len() == count).then(|| rows.last().map(|row| row[0].number().to_string()));
            let jobs = rows.into_iter().map(|row| {
                let handle = Bytes::from(row[0].number().to_string());
                (handle, self.listed(shelf, row))
            });
            Ok(Walked { jobs: jobs.collect(), next: next.flatten() })
        })
    }

    fn change<'a>(
        &'a self,
        _queue: &'a str,
        shelf: Shelf,
        _from: Option<String>,
        jobs: Vec<Bytes>,
        change: Change,
    ) -> Promise<'a, u64> {
        Box::pin(async move {
            let name = Value::from(self.queue_name.as_str());
            let from = match shelf {
                Shelf::Reserved => return Err(leased_stay()),
                Shelf::Waiting | Shelf::Delayed => name.clone(),
                Shelf::Parked => parked_queue(&self.queue_name),
            };
            let ids: Vec<i64> = jobs.iter().map(|job| row(job)).collect();
            let which = format!("queue_name = ? AND delivered_at IS NULL AND id IN ({})", list(&ids));
            let (table, server) = (&self.table.name, &self.table.server);
            if change == Change::Drop {
                return server.run(&format!("DELETE FROM {table} WHERE {which}"), &[from]).await;
            }
            let time = server.time_argument();
            let update = format!("UPDATE {table} SET queue_name = ?, available_at = {time} WHERE {which}");
            server.run(&update, &[name, self.shown(seconds(unix())), from]).await
        })
    }

    fn clear<'a>(&'a self, _queue: &'a str) -> Promise<'a, u64> {
        Box::pin(async move {
            let delete = format!("DELETE FROM {} WHERE queue_name = ?", self.table.name);
            self.table.server.run(&delete, &[self.queue_name.as_str().into()]).await
        })
    }

    fn sizes<'a>(&'a self, _queue: &'a str) -> Promise<'a, Sizes> {
        Box::pin(async move {
            let at = seconds(unix());
            let values = [self.shown(at), self.shown(at)];
            let shelves = self.shelves();
            let shelves = shelves.each_ref().map(String::as_str);
            let oldest = self.table.server.time("MIN(available_at)");
            let (sizes, oldest) =
                self.table.all_sizes(&self.queue_name, "queue_name", shelves, &values, &oldest).await?;
            let oldest = oldest.and_then(|oldest| self.second(&oldest));
            Ok(Sizes { oldest_s: oldest.map(|oldest| u64::try_from(at - oldest).unwrap_or(0)), ..sizes })
        })
    }

    fn unpark<'a>(&'a self, _queue: &'a str, id: Option<String>, retry: bool) -> Promise<'a, u64> {
        Box::pin(async move {
            let id = id.map(|id| id.parse::<i64>().unwrap_or(-1));
            let which = id.map_or(String::new(), |id| format!(" AND id = {id}"));
            let (table, parked) = (&self.table.name, parked_queue(&self.queue_name));
            if retry {
                let update = format!("UPDATE {table} SET queue_name = ? WHERE queue_name = ?{which}");
                self.table.server.run(&update, &[self.queue_name.as_str().into(), parked]).await
            } else {
                let delete = format!("DELETE FROM {table} WHERE queue_name = ?{which}");
                self.table.server.run(&delete, &[parked]).await
            }
        })
    }

    fn push<'a>(&'a self, _queue: &'a str, payloads: Vec<Bytes>) -> Promise<'a, ()> {
        Box::pin(async move {
            let server = &self.table.server;
            let time = server.time_argument();
            let insert = format!(
                "INSERT INTO {} (body, headers, queue_name, created_at, available_at) VALUES (?, ?, ?, {time}, {time})",
                self.table.name
            );
            let at = self.shown(seconds(unix()));
            let mut begun = server.begin().await?;
            for payload in payloads {
                let (body, headers) = parts(&payload);
                let values = [
                    body.as_str().into(),
                    headers.as_str().into(),
                    self.queue_name.as_str().into(),
                    at.clone(),
                    at.clone(),
                ];
                server.run_in(&mut begun, &insert, &values).await?;
            }
            server.commit(begun).await
        })
    }
}

/// Body and headers of a payload, as the columns have them.
pub(super) fn parts(payload: &[u8]) -> (String, String) {
    let read: serde_json::Value = serde_json::from_slice(payload).unwrap_or_default();
    let body = read.get("body").and_then(|body| body.as_str());
    let headers = match read.get("headers") {
        Some(serde_json::Value::String(text)) => text.clone(),
        Some(headers) => headers.to_string(),
        None => "[]".to_owned(),
    };
    (body.map_or_else(|| String::from_utf8_lossy(payload).into_owned(), str::to_owned), headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_and_columns() {
        for (payload, body, headers) in [
            (r#"{"body":"b","headers":{"type":"T"}}"#, "b", r#"{"type":"T"}"#),
            (r#"{"body":"b","headers":[]}"#, "b", "[]"),
            (r#"{"body":"b","headers":"[]"}"#, "b", "[]"),
            ("plain", "plain", "[]"),
        ] {
            assert_eq!(parts(payload.as_bytes()), (body.to_owned(), headers.to_owned()), "{payload}");
        }
    }

    #[tokio::test]
    async fn times_are_those_of_the_transport_s_clock() {
        let driver = SymfonyDoctrine {
            table: Table::new(&Target::Sqlite("/nowhere".into()), "t", "/nowhere".into()),
            queue_name: "default".to_owned(),
            redeliver_timeout: Duration::from_secs(3600),
            zone: TimeZone::get("Europe/Paris").unwrap(),
        };
        let shown = driver.shown(1_795_257_093);
        assert_eq!(shown, Value::Text("2026-11-21 11:31:33".to_owned()));
        assert_eq!(driver.second(&shown), Some(1_795_257_093));
        assert_eq!(driver.second(&Value::Null), None);
    }
}
