//! What goes wrong in a store's life: kills, full disks, clients that do not read, floods of them, garbage.

use crate::differential::Peer;
use crate::process::Process;
use crate::server::{Client, Store, show};
use regie_resp::Frame;
use std::collections::HashSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How long anything may take before the test fails.
const DEADLINE: Duration = Duration::from_secs(120);

/// The clock of these tests.
#[expect(clippy::disallowed_methods, reason = "a test's deadline")]
fn now() -> Instant {
    Instant::now()
}

/// Calls `look` until it gives something.
pub(crate) fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < DEADLINE, "{what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Four clients push jobs with names of their own; the store is killed while they do, and again while its log is being
/// written anew. What was acknowledged is there, once, in order; beside it at most what was on its way.
#[test]
fn what_was_acknowledged_survives_a_kill_under_load() {
    const CLIENTS: usize = 4;
    for policy in ["always", "everysec", "no"] {
        let dir = tempfile::tempdir().unwrap();
        let config = [("appendonly", "yes"), ("appendfsync", policy)];
        let mut acknowledged = [0u64; CLIENTS];
        for round in 0..3u64 {
            let process = Process::start(dir.path(), &config);
            check_jobs(&process, &mut acknowledged, &format!("{policy}, round {round}"));
            let counts: [AtomicU64; CLIENTS] =
                std::array::from_fn(|client| AtomicU64::new(acknowledged[client]));
            let address = process.address;
            std::thread::scope(|scope| {
                for (client, count) in counts.iter().enumerate() {
                    scope.spawn(move || push_until_killed(address, client, count));
                }
                let goal = acknowledged.iter().sum::<u64>() + 300 + 137 * round;
                let reached = || counts.iter().map(|count| count.load(Ordering::Acquire)).sum::<u64>() > goal;
                wait_for("the clients get on", || reached().then_some(()));
                if round > 0 {
                    process.client().line("BGREWRITEAOF");
                }
                process.kill();
            });
            acknowledged = counts.map(AtomicU64::into_inner);
        }
        check_jobs(&Process::start(dir.path(), &config), &mut acknowledged, policy);
    }
}

fn push_until_killed(address: SocketAddr, client: usize, count: &AtomicU64) {
    let Ok(mut socket) = TcpStream::connect(address) else { return };
    let mut replies = BufReader::new(socket.try_clone().unwrap());
    let key = format!("queues:{client}");
    loop {
        let job = format!("job-{}", count.load(Ordering::Relaxed));
        let push = format!("*3\r\n$5\r\nRPUSH\r\n${}\r\n{key}\r\n${}\r\n{job}\r\n", key.len(), job.len());
        let mut reply = String::new();
        if socket.write_all(push.as_bytes()).is_err() {
            return;
        }
        match replies.read_line(&mut reply) {
            Ok(_) if reply.starts_with(':') && reply.ends_with('\n') => count.fetch_add(1, Ordering::Release),
            _ => return,
        };
    }
}

fn check_jobs(process: &Process, acknowledged: &mut [u64], what: &str) {
    let mut client = process.client();
    for (number, count) in acknowledged.iter_mut().enumerate() {
        let Frame::Array(jobs) =
            client.call(&[b"LRANGE", format!("queues:{number}").as_bytes(), b"0", b"-1"])
        else {
            panic!("{what}: a list")
        };
        let found = jobs.len() as u64;
        assert!((*count..=*count + 1).contains(&found), "{what}: {count} acknowledged, {found} there");
        for (index, job) in jobs.iter().enumerate() {
            assert_eq!(show(job), format!("job-{index}"), "{what}");
        }
        *count = found;
    }
}

/// The limit of a file's size stands in for a full disk: the write fails in the same place, and no root is needed.
#[test]
fn a_full_disk_refuses_writes_until_there_is_room() {
    for policy in ["always", "everysec"] {
        let dir = tempfile::tempdir().unwrap();
        let process = Process::start(dir.path(), &[("appendonly", "yes"), ("appendfsync", policy)]);
        assert_eq!(process.client().line("SET before full"), "OK");
        process.limit_files(Some(64 << 10));
        let mut acknowledged = 0;
        let value = "v".repeat(1000);
        let misconf = wait_for("the disk is full", || {
            let mut client = process.client();
            loop {
                client.send(&[b"SET", format!("k{acknowledged}").as_bytes(), value.as_bytes()]);
                match client.try_receive() {
                    Some(Frame::Simple(_)) => acknowledged += 1,
                    Some(Frame::Error(why)) => return Some(String::from_utf8(why).unwrap()),
                    // Under `always` a reply would promise too much: the connection is cut.
                    _ => return None,
                }
            }
        });
        assert!(misconf.starts_with("MISCONF Errors writing to the AOF file: File too large"), "{misconf}");
        assert!((40..70).contains(&acknowledged), "{policy}: {acknowledged}");
        let mut client = process.client();
        assert_eq!(client.line("GET before"), "full", "reads go on");
        assert!(client.line("EVAL return{redis.call('set','x','1')} 0").contains("MISCONF"));
        assert!(client.line("INFO persistence").contains("aof_last_write_status:err"));
        process.limit_files(None);
        wait_for("writes are taken again", || (client.line("SET after room") == "OK").then_some(()));
        assert!(client.line("INFO persistence").contains("aof_last_write_status:ok"));
        process.kill();
        let process = Process::start(dir.path(), &[]);
        let mut client = process.client();
        assert_eq!(client.line("MGET before after"), "[full room]", "{policy}");
        for n in 0..acknowledged {
            assert_eq!(client.line(&format!("STRLEN k{n}")), ":1000", "{policy}: k{n}");
        }
    }
}

/// Takes the place of the system's calls. As long as the file that `SYNC_FAILS` names is there, syncs fail as they do on
/// a broken disk; as long as that of `SYNC_IS_SLOW` is there, each takes two seconds. That of `SYNC_COUNT` grows by a
/// byte with each.
const SYNC: &str = r#"
    #define _GNU_SOURCE
    #include <errno.h>
    #include <fcntl.h>
    #include <stdlib.h>
    #include <sys/syscall.h>
    #include <unistd.h>
    static int is_there(const char *name) {
        const char *file = getenv(name);
        return file != NULL && access(file, F_OK) == 0;
    }
    static int synced(int call, int fd) {
        const char *count = getenv("SYNC_COUNT");
        if (count != NULL) {
            int file = open(count, O_WRONLY | O_CREAT | O_APPEND, 0600);
            if (file < 0 || write(file, "s", 1) != 1) abort();
            close(file);
        }
        if (is_there("SYNC_IS_SLOW")) usleep(2000000);
        if (is_there("SYNC_FAILS")) { errno = EIO; return -1; }
        return (int)syscall(call, fd);
    }
    int fdatasync(int fd) { return synced(SYS_fdatasync, fd); }
    int fsync(int fd) { return synced(SYS_fsync, fd); }
"#;

/// [`SYNC`] as a library, to be loaded before the system's.
fn sync_library(dir: &std::path::Path) -> std::path::PathBuf {
    let (source, library) = (dir.join("sync.c"), dir.join("sync.so"));
    std::fs::write(&source, SYNC).unwrap();
    let built = std::process::Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .args([&library, &source])
        .status()
        .expect("the package gcc is installed");
    assert!(built.success());
    library
}

/// Under `always` commands that come together are synced together.
#[test]
fn one_sync_serves_all_commands_of_a_turn() {
    let dir = tempfile::tempdir().unwrap();
    let (library, count) = (sync_library(dir.path()), dir.path().join("count"));
    let process = Process::start_with(
        &dir.path().join("data"),
        &[("appendonly", "yes"), ("appendfsync", "always")],
        &[("LD_PRELOAD", &library), ("SYNC_COUNT", &count)],
    );
    let syncs = || std::fs::metadata(&count).map_or(0, |file| file.len());
    let mut client = process.client();
    let before = syncs();
    assert_eq!(client.line("SET k v"), "OK");
    assert!(syncs() > before, "a reply means that it is synced");
    let before = syncs();
    client.send_raw(&b"INCR n\r\n".repeat(500));
    for n in 1..=500 {
        assert_eq!(show(&client.receive()), format!(":{n}"));
    }
    let after = syncs() - before;
    assert!((1..100).contains(&after), "{after} syncs for 500 commands that came at once");
}

/// Under `everysec` a sync that takes long holds writes up, so that no more than about a second of them is at stake.
#[test]
fn writes_wait_for_a_slow_sync() {
    let dir = tempfile::tempdir().unwrap();
    let (library, slow) = (sync_library(dir.path()), dir.path().join("slow"));
    let process = Process::start_with(
        &dir.path().join("data"),
        &[("appendonly", "yes"), ("appendfsync", "everysec")],
        &[("LD_PRELOAD", &library), ("SYNC_IS_SLOW", &slow)],
    );
    let mut client = process.client();
    assert!(client.line("INFO persistence").contains("aof_delayed_fsync:0"));
    std::fs::write(&slow, "").unwrap();
    wait_for("a write has waited for a sync", || {
        assert!(client.line("INCR n").starts_with(':'));
        (!client.line("INFO persistence").contains("aof_delayed_fsync:0")).then_some(())
    });
    std::fs::remove_file(&slow).unwrap();
    assert!(client.line("INCR n").starts_with(':'));
}

/// After a sync that failed nobody knows what of the log is on the disk: writes are refused until the log has been begun
/// anew from a snapshot, and what was acknowledged is there after a kill.
#[test]
fn a_failed_sync_refuses_writes_until_the_log_is_begun_anew() {
    for policy in ["always", "everysec"] {
        let dir = tempfile::tempdir().unwrap();
        let (library, switch) = (sync_library(dir.path()), dir.path().join("fails"));
        let data = dir.path().join("data");
        let process = Process::start_with(
            &data,
            &[("appendonly", "yes"), ("appendfsync", policy)],
            &[("LD_PRELOAD", &library), ("SYNC_FAILS", &switch)],
        );
        assert_eq!(process.client().line("SET before fault"), "OK");
        std::fs::write(&switch, "").unwrap();
        let mut acknowledged = 0;
        let misconf = wait_for("writes are refused", || {
            let mut client = process.client();
            loop {
                client.send(&[b"RPUSH", b"queues:default", format!("job-{acknowledged}").as_bytes()]);
                match client.try_receive() {
                    Some(Frame::Integer(_)) => acknowledged += 1,
                    Some(Frame::Error(why)) => return Some(String::from_utf8(why).unwrap()),
                    // Under `always` a reply would promise too much: the connection is cut.
                    _ => return None,
                }
            }
        });
        assert!(
            misconf.starts_with("MISCONF Errors writing to the AOF file: Input/output error"),
            "{misconf}"
        );
        let mut client = process.client();
        assert_eq!(client.line("GET before"), "fault", "reads go on");
        assert!(client.line("INFO persistence").contains("aof_last_write_status:err"));
        std::fs::remove_file(&switch).unwrap();
        wait_for("writes are taken again", || (client.line("SET after repair") == "OK").then_some(()));
        assert!(client.line("INFO persistence").contains("aof_last_write_status:ok"));
        process.kill();
        let process = Process::start(&data, &[]);
        let mut client = process.client();
        assert_eq!(client.line("MGET before after"), "[fault repair]", "{policy}");
        let Frame::Array(jobs) = client.call(&[b"LRANGE", b"queues:default", b"0", b"-1"]) else {
            panic!("{policy}: a list")
        };
        // What was refused with the connection cut may be there too, once.
        let kept: Vec<String> = jobs.iter().map(show).collect();
        for n in 0..acknowledged {
            assert!(kept.contains(&format!("job-{n}")), "{policy}: job-{n}");
        }
    }
}

#[test]
fn a_snapshot_that_cannot_be_written_leaves_the_old_one_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let process = Process::start(dir.path(), &[("save", "3600 1000000")]);
    let mut client = process.client();
    assert_eq!(client.line("SET old value"), "OK");
    assert_eq!(client.line("SAVE"), "OK");
    for n in 0..200 {
        assert_eq!(client.line(&format!("SET k{n} {}", "v".repeat(1000))), "OK");
    }
    process.limit_files(Some(64 << 10));
    assert!(client.line("BGSAVE").starts_with("Background"));
    wait_for("the snapshot fails", || {
        client.line("INFO persistence").contains("rdb_last_bgsave_status:err").then_some(())
    });
    let refused = client.line("SET k v");
    assert!(refused.starts_with("-MISCONF Redis is configured to save RDB snapshots"), "{refused}");
    assert_eq!(client.line("GET old"), "value");
    let left = std::fs::read_dir(dir.path())
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().path().extension().is_some_and(|kind| kind == "new"));
    assert_eq!(left.count(), 0, "half a snapshot takes no room");
    process.limit_files(None);
    assert_eq!(client.line("SAVE"), "OK");
    assert_eq!(client.line("SET k v"), "OK");
    process.kill();
    assert_eq!(Process::start(dir.path(), &[]).client().line("DBSIZE"), ":201");
}

#[test]
fn a_client_that_does_not_read_is_closed_and_hurts_nobody() {
    let limits = "normal 4mb 0 0 pubsub 4mb 0 0";
    let store = Store::start(None, &[("client-output-buffer-limit", limits)]);
    let mut writer = store.client();
    let chunk = "c".repeat(100_000);
    assert_eq!(writer.line(&format!("SET big {chunk}")), "OK");
    let clients = |writer: &mut Client| writer.line("CLIENT LIST").lines().count();
    // One that asks for more than it takes.
    let mut asking = store.client();
    asking.send_often("GET big", 400);
    // One that listens, and is above the hard limit at once.
    let mut hard = store.client();
    hard.line("SUBSCRIBE news");
    wait_for("the reader that asks is closed", || (clients(&mut writer) <= 2).then_some(()));
    for _ in 0..200 {
        writer.line(&format!("PUBLISH news {chunk}"));
    }
    wait_for("the listener is closed", || (clients(&mut writer) == 1).then_some(()));
    // And one that stays above the soft limit.
    writer.line("CLIENT SETNAME writer");
    let set = writer.call(&[b"CONFIG", b"SET", b"client-output-buffer-limit", b"pubsub 1gb 2mb 3"]);
    assert_eq!(show(&set), "OK");
    let mut soft = store.client();
    soft.line("SUBSCRIBE slow");
    let begun = now();
    // The kernel's buffers take some megabytes of it.
    wait_for("the listener is above its soft limit", || {
        writer.line(&format!("PUBLISH slow {chunk}"));
        let info = writer.line("INFO memory");
        let held =
            info.lines().find_map(|line| line.strip_prefix("mem_clients_normal:")?.trim().parse().ok());
        let closed = clients(&mut writer) == 1;
        (closed || held.is_some_and(|bytes: u64| bytes > 3 << 20)).then_some(())
    });
    let left = clients(&mut writer);
    assert!(left == 2 || begun.elapsed() >= Duration::from_secs(3), "closed at once");
    wait_for("it is closed after its seconds", || {
        writer.line(&format!("PUBLISH slow {chunk}"));
        (clients(&mut writer) == 1).then_some(())
    });
    assert_eq!(writer.line("STRLEN big"), ":100000");
}

/// Two clients leave a lot unread; together they are over the limit, so the one with more goes, and only that one.
#[test]
fn the_biggest_client_goes_when_all_together_hold_too_much() {
    let store = Store::start(None, &[("maxmemory-clients", "60mb")]);
    let mut writer = store.client();
    let value = "v".repeat(1 << 20);
    assert_eq!(writer.line(&format!("SET big {value}")), "OK");
    let ask = |count: usize, name: &[u8]| {
        let mut client = store.client();
        client.call(&[b"CLIENT", b"SETNAME", name]);
        client.send_often("GET big", count);
        client
    };
    let (_small, _protected) = (ask(20, b"small"), {
        let mut client = store.client();
        client.line("CLIENT SETNAME protected");
        client.line("CLIENT NO-EVICT ON");
        client.send_often("GET big", 90);
        client
    });
    wait_for("both wait to be read", || {
        let info = writer.line("INFO memory");
        let held =
            info.lines().find_map(|line| line.strip_prefix("mem_clients_normal:")?.trim().parse().ok());
        held.is_some_and(|bytes: u64| bytes > 70 << 20).then_some(())
    });
    let _big = ask(70, b"big");
    wait_for("the biggest is closed", || {
        writer.line("INFO stats").contains("evicted_clients:1").then_some(())
    });
    let list = writer.line("CLIENT LIST");
    assert!(!list.contains("name=big "), "{list}");
    assert!(list.contains("name=small ") && list.contains("name=protected "), "{list}");
}

/// As many clients as the system lets one process have, up to 10,000.
#[test]
fn ten_thousand_clients_are_served() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let dir = tempfile::tempdir().unwrap();
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
    let count = (hard.saturating_sub(500) as usize).min(9_999);
    assert!(count > 500, "at most {hard} files may be open: too few for this test");
    let process =
        Process::start(dir.path(), &[("maxclients", &(count + 1).to_string()), ("tcp-backlog", "4096")]);
    let mut clients: Vec<TcpStream> = Vec::new();
    for _ in 0..count {
        clients.push(TcpStream::connect(process.address).unwrap());
    }
    for client in &mut clients {
        client.write_all(b"INCR visits\r\n").unwrap();
    }
    let mut seen = HashSet::new();
    for client in &mut clients {
        client.set_read_timeout(Some(DEADLINE)).unwrap();
        let mut reply = String::new();
        BufReader::new(client).read_line(&mut reply).unwrap();
        seen.insert(reply);
    }
    assert_eq!(seen.len(), count, "each has an answer of its own");
    let mut last = process.client();
    assert_eq!(last.line("GET visits"), count.to_string());
    assert!(last.line("INFO clients").contains(&format!("connected_clients:{}", count + 1)));
    // One more is told so, and when one goes there is room again.
    let mut turned_away = process.client();
    assert_eq!(show(&turned_away.receive()), "-ERR max number of clients reached");
    drop(clients.pop());
    wait_for("there is room again", || {
        let mut client = process.client();
        client.send_raw(b"PING\r\n");
        matches!(client.try_receive(), Some(Frame::Simple(_))).then_some(())
    });
}

#[test]
fn a_string_is_at_most_512_mb() {
    let (store, peer) = (Store::start(None, &[]), Peer::start());
    for line in ["SETRANGE k 536870912 x", "SETBIT k 4294967296 1", "SETRANGE k 536870911 xy"] {
        assert_eq!(store.client().line(line), Client::connect(peer.address).line(line), "{line}");
        assert!(store.client().line(line).starts_with('-'), "{line}");
    }
    let raw = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$536870913\r\n";
    assert_eq!(answers(store.address, raw), answers(peer.address, raw));
    let mut client = store.client();
    client.line("CONFIG SET proto-max-bulk-len 1mb");
    client.line(&format!("SET k {}", "x".repeat(1_000_000)));
    assert_eq!(
        client.line(&format!("APPEND k {}", "x".repeat(100_000))),
        "-ERR string exceeds maximum allowed size (proto-max-bulk-len)"
    );
}

/// What a server says to these bytes until it closes the connection or has answered the PING behind them.
fn answers(address: SocketAddr, bytes: &[u8]) -> String {
    let mut socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    let (mut all, mut chunk) = (Vec::new(), [0; 4096]);
    let _ = socket.write_all(bytes);
    let _ = socket.write_all(b"*1\r\n$4\r\nQUIT\r\n");
    loop {
        match socket.read(&mut chunk) {
            Ok(0) | Err(_) => return String::from_utf8_lossy(&all).into_owned(),
            Ok(count) => all.extend_from_slice(&chunk[..count]),
        }
    }
}

#[test]
fn garbage_is_answered_as_redis_answers_it() {
    let (store, peer) = (Store::start(None, &[]), Peer::start());
    for bytes in [
        &b"*abc\r\n"[..],
        b"*-1\r\nPING\r\n",
        b"*0\r\nPING\r\n",
        b"*2147483648\r\n",
        b"*1\r\n$abc\r\n",
        b"*1\r\n$-1\r\n",
        b"*1\r\n:1\r\n",
        b"*1\r\nPING\r\n",
        b"*1\r\n*1\r\n$4\r\nPING\r\n",
        b"*1\r\n$99999999999999999999\r\n",
        b"POST / HTTP/1.1\r\nSET k v\r\n",
        b"Host: x\r\nSET k v\r\n",
        b"SET k \"unbalanced\r\n",
        b"SET k 'a\\'b' \r\n",
        b"\r\n\r\nPING\r\n",
        b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5\r\nshort\r\n",
    ] {
        let found = answers(store.address, bytes);
        assert_eq!(found, answers(peer.address, bytes), "{:?}", String::from_utf8_lossy(bytes));
    }
    // An endless line without an end.
    let endless = vec![b'a'; 100_000];
    assert_eq!(answers(store.address, &endless), answers(peer.address, &endless));
}

#[test]
fn noise_hurts_only_the_one_who_makes_it() {
    let store = Store::start(None, &[]);
    let mut good = store.client();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for seed in 1..=3u64 {
            let (stop, address) = (&stop, store.address);
            scope.spawn(move || {
                let mut state = seed;
                let mut next = move || {
                    state =
                        state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    (state >> 33) as usize
                };
                let words: [&[u8]; 12] = [
                    b"*",
                    b"$",
                    b"\r\n",
                    b"3",
                    b"-1",
                    b"GET",
                    b"EVAL",
                    b"\x00\xff",
                    b":",
                    b"99999",
                    b"(",
                    b"\"",
                ];
                // Bounded, as each leaves a port behind that nobody else has for a minute.
                for _ in 0..2_000 {
                    if stop.load(Ordering::Acquire) {
                        return;
                    }
                    let Ok(mut socket) = TcpStream::connect(address) else { continue };
                    let noise: Vec<u8> = (0..next() % 60).flat_map(|_| words[next() % 12].to_vec()).collect();
                    let _ = socket.write_all(&noise);
                }
            });
        }
        for n in 1..=3000 {
            assert_eq!(good.line("INCR calm"), format!(":{n}"));
        }
        stop.store(true, Ordering::Release);
    });
}
