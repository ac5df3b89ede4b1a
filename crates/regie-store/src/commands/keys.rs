//! Commands that hold for keys of any type.

use crate::context::{Ctx, integer, is};
use crate::evict;
use crate::failure::{Failure, NO_KEY, NOT_INTEGER, Outcome, SAME_OBJECT, SYNTAX};
use crate::glob;
use crate::notify::Class;
use crate::rdb;
use crate::value::{Kind, Value};

pub(crate) fn del(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let count = args[1..].iter().filter(|key| ctx.delete(key)).count();
    ctx.out.integer(count as i64);
    Ok(())
}

pub(crate) fn exists(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    // Not a use of the keys, but a look for them.
    let count = args[1..].iter().filter(|key| ctx.exists(key)).count();
    ctx.engine.stats.hits += count as u64;
    ctx.engine.stats.misses += (args.len() - 1 - count) as u64;
    ctx.out.integer(count as i64);
    Ok(())
}

pub(crate) fn touch(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let count = args[1..].iter().filter(|key| ctx.read(key).is_some()).count();
    ctx.out.integer(count as i64);
    Ok(())
}

pub(crate) fn type_of(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let name = ctx.peek(args[1]).map_or("none", |entry| entry.value.kind().name());
    ctx.out.simple(name);
    Ok(())
}

/// The options of EXPIRE and its like.
#[derive(Default)]
struct Condition {
    only_without: bool,
    only_with: bool,
    only_later: bool,
    only_earlier: bool,
}

fn condition(words: &[&[u8]]) -> Outcome<Condition> {
    let mut found = Condition::default();
    for word in words {
        match () {
            () if is(word, "NX") => found.only_without = true,
            () if is(word, "XX") => found.only_with = true,
            () if is(word, "GT") => found.only_later = true,
            () if is(word, "LT") => found.only_earlier = true,
            () => return Err(format!("ERR Unsupported option {}", crate::failure::shown(word)).into()),
        }
    }
    if found.only_without && (found.only_with || found.only_later || found.only_earlier) {
        return Err("ERR NX and XX, GT or LT options at the same time are not compatible".into());
    }
    if found.only_later && found.only_earlier {
        return Err("ERR GT and LT options at the same time are not compatible".into());
    }
    Ok(found)
}

fn expire_at(ctx: &mut Ctx<'_>, args: &[&[u8]], scale: i64, relative: bool, command: &str) -> Outcome {
    let (key, db) = (args[1], ctx.db);
    let amount = integer(args[2])?;
    let base = if relative { ctx.now() } else { 0 };
    let at = amount
        .checked_mul(scale)
        .and_then(|ms| ms.checked_add(base))
        .ok_or_else(|| Failure::from(format!("ERR invalid expire time in '{command}' command")))?;
    let condition = condition(&args[3..])?;
    if !ctx.exists(key) {
        ctx.out.integer(0);
        return Ok(());
    }
    let current = ctx.engine.databases[db].deadline_of(key);
    let refused = (condition.only_without && current.is_some())
        || (condition.only_with && current.is_none())
        || (condition.only_later && current.is_none_or(|current| at <= current))
        || (condition.only_earlier && current.is_some_and(|current| at >= current));
    if refused {
        ctx.out.integer(0);
        return Ok(());
    }
    if at <= ctx.now() && !ctx.engine.is_loading {
        ctx.delete(key);
        ctx.log_instead(&[b"DEL", key]);
    } else {
        ctx.engine.set_deadline(db, key, Some(at));
        ctx.changed(Class::GENERIC, "expire", key);
        ctx.log_instead(&[b"PEXPIREAT", key, at.to_string().as_bytes()]);
    }
    ctx.out.integer(1);
    Ok(())
}

pub(crate) fn expire(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    expire_at(ctx, args, 1000, true, "expire")
}

pub(crate) fn pexpire(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    expire_at(ctx, args, 1, true, "pexpire")
}

pub(crate) fn expireat(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    expire_at(ctx, args, 1000, false, "expireat")
}

pub(crate) fn pexpireat(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    expire_at(ctx, args, 1, false, "pexpireat")
}

/// Writes -2 without the key, -1 without a deadline, else what `show` makes of it.
fn reply_deadline(ctx: &mut Ctx<'_>, key: &[u8], show: impl Fn(i64) -> i64) -> Outcome {
    let reply = if ctx.exists(key) { ctx.database().deadline_of(key).map_or(-1, show) } else { -2 };
    ctx.out.integer(reply);
    Ok(())
}

pub(crate) fn ttl(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let now = ctx.now();
    reply_deadline(ctx, args[1], |at| ((at - now).max(0) + 500) / 1000)
}

pub(crate) fn pttl(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let now = ctx.now();
    reply_deadline(ctx, args[1], |at| (at - now).max(0))
}

pub(crate) fn expiretime(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    reply_deadline(ctx, args[1], |at| (at + 500) / 1000)
}

pub(crate) fn pexpiretime(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    reply_deadline(ctx, args[1], |at| at)
}

pub(crate) fn persist(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let (key, db) = (args[1], ctx.db);
    let volatile = ctx.peek(key).is_some_and(crate::database::Entry::is_volatile);
    if volatile {
        ctx.engine.set_deadline(db, key, None);
        ctx.changed(Class::GENERIC, "persist", key);
    }
    ctx.out.integer(i64::from(volatile));
    Ok(())
}

fn rename_key(ctx: &mut Ctx<'_>, args: &[&[u8]], only_new: bool) -> Outcome {
    let (from, to, db) = (args[1], args[2], ctx.db);
    if !ctx.exists(from) {
        return Err(NO_KEY);
    }
    if from == to {
        if only_new {
            ctx.out.integer(0);
        } else {
            ctx.out.ok();
        }
        return Ok(());
    }
    if ctx.exists(to) {
        if only_new {
            ctx.out.integer(0);
            return Ok(());
        }
        if let Some(old) = ctx.remove(to) {
            ctx.discard(old);
        }
    }
    let at = ctx.database().deadline_of(from);
    if let Some(value) = ctx.remove(from) {
        ctx.insert(to, value);
        ctx.engine.set_deadline(db, to, at);
    }
    ctx.changed(Class::GENERIC, "rename_from", from);
    ctx.changed(Class::GENERIC, "rename_to", to);
    if only_new {
        ctx.out.integer(1);
    } else {
        ctx.out.ok();
    }
    Ok(())
}

pub(crate) fn rename(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    rename_key(ctx, args, false)
}

pub(crate) fn renamenx(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    rename_key(ctx, args, true)
}

fn database_number(ctx: &Ctx<'_>, text: &[u8], complaint: &'static str) -> Outcome<usize> {
    let number = crate::number::parse_integer(text).ok_or(complaint)?;
    usize::try_from(number)
        .ok()
        .filter(|number| *number < ctx.engine.databases.len())
        .ok_or_else(|| "ERR DB index is out of range".into())
}

pub(crate) fn move_key(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let (key, from) = (args[1], ctx.db);
    let to = database_number(ctx, args[2], "ERR value is not an integer or out of range")?;
    if from == to {
        return Err(SAME_OBJECT);
    }
    let there = ctx.engine.peek(to, key).is_some();
    if !ctx.exists(key) || there {
        ctx.out.integer(0);
        return Ok(());
    }
    let at = ctx.database().deadline_of(key);
    if let Some(value) = ctx.remove(key) {
        ctx.engine.insert(to, key, value);
        ctx.engine.set_deadline(to, key, at);
    }
    ctx.changed(Class::GENERIC, "move_from", key);
    ctx.engine.key_changed(to, key, ctx.client);
    ctx.engine.notify(Class::GENERIC, "move_to", to, key);
    ctx.out.integer(1);
    Ok(())
}

pub(crate) fn copy(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let (from, to) = (args[1], args[2]);
    let (mut target, mut replace) = (ctx.db, false);
    let mut at = 3;
    while at < args.len() {
        if is(args[at], "REPLACE") {
            replace = true;
        } else if is(args[at], "DB") && at + 1 < args.len() {
            target = database_number(ctx, args[at + 1], "ERR value is not an integer or out of range")?;
            at += 1;
        } else {
            return Err(SYNTAX);
        }
        at += 1;
    }
    if target == ctx.db && from == to {
        return Err(SAME_OBJECT);
    }
    let Some(value) = ctx.peek(from).map(|entry| entry.value.clone()) else {
        ctx.out.integer(0);
        return Ok(());
    };
    let deadline = ctx.database().deadline_of(from);
    if ctx.engine.peek(target, to).is_some() {
        if !replace {
            ctx.out.integer(0);
            return Ok(());
        }
        if let Some(old) = ctx.engine.take_key(target, to) {
            ctx.discard(old.value);
        }
    }
    ctx.engine.insert(target, to, value);
    ctx.engine.set_deadline(target, to, deadline);
    ctx.engine.dirty += 1;
    ctx.engine.key_changed(target, to, ctx.client);
    ctx.engine.notify(Class::GENERIC, "copy_to", target, to);
    ctx.out.integer(1);
    Ok(())
}

pub(crate) fn randomkey(ctx: &mut Ctx<'_>, _args: &[&[u8]]) -> Outcome {
    let db = ctx.db;
    for _ in 0..100 {
        let engine = &mut *ctx.engine;
        let Some(key) =
            engine.databases[db].table.random_fair(&mut engine.random).map(|entry| entry.key.clone())
        else {
            break;
        };
        if !engine.expire_if_due(db, &key) {
            ctx.out.bulk(&key);
            return Ok(());
        }
    }
    ctx.out.null();
    Ok(())
}

pub(crate) fn keys(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let now = ctx.now();
    let (mark, mut count) = (ctx.out.mark(), 0);
    let database = &ctx.engine.databases[ctx.db];
    let all = args[1] == b"*";
    for entry in database.table.iter() {
        let due = database.deadline(entry).is_some_and(|at| at <= now);
        if !due && (all || glob::matches(args[1], &entry.key, false)) {
            ctx.out.bulk(&entry.key);
            count += 1;
        }
    }
    ctx.out.array_at(mark, count);
    Ok(())
}

/// The options that SCAN and its like share.
pub(crate) struct ScanOptions<'a> {
    pub(crate) cursor: u64,
    pub(crate) pattern: Option<&'a [u8]>,
    pub(crate) count: usize,
    pub(crate) kind: Option<Option<Kind>>,
}

/// Reads the cursor at `at` and the options behind it.
pub(crate) fn scan_options<'a>(args: &[&'a [u8]], at: usize) -> Outcome<ScanOptions<'a>> {
    let cursor = std::str::from_utf8(args[at]).ok().and_then(|text| text.parse().ok());
    let cursor = cursor.ok_or("ERR invalid cursor")?;
    let mut options = ScanOptions { cursor, pattern: None, count: 10, kind: None };
    let mut at = at + 1;
    while at < args.len() {
        let value = *args.get(at + 1).ok_or(SYNTAX)?;
        match () {
            () if is(args[at], "MATCH") => options.pattern = (value != b"*").then_some(value),
            () if is(args[at], "COUNT") => {
                let count = integer(value)?;
                if count < 1 {
                    return Err(SYNTAX);
                }
                options.count = count as usize;
            }
            () if is(args[at], "TYPE") && args.len() > 1 && is(args[0], "SCAN") => {
                options.kind = Some(Kind::parse(value));
            }
            () => return Err(SYNTAX),
        }
        at += 2;
    }
    Ok(options)
}

impl ScanOptions<'_> {
    pub(crate) fn accepts(&self, text: &[u8]) -> bool {
        self.pattern.is_none_or(|pattern| glob::matches(pattern, text, false))
    }
}

pub(crate) fn scan(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let options = scan_options(args, 1)?;
    let now = ctx.now();
    let (mut found, mut due, mut seen) = (Vec::new(), Vec::new(), 0);
    let mut cursor = options.cursor;
    let database = &ctx.engine.databases[ctx.db];
    // Empty buckets count too, so that a sparse table does not hold up the loop.
    for _ in 0..options.count.saturating_mul(10) {
        cursor = database.table.scan(cursor, |entry| {
            seen += 1;
            if database.deadline(entry).is_some_and(|at| at <= now) {
                due.push(entry.key.clone());
            } else if options.kind.is_none_or(|kind| kind == Some(entry.value.kind()))
                && options.accepts(&entry.key)
            {
                found.push(entry.key.clone());
            }
        });
        if cursor == 0 || seen >= options.count {
            break;
        }
    }
    let db = ctx.db;
    for key in due {
        ctx.engine.expire_if_due(db, &key);
    }
    ctx.out.array(2);
    ctx.out.bulk(cursor.to_string().as_bytes());
    ctx.out.array(found.len());
    for key in found {
        ctx.out.bulk(&key);
    }
    Ok(())
}

pub(crate) fn dbsize(ctx: &mut Ctx<'_>, _args: &[&[u8]]) -> Outcome {
    let size = ctx.database().len();
    ctx.out.integer(size as i64);
    Ok(())
}

fn flush_option(args: &[&[u8]]) -> Outcome {
    match args {
        [_] => Ok(()),
        [_, word] if is(word, "ASYNC") || is(word, "SYNC") => Ok(()),
        _ => Err(SYNTAX),
    }
}

pub(crate) fn flushdb(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    flush_option(args)?;
    let db = ctx.db;
    ctx.engine.flush(db);
    ctx.engine.dirty += 1;
    ctx.engine.tracking_invalidate_all();
    ctx.engine.all_may_be_ready(db);
    ctx.out.ok();
    Ok(())
}

pub(crate) fn flushall(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    flush_option(args)?;
    for db in 0..ctx.engine.databases.len() {
        ctx.engine.flush(db);
        ctx.engine.all_may_be_ready(db);
    }
    ctx.engine.dirty += 1;
    ctx.engine.tracking_invalidate_all();
    ctx.out.ok();
    Ok(())
}

pub(crate) fn swapdb(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let a = database_number(ctx, args[1], "ERR invalid first DB index")?;
    let b = database_number(ctx, args[2], "ERR invalid second DB index")?;
    if a != b {
        let engine = &mut *ctx.engine;
        engine.settle();
        for (this, that) in [(a, b), (b, a)] {
            let other = std::mem::replace(&mut engine.databases[that], crate::database::Database::new(0));
            engine.touch_watchers_of(this, Some(&other));
            engine.databases[that] = other;
        }
        engine.databases.swap(a, b);
        if let Some(walk) = &mut engine.walk {
            walk.swap(a, b);
        }
        engine.all_may_be_ready(a);
        engine.all_may_be_ready(b);
        engine.tracking_invalidate_all();
        engine.dirty += 1;
    }
    ctx.out.ok();
    Ok(())
}

pub(crate) fn object_encoding(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    match ctx.peek(args[2]).map(|entry| entry.value.encoding()) {
        Some(name) => ctx.out.bulk(name.as_bytes()),
        None => ctx.out.null(),
    }
    Ok(())
}

pub(crate) fn object_refcount(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    if ctx.exists(args[2]) {
        ctx.out.integer(1);
    } else {
        ctx.out.null();
    }
    Ok(())
}

pub(crate) fn object_idletime(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    if ctx.engine.config.is_lfu(ctx.db) {
        return Err("ERR An LFU maxmemory policy is selected, idle time not tracked. Please note that when switching between policies at runtime LRU and LFU data will take some time to adjust.".into());
    }
    let clock = ctx.engine.access_clock();
    match ctx.peek(args[2]).map(|entry| clock.saturating_sub(entry.access.get())) {
        Some(seconds) => ctx.out.integer(seconds.into()),
        None => ctx.out.null(),
    }
    Ok(())
}

pub(crate) fn object_freq(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    if !ctx.engine.config.is_lfu(ctx.db) {
        return Err("ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when switching between policies at runtime LRU and LFU data will take some time to adjust.".into());
    }
    let clock = ctx.engine.access_clock();
    match ctx.peek(args[2]).map(|entry| entry.access.get()) {
        Some(access) => {
            let count = evict::decayed_count(&ctx.engine.config, access, clock);
            ctx.out.integer(count.into());
        }
        None => ctx.out.null(),
    }
    Ok(())
}

pub(crate) fn dump(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let Some(entry) = ctx.peek(args[1]) else {
        ctx.out.null();
        return Ok(());
    };
    let mut payload = Vec::new();
    rdb::write_value(&mut payload, &entry.value);
    payload.extend_from_slice(&rdb::VERSION.to_le_bytes());
    let crc = rdb::crc64(&payload);
    payload.extend_from_slice(&crc.to_le_bytes());
    ctx.out.bulk(&payload);
    Ok(())
}

/// Data moves by the command line's import and export, which need no connection from here to elsewhere.
pub(crate) fn migrate(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let row = crate::command::find("migrate".as_bytes()).map(crate::command::row);
    let places = row.and_then(|row| row.places(args)).unwrap_or_default();
    if !places.iter().any(|(place, _)| ctx.exists(args[*place])) {
        ctx.out.simple("NOKEY");
        return Ok(());
    }
    Err("ERR MIGRATE is not supported by this server".into())
}

pub(crate) fn restore(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let (key, payload, db) = (args[1], args[3], ctx.db);
    let (mut replace, mut absolute) = (false, false);
    let mut access = None;
    let mut at = 4;
    while at < args.len() {
        match () {
            () if is(args[at], "REPLACE") => replace = true,
            () if is(args[at], "ABSTTL") => absolute = true,
            () if is(args[at], "IDLETIME") && at + 1 < args.len() => {
                at += 1;
                let seconds = integer(args[at])?;
                if seconds < 0 {
                    return Err("ERR Invalid IDLETIME value, must be >= 0".into());
                }
                let clock = ctx.engine.access_clock();
                access = (!ctx.engine.config.is_lfu(ctx.db)).then(|| clock.saturating_sub(seconds as u32));
            }
            () if is(args[at], "FREQ") && at + 1 < args.len() => {
                at += 1;
                let count = integer(args[at])?;
                if !(0..=255).contains(&count) {
                    return Err("ERR Invalid FREQ value, must be >= 0 and <= 255".into());
                }
                let clock = ctx.engine.access_clock();
                access =
                    ctx.engine.config.is_lfu(ctx.db).then_some(((clock / 60) & 0xffff) << 8 | count as u32);
            }
            () => return Err(SYNTAX),
        }
        at += 1;
    }
    if !replace && ctx.exists(key) {
        return Err("BUSYKEY Target key name already exists.".into());
    }
    let ttl = integer(args[2]).map_err(|_| NOT_INTEGER)?;
    if ttl < 0 {
        return Err("ERR Invalid TTL value, must be >= 0".into());
    }
    let body = payload.len().checked_sub(10).and_then(|length| {
        let version = u16::from_le_bytes([payload[length], payload[length + 1]]);
        let crc = u64::from_le_bytes(payload[length + 2..].try_into().ok()?);
        let fits = version <= rdb::HIGHEST && (crc == 0 || crc == rdb::crc64(&payload[..length + 2]));
        fits.then_some(&payload[..length])
    });
    let body = body.ok_or("ERR DUMP payload version or checksum are wrong")?;
    let seed = ctx.database().table.seed();
    let mut reader = rdb::Reader::new(body);
    let value =
        reader.value(&ctx.engine.config, seed).filter(|_| reader.is_empty()).ok_or("ERR Bad data format")?;
    if value.kind() != Kind::Text && value.kind() != Kind::Stream && value.elements() == 0 {
        return Err("ERR Bad data format".into());
    }
    let replaced = ctx.remove(key).is_some();
    let deadline = match (ttl, absolute) {
        (0, _) => None,
        (ttl, true) => Some(ttl),
        (ttl, false) => Some(ctx.now() + ttl),
    };
    if deadline.is_some_and(|deadline| deadline <= ctx.now()) {
        if replaced {
            ctx.changed(Class::GENERIC, "del", key);
            ctx.log_instead(&[b"DEL", key]);
        }
        ctx.out.ok();
        return Ok(());
    }
    ctx.insert(key, value);
    ctx.engine.set_deadline(db, key, deadline);
    if let (Some(access), Some(entry)) = (access, ctx.database().get(key)) {
        entry.access.set(access);
    }
    ctx.changed(Class::GENERIC, "restore", key);
    if let Some(deadline) = deadline.filter(|_| !absolute) {
        let deadline = deadline.to_string();
        let mut log = args.to_vec();
        log[2] = deadline.as_bytes();
        log.push(b"ABSTTL");
        ctx.log_instead(&log);
    }
    ctx.out.ok();
    Ok(())
}

/// What SORT writes for one element: itself, or what a pattern leads to.
fn look_up(ctx: &mut Ctx<'_>, pattern: &[u8], element: &[u8]) -> Option<Vec<u8>> {
    if pattern == b"#" {
        return Some(element.to_vec());
    }
    let star = pattern.iter().position(|byte| *byte == b'*')?;
    let arrow = pattern[star..].windows(2).position(|pair| pair == b"->").map(|at| at + star);
    let (key_pattern, field) = match arrow {
        Some(at) if at + 2 < pattern.len() => (&pattern[..at], Some(&pattern[at + 2..])),
        _ => (pattern, None),
    };
    let key = [&key_pattern[..star], element, &key_pattern[star + 1..]].concat();
    match (ctx.read(&key)?, field) {
        (Value::Hash(hash), Some(field)) => hash.get(field).map(<[u8]>::to_vec),
        (value, None) => value.as_text().map(std::borrow::Cow::into_owned),
        _ => None,
    }
}

/// SORT's BY and GET read keys that the arguments do not name: only for who may read all.
fn check_reading(ctx: &Ctx<'_>, args: &[&[u8]], reads: bool, option: &str) -> Outcome {
    if reads && !ctx.engine.may_read_all_keys(ctx.client, args) {
        return Err(format!("ERR {option} option of SORT denied due to insufficient ACL permissions.").into());
    }
    Ok(())
}

fn sort_key(ctx: &mut Ctx<'_>, args: &[&[u8]], may_store: bool) -> Outcome {
    let (mut descending, mut alphabetic, mut by, mut store) = (false, false, None, None);
    let mut limit = (0i64, -1i64);
    let mut patterns: Vec<&[u8]> = Vec::new();
    let mut at = 2;
    while at < args.len() {
        let left = args.len() - at - 1;
        match () {
            () if is(args[at], "ASC") => descending = false,
            () if is(args[at], "DESC") => descending = true,
            () if is(args[at], "ALPHA") => alphabetic = true,
            () if is(args[at], "LIMIT") && left >= 2 => {
                limit = (integer(args[at + 1])?, integer(args[at + 2])?);
                at += 2;
            }
            () if is(args[at], "STORE") && left >= 1 && may_store => {
                store = Some(args[at + 1]);
                at += 1;
            }
            () if is(args[at], "BY") && left >= 1 => {
                by = Some(args[at + 1]);
                check_reading(ctx, args, args[at + 1].contains(&b'*'), "BY")?;
                at += 1;
            }
            () if is(args[at], "GET") && left >= 1 => {
                patterns.push(args[at + 1]);
                check_reading(ctx, args, true, "GET")?;
                at += 1;
            }
            () => return Err(SYNTAX),
        }
        at += 1;
    }
    let keep_order = by.is_some_and(|by| !by.contains(&b'*'));
    let mut elements: Vec<Vec<u8>> = match ctx.read(args[1]) {
        None => Vec::new(),
        Some(Value::List(list)) => list.iter().map(<[u8]>::to_vec).collect(),
        Some(Value::Set(set)) => set.iter().map(std::borrow::Cow::into_owned).collect(),
        Some(Value::SortedSet(set)) => {
            let mut names: Vec<Vec<u8>> = set.iter().map(|member| member.name.to_vec()).collect();
            if keep_order && descending {
                names.reverse();
            }
            names
        }
        Some(_) => return Err(crate::failure::WRONG_TYPE),
    };
    let is_set = matches!(ctx.read(args[1]), Some(Value::Set(_)));
    // Sets have no order of their own: what is stored or seen by a script must not depend on the table's.
    let force = is_set && keep_order && (store.is_some() || ctx.in_script);
    if !keep_order || force {
        let by = if force { None } else { by };
        let alphabetic = alphabetic || force;
        let mut keyed = Vec::with_capacity(elements.len());
        for element in elements {
            let weight = match by {
                Some(pattern) => look_up(ctx, pattern, &element),
                None => Some(element.clone()),
            };
            let number = match (&weight, alphabetic) {
                (Some(weight), false) => crate::number::parse_double(weight)
                    .ok_or("ERR One or more scores can't be converted into double")?,
                _ => 0.0,
            };
            keyed.push((number, weight, element));
        }
        keyed.sort_by(|(a, x, e), (b, y, f)| {
            let order = if alphabetic { x.cmp(y) } else { a.total_cmp(b) };
            let order = if by.is_some() || !alphabetic { order.then_with(|| e.cmp(f)) } else { order };
            if descending { order.reverse() } else { order }
        });
        elements = keyed.into_iter().map(|(.., element)| element).collect();
    }
    let length = elements.len() as i64;
    let start = limit.0.clamp(0, length);
    let end = if limit.1 < 0 { length } else { start.saturating_add(limit.1).min(length) };
    let chosen = &elements[start as usize..end as usize];
    let mut rows: Vec<Option<Vec<u8>>> = Vec::new();
    for element in chosen {
        if patterns.is_empty() {
            rows.push(Some(element.clone()));
        }
        for pattern in &patterns {
            rows.push(look_up(ctx, pattern, element));
        }
    }
    let Some(target) = store else {
        ctx.out.array(rows.len());
        for row in rows {
            match row {
                Some(text) => ctx.out.bulk(&text),
                None => ctx.out.null(),
            }
        }
        return Ok(());
    };
    let existed = ctx.exists(target);
    if let Some(old) = ctx.remove(target) {
        ctx.discard(old);
    }
    if rows.is_empty() {
        if existed {
            ctx.changed(Class::GENERIC, "del", target);
        }
    } else {
        let mut list = crate::structures::list::List::default();
        rows.iter().for_each(|row| list.push_back(row.as_deref().unwrap_or_default()));
        ctx.insert(target, Value::List(Box::new(list)));
        ctx.changed(Class::LIST, "sortstore", target);
    }
    ctx.out.integer(rows.len() as i64);
    Ok(())
}

pub(crate) fn sort(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    sort_key(ctx, args, true)
}

pub(crate) fn sort_ro(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    sort_key(ctx, args, false)
}
