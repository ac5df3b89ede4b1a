//! What is particular to rewind mode: each request finds the process as the boot left it.

use std::collections::{HashMap, HashSet};

use crate::client::Connection;
use crate::pool::{Mode, Pool, wait_until};

/// The ways to find written pages, and whether any kernel that Régie runs on has it.
const TRACKERS: [(&str, bool); 3] = [("userfaultfd", false), ("scan", false), ("pagemap", true)];

/// A pool of one worker in rewind mode, for each tracker that this kernel has, or for REGIE_TRACKER only.
pub(crate) fn each<'a>(script: &'a str, flags: &'a [&'a str]) -> impl Iterator<Item = Pool> + use<'a> {
    let wanted = std::env::var("REGIE_TRACKER").ok();
    let trackers =
        TRACKERS.into_iter().filter(move |(name, _)| wanted.as_deref().is_none_or(|wanted| wanted == *name));
    trackers.filter_map(move |tracker| one(script, flags, tracker))
}

/// None where this kernel, of before 6.7, has not what the tracker needs: the pool has said so.
fn one(script: &str, flags: &[&str], (tracker, is_everywhere): (&str, bool)) -> Option<Pool> {
    let pool =
        Pool::start(Mode::Rewind, script, &[&["--workers", "1", "--tracker", tracker], flags].concat());
    // The log is read by a thread of its own.
    let found = format!("written pages are found by {tracker}\n");
    let too_old = || !is_everywhere && pool.log().contains("(Linux 6.7)");
    wait_until("a word about written pages", || pool.log().contains(&found) || too_old(), || pool.log());
    if too_old() {
        assert!(is_older_than((6, 7)), "{}", pool.log());
        return None;
    }
    Some(pool)
}

pub(crate) fn is_older_than(version: (u32, u32)) -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split('.').map(|number| number.parse().unwrap_or(0));
    (numbers.next().unwrap(), numbers.next().unwrap()) < version
}

#[test]
fn each_request_finds_what_the_boot_left() {
    for pool in each("rewind.php", &["--paranoid"]) {
        finds_what_the_boot_left(&pool);
    }
}

fn finds_what_the_boot_left(pool: &Pool) {
    let mut connection = Connection::open_as_gateway(&pool.socket());
    let answers: Vec<String> = (0..50).map(|_| connection.ask(&pool.get("/?leave")).text()).collect();
    let parts: Vec<Vec<&str>> = answers.iter().map(|answer| answer.split(' ').collect()).collect();
    let pids: HashSet<&str> = parts.iter().map(|parts| parts[0]).collect();
    assert_eq!(pids.len(), 1, "one process served all: {answers:?}");
    let kept: HashSet<&str> = parts.iter().map(|parts| parts[1]).collect();
    assert_eq!(kept, HashSet::from(["1,1,0,UTC,boot,22"]), "{}", pool.log());
    let random: HashSet<&str> = parts.iter().flat_map(|parts| &parts[2..]).copied().collect();
    assert_eq!(random.len(), 50 * 4, "no number came twice: {answers:?}");
    assert!(!pool.log().contains("put back"), "{}", pool.log());
}

#[test]
fn where_the_kernel_cannot_do_it_each_request_boots() {
    let pool = Pool::start(Mode::Rewind, "rewind.php", &["--workers", "1", "--tracker", "none"]);
    pool.wait_for_log("each request boots the application");
    for _ in 0..3 {
        let answer = pool.ask(&pool.get("/?leave")).text();
        assert!(answer.contains(" 1,1,0,UTC,boot,22 "), "{answer}");
    }
}

/// Accepts nobody, and is there.
fn peer() -> (std::net::TcpListener, String) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = listener.local_addr().unwrap().to_string();
    (listener, peer)
}

/// What stays open at the checkpoint would be shared: the pool says what and whose it is, and does not serve.
#[test]
fn a_connection_of_the_boot_is_refused_by_name() {
    let (_listener, peer) = peer();
    let pool = Pool::launch(Mode::Rewind, "rewind-connected.php", &["--workers", "1"], &[("PEER", &peer)]);
    pool.wait_for_log(&format!(
        "a connection to {peer} is open at the checkpoint (there are objects of Socket): workers would share it"
    ));
    let answer = pool.ask(&pool.get("/"));
    assert_eq!(answer.status, 503, "{}", answer.text());
}

/// Where nobody insists on rewind mode, what keeps an application from it is said, and it is served in classic mode.
#[test]
fn an_application_that_cannot_be_parked_is_served_in_classic_mode() {
    let (_listener, peer) = peer();
    let connected = format!("a connection to {peer} is open at the checkpoint (there are objects of Socket)");
    let failed = "the application ended before its checkpoint; its messages are above".to_owned();
    for (env, tracker, why) in [
        (("PEER", peer.as_str()), "auto", connected),
        (("FAILS", "1"), "auto", failed),
        (("FINE", "1"), "none", "memory cannot be put back here: --tracker none".to_owned()),
    ] {
        let flags = ["--workers", "2", "--or-classic", "--tracker", tracker, "--status-path", "/status"];
        let pool = Pool::launch(Mode::Rewind, "rewind-connected.php", &flags, &[env]);
        let master = pool.pid();
        pool.wait_for_notice("READY=1");
        assert!(pool.log().contains(&why), "{}", pool.log());
        for _ in 0..5 {
            assert_eq!(pool.ask(&pool.get("/")).text(), "served", "{}", pool.log());
        }
        let status = pool.ask(&pool.get("/status?json").with("SCRIPT_NAME", "/status")).text();
        assert!(status.contains("\"mode\":\"classic\",\"not rewound because\":"), "{status}");
        assert!(status.contains(&why), "{status}");
        assert_eq!(pool.pid(), master);
        pool.wait_for_workers(2);
    }
}

/// Neither is one worth it that costs a worker in each request. No request is lost on the way.
#[test]
fn an_application_that_cannot_be_put_back_goes_on_in_classic_mode() {
    let flags = ["--workers", "2", "--or-classic"];
    let pool = Pool::start(Mode::Rewind, "rewind-connected.php", &flags);
    let told = "too many end with their worker, the last time for: nice() was called";
    wait_until(
        "classic mode",
        || {
            let answer = pool.ask(&pool.get("/?lose"));
            assert_eq!((answer.status, answer.text().as_str()), (200, "served"), "{}", pool.log());
            pool.log().contains(told)
        },
        || pool.log(),
    );
    pool.wait_for_log(" classic mode, on ");
    for _ in 0..5 {
        assert_eq!(pool.ask(&pool.get("/?lose")).text(), "served", "{}", pool.log());
    }
}

/// Sources that PHP itself seeds with 32 bits: of ten thousand seeds two may be the same by chance, and so in classic mode.
const SEEDED_WITH_32_BITS: [&str; 5] = ["mt", "rand", "shuffle", "str", "array"];
/// More are no chance: three pairs come in one of ten million runs.
const PAIRS_BY_CHANCE: usize = 2;

/// Whatever draws numbers draws other ones in each request, in all workers.
#[test]
fn randomness_never_repeats() {
    const WORKERS: u64 = 3;
    let requests = number("REGIE_DRAWS", 10_000);
    let pool = Pool::start(Mode::Rewind, "rewind-random.php", &["--workers", "3"]);
    let draw_all = || {
        let mut peer = pool.peer();
        let uri = |number: u64| if number.is_multiple_of(20) { "/?slowly" } else { "/" };
        let answers = (0..=requests / WORKERS).map(|number| peer.ask(&pool.get(uri(number))).text());
        answers.collect::<Vec<String>>()
    };
    let answers: Vec<String> = std::thread::scope(|scope| {
        let peers: Vec<_> = (0..WORKERS).map(|_| scope.spawn(draw_all)).collect();
        peers.into_iter().flat_map(|peer| peer.join().unwrap()).collect()
    });
    let mut seen = HashSet::new();
    let mut pairs: HashMap<&str, usize> = HashMap::new();
    for draw in answers.iter().flat_map(|answer| answer.split_whitespace()) {
        let (source, _) = draw.split_once(':').unwrap_or_else(|| panic!("{draw}"));
        *pairs.entry(source).or_default() += usize::from(!seen.insert(draw));
    }
    assert!(pairs.len() >= 15, "all sources were drawn from: {pairs:?}");
    for (source, count) in pairs {
        let allowed = if SEEDED_WITH_32_BITS.contains(&source) { PAIRS_BY_CHANCE } else { 0 };
        assert!(count <= allowed, "{source} repeated {count} draws of {requests}: {}", pool.log());
    }
}

/// What `torture.php` can do to a process.
const WAYS: [&str; 38] = [
    "static",
    "global",
    "object",
    "ini",
    "constant",
    "class",
    "autoload",
    "handler",
    "wrapper",
    "locale",
    "umask",
    "cwd",
    "files",
    "close",
    "sqlite",
    "leak",
    "huge",
    "timezone",
    "environment",
    "shutdown",
    "destructor",
    "buffer",
    "mbstring",
    "libxml",
    "random",
    "curl",
    "gc",
    "header",
    "session",
    "recursion",
    "fiber",
    "generator",
    "child",
    "pattern",
    "include",
    "context",
    "superglobal",
    "openssl",
];
/// What ends the script before its end; the last two replace the worker.
const ENDS: [&str; 3] = ["exit", "exception", "memory"];

/// Numbers that a seed decides (splitmix64).
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn throw(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % sides as u64).unwrap()
    }
}

pub(crate) fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Resident pages that are the process's own, and open descriptors.
pub(crate) fn weight(pid: i32) -> (u64, usize) {
    let statm = std::fs::read_to_string(format!("/proc/{pid}/statm")).unwrap();
    let mut words = statm.split(' ').map(|word| word.parse::<u64>().unwrap());
    let (resident, shared) = (words.nth(1).unwrap(), words.next().unwrap());
    (resident - shared, std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count())
}

/// The same of the pool's one worker, after a request that opens nothing: what the one before has opened is closed when
/// the next one is taken, not when its response has come.
pub(crate) fn settled_weight(pool: &Pool) -> (u64, usize) {
    let mut peer = pool.peer();
    peer.ask(&pool.get("/"));
    weight(pool.workers()[0])
}

/// Each request soils its process in random ways, and is answered as classic mode answers it. The second half, in which
/// nothing kills a worker, is served by one process, whose memory and descriptors do not grow.
#[test]
fn whatever_a_request_does_the_next_is_answered_as_in_classic_mode() {
    let (requests, seed) = (number("REGIE_TORTURE", 150), number("REGIE_SEED", 20_261_121));
    // To look at every page takes longer than the requests: a long run goes without.
    let flags: &[&str] = if requests > 1000 { &[] } else { &["--paranoid"] };
    for rewind in each("torture.php", flags) {
        torture(&rewind, requests, seed);
    }
}

/// Code that the JIT compiles in a request lies in shared memory, and what it notes of it in this process is put back.
#[test]
fn so_it_is_with_the_jit() {
    let (requests, seed) = (number("REGIE_TORTURE", 100), number("REGIE_SEED", 20_261_121));
    for mode in ["tracing", "function"] {
        let jit = format!("opcache.jit={mode}");
        let flags = ["--workers", "1", "--paranoid", "--ini", &jit, "--ini", "opcache.jit_buffer_size=32M"];
        let rewind = Pool::start(Mode::Rewind, "torture.php", &flags);
        torture(&rewind, requests, seed);
    }
}

fn torture(rewind: &Pool, requests: u64, seed: u64) {
    let classic = Pool::start(Mode::Classic, "torture.php", &["--workers", "1"]);
    let mut dice = Dice(seed);
    let (mut early, mut served_by) = (None, 0);
    for round in 0..requests {
        let mut ways: Vec<&str> = Vec::new();
        for _ in 0..=dice.throw(8) {
            let way = WAYS[dice.throw(WAYS.len())];
            // Most can be done once only.
            if !ways.contains(&way) {
                ways.push(way);
            }
        }
        if round < requests / 2 && dice.throw(20) == 0 {
            ways.push(ENDS[dice.throw(ENDS.len())]);
        }
        let uri = format!("/?do={}", ways.join(","));
        let expected = classic.ask(&classic.get(&uri));
        let answer = rewind.ask(&rewind.get(&uri));
        let what = format!("round {round} of seed {seed}, {uri}; {}", rewind.log());
        assert_eq!(answer.text(), expected.text(), "{what}");
        assert_eq!(
            (answer.status, answer.header("X-Last")),
            (expected.status, expected.header("X-Last")),
            "{what}"
        );
        if round == requests / 2 + requests / 10 {
            served_by = rewind.workers()[0];
            early = Some(settled_weight(rewind));
        }
    }
    assert!(!rewind.log().contains("not put back"), "{}", rewind.log());
    assert_eq!(rewind.workers()[0], served_by, "seed {seed}: {}", rewind.log());
    let (early, late) = (early.unwrap(), settled_weight(rewind));
    assert!(late.0 < early.0 + 1024, "pages of its own grew from {} to {}", early.0, late.0);
    // A few may be open just now; what leaks is more.
    assert!(late.1.abs_diff(early.1) < 8, "descriptors went from {} to {}", early.1, late.1);
    eprintln!("{requests} requests of seed {seed}: pages, descriptors {early:?} to {late:?}");
}
