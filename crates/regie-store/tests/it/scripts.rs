//! Scripts and functions: those that take long, those that are ended, and what a restart leaves of them.

use crate::server::{Client, Store, show};

const BUSY: &str = "-BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.";
const BUSY_FUNCTION: &str =
    "-BUSY Redis is busy running a script. You can only call FUNCTION KILL or SHUTDOWN NOSAVE.";
const LIBRARY: &str = "#!lua name=lib
redis.register_function('get', function(keys) return redis.call('get', keys[1]) end)
redis.register_function('put', function(keys, args) return redis.call('set', keys[1], args[1]) end)
redis.register_function('spin', function() while true do end end)
redis.register_function{function_name = 'look', flags = {'no-writes'}, description = 'looks',
  callback = function(keys) return redis.call('get', keys[1]) end}";

fn call(client: &mut Client, words: &[&str]) -> String {
    let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
    show(&client.call(&words))
}

/// Sends a script that takes long, and waits until others are told so.
fn spin(store: &Store, script: &[&str]) -> (Client, Client) {
    let (mut runner, mut other) = (store.client(), store.client());
    let words: Vec<&[u8]> = script.iter().map(|word| word.as_bytes()).collect();
    runner.send(&words);
    while !call(&mut other, &["PING"]).starts_with("-BUSY") {}
    (runner, other)
}

fn busy_soon() -> Store {
    Store::start(None, &[("busy-reply-threshold", "20")])
}

#[test]
fn a_script_that_takes_long_is_killed() {
    let store = busy_soon();
    let mut queuer = store.client();
    assert_eq!(call(&mut queuer, &["MULTI"]), "OK");
    assert_eq!(call(&mut queuer, &["SET", "queued", "1"]), "QUEUED");
    let (mut runner, mut other) = spin(&store, &["EVAL", "while true do end", "0"]);
    let abort = format!("-EXECABORT Transaction discarded because of: {}", &BUSY[1..]);
    assert_eq!(call(&mut queuer, &["EXEC"]), abort);
    assert_eq!(call(&mut other, &["GET", "a"]), BUSY);
    assert_eq!(call(&mut other, &["FUNCTION", "KILL"]), BUSY);
    assert_eq!(call(&mut other, &["FUNCTION", "STATS"]), BUSY);
    assert_eq!(call(&mut other, &["SHUTDOWN", "SAVE"]), BUSY);
    assert_eq!(call(&mut other, &["MULTI"]), "OK", "allowed, so that no half of a transaction is run later");
    assert_eq!(call(&mut other, &["GET", "a"]), BUSY);
    // Clients that come now are heard too.
    let mut late = store.client();
    assert_eq!(call(&mut late, &["PING"]), BUSY);
    assert_eq!(call(&mut late, &["SCRIPT", "KILL"]), "OK");
    let reply = show(&runner.receive());
    assert!(reply.starts_with("-ERR Script killed by user with SCRIPT KILL... script: "), "{reply}");
    assert_eq!(call(&mut late, &["PING"]), "PONG");
    assert_eq!(call(&mut other, &["EXEC"]), "-EXECABORT Transaction discarded because of previous errors.");
    assert_eq!(call(&mut queuer, &["GET", "queued"]), "nil", "the transaction is over");
    assert_eq!(call(&mut late, &["SCRIPT", "KILL"]), "-NOTBUSY No scripts in execution right now.");
}

#[test]
fn what_its_client_sends_meanwhile_is_answered_afterwards() {
    let store = busy_soon();
    let (mut runner, mut other) = spin(&store, &["EVAL", "while true do end", "0"]);
    runner.send(&[b"ECHO", b"behind"]);
    // A client that goes away leaves no trace.
    drop(store.client());
    assert_eq!(call(&mut other, &["SCRIPT", "KILL"]), "OK");
    assert!(show(&runner.receive()).starts_with("-ERR Script killed"));
    assert_eq!(show(&runner.receive()), "behind");
}

#[test]
fn a_function_is_killed_by_its_own_command() {
    let store = busy_soon();
    assert_eq!(call(&mut store.client(), &["FUNCTION", "LOAD", LIBRARY]), "lib");
    let (mut runner, mut other) = spin(&store, &["FCALL", "spin", "0", "a"]);
    assert_eq!(call(&mut other, &["SCRIPT", "KILL"]), BUSY_FUNCTION);
    let stats = call(&mut other, &["FUNCTION", "STATS"]);
    for part in ["name spin", "command [FCALL spin 0 a]", "libraries_count :1", "functions_count :4"] {
        assert!(stats.contains(part), "{stats}");
    }
    assert_eq!(call(&mut other, &["FUNCTION", "KILL"]), "OK");
    let reply = show(&runner.receive());
    assert!(reply.starts_with("-ERR Script killed by user with SCRIPT KILL... script: spin"), "{reply}");
    assert!(call(&mut other, &["FUNCTION", "STATS"]).starts_with("[running_script nil"));
}

#[test]
fn a_script_that_has_written_is_not_killed_but_the_server_can_stop() {
    let dir = tempfile::tempdir().unwrap();
    let config = [("busy-reply-threshold", "20"), ("appendonly", "yes"), ("appendfsync", "always")];
    let store = Store::start(Some(dir.path()), &config);
    let mut first = store.client();
    assert_eq!(call(&mut first, &["SET", "before", "1"]), "OK");
    let script = "redis.call('set', KEYS[1], 'half') while true do end";
    let (mut runner, mut other) = spin(&store, &["EVAL", script, "1", "during"]);
    let reply = call(&mut other, &["SCRIPT", "KILL"]);
    assert!(reply.starts_with("-UNKILLABLE Sorry the script already executed write commands"), "{reply}");
    other.send(&[b"SHUTDOWN", b"NOSAVE"]);
    assert_eq!(other.try_receive(), None, "SHUTDOWN has no answer");
    let reply = runner.try_receive().as_ref().map(show);
    assert!(reply.is_none_or(|reply| reply.starts_with("-ERR Script killed")), "no success is told");
    drop(store);
    let store = Store::start(Some(dir.path()), &config);
    let mut client = store.client();
    assert_eq!(call(&mut client, &["GET", "before"]), "1");
    assert_eq!(call(&mut client, &["GET", "during"]), "nil", "no half of a script is in the log");
}

#[test]
fn the_end_of_the_server_ends_a_script() {
    let store = busy_soon();
    let script = "redis.call('set', KEYS[1], 'half') while true do end";
    let _clients = spin(&store, &["EVAL", script, "1", "k"]);
    // Dropping waits for the server's thread.
    drop(store);
}

#[test]
fn answers_that_were_owed_do_not_wait_for_a_script() {
    let dir = tempfile::tempdir().unwrap();
    let config = [("busy-reply-threshold", "20"), ("appendonly", "yes"), ("appendfsync", "always")];
    let store = Store::start(Some(dir.path()), &config);
    let (mut writer, mut runner, mut other) = (store.client(), store.client(), store.client());
    // The three are often read in the same turn.
    writer.send(&[b"SET", b"a", b"1"]);
    runner.send(&[b"EVAL", b"while true do end", b"0"]);
    assert_eq!(show(&writer.receive()), "OK");
    while call(&mut other, &["SCRIPT", "KILL"]) != "OK" {}
    assert!(show(&runner.receive()).starts_with("-ERR Script killed"));
}

#[test]
fn functions_survive_a_restart_by_log_and_by_snapshot() {
    for rewrite in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let config = [("appendonly", "yes"), ("appendfsync", "always"), ("save", "")];
        let store = Store::start(Some(dir.path()), &config);
        let mut client = store.client();
        assert_eq!(call(&mut client, &["FUNCTION", "LOAD", LIBRARY]), "lib");
        let other = "#!lua name=gone\nredis.register_function('f', function() end)";
        assert_eq!(call(&mut client, &["FUNCTION", "LOAD", other]), "gone");
        assert_eq!(call(&mut client, &["FCALL", "put", "1", "k", "v"]), "OK");
        assert_eq!(call(&mut client, &["FUNCTION", "DELETE", "gone"]), "OK");
        if rewrite {
            assert!(call(&mut client, &["BGREWRITEAOF"]).starts_with("Background"));
            while !call(&mut client, &["INFO", "persistence"]).contains("aof_rewrites:1") {}
        }
        let listed = call(&mut client, &["FUNCTION", "LIST", "WITHCODE"]);
        assert!(listed.contains("description looks flags [no-writes]"), "{listed}");
        drop(store);
        let store = Store::start(Some(dir.path()), &config);
        let mut client = store.client();
        assert_eq!(call(&mut client, &["FCALL", "GET", "1", "k"]), "v", "names have no case");
        assert_eq!(call(&mut client, &["FCALL_RO", "look", "1", "k"]), "v");
        assert_eq!(call(&mut client, &["FUNCTION", "LIST", "WITHCODE"]), listed);
    }
}

#[test]
fn a_dump_of_functions_can_be_restored() {
    let store = Store::start(None, &[]);
    let mut client = store.client();
    assert_eq!(call(&mut client, &["FUNCTION", "LOAD", LIBRARY]), "lib");
    let regie_resp::Frame::Bulk(dump) = client.call(&[b"FUNCTION", b"DUMP"]) else { panic!("no dump") };
    let restore =
        |client: &mut Client, policy: &[u8]| show(&client.call(&[b"FUNCTION", b"RESTORE", &dump, policy]));
    assert_eq!(restore(&mut client, b"APPEND"), "-ERR Library lib already exists");
    assert_eq!(restore(&mut client, b"REPLACE"), "OK");
    assert_eq!(call(&mut client, &["FUNCTION", "FLUSH"]), "OK");
    assert_eq!(call(&mut client, &["FCALL", "get", "1", "k"]), "-ERR Function not found");
    assert_eq!(restore(&mut client, b"FLUSH"), "OK");
    assert_eq!(call(&mut client, &["FCALL", "get", "1", "k"]), "nil");
}

#[test]
fn scripts_are_written_to_the_log_whole_and_as_their_commands() {
    let dir = tempfile::tempdir().unwrap();
    let config = [("appendonly", "yes"), ("appendfsync", "always")];
    let store = Store::start(Some(dir.path()), &config);
    let mut client = store.client();
    let script = "redis.call('select', 3) redis.call('set', KEYS[1], redis.call('time')[1])
redis.set_repl(redis.REPL_NONE) redis.call('set', 'unlogged', 1) redis.set_repl(redis.REPL_ALL)
redis.call('set', 'last', math.random()) return redis.call('get', KEYS[1])";
    let time = call(&mut client, &["EVAL", script, "1", "k"]);
    assert_eq!(call(&mut client, &["DBSIZE"]), ":0", "a script leaves its client where it was");
    drop(store);
    let store = Store::start(Some(dir.path()), &config);
    let mut client = store.client();
    assert_eq!(call(&mut client, &["SELECT", "3"]), "OK");
    assert_eq!(call(&mut client, &["GET", "k"]), time);
    assert_eq!(call(&mut client, &["EXISTS", "unlogged", "last"]), ":1");
}

/// Nothing changes while writes are paused, and still nobody reads a key whose time has passed.
#[test]
fn a_key_that_ends_during_a_pause_is_not_read() {
    let store = Store::start(None, &[]);
    let mut client = store.client();
    for line in ["MULTI", "SET k v PX 1", "CLIENT PAUSE 100000 WRITE", "EXEC"] {
        client.line(line);
    }
    let gone = (0..100_000).any(|_| client.line("GET k") == "nil");
    assert!(gone, "the key is read after its time");
    assert_eq!(client.line("DBSIZE"), ":1");
    assert_eq!(client.line("CLIENT UNPAUSE"), "OK");
    assert_eq!(client.line("GET k"), "nil");
    assert_eq!(client.line("DBSIZE"), ":0");
}
