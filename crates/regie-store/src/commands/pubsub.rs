//! Channels.

use crate::context::Ctx;
use crate::failure::Outcome;
use crate::glob;
use crate::pubsub::Space;

fn begin(ctx: &mut Ctx<'_>, args: &[&[u8]], space: Space) -> Outcome {
    let client = ctx.client;
    ctx.engine.is_pushing = true;
    for &channel in &args[1..] {
        ctx.engine.subscribe(client, space, channel);
        let count = ctx.engine.subscription_count(client, space);
        ctx.out.push(3);
        ctx.out.bulk(space.words().0.as_bytes());
        ctx.out.bulk(channel);
        ctx.out.integer(count as i64);
    }
    Ok(())
}

fn cease(ctx: &mut Ctx<'_>, args: &[&[u8]], space: Space) -> Outcome {
    let client = ctx.client;
    ctx.engine.is_pushing = true;
    let word = space.words().1.as_bytes();
    let channels: Vec<Vec<u8>> = if args.len() > 1 {
        args[1..].iter().map(|channel| channel.to_vec()).collect()
    } else {
        ctx.engine.subscribed(client, space).iter().map(|channel| channel.to_vec()).collect()
    };
    if channels.is_empty() {
        let count = ctx.engine.subscription_count(client, space);
        ctx.out.push(3);
        ctx.out.bulk(word);
        ctx.out.null();
        ctx.out.integer(count as i64);
    }
    for channel in channels {
        ctx.engine.unsubscribe(client, space, &channel);
        let count = ctx.engine.subscription_count(client, space);
        ctx.out.push(3);
        ctx.out.bulk(word);
        ctx.out.bulk(&channel);
        ctx.out.integer(count as i64);
    }
    Ok(())
}

pub(crate) fn subscribe(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    begin(ctx, args, Space::Channels)
}

pub(crate) fn psubscribe(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    begin(ctx, args, Space::Patterns)
}

pub(crate) fn ssubscribe(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    begin(ctx, args, Space::Shard)
}

pub(crate) fn unsubscribe(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    cease(ctx, args, Space::Channels)
}

pub(crate) fn punsubscribe(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    cease(ctx, args, Space::Patterns)
}

pub(crate) fn sunsubscribe(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    cease(ctx, args, Space::Shard)
}

pub(crate) fn publish(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let count = ctx.engine.publish(args[1], args[2]);
    ctx.replicate_only(args);
    ctx.out.integer(count as i64);
    Ok(())
}

pub(crate) fn spublish(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let count = ctx.engine.publish_shard(args[1], args[2]);
    ctx.replicate_only(args);
    ctx.out.integer(count as i64);
    Ok(())
}

fn reply_channels(ctx: &mut Ctx<'_>, args: &[&[u8]], space: Space) -> Outcome {
    let names: Vec<_> = ctx.engine.space(space).keys().cloned().collect();
    let (mark, mut count) = (ctx.out.mark(), 0);
    for name in names {
        if args.get(2).is_none_or(|pattern| glob::matches(pattern, &name, false)) {
            ctx.out.bulk(&name);
            count += 1;
        }
    }
    ctx.out.array_at(mark, count);
    Ok(())
}

fn reply_listeners(ctx: &mut Ctx<'_>, args: &[&[u8]], space: Space) -> Outcome {
    ctx.out.array((args.len() - 2) * 2);
    for &channel in &args[2..] {
        let count = ctx.engine.space(space).get(channel).map_or(0, std::collections::BTreeSet::len);
        ctx.out.bulk(channel);
        ctx.out.integer(count as i64);
    }
    Ok(())
}

pub(crate) fn channels(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    reply_channels(ctx, args, Space::Channels)
}

pub(crate) fn shard_channels(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    reply_channels(ctx, args, Space::Shard)
}

pub(crate) fn numsub(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    reply_listeners(ctx, args, Space::Channels)
}

pub(crate) fn shard_numsub(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    reply_listeners(ctx, args, Space::Shard)
}

pub(crate) fn numpat(ctx: &mut Ctx<'_>, _args: &[&[u8]]) -> Outcome {
    let count = ctx.engine.patterns.len();
    ctx.out.integer(count as i64);
    Ok(())
}
