//! Measures the lane beside a Unix socket: one request at a time, many at a time, a large answer, a large upload.
//!
//! `cargo run --release -p regie-lane --example pingpong -- [workers] [work µs]`
#![expect(clippy::disallowed_macros, reason = "an example prints")]
#![expect(clippy::disallowed_methods, reason = "an example reads the clock")]

use std::future::poll_fn;
use std::io::{Read as _, Write as _};
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use regie_lane::{Gateway, Lane, Read, Shape, Wake, Worker};
use tokio::io::Interest;

const HEAD: usize = 900;
const ANSWER: usize = 300;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let workers: usize = arguments.next().and_then(|n| n.parse().ok()).unwrap_or(2);
    let work = Duration::from_micros(arguments.next().and_then(|n| n.parse().ok()).unwrap_or(0));
    let lane = Arc::new(Lane::create(Shape::default()).unwrap());
    let folder = std::env::temp_dir().join(format!("regie-pingpong-{}", std::process::id()));
    let listener = UnixListener::bind(&folder).unwrap();
    let (ours, theirs) = std::io::pipe().unwrap();
    let children: Vec<_> =
        (0..workers).map(|_| fork(|| lane_worker(lane.clone(), ours.as_fd(), work))).collect();
    let sockets: Vec<_> = (0..workers).map(|_| fork(|| socket_worker(&listener, work))).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(measure(lane, &folder, workers));
    drop(theirs);
    for child in children.into_iter().chain(sockets) {
        // SAFETY: our own children, which are waited for once.
        unsafe {
            libc::kill(child, libc::SIGKILL);
            libc::waitpid(child, std::ptr::null_mut(), 0);
        }
    }
    let _ = std::fs::remove_file(folder);
}

fn fork(child: impl FnOnce()) -> libc::pid_t {
    // SAFETY: this process has one thread.
    match unsafe { libc::fork() } {
        0 => {
            child();
            // SAFETY: ends the child without running what belongs to its parent.
            unsafe { libc::_exit(0) }
        }
        pid => pid,
    }
}

fn busy(work: Duration) {
    let begin = Instant::now();
    while begin.elapsed() < work {}
}

fn lane_worker(lane: Arc<Lane>, lifeline: std::os::fd::BorrowedFd<'_>, work: Duration) {
    let mut worker = Worker::sit_down(lane).unwrap();
    worker.watch(lifeline, false, 1).unwrap();
    let mut head = vec![0; 32 * 1024];
    let mut body = vec![0; 64 * 1024];
    loop {
        let mut job = match worker.wait(None).unwrap() {
            Wake::Job(job) => job,
            Wake::Ready(_) => return,
            Wake::Time | Wake::Signal => continue,
        };
        worker.copy_head(&job, &mut head);
        let wanted = u32::from_ne_bytes(head[..4].try_into().unwrap()) as usize;
        while worker.read_body(&mut job, &mut body, || true).is_ok_and(|read| read > 0) {}
        busy(work);
        let mut left = wanted;
        while left > 0 {
            let part = left.min(8192);
            if worker.write(&mut job, &body[..part], || true).is_err() {
                break;
            }
            left -= part;
        }
        worker.finish(job);
    }
}

fn socket_worker(listener: &UnixListener, work: Duration) {
    let (mut stream, _) = listener.accept().unwrap();
    let mut bytes = vec![0; 64 * 1024];
    loop {
        let Ok(read @ 1..) = stream.read(&mut bytes) else { return };
        let wanted = u32::from_ne_bytes(bytes[..4].try_into().unwrap()) as usize;
        let mut body = u32::from_ne_bytes(bytes[4..8].try_into().unwrap()) as usize - (read - HEAD);
        while body > 0 {
            body -= stream.read(&mut bytes).unwrap();
        }
        busy(work);
        let mut left = wanted;
        while left > 0 {
            let part = left.min(32768);
            stream.write_all(&bytes[..part]).unwrap();
            left -= part;
        }
    }
}

fn head(answer: usize, body: usize) -> [u8; HEAD] {
    let mut head = [7; HEAD];
    head[..4].copy_from_slice(&u32::try_from(answer).unwrap().to_ne_bytes());
    head[4..8].copy_from_slice(&u32::try_from(body).unwrap().to_ne_bytes());
    head
}

async fn by_lane(gateway: &Gateway, answer: usize, body: &[u8]) -> usize {
    let mut exchange = gateway.submit(1, &head(answer, body.len()), body, true).unwrap();
    let mut out = BytesMut::new();
    let mut total = 0;
    poll_fn(|cx| {
        use std::task::Poll;
        while !exchange.is_body_sent() {
            let sent = usize::try_from(exchange.sent()).unwrap();
            if sent == body.len() {
                exchange.end_body(true);
            } else if exchange.poll_write(cx, &body[sent..]).is_pending() {
                break;
            }
        }
        loop {
            out.clear();
            match exchange.poll_read(cx, &mut out) {
                Poll::Ready(read) => {
                    total += out.len();
                    if read.unwrap() == Read::End {
                        return Poll::Ready(total);
                    }
                }
                Poll::Pending => return Poll::Pending,
            }
        }
    })
    .await
}

async fn by_socket(stream: &tokio::net::UnixStream, answer: usize, body: &[u8]) -> usize {
    let mut first = head(answer, body.len()).to_vec();
    let inline = body.len().min(16 * 1024);
    first.extend_from_slice(&body[..inline]);
    for mut part in [&first[..], &body[inline..]] {
        while !part.is_empty() {
            match stream.try_write(part) {
                Ok(written) => part = &part[written..],
                Err(_) => drop(stream.ready(Interest::WRITABLE).await.unwrap()),
            }
        }
    }
    let mut out = BytesMut::with_capacity(64 * 1024);
    let mut total = 0;
    while total < answer {
        out.clear();
        match stream.try_read_buf(&mut out) {
            Ok(read) => total += read,
            Err(_) => drop(stream.ready(Interest::READABLE).await.unwrap()),
        }
    }
    total
}

fn report(name: &str, mut times: Vec<Duration>, all: Duration) {
    times.sort();
    let at = |part: usize| times[times.len() * part / 1000].as_nanos() as f64 / 1000.0;
    let rate = times.len() as f64 / all.as_secs_f64();
    println!("{name:<34} {rate:>9.0}/s   p50 {:>8.1} µs   p99 {:>8.1} µs", at(500), at(990));
}

async fn measure(lane: Arc<Lane>, path: &std::path::Path, workers: usize) {
    let gateway = Gateway::sit_down(lane).unwrap();
    let driver = gateway.clone();
    tokio::spawn(async move { driver.drive().await });
    let mut streams = Vec::new();
    for _ in 0..workers {
        let stream = UnixStream::connect(path).unwrap();
        stream.set_nonblocking(true).unwrap();
        streams.push(Arc::new(tokio::net::UnixStream::from_std(stream).unwrap()));
    }
    let upload = vec![1; 10 << 20];
    for round in 0..2 {
        println!("--- round {round}");
        for (name, count, answer, body) in [
            ("hello", 20_000, ANSWER, 0),
            ("1 MB answer", 1000, 1 << 20, 0),
            ("10 MB upload", 60, ANSWER, 10 << 20),
        ] {
            let mut times = Vec::new();
            let begin = Instant::now();
            for _ in 0..count {
                let at = Instant::now();
                assert_eq!(by_socket(&streams[0], answer, &upload[..body]).await, answer);
                times.push(at.elapsed());
            }
            report(&format!("{name}, socket, one at a time"), times, begin.elapsed());
            let mut times = Vec::new();
            let begin = Instant::now();
            for _ in 0..count {
                let at = Instant::now();
                assert_eq!(by_lane(&gateway, answer, &upload[..body]).await, answer);
                times.push(at.elapsed());
            }
            report(&format!("{name}, lane, one at a time"), times, begin.elapsed());
        }
        many(&gateway, &streams).await;
    }
}

const AT_ONCE: usize = 32;
const EACH: usize = 6000;

async fn many(gateway: &Gateway, streams: &[Arc<tokio::net::UnixStream>]) {
    let before = gateway.counts().bells;
    let begin = Instant::now();
    let tasks: Vec<_> = (0..AT_ONCE)
        .map(|_| {
            let gateway = gateway.clone();
            tokio::spawn(async move {
                let mut times = Vec::new();
                for _ in 0..EACH {
                    let at = Instant::now();
                    assert_eq!(by_lane(&gateway, ANSWER, &[]).await, ANSWER);
                    times.push(at.elapsed());
                }
                times
            })
        })
        .collect();
    let mut times = Vec::new();
    for task in tasks {
        times.extend(task.await.unwrap());
    }
    report("hello, lane, 32 at a time", times, begin.elapsed());
    let rings = (gateway.counts().bells - before) as f64 / (AT_ONCE * EACH) as f64;
    println!("{:<34} {rings:>9.3} bells/request", "");
    // The socket's side: a queue of connections, as the FastCGI carrier has it.
    let (give, take) = (
        Arc::new(tokio::sync::Semaphore::new(streams.len())),
        Arc::new(std::sync::Mutex::new(streams.to_vec())),
    );
    let begin = Instant::now();
    let tasks: Vec<_> = (0..AT_ONCE)
        .map(|_| {
            let (give, take) = (give.clone(), take.clone());
            tokio::spawn(async move {
                let mut times = Vec::new();
                for _ in 0..EACH {
                    let at = Instant::now();
                    let permit = give.acquire().await.unwrap();
                    let stream = take.lock().unwrap().pop().unwrap();
                    assert_eq!(by_socket(&stream, ANSWER, &[]).await, ANSWER);
                    take.lock().unwrap().push(stream);
                    drop(permit);
                    times.push(at.elapsed());
                }
                times
            })
        })
        .collect();
    let mut times = Vec::new();
    for task in tasks {
        times.extend(task.await.unwrap());
    }
    report("hello, socket, 32 at a time", times, begin.elapsed());
}
