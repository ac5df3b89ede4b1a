//! Who gets the next free worker, and who has waited too long.
//!
//! ```text
//!             ask ──┬─ a worker is idle ──────────────▶ Granted
//!                   ├─ the queue has room ─▶ waiting ─┬─ free ───▶ Grant (oldest of the highest priority)
//!                   │                                 ├─ expire ─▶ Expired
//!                   │                                 └─ leave  ─▶ (forgotten)
//!                   └─ it has none ───────────────────▶ Full
//! ```
//!
//! Rules: a worker is never idle while somebody waits. Within a priority the order is first come, first served. Of
//! the idle workers the one that was freed last is taken, since its memory is the warmest. The queue is bounded in
//! length and in time; one place is never held by somebody who has left.
//!
//! `W` stands for a worker that is ready, `P` for whatever leads back to the one who waits.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// Who goes first when workers are scarce.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Priority {
    /// Before all others: health checks of the pool itself.
    High,
    /// Requests of users.
    #[default]
    Normal,
    /// After all others: warming up, benchmarks beside live traffic.
    Low,
}

/// The bounds of the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueLimits {
    /// How many requests may wait.
    pub len: usize,
    /// How long one may wait.
    pub timeout: Duration,
}

impl Default for QueueLimits {
    fn default() -> Self {
        Self { len: 1_024, timeout: Duration::from_secs(30) }
    }
}

/// One who waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket {
    priority: Priority,
    number: u64,
}

/// The answer to [`Queue::ask`].
#[derive(Debug, PartialEq, Eq)]
pub enum Asked<W> {
    /// Here is a worker.
    Granted(W),
    /// Wait; the ticket is for [`Queue::leave`].
    Wait(Ticket),
    /// Too many wait already.
    Full,
}

/// A worker for somebody who waited.
#[derive(Debug, PartialEq, Eq)]
pub struct Grant<W, P> {
    /// The worker.
    pub worker: W,
    /// Who gets it.
    pub to: P,
}

#[derive(Debug)]
struct Waiter<P> {
    until: Instant,
    payload: P,
}

/// See the module.
#[derive(Debug)]
pub struct Queue<W, P> {
    limits: QueueLimits,
    idle: Vec<W>,
    waiting: BTreeMap<Ticket, Waiter<P>>,
    deadlines: BTreeSet<(Instant, Ticket)>,
    next_number: u64,
}

impl<W, P> Queue<W, P> {
    /// An empty queue without workers.
    #[must_use]
    pub const fn new(limits: QueueLimits) -> Self {
        Self {
            limits,
            idle: Vec::new(),
            waiting: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            next_number: 0,
        }
    }

    /// Somebody wants a worker, and will wait for `patience` at most (bounded by the limit). `payload` is made only
    /// when there is a wait.
    pub fn ask(
        &mut self,
        now: Instant,
        priority: Priority,
        patience: Option<Duration>,
        payload: impl FnOnce() -> P,
    ) -> Asked<W> {
        if let Some(worker) = self.idle.pop() {
            return Asked::Granted(worker);
        }
        if self.waiting.len() >= self.limits.len {
            return Asked::Full;
        }
        let until = now + patience.map_or(self.limits.timeout, |p| p.min(self.limits.timeout));
        let ticket = Ticket { priority, number: self.next_number };
        self.next_number += 1;
        self.waiting.insert(ticket, Waiter { until, payload: payload() });
        self.deadlines.insert((until, ticket));
        Asked::Wait(ticket)
    }

    /// A worker is ready: it goes to whoever is first, or among the idle ones.
    pub fn free(&mut self, worker: W) -> Option<Grant<W, P>> {
        let Some((ticket, waiter)) = self.waiting.pop_first() else {
            self.idle.push(worker);
            return None;
        };
        self.deadlines.remove(&(waiter.until, ticket));
        Some(Grant { worker, to: waiter.payload })
    }

    /// The one with `ticket` waits no more. Unknown tickets were granted or have expired.
    pub fn leave(&mut self, ticket: Ticket) -> Option<P> {
        let waiter = self.waiting.remove(&ticket)?;
        self.deadlines.remove(&(waiter.until, ticket));
        Some(waiter.payload)
    }

    /// One who has waited too long at `now`; call until there is none.
    pub fn expire(&mut self, now: Instant) -> Option<P> {
        let (until, ticket) = *self.deadlines.first()?;
        if until > now {
            return None;
        }
        self.leave(ticket)
    }

    /// Everybody who waits, from the first; for when there is nothing to wait for.
    pub fn dismiss(&mut self) -> impl Iterator<Item = P> + use<W, P> {
        self.deadlines.clear();
        std::mem::take(&mut self.waiting).into_values().map(|waiter| waiter.payload)
    }

    /// When [`Queue::expire`] is to be called next.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(until, _)| *until)
    }

    /// Takes out the idle workers that `leaves` names.
    pub fn retire(&mut self, leaves: impl FnMut(&mut W) -> bool) -> Vec<W> {
        self.idle.extract_if(.., leaves).collect()
    }

    /// Workers that wait for a request.
    #[must_use]
    pub const fn idle(&self) -> usize {
        self.idle.len()
    }

    /// Requests that wait for a worker.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: QueueLimits = QueueLimits { len: 3, timeout: Duration::from_secs(30) };

    #[expect(clippy::disallowed_methods, reason = "a starting point; the tests count on from it")]
    fn start() -> Instant {
        Instant::now()
    }

    enum Do {
        Ask(char, Priority),
        Patient(char, u64),
        Free(u32),
        Leave(char),
        At(u64),
        Retire(u32),
    }
    use Do::{Ask, At, Free, Leave, Patient, Retire};
    use Priority::{High, Low, Normal};

    /// Runs `steps`; what they say is written as `a<1` (a gets worker 1), `a?` (waits), `a!` (full), `a-` (expired).
    fn check(steps: &[Do], expected: &str) {
        let begin = start();
        let (mut now, mut said) = (begin, Vec::new());
        let mut queue: Queue<u32, char> = Queue::new(LIMITS);
        let mut tickets = BTreeMap::new();
        for step in steps {
            match *step {
                Ask(who, priority) => match queue.ask(now, priority, None, || who) {
                    Asked::Granted(worker) => said.push(format!("{who}<{worker}")),
                    Asked::Wait(ticket) => {
                        tickets.insert(who, ticket);
                        said.push(format!("{who}?"));
                    }
                    Asked::Full => said.push(format!("{who}!")),
                },
                Patient(who, secs) => match queue.ask(now, Normal, Some(Duration::from_secs(secs)), || who) {
                    Asked::Wait(_) => said.push(format!("{who}?")),
                    other => panic!("{other:?}"),
                },
                Free(worker) => {
                    said.extend(queue.free(worker).map(|grant| format!("{}<{}", grant.to, grant.worker)));
                }
                Leave(who) => {
                    queue.leave(tickets[&who]);
                }
                At(secs) => {
                    now = begin + Duration::from_secs(secs);
                    while let Some(who) = queue.expire(now) {
                        said.push(format!("{who}-"));
                    }
                }
                Retire(worker) => assert_eq!(queue.retire(|idle| *idle == worker), [worker]),
            }
        }
        assert_eq!(said.join(" "), expected);
    }

    #[test]
    fn workers_go_to_those_who_ask() {
        check(&[Free(1), Ask('a', Normal), Ask('b', Normal), Free(1)], "a<1 b? b<1");
        check(&[Free(1), Free(2), Ask('a', Normal)], "a<2");
        check(&[Free(1), Free(2), Retire(2), Ask('a', Normal)], "a<1");
    }

    #[test]
    fn first_come_first_served_within_a_priority() {
        check(&[Ask('a', Normal), Ask('b', Normal), Free(1), Free(2)], "a? b? a<1 b<2");
        check(
            &[Ask('a', Low), Ask('b', Normal), Ask('c', High), Free(1), Free(2), Free(3)],
            "a? b? c? c<1 b<2 a<3",
        );
    }

    #[test]
    fn the_queue_is_bounded_in_length_and_time() {
        check(
            &[Ask('a', Normal), Ask('b', Normal), Ask('c', Normal), Ask('d', Normal), Free(1)],
            "a? b? c? d! a<1",
        );
        check(&[Ask('a', Normal), At(10), Ask('b', Normal), At(29), At(30), At(40)], "a? b? a- b-");
        check(&[Ask('a', Normal), Patient('b', 5), At(5), Free(1)], "a? b? b- a<1");
        check(&[Patient('a', 500), At(30)], "a? a-");
    }

    #[test]
    fn who_leaves_holds_no_place() {
        check(
            &[
                Ask('a', Normal),
                Ask('b', Normal),
                Ask('c', Normal),
                Leave('b'),
                Ask('d', Normal),
                Free(1),
                Free(2),
                Free(3),
            ],
            "a? b? c? d? a<1 c<2 d<3",
        );
        check(&[Ask('a', Normal), Leave('a'), At(60), Free(1), Ask('b', Normal)], "a? b<1");
    }

    /// Random events under a seed: nobody is lost, nobody is answered twice, no worker is idle while somebody waits.
    #[test]
    fn any_sequence_keeps_the_invariants() {
        for seed in 1..=200_u64 {
            let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let mut random = |below: u64| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state % below
            };
            let mut now = start();
            let mut queue: Queue<u32, u64> = Queue::new(LIMITS);
            let mut outside: Vec<u32> = (0..4).collect();
            let mut waiting: Vec<(u64, Ticket)> = Vec::new();
            for who in 0..400_u64 {
                match random(4) {
                    0 | 1 => {
                        let priority = [High, Normal, Low][usize::try_from(random(3)).unwrap()];
                        match queue.ask(now, priority, Some(Duration::from_secs(random(60))), || who) {
                            Asked::Granted(worker) => outside.push(worker),
                            Asked::Wait(ticket) => waiting.push((who, ticket)),
                            Asked::Full => assert_eq!(waiting.len(), LIMITS.len, "seed {seed}"),
                        }
                    }
                    2 if !outside.is_empty() => {
                        let worker =
                            outside.swap_remove(usize::try_from(random(outside.len() as u64)).unwrap());
                        if let Some(grant) = queue.free(worker) {
                            let first = waiting.iter().map(|(_, ticket)| *ticket).min().unwrap();
                            let at = waiting.iter().position(|(who, _)| *who == grant.to).unwrap();
                            assert_eq!(waiting.remove(at).1, first, "seed {seed}: not the first");
                            outside.push(grant.worker);
                        }
                    }
                    3 if !waiting.is_empty() && random(2) == 0 => {
                        let (who, ticket) =
                            waiting.swap_remove(usize::try_from(random(waiting.len() as u64)).unwrap());
                        assert_eq!(queue.leave(ticket), Some(who), "seed {seed}");
                    }
                    _ => {
                        now += Duration::from_secs(random(10));
                        while let Some(who) = queue.expire(now) {
                            let at = waiting.iter().position(|(w, _)| *w == who);
                            waiting.remove(at.unwrap_or_else(|| panic!("seed {seed}: {who} twice")));
                        }
                        assert!(queue.next_deadline().is_none_or(|at| at > now), "seed {seed}");
                    }
                }
                assert_eq!(queue.waiting(), waiting.len(), "seed {seed}");
                assert_eq!(queue.idle() + outside.len(), 4, "seed {seed}");
                assert!(queue.idle() == 0 || queue.waiting() == 0, "seed {seed}");
            }
        }
    }
}
