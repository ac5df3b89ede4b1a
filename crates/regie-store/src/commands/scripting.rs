//! EVAL and SCRIPT.

use crate::context::{Ctx, is};
use crate::failure::{NOT_INTEGER, Outcome};
use crate::script::{self, What, run, write_error};
use regie_script::ScriptError;

/// How many of the arguments behind the third word are keys.
pub(super) fn count_keys(args: &[&[u8]]) -> Outcome<usize> {
    let number = crate::number::parse_integer(args[2]).ok_or(NOT_INTEGER)?;
    if number > args.len() as i64 - 3 {
        return Err("ERR Number of keys can't be greater than number of args".into());
    }
    usize::try_from(number).map_err(|_| "ERR Number of keys can't be negative".into())
}

/// Those who watch all see the script before its commands.
pub(super) fn show(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    if !ctx.engine.monitors.is_empty() {
        ctx.engine.feed_monitors(ctx.client, args, false);
    }
}

fn by_body(ctx: &mut Ctx<'_>, args: &[&[u8]], read_only: bool) -> Outcome {
    show(ctx, args);
    let keys = count_keys(args)?;
    match ctx.engine.scripts.lua().prepare(args[1]) {
        Ok(id) => run(ctx, What::Script(id), args, keys, read_only),
        Err(error) => write_error(ctx, &error),
    }
}

fn by_sha(ctx: &mut Ctx<'_>, args: &[&[u8]], read_only: bool) -> Outcome {
    show(ctx, args);
    if args[1].len() != 40 {
        return write_error(ctx, &ScriptError::no_script());
    }
    let keys = count_keys(args)?;
    match ctx.engine.scripts.lua().find(args[1]) {
        Some(id) => run(ctx, What::Script(id), args, keys, read_only),
        None => write_error(ctx, &ScriptError::no_script()),
    }
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
    match ctx.engine.scripts.lua().load(args[2]) {
        Ok(_) => ctx.out.bulk(&regie_script::sha1(args[2]).hex()),
        Err(error) => return write_error(ctx, &error),
    }
    Ok(())
}

pub(crate) fn exists(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    ctx.out.array(args.len() - 2);
    for sha in &args[2..] {
        let there = ctx.engine.scripts.lua().find(sha).is_some();
        ctx.out.integer(i64::from(there));
    }
    Ok(())
}

pub(crate) fn flush(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    match &args[2..] {
        [] => {}
        [word] if is(word, "ASYNC") || is(word, "SYNC") => {}
        _ => return Err("ERR SCRIPT FLUSH only support SYNC|ASYNC option".into()),
    }
    ctx.engine.scripts.flush();
    ctx.out.ok();
    Ok(())
}

pub(crate) fn kill(ctx: &mut Ctx<'_>, _args: &[&[u8]]) -> Outcome {
    script::kill(ctx.engine, false)?;
    ctx.out.ok();
    Ok(())
}

/// The debugger is not built in: scripts are debugged with a Redis on the developer's machine.
pub(crate) fn debug(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    match args[2] {
        word if is(word, "NO") => ctx.out.ok(),
        word if is(word, "YES") || is(word, "SYNC") => {
            return Err(
                "ERR the Lua debugger is not part of this server; debug the script on a redis-server".into(),
            );
        }
        _ => return Err("ERR Use SCRIPT DEBUG YES/SYNC/NO".into()),
    }
    Ok(())
}
