//! COMMAND: the table, told to clients.

use crate::command::{self, Command, FLAG_NAMES, Flags, Keys};
use crate::commands::table::COMMANDS;
use crate::context::{Ctx, is};
use crate::dispatch::resolve;
use crate::failure::{Outcome, SYNTAX};
use crate::glob;

fn top_level() -> impl Iterator<Item = &'static Command> {
    COMMANDS.iter().filter(|row| row.container().is_none())
}

fn subcommands(container: &str) -> impl Iterator<Item = &'static Command> {
    COMMANDS.iter().filter(move |row| row.container() == Some(container))
}

fn flags(row: &Command) -> Vec<&'static str> {
    FLAG_NAMES.iter().filter(|(flag, _)| row.flags.has(*flag)).map(|(_, name)| *name).collect()
}

fn write_info(ctx: &mut Ctx<'_>, row: &'static Command) {
    let (first, last, step) = row.keys.shown();
    ctx.out.array(10);
    ctx.out.bulk(row.name.as_bytes());
    ctx.out.integer(row.arity.into());
    let mut names = flags(row);
    if matches!(row.keys, Keys::Counted(_) | Keys::Streams | Keys::StoreCounted | Keys::Sort)
        && !names.contains(&"movablekeys")
    {
        names.push("movablekeys");
    }
    ctx.out.set(names.len());
    names.iter().for_each(|name| ctx.out.simple(name));
    ctx.out.integer(first);
    ctx.out.integer(last);
    ctx.out.integer(step);
    let categories = row.all_categories();
    ctx.out.set(categories.len());
    categories.iter().for_each(|name| ctx.out.simple(&format!("@{name}")));
    ctx.out.array(0);
    ctx.out.array(0);
    let subs: Vec<&'static Command> = subcommands(row.name).collect();
    ctx.out.array(subs.len());
    for sub in subs {
        write_info(ctx, sub);
    }
}

pub(crate) fn all(ctx: &mut Ctx<'_>, _args: &[&[u8]]) -> Outcome {
    let rows: Vec<_> = top_level().collect();
    ctx.out.array(rows.len());
    for row in rows {
        write_info(ctx, row);
    }
    Ok(())
}

pub(crate) fn count(ctx: &mut Ctx<'_>, _args: &[&[u8]]) -> Outcome {
    ctx.out.integer(top_level().count() as i64);
    Ok(())
}

pub(crate) fn info(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    if args.len() == 2 {
        return all(ctx, args);
    }
    ctx.out.array(args.len() - 2);
    for name in &args[2..] {
        match command::find_full(name) {
            Some(id) => write_info(ctx, command::row(id)),
            None => ctx.out.null_array(),
        }
    }
    Ok(())
}

fn write_docs(ctx: &mut Ctx<'_>, row: &'static Command) {
    let subs: Vec<&'static Command> = subcommands(row.name).collect();
    ctx.out.bulk(row.name.as_bytes());
    ctx.out.map(3 + usize::from(!subs.is_empty()));
    for (name, text) in [("summary", row.help), ("since", row.since), ("group", row.group)] {
        ctx.out.bulk(name.as_bytes());
        ctx.out.bulk(text.as_bytes());
    }
    if !subs.is_empty() {
        ctx.out.bulk(b"subcommands");
        ctx.out.map(subs.len());
        for sub in subs {
            write_docs(ctx, sub);
        }
    }
}

pub(crate) fn docs(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let rows: Vec<&'static Command> = if args.len() == 2 {
        top_level().collect()
    } else {
        args[2..].iter().filter_map(|name| command::find_full(name)).map(command::row).collect()
    };
    ctx.out.map(rows.len());
    for row in rows {
        write_docs(ctx, row);
    }
    Ok(())
}

pub(crate) fn list(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let accept: Box<dyn Fn(&Command) -> bool + '_> = match &args[2..] {
        [] => Box::new(|_| true),
        [by, kind, value] if is(by, "FILTERBY") => match () {
            () if is(kind, "PATTERN") => Box::new(|row| glob::matches(value, row.name.as_bytes(), true)),
            () if is(kind, "ACLCAT") => {
                Box::new(|row| row.all_categories().iter().any(|name| is(value, name)))
            }
            () if is(kind, "MODULE") => Box::new(|_| false),
            () => return Err(SYNTAX),
        },
        _ => return Err(SYNTAX),
    };
    let names: Vec<&str> = COMMANDS.iter().filter(|row| accept(row)).map(|row| row.name).collect();
    ctx.out.array(names.len());
    names.iter().for_each(|name| ctx.out.bulk(name.as_bytes()));
    Ok(())
}

fn key_places(args: &[&[u8]]) -> Outcome<(&'static Command, Vec<usize>)> {
    let id = resolve(&args[2..]).map_err(|_| "ERR Invalid command specified")?;
    let row = command::row(id);
    if row.keys == Keys::None {
        return Err("ERR The command has no key arguments".into());
    }
    if !row.accepts(args.len() - 2) {
        return Err("ERR Invalid number of arguments specified for command".into());
    }
    let places = row.keys.find(&args[2..]).ok_or("ERR Invalid arguments specified for command")?;
    Ok((row, places))
}

pub(crate) fn getkeys(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let (_, places) = key_places(args)?;
    ctx.out.array(places.len());
    places.iter().for_each(|place| ctx.out.bulk(args[2 + place]));
    Ok(())
}

pub(crate) fn getkeysandflags(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let (row, places) = key_places(args)?;
    ctx.out.array(places.len());
    for place in places {
        ctx.out.array(2);
        ctx.out.bulk(args[2 + place]);
        let flags: &[&str] =
            if row.flags.has(Flags::WRITE) { &["RW", "access", "update"] } else { &["RO", "access"] };
        ctx.out.set(flags.len());
        flags.iter().for_each(|flag| ctx.out.simple(flag));
    }
    Ok(())
}

/// `CONTAINER HELP`: its subcommands, from the table.
pub(crate) fn help(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let container = String::from_utf8_lossy(args[0]).to_ascii_lowercase();
    let mut lines =
        vec![format!("{} <subcommand> [<arg> ...]. Subcommands are:", container.to_ascii_uppercase())];
    for row in subcommands(&container) {
        let name = row.name.rsplit('|').next().unwrap_or_default().to_ascii_uppercase();
        lines.push(name);
        lines.push(format!("    {}", row.help));
    }
    ctx.out.array(lines.len());
    lines.iter().for_each(|line| ctx.out.simple(line));
    Ok(())
}
