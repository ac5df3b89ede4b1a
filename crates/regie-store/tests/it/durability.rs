//! What survives: restarts, torn tails, damage, rewrites under change.

use crate::server::{Store, show};
use std::fs;
use std::path::{Path, PathBuf};

const ALWAYS: &[(&str, &str)] = &[("appendonly", "yes"), ("appendfsync", "always")];

fn only_log(dir: &Path) -> PathBuf {
    let mut logs: Vec<PathBuf> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|p| p.extension().is_some_and(|e| e == "log"))
        .collect();
    logs.sort_by_key(|path| fs::metadata(path).unwrap().len());
    logs.pop().unwrap()
}

/// Everything that the store holds, as text that can be compared.
fn picture(store: &Store) -> Vec<String> {
    let mut client = store.client();
    let mut lines = Vec::new();
    let keys = client.line("KEYS *");
    let mut keys: Vec<&str> = keys.trim_matches(['[', ']']).split(' ').filter(|k| !k.is_empty()).collect();
    keys.sort_unstable();
    for key in keys {
        let lines_of = match client.line(&format!("TYPE {key}")).as_str() {
            "string" => vec!["GET K"],
            "list" => vec!["LRANGE K 0 -1"],
            "set" => vec!["SORT K ALPHA"],
            "zset" => vec!["ZRANGE K 0 -1 WITHSCORES"],
            "hash" => vec!["HGETALL K", "HPEXPIRETIME K FIELDS 2 f g"],
            _ => vec!["XRANGE K - +", "XINFO GROUPS K", "XPENDING K g"],
        };
        let dump: Vec<String> =
            lines_of.iter().map(|line| client.line(&line.replacen(" K", &format!(" {key}"), 1))).collect();
        let at = client.line(&format!("PEXPIRETIME {key}"));
        lines.push(format!("{key} {at} {dump:?}"));
    }
    lines
}

fn fill(store: &Store) {
    let mut client = store.client();
    for line in [
        "SET text hello",
        "SET number 42",
        "SET late gone PX 86400000",
        "INCRBYFLOAT float 1.5",
        "RPUSH list a b c d e",
        "LPOP list",
        "HSET hash f 1 g 2",
        "HSET timed f 1 g 2 h 3",
        "HEXPIRE timed 86400 FIELDS 1 g",
        "HINCRBY timed g 5",
        "SADD ints 1 2 3",
        "SADD set a b",
        "ZADD zset 1 a 2.5 b",
        "XADD stream 1-1 f v",
        "XADD stream * f w",
        "XGROUP CREATE stream g 0",
        "XREADGROUP GROUP g c COUNT 1 STREAMS stream >",
        "EVAL redis.call('SET','by-script','x');redis.call('INCR','number') 0",
        "SPOP ints",
        "RENAME text renamed",
        "GETEX renamed EX 1000",
        "SELECT 3",
        "SET other-db 1",
        "SELECT 0",
    ] {
        let reply = client.line(line);
        assert!(!reply.starts_with('-'), "{line}: {reply}");
    }
}

#[test]
fn everything_is_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    for rewrite in [None, Some("BGREWRITEAOF"), Some("SAVE"), Some("DEBUG RELOAD")] {
        let config = [ALWAYS, &[("enable-debug-command", "yes")]].concat();
        let store = Store::start(Some(dir.path()), &config);
        store.client().line("FLUSHALL");
        fill(&store);
        if let Some(command) = rewrite {
            let reply = store.client().line(command);
            assert!(!reply.starts_with('-'), "{reply}");
            while store.client().line("INFO persistence").contains("aof_rewrite_in_progress:1") {}
            store.client().line("SET after rewrite");
        }
        let before = picture(&store);
        assert!(before.len() >= 11, "{before:?}");
        drop(store);
        let store = Store::start(Some(dir.path()), &config);
        assert_eq!(picture(&store), before, "after {rewrite:?}");
    }
}

#[test]
fn a_snapshot_alone_is_enough() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::start(Some(dir.path()), &[]);
    fill(&store);
    assert_eq!(store.client().line("SAVE"), "OK");
    let before = picture(&store);
    drop(store);
    assert_eq!(picture(&Store::start(Some(dir.path()), &[])), before);
}

#[test]
fn a_torn_tail_is_cut_off_and_what_was_acknowledged_before_it_stays() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::start(Some(dir.path()), ALWAYS);
    let mut sizes = Vec::new();
    for index in 0..20 {
        assert_eq!(store.client().line(&format!("SET k{index} {index}")), "OK");
        sizes.push(fs::metadata(only_log(dir.path())).unwrap().len());
    }
    drop(store);
    let log = only_log(dir.path());
    let whole = fs::read(&log).unwrap();
    let manifest = fs::read(dir.path().join("manifest")).unwrap();
    for cut in (sizes[0]..sizes[19]).step_by(37) {
        for entry in fs::read_dir(dir.path()).unwrap() {
            fs::remove_file(entry.unwrap().path()).unwrap();
        }
        fs::write(&log, &whole[..cut as usize]).unwrap();
        fs::write(dir.path().join("manifest"), &manifest).unwrap();
        let store = Store::start(Some(dir.path()), &[]);
        let kept = sizes.iter().filter(|size| **size <= cut).count();
        assert_eq!(store.client().line("DBSIZE"), format!(":{kept}"), "cut at {cut}");
    }
}

#[test]
fn damage_in_the_middle_stops_the_start_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::start(Some(dir.path()), ALWAYS);
    for index in 0..20 {
        assert_eq!(store.client().line(&format!("SET k{index} {index}")), "OK");
    }
    drop(store);
    let log = only_log(dir.path());
    let mut bytes = fs::read(&log).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&log, &bytes).unwrap();
    let why = Store::try_start(Some(dir.path()), ALWAYS).err().expect("the start is refused");
    assert!(why.contains("damaged at byte"), "{why}");
    assert_eq!(fs::read(&log).unwrap(), bytes);
}

#[test]
fn a_rewrite_under_change_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::start(Some(dir.path()), &[("appendonly", "yes"), ("appendfsync", "no")]);
    let mut client = store.client();
    for index in 0..20_000 {
        client.send(&[b"SET", format!("k{index}").as_bytes(), b"first value of this key"]);
    }
    for _ in 0..20_000 {
        client.receive();
    }
    assert!(client.line("BGREWRITEAOF").starts_with("Background"));
    for index in 0..20_000 {
        let key = format!("k{}", (index * 7919) % 25_000);
        match index % 3 {
            0 => client.send(&[b"DEL", key.as_bytes()]),
            1 => client.send(&[b"APPEND", key.as_bytes(), b"+"]),
            _ => client.send(&[b"INCR", b"counter"]),
        }
    }
    for _ in 0..20_000 {
        client.receive();
    }
    while client.line("INFO persistence").contains("aof_rewrite_in_progress:1") {}
    let before = (
        client.line("DBSIZE"),
        client.line("GET counter"),
        show(&client.call(&[b"MGET", b"k1", b"k7919", b"k24999"])),
    );
    drop(store);
    let store = Store::start(Some(dir.path()), &[]);
    let mut client = store.client();
    let after = (
        client.line("DBSIZE"),
        client.line("GET counter"),
        show(&client.call(&[b"MGET", b"k1", b"k7919", b"k24999"])),
    );
    assert_eq!(after, before);
}

#[test]
fn what_config_set_has_changed_can_be_kept() {
    let dir = tempfile::tempdir().unwrap();
    let configured =
        [("maxmemory-policy", "allkeys-lru"), ("db.2.maxmemory-policy", "volatile-ttl"), ("timeout", "7")];
    let store = Store::start(Some(dir.path()), &configured);
    let mut client = store.client();
    for line in [
        "CONFIG SET maxmemory 64mb db.1.maxmemory-samples 9 appendfsync no",
        "CONFIG SET timeout 9",
        "CONFIG SET requirepass pass\\word\"1",
    ] {
        assert_eq!(client.line(line), "OK", "{line}");
    }
    let many = client.call(&[b"CONFIG", b"SET", b"save", b"900 1 60 1000", b"protected-keys", b"a:* b c*"]);
    assert_eq!(show(&many), "OK");
    assert_eq!(client.line("CONFIG REWRITE"), "OK");
    assert_eq!(client.line("CONFIG SET hz 50"), "OK");
    drop(store);
    let store = Store::start(Some(dir.path()), &configured);
    let mut client = store.client();
    assert!(client.line("GET k").starts_with("-NOAUTH"));
    assert_eq!(client.line("AUTH pass\\word\"1"), "OK");
    for (name, expect) in [
        ("maxmemory", "67108864"),
        ("maxmemory-policy", "allkeys-lru"),
        ("db.1.maxmemory-samples", "9"),
        ("db.2.maxmemory-policy", "volatile-ttl"),
        ("appendfsync", "no"),
        ("timeout", "9"),
        ("save", "900 1 60 1000"),
        ("protected-keys", "a:* b c*"),
        ("hz", "10"),
    ] {
        assert_eq!(client.line(&format!("CONFIG GET {name}")), format!("[{name} {expect}]"));
    }
    drop(store);
    // A fault in it is named; without a folder there is nowhere to keep anything.
    let file = dir.path().join("settings.conf");
    fs::write(&file, "maxmemory 1mb\nmaxmemmory 2mb\n").unwrap();
    let why = Store::try_start(Some(dir.path()), &[]).err().unwrap();
    assert!(why.contains("settings.conf: line 2: unknown setting 'maxmemmory'"), "{why}");
    let reply = Store::start(None, &[]).client().line("CONFIG REWRITE");
    assert!(reply.starts_with("-ERR The server is running without"), "{reply}");
}

#[test]
fn a_store_with_snapshots_only_saves_when_it_is_stopped() {
    let dir = tempfile::tempdir().unwrap();
    let config = [("save", "3600 1")];
    let store = Store::start(Some(dir.path()), &config);
    assert_eq!(store.client().line("SET k v"), "OK");
    drop(store);
    assert_eq!(Store::start(Some(dir.path()), &config).client().line("GET k"), "v");
}
