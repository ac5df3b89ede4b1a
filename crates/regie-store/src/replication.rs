//! Replicas that listen to this server. How it follows another one itself stands in `following`.
//!
//! A replica (a Redis, `redis-cli --rdb`, a tool that watches changes) asks with SYNC or PSYNC. It gets all data as an
//! RDB file and from then on every change as a command, in the form in which the log has it: deadlines are absolute,
//! what was decided by chance is written out. Several changes that one command has made go out between MULTI and
//! EXEC, so a replica never shows half of them.
//!
//! The file is made in one go, in memory: for a big data set the server stands still meanwhile. There is no backlog,
//! so a replica that was cut off always starts anew.

use crate::engine::{Engine, append};
use crate::rdb;
use crate::session::{ClientId, Replica, Waiting};
use std::collections::BTreeSet;

/// What there is to say to replicas.
#[derive(Debug, Default)]
pub(crate) struct Replication {
    pub(crate) replicas: BTreeSet<ClientId>,
    /// Changes of the unit under way: the database and the command as bytes.
    pending: Vec<(usize, Vec<u8>)>,
    /// The database that replicas were last told of.
    told_db: Option<usize>,
    /// Bytes of changes sent since the start.
    pub(crate) offset: u64,
    /// When replicas last heard from us, in milliseconds.
    pinged_at: i64,
}

impl Replication {
    /// Forgets what has not been sent.
    pub(crate) fn forget(&mut self) {
        self.pending.clear();
        self.told_db = None;
    }

    /// Keeps a change for the replicas.
    pub(crate) fn add(&mut self, db: usize, arguments: &[&[u8]]) {
        if self.replicas.is_empty() {
            return;
        }
        let mut bytes = Vec::new();
        append(&mut bytes, arguments);
        self.pending.push((db, bytes));
    }
}

impl Engine {
    /// Ends a unit: what it has changed goes to the replicas. `whole` says that it must take effect whole.
    #[inline]
    pub(crate) fn replicate(&mut self, whole: bool) -> bool {
        !self.replication.pending.is_empty() && self.replicate_pending(whole)
    }

    fn replicate_pending(&mut self, whole: bool) -> bool {
        let pending = std::mem::take(&mut self.replication.pending);
        let transaction = whole && pending.len() > 1;
        let mut bytes = Vec::new();
        for (index, (db, command)) in pending.into_iter().enumerate() {
            if self.replication.told_db != Some(db) {
                self.replication.told_db = Some(db);
                append(&mut bytes, &[b"SELECT", db.to_string().as_bytes()]);
            }
            if transaction && index == 0 {
                append(&mut bytes, &[b"MULTI"]);
            }
            bytes.extend_from_slice(&command);
        }
        if transaction {
            append(&mut bytes, &[b"EXEC"]);
        }
        self.feed_replicas(&bytes);
        true
    }

    /// Tells all replicas.
    fn feed_replicas(&mut self, bytes: &[u8]) {
        self.replication.offset += bytes.len() as u64;
        for replica in self.replication.replicas.clone() {
            self.deliver(replica, |out| out.bytes.extend_from_slice(bytes));
        }
    }

    /// Says now and then that the server is there, so that replicas do not give it up.
    pub(crate) fn ping_replicas(&mut self) {
        let period = self.config.get("repl-ping-replica-period").parse::<i64>().unwrap_or(10).max(1) * 1000;
        if self.replication.replicas.is_empty() || self.now - self.replication.pinged_at < period {
            return;
        }
        self.replication.pinged_at = self.now;
        let mut bytes = Vec::new();
        append(&mut bytes, &[b"PING"]);
        self.feed_replicas(&bytes);
    }

    /// A client becomes a replica: all data as an RDB file.
    pub(crate) fn add_replica(&mut self, client: ClientId) -> Vec<u8> {
        self.replicate(true);
        let file = self.rdb_file();
        self.stats.full_syncs += 1;
        let offset = self.replication.offset;
        self.replication.told_db = None;
        self.replication.pinged_at = self.now;
        self.replication.replicas.insert(client);
        let replica = self.session(client).replica.get_or_insert_with(Replica::default);
        replica.is_online = true;
        replica.acknowledged = offset;
        file
    }

    pub(crate) fn remove_replica(&mut self, client: ClientId) {
        self.replication.replicas.remove(&client);
    }

    /// A replica says how much it has.
    pub(crate) fn acknowledge(&mut self, client: ClientId, offset: u64) {
        if let Some(replica) = &mut self.session(client).replica {
            replica.acknowledged = offset;
        }
        let waiting: Vec<(ClientId, u64, usize)> = self
            .sessions
            .values()
            .filter_map(|session| {
                let blocked = session.blocked.as_ref().filter(|b| b.waiting == Waiting::Replicas)?;
                let wanted = blocked.arguments.get(1).and_then(|text| crate::number::parse_integer(text))?;
                Some((session.id, session.wrote_until, usize::try_from(wanted).unwrap_or(usize::MAX)))
            })
            .collect();
        for (waiter, until, wanted) in waiting {
            if self.replicas_that_have(until) >= wanted {
                self.time_out(waiter);
            }
        }
    }

    /// How many replicas have got everything up to `offset`.
    pub(crate) fn replicas_that_have(&self, offset: u64) -> usize {
        let replicas = self.replication.replicas.iter().filter_map(|id| self.sessions.get(id));
        replicas.filter_map(|s| s.replica.as_ref()).filter(|r| r.acknowledged >= offset).count()
    }

    /// Asks replicas how much they have.
    pub(crate) fn ask_replicas(&mut self) {
        let mut bytes = Vec::new();
        append(&mut bytes, &[b"REPLCONF", b"GETACK", b"*"]);
        self.feed_replicas(&bytes);
    }

    /// All data as an RDB file that a Redis loads.
    fn rdb_file(&self) -> Vec<u8> {
        let mut file = Vec::new();
        // Writing to memory cannot fail.
        let _ = rdb::file::save(self, &mut file, &mut |_| {});
        file
    }
}
