//! The workers of a group, each by its own name.

use std::process::Stdio;

use regie_e2e::site::regie;
use regie_e2e::{Site, within};
use serde_json::Value;

use crate::queue_app::{LONG, Ledger, laravel, push, run};

const CONFIG: &str =
    "[app]\nenv = \"development\"\n[php.web]\nworkers = 1\n[workers.default]\nmin = 2\nmax = 2\n";

/// The workers of a program, as `regie status` tells them.
fn workers(site: &Site, program: &str) -> Vec<Value> {
    let row = site.status(program).unwrap_or_default();
    row["workers"].as_array().cloned().unwrap_or_default()
}

fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_default().to_owned()
}

/// Both workers, when neither has anything in hand.
fn idle(site: &Site) -> Vec<Value> {
    within(LONG, "two idle workers", || {
        let all = workers(site, "workers:default");
        (all.len() == 2 && all.iter().all(|worker| worker["state"] == "IDLE")).then_some(all)
    })
}

fn of_name<'a>(workers: &'a [Value], name: &str) -> &'a Value {
    workers.iter().find(|worker| worker["name"] == name).expect("its name stays")
}

#[test]
fn each_worker_has_a_name_by_which_it_is_seen_read_and_replaced() {
    let app = laravel();
    let site = Site::up(app.path(), CONFIG);
    let before = idle(&site);
    assert_eq!(
        [text(&before[0], "name"), text(&before[1], "name")],
        ["workers:default_00", "workers:default_01"]
    );

    // One has a job.
    push(&app, 0..1, 1, "gate");
    let busy = within(LONG, "one tells its job", || {
        let task = |worker: &Value| text(&worker["task"], "what") == "App\\Jobs\\Count";
        workers(&site, "workers:default").into_iter().find(task)
    });
    let name = text(&busy, "name");
    let shown = run(&app, &["status", &name]);
    assert!(shown.contains("BUSY") && shown.contains("App\\Jobs\\Count for "), "{shown}");
    assert_eq!(
        shown.lines().filter(|line| line.contains("workers:")).count(),
        1,
        "the others are not shown: {shown}"
    );

    // It is replaced when it has done it, and its successor has its name.
    let replacing = regie(app.path())
        .args(["restart", &name])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("regie can be started");
    within(LONG, "the pool knows", || run(&app, &["logs", &name]).contains("is renewed").then_some(()));
    assert_eq!(Ledger::read(&app).times("done").len(), 0);
    app.write("gate", "");
    let told = replacing.wait_with_output().expect("an end");
    assert!(told.status.success(), "{told:?}");
    let after = within(LONG, "another process has its name", || {
        let after = idle(&site);
        (of_name(&after, &name)["pid"] != busy["pid"]).then_some(after)
    });
    let ledger = Ledger::read(&app);
    assert_eq!((ledger.times("begun").get(&0), ledger.times("done").get(&0)), (Some(&1), Some(&1)));
    assert_eq!(ledger.pids("done", 0..1), [i32::try_from(busy["pid"].as_u64().unwrap()).unwrap()]);
    let other = text(after.iter().find(|worker| worker["name"] != name.as_str()).unwrap(), "name");
    assert_eq!(of_name(&after, &other)["pid"], of_name(&before, &other)["pid"], "the other one stays");

    // What a job says is its worker's line.
    push(&app, 1..2, 1, "say");
    within(LONG, "it is done", || Ledger::read(&app).times("done").contains_key(&1).then_some(()));
    let pid = ledger_pid(&Ledger::read(&app));
    let (speaker, silent): (Vec<_>, Vec<_>) = after.iter().partition(|worker| worker["pid"] == pid);
    let said = within(LONG, "its line", || {
        Some(run(&app, &["logs", &text(speaker[0], "name")])).filter(|lines| lines.contains("job 1 speaks"))
    });
    assert!(
        said.lines().all(|line| line.contains(text(speaker[0], "name").trim_start_matches("workers:"))),
        "{said}"
    );
    assert!(!run(&app, &["logs", &text(silent[0], "name")]).contains("job 1 speaks"));

    // A group is stopped as a whole; and who is not there is not replaced.
    let refused = site.regie(&["stop", "workers:default_00"]);
    assert_eq!(refused.status.code(), Some(64));
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        why.contains("regie stop workers:default.") && why.contains("regie restart workers:default_00"),
        "{why}"
    );
    let missing = site.regie(&["restart", "workers:default_77"]);
    assert_eq!(missing.status.code(), Some(1));
    let why = String::from_utf8_lossy(&missing.stderr).into_owned();
    assert!(why.contains("there is workers:default_00, workers:default_01"), "{why}");

    // The web's workers have names too.
    assert!(run(&app, &["status", "php:web"]).contains("php:web_00"));
    assert!(!run(&app, &["status"]).contains("php:web_00"));
    assert!(run(&app, &["restart", "php:web_00"]).contains("php:web_00: replaced, process "));
    assert_eq!(site.get("/").status, 200);
}

fn ledger_pid(ledger: &Ledger) -> i32 {
    ledger.pids("done", 1..2)[0]
}
