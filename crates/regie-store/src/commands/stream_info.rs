//! XINFO: what there is to tell about a stream, its groups and their consumers.

use crate::commands::stream_groups::no_group_of;
use crate::commands::streams::{write_entry, write_id};
use crate::context::{Ctx, integer, is};
use crate::failure::{Outcome, SYNTAX};
use crate::structures::stream::{Group, Id, Stream};

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
