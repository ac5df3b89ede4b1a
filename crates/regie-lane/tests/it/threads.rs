//! Threads in one process, over memory on the heap: small enough for Miri, which checks every access.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use regie_lane::Shape;
use regie_lane::flow::End;
use regie_lane::shell::memory::Memory;
use regie_lane::word::{Holder, State, Word, next_turn};

#[test]
fn requests_pass_through_private_memory() {
    let shape = Shape { slots: 4, head: 4096, request: 4096, response: 4096 };
    let memory = Arc::new(Memory::private(shape).unwrap());
    let total = if cfg!(miri) { 40 } else { 5_000 };
    let served = Arc::new(AtomicUsize::new(0));
    let workers: Vec<_> = (0..2)
        .map(|seat| {
            let (memory, served) = (memory.clone(), served.clone());
            std::thread::spawn(move || {
                let by = Holder { seat, generation: 1 };
                while served.load(Ordering::Relaxed) < total {
                    let Some((slot, turn)) = memory.ring(0, 1).take(by) else {
                        std::thread::yield_now();
                        continue;
                    };
                    let s = &memory.slots(0)[usize::from(slot)];
                    s.response.publish(u64::from(turn));
                    s.response.end(End::Complete);
                    served.fetch_add(1, Ordering::Relaxed);
                    assert!(s.finish(turn, by));
                    memory.header().desk(0).announce(slot);
                }
            })
        })
        .collect();
    let mut turns = [0; 4];
    let mut free: Vec<u16> = (0..4).collect();
    let (mut sent, mut answered) = (0, 0);
    while answered < total {
        while let Some(slot) = (sent < total).then(|| free.pop()).flatten() {
            let turn = next_turn(turns[usize::from(slot)]);
            turns[usize::from(slot)] = turn;
            memory.slots(0)[usize::from(slot)].prepare(0, false);
            memory.slots(0)[usize::from(slot)].queue(turn);
            memory.ring(0, 1).push(slot, turn, 0).unwrap();
            sent += 1;
        }
        memory.header().desk(0).drain(4, |slot| {
            let turn = turns[usize::from(slot)];
            let s = &memory.slots(0)[usize::from(slot)];
            let Some(Word { turn: found, state: State::Done(_) }) = s.word() else { return };
            assert_eq!(found, turn);
            assert_eq!(s.response.available(0, usize::MAX).unwrap().len, turn as usize);
            s.free(turn);
            free.push(slot);
            answered += 1;
        });
        std::thread::yield_now();
    }
    for worker in workers {
        worker.join().unwrap();
    }
}
