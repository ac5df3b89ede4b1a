//! Helpers: this test binary started again as a worker or a gateway of a lane.

use std::os::fd::AsRawFd;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use regie_lane::{Broken, Exchange, Gateway, Lane, Read, Wake, Worker};

/// Names the part that the started process plays; its presence turns a test into that part.
pub(crate) const ROLE: &str = "REGIE_LANE_ROLE";

/// A process that is killed when the test ends, however it ends.
pub(crate) struct Process(pub(crate) Child);

impl Process {
    pub(crate) fn kill(&mut self) -> u32 {
        let _ = self.0.kill();
        let _ = self.0.wait();
        self.0.id()
    }

    /// Its process id, once it has ended by itself.
    pub(crate) fn ended(&mut self) -> Option<u32> {
        self.0.try_wait().unwrap().map(|_| self.0.id())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Starts this binary again to play `role` in `lane`. `test` is the test that turns into it.
pub(crate) fn start(lane: &Lane, test: &str, role: &str, stdout: Stdio) -> Process {
    lane.keep_over_exec().unwrap();
    let numbers: Vec<String> = lane.descriptors().map(|fd| fd.as_raw_fd().to_string()).collect();
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(ROLE, role)
        .env("REGIE_LANE_FDS", numbers.join(","))
        .stdin(Stdio::piped())
        .stdout(stdout)
        .spawn()
        .unwrap();
    Process(child)
}

/// The lane that this process was started with, and its role.
pub(crate) fn role() -> Option<(Arc<Lane>, String)> {
    let role = std::env::var(ROLE).ok()?;
    let numbers: Vec<i32> =
        std::env::var("REGIE_LANE_FDS").unwrap().split(',').map(|n| n.parse().unwrap()).collect();
    let named: Vec<(String, i32)> = Lane::names("t").into_iter().zip(numbers).collect();
    let find = |name: &str| named.iter().find(|(n, _)| n == name).map(|(_, fd)| *fd);
    Some((Arc::new(Lane::open("t", find).unwrap()), role))
}

/// Waits until `ready`, for two minutes at least.
pub(crate) fn eventually(what: &str, mut ready: impl FnMut() -> bool) {
    for _ in 0..120_000 {
        if ready() {
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    panic!("not within two minutes: {what}");
}

/// A runtime as the gateway has it.
pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// A gateway whose driver runs on the current runtime.
pub(crate) fn gateway(lane: &Arc<Lane>) -> Gateway {
    let gateway = Gateway::sit_down(lane.clone()).unwrap();
    let driver = gateway.clone();
    tokio::spawn(async move { driver.drive().await.unwrap() });
    gateway
}

/// The whole answer.
pub(crate) async fn answer(mut exchange: Exchange, body: &[u8]) -> Result<Vec<u8>, Broken> {
    let mut out = BytesMut::new();
    let all = std::future::poll_fn(|cx| {
        use std::task::Poll;
        while !exchange.is_body_sent() {
            let sent = usize::try_from(exchange.sent()).unwrap();
            match body.get(sent..) {
                Some([]) | None => exchange.end_body(true),
                Some(rest) => match exchange.poll_write(cx, rest) {
                    Poll::Ready(0) | Poll::Pending => break,
                    Poll::Ready(_) => {}
                },
            }
        }
        loop {
            match exchange.poll_read(cx, &mut out) {
                Poll::Ready(Ok(Read::Some)) => {}
                Poll::Ready(Ok(Read::End)) => return Poll::Ready(Ok(())),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
        }
    });
    all.await?;
    Ok(out.to_vec())
}

/// Serves until killed: answers the parameters followed by the body.
pub(crate) fn echo(lane: Arc<Lane>) -> ! {
    let mut worker = Worker::sit_down(lane).unwrap();
    loop {
        let Wake::Job(mut job) = worker.wait(None).unwrap() else { continue };
        let mut bytes = [0; 8192];
        let len = worker.copy_head(&job, &mut bytes);
        let mut ok = worker.write(&mut job, &bytes[..len], || true).is_ok();
        while ok {
            match worker.read_body(&mut job, &mut bytes, || true) {
                Ok(len @ 1..) => ok = worker.write(&mut job, &bytes[..len], || true).is_ok(),
                _ => break,
            }
        }
        assert!(worker.finish(job), "buried alive");
    }
}
