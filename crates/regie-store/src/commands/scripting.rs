//! EVAL and its like.

use crate::context::{Ctx, is};
use crate::failure::{NOT_INTEGER, Outcome, SYNTAX};
use crate::script::{run, sha1_hex};

/// Keys, and arguments that are no keys.
type KeysAndArguments<'a, 'b> = (&'b [&'a [u8]], &'b [&'a [u8]]);

/// The keys and the other arguments behind the script and the number of keys.
fn split<'a, 'b>(args: &'b [&'a [u8]]) -> Outcome<KeysAndArguments<'a, 'b>> {
    let number = crate::number::parse_integer(args[2]).ok_or(NOT_INTEGER)?;
    if number > args.len() as i64 - 3 {
        return Err("ERR Number of keys can't be greater than number of args".into());
    }
    let number = usize::try_from(number).map_err(|_| "ERR Number of keys can't be negative")?;
    Ok(args[3..].split_at(number))
}

fn by_body(ctx: &mut Ctx<'_>, args: &[&[u8]], read_only: bool) -> Outcome {
    let (keys, rest) = split(args)?;
    let stopwatch = ctx.engine.stopwatch;
    let script = ctx.engine.scripts.compile(args[1], stopwatch)?;
    run(ctx, &script, keys, rest, read_only)
}

fn by_sha(ctx: &mut Ctx<'_>, args: &[&[u8]], read_only: bool) -> Outcome {
    let (keys, rest) = split(args)?;
    let script = std::str::from_utf8(args[1]).ok().and_then(|sha| ctx.engine.scripts.find(sha));
    let script = script.ok_or("NOSCRIPT No matching script. Please use EVAL.")?;
    run(ctx, &script, keys, rest, read_only)
}

pub(crate) fn eval(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    by_body(ctx, args, false)
}

pub(crate) fn eval_ro(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    by_body(ctx, args, true)
}

pub(crate) fn evalsha(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    by_sha(ctx, args, false)
}

pub(crate) fn evalsha_ro(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    by_sha(ctx, args, true)
}

pub(crate) fn load(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let stopwatch = ctx.engine.stopwatch;
    ctx.engine.scripts.compile(args[2], stopwatch)?;
    ctx.out.bulk(sha1_hex(args[2]).as_bytes());
    Ok(())
}

pub(crate) fn exists(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    ctx.out.array(args.len() - 2);
    for sha in &args[2..] {
        let there = std::str::from_utf8(sha).is_ok_and(|sha| ctx.engine.scripts.contains(sha));
        ctx.out.integer(i64::from(there));
    }
    Ok(())
}

pub(crate) fn flush(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    match &args[2..] {
        [] => {}
        [word] if is(word, "ASYNC") || is(word, "SYNC") => {}
        [_] => return Err("ERR SCRIPT FLUSH only support SYNC|ASYNC option".into()),
        _ => return Err(SYNTAX),
    }
    ctx.engine.scripts.flush();
    ctx.out.ok();
    Ok(())
}

pub(crate) fn kill(_ctx: &mut Ctx<'_>, _args: &[&[u8]]) -> Outcome {
    Err("NOTBUSY No scripts in execution right now.".into())
}
