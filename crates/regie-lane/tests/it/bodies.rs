//! Bodies of all sizes, the end of a client, priorities and taking back, with one worker in a thread.

use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use regie_lane::{Broken, Gone, Job, Lane, Refusal, Shape, Wake, Worker};

use crate::process::{answer, eventually, gateway, runtime};

const SMALL: Shape = Shape { slots: 4, head: 4096, request: 4096, response: 4096 };

/// A worker in a thread, which does what `serve` says with each request until that returns false.
fn worker(
    lane: &Arc<Lane>,
    mut serve: impl FnMut(&Worker<Arc<Lane>>, Job) -> bool + Send + 'static,
) -> std::thread::JoinHandle<()> {
    let lane = lane.clone();
    std::thread::spawn(move || {
        let mut worker = Worker::sit_down(lane).unwrap();
        loop {
            match worker.wait(Some(Duration::from_secs(120))).unwrap() {
                Wake::Job(job) => {
                    if !serve(&worker, job) {
                        return;
                    }
                }
                Wake::Time => return,
                Wake::Ready(_) | Wake::Signal => {}
            }
        }
    })
}

fn echo(worker: &Worker<Arc<Lane>>, mut job: Job) -> bool {
    let mut bytes = [0; 1000];
    let len = worker.copy_head(&job, &mut bytes);
    let last = &bytes[..len] == b"last";
    while let Ok(len @ 1..) = worker.read_body(&mut job, &mut bytes, || true) {
        worker.write(&mut job, &bytes[..len], || true).unwrap();
    }
    worker.finish(job) && !last
}

#[test]
fn bodies_of_every_size_come_back() {
    let lane = Arc::new(Lane::create(SMALL).unwrap());
    let thread = worker(&lane, echo);
    runtime().block_on(async {
        let gateway = gateway(&lane);
        let naps = [Duration::ZERO, Duration::from_micros(500)];
        for (len, nap) in [0, 1, 999, 4095, 4096, 4097, 10_000, 300_000]
            .into_iter()
            .flat_map(|len| naps.map(|nap| (len, nap)))
        {
            gateway.nap(nap);
            let body: Vec<u8> = (0..len).map(|n: u32| (n % 251) as u8).collect();
            for complete in [true, false] {
                let exchange = gateway.submit(1, b"x", if complete { &body } else { &[] }, complete).unwrap();
                assert_eq!(answer(exchange, &body).await, Ok(body.clone()), "{len} bytes");
            }
        }
        answer(gateway.submit(1, b"last", &[], true).unwrap(), &[]).await.unwrap();
        assert_eq!(gateway.counts().free, 4);
    });
    thread.join().unwrap();
}

/// Who has napped for nothing listens to the bell: the second look finds the answer, however long the worker takes.
#[test]
fn an_answer_after_a_nap_is_heard() {
    let lane = Arc::new(Lane::create(SMALL).unwrap());
    let (go, goes) = mpsc::channel::<()>();
    let thread = worker(&lane, move |worker, job| {
        goes.recv().unwrap();
        echo(worker, job)
    });
    runtime().block_on(async {
        let gateway = gateway(&lane);
        gateway.nap(Duration::from_micros(500));
        for name in [&b"first"[..], b"last"] {
            let exchange = gateway.submit(1, name, b"body", true).unwrap();
            eventually("the worker has it", || gateway.counts().taken == 1);
            tokio::time::sleep(Duration::from_millis(20)).await;
            go.send(()).unwrap();
            assert_eq!(answer(exchange, b"body").await, Ok(b"body".to_vec()));
        }
    });
    thread.join().unwrap();
}

#[test]
fn a_reader_who_leaves_is_told_to_the_worker() {
    let lane = Arc::new(Lane::create(SMALL).unwrap());
    let (told, hears) = mpsc::channel();
    let thread = worker(&lane, move |worker, mut job| {
        // More than the ring holds: it must wait for a reader, who never comes.
        let result = worker.write(&mut job, &[1; 100_000], || true);
        told.send((result, worker.is_aborted(&job))).unwrap();
        worker.finish(job);
        false
    });
    runtime().block_on(async {
        let gateway = gateway(&lane);
        let exchange = gateway.submit(1, b"", &[], true).unwrap();
        eventually("the worker has it", || exchange.is_taken());
        drop(exchange);
        assert_eq!(hears.recv().unwrap(), (Err(Gone), true));
        while gateway.counts().free < 4 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    thread.join().unwrap();
}

#[test]
fn a_body_that_breaks_off_is_not_one_that_ends() {
    let lane = Arc::new(Lane::create(SMALL).unwrap());
    let (told, hears) = mpsc::channel();
    let thread = worker(&lane, move |worker, mut job| {
        let mut bytes = [0; 100];
        let first = worker.read_body(&mut job, &mut bytes, || true);
        told.send((first, worker.read_body(&mut job, &mut bytes, || true))).unwrap();
        worker.finish(job);
        false
    });
    runtime().block_on(async {
        let gateway = gateway(&lane);
        let mut exchange = gateway.submit(1, b"", b"half", false).unwrap();
        eventually("the worker has it", || exchange.is_taken());
        exchange.end_body(false);
        assert_eq!(answer(exchange, &[]).await, Ok(vec![]));
        assert_eq!(hears.recv().unwrap(), (Ok(4), Err(Gone)));
    });
    thread.join().unwrap();
}

#[test]
fn the_first_of_the_highest_priority_is_next_and_the_taken_back_is_not() {
    let lane = Arc::new(Lane::create(Shape { slots: 8, ..SMALL }).unwrap());
    runtime().block_on(async {
        let gateway = gateway(&lane);
        let submit =
            |priority: usize, name: &str| gateway.submit(priority, name.as_bytes(), &[], true).unwrap();
        let mut waiting =
            [submit(2, "low"), submit(1, "a"), submit(1, "b"), submit(1, "c"), submit(0, "high")];
        assert_eq!(gateway.counts().waiting, 5);
        assert!(waiting[2].take_back());
        assert!(!waiting[2].take_back());
        let mut worker = Worker::sit_down(lane.clone()).unwrap();
        let mut names = Vec::new();
        while let Some(job) = worker.take() {
            let mut name = [0; 8];
            let len = worker.copy_head(&job, &mut name);
            names.push(String::from_utf8(name[..len].to_vec()).unwrap());
            worker.finish(job);
        }
        assert_eq!(names, ["high", "a", "c", "low"]);
        assert!(!waiting[0].take_back());
    });
}

#[test]
fn a_full_lane_says_so_and_when_it_is_not() {
    let lane = Arc::new(Lane::create(SMALL).unwrap());
    runtime().block_on(async {
        let gateway = gateway(&lane);
        let (told, hears) = mpsc::channel();
        gateway.on_free(Arc::new(move || told.send(()).unwrap()));
        // Requests that are taken back wear out no place in the queue, though no worker ever looks.
        for _ in 0..100 {
            let held: Vec<_> = (0..4).map(|_| gateway.submit(1, b"", &[], true).unwrap()).collect();
            assert_eq!(gateway.submit(1, b"", &[], true).unwrap_err(), Refusal::Full);
            drop(held);
            assert_eq!(hears.try_iter().count(), 4);
        }
        assert_eq!(gateway.submit(1, &[0; 4097], &[], true).unwrap_err(), Refusal::TooLong);
    });
}

#[test]
fn a_request_that_is_given_up_has_died() {
    let lane = Arc::new(Lane::create(SMALL).unwrap());
    let thread = worker(&lane, |worker, job| {
        worker.give_up(job);
        false
    });
    runtime().block_on(async {
        let gateway = gateway(&lane);
        let exchange = gateway.submit(1, b"", &[], true).unwrap();
        assert_eq!(answer(exchange, &[]).await, Err(Broken::Died));
        assert_eq!(gateway.counts().free, 4);
    });
    thread.join().unwrap();
}

#[test]
fn other_descriptors_are_heard_beside_a_steady_stream() {
    use std::io::Write;
    use std::os::fd::AsFd;
    let lane = Arc::new(Lane::create(Shape { slots: 64, ..SMALL }).unwrap());
    runtime().block_on(async {
        let gateway = gateway(&lane);
        let _waiting: Vec<_> = (0..64).map(|_| gateway.submit(1, b"", &[], true).unwrap()).collect();
        let (theirs, mut ours) = std::io::pipe().unwrap();
        ours.write_all(b"x").unwrap();
        let mut worker = Worker::sit_down(lane.clone()).unwrap();
        worker.watch(theirs.as_fd(), true, 7).unwrap();
        let mut served = 0;
        loop {
            match worker.wait(None).unwrap() {
                Wake::Job(job) => drop(worker.finish(job)),
                Wake::Ready(7) => break,
                odd => panic!("{odd:?}"),
            }
            served += 1;
        }
        assert!((1..64).contains(&served), "{served}");
    });
}

#[test]
fn threads_of_one_gateway_share_its_seat() {
    let lane = Arc::new(Lane::create(Shape { slots: 64, ..SMALL }).unwrap());
    let thread = worker(&lane, echo);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.unwrap().block_on(async {
        let gateway = gateway(&lane);
        let clients: Vec<_> = (0..8u8)
            .map(|client| {
                let gateway = gateway.clone();
                tokio::spawn(async move {
                    for _ in 0..500 {
                        let exchange = gateway.submit(1, b"x", &[client], true).unwrap();
                        let body = [client];
                        let answered =
                            tokio::time::timeout(Duration::from_secs(120), answer(exchange, &body));
                        assert_eq!(answered.await.expect("in time"), Ok(vec![client]));
                    }
                })
            })
            .collect();
        for client in clients {
            client.await.unwrap();
        }
        answer(gateway.submit(1, b"last", &[], true).unwrap(), &[]).await.unwrap();
    });
    thread.join().unwrap();
}
