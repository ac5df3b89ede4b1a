//! XCLAIM and XAUTOCLAIM: entries that one consumer takes over from another.

use crate::blob::Blob;
use crate::commands::stream_groups::{assign, log_claim, no_group, read_up_to};
use crate::commands::streams::{parse_bound, parse_id, write_entry, write_id};
use crate::context::{Ctx, integer, is};
use crate::failure::{Outcome, SYNTAX, shown};
use crate::notify::Class;
use crate::structures::stream::{Group, Id, Pending};

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
    let is_repeated = loading || ctx.engine.is_from_leader;
    let Some(stream) = ctx.stream_mut(key)? else { return Ok(()) };
    let mut outcome = Claimed::default();
    if let Some(last) = claim.last.filter(|_| is_repeated) {
        read_up_to(stream, name, last);
    }
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
