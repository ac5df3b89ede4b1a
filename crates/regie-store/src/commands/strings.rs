//! Strings.

use crate::context::{Ctx, Log, integer, is};
use crate::failure::{Failure, NOT_FLOAT, NOT_INTEGER, Outcome, SYNTAX, WRONG_TYPE, wrong_arity};
use crate::notify::Class;
use crate::number::{add_decimal, parse_double};
use crate::value::Value;

/// A time to live, as it was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expiry {
    Keep,
    Remove,
    At(i64),
}

/// Reads EX, PX, EXAT, PXAT with their number as milliseconds since 1970.
fn expiry(ctx: &Ctx<'_>, unit: &[u8], amount: &[u8], command: &str) -> Outcome<Option<i64>> {
    let (scale, relative) = match () {
        () if is(unit, "EX") => (1000, true),
        () if is(unit, "PX") => (1, true),
        () if is(unit, "EXAT") => (1000, false),
        () if is(unit, "PXAT") => (1, false),
        () => return Ok(None),
    };
    deadline(ctx.now(), integer(amount)?, scale, relative, command).map(Some)
}

fn deadline(now: i64, amount: i64, scale: i64, relative: bool, command: &str) -> Outcome<i64> {
    let base = if relative { now } else { 0 };
    amount
        .checked_mul(scale)
        .filter(|ms| *ms > 0)
        .and_then(|ms| ms.checked_add(base))
        .ok_or_else(|| Failure::from(format!("ERR invalid expire time in '{command}' command")))
}

fn check_length(ctx: &Ctx<'_>, length: usize) -> Outcome {
    if length > ctx.engine.config.bulk {
        return Err("ERR string exceeds maximum allowed size (proto-max-bulk-len)".into());
    }
    Ok(())
}

/// Sets a string and its deadline, tells of both, and logs the deadline as a point in time.
fn store(ctx: &mut Ctx<'_>, key: &[u8], value: &[u8], expiry: Expiry) {
    ctx.put(key, Value::text(value), expiry == Expiry::Keep);
    ctx.changed(Class::STRING, "set", key);
    if let Expiry::At(at) = expiry {
        let db = ctx.db;
        ctx.engine.set_deadline(db, key, Some(at));
        ctx.notify(Class::GENERIC, "expire", key);
        ctx.log_instead(&[b"SET", key, value, b"PXAT", at.to_string().as_bytes()]);
    }
}

/// The key was made by a command that takes a lock: eviction leaves it (see `protect`), and so that it does after a
/// restart too, the log says how it was made.
fn mark_lock(ctx: &mut Ctx<'_>, key: &[u8]) {
    let db = ctx.db;
    ctx.engine.databases[db].mark_lock(key, true);
    if let Log::Instead(commands) = &mut ctx.log
        && let Some(command) = commands.last_mut()
    {
        command.push(b"NX".to_vec());
    }
}

pub(crate) fn get(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    ctx.reply_text(args[1])
}

pub(crate) fn set(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let (key, value) = (args[1], args[2]);
    let (mut only_new, mut only_there, mut get) = (false, false, false);
    let mut expiry_wanted = None;
    let mut at = 3;
    while at < args.len() {
        let word = args[at];
        if is(word, "NX") && !only_there {
            only_new = true;
        } else if is(word, "XX") && !only_new {
            only_there = true;
        } else if is(word, "GET") {
            get = true;
        } else if is(word, "KEEPTTL") && expiry_wanted.is_none() {
            expiry_wanted = Some(Expiry::Keep);
        } else if expiry_wanted.is_none() && at + 1 < args.len() {
            let Some(ms) = expiry(ctx, word, args[at + 1], "set")? else { return Err(SYNTAX) };
            expiry_wanted = Some(Expiry::At(ms));
            at += 1;
        } else {
            return Err(SYNTAX);
        }
        at += 1;
    }
    let there = if get {
        match ctx.engine.read(ctx.db, key) {
            None => {
                ctx.out.null();
                false
            }
            Some(old) => {
                ctx.out.bulk(&old.as_text().ok_or(WRONG_TYPE)?);
                true
            }
        }
    } else {
        let db = ctx.db;
        if ctx.engine.expire_if_due(db, key) { false } else { (only_new || only_there) && ctx.exists(key) }
    };
    if (only_new && there) || (only_there && !there) {
        if !get {
            ctx.out.null();
        }
        return Ok(());
    }
    store(ctx, key, value, expiry_wanted.unwrap_or(Expiry::Remove));
    if only_new {
        mark_lock(ctx, key);
    }
    if !get {
        ctx.out.ok();
    } else if matches!(ctx.log, crate::context::Log::Itself) {
        ctx.log_instead(&[b"SET", key, value]);
        if expiry_wanted == Some(Expiry::Keep) {
            ctx.log = crate::context::Log::Itself;
            ctx.log_instead(&[b"SET", key, value, b"KEEPTTL"]);
        }
    }
    Ok(())
}

pub(crate) fn setnx(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    if ctx.exists(args[1]) {
        ctx.out.integer(0);
        return Ok(());
    }
    store(ctx, args[1], args[2], Expiry::Remove);
    mark_lock(ctx, args[1]);
    ctx.out.integer(1);
    Ok(())
}

fn set_with_ttl(ctx: &mut Ctx<'_>, args: &[&[u8]], scale: i64, command: &str) -> Outcome {
    let at = deadline(ctx.now(), integer(args[2])?, scale, true, command)?;
    let db = ctx.db;
    ctx.engine.expire_if_due(db, args[1]);
    store(ctx, args[1], args[3], Expiry::At(at));
    ctx.out.ok();
    Ok(())
}

pub(crate) fn setex(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    set_with_ttl(ctx, args, 1000, "setex")
}

pub(crate) fn psetex(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    set_with_ttl(ctx, args, 1, "psetex")
}

pub(crate) fn getset(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    ctx.reply_text(args[1])?;
    store(ctx, args[1], args[2], Expiry::Remove);
    ctx.log_instead(&[b"SET", args[1], args[2]]);
    Ok(())
}

pub(crate) fn getdel(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    ctx.reply_text(args[1])?;
    if ctx.delete(args[1]) {
        ctx.log_instead(&[b"DEL", args[1]]);
    }
    Ok(())
}

pub(crate) fn getex(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let key = args[1];
    let wanted = match args.len() {
        2 => Expiry::Keep,
        3 if is(args[2], "PERSIST") => Expiry::Remove,
        4 => Expiry::At(expiry(ctx, args[2], args[3], "getex")?.ok_or(SYNTAX)?),
        _ => return Err(SYNTAX),
    };
    ctx.reply_text(key)?;
    let db = ctx.db;
    let Some(entry) = ctx.peek(key) else { return Ok(()) };
    let volatile = entry.is_volatile();
    match wanted {
        Expiry::Remove if volatile => {
            ctx.engine.set_deadline(db, key, None);
            ctx.changed(Class::GENERIC, "persist", key);
            ctx.log_instead(&[b"PERSIST", key]);
        }
        Expiry::At(at) if at <= ctx.now() => {
            ctx.delete(key);
            ctx.log_instead(&[b"DEL", key]);
        }
        Expiry::At(at) => {
            ctx.engine.set_deadline(db, key, Some(at));
            ctx.changed(Class::GENERIC, "expire", key);
            ctx.log_instead(&[b"PEXPIREAT", key, at.to_string().as_bytes()]);
        }
        _ => {}
    }
    Ok(())
}

pub(crate) fn mget(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    ctx.out.array(args.len() - 1);
    for key in &args[1..] {
        match ctx.engine.read(ctx.db, key).and_then(Value::as_text) {
            Some(text) => ctx.out.bulk(&text),
            None => ctx.out.null(),
        }
    }
    Ok(())
}

fn set_all(ctx: &mut Ctx<'_>, pairs: &[&[u8]]) {
    for pair in pairs.chunks(2) {
        let db = ctx.db;
        ctx.engine.expire_if_due(db, pair[0]);
        ctx.put(pair[0], Value::text(pair[1]), false);
        ctx.changed(Class::STRING, "set", pair[0]);
    }
}

pub(crate) fn mset(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    if args.len().is_multiple_of(2) {
        return Err(wrong_arity("mset"));
    }
    set_all(ctx, &args[1..]);
    ctx.out.ok();
    Ok(())
}

pub(crate) fn msetnx(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    if args.len().is_multiple_of(2) {
        return Err(wrong_arity("msetnx"));
    }
    if args[1..].chunks(2).any(|pair| ctx.exists(pair[0])) {
        ctx.out.integer(0);
        return Ok(());
    }
    set_all(ctx, &args[1..]);
    ctx.out.integer(1);
    Ok(())
}

pub(crate) fn strlen(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let length = ctx.text(args[1])?.map_or(0, |text| text.len());
    ctx.out.integer(length as i64);
    Ok(())
}

pub(crate) fn append(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let (key, more) = (args[1], args[2]);
    let length = match ctx.read(key) {
        None => None,
        Some(value) => Some(value.as_text().ok_or(WRONG_TYPE)?.len()),
    };
    let length = match length {
        None => {
            ctx.insert(key, Value::text(more));
            more.len()
        }
        Some(length) => {
            check_length(ctx, length + more.len())?;
            let text = ctx.write(key).and_then(Value::text_mut).ok_or(WRONG_TYPE)?;
            text.extend_from_slice(more);
            if text.len() == text.capacity() {
                text.reserve(1);
            }
            length + more.len()
        }
    };
    ctx.changed(Class::STRING, "append", key);
    ctx.out.integer(length as i64);
    Ok(())
}

pub(crate) fn setrange(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let (key, text) = (args[1], args[3]);
    let offset = integer(args[2])?;
    let offset = usize::try_from(offset).map_err(|_| Failure::from("ERR offset is out of range"))?;
    let length = ctx.text(key)?.map(|text| text.len());
    if text.is_empty() {
        ctx.out.integer(length.unwrap_or(0) as i64);
        return Ok(());
    }
    check_length(ctx, offset.saturating_add(text.len()))?;
    if length.is_none() {
        ctx.insert(key, Value::changed_text(Vec::new()));
    }
    let bytes = ctx.write(key).and_then(Value::text_mut).ok_or(WRONG_TYPE)?;
    if bytes.len() < offset + text.len() {
        bytes.resize(offset + text.len(), 0);
    }
    bytes[offset..offset + text.len()].copy_from_slice(text);
    if bytes.len() == bytes.capacity() {
        bytes.reserve(1);
    }
    let length = bytes.len();
    ctx.changed(Class::STRING, "setrange", key);
    ctx.out.integer(length as i64);
    Ok(())
}

pub(crate) fn getrange(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let (start, end) = (integer(args[2])?, integer(args[3])?);
    let text = match ctx.engine.read(ctx.db, args[1]) {
        None => {
            return {
                ctx.out.bulk(b"");
                Ok(())
            };
        }
        Some(value) => value.as_text().ok_or(WRONG_TYPE)?,
    };
    let length = text.len() as i64;
    if start < 0 && end < 0 && start > end {
        ctx.out.bulk(b"");
        return Ok(());
    }
    let start = if start < 0 { (length + start).max(0) } else { start };
    let end = if end < 0 { (length + end).max(0) } else { end.min(length - 1) };
    if start > end || length == 0 || start >= length {
        ctx.out.bulk(b"");
    } else {
        ctx.out.bulk(&text[start as usize..=end as usize]);
    }
    Ok(())
}

fn add(ctx: &mut Ctx<'_>, key: &[u8], step: i64) -> Outcome {
    const OVERFLOW: &str = "ERR increment or decrement would overflow";
    let sum = match ctx.write(key) {
        None => {
            ctx.insert(key, Value::Integer(step));
            step
        }
        Some(Value::Integer(number)) => {
            *number = number.checked_add(step).ok_or(OVERFLOW)?;
            *number
        }
        Some(value) => {
            let number =
                crate::number::parse_integer(&value.as_text().ok_or(WRONG_TYPE)?).ok_or(NOT_INTEGER)?;
            let sum = number.checked_add(step).ok_or(OVERFLOW)?;
            *value = Value::Integer(sum);
            sum
        }
    };
    ctx.changed(Class::STRING, "incrby", key);
    ctx.out.integer(sum);
    Ok(())
}

pub(crate) fn incr(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    add(ctx, args[1], 1)
}

pub(crate) fn decr(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    add(ctx, args[1], -1)
}

pub(crate) fn incrby(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    add(ctx, args[1], integer(args[2])?)
}

pub(crate) fn decrby(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let step = integer(args[2])?.checked_neg().ok_or("ERR decrement would overflow")?;
    add(ctx, args[1], step)
}

pub(crate) fn incrbyfloat(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let key = args[1];
    let old = ctx.text(key)?.map_or(b"0".to_vec(), std::borrow::Cow::into_owned);
    if parse_double(&old).is_none() || parse_double(args[2]).is_none() {
        return Err(NOT_FLOAT);
    }
    let sum = add_decimal(&old, args[2])
        .ok_or_else(|| Failure::from("ERR increment would produce NaN or Infinity"))?;
    let value = sum.as_bytes();
    ctx.put(key, Value::plain_text(value), true);
    ctx.changed(Class::STRING, "incrbyfloat", key);
    ctx.log_instead(&[b"SET", key, value, b"KEEPTTL"]);
    ctx.out.bulk(value);
    Ok(())
}

/// The longest common subsequence of two strings.
pub(crate) fn lcs(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let (mut only_length, mut with_indexes, mut with_lengths, mut shortest) = (false, false, false, 0usize);
    let mut at = 3;
    while at < args.len() {
        match args[at] {
            word if is(word, "LEN") => only_length = true,
            word if is(word, "IDX") => with_indexes = true,
            word if is(word, "WITHMATCHLEN") => with_lengths = true,
            word if is(word, "MINMATCHLEN") && at + 1 < args.len() => {
                shortest = integer(args[at + 1])?.max(0) as usize;
                at += 1;
            }
            _ => return Err(SYNTAX),
        }
        at += 1;
    }
    if only_length && with_indexes {
        return Err("ERR If you want both the length and indexes, please just use IDX.".into());
    }
    let text = |ctx: &mut Ctx<'_>, key: &[u8]| -> Outcome<Vec<u8>> {
        let found =
            ctx.text(key).map_err(|_| Failure::from("ERR The specified keys must contain string values"))?;
        Ok(found.map(std::borrow::Cow::into_owned).unwrap_or_default())
    };
    let (a, b) = (text(ctx, args[1])?, text(ctx, args[2])?);
    let width = b.len() + 1;
    let cells = (a.len() + 1).checked_mul(width).filter(|cells| *cells <= 1 << 28);
    let cells =
        cells.ok_or("ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len")?;
    let mut lengths = vec![0u32; cells];
    for i in 1..=a.len() {
        for j in 1..=b.len() {
            lengths[i * width + j] = if a[i - 1] == b[j - 1] {
                lengths[(i - 1) * width + j - 1] + 1
            } else {
                lengths[(i - 1) * width + j].max(lengths[i * width + j - 1])
            };
        }
    }
    let total = lengths[a.len() * width + b.len()] as usize;
    if only_length {
        ctx.out.integer(total as i64);
        return Ok(());
    }
    let (mut i, mut j) = (a.len(), b.len());
    let mut common = Vec::with_capacity(total);
    // Runs of matches, from the last to the first: where each begins in both, and how long it is.
    let mut runs: Vec<(usize, usize, usize)> = Vec::new();
    while i > 0 && j > 0 {
        if a[i - 1] == b[j - 1] {
            common.push(a[i - 1]);
            match runs.last_mut() {
                Some((x, y, length)) if *x == i && *y == j => {
                    (*x, *y) = (i - 1, j - 1);
                    *length += 1;
                }
                _ => runs.push((i - 1, j - 1, 1)),
            }
            i -= 1;
            j -= 1;
        } else if lengths[(i - 1) * width + j] > lengths[i * width + j - 1] {
            i -= 1;
        } else {
            j -= 1;
        }
    }
    if !with_indexes {
        common.reverse();
        ctx.out.bulk(&common);
        return Ok(());
    }
    runs.retain(|(_, _, length)| *length >= shortest);
    ctx.out.map(2);
    ctx.out.bulk(b"matches");
    ctx.out.array(runs.len());
    for (x, y, length) in runs {
        ctx.out.array(2 + usize::from(with_lengths));
        for start in [x, y] {
            ctx.out.array(2);
            ctx.out.integer(start as i64);
            ctx.out.integer((start + length - 1) as i64);
        }
        if with_lengths {
            ctx.out.integer(length as i64);
        }
    }
    ctx.out.bulk(b"len");
    ctx.out.integer(total as i64);
    Ok(())
}
