//! Workers that are made up: they note what they are given and end as they are told to.

use std::collections::HashMap;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use regie_pool::Hold;
use regie_queue::desk::Ending;
use regie_queue::limits::Limit;
use regie_queue::message::{Exception, Told, Verdict};
use regie_queue::plan::Order;
use regie_queue::shell::driver::Driver;
use regie_queue::shell::executor::{Executor, Message, Report};
use regie_queue::shell::runner::{self, Handle, Left, Queue, Settings};
use tokio::sync::Semaphore;

/// What a worker saw of a message.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) kind: String,
    pub(crate) job: usize,
    pub(crate) attempts: u64,
    pub(crate) class: String,
}

/// A job of this length runs until [`Workers::open`].
pub(crate) const UNTIL_OPEN: Duration = Duration::MAX;

type Fate = Box<dyn Fn(&Seen) -> (Duration, Ending) + Send + Sync>;

type Tell = Box<dyn Fn(&Seen) -> Option<Exception> + Send + Sync>;

pub(crate) struct Workers {
    slots: Semaphore,
    gate: Semaphore,
    count: usize,
    /// Jobs of each class that run, and how many have run at a time.
    running: Mutex<HashMap<String, (usize, usize)>>,
    fate: Fate,
    tell: Tell,
    /// Where a runner keeps what they have died of.
    pub(crate) deaths: Option<PathBuf>,
    /// Every message that a worker began.
    pub(crate) begun: Mutex<Vec<Seen>>,
    /// Runs that ended well, by job.
    pub(crate) done: Mutex<HashMap<usize, u32>>,
}

impl Workers {
    pub(crate) fn new(
        count: usize,
        fate: impl Fn(&Seen) -> (Duration, Ending) + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self {
            slots: Semaphore::new(count),
            gate: Semaphore::new(0),
            running: Mutex::default(),
            count,
            fate: Box::new(fate),
            tell: Box::new(|_| None),
            deaths: None,
            begun: Mutex::default(),
            done: Mutex::default(),
        })
    }

    /// What a job is said to have thrown.
    pub(crate) fn telling(
        self: Arc<Self>,
        tell: impl Fn(&Seen) -> Option<Exception> + Send + Sync + 'static,
    ) -> Arc<Self> {
        let mut workers = Arc::into_inner(self).expect("nobody has them yet");
        workers.tell = Box::new(tell);
        Arc::new(workers)
    }

    /// What they have died of is kept in this file.
    pub(crate) fn remembered(self: Arc<Self>, path: PathBuf) -> Arc<Self> {
        let mut workers = Arc::into_inner(self).expect("nobody has them yet");
        workers.deaths = Some(path);
        Arc::new(workers)
    }

    /// All of them do everything at once and well.
    pub(crate) fn good(count: usize) -> Arc<Self> {
        Self::new(count, |_| (Duration::ZERO, Ending::Said(Verdict::Ack)))
    }

    /// Lets those go on that wait for it, now and later.
    pub(crate) fn open(&self) {
        self.gate.close();
    }

    /// How many jobs of `class` have run at a time.
    pub(crate) fn peak(&self, class: &str) -> usize {
        self.running.lock().unwrap().get(class).map_or(0, |(_, peak)| *peak)
    }

    /// How many jobs of `class` have begun.
    pub(crate) fn begun_of(&self, class: &str) -> usize {
        self.begun.lock().unwrap().iter().filter(|seen| seen.class == class).count()
    }

    pub(crate) fn done(&self) -> usize {
        self.done.lock().unwrap().len()
    }

    pub(crate) fn doubles(&self) -> Vec<usize> {
        let done = self.done.lock().unwrap();
        done.iter().filter(|(_, times)| **times > 1).map(|(job, _)| *job).collect()
    }
}

fn see(message: &Message) -> Seen {
    let text = std::str::from_utf8(&message.body).unwrap();
    let (header, payload) = text.split_once('\n').unwrap();
    let header: serde_json::Value = serde_json::from_str(header).unwrap();
    let payload: serde_json::Value = serde_json::from_str(payload).unwrap();
    // A message of Messenger has its number in its body.
    let numbered = || format!("u{}", payload["body"].as_str().unwrap().rsplit(' ').next().unwrap());
    let uuid = payload["uuid"].as_str().map_or_else(numbered, str::to_owned);
    // A stream's entries have ids of their own.
    assert!(header["id"] == uuid || header["id"].as_str().unwrap().contains('-'), "{header}");
    Seen {
        kind: header["kind"].as_str().unwrap().to_owned(),
        job: uuid[1..].parse().unwrap(),
        attempts: header["attempts"].as_u64().unwrap(),
        class: payload["displayName"].as_str().unwrap_or_default().to_owned(),
    }
}

impl Executor for Workers {
    fn run(&self, message: Message) -> Pin<Box<dyn Future<Output = Report> + Send + '_>> {
        Box::pin(async move {
            let _slot = self.slots.acquire().await.unwrap();
            let seen = see(&message);
            let (span, ending) = (self.fate)(&seen);
            if ending != Ending::NotBegun {
                self.begun.lock().unwrap().push(seen.clone());
            }
            {
                let mut running = self.running.lock().unwrap();
                let (now, peak) = running.entry(seen.class.clone()).or_default();
                *now += 1;
                *peak = (*peak).max(*now);
            }
            if span == UNTIL_OPEN {
                let _ = self.gate.acquire().await;
            } else if !span.is_zero() {
                tokio::time::sleep(span).await;
            }
            self.running.lock().unwrap().get_mut(&seen.class).unwrap().0 -= 1;
            if seen.kind == "run" && ending == Ending::Said(Verdict::Ack) {
                *self.done.lock().unwrap().entry(seen.job).or_default() += 1;
            }
            Report {
                ending,
                told: Told { exception: (self.tell)(&seen), ..Told::default() },
                evidence: None,
                waited: Duration::ZERO,
                hold: Hold::default(),
            }
        })
    }

    fn workers(&self) -> usize {
        self.count
    }
}

/// A runner of the queue `default` on `driver`.
pub(crate) fn run(
    driver: impl Driver + 'static,
    workers: &Arc<Workers>,
) -> (Handle, impl Future<Output = Left>) {
    run_on(vec![("default", Arc::new(driver))], workers)
}

pub(crate) fn run_on<D: Driver + 'static>(
    queues: Vec<(&str, Arc<D>)>,
    workers: &Arc<Workers>,
) -> (Handle, impl Future<Output = Left> + use<D>) {
    run_limited(queues, workers, Vec::new(), 0)
}

/// The same, with limits for classes and a spread of the waits.
pub(crate) fn run_limited<D: Driver + 'static>(
    queues: Vec<(&str, Arc<D>)>,
    workers: &Arc<Workers>,
    limits: Vec<(String, Limit)>,
    jitter: u32,
) -> (Handle, impl Future<Output = Left> + use<D>) {
    let queues = queues.into_iter().map(|(name, driver)| Queue {
        connection: "redis".to_owned(),
        name: name.to_owned(),
        driver,
        paused: false,
    });
    let settings = Settings {
        name: "default".to_owned(),
        queues: queues.collect(),
        order: Order::Strict,
        limits,
        jitter,
        options: regie_queue::message::Options::default(),
        workers_min: 1,
        wait_target: None,
        workers_max: workers.count,
        timeout: Duration::from_secs(60),
        drain: Duration::from_secs(240),
        deaths: workers.deaths.clone(),
        archive: None,
        log: |line| eprintln!("{line}"),
    };
    runner::start(settings, workers.clone(), Vec::new())
}
