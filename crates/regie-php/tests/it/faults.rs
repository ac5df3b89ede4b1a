//! What may go wrong in a worker, and what it costs: its own request, and nothing else.

use std::io::Write as _;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::client::Ask;
use crate::pool::{Carrier, MODES, Mode, Pool, WAYS, now, wait_until};

/// A connection that dies without an answer.
fn dies(pool: &Pool, uri: &str) {
    let answer = pool.peer().try_ask(&pool.get(uri));
    assert!(answer.is_err(), "{uri}: {answer:?}");
}

#[test]
fn a_killed_worker_costs_its_request_and_is_replaced_at_once() {
    for way in WAYS {
        let pool = Pool::start_on(way, "faults.php", &["--workers", "2"]);
        for (what, signal) in [("kill", "SIGKILL"), ("segv", "SIGSEGV")] {
            let mut other = pool.peer();
            dies(&pool, &format!("/?do={what}"));
            wait_until("the replacement", || pool.workers().len() == 2, || pool.log());
            assert!(other.ask(&pool.get("/")).text().starts_with("fine "));
            pool.wait_for_log(&format!("({signal}) in GET /?do={what} ("));
        }
        assert!(pool.ask(&pool.get("/")).text().starts_with("fine "));
    }
}

#[test]
fn a_forked_child_does_not_finish_its_parents_request() {
    for way in WAYS {
        let pool = Pool::start_on(way, "fork.php", &["--workers", "1"]);
        let before = pool.workers();
        for i in 0..3 {
            let answer = pool.ask(&pool.get(&format!("/?i={i}")));
            assert_eq!(answer.text(), format!("before parent 7 {i}"), "{way:?}");
        }
        assert_eq!(pool.workers(), before, "{way:?}: {}", pool.log());
    }
}

#[test]
fn an_endless_recursion_meets_the_guard_page() {
    for carrier in [Carrier::FastCgi, Carrier::Lane] {
        let pool = Pool::start_on((Mode::Classic, carrier), "faults.php", &["--ini", "memory_limit=-1"]);
        dies(&pool, "/?do=recurse");
        pool.wait_for_log("(SIGSEGV) in GET /?do=recurse");
        assert!(pool.ask(&pool.get("/")).text().starts_with("fine "));
    }
}

const LIMIT: [&str; 4] = ["--request-timeout", "300ms", "--request-grace", "300ms"];

#[test]
fn a_request_past_its_time_is_ended_with_504_and_its_stack_is_logged() {
    for way in WAYS {
        // A grace that nothing uses up: without an answer by PHP itself the worker would be killed, with no stack.
        let pool =
            Pool::start_on(way, "faults.php", &["--request-timeout", "600ms", "--request-grace", "100s"]);
        let stacks = || pool.log().matches("Maximum request time exceeded").count();
        for (what, frame) in [("sleep", "#0 sleep()"), ("loop", "#0 {closure}() ")] {
            // On a machine that stands still the time may be up before PHP has come so far: then it stood elsewhere.
            let is_found = (0..20).any(|_| {
                let (began, before) = (now(), stacks());
                let answer = pool.ask(&pool.get(&format!("/?do={what}")));
                assert_eq!(answer.status, 504, "{way:?} {what}: {answer:?}");
                let took = began.elapsed();
                assert!(
                    took > Duration::from_millis(590) && took < Duration::from_secs(90),
                    "{what}: {took:?}"
                );
                wait_until("the stack", || stacks() > before, || pool.log());
                pool.log().contains(frame)
            });
            assert!(is_found && pool.log().contains("faults.php:"), "{frame} in {}", pool.log());
        }
        assert!(pool.ask(&pool.get("/")).text().starts_with("fine "));
    }
}

#[test]
fn a_script_that_does_not_end_is_answered_for_and_killed() {
    for way in WAYS {
        let pool = Pool::start_on(way, "faults.php", &[&LIMIT[..], &["--workers", "1"]].concat());
        // Over the lane the gateway sees the kill and how long it took, and makes the page itself.
        let page = if way.1 == Carrier::FastCgi { "The request took too long.\n" } else { "" };
        // On a machine that stands still the time may be up before PHP is stuck: then PHP ends it by itself.
        let mut before = Vec::new();
        let is_killed = (0..20).any(|_| {
            before = pool.wait_for_workers(1);
            let answer = pool.ask(&pool.get("/?do=stuck"));
            assert_eq!(answer.status, 504, "{way:?}: {answer:?}");
            answer.text() == page
        });
        assert!(is_killed, "{way:?}: {}", pool.log());
        pool.wait_for_log("is killed: its request did not end within --request-grace");
        wait_until(
            "the replacement",
            || !pool.workers().is_empty() && pool.workers() != before,
            || pool.log(),
        );
        assert!(pool.ask(&pool.get("/")).text().starts_with("fine "));
    }
}

#[test]
fn a_slow_request_is_told_of_with_its_stack_and_runs_on() {
    for way in WAYS {
        // Long enough for PHP to come so far, also on a busy machine, and shorter than its sleep.
        let flags = ["--workers", "1", "--slow-request", "700ms", "--status-path", "/status"];
        let pool = Pool::start_on(way, "slow.php", &flags);
        let gate = pool.folder.path().join("gate");
        let uri = format!("/?gate={}", gate.display());
        std::thread::scope(|scope| {
            let slow = scope.spawn(|| pool.ask(&pool.get(&uri)));
            pool.wait_for_log("is slow, it has run for 700ms; its PHP stack:");
            pool.wait_for_log("Shop->pay()");
            std::fs::write(&gate, "").unwrap();
            let answer = slow.join().unwrap();
            assert_eq!(
                (answer.status, answer.text()),
                (200, "woken 0 s early".to_owned()),
                "{way:?}: nothing has touched it"
            );
        });
        let log = pool.log();
        let told = format!("GET {uri} (");
        assert_eq!(log.matches(&told).count(), 1, "{way:?}: {log}");
        assert!(log.contains("/slow.php:") && log.contains("{main}"), "{way:?}: {log}");
        let status = pool.ask(&pool.get("/status"));
        let row = status.text().lines().find(|line| line.starts_with("slow requests:")).unwrap().to_owned();
        assert!(!row.ends_with(" 0"), "{way:?}: {row}");
    }
}

#[test]
fn what_was_sent_before_the_limit_stays_as_it_is() {
    for carrier in [Carrier::FastCgi, Carrier::Lane] {
        let pool = Pool::start_on((Mode::Classic, carrier), "faults.php", &["--request-timeout", "2s"]);
        // On a machine that stands still the time may be up before anything was sent.
        let is_kept = (0..10).any(|_| {
            let answer = pool.ask(&pool.get("/?do=sent"));
            assert!([200, 504].contains(&answer.status), "{answer:?}");
            answer.status == 200 && answer.text().starts_with("xxxx")
        });
        assert!(is_kept, "{}", pool.log());
    }
}

#[test]
fn a_busy_loop_meets_max_execution_time() {
    for way in WAYS {
        let pool = Pool::start_on(way, "cpu-limit.php", &["--workers", "1"]);
        let answer = pool.ask(&pool.get("/"));
        assert!(answer.text().contains("Maximum execution time of 1 second exceeded"), "{way:?}: {answer:?}");
        assert_eq!(pool.ask(&pool.get("/")).status, answer.status, "and the next request is served");
    }
}

/// The kernel's timer runs on from request to request: it is armed for the first one here, and strikes in the second.
#[test]
fn a_request_has_its_own_processor_time_and_not_what_others_left() {
    for mode in [Mode::Classic, Mode::Worker] {
        let pool = Pool::start(mode, "cpu-share.php", &["--workers", "1"]);
        for turn in 0..2 {
            let answer = pool.ask(&pool.get("/?limit=1&burn=600"));
            assert_eq!(answer.text(), "done", "{mode:?}, turn {turn}: {answer:?}");
        }
        let answer = pool.ask(&pool.get("/?limit=1&burn=60000"));
        assert!(
            answer.text().contains("Maximum execution time of 1 second exceeded"),
            "{mode:?}: {answer:?}"
        );
    }
}

#[test]
fn who_sleeps_does_not_use_max_execution_time() {
    for mode in MODES {
        let pool = Pool::start(mode, "asleep.php", &["--workers", "1"]);
        assert_eq!(pool.ask(&pool.get("/")).text(), "awake", "{mode:?}");
    }
}

#[test]
fn an_open_session_is_closed_when_the_time_is_up() {
    for way in WAYS {
        let flags = ["--workers", "1", "--request-timeout", "1500ms", "--request-grace", "100s"];
        let pool = Pool::start_on(way, "session-timeout.php", &flags);
        let told = pool.folder.path().join("told");
        let answer = pool.ask(&pool.get(&format!("/?to={}", told.display())));
        assert_eq!(answer.status, 504, "{way:?}: {answer:?}");
        let text = || std::fs::read_to_string(&told).unwrap_or_default();
        wait_until("the end of the session", || text().contains("closed"), || pool.log());
        assert_eq!(text(), "wrote name|s:3:\"ada\";\nclosed\n", "{way:?}");
    }
}

#[test]
fn a_script_that_fails_to_boot_is_apologized_for_until_it_boots() {
    for carrier in [Carrier::FastCgi, Carrier::Lane] {
        is_apologized_for(carrier);
    }
}

fn is_apologized_for(carrier: Carrier) {
    let folder = tempfile::tempdir().unwrap();
    let gate = folder.path().join("down");
    std::fs::write(&gate, "").unwrap();
    let mut pool = Pool::launch_on(
        (Mode::Worker, carrier),
        "boot-fails.php",
        &["--workers", "2"],
        &[("FAIL_WHILE", gate.to_str().unwrap())],
    );
    pool.wait_for_log("the worker script ended before its loop");
    let answer = pool.ask(&pool.get("/"));
    assert_eq!(answer.status, 503);
    assert_eq!(answer.header("Retry-After"), Some("2"));
    assert!(answer.text().contains("did not start"), "{answer:?}");
    assert!(pool.log().contains("the database is not there"), "{}", pool.log());
    std::fs::remove_file(&gate).unwrap();
    pool.wait_for_notice("READY=1");
    wait_until("the page", || pool.ask(&pool.get("/")).text() == "up", || pool.log());
    pool.signal(Signal::SIGTERM);
    assert_eq!(pool.wait_for_end(), Some(0));
}

#[test]
fn a_boot_without_end_is_cut() {
    let pool = Pool::launch(Mode::Worker, "cpu-limit.php", &["--boot-timeout", "20s", "--workers", "1"], &[]);
    pool.wait_for_notice("READY=1");
    drop(pool);
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("endless.php");
    std::fs::File::create(&script).unwrap().write_all(b"<?php sleep(60);").unwrap();
    let pool = Pool::launch(
        Mode::Worker,
        script.to_str().unwrap(),
        &["--boot-timeout", "200ms", "--workers", "1"],
        &[],
    );
    pool.wait_for_log("is killed: it did not boot within --boot-timeout");
}

#[test]
fn a_client_that_goes_away_is_seen_by_php() {
    for way in WAYS {
        let pool = Pool::start_on(way, "abort.php", &[]);
        let result = pool.folder.path().join("seen");
        pool.leave_early(&pool.get(&format!("/?to={}", result.display())));
        wait_until(
            "the end of the script",
            || result.exists() && !std::fs::read(&result).unwrap().is_empty(),
            || pool.log(),
        );
        assert_eq!(std::fs::read_to_string(&result).unwrap(), "1 seen", "{way:?}");
    }
}

/// One worker is killed again and again while others are asked: only the killed requests fail.
#[test]
fn crashes_under_load_hurt_nobody_else() {
    for carrier in [Carrier::FastCgi, Carrier::Lane] {
        crashes_on(carrier);
    }
}

fn crashes_on(carrier: Carrier) {
    let pool = Pool::start_on((Mode::Classic, carrier), "hello.php", &["--workers", "4"]);
    const KILLS: usize = 10;
    let (over, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
    let lost = std::thread::scope(|scope| {
        // Each dies in the midst of requests.
        let killer = scope.spawn(|| {
            for _ in 0..KILLS {
                let before = asked.load(Ordering::Relaxed);
                wait_until("requests", || asked.load(Ordering::Relaxed) > before + 20, || pool.log());
                let pid = pool.wait_for_workers(4)[0];
                kill(Pid::from_raw(pid), Signal::SIGSEGV).unwrap();
                wait_until("its end", || !pool.workers().contains(&pid), || pool.log());
            }
            over.store(true, Ordering::Relaxed);
        });
        let lanes: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    let mut lost = 0;
                    while !over.load(Ordering::Relaxed) {
                        let mut peer = pool.abrupt_peer();
                        let ask: Ask = pool.get("/?i=1");
                        for _ in 0..50 {
                            asked.fetch_add(1, Ordering::Relaxed);
                            match peer.try_ask(&ask) {
                                Ok(answer) => assert_eq!(answer.text(), "Hello 1"),
                                Err(_) => {
                                    lost += 1;
                                    break;
                                }
                            }
                        }
                    }
                    lost
                })
            })
            .collect();
        // Should it fail, the others end all the same.
        let killed = killer.join();
        over.store(true, Ordering::Relaxed);
        let lost = lanes.into_iter().map(|lane| lane.join().unwrap()).sum::<usize>();
        killed.unwrap();
        lost
    });
    let asked = asked.into_inner();
    assert!(lost <= KILLS, "{lost} of {asked} lost by {KILLS} kills");
}
