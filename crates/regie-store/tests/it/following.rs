//! The store as a replica: of Debian's redis-server, and of another store.

use crate::differential::Peer;
use crate::faults::wait_for;
use crate::moving::{assert_same, fill, picture};
use crate::server::{Client, Store};
use std::net::SocketAddr;

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    wait_for(what, || holds().then_some(()));
}

fn info(client: &mut Client, field: &str) -> String {
    let text = client.line("INFO");
    let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    line.unwrap_or_default().trim_end().to_owned()
}

fn follow(replica: &mut Client, leader: SocketAddr) {
    assert_eq!(replica.line(&format!("REPLICAOF {} {}", leader.ip(), leader.port())), "OK");
}

fn wait_for_link(replica: &mut Client) {
    wait_until("the link comes up", || info(replica, "master_link_status") == "up");
}

/// Waits until a replica has all that the leader has written.
fn wait_for_changes(leader: &mut Client) {
    leader.line("SET last change");
    assert_eq!(leader.line("WAIT 1 100000"), ":1");
}

/// A Redis that sends copies at once.
fn redis(arguments: &[&str]) -> Peer {
    let more = [&["--save", "", "--repl-diskless-sync-delay", "0"], arguments].concat();
    Peer::start_on(tempfile::tempdir().unwrap(), &more)
}

/// Changes of every kind: what is decided by chance or by the time, in transactions, scripts and other databases.
const CHANGES: &[&str] = &[
    "SET counter 5",
    "INCRBY counter 37",
    "INCRBYFLOAT float 0.1",
    "SPOP big-set 3",
    "EXPIRE int 100000",
    "SET brief x EX 100000",
    "GETEX brief PERSIST",
    "MULTI",
    "LPUSH list first",
    "SELECT 9",
    "SET made there",
    "SELECT 0",
    "EXEC",
    "EVAL redis.call('set','by-script',ARGV[1])return(redis.call('zadd','zset',7,'seven')) 1 zset made",
    "XADD stream * f v",
    "XTRIM big-stream MAXLEN 100",
    // XREADGROUP is not among them: a Redis does not tell its replicas how many entries a group has read.
    "XCLAIM stream readers carol 0 7-0",
    "RENAME wide-hash renamed",
    "COPY hash copied DB 3",
    "SETBIT bits 100 1",
    "PFADD hll g",
    "GEOADD places 13.4 52.5 Berlin",
    "LMOVE list long-list LEFT RIGHT",
    "DEL noise",
];

/// From a leader that was filled: the copy, the changes, what a replica refuses, and what it keeps when it is on its
/// own.
fn check_following(leader: &mut Client, place: SocketAddr, what: &str) {
    fill(leader);
    let dir = tempfile::tempdir().unwrap();
    let settings = [("appendonly", "yes"), ("appendfsync", "no")];
    let store = Store::start(Some(dir.path()), &settings);
    let mut replica = store.client();
    replica.line("SET what-was here-before");
    let mut waiter = store.client();
    waiter.send(&[b"BLPOP", b"nothing", b"0"]);
    wait_until("a client waits", || info(&mut replica, "blocked_clients") == "1");
    follow(&mut replica, place);
    let refused = waiter.try_receive().map(|reply| crate::server::show(&reply)).unwrap_or_default();
    assert!(refused.starts_with("-UNBLOCKED"), "{refused}");
    wait_for_link(&mut replica);
    assert_eq!(replica.line("EXISTS what-was"), ":0", "the copy takes the place of all");
    for line in CHANGES {
        let reply = leader.line(line);
        assert!(!reply.starts_with('-'), "{what}: {line}: {reply}");
    }
    wait_for_changes(leader);
    let expect = picture(leader);
    let role = replica.line("ROLE");
    assert!(role.starts_with(&format!("[slave {} :{} connected :", place.ip(), place.port())), "{role}");
    assert!(leader.line("ROLE").contains(&store.address.port().to_string()));
    for (line, reply) in [
        ("SET a b", "-READONLY You can't write against a read only replica."),
        (
            "EVAL return(redis.call('set','a','b')) 0",
            "-READONLY You can't write against a read only replica.",
        ),
        ("FCALL twice 0 21", "-READONLY You can't write against a read only replica."),
        ("WAIT 0 0", "-ERR WAIT cannot be used with replica instances."),
    ] {
        assert!(replica.line(line).starts_with(reply), "{line}: {}", replica.line(line));
    }
    assert_eq!(info(&mut replica, "unexpected_error_replies"), "0");
    assert_eq!(replica.line("REPLICAOF NO ONE"), "OK");
    assert_same(&picture(&mut replica), &expect, what);
    assert_eq!(replica.line("SET a b"), "OK");
    assert_eq!(replica.line("DEL a"), ":1");
    assert!(replica.line("ROLE").starts_with("[master"));
    drop((replica, waiter, store));
    let store = Store::start(Some(dir.path()), &settings);
    assert_same(&picture(&mut store.client()), &expect, &format!("{what}, after a restart"));
}

#[test]
fn the_store_follows_a_redis() {
    for (arguments, what) in [
        (&[][..], "sent as it is made"),
        (&["--repl-diskless-sync", "no"], "sent from a file"),
        (&["--rdbcompression", "no", "--rdbchecksum", "no"], "without a checksum"),
    ] {
        let peer = redis(arguments);
        check_following(&mut Client::connect(peer.address), peer.address, what);
    }
}

#[test]
fn the_store_follows_a_store() {
    let leader = Store::start(None, &[]);
    check_following(&mut leader.client(), leader.address, "a store");
}

/// A link that is cut is taken up where it ended if the leader still has what was missed, else with a new copy.
#[test]
fn a_lost_link_is_taken_up_again() {
    let (peer, leading) = (redis(&[]), Store::start(None, &[]));
    for (address, is_redis) in [(peer.address, true), (leading.address, false)] {
        let (mut leader, store) = (Client::connect(address), Store::start(None, &[]));
        let mut replica = store.client();
        follow(&mut replica, address);
        wait_for_link(&mut replica);
        leader.line("SELECT 5");
        for round in 0..3 {
            leader.line(&format!("SET round {round}"));
            assert_eq!(leader.line("CLIENT KILL TYPE replica"), ":1");
            leader.line(&format!("RPUSH rounds {round}"));
            wait_for_changes(&mut leader);
        }
        replica.line("SELECT 5");
        for line in ["GET round", "LRANGE rounds 0 -1", "DBSIZE"] {
            assert_eq!(replica.line(line), leader.line(line), "{line}");
        }
        if is_redis {
            assert_eq!(info(&mut leader, "sync_full"), "1", "what was missed was enough");
            assert_eq!(info(&mut leader, "sync_partial_ok"), "3");
        }
    }
}

/// Keys whose time has passed are not shown, and go when the leader says so.
#[test]
fn a_replica_deletes_nothing_by_itself() {
    let (leader, store) = (Store::start(None, &[("enable-debug-command", "yes")]), Store::start(None, &[]));
    let (mut leader, mut replica, place) = (leader.client(), store.client(), leader);
    follow(&mut replica, place.address);
    wait_for_link(&mut replica);
    leader.line("DEBUG SET-ACTIVE-EXPIRE 0");
    leader.line("SET brief x PX 1");
    wait_for_changes(&mut leader);
    wait_until("the key is not shown", || replica.line("GET brief") == "nil");
    assert_eq!(replica.line("DBSIZE"), ":2", "it is still there");
    assert_eq!(leader.line("EXISTS brief"), ":0");
    wait_for_changes(&mut leader);
    assert_eq!(replica.line("DBSIZE"), ":1");
}

#[test]
fn a_leader_s_password_is_said() {
    let peer = redis(&["--requirepass", "secret"]);
    let (mut leader, store) = (Client::connect(peer.address), Store::start(None, &[]));
    leader.line("AUTH secret");
    leader.line("SET a b");
    let mut replica = store.client();
    replica.line("CONFIG SET masterauth wrong");
    follow(&mut replica, peer.address);
    wait_until("the leader refuses it", || !info(&mut leader, "errorstat_WRONGPASS").is_empty());
    assert_eq!(info(&mut replica, "master_link_status"), "down");
    replica.line("CONFIG SET masterauth secret");
    wait_for_link(&mut replica);
    assert_eq!(replica.line("GET a"), "b");
}

/// What is no leader, or sends what cannot be read, costs the replica nothing of what it has.
#[test]
fn what_cannot_be_followed_changes_nothing() {
    use std::io::{Read, Write};
    for (greeting, copy) in [
        ("-ERR unknown", &b""[..]),
        ("+FULLRESYNC 0123 1", b"$20\r\nREDIS0010 is damaged"),
        ("nonsense", b""),
    ] {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let store = Store::start(None, &[]);
        let mut replica = store.client();
        replica.line("SET kept 1");
        follow(&mut replica, listener.local_addr().unwrap());
        // The second attempt shows that the first has come to its end.
        for _ in 0..2 {
            let (mut stream, _) = listener.accept().unwrap();
            let (mut heard, mut chunk) = (Vec::new(), [0; 1024]);
            while let Ok(count @ 1..) = stream.read(&mut chunk) {
                heard.extend_from_slice(&chunk[..count]);
                let is_last = heard.windows(5).any(|word| word == b"PSYNC");
                let answer =
                    if is_last { [greeting.as_bytes(), b"\r\n", copy].concat() } else { b"+OK\r\n".to_vec() };
                if stream.write_all(&answer).is_err() || is_last {
                    break;
                }
            }
        }
        assert_eq!(replica.line("GET kept"), "1", "{greeting}");
        assert_eq!(info(&mut replica, "master_link_status"), "down");
        assert_eq!(replica.line("REPLICAOF NO ONE"), "OK");
    }
}

/// Data that may be old are not shown where the operator does not want that.
#[test]
fn stale_data_are_shown_only_if_wanted() {
    let store = Store::start(None, &[("replica-serve-stale-data", "no")]);
    let mut client = store.client();
    client.line("SET a b");
    // Its connections are never accepted.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = listener.local_addr().unwrap();
    follow(&mut client, nobody);
    assert!(client.line("GET a").starts_with("-MASTERDOWN"));
    assert!(client.line("INFO replication").contains("role:slave"));
    client.line("CONFIG SET replica-serve-stale-data yes");
    assert_eq!(client.line("GET a"), "b");
    assert_eq!(client.line("CONFIG GET replicaof"), format!("[replicaof {} {}]", nobody.ip(), nobody.port()));
}
