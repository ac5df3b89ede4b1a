//! Streams: appending, reading, trimming. Groups are in `stream_groups`.

use crate::context::{Ctx, integer, is};
use crate::failure::{Failure, Outcome, SYNTAX, wrong_arity};
use crate::notify::Class;
use crate::session::Waiting;
use crate::structures::stream::{Entry, Id, Keep, Stream};
use regie_resp::Encoder;

const BAD_ID: &str = "ERR Invalid stream ID specified as stream command argument";

/// `ms-seq`, or `ms` alone with `missing` as its sequence number.
pub(super) fn parse_id(text: &[u8], missing: u64) -> Outcome<Id> {
    let text = std::str::from_utf8(text).map_err(|_| BAD_ID)?;
    let number = |text: &str| -> Outcome<u64> {
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(BAD_ID.into());
        }
        text.parse().map_err(|_| BAD_ID.into())
    };
    match text.split_once('-') {
        Some((ms, seq)) => Ok(Id { ms: number(ms)?, seq: number(seq)? }),
        None => Ok(Id { ms: number(text)?, seq: missing }),
    }
}

/// An id that bounds a range: `-`, `+`, or one that may be excluded with `(`.
pub(super) fn parse_bound(text: &[u8], missing: u64, is_start: bool) -> Outcome<Id> {
    match text {
        b"-" => Ok(Id::MIN),
        b"+" => Ok(Id::MAX),
        [b'(', rest @ ..] => {
            let id = parse_id(rest, missing)?;
            let moved = if is_start { id.next() } else { id.previous() };
            let what = if is_start { "start" } else { "end" };
            moved.ok_or_else(|| format!("ERR invalid {what} ID for the interval").into())
        }
        text => parse_id(text, missing),
    }
}

pub(super) fn write_id(out: &mut Encoder, id: Id) {
    out.bulk(id.to_string().as_bytes());
}

pub(super) fn write_entry(out: &mut Encoder, entry: &Entry) {
    out.array(2);
    write_id(out, entry.id);
    out.array(entry.fields.len());
    entry.fields.iter().for_each(|text| out.bulk(text));
}

/// How a stream is to be trimmed.
#[derive(Debug, Clone)]
struct Trim {
    keep: Keep,
    whole: bool,
    limit: usize,
}

/// Reads `MAXLEN|MINID [=|~] value [LIMIT n]` at `at`; the trim and where it ends.
fn parse_trim(ctx: &Ctx<'_>, args: &[&[u8]], mut at: usize) -> Outcome<(Trim, usize)> {
    let by_length = is(args[at], "MAXLEN");
    at += 1;
    let mut whole = false;
    if args.get(at) == Some(&&b"~"[..]) && at + 1 < args.len() {
        whole = true;
        at += 1;
    } else if args.get(at) == Some(&&b"="[..]) && at + 1 < args.len() {
        at += 1;
    }
    let value = args.get(at).ok_or(SYNTAX)?;
    let keep = if by_length {
        let length = integer(value)?;
        Keep::Length(usize::try_from(length).map_err(|_| "ERR The MAXLEN argument must be >= 0.")?)
    } else {
        Keep::From(parse_id(value, 0)?)
    };
    at += 1;
    let mut limit = if whole { ctx.engine.config.stream_block.min(10_000).saturating_mul(100) } else { 0 };
    if args.get(at).is_some_and(|word| is(word, "LIMIT")) && at + 1 < args.len() {
        if !whole {
            return Err("ERR syntax error, LIMIT cannot be used without the special ~ option".into());
        }
        let given = integer(args[at + 1])?;
        limit = usize::try_from(given).map_err(|_| "ERR The LIMIT argument must be >= 0.")?;
        at += 2;
    }
    Ok((Trim { keep, whole, limit }, at))
}

/// The command for the log that leaves exactly what the trim has left.
fn trimmed_log(stream: &Stream) -> String {
    stream.len().to_string()
}

/// The id of a new entry.
fn new_id(text: &[u8], last: Id, now: i64) -> Outcome<Id> {
    const SMALL: &str = "ERR The ID specified in XADD is equal or smaller than the target stream top item";
    let following = |id: Option<Id>| {
        id.ok_or("ERR The stream has exhausted the last possible ID, unable to add more items")
            .map_err(Failure::from)
    };
    if text == b"*" {
        let now = Id { ms: now as u64, seq: 0 };
        return if now > last { Ok(now) } else { following(last.next()) };
    }
    if let Some(ms) = text.strip_suffix(b"-*") {
        let ms = parse_id(ms, 0)?.ms;
        return match ms.cmp(&last.ms) {
            std::cmp::Ordering::Greater => Ok(Id { ms, seq: 0 }),
            std::cmp::Ordering::Equal => {
                let seq = last.seq.checked_add(1).ok_or(SMALL)?;
                Ok(Id { ms, seq })
            }
            std::cmp::Ordering::Less => Err(SMALL.into()),
        };
    }
    let id = parse_id(text, 0)?;
    if id == Id::MIN {
        return Err("ERR The ID specified in XADD must be greater than 0-0".into());
    }
    if last == Id::MAX {
        return Err("ERR The stream has exhausted the last possible ID, unable to add more items".into());
    }
    if id <= last { Err(SMALL.into()) } else { Ok(id) }
}

pub(crate) fn xadd(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let (key, db) = (args[1], ctx.db);
    let (mut trim, mut make) = (None, true);
    let mut at = 2;
    while at < args.len() {
        match () {
            () if is(args[at], "NOMKSTREAM") => {
                make = false;
                at += 1;
            }
            () if is(args[at], "MAXLEN") || is(args[at], "MINID") => {
                if trim.is_some() {
                    return Err(
                        "ERR syntax error, MAXLEN and MINID options at the same time are not compatible"
                            .into(),
                    );
                }
                let (found, next) = parse_trim(ctx, args, at)?;
                trim = Some(found);
                at = next;
            }
            () => break,
        }
    }
    let fields = args.get(at + 1..).unwrap_or_default();
    if fields.is_empty() || !fields.len().is_multiple_of(2) {
        // The id itself is looked at first, as Redis does.
        if let Some(text) = args.get(at)
            && *text != b"*"
        {
            parse_id(text.strip_suffix(b"-*").unwrap_or(text), 0)?;
        }
        return Err(wrong_arity("xadd"));
    }
    let (block, now) = (ctx.engine.config.stream_block, ctx.now());
    let last = match ctx.stream(key)? {
        None if !make => {
            ctx.out.null();
            return Ok(());
        }
        None => Id::MIN,
        Some(stream) => stream.last_id,
    };
    let id = new_id(args[at], last, now)?;
    let stream = ctx.stream_or_new(key)?;
    stream.append(id, fields, block);
    let removed = trim.as_ref().map_or(0, |trim| stream.trim(&trim.keep, trim.whole, trim.limit));
    let kept = trimmed_log(stream);
    ctx.changed(Class::STREAM, "xadd", key);
    if removed > 0 {
        ctx.notify(Class::STREAM, "xtrim", key);
    }
    ctx.engine.key_may_be_ready(db, key);
    let text = id.to_string();
    let mut log: Vec<&[u8]> = vec![b"XADD", key];
    if trim.is_some() {
        log.extend([&b"MAXLEN"[..], b"=", kept.as_bytes()]);
    }
    log.push(text.as_bytes());
    log.extend(fields);
    ctx.log_instead(&log);
    ctx.out.bulk(text.as_bytes());
    Ok(())
}

pub(crate) fn xtrim(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let key = args[1];
    if !is(args[2], "MAXLEN") && !is(args[2], "MINID") {
        return Err(SYNTAX);
    }
    let (trim, end) = parse_trim(ctx, args, 2)?;
    if end != args.len() {
        return Err(SYNTAX);
    }
    let Some(stream) = ctx.stream_mut(key)? else {
        ctx.out.integer(0);
        return Ok(());
    };
    let removed = stream.trim(&trim.keep, trim.whole, trim.limit);
    let kept = trimmed_log(stream);
    if removed > 0 {
        ctx.changed(Class::STREAM, "xtrim", key);
        ctx.log_instead(&[b"XTRIM", key, b"MAXLEN", b"=", kept.as_bytes()]);
    }
    ctx.out.integer(removed as i64);
    Ok(())
}

pub(crate) fn xlen(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let length = ctx.stream(args[1])?.map_or(0, Stream::len);
    ctx.out.integer(length as i64);
    Ok(())
}

pub(crate) fn xdel(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let Some(stream) = ctx.stream_mut(args[1])? else {
        ctx.out.integer(0);
        return Ok(());
    };
    let ids = args[2..].iter().map(|text| parse_id(text, 0)).collect::<Outcome<Vec<Id>>>()?;
    let mut gone = 0;
    for id in ids {
        if stream.remove(id) {
            gone += 1;
            stream.max_deleted = stream.max_deleted.max(id);
        }
    }
    if gone > 0 {
        ctx.changed(Class::STREAM, "xdel", args[1]);
    }
    ctx.out.integer(gone);
    Ok(())
}

pub(crate) fn xsetid(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let id = parse_id(args[2], 0)?;
    let (mut added, mut deleted) = (None, None);
    for option in args[3..].chunks(2) {
        match option {
            [word, value] if is(word, "ENTRIESADDED") => {
                let count = integer(value)?;
                added = Some(u64::try_from(count).map_err(|_| "ERR entries_added must be positive")?);
            }
            [word, value] if is(word, "MAXDELETEDID") => {
                let max = parse_id(value, 0)?;
                if id < max {
                    return Err(
                        "ERR The ID specified in XSETID is smaller than the provided max_deleted_entry_id"
                            .into(),
                    );
                }
                deleted = Some(max);
            }
            _ => return Err(SYNTAX),
        }
    }
    let stream = ctx.stream_mut(args[1])?.ok_or(crate::failure::NO_KEY)?;
    if let Some(last) = stream.last()
        && id < last.id
    {
        return Err("ERR The ID specified in XSETID is smaller than the target stream top item".into());
    }
    if added.is_some_and(|added| (stream.len() as u64) > added) {
        return Err(
            "ERR The entries_added specified in XSETID is smaller than the target stream length".into()
        );
    }
    stream.last_id = id;
    stream.entries_added = added.unwrap_or(stream.entries_added);
    stream.max_deleted = deleted.unwrap_or(stream.max_deleted);
    ctx.changed(Class::STREAM, "xsetid", args[1]);
    ctx.out.ok();
    Ok(())
}

fn range(ctx: &mut Ctx<'_>, args: &[&[u8]], reverse: bool) -> Outcome {
    let (low, high) = if reverse { (args[3], args[2]) } else { (args[2], args[3]) };
    let (start, end) = (parse_bound(low, 0, true)?, parse_bound(high, u64::MAX, false)?);
    let count = match &args[4..] {
        [] => None,
        [word, count] if is(word, "COUNT") => Some(integer(count)?.max(0) as usize),
        _ => return Err(SYNTAX),
    };
    let Some(stream) = ctx.engine.stream(ctx.db, args[1])? else {
        ctx.out.array(0);
        return Ok(());
    };
    if count == Some(0) {
        ctx.out.null_array();
        return Ok(());
    }
    let most = count.unwrap_or(usize::MAX);
    let (mark, mut written) = (ctx.out.mark(), 0);
    let entries: Box<dyn Iterator<Item = &Entry>> = if start > end {
        Box::new(std::iter::empty())
    } else if reverse {
        Box::new(stream.range_back(start, end))
    } else {
        Box::new(stream.range(start, end))
    };
    for entry in entries.take(most) {
        write_entry(ctx.out, entry);
        written += 1;
    }
    ctx.out.array_at(mark, written);
    Ok(())
}

pub(crate) fn xrange(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    range(ctx, args, false)
}

pub(crate) fn xrevrange(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    range(ctx, args, true)
}

/// What XREAD and XREADGROUP ask for.
pub(super) struct ReadOptions<'a, 'b> {
    pub(super) count: usize,
    /// `None` does not wait; `Some(None)` waits for ever.
    pub(super) block: Option<Option<i64>>,
    pub(super) group: Option<(&'a [u8], &'a [u8])>,
    pub(super) no_ack: bool,
    pub(super) keys: &'b [&'a [u8]],
    pub(super) ids: &'b [&'a [u8]],
}

pub(super) fn read_options<'a, 'b>(
    args: &'b [&'a [u8]],
    command: &str,
    in_script: bool,
) -> Outcome<ReadOptions<'a, 'b>> {
    let mut options =
        ReadOptions { count: usize::MAX, block: None, group: None, no_ack: false, keys: &[], ids: &[] };
    let for_group = command == "xreadgroup";
    let mut at = 1;
    loop {
        let word = *args.get(at).ok_or(SYNTAX)?;
        let left = args.len() - at - 1;
        match () {
            () if is(word, "BLOCK") && left >= 1 && in_script => {
                let name = crate::failure::shown(args[0]);
                return Err(
                    format!("ERR {name} command is not allowed with BLOCK option from scripts").into()
                );
            }
            () if is(word, "BLOCK") && left >= 1 => {
                let ms = crate::number::parse_integer(args[at + 1])
                    .ok_or("ERR timeout is not an integer or out of range")?;
                if ms < 0 {
                    return Err("ERR timeout is negative".into());
                }
                options.block = Some((ms > 0).then_some(ms));
                at += 2;
            }
            () if is(word, "COUNT") && left >= 1 => {
                let count = integer(args[at + 1])?;
                options.count = if count > 0 { count as usize } else { usize::MAX };
                at += 2;
            }
            () if is(word, "STREAMS") && left >= 1 => {
                let rest = &args[at + 1..];
                if !rest.len().is_multiple_of(2) {
                    return Err(format!("ERR Unbalanced '{command}' list of streams: for each stream key an ID or '{}' must be specified.", if for_group { ">" } else { "$" }).into());
                }
                (options.keys, options.ids) = rest.split_at(rest.len() / 2);
                break;
            }
            () if is(word, "GROUP") && left >= 2 => {
                if !for_group {
                    return Err(
                        "ERR The GROUP option is only supported by XREADGROUP. You called XREAD instead."
                            .into(),
                    );
                }
                options.group = Some((args[at + 1], args[at + 2]));
                at += 3;
            }
            () if is(word, "NOACK") => {
                if !for_group {
                    return Err(
                        "ERR The NOACK option is only supported by XREADGROUP. You called XREAD instead."
                            .into(),
                    );
                }
                options.no_ack = true;
                at += 1;
            }
            () => return Err(SYNTAX),
        }
    }
    if for_group && options.group.is_none() {
        return Err("ERR Missing GROUP option for XREADGROUP".into());
    }
    Ok(options)
}

/// Puts the header of what a read has found: a map in version 3.
pub(super) fn begin_stream(out: &mut Encoder, key: &[u8]) {
    if out.version == regie_resp::Version::Two {
        out.array(2);
    }
    out.bulk(key);
}

pub(super) fn end_streams(out: &mut Encoder, mark: usize, count: usize) {
    if out.version == regie_resp::Version::Two {
        out.array_at(mark, count);
    } else {
        out.map_at(mark, count);
    }
}

pub(crate) fn xread(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let options = read_options(args, "xread", ctx.in_script)?;
    let mut after = Vec::with_capacity(options.keys.len());
    for (key, id) in options.keys.iter().zip(options.ids) {
        let stream = ctx.stream(key)?;
        after.push(match *id {
            b"$" => stream.map_or(Id::MIN, |stream| stream.last_id),
            b">" => {
                return Err("ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> <consumer> option.".into());
            }
            text => parse_id(text, 0)?,
        });
    }
    let (mark, mut found) = (ctx.out.mark(), 0);
    for (key, after) in options.keys.iter().zip(&after) {
        let Some(stream) = ctx.engine.stream(ctx.db, key)? else { continue };
        let Some(start) = after.next().filter(|_| stream.len() > 0 && *after < stream.last_id) else {
            continue;
        };
        let mut entries = stream.range(start, Id::MAX).take(options.count).peekable();
        if entries.peek().is_none() {
            continue;
        }
        found += 1;
        begin_stream(ctx.out, key);
        let (mark, mut count) = (ctx.out.mark(), 0);
        for entry in entries {
            write_entry(ctx.out, entry);
            count += 1;
        }
        ctx.out.array_at(mark, count);
    }
    if found > 0 {
        end_streams(ctx.out, mark, found);
        return Ok(());
    }
    let Some(wait) = options.block else {
        ctx.out.null_array();
        return Ok(());
    };
    // `$` means the end as it is now, not as it will be when the client is tried again.
    let texts: Vec<String> = after.iter().map(Id::to_string).collect();
    let mut again: Vec<&[u8]> = args[..args.len() - texts.len()].to_vec();
    again.extend(texts.iter().map(String::as_bytes));
    if !ctx.block(Waiting::Stream, options.keys, wait, &again) {
        ctx.out.null_array();
    }
    Ok(())
}
