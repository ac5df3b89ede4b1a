//! Moving in from a Redis and out to one, with every type in every form.

use crate::differential::Peer;
use crate::server::{Client, Store};
use regie_store::tools::{self, ServerAddress, TransferOptions};
use std::fs;
use std::net::SocketAddr;

/// Databases that are used.
const DATABASES: [usize; 3] = [0, 3, 9];

/// One of everything: each type, small and big, in every encoding.
pub(crate) fn fill(client: &mut Client) {
    let mut all = |line: String| {
        let reply = client.line(&line);
        assert!(!reply.starts_with('-'), "{line}: {reply}");
    };
    for db in DATABASES {
        all(format!("SELECT {db}"));
        all(format!("SET text in-{db}"));
        all("SET later value PX 86400000".into());
    }
    all("SELECT 0".into());
    for (key, value) in [("int", "42"), ("negative", "-1234567890123"), ("float", "1.5"), ("zeros", "007")] {
        all(format!("SET {key} {value}"));
    }
    all(format!("SET long {}", "compress-me-".repeat(2000)));
    let random: String =
        (0..5000u32).map(|n| char::from(b'a' + (n.wrapping_mul(2_654_435_761) >> 27) as u8 % 26)).collect();
    all(format!("SET noise {random}"));
    all("PFADD hll a b c d e f".into());
    all("RPUSH list a 1 -300 70000 5000000000 -9000000000000000000".into());
    for n in 0..500 {
        all(format!("RPUSH long-list {n} element-{n} {}", "x".repeat(n)));
        all(format!("HSET big-hash field-{n} {n}"));
        all(format!("SADD big-set member-{n}"));
        all(format!("ZADD big-zset {n}.25 member-{n}"));
        all(format!("XADD big-stream {}-{n} field value-{n} n {n}", 1000 + n / 3));
    }
    all("HSET hash f 1 g text h -5".into());
    all(format!("HSET wide-hash f {}", "w".repeat(300)));
    for (key, members) in
        [("ints16", "1 2 -3"), ("ints32", "1 100000"), ("ints64", "1 10000000000 -5"), ("set", "a b 3")]
    {
        all(format!("SADD {key} {members}"));
    }
    all("ZADD zset -inf low +inf high 0 zero 3.25 a -1e300 b".into());
    all("XADD stream 5-1 f v".into());
    all("XADD stream 5-2 f v g w".into());
    all("XADD stream 7-0 other field".into());
    all("XADD stream 8-0 f v".into());
    all("XDEL stream 5-2".into());
    all("XGROUP CREATE stream readers 0".into());
    all("XGROUP CREATE stream late $".into());
    all("XREADGROUP GROUP readers alice COUNT 2 STREAMS stream >".into());
    all("XREADGROUP GROUP readers bob COUNT 1 STREAMS stream >".into());
    all("XACK stream readers 5-1".into());
    all("XGROUP CREATECONSUMER stream readers idle".into());
    all("XADD empty-stream 9-9 f v".into());
    all("XDEL empty-stream 9-9".into());
    all("XGROUP CREATE never-written g $ MKSTREAM".into());
    all("EXPIRE hash 100000".into());
    all("EVAL redis.call('SET','by-script','x') 0".into());
    let library =
        b"#!lua name=lib\nredis.register_function('twice', function(keys, args) return args[1] * 2 end)";
    assert_eq!(crate::server::show(&client.call(&[b"FUNCTION", b"LOAD", b"REPLACE", library])), "lib");
}

/// Everything that can be seen of the data.
pub(crate) fn picture(client: &mut Client) -> Vec<String> {
    let mut lines = Vec::new();
    for db in DATABASES {
        client.line(&format!("SELECT {db}"));
        let keys = client.line("KEYS *");
        let mut keys: Vec<&str> =
            keys.trim_matches(['[', ']']).split(' ').filter(|k| !k.is_empty()).collect();
        keys.sort_unstable();
        for key in keys {
            let kind = client.line(&format!("TYPE {key}"));
            let asks: &[&str] = match kind.as_str() {
                "string" => &["GET K"],
                "list" => &["LRANGE K 0 -1"],
                "set" => &["SORT K ALPHA"],
                "zset" => &["ZRANGE K 0 -1 WITHSCORES"],
                "hash" => &["HGETALL K"],
                _ => &["XRANGE K - +", "XINFO GROUPS K", "XPENDING K readers"],
            };
            for ask in asks {
                let reply = client.line(&ask.replacen(" K", &format!(" {key}"), 1));
                let mut words: Vec<&str> = reply.split(' ').collect();
                if kind == "hash" {
                    words.sort_unstable();
                }
                lines.push(format!("{db} {key} {ask} {}", words.join(" ")));
            }
            let at = client.line(&format!("PEXPIRETIME {key}"));
            // A time to live that was passed on is a moment shorter.
            let about = at[1..].parse::<i64>().map_or(0, |at| (at + 5000) / 20_000);
            lines.push(format!("{db} {key} {}", if at == ":-1" { -1 } else { about }));
        }
    }
    client.line("SELECT 0");
    lines.push(client.line("FCALL twice 0 21"));
    lines
}

/// Pictures are alike; deadlines may lie on either side of a border that was rounded to.
pub(crate) fn assert_same(found: &[String], expect: &[String], what: &str) {
    assert_eq!(found.len(), expect.len(), "{what}");
    assert_eq!((found.last(), expect.last()), (Some(&":42".into()), Some(&":42".into())), "{what}");
    for (found, expect) in found.iter().zip(expect) {
        let (name, last) = expect.rsplit_once(' ').unwrap_or_default();
        let near = last.parse::<i64>().is_ok_and(|last| {
            last > 0 && [last - 1, last, last + 1].iter().any(|at| *found == format!("{name} {at}"))
        });
        assert!(near || found == expect, "{what}:\n{found}\n{expect}");
    }
}

fn address(address: SocketAddr) -> ServerAddress {
    ServerAddress::parse(&address.to_string()).unwrap()
}

#[test]
fn a_redis_s_files_are_read_at_the_start_and_kept() {
    for arguments in [
        &["--save", "3600 1"][..],
        &["--save", "3600 1", "--rdbcompression", "no"],
        &["--save", "", "--appendonly", "yes"],
        &[
            "--save",
            "",
            "--appendonly",
            "yes",
            "--aof-use-rdb-preamble",
            "no",
            "--aof-timestamp-enabled",
            "yes",
        ],
    ] {
        let peer = Peer::start_on(tempfile::tempdir().unwrap(), arguments);
        let mut client = Client::connect(peer.address);
        fill(&mut client);
        if arguments.contains(&"--appendonly") {
            client.line("BGREWRITEAOF");
            while !client.line("INFO persistence").contains("aof_rewrite_in_progress:0") {}
            client.line("SELECT 3");
            client.line("MULTI");
            client.line("SET after rewrite");
            client.line("RPUSH text-list a b");
            client.line("EXEC");
        }
        let expect = picture(&mut client);
        let dir = peer.stop();
        for _ in 0..2 {
            let store = Store::start(Some(dir.path()), &[("appendonly", "yes")]);
            assert_same(&picture(&mut store.client()), &expect, &format!("{arguments:?}"));
        }
        assert!(dir.path().join("manifest").exists());
        // By a tool, into another folder.
        let other = tempfile::tempdir().unwrap();
        let source = tempfile::tempdir().unwrap();
        for name in ["dump.rdb", "appendonlydir"] {
            let _ = fs::rename(dir.path().join(name), source.path().join(name));
        }
        let loaded = tools::load_redis_files(source.path(), other.path(), &mut |_| {}).unwrap();
        assert!(loaded.keys >= 30 && loaded.notes.is_empty(), "{loaded:?}");
        assert!(
            tools::load_redis_files(source.path(), other.path(), &mut |_| {}).is_err(),
            "only into nothing"
        );
        let store = Store::start(Some(other.path()), &[]);
        assert_same(&picture(&mut store.client()), &expect, "load_redis_files");
    }
}

#[test]
fn a_redis_s_torn_tail_is_left_out_and_damage_is_refused() {
    let peer = Peer::start_on(tempfile::tempdir().unwrap(), &["--save", "", "--appendonly", "yes"]);
    let mut client = Client::connect(peer.address);
    for n in 0..10 {
        client.line(&format!("SET k{n} value"));
    }
    let dir = peer.stop();
    let log = dir.path().join("appendonlydir/appendonly.aof.1.incr.aof");
    let bytes = fs::read(&log).unwrap();
    for (cut, expect) in [(bytes.len() - 3, ":9"), (bytes.len() / 2, ":4"), (0, ":0")] {
        fs::write(&log, &bytes[..cut]).unwrap();
        let to = tempfile::tempdir().unwrap();
        let loaded = tools::load_redis_files(dir.path(), to.path(), &mut |_| {}).unwrap();
        assert_eq!(loaded.notes.is_empty(), cut == 0, "{loaded:?}");
        let store = Store::start(Some(to.path()), &[]);
        assert_eq!(store.client().line("DBSIZE"), expect, "cut at {cut}");
    }
    let mut flipped = bytes.clone();
    let at = bytes.windows(3).position(|window| window == b"SET").unwrap();
    flipped[at] = b'!';
    fs::write(&log, &flipped).unwrap();
    let why = Store::try_start(Some(dir.path()), &[]).err().unwrap();
    assert!(why.contains("at byte") && why.contains("nothing was changed"), "{why}");
    assert_eq!(fs::read(&log).unwrap(), flipped);
    // An RDB file has a checksum over all.
    let dump = tempfile::tempdir().unwrap();
    let peer = Peer::start_on(tempfile::tempdir().unwrap(), &["--save", "3600 1"]);
    fill(&mut Client::connect(peer.address));
    let from = peer.stop();
    let bytes = fs::read(from.path().join("dump.rdb")).unwrap();
    for at in [0, 6, 20, bytes.len() / 3, bytes.len() / 2, bytes.len() - 12, bytes.len() - 1] {
        let mut flipped = bytes.clone();
        flipped[at] ^= 0x20;
        fs::write(dump.path().join("dump.rdb"), &flipped).unwrap();
        let why = Store::try_start(Some(dump.path()), &[]).err();
        assert!(why.is_some_and(|why| why.contains("dump.rdb")), "flip at {at}");
    }
}

#[test]
fn what_is_exported_redis_loads() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::start(Some(dir.path()), &[("appendonly", "yes")]);
    fill(&mut store.client());
    let expect = picture(&mut store.client());
    for is_running in [true, false] {
        let target = tempfile::tempdir().unwrap();
        let file = target.path().join("dump.rdb");
        if is_running {
            let server = address(store.address);
            let made = tools::export_rdb(dir.path(), Some(&server), &file, &mut |_| {}).unwrap();
            assert!(made.keys >= 30 && made.bytes == fs::metadata(&file).unwrap().len(), "{made:?}");
            drop(store.client());
        } else {
            let again = tempfile::tempdir().unwrap();
            tools::backup(dir.path(), Some(&address(store.address)), &again.path().join("b"), &mut |_| {})
                .unwrap();
            tools::export_rdb(&again.path().join("b"), None, &file, &mut |_| {}).unwrap();
        }
        let check = std::process::Command::new("redis-check-rdb").arg(&file).output();
        let check = check.expect("the package redis-tools is installed");
        assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stdout));
        let peer = Peer::start_on(target, &["--save", ""]);
        assert_same(&picture(&mut Client::connect(peer.address)), &expect, "redis-server");
    }
}

#[test]
fn everything_goes_over_the_wire_in_both_directions() {
    for by_type in [false, true] {
        for store_is_source in [false, true] {
            let (store, peer) = (Store::start(None, &[]), Peer::start());
            let (from, to) =
                if store_is_source { (store.address, peer.address) } else { (peer.address, store.address) };
            let (mut source, mut target) = (Client::connect(from), Client::connect(to));
            fill(&mut source);
            let options = TransferOptions { by_type, ..TransferOptions::default() };
            let mut last = (0, 0);
            let done = tools::transfer(&address(from), &address(to), &options, &mut |progress| {
                last = (progress.done, progress.total);
            })
            .unwrap();
            let what = format!("by type: {by_type}, from the store: {store_is_source}");
            assert_eq!(done.failures, 0, "{what}: {:?}", done.failed);
            assert_eq!((last.0, last.1), (done.keys, done.keys), "{what}");
            assert_eq!(done.by_type, if by_type { done.keys } else { 0 }, "{what}");
            let (mut found, mut expect) = (picture(&mut target), picture(&mut source));
            if by_type {
                // How many entries a group has read cannot be told by XGROUP CREATE of every version.
                let read = |lines: &mut Vec<String>| lines.retain(|line| !line.contains("XINFO GROUPS"));
                read(&mut found);
                read(&mut expect);
            }
            assert_same(&found, &expect, &what);
            // A second run keeps what is there, or replaces it.
            target.line("SET text changed");
            let kept = tools::transfer(&address(from), &address(to), &options, &mut |_| {}).unwrap();
            assert_eq!((kept.keys, kept.kept), (0, done.keys), "{what}");
            assert_eq!(target.line("GET text"), "changed");
            let options = TransferOptions { replace: true, databases: vec![0], ..options };
            let replaced = tools::transfer(&address(from), &address(to), &options, &mut |_| {}).unwrap();
            assert_eq!(replaced.databases, [(0, done.keys - 4)], "{what}");
            assert_eq!(target.line("GET text"), "in-0");
        }
    }
}

/// Fields that end go to who knows of such; to an older Redis the hash does not go at all, and is named.
#[test]
fn fields_that_end_are_not_made_to_stay() {
    let store = Store::start(None, &[]);
    let mut client = store.client();
    client.line("HSET h stays 1 ends 2 too 3");
    client.line("HPEXPIREAT h 4000000000000 FIELDS 2 ends too");
    client.line("HSET plain f v");
    for by_type in [false, true] {
        let options = TransferOptions { by_type, ..TransferOptions::default() };
        let other = Store::start(None, &[]);
        let done =
            tools::transfer(&address(store.address), &address(other.address), &options, &mut |_| {}).unwrap();
        assert_eq!((done.keys, done.failures), (2, 0), "{:?}", done.failed);
        let ends = other.client().line("HPEXPIRETIME h FIELDS 3 stays ends too");
        assert_eq!(ends, "[:-1 :4000000000000 :4000000000000]", "by type: {by_type}");
        let peer = Peer::start();
        let done =
            tools::transfer(&address(store.address), &address(peer.address), &options, &mut |_| {}).unwrap();
        assert_eq!((done.keys, done.failures), (1, 1), "{:?}", done.failed);
        assert!(done.failed[0].1.contains("Redis from 7.4 on"), "{:?}", done.failed);
        assert_eq!(Client::connect(peer.address).line("KEYS *"), "[plain]");
    }
}

#[test]
fn wrong_ways_are_refused() {
    let store = Store::start(None, &[("requirepass", "secret")]);
    let here = address(store.address);
    let options = TransferOptions::default();
    let fails = |from: &ServerAddress, to: &ServerAddress| {
        tools::transfer(from, to, &options, &mut |_| {}).unwrap_err().to_string()
    };
    let with = |password: &str| ServerAddress::parse(&format!("redis://:{password}@{here}")).unwrap();
    assert!(fails(&here, &here).contains("NOAUTH"));
    assert!(fails(&with("wrong"), &here).contains("WRONGPASS"));
    assert!(fails(&with("secret"), &with("secret")).contains("is to be copied"));
    let nobody = ServerAddress::parse("127.0.0.1:1").unwrap();
    assert!(fails(&nobody, &here).starts_with("127.0.0.1:1: "));
}
