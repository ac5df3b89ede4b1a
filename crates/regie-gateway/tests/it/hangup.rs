//! Clients that hang up while their request waits for a worker.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};

use crate::client::{Connection, PATIENCE, get};
use crate::fixture::{Running, before, wait_for};
use crate::worker::{After, FakePool};

/// More than any test takes.
const LONG: Duration = Duration::from_secs(600);

/// One worker, which is busy with `/busy` until it is told to go on.
struct Busy {
    pool: FakePool,
    go_on: mpsc::Sender<()>,
    /// What the worker was given, with the bodies.
    seen: Arc<Mutex<Vec<String>>>,
}

fn busy() -> Busy {
    let (go_on, told) = mpsc::channel::<()>();
    let told = Mutex::new(told);
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    let sees = seen.clone();
    let pool = FakePool::start(1, move |request| {
        let body = String::from_utf8(request.body()).unwrap();
        let uri = request.param("REQUEST_URI").to_owned();
        if uri == "/busy" {
            told.lock().unwrap().recv_timeout(PATIENCE).unwrap();
        }
        sees.lock().unwrap().push(format!("{uri} {}", body.len()));
        request.say("X: y\r\n\r\nfine");
        After::Stay
    });
    Busy { pool, go_on, seen }
}

/// Sends `method path` with a body of `len` bytes, and hangs up when it waits.
fn hang_up_http1(running: &Running, method: &str, path: &str, len: usize) {
    let mut leaves = Connection::open(running.address);
    leaves.send(format!("{method} {path} HTTP/1.1\r\nHost: h\r\nContent-Length: {len}\r\n\r\n"));
    leaves.send(vec![b'x'; len]);
    wait_for("it to wait", || (running.stats().pool.waiting == 1).then_some(()));
}

/// The same over HTTP/2: the stream is reset, the connection stays.
fn hang_up_http2(running: &Running, method: &str, path: &str, len: usize) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let address: SocketAddr = running.address;
    runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let (mut sender, connection) =
            http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let request = hyper::Request::builder().method(method).uri(format!("http://{address}{path}"));
        let answer = sender.send_request(request.body(Full::new(Bytes::from(vec![b'x'; len]))).unwrap());
        let waits = async {
            while running.stats().pool.waiting == 0 {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::select! {
            answer = answer => panic!("it is answered: {answer:?}"),
            () = waits => {}
        }
        // Until the gateway has heard it.
        while !has_heard(running) {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    });
}

fn has_heard(running: &Running) -> bool {
    String::from_utf8_lossy(&running.access.lock().unwrap()).contains(" 499 ")
}

/// What the worker gets after one that hung up, with this grace.
fn check(http2: bool, grace: Duration, (method, len): (&str, usize), is_begun: bool) {
    let Busy { pool, go_on, seen } = busy();
    let running = before(&pool, |settings| {
        settings.limits.hangup_grace = grace;
        settings.access_log = Some(regie_gateway::LogFormat::Combined);
    });
    let mut first = Connection::open(running.address);
    first.send("GET /busy HTTP/1.1\r\nHost: h\r\n\r\n");
    wait_for("the worker to be busy", || (pool.busy.load(Ordering::SeqCst) == 1).then_some(()));
    let hang_up = if http2 { hang_up_http2 } else { hang_up_http1 };
    hang_up(&running, method, "/call", len);
    wait_for("the log to tell", || has_heard(&running).then_some(()));
    if !is_begun {
        wait_for("nobody to wait", || (running.stats().pool.waiting == 0).then_some(()));
    }
    assert_eq!(running.stats().pool.waiting, usize::from(is_begun), "{method} {len}");
    go_on.send(()).unwrap();
    assert_eq!(first.response(false).unwrap().text(), "fine");
    // First come, first served: what was asked later has its turn later.
    assert_eq!(get(running.address, "/later", "").text(), "fine");
    let call = is_begun.then(|| format!("/call {len}"));
    let expected: Vec<String> =
        [Some("/busy 0".into()), call, Some("/later 0".into())].into_iter().flatten().collect();
    assert_eq!(*seen.lock().unwrap(), expected, "HTTP/2: {http2}, {method}, {len} bytes, {grace:?}");
}

#[test]
fn what_waits_is_begun_all_the_same() {
    for http2 in [false, true] {
        check(http2, LONG, ("GET", 0), true);
        check(http2, LONG, ("POST", 1_000), true);
        check(http2, LONG, ("POST", 40_000), true);
    }
}

#[test]
fn only_within_its_grace_and_only_what_is_small_and_usual() {
    for http2 in [false, true] {
        check(http2, Duration::ZERO, ("GET", 0), false);
        check(http2, Duration::from_millis(20), ("GET", 0), false);
        check(http2, LONG, ("PUT", 10), false);
        check(http2, LONG, ("POST", 100_000), false);
    }
}

#[test]
fn they_do_not_fill_the_queue() {
    let Busy { pool, go_on, seen } = busy();
    let running = before(&pool, |settings| {
        settings.limits.hangup_grace = LONG;
        // A quarter of it may wait for nobody.
        settings.pool.as_mut().unwrap().queue.len = 8;
    });
    let mut first = Connection::open(running.address);
    first.send("GET /busy HTTP/1.1\r\nHost: h\r\n\r\n");
    wait_for("the worker to be busy", || (pool.busy.load(Ordering::SeqCst) == 1).then_some(()));
    let mut leave = Vec::new();
    for _ in 0..8 {
        let mut leaves = Connection::open(running.address);
        leaves.send("GET /call HTTP/1.1\r\nHost: h\r\n\r\n");
        leave.push(leaves);
    }
    wait_for("all to wait", || (running.stats().pool.waiting == 8).then_some(()));
    drop(leave);
    wait_for("those past the bound to go", || (running.stats().pool.waiting == 2).then_some(()));
    go_on.send(()).unwrap();
    assert_eq!(first.response(false).unwrap().text(), "fine");
    assert_eq!(get(running.address, "/later", "").text(), "fine");
    assert_eq!(*seen.lock().unwrap(), ["/busy 0", "/call 0", "/call 0", "/later 0"]);
}

/// A stop does not lose what it would have begun.
#[test]
fn a_drain_waits_for_them() {
    let Busy { pool, go_on, seen } = busy();
    let mut running = before(&pool, |settings| {
        settings.limits.hangup_grace = LONG;
        settings.limits.drain = PATIENCE;
    });
    let mut first = Connection::open(running.address);
    first.send("GET /busy HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    wait_for("the worker to be busy", || (pool.busy.load(Ordering::SeqCst) == 1).then_some(()));
    hang_up_http1(&running, "GET", "/call", 0);
    running.begin_stop();
    go_on.send(()).unwrap();
    assert_eq!(first.response(false).unwrap().text(), "fine");
    running.stop();
    wait_for("the call", || seen.lock().unwrap().contains(&"/call 0".to_owned()).then_some(()));
}
