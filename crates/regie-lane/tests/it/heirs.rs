//! Heirs under kills: job runners (gateways that keep their requests) and workers in processes of their own, killed at
//! random, and a ledger in a file that tells what has happened to each job.
//!
//! The ledger stands for a queue: `L` leased, `R` run by a worker, `D` told to have died, `A` acknowledged. A runner
//! that starts asks the lane first, and takes for never begun what is leased, not acknowledged and not in the lane. What
//! must hold: each job is acknowledged, and each has run exactly once, but for those whose worker died.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use regie_lane::{
    Broken, Exchange, Gateway, Janitor, Lane, Left, Read, Refusal, Remains, Shape, Wake, Worker,
};

use crate::process::{Process, eventually, role, runtime, start};

const TEST: &str = "heirs::no_job_is_lost_and_none_runs_twice_but_by_the_death_of_its_worker";
const SHAPE: Shape = Shape { slots: 16, head: 4096, request: 4096, response: 4096 };
const JOBS: u64 = 3000;
const WORKERS: usize = 3;
const PAUSE: Duration = Duration::from_millis(15);

#[test]
fn no_job_is_lost_and_none_runs_twice_but_by_the_death_of_its_worker() {
    match role() {
        Some((lane, role)) => match role.split_once(' ').unwrap() {
            ("worker", ledger) => work(lane, &Ledger::open(Path::new(ledger))),
            (_, ledger) => runtime().block_on(run_jobs(&lane, Path::new(ledger))),
        },
        None => {
            for workers_die in [false, true] {
                master(workers_die);
            }
        }
    }
}

/// Lines that are written whole or not at all, by whichever process.
#[derive(Clone)]
struct Ledger(Arc<File>);

impl Ledger {
    fn open(path: &Path) -> Self {
        Self(Arc::new(OpenOptions::new().create(true).append(true).open(path).unwrap()))
    }

    fn note(&self, what: char, job: u64) {
        (&*self.0).write_all(format!("{what} {job}\n").as_bytes()).unwrap();
    }
}

/// How often each thing has happened to each job.
#[derive(Default)]
struct Account(BTreeMap<u64, BTreeMap<char, usize>>);

impl Account {
    fn read(path: &Path) -> Self {
        let mut account = Self::default();
        for line in BufReader::new(File::open(path).unwrap()).lines().map_while(Result::ok) {
            let (what, job) = line.split_at(1);
            let entry = account.0.entry(job.trim().parse().unwrap()).or_default();
            *entry.entry(what.chars().next().unwrap()).or_default() += 1;
        }
        account
    }

    fn count(&self, job: u64, what: char) -> usize {
        self.0.get(&job).and_then(|entry| entry.get(&what)).copied().unwrap_or(0)
    }
}

fn work(lane: Arc<Lane>, ledger: &Ledger) -> ! {
    let mut worker = Worker::sit_down(lane).unwrap();
    loop {
        let Wake::Job(mut job) = worker.wait(None).unwrap() else { continue };
        let mut name = [0; 8];
        worker.copy_head(&job, &mut name);
        let number = u64::from_ne_bytes(name);
        ledger.note('R', number);
        if number % 8 == 0 {
            // Work that a kill may fall into.
            std::thread::sleep(Duration::from_millis(1));
        }
        worker.write(&mut job, &name, || true).unwrap();
        assert!(worker.finish(job), "buried alive");
    }
}

/// A runner: what was left first, then what is leased and was never begun, then new jobs, until all are acknowledged.
async fn run_jobs(lane: &Arc<Lane>, path: &Path) {
    let (ledger, account) = (Ledger::open(path), Account::read(path));
    let mut inherited = Gateway::inherit(lane).unwrap();
    for (gateway, _) in &inherited {
        let driver = gateway.clone();
        tokio::spawn(async move { driver.drive().await });
    }
    let left: Vec<Left> = inherited.iter_mut().flat_map(|(_, left)| left.drain(..)).collect();
    let gateway = inherited[0].0.clone();
    // Every other one listens only from time to time.
    gateway.nap(Duration::from_micros(500 * u64::from(std::process::id() % 2)));
    let set = tokio::task::LocalSet::new();
    let mut todo: BTreeSet<u64> = (0..JOBS).filter(|job| account.count(*job, 'A') == 0).collect();
    for Left { head, remains } in left {
        let job = u64::from_ne_bytes(head[..8].try_into().unwrap());
        match remains {
            Remains::NotBegun => {}
            Remains::Begun(exchange) => {
                todo.remove(&job);
                set.spawn_local(settle(gateway.clone(), ledger.clone(), job, exchange));
            }
        }
    }
    set.run_until(async {
        for job in todo {
            ledger.note('L', job);
            let exchange = submit(&gateway, job).await;
            tokio::task::spawn_local(settle(gateway.clone(), ledger.clone(), job, exchange));
        }
    })
    .await;
    set.await;
    std::thread::park();
}

async fn submit(gateway: &Gateway, job: u64) -> Exchange {
    loop {
        match gateway.submit_kept(1, &job.to_ne_bytes(), &[], true) {
            Ok(exchange) => return exchange,
            Err(Refusal::Full) => tokio::time::sleep(Duration::from_micros(200)).await,
            Err(why) => panic!("{why:?}"),
        }
    }
}

/// Acknowledges a job that is done, a moment later as a runner that gathers acknowledgements does, and runs one again
/// whose worker died.
async fn settle(gateway: Gateway, ledger: Ledger, job: u64, mut exchange: Exchange) {
    loop {
        match answer(&mut exchange).await {
            Ok(answer) => {
                assert_eq!(answer, job.to_ne_bytes(), "another's answer");
                tokio::time::sleep(Duration::from_millis(1)).await;
                ledger.note('A', job);
                return exchange.release();
            }
            Err(Broken::Died) => {
                ledger.note('D', job);
                exchange.release();
                exchange = submit(&gateway, job).await;
            }
            Err(Broken::Corrupt) => panic!("nobody has damaged anything"),
        }
    }
}

async fn answer(exchange: &mut Exchange) -> Result<Vec<u8>, Broken> {
    let mut bytes = BytesMut::new();
    while std::future::poll_fn(|cx| exchange.poll_read(cx, &mut bytes)).await? == Read::Some {}
    Ok(bytes.to_vec())
}

fn master(workers_die: bool) {
    let seed = std::env::var("REGIE_LANE_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or_else(|| {
        u64::from(std::process::id()) << 16
            | u64::from(std::time::UNIX_EPOCH.elapsed().unwrap().subsec_nanos() >> 8)
    });
    eprintln!("REGIE_LANE_SEED={seed}");
    let mut random = crate::torture::Random(seed | 1);
    let path: PathBuf =
        std::env::temp_dir().join(format!("regie-heirs-{}-{workers_die}", std::process::id()));
    let _ = std::fs::remove_file(&path);
    Ledger::open(&path);
    let lane = Arc::new(Lane::create(SHAPE).unwrap());
    let janitor = Janitor::new(lane.clone()).unwrap();
    let play = |part: &str| start(&lane, TEST, &format!("{part} {}", path.display()), Stdio::null());
    let mut workers: Vec<Process> = (0..WORKERS).map(|_| play("worker")).collect();
    let mut runner = play("runner");
    let mut kills = 0;
    let all_done = || {
        let account = Account::read(&path);
        (0..JOBS).all(|job| account.count(job, 'A') > 0)
    };
    let written = || std::fs::metadata(&path).map_or(0, |ledger| ledger.len());
    let mut before = 0;
    while kills < 400 && !all_done() {
        // Who is killed before it has done anything proves nothing, and would never end.
        eventually("they get on", || written() > before || all_done());
        std::thread::sleep(PAUSE + Duration::from_micros(random.below(20_000)));
        if workers_die && random.below(3) == 0 {
            let at = random.below(WORKERS as u64) as usize;
            let pid = workers[at].kill();
            janitor.bury(pid);
            workers[at] = play("worker");
        } else {
            runner.kill();
            runner = play("runner");
        }
        before = written();
        kills += 1;
    }
    eventually("all is done", all_done);
    let account = Account::read(&path);
    let _ = std::fs::remove_file(&path);
    eprintln!("{kills} kills");
    assert!(kills > 3, "all was over before anything happened");
    let mut twice = 0;
    for job in 0..JOBS {
        let [runs, deaths, acks] = ['R', 'D', 'A'].map(|what| account.count(job, what));
        assert!(acks >= 1, "job {job} was lost");
        assert!(runs >= 1, "job {job} was acknowledged and never ran");
        // One that was acknowledged and not released yet when its runner died is acknowledged again.
        assert!(runs <= 1 + deaths, "job {job} ran {runs} times, {deaths} deaths");
        assert!(workers_die || deaths == 0);
        twice += usize::from(runs > 1);
    }
    eprintln!("{twice} of {JOBS} ran again after the death of their worker");
}
