//! Groups of readers: what is delivered to whom, and what is acknowledged.

use crate::blob::Blob;
use crate::commands::streams::{
    begin_stream, end_streams, parse_bound, parse_id, read_options, write_entry, write_id,
};
use crate::context::{Ctx, integer, is};
use crate::failure::{Failure, Outcome, SYNTAX, shown};
use crate::notify::Class;
use crate::session::Waiting;
use crate::structures::stream::{Consumer, Group, Id, Pending, Stream};

const NO_KEY: &str = "ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the MKSTREAM option to create an empty stream automatically.";

pub(super) fn no_group(key: &[u8], group: &[u8]) -> Failure {
    format!("NOGROUP No such key '{}' or consumer group '{}'", shown(key), shown(group)).into()
}

pub(super) fn no_group_of(key: &[u8], group: &[u8]) -> Failure {
    format!("NOGROUP No such consumer group '{}' for key name '{}'", shown(group), shown(key)).into()
}

/// Where a group begins: an id, or `-` and `+` for the ends.
fn group_start(text: &[u8]) -> Outcome<Id> {
    match text {
        b"-" => Ok(Id::MIN),
        b"+" => Ok(Id::MAX),
        text => parse_id(text, 0),
    }
}

/// `[MKSTREAM] [ENTRIESREAD n]` of XGROUP CREATE and SETID.
fn group_options(args: &[&[u8]]) -> Outcome<(bool, Option<u64>)> {
    let (mut make, mut read) = (false, None);
    let mut at = 5;
    while at < args.len() {
        match () {
            () if is(args[at], "MKSTREAM") && is(args[1], "CREATE") => make = true,
            () if is(args[at], "ENTRIESREAD") && at + 1 < args.len() => {
                at += 1;
                let count = integer(args[at])?;
                if count < -1 {
                    return Err("ERR value for ENTRIESREAD must be positive or -1".into());
                }
                read = u64::try_from(count).ok();
            }
            () => return Err(SYNTAX),
        }
        at += 1;
    }
    Ok((make, read))
}

pub(crate) fn create(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let (key, name) = (args[2], args[3]);
    let (make, read) = group_options(args)?;
    if ctx.stream(key)?.is_none() && !make {
        return Err(NO_KEY.into());
    }
    let id = if args[4] == b"$" { None } else { Some(group_start(args[4])?) };
    let stream = ctx.stream_or_new(key)?;
    let id = id.unwrap_or(stream.last_id);
    if stream.groups.contains_key(name) {
        return Err("BUSYGROUP Consumer Group name already exists".into());
    }
    let group = Group { last_delivered: id, entries_read: read, ..Group::default() };
    stream.groups.insert(Blob::from(name), group);
    ctx.changed(Class::STREAM, "xgroup-create", key);
    ctx.out.ok();
    Ok(())
}

pub(crate) fn setid(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let (_, read) = group_options(args)?;
    let stream = ctx.stream_mut(args[2])?.ok_or(NO_KEY)?;
    let last = stream.last_id;
    let group = stream.groups.get_mut(args[3]).ok_or_else(|| no_group_of(args[2], args[3]))?;
    group.last_delivered = if args[4] == b"$" { last } else { group_start(args[4])? };
    group.entries_read = read;
    ctx.changed(Class::STREAM, "xgroup-setid", args[2]);
    ctx.out.ok();
    Ok(())
}

pub(crate) fn destroy(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let (key, db) = (args[2], ctx.db);
    let stream = ctx.stream_mut(key)?.ok_or(NO_KEY)?;
    let gone = stream.groups.remove(args[3]).is_some();
    if gone {
        ctx.changed(Class::STREAM, "xgroup-destroy", key);
        // Those who wait for the group's entries must hear of it.
        ctx.engine.key_may_be_ready(db, key);
    }
    ctx.out.integer(i64::from(gone));
    Ok(())
}

pub(crate) fn createconsumer(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let now = ctx.now();
    let stream = ctx.stream_mut(args[2])?.ok_or(NO_KEY)?;
    let group = stream.groups.get_mut(args[3]).ok_or_else(|| no_group_of(args[2], args[3]))?;
    let new = !group.consumers.contains_key(args[4]);
    if new {
        group.consumers.insert(Blob::from(args[4]), Consumer { seen_at: now, ..Consumer::default() });
        ctx.changed(Class::STREAM, "xgroup-createconsumer", args[2]);
    }
    ctx.out.integer(i64::from(new));
    Ok(())
}

pub(crate) fn delconsumer(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let stream = ctx.stream_mut(args[2])?.ok_or(NO_KEY)?;
    let group = stream.groups.get_mut(args[3]).ok_or_else(|| no_group_of(args[2], args[3]))?;
    let gone = group.consumers.remove(args[4]);
    let count = gone.as_ref().map_or(0, |consumer| consumer.pending.len());
    if let Some(consumer) = gone {
        for id in consumer.pending.keys() {
            group.pending.remove(id);
        }
        ctx.changed(Class::STREAM, "xgroup-delconsumer", args[2]);
    }
    ctx.out.integer(count as i64);
    Ok(())
}

/// Logs one pending entry as it is now, in a form that can be repeated.
pub(super) fn log_claim(ctx: &mut Ctx<'_>, key: &[u8], group: &[u8], id: Id, pending: &Pending, last: Id) {
    ctx.log_instead(&[
        b"XCLAIM",
        key,
        group,
        &pending.consumer,
        b"0",
        id.to_string().as_bytes(),
        b"TIME",
        pending.delivered_at.to_string().as_bytes(),
        b"RETRYCOUNT",
        pending.deliveries.to_string().as_bytes(),
        b"FORCE",
        b"JUSTID",
        b"LASTID",
        last.to_string().as_bytes(),
    ]);
}

/// Logs how far a group has read.
fn log_progress(ctx: &mut Ctx<'_>, key: &[u8], name: &[u8], group: &Group) {
    let read = group.entries_read.map_or(-1, |read| read as i64).to_string();
    let last = group.last_delivered.to_string();
    ctx.log_instead(&[b"XGROUP", b"SETID", key, name, last.as_bytes(), b"ENTRIESREAD", read.as_bytes()]);
}

/// Gives an entry to a consumer, away from whoever had it.
pub(super) fn assign(group: &mut Group, id: Id, pending: Pending) {
    if let Some(old) = group.pending.get(&id)
        && let Some(consumer) = group.consumers.get_mut(&old.consumer)
    {
        consumer.pending.remove(&id);
    }
    if let Some(consumer) = group.consumers.get_mut(&pending.consumer) {
        consumer.pending.insert(id, ());
    }
    group.pending.insert(id, pending);
}

/// Moves a group on to its next entry.
fn advance(stream: &mut Stream, name: &[u8], id: Id) {
    let tombstones = stream.has_tombstone(id);
    let before = stream.entries_before(id);
    let Some(group) = stream.groups.get_mut(name) else { return };
    group.entries_read = match group.entries_read {
        Some(read) if !tombstones => Some(read + 1),
        _ => before,
    };
    group.last_delivered = id;
}

/// Repeats the reading of which a log or a leader tells by a claim: up to `last`, entry by entry, so that it is counted
/// how many the group has read.
pub(super) fn read_up_to(stream: &mut Stream, name: &[u8], last: Id) {
    let Some(start) = stream.groups.get(name).and_then(|group| group.last_delivered.next()) else { return };
    let ids: Vec<Id> =
        if start <= last { stream.range(start, last).map(|entry| entry.id).collect() } else { Vec::new() };
    ids.into_iter().for_each(|id| advance(stream, name, id));
}

/// Delivers entries that nobody of the group has had; their ids.
fn deliver(
    stream: &mut Stream,
    name: &[u8],
    consumer: &[u8],
    count: usize,
    no_ack: bool,
    now: i64,
) -> Vec<Id> {
    let Some(start) = stream.groups.get(name).and_then(|group| group.last_delivered.next()) else {
        return Vec::new();
    };
    let ids: Vec<Id> = stream.range(start, Id::MAX).take(count).map(|entry| entry.id).collect();
    for id in &ids {
        advance(stream, name, *id);
        let Some(group) = stream.groups.get_mut(name) else { break };
        if !no_ack {
            assign(group, *id, Pending { consumer: Blob::from(consumer), delivered_at: now, deliveries: 1 });
        }
    }
    ids
}

pub(crate) fn xreadgroup(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let options = read_options(args, "xreadgroup", ctx.in_script)?;
    let Some((name, consumer)) = options.group else { return Err(SYNTAX) };
    let now = ctx.now();
    let mut history = Vec::with_capacity(options.ids.len());
    for (key, id) in options.keys.iter().zip(options.ids) {
        let there = ctx.stream(key)?.is_some_and(|stream| stream.groups.contains_key(name));
        if !there {
            return Err(format!(
                "NOGROUP No such key '{}' or consumer group '{}' in XREADGROUP with GROUP option",
                shown(key),
                shown(name)
            )
            .into());
        }
        history.push(match *id {
            b">" => None,
            b"$" => {
                return Err("ERR The $ ID is meaningless in the context of XREADGROUP: you want to read the history of this consumer by specifying a proper ID, or use the > ID to get new messages. The $ ID would just return an empty result set.".into());
            }
            text => Some(parse_id(text, 0)?),
        });
    }
    let (mark, mut found) = (ctx.out.mark(), 0);
    for (key, after) in options.keys.iter().zip(&history) {
        let Some(stream) = ctx.stream_mut(key)? else { continue };
        let Some(group) = stream.groups.get_mut(name) else { continue };
        let is_new = !group.consumers.contains_key(consumer);
        group.consumers.entry(Blob::from(consumer)).or_default().seen_at = now;
        if is_new {
            ctx.changed(Class::STREAM, "xgroup-createconsumer", key);
        }
        let mut is_claimed = false;
        match after {
            Some(after) => {
                found += 1;
                reply_history(ctx, key, name, consumer, *after, options.count)?;
            }
            None => {
                let delivered = reply_new(ctx, key, name, consumer, options.count, options.no_ack)?;
                is_claimed = delivered && !options.no_ack;
                found += usize::from(delivered);
            }
        }
        // What it was given is logged as claimed, and that makes the consumer.
        if is_new && !is_claimed {
            ctx.log_instead(&[b"XGROUP", b"CREATECONSUMER", key, name, consumer]);
        }
    }
    if found > 0 {
        end_streams(ctx.out, mark, found);
        return Ok(());
    }
    let waits = options.block.is_some_and(|wait| ctx.block(Waiting::StreamGroup, options.keys, wait, args));
    if !waits {
        ctx.out.null_array();
    }
    ctx.log_nothing();
    Ok(())
}

/// The consumer's own entries that it has not acknowledged.
fn reply_history(
    ctx: &mut Ctx<'_>,
    key: &[u8],
    name: &[u8],
    consumer: &[u8],
    after: Id,
    count: usize,
) -> Outcome {
    let now = ctx.now();
    let ids: Vec<Id> =
        match (ctx.stream_mut(key)?.and_then(|stream| stream.groups.get_mut(name)), after.next()) {
            (Some(group), Some(start)) => {
                let ids: Vec<Id> = group
                    .consumers
                    .get(consumer)
                    .map(|consumer| consumer.pending.range(start..).take(count).map(|(id, ())| *id).collect())
                    .unwrap_or_default();
                for id in &ids {
                    if let Some(pending) = group.pending.get_mut(id) {
                        pending.delivered_at = now;
                        pending.deliveries += 1;
                    }
                }
                ids
            }
            _ => Vec::new(),
        };
    begin_stream(ctx.out, key);
    ctx.out.array(ids.len());
    let stream = ctx.engine.stream(ctx.db, key)?;
    for id in ids {
        match stream.and_then(|stream| stream.get(id)) {
            Some(entry) => write_entry(ctx.out, entry),
            None => {
                ctx.out.array(2);
                write_id(ctx.out, id);
                ctx.out.null_array();
            }
        }
    }
    Ok(())
}

/// Entries that nobody of the group has had; false if there are none.
fn reply_new(
    ctx: &mut Ctx<'_>,
    key: &[u8],
    name: &[u8],
    consumer: &[u8],
    count: usize,
    no_ack: bool,
) -> Outcome<bool> {
    let now = ctx.now();
    let Some(stream) = ctx.stream_mut(key)? else { return Ok(false) };
    let ids = deliver(stream, name, consumer, count, no_ack, now);
    if ids.is_empty() {
        return Ok(false);
    }
    ctx.changed_silently(key);
    begin_stream(ctx.out, key);
    ctx.out.array(ids.len());
    let mut claims = Vec::new();
    let mut progress = None;
    if let Some(stream) = ctx.engine.stream(ctx.db, key)? {
        for id in &ids {
            if let Some(entry) = stream.get(*id) {
                write_entry(ctx.out, entry);
            }
        }
        if let Some(group) = stream.groups.get(name) {
            claims.extend(ids.iter().filter_map(|id| Some((*id, group.pending.get(id)?.clone()))));
            progress = Some(Group {
                last_delivered: group.last_delivered,
                entries_read: group.entries_read,
                ..Group::default()
            });
        }
    }
    for (id, pending) in claims {
        log_claim(ctx, key, name, id, &pending, id);
    }
    // What is claimed says how far the group has read; what nobody acknowledges is not claimed.
    if let Some(group) = progress.filter(|_| no_ack) {
        log_progress(ctx, key, name, &group);
    }
    Ok(true)
}

pub(crate) fn xack(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let group = ctx.stream_mut(args[1])?.and_then(|stream| stream.groups.get_mut(args[2]));
    let Some(group) = group else {
        ctx.out.integer(0);
        return Ok(());
    };
    let ids = args[3..].iter().map(|text| parse_id(text, 0)).collect::<Outcome<Vec<Id>>>()?;
    let mut count = 0;
    for id in ids {
        if let Some(pending) = group.pending.remove(&id) {
            count += 1;
            if let Some(consumer) = group.consumers.get_mut(&pending.consumer) {
                consumer.pending.remove(&id);
            }
        }
    }
    if count > 0 {
        ctx.changed_silently(args[1]);
    }
    ctx.out.integer(count);
    Ok(())
}

pub(crate) fn xpending(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let now = ctx.now();
    let (key, name) = (args[1], args[2]);
    let mut at = 3;
    let mut idle = 0;
    if args.len() > 3 && is(args[3], "IDLE") {
        if args.len() < 8 {
            return Err(SYNTAX);
        }
        idle = integer(args[4])?;
        at = 5;
    }
    let detail = match &args[at..] {
        [] => None,
        [start, end, count] => Some((*start, *end, integer(count)?, None)),
        [start, end, count, consumer] => Some((*start, *end, integer(count)?, Some(*consumer))),
        _ => return Err(SYNTAX),
    };
    let detail = match detail {
        None => None,
        Some((start, end, count, consumer)) => Some((
            parse_bound(start, 0, true)?,
            parse_bound(end, u64::MAX, false)?,
            count.max(0) as usize,
            consumer,
        )),
    };
    let group = ctx.engine.stream(ctx.db, key)?.and_then(|stream| stream.groups.get(name));
    let group = group.ok_or_else(|| no_group(key, name))?;
    let Some((start, end, count, consumer)) = detail else {
        ctx.out.array(4);
        ctx.out.integer(group.pending.len() as i64);
        let (Some((first, _)), Some((last, _))) =
            (group.pending.first_key_value(), group.pending.last_key_value())
        else {
            ctx.out.null();
            ctx.out.null();
            ctx.out.null_array();
            return Ok(());
        };
        write_id(ctx.out, *first);
        write_id(ctx.out, *last);
        let busy: Vec<_> =
            group.consumers.iter().filter(|(_, consumer)| !consumer.pending.is_empty()).collect();
        ctx.out.array(busy.len());
        for (name, consumer) in busy {
            ctx.out.array(2);
            ctx.out.bulk(name);
            ctx.out.bulk_integer(consumer.pending.len() as i64);
        }
        return Ok(());
    };
    let (mark, mut written) = (ctx.out.mark(), 0);
    if start <= end {
        for (id, pending) in group.pending.range(start..=end) {
            let since = now - pending.delivered_at;
            if written >= count
                || consumer.is_some_and(|consumer| &*pending.consumer != consumer)
                || since < idle
            {
                if written >= count {
                    break;
                }
                continue;
            }
            written += 1;
            ctx.out.array(4);
            write_id(ctx.out, *id);
            ctx.out.bulk(&pending.consumer);
            ctx.out.integer(since.max(0));
            ctx.out.integer(pending.deliveries as i64);
        }
    }
    ctx.out.array_at(mark, written);
    Ok(())
}
