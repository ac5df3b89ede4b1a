//! What the gateway tells about itself, on a listener of its own.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::mpsc;

use crate::client::{Connection, PATIENCE, get};
use crate::fixture::{Running, before, gateway, wait_for};
use crate::worker::{After, FakePool};

/// The lines of `/metrics` as name with labels, and value.
fn metrics(running: &Running) -> BTreeMap<String, f64> {
    let page = get(running.status, "/metrics", "");
    assert_eq!(page.status, 200);
    let kind = page.header("content-type").unwrap();
    assert!(kind.starts_with("application/openmetrics-text"), "{kind}");
    assert!(page.text().ends_with("# EOF\n"), "{}", page.text());
    let rows = page.text().lines().filter(|line| !line.starts_with('#'));
    rows.map(|line| {
        let (name, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("a value: {line}"));
        (name.to_owned(), value.parse().unwrap_or_else(|_| panic!("a number: {line}")))
    })
    .collect()
}

#[test]
fn requests_are_counted_by_who_answered_and_how_long_it_took() {
    let pool = FakePool::start(2, |request| {
        let status = if request.param("REQUEST_URI") == "/gone" { "Status: 410\r\n" } else { "" };
        request.say(format!("{status}X: y\r\n\r\nfine"));
        After::Stay
    });
    let running = before(&pool, |settings| settings.access_log = None);
    for _ in 0..3 {
        assert_eq!(get(running.address, "/", "").text(), "fine");
    }
    assert_eq!(get(running.address, "/gone", "").status, 410);
    assert_eq!(get(running.address, "/style.css", "").status, 200);
    assert_eq!(get(running.address, "/a%00", "").status, 400);
    // An answer ends a moment after its last byte has been read.
    let found = wait_for("six requests to end", || {
        let found = metrics(&running);
        let ended = ["web", "none"]
            .map(|pool| found[&format!("regie_request_duration_seconds_count{{pool=\"{pool}\"}}")]);
        (ended == [4.0, 2.0]).then_some(found)
    });
    for (name, value) in [
        ("regie_gateway_responses_total{class=\"2xx\"}", 4.0),
        ("regie_gateway_responses_total{class=\"4xx\"}", 2.0),
        ("regie_gateway_accepted_connections_total", 6.0),
        ("regie_queue_duration_seconds_count{pool=\"web\"}", 4.0),
        ("regie_queue_duration_seconds_bucket{pool=\"web\",le=\"+Inf\"}", 4.0),
        ("regie_request_duration_seconds_bucket{pool=\"web\",le=\"+Inf\"}", 4.0),
        ("regie_pool_requests_total{pool=\"web\"}", 4.0),
        ("regie_pool_refused_requests_total{pool=\"web\"}", 0.0),
    ] {
        assert_eq!(found.get(name), Some(&value), "{name}");
    }
    assert!(found["regie_request_duration_seconds_sum{pool=\"web\"}"] > 0.0);
    assert!(!found.contains_key("regie_pool_workers{pool=\"web-classic\"}"), "there is no such pool");
}

#[test]
fn it_is_ready_as_long_as_a_request_would_be_answered() {
    let (go, gone) = mpsc::channel::<()>();
    let gone = Mutex::new(gone);
    let pool = FakePool::start(1, move |request| {
        let _ = gone.lock().unwrap().recv_timeout(PATIENCE);
        request.say("X: y\r\n\r\nfine");
        After::Stay
    });
    let running = before(&pool, |settings| settings.pool.as_mut().unwrap().queue.len = 1);
    let ready = || {
        let answer = get(running.status, "/readyz", "");
        (answer.status, answer.text().to_owned())
    };
    wait_for("the pool", || (ready().0 == 200).then_some(()));
    // One in work: another would wait, and be answered. One more waits: a third would be refused.
    let mut asked: Vec<Connection> = Vec::new();
    for (waiting, status) in [(0, 200), (1, 503)] {
        let mut client = Connection::open(running.address);
        client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
        asked.push(client);
        wait_for("the request", || {
            let stats = running.stats().pool;
            (stats.workers == 1 && stats.idle == 0 && stats.waiting == waiting).then_some(())
        });
        let (told, text) = ready();
        assert_eq!(told, status, "{text}");
        assert_eq!(text.contains("as many requests wait as may wait"), status == 503, "{text}");
        assert_eq!(get(running.status, "/healthz", "").text(), "ok\n", "the process is well either way");
    }
    for client in &mut asked {
        go.send(()).unwrap();
        client.until("fine");
    }
    wait_for("the queue to be empty", || (ready().0 == 200).then_some(()));
}

#[test]
fn it_is_not_ready_without_a_pool_to_reach() {
    let folder = tempfile::tempdir().unwrap();
    let running = gateway(&[("index.php", "<?php"), ("style.css", "body{}")], |settings| {
        let address = format!("unix:{}", folder.path().join("nobody.sock").display());
        settings.pool = Some(regie_pool::PoolSettings::new(address.parse().unwrap()));
    });
    let answer = get(running.status, "/readyz", "");
    assert_eq!(answer.status, 503);
    assert!(answer.text().starts_with("not ready: the pool web: "), "{}", answer.text());
    assert_eq!(get(running.status, "/healthz", "").status, 200);
    assert_eq!(get(running.address, "/style.css", "").status, 200, "files need no pool");

    let files_only = gateway(&[("a.txt", "a")], |_| {});
    assert_eq!(get(files_only.status, "/readyz", "").status, 200);
}

#[test]
fn what_is_the_sites_is_not_told_there_nor_the_other_way_round() {
    let running = gateway(&[("style.css", "body{}")], |settings| {
        settings.access_log = Some(regie_gateway::LogFormat::Combined);
        settings.hosts = vec!["shop.example".into()];
        settings.limits.connections = 1;
    });
    // The only connection of the site is in use.
    let mut site = Connection::open(running.address);
    assert_eq!(site.ask("GET /metrics HTTP/1.1\r\nHost: shop.example\r\n\r\n").status, 404);
    for (request, status) in [
        ("GET /style.css", 404),
        ("GET /metrics?a=b", 200),
        ("HEAD /readyz", 200),
        ("POST /healthz", 405),
        ("GET /../metrics", 404),
    ] {
        let asked = format!("{request} HTTP/1.1\r\nHost: 10.0.0.1\r\n\r\n");
        assert_eq!(Connection::open(running.status).ask(&asked).status, status, "{request}");
    }
    let found = metrics(&running);
    assert_eq!(found["regie_gateway_connections"], 1.0, "questions are not counted");
    assert_eq!(found["regie_gateway_accepted_connections_total"], 1.0);
    assert_eq!(site.ask("GET /style.css HTTP/1.1\r\nHost: shop.example\r\n\r\n").status, 200);
    let log = running.access_log(2);
    assert_eq!(log.lines().count(), 2, "nor logged: {log}");
}
