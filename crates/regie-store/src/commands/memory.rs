//! MEMORY.

use crate::context::{Ctx, integer, is};
use crate::failure::{Outcome, SYNTAX};

pub(crate) fn usage(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    match &args[3..] {
        [] => {}
        [word, count] if is(word, "SAMPLES") && integer(count)? >= 0 => {}
        _ => return Err(SYNTAX),
    }
    match ctx.peek(args[2]) {
        None => ctx.out.null(),
        Some(entry) => {
            let bytes = crate::table::Table::<crate::database::Entry>::node_memory()
                + 8
                + entry.key.memory()
                + entry.value.memory();
            ctx.out.integer(bytes as i64);
        }
    }
    Ok(())
}

pub(crate) fn stats(ctx: &mut Ctx<'_>, _args: &[&[u8]]) -> Outcome {
    let engine = &mut *ctx.engine;
    let keys: usize = engine.databases.iter().map(super::super::database::Database::len).sum();
    let data: usize = engine.databases.iter().map(super::super::database::Database::memory).sum();
    let rows = [
        ("peak.allocated", engine.peak_memory.max(engine.memory())),
        ("total.allocated", engine.memory()),
        ("clients.normal", engine.shell_memory),
        ("keys.count", keys),
        ("keys.bytes-per-key", data / keys.max(1)),
        ("dataset.bytes", data),
    ];
    ctx.out.map(rows.len());
    for (name, value) in rows {
        ctx.out.bulk(name.as_bytes());
        ctx.out.integer(value as i64);
    }
    Ok(())
}

pub(crate) fn purge(ctx: &mut Ctx<'_>, _args: &[&[u8]]) -> Outcome {
    ctx.out.ok();
    Ok(())
}

pub(crate) fn doctor(ctx: &mut Ctx<'_>, _args: &[&[u8]]) -> Outcome {
    ctx.out.verbatim("txt", b"Memory is accounted for key by key here; there is nothing to diagnose.");
    Ok(())
}

pub(crate) fn malloc_stats(ctx: &mut Ctx<'_>, _args: &[&[u8]]) -> Outcome {
    ctx.out.verbatim("txt", b"The allocator is the system's and tells nothing.");
    Ok(())
}
