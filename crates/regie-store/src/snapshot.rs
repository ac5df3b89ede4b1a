//! The walk over all data that a snapshot or a rewrite of the log is made of, in slices.
//!
//! [`Engine::begin_walk`] takes the picture: from then on every key is recorded as it is now, either when the walk
//! comes to it or, if a command is about to change it first, just before. [`Engine::walk`] goes on for a slice; what
//! was recorded lies in [`crate::Effects::snapshot`], as records that [`Engine::restore`] reads.
//!
//! A record is the database (with [`LOCK`]), the deadline, the key and the value in RDB's encoding (see `rdb`), or a
//! library of functions: the byte [`LIBRARY`] and its code.

use crate::database::{Database, Recorded, Recorder};
use crate::effects::{Garbage, Trash};
use crate::engine::Engine;
use crate::rdb;
use crate::script::load_library;

/// What stands in place of the database's number before a library: RDB's opcode for one. No database has such a number, with
/// [`LOCK`] or without.
pub(crate) const LIBRARY: u8 = 245;

/// Beside the number of the database: the key was made by a command that takes a lock.
const LOCK: u8 = 0x80;

/// Writes records.
#[derive(Debug, Default)]
pub(crate) struct Records {
    pub(crate) bytes: Vec<u8>,
    pub(crate) keys: u64,
}

impl Recorder for Records {
    fn record(&mut self, entry: Recorded<'_>) {
        self.keys += 1;
        let out = &mut self.bytes;
        out.push(entry.database as u8 | if entry.is_lock { LOCK } else { 0 });
        out.extend_from_slice(&entry.deadline.unwrap_or(-1).to_le_bytes());
        rdb::write_string(out, entry.key);
        rdb::write_value(out, entry.value);
    }
}

/// A walk under way.
#[derive(Debug)]
pub(crate) struct Walk {
    pub(crate) recorder: Records,
    /// The number that each database had when the walk began, by its number now.
    picture: Vec<usize>,
    /// Where the walk is in each database, by the number it had: `None` when done.
    cursors: Vec<Option<u64>>,
    /// What was flushed before the walk was through with it.
    retired: Vec<(usize, u64, Box<Database>)>,
}

impl Walk {
    /// The number that this database had when the walk began.
    pub(crate) fn picture_of(&self, db: usize) -> usize {
        self.picture[db]
    }

    /// Keeps what a flush has taken out until the walk has seen it.
    pub(crate) fn retire(&mut self, db: usize, database: Database) {
        let number = self.picture[db];
        if let Some(cursor) = self.cursors[number].take() {
            self.retired.push((number, cursor, Box::new(database)));
        }
    }

    /// Two databases have changed places.
    pub(crate) fn swap(&mut self, a: usize, b: usize) {
        self.picture.swap(a, b);
    }
}

impl Engine {
    /// Begins a walk; false if one is under way.
    pub fn begin_walk(&mut self) -> bool {
        if self.walk.is_some() {
            return false;
        }
        for database in &mut self.databases {
            let next = database.walk().wrapping_add(1);
            database.begin_walk(next);
        }
        let count = self.databases.len();
        let mut recorder = Records::default();
        for code in self.scripts.library_codes() {
            recorder.bytes.push(LIBRARY);
            rdb::write_string(&mut recorder.bytes, code);
        }
        self.walk = Some(Walk {
            recorder,
            picture: (0..count).collect(),
            cursors: vec![Some(0); count],
            retired: Vec::new(),
        });
        true
    }

    /// Goes on until about `bytes` have been recorded; true when the walk has ended.
    pub fn walk(&mut self, bytes: usize) -> bool {
        let Some(walk) = &mut self.walk else { return true };
        while walk.recorder.bytes.len() < bytes {
            if let Some((number, cursor, database)) = walk.retired.last_mut() {
                *cursor = database.walk_slice(*number, *cursor, &mut walk.recorder);
                if *cursor == 0
                    && let Some((_, _, database)) = walk.retired.pop()
                {
                    self.effects.garbage.push(Garbage(Trash::Database(database)));
                }
                continue;
            }
            let Some(number) = walk.cursors.iter().position(Option::is_some) else {
                self.effects.snapshot.append(&mut walk.recorder.bytes);
                self.walk = None;
                return true;
            };
            let db = walk.picture.iter().position(|picture| *picture == number).unwrap_or(number);
            let cursor = walk.cursors[number].unwrap_or(0);
            let next = self.databases[db].walk_slice(number, cursor, &mut walk.recorder);
            walk.cursors[number] = (next != 0).then_some(next);
        }
        self.effects.snapshot.append(&mut walk.recorder.bytes);
        false
    }

    /// Writes everything into a snapshot in memory and reads it back: what a restart would do (DEBUG RELOAD).
    pub(crate) fn reload(&mut self) -> Result<(), String> {
        if !self.begin_walk() {
            return Err("ERR a snapshot is being written".into());
        }
        while !self.walk(usize::MAX) {}
        let records = std::mem::take(&mut self.effects.snapshot);
        for database in &mut self.databases {
            let seed = database.table.seed();
            drop(database.take(seed));
        }
        self.scripts.lua().flush_libraries();
        self.restore(&records)
            .map(drop)
            .map_err(|why| format!("ERR Error trying to load the RDB dump: {why}"))
    }

    /// Gives a walk up.
    pub fn abort_walk(&mut self) {
        self.walk = None;
    }

    /// Whether a walk is under way.
    #[must_use]
    pub fn is_walking(&self) -> bool {
        self.walk.is_some()
    }

    /// Puts in what the records of a snapshot hold; an error says where they are broken.
    pub fn restore(&mut self, records: &[u8]) -> Result<u64, String> {
        let mut reader = rdb::Reader::new(records);
        let mut keys = 0;
        while !reader.is_empty() {
            let at = reader.position();
            self.restore_one(&mut reader).ok_or_else(|| format!("broken record at byte {at}"))?;
            keys += 1;
        }
        Ok(keys)
    }

    /// How many keys each database has.
    pub(crate) fn key_counts(&self) -> Vec<usize> {
        self.databases.iter().map(crate::database::Database::len).collect()
    }

    /// A part of the data has been read, which has brought the keys that are there beyond `before`: makes room for
    /// `times` as many in each database as it has got, but for no more than `most`.
    pub(crate) fn expect_keys(&mut self, before: &[usize], times: usize, most: usize) {
        for (database, before) in self.databases.iter_mut().zip(before) {
            while database.table.is_moving() {
                database.table.step();
            }
            let more =
                database.len().saturating_sub(*before).saturating_mul(times.saturating_sub(1)).min(most);
            if more > 0 {
                database.table.reserve(more);
            }
        }
    }

    /// All has been read: room that was made for too many keys is given back.
    pub(crate) fn expect_no_more(&mut self) {
        self.databases.iter_mut().for_each(|database| database.table.fit());
    }

    fn restore_one(&mut self, reader: &mut rdb::Reader<'_>) -> Option<()> {
        let first = reader.byte()?;
        if first == LIBRARY {
            let code = reader.string()?;
            return load_library(self, &code, true).ok().map(drop);
        }
        let db = usize::from(first & !LOCK);
        let deadline = i64::from_le_bytes(reader.take(8)?.try_into().ok()?);
        let key = reader.string()?;
        let value = reader.value(&self.config, self.databases.get(db)?.table.seed())?;
        if deadline < 0 || deadline > self.now {
            self.restore_entry(db, &key, value, (deadline >= 0).then_some(deadline));
            if first & LOCK != 0 {
                self.databases[db].mark_lock(&key, true);
            }
        }
        Some(())
    }
}
