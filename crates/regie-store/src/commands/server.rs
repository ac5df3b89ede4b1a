//! The server about itself: CONFIG, the time, modules, and work on the disk.

use crate::command::Command;
use crate::config::{self, Change, Config, Kind, SETTINGS};
use crate::context::{Ctx, is};
use crate::effects::DiskRequest;
use crate::failure::{Failure, Outcome, SYNTAX, shown};
use std::fmt::Write;

/// The Redis whose behaviour this is: clients choose commands by it.
pub(crate) const REDIS_VERSION: &str = "7.0.15";

/// Settings that Redis can change while it runs and this server cannot: setting them to what they are is no fault.
const MOVABLE: [&str; 5] = ["port", "bind", "dir", "dbfilename", "tcp-backlog"];

fn is_same(ctx: &Ctx<'_>, index: usize, text: &[u8]) -> bool {
    ctx.engine.config.value(index).as_bytes() == text
}

/// Settings that hold a password.
const SECRET_SETTINGS: [&str; 3] = ["requirepass", "masterauth", "masteruser"];

/// `arguments` without what must not be shown: passwords.
pub(crate) fn hide_secrets<'a>(row: &Command, arguments: &[&'a [u8]]) -> Vec<&'a [u8]> {
    let shown = match row.name {
        "auth" => 1,
        "hello" | "acl|setuser" | "config|set" => 2,
        "migrate" => 6,
        _ => return arguments.to_vec(),
    };
    let hides = |index: usize| match row.name {
        "config|set" => {
            arguments.get(index - 1).is_some_and(|name| SECRET_SETTINGS.iter().any(|s| is(name, s)))
        }
        "migrate" => {
            let before = |back: usize, word: &str| index > back + 5 && is(arguments[index - back], word);
            before(1, "AUTH") || before(1, "AUTH2") || before(2, "AUTH2")
        }
        "hello" => arguments[..index].iter().any(|word| is(word, "AUTH")),
        _ => true,
    };
    let pick = |(index, argument): (usize, &&'a [u8])| {
        if index >= shown && hides(index) { &b"(redacted)"[..] } else { *argument }
    };
    arguments.iter().enumerate().map(pick).collect()
}

/// Appends `text` in quotes with escapes, as MONITOR shows it.
pub(crate) fn quote(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    for &byte in text {
        match byte {
            b'\\' | b'"' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            7 => out.extend_from_slice(b"\\a"),
            8 => out.extend_from_slice(b"\\b"),
            b' '..=b'~' => out.push(byte),
            _ => out.extend_from_slice(format!("\\x{byte:02x}").as_bytes()),
        }
    }
    out.push(b'"');
}

pub(crate) fn time(ctx: &mut Ctx<'_>, _args: &[&[u8]]) -> Outcome {
    let now = ctx.engine.now_us;
    ctx.out.array(2);
    ctx.out.bulk((now / 1_000_000).to_string().as_bytes());
    ctx.out.bulk((now % 1_000_000).to_string().as_bytes());
    Ok(())
}

pub(crate) fn config_get(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let found = ctx.engine.config.matching(&args[2..]);
    ctx.out.map(found.len());
    for (name, value) in found {
        ctx.out.bulk(name.as_bytes());
        ctx.out.bulk(value.as_bytes());
    }
    Ok(())
}

pub(crate) fn config_set(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    if !args.len().is_multiple_of(2) {
        return Err(crate::failure::wrong_arity("config|set"));
    }
    let mut changes: Vec<(Option<usize>, usize, String)> = Vec::new();
    for pair in args[2..].chunks(2) {
        let name = shown(pair[0]);
        let refused = |why: &str| -> Failure {
            format!("ERR CONFIG SET failed (possibly related to argument '{name}') - {why}").into()
        };
        let own = config::find_own(&name).filter(|(db, _)| *db < ctx.engine.databases.len());
        let index = own.map(|(_, index)| index).or_else(|| config::find(&name)).ok_or_else(|| {
            Failure::from(format!("ERR Unknown option or number of arguments for CONFIG SET - '{name}'"))
        })?;
        let db = own.map(|(db, _)| db);
        let row = &SETTINGS[index];
        if row.change == Change::AtStart && !(MOVABLE.contains(&row.name) && is_same(ctx, index, pair[1])) {
            return Err(refused("can't set immutable config"));
        }
        if changes.iter().any(|(other_db, other, _)| (*other_db, *other) == (db, index)) {
            return Err(refused("duplicate parameter"));
        }
        let text = String::from_utf8_lossy(pair[1]).into_owned();
        let text = match row.kind {
            Kind::OutputLimits => config::merge_output_limits(ctx.engine.config.value(index), &text)
                .ok_or_else(|| refused("Invalid client-output-buffer-limit parameters"))?,
            _ => Config::check(index, &text).map_err(|why| refused(&why))?,
        };
        changes.push((db, index, text));
    }
    for (db, index, text) in changes {
        if let Some(db) = db {
            ctx.engine.config.set_own(db, index, text);
            ctx.engine.databases[db].sweep_again();
            continue;
        }
        let before = ctx.engine.config.value(index).to_owned();
        ctx.engine.config.set(index, text);
        ctx.engine.setting_has_changed(index, &before);
    }
    ctx.engine.make_room_everywhere();
    ctx.out.ok();
    Ok(())
}

/// CONFIG REWRITE: there is no file in which the whole configuration stands, so what CONFIG SET has changed is kept in one
/// of its own, `settings.conf` in the store's folder, and set again at the next start.
pub(crate) fn config_rewrite(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let client = ctx.client;
    ask_shell(ctx, DiskRequest::KeepSettings(client), args)
}

/// Has the shell do something that the client waits for.
fn ask_shell(ctx: &mut Ctx<'_>, request: DiskRequest, args: &[&[u8]]) -> Outcome {
    if !ctx.block(crate::session::Waiting::Shell, &[], None, args) {
        return Err("ERR Command not allowed inside a transaction".into());
    }
    ask_disk(ctx, request);
    Ok(())
}

pub(crate) fn config_resetstat(ctx: &mut Ctx<'_>, _args: &[&[u8]]) -> Outcome {
    ctx.engine.stats.reset();
    ctx.out.ok();
    Ok(())
}

pub(crate) fn lastsave(ctx: &mut Ctx<'_>, _args: &[&[u8]]) -> Outcome {
    let at = ctx.engine.disk.saved_at;
    ctx.out.integer(at);
    Ok(())
}

pub(crate) fn lolwut(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    if let [_, word, _, ..] = args
        && !is(word, "VERSION")
    {
        return Err(SYNTAX);
    }
    // Georg Nees's Schotter in letters: order falls into disorder from top to bottom.
    let mut text = String::new();
    for row in 0..8usize {
        for _ in 0..24 {
            let calm = ctx.engine.random.below(8) >= row;
            let wild = ['/', '\\', '_', '.', '-', '|'][ctx.engine.random.below(6)];
            text.push(if calm { '#' } else { wild });
            text.push(' ');
        }
        text.push('\n');
    }
    let _ = write!(text, "\nRegie {}. Redis ver. {REDIS_VERSION}\n", env!("CARGO_PKG_VERSION"));
    ctx.out.verbatim("txt", text.as_bytes());
    Ok(())
}

pub(crate) fn module_list(ctx: &mut Ctx<'_>, _args: &[&[u8]]) -> Outcome {
    ctx.out.array(0);
    Ok(())
}

pub(crate) fn module_refused(_ctx: &mut Ctx<'_>, _args: &[&[u8]]) -> Outcome {
    Err("ERR modules are not supported by this server".into())
}

fn ask_disk(ctx: &mut Ctx<'_>, request: DiskRequest) {
    ctx.engine.effects.disk.push(request);
}

pub(crate) fn save(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    if ctx.engine.disk.is_writing {
        return Err("ERR Background save already in progress".into());
    }
    let client = ctx.client;
    ask_shell(ctx, DiskRequest::SnapshotNow(client), args)
}

pub(crate) fn bgsave(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    match &args[1..] {
        [] => {}
        [word] if is(word, "SCHEDULE") => {}
        _ => return Err(SYNTAX),
    }
    if ctx.engine.disk.is_writing {
        return Err("ERR Background save already in progress".into());
    }
    ask_disk(ctx, DiskRequest::Snapshot);
    ctx.out.simple("Background saving started");
    Ok(())
}

/// BACKUP NAME: a copy of everything, as it is now, in the folder `backups/NAME` of the store's own. A store can be
/// started from it.
pub(crate) fn backup(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let name = shown(args[1]);
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || name.len() > 100 || name.starts_with('.') || !name.chars().all(plain) {
        return Err("ERR a backup's name consists of letters, digits, '-', '_' and '.'".into());
    }
    if ctx.engine.disk.is_writing || ctx.engine.is_walking() {
        return Err("ERR a snapshot is being written, try again later".into());
    }
    ask_disk(ctx, DiskRequest::Backup(name.to_string()));
    ctx.out.simple("Background backup started");
    Ok(())
}

pub(crate) fn bgrewriteaof(ctx: &mut Ctx<'_>, _args: &[&[u8]]) -> Outcome {
    if ctx.engine.disk.is_writing {
        return Err("ERR Background append only file rewriting already in progress".into());
    }
    ask_disk(ctx, DiskRequest::Rewrite);
    ctx.out.simple("Background append only file rewriting started");
    Ok(())
}

pub(crate) fn shutdown(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let (mut save, mut skip) = (!ctx.engine.config.get("save").is_empty(), false);
    for word in &args[1..] {
        match () {
            () if is(word, "SAVE") => save = true,
            () if is(word, "NOSAVE") => skip = true,
            () if is(word, "NOW") || is(word, "FORCE") => {}
            () if is(word, "ABORT") && args.len() == 2 => return Err("ERR No shutdown in progress.".into()),
            () => return Err(SYNTAX),
        }
    }
    if !skip {
        crate::script::busy(ctx.engine)?;
    }
    ask_disk(ctx, DiskRequest::Shutdown { save: save && !skip });
    ctx.session().is_closing = true;
    Ok(())
}
