//! What happens when something goes wrong behind the gateway.

use std::io::Read;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use crate::client::{Connection, PATIENCE, get};
use crate::fixture::{before, gateway, wait_for};
use crate::worker::{After, FakePool};

#[test]
fn a_worker_that_dies_costs_its_request_only() {
    let pool = FakePool::start(2, |request| match request.param("REQUEST_URI") {
        "/die" => After::Die,
        "/half" => {
            request.say("Content-Length: 100\r\n\r\nhalf");
            After::Die
        }
        _ => {
            request.say("X: y\r\n\r\nfine");
            After::Stay
        }
    });
    let running = before(&pool, |settings| settings.explain_errors = true);
    for _ in 0..3 {
        let answer = get(running.address, "/die", "Accept: application/json\r\n");
        assert_eq!((answer.status, answer.header("content-type")), (502, Some("application/json")));
        assert!(answer.text().contains("the worker went away"), "{}", answer.text());
        assert_eq!(get(running.address, "/", "").text(), "fine");
    }
    let mut connection = Connection::open(running.address);
    let broken = connection.send("GET /half HTTP/1.1\r\nHost: h\r\n\r\n").rest();
    assert!(
        broken.starts_with("HTTP/1.1 200") && broken.ends_with("\r\n\r\nhalf"),
        "cut, not completed: {broken}"
    );
    wait_for("the log to tell", || running.error_log().contains("an answer broke off").then_some(()));
}

#[test]
fn errors_tell_nothing_unless_asked_to() {
    let pool = FakePool::start(1, |_| After::Die);
    let running = before(&pool, |_| {});
    let answer = get(running.address, "/", "");
    assert!(answer.status == 502 && !answer.text().contains("worker"), "{}", answer.text());
    assert!(answer.text().contains(answer.header("x-request-id").unwrap()));
}

#[test]
fn what_is_no_answer_is_a_bad_gateway() {
    let pool = FakePool::start(1, |request| {
        let said = match request.param("REQUEST_URI") {
            "/nothing" => "",
            "/line" => "no header at all\r\n\r\nbody",
            "/status" => "Status: abc\r\n\r\n",
            _ => "A: b\r\n",
        };
        request.say(said);
        After::Stay
    });
    let running = before(&pool, |_| {});
    for path in ["/nothing", "/line", "/status", "/unfinished"] {
        assert_eq!(get(running.address, path, "").status, 502, "{path}");
    }
}

/// Workers that are busy until they are told to go on.
fn held(workers: usize) -> (FakePool, mpsc::Sender<()>) {
    let (go, gone) = mpsc::channel::<()>();
    let gone = Mutex::new(gone);
    let pool = FakePool::start(workers, move |request| {
        let _ = gone.lock().unwrap().recv_timeout(PATIENCE);
        request.say("X: y\r\n\r\nfine");
        After::Stay
    });
    (pool, go)
}

#[test]
fn the_queue_is_bounded_in_length_and_time() {
    let (pool, go) = held(1);
    let running = before(&pool, |settings| {
        let queue = &mut settings.pool.as_mut().unwrap().queue;
        queue.len = 1;
        queue.timeout = Duration::from_secs(5);
    });
    let send = || {
        let mut connection = Connection::open(running.address);
        connection.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
        connection
    };
    let mut served = send();
    wait_for("the worker to be busy", || (pool.busy.load(Ordering::SeqCst) == 1).then_some(()));
    let mut waits = send();
    wait_for("one to wait", || (running.stats().pool.waiting == 1).then_some(()));
    let full = send().response(false).unwrap();
    assert_eq!((full.status, full.header("retry-after")), (503, Some("1")));
    let late = waits.response(false).unwrap();
    assert_eq!((late.status, late.header("retry-after")), (503, Some("1")));
    go.send(()).unwrap();
    assert_eq!(served.response(false).unwrap().text(), "fine");
}

#[test]
fn who_leaves_the_queue_holds_no_place() {
    let (pool, go) = held(1);
    let running = before(&pool, |settings| {
        settings.pool.as_mut().unwrap().queue.len = 1;
        settings.limits.hangup_grace = Duration::ZERO;
    });
    let send = || {
        let mut connection = Connection::open(running.address);
        connection.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
        connection
    };
    let mut served = send();
    wait_for("the worker to be busy", || (pool.busy.load(Ordering::SeqCst) == 1).then_some(()));
    let leaves = send();
    wait_for("one to wait", || (running.stats().pool.waiting == 1).then_some(()));
    drop(leaves);
    wait_for("nobody to wait", || (running.stats().pool.waiting == 0).then_some(()));
    let mut waits = send();
    wait_for("one to wait", || (running.stats().pool.waiting == 1).then_some(()));
    for _ in 0..2 {
        go.send(()).unwrap();
    }
    assert_eq!(served.response(false).unwrap().text(), "fine");
    assert_eq!(waits.response(false).unwrap().text(), "fine");
}

#[test]
fn what_takes_too_long_is_a_timeout() {
    let pool = FakePool::start(2, |request| {
        match request.param("REQUEST_URI") {
            // The pool's master cuts a worker off after the request's time.
            "/cut" => std::thread::sleep(Duration::from_millis(160)),
            _ => request.wait_for_close(),
        }
        After::Die
    });
    let running = before(&pool, |settings| {
        let pool = settings.pool.as_mut().unwrap();
        pool.request_timeout = Duration::from_millis(150);
        pool.grace = Duration::from_millis(150);
    });
    assert_eq!(get(running.address, "/cut", "").status, 504);
    assert_eq!(get(running.address, "/hang", "").status, 504);
}

#[test]
fn a_pool_that_is_not_there() {
    let dir = tempfile::tempdir().unwrap();
    let address = format!("unix:{}/none.sock", dir.path().display());
    let running = gateway(&[("index.php", ""), ("a.txt", "A")], |settings| {
        let mut pool = regie_pool::PoolSettings::new(address.parse().unwrap());
        pool.reach_timeout = Duration::from_millis(100);
        settings.pool = Some(pool);
    });
    let down = get(running.address, "/", "");
    assert_eq!((down.status, down.header("retry-after")), (503, Some("1")));
    assert_eq!(get(running.address, "/a.txt", "").text(), "A", "files are served all the same");
}

#[test]
fn a_pool_that_comes_late_is_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("late.sock");
    let running = gateway(&[("index.php", "")], |settings| {
        settings.pool = Some(regie_pool::PoolSettings::new(regie_pool::Address::Unix(path.clone())));
    });
    let mut connection = Connection::open(running.address);
    connection.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    wait_for("one to wait", || (running.stats().pool.waiting == 1).then_some(()));
    let pool = FakePool::start(1, |request| {
        request.say("X: y\r\n\r\nfine");
        After::Stay
    });
    symlink_socket(&pool.address, &path);
    assert_eq!(connection.response(false).unwrap().text(), "fine");
}

fn symlink_socket(address: &str, path: &std::path::Path) {
    std::os::unix::fs::symlink(address.strip_prefix("unix:").unwrap(), path).unwrap();
}

const PIECES: usize = 80;

/// 100,000 bytes that no coding makes shorter.
fn noise(piece: usize) -> Vec<u8> {
    let mut state = piece as u64 + 1;
    let mut bytes = vec![0; 100_000];
    for chunk in bytes.chunks_exact_mut(8) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        chunk.copy_from_slice(&state.to_le_bytes());
    }
    bytes
}

fn is_all(body: &[u8]) -> bool {
    body.len() == PIECES * 100_000
        && body.chunks(100_000).enumerate().all(|(piece, part)| part == noise(piece))
}

/// A pool of one worker that says 8 MB on `/large`, with the header that the query string is.
fn large() -> FakePool {
    FakePool::start(1, |request| {
        if !request.param("REQUEST_URI").starts_with("/large") {
            request.say("X: y\r\n\r\nfine");
            return After::Stay;
        }
        request.say(format!("{}\r\n\r\n", request.param("QUERY_STRING")));
        let all = (0..PIECES).all(|piece| request.say(noise(piece)));
        if all { After::Stay } else { After::Die }
    })
}

#[test]
fn a_slow_reader_frees_the_worker_early() {
    for (memory, file) in [(11_000_000, 0), (100_000, 11_000_000)] {
        for accept in ["identity", "gzip"] {
            let pool = large();
            let running = before(&pool, |settings| {
                (settings.limits.read_ahead, settings.limits.answer_spool) = (memory, file);
            });
            let mut slow = Connection::open(running.address);
            let target = "/large?Content-Type:text/plain";
            slow.send(format!("GET {target} HTTP/1.1\r\nHost: h\r\nAccept-Encoding: {accept}\r\n\r\n"));
            wait_for("the worker to be busy", || (running.stats().pool.served == 1).then_some(()));
            assert_eq!(get(running.address, "/", "").text(), "fine", "the reader has not read a byte");
            let answer = slow.response(false).unwrap();
            let body = match answer.header("content-encoding") {
                Some(_) => {
                    let mut plain = Vec::new();
                    flate2::read::GzDecoder::new(&answer.body[..]).read_to_end(&mut plain).unwrap();
                    plain
                }
                None => answer.body,
            };
            assert!(is_all(&body), "{memory} {accept}");
        }
    }
}

/// Where an answer may not be kept, its worker waits for its client, and others wait for the worker.
#[test]
fn what_is_not_kept_holds_its_worker() {
    for (header, file, folder_is_there) in [
        ("Content-Type:text/event-stream", 11_000_000, true),
        ("X-Accel-Buffering:no", 11_000_000, true),
        ("X:y", 500_000, true),
        ("X:y", 0, true),
        ("X:y", 11_000_000, false),
    ] {
        let pool = large();
        let running = before(&pool, |settings| {
            (settings.limits.read_ahead, settings.limits.answer_spool) = (100_000, file);
            settings.pool.as_mut().unwrap().queue.timeout = Duration::from_millis(300);
            if !folder_is_there {
                settings.spool_dir = "/nowhere/at-all".into();
            }
        });
        let mut slow = Connection::open(running.address);
        slow.send(format!("GET /large?{header} HTTP/1.1\r\nHost: h\r\n\r\n"));
        wait_for("the worker to be busy", || (running.stats().pool.served == 1).then_some(()));
        assert_eq!(get(running.address, "/", "").status, 503, "{header}");
        let is_told = || running.error_log().contains("cannot be kept for a slow client");
        if !folder_is_there {
            wait_for("the log to tell", || is_told().then_some(()));
        }
        let answer = slow.response(false).unwrap();
        assert!(answer.header("x-accel-buffering").is_none());
        assert!(is_all(&answer.body), "{header}: nothing is lost");
        assert_eq!(is_told(), !folder_is_there, "{header}");
    }
}

#[test]
fn a_slow_sender_holds_no_worker() {
    let pool = FakePool::start(1, |request| {
        let length = request.body().len();
        request.say(format!("X: y\r\n\r\n{length}"));
        After::Stay
    });
    let running = before(&pool, |_| {});
    let mut slow: Vec<Connection> = (0..8).map(|_| Connection::open(running.address)).collect();
    for connection in &mut slow {
        connection
            .send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 200000\r\n\r\n")
            .send(vec![b'x'; 100_000]);
    }
    assert_eq!(get(running.address, "/", "").text(), "0");
    assert_eq!(running.stats().pool.served, 1, "no slow request has reached a worker");
    for connection in &mut slow {
        connection.send(vec![b'x'; 100_000]);
        assert_eq!(connection.response(false).unwrap().text(), "200000");
    }
}

#[test]
fn errors_of_php_reach_the_log() {
    let pool = FakePool::start(1, |request| {
        request.complain("PHP Warning: something\n");
        request.say("X: y\r\n\r\nfine");
        After::Stay
    });
    let heard = std::sync::Arc::new(Mutex::new(Vec::new()));
    let sink = heard.clone();
    let running = before(&pool, |settings| {
        settings.pool.as_mut().unwrap().stderr =
            Some(std::sync::Arc::new(move |bytes: &[u8]| sink.lock().unwrap().extend_from_slice(bytes)));
    });
    assert_eq!(get(running.address, "/", "").text(), "fine");
    assert_eq!(heard.lock().unwrap().as_slice(), b"PHP Warning: something\n");
}

#[test]
fn a_worker_may_answer_without_reading_the_body() {
    let count = AtomicUsize::new(0);
    let pool = FakePool::start(1, move |request| {
        request.say("X: y\r\n\r\nearly");
        if count.fetch_add(1, Ordering::SeqCst) == 0 { After::Die } else { After::Stay }
    });
    let running = before(&pool, |_| {});
    let mut connection = Connection::open(running.address);
    connection
        .send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3000000\r\n\r\n")
        .send(vec![b'x'; 3_000_000]);
    let answer = connection.rest();
    assert!(answer.starts_with("HTTP/1.1 200") || answer.starts_with("HTTP/1.1 502"), "{answer}");
    assert_eq!(get(running.address, "/", "").text(), "early");
}

#[test]
fn a_worker_that_leaves_while_idle_is_not_asked() {
    let pool = FakePool::start(1, |request| {
        request.say("X: y\r\n\r\nfine");
        After::HangUp
    });
    let running = before(&pool, |_| {});
    for served in 1..=20_usize {
        assert_eq!(get(running.address, "/", "").text(), "fine");
        // Once the worker accepts anew, the old connection is closed for sure.
        wait_for("the worker to be back", || (pool.accepted.load(Ordering::SeqCst) > served).then_some(()));
    }
}
