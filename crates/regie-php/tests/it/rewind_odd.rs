//! What few applications do, in rewind mode beside classic mode with a process for each request: each way alone, with a
//! request behind it that looks at what it finds, and then mixed by chance.

use crate::client::{Answer, Ask};
use crate::pool::{Mode, Pool, php};
use crate::rewind::{Dice, each, number};

const INI: [&str; 8] = [
    "--ini",
    "ffi.enable=1",
    "--ini",
    "apc.enabled=1",
    "--ini",
    "display_errors=1",
    "--ini",
    "post_max_size=64M",
];

/// `odd.php`, and the names of what it can do.
struct Classic {
    pool: Pool,
    ways: Vec<String>,
    /// Those that end the script.
    ends: Vec<String>,
    /// Those that take a second of processor time.
    slow: Vec<String>,
}

impl Classic {
    fn start(flags: &[&str]) -> Self {
        let own = ["--workers", "4", "--max-requests", "1"];
        let pool = Pool::start(Mode::Classic, "odd.php", &[&own, &INI[..], flags].concat());
        let text = pool.ask(&pool.get("/?all")).text();
        let (_, last) = text.rsplit_once('\n').unwrap();
        let mut ways: Vec<String> = last.split(',').map(str::to_owned).collect();
        let at = |name: &str| ways.iter().position(|way| way == name).unwrap();
        let (ends, slow) = (at("exit"), at("time"));
        let slow = ways.split_off(slow);
        let ends = ways.split_off(ends);
        Self { pool, ways, ends, slow }
    }

    /// What is different from this mode's answer, if anything. PHP itself crashes at some of it (a stream of PHP code that
    /// ends in a fatal error): no answer is one, too.
    fn differs(&self, rewind: &Pool, shape: impl Fn(&Pool) -> Ask) -> Option<String> {
        let ask = |pool: &Pool| pool.peer().try_ask(&shape(pool)).ok();
        let (Some(expected), answer) = (ask(&self.pool), ask(rewind)) else { return None };
        let Some(answer) = answer else {
            return Some(format!("-- no answer in rewind mode: {}", rewind.log()));
        };
        let same = |one: &Answer, other: &Answer| {
            (one.status, &one.headers, &one.body) == (other.status, &other.headers, &other.body)
        };
        if same(&expected, &answer) {
            return None;
        }
        let whole = |answer: &Answer| format!("{} {:?} {}", answer.status, answer.headers, answer.text());
        let (expected, answer) = (whole(&expected), whole(&answer));
        let at = expected.bytes().zip(answer.bytes()).take_while(|(one, other)| one == other).count();
        let part = |text: &str| {
            let rest = &text.as_bytes()[at.saturating_sub(80)..];
            String::from_utf8_lossy(rest).chars().take(400).collect::<String>()
        };
        Some(format!("-- rewind\n{}\n-- classic\n{}", part(&answer), part(&expected)))
    }

    fn compare(&self, rewind: &Pool, ways: &[&str]) -> Option<String> {
        let uris = [format!("/?do={}", ways.join(",")), "/".to_owned()];
        uris.iter().find_map(|uri| Some(format!("{uri}\n{}", self.differs(rewind, |pool| pool.get(uri))?)))
    }

    fn mix(&self, rewind: &Pool, requests: u64, seed: u64) {
        let mut dice = Dice(seed);
        let slow = if requests > 100 { self.slow.as_slice() } else { &[] };
        let ends: Vec<&String> = self.ends.iter().chain(slow).collect();
        for round in 0..requests {
            let mut ways: Vec<&str> = Vec::new();
            for _ in 0..=dice.throw(6) {
                let way = &self.ways[dice.throw(self.ways.len())];
                if !ways.contains(&way.as_str()) {
                    ways.push(way);
                }
            }
            if dice.throw(8) == 0 {
                ways.push(ends[dice.throw(ends.len())]);
            }
            let wrong = self.compare(rewind, &ways);
            assert_eq!(wrong, None, "round {round} of seed {seed}: {}", rewind.log());
        }
        assert!(!rewind.log().contains("not put back"), "{}", rewind.log());
    }
}

#[test]
fn each_odd_way_is_answered_as_in_classic_mode() {
    let classic = Classic::start(&[]);
    for (turn, rewind) in each("odd.php", &INI).enumerate() {
        // All with the first tracker, some with each of the others.
        let ways = classic.ways.iter().chain(&classic.ends).chain(&classic.slow[..1]);
        let ways = ways.skip(turn).step_by(if turn == 0 { 1 } else { 4 });
        let mut wrong: Vec<String> = ways.filter_map(|way| classic.compare(&rewind, &[way])).collect();
        // What ends in a destructor ends before those of the others.
        wrong.extend(classic.compare(&rewind, &["generator", "filter", "destructor-exit"]));
        assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
        assert!(!rewind.log().contains("not put back"), "{}", rewind.log());
    }
}

/// `REGIE_TORTURE=5000 REGIE_SEED=7 cargo test -p regie-php --test it odd_ways_mixed` mixes more of them.
#[test]
fn odd_ways_mixed_by_chance_are_answered_as_in_classic_mode() {
    let (requests, seed) = (number("REGIE_TORTURE", 8), number("REGIE_SEED", 20_261_121));
    // To look at every page takes longer than the requests: a long run goes without.
    let paranoid: &[&str] = if requests > 100 { &[] } else { &["--paranoid"] };
    for rewind in each("odd.php", &[&INI[..], paranoid].concat()) {
        // Anew each time: shared memory stays.
        Classic::start(&[]).mix(&rewind, requests, seed);
    }
}

/// With what else changes how PHP runs: the JIT, classes and functions that were preloaded.
#[test]
fn odd_ways_are_answered_so_with_the_jit_and_preloading() {
    let (requests, seed) = (number("REGIE_TORTURE", 8), number("REGIE_SEED", 20_261_121));
    let preload = format!("opcache.preload={}", php("preload.php").display());
    let jit = ["--ini", "opcache.jit=tracing", "--ini", "opcache.jit_buffer_size=32M", "--ini", &preload];
    let own = ["--workers", "1"];
    let rewind = Pool::start(Mode::Rewind, "odd.php", &[&own, &INI[..], &jit].concat());
    Classic::start(&jit).mix(&rewind, requests, seed);
}

/// What is large goes through, and is gone: an upload of 20 MB, a body of 20 MB, a response of 64 MB.
#[test]
fn large_uploads_and_responses_are_as_in_classic_mode() {
    const LARGE: usize = 20 << 20;
    let ini = [&INI[..], &["--ini", "upload_max_filesize=64M", "--ini", "memory_limit=256M"]].concat();
    let classic = Classic::start(&ini);
    let form = |pool: &Pool| {
        let head = "--e\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\n";
        let body = [head.as_bytes(), &vec![b'x'; LARGE], b"\r\n--e--\r\n"].concat();
        pool.get("/?do=upload").post("multipart/form-data; boundary=e", &body)
    };
    let plain = |pool: &Pool| pool.get("/?do=body").post("text/plain", &vec![b'y'; LARGE]);
    let rewind = Pool::start(Mode::Rewind, "odd.php", &[&["--workers", "1"], &ini[..]].concat());
    let pids = rewind.workers();
    assert_eq!(classic.differs(&rewind, form), None);
    assert_eq!(classic.differs(&rewind, |pool| pool.get("/")), None);
    assert_eq!(classic.differs(&rewind, plain), None);
    assert_eq!(classic.differs(&rewind, |pool| pool.get("/?do=respond")), None);
    assert_eq!(classic.differs(&rewind, |pool| pool.get("/")), None);
    assert_eq!(rewind.workers(), pids, "the process is the same: {}", rewind.log());
}
