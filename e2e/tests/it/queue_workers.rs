//! The workers of a group, each by its own name.

use std::process::Stdio;

use regie_e2e::site::regie;
use regie_e2e::{Site, within};
use serde_json::Value;

use crate::queue_app::{LONG, Ledger, laravel, pause, push, run, stats};

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
    within(LONG, "another process has its name", || {
        (of_name(&idle(&site), &name)["pid"] != busy["pid"]).then_some(())
    });
    let ledger = Ledger::read(&app);
    assert_eq!((ledger.times("begun").get(&0), ledger.times("done").get(&0)), (Some(&1), Some(&1)));
    assert_eq!(ledger.pids("done", 0..1), [i32::try_from(busy["pid"].as_u64().unwrap()).unwrap()]);
    let names = ["workers:default_00", "workers:default_01"];
    let other = names.into_iter().find(|other| *other != name).expect("there are two");
    assert!(!run(&app, &["logs", other]).contains("is renewed"), "the other one stays");

    // What a job says is its worker's line.
    push(&app, 1..2, 1, "say");
    let (speaker, said) = within(LONG, "its line", || {
        let speaks = |name: &&str| run(&app, &["logs", name]).contains("job 1 speaks");
        let speaker = names.into_iter().find(speaks)?;
        Some((speaker, run(&app, &["logs", speaker])))
    });
    let word = speaker.trim_start_matches("workers:");
    assert!(said.lines().all(|line| line.contains(word)), "{said}");
    let silent = names.into_iter().find(|silent| *silent != speaker).expect("there are two");
    assert!(!run(&app, &["logs", silent]).contains("job 1 speaks"));

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

const ASLEEP: &str = "[app]\nenv = \"development\"\n[php.web]\nworkers = 1\n[php.jobs]\nidle_timeout = \"1s\"\n\
                      [workers.default]\nmin = 0\nmax = 2\n";

#[test]
fn a_group_has_no_workers_while_there_is_nothing_to_do() {
    let app = laravel();
    let site = Site::up(app.path(), ASLEEP);
    let sleeps = || {
        within(LONG, "no worker is there", || {
            let row = site.status("workers:default")?;
            (row["workers"].as_array().is_some_and(Vec::is_empty) && row["state"] == "RUNNING").then_some(())
        });
    };
    let done = |count: usize| {
        within(LONG, "they are done", || (Ledger::read(&app).times("done").len() == count).then_some(()));
    };
    sleeps();
    push(&app, 0..20, 1, "");
    done(20);
    sleeps();

    // Who comes for a job hears first what the application says to its workers. Only while one is about to leave may a job
    // be before the word, as everywhere; then another one is sent.
    run(&app, &["artisan", "down"]);
    let mut sent = 20;
    let is_held = || stats(&site)["paused"] == true;
    while !is_held() {
        assert!(sent < 30, "each of them has run in maintenance mode");
        push(&app, sent..sent + 1, 1, "");
        sent += 1;
        within(LONG, "it is done or held", || {
            (is_held() || Ledger::read(&app).times("done").len() == sent).then_some(())
        });
    }
    push(&app, sent..sent + 5, 1, "");
    sent += 5;
    within(LONG, "they wait", || stats(&site)["waiting"].as_u64().filter(|waiting| *waiting >= 5));
    run(&app, &["artisan", "up"]);
    done(sent);
    assert!(Ledger::read(&app).times("begun").values().all(|times| *times == 1));

    // A delayed job and one that is paused bring nobody before their time.
    sleeps();
    pause(&site, "pause", "default");
    push(&app, sent..sent + 1, 1, "");
    within(LONG, "it waits", || (stats(&site)["waiting"] == 1).then_some(()));
    sleeps();
    pause(&site, "resume", "default");
    done(sent + 1);
}

#[test]
fn workers_come_as_the_wait_that_jobs_have_asks_for_them() {
    let group = |target: &str| {
        format!(
            "[app]\nenv = \"development\"\n[php.web]\nworkers = 1\n[workers.default]\nmax = 3\nwait_target = \"{target}\"\n"
        )
    };
    let app = laravel();
    let site = Site::up(app.path(), &group("1h"));
    push(&app, 0..60, 30_000, "");
    within(LONG, "they are done", || (Ledger::read(&app).times("done").len() == 60).then_some(()));
    assert_eq!(Ledger::read(&app).pids("done", 0..60).len(), 1, "one was enough");
    drop(site);

    let site = Site::up(app.path(), &group("1s"));
    // Enough to do for as long as it takes to look.
    push(&app, 60..2_060, 300_000, "");
    within(LONG, "there are three", || (workers(&site, "workers:default").len() == 3).then_some(()));
    run(&app, &["queue", "clear", "default", "--force"]);
    push(&app, 3_000..3_010, 1, "");
    within(LONG, "they are done", || {
        let done = Ledger::read(&app).times("done");
        (3_000..3_010).all(|number| done.contains_key(&number)).then_some(())
    });
}
