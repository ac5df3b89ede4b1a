//! What a command works with: the data, its client, and the reply being written. Everything that a change entails
//! (deadlines passed, the walk, watched keys, notifications, the log) is done here once, so that a command says only
//! what it changes.

use crate::blob::Blob;
use crate::database::{Database, Entry};
use crate::engine::Engine;
use crate::failure::{NOT_FLOAT, NOT_INTEGER, Outcome, WRONG_TYPE};
use crate::notify::Class;
use crate::number::{parse_double, parse_integer};
use crate::script::Meanwhile;
use crate::session::{Blocked, ClientId, OwnedArguments, Session, Waiting};
use crate::structures::hash::Hash;
use crate::structures::list::List;
use crate::structures::set::Set;
use crate::structures::sorted_set::SortedSet;
use crate::structures::stream::Stream;
use crate::value::Value;
use regie_resp::Encoder;
use std::borrow::Cow;

/// See the module's description.
pub(crate) struct Ctx<'a> {
    pub(crate) engine: &'a mut Engine,
    pub(crate) client: ClientId,
    /// The client's database.
    pub(crate) db: usize,
    pub(crate) out: &'a mut Encoder,
    /// Who serves others while a script takes long.
    pub(crate) outside: &'a mut dyn Meanwhile,
    /// Within MULTI or a script: a blocking command answers at once.
    pub(crate) may_not_block: bool,
    /// Within a script.
    pub(crate) in_script: bool,
    /// What goes into the log in place of the command itself.
    pub(crate) log: Log,
}

/// What goes into the log when a command has changed something.
#[derive(Debug, Default)]
pub(crate) enum Log {
    /// The command as it came.
    #[default]
    Itself,
    /// These commands.
    Instead(Vec<OwnedArguments>),
}

macro_rules! typed {
    ($(#[$doc:meta])* $read:ident, $write:ident, $obtain:ident, $variant:ident, $type:ty, $new:expr) => {
        $(#[$doc])*
        pub(crate) fn $read(&mut self, key: &[u8]) -> Outcome<Option<&$type>> {
            self.engine.$read(self.db, key)
        }

        /// For changing it.
        pub(crate) fn $write(&mut self, key: &[u8]) -> Outcome<Option<&mut $type>> {
            match self.write(key) {
                None => Ok(None),
                Some(Value::$variant(found)) => Ok(Some(found)),
                Some(_) => Err(WRONG_TYPE),
            }
        }

        /// For changing it; made when it is not there.
        pub(crate) fn $obtain(&mut self, key: &[u8]) -> Outcome<&mut $type> {
            if self.write(key).is_none() {
                self.insert(key, Value::$variant(Box::new($new)));
                self.write(key);
            }
            match self.database().get_mut_again(key).map(|entry| &mut entry.value) {
                Some(Value::$variant(found)) => Ok(found),
                _ => Err(WRONG_TYPE),
            }
        }
    };
}

impl Ctx<'_> {
    pub(crate) fn session(&mut self) -> &mut Session {
        self.engine.session(self.client)
    }

    pub(crate) fn database(&mut self) -> &mut Database {
        &mut self.engine.databases[self.db]
    }

    pub(crate) fn now(&self) -> i64 {
        self.engine.now
    }

    // ---- keys ----

    /// The value for reading. Counts as a use of the key and as a hit or miss.
    pub(crate) fn read(&mut self, key: &[u8]) -> Option<&Value> {
        self.engine.read(self.db, key)
    }

    /// The entry without counting as a use.
    pub(crate) fn peek(&mut self, key: &[u8]) -> Option<&Entry> {
        let db = self.db;
        self.engine.peek(db, key)
    }

    pub(crate) fn exists(&mut self, key: &[u8]) -> bool {
        self.peek(key).is_some()
    }

    /// The value for changing it.
    pub(crate) fn write(&mut self, key: &[u8]) -> Option<&mut Value> {
        self.engine.write(self.db, key)
    }

    /// Puts a value under a key, in place of what is there. Its deadline goes unless `keep_deadline`.
    pub(crate) fn put(&mut self, key: &[u8], value: Value, keep_deadline: bool) {
        let db = self.db;
        self.engine.before_change(db, key);
        self.engine.unsettled |= 1 << db;
        let clock = self.engine.access_clock();
        let Some(entry) = self.engine.databases[db].get_mut(key) else { return self.insert(key, value) };
        let old = std::mem::replace(&mut entry.value, value);
        entry.mark.set(entry.mark.get() & !crate::protect::mark::LOCK);
        if !self.engine.config.is_lfu(db) {
            entry.access.set(clock);
        }
        let volatile = entry.is_volatile();
        if volatile && !keep_deadline {
            self.engine.databases[db].set_deadline(key, None);
        }
        if matches!(old, Value::Stream(_)) {
            self.engine.key_may_be_ready(db, key);
        }
        self.discard(old);
    }

    /// Puts a new key in; it must not be there.
    pub(crate) fn insert(&mut self, key: &[u8], value: Value) {
        let db = self.db;
        self.engine.insert(db, key, value);
    }

    /// Takes a key out.
    pub(crate) fn remove(&mut self, key: &[u8]) -> Option<Value> {
        let db = self.db;
        self.engine.take_key(db, key).map(|entry| entry.value)
    }

    /// Deletes a key and tells of it; true if it was there.
    pub(crate) fn delete(&mut self, key: &[u8]) -> bool {
        if self.engine.expire_if_due(self.db, key) {
            return false;
        }
        let Some(value) = self.remove(key) else { return false };
        self.discard(value);
        self.changed(Class::GENERIC, "del", key);
        true
    }

    /// Frees a value, on another thread if it is big.
    pub(crate) fn discard(&mut self, value: Value) {
        self.engine.free(value);
    }

    /// To be called after each change of a key: watchers, trackers and listeners hear of it, and it is logged.
    pub(crate) fn changed(&mut self, class: Class, event: &str, key: &[u8]) {
        self.engine.dirty += 1;
        self.engine.key_changed(self.db, key, self.client);
        self.engine.notify(class, event, self.db, key);
    }

    /// Like [`Ctx::changed`] without a notification.
    pub(crate) fn changed_silently(&mut self, key: &[u8]) {
        self.engine.dirty += 1;
        self.engine.key_changed(self.db, key, self.client);
    }

    pub(crate) fn notify(&mut self, class: Class, event: &str, key: &[u8]) {
        self.engine.notify(class, event, self.db, key);
    }

    /// Deletes a collection that has become empty.
    pub(crate) fn delete_if_empty(&mut self, key: &[u8]) -> bool {
        let is_empty = match self.engine.databases[self.db].get(key).map(|entry| &entry.value) {
            Some(Value::List(list)) => list.len() == 0,
            Some(Value::Set(set)) => set.len() == 0,
            Some(Value::Hash(hash)) => hash.len() == 0,
            Some(Value::SortedSet(set)) => set.len() == 0,
            _ => false,
        };
        if is_empty {
            self.remove(key);
            self.notify(Class::GENERIC, "del", key);
        }
        is_empty
    }

    // ---- values of a type ----

    /// The bytes of a string.
    pub(crate) fn text(&mut self, key: &[u8]) -> Outcome<Option<Cow<'_, [u8]>>> {
        match self.read(key) {
            None => Ok(None),
            Some(value) => value.as_text().map(Some).ok_or(WRONG_TYPE),
        }
    }

    /// Writes the string under `key`, or null.
    pub(crate) fn reply_text(&mut self, key: &[u8]) -> Outcome {
        match self.engine.read(self.db, key) {
            None => self.out.null(),
            Some(value) => self.out.bulk(&value.as_text().ok_or(WRONG_TYPE)?),
        }
        Ok(())
    }

    typed!(/** The list under `key`. */ list, list_mut, list_or_new, List, List, List::default());
    typed!(/** The hash under `key`. */ hash, hash_mut, hash_or_new, Hash, Hash, Hash::new());
    typed!(/** The set under `key`. */ set, set_mut, set_or_new, Set, Set, Set::new());
    typed!(/** The sorted set under `key`. */ sorted_set, sorted_set_mut, sorted_set_or_new, SortedSet, SortedSet, SortedSet::new());
    typed!(/** The stream under `key`. */ stream, stream_mut, stream_or_new, Stream, Stream, Stream::default());

    // ---- the log ----

    /// Logs `arguments` in place of the command itself. May be called several times.
    pub(crate) fn log_instead(&mut self, arguments: &[&[u8]]) {
        let arguments = arguments.iter().map(|argument| argument.to_vec()).collect();
        match &mut self.log {
            Log::Instead(commands) => commands.push(arguments),
            Log::Itself => self.log = Log::Instead(vec![arguments]),
        }
    }

    /// Sends a command to the replicas that changes no data: the log does not have it.
    pub(crate) fn replicate_only(&mut self, arguments: &[&[u8]]) {
        let db = self.db;
        self.engine.replication.add(db, arguments);
    }

    /// Logs nothing for this command.
    pub(crate) fn log_nothing(&mut self) {
        if matches!(self.log, Log::Itself) {
            self.log = Log::Instead(Vec::new());
        }
    }

    // ---- waiting ----

    /// Blocks the client until one of `keys` has what it waits for; `false` if it may not block.
    pub(crate) fn block(
        &mut self,
        waiting: Waiting,
        keys: &[&[u8]],
        timeout_ms: Option<i64>,
        arguments: &[&[u8]],
    ) -> bool {
        if self.may_not_block {
            return false;
        }
        let now = self.now();
        let blocked = Blocked {
            waiting,
            deadline: timeout_ms.map(|timeout| now.saturating_add(timeout)),
            keys: keys.iter().map(|&key| Blob::from(key)).collect(),
            db: self.db,
            arguments: arguments.iter().map(|argument| argument.to_vec()).collect(),
            since: self.engine.now_us,
        };
        self.engine.block(self.client, blocked);
        true
    }
}

/// An integer argument.
pub(crate) fn integer(text: &[u8]) -> Outcome<i64> {
    parse_integer(text).ok_or(NOT_INTEGER)
}

/// A floating-point argument.
pub(crate) fn float(text: &[u8]) -> Outcome<f64> {
    parse_double(text).ok_or(NOT_FLOAT)
}

/// Whether an argument is this word.
pub(crate) fn is(argument: &[u8], word: &str) -> bool {
    argument.eq_ignore_ascii_case(word.as_bytes())
}

/// A timeout in seconds as milliseconds; `None` waits for ever.
pub(crate) fn timeout(text: &[u8], now: i64) -> Outcome<Option<i64>> {
    let seconds = parse_double(text).ok_or("ERR timeout is not a float or out of range")?;
    if seconds < 0.0 {
        return Err("ERR timeout is negative".into());
    }
    let ms = seconds * 1000.0;
    if !ms.is_finite() || ms > (i64::MAX - now) as f64 {
        return Err("ERR timeout is out of range".into());
    }
    Ok(if ms == 0.0 { None } else { Some(ms.ceil() as i64) })
}

/// Start and end of a range given with negative indexes, as a half-open range within `length`.
pub(crate) fn index_range(start: i64, end: i64, length: usize) -> std::ops::Range<usize> {
    let length = length as i64;
    let start = if start < 0 { (length + start).max(0) } else { start };
    let end = if end < 0 { length + end } else { end.min(length - 1) };
    if start > end || start >= length { 0..0 } else { start as usize..end as usize + 1 }
}
