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

fn no_group(key: &[u8], group: &[u8]) -> Failure {
    format!("NOGROUP No such key '{}' or consumer group '{}'", shown(key), shown(group)).into()
}

fn no_group_of(key: &[u8], group: &[u8]) -> Failure {
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
fn log_claim(ctx: &mut Ctx<'_>, key: &[u8], group: &[u8], id: Id, pending: &Pending, last: Id) {
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
fn assign(group: &mut Group, id: Id, pending: Pending) {
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
        let tombstones = stream.has_tombstone(*id);
        let before = stream.entries_before(*id);
        let Some(group) = stream.groups.get_mut(name) else { break };
        group.entries_read = match group.entries_read {
            Some(read) if !tombstones => Some(read + 1),
            _ => before,
        };
        group.last_delivered = *id;
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
    if let Some(group) = progress {
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

/// XCLAIM's options.
struct Claim {
    delivered_at: i64,
    retries: Option<u64>,
    force: bool,
    just_id: bool,
    last: Option<Id>,
}

fn claim_options(args: &[&[u8]], mut at: usize, now: i64) -> Outcome<Claim> {
    let mut claim = Claim { delivered_at: now, retries: None, force: false, just_id: false, last: None };
    while at < args.len() {
        let value = args.get(at + 1);
        match () {
            () if is(args[at], "FORCE") => claim.force = true,
            () if is(args[at], "JUSTID") => claim.just_id = true,
            () if is(args[at], "IDLE") && value.is_some() => {
                at += 1;
                let idle = integer(args[at]).map_err(|_| "ERR Invalid IDLE option argument for XCLAIM")?;
                claim.delivered_at = now - idle;
            }
            () if is(args[at], "TIME") && value.is_some() => {
                at += 1;
                claim.delivered_at =
                    integer(args[at]).map_err(|_| "ERR Invalid TIME option argument for XCLAIM")?;
            }
            () if is(args[at], "RETRYCOUNT") && value.is_some() => {
                at += 1;
                let count =
                    integer(args[at]).map_err(|_| "ERR Invalid RETRYCOUNT option argument for XCLAIM")?;
                claim.retries = Some(count.max(0) as u64);
            }
            () if is(args[at], "LASTID") && value.is_some() => {
                at += 1;
                claim.last = Some(parse_id(args[at], 0)?);
            }
            () => return Err(format!("ERR Unrecognized XCLAIM option '{}'", shown(args[at])).into()),
        }
        at += 1;
    }
    if claim.delivered_at < 0 || claim.delivered_at > now {
        claim.delivered_at = now;
    }
    Ok(claim)
}

pub(crate) fn xclaim(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let (key, name, consumer, now) = (args[1], args[2], args[3], ctx.now());
    if !ctx.stream(key)?.is_some_and(|stream| stream.groups.contains_key(name)) {
        return Err(no_group(key, name));
    }
    let idle = integer(args[4]).map_err(|_| "ERR Invalid min-idle-time argument for XCLAIM")?.max(0);
    let mut ids = Vec::new();
    let mut at = 5;
    while at < args.len() {
        match parse_id(args[at], 0) {
            Ok(id) => ids.push(id),
            Err(failure) if at == 5 => return Err(failure),
            Err(_) => break,
        }
        at += 1;
    }
    let claim = claim_options(args, at, now)?;
    let loading = ctx.engine.is_loading;
    let Some(stream) = ctx.stream_mut(key)? else { return Ok(()) };
    let mut outcome = Claimed::default();
    if let (Some(last), Some(group)) = (claim.last, stream.groups.get_mut(name)) {
        group.last_delivered = group.last_delivered.max(last);
    }
    for id in ids {
        let there = stream.get(id).is_some();
        let Some(group) = stream.groups.get_mut(name) else { break };
        if !there && !loading {
            if drop_pending(group, id) {
                outcome.dropped.push(id);
            }
            continue;
        }
        let old = group.pending.get(&id).cloned();
        if old.is_none() && !claim.force {
            continue;
        }
        if old.as_ref().is_some_and(|old| idle > 0 && now - old.delivered_at < idle) {
            continue;
        }
        outcome.is_new |= !group.consumers.contains_key(consumer);
        group.consumers.entry(Blob::from(consumer)).or_default().seen_at = now;
        let before = old.map_or(0, |old| old.deliveries);
        let deliveries = claim.retries.unwrap_or(before + u64::from(!claim.just_id));
        let pending =
            Pending { consumer: Blob::from(consumer), delivered_at: claim.delivered_at, deliveries };
        assign(group, id, pending.clone());
        outcome.claimed.push((id, pending));
    }
    outcome.last = stream.groups.get(name).map(|group| group.last_delivered).unwrap_or_default();
    finish_claim(ctx, key, name, &outcome);
    reply_claimed(ctx, key, &outcome, claim.just_id)
}

/// What a claim has done.
#[derive(Default)]
struct Claimed {
    claimed: Vec<(Id, Pending)>,
    /// Entries that are in the stream no longer.
    dropped: Vec<Id>,
    last: Id,
    /// The consumer was not there before.
    is_new: bool,
}

fn drop_pending(group: &mut Group, id: Id) -> bool {
    let Some(pending) = group.pending.remove(&id) else { return false };
    if let Some(consumer) = group.consumers.get_mut(&pending.consumer) {
        consumer.pending.remove(&id);
    }
    true
}

fn finish_claim(ctx: &mut Ctx<'_>, key: &[u8], name: &[u8], outcome: &Claimed) {
    if outcome.claimed.is_empty() && outcome.dropped.is_empty() {
        return;
    }
    if outcome.is_new {
        ctx.changed(Class::STREAM, "xgroup-createconsumer", key);
    } else {
        ctx.changed_silently(key);
    }
    for (id, pending) in &outcome.claimed {
        log_claim(ctx, key, name, *id, pending, outcome.last);
    }
    for id in &outcome.dropped {
        ctx.log_instead(&[b"XACK", key, name, id.to_string().as_bytes()]);
    }
}

fn reply_claimed(ctx: &mut Ctx<'_>, key: &[u8], outcome: &Claimed, just_id: bool) -> Outcome {
    ctx.out.array(outcome.claimed.len());
    let stream = ctx.engine.stream(ctx.db, key)?;
    for (id, _) in &outcome.claimed {
        match stream.and_then(|stream| stream.get(*id)) {
            Some(entry) if !just_id => write_entry(ctx.out, entry),
            _ => write_id(ctx.out, *id),
        }
    }
    Ok(())
}

pub(crate) fn xautoclaim(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let (key, name, consumer, now) = (args[1], args[2], args[3], ctx.now());
    let idle = integer(args[4]).map_err(|_| "ERR Invalid min-idle-time argument for XAUTOCLAIM")?.max(0);
    let start = parse_bound(args[5], 0, true)?;
    let (mut count, mut just_id) = (100usize, false);
    let mut at = 6;
    while at < args.len() {
        match () {
            () if is(args[at], "COUNT") && at + 1 < args.len() => {
                at += 1;
                let given = integer(args[at]).ok().filter(|given| *given > 0 && *given < i64::MAX / 16);
                count = given.ok_or("ERR COUNT must be > 0")? as usize;
            }
            () if is(args[at], "JUSTID") => just_id = true,
            () => return Err(SYNTAX),
        }
        at += 1;
    }
    if !ctx.stream(key)?.is_some_and(|stream| stream.groups.contains_key(name)) {
        return Err(no_group(key, name));
    }
    let Some(stream) = ctx.stream_mut(key)? else { return Ok(()) };
    let candidates: Vec<Id> = stream.groups[name]
        .pending
        .range(start..)
        .take(count.saturating_mul(10) + 1)
        .map(|(id, _)| *id)
        .collect();
    let (mut outcome, mut next, mut left, mut attempts) =
        (Claimed::default(), Id::MIN, count, count.saturating_mul(10));
    for id in candidates {
        if attempts == 0 || left == 0 {
            next = id;
            break;
        }
        attempts -= 1;
        let there = stream.get(id).is_some();
        let Some(group) = stream.groups.get_mut(name) else { break };
        if !there {
            drop_pending(group, id);
            outcome.dropped.push(id);
            left -= 1;
            continue;
        }
        let Some(old) = group.pending.get(&id).cloned() else { continue };
        if idle > 0 && now - old.delivered_at < idle {
            continue;
        }
        outcome.is_new |= !group.consumers.contains_key(consumer);
        group.consumers.entry(Blob::from(consumer)).or_default().seen_at = now;
        let deliveries = old.deliveries + u64::from(!just_id);
        let pending = Pending { consumer: Blob::from(consumer), delivered_at: now, deliveries };
        assign(group, id, pending.clone());
        outcome.claimed.push((id, pending));
        left -= 1;
    }
    outcome.last = stream.groups.get(name).map(|group| group.last_delivered).unwrap_or_default();
    finish_claim(ctx, key, name, &outcome);
    ctx.out.array(3);
    write_id(ctx.out, next);
    reply_claimed(ctx, key, &outcome, just_id)?;
    ctx.out.array(outcome.dropped.len());
    for id in &outcome.dropped {
        write_id(ctx.out, *id);
    }
    Ok(())
}

pub(crate) fn info_groups(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let stream = ctx.engine.stream(ctx.db, args[2])?.ok_or(crate::failure::NO_KEY)?;
    ctx.out.array(stream.groups.len());
    for (name, group) in &stream.groups {
        ctx.out.map(6);
        ctx.out.bulk(b"name");
        ctx.out.bulk(name);
        ctx.out.bulk(b"consumers");
        ctx.out.integer(group.consumers.len() as i64);
        ctx.out.bulk(b"pending");
        ctx.out.integer(group.pending.len() as i64);
        ctx.out.bulk(b"last-delivered-id");
        write_id(ctx.out, group.last_delivered);
        ctx.out.bulk(b"entries-read");
        match group.entries_read {
            Some(read) => ctx.out.integer(read as i64),
            None => ctx.out.null(),
        }
        ctx.out.bulk(b"lag");
        match stream.lag(group) {
            Some(lag) => ctx.out.integer(lag as i64),
            None => ctx.out.null(),
        }
    }
    Ok(())
}

pub(crate) fn info_consumers(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let now = ctx.now();
    let stream = ctx.engine.stream(ctx.db, args[2])?.ok_or(crate::failure::NO_KEY)?;
    let group = stream.groups.get(args[3]).ok_or_else(|| no_group_of(args[2], args[3]))?;
    ctx.out.array(group.consumers.len());
    for (name, consumer) in &group.consumers {
        ctx.out.map(3);
        ctx.out.bulk(b"name");
        ctx.out.bulk(name);
        ctx.out.bulk(b"pending");
        ctx.out.integer(consumer.pending.len() as i64);
        ctx.out.bulk(b"idle");
        ctx.out.integer((now - consumer.seen_at).max(0));
    }
    Ok(())
}

pub(crate) fn info_stream(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let full = match &args[3..] {
        [] => None,
        [word] if is(word, "FULL") => Some(10),
        [word, count, number] if is(word, "FULL") && is(count, "COUNT") => {
            Some(integer(number)?.max(0) as usize)
        }
        _ => return Err(SYNTAX),
    };
    let stream = ctx.engine.stream(ctx.db, args[2])?.ok_or(crate::failure::NO_KEY)?;
    let out = &mut *ctx.out;
    out.map(if full.is_some() { 9 } else { 10 });
    let numbers = [
        ("length", stream.len()),
        ("radix-tree-keys", stream.blocks()),
        ("radix-tree-nodes", stream.blocks() + 1),
    ];
    for (name, value) in numbers {
        out.bulk(name.as_bytes());
        out.integer(value as i64);
    }
    out.bulk(b"last-generated-id");
    write_id(out, stream.last_id);
    out.bulk(b"max-deleted-entry-id");
    write_id(out, stream.max_deleted);
    out.bulk(b"entries-added");
    out.integer(stream.entries_added as i64);
    out.bulk(b"recorded-first-entry-id");
    write_id(out, stream.first().map(|entry| entry.id).unwrap_or_default());
    let Some(count) = full else {
        out.bulk(b"groups");
        out.integer(stream.groups.len() as i64);
        for (name, entry) in [("first-entry", stream.first()), ("last-entry", stream.last())] {
            out.bulk(name.as_bytes());
            match entry {
                Some(entry) => write_entry(out, entry),
                None => out.null(),
            }
        }
        return Ok(());
    };
    let most = if count == 0 { usize::MAX } else { count };
    out.bulk(b"entries");
    out.array(stream.len().min(most));
    stream.range(Id::MIN, Id::MAX).take(most).for_each(|entry| write_entry(out, entry));
    out.bulk(b"groups");
    out.array(stream.groups.len());
    for (name, group) in &stream.groups {
        write_full_group(out, stream, name, group, most);
    }
    Ok(())
}

fn write_full_group(out: &mut regie_resp::Encoder, stream: &Stream, name: &[u8], group: &Group, most: usize) {
    out.map(7);
    out.bulk(b"name");
    out.bulk(name);
    out.bulk(b"last-delivered-id");
    write_id(out, group.last_delivered);
    out.bulk(b"entries-read");
    match group.entries_read {
        Some(read) => out.integer(read as i64),
        None => out.null(),
    }
    out.bulk(b"lag");
    match stream.lag(group) {
        Some(lag) => out.integer(lag as i64),
        None => out.null(),
    }
    out.bulk(b"pel-count");
    out.integer(group.pending.len() as i64);
    out.bulk(b"pending");
    out.array(group.pending.len().min(most));
    for (id, pending) in group.pending.iter().take(most) {
        out.array(4);
        write_id(out, *id);
        out.bulk(&pending.consumer);
        out.integer(pending.delivered_at);
        out.integer(pending.deliveries as i64);
    }
    out.bulk(b"consumers");
    out.array(group.consumers.len());
    for (name, consumer) in &group.consumers {
        out.map(4);
        out.bulk(b"name");
        out.bulk(name);
        out.bulk(b"seen-time");
        out.integer(consumer.seen_at);
        out.bulk(b"pel-count");
        out.integer(consumer.pending.len() as i64);
        out.bulk(b"pending");
        out.array(consumer.pending.len().min(most));
        for id in consumer.pending.keys().take(most) {
            out.array(3);
            write_id(out, *id);
            let pending = group.pending.get(id);
            out.integer(pending.map_or(0, |pending| pending.delivered_at));
            out.integer(pending.map_or(0, |pending| pending.deliveries as i64));
        }
    }
}
