//! INFO.

use crate::commands::server::REDIS_VERSION;
use crate::context::{Ctx, is};
use crate::engine::Engine;
use crate::failure::Outcome;
use crate::following::Link;
use std::fmt::Write;

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
            put("redis_git_sha1", &"00000000");
            put("redis_git_dirty", &0);
            put("redis_build_id", &0);
            put("redis_mode", &"standalone");
            put("os", &std::env::consts::OS);
            put("arch_bits", &usize::BITS);
            put("monotonic_clock", &"POSIX clock_gettime");
            put("multiplexing_api", &"epoll");
            put("atomicvar_api", &"none");
            put("process_id", &std::process::id());
            put("process_supervised", &engine.config.get("supervised"));
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
            put("io_threads_active", &0);
        }
        "clients" => {
            put("connected_clients", &engine.sessions.len());
            put("cluster_connections", &0);
            put("maxclients", &engine.config.get("maxclients"));
            put("client_recent_max_input_buffer", &0);
            put("client_recent_max_output_buffer", &0);
            put("blocked_clients", &engine.blocked_clients());
            put("tracking_clients", &engine.sessions.values().filter(|s| s.tracking.is_on).count());
            put("clients_in_timeout_table", &engine.wait_deadlines.len());
        }
        "memory" => {
            let used = engine.memory();
            put("used_memory", &used);
            put("used_memory_human", &human(used));
            let peak = engine.peak_memory.max(used);
            let resident = (engine.process.resident as usize).max(used);
            put("used_memory_rss", &resident);
            put("used_memory_rss_human", &human(resident));
            put("used_memory_peak", &peak);
            put("used_memory_peak_human", &human(peak));
            put("used_memory_peak_perc", &format!("{:.2}%", used as f64 * 100.0 / peak.max(1) as f64));
            put(
                "used_memory_dataset",
                &engine.databases.iter().map(super::super::database::Database::memory).sum::<usize>(),
            );
            let scripts = engine.scripts.figures();
            put("used_memory_lua", &scripts.eval_memory);
            put("used_memory_lua_human", &human(scripts.eval_memory));
            put("used_memory_vm_eval", &scripts.eval_memory);
            put("number_of_cached_scripts", &scripts.scripts);
            put("number_of_functions", &scripts.functions);
            put("number_of_libraries", &scripts.libraries);
            put("used_memory_vm_functions", &scripts.functions_memory);
            put("used_memory_vm_total", &engine.scripts.memory());
            put("used_memory_vm_total_human", &human(engine.scripts.memory()));
            put("used_memory_scripts", &engine.scripts.memory());
            put("used_memory_scripts_human", &human(engine.scripts.memory()));
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
            put("total_system_memory", &engine.process.machine_memory);
            put("total_system_memory_human", &human(engine.process.machine_memory as usize));
            put("mem_fragmentation_ratio", &format!("{:.2}", resident as f64 / used.max(1) as f64));
            put("mem_fragmentation_bytes", &(resident - used));
            put("mem_not_counted_for_evict", &0);
            put("mem_replication_backlog", &0);
            put("mem_total_replication_buffers", &0);
            put("mem_clients_slaves", &0);
            put("mem_cluster_links", &0);
            put("mem_aof_buffer", &0);
            put("mem_allocator", &"system");
            put("active_defrag_running", &0);
            put("mem_clients_normal", &engine.shell_memory);
            put("lazyfree_pending_objects", &0);
            put("lazyfreed_objects", &engine.stats.lazily_freed);
        }
        "persistence" => {
            let disk = &engine.disk;
            put("loading", &u8::from(engine.is_loading));
            put("async_loading", &0);
            put(
                "rdb_changes_since_last_save",
                &(disk.changes_since_save + (engine.dirty - engine.dirty_told)),
            );
            put("rdb_bgsave_in_progress", &u8::from(disk.is_writing));
            put("rdb_last_save_time", &disk.saved_at);
            put("rdb_saves", &disk.rewrites);
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
            put("total_net_repl_input_bytes", &0);
            put("total_net_repl_output_bytes", &engine.replication.offset);
            put("instantaneous_input_kbps", &format!("{:.2}", stats.input_kbps));
            put("instantaneous_output_kbps", &format!("{:.2}", stats.output_kbps));
            put("instantaneous_input_repl_kbps", &"0.00");
            put("instantaneous_output_repl_kbps", &"0.00");
            put("rejected_connections", &stats.rejected_connections);
            put("sync_full", &stats.full_syncs);
            put("sync_partial_ok", &0);
            put("sync_partial_err", &0);
            put("expired_keys", &stats.expired);
            put("expired_stale_perc", &"0.00");
            put("expired_time_cap_reached_count", &0);
            put("expire_cycle_cpu_milliseconds", &(stats.expiry_us / 1000));
            put("evicted_keys", &stats.evicted);
            put("evicted_clients", &stats.evicted_clients);
            put("total_eviction_exceeded_time", &0);
            put("current_eviction_exceeded_time", &0);
            put("keyspace_hits", &stats.hits);
            put("keyspace_misses", &stats.misses);
            put("pubsub_channels", &engine.channels.len());
            put("pubsub_patterns", &engine.patterns.len());
            put("pubsubshard_channels", &engine.shard_channels.len());
            put("latest_fork_usec", &0);
            put("total_forks", &0);
            for absent in [
                "migrate_cached_sockets",
                "slave_expires_tracked_keys",
                "active_defrag_hits",
                "active_defrag_misses",
                "active_defrag_key_hits",
                "active_defrag_key_misses",
                "total_active_defrag_time",
                "current_active_defrag_time",
            ] {
                put(absent, &0);
            }
            put("tracking_total_keys", &engine.tracked.len());
            put(
                "tracking_total_items",
                &engine.tracked.values().map(std::collections::BTreeSet::len).sum::<usize>(),
            );
            put("tracking_total_prefixes", &engine.broadcasting.len());
            put("total_error_replies", &stats.errors);
            put("unexpected_error_replies", &stats.unexpected_errors);
            put("dump_payload_sanitizations", &0);
            put("total_reads_processed", &engine.process.reads);
            put("total_writes_processed", &engine.process.writes);
            put("io_threaded_reads_processed", &0);
            put("io_threaded_writes_processed", &0);
            put("reply_buffer_shrinks", &0);
            put("reply_buffer_expands", &0);
        }
        "replication" => {
            let replicas = &engine.replication.replicas;
            put("role", &if engine.following.is_some() { "slave" } else { "master" });
            if let Some(following) = &engine.following {
                let is_there = following.link == Link::Connected;
                let seconds = |since: i64| (engine.now - since).max(0) / 1000;
                put("master_host", &following.host);
                put("master_port", &following.port);
                put("master_link_status", &if is_there { "up" } else { "down" });
                put("master_last_io_seconds_ago", &if is_there { seconds(following.heard_at) } else { -1 });
                put("master_sync_in_progress", &i32::from(following.link == Link::Sync));
                put("slave_read_repl_offset", &following.offset);
                put("slave_repl_offset", &following.offset);
                if !is_there {
                    put("master_link_down_since_seconds", &seconds(following.changed_at));
                }
                put("slave_priority", &100);
                put("slave_read_only", &i32::from(engine.config.replica_read_only));
                put("replica_announced", &1);
            }
            put("connected_slaves", &replicas.len());
            for (number, session) in replicas.iter().filter_map(|id| engine.sessions.get(id)).enumerate() {
                let (address, port, offset) = session.replica_place();
                let line = format!("ip={address},port={port},state=online,offset={offset},lag=0");
                put(&format!("slave{number}"), &line);
            }
            put("master_failover_state", &"no-failover");
            put("master_replid", &engine.run_id);
            put("master_replid2", &"0".repeat(40));
            let offset =
                engine.following.as_ref().map_or(engine.replication.offset, |following| following.offset);
            put("master_repl_offset", &offset);
            put("second_repl_offset", &-1);
            put("repl_backlog_active", &0);
            put("repl_backlog_size", &engine.config.get("repl-backlog-size"));
            put("repl_backlog_first_byte_offset", &0);
            put("repl_backlog_histlen", &0);
        }
        "cpu" => {
            let seconds = |us: i64| format!("{:.6}", us as f64 / 1e6);
            let (system, user) = (seconds(engine.process.cpu_system_us), seconds(engine.process.cpu_user_us));
            put("used_cpu_sys", &system);
            put("used_cpu_user", &user);
            put("used_cpu_sys_children", &"0.000000");
            put("used_cpu_user_children", &"0.000000");
            put("used_cpu_sys_main_thread", &system);
            put("used_cpu_user_main_thread", &user);
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
