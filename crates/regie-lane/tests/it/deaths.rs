//! A worker that ends at each step of its work: what becomes of its request, of the one behind it, and of the slots.

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use regie_lane::{Broken, Janitor, Job, Lane, Shape, Wake, Worker};

use crate::process::{answer, echo, eventually, gateway, role, runtime, start};

const RING: usize = 4096;
const SMALL: Shape = Shape { slots: 2, head: 4096, request: 4096, response: 4096 };

/// What the client of the request sees.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Seen {
    /// Another worker's answer: the dead one had not taken it.
    Answered,
    /// The dead one's own answer, complete.
    Finished,
    /// That its worker died.
    Died,
}

/// The steps by name, and what the client sees of a worker that ends right after each.
const STEPS: [(&str, Seen); 9] = [
    ("seated", Seen::Answered),
    ("taken", Seen::Died),
    ("head read", Seen::Died),
    ("body half read", Seen::Died),
    ("body read", Seen::Died),
    ("answer written", Seen::Died),
    ("answer told of", Seen::Died),
    ("ring full", Seen::Died),
    ("finished", Seen::Finished),
];

#[test]
fn a_worker_may_die_after_every_step() {
    const TEST: &str = "deaths::a_worker_may_die_after_every_step";
    if let Some((lane, step)) = role() {
        match step.as_str() {
            "echo" => echo(lane),
            step => work_until(lane, step),
        }
    }
    for (step, expected) in STEPS {
        let lane = Arc::new(Lane::create(SMALL).unwrap());
        let janitor = Janitor::new(lane.clone()).unwrap();
        runtime().block_on(async {
            let gateway = gateway(&lane);
            let body = [b'b'; 2 * RING];
            let first = gateway.submit(1, b"first", &body, false).unwrap();
            let behind = gateway.submit(1, b"behind", &[], true).unwrap();
            let mut dying = start(&lane, TEST, step, Stdio::null());
            let first = tokio::spawn(async move { answer(first, &body).await });
            // It ends by itself; the runtime goes on meanwhile, since some steps need the gateway.
            let mut looks = 0;
            let pid = loop {
                if let Some(pid) = dying.ended() {
                    break pid;
                }
                looks += 1;
                assert!(looks < 60_000, "{step}: it does not end");
                tokio::time::sleep(Duration::from_millis(1)).await;
            };
            janitor.bury(pid);
            assert_eq!(lane.seated(), 0, "{step}");
            let mut living = start(&lane, TEST, "echo", Stdio::null());
            let seen = match first.await.unwrap() {
                Err(Broken::Died) => Seen::Died,
                Ok(bytes) if bytes == b"done" => Seen::Finished,
                Ok(bytes) if bytes == [&b"first"[..], &body].concat() => Seen::Answered,
                other => panic!("{step}: {other:?}"),
            };
            assert_eq!(seen, expected, "{step}");
            assert_eq!(answer(behind, &[]).await, Ok(b"behind".to_vec()), "{step}");
            assert_eq!(gateway.counts().free, 2, "{step}");
            janitor.bury(living.kill());
        });
        eventually("nobody is seated", || lane.seated() == 0);
    }
}

/// Works on the first request and ends, without a word to anybody, after `step`.
fn work_until(lane: Arc<Lane>, step: &str) -> ! {
    let mut worker = Worker::sit_down(lane).unwrap();
    let mut buffer = [0; 2 * RING];
    let mut job: Option<Job> = None;
    let (mut read, mut written) = (0, 0);
    for (now, _) in STEPS {
        match now {
            "taken" => {
                job = std::iter::repeat_with(|| worker.wait(None).unwrap())
                    .find_map(|wake| if let Wake::Job(job) = wake { Some(job) } else { None });
            }
            "head read" => assert_eq!(worker.copy_head(job.as_ref().unwrap(), &mut buffer), 5),
            "body half read" | "body read" => {
                let wanted = if now == "body read" { 2 * RING } else { RING / 2 };
                while read < wanted {
                    let room = wanted - read;
                    let len = worker.read_body(job.as_mut().unwrap(), &mut buffer[..room], || true).unwrap();
                    assert!(len > 0, "the body is longer");
                    read += len;
                }
            }
            "answer written" => {
                worker.write(job.as_mut().unwrap(), b"done", || true).unwrap();
                written += 4;
            }
            "answer told of" => assert!(worker.flush(job.as_mut().unwrap())),
            // Only the worker that ends here writes more.
            "ring full" if step == now => {
                worker.write(job.as_mut().unwrap(), &buffer[..RING - written], || true).unwrap();
            }
            "finished" => assert!(worker.finish(job.take().unwrap())),
            _ => {}
        }
        if now == step {
            // As a kill does it: nothing is dropped, nobody is told.
            std::process::abort();
        }
    }
    panic!("no step {step}");
}
