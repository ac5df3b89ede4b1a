//! HTTP/2 in clear text, with prior knowledge.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};

use crate::fixture::{before, gateway};
use crate::worker::{After, FakePool};

async fn connect(address: SocketAddr) -> http2::SendRequest<Full<Bytes>> {
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

async fn ask(
    sender: &http2::SendRequest<Full<Bytes>>,
    address: SocketAddr,
    path: &str,
    body: &'static [u8],
) -> (u16, Bytes) {
    let request = hyper::Request::builder()
        .method(if body.is_empty() { "GET" } else { "POST" })
        .uri(format!("http://{address}{path}"))
        .header("cookie", "a=1")
        .header("cookie", "b=2")
        .body(Full::new(Bytes::from_static(body)))
        .unwrap();
    let answer = sender.clone().send_request(request).await.unwrap();
    (answer.status().as_u16(), answer.into_body().collect().await.unwrap().to_bytes())
}

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(crate::client::PATIENCE, test).await.unwrap() });
}

/// Eight workers answer only when all of them are busy: one after the other, nobody would ever be answered.
#[test]
fn sixteen_requests_at_once_on_eight_workers() {
    let together = std::sync::Barrier::new(8);
    let pool = FakePool::start(8, move |request| {
        together.wait();
        let text = format!("{} {}", request.param("SERVER_PROTOCOL"), request.param("HTTP_COOKIE"));
        request.say(format!("X: y\r\nConnection: close\r\n\r\n{text}"));
        After::Stay
    });
    let running = before(&pool, |_| {});
    let address = running.address;
    run(async move {
        let sender = connect(address).await;
        let all: Vec<_> = (0..16)
            .map(|_| {
                let sender = sender.clone();
                tokio::spawn(async move { ask(&sender, address, "/", b"").await })
            })
            .collect();
        for one in all {
            assert_eq!(one.await.unwrap(), (200, Bytes::from_static(b"HTTP/2.0 a=1; b=2")));
        }
    });
}

#[test]
fn bodies_go_both_ways() {
    let pool = FakePool::start(1, |request| {
        let body = request.body();
        request.say(format!("X: y\r\n\r\n{} {}", request.param("CONTENT_LENGTH"), body.len()));
        After::Stay
    });
    static BODY: [u8; 300_000] = [b'x'; 300_000];
    let running = before(&pool, |settings| settings.limits.body = 300_000);
    let address = running.address;
    run(async move {
        let sender = connect(address).await;
        assert_eq!(ask(&sender, address, "/", &BODY).await, (200, Bytes::from_static(b"300000 300000")));
        assert_eq!(ask(&sender, address, "/style.css", b"").await, (200, Bytes::from_static(b"body{}")));
        assert_eq!(ask(&sender, address, "/%2e%2e/x", b"").await.0, 400);
    });
    let running = before(&pool, |settings| settings.limits.body = 299_999);
    let address = running.address;
    run(async move {
        assert_eq!(ask(&connect(address).await, address, "/", &BODY).await.0, 413);
    });
}

#[test]
fn a_drain_lets_streams_finish() {
    let pool = FakePool::start(2, |request| {
        std::thread::sleep(Duration::from_millis(100));
        request.say("X: y\r\n\r\nfine");
        After::Stay
    });
    let mut running = before(&pool, |settings| settings.limits.drain = crate::client::PATIENCE);
    let address = running.address;
    run(async move {
        let sender = connect(address).await;
        let begun: Vec<_> = (0..2)
            .map(|_| {
                let sender = sender.clone();
                tokio::spawn(async move { ask(&sender, address, "/", b"").await })
            })
            .collect();
        while running.stats().pool.served < 2 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        running.begin_stop();
        for one in begun {
            assert_eq!(one.await.unwrap(), (200, Bytes::from_static(b"fine")));
        }
        let report = tokio::task::spawn_blocking(|| running.stop()).await.unwrap();
        assert_eq!(report.cut, 0);
    });
}

#[test]
fn large_files_are_sent() {
    let running = gateway(&[("big.bin", &"x".repeat(3_000_000))], |_| {});
    let address = running.address;
    run(async move {
        let sender = connect(address).await;
        assert_eq!(ask(&sender, address, "/big.bin", b"").await.1.len(), 3_000_000);
    });
}

#[test]
fn a_slow_stream_frees_the_worker_early() {
    let pool = FakePool::start(1, |request| {
        request.say("Content-Type: application/x\r\n\r\n");
        let pieces = if request.param("REQUEST_URI") == "/large" { 80 } else { 1 };
        for _ in 0..pieces {
            request.say(vec![b'x'; 100_000]);
        }
        After::Stay
    });
    // In memory, and in a file.
    for (memory, file) in [(16_000_000, 0), (100_000, 16_000_000)] {
        let running = before(&pool, |settings| {
            (settings.limits.read_ahead, settings.limits.answer_spool) = (memory, file);
        });
        let address = running.address;
        run(async move {
            let sender = connect(address).await;
            let request = hyper::Request::builder().uri(format!("http://{address}/large"));
            let large = sender.clone().send_request(request.body(Full::default()).unwrap()).await.unwrap();
            let other = connect(address).await;
            assert_eq!(
                ask(&other, address, "/", b"").await.1.len(),
                100_000,
                "nobody has read the large answer"
            );
            assert_eq!(large.into_body().collect().await.unwrap().to_bytes().len(), 8_000_000);
        });
    }
}

/// The client reads its socket and answers pings, but opens no window for more: the worker is not there for it alone.
#[test]
fn a_stream_that_nobody_takes_frees_its_worker() {
    let (said, hung_up) = std::sync::mpsc::channel();
    let said = std::sync::Mutex::new(said);
    let pool = FakePool::start(1, move |request| {
        request.say("X: y\r\n\r\n");
        // Far more than is read ahead.
        let all = (0..1_000).all(|_| request.say([b'x'; 16_384]));
        said.lock().unwrap().send(all).unwrap();
        After::Die
    });
    let running = before(&pool, |settings| {
        (settings.limits.write_timeout, settings.limits.answer_spool) =
            (Duration::from_millis(200), 2_000_000);
    });
    let address = running.address;
    run(async move {
        let sender = connect(address).await;
        let request = hyper::Request::get(format!("http://{address}/")).body(Full::default()).unwrap();
        let answer = sender.clone().send_request(request).await.unwrap();
        let all = tokio::task::spawn_blocking(move || hung_up.recv().unwrap()).await.unwrap();
        assert!(!all, "the worker was let go before it had said all");
        let taken = answer.into_body().collect().await;
        assert!(taken.is_err(), "an answer that was cut does not look complete");
    });
}
