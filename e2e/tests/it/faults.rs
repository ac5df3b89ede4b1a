//! What may break, and what must not break with it.

use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use regie_e2e::wait::timed;
use regie_e2e::{App, Connection, Reply, Site, eventually};

use crate::load::Load;

/// A page for each way to die.
fn deadly() -> App {
    let app = App::empty();
    app.write("index.php", "<?php echo 'fine ', getmypid();");
    app.write("pid.php", "<?php echo getmypid();");
    app.write(
        "segfault.php",
        "<?php echo 'before'; flush(); posix_kill(posix_getpid(), SIGSEGV); echo 'after';",
    );
    app.write("killed.php", "<?php posix_kill(posix_getpid(), SIGKILL);");
    app.write("memory.php", "<?php $a = []; while (true) { $a[] = str_repeat('x', 1 << 20); }");
    app.write("endless.php", "<?php while (true) { }");
    app.write("asleep.php", "<?php sleep(60); sleep(60); echo 'woken';");
    app.write("exits.php", "<?php echo 'bye'; exit(3);");
    app.write("throws.php", "<?php throw new RuntimeException('on purpose');");
    app.write("slow.php", "<?php sleep(600); echo getmypid();");
    app
}

fn fine(body: &str) -> bool {
    body.starts_with("fine ")
}

fn pid(site: &Site) -> Pid {
    Pid::from_raw(site.get("/pid.php").text().trim().parse().expect("a pid"))
}

#[test]
fn each_way_to_die_costs_its_own_request_alone() {
    let app = deadly();
    // What everybody else asks for takes milliseconds: the limit is far above what a busy machine makes of them.
    let site =
        Site::up(app.path(), "[php.web]\nworkers = 3\nrequest_timeout = \"8s\"\nrequest_grace = \"2s\"\n");
    let load = Load::start(site.address(), 4, "/", fine);
    for (path, statuses) in [
        ("/killed.php", &[502][..]),
        ("/memory.php", &[500]),
        ("/endless.php", &[504]),
        ("/asleep.php", &[504]),
        ("/exits.php", &[200]),
        ("/throws.php", &[500]),
    ] {
        let reply = site.get(path);
        assert!(statuses.contains(&reply.status), "{path}: {} {}", reply.status, reply.text());
    }
    // The head had left before it died, so the answer is cut short, and seen to be.
    let cut = Connection::open(site.address()).unwrap().ask("GET", "/segfault.php", &[], b"");
    assert!(cut.is_err() || cut.as_ref().is_ok_and(|reply| reply.status == 502), "{cut:?}");
    let seen = load.stop();
    assert!(seen.bad.is_empty(), "{} good; bad: {:?}", seen.good, &seen.bad[..seen.bad.len().min(5)]);
    assert!(seen.good > 50, "{}", seen.good);
}

#[test]
fn a_time_limit_holds_in_a_loop_and_in_a_sleep() {
    let app = deadly();
    let site =
        Site::up(app.path(), "[php.web]\nworkers = 1\nrequest_timeout = \"3s\"\nrequest_grace = \"2s\"\n");
    for path in ["/endless.php", "/asleep.php"] {
        let (took, reply) = timed(|| site.get(path));
        assert_eq!(reply.status, 504, "{path}: {}", reply.text());
        assert!(
            (Duration::from_millis(2900)..Duration::from_secs(55)).contains(&took),
            "{path} took {took:?}"
        );
        assert!(fine(&site.get("/").text()), "the only worker is whole again after {path}");
    }
    eventually("the log names the place where PHP stood", || {
        site.printed().contains("endless.php").then_some(())
    });
}

#[test]
fn a_worker_killed_in_a_request_is_replaced_at_once() {
    let app = deadly();
    let site = Site::up(app.path(), "[php.web]\nworkers = 1\n");
    let first = pid(&site);
    let slow = {
        let address = site.address();
        std::thread::spawn(move || Connection::open(address).unwrap().ask("GET", "/slow.php", &[], b""))
    };
    eventually("the worker is in the request", || {
        let state = std::fs::read_to_string(format!("/proc/{first}/wchan")).unwrap_or_default();
        state.contains("nanosleep").then_some(())
    });
    kill(first, Signal::SIGKILL).unwrap();
    let (took, reply) = timed(|| site.get("/"));
    assert!(fine(&reply.text()), "{}", reply.text());
    assert!(took < Duration::from_secs(60), "replaced after {took:?}");
    let reply: Reply = slow.join().unwrap().unwrap();
    assert_eq!(reply.status, 502);
    assert!(!reply.header("x-request-id").is_empty());
    assert_ne!(pid(&site), first);
    eventually("the status tells of it", || {
        let row = site.status("php:web")?;
        row["description"].as_str()?.contains("1 worker has crashed").then_some(())
    });
}

/// One worker a second for half a minute, under 64 connections.
#[test]
fn workers_killed_by_segv_under_load_cost_only_their_requests() {
    const KILLS: usize = 30;
    const PACE: Duration = Duration::from_secs(1);
    let app = deadly();
    let site = Site::up(app.path(), "[php.web]\nworkers = 4\n[gateway]\naccess_log = \"off\"\n");
    let load = Load::start(site.address(), 64, "/", fine);
    for _ in 0..KILLS {
        std::thread::sleep(PACE);
        let victim = pid(&site);
        kill(victim, Signal::SIGSEGV).unwrap();
        eventually("the victim is gone", || {
            (!std::path::Path::new(&format!("/proc/{victim}/exe")).exists()).then_some(())
        });
    }
    let seen = load.stop();
    assert!(seen.bad.len() <= KILLS, "{} good; bad: {:?}", seen.good, &seen.bad[..seen.bad.len().min(20)]);
    assert!(seen.bad.iter().all(|line| line.starts_with("502")), "{:?}", seen.bad);
    assert!(seen.good > 1000, "{}", seen.good);
}

#[test]
fn a_worker_that_cannot_boot_leaves_the_rest_of_the_site() {
    let app = App::empty();
    app.write("public/index.php", "<?php echo 'never';");
    app.write("public/style.css", "body { color: teal }");
    app.write("worker.php", "<?php throw new RuntimeException('the database is on fire');");
    let config = "[php.web]\nmode = \"worker\"\nscript = \"worker.php\"\nworkers = 2\nboot_timeout = \"10s\"\n\
                  [gateway]\nqueue_timeout = \"5s\"\nfront_controller = \"index.php\"\n";
    let site = Site::up_partly(app.path(), config);
    assert_eq!(site.get("/style.css").status, 200);
    let page = site.get("/");
    assert!(matches!(page.status, 500 | 502 | 503), "{}", page.status);
    eventually("the log says why", || site.printed().contains("the database is on fire").then_some(()));
    // It boots once its fault is mended.
    app.write("worker.php", "<?php while (frankenphp_handle_request(function () { echo 'mended'; })) { }");
    eventually("the pool has come back by itself", || {
        let _ = site.regie(&["restart", "php:web"]);
        let reply = site.get("/");
        (reply.status == 200 && reply.text() == "mended").then_some(())
    });
}

#[test]
fn children_end_when_the_supervisor_is_killed_and_the_next_start_is_clean() {
    let app = deadly();
    let site =
        Site::up(app.path(), "[php.web]\nworkers = 2\n[program.idle]\ncommand = [\"sleep\", \"300\"]\n");
    let pids: Vec<String> = ["gateway", "php:web", "program:idle"]
        .iter()
        .map(|name| site.status(name).unwrap()["pid"].to_string())
        .chain([pid(&site).to_string()])
        .collect();
    let config = app.read("regie.toml");
    kill(site.pid(), Signal::SIGKILL).unwrap();
    eventually("every child has ended", || {
        let alive = |pid: &String| {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            !stat.is_empty() && !stat.contains(") Z ")
        };
        (!pids.iter().any(alive)).then_some(())
    });
    drop(site);
    let again = Site::up(app.path(), &config);
    assert!(fine(&again.get("/").text()));
}

#[test]
fn exit_in_the_worker_loop_is_no_outage() {
    let app = App::empty();
    app.write("public/index.php", "");
    app.write(
        "worker.php",
        "<?php $n = 0; do { $again = frankenphp_handle_request(function () use (&$n) {
            $n++;
            if (($_GET['do'] ?? '') === 'exit') { echo 'leaving'; exit(1); }
            if (($_GET['do'] ?? '') === 'throw') { throw new LogicException('thrown on purpose'); }
            echo 'fine ', $n;
        }); } while ($again);",
    );
    let config = "[php.web]\nmode = \"worker\"\nscript = \"worker.php\"\nworkers = 1\n[gateway]\nfront_controller = \"index.php\"\n";
    let site = Site::up(app.path(), config);
    assert_eq!(site.get("/").text(), "fine 1");
    assert_eq!(site.get("/").text(), "fine 2");
    assert_eq!(site.get("/?do=exit").text(), "leaving");
    assert_eq!(site.get("/").text(), "fine 1");
    assert_eq!(site.get("/?do=throw").status, 500);
    assert_eq!(site.get("/").text(), "fine 1");
}
