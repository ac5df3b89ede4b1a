//! Hashes.

use crate::commands::keys::scan_options;
use crate::commands::some::Asked;
use crate::context::{Ctx, integer};
use crate::failure::{Failure, Outcome, wrong_arity};
use crate::notify::Class;
use crate::number::{add_decimal, parse_double, parse_integer};
use crate::structures::hash::Hash;

fn set_pairs(ctx: &mut Ctx<'_>, key: &[u8], pairs: &[&[u8]]) -> Outcome<usize> {
    let bounds = ctx.engine.config.hash;
    let seed = ctx.database().table.seed();
    let hash = ctx.hash_or_new(key)?;
    let new = pairs.chunks(2).filter(|pair| hash.set(pair[0], pair[1], bounds, seed)).count();
    ctx.changed(Class::HASH, "hset", key);
    Ok(new)
}

pub(crate) fn hset(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    if !args.len().is_multiple_of(2) {
        return Err(wrong_arity("hset"));
    }
    let new = set_pairs(ctx, args[1], &args[2..])?;
    ctx.out.integer(new as i64);
    Ok(())
}

pub(crate) fn hmset(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    if !args.len().is_multiple_of(2) {
        return Err(wrong_arity("hmset"));
    }
    set_pairs(ctx, args[1], &args[2..])?;
    ctx.out.ok();
    Ok(())
}

pub(crate) fn hsetnx(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let there = ctx.hash(args[1])?.is_some_and(|hash| hash.get(args[2]).is_some());
    if !there {
        set_pairs(ctx, args[1], &args[2..])?;
    }
    ctx.out.integer(i64::from(!there));
    Ok(())
}

pub(crate) fn hget(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    match ctx.engine.hash(ctx.db, args[1])?.and_then(|hash| hash.get(args[2])) {
        Some(text) => ctx.out.bulk(text),
        None => ctx.out.null(),
    }
    Ok(())
}

pub(crate) fn hmget(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let hash = ctx.engine.hash(ctx.db, args[1])?;
    ctx.out.array(args.len() - 2);
    for field in &args[2..] {
        match hash.and_then(|hash| hash.get(field)) {
            Some(text) => ctx.out.bulk(text),
            None => ctx.out.null(),
        }
    }
    Ok(())
}

pub(crate) fn hdel(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let gone = match ctx.hash_mut(args[1])? {
        None => 0,
        Some(hash) => args[2..].iter().filter(|field| hash.remove(field)).count(),
    };
    if gone > 0 {
        ctx.changed(Class::HASH, "hdel", args[1]);
        ctx.delete_if_empty(args[1]);
    }
    ctx.out.integer(gone as i64);
    Ok(())
}

pub(crate) fn hlen(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let length = ctx.hash(args[1])?.map_or(0, Hash::len);
    ctx.out.integer(length as i64);
    Ok(())
}

pub(crate) fn hstrlen(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let length = ctx.hash(args[1])?.and_then(|hash| hash.get(args[2])).map_or(0, <[u8]>::len);
    ctx.out.integer(length as i64);
    Ok(())
}

pub(crate) fn hexists(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let there = ctx.hash(args[1])?.is_some_and(|hash| hash.get(args[2]).is_some());
    ctx.out.integer(i64::from(there));
    Ok(())
}

pub(crate) fn hgetall(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let hash = ctx.engine.hash(ctx.db, args[1])?;
    ctx.out.map(hash.map_or(0, Hash::len));
    for (field, text) in hash.iter().flat_map(|hash| hash.iter()) {
        ctx.out.bulk(field);
        ctx.out.bulk(text);
    }
    Ok(())
}

pub(crate) fn hkeys(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let hash = ctx.engine.hash(ctx.db, args[1])?;
    ctx.out.array(hash.map_or(0, Hash::len));
    hash.iter().flat_map(|hash| hash.iter()).for_each(|(field, _)| ctx.out.bulk(field));
    Ok(())
}

pub(crate) fn hvals(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let hash = ctx.engine.hash(ctx.db, args[1])?;
    ctx.out.array(hash.map_or(0, Hash::len));
    hash.iter().flat_map(|hash| hash.iter()).for_each(|(_, text)| ctx.out.bulk(text));
    Ok(())
}

pub(crate) fn hincrby(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let step = integer(args[3])?;
    let old = match ctx.hash(args[1])?.and_then(|hash| hash.get(args[2])) {
        None => 0,
        Some(text) => parse_integer(text).ok_or("ERR hash value is not an integer")?,
    };
    let sum = old.checked_add(step).ok_or("ERR increment or decrement would overflow")?;
    let (bounds, seed) = (ctx.engine.config.hash, ctx.database().table.seed());
    ctx.hash_or_new(args[1])?.change(args[2], sum.to_string().as_bytes(), bounds, seed);
    ctx.changed(Class::HASH, "hincrby", args[1]);
    ctx.out.integer(sum);
    Ok(())
}

pub(crate) fn hincrbyfloat(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let step = parse_double(args[3]).ok_or("ERR value is not a valid float")?;
    if !step.is_finite() {
        return Err("ERR value is NaN or Infinity".into());
    }
    let old = match ctx.hash(args[1])?.and_then(|hash| hash.get(args[2])) {
        None => b"0".to_vec(),
        Some(text) => {
            parse_double(text).ok_or("ERR hash value is not a float")?;
            text.to_vec()
        }
    };
    let sum = add_decimal(&old, args[3])
        .ok_or_else(|| Failure::from("ERR increment would produce NaN or Infinity"))?;
    let (bounds, seed) = (ctx.engine.config.hash, ctx.database().table.seed());
    let hash = ctx.hash_or_new(args[1])?;
    hash.change(args[2], sum.as_bytes(), bounds, seed);
    let end = hash.end_of(args[2]);
    ctx.changed(Class::HASH, "hincrbyfloat", args[1]);
    ctx.log_instead(&[b"HSET", args[1], args[2], sum.as_bytes()]);
    if let Some(at) = end {
        // HSET lets a field stay.
        ctx.log_instead(&[b"HPEXPIREAT", args[1], at.to_string().as_bytes(), b"FIELDS", b"1", args[2]]);
    }
    ctx.out.bulk(sum.as_bytes());
    Ok(())
}

pub(crate) fn hscan(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let options = scan_options(args, 2)?;
    let (mut cursor, mut seen) = (options.cursor, 0);
    let mut found: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    if let Some(hash) = ctx.hash(args[1])? {
        for _ in 0..options.count.saturating_mul(10) {
            cursor = hash.scan(cursor, |field, text| {
                seen += 1;
                if options.accepts(field) {
                    found.push((field.to_vec(), text.to_vec()));
                }
            });
            if cursor == 0 || seen >= options.count {
                break;
            }
        }
    } else {
        cursor = 0;
    }
    ctx.out.array(2);
    ctx.out.bulk(cursor.to_string().as_bytes());
    ctx.out.array(found.len() * 2);
    for (field, text) in found {
        ctx.out.bulk(&field);
        ctx.out.bulk(&text);
    }
    Ok(())
}

pub(crate) fn hrandfield(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let asked = Asked::parse(args, "WITHVALUES")?;
    let mut random = ctx.engine.random.fork();
    let hash = ctx.engine.hash(ctx.db, args[1])?;
    let Some(count) = asked.count else {
        match hash.and_then(|hash| hash.random(&mut random)) {
            Some((field, _)) => ctx.out.bulk(field),
            None => ctx.out.null(),
        }
        return Ok(());
    };
    let chosen: Vec<(&[u8], &[u8])> = hash.map_or_else(Vec::new, |hash| {
        count.choose(&mut random, |random| hash.random(random), || hash.iter().collect())
    });
    let three = ctx.out.version == regie_resp::Version::Three;
    ctx.out.array(if asked.with && !three { chosen.len() * 2 } else { chosen.len() });
    for (field, text) in chosen {
        if asked.with && three {
            ctx.out.array(2);
        }
        ctx.out.bulk(field);
        if asked.with {
            ctx.out.bulk(text);
        }
    }
    Ok(())
}
