//! What the lane as a carrier promises: bounds in length and time, priorities, and that nobody waits behind a slow request.

use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use http_body_util::BodyExt as _;
use regie_lane::{Job, Lane, Shape, Wake, Worker};
use regie_pool::{Body, Call, CallError, Head, Pool, PoolSettings, Priority, QueueLimits};

const SMALL: Shape = Shape { slots: 8, head: 4096, request: 4096, response: 4096 };

/// Longer than any test takes.
const LONG: Duration = Duration::from_secs(600);

fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test);
}

fn lane() -> Arc<Lane> {
    Arc::new(Lane::create(SMALL).unwrap())
}

fn pool(lane: &Arc<Lane>, queue: QueueLimits) -> Pool {
    let nowhere = "/nonexistent/regie-pool-test.sock".parse().unwrap();
    Pool::start(PoolSettings {
        lane: Some(lane.clone()),
        queue,
        request_timeout: LONG,
        ..PoolSettings::new(nowhere)
    })
}

fn call(name: &str) -> Call {
    let mut head = Head::new();
    head.push("NAME", name);
    Call::new(head, Body::Empty)
}

async fn text(pool: &Pool, call: Call) -> Result<String, CallError> {
    let answer = pool.call(call).await?;
    let body = answer.body.collect().await?.to_bytes();
    Ok(String::from_utf8(body.to_vec()).unwrap())
}

/// Until `ready`; the runtime goes on meanwhile.
async fn eventually(what: &str, mut ready: impl FnMut() -> bool) {
    for _ in 0..60_000 {
        if ready() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("not within a minute: {what}");
}

/// The name in a request's parameters.
fn name(worker: &Worker<Arc<Lane>>, job: &Job) -> String {
    let mut head = [0; 4096];
    let len = worker.copy_head(job, &mut head);
    // Two lengths of one byte, then name and value.
    String::from_utf8(head[2 + "NAME".len()..len].to_vec()).unwrap()
}

fn reply(worker: &Worker<Arc<Lane>>, mut job: Job, text: &str) {
    let _ = worker.write(&mut job, format!("Status: 200\r\n\r\n{text}").as_bytes(), || true);
    assert!(worker.finish(job), "nobody buries it");
}

/// The next request; `patience` is for a test that fails.
fn next(worker: &mut Worker<Arc<Lane>>) -> Job {
    loop {
        match worker.wait(Some(LONG)).unwrap() {
            Wake::Job(job) => return job,
            Wake::Time => panic!("there is no request"),
            Wake::Ready(_) | Wake::Signal => {}
        }
    }
}

#[test]
fn a_request_that_no_worker_takes_is_taken_back_in_time_and_never_run() {
    run(async {
        let lane = lane();
        let queue = QueueLimits { len: 100, timeout: LONG };
        let pool = pool(&lane, queue);
        let late = Call { patience: Some(Duration::from_millis(50)), ..call("late") };
        let refused = text(&pool, late).await.unwrap_err();
        assert!(matches!(refused, CallError::QueueTimeout(_)), "{refused}");
        assert_eq!((refused.status().as_u16(), refused.retry_after()), (503, Some(Duration::from_secs(1))));
        assert_eq!((pool.counts().waiting, pool.counts().refused), (0, 1));
        // Nor is one run whose caller has left.
        drop(tokio::time::timeout(Duration::from_millis(50), pool.call(call("left"))).await);
        let waiting = tokio::spawn({
            let pool = pool.clone();
            async move { text(&pool, call("patient")).await }
        });
        eventually("it waits", || pool.counts().waiting == 1).await;
        let mut worker = Worker::sit_down(lane.clone()).unwrap();
        let job = next(&mut worker);
        assert_eq!(name(&worker, &job), "patient");
        reply(&worker, job, "served");
        assert_eq!(waiting.await.unwrap().unwrap(), "served");
        assert!(worker.take().is_none());
    });
}

#[test]
fn what_outlives_its_caller_is_begun_and_told_that_nobody_listens() {
    run(async {
        let lane = lane();
        // A quarter of it may wait for nobody.
        let pool = pool(&lane, QueueLimits { len: 8, timeout: LONG });
        let leave = |span| {
            let call = Call { outlives: Some(span), ..call("left") };
            tokio::time::timeout(Duration::from_millis(5), pool.call(call))
        };
        for _ in 0..4 {
            drop(leave(LONG).await);
        }
        assert_eq!((pool.strays(), pool.counts().waiting), (2, 2), "the others are past the bound");
        let mut worker = Worker::sit_down(lane.clone()).unwrap();
        let first = next(&mut worker);
        assert_eq!(name(&worker, &first), "left");
        eventually("it is let go", || worker.is_aborted(&first) && pool.strays() == 1).await;
        assert!(worker.finish(first), "it is run to its end all the same");
        let second = next(&mut worker);
        eventually("nobody waits", || pool.strays() == 0).await;
        worker.finish(second);
        drop(leave(Duration::from_millis(5)).await);
        eventually("its time is over", || pool.strays() == 0 && pool.counts().waiting == 0).await;
        assert!(worker.take().is_none());
    });
}

#[test]
fn the_queue_is_bounded_in_length() {
    run(async {
        let lane = lane();
        let mut worker = Worker::sit_down(lane.clone()).unwrap();
        let pool = pool(&lane, QueueLimits { len: 2, timeout: LONG });
        let ask = |name: &'static str| {
            let pool = pool.clone();
            tokio::spawn(async move { text(&pool, call(name)).await })
        };
        let busy = ask("busy");
        tokio::task::yield_now().await;
        let job = next(&mut worker);
        let waiting = [ask("a"), ask("b")];
        eventually("two wait", || pool.counts().waiting == 2).await;
        let refused = ask("c").await.unwrap().unwrap_err();
        assert!(matches!(refused, CallError::QueueFull(2)), "{refused}");
        assert_eq!(refused.status().as_u16(), 503);
        reply(&worker, job, "1");
        assert_eq!(busy.await.unwrap().unwrap(), "1");
        for waits in waiting {
            let job = next(&mut worker);
            reply(&worker, job, "2");
            assert_eq!(waits.await.unwrap().unwrap(), "2");
        }
    });
}

#[test]
fn priorities_go_first_and_within_one_who_came_first() {
    run(async {
        let lane = lane();
        let pool = pool(&lane, QueueLimits { len: 100, timeout: LONG });
        let mut asked = Vec::new();
        for (name, priority) in [
            ("low 1", Priority::Low),
            ("normal 1", Priority::Normal),
            ("normal 2", Priority::Normal),
            ("high 1", Priority::High),
            ("low 2", Priority::Low),
            ("high 2", Priority::High),
        ] {
            let pool = pool.clone();
            asked.push(tokio::spawn(
                async move { text(&pool, Call { priority, ..call(name) }).await.unwrap() },
            ));
            // One after the other into the lane.
            eventually("it waits in the lane", || lane.waiting() == asked.len()).await;
        }
        let mut worker = Worker::sit_down(lane.clone()).unwrap();
        for expected in ["high 1", "high 2", "normal 1", "normal 2", "low 1", "low 2"] {
            let job = next(&mut worker);
            assert_eq!(name(&worker, &job), expected);
            reply(&worker, job, expected);
        }
        for answer in asked {
            answer.await.unwrap();
        }
    });
}

#[test]
fn more_requests_than_slots_wait_their_turn_and_all_are_served() {
    run(async {
        let lane = lane();
        let pool = pool(&lane, QueueLimits { len: 1000, timeout: LONG });
        let asked: Vec<_> = (0..200)
            .map(|number| {
                let pool = pool.clone();
                tokio::spawn(async move { text(&pool, call(&number.to_string())).await.unwrap() })
            })
            .collect();
        eventually("the lane is full", || lane.waiting() == SMALL.slots as usize).await;
        let theirs = lane.clone();
        let worker = std::thread::spawn(move || {
            let mut worker = Worker::sit_down(theirs).unwrap();
            (0..200)
                .map(|_| {
                    let job = next(&mut worker);
                    let name = name(&worker, &job);
                    reply(&worker, job, &name);
                    name.parse().unwrap()
                })
                .collect::<Vec<usize>>()
        });
        for (number, answer) in asked.into_iter().enumerate() {
            assert_eq!(answer.await.unwrap(), number.to_string());
        }
        assert!(worker.join().unwrap().is_sorted(), "first come, first served");
        assert_eq!(pool.counts().waiting, 0);
    });
}

#[test]
fn nobody_waits_behind_a_slow_request_while_a_worker_is_idle() {
    run(async {
        let lane = lane();
        let pool = pool(&lane, QueueLimits { len: 100, timeout: LONG });
        let (go_on, told) = mpsc::channel::<()>();
        let told = Arc::new(std::sync::Mutex::new(told));
        let workers: Vec<_> = (0..2)
            .map(|_| {
                let (lane, told) = (lane.clone(), told.clone());
                std::thread::spawn(move || {
                    let mut worker = Worker::sit_down(lane).unwrap();
                    loop {
                        let job = next(&mut worker);
                        let name = name(&worker, &job);
                        if name == "slow" {
                            told.lock().unwrap().recv_timeout(LONG).unwrap();
                        }
                        reply(&worker, job, &name);
                        if name == "end" {
                            return;
                        }
                    }
                })
            })
            .collect();
        let slow = tokio::spawn({
            let pool = pool.clone();
            async move { text(&pool, call("slow")).await }
        });
        eventually("a worker has it", || pool.counts().workers == 2 && pool.counts().idle == 1).await;
        for number in 0..100 {
            let quick = text(&pool, call(&number.to_string()));
            assert_eq!(quick.await.unwrap(), number.to_string(), "while one is slow");
        }
        assert!(!slow.is_finished());
        go_on.send(()).unwrap();
        assert_eq!(slow.await.unwrap().unwrap(), "slow");
        for _ in 0..2 {
            assert_eq!(text(&pool, call("end")).await.unwrap(), "end");
        }
        for worker in workers {
            worker.join().unwrap();
        }
    });
}
