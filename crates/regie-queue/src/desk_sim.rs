//! The desk against a model of server and workers: random deaths of worker, runner and server under a seed.
//!
//! The model's server keeps jobs waiting or reserved, and does each step as the real scripts do: only if the lease is
//! still there. A runner that dies takes its desk along; its successor finds the leases by their mark and asks the
//! workers' slots (`begun`, `outcomes`) what became of them. Every job must end done exactly once, unless its worker
//! died, and no job of one try is failed that never ran.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{Action, Desk, Ending, Handing, Key, Leased};
use crate::message::{Kind, Reason, Verdict};

struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }

    fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }
}

#[derive(Default)]
struct Server {
    waiting: VecDeque<(usize, u32)>,
    /// job → attempts with the lease.
    reserved: BTreeMap<usize, u32>,
    parked: Vec<usize>,
    away: bool,
}

#[derive(Default, Clone)]
struct Fate {
    runs: u32,
    deaths: u32,
    done: u32,
    failed: u32,
}

struct World {
    seed: u64,
    random: Random,
    server: Server,
    fates: Vec<Fate>,
    desk: Desk,
    /// What workers have, by the lease: it outlives the runner.
    begun: BTreeMap<usize, (u32, Kind)>,
    /// What workers have left in their slots.
    outcomes: BTreeMap<(usize, u32), Verdict>,
    /// Handed, not begun.
    handed: BTreeMap<Key, (usize, u32, Kind)>,
    now: Instant,
}

fn job_of(bytes: &Bytes) -> usize {
    std::str::from_utf8(bytes).unwrap().parse().unwrap()
}

fn leased(job: usize, attempts: u32) -> Leased {
    let text = Bytes::from(job.to_string());
    Leased {
        payload: text.clone(),
        receipt: text,
        id: job.to_string(),
        attempts,
        class: None,
        timeout: None,
        waited: None,
        broken: None,
    }
}

impl World {
    fn key_of(&self, job: usize) -> Option<Key> {
        self.desk.iter().find(|(_, lease)| job_of(&lease.job.payload) == job).map(|(key, _)| key)
    }

    fn step(&mut self) {
        match self.random.below(12) {
            0 | 1 => self.lease(),
            2 | 3 => self.hand(),
            4 | 5 => self.begin(),
            6 | 7 => self.end(),
            8 | 9 => self.settle(),
            10 if self.random.one_in(4) => {
                self.desk
                    .put_off(|lease| job_of(&lease.job.payload).is_multiple_of(2).then_some(Duration::ZERO));
            }
            10 => self.trouble(),
            _ => {
                if self.random.one_in(4) {
                    self.desk.give_back(|_| true);
                }
            }
        }
        self.server.away = self.server.away && !self.random.one_in(5);
    }

    fn lease(&mut self) {
        if self.server.away || !self.desk.may_lease() {
            return;
        }
        let mut jobs = Vec::new();
        for _ in 0..self.random.below(5) {
            let Some((job, attempts)) = self.server.waiting.pop_front() else { break };
            self.server.reserved.insert(job, attempts + 1);
            jobs.push(leased(job, attempts + 1));
        }
        // The answer may be lost on its way: then only the mark tells.
        if self.random.one_in(10) {
            self.reclaim();
        } else {
            self.desk.leased(self.now, 0, jobs);
        }
    }

    fn hand(&mut self) {
        if let Some(handing) = self.desk.hand(self.now, |_| true) {
            let lease = &self.desk.get(handing.key).unwrap().job;
            self.handed.insert(handing.key, (job_of(&lease.payload), lease.attempts, handing.kind));
        }
    }

    fn begin(&mut self) {
        let Some((&key, &(job, attempts, kind))) = self.handed.iter().next() else { return };
        self.handed.remove(&key);
        if self.random.one_in(8) {
            self.desk.ended(key, Ending::NotBegun);
            return;
        }
        assert!(
            self.begun.insert(job, (attempts, kind)).is_none(),
            "seed {}: job {job} at two workers",
            self.seed
        );
        if kind == Kind::Run {
            self.fates[job].runs += 1;
        }
    }

    /// A worker ends: well, or by its death.
    fn end(&mut self) {
        let Some((&job, &(attempts, kind))) = self.begun.iter().next() else { return };
        self.begun.remove(&job);
        let key = self.key_of(job);
        if self.random.one_in(6) {
            self.fates[job].deaths += 1;
            if let Some(key) = key {
                self.desk.ended(key, Ending::Died(Reason::Killed));
            }
            return;
        }
        let verdict = match kind {
            Kind::Run if self.random.one_in(5) => Verdict::Release(Duration::ZERO),
            Kind::Run => Verdict::Ack,
            Kind::Cancelled => Verdict::Failed,
            Kind::Died(_) if self.random.one_in(2) => Verdict::Failed,
            Kind::Died(_) => Verdict::Release(Duration::ZERO),
        };
        // The effects of a job exist once it has run, whatever becomes of its acknowledgement.
        match verdict {
            Verdict::Ack => self.fates[job].done += 1,
            Verdict::Failed => self.fates[job].failed += 1,
            Verdict::Release(_) => {}
        }
        self.outcomes.insert((job, attempts), verdict);
        if let Some(key) = key {
            self.desk.ended(key, Ending::Said(verdict));
        }
    }

    fn settle(&mut self) {
        let most = self.random.below(4);
        for (key, action) in self.desk.settle(most) {
            let lease = &self.desk.get(key).unwrap().job;
            let (job, asked) = (job_of(&lease.payload), lease.attempts);
            if self.server.away {
                self.desk.unsettled(key);
                continue;
            }
            // The receipt holds the attempts, so a lease of another attempt is another one.
            if self.server.reserved.get(&job) == Some(&asked) {
                self.server.reserved.remove(&job);
                let attempts = asked;
                match action {
                    Action::Ack => {}
                    Action::Release(_) => self.server.waiting.push_back((job, attempts)),
                    Action::Return => self.server.waiting.push_front((job, attempts - 1)),
                    Action::PutOff(_) => self.server.waiting.push_back((job, attempts - 1)),
                    Action::Park(_) => self.server.parked.push(job),
                }
            }
            // The confirmation may be lost: the same is asked again.
            if self.random.one_in(6) {
                self.desk.unsettled(key);
            } else {
                self.outcomes.remove(&(job, asked));
                self.desk.settled(key);
            }
        }
    }

    fn trouble(&mut self) {
        match self.random.below(6) {
            0 => self.server.away = true,
            1 => {
                // The runner is killed. What lay in the lane and was not begun goes with it.
                self.desk = Desk::default();
                self.handed.clear();
                self.reclaim();
            }
            _ => {}
        }
    }

    /// The leases that carry the mark and are not on the desk.
    fn reclaim(&mut self) {
        let lost: Vec<(usize, u32)> = self
            .server
            .reserved
            .iter()
            .filter(|(job, _)| self.key_of(**job).is_none())
            .map(|(job, attempts)| (*job, *attempts))
            .collect();
        for (job, attempts) in lost {
            if let Some(verdict) = self.outcomes.get(&(job, attempts)).copied() {
                let key = self.desk.inherited(self.now, 0, leased(job, attempts));
                self.desk.ended(key, Ending::Said(verdict));
            } else if self.begun.contains_key(&job) {
                self.desk.inherited(self.now, 0, leased(job, attempts));
            } else {
                self.desk.leased(self.now, 0, [leased(job, attempts)]);
                self.desk.give_back(|_| true);
            }
        }
    }

    fn check(&self) {
        for (job, fate) in self.fates.iter().enumerate() {
            let seed = self.seed;
            let waiting = self.server.waiting.iter().filter(|(other, _)| *other == job).count();
            let reserved = usize::from(self.server.reserved.contains_key(&job));
            let parked = self.server.parked.iter().filter(|other| **other == job).count();
            let over = (fate.done + fate.failed) as usize + parked;
            assert!(waiting + reserved + parked <= 1, "seed {seed}: job {job} is in two places");
            assert!(waiting + reserved + over >= 1, "seed {seed}: job {job} is lost");
            assert!(fate.done <= 1 + fate.deaths, "seed {seed}: job {job} was done twice and no worker died");
            assert!(fate.failed == 0 || fate.runs > 0, "seed {seed}: job {job} failed and never ran");
        }
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a starting point; nothing depends on its value")]
fn deaths_of_worker_runner_and_server_lose_nothing() {
    for seed in 1..=80_u64 {
        let jobs = 30;
        let mut world = World {
            seed,
            random: Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15)),
            server: Server { waiting: (0..jobs).map(|job| (job, 0)).collect(), ..Server::default() },
            fates: vec![Fate::default(); jobs],
            desk: Desk::default(),
            begun: BTreeMap::new(),
            outcomes: BTreeMap::new(),
            handed: BTreeMap::new(),
            now: Instant::now(),
        };
        let mut steps = 0;
        while !(world.server.waiting.is_empty() && world.server.reserved.is_empty()) {
            world.step();
            world.check();
            steps += 1;
            assert!(steps < 100_000, "seed {seed}: it does not come to an end");
        }
        assert_eq!(world.desk.ready(), 0, "seed {seed}");
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a starting point; nothing depends on its value")]
fn deaths_go_first_then_queues_then_age() {
    let now = Instant::now();
    let mut desk = Desk::default();
    desk.leased(now, 1, [leased(10, 1)]);
    let first = desk.hand(now, |_| true).unwrap();
    desk.leased(now, 1, [leased(11, 1), leased(12, 1)]);
    desk.leased(now, 0, [leased(1, 1), leased(2, 1)]);
    assert_eq!(desk.ended(first.key, Ending::Died(Reason::Timeout)), Some(1));
    let mut order = Vec::new();
    while let Some(handing) = desk.hand(now, |lease| lease.queue == 0 || order.len() > 2) {
        order.push((job_of(&desk.get(handing.key).unwrap().job.payload), handing.kind));
    }
    let run = Kind::Run;
    assert_eq!(order, [(10, Kind::Died(Reason::Timeout)), (1, run), (2, run), (11, run), (12, run)]);
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a starting point; nothing depends on its value")]
fn a_job_that_kills_its_workers_is_parked() {
    let now = Instant::now();
    let mut desk = Desk::default();
    desk.leased(now, 0, [leased(1, 1)]);
    for deaths in 1..=3 {
        let handing = desk.hand(now, |_| true).unwrap();
        assert_eq!(desk.ended(handing.key, Ending::Died(Reason::Killed)), Some(deaths));
    }
    assert_eq!(desk.hand(now, |_| true), None);
    assert_eq!(
        desk.settle(9).iter().map(|(_, action)| *action).collect::<Vec<_>>(),
        [Action::Park("workers died of it")]
    );
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a starting point; nothing depends on its value")]
fn a_job_that_is_cancelled_has_failed_and_is_not_tried_again() {
    let now = Instant::now();
    let mut desk = Desk::default();
    desk.leased(now, 0, [leased(0, 1), leased(1, 1), leased(2, 1)]);
    let id = |job| leased(job, 1).id;
    let running = desk.hand(now, |_| true).unwrap();
    assert_eq!(desk.cancel("nobody"), None);
    assert_eq!(desk.cancel(&id(0)), Some((running.key, true)), "a worker has it");
    // It goes before the others, and no worker runs it.
    let (waiting, handed) = desk.cancel(&id(2)).unwrap();
    assert!(!handed);
    assert_eq!(desk.hand(now, |_| true), Some(Handing { key: waiting, kind: Kind::Cancelled }));
    assert_eq!(desk.ended(running.key, Ending::Died(Reason::Killed)), Some(1));
    assert_eq!(desk.hand(now, |_| true), Some(Handing { key: running.key, kind: Kind::Cancelled }));
    for key in [waiting, running.key] {
        desk.ended(key, Ending::Said(Verdict::Failed));
    }
    assert_eq!(desk.cancel(&id(0)), None, "it is over");
    let settled = desk.settle(9).into_iter().map(|(_, action)| action).collect::<Vec<_>>();
    assert_eq!(settled, [Action::Ack, Action::Ack]);
    assert_eq!(desk.ready(), 1);
}
