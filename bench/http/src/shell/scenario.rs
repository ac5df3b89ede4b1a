//! Runs a scenario on both sides.

use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::clock::{ms_since, now};
use super::family::{Process, peak_mb, processor_ms, pss_mb, reset_peak, rss_mb};
use super::http::{Connection, Reply};
use super::server::{self, Ours, Server};
use super::{machine, site, wrk as load};
use crate::catalogue::{Against, Application, Kind, Load, Mode, Scenario};
use crate::report::{Outcome, Row, Unit};
use crate::stats::Goal;
use crate::wrk::{Run, SCRIPT, judge};

/// What the command line chose.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) pairs: u32,
    pub(crate) seconds: u32,
    /// Whether nginx keeps its connections to php-fpm.
    pub(crate) keepalive: bool,
    /// PHP's settings on both sides.
    pub(crate) ini: Vec<(String, String)>,
    /// Whether the peer stands on both sides, which shows how far equal things differ.
    pub(crate) against_itself: bool,
}

/// Pairs of runs where Régie stands on both sides: equal machinery differs less.
const OWN_PAIRS: u32 = 3;

/// A person's line while it runs.
pub(crate) type Tell<'a> = &'a dyn Fn(&str);

pub(crate) fn run(scenario: &Scenario, settings: &Settings, tell: Tell<'_>) -> Outcome {
    let sides = match scenario.kind {
        Kind::Load(load) => load.against.sides(&load),
        _ => None,
    };
    let rows = match scenario.kind {
        Kind::Load(load) => compare(&load, settings, tell),
        Kind::Multiplex => multiplex(settings, tell),
        Kind::Upload => upload(settings, tell),
        Kind::Idle => idle(settings, tell),
    };
    let (rows, fault) = match rows {
        Ok(rows) => (rows, None),
        Err(fault) => (Vec::new(), Some(fault)),
    };
    Outcome { name: scenario.name.to_owned(), about: scenario.about.to_owned(), sides, rows, fault }
}

/// Both sides, running, with the folder that they live in.
struct Both {
    // Stopped before their folder goes: fields are dropped in this order.
    theirs: Server,
    ours: Server,
    folder: tempfile::TempDir,
}

impl Both {
    /// nginx with php-fpm, and Régie in classic mode.
    fn plain(workers: u32, path: &str, settings: &Settings) -> Result<Self, String> {
        let ours = Setup::Regie(Ours::new(workers, Mode::Classic));
        Self::start(Application::Plain, path, [Setup::Fpm { workers }, ours], settings)
    }

    fn start(
        application: Application,
        path: &str,
        [theirs, ours]: [Setup; 2],
        settings: &Settings,
    ) -> Result<Self, String> {
        let ours = if settings.against_itself { theirs } else { ours };
        let folder = work_folder()?;
        let theirs = start_side("peer", theirs, folder.path(), application, path, settings)?;
        let ours = start_side("ours", ours, folder.path(), application, path, settings)?;
        Ok(Self { theirs, ours, folder })
    }

    fn sides(&self) -> [(&'static str, &Server); 2] {
        [("peer", &self.theirs), ("ours", &self.ours)]
    }
}

/// How a side is set up.
#[derive(Clone, Copy)]
enum Setup {
    Fpm { workers: u32 },
    Regie(Ours),
}

/// Both sides of a load.
fn setups(load: &Load) -> [Setup; 2] {
    let ours = Ours::new(load.workers, load.mode);
    let theirs = match load.against {
        Against::Fpm => Setup::Fpm { workers: load.workers },
        Against::Workers(workers) => Setup::Regie(Ours { workers, ..ours }),
        Against::FastCgi => Setup::Regie(Ours { lane: false, ..ours }),
        Against::BareLoop => Setup::Regie(Ours { script: Some(site::BARE_LOOP), ..ours }),
    };
    [theirs, Setup::Regie(ours)]
}

fn work_folder() -> Result<tempfile::TempDir, String> {
    let folder = tempfile::Builder::new()
        .prefix("regie-bench-")
        .tempdir()
        .map_err(|fault| format!("no temporary folder: {fault}"))?;
    site::open(folder.path())?;
    Ok(folder)
}

fn start_side(
    name: &str,
    setup: Setup,
    folder: &Path,
    application: Application,
    path: &str,
    settings: &Settings,
) -> Result<Server, String> {
    let own = folder.join(name);
    fs::create_dir(&own).map_err(|fault| format!("{}: {fault}", own.display()))?;
    let site = site::make(application, &own.join("site"))?;
    match setup {
        Setup::Fpm { workers } => server::peer(&site, workers, settings, path, &own),
        Setup::Regie(ours) => server::regie(&site, ours, &settings.ini, path, &own),
    }
}

/// wrk on each side in turn.
fn compare(load: &Load, settings: &Settings, tell: Tell<'_>) -> Result<Vec<Row>, String> {
    let both = Both::start(load.application, load.path, setups(load), settings)?;
    let pairs = if load.against == Against::Fpm { settings.pairs } else { settings.pairs.min(OWN_PAIRS) };
    let script = both.folder.path().join("report.lua");
    site::write(&script, SCRIPT.as_bytes())?;
    let mut targets = Vec::new();
    for (name, server) in both.sides() {
        let target = Target::look(load, server, &script)?;
        // Warms caches, and looks into each body even where the measured runs do not.
        target.measure(1, true).map_err(|fault| format!("{name}, warming up: {fault}"))?;
        targets.push((name, target));
    }
    let mut runs: [Vec<Measured>; 2] = [Vec::new(), Vec::new()];
    for pair in 1..=pairs {
        for ((name, target), runs) in targets.iter().zip(&mut runs) {
            let run = target
                .measure(settings.seconds, load.look)
                .map_err(|fault| format!("{name}, run {pair} does not count: {fault}"))?;
            let (per_second, p99) = (run.wrk.per_second(), run.wrk.p99_us as f64 / 1e3);
            tell(&format!("  pair {pair} {name}: {per_second:.0}/s, p99 {p99:.2} ms"));
            runs.push(run);
        }
    }
    let [theirs, ours] = &runs;
    let column = |runs: &[Measured], value: fn(&Measured) -> f64| runs.iter().map(value).collect::<Vec<_>>();
    let row = |what: &str, unit, value: fn(&Measured) -> f64, goal| {
        Row::new(what, unit, &column(theirs, value), &column(ours, value), goal)
    };
    let memory = both.sides().map(|(_, server)| [pss_mb(&server.processes())]);
    Ok([
        row("requests", Unit::PerSecond, |run| run.wrk.per_second(), load.requests_goal),
        row("p50", Unit::Milliseconds, |run| run.wrk.p50_us as f64 / 1e3, load.p50_goal),
        row("p99", Unit::Milliseconds, |run| run.wrk.p99_us as f64 / 1e3, load.p99_goal),
        row("slowest", Unit::Milliseconds, |run| run.wrk.max_us as f64 / 1e3, None),
        row("processor time per request", Unit::Microseconds, |run| run.processor_us, None),
        Row::new("memory of all processes (PSS)", Unit::Megabytes, &memory[0], &memory[1], None),
    ]
    .into_iter()
    .flatten()
    .collect())
}

/// A run of wrk, and what it cost the server.
struct Measured {
    wrk: Run,
    /// Processor time of all the side's processes for one request.
    processor_us: f64,
}

/// One side of a comparison, looked at before it is measured.
struct Target<'a> {
    load: &'a Load,
    server: &'a Server,
    script: &'a Path,
    /// One of each visitor.
    cookies: Vec<String>,
    /// Of each answer.
    size: Option<usize>,
}

impl<'a> Target<'a> {
    fn look(load: &'a Load, server: &'a Server, script: &'a Path) -> Result<Self, String> {
        let fault = |fault: std::io::Error| format!("GET {}: {fault}", load.path);
        if load.sends > 0 {
            // Its answer depends on what is sent: the warm-up looks at it, and at its size.
            return Ok(Self { load, server, script, cookies: Vec::new(), size: None });
        }
        let mut size = 0;
        let mut cookies = Vec::new();
        for _ in 0..load.visitors {
            let mut connection = Connection::open(server.address).map_err(fault)?;
            let reply = connection.get(load.path, None).map_err(fault)?;
            let cookie = session_cookie(&reply);
            let reply = connection.get(load.path, cookie.as_deref()).map_err(fault)?;
            if reply.status != 200 || !reply.holds(load.needle) {
                return Err(format!("GET {} answers {} without '{}'", load.path, reply.status, load.needle));
            }
            size = reply.size;
            cookies.extend(cookie);
        }
        Ok(Self { load, server, script, cookies, size: Some(size) })
    }

    fn measure(&self, seconds: u32, look: bool) -> Result<Measured, String> {
        let before = processor_ms(&self.server.processes());
        let slow = Slow::start(self.server.address, self.load.slow);
        let run = load::run(&load::Order {
            script: self.script,
            address: self.server.address,
            path: self.load.path,
            connections: self.load.connections,
            seconds,
            sends: self.load.sends,
            cookies: &self.cookies,
            needle: look.then_some(self.load.needle),
        });
        slow.stop()?;
        let wrk = run?;
        judge(&wrk, self.load.connections, self.size.filter(|_| !look))?;
        let spent = processor_ms(&self.server.processes()) - before;
        Ok(Measured { processor_us: spent * 1e3 / wrk.requests as f64, wrk })
    }
}

/// The cookies that an answer sets, as one visitor sends them back.
fn session_cookie(reply: &Reply) -> Option<String> {
    reply.header("set-cookie")?;
    let pairs: Vec<&str> = reply
        .head
        .lines()
        .filter_map(|line| line.split_once(':').filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie")))
        .filter_map(|(_, value)| value.split(';').next())
        .map(str::trim)
        .collect();
    Some(pairs.join("; "))
}

/// Requests of half a second, some of them always in flight.
struct Slow {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Result<u32, String>>>,
}

impl Slow {
    fn start(address: SocketAddr, count: u32) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let threads = (0..count).map(|_| {
            let stop = Arc::clone(&stop);
            thread::spawn(move || slow_requests(address, &stop))
        });
        Self { threads: threads.collect(), stop }
    }

    fn stop(self) -> Result<(), String> {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            let answered = thread.join().map_err(|_| "a slow request panicked".to_owned())??;
            if answered == 0 {
                return Err("no slow request was answered".to_owned());
            }
        }
        Ok(())
    }
}

fn slow_requests(address: SocketAddr, stop: &AtomicBool) -> Result<u32, String> {
    let mut connection = Connection::open(address).map_err(|fault| format!("slow request: {fault}"))?;
    let mut answered = 0;
    while !stop.load(Ordering::Relaxed) {
        let reply = connection.get("/slow.php", None).map_err(|fault| format!("slow request: {fault}"))?;
        if reply.status != 200 || !reply.holds("slow") {
            return Err(format!("a slow request was answered {}", reply.status));
        }
        answered += 1;
    }
    Ok(answered)
}

/// h2load with one connection and sixteen streams.
fn multiplex(settings: &Settings, tell: Tell<'_>) -> Result<Vec<Row>, String> {
    let h2load = machine::find("h2load", "nghttp2-client")?;
    let both = Both::plain(8, "/wait.php", settings)?;
    let mut times: [Vec<f64>; 2] = [Vec::new(), Vec::new()];
    for pair in 1..=settings.pairs {
        for ((name, server), times) in both.sides().into_iter().zip(&mut times) {
            let ms = sixteen_streams(&h2load, server.h2)
                .map_err(|fault| format!("{name}, run {pair}: {fault}"))?;
            tell(&format!("  pair {pair} {name}: {ms:.0} ms"));
            times.push(ms);
        }
    }
    let row = Row::new(
        "16 × 100 ms on 8 workers",
        Unit::Milliseconds,
        &times[0],
        &times[1],
        Some(Goal::OursAtMost(250.0)),
    );
    Ok(row.into_iter().collect())
}

fn sixteen_streams(h2load: &Path, address: SocketAddr) -> Result<f64, String> {
    let start = now();
    let output = Command::new(h2load)
        .args(["-n16", "-c1", "-m16", "-N20s", &format!("http://{address}/wait.php")])
        .output()
        .map_err(|fault| format!("h2load cannot be run: {fault}"))?;
    let ms = ms_since(start);
    let printed = String::from_utf8_lossy(&output.stdout);
    let good = printed.contains("16 succeeded, 0 failed") && printed.contains("16 2xx");
    if good { Ok(ms) } else { Err(format!("not all sixteen were answered: {}", printed.trim())) }
}

/// 200 MB through each side.
fn upload(settings: &Settings, tell: Tell<'_>) -> Result<Vec<Row>, String> {
    const SIZE: u64 = 200_000_000;
    let both = Both::plain(2, "/hello.php", settings)?;
    let (small, large) = (both.folder.path().join("small.bin"), both.folder.path().join("large.bin"));
    make_file(&small, 1_000_000)?;
    make_file(&large, SIZE)?;
    let mut growth: [Vec<f64>; 2] = [Vec::new(), Vec::new()];
    let mut php_growth: [Vec<f64>; 2] = [Vec::new(), Vec::new()];
    let mut times: [Vec<f64>; 2] = [Vec::new(), Vec::new()];
    for pair in 1..=settings.pairs.min(3) {
        for (at, (name, server)) in both.sides().into_iter().enumerate() {
            // Each worker has seen an upload before, so that only the size makes a difference.
            for _ in 0..4 {
                send_file(server.address, &small, 1_000_000)?;
            }
            let before: Vec<(Process, f64)> =
                server.processes().into_iter().map(|process| (process.clone(), rss_mb(&[process]))).collect();
            before.iter().for_each(|(process, _)| reset_peak(process));
            let start = now();
            send_file(server.address, &large, SIZE).map_err(|fault| format!("{name}: {fault}"))?;
            let ms = ms_since(start);
            let grown = |php: bool| -> f64 {
                let chosen = before.iter().filter(|(process, _)| process.is_php() == php);
                chosen.map(|(process, before)| (peak_mb(process) - before).max(0.0)).sum()
            };
            let (php, server) = (grown(true), grown(false));
            tell(&format!(
                "  pair {pair} {name}: {ms:.0} ms, memory grew by {server:.1} MB, PHP by {php:.1} MB"
            ));
            growth[at].push(server + php);
            php_growth[at].push(php);
            times[at].push(ms);
        }
    }
    Ok([
        Row::new(
            "growth of all processes (RSS, peak)",
            Unit::Megabytes,
            &growth[0],
            &growth[1],
            Some(Goal::OursAtMost(16.0)),
        ),
        Row::new("of which PHP's", Unit::Megabytes, &php_growth[0], &php_growth[1], None),
        Row::new("time until PHP has read it all", Unit::Milliseconds, &times[0], &times[1], None),
    ]
    .into_iter()
    .flatten()
    .collect())
}

fn make_file(path: &PathBuf, size: u64) -> Result<(), String> {
    let fault = |fault: std::io::Error| format!("{}: {fault}", path.display());
    let mut file = BufWriter::new(File::create(path).map_err(fault)?);
    let mut state = 1_u64;
    for _ in 0..size / 8 {
        // Bytes that no layer on the way can make smaller.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        file.write_all(&state.to_le_bytes()).map_err(fault)?;
    }
    file.flush().map_err(fault)
}

fn send_file(address: SocketAddr, path: &Path, size: u64) -> Result<(), String> {
    let output = Command::new("curl")
        .args(["-sS", "-m60", "-H", "Expect:", "-F", &format!("file=@{}", path.display())])
        .arg(format!("http://{address}/upload.php"))
        .output()
        .map_err(|fault| format!("curl cannot be run: {fault}; apt-get install curl"))?;
    let printed =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    if printed.starts_with(&format!("{size} ")) {
        Ok(())
    } else {
        Err(format!("PHP did not get the file of {size} bytes: {}", printed.trim()))
    }
}

/// How long a side is left alone before and while its rest is measured.
const SETTLE: Duration = Duration::from_secs(1);
const REST: Duration = Duration::from_secs(3);

/// What counts as 0 %: looking once a second whether the others live.
const REST_PERCENT: f64 = 0.5;

/// Starts each side several times and lets it rest.
fn idle(settings: &Settings, tell: Tell<'_>) -> Result<Vec<Row>, String> {
    let mut first: [Vec<f64>; 2] = [Vec::new(), Vec::new()];
    let mut whole: [Vec<f64>; 2] = [Vec::new(), Vec::new()];
    let mut rss = Vec::new();
    let mut pss = Vec::new();
    let mut busy: [Vec<f64>; 2] = [Vec::new(), Vec::new()];
    for pair in 1..=settings.pairs {
        let both = Both::plain(4, "/hello.php", settings)?;
        // What starting has left to do is done.
        thread::sleep(SETTLE);
        let spent = |server: &Server| processor_ms(&server.processes());
        let (before, start) = (both.sides().map(|(_, server)| spent(server)), now());
        thread::sleep(REST);
        let rested_ms = ms_since(start);
        for (at, (_, server)) in both.sides().into_iter().enumerate() {
            busy[at].push((spent(server) - before[at]) / rested_ms * 100.0);
        }
        for (at, (name, server)) in both.sides().into_iter().enumerate() {
            tell(&format!("  pair {pair} {name}: first answer after {:.0} ms", server.first_answer_ms));
            first[at].push(server.first_answer_ms);
            whole[at].push(pss_mb(&server.processes()));
        }
        let resting = both.ours.idle_processes();
        rss.push(rss_mb(&resting));
        pss.push(pss_mb(&resting));
    }
    Ok([
        Row::new(
            "time to the first answer",
            Unit::Milliseconds,
            &first[0],
            &first[1],
            Some(Goal::OursAtMost(1000.0)),
        ),
        Row::new("supervisor and gateway (RSS)", Unit::Megabytes, &[], &rss, Some(Goal::OursAtMost(30.0))),
        Row::new("supervisor and gateway (PSS)", Unit::Megabytes, &[], &pss, None),
        Row::new(
            "processor at rest, all processes",
            Unit::Percent,
            &busy[0],
            &busy[1],
            Some(Goal::OursAtMost(REST_PERCENT)),
        ),
        Row::new("all processes (PSS)", Unit::Megabytes, &whole[0], &whole[1], None),
    ]
    .into_iter()
    .flatten()
    .collect())
}
