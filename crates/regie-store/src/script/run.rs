//! Running a script or function, and loading libraries.

use super::busy::Running;
use super::host::{Caller, Loader};
use crate::command::{Command, Flags};
use crate::context::Ctx;
use crate::engine::Engine;
use crate::failure::Outcome;
use regie_script::{Restore, ScriptError, ScriptFlags, ScriptId, Situation};

/// What is run.
#[derive(Debug, Clone, Copy)]
pub(crate) enum What<'a> {
    /// A compiled script.
    Script(ScriptId),
    /// A library's function of this name.
    Function(&'a [u8]),
}

/// Writes the error of a script as the reply.
pub(crate) fn write_error(ctx: &mut Ctx<'_>, error: &ScriptError) -> Outcome {
    if error.counted {
        ctx.engine.stats.count_error(&String::from_utf8_lossy(&error.line));
    }
    ctx.out.error(&error.line);
    Ok(())
}

/// Runs a script and writes what it returns. `command` is the whole command, `keys` how many of what follows its third
/// word are keys.
pub(crate) fn run(
    ctx: &mut Ctx<'_>,
    what: What<'_>,
    command: &[&[u8]],
    keys: usize,
    read_only: bool,
) -> Outcome {
    let lua = ctx.engine.scripts.lua();
    let found = match what {
        What::Script(id) => lua
            .script(id)
            .map(|script| (script.flags, script.sha.hex().to_vec()))
            .ok_or_else(ScriptError::no_script),
        What::Function(name) => lua.function(name).map(|function| (function.flags, function.name.clone())),
    };
    let (flags, name) = match found {
        Ok(found) => found,
        Err(error) => return write_error(ctx, &error),
    };
    if let Err(error) = admit(ctx.engine, flags, read_only) {
        return write_error(ctx, &error);
    }
    let started = (ctx.engine.stopwatch)();
    let mut lua = ctx.engine.scripts.begin(Running::new(matches!(what, What::Function(_)), started));
    let mut host = Caller {
        engine: &mut *ctx.engine,
        client: ctx.client,
        outside: &mut *ctx.outside,
        command,
        name: &name,
        read_only: flags.only_reads(read_only),
        allow_oom: !flags.compatible && flags.allow_oom,
    };
    let (keys, args) = command[3..].split_at(keys);
    let result = match what {
        What::Script(id) => lua.run(id, keys, args, &mut host, ctx.out),
        What::Function(name) => lua.run_function(name, keys, args, &mut host, ctx.out),
    };
    ctx.engine.scripts.end(lua);
    // A script may look at another database, but leaves its client where it was.
    let db = ctx.db;
    ctx.session().db = db;
    match result {
        Ok(()) => Ok(()),
        Err(error) => write_error(ctx, &error),
    }
}

/// Checks what a script says of itself against how the server stands.
fn admit(engine: &Engine, flags: ScriptFlags, read_only: bool) -> Result<(), ScriptError> {
    if flags.compatible {
        return Ok(());
    }
    let fault = engine.disk_fault.as_deref();
    flags.admit(&Situation {
        read_only_command: read_only,
        append_only_file_error: fault
            .map(|fault| fault.strip_prefix("MISCONF Errors writing to the AOF file: ").unwrap_or(fault)),
        too_few_replicas: engine.check_replicas().is_err(),
        out_of_memory: engine.scripts.out_of_memory,
        ..Situation::default()
    })
}

/// The flags of a command; of one that runs a script, what the script says of itself.
pub(crate) fn effective_flags(engine: &mut Engine, row: &Command, arguments: &[&[u8]]) -> Flags {
    let Some(script) = script_flags(engine, row, arguments).filter(|flags| !flags.compatible) else {
        return row.flags;
    };
    let mut flags = row.flags.without(Flags::STALE | Flags::DENYOOM | Flags::WRITE | Flags::MAY_REPLICATE);
    for (holds, flag) in [
        (!script.allow_oom && !script.no_writes, Flags::DENYOOM),
        (!script.no_writes, Flags::WRITE),
        (script.allow_stale, Flags::STALE),
    ] {
        if holds {
            flags = flags | flag;
        }
    }
    flags
}

fn script_flags(engine: &mut Engine, row: &Command, arguments: &[&[u8]]) -> Option<ScriptFlags> {
    let what = *arguments.get(1)?;
    match row.name {
        "eval" | "eval_ro" if what.starts_with(b"#!") => ScriptFlags::parse(what).ok(),
        "evalsha" | "evalsha_ro" => {
            let lua = engine.scripts.idle_lua()?;
            let id = lua.find(what)?;
            lua.script(id).map(|script| script.flags)
        }
        "fcall" | "fcall_ro" => engine.scripts.idle_lua()?.function(what).ok().map(|function| function.flags),
        _ => None,
    }
}

/// FUNCTION LOAD; gives the library's name.
pub(crate) fn load_library(engine: &mut Engine, code: &[u8], replace: bool) -> Result<Vec<u8>, ScriptError> {
    with_loader(engine, |lua, host| lua.load_library(code, replace, host))
}

/// FUNCTION RESTORE.
pub(crate) fn restore_libraries(
    engine: &mut Engine,
    payload: &[u8],
    policy: Restore,
) -> Result<(), ScriptError> {
    with_loader(engine, |lua, host| lua.restore_libraries(payload, policy, host))
}

fn with_loader<T>(
    engine: &mut Engine,
    load: impl FnOnce(&mut regie_script::Engine, &mut Loader<'_>) -> T,
) -> T {
    let started = (engine.stopwatch)();
    let mut lua = engine.scripts.begin(Running::new(true, started));
    let result = load(&mut lua, &mut Loader { engine, started });
    engine.scripts.end(lua);
    result
}
