//! Commands by their public documentation, in tables: a line in, a reply out.

use crate::server::{Store, show};

/// Runs the lines in order on a fresh store.
fn check(lines: &[(&str, &str)]) {
    let store = Store::start(None, &[]);
    let mut client = store.client();
    for (line, expect) in lines {
        assert_eq!(client.line(line), *expect, "{line}");
    }
}

#[test]
fn strings() {
    check(&[
        // In one moment.
        ("MULTI", "OK"),
        ("SET k 10 EX 100", "QUEUED"),
        ("TTL k", "QUEUED"),
        ("EXEC", "[OK :100]"),
        ("INCRBY k 5", ":15"),
        ("INCRBYFLOAT k 0.1", "15.1"),
        ("APPEND k x", ":5"),
        ("INCR k", "-ERR value is not an integer or out of range"),
        ("GETRANGE k 0 1", "15"),
        ("SETRANGE z 3 ab", ":5"),
        ("SET k v NX", "nil"),
        ("SET k v XX GET", "15.1x"),
        ("SET k v EX 0", "-ERR invalid expire time in 'set' command"),
        ("SET k v FOO", "-ERR syntax error"),
        ("MSET a 1 b 2", "OK"),
        ("MGET a b none", "[1 2 nil]"),
        ("MSETNX a 3 c 4", ":0"),
        ("GETDEL a", "1"),
        ("GETEX b PERSIST", "2"),
        ("LCS a b LEN", ":0"),
        ("GET", "-ERR wrong number of arguments for 'get' command"),
        ("LPUSH l x", ":1"),
        ("GET l", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
        ("NOSUCH a b", "-ERR unknown command 'NOSUCH', with args beginning with: 'a' 'b' "),
    ]);
}

#[test]
fn fields_that_end() {
    const FAR: i64 = 4_000_000_000;
    let (at, at_ms) = (format!("[:{FAR}]"), format!("[:{}]", FAR * 1000));
    check(&[
        ("HSET h a 1 b 2 c 3 n 5", ":4"),
        ("HEXPIREAT h 4000000000 FIELDS 2 a none", "[:1 :-2]"),
        ("HEXPIRETIME h FIELDS 1 a", &at),
        ("HPEXPIRETIME h FIELDS 1 a", &at_ms),
        ("HEXPIRETIME h FIELDS 2 b none", "[:-1 :-2]"),
        ("HTTL none FIELDS 2 a b", "[:-2 :-2]"),
        ("OBJECT ENCODING h", "listpackex"),
        ("HPEXPIREAT h 4000000000001 NX FIELDS 2 a b", "[:0 :1]"),
        ("HPEXPIREAT h 4000000000002 XX FIELDS 2 a c", "[:1 :0]"),
        ("HPEXPIREAT h 4000000000002 GT FIELDS 3 a b c", "[:0 :1 :0]"),
        ("HPEXPIREAT h 4000000000001 lt fields 3 a b c", "[:1 :1 :1]"),
        ("HPEXPIRETIME h FIELDS 3 a b c", "[:4000000000001 :4000000000001 :4000000000001]"),
        // Seconds are rounded up.
        ("HEXPIRETIME h FIELDS 1 a", "[:4000000001]"),
        ("MULTI", "OK"),
        ("HEXPIRE h 100 FIELDS 1 n", "QUEUED"),
        ("HTTL h FIELDS 1 n", "QUEUED"),
        ("EXEC", "[[:1] [:100]]"),
        ("HPEXPIREAT h 4000000000001 FIELDS 1 n", "[:1]"),
        // What changes the value leaves the end, what sets it takes the end away.
        ("HINCRBY h n 2", ":7"),
        ("HINCRBYFLOAT h n 0.5", "7.5"),
        ("HSETNX h n 1", ":0"),
        ("HSET h a 9", ":0"),
        ("HPEXPIRETIME h FIELDS 2 n a", "[:4000000000001 :-1]"),
        ("COPY h copy", ":1"),
        ("RENAME copy named", "OK"),
        ("HPEXPIRETIME named FIELDS 2 n a", "[:4000000000001 :-1]"),
        ("HPERSIST h FIELDS 4 n a none b", "[:1 :-1 :-2 :1]"),
        ("HPERSIST none FIELDS 1 a", "[:-2]"),
        ("HPERSIST h FIELDS 1 c", "[:1]"),
        ("OBJECT ENCODING h", "listpack"),
        // A time that has passed deletes, and an empty hash is none.
        ("HPEXPIRE h 0 FIELDS 2 a a", "[:2 :-2]"),
        ("HEXPIREAT h 1 FIELDS 3 b c n", "[:2 :2 :2]"),
        ("EXISTS h", ":0"),
        ("SET s v", "OK"),
        ("HEXPIRE s 1 FIELDS 1 a", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
        ("HTTL s FIELDS 1 a", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
        ("HEXPIRE k x FIELDS 1 a", "-ERR value is not an integer or out of range"),
        ("HEXPIRE k -1 FIELDS 1 a", "-ERR invalid expire time, must be >= 0"),
        ("HPEXPIREAT k 70368744177664 FIELDS 1 a", "-ERR invalid expire time in 'hpexpireat' command"),
        ("HEXPIRE k 9223372036854775807 FIELDS 1 a", "-ERR invalid expire time in 'hexpire' command"),
        ("HEXPIRE k 1 GOLD 1 a", "-ERR Mandatory argument FIELDS is missing or not at the right position"),
        ("HEXPIRE k 1 FIELDS 0 a", "-ERR Parameter `numFields` should be greater than 0"),
        ("HEXPIRE k 1 FIELDS 2 a", "-ERR The `numfields` parameter must match the number of arguments"),
        ("HTTL k FIELDS x a", "-ERR Number of fields must be a positive integer"),
        ("HTTL k FIELDS 1", "-ERR wrong number of arguments for 'httl' command"),
    ]);
}

#[test]
fn lists_hashes_and_sets() {
    check(&[
        ("RPUSH l a b c d", ":4"),
        ("LRANGE l 1 -2", "[b c]"),
        ("LPOS l c", ":2"),
        ("LINSERT l BEFORE c x", ":5"),
        ("LREM l 0 x", ":1"),
        ("LTRIM l 1 2", "OK"),
        ("LMOVE l m LEFT RIGHT", "b"),
        ("LMPOP 2 none m LEFT COUNT 2", "[m [b]]"),
        ("LPOP l 5", "[c]"),
        ("EXISTS l m", ":0"),
        ("HSET h a 1 b 2", ":2"),
        ("HGETALL h", "[a 1 b 2]"),
        ("HINCRBY h a 4", ":5"),
        ("HINCRBYFLOAT h b 0.5", "2.5"),
        ("HDEL h a b", ":2"),
        ("TYPE h", "none"),
        ("SADD s 3 1 2", ":3"),
        ("OBJECT ENCODING s", "intset"),
        ("SMEMBERS s", "[1 2 3]"),
        ("SADD t 2 3 4", ":3"),
        ("SINTER s t", "[2 3]"),
        ("SDIFFSTORE d s t", ":1"),
        ("SINTERCARD 2 s t LIMIT 1", ":1"),
        ("SMISMEMBER s 1 9", "[:1 :0]"),
    ]);
}

#[test]
fn sorted_sets_and_streams() {
    check(&[
        ("ZADD z 1 a 2 b 3 c", ":3"),
        ("ZADD z GT CH 5 a 1 b", ":1"),
        ("ZRANGE z 0 -1 WITHSCORES", "[b 2 c 3 a 5]"),
        ("ZRANGE z (2 +inf BYSCORE LIMIT 0 1", "[c]"),
        ("ZREVRANGEBYSCORE z 5 3", "[a c]"),
        ("ZRANK z a", ":2"),
        ("ZINCRBY z 1.5 b", "3.5"),
        ("ZPOPMIN z", "[c 3]"),
        ("ZADD y 1 a 1 b", ":2"),
        ("ZUNIONSTORE u 2 z y WEIGHTS 1 2 AGGREGATE MAX", ":2"),
        ("ZSCORE u a", "5"),
        ("ZRANGEBYLEX y [a (b", "[a]"),
        ("XADD x 1-1 f v", "1-1"),
        ("XADD x 1-* f w", "1-2"),
        (
            "XADD x 1-1 f v",
            "-ERR The ID specified in XADD is equal or smaller than the target stream top item",
        ),
        ("XGROUP CREATE x g 0", "OK"),
        ("XREADGROUP GROUP g c COUNT 1 STREAMS x >", "[[x [[1-1 [f v]]]]]"),
        ("XPENDING x g", "[:1 1-1 1-1 [[c 1]]]"),
        ("XACK x g 1-1", ":1"),
        ("XRANGE x - + COUNT 1", "[[1-1 [f v]]]"),
        ("XTRIM x MAXLEN 1", ":1"),
        ("XLEN x", ":1"),
        (
            "XREADGROUP GROUP none c STREAMS x >",
            "-NOGROUP No such key 'x' or consumer group 'none' in XREADGROUP with GROUP option",
        ),
        // A deletion makes the lag uncertain until what lies before it has been trimmed too.
        ("XADD y2 1 f v", "1-0"),
        ("XADD y2 2 f v", "2-0"),
        ("XADD y2 3 f v", "3-0"),
        ("XDEL y2 2", ":1"),
        ("XGROUP CREATE y2 g 0", "OK"),
        (
            "XINFO GROUPS y2",
            "[[name g consumers :0 pending :0 last-delivered-id 0-0 entries-read nil lag nil]]",
        ),
        ("XTRIM y2 MINID 3", ":1"),
        (
            "XINFO GROUPS y2",
            "[[name g consumers :0 pending :0 last-delivered-id 0-0 entries-read nil lag :1]]",
        ),
    ]);
}

#[test]
fn transactions_and_scripts() {
    check(&[
        ("MULTI", "OK"),
        ("SET a 1", "QUEUED"),
        ("INCR a", "QUEUED"),
        ("EXEC", "[OK :2]"),
        ("WATCH a", "OK"),
        ("SET a 9", "OK"),
        ("MULTI", "OK"),
        ("GET a", "QUEUED"),
        ("EXEC", "nil"),
        ("MULTI", "OK"),
        ("NOSUCH", "-ERR unknown command 'NOSUCH', with args beginning with: "),
        ("EXEC", "-EXECABORT Transaction discarded because of previous errors."),
        ("EVAL return{KEYS[1],ARGV[1],3.9,false,{1,nil,2}} 1 k v", "[k v :3 nil [:1]]"),
        ("EVAL return{ok='fine'} 0", "fine"),
        ("EVAL return{err='MY'} 0", "-MY"),
        ("EVAL return(cjson.encode({'x/y',12345678901234567,{}})) 0", "[\"x\\/y\",1.2345678901235e+16,{}]"),
        ("EVAL return(cjson.encode(cjson.decode('[]'))) 0", "{}"),
        ("EVAL return(redis.sha1hex('')) 0", "da39a3ee5e6b4b0d3255bfef95601890afd80709"),
        ("EVAL return(redis.pcall('nosuch').err) 0", "ERR Unknown Redis command called from script"),
        (
            "EVALSHA ffffffffffffffffffffffffffffffffffffffff 0",
            "-NOSCRIPT No matching script. Please use EVAL.",
        ),
        ("EVAL return(bit.band(7,10)+#cmsgpack.pack({1,2})) 0", ":5"),
    ]);
}

/// A word about caching holds to the next command that is none of CLIENT's.
#[test]
fn caching_is_said_for_one_command() {
    let told = |flags: &str| format!("[flags {flags} redirect :0 prefixes []]");
    let (optin, yes) = (told("[on optin]"), told("[on optin caching-yes]"));
    check(&[
        ("CLIENT TRACKING ON OPTIN", "OK"),
        ("CLIENT CACHING YES", "OK"),
        ("CLIENT TRACKINGINFO", &yes),
        ("CLIENT GETNAME", "nil"),
        ("CLIENT TRACKINGINFO", &yes),
        ("GET k", "nil"),
        ("CLIENT TRACKINGINFO", &optin),
        ("CLIENT CACHING YES", "OK"),
        ("MULTI", "OK"),
        ("GET k", "QUEUED"),
        ("EXEC", "[nil]"),
        ("CLIENT TRACKINGINFO", &optin),
    ]);
}

#[test]
fn those_who_wait_are_served_in_the_order_they_came() {
    let store = Store::start(None, &[]);
    let mut waiters: Vec<_> = (0..3).map(|_| store.client()).collect();
    let mut pusher = store.client();
    for (index, waiter) in waiters.iter_mut().enumerate() {
        waiter.send(&[b"BLPOP", b"l", b"600"]);
        while !pusher.line("INFO clients").contains(&format!("blocked_clients:{}", index + 1)) {}
    }
    assert_eq!(pusher.line("RPUSH l a b c"), ":3");
    for (waiter, expect) in waiters.iter_mut().zip(["[l a]", "[l b]", "[l c]"]) {
        assert_eq!(crate::server::show(&waiter.receive()), expect);
    }
    waiters[0].send(&[b"BLPOP", b"l", b"0.05"]);
    assert_eq!(crate::server::show(&waiters[0].receive()), "nil");
}

#[test]
fn messages_reach_those_who_listen() {
    let store = Store::start(None, &[("notify-keyspace-events", "KEA")]);
    let (mut listener, mut sender) = (store.client(), store.client());
    assert_eq!(listener.line("SUBSCRIBE c"), "[subscribe c :1]");
    assert_eq!(listener.line("PSUBSCRIBE __key*__:*"), "[psubscribe __key*__:* :2]");
    assert_eq!(sender.line("PUBLISH c hello"), ":1");
    assert_eq!(crate::server::show(&listener.receive()), "[message c hello]");
    assert_eq!(sender.line("SET k v"), "OK");
    assert_eq!(crate::server::show(&listener.receive()), "[pmessage __key*__:* __keyspace@0__:k set]");
    assert_eq!(crate::server::show(&listener.receive()), "[pmessage __key*__:* __keyevent@0__:set k]");
    assert!(listener.line("GET k").starts_with("-ERR Can't execute 'get'"));
}

#[test]
fn a_password_is_asked_for() {
    let store = Store::start(None, &[("requirepass", "secret")]);
    let mut client = store.client();
    assert_eq!(client.line("GET a"), "-NOAUTH Authentication required.");
    assert_eq!(client.line("AUTH wrong"), "-WRONGPASS invalid username-password pair or user is disabled.");
    assert_eq!(client.line("AUTH default secret"), "OK");
    assert_eq!(client.line("GET a"), "nil");
    let mut stranger = store.client();
    stranger.send_raw(b"*11\r\n");
    let reply = crate::server::show(&stranger.receive());
    assert_eq!(reply, "-ERR Protocol error: unauthenticated multibulk length");
    assert!(stranger.try_receive().is_none());
}

#[test]
fn what_is_too_big_is_refused_and_the_policy_makes_room() {
    let store = Store::start(None, &[("maxmemory", "2mb")]);
    let mut client = store.client();
    let value = vec![b'x'; 1000];
    let mut refused = None;
    for index in 0..4000 {
        let reply = client.call(&[b"SET", format!("k{index}").as_bytes(), &value]);
        if let regie_resp::Frame::Error(text) = reply {
            refused = Some(String::from_utf8(text).unwrap());
            break;
        }
    }
    assert_eq!(refused.as_deref(), Some("OOM command not allowed when used memory > 'maxmemory'."));
    assert_eq!(client.line("CONFIG SET maxmemory-policy allkeys-lru"), "OK");
    for index in 0..4000 {
        let reply = client.call(&[b"SET", format!("k{index}").as_bytes(), &value]);
        assert_eq!(crate::server::show(&reply), "OK");
    }
    assert!(client.line("INFO stats").contains("evicted_keys:"));
}

#[test]
fn newer_clients_say_what_they_are() {
    check(&[
        ("CLIENT SETINFO LIB-NAME predis", "OK"),
        ("CLIENT SETINFO lib-ver 3.0.1", "OK"),
        (
            "CLIENT SETINFO LIB-NAME a\nb",
            "-ERR lib-name cannot contain spaces, newlines or special characters.",
        ),
        ("CLIENT SETINFO LIB x", "-ERR Unrecognized option 'LIB'"),
        ("CLIENT NO-EVICT ON", "OK"),
        ("CLIENT NO-TOUCH MAYBE", "-ERR syntax error"),
    ]);
    let store = Store::start(None, &[]);
    let mut client = store.client();
    client.line("CLIENT SETINFO LIB-NAME predis");
    client.line("CLIENT SETINFO LIB-VER 3.0.1");
    assert!(client.line("CLIENT INFO").trim().ends_with("lib-name=predis lib-ver=3.0.1"));
    assert!(store.client().line("CLIENT INFO").trim().ends_with("lib-name= lib-ver="));
    client.line("RESET");
    assert!(client.line("CLIENT LIST").contains("lib-name=predis"), "the library stays the same");
}

/// What is read with NO-TOUCH stays as unused as it was, and TOUCH counts all the same.
#[test]
fn reads_of_a_client_that_touches_nothing_do_not_count() {
    // A minute that ends meanwhile takes nothing away.
    let policy = [("maxmemory-policy", "allkeys-lfu"), ("lfu-log-factor", "0"), ("lfu-decay-time", "0")];
    let store = Store::start(None, &policy);
    let mut client = store.client();
    client.line("SET k v");
    assert_eq!(client.line("CLIENT NO-TOUCH ON"), "OK");
    assert!(client.line("CLIENT INFO").contains("flags=T "));
    let before = client.line("OBJECT FREQ k");
    for line in ["GET k", "APPEND k x", "STRLEN k"] {
        client.line(line);
        assert_eq!(client.line("OBJECT FREQ k"), before, "{line}");
    }
    client.line("TOUCH k");
    assert_ne!(client.line("OBJECT FREQ k"), before);
    client.line("CLIENT NO-TOUCH OFF");
    let touched = client.line("OBJECT FREQ k");
    client.line("GET k");
    assert_ne!(client.line("OBJECT FREQ k"), touched);
}

/// MEMORY STATS names what Redis names, in the same forms.
#[test]
fn memory_is_told_as_redis_tells_it() {
    use crate::differential::Peer;
    use crate::server::Client;
    use regie_resp::Frame;
    fn shape(frame: &Frame) -> String {
        match frame {
            Frame::Map(pairs) => {
                let pairs: Vec<String> =
                    pairs.iter().map(|(name, value)| format!("{}:{}", show(name), shape(value))).collect();
                format!("{{{}}}", pairs.join(" "))
            }
            Frame::Integer(_) => "integer".into(),
            Frame::Double(_) => "double".into(),
            other => show(other),
        }
    }
    let (peer, store) = (Peer::start(), Store::start(None, &[]));
    let shapes = [Client::connect(peer.address), store.client()].map(|mut client| {
        client.line("HELLO 3");
        client.line("SET k v EX 1000");
        client.line("SELECT 3");
        client.line("SET k v");
        shape(&client.call(&[b"MEMORY", b"STATS"]))
    });
    assert_eq!(shapes[0], shapes[1]);
    let mut client = store.client();
    assert!(client.line("MEMORY DOCTOR").contains("too little data"));
    assert_eq!(client.line("MEMORY PURGE"), "OK");
    let value = "v".repeat(1 << 20);
    for n in 0..8 {
        client.line(&format!("SET k{n} {value}"));
    }
    assert!(!client.line("MEMORY DOCTOR").contains("too little data"));
}
