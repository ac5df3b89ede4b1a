//! What is to be done: each step is a task that comes back as an event.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::state::Marks;
use super::{BATCH_MAX, Event, GATHER, GATHER_MAX, Group, HANDED_MAX};
use crate::desk::{Action, Key};
use crate::message::{self, About, Kind};
use crate::record::End;
use crate::shell::clock::unix;
use crate::shell::driver::{Driver, Settlement};
use crate::shell::executor::Message;

impl Group {
    pub(super) fn tick(&mut self, queue: usize) {
        let state = &mut self.queues[queue];
        if state.ticking || self.stop_at.is_some() {
            return;
        }
        state.ticking = true;
        let (driver, name) = self.server_of(queue);
        self.spawn(async move { Event::Ticked(queue, driver.tick(&name).await) });
    }

    pub(super) fn beat(&mut self, at: Instant) {
        for connection in 0..self.connections.len() {
            let Some((every, next)) = self.connections[connection].beat else { continue };
            if at < next || self.extending {
                continue;
            }
            self.connections[connection].beat = Some((every, at + every));
            for queue in self.connections[connection].queues.clone() {
                let receipts: Vec<Bytes> = self
                    .desk
                    .iter()
                    .filter(|(_, lease)| lease.queue == queue && lease.since + every / 2 < at)
                    .map(|(_, lease)| lease.job.receipt.clone())
                    .collect();
                if !receipts.is_empty() {
                    self.extending = true;
                    let (driver, name) = self.server_of(queue);
                    self.spawn(async move { Event::Extended(driver.extend(&name, receipts).await) });
                }
            }
        }
    }

    pub(super) fn reclaim(&mut self, at: Instant) {
        for queue in 0..self.queues.len() {
            let state = &mut self.queues[queue];
            if state.marks == Marks::Unread && !state.rests(at) && !self.leasing && self.stop_at.is_none() {
                state.marks = Marks::Asked;
                let (driver, name) = self.server_of(queue);
                self.spawn(async move { Event::Reclaimed(queue, driver.reclaim(&name).await) });
            }
        }
    }

    /// Messages that may be at the pool: one for each worker, and what they do in a moment.
    fn window(&self) -> usize {
        let workers = self.workers.max(1);
        let growing = usize::from(workers < self.settings.workers_max);
        (workers + self.pace.ahead(workers).max(growing)).min(HANDED_MAX)
    }

    pub(super) fn hand(&mut self, at: Instant) {
        if self.is_asleep() || self.pool_rests.is_some_and(|until| until > at) {
            return;
        }
        self.pool_rests = None;
        let window = self.window();
        while self.desk.handed() < window {
            let queues = &self.queues;
            let limits = &self.limits;
            let admits = |class: &Option<String>| limits.is_empty() || limits.admits(at, class.as_deref());
            let next =
                self.desk.hand(at, |lease| !queues[lease.queue].is_paused() && admits(&lease.job.class));
            let Some(handing) = next else { return };
            let Some(lease) = self.desk.get(handing.key) else { return };
            let queue = &self.settings.queues[lease.queue];
            let job = &lease.job;
            let about = About {
                connection: &queue.connection,
                queue: &queue.name,
                id: &job.id,
                attempts: job.attempts,
            };
            let timeout = job.timeout.unwrap_or(self.settings.timeout);
            let body = match handing.kind {
                Kind::Run => self.queues[lease.queue].template.run(&job.id, job.attempts, &job.payload),
                died @ (Kind::Died(_) | Kind::Cancelled) => {
                    message::encode(died, about, &self.settings.options, &job.payload)
                }
            };
            let body = Bytes::from(body);
            let id = self.lease_id(lease.queue, job, handing.kind);
            self.queues[lease.queue].running += 1;
            if handing.kind == Kind::Run && self.limits.begins(at, job.class.as_deref()) {
                self.limited.insert(handing.key);
            }
            let (executor, key) = (self.executor.clone(), handing.key);
            let message = Message { id, body, timeout };
            self.spawn(async move { Event::Ended(key, Box::new(executor.run(message).await)) });
        }
    }

    /// Jobs whose class is at its limit stay on the desk while they are few.
    pub(super) fn put_off(&mut self, at: Instant) {
        if self.limits.is_empty() {
            return;
        }
        let (limits, mut blocked) = (&mut self.limits, HashMap::<String, usize>::new());
        self.desk.put_off(|lease| {
            let class = lease.job.class.as_deref();
            if limits.admits(at, class) {
                return None;
            }
            let before = blocked.entry(class.unwrap_or_default().to_owned()).or_default();
            *before += 1;
            (*before > limits.spares(class)).then(|| {
                *before -= 1;
                limits.put_off(at, class)
            })
        });
        self.blocked = blocked.values().sum();
        self.gather(at);
    }

    /// Whether a lease step was sent, which other steps may then go with.
    pub(super) fn lease(&mut self, at: Instant) -> bool {
        if self.leasing
            || self.stop_at.is_some()
            || !self.desk.may_lease()
            || self.workers == 0
            || self.is_asleep()
        {
            return false;
        }
        let ahead = self.pace.ahead(self.workers) + self.pace.meanwhile(self.workers);
        // Twice what may lie at the pool, fetched when half of that is gone: so steps move many jobs each.
        let target = self.window() + ahead;
        let held = self.desk.handed() + self.desk.ready() - self.blocked;
        if held + ahead / 2 + 1 > target {
            return false;
        }
        let count = (target - held).min(BATCH_MAX);
        let queues = &self.queues;
        let next = self.turns.next(|queue| {
            let state = &queues[queue];
            state.maybe && state.may_lease() && !state.rests(at)
        });
        let Some(queue) = next else { return false };
        self.leasing = true;
        self.leased_since = at;
        let (driver, name) = self.server_of(queue);
        self.spawn(async move { Event::Leased(queue, count, driver.lease(&name, count).await) });
        true
    }

    pub(super) fn settle(&mut self, at: Instant, now_anyway: bool) {
        let waited = self.gathering.is_some_and(|since| at >= since + GATHER);
        let due = self.desk.due();
        if due == 0 || !(waited || now_anyway || due >= GATHER_MAX || self.stop_at.is_some()) {
            return;
        }
        if self.queues.iter().any(|queue| queue.settling || queue.rests(at) && self.queues.len() == 1) {
            return;
        }
        let mut by_queue: Vec<(Vec<Key>, Vec<Settlement>)> = vec![Default::default(); self.queues.len()];
        for (key, action) in self.desk.settle(BATCH_MAX) {
            let Some(lease) = self.desk.get(key) else { continue };
            if self.queues[lease.queue].rests(at) {
                self.desk.unsettled(key);
                continue;
            }
            let settlement =
                Settlement { receipt: lease.job.receipt.clone(), payload: lease.job.payload.clone(), action };
            if let Action::Park(why) = action {
                self.queues[lease.queue].meter.count(unix(), End::Parked, None, Duration::ZERO);
                let (name, id) = (self.name(lease.queue), &lease.job.id);
                (self.settings.log)(&format!("{name}: job {id} is parked: {why}"));
            }
            by_queue[lease.queue].0.push(key);
            by_queue[lease.queue].1.push(settlement);
        }
        self.gathering = (self.desk.due() > 0).then_some(at);
        for (queue, (keys, settlements)) in by_queue.into_iter().enumerate() {
            if !keys.is_empty() {
                self.queues[queue].settling = true;
                let (driver, name) = self.server_of(queue);
                self.spawn(
                    async move { Event::Settled(queue, keys, driver.settle(&name, settlements).await) },
                );
            }
        }
    }

    pub(super) fn wait(&mut self, at: Instant) {
        let may_sleep = self.settings.workers_min == 0;
        if self.stop_at.is_some() || self.workers == 0 && !may_sleep {
            return;
        }
        for connection in 0..self.connections.len() {
            let known = &mut self.connections[connection];
            // A queue that is not leased from must not be waited on: each word of its work would be used up in vain.
            let open: Vec<usize> =
                known.queues.iter().copied().filter(|queue| self.queues[*queue].may_lease()).collect();
            let empty = open.iter().all(|queue| !self.queues[*queue].maybe);
            let rests = known.rest_until.is_some_and(|until| until > at);
            if known.waiting || open.is_empty() || !empty || rests {
                continue;
            }
            known.rest_until = None;
            known.waiting = true;
            let driver = known.driver.clone();
            let names: Vec<String> =
                open.iter().map(|queue| self.settings.queues[*queue].name.clone()).collect();
            self.spawn(async move {
                let found = driver.wait(&names).await;
                Event::Woken(connection, found.map(|place| place.map(|place| open[place])))
            });
        }
    }

    fn server_of(&self, queue: usize) -> (Arc<dyn Driver>, String) {
        let queue = &self.settings.queues[queue];
        (queue.driver.clone(), queue.name.clone())
    }
}
