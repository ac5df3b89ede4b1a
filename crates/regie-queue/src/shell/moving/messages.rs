//! A Messenger table as one end of a move: rows lie in the queue `regie:moving:NAME` while they are taken, and in
//! `regie:arriving:FROM:NAME` while they are staged.

use super::super::clock::unix;
use super::super::driver::Fault;
use super::super::sql::{Row, Value};
use super::super::symfony_doctrine::{Settings, SymfonyDoctrine, parts};
use super::super::table::{list, seconds};
use super::{BATCH, arriving, ids, moving};
use crate::parcel::Parcel;

#[derive(Debug)]
pub(super) struct Messages {
    driver: std::sync::Arc<SymfonyDoctrine>,
    identity: String,
}

impl Messages {
    pub(super) fn new(settings: Settings) -> Self {
        let identity =
            format!("{} {} {}", super::database(&settings.target), settings.table, settings.queue_name);
        Self { driver: SymfonyDoctrine::new(settings), identity }
    }

    /// What tells whether two of them are the same.
    pub(super) fn identity(&self) -> String {
        self.identity.clone()
    }

    fn queue(&self) -> &str {
        self.driver.queue_name()
    }

    /// How many messages could be moved now, and how many are leased.
    pub(super) async fn counts(&self) -> Result<(u64, u64), Fault> {
        let (server, name) = self.driver.table();
        let reserved = server.number("COALESCE(SUM(CASE WHEN delivered_at IS NULL THEN 0 ELSE 1 END), 0)");
        let select = format!(
            "SELECT {}, {reserved} FROM {name} WHERE queue_name IN (?, ?)",
            server.number("COUNT(*)")
        );
        let rows = server.rows(&select, &[self.queue().into(), (&*moving(self.queue())).into()]).await?;
        let at = |n: usize| rows.first().and_then(|row| row.get(n)).map_or(0, Value::number);
        let (all, reserved) = (at(0).max(0).cast_unsigned(), at(1).max(0).cast_unsigned());
        Ok((all.saturating_sub(reserved), reserved))
    }

    fn columns(&self) -> String {
        let (server, _) = self.driver.table();
        format!("{}, body, headers, {}", server.number("id"), server.time("available_at"))
    }

    fn parcel(&self, row: Row) -> Parcel {
        let ready = row.get(3).and_then(|text| self.driver.second(text));
        let ready = ready.and_then(|second| u64::try_from(second).ok());
        let leased = self.driver.leased(row);
        let payload = String::from_utf8_lossy(&leased.payload).into_owned();
        let at = ready.filter(|ready| *ready > unix().as_secs());
        Parcel { id: leased.id, payload, attempts: 0, at }
    }

    /// What was taken and not confirmed.
    pub(super) async fn held(&self) -> Result<Vec<Parcel>, Fault> {
        let (server, name) = self.driver.table();
        let select =
            format!("SELECT {} FROM {name} WHERE queue_name = ? ORDER BY available_at, id", self.columns());
        let rows = server.rows(&select, &[(&*moving(self.queue())).into()]).await?;
        Ok(rows.into_iter().map(|row| self.parcel(row)).collect())
    }

    /// Takes a batch. Nothing must be held.
    pub(super) async fn take(&self) -> Result<Vec<Parcel>, Fault> {
        let (server, name) = self.driver.table();
        let (lock, time) = (server.lock().await?, server.time_argument());
        let mut begun = server.begin().await?;
        let select = format!(
            "SELECT {} FROM {name} WHERE queue_name = ? AND (delivered_at IS NULL OR delivered_at < {time}) \
             ORDER BY available_at, id LIMIT {BATCH}{lock}",
            self.columns()
        );
        let rows = server.rows_in(&mut begun, &select, &[self.queue().into(), self.driver.ended()]).await?;
        let parcels: Vec<Parcel> = rows.into_iter().map(|row| self.parcel(row)).collect();
        if parcels.is_empty() {
            return Ok(parcels);
        }
        let update = format!(
            "UPDATE {name} SET queue_name = ?, delivered_at = NULL WHERE id IN ({})",
            list(&ids(&parcels))
        );
        server.run_in(&mut begun, &update, &[(&*moving(self.queue())).into()]).await?;
        server.commit(begun).await?;
        Ok(parcels)
    }

    pub(super) async fn stage(&self, from: &str, parcels: &[Parcel]) -> Result<(), Fault> {
        let (server, name) = self.driver.table();
        let (staged, time) = (arriving(from, self.queue()), server.time_argument());
        let mut begun = server.begin().await?;
        if let Some(wait) = server.turn() {
            server.rows_in(&mut begun, wait, &[(&*staged).into()]).await?;
        }
        // What is held is the truth: what is staged follows it.
        let delete = format!("DELETE FROM {name} WHERE queue_name = ?");
        server.run_in(&mut begun, &delete, &[(&*staged).into()]).await?;
        let now = seconds(unix());
        let insert = format!(
            "INSERT INTO {name} (body, headers, queue_name, created_at, available_at) \
             VALUES (?, ?, ?, {time}, {time})"
        );
        for parcel in parcels {
            let (body, headers) = parts(parcel.payload.as_bytes());
            let ready = parcel.at.and_then(|ready| i64::try_from(ready).ok()).unwrap_or(now);
            let values = [
                body.as_str().into(),
                headers.as_str().into(),
                (&*staged).into(),
                self.driver.shown(now),
                self.driver.shown(ready),
            ];
            server.run_in(&mut begun, &insert, &values).await?;
        }
        server.commit(begun).await
    }

    /// Drops what is staged at the target.
    pub(super) async fn confirm(&self, parcels: &[Parcel]) -> Result<(), Fault> {
        let (server, name) = self.driver.table();
        let delete = format!("DELETE FROM {name} WHERE queue_name = ? AND id IN ({})", list(&ids(parcels)));
        server.run(&delete, &[(&*moving(self.queue())).into()]).await.map(drop)
    }

    /// Puts what is staged into the queue.
    pub(super) async fn publish(&self, from: &str) -> Result<u64, Fault> {
        let (server, name) = self.driver.table();
        let staged = arriving(from, self.queue());
        let select = format!("SELECT {} FROM {name} WHERE queue_name = ?", server.number("id"));
        let rows = server.rows(&select, &[(&*staged).into()]).await?;
        let ids: Vec<i64> = rows.iter().flatten().map(Value::number).collect();
        if ids.is_empty() {
            return Ok(0);
        }
        // By number: one that comes late must not touch the batch after it.
        let update =
            format!("UPDATE {name} SET queue_name = ? WHERE queue_name = ? AND id IN ({})", list(&ids));
        server.run(&update, &[self.queue().into(), (&*staged).into()]).await
    }
}
