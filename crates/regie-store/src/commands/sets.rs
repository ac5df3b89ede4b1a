//! Sets.

use crate::commands::keys::scan_options;
use crate::commands::some::Asked;
use crate::context::{Ctx, integer, is};
use crate::failure::{Failure, NOT_POSITIVE, Outcome, SYNTAX};
use crate::notify::Class;
use crate::structures::set::Set;
use crate::value::Value;

pub(crate) fn sadd(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let (limit, seed) = (ctx.engine.config.set_integers, ctx.database().table.seed());
    let set = ctx.set_or_new(args[1])?;
    let new = args[2..].iter().filter(|member| set.add(member, limit, seed)).count();
    if new > 0 {
        ctx.changed(Class::SET, "sadd", args[1]);
    }
    ctx.out.integer(new as i64);
    Ok(())
}

pub(crate) fn srem(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let gone = match ctx.set_mut(args[1])? {
        None => 0,
        Some(set) => args[2..].iter().filter(|member| set.remove(member)).count(),
    };
    if gone > 0 {
        ctx.changed(Class::SET, "srem", args[1]);
        ctx.delete_if_empty(args[1]);
    }
    ctx.out.integer(gone as i64);
    Ok(())
}

pub(crate) fn scard(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let length = ctx.set(args[1])?.map_or(0, Set::len);
    ctx.out.integer(length as i64);
    Ok(())
}

pub(crate) fn sismember(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let there = ctx.set(args[1])?.is_some_and(|set| set.contains(args[2]));
    ctx.out.integer(i64::from(there));
    Ok(())
}

pub(crate) fn smismember(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let set = ctx.engine.set(ctx.db, args[1])?;
    ctx.out.array(args.len() - 2);
    for member in &args[2..] {
        ctx.out.integer(i64::from(set.is_some_and(|set| set.contains(member))));
    }
    Ok(())
}

pub(crate) fn smembers(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let set = ctx.engine.set(ctx.db, args[1])?;
    ctx.out.set(set.map_or(0, Set::len));
    set.iter().flat_map(|set| set.iter()).for_each(|member| ctx.out.bulk(&member));
    Ok(())
}

pub(crate) fn smove(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let (from, to, member) = (args[1], args[2], args[3]);
    let Some(source) = ctx.set(from)? else {
        ctx.out.integer(0);
        return Ok(());
    };
    let there = source.contains(member);
    ctx.set(to)?;
    if from == to || !there {
        ctx.out.integer(i64::from(there));
        return Ok(());
    }
    if let Some(source) = ctx.set_mut(from)? {
        source.remove(member);
    }
    ctx.changed(Class::SET, "srem", from);
    ctx.delete_if_empty(from);
    let (limit, seed) = (ctx.engine.config.set_integers, ctx.database().table.seed());
    if ctx.set_or_new(to)?.add(member, limit, seed) {
        ctx.changed(Class::SET, "sadd", to);
    }
    ctx.out.integer(1);
    Ok(())
}

pub(crate) fn spop(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let key = args[1];
    let count = match args {
        [_, _] => None,
        [_, _, count] => {
            Some(usize::try_from(integer(count).map_err(|_| NOT_POSITIVE)?).map_err(|_| NOT_POSITIVE)?)
        }
        _ => return Err(SYNTAX),
    };
    // Put back below: a set that is not there costs no number.
    let mut random = ctx.engine.random.clone();
    let Some(set) = ctx.set_mut(key)? else {
        if count.is_some() {
            ctx.out.set(0);
        } else {
            ctx.out.null();
        }
        return Ok(());
    };
    let chosen: Vec<Vec<u8>> = match count {
        Some(0) => {
            ctx.out.set(0);
            return Ok(());
        }
        Some(count) if count >= set.len() => set.iter().map(std::borrow::Cow::into_owned).collect(),
        Some(count) => (0..count)
            .filter_map(|_| {
                let member = set.random(&mut random)?.into_owned();
                set.remove(&member);
                Some(member)
            })
            .collect(),
        None => set.random(&mut random).map(std::borrow::Cow::into_owned).into_iter().collect(),
    };
    let all = chosen.len() == set.len() && count.is_some();
    for member in &chosen {
        set.remove(member);
    }
    ctx.engine.random = random;
    if count.is_some() {
        ctx.out.set(chosen.len());
    }
    chosen.iter().for_each(|member| ctx.out.bulk(member));
    ctx.changed(Class::SET, "spop", key);
    let empty = ctx.delete_if_empty(key);
    if all && empty {
        ctx.log_instead(&[b"DEL", key]);
    } else {
        let mut log: Vec<&[u8]> = vec![b"SREM", key];
        log.extend(chosen.iter().map(Vec::as_slice));
        ctx.log_instead(&log);
    }
    Ok(())
}

pub(crate) fn srandmember(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let asked = Asked::parse(args, "")?;
    let mut random = ctx.engine.random.fork();
    let set = ctx.engine.set(ctx.db, args[1])?;
    let Some(count) = asked.count else {
        match set.and_then(|set| set.random(&mut random)) {
            Some(member) => ctx.out.bulk(&member),
            None => ctx.out.null(),
        }
        return Ok(());
    };
    let chosen = set.map_or_else(Vec::new, |set| {
        count.choose(&mut random, |random| set.random(random), || set.iter().collect())
    });
    ctx.out.array(chosen.len());
    chosen.iter().for_each(|member| ctx.out.bulk(member));
    Ok(())
}

/// The three ways to combine sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Combine {
    Intersection,
    Union,
    Difference,
}

/// The members of a combination, at most `limit` of them for an intersection (0: all).
fn combined(ctx: &mut Ctx<'_>, keys: &[&[u8]], how: Combine, limit: usize) -> Outcome<Vec<Vec<u8>>> {
    for key in keys {
        ctx.set(key)?;
    }
    let mut sets: Vec<Option<&Set>> = Vec::new();
    let database = &ctx.engine.databases[ctx.db];
    for key in keys {
        sets.push(match database.get(key).map(|entry| &entry.value) {
            Some(Value::Set(set)) => Some(set),
            _ => None,
        });
    }
    let own = |member: std::borrow::Cow<'_, [u8]>| member.into_owned();
    Ok(match how {
        Combine::Intersection => {
            let Some(mut sets) = sets.into_iter().collect::<Option<Vec<&Set>>>() else {
                return Ok(Vec::new());
            };
            sets.sort_by_key(|set| set.len());
            let most = if limit == 0 { usize::MAX } else { limit };
            let common = sets[0].iter().filter(|member| sets[1..].iter().all(|set| set.contains(member)));
            common.take(most).map(own).collect()
        }
        Combine::Union => {
            let mut union = Set::new();
            for set in sets.into_iter().flatten() {
                for member in set.iter() {
                    union.add(&member, 512, 1);
                }
            }
            union.iter().map(own).collect()
        }
        Combine::Difference => match sets[0] {
            None => Vec::new(),
            Some(first) => {
                let others: Vec<&Set> = sets[1..].iter().flatten().copied().collect();
                first
                    .iter()
                    .filter(|member| !others.iter().any(|set| set.contains(member)))
                    .map(own)
                    .collect()
            }
        },
    })
}

fn reply_combined(ctx: &mut Ctx<'_>, args: &[&[u8]], how: Combine) -> Outcome {
    let members = combined(ctx, &args[1..], how, 0)?;
    ctx.out.set(members.len());
    members.iter().for_each(|member| ctx.out.bulk(member));
    Ok(())
}

fn store_combined(ctx: &mut Ctx<'_>, args: &[&[u8]], how: Combine, event: &str) -> Outcome {
    let members = combined(ctx, &args[2..], how, 0)?;
    let (limit, seed) = (ctx.engine.config.set_integers, ctx.database().table.seed());
    let existed = ctx.exists(args[1]);
    if let Some(old) = ctx.remove(args[1]) {
        ctx.discard(old);
    }
    if members.is_empty() {
        if existed {
            ctx.changed(Class::GENERIC, "del", args[1]);
        }
    } else {
        let mut set = Set::new();
        for member in &members {
            set.add(member, limit, seed);
        }
        ctx.insert(args[1], Value::Set(Box::new(set)));
        ctx.changed(Class::SET, event, args[1]);
    }
    ctx.out.integer(members.len() as i64);
    Ok(())
}

pub(crate) fn sinter(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    reply_combined(ctx, args, Combine::Intersection)
}

pub(crate) fn sunion(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    reply_combined(ctx, args, Combine::Union)
}

pub(crate) fn sdiff(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    reply_combined(ctx, args, Combine::Difference)
}

pub(crate) fn sinterstore(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    store_combined(ctx, args, Combine::Intersection, "sinterstore")
}

pub(crate) fn sunionstore(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    store_combined(ctx, args, Combine::Union, "sunionstore")
}

pub(crate) fn sdiffstore(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    store_combined(ctx, args, Combine::Difference, "sdiffstore")
}

/// `numkeys key… [LIMIT n]`: the keys and the limit.
pub(crate) fn keys_and_limit<'a, 'b>(args: &'b [&'a [u8]]) -> Outcome<(&'b [&'a [u8]], usize)> {
    let number = integer(args[1]).ok().filter(|number| *number > 0);
    let number = number.ok_or_else(|| Failure::from("ERR numkeys should be greater than 0"))? as usize;
    if number > args.len() - 2 {
        return Err("ERR Number of keys can't be greater than number of args".into());
    }
    let limit = match &args[2 + number..] {
        [] => 0,
        [word, limit] if is(word, "LIMIT") => {
            let limit = integer(limit).ok().filter(|limit| *limit >= 0);
            limit.ok_or_else(|| Failure::from("ERR LIMIT can't be negative"))? as usize
        }
        _ => return Err(SYNTAX),
    };
    Ok((&args[2..2 + number], limit))
}

pub(crate) fn sintercard(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let (keys, limit) = keys_and_limit(args)?;
    let count = combined(ctx, keys, Combine::Intersection, limit)?.len();
    ctx.out.integer(count as i64);
    Ok(())
}

pub(crate) fn sscan(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let options = scan_options(args, 2)?;
    let (mut cursor, mut seen) = (options.cursor, 0);
    let mut found: Vec<Vec<u8>> = Vec::new();
    if let Some(set) = ctx.set(args[1])? {
        for _ in 0..options.count.saturating_mul(10) {
            cursor = set.scan(cursor, |member| {
                seen += 1;
                if options.accepts(member) {
                    found.push(member.to_vec());
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
    ctx.out.array(found.len());
    found.iter().for_each(|member| ctx.out.bulk(member));
    Ok(())
}
