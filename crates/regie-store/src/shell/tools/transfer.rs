//! Everything from one running server to another: moving in from a Redis or Valkey, and out to one.
//!
//! Database by database, SCAN gives the names; each value goes as DUMP has it into RESTORE, with its time to live. What
//! the other side cannot read in that form (payloads of a newer server, streams for Redis 6) is read by its type and
//! written with that type's commands, in one transaction for each key.
//!
//! **While the source changes** a key is copied as it is when its turn comes; one that is made meanwhile may be missed.
//! For a move that loses nothing, stop those who write first; a second run with `replace` brings what has changed since
//! (it does not take away what was deleted at the source).
//!
//! Not copied: scripts, users, settings, pub/sub; functions are (FUNCTION DUMP has a form of its own, so each library
//! goes as its code).

use super::server::Connection;
use super::{OnProgress, Progress, ServerAddress, ToolError};
use regie_resp::Frame;

/// Keys that are asked for at once.
const BATCH: &[u8] = b"200";
/// Elements of a collection in one command.
const ELEMENTS: usize = 1000;

/// How [`transfer()`] works.
#[derive(Debug, Clone, Default)]
pub struct TransferOptions {
    /// Keys that are there already are replaced; otherwise they stay and are counted.
    pub replace: bool,
    /// Values are read and written by the commands of their type, also where DUMP and RESTORE would do.
    pub by_type: bool,
    /// Only keys that match this glob.
    pub pattern: Option<String>,
    /// Only these databases; empty: all that hold keys.
    pub databases: Vec<u32>,
}

/// What [`transfer()`] has done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Transferred {
    /// Keys written to the target.
    pub keys: u64,
    /// Of these, keys that were read by their type because the target did not take the source's encoding.
    pub by_type: u64,
    /// Keys that were at the target already and stayed.
    pub kept: u64,
    /// Keys that were gone when their turn came.
    pub vanished: u64,
    /// Libraries of functions.
    pub functions: u64,
    /// Keys written, by database.
    pub databases: Vec<(u32, u64)>,
    /// Keys that could not be written, and why; the first hundred.
    pub failed: Vec<(String, String)>,
    /// How many those are.
    pub failures: u64,
}

/// Copies all keys of `from` to `to`. Ends at the first fault of a connection; what was written until then stays, and a
/// second run with `replace` goes over it again.
pub fn transfer(
    from: &ServerAddress,
    to: &ServerAddress,
    options: &TransferOptions,
    progress: OnProgress<'_>,
) -> Result<Transferred, ToolError> {
    let mut work = Work {
        from: Connection::open(from)?,
        to: Connection::open(to)?,
        options,
        done: Transferred::default(),
    };
    let ids = (work.from.info("server", "run_id")?, work.to.info("server", "run_id")?);
    if ids.0.is_some() && ids.0 == ids.1 {
        return Err(work.to.refused(b"it is the server that is to be copied"));
    }
    let databases = work.databases()?;
    let total = databases.iter().map(|(_, keys)| keys).sum();
    work.functions()?;
    for (db, _) in databases {
        work.select(db)?;
        let before = work.done.keys;
        let mut cursor = b"0".to_vec();
        loop {
            let names = work.names(&mut cursor)?;
            if !names.is_empty() {
                work.batch(&names)?;
                let done = work.done.keys + work.done.kept + work.done.vanished + work.done.failures;
                progress(Progress { what: &format!("database {db}"), done, total });
            }
            if cursor == b"0" {
                break;
            }
        }
        work.done.databases.push((db, work.done.keys - before));
    }
    Ok(work.done)
}

struct Work<'a> {
    from: Connection,
    to: Connection,
    options: &'a TransferOptions,
    done: Transferred,
}

fn text(frame: Frame) -> Option<Vec<u8>> {
    match frame {
        Frame::Bulk(text) | Frame::Simple(text) => Some(text),
        Frame::Integer(number) => Some(number.to_string().into_bytes()),
        Frame::Double(number) => Some(number.to_string().into_bytes()),
        _ => None,
    }
}

fn list(frame: Frame) -> Vec<Frame> {
    match frame {
        Frame::Array(items) | Frame::Set(items) => items,
        Frame::Map(pairs) => pairs.into_iter().flat_map(|(key, value)| [key, value]).collect(),
        _ => Vec::new(),
    }
}

fn texts(frame: Frame) -> Vec<Vec<u8>> {
    list(frame).into_iter().filter_map(text).collect()
}

/// The value behind a name in a reply of names and values.
fn field<'a>(rows: &'a [Frame], name: &str) -> Option<&'a Frame> {
    let at = rows.iter().position(|row| matches!(row, Frame::Bulk(text) if text == name.as_bytes()))?;
    rows.get(at + 1)
}

fn number(frame: Option<&Frame>) -> Option<i64> {
    match frame? {
        Frame::Integer(number) => Some(*number),
        Frame::Bulk(text) => std::str::from_utf8(text).ok()?.parse().ok(),
        _ => None,
    }
}

fn shown(text: &[u8]) -> String {
    String::from_utf8_lossy(&text[..text.len().min(200)]).into_owned()
}

impl Work<'_> {
    /// The databases that hold keys, and how many.
    fn databases(&mut self) -> Result<Vec<(u32, u64)>, ToolError> {
        let (Frame::Bulk(info) | Frame::Verbatim(_, info)) = self.from.ask(&[b"INFO", b"keyspace"])? else {
            return Ok(Vec::new());
        };
        let info = String::from_utf8_lossy(&info).into_owned();
        let row = |line: &str| -> Option<(u32, u64)> {
            let (db, rest) = line.strip_prefix("db")?.split_once(":keys=")?;
            Some((db.parse().ok()?, rest.split(',').next()?.parse().ok()?))
        };
        let wanted =
            |(db, _): &(u32, u64)| self.options.databases.is_empty() || self.options.databases.contains(db);
        Ok(info.lines().filter_map(row).filter(wanted).collect())
    }

    fn select(&mut self, db: u32) -> Result<(), ToolError> {
        let db = db.to_string();
        self.from.ask(&[b"SELECT", db.as_bytes()])?;
        self.to.ask(&[b"SELECT", db.as_bytes()])?;
        Ok(())
    }

    /// Libraries of functions, as their code. A server without functions has none.
    fn functions(&mut self) -> Result<(), ToolError> {
        self.from.send(&[b"FUNCTION", b"LIST", b"WITHCODE"]);
        self.from.flush()?;
        for library in list(self.from.receive()?) {
            let Some(Frame::Bulk(code)) = field(&list(library), "library_code").cloned() else { continue };
            self.to.send(&[b"FUNCTION", b"LOAD", b"REPLACE", &code]);
            self.to.flush()?;
            match self.to.receive()? {
                Frame::Error(why) => self.failed(b"(a library of functions)", &why),
                _ => self.done.functions += 1,
            }
        }
        Ok(())
    }

    fn failed(&mut self, key: &[u8], why: &[u8]) {
        self.done.failures += 1;
        if self.done.failed.len() < 100 {
            self.done.failed.push((shown(key), shown(why)));
        }
    }

    fn names(&mut self, cursor: &mut Vec<u8>) -> Result<Vec<Vec<u8>>, ToolError> {
        let mut words = vec![&b"SCAN"[..], cursor, b"COUNT", BATCH];
        if let Some(pattern) = &self.options.pattern {
            words.extend([&b"MATCH"[..], pattern.as_bytes()]);
        }
        let mut reply = list(self.from.ask(&words)?).into_iter();
        let next = reply.next().and_then(text).unwrap_or_else(|| b"0".to_vec());
        *cursor = next;
        Ok(reply.next().map(texts).unwrap_or_default())
    }

    /// Copies the keys of these names.
    fn batch(&mut self, names: &[Vec<u8>]) -> Result<(), ToolError> {
        if self.options.by_type {
            for name in names {
                let ttl = match self.from.ask(&[b"PTTL", name])? {
                    Frame::Integer(ttl) if ttl >= 0 => ttl.max(1),
                    _ => 0,
                };
                self.by_type(name, ttl.to_string().as_bytes())?;
            }
            return Ok(());
        }
        for name in names {
            self.from.send(&[b"DUMP", name]);
            self.from.send(&[b"PTTL", name]);
        }
        self.from.flush()?;
        let mut sent: Vec<(&[u8], Vec<u8>)> = Vec::new();
        for name in names {
            let (dump, ttl) = (self.from.receive()?, self.from.receive()?);
            match (dump, ttl) {
                (Frame::Bulk(payload), Frame::Integer(ttl)) if ttl != -2 => {
                    // 0 ms left would mean: no deadline.
                    let ttl = if ttl < 0 { 0 } else { ttl.max(1) }.to_string().into_bytes();
                    let mut words = vec![&b"RESTORE"[..], name, &ttl, &payload];
                    if self.options.replace {
                        words.push(b"REPLACE");
                    }
                    self.to.send(&words);
                    sent.push((name, ttl));
                }
                (Frame::Error(why), _) => self.failed(name, &why),
                _ => self.done.vanished += 1,
            }
        }
        self.to.flush()?;
        let mut unread: Vec<(&[u8], Vec<u8>)> = Vec::new();
        for (name, ttl) in sent {
            match self.to.receive()? {
                Frame::Error(why) if why.starts_with(b"BUSYKEY") => self.done.kept += 1,
                Frame::Error(why)
                    if why.starts_with(b"ERR DUMP payload") || why.starts_with(b"ERR Bad data format") =>
                {
                    unread.push((name, ttl));
                }
                Frame::Error(why) => self.failed(name, &why),
                _ => self.done.keys += 1,
            }
        }
        for (name, ttl) in unread {
            self.by_type(name, &ttl)?;
        }
        Ok(())
    }

    /// Copies one key by the commands of its type, in a transaction.
    fn by_type(&mut self, name: &[u8], ttl: &[u8]) -> Result<(), ToolError> {
        let there = self.to.ask(&[b"EXISTS", name])? == Frame::Integer(1);
        if there && !self.options.replace {
            self.done.kept += 1;
            return Ok(());
        }
        let kind = text(self.from.ask(&[b"TYPE", name])?).unwrap_or_default();
        let mut commands: Vec<Vec<Vec<u8>>> = vec![vec![b"DEL".to_vec(), name.to_vec()]];
        let found = match &kind[..] {
            b"string" => {
                let value = text(self.from.ask(&[b"GET", name])?);
                commands.extend(value.map(|value| vec![b"SET".to_vec(), name.to_vec(), value]));
                commands.len() > 1
            }
            b"list" => {
                let items = texts(self.from.ask(&[b"LRANGE", name, b"0", b"-1"])?);
                spread(&mut commands, b"RPUSH", name, &items, 1)
            }
            b"set" => {
                let items = texts(self.from.ask(&[b"SMEMBERS", name])?);
                spread(&mut commands, b"SADD", name, &items, 1)
            }
            b"hash" => {
                let items = texts(self.from.ask(&[b"HGETALL", name])?);
                let ends = self.field_ends(name, &items)?;
                // Whoever does not know of ends would keep for ever what is to go.
                if !ends.is_empty() && !self.target_ends_fields(name)? {
                    self.failed(
                        name,
                        b"some of its fields end by themselves, which takes a Redis from 7.4 on",
                    );
                    return Ok(());
                }
                let found = spread(&mut commands, b"HSET", name, &items, 2);
                commands.extend(ends);
                found
            }
            b"zset" => {
                let mut items = texts(self.from.ask(&[b"ZRANGE", name, b"0", b"-1", b"WITHSCORES"])?);
                items.chunks_exact_mut(2).for_each(|pair| pair.swap(0, 1));
                spread(&mut commands, b"ZADD", name, &items, 2)
            }
            b"stream" => self.stream(name, &mut commands)?,
            b"none" => false,
            _ => {
                self.failed(name, b"a type that is not known here");
                return Ok(());
            }
        };
        if !found {
            self.done.vanished += 1;
            return Ok(());
        }
        if ttl != b"0" {
            commands.push(vec![b"PEXPIRE".to_vec(), name.to_vec(), ttl.to_vec()]);
        }
        self.transaction(name, &commands)
    }

    /// The commands that let the fields of a hash end that do. A server that knows no such command has no such fields.
    fn field_ends(&mut self, name: &[u8], items: &[Vec<u8>]) -> Result<Vec<Vec<Vec<u8>>>, ToolError> {
        let mut commands = Vec::new();
        for some in items.chunks(ELEMENTS * 2) {
            let count = (some.len() / 2).to_string();
            let mut words = vec![&b"HPEXPIRETIME"[..], name, b"FIELDS", count.as_bytes()];
            words.extend(some.iter().step_by(2).map(Vec::as_slice));
            self.from.send(&words);
            self.from.flush()?;
            let Frame::Array(ends) = self.from.receive()? else { return Ok(Vec::new()) };
            for (field, end) in some.iter().step_by(2).zip(ends) {
                if let Frame::Integer(at @ 0..) = end {
                    let at = at.to_string();
                    let words: [&[u8]; 6] = [b"HPEXPIREAT", name, at.as_bytes(), b"FIELDS", b"1", field];
                    commands.push(words.iter().map(|word| word.to_vec()).collect());
                }
            }
        }
        Ok(commands)
    }

    /// Whether the target knows of fields that end.
    fn target_ends_fields(&mut self, name: &[u8]) -> Result<bool, ToolError> {
        self.to.send(&[b"HTTL", name, b"FIELDS", b"1", b"f"]);
        self.to.flush()?;
        Ok(!matches!(self.to.receive()?, Frame::Error(why) if why.starts_with(b"ERR unknown command")))
    }

    fn transaction(&mut self, name: &[u8], commands: &[Vec<Vec<u8>>]) -> Result<(), ToolError> {
        self.to.send(&[b"MULTI"]);
        for command in commands {
            let words: Vec<&[u8]> = command.iter().map(Vec::as_slice).collect();
            self.to.send(&words);
        }
        self.to.send(&[b"EXEC"]);
        self.to.flush()?;
        let mut fault = None;
        for _ in 0..=commands.len() {
            if let Frame::Error(why) = self.to.receive()? {
                fault.get_or_insert(why);
            }
        }
        let reply = self.to.receive()?;
        let inner = |frame: &Frame| match frame {
            Frame::Error(why) => Some(why.clone()),
            _ => None,
        };
        let fault = fault.or_else(|| inner(&reply)).or_else(|| list(reply).iter().find_map(inner));
        match fault {
            Some(why) => self.failed(name, &why),
            None => {
                self.done.keys += 1;
                self.done.by_type += 1;
            }
        }
        Ok(())
    }

    /// The commands that make a stream with its groups, their consumers and what is pending.
    fn stream(&mut self, name: &[u8], commands: &mut Vec<Vec<Vec<u8>>>) -> Result<bool, ToolError> {
        let words = |words: &[&[u8]]| -> Vec<Vec<u8>> { words.iter().map(|word| word.to_vec()).collect() };
        let about = list(self.from.ask(&[b"XINFO", b"STREAM", name])?);
        let last = field(&about, "last-generated-id").cloned().and_then(text).unwrap_or_default();
        let mut is_empty = true;
        for entry in list(self.from.ask(&[b"XRANGE", name, b"-", b"+"])?) {
            let mut entry = list(entry).into_iter();
            let (Some(id), Some(fields)) = (entry.next().and_then(text), entry.next().map(texts)) else {
                continue;
            };
            let mut command = words(&[b"XADD", name, &id]);
            command.extend(fields);
            commands.push(command);
            is_empty = false;
        }
        if is_empty {
            // A stream that has been read empty is made by adding an entry and taking it away.
            commands.push(words(&[b"XADD", name, if last == b"0-0" { b"0-1" } else { &last }, b"f", b"v"]));
            commands.push(words(&[b"XTRIM", name, b"MAXLEN", b"0"]));
        }
        commands.push(words(&[b"XSETID", name, if last == b"0-0" { b"0-1" } else { &last }]));
        for group in list(self.from.ask(&[b"XINFO", b"GROUPS", name])?) {
            let group = list(group);
            let group_name = field(&group, "name").cloned().and_then(text).unwrap_or_default();
            let delivered = field(&group, "last-delivered-id").cloned().and_then(text).unwrap_or_default();
            commands.push(words(&[b"XGROUP", b"CREATE", name, &group_name, &delivered]));
            for consumer in list(self.from.ask(&[b"XINFO", b"CONSUMERS", name, &group_name])?) {
                let consumer = field(&list(consumer), "name").cloned().and_then(text).unwrap_or_default();
                commands.push(words(&[b"XGROUP", b"CREATECONSUMER", name, &group_name, &consumer]));
            }
            let pending = number(field(&group, "pending")).unwrap_or(0).max(1).to_string();
            let rows = self.from.ask(&[b"XPENDING", name, &group_name, b"-", b"+", pending.as_bytes()])?;
            for row in list(rows) {
                let row = texts(row);
                let [id, consumer, idle, count] = &row[..] else { continue };
                commands.push(words(&[
                    b"XCLAIM",
                    name,
                    &group_name,
                    consumer,
                    b"0",
                    id,
                    b"IDLE",
                    idle,
                    b"RETRYCOUNT",
                    count,
                    b"FORCE",
                    b"JUSTID",
                ]));
            }
        }
        Ok(true)
    }
}

/// Commands that put `items` in, some at a time; `each` belong together.
fn spread(
    commands: &mut Vec<Vec<Vec<u8>>>,
    command: &[u8],
    name: &[u8],
    items: &[Vec<u8>],
    each: usize,
) -> bool {
    for some in items.chunks(ELEMENTS * each) {
        let head = [command.to_vec(), name.to_vec()];
        commands.push(head.into_iter().chain(some.iter().cloned()).collect());
    }
    !items.is_empty()
}
