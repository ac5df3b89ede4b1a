//! Kept requests whose gateway dies: the next one is told of each, in the state in which it is, and nothing is freed before.

use std::process::Stdio;
use std::sync::Arc;

use regie_lane::{Broken, Gateway, Janitor, Lane, Left, Remains, Shape, Wake, Worker};

use crate::process::{Process, answer, eventually, role, runtime, start};

const SMALL: Shape = Shape { slots: 8, head: 4096, request: 4096, response: 4096 };

/// Sits down as an heir, with drivers running.
fn inherit(lane: &Arc<Lane>) -> Vec<(Gateway, Vec<Left>)> {
    let inherited = Gateway::inherit(lane).unwrap();
    for (gateway, _) in &inherited {
        let driver = gateway.clone();
        tokio::spawn(async move { driver.drive().await });
    }
    inherited
}

fn next(worker: &mut Worker<Arc<Lane>>) -> regie_lane::Job {
    loop {
        if let Wake::Job(job) = worker.wait(None).unwrap() {
            return job;
        }
    }
}

fn reply(worker: &Worker<Arc<Lane>>, mut job: regie_lane::Job, text: &[u8]) {
    worker.write(&mut job, text, || true).unwrap();
    assert!(worker.finish(job));
}

/// Starts a gateway in a process of its own, which submits `abcde` as kept requests and never reads an answer.
fn dying(lane: &Lane, test: &str) -> Process {
    start(lane, test, "gateway", Stdio::null())
}

fn play(lane: Arc<Lane>) -> ! {
    let gateway = Gateway::sit_down(lane).unwrap();
    let kept: Vec<_> =
        b"abcde".iter().map(|name| gateway.submit_kept(1, &[*name], b"body", true).unwrap()).collect();
    loop {
        std::thread::park();
        assert!(!kept.is_empty());
    }
}

#[test]
fn an_heir_finds_each_kept_request_as_it_is() {
    const TEST: &str = "estate::an_heir_finds_each_kept_request_as_it_is";
    if let Some((lane, role)) = role() {
        if role == "gateway" {
            play(lane);
        }
        // A worker that dies with the request in hand.
        let mut worker = Worker::sit_down(lane).unwrap();
        let _held = next(&mut worker);
        loop {
            std::thread::park();
        }
    }
    let lane = Arc::new(Lane::create(SMALL).unwrap());
    let janitor = Janitor::new(lane.clone()).unwrap();
    let mut gateway = dying(&lane, TEST);
    let mut worker = Worker::sit_down(lane.clone()).unwrap();
    let a = next(&mut worker);
    reply(&worker, a, b"before");
    let b = next(&mut worker);
    let mut doomed = start(&lane, TEST, "worker", Stdio::null());
    let taken_three = || {
        let words = lane.memory().slots(0).iter().filter_map(regie_lane::slot::Slot::word);
        words.filter(|word| matches!(word.state, regie_lane::word::State::Taken(_))).count() == 2
    };
    eventually("the other worker has the third", taken_three);
    gateway.kill();
    let pid = doomed.kill();
    // Finished while there is no gateway at all.
    let d = next(&mut worker);
    reply(&worker, d, b"between");
    assert_eq!(janitor.bury(pid), 1);
    runtime().block_on(async {
        let mut inherited = inherit(&lane);
        assert_eq!(inherited.len(), 1);
        let (gateway, left) = inherited.pop().unwrap();
        assert_eq!(gateway.counts().free, 4, "what was left is not free, but for the one that nobody began");
        let mut seen = String::new();
        let mut held = Vec::new();
        let mut late = Some(b);
        for Left { head, remains } in left {
            let name = head[0] as char;
            match remains {
                Remains::NotBegun => seen += &format!("{name} not begun, "),
                Remains::Begun(exchange) => {
                    if name == 'b' {
                        reply(&worker, late.take().unwrap(), b"after");
                    }
                    let (ended, exchange) = kept_answer(exchange).await;
                    seen += &match ended {
                        Ok(text) => format!("{name} {}, ", String::from_utf8(text).unwrap()),
                        Err(why) => format!("{name} {why:?}, "),
                    };
                    held.push(exchange);
                }
            }
        }
        assert_eq!(seen, "a before, b after, c Died, d between, e not begun, ");
        assert!(worker.take().is_none(), "what was not begun is not in the lane any more");
        assert_eq!(gateway.counts().free, 4, "read, and still held");
        held.into_iter().for_each(regie_lane::Exchange::release);
        assert_eq!(gateway.counts().free, 8);
        let exchange = gateway.submit(1, b"new", &[], true).unwrap();
        let job = next(&mut worker);
        reply(&worker, job, b"yes");
        assert_eq!(answer(exchange, &[]).await, Ok(b"yes".to_vec()));
    });
}

/// An answer that was read and not released is found again; one that was released is not.
#[test]
fn an_answer_is_there_until_it_is_released() {
    let lane = Arc::new(Lane::create(SMALL).unwrap());
    let mut worker = Worker::sit_down(lane.clone()).unwrap();
    runtime().block_on(async {
        let first = inherit(&lane).pop().unwrap().0;
        for (name, release) in [(b"r", true), (b"k", false), (b"d", false)] {
            let exchange = first.submit_kept(1, name, &[], true).unwrap();
            let job = next(&mut worker);
            reply(&worker, job, name);
            if name == b"d" {
                drop(exchange);
                continue;
            }
            let (ended, exchange) = kept_answer(exchange).await;
            assert_eq!(ended, Ok(name.to_vec()));
            if release {
                exchange.release();
            }
        }
        assert_eq!(first.counts().free, 6);
        // A second gateway at the same time does not touch what the first one holds.
        assert!(Gateway::inherit(&lane).unwrap().iter().all(|(_, left)| left.is_empty()));
        first.close();
        drop(first);
    });
    // The driver is gone with its runtime, and so is the seat.
    runtime().block_on(async {
        let (gateway, left) = inherit(&lane).pop().unwrap();
        let mut names = String::new();
        for Left { remains, .. } in left {
            let Remains::Begun(exchange) = remains else { panic!("{names}: all were begun") };
            let (ended, exchange) = kept_answer(exchange).await;
            names += std::str::from_utf8(&ended.unwrap()).unwrap();
            exchange.release();
        }
        assert_eq!(names, "kd");
        assert_eq!(gateway.counts().free, 8);
    });
}

#[test]
fn a_kept_request_that_waits_is_taken_back_when_it_is_dropped() {
    let lane = Arc::new(Lane::create(SMALL).unwrap());
    let gateway = Gateway::sit_down(lane.clone()).unwrap();
    drop(gateway.submit_kept(1, b"x", &[], true).unwrap());
    assert_eq!(gateway.counts().free, 8);
    let given_up = gateway.submit_kept(1, b"y", &[], true).unwrap();
    let mut worker = Worker::sit_down(lane).unwrap();
    let job = next(&mut worker);
    given_up.release();
    assert!(worker.is_aborted(&job), "released before its end, it is given up");
}

/// Each empty seat with an estate is inherited, and a plain gateway clears what it finds.
#[test]
fn estates_of_several_seats_are_found_and_plain_gateways_clear_theirs() {
    const TEST: &str = "estate::estates_of_several_seats_are_found_and_plain_gateways_clear_theirs";
    if let Some((lane, _)) = role() {
        play(lane);
    }
    let lane = Arc::new(Lane::create(SMALL).unwrap());
    let both = [dying(&lane, TEST), dying(&lane, TEST)];
    let queued = |seat| {
        let words = lane.memory().slots(seat).iter().filter_map(regie_lane::slot::Slot::word);
        words.filter(|word| word.state == regie_lane::word::State::Queued).count()
    };
    eventually("both have submitted", || queued(0) == 5 && queued(1) == 5);
    drop(both);
    runtime().block_on(async {
        let inherited = inherit(&lane);
        let left: Vec<usize> = inherited.iter().map(|(_, left)| left.len()).collect();
        assert_eq!(left, [5, 5]);
    });
    let third = dying(&lane, TEST);
    eventually("it has submitted", || queued(0) == 5);
    drop(third);
    let plain = Gateway::sit_down(lane.clone()).unwrap();
    assert_eq!(plain.counts().free, 8);
}

/// A body that was under way when its gateway died breaks off, and the worker learns it.
#[test]
fn a_body_that_nobody_ends_breaks_off() {
    const TEST: &str = "estate::a_body_that_nobody_ends_breaks_off";
    if let Some((lane, _)) = role() {
        let gateway = Gateway::sit_down(lane).unwrap();
        let exchange = gateway.submit_kept(1, b"half", b"half of it", false).unwrap();
        loop {
            std::thread::park();
            assert!(!exchange.is_body_sent());
        }
    }
    let lane = Arc::new(Lane::create(SMALL).unwrap());
    let mut gateway = start(&lane, TEST, "gateway", Stdio::null());
    let mut worker = Worker::sit_down(lane.clone()).unwrap();
    let mut job = next(&mut worker);
    gateway.kill();
    runtime().block_on(async {
        let (_gateway, left) = inherit(&lane).pop().unwrap();
        let mut body = [0; 64];
        assert_eq!(worker.read_body(&mut job, &mut body, || true), Ok(10));
        assert!(worker.read_body(&mut job, &mut body, || true).is_err());
        reply(&worker, job, b"broken");
        for Left { remains, .. } in left {
            let Remains::Begun(exchange) = remains else { panic!("it was begun") };
            let (ended, exchange) = kept_answer(exchange).await;
            assert_eq!(ended, Ok(b"broken".to_vec()));
            exchange.release();
        }
    });
}

/// The whole answer, and the exchange that still holds it.
async fn kept_answer(mut exchange: regie_lane::Exchange) -> (Result<Vec<u8>, Broken>, regie_lane::Exchange) {
    let mut bytes = bytes::BytesMut::new();
    loop {
        match std::future::poll_fn(|cx| exchange.poll_read(cx, &mut bytes)).await {
            Ok(regie_lane::Read::Some) => {}
            Ok(regie_lane::Read::End) => return (Ok(bytes.to_vec()), exchange),
            Err(why) => return (Err(why), exchange),
        }
    }
}
