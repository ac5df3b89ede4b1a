//! One of the numbered databases: keys, values, deadlines, and what a walk over all of it must know.
//!
//! **Deadlines.** Keys that expire have a row in `deadlines`, and know its index. A row holds the time and the key's
//! hash, so that looking for what is due reads one dense array and touches a key only to delete it.
//!
//! **Fields that end.** A hash with such fields stands in `field_ends` with the first of their ends. While it is being
//! changed it does not: [`Database::get_mut`] takes it out, [`Database::settle`] puts it back with what holds then.
//!
//! **The walk.** A snapshot is taken without a fork: the walk visits the table bucket by bucket with SCAN's cursor, a
//! slice at a time, while commands go on. Each walk has a number. A key bears the number of the last walk that has
//! recorded it; new keys are born with the current number, because they are not part of the picture. Whoever is about
//! to change or remove a key that bears an older number while a walk is under way records it first
//! ([`Database::before_change`]), so that the walk shows every key as it was when the walk began.

use crate::blob::Blob;
use crate::protect::mark;
use crate::random::Random;
use crate::table::{Keyed, Table};
use crate::value::Value;
use std::cell::Cell;
use std::collections::BTreeSet;

/// No row in `deadlines`.
const FOREVER: u32 = u32::MAX;

/// A key with its value.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) key: Blob,
    pub(crate) value: Value,
    /// When (LRU) or how often (LFU) it was last used; see `evict`.
    pub(crate) access: Cell<u32>,
    /// The last walk that has recorded it.
    walk: u32,
    /// Its row in `deadlines`.
    row: u32,
    /// What is known about its protection from eviction: the bits of `protect::mark`.
    pub(crate) mark: Cell<u8>,
}

impl Keyed for Entry {
    fn key(&self) -> &[u8] {
        &self.key
    }
}

impl Entry {
    /// Whether the key has a deadline.
    pub(crate) fn is_volatile(&self) -> bool {
        self.row != FOREVER
    }

    /// Bytes of the key and its value, without the node.
    fn outside(&self) -> usize {
        self.key.memory() + self.value.memory()
    }
}

/// When the key with this hash is due.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline {
    pub(crate) at: i64,
    pub(crate) hash: u64,
}

/// What the walk has to record: a key as it was when the walk began.
#[derive(Debug)]
pub(crate) struct Recorded<'a> {
    pub(crate) database: usize,
    pub(crate) key: &'a [u8],
    pub(crate) value: &'a Value,
    pub(crate) deadline: Option<i64>,
    /// It was made by a command that takes a lock.
    pub(crate) is_lock: bool,
}

/// Receives what the walk records.
pub(crate) trait Recorder {
    fn record(&mut self, entry: Recorded<'_>);
}

/// See the module's description.
#[derive(Debug)]
pub(crate) struct Database {
    pub(crate) table: Table<Entry>,
    deadlines: Vec<Deadline>,
    /// Bytes that keys and values hold outside of the table's nodes.
    outside: usize,
    /// The number of the walk under way, or of the last one.
    walk: u32,
    /// What was changed and not yet accounted for, with its hash; see [`Database::settle`].
    unsettled: Vec<(u64, Blob)>,
    /// Which deadline the cycle of expiry looks at next.
    pub(crate) cursor: usize,
    /// Hashes with fields that end, by the first of these ends.
    field_ends: BTreeSet<(i64, Blob)>,
    /// The first of all in `field_ends`, or the end of time.
    first_field_end: i64,
    /// Where the search for something to evict goes on: a cursor of the table, and a row of `deadlines`.
    pub(crate) sweep: (u64, usize),
    /// When that search last found nothing, in milliseconds.
    pub(crate) swept_in_vain_at: i64,
}

impl Database {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            table: Table::new(seed),
            deadlines: Vec::new(),
            outside: 0,
            walk: 0,
            unsettled: Vec::new(),
            cursor: 0,
            field_ends: BTreeSet::new(),
            first_field_end: i64::MAX,
            sweep: (0, 0),
            swept_in_vain_at: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    pub(crate) fn volatile_len(&self) -> usize {
        self.deadlines.len()
    }

    /// Bytes of everything in this database.
    pub(crate) fn memory(&self) -> usize {
        let field_ends = self.field_ends.len() * size_of::<(i64, Blob)>() * 3 / 2;
        self.table.memory() + self.outside + self.deadlines_memory() + field_ends
    }

    /// Bytes that the deadlines take.
    pub(crate) fn deadlines_memory(&self) -> usize {
        self.deadlines.capacity() * size_of::<Deadline>()
    }

    pub(crate) fn get(&self, key: &[u8]) -> Option<&Entry> {
        self.table.get(key)
    }

    pub(crate) fn deadline(&self, entry: &Entry) -> Option<i64> {
        self.deadlines.get(entry.row as usize).map(|deadline| deadline.at)
    }

    pub(crate) fn deadline_of(&self, key: &[u8]) -> Option<i64> {
        self.deadline(self.get(key)?)
    }

    /// Whether the key is there and its time has passed.
    pub(crate) fn is_due(&self, key: &[u8], now: i64) -> bool {
        !self.deadlines.is_empty() && self.deadline_of(key).is_some_and(|at| at <= now)
    }

    /// The value for changing it. The account of memory is settled later, by [`Database::settle`].
    pub(crate) fn get_mut(&mut self, key: &[u8]) -> Option<&mut Entry> {
        let hash = self.table.hash(key);
        let entry = self.table.find_mut(hash, |entry| &*entry.key == key)?;
        if self.unsettled.iter().all(|(_, name)| &**name != key) {
            self.outside -= entry.value.memory();
            self.unsettled.push((hash, entry.key.clone()));
            if let Some(at) = entry.value.first_end() {
                self.field_ends.remove(&(at, entry.key.clone()));
                self.first_field_end = first_of(&self.field_ends);
            }
        }
        Some(entry)
    }

    /// As [`Database::get_mut`], for what that has given out since the account was last settled.
    pub(crate) fn get_mut_again(&mut self, key: &[u8]) -> Option<&mut Entry> {
        self.table.get_mut(key)
    }

    /// Accounts for what [`Database::get_mut`] has given out; called at the end of each command.
    pub(crate) fn settle(&mut self) {
        while let Some((hash, key)) = self.unsettled.pop() {
            let entry = self.table.find(hash, |entry| entry.key == key);
            let Some(entry) = entry else { continue };
            self.outside += entry.value.memory();
            if let Some(at) = entry.value.first_end() {
                self.field_ends.insert((at, key));
                self.first_field_end = first_of(&self.field_ends);
            }
        }
    }

    /// Whether there is a hash with a field that has ended.
    #[inline]
    pub(crate) fn has_ended_fields(&self, now: i64) -> bool {
        self.first_field_end <= now
    }

    /// A hash with a field that has ended.
    pub(crate) fn hash_with_ended_fields(&self, now: i64) -> Option<Blob> {
        self.field_ends.first().filter(|(at, _)| *at <= now).map(|(_, key)| key.clone())
    }

    /// Puts a new key in. It must not be there.
    pub(crate) fn insert(&mut self, key: &[u8], value: Value, access: u32) {
        self.settle();
        let entry = Entry {
            key: Blob::from(key),
            value,
            access: Cell::new(access),
            walk: self.walk,
            row: FOREVER,
            mark: Cell::new(0),
        };
        self.outside += entry.outside();
        if let Some(at) = entry.value.first_end() {
            self.field_ends.insert((at, entry.key.clone()));
            self.first_field_end = first_of(&self.field_ends);
        }
        self.table.insert(entry);
    }

    pub(crate) fn remove(&mut self, key: &[u8]) -> Option<Entry> {
        self.settle();
        let entry = self.table.remove(key)?;
        self.outside -= entry.outside();
        self.drop_row(entry.row);
        if let Some(at) = entry.value.first_end() {
            self.field_ends.remove(&(at, entry.key.clone()));
            self.first_field_end = first_of(&self.field_ends);
        }
        Some(entry)
    }

    fn drop_row(&mut self, row: u32) {
        if row == FOREVER {
            return;
        }
        self.deadlines.swap_remove(row as usize);
        if let Some(moved) = self.deadlines.get(row as usize).copied() {
            let old = self.deadlines.len() as u32;
            if let Some(entry) = self.table.find_mut(moved.hash, |entry| entry.row == old) {
                entry.row = row;
            }
        }
    }

    /// Sets or takes away a key's deadline. The key must be there.
    pub(crate) fn set_deadline(&mut self, key: &[u8], at: Option<i64>) {
        let hash = self.table.hash(key);
        let Some(entry) = self.table.find_mut(hash, |entry| &*entry.key == key) else { return };
        match (at, entry.row) {
            (None, FOREVER) => {}
            (None, row) => {
                entry.row = FOREVER;
                self.drop_row(row);
            }
            (Some(at), FOREVER) => {
                entry.row = self.deadlines.len() as u32;
                self.deadlines.push(Deadline { at, hash });
            }
            (Some(at), row) => self.deadlines[row as usize].at = at,
        }
    }

    /// The deadline at `row` of the dense array.
    pub(crate) fn deadline_at(&self, row: usize) -> Option<Deadline> {
        self.deadlines.get(row).copied()
    }

    /// The entry whose deadline lies at `row`.
    pub(crate) fn entry_at(&self, row: usize) -> Option<&Entry> {
        let deadline = self.deadline_at(row)?;
        self.table.find(deadline.hash, |entry| entry.row as usize == row)
    }

    /// A random entry that has a deadline.
    pub(crate) fn random_volatile(&self, random: &mut Random) -> Option<&Entry> {
        if self.deadlines.is_empty() { None } else { self.entry_at(random.below(self.deadlines.len())) }
    }

    /// Begins a walk: every key there is belongs to its picture.
    pub(crate) fn begin_walk(&mut self, number: u32) {
        self.walk = number;
    }

    /// The number of the walk that this database's keys are born with.
    pub(crate) fn walk(&self) -> u32 {
        self.walk
    }

    /// Records `key` if the walk has not come to it yet; to be called before it is changed.
    pub(crate) fn before_change(&mut self, database: usize, key: &[u8], recorder: &mut dyn Recorder) {
        let number = self.walk;
        let hash = self.table.hash(key);
        let Some(entry) = self.table.find(hash, |entry| &*entry.key == key) else { return };
        if entry.walk == number {
            return;
        }
        recorder.record(self.recorded(database, entry));
        if let Some(entry) = self.table.find_mut(hash, |entry| &*entry.key == key) {
            entry.walk = number;
        }
    }

    fn recorded<'a>(&self, database: usize, entry: &'a Entry) -> Recorded<'a> {
        Recorded {
            database,
            key: &entry.key,
            value: &entry.value,
            deadline: self.deadline(entry),
            is_lock: entry.mark.get() & mark::LOCK != 0,
        }
    }

    /// Says whether a key was made by a command that takes a lock.
    pub(crate) fn mark_lock(&self, key: &[u8], is_lock: bool) {
        if let Some(entry) = self.get(key) {
            let bits = entry.mark.get() & !mark::LOCK;
            entry.mark.set(if is_lock { bits | mark::LOCK } else { bits });
        }
    }

    /// A search for something to evict may find what the last one did not.
    pub(crate) fn sweep_again(&mut self) {
        self.swept_in_vain_at = 0;
    }

    /// Forgets what was known of names: the setting has changed.
    pub(crate) fn forget_names(&mut self) {
        self.sweep_again();
        for entry in self.table.iter() {
            entry.mark.set(entry.mark.get() & mark::LOCK);
        }
    }

    /// Records the keys of the next bucket and gives the next cursor; 0 ends the walk of this database.
    pub(crate) fn walk_slice(&mut self, database: usize, cursor: u64, recorder: &mut dyn Recorder) -> u64 {
        let number = self.walk;
        let mut seen = Vec::new();
        let next = self.table.scan(cursor, |entry| {
            if entry.walk != number {
                recorder.record(self.recorded(database, entry));
                seen.push(entry.key.clone());
            }
        });
        for key in seen {
            if let Some(entry) = self.table.get_mut(&key) {
                entry.walk = number;
            }
        }
        next
    }

    /// Takes everything out; what was there is given back to be freed at leisure.
    pub(crate) fn take(&mut self, seed: u64) -> Self {
        let mut fresh = Self::new(seed);
        fresh.walk = self.walk;
        std::mem::replace(self, fresh)
    }
}

fn first_of(ends: &BTreeSet<(i64, Blob)>) -> i64 {
    ends.first().map_or(i64::MAX, |(at, _)| *at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[derive(Default)]
    struct Picture(BTreeMap<Vec<u8>, (Vec<u8>, Option<i64>)>);

    impl Recorder for Picture {
        fn record(&mut self, entry: Recorded<'_>) {
            let text = entry.value.as_text().unwrap().into_owned();
            assert!(self.0.insert(entry.key.to_vec(), (text, entry.deadline)).is_none(), "recorded twice");
        }
    }

    #[test]
    fn a_walk_shows_the_moment_it_began_whatever_happens_meanwhile() {
        for seed in 1..40 {
            let mut random = Random::new(seed);
            let mut database = Database::new(seed);
            let mut expect = BTreeMap::new();
            for n in 0..300 {
                let key = format!("k{n}").into_bytes();
                database.insert(&key, Value::text(&key), 0);
                let at = (n % 3 == 0).then_some(n);
                database.set_deadline(&key, at);
                expect.insert(key.clone(), (key, at));
            }
            database.begin_walk(1);
            let (mut cursor, mut picture) = (0, Picture::default());
            loop {
                for _ in 0..random.below(20) {
                    let key = format!("k{}", random.below(600)).into_bytes();
                    database.before_change(0, &key, &mut picture);
                    match random.below(3) {
                        0 => drop(database.remove(&key)),
                        1 if database.get(&key).is_some() => {
                            *database.get_mut(&key).unwrap().value.text_mut().unwrap() = b"new".to_vec();
                            database.set_deadline(&key, Some(9));
                            database.settle();
                        }
                        _ if database.get(&key).is_none() => database.insert(&key, Value::text(b"born"), 0),
                        _ => {}
                    }
                }
                cursor = database.walk_slice(0, cursor, &mut picture);
                if cursor == 0 {
                    break;
                }
            }
            assert_eq!(picture.0, expect, "seed {seed}");
        }
    }

    #[test]
    fn deadlines_follow_their_keys() {
        for seed in 1..20 {
            let mut random = Random::new(seed);
            let mut database = Database::new(seed);
            let mut model: BTreeMap<Vec<u8>, Option<i64>> = BTreeMap::new();
            for step in 0..2000 {
                let key = format!("k{}", random.below(200)).into_bytes();
                match random.below(4) {
                    0 => {
                        assert_eq!(database.remove(&key).is_some(), model.remove(&key).is_some());
                    }
                    1 if !model.contains_key(&key) => {
                        database.insert(&key, Value::text(b"v"), 0);
                        model.insert(key, None);
                    }
                    _ if model.contains_key(&key) => {
                        let at = (random.below(3) > 0).then_some(step);
                        database.set_deadline(&key, at);
                        model.insert(key, at);
                    }
                    _ => {}
                }
            }
            for (key, at) in &model {
                assert_eq!(database.deadline_of(key), *at, "seed {seed}");
            }
            assert_eq!(database.volatile_len(), model.values().filter(|at| at.is_some()).count());
        }
    }
}
