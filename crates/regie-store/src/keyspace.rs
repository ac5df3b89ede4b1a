//! The data as the engine reaches it: deadlines that have passed, uses, the walk, and who hears of a change.

use crate::blob::Blob;
use crate::database::{Database, Entry};
use crate::effects::{Garbage, Trash};
use crate::engine::Engine;
use crate::failure::{Outcome, WRONG_TYPE};
use crate::notify::Class;
use crate::session::ClientId;
use crate::structures::hash::Hash;
use crate::structures::list::List;
use crate::structures::set::Set;
use crate::structures::sorted_set::SortedSet;
use crate::structures::stream::Stream;
use crate::value::Value;

macro_rules! typed {
    ($read:ident, $variant:ident, $type:ty) => {
        pub(crate) fn $read(&mut self, db: usize, key: &[u8]) -> Outcome<Option<&$type>> {
            match self.read(db, key) {
                None => Ok(None),
                Some(Value::$variant(found)) => Ok(Some(found)),
                Some(_) => Err(WRONG_TYPE),
            }
        }
    };
}

impl Engine {
    typed!(list, List, List);
    typed!(hash, Hash, Hash);
    typed!(set, Set, Set);
    typed!(sorted_set, SortedSet, SortedSet);
    typed!(stream, Stream, Stream);

    /// The value for reading. Counts as a use of the key and as a hit or miss.
    pub(crate) fn read(&mut self, db: usize, key: &[u8]) -> Option<&Value> {
        // A key that is due is still there while clients are paused.
        let is_gone = self.expire_if_due(db, key);
        if self.config.events.has(Class::KEY_MISS) && (is_gone || self.databases[db].get(key).is_none()) {
            self.notify(Class::KEY_MISS, "keymiss", db, key);
        }
        let clock = self.access_clock();
        let Some(entry) = self.databases[db].get(key).filter(|_| !is_gone) else {
            self.stats.misses += 1;
            return None;
        };
        self.stats.hits += 1;
        if self.is_untouched {
            return Some(&entry.value);
        }
        let access = if self.config.is_lfu(db) {
            crate::evict::count_use(&self.config, entry.access.get(), clock, &mut self.random)
        } else {
            clock
        };
        entry.access.set(access);
        Some(&entry.value)
    }

    /// The value for changing it.
    pub(crate) fn write(&mut self, db: usize, key: &[u8]) -> Option<&mut Value> {
        if self.expire_if_due(db, key) {
            return None;
        }
        self.before_change(db, key);
        let clock = self.access_clock();
        let is_lfu = self.config.is_lfu(db);
        self.unsettled |= 1 << db;
        let entry = self.databases[db].get_mut(key)?;
        if !self.is_untouched {
            let access = if is_lfu {
                crate::evict::count_use(&self.config, entry.access.get(), clock, &mut self.random)
            } else {
                clock
            };
            entry.access.set(access);
        }
        Some(&mut entry.value)
    }

    /// The entry without counting as a use.
    pub(crate) fn peek(&mut self, db: usize, key: &[u8]) -> Option<&Entry> {
        if self.expire_if_due(db, key) { None } else { self.databases[db].get(key) }
    }

    /// Puts a new key in; it must not be there.
    pub(crate) fn insert(&mut self, db: usize, key: &[u8], value: Value) {
        let access = crate::evict::first_use(self.config.is_lfu(db), self.access_clock());
        let waits = matches!(value, Value::List(_) | Value::SortedSet(_) | Value::Stream(_));
        self.databases[db].insert(key, value, access);
        if waits {
            self.key_may_be_ready(db, key);
        }
        self.notify(Class::NEW, "new", db, key);
    }

    /// Takes a key out, whatever its deadline.
    pub(crate) fn take_key(&mut self, db: usize, key: &[u8]) -> Option<Entry> {
        self.before_change(db, key);
        let entry = self.databases[db].remove(key)?;
        if matches!(entry.value, Value::Stream(_)) {
            self.key_may_be_ready(db, key);
        }
        Some(entry)
    }

    /// Sets or takes away the deadline of a key that is there.
    pub(crate) fn set_deadline(&mut self, db: usize, key: &[u8], at: Option<i64>) {
        self.before_change(db, key);
        self.databases[db].set_deadline(key, at);
    }

    /// Deletes the key if its time has passed; true then.
    pub(crate) fn expire_if_due(&mut self, db: usize, key: &[u8]) -> bool {
        let now = self.now;
        // What the log did to a key was done while it lived.
        if self.is_loading || self.is_from_leader {
            return false;
        }
        if self.databases[db].has_ended_fields(now) {
            self.end_fields(db, key, usize::MAX);
        }
        if !self.databases[db].is_due(key, now) {
            return false;
        }
        // While clients are paused nothing changes, and a replica waits for its leader's word; the key is gone all the
        // same.
        let waits = self.following.is_some() && self.config.replica_read_only;
        if self.pause.is_none() && !waits {
            self.expire(db, key);
        }
        true
    }

    /// Removes at most `limit` of a hash's fields whose time has passed; how many those were. All of them at once before
    /// anybody looks at the hash, so that no command has to know of them.
    pub(crate) fn end_fields(&mut self, db: usize, key: &[u8], limit: usize) -> usize {
        let now = self.now;
        let first = self.databases[db].get(key).and_then(|entry| entry.value.first_end());
        let waits = self.pause.is_some() || (self.following.is_some() && self.config.replica_read_only);
        if waits || first.is_none_or(|at| at > now) {
            return 0;
        }
        self.before_change(db, key);
        self.unsettled |= 1 << db;
        let Some(Value::Hash(hash)) = self.databases[db].get_mut(key).map(|entry| &mut entry.value) else {
            return 0;
        };
        let gone = hash.remove_due(now, limit);
        let is_empty = hash.len() == 0;
        let mut record: Vec<&[u8]> = vec![b"HDEL", key];
        record.extend(gone.iter().map(|field| &**field));
        self.log(db, &record);
        self.key_changed(db, key, 0);
        self.notify(Class::HASH, "hexpired", db, key);
        if is_empty {
            self.take_key(db, key);
            self.notify(Class::GENERIC, "del", db, key);
        }
        gone.len()
    }

    /// Deletes a key because its time has passed.
    pub(crate) fn expire(&mut self, db: usize, key: &[u8]) {
        let Some(entry) = self.take_key(db, key) else { return };
        self.free(entry.value);
        self.stats.expired += 1;
        self.log(db, &[b"DEL", key]);
        self.key_changed(db, key, 0);
        self.notify(Class::EXPIRED, "expired", db, key);
    }

    /// Frees a value, on another thread if it is big.
    pub(crate) fn free(&mut self, value: Value) {
        if value.elements() > 64 {
            self.stats.lazily_freed += 1;
            self.effects.garbage.push(Garbage(Trash::Value(value)));
        }
    }

    /// Records the key if a walk is under way that has not come to it.
    pub(crate) fn before_change(&mut self, db: usize, key: &[u8]) {
        if let Some(walk) = &mut self.walk {
            let database = &mut self.databases[db];
            database.before_change(walk.picture_of(db), key, &mut walk.recorder);
        }
    }

    /// Watchers and trackers of a key hear that it has changed; `client` is who did it, 0 for the server itself.
    pub(crate) fn key_changed(&mut self, db: usize, key: &[u8], client: ClientId) {
        if !self.watchers.is_empty()
            && let Some(clients) = self.watchers.get(&(db, Blob::from(key)))
        {
            for client in clients {
                if let Some(session) = self.sessions.get_mut(client) {
                    session.watch_is_dirty = true;
                }
            }
        }
        self.tracking_invalidate(key, client);
    }

    /// Empties a database; what was there is freed on another thread.
    pub(crate) fn flush(&mut self, db: usize) -> usize {
        let keys = self.databases[db].len();
        self.touch_watchers_of(db, None);
        let seed = self.random.next();
        let old = self.databases[db].take(seed);
        // The walk shows what was there when it began: it goes on in the old table.
        match &mut self.walk {
            Some(walk) => walk.retire(db, old),
            None => self.effects.garbage.push(Garbage(Trash::Database(Box::new(old)))),
        }
        keys
    }

    /// Marks the transactions of those who watch keys of `db` that are there, or would be after a swap with `other`.
    pub(crate) fn touch_watchers_of(&mut self, db: usize, other: Option<&Database>) {
        let Self { watchers, databases, sessions, .. } = self;
        for ((watched_db, key), clients) in watchers.iter() {
            let there =
                databases[db].get(key).is_some() || other.is_some_and(|other| other.get(key).is_some());
            if *watched_db == db && there {
                for client in clients {
                    if let Some(session) = sessions.get_mut(client) {
                        session.watch_is_dirty = true;
                    }
                }
            }
        }
    }

    /// Settles the account of memory of what was changed.
    pub(crate) fn settle(&mut self) {
        while self.unsettled != 0 {
            let db = self.unsettled.trailing_zeros() as usize;
            self.databases[db].settle();
            self.unsettled &= self.unsettled - 1;
        }
    }
}
