//! What has happened, and what follows from it for the desk.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::state::Marks;
use super::{DIED, Event, Group};
use crate::backoff;
use crate::desk::{Ending, Key, Leased};
use crate::message::{Kind, Reason, Verdict};
use crate::shell::driver::Fault;
use crate::shell::executor::Report;

impl Group {
    pub(super) fn take(&mut self, at: Instant, event: Event) {
        match event {
            Event::Ended(key, report) => self.ended(at, key, *report),
            Event::Leased(queue, asked, result) => self.leased(at, queue, asked, result),
            Event::Settled(queue, keys, result) => {
                self.queues[queue].settling = false;
                let well = self.server(at, queue, result.err());
                for key in keys {
                    if well {
                        self.desk.settled(key);
                        if let Some(hold) = self.holds.remove(&key) {
                            hold.release();
                        }
                    } else {
                        self.desk.unsettled(key);
                        self.gathering.get_or_insert(at);
                    }
                }
            }
            Event::Ticked(queue, result) => {
                self.queues[queue].ticking = false;
                match result {
                    Ok(ticked) => {
                        self.server(at, queue, None);
                        let state = &mut self.queues[queue];
                        state.sizes = ticked.sizes;
                        state.maybe |= ticked.sizes.waiting > 0;
                        if ticked.more {
                            self.tick(queue);
                        }
                    }
                    Err(fault) => drop(self.server(at, queue, Some(fault))),
                }
            }
            Event::Reclaimed(queue, result) => self.reclaimed(at, queue, result),
            Event::Extended(result) => {
                self.extending = false;
                if let Err(fault) = result {
                    (self.settings.log)(&format!("leases could not be kept alive: {fault}"));
                }
            }
            Event::Woken(connection, result) => self.woken(at, connection, result.ok()),
            Event::Command(command) => self.command(at, command),
        }
    }

    /// Notes how a step with a queue's server went. Whether it went well.
    fn server(&mut self, at: Instant, queue: usize, fault: Option<Fault>) -> bool {
        let chance = self.chance();
        let state = &mut self.queues[queue];
        let Some(fault) = fault else {
            state.backoff.reset();
            state.rest_until = None;
            if state.trouble.take().is_some() {
                let name = self.name(queue);
                (self.settings.log)(&format!("{name}: its server answers again"));
            }
            return true;
        };
        state.rest_until = Some(at + state.backoff.next(chance));
        let text = fault.to_string();
        if state.trouble.as_ref() != Some(&text) {
            state.trouble = Some(text.clone());
            let name = self.name(queue);
            (self.settings.log)(&format!("{name}: {text}; it is asked again until it answers"));
        }
        false
    }

    fn leased(&mut self, at: Instant, queue: usize, asked: usize, result: Result<Vec<Leased>, Fault>) {
        self.leasing = false;
        match result {
            Ok(jobs) => {
                self.server(at, queue, None);
                if !jobs.is_empty() {
                    self.pace.fetched(at.saturating_duration_since(self.leased_since));
                }
                let again = std::mem::take(&mut self.queues[queue].again);
                self.queues[queue].maybe = jobs.len() >= asked || again;
                self.desk.leased(at, queue, jobs);
                if self.stop_at.is_some() {
                    self.given_back += self.desk.give_back(|_| true);
                } else {
                    self.give_back_paused();
                }
                self.gather(at);
            }
            Err(fault) => {
                // Whatever it took carries our mark.
                if fault.may_have_happened() {
                    self.queues[queue].marks = Marks::Unread;
                }
                self.server(at, queue, Some(fault));
            }
        }
    }

    fn reclaimed(&mut self, at: Instant, queue: usize, result: Result<Vec<Leased>, Fault>) {
        match result {
            Ok(jobs) => {
                self.server(at, queue, None);
                self.queues[queue].marks = Marks::Read;
                let known: HashSet<Bytes> = self
                    .desk
                    .iter()
                    .filter(|(_, lease)| lease.queue == queue)
                    .map(|(_, lease)| lease.job.receipt.clone())
                    .collect();
                let lost: Vec<Leased> =
                    jobs.into_iter().filter(|job| !known.contains(&job.receipt)).collect();
                if !lost.is_empty() {
                    let (name, count) = (self.name(queue), lost.len());
                    (self.settings.log)(&format!(
                        "{name}: {count} leased before are taken over, attempts unchanged"
                    ));
                }
                for job in lost {
                    self.take_over(at, queue, job);
                }
                self.forget_inherited();
                self.give_back_paused();
                self.gather(at);
            }
            Err(fault) => {
                self.queues[queue].marks = Marks::Unread;
                self.server(at, queue, Some(fault));
            }
        }
    }

    /// A queue may have been paused while its jobs were on their way.
    pub(super) fn give_back_paused(&mut self) {
        let queues = &self.queues;
        self.desk.give_back(|queue| queues[queue].is_paused());
    }

    /// A lease of a runner that is gone: a worker may have its job, or have ended it.
    fn take_over(&mut self, at: Instant, queue: usize, job: Leased) {
        let id = self.lease_id(queue, &job, Kind::Run);
        let died = self.inherited.remove(&format!("{id}{DIED}")).and_then(|left| left.report);
        let run = self.inherited.remove(&id).and_then(|left| left.report);
        let (report, other) = if died.is_some() { (died, run) } else { (run, None) };
        if let Some(other) = other {
            // The worker's death that the later message was about.
            tokio::spawn(async move { other.await.hold.release() });
        }
        match report {
            None => self.desk.leased(at, queue, [job]),
            Some(report) => {
                let counts = self.limits.begins(at, job.class.as_deref());
                let key = self.desk.inherited(at, queue, job);
                if counts {
                    self.limited.insert(key);
                }
                self.queues[queue].running += 1;
                self.spawn(async move { Event::Ended(key, Box::new(report.await)) });
            }
        }
    }

    /// What no lease belongs to was settled before the other runner went.
    fn forget_inherited(&mut self) {
        if self.queues.iter().all(|queue| queue.marks == Marks::Read) {
            for report in self.inherited.drain().filter_map(|(_, left)| left.report) {
                tokio::spawn(async move { report.await.hold.release() });
            }
        }
    }

    fn woken(&mut self, at: Instant, connection: usize, found: Option<Option<usize>>) {
        let chance = self.chance();
        let known = &mut self.connections[connection];
        known.waiting = false;
        match found {
            Some(found) => {
                known.backoff.reset();
                if let Some(queue) = found {
                    self.queues[queue].maybe = true;
                    self.queues[queue].again = self.leasing;
                }
            }
            // The server's other connection tells what is wrong.
            None => known.rest_until = Some(at + known.backoff.next(chance)),
        }
    }

    fn ended(&mut self, at: Instant, key: Key, report: Report) {
        let chance = self.chance();
        let Some(lease) = self.desk.get(key) else {
            report.hold.release();
            return;
        };
        let handed = lease.handed.map_or(Duration::ZERO, |handed| at.saturating_duration_since(handed));
        let ran = handed.saturating_sub(report.waited);
        let queue = lease.queue;
        let limit = lease.job.timeout.unwrap_or(self.settings.timeout);
        self.queues[queue].running = self.queues[queue].running.saturating_sub(1);
        let ending = match report.ending {
            // A worker that is killed at the limit looks like one that has died.
            Ending::Died(Reason::Killed) if !limit.is_zero() && ran >= limit => Ending::Died(Reason::Timeout),
            Ending::Said(Verdict::Release(wait)) if report.told.exception.is_some() => {
                Ending::Said(Verdict::Release(backoff::spread(wait, self.settings.jitter, chance)))
            }
            other => other,
        };
        if self.limited.remove(&key) {
            let ran = (ending != Ending::NotBegun).then_some(ran);
            self.limits.ended(lease.job.class.as_deref(), ran);
        }
        // The outcome of a message that another one of this lease came after is of no use any more.
        if let Some(earlier) = self.holds.insert(key, report.hold) {
            earlier.release();
        }
        if ending == Ending::NotBegun {
            let chance = self.chance();
            self.pool_rests = Some(at + self.pool_backoff.next(chance));
            if self.pool_backoff.tries() == 10
                && let Some(why) = &report.evidence
            {
                (self.settings.log)(&format!("no worker takes jobs: {why}"));
            }
            self.desk.ended(key, ending);
            if self.stop_at.is_some() {
                self.given_back += self.desk.give_back(|_| true);
                self.gather(at);
            }
            return;
        }
        self.pool_backoff.reset();
        if matches!(ending, Ending::Said(_)) {
            self.ran.push(ran);
        }
        self.record(key, ending, ran, report.told, report.evidence);
        let deaths = self.desk.ended(key, ending);
        if let Some(deaths) = deaths
            && let Some(lease) = self.desk.get(key)
        {
            let class = lease.job.class.as_deref().unwrap_or("a job");
            let (name, id) = (self.name(queue), &lease.job.id);
            (self.settings.log)(&format!("{name}: a worker died of {class} {id} ({deaths} until now)"));
        }
        self.gather(at);
    }

    pub(super) fn gather(&mut self, at: Instant) {
        if self.desk.due() > 0 {
            self.gathering.get_or_insert(at);
        }
    }
}
