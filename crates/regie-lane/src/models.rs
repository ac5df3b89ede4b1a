//! The algorithms under loom: every interleaving of two or three processes' steps up to a bound on preemptions, and
//! every value that the memory model lets a load return. A worker that dies is a thread that stops at a chosen step.

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use loom::thread;

use crate::flow::{End, Flow};
use crate::queue::{Ends, Entry, NotQueued, Ring};
use crate::slot::Slot;
use crate::wake::{Desk, Sleepers};
use crate::word::{Holder, State, Word};

/// Runs `model` with at most `preemptions` switches that no thread asked for. Bugs of this kind show with two or
/// three; more makes the test long and finds the same.
fn explore(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(model);
}

const fn worker(seat: u16) -> Holder {
    Holder { seat, generation: 1 }
}

struct Queue {
    ends: Ends,
    entries: Vec<Entry>,
    slots: Vec<Slot>,
}

impl Queue {
    fn new(slots: usize, entries: usize) -> Arc<Self> {
        Arc::new(Self {
            ends: Ends::default(),
            entries: (0..entries).map(|_| Entry::default()).collect(),
            slots: (0..slots).map(|_| Slot::default()).collect(),
        })
    }

    fn ring(&self) -> Ring<'_> {
        Ring { ends: &self.ends, entries: &self.entries, slots: &self.slots }
    }

    fn submit(&self, slot: u16, turn: u32) {
        let s = &self.slots[usize::from(slot)];
        s.prepare(7, false);
        s.queue(turn);
        self.ring().push(slot, turn, 0).unwrap();
    }
}

#[test]
fn two_workers_share_the_queue_in_order() {
    explore(2, || {
        let queue = Queue::new(2, 2);
        let takers: Vec<_> = [1, 2]
            .map(|seat| {
                let queue = queue.clone();
                thread::spawn(move || {
                    let mut mine = Vec::new();
                    while let Some((slot, turn)) = queue.ring().take(worker(seat)) {
                        assert_eq!(queue.slots[usize::from(slot)].head_len(), 7);
                        mine.push((slot, turn));
                    }
                    mine
                })
            })
            .into();
        queue.submit(0, 1);
        queue.submit(1, 1);
        let mut all: Vec<_> = takers.into_iter().map(|t| t.join().unwrap()).collect();
        for mine in &all {
            assert!(mine.is_sorted(), "first come, first served: {mine:?}");
        }
        // Whoever came before the requests went away; the rest is still there.
        all.push(std::iter::from_fn(|| queue.ring().take(worker(3))).collect());
        let mut all = all.concat();
        all.sort_unstable();
        assert_eq!(all, [(0, 1), (1, 1)], "each exactly once");
    });
}

#[test]
fn a_slot_that_is_used_again_is_not_taken_for_its_former_request() {
    explore(3, || {
        // One place and one slot: every entry lies where the one before lay.
        let queue = Queue::new(1, 1);
        queue.submit(0, 1);
        let other = {
            let queue = queue.clone();
            thread::spawn(move || queue.ring().take(worker(2)))
        };
        let first = queue.ring().take(worker(1));
        let mut second = None;
        if let Some((slot, turn)) = first {
            assert_eq!(turn, 1);
            assert!(queue.slots[usize::from(slot)].finish(turn, worker(1)));
            queue.slots[0].free(1);
            queue.slots[0].prepare(7, false);
            queue.slots[0].queue(2);
            // The other may still look at the old entry.
            match queue.ring().push(0, 2, 1) {
                Ok(()) => second = Some(2),
                Err(why) => assert_eq!(why, NotQueued::Full),
            }
        }
        match other.join().unwrap() {
            Some((0, 1)) => assert_eq!(first, None),
            Some((0, 2)) => assert_eq!(second, Some(2)),
            None => assert_eq!(first, Some((0, 1))),
            odd => panic!("{odd:?}"),
        }
    });
}

#[test]
fn an_entry_that_was_read_late_is_not_taken_before_its_turn() {
    explore(3, || {
        let queue = Queue::new(3, 2);
        queue.submit(0, 1);
        queue.submit(1, 1);
        let late = {
            let queue = queue.clone();
            thread::spawn(move || queue.ring().take(worker(2)))
        };
        let first = queue.ring().take(worker(1));
        // Its entry lies where the first one lay.
        queue.slots[2].prepare(7, false);
        queue.slots[2].queue(1);
        let _ = queue.ring().push(2, 1, 2);
        let mut both = [first.unwrap(), late.join().unwrap().unwrap()];
        both.sort_unstable();
        assert_eq!(both, [(0, 1), (1, 1)]);
    });
}

#[test]
fn a_request_is_taken_or_taken_back() {
    explore(3, || {
        let queue = Queue::new(2, 2);
        queue.submit(0, 1);
        queue.submit(1, 1);
        let taker = {
            let queue = queue.clone();
            thread::spawn(move || queue.ring().take(worker(1)))
        };
        let back = queue.slots[0].take_back(1);
        let taken = taker.join().unwrap();
        assert_eq!(
            taken,
            Some((u16::from(back), 1)),
            "the first, or the second when the first was taken back"
        );
    });
}

/// The worker dies after each of its steps in turn; the one beside it and the master put things right.
#[test]
fn a_worker_may_die_at_every_step_of_taking() {
    for steps in 0..3 {
        explore(3, move || {
            let queue = Queue::new(2, 2);
            queue.submit(0, 1);
            let dying = {
                let queue = queue.clone();
                thread::spawn(move || {
                    // The steps of Ring::take, cut short.
                    if steps >= 1 && queue.slots[0].take(1, worker(1)) && steps >= 2 {
                        let _ = queue.ring().take(worker(1));
                    }
                })
            };
            let living = {
                let queue = queue.clone();
                thread::spawn(move || queue.ring().take(worker(2)))
            };
            dying.join().unwrap();
            let buried = queue.slots[0].bury(1);
            let taken = living.join().unwrap();
            let word = queue.slots[0].word().unwrap();
            match taken {
                Some(_) => assert_eq!(word, Word::new(1, State::Taken(worker(2)))),
                None => assert!(buried && word == Word::new(1, State::Died(worker(1))), "{word:?}"),
            }
            // The queue goes on.
            queue.submit(1, 1);
            assert_eq!(queue.ring().take(worker(2)), Some((1, 1)));
        });
    }
}

#[test]
fn finishing_and_burying_are_one_of_the_two() {
    explore(3, || {
        let queue = Queue::new(1, 1);
        queue.submit(0, 1);
        assert!(queue.ring().take(worker(1)).is_some());
        let finishing = {
            let queue = queue.clone();
            thread::spawn(move || queue.slots[0].finish(1, worker(1)))
        };
        assert!(queue.slots[0].bury(1), "the gateway is told in either case");
        let finished = finishing.join().unwrap();
        let expect = if finished { State::Done(worker(1)) } else { State::Died(worker(1)) };
        assert_eq!(queue.slots[0].word(), Some(Word::new(1, expect)));
    });
}

#[test]
fn no_worker_sleeps_through_a_request() {
    explore(3, || {
        let queue = Queue::new(1, 1);
        let sleepers = Arc::new(Sleepers::default());
        let asleep = Arc::new(AtomicUsize::new(0));
        let sleeper = {
            let (queue, sleepers, asleep) = (queue.clone(), sleepers.clone(), asleep.clone());
            thread::spawn(move || {
                sleepers.open(0);
                sleepers.lie_down(0);
                if queue.ring().is_empty() {
                    asleep.store(1, Ordering::Relaxed);
                } else {
                    sleepers.get_up(0);
                }
            })
        };
        queue.submit(0, 1);
        let rings = sleepers.after_work();
        sleeper.join().unwrap();
        assert!(asleep.load(Ordering::Relaxed) == 0 || rings == 1, "it sleeps, and nobody rings");
    });
}

#[test]
fn no_gateway_dozes_through_an_answer() {
    explore(3, || {
        let desk = Arc::new(Desk::default());
        let bells = Arc::new(AtomicUsize::new(0));
        let workers: Vec<_> = [0, 1]
            .map(|slot| {
                let (desk, bells) = (desk.clone(), bells.clone());
                thread::spawn(move || {
                    if desk.announce(slot) {
                        bells.fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .into();
        let seen = desk.drain(2, |_| ());
        let dozes = desk.doze(2);
        for worker in workers {
            worker.join().unwrap();
        }
        let bells = bells.load(Ordering::Relaxed);
        let later = desk.drain(2, |_| ());
        assert_eq!(seen + later, 2, "no announcement is lost");
        assert!(bells <= 1, "one ring is enough");
        assert!(!dozes || later == 0 || bells == 1, "it dozes, and nobody rings");
    });
}

#[test]
fn a_flow_carries_every_byte_once() {
    const RING: usize = 2;
    explore(2, || {
        let flow = Arc::new(Flow::default());
        let ring: Arc<Vec<UnsafeCell<u8>>> = Arc::new((0..RING).map(|_| UnsafeCell::new(0)).collect());
        let writer = {
            let (flow, ring) = (flow.clone(), ring.clone());
            thread::spawn(move || {
                let mut written = 0u64;
                while written < 3 {
                    if flow.room(written, RING) == 0 {
                        thread::yield_now();
                        continue;
                    }
                    // SAFETY: loom checks that nobody reads the cell at the same time; that is the test.
                    ring[written as usize % RING].with_mut(|byte| unsafe { *byte = written as u8 + 1 });
                    written += 1;
                    flow.publish(written);
                }
                flow.end(End::Complete);
            })
        };
        let mut read = 0u64;
        loop {
            let available = flow.available(read, RING).unwrap();
            for _ in 0..available.len {
                // SAFETY: as above, for a writer.
                let byte = ring[read as usize % RING].with(|byte| unsafe { *byte });
                assert_eq!(u64::from(byte), read + 1);
                read += 1;
            }
            if available.len > 0 {
                flow.consume(read);
            } else if available.end == End::Complete {
                break;
            } else {
                thread::yield_now();
            }
        }
        assert_eq!(read, 3);
        writer.join().unwrap();
    });
}

#[test]
fn a_worker_in_a_request_does_not_sleep_through_room_or_abort() {
    for abort in [false, true] {
        explore(3, move || {
            let slot = Arc::new(Slot::default());
            let asleep = Arc::new(AtomicU32::new(0));
            slot.response.publish(2);
            let worker = {
                let (slot, asleep) = (slot.clone(), asleep.clone());
                thread::spawn(move || {
                    slot.lie_down();
                    if slot.response.room(2, 2) == 0 && !slot.is_aborted(1) {
                        asleep.store(1, Ordering::Relaxed);
                    } else {
                        slot.get_up();
                    }
                })
            };
            if abort {
                slot.abort(1);
            } else {
                slot.response.consume(2);
            }
            let wakes = slot.must_wake();
            worker.join().unwrap();
            assert!(asleep.load(Ordering::Relaxed) == 0 || wakes, "it sleeps, and nobody wakes it");
        });
    }
}

#[test]
fn a_gateway_does_not_wait_for_room_that_is_there() {
    explore(3, || {
        let slot = Arc::new(Slot::default());
        slot.request.publish(2);
        let gateway = {
            let slot = slot.clone();
            thread::spawn(move || {
                slot.want_room();
                slot.request.room(2, 2) == 0
            })
        };
        slot.request.consume(2);
        let tells = slot.must_tell_room();
        let waits = gateway.join().unwrap();
        assert!(!waits || tells, "it waits, and nobody tells it");
    });
}

/// The last gateway died awake or dozing, before or after it drained its desk. Its heir looks at the slot, then at the
/// desk, and sleeps only when it will be woken.
#[test]
fn an_heir_sees_an_answer_whenever_it_comes() {
    for (dozed, drained) in [(false, false), (true, false), (false, true)] {
        explore(3, move || {
            let queue = Queue::new(1, 1);
            queue.submit(0, 1);
            assert!(queue.ring().take(worker(1)).is_some());
            let desk = Arc::new(Desk::default());
            if dozed {
                desk.doze(1);
            }
            let bells = Arc::new(AtomicUsize::new(0));
            let finishing = {
                let (queue, desk, bells) = (queue.clone(), desk.clone(), bells.clone());
                thread::spawn(move || {
                    assert!(queue.slots[0].finish(1, worker(1)));
                    if desk.announce(0) {
                        bells.fetch_add(1, Ordering::Relaxed);
                    }
                })
            };
            if drained {
                // The last thing that the dead one did.
                desk.drain(1, |_| ());
            }
            let done = || queue.slots[0].word() == Some(Word::new(1, State::Done(worker(1))));
            let mut seen = done();
            seen |= desk.drain(1, |_| ()) > 0 && done();
            let dozes = desk.doze(1);
            finishing.join().unwrap();
            assert!(seen || !dozes || bells.load(Ordering::Relaxed) == 1, "it dozes, and nobody rings");
        });
    }
}

#[test]
fn an_heir_takes_back_or_a_worker_takes() {
    explore(3, || {
        let queue = Queue::new(1, 1);
        queue.slots[0].prepare(7, true);
        queue.slots[0].queue(1);
        queue.ring().push(0, 1, 0).unwrap();
        let taker = {
            let queue = queue.clone();
            thread::spawn(move || queue.ring().take(worker(1)).is_some())
        };
        assert!(queue.slots[0].is_kept());
        let back = queue.slots[0].take_back(1);
        let word = queue.slots[0].word().unwrap();
        assert_ne!(back, taker.join().unwrap(), "exactly one of the two");
        assert_eq!(word.state == State::Free, back, "and the heir sees which");
    });
}
