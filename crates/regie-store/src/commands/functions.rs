//! FUNCTION and FCALL: libraries of functions, which are data: they are logged and stand in snapshots.

use super::scripting::show;
use crate::context::{Ctx, is};
use crate::failure::{Outcome, shown};
use crate::glob;
use crate::script::{self, What, load_library, restore_libraries, run, write_error};
use regie_script::{Library, Restore, ScriptError};

fn call(ctx: &mut Ctx<'_>, args: &[&[u8]], read_only: bool) -> Outcome {
    show(ctx, args);
    if let Err(error) = ctx.engine.scripts.lua().function(args[1]) {
        return write_error(ctx, &error);
    }
    let number = crate::number::parse_integer(args[2]).ok_or("ERR Bad number of keys provided")?;
    if number > args.len() as i64 - 3 {
        return Err("ERR Number of keys can't be greater than number of args".into());
    }
    let keys = usize::try_from(number).map_err(|_| "ERR Number of keys can't be negative")?;
    run(ctx, What::Function(args[1]), args, keys, read_only)
}

pub(crate) fn fcall(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    call(ctx, args, false)
}

pub(crate) fn fcall_ro(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    call(ctx, args, true)
}

pub(crate) fn load(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let [options @ .., code] = &args[2..] else { return Err("ERR Function code is missing".into()) };
    for option in options {
        if !is(option, "REPLACE") {
            return Err(format!("ERR Unknown option given: {}", shown(option)).into());
        }
    }
    match load_library(ctx.engine, code, !options.is_empty()) {
        Ok(name) => {
            ctx.engine.dirty += 1;
            ctx.out.bulk(&name);
            Ok(())
        }
        Err(error) => write_error(ctx, &error),
    }
}

/// Answers OK after a change, or with the error.
fn changed(ctx: &mut Ctx<'_>, result: Result<(), ScriptError>) -> Outcome {
    match result {
        Ok(()) => {
            ctx.engine.dirty += 1;
            ctx.out.ok();
            Ok(())
        }
        Err(error) => write_error(ctx, &error),
    }
}

pub(crate) fn delete(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let result = ctx.engine.scripts.lua().delete_library(args[2]);
    changed(ctx, result)
}

pub(crate) fn flush(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    match &args[2..] {
        [] => {}
        [word] if is(word, "ASYNC") || is(word, "SYNC") => {}
        [_] => return Err("ERR FUNCTION FLUSH only supports SYNC|ASYNC option".into()),
        _ => return Err(wrong_shape(args[1])),
    }
    ctx.engine.scripts.lua().flush_libraries();
    changed(ctx, Ok(()))
}

fn wrong_shape(sub: &[u8]) -> crate::failure::Failure {
    format!("ERR unknown subcommand or wrong number of arguments for '{}'. Try FUNCTION HELP.", shown(sub))
        .into()
}

pub(crate) fn kill(ctx: &mut Ctx<'_>, _args: &[&[u8]]) -> Outcome {
    script::kill(ctx.engine, true)?;
    ctx.out.ok();
    Ok(())
}

pub(crate) fn dump(ctx: &mut Ctx<'_>, _args: &[&[u8]]) -> Outcome {
    let payload = ctx.engine.scripts.lua().dump_libraries();
    ctx.out.bulk(&payload);
    Ok(())
}

pub(crate) fn restore(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let policy = match &args[3..] {
        [] => Ok(Restore::default()),
        [word] => Restore::parse(word),
        _ => return Err(wrong_shape(args[1])),
    };
    let result = policy.and_then(|policy| restore_libraries(ctx.engine, args[2], policy));
    changed(ctx, result)
}

fn write_library(ctx: &mut Ctx<'_>, library: &Library, with_code: bool) {
    let out = &mut *ctx.out;
    out.map(3 + usize::from(with_code));
    out.bulk(b"library_name");
    out.bulk(&library.name);
    out.bulk(b"engine");
    out.bulk(b"LUA");
    out.bulk(b"functions");
    out.array(library.functions.len());
    for function in &library.functions {
        out.map(3);
        out.bulk(b"name");
        out.bulk(&function.name);
        out.bulk(b"description");
        match &function.description {
            Some(text) => out.bulk(text),
            None => out.null(),
        }
        out.bulk(b"flags");
        out.set(function.flags.names().count());
        function.flags.names().for_each(|name| out.simple(name));
    }
    if with_code {
        out.bulk(b"library_code");
        out.bulk(&library.code);
    }
}

pub(crate) fn list(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let (mut with_code, mut pattern) = (false, None);
    let mut words = args[2..].iter();
    while let Some(word) = words.next() {
        if !with_code && is(word, "WITHCODE") {
            with_code = true;
        } else if pattern.is_none() && is(word, "LIBRARYNAME") {
            pattern = Some(words.next().ok_or("ERR library name argument was not given")?);
        } else {
            return Err(format!("ERR Unknown argument {}", shown(word)).into());
        }
    }
    // Taken out, so that the reply can be written meanwhile.
    let Some(lua) = ctx.engine.scripts.take_idle() else {
        ctx.out.array(0);
        return Ok(());
    };
    let chosen: Vec<&Library> = lua
        .libraries()
        .filter(|library| pattern.is_none_or(|pattern| glob::matches(pattern, &library.name, true)))
        .collect();
    ctx.out.array(chosen.len());
    for library in chosen {
        write_library(ctx, library, with_code);
    }
    ctx.engine.scripts.end(lua);
    Ok(())
}

pub(crate) fn stats(ctx: &mut Ctx<'_>, _args: &[&[u8]]) -> Outcome {
    let figures = ctx.engine.scripts.figures();
    let now = (ctx.engine.stopwatch)();
    let running = ctx.engine.scripts.running.as_ref();
    if running.is_some_and(|running| !running.is_function) {
        return script::busy(ctx.engine);
    }
    let out = &mut *ctx.out;
    out.map(2);
    out.bulk(b"running_script");
    match running.and_then(|running| Some((running, running.slow.as_ref()?))) {
        None => out.null(),
        Some((running, (name, command))) => {
            out.map(3);
            out.bulk(b"name");
            out.bulk(name);
            out.bulk(b"command");
            out.array(command.len());
            command.iter().for_each(|argument| out.bulk(argument));
            out.bulk(b"duration_ms");
            out.integer((now.saturating_sub(running.started) / 1000) as i64);
        }
    }
    out.bulk(b"engines");
    out.map(1);
    out.bulk(b"LUA");
    out.map(2);
    out.bulk(b"libraries_count");
    out.integer(figures.libraries as i64);
    out.bulk(b"functions_count");
    out.integer(figures.functions as i64);
    Ok(())
}
