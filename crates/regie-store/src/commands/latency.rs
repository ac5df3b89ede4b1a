//! SLOWLOG and LATENCY: what took long.

use crate::context::{Ctx, integer, is};
use crate::failure::{Outcome, shown};

pub(crate) fn slowlog_get(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let count = match args.get(2) {
        None => 10,
        Some(text) => {
            let count = integer(text).ok().filter(|count| *count >= -1);
            count.ok_or("ERR count should be greater than or equal to -1")?
        }
    };
    let entries = &ctx.engine.slowlog.entries;
    let count = if count < 0 { entries.len() } else { (count as usize).min(entries.len()) };
    ctx.out.array(count);
    for entry in entries.iter().take(count) {
        ctx.out.array(6);
        ctx.out.integer(entry.id as i64);
        ctx.out.integer(entry.at);
        ctx.out.integer(entry.us as i64);
        ctx.out.array(entry.arguments.len());
        entry.arguments.iter().for_each(|argument| ctx.out.bulk(argument));
        ctx.out.bulk(entry.address.as_bytes());
        ctx.out.bulk(&entry.client_name);
    }
    Ok(())
}

pub(crate) fn slowlog_len(ctx: &mut Ctx<'_>, _args: &[&[u8]]) -> Outcome {
    let length = ctx.engine.slowlog.entries.len();
    ctx.out.integer(length as i64);
    Ok(())
}

pub(crate) fn slowlog_reset(ctx: &mut Ctx<'_>, _args: &[&[u8]]) -> Outcome {
    ctx.engine.slowlog.entries.clear();
    ctx.out.ok();
    Ok(())
}

pub(crate) fn latency_latest(ctx: &mut Ctx<'_>, _args: &[&[u8]]) -> Outcome {
    let latency = &ctx.engine.latency;
    ctx.out.array(latency.events.len());
    for (name, samples) in &latency.events {
        let (at, ms) = samples.back().copied().unwrap_or_default();
        ctx.out.array(4);
        ctx.out.bulk(name.as_bytes());
        ctx.out.integer(at);
        ctx.out.integer(ms as i64);
        ctx.out.integer(latency.worst.get(name).copied().unwrap_or(ms) as i64);
    }
    Ok(())
}

pub(crate) fn latency_history(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let samples = ctx.engine.latency.events.get(&*String::from_utf8_lossy(args[2]));
    ctx.out.array(samples.map_or(0, std::collections::VecDeque::len));
    for (at, ms) in samples.into_iter().flatten() {
        ctx.out.array(2);
        ctx.out.integer(*at);
        ctx.out.integer(*ms as i64);
    }
    Ok(())
}

pub(crate) fn latency_reset(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let latency = &mut ctx.engine.latency;
    let before = latency.events.len();
    latency.events.retain(|name, _| args.len() > 2 && !args[2..].iter().any(|word| is(word, name)));
    let events = &latency.events;
    latency.worst.retain(|name, _| events.contains_key(name));
    ctx.out.integer((before - ctx.engine.latency.events.len()) as i64);
    Ok(())
}

pub(crate) fn latency_histogram(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let (mark, mut count) = (ctx.out.mark(), 0);
    for (id, stats) in ctx.engine.stats.by_command.iter().enumerate() {
        let row = crate::command::row(id);
        let named = args.len() == 2
            || args[2..]
                .iter()
                .any(|word| is(word, row.name) || row.container().is_some_and(|c| is(word, c)));
        if !named || stats.calls == 0 {
            continue;
        }
        count += 1;
        ctx.out.bulk(row.name.as_bytes());
        ctx.out.map(2);
        ctx.out.bulk(b"calls");
        ctx.out.integer(stats.calls as i64);
        ctx.out.bulk(b"histogram_usec");
        let mut sum = 0;
        let mut steps = Vec::new();
        for (bucket, count) in stats.histogram.iter().enumerate() {
            sum += count;
            if *count > 0 {
                steps.push((1i64 << bucket, sum));
            }
        }
        ctx.out.map(steps.len());
        for (limit, sum) in steps {
            ctx.out.integer(limit);
            ctx.out.integer(sum as i64);
        }
    }
    ctx.out.map_at(mark, count);
    Ok(())
}

/// Lines of LATENCY GRAPH.
const GRAPH_ROWS: u64 = 4;

pub(crate) fn latency_graph(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let name = String::from_utf8_lossy(args[2]).into_owned();
    let Some(samples) = ctx.engine.latency.events.get(&name) else {
        return Err(format!("ERR No samples available for event '{}'", shown(args[2])).into());
    };
    let now = ctx.engine.now / 1000;
    let low = samples.iter().map(|(_, ms)| *ms).min().unwrap_or(0);
    let high = samples.iter().map(|(_, ms)| *ms).max().unwrap_or(0);
    let worst = ctx.engine.latency.worst.get(&name).copied().unwrap_or(high);
    let mut text = format!("{name} - high {high} ms, low {low} ms (all time high {worst} ms)\n");
    text.push_str(&"-".repeat(80));
    text.push('\n');
    let height = |ms: u64| (ms - low) * (GRAPH_ROWS - 1) / (high - low).max(1);
    for row in (0..GRAPH_ROWS).rev() {
        for (_, ms) in samples {
            text.push(match height(*ms) {
                top if top == row => '#',
                top if top > row => '|',
                _ if row == 0 => '_',
                _ => ' ',
            });
        }
        text.push('\n');
    }
    text.push('\n');
    // The age of each sample, written downwards.
    let ages: Vec<String> = samples.iter().map(|(at, _)| age(now - at)).collect();
    for line in 0..ages.iter().map(String::len).max().unwrap_or(0) {
        for age in &ages {
            text.push(age.as_bytes().get(line).map_or(' ', |byte| char::from(*byte)));
        }
        text.push('\n');
    }
    ctx.out.verbatim("txt", text.as_bytes());
    Ok(())
}

fn age(seconds: i64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86400 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86400),
    }
}

/// What each event means and what helps.
const ADVICE: [(&str, &str); 4] = [
    (
        "command",
        "slow commands: SLOWLOG GET names them; prefer SCAN to KEYS, and small ranges to whole collections",
    ),
    ("fast-command", "commands that should be quick were not: the machine is busy, or values are very big"),
    ("expire-cycle", "many keys end at once: spread their deadlines"),
    ("eviction-cycle", "memory is full: raise maxmemory, or keep less"),
];

pub(crate) fn latency_doctor(ctx: &mut Ctx<'_>, _args: &[&[u8]]) -> Outcome {
    let threshold = ctx.engine.config.latency_threshold;
    let latency = &ctx.engine.latency;
    let mut text = String::new();
    if threshold == 0 {
        text.push_str(
            "Latency monitoring is off. CONFIG SET latency-monitor-threshold <milliseconds> turns it on.\n",
        );
    } else if latency.events.is_empty() {
        text.push_str("Nothing has taken longer than the threshold.\n");
    }
    for (name, samples) in &latency.events {
        let sum: u64 = samples.iter().map(|(_, ms)| ms).sum();
        let average = sum / (samples.len() as u64).max(1);
        let worst = latency.worst.get(name).copied().unwrap_or(0);
        text.push_str(&format!(
            "{name}: {} times, {average} ms on average, {worst} ms at worst",
            samples.len()
        ));
        if let Some((_, advice)) = ADVICE.iter().find(|(event, _)| event == name) {
            text.push_str(&format!(" - {advice}"));
        }
        text.push('\n');
    }
    ctx.out.verbatim("txt", text.as_bytes());
    Ok(())
}
