//! What a process has besides its memory, in rewind mode, each thing by its name: a request leaves it changed, and the next
//! one finds it as the boot left it, or a new process.

use std::collections::HashSet;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use crate::client::{Ask, Connection, Got};
use crate::pool::{Carrier, Mode, Peer, Pool};
use crate::rewind::{each, weight};

const FFI: [&str; 4] = ["--ini", "ffi.enable=1", "--ini", "apc.enabled=1"];

fn one() -> Pool {
    Pool::start(Mode::Rewind, "rewind-process.php", &[&["--workers", "1"], &FFI[..]].concat())
}

/// The pid is what each answer ends with.
fn ask<'a>(pool: &'a Pool, peer: &mut Peer<'a>, ways: &str) -> (String, String) {
    let answer = peer.ask(&pool.get(&format!("/?do={ways}")));
    assert_eq!(answer.status, 200, "{ways}: {}", pool.log());
    if answer.goodbye {
        *peer = pool.peer();
    }
    let text = answer.text();
    let (said, pid) = text.rsplit_once(' ').unwrap_or(("", &text));
    (said.to_owned(), pid.to_owned())
}

#[test]
fn signal_mask_handlers_alarm_and_timers_are_put_back() {
    for pool in each("rewind-process.php", &FFI) {
        let mut peer = pool.peer();
        let clean = peer.ask(&pool.get("/?do=found")).text();
        assert_eq!(clean, r#"{"blocked":[],"alarm":0,"timer":0,"handler":0}"#);
        let (_, pid) = ask(&pool, &mut peer, "offset");
        for (way, said) in [("mask", ""), ("alarm", ""), ("interval", ""), ("handler", "heard")] {
            assert_eq!(ask(&pool, &mut peer, way), (said.to_owned(), pid.clone()), "{}", pool.log());
            assert_eq!(peer.ask(&pool.get("/?do=found")).text(), clean, "after {way}");
        }
        assert_eq!(ask(&pool, &mut peer, "mask,alarm,handler").1, pid, "the process is the same");
    }
}

/// What cannot be put back: the worker is replaced after its response, and the log says why.
#[test]
fn what_cannot_be_put_back_has_the_worker_replaced() {
    let pool = one();
    let mut peer = pool.peer();
    for (way, why) in [
        ("thread", "a thread is still running"),
        ("timer", "timer_create() was called"),
        ("priority", "setpriority() was called"),
        // These are called by extensions, which are libraries of their own.
        ("group", "setpgid() was called"),
        ("limit", "setrlimit() was called"),
    ] {
        let (_, pid) = ask(&pool, &mut peer, way);
        pool.wait_for_log(&format!("is replaced: {why}"));
        let (_, next) = ask(&pool, &mut peer, "offset");
        assert_ne!(pid, next, "{way}");
        assert_eq!(
            peer.ask(&pool.get("/?do=found")).text(),
            r#"{"blocked":[],"alarm":0,"timer":0,"handler":0}"#,
            "after {way}"
        );
    }
}

/// A mapping of the boot that goes and one of its size that comes leave the process as large as it was. Where the kernel
/// seals mappings (Linux 6.10), the first cannot go; what comes is removed.
#[test]
fn a_mapping_of_equal_size_elsewhere_does_not_go_unnoticed() {
    for pool in each("rewind-process.php", &FFI) {
        let mut peer = pool.peer();
        let mapped =
            |pid: &str| std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap().lines().count();
        let (_, pid) = ask(&pool, &mut peer, "offset");
        let (said, _) = ask(&pool, &mut peer, "elsewhere");
        if crate::rewind::is_older_than((6, 10)) {
            assert_eq!(said, "removed", "{}", pool.log());
            continue;
        }
        assert_eq!(said, "refused", "{}", pool.log());
        let before = mapped(&pid);
        assert_eq!(ask(&pool, &mut peer, "map").1, pid);
        assert_eq!(ask(&pool, &mut peer, "offset").1, pid, "{}", pool.log());
        assert_eq!(mapped(&pid), before);
    }
}

/// Where mappings are not sealed, who calls the kernel by itself is found within some requests, and libc at once.
#[test]
fn where_mappings_are_not_sealed_they_are_looked_at() {
    const LOOK_EVERY: usize = 64;
    let flags = [&["--workers", "1", "--tracker", "pagemap"], &FFI[..]].concat();
    let pool = Pool::launch(Mode::Rewind, "rewind-process.php", &flags, &[("REGIE_MSEAL", "0")]);
    pool.wait_for_notice("READY=1");
    for (ways, why, within) in [
        // Where the kernel puts the new one is its own affair.
        ("elsewhere", "a mapping of the boot ", LOOK_EVERY),
        ("elsewhere,locale", "a mapping of the boot ", 0),
        ("instead", "a mapping of the boot was replaced", LOOK_EVERY),
        ("instead,locale", "a mapping of the boot was replaced", 0),
    ] {
        // As somebody new each time: a worker that is replaced between two requests ends its connection.
        let ask = |ways: &str| ask(&pool, &mut pool.peer(), ways).1;
        // Nobody is replaced who only asks, or does what libc may unmap something for.
        let pid = ask("offset");
        assert_eq!(ask("locale"), pid, "{}", pool.log());
        let said = pool.log().matches(why).count();
        assert_eq!(ask(ways), pid, "{}", pool.log());
        let mut rest = within;
        while rest > 0 && ask("offset") == pid {
            rest -= 1;
        }
        crate::pool::wait_until(ways, || pool.log().matches(why).count() > said, || pool.log());
        assert_ne!(ask("offset"), pid, "{}", pool.log());
    }
}

/// A worker's own memory is what its requests write, however many there were; the snapshot exists once.
#[test]
fn a_worker_holds_what_its_requests_write() {
    // What it writes to begin, and the pages of the program and of its own stack.
    const BESIDE: u64 = 512;
    const WRITTEN: u64 = 900;
    for pool in each("rewind-pages.php", &["--status-path", "/status"]) {
        let held = |requests: usize| {
            for _ in 0..requests {
                let text = pool.ask(&pool.get(&format!("/?pages={WRITTEN}"))).text();
                assert_eq!(text, "written");
            }
            let page = pool.ask(&pool.get("/status?json").with("SCRIPT_NAME", "/status"));
            assert_eq!(page.status, 200);
            Held::by(pool.workers()[0])
        };
        let (early, late) = (held(20), held(300));
        let template = Held::by(template(&pool));
        assert!(late.own < WRITTEN + BESIDE, "{late:?}, and the template {template:?}");
        assert!(late.own < early.own + 64, "grew from {early:?} to {late:?}");
        assert!(template.snapshot > 0, "{template:?}");
        assert!(late.snapshot_own < BESIDE, "the snapshot is everybody's: {late:?}");
    }
}

/// Pages of a process.
#[derive(Debug, Default)]
struct Held {
    /// In no other process.
    own: u64,
    /// Of the snapshot's mapping.
    snapshot: u64,
    /// Of those, in no other process.
    snapshot_own: u64,
}

impl Held {
    fn by(pid: i32) -> Self {
        let smaps = std::fs::read_to_string(format!("/proc/{pid}/smaps")).unwrap();
        let (mut held, mut is_snapshot) = (Self::default(), false);
        for line in smaps.lines() {
            let mut words = line.split_whitespace();
            let name = words.next().unwrap_or_default();
            if !name.ends_with(':') {
                is_snapshot = line.contains("regie-snapshot") && line.contains("r--s");
                continue;
            }
            let pages = words.next().and_then(|size| size.parse::<u64>().ok()).unwrap_or(0) / 4;
            let private = matches!(name, "Private_Dirty:" | "Private_Clean:");
            held.own += if private { pages } else { 0 };
            held.snapshot += if is_snapshot && name == "Rss:" { pages } else { 0 };
            held.snapshot_own += if is_snapshot && private { pages } else { 0 };
        }
        held
    }
}

fn template(pool: &Pool) -> i32 {
    let is_template = |pid: &i32| {
        let title = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&title).contains("template")
    };
    crate::pool::children(pool.pid()).into_iter().find(is_template).expect("there is a template")
}

/// From the fork to the first request that could be taken. `make bench-rewind` says how long it takes.
#[test]
fn how_soon_a_replacement_is_ready_is_told() {
    let rounds = std::env::var("REGIE_BENCH").map_or(5, |text| text.parse::<usize>().unwrap() / 20);
    let pool = Pool::start(Mode::Rewind, "rewind-pages.php", &["--workers", "1", "--status-path", "/status"]);
    let mut micros = Vec::new();
    for _ in 0..rounds {
        let worker = pool.workers()[0];
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(worker), nix::sys::signal::Signal::SIGKILL)
            .unwrap();
        crate::pool::wait_until(
            "a replacement",
            || pool.workers().first().is_some_and(|pid| *pid != worker),
            || pool.log(),
        );
        let page = pool.ask(&pool.get("/status?json").with("SCRIPT_NAME", "/status")).text();
        let (_, rest) = page.split_once("\"ready after us\":").unwrap_or_else(|| panic!("{page}"));
        micros.push(rest.split([',', '}']).next().unwrap().parse::<u64>().unwrap());
    }
    micros.sort_unstable();
    eprintln!("a replacement is ready after {} us at best, median {} us", micros[0], micros[rounds / 2]);
    assert!(micros[0] > 0);
}

/// Two workers have the boot's file open at once: neither the offset nor a lock of one is the other's.
#[test]
fn a_file_of_the_boot_is_each_workers_own() {
    for tracker in ["userfaultfd", "pagemap"] {
        let flags = [&["--workers", "2", "--tracker", tracker], &FFI[..]].concat();
        let pool = Pool::start(Mode::Rewind, "rewind-process.php", &flags);
        let enough = pool.folder.path().join("enough");
        let mut holder = Connection::open_as_gateway(&pool.socket());
        let hold = pool.get(&format!("/?do=lock&until={}", enough.display()));
        holder.send(&hold.to_bytes(true)).unwrap();
        let mut said = Vec::new();
        while !String::from_utf8_lossy(&said).contains("locked") {
            match holder.next().unwrap() {
                Got::Stdout(piece) => said.extend(piece),
                other => panic!("{other:?}: {}", pool.log()),
            }
        }
        let mut other = pool.peer();
        for _ in 0..3 {
            assert_eq!(ask(&pool, &mut other, "offset,try").0, "5  //  taken", "{}", pool.log());
        }
        std::fs::write(&enough, "").unwrap();
        while !matches!(holder.next().unwrap(), Got::End(_)) {}
        // The lock goes when the holder's request is put back, which is after its response.
        crate::pool::wait_until("the lock", || ask(&pool, &mut other, "try").0 == "got", || pool.log());
        assert_eq!(ask(&pool, &mut other, "offset").0, "5  // ");
    }
}

/// Shared memory is shared on purpose: opcache, APCu, System V.
#[test]
fn apcu_stays_shared() {
    let flags = [&["--workers", "3"], &FFI[..]].concat();
    let pool = Pool::start(Mode::Rewind, "rewind-process.php", &flags);
    let mut peers: Vec<_> = (0..3).map(|_| pool.peer()).collect();
    let mut pids = HashSet::new();
    for round in 0..60 {
        let (said, pid) = ask(&pool, &mut peers[round % 3], "shared");
        assert_eq!(said, (round + 1).to_string(), "{}", pool.log());
        pids.insert(pid);
    }
    assert_eq!(pids.len(), 3);
}

#[test]
fn an_upload_is_gone_after_its_request() {
    let body =
        "--e\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\nhello\r\n--e--\r\n";
    for pool in each("rewind-process.php", &FFI) {
        let mut peer = pool.peer();
        let form = pool.get("/?do=file").post("multipart/form-data; boundary=e", body.as_bytes());
        let text = peer.ask(&form).text();
        let (path, pid) = text.rsplit_once(' ').unwrap();
        assert!(path.starts_with(pool.folder.path().to_str().unwrap()), "{path}");
        assert_eq!(ask(&pool, &mut peer, "offset").1, pid);
        assert!(!std::path::Path::new(path).exists());
    }
}

/// A request that changes nothing reads nothing of /proc but the process's size, in one call.
#[test]
fn the_common_path_reads_nothing_of_proc_but_the_size() {
    let pool = Pool::start(Mode::Rewind, "hello-rewind.php", &["--workers", "1", "--tracker", "userfaultfd"]);
    let mut peer = pool.peer();
    let before = peer.ask(&pool.get("/")).text();
    let pid = pool.workers()[0].to_string();
    let calls = pool.folder.path().join("calls");
    let mut strace = Command::new("strace")
        .args(["-y", "-p", &pid, "-e", "trace=%file,read,pread64,readv,getdents64", "-o"])
        .arg(&calls)
        .stderr(Stdio::piped())
        .spawn()
        .expect("the package strace is needed");
    let mut said = BufReader::new(strace.stderr.take().unwrap()).lines();
    assert!(said.next().unwrap().unwrap().contains("attached"));
    for _ in 0..50 {
        assert_eq!(peer.ask(&pool.get("/")).text(), before);
    }
    // The last one is put back after its response: the worker is done when it has answered another peer.
    drop(peer);
    assert_eq!(pool.peer().ask(&pool.get("/")).text(), before);
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(strace.id().cast_signed()),
        nix::sys::signal::Signal::SIGINT,
    )
    .unwrap();
    strace.wait().unwrap();
    let calls = std::fs::read_to_string(&calls).unwrap();
    let (size, other): (Vec<&str>, Vec<&str>) = calls
        .lines()
        .filter(|line| line.contains("/proc/"))
        .partition(|line| line.starts_with("pread64(") && line.contains("/statm>"));
    assert_eq!(other, [""; 0], "{calls}");
    assert!((50..=52).contains(&size.len()), "{} reads of the size: {calls}", size.len());
}

/// Jobs that leak, each a megabyte of PHP's and a large one of an extension's, in a process that does not grow.
#[test]
fn a_job_pools_memory_does_not_grow() {
    const JOBS: u64 = 1000;
    for carrier in [Carrier::FastCgi, Carrier::Lane] {
        let flags = ["--sapi-name", "cli", "--pool", "jobs", "--workers", "1", "--status-path", "/status"];
        let pool = Pool::start_on((Mode::Rewind, carrier), "rewind-jobs.php", &flags);
        let mut peer = pool.peer();
        let mut early = None;
        let mut pids = HashSet::new();
        for job in 0..JOBS {
            let ask = Ask { params: Vec::new(), body: b"leak".to_vec() };
            let ask = ask.with("REGIE_MESSAGE", "1").with("CONTENT_LENGTH", "4");
            let text = peer.ask(&ask).text();
            let (found, pid) = text.split_once(' ').unwrap();
            assert_eq!(found, "1", "job {job}: {}", pool.log());
            pids.insert(pid.to_owned());
            if job == JOBS / 10 {
                early = Some(weight(pool.workers()[0]));
            }
        }
        assert_eq!(pids.len(), 1, "{}", pool.log());
        let (early, late) = (early.unwrap(), weight(pool.workers()[0]));
        assert!(late.0 < early.0 + 1024, "pages of its own grew from {} to {}", early.0, late.0);
        assert!(late.1.abs_diff(early.1) < 8, "descriptors went from {} to {}", early.1, late.1);
    }
}

/// Priming loads classes and compiles what it needs, and leaves no trace of what it did; nothing is primed where nobody asks.
#[test]
fn priming_loads_classes_and_nothing_else() {
    for (paths, primed) in [("/", "yes"), ("", "no")] {
        let flags = ["--workers", "2"];
        let pool = Pool::launch(Mode::Rewind, "rewind-primed.php", &flags, &[("PATHS", paths)]);
        pool.wait_for_notice("READY=1");
        for _ in 0..4 {
            assert_eq!(
                pool.ask(&pool.get("/")).text(),
                format!(
                    "loaded:{primed} counted:0 static:0 global:none constant:no pattern:ok file:no child:no"
                ),
                "{}",
                pool.log()
            );
        }
    }
}

/// What is put back is what was written and not much more. `make bench-rewind` says with more requests how long it takes.
#[test]
fn what_is_put_back_is_what_was_written() {
    let requests = std::env::var("REGIE_BENCH").map_or(200, |text| text.parse::<usize>().unwrap());
    let flags = ["--workers", "1", "--status-path", "/status"];
    let pool = Pool::start(Mode::Rewind, "rewind-pages.php", &flags);
    let figures = || {
        let page = pool.ask(&pool.get("/status?json").with("SCRIPT_NAME", "/status")).text();
        let number = |name: &str| {
            let (_, rest) = page.split_once(&format!("\"{name}\":")).unwrap_or_else(|| panic!("{page}"));
            rest.split([',', '}']).next().unwrap().trim().parse::<u64>().unwrap()
        };
        [number("rewound requests"), number("pages put back"), number("put back us")]
    };
    for pages in [0, 215, 900] {
        let mut before = figures();
        let mut costs = Vec::new();
        for request in 0..requests + 50 {
            assert_eq!(pool.ask(&pool.get(&format!("/?pages={pages}"))).text(), "written");
            // The one worker answers when it has put back.
            let now = figures();
            assert_eq!(now[0], before[0] + 1);
            // At first everything is new to it.
            if request >= 50 {
                costs.push((now[1] - before[1], now[2] - before[2]));
            }
            before = now;
        }
        costs.sort_unstable();
        let least = costs[0].0;
        let written = costs[costs.len() / 2].0;
        costs.sort_unstable_by_key(|cost| cost.1);
        let micros = |part: usize| costs[costs.len() * part / 100].1;
        eprintln!(
            "{written} pages put back: median {} us, p90 {} us, p99 {} us",
            micros(50),
            micros(90),
            micros(99)
        );
        assert!(least >= pages && written < pages + 200, "{least} to {written} pages for {pages}");
    }
}
