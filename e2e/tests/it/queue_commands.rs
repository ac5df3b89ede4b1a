//! What `regie queue` tells and does, beside Laravel's own commands.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;

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

const LATER: &str = r"<?php
require 'vendor/autoload.php';
$app = require 'bootstrap/app.php';
$app->make(Illuminate\Contracts\Console\Kernel::class)->bootstrap();
for ($i = 100; $i < 103; $i++) {
    dispatch((new App\Jobs\Count($i, 1))->delay(3600));
}
";

/// What the role answers to a scraper.
fn scraped(app: &App) -> String {
    let mut stream = UnixStream::connect(app.path().join(".regie/run/jobs.sock")).expect("it listens");
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: regie\r\n\r\n").expect("it reads");
    let mut page = String::new();
    stream.read_to_string(&mut page).expect("it answers");
    assert!(page.starts_with("HTTP/1.1 200 OK\r\nContent-Type: application/openmetrics-text"), "{page}");
    page
}

#[test]
fn jobs_are_found_changed_and_cancelled() {
    let app = app();
    app.write("later.php", LATER);
    let site = Site::up(
        app.path(),
        "[app]\nenv = \"development\"\n[workers.default]\nmin = 1\nmax = 1\ntries = 5\n",
    );
    pause(&site, "pause", "default");
    push(&app, 0..6, 1, "");
    push(&app, 6..9, 1, "print");
    run(&app, &["php", "later.php"]);
    within(LONG, "they wait", || {
        (stats(&site)["waiting"] == 9 && stats(&site)["delayed"] == 3).then_some(())
    });
    let found = |words: &[&str]| jobs(&json(&site, &[&["list", "default"], words].concat())).to_vec();
    for (words, count) in [
        (&["--class", "Count"][..], 9),
        (&["--class", r"App\Jobs\Count", "--limit", "4"], 4),
        (&["--class", "Nobody"], 0),
        (&["--text", "print"], 3),
        (&["--text", "i:7;"], 1),
        (&["--state", "delayed", "--text", "i:101;"], 1),
        (&["--tag", "user:7"], 0),
    ] {
        assert_eq!(found(words).len(), count, "{words:?}");
    }
    let refused = site.regie(&["queue", "clear", "default", "--text", "print"]);
    assert_eq!(refused.status.code(), Some(64), "not without a word");
    assert!(
        run(&app, &["queue", "clear", "default", "--text", "print", "--yes"]).contains("3 waiting dropped")
    );
    assert!(
        run(&app, &["queue", "release", "default", "--text", "i:101;", "--yes"])
            .contains("1 delayed let run")
    );
    let first = found(&["--limit", "1"])[0]["id"].as_str().expect("an id").to_owned();
    assert!(run(&app, &["queue", "cancel", &first]).contains("it is taken out"));
    assert_eq!(site.regie(&["queue", "cancel", &first]).status.code(), Some(1), "it is gone");
    pause(&site, "resume", "default");
    let done = |numbers: &[usize]| {
        within(LONG, "they are done", || {
            let done = Ledger::read(&app).times("done");
            numbers.iter().all(|number| done.contains_key(number)).then_some(())
        });
    };
    done(&[1, 2, 3, 4, 5, 101]);
    assert_eq!(Ledger::read(&app).times("begun").len(), 6, "no other has run");

    // Prometheus sees the same, over HTTP too.
    let page = within(LONG, "the last outcome is counted", || {
        let page = run(&app, &["queue", "stats", "--openmetrics"]);
        page.contains("end=\"done\"} 6").then_some(page)
    });
    for line in [
        "regie_queue_delayed{queue=\"redis:default\"} 2",
        "regie_queue_runs_total{queue=\"redis:default\",end=\"done\"} 6",
        "regie_queue_run_seconds_count{queue=\"redis:default\"} 6",
        "regie_workers{group=\"default\"} 1",
    ] {
        assert!(page.contains(line), "{line} in\n{page}");
    }
    assert!(scraped(&app).ends_with("# EOF\n"));

    // One that runs for ten minutes, and would be tried five times.
    push(&app, 50..51, 600_000_000, "");
    let id = within(LONG, "it runs", || {
        let running = found(&["--state", "reserved"]);
        let begun = Ledger::read(&app).times("begun").contains_key(&50);
        begun.then(|| running.first().and_then(|job| job["id"].as_str().map(str::to_owned))).flatten()
    });
    assert!(run(&app, &["queue", "cancel", &id]).contains("its worker is ended"));
    within(LONG, "it has failed", || Ledger::read(&app).times("failed").contains_key(&50).then_some(()));
    within(LONG, "Laravel has it among the failed ones", || {
        run(&app, &["artisan", "queue:failed"]).contains(&id).then_some(())
    });
    push(&app, 51..52, 1, "");
    done(&[51]);
    assert_eq!(Ledger::read(&app).times("begun")[&50], 1, "it is not tried again");
    run(&app, &["queue", "forget", "--class", "Count", "--yes"]);
    assert!(!run(&app, &["artisan", "queue:failed"]).contains(&id));
}

#[test]
fn workers_come_with_the_jobs_that_wait_and_leave_after_them() {
    let app = app();
    let site = Site::up(
        app.path(),
        "[app]\nenv = \"development\"\n[php.jobs]\nidle_timeout = \"1s\"\n[workers.default]\nmin = 1\nmax = 3\n",
    );
    // Right after the start nobody answers yet.
    let workers = || {
        let output = site.regie(&["queue", "stats", "--json"]);
        let stats: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        stats["groups"][0]["workers"].clone()
    };
    let are =
        |count: usize| within(LONG, "as many workers as are needed", || (workers() == count).then_some(()));
    are(1);
    // Three of them have enough to do for as long as it takes to look.
    push(&app, 0..3_000, 300_000, "");
    are(3);
    run(&app, &["queue", "clear", "default", "--force"]);
    are(1);
    push(&app, 5_000..5_001, 1, "");
    within(LONG, "the one that stays works", || {
        Ledger::read(&app).times("done").contains_key(&5_000).then_some(())
    });
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

const PART: &str = r"<?php

namespace App\Jobs;

use Illuminate\Bus\Batchable;
use Illuminate\Bus\Queueable;
use Illuminate\Contracts\Queue\ShouldQueue;
use Illuminate\Foundation\Bus\Dispatchable;
use Illuminate\Queue\InteractsWithQueue;

class Part implements ShouldQueue
{
    use Batchable, Dispatchable, InteractsWithQueue, Queueable;

    public $tries = 1;

    public function __construct(public string $does)
    {
    }

    public function handle(): void
    {
        if ($this->does === 'throw') {
            throw new \RuntimeException('thrown');
        }
        while ($this->does === 'gate' && !file_exists(base_path('gate'))) {
            usleep(10000);
            clearstatcache();
        }
    }
}
";

const BATCH: &str = r"<?php
require 'vendor/autoload.php';
$app = require 'bootstrap/app.php';
$app->make(Illuminate\Contracts\Console\Kernel::class)->bootstrap();
$app['db']->connection()->getSchemaBuilder()->create('job_batches', function ($table) {
    $table->string('id')->primary();
    $table->string('name');
    foreach (['total_jobs', 'pending_jobs', 'failed_jobs', 'created_at'] as $number) {
        $table->integer($number);
    }
    $table->text('failed_job_ids');
    $table->text('options')->nullable();
    $table->integer('cancelled_at')->nullable();
    $table->integer('finished_at')->nullable();
});
$parts = array_map(fn ($does) => new App\Jobs\Part($does), ['', '', 'throw', 'gate']);
Illuminate\Support\Facades\Bus::batch($parts)->name('letters')->allowFailures()->dispatch();
";

#[test]
fn batches_are_told_with_their_progress() {
    let app = app();
    app.write("app/Jobs/Part.php", PART);
    app.write("batch.php", BATCH);
    let site = Site::up(app.path(), "[app]\nenv = \"development\"\n[workers.default]\nmax = 1\n");
    run(&app, &["php", "batch.php"]);
    let told = |progress: u64| {
        within(LONG, "the batch goes on", || {
            let told = json(&site, &["batches"])["batches"][0].clone();
            (told["progress"] == progress && told["failed"] == 1).then_some(told)
        })
    };
    let before = told(50);
    assert_eq!(
        (&before["name"], &before["total"], &before["pending"]),
        (&"letters".into(), &4.into(), &2.into())
    );
    let shown = run(&app, &["queue", "batches"]);
    assert!(shown.contains("letters") && shown.contains("50 %"), "{shown}");
    app.write("gate", "");
    let after = told(75);
    assert_eq!((&after["id"], &after["pending"]), (&before["id"], &1.into()));
    assert!(run(&app, &["queue", "batches"]).contains("waits for the failed ones"));
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
