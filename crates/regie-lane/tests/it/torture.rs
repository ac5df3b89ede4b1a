//! Gateways and workers in processes of their own, killed at random under load.
//!
//! This process is the master: it starts everything, kills workers and gateways, buries the workers, and believes the
//! gateways' accounts only as far as they agree with what must hold:
//! - each request is answered exactly once, with its own answer, or reported as died, and only kills cause that;
//! - each worker meets the requests of one gateway in the order in which they were submitted;
//! - when all is quiet, every slot is free;
//! - all of it ends in bounded time.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use regie_lane::{Broken, Gateway, Janitor, Lane, Refusal, Shape, Wake, Worker};

use crate::process::{Process, answer, gateway, role, runtime, start};

const TEST: &str = "torture::nothing_is_lost_and_nothing_answered_twice";
const SHAPE: Shape = Shape { slots: 32, head: 4096, request: 4096, response: 4096 };
const WORKERS: usize = 4;
/// Kills that the master does, and the pause between them.
const KILLS: usize = 60;
const PAUSE: Duration = Duration::from_millis(25);
/// A gateway that has had an answer to this one is at work, and says so.
const BUSY: u64 = 100;

#[test]
fn nothing_is_lost_and_nothing_answered_twice() {
    match role() {
        Some((lane, role)) if role == "worker" => work(lane),
        Some((lane, role)) => runtime().block_on(load(&lane, role.parse().unwrap())),
        None => master(),
    }
}

pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// A worker answers head and body, and checks the order of what it is given.
fn work(lane: Arc<Lane>) {
    let mut worker = Worker::sit_down(lane).unwrap();
    let mut last: HashMap<u64, u64> = HashMap::new();
    loop {
        let Wake::Job(mut job) = worker.wait(None).unwrap() else { continue };
        let mut bytes = [0; 8192];
        assert_eq!(worker.copy_head(&job, &mut bytes), 16);
        let gateway = u64::from_ne_bytes(bytes[..8].try_into().unwrap());
        let number = u64::from_ne_bytes(bytes[8..16].try_into().unwrap());
        let before = last.insert(gateway, number);
        let in_order = before.is_none_or(|before| before < number);
        let mark = if in_order { [1] } else { [0] };
        let mut ok = worker.write(&mut job, &mark, || true).is_ok()
            && worker.write(&mut job, &bytes[..16], || true).is_ok();
        while ok {
            match worker.read_body(&mut job, &mut bytes, || true) {
                Ok(len @ 1..) => ok = worker.write(&mut job, &bytes[..len], || true).is_ok(),
                _ => break,
            }
        }
        assert!(worker.finish(job), "buried alive");
    }
}

/// A gateway keeps the lane full until its standard input ends, and then tells what has become of its requests.
async fn load(lane: &Arc<Lane>, seed: u64) {
    let gateway = gateway(lane);
    let mut tasks = Vec::new();
    let stop = Arc::new(AtomicBool::new(false));
    let numbers = std::rc::Rc::new(std::cell::Cell::new(0));
    let set = tokio::task::LocalSet::new();
    for client in 0..24u64 {
        let (gateway, stop, numbers) = (gateway.clone(), stop.clone(), numbers.clone());
        tasks.push(set.spawn_local(client_of(gateway, seed, client, numbers, stop)));
    }
    let waits_for_end = stop.clone();
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        waits_for_end.store(true, Ordering::Relaxed);
    });
    say("loaded");
    let mut sum = Account::default();
    set.run_until(async {
        for task in tasks {
            sum.add(task.await.unwrap());
        }
    })
    .await;
    while gateway.counts().free + gateway.counts().lost < SHAPE.slots as usize {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let Account { answered, died, dropped } = sum;
    let lost = gateway.counts().lost;
    say(&format!("account {answered} {died} {dropped} {lost}"));
}

/// A line of its own for the master; the test harness writes to the same output.
fn say(what: &str) {
    let mut out = std::io::stdout().lock();
    out.write_all(format!("\n{what}\n").as_bytes()).unwrap();
    out.flush().unwrap();
}

#[derive(Default, Clone, Copy)]
struct Account {
    answered: usize,
    died: usize,
    dropped: usize,
}

impl Account {
    fn add(&mut self, other: Self) {
        self.answered += other.answered;
        self.died += other.died;
        self.dropped += other.dropped;
    }
}

async fn client_of(
    gateway: Gateway,
    seed: u64,
    client: u64,
    numbers: std::rc::Rc<std::cell::Cell<u64>>,
    stop: Arc<AtomicBool>,
) -> Account {
    let mut random = Random(seed ^ (client + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let mut account = Account::default();
    while !stop.load(Ordering::Relaxed) {
        let number = numbers.get();
        let mut head = seed.to_ne_bytes().to_vec();
        head.extend_from_slice(&number.to_ne_bytes());
        let len = [0, 0, 0, 100, 3000, 9000][random.below(6) as usize];
        let body: Vec<u8> = std::iter::repeat_with(|| random.below(256) as u8).take(len).collect();
        let exchange = match gateway.submit(1, &head, &body, true) {
            Ok(exchange) => exchange,
            // What others have left in the hands of workers may fill it for a while.
            Err(Refusal::Full) => {
                tokio::time::sleep(Duration::from_millis(1)).await;
                continue;
            }
            Err(why) => panic!("{why:?}"),
        };
        numbers.set(number + 1);
        if random.below(20) == 0 {
            let patience = Duration::from_micros(random.below(300));
            if tokio::time::timeout(patience, answer(exchange, &body)).await.is_err() {
                account.dropped += 1;
            } else {
                account.answered += 1;
            }
            continue;
        }
        match answer(exchange, &body).await {
            Ok(answer) => {
                static SAID: AtomicBool = AtomicBool::new(false);
                if number >= BUSY && !SAID.swap(true, Ordering::Relaxed) {
                    say("busy");
                }
                assert_eq!(answer[0], 1, "a worker has met {number} out of order");
                assert_eq!(answer[1..17], head, "another's answer");
                assert_eq!(answer[17..], body, "another's body");
                account.answered += 1;
            }
            Err(Broken::Died) => account.died += 1,
            Err(Broken::Corrupt) => panic!("nobody has damaged anything"),
        }
    }
    account
}

struct Loader {
    process: Process,
    lines: Receiver<String>,
}

fn start_gateway(lane: &Lane, seed: u64) -> Loader {
    let mut process = start(lane, TEST, &seed.to_string(), Stdio::piped());
    let output = BufReader::new(process.0.stdout.take().unwrap());
    let (tell, lines) = mpsc::channel();
    std::thread::spawn(move || output.lines().map_while(Result::ok).for_each(|line| drop(tell.send(line))));
    Loader { process, lines }
}

impl Loader {
    /// Waits for a line that begins with `word`.
    fn line(&mut self, word: &str) -> String {
        loop {
            let line = self.lines.recv_timeout(Duration::from_secs(120));
            let line = line.unwrap_or_else(|_| panic!("the gateway never said {word}"));
            if line.starts_with(word) {
                return line;
            }
        }
    }
}

fn master() {
    let seed = std::env::var("REGIE_LANE_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or_else(|| {
        u64::from(std::process::id()) << 16
            | u64::from(std::time::UNIX_EPOCH.elapsed().unwrap().subsec_nanos() >> 8)
    });
    eprintln!("REGIE_LANE_SEED={seed}");
    let mut random = Random(seed | 1);
    let lane = Arc::new(Lane::create(SHAPE).unwrap());
    let janitor = Janitor::new(lane.clone()).unwrap();
    let worker = || start(&lane, TEST, "worker", Stdio::null());
    let mut workers: Vec<_> = (0..WORKERS).map(|_| worker()).collect();
    let mut gateways: Vec<_> = (1..=2).map(|n| start_gateway(&lane, n)).collect();
    for gateway in &mut gateways {
        gateway.line("loaded");
    }
    let mut next = 3;
    let mut had = 0;
    for _ in 0..KILLS {
        std::thread::sleep(PAUSE);
        if random.below(6) == 0 {
            let at = random.below(2) as usize;
            gateways[at].process.kill();
            gateways[at] = start_gateway(&lane, next);
            next += 1;
        } else {
            let at = random.below(WORKERS as u64) as usize;
            let pid = workers[at].kill();
            had += janitor.bury(pid);
            workers[at] = worker();
        }
    }
    // Those that were started a moment ago have to have something to tell.
    for gateway in &mut gateways {
        gateway.line("busy");
    }
    let mut died_in_all = 0;
    for gateway in &mut gateways {
        // The end of its input asks for the account.
        drop(gateway.process.0.stdin.take());
        let line = gateway.line("account");
        let numbers: Vec<usize> = line.split(' ').skip(1).map(|n| n.parse().unwrap()).collect();
        let [answered, died, dropped, lost] = numbers[..] else { panic!("{line}") };
        eprintln!("{answered} answered, {died} died, {dropped} dropped");
        assert_eq!(lost, 0, "slots were lost");
        died_in_all += died;
    }
    assert!(died_in_all <= had, "{died_in_all} are said to have died, but the dead had {had}");
}
