//! The server about itself: INFO, CONFIG, SLOWLOG, LATENCY, MEMORY, DEBUG, and work on the disk.

use crate::command::Command;
use crate::config::{self, Change, Config, Kind, SETTINGS};
use crate::context::{Ctx, integer, is};
use crate::effects::DiskRequest;
use crate::engine::Engine;
use crate::failure::{Failure, NO_KEY, Outcome, SYNTAX, shown};
use std::fmt::Write;

/// The Redis whose behaviour this is: clients choose commands by it.
pub(crate) const REDIS_VERSION: &str = "7.0.15";

/// `arguments` without what must not be shown: passwords.
pub(crate) fn hide_secrets<'a>(row: &Command, arguments: &[&'a [u8]]) -> Vec<&'a [u8]> {
    let shown = match row.name {
        "auth" => 1,
        "hello" | "acl|setuser" | "config|set" => 2,
        _ => return arguments.to_vec(),
    };
    let hides = |index: usize| match row.name {
        "config|set" => arguments.get(index - 1).is_some_and(|name| is(name, "requirepass")),
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

/// A number of bytes with a unit, as INFO shows it.
fn human(bytes: usize) -> String {
    let value = bytes as f64;
    match bytes {
        0..=1023 => format!("{bytes}B"),
        1024..=1_048_575 => format!("{:.2}K", value / 1024.0),
        1_048_576..=1_073_741_823 => format!("{:.2}M", value / 1_048_576.0),
        _ => format!("{:.2}G", value / 1_073_741_824.0),
    }
}

fn section(engine: &Engine, name: &str) -> String {
    let mut text = String::new();
    let mut put = |key: &str, value: &dyn std::fmt::Display| {
        let _ = write!(text, "{key}:{value}\r\n");
    };
    match name {
        "server" => {
            let up = (engine.now - engine.started_at).max(0) / 1000;
            put("redis_version", &REDIS_VERSION);
            put("regie_version", &env!("CARGO_PKG_VERSION"));
            put("redis_mode", &"standalone");
            put("os", &std::env::consts::OS);
            put("arch_bits", &usize::BITS);
            put("multiplexing_api", &"epoll");
            put("process_id", &std::process::id());
            put("run_id", &engine.run_id);
            put("tcp_port", &engine.config.get("port"));
            put("server_time_usec", &engine.now_us);
            put("uptime_in_seconds", &up);
            put("uptime_in_days", &(up / 86400));
            put("hz", &engine.config.get("hz"));
            put("configured_hz", &engine.config.get("hz"));
            put("lru_clock", &(engine.access_clock() & 0xff_ffff));
            put("executable", &"");
            put("config_file", &"");
        }
        "clients" => {
            put("connected_clients", &engine.sessions.len());
            put("maxclients", &engine.config.get("maxclients"));
            put("blocked_clients", &engine.blocked_clients());
            put("tracking_clients", &engine.sessions.values().filter(|s| s.tracking.is_on).count());
            put("clients_in_timeout_table", &engine.wait_deadlines.len());
        }
        "memory" => {
            let used = engine.memory();
            put("used_memory", &used);
            put("used_memory_human", &human(used));
            put("used_memory_peak", &engine.peak_memory.max(used));
            put("used_memory_peak_human", &human(engine.peak_memory.max(used)));
            put(
                "used_memory_dataset",
                &engine.databases.iter().map(super::super::database::Database::memory).sum::<usize>(),
            );
            let scripts = engine.scripts.figures();
            put("used_memory_vm_eval", &scripts.eval_memory);
            put("used_memory_lua", &scripts.eval_memory);
            put("number_of_cached_scripts", &scripts.scripts);
            put("number_of_functions", &scripts.functions);
            put("number_of_libraries", &scripts.libraries);
            put("used_memory_vm_functions", &scripts.functions_memory);
            put("used_memory_vm_total", &engine.scripts.memory());
            put("used_memory_scripts", &engine.scripts.memory());
            put("maxmemory", &engine.config.maxmemory);
            put("maxmemory_human", &human(engine.config.maxmemory as usize));
            put("maxmemory_policy", &engine.config.get("maxmemory-policy"));
            for (name, value) in engine.config.own().filter(|(name, _)| name.contains("maxmemory")) {
                put(&name.replace(['.', '-'], "_"), &value);
            }
            put("maxmemory_refusing_writes", &u8::from(engine.shortage.is_refusing));
            put(
                "maxmemory_only_protected_left",
                &u8::from(engine.shortage.is_refusing && engine.shortage.only_protected),
            );
            put("mem_clients_normal", &engine.shell_memory);
            put("lazyfree_pending_objects", &0);
            put("lazyfreed_objects", &engine.stats.lazily_freed);
        }
        "persistence" => {
            let disk = &engine.disk;
            put("loading", &u8::from(engine.is_loading));
            put("async_loading", &0);
            put("rdb_changes_since_last_save", &disk.changes_since_save);
            put("rdb_bgsave_in_progress", &u8::from(disk.is_writing));
            put("rdb_last_save_time", &disk.saved_at);
            put("rdb_last_bgsave_status", &if disk.last_save_is_ok { "ok" } else { "err" });
            put("aof_enabled", &u8::from(engine.is_logging));
            put("aof_rewrite_in_progress", &u8::from(disk.is_writing));
            put("aof_rewrite_scheduled", &0);
            put("aof_last_bgrewrite_status", &if disk.last_save_is_ok { "ok" } else { "err" });
            put("aof_last_write_status", &if engine.disk_fault.is_none() { "ok" } else { "err" });
            if let Some(walk) = &engine.walk {
                put("current_save_keys_processed", &walk.recorder.keys);
                let total = engine.databases.iter().map(crate::database::Database::len).sum::<usize>();
                put("current_save_keys_total", &total);
            }
            put("backup_in_progress", &disk.backup.as_deref().unwrap_or(""));
            put("backup_last_error", &disk.last_backup_error.as_deref().unwrap_or(""));
            put("aof_rewrites", &disk.rewrites);
            put("aof_current_size", &disk.journal_size);
            put("aof_base_size", &disk.journal_base_size);
            put("aof_delayed_fsync", &disk.delayed_syncs);
        }
        "stats" => {
            let stats = &engine.stats;
            put("total_connections_received", &stats.connections);
            put("total_commands_processed", &stats.commands);
            put("instantaneous_ops_per_sec", &stats.ops_per_second);
            put("total_net_input_bytes", &stats.bytes_in);
            put("total_net_output_bytes", &stats.bytes_out);
            put("rejected_connections", &stats.rejected_connections);
            put("expired_keys", &stats.expired);
            put("evicted_keys", &stats.evicted);
            put("keyspace_hits", &stats.hits);
            put("keyspace_misses", &stats.misses);
            put("pubsub_channels", &engine.channels.len());
            put("pubsub_patterns", &engine.patterns.len());
            put("pubsubshard_channels", &engine.shard_channels.len());
            put("latest_fork_usec", &0);
            put("total_forks", &0);
            put("tracking_total_keys", &engine.tracked.len());
            put(
                "tracking_total_items",
                &engine.tracked.values().map(std::collections::BTreeSet::len).sum::<usize>(),
            );
            put("tracking_total_prefixes", &engine.broadcasting.len());
            put("total_error_replies", &stats.errors);
            put("unexpected_error_replies", &stats.unexpected_errors);
        }
        "replication" => {
            put("role", &"master");
            put("connected_slaves", &0);
            put("master_failover_state", &"no-failover");
            put("master_replid", &engine.run_id);
            put("master_repl_offset", &0);
            put("repl_backlog_active", &0);
        }
        "cpu" => {
            put("used_cpu_sys", &0.0);
            put("used_cpu_user", &0.0);
        }
        "commandstats" => {
            for (id, stats) in engine.stats.by_command.iter().enumerate() {
                if stats.calls + stats.rejected > 0 {
                    let each = stats.us as f64 / stats.calls.max(1) as f64;
                    let line = format!(
                        "calls={},usec={},usec_per_call={each:.2},rejected_calls={},failed_calls={}",
                        stats.calls, stats.us, stats.rejected, stats.failed
                    );
                    put(&format!("cmdstat_{}", crate::command::row(id).name), &line);
                }
            }
        }
        "latencystats" => {
            for (id, stats) in engine.stats.by_command.iter().enumerate() {
                if stats.calls > 0 && engine.config.get("latency-tracking") == "yes" {
                    let shares = engine.config.get("latency-tracking-info-percentiles").split_whitespace();
                    let line: Vec<String> =
                        shares.map(|share| format!("p{share}={:.3}", percentile(stats, share))).collect();
                    if !line.is_empty() {
                        put(
                            &format!("latency_percentiles_usec_{}", crate::command::row(id).name),
                            &line.join(","),
                        );
                    }
                }
            }
        }
        "errorstats" => {
            for (code, count) in &engine.stats.by_error {
                put(&format!("errorstat_{code}"), &format!("count={count}"));
            }
        }
        "cluster" => put("cluster_enabled", &0),
        "keyspace" => {
            for (number, db) in engine.databases.iter().enumerate() {
                if db.len() > 0 {
                    let line = format!("keys={},expires={},avg_ttl=0", db.len(), db.volatile_len());
                    put(&format!("db{number}"), &line);
                }
            }
        }
        _ => {}
    }
    text
}

fn percentile(stats: &crate::stats::CommandStats, share: &str) -> f64 {
    let share: f64 = share.parse().unwrap_or(50.0);
    let wanted = (stats.calls as f64 * share / 100.0).ceil() as u64;
    let mut seen = 0;
    for (bucket, count) in stats.histogram.iter().enumerate() {
        seen += count;
        if seen >= wanted {
            return ((1u64 << bucket) as f64) - 1.0;
        }
    }
    0.0
}

/// Sections in Redis's order, and whether plain INFO shows them.
const SECTIONS: [(&str, &str, bool); 13] = [
    ("server", "Server", true),
    ("clients", "Clients", true),
    ("memory", "Memory", true),
    ("persistence", "Persistence", true),
    ("stats", "Stats", true),
    ("replication", "Replication", true),
    ("cpu", "CPU", true),
    ("modules", "Modules", true),
    ("commandstats", "Commandstats", false),
    ("errorstats", "Errorstats", true),
    ("latencystats", "Latencystats", false),
    ("cluster", "Cluster", true),
    ("keyspace", "Keyspace", true),
];

pub(crate) fn info(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let wanted = |name: &str, in_default: bool| {
        (args.len() == 1 && in_default)
            || args[1..].iter().any(|word| {
                is(word, name)
                    || is(word, "all")
                    || is(word, "everything")
                    || (is(word, "default") && in_default)
            })
    };
    let mut text = String::new();
    for (name, title, in_default) in SECTIONS {
        if wanted(name, in_default) {
            if !text.is_empty() {
                text.push_str("\r\n");
            }
            let _ = write!(text, "# {title}\r\n{}", section(ctx.engine, name));
        }
    }
    ctx.out.verbatim("txt", text.as_bytes());
    Ok(())
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
        if row.change == Change::AtStart {
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
            continue;
        }
        let name = SETTINGS[index].name;
        let before = ctx.engine.config.value(index).to_owned();
        ctx.engine.config.set(index, text.clone());
        match name {
            "requirepass" => ctx.engine.users.set_default_password(text.as_bytes()),
            "appendonly" if before != text => {
                ctx.engine.effects.disk.push(DiskRequest::Journal(text == "yes"));
            }
            "slowlog-max-len" => {
                let limit = ctx.engine.config.slowlog_length;
                ctx.engine.slowlog.entries.truncate(limit);
            }
            "protected-keys" if before != text => {
                ctx.engine.databases.iter_mut().for_each(crate::database::Database::forget_names);
            }
            _ => {}
        }
    }
    for db in 0..ctx.engine.databases.len() {
        drop(ctx.engine.make_room(db));
    }
    ctx.out.ok();
    Ok(())
}

pub(crate) fn config_resetstat(ctx: &mut Ctx<'_>, _args: &[&[u8]]) -> Outcome {
    ctx.engine.stats.reset();
    ctx.out.ok();
    Ok(())
}

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

pub(crate) fn memory_usage(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
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

pub(crate) fn memory_stats(ctx: &mut Ctx<'_>, _args: &[&[u8]]) -> Outcome {
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

pub(crate) fn memory_purge(ctx: &mut Ctx<'_>, _args: &[&[u8]]) -> Outcome {
    ctx.out.ok();
    Ok(())
}

pub(crate) fn memory_doctor(ctx: &mut Ctx<'_>, _args: &[&[u8]]) -> Outcome {
    ctx.out.verbatim("txt", b"Memory is accounted for key by key here; there is nothing to diagnose.");
    Ok(())
}

pub(crate) fn lastsave(ctx: &mut Ctx<'_>, _args: &[&[u8]]) -> Outcome {
    let at = ctx.engine.disk.saved_at;
    ctx.out.integer(at);
    Ok(())
}

pub(crate) fn role(ctx: &mut Ctx<'_>, _args: &[&[u8]]) -> Outcome {
    ctx.out.array(3);
    ctx.out.bulk(b"master");
    ctx.out.integer(0);
    ctx.out.array(0);
    Ok(())
}

pub(crate) fn wait(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let wanted = integer(args[1])?;
    let ms = integer(args[2]).map_err(|_| Failure::from("ERR timeout is not an integer or out of range"))?;
    if ms < 0 {
        return Err("ERR timeout is negative".into());
    }
    let limit = (ms > 0).then_some(ms);
    if wanted <= 0 || !ctx.block(crate::session::Waiting::Replicas, &[], limit, args) {
        ctx.out.integer(0);
    }
    Ok(())
}

pub(crate) fn debug(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let word = args[1];
    match () {
        () if is(word, "SLEEP") && args.len() == 3 => {
            let seconds = crate::context::float(args[2])?;
            ctx.engine.effects.sleep_us += (seconds.max(0.0) * 1e6) as u64;
            ctx.out.ok();
        }
        () if is(word, "SET-ACTIVE-EXPIRE") && args.len() == 3 => {
            ctx.engine.active_expiry = args[2] == b"1";
            ctx.out.ok();
        }
        () if is(word, "JMAP") || is(word, "QUICKLIST-PACKED-THRESHOLD") || is(word, "PAUSE-CRON") => {
            ctx.out.ok();
        }
        () if is(word, "STRINGMATCH-LEN") || is(word, "REPLYBUFFER") || is(word, "CHANGE-REPL-ID") => {
            ctx.out.ok();
        }
        () if is(word, "OBJECT") && args.len() >= 3 => {
            let entry = ctx.peek(args[2]).ok_or(NO_KEY)?;
            let text = format!(
                "Value at:0x0 refcount:1 encoding:{} serializedlength:1 lru:{} lru_seconds_idle:0",
                entry.value.encoding(),
                entry.access.get()
            );
            ctx.out.simple(&text);
        }
        () if is(word, "POPULATE") && args.len() >= 3 => {
            let count = integer(args[2])?;
            let prefix = args.get(3).copied().unwrap_or(b"key");
            let size = args.get(4).map_or(Ok(0), |size| integer(size))?.max(0) as usize;
            for number in 0..count.max(0) {
                let key = [prefix, b":", number.to_string().as_bytes()].concat();
                if !ctx.exists(&key) {
                    let mut text = format!("value:{number}").into_bytes();
                    if size > 0 {
                        text.resize(size, 0);
                    }
                    ctx.insert(&key, crate::value::Value::text(&text));
                    ctx.changed_silently(&key);
                }
            }
            ctx.out.ok();
        }
        () if is(word, "RELOAD") || is(word, "LOADAOF") => {
            ctx.engine.reload()?;
            ctx.out.ok();
        }
        () => {
            let text = format!(
                "ERR unknown subcommand or wrong number of arguments for '{}'. Try DEBUG HELP.",
                shown(word)
            );
            return Err(text.into());
        }
    }
    Ok(())
}

fn ask_disk(ctx: &mut Ctx<'_>, request: DiskRequest) {
    ctx.engine.effects.disk.push(request);
}

pub(crate) fn save(ctx: &mut Ctx<'_>, _args: &[&[u8]]) -> Outcome {
    if ctx.engine.disk.is_writing {
        return Err("ERR Background save already in progress".into());
    }
    ask_disk(ctx, DiskRequest::SnapshotNow);
    ctx.out.ok();
    Ok(())
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
