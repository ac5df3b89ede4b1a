//! COMMAND: the table, told to clients.

use crate::acl::CATEGORIES;
use crate::command::{self, Command, FLAG_NAMES, Flags};
use crate::command_keys::{Begin, Find, KeySpec, Place};
use crate::commands::syntax::{self, Argument};
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
    let (first, last, step) = row.key_range();
    ctx.out.array(10);
    ctx.out.bulk(row.name.as_bytes());
    ctx.out.integer(row.arity.into());
    let mut names = flags(row);
    if row.has_movable_keys() {
        names.push("movablekeys");
    }
    ctx.out.set(names.len());
    names.iter().for_each(|name| ctx.out.simple(name));
    ctx.out.integer(first);
    ctx.out.integer(last);
    ctx.out.integer(step);
    let own = row.all_categories();
    let categories: Vec<&str> = CATEGORIES.into_iter().filter(|name| own.contains(name)).collect();
    ctx.out.set(categories.len());
    categories.iter().for_each(|name| ctx.out.simple(&format!("@{name}")));
    ctx.out.array(row.tips.split_whitespace().count());
    row.tips.split_whitespace().for_each(|tip| ctx.out.bulk(tip.as_bytes()));
    ctx.out.array(row.keys.len());
    row.keys.iter().for_each(|spec| write_spec(ctx, spec));
    let subs: Vec<&'static Command> = subcommands(row.name).collect();
    ctx.out.array(subs.len());
    for sub in subs {
        write_info(ctx, sub);
    }
}

/// A map of numbers under names.
fn write_numbers(ctx: &mut Ctx<'_>, kind: &str, numbers: &[(&str, i32)]) {
    ctx.out.map(2);
    ctx.out.bulk(b"type");
    ctx.out.bulk(kind.as_bytes());
    ctx.out.bulk(b"spec");
    ctx.out.map(numbers.len());
    for (name, number) in numbers {
        ctx.out.bulk(name.as_bytes());
        ctx.out.integer((*number).into());
    }
}

fn write_spec(ctx: &mut Ctx<'_>, spec: &KeySpec) {
    ctx.out.map(3);
    ctx.out.bulk(b"flags");
    ctx.out.set(spec.access.names().count());
    spec.access.names().for_each(|name| ctx.out.simple(name));
    ctx.out.bulk(b"begin_search");
    match spec.begin {
        Begin::Index(index) => write_numbers(ctx, "index", &[("index", index)]),
        Begin::Unknown => write_numbers(ctx, "unknown", &[]),
        Begin::Keyword(word, from) => {
            ctx.out.map(2);
            ctx.out.bulk(b"type");
            ctx.out.bulk(b"keyword");
            ctx.out.bulk(b"spec");
            ctx.out.map(2);
            ctx.out.bulk(b"keyword");
            ctx.out.bulk(word.as_bytes());
            ctx.out.bulk(b"startfrom");
            ctx.out.integer(from.into());
        }
    }
    ctx.out.bulk(b"find_keys");
    match spec.find {
        Find::Range { last, step, limit } => {
            write_numbers(ctx, "range", &[("lastkey", last), ("keystep", step), ("limit", limit)]);
        }
        Find::Counted => write_numbers(ctx, "keynum", &[("keynumidx", 0), ("firstkey", 1), ("keystep", 1)]),
        Find::Unknown => write_numbers(ctx, "unknown", &[]),
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
    let arguments = syntax::arguments(row.name);
    ctx.out.map(3 + usize::from(!arguments.is_empty()) + usize::from(!subs.is_empty()));
    for (name, text) in [("summary", row.help), ("since", row.since), ("group", row.group)] {
        ctx.out.bulk(name.as_bytes());
        ctx.out.bulk(text.as_bytes());
    }
    if !arguments.is_empty() {
        ctx.out.bulk(b"arguments");
        write_arguments(ctx, &arguments);
    }
    if !subs.is_empty() {
        ctx.out.bulk(b"subcommands");
        ctx.out.map(subs.len());
        for sub in subs {
            write_docs(ctx, sub);
        }
    }
}

fn write_arguments(ctx: &mut Ctx<'_>, arguments: &[Argument]) {
    ctx.out.array(arguments.len());
    for one in arguments {
        let flags: Vec<&str> =
            [(one.optional, "optional"), (one.multiple, "multiple"), (one.multiple_token, "multiple_token")]
                .into_iter()
                .filter_map(|(is, name)| is.then_some(name))
                .collect();
        let more = [one.key_spec.is_some(), one.token.is_some(), !flags.is_empty(), !one.inside.is_empty()];
        ctx.out.map(2 + more.into_iter().filter(|there| *there).count());
        for (name, text) in [("name", one.name), ("type", one.kind.name())] {
            ctx.out.bulk(name.as_bytes());
            ctx.out.bulk(text.as_bytes());
        }
        if let Some(index) = one.key_spec {
            ctx.out.bulk(b"key_spec_index");
            ctx.out.integer(index.into());
        }
        if let Some(token) = one.token {
            ctx.out.bulk(b"token");
            ctx.out.bulk(token.as_bytes());
        }
        if !flags.is_empty() {
            ctx.out.bulk(b"flags");
            ctx.out.set(flags.len());
            flags.iter().for_each(|flag| ctx.out.simple(flag));
        }
        if !one.inside.is_empty() {
            ctx.out.bulk(b"arguments");
            write_arguments(ctx, &one.inside);
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

fn key_places(args: &[&[u8]]) -> Outcome<Vec<Place>> {
    let id = resolve(&args[2..]).map_err(|_| "ERR Invalid command specified")?;
    let row = command::row(id);
    if !row.has_keys() {
        return Err("ERR The command has no key arguments".into());
    }
    if !row.accepts(args.len() - 2) {
        return Err("ERR Invalid number of arguments specified for command".into());
    }
    match row.places(&args[2..]) {
        Some(places) if !places.is_empty() => Ok(places),
        _ if row.flags.has(Flags::NO_MANDATORY_KEYS) => Ok(Vec::new()),
        _ => Err("ERR Invalid arguments specified for command".into()),
    }
}

pub(crate) fn getkeys(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let places = key_places(args)?;
    ctx.out.array(places.len());
    places.iter().for_each(|(place, _)| ctx.out.bulk(args[2 + place]));
    Ok(())
}

pub(crate) fn getkeysandflags(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let places = key_places(args)?;
    ctx.out.array(places.len());
    for (place, access) in places {
        ctx.out.array(2);
        ctx.out.bulk(args[2 + place]);
        ctx.out.set(access.names().count());
        access.names().for_each(|name| ctx.out.simple(name));
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
