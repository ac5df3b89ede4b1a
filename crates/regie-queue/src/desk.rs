//! What is leased, handed to a worker, done: the machine that must lose nothing.
//!
//! ```text
//!               hand                 outcome                  settle            settled
//!   leased ──▶ ready ───▶ handed ───────────▶ to be settled ───────▶ settling ─────────▶ forgotten
//!                ▲  │        │ worker died          ▲  ▲                 │
//!                │  │        ▼                      │  └── server away ──┘
//!                │  │      died ── 3rd death: park ─┤
//!                └──┼────────┘ (another worker      │
//!                   │           decides about it)   │
//!                   └── stop, pause: give back ─────┤
//!                   └── its class is at its limit ──┘
//! ```
//!
//! Rules:
//! - A lease leaves this table only when the server has confirmed what was to become of the job. A server that is
//!   away is asked again; every step says "if the lease is still there", so asking twice changes nothing.
//! - A job that no worker has seen goes back to the head of its queue as it was, its attempts unchanged.
//! - A job whose worker has died is decided about by the framework on another worker, at once. When three workers have
//!   died of it, it is parked with the evidence and touches no worker again.
//! - Among the leases that wait for a worker, deaths go first, then queues in their order, then age.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use bytes::Bytes;
use foldhash::fast::RandomState;

use crate::message::{Kind, Reason, Verdict};

/// Workers that may die of one job before it is parked.
pub const DEATHS_MAX: u32 = 3;

/// Jobs whose deaths are remembered.
const REMEMBERED_MAX: usize = 10_000;

/// A lease, by a number that is never used again.
pub type Key = u64;

/// A job as a driver has leased it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leased {
    /// The payload as it lay in the queue.
    pub payload: Bytes,
    /// What the server knows the lease by.
    pub receipt: Bytes,
    /// The job's id.
    pub id: String,
    /// The attempts begun, this one included.
    pub attempts: u32,
    /// The class, when the payload tells it.
    pub class: Option<String>,
    /// The job's own time limit, when it has one.
    pub timeout: Option<Duration>,
    /// How long it has waited in the queue, when that is known.
    pub waited: Option<Duration>,
    /// Why it cannot be given to a worker at all.
    pub broken: Option<&'static str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Ready(Kind),
    Handed(Kind),
    Due(Action),
    Settling(Action),
}

/// What is to become of a job in the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Remove it: done, or failed and recorded.
    Ack,
    /// Make it wait this long.
    Release(Duration),
    /// Put it back to the head of its queue as it was.
    Return,
    /// Make it wait this long, with its attempts as they were before the lease.
    PutOff(Duration),
    /// Take it out of the queue and keep it with this reason.
    Park(&'static str),
}

impl Action {
    /// Whether the job is afterwards as if it had not been leased.
    const fn goes_back(self) -> bool {
        matches!(self, Self::Return | Self::PutOff(_))
    }
}

/// One lease.
#[derive(Debug)]
pub struct Lease {
    /// The queue's place in the group.
    pub queue: usize,
    /// The job.
    pub job: Leased,
    /// When it was leased.
    pub since: Instant,
    /// When it was handed to a worker.
    pub handed: Option<Instant>,
    /// Whether somebody has stopped it: when its worker has died, it has failed.
    cancelled: bool,
    state: State,
}

impl Lease {
    /// What a worker is doing with it, or is about to do.
    #[must_use]
    pub const fn at_worker(&self) -> Option<Kind> {
        match self.state {
            State::Handed(kind) => Some(kind),
            State::Ready(_) | State::Due(_) | State::Settling(_) => None,
        }
    }
}

/// A job for a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Handing {
    /// Which.
    pub key: Key,
    /// What the worker is to do with it.
    pub kind: Kind,
}

/// How a worker's part ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The worker has said what is to be done.
    Said(Verdict),
    /// No worker has begun it.
    NotBegun,
    /// The worker has died, or said nothing that can be read.
    Died(Reason),
}

/// See the module.
#[derive(Debug, Default)]
pub struct Desk {
    leases: HashMap<Key, Lease, RandomState>,
    /// (not a death, queue, key): the order of handing.
    ready: BTreeSet<(bool, usize, Key)>,
    due: Vec<Key>,
    handed: usize,
    /// Jobs on their way back.
    returning: usize,
    next: Key,
    deaths: HashMap<String, u32, RandomState>,
    /// Whether they are others than they were.
    deaths_changed: bool,
}

impl Desk {
    /// Takes in what was leased from `queue`.
    pub fn leased(&mut self, now: Instant, queue: usize, jobs: impl IntoIterator<Item = Leased>) {
        for job in jobs {
            let key = self.next;
            self.next += 1;
            let broken = job.broken;
            let state = State::Ready(Kind::Run);
            self.leases.insert(key, Lease { queue, job, since: now, handed: None, cancelled: false, state });
            match broken {
                Some(why) => self.decide(key, Action::Park(why)),
                None => drop(self.ready.insert((true, queue, key))),
            }
        }
    }

    /// Takes in a lease of a runner that is gone whose job a worker may still have, or have ended. It is not handed out.
    pub fn inherited(&mut self, now: Instant, queue: usize, job: Leased) -> Key {
        let key = self.next;
        self.next += 1;
        let state = State::Handed(Kind::Run);
        self.leases.insert(key, Lease { queue, job, since: now, handed: Some(now), cancelled: false, state });
        self.handed += 1;
        key
    }

    /// The next job for a worker, of those that `allows` (deaths are always decided about).
    pub fn hand(&mut self, now: Instant, mut allows: impl FnMut(&Lease) -> bool) -> Option<Handing> {
        let leases = &self.leases;
        let place = *self.ready.iter().find(|(alive, _, key)| !alive || allows(&leases[key]))?;
        self.ready.remove(&place);
        let key = place.2;
        let lease = self.leases.get_mut(&key).expect("what is ready is in the table");
        let State::Ready(kind) = lease.state else {
            unreachable!("only what is ready is in the order of handing")
        };
        lease.state = State::Handed(kind);
        lease.handed = Some(now);
        self.handed += 1;
        Some(Handing { key, kind })
    }

    /// A worker's part has ended. Returns the deaths of its job when that is what happened.
    pub fn ended(&mut self, key: Key, ending: Ending) -> Option<u32> {
        let lease = self.leases.get_mut(&key)?;
        let State::Handed(kind) = lease.state else { return None };
        self.handed -= 1;
        let queue = lease.queue;
        match ending {
            Ending::Said(verdict) => {
                // A job that comes back keeps its history; one that is gone needs none.
                if !matches!(verdict, Verdict::Release(_)) && !self.deaths.is_empty() {
                    self.deaths_changed |= self.deaths.remove(&lease.job.id).is_some();
                }
                self.decide(
                    key,
                    match verdict {
                        Verdict::Ack | Verdict::Failed => Action::Ack,
                        Verdict::Release(delay) => Action::Release(delay),
                    },
                );
                None
            }
            Ending::NotBegun => {
                lease.state = State::Ready(kind);
                self.ready.insert((kind == Kind::Run, queue, key));
                None
            }
            Ending::Died(reason) => {
                let id = lease.job.id.clone();
                if self.deaths.len() >= REMEMBERED_MAX
                    && let Some(any) = self.deaths.keys().next().cloned()
                {
                    self.deaths.remove(&any);
                }
                self.deaths_changed = true;
                let deaths = self.deaths.entry(id).or_default();
                *deaths += 1;
                let deaths = *deaths;
                if deaths >= DEATHS_MAX {
                    // Whoever puts it back gives it another chance.
                    self.deaths.remove(&lease.job.id);
                    self.decide(key, Action::Park("workers died of it"));
                } else if let Some(lease) = self.leases.get_mut(&key) {
                    let kind = if lease.cancelled { Kind::Cancelled } else { Kind::Died(reason) };
                    lease.state = State::Ready(kind);
                    self.ready.insert((false, queue, key));
                }
                Some(deaths)
            }
        }
    }

    /// What a runner before this one knew of deaths.
    pub fn remember(&mut self, deaths: impl IntoIterator<Item = (String, u32)>) {
        self.deaths.extend(deaths.into_iter().take(REMEMBERED_MAX));
    }

    /// The deaths that count, when they are others than at the last look.
    pub fn changed_deaths(&mut self) -> Option<Vec<(String, u32)>> {
        let changed = std::mem::take(&mut self.deaths_changed);
        changed.then(|| self.deaths.iter().map(|(id, count)| (id.clone(), *count)).collect())
    }

    /// Stops the job with this id: when its worker dies now, or before one has begun it, it has failed. The lease, and
    /// whether a worker has it.
    pub fn cancel(&mut self, id: &str) -> Option<(Key, bool)> {
        let open = |lease: &Lease| matches!(lease.state, State::Ready(_) | State::Handed(_));
        let mut leases = self.leases.iter_mut();
        let (key, lease) = leases.find(|(_, lease)| lease.job.id == id && open(lease))?;
        lease.cancelled = true;
        if let State::Ready(kind) = lease.state {
            self.ready.remove(&(kind == Kind::Run, lease.queue, *key));
            lease.state = State::Ready(Kind::Cancelled);
            self.ready.insert((false, lease.queue, *key));
        }
        Some((*key, matches!(lease.state, State::Handed(_))))
    }

    fn decide(&mut self, key: Key, action: Action) {
        if let Some(lease) = self.leases.get_mut(&key) {
            lease.state = State::Due(action);
            self.due.push(key);
            self.returning += usize::from(action.goes_back());
        }
    }

    /// Gives back what no worker has seen, of the queues that `which` names. Deaths stay: they were seen.
    pub fn give_back(&mut self, mut which: impl FnMut(usize) -> bool) -> usize {
        let given: Vec<_> =
            self.ready.iter().copied().filter(|(alive, queue, _)| *alive && which(*queue)).collect();
        for place in &given {
            self.ready.remove(place);
            self.decide(place.2, Action::Return);
        }
        given.len()
    }

    /// Puts off what no worker has seen, where `how_long` says for how long; in the order of handing.
    pub fn put_off(&mut self, mut how_long: impl FnMut(&Lease) -> Option<Duration>) {
        let waiting: Vec<_> = self.ready.iter().copied().filter(|(alive, ..)| *alive).collect();
        for place in waiting {
            if let Some(delay) = self.leases.get(&place.2).and_then(&mut how_long) {
                self.ready.remove(&place);
                self.decide(place.2, Action::PutOff(delay));
            }
        }
    }

    /// What the server has to be told, at most `max` of it. Each is to be followed by [`Desk::settled`] or
    /// [`Desk::unsettled`].
    pub fn settle(&mut self, max: usize) -> Vec<(Key, Action)> {
        let taken: Vec<Key> = self.due.drain(..self.due.len().min(max)).collect();
        let mut out = Vec::with_capacity(taken.len());
        for key in taken {
            let Some(lease) = self.leases.get_mut(&key) else { continue };
            let State::Due(action) = lease.state else { continue };
            lease.state = State::Settling(action);
            out.push((key, action));
        }
        out
    }

    /// The server has confirmed it.
    pub fn settled(&mut self, key: Key) -> Option<Lease> {
        let lease = self.leases.remove(&key)?;
        debug_assert!(matches!(lease.state, State::Settling(_)), "only what was asked is confirmed");
        self.returning -= usize::from(matches!(lease.state, State::Settling(action) if action.goes_back()));
        Some(lease)
    }

    /// Nobody knows whether the server has done it: it is asked again.
    pub fn unsettled(&mut self, key: Key) {
        if let Some(lease) = self.leases.get_mut(&key)
            && let State::Settling(action) = lease.state
        {
            lease.state = State::Due(action);
            self.due.push(key);
        }
    }

    /// Whether more may be leased. Not while a job is on its way back: leased again it would look the same to the
    /// server, and asking twice to give it back would take it from the worker that has it by then.
    #[must_use]
    pub const fn may_lease(&self) -> bool {
        self.returning == 0
    }

    /// A lease.
    #[must_use]
    pub fn get(&self, key: Key) -> Option<&Lease> {
        self.leases.get(&key)
    }

    /// Every lease, for keeping them alive and for telling them from those of a dead runner.
    pub fn iter(&self) -> impl Iterator<Item = (Key, &Lease)> {
        self.leases.iter().map(|(key, lease)| (*key, lease))
    }

    /// Jobs at workers.
    #[must_use]
    pub const fn handed(&self) -> usize {
        self.handed
    }

    /// Jobs that wait for a worker.
    #[must_use]
    pub fn ready(&self) -> usize {
        self.ready.len()
    }

    /// Jobs that wait for the server's word, not counting what is on its way.
    #[must_use]
    pub const fn due(&self) -> usize {
        self.due.len()
    }

    /// Everything that is held.
    #[must_use]
    pub fn held(&self) -> usize {
        self.leases.len()
    }
}

#[cfg(test)]
#[path = "desk_sim.rs"]
mod sim;
