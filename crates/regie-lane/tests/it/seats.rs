//! Who comes, goes and dies.

use std::os::fd::AsRawFd as _;
use std::os::unix::fs::FileExt as _;
use std::process::Stdio;
use std::sync::Arc;

use regie_lane::header::VERSION;
use regie_lane::{Broken, Gateway, Janitor, Lane, Shape, Wake, Worker};

use crate::process::{answer, echo, eventually, gateway, role, runtime, start};

const SMALL: Shape = Shape { slots: 4, head: 4096, request: 4096, response: 4096 };

#[test]
fn what_is_no_lane_is_refused() {
    let lane = Lane::create(SMALL).unwrap();
    let numbers: Vec<i32> = lane.descriptors().map(|fd| std::os::fd::AsRawFd::as_raw_fd(&fd)).collect();
    let named: Vec<(String, i32)> = Lane::names("php.web.lane").into_iter().zip(numbers).collect();
    let find = |name: &str| named.iter().find(|(n, _)| n == name).map(|(_, fd)| *fd);
    assert_eq!(Lane::open("php.web.lane", find).unwrap().shape(), SMALL);
    assert!(Lane::open("php.jobs.lane", find).unwrap_err().to_string().contains("php.jobs.lane"));
    let file = tempfile();
    assert!(Lane::open("x", |_| Some(std::os::fd::AsRawFd::as_raw_fd(&file))).is_err());
    assert!(Lane::create(Shape { slots: 0, ..SMALL }).is_err());
}

/// Programs of two releases may meet over one lane: after an update a worker of the new one is started beside a gateway
/// of the old one.
#[test]
fn another_version_or_shape_is_refused_by_name() {
    // Where the numbers lie is part of every version: magic, version, sizes of three parts, four numbers of the shape.
    for (at, number, expected) in [
        (0, 0, "no lane"),
        (8, VERSION + 1, "of version"),
        (8, VERSION - 1, "of version"),
        (12, 0, "sizes"),
        (20, 1, "sizes"),
        (24, 0, "1 to 1024 slots"),
        (24, u32::MAX, "1 to 1024 slots"),
        (28, 5000, "whole pages"),
        (32, 12 * 1024, "power of two"),
        (36, 1 << 30, "power of two"),
        (24, 8, "bytes"),
    ] {
        let lane = Lane::create(SMALL).unwrap();
        let numbers: Vec<i32> = lane.descriptors().map(|fd| fd.as_raw_fd()).collect();
        let file =
            std::fs::File::options().write(true).open(format!("/proc/self/fd/{}", numbers[0])).unwrap();
        file.write_all_at(&number.to_ne_bytes(), at).unwrap();
        let named: Vec<(String, i32)> = Lane::names("l").into_iter().zip(numbers).collect();
        let opened = Lane::open("l", |name| named.iter().find(|(n, _)| n == name).map(|(_, fd)| *fd));
        let told = opened.expect_err("it was changed").to_string();
        assert!(told.contains(expected), "{number} at {at}: {told}");
    }
}

fn tempfile() -> std::fs::File {
    std::fs::File::open(std::env::current_exe().unwrap()).unwrap()
}

#[test]
fn as_many_gateways_as_seats() {
    let lane = Arc::new(Lane::create(SMALL).unwrap());
    let mut seated: Vec<_> =
        (0..regie_lane::shape::GATEWAYS).map(|_| Gateway::sit_down(lane.clone()).unwrap()).collect();
    assert!(Gateway::sit_down(lane.clone()).is_err());
    seated.pop();
    assert!(Gateway::sit_down(lane).is_ok());
}

/// A worker in another process takes a request and dies with it.
#[test]
fn a_worker_that_dies_costs_its_request() {
    const TEST: &str = "seats::a_worker_that_dies_costs_its_request";
    if let Some((lane, what)) = role() {
        if what == "echo" {
            echo(lane);
        }
        let mut worker = Worker::sit_down(lane).unwrap();
        loop {
            // A job that is dropped is neither finished nor given up.
            if let Wake::Job(_) = worker.wait(None).unwrap() {
                std::thread::park();
            }
        }
    }
    let lane = Arc::new(Lane::create(SMALL).unwrap());
    let janitor = Janitor::new(lane.clone()).unwrap();
    runtime().block_on(async {
        let gateway = gateway(&lane);
        for told in [true, false] {
            let mut dying = start(&lane, TEST, "dying", Stdio::null());
            eventually("the worker is seated", || lane.seated() == 1);
            let lost = gateway.submit(1, b"lost", &[], true).unwrap();
            eventually("the worker has it", || lost.is_taken());
            let waits = gateway.submit(1, b"waits", &[], true).unwrap();
            let pid = dying.kill();
            if told {
                assert_eq!(janitor.bury(pid), 1);
                assert_eq!(janitor.bury(pid), 0, "a second time there is nothing");
            }
            // Untold, the driver finds out by itself.
            assert_eq!(answer(lost, &[]).await, Err(Broken::Died));
            assert_eq!(lane.seated(), 0);
            assert!(!waits.is_taken());
            let mut living = start(&lane, TEST, "echo", Stdio::null());
            assert_eq!(answer(waits, &[]).await, Ok(b"waits".to_vec()));
            janitor.bury(living.kill());
        }
        assert_eq!(gateway.counts().free, 4);
    });
}

/// A gateway in another process dies with requests waiting and taken; the next one on its seat gets every slot back.
#[test]
fn a_gateway_that_dies_leaves_the_lane_to_the_next() {
    const TEST: &str = "seats::a_gateway_that_dies_leaves_the_lane_to_the_next";
    if let Some((lane, _)) = role() {
        let gateway = Gateway::sit_down(lane).unwrap();
        let kept: Vec<_> = (0..4).map(|_| gateway.submit(1, b"x", &[], true).unwrap()).collect();
        std::thread::park();
        drop(kept);
    }
    let lane = Arc::new(Lane::create(SMALL).unwrap());
    let mut dying = start(&lane, TEST, "gateway", Stdio::null());
    let mut worker = Worker::sit_down(lane.clone()).unwrap();
    let mut jobs: Vec<_> = std::iter::repeat_with(|| worker.wait(None).unwrap())
        .filter_map(|wake| if let Wake::Job(job) = wake { Some(job) } else { None })
        .take(2)
        .collect();
    dying.kill();
    // One that writes more than the ring holds notices by itself that nobody will ever read.
    let mut writer = jobs.pop().unwrap();
    assert!(worker.write(&mut writer, &[1; 10_000], || true).is_err());
    assert!(worker.finish(writer));
    runtime().block_on(async {
        let gateway = gateway(&lane);
        assert_eq!(gateway.counts().taken, 1);
        assert_eq!(gateway.counts().free, 3);
        let job = jobs.pop().unwrap();
        assert!(worker.is_aborted(&job));
        assert!(worker.take().is_none(), "what nobody has taken was taken back");
        assert!(worker.finish(job));
        while gateway.counts().free < 4 {
            tokio::task::yield_now().await;
        }
        let exchange = gateway.submit(1, b"new", &[], true).unwrap();
        let mut job = worker.take().unwrap();
        worker.write(&mut job, b"yes", || true).unwrap();
        worker.finish(job);
        assert_eq!(answer(exchange, &[]).await, Ok(b"yes".to_vec()));
    });
}

#[test]
fn requests_of_two_gateways_come_in_one_order() {
    let lane = Arc::new(Lane::create(SMALL).unwrap());
    let old = Gateway::sit_down(lane.clone()).unwrap();
    let new = Gateway::sit_down(lane.clone()).unwrap();
    let _kept = [(&new, b"1"), (&old, b"2"), (&new, b"3"), (&old, b"4")]
        .map(|(gateway, name)| gateway.submit(1, name, &[], true).unwrap());
    let mut worker = Worker::sit_down(lane).unwrap();
    for expect in *b"1234" {
        let job = worker.take().unwrap();
        let mut name = [0];
        worker.copy_head(&job, &mut name);
        assert_eq!(name, [expect]);
        worker.finish(job);
    }
}
