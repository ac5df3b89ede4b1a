//! Many at once: goodbyes under load, draining, idle connections.

use std::io::Write as _;
use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::client::{Connection, PATIENCE, get};
use crate::fixture::{Alone, before, now, wait_for};
use crate::worker::{After, FakePool};

/// Every worker leaves after a few requests, all the time; no request may be lost.
#[test]
fn goodbyes_under_load_drop_nothing() {
    let count = AtomicUsize::new(0);
    let pool = FakePool::start(4, move |request| {
        request.say("X: y\r\n\r\nfine");
        if count.fetch_add(1, Ordering::SeqCst).is_multiple_of(3) { After::Leave } else { After::Stay }
    });
    let running = before(&pool, |_| {});
    let address = running.address;
    let clients: Vec<_> = (0..16)
        .map(|_| {
            std::thread::spawn(move || {
                let mut connection = Connection::open(address);
                for _ in 0..200 {
                    let answer = connection.ask("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
                    assert_eq!((answer.status, answer.text()), (200, "fine"));
                }
            })
        })
        .collect();
    for client in clients {
        client.join().unwrap();
    }
    assert_eq!(running.stats().pool.served, 3_200);
}

/// A connection that is silent for so long while the gateway stops is closed.
const LAST_CALL: Duration = Duration::from_secs(1);

/// While requests are in flight and more arrive, the gateway is told to stop: each that was begun is answered.
#[test]
fn a_drain_fails_no_request() {
    let pool = FakePool::start(4, |request| {
        std::thread::sleep(Duration::from_millis(3));
        request.say("X: y\r\n\r\nfine");
        After::Stay
    });
    let mut running = before(&pool, |settings| settings.limits.drain = PATIENCE);
    let address = running.address;
    let answered = Arc::new(AtomicUsize::new(0));
    let clients: Vec<_> = (0..16)
        .map(|_| {
            let answered = answered.clone();
            std::thread::spawn(move || {
                let mut asked = now();
                let mut connection = Connection::open(address);
                loop {
                    let before = std::mem::replace(&mut asked, now());
                    let sent = connection.stream.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n");
                    let Some(answer) = sent.ok().and_then(|()| connection.response(false)) else {
                        let span = before.elapsed();
                        assert!(span >= LAST_CALL, "a request that comes {span:?} after another is answered");
                        return;
                    };
                    assert_eq!(answer.status, 200);
                    answered.fetch_add(1, Ordering::SeqCst);
                    if answer.header("connection") == Some("close") {
                        assert_eq!(connection.rest(), "");
                        return;
                    }
                }
            })
        })
        .collect();
    let mut idle = Connection::open(address);
    idle.ask("GET /style.css HTTP/1.1\r\nHost: h\r\n\r\n");
    wait_for("some answers", || (answered.load(Ordering::SeqCst) > 50).then_some(()));
    running.begin_stop();
    for client in clients {
        client.join().unwrap();
    }
    assert_eq!(idle.rest(), "", "an idle connection is closed");
    let report = running.stop();
    assert_eq!(report.cut, 0, "{report:?}");
    // A child that another test starts just now holds what is open here until it is its own program.
    wait_for("the port to be free", || TcpListener::bind(address).ok());
}

/// A gateway that drains lets go of the workers, which its successor on the same pool needs.
#[test]
fn a_successor_gets_the_workers() {
    // Who says nothing for a second while the gateway stops is closed: on a machine that stands still for so long it cannot be seen.
    assert!((0..10).any(|_| successor_gets_the_workers()), "a kept connection has its last request answered");
}

fn successor_gets_the_workers() -> bool {
    let pool = FakePool::start(2, |request| {
        request.say("X: y\r\n\r\nfine");
        After::Stay
    });
    let mut old = before(&pool, |settings| settings.limits.drain = PATIENCE);
    assert_eq!(get(old.address, "/", "").text(), "fine");
    wait_for("all workers to be with the first", || (old.stats().pool.idle == 2).then_some(()));
    let mut kept = Connection::open(old.address);
    assert_eq!(kept.ask("GET / HTTP/1.1\r\nHost: h\r\n\r\n").text(), "fine");
    let new = before(&pool, |_| {});
    let mut waits = Connection::open(new.address);
    waits.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    wait_for("one to wait", || (new.stats().pool.waiting == 1).then_some(()));
    old.begin_stop();
    assert_eq!(waits.response(false).unwrap().text(), "fine");
    let sent = kept.stream.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    let last = sent.ok().and_then(|()| kept.response(false));
    if let Some(last) = &last {
        assert_eq!((last.text(), last.header("connection")), ("fine", Some("close")));
    }
    assert_eq!(old.stop().cut, 0);
    last.is_some()
}

#[test]
fn what_does_not_end_is_cut_at_the_deadline() {
    let pool = FakePool::start(1, |request| {
        request.wait_for_close();
        After::Die
    });
    let running = before(&pool, |settings| settings.limits.drain = Duration::from_millis(100));
    let mut connection = Connection::open(running.address);
    connection.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    wait_for("the worker to be busy", || (pool.busy.load(Ordering::SeqCst) == 1).then_some(()));
    assert_eq!(running.stop().cut, 1);
    assert_eq!(connection.rest(), "");
}

/// No request stands behind a slow one while another worker is idle.
#[test]
fn slow_requests_hold_up_nobody() {
    let stop = Arc::new(AtomicBool::new(false));
    let until = stop.clone();
    let pool = FakePool::start(4, move |request| {
        while request.param("REQUEST_URI") == "/slow" && !until.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(1));
        }
        request.say("X: y\r\n\r\nfine");
        After::Stay
    });
    let running = before(&pool, |_| {});
    let mut slow: Vec<Connection> = (0..2).map(|_| Connection::open(running.address)).collect();
    for connection in &mut slow {
        connection.send("GET /slow HTTP/1.1\r\nHost: h\r\n\r\n");
    }
    wait_for("both to be with a worker", || (pool.busy.load(Ordering::SeqCst) == 2).then_some(()));
    let address = running.address;
    let clients: Vec<_> = (0..8)
        .map(|_| {
            std::thread::spawn(move || (0..100).for_each(|_| assert_eq!(get(address, "/", "").status, 200)))
        })
        .collect();
    for client in clients {
        client.join().unwrap();
    }
    assert_eq!(pool.busy.load(Ordering::SeqCst), 2, "the slow ones are still there");
    stop.store(true, Ordering::SeqCst);
    for connection in &mut slow {
        assert_eq!(connection.response(false).unwrap().text(), "fine");
    }
}

/// Ten thousand connections that have asked once and now wait.
#[test]
fn ten_thousand_idle_connections() {
    const CONNECTIONS: usize = 10_000;
    let limit = CONNECTIONS as u64 + 1_000;
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    if soft < limit {
        assert!(hard >= limit, "the hard limit of open files is {hard}; this test needs {limit}");
        setrlimit(Resource::RLIMIT_NOFILE, limit, hard).unwrap();
    }
    let root = tempfile::tempdir().unwrap();
    std::fs::write(root.path().join("a.txt"), "A").unwrap();
    let alone = Alone::start(root.path(), &[]);
    let address = alone.address;
    assert_eq!(get(address, "/a.txt", "").text(), "A");
    let before = alone.resident();
    let all = Mutex::new(Vec::with_capacity(CONNECTIONS));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..CONNECTIONS / 4 {
                    let mut connection = Connection::open(address);
                    assert_eq!(connection.ask("GET /a.txt HTTP/1.1\r\nHost: h\r\n\r\n").text(), "A");
                    all.lock().unwrap().push(connection.stream);
                }
            });
        }
    });
    let each = alone.resident().saturating_sub(before) / CONNECTIONS;
    assert!(each < 4 * 1_024, "{each} bytes of memory for each idle connection");
    assert_eq!(get(address, "/a.txt", "").text(), "A", "a newcomer is served at once");
    for mut stream in all.into_inner().unwrap().into_iter().step_by(1_000) {
        use std::io::Read as _;
        stream.write_all(b"GET /a.txt HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "an old one is served, too: {answer}");
    }
}
