//! `regie move`: a Laravel application that leaves its database for the store, and comes back.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use regie_e2e::programs::repository;
use regie_e2e::site::regie;
use regie_e2e::{App, Site, eventually};

use crate::queues::JOB;

fn file(name: &str) -> String {
    std::fs::read_to_string(repository().join("e2e/php/move").join(name)).expect("a file of the tests")
}

/// An application with jobs, sessions and cache in its database, as a team has it before it moves.
fn before() -> (App, Site) {
    let app = App::named("laravel-ready");
    let kept = app.read(".env");
    let kept = kept.lines().filter(|line| !line.contains("_DRIVER=") && !line.starts_with("QUEUE_"));
    let own = "QUEUE_CONNECTION=database\nSESSION_DRIVER=database\nCACHE_DRIVER=database # for now\nREDIS_HOST=127.0.0.1\n";
    app.write(".env", format!("{}\n{own}", kept.collect::<Vec<_>>().join("\n")));
    app.write("config/queue.php", file("queue.php"));
    app.write("config/cache.php", file("cache.php"));
    app.write("app/Jobs/Note.php", JOB);
    app.write("work.php", file("work.php"));
    app.write("database/database.sqlite", "");
    let site = Site::up(
        app.path(),
        "[app]\nenv = \"development\"\n[store]\nenabled = true\n[php.web]\nworkers = 1\n[workers.default]\nmin = 1\nmax = 1\n",
    );
    work(&site, &["tables"]);
    (app, site)
}

fn work(site: &Site, words: &[&str]) -> serde_json::Value {
    let done = site.regie(&[&["php", "work.php"], words].concat());
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success(), "{words:?}: {said}{}", String::from_utf8_lossy(&done.stderr));
    serde_json::from_str(said.trim()).unwrap_or_else(|_| panic!("{words:?}: {said}"))
}

fn moved(site: &Site, words: &[&str]) -> String {
    let done = site.regie(&[&["move"], words].concat());
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(done.status.success(), "{words:?}: {said}{}", String::from_utf8_lossy(&done.stderr));
    said
}

fn refused(site: &Site, words: &[&str]) -> String {
    let done = site.regie(&[&["move"], words].concat());
    assert!(!done.status.success(), "{words:?}: {}", String::from_utf8_lossy(&done.stdout));
    String::from_utf8_lossy(&done.stderr).into_owned()
}

fn runs(app: &App) -> BTreeMap<String, usize> {
    let mut runs = BTreeMap::new();
    for line in app.read("done.txt").lines() {
        let number = line.split(' ').next().unwrap_or_default().to_owned();
        *runs.entry(number).or_default() += 1;
    }
    runs
}

#[test]
fn jobs_leave_the_database_and_come_back_with_what_has_failed() {
    const JOBS: usize = 300;
    let (app, site) = before();
    let env = app.read(".env");
    // The queue `mail` of the connection `other` has no worker, so its jobs wait.
    work(&site, &["push", "other", "1000", "1020"]);
    work(&site, &["fail", "7"]);
    work(&site, &["push", "database", "0", &JOBS.to_string()]);

    let said = moved(&site, &["queue", "--from", "database", "--to", "redis", "--write-env"]);
    for line in [
        "queue: database → redis",
        "-QUEUE_CONNECTION=database",
        "+QUEUE_CONNECTION=redis",
        "what runs was reloaded",
        "mail: 20 jobs moved",
        "failed jobs: 1 stay in the list and are retried on the new connection",
        "regie move queue --rollback",
    ] {
        assert!(said.contains(line), "{line} in\n{said}");
    }
    assert_eq!(said.matches("dispatch on ").count(), 2, "{said}");
    assert_eq!(app.read(".env"), env.replace("QUEUE_CONNECTION=database", "QUEUE_CONNECTION=redis"));
    assert_eq!(work(&site, &["default"]), "redis");

    // What had failed is retried on the new side, whose pop script wants more of a payload.
    let failed = work(&site, &["failed"]);
    assert_eq!(failed[0]["connection"], "redis");
    assert!(site.regie(&["queue", "retry", "all"]).status.success());
    let ready = JOBS - JOBS / 10;
    eventually("every job has run, and the retried one again", || {
        let runs = runs(&app);
        let all = (0..JOBS).filter(|n| n % 10 != 9).all(|n| runs.contains_key(&n.to_string()));
        (all && runs.get("7") == Some(&2)).then_some(())
    });
    let runs = runs(&app);
    let doubles = runs.iter().filter(|(number, times)| **times > 1 && *number != "7").count();
    assert_eq!(
        (runs.len(), doubles),
        (ready, 0),
        "none is lost, none is doubled, none that is delayed has run"
    );
    eventually("the delayed ones wait in Redis", || {
        (work(&site, &["sizes"]) == serde_json::json!({ "database": 0, "redis": JOBS / 10 })).then_some(())
    });

    let said = moved(&site, &["queue", "--rollback"]);
    assert!(said.contains("+QUEUE_CONNECTION=database"), "{said}");
    assert_eq!(app.read(".env"), env, "to the byte");
    assert_eq!(work(&site, &["sizes"]), serde_json::json!({ "database": JOBS / 10, "redis": 0 }));
    assert!(refused(&site, &["queue", "--rollback"]).contains("no move is remembered"));
}

/// Starts a move and kills it as soon as it says that it is on its way.
fn killed_on_its_way(app: &App) {
    let mut mover = regie(app.path())
        .args(["move", "queue", "--from", "other", "--to", "redis"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("regie can be started");
    let said = BufReader::new(mover.stderr.take().expect("piped"));
    said.lines().map_while(Result::ok).find(|line| line.starts_with("mail: "));
    // It may have come to its end first, which changes nothing of what must hold.
    let _ = mover.kill();
    mover.wait().expect("it is a child");
}

#[test]
fn a_move_that_is_killed_is_gone_on_with() {
    const JOBS: usize = 1_200;
    let (app, site) = before();
    work(&site, &["push", "other", "0", &JOBS.to_string()]);
    for _ in 0..3 {
        killed_on_its_way(&app);
    }
    moved(&site, &["queue", "--from", "other", "--to", "redis"]);
    assert_eq!(work(&site, &["mail"]), serde_json::json!([JOBS, JOBS, 0]));
}

#[test]
fn a_probe_s_job_goes_through_and_is_gone() {
    let (app, site) = before();
    let probe = |wait: &str| {
        let done = site.regie(&["check", "--probe", "--probe-wait", wait, "--json"]);
        let found: serde_json::Value = serde_json::from_slice(&done.stdout).expect("findings");
        let probes = found
            .as_array()
            .expect("a list")
            .iter()
            .filter(|one| one["where"].as_str().is_some_and(|place| place.starts_with("probe")));
        probes.map(|one| format!("{} {}: {}", one["severity"], one["where"], one["what"])).collect::<Vec<_>>()
    };
    let has = |lines: &[String], severity: &str, text: &str| {
        assert!(
            lines.iter().any(|line| line.starts_with(&format!("\"{severity}\"")) && line.contains(text)),
            "{severity} {text} in {lines:#?}"
        );
    };
    let found = probe("120");
    has(&found, "note", "the application's configuration says database");
    has(&found, "note", "run by a worker after");
    has(&found, "note", "put, get and forget in");
    moved(&site, &["queue", "--from", "database", "--to", "redis", "--write-env"]);
    let found = probe("120");
    has(&found, "note", "the application's configuration says redis");
    has(&found, "note", "answers PING in");
    has(&found, "note", "run by a worker after");
    // Where nobody works, the job is taken back and the line says so. Whoever works would follow to the other connection.
    let stopped = site.regie(&["stop", "jobs"]);
    assert!(stopped.status.success(), "{}", String::from_utf8_lossy(&stopped.stderr));
    let env = app.read(".env").replace("QUEUE_CONNECTION=redis", "QUEUE_CONNECTION=other");
    app.write(".env", env);
    let found = probe("1");
    has(&found, "error", "no worker has run it");
    has(&found, "error", "it was taken back");
    assert_eq!(work(&site, &["mail"]), serde_json::json!([0, 0, 0]));
}

#[test]
fn visitors_stay_logged_in_and_the_cache_stays_warm() {
    const VISITORS: &str = "40";
    let (app, site) = before();
    let all: Vec<u32> = (1..=40).collect();
    for (from, to) in [("file", "redis"), ("redis", "database"), ("database", "file")] {
        if from == "file" {
            work(&site, &["visit", from, VISITORS]);
        }
        let said = moved(&site, &["sessions", "--from", from, "--to", to, "--json"]);
        let said: serde_json::Value = serde_json::from_str(&said).expect("JSON");
        // Each had forty there, or as many that were used no earlier.
        let there = &said["first"];
        let count = |name: &str| there[name].as_u64().unwrap_or_default();
        assert_eq!(count("copied") + count("younger"), 40, "{said}");
        assert_eq!(work(&site, &["sessions", to, VISITORS]), serde_json::json!(all), "{from} → {to}");
    }
    assert!(refused(&site, &["sessions", "--from", "cookie", "--to", "redis"]).contains("browsers"));

    work(&site, &["fill", "database"]);
    let said = moved(&site, &["cache", "--from", "database", "--to", "redis", "--write-env"]);
    assert!(said.contains("5 values and 1 locks copied"), "{said}");
    assert!(app.read(".env").contains("\nCACHE_DRIVER=redis\n"), "{said}");
    let cached = serde_json::json!([{ "name": "Ada" }, "za\u{df}", 42, 0.5, false, false, true]);
    assert_eq!(work(&site, &["cached", "redis"]), cached);
    assert!(refused(&site, &["cache", "--from", "file", "--to", "redis"]).contains("hash of each key"));
    moved(&site, &["cache", "--rollback"]);
    assert!(app.read(".env").contains("\nCACHE_DRIVER=database # for now\n"));
}

#[test]
fn what_cannot_be_moved_is_said_before_anything_is_changed() {
    let (app, site) = before();
    let env = app.read(".env");
    for (words, why) in [
        (vec!["queue", "--from", "database", "--to", "rabbit"], "it has database, other, redis, sqs, sync"),
        (vec!["queue", "--from", "database", "--to", "sqs"], "does not drive \"sqs\""),
        (vec!["queue", "--from", "sync", "--to", "redis"], "sync keeps no jobs"),
        (vec!["queue", "--from", "database", "--to", "other"], "lead to the same jobs"),
        (vec!["queue", "--from", "redis", "--to", "redis"], "name two connections"),
        (vec!["queue", "--from", "redis"], "--to <NAME>"),
        (vec!["sessions", "--from", "database", "--to", "nowhere"], "nowhere"),
        (vec!["cache", "--from", "database", "--to", "array"], "cannot be listed"),
    ] {
        let said = refused(&site, &[words.as_slice(), &["--write-env"]].concat());
        assert!(said.contains(why), "{words:?}: {said}");
    }
    assert_eq!(app.read(".env"), env);
}
