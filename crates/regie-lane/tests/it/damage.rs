//! Another process writes nonsense all over the lane; the gateway neither falls nor believes it.

use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use regie_lane::{Lane, Refusal, Shape, Wake, Worker};

use crate::process::{answer, gateway, runtime};

const SMALL: Shape = Shape { slots: 64, head: 4096, request: 4096, response: 4096 };

#[test]
fn nobody_can_cut_the_memory_away() {
    let lane = Lane::create(SMALL).unwrap();
    let memory = lane.descriptors().next().unwrap().as_raw_fd();
    let file = std::fs::File::options().write(true).open(format!("/proc/self/fd/{memory}")).unwrap();
    assert!(file.set_len(0).is_err());
    assert!(file.set_len(1 << 40).is_err());
}

#[test]
fn a_gateway_survives_random_damage() {
    for seed in 1..=40u64 {
        eprintln!("seed {seed}");
        let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut next = move || {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random
        };
        let lane = Arc::new(Lane::create(SMALL).unwrap());
        let memory = lane.descriptors().next().unwrap().as_raw_fd();
        let file = std::fs::File::options().write(true).open(format!("/proc/self/fd/{memory}")).unwrap();
        // Header, slots and rings: everything before the bodies.
        let control = file.metadata().unwrap().len()
            - u64::from(SMALL.head + SMALL.request + SMALL.response) * SMALL.all_slots() as u64;
        runtime().block_on(async {
            let gateway = gateway(&lane);
            let mut worker = Worker::sit_down(lane.clone()).unwrap();
            for round in 0..40 {
                let mut held = Vec::new();
                for _ in 0..4 {
                    match gateway.submit(1, b"head", b"body", true) {
                        Ok(exchange) => held.push(exchange),
                        Err(Refusal::Broken | Refusal::Full) => {}
                        Err(Refusal::TooLong) => panic!("it is short"),
                    }
                }
                for _ in 0..if round % 2 == 0 { 200 } else { 5 } {
                    file.write_at(&next().to_ne_bytes(), next() % (control - 8)).unwrap();
                }
                for _ in 0..4 {
                    if let Some(mut job) = worker.take() {
                        worker.copy_head(&job, &mut [0; 4096]);
                        worker.flush(&mut job);
                        worker.finish(job);
                    }
                }
                for exchange in held {
                    let answered = answer(exchange, b"body");
                    // What was damaged away is never answered; the caller's own limit ends it.
                    let limit = std::time::Duration::from_millis(1);
                    let _ = tokio::time::timeout(limit, answered).await;
                }
                let _ = gateway.counts();
            }
        });
    }
}

#[test]
fn an_impossible_count_costs_the_request_alone() {
    let lane = Arc::new(Lane::create(SMALL).unwrap());
    runtime().block_on(async {
        let gateway = gateway(&lane);
        let mut worker = Worker::sit_down(lane.clone()).unwrap();
        let exchange = gateway.submit(1, b"", &[], true).unwrap();
        let Wake::Job(mut job) = worker.wait(None).unwrap() else { panic!("there is one") };
        worker.write(&mut job, b"x", || true).unwrap();
        // The slot in use is the first; its answer's count lies where it is the only word that says 1 after flush.
        worker.flush(&mut job);
        let damaged = lane_slot(&lane);
        damaged.response.publish(u64::MAX / 2);
        assert_eq!(answer(exchange, &[]).await, Err(regie_lane::Broken::Corrupt));
        assert!(worker.is_aborted(&job));
        worker.finish(job);
        while gateway.counts().free < 64 {
            tokio::task::yield_now().await;
        }
        assert_eq!(gateway.counts().lost, 0);
    });
}

fn lane_slot(lane: &Lane) -> &regie_lane::slot::Slot {
    &lane.memory().slots(0)[0]
}
