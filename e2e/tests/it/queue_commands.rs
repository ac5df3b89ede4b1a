//! What `regie queue` tells and does, beside Laravel's own commands.

use regie_e2e::{App, Site, within};
use serde_json::Value;

use crate::queue_app::{LONG, Ledger, laravel, pause, push, run, stats};

const FAILED_TABLE: &str = r"<?php
require 'vendor/autoload.php';
$app = require 'bootstrap/app.php';
$app->make(Illuminate\Contracts\Console\Kernel::class)->bootstrap();
$app['db']->connection()->getSchemaBuilder()->create('failed_jobs', function ($table) {
    $table->id();
    $table->string('uuid')->unique();
    foreach (['connection', 'queue', 'payload', 'exception'] as $text) {
        $table->longText($text);
    }
    $table->timestamp('failed_at')->useCurrent();
});
";

/// One whose failed jobs are kept.
fn app() -> App {
    let app = laravel();
    let config = app.read("config/queue.php");
    let kept = "['driver' => 'database-uuids', 'database' => 'sqlite', 'table' => 'failed_jobs']";
    assert!(config.contains("['driver' => 'null']"), "the application has changed");
    app.write("config/queue.php", config.replace("['driver' => 'null']", kept));
    app.write("table.php", FAILED_TABLE);
    run(&app, &["php", "table.php"]);
    app
}

fn json(site: &Site, words: &[&str]) -> Value {
    let output = site.regie(&[&["queue"], words, &["--json"]].concat());
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|fault| panic!("{words:?}: {fault}: {}", String::from_utf8_lossy(&output.stderr)))
}

fn jobs(answer: &Value) -> &[Value] {
    answer["jobs"].as_array().expect("a list")
}

#[test]
fn what_waits_and_what_has_failed_is_told_and_changed() {
    let app = app();
    let site = Site::up(
        app.path(),
        "[app]\nenv = \"development\"\n[workers.default]\nmin = 1\nmax = 1\ntries = 1\n",
    );
    pause(&site, "pause", "default");
    push(&app, 0..5, 1, "");
    within(LONG, "they wait", || (stats(&site)["waiting"] == 5).then_some(()));
    let listed = json(&site, &["list", "redis:default", "--limit", "3"]);
    assert_eq!(jobs(&listed).len(), 3);
    assert_eq!(
        (&jobs(&listed)[0]["class"], &jobs(&listed)[0]["attempts"]),
        (&r"App\Jobs\Count".into(), &0.into())
    );
    let monitor = |words: &[&str]| site.regie(&[&["queue", "monitor"], words].concat()).status.code();
    assert_eq!(monitor(&["--max", "5"]), Some(0));
    assert_eq!(monitor(&["default", "--max", "4"]), Some(1));
    assert_eq!(monitor(&["nowhere"]), Some(64));
    assert_eq!(site.regie(&["queue", "clear", "default"]).status.code(), Some(64), "not without a word");
    assert!(run(&app, &["queue", "clear", "default", "--force"]).contains("5 dropped"));
    assert_eq!(jobs(&json(&site, &["list", "default"])).len(), 0);

    // One fails, and is found by Laravel's own command and by ours, with the same id.
    push(&app, 10..11, 1, "throw");
    pause(&site, "resume", "default");
    let failed = |times| {
        within(LONG, "it fails", || {
            (Ledger::read(&app).times("failed").get(&10) == Some(&times)).then_some(())
        });
    };
    failed(1);
    let found = within(LONG, "it is written down", || {
        let runs = json(&site, &["runs", "--failed"]);
        runs["runs"].as_array().and_then(|runs| runs.first().cloned())
    });
    assert_eq!(found["exception"]["message"], "thrown");
    let id = found["id"].as_str().expect("an id").to_owned();
    assert!(run(&app, &["artisan", "queue:failed"]).contains(&id));
    assert!(run(&app, &["queue", "failed"]).contains(&id));
    let shown = run(&app, &["queue", "show", &id]);
    for part in ["thrown", "App\\Jobs\\Count", "attempt", "payload"] {
        assert!(shown.contains(part), "{part} is not in {shown}");
    }
    run(&app, &["queue", "retry", &id]);
    failed(2);
    run(&app, &["artisan", "queue:retry", "all"]);
    failed(3);
    within(LONG, "it is among the failed ones again", || {
        run(&app, &["queue", "failed"]).contains(&id).then_some(())
    });
    run(&app, &["queue", "forget", &id]);
    assert!(!run(&app, &["artisan", "queue:failed"]).contains(&id));
}

/// A job that takes its worker along again and again is taken out, with what is known of it, whatever tries it has.
#[test]
fn a_job_that_kills_its_workers_is_parked() {
    let app = app();
    let site = Site::up(
        app.path(),
        "[app]\nenv = \"development\"\n[workers.default]\nmin = 1\nmax = 1\nbackoff = [\"0s\"]\n",
    );
    push(&app, 0..1, 1, "poison");
    push(&app, 1..4, 1, "");
    let parked = |deaths: usize| {
        let listed = within(LONG, "it is parked", || {
            let listed = json(&site, &["list", "redis:default", "--state", "parked"]);
            (jobs(&listed).len() == 1).then_some(listed)
        });
        let ledger = Ledger::read(&app);
        assert_eq!(ledger.times("begun").get(&0), Some(&deaths), "{listed}");
        jobs(&listed)[0].clone()
    };
    let job = parked(3);
    assert_eq!(job["reason"], "workers died of it");
    assert!(job["payload"].as_str().is_some_and(|payload| payload.contains("Count")), "{job}");
    within(LONG, "the others are done", || (Ledger::read(&app).times("done").len() == 3).then_some(()));
    let deaths = || {
        let runs = json(&site, &["runs", "--grep", "Count", "--failed"]);
        let runs = runs["runs"].as_array().expect("runs").clone();
        runs.into_iter().filter(|run| run["end"] == "died").collect::<Vec<_>>()
    };
    let died =
        within(LONG, "each death is written down", || Some(deaths()).filter(|deaths| deaths.len() == 3));
    assert!(died.iter().all(|run| run["evidence"].is_string() && run["id"] == job["id"]), "{died:?}");
    assert_eq!(stats(&site)["parked"], 1);
    // Put back, it has three lives again.
    assert!(run(&app, &["queue", "retry", "all", "--parked", "redis:default"]).contains("1 put back"));
    within(LONG, "it runs again", || (Ledger::read(&app).times("begun")[&0] >= 6).then_some(()));
    parked(6);
    assert!(run(&app, &["queue", "flush", "--parked", "redis:default"]).contains("1 dropped"));
    assert_eq!(stats(&site)["parked"], 0);
    assert_eq!(Ledger::read(&app).times("failed").len(), 0);
}

const POST: &str = r"<?php
require 'vendor/autoload.php';
$app = require 'bootstrap/app.php';
$app->make(Illuminate\Contracts\Console\Kernel::class)->bootstrap();
App\Jobs\CountWords::dispatch(App\Models\Note::create(['author' => 'Ada', 'text' => 'three small words']));
";

const SEND: &str = r"<?php
require 'vendor/autoload.php';
(new Symfony\Component\Dotenv\Dotenv())->bootEnv(__DIR__ . '/.env');
$kernel = new App\Kernel('dev', true);
$kernel->boot();
$kernel->getContainer()->get('messenger.default_bus')->dispatch(new App\Message\NoteWritten('three small words'));
";

#[test]
fn the_examples_have_work_that_is_done_after_the_answer() {
    let app = laravel();
    run(&app, &["artisan", "migrate", "--force"]);
    app.write("post.php", POST);
    let site = Site::up(app.path(), "[app]\nenv = \"development\"\n");
    run(&app, &["php", "post.php"]);
    within(LONG, "the words are counted", || {
        site.get("/notes").text().contains("Ada, 3 words").then_some(())
    });
    drop(site);

    let app = App::named("symfony");
    app.write(".env.local", "MESSENGER_TRANSPORT_DSN=redis://redis:6379/notes\n");
    app.write("send.php", SEND);
    let site = Site::up(app.path(), "[app]\nenv = \"development\"\n");
    run(&app, &["php", "send.php"]);
    within(LONG, "the words are counted", || {
        site.get("/notes").text().contains("have written 3 words").then_some(())
    });
    assert_eq!(stats(&site)["queue"], "async:async");
    drop(site);

    let tour = App::named("tour");
    let site = Site::up(tour.path(), &tour.read("regie.toml"));
    assert!(!site.get("/job.php").text().contains("written by process"));
    let ordered = site.ask("POST", "/job.php", &[], b"").expect("an answer");
    assert_eq!(ordered.status, 303, "{}", ordered.text());
    let page = within(LONG, "the letters are written", || {
        Some(site.get("/job.php").text()).filter(|page| page.contains("letter 10<"))
    });
    let program = site.status("letters").or_else(|| site.status("program:letters")).expect("the program");
    assert!(page.contains(&format!("written by process {}", program["pid"])), "{program} {page}");
}
