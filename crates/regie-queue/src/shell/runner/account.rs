//! The record of each run, and the answers to those who ask.

use std::time::{Duration, Instant};

use super::handle::{AtWork, Cancelled, Command};
use super::{Group, GroupStats, LimitStats, QueueStats};
use crate::desk::{Ending, Key};
use crate::message::{Kind, Told, Verdict};
use crate::record::{End, Run};
use crate::shell::clock::unix;

impl Group {
    pub(super) fn record(
        &mut self,
        key: Key,
        ending: Ending,
        ran: Duration,
        told: Told,
        evidence: Option<String>,
    ) {
        let Some(lease) = self.desk.get(key) else { return };
        let end = match ending {
            Ending::Said(Verdict::Ack) => End::Done,
            Ending::Said(Verdict::Failed) => End::Failed,
            Ending::Said(Verdict::Release(_)) => End::Released,
            Ending::Died(_) | Ending::NotBegun => End::Died,
        };
        let wall = unix();
        let waited = lease.job.waited;
        self.queues[lease.queue].meter.count(wall, end, waited, ran);
        let micros = |span: Duration| u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
        let keep = matches!(end, End::Failed | End::Died);
        let class = told.class.or_else(|| lease.job.class.clone());
        let run = Run {
            id: lease.job.id.clone(),
            queue: self.name(lease.queue),
            class: class.unwrap_or_default(),
            tags: told.tags,
            attempts: lease.job.attempts,
            end,
            ended_ms: u64::try_from(wall.as_millis()).unwrap_or(u64::MAX),
            waited_us: waited.map(micros),
            ran_us: micros(ran),
            exception: told.exception,
            output: told.output,
            evidence,
            payload: keep.then(|| String::from_utf8_lossy(&lease.job.payload).into_owned()),
        };
        match &self.settings.archive {
            Some(archive) => archive.put(&run),
            None => self.history.put(run),
        }
    }

    pub(super) fn command(&mut self, at: Instant, command: Command) {
        match command {
            Command::Stats(reply) => drop(reply.send(self.stats())),
            Command::AtWork(reply) => drop(reply.send(self.at_work())),
            Command::Pause(wanted, paused, reply) => {
                let mut found = Vec::new();
                for queue in 0..self.queues.len() {
                    let name = self.name(queue);
                    if self.settings.queues[queue].name == wanted || name == wanted {
                        self.queues[queue].paused = paused;
                        self.queues[queue].maybe = true;
                        found.push(name);
                    }
                }
                self.give_back_paused();
                self.gather(at);
                let _ = reply.send(found);
            }
            Command::Cancel(id, reply) => {
                let found = self.desk.cancel(&id).and_then(|(key, handed)| {
                    let lease = self.desk.get(key)?;
                    let id = handed.then(|| self.lease_id(lease.queue, &lease.job, Kind::Run));
                    let queue = self.name(lease.queue);
                    Some(Cancelled { lease: id, group: self.settings.name.clone(), queue })
                });
                let _ = reply.send(found);
            }
            Command::Hold(held) => {
                if let Some(held) = held {
                    self.hold(at, &held);
                }
                self.heard();
            }
            Command::Find(wanted, most, reply) => {
                let found = self.history.find(wanted, most).into_iter().cloned().collect();
                let _ = reply.send(found);
            }
            Command::Stop(limit) => {
                let drain = limit.map_or(self.settings.drain, |limit| limit.min(self.settings.drain));
                self.stop_at.get_or_insert(at + drain);
                self.alone |= limit.is_some();
                self.given_back += self.desk.give_back(|_| true);
                self.gather(at);
            }
        }
    }

    fn at_work(&self) -> Vec<AtWork> {
        let at_workers = self.desk.iter().filter_map(|(_, lease)| Some((lease, lease.at_worker()?)));
        at_workers
            .map(|(lease, kind)| AtWork {
                lease: self.lease_id(lease.queue, &lease.job, kind),
                queue: self.name(lease.queue),
                id: lease.job.id.clone(),
                class: lease.job.class.clone(),
            })
            .collect()
    }

    fn hold(&mut self, at: Instant, held: &[String]) {
        for queue in 0..self.queues.len() {
            let name = self.name(queue);
            let now_held = held.contains(&name);
            let state = &mut self.queues[queue];
            if state.held != now_held {
                state.held = now_held;
                state.maybe = true;
                let what = if now_held { "is left alone, as the application says" } else { "goes on" };
                (self.settings.log)(&format!("{name} {what}"));
            }
        }
        self.give_back_paused();
        self.gather(at);
    }

    fn limit_stats(&self) -> Vec<LimitStats> {
        let mut limits: Vec<LimitStats> = self
            .limits
            .running()
            .map(|(class, limit, running)| LimitStats {
                class: class.to_owned(),
                running,
                concurrency: limit.concurrency,
                rate: limit.rate.map(|(most, span)| (most, span.as_secs_f64())),
            })
            .collect();
        limits.sort_by(|a, b| a.class.cmp(&b.class));
        limits
    }

    fn stats(&self) -> GroupStats {
        let wall = unix();
        let queues = self.queues.iter().enumerate().map(|(at, state)| QueueStats {
            queue: self.name(at),
            workers: self.settings.name.clone(),
            waiting: state.sizes.waiting,
            delayed: state.sizes.delayed,
            reserved: state.sizes.reserved,
            parked: None,
            oldest_s: None,
            running: state.running,
            paused: state.is_paused(),
            jobs_per_second: state.meter.rate(wall),
            wait: state.meter.waits(),
            run: state.meter.runs(),
            totals: state.meter.totals(),
            waits: state.meter.all_waits().clone(),
            runs: state.meter.all_runs().clone(),
            trouble: state.trouble.clone(),
        });
        GroupStats {
            name: self.settings.name.clone(),
            workers: self.executor.workers(),
            busy: self.desk.handed().min(self.executor.workers()),
            queues: queues.collect(),
            limits: self.limit_stats(),
        }
    }
}
