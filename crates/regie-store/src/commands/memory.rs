//! MEMORY.

use crate::context::{Ctx, integer, is};
use crate::database::Database;
use crate::engine::Engine;
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

/// A figure of MEMORY STATS.
enum Figure {
    Bytes(usize),
    Ratio(f64),
    /// One database: what its table and its deadlines cost.
    Overhead(usize, usize),
}

pub(crate) fn stats(ctx: &mut Ctx<'_>, _args: &[&[u8]]) -> Outcome {
    let rows = figures(ctx.engine);
    ctx.out.map(rows.len());
    for (name, figure) in rows {
        ctx.out.bulk(name.as_bytes());
        match figure {
            Figure::Bytes(bytes) => ctx.out.integer(bytes as i64),
            Figure::Ratio(ratio) => ctx.out.double(ratio),
            Figure::Overhead(table, deadlines) => {
                ctx.out.map(3);
                for (name, bytes) in [("main", table), ("expires", deadlines), ("slot-to-keys", 0)] {
                    ctx.out.bulk(format!("overhead.hashtable.{name}").as_bytes());
                    ctx.out.integer(bytes as i64);
                }
            }
        }
    }
    Ok(())
}

/// What Redis tells, as far as there is such a thing here. What the allocator has taken is known as a whole only, from
/// the system (`resident`): it stands for active, resident and allocated memory where Redis tells these apart.
fn figures(engine: &Engine) -> Vec<(String, Figure)> {
    use Figure::{Bytes, Overhead, Ratio};
    let used = engine.memory();
    let peak = engine.peak_memory.max(used);
    let resident = (engine.process.resident as usize).max(used);
    let keys: usize = engine.databases.iter().map(Database::len).sum();
    let scripts = engine.scripts.figures();
    let overheads: Vec<(usize, usize, usize)> = (engine.databases.iter().enumerate())
        .filter(|(_, database)| database.len() > 0)
        .map(|(db, database)| (db, database.table.memory(), database.deadlines_memory()))
        .collect();
    let tables: usize = overheads.iter().map(|(_, table, deadlines)| table + deadlines).sum();
    let overhead = engine.shell_memory + engine.scripts.memory() + tables;
    let dataset = used.saturating_sub(overhead);
    let share = |part: usize, of: usize| part as f64 * 100.0 / of.max(1) as f64;
    let (ratio, lost) = (resident as f64 / used.max(1) as f64, resident - used);
    let mut rows: Vec<(String, Figure)> = Vec::new();
    let mut put = |name: &str, figure| rows.push((name.to_owned(), figure));
    put("peak.allocated", Bytes(peak));
    put("total.allocated", Bytes(used));
    put("startup.allocated", Bytes(0));
    put("replication.backlog", Bytes(0));
    put("clients.slaves", Bytes(0));
    put("clients.normal", Bytes(engine.shell_memory));
    put("cluster.links", Bytes(0));
    put("aof.buffer", Bytes(0));
    put("lua.caches", Bytes(scripts.eval_memory));
    put("functions.caches", Bytes(scripts.functions_memory));
    for (db, table, deadlines) in overheads {
        put(&format!("db.{db}"), Overhead(table, deadlines));
    }
    put("overhead.total", Bytes(overhead));
    put("keys.count", Bytes(keys));
    put("keys.bytes-per-key", Bytes(used / keys.max(1)));
    put("dataset.bytes", Bytes(dataset));
    put("dataset.percentage", Ratio(share(dataset, used)));
    put("peak.percentage", Ratio(share(used, peak)));
    put("allocator.allocated", Bytes(used));
    put("allocator.active", Bytes(resident));
    put("allocator.resident", Bytes(resident));
    put("allocator-fragmentation.ratio", Ratio(ratio));
    put("allocator-fragmentation.bytes", Bytes(lost));
    put("allocator-rss.ratio", Ratio(1.0));
    put("allocator-rss.bytes", Bytes(0));
    put("rss-overhead.ratio", Ratio(1.0));
    put("rss-overhead.bytes", Bytes(0));
    put("fragmentation", Ratio(ratio));
    put("fragmentation.bytes", Bytes(lost));
    rows
}

/// The system's allocator gives big pieces back by itself, and knows no order to do more.
pub(crate) fn purge(ctx: &mut Ctx<'_>, _args: &[&[u8]]) -> Outcome {
    ctx.out.ok();
    Ok(())
}

/// Below this an instance is too small to be judged.
const TOO_SMALL: usize = 5 << 20;
/// Bytes lost to fragmentation that are worth a word.
const MUCH: usize = 10 << 20;
/// Bytes of a client's buffers, on average, that are worth a word.
const BIG_CLIENT: usize = 200 << 10;

pub(crate) fn doctor(ctx: &mut Ctx<'_>, _args: &[&[u8]]) -> Outcome {
    let advice = diagnose(ctx.engine);
    ctx.out.verbatim("txt", advice.as_bytes());
    Ok(())
}

/// Redis's questions, with its thresholds.
fn diagnose(engine: &Engine) -> String {
    let used = engine.memory();
    if used < TOO_SMALL {
        return "There is too little data to say anything about its memory.".into();
    }
    let mut found = String::new();
    let resident = (engine.process.resident as usize).max(used);
    if engine.peak_memory > used + used / 2 {
        found.push_str(
            "- The peak was more than half above what is used now. The system may not have got that memory back, so the \
             process looks bigger than its data. No harm is done, and a restart gives it back.\n",
        );
    }
    if resident > used + used * 2 / 5 && resident - used > MUCH {
        found.push_str(
            "- The process holds far more memory than its data (mem_fragmentation_ratio in INFO): many values of \
             changing sizes, or many that were deleted. A restart packs them anew.\n",
        );
    }
    if engine.shell_memory / engine.clients().max(1) > BIG_CLIENT {
        found.push_str(
            "- Clients' buffers hold more than 200 KB each: some send or ask for very much at once, or do not read \
             (CLIENT LIST). client-output-buffer-limit and maxmemory-clients bound them.\n",
        );
    }
    if engine.scripts.figures().scripts > 1000 {
        found.push_str(
            "- More than 1,000 scripts are kept. Scripts with values in their text never end: give values as ARGV.\n",
        );
    }
    if engine.shortage.is_refusing {
        found.push_str(
            "- maxmemory is reached and nothing may be evicted, so writes are refused. Raise it, or look at \
             maxmemory-policy and protected-keys.\n",
        );
    }
    if found.is_empty() { "No fault was found with the memory.".into() } else { found }
}

pub(crate) fn malloc_stats(ctx: &mut Ctx<'_>, _args: &[&[u8]]) -> Outcome {
    ctx.out.verbatim("txt", b"The allocator is the system's and tells nothing.");
    Ok(())
}
