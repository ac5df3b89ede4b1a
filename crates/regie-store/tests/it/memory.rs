//! Limits of memory: what goes, what stays under any policy, and what each database has for itself.

use crate::server::{Client, Store};

/// Sends many commands without waiting in between; how many replies were no errors.
fn many(client: &mut Client, commands: impl Iterator<Item = Vec<Vec<u8>>>) -> usize {
    let (mut waiting, mut good) = (0, 0);
    let take = |client: &mut Client, count: usize| {
        (0..count).filter(|_| !matches!(client.receive(), regie_resp::Frame::Error(_))).count()
    };
    for command in commands {
        let words: Vec<&[u8]> = command.iter().map(Vec::as_slice).collect();
        client.send(&words);
        waiting += 1;
        if waiting == 500 {
            good += take(client, std::mem::take(&mut waiting));
        }
    }
    good + take(client, waiting)
}

fn words(line: &str) -> Vec<Vec<u8>> {
    line.split(' ').map(|word| word.as_bytes().to_vec()).collect()
}

fn info(client: &mut Client, name: &str) -> u64 {
    let info = client.line("INFO everything");
    let value = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    value.unwrap_or_else(|| panic!("INFO names {name}")).trim().parse().unwrap()
}

/// A cache that shares its database with a queue of 10,000 jobs, in a store of 256 MB; the other policies in a small one.
#[test]
fn a_full_cache_takes_no_job_lock_session_or_stream() {
    for (policy, limit, size) in [
        ("allkeys-lru", 256 << 20, 10_000),
        ("allkeys-lfu", 8 << 20, 500),
        ("volatile-random", 8 << 20, 500),
        ("volatile-ttl", 8 << 20, 500),
    ] {
        let store = Store::start(None, &[("maxmemory", &limit.to_string()), ("maxmemory-policy", policy)]);
        let mut client = store.client();
        let payload = "p".repeat(300);
        let jobs = (0..10_000).map(|n| words(&format!("RPUSH shop_database_queues:default {n}{payload}")));
        assert_eq!(many(&mut client, jobs), 10_000);
        let session = "shop_cache_:Xk3bQ9fT0aLmN4pRsUvWxYz1234567890AbCdEf1";
        let write_lock = "ZADD import-of-orders 1 __write__ 1 token";
        for line in [
            "ZADD shop_database_queues:default:delayed 1 job",
            "XADD messages * message hello",
            "XGROUP CREATE messages symfony 0",
            "SET import owner-token NX EX 3600",
            "SETNX forever owner-token",
            write_lock,
            "EXPIRE import-of-orders 3600",
            &format!("SETEX {session} 7200 data"),
            "SETEX PHPREDIS_SESSION:a 7200 data",
        ] {
            let reply = client.line(line);
            assert!(!reply.starts_with('-'), "{line}: {reply}");
        }
        let value = "v".repeat(size);
        let count = 2 * limit as usize / size / 3 * 2;
        let cache = (0..count).map(|n| words(&format!("SETEX shop_cache_:{n} 600 {value}")));
        assert_eq!(many(&mut client, cache), count, "{policy}");
        assert!(info(&mut client, "evicted_keys") as usize > count / 10, "{policy}");
        assert!(info(&mut client, "used_memory") <= limit + (1 << 16), "{policy}");
        for (line, expect) in [
            ("LLEN shop_database_queues:default", ":10000"),
            ("EXISTS shop_database_queues:default:delayed messages import forever import-of-orders", ":5"),
            (&format!("EXISTS {session} PHPREDIS_SESSION:a"), ":2"),
        ] {
            assert_eq!(client.line(line), expect, "{policy}: {line}");
        }
    }
}

#[test]
fn when_only_protected_keys_are_left_writes_get_oom_and_reads_go_on() {
    let store = Store::start(None, &[("maxmemory", "3mb"), ("maxmemory-policy", "allkeys-lru")]);
    let mut client = store.client();
    let payload = "p".repeat(1000);
    let mut pushed = 0;
    let oom = loop {
        let reply = client.line(&format!("RPUSH queues:default {payload}"));
        if reply.starts_with('-') {
            break reply;
        }
        pushed += 1;
        assert!(pushed < 10_000);
    };
    assert_eq!(oom, "-OOM command not allowed when used memory > 'maxmemory'.");
    assert_eq!(client.line("LLEN queues:default"), format!(":{pushed}"));
    assert_eq!(info(&mut client, "maxmemory_refusing_writes"), 1);
    assert_eq!(info(&mut client, "maxmemory_only_protected_left"), 1);
    assert_eq!(client.line("LTRIM queues:default 100 -1"), "OK");
    assert_eq!(client.line("SET cached value"), "OK");
    assert_eq!(info(&mut client, "maxmemory_refusing_writes"), 0);
    // What is protected can be set.
    assert_eq!(client.line("CONFIG SET protected-keys keep:*"), "OK");
    let filled = (0..4000).map(|n| words(&format!("SET keep:{n} {payload}")));
    assert!(many(&mut client, filled) < 4000);
    // After a sweep in vain the next comes a moment later.
    crate::faults::wait_for("what is not protected any more has gone", || {
        client.line(&format!("SET keep:more {payload}"));
        (client.line("EXISTS queues:default cached") == ":0").then_some(())
    });
    assert!(client.line("CONFIG SET protected-keys @queues").starts_with("-ERR CONFIG SET failed"));
}

#[test]
fn a_database_may_have_its_own_limit_and_policy() {
    let config = [("db.1.maxmemory", "1mb"), ("db.1.maxmemory-policy", "allkeys-lru"), ("maxmemory", "0")];
    let store = Store::start(None, &config);
    let (mut first, mut second) = (store.client(), store.client());
    second.line("SELECT 1");
    let value = "v".repeat(1000);
    let fill = |n: usize| words(&format!("SET k{n} {value}"));
    assert_eq!(many(&mut first, (0..3000).map(fill)), 3000);
    assert_eq!(many(&mut second, (0..3000).map(fill)), 3000);
    assert_eq!(first.line("DBSIZE"), ":3000", "database 0 has no limit");
    let kept: usize = second.line("DBSIZE")[1..].parse().unwrap();
    assert!((500..1100).contains(&kept), "{kept}");
    assert_eq!(first.line("CONFIG GET db.1.maxmemory"), "[db.1.maxmemory 1048576]");
    // Over the common limit only the database whose policy allows it gives keys up.
    assert_eq!(first.line("CONFIG SET maxmemory 4mb"), "OK");
    assert_eq!(first.line("DBSIZE"), ":3000");
    assert_eq!(first.line("CONFIG SET db.1.maxmemory 0"), "OK");
    assert!(many(&mut first, (3000..6000).map(fill)) < 3000);
    assert_eq!(second.line("DBSIZE"), ":0");
    // Without a database it holds for all.
    assert_eq!(first.line("CONFIG SET maxmemory-policy noeviction"), "OK");
    assert_eq!(first.line("CONFIG GET db.*"), "[db.1.maxmemory 0]");
    for (line, expect) in [
        ("CONFIG SET db.99.maxmemory 1", "Unknown option"),
        ("CONFIG SET db.1.port 1", "Unknown option"),
        ("CONFIG SET db.1.maxmemory-policy all", "must be one of"),
    ] {
        let reply = first.line(line);
        assert!(reply.starts_with("-ERR") && reply.contains(expect), "{line}: {reply}");
    }
}

#[test]
fn a_lock_is_known_as_one_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let limits = [("maxmemory", "2mb"), ("maxmemory-policy", "allkeys-random")];
    for (settings, save) in [(&[("appendonly", "yes")][..], "PING"), (&[], "SAVE")] {
        let store = Store::start(Some(dir.path()), settings);
        assert!(store.client().line("SET import owner-token NX EX 3600") != "nil");
        store.client().line(save);
        drop(store);
        let store = Store::start(Some(dir.path()), &[settings, &limits[..]].concat());
        let value = "v".repeat(1000);
        let mut client = store.client();
        many(&mut client, (0..4000).map(|n| words(&format!("SET k{n} {value}"))));
        assert_eq!(client.line("EXISTS import"), ":1", "{save}");
        client.line("FLUSHALL");
        drop(store);
        for entry in std::fs::read_dir(dir.path()).unwrap() {
            std::fs::remove_file(entry.unwrap().path()).unwrap();
        }
    }
}

/// What INFO says that data take is what the process has grown by, within a tenth.
#[test]
fn memory_is_accounted_for_honestly() {
    for (kind, count, command) in [
        ("strings", 100_000, "redis.call('set', 'key:' .. i, string.rep('v', 200))"),
        (
            "small hashes",
            100_000,
            "redis.call('hset', 'key:' .. i, 'name', 'value', 'other', string.rep('v', 60))",
        ),
        ("a sorted set", 180_000, "redis.call('zadd', 'key', i, 'member:' .. i)"),
        ("a list", 100_000, "redis.call('rpush', 'key', string.rep('v', 200))"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let process = crate::process::Process::start(dir.path(), &[("save", "")]);
        let mut client = process.client();
        let script = format!("for i = ARGV[1] + 1, ARGV[1] + 10000 do {command} end");
        let mut fill = |from: usize| {
            let reply = client.call(&[b"EVAL", script.as_bytes(), b"0", from.to_string().as_bytes()]);
            assert_eq!(reply, regie_resp::Frame::Null, "{kind}");
        };
        fill(0);
        let before = process.resident();
        let mut other = process.client();
        let accounted = info(&mut other, "used_memory_dataset");
        (10_000..count).step_by(10_000).for_each(&mut fill);
        let grown = process.resident() - before;
        let accounted = info(&mut other, "used_memory_dataset") - accounted;
        let ratio = accounted as f64 / grown as f64;
        assert!(
            (0.9..1.1).contains(&ratio),
            "{kind}: {accounted} bytes accounted for, {grown} taken: {ratio:.3}"
        );
    }
}
