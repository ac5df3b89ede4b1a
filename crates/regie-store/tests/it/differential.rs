//! The same random commands to Debian's redis-server and to the store: the replies must be the same.
//!
//! A sequence follows from its seed, which is printed when replies differ. Commands whose reply depends on chance or
//! on the order of a hash table are compared as sets, or not made.

use crate::faults::wait_for;
use crate::server::{Client, Store, show};
use regie_e2e::free_port;
use regie_resp::Frame;
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};

/// Debian's server on a free port, without files.
pub(crate) struct Peer {
    child: Child,
    pub(crate) address: SocketAddr,
    dir: Option<tempfile::TempDir>,
}

impl Peer {
    pub(crate) fn start() -> Self {
        Self::start_on(tempfile::tempdir().unwrap(), &["--save", ""])
    }

    /// On a folder that may hold data.
    pub(crate) fn start_on(dir: tempfile::TempDir, arguments: &[&str]) -> Self {
        for _ in 0..20 {
            let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
            let place = tempfile::tempdir().unwrap();
            let socket = place.path().join("socket");
            let mut child = Command::new("redis-server")
                .args(["--port", &address.port().to_string(), "--bind", "127.0.0.1", "--daemonize", "no"])
                .arg("--unixsocket")
                .arg(&socket)
                .args(arguments)
                .current_dir(dir.path())
                .stdout(Stdio::null())
                .spawn()
                .expect("the package redis-server is installed");
            // Nobody else answers there, and it is opened after the port.
            let answers = wait_for("redis-server answers or has ended", || {
                let is_open = UnixStream::connect(&socket).is_ok();
                (is_open || child.try_wait().unwrap().is_some()).then_some(is_open)
            });
            if answers {
                return Self { child, address, dir: Some(dir) };
            }
        }
        panic!("redis-server does not start");
    }

    /// Stops it as an operator would; its folder.
    pub(crate) fn stop(mut self) -> tempfile::TempDir {
        let mut client = Client::connect(self.address);
        client.send(&[b"SHUTDOWN"]);
        assert!(client.try_receive().is_none(), "redis-server stops");
        self.child.wait().unwrap();
        self.dir.take().unwrap()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % bound
    }

    fn pick<'a>(&mut self, list: &[&'a str]) -> &'a str {
        list[self.below(list.len())]
    }
}

/// Templates of commands. `K` is a key (of any type: errors are compared too), `V` a value, `N` a small number that may
/// be negative, `F` a decimal, `M` a member, `R` a bound of scores, `X` a bound of names, `I` a stream's id.
const TEMPLATES: &[&str] = &[
    "SET K V",
    "SET K N",
    "SET K V NX",
    "SET K V XX GET",
    "SET K V KEEPTTL",
    "SET K V EX 1000",
    "GET K",
    "GETSET K V",
    "GETDEL K",
    "APPEND K V",
    "STRLEN K",
    "SETRANGE K 3 V",
    "GETRANGE K N N",
    "INCR K",
    "DECR K",
    "INCRBY K N",
    "DECRBY K N",
    "INCRBYFLOAT K F",
    "MSET K V K V",
    "MGET K K K",
    "MSETNX K V K V",
    "SETNX K V",
    "LCS K K",
    "LCS K K IDX WITHMATCHLEN",
    "DEL K",
    "EXISTS K K",
    "TYPE K",
    "RENAME K K",
    "RENAMENX K K",
    "COPY K K",
    "COPY K K REPLACE",
    "PERSIST K",
    "TTL K",
    "EXPIRE K 1000 NX",
    "EXPIRE K 500 GT",
    "EXPIRE K 0",
    "OBJECT ENCODING K",
    "DBSIZE",
    "LPUSH K V V",
    "RPUSH K V V V",
    "LPUSHX K V",
    "RPUSHX K V",
    "LPOP K",
    "RPOP K",
    "LPOP K N",
    "RPOP K 2",
    "LLEN K",
    "LRANGE K N N",
    "LINDEX K N",
    "LSET K N V",
    "LINSERT K BEFORE V V",
    "LINSERT K AFTER V V",
    "LREM K N V",
    "LTRIM K N N",
    "LPOS K V",
    "LPOS K V RANK -1 COUNT 0",
    "LMOVE K K LEFT RIGHT",
    "RPOPLPUSH K K",
    "LMPOP 2 K K RIGHT COUNT 2",
    "BLPOP K K 0.01",
    "HSET K M V M V",
    "HSETNX K M V",
    "HGET K M",
    "HMGET K M M",
    "HDEL K M M",
    "HLEN K",
    "HSTRLEN K M",
    "HEXISTS K M",
    "HINCRBY K M N",
    "HINCRBYFLOAT K M F",
    "HGETALL K",
    "HKEYS K",
    "HVALS K",
    "SADD K M M",
    "SADD K N N",
    "SREM K M",
    "SCARD K",
    "SISMEMBER K M",
    "SMISMEMBER K M M",
    "SMEMBERS K",
    "SMOVE K K M",
    "SINTER K K",
    "SUNION K K",
    "SDIFF K K",
    "SINTERSTORE K K K",
    "SUNIONSTORE K K K",
    "SDIFFSTORE K K K",
    "SINTERCARD 2 K K",
    "ZADD K F M F M",
    "ZADD K NX F M",
    "ZADD K XX CH F M",
    "ZADD K GT F M",
    "ZADD K LT INCR F M",
    "ZINCRBY K F M",
    "ZREM K M",
    "ZCARD K",
    "ZSCORE K M",
    "ZMSCORE K M M",
    "ZRANK K M",
    "ZREVRANK K M",
    "ZRANGE K N N",
    "ZRANGE K N N WITHSCORES REV",
    "ZRANGE K R R BYSCORE LIMIT N N",
    "ZRANGEBYSCORE K R R WITHSCORES",
    "ZREVRANGEBYSCORE K R R LIMIT 1 2",
    "ZLEXCOUNT K X X",
    "ZCOUNT K R R",
    "ZREMRANGEBYRANK K N N",
    "ZREMRANGEBYSCORE K R R",
    "ZPOPMIN K",
    "ZPOPMAX K 2",
    "ZMPOP 2 K K MIN COUNT 2",
    "ZRANGESTORE K K N N",
    "ZUNIONSTORE K 2 K K WEIGHTS F F",
    "ZINTERSTORE K 2 K K AGGREGATE MAX",
    "ZDIFFSTORE K 2 K K",
    "ZUNION 2 K K WITHSCORES",
    "ZINTERCARD 2 K K",
    "ZDIFF 2 K K WITHSCORES",
    "XADD K I M V",
    "XADD K MAXLEN 3 I M V",
    "XADD K NOMKSTREAM I M V",
    "XLEN K",
    "XRANGE K - +",
    "XRANGE K I + COUNT 2",
    "XREVRANGE K + - COUNT 2",
    "XDEL K I",
    "XTRIM K MAXLEN 2",
    "XTRIM K MINID I",
    "XGROUP CREATE K g 0 MKSTREAM",
    "XGROUP CREATE K g $",
    "XGROUP DESTROY K g",
    "XREADGROUP GROUP g c COUNT 2 STREAMS K >",
    "XREADGROUP GROUP g d STREAMS K 0",
    "XACK K g I",
    "XPENDING K g",
    "XREAD COUNT 2 STREAMS K K 0 0",
    "XINFO GROUPS K",
    "SORT K ALPHA",
    "SORT K",
    "SORT K ALPHA DESC LIMIT 0 2",
    "SORT K ALPHA STORE K",
    "MULTI",
    "EXEC",
    "DISCARD",
    "WATCH K",
    "UNWATCH",
    "EVAL S1 1 K",
    "EVAL S2 2 K K V",
    "TOUCH K K",
    "GETEX K PERSIST",
    "MOVE K 3",
    "SELECT 0",
    "NOSUCH K",
    "GET",
    "ZADD K x M",
    "SPOP K 0",
    "SETBIT K 7 1",
    "GETBIT K N",
    "BITCOUNT K",
    "BITCOUNT K N N",
    "BITPOS K 1",
    "BITOP XOR K K K",
    "BITFIELD K INCRBY u5 3 N GET i8 0",
    "PING V",
    "ECHO V",
    "GEOADD K G H M G H M",
    "GEOADD K NX G H M",
    "GEOADD K XX CH G H M",
    "GEODIST K M M",
    "GEODIST K M M mi",
    "GEOHASH K M M M",
    "GEOPOS K M M",
    "GEOSEARCH K FROMLONLAT G H BYRADIUS D km ASC WITHDIST WITHCOORD WITHHASH",
    "GEOSEARCH K FROMLONLAT G H BYBOX D D km DESC COUNT 3",
    "GEOSEARCH K FROMMEMBER M BYBOX D 700 mi ASC WITHDIST",
    "GEOSEARCH K FROMMEMBER M BYRADIUS D ft",
    "GEOSEARCHSTORE K K FROMLONLAT G H BYRADIUS D km ASC",
    "GEOSEARCHSTORE K K FROMLONLAT G H BYRADIUS D km ASC COUNT 2 STOREDIST",
    "GEORADIUS K G H D km ASC WITHCOORD",
    "GEORADIUS K G H D km STORE K",
    "GEORADIUSBYMEMBER K M D km ASC COUNT 2",
    "GEORADIUSBYMEMBER_RO K M D km ASC WITHDIST",
    "PFADD K V V",
    "PFCOUNT K K",
    "PFMERGE K K K",
    "SUBSTR K 0 2",
    "SETEX K 100 V",
    "PSETEX K 100000 V",
    "EXPIREAT K 99999999999",
    "SINTERCARD 2 K K LIMIT 1",
    "ZINTER 2 K K WEIGHTS F F WITHSCORES",
    "ZUNION 2 K K AGGREGATE MIN WITHSCORES",
    "ZRANGEBYLEX K X X",
    "ZREVRANGEBYLEX K X X LIMIT 0 2",
    "ZREMRANGEBYLEX K X X",
    "ZREVRANGE K N N WITHSCORES",
    "ZRANGE K X X BYLEX REV",
    "HRANDFIELD K 0",
    "SRANDMEMBER K 0",
    "ZRANDMEMBER K 0",
    "XAUTOCLAIM K g d 0 0 COUNT 2 JUSTID",
    "XCLAIM K g d 0 I JUSTID",
    "XGROUP CREATECONSUMER K g e",
    "XGROUP DELCONSUMER K g d",
    "XGROUP SETID K g I",
    "XPENDING K g - + 5 d",
    "XINFO STREAM K",
    "XSETID K 99-99",
    "BITFIELD_RO K GET u8 0",
    "SORT_RO K ALPHA LIMIT 0 3",
    "SORT K ALPHA GET # GET k*",
    "BRPOP K 0.01",
    "BLMOVE K K LEFT RIGHT 0.01",
    "BRPOPLPUSH K K 0.01",
    "BLMPOP 0.01 2 K K LEFT",
    "BZPOPMIN K 0.01",
    "BZMPOP 0.01 1 K MAX COUNT 2",
    "COMMAND GETKEYS MSET K V K V",
    "COMMAND GETKEYSANDFLAGS SET K V GET",
    "COMMAND INFO GET nosuch",
    "RESTORE K 0 V",
    "WAIT 0 10",
    "LASTSAVE x",
    "CLUSTER INFO",
    "REPLICAOF NO ONE",
    "ACL SETUSER u on >p ~K +get",
    "ACL SETUSER u %R~K &V",
    "ACL SETUSER u reset +@set -sadd (+@hash ~M)",
    "ACL SETUSER u allkeys %W~K",
    "ACL SETUSER u +config|get -nosuch",
    "ACL SETUSER u on nopass ~* +@all -@dangerous",
    "ACL GETUSER u",
    "ACL LIST",
    "ACL USERS",
    "ACL WHOAMI",
    "ACL DRYRUN u GET K",
    "ACL DRYRUN u SET K V GET",
    "ACL DRYRUN u SUNIONSTORE K K K",
    "ACL DRYRUN u CONFIG GET V",
    "ACL DRYRUN u PUBLISH V V",
    "ACL DRYRUN v GET K",
    "ACL DELUSER u",
    "ACL CAT nosuch",
    "ACL GENPASS 0",
    "LRANGE K 0 -1",
    "HGETALL K",
    "ZRANGE K 0 -1 WITHSCORES",
];

const S1: &str = "return {redis.call('TYPE', KEYS[1]).ok, redis.call('EXISTS', KEYS[1])}";
const S2: &str = "local a = redis.pcall('RPUSH', KEYS[1], ARGV[1]) if type(a) == 'table' then return a end return {a, redis.call('LLEN', KEYS[1]), redis.pcall('GET', KEYS[2])}";

const S3: &str = "local t = {uuid = ARGV[1], n = tonumber(ARGV[2]), list = {}, deep = {a = {1, 2, {b = false}}}} t[ARGV[3]] = 1/3 local s = cjson.encode(t) local d = cjson.decode(s) d.attempts = 1 return {s, cjson.encode(d), cmsgpack.pack(d), redis.sha1hex(s), bit.tohex(-1), tostring(1e15), 3.99}";

fn fill(template: &str, random: &mut Random) -> Vec<Vec<u8>> {
    let mut words: Vec<Vec<u8>> = Vec::new();
    for word in template.split(' ') {
        let word = match word {
            "K" => random.pick(&["a", "b", "c", "d", "e", "f"]).to_owned(),
            "V" => random
                .pick(&["x", "y", "10", "-3", "hello world", "", "3.5", "a longer value than fits inline"])
                .to_owned(),
            "N" => random.pick(&["0", "1", "2", "-1", "-2", "5", "100"]).to_owned(),
            "F" => random.pick(&["1", "2.5", "-1", "0", "1e3", "inf", "-0.5", "3"]).to_owned(),
            "M" => random.pick(&["m", "n", "o", "p", "1", "2"]).to_owned(),
            "R" => random.pick(&["-inf", "+inf", "0", "(1", "2.5", "3"]).to_owned(),
            "X" => random.pick(&["-", "+", "[m", "(n", "[o", "(z"]).to_owned(),
            "I" => random.pick(&["1-1", "2-0", "2-*", "3-5", "7-1", "9"]).to_owned(),
            "G" => {
                random.pick(&["13.361389", "15.087269", "-122.4", "2.35", "179.9", "-179.9", "0"]).to_owned()
            }
            "H" => random.pick(&["38.115556", "37.502669", "48.85", "-33.9", "70.1", "85", "0"]).to_owned(),
            "D" => random.pick(&["1", "200", "1000", "7000", "20000", "0"]).to_owned(),
            "S1" => S1.to_owned(),
            "S2" => S2.to_owned(),
            "S3" => S3.to_owned(),
            other => other.to_owned(),
        };
        words.push(word.into_bytes());
    }
    words
}

/// Whether the order of the reply's elements is the table's own affair.
fn is_unordered(name: &[u8]) -> bool {
    [&b"SMEMBERS"[..], b"SINTER", b"SUNION", b"SDIFF", b"HKEYS", b"HVALS", b"HGETALL"].contains(&name)
}

fn normal(frame: &Frame, name: &[u8]) -> String {
    match frame {
        Frame::Array(items) | Frame::Set(items) if is_unordered(name) => {
            let mut shown: Vec<String> = items.iter().map(show).collect();
            shown.sort();
            shown.join("|")
        }
        // How long ago a message was delivered is each side's own moment: entry, consumer and deliveries are compared.
        Frame::Array(items) if name == b"XPENDING" => items
            .iter()
            .map(|item| match item {
                Frame::Array(entry) if entry.len() == 4 && matches!(entry[2], Frame::Integer(_)) => {
                    show(&Frame::Array(vec![entry[0].clone(), entry[1].clone(), entry[3].clone()]))
                }
                other => show(other),
            })
            .collect::<Vec<_>>()
            .join(" "),
        // A time to live is each side's own moment, too: less than a minute after it was set. None comes near another.
        Frame::Integer(left) if name == b"TTL" => {
            let set = [100, 500, 1000].into_iter().find(|set| (set - 59..=*set).contains(left));
            set.map_or_else(|| show(frame), |set| format!("of {set}"))
        }
        // Single commands in a description of rules stand in the order of Redis's hash table.
        other if name == b"ACL" => {
            let text = show(other).replace(['[', ']', '(', ')'], " ");
            let mut words: Vec<&str> = text.split_whitespace().collect();
            words.sort_unstable();
            words.join(" ")
        }
        other => show(other),
    }
}

fn run_sequence(seed: u64, length: usize, peer: &mut Client, store: &mut Client) {
    let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    for client in [&mut *peer, &mut *store] {
        client.line("DISCARD");
        client.line("FLUSHALL");
        client.line("ACL DELUSER u");
    }
    let mut history: Vec<String> = Vec::new();
    let mut queued: Vec<Vec<u8>> = Vec::new();
    for _ in 0..length {
        let words = fill(TEMPLATES[random.below(TEMPLATES.len())], &mut random);
        let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
        history.push(
            words.iter().map(|w| format!("{:?}", String::from_utf8_lossy(w))).collect::<Vec<_>>().join(" "),
        );
        let (expect, found) = (peer.call(&words), store.call(&words));
        if show(&expect) == "QUEUED" {
            queued.push(words[0].to_vec());
        }
        let same = match (&expect, &found) {
            (Frame::Array(a), Frame::Array(b)) if words[0] == b"EXEC" && a.len() == b.len() => {
                a.iter().zip(b).zip(&queued).all(|((a, b), name)| normal(a, name) == normal(b, name))
            }
            // Which encoding a big command leaves behind is Redis's own affair for sorted sets.
            (Frame::Bulk(a), Frame::Bulk(_))
                if words[0] == b"OBJECT" && (a == b"skiplist" || a == b"listpack") =>
            {
                true
            }
            _ => normal(&expect, words[0]) == normal(&found, words[0]),
        };
        if words[0] == b"EXEC" || words[0] == b"DISCARD" {
            queued.clear();
        }
        let last: Vec<&String> = history.iter().rev().take(25).collect();
        assert!(
            same,
            "seed {seed}\nredis: {}\nstore: {}\nlast first: {last:#?}",
            show(&expect),
            show(&found)
        );
    }
}

#[test]
fn random_sequences_get_the_same_replies_as_from_redis() {
    let (peer, store) = (Peer::start(), Store::start(None, &[]));
    let (mut peer_client, mut store_client) = (Client::connect(peer.address), store.client());
    let sequences: u64 =
        std::env::var("REGIE_STORE_SEQUENCES").ok().and_then(|n| n.parse().ok()).unwrap_or(60);
    let first: u64 = std::env::var("REGIE_STORE_SEED").ok().and_then(|n| n.parse().ok()).unwrap_or(1);
    for seed in first..first + sequences {
        run_sequence(seed, 300, &mut peer_client, &mut store_client);
    }
}

#[test]
fn each_reads_what_the_other_has_counted() {
    let (peer, store) = (Peer::start(), Store::start(None, &[]));
    let (mut peer, mut store) = (Client::connect(peer.address), store.client());
    for size in [3, 200, 5000] {
        for index in 0..size {
            let element = format!("element {index}").into_bytes();
            assert_eq!(peer.call(&[b"PFADD", b"h", &element]), store.call(&[b"PFADD", b"h", &element]));
        }
        let expect = peer.line("PFCOUNT h");
        assert_eq!(store.line("PFCOUNT h"), expect);
        let (theirs, ours) = (peer.call(&[b"GET", b"h"]), store.call(&[b"GET", b"h"]));
        let (Frame::Bulk(theirs), Frame::Bulk(ours)) = (theirs, ours) else { panic!("no strings") };
        store.call(&[b"SET", b"from-redis", &theirs]);
        peer.call(&[b"SET", b"from-store", &ours]);
        assert_eq!(store.line("PFCOUNT from-redis"), expect);
        assert_eq!(peer.line("PFCOUNT from-store"), expect);
    }
}

#[test]
fn a_value_dumped_by_redis_is_restored() {
    let (peer, store) = (Peer::start(), Store::start(None, &[]));
    let (mut peer, mut store) = (Client::connect(peer.address), store.client());
    for line in [
        "RPUSH list a 1 -5 70000 a-string-that-is-longer-than-the-others",
        "SADD ints 1 2 300000",
        "SADD set a b c",
        "HSET hash a 1 b two c 3.5",
        "ZADD zset 1 a 2.5 b -3 c",
        "SET text hello",
        "SET long aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        "SET number 12345",
    ] {
        peer.line(line);
    }
    for (key, read) in [
        ("list", "LRANGE list 0 -1"),
        ("ints", "SORT ints"),
        ("set", "SORT set ALPHA"),
        ("hash", "HGETALL hash"),
        ("zset", "ZRANGE zset 0 -1 WITHSCORES"),
        ("text", "GET text"),
        ("long", "GET long"),
        ("number", "GET number"),
    ] {
        let Frame::Bulk(dump) = peer.call(&[b"DUMP", key.as_bytes()]) else { panic!("no dump of {key}") };
        assert_eq!(show(&store.call(&[b"RESTORE", key.as_bytes(), b"0", &dump])), "OK", "{key}");
        let expect = peer.line(read);
        assert_eq!(store.line(read), expect);
        // And back.
        let Frame::Bulk(dump) = store.call(&[b"DUMP", key.as_bytes()]) else { panic!("no dump of {key}") };
        assert_eq!(show(&peer.call(&[b"RESTORE", key.as_bytes(), b"0", &dump, b"REPLACE"])), "OK", "{key}");
        assert_eq!(peer.line(read), expect);
    }
}

/// A redis-server that follows the store gets its data and every change after.
#[test]
fn a_redis_follows_the_store() {
    let (peer, store) = (Peer::start(), Store::start(None, &[]));
    let (mut replica, mut client) = (Client::connect(peer.address), store.client());
    for line in [
        "SET text hello",
        "SET brief x PX 1000000",
        "RPUSH list a b 3",
        "SADD set a b",
        "HSET hash f v",
        "ZADD zset 1.5 a",
        "SELECT 3",
        "SET elsewhere 1",
        "SELECT 0",
    ] {
        client.line(line);
    }
    let address = store.address;
    replica.line(&format!("REPLICAOF {} {}", address.ip(), address.port()));
    // WAIT answers once a replica has everything.
    assert_eq!(client.line("WAIT 1 100000"), ":1");
    let mut listener = Client::connect(peer.address);
    assert!(listener.line("SUBSCRIBE news").starts_with("[subscribe"));
    for line in [
        "SET later 1",
        "MULTI",
        "INCR later",
        "SPOP set 1",
        "EXEC",
        "EXPIRE text 100000",
        "PUBLISH news hello",
        // Consumers come to be with what they are given, without an acknowledgement, and with nothing at all.
        "XADD stream 1-1 f v",
        "XADD stream 1-2 f v",
        "XGROUP CREATE stream g 0",
        "XREADGROUP GROUP g given COUNT 1 STREAMS stream >",
        "XREADGROUP GROUP g trusted COUNT 1 NOACK STREAMS stream >",
        "XREADGROUP GROUP g idle COUNT 1 STREAMS stream >",
    ] {
        client.line(line);
    }
    assert_eq!(client.line("WAIT 1 100000"), ":1");
    assert_eq!(show(&listener.receive()), "[message news hello]");
    for line in [
        "GET text",
        "GET later",
        "LRANGE list 0 -1",
        "SMEMBERS set",
        "HGETALL hash",
        "ZRANGE zset 0 -1 WITHSCORES",
        "PEXPIRETIME brief",
        "PEXPIRETIME text",
        "XPENDING stream g",
        "XINFO GROUPS stream",
        "DBSIZE",
    ] {
        assert_eq!(replica.line(line), client.line(line), "{line}");
    }
    // One delivery on both sides; the third field is how long ago it was, which each side reads at its own moment.
    for side in [&mut replica, &mut client] {
        let pending = side.line("XPENDING stream g - + 10 given");
        assert!(pending.starts_with("[[1-1 given :") && pending.ends_with(" :1]]"), "{pending}");
    }
    assert!(client.line("INFO replication").contains("connected_slaves:1"));
    assert!(client.line("ROLE").contains(&peer.address.port().to_string()));
}
